/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service that the agent is to each server. What the server knows shows when a session comes
 * up: the same id as before, then one SUBS takes the place of all SUBs of the queues that it has
 * associated; another one, or none, then it has forgotten, and each queue is subscribed by itself,
 * which associates it anew. The same is done when the server counts other queues than we do, so a
 * difference mends itself. A server that refuses the service gets an ordinary client.
 */
#include "agent/event.h"
#include "agent/route.h"
#include "agent/services.h"
#include "agent/subscribe.h"

#include "agent/users.h"

#define REFUSALS_MAX \
    2 /* handshakes in a row; then without a service until the agent is opened again */

enum svc_state {
    SVC_IDLE,   /* nothing is subscribed by SUBS */
    SVC_SENT,   /* SUBS is out */
    SVC_ACTIVE, /* the queues of the service are subscribed */
};

struct sx_rt_service { /* of a server and user */
    bool has_id;
    uint8_t id[SX_ID_LEN];
    uint8_t state;   /* enum svc_state */
    uint8_t refused; /* handshakes that failed since the last session */
    bool off;        /* it wants none */
    bool made_anew;  /* the certificate, because SUBS was refused */
    int64_t count;   /* what SUBS has said */
    uint8_t hash[16];
};

static struct sx_service_row row_of(const struct sx_rt_server *s)
{
    struct sx_service_row r = { .user_id = s->user, .server = *sx_client_server(s->client) };

    return r;
}

bool sx_svc_session(const struct sx_rt_server *s)
{
    const struct sx_session *session = sx_client_session(s->client);

    return s->service != NULL && session != NULL && session->service.role != 0;
}

/* ---- who we are ---- */

static simplex_rc make_certificate(struct simplex_agent *a, struct sx_rt_server *s)
{
    struct sx_service_row r = row_of(s);
    struct sx_wr cert, key;
    simplex_rc rc;

    sx_wr_init(&cert, 4096);
    sx_wr_init(&key, 4096);
    rc = sx_cert_make_service(&cert, &key);
    r.cert = sx_wr_bytes(&cert);
    r.key = sx_wr_bytes(&key);
    if (rc == SIMPLEX_OK)
        rc = sx_store_service_put(a->store, &r);
    sx_wr_free(&cert);
    sx_wr_free(&key);
    return rc;
}

/* The certificate is in the database before a server sees it. */
static simplex_rc present(struct simplex_agent *a, struct sx_rt_server *s)
{
    struct sx_service_row r = row_of(s);
    simplex_rc rc = sx_store_service_get(a->store, &r);

    if (rc == SIMPLEX_E_NOT_FOUND) {
        rc = make_certificate(a, s);
        if (sx_store_in_transaction(a->store))
            a->must_commit = true;
        if (rc == SIMPLEX_OK)
            rc = sx_store_service_get(a->store, &r);
    }
    if (rc != SIMPLEX_OK)
        return rc;
    s->service->has_id = r.has_id;
    memcpy(s->service->id, r.id, sizeof s->service->id);
    rc = sx_client_service(s->client, 'M', r.cert, r.key);
    /* A certificate that cannot be used any more is no reason to receive nothing. */
    return sx_rc_is_store(rc) ? rc : SIMPLEX_OK;
}

static simplex_rc is_wanted(struct simplex_agent *a, int64_t user, bool *yes)
{
    *yes = a->cfg.client_service;
    if (*yes || a->cfg.isolation == SIMPLEX_ISOLATE_ENTITY)
        return SIMPLEX_OK;
    return sx_store_service_user(a->store, user, yes);
}

simplex_rc sx_svc_use(struct simplex_agent *a, struct sx_rt_server *s)
{
    bool wanted;
    simplex_rc rc;

    if (s->service != NULL || s->no_service)
        return SIMPLEX_OK;
    rc = is_wanted(a, s->user, &wanted);
    if (rc != SIMPLEX_OK)
        return rc;
    s->no_service = !wanted;
    if (!wanted)
        return SIMPLEX_OK;
    s->service = sx_calloc(1, sizeof *s->service);
    if (s->service == NULL)
        return SIMPLEX_E_NOMEM;
    rc = present(a, s);
    if (rc != SIMPLEX_OK)
        sx_svc_free(s);
    return rc;
}

simplex_rc sx_svc_use_for(struct simplex_agent *a, int64_t conn, const struct sx_server *server,
                          bool *used)
{
    struct sx_rt_server *s;
    simplex_rc rc = sx_rt_server_get(a, conn, server, &s);

    if (rc == SIMPLEX_OK)
        rc = sx_svc_use(a, s);
    *used = rc == SIMPLEX_OK && s->service != NULL;
    return rc;
}

void sx_svc_free(struct sx_rt_server *s)
{
    sx_free(s->service);
    s->service = NULL;
}

void sx_svc_drop(struct sx_rt_server *s)
{
    if (s->service != NULL &&
        sx_client_service(s->client, 0, sx_bytes(NULL, 0), sx_bytes(NULL, 0)) != SIMPLEX_OK)
        sx_log(SX_LOG_WARN, "agent: a session stays that of a service");
    sx_svc_free(s);
    s->no_service = false;
}

/* ---- which queues the server knows ---- */

simplex_rc sx_svc_load(struct simplex_agent *a)
{
    int64_t ids[64], after = 0;
    simplex_rc rc;
    size_t n;

    do {
        n = SX_COUNT(ids);
        rc = sx_store_assoc_list(a->store, after, ids, &n);
        for (size_t i = 0; rc == SIMPLEX_OK && i < n; i++) {
            struct sx_rt_rcvq *q = sx_rt_rcvq_by_id(a, ids[i]);
            after = ids[i];
            if (q != NULL && q->server->service != NULL)
                q->assoc = true;
            else /* plain SUBs take them back */
                rc = sx_store_assoc_delete(a->store, ids[i]);
        }
    } while (rc == SIMPLEX_OK && n == SX_COUNT(ids));
    return rc;
}

static void set_assoc(struct simplex_agent *a, struct sx_rt_rcvq *q, bool on)
{
    simplex_rc rc;

    if (q->assoc == on)
        return;
    rc = sx_handler_begin(a);
    if (rc != SIMPLEX_OK)
        return;
    rc = on ? sx_store_assoc_add(a->store, q->id) : sx_store_assoc_delete(a->store, q->id);
    sx_handler_end(a, rc);
    sx_agent_lazy(a);
    if (rc == SIMPLEX_OK)
        q->assoc = on;
}

static void forget_queues(struct simplex_agent *a, struct sx_rt_server *s)
{
    for (struct sx_rt_rcvq *q = s->queues; q != NULL; q = q->next_server)
        set_assoc(a, q, false);
}

/* The service's id at this server, or that it has none. */
static void note_id(struct simplex_agent *a, struct sx_rt_server *s, const uint8_t *id)
{
    struct sx_service_row r = row_of(s);
    simplex_rc rc = sx_handler_begin(a);

    r.has_id = s->service->has_id = id != NULL;
    if (id != NULL) {
        memcpy(r.id, id, sizeof r.id);
        memcpy(s->service->id, id, sizeof r.id);
    }
    if (rc != SIMPLEX_OK)
        return;
    rc = sx_store_service_id(a->store, &r);
    sx_handler_end(a, rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc);
    sx_agent_lazy(a);
}

/* True: some of them are wanted. */
static bool count_queues(struct sx_rt_server *s)
{
    struct sx_rt_service *v = s->service;
    bool wanted = false;
    uint8_t md5[16];

    v->count = 0;
    memset(v->hash, 0, sizeof v->hash);
    for (const struct sx_rt_rcvq *q = s->queues; q != NULL; q = q->next_server) {
        if (!q->assoc)
            continue;
        v->count++;
        sx_md5(sx_id_bytes(q->rcv_id), md5);
        for (size_t i = 0; i < sizeof md5; i++)
            v->hash[i] ^= md5[i];
        wanted = wanted || q->want;
    }
    return wanted;
}

/* ---- events ---- */

static void tell(struct simplex_agent *a, const struct sx_rt_server *s, int32_t kind, int64_t count,
                 simplex_rc why, const struct sx_rsp *rsp)
{
    struct simplex_event ev;

    sx_event_init(&ev, kind, 0);
    ev.server = sx_server_text(sx_client_server(s->client));
    ev.user = s->user;
    ev.conf = count;
    ev.rc = why;
    ev.detail = sx_smp_err_text(rsp);
    sx_emit_now(a, &ev);
}

/* ---- SUBS ---- */

/* Each by itself: that associates them with who we are now. */
static void one_by_one(struct simplex_agent *a, struct sx_rt_server *s)
{
    s->service->state = SVC_IDLE;
    forget_queues(a, s);
    for (struct sx_rt_rcvq *q = s->queues; q != NULL; q = q->next_server) {
        if (q->want && q->sub == SX_SUB_NONE)
            sx_rt_sub_set(q, SX_SUB_PENDING);
    }
    sx_subscribe_server(a, s);
}

static void all_active(struct sx_rt_server *s)
{
    for (struct sx_rt_rcvq *q = s->queues; q != NULL; q = q->next_server) {
        if (!q->assoc)
            continue;
        q->subscribed_here = true;
        if (q->sub == SX_SUB_PENDING)
            sx_rt_sub_set(q, SX_SUB_ACTIVE);
    }
    s->service->state = SVC_ACTIVE;
}

static void on_subs(struct simplex_agent *a, struct sx_rt_server *s, const struct sx_rsp *rsp)
{
    struct sx_rt_service *v = s->service;
    bool same = rsp->soks.count == v->count && rsp->soks.has_hash &&
                memcmp(rsp->soks.hash, v->hash, sizeof v->hash) == 0;

    tell(a, s, SIMPLEX_EV_SERVICE_UP, rsp->soks.count, same ? SIMPLEX_OK : SIMPLEX_E_RESPONSE,
         NULL);
    if (same)
        all_active(s);
    else
        one_by_one(a, s);
}

/* It does not know the service as one: with a new certificate, once; then without. */
static void refused(struct simplex_agent *a, struct sx_rt_server *s, const struct sx_rsp *rsp)
{
    struct sx_rt_service *v = s->service;
    struct sx_service_row r = row_of(s);
    simplex_rc rc;

    tell(a, s, SIMPLEX_EV_SERVICE_DOWN, v->count, SIMPLEX_E_SERVER, rsp);
    v->state = SVC_IDLE;
    forget_queues(a, s);
    rc = sx_handler_begin(a);
    if (rc != SIMPLEX_OK)
        return;
    rc = sx_store_service_delete(a->store, &r);
    if (rc == SIMPLEX_OK && !v->made_anew) {
        rc = present(a, s);
        v->made_anew = true;
    } else if (rc == SIMPLEX_OK) {
        v->off = true;
        rc = sx_client_service(s->client, 0, sx_bytes(NULL, 0), sx_bytes(NULL, 0));
    }
    sx_handler_end(a, rc);
}

static struct sx_rt_server *server_at(struct simplex_agent *a, const void *ctx)
{
    struct sx_rt_server *s = a->rt_servers;

    while (s != NULL && s != ctx)
        s = s->next;
    return s;
}

static void on_answer(void *user, void *ctx, simplex_rc why, const struct sx_rsp *rsp)
{
    struct simplex_agent *a = user;
    struct sx_rt_server *s = server_at(a, ctx);

    if (s == NULL || s->service == NULL || s->service->state != SVC_SENT)
        return;
    if (why == SIMPLEX_OK) {
        on_subs(a, s, rsp);
    } else if (sx_is_temporary(why, rsp)) {
        s->service->state = SVC_IDLE;
        if (sx_client_is_up(s->client)) /* it answers nothing: back-off, then again */
            sx_client_disconnect(s->client, why);
    } else {
        refused(a, s, rsp);
    }
}

static void subscribe_all(struct simplex_agent *a, struct sx_rt_server *s)
{
    struct sx_rt_service *v = s->service;
    struct sx_cmd cmd = { .tag = SX_SUBS };
    struct sx_request req = { .cmd = &cmd, .done = on_answer, .ctx = s };

    if (!count_queues(s))
        return;
    cmd.subs.has_hash = true;
    cmd.subs.count = v->count;
    memcpy(cmd.subs.hash, v->hash, sizeof cmd.subs.hash);
    req.entity = sx_bytes(v->id, sizeof v->id);
    req.key = &sx_client_session(s->client)->service.key;
    if (sx_client_send(s->client, &req) == SIMPLEX_OK)
        v->state = SVC_SENT;
    else
        one_by_one(a, s);
}

bool sx_svc_covers(const struct sx_rt_rcvq *q)
{
    const struct sx_rt_service *v = q->server->service;

    return q->assoc && v != NULL && v->state == SVC_SENT;
}

/* ---- sessions ---- */

void sx_svc_up(struct simplex_agent *a, struct sx_rt_server *s)
{
    struct sx_rt_service *v = s->service;
    const struct sx_session *session = sx_client_session(s->client);

    if (v == NULL || session == NULL)
        return;
    v->refused = 0;
    v->state = SVC_IDLE;
    if (session->service.role == 0) { /* it is too old for services, or has refused */
        forget_queues(a, s);
        if (v->has_id)
            note_id(a, s, NULL);
        return;
    }
    if (!v->has_id || memcmp(v->id, session->service.id, sizeof v->id) != 0) {
        forget_queues(a, s);
        note_id(a, s, session->service.id);
    }
    subscribe_all(a, s);
}

void sx_svc_down(struct simplex_agent *a, struct sx_rt_server *s, simplex_rc why)
{
    struct sx_rt_service *v = s->service;

    if (v == NULL)
        return;
    if (v->state == SVC_ACTIVE) {
        (void)count_queues(s);
        tell(a, s, SIMPLEX_EV_SERVICE_DOWN, v->count, why, NULL);
    }
    v->state = SVC_IDLE;
    if (why != SIMPLEX_E_HANDSHAKE || v->off || ++v->refused < REFUSALS_MAX)
        return;
    v->off = true;
    tell(a, s, SIMPLEX_EV_SERVICE_DOWN, 0, why, NULL);
    if (sx_client_service(s->client, 0, sx_bytes(NULL, 0), sx_bytes(NULL, 0)) != SIMPLEX_OK)
        sx_log(SX_LOG_WARN, "agent: a session stays that of a service");
}

/* ---- single queues ---- */

/* The session has all queues of the service from then on. */
static bool is_ours(const struct sx_rt_rcvq *q, simplex_bytes id)
{
    struct sx_rt_service *v = q->server->service;
    bool ours = v != NULL && v->has_id && sx_bytes_eq(id, sx_bytes(v->id, sizeof v->id));

    if (ours && v->state == SVC_IDLE)
        v->state = SVC_ACTIVE;
    return ours;
}

void sx_svc_answered(struct simplex_agent *a, struct sx_rt_rcvq *q, simplex_bytes id)
{
    set_assoc(a, q, is_ours(q, id));
}

simplex_rc sx_svc_made(struct simplex_agent *a, struct sx_rt_rcvq *q, simplex_bytes id)
{
    q->assoc = is_ours(q, id);
    return q->assoc ? sx_store_assoc_add(a->store, q->id) : SIMPLEX_OK;
}

void sx_svc_ended(struct simplex_agent *a, struct sx_rt_rcvq *q)
{
    set_assoc(a, q, false); /* a plain client has taken it back */
}

/* Another client with our certificate has all of them now. */
static void on_ends(struct simplex_agent *a, struct sx_rt_server *s, const struct sx_rsp *rsp)
{
    s->service->state = SVC_IDLE;
    for (struct sx_rt_rcvq *q = s->queues; q != NULL; q = q->next_server) {
        if (!q->assoc)
            continue;
        q->subscribed_here = false;
        q->want = false; /* until the next start, or until the application asks for it again */
        sx_rt_sub_set(q, SX_SUB_NONE);
    }
    tell(a, s, SIMPLEX_EV_SERVICE_END, rsp->soks.count, SIMPLEX_OK, NULL);
}

bool sx_svc_event(struct simplex_agent *a, struct sx_rt_server *s, const struct sx_transmission *t,
                  const struct sx_rsp *rsp)
{
    if (rsp->tag != SX_R_ENDS && rsp->tag != SX_R_ALLS)
        return false;
    if (s == NULL || !sx_svc_session(s))
        return true;
    if (rsp->tag == SX_R_ALLS)
        tell(a, s, SIMPLEX_EV_SERVICE_ALL, s->service->count, SIMPLEX_OK, NULL);
    else if (sx_bytes_eq(t->entity_id, sx_bytes(s->service->id, sizeof s->service->id)) &&
             s->service->state == SVC_ACTIVE)
        on_ends(a, s, rsp);
    return true;
}

/* ---- users ---- */

struct args {
    int64_t user;
    bool on;
};

static simplex_rc begin_service(struct simplex_agent *a, struct sx_rt_server *s)
{
    s->no_service = false;
    return s->queues != NULL ? sx_svc_use(a, s) : SIMPLEX_OK; /* others when they have one */
}

/* The next session is an ordinary one, and takes its queues back. */
static simplex_rc end_service(struct simplex_agent *a, struct sx_rt_server *s)
{
    simplex_rc rc = SIMPLEX_OK;

    for (struct sx_rt_rcvq *q = s->queues; rc == SIMPLEX_OK && q != NULL; q = q->next_server) {
        if (q->assoc)
            rc = sx_store_assoc_delete(a->store, q->id);
        q->assoc = q->assoc && rc != SIMPLEX_OK;
    }
    if (rc != SIMPLEX_OK || s->service == NULL)
        return rc;
    sx_svc_free(s);
    s->no_service = true;
    return sx_client_service(s->client, 0, sx_bytes(NULL, 0), sx_bytes(NULL, 0));
}

static simplex_rc do_set(struct simplex_agent *a, void *p)
{
    const struct args *x = p;
    simplex_rc rc = sx_user_check(a, x->user);

    if (rc == SIMPLEX_OK &&
        (a->cfg.client_service || (x->on && a->cfg.isolation == SIMPLEX_ISOLATE_ENTITY)))
        rc = SIMPLEX_E_PROHIBITED;
    if (rc == SIMPLEX_OK)
        rc = sx_store_service_user_set(a->store, x->user, x->on);
    for (struct sx_rt_server *s = a->rt_servers; rc == SIMPLEX_OK && s != NULL; s = s->next) {
        if (s->user == x->user)
            rc = x->on ? begin_service(a, s) : end_service(a, s);
    }
    return rc;
}

simplex_rc simplex_agent_set_user_service(simplex_agent *a, int64_t user, bool on)
{
    struct args x = { user, on };

    return a == NULL ? SIMPLEX_E_ARG : sx_agent_run(a, do_set, &x, true);
}
