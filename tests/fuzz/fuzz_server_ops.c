/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an operator's side reads: the file of statistics, requests for metrics, and lines of the
 * control port. The first byte says which.
 */
#include "fuzz.h"

#include "control.h"
#include "metrics_http.h"
#include "stats_file.h"

static struct sx_srv *srv;
static struct sx_control control;

static void open_once(void)
{
    static const struct sx_srv_cfg cfg = { .new_queues = true };
    struct sx_queue_new n = { .mode = SX_MODE_MESSAGING, .snd_id = (const uint8_t[24]){ 1 } };
    struct sx_errtext none = { NULL, 0 };
    struct sx_ops_cfg ops = { .listeners = NULL };
    struct sx_queue *q;

    if (srv != NULL)
        return;
    CHECK(sx_crypto_init() == SIMPLEX_OK);
    CHECK(sx_srv_open(&cfg, &srv) == SIMPLEX_OK);
    CHECK(sx_qstore_create(srv->store, &n, &q) == SX_ERR_NONE);
    sx_queue_unref(q);
    ops.srv = srv;
    control.srv = srv;
    control.stats = sx_stats_counters(srv->stats);
    CHECK(control.stats != NULL);
    CHECK(pthread_mutex_init(&control.lock, NULL) == 0);
    CHECK(sx_ops_open(&ops, &control.ops, &none) == SIMPLEX_OK);
}

static void read_stats(simplex_bytes in)
{
    struct sx_stats *st;
    struct sx_snapshot s;

    CHECK(sx_stats_open(INT64_C(1700000000000), &st) == SIMPLEX_OK);
    sx_stats_parse(st, srv->store, in, INT64_C(1700000000000));
    sx_stats_read(st, srv->store, INT64_C(1700000000000), &s);
    for (unsigned i = 0; i < SX_STAT_SAVED; i++)
        CHECK(s.v[i] <= INT64_MAX);
    sx_stats_close(st);
}

static void answer_http(simplex_bytes in)
{
    struct sx_wr w;
    bool head;

    enum sx_http_result r = sx_http_parse(in, &head);
    CHECK(r != SX_HTTP_MORE || in.len < SX_HTTP_HEAD_MAX);
    if (r == SX_HTTP_MORE)
        return;
    sx_wr_init(&w, 4096);
    sx_http_answer(&w, r, 0, head);
    CHECK(!w.bad && w.len > 0);
    sx_wr_free(&w);
}

/* Any role; line by line. */
static void run_lines(simplex_bytes in, enum sx_role role)
{
    struct sx_control_state s = { .role = role };
    struct sx_wr out;

    sx_wr_init(&out, SX_LOCAL_OUT);
    while (in.len > 0) {
        const uint8_t *lf = memchr(in.ptr, '\n', in.len);
        size_t n = lf == NULL ? in.len : (size_t)(lf - in.ptr);
        int64_t wait = sx_control_line(&control, &s, sx_bytes(in.ptr, n), &out);
        CHECK(s.role == role && !out.bad); /* there are no passwords to guess */
        if (wait < 0)
            break;
        CHECK(out.len == 0 || out.p[out.len - 1] == '\n');
        sx_wr_reset(&out);
        in = lf == NULL ? sx_bytes(NULL, 0) : sx_bytes(lf + 1, in.len - n - 1);
    }
    sx_wr_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    open_once();
    simplex_bytes in = sx_bytes(data + 1, size - 1);
    switch (data[0] % 5) {
    case 0:
        read_stats(in);
        break;
    case 1:
        answer_http(in);
        break;
    default:
        run_lines(in, (enum sx_role)(data[0] % 5 - 2));
    }
    return 0;
}
