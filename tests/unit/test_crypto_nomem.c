/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The crypto layer when OpenSSL runs out of memory: each of its allocations fails in turn, in a
 * thread without contexts of its own. An operation succeeds with the right result or says that it
 * failed; a hash is never wrong.
 */
#include "support/vec.h"

#include <pthread.h>
#include <stdlib.h>

#include <openssl/crypto.h>
#include <openssl/err.h>

#include "crypto/x509.h"

/* ---- an allocator that fails once, only for the thread that asks for it ---- */

static _Thread_local long fail_in = -1;
static _Thread_local bool fired;

static bool fails_now(void)
{
    if (fail_in < 0 || fail_in-- > 0)
        return false;
    fired = true;
    return true;
}

static void *failing_malloc(size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    return n == 0 || fails_now() ? NULL : malloc(n);
}

static void *failing_realloc(void *p, size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    if (n == 0) {
        free(p);
        return NULL;
    }
    return fails_now() ? NULL : realloc(p, n);
}

static void plain_free(void *p, const char *file, int line)
{
    (void)file;
    (void)line;
    free(p);
}

/* ---- operations: SIMPLEX_OK only with the right result ---- */

static struct sx_keypair ed, ed448, x448, peer448;
static struct sx_server_certs certs;
static struct sx_wr der;
static struct sx_chain chain;
static uint8_t key[32], iv[16], text[64], cipher[64], tag[SX_GCM_TAG];
static uint8_t hashes[5][64], dh[SX_DH_MAX], sig448[SX_SIG_MAX];
static int64_t now_s;

static void all_hashes(uint8_t out[5][64])
{
    simplex_bytes m = sx_bytes(text, sizeof text);

    memset(out, 0, sizeof(uint8_t[5][64]));
    sx_sha256(m, out[0]);
    sx_sha512(m, out[1]);
    sx_sha3_256(m, out[2]);
    sx_sha3_384(m, out[3]);
    sx_md5(m, out[4]);
}

static simplex_rc hash(void)
{
    uint8_t out[5][64];

    all_hashes(out);
    return memcmp(out, hashes, sizeof out) == 0 ? SIMPLEX_OK : SIMPLEX_E_INTERNAL;
}

static simplex_rc encrypt(void)
{
    uint8_t out[64], t[SX_GCM_TAG];
    simplex_rc rc = sx_gcm_encrypt(key, iv, 16, sx_str("ad"), sx_bytes(NULL, 0),
                                   sx_bytes(text, sizeof text), out, t);

    if (rc == SIMPLEX_OK && (memcmp(out, cipher, sizeof out) != 0 || memcmp(t, tag, sizeof t) != 0))
        return SIMPLEX_E_INTERNAL;
    return rc;
}

static simplex_rc decrypt(void)
{
    uint8_t out[64];
    simplex_rc rc = sx_gcm_decrypt(key, iv, 16, sx_str("ad"), sx_bytes(NULL, 0),
                                   sx_bytes(cipher, sizeof cipher), tag, out);

    if (rc == SIMPLEX_OK && memcmp(out, text, sizeof out) != 0)
        return SIMPLEX_E_INTERNAL;
    return rc;
}

static simplex_rc agree(void)
{
    uint8_t out[SX_DH_MAX];
    simplex_rc rc = sx_dh(&x448.priv, &peer448.pub, out);

    return rc == SIMPLEX_OK && memcmp(out, dh, sizeof out) != 0 ? SIMPLEX_E_INTERNAL : rc;
}

static simplex_rc sign(void)
{
    uint8_t out[SX_SIG_MAX];
    size_t n;
    simplex_rc rc = sx_sign(&ed448, sx_bytes(text, sizeof text), out, &n);

    return rc == SIMPLEX_OK && memcmp(out, sig448, n) != 0 ? SIMPLEX_E_INTERNAL : rc;
}

static simplex_rc check(void)
{
    bool ok = sx_verify(&ed448.pub, sx_bytes(text, sizeof text), sx_bytes(sig448, sizeof sig448));

    return ok ? SIMPLEX_OK : SIMPLEX_E_SIGNATURE;
}

static simplex_rc generate(void)
{
    struct sx_keypair k, again;
    simplex_rc rc = sx_keypair_new(SX_X448, &k);

    if (rc != SIMPLEX_OK)
        return k.pub.alg == SX_NO_KEY ? rc : SIMPLEX_E_INTERNAL;
    if ((rc = sx_keypair_from_priv(&k.priv, &again)) != SIMPLEX_OK)
        return rc;
    return sx_pub_eq(&k.pub, &again.pub) ? SIMPLEX_OK : SIMPLEX_E_INTERNAL;
}

static simplex_rc verify(void)
{
    return sx_chain_verify(&chain, NULL, now_s);
}

static simplex_rc leaf_key(void)
{
    struct sx_pub k;
    simplex_rc rc = sx_chain_leaf_key(&chain, &k);

    return rc == SIMPLEX_OK && !sx_pub_eq(&k, &ed.pub) ? SIMPLEX_E_INTERNAL : rc;
}

static simplex_rc make(void)
{
    struct sx_server_certs c;
    simplex_rc rc = sx_certs_make(SX_ED25519, "host", &c);

    if (rc != SIMPLEX_OK && c.key.p != NULL)
        return SIMPLEX_E_INTERNAL;
    sx_certs_free(&c);
    return rc;
}

/* ---- each with each allocation failing ---- */

struct attempt {
    simplex_rc (*op)(void);
    long nth;
    simplex_rc rc;
    bool fired, clean;
};

static void *try_once(void *arg)
{
    struct attempt *a = arg;

    fail_in = a->nth;
    fired = false;
    a->rc = a->op();
    fail_in = -1;
    a->fired = fired;
    a->clean = ERR_peek_error() == 0;
    return NULL;
}

static void survives(simplex_rc (*op)(void), simplex_rc failure, bool may_fail)
{
    struct attempt a = { .op = op, .fired = true };
    long failed = 0;

    for (a.nth = 0; a.fired; a.nth++) {
        pthread_t t;

        assert_int_equal(pthread_create(&t, NULL, try_once, &a), 0);
        assert_int_equal(pthread_join(t, NULL), 0);
        assert_true(a.clean);
        if (a.rc != SIMPLEX_OK) {
            assert_true(a.fired && may_fail);
            if (a.rc != failure && a.rc != SIMPLEX_E_NOMEM)
                fail_msg("allocation %ld: %s", a.nth, simplex_rc_name(a.rc));
            failed++;
        }
    }
    assert_true(!may_fail || failed > 0);
}

static void hashes_are_right_without_memory(void **state)
{
    (void)state;
    survives(hash, SIMPLEX_OK, false);
}

static void ciphers_fail_honestly_without_memory(void **state)
{
    (void)state;
    survives(encrypt, SIMPLEX_E_NOMEM, true);
    survives(decrypt, SIMPLEX_E_NOMEM, true);
}

static void keys_fail_honestly_without_memory(void **state)
{
    (void)state;
    survives(agree, SIMPLEX_E_KEY, true);
    survives(sign, SIMPLEX_E_NOMEM, true);
    survives(check, SIMPLEX_E_SIGNATURE, true);
    survives(generate, SIMPLEX_E_NOMEM, true);
}

static void certificates_fail_honestly_without_memory(void **state)
{
    (void)state;
    survives(verify, SIMPLEX_E_CERT, true);
    survives(leaf_key, SIMPLEX_E_CERT, true);
    survives(make, SIMPLEX_E_NOMEM, true);
}

static simplex_rc prepare_chain(void)
{
    struct sx_wr pem;
    simplex_rc rc = sx_certs_make(SX_ED25519, "host", &certs);

    sx_wr_init(&pem, 65536);
    sx_wr_init(&der, 65536);
    sx_wr_raw(&pem, sx_wr_bytes(&certs.cert));
    sx_wr_raw(&pem, sx_wr_bytes(&certs.ca_cert));
    if (rc == SIMPLEX_OK)
        rc = sx_pem_chain(sx_wr_bytes(&pem), &der, &chain);
    if (rc == SIMPLEX_OK)
        rc = sx_pem_key(sx_wr_bytes(&certs.key), &ed);
    sx_wr_free(&pem);
    return rc;
}

static int prepare(void **state)
{
    size_t n;

    (void)state;
    if (sx_crypto_init() != SIMPLEX_OK || prepare_chain() != SIMPLEX_OK)
        return -1;
    now_s = sx_now_ms() / 1000; /* not before the certificates are valid */
    sx_random(text, sizeof text);
    all_hashes(hashes);
    return sx_keypair_new(SX_ED448, &ed448) | sx_keypair_new(SX_X448, &x448) |
           sx_keypair_new(SX_X448, &peer448) | sx_dh(&x448.priv, &peer448.pub, dh) |
           sx_sign(&ed448, sx_bytes(text, sizeof text), sig448, &n) |
           sx_gcm_encrypt(key, iv, 16, sx_str("ad"), sx_bytes(NULL, 0), sx_bytes(text, sizeof text),
                          cipher, tag);
}

static int done(void **state)
{
    (void)state;
    sx_certs_free(&certs);
    sx_wr_free(&der);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_are_right_without_memory),
        cmocka_unit_test(ciphers_fail_honestly_without_memory),
        cmocka_unit_test(keys_fail_honestly_without_memory),
        cmocka_unit_test(certificates_fail_honestly_without_memory),
    };

    if (CRYPTO_set_mem_functions(failing_malloc, failing_realloc, plain_free) != 1)
        return 1;
    return cmocka_run_group_tests(tests, prepare, done);
}
