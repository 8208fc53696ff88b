/* SPDX-License-Identifier: Apache-2.0 */
/* The four kinds of keys and their DER forms (smp.md section 1: exact prefixes, nothing else). */
#include <sodium.h>

#include <openssl/core_names.h>
#include <openssl/err.h>

#include "crypto/ossl.h"

#define SPKI_PREFIX 12
#define PKCS8_PREFIX 16

static const struct kind {
    uint8_t len, sig_len;
    int nid;
    const char *spki, *pkcs8; /* prefixes */
} kinds[] = {
    [SX_ED25519] = { 32, 64, EVP_PKEY_ED25519, "\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00",
                     "\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20" },
    [SX_ED448] = { 57, 114, EVP_PKEY_ED448, "\x30\x43\x30\x05\x06\x03\x2b\x65\x71\x03\x3a\x00",
                   "\x30\x47\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x71\x04\x3b\x04\x39" },
    [SX_X25519] = { 32, 0, EVP_PKEY_X25519, "\x30\x2a\x30\x05\x06\x03\x2b\x65\x6e\x03\x21\x00",
                    "\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x6e\x04\x22\x04\x20" },
    [SX_X448] = { 56, 0, EVP_PKEY_X448, "\x30\x42\x30\x05\x06\x03\x2b\x65\x6f\x03\x39\x00",
                  "\x30\x46\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x6f\x04\x3a\x04\x38" },
};

static const struct kind *kind_of(unsigned alg)
{
    return alg > SX_NO_KEY && alg < SX_COUNT(kinds) ? &kinds[alg] : NULL;
}

size_t sx_key_len(enum sx_alg alg)
{
    const struct kind *k = kind_of(alg);

    return k != NULL ? k->len : 0;
}

size_t sx_sig_len(enum sx_alg alg)
{
    const struct kind *k = kind_of(alg);

    return k != NULL ? k->sig_len : 0;
}

bool sx_pub_eq(const struct sx_pub *a, const struct sx_pub *b)
{
    return a->alg == b->alg && sx_equal_ct(a->b, b->b, sx_key_len(a->alg));
}

void sx_keypair_wipe(struct sx_keypair *k)
{
    sx_wipe(k, sizeof *k);
}

EVP_PKEY *sx_ossl_pub(const struct sx_pub *k)
{
    const struct kind *kind = kind_of(k->alg);

    if (kind == NULL || sx_crypto_init() != SIMPLEX_OK)
        return NULL;
    EVP_PKEY *p = EVP_PKEY_new_raw_public_key(kind->nid, NULL, k->b, kind->len);
    ERR_clear_error(); /* in any case: OpenSSL may leave errors when it found a way around them */
    return p;
}

EVP_PKEY *sx_ossl_priv(const struct sx_priv *k, const struct sx_pub *pub)
{
    const struct kind *kind = kind_of(k->alg);
    EVP_PKEY *p = NULL;

    if (kind == NULL || pub->alg != k->alg || sx_crypto_init() != SIMPLEX_OK)
        return NULL;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PRIV_KEY, (void *)k->b, kind->len),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, (void *)pub->b, kind->len),
        OSSL_PARAM_construct_end(),
    };
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_id(kind->nid, NULL);
    if (ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &p, EVP_PKEY_KEYPAIR, params) != 1) {
        EVP_PKEY_free(p);
        p = NULL;
    }
    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
    return p;
}

static simplex_rc derive_448(const struct sx_priv *priv, uint8_t *pub)
{
    const struct kind *kind = kind_of(priv->alg);
    EVP_PKEY *p = EVP_PKEY_new_raw_private_key(kind->nid, NULL, priv->b, kind->len);
    size_t len = SX_KEY_MAX;

    bool ok = p != NULL && EVP_PKEY_get_raw_public_key(p, pub, &len) == 1;
    EVP_PKEY_free(p);
    ERR_clear_error();
    return ok ? SIMPLEX_OK : SIMPLEX_E_NOMEM;
}

static simplex_rc derive(const struct sx_priv *priv, uint8_t *pub)
{
    uint8_t sk[crypto_sign_SECRETKEYBYTES];
    int bad;

    switch (priv->alg) {
    case SX_ED25519:
        bad = crypto_sign_seed_keypair(pub, sk, priv->b);
        sx_wipe(sk, sizeof sk);
        return bad ? SIMPLEX_E_KEY : SIMPLEX_OK;
    case SX_X25519:
        return crypto_scalarmult_base(pub, priv->b) ? SIMPLEX_E_KEY : SIMPLEX_OK;
    default:
        return derive_448(priv, pub);
    }
}

simplex_rc sx_keypair_from_priv(const struct sx_priv *priv, struct sx_keypair *out)
{
    struct sx_keypair k = { .pub.alg = priv->alg, .priv.alg = priv->alg };
    const struct kind *kind = kind_of(priv->alg);

    memset(out, 0, sizeof *out);
    if (kind == NULL)
        return SIMPLEX_E_KEY;
    simplex_rc rc = sx_crypto_init();
    if (rc != SIMPLEX_OK)
        return rc;
    memcpy(k.priv.b, priv->b, kind->len);
    if ((rc = derive(&k.priv, k.pub.b)) == SIMPLEX_OK)
        *out = k;
    sx_keypair_wipe(&k);
    return rc;
}

simplex_rc sx_keypair_new(enum sx_alg alg, struct sx_keypair *out)
{
    struct sx_priv priv = { .alg = (uint8_t)alg };

    sx_random(priv.b, sx_key_len(alg));
    simplex_rc rc = sx_keypair_from_priv(&priv, out);
    sx_wipe(&priv, sizeof priv);
    return rc;
}

simplex_rc sx_pub_from_raw(enum sx_alg alg, simplex_bytes raw, struct sx_pub *out)
{
    memset(out, 0, sizeof *out);
    if (kind_of(alg) == NULL || raw.len != sx_key_len(alg))
        return SIMPLEX_E_KEY;
    out->alg = (uint8_t)alg;
    memcpy(out->b, raw.ptr, raw.len);
    return SIMPLEX_OK;
}

void sx_spki_encode(const struct sx_pub *k, struct sx_wr *w)
{
    const struct kind *kind = kind_of(k->alg);

    if (kind == NULL) {
        w->bad = true;
        return;
    }
    sx_wr_raw(w, sx_bytes(kind->spki, SPKI_PREFIX));
    sx_wr_raw(w, sx_bytes(k->b, kind->len));
}

simplex_rc sx_spki_decode(simplex_bytes der, struct sx_pub *out)
{
    memset(out, 0, sizeof *out);
    for (unsigned alg = SX_ED25519; alg < SX_COUNT(kinds); alg++) {
        const struct kind *k = &kinds[alg];

        if (der.len != SPKI_PREFIX + (size_t)k->len || memcmp(der.ptr, k->spki, SPKI_PREFIX) != 0)
            continue;
        out->alg = (uint8_t)alg;
        memcpy(out->b, der.ptr + SPKI_PREFIX, k->len);
        return SIMPLEX_OK;
    }
    return SIMPLEX_E_KEY;
}

void sx_pkcs8_encode(const struct sx_priv *k, struct sx_wr *w)
{
    const struct kind *kind = kind_of(k->alg);

    if (kind == NULL) {
        w->bad = true;
        return;
    }
    sx_wr_raw(w, sx_bytes(kind->pkcs8, PKCS8_PREFIX));
    sx_wr_raw(w, sx_bytes(k->b, kind->len));
}

simplex_rc sx_pkcs8_decode(simplex_bytes der, struct sx_priv *out)
{
    memset(out, 0, sizeof *out);
    for (unsigned alg = SX_ED25519; alg < SX_COUNT(kinds); alg++) {
        const struct kind *k = &kinds[alg];

        if (der.len != PKCS8_PREFIX + (size_t)k->len ||
            memcmp(der.ptr, k->pkcs8, PKCS8_PREFIX) != 0)
            continue;
        out->alg = (uint8_t)alg;
        memcpy(out->b, der.ptr + PKCS8_PREFIX, k->len);
        return SIMPLEX_OK;
    }
    return SIMPLEX_E_KEY;
}

void sx_wr_key(struct sx_wr *w, const struct sx_pub *k)
{
    const struct kind *kind = kind_of(k->alg);

    if (kind == NULL) {
        w->bad = true;
        return;
    }
    sx_wr_u8(w, (uint8_t)(SPKI_PREFIX + kind->len));
    sx_spki_encode(k, w);
}

void sx_rd_key(struct sx_rd *r, struct sx_pub *out)
{
    if (sx_spki_decode(sx_rd_short(r), out) != SIMPLEX_OK)
        r->bad = true;
}

void sx_rd_key_of(struct sx_rd *r, enum sx_alg alg, struct sx_pub *out)
{
    sx_rd_key(r, out);
    if (out->alg == alg && alg != SX_NO_KEY)
        return;
    memset(out, 0, sizeof *out);
    r->bad = true;
}
