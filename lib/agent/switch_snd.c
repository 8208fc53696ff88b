/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rotation of a queue that we send to (agent.md section 6.5), the side that follows: QADD names the
 * new queue and the one it replaces, QKEY answers with our keys for it, QUSE says that they are
 * set, QTEST is the first message that only the new queue gets.
 *
 * The peer may delete the old queue with the first message that comes through the new one, read or
 * not. So whatever is sent after QKEY is kept and goes through the new queue again, in order and
 * before QTEST; the peer drops what it has as repeats. From QUSE on messages go to the new queue
 * only, because in the old one they would overtake QTEST; should the new server be away they go
 * through both, and should it refuse, through the old one as if nothing had happened.
 */
#include "agent/enqueue.h"
#include "agent/handshake.h"
#include "agent/several.h"
#include "agent/switch.h"
#include "agent/switch_again.h"
#include "agent/work.h"

#define KEEP_SENT 512 /* messages for the new queue: what the old one can hold, and more */

static simplex_rc tell(struct simplex_agent *a, int32_t phase, const struct sx_snd_queue *q)
{
    return sx_emit_switch(a, q->conn_id, SIMPLEX_SWITCH_SND, phase, &q->server, SIMPLEX_OK, NULL);
}

static simplex_rc find(struct simplex_agent *a, int64_t conn, const struct sx_server *server,
                       const struct sx_id *snd_id, struct sx_snd_queue *q)
{
    for (unsigned n = 0;; n++) {
        simplex_rc rc = sx_store_sndq_of(a->store, conn, n, q);
        if (rc != SIMPLEX_OK || (sx_server_same_address(&q->server, server) &&
                                 sx_bytes_eq(sx_id_bytes(&q->snd_id), sx_id_bytes(snd_id))))
            return rc;
    }
}

simplex_rc sx_find_snd_queue(struct simplex_agent *a, int64_t conn, const struct sx_queue_ref *ref,
                             struct sx_snd_queue *q)
{
    return find(a, conn, &ref->server, &ref->snd_id, q);
}

simplex_rc sx_snd_replacement(struct simplex_agent *a, const struct sx_snd_queue *old,
                              struct sx_snd_queue *q)
{
    for (unsigned n = 0;; n++) {
        simplex_rc rc = sx_store_sndq_of(a->store, old->conn_id, n, q);
        if (rc != SIMPLEX_OK || q->replaces == old->id)
            return rc;
    }
}

simplex_rc sx_snd_switch_phase(struct simplex_agent *a, int64_t conn, int32_t *phase)
{
    struct sx_snd_queue q;
    simplex_rc rc = SIMPLEX_OK;

    *phase = 0;
    for (unsigned n = 0; rc == SIMPLEX_OK; n++) {
        rc = sx_store_sndq_of(a->store, conn, n, &q);
        if (rc == SIMPLEX_OK && q.switch_state == SX_SW_QKEY)
            *phase = SIMPLEX_SWITCH_STARTED;
        if (rc == SIMPLEX_OK && q.switch_state == SX_SW_QTEST)
            *phase = SIMPLEX_SWITCH_SECURED;
    }
    sx_wipe(&q, sizeof q);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

static simplex_rc remove_queue(struct simplex_agent *a, int64_t id)
{
    struct sx_rt_sndq *w = sx_rt_sndq_get(a, id, false);

    if (w != NULL) { /* finds nothing and goes */
        w->waiting = false;
        w->dirty = true;
        a->work = true;
    }
    return sx_store_sndq_delete(a->store, id);
}

/* Without the new queue: what was meant for it only goes the old way. */
static simplex_rc go_back(struct simplex_agent *a, struct sx_snd_queue *old,
                          const struct sx_snd_queue *q)
{
    simplex_rc rc = SIMPLEX_OK;

    if (old->switch_state == SX_SW_QTEST) /* else nothing but copies waits there */
        rc = sx_store_delivery_copy(a->store, q->id, old->id);
    old->switch_state = SX_SW_NONE;
    if (rc == SIMPLEX_OK)
        rc = sx_store_sndq_update(a->store, old);
    if (rc == SIMPLEX_OK)
        rc = remove_queue(a, q->id);
    sx_wake_delivery(a, old->id, old->conn_id);
    return rc;
}

/* The new queue is the one, and the old one is gone. */
static simplex_rc completed(struct simplex_agent *a, struct sx_snd_queue *q)
{
    int64_t old_id = q->replaces;
    struct sx_snd_queue old;
    simplex_rc rc = sx_store_sndq_get(a->store, old_id, &old);

    q->replaces = 0;
    q->primary = rc != SIMPLEX_OK || old.primary;
    q->status = SX_Q_ACTIVE;
    if (rc == SIMPLEX_OK)
        rc = sx_store_sndq_update(a->store, q);
    if (rc == SIMPLEX_OK)
        rc = remove_queue(a, old_id);
    sx_wipe(&old, sizeof old);
    if (rc == SIMPLEX_E_NOT_FOUND)
        rc = SIMPLEX_E_DB_DAMAGED;
    return rc == SIMPLEX_OK ? tell(a, SIMPLEX_SWITCH_COMPLETED, q) : rc;
}

/* ---- QADD ---- */

static simplex_rc answer_qadd(struct simplex_agent *a, struct sx_conn *c, struct sx_snd_queue *old,
                              const struct sx_queue_addr *addr, uint16_t version)
{
    struct sx_snd_queue q, before;
    simplex_rc rc = sx_new_snd_queue(a, c->id, addr, version, &q);

    if (rc != SIMPLEX_OK) /* a key that is none */
        return sx_rc_is_store(rc) ? rc : sx_switch_refuse(a, c->id, SX_M_QADD, SIMPLEX_E_KEY);
    rc = sx_snd_replacement(a, old, &before);
    if (rc == SIMPLEX_OK) /* the peer thought again: an unfinished one is dropped */
        rc = go_back(a, old, &before);
    else if (rc == SIMPLEX_E_NOT_FOUND)
        rc = SIMPLEX_OK;
    sx_wipe(&before, sizeof before);
    q.primary = false;
    q.replaces = old->id;
    old->switch_state = SX_SW_QKEY;
    if (rc == SIMPLEX_OK)
        rc = sx_store_sndq_update(a->store, &q);
    if (rc == SIMPLEX_OK)
        rc = sx_store_sndq_update(a->store, old);
    if (rc == SIMPLEX_OK)
        rc = sx_send_qkey(a, c, &q);
    if (rc == SIMPLEX_OK)
        rc = tell(a, SIMPLEX_SWITCH_STARTED, &q);
    sx_wipe(&q, sizeof q);
    return rc;
}

/* The peer moves on from a queue whose QTEST has no answer yet (it was lost, or we were killed): it
 * would not if nothing had come through it. */
static simplex_rc end_earlier(struct simplex_agent *a, struct sx_snd_queue *q)
{
    struct sx_snd_queue old;
    simplex_rc rc = sx_store_sndq_get(a->store, q->replaces, &old);

    if (rc == SIMPLEX_OK && old.switch_state == SX_SW_QTEST)
        rc = completed(a, q);
    sx_wipe(&old, sizeof old);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_E_DB_DAMAGED : rc;
}

/* A new ratchet holds up what we say, not what we do (of a rotation). */
static bool followed(const struct sx_conn *c, bool rotation)
{
    return rotation ? c->state == SX_CONN_READY : sx_switch_possible(c);
}

/* One that takes the place of a queue that we know nothing of any more, because its server did not:
 * of a peer that uses several it is one more. For the peer the rotation goes on as any other. */
static simplex_rc add_instead(struct simplex_agent *a, struct sx_conn *c, const struct sx_qadd *x,
                              uint16_t version)
{
    return c->peer_several && followed(c, false)
               ? sx_add_on_qadd(a, c, x, version)
               : sx_switch_refuse(a, c->id, SX_M_QADD, SIMPLEX_E_PROHIBITED);
}

/* Named before. Said once more, behind a new ratchet, it is in order: what of a rotation we have to
 * say then sx_switch_again says, but of one that is added here nobody does. */
static simplex_rc named_again(struct simplex_agent *a, struct sx_conn *c,
                              const struct sx_snd_queue *q, bool rotation)
{
    if (rotation && q->replaces != 0)
        return SIMPLEX_OK;
    if (rotation && q->switch_state == SX_SW_ADD_QKEY)
        return sx_send_qkey(a, c, q);
    return sx_switch_refuse(a, c->id, SX_M_QADD, SIMPLEX_E_PROHIBITED); /* it is in use */
}

simplex_rc sx_on_qadd(struct simplex_agent *a, struct sx_conn *c, const struct sx_agent_msg *m)
{
    struct sx_rd r = sx_rd_init(m->list.items);
    struct sx_snd_queue old, other;
    struct sx_qadd x;
    uint16_t version;
    bool too_many;
    simplex_rc rc = sx_answers_wait(a, c->id, &too_many);

    if (rc != SIMPLEX_OK)
        return rc;
    sx_qadd_next(&r, &x);
    if (r.bad || too_many || !followed(c, x.has_replaced))
        return sx_switch_refuse(a, c->id, SX_M_QADD, SIMPLEX_E_PROHIBITED);
    version = sx_range_agree(x.queue.v, a->speaks.client);
    if (version == 0)
        return sx_switch_refuse(a, c->id, SX_M_QADD, SIMPLEX_E_VERSION);
    rc = find(a, c->id, &x.queue.server, &x.queue.snd_id, &other);
    if (rc == SIMPLEX_OK)
        rc = named_again(a, c, &other, x.has_replaced);
    sx_wipe(&other, sizeof other);
    if (rc != SIMPLEX_E_NOT_FOUND)
        return rc;
    if (!x.has_replaced)
        return sx_add_on_qadd(a, c, &x, version);
    rc = sx_find_snd_queue(a, c->id, &x.replaced, &old);
    if (rc == SIMPLEX_E_NOT_FOUND || (rc == SIMPLEX_OK && old.status == SX_Q_DISABLED)) {
        sx_wipe(&old, sizeof old);
        return add_instead(a, c, &x, version);
    }
    if (rc == SIMPLEX_OK && old.replaces != 0)
        rc = end_earlier(a, &old);
    if (rc == SIMPLEX_OK && old.replaces == 0)
        rc = answer_qadd(a, c, &old, &x.queue, version);
    else if (rc == SIMPLEX_OK)
        rc = sx_switch_refuse(a, c->id, SX_M_QADD, SIMPLEX_E_PROHIBITED);
    sx_wipe(&old, sizeof old);
    return rc;
}

/* ---- QUSE ---- */

static simplex_rc use(struct simplex_agent *a, struct sx_conn *c, struct sx_snd_queue *old,
                      struct sx_snd_queue *q)
{
    simplex_rc rc;

    q->status = SX_Q_SECURED;
    old->switch_state = SX_SW_QTEST;
    rc = sx_store_sndq_update(a->store, q);
    if (rc == SIMPLEX_OK)
        rc = sx_store_sndq_update(a->store, old);
    if (rc == SIMPLEX_OK) /* behind what the old one has taken: nothing here is lost with it */
        rc = sx_store_delivery_copy(a->store, old->id, q->id);
    if (rc == SIMPLEX_OK)
        rc = sx_send_qtest(a, c, q);
    return rc == SIMPLEX_OK ? tell(a, SIMPLEX_SWITCH_SECURED, q) : rc;
}

simplex_rc sx_on_quse(struct simplex_agent *a, struct sx_conn *c, const struct sx_agent_msg *m)
{
    struct sx_rd r = sx_rd_init(m->list.items);
    struct sx_snd_queue old, q;
    struct sx_quse x;
    simplex_rc rc;

    memset(&old, 0, sizeof old);
    sx_quse_next(&r, &x);
    if (r.bad || !followed(c, true))
        return sx_switch_refuse(a, c->id, SX_M_QUSE, SIMPLEX_E_PROHIBITED);
    rc = sx_find_snd_queue(a, c->id, &x.queue, &q);
    if (rc == SIMPLEX_OK && q.switch_state == SX_SW_ADD_QKEY) {
        rc = followed(c, false) ? sx_add_on_quse(a, c, &q)
                                : sx_switch_refuse(a, c->id, SX_M_QUSE, SIMPLEX_E_PROHIBITED);
        sx_wipe(&q, sizeof q);
        return rc;
    }
    if (rc == SIMPLEX_OK)
        rc = q.replaces != 0 ? sx_store_sndq_get(a->store, q.replaces, &old) : SIMPLEX_E_NOT_FOUND;
    if (rc == SIMPLEX_OK && old.switch_state == SX_SW_QKEY)
        rc = use(a, c, &old, &q);
    else if (rc == SIMPLEX_OK && old.switch_state == SX_SW_QTEST)
        rc = SIMPLEX_OK; /* said once more, behind a new ratchet */
    else if (rc == SIMPLEX_OK || rc == SIMPLEX_E_NOT_FOUND)
        rc = sx_switch_refuse(a, c->id, SX_M_QUSE, SIMPLEX_E_PROHIBITED);
    sx_wipe(&old, sizeof old);
    sx_wipe(&q, sizeof q);
    return rc;
}

/* ---- deliveries ---- */

bool sx_takes_messages(const struct sx_snd_queue *q, unsigned nth)
{
    if (q->status == SX_Q_DISABLED || q->switch_state == SX_SW_QTEST ||
        q->switch_state == SX_SW_ADD_QKEY)
        return false;
    /* one of a link is to have everything from the confirmation on, once it is secured */
    return nth == 0 || q->replaces == 0 || q->status >= SX_Q_SECURED;
}

/* The old queue has a message of the time between QKEY and QUSE. */
simplex_rc sx_keep_sent(struct simplex_agent *a, const struct sx_snd_queue *old, int64_t msg_id,
                        uint8_t type, bool *kept)
{
    struct sx_snd_queue q;
    simplex_rc rc;

    *kept = old->switch_state == SX_SW_QKEY && type != SX_M_QKEY;
    if (!*kept)
        return SIMPLEX_OK;
    rc = sx_snd_replacement(a, old, &q);
    if (rc == SIMPLEX_OK)
        rc = sx_store_msg_sent(a->store, old->conn_id, msg_id);
    if (rc == SIMPLEX_OK)
        rc = sx_store_delivery_move(a->store, old->id, q.id, msg_id, KEEP_SENT);
    sx_wipe(&q, sizeof q);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_E_DB_DAMAGED : rc;
}

simplex_rc sx_switch_sent(struct simplex_agent *a, struct sx_snd_queue *q, uint8_t type)
{
    struct sx_snd_queue other;
    simplex_rc rc;

    if (type == SX_M_QTEST)
        return q->replaces != 0 ? completed(a, q) : SIMPLEX_OK;
    if (type != SX_M_QKEY || q->switch_state != SX_SW_QKEY)
        return SIMPLEX_OK;
    rc = sx_snd_replacement(a, q, &other);
    if (rc == SIMPLEX_OK)
        rc = tell(a, SIMPLEX_SWITCH_CONFIRMED, &other);
    sx_wipe(&other, sizeof other);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_E_DB_DAMAGED : rc;
}

/* A failure that may pass: messages need not wait for the new server while the old one is there. */
simplex_rc sx_switch_detour(struct simplex_agent *a, const struct sx_snd_queue *q)
{
    simplex_rc rc;

    if (q->replaces == 0 || q->status != SX_Q_SECURED)
        return SIMPLEX_OK;
    rc = sx_store_delivery_copy(a->store, q->id, q->replaces);
    sx_wake_delivery(a, q->replaces, q->conn_id);
    return rc;
}

/* The new queue does not take a message, for good. */
simplex_rc sx_switch_snd_failed(struct simplex_agent *a, const struct sx_snd_queue *q,
                                simplex_rc why, const char *detail)
{
    struct sx_snd_queue old;
    simplex_rc rc = sx_store_sndq_get(a->store, q->replaces, &old);

    if (rc == SIMPLEX_OK)
        rc = go_back(a, &old, q);
    if (rc == SIMPLEX_OK)
        rc = sx_emit_switch(a, q->conn_id, SIMPLEX_SWITCH_SND, SIMPLEX_SWITCH_ABORTED, &q->server,
                            why, detail);
    sx_wipe(&old, sizeof old);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_E_DB_DAMAGED : rc;
}

/* A message of a rotation will not arrive: nor will the rotation. */
simplex_rc sx_switch_undelivered(struct simplex_agent *a, const struct sx_snd_queue *q,
                                 uint8_t type, simplex_rc why, const char *detail)
{
    struct sx_snd_queue other;
    simplex_rc rc = SIMPLEX_OK;

    if (type == SX_M_QADD || type == SX_M_QUSE)
        rc = sx_switch_failed(a, q->conn_id, why, detail);
    if (type == SX_M_QADD || type == SX_M_QUSE)
        return rc == SIMPLEX_OK ? sx_add_undelivered(a, q->conn_id, why, detail) : rc;
    if (type != SX_M_QKEY || q->switch_state != SX_SW_QKEY)
        return SIMPLEX_OK;
    rc = sx_snd_replacement(a, q, &other);
    if (rc == SIMPLEX_OK)
        rc = sx_switch_snd_failed(a, &other, why, detail);
    sx_wipe(&other, sizeof other);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_E_DB_DAMAGED : rc;
}
