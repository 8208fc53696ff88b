/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to a contact address. What was accepted or rejected is remembered for a while by its
 * hash alone, so that a requester that repeats itself is not shown twice.
 */
#include "store/db.h"

simplex_rc sx_store_inv_add(struct sx_store *s, struct sx_invitation *i, int64_t now)
{
    uint8_t hash[32];
    struct sx_q q;

    sx_sha256(i->link, hash);
    sx_q_start(&q, s, SQL_INV_ADD);
    sx_q_put_i64(&q, i->conn_id);
    sx_q_put_blob(&q, sx_bytes(hash, sizeof hash));
    sx_q_put_i64(&q, now);
    sx_q_put_blob(&q, i->link);
    sx_q_put_blob(&q, i->info);
    simplex_rc rc = sx_q_run(&q);
    if (rc == SIMPLEX_OK)
        i->id = sqlite3_last_insert_rowid(s->db);
    return rc;
}

simplex_rc sx_store_inv_known(struct sx_store *s, int64_t conn_id, simplex_bytes link, bool *known)
{
    uint8_t hash[32];
    struct sx_q q;

    sx_sha256(link, hash);
    sx_q_start(&q, s, SQL_INV_KNOWN);
    sx_q_put_i64(&q, conn_id);
    sx_q_put_blob(&q, sx_bytes(hash, sizeof hash));
    simplex_rc rc = sx_q_row(&q);
    *known = rc == SIMPLEX_OK;
    if (rc != SIMPLEX_OK)
        return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
    return sx_q_done(&q);
}

simplex_rc sx_store_inv_get(struct sx_store *s, int64_t id, struct sx_invitation *i)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_INV_GET);
    sx_q_put_i64(&q, id);
    simplex_rc rc = sx_q_row(&q);
    if (rc != SIMPLEX_OK)
        return rc;
    i->id = id;
    i->conn_id = sx_q_i64(&q);
    i->pending = sx_q_bool(&q);
    i->accepted = sx_q_i64(&q);
    i->link = sx_q_blob(&q);
    i->info = sx_q_blob(&q);
    return sx_q_lend(&q);
}

static simplex_rc trim(struct sx_store *s, int64_t id)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_INV_TRIM);
    sx_q_put_i64(&q, id);
    sx_q_put_i64(&q, SX_INV_REMEMBERED);
    return sx_q_run(&q);
}

simplex_rc sx_store_inv_close(struct sx_store *s, int64_t id, int64_t accepted)
{
    struct sx_q q;
    bool own;
    simplex_rc rc = sx_db_group(s, &own);

    if (rc != SIMPLEX_OK)
        return rc;
    sx_q_start(&q, s, SQL_INV_CLOSE);
    sx_q_put_i64(&q, accepted);
    sx_q_put_i64(&q, id);
    rc = sx_q_run_one(&q);
    if (rc == SIMPLEX_OK)
        rc = trim(s, id);
    return sx_db_group_end(s, own, rc);
}

simplex_rc sx_store_inv_count(struct sx_store *s, int64_t conn_id, int64_t *n)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_INV_COUNT);
    sx_q_put_i64(&q, conn_id);
    simplex_rc rc = sx_q_row(&q);
    if (rc != SIMPLEX_OK)
        return rc;
    *n = sx_q_i64(&q);
    return sx_q_done(&q);
}

simplex_rc sx_store_inv_list(struct sx_store *s, int64_t after, int64_t *ids, size_t *n)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_INV_LIST);
    sx_q_put_i64(&q, after);
    sx_q_put_i64(&q, (int64_t)*n);
    return sx_q_ids(&q, ids, n);
}

simplex_rc sx_store_inv_delete_all(struct sx_store *s, int64_t conn_id)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_INV_DELETE_ALL);
    sx_q_put_i64(&q, conn_id);
    return sx_q_run(&q);
}
