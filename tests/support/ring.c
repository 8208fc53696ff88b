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

void ring_join(struct ring *r, simplex_bytes link, int32_t pq)
{
    assert_int_equal(simplex_agent_join(r->j.a, link, sx_str("J"), pq, &r->jc), SIMPLEX_OK);
    agent_allow(&r->i, r->ic, "I am I");
    expect(&r->j, SIMPLEX_EV_CON, r->jc);
    expect(&r->i, SIMPLEX_EV_CON, r->ic);
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

void expect_taken(struct test_agent *t, int64_t conn)
{
    simplex_queue_info q;
    int64_t end = sx_mono_ms() + WAIT_MS;

    for (size_t n = 0; queue_at(t, conn, SIMPLEX_SWITCH_SND, n, &q);) {
        if (q.pending == 0) {
            n++;
            continue;
        }
        if (sx_mono_ms() > end)
            fail_msg("%s keeps %d", q.server, (int)q.pending);
        (void)usleep(10000);
    }
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

void ring_talk(struct ring *r, const char *text)
{
    talk(&r->i, r->ic, &r->j, r->jc, text);
    talk(&r->j, r->jc, &r->i, r->ic, text);
}

void ring_expect_in_use(struct ring *r, size_t i_queues, size_t j_queues)
{
    expect_in_use(&r->i, r->ic, SIMPLEX_SWITCH_RCV, i_queues);
    expect_in_use(&r->j, r->jc, SIMPLEX_SWITCH_RCV, j_queues);
    expect_in_use(&r->i, r->ic, SIMPLEX_SWITCH_SND, j_queues);
    expect_in_use(&r->j, r->jc, SIMPLEX_SWITCH_SND, i_queues);
}

static size_t all_queues(const struct ring *r)
{
    size_t n = 0;

    for (size_t k = 0; k < r->n; k++)
        n += server_queues(&r->srv[k]);
    return n;
}

void ring_expect_queues(struct ring *r, size_t n)
{
    for (int k = 0; k < 2000 && all_queues(r) != n; k++)
        (void)usleep(10000);
    assert_int_equal(all_queues(r), n);
}

simplex_event *expect_queue_change(struct test_agent *t, int64_t conn, int32_t direction,
                                   int32_t change)
{
    for (;;) {
        simplex_event *ev = wait_event(t, SIMPLEX_EV_QUEUE, conn);
        int32_t way, what = simplex_event_switch(ev, &way);
        if (way == direction && what == change)
            return ev;
        simplex_event_free(ev);
    }
}
