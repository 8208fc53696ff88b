/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command worker of a connection: NEW, KEY, SKEY, DEL, and the SEND of a request to a contact
 * address, one at a time, oldest first, each kept
 * in the database until the server answered it (agent.md sections 6.3 and 6.4). Every key is in
 * the database before its command is sent, so that a repeat after a lost answer is the same.
 */
#include "agent/push.h"
#include "agent/services.h"
#include "agent/several.h"
#include "agent/users.h"

simplex_rc sx_command_add(struct simplex_agent *a, int64_t conn, enum sx_command_tag tag,
                          int64_t queue, simplex_bytes data)
{
    struct sx_command cmd = { .conn_id = conn,
                              .tag = (uint8_t)tag,
                              .queue_id = queue,
                              .data = data,
                              .created_at = sx_now_ms() };
    simplex_rc rc = sx_store_command_add(a->store, &cmd);

    if (rc == SIMPLEX_OK)
        sx_wake_commands(a, conn);
    return rc;
}

simplex_rc sx_command_drop(struct simplex_agent *a, int64_t conn, enum sx_command_tag tag)
{
    struct sx_command cmd;
    simplex_rc rc = SIMPLEX_OK;

    for (int64_t after = 0; rc == SIMPLEX_OK; after = cmd.id) {
        rc = sx_store_command_next(a->store, conn, after, &cmd);
        if (rc == SIMPLEX_OK && cmd.tag == tag)
            rc = sx_store_command_delete(a->store, cmd.id);
    }
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

simplex_rc sx_command_waits(struct simplex_agent *a, int64_t conn, enum sx_command_tag tag,
                            bool *yes)
{
    struct sx_rt_conn *w = sx_rt_conn_get(a, conn, false);
    struct sx_command cmd;
    simplex_rc rc = SIMPLEX_OK;

    *yes = false;
    for (int64_t after = 0; rc == SIMPLEX_OK && !*yes; after = cmd.id) {
        rc = sx_store_command_next(a->store, conn, after, &cmd);
        if (rc == SIMPLEX_OK && cmd.tag == tag)
            *yes = w == NULL || !w->in_flight || w->command != cmd.id;
    }
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

/* ---- sending ---- */

static void on_answer(void *user, void *ctx, simplex_rc rc, const struct sx_rsp *rsp);

static simplex_rc send_to(struct simplex_agent *a, struct sx_rt_conn *w,
                          const struct sx_server *server, struct sx_request *req)
{
    req->done = on_answer;
    req->ctx = (void *)(intptr_t)w->id;
    return sx_request_send(a, w->id, server, req, &w->server);
}

/* To the server of a contact. */
static simplex_rc route_to(struct simplex_agent *a, struct sx_rt_conn *w,
                           const struct sx_server *server, struct sx_request *req)
{
    req->done = on_answer;
    req->ctx = (void *)(intptr_t)w->id;
    return sx_route_send(a, w->id, server, req, &w->server);
}

/* Creates a queue that only the sender it is made for can write to (mode M), or an address. */
static simplex_rc send_new(struct simplex_agent *a, struct sx_rt_conn *w,
                           const struct sx_rcv_queue *q, simplex_bytes data)
{
    struct sx_conn c;
    bool service;
    struct sx_cmd cmd = { .tag = SX_NEW };
    struct sx_request req = { .cmd = &cmd, .key = &q->auth, .corr_id = w->corr_id };
    simplex_bytes password;
    struct sx_link_row link;
    int64_t user;
    simplex_rc rc = sx_user_of(a, q->conn_id, &user);

    if (rc == SIMPLEX_OK)
        rc = sx_store_conn_get(a->store, w->id, &c);
    if (rc == SIMPLEX_OK)
        rc = sx_notifier_new(a, q->id, &cmd);
    if (rc != SIMPLEX_OK)
        return rc;
    password = sx_new_password(a, user, q, data);
    rc = sx_svc_use_for(a, w->id, &q->server, &service);
    if (rc != SIMPLEX_OK)
        return rc;
    /* A service's queues are subscribed from the start (smp.md section 6.3). */
    w->subscribes = (c.subscribe && !a->cfg.fetch_only) || service;
    cmd.new_.auth = q->auth.pub;
    cmd.new_.dh = q->dh.pub;
    cmd.new_.has_password = password.len > 0;
    cmd.new_.password = password;
    cmd.new_.subscribe = w->subscribes;
    cmd.new_.mode = q->mode == SX_MODE_CONTACT ? SX_MODE_CONTACT : SX_MODE_MESSAGING;
    rc = sx_link_new(a, q, &link, &cmd);
    if (rc == SIMPLEX_OK && cmd.new_.has_link)
        memcpy(w->corr_id, link.corr_id, sizeof w->corr_id); /* the sender id was made of it */
    else
        sx_random(w->corr_id, sizeof w->corr_id);
    if (rc == SIMPLEX_OK)
        rc = send_to(a, w, &q->server, &req);
    sx_wipe(&link, sizeof link);
    return rc;
}

static simplex_rc send_lset(struct simplex_agent *a, struct sx_rt_conn *w,
                            const struct sx_rcv_queue *q)
{
    struct sx_cmd cmd = { .tag = SX_LSET };
    struct sx_request req = { .cmd = &cmd, .key = &q->auth, .entity = sx_id_bytes(&q->rcv_id) };
    struct sx_link_row link;
    simplex_rc rc = sx_store_link_get(a->store, q->id, &link);

    if (rc != SIMPLEX_OK)
        return rc;
    cmd.lset.link_id = sx_bytes(link.link_id, sizeof link.link_id);
    cmd.lset.fixed = link.fixed;
    cmd.lset.user = link.user;
    rc = send_to(a, w, &q->server, &req);
    sx_wipe(&link, sizeof link);
    return rc;
}

static simplex_rc send_ldel(struct simplex_agent *a, struct sx_rt_conn *w,
                            const struct sx_rcv_queue *q)
{
    struct sx_cmd cmd = { .tag = SX_LDEL };
    struct sx_request req = { .cmd = &cmd, .key = &q->auth, .entity = sx_id_bytes(&q->rcv_id) };

    return send_to(a, w, &q->server, &req);
}

static simplex_rc send_look(struct simplex_agent *a, struct sx_rt_conn *w)
{
    struct sx_cmd cmd;
    struct sx_request req = { .cmd = &cmd };
    struct sx_short_link s;
    struct sx_look l;
    simplex_rc rc = sx_look_send(a, w->id, &l, &s, &cmd, &req);

    if (rc == SIMPLEX_OK)
        rc = route_to(a, w, &s.server, &req);
    sx_wipe(&l, sizeof l);
    sx_wipe(&s, sizeof s);
    return rc;
}

static simplex_rc send_notifier(struct simplex_agent *a, struct sx_rt_conn *w,
                                const struct sx_rcv_queue *q, const struct sx_command *c)
{
    struct sx_cmd cmd = { .tag = SX_NDEL };
    struct sx_request req = { .cmd = &cmd, .key = &q->auth, .entity = sx_id_bytes(&q->rcv_id) };
    bool moot;
    simplex_rc rc = sx_notifier_cmd(a, c, &cmd, &moot);

    if (rc != SIMPLEX_OK || moot)
        return rc != SIMPLEX_OK ? rc : SIMPLEX_E_NO_EVENT;
    return send_to(a, w, &q->server, &req);
}

static simplex_rc send_key(struct simplex_agent *a, struct sx_rt_conn *w,
                           const struct sx_rcv_queue *q)
{
    struct sx_cmd cmd = { .tag = SX_KEY };
    struct sx_request req = { .cmd = &cmd, .key = &q->auth, .entity = sx_id_bytes(&q->rcv_id) };

    cmd.key.key = q->sender_key;
    return send_to(a, w, &q->server, &req);
}

static simplex_rc send_plain(struct simplex_agent *a, struct sx_rt_conn *w,
                             const struct sx_rcv_queue *q, enum sx_cmd_tag tag)
{
    struct sx_cmd cmd = { .tag = tag };
    struct sx_request req = { .cmd = &cmd, .key = &q->auth, .entity = sx_id_bytes(&q->rcv_id) };

    return send_to(a, w, &q->server, &req);
}

static simplex_rc send_skey(struct simplex_agent *a, struct sx_rt_conn *w, int64_t queue)
{
    struct sx_snd_queue q;
    struct sx_cmd cmd = { .tag = SX_SKEY };
    struct sx_request req = { .cmd = &cmd, .key = &q.auth };
    simplex_rc rc = sx_store_sndq_get(a->store, queue, &q);

    if (rc != SIMPLEX_OK)
        return rc;
    cmd.key.key = q.auth.pub;
    req.entity = sx_id_bytes(&q.snd_id);
    rc = route_to(a, w, &q.server, &req);
    sx_keypair_wipe(&q.auth);
    return rc;
}

/* Unsigned, as anybody may write there. */
static simplex_rc send_invitation(struct simplex_agent *a, struct sx_rt_conn *w,
                                  const struct sx_command *c)
{
    struct sx_cmd cmd = { .tag = SX_SEND };
    struct sx_request req = { .cmd = &cmd };
    struct sx_queue_addr to;
    struct sx_wr body;
    simplex_rc rc;

    memset(&body, 0, sizeof body);
    rc = sx_request_body(a, c, &to, &body);
    if (rc == SIMPLEX_OK) {
        cmd.send.notify = true;
        cmd.send.body = sx_wr_bytes(&body);
        req.entity = sx_id_bytes(&to.snd_id);
        rc = route_to(a, w, &to.server, &req);
    }
    sx_wr_free(&body);
    return rc;
}

static simplex_rc send_command(struct simplex_agent *a, struct sx_rt_conn *w,
                               const struct sx_command *cmd)
{
    size_t len = cmd->data.len < SX_NEW_DATA_MAX ? cmd->data.len : SX_NEW_DATA_MAX;
    uint8_t data[SX_NEW_DATA_MAX]; /* cmd->data lives until the next call on the store */
    struct sx_rcv_queue q;
    simplex_rc rc;

    if (cmd->tag == SX_C_SKEY)
        return send_skey(a, w, cmd->queue_id);
    if (cmd->tag == SX_C_INVITATION)
        return send_invitation(a, w, cmd);
    if (cmd->tag == SX_C_LOOK)
        return send_look(a, w);
    if (len > 0)
        memcpy(data, cmd->data.ptr, len);
    rc = sx_store_rcvq_get(a->store, cmd->queue_id, &q);
    if (rc != SIMPLEX_OK)
        return rc;
    switch ((enum sx_command_tag)cmd->tag) {
    case SX_C_NEW:
        rc = send_new(a, w, &q, sx_bytes(data, len));
        break;
    case SX_C_KEY:
        rc = send_key(a, w, &q);
        break;
    case SX_C_DEL:
        rc = send_plain(a, w, &q, SX_DEL);
        break;
    case SX_C_DRAIN:
        rc = send_plain(a, w, &q, SX_SUB);
        break;
    case SX_C_LSET:
        rc = send_lset(a, w, &q);
        break;
    case SX_C_LDEL:
        rc = send_ldel(a, w, &q);
        break;
    case SX_C_NKEY:
    case SX_C_NDEL: {
        struct sx_command own = *cmd; /* its data as copied above */
        own.data = sx_bytes(data, len);
        rc = send_notifier(a, w, &q, &own);
        break;
    }
    default:
        rc = SIMPLEX_E_DB_DAMAGED;
    }
    sx_wipe(&q, sizeof q);
    sx_wipe(data, len);
    return rc;
}

static void wait_for(struct simplex_agent *a, struct sx_rt_conn *w, int64_t delay)
{
    w->waiting = true;
    w->retry_at = sx_mono_ms() + delay;
    sx_retry_at(a, w->retry_at);
}

static void retry_later(struct simplex_agent *a, struct sx_rt_conn *w)
{
    wait_for(
        a, w,
        sx_next_delay(&w->delay, &w->elapsed, a->cfg.retry_first, SX_RETRY_GROW, a->cfg.retry_max));
}

/* The address has as many requests as its server keeps: its owner has to read them first. */
static void retry_when_read(struct simplex_agent *a, struct sx_rt_conn *w)
{
    wait_for(a, w,
             sx_next_delay(&w->delay, &w->elapsed, a->cfg.quota_retry_first, SX_QUOTA_RETRY_GROW,
                           SX_QUOTA_RETRY_MAX));
}

static simplex_rc try_answer(struct simplex_agent *a, struct sx_rt_conn *w, simplex_rc why,
                             const struct sx_rsp *rsp);

/* What cannot be put together is refused by ourselves; anything else may pass. */
static void not_sent(struct simplex_agent *a, struct sx_rt_conn *w, simplex_rc why)
{
    if (why == SIMPLEX_E_TOO_LARGE && try_answer(a, w, why, NULL) == SIMPLEX_OK) {
        w->dirty = true;
        a->work = true;
        return;
    }
    sx_log(SX_LOG_WARN, "agent: a command cannot be sent: %s", simplex_rc_name(why));
    retry_later(a, w);
}

static bool ends_queue(const struct sx_command *cmd)
{
    return cmd->tag == SX_C_DEL || cmd->tag == SX_C_DRAIN;
}

static bool is_notifier(const struct sx_command *cmd)
{
    return cmd->tag == SX_C_NKEY || cmd->tag == SX_C_NDEL;
}

/* One of several queues stands for itself. */
static bool stands_alone(const struct sx_conn *c, const struct sx_command *cmd)
{
    return ends_queue(cmd) || is_notifier(cmd) ||
           ((c->rcv_queues > 1 || c->peer_several) &&
            (cmd->tag == SX_C_NEW || cmd->tag == SX_C_KEY || cmd->tag == SX_C_SKEY ||
             cmd->tag == SX_C_MADE));
}

/* The end of a queue and its notifier are no steps to anything: what is behind them need not wait
 * for their server. */
static simplex_rc step_over(struct simplex_agent *a, struct sx_rt_conn *w,
                            const struct sx_command *cmd)
{
    struct sx_command next;
    struct sx_conn c;
    simplex_rc rc = sx_store_conn_get(a->store, w->id, &c);

    retry_later(a, w);
    w->skip = 0;
    if (rc != SIMPLEX_OK || !stands_alone(&c, cmd))
        return rc;
    rc = sx_store_command_next(a->store, w->id, cmd->id, &next);
    if (rc == SIMPLEX_OK) {
        w->skip = cmd->id;
        w->waiting = false;
        w->dirty = true;
        a->work = true;
    }
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

/* The oldest command, but those that are stepped over. E_NO_EVENT: not before their time. */
static simplex_rc next_command(struct simplex_agent *a, struct sx_rt_conn *w,
                               struct sx_command *cmd)
{
    simplex_rc rc = sx_store_command_next(a->store, w->id, w->skip, cmd);

    if (rc != SIMPLEX_E_NOT_FOUND || w->skip == 0)
        return rc;
    w->skip = 0;
    if (sx_mono_ms() < w->retry_at) {
        w->waiting = true;
        sx_retry_at(a, w->retry_at);
        return SIMPLEX_E_NO_EVENT;
    }
    return sx_store_command_next(a->store, w->id, 0, cmd);
}

/* There is nothing to send: what it was for has changed. */
static void drop_moot(struct simplex_agent *a, struct sx_rt_conn *w, int64_t command)
{
    simplex_rc rc = sx_handler_begin(a);

    if (rc != SIMPLEX_OK)
        return;
    rc = sx_store_command_delete(a->store, command);
    sx_handler_end(a, rc);
    sx_agent_lazy(a);
    w->dirty = true;
    a->work = true;
}

/* Nothing is sent: it is answered as soon as its time has come. */
static void run_made(struct simplex_agent *a, struct sx_rt_conn *w, const struct sx_command *cmd)
{
    bool wait;
    simplex_rc rc = sx_queues_unmade(a, w->id, &wait);

    w->command = cmd->id;
    if (rc == SIMPLEX_OK && wait)
        rc = step_over(a, w, cmd);
    else if (rc == SIMPLEX_OK)
        rc = try_answer(a, w, SIMPLEX_OK, NULL);
    if (rc == SIMPLEX_OK && wait)
        return;
    if (sx_rc_is_store(rc)) {
        sx_agent_store_failed(a, rc);
        return;
    }
    w->dirty = true;
    a->work = true;
    if (rc != SIMPLEX_OK && try_answer(a, w, rc, NULL) != SIMPLEX_OK)
        retry_later(a, w);
}

void sx_run_command(struct simplex_agent *a, struct sx_rt_conn *w)
{
    struct sx_command cmd;
    simplex_rc rc = next_command(a, w, &cmd);

    w->dirty = false;
    if (rc == SIMPLEX_E_NO_EVENT)
        return;
    if (rc == SIMPLEX_E_NOT_FOUND) {
        sx_rt_conn_remove(a, w->id);
        return;
    }
    if (rc == SIMPLEX_OK && cmd.tag == SX_C_DRAIN && sx_drain_waits(a, cmd.queue_id)) {
        rc = step_over(a, w, &cmd);
        if (rc == SIMPLEX_OK)
            return;
    }
    if (rc == SIMPLEX_OK && cmd.tag == SX_C_MADE) {
        run_made(a, w, &cmd);
        return;
    }
    if (rc == SIMPLEX_OK) {
        w->command = cmd.id;
        w->drain = cmd.tag == SX_C_DRAIN ? cmd.queue_id : 0;
        rc = send_command(a, w, &cmd);
    }
    if (rc == SIMPLEX_OK) {
        w->in_flight = true;
    } else if (rc == SIMPLEX_E_NO_EVENT) {
        drop_moot(a, w, cmd.id);
    } else if (sx_rc_is_store(rc)) {
        sx_agent_store_failed(a, rc);
    } else {
        not_sent(a, w, rc);
    }
}

/* ---- answers ---- */

static simplex_rc key_answered(struct simplex_agent *a, struct sx_conn *c,
                               const struct sx_command *cmd)
{
    struct sx_rcv_queue q;
    struct sx_snd_queue s;
    simplex_rc rc = sx_store_rcvq_get(a->store, cmd->queue_id, &q);

    if (rc != SIMPLEX_OK)
        return rc;
    if (q.status < SX_Q_SECURED) /* a HELLO may have been faster */
        q.status = SX_Q_SECURED;
    bool added = sx_is_added(&q), rotation = q.replaces != 0 || added;
    if (added)
        rc = sx_add_secured(a, c, &q);
    else if (!rotation)
        rc = sx_store_rcvq_update(a->store, &q);
    else if (!q.deleted)
        rc = sx_switch_secured(a, c, &q);
    sx_wipe(&q, sizeof q);
    if (rc != SIMPLEX_OK || rotation)
        return rc;
    if (c->role == SX_JOINER)
        return sx_send_hello(a, c);
    /* The joiner may write now: it may be told so (its own queue waits for SKEY when it has one).
     */
    rc = sx_store_sndq_of(a->store, c->id, 0, &s);
    if (rc != SIMPLEX_OK)
        return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
    if (s.mode != SX_MODE_MESSAGING && s.status == SX_Q_NEW)
        rc = sx_snd_queue_open(a, &s);
    sx_wipe(&s, sizeof s);
    return rc;
}

static simplex_rc skey_answered(struct simplex_agent *a, struct sx_conn *c,
                                const struct sx_command *cmd)
{
    struct sx_snd_queue q;
    simplex_rc rc = sx_store_sndq_get(a->store, cmd->queue_id, &q);

    if (rc != SIMPLEX_OK)
        return rc;
    q.status = SX_Q_SECURED;
    rc = sx_store_sndq_update(a->store, &q);
    if (rc == SIMPLEX_OK)
        rc = sx_snd_secured(a, &q);
    sx_wake_delivery(a, q.id, c->id);
    sx_wipe(&q, sizeof q);
    return rc;
}

static simplex_rc del_answered(struct simplex_agent *a, const struct sx_command *cmd,
                               simplex_rc why, const char *detail)
{
    struct sx_rcv_queue q;
    simplex_rc rc = sx_store_rcvq_get(a->store, cmd->queue_id, &q);

    if (rc == SIMPLEX_OK)
        rc = sx_queue_deleted(a, &q, why, detail);
    sx_wipe(&q, sizeof q);
    return rc;
}

static simplex_rc succeeded(struct simplex_agent *a, struct sx_conn *c,
                            const struct sx_command *cmd, const struct sx_rsp *rsp)
{
    simplex_rc rc = SIMPLEX_OK;

    switch ((enum sx_command_tag)cmd->tag) {
    case SX_C_NEW:
        if (rsp->tag != SX_R_IDS)
            return sx_emit_err(a, c->id, SIMPLEX_E_RESPONSE, NULL);
        return sx_new_answered(a, c, cmd, rsp);
    case SX_C_KEY:
        rc = key_answered(a, c, cmd);
        break;
    case SX_C_SKEY:
        rc = skey_answered(a, c, cmd);
        break;
    case SX_C_DEL:
        return del_answered(a, cmd, SIMPLEX_OK, NULL);
    case SX_C_INVITATION:
        return sx_request_sent(a, c);
    case SX_C_DRAIN:
        return sx_drain_done(a, cmd->queue_id);
    case SX_C_LSET:
        return sx_link_set(a, c, cmd->queue_id);
    case SX_C_LDEL:
        return sx_link_deleted(a, c, cmd->queue_id);
    case SX_C_LOOK:
        return sx_look_answered(a, c, cmd, rsp);
    case SX_C_NKEY:
    case SX_C_NDEL:
        return sx_notifier_answered(a, cmd, rsp);
    case SX_C_MADE:
        return c->deleted ? SIMPLEX_OK : sx_queues_made(a, c, cmd->data);
    }
    return rc;
}

/* Of a rotation: the connection goes on with the queue it has. */
static simplex_rc rotation_failed(struct simplex_agent *a, const struct sx_command *cmd,
                                  simplex_rc why, const char *detail, bool *was_one)
{
    struct sx_rcv_queue q;
    simplex_rc rc;

    *was_one = false;
    if (cmd->tag != SX_C_NEW && cmd->tag != SX_C_KEY)
        return SIMPLEX_OK;
    rc = sx_store_rcvq_get(a->store, cmd->queue_id, &q);
    if (rc != SIMPLEX_OK)
        return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
    *was_one = q.replaces != 0;
    if (*was_one && !q.deleted)
        rc = sx_switch_failed(a, cmd->conn_id, why, detail);
    else if (*was_one && cmd->tag == SX_C_NEW)
        rc = sx_queue_never_made(a, cmd->conn_id, q.id);
    sx_wipe(&q, sizeof q);
    return rc;
}

/* What cannot be done will not become possible: the steps behind it are dropped as well. */
static simplex_rc drop_commands(struct simplex_agent *a, int64_t conn)
{
    struct sx_command cmd;
    simplex_rc rc;

    for (int64_t after = 0;; after = cmd.id) {
        rc = sx_store_command_next(a->store, conn, after, &cmd);
        if (rc != SIMPLEX_OK)
            return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
        if (ends_queue(&cmd) || is_notifier(&cmd))
            continue;
        rc = sx_store_command_delete(a->store, cmd.id);
        if (rc != SIMPLEX_OK)
            return rc;
    }
}

static simplex_rc failed(struct simplex_agent *a, struct sx_conn *c, const struct sx_command *cmd,
                         simplex_rc why, const struct sx_rsp *rsp)
{
    char *detail = sx_smp_err_text(rsp);
    bool rotation = false;
    simplex_rc rc = c->deleted ? SIMPLEX_OK : rotation_failed(a, cmd, why, detail, &rotation);

    if (rc == SIMPLEX_OK && !rotation && !c->deleted)
        rc = sx_several_failed(a, c, cmd, why, detail, &rotation);
    if (rc != SIMPLEX_OK || rotation) {
        sx_free(detail);
        return rc;
    }
    if (ends_queue(cmd)) {
        bool gone = rsp != NULL && rsp->err.err == SX_ERR_AUTH; /* a repeat: it was deleted */
        rc = gone ? del_answered(a, cmd, SIMPLEX_OK, NULL) : del_answered(a, cmd, why, detail);
    } else if (is_notifier(cmd)) {
        rc = sx_notifier_refused(a, cmd, why, detail);
    } else {
        bool link = cmd->tag == SX_C_LSET || cmd->tag == SX_C_LDEL; /* no step of a handshake */
        rc = link ? sx_link_refused(a, cmd) : drop_commands(a, c->id);
        if (rc == SIMPLEX_OK && !c->deleted)
            rc = sx_emit_err(a, c->id, why, detail);
    }
    sx_free(detail);
    return rc;
}

/* Rows that the servers of a choice stand in. */
struct used {
    struct sx_rcv_queue old;
    struct sx_snd_queue to;
};

/* What the new queue should be apart from: the peer's, and the one that it replaces. */
static simplex_rc used_servers(struct simplex_agent *a, const struct sx_rcv_queue *q,
                               struct used *u, struct sx_choice *c)
{
    simplex_rc rc = sx_store_sndq_of(a->store, q->conn_id, 0, &u->to);

    if (rc == SIMPLEX_OK)
        c->used[c->n_used++] = &u->to.server;
    else if (rc == SIMPLEX_E_NOT_FOUND)
        rc = SIMPLEX_OK;
    if (rc != SIMPLEX_OK || q->replaces == 0)
        return rc;
    rc = sx_store_rcvq_get(a->store, q->replaces, &u->old);
    if (rc == SIMPLEX_OK)
        c->not_there = c->used[c->n_used++] = &u->old.server;
    return rc;
}

static simplex_rc choose_other(struct simplex_agent *a, struct sx_rt_conn *w,
                               const struct sx_conn *conn, const struct sx_rcv_queue *q,
                               struct sx_server *other)
{
    struct sx_choice c = {
        .user = conn->user, .role = SX_SRV_STORAGE, .failed = &q->server, .tried = &w->tried
    };
    const struct sx_user_server *chosen;
    struct used u;
    simplex_rc rc;

    if (conn->rcv_queues > 1) {
        rc = sx_choose_server_apart(a, conn, NULL, &q->server, other);
        if (rc != SIMPLEX_E_NO_SERVERS)
            return rc;
    }
    memset(&u, 0, sizeof u);
    rc = used_servers(a, q, &u, &c);
    if (rc == SIMPLEX_OK) {
        sx_tried_add(a, &c, &q->server);
        rc = sx_choose(a, &c, &chosen);
    }
    if (rc == SIMPLEX_OK)
        *other = chosen->server;
    sx_wipe(&u, sizeof u);
    return rc == SIMPLEX_E_NO_SERVERS ? SIMPLEX_E_NOT_FOUND : rc;
}

/* A queue that no server has yet may as well be made on another one. */
static simplex_rc move_new(struct simplex_agent *a, struct sx_rt_conn *w,
                           const struct sx_conn *c, const struct sx_command *cmd)
{
    struct sx_rcv_queue q;
    struct sx_server other;
    simplex_rc rc;

    if (cmd->tag != SX_C_NEW || sx_link_told(a, cmd->queue_id))
        return SIMPLEX_OK;
    rc = sx_store_rcvq_get(a->store, cmd->queue_id, &q);
    if (rc != SIMPLEX_OK)
        return rc;
    if (sx_new_may_move(&q, cmd->data)) {
        rc = choose_other(a, w, c, &q, &other);
        if (rc == SIMPLEX_OK && !sx_server_eq(&other, &q.server)) {
            q.server = other;
            rc = sx_rcv_queue_keys(&q);
            if (rc == SIMPLEX_OK)
                rc = sx_notifier_renew(a, q.id);
            if (rc == SIMPLEX_OK)
                rc = sx_store_rcvq_update(a->store, &q);
        }
    }
    sx_wipe(&q, sizeof q);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc; /* no servers: the same one again */
}

/* A repeated NEW must not leave a second queue behind (agent.md section 6.4: the orphan queue). */
static void remember_lost(struct simplex_agent *a, const struct sx_rt_conn *w,
                          const struct sx_command *cmd)
{
    struct sx_rcv_queue q;
    struct sx_lost_new *l;

    if (cmd->tag != SX_C_NEW || w->server == NULL || a->n_lost >= SX_LOST_MAX ||
        sx_store_rcvq_get(a->store, cmd->queue_id, &q) != SIMPLEX_OK)
        return;
    l = sx_calloc(1, sizeof *l);
    if (l != NULL) {
        memcpy(l->corr_id, w->corr_id, sizeof l->corr_id);
        l->auth = q.auth;
        l->client = w->server->client;
        l->next = a->lost;
        a->lost = l;
        a->n_lost++;
    }
    sx_wipe(&q, sizeof q);
}

void sx_late_ids(struct simplex_agent *a, struct sx_client *c, const struct sx_transmission *t,
                 const struct sx_rsp *rsp)
{
    struct sx_lost_new **p = &a->lost, *l;
    struct sx_cmd cmd = { .tag = SX_DEL };

    while (*p != NULL &&
           !((*p)->client == c && sx_bytes_eq(sx_bytes((*p)->corr_id, SX_ID_LEN), t->corr_id)))
        p = &(*p)->next;
    l = *p;
    if (l == NULL)
        return;
    struct sx_request req = { .cmd = &cmd, .key = &l->auth, .entity = rsp->ids.rcv_id };
    if (sx_client_send(c, &req) != SIMPLEX_OK)
        sx_log(SX_LOG_WARN, "agent: a surplus queue could not be deleted");
    *p = l->next;
    a->n_lost--;
    sx_free_secret(l, sizeof *l);
}

void sx_lost_drop(struct simplex_agent *a, const struct sx_client *c)
{
    struct sx_lost_new **p = &a->lost, *l;

    while ((l = *p) != NULL) {
        if (c != NULL && l->client != c) {
            p = &l->next;
            continue;
        }
        *p = l->next;
        a->n_lost--;
        sx_free_secret(l, sizeof *l);
    }
}

/* A server that stays away must not keep a deleted connection for ever. Retries are quick, so the
 * time decides as well as their number: a queue left behind would never be noticed. */
static simplex_rc count_delete_error(struct simplex_agent *a, struct sx_conn *c,
                                     const struct sx_command *cmd, simplex_rc why,
                                     const struct sx_rsp *rsp)
{
    struct sx_rcv_queue q;
    simplex_rc rc = sx_store_rcvq_get(a->store, cmd->queue_id, &q);

    if (rc == SIMPLEX_OK) {
        q.delete_errors++;
        rc = sx_store_rcvq_update(a->store, &q);
    }
    if (rc == SIMPLEX_OK && q.delete_errors >= SX_DELETE_ERRORS &&
        sx_now_ms() - cmd->created_at >= a->cfg.message_timeout) {
        rc = sx_store_command_delete(a->store, cmd->id);
        if (rc == SIMPLEX_OK)
            rc = failed(a, c, cmd, why, rsp);
    }
    sx_wipe(&q, sizeof q);
    return rc;
}

/* A NEW of a connection deleted meanwhile is not repeated: there is nothing to delete. */
static simplex_rc abandon_new(struct simplex_agent *a, const struct sx_command *cmd)
{
    simplex_rc rc = sx_store_command_delete(a->store, cmd->id);

    return rc == SIMPLEX_OK ? sx_queue_never_made(a, cmd->conn_id, cmd->queue_id) : rc;
}

/* Of several queues one may be done without; *done: nothing else is to be tried now. */
static simplex_rc not_needed(struct simplex_agent *a, struct sx_conn *c,
                             const struct sx_command *cmd, simplex_rc why,
                             const struct sx_rsp *rsp, bool *done)
{
    struct sx_rcv_queue q;
    bool late = sx_now_ms() - cmd->created_at >= a->cfg.message_timeout, mine = false;
    char *detail;
    simplex_rc rc = SIMPLEX_OK;

    *done = false;
    if (c->deleted || !stands_alone(c, cmd))
        return SIMPLEX_OK;
    if (late) {
        detail = sx_smp_err_text(rsp);
        rc = sx_several_failed(a, c, cmd, why, detail, done);
        sx_free(detail);
        return rc == SIMPLEX_OK && *done ? sx_store_command_delete(a->store, cmd->id) : rc;
    }
    if (cmd->tag == SX_C_NEW && sx_store_rcvq_get(a->store, cmd->queue_id, &q) == SIMPLEX_OK) {
        mine = q.replaces == 0 && !sx_has_link(a, q.id);
        sx_wipe(&q, sizeof q);
    }
    if (mine) {
        rc = sx_queue_away(a, c, cmd, &mine);
        *done = true;
    }
    return rc;
}

static simplex_rc not_now(struct simplex_agent *a, struct sx_rt_conn *w, struct sx_conn *c,
                          const struct sx_command *cmd, simplex_rc why, const struct sx_rsp *rsp)
{
    bool done = false;
    simplex_rc rc;

    if (why == SIMPLEX_E_TIMEOUT)
        remember_lost(a, w, cmd);
    rc = step_over(a, w, cmd);
    if (rc != SIMPLEX_OK)
        return rc;
    if (ends_queue(cmd))
        return count_delete_error(a, c, cmd, why, rsp);
    rc = not_needed(a, c, cmd, why, rsp, &done);
    if (rc != SIMPLEX_OK || done)
        return rc;
    rc = move_new(a, w, c, cmd);
    return rc == SIMPLEX_OK && cmd->tag == SX_C_NEW ? sx_link_renew(a, cmd->queue_id) : rc;
}

/* Whether an earlier run sent a NEW is not known: with a link it may have taken its ids already. */
simplex_rc sx_commands_again(struct simplex_agent *a, int64_t conn)
{
    struct sx_command cmd;

    for (int64_t after = 0;; after = cmd.id) {
        simplex_rc rc = sx_store_command_next(a->store, conn, after, &cmd);
        if (rc == SIMPLEX_OK && cmd.tag == SX_C_NEW)
            rc = sx_link_renew(a, cmd.queue_id);
        if (rc != SIMPLEX_OK)
            return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
    }
}

/* A NEW whose queue nobody wants any more. */
static simplex_rc is_unwanted(struct simplex_agent *a, const struct sx_conn *c,
                              const struct sx_command *cmd, bool *yes)
{
    struct sx_rcv_queue q;
    simplex_rc rc;

    *yes = c->deleted && cmd->tag == SX_C_NEW;
    if (*yes || cmd->tag != SX_C_NEW)
        return SIMPLEX_OK;
    rc = sx_store_rcvq_get(a->store, cmd->queue_id, &q);
    *yes = rc == SIMPLEX_OK && q.deleted;
    sx_wipe(&q, sizeof q);
    return rc;
}

/* A request that the address has no room for yet. */
static bool waits_for_room(const struct simplex_agent *a, const struct sx_command *cmd,
                           simplex_rc why, const struct sx_rsp *rsp)
{
    return cmd->tag == SX_C_INVITATION && why == SIMPLEX_E_SERVER && rsp != NULL &&
           rsp->err.err == SX_ERR_QUOTA && sx_now_ms() - cmd->created_at < a->cfg.quota_timeout;
}

static simplex_rc handle_answer(struct simplex_agent *a, struct sx_rt_conn *w, simplex_rc why,
                                const struct sx_rsp *rsp)
{
    struct sx_command cmd;
    struct sx_conn c;
    struct sx_wr data;
    bool unwanted = false;
    simplex_rc rc = sx_store_command_next(a->store, w->id, w->command - 1, &cmd);

    if (rc == SIMPLEX_E_NOT_FOUND || (rc == SIMPLEX_OK && cmd.id != w->command))
        return SIMPLEX_OK; /* dropped meanwhile */
    if (rc != SIMPLEX_OK)
        return rc;
    sx_wr_init(&data, 70000); /* cmd.data lives until the next call on the store */
    sx_wr_raw(&data, cmd.data);
    cmd.data = sx_wr_bytes(&data);
    rc = data.bad ? SIMPLEX_E_NOMEM : sx_store_conn_get(a->store, w->id, &c);
    if (rc == SIMPLEX_OK && why != SIMPLEX_OK)
        rc = is_unwanted(a, &c, &cmd, &unwanted);
    if (rc == SIMPLEX_OK && why == SIMPLEX_OK && cmd.tag == SX_C_DRAIN &&
        !sx_drained(a, cmd.queue_id)) {
        w->delay = w->elapsed = 0; /* asks once more */
    } else if (rc == SIMPLEX_OK && unwanted) {
        if (why == SIMPLEX_E_TIMEOUT)
            remember_lost(a, w, &cmd);
        rc = abandon_new(a, &cmd);
    } else if (rc == SIMPLEX_OK && waits_for_room(a, &cmd, why, rsp)) {
        retry_when_read(a, w);
    } else if (rc == SIMPLEX_OK && why != SIMPLEX_OK && sx_is_temporary(why, rsp)) {
        rc = not_now(a, w, &c, &cmd, why, rsp);
    } else if (rc == SIMPLEX_OK) {
        w->delay = w->elapsed = 0;
        rc = sx_store_command_delete(a->store, cmd.id);
        if (rc == SIMPLEX_OK)
            rc = why == SIMPLEX_OK ? succeeded(a, &c, &cmd, rsp) : failed(a, &c, &cmd, why, rsp);
    }
    sx_wr_free(&data);
    return rc;
}

static simplex_rc try_answer(struct simplex_agent *a, struct sx_rt_conn *w, simplex_rc why,
                             const struct sx_rsp *rsp)
{
    simplex_rc rc = sx_handler_begin(a);

    if (rc != SIMPLEX_OK)
        return SIMPLEX_OK; /* the store failed: all is loaded anew */
    rc = handle_answer(a, w, why, rsp);
    sx_handler_end(a, rc);
    sx_agent_lazy(a);
    return sx_rc_is_store(rc) ? SIMPLEX_OK : rc;
}

static void on_answer(void *user, void *ctx, simplex_rc why, const struct sx_rsp *rsp)
{
    struct simplex_agent *a = user;
    struct sx_rt_conn *w = sx_rt_conn_get(a, (int64_t)(intptr_t)ctx, false);
    simplex_rc rc;

    if (w == NULL || !w->in_flight)
        return;
    w->in_flight = false;
    w->dirty = true;
    a->work = true;
    if (w->drain != 0 && why == SIMPLEX_OK && rsp->tag == SX_R_MSG) {
        sx_receive(a, w->drain, rsp); /* servers before release 6.4 */
        return;
    }
    rc = try_answer(a, w, why, rsp);
    /* An answer that makes no sense counts as a refusal: asking again would not mend it. */
    if (rc != SIMPLEX_OK && try_answer(a, w, rc, NULL) != SIMPLEX_OK)
        retry_later(a, w);
}
