/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of smp-server.ini (protocol/smp.md section 10), in the order of the reference's file. */
#include "config_keys.h"

#include <stddef.h>

#define DAY_MS 86400000
#define HOUR_MS 3600000
#define SECOND_MS 1000
#define HOURS_24_MS 86400000

#define AT(member) .offset = offsetof(struct sx_config, member)
#define NOWHERE .offset = SX_KEY_NO_FIELD
#define RANGE(low, high) .min = (low), .max = (high)
#define IN(one, names) .unit = (one), .unit_name = (names)
#define LIVE .live = true

static const char *const words_queues[] = { "memory", NULL };
static const char *const words_messages[] = { "disk", "memory", NULL };
static const char *const words_hosts[] = { "public", "onion", NULL };
static const char *const words_socks[] = { "onion", "always", NULL };
static const char *const words_hosting[] = { "virtual", "dedicated", "colocation", "owned", NULL };
static const char *const words_log[] = { "error", "warn", "info", "debug", "trace", NULL };

/* clang-format off: one row a key; tests/checks/config.py reads section, key and value when absent
 * and compares them with docs/operator.md */
const struct sx_key sx_keys[] = {
    { "INFORMATION", "source_code", NULL, AT(info.source_code), .type = SX_KEY_URL, LIVE,
      .name = "source code" },
    { "INFORMATION", "usage_conditions", NULL, AT(info.usage_conditions), .type = SX_KEY_URL, LIVE,
      .name = "usage conditions" },
    { "INFORMATION", "condition_amendments", NULL, AT(info.condition_amendments),
      .type = SX_KEY_TEXT, LIVE, .name = "amendments of the conditions" },
    { "INFORMATION", "server_country", NULL, AT(info.server_country), .type = SX_KEY_COUNTRY, LIVE,
      .name = "country of the server" },
    { "INFORMATION", "operator", NULL, AT(info.operator_name), .type = SX_KEY_TEXT, LIVE,
      .name = "operator" },
    { "INFORMATION", "operator_country", NULL, AT(info.operator_country), .type = SX_KEY_COUNTRY,
      LIVE, .name = "country of the operator" },
    { "INFORMATION", "website", NULL, AT(info.website), .type = SX_KEY_TEXT, LIVE,
      .name = "website" },
    { "INFORMATION", "admin_simplex", NULL, AT(info.admin_simplex), .type = SX_KEY_CONTACT, LIVE,
      .name = "SimpleX address of the administrator" },
    { "INFORMATION", "admin_email", NULL, AT(info.admin_email), .type = SX_KEY_EMAIL, LIVE,
      .name = "e-mail of the administrator" },
    { "INFORMATION", "admin_pgp", NULL, AT(info.admin_pgp), .type = SX_KEY_TEXT, LIVE,
      .name = "PGP key of the administrator" },
    { "INFORMATION", "admin_pgp_fingerprint", NULL, AT(info.admin_pgp_fingerprint),
      .type = SX_KEY_TEXT, LIVE, .name = "PGP fingerprint of the administrator" },
    { "INFORMATION", "complaints_simplex", NULL, AT(info.complaints_simplex),
      .type = SX_KEY_CONTACT, LIVE, .name = "SimpleX address for complaints" },
    { "INFORMATION", "complaints_email", NULL, AT(info.complaints_email), .type = SX_KEY_EMAIL,
      LIVE, .name = "e-mail for complaints" },
    { "INFORMATION", "complaints_pgp", NULL, AT(info.complaints_pgp), .type = SX_KEY_TEXT, LIVE,
      .name = "PGP key for complaints" },
    { "INFORMATION", "complaints_pgp_fingerprint", NULL, AT(info.complaints_pgp_fingerprint),
      .type = SX_KEY_TEXT, LIVE, .name = "PGP fingerprint for complaints" },
    { "INFORMATION", "hosting", NULL, AT(info.hosting), .type = SX_KEY_TEXT, LIVE,
      .name = "hosting provider" },
    { "INFORMATION", "hosting_country", NULL, AT(info.hosting_country), .type = SX_KEY_COUNTRY,
      LIVE, .name = "country of the hosting provider" },
    { "INFORMATION", "hosting_type", NULL, AT(info.hosting_type), .type = SX_KEY_CHOICE, LIVE,
      .words = words_hosting, .name = "type of hosting" },

    { "STORE_LOG", "enable", "off", AT(store.enable), .type = SX_KEY_BOOL, .name = "store log" },
    { "STORE_LOG", "store_queues", "memory", NOWHERE, .type = SX_KEY_WORD, .words = words_queues },
    { "STORE_LOG", "store_messages", "disk", AT(store.store_messages), .type = SX_KEY_WORD,
      .words = words_messages, .name = "message store" },
    { "STORE_LOG", "restore_messages", "on", AT(store.restore_messages), .type = SX_KEY_BOOL,
      .name = "messages kept over a restart" },
    { "STORE_LOG", "expire_messages_days", "21", AT(store.expire_messages_ms),
      .type = SX_KEY_NUMBER, RANGE(1, 36500), IN(DAY_MS, "days"), LIVE, .name = "message TTL" },
    { "STORE_LOG", "expire_messages_on_start", "on", AT(store.expire_messages_on_start),
      .type = SX_KEY_BOOL, .name = "expiry of messages at the start" },
    { "STORE_LOG", "expire_messages_on_send", "on", AT(store.expire_messages_on_send),
      .type = SX_KEY_BOOL, LIVE, .name = "expiry of messages when another one is sent" },
    { "STORE_LOG", "expire_ntfs_hours", "24", AT(store.expire_ntfs_ms), .type = SX_KEY_NUMBER,
      RANGE(1, 876000), IN(HOUR_MS, "hours"), LIVE, .name = "notification TTL" },
    { "STORE_LOG", "log_stats", "off", AT(store.log_stats), .type = SX_KEY_BOOL,
      .name = "daily statistics" },
    { "STORE_LOG", "prometheus_interval", NULL, AT(store.prometheus_interval_ms),
      .type = SX_KEY_NUMBER, RANGE(1, 86400), IN(SECOND_MS, "seconds"), LIVE,
      .name = "interval of the metrics file" },
    { "STORE_LOG", "db_connection", NULL, NOWHERE, .type = SX_KEY_TEXT,
      .group = SX_GROUP_DATABASE },
    { "STORE_LOG", "db_schema", NULL, NOWHERE, .type = SX_KEY_TEXT, .group = SX_GROUP_DATABASE },
    { "STORE_LOG", "db_pool_size", NULL, NOWHERE, .type = SX_KEY_TEXT, .group = SX_GROUP_DATABASE },
    { "STORE_LOG", "db_store_log", NULL, NOWHERE, .type = SX_KEY_TEXT, .group = SX_GROUP_DATABASE },
    { "STORE_LOG", "db_deleted_ttl", NULL, NOWHERE, .type = SX_KEY_TEXT,
      .group = SX_GROUP_DATABASE },

    { "AUTH", "new_queues", "on", AT(auth.new_queues), .type = SX_KEY_BOOL, LIVE,
      .name = "creating new queues" },
    { "AUTH", "create_password", NULL, AT(auth.create_password), .type = SX_KEY_PASSWORD, LIVE,
      .name = "password to create queues" },
    { "AUTH", "control_port_admin_password", NULL, AT(auth.control_port_admin_password),
      .type = SX_KEY_PASSWORD, LIVE, .name = "control port password of the administrator" },
    { "AUTH", "control_port_user_password", NULL, AT(auth.control_port_user_password),
      .type = SX_KEY_PASSWORD, LIVE, .name = "control port password of users" },
    { "AUTH", "daily_block_queue_quota", "20", AT(auth.daily_block_queue_quota),
      .type = SX_KEY_NUMBER, RANGE(-1, 1000000), LIVE, .name = "queues blocked a day at most" },

    { "TRANSPORT", "host", NULL, AT(transport.host), .type = SX_KEY_HOSTS,
      .name = "host of the server's address" },
    { "TRANSPORT", "port", NULL, AT(transport.port), .type = SX_KEY_PORTS, .name = "ports" },
    { "TRANSPORT", "bind", NULL, AT(transport.bind), .type = SX_KEY_ADDRESS,
      .name = "address to listen on" },
    { "TRANSPORT", "log_tls_errors", "off", AT(transport.log_tls_errors), .type = SX_KEY_BOOL,
      .name = "log of TLS errors" },
    { "TRANSPORT", "websockets", "off", NOWHERE, .type = SX_KEY_OFF },
    { "TRANSPORT", "control_port", NULL, AT(transport.control_port), .type = SX_KEY_PORT,
      .name = "control port" },
    { "TRANSPORT", "prometheus_port", NULL, AT(transport.prometheus_port), .type = SX_KEY_PORT,
      .name = "port of the metrics" },

    { "PROXY", "enable", "on", AT(proxy.enable), .type = SX_KEY_BOOL,
      .name = "forwarding of messages" },
    { "PROXY", "host_mode", "public", AT(proxy.host_mode), .type = SX_KEY_WORD,
      .words = words_hosts, .name = "preferred hosts of other servers" },
    { "PROXY", "required_host_mode", "off", AT(proxy.required_host_mode), .type = SX_KEY_BOOL,
      .name = "preferred hosts alone" },
    { "PROXY", "own_server_domains", NULL, AT(proxy.own_server_domains), .type = SX_KEY_DOMAINS,
      LIVE, .name = "domains of own servers" },
    { "PROXY", "socks_proxy", NULL, AT(proxy.socks_proxy), .type = SX_KEY_PROXY,
      .name = "SOCKS proxy" },
    { "PROXY", "socks_mode", "onion", AT(proxy.socks_mode), .type = SX_KEY_WORD,
      .words = words_socks, .name = "hosts behind the SOCKS proxy" },
    { "PROXY", "client_concurrency", "32", AT(proxy.client_concurrency), .type = SX_KEY_NUMBER,
      RANGE(1, 65535), LIVE, .name = "commands of a client forwarded at once" },

    { "NAMES", "enable", "off", AT(names_enable), .type = SX_KEY_BOOL,
      .name = "resolution of names" },
    { "NAMES", "resolver_endpoint", NULL, NOWHERE, .type = SX_KEY_TEXT },
    { "NAMES", "resolver_auth", NULL, NOWHERE, .type = SX_KEY_TEXT },
    { "NAMES", "resolver_timeout_ms", "3000", NOWHERE, .type = SX_KEY_NUMBER, RANGE(0, INT32_MAX) },
    { "NAMES", "resolver_max_response_bytes", "16000", NOWHERE, .type = SX_KEY_NUMBER,
      RANGE(0, INT32_MAX) },
    { "NAMES", "resolver_concurrency", "1000", NOWHERE, .type = SX_KEY_NUMBER,
      RANGE(0, INT32_MAX) },

    { "INACTIVE_CLIENTS", "disconnect", "off", AT(inactive.disconnect), .type = SX_KEY_BOOL, LIVE,
      .name = "disconnecting inactive clients" },
    { "INACTIVE_CLIENTS", "ttl", NULL, AT(inactive.ttl_ms), .type = SX_KEY_NUMBER,
      RANGE(1, 31536000), IN(SECOND_MS, "seconds"), LIVE, .name = "TTL of inactive clients" },
    { "INACTIVE_CLIENTS", "check_interval", NULL, AT(inactive.check_interval_ms),
      .type = SX_KEY_NUMBER, RANGE(1, 31536000), IN(SECOND_MS, "seconds"), LIVE,
      .name = "interval of the check for inactive clients" },

    { "WEB", "static_path", NULL, AT(web.static_path), .type = SX_KEY_PATH,
      .name = "folder of the static site" },
    { "WEB", "http", NULL, AT(web.http), .type = SX_KEY_PORT,
      .name = "HTTP port of the static site" },
    { "WEB", "https", NULL, AT(web.https), .type = SX_KEY_PORT,
      .name = "HTTPS port of the static site" },
    { "WEB", "cert", NULL, AT(web.cert), .type = SX_KEY_PATH,
      .name = "certificate of the static site" },
    { "WEB", "key", NULL, AT(web.key), .type = SX_KEY_PATH, .name = "key of the static site" },

    { "LIMITS", "messages_per_queue", "128", AT(limits.messages_per_queue), .type = SX_KEY_NUMBER,
      RANGE(1, 65534), .name = "messages waiting in a queue at most",
      .doc = "Messages that wait in a queue; then its senders get QUOTA." },
    { "LIMITS", "end_flush_seconds", "15", AT(limits.end_flush_ms), .type = SX_KEY_SECONDS,
      RANGE(0, HOUR_MS), LIVE, .name = "delay of END and DELD",
      .doc = "Clients whose subscription ended are told after so long; 0: at once." },
    { "LIMITS", "ntf_flush_seconds", "1.5", AT(limits.ntf_flush_ms), .type = SX_KEY_SECONDS,
      RANGE(0, HOUR_MS), LIVE, .name = "delay of notifications",
      .doc = "Notifications are collected for so long; 0: sent at once." },
    { "LIMITS", "tls_timeout_seconds", "60", AT(limits.tls_timeout_ms), .type = SX_KEY_SECONDS,
      RANGE(1, HOUR_MS), .name = "timeout of TLS",
      .doc = "A connection without TLS by then is closed." },
    { "LIMITS", "handshake_timeout_seconds", "120", AT(limits.handshake_timeout_ms),
      .type = SX_KEY_SECONDS, RANGE(1, HOUR_MS), .name = "timeout of the handshakes",
      .doc = "TLS and SMP handshake have to be done by then." },
    { "LIMITS", "stall_timeout_seconds", "120", AT(limits.stall_timeout_ms), .type = SX_KEY_SECONDS,
      RANGE(1, HOURS_24_MS), .name = "timeout of stalled clients",
      .doc = "A client that takes no data, or leaves a block unfinished, for so long is closed." },
    { "LIMITS", "expire_interval_seconds", "7200", AT(limits.expire_interval_ms),
      .type = SX_KEY_SECONDS, RANGE(1, 30LL * DAY_MS), LIVE,
      .name = "interval of the expiry of messages",
      .doc = "All queues are looked through for old messages this often." },
    { "LIMITS", "smp_min_version", "6", AT(limits.smp_min_version), .type = SX_KEY_NUMBER,
      RANGE(6, 19), .name = "lowest SMP version", .doc = "SMP versions that are offered." },
    { "LIMITS", "smp_max_version", "19", AT(limits.smp_max_version), .type = SX_KEY_NUMBER,
      RANGE(6, 19), .name = "highest SMP version" },
    { "LIMITS", "max_connections", "100000", AT(limits.max_connections), .type = SX_KEY_NUMBER,
      RANGE(1, 10000000), .name = "connections at most",
      .doc = "Clients connected at once; further ones are closed. Raise the limit of open files "
             "with it." },
    { "LIMITS", "queues_per_client", "0", AT(limits.queues_per_client), .type = SX_KEY_NUMBER,
      RANGE(0, 1000000), .name = "queues created by a client in the interval",
      .doc = "Queues that a connection may create in queues_interval_seconds; 0: no limit." },
    { "LIMITS", "queues_interval_seconds", "3600", AT(limits.queues_interval_ms),
      .type = SX_KEY_SECONDS, RANGE(1, 30LL * DAY_MS), .name = "interval of queues_per_client" },
    { "LIMITS", "memory_per_client_kib", "0", AT(limits.memory_per_client), .type = SX_KEY_NUMBER,
      RANGE(0, 1048576), IN(1024, "KiB"), .name = "memory of a client at most",
      .doc = "Memory of the buffers of one connection, in KiB; 0: no limit." },
    { "LIMITS", "commands_per_block", "255", AT(limits.commands_per_block), .type = SX_KEY_NUMBER,
      RANGE(1, 255), .name = "commands in a block at most",
      .doc = "Commands taken from one block." },
    { "LIMITS", "subscriptions_per_client", "1048576", AT(limits.subscriptions_per_client),
      .type = SX_KEY_NUMBER, RANGE(1, 10000000), .name = "subscriptions of a client at most",
      .doc = "Queues that a connection may be subscribed to." },
    { "LIMITS", "proxy_relays", "1000", AT(limits.proxy_relays), .type = SX_KEY_NUMBER,
      RANGE(1, 100000), LIVE, .name = "relays connected to at most",
      .doc = "Private routing: relays that the server is connected to, or remembers as failed." },
    { "LIMITS", "proxy_pending", "4096", AT(limits.proxy_pending), .type = SX_KEY_NUMBER,
      RANGE(1, 1000000), LIVE, .name = "forwarded commands under way at most",
      .doc = "Commands under way to all relays, of 16 KB each," },
    { "LIMITS", "proxy_relay_pending", "512", AT(limits.proxy_relay_pending), .type = SX_KEY_NUMBER,
      RANGE(1, 1000000), LIVE, .name = "commands under way to one relay at most",
      .doc = "and to one of them." },
    { "LIMITS", "proxy_connect_timeout_seconds", "45", AT(limits.proxy_connect_timeout_ms),
      .type = SX_KEY_SECONDS, RANGE(1, HOUR_MS), .name = "timeout of connections to relays",
      .doc = "A relay has to be connected by then, and to answer a command by then." },
    { "LIMITS", "proxy_command_timeout_seconds", "30", AT(limits.proxy_command_timeout_ms),
      .type = SX_KEY_SECONDS, RANGE(1, HOUR_MS), .name = "timeout of commands to relays" },
    { "LIMITS", "proxy_idle_seconds", "3600", AT(limits.proxy_idle_ms), .type = SX_KEY_SECONDS,
      RANGE(1, 30LL * DAY_MS), LIVE, .name = "time until an unused relay is left",
      .doc = "A session with a relay that nobody used for so long is closed." },
    { "LIMITS", "proxy_failed_seconds", "30", AT(limits.proxy_failed_ms), .type = SX_KEY_SECONDS,
      RANGE(1, HOURS_24_MS), LIVE, .name = "time until a failed relay is tried again",
      .doc = "A relay that could not be connected is not tried again for so long." },
    { "LIMITS", "web_connections", "1000", AT(limits.web_connections), .type = SX_KEY_NUMBER,
      RANGE(1, 100000), .name = "browsers at most",
      .doc = "Browsers connected to the site of [WEB] at once; then those go that wait." },
    { "LIMITS", "threads", "0", AT(limits.threads), .type = SX_KEY_NUMBER, RANGE(0, 64),
      .name = "threads", .doc = "Threads that serve clients; 0: one a processor core." },
    { "LIMITS", "max_message_memory_mib", "0", AT(limits.max_message_memory), .type = SX_KEY_NUMBER,
      RANGE(0, 16777216), IN(1048576, "MiB"), .name = "memory of all waiting messages at most",
      .doc = "Memory of all waiting messages, in MiB; 0: no limit." },
    { "LIMITS", "store_log_growth", "4", AT(limits.store_log_growth), .type = SX_KEY_NUMBER,
      RANGE(2, 1000000), .name = "growth of the store log until it is compacted",
      .doc =
          "The store log is compacted when it is so many times as large as after the last time," },
    { "LIMITS", "store_log_compact_kib", "65536", AT(limits.store_log_compact),
      .type = SX_KEY_NUMBER, RANGE(16, 1073741824), IN(1024, "KiB"),
      .name = "size of the store log that is not compacted",
      .doc = "and larger than this, in KiB." },
    { "LIMITS", "services", "16384", AT(limits.services), .type = SX_KEY_NUMBER, RANGE(1, 1000000),
      .name = "services at most",
      .doc = "Certificates of services that have queues, or had; those that are away with few or "
             "no queues make room." },
    { "LIMITS", "failed_relays_per_client", "60", AT(limits.failed_relays_per_client),
      .type = SX_KEY_NUMBER, RANGE(1, 1000000), .name = "relays tried in vain for a client",
      .doc = "Relays that were tried in vain for a connection within ten minutes; then it waits." },

    { "LOG", "level", "info", AT(log_level), .type = SX_KEY_WORD, .words = words_log, LIVE,
      .name = "log level",
      .doc =
          "What is logged: error, warn, info, debug or trace. No level logs who talks to whom." },
};
/* clang-format on */

const size_t sx_keys_count = SX_COUNT(sx_keys);
_Static_assert(SX_COUNT(sx_keys) <= SX_KEYS_MAX, "raise SX_KEYS_MAX");

size_t sx_key_find(simplex_bytes section, simplex_bytes key)
{
    size_t i = 0;

    while (i < sx_keys_count && !(sx_bytes_eq(section, sx_str(sx_keys[i].section)) &&
                                  sx_bytes_eq(key, sx_str(sx_keys[i].key))))
        i++;
    return i;
}

size_t sx_key_size(const struct sx_key *k)
{
    static const size_t sizes[] = {
        [SX_KEY_BOOL] = sizeof(bool),
        [SX_KEY_NUMBER] = sizeof(int64_t),
        [SX_KEY_SECONDS] = sizeof(int64_t),
        [SX_KEY_WORD] = sizeof(uint8_t),
        [SX_KEY_PORT] = sizeof(uint16_t),
        [SX_KEY_PORTS] = sizeof(struct sx_config_ports),
        [SX_KEY_DOMAINS] = sizeof(struct sx_config_domains),
        [SX_KEY_PROXY] = sizeof(struct sx_config_proxy),
    };

    if (k->offset == SX_KEY_NO_FIELD)
        return 0;
    return k->type < SX_KEY_PASSWORD ? sizes[k->type] : sizeof(char *);
}
