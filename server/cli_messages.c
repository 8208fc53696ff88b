/* SPDX-License-Identifier: Apache-2.0 */
/*
 * messages: from the journal to the reference's file of messages and back (protocol/smp.md section
 * 10). Both are what a start does when store_messages was changed, without serving anybody.
 */
#include <unistd.h>

#include "cli.h"
#include "log.h"

static const char usage[] =
    "Usage: smp-server messages export|import [options]\n"
    "\n"
    "  export   move waiting messages from the journal to smp-server-messages.log, which the\n"
    "           reference reads, and this server with either value of store_messages\n"
    "  import   take smp-server-messages.log into the journal; every start does the same\n"
    "\n"
    "The server must not be running. The source is kept, with .bak behind its name.\n"
    "\n"
    "      --skip-warnings   leave out records that cannot be read\n" SX_CLI_OPTIONS_HELP;

static const struct option options[] = {
    { "skip-warnings", no_argument, NULL, 1 },
    SX_CLI_OPTIONS,
};

/* Loads the state as cfg says and closes it again. *messages: how many wait. */
static int load_and_save(simplex_server_config *cfg, size_t *messages)
{
    simplex_server_counters count = { .size = sizeof(count) };
    simplex_server *s;
    char error[1024] = "";

    cfg->offline = true;
    cfg->error = error;
    cfg->error_size = sizeof(error);
    sx_log_to_stderr(SX_LOG_WARN);
    if (simplex_server_start(cfg, &s) != SIMPLEX_OK)
        return sx_cli_fail(SX_CLI_FAILED, "%s", error);
    simplex_rc rc = simplex_server_count(s, &count);
    *messages = count.messages;
    if (simplex_server_stop(s) != SIMPLEX_OK)
        return sx_cli_fail(SX_CLI_FAILED, "not everything could be saved: see above. Nothing is "
                                          "lost; make room and try again");
    return rc == SIMPLEX_OK ? SX_CLI_GO_ON : sx_cli_fail(SX_CLI_FAILED, "%s", simplex_rc_text(rc));
}

static int export(const char *file, simplex_server_config *cfg)
{
    size_t n;

    cfg->messages_in_memory = true; /* so they are saved when it stops */
    cfg->messages_not_saved = false;
    int status = load_and_save(cfg, &n);
    if (status != SX_CLI_GO_ON)
        return status;
    printf("%zu messages are in %s.\n"
           "For the reference, write `store_messages: memory` in smp-server.ini. This server takes "
           "them back at its next start.\n",
           n, file);
    return SX_CLI_OK;
}

static int import(const char *file, simplex_server_config *cfg)
{
    size_t n;

    if (access(file, F_OK) != 0)
        return sx_cli_fail(SX_CLI_FAILED, "%s does not exist: there is nothing to import", file);
    cfg->messages_in_memory = false;
    int status = load_and_save(cfg, &n);
    if (status != SX_CLI_GO_ON)
        return status;
    printf("%zu messages are in the journal; %s was renamed to .bak.\n", n, file);
    return SX_CLI_OK;
}

static int run(struct sx_cli *c, bool is_export, bool skip)
{
    simplex_server_config cfg;
    struct sx_config config;
    int status = sx_cli_read_config(c, &config);

    if (status != SX_CLI_GO_ON)
        return status;
    if (!sx_cli_act_as_owner(c->paths.path[SX_PATH_STATE_DIR])) {
        sx_config_free(&config);
        return SX_CLI_FAILED;
    }
    sx_cli_server_config(c, &config, &cfg);
    cfg.state_dir = c->paths.path[SX_PATH_STATE_DIR];
    cfg.skip_damage = skip;
    status = is_export ? export(c->paths.path[SX_PATH_MESSAGES], &cfg)
                       : import(c->paths.path[SX_PATH_MESSAGES], &cfg);
    sx_config_free(&config);
    return status;
}

int sx_cli_messages(struct sx_cli *c, int argc, char **argv)
{
    bool skip = false;
    int opt, status = SX_CLI_GO_ON;

    while (status == SX_CLI_GO_ON && (opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (opt == 1)
            skip = true;
        else
            status = sx_cli_option(c, opt, usage);
    }
    if (status != SX_CLI_GO_ON)
        return status;
    const char *what = optind < argc ? argv[optind++] : "";
    bool is_export = strcmp(what, "export") == 0;
    if (!is_export && strcmp(what, "import") != 0)
        return sx_cli_fail(SX_CLI_USAGE, "messages takes export or import, not \"%s\"", what);
    status = sx_cli_no_more(argc, argv);
    if (status == SX_CLI_GO_ON)
        status = sx_cli_paths(c);
    if (status == SX_CLI_GO_ON)
        status = sx_cli_need_ini(c);
    return status == SX_CLI_GO_ON ? run(c, is_export, skip) : status;
}
