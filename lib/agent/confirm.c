/* SPDX-License-Identifier: Apache-2.0 */
/* Confirmations, HELLO, and when a connection is ready (agent.md section 6.1, steps 7 to 14). */
#include "agent/address.h"
#include "agent/enqueue.h"
#include "agent/envelope.h"
#include "agent/event.h"
#include "agent/handshake.h"
#include "agent/links.h"
#include "agent/rotation.h"
#include "agent/route.h"
#include "agent/several.h"
#include "agent/switch.h"
#include "agent/work.h"

static simplex_rc decrypt_info(struct simplex_agent *a, struct sx_ratchet *r,
                               const struct sx_opened *o, struct sx_agent_msg *msg,
                               uint8_t hash[32])
{
    struct sx_ratchet_in in;
    simplex_rc rc;

    if (o->env.body.len > SX_BLOCK)
        return SIMPLEX_E_DECODE;
    rc = sx_ratchet_decrypt(r, o->env.body, a->plain, &in, NULL);
    sx_wipe(&in.diff, sizeof in.diff);
    if (rc != SIMPLEX_OK)
        return rc;
    sx_sha256(in.text, hash);
    return sx_agent_msg_decode(in.text, msg);
}

/* What both sides note of a confirmation: the peer's message number 1 and the queue's secret. */
static void note(struct sx_conn *c, struct sx_rcv_queue *q, const struct sx_opened *o,
                 const uint8_t hash[32])
{
    if (c->last_rcv_ext_id == 0) {
        c->last_rcv_ext_id = 1;
        memcpy(c->last_rcv_hash, hash, sizeof c->last_rcv_hash);
        c->has_rcv_hash = true;
    }
    memcpy(q->e2e_secret, o->secret, sizeof q->e2e_secret);
    q->has_e2e_secret = true;
    q->status = SX_Q_CONFIRMED;
    if (o->inner.has_key)
        q->sender_key = o->inner.key;
    if (o->outer.version < q->client_version)
        q->client_version = o->outer.version;
}

static simplex_rc store_confirmed(struct simplex_agent *a, const struct sx_conn *c,
                                  const struct sx_rcv_queue *q, const struct sx_ratchet *r,
                                  const struct sx_opened *o)
{
    uint8_t hash[32];
    simplex_rc rc;

    sx_sha256(o->env.body, hash);
    rc = sx_store_ratchet_put(a->store, c->id, r, NULL);
    if (rc == SIMPLEX_OK)
        rc = sx_store_rcvq_update(a->store, q);
    if (rc == SIMPLEX_OK)
        rc = sx_store_conn_update(a->store, c);
    if (rc == SIMPLEX_OK)
        rc = sx_store_rcv_hash_add(a->store, c->id, hash, 1, sx_now_ms());
    return rc;
}

/* ---- the initiator: the joiner's confirmation ---- */

static simplex_rc ask_application(struct simplex_agent *a, const struct sx_conn *c,
                                  const struct sx_agent_msg *msg)
{
    struct sx_confirmation conf = { .conn_id = c->id, .info = msg->info };
    struct sx_queue_addr addr;
    struct sx_rd r = sx_rd_init(msg->queues.items);
    struct simplex_event ev;
    simplex_rc rc;

    sx_queue_info_decode(&r, &addr); /* a reference peer names only one */
    if (!r.bad && addr.v.max < SX_CLIENT_MIN)
        return SIMPLEX_E_VERSION;
    conf.reply_queue = msg->queues.items;
    rc = r.bad ? SIMPLEX_E_DECODE : sx_store_conf_add(a->store, &conf);
    if (rc != SIMPLEX_OK)
        return rc;
    sx_event_init(&ev, SIMPLEX_EV_CONF, c->id);
    ev.conf = conf.id;
    ev.pq = c->pq_support;
    sx_event_set_server(&ev, &addr.server);
    sx_wr_raw(&ev.data, msg->info);
    return sx_emit(a, &ev);
}

static simplex_rc answer_x3dh(struct simplex_agent *a, const struct sx_conn *c,
                              const struct sx_opened *o, struct sx_ratchet *r)
{
    const struct sx_e2e_params *peer = &o->env.e2e;
    struct sx_x3dh_keys own;
    simplex_rc rc;

    if (peer->v.max < a->speaks.e2e.min || peer->v.max > a->speaks.e2e.max)
        return SIMPLEX_E_VERSION;
    memset(&own, 0, sizeof own);
    rc = sx_store_x3dh_get(a->store, c->id, &own);
    if (rc == SIMPLEX_E_NOT_FOUND)
        rc = SIMPLEX_E_PROHIBITED;
    if (rc == SIMPLEX_OK)
        rc = sx_ratchet_init_receive(r, &own, peer, c->pq_support);
    if (rc == SIMPLEX_OK)
        r->max_supported = a->speaks.e2e.max;
    sx_x3dh_keys_wipe(&own);
    return rc;
}

/* It belongs to the first queue, whichever the confirmation came through. */
static simplex_rc link_used(struct simplex_agent *a, const struct sx_conn *c,
                            const struct sx_rcv_queue *q)
{
    struct sx_rcv_queue first;
    simplex_rc rc;

    if (q->primary)
        return sx_link_used(a, c, q->id);
    rc = sx_store_rcvq_of(a->store, c->id, 0, &first);
    if (rc == SIMPLEX_OK)
        rc = sx_link_used(a, c, first.id);
    sx_wipe(&first, sizeof first);
    return rc;
}

static simplex_rc initiator(struct simplex_agent *a, struct sx_conn *c, struct sx_rcv_queue *q,
                            const struct sx_opened *o, struct sx_ratchet *r)
{
    struct sx_agent_msg msg;
    uint8_t hash[32];
    simplex_rc rc;

    if ((c->state != SX_CONN_INVITED && c->state != SX_CONN_REQUESTED) || !o->env.has_e2e)
        return SIMPLEX_E_PROHIBITED;
    c->agent_version = o->env.version;
    c->pq_support = c->pq_support && o->env.version >= 5 && o->env.e2e.v.max >= 3;
    rc = answer_x3dh(a, c, o, r);
    if (rc == SIMPLEX_OK)
        rc = decrypt_info(a, r, o, &msg, hash);
    if (rc == SIMPLEX_OK && (msg.tag != SX_AM_INFO_REPLY || msg.queues.count == 0))
        rc = SIMPLEX_E_DECODE;
    if (rc == SIMPLEX_OK && c->state == SX_CONN_REQUESTED)
        rc = sx_request_answered(a, c);
    if (rc != SIMPLEX_OK)
        return rc;
    c->state = SX_CONN_CONFIRMED;
    note(c, q, o, hash);
    rc = ask_application(a, c, &msg);
    if (rc == SIMPLEX_OK)
        rc = sx_store_x3dh_delete(a->store, c->id);
    if (rc == SIMPLEX_OK)
        rc = link_used(a, c, q);
    if (rc == SIMPLEX_OK)
        rc = store_confirmed(a, c, q, r, o);
    return rc == SIMPLEX_OK ? sx_came(a, c, q, 1, true, 0) : rc;
}

/* ---- the joiner: the initiator's confirmation ---- */

static simplex_rc show_info(struct simplex_agent *a, const struct sx_conn *c,
                            const struct sx_agent_msg *msg)
{
    struct simplex_event ev;

    sx_event_init(&ev, SIMPLEX_EV_INFO, c->id);
    ev.pq = c->pq_support;
    sx_wr_raw(&ev.data, msg->info);
    return sx_emit(a, &ev);
}

static simplex_rc joiner(struct simplex_agent *a, struct sx_conn *c, struct sx_rcv_queue *q,
                         const struct sx_opened *o, struct sx_ratchet *r)
{
    struct sx_agent_msg msg;
    uint8_t hash[32];
    simplex_rc rc;

    if (o->env.has_e2e || c->state != SX_CONN_JOINING)
        return SIMPLEX_E_PROHIBITED;
    rc = sx_store_ratchet_get(a->store, c->id, r);
    if (rc == SIMPLEX_OK)
        rc = decrypt_info(a, r, o, &msg, hash);
    if (rc == SIMPLEX_OK && msg.tag != SX_AM_INFO)
        rc = SIMPLEX_E_DECODE;
    if (rc != SIMPLEX_OK)
        return rc;
    note(c, q, o, hash);
    if (!o->inner.has_key)
        q->status = SX_Q_ACTIVE; /* the initiator secured it itself */
    rc = show_info(a, c, &msg);
    if (rc == SIMPLEX_OK)
        rc = store_confirmed(a, c, q, r, o);
    if (rc == SIMPLEX_OK)
        rc = sx_came(a, c, q, 1, true, 0);
    if (rc == SIMPLEX_OK && o->inner.has_key)
        return sx_command_add(a, c->id, SX_C_KEY, q->id, sx_bytes(NULL, 0));
    return rc == SIMPLEX_OK ? sx_connected(a, c) : rc;
}

simplex_rc sx_on_confirmation(struct simplex_agent *a, struct sx_conn *c, struct sx_rcv_queue *q,
                              const struct sx_opened *o)
{
    struct sx_ratchet r;
    simplex_rc rc;

    bool waits = c->role == SX_INITIATOR
                     ? c->state == SX_CONN_INVITED || c->state == SX_CONN_REQUESTED
                     : c->state == SX_CONN_JOINING;

    if (o->env.version < a->speaks.agent.min ||
        (o->env.version > a->speaks.agent.max && o->env.version > c->agent_version))
        return SIMPLEX_E_VERSION;
    /* A copy of what one of several queues brought; of them this one may be left. */
    if (!waits && (c->rcv_queues > 1 || c->state == SX_CONN_READY))
        return sx_confirmed_again(a, c, q, o);
    memset(&r, 0, sizeof r);
    rc = c->role == SX_INITIATOR ? initiator(a, c, q, o, &r) : joiner(a, c, q, o, &r);
    sx_ratchet_wipe(&r);
    return rc;
}

/* ---- HELLO and CON ---- */

simplex_rc sx_first_snd_queue(struct simplex_agent *a, const struct sx_conn *c,
                              struct sx_snd_queue *q)
{
    return sx_store_sndq_of(a->store, c->id, 0, q);
}

simplex_rc sx_connected(struct simplex_agent *a, struct sx_conn *c)
{
    struct simplex_event ev;
    struct sx_ratchet r;
    simplex_rc rc;

    if (c->state == SX_CONN_READY)
        return SIMPLEX_OK;
    memset(&r, 0, sizeof r);
    rc = sx_store_ratchet_get(a->store, c->id, &r);
    if (rc == SIMPLEX_OK) {
        c->state = SX_CONN_READY;
        rc = sx_store_conn_update(a->store, c);
    }
    if (rc == SIMPLEX_OK)
        rc = sx_rotation_connected(a, c);
    sx_event_init(&ev, SIMPLEX_EV_CON, c->id);
    ev.pq = r.snd_kem || r.rcv_kem;
    sx_ratchet_wipe(&r);
    if (rc == SIMPLEX_OK)
        return sx_emit(a, &ev);
    sx_event_clear(&ev);
    return rc;
}

simplex_rc sx_send_hello(struct simplex_agent *a, struct sx_conn *c)
{
    struct sx_agent_msg msg = { .tag = SX_AM_MESSAGE, .msg = SX_M_HELLO };
    struct sx_outgoing o = { .type = SX_M_HELLO, .notify = true };
    int64_t id;

    return sx_enqueue(a, c, &msg, &o, &id);
}

static simplex_rc reached_peer(struct simplex_agent *a, struct sx_conn *c,
                               struct sx_snd_queue *q)
{
    simplex_rc rc;

    q->status = SX_Q_ACTIVE;
    rc = sx_store_sndq_update(a->store, q);
    return rc == SIMPLEX_OK ? sx_connected(a, c) : rc;
}

simplex_rc sx_on_hello(struct simplex_agent *a, struct sx_conn *c, struct sx_rcv_queue *q)
{
    struct sx_snd_queue sq;
    simplex_rc rc;

    q->status = SX_Q_ACTIVE;
    rc = sx_store_rcvq_update(a->store, q);
    if (rc == SIMPLEX_OK)
        rc = sx_first_snd_queue(a, c, &sq);
    if (rc != SIMPLEX_OK)
        return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_E_PROHIBITED : rc;
    if (c->role == SX_INITIATOR && sq.status != SX_Q_ACTIVE)
        rc = sx_send_hello(a, c);
    else /* the initiator's HELLO answers ours: it arrived, even if the server's answer did not */
        rc = reached_peer(a, c, &sq);
    sx_wipe(&sq, sizeof sq);
    return rc;
}

simplex_rc sx_heard_from_peer(struct simplex_agent *a, struct sx_conn *c,
                              const struct sx_rcv_queue *q, bool word)
{
    struct sx_snd_queue sq;
    simplex_rc rc;

    if (c->role != SX_INITIATOR || c->state != SX_CONN_ACCEPTED ||
        (word && q->mode == SX_MODE_MESSAGING))
        return SIMPLEX_OK;
    rc = sx_first_snd_queue(a, c, &sq);
    if (rc == SIMPLEX_OK)
        rc = reached_peer(a, c, &sq);
    sx_wipe(&sq, sizeof sq);
    return rc;
}

static simplex_rc hello_sent(struct simplex_agent *a, struct sx_conn *c, struct sx_snd_queue *q)
{
    struct sx_rcv_queue rq;
    simplex_rc rc;

    q->status = SX_Q_ACTIVE;
    rc = sx_store_sndq_update(a->store, q);
    if (rc == SIMPLEX_OK)
        rc = sx_store_rcvq_of(a->store, c->id, 0, &rq);
    if (rc != SIMPLEX_OK)
        return rc;
    bool active = rq.status == SX_Q_ACTIVE;
    sx_wipe(&rq, sizeof rq);
    return active ? sx_connected(a, c) : SIMPLEX_OK;
}

/* The initiator's confirmation arrived: in a queue it secured itself nothing more is needed. */
static simplex_rc confirmation_sent(struct simplex_agent *a, struct sx_conn *c,
                                    struct sx_snd_queue *q)
{
    bool fast = q->mode == SX_MODE_MESSAGING;
    simplex_rc rc;

    if (c->role == SX_JOINER)
        return SIMPLEX_OK;
    if (q->status != SX_Q_ACTIVE) /* the peer's answer may have come first */
        q->status = fast ? SX_Q_ACTIVE : SX_Q_CONFIRMED;
    rc = sx_store_sndq_update(a->store, q);
    if (rc == SIMPLEX_OK)
        rc = sx_store_conf_delete_all(a->store, c->id);
    return rc == SIMPLEX_OK && fast ? sx_connected(a, c) : rc;
}

simplex_rc sx_on_sent(struct simplex_agent *a, struct sx_conn *c, struct sx_snd_queue *q,
                      uint8_t type)
{
    switch (type) {
    case 0:
        return confirmation_sent(a, c, q);
    case SX_M_HELLO:
        return hello_sent(a, c, q);
    default:
        return sx_switch_sent(a, q, type);
    }
}
