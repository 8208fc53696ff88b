/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections with several receiving queues: every message arrives once and in order, whichever
 * server is away, loses what it took or comes back.
 */
#include <stdio.h>
#include <unistd.h>

#include "crypto/crypto.h"
#include "support/ring.h"

/* ---- when nothing fails ---- */

static void every_queue_carries_every_message_and_each_is_shown_once(void **state)
{
    struct ring r;
    simplex_queue_info q, other;
    char text[32];

    (void)state;
    ring_open(&r, 3, 2, 2, NULL);
    ring_connect(&r);
    ring_expect_in_use(&r, 2, 2);
    for (int k = 0; k < 10; k++) {
        (void)snprintf(text, sizeof text, "message %d", k);
        ring_talk(&r, text);
    }
    assert_true(quiet(&r.i, SIMPLEX_EV_MSG, 300));
    assert_true(quiet(&r.j, SIMPLEX_EV_MSG, 0));
    assert_true(quiet(&r.i, SIMPLEX_EV_SENT, 0));
    assert_true(quiet(&r.i, SIMPLEX_EV_QMISS, 0));
    assert_true(queue_at(&r.i, r.ic, SIMPLEX_SWITCH_RCV, 0, &q));
    assert_true(queue_at(&r.i, r.ic, SIMPLEX_SWITCH_RCV, 1, &other));
    assert_int_not_equal(server_of(&r, &q), server_of(&r, &other));
    assert_true(q.primary && !other.primary);
    for (int k = 0; k < 2000 && (q.received < 10 || other.received < 10); k++) {
        (void)usleep(10000);
        assert_true(queue_at(&r.i, r.ic, SIMPLEX_SWITCH_RCV, 0, &q));
        assert_true(queue_at(&r.i, r.ic, SIMPLEX_SWITCH_RCV, 1, &other));
    }
    assert_true(q.received >= 10 && other.received >= 10);
    assert_int_equal(q.missed + other.missed, 0);
    assert_true(q.last_time > 0 && q.subscribed);
    assert_int_equal(simplex_agent_queue(r.i.a, r.ic, 4, &q), SIMPLEX_E_NOT_FOUND);
    agent_reopen(&r.i);
    agent_reopen(&r.j);
    ring_talk(&r, "after a restart");
    ring_expect_in_use(&r, 2, 2);
    assert_int_equal(simplex_agent_delete(r.i.a, r.ic), SIMPLEX_OK);
    expect(&r.i, SIMPLEX_EV_DEL_CONN, r.ic);
    assert_int_equal(simplex_agent_delete(r.j.a, r.jc), SIMPLEX_OK);
    expect(&r.j, SIMPLEX_EV_DEL_CONN, r.jc);
    ring_expect_queues(&r, 0);
    ring_close(&r);
}

static void each_side_chooses_for_itself_and_servers_limit_it(void **state)
{
    static const struct {
        size_t servers;
        int32_t i, j;
        size_t i_queues, j_queues;
    } cases[] = {
        { 4, 4, 1, 4, 1 }, { 3, 1, 3, 1, 3 }, { 2, 4, 2, 2, 2 },
        { 1, 3, 3, 1, 1 }, { 2, 0, 0, 1, 1 },
    };

    (void)state;
    for (size_t k = 0; k < SX_COUNT(cases); k++) {
        struct ring r;
        ring_open(&r, cases[k].servers, cases[k].i, cases[k].j, NULL);
        ring_connect(&r);
        ring_expect_in_use(&r, cases[k].i_queues, cases[k].j_queues);
        ring_talk(&r, "some text");
        ring_close(&r);
    }
}

/* ---- a server dies ---- */

/* The nth queue of I has brought all that the other one has. */
static void expect_all_came(struct ring *r, size_t nth)
{
    simplex_queue_info q;

    assert_true(queue_at(&r->i, r->ic, SIMPLEX_SWITCH_RCV, nth, &q));
    for (int n = 0; n < 2000 && q.behind > 0; n++) {
        (void)usleep(10000);
        assert_true(queue_at(&r->i, r->ic, SIMPLEX_SWITCH_RCV, nth, &q));
    }
    assert_int_equal(q.behind, 0);
    assert_int_equal(q.missed, 0);
}

static void any_one_server_may_be_away_while_others_talk(void **state)
{
    struct ring r;
    char text[32];

    (void)state;
    ring_open(&r, 3, 2, 2, NULL);
    ring_connect(&r);
    ring_expect_in_use(&r, 2, 2);
    for (size_t k = 0; k < r.n; k++) {
        ring_away(&r, k);
        for (int n = 0; n < 3; n++) {
            (void)snprintf(text, sizeof text, "%d without %u", n, (unsigned)k);
            ring_talk(&r, text);
        }
        ring_back(&r, k);
        ring_talk(&r, "it is back");
    }
    assert_true(quiet(&r.i, SIMPLEX_EV_MSG, 1500)); /* what comes late is known */
    assert_true(quiet(&r.j, SIMPLEX_EV_MSG, 0));
    assert_true(quiet(&r.i, SIMPLEX_EV_MERR, 0));
    for (size_t k = 0; k < 2; k++)
        expect_all_came(&r, k);
    ring_close(&r);
}

static void a_queue_that_is_behind_is_told_and_told_again_when_it_is_not(void **state)
{
    struct ring r;
    simplex_queue_info q;
    simplex_event *ev;
    int64_t behind;

    (void)state;
    ring_open(&r, 3, 2, 1, NULL);
    ring_connect(&r);
    ring_expect_in_use(&r, 2, 1);
    for (size_t k = 0; k < 2; k++) /* or the other one might be told of */
        expect_all_came(&r, k);
    r.i.cfg.miss_time = 300;
    agent_reopen(&r.i);
    assert_true(queue_at(&r.i, r.ic, SIMPLEX_SWITCH_RCV, 0, &q));
    size_t dead = server_of(&r, &q);
    ring_away(&r, dead);
    r.j.errors_ok = true;
    for (int k = 0; k < 3; k++) {
        (void)send_text(&r.j, r.jc, "one of three");
        receive_text(&r.i, r.ic, "one of three");
    }
    ev = wait_event(&r.i, SIMPLEX_EV_QMISS, r.ic);
    assert_int_equal(simplex_event_queue_id(ev), q.id);
    assert_string_equal(simplex_event_server(ev), q.server);
    assert_int_equal(simplex_event_misses(ev, &behind), 0);
    assert_true(behind >= 1);
    simplex_event_free(ev);
    ring_back(&r, dead);
    ev = wait_event(&r.i, SIMPLEX_EV_QMISS, r.ic);
    assert_int_equal(simplex_event_misses(ev, &behind), 0);
    assert_int_equal(behind, 0);
    assert_non_null(strstr(simplex_event_json(ev), "\"behind\":0"));
    simplex_event_free(ev);
    assert_true(quiet(&r.i, SIMPLEX_EV_MSG, 300));
    ring_close(&r);
}

static simplex_queue_info on_server(struct ring *r, struct test_agent *t, int64_t conn,
                                    int32_t direction, size_t server)
{
    simplex_queue_info q;

    for (size_t k = 0; queue_at(t, conn, direction, k, &q); k++) {
        if (server_of(r, &q) == server)
            return q;
    }
    fail_msg("no queue is on server %u", (unsigned)server);
    return q;
}

static void set_ttl(struct ring *r, simplex_server_config *cfg, int64_t ms)
{
    cfg->message_ttl_ms = ms;
    assert_int_equal(simplex_server_reload(r->srv[0].s, cfg), SIMPLEX_OK);
}

/* Server 0 says OK to what is sent and forgets it while the recipient is away. */
static void a_server_that_loses_messages_is_told_and_nothing_is_lost(void **state)
{
    simplex_server_config cfg;
    struct ring r;
    simplex_queue_info q;
    simplex_event *ev;
    char text[40];
    int64_t missed = 0;

    (void)state;
    simplex_server_config_init(&cfg);
    cfg.end_flush_ms = 0;
    int64_t long_ttl = cfg.message_ttl_ms;
    ring_open(&r, 2, 2, 1, &cfg);
    ring_connect(&r);
    ring_expect_in_use(&r, 2, 1);
    ring_talk(&r, "before");
    for (size_t k = 0; k < 2; k++) /* what server 0 still has would be lost as well */
        expect_all_came(&r, k);
    q = on_server(&r, &r.i, r.ic, SIMPLEX_SWITCH_RCV, 0);
    for (int round = 1; round <= 3; round++) {
        agent_close(&r.i);
        for (int k = 0; k < 5; k++) {
            (void)snprintf(text, sizeof text, "round %d text %d", round, k);
            (void)send_text(&r.j, r.jc, text);
            expect(&r.j, SIMPLEX_EV_SENT, r.jc);
            expect_taken(&r.j, r.jc);
            if (k == 3) { /* the next one has it forget these */
                (void)usleep(900000);
                set_ttl(&r, &cfg, 300);
            }
        }
        set_ttl(&r, &cfg, long_ttl);
        agent_reopen(&r.i);
        for (int k = 0; k < 5; k++) {
            (void)snprintf(text, sizeof text, "round %d text %d", round, k);
            receive_text(&r.i, r.ic, text);
        }
        while (missed < 4 * round) {
            ev = wait_event(&r.i, SIMPLEX_EV_QMISS, r.ic);
            assert_int_equal(simplex_event_queue_id(ev), q.id);
            missed = simplex_event_misses(ev, NULL);
            simplex_event_free(ev);
        }
        assert_int_equal(missed, 4 * round);
    }
    assert_int_equal(on_server(&r, &r.i, r.ic, SIMPLEX_SWITCH_RCV, 0).missed, missed);
    assert_int_equal(on_server(&r, &r.i, r.ic, SIMPLEX_SWITCH_RCV, 1).missed, 0);
    assert_true(quiet(&r.i, SIMPLEX_EV_MSG, 300));
    ring_close(&r);
}

/* ---- by chance ---- */

#define CHANCE_MESSAGES 60
#define CALM_MS 1000     /* without a message: nothing more is done to anybody before the next */
#define CHANCE_MS 120000 /* for all of it */

struct side {
    struct test_agent *t;
    int64_t conn;
    int sent, received;
};

/* True when it was a message. */
static bool take_one(struct side *s)
{
    simplex_event *ev;
    char text[32];

    if (simplex_agent_next_event(s->t->a, 5, &ev) != SIMPLEX_OK)
        return false;
    if (simplex_event_kind(ev) == SIMPLEX_EV_MERR)
        fail_msg("%s: %s", s->t->db, simplex_event_json(ev));
    bool message = simplex_event_kind(ev) == SIMPLEX_EV_MSG;
    if (message) {
        (void)snprintf(text, sizeof text, "number %d", s->received);
        vec_assert_eq(simplex_event_data(ev), sx_str(text), "in order");
        if (simplex_event_integrity(ev, NULL, NULL) != SIMPLEX_MSG_OK)
            fail_msg("%s: %s", s->t->db, simplex_event_json(ev));
        assert_int_equal(simplex_agent_ack(s->t->a, s->conn, simplex_event_msg_id(ev)), SIMPLEX_OK);
        s->received++;
    }
    simplex_event_free(ev);
    return message;
}

/* One server is away at a time, for a while, and agents restart. Where that breaks sessions faster
 * than this machine makes them, it pauses until something has come through. */
static void everything_arrives_in_order_whatever_fails(void **state)
{
    struct ring r;
    uint32_t seed = sx_random_below(1000000), x;
    size_t dead = RING_SERVERS;

    (void)state;
    print_message("seed %u\n", (unsigned)seed);
    x = seed;
    ring_open(&r, 3, 2, 2, NULL);
    ring_connect(&r);
    ring_expect_in_use(&r, 2, 2);
    struct side sides[2] = { { .t = &r.i, .conn = r.ic }, { .t = &r.j, .conn = r.jc } };
    int64_t heard = sx_mono_ms(), end = heard + CHANCE_MS;
    while (sides[0].received < CHANCE_MESSAGES || sides[1].received < CHANCE_MESSAGES) {
        x = x * 1664525u + 1013904223u;
        uint32_t roll = (x >> 16) % 100;
        struct side *s = &sides[roll % 2];
        bool calm = sx_mono_ms() - heard > CALM_MS;
        char text[32];
        if (sx_mono_ms() > end)
            fail_msg("%d and %d arrived", sides[0].received, sides[1].received);
        if (roll < 40 && s->sent < CHANCE_MESSAGES) {
            (void)snprintf(text, sizeof text, "number %d", s->sent++);
            (void)send_text(s->t, s->conn, text);
        } else if (roll >= 40 && roll < 46 && !calm) {
            if (dead < r.n)
                ring_back(&r, dead);
            dead = (x >> 8) % (r.n + 1);
            if (dead < r.n && roll < 44)
                ring_away(&r, dead);
            else if (dead < r.n)
                forwarder_drop(&r.fwd[dead]);
        } else if (roll == 46 && !calm) {
            agent_reopen(s->t);
        } else if (take_one(s)) {
            heard = sx_mono_ms();
        }
    }
    for (size_t k = 0; k < r.n; k++)
        ring_back(&r, k);
    for (int k = 0; k < 100; k++)
        (void)take_one(&sides[k % 2]);
    assert_int_equal(sides[0].received, CHANCE_MESSAGES);
    assert_int_equal(sides[1].received, CHANCE_MESSAGES);
    ring_close(&r);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_queue_carries_every_message_and_each_is_shown_once),
        cmocka_unit_test(each_side_chooses_for_itself_and_servers_limit_it),
        cmocka_unit_test(any_one_server_may_be_away_while_others_talk),
        cmocka_unit_test(a_queue_that_is_behind_is_told_and_told_again_when_it_is_not),
        cmocka_unit_test(a_server_that_loses_messages_is_told_and_nothing_is_lost),
        cmocka_unit_test(everything_arrives_in_order_whatever_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
