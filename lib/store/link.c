/* SPDX-License-Identifier: Apache-2.0 */
/* Short links: the data behind our own, and those of others that we look at. */
#include "store/db.h"

simplex_rc sx_store_link_put(struct sx_store *s, const struct sx_link_row *l)
{
    uint8_t root[SX_Q_PAIR];
    struct sx_q q;

    sx_q_start(&q, s, SQL_LINK_PUT);
    sx_q_put_i64(&q, l->queue_id);
    sx_q_put_i64(&q, l->type);
    sx_q_put_i64(&q, l->state);
    sx_q_put_i64(&q, l->kem_in_full);
    sx_q_put_blob(&q, sx_bytes(l->corr_id, sizeof l->corr_id));
    sx_q_put_some(&q, sx_bytes(l->link_id, l->has_link_id ? sizeof l->link_id : 0));
    sx_q_put_blob(&q, sx_bytes(l->link_key, sizeof l->link_key));
    sx_q_put_pair(&q, &l->root, root);
    sx_q_put_blob(&q, l->fixed);
    sx_q_put_blob(&q, l->user);
    simplex_rc rc = sx_q_run(&q);
    sx_wipe(root, sizeof root);
    return rc;
}

simplex_rc sx_store_link_get(struct sx_store *s, int64_t queue_id, struct sx_link_row *l)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_LINK_GET);
    sx_q_put_i64(&q, queue_id);
    simplex_rc rc = sx_q_row(&q);
    if (rc != SIMPLEX_OK)
        return rc;
    l->queue_id = queue_id;
    l->type = (uint8_t)sx_q_uint(&q, UINT8_MAX);
    l->state = (uint8_t)sx_q_uint(&q, SX_LINK_DROPPED);
    l->kem_in_full = sx_q_bool(&q);
    sx_q_copy(&q, l->corr_id, sizeof l->corr_id);
    l->has_link_id = sx_q_maybe_copy(&q, l->link_id, sizeof l->link_id);
    sx_q_copy(&q, l->link_key, sizeof l->link_key);
    sx_q_pair(&q, &l->root);
    l->fixed = sx_q_blob(&q);
    l->user = sx_q_blob(&q);
    if ((rc = sx_q_lend(&q)) != SIMPLEX_OK)
        sx_wipe(l, sizeof *l);
    return rc;
}

simplex_rc sx_store_link_delete(struct sx_store *s, int64_t queue_id)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_LINK_DELETE);
    sx_q_put_i64(&q, queue_id);
    return sx_q_run(&q);
}

/* ---- links of others ---- */

simplex_rc sx_store_look_add(struct sx_store *s, const struct sx_look *l)
{
    uint8_t auth[SX_Q_PAIR];
    struct sx_q q;

    sx_q_start(&q, s, SQL_LOOK_ADD);
    sx_q_put_i64(&q, l->conn_id);
    sx_q_put_blob(&q, sx_bytes(l->hash, sizeof l->hash));
    sx_q_put_blob(&q, l->link);
    sx_q_put_pair(&q, &l->auth, auth);
    simplex_rc rc = sx_q_run(&q);
    sx_wipe(auth, sizeof auth);
    return rc;
}

simplex_rc sx_store_look_get(struct sx_store *s, int64_t conn_id, struct sx_look *l)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_LOOK_GET);
    sx_q_put_i64(&q, conn_id);
    simplex_rc rc = sx_q_row(&q);
    if (rc != SIMPLEX_OK)
        return rc;
    memset(l, 0, sizeof *l);
    l->conn_id = conn_id;
    l->link = sx_q_blob(&q);
    sx_q_pair(&q, &l->auth);
    l->request = sx_q_blob(&q);
    if ((rc = sx_q_lend(&q)) != SIMPLEX_OK)
        sx_wipe(l, sizeof *l);
    return rc;
}

simplex_rc sx_store_look_find(struct sx_store *s, const uint8_t hash[32], int64_t *conn_id)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_LOOK_FIND);
    sx_q_put_blob(&q, sx_bytes(hash, 32));
    simplex_rc rc = sx_q_row(&q);
    if (rc != SIMPLEX_OK)
        return rc;
    *conn_id = sx_q_i64(&q);
    return sx_q_done(&q);
}

simplex_rc sx_store_look_request(struct sx_store *s, int64_t conn_id, simplex_bytes request)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_LOOK_REQUEST);
    sx_q_put_some(&q, request);
    sx_q_put_i64(&q, conn_id);
    return sx_q_run_one(&q);
}

simplex_rc sx_store_look_delete(struct sx_store *s, int64_t conn_id)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_LOOK_DELETE);
    sx_q_put_i64(&q, conn_id);
    return sx_q_run(&q);
}
