/* SPDX-License-Identifier: Apache-2.0 */
/* What its user, or its fate, does to a device: closed, killed, set back to a copy; its noise. */
#include "agent/agent.h"
#include "sim/acts.h"

bool devices_close(struct sim_node *n)
{
    sim_stop(n);
    if (sim_chance(70))
        app_start(n);
    return true;
}

bool devices_kill(struct sim_node *n)
{
    (void)n;
    sim_kill_in(1 + sim_below(sim_chance(30) ? 20000 : 2000));
    return true;
}

/* ---- copies of its database ---- */

static struct sim_copy copies[SIM_NODES];
static uint64_t copy_tick[SIM_NODES];
static unsigned copy_kills[SIM_NODES];

bool devices_copy(struct sim_node *n)
{
    sim_copy_make(n, &copies[n->n]);
    copy_tick[n->n] = ++app.tick;
    copy_kills[n->n] = n->kills;
    sim_trace("%u is copied", n->n);
    return true;
}

void devices_rolled_back(const struct sim_node *n, uint64_t tick)
{
    if (copy_tick[n->n] > tick)
        sim_copy_free(&copies[n->n]);
}

/* A copy that was made in the run it replaces cannot be known when that was killed, or could not
 * note its age at the end (restored.c): faults that wait for this end are dropped. */
bool devices_roll_back(struct sim_node *n)
{
    const struct sim_copy *c = &copies[n->n];

    if (c->file[0] == NULL || (c->run == n->runs && copy_kills[n->n] != n->kills))
        return false;
    (void)sx_fault_disarm();
    if (n->a != NULL)
        (void)sx_store_fault_disarm(n->a->store);
    sim_stop(n);
    if (c->run == n->runs && copy_kills[n->n] != n->kills)
        return true;
    sim_copy_put(n, c);
    sim_trace("%u goes back to a copy", n->n);
    app_rolled_back(n, copy_tick[n->n]);
    app_start(n);
    return true;
}

static bool peer_is_there(const struct app_end *e)
{
    return app_usable(e) && e->peer != NULL && app_usable(e->peer) && !rest_going(e->peer->node);
}

/* While it takes part in a new ratchet that its peer has begun. */
bool devices_go_back_midway(struct sim_node *n)
{
    struct app_end *e = act_any_end(n, peer_is_there);

    if (copies[n->n].file[0] == NULL)
        return devices_copy(n);
    if (e == NULL)
        return false;
    conns_synchronise(e->peer);
    (void)sim_run(sim_below(8 * sim_net_cfg.latency), act_pump);
    return devices_roll_back(n);
}

void devices_free(void)
{
    for (unsigned i = 0; i < SIM_NODES; i++)
        sim_copy_free(&copies[i]);
}

/* ---- noise ---- */

static struct {
    bool on;
    simplex_rc rc;
} noisy;

static void run_noise(struct sim_node *n, void *arg)
{
    simplex_noise noise = { .size = sizeof noise,
                            .budget = (int64_t)(1 + sim_below(60)) << 20,
                            .kinds = sim_below(8),
                            .wait = sim_chance(50) ? 0 : (int64_t)sim_below(60000) };

    (void)arg;
    noisy.rc = simplex_agent_set_noise(n->a, noisy.on ? &noise : NULL);
}

bool devices_noise(struct sim_node *n)
{
    noisy.on = sim_chance(85);
    return sim_app(n, run_noise, NULL) && act_tolerated(noisy.rc);
}

void devices_quiet(void)
{
    noisy.on = false;
    for (unsigned i = 0; i < sim.n_nodes; i++) {
        SIM_CHECK(sim_app(&sim.nodes[i], run_noise, NULL));
        SIM_CHECK(noisy.rc == SIMPLEX_OK);
    }
}
