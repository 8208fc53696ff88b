/* SPDX-License-Identifier: Apache-2.0 */
/*
 * start without smp-server.ini, for tests and demonstrations: certificates in a directory, made
 * when there are none, and everything else in memory, unless there is --state.
 */
#include <inttypes.h>

#include "cli.h"
#include "log.h"

#define DEFAULT_DIR "./smp-server"
#define QUICK_CLIENTS 10000 /* enough for a test; an ini says how many */

static int option_number(const char *name, const char *arg, unsigned long min, unsigned long max,
                         unsigned *out)
{
    unsigned long n;

    if (!sx_cli_number(name, arg, min, max, &n))
        return SX_CLI_USAGE;
    *out = (unsigned)n;
    return SX_CLI_GO_ON;
}

int sx_cli_quick_option(struct sx_cli_quick *q, int opt, const char *arg)
{
    unsigned port, kib;
    int status = SX_CLI_GO_ON;

    if (!q->wanted) {
        simplex_server_config_init(&q->cfg);
        q->cfg.port = 5223;
        q->cfg.dir = DEFAULT_DIR;
        q->wanted = true;
    }
    switch (opt) {
    case SX_OPT_HOST:
        q->cfg.host = arg;
        break;
    case SX_OPT_NAME:
        q->cfg.public_host = arg;
        break;
    case SX_OPT_PORT:
        status = option_number("--port", arg, 0, 65535, &port);
        if (status == SX_CLI_GO_ON)
            q->cfg.port = (uint16_t)port;
        break;
    case SX_OPT_DIR:
        q->cfg.dir = arg;
        break;
    case SX_OPT_PASSWORD:
        q->cfg.password = arg;
        break;
    case SX_OPT_THREADS:
        status = option_number("--threads", arg, 1, 64, &q->cfg.threads);
        break;
    case SX_OPT_QUOTA:
        status = option_number("--quota", arg, 1, 10000, &q->cfg.quota);
        break;
    case SX_OPT_COMPACT:
        status = option_number("--compact-kib", arg, 1, 1u << 30, &kib);
        if (status == SX_CLI_GO_ON) {
            q->cfg.compact_bytes = (uint64_t)kib << 10;
            q->cfg.compact_growth = 1; /* with every change: a test */
        }
        break;
    case SX_OPT_NO_NEW:
        q->cfg.new_queues = false;
        break;
    case SX_OPT_IN_MEMORY:
        q->cfg.messages_in_memory = true;
        break;
    }
    return status;
}

/* Clients cannot connect to "all addresses": those on this machine can to "localhost". */
static bool is_all(const char *host)
{
    return host != NULL &&
           (strcmp(host, "*") == 0 || strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0);
}

static void print_banner(const simplex_server *s, const simplex_server_config *cfg)
{
    char address[1024];
    size_t len = sizeof(address);

    sx_cli_version();
    if (simplex_server_address(s, address, &len) == SIMPLEX_OK) {
        const char *fp = address + strlen("smp://");
        printf("Fingerprint: %.*s\n", (int)strcspn(fp, ":@"), fp);
        printf("Server address: %s\n", address);
    }
    printf("Certificates: %s (the server's identity: back it up)\n", cfg->dir);
    if (cfg->state_dir != NULL)
        printf("Store log: %s/smp-server-store.log\n", cfg->state_dir);
    else
        printf("Queues and messages are held in memory and are lost when the server stops.\n");
    printf("Serving SMP protocol on %s port %u (TLS)...\n",
           cfg->host == NULL ? "127.0.0.1" : cfg->host, simplex_server_port(s));
    printf("creating new queues %s\n", !cfg->new_queues        ? "NOT allowed"
                                       : cfg->password != NULL ? "requires password"
                                                               : "allowed");
    fflush(stdout);
}

static void nothing_to_reload(void *user)
{
    (void)user;
    fputs("SIGHUP: a quick start has no smp-server.ini to read again\n", stderr);
}

int sx_cli_quick_run(struct sx_cli_quick *q, enum sx_log_level level)
{
    char error[512];
    simplex_server *s;

    q->cfg.error = error;
    q->cfg.error_size = sizeof(error);
    if (sx_file_exists(q->cfg.dir, "smp-server.ini"))
        return sx_cli_fail(SX_CLI_USAGE,
                           "%s has a smp-server.ini: start it with `smp-server start --config %s`, "
                           "without options of the quick start",
                           q->cfg.dir, q->cfg.dir);
    if (q->cfg.public_host == NULL && is_all(q->cfg.host))
        q->cfg.public_host = "localhost";
    sx_cli_block_signals();
    sx_log_to_stderr(level);
    simplex_server_config files = q->cfg;
    files.max_connections = QUICK_CLIENTS;
    sx_cli_raise_files(&files);
    sx_cli_tell_files(&files);
    if (simplex_server_start(&q->cfg, &s) != SIMPLEX_OK)
        return sx_cli_fail(SX_CLI_FAILED, "%s", error);
    print_banner(s, &q->cfg);
    sx_cli_ready();
    sx_cli_wait(nothing_to_reload, NULL);
    printf("stopping\n");
    fflush(stdout);
    if (simplex_server_stop(s) != SIMPLEX_OK)
        return sx_cli_fail(SX_CLI_FAILED, "not everything could be saved: see above");
    return SX_CLI_OK;
}
