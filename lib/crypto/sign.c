/* SPDX-License-Identifier: Apache-2.0 */
/* Signatures: Ed25519 with libsodium, Ed448 with OpenSSL. */
#include <sodium.h>

#include <openssl/err.h>

#include "crypto/ossl.h"

/* libsodium wants seed || public key; the pair has both, so nothing is derived again. */
static simplex_rc sign_25519(const struct sx_keypair *k, simplex_bytes msg, uint8_t *sig)
{
    uint8_t sk[crypto_sign_SECRETKEYBYTES];

    memcpy(sk, k->priv.b, 32);
    memcpy(sk + 32, k->pub.b, 32);
    int bad = crypto_sign_detached(sig, NULL, msg.ptr, msg.len, sk);
    sx_wipe(sk, sizeof sk);
    return bad ? SIMPLEX_E_INTERNAL : SIMPLEX_OK;
}

static simplex_rc sign_448(const struct sx_keypair *k, simplex_bytes msg, uint8_t *sig)
{
    size_t len = SX_SIG_MAX;
    EVP_PKEY *key = sx_ossl_priv(&k->priv, &k->pub);
    EVP_MD_CTX *ctx = key != NULL ? EVP_MD_CTX_new() : NULL;

    bool ok = ctx != NULL && EVP_DigestSignInit(ctx, NULL, NULL, NULL, key) == 1 &&
              EVP_DigestSign(ctx, sig, &len, msg.ptr, msg.len) == 1 && len == SX_SIG_MAX;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return ok ? SIMPLEX_OK : SIMPLEX_E_NOMEM;
}

simplex_rc sx_sign(const struct sx_keypair *k, simplex_bytes msg, uint8_t *sig, size_t *sig_len)
{
    simplex_rc rc = SIMPLEX_E_KEY;

    *sig_len = 0;
    if (k->priv.alg != k->pub.alg)
        return SIMPLEX_E_KEY;
    if (k->priv.alg == SX_ED25519)
        rc = sign_25519(k, msg, sig);
    else if (k->priv.alg == SX_ED448)
        rc = sign_448(k, msg, sig);
    if (rc == SIMPLEX_OK)
        *sig_len = sx_sig_len(k->priv.alg);
    return rc;
}

static bool verify_448(const struct sx_pub *k, simplex_bytes msg, const uint8_t *sig)
{
    EVP_PKEY *key = sx_ossl_pub(k);
    EVP_MD_CTX *ctx = key != NULL ? EVP_MD_CTX_new() : NULL;

    bool ok = ctx != NULL && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key) == 1 &&
              EVP_DigestVerify(ctx, sig, SX_SIG_MAX, msg.ptr, msg.len) == 1;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return ok;
}

bool sx_verify(const struct sx_pub *k, simplex_bytes msg, simplex_bytes sig)
{
    if (sig.len == 0 || sig.len != sx_sig_len(k->alg))
        return false;
    if (k->alg == SX_ED25519)
        return crypto_sign_verify_detached(sig.ptr, msg.ptr, msg.len, k->b) == 0;
    return verify_448(k, msg, sig.ptr);
}
