/* SPDX-License-Identifier: Apache-2.0 */
/* Messages to send: kept until each of their queues has them. */
#include "store/db.h"

simplex_rc sx_store_snd_msg_add(struct sx_store *s, const struct sx_snd_msg *m)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_SND_MSG_ADD);
    sx_q_put_i64(&q, m->conn_id);
    sx_q_put_i64(&q, m->id);
    sx_q_put_i64(&q, m->snd_id);
    sx_q_put_i64(&q, m->type);
    sx_q_put_i64(&q, m->notify);
    sx_q_put_i64(&q, m->padded);
    sx_q_put_i64(&q, m->created_at);
    sx_q_put_i64(&q, m->sent);
    sx_q_put_i64(&q, m->body_id);
    sx_q_put_some(&q, m->e2e);
    sx_q_put_blob(&q, m->key);
    sx_q_put_blob(&q, m->plain);
    return sx_q_run_one(&q);
}

simplex_rc sx_store_snd_body_add(struct sx_store *s, simplex_bytes body, int64_t *id)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_SND_BODY_ADD);
    sx_q_put_blob(&q, body);
    simplex_rc rc = sx_q_run(&q);
    if (rc == SIMPLEX_OK)
        *id = sqlite3_last_insert_rowid(s->db);
    return rc;
}

simplex_rc sx_store_snd_body_trim(struct sx_store *s, int64_t id)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_SND_BODY_TRIM);
    sx_q_put_i64(&q, id);
    return sx_q_run(&q);
}

simplex_rc sx_store_delivery_add(struct sx_store *s, int64_t snd_queue_id, int64_t conn_id,
                                 int64_t msg_id)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_DELIVERY_ADD);
    sx_q_put_i64(&q, snd_queue_id);
    sx_q_put_i64(&q, conn_id);
    sx_q_put_i64(&q, msg_id);
    return sx_q_run_one(&q);
}

simplex_rc sx_store_delivery_next(struct sx_store *s, int64_t snd_queue_id, int64_t after,
                                  struct sx_snd_msg *m)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_DELIVERY_NEXT);
    sx_q_put_i64(&q, snd_queue_id);
    sx_q_put_i64(&q, after);
    simplex_rc rc = sx_q_row(&q);
    if (rc != SIMPLEX_OK)
        return rc;
    m->conn_id = sx_q_i64(&q);
    m->id = sx_q_i64(&q);
    m->snd_id = sx_q_i64(&q);
    m->type = (uint8_t)sx_q_uint(&q, UINT8_MAX);
    m->notify = sx_q_bool(&q);
    m->padded = (uint16_t)sx_q_uint(&q, UINT16_MAX);
    m->created_at = sx_q_i64(&q);
    m->sent = sx_q_bool(&q);
    m->body_id = sx_q_i64(&q);
    m->e2e = sx_q_blob(&q);
    m->key = sx_q_blob(&q);
    m->plain = sx_q_blob(&q);
    m->shared = sx_q_blob(&q);
    if (m->body_id != 0 && m->shared.len == 0)
        q.bad = true;
    m->retry_delay = sx_q_i64(&q);
    m->quota_seen = sx_q_bool(&q);
    return sx_q_lend(&q);
}

simplex_rc sx_store_delivery_retry(struct sx_store *s, int64_t snd_queue_id, int64_t msg_id,
                                   int64_t retry_delay, bool quota_seen)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_DELIVERY_RETRY);
    sx_q_put_i64(&q, retry_delay);
    sx_q_put_i64(&q, quota_seen);
    sx_q_put_i64(&q, snd_queue_id);
    sx_q_put_i64(&q, msg_id);
    return sx_q_run_one(&q);
}

static simplex_rc delivered(struct sx_store *s, int64_t snd_queue_id, int64_t conn_id,
                            int64_t msg_id, bool *last)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_SND_MSG_DELETE_SENT);
    sx_q_put_i64(&q, conn_id);
    sx_q_put_i64(&q, msg_id);
    sx_q_put_i64(&q, snd_queue_id);
    simplex_rc rc = sx_q_run(&q);
    if (rc != SIMPLEX_OK)
        return rc;
    *last = sqlite3_changes(s->db) > 0;
    sx_q_start(&q, s, SQL_DELIVERY_DELETE);
    sx_q_put_i64(&q, snd_queue_id);
    sx_q_put_i64(&q, msg_id);
    return sx_q_run_one(&q);
}

simplex_rc sx_store_delivery_done(struct sx_store *s, int64_t snd_queue_id, int64_t conn_id,
                                  int64_t msg_id, bool *last)
{
    bool own, is_last = false;
    simplex_rc rc = sx_db_group(s, &own);

    if (rc == SIMPLEX_OK)
        rc = sx_db_group_end(s, own, delivered(s, snd_queue_id, conn_id, msg_id, &is_last));
    if (last != NULL)
        *last = rc == SIMPLEX_OK && is_last;
    return rc;
}

static simplex_rc run_with(struct sx_store *s, enum sx_sql which, const int64_t *values, size_t n)
{
    struct sx_q q;

    sx_q_start(&q, s, which);
    for (size_t i = 0; i < n; i++)
        sx_q_put_i64(&q, values[i]);
    return sx_q_run(&q);
}

simplex_rc sx_store_msg_sent(struct sx_store *s, int64_t conn_id, int64_t msg_id)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_SND_MSG_SENT);
    sx_q_put_i64(&q, conn_id);
    sx_q_put_i64(&q, msg_id);
    return sx_q_run_one(&q);
}

static simplex_rc moved(struct sx_store *s, int64_t from, int64_t to, int64_t msg_id, unsigned keep)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_DELIVERY_MOVE);
    sx_q_put_i64(&q, from);
    sx_q_put_i64(&q, to);
    sx_q_put_i64(&q, msg_id);
    simplex_rc rc = sx_q_run_one(&q);
    const int64_t trim[] = { to, keep };
    if (rc == SIMPLEX_OK)
        rc = run_with(s, SQL_DELIVERY_TRIM_MSGS, trim, 2);
    if (rc == SIMPLEX_OK)
        rc = run_with(s, SQL_DELIVERY_TRIM, trim, 2);
    return rc;
}

simplex_rc sx_store_delivery_move(struct sx_store *s, int64_t from, int64_t to, int64_t msg_id,
                                  unsigned keep)
{
    bool own;
    simplex_rc rc = sx_db_group(s, &own);

    return rc == SIMPLEX_OK ? sx_db_group_end(s, own, moved(s, from, to, msg_id, keep)) : rc;
}

simplex_rc sx_store_delivery_copy(struct sx_store *s, int64_t from, int64_t to)
{
    const int64_t values[] = { from, to };

    return run_with(s, SQL_DELIVERY_COPY, values, 2);
}

static simplex_rc count(struct sx_store *s, enum sx_sql which, int64_t id, int64_t *n)
{
    struct sx_q q;

    sx_q_start(&q, s, which);
    sx_q_put_i64(&q, id);
    simplex_rc rc = sx_q_row(&q);
    if (rc != SIMPLEX_OK)
        return rc;
    *n = sx_q_i64(&q);
    return sx_q_done(&q);
}

simplex_rc sx_store_delivery_count(struct sx_store *s, int64_t conn_id, int64_t *n)
{
    return count(s, SQL_DELIVERY_COUNT, conn_id, n);
}

simplex_rc sx_store_delivery_count_of(struct sx_store *s, int64_t snd_queue_id, int64_t *n)
{
    return count(s, SQL_DELIVERY_COUNT_OF, snd_queue_id, n);
}
