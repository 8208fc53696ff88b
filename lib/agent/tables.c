/* SPDX-License-Identifier: Apache-2.0 */
/* Runtime tables: what the network is doing for which queue. Small, rebuilt from the database. */
#include "agent/event.h"
#include "agent/push.h"
#include "agent/route.h"
#include "agent/services.h"
#include "agent/users.h"
#include "agent/work.h"

static size_t by_id(int64_t id)
{
    return (size_t)((uint64_t)id % SX_TABLE);
}

/* Queue ids are random bytes chosen by servers: a keyless hash of the first ones would let a
 * server pile them up in one bucket, so all bytes are mixed with a per-process value. */
static size_t by_rcv_id(const struct simplex_agent *a, simplex_bytes id)
{
    uint64_t h = 0xcbf29ce484222325u ^ (uint64_t)(uintptr_t)a;

    for (size_t i = 0; i < id.len; i++)
        h = (h ^ id.ptr[i]) * 0x100000001b3u;
    return (size_t)((h ^ h >> 32) % SX_TABLE);
}

simplex_rc sx_rt_server_get(struct simplex_agent *a, int64_t conn, const struct sx_server *server,
                            struct sx_rt_server **out)
{
    int64_t user;
    simplex_rc rc = sx_user_of(a, conn, &user);

    if (rc != SIMPLEX_OK)
        return rc;
    return sx_rt_server_for(a, user, a->net_cfg.isolation == SX_ISOLATE_ENTITY ? conn : 0, server,
                            out);
}

simplex_rc sx_rt_server_for(struct simplex_agent *a, int64_t user, int64_t entity,
                            const struct sx_server *server, struct sx_rt_server **out)
{
    struct sx_client *client;
    simplex_rc rc = sx_net_client_of(a->net, server, user, entity, &client);

    if (rc != SIMPLEX_OK)
        return rc;
    *out = sx_rt_server_of(a, client);
    if (*out != NULL) {
        (*out)->used_at = sx_mono_ms();
        return SIMPLEX_OK;
    }
    struct sx_rt_server *s = sx_calloc(1, sizeof *s);
    if (s == NULL)
        return SIMPLEX_E_NOMEM;
    s->client = client;
    s->user = user;
    s->used_at = sx_mono_ms();
    s->next = a->rt_servers;
    a->rt_servers = s;
    sx_client_set_data(client, s);
    *out = s;
    return SIMPLEX_OK;
}

struct sx_rt_server *sx_rt_server_of(struct simplex_agent *a, const struct sx_client *c)
{
    (void)a;
    return sx_client_data(c);
}

static void server_free(struct sx_rt_server *s)
{
    sx_svc_free(s);
    sx_free(s->subscribed);
    sx_free(s);
}

void sx_rt_server_forget(struct simplex_agent *a, struct sx_rt_server *s)
{
    struct sx_rt_server **p = &a->rt_servers;

    while (*p != s)
        p = &(*p)->next;
    *p = s->next;
    sx_lost_drop(a, s->client);
    sx_client_drop(s->client);
    server_free(s);
}

/* ---- receiving queues ---- */

static size_t *counter(struct sx_rt_rcvq *q, enum sx_sub_state s)
{
    switch (s) {
    case SX_SUB_PENDING:
        return &q->server->n_pending;
    case SX_SUB_SENT:
        return &q->server->n_sent;
    case SX_SUB_ACTIVE:
        return &q->server->n_active;
    case SX_SUB_NONE:
        break;
    }
    return NULL;
}

void sx_rt_sub_set(struct sx_rt_rcvq *q, enum sx_sub_state to)
{
    size_t *from = counter(q, (enum sx_sub_state)q->sub);
    size_t *into = counter(q, to);

    if (from != NULL)
        --*from;
    if (into != NULL)
        ++*into;
    q->sub = (uint8_t)to;
    q->server->subs_changed = true;
}

static void rcvq_free(struct sx_rt_rcvq *q)
{
    sx_free(q->rcv_id);
    sx_free(q->held);
    sx_event_delete(q->fetched);
    if (q->auth != NULL)
        sx_free_secret(q->auth, sizeof *q->auth);
    sx_free(q);
}

/* Only as long as the id is: most ids have 24 bytes, the field has room for 255. */
static struct sx_id *trimmed(const struct sx_id *id)
{
    size_t n = offsetof(struct sx_id, b) + id->len;
    struct sx_id *copy = sx_malloc(n);

    if (copy != NULL)
        memcpy(copy, id, n);
    return copy;
}

static struct sx_rt_rcvq *rcvq_new(const struct sx_rcv_queue *q, bool want)
{
    struct sx_rt_rcvq *rt = sx_calloc(1, sizeof *rt);

    if (rt == NULL)
        return NULL;
    rt->id = q->id;
    rt->conn = q->conn_id;
    rt->want = want;
    rt->rcv_id = trimmed(&q->rcv_id);
    rt->auth = sx_malloc(sizeof *rt->auth);
    if (rt->rcv_id == NULL || rt->auth == NULL) {
        rcvq_free(rt);
        return NULL;
    }
    *rt->auth = q->auth;
    return rt;
}

simplex_rc sx_rt_rcvq_add(struct simplex_agent *a, const struct sx_rcv_queue *q, bool want,
                          uint8_t sub)
{
    struct sx_rt_server *s;
    simplex_rc rc;

    if (sx_rt_rcvq_by_id(a, q->id) != NULL)
        return SIMPLEX_OK;
    rc = sx_rt_server_get(a, q->conn_id, &q->server, &s);
    if (rc == SIMPLEX_OK)
        rc = sx_svc_use(a, s);
    if (rc != SIMPLEX_OK)
        return rc;
    struct sx_rt_rcvq *rt = rcvq_new(q, want);
    if (rt == NULL)
        return SIMPLEX_E_NOMEM;
    size_t b = by_rcv_id(a, sx_id_bytes(&q->rcv_id));
    rt->server = s;
    rt->next_server = s->queues;
    s->queues = rt;
    rt->next_hash = a->rcvqs[b];
    a->rcvqs[b] = rt;
    size_t i = by_id(q->id);
    rt->next_id = a->rcvqs_by_id[i];
    a->rcvqs_by_id[i] = rt;
    sx_rt_sub_set(rt, (enum sx_sub_state)sub);
    if (want)
        sx_client_want(s->client, true);
    return SIMPLEX_OK;
}

struct sx_rt_rcvq *sx_rt_rcvq_find(struct simplex_agent *a, const struct sx_client *c,
                                   simplex_bytes rcv_id)
{
    struct sx_rt_rcvq *q = a->rcvqs[by_rcv_id(a, rcv_id)];

    while (q != NULL && !(q->server->client == c && sx_bytes_eq(sx_id_bytes(q->rcv_id), rcv_id)))
        q = q->next_hash;
    return q;
}

struct sx_rt_rcvq *sx_rt_rcvq_by_id(struct simplex_agent *a, int64_t id)
{
    struct sx_rt_rcvq *q = a->rcvqs_by_id[by_id(id)];

    while (q != NULL && q->id != id)
        q = q->next_id;
    return q;
}

void sx_rt_rcvq_remove(struct simplex_agent *a, int64_t id)
{
    struct sx_rt_rcvq *q = sx_rt_rcvq_by_id(a, id), **p;

    if (q == NULL)
        return;
    sx_fetch_gone(a, q);
    sx_rt_sub_set(q, SX_SUB_NONE);
    for (p = &q->server->queues; *p != q; p = &(*p)->next_server)
        continue;
    *p = q->next_server;
    for (p = &a->rcvqs[by_rcv_id(a, sx_id_bytes(q->rcv_id))]; *p != q; p = &(*p)->next_hash)
        continue;
    *p = q->next_hash;
    for (p = &a->rcvqs_by_id[by_id(id)]; *p != q; p = &(*p)->next_id)
        continue;
    *p = q->next_id;
    rcvq_free(q);
}

/* ---- workers ---- */

struct sx_rt_sndq *sx_rt_sndq_get(struct simplex_agent *a, int64_t id, bool make)
{
    struct sx_rt_sndq *w = a->sndqs[by_id(id)];

    while (w != NULL && w->id != id)
        w = w->next;
    if (w != NULL || !make)
        return w;
    w = sx_calloc(1, sizeof *w);
    if (w == NULL)
        return NULL;
    w->id = id;
    w->next = a->sndqs[by_id(id)];
    a->sndqs[by_id(id)] = w;
    return w;
}

struct sx_rt_conn *sx_rt_conn_get(struct simplex_agent *a, int64_t id, bool make)
{
    struct sx_rt_conn *w = a->conns[by_id(id)];

    while (w != NULL && w->id != id)
        w = w->next;
    if (w != NULL || !make)
        return w;
    w = sx_calloc(1, sizeof *w);
    if (w == NULL)
        return NULL;
    w->id = id;
    w->next = a->conns[by_id(id)];
    a->conns[by_id(id)] = w;
    return w;
}

void sx_rt_sndq_remove(struct simplex_agent *a, int64_t id)
{
    struct sx_rt_sndq **p = &a->sndqs[by_id(id)], *w;

    while (*p != NULL && (*p)->id != id)
        p = &(*p)->next;
    w = *p;
    if (w != NULL) {
        *p = w->next;
        sx_free(w);
    }
}

void sx_rt_conn_remove(struct simplex_agent *a, int64_t id)
{
    struct sx_rt_conn **p = &a->conns[by_id(id)], *w;

    while (*p != NULL && (*p)->id != id)
        p = &(*p)->next;
    w = *p;
    if (w != NULL) {
        *p = w->next;
        sx_free(w);
    }
}

static void clear_workers(struct simplex_agent *a, size_t b)
{
    while (a->sndqs[b] != NULL)
        sx_rt_sndq_remove(a, a->sndqs[b]->id);
    while (a->conns[b] != NULL)
        sx_rt_conn_remove(a, a->conns[b]->id);
}

/* Servers stay: their clients live as long as the net, and point at them. */
void sx_rt_clear(struct simplex_agent *a)
{
    for (size_t b = 0; b < SX_TABLE; b++)
        clear_workers(a, b);
    for (struct sx_rt_server *s = a->rt_servers; s != NULL; s = s->next) {
        while (s->queues != NULL)
            sx_rt_rcvq_remove(a, s->queues->id);
        s->n_subscribed = 0;
        s->timed_out = false;
    }
    a->left = false;
}

void sx_rt_free(struct simplex_agent *a)
{
    sx_rt_clear(a);
    sx_fetches_free(a);
    sx_routes_free(a);
    while (a->rt_servers != NULL) {
        struct sx_rt_server *next = a->rt_servers->next;
        server_free(a->rt_servers);
        a->rt_servers = next;
    }
}
