/* SPDX-License-Identifier: Apache-2.0 */
/* The error texts of SMP where no vectors reach. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "wire/smp.h"

#define LIT(s) sx_bytes(s, sizeof(s) - 1)

static uint8_t out[1000];

static struct sx_wr fixed(void)
{
    struct sx_wr w;

    sx_wr_fixed(&w, out, sizeof out);
    return w;
}

static void assert_text(simplex_bytes got, const char *want)
{
    assert_int_equal(got.len, strlen(want));
    assert_memory_equal(got.ptr, want, got.len);
}

static void assert_err_text(const struct sx_smp_err *e, uint16_t v, const char *want)
{
    struct sx_wr w = fixed();

    sx_smp_err_encode(&w, e, v);
    assert_false(w.bad);
    assert_text(sx_wr_bytes(&w), want);
}

static void names_every_error(void **state)
{
    static const struct {
        const char *text;
        struct sx_smp_err e;
    } rows[] = {
        { "BLOCK", { .err = SX_ERR_BLOCK } },
        { "SESSION", { .err = SX_ERR_SESSION } },
        { "AUTH", { .err = SX_ERR_AUTH } },
        { "SERVICE", { .err = SX_ERR_SERVICE } },
        { "CRYPTO", { .err = SX_ERR_CRYPTO } },
        { "QUOTA", { .err = SX_ERR_QUOTA } },
        { "EXPIRED", { .err = SX_ERR_EXPIRED } },
        { "NO_MSG", { .err = SX_ERR_NO_MSG } },
        { "LARGE_MSG", { .err = SX_ERR_LARGE_MSG } },
        { "INTERNAL", { .err = SX_ERR_INTERNAL } },
        { "DUPLICATE_", { .err = SX_ERR_DUPLICATE } },
        { "CMD UNKNOWN", { .err = SX_ERR_CMD, .cmd = SX_CMD_UNKNOWN } },
        { "CMD SYNTAX", { .err = SX_ERR_CMD, .cmd = SX_CMD_SYNTAX } },
        { "CMD PROHIBITED", { .err = SX_ERR_CMD, .cmd = SX_CMD_PROHIBITED } },
        { "CMD NO_AUTH", { .err = SX_ERR_CMD, .cmd = SX_CMD_NO_AUTH } },
        { "CMD HAS_AUTH", { .err = SX_ERR_CMD, .cmd = SX_CMD_HAS_AUTH } },
        { "CMD NO_ENTITY", { .err = SX_ERR_CMD, .cmd = SX_CMD_NO_ENTITY } },
        { "NAME NO_RESOLVER", { .err = SX_ERR_NAME, .name = SX_NAME_NO_RESOLVER } },
        { "NAME NOT_FOUND", { .err = SX_ERR_NAME, .name = SX_NAME_NOT_FOUND } },
        { "PROXY BASIC_AUTH", { .err = SX_ERR_PROXY, .proxy = SX_PROXY_BASIC_AUTH } },
        { "PROXY NO_SESSION", { .err = SX_ERR_PROXY, .proxy = SX_PROXY_NO_SESSION } },
        { "PROXY PROTOCOL CMD SYNTAX",
          { .err = SX_ERR_PROXY,
            .proxy = SX_PROXY_PROTOCOL,
            .relay = SX_ERR_CMD,
            .cmd = SX_CMD_SYNTAX } },
        { "PROXY PROTOCOL NAME NOT_FOUND",
          { .err = SX_ERR_PROXY,
            .proxy = SX_PROXY_PROTOCOL,
            .relay = SX_ERR_NAME,
            .name = SX_NAME_NOT_FOUND } },
        { "PROXY BROKER HOST",
          { .err = SX_ERR_PROXY, .proxy = SX_PROXY_BROKER, .broker = SX_BROKER_HOST } },
        { "PROXY BROKER TRANSPORT HANDSHAKE IDENTITY",
          { .err = SX_ERR_PROXY,
            .proxy = SX_PROXY_BROKER,
            .broker = SX_BROKER_TRANSPORT,
            .transport = SX_TRANSPORT_HANDSHAKE,
            .handshake = SX_HS_IDENTITY } },
        { "BLOCKED reason=content,notice={\"ttl\":-1}",
          { .err = SX_ERR_BLOCKED,
            .blocked = SX_BLOCKED_CONTENT,
            .has_notice = true,
            .has_ttl = true,
            .ttl = -1 } },
    };

    (void)state;
    for (size_t i = 0; i < SX_COUNT(rows); i++) {
        struct sx_smp_err e;

        assert_err_text(&rows[i].e, SX_SMP_MAX, rows[i].text);
        assert_int_equal(sx_smp_err_decode(sx_str(rows[i].text), &e), SIMPLEX_OK);
        assert_memory_equal(&e, &rows[i].e, offsetof(struct sx_smp_err, has_notice));
        assert_int_equal(e.has_notice, rows[i].e.has_notice);
        assert_int_equal(e.has_ttl, rows[i].e.has_ttl);
        assert_int_equal(e.ttl, rows[i].e.ttl);
    }
}

static void keeps_the_texts_of_errors(void **state)
{
    struct sx_smp_err e;

    (void)state;
    assert_int_equal(sx_smp_err_decode(LIT("STORE disk full"), &e), SIMPLEX_OK);
    assert_text(e.text, "disk full");
    assert_int_equal(sx_smp_err_decode(LIT("NAME RESOLVER no route"), &e), SIMPLEX_OK);
    assert_text(e.text, "no route");
    assert_err_text(&e, 19, "NAME RESOLVER no route");
    assert_int_equal(sx_smp_err_decode(LIT("PROXY PROTOCOL STORE x"), &e), SIMPLEX_OK);
    assert_int_equal(e.relay, SX_ERR_STORE);
    assert_text(e.text, "x");
    assert_int_equal(sx_smp_err_decode(LIT("PROXY BROKER NETWORK TLS \3abc"), &e), SIMPLEX_OK);
    assert_text(e.text, "TLS \3abc");
    assert_err_text(&e, 18, "PROXY BROKER NETWORK");
}

static void refuses_malformed_errors(void **state)
{
    static const char *const bad[] = {
        "",
        " ",
        "AUTH ",
        "CMD",
        "CMD ",
        "CMD UNKNOWN ",
        "CMD NO_QUEUES",
        "PROXY",
        "PROXY ",
        "PROXY BASIC_AUTH ",
        "PROXY PROTOCOL",
        "PROXY PROTOCOL PROXY NO_SESSION",
        "PROXY PROTOCOL PROXY PROTOCOL AUTH",
        "PROXY BROKER",
        "PROXY BROKER RESPONSE",
        "PROXY BROKER RESPONSE \4bad",
        "PROXY BROKER RESPONSE \2bad",
        "PROXY BROKER NETWORK ",
        "PROXY BROKER NETWORK CONNECT",
        "PROXY BROKER NETWORK TLS \1",
        "PROXY BROKER NETWORK TIMEOUT x",
        "PROXY BROKER TRANSPORT",
        "PROXY BROKER TRANSPORT HANDSHAKE",
        "PROXY BROKER TRANSPORT HANDSHAKE NO",
        "PROXY BROKER TRANSPORT BLOCK ",
        "BLOCKED",
        "BLOCKED spam",
        "BLOCKED reason=",
        "BLOCKED reason=spammy",
        "BLOCKED reason=spam,",
        "NAME RESOLVER",
        "NAME WHAT",
        "STORE",
    };
    static const struct sx_smp_err none;
    struct sx_smp_err e;

    (void)state;
    for (size_t i = 0; i < SX_COUNT(bad); i++) {
        if (sx_smp_err_decode(sx_str(bad[i]), &e) != SIMPLEX_E_DECODE)
            fail_msg("accepted: %s", bad[i]);
        assert_int_equal(e.err, none.err);
    }
}

static void older_peers_learn_less_about_blocking(void **state)
{
    struct sx_smp_err e = { .err = SX_ERR_BLOCKED, .blocked = SX_BLOCKED_SPAM, .has_notice = true };

    (void)state;
    for (uint16_t v = 6; v < 12; v++)
        assert_err_text(&e, v, "AUTH");
    for (uint16_t v = 12; v < 18; v++)
        assert_err_text(&e, v, "BLOCKED reason=spam");
    assert_err_text(&e, 18, "BLOCKED reason=spam,notice={}");
    e.err = SX_ERR_PROXY;
    e.proxy = SX_PROXY_PROTOCOL;
    e.relay = SX_ERR_BLOCKED;
    assert_err_text(&e, 6, "PROXY PROTOCOL BLOCKED reason=spam");
    assert_err_text(&e, 18, "PROXY PROTOCOL BLOCKED reason=spam,notice={}");
}

static void does_not_write_errors_that_have_no_text(void **state)
{
    static const struct sx_smp_err bad[] = {
        { .err = SX_ERR_NONE },
        { .err = 99 },
        { .err = SX_ERR_CMD },
        { .err = SX_ERR_CMD, .cmd = 77 },
        { .err = SX_ERR_BLOCKED },
        { .err = SX_ERR_PROXY },
        { .err = SX_ERR_PROXY, .proxy = SX_PROXY_PROTOCOL },
        { .err = SX_ERR_PROXY, .proxy = SX_PROXY_PROTOCOL, .relay = SX_ERR_PROXY },
        { .err = SX_ERR_PROXY, .proxy = SX_PROXY_BROKER },
        { .err = SX_ERR_PROXY, .proxy = SX_PROXY_BROKER, .broker = SX_BROKER_TRANSPORT },
    };

    (void)state;
    for (size_t i = 0; i < SX_COUNT(bad); i++) {
        struct sx_wr w = fixed();

        sx_smp_err_encode(&w, &bad[i], 18);
        assert_true(w.bad);
    }
}

static void reads_notices_of_later_versions(void **state)
{
    static const struct {
        const char *json;
        bool ok, has_ttl;
        int64_t ttl;
    } rows[] = {
        { "{}", true, false, 0 },
        { " { } ", true, false, 0 },
        { "{\"ttl\":0}", true, true, 0 },
        { "{ \"ttl\" : 12 , \"x\" : [1,{\"ttl\":5},\"]\"] }", true, true, 12 },
        { "{\"a\":\"\\\"ttl\\\":1\",\"ttl\":2}", true, true, 2 },
        { "{\"a\":{\"b\":[true,null,-1.5e3]},\"c\":\"\"}", true, false, 0 },
        { "{\"ttl\":9223372036854775807}", true, true, INT64_MAX },
        { "{\"ttl\":-9223372036854775808}", true, true, INT64_MIN },
        { "{\"ttl\":9223372036854775808}", false, false, 0 },
        { "{\"ttl\":-9223372036854775809}", false, false, 0 },
        { "{\"ttl\":99999999999999999999}", false, false, 0 },
        { "{\"ttl\":1.5}", false, false, 0 },
        { "{\"ttl\":01}", false, false, 0 },
        { "{\"ttl\":-}", false, false, 0 },
        { "{\"ttl\":\"1\"}", false, false, 0 },
        { "{\"ttl\":}", false, false, 0 },
        { "{\"ttl\"}", false, false, 0 },
        { "{\"ttl\":1,}", false, false, 0 },
        { "{\"x\":[}", false, false, 0 },
        { "{\"x\":[", false, false, 0 },
        { "{\"x\":\"", false, false, 0 },
        { "{\"x\":\"\\", false, false, 0 },
        { "{\"x\":\"\n\"}", false, false, 0 },
        { "{", false, false, 0 },
        { "{}}", false, false, 0 },
        { "[]", false, false, 0 },
        { "null", false, false, 0 },
    };

    (void)state;
    for (size_t i = 0; i < SX_COUNT(rows); i++) {
        struct sx_wr w = fixed();
        struct sx_smp_err e;

        sx_wr_text(&w, "BLOCKED reason=spam,notice=");
        sx_wr_text(&w, rows[i].json);
        simplex_rc rc = sx_smp_err_decode(sx_wr_bytes(&w), &e);
        if ((rc == SIMPLEX_OK) != rows[i].ok)
            fail_msg("%s: %d", rows[i].json, rc);
        assert_int_equal(e.has_ttl, rows[i].has_ttl);
        assert_true(e.ttl == rows[i].ttl);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_every_error),
        cmocka_unit_test(keeps_the_texts_of_errors),
        cmocka_unit_test(refuses_malformed_errors),
        cmocka_unit_test(older_peers_learn_less_about_blocking),
        cmocka_unit_test(does_not_write_errors_that_have_no_text),
        cmocka_unit_test(reads_notices_of_later_versions),
    };

    return cmocka_run_group_tests_name("wire_smp_error", tests, NULL, NULL);
}
