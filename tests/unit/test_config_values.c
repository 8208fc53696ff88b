/* SPDX-License-Identifier: Apache-2.0 */
/* Good and bad values of every key of smp-server.ini. */
#include <stdio.h>

#include "support/vec.h"

#include "config_keys.h"

#define LIST_MAX 24

static struct sx_config c;

/* By type; keys with a range or words are tested with their own, below. */
static const struct {
    const char *good[LIST_MAX], *bad[LIST_MAX], *doubtful[LIST_MAX];
} by_type[] = {
    [SX_KEY_BOOL] = { { "on", "off" }, { "", "On", "OFF", "yes", "true", "1", "on off", "onn" } },
    [SX_KEY_PORT] = { { "1", "443", "65535", "00443" },
                      { "", "0", "65536", "-1", "+1", "x", "1 ", "99999999999999999999" } },
    [SX_KEY_PORTS] = { { "5223", "5223,443", "5223, 443", "1,2,3,4,5,6,7,8" },
                       { "", ",", "0", "5223;443", "443,443", "5223,x", "65536",
                         "1,2,3,4,5,6,7,8,9" } },
    [SX_KEY_DOMAINS] = { { "", "example.org", "a.org b.org", "a.org,b.org", "127.0.0.1" },
                         { 0 },
                         { ".example.org", "a..b", "a_b.org/", "a.org b@c.org" } },
    [SX_KEY_PROXY] = { { "127.0.0.1:9050", "localhost:9050", "127.0.0.1", ":9150", "@", "@:9050",
                         "[::1]:9050", "::1", "user:password@127.0.0.1:9050", "u:@127.0.0.1" },
                       { "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:x", "a b:1",
                         "user@127.0.0.1:9050", ":p@127.0.0.1:9050", "u:p@h:1@2",
                         "host:", "http://127.0.0.1:9050" },
                       { "" } },
    [SX_KEY_PASSWORD] = { { "a",
                            "6lqQK5_6sCxQ9uIVJYgUlqeLBW5kALaPYHXZv4HwkB0=", "!\"#$%&'()*+,-." },
                          { "", "a b", "a@b", "a:b", "a/b", "\t" } },
    [SX_KEY_TEXT] = { { "", "a", "A name, with: everything" }, { 0 } },
    [SX_KEY_PATH] = { { "", "/", "/var/opt/simplex/www" }, { 0 }, { "www", "./www", "~/www" } },
    [SX_KEY_URL] = { { "", "https://a.org", "http://a.org/x?y=z" },
                     { 0 },
                     { "a.org", "ftp://a.org", "https://", "https://a.org b", "HTTPS://a.org" } },
    [SX_KEY_COUNTRY] = { { "", "SE", "gb" }, { "S", "SWE", "S1", "Sweden" } },
    [SX_KEY_CONTACT] = { { "", "simplex:/contact#abc", "https://smp.example.org/a#abc" },
                         { "me", "simplex:", "http://a.org", "https://a.org b" } },
    [SX_KEY_EMAIL] = { { "", "me@example.org" },
                       { 0 },
                       { "me", "@example.org", "me@", "a@b@c", "me @example.org" } },
    [SX_KEY_HOSTS] = { { "", "<hostnames>", "smp.example.org", "1.2.3.4", "::1", "[::1]",
                         "a.org,b.org", "a.org, ::1 ,\tb.org" },
                       { 0 },
                       { "a.org:5223", "a b", "https://a.org", "a.org,", "a.org, ", "a b.org",
                         "<hosts>", "1.org,2.org,3.org,4.org,5.org,6.org,7.org,8.org,9.org" } },
    [SX_KEY_ADDRESS] = { { "", "0.0.0.0", "::", "127.0.0.1", "[::1]" },
                         { "localhost", "1.2.3", "1.2.3.256", "eth0", "127.0.0.1:5223" } },
    [SX_KEY_OFF] = { { "off" }, { "" }, { "on", "443", "80,8080" } },
};

static const char *const no_number[] = { "",    "x",  "1x", "0x1", "1e3", "+1",
                                         "--1", " 1", "1 ", "1.5", "1,5", "99999999999999999999" };
static const char *const no_seconds[] = { "",
                                          "x",
                                          ".",
                                          "1.",
                                          ".5",
                                          "1.2345",
                                          "1.x",
                                          "-1",
                                          "1.-1",
                                          "1,5",
                                          "1 s",
                                          "1.5.5",
                                          "99999999999999999999" };

static void reads(const struct sx_key *k, const char *value, bool in_doubt)
{
    void *field = k->offset == SX_KEY_NO_FIELD ? NULL : sx_key_field(k, &c);

    if (sx_key_read(k, sx_str(value), field) != SIMPLEX_OK)
        fail_msg("[%s] %s: \"%s\" is refused", k->section, k->key, value);
    if (sx_key_in_doubt(k, sx_str(value)) != in_doubt)
        fail_msg("[%s] %s: \"%s\" is %sin doubt", k->section, k->key, value,
                 in_doubt ? "not " : "");
}

static void accepts(const struct sx_key *k, const char *value)
{
    reads(k, value, false);
}

/* As the reference starts with it. */
static void doubts(const struct sx_key *k, const char *value)
{
    reads(k, value, true);
}

static void refuses(const struct sx_key *k, const char *value)
{
    void *field = k->offset == SX_KEY_NO_FIELD ? NULL : sx_key_field(k, &c);
    uint8_t before[sizeof(struct sx_config_domains)];

    if (field != NULL)
        memcpy(before, field, sx_key_size(k));
    if (sx_key_read(k, sx_str(value), field) != SIMPLEX_E_ARG)
        fail_msg("[%s] %s: \"%s\" is accepted", k->section, k->key, value);
    if (field != NULL)
        assert_memory_equal(before, field, sx_key_size(k)); /* the field is as it was */
}

static void numbers(const struct sx_key *k, bool seconds)
{
    const char *const *bad = seconds ? no_seconds : no_number;
    size_t count = seconds ? SX_COUNT(no_seconds) : SX_COUNT(no_number);
    int64_t scale = seconds ? 1000 : 1;
    char text[32];

    for (size_t i = 0; i < count; i++)
        refuses(k, bad[i]);
    assert_true(k->min < k->max && k->max % scale == 0);
    snprintf(text, sizeof text, "%" PRId64, k->max / scale);
    accepts(k, text);
    snprintf(text, sizeof text, "%" PRId64, k->max / scale + 1);
    refuses(k, text);
    snprintf(text, sizeof text, "%" PRId64, k->min - 1);
    refuses(k, text); /* -1, or too small */
    if (seconds)
        snprintf(text, sizeof text, "0.%03d", (int)k->min);
    else
        snprintf(text, sizeof text, "%" PRId64, k->min);
    accepts(k, text);
}

static void each_key_takes_good_values_and_refuses_bad_ones(void **state)
{
    (void)state;
    sx_config_init(&c);
    for (size_t i = 0; i < sx_keys_count; i++) {
        const struct sx_key *k = &sx_keys[i];
        if (k->type == SX_KEY_NUMBER || k->type == SX_KEY_SECONDS) {
            numbers(k, k->type == SX_KEY_SECONDS);
            continue;
        }
        if (k->words != NULL) {
            for (size_t n = 0; k->words[n] != NULL; n++)
                accepts(k, k->words[n]);
            refuses(k, "offf");
            refuses(k, "Public");
            continue;
        }
        for (size_t n = 0; by_type[k->type].good[n] != NULL; n++)
            accepts(k, by_type[k->type].good[n]);
        for (size_t n = 0; by_type[k->type].bad[n] != NULL; n++)
            refuses(k, by_type[k->type].bad[n]);
        for (size_t n = 0; by_type[k->type].doubtful[n] != NULL; n++)
            doubts(k, by_type[k->type].doubtful[n]);
    }
    sx_config_free(&c);
}

static void each_row_of_the_table_is_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < sx_keys_count; i++) {
        const struct sx_key *k = &sx_keys[i];
        char remedy[256] = "";
        struct sx_wr w;

        assert_int_equal(sx_key_find(sx_str(k->section), sx_str(k->key)), i); /* no row twice */
        if (k->absent != NULL)
            accepts(k, k->absent);
        assert_true(k->offset == SX_KEY_NO_FIELD || k->name != NULL);
        assert_true(k->offset == SX_KEY_NO_FIELD || k->offset < sizeof c);
        sx_wr_fixed(&w, remedy, sizeof remedy - 1);
        sx_key_remedy(k, &w);
        assert_false(w.bad);
        assert_true(strlen(remedy) > 0);
    }
    assert_int_equal(sx_key_find(sx_str("AUTH"), sx_str("port")), sx_keys_count);
    sx_config_free(&c);
}

static const struct sx_key *key(const char *section, const char *name)
{
    return &sx_keys[sx_key_find(sx_str(section), sx_str(name))];
}

static void seconds_have_up_to_three_decimals(void **state)
{
    const struct sx_key *k = key("LIMITS", "ntf_flush_seconds");

    (void)state;
    sx_config_init(&c);
    accepts(k, "1.5");
    assert_int_equal(c.limits.ntf_flush_ms, 1500);
    accepts(k, "0.005");
    assert_int_equal(c.limits.ntf_flush_ms, 5);
    accepts(k, "0.25");
    assert_int_equal(c.limits.ntf_flush_ms, 250);
    accepts(k, "0");
    assert_int_equal(c.limits.ntf_flush_ms, 0);
    accepts(k, "3600.000");
    assert_int_equal(c.limits.ntf_flush_ms, 3600000);
    refuses(k, "3600.001");
}

static void units_are_multiplied_in(void **state)
{
    (void)state;
    sx_config_init(&c);
    accepts(key("STORE_LOG", "expire_messages_days"), "36500");
    assert_int_equal(c.store.expire_messages_ms, 36500 * INT64_C(86400000));
    accepts(key("LIMITS", "memory_per_client_kib"), "512");
    assert_int_equal(c.limits.memory_per_client, 524288);
    accepts(key("LIMITS", "max_message_memory_mib"), "16777216");
    assert_int_equal(c.limits.max_message_memory, INT64_C(1) << 44);
}

static void expect_proxy(const char *text, const char *host, uint16_t port, const char *user,
                         const char *password, bool no_auth)
{
    const struct sx_config_proxy *p = &c.proxy.socks_proxy;

    accepts(key("PROXY", "socks_proxy"), text);
    assert_string_equal(p->host, host);
    assert_int_equal(p->port, port);
    assert_int_equal(p->no_auth, no_auth);
    assert_int_equal(p->user == NULL, user == NULL);
    if (user != NULL) {
        assert_string_equal(p->user, user);
        assert_string_equal(p->password, password);
    }
}

static void the_proxy_has_defaults_and_credentials_as_in_the_reference(void **state)
{
    (void)state;
    sx_config_init(&c);
    expect_proxy("localhost:1080", "localhost", 1080, NULL, NULL, false);
    expect_proxy(":1080", "127.0.0.1", 1080, NULL, NULL, false);
    expect_proxy("10.0.0.1", "10.0.0.1", 9050, NULL, NULL, false);
    expect_proxy("@[::1]:1080", "::1", 1080, NULL, NULL, true);
    expect_proxy("@", "127.0.0.1", 9050, NULL, NULL, true);
    expect_proxy("u:p@[::1]", "::1", 9050, "u", "p", false);
    expect_proxy("u:p:q@h:2", "h", 2, "u", "p:q", false);
    doubts(key("PROXY", "socks_proxy"), "");
    assert_string_equal(c.proxy.socks_proxy.host, "127.0.0.1");
    assert_int_equal(c.proxy.socks_proxy.port, 9050);
    assert_false(c.proxy.socks_proxy.no_auth);
    assert_null(c.proxy.socks_proxy.user);
    sx_config_free(&c);
}

static void lists_have_their_ends(void **state)
{
    char text[1024] = "";
    const struct sx_key *k = key("PROXY", "own_server_domains");

    (void)state;
    sx_config_init(&c);
    for (int i = 0; i < SX_CONFIG_DOMAINS_MAX; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "d%d.org, ", i);
    accepts(k, text);
    assert_int_equal(c.proxy.own_server_domains.count, SX_CONFIG_DOMAINS_MAX);
    snprintf(text + strlen(text), sizeof text - strlen(text), "more.org");
    doubts(k, text);
    assert_int_equal(c.proxy.own_server_domains.count, SX_CONFIG_DOMAINS_MAX);
    doubts(k, "a.org .b.org, C.org");
    assert_int_equal(c.proxy.own_server_domains.count, 2);
    assert_string_equal(c.proxy.own_server_domains.name[1], "c.org");
    accepts(k, "");
    assert_int_equal(c.proxy.own_server_domains.count, 0);
    sx_config_free(&c);
}

static void each_failed_malloc_leaves_the_value_as_it_was(void **state)
{
    static const struct {
        const char *section, *key, *first, *second;
    } rows[] = {
        { "AUTH", "create_password", "one", "two" },
        { "TRANSPORT", "host", "a.org", "b.org" },
        { "PROXY", "own_server_domains", "a.org", "b.org c.org d.org" },
        { "PROXY", "socks_proxy", "a:b@127.0.0.1:1", "c:d@127.0.0.1:2" },
    };

    (void)state;
    sx_config_init(&c);
    for (size_t i = 0; i < SX_COUNT(rows); i++) {
        const struct sx_key *k = key(rows[i].section, rows[i].key);
        uint8_t before[sizeof(struct sx_config_domains)];
        bool fired = true;

        accepts(k, rows[i].first);
        memcpy(before, sx_key_field(k, &c), sx_key_size(k));
        for (unsigned nth = 0; fired; nth++) {
            sx_fault_malloc(nth);
            simplex_rc rc = sx_key_read(k, sx_str(rows[i].second), sx_key_field(k, &c));
            fired = sx_fault_disarm();
            assert_int_equal(rc, fired ? SIMPLEX_E_NOMEM : SIMPLEX_OK);
            if (fired)
                assert_memory_equal(before, sx_key_field(k, &c), sx_key_size(k));
        }
    }
    sx_config_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_key_takes_good_values_and_refuses_bad_ones),
        cmocka_unit_test(each_row_of_the_table_is_whole),
        cmocka_unit_test(seconds_have_up_to_three_decimals),
        cmocka_unit_test(units_are_multiplied_in),
        cmocka_unit_test(the_proxy_has_defaults_and_credentials_as_in_the_reference),
        cmocka_unit_test(lists_have_their_ends),
        cmocka_unit_test(each_failed_malloc_leaves_the_value_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
