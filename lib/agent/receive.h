/* SPDX-License-Identifier: Apache-2.0 */
/* A message that a server has delivered, from its envelope to its ACK. */
#ifndef SX_AGENT_RECEIVE_H
#define SX_AGENT_RECEIVE_H

#include "agent/envelope.h"

/* ---- receive.c, message.c ---- */

/* A MSG of queue `id`, pushed or in an answer. */
void sx_receive(struct simplex_agent *a, int64_t queue, const struct sx_rsp *msg);
struct sx_incoming { /* a message at hand */
    simplex_bytes srv_msg_id;
    int64_t srv_ts; /* ms */
    bool notify;
    bool keep;      /* out: acknowledged by the application, not by us */
    bool hold;      /* out: not its turn yet, left on the server; all is undone */
    int64_t ext_id; /* out, with hold: its number */
    bool leave;     /* out: not looked at, for want of room for what it might cause (unread.c) */
};
/* Handlers: within a bracket; any failure undoes what they wrote and is shown as ERR. */
simplex_rc sx_on_message(struct simplex_agent *a, struct sx_conn *c, struct sx_rcv_queue *q,
                         const struct sx_opened *o, struct sx_incoming *in) SIMPLEX_CHECK;

/* ---- ack.c ---- */

/* ACK to the server when this turn ends; after_commit: not before its rows are on disk. */
simplex_rc sx_ack_later(struct simplex_agent *a, int64_t queue, simplex_bytes msg_id,
                        bool after_commit) SIMPLEX_CHECK;
void sx_send_acks(struct simplex_agent *a);
/* The server shows no message of this queue (any more): a drain may go on. */
void sx_nothing_shown(struct simplex_agent *a, int64_t queue);
void sx_drop_acks(struct simplex_agent *a); /* what was not sent */
void sx_free_acks(struct simplex_agent *a); /* all, at close */
/* receipt: its information; NULL: none is sent. */
simplex_rc sx_user_ack(struct simplex_agent *a, int64_t conn, int64_t msg_id,
                       const simplex_bytes *receipt) SIMPLEX_CHECK;

/* ---- receipts.c ---- */

#define SX_AGENT_RECEIPTS 4 /* agent version from which receipts are understood */
/* For the message at hand, if the peer understands receipts. */
simplex_rc sx_send_receipt(struct simplex_agent *a, struct sx_conn *c,
                           const struct sx_receipt *r) SIMPLEX_CHECK;
simplex_rc sx_on_receipts(struct simplex_agent *a, const struct sx_conn *c,
                          const struct sx_list *list) SIMPLEX_CHECK;

#endif
