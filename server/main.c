/* SPDX-License-Identifier: Apache-2.0 */
/* The program smp-server: command line, signals, what the operator reads. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "simplex/server.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

static const char usage[] =
    "Usage: smp-server [start] [options]\n"
    "\n"
    "Runs an SMP server (relay of the SimpleX network). Queues and messages are held in memory\n"
    "and are lost when it stops; the certificates, which are the server's identity, are kept.\n"
    "\n"
    "  --host ADDRESS     IPv4 or IPv6 address to listen on (default 127.0.0.1; 0.0.0.0: all)\n"
    "  --name HOST        host name in the printed address (default: --host)\n"
    "  --port PORT        TCP port (default 5223; 0: any free port)\n"
    "  --dir DIR          directory of the certificates (default ./smp-server), made on the\n"
    "                     first start; back it up\n"
    "  --password TEXT    only clients that know it can create queues\n"
    "  --threads N        threads (default: processor cores)\n"
    "  --quota N          messages that wait in a queue (default 128)\n"
    "  --no-new-queues    refuse to create queues\n"
    "  --help             this text\n"
    "  --version          the version\n"
    "\n"
    "Exit status: 0 after SIGINT or SIGTERM, 1 when the server could not start, 2 for a wrong\n"
    "command line.\n";

enum {
    OPT_HOST = 256,
    OPT_NAME,
    OPT_PORT,
    OPT_DIR,
    OPT_PASSWORD,
    OPT_THREADS,
    OPT_QUOTA,
    OPT_NO_NEW,
    OPT_HELP,
    OPT_VERSION
};

static const struct option options[] = {
    { "host", required_argument, NULL, OPT_HOST },
    { "name", required_argument, NULL, OPT_NAME },
    { "port", required_argument, NULL, OPT_PORT },
    { "dir", required_argument, NULL, OPT_DIR },
    { "password", required_argument, NULL, OPT_PASSWORD },
    { "threads", required_argument, NULL, OPT_THREADS },
    { "quota", required_argument, NULL, OPT_QUOTA },
    { "no-new-queues", no_argument, NULL, OPT_NO_NEW },
    { "help", no_argument, NULL, OPT_HELP },
    { "version", no_argument, NULL, OPT_VERSION },
    { NULL, 0, NULL, 0 },
};

static bool number(const char *option, const char *text, unsigned long min, unsigned long max,
                   unsigned long *out)
{
    char *end;

    errno = 0;
    *out = strtoul(text, &end, 10);
    if (errno == 0 && *text >= '0' && *text <= '9' && *end == 0 && *out >= min && *out <= max)
        return true;
    fprintf(stderr, "smp-server: %s takes a number from %lu to %lu, not \"%s\"\n", option, min, max,
            text);
    return false;
}

/* Returns a negative number to go on, otherwise the exit status. */
static int take_option(simplex_server_config *cfg, int opt, const char *arg)
{
    unsigned long n = 0;

    switch (opt) {
    case OPT_HOST:
        cfg->host = arg;
        return -1;
    case OPT_NAME:
        cfg->public_host = arg;
        return -1;
    case OPT_PORT:
        if (!number("--port", arg, 0, 65535, &n))
            return EXIT_USAGE;
        cfg->port = (uint16_t)n;
        return -1;
    case OPT_DIR:
        cfg->dir = arg;
        return -1;
    case OPT_PASSWORD:
        cfg->password = arg;
        return -1;
    case OPT_THREADS:
        if (!number("--threads", arg, 1, 64, &n))
            return EXIT_USAGE;
        cfg->threads = (unsigned)n;
        return -1;
    case OPT_QUOTA:
        if (!number("--quota", arg, 1, 10000, &n))
            return EXIT_USAGE;
        cfg->quota = (unsigned)n;
        return -1;
    case OPT_NO_NEW:
        cfg->new_queues = false;
        return -1;
    case OPT_HELP:
        fputs(usage, stdout);
        return EXIT_OK;
    case OPT_VERSION:
        printf("SMP server v%s (libsimplex), SMP versions 6..19\n", simplex_version());
        return EXIT_OK;
    default:
        fputs("Try smp-server --help\n", stderr);
        return EXIT_USAGE;
    }
}

static int take_arguments(simplex_server_config *cfg, int argc, char **argv)
{
    int opt;

    while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        int status = take_option(cfg, opt, optarg);
        if (status >= 0)
            return status;
    }
    if (optind < argc && strcmp(argv[optind], "start") == 0)
        optind++;
    if (optind < argc) {
        fprintf(stderr, "smp-server: unknown command \"%s\"; try smp-server --help\n",
                argv[optind]);
        return EXIT_USAGE;
    }
    return -1;
}

static void print_banner(const simplex_server *s, const simplex_server_config *cfg)
{
    char address[1024];
    size_t len = sizeof(address);

    printf("SMP server v%s\n", simplex_version());
    if (simplex_server_address(s, address, &len) == SIMPLEX_OK) {
        const char *fp = address + strlen("smp://");
        printf("Fingerprint: %.*s\n", (int)strcspn(fp, ":@"), fp);
        printf("Server address: %s\n", address);
    }
    printf("Certificates: %s (the server's identity: back it up)\n", cfg->dir);
    printf("Queues and messages are held in memory and are lost when the server stops.\n");
    printf("Serving SMP protocol on %s port %u (TLS)...\n",
           cfg->host == NULL ? "127.0.0.1" : cfg->host, simplex_server_port(s));
    printf("creating new queues %s\n", !cfg->new_queues        ? "NOT allowed"
                                       : cfg->password != NULL ? "requires password"
                                                               : "allowed");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    simplex_server_config cfg;
    simplex_server *s;
    char error[512];
    sigset_t signals;
    int signal_no;

    simplex_server_config_init(&cfg);
    cfg.port = 5223;
    cfg.dir = "./smp-server";
    cfg.error = error;
    cfg.error_size = sizeof(error);
    int status = take_arguments(&cfg, argc, argv);
    if (status >= 0)
        return status;

    /* Blocked before the threads start, so that only sigwait takes them. */
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    if (simplex_server_start(&cfg, &s) != SIMPLEX_OK) {
        fprintf(stderr, "smp-server: %s\n", error);
        return EXIT_FAILED;
    }
    print_banner(s, &cfg);
    while (sigwait(&signals, &signal_no) != 0)
        ;
    printf("stopping\n");
    simplex_server_stop(s);
    return EXIT_OK;
}
