/* SPDX-License-Identifier: Apache-2.0 */
/* Between handshake.c, block.c and session.c. */
#ifndef SX_SESSION_INTERNAL_H
#define SX_SESSION_INTERNAL_H

#include "client/session.h"

/* handshake.c: the peer's hello; on success s is READY. */
simplex_rc sx_handshake_client(struct sx_session *s, simplex_bytes hello, uint8_t reply[SX_BLOCK],
                               bool *has_reply) SIMPLEX_CHECK;
simplex_rc sx_handshake_server(struct sx_session *s, simplex_bytes hello, uint8_t reply[SX_BLOCK],
                               bool *has_reply) SIMPLEX_CHECK;
/* The server's answer to a service. */
simplex_rc sx_handshake_service(struct sx_session *s, simplex_bytes content) SIMPLEX_CHECK;

/* block.c: key chains. Sets both chains of s from the DH secret. */
simplex_rc sx_block_start(struct sx_session *s, const uint8_t secret[32]) SIMPLEX_CHECK;
/* Content must fit (sx_session_room). */
simplex_rc sx_block_seal(struct sx_session *s, simplex_bytes content,
                         uint8_t block[SX_BLOCK]) SIMPLEX_CHECK;
/* Decrypts in place; E_BLOCK. */
simplex_rc sx_block_open(struct sx_session *s, uint8_t block[SX_BLOCK],
                         simplex_bytes *content) SIMPLEX_CHECK;

#endif
