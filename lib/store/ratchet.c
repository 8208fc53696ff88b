/* SPDX-License-Identifier: Apache-2.0 */
/* Ratchets, the keys of skipped messages, and X3DH keys of links that wait for an answer. */
#include "store/db.h"

static void put_skipped_name(struct sx_q *q, int64_t conn_id, const struct sx_skipped *k)
{
    sx_q_put_i64(q, conn_id);
    sx_q_put_blob(q, sx_bytes(k->hk, sizeof k->hk));
    sx_q_put_i64(q, k->n);
}

static simplex_rc add_skipped(struct sx_store *s, int64_t conn_id, const struct sx_skipped *k)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_SKIPPED_ADD);
    put_skipped_name(&q, conn_id, k);
    sx_q_put_blob(&q, sx_bytes(k->mk, sizeof k->mk));
    sx_q_put_blob(&q, sx_bytes(k->iv, sizeof k->iv));
    return sx_q_run(&q);
}

/* Each message may skip 512 others, and every key is tried on every message: the oldest go. */
static simplex_rc trim_skipped(struct sx_store *s, int64_t conn_id, size_t n)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_SKIPPED_TRIM);
    sx_q_put_i64(&q, conn_id);
    sx_q_put_i64(&q, (int64_t)n);
    return sx_q_run(&q);
}

static simplex_rc forget_skipped(struct sx_store *s, int64_t conn_id,
                                 const struct sx_skipped_diff *diff)
{
    struct sx_q q;

    if (diff == NULL) {
        sx_q_start(&q, s, SQL_SKIPPED_DELETE_ALL);
        sx_q_put_i64(&q, conn_id);
        return sx_q_run(&q);
    }
    if (!diff->removed)
        return SIMPLEX_OK;
    sx_q_start(&q, s, SQL_SKIPPED_DELETE);
    put_skipped_name(&q, conn_id, &diff->gone);
    return sx_q_run(&q);
}

static simplex_rc put_state(struct sx_store *s, int64_t conn_id, const struct sx_ratchet *r)
{
    struct sx_q q;

    sx_ratchet_encode(&s->scratch, r);
    simplex_rc rc = sx_db_encoded(s);
    if (rc == SIMPLEX_OK) {
        sx_q_start(&q, s, SQL_RATCHET_PUT);
        sx_q_put_blob(&q, sx_wr_bytes(&s->scratch));
        sx_q_put_i64(&q, conn_id);
        rc = sx_q_run_one(&q);
    }
    sx_db_scratch_wipe(s);
    return rc;
}

simplex_rc sx_store_ratchet_put(struct sx_store *s, int64_t conn_id, const struct sx_ratchet *r,
                                const struct sx_skipped_diff *diff)
{
    size_t added = diff == NULL ? r->n_skipped : diff->added;
    bool own;

    if (added > r->n_skipped)
        return SIMPLEX_E_ARG;
    simplex_rc rc = sx_db_group(s, &own);
    if (rc != SIMPLEX_OK)
        return rc;
    rc = put_state(s, conn_id, r);
    if (rc == SIMPLEX_OK)
        rc = forget_skipped(s, conn_id, diff);
    for (size_t i = r->n_skipped - added; rc == SIMPLEX_OK && i < r->n_skipped; i++)
        rc = add_skipped(s, conn_id, &r->skipped[i]);
    if (rc == SIMPLEX_OK && added > 0 && r->n_skipped > SX_SKIPPED_STORED_MAX)
        rc = trim_skipped(s, conn_id, r->n_skipped - SX_SKIPPED_STORED_MAX);
    return sx_db_group_end(s, own, rc);
}

static simplex_rc get_skipped(struct sx_store *s, int64_t conn_id, struct sx_ratchet *r)
{
    struct sx_skipped k;
    struct sx_q q;
    simplex_rc rc;

    sx_q_start(&q, s, SQL_SKIPPED_LIST);
    sx_q_put_i64(&q, conn_id);
    while ((rc = sx_q_row(&q)) == SIMPLEX_OK) {
        sx_q_copy(&q, k.hk, sizeof k.hk);
        k.n = sx_q_uint(&q, UINT32_MAX);
        sx_q_copy(&q, k.mk, sizeof k.mk);
        sx_q_copy(&q, k.iv, sizeof k.iv);
        rc = q.bad ? SIMPLEX_E_DB_DAMAGED : sx_ratchet_add_skipped(r, &k);
        if (rc != SIMPLEX_OK)
            break;
    }
    sx_wipe(&k, sizeof k);
    simplex_rc end = sx_q_done(&q);
    return rc == SIMPLEX_E_NOT_FOUND ? end : rc;
}

/* What we stored and cannot read any more is damage; what memory refuses is not. */
static simplex_rc decoded(simplex_rc rc)
{
    return rc == SIMPLEX_OK || rc == SIMPLEX_E_NOMEM ? rc : SIMPLEX_E_DB_DAMAGED;
}

simplex_rc sx_store_ratchet_get_snd(struct sx_store *s, int64_t conn_id, struct sx_ratchet *r)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_RATCHET_GET);
    sx_q_put_i64(&q, conn_id);
    simplex_rc rc = sx_q_row(&q);
    if (rc != SIMPLEX_OK)
        return rc;
    memset(r, 0, sizeof *r);
    rc = decoded(sx_ratchet_decode(sx_q_blob(&q), r));
    simplex_rc read = sx_q_done(&q);
    if (read != SIMPLEX_OK)
        rc = read;
    if (rc != SIMPLEX_OK)
        sx_ratchet_wipe(r);
    return rc;
}

simplex_rc sx_store_ratchet_get(struct sx_store *s, int64_t conn_id, struct sx_ratchet *r)
{
    simplex_rc rc = sx_store_ratchet_get_snd(s, conn_id, r);

    if (rc != SIMPLEX_OK)
        return rc;
    rc = get_skipped(s, conn_id, r);
    if (rc != SIMPLEX_OK)
        sx_ratchet_wipe(r);
    return rc;
}

simplex_rc sx_store_ratchet_delete(struct sx_store *s, int64_t conn_id)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_RATCHET_DELETE);
    sx_q_put_i64(&q, conn_id);
    return sx_q_run_one(&q);
}

simplex_rc sx_store_x3dh_put(struct sx_store *s, int64_t conn_id, const struct sx_x3dh_keys *k)
{
    struct sx_q q;

    sx_x3dh_keys_encode(&s->scratch, k);
    simplex_rc rc = sx_db_encoded(s);
    if (rc == SIMPLEX_OK) {
        sx_q_start(&q, s, SQL_X3DH_PUT);
        sx_q_put_i64(&q, conn_id);
        sx_q_put_blob(&q, sx_wr_bytes(&s->scratch));
        rc = sx_q_run(&q);
    }
    sx_db_scratch_wipe(s);
    return rc;
}

simplex_rc sx_store_x3dh_get(struct sx_store *s, int64_t conn_id, struct sx_x3dh_keys *k)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_X3DH_GET);
    sx_q_put_i64(&q, conn_id);
    simplex_rc rc = sx_q_row(&q);
    if (rc != SIMPLEX_OK)
        return rc;
    rc = decoded(sx_x3dh_keys_decode(sx_q_blob(&q), k));
    simplex_rc read = sx_q_done(&q);
    if (read != SIMPLEX_OK)
        rc = read;
    if (rc != SIMPLEX_OK)
        sx_x3dh_keys_wipe(k);
    return rc;
}

simplex_rc sx_store_x3dh_delete(struct sx_store *s, int64_t conn_id)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_X3DH_DELETE);
    sx_q_put_i64(&q, conn_id);
    return sx_q_run(&q);
}

simplex_rc sx_store_key_hash_add(struct sx_store *s, int64_t conn_id, const uint8_t hash[32],
                                 int64_t now, int64_t before)
{
    struct sx_q q;
    bool own;
    simplex_rc rc = sx_db_group(s, &own);

    if (rc != SIMPLEX_OK)
        return rc;
    sx_q_start(&q, s, SQL_KEY_HASH_FORGET);
    sx_q_put_i64(&q, conn_id);
    sx_q_put_i64(&q, before);
    rc = sx_q_run(&q);
    if (rc == SIMPLEX_OK) {
        sx_q_start(&q, s, SQL_KEY_HASH_ADD);
        sx_q_put_i64(&q, conn_id);
        sx_q_put_blob(&q, sx_bytes(hash, 32));
        sx_q_put_i64(&q, now);
        rc = sx_q_run(&q);
    }
    return sx_db_group_end(s, own, rc);
}

simplex_rc sx_store_key_hash_known(struct sx_store *s, int64_t conn_id, const uint8_t hash[32],
                                   bool *known)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_KEY_HASH_KNOWN);
    sx_q_put_i64(&q, conn_id);
    sx_q_put_blob(&q, sx_bytes(hash, 32));
    simplex_rc rc = sx_q_row(&q);
    *known = rc == SIMPLEX_OK;
    if (rc == SIMPLEX_E_NOT_FOUND)
        return SIMPLEX_OK;
    return rc == SIMPLEX_OK ? sx_q_done(&q) : rc;
}

simplex_rc sx_store_key_hash_count(struct sx_store *s, int64_t conn_id, int64_t since,
                                   int64_t until, int64_t *n)
{
    struct sx_q q;

    *n = 0;
    sx_q_start(&q, s, SQL_KEY_HASH_COUNT);
    sx_q_put_i64(&q, conn_id);
    sx_q_put_i64(&q, since);
    sx_q_put_i64(&q, until);
    simplex_rc rc = sx_q_row(&q);
    if (rc != SIMPLEX_OK)
        return rc;
    *n = sx_q_i64(&q);
    return sx_q_done(&q);
}
