/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of messages to send, and of their deliveries. */
#ifndef SX_STORE_SND_MSG_H
#define SX_STORE_SND_MSG_H

#include "store/database.h"

struct sx_snd_msg {
    int64_t conn_id, id;      /* internal id */
    int64_t snd_id;           /* external id */
    uint8_t type;             /* enum sx_msg_tag; 0: connection info (confirmation) */
    bool notify;
    uint16_t padded;          /* length the plaintext is padded to */
    simplex_bytes plain;      /* get: borrowed until the next call on the store */
    int64_t body_id; /* of what follows plain and is the same in other messages; 0: nothing */
    simplex_bytes shared;     /* get: that; same lifetime */
    simplex_bytes key;        /* encoded sx_msg_key; same lifetime */
    simplex_bytes e2e;        /* confirmation: encoded e2e params; empty otherwise */
    int64_t created_at;       /* ms */
    /* get: of the delivery that was looked for */
    int64_t retry_delay;      /* ms, kept over restarts; 0: first attempt */
    bool quota_seen;          /* the last answer was QUOTA: slow retries */
    bool sent;                /* some queue has it: the application was told */
};
/* It lives as long as a delivery of it: the first is added in the same transaction. */
simplex_rc sx_store_snd_msg_add(struct sx_store *s, const struct sx_snd_msg *m) SIMPLEX_CHECK;
/* What several messages end with (body_id); it goes with the last of them. _trim: if there is none,
 * to be called when all were added. */
simplex_rc sx_store_snd_body_add(struct sx_store *s, simplex_bytes body,
                                 int64_t *id) SIMPLEX_CHECK;
simplex_rc sx_store_snd_body_trim(struct sx_store *s, int64_t id) SIMPLEX_CHECK;
/* A delivery of message id to a queue of its connection; both must be there. */
simplex_rc sx_store_delivery_add(struct sx_store *s, int64_t snd_queue_id, int64_t conn_id,
                                 int64_t msg_id) SIMPLEX_CHECK;
/* The oldest pending delivery of the queue with an id above `after` (0: the first).
 * E_NOT_FOUND when there is none. */
simplex_rc sx_store_delivery_next(struct sx_store *s, int64_t snd_queue_id, int64_t after,
                                  struct sx_snd_msg *m) SIMPLEX_CHECK;
simplex_rc sx_store_delivery_retry(struct sx_store *s, int64_t snd_queue_id, int64_t msg_id,
                                   int64_t retry_delay, bool quota_seen) SIMPLEX_CHECK;
/* Removes the delivery, and the message when it was the last one. *last (may be NULL).
 * E_NOT_FOUND: there is no such delivery. */
simplex_rc sx_store_delivery_done(struct sx_store *s, int64_t snd_queue_id, int64_t conn_id,
                                  int64_t msg_id, bool *last) SIMPLEX_CHECK;
/* Some queue has the message: `sent` from now on, for the others. */
simplex_rc sx_store_msg_sent(struct sx_store *s, int64_t conn_id, int64_t msg_id) SIMPLEX_CHECK;
/* The delivery becomes one to queue `to`, of the same connection; one that is there is replaced. Of
 * all deliveries to `to` the newest `keep` are kept; messages that have no other go with theirs. */
simplex_rc sx_store_delivery_move(struct sx_store *s, int64_t from, int64_t to, int64_t msg_id,
                                  unsigned keep) SIMPLEX_CHECK;
/* What is to be delivered to `from` is to be delivered to `to` as well. */
simplex_rc sx_store_delivery_copy(struct sx_store *s, int64_t from, int64_t to) SIMPLEX_CHECK;
/* Messages of the connection that no queue has yet. */
simplex_rc sx_store_delivery_count(struct sx_store *s, int64_t conn_id, int64_t *n) SIMPLEX_CHECK;
/* Messages that this queue is to have. */
simplex_rc sx_store_delivery_count_of(struct sx_store *s, int64_t snd_queue_id,
                                      int64_t *n) SIMPLEX_CHECK;

#endif
