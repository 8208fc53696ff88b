/* SPDX-License-Identifier: Apache-2.0 */
/* The program smp-server: which command is meant. */
#include "cli.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "crypto/crypto.h"
#include "revision.h"

static const char usage[] =
    "Usage: smp-server COMMAND [options]\n"
    "\n"
    "Runs an SMP server (relay of the SimpleX network).\n"
    "\n"
    "Commands (each has --help):\n"
    "  init     make the configuration file and the server's certificates\n"
    "  start    run the server\n"
    "  cert     make a new TLS certificate; the server's identity and address stay\n"
    "  messages move waiting messages to the reference's file, and back\n"
    "  delete   delete the configuration, the identity and all queues and messages\n"
    "\n"
    "Options of every command:\n" SX_CLI_OPTIONS_HELP "\n"
    "Without a command:\n"
    "  -v, --version         the version\n"
    "\n"
    "Exit status: 0 when done, or after SIGINT or SIGTERM; 1 when it failed and said why; 2 for a\n"
    "wrong command line.\n";

static const struct command {
    const char *name;
    int (*run)(struct sx_cli *c, int argc, char **argv);
} commands[] = {
    { "init", sx_cli_init },         { "start", sx_cli_start },   { "cert", sx_cli_cert },
    { "messages", sx_cli_messages }, { "delete", sx_cli_delete },
};

void sx_cli_version(void)
{
    printf("SMP server v%s / %s\n", simplex_version(), SX_REVISION);
}

static int run_command(struct sx_cli *c, int argc, char **argv)
{
    for (size_t i = 0; i < SX_COUNT(commands); i++) {
        if (strcmp(argv[0], commands[i].name) == 0) {
            optind = 0; /* a new table of options */
            return commands[i].run(c, argc, argv);
        }
    }
    if (strcmp(argv[0], "journal") == 0 || strcmp(argv[0], "database") == 0)
        return sx_cli_fail(SX_CLI_USAGE,
                           "`%s` is about a store that the reference alone has: run it with its "
                           "program. Messages of this server are moved by `smp-server messages`",
                           argv[0]);
    return sx_cli_fail(SX_CLI_USAGE, "unknown command \"%s\"; try `smp-server --help`", argv[0]);
}

/* Options before the command; those that are not ours belong to a quick start without a command. */
static int run(struct sx_cli *c, int argc, char **argv)
{
    static const struct option options[] = { { "version", no_argument, NULL, 'v' },
                                             SX_CLI_OPTIONS };
    int opt;

    if (argc < 2) {
        fputs(usage, stdout);
        return SX_CLI_OK;
    }
    opterr = 0;
    while ((opt = getopt_long(argc, argv, "+vh", options, NULL)) != -1) {
        if (opt == 'v') {
            sx_cli_version();
            return SX_CLI_OK;
        }
        if (opt == '?' || opt == ':') {
            opterr = 1;
            optind = 0;
            return sx_cli_start(c, argc, argv);
        }
        int status = sx_cli_option(c, opt, usage);
        if (status != SX_CLI_GO_ON)
            return status;
    }
    opterr = 1;
    if (optind == argc)
        return sx_cli_fail(SX_CLI_USAGE, "which command? Try `smp-server --help`");
    return run_command(c, argc - optind, argv + optind);
}

/* Units and images written for the reference end with "+RTS -N -RTS": options of its runtime. */
static int without_rts(int argc, char **argv)
{
    bool inside = false;
    int n = 0;

    for (int i = 0; i < argc; i++) {
        bool starts = strcmp(argv[i], "+RTS") == 0;
        bool ends = strcmp(argv[i], "-RTS") == 0;
        inside = (inside || starts) && !ends;
        if (!inside && !ends)
            argv[n++] = argv[i];
    }
    argv[n] = NULL;
    return n;
}

/*
 * Names of relays are resolved by the threads of libuv, half of which wait for names at most: by
 * default two. Then two names whose servers do not answer would hold up those of all other relays.
 * What the operator has set stays.
 */
static void resolve_many_names(void)
{
    (void)setenv("UV_THREADPOOL_SIZE", "32", 0);
}

/* A file that gets the number of a standard stream that is closed would have all that is printed:
 * the store log, for example, lines of the log. */
static bool fill_standard_streams(void)
{
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
            return false;
    return true;
}

int main(int argc, char **argv)
{
    struct sx_cli cli = { 0 };

    if (!fill_standard_streams())
        return SX_CLI_FAILED; /* there is nowhere to say so */
    resolve_many_names();
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a limit of the size of files is met as a full disk */
    if (sx_crypto_init() != SIMPLEX_OK)
        return sx_cli_fail(SX_CLI_FAILED, "the cryptographic libraries do not work");
    int status = run(&cli, without_rts(argc, argv), argv);
    sx_paths_free(&cli.paths);
    return status;
}
