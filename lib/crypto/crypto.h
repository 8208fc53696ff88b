/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The facade over the cryptographic libraries. Nothing above this layer includes one of them.
 * libsodium: X25519, Ed25519, boxes, random, wiping. OpenSSL: X448, Ed448, AES-GCM, HKDF, SHA.
 * libntruprime: sntrup761. No secret is ever branched on; secrets are wiped by their owners.
 */
#ifndef SX_CRYPTO_H
#define SX_CRYPTO_H

#include "base/base.h"

/* Once per process, before anything else here; idempotent and thread-safe. */
simplex_rc sx_crypto_init(void) SIMPLEX_CHECK;

void sx_random(void *to, size_t n); /* never fails: aborts the process without entropy */
uint32_t sx_random_below(uint32_t limit);
bool sx_equal_ct(const void *a, const void *b, size_t n); /* constant time */

/* ---- keys ---- */

enum sx_alg { SX_NO_KEY = 0, SX_ED25519, SX_ED448, SX_X25519, SX_X448 };
#define SX_KEY_MAX 57  /* raw bytes of the longest key */
#define SX_SPKI_MAX 69 /* DER of the longest public key */
#define SX_SIG_MAX 114
#define SX_AUTH_MAX 114 /* longest of signature and authenticator */
#define SX_DH_MAX 56

struct sx_pub {
    uint8_t alg; /* enum sx_alg; SX_NO_KEY: no key */
    uint8_t b[SX_KEY_MAX];
};

struct sx_priv { /* seed (EdDSA) or scalar (X25519, X448) */
    uint8_t alg;
    uint8_t b[SX_KEY_MAX];
};

struct sx_keypair {
    struct sx_pub pub;
    struct sx_priv priv;
};

size_t sx_key_len(enum sx_alg alg); /* 32, 57, 32, 56; 0 for SX_NO_KEY */
size_t sx_sig_len(enum sx_alg alg); /* 64, 114; 0 otherwise */
bool sx_pub_eq(const struct sx_pub *a, const struct sx_pub *b);
void sx_keypair_wipe(struct sx_keypair *k);

simplex_rc sx_keypair_new(enum sx_alg alg, struct sx_keypair *out) SIMPLEX_CHECK;
simplex_rc sx_keypair_from_priv(const struct sx_priv *priv, struct sx_keypair *out) SIMPLEX_CHECK;
/* Raw bytes of exactly sx_key_len(alg). */
simplex_rc sx_pub_from_raw(enum sx_alg alg, simplex_bytes raw, struct sx_pub *out) SIMPLEX_CHECK;

/* DER: only the exact prefixes of protocol/smp.md section 1. */
void sx_spki_encode(const struct sx_pub *k, struct sx_wr *w);
simplex_rc sx_spki_decode(simplex_bytes der, struct sx_pub *out) SIMPLEX_CHECK;
void sx_pkcs8_encode(const struct sx_priv *k, struct sx_wr *w);
simplex_rc sx_pkcs8_decode(simplex_bytes der, struct sx_priv *out) SIMPLEX_CHECK;
/* `K` of the digests: SPKI behind a length byte. */
void sx_wr_key(struct sx_wr *w, const struct sx_pub *k);
void sx_rd_key(struct sx_rd *r, struct sx_pub *out); /* any of the four kinds, else bad */
void sx_rd_key_of(struct sx_rd *r, enum sx_alg alg, struct sx_pub *out); /* this kind, else bad */

simplex_rc sx_sign(const struct sx_keypair *k, simplex_bytes msg, uint8_t *sig,
                   size_t *sig_len) SIMPLEX_CHECK; /* sig: SX_SIG_MAX bytes */
bool sx_verify(const struct sx_pub *k, simplex_bytes msg, simplex_bytes sig);

/* Raw X25519 (32 bytes) or X448 (56 bytes); E_KEY when the kinds differ or the result is zero. */
simplex_rc sx_dh(const struct sx_priv *priv, const struct sx_pub *pub,
                 uint8_t out[SX_DH_MAX]) SIMPLEX_CHECK;

/* ---- hashes ---- */

/*
 * They cannot fail: SHA-256 and SHA-512 need no memory; SHA-3 and MD5 survive a failed allocation
 * of OpenSSL and end the process when memory stays away, since a wrong hash is worse.
 */
void sx_sha256(simplex_bytes m, uint8_t out[32]);
void sx_sha512(simplex_bytes m, uint8_t out[64]);
void sx_sha3_256(simplex_bytes m, uint8_t out[32]);
void sx_sha3_384(simplex_bytes m, uint8_t out[48]);
/* SipHash-2-4: a keyed checksum for files, and for hash tables. */
uint64_t sx_shorthash(const uint8_t key[16], simplex_bytes m);
void sx_md5(simplex_bytes m, uint8_t out[16]); /* only for the queue-list hash of services */
/* E_ARG: more than 255 * 64 bytes. okm may be ikm.ptr or salt.ptr. */
simplex_rc sx_hkdf_sha512(simplex_bytes salt, simplex_bytes ikm, const char *info, uint8_t *okm,
                          size_t okm_len) SIMPLEX_CHECK;

/* ---- padding (smp.md section 2): u16 length, data, '#' up to n ---- */

/* E_TOO_LARGE. m may lie inside out. */
simplex_rc sx_pad(simplex_bytes m, uint8_t *out, size_t n) SIMPLEX_CHECK;
simplex_rc sx_unpad(simplex_bytes padded, simplex_bytes *m) SIMPLEX_CHECK; /* borrows; E_PADDING */

/* ---- boxes (smp.md section 4): XSalsa20-Poly1305, output = tag(16) || ciphertext ---- */

#define SX_NONCE_LEN 24
#define SX_BOX_TAG 16

struct sx_box_key { /* HSalsa20(secret, 0): computed once per secret */
    uint8_t k[32];
};

/* `secret`: raw X25519 output or a symmetric key; the protocol treats both alike. */
void sx_box_key_init(struct sx_box_key *k, const uint8_t secret[32]);
/* out: m.len + 16 bytes; may not overlap m, except out == m.ptr - 16 is allowed. */
void sx_box_seal(const struct sx_box_key *k, const uint8_t nonce[24], simplex_bytes m,
                 uint8_t *out);
/* out: box.len - 16 bytes; out == box.ptr + 16 is allowed (in place). E_CRYPTO. */
simplex_rc sx_box_open(const struct sx_box_key *k, const uint8_t nonce[24], simplex_bytes box,
                       uint8_t *out) SIMPLEX_CHECK;
/* pad to n, then seal; out: n + 16 bytes. E_TOO_LARGE when m does not fit. */
simplex_rc sx_box_seal_padded(const struct sx_box_key *k, const uint8_t nonce[24], simplex_bytes m,
                              size_t n, uint8_t *out) SIMPLEX_CHECK;
/* open in place inside `box` (which is overwritten), then unpad; *m borrows from box. */
simplex_rc sx_box_open_padded(const struct sx_box_key *k, const uint8_t nonce[24], uint8_t *box,
                              size_t box_len, simplex_bytes *m) SIMPLEX_CHECK;
void sx_nonce_from(simplex_bytes b, uint8_t nonce[24]); /* first 24 bytes, or right-padded with 0 */
void sx_nonce_reverse(const uint8_t in[24], uint8_t out[24]); /* in and out may be the same */

/* cbAuthenticate: box over SHA-512(message), 80 bytes. */
#define SX_AUTHENTICATOR_LEN 80
void sx_authenticate(const struct sx_box_key *k, const uint8_t nonce[24], simplex_bytes msg,
                     uint8_t out[SX_AUTHENTICATOR_LEN]);
bool sx_authenticated(const struct sx_box_key *k, const uint8_t nonce[24], simplex_bytes msg,
                      simplex_bytes authenticator);

/* ---- AES-256-GCM (agent.md section 0) ---- */

#define SX_GCM_TAG 16
/*
 * iv_len 12 or 16 (the ratchet uses 16), else E_ARG. in and out may be the same; two ad parts are
 * joined. On failure out is wiped.
 */
simplex_rc sx_gcm_encrypt(const uint8_t key[32], const uint8_t *iv, size_t iv_len,
                          simplex_bytes ad1, simplex_bytes ad2, simplex_bytes plain, uint8_t *out,
                          uint8_t tag[SX_GCM_TAG]) SIMPLEX_CHECK;
simplex_rc sx_gcm_decrypt(const uint8_t key[32], const uint8_t *iv, size_t iv_len,
                          simplex_bytes ad1, simplex_bytes ad2, simplex_bytes cipher,
                          const uint8_t tag[SX_GCM_TAG], uint8_t *out) SIMPLEX_CHECK; /* E_CRYPTO */

/* ---- sntrup761 (feature `pq`): E_UNSUPPORTED without it ---- */

#define SX_KEM_PK 1158
#define SX_KEM_SK 1763
#define SX_KEM_CT 1039
#define SX_KEM_SS 32
bool sx_kem_available(void);
simplex_rc sx_kem_keypair(uint8_t pk[SX_KEM_PK], uint8_t sk[SX_KEM_SK]) SIMPLEX_CHECK;
simplex_rc sx_kem_encaps(const uint8_t pk[SX_KEM_PK], uint8_t ct[SX_KEM_CT],
                         uint8_t ss[SX_KEM_SS]) SIMPLEX_CHECK;
simplex_rc sx_kem_decaps(const uint8_t ct[SX_KEM_CT], const uint8_t sk[SX_KEM_SK],
                         uint8_t ss[SX_KEM_SS]) SIMPLEX_CHECK;

/* ---- base64url (smp.md section 1): written padded, read with or without padding ---- */

void sx_b64url_encode(struct sx_wr *w, simplex_bytes b);          /* padded with '=' */
void sx_b64url_encode_unpadded(struct sx_wr *w, simplex_bytes b); /* short links */
void sx_b64_encode(struct sx_wr *w, simplex_bytes b);             /* standard alphabet, padded */
/*
 * *len: room in out, then the length; after E_BUFFER the length needed. Strict (E_DECODE): no other
 * characters, no trailing bits that are not zero.
 */
simplex_rc sx_b64url_decode(simplex_bytes text, uint8_t *out, size_t *len) SIMPLEX_CHECK;

#endif
