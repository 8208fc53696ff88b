/* SPDX-License-Identifier: Apache-2.0 */
/* Short links and contact addresses: made, looked at, joined, deleted, their data replaced. */
#include "fuzz_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    plan_all = true;
    fuzz_model(data, size, PLAN_KILL | PLAN_NET | PLAN_DELETE | PLAN_ADDRESS | PLAN_LINK);
    return 0;
}
