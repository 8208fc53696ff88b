/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of a connection: ratchet, order, and what each kind does (section 6.8). */
#include "agent/envelope.h"
#include "agent/event.h"
#include "agent/handshake.h"
#include "agent/numbers.h"
#include "agent/receive.h"
#include "agent/resync.h"
#include "agent/rotation.h"
#include "agent/several.h"
#include "agent/switch.h"
#include "agent/work.h"

/* ---- the ratchet ---- */

static simplex_rc raise_version(const struct simplex_agent *a, struct sx_conn *c, uint16_t received)
{
    uint16_t v = received < a->speaks.agent.max ? received : a->speaks.agent.max;

    if (received >= a->speaks.agent.min && v > c->agent_version)
        c->agent_version = v;
    return SIMPLEX_OK;
}

struct decrypted {
    simplex_bytes text;
    bool pq;
    bool had_chain; /* for sending, before this message */
    bool unproven;  /* nothing was read with this ratchet before */
};

static simplex_rc decrypt(struct simplex_agent *a, struct sx_conn *c, simplex_bytes msg,
                          struct decrypted *d)
{
    struct sx_ratchet r;
    struct sx_ratchet_in in;
    simplex_rc rc, put = SIMPLEX_OK;

    memset(&r, 0, sizeof r);
    rc = sx_store_ratchet_get(a->store, c->id, &r);
    if (rc != SIMPLEX_OK)
        return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_E_PROHIBITED : rc;
    d->had_chain = r.has_snd;
    d->unproven = !r.has_rcv;
    rc = sx_ratchet_decrypt(&r, msg, a->plain, &in, NULL);
    if (in.saved)
        put = sx_store_ratchet_put(a->store, c->id, &r, &in.diff);
    d->text = in.text;
    d->pq = r.rcv_kem;
    sx_wipe(&in, sizeof in);
    sx_ratchet_wipe(&r);
    return put != SIMPLEX_OK ? put : rc;
}

/* Silent for a repeat; anything else is told to the application. Either way it is acknowledged. */
static simplex_rc undecryptable(struct simplex_agent *a, struct sx_conn *c, struct sx_rcv_queue *q,
                                const uint8_t hash[32], const struct decrypted *d, simplex_rc why,
                                struct sx_incoming *in)
{
    bool known, told = false, late = false;
    int64_t ext_id = 0;
    simplex_rc rc = sx_store_rcv_hash_known(a->store, c->id, hash, &known, &ext_id);

    if (rc == SIMPLEX_OK && known) /* another queue was faster */
        return sx_came(a, c, q, ext_id, false, c->last_rcv_ext_id);
    if (rc == SIMPLEX_OK)
        rc = sx_hold_unread(a, c, q, why, &in->hold);
    in->ext_id = INT64_MAX;
    if (rc != SIMPLEX_OK || in->hold)
        return rc;
    if (why == SIMPLEX_E_RATCHET_EARLIER || why == SIMPLEX_E_RATCHET_DUPLICATE)
        rc = sx_is_behind(a, c, q, &late); /* its hash was forgotten meanwhile */
    if (rc != SIMPLEX_OK || late)
        return rc == SIMPLEX_OK ? sx_came(a, c, q, 0, false, c->last_rcv_ext_id) : rc;
    bool other = d->unproven || c->crossed; /* it is for the ratchet of another attempt */
    if (other)
        sx_note_other(c);
    if (c->rcv_queues > 1 || other) /* its copies say nothing new */
        rc = sx_store_rcv_hash_add(a->store, c->id, hash, 0, sx_now_ms());
    if (rc != SIMPLEX_OK)
        return rc;
    rc = sx_sync_unreadable(a, c, why, &told);
    if (rc == SIMPLEX_OK)
        rc = sx_store_conn_update(a->store, c);
    return rc == SIMPLEX_OK && !told ? sx_emit_err(a, c->id, why, NULL) : rc;
}

/* ---- kinds ---- */

static simplex_rc on_user_message(struct simplex_agent *a, const struct sx_rcv_queue *q,
                                  const struct sx_agent_msg *m, struct sx_rcv_msg_row *row,
                                  struct sx_incoming *in)
{
    simplex_rc rc;

    row->rcv_queue_id = q->id;
    if (in->srv_msg_id.len > SX_QUEUE_ID_MAX)
        return SIMPLEX_E_DECODE;
    row->srv_msg_id.len = (uint8_t)in->srv_msg_id.len;
    memcpy(row->srv_msg_id.b, in->srv_msg_id.ptr, in->srv_msg_id.len);
    row->srv_ts = in->srv_ts;
    row->notify = in->notify;
    row->body = m->body;
    rc = sx_store_rcv_msg_add(a->store, row);
    if (rc != SIMPLEX_OK)
        return rc;
    in->keep = true;
    sx_emit_message(a, row->seq);
    return SIMPLEX_OK;
}

/* The peer emptied its queue: what waits for it goes on at once. */
static simplex_rc on_qcont(struct simplex_agent *a, struct sx_conn *c, const struct sx_agent_msg *m)
{
    struct sx_snd_queue q;
    struct sx_rt_sndq *w;
    struct simplex_event ev;
    simplex_rc rc = sx_find_snd_queue(a, c->id, &m->qcont, &q);

    if (rc != SIMPLEX_OK)
        return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
    w = sx_rt_sndq_get(a, q.id, false);
    if (w != NULL) {
        w->waiting = false;
        w->delay = w->elapsed = 0;
        w->cont_at = sx_mono_ms();
    }
    sx_wake_delivery(a, q.id, c->id);
    sx_event_init(&ev, SIMPLEX_EV_QCONT, c->id);
    sx_emit_now(a, &ev);
    sx_wipe(&q, sizeof q);
    return SIMPLEX_OK;
}

static simplex_rc by_kind(struct simplex_agent *a, struct sx_conn *c, struct sx_rcv_queue *q,
                          const struct sx_agent_msg *m, struct sx_rcv_msg_row *row, bool had_chain,
                          struct sx_incoming *in)
{
    simplex_rc rc;

    switch ((enum sx_msg_tag)m->msg) {
    case SX_M_MSG:
        rc = sx_heard_from_peer(a, c, q, true);
        return rc == SIMPLEX_OK ? on_user_message(a, q, m, row, in) : rc;
    case SX_M_HELLO:
        return sx_on_hello(a, c, q);
    case SX_M_QCONT:
        return on_qcont(a, c, m);
    case SX_M_RCVD:
        return sx_on_receipts(a, c, &m->list);
    case SX_M_EREADY:
        return sx_on_eready(a, c, had_chain);
    case SX_M_QADD:
        rc = sx_heard_from_peer(a, c, q, false);
        return rc == SIMPLEX_OK ? sx_on_qadd(a, c, m) : rc;
    case SX_M_QKEY:
        return sx_on_qkey(a, c, q, m);
    case SX_M_QUSE:
        return sx_on_quse(a, c, m);
    case SX_M_QTEST: /* of a rotation its coming is all it says (sx_switch_used) */
        return sx_on_qtest(a, c, m);
    }
    return SIMPLEX_E_DECODE;
}

static simplex_rc accepted(struct simplex_agent *a, struct sx_conn *c, struct sx_rcv_queue *q,
                           const struct decrypted *d, const uint8_t hash[32],
                           struct sx_incoming *in)
{
    struct sx_rcv_msg_row row;
    struct sx_agent_msg m;
    int64_t before = c->last_rcv_ext_id;
    simplex_rc rc;

    memset(&row, 0, sizeof row);
    row.pq = d->pq;
    sx_sha256(d->text, row.hash);
    if (sx_agent_msg_decode(d->text, &m) != SIMPLEX_OK || m.tag != SX_AM_MESSAGE) {
        rc = sx_store_rcv_hash_add(a->store, c->id, hash, 0, sx_now_ms());
        /* the ratchet has advanced all the same */
        return rc == SIMPLEX_OK ? sx_emit_err(a, c->id, SIMPLEX_E_DECODE, NULL) : rc;
    }
    in->ext_id = m.snd_msg_id;
    rc = sx_hold(a, c, q, &m, &in->hold);
    if (rc != SIMPLEX_OK || in->hold)
        return rc;
    rc = sx_store_rcv_hash_add(a->store, c->id, hash, m.snd_msg_id, sx_now_ms());
    if (rc != SIMPLEX_OK)
        return rc;
    sx_take_number(c, &m, &row);
    rc = sx_sync_read(a, c);
    if (rc == SIMPLEX_OK)
        rc = sx_store_conn_update(a->store, c);
    if (rc == SIMPLEX_OK)
        rc = sx_rotation_message(a, c);
    if (rc == SIMPLEX_OK)
        rc = sx_came(a, c, q, m.snd_msg_id, true, before);
    sx_held_release(a, c->id);
    return rc == SIMPLEX_OK ? by_kind(a, c, q, &m, &row, d->had_chain, in) : rc;
}

simplex_rc sx_on_message(struct simplex_agent *a, struct sx_conn *c, struct sx_rcv_queue *q,
                         const struct sx_opened *o, struct sx_incoming *in)
{
    struct decrypted d = { .pq = false };
    uint8_t hash[32];
    simplex_rc rc;

    if (o->env.body.len > SX_BLOCK)
        return SIMPLEX_E_DECODE;
    sx_sha256(o->env.body, hash);
    rc = raise_version(a, c, o->env.version);
    if (rc == SIMPLEX_OK)
        rc = decrypt(a, c, o->env.body, &d);
    if (rc != SIMPLEX_OK && !sx_rc_is_store(rc) && rc != SIMPLEX_E_PROHIBITED)
        return undecryptable(a, c, q, hash, &d, rc, in);
    return rc == SIMPLEX_OK ? accepted(a, c, q, &d, hash, in) : rc;
}
