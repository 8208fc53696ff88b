/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Short links and the data stored behind them (protocol/agent.md section 5.3).
 *
 * Who makes a link signs the fixed data first: its hash is the link key, which gives the
 * encryption key and, for contact links, the link id. Who opens one fetches both stored parts,
 * opens them with the key and verifies them; nothing of the content is used before that.
 */
#ifndef SX_WIRE_SHORT_LINK_H
#define SX_WIRE_SHORT_LINK_H

#include "wire/link.h"

#define SX_LINK_KEY_LEN 32
#define SX_LINK_ID_LEN 24

enum sx_short_type {
    SX_SHORT_INVITATION = 'i',
    SX_SHORT_CONTACT = 'a',
    SX_SHORT_CHANNEL = 'c',
    SX_SHORT_GROUP = 'g',
    SX_SHORT_RELAY = 'r',
};
enum sx_short_scheme { SX_SHORT_HTTPS, SX_SHORT_SIMPLEX };

struct sx_short_link { /* owned; copy by assignment */
    uint8_t type;      /* enum sx_short_type */
    uint8_t scheme;    /* enum sx_short_scheme; HTTPS after binary decoding */
    bool has_key_hash; /* false: only a preset server can be meant, see sx_short_link_restore */
    struct sx_server server;
    uint8_t link_id[SX_LINK_ID_LEN]; /* INVITATION only */
    uint8_t link_key[SX_LINK_KEY_LEN];
};

/* SX_LINK_INVITATION or SX_LINK_CONTACT: the kind of the full link behind it. */
uint8_t sx_short_link_kind(const struct sx_short_link *s);

/* Text in either scheme; surrounding white space is ignored. E_LINK. */
simplex_rc sx_short_link_parse(simplex_bytes text, struct sx_short_link *s) SIMPLEX_CHECK;
void sx_short_link_print(struct sx_wr *w, const struct sx_short_link *s);
void sx_short_link_encode(struct sx_wr *w, const struct sx_short_link *s);
void sx_short_link_read(struct sx_rd *r, struct sx_short_link *s);

/* A link to a preset server names only the server's first host: all else is known. */
void sx_short_link_shorten(struct sx_short_link *s, const struct sx_server *presets, size_t n);
/* The reverse for links without port and key hash; leaves links to unknown servers alone. */
void sx_short_link_restore(struct sx_short_link *s, const struct sx_server *presets, size_t n);

/* ---- keys ---- */

struct sx_link_keys {
    uint8_t id[SX_LINK_ID_LEN]; /* of contact links; a 1-time link gets its id from the server */
    uint8_t key[32];            /* encrypts both parts of the data */
};
/* kind: enum sx_link_kind. Wipe the result with sx_wipe. */
simplex_rc sx_link_keys_derive(uint8_t kind, const uint8_t link_key[SX_LINK_KEY_LEN],
                               struct sx_link_keys *out) SIMPLEX_CHECK;
/* The sender id that follows from the correlation id of NEW; the server verifies it. */
void sx_link_sender_id(const uint8_t corr_id[24], struct sx_id *out);

/* ---- link data ---- */

/* Fixed for the life of the link; readers ignore what follows these fields. */
struct sx_link_fixed {
    struct sx_range agent_v;
    struct sx_pub root; /* Ed25519 */
    struct sx_link request;
    bool has_entity;
    simplex_bytes entity; /* borrowed */
};

struct sx_link_owner {
    simplex_bytes id;  /* borrowed */
    struct sx_pub key; /* Ed25519 */
    uint8_t sig[64];   /* by the root key or an earlier owner, over id and key */
};

/* The maker may replace it at any time; readers ignore what follows these fields. */
struct sx_link_user {
    uint8_t kind; /* enum sx_link_kind */
    struct sx_range agent_v;
    /* CONTACT: */
    bool direct;
    struct sx_list owners; /* sx_link_owner */
    struct sx_list relays; /* sx_short_link, contact types */
    /* both: */
    simplex_bytes data; /* of the application; borrowed */
};

/* Item writers append one item; readers take the next off `r` (sx_rd_init(list.items)). */
void sx_link_owner_encode(struct sx_wr *w, const struct sx_link_owner *o);
void sx_link_owner_next(struct sx_rd *r, struct sx_link_owner *o);
/* Fills in o->sig; signer: the root key pair or an earlier owner's. */
simplex_rc sx_link_owner_sign(struct sx_link_owner *o, const struct sx_keypair *signer)
    SIMPLEX_CHECK;
#define sx_link_relay_encode sx_short_link_encode
#define sx_link_relay_next sx_short_link_read

/*
 * Appends the signed form of each part to w. root: the key pair of f->root; the link key is the
 * hash of what was signed. signer: the root key pair, or for contacts that of any owner. E_ENCODE
 * when a field or the whole does not fit.
 */
simplex_rc sx_link_fixed_sign(struct sx_wr *w, const struct sx_link_fixed *f,
                              const struct sx_keypair *root,
                              uint8_t link_key[SX_LINK_KEY_LEN]) SIMPLEX_CHECK;
simplex_rc sx_link_user_sign(struct sx_wr *w, const struct sx_link_user *u,
                             const struct sx_keypair *signer) SIMPLEX_CHECK;

#define SX_LINK_FIXED_PADDED 2008
#define SX_LINK_USER_PADDED 13784
#define SX_LINK_STORED(padded) (SX_NONCE_LEN + SX_BOX_TAG + (padded))
#define SX_LINK_FIXED_STORED SX_LINK_STORED(SX_LINK_FIXED_PADDED) /* 2048 */
#define SX_LINK_USER_STORED SX_LINK_STORED(SX_LINK_USER_PADDED)   /* 13824 */

/* Encrypts one signed part; out: SX_LINK_STORED(padded) bytes. E_TOO_LARGE. */
simplex_rc sx_link_data_seal(const uint8_t key[32], const uint8_t nonce[SX_NONCE_LEN],
                             simplex_bytes signed_part, size_t padded, uint8_t *out) SIMPLEX_CHECK;
/* Opens one stored part in place (it is overwritten); *signed_part borrows from it. E_CRYPTO. */
simplex_rc sx_link_data_open(const uint8_t key[32], uint8_t *stored, size_t len, size_t padded,
                             simplex_bytes *signed_part) SIMPLEX_CHECK;

/* What is wrong with link data, in the order in which it is found. */
enum sx_link_fault {
    SX_LINK_GOOD,
    SX_LINK_FAULT_BOX,             /* does not open with the key of the link */
    SX_LINK_FAULT_SYNTAX,          /* malformed, or of another kind than the link */
    SX_LINK_FAULT_HASH,            /* the fixed data is not what the link was made of */
    SX_LINK_FAULT_SIGNATURE,       /* of the fixed data */
    SX_LINK_FAULT_OWNER_ROOT,      /* an owner has the root key */
    SX_LINK_FAULT_OWNER_DUPLICATE, /* of the id or the key of another one */
    SX_LINK_FAULT_OWNER_SIGNATURE, /* by neither the root key nor an earlier owner */
    SX_LINK_FAULT_USER_SIGNATURE,  /* by neither the root key nor an owner */
    SX_LINK_FAULT_ADDRESS,         /* the queue is not the one the server answered for */
};
const char *sx_link_fault_text(enum sx_link_fault f); /* one English phrase */

/* Verified data. Owns the request, borrows all else from the signed parts. */
struct sx_link_data {
    struct sx_link_fixed fixed;
    struct sx_link_user user;
};
void sx_link_data_free(struct sx_link_data *d);

/*
 * Parses and verifies both signed parts. *fault says which check failed (GOOD when rc is not about
 * the data): E_DECODE for SYNTAX, E_SIGNATURE for the later ones; E_NOMEM. On failure *d is empty.
 */
simplex_rc sx_link_data_verify(uint8_t kind, const uint8_t link_key[SX_LINK_KEY_LEN],
                               simplex_bytes fixed_signed, simplex_bytes user_signed,
                               struct sx_link_data *d, enum sx_link_fault *fault) SIMPLEX_CHECK;

/* The user part alone, for whoever made the link and knows its root key. Results as above. */
simplex_rc sx_link_user_verify(uint8_t kind, const struct sx_pub *root, simplex_bytes user_signed,
                               enum sx_link_fault *fault) SIMPLEX_CHECK;

/*
 * The whole way from what the server stores (LNK: sender id and both parts, which are overwritten)
 * to verified data: keys, boxes, sx_link_data_verify and the address of the queue. The first queue
 * of the request gets the server of the link when their records differ.
 */
simplex_rc sx_short_link_open(const struct sx_short_link *s, simplex_bytes snd_id, uint8_t *fixed,
                              size_t fixed_len, uint8_t *user, size_t user_len,
                              struct sx_link_data *d, enum sx_link_fault *fault) SIMPLEX_CHECK;

#endif
