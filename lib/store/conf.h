/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of confirmations (initiator). */
#ifndef SX_STORE_CONF_H
#define SX_STORE_CONF_H

#include "store/database.h"

struct sx_confirmation {
    int64_t id, conn_id;
    simplex_bytes info;        /* the peer's; get: borrowed until the next call on the store */
    simplex_bytes reply_queue; /* encoded SMPQueueInfo */
    bool accepted;
    simplex_bytes own_info;    /* set when accepted */
};
simplex_rc sx_store_conf_add(struct sx_store *s, struct sx_confirmation *c) SIMPLEX_CHECK;
simplex_rc sx_store_conf_get(struct sx_store *s, int64_t id, struct sx_confirmation *c)
    SIMPLEX_CHECK;
simplex_rc sx_store_conf_accept(struct sx_store *s, int64_t id, simplex_bytes own_info)
    SIMPLEX_CHECK;
simplex_rc sx_store_conf_delete_all(struct sx_store *s, int64_t conn_id) SIMPLEX_CHECK;

#endif
