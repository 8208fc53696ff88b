/* SPDX-License-Identifier: Apache-2.0 */
/* Links as pasted: what is printed is read again and printed the same, also as binary. */
#include "fuzz.h"

#include "wire/link.h"

static void print(struct sx_wr *w, const struct sx_link *l)
{
    sx_wr_init(w, 8 * SX_LINK_TEXT_MAX);
    sx_link_print(w, l, "simplex:");
    CHECK(!w->bad);
}

static void check_binary(const struct sx_link *l)
{
    struct sx_link again;
    struct sx_wr w;

    sx_wr_init(&w, 200000);
    sx_link_encode(&w, l);
    CHECK(!w.bad);
    CHECK(sx_link_decode(sx_wr_bytes(&w), &again) == SIMPLEX_OK);
    CHECK(again.n_queues == l->n_queues && again.has_data == l->has_data);
    CHECK(sx_bytes_eq(sx_wr_bytes(&again.data), sx_wr_bytes(&l->data)));
    sx_link_free(&again);
    sx_wr_free(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sx_link l, again;
    struct sx_wr w1, w2;

    if (sx_link_parse(sx_bytes(data, size), &l) != SIMPLEX_OK)
        return 0;
    check_binary(&l);
    print(&w1, &l);
    if (w1.len <= SX_LINK_TEXT_MAX) { /* escaping makes some longer than what is read */
        CHECK(sx_link_parse(sx_wr_bytes(&w1), &again) == SIMPLEX_OK);
        print(&w2, &again);
        CHECK(sx_bytes_eq(sx_wr_bytes(&w1), sx_wr_bytes(&w2)));
        sx_link_free(&again);
        sx_wr_free(&w2);
    }
    sx_wr_free(&w1);
    sx_link_free(&l);
    return 0;
}
