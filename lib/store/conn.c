/* SPDX-License-Identifier: Apache-2.0 */
#include "store/db.h"

static const char *const state_words[] = {
    [SX_CONN_NEW] = "new",           [SX_CONN_INVITED] = "invited",
    [SX_CONN_JOINING] = "joining",   [SX_CONN_CONFIRMED] = "confirmed",
    [SX_CONN_ACCEPTED] = "accepted", [SX_CONN_READY] = "ready",
    [SX_CONN_REQUESTED] = "requested", [SX_CONN_LOOKING] = "looking",
    [SX_CONN_LOOKED] = "looked",
};
static const char *const role_words[] = { NULL, "I", "J", "A" };
static const uint8_t roles[] = { 0, SX_INITIATOR, SX_JOINER, SX_ADDRESS };

static size_t role_index(uint8_t role)
{
    size_t i = SX_COUNT(roles) - 1;

    while (i > 0 && roles[i] != role)
        i--;
    return i;
}

static simplex_bytes hash_or_none(const uint8_t hash[32], bool has)
{
    return sx_bytes(hash, has ? 32 : 0);
}

/* In the order of CONN in sql.c. E_ARG when c is not what the columns can hold. */
static void put(struct sx_q *q, const struct sx_conn *c)
{
    if (c->state >= SX_COUNT(state_words) || state_words[c->state] == NULL ||
        role_index(c->role) == 0 || c->sync_state > SX_SYNC_AGREED) {
        q->rc = SIMPLEX_E_ARG;
        return;
    }
    sx_q_put_i64(q, c->user != 0 ? c->user : SX_USER_DEFAULT);
    sx_q_put_text(q, role_words[role_index(c->role)]);
    sx_q_put_text(q, state_words[c->state]);
    sx_q_put_i64(q, c->agent_version);
    sx_q_put_i64(q, c->pq_support);
    sx_q_put_i64(q, c->deleted);
    sx_q_put_i64(q, c->subscribe);
    sx_q_put_i64(q, c->last_id);
    sx_q_put_i64(q, c->last_snd_id);
    sx_q_put_i64(q, c->last_rcv_ext_id);
    sx_q_put_i64(q, c->received);
    sx_q_put_some(q, hash_or_none(c->last_snd_hash, c->has_snd_hash));
    sx_q_put_some(q, hash_or_none(c->last_rcv_hash, c->has_rcv_hash));
    sx_q_put_i64(q, c->sync_state);
    sx_q_put_i64(q, c->created_at);
    sx_q_put_i64(q, c->rcv_queues);
    sx_q_put_i64(q, c->peer_several);
    sx_q_put_i64(q, c->rcv_others);
    sx_q_put_i64(q, c->gap_first);
    sx_q_put_i64(q, c->gap_last);
    sx_q_put_i64(q, c->old_copy);
    sx_q_put_i64(q, c->crossed);
    sx_q_put_i64(q, c->suspended);
}

static void get(struct sx_q *q, struct sx_conn *c)
{
    c->user = sx_q_i64(q);
    c->role = roles[sx_q_word(q, role_words, SX_COUNT(role_words))];
    c->state = sx_q_word(q, state_words, SX_COUNT(state_words));
    c->agent_version = (uint16_t)sx_q_uint(q, UINT16_MAX);
    c->pq_support = sx_q_bool(q);
    c->deleted = sx_q_bool(q);
    c->subscribe = sx_q_bool(q);
    c->last_id = sx_q_i64(q);
    c->last_snd_id = sx_q_i64(q);
    c->last_rcv_ext_id = sx_q_i64(q);
    c->received = sx_q_i64(q);
    c->has_snd_hash = sx_q_maybe_copy(q, c->last_snd_hash, 32);
    c->has_rcv_hash = sx_q_maybe_copy(q, c->last_rcv_hash, 32);
    c->sync_state = (uint8_t)sx_q_uint(q, SX_SYNC_AGREED);
    c->created_at = sx_q_i64(q);
    c->rcv_queues = (uint8_t)sx_q_uint(q, UINT8_MAX);
    c->peer_several = sx_q_bool(q);
    c->rcv_others = sx_q_i64(q);
    c->gap_first = sx_q_i64(q);
    c->gap_last = sx_q_i64(q);
    c->old_copy = sx_q_bool(q);
    c->crossed = sx_q_bool(q);
    c->suspended = sx_q_bool(q);
}

simplex_rc sx_store_conn_add(struct sx_store *s, struct sx_conn *c)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_CONN_ADD);
    put(&q, c);
    simplex_rc rc = sx_q_run(&q);
    if (rc == SIMPLEX_OK)
        c->id = sqlite3_last_insert_rowid(s->db);
    return rc;
}

simplex_rc sx_store_conn_get(struct sx_store *s, int64_t id, struct sx_conn *c)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_CONN_GET);
    sx_q_put_i64(&q, id);
    simplex_rc rc = sx_q_row(&q);
    if (rc != SIMPLEX_OK)
        return rc;
    *c = (struct sx_conn){ .id = id };
    get(&q, c);
    return sx_q_done(&q);
}

simplex_rc sx_store_conn_update(struct sx_store *s, const struct sx_conn *c)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_CONN_UPDATE);
    put(&q, c);
    sx_q_put_i64(&q, c->id);
    return sx_q_run_one(&q);
}

simplex_rc sx_store_conn_delete(struct sx_store *s, int64_t id)
{
    static const enum sx_sql steps[] = { SQL_EVENT_DELETE_CONN, SQL_SND_MSG_DELETE_CONN,
                                         SQL_CONN_DELETE };
    struct sx_q q;
    bool own;
    simplex_rc rc = sx_db_group(s, &own);

    if (rc != SIMPLEX_OK)
        return rc;
    for (size_t i = 0; rc == SIMPLEX_OK && i < SX_COUNT(steps); i++) {
        sx_q_start(&q, s, steps[i]);
        sx_q_put_i64(&q, id);
        rc = sx_q_run(&q);
    }
    return sx_db_group_end(s, own, rc);
}

simplex_rc sx_q_ids(struct sx_q *q, int64_t *ids, size_t *n)
{
    size_t room = *n;
    simplex_rc rc = SIMPLEX_OK;

    *n = 0;
    while (*n < room && (rc = sx_q_row(q)) == SIMPLEX_OK)
        ids[(*n)++] = sx_q_i64(q);
    if (rc != SIMPLEX_OK && rc != SIMPLEX_E_NOT_FOUND)
        return rc;
    return sx_q_done(q);
}

simplex_rc sx_store_conn_list(struct sx_store *s, int64_t after, int64_t *ids, size_t *n)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_CONN_LIST);
    sx_q_put_i64(&q, after);
    sx_q_put_i64(&q, (int64_t)*n);
    return sx_q_ids(&q, ids, n);
}

simplex_rc sx_store_conn_list_user(struct sx_store *s, int64_t user, int64_t after, int64_t *ids,
                                   size_t *n)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_CONN_LIST_USER);
    sx_q_put_i64(&q, user);
    sx_q_put_i64(&q, after);
    sx_q_put_i64(&q, (int64_t)*n);
    return sx_q_ids(&q, ids, n);
}

static simplex_rc user_of(struct sx_store *s, int64_t id, int64_t *user)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_CONN_USER);
    sx_q_put_i64(&q, id);
    simplex_rc rc = sx_q_row(&q);
    if (rc != SIMPLEX_OK)
        return rc;
    *user = sx_q_i64(&q);
    return sx_q_done(&q);
}

/* Asked for when something is sent to a server, which may be slices of a row. */
simplex_rc sx_store_conn_user(struct sx_store *s, int64_t id, int64_t *user)
{
    sqlite3_stmt *lent = s->lent;

    s->lent = NULL;
    simplex_rc rc = user_of(s, id, user);
    s->lent = lent;
    return rc;
}

/* ---- farewells ---- */

simplex_rc sx_store_farewell_add(struct sx_store *s, int64_t conn, int64_t end_by)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_FAREWELL_ADD);
    sx_q_put_i64(&q, conn);
    sx_q_put_i64(&q, end_by);
    return sx_q_run(&q);
}

simplex_rc sx_store_farewell_has(struct sx_store *s, int64_t conn)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_FAREWELL_HAS);
    sx_q_put_i64(&q, conn);
    simplex_rc rc = sx_q_row(&q);
    return rc == SIMPLEX_OK ? sx_q_done(&q) : rc;
}

simplex_rc sx_store_farewell_delete(struct sx_store *s, int64_t conn)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_FAREWELL_DELETE);
    sx_q_put_i64(&q, conn);
    return sx_q_run(&q);
}

simplex_rc sx_store_farewell_first(struct sx_store *s, int64_t *conn, int64_t *end_by)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_FAREWELL_FIRST);
    simplex_rc rc = sx_q_row(&q);
    if (rc != SIMPLEX_OK)
        return rc;
    *conn = sx_q_i64(&q);
    *end_by = sx_q_i64(&q);
    return sx_q_done(&q);
}
