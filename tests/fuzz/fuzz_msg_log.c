/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines of the reference's files of messages and notifications. What is read must be written as a
 * line that is read as the same; a body must be one that a block can carry.
 */
#include "fuzz.h"

#include "crypto/crypto.h"
#include "msg_log.h"

static uint8_t text[32768];

static void check_message(simplex_bytes line)
{
    uint8_t rid[SX_ID_LEN], again_rid[SX_ID_LEN];
    struct sx_msg *m, *again;
    struct sx_wr w;

    if (sx_msg_line_decode(line, rid, &m) != SIMPLEX_OK)
        return;
    CHECK(m->len <= sx_smp_max_send(SX_SMP_MIN) && !(m->quota && (m->notify || m->len > 0)));
    sx_wr_fixed(&w, text, sizeof(text));
    sx_msg_line_encode(&w, rid, m);
    CHECK(!w.bad);
    CHECK(sx_msg_line_decode(sx_wr_bytes(&w), again_rid, &again) == SIMPLEX_OK);
    CHECK(memcmp(rid, again_rid, sizeof(rid)) == 0 && memcmp(m->id, again->id, SX_ID_LEN) == 0);
    CHECK(m->ts_ms == again->ts_ms && m->quota == again->quota && m->notify == again->notify);
    CHECK(sx_bytes_eq(sx_bytes(m->body, m->len), sx_bytes(again->body, again->len)));
    sx_msg_unref(m);
    sx_msg_unref(again);
}

static void check_notification(simplex_bytes line)
{
    struct sx_notifier n = { .count = 0 };
    uint8_t again_id[SX_ID_LEN];
    struct sx_ntf ntf, again;
    struct sx_wr w;

    if (sx_ntf_line_decode(line, n.node.id, &ntf) != SIMPLEX_OK)
        return;
    sx_wr_fixed(&w, text, sizeof(text));
    sx_ntf_line_encode(&w, &n, &ntf);
    CHECK(!w.bad);
    CHECK(sx_ntf_line_decode(sx_wr_bytes(&w), again_id, &again) == SIMPLEX_OK);
    CHECK(memcmp(n.node.id, again_id, SX_ID_LEN) == 0);
    CHECK(memcmp(ntf.msg_id, again.msg_id, SX_ID_LEN) == 0 && ntf.ts_ms == again.ts_ms);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;

    if (!ready)
        ready = sx_crypto_init() == SIMPLEX_OK;
    CHECK(ready);
    check_message(sx_bytes(data, size));
    check_notification(sx_bytes(data, size));
    return 0;
}
