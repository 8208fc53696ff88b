/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Subscriptions: every receiving queue is subscribed when its server's session comes up, in
 * chunks, and again after each reconnection (agent.md section 8.3). UP and DOWN tell which
 * connections receive.
 */
#include "agent/event.h"
#include "agent/network.h"
#include "agent/noise.h"
#include "agent/notice.h"
#include "agent/push.h"
#include "agent/receive.h"
#include "agent/route.h"
#include "agent/services.h"
#include "agent/subscribe.h"
#include "agent/switch.h"
#include "agent/users.h"
#include "agent/work.h"

/* ---- at start ---- */

/* In two rounds when there are several users: whoever looks at the screen comes first. */
enum round { ALL, ACTIVE_USER, OTHER_USERS };

static bool in_round(struct simplex_agent *a, const struct sx_conn *c, enum round round)
{
    const struct sx_user *u = round == ALL ? NULL : sx_user_find(a, c->user);

    return round == ALL || (u != NULL && u->row.active) == (round == ACTIVE_USER);
}

static simplex_rc load_queue(struct simplex_agent *a, const struct sx_rcv_queue *q,
                             enum round round)
{
    struct sx_conn c;
    bool want;
    simplex_rc rc;

    if (q->rcv_id.len == 0)
        return SIMPLEX_OK;
    rc = sx_store_conn_get(a->store, q->conn_id, &c);
    if (rc != SIMPLEX_OK)
        return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_E_DB_DAMAGED : rc;
    if (!in_round(a, &c, round))
        return SIMPLEX_OK;
    want = c.subscribe && !c.deleted && !q->deleted && !a->cfg.fetch_only;
    return sx_rt_rcvq_add(a, q, want, want ? SX_SUB_PENDING : SX_SUB_NONE);
}

static simplex_rc load_round(struct simplex_agent *a, enum round round)
{
    struct sx_rcv_queue q;
    simplex_rc rc;

    for (int64_t after = 0;; after = q.id) {
        rc = sx_store_rcvq_next(a->store, after, &q);
        if (rc == SIMPLEX_OK)
            rc = load_queue(a, &q, round);
        if (rc != SIMPLEX_OK)
            break;
    }
    sx_wipe(&q, sizeof q);
    if (rc != SIMPLEX_E_NOT_FOUND)
        return rc;
    return SIMPLEX_OK;
}

simplex_rc sx_load_queues(struct simplex_agent *a)
{
    bool one = a->users == NULL || a->users->next == NULL;
    simplex_rc rc;

    rc = load_round(a, one ? ALL : ACTIVE_USER);
    if (rc == SIMPLEX_OK && !one)
        rc = load_round(a, OTHER_USERS);
    if (rc == SIMPLEX_OK)
        rc = sx_notifiers_load(a);
    if (rc == SIMPLEX_OK)
        rc = sx_notices_load(a);
    return rc == SIMPLEX_OK ? sx_svc_load(a) : rc;
}

/* ---- events ---- */

static void emit_server(struct simplex_agent *a, int32_t kind, const struct sx_rt_server *s,
                        simplex_rc why, int64_t *conns, size_t n)
{
    struct simplex_event ev;

    sx_event_init(&ev, kind, 0);
    ev.server = sx_server_text(sx_client_server(s->client));
    ev.user = s->user;
    ev.rc = why;
    ev.conns = conns;
    ev.n_conns = n;
    sx_emit_now(a, &ev);
}

static void note_subscribed(struct sx_rt_server *s, int64_t conn)
{
    if (s->n_subscribed == s->cap_subscribed) {
        size_t cap = s->cap_subscribed == 0 ? 16 : s->cap_subscribed * 2;
        int64_t *more = sx_malloc(cap * sizeof *more);
        if (more == NULL)
            return; /* the event misses one; nothing else depends on it */
        if (s->n_subscribed > 0)
            memcpy(more, s->subscribed, s->n_subscribed * sizeof *more);
        sx_free(s->subscribed);
        s->subscribed = more;
        s->cap_subscribed = cap;
    }
    s->subscribed[s->n_subscribed++] = conn;
}

static void chunk_done(struct simplex_agent *a, struct sx_rt_server *s)
{
    if (s->n_subscribed > 0) {
        emit_server(a, SIMPLEX_EV_UP, s, SIMPLEX_OK, s->subscribed, s->n_subscribed);
        s->subscribed = NULL;
        s->n_subscribed = s->cap_subscribed = 0;
    }
    if (s->timed_out) { /* a server that answers no SUB is not there: back-off, then again */
        s->timed_out = false;
        sx_client_disconnect(s->client, SIMPLEX_E_TIMEOUT);
        return;
    }
    if (s->n_pending > 0)
        sx_subscribe_server(a, s);
}

/* ---- SUB ---- */

static void lost(struct simplex_agent *a, const struct sx_rt_rcvq *q, simplex_rc why,
                 const struct sx_rsp *rsp)
{
    const struct sx_server *server = sx_client_server(q->server->client);
    int64_t conn = q->conn; /* q may leave the tables */
    char *detail = sx_smp_err_text(rsp);
    bool expected;
    simplex_rc rc = sx_handler_begin(a);

    if (rc == SIMPLEX_OK) {
        rc = sx_notice_answer(a, q->id, rsp);
        if (rc == SIMPLEX_OK)
            rc = sx_switch_sub_refused(a, q->id, why, detail, &expected);
        if (rc == SIMPLEX_OK && !expected)
            rc = sx_emit_err_of(a, conn, server, why, detail);
        sx_handler_end(a, rc);
    }
    sx_free(detail);
}

static void not_blocked(struct simplex_agent *a, int64_t queue)
{
    if (!a->noticed || sx_handler_begin(a) != SIMPLEX_OK)
        return;
    sx_handler_end(a, sx_notice_answer(a, queue, NULL));
}

static void on_answer(void *user, void *ctx, simplex_rc why, const struct sx_rsp *rsp)
{
    struct simplex_agent *a = user;
    struct sx_rt_rcvq *q = sx_rt_rcvq_by_id(a, (int64_t)(intptr_t)ctx);
    struct sx_rt_server *s;

    if (q == NULL || q->sub != SX_SUB_SENT)
        return;
    s = q->server;
    if (why == SIMPLEX_OK) {
        sx_rt_sub_set(q, SX_SUB_ACTIVE);
        q->subscribed_here = true;
        q->lost = false;
        q->subscribed_at = sx_mono_ms();
        if (!q->again)
            note_subscribed(s, q->conn);
        q->again = false;
        not_blocked(a, q->id);
        sx_svc_answered(a, q, rsp->tag == SX_R_SOK && rsp->sok.has_service_id
                                      ? rsp->sok.service_id
                                      : sx_bytes(NULL, 0));
        if (rsp->tag == SX_R_MSG) /* servers before release 6.4 */
            sx_receive(a, q->id, rsp);
    } else if (sx_is_temporary(why, rsp)) {
        sx_rt_sub_set(q, SX_SUB_PENDING);
        s->timed_out = s->timed_out || (why == SIMPLEX_E_TIMEOUT && sx_client_is_up(s->client));
    } else { /* the queue is gone: it stays in the database until the application deletes it */
        sx_rt_sub_set(q, SX_SUB_NONE);
        q->want = false;
        q->lost = true;
        sx_nothing_shown(a, q->id);
        lost(a, q, why, rsp);
    }
}

/* A chunk is done when none of its SUBs is out, whichever way the last one ended. */
void sx_check_subscriptions(struct simplex_agent *a)
{
    for (struct sx_rt_server *s = a->rt_servers; s != NULL; s = s->next) {
        if (!s->subs_changed)
            continue;
        s->subs_changed = false;
        if (s->n_sent == 0 && sx_client_is_up(s->client))
            chunk_done(a, s);
    }
}

static bool send_sub(struct sx_rt_server *s, struct sx_rt_rcvq *q)
{
    static const struct sx_cmd sub = { .tag = SX_SUB };
    struct sx_request req = { .cmd = &sub,
                              .entity = sx_id_bytes(q->rcv_id),
                              .key = q->auth,
                              .done = on_answer,
                              .ctx = (void *)(intptr_t)q->id };

    if (sx_client_send(s->client, &req) != SIMPLEX_OK)
        return false;
    s->served.subs++;
    return true;
}

void sx_subscribe_server(struct simplex_agent *a, struct sx_rt_server *s)
{
    if (!sx_client_is_up(s->client) || sx_ending(a, SX_END_RECEIVING))
        return;
    for (struct sx_rt_rcvq *q = s->queues; q != NULL && s->n_sent < SX_SUB_CHUNK;
         q = q->next_server) {
        if (q->sub != SX_SUB_PENDING || q->got /* which needs a new session */ ||
            sx_svc_covers(q))
            continue;
        if (!send_sub(s, q)) { /* nothing else would try again on this session */
            sx_client_disconnect(s->client, SIMPLEX_E_NOMEM);
            return;
        }
        sx_rt_sub_set(q, SX_SUB_SENT);
    }
}

void sx_subscribe_again(struct sx_rt_rcvq *q)
{
    q->on_hold = false;
    if (q->sub != SX_SUB_ACTIVE || !sx_client_is_up(q->server->client))
        return; /* it comes with the subscription */
    q->again = true;
    sx_rt_sub_set(q, SX_SUB_PENDING); /* sent when the turn ends, with others */
}

simplex_rc sx_set_subscribed(struct simplex_agent *a, int64_t conn, bool on)
{
    struct sx_conn c;
    struct sx_rcv_queue q;
    simplex_rc rc = sx_store_conn_get(a->store, conn, &c);

    if (rc == SIMPLEX_OK && c.deleted)
        rc = SIMPLEX_E_NOT_FOUND;
    if (rc != SIMPLEX_OK)
        return rc;
    c.subscribe = on;
    rc = sx_store_conn_update(a->store, &c);
    for (unsigned n = 0; rc == SIMPLEX_OK; n++) {
        rc = sx_store_rcvq_of(a->store, conn, n, &q);
        struct sx_rt_rcvq *rt = rc == SIMPLEX_OK ? sx_rt_rcvq_by_id(a, q.id) : NULL;
        if (rt == NULL || rt->want == on)
            continue;
        rt->want = on;
        sx_rt_sub_set(rt, on ? SX_SUB_PENDING : SX_SUB_NONE);
        if (on && rt->got) {
            sx_fetch_new_session(rt->server);
        } else if (on) {
            sx_client_want(rt->server->client, true);
            sx_subscribe_server(a, rt->server);
        }
    }
    sx_wipe(&q, sizeof q);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

/* ---- the network ---- */

void sx_on_up(void *user, struct sx_client *c)
{
    struct simplex_agent *a = user;
    struct sx_rt_server *s = sx_rt_server_of(a, c);

    if (s == NULL) {
        sx_test_up(a, c);
        return;
    }
    emit_server(a, SIMPLEX_EV_CONNECT, s, SIMPLEX_OK, NULL, 0);
    s->timed_out = false;
    sx_fetch_up(s);
    sx_svc_up(a, s);
    sx_subscribe_server(a, s);
    sx_noise_up(a, s);
    sx_wake_server(a, s);
}

void sx_on_down(void *user, struct sx_client *c, simplex_rc why)
{
    struct simplex_agent *a = user;
    struct sx_rt_server *s = sx_rt_server_of(a, c);
    int64_t *conns;
    size_t n = 0;

    if (s == NULL) {
        sx_test_down(a, c, why);
        return;
    }
    emit_server(a, SIMPLEX_EV_DISCONNECT, s, why, NULL, 0);
    conns = sx_calloc(s->n_active + 1, sizeof *conns);
    for (struct sx_rt_rcvq *q = s->queues; q != NULL; q = q->next_server) {
        if (q->sub == SX_SUB_ACTIVE && !q->assoc && conns != NULL)
            conns[n++] = q->conn;
        q->unacked = q->on_hold = q->again = false; /* what was shown will be shown again */
        q->left = false;
        sx_qcont_goes(a, q);
        q->quiet = 0;
        sx_fetch_lost(a, q, why);
        if (q->sub == SX_SUB_NONE || !q->want)
            sx_rt_sub_set(q, SX_SUB_NONE);
        else if (q->sub != SX_SUB_PENDING)
            sx_rt_sub_set(q, SX_SUB_PENDING);
    }
    s->n_subscribed = 0;
    sx_svc_down(a, s, why);
    sx_lost_drop(a, c);
    sx_noise_down(a, s);
    sx_client_want(c, s->n_pending > 0);
    if (n > 0)
        emit_server(a, SIMPLEX_EV_DOWN, s, why, conns, n);
    else
        sx_free(conns);
}

/*
 * Who has taken the subscription over may be ourselves: a SUB of our last session, or of the run
 * before, that was held up on its way and came behind the one of this session. Nobody listens
 * there. Or a server that collects its ENDs tells of a time before our last SUB. So soon after that
 * an END is not believed; but another one is, since with another client we do not fight.
 */
#define END_DOUBTED 30000        /* ms since the answer to our SUB: twice what servers collect */
#define END_DOUBTED_ONCE 600000 /* ms */

static bool is_doubtful(struct sx_rt_rcvq *q)
{
    int64_t now = sx_mono_ms();

    if (!q->want)
        return false;
    if (q->sub == SX_SUB_PENDING || q->sub == SX_SUB_SENT)
        return true; /* of before: our SUB takes it */
    if (q->sub != SX_SUB_ACTIVE || q->subscribed_at == 0 || now - q->subscribed_at >= END_DOUBTED ||
        (q->doubted_at != 0 && now - q->doubted_at < END_DOUBTED_ONCE))
        return false;
    q->doubted_at = now;
    return true;
}

static void unsubscribed(struct simplex_agent *a, struct sx_rt_rcvq *q, int32_t kind)
{
    struct simplex_event ev;
    simplex_rc rc;

    q->subscribed_here = false;
    if (kind == SIMPLEX_EV_END)
        sx_svc_ended(a, q);
    q->lost = kind == SIMPLEX_EV_DELD;
    if (q->lost)
        sx_nothing_shown(a, q->id);
    if (kind == SIMPLEX_EV_END && is_doubtful(q)) {
        sx_subscribe_again(q);
        return;
    }
    if (q->sub == SX_SUB_NONE)
        return; /* told already */
    sx_rt_sub_set(q, SX_SUB_NONE);
    q->want = false; /* until the next start, or until the application asks for it again */
    rc = sx_handler_begin(a);
    if (rc != SIMPLEX_OK)
        return;
    sx_event_init(&ev, kind, q->conn);
    sx_event_set_server(&ev, sx_client_server(q->server->client));
    rc = sx_emit(a, &ev);
    sx_handler_end(a, rc);
}

void sx_on_event(void *user, struct sx_client *c, const struct sx_transmission *t,
                 const struct sx_rsp *rsp)
{
    struct simplex_agent *a = user;
    struct sx_rt_rcvq *q;

    if (rsp->tag == SX_R_IDS) {
        sx_late_ids(a, c, t, rsp);
        return;
    }
    if (sx_svc_event(a, sx_rt_server_of(a, c), t, rsp))
        return;
    q = sx_rt_rcvq_find(a, c, t->entity_id);
    if (q == NULL && sx_noise_event(a, c, t, rsp))
        return;
    if (q == NULL)
        return;
    switch (rsp->tag) {
    case SX_R_MSG:
        if (q->want)
            sx_receive(a, q->id, rsp);
        else /* unless it is being fetched it stays on the server: nobody acknowledges it */
            (void)sx_fetch_takes(a, q, rsp);
        break;
    case SX_R_END:
        unsubscribed(a, q, SIMPLEX_EV_END);
        break;
    case SX_R_DELD:
        unsubscribed(a, q, SIMPLEX_EV_DELD);
        break;
    case SX_R_OK:
    case SX_R_SOK: /* a SUB answered after its time */
        if (q->want && q->sub == SX_SUB_PENDING)
            sx_rt_sub_set(q, SX_SUB_ACTIVE);
        break;
    default:
        break;
    }
}
