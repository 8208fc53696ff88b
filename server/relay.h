/* SPDX-License-Identifier: Apache-2.0 */
/* The answers to PRXY and PFWD, made of what a relay said (protocol/smp.md section 8). No I/O. */
#ifndef SX_RELAY_H
#define SX_RELAY_H

#include "errand.h"

/* PKEY out of the hello of the relay, whose session is s; or ERR when it cannot serve as a relay.
 */
void sx_relay_pkey(struct sx_errand *e, const struct sx_session *s, simplex_bytes hello);
/* The body of RFWD for a PFWD; makes e->nonce, its correlation id. Nonce NULL: random. */
simplex_rc sx_relay_wrap(struct sx_errand *e, const struct sx_session *s, const uint8_t *nonce,
                         struct sx_wr *out) SIMPLEX_CHECK;
/* What the relay answered to it: rc and rsp as sx_response_fn has them. */
void sx_relay_answer(struct sx_errand *e, const struct sx_session *s, simplex_rc rc,
                     const struct sx_rsp *rsp);
/* The connection failed, or the request could not be made. */
void sx_relay_fail(struct sx_errand *e, simplex_rc rc);

#endif
