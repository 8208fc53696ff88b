/* SPDX-License-Identifier: Apache-2.0 */
/* One server: its requests, its connection, when to reconnect and when to give up. */
#include "client/smp_client.h"

#include "client/cmd_copy.h"
#include "client/net_internal.h"

#define PINGS_LOST_MAX 3
/* A session on which so many commands in a row got no answer, nor anything else came, is dead: a
 * sender without subscriptions sends no PING, and TCP alone would take a quarter of an hour. */
#define UNANSWERED_MAX 3

static void arm(struct sx_client *c);

/* ---- requests ---- */

static struct sx_req_list *list_of(struct sx_client *c, const struct sx_req *r)
{
    switch (r->state) {
    case SX_REQ_WAITING:
        return &c->waiting;
    case SX_REQ_QUEUED:
        return &c->queued;
    case SX_REQ_SENT:
        return &c->sent;
    default:
        return &c->finished;
    }
}

static size_t kept_by(const struct sx_req *r)
{
    if (r->state == SX_REQ_WAITING)
        return sizeof(*r) + sx_cmd_copy_size(r->copy);
    return r->state == SX_REQ_QUEUED ? sizeof(*r) + r->out_len : 0;
}

static void set_state(struct sx_client *c, struct sx_req *r, enum sx_req_state state)
{
    sx_req_unlink(list_of(c, r), r);
    c->bytes_kept -= kept_by(r);
    r->state = (uint8_t)state;
    c->bytes_kept += kept_by(r);
    sx_req_append(list_of(c, r), r);
}

/* Takes r out of table and lists. */
static void take(struct sx_client *c, struct sx_req *r)
{
    if (r->state != SX_REQ_FINISHED)
        sx_requests_remove(&c->requests, r);
    c->bytes_kept -= kept_by(r);
    sx_req_unlink(list_of(c, r), r);
}

/* From the loop: reports and frees r, which was taken before. */
static void answer(struct sx_client *c, struct sx_req *r, simplex_rc rc, const struct sx_rsp *rsp)
{
    if (r->done != NULL && !c->net->closing)
        r->done(c->net->user, r->ctx, rc, rsp);
    sx_req_free(r);
}

/* From anywhere: r is reported with rc in the next turn of work. */
static void finish(struct sx_client *c, struct sx_req *r, simplex_rc rc)
{
    sx_requests_remove(&c->requests, r);
    r->rc = rc;
    set_state(c, r, SX_REQ_FINISHED);
}

static void finish_list(struct sx_client *c, struct sx_req_list *l, simplex_rc rc)
{
    while (l->first != NULL)
        finish(c, l->first, rc);
}

static void report_finished(struct sx_client *c)
{
    struct sx_req_list l = c->finished;
    struct sx_req *r;

    c->finished = (struct sx_req_list){ 0 };
    while ((r = l.first) != NULL) {
        sx_req_unlink(&l, r);
        answer(c, r, r->rc, NULL);
    }
}

/* Authorises and encodes for the session; the time limit starts. */
static simplex_rc encode(struct sx_client *c, struct sx_req *r, const struct sx_cmd *cmd,
                         const struct sx_keypair *key)
{
    const struct sx_session *s = sx_conn_session(c->conn);
    struct sx_wr w;

    sx_wr_fixed(&w, c->net->content, sizeof(c->net->content));
    simplex_rc rc = sx_session_encode(s, key, r->corr_id, sx_req_entity(r), cmd, &w);
    if (rc != SIMPLEX_OK)
        return rc;
    r->out = sx_memdup(sx_wr_bytes(&w));
    if (r->out == NULL)
        return SIMPLEX_E_NOMEM;
    r->out_len = w.len;
    sx_requests_set_deadline(&c->requests, r, sx_net_now() + r->timeout);
    return SIMPLEX_OK;
}

/* The session is there: what waited for it is encoded, in order. */
static void encode_waiting(struct sx_client *c)
{
    struct sx_req *r;

    while ((r = c->waiting.first) != NULL) {
        const struct sx_keypair *key;
        struct sx_cmd cmd;
        sx_cmd_copy_get(r->copy, &cmd, &key);
        simplex_rc rc = encode(c, r, &cmd, key);
        if (rc != SIMPLEX_OK) {
            finish(c, r, rc);
            continue;
        }
        set_state(c, r, SX_REQ_QUEUED);
        sx_cmd_copy_free(r->copy);
        r->copy = NULL;
    }
}

static simplex_rc new_request(struct sx_client *c, const struct sx_request *req,
                              struct sx_req **out)
{
    uint8_t random[SX_ID_LEN];
    const uint8_t *corr_id = req->corr_id;

    *out = NULL;
    if (req->cmd == NULL || (unsigned)req->cmd->tag >= SX_CMD_TAGS)
        return SIMPLEX_E_ARG;
    if (!sx_cmd_fits(req->cmd))
        return SIMPLEX_E_TOO_LARGE;
    if (c->bytes_kept > SX_CLIENT_QUEUE_MAX)
        return SIMPLEX_E_NOMEM;
    if (corr_id == NULL) {
        sx_random(random, sizeof(random));
        corr_id = random;
    }
    simplex_rc rc = sx_req_new(corr_id, req->entity, req->cmd->tag, out);
    if (rc != SIMPLEX_OK)
        return rc;
    (*out)->done = req->done;
    (*out)->ctx = req->ctx;
    (*out)->timeout = req->timeout > 0 ? req->timeout : c->net->cfg.command_timeout;
    return SIMPLEX_OK;
}

simplex_rc sx_client_send(struct sx_client *c, const struct sx_request *req)
{
    struct sx_req *r;

    if (c->net->closing)
        return SIMPLEX_E_CLOSED;
    simplex_rc rc = new_request(c, req, &r);
    if (rc != SIMPLEX_OK)
        return rc;
    if ((rc = sx_requests_add(&c->requests, r)) != SIMPLEX_OK) {
        sx_req_free(r);
        return rc;
    }
    if (c->up)
        rc = encode(c, r, req->cmd, req->key);
    else
        rc = sx_cmd_copy_new(req->cmd, req->key, &r->copy);
    if (rc != SIMPLEX_OK) {
        sx_requests_remove(&c->requests, r);
        sx_req_free(r);
        return rc;
    }
    r->state = c->up ? SX_REQ_QUEUED : SX_REQ_WAITING;
    c->bytes_kept += kept_by(r);
    sx_req_append(list_of(c, r), r);
    if (c->conn == NULL && sx_net_now() < c->failed_until)
        finish(c, r, c->failed_rc);
    sx_net_add_work(c->net, c);
    return SIMPLEX_OK;
}

/* ---- going down ---- */

/* From anywhere. c->conn is gone or closing; the callbacks follow in the next turn of work. */
static void go_down(struct sx_client *c, simplex_rc rc, bool failed)
{
    int64_t now = sx_net_now();
    bool lasted = c->up && now - c->up_since >= c->net->cfg.reconnect_grow;

    c->conn = NULL;
    c->up = false;
    c->ping = NULL;
    finish_list(c, &c->sent, rc);
    finish_list(c, &c->queued, rc);
    finish_list(c, &c->waiting, rc);
    c->down_pending = true;
    c->down_rc = rc;
    if (lasted) /* a server that drops everybody at once is no reason to hurry */
        sx_backoff_reset(&c->backoff);
    if (failed) {
        c->failed_until = now + c->net->cfg.failed_cache;
        c->failed_rc = rc;
    }
    if (c->wanted)
        c->reconnect_at = now + sx_backoff_next(&c->backoff, sx_random_below(SX_BACKOFF_JITTER));
    sx_net_add_work(c->net, c);
}

void sx_client_disconnect(struct sx_client *c, simplex_rc why)
{
    if (c->net->closing)
        return;
    if (c->conn == NULL) { /* between two attempts */
        finish_list(c, &c->waiting, why);
        sx_net_add_work(c->net, c);
        return;
    }
    sx_conn_close(c->conn);
    go_down(c, why, false);
}

/* ---- events of the connection ---- */

static void on_ready(void *owner)
{
    struct sx_client *c = owner;

    c->up = true;
    c->up_since = c->last_received = c->last_ping = sx_net_now();
    c->pings_lost = 0;
    c->unanswered = 0;
    c->probing = false;
    c->failed_until = 0;
    c->traffic.sessions++;
    encode_waiting(c);
    sx_net_add_work(c->net, c);
    if (c->net->cb.up != NULL)
        c->net->cb.up(c->net->user, c);
}

static void on_lost(void *owner, simplex_rc rc)
{
    struct sx_client *c = owner;

    go_down(c, rc, !c->up);
}

static void on_drained(void *owner)
{
    struct sx_client *c = owner;

    sx_net_add_work(c->net, c);
}

static void on_response(struct sx_client *c, struct sx_req *r, const struct sx_transmission *t,
                        simplex_rc rc, const struct sx_rsp *rsp)
{
    if (rc == SIMPLEX_OK)
        rc = sx_req_check(r, t, rsp);
    take(c, r);
    answer(c, r, rc, rc == SIMPLEX_OK || rc == SIMPLEX_E_SERVER ? rsp : NULL);
}

/* E_BLOCK: the connection cannot go on. */
static simplex_rc on_transmission(struct sx_client *c, simplex_bytes in)
{
    uint16_t version = sx_conn_session(c->conn)->version;
    struct sx_transmission t;
    struct sx_rsp rsp;

    if (sx_transmission_decode(in, version, &t) != SIMPLEX_OK)
        return SIMPLEX_E_BLOCK;
    simplex_rc rc = sx_rsp_decode(t.command, version, &rsp);
    struct sx_req *r = sx_requests_find(&c->requests, t.corr_id);
    if (r != NULL && r->state == SX_REQ_SENT) {
        on_response(c, r, &t, rc, &rsp);
        return SIMPLEX_OK;
    }
    if (rc != SIMPLEX_OK) {
        if (!c->odd) /* once: a server is not to fill our log */
            sx_log(SX_LOG_WARN, "a server sent something unknown");
        c->odd = true;
        return SIMPLEX_OK;
    }
    /* The server could not read a block of ours; which requests it lost nobody knows. */
    if (rsp.tag == SX_R_ERR && t.corr_id.len == 0 && t.entity_id.len == 0)
        return SIMPLEX_E_BLOCK;
    if (c->net->cb.event != NULL)
        c->net->cb.event(c->net->user, c, &t, &rsp);
    return SIMPLEX_OK;
}

static void on_content(void *owner, simplex_bytes content)
{
    struct sx_client *c = owner;
    const struct sx_conn *conn = c->conn;
    struct sx_batch_rd batch;
    simplex_bytes t;

    c->traffic.blocks_in++;
    c->last_received = sx_net_now();
    c->pings_lost = 0;
    c->unanswered = 0;
    simplex_rc rc = sx_batch_open(content, &batch);
    while (rc == SIMPLEX_OK && sx_batch_next(&batch, &t)) {
        rc = on_transmission(c, t);
        if (c->net->closing || c->conn != conn) /* a callback closed it */
            return;
    }
    if (rc != SIMPLEX_OK)
        sx_client_disconnect(c, SIMPLEX_E_BLOCK);
}

static struct sx_identity *identity_of(void *owner)
{
    const struct sx_client *c = owner;

    return c->identity != NULL ? c->identity : c->net->identity;
}

static const struct sx_conn_ops conn_ops = {
    .ready = on_ready,
    .content = on_content,
    .drained = on_drained,
    .lost = on_lost,
    .identity = identity_of,
};

/* ---- keep-alive ---- */

static void on_pong(void *user, void *ctx, simplex_rc rc, const struct sx_rsp *rsp)
{
    struct sx_client *c = ctx;

    (void)user;
    (void)rsp;
    if (!c->up || c->ping == NULL) /* answered because the connection went down */
        return;
    c->ping = NULL;
    if (rc != SIMPLEX_E_TIMEOUT) {
        c->probing = false;
        return;
    }
    c->pings_lost++;
    bool silent = c->last_received < c->last_ping;
    if ((c->probing && silent) || (c->pings_lost >= PINGS_LOST_MAX &&
                                   sx_net_now() - c->last_received >= c->net->cfg.ping_give_up))
        sx_client_disconnect(c, SIMPLEX_E_TIMEOUT);
    c->probing = false;
}

static int64_t ping_at(const struct sx_client *c)
{
    if (!c->wanted || !c->up || c->ping != NULL)
        return SX_NO_DEADLINE;
    int64_t last = c->last_received > c->last_ping ? c->last_received : c->last_ping;
    return last + c->net->cfg.ping_interval;
}

static void send_ping(struct sx_client *c, int64_t now)
{
    static const struct sx_cmd ping = { .tag = SX_PING };
    struct sx_request req = { .cmd = &ping, .done = on_pong, .ctx = c };

    c->last_ping = now; /* also when there is no memory for it now */
    if (sx_client_send(c, &req) == SIMPLEX_OK)
        c->ping = c->queued.last;
}

/* ---- the turn ---- */

static void connect_now(struct sx_client *c)
{
    c->connect_now = false;
    c->reconnect_at = SX_NO_DEADLINE;
    c->connecting_since = sx_net_now();
    c->traffic.attempts++;
    simplex_rc rc = sx_conn_open(c->net, &c->server, c->user, c->entity, &conn_ops, c, &c->conn);
    if (rc != SIMPLEX_OK)
        go_down(c, rc, true);
}

static simplex_rc flush_group(struct sx_client *c)
{
    struct sx_outbox *o = &c->net->outbox;
    simplex_rc rc = sx_outbox_plan(o, &c->queued);

    for (size_t i = 0; rc == SIMPLEX_OK && i < o->blocks; i++) {
        struct sx_wr content;
        size_t from, to;
        sx_wr_fixed(&content, c->net->content, sizeof(c->net->content));
        sx_outbox_content(o, i, &content);
        if (content.bad)
            return SIMPLEX_E_INTERNAL;
        rc = sx_conn_write(c->conn, sx_wr_bytes(&content));
        c->traffic.blocks_out++;
        sx_outbox_range(o, i, &from, &to);
        for (; rc == SIMPLEX_OK && from < to; from++) {
            struct sx_req *r = o->req[from];
            set_state(c, r, SX_REQ_SENT);
            sx_free(r->out);
            r->out = NULL;
            r->out_len = 0;
        }
    }
    return rc == SIMPLEX_OK ? sx_conn_push(c->conn) : rc;
}

static void flush(struct sx_client *c)
{
    simplex_rc rc = SIMPLEX_OK;

    while (rc == SIMPLEX_OK && c->queued.first != NULL && !sx_conn_congested(c->conn))
        rc = flush_group(c);
    if (rc != SIMPLEX_OK)
        sx_client_disconnect(c, rc);
}

void sx_client_work(struct sx_client *c)
{
    struct sx_net *n = c->net;

    if (c->dropped) {
        sx_net_forget(n, c);
        sx_client_close(c);
        return;
    }
    report_finished(c);
    if (c->down_pending && !n->closing) {
        c->down_pending = false;
        if (n->cb.down != NULL)
            n->cb.down(n->user, c, c->down_rc);
    }
    if (n->closing)
        return;
    if (c->conn == NULL && !n->offline && (c->connect_now || c->waiting.first != NULL))
        connect_now(c);
    if (c->up)
        flush(c);
    arm(c);
}

/* ---- time ---- */

static void on_time(uv_timer_t *timer)
{
    struct sx_client *c = timer->data;
    int64_t now = sx_net_now();
    struct sx_req *r;

    while (!c->net->closing && (r = sx_requests_expired(&c->requests, now)) != NULL) {
        take(c, r);
        c->unanswered += r != c->ping;
        answer(c, r, SIMPLEX_E_TIMEOUT, NULL);
    }
    if (c->net->closing)
        return;
    if (c->up && c->unanswered >= UNANSWERED_MAX)
        sx_client_disconnect(c, SIMPLEX_E_TIMEOUT);
    if (c->conn == NULL && c->reconnect_at <= now) {
        c->connect_now = true;
        c->reconnect_at = SX_NO_DEADLINE;
        sx_net_add_work(c->net, c);
    }
    if (ping_at(c) <= now)
        send_ping(c, now);
    arm(c);
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void arm(struct sx_client *c)
{
    int64_t next = earlier(sx_requests_next(&c->requests), ping_at(c));

    if (c->net->closing)
        return;
    if (c->conn == NULL)
        next = earlier(next, c->reconnect_at);
    if (next == SX_NO_DEADLINE) {
        uv_timer_stop(&c->timer);
        return;
    }
    int64_t wait = next - sx_net_now();
    /* The clock of the loop stands still during a turn; firing early only arms again. */
    uv_timer_start(&c->timer, on_time, wait > 0 ? (uint64_t)wait : 1, 0);
}

/* ---- life ---- */

simplex_rc sx_client_new(struct sx_net *n, const struct sx_server *server, struct sx_client **out)
{
    struct sx_client *c = sx_calloc(1, sizeof(*c));

    *out = NULL;
    if (c == NULL)
        return SIMPLEX_E_NOMEM;
    c->net = n;
    c->server = *server;
    c->reconnect_at = SX_NO_DEADLINE;
    sx_backoff_init(&c->backoff, n->cfg.reconnect_first, n->cfg.reconnect_grow,
                    n->cfg.reconnect_max);
    uv_timer_init(n->loop, &c->timer);
    c->timer.data = c;
    n->open++;
    *out = c;
    return SIMPLEX_OK;
}

static void drop_list(struct sx_client *c, struct sx_req_list *l)
{
    while (l->first != NULL) {
        struct sx_req *r = l->first;
        take(c, r);
        sx_req_free(r);
    }
}

static void on_timer_closed(uv_handle_t *h)
{
    struct sx_client *c = h->data;
    struct sx_net *n = c->net;

    if (c->gone)
        sx_client_free(c);
    sx_net_released(n);
}

void sx_client_close(struct sx_client *c)
{
    if (c->conn != NULL)
        sx_conn_close(c->conn);
    c->conn = NULL;
    c->up = false;
    drop_list(c, &c->waiting);
    drop_list(c, &c->queued);
    drop_list(c, &c->sent);
    drop_list(c, &c->finished);
    uv_close((uv_handle_t *)&c->timer, on_timer_closed);
}

void sx_client_free(struct sx_client *c)
{
    sx_identity_unref(c->identity);
    sx_requests_free(&c->requests);
    sx_free(c);
}

/* ---- what the owner asks and wants ---- */

const struct sx_server *sx_client_server(const struct sx_client *c)
{
    return &c->server;
}

bool sx_client_is_up(const struct sx_client *c)
{
    return c->up;
}

bool sx_client_is_busy(const struct sx_client *c)
{
    return c->waiting.first != NULL || c->queued.first != NULL || c->sent.first != NULL ||
           c->finished.first != NULL;
}

uint16_t sx_client_version(const struct sx_client *c)
{
    return c->up ? sx_conn_session(c->conn)->version : 0;
}

const struct sx_session *sx_client_session(const struct sx_client *c)
{
    return c->up ? sx_conn_session(c->conn) : NULL;
}

const struct sx_traffic *sx_client_traffic(const struct sx_client *c)
{
    return &c->traffic;
}

void *sx_client_data(const struct sx_client *c)
{
    return c->data;
}

void sx_client_set_data(struct sx_client *c, void *data)
{
    c->data = data;
}

simplex_bytes sx_client_hello(const struct sx_client *c)
{
    return c->up ? sx_conn_hello(c->conn) : sx_bytes(NULL, 0);
}

void sx_client_drop(struct sx_client *c)
{
    if (c->net->closing || c->dropped)
        return;
    if (c->conn != NULL)
        sx_conn_close(c->conn);
    c->conn = NULL;
    c->up = c->wanted = false;
    c->down_pending = false;
    drop_list(c, &c->waiting);
    drop_list(c, &c->queued);
    drop_list(c, &c->sent);
    drop_list(c, &c->finished);
    c->ping = NULL;
    c->dropped = true;
    sx_net_add_work(c->net, c); /* it may be at work just now */
}

void sx_client_want(struct sx_client *c, bool wanted)
{
    if (c->wanted == wanted || c->net->closing)
        return;
    c->wanted = wanted;
    c->reconnect_at = SX_NO_DEADLINE;
    c->connect_now = wanted && c->conn == NULL && sx_net_now() >= c->failed_until;
    if (wanted && c->conn == NULL && !c->connect_now)
        c->reconnect_at = c->failed_until;
    sx_net_add_work(c->net, c); /* the timer follows */
}

void sx_client_restart(struct sx_client *c)
{
    sx_client_disconnect(c, SIMPLEX_E_DISCONNECTED);
    if (!c->net->closing)
        sx_client_reconnect(c);
}

void sx_client_reconnect(struct sx_client *c)
{
    int64_t now = sx_net_now();

    sx_backoff_reset(&c->backoff);
    c->failed_until = 0;
    /* An attempt of before may be waiting for a network that is gone. */
    if (c->conn != NULL && !c->up && now - c->connecting_since >= c->net->cfg.reconnect_first) {
        sx_conn_close(c->conn);
        c->conn = NULL;
        c->connect_now = true;
    }
    if (c->wanted && c->conn == NULL)
        c->connect_now = true;
    /* A connection over the network of before looks alive until something is sent. */
    if (c->wanted && c->up && c->ping == NULL)
        send_ping(c, now);
    c->probing = c->ping != NULL;
    sx_net_add_work(c->net, c);
}

simplex_rc sx_client_service(struct sx_client *c, uint8_t role, simplex_bytes chain_pem,
                             simplex_bytes key_pem)
{
    struct sx_identity *i = NULL;
    simplex_rc rc = SIMPLEX_OK;

    if (c->net->closing)
        return SIMPLEX_E_CLOSED;
    if (role != 0)
        rc = sx_identity_open(role, chain_pem, key_pem, &i);
    if (rc != SIMPLEX_OK)
        return rc;
    if (c->conn != NULL) { /* it is one of who we were before */
        sx_client_disconnect(c, SIMPLEX_E_DISCONNECTED);
        c->connect_now = c->wanted;
    }
    sx_identity_unref(c->identity);
    c->identity = i;
    return SIMPLEX_OK;
}
