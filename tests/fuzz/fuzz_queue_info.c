/* SPDX-License-Identifier: Apache-2.0 */
/* SMPQueueInfo: what was decoded is decoded again from its encoding. */
#include "fuzz.h"

#include "wire/queue.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sx_rd r = sx_rd_init(sx_bytes(data, size));
    struct sx_queue_addr q, again;
    struct sx_wr w1, w2;

    sx_queue_info_decode(&r, &q);
    if (r.bad)
        return 0;
    sx_wr_init(&w1, 65536);
    sx_wr_init(&w2, 65536);
    sx_queue_info_encode(&w1, &q);
    CHECK(!w1.bad);
    struct sx_rd r2 = sx_rd_init(sx_wr_bytes(&w1));
    sx_queue_info_decode(&r2, &again);
    CHECK(sx_rd_done(&r2));
    sx_queue_info_encode(&w2, &again);
    CHECK(!w2.bad && sx_bytes_eq(sx_wr_bytes(&w1), sx_wr_bytes(&w2)));
    sx_wr_free(&w1);
    sx_wr_free(&w2);
    return 0;
}
