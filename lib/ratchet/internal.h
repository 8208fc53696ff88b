/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the ratchet share (protocol/agent.md section 3). */
#ifndef SX_RATCHET_INTERNAL_H
#define SX_RATCHET_INTERNAL_H

#include "ratchet/ratchet.h"

#define SX_X448_LEN 56
#define SX_HEADER_PAD_PQ 2310
#define SX_HEADER_PAD 88
#define SX_HEADER_PLAIN_MAX 2282 /* with ct and key: section 3.4 */

/* ---- key derivation: each structure is the HKDF output as it stands ---- */

struct sx_x3dh_secret {
    uint8_t hk[32], nhk[32], sk[32];
};

struct sx_root_keys {
    uint8_t rk[32], ck[32], nhk[32];
};

struct sx_chain_keys {
    uint8_t ck[32], mk[32], iv[16], iv_header[16];
};

/* DH of the three pairs in order; ss NULL without KEM. */
simplex_rc sx_x3dh_agree(const struct sx_priv *const priv[3], const struct sx_pub *const pub[3],
                         const uint8_t *ss, struct sx_x3dh_secret *out) SIMPLEX_CHECK;
/* rootKdf over DH(priv, pub) and ss (may be NULL). rk may lie inside *out. */
simplex_rc sx_root_kdf(const uint8_t rk[32], const struct sx_priv *priv, const struct sx_pub *pub,
                       const uint8_t *ss, struct sx_root_keys *out) SIMPLEX_CHECK;
simplex_rc sx_chain_kdf(const uint8_t ck[32], struct sx_chain_keys *out) SIMPLEX_CHECK;

/* ---- headers ---- */

struct sx_header { /* the plain header; kem borrows */
    uint16_t max_version;
    struct sx_pub dh;
    struct sx_kem_params kem;
    uint32_t pn, n;
};

/* `version` decides whether the header has a KEM field. */
void sx_header_encode(struct sx_wr *w, const struct sx_header *h, uint16_t version);
simplex_rc sx_header_decode(simplex_bytes in, uint16_t version, struct sx_header *h) SIMPLEX_CHECK;

struct sx_ratchet_parts { /* a ratchet message taken apart; everything borrows */
    simplex_bytes emh;    /* associated data of the body */
    uint16_t version;
    const uint8_t *header_iv, *header_tag;
    simplex_bytes header;
    const uint8_t *tag;
    simplex_bytes body;
};
simplex_rc sx_ratchet_parts_decode(simplex_bytes msg, struct sx_ratchet_parts *p) SIMPLEX_CHECK;
/* LEN of section 3.4. */
static inline size_t sx_len_size(uint16_t version)
{
    return version >= 3 ? 2 : 1;
}

/* ---- KEM (section 3.6) ---- */

struct sx_kem_secrets {
    bool has_in, has_out;
    uint8_t in[SX_KEM_SS], out[SX_KEM_SS];
};
simplex_rc sx_kem_pair_new(const struct sx_ratchet_fresh *fresh,
                           struct sx_kem_pair *out) SIMPLEX_CHECK;
/* Encapsulates to pk and keeps the answer in r->accepted. */
simplex_rc sx_kem_accept(struct sx_ratchet *r, simplex_bytes pk,
                         const struct sx_ratchet_fresh *fresh) SIMPLEX_CHECK;
simplex_rc sx_kem_step(struct sx_ratchet *r, const struct sx_kem_params *in,
                       const struct sx_ratchet_fresh *fresh,
                       struct sx_kem_secrets *out) SIMPLEX_CHECK;
simplex_rc sx_dh_pair_new(const struct sx_keypair *fresh, struct sx_keypair *out) SIMPLEX_CHECK;

/* ---- skipped keys ---- */

/*
 * Moves the receiving chain of `next` (a working copy of r) to message `until` and keeps the keys
 * passed over behind r's skipped keys, where they do not count until sx_skip_commit: *staged is
 * how many wait there.
 */
simplex_rc sx_skip(struct sx_ratchet *r, struct sx_ratchet *next, uint32_t until, size_t *staged,
                   uint32_t *count) SIMPLEX_CHECK;
void sx_skip_commit(struct sx_ratchet *r, size_t staged);
void sx_skip_drop(struct sx_ratchet *r, size_t staged);
/* Index of the key of message n under hk, or r->n_skipped. */
size_t sx_skipped_find(const struct sx_ratchet *r, const uint8_t hk[32], uint32_t n);
void sx_skipped_remove(struct sx_ratchet *r, size_t at);

#endif
