/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loops: messages that the agent sends to itself, apart for each user. For each server that it
 * receives from there is one queue of noise, a row of its own that no connection knows. It is made,
 * secured, written to and read by the same commands as a queue of a connection, by the same way
 * (private routing included); what is in its messages is random, as anything encrypted is to who
 * has no key.
 *
 * Every step takes a slot of the plan, so the beginning is no burst either: NEW, later SKEY, then
 * a SEND each time. What fails is tried again in a later slot.
 */
#include "agent/envelope.h"
#include "agent/noise.h"
#include "agent/route.h"
#include "agent/services.h"
#include "agent/work.h"

static void on_made(void *user, void *ctx, simplex_rc why, const struct sx_rsp *rsp);
static void on_secured(void *user, void *ctx, simplex_rc why, const struct sx_rsp *rsp);
static void on_sent(void *user, void *ctx, simplex_rc why, const struct sx_rsp *rsp);
static void on_subscribed(void *user, void *ctx, simplex_rc why, const struct sx_rsp *rsp);
static void on_acked(void *user, void *ctx, simplex_rc why, const struct sx_rsp *rsp);
static void on_deleted(void *user, void *ctx, simplex_rc why, const struct sx_rsp *rsp);

/* ---- rows ---- */

static bool wanted(const struct sx_noise *n)
{
    return (n->cfg.kinds & SIMPLEX_NOISE_LOOP) != 0 && n->cfg.budget > 0;
}

static void queue_free(struct sx_noise *n, struct sx_noise_queue *q)
{
    struct sx_noise_queue **p = &n->queues;

    while (*p != q)
        p = &(*p)->next;
    *p = q->next;
    n->n_queues--;
    sx_free_secret(q, sizeof *q);
}

void sx_noise_loops_free(struct sx_noise *n)
{
    while (n->queues != NULL)
        queue_free(n, n->queues);
}

/* Where connections are isolated so is each queue: no connection has such a number. */
static int64_t entity(const struct simplex_agent *a, const struct sx_noise_queue *q)
{
    return a->net_cfg.isolation == SX_ISOLATE_ENTITY ? -q->row.id : 0;
}

static simplex_rc queue_add(struct simplex_agent *a, const struct sx_noise_row *row)
{
    struct sx_noise_queue *q = sx_calloc(1, sizeof *q);
    simplex_rc rc;

    if (q == NULL)
        return SIMPLEX_E_NOMEM;
    q->row = *row;
    rc = sx_rt_server_for(a, row->user_id, entity(a, q), &row->server, &q->server);
    if (rc != SIMPLEX_OK) {
        sx_free_secret(q, sizeof *q);
        return rc;
    }
    q->next = a->noise->queues;
    a->noise->queues = q;
    a->noise->n_queues++;
    return SIMPLEX_OK;
}

simplex_rc sx_noise_loops_load(struct simplex_agent *a)
{
    struct sx_noise_row row;
    simplex_rc rc = SIMPLEX_OK;

    for (int64_t after = 0; rc == SIMPLEX_OK; after = row.id) {
        rc = sx_store_noise_next(a->store, after, &row);
        if (rc == SIMPLEX_OK)
            rc = queue_add(a, &row);
    }
    sx_wipe(&row, sizeof row);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

static struct sx_noise_queue *by_ctx(struct simplex_agent *a, void *ctx)
{
    struct sx_noise_queue *q = a->noise != NULL ? a->noise->queues : NULL;

    while (q != NULL && q->row.id != (int64_t)(intptr_t)ctx)
        q = q->next;
    return q;
}

static void *ctx_of(const struct sx_noise_queue *q)
{
    return (void *)(intptr_t)q->row.id;
}

static void save(struct simplex_agent *a, const struct sx_noise_queue *q)
{
    simplex_rc rc = sx_handler_begin(a);

    if (rc != SIMPLEX_OK)
        return;
    rc = sx_store_noise_update(a->store, &q->row);
    sx_handler_end(a, rc);
    a->must_commit = true;
}

/* Nothing is left on the server. */
static void forget(struct simplex_agent *a, struct sx_noise_queue *q)
{
    simplex_rc rc = sx_handler_begin(a);

    if (rc != SIMPLEX_OK)
        return;
    rc = sx_store_noise_delete(a->store, q->row.id);
    sx_handler_end(a, rc);
    a->must_commit = true;
    if (rc == SIMPLEX_OK)
        queue_free(a->noise, q);
}

static void leave(struct simplex_agent *a, struct sx_noise_queue *q)
{
    q->row.state = SX_NOISE_GOING;
    q->subscribed = q->unacked = false;
    q->retry_at = 0;
    a->noise->wake = 0;
    save(a, q);
}

/* ---- which server ---- */

#define SKEY_SMP 9      /* the first version that has it */
#define NOTIFIER_SMP 17 /* the same of a notifier in NEW */

/* A session through which a connection receives, and by whose queues those of loops do not stand
 * out: where nothing is subscribed (fetch_only) one that is would. The queues of a service are
 * counted by its server: it makes no others. */
static bool has_loops(const struct simplex_agent *a, const struct sx_rt_server *s)
{
    return s->queues != NULL && sx_client_is_up(s->client) && !sx_svc_session(s) &&
           !a->cfg.fetch_only &&
           sx_client_version(s->client) >= (a->cfg.notifications ? NOTIFIER_SMP : SKEY_SMP);
}

static struct sx_rt_server *any_server(struct simplex_agent *a)
{
    struct sx_rt_server *picked = NULL;
    uint32_t seen = 0;

    for (struct sx_rt_server *s = a->rt_servers; s != NULL; s = s->next) {
        if (has_loops(a, s) && sx_random_below(++seen) == 0)
            picked = s;
    }
    return picked;
}

static struct sx_noise_queue *queue_on(struct sx_noise *n, const struct sx_rt_server *s)
{
    struct sx_noise_queue *q = n->queues;

    while (q != NULL && (q->row.state == SX_NOISE_GOING || q->row.user_id != s->user ||
                         !sx_server_eq(&q->row.server, sx_client_server(s->client))))
        q = q->next;
    return q;
}

/* No connection receives from it any more. */
static bool is_left(struct simplex_agent *a, const struct sx_noise_row *row)
{
    for (struct sx_rt_server *s = a->rt_servers; s != NULL; s = s->next) {
        if (s->queues != NULL && s->user == row->user_id &&
            sx_server_eq(sx_client_server(s->client), &row->server))
            return false;
    }
    return true;
}

static void leave_servers(struct simplex_agent *a)
{
    for (struct sx_noise_queue *q = a->noise->queues; q != NULL; q = q->next) {
        if (q->row.state != SX_NOISE_GOING && is_left(a, &q->row))
            leave(a, q);
    }
}

/* ---- steps ---- */

/* The keys are on disk before NEW leaves. */
static void begin(struct simplex_agent *a, const struct sx_rt_server *s)
{
    struct sx_noise_row row = { .user_id = s->user,
                                .state = SX_NOISE_NEW,
                                .server = *sx_client_server(s->client) };
    simplex_rc rc = sx_handler_begin(a);

    if (rc != SIMPLEX_OK)
        return;
    rc = sx_keypair_new(SX_ED25519, &row.auth);
    if (rc == SIMPLEX_OK)
        rc = sx_keypair_new(SX_X25519, &row.dh);
    if (rc == SIMPLEX_OK)
        rc = sx_keypair_new(SX_ED25519, &row.snd_auth);
    if (rc == SIMPLEX_OK)
        rc = sx_store_noise_add(a->store, &row);
    if (rc == SIMPLEX_OK)
        rc = queue_add(a, &row);
    sx_handler_end(a, rc);
    a->must_commit = true;
    if (rc == SIMPLEX_OK) {
        a->noise->queues->due = true;
        a->noise->wake = 0;
    }
    sx_wipe(&row, sizeof row);
}

static simplex_rc command(struct sx_noise_queue *q, const struct sx_cmd *cmd, sx_response_fn *done)
{
    struct sx_request req = { .cmd = cmd,
                              .entity = sx_id_bytes(&q->row.rcv_id),
                              .key = &q->row.auth,
                              .done = done,
                              .ctx = ctx_of(q) };

    return sx_client_send(q->server->client, &req);
}

/* Nobody is to be notified: the private keys are not kept. */
static simplex_rc put_notifier(struct sx_cmd *cmd)
{
    struct sx_keypair auth, dh;
    simplex_rc rc = sx_keypair_new(SX_ED25519, &auth);

    if (rc == SIMPLEX_OK)
        rc = sx_keypair_new(SX_X25519, &dh);
    if (rc == SIMPLEX_OK) {
        cmd->new_.has_ntf = true;
        cmd->new_.ntf_auth = auth.pub;
        cmd->new_.ntf_dh = dh.pub;
    }
    sx_keypair_wipe(&auth);
    sx_keypair_wipe(&dh);
    return rc;
}

/* Exactly as the first queue of a connection (send_new in command_send.c). */
static void send_new(struct simplex_agent *a, struct sx_noise_queue *q)
{
    struct sx_cmd cmd = { .tag = SX_NEW };
    struct sx_request req = { .cmd = &cmd, .key = &q->row.auth, .done = on_made, .ctx = ctx_of(q) };
    simplex_bytes password = sx_server_password(a, q->row.user_id, &q->row.server);

    if (a->cfg.notifications && put_notifier(&cmd) != SIMPLEX_OK)
        return; /* in a later slot */
    cmd.new_.auth = q->row.auth.pub;
    cmd.new_.dh = q->row.dh.pub;
    cmd.new_.has_password = password.len > 0;
    cmd.new_.password = password;
    cmd.new_.subscribe = true;
    cmd.new_.mode = SX_MODE_MESSAGING;
    sx_random(q->corr_id, sizeof q->corr_id);
    req.corr_id = q->corr_id;
    q->in_flight = sx_client_send(q->server->client, &req) == SIMPLEX_OK;
}

static simplex_rc route(struct simplex_agent *a, struct sx_noise_queue *q, const struct sx_cmd *cmd,
                        sx_response_fn *done)
{
    struct sx_request req = { .cmd = cmd,
                              .entity = sx_id_bytes(&q->row.snd_id),
                              .key = &q->row.snd_auth,
                              .done = done,
                              .ctx = ctx_of(q) };

    return sx_route_send_for(a, q->row.user_id, entity(a, q), &q->row.server, &req, &q->path);
}

static void send_skey(struct simplex_agent *a, struct sx_noise_queue *q)
{
    struct sx_cmd cmd = { .tag = SX_SKEY };

    cmd.key.key = q->row.snd_auth.pub;
    q->in_flight = route(a, q, &cmd, on_secured) == SIMPLEX_OK;
}

static void subscribe(struct sx_noise_queue *q)
{
    static const struct sx_cmd cmd = { .tag = SX_SUB };

    if (!q->subscribing)
        q->subscribing = command(q, &cmd, on_subscribed) == SIMPLEX_OK;
}

static void send_loop(struct simplex_agent *a, struct sx_noise_queue *q)
{
    struct sx_cmd cmd = { .tag = SX_SEND };
    struct sx_wr body;

    if (sx_seal_nothing(&body) == SIMPLEX_OK) {
        cmd.send.notify = a->noise->notify;
        cmd.send.body = sx_wr_bytes(&body);
        if (route(a, q, &cmd, on_sent) == SIMPLEX_OK)
            sx_noise_did(a->noise, SX_NOISE_LOOP);
    }
    sx_wr_free(&body);
}

static void step(struct simplex_agent *a, struct sx_noise_queue *q)
{
    bool ready = q->row.state == SX_NOISE_READY && q->subscribed;

    if (q->in_flight || q->subscribing ||
        (ready && q->path != NULL && sx_noise_pay_session(a->noise, q->path)) ||
        !sx_noise_may(a->noise, ready ? SX_NOISE_COST_LOOP : SX_NOISE_COST_COMMAND))
        return;
    switch ((enum sx_noise_state)q->row.state) {
    case SX_NOISE_NEW:
        send_new(a, q);
        break;
    case SX_NOISE_MADE:
        send_skey(a, q);
        break;
    case SX_NOISE_READY:
        if (ready)
            send_loop(a, q);
        else
            subscribe(q);
        break;
    case SX_NOISE_GOING:
        break;
    }
    if (!ready)
        sx_noise_did(a->noise, SX_NOISE_LOOP);
}

void sx_noise_loop(struct simplex_agent *a)
{
    struct sx_noise *n = a->noise;
    struct sx_rt_server *s = any_server(a);
    struct sx_noise_queue *q;

    leave_servers(a);
    if (s == NULL || a->failed)
        return;
    q = queue_on(n, s);
    if (a->only_create && (q == NULL || q->row.state == SX_NOISE_NEW))
        return; /* connections that are made now are not subscribed: it would be */
    if (q != NULL)
        step(a, q);
    else if (n->n_queues < SX_NOISE_QUEUES_MAX)
        begin(a, s);
}

/* ---- answers ---- */

static bool is_gone(simplex_rc why, const struct sx_rsp *rsp)
{
    return why == SIMPLEX_E_SERVER && rsp != NULL && rsp->err.err == SX_ERR_AUTH;
}

static void on_made(void *user, void *ctx, simplex_rc why, const struct sx_rsp *rsp)
{
    struct simplex_agent *a = user;
    struct sx_noise_queue *q = by_ctx(a, ctx);

    if (q == NULL)
        return;
    q->in_flight = false;
    a->noise->wake = 0;
    if (why == SIMPLEX_E_TIMEOUT)
        sx_lost_add(a, q->server->client, q->corr_id, &q->row.auth);
    if (why != SIMPLEX_OK || !sx_id_take(&q->row.rcv_id, rsp->ids.rcv_id) ||
        !sx_id_take(&q->row.snd_id, rsp->ids.snd_id)) {
        q->row.rcv_id.len = q->row.snd_id.len = 0;
        return;
    }
    if (q->row.state == SX_NOISE_NEW)
        q->row.state = SX_NOISE_MADE;
    q->subscribed = true;
    save(a, q);
}

static void on_secured(void *user, void *ctx, simplex_rc why, const struct sx_rsp *rsp)
{
    struct simplex_agent *a = user;
    struct sx_noise_queue *q = by_ctx(a, ctx);

    if (q == NULL)
        return;
    q->in_flight = false;
    if (q->row.state != SX_NOISE_MADE)
        return;
    if (why == SIMPLEX_OK) {
        q->row.state = SX_NOISE_READY;
        save(a, q);
    } else if (is_gone(why, rsp)) {
        forget(a, q);
    }
}

static void on_sent(void *user, void *ctx, simplex_rc why, const struct sx_rsp *rsp)
{
    struct simplex_agent *a = user;
    struct sx_noise_queue *q = by_ctx(a, ctx);

    if (q == NULL || q->row.state != SX_NOISE_READY)
        return;
    if (is_gone(why, rsp))
        forget(a, q);
    else if (why == SIMPLEX_E_SERVER && rsp != NULL && rsp->err.err == SX_ERR_QUOTA)
        q->subscribed = false; /* nothing was shown for long: ask */
}

static void shown(struct simplex_agent *a, struct sx_noise_queue *q, const struct sx_rsp *rsp)
{
    if (!sx_id_take(&q->msg_id, rsp->msg.msg_id))
        return;
    q->unacked = true;
    q->ack_at = sx_mono_ms() + sx_noise_delay(a->noise);
    sx_noise_wake(a->noise, q->ack_at);
}

static void on_subscribed(void *user, void *ctx, simplex_rc why, const struct sx_rsp *rsp)
{
    struct simplex_agent *a = user;
    struct sx_noise_queue *q = by_ctx(a, ctx);

    if (q == NULL)
        return;
    q->subscribing = false;
    if (q->row.state == SX_NOISE_GOING)
        return;
    if (is_gone(why, rsp)) {
        forget(a, q);
        return;
    }
    q->subscribed = why == SIMPLEX_OK;
    if (why == SIMPLEX_OK && rsp->tag == SX_R_MSG)
        shown(a, q, rsp);
}

static void send_ack(struct sx_noise_queue *q)
{
    struct sx_cmd cmd = { .tag = SX_ACK };

    cmd.ack.msg_id = sx_id_bytes(&q->msg_id);
    q->unacked = false;
    if (command(q, &cmd, on_acked) != SIMPLEX_OK)
        q->subscribed = false;
}

static void on_acked(void *user, void *ctx, simplex_rc why, const struct sx_rsp *rsp)
{
    struct simplex_agent *a = user;
    struct sx_noise_queue *q = by_ctx(a, ctx);

    if (q != NULL && why == SIMPLEX_OK && rsp->tag == SX_R_MSG && q->row.state != SX_NOISE_GOING)
        shown(a, q, rsp);
}

/* ---- the end ---- */

static void del_later(const struct simplex_agent *a, struct sx_noise_queue *q)
{
    q->retry_at = sx_mono_ms() + sx_next_delay(&q->delay, &q->elapsed, a->cfg.retry_first,
                                               SX_RETRY_GROW, a->cfg.retry_max);
}

static void send_del(struct simplex_agent *a, struct sx_noise_queue *q)
{
    static const struct sx_cmd cmd = { .tag = SX_DEL };

    if (q->row.rcv_id.len == 0) { /* the server never said that it made it */
        forget(a, q);
        return;
    }
    q->in_flight = command(q, &cmd, on_deleted) == SIMPLEX_OK;
    if (!q->in_flight)
        del_later(a, q);
    else
        sx_noise_count_bytes(a->noise, SX_NOISE_COST_COMMAND);
}

static void on_deleted(void *user, void *ctx, simplex_rc why, const struct sx_rsp *rsp)
{
    struct simplex_agent *a = user;
    struct sx_noise_queue *q = by_ctx(a, ctx);

    if (q == NULL)
        return;
    q->in_flight = false;
    a->noise->wake = 0;
    if (why == SIMPLEX_OK || !sx_is_temporary(why, rsp))
        forget(a, q);
    else
        del_later(a, q);
}

static void leave_all(struct simplex_agent *a)
{
    for (struct sx_noise_queue *q = a->noise->queues; q != NULL && !a->failed; q = q->next) {
        if (q->row.state != SX_NOISE_GOING)
            leave(a, q);
    }
}

void sx_noise_loops_run(struct simplex_agent *a, int64_t now)
{
    struct sx_noise *n = a->noise;
    struct sx_noise_queue *next;

    if (!wanted(n) && !n->paused)
        leave_all(a);
    for (struct sx_noise_queue *q = n->queues; q != NULL && !a->must_commit; q = next) {
        next = q->next;
        if (q->row.state == SX_NOISE_GOING) {
            if (!q->in_flight && !n->paused && q->retry_at <= now)
                send_del(a, q);
        } else if (q->due) {
            q->due = false;
            step(a, q);
        } else if (q->unacked && q->ack_at <= now) {
            send_ack(q);
        }
    }
    for (struct sx_noise_queue *q = n->queues; q != NULL; q = q->next) {
        if (q->row.state == SX_NOISE_GOING && !q->in_flight && !n->paused)
            sx_noise_wake(n, q->retry_at);
        else if (q->row.state != SX_NOISE_GOING && q->unacked)
            sx_noise_wake(n, q->ack_at);
        else if (q->due)
            sx_noise_wake(n, 0);
    }
}

/* ---- the network ---- */

void sx_noise_loops_mark(struct simplex_agent *a)
{
    struct sx_noise_queue *q = a->noise != NULL ? a->noise->queues : NULL;

    for (; q != NULL; q = q->next) {
        q->server->in_use = true;
        if (q->path != NULL)
            q->path->in_use = true;
    }
}

void sx_noise_loops_up(struct simplex_agent *a, struct sx_rt_server *s)
{
    for (struct sx_noise_queue *q = a->noise->queues; q != NULL; q = q->next) {
        if (q->server == s && q->row.rcv_id.len > 0 && q->row.state != SX_NOISE_GOING &&
            wanted(a->noise) && has_loops(a, s)) {
            sx_noise_count_bytes(a->noise, SX_NOISE_COST_COMMAND);
            subscribe(q);
        }
    }
}

void sx_noise_loops_down(struct sx_noise *n, const struct sx_rt_server *s)
{
    for (struct sx_noise_queue *q = n->queues; q != NULL; q = q->next) {
        if (q->server == s)
            q->subscribed = q->subscribing = q->unacked = false;
    }
}

bool sx_noise_event(struct simplex_agent *a, const struct sx_client *c,
                    const struct sx_transmission *t, const struct sx_rsp *rsp)
{
    struct sx_noise_queue *q = a->noise != NULL ? a->noise->queues : NULL;

    while (q != NULL && !(q->server->client == c && q->row.rcv_id.len > 0 &&
                          sx_bytes_eq(sx_id_bytes(&q->row.rcv_id), t->entity_id)))
        q = q->next;
    if (q == NULL)
        return false;
    if (rsp->tag == SX_R_MSG && q->row.state != SX_NOISE_GOING)
        shown(a, q, rsp);
    else if (rsp->tag == SX_R_END)
        q->subscribed = false; /* a copy of this database is in use: taken back with a slot */
    else if (rsp->tag == SX_R_DELD)
        forget(a, q);
    return true;
}
