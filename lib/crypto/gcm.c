/* SPDX-License-Identifier: Apache-2.0 */
/* AES-256-GCM with a 12 or 16 byte IV (agent.md section 0), in the context of the thread. */
#include <limits.h>

#include <openssl/core_names.h>
#include <openssl/err.h>

#include "crypto/ossl.h"

struct gcm {
    const uint8_t *key, *iv;
    size_t iv_len;
    simplex_bytes ad1, ad2;
};

static bool start(EVP_CIPHER_CTX *c, const struct gcm *g, int encrypt)
{
    size_t iv_len = g->iv_len;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_size_t(OSSL_CIPHER_PARAM_IVLEN, &iv_len),
        OSSL_PARAM_construct_end(),
    };

    /* The length of the IV must be known before the IV is given. */
    return EVP_CipherInit_ex2(c, NULL, NULL, NULL, encrypt, params) == 1 &&
           EVP_CipherInit_ex2(c, NULL, g->key, g->iv, encrypt, NULL) == 1;
}

/* OpenSSL takes an empty input for the end of the message. */
static bool update(EVP_CIPHER_CTX *c, uint8_t *out, simplex_bytes in)
{
    int n = 0;

    return in.len == 0 || EVP_CipherUpdate(c, out, &n, in.ptr, (int)in.len) == 1;
}

/* The context stays; the key in it must not. */
static void forget(EVP_CIPHER_CTX *c)
{
    static const uint8_t zeros[32];

    if (EVP_CipherInit_ex2(c, NULL, zeros, zeros, 1, NULL) != 1)
        ERR_clear_error();
}

static bool usable(const struct gcm *g, simplex_bytes text)
{
    return (g->iv_len == 12 || g->iv_len == 16) && g->ad1.len <= INT_MAX && g->ad2.len <= INT_MAX &&
           text.len <= INT_MAX;
}

static simplex_rc run(const struct gcm *g, int encrypt, simplex_bytes in, uint8_t *out,
                      uint8_t tag[SX_GCM_TAG])
{
    int n = 0;
    uint8_t none[16];

    if (!usable(g, in))
        return SIMPLEX_E_ARG;
    EVP_CIPHER_CTX *c = sx_ossl_gcm_ctx();
    if (c == NULL)
        return SIMPLEX_E_NOMEM;
    simplex_rc rc = SIMPLEX_E_NOMEM;
    if (start(c, g, encrypt) && update(c, NULL, g->ad1) && update(c, NULL, g->ad2) &&
        update(c, out, in) &&
        (encrypt || EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, SX_GCM_TAG, tag) == 1))
        rc = EVP_CipherFinal_ex(c, none, &n) == 1 ? SIMPLEX_OK : SIMPLEX_E_CRYPTO;
    if (rc == SIMPLEX_OK && encrypt &&
        EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, SX_GCM_TAG, tag) != 1)
        rc = SIMPLEX_E_NOMEM;
    forget(c);
    if (rc == SIMPLEX_OK)
        return SIMPLEX_OK;
    ERR_clear_error();
    if (in.len > 0)
        sx_wipe(out, in.len); /* not authenticated */
    return rc;
}

simplex_rc sx_gcm_encrypt(const uint8_t key[32], const uint8_t *iv, size_t iv_len,
                          simplex_bytes ad1, simplex_bytes ad2, simplex_bytes plain, uint8_t *out,
                          uint8_t tag[SX_GCM_TAG])
{
    const struct gcm g = { key, iv, iv_len, ad1, ad2 };

    return run(&g, 1, plain, out, tag);
}

simplex_rc sx_gcm_decrypt(const uint8_t key[32], const uint8_t *iv, size_t iv_len,
                          simplex_bytes ad1, simplex_bytes ad2, simplex_bytes cipher,
                          const uint8_t tag[SX_GCM_TAG], uint8_t *out)
{
    const struct gcm g = { key, iv, iv_len, ad1, ad2 };
    uint8_t expected[SX_GCM_TAG];

    memcpy(expected, tag, sizeof expected);
    return run(&g, 0, cipher, out, expected);
}
