/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages sent, until the peer's receipt (agent.md section 6.8). A row a message and no second
 * index: by the peer's name for it, so that the rows of a connection stand together and a message
 * costs no more than one page. What is old is found by going through all of it, piece by piece.
 */
#include "store/db.h"

simplex_rc sx_store_sent_add(struct sx_store *s, const struct sx_sent *m)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_SENT_ADD);
    sx_q_put_i64(&q, m->conn_id);
    sx_q_put_i64(&q, m->snd_id);
    sx_q_put_i64(&q, m->id);
    sx_q_put_i64(&q, m->status);
    sx_q_put_i64(&q, m->created_at);
    sx_q_put_blob(&q, sx_bytes(m->hash, sizeof m->hash));
    return sx_q_run(&q);
}

simplex_rc sx_store_sent_get(struct sx_store *s, int64_t conn_id, int64_t snd_id, struct sx_sent *m)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_SENT_GET);
    sx_q_put_i64(&q, conn_id);
    sx_q_put_i64(&q, snd_id);
    simplex_rc rc = sx_q_row(&q);
    if (rc != SIMPLEX_OK)
        return rc;
    m->conn_id = conn_id;
    m->snd_id = snd_id;
    m->id = sx_q_i64(&q);
    m->status = (uint8_t)sx_q_uint(&q, UINT8_MAX);
    m->created_at = sx_q_i64(&q);
    sx_q_copy(&q, m->hash, sizeof m->hash);
    return sx_q_done(&q);
}

simplex_rc sx_store_sent_status(struct sx_store *s, const struct sx_sent *m)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_SENT_STATUS);
    sx_q_put_i64(&q, m->status);
    sx_q_put_i64(&q, m->conn_id);
    sx_q_put_i64(&q, m->snd_id);
    return sx_q_run_one(&q);
}

simplex_rc sx_store_sent_delete(struct sx_store *s, int64_t conn_id, int64_t snd_id)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_SENT_DELETE);
    sx_q_put_i64(&q, conn_id);
    sx_q_put_i64(&q, snd_id);
    return sx_q_run(&q);
}

/* Where the next piece ends. Behind the last row it begins again. */
static simplex_rc piece(struct sx_store *s, unsigned limit, int64_t *conn, int64_t *id)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_SENT_NEXT);
    sx_q_put_i64(&q, s->sent_conn);
    sx_q_put_i64(&q, s->sent_id);
    sx_q_put_i64(&q, limit);
    simplex_rc rc = sx_q_row(&q);
    if (rc != SIMPLEX_OK)
        return rc;
    *conn = sx_q_i64(&q);
    *id = sx_q_i64(&q);
    return sx_q_done(&q);
}

simplex_rc sx_db_sent_cleanup(struct sx_store *s, int64_t before, unsigned limit, unsigned *n)
{
    int64_t conn, id;
    struct sx_q q;
    simplex_rc rc = piece(s, limit, &conn, &id);

    *n = 0;
    if (rc == SIMPLEX_E_NOT_FOUND) {
        s->sent_conn = s->sent_id = 0;
        return SIMPLEX_OK;
    }
    if (rc != SIMPLEX_OK)
        return rc;
    sx_q_start(&q, s, SQL_SENT_CLEANUP);
    sx_q_put_i64(&q, s->sent_conn);
    sx_q_put_i64(&q, s->sent_id);
    sx_q_put_i64(&q, conn);
    sx_q_put_i64(&q, id);
    sx_q_put_i64(&q, before);
    rc = sx_q_run(&q);
    if (rc != SIMPLEX_OK)
        return rc;
    *n = (unsigned)sqlite3_changes(s->db);
    s->sent_conn = conn;
    s->sent_id = id;
    return SIMPLEX_OK;
}
