/* SPDX-License-Identifier: Apache-2.0 */
/* Hashes and HKDF-SHA512 (RFC 5869). */
#include <sodium.h>
#include <stdlib.h>

#include <openssl/err.h>

#include "crypto/ossl.h"

/* A context that exists is reset without allocation, so only its making can fail. */
static bool digest(enum sx_md md, simplex_bytes m, uint8_t *out)
{
    const struct sx_ossl *o = sx_ossl();
    EVP_MD_CTX *ctx = sx_ossl_md_ctx(md);

    if (o == NULL || ctx == NULL)
        return false;
    if (EVP_DigestInit_ex2(ctx, o->md[md], NULL) == 1 &&
        EVP_DigestUpdate(ctx, m.ptr, m.len) == 1 && EVP_DigestFinal_ex(ctx, out, NULL) == 1)
        return true;
    ERR_clear_error();
    return false;
}

void sx_sha256(simplex_bytes m, uint8_t out[32])
{
    if (!digest(SX_MD_SHA256, m, out))
        (void)crypto_hash_sha256(out, m.ptr, m.len);
}

void sx_sha512(simplex_bytes m, uint8_t out[64])
{
    if (!digest(SX_MD_SHA512, m, out))
        (void)crypto_hash_sha512(out, m.ptr, m.len);
}

/* These have no second implementation; going on with a wrong hash would be worse than ending. */
static void digest_or_die(enum sx_md md, simplex_bytes m, uint8_t *out)
{
    if (!digest(md, m, out))
        abort();
}

void sx_sha3_256(simplex_bytes m, uint8_t out[32])
{
    digest_or_die(SX_MD_SHA3_256, m, out);
}

void sx_sha3_384(simplex_bytes m, uint8_t out[48])
{
    digest_or_die(SX_MD_SHA3_384, m, out);
}

void sx_md5(simplex_bytes m, uint8_t out[16])
{
    digest_or_die(SX_MD_MD5, m, out);
}

#define HASH 64

simplex_rc sx_hkdf_sha512(simplex_bytes salt, simplex_bytes ikm, const char *info, uint8_t *okm,
                          size_t okm_len)
{
    crypto_auth_hmacsha512_state keyed, st;
    uint8_t prk[HASH], t[HASH];

    if (okm_len > 255 * HASH)
        return SIMPLEX_E_ARG;
    (void)crypto_auth_hmacsha512_init(&st, salt.ptr, salt.len);
    (void)crypto_auth_hmacsha512_update(&st, ikm.ptr, ikm.len);
    (void)crypto_auth_hmacsha512_final(&st, prk);
    (void)crypto_auth_hmacsha512_init(&keyed, prk, sizeof prk);
    for (uint8_t i = 1; okm_len > 0; i++) {
        size_t n = okm_len < HASH ? okm_len : HASH;

        st = keyed;
        if (i > 1)
            (void)crypto_auth_hmacsha512_update(&st, t, sizeof t);
        (void)crypto_auth_hmacsha512_update(&st, (const uint8_t *)info, strlen(info));
        (void)crypto_auth_hmacsha512_update(&st, &i, 1);
        (void)crypto_auth_hmacsha512_final(&st, t);
        memcpy(okm, t, n);
        okm += n;
        okm_len -= n;
    }
    sx_wipe(&keyed, sizeof keyed);
    sx_wipe(&st, sizeof st);
    sx_wipe(prk, sizeof prk);
    sx_wipe(t, sizeof t);
    return SIMPLEX_OK;
}
