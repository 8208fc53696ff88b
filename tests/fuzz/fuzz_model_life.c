/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Networks that come and go, suspension and waking up, and users that are made, moved and deleted
 * meanwhile.
 */
#include "fuzz_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    plan_all = true;
    fuzz_model(data, size, PLAN_LIFE | PLAN_USERS | PLAN_KILL | PLAN_NET);
    return 0;
}
