/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop of an agent: calls from other threads, transactions, and what happens at the end of
 * each turn. Order within a turn: rows are committed, then commands go to servers, then callers
 * return and events are shown. What the callback does starts the next transaction of the turn.
 */
#include "agent/event.h"
#include "agent/farewell.h"
#include "agent/network.h"
#include "agent/noise.h"
#include "agent/push.h"
#include "agent/receive.h"
#include "agent/rotation.h"
#include "agent/route.h"
#include "agent/services.h"
#include "agent/several.h"
#include "agent/subscribe.h"
#include "agent/users.h"
#include "agent/work.h"

#define ROUNDS 16          /* event rounds before the loop looks at its sockets again */
#define REPORT_EVERY 60000 /* a disk that stays full is reported once a minute */

bool sx_on_loop(struct simplex_agent *a)
{
    uv_thread_t self = uv_thread_self();

    return a->thread_ready && uv_thread_equal(&self, &a->thread) != 0;
}

/* ---- transactions ---- */

simplex_rc sx_handler_begin(struct simplex_agent *a)
{
    simplex_rc rc = SIMPLEX_OK;

    if (a->failed) /* until the end of this turn */
        return a->failed_rc;
    if (sx_ending(a, SX_SUSPENDED)) /* an answer that came too late: nobody waits for it */
        return SIMPLEX_E_SUSPENDED;
    if (!sx_store_in_transaction(a->store))
        rc = sx_store_begin(a->store);
    if (rc == SIMPLEX_OK)
        rc = sx_store_savepoint(a->store);
    if (rc != SIMPLEX_OK)
        sx_agent_store_failed(a, rc);
    return rc;
}

void sx_handler_end(struct simplex_agent *a, simplex_rc rc)
{
    simplex_rc end;

    if (a->failed)
        return;
    end = rc == SIMPLEX_OK ? sx_store_release(a->store) : sx_store_undo(a->store);
    if (end != SIMPLEX_OK)
        sx_agent_store_failed(a, end);
    else if (sx_rc_is_store(rc))
        sx_agent_store_failed(a, rc);
}

void sx_agent_lazy(struct simplex_agent *a)
{
    if (a->lazy_since == 0)
        a->lazy_since = sx_mono_ms();
}

static void finish_calls(struct simplex_agent *a, simplex_rc rc)
{
    if (a->committing == NULL)
        return;
    uv_mutex_lock(&a->lock);
    while (a->committing != NULL) {
        struct sx_call *c = a->committing;
        a->committing = c->next;
        if (rc != SIMPLEX_OK && !c->begins)
            c->rc = rc;
        c->done = true; /* c belongs to its caller again, once the lock is free */
        uv_cond_signal(&c->finished);
    }
    uv_mutex_unlock(&a->lock);
}

void sx_agent_store_failed(struct simplex_agent *a, simplex_rc rc)
{
    sx_log(SX_LOG_ERROR, "agent: the database failed: %s", simplex_rc_name(rc));
    if (!a->failed && (a->reported_at == 0 || sx_mono_ms() - a->reported_at >= REPORT_EVERY)) {
        struct simplex_event ev;
        a->reported_at = sx_mono_ms();
        sx_event_init(&ev, SIMPLEX_EV_ERR, 0);
        ev.rc = rc;
        sx_emit_now(a, &ev);
    }
    if (!a->failed)
        a->failed_rc = rc;
    a->failed = true;
    sx_store_abandon(a->store, rc); /* a handler may be under way: the rest of it writes nothing */
    finish_calls(a, rc);
}

void sx_agent_drop_runtime(struct simplex_agent *a)
{
    sx_drop_acks(a);
    sx_fetches_fail(a, a->life.phase != SX_ACTIVE ? SIMPLEX_E_SUSPENDED : a->failed_rc);
    for (struct sx_rt_server *s = a->rt_servers; s != NULL; s = s->next) {
        sx_client_want(s->client, false);
        sx_client_disconnect(s->client, SIMPLEX_E_DISCONNECTED);
        sx_svc_drop(s);
        s->missed = false;
    }
    sx_routes_drop(a);
    sx_noise_reset(a);
    sx_rt_clear(a);
}

/* Nothing in memory is worth more than the database: close the sessions, so that servers deliver
 * again what was not acknowledged, and start from the rows after a moment. */
static void recover(struct simplex_agent *a)
{
    a->failed = false;
    a->must_commit = false;
    a->lazy_since = 0;
    a->uncommitted = 0;
    if (a->cfg.on_event != NULL)
        a->shown = a->handled; /* what the callback did was lost: it sees those events again */
    sx_store_rollback(a->store);
    (void)!sx_users_load(a); /* what was not committed did not happen; tried again by resume */
    finish_calls(a, a->failed_rc);
    sx_fetches_undone(a, a->failed_rc);
    sx_agent_drop_runtime(a);
    a->recover_at = sx_mono_ms() + a->recover_after;
    sx_agent_wake_at(a, a->recover_at);
}

static void resume(struct simplex_agent *a)
{
    simplex_rc rc;

    if (a->recover_at == 0 || sx_mono_ms() < a->recover_at)
        return;
    a->recover_at = 0;
    sx_rt_clear(a);
    rc = sx_users_load(a);
    if (rc == SIMPLEX_OK)
        rc = sx_load_queues(a);
    if (rc == SIMPLEX_OK)
        rc = sx_load_work(a);
    if (rc == SIMPLEX_OK)
        rc = sx_farewells_load(a);
    if (rc == SIMPLEX_OK)
        rc = sx_noise_load(a);
    if (rc == SIMPLEX_OK)
        rc = sx_rotation_load(a);
    if (rc != SIMPLEX_OK)
        sx_agent_store_failed(a, rc);
    a->events_due = true;
}

static bool commit_due(const struct simplex_agent *a)
{
    if (!sx_store_in_transaction(a->store))
        return false;
    if (a->must_commit || a->committing != NULL)
        return true;
    return a->lazy_since != 0 && sx_mono_ms() - a->lazy_since >= SX_LAZY_COMMIT;
}

static void commit(struct simplex_agent *a)
{
    simplex_rc rc = sx_store_commit(a->store);

    a->must_commit = false;
    a->lazy_since = 0;
    a->uncommitted = 0;
    if (rc != SIMPLEX_OK) {
        sx_agent_store_failed(a, rc);
        return;
    }
    a->handled = a->shown;
    sx_fetches_written(a);
    finish_calls(a, SIMPLEX_OK);
}

simplex_rc sx_agent_commit_now(struct simplex_agent *a)
{
    if (sx_store_in_transaction(a->store) && !a->failed)
        commit(a);
    return a->failed ? a->failed_rc : SIMPLEX_OK;
}

/* ---- calls ---- */

static void run_call(struct simplex_agent *a, struct sx_call *c)
{
    if (c->wants_store && sx_ending(a, SX_SUSPENDED)) {
        c->rc = SIMPLEX_E_SUSPENDED;
        return;
    }
    if (!c->wants_store || a->cfg.read_only) {
        c->rc = c->wants_store ? SIMPLEX_E_PROHIBITED : c->fn(a, c->arg);
        return;
    }
    c->rc = sx_handler_begin(a);
    if (c->rc != SIMPLEX_OK)
        return;
    c->rc = c->fn(a, c->arg);
    sx_handler_end(a, c->rc);
    /* What it wrote is gone with the transaction: nor does it count what it did not find then. */
    if (a->failed && !sx_rc_is_store(c->rc))
        c->rc = a->failed_rc;
}

static void take_calls(struct simplex_agent *a)
{
    struct sx_call *list, *next;

    uv_mutex_lock(&a->lock);
    list = a->calls;
    a->calls = NULL;
    a->calls_end = &a->calls;
    uv_mutex_unlock(&a->lock);
    for (struct sx_call *c = list; c != NULL; c = next) {
        next = c->next;
        run_call(a, c);
        /* Even a call that failed returns after the commit: it is the same wait for all. */
        c->next = a->committing;
        a->committing = c;
        if (a->failed)
            finish_calls(a, c->rc);
    }
}

simplex_rc sx_agent_call(struct simplex_agent *a, struct sx_call *c)
{
    if (sx_on_loop(a)) {
        run_call(a, c);
        if (c->rc == SIMPLEX_OK && c->wants_store)
            sx_agent_lazy(a);
        return c->rc;
    }
    if (uv_cond_init(&c->finished) != 0)
        return SIMPLEX_E_SYSTEM;
    uv_mutex_lock(&a->lock);
    if (a->closing) {
        uv_mutex_unlock(&a->lock);
        uv_cond_destroy(&c->finished);
        return SIMPLEX_E_CLOSED;
    }
    a->inside++;
    c->next = NULL;
    c->rc = SIMPLEX_E_CLOSED; /* until it has run */
    c->done = false;
    *a->calls_end = c;
    a->calls_end = &c->next;
    (void)uv_async_send(&a->wake);
    while (!c->done)
        uv_cond_wait(&c->finished, &a->lock);
    uv_cond_destroy(&c->finished);
    sx_agent_leave(a);
    return c->rc;
}

simplex_rc sx_agent_run(struct simplex_agent *a, simplex_rc (*fn)(struct simplex_agent *, void *),
                        void *arg, bool wants_store)
{
    struct sx_call call = { .fn = fn, .arg = arg, .wants_store = wants_store };

    return sx_agent_call(a, &call);
}

simplex_rc sx_agent_begin(struct simplex_agent *a, simplex_rc (*fn)(struct simplex_agent *, void *),
                          void *arg)
{
    struct sx_call call = { .fn = fn, .arg = arg, .begins = true };

    return sx_agent_call(a, &call);
}

void sx_agent_leave(struct simplex_agent *a)
{
    a->inside--;
    if (a->closing && a->inside == 0)
        uv_cond_broadcast(&a->changed);
    uv_mutex_unlock(&a->lock);
}

/* Threads that were told CLOSED still have to get out of the handle. */
static void wait_for_callers(struct simplex_agent *a)
{
    uv_mutex_lock(&a->lock);
    while (a->inside > 0)
        uv_cond_wait(&a->changed, &a->lock);
    uv_mutex_unlock(&a->lock);
}

/* ---- the turn ---- */

static int64_t next_work(struct simplex_agent *a)
{
    int64_t at = sx_work_alarm(a);

    if (sx_network_alarm(a) < at)
        at = sx_network_alarm(a);
    if (sx_suspend_alarm(a) < at)
        at = sx_suspend_alarm(a);
    if (sx_ending(a, SX_END_RECEIVING)) /* begin_due does not look at the others */
        return at;
    if (a->held_until != 0 && a->held_until < at)
        at = a->held_until;
    if (sx_noise_alarm(a) < at)
        at = sx_noise_alarm(a);
    if (a->misses_at != 0 && a->misses_at < at)
        at = a->misses_at;
    if (a->next_cleanup < at)
        at = a->next_cleanup;
    if (sx_rotation_alarm(a) < at)
        at = sx_rotation_alarm(a);
    return at;
}

static void set_alarm(struct simplex_agent *a)
{
    /* What is due while the store recovers waits for that: an alarm for it would never stop. */
    int64_t at = a->recover_at != 0 ? a->recover_at : next_work(a), now = sx_mono_ms();

    if (sx_ending(a, SX_SUSPENDED)) { /* only calls wake it */
        sx_agent_wake_at(a, sx_network_alarm(a));
        return;
    }
    if (a->lazy_since != 0 && a->lazy_since + SX_LAZY_COMMIT < at)
        at = a->lazy_since + SX_LAZY_COMMIT;
    sx_agent_wake_at(a, at > now ? at : now);
}

static void cleanup(struct simplex_agent *a)
{
    unsigned n = 0;
    simplex_rc rc;

    if (sx_mono_ms() < a->next_cleanup || a->recover_at != 0)
        return;
    a->next_cleanup = sx_mono_ms() + SX_CLEANUP_EVERY;
    sx_farewells_due(a);
    sx_idle_run(a);
    rc = sx_handler_begin(a);
    if (rc != SIMPLEX_OK)
        return;
    rc = sx_store_cleanup(a->store, sx_now_ms() - SX_HASH_TTL, 10000, &n);
    sx_handler_end(a, rc);
    sx_agent_lazy(a);
}

static void on_spin(uv_idle_t *h)
{
    (void)h; /* only keeps the loop from blocking in poll */
}

/* Nothing is written, and nobody shown anything but that it is so. */
static bool suspended_turn(struct simplex_agent *a)
{
    if (a->committing != NULL)
        finish_calls(a, SIMPLEX_OK);
    return sx_show_events(a);
}

/* What begins by itself, while nothing is being brought to its end. */
static void begin_due(struct simplex_agent *a)
{
    resume(a);
    if (sx_ending(a, SX_END_RECEIVING))
        return;
    cleanup(a);
    sx_held_check(a);
    sx_rotation_run(a);
    sx_misses_check(a);
}

static void turn_end(struct simplex_agent *a)
{
    bool more = true;

    sx_network_run(a);
    if (!sx_ending(a, SX_SUSPENDED)) {
        begin_due(a);
        sx_events_freed(a);
    }
    for (int round = 0; more && round < ROUNDS; round++) {
        if (sx_ending(a, SX_SUSPENDED)) {
            more = suspended_turn(a);
            continue;
        }
        if (commit_due(a))
            commit(a);
        if (a->failed)
            recover(a);
        if (a->committing != NULL && !sx_store_in_transaction(a->store))
            finish_calls(a, SIMPLEX_OK); /* calls that only looked */
        sx_send_acks(a);
        sx_check_subscriptions(a);
        sx_run_work(a);
        sx_noise_run(a);
        sx_suspend_run(a);
        more = sx_show_events(a) || commit_due(a) || a->failed;
    }
    if (more)
        (void)uv_idle_start(&a->spin, on_spin);
    else
        (void)uv_idle_stop(&a->spin);
    set_alarm(a);
}

static void on_check(uv_check_t *h)
{
    turn_end(h->data);
}

static void on_prepare(uv_prepare_t *h)
{
    struct simplex_agent *a = h->data;

    /* Timers ran before: what they wrote must not wait for the next packet. */
    turn_end(a);
}

static void on_alarm(uv_timer_t *h)
{
    (void)h; /* the turn's end does the work */
}

void sx_agent_wake_at(struct simplex_agent *a, int64_t mono_ms)
{
    int64_t now = sx_mono_ms();
    uint64_t in = mono_ms > now ? (uint64_t)(mono_ms - now) : 0;

    uv_update_time(&a->loop);
    (void)uv_timer_start(&a->alarm, on_alarm, in, 0);
}

static void close_handle(uv_handle_t *h)
{
    if (!uv_is_closing(h))
        uv_close(h, NULL);
}

static void net_closed(void *user)
{
    struct simplex_agent *a = user;

    close_handle((uv_handle_t *)&a->wake);
    close_handle((uv_handle_t *)&a->turn);
    close_handle((uv_handle_t *)&a->before_poll);
    close_handle((uv_handle_t *)&a->spin);
    close_handle((uv_handle_t *)&a->alarm);
}

static void stop_turns(struct simplex_agent *a)
{
    (void)uv_check_stop(&a->turn);
    (void)uv_prepare_stop(&a->before_poll);
    (void)uv_idle_stop(&a->spin);
    (void)uv_timer_stop(&a->alarm);
}

/* Commits what is open; callers that came too late get CLOSED. */
static void shut_down(struct simplex_agent *a)
{
    sx_events_freed(a);
    if (sx_store_in_transaction(a->store) && !a->failed)
        commit(a);
    finish_calls(a, SIMPLEX_E_CLOSED);
    uv_mutex_lock(&a->lock);
    a->committing = a->calls;
    a->calls = NULL;
    a->calls_end = &a->calls;
    uv_mutex_unlock(&a->lock);
    finish_calls(a, SIMPLEX_E_CLOSED);
    stop_turns(a);
    sx_net_close(a->net, net_closed, a);
    a->net = NULL;
}

static void on_wake(uv_async_t *h)
{
    struct simplex_agent *a = h->data;
    bool closing;

    uv_mutex_lock(&a->lock);
    closing = a->closing;
    uv_mutex_unlock(&a->lock);
    if (!closing)
        take_calls(a);
    else if (a->net != NULL)
        shut_down(a);
}

static void loop_main(void *arg)
{
    struct simplex_agent *a = arg;

    sx_thread_ignore_sigpipe();
    uv_mutex_lock(&a->lock); /* the starter has written a->thread when it lets go */
    uv_mutex_unlock(&a->lock);
    (void)uv_run(&a->loop, UV_RUN_DEFAULT);
}

static simplex_rc init_handles(struct simplex_agent *a)
{
    if (uv_async_init(&a->loop, &a->wake, on_wake) != 0)
        return SIMPLEX_E_SYSTEM;
    a->handles_ready = true;
    (void)uv_check_init(&a->loop, &a->turn);
    (void)uv_prepare_init(&a->loop, &a->before_poll);
    (void)uv_idle_init(&a->loop, &a->spin);
    (void)uv_timer_init(&a->loop, &a->alarm);
    a->wake.data = a->turn.data = a->before_poll.data = a->spin.data = a->alarm.data = a;
    (void)uv_check_start(&a->turn, on_check);
    (void)uv_prepare_start(&a->before_poll, on_prepare);
    return SIMPLEX_OK;
}

simplex_rc sx_agent_load(struct simplex_agent *a)
{
    static const struct sx_net_callbacks callbacks = { sx_on_up, sx_on_down, sx_on_event };
    simplex_rc rc;

    if (uv_loop_init(&a->loop) != 0)
        return SIMPLEX_E_SYSTEM;
    a->loop_ready = true;
    rc = init_handles(a);
    if (rc == SIMPLEX_OK)
        rc = sx_net_open(&a->loop, &a->net_cfg, &callbacks, a, a->isolation, &a->net);
    if (rc == SIMPLEX_OK && a->cfg.read_only) {
        a->next_cleanup = a->rotation.at = INT64_MAX;
        return rc;
    }
    if (rc == SIMPLEX_OK)
        rc = sx_load_queues(a);
    if (rc == SIMPLEX_OK)
        rc = sx_load_work(a);
    if (rc == SIMPLEX_OK)
        rc = sx_farewells_load(a);
    if (rc == SIMPLEX_OK)
        rc = sx_noise_load(a);
    if (rc == SIMPLEX_OK)
        rc = sx_rotation_load(a);
    if (rc == SIMPLEX_OK)
        sx_store_cache(a->store, SX_CACHE_KIB);
    a->events_due = true;
    a->next_cleanup = sx_mono_ms() + SX_CLEANUP_FIRST;
    return rc;
}

simplex_rc sx_agent_start(struct simplex_agent *a)
{
    (void)uv_idle_start(&a->spin, on_spin); /* a first turn without a cause */
    uv_mutex_lock(&a->lock);
    if (uv_thread_create(&a->thread, loop_main, a) == 0)
        a->thread_ready = true;
    uv_mutex_unlock(&a->lock);
    return a->thread_ready ? SIMPLEX_OK : SIMPLEX_E_SYSTEM;
}

void sx_agent_stop(struct simplex_agent *a)
{
    if (!a->loop_ready)
        return;
    uv_mutex_lock(&a->lock);
    a->closing = true;
    uv_cond_broadcast(&a->changed); /* whoever waits for events */
    uv_mutex_unlock(&a->lock);
    if (a->thread_ready) {
        (void)uv_async_send(&a->wake);
        (void)uv_thread_join(&a->thread);
    } else {
        if (a->handles_ready) /* no event of an agent that was never opened */
            stop_turns(a);
        if (a->net != NULL)
            sx_net_close(a->net, net_closed, a);
        else if (a->handles_ready)
            net_closed(a);
        (void)uv_run(&a->loop, UV_RUN_DEFAULT);
    }
    wait_for_callers(a);
    (void)uv_loop_close(&a->loop);
    a->loop_ready = a->thread_ready = false;
}
