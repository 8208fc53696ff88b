/* SPDX-License-Identifier: Apache-2.0 */
#include "client/socks5.h"
#include "support/vec.h"

static struct sx_host host_of(const char *text)
{
    struct sx_host h;

    assert_int_equal(sx_host_parse(sx_str(text), &h), SIMPLEX_OK);
    return h;
}

static void assert_out(struct sx_socks5 *s, const char *bytes, size_t n)
{
    simplex_bytes out = sx_socks5_take(s);

    assert_int_equal(out.len, n);
    assert_memory_equal(out.ptr, bytes, n);
    assert_int_equal(sx_socks5_take(s).len, 0);
}
#define OUT(s, literal) assert_out(s, literal, sizeof(literal) - 1)

static simplex_rc feed(struct sx_socks5 *s, const char *bytes, size_t n, size_t *used)
{
    return sx_socks5_input(s, sx_bytes(bytes, n), used);
}

static void in_whole(struct sx_socks5 *s, const char *bytes, size_t n)
{
    size_t used;

    assert_int_equal(feed(s, bytes, n, &used), SIMPLEX_OK);
    assert_int_equal(used, n);
}
#define IN(s, literal) in_whole(s, literal, sizeof(literal) - 1)

static struct sx_socks5 start(const char *user, const char *password, bool may_skip,
                              const char *host)
{
    static struct sx_host h;
    struct sx_socks5 s;

    h = host_of(host);
    struct sx_socks5_cfg cfg = {
        .user = user, .password = password, .may_skip_auth = may_skip, .host = &h, .port = 5223
    };
    assert_int_equal(sx_socks5_init(&s, &cfg), SIMPLEX_OK);
    return s;
}

static void connects_without_credentials(void **state)
{
    struct sx_socks5 s = start(NULL, NULL, false, "smp.example");

    (void)state;
    OUT(&s, "\5\1\0");
    IN(&s, "\5\0");
    OUT(&s, "\5\1\0\3\13smp.example\x14\x67");
    IN(&s, "\5\0\0\1\x7f\0\0\1\0\x50");
    assert_int_equal(s.state, SX_SOCKS5_DONE);
}

static void sends_credentials_when_asked(void **state)
{
    struct sx_socks5 s = start("me", "secret", false, "1.2.3.4");

    (void)state;
    OUT(&s, "\5\1\2");
    IN(&s, "\5\2");
    OUT(&s, "\1\2me\6secret");
    IN(&s, "\1\0");
    OUT(&s, "\5\1\0\1\1\2\3\4\x14\x67");
    IN(&s, "\5\0\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\x50");
    assert_int_equal(s.state, SX_SOCKS5_DONE);
}

static void isolation_needs_no_password_and_may_be_skipped(void **state)
{
    struct sx_socks5 s = start("hash", NULL, true, "2001:db8::1");

    (void)state;
    OUT(&s, "\5\2\2\0");
    IN(&s, "\5\2");
    OUT(&s, "\1\4hash\0");

    s = start("hash", NULL, true, "2001:db8::1");
    OUT(&s, "\5\2\2\0");
    IN(&s, "\5\0");
    OUT(&s, "\5\1\0\4\x20\1\r\xb8\0\0\0\0\0\0\0\0\0\0\0\1\x14\x67");
    IN(&s, "\5\0\0\3\4host\0\x50");
    assert_int_equal(s.state, SX_SOCKS5_DONE);
}

static void names_go_to_the_proxy_unresolved(void **state)
{
    struct sx_socks5 s = start(NULL, NULL, false, "abcdefgh.onion");

    (void)state;
    OUT(&s, "\5\1\0");
    IN(&s, "\5\0");
    OUT(&s, "\5\1\0\3\16abcdefgh.onion\x14\x67");
}

static void takes_bytes_one_by_one_and_leaves_those_behind(void **state)
{
    static const char all[] = "\5\2\1\0\5\0\0\1\x7f\0\0\1\0\x50TLS";
    struct sx_socks5 s = start("me", "secret", false, "1.2.3.4");
    size_t used, sent = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(all) - 4; i++) {
        sent += sx_socks5_take(&s).len;
        assert_int_equal(feed(&s, all + i, 1, &used), SIMPLEX_OK);
        assert_int_equal(used, 1);
    }
    assert_int_equal(sent, 3 + 11 + 10);
    assert_int_equal(s.state, SX_SOCKS5_DONE);
    assert_int_equal(feed(&s, "TLS", 3, &used), SIMPLEX_OK);
    assert_int_equal(used, 0);

    s = start("me", "secret", false, "1.2.3.4");
    assert_int_equal(feed(&s, all, sizeof(all) - 1, &used), SIMPLEX_OK);
    assert_int_equal(used, sizeof(all) - 4);
    assert_int_equal(s.state, SX_SOCKS5_DONE);
}

static void refusals_have_their_result_code(void **state)
{
    static const struct {
        const char *in;
        size_t n;
        simplex_rc rc;
    } rows[] = {
        { "\4\2", 2, SIMPLEX_E_PROXY },                   /* SOCKS4 */
        { "HTTP/1.0 400", 12, SIMPLEX_E_PROXY },          /* something else */
        { "\5\xff", 2, SIMPLEX_E_PROXY },                 /* no method is good enough */
        { "\5\1", 2, SIMPLEX_E_PROXY },                   /* GSSAPI was not offered */
        { "\5\0", 2, SIMPLEX_E_PROXY },                   /* nor was going without */
        { "\5\2\1\1", 4, SIMPLEX_E_PROXY },               /* wrong password */
        { "\5\2\1\0\5\1\0\1\0", 9, SIMPLEX_E_PROXY },     /* general failure */
        { "\5\2\1\0\5\2\0\1\0", 9, SIMPLEX_E_PROXY },     /* not allowed */
        { "\5\2\1\0\5\3\0\1\0", 9, SIMPLEX_E_CONNECT },   /* network unreachable */
        { "\5\2\1\0\5\4\0\1\0", 9, SIMPLEX_E_CONNECT },   /* host unreachable */
        { "\5\2\1\0\5\5\0\1\0", 9, SIMPLEX_E_CONNECT },   /* refused */
        { "\5\2\1\0\5\6\0\1\0", 9, SIMPLEX_E_CONNECT },   /* no answer */
        { "\5\2\1\0\5\7\0\1\0", 9, SIMPLEX_E_PROXY },     /* command */
        { "\5\2\1\0\5\xf2\0\1\0", 9, SIMPLEX_E_CONNECT }, /* Tor: onion service */
        { "\5\2\1\0\5\0\0\2\0", 9, SIMPLEX_E_PROXY },     /* kind of address */
        { "\5\2\1\0\4\0\0\1\0", 9, SIMPLEX_E_PROXY },     /* version of the reply */
    };

    (void)state;
    for (size_t i = 0; i < SX_COUNT(rows); i++) {
        struct sx_socks5 s = start("me", "secret", false, "1.2.3.4");
        size_t used;
        assert_int_equal(feed(&s, rows[i].in, rows[i].n, &used), rows[i].rc);
        assert_int_equal(s.state, SX_SOCKS5_FAILED);
        assert_int_equal(feed(&s, "\5", 1, &used), SIMPLEX_E_PROXY); /* and stays so */
    }
}

static void longest_names_fit_and_longer_ones_are_refused(void **state)
{
    char text[257];
    struct sx_host h = { .kind = SX_HOST_NAME };
    struct sx_socks5 s;

    (void)state;
    memset(text, 'u', sizeof(text));
    text[255] = 0;
    memset(h.text, 'h', SX_HOST_MAX);
    struct sx_socks5_cfg cfg = { .user = text, .password = text, .host = &h, .port = 1 };
    assert_int_equal(sx_socks5_init(&s, &cfg), SIMPLEX_OK);
    assert_int_equal(sx_socks5_take(&s).len, 3);
    IN(&s, "\5\2");
    assert_int_equal(sx_socks5_take(&s).len, 3 + 255 + 255);
    IN(&s, "\1\0");
    assert_int_equal(sx_socks5_take(&s).len, 4 + 1 + 255 + 2);
    text[255] = 'u';
    text[256] = 0;
    assert_int_equal(sx_socks5_init(&s, &cfg), SIMPLEX_E_ARG);
    assert_int_equal(s.state, SX_SOCKS5_FAILED);
    assert_int_equal(sx_socks5_take(&s).len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connects_without_credentials),
        cmocka_unit_test(sends_credentials_when_asked),
        cmocka_unit_test(isolation_needs_no_password_and_may_be_skipped),
        cmocka_unit_test(names_go_to_the_proxy_unresolved),
        cmocka_unit_test(takes_bytes_one_by_one_and_leaves_those_behind),
        cmocka_unit_test(refusals_have_their_result_code),
        cmocka_unit_test(longest_names_fit_and_longer_ones_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
