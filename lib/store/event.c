/* SPDX-License-Identifier: Apache-2.0 */
/* Events that the application has not seen yet. */
#include "store/db.h"

simplex_rc sx_store_event_add(struct sx_store *s, struct sx_event_row *e)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_EVENT_ADD);
    sx_q_put_i64(&q, s->last_event + 1);
    sx_q_put_i64(&q, e->conn_id);
    sx_q_put_i64(&q, e->msg_id);
    sx_q_put_blob(&q, e->data);
    simplex_rc rc = sx_q_run(&q);
    if (rc == SIMPLEX_OK)
        e->id = ++s->last_event;
    return rc;
}

simplex_rc sx_store_event_next(struct sx_store *s, int64_t after, struct sx_event_row *e)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_EVENT_NEXT);
    sx_q_put_i64(&q, after);
    simplex_rc rc = sx_q_row(&q);
    if (rc != SIMPLEX_OK)
        return rc;
    e->id = sx_q_i64(&q);
    e->conn_id = sx_q_i64(&q);
    e->msg_id = sx_q_i64(&q);
    e->data = sx_q_blob(&q);
    return sx_q_lend(&q);
}

simplex_rc sx_store_event_delete(struct sx_store *s, int64_t id)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_EVENT_DELETE);
    sx_q_put_i64(&q, id);
    return sx_q_run(&q);
}

simplex_rc sx_store_event_delete_msg(struct sx_store *s, int64_t conn_id, int64_t msg_id)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_EVENT_DELETE_MSG);
    sx_q_put_i64(&q, conn_id);
    sx_q_put_i64(&q, msg_id);
    return sx_q_run(&q);
}
