/* SPDX-License-Identifier: Apache-2.0 */
/* Agent messages have one encoding each; the items of their lists can all be read and written. */
#include "fuzz.h"

#include "wire/agent_msg.h"

/* Reads every item of a list, and writes those that it can. */
static void check_items(const struct sx_list *l, uint8_t msg)
{
    struct sx_rd r = sx_rd_init(l->items);
    struct sx_wr w;
    union {
        struct sx_queue_addr info;
        struct sx_receipt receipt;
        struct sx_qadd add;
        struct sx_qkey key;
        struct sx_quse use;
        struct sx_queue_ref ref;
    } x;

    sx_wr_init(&w, 1000000);
    for (unsigned i = 0; i < l->count; i++) {
        switch (msg) {
        case 0:
            sx_queue_info_decode(&r, &x.info);
            sx_queue_info_encode(&w, &x.info);
            break;
        case SX_M_RCVD:
            sx_receipt_next(&r, &x.receipt);
            sx_receipt_encode(&w, &x.receipt);
            break;
        case SX_M_QADD:
            sx_qadd_next(&r, &x.add);
            sx_qadd_encode(&w, &x.add);
            break;
        case SX_M_QKEY:
            sx_qkey_next(&r, &x.key);
            sx_qkey_encode(&w, &x.key);
            break;
        case SX_M_QUSE:
            sx_quse_next(&r, &x.use);
            sx_quse_encode(&w, &x.use);
            break;
        case SX_M_QTEST:
            sx_queue_ref_decode(&r, &x.ref);
            sx_queue_ref_encode(&w, &x.ref);
            break;
        }
        CHECK(!r.bad && !w.bad);
    }
    CHECK(sx_rd_done(&r));
    sx_wr_free(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sx_agent_msg m;
    struct sx_wr w;

    if (sx_agent_msg_decode(sx_bytes(data, size), &m) != SIMPLEX_OK)
        return 0;
    if (m.tag == SX_AM_INFO_REPLY)
        check_items(&m.queues, 0);
    else if (m.list.count > 0)
        check_items(&m.list, m.msg);
    sx_wr_init(&w, 1000000);
    sx_agent_msg_encode(&w, &m);
    CHECK(!w.bad);
    if (m.msg != SX_M_QCONT) /* whose hosts may be written in more than one way */
        CHECK(sx_bytes_eq(sx_wr_bytes(&w), sx_bytes(data, size)));
    sx_wr_free(&w);
    return 0;
}
