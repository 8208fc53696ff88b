/* SPDX-License-Identifier: Apache-2.0 */
/* Parts that several messages of SMP share; only for the smp_*.c files. */
#ifndef SX_WIRE_SMP_PARTS_H
#define SX_WIRE_SMP_PARTS_H

#include "wire/smp.h"

/* Command authorisation keys: Ed25519, Ed448 or X25519. */
void sx_rd_auth_key(struct sx_rd *r, struct sx_pub *out);

/* ?S(password), checked. */
void sx_wr_password(struct sx_wr *w, bool some, simplex_bytes password);
void sx_rd_password(struct sx_rd *r, bool *some, simplex_bytes *password);

/* Message flags: `T` or `F`, then what later versions may add, up to and with a space. */
void sx_wr_flags(struct sx_wr *w, bool notify);
bool sx_rd_flags(struct sx_rd *r);

/* n*L(cert), 1..SX_HELLO_CERTS_MAX of them; certs may be NULL. Returns the bytes read. */
simplex_bytes sx_rd_chain(struct sx_rd *r, simplex_bytes *certs, size_t *n);
void sx_wr_chain(struct sx_wr *w, const simplex_bytes *certs, size_t n);

/* Transport errors: the transport and handshake fields of e. */
void sx_wr_transport_error(struct sx_wr *w, const struct sx_smp_err *e);
void sx_rd_transport_error(struct sx_rd *r, struct sx_smp_err *e);

/* The notice of BLOCKED: a JSON object of which only an integer "ttl" is of interest. */
void sx_wr_notice(struct sx_wr *w, bool has_ttl, int64_t ttl);
void sx_rd_notice(struct sx_rd *r, bool *has_ttl, int64_t *ttl);

#endif
