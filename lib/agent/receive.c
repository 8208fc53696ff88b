/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A MSG of a server: the server's layer, the queue's layer, then by envelope (smp.md section 7,
 * agent.md section 2). Whatever cannot be read is shown as ERR and acknowledged: the queue must
 * not stand still for it.
 */
#include "agent/address.h"
#include "agent/enqueue.h"
#include "agent/envelope.h"
#include "agent/event.h"
#include "agent/handshake.h"
#include "agent/network.h"
#include "agent/noise.h"
#include "agent/push.h"
#include "agent/receive.h"
#include "agent/resync.h"
#include "agent/several.h"
#include "agent/switch.h"
#include "agent/unread.h"
#include "agent/work.h"

simplex_rc sx_open_server_layer(struct simplex_agent *a, const struct sx_rcv_queue *q,
                                const struct sx_rsp *msg, struct sx_rcv_msg *out)
{
    struct sx_box_key box;
    simplex_bytes plain;
    simplex_rc rc;

    if (msg->msg.msg_id.len != SX_NONCE_LEN || msg->msg.body.len > SX_BLOCK || !q->has_srv_secret)
        return SIMPLEX_E_DECODE;
    memcpy(a->scratch, msg->msg.body.ptr, msg->msg.body.len);
    sx_box_key_init(&box, q->srv_secret);
    rc = sx_box_open_padded(&box, msg->msg.msg_id.ptr, a->scratch, msg->msg.body.len, &plain);
    sx_wipe(&box, sizeof box);
    return rc == SIMPLEX_OK ? sx_rcv_msg_decode(plain, out) : rc;
}

/* The server may write anything there: a message is not lost for a time nobody can live in. */
static int64_t to_ms(int64_t s)
{
    return s >= 0 && s <= INT64_MAX / 1000 ? s * 1000 : 0;
}

/* The sender met a full queue and waits: tell it that it may go on (agent.md section 6.9). */
static simplex_rc on_quota(struct simplex_agent *a, struct sx_conn *c, const struct sx_rcv_queue *q)
{
    struct sx_rt_rcvq *rt = sx_rt_rcvq_by_id(a, q->id);
    struct sx_agent_msg msg = { .tag = SX_AM_MESSAGE, .msg = SX_M_QCONT };
    struct sx_outgoing o = { .type = SX_M_QCONT };
    struct sx_snd_queue sq;
    int64_t id;
    bool too_many = false;
    simplex_rc rc = sx_first_snd_queue(a, c, &sq);

    if (rc == SIMPLEX_E_NOT_FOUND || (rc == SIMPLEX_OK && !sx_can_send(c, &sq)))
        return SIMPLEX_OK; /* nobody to tell yet: its slow retry will find out */
    sx_wipe(&sq, sizeof sq);
    if (rc == SIMPLEX_OK)
        rc = sx_answers_wait(a, c->id, &too_many);
    if (rc != SIMPLEX_OK || too_many)
        return rc;
    msg.qcont.server = q->server;
    msg.qcont.snd_id = q->snd_id;
    rc = sx_enqueue(a, c, &msg, &o, &id);
    if (rc == SIMPLEX_OK && rt != NULL)
        sx_qcont_waits(a, rt);
    return rc;
}

static simplex_rc in_message(struct simplex_agent *a, struct sx_conn *c, struct sx_rcv_queue *q,
                             const struct sx_opened *o, struct sx_incoming *in)
{
    simplex_rc rc = sx_switch_used(a, q);

    return rc == SIMPLEX_OK ? sx_on_message(a, c, q, o, in) : rc;
}

static simplex_rc in_keys(struct simplex_agent *a, struct sx_conn *c, struct sx_rcv_queue *q,
                          const struct sx_opened *o, struct sx_incoming *in)
{
    simplex_rc rc = sx_switch_used(a, q);

    if (rc == SIMPLEX_OK)
        rc = sx_on_ratchet_key(a, c, q, o, in);
    if (rc != SIMPLEX_OK || in->hold)
        return rc;
    sx_held_release(a, c->id); /* the same keys, in another queue */
    return sx_keys_came(a, c, q);
}

static simplex_rc by_envelope(struct simplex_agent *a, struct sx_conn *c, struct sx_rcv_queue *q,
                              uint8_t *body, size_t len, struct sx_incoming *in)
{
    struct sx_opened o;
    simplex_rc rc;

    memset(&o, 0, sizeof o);
    rc = sx_open_body(q, body, len, &o);
    if (rc == SIMPLEX_E_RATCHET_DUPLICATE)
        rc = SIMPLEX_OK; /* a confirmation that came twice */
    else if (rc == SIMPLEX_E_PROHIBITED && o.first && !o.outer.has_key && c->rcv_queues > 1)
        rc = SIMPLEX_OK; /* its confirmation was lost: one of several that brings nothing */
    else if (rc == SIMPLEX_OK && (o.env.tag == SX_ENV_INVITATION) != (c->role == SX_ADDRESS))
        rc = SIMPLEX_E_PROHIBITED; /* requests to addresses only, and nothing else there */
    else if (rc == SIMPLEX_OK && c->role == SX_ADDRESS)
        rc = sx_on_request(a, q, &o, in);
    else if (rc == SIMPLEX_OK && o.env.tag == SX_ENV_CONFIRMATION)
        rc = sx_on_confirmation(a, c, q, &o);
    else if (rc == SIMPLEX_OK && o.env.tag == SX_ENV_MESSAGE)
        rc = in_message(a, c, q, &o, in);
    else if (rc == SIMPLEX_OK)
        rc = in_keys(a, c, q, &o, in);
    sx_wipe(o.secret, sizeof o.secret);
    return rc;
}

/* The application was shown it again and again and never acknowledged it: perhaps it cannot live
 * with it, and nothing behind it would ever come (section 8.1). */
#define POISON_ATTEMPTS 8
#define POISON_TIME (24 * 3600 * 1000LL)

static simplex_rc drop_poison(struct simplex_agent *a, int64_t conn, int64_t msg_id)
{
    struct simplex_event ev;
    simplex_rc rc = sx_store_rcv_msg_delete(a->store, conn, msg_id);

    sx_held_release(a, conn);
    if (rc != SIMPLEX_OK)
        return rc;
    sx_event_init(&ev, SIMPLEX_EV_ERR, conn);
    ev.msg_id = msg_id;
    ev.rc = SIMPLEX_E_TIMEOUT;
    sx_event_set_detail(&ev, "not acknowledged");
    return sx_emit(a, &ev);
}

/* The server delivers again what it has no ACK for: we have the row, nothing is to be decrypted. */
static simplex_rc known_row(struct simplex_agent *a, const struct sx_rcv_queue *q,
                            struct sx_incoming *in, bool *known)
{
    struct sx_rcv_msg_row m;
    simplex_rc rc = sx_store_rcv_msg_find(a->store, q->conn_id, q->id, in->srv_msg_id, &m);

    *known = rc == SIMPLEX_OK;
    if (rc != SIMPLEX_OK)
        return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
    if (m.attempts >= POISON_ATTEMPTS && sx_now_ms() - m.rcv_ts >= POISON_TIME)
        return drop_poison(a, q->conn_id, m.id);
    in->keep = true; /* the application's acknowledgement sends ours */
    return sx_store_rcv_msg_attempt(a->store, q->conn_id, m.id);
}

static simplex_rc process(struct simplex_agent *a, struct sx_rcv_queue *q, const struct sx_rsp *rsp,
                          struct sx_incoming *in)
{
    struct sx_rcv_msg msg;
    struct sx_conn c;
    bool known;
    simplex_rc rc = known_row(a, q, in, &known);

    if (rc != SIMPLEX_OK || known)
        return rc;
    rc = sx_store_conn_get(a->store, q->conn_id, &c);
    if (rc == SIMPLEX_OK && c.deleted)
        return SIMPLEX_OK;
    if (rc == SIMPLEX_OK)
        rc = sx_unread_holds(a, &c, q->id, &in->leave);
    if (rc == SIMPLEX_OK && in->leave)
        return SIMPLEX_OK;
    if (rc == SIMPLEX_OK)
        rc = sx_open_server_layer(a, q, rsp, &msg);
    if (rc != SIMPLEX_OK)
        return rc;
    in->srv_ts = to_ms(msg.ts_s);
    in->notify = msg.notify;
    rc = sx_notifier_seen(a, q->id, in->srv_msg_id, in->srv_ts);
    if (rc != SIMPLEX_OK)
        return rc;
    sx_wake_quota(a, c.id, msg.quota);
    sx_noise_heard(a, c.id);
    if (msg.quota)
        return on_quota(a, &c, q);
    return by_envelope(a, &c, q, a->scratch + (msg.body.ptr - a->scratch), msg.body.len, in);
}

static simplex_rc report(struct simplex_agent *a, int64_t conn, simplex_rc why)
{
    simplex_rc rc = sx_handler_begin(a);

    if (rc != SIMPLEX_OK)
        return rc;
    rc = sx_emit_err(a, conn, why, NULL);
    sx_handler_end(a, rc);
    return rc;
}

/* Not its turn: the ratchet is where it was, but the queue has been used. */
static void left_on_server(struct simplex_agent *a, int64_t queue, int64_t ext_id)
{
    struct sx_rcv_queue q;
    simplex_rc rc;

    sx_held(a, queue, ext_id);
    if (sx_handler_begin(a) != SIMPLEX_OK)
        return;
    rc = sx_store_rcvq_get(a->store, queue, &q);
    if (rc == SIMPLEX_OK)
        rc = sx_switch_used(a, &q);
    sx_wipe(&q, sizeof q);
    sx_handler_end(a, rc);
}

static void note_shown(struct simplex_agent *a, int64_t queue)
{
    struct sx_rt_rcvq *rt = sx_rt_rcvq_by_id(a, queue);

    sx_noise_shown(a, queue);
    if (rt != NULL) {
        rt->unacked = true;
        rt->on_hold = false;
        rt->quiet = 0;
        rt->server->served.received++;
    }
}

/* It was its turn: the next one waits its own time. */
static void note_taken(struct simplex_agent *a, int64_t queue)
{
    struct sx_rt_rcvq *rt = sx_rt_rcvq_by_id(a, queue);

    if (rt != NULL)
        rt->held_since = 0;
}

/* The agent is to be suspended: it comes again in another session. What was fetched is taken. */
static bool left_there(struct simplex_agent *a, int64_t queue)
{
    struct sx_rt_rcvq *rt = sx_rt_rcvq_by_id(a, queue);

    if (!sx_ending(a, SX_END_RECEIVING) || (rt != NULL && rt->fetch != 0))
        return false;
    if (rt != NULL)
        rt->server->missed = true;
    return true;
}

void sx_receive(struct simplex_agent *a, int64_t queue, const struct sx_rsp *rsp)
{
    struct sx_incoming in = { .srv_msg_id = rsp->msg.msg_id };
    struct sx_rcv_queue q;
    int64_t conn;
    simplex_rc rc;

    if (left_there(a, queue))
        return;
    rc = sx_handler_begin(a);
    if (rc != SIMPLEX_OK)
        return; /* not acknowledged: it will come again */
    note_shown(a, queue);
    rc = sx_store_rcvq_get(a->store, queue, &q);
    if (rc == SIMPLEX_E_NOT_FOUND) {
        sx_handler_end(a, SIMPLEX_OK);
        return;
    }
    conn = q.conn_id;
    if (rc == SIMPLEX_OK)
        rc = process(a, &q, rsp, &in);
    sx_wipe(&q, sizeof q);
    sx_wipe(a->plain, SX_BLOCK);
    in.hold = in.hold && rc == SIMPLEX_OK;
    sx_handler_end(a, in.hold ? SIMPLEX_E_PROHIBITED : rc);
    if (in.hold && !a->failed) {
        left_on_server(a, queue, in.ext_id);
        return;
    }
    if (in.leave && !a->failed) {
        sx_unread_left(a, queue);
        return;
    }
    note_taken(a, queue);
    if (rc != SIMPLEX_OK && !sx_rc_is_store(rc)) {
        in.keep = rc == SIMPLEX_E_DB_DAMAGED; /* its fault is here: it stays on the server */
        rc = report(a, conn, rc);
    }
    if (rc == SIMPLEX_OK && !in.keep && !a->failed)
        rc = sx_ack_later(a, queue, rsp->msg.msg_id, true);
    if (rc != SIMPLEX_OK && !a->failed)
        sx_agent_store_failed(a, rc);
}
