/* SPDX-License-Identifier: Apache-2.0 */
/* Queue addresses as text: what is printed is read again and printed the same. */
#include "fuzz.h"

#include "wire/queue.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sx_queue_addr q, again;
    struct sx_wr w1, w2;

    if (sx_queue_uri_parse(sx_bytes(data, size), &q) != SIMPLEX_OK)
        return 0;
    sx_wr_init(&w1, 65536);
    sx_wr_init(&w2, 65536);
    sx_queue_uri_print(&w1, &q);
    CHECK(!w1.bad);
    CHECK(sx_queue_uri_parse(sx_wr_bytes(&w1), &again) == SIMPLEX_OK);
    CHECK(sx_server_eq(&q.server, &again.server) && q.mode == again.mode);
    CHECK(sx_bytes_eq(sx_id_bytes(&q.snd_id), sx_id_bytes(&again.snd_id)));
    sx_queue_uri_print(&w2, &again);
    CHECK(!w2.bad && sx_bytes_eq(sx_wr_bytes(&w1), sx_wr_bytes(&w2)));
    sx_wr_free(&w1);
    sx_wr_free(&w2);
    return 0;
}
