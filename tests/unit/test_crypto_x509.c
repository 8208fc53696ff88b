/* SPDX-License-Identifier: Apache-2.0 */
/* Certificate chains (smp.md section 3), signed session keys, PEM, and the certificates we make. */
#include "support/vec.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "crypto/x509.h"

#define NOW INT64_C(1800000000)
#define DAY 86400

/* ---- certificates of all sorts, made with OpenSSL ---- */

enum { LEAF, ID, NETWORK, CA, OTHER, ROLES };

static EVP_PKEY *keys[ROLES];
static const char *const names[ROLES] = { "localhost", "id", "network", "ca", "other" };

struct wish {
    int subject, issuer; /* roles; the same: self-signed */
    const char *basic, *usage;
    int64_t from, to;
    int signer; /* 0: the issuer; otherwise role + 1 */
    long version;
    const char *issuer_name; /* NULL: that of the role */
};

static struct wish leaf_of(int issuer)
{
    return (struct wish){ LEAF, issuer, "CA:FALSE", NULL, -DAY, DAY, 0, X509_VERSION_3, NULL };
}

static struct wish ca_of(int subject, int issuer)
{
    return (struct wish){ subject, issuer, "critical,CA:TRUE", NULL, -DAY,
                          DAY,     0,      X509_VERSION_3,     NULL };
}

static void set_name(X509_NAME *name, const char *cn)
{
    assert_int_equal(
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0),
        1);
}

static void add_ext(X509 *x, int nid, const char *value)
{
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

    assert_non_null(e);
    assert_int_equal(X509_add_ext(x, e, -1), 1);
    X509_EXTENSION_free(e);
}

static simplex_bytes make(struct wish w)
{
    X509 *x = X509_new();
    unsigned char *der = NULL;

    assert_non_null(x);
    assert_int_equal(X509_set_version(x, w.version), 1);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(x), w.subject * 8 + w.issuer + 1), 1);
    assert_non_null(ASN1_TIME_set(X509_getm_notBefore(x), (time_t)(NOW + w.from)));
    assert_non_null(ASN1_TIME_set(X509_getm_notAfter(x), (time_t)(NOW + w.to)));
    assert_int_equal(X509_set_pubkey(x, keys[w.subject]), 1);
    set_name(X509_get_subject_name(x), names[w.subject]);
    set_name(X509_get_issuer_name(x), w.issuer_name != NULL ? w.issuer_name : names[w.issuer]);
    if (w.basic != NULL)
        add_ext(x, NID_basic_constraints, w.basic);
    if (w.usage != NULL)
        add_ext(x, NID_key_usage, w.usage);
    EVP_PKEY *signer = keys[w.signer > 0 ? w.signer - 1 : w.issuer];
    assert_true(X509_sign(x, signer, EVP_PKEY_is_a(signer, "EC") ? EVP_sha256() : NULL) > 0);
    int n = i2d_X509(x, &der);
    assert_true(n > 0);
    uint8_t *kept = memcpy(vec_keep((size_t)n), der, (size_t)n);
    OPENSSL_free(der);
    X509_free(x);
    return sx_bytes(kept, (size_t)n);
}

static struct sx_chain chain_of(size_t count, simplex_bytes a, simplex_bytes b, simplex_bytes c,
                                simplex_bytes d)
{
    return (struct sx_chain){ { a, b, c, d }, count };
}

static const simplex_bytes no;

static struct sx_chain good_chain(size_t count)
{
    switch (count) {
    case 2:
        return chain_of(2, make(leaf_of(ID)), make(ca_of(ID, ID)), no, no);
    case 3:
        return chain_of(3, make(leaf_of(ID)), make(ca_of(ID, CA)), make(ca_of(CA, CA)), no);
    default:
        return chain_of(4, make(leaf_of(ID)), make(ca_of(ID, NETWORK)), make(ca_of(NETWORK, CA)),
                        make(ca_of(CA, CA)));
    }
}

static simplex_rc verify(const struct sx_chain *c)
{
    uint8_t fp[32];

    sx_sha256(c->cert[1], fp);
    return sx_chain_verify(c, fp, NOW);
}

static int make_keys(void **state)
{
    (void)state;
    for (int i = 0; i < ROLES; i++) {
        keys[i] = EVP_PKEY_Q_keygen(NULL, NULL, i % 2 == 0 ? "ED25519" : "ED448");
        if (keys[i] == NULL)
            return -1;
    }
    return sx_crypto_init();
}

static int free_keys(void **state)
{
    (void)state;
    for (int i = 0; i < ROLES; i++)
        EVP_PKEY_free(keys[i]);
    return 0;
}

static int error_queue_is_clean(void **state)
{
    (void)state;
    vec_free_all();
    return ERR_peek_error() == 0 ? 0 : -1;
}

/* ---- chains ---- */

static void chains_of_two_to_four_verify(void **state)
{
    (void)state;
    for (size_t n = 2; n <= 4; n++) {
        struct sx_chain c = good_chain(n);
        uint8_t fp[32], want[32];
        struct sx_pub leaf;

        assert_int_equal(verify(&c), SIMPLEX_OK);
        assert_int_equal(sx_chain_verify(&c, NULL, NOW), SIMPLEX_OK);
        assert_int_equal(sx_chain_fingerprint(&c, fp), SIMPLEX_OK);
        sx_sha256(c.cert[1], want);
        assert_memory_equal(fp, want, sizeof fp);
        assert_int_equal(sx_chain_leaf_key(&c, &leaf), SIMPLEX_OK);
        assert_int_equal(leaf.alg, SX_ED25519);
    }
}

static void chains_of_other_lengths_are_refused(void **state)
{
    const size_t counts[] = { 0, 1, 5, 255, SIZE_MAX };
    uint8_t fp[32];

    (void)state;
    for (size_t i = 0; i < SX_COUNT(counts); i++) {
        struct sx_chain c = good_chain(4);

        c.count = counts[i];
        assert_int_equal(sx_chain_verify(&c, NULL, NOW), SIMPLEX_E_CERT);
        assert_int_equal(sx_chain_fingerprint(&c, fp), SIMPLEX_E_CERT);
    }
}

static void the_identity_is_the_second_certificate(void **state)
{
    (void)state;
    for (size_t n = 2; n <= 4; n++) {
        struct sx_chain c = good_chain(n);
        uint8_t fp[32];

        for (size_t i = 0; i < n; i++) {
            sx_sha256(c.cert[i], fp);
            assert_int_equal(sx_chain_verify(&c, fp, NOW),
                             i == 1 ? SIMPLEX_OK : SIMPLEX_E_FINGERPRINT);
        }
        memset(fp, 0, sizeof fp);
        assert_int_equal(sx_chain_verify(&c, fp, NOW), SIMPLEX_E_FINGERPRINT);
    }
}

/* The genuine identity certificate is public: it must not lend its name to a foreign leaf. */
static void an_identity_that_did_not_sign_is_worthless(void **state)
{
    simplex_bytes id = make(ca_of(ID, CA));
    struct wish forged = leaf_of(ID);
    struct sx_chain c = chain_of(3, make(leaf_of(OTHER)), id, make(ca_of(OTHER, OTHER)), no);

    (void)state;
    assert_int_equal(verify(&c), SIMPLEX_E_CERT);
    c = chain_of(4, make(leaf_of(NETWORK)), id, make(ca_of(NETWORK, OTHER)),
                 make(ca_of(OTHER, OTHER)));
    assert_int_equal(verify(&c), SIMPLEX_E_CERT);
    forged.signer = OTHER + 1; /* names the identity as issuer, signed by another key */
    c = chain_of(2, make(forged), make(ca_of(ID, ID)), no, no);
    assert_int_equal(verify(&c), SIMPLEX_E_CERT);
}

static void only_the_last_certificate_is_an_anchor(void **state)
{
    struct wish id = ca_of(ID, CA);
    struct sx_chain c = chain_of(3, make(leaf_of(ID)), make(id), make(ca_of(OTHER, OTHER)), no);

    (void)state;
    assert_int_equal(verify(&c), SIMPLEX_E_CERT);
    id = ca_of(ID, ID); /* signed itself, but is not the last */
    c = chain_of(3, make(leaf_of(ID)), make(id), make(ca_of(CA, CA)), no);
    assert_int_equal(verify(&c), SIMPLEX_E_CERT);
    c = chain_of(2, make(leaf_of(ID)), make(ca_of(ID, CA)), no, no); /* last, signed by another */
    assert_int_equal(verify(&c), SIMPLEX_OK);
    c = chain_of(2, make(leaf_of(CA)), make(ca_of(ID, ID)), no, no);
    assert_int_equal(verify(&c), SIMPLEX_E_CERT);
}

static void every_certificate_must_be_valid_now(void **state)
{
    (void)state;
    for (int which = 0; which < 3; which++) {
        for (int late = 0; late < 2; late++) {
            struct wish w[] = { leaf_of(ID), ca_of(ID, CA), ca_of(CA, CA) };

            if (late)
                w[which].from = 60;
            else
                w[which].to = -60;
            struct sx_chain c = chain_of(3, make(w[0]), make(w[1]), make(w[2]), no);
            assert_int_equal(verify(&c), SIMPLEX_E_CERT);
            assert_int_equal(sx_chain_verify(&c, NULL, NOW + (late ? 120 : -120)), SIMPLEX_OK);
        }
    }
}

static void dates_reach_beyond_the_year_4000(void **state)
{
    struct wish leaf = leaf_of(ID), id = ca_of(ID, ID);
    const int64_t far = INT64_C(999999) * DAY;

    (void)state;
    leaf.to = id.to = far;
    struct sx_chain c = chain_of(2, make(leaf), make(id), no, no);
    assert_int_equal(verify(&c), SIMPLEX_OK);
    assert_int_equal(sx_chain_verify(&c, NULL, NOW + far - 1), SIMPLEX_OK);
    assert_int_equal(sx_chain_verify(&c, NULL, NOW + far + 1), SIMPLEX_E_CERT);
    assert_int_equal(sx_chain_verify(&c, NULL, 0), SIMPLEX_E_CERT);
    assert_int_equal(sx_chain_verify(&c, NULL, -1), SIMPLEX_E_CERT);
}

static void intermediates_must_be_authorities(void **state)
{
    static const struct {
        const char *basic, *usage;
        simplex_rc rc;
    } t[] = {
        { "critical,CA:TRUE", NULL, SIMPLEX_OK },
        { "CA:TRUE", "keyCertSign", SIMPLEX_OK },
        { "CA:FALSE", NULL, SIMPLEX_E_CERT },
        { NULL, NULL, SIMPLEX_E_CERT },
        { "critical,CA:TRUE", "digitalSignature", SIMPLEX_E_CERT },
        { "critical,CA:TRUE", "keyCertSign,cRLSign", SIMPLEX_OK },
    };

    (void)state;
    for (size_t i = 0; i < SX_COUNT(t); i++) {
        struct wish id = ca_of(ID, CA);

        id.basic = t[i].basic;
        id.usage = t[i].usage;
        struct sx_chain c = chain_of(3, make(leaf_of(ID)), make(id), make(ca_of(CA, CA)), no);
        assert_int_equal(verify(&c), t[i].rc);
    }
}

static void the_leaf_must_be_version_3(void **state)
{
    struct wish leaf = leaf_of(ID);

    (void)state;
    leaf.version = X509_VERSION_1;
    leaf.basic = NULL;
    struct sx_chain c = chain_of(2, make(leaf), make(ca_of(ID, ID)), no, no);
    assert_int_equal(verify(&c), SIMPLEX_E_CERT);
    leaf.version = X509_VERSION_3;
    c.cert[0] = make(leaf);
    assert_int_equal(verify(&c), SIMPLEX_OK);
}

/* Damage to the identity shows in its fingerprint; nothing else guards the anchor's signature. */
static void damaged_certificates_are_refused(void **state)
{
    (void)state;
    for (size_t which = 0; which < 2; which++) {
        struct sx_chain good = good_chain(2), c = good;
        simplex_rc refused = which == 0 ? SIMPLEX_E_CERT : SIMPLEX_E_FINGERPRINT;
        size_t n = good.cert[which].len;
        uint8_t *copy = vec_keep(n + 1), fp[32];

        assert_int_equal(sx_chain_fingerprint(&good, fp), SIMPLEX_OK);
        memcpy(copy, good.cert[which].ptr, n);
        for (size_t len = 0; len <= n + 1; len++) {
            c.cert[which] = sx_bytes(copy, len);
            assert_int_equal(sx_chain_verify(&c, fp, NOW), len == n ? SIMPLEX_OK : refused);
            assert_int_equal(sx_chain_verify(&c, NULL, NOW),
                             len == n ? SIMPLEX_OK : SIMPLEX_E_CERT);
        }
        c.cert[which].len = n;
        for (size_t i = 0; i < n; i++) {
            copy[i] ^= 0x20;
            assert_int_equal(sx_chain_verify(&c, fp, NOW), refused);
            copy[i] ^= 0x20;
        }
    }
}

static void the_leaf_key_must_sign(void **state)
{
    struct sx_chain c = good_chain(2);
    struct sx_pub pub;
    EVP_PKEY *ed25519 = keys[LEAF];
    static const char *const kinds[] = { "X25519", "X448" };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        keys[LEAF] = EVP_PKEY_Q_keygen(NULL, NULL, kinds[i]);
        c.cert[0] = make(leaf_of(ID));
        assert_int_equal(sx_chain_leaf_key(&c, &pub), SIMPLEX_E_KEY);
        assert_int_equal(pub.alg, SX_NO_KEY);
        EVP_PKEY_free(keys[LEAF]);
    }
    keys[LEAF] = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    c.cert[0] = make(leaf_of(ID));
    assert_int_equal(sx_chain_leaf_key(&c, &pub), SIMPLEX_E_KEY);
    assert_int_equal(verify(&c), SIMPLEX_OK);
    EVP_PKEY_free(keys[LEAF]);
    keys[LEAF] = ed25519;
    c.count = 0;
    assert_int_equal(sx_chain_leaf_key(&c, &pub), SIMPLEX_E_CERT);
}

/* ---- signed session keys ---- */

static void signed_keys_verify_and_do_not_survive_changes(void **state)
{
    const enum sx_alg leaf_algs[] = { SX_ED25519, SX_ED448 },
                      key_algs[] = { SX_X25519, SX_ED25519 };

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct sx_keypair leaf, k, other;
        struct sx_pub got;
        uint8_t buf[256] = { 0 };
        struct sx_wr w;

        assert_int_equal(sx_keypair_new(leaf_algs[i / 2], &leaf), SIMPLEX_OK);
        assert_int_equal(sx_keypair_new(leaf_algs[i / 2], &other), SIMPLEX_OK);
        assert_int_equal(sx_keypair_new(key_algs[i % 2], &k), SIMPLEX_OK);
        sx_wr_fixed(&w, buf, sizeof buf);
        assert_int_equal(sx_signed_key_encode(&w, &k.pub, &leaf), SIMPLEX_OK);
        assert_int_equal(w.len, i < 2 ? 122 : 173);
        assert_int_equal(sx_signed_key_verify(sx_wr_bytes(&w), &leaf.pub, &got), SIMPLEX_OK);
        assert_true(sx_pub_eq(&got, &k.pub));
        assert_int_equal(sx_signed_key_verify(sx_wr_bytes(&w), &other.pub, &got),
                         SIMPLEX_E_SIGNATURE);
        assert_int_equal(got.alg, SX_NO_KEY);
        for (size_t n = 0; n < sizeof buf; n++)
            assert_true((sx_signed_key_verify(sx_bytes(buf, n), &leaf.pub, &got) == SIMPLEX_OK) ==
                        (n == w.len));
        for (size_t at = 0; at < w.len; at++) {
            buf[at] ^= 1;
            simplex_rc rc = sx_signed_key_verify(sx_wr_bytes(&w), &leaf.pub, &got);
            assert_true(rc == SIMPLEX_E_DECODE || rc == SIMPLEX_E_SIGNATURE);
            assert_int_equal(got.alg, SX_NO_KEY);
            buf[at] ^= 1;
        }
    }
}

static void signed_keys_are_of_the_right_kinds(void **state)
{
    struct sx_keypair ed, x, x448;
    struct sx_pub got;
    uint8_t buf[256];
    struct sx_wr w;

    (void)state;
    assert_int_equal(sx_keypair_new(SX_ED25519, &ed), SIMPLEX_OK);
    assert_int_equal(sx_keypair_new(SX_X25519, &x), SIMPLEX_OK);
    assert_int_equal(sx_keypair_new(SX_X448, &x448), SIMPLEX_OK);
    sx_wr_fixed(&w, buf, sizeof buf);
    assert_int_equal(sx_signed_key_encode(&w, &x.pub, &x), SIMPLEX_E_KEY);
    assert_int_equal(sx_signed_key_encode(&w, &x448.pub, &ed), SIMPLEX_E_KEY);
    assert_int_equal(w.len, 0);
    assert_int_equal(sx_signed_key_verify(no, &x.pub, &got), SIMPLEX_E_KEY);
    assert_int_equal(sx_signed_key_verify(no, &ed.pub, &got), SIMPLEX_E_DECODE);
}

/* ---- making certificates ---- */

static struct sx_chain read_chain(struct sx_wr *der, const struct sx_server_certs *certs)
{
    struct sx_wr pem;
    struct sx_chain c;

    sx_wr_init(&pem, 65536);
    sx_wr_raw(&pem, sx_wr_bytes(&certs->cert));
    sx_wr_raw(&pem, sx_wr_bytes(&certs->ca_cert));
    assert_false(pem.bad);
    assert_int_equal(sx_pem_chain(sx_wr_bytes(&pem), der, &c), SIMPLEX_OK);
    sx_wr_free(&pem);
    return c;
}

static void check_made_chain(const struct sx_server_certs *certs, enum sx_alg alg)
{
    struct sx_wr der;
    struct sx_keypair key, ca_key;
    struct sx_pub leaf;
    int64_t now = sx_now_ms() / 1000;

    sx_wr_init(&der, 65536);
    struct sx_chain c = read_chain(&der, certs);
    assert_int_equal(c.count, 2);
    assert_int_equal(sx_chain_verify(&c, NULL, now), SIMPLEX_OK);
    assert_int_equal(sx_chain_verify(&c, NULL, now + INT64_C(999998) * DAY), SIMPLEX_OK);
    assert_int_equal(sx_chain_verify(&c, NULL, now + INT64_C(1000000) * DAY), SIMPLEX_E_CERT);
    assert_int_equal(sx_chain_leaf_key(&c, &leaf), SIMPLEX_OK);
    assert_int_equal(leaf.alg, alg);
    assert_int_equal(sx_pem_key(sx_wr_bytes(&certs->key), &key), SIMPLEX_OK);
    assert_true(sx_pub_eq(&key.pub, &leaf));
    assert_int_equal(sx_pem_key(sx_wr_bytes(&certs->ca_key), &ca_key), SIMPLEX_OK);
    assert_false(sx_pub_eq(&key.pub, &ca_key.pub));
    sx_wr_free(&der);
}

static X509 *read_pem(const struct sx_wr *pem)
{
    BIO *bio = BIO_new_mem_buf(pem->p, (int)pem->len);
    X509 *x = PEM_read_bio_X509(bio, NULL, NULL, NULL);

    assert_non_null(x);
    BIO_free(bio);
    return x;
}

/* The fields of section 10, read by OpenSSL and not by us. */
static void check_fields(const struct sx_server_certs *certs)
{
    X509 *ca = read_pem(&certs->ca_cert), *leaf = read_pem(&certs->cert);
    char name[64];

    assert_int_equal(X509_get_version(ca), X509_VERSION_3);
    assert_int_equal(X509_get_version(leaf), X509_VERSION_3);
    assert_int_equal(X509_check_ca(ca), 1);
    assert_int_equal(X509_check_ca(leaf), 0);
    int at = X509_get_ext_by_NID(ca, NID_basic_constraints, -1);
    assert_true(X509_EXTENSION_get_critical(X509_get_ext(ca, at)));
    assert_non_null(X509_get0_subject_key_id(ca));
    assert_int_equal(
        ASN1_STRING_cmp(X509_get0_subject_key_id(ca), X509_get0_authority_key_id(leaf)), 0);
    assert_int_equal(ASN1_STRING_cmp(X509_get0_subject_key_id(ca), X509_get0_authority_key_id(ca)),
                     0);
    assert_int_equal(X509_get_key_usage(leaf),
                     KU_DIGITAL_SIGNATURE | KU_NON_REPUDIATION | KU_KEY_AGREEMENT);
    assert_int_equal(X509_get_extended_key_usage(leaf), XKU_SSL_SERVER);
    (void)X509_NAME_oneline(X509_get_subject_name(ca), name, sizeof name);
    assert_string_equal(name, "/CN=SMP server CA/O=SimpleX");
    (void)X509_NAME_oneline(X509_get_issuer_name(leaf), name, sizeof name);
    assert_string_equal(name, "/CN=SMP server CA/O=SimpleX");
    (void)X509_NAME_oneline(X509_get_subject_name(leaf), name, sizeof name);
    assert_string_equal(name, "/CN=smp.example.org");
    assert_int_not_equal(ASN1_INTEGER_cmp(X509_get0_serialNumber(ca), X509_get0_serialNumber(leaf)),
                         0);
    assert_int_equal(ASN1_STRING_length(X509_get0_serialNumber(ca)), 20);
    X509_free(ca);
    X509_free(leaf);
}

static void made_certificates_verify(void **state)
{
    const enum sx_alg algs[] = { SX_ED25519, SX_ED448 };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct sx_server_certs certs;

        assert_int_equal(sx_certs_make(algs[i], "smp.example.org", &certs), SIMPLEX_OK);
        check_made_chain(&certs, algs[i]);
        check_fields(&certs);
        sx_certs_free(&certs);
        sx_certs_free(&certs);
    }
}

static void certificates_are_not_made_of_nonsense(void **state)
{
    struct sx_server_certs certs;
    char longest[66];

    (void)state;
    assert_int_equal(sx_certs_make(SX_X25519, "host", &certs), SIMPLEX_E_KEY);
    assert_int_equal(sx_certs_make(SX_NO_KEY, "host", &certs), SIMPLEX_E_KEY);
    assert_int_equal(sx_certs_make(SX_ED25519, NULL, &certs), SIMPLEX_E_ARG);
    assert_int_equal(sx_certs_make(SX_ED25519, "", &certs), SIMPLEX_E_ARG);
    assert_int_equal(sx_certs_make(SX_ED25519, "a b", &certs), SIMPLEX_E_ARG);
    assert_int_equal(sx_certs_make(SX_ED25519, "a\n", &certs), SIMPLEX_E_ARG);
    memset(longest, 'x', sizeof longest);
    longest[65] = 0;
    assert_int_equal(sx_certs_make(SX_ED25519, longest, &certs), SIMPLEX_E_ARG);
    assert_null(certs.key.p);
    assert_int_equal(sx_certs_make(SX_ED25519, longest + 1, &certs), SIMPLEX_OK);
    sx_certs_free(&certs);
}

static void making_certificates_survives_each_failed_malloc(void **state)
{
    bool fired = true;

    (void)state;
    for (unsigned nth = 0; fired; nth++) {
        struct sx_server_certs certs;
        size_t live = sx_fault_live_blocks();

        sx_fault_malloc(nth);
        simplex_rc rc = sx_certs_make(SX_ED25519, "host", &certs);
        fired = sx_fault_disarm();
        assert_int_equal(rc, fired ? SIMPLEX_E_NOMEM : SIMPLEX_OK);
        if (fired)
            assert_int_equal(sx_fault_live_blocks(), live);
        sx_certs_free(&certs);
        assert_int_equal(sx_fault_live_blocks(), live);
    }
}

/* ---- PEM ---- */

#define BEGIN "-----BEGIN CERTIFICATE-----\n"
#define END "-----END CERTIFICATE-----\n"

static void pem_chains_are_read_among_other_text(void **state)
{
    static const char text[] = "Bag of things\r\n" BEGIN "AQID\r\nBAU=\r\n" END
                               "\n-----BEGIN OTHER-----\nAAAA\n-----END OTHER-----\n"
                               "  subject=x \n" BEGIN " AQ = =\n\n" END BEGIN "AQID"
                               "\n"
                               "-----END CERTIFICATE-----";
    struct sx_wr der;
    struct sx_chain c;

    (void)state;
    sx_wr_init(&der, 4096);
    sx_wr_text(&der, "before");
    assert_int_equal(sx_pem_chain(sx_str(text), &der, &c), SIMPLEX_OK);
    assert_int_equal(c.count, 3);
    vec_assert_eq(c.cert[0], vec_unhex("0102030405"), "first");
    vec_assert_eq(c.cert[1], vec_unhex("01"), "second");
    vec_assert_eq(c.cert[2], vec_unhex("010203"), "third");
    assert_int_equal(der.len, 6 + 5 + 1 + 3);
    assert_memory_equal(der.p, "before", 6);
    sx_wr_free(&der);
}

static void damaged_pem_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "x",
        BEGIN,
        BEGIN "AQID\n",
        BEGIN END,
        BEGIN "AQI\n" END,
        BEGIN "A*ID\n" END,
        BEGIN "AQID\n-----END CERTIFICAT-----\n",
        BEGIN "AQID\n" BEGIN "AQID\n" END,
        "-----BEGIN CERTIFICATE----\nAQID\n" END,
        BEGIN "AQ==AQID\n" END,
        BEGIN "AQ-_\n" END,
        BEGIN "\x81\x81\x81\x81\n" END,
    };
    struct sx_wr der;
    struct sx_chain c;

    (void)state;
    sx_wr_init(&der, 4096);
    for (size_t i = 0; i < SX_COUNT(bad); i++) {
        if (sx_pem_chain(sx_str(bad[i]), &der, &c) != SIMPLEX_E_DECODE)
            fail_msg("accepted %s", bad[i]);
        assert_int_equal(c.count, 0);
    }
    assert_int_equal(sx_pem_chain(sx_str(BEGIN "AQID\n" END BEGIN "AQID\n" END BEGIN
                                               "AQID\n" END BEGIN "AQID\n" END BEGIN "AQID\n" END),
                                  &der, &c),
                     SIMPLEX_E_CERT);
    sx_wr_free(&der);
    sx_wr_init(&der, 2); /* no room */
    assert_int_equal(sx_pem_chain(sx_str(BEGIN "AQID\n" END), &der, &c), SIMPLEX_E_NOMEM);
    sx_wr_free(&der);
}

static void pem_keys_must_be_pkcs8_of_a_known_kind(void **state)
{
    struct sx_keypair k;
    static const char ed25519[] =
        "-----BEGIN PRIVATE KEY-----\n"
        "MC4CAQAwBQYDK2VwBCIEIBAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4v\n"
        "-----END PRIVATE KEY-----\n";
    static const char *const wrong[] = {
        /* changed version, body cut short, another label */
        "-----BEGIN PRIVATE KEY-----\n"
        "MC4CAQEwBQYDK2VwBCIEIBAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4v\n"
        "-----END PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2Vw\n-----END PRIVATE KEY-----\n",
    };

    (void)state;
    assert_int_equal(sx_pem_key(sx_str(ed25519), &k), SIMPLEX_OK);
    assert_int_equal(k.pub.alg, SX_ED25519);
    vec_assert_eq(sx_bytes(k.pub.b, 32),
                  vec_unhex("7776e870b93354f2a0b24c23f2a36cc4e80e223218c1b97926fdd018396a2b9b"),
                  "public key");
    for (size_t i = 0; i < SX_COUNT(wrong); i++) {
        assert_int_equal(sx_pem_key(sx_str(wrong[i]), &k), SIMPLEX_E_KEY);
        assert_int_equal(k.priv.alg, SX_NO_KEY);
    }
    assert_int_equal(sx_pem_key(sx_str(""), &k), SIMPLEX_E_DECODE);
    assert_int_equal(sx_pem_key(sx_str(BEGIN "AQID\n" END), &k), SIMPLEX_E_DECODE);
    char big[2000] = "-----BEGIN PRIVATE KEY-----\n";
    size_t n = strlen(big);
    memset(big + n, 'A', 1000);
    memcpy(big + n + 1000, "\n-----END PRIVATE KEY-----\n", 28);
    assert_int_equal(sx_pem_key(sx_str(big), &k), SIMPLEX_E_KEY);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_teardown(f, error_queue_is_clean)
    const struct CMUnitTest tests[] = {
        TEST(chains_of_two_to_four_verify),
        TEST(chains_of_other_lengths_are_refused),
        TEST(the_identity_is_the_second_certificate),
        TEST(an_identity_that_did_not_sign_is_worthless),
        TEST(only_the_last_certificate_is_an_anchor),
        TEST(every_certificate_must_be_valid_now),
        TEST(dates_reach_beyond_the_year_4000),
        TEST(intermediates_must_be_authorities),
        TEST(the_leaf_must_be_version_3),
        TEST(damaged_certificates_are_refused),
        TEST(the_leaf_key_must_sign),
        TEST(signed_keys_verify_and_do_not_survive_changes),
        TEST(signed_keys_are_of_the_right_kinds),
        TEST(made_certificates_verify),
        TEST(certificates_are_not_made_of_nonsense),
        TEST(making_certificates_survives_each_failed_malloc),
        TEST(pem_chains_are_read_among_other_text),
        TEST(damaged_pem_is_refused),
        TEST(pem_keys_must_be_pkcs8_of_a_known_kind),
    };
    return cmocka_run_group_tests(tests, make_keys, free_keys);
}
