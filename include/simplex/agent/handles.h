/* SPDX-License-Identifier: Apache-2.0 */
/* Part of simplex/agent.h: what its other parts are about, an agent and an event. */
#ifndef SIMPLEX_AGENT_HANDLES_H
#define SIMPLEX_AGENT_HANDLES_H

#include "simplex/types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct simplex_agent simplex_agent; /* thread-safe */
typedef struct simplex_event simplex_event; /* belongs to one thread at a time */

#ifdef __cplusplus
}
#endif
#endif
