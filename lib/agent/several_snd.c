/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sending queues beside the first: those that the peer adds later with QADD, and those that their
 * server does not have (any more). A queue that is lost has its deliveries given up one by one, so
 * that each message whose last hope it was is reported, and goes when none is left.
 */
#include "agent/handshake.h"
#include "agent/several.h"
#include "agent/switch.h"
#include "agent/switch_again.h"
#include "agent/work.h"

/* ---- the peer adds one ---- */

/* A peer has SX_QUEUES_MAX at most. One more row is for one that takes the place of another which
 * it has removed: we find that out when we write there, with our answer at the latest. */
#define ROWS_MAX (SX_QUEUES_MAX + 1)

struct counted {
    unsigned rows;  /* a rotation's two count as one */
    int64_t unused; /* the oldest that the peer named and did not tell us to use; 0: none */
};

static simplex_rc count(struct simplex_agent *a, int64_t conn, struct counted *n)
{
    struct sx_snd_queue q;
    simplex_rc rc = SIMPLEX_OK;

    *n = (struct counted){ 0 };
    for (unsigned k = 0; rc == SIMPLEX_OK; k++) {
        rc = sx_store_sndq_of(a->store, conn, k, &q);
        if (rc != SIMPLEX_OK || q.status == SX_Q_DISABLED || q.replaces != 0)
            continue;
        n->rows++;
        if (q.switch_state == SX_SW_ADD_QKEY && (n->unused == 0 || q.id < n->unused))
            n->unused = q.id;
    }
    sx_wipe(&q, sizeof q);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

/* What the peer began to add and thought better of makes room. E_PROHIBITED: there is none. */
static simplex_rc make_room(struct simplex_agent *a, int64_t conn)
{
    struct counted n;
    simplex_rc rc = count(a, conn, &n);

    if (rc != SIMPLEX_OK || n.rows < ROWS_MAX)
        return rc;
    return n.unused != 0 ? sx_store_sndq_delete(a->store, n.unused) : SIMPLEX_E_PROHIBITED;
}

static simplex_rc answer(struct simplex_agent *a, struct sx_conn *c,
                         const struct sx_queue_addr *addr, uint16_t version)
{
    union sx_switch_item x = { .key = { .queue = *addr } };
    struct sx_snd_queue q;
    simplex_rc rc = sx_new_snd_queue(a, c->id, addr, version, &q);

    if (rc != SIMPLEX_OK) /* a key that is none */
        return sx_rc_is_store(rc) ? rc : sx_switch_refuse(a, c->id, SX_M_QADD, SIMPLEX_E_KEY);
    q.primary = false;
    q.switch_state = SX_SW_ADD_QKEY;
    rc = sx_store_sndq_update(a->store, &q);
    x.key.queue.v = (struct sx_range){ version, version };
    x.key.queue.dh = q.e2e_pub;
    x.key.key = q.auth.pub;
    sx_wipe(&q, sizeof q);
    return rc == SIMPLEX_OK ? sx_send_switch(a, c, SX_M_QKEY, &x) : rc;
}

simplex_rc sx_add_on_qadd(struct simplex_agent *a, struct sx_conn *c, const struct sx_qadd *x,
                          uint16_t version)
{
    simplex_rc rc = make_room(a, c->id);

    if (rc == SIMPLEX_E_PROHIBITED)
        return sx_switch_refuse(a, c->id, SX_M_QADD, rc);
    if (rc != SIMPLEX_OK)
        return rc;
    rc = sx_peer_is_several(a, c);
    return rc == SIMPLEX_OK ? answer(a, c, &x->queue, version) : rc;
}

/* What no queue has yet is for this one too; QTEST is the first that says it works. */
simplex_rc sx_add_on_quse(struct simplex_agent *a, struct sx_conn *c, struct sx_snd_queue *q)
{
    union sx_switch_item x = { .test = { .server = q->server, .snd_id = q->snd_id } };
    struct sx_snd_queue first;
    simplex_rc rc = sx_store_sndq_of(a->store, c->id, 0, &first);

    q->status = SX_Q_SECURED;
    q->switch_state = SX_SW_NONE;
    if (rc == SIMPLEX_OK)
        rc = sx_store_sndq_update(a->store, q);
    if (rc == SIMPLEX_OK)
        rc = sx_store_delivery_copy(a->store, first.id, q->id);
    if (rc == SIMPLEX_OK)
        rc = sx_send_switch(a, c, SX_M_QTEST, &x);
    sx_wipe(&first, sizeof first);
    return rc == SIMPLEX_OK ? sx_snd_secured(a, q) : rc;
}

simplex_rc sx_snd_secured(struct simplex_agent *a, const struct sx_snd_queue *q)
{
    if (q->primary)
        return SIMPLEX_OK;
    return sx_emit_queue(a, q->conn_id, q->id, SIMPLEX_SWITCH_SND, SIMPLEX_QUEUE_ADDED, &q->server,
                         SIMPLEX_OK, NULL);
}

/* ---- lost ---- */

/* One that can take the place of q. */
static simplex_rc another(struct simplex_agent *a, const struct sx_snd_queue *q,
                          struct sx_snd_queue *other)
{
    for (unsigned n = 0;; n++) {
        simplex_rc rc = sx_store_sndq_of(a->store, q->conn_id, n, other);
        if (rc != SIMPLEX_OK || (other->id != q->id && other->status != SX_Q_DISABLED &&
                                 other->replaces == 0 && other->switch_state == SX_SW_NONE))
            return rc;
    }
}

static simplex_rc drop_skey(struct simplex_agent *a, const struct sx_snd_queue *q)
{
    struct sx_command cmd = { .id = 0 };
    simplex_rc rc;

    while ((rc = sx_store_command_next(a->store, q->conn_id, cmd.id, &cmd)) == SIMPLEX_OK) {
        if (cmd.tag == SX_C_SKEY && cmd.queue_id == q->id)
            rc = sx_store_command_delete(a->store, cmd.id);
        if (rc != SIMPLEX_OK)
            break;
    }
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

static simplex_rc give_way(struct simplex_agent *a, struct sx_snd_queue *q,
                           struct sx_snd_queue *other)
{
    simplex_rc rc = SIMPLEX_OK;

    if (q->primary) {
        other->primary = true;
        rc = sx_store_sndq_update(a->store, other);
    }
    q->primary = false;
    q->status = SX_Q_DISABLED;
    return rc == SIMPLEX_OK ? sx_store_sndq_update(a->store, q) : rc;
}

simplex_rc sx_snd_end(struct simplex_agent *a, struct sx_snd_queue *q)
{
    q->status = SX_Q_DISABLED;
    sx_wake_delivery(a, q->id, q->conn_id);
    return sx_store_sndq_update(a->store, q);
}

/* The peer was about to move it. Perhaps it still is, and tells us to use the new one; or it
 * thought better of it, did without the queue altogether, and will never name the new one again. */
static simplex_rc add_replacement(struct simplex_agent *a, struct sx_snd_queue *q, simplex_rc why,
                                  const char *detail)
{
    struct sx_snd_queue next;
    simplex_rc rc = sx_snd_replacement(a, q, &next);

    q->switch_state = SX_SW_NONE;
    next.replaces = 0;
    next.switch_state = SX_SW_ADD_QKEY;
    if (rc == SIMPLEX_OK)
        rc = sx_store_sndq_update(a->store, &next);
    if (rc == SIMPLEX_OK)
        rc = sx_emit_switch(a, q->conn_id, SIMPLEX_SWITCH_SND, SIMPLEX_SWITCH_ABORTED, &next.server,
                            why, detail);
    sx_wipe(&next, sizeof next);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_E_DB_DAMAGED : rc;
}

simplex_rc sx_snd_lost(struct simplex_agent *a, struct sx_snd_queue *q, simplex_rc why,
                       const char *detail, bool *others)
{
    struct sx_snd_queue other;
    bool moving = q->switch_state == SX_SW_QKEY;
    simplex_rc rc;

    *others = q->status == SX_Q_DISABLED;
    if (*others || q->replaces != 0 || (q->switch_state != SX_SW_NONE && !moving))
        return SIMPLEX_OK;
    rc = another(a, q, &other);
    *others = rc == SIMPLEX_OK;
    if (rc == SIMPLEX_OK && moving)
        rc = add_replacement(a, q, why, detail);
    if (rc == SIMPLEX_OK)
        rc = give_way(a, q, &other);
    sx_wipe(&other, sizeof other);
    if (!*others)
        return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
    if (rc == SIMPLEX_OK)
        rc = drop_skey(a, q);
    sx_wake_delivery(a, q->id, q->conn_id);
    return rc == SIMPLEX_OK ? sx_emit_queue(a, q->conn_id, q->id, SIMPLEX_SWITCH_SND,
                                            SIMPLEX_QUEUE_REMOVED, &q->server, why, detail)
                            : rc;
}
