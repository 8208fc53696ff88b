/* SPDX-License-Identifier: Apache-2.0 */
/* The options of init, of both generations of the reference. */
#include "cli_init.h"

static const char usage[] =
    "Usage: smp-server init [options]\n"
    "\n"
    "Makes the server's certificates and smp-server.ini. Asks what is missing, unless -y is "
    "given.\n"
    "\n"
    "  -y, --yes               ask nothing: options, and defaults for the rest\n"
    "      --ip IP             address for the certificate (default 127.0.0.1)\n"
    "  -n, --fqdn FQDN         host name for the certificate and the server's address; it wins\n"
    "                          over --ip\n"
    "  -a, --sign-algorithm A  of the certificates: ED25519 (default) or ED448\n"
    "      --disable-store-log queues and messages are lost when the server stops\n"
    "  -l, --store-log         the default; for compatibility\n"
    "  -s, --daily-stats       write daily statistics to a CSV file\n"
    "      --no-password       everybody may create queues\n"
    "      --password PASSWORD only clients that know it may create queues (default: a random "
    "one)\n"
    "      --control-port [PORT]\n"
    "                          control port on 127.0.0.1 (5224), with random passwords\n"
    "      --socks-proxy [HOST:PORT]\n"
    "                          proxy for servers with .onion names (127.0.0.1:9050)\n"
    "      --own-domains LIST  domains of your other servers, separated by commas\n"
    "      --source-code [URI] where users find the source code of the server; needed for the\n"
    "                          next ones to be shown\n"
    "      --operator NAME, --operator-country CC, --operator-website URI,\n"
    "      --server-country CC, --hosting NAME, --hosting-country CC, --hosting-type TYPE\n"
    "                          what users may know about the server (CC: two letters, ISO 3166;\n"
    "                          TYPE: virtual, dedicated, colocation or owned)\n"
    "      --web-path DIR      folder of the pages about the server (default: www in the state\n"
    "                          directory)\n"
    "      --disable-web       no pages\n" SX_CLI_OPTIONS_HELP;

enum {
    OPT_IP = 1,
    OPT_NO_STORE_LOG,
    OPT_NO_PASSWORD,
    OPT_PASSWORD,
    OPT_CONTROL_PORT,
    OPT_SOCKS,
    OPT_OWN,
    OPT_SOURCE,
    OPT_OPERATOR,
    OPT_OPERATOR_COUNTRY,
    OPT_WEBSITE,
    OPT_SERVER_COUNTRY,
    OPT_HOSTING,
    OPT_HOSTING_COUNTRY,
    OPT_HOSTING_TYPE,
    OPT_WEB_PATH,
    OPT_DISABLE_WEB,
    OPT_SCHEMA
};

static const struct option options[] = {
    { "yes", no_argument, NULL, 'y' },
    { "ip", required_argument, NULL, OPT_IP },
    { "fqdn", required_argument, NULL, 'n' },
    { "sign-algorithm", required_argument, NULL, 'a' },
    { "store-log", no_argument, NULL, 'l' },
    { "disable-store-log", no_argument, NULL, OPT_NO_STORE_LOG },
    { "daily-stats", no_argument, NULL, 's' },
    { "no-password", no_argument, NULL, OPT_NO_PASSWORD },
    { "password", required_argument, NULL, OPT_PASSWORD },
    { "control-port", optional_argument, NULL, OPT_CONTROL_PORT },
    { "socks-proxy", optional_argument, NULL, OPT_SOCKS },
    { "own-domains", required_argument, NULL, OPT_OWN },
    { "source-code", optional_argument, NULL, OPT_SOURCE },
    { "operator", required_argument, NULL, OPT_OPERATOR },
    { "operator-country", required_argument, NULL, OPT_OPERATOR_COUNTRY },
    { "operator-website", required_argument, NULL, OPT_WEBSITE },
    { "server-country", required_argument, NULL, OPT_SERVER_COUNTRY },
    { "hosting", required_argument, NULL, OPT_HOSTING },
    { "hosting-country", required_argument, NULL, OPT_HOSTING_COUNTRY },
    { "hosting-type", required_argument, NULL, OPT_HOSTING_TYPE },
    { "web-path", required_argument, NULL, OPT_WEB_PATH },
    { "disable-web", no_argument, NULL, OPT_DISABLE_WEB },
    { "database", optional_argument, NULL, 'd' },
    { "schema", required_argument, NULL, OPT_SCHEMA },
    { "pool-size", required_argument, NULL, OPT_SCHEMA },
    SX_CLI_OPTIONS,
};

/* Options whose text goes into the ini as it is. */
static const char **text_of(struct sx_ini_options *o, int opt)
{
    switch (opt) {
    case OPT_OWN:
        return &o->own_domains;
    case OPT_OPERATOR:
        return &o->operator_name;
    case OPT_OPERATOR_COUNTRY:
        return &o->operator_country;
    case OPT_WEBSITE:
        return &o->website;
    case OPT_SERVER_COUNTRY:
        return &o->server_country;
    case OPT_HOSTING:
        return &o->hosting;
    case OPT_HOSTING_COUNTRY:
        return &o->hosting_country;
    case OPT_HOSTING_TYPE:
        return &o->hosting_type;
    case OPT_WEB_PATH:
        return &o->web_static_path;
    default:
        return NULL;
    }
}

static int take_control_port(struct sx_cli_init *i, const char *arg)
{
    unsigned long port = 5224;

    if (arg != NULL && !sx_cli_number("--control-port", arg, 1, 65535, &port))
        return SX_CLI_USAGE;
    i->ini.control_port = (uint16_t)port;
    return SX_CLI_GO_ON;
}

static int take_password(struct sx_cli_init *i, const char *arg)
{
    if (!sx_cli_password_ok(arg))
        return sx_cli_fail(SX_CLI_USAGE, "--password: printable ASCII without space, @, : and /, "
                                         "at most 255 characters");
    i->ini.password = arg;
    return SX_CLI_GO_ON;
}

static int take_source(struct sx_cli_init *i, const char *arg)
{
    static const char ours[] = SX_SOURCE_URI; /* of this build; empty: not said */

    i->has_source = true;
    if (arg == NULL && ours[0] != 0)
        arg = ours;
    if (arg == NULL) /* images for the reference do so: it knows where its own source is */
        fputs("Note: --source-code without a URI says nothing, this build has none of its own: set "
              "source_code in smp-server.ini.\n",
              stderr);
    i->ini.source_code = arg;
    return SX_CLI_GO_ON;
}

static int refuse_database(void)
{
    return sx_cli_fail(SX_CLI_USAGE, "there is no database server to connect to: leave out "
                                     "-d/--database, --schema and --pool-size, queues and messages "
                                     "are kept in files of the state directory");
}

static int take_switch(struct sx_cli_init *i, int opt)
{
    switch (opt) {
    case 'y':
        i->yes = true;
        return SX_CLI_GO_ON;
    case 'l':
        i->store_log = true;
        fputs("Note: -l/--store-log is the default, it need not be given.\n", stderr);
        return SX_CLI_GO_ON;
    case OPT_NO_STORE_LOG:
        i->no_store_log = true;
        return SX_CLI_GO_ON;
    case 's':
        i->ini.log_stats = true;
        return SX_CLI_GO_ON;
    case OPT_NO_PASSWORD:
        i->no_password = true;
        return SX_CLI_GO_ON;
    case OPT_DISABLE_WEB:
        i->disable_web = true;
        return SX_CLI_GO_ON;
    default:
        return sx_cli_option(i->cli, opt, usage);
    }
}

static int take_option(struct sx_cli_init *i, int opt, int argc, char **argv)
{
    const char **text = text_of(&i->ini, opt);

    if (text != NULL) {
        *text = optarg;
        return SX_CLI_GO_ON;
    }
    switch (opt) {
    case OPT_IP:
        i->ip = optarg;
        return SX_CLI_GO_ON;
    case 'n':
        i->fqdn = optarg;
        return SX_CLI_GO_ON;
    case 'a':
        return sx_cli_algorithm(optarg, &i->alg) ? SX_CLI_GO_ON : SX_CLI_USAGE;
    case OPT_PASSWORD:
        return take_password(i, optarg);
    case OPT_CONTROL_PORT:
        return take_control_port(i, sx_cli_optional(argc, argv));
    case OPT_SOCKS: {
        const char *at = sx_cli_optional(argc, argv);
        i->ini.socks_proxy = at == NULL ? "127.0.0.1:9050" : at;
        return SX_CLI_GO_ON;
    }
    case OPT_SOURCE:
        return take_source(i, sx_cli_optional(argc, argv));
    case 'd':
    case OPT_SCHEMA:
        return refuse_database();
    default:
        return take_switch(i, opt);
    }
}

int sx_cli_init_options(struct sx_cli_init *i, int argc, char **argv)
{
    int opt, status = SX_CLI_GO_ON;

    while (status == SX_CLI_GO_ON &&
           (opt = getopt_long(argc, argv, "yn:a:lsd::h", options, NULL)) != -1)
        status = take_option(i, opt, argc, argv);
    if (status == SX_CLI_GO_ON)
        status = sx_cli_no_more(argc, argv);
    if (status != SX_CLI_GO_ON)
        return status;
    if (i->store_log && i->no_store_log)
        return sx_cli_fail(SX_CLI_USAGE, "either --store-log or --disable-store-log");
    if (i->no_password && i->ini.password != NULL)
        return sx_cli_fail(SX_CLI_USAGE, "either --password or --no-password");
    return SX_CLI_GO_ON;
}
