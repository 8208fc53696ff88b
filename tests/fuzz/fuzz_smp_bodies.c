/* SPDX-License-Identifier: Apache-2.0 */
/* The first byte chooses what the rest is read as. */
#include "fuzz_smp.h"

static void rcv_msg(simplex_bytes in)
{
    struct sx_rcv_msg m, again;
    struct sx_wr w;

    if (sx_rcv_msg_decode(in, &m) != SIMPLEX_OK)
        return;
    sx_wr_init(&w, FUZZ_CAP);
    sx_rcv_msg_encode(&w, &m);
    CHECK(!w.bad && sx_rcv_msg_decode(sx_wr_bytes(&w), &again) == SIMPLEX_OK);
    CHECK(again.quota == m.quota && again.ts_s == m.ts_s && again.notify == m.notify);
    CHECK(sx_bytes_eq(again.body, m.body));
    sx_wr_free(&w);
}

static void ntf_meta(simplex_bytes in)
{
    struct sx_ntf_meta m;
    struct sx_wr w;

    if (sx_ntf_meta_decode(in, &m) != SIMPLEX_OK)
        return;
    sx_wr_init(&w, FUZZ_CAP);
    sx_ntf_meta_encode(&w, &m);
    CHECK(!w.bad && fuzz_starts_with(in, sx_wr_bytes(&w)));
    sx_wr_free(&w);
}

static void fwd_transmission(simplex_bytes in)
{
    struct sx_fwd_transmission m;
    struct sx_wr w;

    if (sx_fwd_transmission_decode(in, &m) != SIMPLEX_OK)
        return;
    sx_wr_init(&w, FUZZ_CAP);
    sx_fwd_transmission_encode(&w, &m);
    CHECK(!w.bad && sx_bytes_eq(in, sx_wr_bytes(&w)));
    sx_wr_free(&w);
}

static void fwd_response(simplex_bytes in)
{
    struct sx_fwd_response m;
    struct sx_wr w;

    if (sx_fwd_response_decode(in, &m) != SIMPLEX_OK)
        return;
    sx_wr_init(&w, FUZZ_CAP);
    sx_fwd_response_encode(&w, &m);
    CHECK(!w.bad && sx_bytes_eq(in, sx_wr_bytes(&w)));
    sx_wr_free(&w);
}

static void service_reply(simplex_bytes in)
{
    struct sx_service_reply m;
    struct sx_wr w;

    if (sx_service_reply_decode(in, &m) != SIMPLEX_OK)
        return;
    sx_wr_init(&w, FUZZ_CAP);
    sx_service_reply_encode(&w, &m);
    CHECK(!w.bad && fuzz_starts_with(in, sx_wr_bytes(&w)));
    sx_wr_free(&w);
}

/* What has been read once is written in its newest form, which then stays as it is. */
static void error_text(simplex_bytes in)
{
    struct sx_smp_err e, again;
    struct sx_wr one, two;

    if (sx_smp_err_decode(in, &e) != SIMPLEX_OK) {
        CHECK(e.err == SX_ERR_NONE);
        return;
    }
    sx_wr_init(&one, FUZZ_CAP);
    sx_wr_init(&two, FUZZ_CAP);
    sx_smp_err_encode(&one, &e, SX_SMP_MAX);
    CHECK(!one.bad && sx_smp_err_decode(sx_wr_bytes(&one), &again) == SIMPLEX_OK);
    CHECK(again.err == e.err && again.relay == e.relay && again.ttl == e.ttl);
    sx_smp_err_encode(&two, &again, SX_SMP_MAX);
    CHECK(sx_bytes_eq(sx_wr_bytes(&one), sx_wr_bytes(&two)));
    sx_wr_free(&one);
    sx_wr_free(&two);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const readers[])(simplex_bytes in) = { rcv_msg,          ntf_meta,
                                                         fwd_transmission, fwd_response,
                                                         service_reply,    error_text };

    if (size > 0)
        readers[data[0] % SX_COUNT(readers)](sx_bytes(data + 1, size - 1));
    return 0;
}
