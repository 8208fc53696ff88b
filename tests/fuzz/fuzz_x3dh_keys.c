/* SPDX-License-Identifier: Apache-2.0 */
/* Stored keys, and the peer's public parameters in both roles. */
#include "fuzz_check.h"

#include "ratchet/ratchet.h"
#include "simplex/ratchet.h"

static simplex_ratchet_keys *own_keys(void)
{
    static simplex_ratchet_keys *keys; /* one pair for all runs: the input is what varies */

    if (keys == NULL)
        CHECK(simplex_ratchet_keys_new(true, &keys) == SIMPLEX_OK);
    return keys;
}

static void stored(simplex_bytes in)
{
    struct sx_x3dh_keys k;
    struct sx_wr w;

    if (sx_x3dh_keys_decode(in, &k) != SIMPLEX_OK)
        return;
    sx_wr_init(&w, in.len + 1);
    sx_x3dh_keys_encode(&w, &k);
    CHECK(!w.bad && sx_bytes_eq(sx_wr_bytes(&w), in));
    sx_wr_free(&w);
    sx_x3dh_keys_wipe(&k);
}

static void as_joiner(simplex_bytes in)
{
    static uint8_t params[SIMPLEX_RATCHET_PARAMS_MAX];
    uint8_t msg[100 + SIMPLEX_RATCHET_OVERHEAD_MAX];
    size_t len = sizeof params, msg_len = sizeof msg;
    simplex_ratchet *r;

    if (simplex_ratchet_join(in, (in.len & 1) != 0, params, &len, &r) != SIMPLEX_OK) {
        CHECK(r == NULL);
        return;
    }
    CHECK(len > 100 && len <= sizeof params);
    CHECK(simplex_ratchet_encrypt(r, SIMPLEX_PQ_KEEP, sx_str("hello"), 100, msg, &msg_len) ==
          SIMPLEX_OK);
    simplex_ratchet_free(r);
}

static void as_initiator(simplex_bytes in)
{
    simplex_ratchet *r;
    bool sending = true;

    if (simplex_ratchet_accept(own_keys(), in, true, &r) != SIMPLEX_OK) {
        CHECK(r == NULL);
        return;
    }
    CHECK(simplex_ratchet_pq_state(r, &sending, NULL) == SIMPLEX_OK && !sending);
    simplex_ratchet_free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    simplex_bytes in = { data, size };

    CHECK(own_keys() != NULL);
    stored(in);
    as_joiner(in);
    as_initiator(in);
    return 0;
}
