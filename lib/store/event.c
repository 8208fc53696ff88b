/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events that the application has not seen yet. A message received is an event by itself, in its
 * own table: both count with the same number, and reading merges them.
 */
#include "store/db.h"

simplex_rc sx_store_event_add(struct sx_store *s, struct sx_event_row *e)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_EVENT_ADD);
    sx_q_put_i64(&q, s->last_event + 1);
    sx_q_put_i64(&q, e->conn_id);
    sx_q_put_i64(&q, e->of_peer);
    sx_q_put_blob(&q, e->data);
    simplex_rc rc = sx_q_run(&q);
    if (rc == SIMPLEX_OK)
        e->id = ++s->last_event;
    return rc;
}

static simplex_rc next_message(struct sx_store *s, int64_t after, struct sx_event_row *e)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_RCV_MSG_NEXT);
    sx_q_put_i64(&q, after);
    simplex_rc rc = sx_q_row(&q);
    if (rc != SIMPLEX_OK)
        return rc;
    *e = (struct sx_event_row){ .id = sx_q_i64(&q) };
    e->conn_id = sx_q_i64(&q);
    e->msg_id = sx_q_i64(&q);
    return sx_q_done(&q);
}

simplex_rc sx_store_event_next(struct sx_store *s, int64_t after, struct sx_event_row *e)
{
    struct sx_event_row message;
    struct sx_q q;

    if (after >= s->last_event && s->lost == SIMPLEX_OK && s->broken == SIMPLEX_OK)
        return SIMPLEX_E_NOT_FOUND;
    simplex_rc found = next_message(s, after, &message);
    if (found != SIMPLEX_OK && found != SIMPLEX_E_NOT_FOUND)
        return found;
    if (found == SIMPLEX_OK && message.id == after + 1) { /* nothing can stand before it */
        *e = message;
        return SIMPLEX_OK;
    }
    sx_q_start(&q, s, SQL_EVENT_NEXT);
    sx_q_put_i64(&q, after);
    simplex_rc rc = sx_q_row(&q);
    if (rc != SIMPLEX_OK && rc != SIMPLEX_E_NOT_FOUND)
        return rc;
    int64_t id = rc == SIMPLEX_OK ? sx_q_i64(&q) : INT64_MAX;
    if (found == SIMPLEX_OK && message.id < id) {
        *e = message;
        return rc == SIMPLEX_OK ? sx_q_done(&q) : SIMPLEX_OK;
    }
    if (rc != SIMPLEX_OK)
        return rc;
    *e = (struct sx_event_row){ .id = id, .conn_id = sx_q_i64(&q) };
    e->data = sx_q_blob(&q);
    return sx_q_lend(&q);
}

simplex_rc sx_store_event_count(struct sx_store *s, int64_t conn_id, int64_t most, int64_t *n)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_EVENT_COUNT);
    sx_q_put_i64(&q, conn_id);
    sx_q_put_i64(&q, most);
    simplex_rc rc = sx_q_row(&q);
    if (rc != SIMPLEX_OK)
        return rc;
    *n = sx_q_i64(&q);
    return sx_q_done(&q);
}

simplex_rc sx_store_event_delete(struct sx_store *s, int64_t id)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_EVENT_DELETE);
    sx_q_put_i64(&q, id);
    return sx_q_run(&q);
}
