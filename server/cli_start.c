/* SPDX-License-Identifier: Apache-2.0 */
/* start: the server runs until it is told to stop. */
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "log.h"

static const char usage[] =
    "Usage: smp-server start [options]\n"
    "\n"
    "Runs the server as smp-server.ini says. SIGINT and SIGTERM stop it, SIGHUP reads\n"
    "smp-server.ini again and says what it changed.\n"
    "\n"
    "  -m, --maintenance     load the state, write it again and exit\n"
    "      --compact-log     compact the store log (done on every start; for compatibility)\n"
    "      --log-level L     trace, debug, info, warn or error (default: [LOG] level, or info)\n"
    "      --skip-warnings   start even if records of the state cannot be read: they are left out\n"
    "      --confirm-migrations up|down\n"
    "                        ignored: there is no database (for "
    "compatibility)\n" SX_CLI_OPTIONS_HELP "\n"
    "Quick start, without smp-server.ini (for tests and demonstrations; without --state queues\n"
    "and messages are held in memory and are lost when it stops). Any of these options means it:\n"
    "  --dir DIR             directory of the certificates (default ./smp-server), made on the\n"
    "                        first start; back it up\n"
    "  --host ADDRESS        address to listen on (default 127.0.0.1; *: all)\n"
    "  --name HOST           host name in the printed address (default: --host; localhost for "
    "all)\n"
    "  --port PORT           TCP port (default 5223; 0: any free port)\n"
    "  --password TEXT       only clients that know it can create queues\n"
    "  --threads N           threads (default: processor cores)\n"
    "  --quota N             messages that wait in a queue (default 128)\n"
    "  --compact-kib N       from this size on the store log is compacted all the time\n"
    "  --no-new-queues       refuse to create queues\n"
    "  --messages-in-memory  with --state: write messages only when stopped; a kill loses them\n";

enum { OPT_COMPACT = 1, OPT_LOG_LEVEL, OPT_SKIP, OPT_MIGRATIONS };

static const struct option options[] = {
    { "maintenance", no_argument, NULL, 'm' },
    { "compact-log", no_argument, NULL, OPT_COMPACT },
    { "log-level", required_argument, NULL, OPT_LOG_LEVEL },
    { "skip-warnings", no_argument, NULL, OPT_SKIP },
    { "confirm-migrations", required_argument, NULL, OPT_MIGRATIONS },
    { "host", required_argument, NULL, SX_OPT_HOST },
    { "name", required_argument, NULL, SX_OPT_NAME },
    { "port", required_argument, NULL, SX_OPT_PORT },
    { "dir", required_argument, NULL, SX_OPT_DIR },
    { "password", required_argument, NULL, SX_OPT_PASSWORD },
    { "threads", required_argument, NULL, SX_OPT_THREADS },
    { "quota", required_argument, NULL, SX_OPT_QUOTA },
    { "compact-kib", required_argument, NULL, SX_OPT_COMPACT },
    { "no-new-queues", no_argument, NULL, SX_OPT_NO_NEW },
    { "messages-in-memory", no_argument, NULL, SX_OPT_IN_MEMORY },
    SX_CLI_OPTIONS,
};

struct start {
    struct sx_cli *cli;
    struct sx_cli_quick quick;
    struct sx_config config;
    simplex_server *server;
    bool maintenance, skip_warnings;
    bool has_level; /* --log-level wins over the ini */
    enum sx_log_level level;
    const char *ini_option; /* one that a quick start does not have */
};

static int take_option(struct start *s, int opt)
{
    s->ini_option =
        opt == 'm' || opt == OPT_COMPACT ? "--maintenance and --compact-log" : s->ini_option;
    switch (opt) {
    case 'm':
        s->maintenance = true;
        return SX_CLI_GO_ON;
    case OPT_COMPACT:
        return SX_CLI_GO_ON;
    case OPT_SKIP:
        s->skip_warnings = true;
        return SX_CLI_GO_ON;
    case OPT_MIGRATIONS:
        fputs("Note: --confirm-migrations is ignored, this server has no database.\n", stderr);
        return SX_CLI_GO_ON;
    case OPT_LOG_LEVEL:
        s->has_level = sx_log_level_parse(optarg, &s->level);
        if (s->has_level)
            return SX_CLI_GO_ON;
        return sx_cli_fail(SX_CLI_USAGE,
                           "--log-level is trace, debug, info, warn or error, not \"%s\"", optarg);
    default:
        if (opt >= SX_OPT_HOST)
            return sx_cli_quick_option(&s->quick, opt, optarg);
        return sx_cli_option(s->cli, opt, usage);
    }
}

static int take_options(struct start *s, int argc, char **argv)
{
    int opt, status = SX_CLI_GO_ON;

    while (status == SX_CLI_GO_ON && (opt = getopt_long(argc, argv, "mh", options, NULL)) != -1)
        status = take_option(s, opt);
    if (status == SX_CLI_GO_ON && optind < argc && strcmp(argv[optind], "start") == 0)
        optind++; /* a quick start may have its options in front of the command */
    if (status == SX_CLI_GO_ON)
        status = sx_cli_no_more(argc, argv);
    if (status == SX_CLI_GO_ON && s->quick.wanted &&
        (s->cli->config_dir != NULL || s->ini_option != NULL))
        return sx_cli_fail(SX_CLI_USAGE,
                           "--dir, --port and the other options of the quick start "
                           "do not go with %s: set them in smp-server.ini",
                           s->ini_option != NULL ? s->ini_option : "--config");
    return status;
}

/* ---- SIGHUP ---- */

static void print_change(void *user, bool live, const char *text)
{
    (void)user;
    printf("%s%s\n", text, live ? "" : " (takes effect when the server is restarted)");
}

static void count_change(void *user, bool live, const char *text)
{
    (void)live;
    (void)text;
    ++*(unsigned *)user;
}

static void set_level(const struct start *s)
{
    uint8_t level = s->config.log_level;

    level = level > SX_LOG_DEBUG ? SX_LOG_DEBUG : level; /* trace: there is nothing more */
    sx_log_set_level(s->has_level ? s->level : (enum sx_log_level)level);
}

static void reload(void *user)
{
    struct start *s = user;
    simplex_server_config cfg;
    struct sx_config fresh;
    char error[512] = "";
    unsigned changes = 0;

    if (sx_cli_read_config(s->cli, &fresh) != SX_CLI_GO_ON) {
        fputs("Configuration not reloaded: the server goes on with the previous one.\n", stderr);
        return;
    }
    sx_config_diff(&s->config, &fresh, count_change, &changes);
    sx_config_diff(&s->config, &fresh, print_change, NULL);
    sx_config_take_live(&s->config, &fresh);
    sx_config_free(&fresh);
    sx_cli_server_config(s->cli, &s->config, &cfg);
    cfg.error = error;
    cfg.error_size = sizeof(error);
    simplex_rc rc = simplex_server_reload(s->server, &cfg);
    set_level(s);
    (void)sx_cli_site(s->cli, &s->config, false);
    if (rc == SIMPLEX_OK)
        printf("Configuration reloaded: %u change%s.\n", changes, changes == 1 ? "" : "s");
    else
        sx_cli_fail(0, "not all of it could be taken: %s; send SIGHUP again",
                    error[0] != 0 ? error : simplex_rc_text(rc));
    fflush(stdout);
}

/* ---- running ---- */

/* Files that root made are not for a server that runs as another user. */
static void warn_of_root(const char *dir)
{
    struct stat st;

    if (geteuid() == 0 && stat(dir, &st) == 0 && st.st_uid != 0)
        sx_log(SX_LOG_WARN,
               "the server runs as root, and %s is of another user, who will not be able to read "
               "what it writes: start it as that user",
               dir);
}

/* Those of its journal; nothing else would tell that they were not exported. */
static void warn_of_journal(const char *dir)
{
    struct stat st;

    if (stat(dir, &st) == 0 && S_ISDIR(st.st_mode))
        sx_log(SX_LOG_WARN,
               "%s has messages of the reference that are not read here: if they were not exported "
               "yet, stop this server and run `smp-server journal export` of the reference; then "
               "remove the directory",
               dir);
}

#define NOT_SAVED "stopped, but not everything could be saved: see above"

static int serve(struct start *s)
{
    const char *state_dir = s->cli->paths.path[SX_PATH_STATE_DIR];
    simplex_server_config cfg;
    char error[1024] = "";
    struct sx_errtext err = { error, sizeof(error) };

    sx_cli_server_config(s->cli, &s->config, &cfg);
    cfg.error = error;
    cfg.error_size = sizeof(error);
    cfg.offline = s->maintenance;
    cfg.skip_damage = s->skip_warnings;
    sx_cli_block_signals();
    sx_log_to_stderr(SX_LOG_INFO);
    set_level(s);
    if (s->maintenance && !sx_cli_act_as_owner(state_dir))
        return SX_CLI_FAILED;
    warn_of_root(state_dir);
    warn_of_journal(s->cli->paths.path[SX_PATH_JOURNAL_DIR]);
    if (!s->maintenance)
        sx_cli_raise_files(&cfg);
    if (!s->maintenance) {
        /* The pages may be in it, and what is made on their way is for everybody to look into. */
        if (cfg.state_dir != NULL && sx_dir_make(cfg.state_dir, 0700, &err) != SIMPLEX_OK)
            return sx_cli_fail(SX_CLI_FAILED, "%s", error);
        int status = sx_cli_site(s->cli, &s->config, true);
        if (status != SX_CLI_GO_ON)
            return status;
    }
    if (simplex_server_start(&cfg, &s->server) != SIMPLEX_OK)
        return sx_cli_fail(SX_CLI_FAILED, "%s", error);
    if (s->maintenance) {
        if (simplex_server_stop(s->server) != SIMPLEX_OK)
            return sx_cli_fail(SX_CLI_FAILED, NOT_SAVED);
        printf("Maintenance completed.\n");
        return SX_CLI_OK;
    }
    sx_cli_banner(s->cli, &s->config, s->server);
    sx_cli_tell_files(&cfg);
    sx_cli_ready();
    sx_cli_wait(reload, s);
    printf("Stopping the server (a further SIGINT ends it at once)...\n");
    fflush(stdout);
    if (simplex_server_stop(s->server) != SIMPLEX_OK)
        return sx_cli_fail(SX_CLI_FAILED, NOT_SAVED);
    printf("Server stopped.\n");
    return SX_CLI_OK;
}

int sx_cli_start(struct sx_cli *c, int argc, char **argv)
{
    struct start s = { .cli = c };

    int status = take_options(&s, argc, argv);
    if (status != SX_CLI_GO_ON)
        return status;
    if (s.quick.wanted) {
        s.quick.cfg.state_dir = c->state_dir;
        s.quick.cfg.skip_damage = s.skip_warnings;
        return sx_cli_quick_run(&s.quick, s.has_level ? s.level : SX_LOG_INFO);
    }
    if ((status = sx_cli_paths(c)) != SX_CLI_GO_ON || (status = sx_cli_need_ini(c)) != SX_CLI_GO_ON)
        return status;
    if ((status = sx_cli_read_config(c, &s.config)) != SX_CLI_GO_ON)
        return status;
    status = serve(&s);
    sx_config_free(&s.config);
    return status;
}
