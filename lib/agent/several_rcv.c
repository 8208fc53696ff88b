/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One more receiving queue for a connection, or one less: the side that receives. A queue is added
 * with the messages of a rotation that replaces nothing (NEW, QADD, QKEY, KEY, QUSE), which a
 * reference peer refuses. So an unknown peer is asked first, with a QTEST that names a queue of our
 * own twice: a reference peer does nothing at all with it, ours answers with one that names its
 * own.
 *
 * Where this is stands in switch_state of the queue itself.
 */
#include <limits.h>

#include "agent/enqueue.h"
#include "agent/handshake.h"
#include "agent/several.h"
#include "agent/switch.h"
#include "agent/work.h"

bool sx_is_added(const struct sx_rcv_queue *q)
{
    return q->switch_state >= SX_SW_ADD_NEW && q->switch_state <= SX_SW_ADD_QUSE;
}

static simplex_rc set_state(struct simplex_agent *a, struct sx_rcv_queue *q,
                            enum sx_switch_state state)
{
    q->switch_state = (uint8_t)state;
    return sx_store_rcvq_update(a->store, q);
}

/* ---- how many there are ---- */

struct counted {
    unsigned queues; /* a rotation's two count as one */
    unsigned others; /* in use, beside `but` */
    int64_t next;    /* of these the first, or another one; 0: there is none */
};

/* It is there for the database, but nothing will ever come through it. */
static bool is_lost(struct simplex_agent *a, int64_t queue)
{
    const struct sx_rt_rcvq *rt = sx_rt_rcvq_by_id(a, queue);

    return rt != NULL && rt->lost;
}

static simplex_rc count(struct simplex_agent *a, int64_t conn, int64_t but, struct counted *out)
{
    struct sx_rcv_queue q;
    simplex_rc rc = SIMPLEX_OK;

    *out = (struct counted){ 0 };
    for (unsigned n = 0; rc == SIMPLEX_OK; n++) {
        rc = sx_store_rcvq_of(a->store, conn, n, &q);
        if (rc != SIMPLEX_OK || q.deleted || q.replaces != 0)
            continue;
        out->queues++; /* one that is read to its end still brings messages */
        if (q.id == but || q.switch_state == SX_SW_REMOVE || sx_is_added(&q))
            continue;
        bool used = q.rcv_id.len > 0 && !is_lost(a, q.id);
        if (out->next == 0 || (out->others == 0 && used))
            out->next = q.id;
        out->others += used;
    }
    sx_wipe(&q, sizeof q);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

static simplex_rc note_count(struct simplex_agent *a, struct sx_conn *c)
{
    struct counted n;
    simplex_rc rc = count(a, c->id, 0, &n);

    if (rc != SIMPLEX_OK)
        return rc;
    c->rcv_queues = (uint8_t)n.queues;
    return sx_store_conn_update(a->store, c);
}

simplex_rc sx_queue_gone(struct simplex_agent *a, const struct sx_rcv_queue *q, simplex_rc why,
                         const char *detail)
{
    struct sx_conn c;
    simplex_rc rc = sx_store_conn_get(a->store, q->conn_id, &c);

    if (rc == SIMPLEX_OK)
        rc = note_count(a, &c);
    return rc == SIMPLEX_OK ? sx_emit_queue(a, q->conn_id, q->id, SIMPLEX_SWITCH_RCV,
                                            SIMPLEX_QUEUE_REMOVED, &q->server, why, detail)
                            : rc;
}

/* Somebody else takes the first place. */
static simplex_rc step_back(struct simplex_agent *a, struct sx_rcv_queue *q, int64_t next)
{
    struct sx_rcv_queue other;
    simplex_rc rc;

    if (!q->primary || next == 0)
        return SIMPLEX_OK;
    rc = sx_store_rcvq_get(a->store, next, &other);
    if (rc != SIMPLEX_OK)
        return rc;
    other.primary = true;
    q->primary = false;
    rc = sx_store_rcvq_update(a->store, &other);
    if (rc == SIMPLEX_OK)
        rc = sx_store_rcvq_update(a->store, q);
    sx_wipe(&other, sizeof other);
    return rc;
}

/* ---- adding ---- */

static simplex_rc pick_server(struct simplex_agent *a, const struct sx_conn *c,
                              simplex_bytes wanted, struct sx_server *server, struct sx_wr *data)
{
    struct sx_snd_queue sq;
    simplex_rc rc;

    if (wanted.len > 0)
        return sx_new_data_named(wanted, server, data);
    sx_new_data_any(data);
    rc = sx_store_sndq_of(a->store, c->id, 0, &sq);
    if (rc == SIMPLEX_OK)
        rc = sx_choose_server_apart(a, c, &sq.server, NULL, server);
    sx_wipe(&sq, sizeof sq);
    return rc;
}

static simplex_rc begin(struct simplex_agent *a, struct sx_conn *c, simplex_bytes wanted,
                        int64_t *queue)
{
    struct sx_rcv_queue q;
    struct sx_server server;
    struct sx_wr data;
    simplex_rc rc;

    memset(&q, 0, sizeof q);
    sx_wr_init(&data, 1024);
    rc = pick_server(a, c, wanted, &server, &data);
    if (rc == SIMPLEX_OK)
        rc = sx_new_rcv_queue_on(a, c->id, &server, a->speaks.client.max, 0, &q);
    q.primary = false;
    if (rc == SIMPLEX_OK)
        rc = set_state(a, &q, SX_SW_ADD_NEW);
    if (rc == SIMPLEX_OK)
        rc = data.bad ? SIMPLEX_E_NOMEM
                      : sx_command_add(a, c->id, SX_C_NEW, q.id, sx_wr_bytes(&data));
    if (rc == SIMPLEX_OK)
        rc = sx_counts_begin(a, c);
    if (rc == SIMPLEX_OK)
        rc = note_count(a, c);
    *queue = q.id;
    sx_wr_free(&data);
    sx_wipe(&q, sizeof q);
    return rc;
}

simplex_rc sx_queue_add(struct simplex_agent *a, int64_t conn, simplex_bytes server, int64_t *queue)
{
    struct sx_conn c;
    struct counted n;
    simplex_rc rc = sx_store_conn_get(a->store, conn, &c);

    if (rc == SIMPLEX_OK && c.deleted)
        rc = SIMPLEX_E_NOT_FOUND;
    if (rc == SIMPLEX_OK && (!sx_switch_possible(&c) || c.suspended))
        rc = SIMPLEX_E_PROHIBITED;
    if (rc == SIMPLEX_OK)
        rc = count(a, conn, 0, &n);
    if (rc == SIMPLEX_OK && n.queues >= SX_QUEUES_MAX)
        rc = SIMPLEX_E_PROHIBITED;
    return rc == SIMPLEX_OK ? begin(a, &c, server, queue) : rc;
}

static simplex_rc tell_queues(struct simplex_agent *a, struct sx_conn *c,
                              const struct sx_rcv_queue *own, bool ask)
{
    struct sx_agent_msg msg = { .tag = SX_AM_MESSAGE, .msg = SX_M_QTEST };
    struct sx_outgoing o = { .type = SX_M_QTEST };
    struct sx_queue_ref ref = { .server = own->server, .snd_id = own->snd_id };
    struct sx_wr w;
    int64_t id;
    simplex_rc rc;

    sx_wr_init(&w, 8192);
    sx_queue_ref_encode(&w, &ref);
    if (ask)
        sx_queue_ref_encode(&w, &ref);
    msg.list = (struct sx_list){ ask ? 2 : 1, sx_wr_bytes(&w) };
    rc = w.bad ? SIMPLEX_E_NOMEM : sx_enqueue(a, c, &msg, &o, &id);
    sx_wr_free(&w);
    return rc;
}

static simplex_rc announce(struct simplex_agent *a, struct sx_conn *c, struct sx_rcv_queue *q)
{
    union sx_switch_item x = { .add = { .has_replaced = false } };
    simplex_rc rc = set_state(a, q, SX_SW_ADD_QADD);

    sx_queue_info_of(q, &x.add.queue);
    x.add.queue.v = a->speaks.client;
    return rc == SIMPLEX_OK ? sx_send_switch(a, c, SX_M_QADD, &x) : rc;
}

static simplex_rc ask(struct simplex_agent *a, struct sx_conn *c, struct sx_rcv_queue *q)
{
    struct sx_rcv_queue own;
    simplex_rc rc = set_state(a, q, SX_SW_ADD_ASK);

    if (rc == SIMPLEX_OK)
        rc = sx_store_rcvq_of(a->store, c->id, 0, &own);
    if (rc == SIMPLEX_OK)
        rc = tell_queues(a, c, &own, true);
    sx_wipe(&own, sizeof own);
    return rc;
}

simplex_rc sx_add_created(struct simplex_agent *a, struct sx_conn *c, struct sx_rcv_queue *q)
{
    simplex_rc rc = c->peer_several ? announce(a, c, q) : ask(a, c, q);

    /* the ratchet is out of step meanwhile */
    return rc == SIMPLEX_E_PROHIBITED ? sx_queue_drop(a, c, q, rc, NULL) : rc;
}

simplex_rc sx_peer_is_several(struct simplex_agent *a, struct sx_conn *c)
{
    struct sx_rcv_queue q;
    simplex_rc rc;

    if (c->peer_several)
        return SIMPLEX_OK;
    c->peer_several = true;
    rc = sx_store_conn_update(a->store, c);
    for (unsigned n = 0; rc == SIMPLEX_OK; n++) {
        rc = sx_store_rcvq_of(a->store, c->id, n, &q);
        if (rc == SIMPLEX_OK && q.switch_state == SX_SW_ADD_ASK && !q.deleted) {
            rc = sx_add_created(a, c, &q);
            n = UINT_MAX; /* the list may be another one now: from its beginning */
        }
    }
    sx_wipe(&q, sizeof q);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

/* One that names a queue we send to is not of a rotation: it says that its sender uses several, and
 * asks the same when it says it twice. */
simplex_rc sx_on_qtest(struct simplex_agent *a, struct sx_conn *c, const struct sx_agent_msg *m)
{
    struct sx_rd r = sx_rd_init(m->list.items);
    struct sx_queue_ref ref;
    struct sx_snd_queue sq;
    struct sx_rcv_queue own;
    bool too_many = false;
    simplex_rc rc;

    sx_queue_ref_decode(&r, &ref);
    rc = r.bad ? SIMPLEX_E_NOT_FOUND : sx_find_snd_queue(a, c->id, &ref, &sq);
    sx_wipe(&sq, sizeof sq);
    if (rc != SIMPLEX_OK)
        return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
    if (m->list.count > 1)
        rc = sx_answers_wait(a, c->id, &too_many);
    if (rc == SIMPLEX_OK && m->list.count > 1 && !too_many && sx_switch_possible(c)) {
        rc = sx_store_rcvq_of(a->store, c->id, 0, &own);
        if (rc == SIMPLEX_OK)
            rc = tell_queues(a, c, &own, false);
        sx_wipe(&own, sizeof own);
    }
    return rc == SIMPLEX_OK ? sx_peer_is_several(a, c) : rc;
}

static simplex_rc find_added(struct simplex_agent *a, int64_t conn,
                             const struct sx_queue_addr *addr, struct sx_rcv_queue *q)
{
    for (unsigned n = 0;; n++) {
        simplex_rc rc = sx_store_rcvq_of(a->store, conn, n, q);
        if (rc != SIMPLEX_OK ||
            (sx_is_added(q) && !q->deleted && sx_server_same_address(&q->server, &addr->server) &&
             sx_bytes_eq(sx_id_bytes(&q->snd_id), sx_id_bytes(&addr->snd_id))))
            return rc;
    }
}

simplex_rc sx_add_on_qkey(struct simplex_agent *a, struct sx_conn *c, const struct sx_qkey *x,
                          bool *handled)
{
    struct sx_rcv_queue q;
    simplex_rc rc = find_added(a, c->id, &x->queue, &q);

    *handled = rc == SIMPLEX_OK;
    if (rc == SIMPLEX_OK && q.switch_state == SX_SW_ADD_QADD && q.status == SX_Q_NEW)
        rc = sx_take_sender(a, x, &q);
    else if (rc == SIMPLEX_OK)
        rc = sx_switch_refuse(a, c->id, SX_M_QKEY, SIMPLEX_E_PROHIBITED);
    sx_wipe(&q, sizeof q);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

simplex_rc sx_add_secured(struct simplex_agent *a, struct sx_conn *c, struct sx_rcv_queue *q)
{
    union sx_switch_item x = { .use = { .primary = false } };
    simplex_rc rc = set_state(a, q, SX_SW_ADD_QUSE);

    x.use.queue.server = q->server;
    x.use.queue.snd_id = q->snd_id;
    if (rc == SIMPLEX_OK)
        rc = sx_send_switch(a, c, SX_M_QUSE, &x);
    return rc == SIMPLEX_E_PROHIBITED ? sx_queue_drop(a, c, q, rc, NULL) : rc;
}

simplex_rc sx_add_end(struct simplex_agent *a, struct sx_conn *c, simplex_rc why,
                      const char *detail)
{
    struct sx_rcv_queue q;
    simplex_rc rc = SIMPLEX_OK;

    for (unsigned n = 0; rc == SIMPLEX_OK; n++) {
        rc = sx_store_rcvq_of(a->store, c->id, n, &q);
        if (rc == SIMPLEX_OK && sx_is_added(&q) && q.switch_state != SX_SW_ADD_NEW && !q.deleted) {
            rc = sx_queue_drop(a, c, &q, why, detail);
            n = UINT_MAX; /* the list is another one now: from its beginning */
        }
    }
    sx_wipe(&q, sizeof q);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

simplex_rc sx_add_undelivered(struct simplex_agent *a, int64_t conn, simplex_rc why,
                              const char *detail)
{
    struct sx_conn c;
    simplex_rc rc = sx_store_conn_get(a->store, conn, &c);

    return rc == SIMPLEX_OK ? sx_add_end(a, &c, why, detail) : rc;
}

/* ---- removing ---- */

/* A queue that the server has not made yet has no messages; one that was never used has none
 * either. */
simplex_rc sx_queue_drop(struct simplex_agent *a, struct sx_conn *c, struct sx_rcv_queue *q,
                         simplex_rc why, const char *detail)
{
    struct counted n;
    int64_t id = q->id;
    struct sx_server server = q->server;
    simplex_rc rc = count(a, c->id, id, &n);

    if (rc == SIMPLEX_OK)
        rc = step_back(a, q, n.next);
    if (rc == SIMPLEX_OK)
        rc = sx_rcv_queue_end(a, q);
    if (rc == SIMPLEX_OK)
        rc = note_count(a, c);
    if (rc == SIMPLEX_OK)
        rc = sx_emit_queue(a, c->id, id, SIMPLEX_SWITCH_RCV, SIMPLEX_QUEUE_REMOVED, &server, why,
                           detail);
    sx_held_release(a, c->id);
    return rc;
}

simplex_rc sx_fall_back(struct simplex_agent *a, struct sx_conn *c)
{
    struct sx_rcv_queue q;
    unsigned n = 0;
    simplex_rc rc = SIMPLEX_OK;

    while (rc == SIMPLEX_OK) {
        rc = sx_store_rcvq_of(a->store, c->id, n++, &q);
        if (rc != SIMPLEX_OK || q.primary || q.deleted || q.replaces != 0 ||
            q.status == SX_Q_ACTIVE || (q.switch_state != SX_SW_NONE && !sx_is_added(&q)))
            continue;
        rc = sx_queue_drop(a, c, &q, SIMPLEX_E_UNSUPPORTED, NULL);
        n = 0; /* the row may be gone */
    }
    sx_wipe(&q, sizeof q);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

/* What waits on the server is read first: another server may have lost it. */
static simplex_rc drain(struct simplex_agent *a, struct sx_conn *c, struct sx_rcv_queue *q,
                        int64_t next)
{
    simplex_rc rc = step_back(a, q, next);

    if (rc == SIMPLEX_OK)
        rc = set_state(a, q, SX_SW_REMOVE);
    return rc == SIMPLEX_OK ? sx_command_add(a, c->id, SX_C_DRAIN, q->id, sx_bytes(NULL, 0)) : rc;
}

simplex_rc sx_queue_remove(struct simplex_agent *a, int64_t conn, int64_t queue)
{
    struct sx_conn c;
    struct sx_rcv_queue q;
    struct counted n;
    simplex_rc rc = sx_store_conn_get(a->store, conn, &c);

    memset(&q, 0, sizeof q);
    if (rc == SIMPLEX_OK)
        rc = sx_store_rcvq_get(a->store, queue, &q);
    if (rc == SIMPLEX_OK && (c.deleted || q.conn_id != conn || q.deleted))
        rc = SIMPLEX_E_NOT_FOUND;
    if (rc == SIMPLEX_OK && q.switch_state == SX_SW_REMOVE) {
        sx_wipe(&q, sizeof q);
        return SIMPLEX_OK; /* a repeat */
    }
    if (rc == SIMPLEX_OK)
        rc = count(a, conn, queue, &n);
    if (rc == SIMPLEX_OK && (n.others == 0 || c.state != SX_CONN_READY || q.replaces != 0 ||
                             (q.switch_state != SX_SW_NONE && !sx_is_added(&q))))
        rc = SIMPLEX_E_PROHIBITED;
    if (rc == SIMPLEX_OK)
        rc =
            sx_is_added(&q) ? sx_queue_drop(a, &c, &q, SIMPLEX_OK, NULL) : drain(a, &c, &q, n.next);
    sx_wipe(&q, sizeof q);
    return rc;
}
