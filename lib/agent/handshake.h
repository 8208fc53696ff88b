/* SPDX-License-Identifier: Apache-2.0 */
/* Two agents become connected by an invitation (agent.md section 6.1). */
#ifndef SX_AGENT_HANDSHAKE_H
#define SX_AGENT_HANDSHAKE_H

#include "agent/agent.h"
#include "agent/envelope.h"
#include "wire/link.h"

/* ---- create.c, join.c, allow.c ---- */

simplex_rc sx_create(struct simplex_agent *a, int64_t user, int32_t pq,
                     int64_t *conn) SIMPLEX_CHECK;
/* Of an invitation. *conn: 0, or the connection that looked at its short link, whose user stays. */
simplex_rc sx_join_link(struct simplex_agent *a, int64_t user, const struct sx_link *l,
                        simplex_bytes info, int32_t pq, int64_t *conn) SIMPLEX_CHECK;
simplex_rc sx_join(struct simplex_agent *a, int64_t user, simplex_bytes link, simplex_bytes info,
                   int32_t pq, int64_t *conn) SIMPLEX_CHECK;
simplex_rc sx_allow(struct simplex_agent *a, int64_t conn, int64_t conf,
                    simplex_bytes info) SIMPLEX_CHECK;
/* The row of a connection that begins now: new, or (c->id) of one that looked at a short link. */
simplex_rc sx_conn_begin(struct simplex_agent *a, struct sx_conn *c) SIMPLEX_CHECK;
/* Fresh keys towards the server, which must not be shown to two of them. */
simplex_rc sx_rcv_queue_keys(struct sx_rcv_queue *q) SIMPLEX_CHECK;
/* Keys and row of a new receiving queue; server chosen away from `avoid` (may be NULL). */
simplex_rc sx_new_rcv_queue(struct simplex_agent *a, const struct sx_conn *c,
                            const struct sx_server *avoid, uint16_t client_version,
                            struct sx_rcv_queue *q) SIMPLEX_CHECK;
simplex_rc sx_new_rcv_queue_on(struct simplex_agent *a, int64_t conn,
                               const struct sx_server *server, uint16_t client_version,
                               int64_t replaces, struct sx_rcv_queue *q) SIMPLEX_CHECK;
/* Row of a new sending queue to `addr`, with fresh keys. */
simplex_rc sx_new_snd_queue(struct simplex_agent *a, int64_t conn,
                            const struct sx_queue_addr *addr, uint16_t client_version,
                            struct sx_snd_queue *q) SIMPLEX_CHECK;
simplex_rc sx_snd_queue_open(struct simplex_agent *a, struct sx_snd_queue *q) SIMPLEX_CHECK;
void sx_queue_info_of(const struct sx_rcv_queue *q, struct sx_queue_addr *addr);
size_t sx_info_max(uint16_t agent_version, bool pq); /* longest connection information */
/* The full link to give to others: of an invitation or of a contact address. */
simplex_rc sx_invitation_text(struct simplex_agent *a, const struct sx_conn *c,
                              const struct sx_rcv_queue *q, struct sx_wr *w) SIMPLEX_CHECK;
/* The same with so many queues at most. */
simplex_rc sx_invitation_short_of(struct simplex_agent *a, const struct sx_conn *c,
                                  const struct sx_rcv_queue *q, size_t most,
                                  struct sx_wr *w) SIMPLEX_CHECK;
/* The full link to q, with the KEM key that there is, and to the queues beside it, `most` in all;
 * link borrows from keys and list, which has room for SIMPLEX_QUEUES_MAX. */
simplex_rc sx_queue_link(struct simplex_agent *a, const struct sx_conn *c,
                         const struct sx_rcv_queue *q, struct sx_x3dh_keys *keys,
                         struct sx_queue_addr *list, size_t most,
                         struct sx_link *link) SIMPLEX_CHECK;
/* The queues of a new connection are there: the link, the request or the confirmation follows. */
simplex_rc sx_conn_ready(struct simplex_agent *a, struct sx_conn *c, const struct sx_rcv_queue *q,
                         simplex_bytes data) SIMPLEX_CHECK;
simplex_rc sx_new_answered(struct simplex_agent *a, struct sx_conn *c,
                           const struct sx_command *cmd,
                           const struct sx_rsp *rsp) SIMPLEX_CHECK; /* IDS */
simplex_rc sx_join_reply(struct simplex_agent *a, struct sx_conn *c, const struct sx_rcv_queue *q,
                         simplex_bytes data) SIMPLEX_CHECK; /* J's confirmation */

/* ---- confirm.c ---- */

/* As sx_on_message: within a bracket; any failure undoes what it wrote and is shown as ERR. */
simplex_rc sx_on_confirmation(struct simplex_agent *a, struct sx_conn *c, struct sx_rcv_queue *q,
                              const struct sx_opened *o) SIMPLEX_CHECK;
/* Handshake steps that a HELLO, a confirmation or their delivery completes. */
simplex_rc sx_on_hello(struct simplex_agent *a, struct sx_conn *c, struct sx_rcv_queue *q)
    SIMPLEX_CHECK;
/* Our last handshake message reached the joiner, even if the server's answer to that was lost: it
 * sent what it may send only then. In a queue of the standard handshake that is any message of the
 * application (`word`), in others what follows the handshake. */
simplex_rc sx_heard_from_peer(struct simplex_agent *a, struct sx_conn *c,
                              const struct sx_rcv_queue *q, bool word) SIMPLEX_CHECK;
simplex_rc sx_on_sent(struct simplex_agent *a, struct sx_conn *c, struct sx_snd_queue *q,
                      uint8_t type) SIMPLEX_CHECK;
simplex_rc sx_send_hello(struct simplex_agent *a, struct sx_conn *c) SIMPLEX_CHECK;
simplex_rc sx_connected(struct simplex_agent *a, struct sx_conn *c) SIMPLEX_CHECK; /* CON, once */
simplex_rc sx_first_snd_queue(struct simplex_agent *a, const struct sx_conn *c,
                              struct sx_snd_queue *q) SIMPLEX_CHECK;

#endif
