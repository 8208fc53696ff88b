/* SPDX-License-Identifier: Apache-2.0 */
/* The three key derivations of section 3: X3DH, root and chain. */
#include <assert.h>

#include "ratchet/internal.h"

static_assert(sizeof(struct sx_x3dh_secret) == 96, "is the HKDF output");
static_assert(sizeof(struct sx_root_keys) == 96, "is the HKDF output");
static_assert(sizeof(struct sx_chain_keys) == 96, "is the HKDF output");

simplex_rc sx_x3dh_agree(const struct sx_priv *const priv[3], const struct sx_pub *const pub[3],
                         const uint8_t *ss, struct sx_x3dh_secret *out)
{
    static const uint8_t salt[64];
    uint8_t ikm[3 * SX_X448_LEN + SX_KEM_SS];
    size_t len = 3 * SX_X448_LEN;
    simplex_rc rc = SIMPLEX_OK;

    for (size_t i = 0; i < 3 && rc == SIMPLEX_OK; i++)
        rc = sx_dh(priv[i], pub[i], ikm + i * SX_X448_LEN);
    if (ss != NULL) {
        memcpy(ikm + len, ss, SX_KEM_SS);
        len += SX_KEM_SS;
    }
    if (rc == SIMPLEX_OK)
        rc = sx_hkdf_sha512(sx_bytes(salt, sizeof salt), sx_bytes(ikm, len), "SimpleXX3DH",
                            (uint8_t *)out, sizeof *out);
    sx_wipe(ikm, sizeof ikm);
    if (rc != SIMPLEX_OK)
        sx_wipe(out, sizeof *out);
    return rc;
}

simplex_rc sx_root_kdf(const uint8_t rk[32], const struct sx_priv *priv, const struct sx_pub *pub,
                       const uint8_t *ss, struct sx_root_keys *out)
{
    uint8_t salt[32], ikm[SX_X448_LEN + SX_KEM_SS];
    size_t len = SX_X448_LEN;

    memcpy(salt, rk, sizeof salt);
    simplex_rc rc = sx_dh(priv, pub, ikm);
    if (ss != NULL) {
        memcpy(ikm + len, ss, SX_KEM_SS);
        len += SX_KEM_SS;
    }
    if (rc == SIMPLEX_OK)
        rc = sx_hkdf_sha512(sx_bytes(salt, sizeof salt), sx_bytes(ikm, len), "SimpleXRootRatchet",
                            (uint8_t *)out, sizeof *out);
    sx_wipe(ikm, sizeof ikm);
    sx_wipe(salt, sizeof salt);
    if (rc != SIMPLEX_OK)
        sx_wipe(out, sizeof *out);
    return rc;
}

simplex_rc sx_chain_kdf(const uint8_t ck[32], struct sx_chain_keys *out)
{
    simplex_rc rc = sx_hkdf_sha512(sx_bytes(NULL, 0), sx_bytes(ck, 32), "SimpleXChainRatchet",
                                   (uint8_t *)out, sizeof *out);

    if (rc != SIMPLEX_OK)
        sx_wipe(out, sizeof *out);
    return rc;
}
