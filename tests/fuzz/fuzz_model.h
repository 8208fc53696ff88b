/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulation with a script in the place of its choices: the input says which devices there are,
 * what they do and when, and what goes wrong. See tests/sim/plan.c; docs/testing.md.
 */
#ifndef TESTS_FUZZ_MODEL_H
#define TESTS_FUZZ_MODEL_H

#include "fuzz.h"
#include "sim/app.h"

#define FUZZ_SCRIPT_MAX 2000

/* With TRACE in the environment it tells on stderr what happens. */
static void fuzz_model(const uint8_t *data, size_t size, unsigned groups)
{
    sim.trace = getenv("TRACE") != NULL;
    sim.script = data;
    sim.script_left = size < FUZZ_SCRIPT_MAX ? size : FUZZ_SCRIPT_MAX;
    sim.failed = abort;
    plan_groups = groups;
    sim_seed(1);
    plan_run();
    sim.script = NULL;
}

#endif
