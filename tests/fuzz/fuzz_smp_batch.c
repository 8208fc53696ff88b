/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the input as the content of a block, then as lengths that are to be packed. */
#include "fuzz_smp.h"

#define LENS_MAX 2000

static void check_read(simplex_bytes content)
{
    struct sx_batch_rd b;
    simplex_bytes t;
    struct sx_wr w;

    if (sx_batch_open(content, &b) != SIMPLEX_OK) {
        CHECK(!sx_batch_next(&b, &t));
        return;
    }
    sx_wr_init(&w, FUZZ_CAP);
    sx_wr_u8(&w, (uint8_t)b.left);
    while (sx_batch_next(&b, &t))
        sx_wr_large(&w, t);
    CHECK(!b.rd.bad && !w.bad && sx_bytes_eq(sx_wr_bytes(&w), content));
    sx_wr_free(&w);
}

static size_t filled(const size_t *len, size_t from, size_t to)
{
    size_t n = 0;

    for (; from < to; from++)
        n += len[from] + 2;
    return n;
}

/* Each block fits, and the last transmission of a block did not fit into the one behind it. */
static void check_blocks(const size_t *len, size_t n, const size_t *first, size_t blocks)
{
    CHECK(n == 0 ? blocks == 0 : first[0] == 0);
    for (size_t i = 0; i < blocks; i++) {
        size_t end = i + 1 < blocks ? first[i + 1] : n;

        CHECK(end > first[i] && end - first[i] <= SX_BATCH_MAX);
        CHECK(filled(len, first[i], end) <= SX_BATCH_CONTENT);
        CHECK(i == 0 || end - first[i] == SX_BATCH_MAX ||
              filled(len, first[i] - 1, end) > SX_BATCH_CONTENT);
    }
}

static void check_plan(simplex_bytes in)
{
    static size_t len[LENS_MAX], first[LENS_MAX];
    size_t n = 0, blocks;
    bool too_large = false;

    for (; n < LENS_MAX && 2 * n + 1 < in.len; n++) {
        len[n] = (size_t)in.ptr[2 * n] << 8 | in.ptr[2 * n + 1];
        too_large = too_large || len[n] > SX_BATCH_CONTENT - 2;
    }
    simplex_rc rc = sx_batch_plan(len, n, first, &blocks);
    CHECK(rc == (too_large ? SIMPLEX_E_TOO_LARGE : SIMPLEX_OK));
    if (rc == SIMPLEX_OK)
        check_blocks(len, n, first, blocks);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_read(sx_bytes(data, size));
    check_plan(sx_bytes(data, size));
    return 0;
}
