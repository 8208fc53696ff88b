/* SPDX-License-Identifier: Apache-2.0 */
#include "store/service.h"

#include "store/db.h"

/* The encoding stays in the scratch buffer until the statement ran. */
static void put_key(struct sx_q *q, const struct sx_service_row *r)
{
    struct sx_wr *w = &q->s->scratch;
    size_t start = w->len;

    sx_server_encode(w, &r->server);
    sx_q_put_i64(q, r->user_id);
    if (w->bad)
        q->rc = SIMPLEX_E_ENCODE;
    else
        sx_q_put_blob(q, sx_bytes(w->p + start, w->len - start));
}

static simplex_bytes id_of(const struct sx_service_row *r)
{
    return sx_bytes(r->id, r->has_id ? sizeof r->id : 0);
}

simplex_rc sx_store_service_put(struct sx_store *s, const struct sx_service_row *r)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_SERVICE_PUT);
    put_key(&q, r);
    sx_q_put_blob(&q, r->cert);
    sx_q_put_blob(&q, r->key);
    sx_q_put_some(&q, id_of(r));
    simplex_rc rc = sx_q_run(&q);
    sx_db_scratch_wipe(s);
    return rc;
}

simplex_rc sx_store_service_get(struct sx_store *s, struct sx_service_row *r)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_SERVICE_GET);
    put_key(&q, r);
    simplex_rc rc = sx_q_row(&q);
    sx_db_scratch_wipe(s);
    if (rc != SIMPLEX_OK)
        return rc;
    r->cert = sx_q_blob(&q);
    r->key = sx_q_blob(&q);
    r->has_id = sx_q_maybe_copy(&q, r->id, sizeof r->id);
    return sx_q_lend(&q);
}

simplex_rc sx_store_service_id(struct sx_store *s, const struct sx_service_row *r)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_SERVICE_ID);
    sx_q_put_some(&q, id_of(r));
    put_key(&q, r);
    simplex_rc rc = sx_q_run_one(&q);
    sx_db_scratch_wipe(s);
    return rc;
}

simplex_rc sx_store_service_delete(struct sx_store *s, const struct sx_service_row *r)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_SERVICE_DELETE);
    put_key(&q, r);
    simplex_rc rc = sx_q_run(&q);
    sx_db_scratch_wipe(s);
    return rc;
}

/* ---- queues ---- */

static simplex_rc run_with_id(struct sx_store *s, enum sx_sql which, int64_t queue_id)
{
    struct sx_q q;

    sx_q_start(&q, s, which);
    sx_q_put_i64(&q, queue_id);
    return sx_q_run(&q);
}

simplex_rc sx_store_service_user_set(struct sx_store *s, int64_t user_id, bool on)
{
    return run_with_id(s, on ? SQL_SERVICE_USER_ADD : SQL_SERVICE_USER_DELETE, user_id);
}

simplex_rc sx_store_service_user(struct sx_store *s, int64_t user_id, bool *on)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_SERVICE_USER_HAS);
    sx_q_put_i64(&q, user_id);
    simplex_rc rc = sx_q_row(&q);
    *on = rc == SIMPLEX_OK;
    if (rc != SIMPLEX_OK)
        return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
    return sx_q_done(&q);
}

simplex_rc sx_store_assoc_add(struct sx_store *s, int64_t queue_id)
{
    return run_with_id(s, SQL_ASSOC_ADD, queue_id);
}

simplex_rc sx_store_assoc_delete(struct sx_store *s, int64_t queue_id)
{
    return run_with_id(s, SQL_ASSOC_DELETE, queue_id);
}

simplex_rc sx_store_assoc_list(struct sx_store *s, int64_t after, int64_t *ids, size_t *n)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_ASSOC_LIST);
    sx_q_put_i64(&q, after);
    sx_q_put_i64(&q, (int64_t)*n);
    return sx_q_ids(&q, ids, n);
}
