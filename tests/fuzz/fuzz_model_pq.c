/* SPDX-License-Identifier: Apache-2.0 */
/* Post-quantum keys that are wanted and not, while ratchets are made anew and messages are lost. */
#include "fuzz_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    plan_all = true;
    fuzz_model(data, size, PLAN_PQ | PLAN_ASK | PLAN_SYNC | PLAN_ADDRESS | PLAN_KILL | PLAN_NET);
    return 0;
}
