/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of events not shown to the application yet. */
#ifndef SX_STORE_EVENT_H
#define SX_STORE_EVENT_H

#include "store/database.h"

struct sx_event_row {
    int64_t id, conn_id;
    int64_t msg_id;            /* next: a message received, and no data; otherwise 0 */
    bool of_peer;              /* add: it counts for _count */
    simplex_bytes data;        /* encoded event; next: borrowed until the next call */
};
simplex_rc sx_store_event_add(struct sx_store *s, struct sx_event_row *e) SIMPLEX_CHECK;
/* The first with an id above `after` of those added and of the messages received. E_NOT_FOUND. */
simplex_rc sx_store_event_next(struct sx_store *s, int64_t after, struct sx_event_row *e)
    SIMPLEX_CHECK;
/* Events of the connection that were not handled yet and are of_peer, and messages received that
 * were not acknowledged. Counts no further than `most` of either. */
simplex_rc sx_store_event_count(struct sx_store *s, int64_t conn_id, int64_t most,
                                int64_t *n) SIMPLEX_CHECK;
simplex_rc sx_store_event_delete(struct sx_store *s, int64_t id) SIMPLEX_CHECK;

#endif
