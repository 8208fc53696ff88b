/* SPDX-License-Identifier: Apache-2.0 */
/* Agent envelopes have one encoding each. */
#include "fuzz.h"

#include "wire/agent_msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sx_envelope e;
    struct sx_wr w;

    if (sx_envelope_decode(sx_bytes(data, size), &e) != SIMPLEX_OK)
        return 0;
    sx_wr_init(&w, size + 1);
    sx_envelope_encode(&w, &e);
    CHECK(!w.bad && sx_bytes_eq(sx_wr_bytes(&w), sx_bytes(data, size)));
    sx_wr_free(&w);
    return 0;
}
