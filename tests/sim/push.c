/* SPDX-License-Identifier: Apache-2.0 */
/* What serves push notifications: notifiers, fetching single messages, looking without writing. */
#include <stdio.h>
#include <stdlib.h>

#include "agent/agent.h"
#include "sim/acts.h"
#include "store/notifier.h"

#define FETCH_MAX 4

static struct {
    simplex_rc rc;
    bool on;
    struct app_end *e;
    int64_t ids[FETCH_MAX];
    size_t n_ids;
    unsigned only[SIM_NODES]; /* in which run connections are only created; 0: in none */
    bool peeking[SIM_NODES];  /* it is open for reading alone */
    unsigned peeked;          /* PEEKED that came */
} push;

void push_open(void)
{
    memset(&push, 0, sizeof push);
}

/* ---- notifiers ---- */

static void run_notify(struct sim_node *n, void *arg)
{
    (void)arg;
    push.rc = simplex_agent_notify(n->a, push.e->id, push.on);
}

bool push_notify(struct sim_node *n)
{
    struct app_end *e = act_any_end(n, act_deletable);
    enum app_wish before;

    if (e == NULL)
        return false;
    push.e = e;
    push.on = sim_chance(65);
    before = e->notify;
    e->notify = APP_UNKNOWN; /* if the device dies meanwhile */
    if (!sim_app(n, run_notify, NULL))
        return true;
    if (push.rc == SIMPLEX_OK)
        e->notify = push.on ? APP_ON : APP_OFF;
    else
        e->notify = before;
    if (push.rc != SIMPLEX_E_PROHIBITED) /* no queue yet */
        (void)act_tolerated(push.rc);
    return true;
}

/* What the row of a queue says is what its server has. */
static bool queue_is(struct sim_node *n, const struct sx_rcv_queue *q, bool on)
{
    struct sim_notifier there;
    struct sx_notifier row;
    simplex_rc rc = sx_store_notifier_get(n->a->store, q->id, &row);

    if (!sim_server_queue(&q->server, sx_id_bytes(&q->rcv_id), &there))
        return false;
    if (there.has != on || (rc == SIMPLEX_OK && row.ntf_id.len > 0) != on)
        return false;
    return !on || (sx_bytes_eq(sx_id_bytes(&row.ntf_id), sx_bytes(there.id, sizeof there.id)) &&
                   memcmp(row.secret, there.secret, sizeof there.secret) == 0);
}

static void run_compare(struct sim_node *n, void *arg)
{
    bool *same = arg;

    for (unsigned i = 0; i < app.n_ends; i++) {
        const struct app_end *e = &app.ends[i];
        struct sx_rcv_queue q;
        if (e->node != n || !app_usable(e) || e->dead || e->rolled || e->notify == APP_UNKNOWN)
            continue;
        for (unsigned at = 0; sx_store_rcvq_of(n->a->store, e->id, at, &q) == SIMPLEX_OK; at++) {
            if (!q.deleted && !queue_is(n, &q, e->notify == APP_ON)) {
                sim_trace("%u/%u: its notifier is not as wanted (%d)", n->n, e->n, e->notify);
                *same = false;
            }
        }
    }
}

bool push_as_wanted(void)
{
    bool same = true;

    for (unsigned i = 0; i < sim.n_nodes; i++)
        SIM_CHECK(sim_app(&sim.nodes[i], run_compare, &same));
    return same;
}

/* ---- fetching ---- */

static void run_fetch(struct sim_node *n, void *arg)
{
    (void)arg;
    push.rc = simplex_agent_fetch(n->a, push.ids, push.n_ids);
}

bool push_fetch(struct sim_node *n)
{
    struct app_end *ends[FETCH_MAX];
    unsigned before[FETCH_MAX];

    push.n_ids = 0;
    for (unsigned i = 0; i < app.n_ends && push.n_ids < FETCH_MAX; i++) {
        struct app_end *e = &app.ends[i];
        if (e->node != n || !act_deletable(e) || !sim_chance(e->off ? 90 : 20))
            continue;
        ends[push.n_ids] = e;
        before[push.n_ids] = e->fetch_run;
        e->fetch_run = n->runs; /* it may answer at once */
        push.ids[push.n_ids++] = e->id;
    }
    if (push.n_ids == 0)
        return false;
    if (!sim_app(n, run_fetch, NULL) || push.rc == SIMPLEX_OK)
        return true;
    for (size_t i = 0; i < push.n_ids; i++)
        ends[i]->fetch_run = before[i];
    if (push.rc != SIMPLEX_E_SUSPENDED)
        (void)act_tolerated(push.rc);
    return true;
}

bool push_fetching(const struct app_end *e)
{
    return e->fetch_run != 0 && e->node->a != NULL && e->fetch_run == e->node->runs && !e->deleted;
}

void push_on_fetched(struct app_end *e, const simplex_event *ev)
{
    /* With a message it is durable: shown again after a restart. */
    if (e->fetch_run != e->node->runs && simplex_event_msg_id(ev) == 0)
        sim_fail("end %u on %u: FETCHED that nobody asked for", e->n, e->node->n);
    if (simplex_event_msg_id(ev) != 0 && app_shown(e, simplex_event_msg_id(ev)) == NULL &&
        !e->rolled && !e->dead)
        sim_fail("end %u on %u: FETCHED of a message that was not shown", e->n, e->node->n);
    e->fetch_run = 0;
}

static void run_only_create(struct sim_node *n, void *arg)
{
    (void)arg;
    push.rc = simplex_agent_only_create(n->a, push.on);
}

bool push_only_create(struct sim_node *n)
{
    push.on = sim_chance(60);
    push.only[n->n] = n->runs; /* perhaps */
    if (sim_app(n, run_only_create, NULL) && act_tolerated(push.rc))
        push.only[n->n] = push.on ? n->runs : 0;
    return true;
}

void push_end(struct sim_node *n)
{
    push.on = false;
    push.only[n->n] = 0;
    SIM_CHECK(sim_app(n, run_only_create, NULL) && push.rc == SIMPLEX_OK);
}

bool push_creates_only(const struct sim_node *n)
{
    return push.only[n->n] != 0 && push.only[n->n] == n->runs;
}

/* ---- looking ---- */

bool push_peeking(const struct sim_node *n)
{
    return push.peeking[n->n];
}

void push_on_peeked(struct app_end *e, const simplex_event *ev)
{
    simplex_bytes body = simplex_event_data(ev);
    const struct app_msg *m;

    push.peeked++;
    if (body.len == 0 || e->rolled || e->dead)
        return;
    m = app_of_body(e, body);
    if (m->from->peer != e)
        sim_fail("message %u is looked at in another connection", m->n);
    if (simplex_event_msg_id(ev) != 0 && m->shown_id != simplex_event_msg_id(ev) &&
        m->shown_id != 0)
        sim_fail("message %u is looked at as %" PRId64 ", but was shown as %" PRId64, m->n,
                 simplex_event_msg_id(ev), m->shown_id);
}

static bool has_peeked(void)
{
    app_pump();
    return push.peeked > 0;
}

static void run_peek(struct sim_node *n, void *arg)
{
    (void)arg;
    push.rc = simplex_agent_peek(n->a, push.e->id);
}

static bool same_files(const struct sim_copy *a, const struct sim_copy *b)
{
    for (size_t i = 0; i < SX_COUNT(a->file); i++) {
        if (a->len[i] != b->len[i] || /* an empty log is like none */
            (a->len[i] > 0 && memcmp(a->file[i], b->file[i], a->len[i]) != 0))
            return false;
    }
    return true;
}

static void look(struct sim_node *n)
{
    push.peeking[n->n] = true;
    push.peeked = 0;
    if (sim_app(n, run_peek, NULL) && push.rc == SIMPLEX_OK)
        (void)sim_run(40000, has_peeked);
    else if (n->a != NULL && push.rc != SIMPLEX_E_PROHIBITED && !app.faults)
        (void)act_tolerated(push.rc);
    sim_stop(n);
    push.peeking[n->n] = false;
}

/* An extension looks at the message that waits, and nothing is changed by that. */
bool push_peek(struct sim_node *n)
{
    struct sim_copy before = { .run = 0 }, after = { .run = 0 };
    simplex_event_cb *cb = n->cfg.on_event;
    unsigned kills = n->kills;

    push.e = act_any_end(n, act_deletable);
    if (push.e == NULL)
        return false;
    sim_stop(n);
    if (n->a != NULL)
        return false;
    sim_copy_make(n, &before);
    n->cfg.on_event = NULL;
    n->cfg.read_only = true;
    if (sim_start(n) == SIMPLEX_OK)
        look(n);
    n->cfg.on_event = cb;
    n->cfg.read_only = false;
    sim_copy_make(n, &after);
    n->runs--; /* for the database it was none */
    if (n->kills == kills && !same_files(&before, &after))
        sim_fail("looking at the database of %u has changed it", n->n);
    sim_copy_free(&before);
    sim_copy_free(&after);
    return true;
}
