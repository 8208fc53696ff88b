/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rotation of a receiving queue (agent.md section 6.5), the side that moves: a new queue is made
 * (NEW), its address told to the sender (QADD), the sender's key set in it (QKEY, KEY), the sender
 * told to use it (QUSE). The first message that comes through it ends the old one: that is read to
 * its end, so that nothing in it is lost, and deleted.
 *
 * Where this is stands in the row of the old queue; the new one names the one it replaces.
 */
#include "agent/enqueue.h"
#include "agent/event.h"
#include "agent/handshake.h"
#include "agent/resync.h"
#include "agent/rotation.h"
#include "agent/route.h"
#include "agent/several.h"
#include "agent/switch.h"
#include "agent/switch_again.h"
#include "agent/users.h"
#include "agent/work.h"

simplex_rc sx_emit_switch(struct simplex_agent *a, int64_t conn, int32_t direction, int32_t phase,
                          const struct sx_server *server, simplex_rc why, const char *detail)
{
    struct simplex_event ev;
    simplex_rc rc = SIMPLEX_OK;

    if (direction == SIMPLEX_SWITCH_RCV &&
        (phase == SIMPLEX_SWITCH_COMPLETED || phase == SIMPLEX_SWITCH_ABORTED))
        rc = sx_rotation_ended(a, conn, phase == SIMPLEX_SWITCH_COMPLETED, why);
    if (rc != SIMPLEX_OK)
        return rc;
    sx_event_init(&ev, SIMPLEX_EV_SWITCH, conn);
    ev.direction = direction;
    ev.phase = phase;
    sx_event_set_server(&ev, server);
    ev.rc = why;
    sx_event_set_detail(&ev, detail);
    return sx_emit(a, &ev);
}

static simplex_rc tell(struct simplex_agent *a, int32_t phase, const struct sx_rcv_queue *q)
{
    return sx_emit_switch(a, q->conn_id, SIMPLEX_SWITCH_RCV, phase, &q->server, SIMPLEX_OK, NULL);
}

simplex_rc sx_switch_refuse(struct simplex_agent *a, int64_t conn, enum sx_msg_tag msg,
                            simplex_rc why)
{
    return sx_emit_err(a, conn, why, sx_msg_name(msg));
}

simplex_rc sx_rcv_replacement(struct simplex_agent *a, const struct sx_rcv_queue *old,
                              struct sx_rcv_queue *q)
{
    for (unsigned n = 0;; n++) {
        simplex_rc rc = sx_store_rcvq_of(a->store, old->conn_id, n, q);
        if (rc != SIMPLEX_OK || (q->replaces == old->id && !q->deleted))
            return rc;
    }
}

static bool is_moved(const struct sx_rcv_queue *q)
{
    return q->switch_state >= SX_SW_STARTED && q->switch_state <= SX_SW_RECEIVED;
}

/* The queue of the connection that is being replaced. */
static simplex_rc switching(struct simplex_agent *a, int64_t conn, struct sx_rcv_queue *old)
{
    for (unsigned n = 0;; n++) {
        simplex_rc rc = sx_store_rcvq_of(a->store, conn, n, old);
        if (rc != SIMPLEX_OK || is_moved(old))
            return rc;
    }
}

simplex_rc sx_rcv_switch_phase(struct simplex_agent *a, int64_t conn, int32_t *phase)
{
    struct sx_rcv_queue old, q;
    simplex_rc rc = switching(a, conn, &old);

    *phase = 0;
    if (rc == SIMPLEX_OK) {
        *phase = old.switch_state >= SX_SW_QUSE ? SIMPLEX_SWITCH_SECURED : SIMPLEX_SWITCH_STARTED;
        if (old.switch_state == SX_SW_QADD) {
            rc = sx_rcv_replacement(a, &old, &q);
            if (rc == SIMPLEX_OK && q.status == SX_Q_CONFIRMED)
                *phase = SIMPLEX_SWITCH_CONFIRMED;
            sx_wipe(&q, sizeof q);
        }
    }
    sx_wipe(&old, sizeof old);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

/* ---- start ---- */

/* What the command NEW of a replacement carries: whether the server was asked for, its password. */
#define ANY_SERVER 0
#define THIS_SERVER 1

void sx_new_data_any(struct sx_wr *data)
{
    sx_wr_u8(data, ANY_SERVER);
}

simplex_rc sx_new_data_named(simplex_bytes wanted, struct sx_server *server, struct sx_wr *data)
{
    simplex_bytes password;
    simplex_rc rc = sx_server_parse(wanted, server, &password);

    if (rc == SIMPLEX_OK && password.len >= SX_NEW_DATA_MAX)
        return SIMPLEX_E_ADDRESS;
    if (rc != SIMPLEX_OK)
        return rc;
    sx_wr_u8(data, THIS_SERVER);
    sx_wr_raw(data, password);
    return data->bad ? SIMPLEX_E_NOMEM : SIMPLEX_OK;
}

static simplex_rc pick_server(struct simplex_agent *a, const struct sx_conn *c,
                              const struct sx_rcv_queue *old, simplex_bytes wanted,
                              struct sx_server *server, struct sx_wr *data)
{
    struct sx_choice choice = { .user = c->user,
                                .role = SX_SRV_STORAGE,
                                .used = { &old->server },
                                .n_used = 1,
                                .not_there = &old->server };
    const struct sx_user_server *chosen;
    struct sx_snd_queue sq;
    simplex_rc rc;

    if (wanted.len > 0)
        return sx_new_data_named(wanted, server, data);
    sx_new_data_any(data);
    rc = sx_store_sndq_of(a->store, old->conn_id, 0, &sq);
    if (rc == SIMPLEX_OK && c->rcv_queues > 1) { /* apart from all that the connection has */
        rc = sx_choose_server_apart(a, c, &sq.server, NULL, server);
        if (rc != SIMPLEX_E_NO_SERVERS) {
            sx_wipe(&sq, sizeof sq);
            return rc;
        }
        rc = SIMPLEX_OK;
    }
    if (rc == SIMPLEX_OK) {
        choice.used[choice.n_used++] = &sq.server;
        rc = sx_choose(a, &choice, &chosen);
    }
    if (rc == SIMPLEX_OK)
        *server = chosen->server;
    sx_wipe(&sq, sizeof sq);
    return rc;
}

static bool has_new_data(const struct sx_rcv_queue *q)
{
    return q->replaces != 0 || q->switch_state == SX_SW_ADD_NEW;
}

bool sx_new_may_move(const struct sx_rcv_queue *q, simplex_bytes data)
{
    return !has_new_data(q) || (data.len > 0 && data.ptr[0] == ANY_SERVER);
}

simplex_bytes sx_new_password(struct simplex_agent *a, int64_t user, const struct sx_rcv_queue *q,
                              simplex_bytes data)
{
    if (has_new_data(q) && data.len > 1)
        return sx_bytes(data.ptr + 1, data.len - 1);
    return sx_server_password(a, user, &q->server);
}

/* 0: the first. One that is not in use yet, or on its way out, does not move. */
static simplex_rc queue_to_move(struct simplex_agent *a, const struct sx_conn *c, int64_t queue,
                                struct sx_rcv_queue *old)
{
    simplex_rc rc = queue == 0 ? sx_store_rcvq_of(a->store, c->id, 0, old)
                               : sx_store_rcvq_get(a->store, queue, old);

    if (rc == SIMPLEX_OK && old->conn_id != c->id)
        return SIMPLEX_E_NOT_FOUND;
    if (rc == SIMPLEX_OK && (old->deleted || old->switch_state != SX_SW_NONE || old->replaces != 0))
        return SIMPLEX_E_PROHIBITED;
    return rc;
}

static simplex_rc begin(struct simplex_agent *a, const struct sx_conn *c, int64_t queue,
                        simplex_bytes server)
{
    struct sx_rcv_queue old, q;
    struct sx_server s;
    struct sx_wr data;
    simplex_rc rc = queue_to_move(a, c, queue, &old);

    memset(&q, 0, sizeof q);
    sx_wr_init(&data, 1024);
    if (rc == SIMPLEX_OK)
        rc = pick_server(a, c, &old, server, &s, &data);
    if (rc == SIMPLEX_OK)
        rc = sx_new_rcv_queue_on(a, c->id, &s, a->speaks.client.max, old.id, &q);
    old.switch_state = SX_SW_STARTED;
    if (rc == SIMPLEX_OK)
        rc = sx_store_rcvq_update(a->store, &old);
    if (rc == SIMPLEX_OK)
        rc = sx_command_add(a, c->id, SX_C_NEW, q.id, sx_wr_bytes(&data));
    sx_wr_free(&data);
    sx_wipe(&old, sizeof old);
    sx_wipe(&q, sizeof q);
    return rc;
}

simplex_rc sx_switch_start(struct simplex_agent *a, int64_t conn, int64_t queue,
                           simplex_bytes server)
{
    struct sx_conn c;
    struct sx_rcv_queue old;
    simplex_rc rc = sx_store_conn_get(a->store, conn, &c);

    if (rc == SIMPLEX_OK && c.deleted)
        rc = SIMPLEX_E_NOT_FOUND;
    if (rc != SIMPLEX_OK)
        return rc;
    if (!sx_switch_possible(&c) || c.suspended)
        return SIMPLEX_E_PROHIBITED;
    rc = switching(a, conn, &old);
    sx_wipe(&old, sizeof old);
    if (rc == SIMPLEX_OK)
        return SIMPLEX_E_PROHIBITED;
    return rc == SIMPLEX_E_NOT_FOUND ? begin(a, &c, queue, server) : rc;
}

/* Nothing may be sent before both sides are there, nor while the ratchet is out of step. */
bool sx_switch_possible(const struct sx_conn *c)
{
    return c->state == SX_CONN_READY && !sx_sync_blocks(c);
}

/* ---- the new queue exists ---- */

static simplex_rc send_list(struct simplex_agent *a, struct sx_conn *c, enum sx_msg_tag tag,
                            const struct sx_wr *item)
{
    struct sx_agent_msg msg = { .tag = SX_AM_MESSAGE, .msg = (uint8_t)tag };
    struct sx_outgoing o = { .type = (uint8_t)tag };
    int64_t id;

    if (item->bad)
        return SIMPLEX_E_NOMEM;
    msg.list = (struct sx_list){ 1, sx_wr_bytes(item) };
    return sx_enqueue(a, c, &msg, &o, &id);
}

simplex_rc sx_send_switch(struct simplex_agent *a, struct sx_conn *c, enum sx_msg_tag tag,
                          const union sx_switch_item *x)
{
    struct sx_wr w;
    simplex_rc rc;

    sx_wr_init(&w, 8192);
    switch (tag) {
    case SX_M_QADD:
        sx_qadd_encode(&w, &x->add);
        break;
    case SX_M_QKEY:
        sx_qkey_encode(&w, &x->key);
        break;
    case SX_M_QUSE:
        sx_quse_encode(&w, &x->use);
        break;
    default:
        sx_queue_ref_encode(&w, &x->test);
    }
    rc = send_list(a, c, tag, &w);
    sx_wr_free(&w);
    return rc;
}

simplex_rc sx_switch_created(struct simplex_agent *a, struct sx_conn *c,
                             const struct sx_rcv_queue *q)
{
    struct sx_rcv_queue old;
    simplex_rc rc = sx_store_rcvq_get(a->store, q->replaces, &old);

    if (rc != SIMPLEX_OK)
        return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_E_DB_DAMAGED : rc;
    old.switch_state = SX_SW_QADD;
    rc = sx_store_rcvq_update(a->store, &old);
    if (rc == SIMPLEX_OK)
        rc = sx_send_qadd(a, c, &old, q);
    sx_wipe(&old, sizeof old);
    return rc == SIMPLEX_OK ? tell(a, SIMPLEX_SWITCH_STARTED, q) : rc;
}

/* ---- QKEY ---- */

static bool is_at(const struct sx_server *server, const struct sx_id *snd_id,
                  const struct sx_queue_addr *addr)
{
    return sx_server_same_address(server, &addr->server) &&
           sx_bytes_eq(sx_id_bytes(snd_id), sx_id_bytes(&addr->snd_id));
}

simplex_rc sx_take_sender(struct simplex_agent *a, const struct sx_qkey *x, struct sx_rcv_queue *q)
{
    uint8_t secret[SX_DH_MAX];
    simplex_rc rc;

    if (x->queue.v.max < SX_CLIENT_MIN)
        return sx_switch_refuse(a, q->conn_id, SX_M_QKEY, SIMPLEX_E_VERSION);
    rc = sx_dh(&q->e2e.priv, &x->queue.dh, secret);
    if (rc != SIMPLEX_OK)
        return sx_rc_is_store(rc) ? rc : sx_switch_refuse(a, q->conn_id, SX_M_QKEY, SIMPLEX_E_KEY);
    memcpy(q->e2e_secret, secret, sizeof q->e2e_secret);
    sx_wipe(secret, sizeof secret);
    q->has_e2e_secret = true;
    q->sender_key = x->key;
    q->status = SX_Q_CONFIRMED;
    if (x->queue.v.max < q->client_version)
        q->client_version = x->queue.v.max;
    rc = sx_store_rcvq_update(a->store, q);
    if (rc == SIMPLEX_OK)
        rc = sx_command_add(a, q->conn_id, SX_C_KEY, q->id, sx_bytes(NULL, 0));
    return rc == SIMPLEX_OK && q->replaces != 0 ? tell(a, SIMPLEX_SWITCH_CONFIRMED, q) : rc;
}

static simplex_rc replacement_of(struct simplex_agent *a, const struct sx_conn *c,
                                 const struct sx_rcv_queue *from, struct sx_rcv_queue *q)
{
    struct sx_rcv_queue old;
    simplex_rc rc;

    if (from->switch_state == SX_SW_QADD)
        return sx_rcv_replacement(a, from, q);
    if (c->rcv_queues <= 1)
        return SIMPLEX_E_NOT_FOUND;
    rc = switching(a, c->id, &old);
    if (rc == SIMPLEX_OK)
        rc = old.switch_state == SX_SW_QADD ? sx_rcv_replacement(a, &old, q) : SIMPLEX_E_NOT_FOUND;
    sx_wipe(&old, sizeof old);
    return rc;
}

/* Said once more, behind a new ratchet: the key was taken. What the sender repeats may come through
 * the new queue alone, when the old one is gone. */
static simplex_rc known_key(struct simplex_agent *a, int64_t conn, const struct sx_qkey *x,
                            bool *known)
{
    struct sx_rcv_queue q;
    simplex_rc rc = SIMPLEX_OK;

    *known = false;
    for (unsigned n = 0; rc == SIMPLEX_OK && !*known; n++) {
        rc = sx_store_rcvq_of(a->store, conn, n, &q);
        *known = rc == SIMPLEX_OK && q.status != SX_Q_NEW &&
                 is_at(&q.server, &q.snd_id, &x->queue) && sx_pub_eq(&q.sender_key, &x->key);
    }
    sx_wipe(&q, sizeof q);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

/* Only through the queue that is being replaced (of several: through any), only for its
 * replacement, only once. */
simplex_rc sx_on_qkey(struct simplex_agent *a, struct sx_conn *c, const struct sx_rcv_queue *from,
                      const struct sx_agent_msg *m)
{
    struct sx_rd r = sx_rd_init(m->list.items);
    struct sx_rcv_queue q;
    struct sx_qkey x;
    bool added, known;
    simplex_rc rc;

    sx_qkey_next(&r, &x);
    if (r.bad)
        return sx_switch_refuse(a, c->id, SX_M_QKEY, SIMPLEX_E_PROHIBITED);
    rc = known_key(a, c->id, &x, &known);
    if (rc != SIMPLEX_OK || known)
        return rc;
    rc = sx_add_on_qkey(a, c, &x, &added);
    if (rc != SIMPLEX_OK || added)
        return rc;
    rc = replacement_of(a, c, from, &q);
    if (rc == SIMPLEX_OK && is_at(&q.server, &q.snd_id, &x.queue) && q.status == SX_Q_NEW)
        rc = sx_take_sender(a, &x, &q);
    else if (rc == SIMPLEX_OK || rc == SIMPLEX_E_NOT_FOUND)
        rc = sx_switch_refuse(a, c->id, SX_M_QKEY, SIMPLEX_E_PROHIBITED);
    sx_wipe(&q, sizeof q);
    return rc;
}

simplex_rc sx_switch_secured(struct simplex_agent *a, struct sx_conn *c, struct sx_rcv_queue *q)
{
    struct sx_rcv_queue old;
    simplex_rc rc = sx_store_rcvq_get(a->store, q->replaces, &old);

    if (rc == SIMPLEX_E_NOT_FOUND)
        rc = SIMPLEX_E_DB_DAMAGED;
    q->status = SX_Q_SECURED;
    old.switch_state = SX_SW_QUSE;
    if (rc == SIMPLEX_OK)
        rc = sx_store_rcvq_update(a->store, q);
    if (rc == SIMPLEX_OK)
        rc = sx_store_rcvq_update(a->store, &old);
    sx_wipe(&old, sizeof old);
    if (rc == SIMPLEX_OK)
        rc = sx_send_quse(a, c, q);
    return rc == SIMPLEX_OK ? tell(a, SIMPLEX_SWITCH_SECURED, q) : rc;
}

/* ---- the sender uses it ---- */

simplex_rc sx_switch_used(struct simplex_agent *a, struct sx_rcv_queue *q)
{
    struct sx_rcv_queue old;
    simplex_rc rc;

    if (q->replaces == 0 || (q->primary && q->status == SX_Q_ACTIVE))
        return SIMPLEX_OK;
    rc = sx_store_rcvq_get(a->store, q->replaces, &old);
    if (rc == SIMPLEX_E_NOT_FOUND)
        rc = SIMPLEX_E_DB_DAMAGED;
    if (rc == SIMPLEX_OK && old.switch_state == SX_SW_RECEIVED) {
        sx_wipe(&old, sizeof old);
        return SIMPLEX_OK; /* it is in use */
    }
    if (rc == SIMPLEX_OK && (q->deleted || old.switch_state != SX_SW_QUSE))
        rc = SIMPLEX_E_PROHIBITED; /* not told to use it */
    if (rc == SIMPLEX_OK) {
        q->status = SX_Q_ACTIVE;
        q->primary = old.primary;
        old.primary = false;
        old.switch_state = SX_SW_RECEIVED;
        rc = sx_store_rcvq_update(a->store, q);
    }
    if (rc == SIMPLEX_OK)
        rc = sx_store_rcvq_update(a->store, &old);
    if (rc == SIMPLEX_OK)
        rc = sx_command_add(a, q->conn_id, SX_C_DRAIN, old.id, sx_bytes(NULL, 0));
    sx_wipe(&old, sizeof old);
    return rc;
}

/* ---- the old queue ends ---- */

/* Two SUBs in a row with no message between their answers: the server has none. (One is not enough:
 * servers answer first and send the message right behind.) */
bool sx_drained(struct simplex_agent *a, int64_t queue)
{
    struct sx_rt_rcvq *rt = sx_rt_rcvq_by_id(a, queue);

    if (rt == NULL)
        return true;
    return !rt->unacked && ++rt->quiet >= 2;
}

/* Asking again would only bring the message that the application has not acknowledged yet. A queue
 * that is lost is not wanted any more either, but no word of the application would change that. */
bool sx_drain_waits(struct simplex_agent *a, int64_t queue)
{
    struct sx_rt_rcvq *rt = sx_rt_rcvq_by_id(a, queue);

    if (rt == NULL || rt->lost || (!rt->unacked && rt->want))
        return false;
    rt->draining = true; /* wakes it */
    return true;
}

simplex_rc sx_drain_done(struct simplex_agent *a, int64_t queue)
{
    struct sx_rcv_queue old;
    struct sx_rt_rcvq *rt = sx_rt_rcvq_by_id(a, queue);
    simplex_rc rc = sx_store_rcvq_get(a->store, queue, &old);

    if (rc != SIMPLEX_OK)
        return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
    if (rt != NULL)
        rt->want = false;
    old.deleted = true;
    rc = sx_store_rcvq_update(a->store, &old);
    if (rc == SIMPLEX_OK)
        rc = sx_command_add(a, old.conn_id, SX_C_DEL, old.id, sx_bytes(NULL, 0));
    sx_held_release(a, old.conn_id);
    sx_wipe(&old, sizeof old);
    return rc;
}

/* DEL was answered or is given up: of the old queue, or of a new one that was never used. */
simplex_rc sx_switch_deleted(struct simplex_agent *a, const struct sx_rcv_queue *gone,
                             simplex_rc why, const char *detail)
{
    struct sx_rcv_queue q;
    simplex_rc rc = sx_store_rcvq_delete(a->store, gone->id);

    sx_rt_rcvq_remove(a, gone->id);
    sx_held_release(a, gone->conn_id);
    if (rc == SIMPLEX_OK && gone->switch_state == SX_SW_REMOVE)
        return sx_queue_gone(a, gone, why, detail);
    if (rc != SIMPLEX_OK || gone->switch_state != SX_SW_RECEIVED)
        return rc;
    rc = sx_rcv_replacement(a, gone, &q);
    if (rc == SIMPLEX_OK) {
        q.replaces = 0;
        q.primary = q.primary || gone->primary; /* which another one left to it meanwhile */
        rc = sx_store_rcvq_update(a->store, &q);
    }
    if (rc == SIMPLEX_OK)
        rc = tell(a, SIMPLEX_SWITCH_COMPLETED, &q);
    if (rc == SIMPLEX_OK && why != SIMPLEX_OK)
        rc = sx_emit_err_of(a, gone->conn_id, &gone->server, why, detail);
    sx_wipe(&q, sizeof q);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_E_DB_DAMAGED : rc;
}

/* ---- abort ---- */

static simplex_rc drop_new(struct simplex_agent *a, struct sx_rcv_queue *q)
{
    struct sx_rt_conn *w = sx_rt_conn_get(a, q->conn_id, false);
    struct sx_command cmd = { .id = 0 };
    bool out = false;
    simplex_rc rc;

    while ((rc = sx_store_command_next(a->store, q->conn_id, cmd.id, &cmd)) == SIMPLEX_OK) {
        if (cmd.queue_id != q->id || cmd.tag == SX_C_SKEY)
            continue;
        out = cmd.tag == SX_C_NEW && w != NULL && w->in_flight && w->command == cmd.id;
        if (!out)
            rc = sx_store_command_delete(a->store, cmd.id);
        if (rc != SIMPLEX_OK)
            return rc;
    }
    if (rc != SIMPLEX_E_NOT_FOUND)
        return rc;
    if (q->rcv_id.len == 0 && !out)
        return sx_store_rcvq_delete(a->store, q->id);
    rc = sx_store_rcvq_update(a->store, q);
    if (rc == SIMPLEX_OK && !out)
        rc = sx_command_add(a, q->conn_id, SX_C_DEL, q->id, sx_bytes(NULL, 0));
    return rc;
}

simplex_rc sx_rcv_queue_end(struct simplex_agent *a, struct sx_rcv_queue *q)
{
    struct sx_rt_rcvq *rt = sx_rt_rcvq_by_id(a, q->id);

    q->deleted = true;
    if (rt != NULL)
        rt->want = false;
    return drop_new(a, q);
}

static simplex_rc undo(struct simplex_agent *a, struct sx_rcv_queue *old, simplex_rc why,
                       const char *detail)
{
    struct sx_rcv_queue q;
    simplex_rc rc = sx_rcv_replacement(a, old, &q);

    if (rc != SIMPLEX_OK)
        return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_E_DB_DAMAGED : rc;
    old->switch_state = SX_SW_NONE;
    rc = sx_store_rcvq_update(a->store, old);
    if (rc == SIMPLEX_OK)
        rc = sx_rcv_queue_end(a, &q);
    if (rc == SIMPLEX_OK)
        rc = sx_emit_switch(a, q.conn_id, SIMPLEX_SWITCH_RCV, SIMPLEX_SWITCH_ABORTED, &q.server,
                            why, detail);
    sx_wipe(&q, sizeof q);
    return rc;
}

simplex_rc sx_switch_abort(struct simplex_agent *a, int64_t conn)
{
    struct sx_conn c;
    struct sx_rcv_queue old;
    simplex_rc rc = sx_store_conn_get(a->store, conn, &c);

    if (rc == SIMPLEX_OK && c.deleted)
        rc = SIMPLEX_E_NOT_FOUND;
    if (rc != SIMPLEX_OK)
        return rc;
    rc = switching(a, conn, &old);
    if (rc == SIMPLEX_E_NOT_FOUND ||
        (rc == SIMPLEX_OK && old.switch_state != SX_SW_STARTED && old.switch_state != SX_SW_QADD))
        rc = SIMPLEX_E_PROHIBITED;
    if (rc == SIMPLEX_OK)
        rc = undo(a, &old, SIMPLEX_OK, NULL);
    sx_wipe(&old, sizeof old);
    return rc;
}

simplex_rc sx_switch_failed(struct simplex_agent *a, int64_t conn, simplex_rc why,
                            const char *detail)
{
    struct sx_rcv_queue old;
    simplex_rc rc = switching(a, conn, &old);

    if (rc == SIMPLEX_OK && old.switch_state != SX_SW_RECEIVED)
        rc = undo(a, &old, why, detail);
    sx_wipe(&old, sizeof old);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

/* A queue that could not be subscribed any more. True: that is no news. */
simplex_rc sx_switch_sub_refused(struct simplex_agent *a, int64_t queue, simplex_rc why,
                                 const char *detail, bool *expected)
{
    struct sx_rcv_queue q;
    simplex_rc rc = sx_store_rcvq_get(a->store, queue, &q);

    *expected = rc == SIMPLEX_OK &&
                (q.deleted || q.switch_state == SX_SW_RECEIVED || q.switch_state == SX_SW_REMOVE);
    if (rc == SIMPLEX_OK && !*expected && q.replaces != 0 && !q.primary)
        rc = sx_switch_failed(a, q.conn_id, why, detail);
    sx_wipe(&q, sizeof q);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}
