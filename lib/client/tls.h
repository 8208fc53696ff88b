/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS with the parameters of SMP (protocol/smp.md section 3), without sockets: ciphertext goes in
 * and comes out as bytes. The backend (OpenSSL) is hidden behind this header.
 */
#ifndef SX_TLS_H
#define SX_TLS_H

#include "crypto/x509.h"

#define SX_TLS_UNIQUE_MAX 64
#define SX_TLS_OUT_MAX ((size_t)16 << 20) /* pending output of one connection */
#define SX_TLS_KEPT_MAX ((size_t)4 << 20) /* input fed but not read */

struct sx_tls_ctx; /* shared by all connections of one role; thread-safe after creation */
struct sx_tls;     /* one connection, one thread at a time */

simplex_rc sx_tls_ctx_client(struct sx_tls_ctx **out) SIMPLEX_CHECK;
/* PEM chain (leaf first) and PEM key of the leaf. */
simplex_rc sx_tls_ctx_server(simplex_bytes chain_pem, simplex_bytes key_pem,
                             struct sx_tls_ctx **out) SIMPLEX_CHECK;
/* Client: presents this chain to servers that ask (a service, section 4). Before the first
 * sx_tls_new; on failure the context is of no use any more. */
simplex_rc sx_tls_ctx_present(struct sx_tls_ctx *ctx, simplex_bytes chain_pem,
                              simplex_bytes key_pem) SIMPLEX_CHECK;
/* After the connections made from it. */
void sx_tls_ctx_free(struct sx_tls_ctx *ctx);
/*
 * For tests and for talking to odd peers: the versions offered (0x0303, 0x0304) and the ALPN names
 * in wire form (length, name ...; empty: no ALPN). Before the first sx_tls_new.
 */
simplex_rc sx_tls_ctx_versions(struct sx_tls_ctx *ctx, int min, int max) SIMPLEX_CHECK;
simplex_rc sx_tls_ctx_alpn(struct sx_tls_ctx *ctx, simplex_bytes names) SIMPLEX_CHECK;

/*
 * The web site on a port of SMP (section 3): a client that names a host (SNI) gets this certificate
 * and the algorithms of browsers, and speaks HTTP/1.1; SMP clients name none. Certificates behind
 * the leaf are sent as they stand in the PEM. The handshake with a browser stops when that is
 * known, before anything of it was computed: see sx_tls_resume. May be called again, from any
 * thread, when the files have changed: connections that are there keep what they have. On failure
 * nothing has changed. *not_after: when the leaf expires, in seconds since 1970; may be NULL.
 * E_CERT: the chain cannot be read; E_KEY: nor the key, it has a password, or it is another
 * certificate's; E_UNSUPPORTED: a key that browsers refuse, or RSA below 2048 bits; E_NOMEM.
 */
simplex_rc sx_tls_ctx_set_web(struct sx_tls_ctx *ctx, simplex_bytes chain_pem,
                              simplex_bytes key_pem, int64_t *not_after) SIMPLEX_CHECK;
/* A port for browsers alone: without SNI too. Of no use before sx_tls_ctx_set_web. */
simplex_rc sx_tls_ctx_https(struct sx_tls_ctx **out) SIMPLEX_CHECK;

/* key_hash: client: fingerprint the chain must have (32 bytes, copied). Server: NULL. */
simplex_rc sx_tls_new(struct sx_tls_ctx *ctx, const uint8_t *key_hash,
                      struct sx_tls **out) SIMPLEX_CHECK;
void sx_tls_free(struct sx_tls *t);

/* Starts the client's handshake (makes the first output). Nothing to do on a server. */
simplex_rc sx_tls_start(struct sx_tls *t) SIMPLEX_CHECK;
/*
 * Ciphertext from the socket. Takes all of it and drives the handshake: E_TLS, E_FINGERPRINT,
 * E_CERT. After the handshake it only keeps the bytes (a copy): what is wrong with them, and the
 * peer's close_notify, is what sx_tls_read reports, behind the data that came before. Output may
 * be pending even after an error (the alert). Errors are final.
 */
simplex_rc sx_tls_feed(struct sx_tls *t, simplex_bytes in) SIMPLEX_CHECK;
bool sx_tls_ready(const struct sx_tls *t); /* handshake complete */
/*
 * The client is a browser (sx_tls_ctx_set_web). On a port of SMP its handshake waits then, and what
 * is fed is kept, until sx_tls_resume goes on with it: by another thread, so that the signatures of
 * web certificates, which take long, take no time of SMP clients. Results as of sx_tls_feed.
 */
bool sx_tls_web(const struct sx_tls *t);
simplex_rc sx_tls_resume(struct sx_tls *t) SIMPLEX_CHECK;
/*
 * Plaintext: up to n bytes, never over the end of one record; *got 0 when there is none now, so
 * call it until then. E_TLS; E_DISCONNECTED after the peer's close_notify.
 */
simplex_rc sx_tls_read(struct sx_tls *t, uint8_t *to, size_t n, size_t *got) SIMPLEX_CHECK;
/*
 * Feed and read in one, without a copy of the ciphertext in between: takes from the front of *in
 * what it needs (*in moves on). Call until *got is 0: then *in is empty.
 */
simplex_rc sx_tls_receive(struct sx_tls *t, simplex_bytes *in, uint8_t *to, size_t n,
                          size_t *got) SIMPLEX_CHECK;
/* Part of a record has come, and memory is held for all of it. */
bool sx_tls_unfinished(const struct sx_tls *t);
/* Encrypts all of it into the pending output; up to 16384 bytes are one record. E_TOO_LARGE when
 * the pending output would exceed SX_TLS_OUT_MAX: then nothing was written. */
simplex_rc sx_tls_write(struct sx_tls *t, simplex_bytes plain) SIMPLEX_CHECK;
/* Pending ciphertext for the socket; valid until the next call on t. Consume what was sent. */
simplex_bytes sx_tls_pending(struct sx_tls *t);
void sx_tls_consume(struct sx_tls *t, size_t n);
/* Hands over the pending output as one allocated buffer (sx_free), so that a writer can own it.
 * NULL and *len 0 when nothing is pending. */
uint8_t *sx_tls_take(struct sx_tls *t, size_t *len);
void sx_tls_shutdown(struct sx_tls *t); /* queues close_notify */

/* tls-unique: verify_data of the client's Finished. 12..64 bytes; 0 before the handshake ends. */
size_t sx_tls_unique(const struct sx_tls *t, uint8_t out[SX_TLS_UNIQUE_MAX]);
/* Certificates the peer sent, leaf first; borrowed from t; empty when it sent none. A server has
 * verified nothing but that the peer holds the key of the first. */
const struct sx_chain *sx_tls_peer_chain(const struct sx_tls *t);
/* Client: the server has asked for the certificates of sx_tls_ctx_present, and got them. */
bool sx_tls_presented(const struct sx_tls *t);
/* Frees the copy of the peer's certificates once the SMP handshake is over. */
void sx_tls_forget_peer_chain(struct sx_tls *t);
bool sx_tls_alpn(const struct sx_tls *t);   /* an application protocol was negotiated */
int sx_tls_version(const struct sx_tls *t); /* 0x0303 or 0x0304 */

#endif
