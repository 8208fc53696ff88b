/* SPDX-License-Identifier: Apache-2.0 */
/* Binary links: the encoding of what was decoded is stable. */
#include "fuzz.h"

#include "wire/link.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sx_link l, again;
    struct sx_wr w1, w2;

    if (sx_link_decode(sx_bytes(data, size), &l) != SIMPLEX_OK)
        return 0;
    sx_wr_init(&w1, 1000000);
    sx_wr_init(&w2, 1000000);
    sx_link_encode(&w1, &l);
    CHECK(!w1.bad);
    CHECK(sx_link_decode(sx_wr_bytes(&w1), &again) == SIMPLEX_OK);
    sx_link_encode(&w2, &again);
    CHECK(!w2.bad && sx_bytes_eq(sx_wr_bytes(&w1), sx_wr_bytes(&w2)));
    sx_link_free(&again);
    sx_link_free(&l);
    sx_wr_free(&w1);
    sx_wr_free(&w2);
    return 0;
}
