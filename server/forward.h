/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layers of private routing (protocol/smp.md section 8), without I/O. A client boxes its
 * transmission for the relay (inner layer, a fresh key each), the proxy boxes that for the relay
 * again (outer layer, the secret of their session). Answers come back with the same keys and the
 * nonces reversed.
 */
#ifndef SX_FORWARD_H
#define SX_FORWARD_H

#include "client/session.h"

#define SX_FORWARD_PADDED 16226 /* content of the inner box, both ways */

/* ---- the relay ---- */

struct sx_forwarded {
    struct sx_box_key key; /* of the inner layer */
    simplex_bytes corr_id; /* of the client: its nonce */
    uint16_t version;      /* the client's: how the inner transmission and its answer are encoded */
    simplex_bytes content; /* of the inner box: a batch */
};

/*
 * Opens both layers of an RFWD with this correlation id. buf: box.len bytes; what f has points into
 * it. The error is what the proxy is answered: PROXY BROKER TRANSPORT NO_AUTH when the proxy sent
 * no key in its hello, CRYPTO, or CMD SYNTAX. Wipe f->key.
 */
struct sx_smp_err sx_forward_open(const struct sx_session *s, simplex_bytes corr_id,
                                  simplex_bytes box, uint8_t *buf, struct sx_forwarded *f);

/* The body of RRES: content is the batch with the inner answer. E_TOO_LARGE, E_ENCODE. */
simplex_rc sx_forward_answer(const struct sx_session *s, simplex_bytes corr_id,
                             const struct sx_forwarded *f, simplex_bytes content,
                             struct sx_wr *out) SIMPLEX_CHECK;

/* ---- the proxy ---- */

/* The body of RFWD, nonce being its correlation id. E_ENCODE: it does not fit into out. */
simplex_rc sx_forward_wrap(const struct sx_session *s, const uint8_t nonce[SX_NONCE_LEN],
                           const struct sx_fwd_transmission *t, struct sx_wr *out) SIMPLEX_CHECK;
/* What PRES carries, out of RRES. buf: box.len bytes; *answer points into it. E_CRYPTO, E_DECODE.
 */
simplex_rc sx_forward_unwrap(const struct sx_session *s, const uint8_t nonce[SX_NONCE_LEN],
                             simplex_bytes box, uint8_t *buf, simplex_bytes *answer) SIMPLEX_CHECK;

#endif
