/* SPDX-License-Identifier: Apache-2.0 */
#include "client/via.h"

#include "client/cmd_copy.h"
#include "client/net_internal.h"
#include "client/proxied.h"

struct via_req { /* a command for the relay */
    struct via_req *prev, *next;
    struct sx_via *via;
    struct sx_req *req; /* its copy, entity and owner */
    bool out;           /* a PFWD is out; else it waits for the session */
    bool repeated;      /* the proxy had no session for it once */
    unsigned session;   /* that the PFWD was made for */
    struct sx_proxied_cmd sealed;
};

struct sx_via {
    struct sx_via *prev, *next; /* in the net */
    struct sx_client *proxy;
    struct sx_server relay;
    uint8_t *password;
    size_t password_len;
    sx_via_answered *answered;
    void *owner;
    unsigned refs; /* of the owner, of requests to the proxy, of calls that go on */
    bool closed;
    bool asking, ready;
    unsigned session;          /* counts those that PKEY told */
    uint8_t proxy_session[64]; /* with the proxy, in which PKEY came */
    uint8_t proxy_session_len;
    struct sx_proxied relay_session;
    struct via_req *first, *last;
};

/* ---- life ---- */

static void free_req(struct via_req *q)
{
    sx_req_free(q->req);
    sx_free_secret(q, sizeof *q);
}

static void unlink_req(struct sx_via *v, struct via_req *q)
{
    if (q->prev != NULL)
        q->prev->next = q->next;
    else
        v->first = q->next;
    if (q->next != NULL)
        q->next->prev = q->prev;
    else
        v->last = q->prev;
    q->prev = q->next = NULL;
}

static void append_req(struct sx_via *v, struct via_req *q)
{
    q->prev = v->last;
    q->next = NULL;
    if (v->last != NULL)
        v->last->next = q;
    else
        v->first = q;
    v->last = q;
}

static void free_via(struct sx_via *v)
{
    struct via_req *q;

    while ((q = v->first) != NULL) {
        unlink_req(v, q);
        free_req(q);
    }
    if (v->password != NULL)
        sx_free_secret(v->password, v->password_len);
    sx_free_secret(v, sizeof *v);
}

static void unref(struct sx_via *v)
{
    struct sx_net *n = v->proxy->net;

    if (--v->refs > 0)
        return;
    if (v->prev != NULL)
        v->prev->next = v->next;
    else
        n->vias = v->next;
    if (v->next != NULL)
        v->next->prev = v->prev;
    free_via(v);
}

void sx_vias_free(struct sx_net *n)
{
    while (n->vias != NULL) {
        struct sx_via *next = n->vias->next;
        free_via(n->vias);
        n->vias = next;
    }
}

simplex_rc sx_via_open(struct sx_client *proxy, const struct sx_server *relay,
                       simplex_bytes password, sx_via_answered *answered, void *owner,
                       struct sx_via **out)
{
    struct sx_via *v = sx_calloc(1, sizeof *v);

    *out = NULL;
    if (v == NULL)
        return SIMPLEX_E_NOMEM;
    if (password.len > 0) {
        v->password = sx_malloc(password.len);
        if (v->password == NULL) {
            sx_free(v);
            return SIMPLEX_E_NOMEM;
        }
        memcpy(v->password, password.ptr, password.len);
        v->password_len = password.len;
    }
    v->proxy = proxy;
    v->relay = *relay;
    v->answered = answered;
    v->owner = owner;
    v->refs = 1;
    v->next = proxy->net->vias;
    if (v->next != NULL)
        v->next->prev = v;
    proxy->net->vias = v;
    *out = v;
    return SIMPLEX_OK;
}

void sx_via_close(struct sx_via *v)
{
    struct via_req *next;

    if (v == NULL || v->closed)
        return;
    v->closed = true;
    for (struct via_req *q = v->first; q != NULL; q = next) {
        next = q->next;
        if (q->out) /* its answer still comes, and frees it */
            continue;
        unlink_req(v, q);
        free_req(q);
    }
    unref(v);
}

/* ---- answers ---- */

/* q is done with: the owner is told, and may close v meanwhile. */
static void finish(struct sx_via *v, struct via_req *q, bool proxy_failed, simplex_rc rc,
                   const struct sx_rsp *rsp)
{
    struct sx_request req = { .entity = sx_req_entity(q->req),
                              .done = q->req->done,
                              .ctx = q->req->ctx };
    struct sx_via_answer a = { proxy_failed, rc, rsp, &req };
    struct sx_cmd cmd;

    unlink_req(v, q);
    sx_cmd_copy_get(q->req->copy, &cmd, &req.key);
    req.cmd = &cmd;
    if (!v->closed)
        v->answered(v->owner, &a);
    free_req(q);
}

/* Is the session of the relay one that this connection to the proxy was told? */
static bool is_ready(const struct sx_via *v)
{
    const struct sx_session *s = sx_client_session(v->proxy);

    return v->ready && s != NULL &&
           sx_bytes_eq(sx_session_id(s), sx_bytes(v->proxy_session, v->proxy_session_len));
}

static void on_pres(void *user, void *ctx, simplex_rc rc, const struct sx_rsp *rsp);

static simplex_rc forward(struct sx_via *v, struct via_req *q)
{
    struct sx_net *n = v->proxy->net;
    const struct sx_keypair *key;
    struct sx_cmd cmd, pfwd;

    sx_cmd_copy_get(q->req->copy, &cmd, &key);
    simplex_rc rc = sx_proxied_seal(&v->relay_session, key, sx_req_entity(q->req), &cmd, NULL, NULL,
                                    &q->sealed, n->proxied, &pfwd);
    if (rc != SIMPLEX_OK)
        return rc;
    struct sx_request req = { .cmd = &pfwd,
                              .entity = sx_proxied_id(&v->relay_session),
                              .corr_id = q->sealed.corr_id,
                              .done = on_pres,
                              .ctx = q,
                              .timeout = 2 * n->cfg.command_timeout };
    rc = sx_client_send(v->proxy, &req);
    if (rc == SIMPLEX_OK) {
        q->out = true;
        q->session = v->session;
        v->refs++;
    }
    return rc;
}

/* ---- PRXY ---- */

/* The requests that wait: each is forwarded, or answered with what the proxy said. Those that are
 * added meanwhile are for the next time. */
static void release(struct sx_via *v, simplex_rc rc, const struct sx_rsp *rsp)
{
    struct via_req *last = v->last, *q = v->first, *next;

    for (bool more = q != NULL; more && !v->closed; q = next) {
        more = q != last;
        next = q->next;
        if (q->out)
            continue;
        if (rc != SIMPLEX_OK) {
            finish(v, q, true, rc, rsp);
            continue;
        }
        simplex_rc own = forward(v, q);
        if (own != SIMPLEX_OK)
            finish(v, q, false, own, NULL);
    }
}

static simplex_rc read_pkey(struct sx_via *v, const struct sx_rsp *rsp)
{
    const struct sx_session *s = sx_client_session(v->proxy);

    if (s == NULL)
        return SIMPLEX_E_DISCONNECTED;
    simplex_rc rc = sx_proxied_open(&v->relay_session, rsp, v->relay.key_hash,
                                    v->proxy->net->cfg.max_version, sx_now_ms() / 1000);
    if (rc != SIMPLEX_OK)
        return rc;
    memcpy(v->proxy_session, s->id, s->id_len);
    v->proxy_session_len = s->id_len;
    v->session++;
    v->ready = true;
    return SIMPLEX_OK;
}

static void on_pkey(void *user, void *ctx, simplex_rc rc, const struct sx_rsp *rsp)
{
    struct sx_via *v = ctx;

    (void)user;
    v->asking = false;
    if (!v->closed) {
        bool answered = rc == SIMPLEX_OK || rc == SIMPLEX_E_SERVER;
        if (answered && sx_client_version(v->proxy) < SX_PROXIED_MIN)
            rc = SIMPLEX_E_VERSION; /* whatever it says: it does not know the command */
        else if (rc == SIMPLEX_OK)
            rc = read_pkey(v, rsp);
        release(v, rc, rc == SIMPLEX_E_SERVER ? rsp : NULL);
    }
    unref(v);
}

static simplex_rc ask(struct sx_via *v)
{
    const struct sx_net_cfg *cfg = &v->proxy->net->cfg;
    struct sx_cmd cmd = { .tag = SX_PRXY };
    struct sx_request req = { .cmd = &cmd,
                              .done = on_pkey,
                              .ctx = v,
                              .timeout = cfg->connect_timeout + cfg->command_timeout };

    if (v->asking)
        return SIMPLEX_OK;
    cmd.prxy.server = v->relay;
    cmd.prxy.has_password = v->password_len > 0;
    cmd.prxy.password = sx_bytes(v->password, v->password_len);
    v->ready = false;
    simplex_rc rc = sx_client_send(v->proxy, &req);
    if (rc == SIMPLEX_OK) {
        v->asking = true;
        v->refs++;
    }
    return rc;
}

/* ---- PFWD ---- */

static bool no_session(simplex_rc rc, const struct sx_rsp *rsp)
{
    return rc == SIMPLEX_E_SERVER && rsp->err.err == SX_ERR_PROXY &&
           rsp->err.proxy == SX_PROXY_NO_SESSION;
}

static simplex_rc send_or_ask(struct sx_via *v, struct via_req *q)
{
    return is_ready(v) ? forward(v, q) : ask(v);
}

/* The box is opened with a key that only the relay has: what is in it is the relay's word. */
static void open_answer(struct sx_via *v, struct via_req *q, simplex_bytes body)
{
    struct sx_transmission t;
    struct sx_rsp rsp;
    uint8_t plain[SX_PROXIED_BOX];
    simplex_rc rc = sx_proxied_answer(&q->sealed, body, plain, &t, &rsp);

    if (rc == SIMPLEX_E_CRYPTO) {
        v->ready = false;
        finish(v, q, true, rc, NULL);
        return;
    }
    rc = rc == SIMPLEX_OK ? sx_req_check(q->req, &t, &rsp) : SIMPLEX_E_RESPONSE;
    finish(v, q, false, rc, rc == SIMPLEX_OK || rc == SIMPLEX_E_SERVER ? &rsp : NULL);
    sx_wipe(plain, sizeof plain);
}

static void on_pres(void *user, void *ctx, simplex_rc rc, const struct sx_rsp *rsp)
{
    struct via_req *q = ctx;
    struct sx_via *v = q->via;

    (void)user;
    q->out = false;
    if (v->closed) {
        unlink_req(v, q);
        free_req(q);
    } else if (rc == SIMPLEX_OK) {
        open_answer(v, q, rsp->enc.body);
    } else if (no_session(rc, rsp) && !q->repeated) {
        if (q->session == v->session)
            v->ready = false;
        q->repeated = true;
        rc = send_or_ask(v, q);
        if (rc != SIMPLEX_OK)
            finish(v, q, true, rc, NULL);
    } else {
        if (no_session(rc, rsp) && q->session == v->session)
            v->ready = false;
        finish(v, q, true, rc, rsp);
    }
    unref(v);
}

/* ---- requests ---- */

static bool may_be_forwarded(const struct sx_cmd *cmd)
{
    switch (cmd->tag) {
    case SX_SEND:
    case SX_SKEY:
    case SX_LKEY:
    case SX_LGET:
    case SX_RSLV:
        return true;
    default:
        return false;
    }
}

static simplex_rc new_req(struct sx_via *v, const struct sx_request *r, struct via_req **out)
{
    static const uint8_t no_id[SX_ID_LEN]; /* each PFWD has its own */
    struct via_req *q = sx_calloc(1, sizeof *q);

    if (q == NULL)
        return SIMPLEX_E_NOMEM;
    simplex_rc rc = sx_req_new(no_id, r->entity, r->cmd->tag, &q->req);
    if (rc == SIMPLEX_OK)
        rc = sx_cmd_copy_new(r->cmd, r->key, &q->req->copy);
    if (rc != SIMPLEX_OK) {
        free_req(q);
        return rc;
    }
    q->via = v;
    q->req->done = r->done;
    q->req->ctx = r->ctx;
    *out = q;
    return SIMPLEX_OK;
}

simplex_rc sx_via_send(struct sx_via *v, const struct sx_request *r)
{
    struct via_req *q;

    if (v->closed || !may_be_forwarded(r->cmd))
        return SIMPLEX_E_ARG;
    if (!sx_cmd_fits(r->cmd))
        return SIMPLEX_E_TOO_LARGE;
    simplex_rc rc = new_req(v, r, &q);
    if (rc != SIMPLEX_OK)
        return rc;
    append_req(v, q);
    rc = send_or_ask(v, q);
    if (rc != SIMPLEX_OK) {
        unlink_req(v, q);
        free_req(q);
    }
    return rc;
}
