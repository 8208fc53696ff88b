/* SPDX-License-Identifier: Apache-2.0 */
/* Public keys, as DER and behind a length byte: what is accepted is written back the same. */
#include "fuzz.h"

#include "crypto/crypto.h"

static void wire(simplex_bytes in)
{
    struct sx_rd r = sx_rd_init(in);
    struct sx_pub k;
    uint8_t buf[1 + SX_SPKI_MAX];
    struct sx_wr w;

    sx_rd_key(&r, &k);
    CHECK(r.bad == (k.alg == SX_NO_KEY));
    if (r.bad)
        return;
    sx_wr_fixed(&w, buf, sizeof buf);
    sx_wr_key(&w, &k);
    CHECK(!w.bad && w.len == in.len - r.left && memcmp(buf, in.ptr, w.len) == 0);
    for (unsigned alg = SX_NO_KEY; alg <= SX_X448; alg++) {
        struct sx_pub same;

        r = sx_rd_init(in);
        sx_rd_key_of(&r, alg, &same);
        CHECK(r.bad == (alg != k.alg));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    simplex_bytes in = sx_bytes(data, size);
    struct sx_pub k;
    uint8_t buf[SX_SPKI_MAX];
    struct sx_wr w;

    wire(in);
    simplex_rc rc = sx_spki_decode(in, &k);
    CHECK((rc == SIMPLEX_OK) == (k.alg != SX_NO_KEY));
    if (rc != SIMPLEX_OK)
        return 0;
    sx_wr_fixed(&w, buf, sizeof buf);
    sx_spki_encode(&k, &w);
    CHECK(!w.bad && sx_bytes_eq(sx_wr_bytes(&w), in));
    return 0;
}
