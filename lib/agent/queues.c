/* SPDX-License-Identifier: Apache-2.0 */
/* Public functions for connections with several queues. */
#include "agent/address.h"
#include "agent/check.h"
#include "agent/handshake.h"
#include "agent/route.h"
#include "agent/several.h"
#include "agent/switch.h"

static bool valid_options(const simplex_connection_options *o)
{
    return o == NULL || (o->size >= sizeof *o && o->queues >= 0 && o->queues <= SIMPLEX_QUEUES_MAX);
}

/* ---- new connections ---- */

enum { CREATE, JOIN, ACCEPT };

struct begin_args {
    int what;
    simplex_bytes link, info;
    int64_t request, user;
    int32_t pq, queues;
    int64_t conn;
};

static simplex_rc do_begin(struct simplex_agent *a, void *p)
{
    struct begin_args *x = p;
    simplex_rc rc;

    a->queues_of_call = x->queues;
    switch (x->what) {
    case CREATE:
        rc = sx_create(a, x->user, x->pq, &x->conn);
        break;
    case JOIN:
        rc = sx_join(a, x->user, x->link, x->info, x->pq, &x->conn);
        break;
    default:
        rc = sx_accept(a, x->request, x->info, x->pq, &x->conn);
    }
    a->queues_of_call = 0;
    return rc;
}

static simplex_rc begin(simplex_agent *a, struct begin_args *x, const simplex_connection_options *o,
                        int64_t *conn)
{
    simplex_rc rc;

    CHECK(a != NULL && conn != NULL && valid(x->link) && valid(x->info) && valid_pq(x->pq) &&
          valid_options(o));
    x->queues = o != NULL ? o->queues : 0;
    x->user = o != NULL && o->user != 0 ? o->user : SIMPLEX_USER_DEFAULT;
    rc = sx_agent_run(a, do_begin, x, true);
    *conn = rc == SIMPLEX_OK ? x->conn : 0;
    return rc;
}

simplex_rc simplex_agent_create_with(simplex_agent *a, int32_t pq,
                                     const simplex_connection_options *options, int64_t *conn)
{
    struct begin_args x = { .what = CREATE, .pq = pq };

    return begin(a, &x, options, conn);
}

simplex_rc simplex_agent_join_with(simplex_agent *a, simplex_bytes link, simplex_bytes info,
                                   int32_t pq, const simplex_connection_options *options,
                                   int64_t *conn)
{
    struct begin_args x = { .what = JOIN, .link = link, .info = info, .pq = pq };

    return begin(a, &x, options, conn);
}

simplex_rc simplex_agent_accept_with(simplex_agent *a, int64_t request, simplex_bytes info,
                                     int32_t pq, const simplex_connection_options *options,
                                     int64_t *conn)
{
    struct begin_args x = { .what = ACCEPT, .request = request, .info = info, .pq = pq };

    return begin(a, &x, options, conn);
}

/* ---- queues that come and go ---- */

struct queue_args {
    int64_t conn, queue;
    simplex_bytes server;
    size_t index;
    simplex_queue_info *out;
};

static simplex_rc do_add(struct simplex_agent *a, void *p)
{
    struct queue_args *x = p;

    return sx_queue_add(a, x->conn, x->server, &x->queue);
}

simplex_rc simplex_agent_add_queue(simplex_agent *a, int64_t conn, simplex_bytes server,
                                   int64_t *queue)
{
    struct queue_args x = { .conn = conn, .server = server };
    simplex_rc rc;

    CHECK(a != NULL && valid(server));
    rc = sx_agent_run(a, do_add, &x, true);
    if (queue != NULL)
        *queue = rc == SIMPLEX_OK ? x.queue : 0;
    return rc;
}

static simplex_rc do_remove(struct simplex_agent *a, void *p)
{
    struct queue_args *x = p;

    return sx_queue_remove(a, x->conn, x->queue);
}

simplex_rc simplex_agent_remove_queue(simplex_agent *a, int64_t conn, int64_t queue)
{
    struct queue_args x = { .conn = conn, .queue = queue };

    CHECK(a != NULL);
    return sx_agent_run(a, do_remove, &x, true);
}

static simplex_rc do_switch(struct simplex_agent *a, void *p)
{
    struct queue_args *x = p;

    return sx_switch_start(a, x->conn, x->queue, x->server);
}

simplex_rc simplex_agent_switch_queue(simplex_agent *a, int64_t conn, int64_t queue,
                                      simplex_bytes server)
{
    struct queue_args x = { .conn = conn, .queue = queue, .server = server };

    CHECK(a != NULL && valid(server) && queue >= 0);
    return sx_agent_run(a, do_switch, &x, true);
}

/* ---- looking ---- */

static simplex_rc put_server(simplex_queue_info *out, const struct sx_server *server)
{
    char *text = sx_server_text(server);

    if (text == NULL)
        return SIMPLEX_E_NOMEM;
    memcpy(out->server, text, strlen(text) + 1); /* a host and a port: shorter than the field */
    sx_free(text);
    return SIMPLEX_OK;
}

static int32_t rcv_state(const struct sx_conn *c, const struct sx_rcv_queue *q,
                         const struct sx_rt_rcvq *rt)
{
    if (q->switch_state == SX_SW_REMOVE)
        return SIMPLEX_QUEUE_ENDING;
    if (q->replaces != 0 || (q->switch_state != SX_SW_NONE && !sx_is_added(q)))
        return SIMPLEX_QUEUE_MOVING;
    if (q->rcv_id.len == 0 || sx_is_added(q) || c->state != SX_CONN_READY)
        return SIMPLEX_QUEUE_MAKING;
    if (rt != NULL && rt->lost)
        return SIMPLEX_QUEUE_LOST;
    return q->primary || q->status == SX_Q_ACTIVE ? SIMPLEX_QUEUE_IN_USE : SIMPLEX_QUEUE_WAITING;
}

static simplex_rc rcv_info(struct simplex_agent *a, const struct sx_conn *c,
                           const struct sx_rcv_queue *q, simplex_queue_info *out)
{
    const struct sx_rt_rcvq *rt = sx_rt_rcvq_by_id(a, q->id);
    struct sx_queue_counts n;
    simplex_rc rc = sx_store_counts_get(a->store, q->id, &n);

    if (rc != SIMPLEX_OK)
        return rc;
    out->id = q->id;
    out->direction = SIMPLEX_SWITCH_RCV;
    out->state = rcv_state(c, q, rt);
    out->primary = q->primary;
    out->subscribed = rt != NULL && rt->sub == SX_SUB_ACTIVE;
    out->received = n.received;
    out->missed = n.missed;
    out->suspended = q->suspended;
    if (c->rcv_queues > 1 && !sx_is_added(q) && q->replaces == 0 &&
        c->last_rcv_ext_id > n.last_ext_id)
        out->behind = c->last_rcv_ext_id - n.last_ext_id;
    out->last_time = n.last_ts;
    return put_server(out, &q->server);
}

static int32_t snd_state(const struct sx_snd_queue *q)
{
    if (q->status == SX_Q_DISABLED)
        return SIMPLEX_QUEUE_ENDING;
    if (q->replaces != 0 || q->switch_state == SX_SW_QKEY || q->switch_state == SX_SW_QTEST)
        return SIMPLEX_QUEUE_MOVING;
    return q->status == SX_Q_NEW ? SIMPLEX_QUEUE_MAKING : SIMPLEX_QUEUE_IN_USE;
}

static simplex_rc snd_info(struct simplex_agent *a, const struct sx_snd_queue *q,
                           simplex_queue_info *out)
{
    out->id = q->id;
    out->direction = SIMPLEX_SWITCH_SND;
    out->state = snd_state(q);
    out->primary = q->primary;
    simplex_rc rc = sx_store_delivery_count_of(a->store, q->id, &out->pending);
    return rc == SIMPLEX_OK ? put_server(out, &q->server) : rc;
}

static simplex_rc do_queue(struct simplex_agent *a, void *p)
{
    struct queue_args *x = p;
    struct sx_conn c;
    struct sx_rcv_queue q;
    struct sx_snd_queue sq;
    size_t size = x->out->size, at = 0;
    simplex_rc rc = sx_store_conn_get(a->store, x->conn, &c);

    if (rc != SIMPLEX_OK || c.deleted)
        return rc != SIMPLEX_OK ? rc : SIMPLEX_E_NOT_FOUND;
    memset(x->out, 0, sizeof *x->out);
    x->out->size = size;
    for (unsigned n = 0; (rc = sx_store_rcvq_of(a->store, c.id, n, &q)) == SIMPLEX_OK; n++) {
        if (!q.deleted && at++ == x->index) {
            rc = rcv_info(a, &c, &q, x->out);
            sx_wipe(&q, sizeof q);
            return rc;
        }
    }
    sx_wipe(&q, sizeof q);
    if (rc != SIMPLEX_E_NOT_FOUND || x->index - at > UINT16_MAX)
        return rc;
    rc = sx_store_sndq_of(a->store, c.id, (unsigned)(x->index - at), &sq);
    if (rc == SIMPLEX_OK)
        rc = snd_info(a, &sq, x->out);
    sx_wipe(&sq, sizeof sq);
    return rc;
}

simplex_rc simplex_agent_queue(simplex_agent *a, int64_t conn, size_t index,
                               simplex_queue_info *out)
{
    struct queue_args x = { .conn = conn, .index = index, .out = out };

    CHECK(a != NULL && out != NULL && out->size >= sizeof *out);
    return sx_agent_run(a, do_queue, &x, false);
}
