/* SPDX-License-Identifier: Apache-2.0 */
/* When receiving queues are rotated: policies of users and connections, and what became of them. */
#include "store/db.h"

static void put_policy(struct sx_q *q, const struct sx_rotation_policy *p)
{
    sx_q_put_i64(q, p->every);
    sx_q_put_i64(q, p->jitter);
    sx_q_put_i64(q, p->messages);
    sx_q_put_i64(q, p->spread);
    sx_q_put_i64(q, p->server_list);
    sx_q_put_i64(q, p->per_day);
}

/* What we never write would be waited for in vain, or not be waited for at all. */
static int64_t natural(struct sx_q *q)
{
    int64_t v = sx_q_i64(q);

    if (v < 0)
        q->bad = true;
    return v;
}

static void get_policy(struct sx_q *q, struct sx_rotation_policy *p)
{
    p->every = natural(q);
    p->jitter = sx_q_uint(q, 100);
    p->messages = natural(q);
    p->spread = natural(q);
    p->server_list = sx_q_bool(q);
    p->per_day = sx_q_uint(q, UINT32_MAX);
    if (p->every > SX_ROTATION_MS_MAX || p->spread > SX_ROTATION_MS_MAX)
        q->bad = true;
}

/* ---- of users ---- */

simplex_rc sx_store_user_rotation_put(struct sx_store *s, const struct sx_user_rotation *u)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_USER_ROTATION_PUT);
    sx_q_put_i64(&q, u->user);
    put_policy(&q, &u->policy);
    sx_q_put_i64(&q, u->next_at);
    sx_q_put_i64(&q, u->checked_version);
    return sx_q_run(&q);
}

simplex_rc sx_store_user_rotation_get(struct sx_store *s, int64_t user, struct sx_user_rotation *u)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_USER_ROTATION_GET);
    sx_q_put_i64(&q, user);
    simplex_rc rc = sx_q_row(&q);
    if (rc != SIMPLEX_OK)
        return rc;
    u->user = user;
    get_policy(&q, &u->policy);
    u->next_at = sx_q_i64(&q);
    u->checked_version = sx_q_i64(&q);
    return sx_q_done(&q);
}

/* ---- of connections ---- */

simplex_rc sx_store_rotation_put(struct sx_store *s, const struct sx_rotation *r)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_ROTATION_PUT);
    sx_q_put_i64(&q, r->conn_id);
    sx_q_put_i64(&q, r->own);
    put_policy(&q, &r->policy);
    sx_q_put_i64(&q, r->due_at);
    sx_q_put_i64(&q, r->planned_at);
    sx_q_put_i64(&q, r->count_at);
    sx_q_put_i64(&q, r->unlisted);
    sx_q_put_i64(&q, r->running);
    sx_q_put_i64(&q, r->attempts);
    sx_q_put_i64(&q, r->counts.started);
    sx_q_put_i64(&q, r->counts.completed);
    sx_q_put_i64(&q, r->counts.failed);
    return sx_q_run(&q);
}

static void get_counts(struct sx_q *q, struct sx_rotation_counts *c)
{
    c->started = natural(q);
    c->completed = natural(q);
    c->failed = natural(q);
}

simplex_rc sx_store_rotation_get(struct sx_store *s, int64_t conn_id, struct sx_rotation *r)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_ROTATION_GET);
    sx_q_put_i64(&q, conn_id);
    simplex_rc rc = sx_q_row(&q);
    if (rc != SIMPLEX_OK)
        return rc;
    r->conn_id = conn_id;
    r->own = sx_q_bool(&q);
    get_policy(&q, &r->policy);
    r->due_at = natural(&q);
    r->planned_at = natural(&q);
    r->count_at = natural(&q);
    r->unlisted = sx_q_bool(&q);
    r->running = sx_q_bool(&q);
    r->attempts = sx_q_uint(&q, UINT32_MAX);
    get_counts(&q, &r->counts);
    return sx_q_done(&q);
}

simplex_rc sx_store_rotation_first(struct sx_store *s, int64_t *conn_id, int64_t *due_at)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_ROTATION_FIRST);
    simplex_rc rc = sx_q_row(&q);
    if (rc != SIMPLEX_OK)
        return rc;
    *conn_id = sx_q_i64(&q);
    *due_at = sx_q_i64(&q);
    return sx_q_done(&q);
}

simplex_rc sx_store_rotation_ahead(struct sx_store *s, int64_t now, int64_t *conn_id)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_ROTATION_AHEAD);
    sx_q_put_i64(&q, now);
    simplex_rc rc = sx_q_row(&q);
    if (rc != SIMPLEX_OK)
        return rc;
    *conn_id = sx_q_i64(&q);
    return sx_q_done(&q);
}

simplex_rc sx_store_rotation_overdue(struct sx_store *s, int64_t user, int64_t now, int64_t *n)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_ROTATION_OVERDUE);
    sx_q_put_i64(&q, now);
    sx_q_put_i64(&q, user);
    simplex_rc rc = sx_q_row(&q);
    if (rc != SIMPLEX_OK)
        return rc;
    *n = sx_q_i64(&q);
    return sx_q_done(&q);
}

simplex_rc sx_store_rotation_by_count(struct sx_store *s, bool *any)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_ROTATION_BY_COUNT);
    simplex_rc rc = sx_q_row(&q);
    *any = rc == SIMPLEX_OK;
    if (rc == SIMPLEX_E_NOT_FOUND)
        return SIMPLEX_OK;
    return rc == SIMPLEX_OK ? sx_q_done(&q) : rc;
}

simplex_rc sx_store_rotation_sums(struct sx_store *s, int64_t user, struct sx_rotation_counts *c,
                                  int64_t *next_at)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_ROTATION_SUMS);
    sx_q_put_i64(&q, user);
    simplex_rc rc = sx_q_row(&q);
    if (rc != SIMPLEX_OK)
        return rc;
    get_counts(&q, c);
    *next_at = sx_q_i64(&q);
    return sx_q_done(&q);
}
