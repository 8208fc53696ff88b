/* SPDX-License-Identifier: Apache-2.0 */
/* Actions about when an agent may work, and for whom: networks, suspension, users. */
#include "agent/network.h"
#include "sim/app.h"
#include "sim/rest.h"

static struct {
    simplex_rc rc;
    int64_t ms, user;
    int32_t network;
    bool online;
} rest;

static bool tolerated(simplex_rc rc)
{
    if (rc != SIMPLEX_OK && !(app.faults && sx_rc_is_store(rc)))
        sim_fail("a call failed: %s", simplex_rc_name(rc));
    return rc == SIMPLEX_OK;
}

bool rest_asleep(const struct sim_node *n)
{
    return n->a != NULL && sx_ending(n->a, SX_SUSPENDED);
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
        (void)tolerated(rest.rc);
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
        (void)tolerated(rest.rc);
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
        (void)tolerated(rest.rc);
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
        (void)tolerated(rest.rc);
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
    if (sim_app(n, run_test, NULL) && rest.rc != SIMPLEX_E_PROHIBITED &&
        rest.rc != SIMPLEX_E_SUSPENDED) /* it is being suspended */
        (void)tolerated(rest.rc);
    return true;
}

/* ---- users ---- */

static void run_user(struct sim_node *n, void *arg)
{
    (void)arg;
    rest.rc = simplex_agent_create_user(n->a, NULL, 0, &rest.user);
    if (rest.rc == SIMPLEX_OK && sim_chance(50))
        rest.rc = simplex_agent_activate_user(n->a, rest.user);
}

bool rest_user(struct sim_node *n)
{
    if (sim_app(n, run_user, NULL))
        (void)tolerated(rest.rc);
    return true;
}

int64_t rest_any_user(struct sim_node *n)
{
    int64_t ids[8];
    size_t count = SX_COUNT(ids);

    if (simplex_agent_users(n->a, 0, ids, &count) != SIMPLEX_OK || count < 2)
        return SIMPLEX_USER_DEFAULT;
    return ids[sim_below((uint32_t)count)];
}

/* ---- the end of all that ---- */

void rest_end(struct sim_node *n)
{
    rest.network = SIMPLEX_NET_OTHER;
    rest.online = true;
    SIM_CHECK(sim_app(n, run_resume, NULL) && rest.rc == SIMPLEX_OK);
    SIM_CHECK(sim_app(n, run_network, NULL) && rest.rc == SIMPLEX_OK);
}
