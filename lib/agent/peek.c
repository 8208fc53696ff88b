/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking at the message that waits, with a database that is open for reading alone: GET, and
 * decryption with a copy of the ratchet in memory. Nothing is written and nothing acknowledged, so
 * the server keeps the message and the agent receives it later as if nobody had looked.
 */
#include "agent/envelope.h"
#include "agent/event.h"
#include "agent/promised.h"
#include "agent/push.h"
#include "agent/route.h"

/* Read before by the agent itself, but not acknowledged: the server does not know that. */
static simplex_rc received_before(struct simplex_agent *a, const struct sx_rcv_queue *q,
                                  simplex_bytes srv_msg_id, struct simplex_event *ev)
{
    struct sx_rcv_msg_row m;
    simplex_rc rc = sx_store_rcv_msg_find(a->store, q->conn_id, q->id, srv_msg_id, &m);

    if (rc != SIMPLEX_OK)
        return rc;
    ev->msg_id = m.id;
    ev->ext_id = m.ext_id;
    ev->srv_ts = m.srv_ts;
    ev->notify = m.notify;
    sx_wr_raw(&ev->data, m.body);
    return SIMPLEX_OK;
}

static simplex_rc decrypt(struct simplex_agent *a, int64_t conn, simplex_bytes msg,
                          struct simplex_event *ev)
{
    struct sx_ratchet_in in;
    struct sx_agent_msg m;
    struct sx_ratchet r;
    bool known = false;
    uint8_t hash[32];
    simplex_rc rc;

    memset(&r, 0, sizeof r);
    memset(&in, 0, sizeof in);
    rc = sx_store_ratchet_get(a->store, conn, &r);
    if (rc == SIMPLEX_OK)
        rc = sx_ratchet_decrypt(&r, msg, a->plain, &in, NULL);
    if (rc == SIMPLEX_OK && sx_agent_msg_decode(in.text, &m) == SIMPLEX_OK &&
        m.tag == SX_AM_MESSAGE && m.msg == SX_M_MSG) {
        ev->ext_id = m.snd_msg_id;
        ev->pq = r.rcv_kem;
        sx_wr_raw(&ev->data, m.body);
    }
    sx_wipe(&in, sizeof in);
    sx_ratchet_wipe(&r);
    sx_wipe(a->plain, SX_BLOCK);
    if (rc == SIMPLEX_OK || sx_rc_is_store(rc))
        return rc;
    sx_sha256(msg, hash);
    simplex_rc found = sx_store_rcv_hash_known(a->store, conn, hash, &known, NULL);
    if (found != SIMPLEX_OK)
        return found;
    if (!known)
        return rc;
    ev->conf = 0; /* acknowledged by the application, which the server does not know: nothing new */
    return SIMPLEX_OK;
}

static simplex_rc read_message(struct simplex_agent *a, const struct sx_rcv_queue *q,
                               const struct sx_rsp *rsp, struct simplex_event *ev)
{
    struct sx_rcv_msg msg;
    struct sx_opened o;
    simplex_rc rc = received_before(a, q, rsp->msg.msg_id, ev);

    if (rc != SIMPLEX_E_NOT_FOUND)
        return rc;
    rc = sx_open_server_layer(a, q, rsp, &msg);
    if (rc != SIMPLEX_OK || msg.quota)
        return rc;
    ev->srv_ts = msg.ts_s >= 0 && msg.ts_s <= INT64_MAX / 1000 ? msg.ts_s * 1000 : 0;
    ev->notify = msg.notify;
    memset(&o, 0, sizeof o);
    rc = sx_open_body(q, a->scratch + (msg.body.ptr - a->scratch), msg.body.len, &o);
    if (rc == SIMPLEX_OK && o.env.tag == SX_ENV_MESSAGE && o.env.body.len <= SX_BLOCK)
        rc = decrypt(a, q->conn_id, o.env.body, ev);
    else if (rc == SIMPLEX_E_RATCHET_DUPLICATE)
        rc = SIMPLEX_OK; /* a confirmation that came twice */
    sx_wipe(o.secret, sizeof o.secret);
    sx_wipe(a->scratch, SX_BLOCK);
    return rc;
}

static void on_answer(void *user, void *ctx, simplex_rc why, const struct sx_rsp *rsp)
{
    struct simplex_agent *a = user;
    struct sx_promised *p = ctx;
    struct simplex_event *ev = p->answer;
    struct sx_rcv_queue q;

    ev->rc = why;
    if (why == SIMPLEX_E_SERVER)
        ev->detail = sx_smp_err_text(rsp);
    if (why == SIMPLEX_OK && rsp->tag == SX_R_MSG) {
        ev->conf = 1;
        ev->rc = sx_store_rcvq_get(a->store, p->queue, &q);
        if (ev->rc == SIMPLEX_OK)
            ev->rc = read_message(a, &q, rsp, ev);
        sx_wipe(&q, sizeof q);
    }
    if (ev->rc == SIMPLEX_OK && ev->data.bad)
        ev->rc = SIMPLEX_E_NOMEM;
    if (ev->rc != SIMPLEX_OK)
        sx_wr_reset(&ev->data);
    sx_promise_keep(a, p);
}

static simplex_rc ask(struct simplex_agent *a, struct sx_promised *p)
{
    static const struct sx_cmd get = { .tag = SX_GET };
    struct sx_request req = { .cmd = &get, .done = on_answer, .ctx = p };
    struct sx_rt_server *s;
    struct sx_rcv_queue q;
    simplex_rc rc = sx_store_rcvq_get(a->store, p->queue, &q);

    if (rc == SIMPLEX_OK) {
        req.entity = sx_id_bytes(&q.rcv_id);
        req.key = &q.auth;
        rc = sx_request_send(a, q.conn_id, &q.server, &req, &s);
    }
    sx_wipe(&q, sizeof q);
    return rc;
}

static bool may_ask(struct simplex_agent *a, const struct sx_rcv_queue *q)
{
    (void)a;
    return !q->deleted && q->rcv_id.len > 0;
}

static simplex_rc do_peek(struct simplex_agent *a, void *p)
{
    static const struct sx_question how = { SIMPLEX_EV_PEEKED, may_ask, ask };

    return a->cfg.read_only ? sx_promise_answers(a, *(const int64_t *)p, &how)
                            : SIMPLEX_E_PROHIBITED;
}

simplex_rc simplex_agent_peek(simplex_agent *a, int64_t conn)
{
    return a == NULL ? SIMPLEX_E_ARG : sx_agent_begin(a, do_peek, &conn);
}
