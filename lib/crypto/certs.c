/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a server's certificates with the fields the reference has (smp.md section 10): a CA that
 * signs itself and is the identity, and a leaf for TLS signed by it.
 */
#include <limits.h>

#include <openssl/err.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "crypto/ossl.h"
#include "crypto/pem.h"

#define VALID_DAYS 999999
#define PEM_CAP 16384

struct ext {
    int nid;
    const char *value;
};

static const struct ext ca_exts[] = {
    { NID_subject_key_identifier, "hash" },
    { NID_authority_key_identifier, "keyid:always" },
    { NID_basic_constraints, "critical,CA:TRUE" },
};

static const struct ext leaf_exts[] = {
    { NID_basic_constraints, "CA:FALSE" },
    { NID_key_usage, "digitalSignature,nonRepudiation,keyAgreement" },
    { NID_ext_key_usage, "serverAuth" },
    { NID_subject_key_identifier, "hash" },
    { NID_authority_key_identifier, "keyid:always" },
};

static bool add_exts(X509 *x, X509 *issuer, const struct ext *exts, size_t count)
{
    X509V3_CTX ctx;
    bool ok = true;

    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    for (size_t i = 0; ok && i < count; i++) {
        X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, exts[i].nid, exts[i].value);

        ok = e != NULL && X509_add_ext(x, e, -1) == 1;
        X509_EXTENSION_free(e);
    }
    return ok;
}

static bool set_serial(X509 *x)
{
    BIGNUM *n = BN_new();
    uint8_t bytes[20];

    sx_random(bytes, sizeof bytes);
    bytes[0] = (uint8_t)((bytes[0] & 0x7f) | 0x40);
    bool ok = n != NULL && BN_bin2bn(bytes, sizeof bytes, n) != NULL &&
              BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x)) != NULL;
    BN_free(n);
    return ok;
}

static bool add_name(X509_NAME *name, const char *field, const char *value)
{
    return X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, (const unsigned char *)value, -1,
                                      -1, 0) == 1;
}

/* An unsigned certificate of `key` with version, serial number and dates. */
static X509 *new_cert(EVP_PKEY *key)
{
    X509 *x = X509_new();

    if (x != NULL && X509_set_version(x, X509_VERSION_3) == 1 && set_serial(x) &&
        X509_gmtime_adj(X509_getm_notBefore(x), 0) != NULL &&
        X509_time_adj_ex(X509_getm_notAfter(x), VALID_DAYS, 0, NULL) != NULL &&
        X509_set_pubkey(x, key) == 1)
        return x;
    X509_free(x);
    return NULL;
}

static X509 *make_ca(EVP_PKEY *key)
{
    X509 *x = new_cert(key);
    X509_NAME *name = x != NULL ? X509_get_subject_name(x) : NULL;

    if (x != NULL && add_name(name, "CN", "SMP server CA") && add_name(name, "O", "SimpleX") &&
        X509_set_issuer_name(x, name) == 1 && add_exts(x, x, ca_exts, SX_COUNT(ca_exts)) &&
        X509_sign(x, key, NULL) > 0)
        return x;
    X509_free(x);
    return NULL;
}

static X509 *make_leaf(EVP_PKEY *key, const char *host, X509 *ca, EVP_PKEY *ca_key)
{
    X509 *x = new_cert(key);

    if (x != NULL && add_name(X509_get_subject_name(x), "CN", host) &&
        X509_set_issuer_name(x, X509_get_subject_name(ca)) == 1 &&
        add_exts(x, ca, leaf_exts, SX_COUNT(leaf_exts)) && X509_sign(x, ca_key, NULL) > 0)
        return x;
    X509_free(x);
    return NULL;
}

static simplex_rc write_cert(struct sx_wr *w, X509 *x)
{
    unsigned char *der = NULL;
    int n = i2d_X509(x, &der);

    if (n > 0)
        sx_pem_write(w, "CERTIFICATE", sx_bytes(der, (size_t)n));
    OPENSSL_free(der);
    return n > 0 && !w->bad ? SIMPLEX_OK : SIMPLEX_E_NOMEM;
}

static simplex_rc write_key(struct sx_wr *w, const struct sx_priv *k)
{
    uint8_t buf[16 + SX_KEY_MAX];
    struct sx_wr der;

    sx_wr_fixed(&der, buf, sizeof buf);
    sx_pkcs8_encode(k, &der);
    sx_pem_write(w, "PRIVATE KEY", sx_wr_bytes(&der));
    sx_wipe(buf, sizeof buf);
    return w->bad ? SIMPLEX_E_NOMEM : SIMPLEX_OK;
}

/* A new key and its certificate for host, signed by `ca`. */
static simplex_rc write_leaf(enum sx_alg alg, const char *host, X509 *ca, EVP_PKEY *ca_key,
                             struct sx_server_certs *out)
{
    struct sx_keypair pair;
    simplex_rc rc = sx_keypair_new(alg, &pair);

    if (rc != SIMPLEX_OK)
        return rc;
    EVP_PKEY *key = sx_ossl_priv(&pair.priv, &pair.pub);
    X509 *leaf = key != NULL ? make_leaf(key, host, ca, ca_key) : NULL;
    rc = leaf != NULL ? write_cert(&out->cert, leaf) : SIMPLEX_E_NOMEM;
    if (rc == SIMPLEX_OK)
        rc = write_key(&out->key, &pair.priv);
    X509_free(leaf);
    EVP_PKEY_free(key);
    sx_keypair_wipe(&pair);
    return rc;
}

static simplex_rc write_both(enum sx_alg alg, const char *host, struct sx_server_certs *out)
{
    struct sx_keypair pair;
    simplex_rc rc = sx_keypair_new(alg, &pair);

    if (rc != SIMPLEX_OK)
        return rc;
    EVP_PKEY *ca_key = sx_ossl_priv(&pair.priv, &pair.pub);
    X509 *ca = ca_key != NULL ? make_ca(ca_key) : NULL;
    rc = ca != NULL ? write_cert(&out->ca_cert, ca) : SIMPLEX_E_NOMEM;
    if (rc == SIMPLEX_OK)
        rc = write_key(&out->ca_key, &pair.priv);
    if (rc == SIMPLEX_OK)
        rc = write_leaf(alg, host, ca, ca_key, out);
    X509_free(ca);
    EVP_PKEY_free(ca_key);
    sx_keypair_wipe(&pair);
    return rc;
}

static void init_certs(struct sx_server_certs *c)
{
    sx_wr_init(&c->ca_key, PEM_CAP);
    sx_wr_init(&c->ca_cert, PEM_CAP);
    sx_wr_init(&c->key, PEM_CAP);
    sx_wr_init(&c->cert, PEM_CAP);
}

static bool usable_host(const char *host)
{
    size_t n = host != NULL ? strlen(host) : 0;

    for (size_t i = 0; i < n; i++) {
        if (host[i] <= ' ' || host[i] > '~')
            return false;
    }
    return n > 0 && n <= 64; /* ub-common-name */
}

simplex_rc sx_certs_make(enum sx_alg alg, const char *host, struct sx_server_certs *out)
{
    init_certs(out);
    if (!usable_host(host))
        return SIMPLEX_E_ARG;
    simplex_rc rc = sx_sig_len(alg) != 0 ? write_both(alg, host, out) : SIMPLEX_E_KEY;
    ERR_clear_error();
    if (rc != SIMPLEX_OK)
        sx_certs_free(out);
    return rc;
}

static bool is_key_of(const EVP_PKEY *key, X509 *x)
{
    EVP_PKEY *pub = X509_get0_pubkey(x);

    return pub != NULL && EVP_PKEY_eq(pub, key) == 1;
}

simplex_rc sx_certs_renew(enum sx_alg alg, const char *host, simplex_bytes ca_der,
                          const struct sx_keypair *ca_pair, struct sx_server_certs *out)
{
    const unsigned char *at = ca_der.ptr;

    init_certs(out);
    if (!usable_host(host))
        return SIMPLEX_E_ARG;
    if (sx_sig_len(alg) == 0 || sx_sig_len(ca_pair->pub.alg) == 0)
        return SIMPLEX_E_KEY;
    EVP_PKEY *ca_key = sx_ossl_priv(&ca_pair->priv, &ca_pair->pub);
    X509 *ca =
        ca_der.len > 0 && ca_der.len <= LONG_MAX ? d2i_X509(NULL, &at, (long)ca_der.len) : NULL;
    simplex_rc rc = ca_key == NULL           ? SIMPLEX_E_NOMEM
                    : ca == NULL             ? SIMPLEX_E_CERT
                    : !is_key_of(ca_key, ca) ? SIMPLEX_E_KEY
                                             : write_leaf(alg, host, ca, ca_key, out);
    X509_free(ca);
    EVP_PKEY_free(ca_key);
    ERR_clear_error();
    if (rc != SIMPLEX_OK)
        sx_certs_free(out);
    return rc;
}

void sx_certs_free(struct sx_server_certs *c)
{
    sx_wr_free(&c->ca_key);
    sx_wr_free(&c->ca_cert);
    sx_wr_free(&c->key);
    sx_wr_free(&c->cert);
}

/* ---- services ---- */

static X509 *make_single(EVP_PKEY *key, const char *name)
{
    X509 *x = new_cert(key);
    X509_NAME *subject = x != NULL ? X509_get_subject_name(x) : NULL;

    if (x != NULL && add_name(subject, "CN", name) && X509_set_issuer_name(x, subject) == 1 &&
        X509_sign(x, key, NULL) > 0)
        return x;
    X509_free(x);
    return NULL;
}

simplex_rc sx_cert_make_service(struct sx_wr *cert, struct sx_wr *key)
{
    char name[32];
    uint8_t random[15];
    struct sx_keypair pair;
    struct sx_wr w;
    simplex_rc rc = sx_keypair_new(SX_ED25519, &pair);

    if (rc != SIMPLEX_OK)
        return rc;
    sx_random(random, sizeof random);
    sx_wr_fixed(&w, name, sizeof name);
    sx_b64url_encode(&w, sx_bytes(random, sizeof random));
    sx_wr_u8(&w, 0);
    EVP_PKEY *own = sx_ossl_priv(&pair.priv, &pair.pub);
    X509 *x = own != NULL ? make_single(own, name) : NULL;
    rc = x != NULL ? write_cert(cert, x) : SIMPLEX_E_NOMEM;
    if (rc == SIMPLEX_OK)
        rc = write_key(key, &pair.priv);
    X509_free(x);
    EVP_PKEY_free(own);
    sx_keypair_wipe(&pair);
    ERR_clear_error();
    return rc;
}
