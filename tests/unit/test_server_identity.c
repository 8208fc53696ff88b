/* SPDX-License-Identifier: Apache-2.0 */
/* The server's certificates in a directory: made, read as the reference wrote them, renewed. */
#include "support/vec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "identity.h"
#include "support/certs.h"
#include "support/reference_certs.h"

static char dir[64];
static char error_text[1024];
static struct sx_errtext error = { error_text, sizeof(error_text) };

static const char *const all[] = { SX_CA_KEY, SX_CA_CERT, SX_SERVER_KEY, SX_SERVER_CERT,
                                   SX_FINGERPRINT };

static int make_dir(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/simplex-identity-XXXXXX");
    error_text[0] = 0;
    return mkdtemp(dir) == NULL ? -1 : sx_crypto_init();
}

static int remove_dir(void **state)
{
    char cmd[96];

    (void)state;
    vec_free_all();
    snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
    return system(cmd) == 0 ? 0 : -1;
}

static void put(const char *name, simplex_bytes text)
{
    assert_int_equal(sx_file_write(dir, name, text, 0600, &error), SIMPLEX_OK);
}

static simplex_bytes get(const char *name)
{
    struct sx_wr w;

    sx_wr_init(&w, 65536);
    assert_int_equal(sx_file_read(dir, name, &w, &error), SIMPLEX_OK);
    uint8_t *kept = vec_keep(w.len + 1);
    memcpy(kept, w.p, w.len);
    simplex_bytes b = sx_bytes(kept, w.len);
    sx_wr_free(&w);
    return b;
}

static void drop(const char *name)
{
    char path[SX_PATH_MAX];

    assert_true(sx_path_join(path, dir, name));
    assert_int_equal(unlink(path), 0);
}

static unsigned mode_of(const char *name)
{
    char path[SX_PATH_MAX];
    struct stat st;

    assert_true(sx_path_join(path, dir, name));
    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 0777;
}

static void expect_error(simplex_rc got, simplex_rc want, const char *text)
{
    if (got != want || strstr(error_text, text) == NULL)
        fail_msg("%s: %s", simplex_rc_name(got), error_text);
}

/* What a client of lib/client does with what it is sent. */
static void check_accepted(const struct sx_identity *c, size_t count, const uint8_t fingerprint[32])
{
    assert_int_equal(c->chain.count, count);
    assert_memory_equal(c->fingerprint, fingerprint, 32);
    assert_int_equal(sx_chain_verify(&c->chain, fingerprint, sx_now_ms() / 1000), SIMPLEX_OK);
}

/* ---- making ---- */

static void makes_the_files_of_an_identity(void **state)
{
    static const enum sx_alg algs[] = { SX_ED25519, SX_ED448 };
    char sub[96], name[128];

    (void)state;
    for (size_t i = 0; i < SX_COUNT(algs); i++) {
        struct sx_identity made, read;

        snprintf(sub, sizeof(sub), "%s/a/b%zu", dir, i);
        assert_int_equal(sx_identity_make(&made, sub, algs[i], "smp.example.org", &error),
                         SIMPLEX_OK);
        assert_int_equal(sx_identity_read(&read, sub, &error), SIMPLEX_OK);
        check_accepted(&read, 2, made.fingerprint);
        assert_int_equal(read.leaf.pub.alg, algs[i]);
        assert_int_equal(sx_chain_leaf_name(&read.chain, name, sizeof(name)), SIMPLEX_OK);
        assert_string_equal(name, "smp.example.org");
        sx_identity_wipe(&made);
        sx_identity_wipe(&read);
        expect_error(sx_identity_make(&made, sub, algs[i], "x", &error), SIMPLEX_E_CERT, "exists");
    }
}

static void private_keys_are_for_their_owner_alone(void **state)
{
    struct sx_identity c;

    (void)state;
    assert_int_equal(sx_identity_make(&c, dir, SX_ED25519, "host", &error), SIMPLEX_OK);
    sx_identity_wipe(&c);
    assert_int_equal(mode_of(SX_CA_KEY), 0600);
    assert_int_equal(mode_of(SX_SERVER_KEY), 0600);
    assert_int_equal(get(SX_FINGERPRINT).len, 45);
    chmod(dir, 0755);
    assert_int_equal(sx_identity_renew(&c, dir, SX_NO_KEY, NULL, &error), SIMPLEX_OK);
    sx_identity_wipe(&c);
    assert_int_equal(mode_of(SX_SERVER_KEY), 0600);
    for (size_t i = 0; i < SX_COUNT(all); i++) { /* no temporary file stays */
        char tmp[64];
        snprintf(tmp, sizeof(tmp), "%s.tmp", all[i]);
        assert_false(sx_file_exists(dir, tmp));
        snprintf(tmp, sizeof(tmp), "%s" SX_RENEWED, all[i]);
        assert_false(sx_file_exists(dir, tmp));
    }
}

/* init and cert are run by root, the server by a user of its own. */
static void what_root_writes_belongs_to_the_owner_of_the_directory(void **state)
{
    struct sx_identity c;
    char path[SX_PATH_MAX];
    struct stat st;

    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(chown(dir, 12345, 12346), 0);
    assert_int_equal(sx_identity_make(&c, dir, SX_ED25519, "host", &error), SIMPLEX_OK);
    sx_identity_wipe(&c);
    for (size_t i = 0; i < SX_COUNT(all); i++) {
        assert_true(sx_path_join(path, dir, all[i]));
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_uid, 12345);
        assert_int_equal(st.st_gid, 12346);
    }
}

static void a_link_in_the_place_of_a_temporary_file_is_not_followed(void **state)
{
    struct sx_identity c;
    char path[SX_PATH_MAX], other[SX_PATH_MAX];

    (void)state;
    assert_int_equal(sx_identity_make(&c, dir, SX_ED25519, "host", &error), SIMPLEX_OK);
    sx_identity_wipe(&c);
    put("other", sx_str("precious"));
    assert_true(sx_path_join(other, dir, "other"));
    assert_true(sx_path_join(path, dir, SX_SERVER_KEY SX_RENEWED ".tmp"));
    assert_int_equal(symlink(other, path), 0);
    assert_int_equal(sx_identity_renew(&c, dir, SX_NO_KEY, NULL, &error), SIMPLEX_OK);
    sx_identity_wipe(&c);
    vec_assert_eq(get("other"), sx_str("precious"), "other");
}

static void an_incomplete_identity_is_not_overwritten(void **state)
{
    struct sx_identity c;

    (void)state;
    put(SX_CA_KEY, sx_str("the only copy"));
    expect_error(sx_identity_load(&c, dir, "host", &error), SIMPLEX_E_CERT, "ca.key exists");
    vec_assert_eq(get(SX_CA_KEY), sx_str("the only copy"), "ca.key");
    assert_false(sx_file_exists(dir, SX_SERVER_CERT));
}

/* ---- reading ---- */

static void put_reference(void)
{
    put(SX_CA_CERT, sx_str(reference_ca_crt));
    put(SX_SERVER_KEY, sx_str(reference_server_key));
    put(SX_SERVER_CERT, sx_str(reference_server_crt));
    put(SX_FINGERPRINT, sx_str(reference_fingerprint));
}

static void takes_ed448_files_of_the_reference_without_the_key_of_the_ca(void **state)
{
    struct sx_identity c;
    char name[128];

    (void)state;
    put_reference();
    assert_int_equal(sx_identity_load(&c, dir, "unused", &error), SIMPLEX_OK);
    assert_int_equal(c.leaf.pub.alg, SX_ED448);
    check_accepted(&c, 2, c.fingerprint);
    assert_int_equal(sx_chain_leaf_name(&c.chain, name, sizeof(name)), SIMPLEX_OK);
    assert_string_equal(name, "smp.example.org");
    assert_int_equal(sx_chain_leaf_name(&c.chain, name, 15), SIMPLEX_E_CERT);
    vec_assert_eq(get(SX_SERVER_CERT), sx_str(reference_server_crt), "server.crt");
    sx_identity_wipe(&c);
}

/* Certificate number `from` up to `to` (not included) of the chain. */
static simplex_bytes part(const struct test_certs *t, size_t from, size_t to)
{
    struct sx_wr w;

    sx_wr_init(&w, 65536);
    for (size_t i = from; i < to; i++)
        sx_pem_cert(&w, t->chain.cert[i]);
    assert_false(w.bad);
    uint8_t *kept = vec_keep(w.len + 1);
    memcpy(kept, w.p, w.len);
    simplex_bytes b = sx_bytes(kept, w.len);
    sx_wr_free(&w);
    return b;
}

static void put_fingerprint(const uint8_t fingerprint[32])
{
    uint8_t buf[64];
    struct sx_wr w;

    sx_wr_fixed(&w, buf, sizeof(buf));
    sx_identity_print(fingerprint, &w);
    put(SX_FINGERPRINT, sx_wr_bytes(&w));
}

/* However the certificates are spread over the two files, the second one sent is the identity. */
static void serves_chains_of_two_to_four_certificates(void **state)
{
    static const enum sx_alg algs[] = { SX_ED25519, SX_ED448 };

    (void)state;
    for (size_t count = 2; count <= 4; count++) {
        struct test_certs t;
        struct sx_identity c;

        test_certs_make(algs[count % 2], count, &t);
        put(SX_SERVER_KEY, sx_wr_bytes(&t.key_pem));
        put_fingerprint(t.fingerprint);
        for (size_t split = 1; split < count; split++) {
            put(SX_SERVER_CERT, part(&t, 0, split));
            put(SX_CA_CERT, part(&t, split, count));
            assert_int_equal(sx_identity_read(&c, dir, &error), SIMPLEX_OK);
            check_accepted(&c, count, t.fingerprint);
            sx_identity_wipe(&c);
        }
        put(SX_SERVER_CERT, part(&t, 0, count)); /* all of it, and the last again */
        put(SX_CA_CERT, part(&t, count - 1, count));
        assert_int_equal(sx_identity_read(&c, dir, &error), SIMPLEX_OK);
        check_accepted(&c, count, t.fingerprint);
        sx_identity_wipe(&c);
        test_certs_free(&t);
    }
}

/* What else could be done than to restore them: only the leaf can be made again. */
static void says_what_to_do_about_a_missing_file(void **state)
{
    static const struct {
        const char *name, *text;
    } rows[] = {
        { SX_SERVER_KEY, "or make server.key and server.crt anew with `smp-server cert`" },
        { SX_SERVER_CERT, "or make server.key and server.crt anew with `smp-server cert`" },
        { SX_CA_CERT, "/ca.crt does not exist: restore it from a backup" },
        { SX_FINGERPRINT, "/fingerprint does not exist: restore it from a backup" },
    };
    struct sx_identity c;

    (void)state;
    assert_int_equal(sx_identity_make(&c, dir, SX_ED25519, "localhost", &error), SIMPLEX_OK);
    sx_identity_wipe(&c);
    for (size_t i = 0; i < SX_COUNT(rows); i++) {
        simplex_bytes text = get(rows[i].name);
        drop(rows[i].name);
        expect_error(sx_identity_read(&c, dir, &error), SIMPLEX_E_SYSTEM, rows[i].text);
        put(rows[i].name, text);
    }
    drop(SX_FINGERPRINT);
    expect_error(sx_identity_renew(&c, dir, SX_NO_KEY, NULL, &error), SIMPLEX_E_SYSTEM,
                 "/fingerprint does not exist: restore it from a backup");
}

static void says_what_to_do_without_the_right(void **state)
{
    (void)state;
    assert_non_null(strstr(sx_file_error(EACCES), "chown"));
    assert_string_equal(sx_file_error(ENOSPC), strerror(ENOSPC));
}

static void says_why_certificates_cannot_be_used(void **state)
{
    struct test_certs t, other;
    struct sx_identity c;

    (void)state;
    test_certs_make(SX_ED25519, 2, &t);
    test_certs_make(SX_ED25519, 2, &other);
    put(SX_SERVER_KEY, sx_wr_bytes(&t.key_pem));
    put(SX_SERVER_CERT, part(&t, 0, 1));
    put(SX_CA_CERT, part(&t, 1, 2));
    expect_error(sx_identity_read(&c, dir, &error), SIMPLEX_E_SYSTEM,
                 "/fingerprint does not exist");
    put_fingerprint(other.fingerprint);
    expect_error(sx_identity_read(&c, dir, &error), SIMPLEX_E_FINGERPRINT,
                 "Stored fingerprint is invalid.");
    put_fingerprint(t.fingerprint);
    put(SX_CA_CERT, part(&other, 1, 2));
    expect_error(sx_identity_read(&c, dir, &error), SIMPLEX_E_CERT, "clients will refuse");
    put(SX_CA_CERT, part(&t, 0, 1)); /* the leaf twice: no identity is left */
    expect_error(sx_identity_read(&c, dir, &error), SIMPLEX_E_CERT, "two to four");
    put(SX_CA_CERT, sx_str("ca"));
    expect_error(sx_identity_read(&c, dir, &error), SIMPLEX_E_CERT, "/ca.crt cannot be used");
    put(SX_CA_CERT, part(&t, 1, 2));
    put(SX_SERVER_KEY, sx_wr_bytes(&other.key_pem));
    expect_error(sx_identity_read(&c, dir, &error), SIMPLEX_E_CERT, "is not the key of server.crt");
    put(SX_SERVER_KEY, sx_str("key"));
    expect_error(sx_identity_read(&c, dir, &error), SIMPLEX_E_CERT, "/server.key cannot be used");
    put(SX_SERVER_KEY, sx_wr_bytes(&t.key_pem));
    assert_int_equal(sx_identity_read(&c, dir, &error), SIMPLEX_OK);
    sx_identity_wipe(&c);
    test_certs_free(&t);
    test_certs_free(&other);
}

/* ---- renewing ---- */

static void a_new_certificate_keeps_the_identity(void **state)
{
    struct sx_identity old, c;
    char name[128];

    (void)state;
    assert_int_equal(sx_identity_make(&old, dir, SX_ED25519, "a.example.org", &error), SIMPLEX_OK);
    assert_int_equal(sx_identity_renew(&c, dir, SX_NO_KEY, NULL, &error), SIMPLEX_OK);
    check_accepted(&c, 2, old.fingerprint);
    assert_int_equal(c.leaf.pub.alg, SX_ED25519);
    assert_false(sx_pub_eq(&c.leaf.pub, &old.leaf.pub));
    assert_int_equal(sx_chain_leaf_name(&c.chain, name, sizeof(name)), SIMPLEX_OK);
    assert_string_equal(name, "a.example.org");
    sx_identity_wipe(&c);
    drop(SX_SERVER_CERT); /* both files may be gone when the name is given */
    drop(SX_SERVER_KEY);
    expect_error(sx_identity_renew(&c, dir, SX_NO_KEY, NULL, &error), SIMPLEX_E_ARG, "--cn");
    assert_int_equal(sx_identity_renew(&c, dir, SX_ED448, "b.example.org", &error), SIMPLEX_OK);
    check_accepted(&c, 2, old.fingerprint);
    assert_int_equal(c.leaf.pub.alg, SX_ED448);
    assert_int_equal(sx_chain_leaf_name(&c.chain, name, sizeof(name)), SIMPLEX_OK);
    assert_string_equal(name, "b.example.org");
    sx_identity_wipe(&c);
    sx_identity_wipe(&old);
}

static void renews_files_of_the_reference(void **state)
{
    struct sx_identity c;
    uint8_t fingerprint[32];

    (void)state;
    put_reference();
    assert_int_equal(sx_identity_read(&c, dir, &error), SIMPLEX_OK);
    memcpy(fingerprint, c.fingerprint, 32);
    sx_identity_wipe(&c);
    expect_error(sx_identity_renew(&c, dir, SX_NO_KEY, NULL, &error), SIMPLEX_E_CERT,
                 "ca.key is not there");
    put(SX_CA_KEY, sx_str(reference_server_key));
    expect_error(sx_identity_renew(&c, dir, SX_NO_KEY, NULL, &error), SIMPLEX_E_KEY,
                 "ca.key is not the key of the certificate in ca.crt: copy the right one there");
    vec_assert_eq(get(SX_SERVER_CERT), sx_str(reference_server_crt), "server.crt");
    put(SX_CA_KEY, sx_str(reference_ca_key));
    assert_int_equal(sx_identity_renew(&c, dir, SX_NO_KEY, NULL, &error), SIMPLEX_OK);
    check_accepted(&c, 2, fingerprint);
    assert_int_equal(c.leaf.pub.alg, SX_ED448);
    sx_identity_wipe(&c);
}

static void a_renewal_for_another_ca_changes_nothing(void **state)
{
    struct sx_identity c;

    (void)state;
    assert_int_equal(sx_identity_make(&c, dir, SX_ED25519, "host", &error), SIMPLEX_OK);
    sx_identity_wipe(&c);
    simplex_bytes key = get(SX_SERVER_KEY);
    put(SX_CA_CERT, sx_str(reference_ca_crt));
    put(SX_CA_KEY, sx_str(reference_ca_key));
    expect_error(sx_identity_renew(&c, dir, SX_NO_KEY, NULL, &error), SIMPLEX_E_FINGERPRINT,
                 "Stored fingerprint is invalid.");
    vec_assert_eq(get(SX_SERVER_KEY), key, "server.key");
}

/* Cut off when the key was in its place and the certificate not yet. */
static void a_renewal_that_was_cut_off_is_finished(void **state)
{
    struct sx_identity old, c;

    (void)state;
    assert_int_equal(sx_identity_make(&old, dir, SX_ED25519, "host", &error), SIMPLEX_OK);
    simplex_bytes old_cert = get(SX_SERVER_CERT);
    assert_int_equal(sx_identity_renew(&c, dir, SX_NO_KEY, NULL, &error), SIMPLEX_OK);
    sx_identity_wipe(&c);
    put(SX_SERVER_CERT SX_RENEWED, get(SX_SERVER_CERT));
    put(SX_SERVER_CERT, old_cert);
    assert_int_equal(sx_identity_read(&c, dir, &error), SIMPLEX_OK);
    check_accepted(&c, 2, old.fingerprint);
    assert_false(sx_pub_eq(&c.leaf.pub, &old.leaf.pub));
    assert_false(sx_file_exists(dir, SX_SERVER_CERT SX_RENEWED));
    sx_identity_wipe(&c);
    sx_identity_wipe(&old);
    put(SX_SERVER_KEY, sx_str(reference_server_key)); /* but not with what does not fit */
    put(SX_SERVER_CERT SX_RENEWED, old_cert);
    expect_error(sx_identity_read(&c, dir, &error), SIMPLEX_E_CERT, "is not the key of");
    assert_true(sx_file_exists(dir, SX_SERVER_CERT SX_RENEWED));
}

/* ---- without memory ---- */

static void reading_survives_each_failed_malloc(void **state)
{
    bool fired = true;

    (void)state;
    put_reference();
    for (unsigned nth = 0; fired; nth++) {
        struct sx_identity c;
        size_t live = sx_fault_live_blocks();

        sx_fault_malloc(nth);
        simplex_rc rc = sx_identity_read(&c, dir, &error);
        fired = sx_fault_disarm();
        assert_true((rc == SIMPLEX_OK) == !fired);
        sx_identity_wipe(&c);
        assert_int_equal(sx_fault_live_blocks(), live);
    }
}

static void a_renewal_survives_each_failed_malloc(void **state)
{
    bool fired = true;

    (void)state;
    put_reference();
    put(SX_CA_KEY, sx_str(reference_ca_key));
    for (unsigned nth = 0; fired; nth++) {
        struct sx_identity c;
        size_t live = sx_fault_live_blocks();

        sx_fault_malloc(nth);
        simplex_rc rc = sx_identity_renew(&c, dir, SX_NO_KEY, "host", &error);
        fired = sx_fault_disarm();
        assert_true(rc == SIMPLEX_OK || fired);
        sx_identity_wipe(&c);
        assert_int_equal(sx_fault_live_blocks(), live);
        assert_int_equal(sx_identity_read(&c, dir, &error), SIMPLEX_OK); /* whatever was done */
        sx_identity_wipe(&c);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(makes_the_files_of_an_identity),
        TEST(private_keys_are_for_their_owner_alone),
        TEST(what_root_writes_belongs_to_the_owner_of_the_directory),
        TEST(a_link_in_the_place_of_a_temporary_file_is_not_followed),
        TEST(an_incomplete_identity_is_not_overwritten),
        TEST(takes_ed448_files_of_the_reference_without_the_key_of_the_ca),
        TEST(serves_chains_of_two_to_four_certificates),
        TEST(says_why_certificates_cannot_be_used),
        TEST(says_what_to_do_about_a_missing_file),
        cmocka_unit_test(says_what_to_do_without_the_right),
        TEST(a_new_certificate_keeps_the_identity),
        TEST(renews_files_of_the_reference),
        TEST(a_renewal_for_another_ca_changes_nothing),
        TEST(a_renewal_that_was_cut_off_is_finished),
        TEST(reading_survives_each_failed_malloc),
        TEST(a_renewal_survives_each_failed_malloc),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
