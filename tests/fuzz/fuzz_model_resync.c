/* SPDX-License-Identifier: Apache-2.0 */
/* New ratchets: begun by either side at any time, after old copies were put back. */
#include "fuzz_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    plan_all = true;
    fuzz_model(data, size, PLAN_KILL | PLAN_NET | PLAN_SYNC | PLAN_COPY);
    return 0;
}
