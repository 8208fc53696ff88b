/* SPDX-License-Identifier: Apache-2.0 */
/* Hosts and server addresses where no vectors reach. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "wire/server.h"

#define FP "kJGSk5SVlpeYmZqbnJ2en6ChoqOkpaanqKmqq6ytrq8="

static const struct {
    const char *text;
    int kind; /* -1: refused */
} hosts[] = {
    { "0.0.0.0", SX_HOST_IPV4 },
    { "255.255.255.255", SX_HOST_IPV4 },
    { "256.1.1.1", -1 },
    { "1.1.1.256", -1 },
    { "01.2.3.4", -1 },
    { "1.2.3.0004", -1 },
    { "1.2.3.4.", -1 },
    { "1.2.3.4a", -1 },
    { "1.2.3.4.example", -1 },
    { "1.2.3.", SX_HOST_NAME },
    { "1.2.3", SX_HOST_NAME },
    { "[1.2.3.4]", -1 },
    { "::", SX_HOST_IPV6 },
    { "[::]", SX_HOST_IPV6 },
    { "1::", SX_HOST_IPV6 },
    { "1:2:3:4:5:6:7:8", SX_HOST_IPV6 },
    { "1:2:3:4:5:6:7::", SX_HOST_IPV6 },
    { "::2:3:4:5:6:7:8", SX_HOST_IPV6 },
    { "2001:DB8::ff", SX_HOST_IPV6 },
    { "::ffff:1.2.3.4", SX_HOST_IPV6 },
    { "1:2:3:4:5:6:1.2.3.4", SX_HOST_IPV6 },
    { "1:2:3:4:5:6:7:1.2.3.4", -1 },
    { "1.2.3.4::1", -1 },
    { "::1.2.3.256", -1 },
    { "::1.2.3.4:1", -1 },
    { "1:2:3:4:5:6:7", -1 },
    { "1:2:3:4:5:6:7:8:9", -1 },
    { "1:2:3:4::5:6:7:8", -1 },
    { "1::2::3", -1 },
    { ":::", -1 },
    { ":", -1 },
    { ":1", -1 },
    { "1:", -1 },
    { ":1:2:3:4:5:6:7", -1 },
    { "12345::", -1 },
    { "g::", -1 },
    { "::1%eth0", -1 },
    { "[::1", -1 },
    { "::1]", -1 },
    { "[[::1]]", -1 },
    { "[]", -1 },
    { "[", -1 },
    { "abc234.onion", SX_HOST_ONION },
    { "x.abc.onion", -1 },
    { "abc.ONION", -1 }, /* nobody may be asked for the address of these */
    { "abc.onion.", -1 },
    { "x.abc.Onion.", -1 },
    { "abc.onions", SX_HOST_NAME },
    { "onion", SX_HOST_NAME },
    { "smp8.simplex.im", SX_HOST_NAME },
    { "xn--bcher-kva.example", SX_HOST_NAME },
    { "b\xc3\xbc"
      "cher.example",
      -1 },
    { "a@b", -1 },
    { "a?b", -1 },
    { "a#b", -1 },
    { "a;b", -1 },
    { "a,b", -1 },
    { "a\tb", -1 },
    { "a\x7f", -1 },
};

static void tells_hosts_apart(void **state)
{
    (void)state;
    for (size_t i = 0; i < SX_COUNT(hosts); i++) {
        struct sx_host h;
        simplex_rc rc = sx_host_parse(sx_str(hosts[i].text), &h);

        if ((rc == SIMPLEX_OK) != (hosts[i].kind >= 0))
            fail_msg("%s: %d", hosts[i].text, rc);
        if (rc == SIMPLEX_OK)
            assert_int_equal(h.kind, hosts[i].kind);
    }
}

static void refuses_hosts_with_nul_or_of_256_bytes(void **state)
{
    char text[256];
    struct sx_host h;

    (void)state;
    assert_int_equal(sx_host_parse(sx_bytes("a\0b", 3), &h), SIMPLEX_E_ADDRESS);
    memset(text, 'a', sizeof text);
    assert_int_equal(sx_host_parse(sx_bytes(text, 256), &h), SIMPLEX_E_ADDRESS);
    assert_int_equal(sx_host_parse(sx_bytes(text, 255), &h), SIMPLEX_OK);
    assert_int_equal(strlen(h.text), 255);
    assert_int_equal(sx_host_parse(sx_bytes(NULL, 0), &h), SIMPLEX_E_ADDRESS);
}

static const struct {
    const char *text, *hosts, *password; /* hosts NULL: refused */
    unsigned port;
} servers[] = {
    { "smp://" FP "@h", "h", "", 5223 },
    { "smp://" FP ":pw@h:443", "h:443", "pw", 443 },
    { "smp://" FP ":@h", NULL, "", 0 },
    { "smp://" FP ":a:b@h", NULL, "", 0 },
    { "smp://" FP ":a/b@h", NULL, "", 0 },
    { "smp://" FP ":a b@h", NULL, "", 0 },
    { "smp://" FP "@h,abc.onion:5223", "h,abc.onion:5223", "", 5223 },
    { "smp://" FP "@::1", "[::1]", "", 5223 },
    { "smp://" FP "@[::1]", "[::1]", "", 5223 },
    { "smp://" FP "@[::1]:0443", "[::1]:443", "", 443 },
    { "smp://" FP "@h,[::1]:443", "h,[::1]:443", "", 443 },
    { "smp://" FP "@::1:5223", "[::1:5223]", "", 5223 },
    { "smp://" FP "@1:2:3:4:5:6:7:8:443", NULL, "", 0 },
    { "smp://" FP "@h:65535", "h:65535", "", 65535 },
    { "smp://" FP "@h:65536", "h:65536", "", 0 },
    { "smp://" FP "@h:100000", NULL, "", 0 },
    { "smp://" FP "@h:0000443", "h:443", "", 443 },
    { "smp://" FP "@h:0", "h:0", "", 0 },
    { "smp://" FP "@h:4a3", NULL, "", 0 },
    { "smp://" FP "@h:-1", NULL, "", 0 },
    { "smp://" FP "@h:1,g", NULL, "", 0 },
    { "smp://" FP "@h,", NULL, "", 0 },
    { "smp://" FP "@,h", NULL, "", 0 },
    { "smp://" FP "@h/", NULL, "", 0 },
    { "smp://" FP "@a@b", NULL, "", 0 },
    { "smp://" FP "@a,b,c,d,e,f,g,h", "a,b,c,d,e,f,g,h", "", 5223 },
    { "smp://" FP "@a,b,c,d,e,f,g,h,i", NULL, "", 0 },
    { "smp://AAAA@h", NULL, "", 0 },
    { "smp://" FP "AAAA@h", NULL, "", 0 },
    { "xftp://" FP "@h", NULL, "", 0 },
    { "smp://" FP, NULL, "", 0 },
    { "", NULL, "", 0 },
};

static void assert_written(const struct sx_wr *w, const char *want)
{
    assert_false(w->bad);
    assert_int_equal(w->len, strlen(want));
    assert_memory_equal(w->p, want, w->len);
}

static void check_server(size_t i, const struct sx_server *s, simplex_bytes password)
{
    uint8_t buf[1000];
    struct sx_server again;
    struct sx_wr w;

    assert_int_equal(password.len, strlen(servers[i].password));
    assert_memory_equal(password.ptr == NULL ? (const uint8_t *)"" : password.ptr,
                        servers[i].password, password.len);
    assert_int_equal(sx_server_port(s), servers[i].port);
    sx_wr_fixed(&w, buf, sizeof buf);
    sx_server_print_hosts(&w, s);
    assert_written(&w, servers[i].hosts);
    sx_wr_fixed(&w, buf, sizeof buf);
    sx_server_print(&w, s, password);
    assert_int_equal(sx_server_parse(sx_wr_bytes(&w), &again, &password), SIMPLEX_OK);
    assert_true(sx_server_eq(s, &again));
    assert_int_equal(password.len, strlen(servers[i].password));
}

static void reads_and_prints_server_addresses(void **state)
{
    (void)state;
    for (size_t i = 0; i < SX_COUNT(servers); i++) {
        struct sx_server s;
        simplex_bytes password;
        simplex_rc rc = sx_server_parse(sx_str(servers[i].text), &s, &password);

        if ((rc == SIMPLEX_OK) != (servers[i].hosts != NULL))
            fail_msg("%s: %d", servers[i].text, rc);
        if (rc == SIMPLEX_OK)
            check_server(i, &s, password);
        else
            assert_int_equal(rc, SIMPLEX_E_ADDRESS);
    }
}

static void passwords_are_printable_latin_1(void **state)
{
    (void)state;
    for (unsigned c = 0; c < 256; c++) {
        uint8_t b = (uint8_t)c;
        bool printable = (c > 0x20 && c < 0x7f) || (c > 0xa0 && c != 0xad);

        assert_int_equal(sx_password_valid(sx_bytes(&b, 1)),
                         printable && c != '@' && c != ':' && c != '/');
    }
    assert_false(sx_password_valid(sx_bytes(NULL, 0)));
}

static simplex_rc decode(const void *b, size_t n, struct sx_server *s)
{
    struct sx_rd r = sx_rd_init(sx_bytes(b, n));

    sx_server_decode(&r, s);
    return sx_rd_done(&r) ? SIMPLEX_OK : SIMPLEX_E_DECODE;
}

#define HASH "0123456789abcdef0123456789abcdef"

static void refuses_malformed_binary_addresses(void **state)
{
#define TAIL \
    "\003"   \
    "443"    \
    "\x20" HASH
#define ROW(text)              \
    {                          \
        text, sizeof(text) - 1 \
    }
    static const char good[] = "\2\1a\3::1" TAIL;
    static const struct {
        const char *b;
        size_t len;
    } bad[] = {
        ROW("\0" TAIL),                             /* no host */
        ROW("\x9\1a\1a\1a\1a\1a\1a\1a\1a\1a" TAIL), /* nine hosts */
        ROW("\1\0" TAIL),                           /* an empty one */
        ROW("\1\1/" TAIL),
        ROW("\1\1a\003"
            "4x3"
            "\x20" HASH),
        ROW("\1\1a\006"
            "999999"
            "\x20" HASH),
        ROW("\1\1a\003"
            "443"
            "\x1f" HASH), /* a short hash */
        ROW("\1\1a" TAIL "x"),
    };
    struct sx_server s;

    (void)state;
    assert_int_equal(decode(good, sizeof good - 1, &s), SIMPLEX_OK);
    assert_int_equal(s.hosts[1].kind, SX_HOST_IPV6);
    assert_int_equal(sx_server_port(&s), 443);
    for (size_t n = 0; n < sizeof good - 1; n++) {
        assert_int_equal(decode(good, n, &s), SIMPLEX_E_DECODE);
        assert_int_equal(s.n_hosts, 0);
    }
    for (size_t i = 0; i < SX_COUNT(bad); i++)
        assert_int_equal(decode(bad[i].b, bad[i].len, &s), SIMPLEX_E_DECODE);
}

static struct sx_server parse(const char *text)
{
    struct sx_server s;

    assert_int_equal(sx_server_parse(sx_str(text), &s, NULL), SIMPLEX_OK);
    return s;
}

static void compares_hosts_port_and_identity(void **state)
{
    struct sx_server a = parse("smp://" FP "@h,abc.onion:443"), b = a;

    (void)state;
    assert_true(sx_server_eq(&a, &b));
    b.key_hash[31] ^= 1;
    assert_false(sx_server_eq(&a, &b));
    assert_true(sx_server_same_address(&a, &b));
    b = parse("smp://" FP "@h,abc.onion");
    assert_false(sx_server_same_address(&a, &b));
    b = parse("smp://" FP "@h:443");
    assert_false(sx_server_same_address(&a, &b));
    b = parse("smp://" FP "@abc.onion,h:443");
    assert_false(sx_server_same_address(&a, &b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_hosts_apart),
        cmocka_unit_test(refuses_hosts_with_nul_or_of_256_bytes),
        cmocka_unit_test(reads_and_prints_server_addresses),
        cmocka_unit_test(passwords_are_printable_latin_1),
        cmocka_unit_test(refuses_malformed_binary_addresses),
        cmocka_unit_test(compares_hosts_port_and_identity),
    };

    return cmocka_run_group_tests_name("wire_server", tests, NULL, NULL);
}
