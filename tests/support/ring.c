/* SPDX-License-Identifier: Apache-2.0 */
#include "support/ring.h"

#include <stdio.h>
#include <unistd.h>

static void open_agent(struct ring *r, struct test_agent *t, const char *name, int32_t queues)
{
    agent_open(t, r->dir, name, r->address[0]);
    for (size_t k = 1; k < r->n; k++)
        t->servers[t->n_servers++] = r->address[k];
    t->cfg.queues = queues;
    agent_reopen(t);
}

void ring_open(struct ring *r, size_t servers, int32_t i_queues, int32_t j_queues,
               const simplex_server_config *cfg)
{
    memset(r, 0, sizeof *r);
    tmp_make(r->dir);
    r->n = servers;
    for (size_t k = 0; k < servers; k++) {
        server_start(&r->srv[k], k == 0 ? cfg : NULL);
        forwarder_start(&r->fwd[k], simplex_server_port(r->srv[k].s));
        forwarder_address(&r->fwd[k], r->srv[k].address, r->address[k], sizeof r->address[k]);
    }
    open_agent(r, &r->i, "i", i_queues);
    open_agent(r, &r->j, "j", j_queues);
}

void ring_connect(struct ring *r)
{
    connect_agents(&r->i, &r->j, SIMPLEX_PQ_OFF, &r->ic, &r->jc);
}

void ring_close(struct ring *r)
{
    agent_close(&r->i);
    agent_close(&r->j);
    for (size_t k = 0; k < r->n; k++) {
        forwarder_stop(&r->fwd[k]);
        server_stop(&r->srv[k]);
    }
    tmp_remove(r->dir);
}

void ring_away(struct ring *r, size_t server)
{
    forwarder_set(&r->fwd[server], FORWARD_REFUSE);
}

void ring_back(struct ring *r, size_t server)
{
    forwarder_set(&r->fwd[server], FORWARD);
}

bool queue_at(struct test_agent *t, int64_t conn, int32_t direction, size_t nth,
              simplex_queue_info *out)
{
    *out = (simplex_queue_info){ .size = sizeof *out };
    for (size_t k = 0; simplex_agent_queue(t->a, conn, k, out) == SIMPLEX_OK; k++) {
        if (out->direction == direction && nth-- == 0)
            return true;
    }
    return false;
}

size_t count_queues(struct test_agent *t, int64_t conn, int32_t direction)
{
    simplex_queue_info q;
    size_t n = 0;

    while (queue_at(t, conn, direction, n, &q))
        n++;
    return n;
}

static size_t in_use(struct test_agent *t, int64_t conn, int32_t direction, size_t *all)
{
    simplex_queue_info q;
    size_t n = 0;

    for (*all = 0; queue_at(t, conn, direction, *all, &q); ++*all)
        n += q.state == SIMPLEX_QUEUE_IN_USE;
    return n;
}

void expect_in_use(struct test_agent *t, int64_t conn, int32_t direction, size_t n)
{
    size_t all = 0, used = 0;

    for (int k = 0; k < 2000; k++) {
        used = in_use(t, conn, direction, &all);
        if (used == n && all == n)
            return;
        (void)usleep(10000);
    }
    fail_msg("%s: %u of %u queues are in use, not %u", t->db, (unsigned)used, (unsigned)all,
             (unsigned)n);
}

size_t server_of(const struct ring *r, const simplex_queue_info *q)
{
    char text[64];

    for (size_t k = 0; k < r->n; k++) {
        (void)snprintf(text, sizeof text, "127.0.0.1:%u", (unsigned)r->fwd[k].port);
        if (strcmp(text, q->server) == 0)
            return k;
        (void)snprintf(text, sizeof text, "localhost:%u", (unsigned)r->fwd[k].port);
        if (strcmp(text, q->server) == 0)
            return k;
    }
    return RING_SERVERS;
}
