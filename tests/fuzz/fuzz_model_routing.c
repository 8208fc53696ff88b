/* SPDX-License-Identifier: Apache-2.0 */
/* Commands through proxies, whose sessions with relays break, and links that are read there. */
#include "fuzz_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    plan_all = true;
    fuzz_model(data, size,
               PLAN_PROXY | PLAN_USERS | PLAN_ADDRESS | PLAN_KILL | PLAN_NET | PLAN_SERVER);
    return 0;
}
