/* SPDX-License-Identifier: Apache-2.0 */
/* Client services of all users or of some, which servers learn of, forget and refuse. */
#include "fuzz_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    plan_all = true;
    fuzz_model(data, size, PLAN_SERVICE | PLAN_USERS | PLAN_KILL | PLAN_NET | PLAN_SERVER);
    return 0;
}
