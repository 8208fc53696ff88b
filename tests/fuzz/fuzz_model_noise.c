/* SPDX-License-Identifier: Apache-2.0 */
/* Noise beside messages: loops whose queues are made and deleted, repeats, changes of budget. */
#include "fuzz_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    plan_all = true;
    fuzz_model(data, size, PLAN_NOISE | PLAN_LIFE | PLAN_TIME | PLAN_KILL | PLAN_NET | PLAN_SERVER);
    return 0;
}
