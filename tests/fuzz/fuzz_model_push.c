/* SPDX-License-Identifier: Apache-2.0 */
/* Notifiers, single messages that are fetched, and looking at a database without writing. */
#include "fuzz_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    plan_all = true;
    fuzz_model(data, size, PLAN_PUSH | PLAN_KILL | PLAN_NET | PLAN_SERVER | PLAN_SWITCH);
    return 0;
}
