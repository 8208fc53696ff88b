/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks and the key chains that encrypt them (protocol/smp.md sections 2 and 4). */
#include "client/session_internal.h"

#define BLOCK_PADDED (SX_BLOCK - SX_BOX_TAG)

struct block_key {
    struct sx_box_key box;
    uint8_t nonce[SX_NONCE_LEN];
};

simplex_rc sx_block_start(struct sx_session *s, const uint8_t secret[32])
{
    uint8_t okm[64];
    simplex_rc rc = sx_hkdf_sha512(sx_session_id(s), sx_bytes(secret, 32), "SimpleXSbChainInit",
                                   okm, sizeof okm);

    if (rc == SIMPLEX_OK) { /* the first half is for server to client */
        memcpy(s->is_server ? s->snd_chain : s->rcv_chain, okm, 32);
        memcpy(s->is_server ? s->rcv_chain : s->snd_chain, okm + 32, 32);
        s->encrypted = true;
    }
    sx_wipe(okm, sizeof okm);
    return rc;
}

/* One key a block: a chain that has moved on cannot open what it opened before. */
static simplex_rc next_key(uint8_t chain[32], struct block_key *k)
{
    uint8_t okm[88];
    simplex_rc rc =
        sx_hkdf_sha512(sx_bytes(NULL, 0), sx_bytes(chain, 32), "SimpleXSbChain", okm, sizeof okm);

    if (rc == SIMPLEX_OK) {
        memcpy(chain, okm, 32);
        sx_box_key_init(&k->box, okm + 32);
        memcpy(k->nonce, okm + 64, sizeof k->nonce);
    }
    sx_wipe(okm, sizeof okm);
    return rc;
}

simplex_rc sx_block_seal(struct sx_session *s, simplex_bytes content, uint8_t block[SX_BLOCK])
{
    struct block_key k = { 0 };

    if (!s->encrypted)
        return sx_pad(content, block, SX_BLOCK);
    simplex_rc rc = next_key(s->snd_chain, &k);
    if (rc == SIMPLEX_OK)
        rc = sx_box_seal_padded(&k.box, k.nonce, content, BLOCK_PADDED, block);
    sx_wipe(&k, sizeof k);
    return rc;
}

simplex_rc sx_block_open(struct sx_session *s, uint8_t block[SX_BLOCK], simplex_bytes *content)
{
    struct block_key k = { 0 };

    if (!s->encrypted)
        return sx_unpad(sx_bytes(block, SX_BLOCK), content) == SIMPLEX_OK ? SIMPLEX_OK
                                                                          : SIMPLEX_E_BLOCK;
    simplex_rc rc = next_key(s->rcv_chain, &k);
    if (rc == SIMPLEX_OK &&
        sx_box_open_padded(&k.box, k.nonce, block, SX_BLOCK, content) != SIMPLEX_OK)
        rc = SIMPLEX_E_BLOCK;
    sx_wipe(&k, sizeof k);
    return rc;
}
