/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Diffie-Hellman. An all-zero result (a public key of small order) is refused, which the
 * reference does not do: no honest peer sends such a key, and the secret would be known to all.
 */
#include <sodium.h>

#include <openssl/err.h>

#include "crypto/ossl.h"

static simplex_rc dh_448(const struct sx_priv *priv, const struct sx_pub *pub, uint8_t *out)
{
    size_t len = SX_DH_MAX;
    simplex_rc rc = SIMPLEX_E_NOMEM;
    /* Our public half plays no part in the result, so any key stands in for it: deriving the
     * right one would nearly double the cost. */
    EVP_PKEY *own = sx_ossl_priv(priv, pub);
    EVP_PKEY *peer = sx_ossl_pub(pub);
    EVP_PKEY_CTX *ctx = own != NULL && peer != NULL ? EVP_PKEY_CTX_new(own, NULL) : NULL;

    /* OpenSSL checks the result itself: EVP_PKEY_derive fails when it is zero. */
    if (ctx != NULL && EVP_PKEY_derive_init(ctx) == 1 && EVP_PKEY_derive_set_peer(ctx, peer) == 1)
        rc = EVP_PKEY_derive(ctx, out, &len) == 1 && len == SX_DH_MAX ? SIMPLEX_OK : SIMPLEX_E_KEY;
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(peer);
    EVP_PKEY_free(own);
    ERR_clear_error();
    return rc;
}

simplex_rc sx_dh(const struct sx_priv *priv, const struct sx_pub *pub, uint8_t out[SX_DH_MAX])
{
    simplex_rc rc = SIMPLEX_E_KEY;

    if (priv->alg == pub->alg && priv->alg == SX_X25519)
        rc = crypto_scalarmult(out, priv->b, pub->b) == 0 ? SIMPLEX_OK : SIMPLEX_E_KEY;
    else if (priv->alg == pub->alg && priv->alg == SX_X448)
        rc = dh_448(priv, pub, out);
    if (rc != SIMPLEX_OK)
        sx_wipe(out, SX_DH_MAX);
    return rc;
}
