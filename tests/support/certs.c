/* SPDX-License-Identifier: Apache-2.0 */
#include "support/certs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#define PEM_MAX 32768

static void name_cert(X509_NAME *name, size_t i)
{
    unsigned char text[] = { 'c', 'e', 'r', 't', (unsigned char)('0' + i), 0 };

    assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, text, -1, -1, 0), 1);
}

static void add_ext(X509 *x, int nid, const char *value)
{
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

    assert_non_null(e);
    assert_int_equal(X509_add_ext(x, e, -1), 1);
    X509_EXTENSION_free(e);
}

/* Certificate number i of the chain, issued by number `issuer`. */
static X509 *make_cert(EVP_PKEY *key, size_t i, EVP_PKEY *issuer_key, size_t issuer)
{
    X509 *x = X509_new();

    assert_non_null(x);
    assert_int_equal(X509_set_version(x, 2), 1);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(x), (long)i + 1), 1);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(x), -3600));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(x), 86400));
    name_cert(X509_get_subject_name(x), i);
    name_cert(X509_get_issuer_name(x), issuer);
    assert_int_equal(X509_set_pubkey(x, key), 1);
    add_ext(x, NID_basic_constraints, i == 0 ? "CA:FALSE" : "critical,CA:TRUE");
    assert_true(X509_sign(x, issuer_key, NULL) > 0);
    return x;
}

static void copy_bio(BIO *b, struct sx_wr *to)
{
    char *p;
    long n = BIO_get_mem_data(b, &p);

    sx_wr_init(to, PEM_MAX);
    sx_wr_raw(to, sx_bytes(p, (size_t)n));
    assert_false(to->bad);
    BIO_free(b);
}

static void write_key(struct test_certs *out, EVP_PKEY *key)
{
    BIO *b = BIO_new(BIO_s_mem());

    assert_int_equal(PEM_write_bio_PKCS8PrivateKey(b, key, NULL, NULL, 0, NULL, NULL), 1);
    copy_bio(b, &out->key_pem);
    assert_int_equal(sx_pem_key(sx_wr_bytes(&out->key_pem), &out->leaf), SIMPLEX_OK);
}

void test_certs_make(enum sx_alg alg, size_t count, struct test_certs *out)
{
    EVP_PKEY *key[TEST_CERTS_MAX];
    BIO *pem = BIO_new(BIO_s_mem());

    assert_in_range(count, 1, TEST_CERTS_MAX);
    *out = (struct test_certs){ 0 };
    for (size_t i = 0; i < count; i++) {
        key[i] = EVP_PKEY_Q_keygen(NULL, NULL, alg == SX_ED448 ? "ED448" : "ED25519");
        assert_non_null(key[i]);
    }
    for (size_t i = 0; i < count; i++) {
        size_t issuer = i + 1 < count ? i + 1 : i;
        X509 *x = make_cert(key[i], i, key[issuer], issuer);
        assert_int_equal(PEM_write_bio_X509(pem, x), 1);
        if (i == 1 || count == 1) {
            unsigned n;
            assert_int_equal(X509_digest(x, EVP_sha256(), out->fingerprint, &n), 1);
        }
        X509_free(x);
    }
    copy_bio(pem, &out->chain_pem);
    write_key(out, key[0]);
    sx_wr_init(&out->der, PEM_MAX);
    if (count <= SX_COUNT(out->chain.cert))
        assert_int_equal(sx_pem_chain(sx_wr_bytes(&out->chain_pem), &out->der, &out->chain),
                         SIMPLEX_OK);
    for (size_t i = 0; i < count; i++)
        EVP_PKEY_free(key[i]);
}

void test_certs_free(struct test_certs *c)
{
    sx_wr_free(&c->chain_pem);
    sx_wr_free(&c->key_pem);
    sx_wr_free(&c->der);
    sx_keypair_wipe(&c->leaf);
}
