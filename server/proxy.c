/* SPDX-License-Identifier: Apache-2.0 */
/* The thread of the proxy, and its life. */
#include "proxy_internal.h"

#define TICK_MAX_MS 60000

/* ---- errands ---- */

void sx_proxy_done(struct sx_proxy *p, struct sx_errand *e)
{
    pthread_mutex_lock(&p->lock);
    p->pending--;
    p->pending_prxy -= e->tag == SX_PRXY;
    pthread_mutex_unlock(&p->lock);
    sx_errand_done(e);
}

void sx_proxy_fail(struct sx_proxy *p, struct sx_errand *e, simplex_rc rc)
{
    sx_relay_fail(e, rc);
    sx_proxy_done(p, e);
}

/* ---- the thread ---- */

static void on_tick(uv_timer_t *t)
{
    sx_proxy_sweep(t->data);
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

static void domains_free(struct sx_proxy_domains *d)
{
    for (size_t i = 0; i < d->n; i++)
        sx_free(d->name[i]);
    sx_free(d->name);
    *d = (struct sx_proxy_domains){ 0 };
}

static void fresh_free(struct sx_proxy_fresh *f)
{
    if (f != NULL)
        domains_free(&f->own);
    sx_free(f);
}

static void take_fresh(struct sx_proxy *p, struct sx_proxy_fresh *f)
{
    struct sx_proxy_domains old = p->own;

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
    if (p->net == NULL)
        return;
    sx_proxy_drop_relays(p);
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
    struct sx_proxy_fresh *fresh = p->fresh;
    p->fresh = NULL;
    pthread_mutex_unlock(&p->lock);
    if (fresh != NULL)
        take_fresh(p, fresh);
    for (struct sx_errand *e = list; e != NULL; e = next) {
        next = e->next;
        if (stopping)
            sx_proxy_fail(p, e, SIMPLEX_E_CLOSED);
        else
            sx_proxy_run(p, e);
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

static simplex_rc copy_domains(const struct sx_proxy_cfg *cfg, struct sx_proxy_domains *to)
{
    *to = (struct sx_proxy_domains){ 0 };
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
    static const struct sx_net_callbacks callbacks = { .up = sx_proxy_on_up,
                                                       .down = sx_proxy_on_down };

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
    struct sx_proxy_fresh *f = sx_calloc(1, sizeof(*f));

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
    struct sx_proxy_fresh *old = p->fresh;
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
