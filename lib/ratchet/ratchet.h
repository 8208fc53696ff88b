/* SPDX-License-Identifier: Apache-2.0 */
/*
 * X3DH and the double ratchet with header encryption and the optional KEM (protocol/agent.md
 * section 3). Pure computation: no database, no clock. Randomness is generated here unless a test
 * passes it in (struct sx_ratchet_fresh).
 *
 * A decryption works on the caller's state and leaves it untouched unless it says otherwise
 * (`saved` below), so the caller can store exactly what the protocol wants stored.
 */
#ifndef SX_RATCHET_H
#define SX_RATCHET_H

#include "wire/agent_msg.h"

#define SX_RATCHET_MAX_SKIP 512
#define SX_RATCHET_AD 112

struct sx_kem_pair {
    uint8_t pk[SX_KEM_PK];
    uint8_t sk[SX_KEM_SK];
};

/* The private side of X3DH parameters: two X448 pairs, and the KEM pair when PQ is on. */
struct sx_x3dh_keys {
    struct sx_keypair k1, k2;
    bool has_kem;
    struct sx_kem_pair kem;
};

struct sx_skipped { /* the key of a message that was skipped */
    uint8_t hk[32];
    uint32_t n;
    uint8_t mk[32];
    uint8_t iv[16];
};

struct sx_ratchet {
    uint16_t current;       /* e2e version in use */
    uint16_t max_supported; /* announced in headers */
    uint8_t ad[SX_RATCHET_AD];
    struct sx_keypair dhs; /* X448 */
    bool support_kem, enable_kem, snd_kem, rcv_kem;
    bool has_kem; /* own pair, offered to the peer */
    struct sx_kem_pair kem;
    bool has_accepted; /* the peer's key was answered: ct goes with every header */
    struct {
        uint8_t pk[SX_KEM_PK], ct[SX_KEM_CT], ss[SX_KEM_SS];
    } accepted;
    uint8_t rk[32];
    bool has_snd, has_rcv; /* sending and receiving chains exist */
    uint8_t cks[32], hks[32], nhks[32];
    uint8_t ckr[32], hkr[32], nhkr[32];
    uint32_t ns, nr, pn;
    struct sx_skipped *skipped; /* owned */
    size_t n_skipped, cap_skipped;
};

/* What an operation changed in the skipped keys, for a store that keeps them in rows. */
struct sx_skipped_diff {
    bool removed; /* `gone` was used up */
    struct sx_skipped gone;
    size_t added; /* the last `added` entries of r->skipped are new */
};

/* Random values of a step; NULL everywhere in production. Fields unset are generated. */
struct sx_ratchet_fresh {
    const struct sx_keypair *k1, *k2; /* the joiner's X3DH pairs */
    const struct sx_keypair *dh;
    const struct sx_kem_pair *kem;
    const uint8_t *ct, *ss; /* result of the encapsulation */
};

void sx_ratchet_wipe(struct sx_ratchet *r); /* wipes, frees skipped */
void sx_x3dh_keys_wipe(struct sx_x3dh_keys *k);

/* New parameters. with_kem needs the feature `pq`. */
simplex_rc sx_x3dh_keys_new(bool with_kem, struct sx_x3dh_keys *out) SIMPLEX_CHECK;
/* The public side at e2e range v; kem_kind NONE or PROPOSED. Borrows from k. */
void sx_x3dh_params(const struct sx_x3dh_keys *k, struct sx_range v, struct sx_e2e_params *out);

/*
 * The joiner (J). `peer` comes from the link, `version` is the agreed e2e version. Makes own keys
 * and fills in `params`, to be sent in the confirmation (the KEM part borrows from r). pq: the
 * connection supports PQ. `own` (k1, k2, and the KEM pair when there is one) is the caller's to
 * wipe. On failure r and own are zeros. r must not hold a ratchet: wipe it before.
 */
simplex_rc sx_ratchet_init_send(struct sx_ratchet *r, const struct sx_e2e_params *peer,
                                uint16_t version, bool pq, struct sx_x3dh_keys *own,
                                struct sx_e2e_params *params,
                                const struct sx_ratchet_fresh *fresh) SIMPLEX_CHECK;
/*
 * The same with own keys that were sent already (re-synchronisation, section 6.6): own KEM key,
 * when there is one, was proposed, so the peer's proposal is not answered here but in band.
 */
simplex_rc sx_ratchet_init_send_with(struct sx_ratchet *r, const struct sx_e2e_params *peer,
                                     uint16_t version, const struct sx_x3dh_keys *own,
                                     const struct sx_ratchet_fresh *fresh) SIMPLEX_CHECK;

/*
 * The initiator (I): own keys of the link, the peer's parameters from the confirmation, whose
 * version (v.min == v.max) becomes the ratchet's. E_RATCHET_KEM: the peer answered a KEM key that
 * was never proposed.
 */
simplex_rc sx_ratchet_init_receive(struct sx_ratchet *r, const struct sx_x3dh_keys *own,
                                   const struct sx_e2e_params *peer, bool pq) SIMPLEX_CHECK;

enum sx_pq_flag { SX_PQ_KEEP = 0, SX_PQ_ON, SX_PQ_OFF };

/* The key of one message to send: kept with the message, the body is encrypted when it is sent. */
#define SX_EMH_MAX 2348
struct sx_msg_key {
    uint16_t version;
    uint8_t ad[SX_RATCHET_AD];
    uint8_t mk[32], iv[16];
    uint16_t emh_len;
    uint8_t emh[SX_EMH_MAX]; /* the encrypted header */
};
void sx_msg_key_wipe(struct sx_msg_key *k);
void sx_msg_key_encode(struct sx_wr *w, const struct sx_msg_key *k); /* for the database */
simplex_rc sx_msg_key_decode(simplex_bytes in, struct sx_msg_key *k) SIMPLEX_CHECK;

/* Advances the sending chain. E_RATCHET_NO_CHAIN; E_PROHIBITED at the end of the numbers of a
 * chain (2^32 - 1). On error r is unchanged. */
simplex_rc sx_ratchet_encrypt_header(struct sx_ratchet *r, enum sx_pq_flag pq,
                                     struct sx_msg_key *key) SIMPLEX_CHECK;
/* The same announcing another highest e2e version than ours (tests with older peers). */
simplex_rc sx_ratchet_encrypt_header_as(struct sx_ratchet *r, enum sx_pq_flag pq,
                                        uint16_t max_supported,
                                        struct sx_msg_key *key) SIMPLEX_CHECK;
/* Length of the result for a body padded to `padded`. */
size_t sx_ratchet_msg_len(const struct sx_msg_key *key, size_t padded);
/* The same for the next message, before its header is made. */
size_t sx_ratchet_next_msg_len(const struct sx_ratchet *r, enum sx_pq_flag pq, size_t padded);
/* Appends the whole ratchet message, nothing on failure. E_TOO_LARGE when plain + 2 > padded. */
simplex_rc sx_ratchet_encrypt_body(const struct sx_msg_key *key, simplex_bytes plain, size_t padded,
                                   struct sx_wr *out) SIMPLEX_CHECK;

/*
 * Decrypts msg. plain: msg.len bytes of room, not overlapping msg; `text` borrows from it
 * (unpadded). `saved` says that r changed and must be stored, which is so on success and for some
 * failures (section 3.5); otherwise r is as it was. `count` is n of the EARLIER and SKIPPED errors.
 * E_DECODE: the message or its header is malformed (A_MESSAGE of section 3.5).
 */
struct sx_ratchet_in {
    bool saved;
    uint32_t count;
    struct sx_skipped_diff diff;
    simplex_bytes text;
};
simplex_rc sx_ratchet_decrypt(struct sx_ratchet *r, simplex_bytes msg, uint8_t *plain,
                              struct sx_ratchet_in *res,
                              const struct sx_ratchet_fresh *fresh) SIMPLEX_CHECK;

/* State without the skipped keys, versioned, for the database. */
void sx_ratchet_encode(struct sx_wr *w, const struct sx_ratchet *r);
simplex_rc sx_ratchet_decode(simplex_bytes in, struct sx_ratchet *r) SIMPLEX_CHECK;
simplex_rc sx_ratchet_add_skipped(struct sx_ratchet *r, const struct sx_skipped *s) SIMPLEX_CHECK;
void sx_x3dh_keys_encode(struct sx_wr *w, const struct sx_x3dh_keys *k);
simplex_rc sx_x3dh_keys_decode(simplex_bytes in, struct sx_x3dh_keys *k) SIMPLEX_CHECK;

/* Padded lengths of the plaintext by agent version and PQ support (section 3.4). */
size_t sx_ratchet_padded_info(uint16_t agent_version, bool pq);
size_t sx_ratchet_padded_message(uint16_t agent_version, bool pq);

#endif
