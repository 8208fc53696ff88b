/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens in a run: actions in the order and number that the choices have, then the end of all
 * faults, after which everything must come to an end and every connection work.
 *
 * To add an action, write a function and a row of the table.
 */
#include "agent/agent.h"
#include "sim/acts.h"

#define HOUR (3600 * INT64_C(1000))
#define STEPS 60

static struct plan {
    unsigned groups;
    bool pq;
    bool notifies[SIM_NODES]; /* its new connections have notifications */
    unsigned looks; /* whether it has come to an end: not each time, it takes longer than a step */
} plan;

unsigned plan_groups = ~0u;
bool plan_contact, plan_all;

bool act_tolerated(simplex_rc rc)
{
    if (rc != SIMPLEX_OK && !(app.faults && sx_rc_is_store(rc)))
        sim_fail("a call failed: %s", simplex_rc_name(rc));
    return rc == SIMPLEX_OK;
}

bool act_pump(void)
{
    app_pump();
    return false;
}

int32_t act_any_pq(void)
{
    return plan.pq ? (int32_t)sim_below(3) : SIMPLEX_PQ_OFF;
}

/* ---- the table ---- */

static const struct action {
    const char *name;
    uint8_t weight;
    bool stopped; /* also on a device whose agent does not run */
    unsigned group;
    bool (*run)(struct sim_node *n); /* false: not possible now */
} actions[] = {
    { "create", 8, false, PLAN_ALWAYS, conns_create },
    { "join", 16, false, PLAN_ALWAYS, conns_join },
    { "send", 36, false, PLAN_ALWAYS, conns_send },
    { "send to many", 6, false, PLAN_ALWAYS, batch_send },
    { "subscribe", 3, false, PLAN_ALWAYS, conns_subscribe },
    { "close", 3, false, PLAN_ALWAYS, devices_close },
    { "create short", 6, false, PLAN_ADDRESS, conns_create_short },
    { "address", 4, false, PLAN_ADDRESS, conns_address },
    { "switch", 10, false, PLAN_SWITCH, conns_switch },
    { "policy", 4, false, PLAN_SWITCH, users_policy },
    { "synchronise", 6, false, PLAN_SYNC, conns_sync },
    { "delete", 4, false, PLAN_DELETE, conns_delete },
    { "kill", 12, false, PLAN_KILL, devices_kill },
    { "copy", 6, true, PLAN_COPY, devices_copy },
    { "roll back", 6, true, PLAN_COPY, devices_roll_back },
    { "go back midway", 6, false, PLAN_COPY | PLAN_SYNC, devices_go_back_midway },
    { "fault", 8, false, PLAN_FAULT, faults_fail },
    { "noise", 8, false, PLAN_NOISE, devices_noise },
    { "clock", 4, true, PLAN_TIME, faults_clock },
    { "wait", 3, true, PLAN_TIME, faults_wait },
    { "break", 8, true, PLAN_NET, faults_break },
    { "deaf", 4, true, PLAN_NET, faults_deaf },
    { "repeat", 6, true, PLAN_NET, faults_repeat },
    { "server", 6, true, PLAN_SERVER, faults_server },
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
    *servers = sim_chance(80) ? 2 : 1 + sim_below(3);
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
    (void)sim_run(5000, act_pump); /* a store that failed recovers */
    for (unsigned i = 0; i < sim.n_nodes; i++)
        rest_end(&sim.nodes[i]);
    (void)sim_run(5000, act_pump); /* one that was suspended reads its rows */
    devices_quiet();
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
        (void)sim_run(600000, act_pump);
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
    (void)sim_run(60000, act_pump); /* for acknowledgements on their way */
    ask_all();
    settle();
    ask_check();
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
        conns_meet();
    steps = 10 + sim_below(STEPS);
    for (unsigned i = 0; i < steps && (sim.script == NULL || sim.script_left > 0); i++) {
        act();
        (void)sim_run(gap(), act_pump);
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
    devices_free();
}
