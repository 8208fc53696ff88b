/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Order while a connection has several receiving queues, for good or in a rotation: a message that
 * came before its predecessors, or before the application acknowledged the last one, stays on the
 * server. It is neither decrypted for good nor acknowledged, and asked for again when it may be its
 * turn.
 *
 * Each queue keeps the order of the sender. So what is missing cannot come through a queue that
 * itself waits with a later message: when all do, it is lost, and the earliest of them is next.
 */
#include "agent/numbers.h"
#include "agent/receive.h"
#include "agent/several.h"
#include "agent/subscribe.h"

#define HOLD_AGAIN 1000 /* ms */

static bool rotating(const struct sx_rcv_queue *q)
{
    return q->replaces != 0 ||
           (q->switch_state >= SX_SW_STARTED && q->switch_state <= SX_SW_RECEIVED);
}

/* Nothing that was sent before can come through another queue than q. */
static bool in_order(const struct sx_conn *c, const struct sx_rcv_queue *q)
{
    return c->rcv_queues <= 1 && !rotating(q);
}

static int64_t waited(const struct sx_rt_rcvq *rt)
{
    return rt != NULL && rt->held_since != 0 ? sx_mono_ms() - rt->held_since : 0;
}

/* Of a rotation: may the other queue still bring what is missing? */
static simplex_rc may_come(struct simplex_agent *a, const struct sx_rcv_queue *q, bool *yes)
{
    const struct sx_rt_rcvq *rt = sx_rt_rcvq_by_id(a, q->id);
    struct sx_rcv_queue old;
    simplex_rc rc;

    *yes = waited(rt) < a->cfg.hold_time;
    if (q->replaces == 0) { /* before QUSE nothing goes through the new one */
        *yes = *yes && q->switch_state >= SX_SW_QUSE;
        return SIMPLEX_OK;
    }
    rc = sx_store_rcvq_get(a->store, q->replaces, &old);
    if (rc == SIMPLEX_OK) {
        rt = sx_rt_rcvq_by_id(a, old.id);
        if (old.deleted) /* it was read to its end */
            *yes = false;
        else if (rt != NULL && rt->want && sx_client_is_up(rt->server->client))
            *yes = true;
    }
    sx_wipe(&old, sizeof old);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

/* One of several, not q: may it bring what comes before message ext_id of q? */
static bool other_may(struct simplex_agent *a, const struct sx_rcv_queue *other, int64_t ext_id,
                      bool wait)
{
    struct sx_rt_rcvq *rt = sx_rt_rcvq_by_id(a, other->id);

    if (rt == NULL || !rt->want || other->deleted || !other->has_e2e_secret ||
        (other->replaces != 0 && other->status != SX_Q_ACTIVE))
        return false;
    if (rt->on_hold && rt->held_ext >= ext_id)
        return false;  /* nothing earlier is behind it */
    if (rt->on_hold) { /* that one is earlier */
        sx_subscribe_again(rt);
        return true;
    }
    return wait;
}

static bool in_time(struct simplex_agent *a, const struct sx_rcv_queue *q)
{
    return waited(sx_rt_rcvq_by_id(a, q->id)) < a->cfg.hold_time;
}

static simplex_rc others_may(struct simplex_agent *a, const struct sx_rcv_queue *q, int64_t ext_id,
                             bool wait, bool *yes)
{
    struct sx_rcv_queue other;
    simplex_rc rc = SIMPLEX_OK;

    for (unsigned n = 0; rc == SIMPLEX_OK; n++) {
        rc = sx_store_rcvq_of(a->store, q->conn_id, n, &other);
        if (rc == SIMPLEX_OK && other.id != q->id && other_may(a, &other, ext_id, wait))
            *yes = true;
    }
    sx_wipe(&other, sizeof other);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

simplex_rc sx_hold(struct simplex_agent *a, const struct sx_conn *c, const struct sx_rcv_queue *q,
                   const struct sx_agent_msg *m, bool *hold)
{
    bool gap = sx_is_gap(c, m);
    simplex_rc rc = SIMPLEX_OK;

    *hold = false;
    if (in_order(c, q))
        return SIMPLEX_OK;
    if (gap && rotating(q))
        rc = may_come(a, q, hold);
    if (rc == SIMPLEX_OK && gap && c->rcv_queues > 1)
        rc = others_may(a, q, m->snd_msg_id, in_time(a, q), hold);
    if (rc == SIMPLEX_OK && !*hold && m->msg == SX_M_MSG)
        rc = sx_store_rcv_msg_other(a->store, c->id, q->id, hold);
    return rc;
}

/* The old queue of a rotation was read to its end. */
static simplex_rc is_read(struct simplex_agent *a, const struct sx_rcv_queue *q, bool *yes)
{
    struct sx_rcv_queue old;
    simplex_rc rc = sx_store_rcvq_get(a->store, q->replaces, &old);

    *yes = rc == SIMPLEX_E_NOT_FOUND || (rc == SIMPLEX_OK && old.deleted);
    sx_wipe(&old, sizeof old);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

/* What was sent before is for the ratchet that they replace: nothing of it could be read any more.
 * They have no number that would tell. But they come through every queue that is in use, behind
 * all that was sent before: they wait for that, or for the old queue of a rotation to be empty. */
simplex_rc sx_hold_keys(struct simplex_agent *a, struct sx_conn *c, const struct sx_rcv_queue *q,
                        struct sx_incoming *in)
{
    bool read = true, others = false;
    simplex_rc rc = SIMPLEX_OK;

    in->ext_id = INT64_MAX;
    if (in_order(c, q))
        return SIMPLEX_OK;
    if (q->replaces != 0)
        rc = is_read(a, q, &read);
    if (rc == SIMPLEX_OK && !read)
        rc = may_come(a, q, &in->hold);
    if (rc == SIMPLEX_OK && c->rcv_queues > 1)
        rc = others_may(a, q, INT64_MAX, true, &others);
    in->hold = in->hold || (others && in_time(a, q));
    if (!read || others) /* if it is not held, it has waited in vain */
        c->rcv_others = SX_OTHERS_UNKNOWN;
    if (rc == SIMPLEX_OK && !in->hold)
        rc = sx_store_rcv_msg_other(a->store, c->id, q->id, &in->hold);
    return rc;
}

/* Too far ahead for the ratchet: more keys than it keeps would be skipped, or the header belongs to
 * a chain that begins with a message which is still to come. */
simplex_rc sx_hold_unread(struct simplex_agent *a, const struct sx_conn *c,
                          const struct sx_rcv_queue *q, simplex_rc why, bool *hold)
{
    *hold = false;
    if (c->rcv_queues <= 1 || (why != SIMPLEX_E_RATCHET_SKIPPED && why != SIMPLEX_E_RATCHET_HEADER))
        return SIMPLEX_OK;
    return others_may(a, q, INT64_MAX, in_time(a, q), hold);
}

void sx_held(struct simplex_agent *a, int64_t queue, int64_t ext_id)
{
    struct sx_rt_rcvq *rt = sx_rt_rcvq_by_id(a, queue);

    if (rt == NULL)
        return;
    if (rt->held_since == 0)
        rt->held_since = sx_mono_ms();
    rt->on_hold = true;
    rt->held_ext = ext_id;
    int64_t now = sx_mono_ms(), due = rt->held_since + a->cfg.hold_time;
    if (due <= now) /* it may have to wait longer for reasons of its own */
        due = now + HOLD_AGAIN;
    if (a->held_until == 0 || due < a->held_until)
        a->held_until = due;
}

void sx_held_release(struct simplex_agent *a, int64_t conn)
{
    bool left = false;

    if (a->held_until == 0)
        return;
    for (size_t b = 0; b < SX_TABLE; b++) {
        for (struct sx_rt_rcvq *rt = a->rcvqs_by_id[b]; rt != NULL; rt = rt->next_id) {
            if (rt->on_hold && rt->conn == conn)
                sx_subscribe_again(rt);
            left = left || rt->on_hold;
        }
    }
    if (!left)
        a->held_until = 0;
}

/* Asked again the server would only show it again, for as long as the application does not
 * acknowledge another one: its word releases it. */
static bool waits_for_ack(struct simplex_agent *a, const struct sx_rt_rcvq *rt)
{
    bool there = false;

    return sx_store_rcv_msg_other(a->store, rt->conn, rt->id, &there) == SIMPLEX_OK && there;
}

void sx_held_check(struct simplex_agent *a)
{
    int64_t now = sx_mono_ms(), next = 0, at;

    if (a->held_until == 0 || now < a->held_until)
        return;
    for (size_t b = 0; b < SX_TABLE; b++) {
        for (struct sx_rt_rcvq *rt = a->rcvqs_by_id[b]; rt != NULL; rt = rt->next_id) {
            if (!rt->on_hold)
                continue;
            at = rt->held_since + a->cfg.hold_time;
            if (at <= now && !waits_for_ack(a, rt)) {
                sx_subscribe_again(rt);
                continue;
            }
            if (at <= now)
                at = now + (a->cfg.hold_time > HOLD_AGAIN ? a->cfg.hold_time : HOLD_AGAIN);
            next = next == 0 || at < next ? at : next;
        }
    }
    a->held_until = next;
}
