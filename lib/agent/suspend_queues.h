/* SPDX-License-Identifier: Apache-2.0 */
/* The receiving queues of a connection take nothing more (OFF): suspend_queues.c. */
#ifndef SX_AGENT_SUSPEND_QUEUES_H
#define SX_AGENT_SUSPEND_QUEUES_H

#include "agent/agent.h"

/* OFF was answered: OK, or why the server refuses it. */
simplex_rc sx_off_answered(struct simplex_agent *a, const struct sx_command *cmd, simplex_rc why,
                           const char *detail) SIMPLEX_CHECK;

#endif
