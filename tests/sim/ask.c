/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at connections: what servers know of their queues, security codes. */
#include "agent/agent.h"
#include "sim/acts.h"

static struct {
    struct app_end *e;
    unsigned due[APP_ENDS]; /* QINFO */
    bool last[APP_ENDS];    /* nothing waits anywhere any more */
    simplex_rc rc;
    unsigned queues;
    uint8_t code[32];
} ask;

void ask_open(void)
{
    memset(&ask, 0, sizeof ask);
}

static void run_query(struct sim_node *n, void *arg)
{
    simplex_queue_info q = { .size = sizeof q };

    (void)arg;
    ask.queues = 0;
    for (size_t i = 0; simplex_agent_queue(n->a, ask.e->id, i, &q) == SIMPLEX_OK; i++)
        ask.queues += q.direction == SIMPLEX_SWITCH_RCV;
    ask.rc = simplex_agent_query_queues(n->a, ask.e->id);
}

/* Queues that cannot be asked yet, and those on their way out, are told of or not. */
static bool may_refuse(simplex_rc rc)
{
    return rc == SIMPLEX_E_PROHIBITED || rc == SIMPLEX_E_NOT_FOUND || rc == SIMPLEX_E_SUSPENDED;
}

bool ask_queues(struct sim_node *n)
{
    ask.e = act_any_end(n, act_deletable);
    if (ask.e == NULL)
        return false;
    if (sim_app(n, run_query, NULL) && !may_refuse(ask.rc))
        (void)act_tolerated(ask.rc);
    return true;
}

void ask_on_info(struct app_end *e, const simplex_event *ev)
{
    simplex_queue_status s = { .size = sizeof s };
    bool last = ask.last[e->n];

    if (ask.due[e->n] > 0)
        ask.due[e->n]--;
    if (simplex_event_error(ev) != SIMPLEX_OK) {
        if (last)
            sim_fail("end %u on %u: QINFO %s", e->n, e->node->n,
                     simplex_rc_name(simplex_event_error(ev)));
        return;
    }
    SIM_CHECK(simplex_event_queue(ev, &s) == SIMPLEX_OK);
    /* A peer whose first attempt at a further queue failed may still wait for the next one. */
    bool secured = s.secured || sim.queues > 1;
    SIM_CHECK(s.messages >= 0 && s.subscription >= 0 && s.subscription <= SIMPLEX_QUEUE_GET_ONLY);
    if (last && (!secured || s.messages != 0 || s.full || s.delivered ||
                 s.subscription != SIMPLEX_QUEUE_IDLE ||
                 (e->notify != APP_UNKNOWN && s.notifier != (e->notify == APP_ON))))
        sim_fail("end %u on %u: QINFO secured %d, notifier %d, subscription %d, delivered %d, "
                 "messages %" PRId64 ", full %d",
                 e->n, e->node->n, s.secured, s.notifier, s.subscription, s.delivered, s.messages,
                 s.full);
}

/* ---- the end ---- */

static bool is_asked(const struct app_end *e)
{
    return app_usable(e) && !e->dead && !e->rolled && e->peer != NULL;
}

bool ask_settled(void)
{
    for (unsigned i = 0; i < app.n_ends; i++) {
        if (ask.due[i] > 0)
            return false;
    }
    return true;
}

/* Everything was delivered and acknowledged. */
void ask_all(void)
{
    for (unsigned i = 0; i < app.n_ends; i++) {
        ask.e = &app.ends[i];
        if (!is_asked(ask.e))
            continue;
        ask.last[i] = true;
        SIM_CHECK(sim_app(ask.e->node, run_query, NULL) && ask.rc == SIMPLEX_OK);
        ask.due[i] = ask.queues;
    }
}

static void run_code(struct sim_node *n, void *arg)
{
    (void)arg;
    ask.rc = simplex_agent_security_code(n->a, ask.e->id, ask.code, NULL);
}

static void code_of(struct app_end *e, uint8_t code[32])
{
    ask.e = e;
    SIM_CHECK(sim_app(e->node, run_code, NULL) && ask.rc == SIMPLEX_OK);
    memcpy(code, ask.code, sizeof ask.code);
}

void ask_check(void)
{
    uint8_t ours[32], theirs[32];

    for (unsigned i = 0; i < app.n_ends; i++) {
        struct app_end *e = &app.ends[i];
        if (!is_asked(e) || !is_asked(e->peer))
            continue;
        code_of(e, ours);
        code_of(e->peer, theirs);
        if (memcmp(ours, theirs, sizeof ours) != 0)
            sim_fail("ends %u and %u have different security codes", e->n, e->peer->n);
    }
}
