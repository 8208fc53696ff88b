/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When the agent may use the network and the database: what the device says of its network, and
 * being suspended (agent.md sections 6.9, 8.1); the test of a server.
 */
#ifndef SX_AGENT_NETWORK_H
#define SX_AGENT_NETWORK_H

#include "agent/agent.h"

#define SX_OFFLINE_WAIT (30 * 60 * 1000LL) /* then it is tried all the same */
#define SX_OFFLINE_DEBOUNCE 2000           /* "offline" that soon after another change waits */

/* ---- network.c ---- */

void sx_network_run(struct simplex_agent *a);            /* at the end of a turn */
int64_t sx_network_alarm(const struct simplex_agent *a); /* mono ms; INT64_MAX: none */
bool sx_network_off(const struct simplex_agent *a);      /* no attempts are made */
/* What follows from all states: attempts, time limits, noise. */
void sx_network_apply(struct simplex_agent *a);

/* ---- suspend.c ---- */

/* Is nothing new begun any more: `phase` or a later one. */
static inline bool sx_ending(const struct simplex_agent *a, enum sx_life phase)
{
    return a->life.phase >= phase;
}
void sx_suspend_run(struct simplex_agent *a); /* at the end of a turn: goes on when it can */
int64_t sx_suspend_alarm(const struct simplex_agent *a);

/* ---- server_test.c ---- */

/* A session came up, or down, that is of no queue or contact. */
void sx_test_up(struct simplex_agent *a, const struct sx_client *c);
void sx_test_down(struct simplex_agent *a, const struct sx_client *c, simplex_rc why);
/* Those that wait for a connection, or all of them, end with this. */
void sx_tests_end(struct simplex_agent *a, bool waiting_only, simplex_rc why);
void sx_tests_free(struct simplex_agent *a); /* at close, when the net is gone */

#endif
