/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz_smp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sx_transmission t;
    struct sx_wr w, authorized;

    if (size == 0)
        return 0;
    uint16_t version = fuzz_version(data[0]);
    simplex_bytes in = sx_bytes(data + 1, size - 1);
    if (sx_transmission_decode(in, version, &t) != SIMPLEX_OK) {
        CHECK(t.command.len == 0 && t.corr_id.len == 0);
        return 0;
    }
    CHECK(!t.has_service_sig || t.service_sig.len == 64);
    sx_wr_init(&w, FUZZ_CAP);
    sx_transmission_encode(&w, &t, version);
    CHECK(!w.bad && sx_bytes_eq(sx_wr_bytes(&w), in));
    sx_wr_free(&w);
    sx_wr_init(&authorized, FUZZ_CAP);
    sx_authorized_encode(&authorized, t.session_id, t.corr_id, t.entity_id, t.command);
    CHECK(!authorized.bad &&
          authorized.len == 3 + t.session_id.len + t.corr_id.len + t.entity_id.len + t.command.len);
    sx_wr_free(&authorized);
    return 0;
}
