/* SPDX-License-Identifier: Apache-2.0 */
/* Queues that move while sessions break, devices die and servers go. */
#include "fuzz_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    plan_all = true;
    fuzz_model(data, size, PLAN_KILL | PLAN_NET | PLAN_SERVER | PLAN_SWITCH);
    return 0;
}
