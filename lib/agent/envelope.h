/* SPDX-License-Identifier: Apache-2.0 */
/* The per-queue layer of what is sent and received (agent.md section 2). */
#ifndef SX_AGENT_ENVELOPE_H
#define SX_AGENT_ENVELOPE_H

#include "agent/agent.h"

/* SEND body of m for q, encrypting the ratchet message. */
simplex_rc sx_seal_send(const struct simplex_agent *a, const struct sx_conn *c,
                        const struct sx_snd_queue *q, const struct sx_snd_msg *m,
                        struct sx_wr *body) SIMPLEX_CHECK;
/* The ratchet message of m: the same bytes each time. */
simplex_rc sx_ratchet_message_of(const struct sx_snd_msg *m, struct sx_wr *w) SIMPLEX_CHECK;
/* For noise: SEND body of a ratchet message that was sent before, and one of random bytes. */
simplex_rc sx_seal_again(const struct sx_snd_queue *q, simplex_bytes ratchet_message,
                         struct sx_wr *body) SIMPLEX_CHECK;
simplex_rc sx_seal_nothing(struct sx_wr *body) SIMPLEX_CHECK;
/* SEND body of an envelope for a queue that keeps no secret, under a key of its own. */
simplex_rc sx_seal_once(const struct sx_queue_addr *to, const struct sx_envelope *env,
                        struct sx_wr *body) SIMPLEX_CHECK;
struct sx_opened { /* slices point into the buffer that was opened */
    struct sx_client_msg outer;
    struct sx_private_msg inner;
    struct sx_envelope env;
    bool first;              /* opened with the key of its header: no secret was stored yet */
    uint8_t secret[32];
};
/* body is decrypted in place. */
simplex_rc sx_open_body(const struct sx_rcv_queue *q, uint8_t *body, size_t len,
                        struct sx_opened *o) SIMPLEX_CHECK;

#endif
