/* SPDX-License-Identifier: Apache-2.0 */
/* Commands: what has to be done over the network. */
#include "store/db.h"

simplex_rc sx_store_command_add(struct sx_store *s, struct sx_command *c)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_COMMAND_ADD);
    sx_q_put_i64(&q, s->last_command + 1);
    sx_q_put_i64(&q, c->conn_id);
    sx_q_put_i64(&q, c->tag);
    sx_q_put_i64(&q, c->queue_id);
    sx_q_put_some(&q, c->data);
    sx_q_put_i64(&q, c->created_at);
    simplex_rc rc = sx_q_run(&q);
    if (rc == SIMPLEX_OK)
        c->id = ++s->last_command;
    return rc;
}

simplex_rc sx_store_command_next(struct sx_store *s, int64_t conn_id, int64_t after,
                                 struct sx_command *c)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_COMMAND_NEXT);
    sx_q_put_i64(&q, conn_id);
    sx_q_put_i64(&q, after);
    simplex_rc rc = sx_q_row(&q);
    if (rc != SIMPLEX_OK)
        return rc;
    c->id = sx_q_i64(&q);
    c->conn_id = sx_q_i64(&q);
    c->tag = (uint8_t)sx_q_uint(&q, UINT8_MAX);
    c->queue_id = sx_q_i64(&q);
    c->created_at = sx_q_i64(&q);
    c->data = sx_q_blob(&q);
    return sx_q_lend(&q);
}

simplex_rc sx_store_command_delete(struct sx_store *s, int64_t id)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_COMMAND_DELETE);
    sx_q_put_i64(&q, id);
    return sx_q_run(&q);
}

simplex_rc sx_store_command_conns(struct sx_store *s, int64_t after, int64_t *ids, size_t *n)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_COMMAND_CONNS);
    sx_q_put_i64(&q, after);
    sx_q_put_i64(&q, (int64_t)*n);
    return sx_q_ids(&q, ids, n);
}
