/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of messages received. */
#ifndef SX_STORE_RCV_MSG_H
#define SX_STORE_RCV_MSG_H

#include "store/database.h"

struct sx_rcv_msg_row {
    int64_t conn_id, id;       /* internal id */
    int64_t seq;               /* set by _add: its number among the events; _get: 0 */
    int64_t rcv_queue_id;
    int64_t ext_id;            /* the sender's id */
    struct sx_id srv_msg_id;   /* what ACK names */
    int64_t srv_ts;            /* ms */
    int64_t rcv_ts;            /* ms */
    uint8_t type;              /* enum sx_msg_tag */
    uint8_t integrity;         /* enum of simplex/agent.h */
    int64_t gap_first, gap_last; /* skipped ids, or the bad id in gap_first */
    bool notify, pq;
    simplex_bytes body;        /* get: borrowed until the next call on the store */
    uint8_t hash[32];          /* SHA-256 of the plaintext: for receipts */
    uint32_t attempts;         /* times the server delivered it again */
};
/* The message is an event too, until it is deleted: sx_store_event_next. */
simplex_rc sx_store_rcv_msg_add(struct sx_store *s, struct sx_rcv_msg_row *m) SIMPLEX_CHECK;
simplex_rc sx_store_rcv_msg_get(struct sx_store *s, int64_t conn_id, int64_t id,
                                struct sx_rcv_msg_row *m) SIMPLEX_CHECK;
/* By the server's message id, for repeats. E_NOT_FOUND. */
simplex_rc sx_store_rcv_msg_find(struct sx_store *s, int64_t conn_id, int64_t rcv_queue_id,
                                 simplex_bytes srv_msg_id, struct sx_rcv_msg_row *m) SIMPLEX_CHECK;
/* Is there one of another queue than this? */
simplex_rc sx_store_rcv_msg_other(struct sx_store *s, int64_t conn_id, int64_t rcv_queue_id,
                                  bool *there) SIMPLEX_CHECK;
simplex_rc sx_store_rcv_msg_attempt(struct sx_store *s, int64_t conn_id, int64_t id) SIMPLEX_CHECK;
simplex_rc sx_store_rcv_msg_delete(struct sx_store *s, int64_t conn_id, int64_t id) SIMPLEX_CHECK;
/* Hashes of ratchet messages, to drop repeats silently (kept 21 days). The connection is not
 * checked. Looking for one reads the last 200,000 from the newest back: for messages that could not
 * be decrypted only. ext_id: the sender's number of it; 0: none; _known: may be NULL. */
simplex_rc sx_store_rcv_hash_add(struct sx_store *s, int64_t conn_id, const uint8_t hash[32],
                                 int64_t ext_id, int64_t now) SIMPLEX_CHECK;
simplex_rc sx_store_rcv_hash_known(struct sx_store *s, int64_t conn_id, const uint8_t hash[32],
                                   bool *known, int64_t *ext_id) SIMPLEX_CHECK;

/* Hashes older than `before` (ms), or more than 200,000 back; at most `limit`, *n = how many went.
 * Messages sent before `before` too: each call looks through the next `limit` of them. */
simplex_rc sx_store_cleanup(struct sx_store *s, int64_t before, unsigned limit, unsigned *n)
    SIMPLEX_CHECK;

#endif
