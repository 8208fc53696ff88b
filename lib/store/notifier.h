/* SPDX-License-Identifier: Apache-2.0 */
/* Notifiers of receiving queues: what a notification server subscribes with (smp.md section 7). */
#ifndef SX_STORE_NOTIFIER_H
#define SX_STORE_NOTIFIER_H

#include "store/store.h"

enum sx_ntf_state {
    SX_NTF_WANTED = 1, /* the keys are to be set, or are on their way to the server */
    SX_NTF_SET,        /* the server has them */
    SX_NTF_DROPPED,    /* NDEL is due */
};

struct sx_notifier {
    int64_t queue_id;       /* of the receiving queue */
    uint8_t state;          /* enum sx_ntf_state */
    struct sx_keypair auth; /* Ed25519: for the notification server */
    struct sx_keypair dh;   /* X25519 with the server; SX_NO_KEY once there is a secret */
    struct sx_id ntf_id;    /* empty until it is set */
    bool has_secret;
    uint8_t secret[32];   /* opens the metadata of notifications */
    struct sx_id last_id; /* the server's id of the message received last */
    int64_t last_ts;      /* ms: its time; 0: none yet */
};
/* Inserts or replaces. E_NOT_FOUND: there is no such queue. */
simplex_rc sx_store_notifier_put(struct sx_store *s, const struct sx_notifier *n) SIMPLEX_CHECK;
simplex_rc sx_store_notifier_get(struct sx_store *s, int64_t queue_id,
                                 struct sx_notifier *n) SIMPLEX_CHECK;
/* The first of this id (servers may give the same one) with a queue above `after`. */
simplex_rc sx_store_notifier_find(struct sx_store *s, simplex_bytes ntf_id, int64_t after,
                                  struct sx_notifier *n) SIMPLEX_CHECK;
/* Queues that have one, ascending after `after`; fills up to *n, sets *n. */
simplex_rc sx_store_notifier_queues(struct sx_store *s, int64_t after, int64_t *ids,
                                    size_t *n) SIMPLEX_CHECK;
/* A message was received through the queue; no notifier there is fine. */
simplex_rc sx_store_notifier_seen(struct sx_store *s, int64_t queue_id, simplex_bytes msg_id,
                                  int64_t ts) SIMPLEX_CHECK;
simplex_rc sx_store_notifier_delete(struct sx_store *s, int64_t queue_id) SIMPLEX_CHECK;

#endif
