/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections with several receiving queues: every message arrives once and in order, whichever
 * server is away, loses what it took or comes back; peers that use one queue are noticed; queues
 * come and go.
 */
#include <stdio.h>
#include <unistd.h>

#include "support/ring.h"
#include "wire/link.h"

static void talk_both_ways(struct ring *r, const char *text)
{
    talk(&r->i, r->ic, &r->j, r->jc, text);
    talk(&r->j, r->jc, &r->i, r->ic, text);
}

static void all_in_use(struct ring *r, size_t i_queues, size_t j_queues)
{
    expect_in_use(&r->i, r->ic, SIMPLEX_SWITCH_RCV, i_queues);
    expect_in_use(&r->j, r->jc, SIMPLEX_SWITCH_RCV, j_queues);
    expect_in_use(&r->i, r->ic, SIMPLEX_SWITCH_SND, j_queues);
    expect_in_use(&r->j, r->jc, SIMPLEX_SWITCH_SND, i_queues);
}

static size_t server_queues(struct ring *r)
{
    size_t n = 0;

    for (size_t k = 0; k < r->n; k++) {
        simplex_server_counters c = { .size = sizeof c };
        assert_int_equal(simplex_server_count(r->srv[k].s, &c), SIMPLEX_OK);
        n += c.queues;
    }
    return n;
}

static void expect_server_queues(struct ring *r, size_t n)
{
    for (int k = 0; k < 1500 && server_queues(r) != n; k++)
        (void)usleep(10000);
    assert_int_equal(server_queues(r), n);
}

static simplex_event *expect_change(struct test_agent *t, int64_t conn, int32_t direction,
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

/* The queues of a link, and what is left of it with the first alone. */
static size_t link_queues(simplex_bytes text, size_t first_server[1], const struct ring *r,
                          struct sx_wr *shorter)
{
    struct sx_link l;
    simplex_queue_info q = { .size = sizeof q };
    size_t n;

    assert_int_equal(sx_link_parse(text, &l), SIMPLEX_OK);
    n = l.n_queues;
    (void)snprintf(q.server, sizeof q.server, "%s:%s", l.queues[0].server.hosts[0].text,
                   l.queues[0].server.port);
    *first_server = server_of(r, &q);
    l.n_queues = 1;
    sx_wr_init(shorter, SX_LINK_TEXT_MAX);
    sx_link_print(shorter, &l, "simplex:");
    assert_false(shorter->bad);
    l.n_queues = n;
    sx_link_free(&l);
    return n;
}

/* ---- when nothing fails ---- */

static void every_queue_carries_every_message_and_each_is_shown_once(void **state)
{
    struct ring r;
    simplex_queue_info q, other;
    char text[32];

    (void)state;
    ring_open(&r, 3, 2, 2, NULL);
    ring_connect(&r);
    all_in_use(&r, 2, 2);
    for (int k = 0; k < 10; k++) {
        (void)snprintf(text, sizeof text, "message %d", k);
        talk_both_ways(&r, text);
    }
    assert_true(quiet(&r.i, SIMPLEX_EV_MSG, 300));
    assert_true(quiet(&r.j, SIMPLEX_EV_MSG, 0));
    assert_true(quiet(&r.i, SIMPLEX_EV_SENT, 0));
    assert_true(quiet(&r.i, SIMPLEX_EV_QMISS, 0));
    assert_true(queue_at(&r.i, r.ic, SIMPLEX_SWITCH_RCV, 0, &q));
    assert_true(queue_at(&r.i, r.ic, SIMPLEX_SWITCH_RCV, 1, &other));
    assert_int_not_equal(server_of(&r, &q), server_of(&r, &other));
    assert_true(q.primary && !other.primary);
    for (int k = 0; k < 500 && other.received < 10; k++) {
        (void)usleep(10000);
        assert_true(queue_at(&r.i, r.ic, SIMPLEX_SWITCH_RCV, 1, &other));
    }
    assert_true(q.received >= 10 && other.received >= 10);
    assert_int_equal(q.missed + other.missed, 0);
    assert_true(q.last_time > 0 && q.subscribed);
    assert_int_equal(simplex_agent_queue(r.i.a, r.ic, 4, &q), SIMPLEX_E_NOT_FOUND);
    agent_reopen(&r.i);
    agent_reopen(&r.j);
    talk_both_ways(&r, "after a restart");
    all_in_use(&r, 2, 2);
    assert_int_equal(simplex_agent_delete(r.i.a, r.ic), SIMPLEX_OK);
    expect(&r.i, SIMPLEX_EV_DEL_CONN, r.ic);
    assert_int_equal(simplex_agent_delete(r.j.a, r.jc), SIMPLEX_OK);
    expect(&r.j, SIMPLEX_EV_DEL_CONN, r.jc);
    expect_server_queues(&r, 0);
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
        all_in_use(&r, cases[k].i_queues, cases[k].j_queues);
        talk_both_ways(&r, "some text");
        ring_close(&r);
    }
}

static void the_number_can_be_given_with_each_connection(void **state)
{
    struct ring r;
    simplex_connection_options o = { .size = sizeof o, .queues = 3 };
    simplex_event *ev;
    int64_t ic, jc;

    (void)state;
    ring_open(&r, 3, 1, 1, NULL);
    o.queues = SIMPLEX_QUEUES_MAX + 1;
    assert_int_equal(simplex_agent_create_with(r.i.a, SIMPLEX_PQ_ON, &o, &ic), SIMPLEX_E_ARG);
    o.queues = 3;
    assert_int_equal(simplex_agent_create_with(r.i.a, SIMPLEX_PQ_ON, &o, &ic), SIMPLEX_OK);
    ev = wait_event(&r.i, SIMPLEX_EV_INV, ic);
    o.queues = 2;
    assert_int_equal(
        simplex_agent_join_with(r.j.a, simplex_event_data(ev), sx_str("J"), SIMPLEX_PQ_ON, &o, &jc),
        SIMPLEX_OK);
    simplex_event_free(ev);
    agent_allow(&r.i, ic, "I");
    expect(&r.j, SIMPLEX_EV_CON, jc);
    expect(&r.i, SIMPLEX_EV_CON, ic);
    expect_in_use(&r.i, ic, SIMPLEX_SWITCH_RCV, 3);
    expect_in_use(&r.j, jc, SIMPLEX_SWITCH_RCV, 2);
    talk(&r.i, ic, &r.j, jc, "with keys that nobody can compute");
    ring_close(&r);
}

/* Through an address, whose link is `link`: it has one queue, what comes of it several. */
static void connect_through(struct ring *r, int64_t address, int32_t link)
{
    simplex_event *ev = wait_event(&r->i, link, address);
    int64_t ic, jc;

    assert_int_equal(count_queues(&r->i, address, SIMPLEX_SWITCH_RCV), 1);
    assert_int_equal(
        simplex_agent_join(r->j.a, simplex_event_data(ev), sx_str("me"), SIMPLEX_PQ_OFF, &jc),
        SIMPLEX_OK);
    simplex_event_free(ev);
    ev = wait_event(&r->i, SIMPLEX_EV_REQ, address);
    assert_int_equal(
        simplex_agent_accept(r->i.a, simplex_event_request(ev), sx_str("you"), SIMPLEX_PQ_OFF, &ic),
        SIMPLEX_OK);
    simplex_event_free(ev);
    agent_allow(&r->j, jc, "me again");
    expect(&r->i, SIMPLEX_EV_CON, ic);
    expect(&r->j, SIMPLEX_EV_CON, jc);
    r->ic = ic;
    r->jc = jc;
    all_in_use(r, 2, 2);
    talk_both_ways(r, "some text");
}

static void a_requester_and_an_owner_have_several(void **state)
{
    simplex_link_data d = { .size = sizeof d, .data = sx_str("who I am") };
    struct ring r;
    int64_t address;

    (void)state;
    ring_open(&r, 3, 2, 2, NULL);
    assert_int_equal(simplex_agent_create_address(r.i.a, &address), SIMPLEX_OK);
    connect_through(&r, address, SIMPLEX_EV_INV);
    assert_int_equal(
        simplex_agent_create_short(r.i.a, SIMPLEX_LINK_CONTACT, SIMPLEX_PQ_OFF, &d, &address),
        SIMPLEX_OK);
    connect_through(&r, address, SIMPLEX_EV_LINK);
    ring_close(&r);
}

/* The link behind it names the others as well; they need not be secured before. */
static void a_short_link_leads_to_several(void **state)
{
    struct ring r;
    simplex_link_data d = { .size = sizeof d, .data = sx_str("a name") };
    simplex_link_info info = { .size = sizeof info };
    simplex_event *ev, *link;
    struct sx_wr shorter;
    size_t first;

    (void)state;
    ring_open(&r, 4, 3, 2, NULL);
    for (int pq = SIMPLEX_PQ_OFF; pq <= SIMPLEX_PQ_ON;
         pq++) { /* with the KEM key there is less room */
        assert_int_equal(simplex_agent_create_short(r.i.a, SIMPLEX_LINK_INVITATION, pq, &d, &r.ic),
                         SIMPLEX_OK);
        link = wait_event(&r.i, SIMPLEX_EV_LINK, r.ic);
        assert_int_equal(simplex_agent_look(r.j.a, simplex_event_data(link), &r.jc), SIMPLEX_OK);
        ev = wait_event(&r.j, SIMPLEX_EV_LDATA, r.jc);
        assert_int_equal(simplex_event_link_info(ev, &info), SIMPLEX_OK);
        size_t n = link_queues(info.link, &first, &r, &shorter);
        sx_wr_free(&shorter);
        assert_true(pq == SIMPLEX_PQ_OFF ? n == 3 : n >= 2);
        simplex_event_free(ev);
        assert_int_equal(
            simplex_agent_join(r.j.a, simplex_event_data(link), sx_str("J"), pq, &r.jc),
            SIMPLEX_OK);
        simplex_event_free(link);
        agent_allow(&r.i, r.ic, "I am I");
        expect(&r.j, SIMPLEX_EV_CON, r.jc);
        expect(&r.i, SIMPLEX_EV_CON, r.ic);
        expect_in_use(&r.j, r.jc, SIMPLEX_SWITCH_SND, n);
        talk_both_ways(&r, "some text");
        expect_in_use(&r.j, r.jc, SIMPLEX_SWITCH_RCV, 2);
        if (n == 3)
            expect_in_use(&r.i, r.ic, SIMPLEX_SWITCH_RCV, 3);
    }
    ring_close(&r);
}

/* ---- a server dies ---- */

static void any_one_server_may_be_away_while_others_talk(void **state)
{
    struct ring r;
    char text[32];

    (void)state;
    ring_open(&r, 3, 2, 2, NULL);
    ring_connect(&r);
    all_in_use(&r, 2, 2);
    for (size_t k = 0; k < r.n; k++) {
        ring_away(&r, k);
        for (int n = 0; n < 3; n++) {
            (void)snprintf(text, sizeof text, "%d without %u", n, (unsigned)k);
            talk_both_ways(&r, text);
        }
        ring_back(&r, k);
        talk_both_ways(&r, "it is back");
    }
    assert_true(quiet(&r.i, SIMPLEX_EV_MSG, 1500)); /* what comes late is known */
    assert_true(quiet(&r.j, SIMPLEX_EV_MSG, 0));
    assert_true(quiet(&r.i, SIMPLEX_EV_MERR, 0));
    for (size_t k = 0; k < 2; k++) {
        simplex_queue_info q;
        assert_true(queue_at(&r.i, r.ic, SIMPLEX_SWITCH_RCV, k, &q));
        assert_int_equal(q.missed, 0);
        for (int n = 0; n < 1000 && q.behind > 0; n++) {
            (void)usleep(10000);
            assert_true(queue_at(&r.i, r.ic, SIMPLEX_SWITCH_RCV, k, &q));
        }
        assert_int_equal(q.behind, 0);
    }
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
    r.i.cfg.miss_time = 300;
    agent_reopen(&r.i);
    ring_connect(&r);
    all_in_use(&r, 2, 1);
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
    cfg.message_ttl_ms = 300;
    ring_open(&r, 2, 2, 1, &cfg);
    ring_connect(&r);
    all_in_use(&r, 2, 1);
    talk_both_ways(&r, "before");
    q = on_server(&r, &r.i, r.ic, SIMPLEX_SWITCH_RCV, 0);
    for (int round = 1; round <= 3; round++) {
        agent_close(&r.i);
        for (int k = 0; k < 5; k++) {
            (void)snprintf(text, sizeof text, "round %d text %d", round, k);
            (void)send_text(&r.j, r.jc, text);
            expect(&r.j, SIMPLEX_EV_SENT, r.jc);
            if (k == 3) { /* all queues have taken these */
                expect_in_use(&r.j, r.jc, SIMPLEX_SWITCH_SND, 2);
                (void)usleep(900000);
            }
        }
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
        assert_true(missed <= 5 * round); /* the last, where the agent came late */
    }
    assert_in_range(on_server(&r, &r.i, r.ic, SIMPLEX_SWITCH_RCV, 0).missed, missed, 15);
    assert_int_equal(on_server(&r, &r.i, r.ic, SIMPLEX_SWITCH_RCV, 1).missed, 0);
    assert_true(quiet(&r.i, SIMPLEX_EV_MSG, 300));
    ring_close(&r);
}

/* ---- connecting ---- */

static void the_first_server_of_a_link_may_be_away(void **state)
{
    struct ring r;
    simplex_event *ev;
    struct sx_wr shorter;
    size_t first;

    (void)state;
    ring_open(&r, 3, 2, 2, NULL);
    assert_int_equal(simplex_agent_create(r.i.a, SIMPLEX_PQ_OFF, &r.ic), SIMPLEX_OK);
    ev = wait_event(&r.i, SIMPLEX_EV_INV, r.ic);
    assert_int_equal(link_queues(simplex_event_data(ev), &first, &r, &shorter), 2);
    sx_wr_free(&shorter);
    ring_away(&r, first);
    assert_int_equal(
        simplex_agent_join(r.j.a, simplex_event_data(ev), sx_str("J"), SIMPLEX_PQ_OFF, &r.jc),
        SIMPLEX_OK);
    simplex_event_free(ev);
    agent_allow(&r.i, r.ic, "I am I");
    expect(&r.j, SIMPLEX_EV_CON, r.jc);
    expect(&r.i, SIMPLEX_EV_CON, r.ic);
    talk_both_ways(&r, "without the first");
    ring_back(&r, first);
    all_in_use(&r, 2, count_queues(&r.j, r.jc, SIMPLEX_SWITCH_RCV));
    talk_both_ways(&r, "with it");
    assert_true(quiet(&r.i, SIMPLEX_EV_MSG, 300));
    ring_close(&r);
}

/* Then the copy of the confirmation that comes through the other one brings its secret. */
static void the_only_queue_that_was_used_may_be_removed(void **state)
{
    struct ring r;
    simplex_queue_info q;
    simplex_event *ev;
    struct sx_wr shorter;
    size_t first;

    (void)state;
    ring_open(&r, 3, 2, 1, NULL);
    assert_int_equal(simplex_agent_create(r.i.a, SIMPLEX_PQ_OFF, &r.ic), SIMPLEX_OK);
    ev = wait_event(&r.i, SIMPLEX_EV_INV, r.ic);
    assert_int_equal(link_queues(simplex_event_data(ev), &first, &r, &shorter), 2);
    sx_wr_free(&shorter);
    ring_away(&r, first);
    assert_int_equal(
        simplex_agent_join(r.j.a, simplex_event_data(ev), sx_str("J"), SIMPLEX_PQ_OFF, &r.jc),
        SIMPLEX_OK);
    simplex_event_free(ev);
    agent_allow(&r.i, r.ic, "I am I");
    expect(&r.j, SIMPLEX_EV_CON, r.jc);
    expect(&r.i, SIMPLEX_EV_CON, r.ic);
    for (size_t k = 0; queue_at(&r.i, r.ic, SIMPLEX_SWITCH_RCV, k, &q); k++) {
        if (server_of(&r, &q) != first)
            break;
    }
    assert_int_equal(simplex_agent_remove_queue(r.i.a, r.ic, q.id), SIMPLEX_OK);
    simplex_event_free(expect_change(&r.i, r.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_QUEUE_REMOVED));
    ring_back(&r, first);
    talk(&r.i, r.ic, &r.j, r.jc, "out");
    (void)send_text(&r.j, r.jc, "back");
    receive_text(&r.i, r.ic, "back");
    ring_close(&r);
}

static void a_server_that_is_away_is_left_out_of_the_link(void **state)
{
    (void)state;
    for (size_t dead = 0; dead < 2; dead++) {
        struct ring r;
        ring_open(&r, 2, 2, 1, NULL);
        ring_away(&r, dead);
        ring_connect(&r);
        all_in_use(&r, 1, 1);
        talk_both_ways(&r, "with one");
        ring_close(&r);
    }
}

/* Each server goes away at some moment of the handshake, and comes back. */
static void any_server_may_fail_during_the_handshake(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 12; round++) {
        struct ring r;
        size_t dead = round % 3;
        simplex_event *ev;

        ring_open(&r, 3, 2, 2, NULL);
        assert_int_equal(simplex_agent_create(r.i.a, SIMPLEX_PQ_OFF, &r.ic), SIMPLEX_OK);
        ev = wait_event(&r.i, SIMPLEX_EV_INV, r.ic);
        if (round / 3 == 0)
            ring_away(&r, dead);
        assert_int_equal(
            simplex_agent_join(r.j.a, simplex_event_data(ev), sx_str("J"), SIMPLEX_PQ_OFF, &r.jc),
            SIMPLEX_OK);
        simplex_event_free(ev);
        if (round / 3 == 1)
            ring_away(&r, dead);
        expect(&r.j, SIMPLEX_EV_JOINED, r.jc);
        if (round / 3 == 2)
            ring_away(&r, dead);
        agent_reopen(&r.j);
        agent_allow(&r.i, r.ic, "I am I");
        if (round / 3 == 3)
            ring_away(&r, dead);
        agent_reopen(&r.i);
        expect(&r.j, SIMPLEX_EV_CON, r.jc);
        expect(&r.i, SIMPLEX_EV_CON, r.ic);
        talk_both_ways(&r, "without it");
        ring_back(&r, dead);
        talk_both_ways(&r, "with it");
        ring_close(&r);
    }
}

static size_t first_queues(struct test_agent *t, int64_t conn)
{
    simplex_queue_info q;
    size_t n = 0;

    for (size_t k = 0; queue_at(t, conn, SIMPLEX_SWITCH_RCV, k, &q); k++)
        n += q.primary;
    return n;
}

/* It is refused while the others have no answer yet: one of these is the first from then on, else
 * what comes through it would seem to prove that the peer uses several. */
static void another_queue_is_the_first_when_that_is_refused(void **state)
{
    simplex_server_config cfg;
    simplex_queue_info q;
    struct ring r;
    bool was_first = false;

    (void)state;
    ring_open(&r, 3, 3, 1, NULL);
    simplex_server_config_init(&cfg);
    for (int k = 0; k < 60 && !was_first; k++) {
        cfg.password = "needed";
        assert_int_equal(simplex_server_reload(r.srv[0].s, &cfg), SIMPLEX_OK);
        ring_away(&r, 1);
        ring_away(&r, 2);
        assert_int_equal(simplex_agent_create(r.i.a, SIMPLEX_PQ_OFF, &r.ic), SIMPLEX_OK);
        assert_true(queue_at(&r.i, r.ic, SIMPLEX_SWITCH_RCV, 0, &q));
        was_first = server_of(&r, &q) == 0;
        simplex_event_free(expect_change(&r.i, r.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_QUEUE_REMOVED));
        assert_int_equal(first_queues(&r.i, r.ic), 1);
        cfg.password = NULL; /* one of the others may move there */
        assert_int_equal(simplex_server_reload(r.srv[0].s, &cfg), SIMPLEX_OK);
        ring_back(&r, 1);
        ring_back(&r, 2);
        expect(&r.i, SIMPLEX_EV_INV, r.ic);
        assert_int_equal(first_queues(&r.i, r.ic), 1);
    }
    assert_true(was_first);
    ring_close(&r);
}

/* ---- peers that use one queue ---- */

/* As a reference peer would, J takes the first queue of the link alone. */
static void the_others_go_when_the_joiner_uses_the_first_alone(void **state)
{
    struct ring r;
    simplex_event *ev;
    struct sx_wr shorter;
    size_t first;

    (void)state;
    ring_open(&r, 4, 3, 1, NULL);
    r.i.cfg.spare_messages = 3;
    r.i.cfg.spare_time = 1;
    agent_reopen(&r.i);
    assert_int_equal(simplex_agent_create(r.i.a, SIMPLEX_PQ_OFF, &r.ic), SIMPLEX_OK);
    ev = wait_event(&r.i, SIMPLEX_EV_INV, r.ic);
    assert_int_equal(link_queues(simplex_event_data(ev), &first, &r, &shorter), 3);
    simplex_event_free(ev);
    assert_int_equal(
        simplex_agent_join(r.j.a, sx_wr_bytes(&shorter), sx_str("J"), SIMPLEX_PQ_OFF, &r.jc),
        SIMPLEX_OK);
    sx_wr_free(&shorter);
    agent_allow(&r.i, r.ic, "I am I");
    expect(&r.j, SIMPLEX_EV_CON, r.jc);
    expect(&r.i, SIMPLEX_EV_CON, r.ic);
    assert_int_equal(count_queues(&r.i, r.ic, SIMPLEX_SWITCH_RCV), 3);
    for (int k = 0; k < 4; k++) {
        talk_both_ways(&r, "through the first");
        (void)usleep(2000);
    }
    for (int k = 0; k < 2; k++) {
        ev = wait_event(&r.i, SIMPLEX_EV_QUEUE, r.ic);
        assert_int_equal(simplex_event_switch(ev, NULL), SIMPLEX_QUEUE_REMOVED);
        assert_int_equal(simplex_event_error(ev), SIMPLEX_E_UNSUPPORTED);
        assert_non_null(strstr(simplex_event_json(ev), "\"change\":\"removed\""));
        simplex_event_free(ev);
    }
    all_in_use(&r, 1, 1);
    expect_server_queues(&r, 2);
    talk_both_ways(&r, "as ever");
    assert_true(quiet(&r.i, SIMPLEX_EV_QMISS, 0));
    ring_close(&r);
}

/* I cannot reach the second queue of J for so long that J takes it for a reference peer. */
static void the_others_go_when_the_initiator_uses_the_first_alone(void **state)
{
    struct ring r;
    simplex_queue_info q;
    simplex_event *ev;
    size_t spare;

    (void)state;
    ring_open(&r, 3, 1, 2, NULL);
    r.j.cfg.spare_messages = 3;
    r.j.cfg.spare_time = 1;
    agent_reopen(&r.j);
    assert_int_equal(simplex_agent_create(r.i.a, SIMPLEX_PQ_OFF, &r.ic), SIMPLEX_OK);
    agent_join(&r.i, r.ic, &r.j, "J", &r.jc);
    expect(&r.j, SIMPLEX_EV_JOINED, r.jc);
    assert_true(queue_at(&r.j, r.jc, SIMPLEX_SWITCH_RCV, 1, &q));
    spare = server_of(&r, &q);
    ring_away(&r, spare);
    agent_allow(&r.i, r.ic, "I am I");
    expect(&r.j, SIMPLEX_EV_CON, r.jc);
    expect(&r.i, SIMPLEX_EV_CON, r.ic);
    for (int k = 0; k < 5; k++) {
        talk(&r.i, r.ic, &r.j, r.jc, "through the first");
        (void)usleep(2000);
    }
    ev = expect_change(&r.j, r.jc, SIMPLEX_SWITCH_RCV, SIMPLEX_QUEUE_REMOVED);
    assert_int_equal(simplex_event_error(ev), SIMPLEX_E_UNSUPPORTED);
    simplex_event_free(ev);
    ring_back(&r, spare); /* I finds out when it sends, and does without it */
    expect_server_queues(&r, 2);
    talk(&r.i, r.ic, &r.j, r.jc, "through the first");
    simplex_event_free(expect_change(&r.i, r.ic, SIMPLEX_SWITCH_SND, SIMPLEX_QUEUE_REMOVED));
    all_in_use(&r, 1, 1);
    talk_both_ways(&r, "as ever");
    ring_close(&r);
}

/* Until t has sent so many repeats of its messages. */
static void wait_repeats(struct test_agent *t, int64_t n)
{
    simplex_noise_stats s = { .size = sizeof s };
    int64_t end = sx_mono_ms() + WAIT_MS;

    for (; s.total.repeats < n; (void)usleep(10000)) {
        assert_true(sx_mono_ms() < end);
        assert_int_equal(simplex_agent_noise_stats(t->a, &s), SIMPLEX_OK);
    }
}

/* The second server is away: what comes again through the first says nothing about the second. */
static void repeats_of_a_message_do_not_say_that_the_peer_uses_one_queue(void **state)
{
    simplex_noise noise = { .size = sizeof noise,
                            .budget = INT64_C(1) << 33,
                            .kinds = SIMPLEX_NOISE_REPEAT };
    struct ring r;
    simplex_queue_info q, before;
    simplex_event *ev;
    size_t spare;

    (void)state;
    ring_open(&r, 2, 2, 1, NULL);
    r.i.cfg.spare_messages = 8;
    r.i.cfg.spare_time = 1;
    agent_reopen(&r.i);
    assert_int_equal(simplex_agent_create(r.i.a, SIMPLEX_PQ_OFF, &r.ic), SIMPLEX_OK);
    ev = wait_event(&r.i, SIMPLEX_EV_INV, r.ic);
    assert_true(queue_at(&r.i, r.ic, SIMPLEX_SWITCH_RCV, 1, &q));
    spare = server_of(&r, &q);
    ring_away(&r, spare);
    assert_int_equal(
        simplex_agent_join(r.j.a, simplex_event_data(ev), sx_str("J"), SIMPLEX_PQ_OFF, &r.jc),
        SIMPLEX_OK);
    simplex_event_free(ev);
    agent_allow(&r.i, r.ic, "I am I");
    expect(&r.j, SIMPLEX_EV_CON, r.jc);
    expect(&r.i, SIMPLEX_EV_CON, r.ic);
    assert_int_equal(simplex_agent_set_noise(r.j.a, &noise), SIMPLEX_OK);
    talk(&r.j, r.jc, &r.i, r.ic, "through the first");
    assert_true(queue_at(&r.i, r.ic, SIMPLEX_SWITCH_RCV, 0, &before));
    wait_repeats(&r.j, 10);
    assert_true(quiet(&r.i, SIMPLEX_EV_QUEUE, 500));
    assert_true(queue_at(&r.i, r.ic, SIMPLEX_SWITCH_RCV, 0, &q));
    assert_int_equal(q.received, before.received);
    ring_back(&r, spare);
    talk_both_ways(&r, "through both");
    all_in_use(&r, 2, 1);
    ring_close(&r);
}

/* ---- queues that come and go ---- */

static int64_t add(struct ring *r, const char *server)
{
    int64_t id;
    simplex_rc rc = simplex_agent_add_queue(r->i.a, r->ic, sx_str(server), &id);

    if (rc != SIMPLEX_OK)
        fail_msg("add: %s", simplex_rc_name(rc));
    return id;
}

/* It names what no server was asked for yet, so it can name no queue whose id the server chooses.
 */
static void a_prepared_link_has_one_queue_and_others_follow(void **state)
{
    simplex_link_data d = { .size = sizeof d, .data = sx_str("printed") };
    struct ring r;
    simplex_event *ev;

    (void)state;
    ring_open(&r, 3, 2, 2, NULL);
    assert_int_equal(
        simplex_agent_prepare_short(r.i.a, SIMPLEX_LINK_INVITATION, SIMPLEX_PQ_OFF, &d, &r.ic),
        SIMPLEX_OK);
    assert_int_equal(simplex_agent_publish(r.i.a, r.ic), SIMPLEX_OK);
    ev = wait_event(&r.i, SIMPLEX_EV_LINK, r.ic);
    assert_int_equal(
        simplex_agent_join(r.j.a, simplex_event_data(ev), sx_str("J"), SIMPLEX_PQ_OFF, &r.jc),
        SIMPLEX_OK);
    simplex_event_free(ev);
    agent_allow(&r.i, r.ic, "I am I");
    expect(&r.j, SIMPLEX_EV_CON, r.jc);
    expect(&r.i, SIMPLEX_EV_CON, r.ic);
    all_in_use(&r, 1, 2);
    (void)add(&r, "");
    talk_both_ways(&r, "through both");
    all_in_use(&r, 2, 2);
    ring_close(&r);
}

static void queues_are_added_and_removed(void **state)
{
    struct ring r;
    simplex_queue_info q;
    simplex_event *ev;
    int64_t id, old;

    (void)state;
    ring_open(&r, 4, 1, 1, NULL);
    ring_connect(&r);
    assert_int_equal(simplex_agent_add_queue(r.i.a, r.ic + 9, sx_str(""), &id),
                     SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_add_queue(r.i.a, r.ic, sx_str("nonsense"), &id),
                     SIMPLEX_E_ADDRESS);
    assert_true(queue_at(&r.i, r.ic, SIMPLEX_SWITCH_RCV, 0, &q));
    old = q.id;
    assert_int_equal(simplex_agent_remove_queue(r.i.a, r.ic, old), SIMPLEX_E_PROHIBITED);
    assert_int_equal(simplex_agent_remove_queue(r.i.a, r.ic, 999), SIMPLEX_E_NOT_FOUND);
    for (size_t k = 2; k <= SIMPLEX_QUEUES_MAX; k++) {
        id = add(&r, "");
        ev = expect_change(&r.i, r.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_QUEUE_ADDED);
        assert_int_equal(simplex_event_queue_id(ev), id);
        simplex_event_free(ev);
        simplex_event_free(expect_change(&r.j, r.jc, SIMPLEX_SWITCH_SND, SIMPLEX_QUEUE_ADDED));
        all_in_use(&r, k, 1);
        talk_both_ways(&r, "with one more");
    }
    assert_int_equal(simplex_agent_add_queue(r.i.a, r.ic, sx_str(""), &id), SIMPLEX_E_PROHIBITED);
    ring_away(&r, server_of(&r, &q)); /* the one that the connection began with */
    r.i.errors_ok = r.j.errors_ok = true;
    (void)send_text(&r.j, r.jc, "without the oldest");
    receive_text(&r.i, r.ic, "without the oldest");
    ring_back(&r, server_of(&r, &q));
    assert_int_equal(simplex_agent_remove_queue(r.i.a, r.ic, old), SIMPLEX_OK);
    assert_int_equal(simplex_agent_remove_queue(r.i.a, r.ic, old), SIMPLEX_OK);
    ev = expect_change(&r.i, r.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_QUEUE_REMOVED);
    assert_int_equal(simplex_event_queue_id(ev), old);
    assert_int_equal(simplex_event_error(ev), SIMPLEX_OK);
    simplex_event_free(ev);
    (void)send_text(&r.j, r.jc, "it is gone");
    receive_text(&r.i, r.ic, "it is gone");
    simplex_event_free(expect_change(&r.j, r.jc, SIMPLEX_SWITCH_SND, SIMPLEX_QUEUE_REMOVED));
    all_in_use(&r, SIMPLEX_QUEUES_MAX - 1, 1);
    assert_true(queue_at(&r.i, r.ic, SIMPLEX_SWITCH_RCV, 0, &q));
    assert_true(q.primary && q.id != old);
    for (size_t k = SIMPLEX_QUEUES_MAX - 1; k > 1; k--) {
        assert_true(queue_at(&r.i, r.ic, SIMPLEX_SWITCH_RCV, k - 1, &q));
        assert_int_equal(simplex_agent_remove_queue(r.i.a, r.ic, q.id), SIMPLEX_OK);
        simplex_event_free(expect_change(&r.i, r.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_QUEUE_REMOVED));
        (void)send_text(&r.j, r.jc, "one less");
        receive_text(&r.i, r.ic, "one less");
    }
    all_in_use(&r, 1, 1);
    ring_close(&r);
}

/* Server 0 keeps nothing but its certificates: its queues are gone when it comes back. */
static void lose_queues(struct ring *r, const simplex_server_config *cfg)
{
    ring_away(r, 0);
    server_stop(&r->srv[0]);
    server_start(&r->srv[0], cfg);
    forwarder_aim(&r->fwd[0], simplex_server_port(r->srv[0].s));
    ring_back(r, 0);
}

/* I's queue on server 0, the other one, and both know that the first is lost; J only if it noticed.
 */
static void lose_one(struct ring *r, const simplex_server_config *cfg, bool noticed,
                     simplex_queue_info *lost, simplex_queue_info *other)
{
    simplex_event *ev;
    size_t n = 0;

    do { /* on which servers queues are is chosen at random */
        if (n++ > 0)
            ring_close(r);
        ring_open(r, 3, 2, 2, cfg);
        ring_connect(r);
        all_in_use(r, 2, 2);
        assert_true(queue_at(&r->i, r->ic, SIMPLEX_SWITCH_RCV, 0, lost));
        assert_true(queue_at(&r->i, r->ic, SIMPLEX_SWITCH_RCV, 1, other));
    } while (server_of(r, lost) != 0 && server_of(r, other) != 0);
    if (server_of(r, lost) != 0) {
        simplex_queue_info q = *lost;
        *lost = *other;
        *other = q;
    }
    talk_both_ways(r, "before");
    r->i.errors_ok = r->j.errors_ok = true;
    lose_queues(r, cfg);
    ev = wait_event(&r->i, SIMPLEX_EV_ERR, r->ic);
    assert_string_equal(simplex_event_detail(ev), "AUTH");
    simplex_event_free(ev);
    for (size_t k = 0; k < 2; k++) {
        simplex_queue_info q;
        assert_true(queue_at(&r->i, r->ic, SIMPLEX_SWITCH_RCV, k, &q));
        assert_int_equal(q.state == SIMPLEX_QUEUE_LOST, q.id == lost->id);
    }
    if (!noticed)
        return;
    talk_both_ways(r, "one less");
    ev = expect_change(&r->j, r->jc, SIMPLEX_SWITCH_SND, SIMPLEX_QUEUE_REMOVED);
    assert_string_equal(simplex_event_detail(ev), "AUTH");
    simplex_event_free(ev);
}

static void certificates_only(simplex_server_config *cfg, char dir[256])
{
    tmp_make(dir);
    simplex_server_config_init(cfg);
    cfg->dir = dir;
}

/* The agent knows that the server has not got it any more, so nothing is left to wait for. */
static void a_queue_that_its_server_lost_is_removed_at_once(void **state)
{
    simplex_server_config cfg;
    struct ring r;
    simplex_queue_info lost, other;
    simplex_event *ev;
    char dir[256];

    (void)state;
    certificates_only(&cfg, dir);
    lose_one(&r, &cfg, false, &lost, &other);
    assert_int_equal(simplex_agent_remove_queue(r.i.a, r.ic, other.id), SIMPLEX_E_PROHIBITED);
    assert_int_equal(simplex_agent_remove_queue(r.i.a, r.ic, lost.id), SIMPLEX_OK);
    ev = expect_change(&r.i, r.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_QUEUE_REMOVED);
    assert_int_equal(simplex_event_queue_id(ev), lost.id);
    simplex_event_free(ev);
    (void)send_text(&r.j, r.jc, "without it");
    receive_text(&r.i, r.ic, "without it");
    ring_close(&r);
    tmp_remove(dir);
}

/* The peer may have found out before, and be asked to replace a queue that it does not know. */
static void a_queue_that_its_server_lost_can_be_moved(void **state)
{
    simplex_server_config cfg;
    struct ring r;
    simplex_queue_info lost, other;
    simplex_event *ev;
    char dir[256];

    (void)state;
    certificates_only(&cfg, dir);
    for (int noticed = 0; noticed < 2; noticed++) {
        lose_one(&r, &cfg, noticed, &lost, &other);
        assert_int_equal(simplex_agent_switch_queue(r.i.a, r.ic, lost.id, sx_str(r.srv[1].address)),
                         SIMPLEX_OK);
        int32_t phase = 0;
        while (phase != SIMPLEX_SWITCH_COMPLETED) {
            ev = wait_event(&r.i, SIMPLEX_EV_SWITCH, r.ic);
            phase = simplex_event_switch(ev, NULL);
            simplex_event_free(ev);
        }
        (void)send_text(&r.j, r.jc, "through both");
        receive_text(&r.i, r.ic, "through both");
        expect_in_use(&r.j, r.jc, SIMPLEX_SWITCH_SND, 2);
        ring_close(&r);
    }
    tmp_remove(dir);
}

static int32_t switch_phase(struct test_agent *t, int64_t conn)
{
    simplex_event *ev = wait_event(t, SIMPLEX_EV_SWITCH, conn);
    int32_t phase = simplex_event_switch(ev, NULL);

    simplex_event_free(ev);
    return phase;
}

/* I begins to move queue id to the server that it does not use, J answers, I thinks better of it. */
static void begin_to_move_and_give_up(struct ring *r, int64_t id)
{
    simplex_queue_info q;
    size_t to = 0;

    for (size_t k = 0; queue_at(&r->i, r->ic, SIMPLEX_SWITCH_RCV, k, &q); k++) {
        if (server_of(r, &q) == to) {
            to++;
            k = SIZE_MAX;
        }
    }
    agent_close(&r->j);
    assert_int_equal(simplex_agent_switch_queue(r->i.a, r->ic, id, sx_str(r->address[to])),
                     SIMPLEX_OK);
    assert_int_equal(switch_phase(&r->i, r->ic), SIMPLEX_SWITCH_STARTED);
    ring_away(r, to); /* J's keys cannot be set there */
    agent_reopen(&r->j);
    assert_int_equal(switch_phase(&r->i, r->ic), SIMPLEX_SWITCH_CONFIRMED);
    assert_int_equal(simplex_agent_abort_switch(r->i.a, r->ic), SIMPLEX_OK);
    assert_int_equal(switch_phase(&r->i, r->ic), SIMPLEX_SWITCH_ABORTED);
    ring_back(r, to);
}

/* The peer is not told that a move was given up. When it finds out that the queue is gone, it must
 * not keep a place for what would have come of it. */
static void moves_that_were_given_up_leave_room_with_the_peer(void **state)
{
    struct ring r;
    simplex_event *ev;
    int64_t id, gone;

    (void)state;
    ring_open(&r, 4, 2, 2, NULL);
    ring_connect(&r);
    all_in_use(&r, 2, 2);
    r.i.errors_ok = r.j.errors_ok = true;
    for (int round = 0; round < 6; round++) {
        assert_int_equal(simplex_agent_add_queue(r.i.a, r.ic, sx_str(""), &id), SIMPLEX_OK);
        do {
            ev = expect_change(&r.i, r.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_QUEUE_ADDED);
            gone = simplex_event_queue_id(ev);
            simplex_event_free(ev);
        } while (gone != id);
        begin_to_move_and_give_up(&r, id);
        assert_int_equal(simplex_agent_remove_queue(r.i.a, r.ic, id), SIMPLEX_OK);
        simplex_event_free(expect_change(&r.i, r.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_QUEUE_REMOVED));
        (void)send_text(&r.j, r.jc, "is it there?");
        receive_text(&r.i, r.ic, "is it there?");
        simplex_event_free(expect_change(&r.j, r.jc, SIMPLEX_SWITCH_SND, SIMPLEX_QUEUE_REMOVED));
    }
    ring_close(&r);
}

static void restarts_while_queues_are_added_and_removed(void **state)
{
    struct ring r;
    simplex_queue_info q;

    (void)state;
    ring_open(&r, 3, 1, 2, NULL);
    ring_connect(&r);
    all_in_use(&r, 1, 2);
    r.i.errors_ok = r.j.errors_ok = true;
    for (unsigned round = 0; round < 12; round++) {
        (void)add(&r, "");
        for (unsigned k = 0; k <= round; k++) {
            (void)usleep(1500 * (k % 5));
            agent_reopen(k % 2 ? &r.i : &r.j);
        }
        expect_in_use(&r.i, r.ic, SIMPLEX_SWITCH_RCV, 2);
        expect_in_use(&r.j, r.jc, SIMPLEX_SWITCH_SND, 2);
        (void)send_text(&r.j, r.jc, "both");
        receive_text(&r.i, r.ic, "both");
        assert_true(queue_at(&r.i, r.ic, SIMPLEX_SWITCH_RCV, round % 2, &q));
        assert_int_equal(simplex_agent_remove_queue(r.i.a, r.ic, q.id), SIMPLEX_OK);
        agent_reopen(&r.i);
        expect_in_use(&r.i, r.ic, SIMPLEX_SWITCH_RCV, 1);
        for (int k = 0; k < 500; k++) { /* J finds out when its server has deleted it */
            (void)send_text(&r.j, r.jc, "one");
            receive_text(&r.i, r.ic, "one");
            if (count_queues(&r.j, r.jc, SIMPLEX_SWITCH_SND) == 1)
                break;
            (void)usleep(10000);
        }
        expect_in_use(&r.j, r.jc, SIMPLEX_SWITCH_SND, 1);
    }
    ring_close(&r);
}

/* The one that has been in its place for longest moves, so all of them do. */
static void a_policy_moves_one_queue_after_the_other(void **state)
{
    static const simplex_rotation soon = {
        .size = sizeof soon, .every = 300, .spread = 1, .per_day = 864000000
    };
    struct ring r;
    simplex_queue_info first, second, q;

    (void)state;
    ring_open(&r, 4, 2, 1, NULL);
    ring_connect(&r);
    all_in_use(&r, 2, 1);
    assert_true(queue_at(&r.i, r.ic, SIMPLEX_SWITCH_RCV, 0, &first));
    assert_true(queue_at(&r.i, r.ic, SIMPLEX_SWITCH_RCV, 1, &second));
    int64_t newest = first.id > second.id ? first.id : second.id;
    assert_int_equal(simplex_agent_set_conn_rotation(r.i.a, r.ic, &soon), SIMPLEX_OK);
    for (int moved = 0; moved < 4;) {
        simplex_event *ev = wait_event(&r.i, SIMPLEX_EV_SWITCH, r.ic);
        moved += simplex_event_switch(ev, NULL) == SIMPLEX_SWITCH_COMPLETED;
        simplex_event_free(ev);
        talk_both_ways(&r, "meanwhile");
    }
    assert_int_equal(simplex_agent_set_conn_rotation(r.i.a, r.ic, NULL), SIMPLEX_OK);
    all_in_use(&r, 2, 1);
    for (size_t n = 0; queue_at(&r.i, r.ic, SIMPLEX_SWITCH_RCV, n, &q); n++)
        assert_true(q.id > newest);
    ring_close(&r);
}

static void one_of_several_queues_moves(void **state)
{
    struct ring r;
    simplex_queue_info q;
    simplex_event *ev;

    (void)state;
    ring_open(&r, 4, 2, 1, NULL);
    ring_connect(&r);
    all_in_use(&r, 2, 1);
    for (int round = 0; round < 4; round++) {
        assert_true(queue_at(&r.i, r.ic, SIMPLEX_SWITCH_RCV, (size_t)round % 2, &q));
        bool dead = round >= 2; /* the server it leaves is not even there */
        r.i.errors_ok = r.j.errors_ok = dead;
        if (dead)
            ring_away(&r, server_of(&r, &q));
        assert_int_equal(simplex_agent_switch_queue(r.i.a, r.ic, q.id, sx_str("")), SIMPLEX_OK);
        assert_int_equal(simplex_agent_switch_queue(r.i.a, r.ic, q.id, sx_str("")),
                         SIMPLEX_E_PROHIBITED);
        for (int k = 0; k < 5; k++) {
            (void)send_text(&r.j, r.jc, "while it moves");
            receive_text(&r.i, r.ic, "while it moves");
        }
        int32_t phase, last = dead ? SIMPLEX_SWITCH_SECURED : SIMPLEX_SWITCH_COMPLETED;
        do {
            ev = wait_event(&r.i, SIMPLEX_EV_SWITCH, r.ic);
            phase = simplex_event_switch(ev, NULL);
            simplex_event_free(ev);
        } while (phase != last);
        do {
            ev = wait_event(&r.j, SIMPLEX_EV_SWITCH, r.jc);
            phase = simplex_event_switch(ev, NULL);
            simplex_event_free(ev);
        } while (phase != SIMPLEX_SWITCH_COMPLETED);
        if (dead) {
            (void)send_text(&r.j, r.jc, "without the old server");
            receive_text(&r.i, r.ic, "without the old server");
            ring_back(&r, server_of(&r, &q));
        }
        expect_in_use(&r.i, r.ic, SIMPLEX_SWITCH_RCV, 2);
        expect_in_use(&r.j, r.jc, SIMPLEX_SWITCH_SND, 2);
        (void)send_text(&r.j, r.jc, "moved");
        receive_text(&r.i, r.ic, "moved");
        assert_true(queue_at(&r.i, r.ic, SIMPLEX_SWITCH_RCV, 0, &q));
        assert_true(q.primary);
    }
    ring_close(&r);
}

static void wait_synced(struct test_agent *t, int64_t conn)
{
    int32_t state;

    do {
        simplex_event *ev = wait_event(t, SIMPLEX_EV_RSYNC, conn);
        state = simplex_event_sync_state(ev);
        simplex_event_free(ev);
    } while (state != SIMPLEX_SYNC_OK);
}

/* J forgets what it was told: nobody would ever say more about the queue that is being added. */
static void a_queue_is_not_added_across_a_new_ratchet(void **state)
{
    simplex_bytes key = sx_str("of the backup");
    simplex_queue_info q;
    simplex_event *ev;
    struct ring r;
    char path[320];
    size_t first;
    int64_t added;

    (void)state;
    ring_open(&r, 4, 1, 2, NULL); /* so that I knows that J uses several */
    ring_connect(&r);
    talk_both_ways(&r, "with one");
    (void)snprintf(path, sizeof path, "%s/backup", r.dir);
    assert_int_equal(simplex_agent_backup(r.j.a, path, key, false), SIMPLEX_OK);
    assert_true(queue_at(&r.i, r.ic, SIMPLEX_SWITCH_RCV, 0, &q));
    first = server_of(&r, &q);
    ring_away(&r, first); /* J reads QADD, its answer does not arrive */
    added = add(&r, "");
    for (int k = 0; k < 1000 && count_queues(&r.j, r.jc, SIMPLEX_SWITCH_SND) < 2; k++)
        (void)usleep(10000);
    assert_int_equal(count_queues(&r.j, r.jc, SIMPLEX_SWITCH_SND), 2);
    agent_close(&r.j);
    assert_int_equal(simplex_agent_restore(path, key, false, r.j.db, sx_str(AGENT_KEY), true),
                     SIMPLEX_OK);
    agent_reopen(&r.j);
    ring_back(&r, first);
    assert_int_equal(simplex_agent_sync_ratchet(r.j.a, r.jc, false), SIMPLEX_OK);
    wait_synced(&r.j, r.jc);
    wait_synced(&r.i, r.ic);
    ev = expect_change(&r.i, r.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_QUEUE_REMOVED);
    assert_int_equal(simplex_event_queue_id(ev), added);
    assert_int_equal(simplex_event_error(ev), SIMPLEX_E_PROHIBITED);
    simplex_event_free(ev);
    (void)add(&r, "");
    simplex_event_free(expect_change(&r.i, r.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_QUEUE_ADDED));
    all_in_use(&r, 2, 2);
    ring_close(&r);
}

static void a_new_ratchet_is_made_through_all_queues(void **state)
{
    struct ring r;
    simplex_event *ev;

    (void)state;
    ring_open(&r, 3, 2, 2, NULL);
    ring_connect(&r);
    all_in_use(&r, 2, 2);
    talk_both_ways(&r, "with the first one");
    assert_int_equal(simplex_agent_sync_ratchet(r.i.a, r.ic, true), SIMPLEX_OK);
    for (int k = 0; k < 2; k++) {
        struct test_agent *t = k == 0 ? &r.i : &r.j;
        do {
            ev = wait_event(t, SIMPLEX_EV_RSYNC, 0);
            int32_t at = simplex_event_sync_state(ev);
            simplex_event_free(ev);
            if (at == SIMPLEX_SYNC_OK)
                break;
        } while (true);
    }
    for (int k = 0; k < 3; k++) {
        for (int way = 0; way < 2; way++) { /* the keys took a number: the first tells a gap */
            struct test_agent *from = way == 0 ? &r.i : &r.j, *to = way == 0 ? &r.j : &r.i;
            (void)send_text(from, way == 0 ? r.ic : r.jc, "with the second");
            ev = wait_event(to, SIMPLEX_EV_MSG, 0);
            vec_assert_eq(simplex_event_data(ev), sx_str("with the second"), "text");
            assert_int_equal(
                simplex_agent_ack(to->a, simplex_event_conn(ev), simplex_event_msg_id(ev)),
                SIMPLEX_OK);
            simplex_event_free(ev);
        }
    }
    assert_true(quiet(&r.i, SIMPLEX_EV_RSYNC, 300));
    assert_true(quiet(&r.j, SIMPLEX_EV_RSYNC, 0));
    assert_true(quiet(&r.i, SIMPLEX_EV_QMISS, 0));
    ring_close(&r);
}

/* ---- by chance ---- */

#define CHANCE_MESSAGES 60

struct side {
    struct test_agent *t;
    int64_t conn;
    int sent, received;
};

static void take_one(struct side *s)
{
    simplex_event *ev;
    char text[32];

    if (simplex_agent_next_event(s->t->a, 5, &ev) != SIMPLEX_OK)
        return;
    if (simplex_event_kind(ev) == SIMPLEX_EV_MERR)
        fail_msg("%s: %s", s->t->db, simplex_event_json(ev));
    if (simplex_event_kind(ev) == SIMPLEX_EV_MSG) {
        (void)snprintf(text, sizeof text, "number %d", s->received);
        vec_assert_eq(simplex_event_data(ev), sx_str(text), "in order");
        if (simplex_event_integrity(ev, NULL, NULL) != SIMPLEX_MSG_OK)
            fail_msg("%s: %s", s->t->db, simplex_event_json(ev));
        assert_int_equal(simplex_agent_ack(s->t->a, s->conn, simplex_event_msg_id(ev)), SIMPLEX_OK);
        s->received++;
    }
    simplex_event_free(ev);
}

/* One server is away at a time, for a while, and agents restart. */
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
    all_in_use(&r, 2, 2);
    struct side sides[2] = { { .t = &r.i, .conn = r.ic }, { .t = &r.j, .conn = r.jc } };
    for (int step = 0; sides[0].received < CHANCE_MESSAGES || sides[1].received < CHANCE_MESSAGES;
         step++) {
        x = x * 1664525u + 1013904223u;
        uint32_t roll = (x >> 16) % 100;
        struct side *s = &sides[roll % 2];
        char text[32];
        if (step > 20000)
            fail_msg("%d and %d arrived", sides[0].received, sides[1].received);
        if (roll < 40 && s->sent < CHANCE_MESSAGES) {
            (void)snprintf(text, sizeof text, "number %d", s->sent++);
            (void)send_text(s->t, s->conn, text);
        } else if (roll < 46) {
            if (dead < r.n)
                ring_back(&r, dead);
            dead = (x >> 8) % (r.n + 1);
            if (dead < r.n && roll < 44)
                ring_away(&r, dead);
            else if (dead < r.n)
                forwarder_drop(&r.fwd[dead]);
        } else if (roll == 46) {
            agent_reopen(s->t);
        } else {
            take_one(s);
        }
    }
    for (size_t k = 0; k < r.n; k++)
        ring_back(&r, k);
    for (int k = 0; k < 100; k++)
        take_one(&sides[k % 2]);
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
        cmocka_unit_test(the_number_can_be_given_with_each_connection),
        cmocka_unit_test(a_requester_and_an_owner_have_several),
        cmocka_unit_test(a_short_link_leads_to_several),
        cmocka_unit_test(any_one_server_may_be_away_while_others_talk),
        cmocka_unit_test(a_queue_that_is_behind_is_told_and_told_again_when_it_is_not),
        cmocka_unit_test(a_server_that_loses_messages_is_told_and_nothing_is_lost),
        cmocka_unit_test(the_first_server_of_a_link_may_be_away),
        cmocka_unit_test(the_only_queue_that_was_used_may_be_removed),
        cmocka_unit_test(a_server_that_is_away_is_left_out_of_the_link),
        cmocka_unit_test(any_server_may_fail_during_the_handshake),
        cmocka_unit_test(another_queue_is_the_first_when_that_is_refused),
        cmocka_unit_test(the_others_go_when_the_joiner_uses_the_first_alone),
        cmocka_unit_test(the_others_go_when_the_initiator_uses_the_first_alone),
        cmocka_unit_test(repeats_of_a_message_do_not_say_that_the_peer_uses_one_queue),
        cmocka_unit_test(a_prepared_link_has_one_queue_and_others_follow),
        cmocka_unit_test(queues_are_added_and_removed),
        cmocka_unit_test(a_queue_that_its_server_lost_is_removed_at_once),
        cmocka_unit_test(a_queue_that_its_server_lost_can_be_moved),
        cmocka_unit_test(moves_that_were_given_up_leave_room_with_the_peer),
        cmocka_unit_test(restarts_while_queues_are_added_and_removed),
        cmocka_unit_test(one_of_several_queues_moves),
        cmocka_unit_test(a_policy_moves_one_queue_after_the_other),
        cmocka_unit_test(a_new_ratchet_is_made_through_all_queues),
        cmocka_unit_test(a_queue_is_not_added_across_a_new_ratchet),
        cmocka_unit_test(everything_arrives_in_order_whatever_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
