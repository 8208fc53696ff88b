/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Boxes (smp.md section 4). crypto_box and the protocol's "secret box" differ only in where the
 * 32-byte secret comes from: both hash it with HSalsa20 first, and then it is crypto_secretbox.
 */
#include <sodium.h>

#include "crypto/crypto.h"

void sx_box_key_init(struct sx_box_key *k, const uint8_t secret[32])
{
    static const uint8_t zeros[16];

    (void)crypto_core_hsalsa20(k->k, zeros, secret, NULL);
}

void sx_box_seal(const struct sx_box_key *k, const uint8_t nonce[24], simplex_bytes m, uint8_t *out)
{
    (void)crypto_secretbox_easy(out, m.ptr, m.len, nonce, k->k);
}

simplex_rc sx_box_open(const struct sx_box_key *k, const uint8_t nonce[24], simplex_bytes box,
                       uint8_t *out)
{
    if (box.len < SX_BOX_TAG)
        return SIMPLEX_E_CRYPTO;
    return crypto_secretbox_open_easy(out, box.ptr, box.len, nonce, k->k) == 0 ? SIMPLEX_OK
                                                                               : SIMPLEX_E_CRYPTO;
}

simplex_rc sx_box_seal_padded(const struct sx_box_key *k, const uint8_t nonce[24], simplex_bytes m,
                              size_t n, uint8_t *out)
{
    simplex_rc rc = sx_pad(m, out + SX_BOX_TAG, n);

    if (rc == SIMPLEX_OK)
        sx_box_seal(k, nonce, sx_bytes(out + SX_BOX_TAG, n), out);
    return rc;
}

simplex_rc sx_box_open_padded(const struct sx_box_key *k, const uint8_t nonce[24], uint8_t *box,
                              size_t box_len, simplex_bytes *m)
{
    *m = sx_bytes(NULL, 0);
    if (box_len < SX_BOX_TAG)
        return SIMPLEX_E_CRYPTO;
    uint8_t *plain = box + SX_BOX_TAG;
    simplex_rc rc = sx_box_open(k, nonce, sx_bytes(box, box_len), plain);
    return rc == SIMPLEX_OK ? sx_unpad(sx_bytes(plain, box_len - SX_BOX_TAG), m) : rc;
}

void sx_nonce_from(simplex_bytes b, uint8_t nonce[24])
{
    size_t n = b.len < SX_NONCE_LEN ? b.len : SX_NONCE_LEN;

    memset(nonce, 0, SX_NONCE_LEN);
    if (n > 0)
        memcpy(nonce, b.ptr, n);
}

void sx_nonce_reverse(const uint8_t in[24], uint8_t out[24])
{
    uint8_t t[SX_NONCE_LEN]; /* in and out may be the same */

    for (size_t i = 0; i < SX_NONCE_LEN; i++)
        t[i] = in[SX_NONCE_LEN - 1 - i];
    memcpy(out, t, sizeof t);
}

void sx_authenticate(const struct sx_box_key *k, const uint8_t nonce[24], simplex_bytes msg,
                     uint8_t out[SX_AUTHENTICATOR_LEN])
{
    uint8_t *hash = out + SX_BOX_TAG;

    sx_sha512(msg, hash);
    sx_box_seal(k, nonce, sx_bytes(hash, 64), out);
}

bool sx_authenticated(const struct sx_box_key *k, const uint8_t nonce[24], simplex_bytes msg,
                      simplex_bytes authenticator)
{
    uint8_t hash[64], sent[64];

    if (authenticator.len != SX_AUTHENTICATOR_LEN)
        return false;
    if (sx_box_open(k, nonce, authenticator, sent) != SIMPLEX_OK)
        return false;
    sx_sha512(msg, hash);
    return sx_equal_ct(hash, sent, sizeof hash);
}
