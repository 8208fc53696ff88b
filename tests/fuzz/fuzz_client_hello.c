/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz_smp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sx_client_hello h;
    struct sx_wr w;

    if (sx_client_hello_decode(sx_bytes(data, size), &h) != SIMPLEX_OK) {
        CHECK(h.n_certs == 0 && h.version == 0 && !h.has_key);
        return 0;
    }
    CHECK(h.n_certs <= SX_HELLO_CERTS_MAX && h.has_service == (h.n_certs > 0));
    sx_wr_init(&w, FUZZ_CAP);
    sx_client_hello_encode(&w, &h);
    CHECK(!w.bad && fuzz_starts_with(sx_bytes(data, size), sx_wr_bytes(&w)));
    sx_wr_free(&w);
    return 0;
}
