/* SPDX-License-Identifier: Apache-2.0 */
/* Connections of a device: made, deleted, written to, moved to other queues, synchronised. */
#include <stdio.h>

#include "agent/agent.h"
#include "sim/acts.h"

static struct { /* arguments and results, for code that runs on a device */
    struct app_end *e;
    char link[APP_LINK];
    char info[16];
    int32_t pq;
    int32_t type;
    bool on;
    simplex_rc rc;
    int64_t id;
} call;

static bool ok_or_fault(simplex_rc rc)
{
    bool hostile = call.e != NULL && call.e->hostile;

    if (rc != SIMPLEX_OK && !(app.faults && sx_rc_is_store(rc)) && !hostile)
        sim_fail("a call failed: %s", simplex_rc_name(rc));
    return rc == SIMPLEX_OK;
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

/* ---- made and deleted ---- */

static bool room(void)
{
    return app.n_ends + 4 < APP_ENDS;
}

static void run_create(struct sim_node *n, void *arg)
{
    (void)arg;
    call.rc = simplex_agent_create_as(n->a, users_any(n), call.pq, &call.id);
}

bool conns_create(struct sim_node *n)
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

bool conns_create_short(struct sim_node *n)
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

bool conns_address(struct sim_node *n)
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

bool conns_join(struct sim_node *n)
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

void conns_look(struct sim_node *n, struct app_end *offer)
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

bool conns_delete(struct sim_node *n)
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

bool conns_send(struct sim_node *n)
{
    struct app_end *e = act_any_end(n, app_usable);

    if (e == NULL)
        return false;
    for (uint32_t i = sim_below(4); e->node->a != NULL; i--) {
        app_send(e, sim_chance(5) ? 13000 : 20, false);
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

bool conns_subscribe(struct sim_node *n)
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

bool conns_switch(struct sim_node *n)
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

void conns_synchronise(struct app_end *e)
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

bool conns_sync(struct sim_node *n)
{
    struct app_end *e = act_any_end(n, app_usable);

    if (e != NULL)
        conns_synchronise(e);
    return e != NULL;
}

/* ---- a hostile contact ---- */

/* One connection of device 0 with each of the others, before the script begins. */
static void connect_to(unsigned other)
{
    struct app_end *e;

    SIM_CHECK(conns_create(&sim.nodes[0]));
    e = call.e;
    (void)sim_run(60000, act_pump);
    SIM_CHECK(e->link[0] != 0 && conns_join(&sim.nodes[other]));
    (void)sim_run(120000, act_pump);
    SIM_CHECK(e->ready != 0 && e->peer->ready != 0);
    if (other != 1)
        return;
    e->hostile = e->dead = true;
    e->peer->hostile = e->peer->dead = true;
}

void conns_meet(void)
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
