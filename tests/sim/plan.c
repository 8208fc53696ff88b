/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens in a run: actions in the order and number that the choices have, then the end of all
 * faults, after which everything must come to an end and every connection work.
 *
 * To add an action, write a function and a row of the table.
 */
#include <stdio.h>

#include "agent/agent.h"
#include "sim/acts.h"

#define HOUR (3600 * INT64_C(1000))
#define STEPS 60

static struct plan {
    unsigned groups;
    bool pq;
    struct sim_copy copies[SIM_NODES];
    uint64_t copy_tick[SIM_NODES];
    unsigned copy_kills[SIM_NODES];
    unsigned n_servers;
    bool notifies[SIM_NODES]; /* its new connections have notifications */
    unsigned looks; /* whether it has come to an end: not each time, it takes longer than a step */
} plan;

struct call { /* arguments and results, for code that runs on a device */
    struct app_end *e;
    char link[APP_LINK];
    char info[16];
    int32_t pq;
    int32_t type;
    bool on;
    simplex_rc rc;
    int64_t id;
};

static struct call call;

unsigned plan_groups = ~0u;
bool plan_contact, plan_all;

bool act_tolerated(simplex_rc rc)
{
    if (rc != SIMPLEX_OK && !(app.faults && sx_rc_is_store(rc)))
        sim_fail("a call failed: %s", simplex_rc_name(rc));
    return rc == SIMPLEX_OK;
}

static bool ok_or_fault(simplex_rc rc)
{
    bool hostile = call.e != NULL && call.e->hostile;

    if (rc != SIMPLEX_OK && !(app.faults && sx_rc_is_store(rc)) && !hostile)
        sim_fail("a call failed: %s", simplex_rc_name(rc));
    return rc == SIMPLEX_OK;
}

static bool pump(void)
{
    app_pump();
    return false;
}

/* Runs fn, which makes call.e; what does not come about is forgotten. */
static void make_end(struct sim_node *n, void (*fn)(struct sim_node *, void *))
{
    struct app_end *e = call.e;

    app_making(e);
    if (!sim_app(n, fn, NULL))
        return; /* found at the next start */
    if (ok_or_fault(call.rc)) {
        app_made(e, call.id);
    } else {
        app_made(e, 0);
        e->lost = true;
    }
}

/* ---- connections ---- */

static bool room(void)
{
    return app.n_ends + 4 < APP_ENDS;
}

int32_t act_any_pq(void)
{
    return plan.pq ? (int32_t)sim_below(3) : SIMPLEX_PQ_OFF;
}

static void run_create(struct sim_node *n, void *arg)
{
    (void)arg;
    call.rc = simplex_agent_create_as(n->a, users_any(n), call.pq, &call.id);
}

static bool act_create(struct sim_node *n)
{
    if (!room())
        return false;
    call.e = app_new_end(n, APP_INVITER);
    call.pq = act_any_pq();
    make_end(n, run_create);
    return true;
}

static void run_create_short(struct sim_node *n, void *arg)
{
    simplex_link_data data = { .size = sizeof data, .data = links_data(call.e, 0) };

    (void)arg;
    call.rc = simplex_agent_create_short(n->a, call.type, call.pq, &data, &call.id);
}

static bool act_create_short(struct sim_node *n)
{
    bool address = sim_chance(30);

    if (!room())
        return false;
    call.e = app_new_end(n, address ? APP_ADDRESS : APP_INVITER);
    call.type = address ? SIMPLEX_LINK_CONTACT : SIMPLEX_LINK_INVITATION;
    call.pq = act_any_pq();
    make_end(n, run_create_short);
    return true;
}

static void run_create_address(struct sim_node *n, void *arg)
{
    (void)arg;
    call.rc = simplex_agent_create_address(n->a, &call.id);
}

static bool act_address(struct sim_node *n)
{
    if (!room())
        return false;
    call.e = app_new_end(n, APP_ADDRESS);
    make_end(n, run_create_address);
    return true;
}

/* Joining a short link again continues that connection as long as it is being looked at. */
static bool looked_at(const struct sim_node *n, const struct app_end *offer)
{
    for (unsigned i = 0; i < app.n_ends; i++) {
        if (app.ends[i].node == n && app.ends[i].offer == offer && app.ends[i].by_short)
            return true;
    }
    return false;
}

/* An offer of another device that can be used. */
static struct app_end *find_offer(const struct sim_node *n)
{
    struct app_end *found[APP_ENDS];
    uint32_t count = 0;

    for (unsigned i = 0; i < app.n_ends; i++) {
        struct app_end *e = &app.ends[i];
        bool address = e->role == APP_ADDRESS;
        if (e->node != n && (address || (e->role == APP_INVITER && e->used == 0)) &&
            e->link[0] != 0 && !e->deleted && !e->lost && !e->dead && !looked_at(n, e))
            found[count++] = e;
    }
    return count == 0 ? NULL : found[sim_below(count)];
}

static void run_join(struct sim_node *n, void *arg)
{
    (void)arg;
    call.rc = simplex_agent_join_as(n->a, users_any(n), sx_str(call.link), sx_str(call.info),
                                    call.pq, &call.id);
}

static void run_look(struct sim_node *n, void *arg)
{
    (void)arg;
    call.rc = simplex_agent_look(n->a, sx_str(call.link), &call.id);
}

static struct app_end *end_of(struct sim_node *n, struct app_end *offer, bool with_short)
{
    struct app_end *e = app_new_end(n, offer->role == APP_ADDRESS ? APP_REQUESTER : APP_JOINER);

    e->offer = offer;
    if (e->hostile || offer->hostile)
        e->hostile = e->dead = offer->hostile = offer->dead = true;
    offer->used = ++app.tick;
    e->by_short = with_short;
    memcpy(e->short_link, offer->short_link, sizeof e->short_link);
    memcpy(call.link, with_short ? offer->short_link : offer->link, sizeof call.link);
    (void)snprintf(call.info, sizeof call.info, "J%u", e->n);
    call.e = e;
    return e;
}

static bool act_join(struct sim_node *n)
{
    struct app_end *offer = find_offer(n), *e;
    bool with_short;

    if (!room() || offer == NULL)
        return false;
    with_short = offer->short_link[0] != 0 && sim_chance(70) && !links_dropped(offer);
    e = end_of(n, offer, with_short);
    e->looking = with_short && sim_chance(50);
    e->wants_join = e->looking && sim_chance(80);
    call.pq = act_any_pq();
    if (e->looking)
        links_look(e);
    make_end(n, e->looking ? run_look : run_join);
    return true;
}

void act_look(struct sim_node *n, struct app_end *offer)
{
    if (!room() || looked_at(n, offer))
        return;
    end_of(n, offer, true)->looking = true;
    links_look(call.e);
    make_end(n, run_look);
}

struct app_end *act_any_end(const struct sim_node *n, bool (*fits)(const struct app_end *e))
{
    struct app_end *found[APP_ENDS];
    uint32_t count = 0;

    for (unsigned i = 0; i < app.n_ends; i++) {
        struct app_end *e = &app.ends[i];
        if (e->node == n && fits(e))
            found[count++] = e;
    }
    return count == 0 ? NULL : found[sim_below(count)];
}

bool act_deletable(const struct app_end *e)
{
    return e->id != 0 && !e->deleted && !e->lost;
}

static void run_delete(struct sim_node *n, void *arg)
{
    (void)arg;
    call.rc = simplex_agent_delete(n->a, call.e->id);
}

static bool act_delete(struct sim_node *n)
{
    struct app_end *e = act_any_end(n, act_deletable);

    if (e == NULL)
        return false;
    call.e = e;
    app_connection_ended(e); /* whether it is deleted or the device dies before */
    e->deleted = true;
    e->deleted_at = ++app.tick;
    sim_trace("%u/%u is deleted", n->n, e->n);
    if (!sim_app(n, run_delete, NULL))
        e->doubtful = true; /* nobody knows */
    else if (!ok_or_fault(call.rc))
        e->deleted = false;
    return true;
}

/* ---- messages ---- */

static bool act_send(struct sim_node *n)
{
    struct app_end *e = act_any_end(n, app_usable);

    if (e == NULL)
        return false;
    for (uint32_t i = sim_below(4); e->node->a != NULL; i--) {
        app_send(e, HOUR > 0 && sim_chance(5) ? 13000 : 20, false);
        if (i == 0)
            break;
    }
    return true;
}

static void run_subscribe(struct sim_node *n, void *arg)
{
    (void)arg;
    call.rc = simplex_agent_subscribe(n->a, call.e->id, call.on);
}

static bool act_subscribe(struct sim_node *n)
{
    call.e = act_any_end(n, act_deletable);
    if (call.e == NULL)
        return false;
    call.on = call.e->off;
    if (sim_app(n, run_subscribe, NULL) && ok_or_fault(call.rc))
        call.e->off = !call.on;
    else if (n->a == NULL)
        call.e->off = true; /* perhaps */
    return true;
}

/* ---- rotation and synchronisation ---- */

static bool allowed(simplex_rc rc, simplex_rc also)
{
    bool refused = call.e->dead && (rc == SIMPLEX_E_NOT_FOUND || rc == SIMPLEX_E_PROHIBITED);

    return rc == also || refused || ok_or_fault(rc);
}

static void run_switch(struct sim_node *n, void *arg)
{
    (void)arg;
    call.rc = call.on ? simplex_agent_switch(n->a, call.e->id, sx_bytes(NULL, 0))
                      : simplex_agent_abort_switch(n->a, call.e->id);
}

static bool act_switch(struct sim_node *n)
{
    call.e = act_any_end(n, app_usable);
    if (call.e == NULL)
        return false;
    call.on = sim_chance(85);
    call.e->switched = true;
    call.e->aborted = call.e->aborted || !call.on;
    if (sim_app(n, run_switch, NULL) && allowed(call.rc, SIMPLEX_E_PROHIBITED))
        sim_trace("%u/%u %s: %s", n->n, call.e->n, call.on ? "switch" : "abort",
                  simplex_rc_name(call.rc));
    return true;
}

static void run_sync(struct sim_node *n, void *arg)
{
    (void)arg;
    call.rc = simplex_agent_sync_ratchet(n->a, call.e->id, true);
}

static void synchronise(struct app_end *e)
{
    call.e = e;
    e->synced = true;
    if (e->peer != NULL)
        e->peer->synced = true;
    if (sim_app(e->node, run_sync, NULL) && allowed(call.rc, e->dead ? SIMPLEX_E_PROHIBITED : 0) &&
        call.rc == SIMPLEX_OK) {
        sim_trace("%u/%u synchronises", e->node->n, e->n);
        e->sync = SIMPLEX_SYNC_STARTED;
    }
}

static bool act_sync(struct sim_node *n)
{
    struct app_end *e = act_any_end(n, app_usable);

    if (e != NULL)
        synchronise(e);
    return e != NULL;
}

/* ---- devices ---- */

static bool act_close(struct sim_node *n)
{
    sim_stop(n);
    if (sim_chance(70))
        app_start(n);
    return true;
}

static bool act_kill(struct sim_node *n)
{
    (void)n;
    sim_kill_in(1 + sim_below(sim_chance(30) ? 20000 : 2000));
    return true;
}

static bool act_copy(struct sim_node *n)
{
    sim_copy_make(n, &plan.copies[n->n]);
    plan.copy_tick[n->n] = ++app.tick;
    plan.copy_kills[n->n] = n->kills;
    sim_trace("%u is copied", n->n);
    return true;
}

void act_rolled_back(const struct sim_node *n, uint64_t tick)
{
    if (plan.copy_tick[n->n] > tick)
        sim_copy_free(&plan.copies[n->n]);
}

/* A copy that was made in the run it replaces cannot be known when that was killed, or could not
 * note its age at the end (restored.c): faults that wait for this end are dropped. */
static bool act_roll_back(struct sim_node *n)
{
    const struct sim_copy *c = &plan.copies[n->n];

    if (c->file[0] == NULL || (c->run == n->runs && plan.copy_kills[n->n] != n->kills))
        return false;
    (void)sx_fault_disarm();
    if (n->a != NULL)
        (void)sx_store_fault_disarm(n->a->store);
    sim_stop(n);
    if (c->run == n->runs && plan.copy_kills[n->n] != n->kills)
        return true;
    sim_copy_put(n, c);
    sim_trace("%u goes back to a copy", n->n);
    app_rolled_back(n, plan.copy_tick[n->n]);
    app_start(n);
    return true;
}

static bool peer_is_there(const struct app_end *e)
{
    return app_usable(e) && e->peer != NULL && app_usable(e->peer) && !rest_going(e->peer->node);
}

/* While it takes part in a new ratchet that its peer has begun. */
static bool act_go_back_midway(struct sim_node *n)
{
    struct app_end *e = act_any_end(n, peer_is_there);

    if (plan.copies[n->n].file[0] == NULL)
        return act_copy(n);
    if (e == NULL)
        return false;
    synchronise(e->peer);
    (void)sim_run(sim_below(8 * sim_net_cfg.latency), pump);
    return act_roll_back(n);
}

static void run_fault(struct sim_node *n, void *arg)
{
    (void)arg;
    if (call.on)
        sx_store_fault(n->a->store, 1 + sim_below(50),
                       sim_chance(50) ? SIMPLEX_E_DB_FULL : SIMPLEX_E_DB_IO);
    else
        sx_fault_malloc(sim_below(300));
}

static bool act_fault(struct sim_node *n)
{
    call.on = sim_chance(60);
    return sim_app(n, run_fault, NULL);
}

/* ---- noise ---- */

static void run_noise(struct sim_node *n, void *arg)
{
    simplex_noise noise = { .size = sizeof noise,
                            .budget = (int64_t)(1 + sim_below(60)) << 20,
                            .kinds = sim_below(8),
                            .wait = sim_chance(50) ? 0 : (int64_t)sim_below(60000) };

    (void)arg;
    call.rc = simplex_agent_set_noise(n->a, call.on ? &noise : NULL);
}

static bool act_noise(struct sim_node *n)
{
    call.on = sim_chance(85);
    return sim_app(n, run_noise, NULL) && ok_or_fault(call.rc);
}

static void end_noise(void)
{
    call.on = false;
    for (unsigned i = 0; i < sim.n_nodes; i++) {
        SIM_CHECK(sim_app(&sim.nodes[i], run_noise, NULL));
        SIM_CHECK(call.rc == SIMPLEX_OK);
    }
}

/* ---- time ---- */

static bool act_clock(struct sim_node *n)
{
    int64_t by = (int64_t)sim_below(200) * 60000;

    n->skew += sim_chance(50) ? by : -by;
    sim_trace("the clock of %u is off by %" PRId64 " s", n->n, n->skew / 1000);
    return true;
}

static bool act_wait(struct sim_node *n)
{
    (void)n;
    (void)sim_run((int64_t)sim_below(120) * 60000, pump);
    return true;
}

/* ---- servers and sessions ---- */

static bool act_break(struct sim_node *n)
{
    unsigned conns = sim_conns(n);

    if (conns == 0)
        return false;
    sim_conn_break(n, sim_below(conns));
    return true;
}

static bool act_deaf(struct sim_node *n)
{
    unsigned conns = sim_conns(n);

    if (conns == 0)
        return false;
    sim_conn_deaf(n, sim_below(conns));
    return true;
}

static bool act_repeat(struct sim_node *n)
{
    unsigned conns = sim_conns(n);

    if (conns == 0)
        return false;
    sim_conn_repeat(n, sim_below(conns));
    return true;
}

static bool act_server(struct sim_node *n)
{
    unsigned s = sim_below(plan.n_servers);

    (void)n;
    if (sim_chance(40)) {
        sim_server_restart(s);
        sim_trace("server %u restarts", s);
    } else {
        sim_server_down(s, !sim_server_is_down(s));
        sim_trace("server %u is %s", s, sim_server_is_down(s) ? "down" : "up");
    }
    return true;
}

/* ---- the table ---- */

static const struct action {
    const char *name;
    uint8_t weight;
    bool stopped; /* also on a device whose agent does not run */
    unsigned group;
    bool (*run)(struct sim_node *n); /* false: not possible now */
} actions[] = {
    { "create", 8, false, PLAN_ALWAYS, act_create },
    { "join", 16, false, PLAN_ALWAYS, act_join },
    { "send", 36, false, PLAN_ALWAYS, act_send },
    { "send to many", 6, false, PLAN_ALWAYS, batch_send },
    { "subscribe", 3, false, PLAN_ALWAYS, act_subscribe },
    { "close", 3, false, PLAN_ALWAYS, act_close },
    { "create short", 6, false, PLAN_ADDRESS, act_create_short },
    { "address", 4, false, PLAN_ADDRESS, act_address },
    { "switch", 10, false, PLAN_SWITCH, act_switch },
    { "policy", 4, false, PLAN_SWITCH, users_policy },
    { "synchronise", 6, false, PLAN_SYNC, act_sync },
    { "delete", 4, false, PLAN_DELETE, act_delete },
    { "kill", 12, false, PLAN_KILL, act_kill },
    { "copy", 6, true, PLAN_COPY, act_copy },
    { "roll back", 6, true, PLAN_COPY, act_roll_back },
    { "go back midway", 6, false, PLAN_COPY | PLAN_SYNC, act_go_back_midway },
    { "fault", 8, false, PLAN_FAULT, act_fault },
    { "noise", 8, false, PLAN_NOISE, act_noise },
    { "clock", 4, true, PLAN_TIME, act_clock },
    { "wait", 3, true, PLAN_TIME, act_wait },
    { "break", 8, true, PLAN_NET, act_break },
    { "deaf", 4, true, PLAN_NET, act_deaf },
    { "repeat", 6, true, PLAN_NET, act_repeat },
    { "server", 6, true, PLAN_SERVER, act_server },
    { "suspend", 10, false, PLAN_LIFE, rest_suspend },
    { "resume", 4, false, PLAN_LIFE, rest_resume },
    { "network", 6, false, PLAN_LIFE, rest_network },
    { "reconnect", 3, false, PLAN_LIFE, rest_reconnect },
    { "test a server", 2, false, PLAN_LIFE, rest_test },
    { "make a user", 6, false, PLAN_USERS, users_make },
    { "servers of a user", 4, false, PLAN_USERS, users_servers },
    { "another user", 2, false, PLAN_USERS, users_move },
    { "delete a user", 2, false, PLAN_USERS, users_delete },
    { "notify", 10, false, PLAN_PUSH, push_notify },
    { "fetch", 12, false, PLAN_PUSH, push_fetch },
    { "only create", 3, false, PLAN_PUSH, push_only_create },
    { "peek", 6, true, PLAN_PUSH, push_peek },
    { "queues", 8, false, PLAN_QUEUES, queues_change },
    { "back up", 6, false, PLAN_BACKUP, database_backup },
    { "restore", 4, true, PLAN_BACKUP | PLAN_COPY, database_restore },
    { "another key", 8, false, PLAN_KEY, database_rekey },
    { "link data", 8, false, PLAN_LINK | PLAN_ADDRESS, links_change },
    { "look again", 4, false, PLAN_LINK | PLAN_ADDRESS, links_look_again },
    { "longest message", 4, false, PLAN_PQ, pq_longest },
    { "ask", 8, false, PLAN_ASK, ask_queues },
    { "service of a user", 4, false, PLAN_SERVICE, users_service },
};

static const struct action *pick(void)
{
    uint32_t sum = 0, at;

    for (size_t i = 0; i < SX_COUNT(actions); i++)
        sum += (actions[i].group & ~plan.groups) == 0 ? actions[i].weight : 0u;
    at = sim_below(sum);
    for (size_t i = 0;; i++) {
        uint32_t w = (actions[i].group & ~plan.groups) == 0 ? actions[i].weight : 0u;
        if (at < w)
            return &actions[i];
        at -= w;
    }
}

static void act(void)
{
    struct sim_node *n = &sim.nodes[sim_below(sim.n_nodes)];
    const struct action *a = pick();

    app.tick++;
    if (rest_asleep(n) && !a->stopped) {
        if (sim_chance(50))
            (void)rest_resume(n);
        return;
    }
    if (n->a == NULL && (!a->stopped || sim_chance(50)))
        app_start(n);
    else if ((n->a != NULL || a->stopped) && a->run(n))
        sim_trace("%u: %s", n->n, a->name);
}

/* ---- a run ---- */

/* With two actions in five nothing but time passes that matters, so gaps differ a lot. */
static int64_t gap(void)
{
    switch (sim_below(4)) {
    case 0:
        return 0;
    case 1:
        return sim_below(100);
    case 2:
        return sim_below(2000);
    default:
        return (int64_t)sim_below(200) * 150;
    }
}

/* Groups of which nothing is chosen, and no choice made, where they are left out. */
static const struct {
    unsigned group;
    uint32_t percent;
} later[] = {
    { PLAN_BACKUP, 8 }, { PLAN_KEY, 2 }, { PLAN_LINK, 10 }, { PLAN_PQ, 6 }, { PLAN_ASK, 6 },
};

static void choose(unsigned *nodes, unsigned *servers)
{
    static const uint32_t latencies[] = { 5, 100, 3000 };
    static const uint32_t breaks[] = { 0, 0, 1, 5 };

    app_open();
    plan.groups = plan.looks = 0;
    for (unsigned g = 0; g < PLAN_GROUPS; g++)
        plan.groups |= sim_chance(g == 9 || g > 10 ? 20 : 40) ? 1u << g : 0;
    plan.groups &= plan_groups;
    for (size_t i = 0; i < SX_COUNT(later); i++) {
        if ((plan_groups & later[i].group) != 0 && sim_chance(later[i].percent))
            plan.groups |= later[i].group;
    }
    if (plan_all)
        plan.groups = plan_groups;
    plan.pq = sim_below(16) == 0 || (plan.groups & PLAN_PQ) != 0;
    *nodes = sim_chance(70) ? 2 : 3;
    *servers = plan.n_servers = sim_chance(80) ? 2 : 1 + sim_below(3);
    sim_net_cfg.latency = latencies[sim_below(SX_COUNT(latencies))];
    sim_net_cfg.break_percent = (plan.groups & PLAN_NET) != 0 ? breaks[sim_below(4)] : 0;
    sim_net_cfg.version = sim_chance(80) ? 0 : (uint16_t)(6 + sim_below(14));
    sim_net_cfg.quota = sim_chance(85) ? 0 : 2 + sim_below(4);
    sim_net_cfg.proxies = (plan.groups & PLAN_PROXY) != 0;
    app.faults = (plan.groups & PLAN_FAULT) != 0;
    app.kills = (plan.groups & PLAN_KILL) != 0;
    app.pq = (plan.groups & PLAN_PQ) != 0;
    sim.encrypted = (plan.groups & PLAN_KEY) != 0;
    app.expiry = (plan.groups & PLAN_TIME) != 0;
    app.replies = sim_chance(40);
    app.max_wait = sim_chance(50) ? 200 : 20000;
    for (unsigned i = 0; i < *nodes; i++)
        app.calls_back[i] = sim_chance(40);
    for (unsigned i = 0; i < *nodes; i++)
        plan.notifies[i] = (plan.groups & PLAN_PUSH) != 0 && sim_chance(30);
}

void plan_configure(struct sim_node *n)
{
    bool pushed = (plan.groups & PLAN_PUSH) != 0, hidden = (plan.groups & PLAN_PROXY) != 0;
    bool strict = sim_net_cfg.version == 0 && hidden && sim_chance(50);

    n->cfg.notifications = plan.notifies[n->n];
    n->cfg.fetch_only = pushed && !app.prompt && sim_chance(10);
    n->cfg.client_service = (plan.groups & PLAN_SERVICE) != 0 && sim_chance(50);
    n->cfg.proxy_mode = hidden ? (int32_t)sim_below(4) : SIMPLEX_PROXY_NEVER;
    n->cfg.proxy_fallback = strict ? SIMPLEX_FALLBACK_PROHIBIT : SIMPLEX_FALLBACK_ALLOW;
    n->hides = strict && n->cfg.proxy_mode == SIMPLEX_PROXY_ALWAYS;
}

static void run_settings(struct sim_node *n, void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < app.n_ends; i++) {
        struct app_end *e = &app.ends[i];
        if (e->node != n || !e->off || !act_deletable(e))
            continue;
        SIM_CHECK(simplex_agent_subscribe(n->a, e->id, true) == SIMPLEX_OK);
        e->off = false;
    }
}

/* Faults end: all devices run, all servers are there, applications do their tasks at once. */
static void heal(void)
{
    sim_kill_in(0);
    (void)sx_fault_disarm();
    sim_net_heal();
    sim_trace("faults end");
    app.prompt = true;
    for (unsigned i = 0; i < sim.n_nodes; i++) {
        struct sim_node *n = &sim.nodes[i];
        if (n->cfg.fetch_only)
            sim_stop(n);
        if (n->a == NULL)
            app_start(n);
        SIM_CHECK(n->a != NULL);
        (void)sx_store_fault_disarm(n->a->store);
        push_end(n);
    }
    (void)sim_run(5000, pump); /* a store that failed recovers */
    for (unsigned i = 0; i < sim.n_nodes; i++)
        rest_end(&sim.nodes[i]);
    (void)sim_run(5000, pump); /* one that was suspended reads its rows */
    end_noise();
    for (unsigned i = 0; i < sim.n_nodes; i++) {
        users_end(&sim.nodes[i]);
        (void)sim_app(&sim.nodes[i], run_settings, NULL);
    }
}

static bool settled(void)
{
    app_pump();
    return ++plan.looks % 8 == 0 && app_settled();
}

static void settle(void)
{
    if (sim_run(14 * 24 * HOUR, settled) || app_settled())
        return;
    app_describe();
    sim_fail("it does not come to an end");
}

/* Looks at a connection that works: it must say so. */
struct look {
    bool rotating;
};

static void run_look_at(struct sim_node *n, void *arg)
{
    struct look *l = arg;

    for (unsigned i = 0; i < app.n_ends; i++) {
        struct app_end *e = &app.ends[i];
        simplex_connection_info info = { .size = sizeof info };
        if (e->node != n || !app_usable(e) || e->dead)
            continue;
        SIM_CHECK(simplex_agent_connection(n->a, e->id, &info) == SIMPLEX_OK);
        SIM_CHECK(info.state == SIMPLEX_CONN_READY && info.sync_state == SIMPLEX_SYNC_OK &&
                  info.subscribed);
        if (!e->synced && !e->rolled && info.rcv_switch != 0) {
            l->rotating = true;
            sim_trace("%u/%u is still moved: %d", n->n, e->n, info.rcv_switch);
        }
    }
}

static bool rotated(void)
{
    struct look l = { false };

    for (unsigned i = 0; i < sim.n_nodes; i++)
        SIM_CHECK(sim_app(&sim.nodes[i], run_look_at, &l));
    return !l.rotating;
}

static void finish_rotations(void)
{
    for (unsigned tries = 0; !rotated() || !push_as_wanted(); tries++) {
        if (tries > 100)
            sim_fail("%s not come to an end", rotated() ? "notifiers do" : "a rotation does");
        (void)sim_run(600000, pump);
    }
}

static void probe(void)
{
    for (unsigned i = 0; i < app.n_ends; i++) {
        struct app_end *e = &app.ends[i];
        if (app_usable(e) && !e->dead)
            app_send(e, 20, true);
    }
}

static void end_links(void)
{
    links_end();
    settle();
    links_look_all();
    settle();
    links_check();
}

/* What both want is known after a message each, and four more tell the keys. */
static void end_pq(void)
{
    pq_choose();
    for (unsigned i = 0; i < 8; i++) {
        pq_talk(i % 2 == 0);
        settle();
    }
    pq_check();
}

static void end_asking(void)
{
    (void)sim_run(60000, pump); /* for acknowledgements on their way */
    ask_all();
    settle();
    ask_check();
}

/* One connection of device 0 with each of the others, before the script begins. */
static void connect_to(unsigned other)
{
    struct app_end *e;

    SIM_CHECK(act_create(&sim.nodes[0]));
    e = call.e;
    (void)sim_run(60000, pump);
    SIM_CHECK(e->link[0] != 0 && act_join(&sim.nodes[other]));
    (void)sim_run(120000, pump);
    SIM_CHECK(e->ready != 0 && e->peer->ready != 0);
    if (other != 1)
        return;
    e->hostile = e->dead = true;
    e->peer->hostile = e->peer->dead = true;
}

static void meet_contact(void)
{
    const uint8_t *script = sim.script;
    size_t left = sim.script_left;

    sim.script_left = 0; /* these choices are none */
    connect_to(1);
    connect_to(2);
    sim.script = script;
    sim.script_left = left;
    sim.hostile = &sim.nodes[1];
}

void plan_run(void)
{
    unsigned nodes, servers, steps;

    choose(&nodes, &servers);
    sim_trace("%u devices, %u servers, groups %x, latency %u, breaks %u%%, version %u, quota %u",
              nodes, servers, plan.groups, sim_net_cfg.latency, sim_net_cfg.break_percent,
              sim_net_cfg.version, sim_net_cfg.quota);
    if (plan_contact) {
        nodes = 3;
        plan.groups = plan_groups;
    }
    sim_open(nodes, servers);
    for (unsigned i = 0; i < nodes; i++)
        app_start(&sim.nodes[i]);
    if (plan_contact)
        meet_contact();
    steps = 10 + sim_below(STEPS);
    for (unsigned i = 0; i < steps && (sim.script == NULL || sim.script_left > 0); i++) {
        act();
        (void)sim_run(gap(), pump);
    }
    heal();
    settle();
    if ((plan.groups & PLAN_LINK) != 0)
        end_links();
    probe();
    settle();
    if ((plan.groups & PLAN_PQ) != 0)
        end_pq();
    finish_rotations();
    if ((plan.groups & PLAN_ASK) != 0)
        end_asking();
    app_check_end();
    sim_close();
    for (unsigned i = 0; i < SIM_NODES; i++)
        sim_copy_free(&plan.copies[i]);
}
