/* SPDX-License-Identifier: Apache-2.0 */
/* Contact addresses, their owner and a requester (agent.md section 6.2). */
#ifndef SX_AGENT_ADDRESS_H
#define SX_AGENT_ADDRESS_H

#include "agent/receive.h"
#include "wire/link.h"

/* ---- address.c: the owner ---- */

simplex_rc sx_create_address(struct simplex_agent *a, int64_t user, int64_t *conn) SIMPLEX_CHECK;
simplex_rc sx_accept(struct simplex_agent *a, int64_t request, simplex_bytes info, int32_t pq,
                     int64_t *conn) SIMPLEX_CHECK;
simplex_rc sx_reject(struct simplex_agent *a, int64_t request) SIMPLEX_CHECK;
/* As sx_on_message. */
simplex_rc sx_on_request(struct simplex_agent *a, const struct sx_rcv_queue *q,
                         const struct sx_opened *o, struct sx_incoming *in) SIMPLEX_CHECK;

/* ---- request.c: a requester ---- */

/* *conn: as of sx_join_link */
simplex_rc sx_request(struct simplex_agent *a, int64_t user, const struct sx_link *l,
                      simplex_bytes info, int32_t pq, int64_t *conn) SIMPLEX_CHECK;
simplex_rc sx_request_ready(struct simplex_agent *a, struct sx_conn *c,
                            const struct sx_rcv_queue *q,
                            simplex_bytes target) SIMPLEX_CHECK; /* the queue for it is made */
simplex_rc sx_request_body(struct simplex_agent *a, const struct sx_command *cmd,
                           struct sx_queue_addr *to, struct sx_wr *body) SIMPLEX_CHECK;
simplex_rc sx_request_sent(struct simplex_agent *a, const struct sx_conn *c) SIMPLEX_CHECK;
/* The owner's confirmation arrived: the request did, even if the server's answer was lost. */
simplex_rc sx_request_answered(struct simplex_agent *a, const struct sx_conn *c) SIMPLEX_CHECK;

#endif
