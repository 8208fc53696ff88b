/* SPDX-License-Identifier: Apache-2.0 */
/* Arguments of public functions. */
#ifndef SX_AGENT_CHECK_H
#define SX_AGENT_CHECK_H

#include "simplex/agent.h"

#define CHECK(cond)               \
    do {                          \
        if (!(cond))              \
            return SIMPLEX_E_ARG; \
    } while (0)

static inline bool valid(simplex_bytes b)
{
    return b.ptr != NULL || b.len == 0;
}

static inline bool valid_pq(int32_t pq)
{
    return pq >= SIMPLEX_PQ_OFF && pq <= SIMPLEX_PQ_IN_LINK;
}

#endif
