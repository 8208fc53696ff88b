/* SPDX-License-Identifier: Apache-2.0 */
/* What smp-server makes of its ini for the library (server/cli_config.c). */
#include "support/vec.h"

#include "cli.h"
#include "config_keys.h"

#define FIELD(f) offsetof(simplex_server_config, f), sizeof(((simplex_server_config *)NULL)->f)

/* Every key of [LIMITS]. No value is one that another key has, or that holds when it is absent. */
static const struct limit {
    const char *key, *text;
    size_t offset, size;
    uint64_t value;
} limits[] = {
    { "messages_per_queue", "101", FIELD(quota), 101 },
    { "end_flush_seconds", "1.02", FIELD(end_flush_ms), 1020 },
    { "ntf_flush_seconds", "1.03", FIELD(ntf_flush_ms), 1030 },
    { "tls_timeout_seconds", "1.04", FIELD(tls_timeout_ms), 1040 },
    { "handshake_timeout_seconds", "1.05", FIELD(handshake_timeout_ms), 1050 },
    { "stall_timeout_seconds", "1.06", FIELD(stall_timeout_ms), 1060 },
    { "expire_interval_seconds", "1.07", FIELD(expire_interval_ms), 1070 },
    { "smp_min_version", "8", FIELD(min_version), 8 },
    { "smp_max_version", "18", FIELD(max_version), 18 },
    { "max_connections", "108", FIELD(max_connections), 108 },
    { "queues_per_client", "109", FIELD(queues_per_client), 109 },
    { "queues_interval_seconds", "1.10", FIELD(queues_interval_ms), 1100 },
    { "memory_per_client_kib", "1024", FIELD(memory_per_client), 1024u << 10 },
    { "commands_per_block", "112", FIELD(commands_per_block), 112 },
    { "subscriptions_per_client", "113", FIELD(subscriptions_per_client), 113 },
    { "proxy_relays", "114", FIELD(proxy_relays), 114 },
    { "proxy_pending", "216", FIELD(proxy_pending), 216 },
    { "proxy_relay_pending", "116", FIELD(proxy_relay_pending), 116 },
    { "proxy_connect_timeout_seconds", "1.17", FIELD(proxy_connect_timeout_ms), 1170 },
    { "proxy_command_timeout_seconds", "1.18", FIELD(proxy_command_timeout_ms), 1180 },
    { "proxy_idle_seconds", "1.19", FIELD(proxy_idle_ms), 1190 },
    { "proxy_failed_seconds", "1.20", FIELD(proxy_failed_ms), 1200 },
    { "web_connections", "121", FIELD(web_connections), 121 },
    { "threads", "22", FIELD(threads), 22 },
    { "max_message_memory_mib", "123", FIELD(max_message_memory), UINT64_C(123) << 20 },
    { "store_log_growth", "124", FIELD(compact_growth), 124 },
    { "store_log_compact_kib", "125", FIELD(compact_bytes), 125u << 10 },
    { "services", "126", FIELD(services), 126 },
    { "failed_relays_per_client", "127", FIELD(failed_relays_per_client), 127 },
};

static void no_report(void *user, enum sx_config_severity severity, unsigned line, const char *text)
{
    (void)user;
    (void)severity;
    (void)line;
    fail_msg("%s", text);
}

/* With these lines in [LIMITS]. What *out points to lives as long as *config and *cli. */
static void read_ini(const char *lines, struct sx_cli *cli, struct sx_config *config,
                     simplex_server_config *out)
{
    char text[4096];

    snprintf(text, sizeof(text), "[TRANSPORT]\nhost: localhost\nport: 5223\n[LIMITS]\n%s", lines);
    assert_int_equal(sx_config_parse("smp-server.ini", sx_str(text), no_report, NULL, config),
                     SIMPLEX_OK);
    *cli = (struct sx_cli){ .config_dir = "/config", .state_dir = "/state" };
    assert_int_equal(sx_cli_paths(cli), SX_CLI_GO_ON);
    sx_cli_server_config(cli, config, out);
}

static void free_ini(struct sx_cli *cli, struct sx_config *config)
{
    sx_config_free(config);
    sx_paths_free(&cli->paths);
}

static uint64_t value_of(const simplex_server_config *cfg, const struct limit *l)
{
    const uint8_t *at = (const uint8_t *)cfg + l->offset;
    uint16_t v16;
    uint32_t v32;
    uint64_t v64;

    switch (l->size) {
    case sizeof(v16):
        memcpy(&v16, at, sizeof(v16));
        return v16;
    case sizeof(v32):
        memcpy(&v32, at, sizeof(v32));
        return v32;
    default:
        assert_int_equal(l->size, sizeof(v64));
        memcpy(&v64, at, sizeof(v64));
        return v64;
    }
}

static void every_limit_of_the_ini_reaches_the_server(void **state)
{
    simplex_server_config cfg, absent;
    struct sx_config config[2];
    struct sx_cli cli[2];
    char lines[2048] = "";
    size_t len = 0;

    (void)state;
    for (size_t i = 0; i < SX_COUNT(limits); i++)
        len += (size_t)snprintf(lines + len, sizeof(lines) - len, "%s: %s\n", limits[i].key,
                                limits[i].text);
    assert_true(len < sizeof(lines));
    read_ini(lines, &cli[0], &config[0], &cfg);
    read_ini("", &cli[1], &config[1], &absent);
    for (size_t i = 0; i < SX_COUNT(limits); i++) {
        const struct limit *l = &limits[i];
        if (value_of(&cfg, l) != l->value || value_of(&absent, l) == l->value)
            fail_msg("%s: %llu", l->key, (unsigned long long)value_of(&cfg, l));
    }
    free_ini(&cli[0], &config[0]);
    free_ini(&cli[1], &config[1]);
}

static void the_table_has_every_limit(void **state)
{
    size_t keys = 0;

    (void)state;
    for (size_t i = 0; i < sx_keys_count; i++)
        keys += strcmp(sx_keys[i].section, "LIMITS") == 0;
    assert_int_equal(keys, SX_COUNT(limits)); /* none is twice in it: the ini would be refused */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_limit_of_the_ini_reaches_the_server),
        cmocka_unit_test(the_table_has_every_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
