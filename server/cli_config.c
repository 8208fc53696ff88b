/* SPDX-License-Identifier: Apache-2.0 */
/* From smp-server.ini to the configuration of the library. */
#include <stdlib.h>

#include "cli.h"

static void report(void *user, enum sx_config_severity severity, unsigned line, const char *text)
{
    (void)user;
    (void)line; /* the text has it */
    fflush(stdout);
    fprintf(stderr, "%s: %s\n", severity == SX_CONFIG_ERROR ? "Error" : "Warning", text);
}

int sx_cli_read_config(const struct sx_cli *c, struct sx_config *out)
{
    simplex_rc rc = sx_config_read(c->paths.path[SX_PATH_INI], report, NULL, out);

    switch (rc) {
    case SIMPLEX_OK:
        return SX_CLI_GO_ON;
    case SIMPLEX_E_NOMEM:
        return sx_cli_fail(SX_CLI_FAILED, "out of memory");
    default:
        return sx_cli_fail(SX_CLI_FAILED, "correct %s", c->paths.path[SX_PATH_INI]);
    }
}

static void set_transport(const struct sx_config *c, simplex_server_config *cfg)
{
    cfg->host = c->transport.bind == NULL ? "*" : c->transport.bind;
    cfg->public_host = "localhost"; /* the banner prints the host as it is written */
    cfg->port = c->transport.port.port[0];
    cfg->more_ports = c->transport.port.port + 1;
    cfg->n_more_ports = c->transport.port.count - 1;
}

static void set_limits(const struct sx_config *c, simplex_server_config *cfg)
{
    cfg->quota = (unsigned)c->limits.messages_per_queue;
    cfg->expire_interval_ms = c->limits.expire_interval_ms;
    cfg->end_flush_ms = c->limits.end_flush_ms;
    cfg->ntf_flush_ms = c->limits.ntf_flush_ms;
    cfg->tls_timeout_ms = c->limits.tls_timeout_ms;
    cfg->handshake_timeout_ms = c->limits.handshake_timeout_ms;
    cfg->stall_timeout_ms = c->limits.stall_timeout_ms;
    cfg->min_version = (uint16_t)c->limits.smp_min_version;
    cfg->max_version = (uint16_t)c->limits.smp_max_version;
    cfg->max_connections = (unsigned)c->limits.max_connections;
    cfg->threads = (unsigned)c->limits.threads;
    cfg->queues_per_client = (unsigned)c->limits.queues_per_client;
    cfg->queues_interval_ms = c->limits.queues_interval_ms;
    cfg->subscriptions_per_client = (unsigned)c->limits.subscriptions_per_client;
    cfg->memory_per_client = (size_t)c->limits.memory_per_client;
    cfg->max_message_memory = (size_t)c->limits.max_message_memory;
    cfg->commands_per_block = (unsigned)c->limits.commands_per_block;
    cfg->compact_growth = (unsigned)c->limits.store_log_growth;
    cfg->compact_bytes = (uint64_t)c->limits.store_log_compact;
    cfg->failed_relays_per_client = (unsigned)c->limits.failed_relays_per_client;
    cfg->services = (unsigned)c->limits.services;
}

static void set_proxy(const struct sx_config *c, simplex_server_config *cfg)
{
    const struct sx_config_proxy *socks = &c->proxy.socks_proxy;

    cfg->proxy = c->proxy.enable;
    cfg->proxy_onion = c->proxy.host_mode == SX_CONFIG_ONION;
    cfg->proxy_required_host = c->proxy.required_host_mode;
    cfg->proxy_concurrency = (unsigned)c->proxy.client_concurrency;
    cfg->proxy_relays = (unsigned)c->limits.proxy_relays;
    cfg->proxy_pending = (unsigned)c->limits.proxy_pending;
    cfg->proxy_relay_pending = (unsigned)c->limits.proxy_relay_pending;
    cfg->proxy_connect_timeout_ms = c->limits.proxy_connect_timeout_ms;
    cfg->proxy_command_timeout_ms = c->limits.proxy_command_timeout_ms;
    cfg->proxy_idle_ms = c->limits.proxy_idle_ms;
    cfg->proxy_failed_ms = c->limits.proxy_failed_ms;
    cfg->proxy_socks_host = socks->host;
    cfg->proxy_socks_port = socks->port;
    cfg->proxy_socks_user = socks->user;
    cfg->proxy_socks_password = socks->password;
    cfg->proxy_socks_no_auth = socks->no_auth;
    cfg->proxy_socks_always = socks->host != NULL && c->proxy.socks_mode == SX_CONFIG_SOCKS_ALWAYS;
    cfg->own_domains = (const char *const *)c->proxy.own_server_domains.name;
    cfg->n_own_domains = c->proxy.own_server_domains.count;
}

static void set_operations(const struct sx_cli *cli, const struct sx_config *c,
                           simplex_server_config *cfg)
{
    cfg->stats_dir = cli->paths.path[SX_PATH_STATE_DIR];
    cfg->daily_stats = c->store.log_stats;
    cfg->metrics_interval_ms = c->store.prometheus_interval_ms;
    cfg->metrics_http = c->transport.prometheus_port != 0;
    cfg->metrics_port = c->transport.prometheus_port;
    cfg->control = c->transport.control_port != 0;
    cfg->control_port = c->transport.control_port;
    cfg->control_admin = c->auth.control_port_admin_password;
    cfg->control_user = c->auth.control_port_user_password;
    cfg->control_block_quota = c->auth.daily_block_queue_quota;
}

static void set_web(const struct sx_config *c, simplex_server_config *cfg)
{
    cfg->web_path = c->web.static_path;
    cfg->web_http = c->web.http != 0;
    cfg->web_http_port = c->web.http;
    cfg->web_https = sx_config_has_https(c);
    cfg->web_https_port = c->web.https;
    cfg->web_cert = c->web.cert;
    cfg->web_key = c->web.key;
    cfg->web_connections = (unsigned)c->limits.web_connections;
}

void sx_cli_server_config(const struct sx_cli *cli, const struct sx_config *c,
                          simplex_server_config *cfg)
{
    simplex_server_config_init(cfg);
    cfg->dir = cli->paths.path[SX_PATH_CONFIG_DIR];
    cfg->no_new_identity = true;
    set_transport(c, cfg);
    set_limits(c, cfg);
    set_proxy(c, cfg);
    set_operations(cli, c, cfg);
    set_web(c, cfg);
    cfg->log_tls_errors = c->transport.log_tls_errors;
    cfg->password = c->auth.create_password;
    cfg->new_queues = c->auth.new_queues;
    cfg->message_ttl_ms = c->store.expire_messages_ms;
    cfg->expire_interval_ms = c->limits.expire_interval_ms;
    cfg->expire_on_start = c->store.expire_messages_on_start;
    cfg->expire_on_send = c->store.expire_messages_on_send;
    cfg->ntf_ttl_ms = c->store.expire_ntfs_ms;
    if (c->store.enable) {
        cfg->state_dir = cli->paths.path[SX_PATH_STATE_DIR];
        cfg->messages_in_memory = c->store.store_messages == SX_MESSAGES_MEMORY;
        cfg->messages_not_saved = !c->store.restore_messages;
    }
    cfg->inactive_ttl_ms = c->inactive.disconnect ? c->inactive.ttl_ms : 0;
    cfg->inactive_check_ms = c->inactive.check_interval_ms;
}
