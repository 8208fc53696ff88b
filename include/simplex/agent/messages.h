/* SPDX-License-Identifier: Apache-2.0 */
/* Part of simplex/agent.h: sending, acknowledging and receiving messages. */
#ifndef SIMPLEX_AGENT_MESSAGES_H
#define SIMPLEX_AGENT_MESSAGES_H

#include "simplex/agent/handles.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- messages (sections 6.7, 6.8) ---- */

enum { /* flags of simplex_agent_send */
    SIMPLEX_SEND_NOTIFY = 1, /* ask the server to notify the recipient's device */
    SIMPLEX_SEND_PQ_ON = 2,  /* switch the post-quantum ratchet on or off with this message */
    SIMPLEX_SEND_PQ_OFF = 4,
};

/*
 * Stores body for delivery: on return it is on disk. *msg_id: id within the connection, rising.
 * SENT or MERR with this id follows; MWARN while delivery is delayed. Messages are delivered in
 * order. body: up to 15,795 bytes, 13,573 with PQ. Errors: NOT_FOUND, PROHIBITED (not connected
 * yet, or the ratchet must be synchronised first), TOO_LARGE (nothing happened).
 */
SIMPLEX_API simplex_rc simplex_agent_send(simplex_agent *a, int64_t conn, simplex_bytes body,
                                          uint32_t flags, int64_t *msg_id) SIMPLEX_CHECK;

/* One message of a batch. */
typedef struct simplex_batch_message {
    int64_t conn;
    simplex_bytes body;
    uint32_t flags; /* as of simplex_agent_send */
    simplex_rc rc;  /* out: what simplex_agent_send would have returned */
    int64_t msg_id; /* out: 0 unless rc is OK */
} simplex_batch_message;

/*
 * Sends to many connections in one transaction. Each message succeeds or fails by itself: look at
 * its rc. A body with the same ptr and len as the one before it in the list is stored once for all
 * of them. *n_sent (may be NULL): how many are OK. size: sizeof(simplex_batch_message). Errors of
 * the whole, with which nothing was sent: ARG, and those of the database.
 */
SIMPLEX_API simplex_rc simplex_agent_send_batch(simplex_agent *a, simplex_batch_message *messages,
                                                size_t n, size_t size,
                                                size_t *n_sent) SIMPLEX_CHECK;

/*
 * Acknowledges the message of a MSG event: the application has it and will not see it again.
 * The next message of the connection comes only after it. Repeating the call is fine.
 * Errors: NOT_FOUND (no such message was received).
 */
SIMPLEX_API simplex_rc simplex_agent_ack(simplex_agent *a, int64_t conn,
                                         int64_t msg_id) SIMPLEX_CHECK;

/*
 * Acknowledges and tells the sender that the message arrived: RCVD there. info: up to 15,751 bytes
 * (13,529 with PQ) shown in RCVD, usually none. The receipt takes an id of its own here, as a
 * message does. A peer too old for receipts, and a message acknowledged before, get none. Errors:
 * NOT_FOUND, TOO_LARGE (nothing happened).
 */
SIMPLEX_API simplex_rc simplex_agent_ack_receipt(simplex_agent *a, int64_t conn, int64_t msg_id,
                                                 simplex_bytes info) SIMPLEX_CHECK;

/* Switches receiving messages of a connection on (the default) or off; kept over restarts. While
 * off the server keeps the messages. Errors: NOT_FOUND. */
SIMPLEX_API simplex_rc simplex_agent_subscribe(simplex_agent *a, int64_t conn,
                                               bool on) SIMPLEX_CHECK;

#ifdef __cplusplus
}
#endif
#endif
