/* SPDX-License-Identifier: Apache-2.0 */
/* Verification of the certificates of servers and services (smp.md section 3). */
#include <limits.h>

#include <openssl/err.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "crypto/x509.h"

struct parsed {
    X509 *cert[SX_CHAIN_MAX];
    size_t count;
};

static void free_parsed(struct parsed *p)
{
    for (size_t i = 0; i < p->count; i++)
        X509_free(p->cert[i]);
    ERR_clear_error();
}

static X509 *parse_cert(simplex_bytes der)
{
    const unsigned char *at = der.ptr;

    if (der.len == 0 || der.len > LONG_MAX)
        return NULL;
    X509 *x = d2i_X509(NULL, &at, (long)der.len);
    if (x != NULL && at == der.ptr + der.len)
        return x;
    X509_free(x); /* bytes behind the certificate would escape the fingerprint's meaning */
    ERR_clear_error();
    return NULL;
}

static simplex_rc parse_chain(const struct sx_chain *chain, struct parsed *p)
{
    p->count = 0;
    if (chain->count < 1 || chain->count > SX_CHAIN_MAX)
        return SIMPLEX_E_CERT;
    for (size_t i = 0; i < chain->count; i++) {
        X509 *x = parse_cert(chain->cert[i]);
        if (x == NULL) {
            free_parsed(p);
            return SIMPLEX_E_CERT;
        }
        p->cert[p->count++] = x;
    }
    return SIMPLEX_OK;
}

simplex_rc sx_chain_fingerprint(const struct sx_chain *chain, uint8_t out[32])
{
    memset(out, 0, 32);
    if (chain->count < 2 || chain->count > SX_CHAIN_MAX)
        return SIMPLEX_E_CERT;
    sx_sha256(chain->cert[1], out);
    return SIMPLEX_OK;
}

/*
 * The fingerprint is worth something only if the identity certificate vouches for the leaf: without
 * this check anyone could put the genuine identity between a leaf and an anchor of their own.
 */
static bool path_has(X509_STORE_CTX *ctx, const X509 *identity)
{
    STACK_OF(X509) *path = X509_STORE_CTX_get0_chain(ctx);

    for (int i = 0; i < sk_X509_num(path); i++) {
        if (X509_cmp(sk_X509_value(path, i), identity) == 0)
            return true;
    }
    return false;
}

static bool validate(X509_STORE_CTX *ctx, const struct parsed *p, int64_t now_s)
{
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);

    X509_VERIFY_PARAM_set_time(param, (time_t)now_s);
    /* The anchor is the last certificate, whether it signed itself or not. */
    (void)X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
    X509_VERIFY_PARAM_set_depth(param, SX_CHAIN_MAX);
    return X509_verify_cert(ctx) == 1 && path_has(ctx, p->cert[p->count > 1]);
}

static simplex_rc validate_chain(const struct parsed *p, int64_t now_s)
{
    simplex_rc rc = SIMPLEX_E_NOMEM;
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    STACK_OF(X509) *between = sk_X509_new_null();
    bool ok = store != NULL && ctx != NULL && between != NULL &&
              X509_STORE_add_cert(store, p->cert[p->count - 1]) == 1;

    for (size_t i = 1; ok && i + 1 < p->count; i++)
        ok = sk_X509_push(between, p->cert[i]) > 0;
    if (ok && X509_STORE_CTX_init(ctx, store, p->cert[0], between) == 1)
        rc = validate(ctx, p, now_s) ? SIMPLEX_OK : SIMPLEX_E_CERT;
    X509_STORE_CTX_free(ctx);
    sk_X509_free(between);
    X509_STORE_free(store);
    return rc;
}

simplex_rc sx_chain_verify(const struct sx_chain *chain, const uint8_t *fingerprint, int64_t now_s)
{
    struct parsed p;
    uint8_t fp[32];
    simplex_rc rc = sx_chain_fingerprint(chain, fp);

    if (rc != SIMPLEX_OK)
        return rc;
    if (fingerprint != NULL && !sx_equal_ct(fp, fingerprint, sizeof fp))
        return SIMPLEX_E_FINGERPRINT;
    if ((rc = parse_chain(chain, &p)) != SIMPLEX_OK)
        return rc;
    rc = X509_get_version(p.cert[0]) == X509_VERSION_3 ? validate_chain(&p, now_s) : SIMPLEX_E_CERT;
    free_parsed(&p);
    return rc;
}

static simplex_rc verify_single(const struct sx_chain *chain, int64_t now_s)
{
    struct parsed p;
    simplex_rc rc = parse_chain(chain, &p);

    if (rc != SIMPLEX_OK)
        return rc;
    rc = X509_get_version(p.cert[0]) == X509_VERSION_3 && X509_self_signed(p.cert[0], 1) == 1
             ? validate_chain(&p, now_s)
             : SIMPLEX_E_CERT;
    free_parsed(&p);
    return rc;
}

simplex_rc sx_chain_verify_service(const struct sx_chain *chain, int64_t now_s,
                                   uint8_t cert_hash[32])
{
    memset(cert_hash, 0, 32);
    simplex_rc rc =
        chain->count == 1 ? verify_single(chain, now_s) : sx_chain_verify(chain, NULL, now_s);
    if (rc == SIMPLEX_OK)
        sx_sha256(chain->cert[chain->count > 1], cert_hash);
    return rc;
}

simplex_rc sx_chain_leaf_key(const struct sx_chain *chain, struct sx_pub *out)
{
    unsigned char *der = NULL;

    memset(out, 0, sizeof *out);
    X509 *x = chain->count > 0 ? parse_cert(chain->cert[0]) : NULL;
    if (x == NULL)
        return SIMPLEX_E_CERT;
    int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der);
    X509_free(x);
    simplex_rc rc = n > 0 ? sx_spki_decode(sx_bytes(der, (size_t)n), out) : SIMPLEX_E_NOMEM;
    OPENSSL_free(der);
    ERR_clear_error();
    if (rc == SIMPLEX_OK && sx_sig_len(out->alg) == 0)
        rc = SIMPLEX_E_KEY;
    if (rc != SIMPLEX_OK)
        memset(out, 0, sizeof *out);
    return rc;
}

simplex_rc sx_chain_leaf_name(const struct sx_chain *chain, char *to, size_t size)
{
    X509 *x = chain->count > 0 ? parse_cert(chain->cert[0]) : NULL;
    unsigned char *text = NULL;

    if (x == NULL)
        return SIMPLEX_E_CERT;
    const X509_NAME *name = X509_get_subject_name(x);
    int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
    const X509_NAME_ENTRY *entry = at >= 0 ? X509_NAME_get_entry(name, at) : NULL;
    int n = entry != NULL ? ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(entry)) : -1;
    bool ok = n > 0 && (size_t)n < size && memchr(text, 0, (size_t)n) == NULL;
    if (ok) {
        memcpy(to, text, (size_t)n);
        to[n] = 0;
    }
    OPENSSL_free(text);
    X509_free(x);
    ERR_clear_error();
    return ok ? SIMPLEX_OK : SIMPLEX_E_CERT;
}
