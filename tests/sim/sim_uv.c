/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In the place of libuv: the loops of all devices and proxies in one thread and in virtual time. A
 * loop runs when the world lets something happen to it, or when its device's application waits for
 * it.
 */
#include <stdlib.h>
#include <uv.h>

#include "sim/sim.h"

#define TURNS_MAX 10000 /* of a loop that does not come to rest */

struct handle {
    struct handle *next;
    uv_handle_t *h;
    void (*cb)(uv_handle_t *h);
    uv_close_cb closed;
    int64_t due;    /* of timers */
    int64_t repeat; /* ms; 0: once */
    uint64_t order; /* in which they were started */
    bool active, sent, closing;
};

static struct loop {
    uv_loop_t *loop;
    struct handle *handles;
    bool has_thread;
} loops[SIM_NODES + SIM_SERVERS];

static uint64_t starts;

static struct loop *loop_of(const uv_loop_t *l)
{
    for (size_t i = 0; i < SX_COUNT(loops); i++) {
        if (loops[i].loop == l)
            return &loops[i];
    }
    sim_fail("a handle of an unknown loop");
}

static struct handle *of(const void *handle)
{
    return ((const uv_handle_t *)handle)->u.reserved[0];
}

/* ---- handles ---- */

static void add(uv_loop_t *l, void *handle, uv_handle_type type)
{
    struct loop *loop = loop_of(l);
    struct handle *x = calloc(1, sizeof *x);
    uv_handle_t *h = handle;

    SIM_CHECK(x != NULL);
    h->loop = l;
    h->type = type;
    h->u.reserved[0] = x;
    x->h = h;
    x->next = loop->handles;
    loop->handles = x;
}

static void start(struct handle *x, void (*cb)(uv_handle_t *h))
{
    SIM_CHECK(!x->closing);
    x->active = true;
    x->cb = cb;
    x->order = ++starts;
}

/* The kinds differ in the type of their callbacks' argument alone. */
#define CB(cb) ((void (*)(uv_handle_t *))(void (*)(void))(cb))

int uv_loop_init(uv_loop_t *l)
{
    struct loop *loop = &loops[sim.at->n];

    SIM_CHECK(loop->loop == NULL);
    loop->loop = l;
    loop->has_thread = false;
    return 0;
}

int uv_loop_close(uv_loop_t *l)
{
    struct loop *loop = loop_of(l);

    SIM_CHECK(loop->handles == NULL);
    loop->loop = NULL;
    return 0;
}

void uv_update_time(uv_loop_t *l)
{
    (void)l;
}

uint64_t uv_hrtime(void)
{
    return (uint64_t)sx_mono_ms() * 1000000;
}

int uv_async_init(uv_loop_t *l, uv_async_t *h, uv_async_cb cb)
{
    add(l, h, UV_ASYNC);
    start(of(h), CB(cb));
    return 0;
}

int uv_async_send(uv_async_t *h)
{
    if (!of(h)->closing)
        of(h)->sent = true;
    return 0;
}

int uv_check_init(uv_loop_t *l, uv_check_t *h)
{
    add(l, h, UV_CHECK);
    return 0;
}

int uv_check_start(uv_check_t *h, uv_check_cb cb)
{
    start(of(h), CB(cb));
    return 0;
}

int uv_check_stop(uv_check_t *h)
{
    of(h)->active = false;
    return 0;
}

int uv_prepare_init(uv_loop_t *l, uv_prepare_t *h)
{
    add(l, h, UV_PREPARE);
    return 0;
}

int uv_prepare_start(uv_prepare_t *h, uv_prepare_cb cb)
{
    start(of(h), CB(cb));
    return 0;
}

int uv_prepare_stop(uv_prepare_t *h)
{
    of(h)->active = false;
    return 0;
}

int uv_idle_init(uv_loop_t *l, uv_idle_t *h)
{
    add(l, h, UV_IDLE);
    return 0;
}

int uv_idle_start(uv_idle_t *h, uv_idle_cb cb)
{
    start(of(h), CB(cb));
    return 0;
}

int uv_idle_stop(uv_idle_t *h)
{
    of(h)->active = false;
    return 0;
}

int uv_timer_init(uv_loop_t *l, uv_timer_t *h)
{
    add(l, h, UV_TIMER);
    return 0;
}

int uv_timer_start(uv_timer_t *h, uv_timer_cb cb, uint64_t timeout, uint64_t repeat)
{
    if (of(h)->closing)
        return UV_EINVAL;
    start(of(h), CB(cb));
    of(h)->due = timeout > INT64_MAX / 2 ? INT64_MAX : sim.now + (int64_t)timeout;
    of(h)->repeat = (int64_t)repeat;
    return 0;
}

int uv_timer_stop(uv_timer_t *h)
{
    of(h)->active = false;
    return 0;
}

int uv_is_closing(const uv_handle_t *h)
{
    return of(h)->closing;
}

void uv_close(uv_handle_t *h, uv_close_cb cb)
{
    SIM_CHECK(!of(h)->closing);
    of(h)->closing = true;
    of(h)->active = of(h)->sent = false;
    of(h)->closed = cb;
}

/* ---- a turn ---- */

static void run_kind(struct loop *l, uv_handle_type type)
{
    for (struct handle *x = l->handles; x != NULL; x = x->next) {
        if (x->active && x->h->type == type)
            x->cb(x->h);
    }
}

static struct handle *next_timer(const struct loop *l)
{
    struct handle *first = NULL;

    for (struct handle *x = l->handles; x != NULL; x = x->next) {
        if (x->active && x->h->type == UV_TIMER &&
            (first == NULL || x->due < first->due ||
             (x->due == first->due && x->order < first->order)))
            first = x;
    }
    return first;
}

static void run_timers(struct loop *l)
{
    uint64_t last = starts; /* those that are started meanwhile wait for the next turn */
    struct handle *x;

    while ((x = next_timer(l)) != NULL && x->due <= sim.now && x->order <= last) {
        x->active = x->repeat > 0;
        x->due = sim.now + x->repeat;
        x->order = x->active ? ++starts : x->order;
        x->cb(x->h);
    }
}

static void run_async(struct loop *l)
{
    for (struct handle *x = l->handles; x != NULL; x = x->next) {
        if (!x->sent)
            continue;
        x->sent = false;
        x->cb(x->h);
    }
}

static void run_closing(struct loop *l)
{
    struct handle **at = &l->handles, *x;

    while ((x = *at) != NULL) {
        if (!x->closing) {
            at = &x->next;
            continue;
        }
        *at = x->next;
        if (x->closed != NULL)
            x->closed(x->h);
        free(x);
        at = &l->handles; /* the callback may have made or closed others */
    }
}

static bool restless(const struct loop *l)
{
    for (const struct handle *x = l->handles; x != NULL; x = x->next) {
        if (x->closing || x->sent || (x->active && x->h->type == UV_IDLE) ||
            (x->active && x->h->type == UV_TIMER && x->due <= sim.now))
            return true;
    }
    return false;
}

static void turn(struct loop *l, void (*fn)(void *arg), void *arg)
{
    bool before = sim.looping;

    sim.looping = true;
    run_timers(l);
    run_kind(l, UV_IDLE);
    run_kind(l, UV_PREPARE);
    if (fn != NULL)
        fn(arg);
    run_async(l);
    run_kind(l, UV_CHECK);
    run_closing(l);
    sim.looping = before;
}

void sim_turn(struct sim_node *n, void (*fn)(void *arg), void *arg)
{
    struct loop *l = &loops[n->n];
    unsigned turns = 0;

    SIM_CHECK(l->loop != NULL);
    do {
        turn(l, fn, arg);
        fn = NULL;
        if (++turns > TURNS_MAX)
            sim_fail("the loop of %u does not come to rest", n->n);
    } while (l->loop != NULL && restless(l));
}

int64_t sim_due(const struct sim_node *n)
{
    const struct loop *l = &loops[n->n];

    if (l->loop == NULL)
        return INT64_MAX;
    if (restless(l))
        return sim.now;
    const struct handle *x = next_timer(l);
    return x != NULL ? x->due : INT64_MAX;
}

void sim_loop_forget(struct sim_node *n)
{
    struct loop *l = &loops[n->n];

    while (l->handles != NULL) {
        struct handle *x = l->handles;
        l->handles = x->next;
        free(x);
    }
    l->loop = NULL;
}

/* Until nothing is left in it. */
int uv_run(uv_loop_t *l, uv_run_mode mode)
{
    struct loop *loop = loop_of(l);

    SIM_CHECK(mode == UV_RUN_DEFAULT);
    for (unsigned turns = 0; loop->handles != NULL; turns++) {
        if (turns > TURNS_MAX)
            sim_fail("a loop does not end");
        turn(loop, NULL, NULL);
    }
    return 0;
}

/* ---- threads: there is one, which is the loop's or the application's ---- */

int uv_thread_create(uv_thread_t *tid, uv_thread_cb entry, void *arg)
{
    (void)entry; /* runs the loop, which is done here */
    (void)arg;
    *tid = (uv_thread_t)(1 + sim.at->n);
    loops[sim.at->n].has_thread = true;
    return 0;
}

int uv_thread_join(uv_thread_t *tid)
{
    (void)tid;
    return uv_run(loops[sim.at->n].loop, UV_RUN_DEFAULT);
}

uv_thread_t uv_thread_self(void)
{
    return (uv_thread_t)(sim.looping ? 1 + sim.at->n : 100 + SIM_NODES + SIM_SERVERS);
}

int uv_thread_equal(const uv_thread_t *a, const uv_thread_t *b)
{
    return *a == *b;
}

int uv_mutex_init(uv_mutex_t *m)
{
    (void)m;
    return 0;
}

void uv_mutex_destroy(uv_mutex_t *m)
{
    (void)m;
}

void uv_mutex_lock(uv_mutex_t *m)
{
    (void)m;
    sim_point();
}

void uv_mutex_unlock(uv_mutex_t *m)
{
    (void)m;
}

int uv_cond_init(uv_cond_t *c)
{
    (void)c;
    return 0;
}

void uv_cond_destroy(uv_cond_t *c)
{
    (void)c;
}

void uv_cond_signal(uv_cond_t *c)
{
    (void)c;
}

void uv_cond_broadcast(uv_cond_t *c)
{
    (void)c;
}

/* The application waits for the loop: what it waits for happens within a few turns. */
void uv_cond_wait(uv_cond_t *c, uv_mutex_t *m)
{
    static int64_t when;
    static unsigned waits;

    (void)c;
    (void)m;
    SIM_CHECK(sim.at != NULL && !sim.looping);
    waits = when == sim.now ? waits + 1 : 0;
    when = sim.now;
    if (waits > TURNS_MAX)
        sim_fail("%u waits for ever", sim.at->n);
    turn(&loops[sim.at->n], NULL, NULL);
}

int uv_cond_timedwait(uv_cond_t *c, uv_mutex_t *m, uint64_t timeout)
{
    (void)c;
    (void)m;
    (void)timeout;
    sim_fail("nothing here waits for time to pass");
}
