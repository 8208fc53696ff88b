/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handle of simplex/client.h: a loop on a thread of its own, a list of posted commands in, a
 * callback or a list of events out. The lock guards both lists and nothing else.
 */
#include "client/smp_client.h"

#include "client/cmd_copy.h"
#include "client/public.h"

#define EVENTS_MAX_BYTES (64u << 20) /* not pulled yet */

struct job { /* a command, from simplex_client_send to its RESPONSE */
    struct job *prev, *next;
    simplex_client *client;
    uint64_t id;
    struct sx_cmd_copy *copy; /* until it is handed to the session */
    int64_t timeout;
    bool has_corr_id;
    uint8_t corr_id[SX_ID_LEN];
    uint8_t entity_len;
    uint8_t entity[UINT8_MAX];
};

struct jobs {
    struct job *first, *last;
};

struct node { /* an event to be pulled */
    struct node *next;
    simplex_client_event *ev;
    size_t size;
};

struct simplex_client {
    uv_loop_t loop;
    uv_async_t async;
    uv_thread_t thread;
    struct sx_net *net;
    struct sx_client *smp;
    simplex_client_event_cb *on_event;
    void *user;
    char *password; /* of the server's address */
    struct jobs active;

    uv_mutex_t lock;
    uv_cond_t arrived;
    struct jobs posted;
    uint64_t last_id;
    struct node *first, *last;
    size_t event_bytes;
    bool lost, closing, reconnect;
};

/* ---- jobs ---- */

static void job_append(struct jobs *l, struct job *j)
{
    j->next = NULL;
    j->prev = l->last;
    if (l->last != NULL)
        l->last->next = j;
    else
        l->first = j;
    l->last = j;
}

static void job_unlink(struct jobs *l, struct job *j)
{
    if (j->prev != NULL)
        j->prev->next = j->next;
    else
        l->first = j->next;
    if (j->next != NULL)
        j->next->prev = j->prev;
    else
        l->last = j->prev;
}

static void job_free(struct job *j)
{
    sx_cmd_copy_free(j->copy);
    sx_free(j);
}

static void jobs_free(struct jobs *l)
{
    struct job *j;

    while ((j = l->first) != NULL) {
        job_unlink(l, j);
        job_free(j);
    }
}

/* ---- events, on the client's thread ---- */

static bool enqueue(simplex_client *c, const simplex_client_event *ev)
{
    struct node *n = sx_calloc(1, sizeof(*n));
    bool fits = n != NULL && sx_public_event_copy(ev, &n->ev, &n->size) == SIMPLEX_OK;

    uv_mutex_lock(&c->lock);
    fits = fits && n->size + c->event_bytes <= EVENTS_MAX_BYTES;
    if (fits) {
        c->event_bytes += n->size;
        if (c->last != NULL)
            c->last->next = n;
        else
            c->first = n;
        c->last = n;
    } else {
        c->lost = true;
    }
    uv_cond_signal(&c->arrived);
    uv_mutex_unlock(&c->lock);
    if (!fits && n != NULL) {
        sx_free(n->ev);
        sx_free(n);
    }
    return fits;
}

static void deliver(simplex_client *c, const simplex_client_event *ev)
{
    if (c->on_event != NULL)
        c->on_event(c->user, ev);
    else if (!enqueue(c, ev)) /* what is lost now comes again after subscribing again */
        sx_client_disconnect(c->smp, SIMPLEX_E_NOMEM);
}

static void on_up(void *user, struct sx_client *smp)
{
    simplex_client_event ev = { .kind = SIMPLEX_CLIENT_UP, .version = sx_client_version(smp) };
    const struct sx_session *s = sx_client_session(smp);

    if (s != NULL && s->service.role != 0)
        ev.service_id = sx_bytes(s->service.id, sizeof(s->service.id));
    deliver(user, &ev);
}

static void on_down(void *user, struct sx_client *smp, simplex_rc rc)
{
    simplex_client_event ev = { .kind = SIMPLEX_CLIENT_DOWN, .rc = rc };

    (void)smp;
    deliver(user, &ev);
}

static void on_push(void *user, struct sx_client *smp, const struct sx_transmission *t,
                    const struct sx_rsp *rsp)
{
    struct sx_public_event e = { .ev = { .kind = SIMPLEX_CLIENT_PUSH, .entity = t->entity_id } };

    if (sx_public_response(&e, rsp, sx_client_version(smp)))
        deliver(user, &e.ev);
}

static void finish(struct job *j, simplex_rc rc, const struct sx_rsp *rsp)
{
    simplex_client *c = j->client;
    struct sx_public_event e = {
        .ev = { .kind = SIMPLEX_CLIENT_RESPONSE,
                .rc = rc,
                .request = j->id,
                .entity = { j->entity, j->entity_len } },
    };

    if (rsp != NULL && !sx_public_response(&e, rsp, sx_client_version(c->smp)))
        e.ev.rc = SIMPLEX_E_RESPONSE;
    deliver(c, &e.ev);
    job_unlink(&c->active, j);
    job_free(j);
}

static void on_response(void *user, void *ctx, simplex_rc rc, const struct sx_rsp *rsp)
{
    (void)user;
    finish(ctx, rc, rsp);
}

/* ---- the thread ---- */

/* SUBS and NSUBS: for the service that this session is one of, signed with the session's key. */
static simplex_rc as_service(const simplex_client *c, struct sx_request *req)
{
    const struct sx_session *s = sx_client_session(c->smp);

    if (req->cmd->tag != SX_SUBS && req->cmd->tag != SX_NSUBS)
        return SIMPLEX_OK;
    if (s == NULL)
        return SIMPLEX_E_DISCONNECTED;
    if (s->service.role == 0)
        return SIMPLEX_E_PROHIBITED;
    req->entity = sx_bytes(s->service.id, sizeof(s->service.id));
    req->key = &s->service.key;
    return SIMPLEX_OK;
}

static void start_job(simplex_client *c, struct job *j)
{
    const struct sx_keypair *key;
    struct sx_cmd cmd;

    job_append(&c->active, j);
    sx_cmd_copy_get(j->copy, &cmd, &key);
    struct sx_request req = {
        .cmd = &cmd,
        .entity = { j->entity, j->entity_len },
        .key = key,
        .corr_id = j->has_corr_id ? j->corr_id : NULL,
        .done = on_response,
        .ctx = j,
        .timeout = j->timeout,
    };
    simplex_rc rc = as_service(c, &req);
    if (rc == SIMPLEX_OK)
        rc = sx_client_send(c->smp, &req);
    sx_cmd_copy_free(j->copy);
    j->copy = NULL;
    if (rc != SIMPLEX_OK)
        finish(j, rc, NULL);
}

static void on_async(uv_async_t *h)
{
    simplex_client *c = h->data;
    struct job *j;

    uv_mutex_lock(&c->lock);
    struct jobs posted = c->posted;
    bool closing = c->closing, reconnect = c->reconnect;
    c->posted = (struct jobs){ 0 };
    c->reconnect = false;
    uv_mutex_unlock(&c->lock);
    if (closing) {
        jobs_free(&posted);
        sx_net_close(c->net, NULL, NULL);
        uv_close((uv_handle_t *)&c->async, NULL);
        return;
    }
    if (reconnect)
        sx_net_reconnect(c->net);
    while ((j = posted.first) != NULL) {
        job_unlink(&posted, j);
        start_job(c, j);
    }
}

static void run(void *arg)
{
    simplex_client *c = arg;

    sx_thread_ignore_sigpipe();
    uv_mutex_lock(&c->lock); /* c->thread is set now */
    uv_mutex_unlock(&c->lock);
    uv_run(&c->loop, UV_RUN_DEFAULT);
}

static bool on_own_thread(const simplex_client *c)
{
    uv_thread_t self = uv_thread_self();

    return uv_thread_equal(&self, &c->thread) != 0;
}

/* ---- opening ---- */

static bool put_text(char *to, size_t size, const char *from)
{
    size_t n = from == NULL ? 0 : strlen(from);

    if (n >= size)
        return false;
    if (n > 0)
        memcpy(to, from, n);
    to[n] = 0;
    return true;
}

static simplex_rc net_config(const simplex_client_config *cfg, struct sx_net_cfg *net)
{
    *net = (struct sx_net_cfg){
        .connect_timeout = cfg->connect_timeout,
        .command_timeout = cfg->command_timeout,
        .reconnect_first = cfg->reconnect_first,
        .reconnect_max = cfg->reconnect_max,
        .has_socks = cfg->socks_host != NULL,
        .socks_port = cfg->socks_port,
        .socks_has_auth = cfg->socks_user != NULL,
        .socks_mode = cfg->socks_only_onion ? SX_SOCKS_ONION : SX_SOCKS_ALWAYS,
        .min_version = cfg->min_version,
        .max_version = cfg->max_version,
        .service_role = (uint8_t)cfg->service_role,
        .service_chain_pem = cfg->service_cert,
        .service_key_pem = cfg->service_key,
    };
    if (cfg->service_role != 0 && cfg->service_role != SIMPLEX_SERVICE_MESSAGES &&
        cfg->service_role != SIMPLEX_SERVICE_NOTIFICATIONS)
        return SIMPLEX_E_ARG;
    if (!put_text(net->socks_host, sizeof(net->socks_host), cfg->socks_host) ||
        !put_text(net->socks_user, sizeof(net->socks_user), cfg->socks_user) ||
        !put_text(net->socks_password, sizeof(net->socks_password), cfg->socks_password))
        return SIMPLEX_E_ARG;
    return SIMPLEX_OK;
}

static simplex_rc open_net(simplex_client *c, const simplex_client_config *cfg,
                           const struct sx_server *server)
{
    static const struct sx_net_callbacks callbacks = { .up = on_up,
                                                       .down = on_down,
                                                       .event = on_push };
    struct sx_net_cfg net;
    uint8_t random[24];
    char text[40];
    struct sx_wr w;

    simplex_rc rc = net_config(cfg, &net);
    if (rc != SIMPLEX_OK)
        return rc;
    sx_random(random, sizeof(random));
    sx_wr_fixed(&w, text, sizeof(text) - 1);
    sx_b64_encode(&w, sx_bytes(random, sizeof(random)));
    text[w.len] = 0;
    rc = sx_net_open(&c->loop, &net, &callbacks, c, cfg->isolation != NULL ? cfg->isolation : text,
                     &c->net);
    if (rc == SIMPLEX_OK)
        rc = sx_net_client(c->net, server, &c->smp);
    if (rc == SIMPLEX_OK)
        sx_client_want(c->smp, cfg->stay_connected);
    sx_wipe(&net, sizeof(net));
    return rc;
}

/* Everything that was made, in whatever state it is; not the thread. */
static void destroy(simplex_client *c)
{
    struct node *n;

    sx_net_close(c->net, NULL, NULL); /* unless the thread did that */
    if (!uv_is_closing((uv_handle_t *)&c->async))
        uv_close((uv_handle_t *)&c->async, NULL);
    uv_run(&c->loop, UV_RUN_DEFAULT);
    uv_loop_close(&c->loop);
    jobs_free(&c->posted);
    jobs_free(&c->active);
    while ((n = c->first) != NULL) {
        c->first = n->next;
        sx_free(n->ev);
        sx_free(n);
    }
    uv_cond_destroy(&c->arrived);
    uv_mutex_destroy(&c->lock);
    if (c->password != NULL)
        sx_free_secret(c->password, strlen(c->password));
    sx_free(c);
}

/* The handles that everything else hangs on. */
static simplex_rc client_new(simplex_client **out)
{
    simplex_client *c = sx_calloc(1, sizeof(*c));

    *out = NULL;
    if (c == NULL)
        return SIMPLEX_E_NOMEM;
    if (uv_mutex_init(&c->lock) != 0)
        goto no_lock;
    if (uv_cond_init(&c->arrived) != 0)
        goto no_cond;
    if (uv_loop_init(&c->loop) != 0)
        goto no_loop;
    if (uv_async_init(&c->loop, &c->async, on_async) != 0)
        goto no_async;
    c->async.data = c;
    *out = c;
    return SIMPLEX_OK;
no_async:
    uv_loop_close(&c->loop);
no_loop:
    uv_cond_destroy(&c->arrived);
no_cond:
    uv_mutex_destroy(&c->lock);
no_lock:
    sx_free(c);
    return SIMPLEX_E_SYSTEM;
}

static simplex_rc start_thread(simplex_client *c)
{
    uv_mutex_lock(&c->lock);
    int err = uv_thread_create(&c->thread, run, c);
    uv_mutex_unlock(&c->lock);
    return err == 0 ? SIMPLEX_OK : SIMPLEX_E_SYSTEM;
}

simplex_rc simplex_client_open(const simplex_client_config *cfg, simplex_client **out)
{
    struct sx_server server;
    simplex_bytes password;
    simplex_client *c;

    if (out == NULL)
        return SIMPLEX_E_ARG;
    *out = NULL;
    if (cfg == NULL || cfg->size < sizeof(*cfg) || cfg->server == NULL)
        return SIMPLEX_E_ARG;
    simplex_rc rc = sx_crypto_init();
    if (rc == SIMPLEX_OK)
        rc = sx_server_parse(sx_str(cfg->server), &server, &password);
    if (rc == SIMPLEX_OK)
        rc = client_new(&c);
    if (rc != SIMPLEX_OK)
        return rc;
    c->on_event = cfg->on_event;
    c->user = cfg->user;
    c->password = (char *)sx_memdup(password);
    rc = c->password == NULL ? SIMPLEX_E_NOMEM : open_net(c, cfg, &server);
    if (rc == SIMPLEX_OK)
        rc = start_thread(c);
    if (rc != SIMPLEX_OK)
        destroy(c);
    else
        *out = c;
    return rc;
}

simplex_rc simplex_client_close(simplex_client *c)
{
    if (c == NULL)
        return SIMPLEX_OK;
    if (on_own_thread(c))
        return SIMPLEX_E_CALLBACK;
    uv_mutex_lock(&c->lock);
    c->closing = true;
    uv_mutex_unlock(&c->lock);
    uv_async_send(&c->async);
    uv_thread_join(&c->thread);
    c->net = NULL; /* freed on the loop */
    destroy(c);
    return SIMPLEX_OK;
}

/* ---- commands ---- */

static simplex_rc job_new(simplex_client *c, const simplex_command *cmd, struct job **out)
{
    struct sx_public_cmd parsed;
    struct job *j = NULL;

    *out = NULL;
    simplex_rc rc = sx_public_command(cmd, sx_str(c->password), &parsed);
    if (rc == SIMPLEX_OK && !sx_cmd_fits(&parsed.cmd))
        rc = SIMPLEX_E_TOO_LARGE;
    if (rc == SIMPLEX_OK && (j = sx_calloc(1, sizeof(*j))) == NULL)
        rc = SIMPLEX_E_NOMEM;
    if (rc == SIMPLEX_OK)
        rc = sx_cmd_copy_new(&parsed.cmd, parsed.has_key ? &parsed.key : NULL, &j->copy);
    sx_public_command_wipe(&parsed);
    if (rc != SIMPLEX_OK) {
        sx_free(j);
        return rc;
    }
    j->client = c;
    j->timeout = cmd->timeout;
    j->entity_len = (uint8_t)cmd->entity.len;
    if (cmd->entity.len > 0)
        memcpy(j->entity, cmd->entity.ptr, cmd->entity.len);
    j->has_corr_id = cmd->corr_id.len > 0;
    if (j->has_corr_id)
        memcpy(j->corr_id, cmd->corr_id.ptr, SX_ID_LEN);
    *out = j;
    return SIMPLEX_OK;
}

simplex_rc simplex_client_send(simplex_client *c, const simplex_command *cmd, uint64_t *request)
{
    struct job *j;

    if (c == NULL || cmd == NULL)
        return SIMPLEX_E_ARG;
    simplex_rc rc = job_new(c, cmd, &j);
    if (rc != SIMPLEX_OK)
        return rc;
    uv_mutex_lock(&c->lock);
    if (c->closing) {
        rc = SIMPLEX_E_CLOSED;
    } else {
        j->id = ++c->last_id;
        if (request != NULL)
            *request = j->id;
        job_append(&c->posted, j);
    }
    uv_mutex_unlock(&c->lock);
    if (rc != SIMPLEX_OK)
        job_free(j);
    else
        uv_async_send(&c->async);
    return rc;
}

simplex_rc simplex_client_reconnect(simplex_client *c)
{
    if (c == NULL)
        return SIMPLEX_E_ARG;
    uv_mutex_lock(&c->lock);
    c->reconnect = true;
    uv_mutex_unlock(&c->lock);
    uv_async_send(&c->async);
    return SIMPLEX_OK;
}

/* ---- pulling ---- */

/* Under the lock. E_NO_EVENT when there is nothing. */
static simplex_rc take_event(simplex_client *c, simplex_client_event **ev)
{
    struct node *n = c->first;

    if (n != NULL) {
        c->first = n->next;
        if (c->first == NULL)
            c->last = NULL;
        c->event_bytes -= n->size;
        *ev = n->ev;
        sx_free(n);
        return SIMPLEX_OK;
    }
    if (!c->lost)
        return SIMPLEX_E_NO_EVENT;
    c->lost = false;
    return SIMPLEX_E_NOMEM;
}

simplex_rc simplex_client_next_event(simplex_client *c, int64_t timeout_ms,
                                     simplex_client_event **ev)
{
    if (c == NULL || ev == NULL)
        return SIMPLEX_E_ARG;
    *ev = NULL;
    if (c->on_event != NULL)
        return SIMPLEX_E_PROHIBITED;
    int64_t until = timeout_ms > INT64_MAX / 2 ? INT64_MAX : sx_mono_ms() + timeout_ms;
    simplex_rc rc;
    uv_mutex_lock(&c->lock);
    while ((rc = take_event(c, ev)) == SIMPLEX_E_NO_EVENT && timeout_ms != 0) {
        if (timeout_ms < 0) {
            uv_cond_wait(&c->arrived, &c->lock);
            continue;
        }
        int64_t left = until - sx_mono_ms();
        if (left <= 0)
            break;
        if (left > 3600000) /* libuv counts in nanoseconds */
            left = 3600000;
        uv_cond_timedwait(&c->arrived, &c->lock, (uint64_t)left * 1000000);
    }
    uv_mutex_unlock(&c->lock);
    return rc;
}

void simplex_client_event_free(simplex_client_event *ev)
{
    sx_free(ev);
}
