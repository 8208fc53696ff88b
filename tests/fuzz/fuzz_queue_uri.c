/* SPDX-License-Identifier: Apache-2.0 */
/* SMPQueueUri, binary: its encoding is stable, and its text is read again. */
#include "fuzz.h"

#include "wire/queue.h"
#include "wire/url.h"

/* A name with a character that links may not contain, as a hostile peer may send in binary. */
static bool printable(const struct sx_server *s)
{
    for (unsigned i = 0; i < s->n_hosts; i++) {
        if (!sx_text_is_solid(sx_str(s->hosts[i].text)))
            return false;
    }
    return true;
}

static void check_text(const struct sx_queue_addr *q)
{
    struct sx_queue_addr again;
    struct sx_wr w;

    sx_wr_init(&w, 65536);
    sx_queue_uri_print(&w, q);
    CHECK(!w.bad);
    CHECK(sx_queue_uri_parse(sx_wr_bytes(&w), &again) == SIMPLEX_OK);
    CHECK(again.v.min == q->v.min && again.v.max == q->v.max && again.mode == q->mode);
    CHECK(sx_bytes_eq(sx_id_bytes(&again.snd_id), sx_id_bytes(&q->snd_id)));
    CHECK(sx_pub_eq(&again.dh, &q->dh));
    /* known servers of version 1 get one more host */
    CHECK(sx_server_eq(&again.server, &q->server) || q->v.max < 2);
    sx_wr_free(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sx_rd r = sx_rd_init(sx_bytes(data, size));
    struct sx_queue_addr q, again;
    struct sx_wr w1, w2;

    sx_queue_uri_decode(&r, &q);
    if (r.bad)
        return 0;
    sx_wr_init(&w1, 65536);
    sx_wr_init(&w2, 65536);
    sx_queue_uri_encode(&w1, &q);
    CHECK(!w1.bad);
    struct sx_rd r2 = sx_rd_init(sx_wr_bytes(&w1));
    sx_queue_uri_decode(&r2, &again);
    CHECK(sx_rd_done(&r2));
    sx_queue_uri_encode(&w2, &again);
    CHECK(!w2.bad && sx_bytes_eq(sx_wr_bytes(&w1), sx_wr_bytes(&w2)));
    if (printable(&q.server))
        check_text(&q);
    sx_wr_free(&w1);
    sx_wr_free(&w2);
    return 0;
}
