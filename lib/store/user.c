/* SPDX-License-Identifier: Apache-2.0 */
/* Users, and the servers that each of them has chosen. */
#include "store/db.h"

/* In the order of USER in sql.c. */
static void put(struct sx_q *q, const struct sx_user_row *u)
{
    sx_q_put_i64(q, u->active);
    sx_q_put_i64(q, u->deleted);
    sx_q_put_i64(q, u->own_servers);
    sx_q_put_some(q, sx_bytes(u->servers_hash, u->has_hash ? sizeof u->servers_hash : 0));
    sx_q_put_i64(q, u->servers_version);
    sx_q_put_i64(q, u->servers_changed_at);
    sx_q_put_i64(q, u->created_at);
}

simplex_rc sx_store_user_add(struct sx_store *s, struct sx_user_row *u)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_USER_ADD);
    put(&q, u);
    simplex_rc rc = sx_q_run(&q);
    if (rc == SIMPLEX_OK)
        u->id = sqlite3_last_insert_rowid(s->db);
    return rc;
}

simplex_rc sx_store_user_next(struct sx_store *s, int64_t after, struct sx_user_row *u)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_USER_NEXT);
    sx_q_put_i64(&q, after);
    simplex_rc rc = sx_q_row(&q);
    if (rc != SIMPLEX_OK)
        return rc;
    *u = (struct sx_user_row){ .id = sx_q_i64(&q) };
    u->active = sx_q_bool(&q);
    u->deleted = sx_q_bool(&q);
    u->own_servers = sx_q_bool(&q);
    u->has_hash = sx_q_maybe_copy(&q, u->servers_hash, sizeof u->servers_hash);
    u->servers_version = sx_q_i64(&q);
    u->servers_changed_at = sx_q_i64(&q);
    u->created_at = sx_q_i64(&q);
    return sx_q_done(&q);
}

simplex_rc sx_store_user_update(struct sx_store *s, const struct sx_user_row *u)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_USER_UPDATE);
    put(&q, u);
    sx_q_put_i64(&q, u->id);
    return sx_q_run_one(&q);
}

simplex_rc sx_store_user_delete(struct sx_store *s, int64_t id)
{
    int64_t conn;
    size_t n = 1;
    struct sx_q q;
    simplex_rc rc = sx_store_conn_list_user(s, id, 0, &conn, &n);

    if (rc == SIMPLEX_OK && n > 0)
        rc = SIMPLEX_E_PROHIBITED;
    if (rc != SIMPLEX_OK)
        return rc;
    sx_q_start(&q, s, SQL_USER_DELETE);
    sx_q_put_i64(&q, id);
    return sx_q_run(&q);
}

simplex_rc sx_store_user_server_add(struct sx_store *s, const struct sx_server_row *r)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_USER_SERVER_ADD);
    sx_q_put_i64(&q, r->user_id);
    sx_q_put_i64(&q, r->position);
    sx_q_put_blob(&q, r->server);
    sx_q_put_i64(&q, r->operator_id);
    sx_q_put_i64(&q, r->flags);
    return sx_q_run(&q);
}

simplex_rc sx_store_user_server_next(struct sx_store *s, int64_t user_id, int64_t after,
                                     struct sx_server_row *r)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_USER_SERVER_NEXT);
    sx_q_put_i64(&q, user_id);
    sx_q_put_i64(&q, after);
    simplex_rc rc = sx_q_row(&q);
    if (rc != SIMPLEX_OK)
        return rc;
    *r = (struct sx_server_row){ .user_id = user_id };
    r->position = sx_q_i64(&q);
    r->server = sx_q_blob(&q);
    r->operator_id = sx_q_i64(&q);
    r->flags = (uint8_t)sx_q_uint(&q, UINT8_MAX);
    return sx_q_lend(&q);
}

simplex_rc sx_store_user_servers_delete(struct sx_store *s, int64_t user_id)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_USER_SERVERS_DELETE);
    sx_q_put_i64(&q, user_id);
    return sx_q_run(&q);
}
