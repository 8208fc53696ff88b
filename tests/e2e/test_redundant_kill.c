/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kill -9 of one of three smp-servers at a time, at random moments, under two agents that talk
 * through two queues each. Messages are in the servers' memory only: a killed one loses what it had
 * answered OK for, as a server does that lies. Nothing is lost, nothing comes twice, order holds.
 * SIMPLEX_SEED repeats a run.
 */
#include <stdio.h>
#include <stdlib.h>

#include "support/agents.h"
#include "support/server_process.h"

#if defined(TESTS_SANITIZED)
#define KILLS 6
#else
#define KILLS 20
#endif
#define SERVERS 3
#define AHEAD 20

struct side {
    struct test_agent t;
    int64_t conn;
    int sent, seen;
};

static void take(struct side *me)
{
    simplex_event *ev;
    char text[16] = "";

    if (simplex_agent_next_event(me->t.a, 1, &ev) != SIMPLEX_OK)
        return;
    int32_t kind = simplex_event_kind(ev);
    if (kind == SIMPLEX_EV_ERR || kind == SIMPLEX_EV_MERR || kind == SIMPLEX_EV_RSYNC)
        fail_msg("%s: %s", me->t.db, simplex_event_json(ev));
    if (kind == SIMPLEX_EV_MSG) {
        simplex_bytes data = simplex_event_data(ev);
        assert_true(data.len < sizeof text);
        memcpy(text, data.ptr, data.len);
        if (atoi(text) != me->seen + 1 || simplex_event_integrity(ev, NULL, NULL) != SIMPLEX_MSG_OK)
            fail_msg("%s: %s after %d: %s", me->t.db, text, me->seen, simplex_event_json(ev));
        me->seen++;
        assert_int_equal(simplex_agent_ack(me->t.a, me->conn, simplex_event_msg_id(ev)),
                         SIMPLEX_OK);
    }
    simplex_event_free(ev);
}

static void say(struct side *me, const struct side *other)
{
    char text[16];

    if (me->sent - other->seen >= AHEAD)
        return;
    (void)snprintf(text, sizeof text, "%d", ++me->sent);
    (void)send_text(&me->t, me->conn, text);
}

static void talk_for(struct side *i, struct side *j, int64_t ms)
{
    int64_t until = sx_mono_ms() + ms;

    while (sx_mono_ms() < until) {
        say(i, j);
        say(j, i);
        take(i);
        take(j);
    }
}

/* Both hear of each other's last word; all servers are there. */
static void hear_all(struct side *i, struct side *j)
{
    int64_t until = sx_mono_ms() + 60000;

    while (i->seen < j->sent || j->seen < i->sent) {
        if (sx_mono_ms() > until)
            fail_msg("%d of %d and %d of %d", i->seen, j->sent, j->seen, i->sent);
        take(i);
        take(j);
    }
}

/* Both queues of both sides have brought what they will bring, so that the next loss is the only
 * one. */
static void settle(struct side *me, struct side *other)
{
    int64_t until = sx_mono_ms() + 60000;
    simplex_queue_info q = { .size = sizeof q };

    for (size_t n = 0; simplex_agent_queue(me->t.a, me->conn, n, &q) == SIMPLEX_OK;) {
        if (q.direction == SIMPLEX_SWITCH_RCV || q.pending == 0)
            n++;
        else if (sx_mono_ms() > until)
            fail_msg("%s keeps %d", q.server, (int)q.pending);
        take(me);
        take(other);
    }
}

static void any_one_server_may_be_killed_at_any_moment(void **state)
{
    struct server_process s[SERVERS];
    struct side i = { .conn = 0 }, j = { .conn = 0 };
    const char *text = getenv("SIMPLEX_SEED");
    unsigned seed = text != NULL ? (unsigned)atoi(text) : sx_random_below(1000000);
    char dir[256];

    (void)state;
    print_message("SIMPLEX_SEED=%u\n", seed);
    srand(seed);
    tmp_make(dir);
    memset(s, 0, sizeof s);
    for (size_t k = 0; k < SERVERS; k++) {
        tmp_make(s[k].dir);
        s[k].option[0] = "--messages-in-memory";
        server_process_run(&s[k]);
    }
    for (int k = 0; k < 2; k++) {
        struct side *me = k == 0 ? &i : &j;
        agent_open(&me->t, dir, k == 0 ? "i" : "j", s[0].address);
        for (size_t n = 1; n < SERVERS; n++)
            me->t.servers[me->t.n_servers++] = s[n].address;
        me->t.cfg.queues = 2;
        agent_reopen(&me->t);
    }
    connect_agents(&i.t, &j.t, SIMPLEX_PQ_OFF, &i.conn, &j.conn);
    talk_for(&i, &j, 100);
    for (int n = 0; n < KILLS; n++) {
        size_t k = (size_t)rand() % SERVERS;
        talk_for(&i, &j, rand() % 100);
        server_process_kill(&s[k]);
        talk_for(&i, &j, rand() % 300);
        if (n % 5 == 4) /* an agent that comes back finds it away */
            agent_reopen(n % 2 ? &i.t : &j.t);
        server_process_run(&s[k]);
        hear_all(&i, &j);
        settle(&i, &j);
        settle(&j, &i);
        hear_all(&i, &j);
    }
    print_message("%d and %d messages\n", i.seen, j.seen);
    assert_true(quiet(&i.t, SIMPLEX_EV_MSG, 300));
    assert_true(quiet(&j.t, SIMPLEX_EV_MSG, 0));
    agent_close(&i.t);
    agent_close(&j.t);
    for (size_t k = 0; k < SERVERS; k++) {
        server_process_kill(&s[k]);
        tmp_remove(s[k].dir);
    }
    tmp_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_one_server_may_be_killed_at_any_moment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
