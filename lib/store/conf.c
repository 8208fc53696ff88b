/* SPDX-License-Identifier: Apache-2.0 */
/* Confirmations of joiners, until one is accepted. */
#include "store/db.h"

simplex_rc sx_store_conf_add(struct sx_store *s, struct sx_confirmation *c)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_CONF_ADD);
    sx_q_put_i64(&q, c->conn_id);
    sx_q_put_blob(&q, c->info);
    sx_q_put_some(&q, c->reply_queue);
    sx_q_put_i64(&q, c->accepted);
    sx_q_put_some(&q, c->own_info);
    simplex_rc rc = sx_q_run(&q);
    if (rc == SIMPLEX_OK)
        c->id = sqlite3_last_insert_rowid(s->db);
    return rc;
}

simplex_rc sx_store_conf_get(struct sx_store *s, int64_t id, struct sx_confirmation *c)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_CONF_GET);
    sx_q_put_i64(&q, id);
    simplex_rc rc = sx_q_row(&q);
    if (rc != SIMPLEX_OK)
        return rc;
    c->id = id;
    c->conn_id = sx_q_i64(&q);
    c->info = sx_q_blob(&q);
    c->reply_queue = sx_q_blob(&q);
    c->accepted = sx_q_bool(&q);
    c->own_info = sx_q_blob(&q);
    return sx_q_lend(&q);
}

simplex_rc sx_store_conf_accept(struct sx_store *s, int64_t id, simplex_bytes own_info)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_CONF_ACCEPT);
    sx_q_put_some(&q, own_info);
    sx_q_put_i64(&q, id);
    return sx_q_run_one(&q);
}

simplex_rc sx_store_conf_delete_all(struct sx_store *s, int64_t conn_id)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_CONF_DELETE_ALL);
    sx_q_put_i64(&q, conn_id);
    return sx_q_run(&q);
}
