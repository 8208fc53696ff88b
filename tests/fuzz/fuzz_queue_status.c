/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON of INFO, as an agent reads it: whatever a server says, fields are in their ranges. */
#include "agent/agent.h"
#include "agent/status.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    simplex_queue_status s;

    if (sx_queue_status_parse(sx_bytes(data, size), &s) != SIMPLEX_OK)
        return 0;
    CHECK(s.size == sizeof s);
    CHECK(s.messages >= 0 && s.messages <= INT32_MAX);
    CHECK(s.subscription >= 0 && s.subscription < 8);
    return 0;
}
