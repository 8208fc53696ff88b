/* SPDX-License-Identifier: Apache-2.0 */
/* Stored ratchets and message keys: one encoding each, and a ratchet read from one can be used. */
#include "fuzz_check.h"

#include "ratchet/ratchet.h"
#include "simplex/ratchet.h"

static void internal_state(simplex_bytes in, struct sx_wr *w)
{
    static struct sx_ratchet r;
    static struct sx_msg_key key;

    if (sx_ratchet_decode(in, &r) == SIMPLEX_OK) {
        sx_ratchet_encode(w, &r);
        CHECK(!w->bad && sx_bytes_eq(sx_wr_bytes(w), in));
        sx_wr_reset(w);
        uint32_t ns = r.ns;
        if (sx_ratchet_encrypt_header(&r, SX_PQ_KEEP, &key) == SIMPLEX_OK)
            CHECK(r.ns == ns + 1 && key.emh_len <= SX_EMH_MAX);
        sx_ratchet_wipe(&r);
    }
    if (sx_msg_key_decode(in, &key) == SIMPLEX_OK) {
        sx_msg_key_encode(w, &key);
        CHECK(!w->bad && sx_bytes_eq(sx_wr_bytes(w), in));
        sx_wr_reset(w);
    }
}

static void public_state(simplex_bytes in, uint8_t *room)
{
    simplex_ratchet *r;
    size_t len = in.len;

    if (simplex_ratchet_import(in, &r) != SIMPLEX_OK) {
        CHECK(r == NULL);
        return;
    }
    CHECK(simplex_ratchet_export(r, room, &len) == SIMPLEX_OK);
    CHECK(sx_bytes_eq(sx_bytes(room, len), in));
    len = in.len;
    CHECK(simplex_ratchet_decrypt(r, in, room, &len, NULL, NULL) != SIMPLEX_OK);
    simplex_ratchet_free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    simplex_bytes in = { data, size };
    struct sx_wr w;

    CHECK(sx_crypto_init() == SIMPLEX_OK);
    sx_wr_init(&w, size + 1);
    internal_state(in, &w);
    sx_wr_free(&w);
    uint8_t *room = sx_malloc(size);
    if (room != NULL)
        public_state(in, room);
    sx_free(room);
    return 0;
}
