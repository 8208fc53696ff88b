/* SPDX-License-Identifier: Apache-2.0 */
/* smp-server.ini as a whole: files of the reference, messages with lines, reload, paths. */
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/vec.h"
#include "support/reports.h"

#include "config_keys.h"
#include "paths.h"

#define PORT "[TRANSPORT]\nport: 5223\n"

static struct sx_config c;
static struct reports said;

static simplex_rc load(const char *text)
{
    memset(&said, 0, sizeof said);
    return sx_config_parse("smp-server.ini", sx_str(text), reports_add, &said, &c);
}

static void loads(const char *text)
{
    simplex_rc rc = load(text);

    if (rc != SIMPLEX_OK)
        reports_print(&said);
    assert_int_equal(rc, SIMPLEX_OK);
    assert_int_equal(said.errors, 0);
}

static void loads_silently(const char *text)
{
    loads(text);
    reports_print(&said);
    assert_int_equal(said.count, 0);
}

/* One report, with this line and these words. */
static void says(const char *text, simplex_rc rc, unsigned line, const char *words)
{
    assert_int_equal(load(text), rc);
    if (said.count != 1 || said.line[0] != line || strstr(said.text[0], words) == NULL)
        reports_print(&said);
    assert_int_equal(said.count, 1);
    assert_int_equal(said.line[0], line);
    assert_non_null(strstr(said.text[0], words));
    sx_config_free(&c);
}

static void warns(const char *text, unsigned line, const char *words)
{
    says(text, SIMPLEX_OK, line, words);
    assert_int_equal(said.warnings, 1);
}

static void refuses(const char *text, unsigned line, const char *words)
{
    says(text, SIMPLEX_E_ARG, line, words);
    assert_int_equal(said.errors, 1);
}

/* ---- files of the reference ---- */

static const char ini_3_4[] = /* what v3.4 writes, without its comments */
    "[STORE_LOG]\n"
    "# comment\n"
    "enable: on\n\n"
    "restore_messages: on\n"
    "log_stats: off\n\n"
    "[AUTH]\n"
    "new_queues: on\n"
    "create_password: 6lqQK5_6sCxQ9uIVJYgUlqeLBW5kALaPYHXZv4HwkB0=\n\n"
    "[TRANSPORT]\n"
    "host: smp.example.org\n"
    "port: 5223\n"
    "websockets: off\n\n"
    "[INACTIVE_CLIENTS]\n"
    "disconnect: off\n"
    "# ttl: 86400\n"
    "# check_interval: 43200\n";

static void an_ini_of_3_4_is_read_without_a_word(void **state)
{
    (void)state;
    loads_silently(ini_3_4);
    assert_true(c.store.enable);
    assert_true(c.store.restore_messages);
    assert_int_equal(c.store.store_messages, SX_MESSAGES_DISK);
    assert_false(c.store.log_stats);
    assert_int_equal(c.store.expire_messages_ms, 21 * INT64_C(86400000));
    assert_true(c.store.expire_messages_on_send);
    assert_true(c.auth.new_queues);
    assert_string_equal(c.auth.create_password, "6lqQK5_6sCxQ9uIVJYgUlqeLBW5kALaPYHXZv4HwkB0=");
    assert_string_equal(c.transport.host, "smp.example.org");
    assert_string_equal(c.transport.port.text, "5223");
    assert_false(c.inactive.disconnect);
    sx_config_free(&c);
}

static const char ini_6[] = /* as a server of 6.5 runs with */
    "[INFORMATION]\n"
    "source_code: https://github.com/simplex-chat/simplexmq\n"
    "usage_conditions: https://example.org/terms\n"
    "server_country: SE\n"
    "operator: Example\n"
    "operator_country: GB\n"
    "website: https://example.org\n"
    "admin_simplex: https://smp.example.org/a#abc\n"
    "admin_email: admin@example.org\n"
    "complaints_email: abuse@example.org\n"
    "hosting: Provider AB\n"
    "hosting_country: SE\n"
    "hosting_type: dedicated\n"
    "\n"
    "[STORE_LOG]\n"
    "enable: on\n"
    "store_queues: memory\n"
    "# db_connection: postgresql://smp@/smp_server_store\n"
    "store_messages: memory\n"
    "restore_messages: on\n"
    "expire_messages_days: 14\n"
    "expire_messages_on_start: on\n"
    "expire_messages_on_send: off\n"
    "expire_ntfs_hours: 48\n"
    "log_stats: on\n"
    "prometheus_interval: 300\n"
    "\n"
    "[AUTH]\n"
    "new_queues: off\n"
    "create_password = secret\n"
    "control_port_admin_password: admin\n"
    "control_port_user_password: user\n"
    "daily_block_queue_quota: -1\n"
    "\n"
    "[TRANSPORT]\n"
    "host: smp.example.org,abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrstuvwx.onion\n"
    "port: 5223,443\n"
    "log_tls_errors: on\n"
    "websockets: off\n"
    "control_port: 5224\n"
    "\n"
    "[PROXY]\n"
    "host_mode: onion\n"
    "required_host_mode: off\n"
    "own_server_domains: Example.org example.net\n"
    "socks_proxy: 127.0.0.1:9050\n"
    "socks_mode: onion\n"
    "client_concurrency: 16\n"
    "\n"
    "[INACTIVE_CLIENTS]\n"
    "disconnect: on\n"
    "ttl: 21600\n"
    "check_interval: 3600\n"
    "\n"
    "[WEB]\n"
    "static_path: /var/opt/simplex/www\n"
    "https: 443\n"
    "cert: /etc/opt/simplex/web.crt\n"
    "key: /etc/opt/simplex/web.key\n";

static void an_ini_of_6_is_read_without_a_word(void **state)
{
    (void)state;
    loads_silently(ini_6);
    assert_string_equal(c.info.hosting_type, "dedicated");
    assert_string_equal(c.info.admin_simplex, "https://smp.example.org/a#abc");
    assert_int_equal(c.store.store_messages, SX_MESSAGES_MEMORY);
    assert_int_equal(c.store.expire_messages_ms, 14 * INT64_C(86400000));
    assert_int_equal(c.store.expire_ntfs_ms, 48 * 3600000);
    assert_false(c.store.expire_messages_on_send);
    assert_true(c.store.log_stats);
    assert_int_equal(c.store.prometheus_interval_ms, 300000);
    assert_false(c.auth.new_queues);
    assert_string_equal(c.auth.create_password, "secret");
    assert_string_equal(c.auth.control_port_admin_password, "admin");
    assert_int_equal(c.auth.daily_block_queue_quota, -1);
    assert_int_equal(c.transport.port.count, 2);
    assert_int_equal(c.transport.port.port[1], 443);
    assert_string_equal(c.transport.port.text, "5223,443");
    assert_int_equal(c.transport.control_port, 5224);
    assert_int_equal(c.proxy.host_mode, SX_CONFIG_ONION);
    assert_int_equal(c.proxy.own_server_domains.count, 2);
    assert_string_equal(c.proxy.own_server_domains.name[0], "example.org");
    assert_string_equal(c.proxy.socks_proxy.host, "127.0.0.1");
    assert_int_equal(c.proxy.socks_proxy.port, 9050);
    assert_int_equal(c.proxy.client_concurrency, 16);
    assert_int_equal(c.inactive.ttl_ms, 21600000);
    assert_int_equal(c.inactive.check_interval_ms, 3600000);
    assert_int_equal(c.web.https, 443);
    assert_string_equal(c.web.static_path, "/var/opt/simplex/www");
    assert_int_equal(c.web.cert_line, 58);
    assert_int_equal(c.web.key_line, 59);
    assert_true(sx_config_has_https(&c));
    sx_config_free(&c);
}

/* The reference takes both, too. */
static void hosts_and_countries_are_kept_in_one_form(void **state)
{
    (void)state;
    loads_silently("[TRANSPORT]\nport: 5223\nhost: smp.example.org, ::1 ,\t1.2.3.4\n"
                   "[INFORMATION]\nsource_code: https://example.org\nserver_country: se\n");
    assert_string_equal(c.transport.host, "smp.example.org,::1,1.2.3.4");
    assert_string_equal(c.info.server_country, "SE");
    sx_config_free(&c);
}

static void values_when_absent_are_those_of_the_reference(void **state)
{
    (void)state;
    loads_silently(PORT);
    assert_false(c.store.enable);
    assert_false(c.store.restore_messages);
    assert_int_equal(c.store.store_messages, SX_MESSAGES_MEMORY);
    assert_int_equal(c.store.prometheus_interval_ms, 0);
    assert_true(c.store.expire_messages_on_start);
    assert_true(c.auth.new_queues);
    assert_null(c.auth.create_password);
    assert_int_equal(c.auth.daily_block_queue_quota, 20);
    assert_null(c.transport.host);
    assert_null(c.transport.bind);
    assert_int_equal(c.transport.control_port, 0);
    assert_int_equal(c.proxy.host_mode, SX_CONFIG_PUBLIC);
    assert_null(c.proxy.socks_proxy.host);
    assert_int_equal(c.proxy.client_concurrency, 32);
    assert_int_equal(c.limits.messages_per_queue, 128);
    assert_int_equal(c.limits.end_flush_ms, 15000);
    assert_int_equal(c.limits.ntf_flush_ms, 1500);
    assert_int_equal(c.limits.tls_timeout_ms, 60000);
    assert_int_equal(c.limits.handshake_timeout_ms, 120000);
    assert_int_equal(c.limits.smp_min_version, 6);
    assert_int_equal(c.limits.smp_max_version, 19);
    assert_int_equal(c.limits.queues_per_client, 0);
    assert_int_equal(c.limits.commands_per_block, 255);
    assert_int_equal(c.log_level, SX_LOG_INFO);
    sx_config_free(&c);
}

/* ---- messages ---- */

static void faults_are_reported_with_line_and_remedy(void **state)
{
    (void)state;
    refuses("[TRANSPORT]\n\nport: 70000\n", 3,
            "smp-server.ini:3: [TRANSPORT] port: \"70000\" cannot be used: write one to eight "
            "different ports");
    refuses(PORT "[STORE_LOG]\nenable: yes\n", 4, "\"yes\" cannot be used: write on or off");
    refuses(PORT "[STORE_LOG]\nexpire_messages_days:\n", 4,
            "the value is missing: write a whole number from 1 to 36500, or # before the line");
    refuses(PORT ": 1\n", 3, "smp-server.ini:3: this is no setting");
    refuses("", 0, "smp-server.ini: [TRANSPORT] port: it is missing: write port: 5223,443");
}

static void no_password_is_shown(void **state)
{
    (void)state;
    refuses(PORT "[AUTH]\ncreate_password: hunter2@home\n", 4, "without blanks, @, : or /");
    assert_null(strstr(said.text[0], "hunter2"));
    refuses(PORT "[PROXY]\nsocks_proxy: user:hunter2@host:port\n", 4, "host:port");
    assert_null(strstr(said.text[0], "hunter2"));
}

static void every_fault_of_a_file_is_reported(void **state)
{
    (void)state;
    assert_int_equal(load("[TRANSPORT]\nport: x\nbind: a b\n[AUTH]\nnew_queues: ON\nfoo: 1\n"),
                     SIMPLEX_E_ARG);
    assert_int_equal(said.errors, 3);
    assert_int_equal(said.warnings, 1);
    assert_int_equal(said.line[0], 2);
    assert_int_equal(said.line[1], 3);
    assert_int_equal(said.line[2], 5);
    assert_int_equal(said.line[3], 6);
}

static void a_file_of_faults_is_refused_after_a_hundred(void **state)
{
    static char text[100000];
    size_t n = (size_t)snprintf(text, sizeof text, "%s", PORT);

    (void)state;
    for (int i = 0; i < 1000; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "unknown_%d: x\n", i);
    assert_int_equal(load(text), SIMPLEX_E_ARG);
    assert_int_equal(said.count, 101);
    assert_non_null(strstr(said.text[100], "more faults"));
}

static void unknown_names_are_warned_about_with_the_nearest_one(void **state)
{
    (void)state;
    warns(PORT "[STORE_LOG]\nexpire_mesages_days: 3\n", 4, "did you mean expire_messages_days?");
    warns(PORT "Bind: ::\n", 3, "did you mean bind?");
    warns(PORT "create_password: x\n", 3, "it belongs to [AUTH]");
    warns(PORT "frobnicate_everything: x\n", 3, "write # before the line");
    warns(PORT "[AUTHH]\ncreate_password: x\n", 3, "did you mean [AUTH]?");
    warns(PORT "[store_log]\nenable: on\n", 3, "did you mean [STORE_LOG]?");
    warns(PORT "[SOMETHING ELSE]\na: b\nc: d\n", 3, "its keys have no effect");
}

static void what_stands_twice_is_reported(void **state)
{
    (void)state;
    assert_int_equal(load("[TRANSPORT]\nport: 5223\nport: 443\n"), SIMPLEX_OK);
    assert_int_equal(said.warnings, 1);
    assert_int_equal(said.line[0], 3);
    assert_non_null(strstr(said.text[0], "stands in line 2 already"));
    assert_string_equal(c.transport.port.text, "5223");
    sx_config_free(&c);
    warns(PORT "[AUTH]\nnew_queues: off\n" PORT "host: a.org\n", 1,
          "[TRANSPORT] stands in line 5 again, so its keys here have no effect");
    assert_int_equal(load(PORT "[TRANSPORT]\nhost: a.org\n"), SIMPLEX_E_ARG); /* without port */
    assert_int_equal(said.errors, 1);
    assert_int_equal(said.warnings, 1);
}

/* The words of --log-level. */
static void takes_every_log_level(void **state)
{
    static const char *const levels[] = { "error", "warn", "info", "debug", "trace" };
    char text[64];

    (void)state;
    for (size_t i = 0; i < SX_COUNT(levels); i++) {
        snprintf(text, sizeof(text), PORT "[LOG]\nlevel: %s\n", levels[i]);
        loads(text);
        assert_int_equal(c.log_level, i);
        sx_config_free(&c);
    }
    assert_int_equal(SX_LOG_DEBUG, 3);
    refuses(PORT "[LOG]\nlevel: loud\n", 4, "write error, warn, info, debug or trace");
}

static void bytes_of_the_file_cannot_harm_a_terminal(void **state)
{
    (void)state;
    assert_int_equal(load(PORT "[LOG]\nlevel: \xc2\x9b"
                               "31m\xff\n"),
                     SIMPLEX_E_ARG);
    for (const char *p = said.text[0]; *p != 0; p++)
        assert_true(*p >= ' ' && *p <= '~');
}

/* ---- features that are not there ---- */

static void stores_of_the_reference_are_refused_with_the_way_out(void **state)
{
    (void)state;
    refuses(PORT "[STORE_LOG]\nenable: on\nstore_messages: journal\n", 5,
            "run `smp-server journal export` of the reference, then write disk");
    refuses(PORT "[STORE_LOG]\nenable: on\nstore_queues: database\n", 5,
            "run `smp-server database export` of the reference");
    refuses(PORT "[STORE_LOG]\nenable: on\nstore_messages: database\n", 5, "database export");
    refuses(PORT "[STORE_LOG]\nenable: on\nstore_messages: postgres\n", 5, "disk or memory");
    warns(PORT "[STORE_LOG]\nenable: on\ndb_schema: x\ndb_deleted_ttl: 21\n", 5,
          "no effect: write # before every db_ line");
}

static void websockets_are_not_served_whatever_the_file_says(void **state)
{
    (void)state;
    loads_silently(PORT "websockets: off\n");
    sx_config_free(&c);
    warns(PORT "websockets: on\n", 3, "has no effect, SMP over WebSocket is not served: write off");
    warns(PORT "websockets: 443\n", 3, "write off");
    refuses(PORT "websockets:\n", 3, "the value is missing: write off");
}

#define SITE "[WEB]\nstatic_path: /srv/www\n"
#define CERT "cert: /etc/web.crt\nkey: /etc/web.key\n"

static void a_site_that_lacks_something_is_said_to(void **state)
{
    (void)state;
    warns(PORT "[WEB]\nhttp: 8000\n", 4, "there is no site without static_path");
    warns(PORT "[WEB]\nhttp: 8000\nhttps: 443\n" CERT, 5, "there is no site without static_path");
    warns(PORT SITE "https: 443\n", 5, "not served over HTTPS without cert and key");
    warns(PORT SITE "https: 443\nkey: /etc/web.key\n", 5, "without cert and key");
    warns(PORT SITE CERT, 5, "no effect without https");
    warns(PORT "[WEB]\nstatic_path: www\n", 4, "write a path that starts with /");
    loads_silently(PORT SITE "http: 80\nhttps: 443\n" CERT);
    assert_true(sx_config_has_https(&c));
    sx_config_free(&c);
    loads_silently(PORT SITE);
    assert_false(sx_config_has_https(&c));
    sx_config_free(&c);
}

static void ports_of_the_site_have_no_other_use(void **state)
{
    (void)state;
    refuses(PORT SITE "http: 5223\n", 5, "another use: write another one, for example 80");
    refuses(PORT SITE "http: 443\nhttps: 443\n" CERT, 5, "another use");
    refuses(PORT "prometheus_port: 443\n" SITE "https: 443\n" CERT, 6, "another use");
    refuses(PORT "prometheus_port: 80\n" SITE "http: 80\n", 6, "another use");
    loads_silently(PORT SITE "https: 5223\n" CERT); /* shared with SMP clients */
    sx_config_free(&c);
}

static void names_are_warned_about_when_they_are_on(void **state)
{
    (void)state;
    loads_silently(PORT "[NAMES]\nenable: off\nresolver_endpoint: http://localhost:8545\n"
                        "resolver_timeout_ms: 3000\n");
    sx_config_free(&c);
    warns(PORT "[NAMES]\nenable: on\n", 4, "names are not resolved");
    refuses(PORT "[NAMES]\nenable: maybe\n", 4, "on or off");
}

/* ---- what the reference starts with ---- */

static void information_is_shown_as_it_was_written(void **state)
{
    (void)state;
    loads(PORT "[INFORMATION]\nsource_code: git.example.org/smp\nusage_conditions: be kind\n"
               "admin_email: admin at example.org\ncomplaints_email: none\n");
    assert_int_equal(said.warnings, 4);
    assert_int_equal(said.line[0], 4);
    assert_non_null(strstr(said.text[0], "\"git.example.org/smp\" may be of no use: write an "
                                         "address"));
    assert_string_equal(c.info.source_code, "git.example.org/smp");
    assert_string_equal(c.info.usage_conditions, "be kind");
    assert_string_equal(c.info.admin_email, "admin at example.org");
    assert_string_equal(c.info.complaints_email, "none");
    sx_config_free(&c);
}

/* A line of the template of one of its releases has lost its #. */
static void lines_of_no_use_have_no_effect(void **state)
{
    (void)state;
    loads(PORT "[STORE_LOG]\nenable: on\n# Message storage mode: `memory` or `journal`.\n"
               "This option is deprecated and will be removed, do NOT use `journal` here if "
               "`store_queues` is memory.\nstore_messages: memory\n");
    assert_int_equal(said.warnings, 1);
    assert_int_equal(said.line[0], 6);
    assert_int_equal(c.store.store_messages, SX_MESSAGES_MEMORY);
    sx_config_free(&c);
    warns("port: 1\n" PORT, 1, "above the first section has no effect: write [STORE_LOG]");
    warns("[TRANSPORT] ports\nport: 5223\n", 1, "what stands behind ] has no effect");
    loads_silently("[TRANSPORT] # ports\nport: 5223\n");
    sx_config_free(&c);
}

static void of_two_sections_the_last_one_counts(void **state)
{
    (void)state;
    loads("[INFORMATION]\nsource_code: https://a.org\nserver_country: SE\n" PORT
          "[INFORMATION]\nserver_country: Sweden\noperator: O\n");
    assert_int_equal(said.warnings, 3); /* the section, the country, without source_code */
    assert_null(c.info.source_code);
    assert_null(c.info.server_country);
    assert_string_equal(c.info.operator_name, "O");
    sx_config_free(&c);
}

static void hosts_of_no_use_are_none(void **state)
{
    (void)state;
    loads(PORT "host: smp.example.org:5223\n");
    assert_int_equal(said.warnings, 1);
    assert_non_null(strstr(said.text[0], "without port"));
    assert_null(c.transport.host);
    sx_config_free(&c);
}

static void what_the_reference_does_not_look_at_cannot_stop_the_start(void **state)
{
    static const struct {
        const char *text, *gate;
    } rows[] = {
        { "[INFORMATION]\nserver_country: Sweden\nhosting_type: cloud\nadmin_simplex: me\n",
          "source_code: https://example.org\n" },
        { "[INACTIVE_CLIENTS]\nttl: 6h\ncheck_interval:\n", "disconnect: on\n" },
        { "[NAMES]\nresolver_timeout_ms: x\nresolver_concurrency: -1\n", "enable: on\n" },
    };
    char text[400];

    (void)state;
    for (size_t i = 0; i < SX_COUNT(rows); i++) {
        snprintf(text, sizeof text, PORT "%s", rows[i].text);
        loads(text);
        assert_true(said.warnings >= 2);
        sx_config_free(&c);
        snprintf(text, sizeof text, PORT "%s%s", rows[i].text, rows[i].gate);
        assert_int_equal(load(text), SIMPLEX_E_ARG);
        assert_true(said.errors >= 2);
    }
}

/* The reference would connect without a proxy, and show its address. */
static void a_proxy_that_is_needed_is_the_usual_one(void **state)
{
    (void)state;
    loads(PORT "[PROXY]\nsocks_mode: always\n");
    assert_int_equal(said.warnings, 1);
    assert_int_equal(said.line[0], 4);
    assert_non_null(strstr(said.text[0], "always needs a proxy, 127.0.0.1:9050 is taken"));
    assert_string_equal(c.proxy.socks_proxy.host, "127.0.0.1");
    assert_int_equal(c.proxy.socks_proxy.port, 9050);
    sx_config_free(&c);
    warns(PORT "[PROXY]\nsocks_proxy:\nsocks_mode: always\n", 4,
          "the value is missing, 127.0.0.1:9050 is taken");
}

/* ---- settings that depend on each other ---- */

static void messages_are_on_disk_when_everything_else_is_kept(void **state)
{
    static const struct {
        const char *text;
        bool disk;
    } rows[] = {
        { "enable: on\n", true },
        { "enable: off\n", false },
        { "enable: on\nrestore_messages: off\n", false },
        { "enable: on\nrestore_messages: on\n", true },
        { "enable: on\nstore_messages: memory\n", false },
        { "enable: on\nstore_messages: disk\n", true },
    };
    char text[200];

    (void)state;
    for (size_t i = 0; i < SX_COUNT(rows); i++) {
        snprintf(text, sizeof text, PORT "[STORE_LOG]\n%s", rows[i].text);
        loads_silently(text);
        assert_int_equal(c.store.store_messages == SX_MESSAGES_DISK, rows[i].disk);
        sx_config_free(&c);
    }
    refuses(PORT "[STORE_LOG]\nenable: off\nstore_messages: disk\n", 5, "write enable: on");
    warns(PORT "[STORE_LOG]\nenable: on\nstore_messages: disk\nrestore_messages: off\n", 6,
          "messages on disk are always kept");
    warns(PORT "[STORE_LOG]\nenable: off\nrestore_messages: on\n", 5, "without their queues");
}

static void settings_that_do_not_fit_are_reported(void **state)
{
    (void)state;
    assert_int_equal(load(PORT "[INACTIVE_CLIENTS]\ndisconnect: on\n"), SIMPLEX_E_ARG);
    assert_int_equal(said.errors, 2);
    assert_int_equal(said.line[1], 4);
    assert_non_null(strstr(said.text[0], "write ttl: 21600"));
    assert_non_null(strstr(said.text[1], "write check_interval: 3600"));
    refuses(PORT "control_port: 5223\n[AUTH]\ncontrol_port_user_password: x\n", 3,
            "clients are served on this port");
    refuses(PORT "prometheus_port: 5223\n", 3, "this port has another use");
    warns(PORT "control_port: 5224\n", 3, "nobody can log in");
    warns(PORT "[AUTH]\ncontrol_port_user_password: x\ncontrol_port_admin_password: x\n", 4,
          "write another one");
    warns(PORT "[PROXY]\nhost_mode: onion\n", 4, "onion hosts are not reached");
    warns(PORT "[INFORMATION]\noperator: me\nhosting_type: owned\n", 4, "without source_code");
    loads_silently(PORT "[INFORMATION]\nhosting_type: virtual\n");
    sx_config_free(&c);
    refuses(PORT "[LIMITS]\nsmp_min_version: 9\nsmp_max_version: 8\n", 4, "at most 8");
    refuses(PORT "[LIMITS]\ntls_timeout_seconds: 121\n", 4, "includes it");
}

/* ---- reload ---- */

struct changes {
    unsigned count;
    bool live[32];
    char text[32][256];
};

static void add_change(void *user, bool live, const char *text)
{
    struct changes *ch = user;

    assert_true(ch->count < SX_COUNT(ch->text));
    ch->live[ch->count] = live;
    snprintf(ch->text[ch->count++], sizeof ch->text[0], "%s", text);
}

static void expect_change(const struct changes *ch, bool live, const char *text)
{
    for (unsigned i = 0; i < ch->count; i++) {
        if (strcmp(ch->text[i], text) == 0) {
            assert_int_equal(ch->live[i], live);
            return;
        }
    }
    for (unsigned i = 0; i < ch->count; i++)
        printf("    %s\n", ch->text[i]);
    fail_msg("no change \"%s\"", text);
}

static struct sx_config load_as(const char *text)
{
    loads(text);
    return c;
}

static const char before[] =
    "[TRANSPORT]\nport: 5223,443\n[STORE_LOG]\nenable: on\n[AUTH]\ncreate_password: one\n"
    "control_port_user_password: p\n[PROXY]\nsocks_proxy: a:b@127.0.0.1:9050\n"
    "own_server_domains: a.org\n[INFORMATION]\nsource_code: https://a.org\n"
    "[LIMITS]\nntf_flush_seconds: 1.25\nmax_message_memory_mib: 1\n[LOG]\nlevel: info\n";
static const char after[] =
    "[TRANSPORT]\nport: 5223\nbind: 127.0.0.1\n[STORE_LOG]\nenable: on\nexpire_messages_days: 1\n"
    "prometheus_interval: 60\n[AUTH]\ncreate_password: two\nnew_queues: off\n"
    "control_port_admin_password: p\n[PROXY]\nsocks_proxy: a:c@127.0.0.1:9050\n"
    "own_server_domains: a.org b.org\n[INFORMATION]\nsource_code: https://b.org\n"
    "[LIMITS]\nend_flush_seconds: 1\nmax_message_memory_mib: 2048\n"
    "[INACTIVE_CLIENTS]\ndisconnect: on\nttl: 10\ncheck_interval: 1\n[LOG]\nlevel: debug\n";

static void changes_are_told_with_what_needs_a_restart(void **state)
{
    struct sx_config old = load_as(before), new = load_as(after);
    static struct changes ch;

    (void)state;
    sx_config_diff(&old, &new, add_change, &ch);
    expect_change(&ch, true, "source code: https://a.org -> https://b.org");
    expect_change(&ch, true, "message TTL: 21 days -> 1 day");
    expect_change(&ch, true, "interval of the metrics file: none -> 60 seconds");
    expect_change(&ch, true, "creating new queues: on -> off");
    expect_change(&ch, true, "password to create queues: changed");
    expect_change(&ch, true, "control port password of the administrator: set");
    expect_change(&ch, true, "control port password of users: removed");
    expect_change(&ch, true, "disconnecting inactive clients: off -> on");
    expect_change(&ch, true, "TTL of inactive clients: none -> 10 seconds");
    expect_change(&ch, true, "interval of the check for inactive clients: none -> 1 second");
    expect_change(&ch, true, "log level: info -> debug");
    expect_change(&ch, false, "ports: 5223,443 -> 5223");
    expect_change(&ch, false, "address to listen on: none -> 127.0.0.1");
    expect_change(&ch, false, "SOCKS proxy: credentials changed");
    expect_change(&ch, true, "domains of own servers: a.org -> a.org b.org");
    expect_change(&ch, true, "delay of END and DELD: 15 seconds -> 1 second");
    expect_change(&ch, true, "delay of notifications: 1.25 seconds -> 1.5 seconds");
    expect_change(&ch, false, "memory of all waiting messages at most: 1 MiB -> 2048 MiB");
    assert_int_equal(ch.count, 18);
    sx_config_free(&old);
    sx_config_free(&new);
}

static void equal_configurations_have_no_changes(void **state)
{
    struct sx_config a = load_as(ini_6), b = load_as(ini_6);
    struct changes ch = { 0 };

    (void)state;
    sx_config_diff(&a, &b, add_change, &ch);
    assert_int_equal(ch.count, 0);
    sx_config_free(&a);
    sx_config_free(&b);
}

static void live_values_are_taken_and_the_others_stay(void **state)
{
    struct sx_config old = load_as(before), new = load_as(after);
    struct changes ch = { 0 };

    (void)state;
    sx_config_take_live(&old, &new);
    assert_string_equal(old.auth.create_password, "two");
    assert_string_equal(new.auth.create_password, "one");
    assert_null(old.auth.control_port_user_password);
    assert_string_equal(old.info.source_code, "https://b.org"); /* for the page */
    assert_int_equal(old.store.expire_messages_ms, 86400000);
    assert_int_equal(old.log_level, SX_LOG_DEBUG);
    assert_string_equal(old.transport.port.text, "5223,443");
    assert_int_equal(old.limits.end_flush_ms, 1000);
    sx_config_free(&new);
    new = load_as(after);
    sx_config_diff(&old, &new, add_change, &ch);
    for (unsigned i = 0; i < ch.count; i++)
        assert_false(ch.live[i]);
    assert_true(ch.count > 0);
    sx_config_free(&old);
    sx_config_free(&new);
}

/* ---- memory, files and paths ---- */

static void reading_survives_each_failed_malloc(void **state)
{
    bool fired = true;

    (void)state;
    for (unsigned nth = 0; fired; nth++) {
        size_t live = sx_fault_live_blocks();
        sx_fault_malloc(nth);
        simplex_rc rc = load(ini_6);
        fired = sx_fault_disarm();
        assert_int_equal(rc, fired ? SIMPLEX_E_NOMEM : SIMPLEX_OK);
        sx_config_free(&c);
        assert_int_equal(sx_fault_live_blocks(), live);
    }
}

static void files_are_read_and_their_faults_named(void **state)
{
    char path[] = "/tmp/smp-server-ini-XXXXXX";
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, ini_3_4, sizeof ini_3_4 - 1), (ssize_t)(sizeof ini_3_4 - 1));
    assert_int_equal(close(fd), 0);
    memset(&said, 0, sizeof said);
    assert_int_equal(sx_config_read(path, reports_add, &said, &c), SIMPLEX_OK);
    assert_string_equal(c.transport.port.text, "5223");
    sx_config_free(&c);
    sx_fault_malloc(0);
    assert_int_equal(sx_config_read(path, reports_add, &said, &c), SIMPLEX_E_NOMEM);
    assert_true(sx_fault_disarm());
    assert_int_equal(truncate(path, (off_t)SX_CONFIG_FILE_MAX + 1), 0);
    assert_int_equal(sx_config_read(path, reports_add, &said, &c), SIMPLEX_E_SYSTEM);
    assert_non_null(strstr(said.text[0], "longer than 1 MiB"));
    assert_int_equal(unlink(path), 0);
    memset(&said, 0, sizeof said);
    assert_int_equal(sx_config_read(path, reports_add, &said, &c), SIMPLEX_E_SYSTEM);
    assert_int_equal(said.errors, 1);
    assert_non_null(strstr(said.text[0], "run `smp-server init`"));
    assert_int_equal(sx_config_read("/tmp", reports_add, &said, &c), SIMPLEX_E_SYSTEM);
    assert_int_equal(mkfifo(path, 0600), 0); /* not waited for */
    memset(&said, 0, sizeof said);
    assert_int_equal(sx_config_read(path, reports_add, &said, &c), SIMPLEX_E_SYSTEM);
    assert_non_null(strstr(said.text[0], "it is not a file"));
    assert_int_equal(unlink(path), 0);
    sx_config_free(&c); /* empty: fine */
}

static void paths_follow_arguments_variables_and_the_fixed_names(void **state)
{
    struct sx_paths p;

    (void)state;
    assert_int_equal(unsetenv(SX_CONFIG_DIR_ENV), 0);
    assert_int_equal(setenv(SX_STATE_DIR_ENV, "/srv/state/", 1), 0);
    assert_int_equal(sx_paths_init(&p, NULL, NULL), SIMPLEX_OK);
    assert_string_equal(p.path[SX_PATH_CONFIG_DIR], "/etc/opt/simplex");
    assert_string_equal(p.path[SX_PATH_INI], "/etc/opt/simplex/smp-server.ini");
    assert_string_equal(p.path[SX_PATH_WEB_KEY], "/etc/opt/simplex/web.key");
    assert_string_equal(p.path[SX_PATH_STATE_DIR], "/srv/state");
    assert_string_equal(p.path[SX_PATH_STORE_LOG], "/srv/state/smp-server-store.log");
    assert_string_equal(p.path[SX_PATH_METRICS], "/srv/state/smp-server-metrics.txt");
    sx_paths_free(&p);
    assert_int_equal(sx_paths_init(&p, "conf", "/"), SIMPLEX_OK);
    assert_string_equal(p.path[SX_PATH_CA_KEY], "conf/ca.key");
    assert_string_equal(p.path[SX_PATH_JOURNAL_DIR], "/messages");
    sx_paths_free(&p);
    assert_int_equal(setenv(SX_STATE_DIR_ENV, "", 1), 0);
    assert_int_equal(sx_paths_init(&p, NULL, NULL), SIMPLEX_OK);
    assert_string_equal(p.path[SX_PATH_STATE_DIR], "/var/opt/simplex");
    for (unsigned i = 0; i < SX_PATHS; i++) {
        assert_non_null(p.path[i]);
        for (unsigned k = 0; k < i; k++)
            assert_string_not_equal(p.path[i], p.path[k]);
    }
    sx_paths_free(&p);
    assert_int_equal(sx_paths_init(&p, "", NULL), SIMPLEX_E_ARG);
    for (unsigned nth = 0; nth < SX_PATHS; nth++) {
        size_t live = sx_fault_live_blocks();
        sx_fault_malloc(nth);
        assert_int_equal(sx_paths_init(&p, "a", "b"), SIMPLEX_E_NOMEM);
        assert_true(sx_fault_disarm());
        assert_int_equal(sx_fault_live_blocks(), live);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_ini_of_3_4_is_read_without_a_word),
        cmocka_unit_test(an_ini_of_6_is_read_without_a_word),
        cmocka_unit_test(hosts_and_countries_are_kept_in_one_form),
        cmocka_unit_test(values_when_absent_are_those_of_the_reference),
        cmocka_unit_test(faults_are_reported_with_line_and_remedy),
        cmocka_unit_test(no_password_is_shown),
        cmocka_unit_test(every_fault_of_a_file_is_reported),
        cmocka_unit_test(a_file_of_faults_is_refused_after_a_hundred),
        cmocka_unit_test(unknown_names_are_warned_about_with_the_nearest_one),
        cmocka_unit_test(what_stands_twice_is_reported),
        cmocka_unit_test(takes_every_log_level),
        cmocka_unit_test(bytes_of_the_file_cannot_harm_a_terminal),
        cmocka_unit_test(stores_of_the_reference_are_refused_with_the_way_out),
        cmocka_unit_test(websockets_are_not_served_whatever_the_file_says),
        cmocka_unit_test(a_site_that_lacks_something_is_said_to),
        cmocka_unit_test(ports_of_the_site_have_no_other_use),
        cmocka_unit_test(names_are_warned_about_when_they_are_on),
        cmocka_unit_test(information_is_shown_as_it_was_written),
        cmocka_unit_test(lines_of_no_use_have_no_effect),
        cmocka_unit_test(of_two_sections_the_last_one_counts),
        cmocka_unit_test(hosts_of_no_use_are_none),
        cmocka_unit_test(what_the_reference_does_not_look_at_cannot_stop_the_start),
        cmocka_unit_test(a_proxy_that_is_needed_is_the_usual_one),
        cmocka_unit_test(messages_are_on_disk_when_everything_else_is_kept),
        cmocka_unit_test(settings_that_do_not_fit_are_reported),
        cmocka_unit_test(changes_are_told_with_what_needs_a_restart),
        cmocka_unit_test(equal_configurations_have_no_changes),
        cmocka_unit_test(live_values_are_taken_and_the_others_stay),
        cmocka_unit_test(reading_survives_each_failed_malloc),
        cmocka_unit_test(files_are_read_and_their_faults_named),
        cmocka_unit_test(paths_follow_arguments_variables_and_the_fixed_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
