/* SPDX-License-Identifier: Apache-2.0 */
/* The committing thread. */
#include "commit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

struct sx_commit {
    struct sx_commit_cfg cfg;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wanted;
    atomic_bool requested;
    bool stopping;
    simplex_rc last;
    atomic_uint_fast64_t epoch;   /* open: stamps are taken from it */
    atomic_uint_fast64_t durable; /* this epoch and all before are on disk */
    atomic_uint_fast64_t lost;    /* those up to here failed, unless they are durable by now */
    atomic_uint_fast64_t commits, failures, total_us, max_us;
};

static int64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* ---- what everybody calls ---- */

bool sx_commit_works(const struct sx_commit *c)
{
    return atomic_load(&c->lost) <= atomic_load(&c->durable);
}

uint64_t sx_commit_stamp(struct sx_commit *c)
{
    return atomic_load(&c->epoch);
}

void sx_commit_request(struct sx_commit *c)
{
    if (atomic_exchange(&c->requested, true))
        return;
    pthread_mutex_lock(&c->lock);
    pthread_cond_signal(&c->wanted);
    pthread_mutex_unlock(&c->lock);
}

enum sx_commit_state sx_commit_state(const struct sx_commit *c, uint64_t stamp)
{
    if (stamp <= atomic_load(&c->durable))
        return SX_COMMIT_DURABLE;
    return stamp <= atomic_load(&c->lost) ? SX_COMMIT_LOST : SX_COMMIT_WAIT;
}

/* Neither of them ever shrinks. */
uint64_t sx_commit_settled(const struct sx_commit *c)
{
    return atomic_load(&c->durable) + atomic_load(&c->lost);
}

void sx_commit_figures(struct sx_commit *c, struct sx_commit_figures *out)
{
    out->commits = atomic_load(&c->commits);
    out->failures = atomic_load(&c->failures);
    out->total_us = atomic_load(&c->total_us);
    out->max_us = atomic_exchange(&c->max_us, 0);
}

/* ---- the thread ---- */

/* Waits for a request, the end, or `ms`. True: it is to end. */
static bool wait_for_work(struct sx_commit *c, int64_t ms)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(ms / 1000);
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&c->lock);
    int rc = 0;
    while (!c->stopping && !atomic_load(&c->requested) && rc == 0)
        rc = pthread_cond_timedwait(&c->wanted, &c->lock, &until);
    bool stop = c->stopping;
    pthread_mutex_unlock(&c->lock);
    return stop;
}

/* After a failure time passes before the next attempt, whatever is requested. */
static bool wait_to_retry(struct sx_commit *c)
{
    int64_t until = now_us() + c->cfg.retry_ms * 1000;
    bool stop = false;

    while (!stop && now_us() < until) {
        pthread_mutex_lock(&c->lock);
        stop = c->stopping;
        pthread_mutex_unlock(&c->lock);
        struct timespec nap = { 0, 10 * 1000000 };
        if (!stop)
            nanosleep(&nap, NULL);
    }
    return stop;
}

static void commit(struct sx_commit *c)
{
    atomic_store(&c->requested, false); /* before the epoch ends: what comes later asks anew */
    uint64_t epoch = atomic_fetch_add(&c->epoch, 1);
    int64_t start = now_us();
    c->last = (c->last == SIMPLEX_OK ? c->cfg.sync : c->cfg.recover)(c->cfg.user);
    uint64_t took = (uint64_t)(now_us() - start);
    atomic_fetch_add(&c->commits, 1);
    atomic_fetch_add(&c->total_us, took);
    if (took > atomic_load(&c->max_us))
        atomic_store(&c->max_us, took);
    if (c->last == SIMPLEX_OK) {
        atomic_store(&c->durable, epoch);
    } else {
        atomic_fetch_add(&c->failures, 1);
        atomic_store(&c->lost, epoch);
    }
    if (c->cfg.done != NULL)
        c->cfg.done(c->cfg.user);
}

static void *run(void *user)
{
    struct sx_commit *c = user;
    bool more = false;
    bool stop = false;

    while (!stop) {
        stop =
            c->last == SIMPLEX_OK ? wait_for_work(c, more ? 0 : c->cfg.idle_ms) : wait_to_retry(c);
        commit(c);
        more = c->last == SIMPLEX_OK && c->cfg.tidy != NULL && c->cfg.tidy(c->cfg.user);
    }
    return NULL;
}

/* ---- life ---- */

static bool init_sync(struct sx_commit *c)
{
    pthread_condattr_t attr;

    if (pthread_mutex_init(&c->lock, NULL) != 0)
        return false;
    bool ok = pthread_condattr_init(&attr) == 0;
    if (ok) {
        ok = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0 &&
             pthread_cond_init(&c->wanted, &attr) == 0;
        pthread_condattr_destroy(&attr);
    }
    if (!ok)
        pthread_mutex_destroy(&c->lock);
    return ok;
}

static void free_commit(struct sx_commit *c)
{
    pthread_cond_destroy(&c->wanted);
    pthread_mutex_destroy(&c->lock);
    sx_free(c);
}

simplex_rc sx_commit_open(const struct sx_commit_cfg *cfg, struct sx_commit **out)
{
    struct sx_commit *c = sx_calloc(1, sizeof(*c));

    *out = NULL;
    if (c == NULL)
        return SIMPLEX_E_NOMEM;
    c->cfg = *cfg;
    atomic_init(&c->epoch, 1);
    if (!init_sync(c)) {
        sx_free(c);
        return SIMPLEX_E_SYSTEM;
    }
    if (pthread_create(&c->thread, NULL, run, c) != 0) {
        free_commit(c);
        return SIMPLEX_E_SYSTEM;
    }
    *out = c;
    return SIMPLEX_OK;
}

simplex_rc sx_commit_close(struct sx_commit *c)
{
    if (c == NULL)
        return SIMPLEX_OK;
    pthread_mutex_lock(&c->lock);
    c->stopping = true;
    pthread_cond_signal(&c->wanted);
    pthread_mutex_unlock(&c->lock);
    pthread_join(c->thread, NULL);
    simplex_rc rc = c->last;
    free_commit(c);
    return rc;
}
