/* SPDX-License-Identifier: Apache-2.0 */
/* Threads, and the phases of a run: connect, make queues, run, wait for answers, close. */
#include "bench/load/engine.h"

#include <sys/resource.h>

#define TICK_MS 20
#define WATCH_MS 100

unsigned long load_raise_files(void)
{
    struct rlimit r;

    if (getrlimit(RLIMIT_NOFILE, &r) != 0)
        return 1024;
    r.rlim_cur = r.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &r) != 0 && getrlimit(RLIMIT_NOFILE, &r) != 0)
        return 1024;
    return (unsigned long)r.rlim_cur;
}

/* ---- a thread ---- */

static void enter(struct thread *t, enum load_phase phase)
{
    t->phase = phase;
    if (phase == LOAD_CONNECT && t->o->mode != LOAD_STORM)
        links_open(t);
    else if (phase == LOAD_PREPARE)
        work_prepare(t);
    else if (phase == LOAD_RUN && t->o->mode == LOAD_STORM)
        links_open(t);
    else if (phase == LOAD_RUN)
        work_run(t);
    else if (phase == LOAD_DRAIN && t->o->mode == LOAD_IDLE)
        work_ping(t);
}

static bool storm_over(struct thread *t)
{
    if (t->resolved < t->n_links)
        return false;
    if (atomic_load(&t->control->over))
        return true;
    links_close(t);
    links_open(t);
    return false;
}

/* The senders' keys follow when the queues exist. */
static bool prepared(struct thread *t)
{
    if (t->prepared < t->wanted)
        return false;
    if (t->keyed)
        return true;
    t->keyed = work_skey(t);
    return false;
}

/* The recipients' thread is the last: that of their senders may send more until it has seen that
 * this phase has begun. */
static bool drained(const struct thread *t)
{
    if (t->other != NULL && atomic_load(&t->other->finished) < LOAD_DRAIN)
        return false;
    for (unsigned i = 0; i < t->n_links; i++)
        if (t->links[i].first != NULL) /* not written yet */
            return false;
    return work_pending(t) == 0;
}

static bool phase_done(struct thread *t)
{
    switch (t->phase) {
    case LOAD_CONNECT:
        return t->o->mode == LOAD_STORM || t->resolved == t->n_links;
    case LOAD_PREPARE:
        return prepared(t);
    case LOAD_RUN:
        if (t->o->mode == LOAD_STORM)
            return storm_over(t);
        return t->o->mode == LOAD_CYCLE && t->o->messages > 0 &&
               (uint64_t)atomic_load(&t->owner->done) >= t->o->messages / t->groups;
    case LOAD_DRAIN:
        return drained(t);
    default:
        return false;
    }
}

static void close_thread(struct thread *t)
{
    t->closing = true;
    t->r.unanswered = work_pending(t);
    links_close(t);
    sx_net_close(t->net, NULL, NULL);
    pthread_mutex_lock(&t->lock);
    t->deaf = true;
    pthread_mutex_unlock(&t->lock);
    uv_close((uv_handle_t *)&t->asks, NULL);
    uv_close((uv_handle_t *)&t->tick, NULL);
    uv_close((uv_handle_t *)&t->check, NULL);
    uv_close((uv_handle_t *)&t->prepare, NULL);
}

static void on_tick(uv_timer_t *h)
{
    struct thread *t = h->data;
    enum load_phase wanted = (enum load_phase)atomic_load(&t->control->phase);

    if (t->closing)
        return;
    if (wanted == LOAD_CLOSE) {
        close_thread(t);
        return;
    }
    if (wanted != t->phase)
        enter(t, wanted);
    if (atomic_load(&t->finished) < (int)t->phase && phase_done(t))
        atomic_store(&t->finished, (int)t->phase);
}

static void on_check(uv_check_t *h)
{
    links_flush(h->data);
}

static void on_prepare(uv_prepare_t *h)
{
    links_flush(h->data);
}

static void on_asks(uv_async_t *h)
{
    work_asked(h->data);
}

static void thread_main(void *arg)
{
    struct thread *t = arg;

    sx_thread_ignore_sigpipe();
    enter(t, LOAD_CONNECT);
    uv_run(&t->loop, UV_RUN_DEFAULT);
    uv_loop_close(&t->loop);
}

/* With its links and queues made. */
static bool open_loop(struct thread *t)
{
    static const struct sx_net_callbacks none;
    const struct load_options *o = t->o;
    struct sx_net_cfg net = {
        .connect_timeout = o->timeout_ms,
        .has_socks = o->socks,
        .socks_port = o->socks_port,
        .min_version = o->min,
        .max_version = o->max,
    };

    if (uv_loop_init(&t->loop) != 0)
        return false;
    if (sx_net_open(&t->loop, &net, &none, NULL, NULL, &t->net) != SIMPLEX_OK)
        return false;
    if (uv_async_init(&t->loop, &t->asks, on_asks) != 0)
        return false;
    uv_timer_init(&t->loop, &t->tick);
    uv_check_init(&t->loop, &t->check);
    uv_prepare_init(&t->loop, &t->prepare);
    t->asks.data = t->tick.data = t->check.data = t->prepare.data = t;
    uv_timer_start(&t->tick, on_tick, TICK_MS, TICK_MS);
    uv_check_start(&t->check, on_check);
    uv_prepare_start(&t->prepare, on_prepare);
    return true;
}

static void free_thread(struct thread *t)
{
    for (unsigned i = 0; i < t->n_queues && !t->senders; i++)
        sx_free(t->queues[i].sent_us);
    if (!t->senders)
        sx_free(t->queues);
    sx_free(t->links);
    sx_keypair_wipe(&t->rcv_key);
    sx_keypair_wipe(&t->snd_key);
    sx_keypair_wipe(&t->dh);
    pthread_mutex_destroy(&t->lock);
}

/* ---- all of them ---- */

struct run {
    const struct load_options *o;
    struct thread *threads;
    unsigned n;
    struct load_control control;
    bool (*progress)(void *user, const struct load_snapshot *s);
    void *user;
};

static bool all_finished(const struct run *r, enum load_phase phase)
{
    for (unsigned i = 0; i < r->n; i++)
        if (atomic_load(&r->threads[i].finished) < (int)phase)
            return false;
    return true;
}

static struct load_snapshot look(const struct run *r, enum load_phase phase, double seconds)
{
    struct load_snapshot s = { .phase = phase, .seconds = seconds };

    for (unsigned i = 0; i < r->n; i++) {
        s.ready += atomic_load(&r->threads[i].ready);
        s.done += atomic_load(&r->threads[i].done);
        s.blocks += atomic_load(&r->threads[i].blocks);
        s.errors += atomic_load(&r->threads[i].errors);
    }
    return s;
}

/* Until all threads have done with the phase, or the time is over; returns the seconds it took. */
static double run_phase(struct run *r, enum load_phase phase, double seconds)
{
    int64_t start = sx_mono_us();
    double took = 0;
    bool enough = false;

    atomic_store(&r->control.phase, (int)phase);
    while (!all_finished(r, phase) && !enough && (seconds <= 0 || took < seconds)) {
        uv_sleep(WATCH_MS);
        took = (double)(sx_mono_us() - start) / 1e6;
        struct load_snapshot s = look(r, phase, took);
        bool go_on = r->progress == NULL || r->progress(r->user, &s);
        enough = phase == LOAD_RUN && !go_on && !atomic_load(&r->control.over);
    }
    return (double)(sx_mono_us() - start) / 1e6;
}

static void run_phases(struct run *r, struct load_result *out)
{
    const struct load_options *o = r->o;
    double timeout = (double)o->timeout_ms / 1000;
    double queues = (double)o->connections * o->queues;

    out->connect_seconds = run_phase(r, LOAD_CONNECT, 0);
    if (o->mode != LOAD_STORM && look(r, LOAD_CONNECT, 0).ready == 0)
        return;
    out->prepare_seconds = run_phase(r, LOAD_PREPARE, timeout + queues / 100);
    if (o->only_prepare)
        return;
    out->seconds = run_phase(r, LOAD_RUN, o->seconds);
    if (o->mode == LOAD_STORM) { /* the round that has begun is finished */
        atomic_store(&r->control.over, true);
        out->seconds += run_phase(r, LOAD_RUN, 0);
    }
    (void)run_phase(r, LOAD_DRAIN, timeout);
}

static void collect(struct load_result *out, const struct thread *t)
{
    const struct load_result *r = &t->r;

    out->ready += r->ready;
    out->version = r->version > out->version ? r->version : out->version;
    out->done += atomic_load(&t->done);
    out->unanswered += r->unanswered;
    hist_merge(&out->connect, &r->connect);
    hist_merge(&out->send, &r->send);
    hist_merge(&out->deliver, &r->deliver);
    hist_merge(&out->ack, &r->ack);
    hist_merge(&out->sub, &r->sub);
    hist_merge(&out->ping, &r->ping);
    for (size_t i = 0; i < r->errors.n; i++)
        errors_add(&out->errors, "", r->errors.kind[i].kind, r->errors.kind[i].n);
}

/* The connections of each of `groups`: whole pairs, when they make cycles. */
static unsigned share(const struct load_options *o, unsigned groups, unsigned i)
{
    unsigned unit = o->mode == LOAD_CYCLE ? 2 : 1, units = o->connections / unit;

    return (units / groups + (i < units % groups ? 1 : 0)) * unit;
}

/*
 * Both ends of a cycle belong to one thread. With more threads than pairs senders and recipients
 * have threads of their own, as they are on machines of their own elsewhere: two threads a group.
 */
static bool make_threads(struct run *r)
{
    const struct load_options *o = r->o;
    bool apart = o->mode == LOAD_CYCLE && o->threads > o->connections / 2;
    unsigned each = apart ? 2 : 1, groups = o->threads / each;
    bool ok = true;

    r->n = groups * each;
    for (unsigned i = 0; i < r->n; i++) {
        struct thread *t = &r->threads[i];
        t->o = o;
        t->control = &r->control;
        t->groups = groups;
        t->owner = &r->threads[i - i % each];
        t->senders = t->owner != t;
        t->other = apart && !t->senders ? t + 1 : NULL;
        atomic_store(&t->finished, -1);
        ok = pthread_mutex_init(&t->lock, NULL) == 0 && ok;
        ok = links_make(t, share(o, groups, i / each) / each) && ok;
    }
    for (unsigned i = 0; ok && i < r->n; i++)
        ok = queues_make(&r->threads[i]) && open_loop(&r->threads[i]);
    return ok;
}

bool load_run(const struct load_options *o,
              bool (*progress)(void *user, const struct load_snapshot *s), void *user,
              struct load_result *out)
{
    struct run r = { .o = o, .progress = progress, .user = user };
    bool ok = sx_crypto_init() == SIMPLEX_OK;
    unsigned started = 0;

    memset(out, 0, sizeof(*out));
    r.threads = sx_calloc(o->threads, sizeof(*r.threads));
    ok = ok && r.threads != NULL && make_threads(&r);
    while (ok && started < r.n) {
        ok = uv_thread_create(&r.threads[started].id, thread_main, &r.threads[started]) == 0;
        started += ok ? 1 : 0;
    }
    if (ok)
        run_phases(&r, out);
    atomic_store(&r.control.phase, (int)LOAD_CLOSE);
    for (unsigned i = 0; i < started; i++)
        uv_thread_join(&r.threads[i].id);
    for (unsigned i = 0; i < r.n; i++) {
        collect(out, &r.threads[i]);
        free_thread(&r.threads[i]);
    }
    sx_free(r.threads);
    return ok && out->ready > 0;
}
