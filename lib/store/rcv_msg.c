/* SPDX-License-Identifier: Apache-2.0 */
/* Messages received, until the application acknowledges them, and hashes against repeats. */
#include "store/db.h"

#define HASH_LEN 16 /* of 32 bytes: enough to tell messages apart */

simplex_rc sx_store_rcv_msg_add(struct sx_store *s, struct sx_rcv_msg_row *m)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_RCV_MSG_ADD);
    sx_q_put_i64(&q, m->conn_id);
    sx_q_put_i64(&q, m->id);
    sx_q_put_i64(&q, m->rcv_queue_id);
    sx_q_put_i64(&q, m->ext_id);
    sx_q_put_blob(&q, sx_id_bytes(&m->srv_msg_id));
    sx_q_put_i64(&q, m->srv_ts);
    sx_q_put_i64(&q, m->rcv_ts);
    sx_q_put_i64(&q, m->type);
    sx_q_put_i64(&q, m->integrity);
    sx_q_put_i64(&q, m->gap_first);
    sx_q_put_i64(&q, m->gap_last);
    sx_q_put_i64(&q, m->notify);
    sx_q_put_i64(&q, m->pq);
    sx_q_put_i64(&q, m->attempts);
    sx_q_put_blob(&q, sx_bytes(m->hash, 32));
    sx_q_put_blob(&q, m->body);
    sx_q_put_i64(&q, s->last_event + 1);
    simplex_rc rc = sx_q_run(&q);
    if (rc == SIMPLEX_OK)
        m->seq = ++s->last_event;
    return rc;
}

static simplex_rc get(struct sx_q *q, struct sx_rcv_msg_row *m)
{
    simplex_rc rc = sx_q_row(q);

    if (rc != SIMPLEX_OK)
        return rc;
    m->conn_id = sx_q_i64(q);
    m->id = sx_q_i64(q);
    m->rcv_queue_id = sx_q_i64(q);
    m->ext_id = sx_q_i64(q);
    sx_q_id(q, &m->srv_msg_id);
    m->srv_ts = sx_q_i64(q);
    m->rcv_ts = sx_q_i64(q);
    m->type = (uint8_t)sx_q_uint(q, UINT8_MAX);
    m->integrity = (uint8_t)sx_q_uint(q, UINT8_MAX);
    m->gap_first = sx_q_i64(q);
    m->gap_last = sx_q_i64(q);
    m->notify = sx_q_bool(q);
    m->pq = sx_q_bool(q);
    m->attempts = sx_q_uint(q, UINT32_MAX);
    sx_q_copy(q, m->hash, 32);
    m->body = sx_q_blob(q);
    return sx_q_lend(q);
}

simplex_rc sx_store_rcv_msg_get(struct sx_store *s, int64_t conn_id, int64_t id,
                                struct sx_rcv_msg_row *m)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_RCV_MSG_GET);
    sx_q_put_i64(&q, conn_id);
    sx_q_put_i64(&q, id);
    return get(&q, m);
}

simplex_rc sx_store_rcv_msg_find(struct sx_store *s, int64_t conn_id, int64_t rcv_queue_id,
                                 simplex_bytes srv_msg_id, struct sx_rcv_msg_row *m)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_RCV_MSG_FIND);
    sx_q_put_i64(&q, conn_id);
    sx_q_put_i64(&q, rcv_queue_id);
    sx_q_put_blob(&q, srv_msg_id);
    return get(&q, m);
}

simplex_rc sx_store_rcv_msg_other(struct sx_store *s, int64_t conn_id, int64_t rcv_queue_id,
                                  bool *there)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_RCV_MSG_OTHER);
    sx_q_put_i64(&q, conn_id);
    sx_q_put_i64(&q, rcv_queue_id);
    simplex_rc rc = sx_q_row(&q);
    *there = rc == SIMPLEX_OK;
    if (rc == SIMPLEX_E_NOT_FOUND)
        return SIMPLEX_OK;
    return rc == SIMPLEX_OK ? sx_q_done(&q) : rc;
}

static void start_with_ids(struct sx_q *q, struct sx_store *s, enum sx_sql which, int64_t conn_id,
                           int64_t id)
{
    sx_q_start(q, s, which);
    sx_q_put_i64(q, conn_id);
    sx_q_put_i64(q, id);
}

simplex_rc sx_store_rcv_msg_attempt(struct sx_store *s, int64_t conn_id, int64_t id)
{
    struct sx_q q;

    start_with_ids(&q, s, SQL_RCV_MSG_ATTEMPT, conn_id, id);
    return sx_q_run_one(&q);
}

simplex_rc sx_store_rcv_msg_delete(struct sx_store *s, int64_t conn_id, int64_t id)
{
    struct sx_q q;

    start_with_ids(&q, s, SQL_RCV_MSG_DELETE, conn_id, id);
    return sx_q_run(&q);
}

simplex_rc sx_store_rcv_hash_add(struct sx_store *s, int64_t conn_id, const uint8_t hash[32],
                                 int64_t ext_id, int64_t now)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_RCV_HASH_ADD);
    sx_q_put_i64(&q, conn_id);
    sx_q_put_blob(&q, sx_bytes(hash, HASH_LEN));
    sx_q_put_i64(&q, now);
    sx_q_put_i64(&q, ext_id);
    return sx_q_run(&q);
}

simplex_rc sx_store_rcv_hash_known(struct sx_store *s, int64_t conn_id, const uint8_t hash[32],
                                   bool *known, int64_t *ext_id)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_RCV_HASH_KNOWN);
    sx_q_put_i64(&q, conn_id);
    sx_q_put_blob(&q, sx_bytes(hash, HASH_LEN));
    simplex_rc rc = sx_q_row(&q);
    *known = rc == SIMPLEX_OK;
    if (rc != SIMPLEX_OK)
        return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
    int64_t number = sx_q_i64(&q);
    if (ext_id != NULL)
        *ext_id = number;
    return sx_q_done(&q);
}

static simplex_rc cleanup_hashes(struct sx_store *s, int64_t before, unsigned limit, unsigned *n)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_RCV_HASH_CLEANUP);
    sx_q_put_i64(&q, limit);
    sx_q_put_i64(&q, before);
    simplex_rc rc = sx_q_run(&q);
    *n = rc == SIMPLEX_OK ? (unsigned)sqlite3_changes(s->db) : 0;
    return rc;
}

simplex_rc sx_store_cleanup(struct sx_store *s, int64_t before, unsigned limit, unsigned *n)
{
    unsigned hashes = 0, sent = 0;
    simplex_rc rc = cleanup_hashes(s, before, limit, &hashes);

    if (rc == SIMPLEX_OK)
        rc = sx_db_sent_cleanup(s, before, limit, &sent);
    if (n != NULL)
        *n = rc == SIMPLEX_OK ? hashes + sent : 0;
    return rc;
}
