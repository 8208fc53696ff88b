/* SPDX-License-Identifier: Apache-2.0 */
/* Networks and suspension: when an agent may work. */
#include "agent/network.h"
#include "sim/acts.h"

static struct {
    simplex_rc rc;
    int64_t ms;
    int32_t network;
    bool online;
} rest;

bool rest_asleep(const struct sim_node *n)
{
    return n->a != NULL && sx_ending(n->a, SX_SUSPENDED);
}

bool rest_going(const struct sim_node *n)
{
    return n->a != NULL && sx_ending(n->a, SX_END_RECEIVING);
}

/* ---- suspension ---- */

static void run_suspend(struct sim_node *n, void *arg)
{
    (void)arg;
    rest.rc = simplex_agent_suspend(n->a, rest.ms);
}

bool rest_suspend(struct sim_node *n)
{
    static const int64_t times[] = { 0, 1, 300, 20000 };

    rest.ms = times[sim_below(SX_COUNT(times))];
    if (sim_app(n, run_suspend, NULL))
        (void)act_tolerated(rest.rc);
    return true;
}

static void run_resume(struct sim_node *n, void *arg)
{
    (void)arg;
    rest.rc = simplex_agent_resume(n->a);
}

bool rest_resume(struct sim_node *n)
{
    if (sim_app(n, run_resume, NULL))
        (void)act_tolerated(rest.rc);
    return true;
}

/* Nothing is written while it is suspended: then it may be asked without being woken. */
void rest_check(const struct sim_node *n)
{
    if (rest_asleep(n) && sx_store_in_transaction(n->a->store))
        sim_fail("device %u writes while it is suspended", n->n);
}

/* ---- the network ---- */

static void run_network(struct sim_node *n, void *arg)
{
    (void)arg;
    rest.rc = simplex_agent_set_network(n->a, rest.network, rest.online);
}

bool rest_network(struct sim_node *n)
{
    rest.network = (int32_t)sim_below(5);
    rest.online = sim_chance(70);
    if (sim_app(n, run_network, NULL))
        (void)act_tolerated(rest.rc);
    return true;
}

static void run_reconnect(struct sim_node *n, void *arg)
{
    (void)arg;
    rest.rc = rest.online ? simplex_agent_reconnect(n->a)
                          : simplex_agent_reconnect_user(n->a, SIMPLEX_USER_DEFAULT, NULL);
}

bool rest_reconnect(struct sim_node *n)
{
    rest.online = sim_chance(50);
    if (sim_app(n, run_reconnect, NULL))
        (void)act_tolerated(rest.rc);
    return true;
}

static void run_test(struct sim_node *n, void *arg)
{
    int64_t test;

    (void)arg;
    rest.rc = simplex_agent_test_server(
        n->a, SIMPLEX_USER_DEFAULT, n->cfg.servers[sim_below((uint32_t)n->cfg.n_servers)], &test);
}

bool rest_test(struct sim_node *n)
{
    if (n->hides) /* a queue of its own is secured as a contact would do it */
        return false;
    if (sim_app(n, run_test, NULL) && rest.rc != SIMPLEX_E_PROHIBITED &&
        rest.rc != SIMPLEX_E_SUSPENDED) /* it is being suspended */
        (void)act_tolerated(rest.rc);
    return true;
}

/* ---- the end of all that ---- */

void rest_end(struct sim_node *n)
{
    rest.network = SIMPLEX_NET_OTHER;
    rest.online = true;
    SIM_CHECK(sim_app(n, run_resume, NULL) && rest.rc == SIMPLEX_OK);
    SIM_CHECK(sim_app(n, run_network, NULL) && rest.rc == SIMPLEX_OK);
}
