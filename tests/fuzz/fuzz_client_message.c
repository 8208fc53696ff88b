/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies of SEND and what is inside their box: one encoding each. */
#include "fuzz.h"

#include "wire/queue.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sx_client_msg m;
    struct sx_private_msg p;
    simplex_bytes in = { data, size };
    struct sx_wr w;

    sx_wr_init(&w, size + 1);
    if (sx_client_msg_decode(in, &m) == SIMPLEX_OK) {
        sx_client_msg_encode(&w, &m);
        CHECK(!w.bad && sx_bytes_eq(sx_wr_bytes(&w), in));
        sx_wr_reset(&w);
    }
    if (sx_private_msg_decode(in, &p) == SIMPLEX_OK) {
        sx_private_msg_encode(&w, &p);
        CHECK(!w.bad && sx_bytes_eq(sx_wr_bytes(&w), in));
    }
    sx_wr_free(&w);
    return 0;
}
