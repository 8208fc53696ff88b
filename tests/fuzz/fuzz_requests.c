/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A script of operations on the request table, the queue and the blocks, checked against plain
 * arrays. Each operation is two bytes: what, and on which of 64 requests.
 */
#include "client/outbox.h"

#include "fuzz/fuzz.h"

#define REQUESTS 64

static struct sx_req *reqs[REQUESTS];
static struct sx_requests table;
static struct sx_req_list queued;
static struct sx_outbox outbox;
static int64_t now;

static void corr_of(unsigned i, uint8_t corr_id[SX_ID_LEN])
{
    memset(corr_id, 0, SX_ID_LEN);
    corr_id[0] = (uint8_t)(i * 4); /* collisions in small tables */
    corr_id[SX_ID_LEN - 1] = (uint8_t)i;
}

static void add(unsigned i, uint8_t arg)
{
    uint8_t corr_id[SX_ID_LEN];
    uint8_t entity = (uint8_t)(arg & 7);
    size_t len = (size_t)(arg >> 3) * 600 + 10;

    corr_of(i, corr_id);
    struct sx_req *r;
    CHECK(sx_req_new(corr_id, sx_bytes(&entity, entity != 0), SX_SUB, &r) == SIMPLEX_OK);
    simplex_rc rc = sx_requests_add(&table, r);
    CHECK((rc == SIMPLEX_OK) == (reqs[i] == NULL));
    if (rc != SIMPLEX_OK) {
        sx_req_free(r);
        return;
    }
    r->out = sx_calloc(1, len);
    CHECK(r->out != NULL);
    r->out_len = len;
    r->state = SX_REQ_QUEUED;
    sx_req_append(&queued, r);
    reqs[i] = r;
}

static void drop(unsigned i)
{
    if (reqs[i] == NULL)
        return;
    sx_requests_remove(&table, reqs[i]);
    if (reqs[i]->state == SX_REQ_QUEUED)
        sx_req_unlink(&queued, reqs[i]);
    sx_req_free(reqs[i]);
    reqs[i] = NULL;
}

static void expire(void)
{
    for (struct sx_req *r; (r = sx_requests_expired(&table, now)) != NULL;) {
        unsigned i = r->corr_id[SX_ID_LEN - 1];
        CHECK(i < REQUESTS && reqs[i] == r);
        for (unsigned k = 0; k < REQUESTS; k++)
            CHECK(reqs[k] == NULL || reqs[k]->deadline >= r->deadline);
        drop(i);
    }
    for (unsigned k = 0; k < REQUESTS; k++)
        CHECK(reqs[k] == NULL || reqs[k]->deadline > now);
}

static void flush(void)
{
    size_t next = 0;

    CHECK(sx_outbox_plan(&outbox, &queued) == SIMPLEX_OK);
    CHECK((outbox.n == 0) == (queued.first == NULL));
    for (size_t b = 0; b < outbox.blocks; b++) {
        size_t from, to, content = 1;
        sx_outbox_range(&outbox, b, &from, &to);
        CHECK(from == next && to > from && to - from <= SX_BATCH_MAX);
        next = to;
        for (size_t i = from; i < to; i++) {
            struct sx_req *r = outbox.req[i];
            CHECK(r == queued.first); /* order */
            content += 2 + r->out_len;
            for (size_t k = from; k < i; k++)
                CHECK(r->entity_len == 0 ||
                      !sx_bytes_eq(sx_req_entity(r), sx_req_entity(outbox.req[k])));
            sx_req_unlink(&queued, r);
            r->state = SX_REQ_SENT;
        }
        CHECK(to - from == 1 || content - 1 <= SX_BATCH_CONTENT);
    }
    CHECK(next == outbox.n);
}

static void check_all(void)
{
    size_t n = 0;
    int64_t next = SX_NO_DEADLINE;
    uint8_t corr_id[SX_ID_LEN];

    for (unsigned i = 0; i < REQUESTS; i++) {
        corr_of(i, corr_id);
        CHECK(sx_requests_find(&table, sx_bytes(corr_id, SX_ID_LEN)) == reqs[i]);
        if (reqs[i] == NULL)
            continue;
        n++;
        if (reqs[i]->deadline < next)
            next = reqs[i]->deadline;
    }
    CHECK(table.count == n);
    CHECK(sx_requests_next(&table) == next);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    now = 0;
    for (size_t at = 0; at + 1 < size && at < 2000; at += 2) {
        unsigned i = data[at] % REQUESTS;
        uint8_t arg = data[at + 1];
        switch (data[at] / REQUESTS) {
        case 0:
            add(i, arg);
            break;
        case 1:
            if (reqs[i] != NULL)
                sx_requests_set_deadline(&table, reqs[i],
                                         arg == 255 ? SX_NO_DEADLINE : now + 1 + arg);
            break;
        case 2:
            drop(i);
            break;
        default:
            if ((arg & 1) != 0) {
                flush();
            } else {
                now += arg;
                expire();
            }
            break;
        }
        check_all();
    }
    for (unsigned i = 0; i < REQUESTS; i++)
        drop(i);
    CHECK(table.count == 0 && queued.first == NULL);
    return 0;
}
