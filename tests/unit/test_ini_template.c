/* SPDX-License-Identifier: Apache-2.0 */
/* The smp-server.ini that init writes. */
#include "support/information.h"
#include "support/reports.h"
#include "support/vec.h"

#include "config_keys.h"
#include "ini.h"
#include "ini_template.h"

#define CAP ((size_t)1 << 16)

static struct sx_wr w;
static struct reports said;
static struct sx_config c;

static simplex_rc round_trip(const struct sx_ini_options *o)
{
    sx_wr_free(&w);
    sx_wr_init(&w, CAP);
    memset(&said, 0, sizeof said);
    sx_ini_template(&w, o);
    assert_false(w.bad);
    simplex_rc rc = sx_config_parse("smp-server.ini", sx_wr_bytes(&w), reports_add, &said, &c);
    reports_print(&said);
    return rc;
}

static void the_smallest_file_loads_without_a_word(void **state)
{
    static const struct sx_ini_options none;

    (void)state;
    assert_int_equal(round_trip(&none), SIMPLEX_OK);
    assert_int_equal(said.count, 0);
    assert_false(c.store.enable);
    assert_false(c.store.restore_messages);
    assert_int_equal(c.store.store_messages, SX_MESSAGES_MEMORY);
    assert_false(c.store.expire_messages_on_send);
    assert_null(c.auth.create_password);
    assert_null(c.transport.host);
    assert_string_equal(c.transport.port.text, "5223,443");
    assert_int_equal(c.transport.control_port, 0);
    assert_true(c.inactive.disconnect);
    assert_int_equal(c.inactive.ttl_ms, 21600000);
    sx_config_free(&c);
}

static void every_option_comes_back(void **state)
{
    static const struct sx_ini_options all = {
        .store_log = true,
        .log_stats = true,
        .password = "6lqQK5_6sCxQ9uIVJYgUlqeLBW5kALaPYHXZv4HwkB0=",
        .host = "smp.example.org",
        .ports = "5001,443",
        .control_port = 5555,
        .control_admin_password = "admin",
        .control_user_password = "user",
        .socks_proxy = "127.0.0.1:9150",
        .own_domains = "example.org,example.net",
        .source_code = "https://example.org/source",
        .server_country = "SE",
        .operator_name = "Example",
        .operator_country = "GB",
        .website = "https://example.org",
        .hosting = "Provider",
        .hosting_country = "NL",
        .hosting_type = "colocation",
        .web_static_path = "/srv/www",
        .web_cert = "/etc/web.crt",
        .web_key = "/etc/web.key",
    };

    (void)state;
    assert_int_equal(round_trip(&all), SIMPLEX_OK);
    assert_int_equal(said.count, 0);
    assert_true(c.store.enable);
    assert_true(c.store.restore_messages);
    assert_int_equal(c.store.store_messages, SX_MESSAGES_DISK);
    assert_true(c.store.log_stats);
    assert_string_equal(c.auth.create_password, all.password);
    assert_string_equal(c.auth.control_port_admin_password, "admin");
    assert_string_equal(c.auth.control_port_user_password, "user");
    assert_string_equal(c.transport.host, "smp.example.org");
    assert_string_equal(c.transport.port.text, "5001,443");
    assert_int_equal(c.transport.control_port, 5555);
    assert_int_equal(c.proxy.socks_proxy.port, 9150);
    assert_int_equal(c.proxy.own_server_domains.count, 2);
    assert_information(&c, &all);
    assert_string_equal(c.web.static_path, "/srv/www");
    assert_int_equal(c.web.https, 443);
    assert_string_equal(c.web.cert, "/etc/web.crt");
    assert_true(sx_config_has_https(&c));
    sx_wr_u8(&w, 0);
    assert_non_null(strstr((const char *)w.p, "\nown_server_domains: example.org example.net\n"));
    sx_config_free(&c);
}

/* The text of the file with every setting in a comment made active. */
static void uncomment(struct sx_wr *to)
{
    struct sx_rd r = sx_rd_init(sx_wr_bytes(&w));

    while (r.left > 0) {
        const uint8_t *end = memchr(r.p, '\n', r.left);
        simplex_bytes s = sx_rd_take(&r, (size_t)(end - r.p));
        const uint8_t *colon = memchr(s.ptr, ':', s.len);
        bool setting = s.len > 2 && s.ptr[0] == '#' && colon != NULL;
        for (const uint8_t *p = s.ptr + 2; setting && p < colon; p++)
            setting = (*p >= 'a' && *p <= 'z') || *p == '_';
        sx_wr_raw(to, setting ? sx_bytes(s.ptr + 2, s.len - 2) : s);
        sx_wr_text(to, "\n");
        (void)sx_rd_u8(&r);
    }
}

static bool has_key(simplex_bytes text, const struct sx_key *k)
{
    struct sx_ini ini;
    struct sx_ini_item item;

    sx_ini_start(&ini, text);
    do {
        sx_ini_next(&ini, &item);
        if (item.kind == SX_INI_VALUE && sx_bytes_eq(item.section, sx_str(k->section)) &&
            sx_bytes_eq(item.key, sx_str(k->key)))
            return true;
    } while (item.kind != SX_INI_END);
    return false;
}

static void every_key_is_in_the_file_at_least_as_a_comment(void **state)
{
    static const struct sx_ini_options some = { .store_log = true };
    struct sx_wr text;

    (void)state;
    assert_int_equal(round_trip(&some), SIMPLEX_OK);
    sx_config_free(&c);
    sx_wr_init(&text, CAP);
    uncomment(&text);
    for (size_t i = 0; i < sx_keys_count; i++) {
        const struct sx_key *k = &sx_keys[i];
        bool left_out = k->group == SX_GROUP_DATABASE || strncmp(k->key, "resolver_", 9) == 0;
        if (!left_out && !has_key(sx_wr_bytes(&text), k))
            fail_msg("[%s] %s is not in the template", k->section, k->key);
    }
    sx_wr_free(&text);
}

/* What readers of ini files ask for: "key: value" from the first column, no blank lines with
 * blanks, comments in the first column, a setting at the end, required keys there. */
static void the_reference_reads_it(void **state)
{
    static const struct sx_ini_options some = { .store_log = true, .password = "p" };
    bool setting = false;
    struct sx_rd r;

    (void)state;
    assert_int_equal(round_trip(&some), SIMPLEX_OK);
    sx_config_free(&c);
    r = sx_rd_init(sx_wr_bytes(&w));
    assert_int_equal(r.p[0], '[');
    while (r.left > 0) {
        const uint8_t *end = memchr(r.p, '\n', r.left);
        assert_non_null(end);
        simplex_bytes s = sx_rd_take(&r, (size_t)(end - r.p));
        (void)sx_rd_u8(&r);
        assert_true(s.len <= 100);
        setting = false;
        if (s.len == 0 || s.ptr[0] == '#' || (s.ptr[0] == '[' && s.ptr[s.len - 1] == ']'))
            continue;
        const uint8_t *colon = memchr(s.ptr, ':', s.len);
        assert_true(s.ptr[0] >= 'a' && s.ptr[0] <= 'z');
        assert_non_null(colon);
        assert_true(colon + 2 < s.ptr + s.len && colon[1] == ' ' && colon[2] != ' ');
        setting = true;
    }
    assert_true(setting);
    sx_wr_u8(&w, 0);
    assert_non_null(strstr((const char *)w.p, "\nwebsockets: off\n"));
    assert_non_null(strstr((const char *)w.p, "\nport: 5223,443\n"));
    assert_null(strstr((const char *)w.p, "\nstore_messages:")); /* not a word it knows */
}

static void a_line_break_in_an_option_is_refused(void **state)
{
    static const struct sx_ini_options evil = { .operator_name = "me\n[AUTH]\nnew_queues: off" };

    (void)state;
    sx_wr_free(&w);
    sx_wr_init(&w, CAP);
    sx_ini_template(&w, &evil);
    assert_true(w.bad);
}

static void writing_survives_each_failed_malloc(void **state)
{
    static const struct sx_ini_options some = { .store_log = true };
    bool fired = true;

    (void)state;
    for (unsigned nth = 0; fired; nth++) {
        sx_wr_free(&w);
        sx_wr_init(&w, CAP);
        sx_fault_malloc(nth);
        sx_ini_template(&w, &some);
        fired = sx_fault_disarm();
        assert_int_equal(w.bad, fired);
    }
}

static int teardown(void **state)
{
    (void)state;
    sx_wr_free(&w);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_smallest_file_loads_without_a_word),
        cmocka_unit_test(every_option_comes_back),
        cmocka_unit_test(every_key_is_in_the_file_at_least_as_a_comment),
        cmocka_unit_test(the_reference_reads_it),
        cmocka_unit_test(a_line_break_in_an_option_is_refused),
        cmocka_unit_test(writing_survives_each_failed_malloc),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
