/* SPDX-License-Identifier: Apache-2.0 */
/* What the operator reads when the server is initialized and when it starts. */
#include <inttypes.h>

#include "cli.h"

/* Host names as they are written, but IPv6 addresses in brackets: a port follows. */
static void print_hosts(const char *hosts)
{
    for (;;) {
        int n = (int)strcspn(hosts, ",");
        bool bare = memchr(hosts, ':', (size_t)n) != NULL && hosts[0] != '[';
        printf("%s%.*s%s", bare ? "[" : "", n, hosts, bare ? "]" : "");
        if (hosts[n] == 0)
            return;
        printf(",");
        hosts += n + 1;
    }
}

/* The port is left out when it is 5223 alone, as in the reference; which clients do not take when
 * there are several. */
static void print_address(const char *fingerprint, const struct sx_config *c)
{
    const char *password = c->auth.create_password, *port = c->transport.port.text;

    printf("Server address: smp://%s%s%s@", fingerprint, password == NULL ? "" : ":",
           password == NULL ? "" : password);
    print_hosts(c->transport.host == NULL ? "<hostnames>" : c->transport.host);
    if (strcmp(port, "5223") != 0)
        printf(":%s", port);
    printf("\n");
    if (c->transport.port.count < 2)
        return;
    unsigned one = sx_config_client_port(c);
    if (one == SX_CONFIG_CLIENT_PORT)
        printf("Clients take one port: leave out \":%s\", they use %u.\n", port, one);
    else
        printf("Clients take one port: write \":%u\" instead.\n", one);
}

void sx_cli_banner_identity(const char *fingerprint, const struct sx_config *c)
{
    sx_cli_version();
    printf("Fingerprint: %s\n", fingerprint);
    print_address(fingerprint, c);
}

static void print_source(const struct sx_cli *cli, const struct sx_config *c)
{
    if (c->info.source_code != NULL) {
        printf("Server source code: %s\n", c->info.source_code);
        return;
    }
    printf("Warning: the source code of the server is not specified.\n"
           "Set `source_code` in [INFORMATION] of %s.\n",
           cli->paths.path[SX_PATH_INI]);
}

/* With the numbers: that of an empty state is the sign of a wrong directory. */
static void print_state(const struct sx_cli *cli, const struct sx_config *c,
                        const simplex_server *s)
{
    simplex_server_counters n = { .size = sizeof(n) };

    if (!c->store.enable) {
        printf("Store log disabled.\n");
        return;
    }
    printf("Store log: %s\n", cli->paths.path[SX_PATH_STORE_LOG]);
    if (simplex_server_count(s, &n) == SIMPLEX_OK)
        printf("Queues: %zu. Messages that wait: %zu.\n", n.queues, n.messages);
    if (c->store.store_messages == SX_MESSAGES_DISK)
        printf("Messages are on disk before they are answered OK.\n");
    else if (c->store.restore_messages)
        printf("Messages are saved when the server is stopped, and lost when it is killed.\n");
    else
        printf("Messages are lost when the server stops.\n");
}

static void print_ports(const struct sx_config *c)
{
    bool has_443 = false;

    for (unsigned i = 0; i < c->transport.port.count; i++) {
        printf("Serving SMP protocol on port %u (TLS)...\n", c->transport.port.port[i]);
        has_443 = has_443 || c->transport.port.port[i] == 443;
    }
    if (c->web.static_path != NULL)
        printf("Static site: %s\n", c->web.static_path);
    if (c->web.static_path != NULL && c->web.http != 0)
        printf("Serving static site on port %u...\n", c->web.http);
    if (sx_config_has_https(c))
        printf("Serving static site on port %u (TLS)...\n", c->web.https);
    if (!has_443)
        printf("Warning: networks that let only port 443 through cannot reach this server: add it "
               "to `port` in [TRANSPORT] (5223,443).\n");
}

/* In whole days, hours, minutes or seconds. */
static void print_ttl(int64_t ms)
{
    static const struct {
        int64_t ms;
        const char *name;
    } units[] = { { 86400000, "day" }, { 3600000, "hour" }, { 60000, "minute" }, { 1, "ms" } };
    size_t i = 0;

    while (ms % units[i].ms != 0)
        i++;
    int64_t n = ms / units[i].ms;
    printf("expiring messages after %" PRId64 " %s%s\n", n, units[i].name,
           n == 1 || units[i].ms == 1 ? "" : "s");
}

static void print_inactive(const struct sx_config *c)
{
    if (c->inactive.disconnect)
        printf("expiring clients inactive for %" PRId64 " seconds every %" PRId64 " seconds\n",
               c->inactive.ttl_ms / 1000, c->inactive.check_interval_ms / 1000);
    else
        printf("not expiring inactive clients\n");
}

void sx_cli_banner(const struct sx_cli *cli, const struct sx_config *c, const simplex_server *s)
{
    uint8_t fingerprint[32], buf[64];
    struct sx_wr w;

    simplex_server_fingerprint(s, fingerprint);
    sx_wr_fixed(&w, buf, sizeof(buf));
    sx_b64url_encode(&w, sx_bytes(fingerprint, sizeof(fingerprint)));
    sx_wr_u8(&w, 0);
    sx_cli_banner_identity((const char *)buf, c);
    print_source(cli, c);
    print_state(cli, c, s);
    print_ports(c);
    print_ttl(c->store.expire_messages_ms);
    print_inactive(c);
    printf("creating new queues %s\n", !c->auth.new_queues               ? "NOT allowed"
                                       : c->auth.create_password != NULL ? "requires password"
                                                                         : "allowed");
    fflush(stdout);
}
