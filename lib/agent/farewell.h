/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SX_AGENT_FAREWELL_H
#define SX_AGENT_FAREWELL_H

#include "agent/agent.h"

#define SX_FAREWELL_TIME (2 * 24 * 3600 * 1000LL) /* agent.md section 8.1: delete-wait */

simplex_rc sx_farewells_load(struct simplex_agent *a) SIMPLEX_CHECK;
/* The connection is being deleted. *waits: its messages are delivered first. */
simplex_rc sx_farewell_begin(struct simplex_agent *a, int64_t conn, bool *waits) SIMPLEX_CHECK;
/* *yes: its deliveries go on. */
simplex_rc sx_farewell_waits(struct simplex_agent *a, int64_t conn, bool *yes) SIMPLEX_CHECK;
/* One of its messages was delivered or given up. */
simplex_rc sx_farewell_said(struct simplex_agent *a, int64_t conn) SIMPLEX_CHECK;
simplex_rc sx_farewell_end(struct simplex_agent *a, int64_t conn) SIMPLEX_CHECK; /* if it waits */
void sx_farewells_due(struct simplex_agent *a); /* those that have waited long enough */

#endif
