/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS with the parameters of SMP (protocol/smp.md section 3), without sockets: ciphertext goes in
 * and comes out as bytes. The backend (OpenSSL) is hidden behind this header.
 */
#ifndef SX_TLS_H
#define SX_TLS_H

#include "crypto/x509.h"

struct sx_tls_ctx; /* shared by all connections of one role; thread-safe after creation */
struct sx_tls;     /* one connection, one thread at a time */

simplex_rc sx_tls_ctx_client(struct sx_tls_ctx **out) SIMPLEX_CHECK;
/* PEM chain (leaf first) and PEM key of the leaf. */
simplex_rc sx_tls_ctx_server(simplex_bytes chain_pem, simplex_bytes key_pem,
                             struct sx_tls_ctx **out) SIMPLEX_CHECK;
void sx_tls_ctx_free(struct sx_tls_ctx *ctx);

/* key_hash: client: fingerprint the chain must have (32 bytes, copied). Server: NULL. */
simplex_rc sx_tls_new(struct sx_tls_ctx *ctx, const uint8_t *key_hash, struct sx_tls **out)
    SIMPLEX_CHECK;
void sx_tls_free(struct sx_tls *t);

/* Ciphertext from the socket. Takes all of it. Drives the handshake. E_TLS, E_FINGERPRINT, E_CERT.
 * E_DISCONNECTED after the peer's close_notify. Output may be pending even after an error. */
simplex_rc sx_tls_feed(struct sx_tls *t, simplex_bytes in) SIMPLEX_CHECK;
/* Starts the client's handshake (makes the first output). */
simplex_rc sx_tls_start(struct sx_tls *t) SIMPLEX_CHECK;
bool sx_tls_ready(const struct sx_tls *t); /* handshake complete */
/* Plaintext: up to n bytes; *got 0 when there is none now. */
simplex_rc sx_tls_read(struct sx_tls *t, uint8_t *to, size_t n, size_t *got) SIMPLEX_CHECK;
/* Encrypts all of it into the pending output. */
simplex_rc sx_tls_write(struct sx_tls *t, simplex_bytes plain) SIMPLEX_CHECK;
/* Pending ciphertext for the socket; valid until the next call on t. Consume what was sent. */
simplex_bytes sx_tls_pending(struct sx_tls *t);
void sx_tls_consume(struct sx_tls *t, size_t n);
/* Hands over the pending output as one allocated buffer (sx_free), so that a writer can own it. */
uint8_t *sx_tls_take(struct sx_tls *t, size_t *len);
void sx_tls_shutdown(struct sx_tls *t); /* queues close_notify */

/* tls-unique: verify_data of the client's Finished. 12..64 bytes. */
size_t sx_tls_unique(const struct sx_tls *t, uint8_t out[64]);
/* Certificates the peer sent (client side: the server's), leaf first; borrowed from t. */
const struct sx_chain *sx_tls_peer_chain(const struct sx_tls *t);
bool sx_tls_alpn(const struct sx_tls *t); /* an application protocol was negotiated */

#endif
