/* SPDX-License-Identifier: Apache-2.0 */
#include "support/full_disk.h"

#include "agent/agent.h"

static simplex_rc arm(struct simplex_agent *a, void *arg)
{
    const struct full_disk *f = arg;

    a->recover_after = f->recover_after;
    sx_store_fault(a->store, f->nth, SIMPLEX_E_DB_FULL);
    return SIMPLEX_OK;
}

static simplex_rc disarm(struct simplex_agent *a, void *arg)
{
    ((struct full_disk *)arg)->fired = sx_store_fault_disarm(a->store);
    return SIMPLEX_OK;
}

/* A failing commit of the same turn is the result of these calls as well. */

void full_disk_begin(struct test_agent *t, struct full_disk *f)
{
    (void)!sx_agent_run(t->a, arm, f, false);
}

void full_disk_end(struct test_agent *t, struct full_disk *f)
{
    (void)!sx_agent_run(t->a, disarm, f, false);
}
