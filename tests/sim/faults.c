/* SPDX-License-Identifier: Apache-2.0 */
/* What goes wrong around an agent: memory and disk, clocks, connections, servers. */
#include "agent/agent.h"
#include "sim/acts.h"

static void run_fault(struct sim_node *n, void *arg)
{
    const bool *of_store = arg;

    if (*of_store) { /* compilers differ in which argument comes first */
        simplex_rc why = sim_chance(50) ? SIMPLEX_E_DB_FULL : SIMPLEX_E_DB_IO;
        sx_store_fault(n->a->store, 1 + sim_below(50), why);
    } else {
        sx_fault_malloc(sim_below(300));
    }
}

bool faults_fail(struct sim_node *n)
{
    bool of_store = sim_chance(60);

    return sim_app(n, run_fault, &of_store);
}

/* ---- time ---- */

bool faults_clock(struct sim_node *n)
{
    int64_t by = (int64_t)sim_below(200) * 60000;

    n->skew += sim_chance(50) ? by : -by;
    sim_trace("the clock of %u is off by %" PRId64 " s", n->n, n->skew / 1000);
    return true;
}

bool faults_wait(struct sim_node *n)
{
    (void)n;
    (void)sim_run((int64_t)sim_below(120) * 60000, act_pump);
    return true;
}

/* ---- sessions and servers ---- */

static bool with_a_session(struct sim_node *n, void (*fault)(const struct sim_node *, unsigned))
{
    unsigned conns = sim_conns(n);

    if (conns == 0)
        return false;
    fault(n, sim_below(conns));
    return true;
}

bool faults_break(struct sim_node *n)
{
    return with_a_session(n, sim_conn_break);
}

bool faults_deaf(struct sim_node *n)
{
    return with_a_session(n, sim_conn_deaf);
}

bool faults_repeat(struct sim_node *n)
{
    return with_a_session(n, sim_conn_repeat);
}

bool faults_server(struct sim_node *n)
{
    unsigned s = sim_below(sim_servers());

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
