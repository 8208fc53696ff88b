/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy.h"

#include "client/hosts.h"
#include "relay.h"

#define BUCKETS 256
#define CLIENT_MIN 2 /* connecting for one client whatever others do */
#define TICK_MAX_MS 60000

struct relay {
    struct relay *next;         /* of those of its address' bucket */
    struct relay *next_session; /* of those of its session's bucket, while up */
    struct sx_proxy *proxy;
    struct sx_client *client;
    struct sx_errand *work; /* PRXY that wait for the session, PFWD that wait for the answer */
    unsigned n_work;
    int64_t used_ms;
    int64_t tried_ms;     /* the attempt began, while `connecting` */
    const void *asker;    /* the client it is for, perhaps gone */
    int64_t failed_until; /* PRXY is answered with failed_rc at once */
    simplex_rc failed_rc;
    bool up, connecting, own;
    uint8_t session[64]; /* while up */
    uint8_t session_len;
};

struct domains {
    size_t n;
    char **name;
};

struct fresh { /* of a reload, on its way to the thread */
    struct sx_proxy_cfg cfg;
    struct domains own;
};

struct sx_proxy {
    uv_loop_t uv;
    uv_async_t async;
    uv_timer_t tick;
    uv_thread_t thread;
    bool has_uv, has_thread;
    struct sx_proxy_cfg cfg; /* without zeros */
    struct domains own;
    struct sx_net *net;
    struct relay *by_address[BUCKETS], *by_session[BUCKETS];
    atomic_size_t n_relays, n_connecting;
    atomic_uint_fast64_t hurried;
    uint8_t body[SX_BLOCK + SX_BOX_TAG]; /* of an RFWD */

    pthread_mutex_t lock; /* of what follows */
    struct sx_errand *inbox_first, *inbox_last;
    unsigned pending, pending_prxy, pending_max; /* submitted and not done */
    uint64_t refused;
    struct fresh *fresh;
    bool stopping;
};

static int64_t now_ms(void)
{
    return (int64_t)(uv_hrtime() / 1000000);
}

/* ---- errands ---- */

/* e has its answer. */
static void done(struct sx_proxy *p, struct sx_errand *e)
{
    pthread_mutex_lock(&p->lock);
    p->pending--;
    p->pending_prxy -= e->tag == SX_PRXY;
    pthread_mutex_unlock(&p->lock);
    sx_errand_done(e);
}

static void fail(struct sx_proxy *p, struct sx_errand *e, simplex_rc rc)
{
    sx_relay_fail(e, rc);
    done(p, e);
}

static void work_add(struct relay *r, struct sx_errand *e)
{
    e->work = r;
    e->work_prev = NULL;
    e->work_next = r->work;
    if (r->work != NULL)
        r->work->work_prev = e;
    r->work = e;
    r->n_work++;
}

static void work_remove(struct relay *r, struct sx_errand *e)
{
    if (e->work_prev == NULL)
        r->work = e->work_next;
    else
        e->work_prev->work_next = e->work_next;
    if (e->work_next != NULL)
        e->work_next->work_prev = e->work_prev;
    r->n_work--;
}

static void fail_work(struct relay *r, simplex_rc rc)
{
    while (r->work != NULL) {
        struct sx_errand *e = r->work;
        work_remove(r, e);
        fail(r->proxy, e, rc);
    }
}

/* ---- relays ---- */

static unsigned address_bucket(const struct sx_server *s)
{
    return s->key_hash[0];
}

static unsigned session_bucket(simplex_bytes id)
{
    return id.len == 0 ? 0 : id.ptr[0];
}

static struct relay *find_address(struct sx_proxy *p, const struct sx_server *s)
{
    struct relay *r = p->by_address[address_bucket(s)];

    while (r != NULL && !sx_server_eq(sx_client_server(r->client), s))
        r = r->next;
    return r;
}

static struct relay *find_session(struct sx_proxy *p, simplex_bytes id)
{
    struct relay *r = p->by_session[session_bucket(id)];

    while (r != NULL && !sx_bytes_eq(sx_bytes(r->session, r->session_len), id))
        r = r->next_session;
    return r;
}

static void session_begins(struct relay *r, const struct sx_session *s)
{
    simplex_bytes id = sx_session_id(s);
    struct relay **bucket = &r->proxy->by_session[session_bucket(id)];

    memcpy(r->session, id.ptr, id.len);
    r->session_len = (uint8_t)id.len;
    r->next_session = *bucket;
    *bucket = r;
    r->up = true;
}

static void session_ends(struct relay *r)
{
    struct relay **at = &r->proxy->by_session[session_bucket(sx_bytes(r->session, r->session_len))];

    if (!r->up)
        return;
    while (*at != r)
        at = &(*at)->next_session;
    *at = r->next_session;
    r->up = false;
}

static void connecting_begins(struct relay *r, const void *client)
{
    if (r->connecting)
        return;
    r->connecting = true;
    r->tried_ms = now_ms();
    r->asker = client;
    atomic_fetch_add(&r->proxy->n_connecting, 1);
}

static void connecting_ends(struct relay *r)
{
    if (r->connecting)
        atomic_fetch_sub(&r->proxy->n_connecting, 1);
    r->connecting = false;
}

static void forget(struct relay *r)
{
    struct sx_proxy *p = r->proxy;
    struct relay **at = &p->by_address[address_bucket(sx_client_server(r->client))];

    session_ends(r);
    connecting_ends(r);
    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    sx_client_set_data(r->client, NULL);
    sx_client_drop(r->client);
    atomic_fetch_sub(&p->n_relays, 1);
    sx_free(r);
}

static bool is_idle(const struct relay *r)
{
    return r->work == NULL;
}

/* Frees a place: that of a failed relay, or of the one that was not used for the longest time. */
static bool make_room(struct sx_proxy *p)
{
    struct relay *oldest = NULL;

    for (unsigned b = 0; b < BUCKETS; b++) {
        for (struct relay *r = p->by_address[b]; r != NULL; r = r->next) {
            if (is_idle(r) && (oldest == NULL || (oldest->up && !r->up) ||
                               (oldest->up == r->up && r->used_ms < oldest->used_ms)))
                oldest = r;
        }
    }
    if (oldest == NULL)
        return false;
    forget(oldest);
    return true;
}

/* The first host, or a domain it belongs to, is one of the operator's. */
static bool is_own(const struct sx_proxy *p, const struct sx_server *s)
{
    const char *host = s->hosts[0].text;
    size_t len = strlen(host);

    for (size_t i = 0; i < p->own.n; i++) {
        size_t n = strlen(p->own.name[i]);
        if (n <= len && strcmp(host + len - n, p->own.name[i]) == 0 &&
            (n == len || host[len - n - 1] == '.'))
            return true;
    }
    return false;
}

/* NULL: *rc says why. */
static struct relay *new_relay(struct sx_proxy *p, const struct sx_server *s, simplex_rc *rc)
{
    *rc = SIMPLEX_E_TIMEOUT; /* too busy */
    if (atomic_load(&p->n_relays) >= p->cfg.relays_max && !make_room(p))
        return NULL;
    struct relay *r = sx_calloc(1, sizeof(*r));
    *rc = SIMPLEX_E_NOMEM;
    if (r == NULL)
        return NULL;
    *rc = sx_net_client(p->net, s, &r->client);
    if (*rc != SIMPLEX_OK) {
        sx_free(r);
        return NULL;
    }
    r->proxy = p;
    r->own = is_own(p, s);
    sx_client_set_data(r->client, r);
    r->next = p->by_address[address_bucket(s)];
    p->by_address[address_bucket(s)] = r;
    atomic_fetch_add(&p->n_relays, 1);
    return r;
}

static void answer_pkey(struct relay *r, struct sx_errand *e)
{
    sx_relay_pkey(e, sx_client_session(r->client), sx_client_hello(r->client));
    done(r->proxy, e);
}

static void on_up(void *user, struct sx_client *c)
{
    struct relay *r = sx_client_data(c);
    struct sx_errand *next;

    (void)user;
    if (r == NULL)
        return;
    connecting_ends(r);
    sx_client_want(c, false); /* it stays up, but does not come again by itself */
    session_begins(r, sx_client_session(c));
    for (struct sx_errand *e = r->work; e != NULL; e = next) {
        next = e->work_next;
        work_remove(r, e);
        answer_pkey(r, e);
    }
}

/* Clients take HOST for a relay that no proxy can use, and may come directly then: a name that does
 * not resolve just now is no such thing, or whoever disturbs our resolver could bring them to it.
 */
static bool did_not_resolve(const struct relay *r, const struct sx_client *c, simplex_rc rc)
{
    struct sx_route routes[SX_HOSTS_MAX];

    return rc == SIMPLEX_E_HOST && sx_routes(&r->proxy->cfg.net, sx_client_server(c), routes) > 0;
}

static void on_down(void *user, struct sx_client *c, simplex_rc rc)
{
    struct relay *r = sx_client_data(c);

    (void)user;
    if (r == NULL)
        return;
    if (r->up) {
        session_ends(r);
        sx_client_want(c, r->work != NULL); /* PRXY that came since; all PFWD were answered */
        return;
    }
    connecting_ends(r);
    sx_client_want(c, false);
    if (did_not_resolve(r, c, rc))
        rc = SIMPLEX_E_CONNECT;
    r->failed_rc = rc;
    if (rc != SIMPLEX_E_NOMEM && rc != SIMPLEX_E_SYSTEM) /* nobody's fault but ours */
        r->failed_until = now_ms() + r->proxy->cfg.failed_ms;
    fail_work(r, rc);
}

/* ---- PRXY ---- */

/* The attempt that has lasted longest. *own: how many are for this client. */
static struct relay *slowest(struct sx_proxy *p, const void *client, unsigned *own)
{
    struct relay *found = NULL;

    *own = 0;
    for (unsigned b = 0; b < BUCKETS; b++) {
        for (struct relay *r = p->by_address[b]; r != NULL; r = r->next) {
            if (!r->connecting)
                continue;
            *own += r->asker == client;
            if (found == NULL || r->tried_ms < found->tried_ms)
                found = r;
        }
    }
    return found;
}

/*
 * A place among those that are being connected to. When half of them are taken, a client has two at
 * most. When all are, one that lasts too long is given up: relays that live answer within seconds.
 */
static bool may_connect(struct sx_proxy *p, const struct relay *r, const void *client)
{
    unsigned half = (p->cfg.relays_max + 1) / 2, own;
    size_t taken = atomic_load(&p->n_connecting);

    if (r->connecting || taken < half / 2)
        return true;
    struct relay *slow = slowest(p, client, &own);
    if (own >= CLIENT_MIN)
        return false;
    if (taken < half)
        return true;
    if (slow == NULL || now_ms() - slow->tried_ms < p->cfg.hurry_ms)
        return false;
    atomic_fetch_add(&p->hurried, 1);
    connecting_ends(slow);
    sx_client_want(slow->client, false);
    slow->failed_rc = SIMPLEX_E_TIMEOUT;
    slow->failed_until = now_ms() + p->cfg.failed_ms;
    fail_work(slow, SIMPLEX_E_TIMEOUT);
    sx_client_disconnect(slow->client, SIMPLEX_E_TIMEOUT);
    return true;
}

static void run_prxy(struct sx_proxy *p, struct sx_errand *e)
{
    struct sx_rd rd = sx_rd_init(sx_bytes(e->body, e->body_len));
    simplex_rc rc = SIMPLEX_OK;
    struct sx_server server;

    sx_server_decode(&rd, &server); /* was encoded by us */
    struct relay *r = find_address(p, &server);
    if (r == NULL)
        r = new_relay(p, &server, &rc);
    if (r == NULL) {
        fail(p, e, rc);
        return;
    }
    e->own = r->own;
    r->used_ms = now_ms();
    if (sx_client_is_up(r->client)) {
        answer_pkey(r, e);
    } else if (!r->up && r->used_ms < r->failed_until) {
        fail(p, e, r->failed_rc);
    } else if (r->n_work >= p->cfg.relay_pending_max || !may_connect(p, r, e->client)) {
        fail(p, e, SIMPLEX_E_TIMEOUT);
    } else {
        e->tried = true;
        work_add(r, e);
        connecting_begins(r, e->client);
        sx_client_want(r->client, true);
    }
}

/* ---- PFWD ---- */

static void on_answer(void *user, void *ctx, simplex_rc rc, const struct sx_rsp *rsp)
{
    struct sx_errand *e = ctx;
    struct relay *r = e->work;

    work_remove(r, e);
    r->used_ms = now_ms();
    sx_relay_answer(e, sx_client_session(r->client), rc, rsp);
    done(user, e);
}

static simplex_rc forward(struct sx_proxy *p, struct relay *r, struct sx_errand *e)
{
    struct sx_cmd cmd = { .tag = SX_RFWD };
    struct sx_request req = { .cmd = &cmd, .corr_id = e->nonce, .done = on_answer, .ctx = e };
    struct sx_wr w;

    sx_wr_fixed(&w, p->body, sizeof(p->body));
    simplex_rc rc = sx_relay_wrap(e, sx_client_session(r->client), NULL, &w);
    if (rc != SIMPLEX_OK)
        return rc;
    cmd.rfwd.body = sx_wr_bytes(&w);
    return sx_client_send(r->client, &req);
}

static void run_pfwd(struct sx_proxy *p, struct sx_errand *e)
{
    static const struct sx_smp_err no_session = { .err = SX_ERR_PROXY,
                                                  .proxy = SX_PROXY_NO_SESSION };
    struct relay *r = find_session(p, sx_errand_entity(e));

    /* Between the loss of a session and the callback that tells it, there is none either. */
    if (r == NULL || !sx_client_is_up(r->client)) {
        sx_errand_fail(e, &no_session, SX_ERRAND_CONNECT);
        done(p, e);
        return;
    }
    e->own = r->own;
    r->used_ms = now_ms();
    simplex_rc rc = r->n_work < p->cfg.relay_pending_max ? forward(p, r, e) : SIMPLEX_E_TIMEOUT;
    if (rc != SIMPLEX_OK) {
        fail(p, e, rc);
        return;
    }
    sx_free(e->body); /* the client of the relay has its copy */
    e->body = NULL;
    e->body_len = 0;
    work_add(r, e);
}

/* ---- the thread ---- */

static void on_tick(uv_timer_t *t)
{
    struct sx_proxy *p = t->data;
    int64_t now = now_ms();
    struct relay *next;

    for (unsigned b = 0; b < BUCKETS; b++) {
        for (struct relay *r = p->by_address[b]; r != NULL; r = next) {
            next = r->next;
            if (is_idle(r) && (r->up ? now - r->used_ms >= p->cfg.idle_ms : now >= r->failed_until))
                forget(r);
        }
    }
}

static int start_tick(struct sx_proxy *p)
{
    int64_t ms = p->cfg.idle_ms < p->cfg.failed_ms ? p->cfg.idle_ms : p->cfg.failed_ms;

    ms = ms > TICK_MAX_MS ? TICK_MAX_MS : ms;
    return uv_timer_start(&p->tick, on_tick, (uint64_t)ms, (uint64_t)ms);
}

static void close_handle(uv_handle_t *h, void *arg)
{
    (void)arg;
    if (!uv_is_closing(h))
        uv_close(h, NULL);
}

static void domains_free(struct domains *d)
{
    for (size_t i = 0; i < d->n; i++)
        sx_free(d->name[i]);
    sx_free(d->name);
    *d = (struct domains){ 0 };
}

static void fresh_free(struct fresh *f)
{
    if (f != NULL)
        domains_free(&f->own);
    sx_free(f);
}

static void take_fresh(struct sx_proxy *p, struct fresh *f)
{
    struct domains old = p->own;

    p->cfg.relays_max = f->cfg.relays_max;
    p->cfg.relay_pending_max = f->cfg.relay_pending_max;
    p->cfg.idle_ms = f->cfg.idle_ms;
    p->cfg.failed_ms = f->cfg.failed_ms;
    p->own = f->own;
    f->own = old;
    fresh_free(f);
    if (!uv_is_closing((uv_handle_t *)&p->tick))
        (void)start_tick(p);
}

static void on_net_closed(void *user)
{
    struct sx_proxy *p = user;

    uv_close((uv_handle_t *)&p->async, NULL);
    uv_close((uv_handle_t *)&p->tick, NULL);
}

static void shut_down(struct sx_proxy *p)
{
    struct relay *next;

    if (p->net == NULL)
        return;
    for (unsigned b = 0; b < BUCKETS; b++) {
        for (struct relay *r = p->by_address[b]; r != NULL; r = next) {
            next = r->next;
            fail_work(r, SIMPLEX_E_CLOSED);
            sx_free(r);
        }
        p->by_address[b] = p->by_session[b] = NULL;
    }
    sx_net_close(p->net, on_net_closed, p); /* drops what was sent, without a callback */
    p->net = NULL;
}

static void on_async(uv_async_t *a)
{
    struct sx_proxy *p = a->data;
    struct sx_errand *next;

    pthread_mutex_lock(&p->lock);
    struct sx_errand *list = p->inbox_first;
    p->inbox_first = p->inbox_last = NULL;
    bool stopping = p->stopping;
    struct fresh *fresh = p->fresh;
    p->fresh = NULL;
    pthread_mutex_unlock(&p->lock);
    if (fresh != NULL)
        take_fresh(p, fresh);
    for (struct sx_errand *e = list; e != NULL; e = next) {
        next = e->next;
        if (stopping)
            fail(p, e, SIMPLEX_E_CLOSED);
        else if (e->tag == SX_PRXY)
            run_prxy(p, e);
        else
            run_pfwd(p, e);
    }
    if (stopping)
        shut_down(p);
}

bool sx_proxy_submit(void *proxy, struct sx_errand *e)
{
    struct sx_proxy *p = proxy;

    pthread_mutex_lock(&p->lock);
    bool prxy = e->tag == SX_PRXY;
    bool taken = !p->stopping && p->pending < p->pending_max &&
                 (!prxy || p->pending_prxy < (p->pending_max + 1) / 2);
    p->refused += !taken;
    if (taken) {
        p->pending++;
        p->pending_prxy += prxy;
        e->next = NULL;
        if (p->inbox_last == NULL)
            p->inbox_first = e;
        else
            p->inbox_last->next = e;
        p->inbox_last = e;
        uv_async_send(&p->async); /* under the lock: the handle is not closed before `stopping` */
    }
    pthread_mutex_unlock(&p->lock);
    return taken;
}

static void thread_main(void *arg)
{
    struct sx_proxy *p = arg;

    sx_thread_ignore_sigpipe();
    uv_run(&p->uv, UV_RUN_DEFAULT);
}

/* ---- life ---- */

static int64_t or_default(int64_t value, int64_t otherwise)
{
    return value > 0 ? value : otherwise;
}

static void fill_defaults(struct sx_proxy_cfg *c)
{
    c->relays_max = (unsigned)or_default(c->relays_max, SX_PROXY_RELAYS_MAX);
    c->pending_max = (unsigned)or_default(c->pending_max, SX_PROXY_PENDING_MAX);
    c->relay_pending_max = (unsigned)or_default(c->relay_pending_max, SX_PROXY_RELAY_PENDING);
    c->idle_ms = or_default(c->idle_ms, SX_PROXY_IDLE_MS);
    c->failed_ms = or_default(c->failed_ms, SX_PROXY_FAILED_MS);
    c->hurry_ms = or_default(c->hurry_ms, SX_PROXY_HURRY_MS);
    c->net.proxy = true;
    c->net.min_version = SX_PROXY_MIN_VERSION;
    c->net.max_version = SX_SMP_MAX;
    c->net.isolation = SX_ISOLATE_SERVER; /* a circuit for each relay */
    c->net.failed_cache = 1;              /* failures are remembered here */
}

static simplex_rc copy_domains(const struct sx_proxy_cfg *cfg, struct domains *to)
{
    *to = (struct domains){ 0 };
    if (cfg->n_own_domains == 0)
        return SIMPLEX_OK;
    to->name = sx_calloc(cfg->n_own_domains, sizeof(*to->name));
    if (to->name == NULL)
        return SIMPLEX_E_NOMEM;
    for (; to->n < cfg->n_own_domains; to->n++) {
        to->name[to->n] = sx_strdup(cfg->own_domains[to->n]);
        if (to->name[to->n] == NULL)
            return SIMPLEX_E_NOMEM;
    }
    return SIMPLEX_OK;
}

static simplex_rc start_loop(struct sx_proxy *p)
{
    static const struct sx_net_callbacks callbacks = { .up = on_up, .down = on_down };

    if (uv_loop_init(&p->uv) != 0)
        return SIMPLEX_E_SYSTEM;
    p->has_uv = true;
    if (uv_async_init(&p->uv, &p->async, on_async) != 0 || uv_timer_init(&p->uv, &p->tick) != 0)
        return SIMPLEX_E_SYSTEM;
    p->async.data = p->tick.data = p;
    if (start_tick(p) != 0)
        return SIMPLEX_E_SYSTEM;
    simplex_rc rc = sx_net_open(&p->uv, &p->cfg.net, &callbacks, p, "proxy", &p->net);
    if (rc != SIMPLEX_OK)
        return rc;
    if (uv_thread_create(&p->thread, thread_main, p) != 0)
        return SIMPLEX_E_SYSTEM;
    p->has_thread = true;
    return SIMPLEX_OK;
}

simplex_rc sx_proxy_start(const struct sx_proxy_cfg *cfg, struct sx_proxy **out)
{
    struct sx_proxy *p = sx_calloc(1, sizeof(*p));

    *out = NULL;
    if (p == NULL)
        return SIMPLEX_E_NOMEM;
    if (pthread_mutex_init(&p->lock, NULL) != 0) {
        sx_free(p);
        return SIMPLEX_E_SYSTEM;
    }
    p->cfg = *cfg;
    p->cfg.own_domains = NULL; /* the caller's */
    fill_defaults(&p->cfg);
    p->pending_max = p->cfg.pending_max;
    simplex_rc rc = copy_domains(cfg, &p->own);
    if (rc == SIMPLEX_OK)
        rc = start_loop(p);
    if (rc != SIMPLEX_OK) {
        sx_proxy_free(p);
        return rc;
    }
    *out = p;
    return SIMPLEX_OK;
}

simplex_rc sx_proxy_reload(struct sx_proxy *p, const struct sx_proxy_cfg *cfg)
{
    struct fresh *f = sx_calloc(1, sizeof(*f));

    if (f == NULL)
        return SIMPLEX_E_NOMEM;
    f->cfg = *cfg;
    f->cfg.net = (struct sx_net_cfg){ 0 };
    fill_defaults(&f->cfg);
    simplex_rc rc = copy_domains(cfg, &f->own);
    if (rc != SIMPLEX_OK) {
        fresh_free(f);
        return rc;
    }
    pthread_mutex_lock(&p->lock);
    struct fresh *old = p->fresh;
    p->fresh = f;
    p->pending_max = f->cfg.pending_max;
    if (!p->stopping)
        uv_async_send(&p->async);
    pthread_mutex_unlock(&p->lock);
    fresh_free(old);
    return SIMPLEX_OK;
}

void sx_proxy_stop(struct sx_proxy *p)
{
    if (p == NULL || !p->has_uv)
        return;
    if (p->has_thread) {
        pthread_mutex_lock(&p->lock);
        p->stopping = true;
        uv_async_send(&p->async);
        pthread_mutex_unlock(&p->lock);
        uv_thread_join(&p->thread);
    } else { /* the start failed half-way */
        sx_net_close(p->net, NULL, NULL);
        uv_walk(&p->uv, close_handle, NULL);
        uv_run(&p->uv, UV_RUN_DEFAULT);
    }
    uv_loop_close(&p->uv);
    p->has_uv = p->has_thread = false;
}

void sx_proxy_free(struct sx_proxy *p)
{
    if (p == NULL)
        return;
    sx_proxy_stop(p);
    domains_free(&p->own);
    fresh_free(p->fresh);
    pthread_mutex_destroy(&p->lock);
    sx_free_secret(p, sizeof(*p));
}

size_t sx_proxy_relays(struct sx_proxy *p)
{
    return atomic_load(&p->n_relays);
}

void sx_proxy_figures(struct sx_proxy *p, struct sx_proxy_figures *out)
{
    *out = (struct sx_proxy_figures){ .relays = atomic_load(&p->n_relays),
                                      .connecting = atomic_load(&p->n_connecting),
                                      .hurried = atomic_load(&p->hurried) };
    pthread_mutex_lock(&p->lock);
    out->pending = p->pending;
    out->refused = p->refused;
    pthread_mutex_unlock(&p->lock);
}
