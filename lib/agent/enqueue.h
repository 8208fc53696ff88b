/* SPDX-License-Identifier: Apache-2.0 */
/* Encrypts and stores a message to send. */
#ifndef SX_AGENT_ENQUEUE_H
#define SX_AGENT_ENQUEUE_H

#include "agent/agent.h"

struct sx_outgoing {
    uint8_t type;       /* enum sx_msg_tag; 0: connection information */
    bool notify;
    enum sx_pq_flag pq;
    simplex_bytes e2e;  /* encoded parameters in the joiner's confirmation */
    int64_t body_id;    /* the body of the message is stored already, for others as well; 0: not */
};
/* msg: its M fields (snd_msg_id, prev_hash) are filled in here. Updates c (and stores it). */
simplex_rc sx_enqueue(struct simplex_agent *a, struct sx_conn *c, struct sx_agent_msg *msg,
                      const struct sx_outgoing *o, int64_t *msg_id) SIMPLEX_CHECK;
bool sx_can_send(const struct sx_conn *c, const struct sx_snd_queue *q);
/* So many messages wait for the peer that it gets no answers until it has read some. */
simplex_rc sx_answers_wait(struct simplex_agent *a, int64_t conn, bool *too_many) SIMPLEX_CHECK;
/* Deliveries of message msg_id to every queue that leads to the peer. */
simplex_rc sx_add_deliveries(struct simplex_agent *a, int64_t conn, int64_t msg_id) SIMPLEX_CHECK;

#endif
