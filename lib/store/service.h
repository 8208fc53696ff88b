/* SPDX-License-Identifier: Apache-2.0 */
/* Client services: who we are to a server, and which queues it knows to be ours (smp.md section 4).
 */
#ifndef SX_STORE_SERVICE_H
#define SX_STORE_SERVICE_H

#include "store/store.h"

struct sx_service_row {
    int64_t user_id;
    struct sx_server server;
    simplex_bytes cert, key; /* PEM; get: borrowed until the next call on the store */
    bool has_id;
    uint8_t id[24]; /* that the server has given */
};
/* Inserts or replaces. */
simplex_rc sx_store_service_put(struct sx_store *s, const struct sx_service_row *r) SIMPLEX_CHECK;
/* By user_id and server of r. */
simplex_rc sx_store_service_get(struct sx_store *s, struct sx_service_row *r) SIMPLEX_CHECK;
simplex_rc sx_store_service_id(struct sx_store *s, const struct sx_service_row *r) SIMPLEX_CHECK;
simplex_rc sx_store_service_delete(struct sx_store *s,
                                   const struct sx_service_row *r) SIMPLEX_CHECK;

/* Users that are services. E_NOT_FOUND: there is no such user. */
simplex_rc sx_store_service_user_set(struct sx_store *s, int64_t user_id, bool on) SIMPLEX_CHECK;
simplex_rc sx_store_service_user(struct sx_store *s, int64_t user_id, bool *on) SIMPLEX_CHECK;

/* Receiving queues that their server has associated with the service. */
simplex_rc sx_store_assoc_add(struct sx_store *s, int64_t queue_id) SIMPLEX_CHECK;
simplex_rc sx_store_assoc_delete(struct sx_store *s, int64_t queue_id) SIMPLEX_CHECK;
/* Ascending after `after`; fills up to *n, sets *n. */
simplex_rc sx_store_assoc_list(struct sx_store *s, int64_t after, int64_t *ids,
                               size_t *n) SIMPLEX_CHECK;

#endif
