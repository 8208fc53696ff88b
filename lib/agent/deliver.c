/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The delivery worker of a sending queue: the oldest message goes out, and only when the server
 * has it the next, so that order holds whatever fails (agent.md section 6.7). The ratchet message
 * of a retry has the same bytes under a fresh per-queue nonce.
 */
#include "agent/envelope.h"
#include "agent/event.h"
#include "agent/farewell.h"
#include "agent/handshake.h"
#include "agent/noise.h"
#include "agent/resync.h"
#include "agent/route.h"
#include "agent/several.h"
#include "agent/switch.h"
#include "agent/work.h"

static void on_answer(void *user, void *ctx, simplex_rc why, const struct sx_rsp *rsp);

static simplex_rc send_message(struct simplex_agent *a, struct sx_rt_sndq *w,
                               const struct sx_conn *c, const struct sx_snd_queue *q,
                               const struct sx_snd_msg *m)
{
    struct sx_cmd cmd = { .tag = SX_SEND };
    struct sx_request req = { .cmd = &cmd,
                              .entity = sx_id_bytes(&q->snd_id),
                              .done = on_answer,
                              .ctx = (void *)(intptr_t)w->id };
    struct sx_wr body;
    simplex_rc rc = sx_seal_send(a, c, q, m, &body);

    if (rc == SIMPLEX_OK) {
        cmd.send.notify = m->notify;
        cmd.send.body = sx_wr_bytes(&body);
        if (m->type != 0 || q->mode == SX_MODE_MESSAGING || w->secured)
            req.key = &q->auth; /* a confirmation to a queue not secured yet is unsigned */
        w->msg_id = m->id;
        rc = sx_route_send(a, q->conn_id, &q->server, &req, &w->server);
        sx_noise_real(a, w, m->notify);
    }
    sx_wr_free(&body);
    return rc;
}

static bool expired(const struct simplex_agent *a, const struct sx_snd_msg *m)
{
    int64_t limit = m->quota_seen ? a->cfg.quota_timeout : a->cfg.message_timeout;

    return sx_now_ms() - m->created_at >= limit;
}

/* It will not be delivered: the application is told, the row goes. */
static simplex_rc give_up(struct simplex_agent *a, const struct sx_snd_queue *q,
                          const struct sx_snd_msg *m, simplex_rc why, const char *detail)
{
    struct simplex_event ev;
    int64_t id = m->id;
    uint8_t type = m->type;
    bool sent = m->sent, last;
    simplex_rc rc;

    if (q->replaces != 0) /* a queue nothing came through yet: the old one is still there */
        return sx_switch_snd_failed(a, q, why, detail);
    rc = sx_store_delivery_done(a->store, q->id, q->conn_id, id, &last);
    if (rc != SIMPLEX_OK || sent || !last) /* some queue has or will have it */
        return rc;
    if (type == SX_ROW_RATCHET_KEY)
        return sx_sync_undelivered(a, q->conn_id, why, detail);
    if (type != SX_M_MSG) {
        rc = sx_switch_undelivered(a, q, type, why, detail);
        return rc == SIMPLEX_OK ? sx_emit_err(a, q->conn_id, why, detail) : rc;
    }
    sx_event_init(&ev, SIMPLEX_EV_MERR, q->conn_id);
    ev.msg_id = id;
    ev.rc = why;
    sx_event_set_detail(&ev, detail);
    return sx_emit(a, &ev);
}

/* Ends the handler of something that may have been the last message of its connection. */
static simplex_rc handled(struct simplex_agent *a, int64_t conn, simplex_rc rc)
{
    if (rc == SIMPLEX_OK)
        rc = sx_farewell_said(a, conn);
    sx_handler_end(a, rc);
    return rc;
}

/* A message that cannot even be put together stands in the way of all behind it. */
static void skip_unsendable(struct simplex_agent *a, struct sx_rt_sndq *w,
                            const struct sx_snd_queue *q, const struct sx_snd_msg *m,
                            simplex_rc why)
{
    simplex_rc rc = sx_handler_begin(a);

    if (rc != SIMPLEX_OK)
        return;
    (void)handled(a, w->conn, give_up(a, q, m, why, NULL));
    w->dirty = true;
    a->work = true;
}

/* The peer has emptied its queue but its server may not have dropped the marker yet: there will be
 * no second A_QCONT. Agents other than ours send it before they acknowledge. */
#define QCONT_FRESH 10000
#define QCONT_RETRY 100

static void retry(struct simplex_agent *a, struct sx_rt_sndq *w, bool quota)
{
    int64_t since = sx_mono_ms() - w->cont_at;
    int64_t delay = quota && w->cont_at != 0 && since < QCONT_FRESH
                        ? (since > QCONT_RETRY ? since : QCONT_RETRY)
                    : quota ? sx_next_delay(&w->delay, &w->elapsed, a->cfg.quota_retry_first,
                                            SX_QUOTA_RETRY_GROW, SX_QUOTA_RETRY_MAX)
                            : sx_next_delay(&w->delay, &w->elapsed, a->cfg.retry_first,
                                            SX_RETRY_GROW, a->cfg.retry_max);

    w->quota = quota;
    w->cont_waits = false;
    w->tried_at = sx_mono_ms();
    a->quota_waits = a->quota_waits || quota;
    w->waiting = true;
    w->retry_at = sx_mono_ms() + delay;
    sx_retry_at(a, w->retry_at);
}

static simplex_rc next_message(struct simplex_agent *a, int64_t queue, struct sx_conn *c,
                               struct sx_snd_queue *q, struct sx_snd_msg *m)
{
    bool goes_on = true;
    simplex_rc rc = sx_store_sndq_get(a->store, queue, q);

    if (rc == SIMPLEX_OK)
        rc = sx_store_conn_get(a->store, q->conn_id, c);
    if (rc == SIMPLEX_OK && c->deleted)
        rc = sx_farewell_waits(a, c->id, &goes_on);
    if (rc == SIMPLEX_OK && (!goes_on || q->status == SX_Q_NEW))
        rc = SIMPLEX_E_NOT_FOUND; /* woken again when it is secured */
    if (rc == SIMPLEX_OK && q->status != SX_Q_DISABLED)
        rc = sx_store_delivery_next(a->store, queue, 0, m);
    return rc;
}

#define GIVE_UP_AT_ONCE 100

/* A queue that its server does not have, of several: nothing is sent any more. */
static simplex_rc give_up_some(struct simplex_agent *a, const struct sx_snd_queue *q)
{
    struct sx_snd_msg m;
    simplex_rc rc = SIMPLEX_OK;

    for (int n = 0; rc == SIMPLEX_OK && n < GIVE_UP_AT_ONCE; n++) {
        rc = sx_store_delivery_next(a->store, q->id, 0, &m);
        if (rc == SIMPLEX_OK)
            rc = give_up(a, q, &m, SIMPLEX_E_SERVER, "AUTH");
    }
    return rc == SIMPLEX_E_NOT_FOUND ? sx_store_sndq_delete(a->store, q->id) : rc;
}

static void deliver_nothing(struct simplex_agent *a, struct sx_rt_sndq *w,
                            const struct sx_snd_queue *q)
{
    simplex_rc rc = sx_handler_begin(a);

    if (rc != SIMPLEX_OK)
        return;
    (void)handled(a, w->conn, give_up_some(a, q));
    sx_agent_lazy(a);
    w->dirty = true; /* finds more of them, or no queue */
    a->work = true;
}

static simplex_rc handle_with_queue(struct simplex_agent *a, struct sx_rt_sndq *w, simplex_rc why,
                                    const struct sx_rsp *rsp);

/* Nothing left: it may pass, but not for longer than a message is kept. */
static void not_sent(struct simplex_agent *a, struct sx_rt_sndq *w, simplex_rc why)
{
    simplex_rc rc = sx_is_temporary(why, NULL) ? sx_handler_begin(a) : SIMPLEX_E_INTERNAL;

    if (rc == SIMPLEX_OK) {
        rc = handled(a, w->conn, handle_with_queue(a, w, why, NULL));
        sx_agent_lazy(a);
        w->dirty = true; /* unless it waits for a retry, the next one follows */
        a->work = true;
    }
    if (rc != SIMPLEX_OK && !sx_rc_is_store(rc))
        retry(a, w, false);
}

void sx_deliver(struct simplex_agent *a, struct sx_rt_sndq *w)
{
    struct sx_conn c;
    struct sx_snd_queue q;
    struct sx_snd_msg m;
    simplex_rc rc = next_message(a, w->id, &c, &q, &m);

    w->dirty = false;
    if (rc == SIMPLEX_E_NOT_FOUND) {
        sx_rt_sndq_remove(a, w->id);
        sx_wipe(&q, sizeof q);
        return;
    }
    if (rc == SIMPLEX_OK && q.status == SX_Q_DISABLED) {
        deliver_nothing(a, w, &q);
    } else if (rc == SIMPLEX_OK && !sx_noise_holds(a, w, &m)) {
        w->keeping = q.switch_state == SX_SW_QKEY;
        if (w->delay == 0 && m.retry_delay > 0)
            w->delay = m.retry_delay; /* of before the restart */
        rc = send_message(a, w, &c, &q, &m);
        w->in_flight = rc == SIMPLEX_OK;
        if (rc == SIMPLEX_E_TOO_LARGE || rc == SIMPLEX_E_DB_DAMAGED) {
            skip_unsendable(a, w, &q, &m, rc);
            rc = SIMPLEX_OK;
        }
    }
    sx_wipe(&q, sizeof q);
    if (rc == SIMPLEX_OK)
        return;
    if (sx_rc_is_store(rc)) {
        sx_agent_store_failed(a, rc);
    } else {
        sx_log(SX_LOG_WARN, "agent: a message cannot be sent: %s", simplex_rc_name(rc));
        not_sent(a, w, rc);
    }
}

/* ---- answers ---- */

/* While the queue is being replaced what it took is kept. */
static simplex_rc keep(struct simplex_agent *a, const struct sx_rt_sndq *w, uint8_t type,
                       bool *kept)
{
    struct sx_snd_queue q;
    simplex_rc rc;

    *kept = false;
    if (!w->keeping)
        return SIMPLEX_OK;
    rc = sx_store_sndq_get(a->store, w->id, &q);
    if (rc == SIMPLEX_OK)
        rc = sx_keep_sent(a, &q, w->msg_id, type, kept);
    sx_wipe(&q, sizeof q);
    return rc;
}

static simplex_rc taken_off(struct simplex_agent *a, struct sx_rt_sndq *w, int64_t conn,
                            uint8_t type)
{
    bool kept, last;
    simplex_rc rc = keep(a, w, type, &kept);

    w->delay = w->elapsed = 0;
    w->quota = false;
    if (rc != SIMPLEX_OK || kept)
        return rc;
    rc = sx_store_delivery_done(a->store, w->id, conn, w->msg_id, &last);
    if (rc == SIMPLEX_OK && !last)
        rc = sx_store_msg_sent(a->store, conn, w->msg_id);
    return rc;
}

/* What is answered most needs neither its connection nor its queue. */
static simplex_rc message_delivered(struct simplex_agent *a, struct sx_rt_sndq *w, int64_t conn,
                                    bool sent)
{
    struct simplex_event ev;
    simplex_rc rc = taken_off(a, w, conn, SX_M_MSG);

    if (rc != SIMPLEX_OK || sent) /* SENT is shown once, when the first queue has it */
        return rc;
    sx_event_init(&ev, SIMPLEX_EV_SENT, conn);
    ev.msg_id = w->msg_id;
    if (a->routed != NULL)
        sx_event_set_server(&ev, sx_client_server(a->routed->client));
    return sx_emit(a, &ev);
}

static void warn(struct simplex_agent *a, const struct sx_rt_sndq *w, int64_t conn, simplex_rc why,
                 const char *detail)
{
    struct simplex_event ev;

    sx_event_init(&ev, SIMPLEX_EV_MWARN, conn);
    ev.msg_id = w->msg_id;
    ev.rc = why;
    sx_event_set_detail(&ev, detail);
    sx_emit_now(a, &ev);
}

static bool is_quota(simplex_rc why, const struct sx_rsp *rsp)
{
    return why == SIMPLEX_E_SERVER && rsp != NULL && rsp->err.err == SX_ERR_QUOTA;
}

/* A confirmation to a full queue has no reader: nobody would ever empty it. */
static bool waits_for_quota(uint8_t type)
{
    return type != 0;
}

/* Worth a word: it may need the user, not only time. */
static bool worth_warning(simplex_rc why)
{
    switch (why) {
    case SIMPLEX_E_HOST:
    case SIMPLEX_E_VERSION:
    case SIMPLEX_E_CERT:
    case SIMPLEX_E_FINGERPRINT:
    case SIMPLEX_E_SESSION:
    case SIMPLEX_E_SIGNATURE:
        return true;
    default:
        return false;
    }
}

/* An unsigned confirmation whose answer was lost may have arrived: the peer has then set our key,
 * and a repeat has to be signed. The peer knows it for a repeat. */
static bool try_signed(struct sx_rt_sndq *w, const struct sx_snd_queue *q,
                       const struct sx_snd_msg *m, simplex_rc why, const struct sx_rsp *rsp)
{
    bool first = m->type == 0 && q->mode != SX_MODE_MESSAGING && !w->secured &&
                 why == SIMPLEX_E_SERVER && rsp != NULL && rsp->err.err == SX_ERR_AUTH;

    w->secured = w->secured || first;
    return first;
}

/* AUTH: the queue is not there, or not ours. Of several it is left; the only one may come back (it
 * was suspended). */
static simplex_rc refused_for_good(struct simplex_agent *a, const struct sx_snd_queue *q,
                                   const struct sx_snd_msg *m, simplex_rc why,
                                   const struct sx_rsp *rsp, const char *detail)
{
    bool gone = why == SIMPLEX_E_SERVER && rsp != NULL && rsp->err.err == SX_ERR_AUTH;
    struct sx_snd_queue lost = *q;
    int64_t id = m->id;
    bool others = false;
    struct sx_snd_msg again;
    simplex_rc rc = gone ? sx_snd_lost(a, &lost, why, detail, &others) : SIMPLEX_OK;

    sx_wipe(&lost, sizeof lost);
    if (rc != SIMPLEX_OK || others)
        return rc;
    rc = sx_store_delivery_next(a->store, q->id, id - 1, &again); /* m was borrowed */
    return rc == SIMPLEX_OK ? give_up(a, q, &again, why, detail) : rc;
}

static simplex_rc refused(struct simplex_agent *a, struct sx_rt_sndq *w,
                          const struct sx_snd_queue *q, const struct sx_snd_msg *m, simplex_rc why,
                          const struct sx_rsp *rsp)
{
    bool quota = is_quota(why, rsp);
    char *detail;
    simplex_rc rc;

    if (try_signed(w, q, m, why, rsp))
        return SIMPLEX_OK; /* at once: the worker is awake */
    detail = sx_smp_err_text(rsp);
    if (quota ? !waits_for_quota(m->type) : !sx_is_temporary(why, rsp)) {
        rc = refused_for_good(a, q, m, why, rsp, detail);
    } else if (expired(a, m)) {
        rc = give_up(a, q, m, why, detail);
    } else {
        int64_t id = m->id;
        bool shown = m->type == SX_M_MSG && !m->sent;
        if (quota != w->quota)
            w->delay = w->elapsed = 0;
        retry(a, w, quota);
        rc = sx_store_delivery_retry(a->store, q->id, id, w->delay, quota);
        if (rc == SIMPLEX_OK && !quota)
            rc = sx_switch_detour(a, q);
        if (shown && (quota || worth_warning(why) || sx_route_is_hopeless(why, rsp)))
            warn(a, w, q->conn_id, why, detail);
    }
    sx_free(detail);
    return rc;
}

static simplex_rc handle_with_queue(struct simplex_agent *a, struct sx_rt_sndq *w, simplex_rc why,
                                    const struct sx_rsp *rsp)
{
    struct sx_conn c;
    struct sx_snd_queue q;
    struct sx_snd_msg m;
    simplex_rc rc = next_message(a, w->id, &c, &q, &m);

    if (rc == SIMPLEX_OK && q.status == SX_Q_DISABLED)
        rc = SIMPLEX_E_NOT_FOUND; /* nothing of it counts */
    if (rc == SIMPLEX_OK && why == SIMPLEX_OK) {
        uint8_t type = m.type;
        rc = taken_off(a, w, c.id, type);
        if (rc == SIMPLEX_OK)
            rc = sx_on_sent(a, &c, &q, type);
    } else if (rc == SIMPLEX_OK) {
        rc = refused(a, w, &q, &m, why, rsp);
    } else if (rc == SIMPLEX_E_NOT_FOUND) {
        rc = SIMPLEX_OK;
    }
    sx_wipe(&q, sizeof q);
    return rc;
}

static simplex_rc handle_answer(struct simplex_agent *a, struct sx_rt_sndq *w, simplex_rc why,
                                const struct sx_rsp *rsp)
{
    struct sx_snd_msg m;
    simplex_rc rc = sx_store_delivery_next(a->store, w->id, 0, &m);

    if (rc == SIMPLEX_E_NOT_FOUND || (rc == SIMPLEX_OK && m.id != w->msg_id))
        return SIMPLEX_OK; /* deleted meanwhile */
    if (rc != SIMPLEX_OK)
        return rc;
    if (why == SIMPLEX_OK)
        sx_noise_delivered(a, w, &m);
    if (why == SIMPLEX_OK && m.type == SX_M_MSG)
        return message_delivered(a, w, m.conn_id, m.sent);
    return handle_with_queue(a, w, why, rsp);
}

static void on_answer(void *user, void *ctx, simplex_rc why, const struct sx_rsp *rsp)
{
    struct simplex_agent *a = user;
    struct sx_rt_sndq *w = sx_rt_sndq_get(a, (int64_t)(intptr_t)ctx, false);
    simplex_rc rc;

    if (w == NULL || !w->in_flight)
        return;
    w->in_flight = false;
    w->dirty = true;
    a->work = true;
    if (w->server != NULL && why == SIMPLEX_OK)
        w->server->served.sent++;
    else if (w->server != NULL)
        w->server->served.send_errors++;
    rc = sx_handler_begin(a);
    if (rc != SIMPLEX_OK)
        return;
    rc = handled(a, w->conn, handle_answer(a, w, why, rsp));
    sx_agent_lazy(a);
    if (rc != SIMPLEX_OK && !sx_rc_is_store(rc)) {
        sx_log(SX_LOG_ERROR, "agent: a delivery was not handled: %s", simplex_rc_name(rc));
        retry(a, w, false);
    }
}
