/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The double ratchet of the SimpleX protocol, for applications that bring their own transport:
 * X3DH over Curve448, header encryption, and an optional post-quantum KEM (sntrup761) in every
 * change of direction. Byte-compatible with the messages that SimpleX agents exchange
 * (protocol/agent.md section 3, to which the section numbers below refer).
 *
 * A conversation:
 *
 *   initiator                                     joiner
 *   simplex_ratchet_keys_new
 *   simplex_ratchet_keys_params  -- params -->    simplex_ratchet_join
 *   simplex_ratchet_accept       <-- params --    (its parameters, and its first message)
 *   simplex_ratchet_decrypt      <-- message --   simplex_ratchet_encrypt
 *   simplex_ratchet_encrypt      -- message -->   simplex_ratchet_decrypt
 *
 * The parameters are not signed: whoever can replace them can read the conversation. Hand the
 * initiator's over through a trusted channel, or compare simplex_ratchet_ad_hash of both sides.
 *
 * The state changes with every message. Store simplex_ratchet_export before a message that was
 * encrypted is sent, and before one that was decrypted is acknowledged: a state that goes back in
 * time would use keys twice.
 *
 * Threads: a handle may be used by one thread at a time; different handles are independent.
 * Lengths are in bytes. Buffers stay the caller's. Functions that fill a buffer take its size in
 * *len and store the length used there; when it is too small they return SIMPLEX_E_BUFFER, store
 * the length needed, and change nothing. Every function returns SIMPLEX_E_ARG when a pointer that
 * must not be NULL is NULL.
 */
#ifndef SIMPLEX_RATCHET_H
#define SIMPLEX_RATCHET_H

#include "simplex/types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct simplex_ratchet simplex_ratchet;           /* one conversation, one side */
typedef struct simplex_ratchet_keys simplex_ratchet_keys; /* an initiator's private keys */

/* Upper bounds, for fixed buffers. */
#define SIMPLEX_RATCHET_PARAMS_MAX 2400   /* public parameters of either side */
#define SIMPLEX_RATCHET_OVERHEAD_MAX 2364 /* a message is at most this much longer than `padded` \
                                           */
#define SIMPLEX_RATCHET_PADDED_MAX 65535  /* largest `padded` */
#define SIMPLEX_RATCHET_SKIP_MAX 512      /* messages that may be missing in front of one */

/* Whether this build can do the post-quantum KEM. Without it `pq` is ignored everywhere. */
SIMPLEX_API bool simplex_ratchet_pq_available(void);

/* ---- the initiator's keys (sections 3.1 and 3.2) ---- */

/*
 * New keys. pq: with a KEM key, so that the conversation can be post-quantum from its first
 * message (1.2 KB more in the parameters); ignored when the build has no KEM.
 * *out: owned by the caller, freed with simplex_ratchet_keys_free; NULL on failure.
 * Errors: E_NOMEM, E_SYSTEM.
 */
SIMPLEX_API simplex_rc simplex_ratchet_keys_new(bool pq, simplex_ratchet_keys **out) SIMPLEX_CHECK;

/*
 * The public parameters to give to the joiner: version range 2-3, two X448 keys, and the KEM key
 * when there is one (the binary form of links, section 5.1).
 * buf, *len: where to, see above; SIMPLEX_RATCHET_PARAMS_MAX is enough. Errors: E_BUFFER.
 */
SIMPLEX_API simplex_rc simplex_ratchet_keys_params(const simplex_ratchet_keys *keys, uint8_t *buf,
                                                   size_t *len) SIMPLEX_CHECK;

/*
 * The private keys as bytes, to be stored (encrypted!) until the joiner answers, and back. The
 * format is this library's own and versioned. Errors: E_BUFFER; import: E_DECODE, E_NOMEM.
 */
SIMPLEX_API simplex_rc simplex_ratchet_keys_export(const simplex_ratchet_keys *keys, uint8_t *buf,
                                                   size_t *len) SIMPLEX_CHECK;
SIMPLEX_API simplex_rc simplex_ratchet_keys_import(simplex_bytes in,
                                                   simplex_ratchet_keys **out) SIMPLEX_CHECK;

/* Wipes and frees; NULL is fine. Keys serve one joiner: free them after simplex_ratchet_accept. */
SIMPLEX_API void simplex_ratchet_keys_free(simplex_ratchet_keys *keys);

/* ---- starting (section 3.3) ---- */

/*
 * The joiner's side: takes the initiator's parameters, makes own keys and the first sending chain.
 * initiator: the bytes of simplex_ratchet_keys_params.
 * pq: use the KEM: answer the initiator's KEM key, or propose an own one when there is none.
 * params, *params_len: receives the parameters for the initiator, to be sent with the first
 *   message; at least SIMPLEX_RATCHET_PARAMS_MAX of room, else E_BUFFER.
 * *out: owned by the caller, freed with simplex_ratchet_free; NULL on failure.
 * Errors: E_DECODE (not parameters), E_VERSION (no ratchet version in common), E_KEY (a key that
 * must not be used), E_NOMEM, E_SYSTEM.
 */
SIMPLEX_API simplex_rc simplex_ratchet_join(simplex_bytes initiator, bool pq, uint8_t *params,
                                            size_t *params_len,
                                            simplex_ratchet **out) SIMPLEX_CHECK;

/*
 * The initiator's side, when the joiner's parameters have come. It cannot encrypt before it has
 * decrypted the joiner's first message.
 * keys: those whose parameters the joiner used. pq: allow the KEM.
 * *out: as above. Errors: as above, and E_RATCHET_KEM (the joiner answered a KEM key that was not
 * proposed).
 */
SIMPLEX_API simplex_rc simplex_ratchet_accept(const simplex_ratchet_keys *keys,
                                              simplex_bytes joiner, bool pq,
                                              simplex_ratchet **out) SIMPLEX_CHECK;

/* Wipes and frees; NULL is fine. */
SIMPLEX_API void simplex_ratchet_free(simplex_ratchet *r);

/* ---- messages (sections 3.4 to 3.6) ---- */

/* The wish for the KEM that goes with a message to send. It is kept until the next one that is
 * given, but a proposal which the peer does not answer clears it: repeat it with every message. */
typedef enum simplex_pq {
    SIMPLEX_PQ_KEEP = 0, /* as it was */
    SIMPLEX_PQ_ON = 1,
    SIMPLEX_PQ_OFF = 2
} simplex_pq;

/* Length of the next message encrypted to `padded` bytes with this flag; 0 when r is NULL. */
SIMPLEX_API size_t simplex_ratchet_message_len(const simplex_ratchet *r, simplex_pq pq,
                                               size_t padded);

/*
 * Encrypts one message.
 * padded: the length plain is padded to before encryption (hides its length; the same for all
 *   messages of an application, 16000 say), at least plain.len + 2, at most
 *   SIMPLEX_RATCHET_PADDED_MAX.
 * out, *out_len: receives the message. May not overlap plain.
 * Errors: E_RATCHET_NO_CHAIN (an initiator that has received nothing yet), E_TOO_LARGE (plain does
 * not fit in padded), E_BUFFER, E_NOMEM, E_SYSTEM. The state is unchanged on every error.
 */
SIMPLEX_API simplex_rc simplex_ratchet_encrypt(simplex_ratchet *r, simplex_pq pq,
                                               simplex_bytes plain, size_t padded, uint8_t *out,
                                               size_t *out_len) SIMPLEX_CHECK;

/*
 * Decrypts one message; messages may come in any order, up to 512 may be missing.
 * out, *out_len: receives the plaintext; needs msg.len bytes of room, else E_BUFFER. May not
 *   overlap msg. On failure the buffer is wiped and *out_len is 0.
 * *changed (may be NULL): the state is another and must be stored, which is so on success and also
 *   for messages that used up their key without being readable.
 * *count (may be NULL): the number that goes with E_RATCHET_EARLIER (how many messages before the
 *   expected one) and E_RATCHET_SKIPPED (how many would have had to be skipped), else 0.
 * Errors: E_DECODE (malformed), E_RATCHET_HEADER (not for this ratchet, or a used skipped
 * message), E_RATCHET_DUPLICATE, E_RATCHET_EARLIER, E_RATCHET_SKIPPED, E_RATCHET_AES (the body was
 * changed), E_PADDING, E_RATCHET_KEM, E_KEY, E_NOMEM, E_SYSTEM.
 */
SIMPLEX_API simplex_rc simplex_ratchet_decrypt(simplex_ratchet *r, simplex_bytes msg, uint8_t *out,
                                               size_t *out_len, bool *changed,
                                               uint32_t *count) SIMPLEX_CHECK;

/* Whether a KEM secret is part of the present sending and receiving chain (may be NULL each). */
SIMPLEX_API simplex_rc simplex_ratchet_pq_state(const simplex_ratchet *r, bool *sending,
                                                bool *receiving) SIMPLEX_CHECK;

/* SHA-256 of the associated data, equal on both sides: what users compare as a security code. */
SIMPLEX_API simplex_rc simplex_ratchet_ad_hash(const simplex_ratchet *r,
                                               uint8_t hash[32]) SIMPLEX_CHECK;

/* How many keys of missing messages are kept; 0 when r is NULL. */
SIMPLEX_API size_t simplex_ratchet_missing(const simplex_ratchet *r);

/* Forgets the keys of missing messages: they can no longer be read. */
SIMPLEX_API simplex_rc simplex_ratchet_forget_missing(simplex_ratchet *r) SIMPLEX_CHECK;

/* ---- the state ---- */

/*
 * The whole state as bytes, to be stored encrypted, and back. At most 6 KB, and 84 bytes for each
 * missing message. The format is this library's own and versioned; it is the same on all machines.
 * Errors: E_BUFFER; import: E_DECODE, E_NOMEM (*out is NULL then).
 */
SIMPLEX_API simplex_rc simplex_ratchet_export(const simplex_ratchet *r, uint8_t *buf,
                                              size_t *len) SIMPLEX_CHECK;
SIMPLEX_API simplex_rc simplex_ratchet_import(simplex_bytes in,
                                              simplex_ratchet **out) SIMPLEX_CHECK;

#ifdef __cplusplus
}
#endif
#endif
