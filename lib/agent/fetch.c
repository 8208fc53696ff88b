/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fetching: messages of a connection that is not subscribed, asked for with GET (smp.md section 7,
 * agent.md section 8.3). What comes goes the way of every message: decrypted, stored, shown, and
 * acknowledged by the application; what is none of the application's is acknowledged here, and
 * the next one is asked for.
 *
 * Servers do not allow GET and SUB for one queue in one session. Where this session has subscribed
 * the queue before (and does not want it any more), SUB again brings the message just the same.
 * Where it has used GET, subscribing needs a new session.
 */
#include "agent/event.h"
#include "agent/network.h"
#include "agent/push.h"
#include "agent/receive.h"
#include "agent/route.h"
#include "agent/switch.h"
#include "agent/work.h"

#define ROUNDS_MAX 32 /* messages that are not the application's, in one fetch of one queue */

struct sx_fetch { /* of one connection, while it lasts */
    struct sx_fetch *next;
    struct simplex_event *answer; /* FETCHED: made before anything is asked */
    int64_t conn;
    bool told;      /* with a row that is not on disk yet */
    unsigned left;  /* queues that have not answered */
    int64_t count;  /* messages that came */
    int64_t msg_id; /* the last one for the application */
    simplex_rc rc;
    char *detail;
};

static struct sx_fetch *job_of(struct simplex_agent *a, int64_t conn)
{
    struct sx_fetch *f = a->fetches;

    while (f != NULL && (f->conn != conn || f->told))
        f = f->next;
    return f;
}

/* Takes the first one out of the list. */
static void free_first(struct sx_fetch **list)
{
    struct sx_fetch *f = *list;

    *list = f->next;
    sx_event_delete(f->answer);
    sx_free(f->detail);
    sx_free(f);
}

static bool make_job(struct sx_fetch **list, int64_t conn)
{
    struct sx_fetch *f = sx_calloc(1, sizeof *f);

    if (f == NULL)
        return false;
    f->conn = conn;
    f->next = *list;
    *list = f;
    f->answer = sx_event_new(SIMPLEX_EV_FETCHED, conn);
    return f->answer != NULL;
}

void sx_fetches_free(struct simplex_agent *a)
{
    while (a->fetches != NULL)
        free_first(&a->fetches);
}

static void fill_event(const struct sx_fetch *f, struct simplex_event *ev)
{
    ev->msg_id = f->msg_id;
    ev->conf = f->count;
    ev->rc = f->rc;
    if (f->detail != NULL)
        ev->detail = sx_strdup(f->detail);
}

static void tell_now(struct simplex_agent *a, struct sx_fetch *f)
{
    fill_event(f, f->answer);
    sx_emit_made(a, f->answer);
    f->answer = NULL;
}

/* Behind the MSG that it announces, and as durable as that. */
static simplex_rc tell_row(struct simplex_agent *a, const struct sx_fetch *f)
{
    bool inside = sx_store_in_savepoint(a->store); /* of what ends it: brackets are not nested */
    simplex_rc rc = inside ? SIMPLEX_OK : sx_handler_begin(a);
    struct simplex_event ev;

    if (rc != SIMPLEX_OK)
        return rc;
    sx_event_init(&ev, SIMPLEX_EV_FETCHED, f->conn);
    fill_event(f, &ev);
    rc = sx_emit(a, &ev);
    if (!inside)
        sx_handler_end(a, rc);
    else if (sx_rc_is_store(rc))
        sx_agent_store_failed(a, rc);
    return rc;
}

/* The message went with what was to be written: it is fetched again. */
static void tell_undone(struct simplex_agent *a, struct sx_fetch *f, simplex_rc why)
{
    f->msg_id = 0;
    f->rc = why;
    tell_now(a, f);
}

static struct sx_fetch **place_of(struct simplex_agent *a, const struct sx_fetch *f)
{
    struct sx_fetch **p = &a->fetches;

    while (*p != f)
        p = &(*p)->next;
    return p;
}

/* It ends: at once, or when its row is on disk. */
static void tell(struct simplex_agent *a, struct sx_fetch *f)
{
    simplex_rc rc = f->msg_id != 0 ? tell_row(a, f) : SIMPLEX_OK;

    f->told = f->msg_id != 0 && rc == SIMPLEX_OK;
    if (f->told)
        return;
    if (rc != SIMPLEX_OK)
        tell_undone(a, f, rc);
    else
        tell_now(a, f);
    free_first(place_of(a, f));
}

void sx_fetches_written(struct simplex_agent *a)
{
    for (struct sx_fetch **p = &a->fetches; *p != NULL;) {
        if ((*p)->told)
            free_first(p);
        else
            p = &(*p)->next;
    }
}

void sx_fetches_undone(struct simplex_agent *a, simplex_rc why)
{
    for (struct sx_fetch *f = a->fetches; f != NULL; f = f->next) {
        if (f->told)
            tell_undone(a, f, why);
    }
    sx_fetches_written(a); /* nothing more is to be said of them */
}

/* One queue less to wait for. */
static void finished(struct simplex_agent *a, struct sx_rt_rcvq *q, simplex_rc why,
                     const struct sx_rsp *rsp)
{
    struct sx_fetch *f = job_of(a, q->conn);

    q->fetch = SX_FETCH_NONE;
    if (f == NULL)
        return;
    if (why != SIMPLEX_OK && f->rc == SIMPLEX_OK) {
        f->rc = why;
        f->detail = sx_smp_err_text(rsp);
    }
    if (--f->left == 0)
        tell(a, f);
}

/* ---- asking ---- */

static void on_answer(void *user, void *ctx, simplex_rc why, const struct sx_rsp *rsp);

static void ask(struct simplex_agent *a, struct sx_rt_rcvq *q)
{
    struct sx_cmd cmd = { .tag = q->subscribed_here ? SX_SUB : SX_GET };
    struct sx_request req = { .cmd = &cmd,
                              .entity = sx_id_bytes(q->rcv_id),
                              .key = q->auth,
                              .done = on_answer,
                              .ctx = (void *)(intptr_t)q->id };
    simplex_rc rc = sx_client_send(q->server->client, &req);

    q->fetch = SX_FETCH_ASKED;
    if (rc != SIMPLEX_OK)
        finished(a, q, rc == SIMPLEX_E_NOMEM ? SIMPLEX_E_DISCONNECTED : rc, NULL);
    else if (!q->subscribed_here)
        q->got = true;
}

/* An old queue of a rotation that is empty: what waits for its end need not ask again. */
static void drained(struct simplex_agent *a, int64_t conn, int64_t queue)
{
    struct sx_command cmd;
    simplex_rc rc = sx_handler_begin(a);

    if (rc != SIMPLEX_OK)
        return;
    for (int64_t after = 0; rc == SIMPLEX_OK; after = cmd.id) {
        rc = sx_store_command_next(a->store, conn, after, &cmd);
        if (rc != SIMPLEX_OK || cmd.tag != SX_C_DRAIN || cmd.queue_id != queue)
            continue;
        rc = sx_store_command_delete(a->store, cmd.id);
        if (rc == SIMPLEX_OK)
            rc = sx_drain_done(a, queue);
        break;
    }
    sx_handler_end(a, rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc);
}

static void nothing_there(struct simplex_agent *a, struct sx_rt_rcvq *q)
{
    if (q->draining && !q->want) {
        q->draining = false;
        drained(a, q->conn, q->id);
    }
    finished(a, q, SIMPLEX_OK, NULL);
}

static bool is_prohibited(simplex_rc why, const struct sx_rsp *rsp)
{
    return why == SIMPLEX_E_SERVER && rsp != NULL && rsp->err.err == SX_ERR_CMD &&
           rsp->err.cmd == SX_CMD_PROHIBITED;
}

/* ---- what came ---- */

static bool will_be_acked(const struct simplex_agent *a, int64_t queue)
{
    const struct sx_ack *k = a->acks;

    while (k != NULL && k->queue != queue)
        k = k->next;
    return k != NULL;
}

static void forget_notice(struct sx_rt_rcvq *q)
{
    sx_event_delete(q->fetched);
    q->fetched = NULL;
}

/* MSGNTF is made before the message is taken: who waits for it must not do so in vain. */
static bool make_notice(struct sx_rt_rcvq *q, simplex_bytes msg_id)
{
    forget_notice(q); /* of the same message, which comes again */
    q->fetched = sx_event_new(SIMPLEX_EV_MSGNTF, q->conn);
    if (q->fetched == NULL)
        return false;
    sx_wr_raw(&q->fetched->data, msg_id);
    if (!q->fetched->data.bad)
        return true;
    forget_notice(q);
    return false;
}

static void came(struct simplex_agent *a, struct sx_rt_rcvq *q, const struct sx_rsp *rsp)
{
    struct sx_fetch *f = job_of(a, q->conn);
    struct sx_rcv_msg_row m;
    int64_t id = q->id;
    simplex_rc rc;

    if (!make_notice(q, rsp->msg.msg_id)) { /* it stays on the server */
        finished(a, q, SIMPLEX_E_NOMEM, NULL);
        return;
    }
    sx_receive(a, id, rsp);
    q = sx_rt_rcvq_by_id(a, id);
    if (q == NULL || f == NULL)
        return;
    if (a->failed) {
        finished(a, q, a->failed_rc, NULL);
        return;
    }
    f->count++;
    rc = sx_store_rcv_msg_find(a->store, q->conn, id, rsp->msg.msg_id, &m);
    if (rc == SIMPLEX_OK) {
        f->msg_id = m.id;
        if (q->fetched != NULL)
            q->fetched->srv_ts = m.srv_ts;
        finished(a, q, SIMPLEX_OK, NULL);
    } else if (rc == SIMPLEX_E_NOT_FOUND && will_be_acked(a, id)) {
        q->fetch = SX_FETCH_CLEARING;
    } else { /* left on the server: not its turn, or no room for it here */
        finished(a, q, rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc, NULL);
    }
}

static void on_answer(void *user, void *ctx, simplex_rc why, const struct sx_rsp *rsp)
{
    struct simplex_agent *a = user;
    struct sx_rt_rcvq *q = sx_rt_rcvq_by_id(a, (int64_t)(intptr_t)ctx);

    if (q == NULL || q->fetch != SX_FETCH_ASKED)
        return;
    if (why == SIMPLEX_OK && rsp->tag == SX_R_MSG) {
        came(a, q, rsp);
    } else if (is_prohibited(why, rsp) && q->rounds++ == 0) {
        q->subscribed_here = !q->subscribed_here; /* the server knows better */
        ask(a, q);
    } else if (why != SIMPLEX_OK) {
        finished(a, q, why, rsp);
    } else if (q->subscribed_here && !q->asked_twice) {
        q->asked_twice = true; /* the message would come behind the answer, before the next one */
        ask(a, q);
    } else {
        nothing_there(a, q);
    }
}

bool sx_fetch_takes(struct simplex_agent *a, struct sx_rt_rcvq *q, const struct sx_rsp *rsp)
{
    if (q->fetch != SX_FETCH_ASKED || !q->subscribed_here)
        return false;
    came(a, q, rsp);
    return true;
}

/* ---- acknowledged ---- */

void sx_fetch_acked(struct simplex_agent *a, const struct sx_ack *k, simplex_rc why,
                    const struct sx_rsp *rsp)
{
    struct sx_rt_rcvq *q = sx_rt_rcvq_by_id(a, k->queue);
    bool gone = why == SIMPLEX_OK || (why == SIMPLEX_E_SERVER && !sx_is_temporary(why, rsp));

    if (q == NULL || q->fetched == NULL)
        return;
    if (gone && sx_bytes_eq(sx_id_bytes(&k->msg_id), sx_wr_bytes(&q->fetched->data))) {
        sx_emit_made(a, q->fetched);
        q->fetched = NULL;
    }
    if (q->fetch != SX_FETCH_CLEARING)
        return;
    q->asked_twice = false;
    if (!gone || q->rounds++ >= ROUNDS_MAX)
        finished(a, q, gone ? SIMPLEX_OK : why, rsp);
    else if (why == SIMPLEX_OK && rsp->tag == SX_R_MSG)
        came(a, q, rsp);
    else
        ask(a, q);
}

void sx_fetch_lost(struct simplex_agent *a, struct sx_rt_rcvq *q, simplex_rc why)
{
    q->got = q->subscribed_here = false;
    forget_notice(q);
    if (q->fetch == SX_FETCH_CLEARING) /* what was asked is answered by the client itself */
        finished(a, q, why, NULL);
}

void sx_fetch_up(struct sx_rt_server *s)
{
    for (struct sx_rt_rcvq *q = s->queues; q != NULL; q = q->next_server)
        q->got = q->fetch == SX_FETCH_ASKED; /* others failed before they were sent */
}

void sx_fetch_gone(struct simplex_agent *a, struct sx_rt_rcvq *q)
{
    if (q->fetch != SX_FETCH_NONE)
        finished(a, q, SIMPLEX_E_DISCONNECTED, NULL); /* what it would have said nobody knows */
}

void sx_fetches_fail(struct simplex_agent *a, simplex_rc why)
{
    for (struct sx_fetch *f = a->fetches; f != NULL; f = f->next) {
        if (f->rc == SIMPLEX_OK)
            f->rc = why;
    }
}

void sx_fetch_new_session(struct sx_rt_server *s)
{
    sx_client_want(s->client, false);
    sx_client_disconnect(s->client, SIMPLEX_E_DISCONNECTED);
    sx_client_want(s->client, true);
}

/* ---- beginning ---- */

static simplex_rc count_queues(struct simplex_agent *a, int64_t conn, unsigned *queues)
{
    struct sx_rcv_queue q;
    struct sx_conn c;
    simplex_rc rc = sx_store_conn_get(a->store, conn, &c);

    *queues = 0;
    if (rc == SIMPLEX_OK && c.deleted)
        rc = SIMPLEX_E_NOT_FOUND;
    if (rc != SIMPLEX_OK)
        return rc;
    for (unsigned n = 0; rc == SIMPLEX_OK; n++) {
        rc = sx_store_rcvq_of(a->store, conn, n, &q);
        const struct sx_rt_rcvq *rt = rc == SIMPLEX_OK ? sx_rt_rcvq_by_id(a, q.id) : NULL;
        if (rt == NULL || q.deleted)
            continue;
        if (rt->want) /* its messages come by themselves */
            rc = SIMPLEX_E_PROHIBITED;
        ++*queues;
    }
    sx_wipe(&q, sizeof q);
    if (rc != SIMPLEX_E_NOT_FOUND)
        return rc;
    return *queues > 0 ? SIMPLEX_OK : SIMPLEX_E_PROHIBITED;
}

/* Some queues of it are not asked: nothing else would count them down. */
static void not_asked(struct simplex_agent *a, struct sx_fetch *f, unsigned queues, simplex_rc why)
{
    if (f->rc == SIMPLEX_OK)
        f->rc = why;
    f->left -= queues;
    if (f->left == 0)
        tell(a, f);
}

static void ask_queues(struct simplex_agent *a, int64_t conn, unsigned queues)
{
    struct sx_rcv_queue q;
    simplex_rc rc = SIMPLEX_OK;

    for (unsigned n = 0; rc == SIMPLEX_OK; n++) {
        rc = sx_store_rcvq_of(a->store, conn, n, &q);
        struct sx_rt_rcvq *rt = rc == SIMPLEX_OK ? sx_rt_rcvq_by_id(a, q.id) : NULL;
        if (rt == NULL || q.deleted)
            continue;
        rt->rounds = 0;
        rt->asked_twice = false;
        queues--;
        ask(a, rt);
    }
    sx_wipe(&q, sizeof q);
    if (queues > 0)
        not_asked(a, job_of(a, conn), queues, rc);
}

/* The first of the list. */
static void begin(struct simplex_agent *a, struct sx_fetch **list)
{
    struct sx_fetch *f = *list;

    if (job_of(a, f->conn) != NULL) { /* its answer is this one's as well */
        free_first(list);
        return;
    }
    *list = f->next;
    f->next = a->fetches;
    a->fetches = f;
    f->rc = count_queues(a, f->conn, &f->left);
    if (f->rc == SIMPLEX_OK)
        ask_queues(a, f->conn, f->left);
    else
        tell(a, f);
}

/* ---- the public functions ---- */

struct args {
    const int64_t *conns;
    size_t n;
    bool on;
};

static simplex_rc do_fetch(struct simplex_agent *a, void *p)
{
    const struct args *x = p;
    struct sx_fetch *jobs = NULL;
    bool made = true;

    if (a->cfg.read_only)
        return SIMPLEX_E_PROHIBITED;
    if (sx_ending(a, SX_END_RECEIVING))
        return SIMPLEX_E_SUSPENDED;
    for (size_t i = x->n; made && i > 0; i--)
        made = make_job(&jobs, x->conns[i - 1]);
    while (jobs != NULL) {
        if (made)
            begin(a, &jobs);
        else
            free_first(&jobs);
    }
    return made ? SIMPLEX_OK : SIMPLEX_E_NOMEM;
}

simplex_rc simplex_agent_fetch(simplex_agent *a, const int64_t *conns, size_t n)
{
    struct args x = { .conns = conns, .n = n };

    if (a == NULL || (conns == NULL && n > 0))
        return SIMPLEX_E_ARG;
    return sx_agent_begin(a, do_fetch, &x);
}

static simplex_rc do_only_create(struct simplex_agent *a, void *p)
{
    a->only_create = ((const struct args *)p)->on;
    return SIMPLEX_OK;
}

simplex_rc simplex_agent_only_create(simplex_agent *a, bool on)
{
    struct args x = { .on = on };

    return a == NULL ? SIMPLEX_E_ARG : sx_agent_begin(a, do_only_create, &x);
}
