/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "client/hosts.h"
#include "support/vec.h"

#define FP "LcJUMfVhwD8yxjAiSaDzzGF3-kLG4Uh0Fl_ZIjrRwjI="
#define ONION_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.onion"
#define ONION_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb.onion"

static struct sx_server server_of(const char *hosts)
{
    char text[1024];
    struct sx_server s;
    simplex_bytes password;

    snprintf(text, sizeof(text), "smp://%s@%s", FP, hosts);
    assert_int_equal(sx_server_parse(sx_str(text), &s, &password), SIMPLEX_OK);
    return s;
}

static const struct {
    const char *hosts;
    enum sx_host_mode mode;
    bool required, has_socks;
    enum sx_socks_mode socks_mode;
    const char *routes; /* host index, then 's' for SOCKS or 'd' for direct */
} rows[] = {
    /* without a proxy: public hosts only, whatever is preferred */
    { "a.example," ONION_A ",1.2.3.4", SX_HOSTS_ONION_VIA_SOCKS, false, false, 0, "0d2d" },
    { "a.example," ONION_A, SX_HOSTS_PUBLIC, false, false, 0, "0d" },
    { ONION_A, SX_HOSTS_ONION_VIA_SOCKS, false, false, 0, "" },
    { ONION_A, SX_HOSTS_PUBLIC, false, false, 0, "" },
    { "a.example," ONION_A, SX_HOSTS_ONION, false, false, 0, "0d" },
    { "a.example," ONION_A, SX_HOSTS_ONION, true, false, 0, "" },
    /* with a proxy for everything */
    { "a.example," ONION_A ",b.example," ONION_B, SX_HOSTS_ONION_VIA_SOCKS, false, true,
      SX_SOCKS_ALWAYS, "1s3s" },
    { "a.example,b.example", SX_HOSTS_ONION_VIA_SOCKS, false, true, SX_SOCKS_ALWAYS, "0s1s" },
    { "a.example,b.example", SX_HOSTS_ONION_VIA_SOCKS, true, true, SX_SOCKS_ALWAYS, "" },
    { ONION_A ",a.example", SX_HOSTS_PUBLIC, false, true, SX_SOCKS_ALWAYS, "1s" },
    { ONION_A, SX_HOSTS_PUBLIC, false, true, SX_SOCKS_ALWAYS, "0s" },
    { ONION_A, SX_HOSTS_PUBLIC, true, true, SX_SOCKS_ALWAYS, "" },
    /* with a proxy for onion hosts alone: a blocked onion host is no reason to go direct */
    { "a.example," ONION_A, SX_HOSTS_ONION_VIA_SOCKS, false, true, SX_SOCKS_ONION, "1s" },
    { "a.example," ONION_A, SX_HOSTS_PUBLIC, false, true, SX_SOCKS_ONION, "0d" },
    { "1.2.3.4,[2001:db8::1]", SX_HOSTS_ONION, false, true, SX_SOCKS_ONION, "0d1d" },
};

static void chooses_hosts_of_one_kind_and_the_way_to_them(void **state)
{
    (void)state;
    for (size_t i = 0; i < SX_COUNT(rows); i++) {
        struct sx_net_cfg cfg = {
            .host_mode = rows[i].mode,
            .required_host_mode = rows[i].required,
            .has_socks = rows[i].has_socks,
            .socks_mode = rows[i].socks_mode,
        };
        struct sx_server s = server_of(rows[i].hosts);
        struct sx_route routes[SX_HOSTS_MAX];
        char got[2 * SX_HOSTS_MAX + 1] = "";
        size_t n = sx_routes(&cfg, &s, routes);
        for (size_t k = 0; k < n; k++) {
            got[2 * k] = (char)('0' + routes[k].host);
            got[2 * k + 1] = routes[k].socks ? 's' : 'd';
        }
        if (strcmp(got, rows[i].routes) != 0)
            print_error("row %zu\n", i);
        assert_string_equal(got, rows[i].routes);
    }
}

static simplex_rc isolation_user(const char *text, const struct sx_server *server, char *out)
{
    struct sx_isolation i = { .text = text, .server = server };

    return sx_isolation_user(&i, out);
}

static void isolation_user_is_the_hash_of_user_and_server(void **state)
{
    struct sx_server a = server_of("a.example"), b = server_of("b.example");
    char user[SX_ISOLATION_USER], again[SX_ISOLATION_USER];

    (void)state;
    /* printf 'user:1' | openssl dgst -sha256 -binary | base64 */
    assert_int_equal(isolation_user("user:1", NULL, user), SIMPLEX_OK);
    assert_string_equal(user, "q8Oke4rRi4VcaH2cosYJHucxLbVWMCGUKletqInIezQ=");
    assert_int_equal(isolation_user("user:1", NULL, again), SIMPLEX_OK);
    assert_string_equal(user, again);
    assert_int_equal(isolation_user("user:2", NULL, again), SIMPLEX_OK);
    assert_string_not_equal(user, again);
    assert_int_equal(isolation_user("user:1", &a, user), SIMPLEX_OK);
    assert_int_equal(isolation_user("user:1", &b, again), SIMPLEX_OK);
    assert_string_not_equal(user, again);
    /* printf 'user:1@smp://LcJU...@a.example' | ... */
    assert_string_equal(user, "4HskXXnEa5eRA3ltp8Y4aecZFCWD2u2vIy/GQvxMugg=");
}

static void isolation_user_depends_on_user_session_and_entity(void **state)
{
    struct sx_server a = server_of("a.example");
    char users[6][SX_ISOLATION_USER];
    const struct sx_isolation by[] = {
        { "user", 0, 0, NULL, 0 }, { "user", 0, 1, NULL, 0 }, { "user", 0, 2, NULL, 0 },
        { "user", 0, 1, &a, 0 },   { "user", 0, 1, &a, 7 },   { "user", 5, 1, &a, 7 },
    };

    (void)state;
    for (size_t i = 0; i < SX_COUNT(by); i++) {
        assert_int_equal(sx_isolation_user(&by[i], users[i]), SIMPLEX_OK);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(users[i], users[k]);
    }
    /* printf 'user:1' | openssl dgst -sha256 -binary | base64 */
    assert_string_equal(users[1], "q8Oke4rRi4VcaH2cosYJHucxLbVWMCGUKletqInIezQ=");
}

static void isolation_user_survives_a_failed_malloc(void **state)
{
    char user[SX_ISOLATION_USER];

    (void)state;
    sx_fault_malloc(0);
    simplex_rc rc = isolation_user("user", NULL, user);
    assert_true(sx_fault_disarm());
    assert_int_equal(rc, SIMPLEX_E_NOMEM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chooses_hosts_of_one_kind_and_the_way_to_them),
        cmocka_unit_test(isolation_user_is_the_hash_of_user_and_server),
        cmocka_unit_test(isolation_user_depends_on_user_session_and_entity),
        cmocka_unit_test(isolation_user_survives_a_failed_malloc),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
