/* SPDX-License-Identifier: Apache-2.0 */
/* Connections with several queues: added, removed and moved while servers and devices die. */
#include "fuzz_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    plan_all = true;
    sim.queues = 2;
    fuzz_model(data, size, PLAN_QUEUES | PLAN_SWITCH | PLAN_KILL | PLAN_NET | PLAN_SERVER);
    return 0;
}
