/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random runs of the model, one a seed.
 *
 * The argument, of several such tests side by side: which of them it is.
 *
 *     SEEDS=n        how many runs; without, SIM_SEEDS divided by the number of tests
 *     FIRST_SEED=n   from which on (0)
 *     SIM_GROUPS=n   bits of the groups of actions that may be chosen (enum plan_group)
 *     SIM_ALL=1      all of these are chosen in every run
 *     TRACE=1        tells on stderr what happens; TRACE=2: and what passes the network
 */
#include <stdio.h>
#include <stdlib.h>

#include "sim/app.h"

#define SEEDS 400 /* of all tests together */
#define PARTS 4

static uint64_t number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

/* Every fourth world has redundant queues. SIM_QUEUES: all have so many. */
static int32_t queues_of(uint64_t seed)
{
    const char *text = getenv("SIM_QUEUES");

    if (text != NULL)
        return atoi(text);
    return seed % 4 != 3 ? 0 : seed % 8 == 7 ? 3 : 2;
}

int main(int argc, char **argv)
{
    static char how[512];
    uint64_t part = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    uint64_t seeds = number("SEEDS", number("SIM_SEEDS", SEEDS) / PARTS);
    uint64_t first = number("FIRST_SEED", part * seeds);
    uint64_t shown = 0, kills = 0, connected = 0;

    sim.trace = number("TRACE", 0) != 0;
    sim.trace_blocks = number("TRACE", 0) > 1;
    sim.how = how;
    plan_groups = (unsigned)number("SIM_GROUPS", plan_groups);
    plan_all = number("SIM_ALL", 0) != 0;
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        (void)snprintf(how, sizeof how, "TRACE=1 SEEDS=1 FIRST_SEED=%" PRIu64 " %s", seed, argv[0]);
        sim_seed(seed);
        sim.queues = queues_of(seed);
        plan_run();
        shown += app.shown;
        for (unsigned i = 0; i < sim.n_nodes; i++)
            kills += sim.nodes[i].kills;
        for (unsigned i = 0; i < app.n_ends; i++)
            connected += app.ends[i].ready != 0;
    }
    sim_end();
    (void)printf("%" PRIu64 " runs: %" PRIu64 " ends of connections, %" PRIu64 " messages, %" PRIu64
                 " kills\n",
                 seeds, connected, shown, kills);
    return shown > 0 || seeds < 10 ? 0 : 1;
}
