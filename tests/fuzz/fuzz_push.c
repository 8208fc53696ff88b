/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a notification server passes on: nonce and metadata as they come, and ("P") sealed with the
 * right key first, as a hostile SMP server can.
 */
#include "agent/push.h"
#include "fuzz.h"

static const uint8_t secret[32] = { 7 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t box[SX_NMSG_PADDED + SX_BOX_TAG];
    struct sx_box_key key;
    struct sx_push push;
    simplex_bytes nonce, meta;

    if (size < 1 + SX_NONCE_LEN) {
        CHECK(sx_push_open(secret, sx_bytes(data, size), sx_bytes(box, 0), &push) != SIMPLEX_OK);
        return 0;
    }
    nonce = sx_bytes(data + 1, SX_NONCE_LEN);
    meta = sx_bytes(data + 1 + SX_NONCE_LEN, size - 1 - SX_NONCE_LEN);
    if (data[0] == 'P') {
        sx_box_key_init(&key, secret);
        if (sx_box_seal_padded(&key, nonce.ptr, meta, SX_NMSG_PADDED, box) != SIMPLEX_OK)
            return 0;
        meta = sx_bytes(box, sizeof box);
    }
    if (sx_push_open(secret, nonce, meta, &push) != SIMPLEX_OK)
        return 0;
    CHECK(data[0] == 'P'); /* nobody makes a box without the key */
    CHECK(push.ts >= 0);
    CHECK(push.msg_id.len <= SX_NMSG_PADDED);
    return 0;
}
