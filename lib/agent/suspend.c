/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Being suspended (agent.md section 6.9): operations end one kind after the other, so that what one
 * kind leaves behind the next still takes care of. First nothing is received any more, then what
 * waits for delivery is delivered, then commands and acknowledgements are answered, then the
 * database is written. When that is done, or the time is over, the sessions are closed, and nothing
 * is written until simplex_agent_resume: a system may freeze or end the process at any moment. What
 * memory held is read from the rows again afterwards, as after a failure of the database.
 */
#include "agent/event.h"
#include "agent/network.h"
#include "agent/subscribe.h"
#include "agent/work.h"

/* ---- is a kind of operation at its end ---- */

/* Not those that wait for room in a queue of the peer: that can take days. */
static bool is_delivering(const struct simplex_agent *a)
{
    for (size_t b = 0; b < SX_TABLE; b++) {
        for (const struct sx_rt_sndq *w = a->sndqs[b]; w != NULL; w = w->next) {
            if (w->in_flight || w->dirty || (w->waiting && !w->quota))
                return true;
        }
    }
    return false;
}

static bool is_sending(const struct simplex_agent *a)
{
    for (size_t b = 0; b < SX_TABLE; b++) {
        for (const struct sx_rt_conn *w = a->conns[b]; w != NULL; w = w->next) {
            if (w->in_flight)
                return true;
        }
        for (const struct sx_rt_sndq *w = a->sndqs[b]; w != NULL; w = w->next) {
            if (w->in_flight)
                return true;
        }
    }
    return a->acks != NULL || a->acks_out != NULL;
}

static bool is_done(const struct simplex_agent *a, enum sx_life phase)
{
    switch (phase) {
    case SX_END_RECEIVING: /* a message is taken within one turn; what was asked for is waited for
                            */
        return a->fetches == NULL;
    case SX_END_DELIVERY:
        return !is_delivering(a);
    case SX_END_SENDING:
        return !is_sending(a);
    default:
        return false;
    }
}

/* ---- the end ---- */

static void finish(struct simplex_agent *a)
{
    sx_tests_end(a, false, SIMPLEX_E_SUSPENDED);
    sx_agent_drop_runtime(a); /* may tell of what ends with it */
    if (sx_agent_commit_now(a) != SIMPLEX_OK)
        return; /* told by ERR: the rows of before hold, and recovery comes first */
    a->life.phase = SX_SUSPENDED;
    sx_network_apply(a);
    if (a->life.tell != NULL)
        sx_emit_made(a, a->life.tell);
    a->life.tell = NULL;
}

void sx_suspend_run(struct simplex_agent *a)
{
    if (a->life.phase == SX_ACTIVE || a->life.phase == SX_SUSPENDED || a->failed)
        return;
    if (sx_mono_ms() >= a->life.deadline)
        a->life.phase = SX_END_DATABASE;
    while (a->life.phase < SX_END_DATABASE && is_done(a, a->life.phase))
        a->life.phase++;
    if (a->life.phase < SX_END_DATABASE)
        return;
    /* what it brought about is shown first, if the application takes it */
    if (sx_mono_ms() < a->life.deadline &&
        (sx_agent_commit_now(a) != SIMPLEX_OK || sx_events_due(a)))
        return;
    finish(a);
}

int64_t sx_suspend_alarm(const struct simplex_agent *a)
{
    return a->life.phase == SX_ACTIVE || a->life.phase == SX_SUSPENDED ? INT64_MAX
                                                                       : a->life.deadline;
}

/* ---- calls ---- */

static simplex_rc do_suspend(struct simplex_agent *a, void *p)
{
    int64_t ms = *(const int64_t *)p;
    struct simplex_event *tell = NULL; /* who gives time waits for it: it must not get lost */

    if (a->cfg.read_only)
        return SIMPLEX_E_PROHIBITED;
    if (ms > 0 && (tell = sx_event_new(SIMPLEX_EV_SUSPENDED, 0)) == NULL)
        return SIMPLEX_E_NOMEM;
    if (a->life.phase == SX_SUSPENDED) {
        if (tell != NULL)
            sx_emit_made(a, tell);
        return SIMPLEX_OK;
    }
    a->life.deadline = sx_mono_ms() + ms;
    sx_event_delete(a->life.tell); /* of a call before, which this one replaces */
    a->life.tell = tell;
    if (a->life.phase == SX_ACTIVE)
        a->life.phase = SX_END_RECEIVING;
    sx_network_apply(a);
    if (ms > 0 || a->life.in_callback)
        return SIMPLEX_OK; /* when the turn ends */
    a->life.phase = SX_END_DATABASE;
    finish(a);
    return a->life.phase == SX_SUSPENDED ? SIMPLEX_OK : a->failed_rc;
}

simplex_rc simplex_agent_suspend(simplex_agent *a, int64_t ms)
{
    if (a == NULL || ms < 0)
        return SIMPLEX_E_ARG;
    if (ms > SX_MS_MAX)
        ms = SX_MS_MAX;
    return sx_agent_begin(a, do_suspend, &ms);
}

/* It was not suspended yet: what was left on the servers meanwhile is asked for again. */
static void call_off(struct simplex_agent *a)
{
    for (struct sx_rt_server *s = a->rt_servers; s != NULL; s = s->next) {
        if (s->missed)
            sx_client_restart(s->client);
        s->missed = false;
        sx_subscribe_server(a, s);
    }
    sx_wake_all(a);
}

static simplex_rc do_resume(struct simplex_agent *a, void *p)
{
    enum sx_life was = a->life.phase;

    (void)p;
    a->life.phase = SX_ACTIVE;
    sx_network_apply(a);
    if (was == SX_SUSPENDED) {
        a->recover_at = sx_mono_ms(); /* everything is read from the rows when this turn ends */
        sx_net_reconnect(a->net);
    } else if (was != SX_ACTIVE) {
        call_off(a);
    }
    return SIMPLEX_OK;
}

simplex_rc simplex_agent_resume(simplex_agent *a)
{
    return a == NULL ? SIMPLEX_E_ARG : sx_agent_begin(a, do_resume, NULL);
}
