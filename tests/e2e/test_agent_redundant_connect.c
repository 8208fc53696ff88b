/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How connections come to have several receiving queues: through links of all kinds, while servers
 * are away, and with peers that use one queue.
 */
#include <stdio.h>
#include <unistd.h>

#include "support/ring.h"
#include "wire/link.h"

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

/* ---- each kind of link ---- */

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
    ring_expect_in_use(r, 2, 2);
    ring_talk(r, "some text");
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
        ring_join(&r, simplex_event_data(link), pq);
        simplex_event_free(link);
        expect_in_use(&r.j, r.jc, SIMPLEX_SWITCH_SND, n);
        ring_talk(&r, "some text");
        expect_in_use(&r.j, r.jc, SIMPLEX_SWITCH_RCV, 2);
        if (n == 3)
            expect_in_use(&r.i, r.ic, SIMPLEX_SWITCH_RCV, 3);
    }
    ring_close(&r);
}

/* ---- while servers are away ---- */

/* The first server of I's link is away when J joins; its number. */
static size_t connect_without_first(struct ring *r)
{
    simplex_event *ev;
    struct sx_wr shorter;
    size_t first;

    assert_int_equal(simplex_agent_create(r->i.a, SIMPLEX_PQ_OFF, &r->ic), SIMPLEX_OK);
    ev = wait_event(&r->i, SIMPLEX_EV_INV, r->ic);
    assert_int_equal(link_queues(simplex_event_data(ev), &first, r, &shorter), 2);
    sx_wr_free(&shorter);
    ring_away(r, first);
    ring_join(r, simplex_event_data(ev), SIMPLEX_PQ_OFF);
    simplex_event_free(ev);
    return first;
}

static void the_first_server_of_a_link_may_be_away(void **state)
{
    struct ring r;
    size_t first;

    (void)state;
    ring_open(&r, 3, 2, 2, NULL);
    first = connect_without_first(&r);
    ring_talk(&r, "without the first");
    ring_back(&r, first);
    ring_expect_in_use(&r, 2, count_queues(&r.j, r.jc, SIMPLEX_SWITCH_RCV));
    ring_talk(&r, "with it");
    assert_true(quiet(&r.i, SIMPLEX_EV_MSG, 300));
    ring_close(&r);
}

/* Then the copy of the confirmation that comes through the other one brings its secret. */
static void the_only_queue_that_was_used_may_be_removed(void **state)
{
    struct ring r;
    simplex_queue_info q;
    size_t first;

    (void)state;
    ring_open(&r, 3, 2, 1, NULL);
    first = connect_without_first(&r);
    for (size_t k = 0; queue_at(&r.i, r.ic, SIMPLEX_SWITCH_RCV, k, &q); k++) {
        if (server_of(&r, &q) != first)
            break;
    }
    assert_int_equal(simplex_agent_remove_queue(r.i.a, r.ic, q.id), SIMPLEX_OK);
    simplex_event_free(expect_queue_change(&r.i, r.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_QUEUE_REMOVED));
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
        ring_expect_in_use(&r, 1, 1);
        ring_talk(&r, "with one");
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
        ring_talk(&r, "without it");
        ring_back(&r, dead);
        ring_talk(&r, "with it");
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
        simplex_event_free(
            expect_queue_change(&r.i, r.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_QUEUE_REMOVED));
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
    ring_join(&r, sx_wr_bytes(&shorter), SIMPLEX_PQ_OFF);
    sx_wr_free(&shorter);
    assert_int_equal(count_queues(&r.i, r.ic, SIMPLEX_SWITCH_RCV), 3);
    for (int k = 0; k < 4; k++) {
        ring_talk(&r, "through the first");
        (void)usleep(2000);
    }
    for (int k = 0; k < 2; k++) {
        ev = wait_event(&r.i, SIMPLEX_EV_QUEUE, r.ic);
        assert_int_equal(simplex_event_switch(ev, NULL), SIMPLEX_QUEUE_REMOVED);
        assert_int_equal(simplex_event_error(ev), SIMPLEX_E_UNSUPPORTED);
        assert_non_null(strstr(simplex_event_json(ev), "\"change\":\"removed\""));
        simplex_event_free(ev);
    }
    ring_expect_in_use(&r, 1, 1);
    ring_expect_queues(&r, 2);
    ring_talk(&r, "as ever");
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
    ev = expect_queue_change(&r.j, r.jc, SIMPLEX_SWITCH_RCV, SIMPLEX_QUEUE_REMOVED);
    assert_int_equal(simplex_event_error(ev), SIMPLEX_E_UNSUPPORTED);
    simplex_event_free(ev);
    ring_back(&r, spare); /* I finds out when it sends, and does without it */
    ring_expect_queues(&r, 2);
    talk(&r.i, r.ic, &r.j, r.jc, "through the first");
    simplex_event_free(expect_queue_change(&r.i, r.ic, SIMPLEX_SWITCH_SND, SIMPLEX_QUEUE_REMOVED));
    ring_expect_in_use(&r, 1, 1);
    ring_talk(&r, "as ever");
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
    ring_join(&r, simplex_event_data(ev), SIMPLEX_PQ_OFF);
    simplex_event_free(ev);
    assert_int_equal(simplex_agent_set_noise(r.j.a, &noise), SIMPLEX_OK);
    talk(&r.j, r.jc, &r.i, r.ic, "through the first");
    assert_true(queue_at(&r.i, r.ic, SIMPLEX_SWITCH_RCV, 0, &before));
    wait_repeats(&r.j, 10);
    assert_true(quiet(&r.i, SIMPLEX_EV_QUEUE, 500));
    assert_true(queue_at(&r.i, r.ic, SIMPLEX_SWITCH_RCV, 0, &q));
    assert_int_equal(q.received, before.received);
    ring_back(&r, spare);
    ring_talk(&r, "through both");
    ring_expect_in_use(&r, 2, 1);
    ring_close(&r);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_number_can_be_given_with_each_connection),
        cmocka_unit_test(a_requester_and_an_owner_have_several),
        cmocka_unit_test(a_short_link_leads_to_several),
        cmocka_unit_test(the_first_server_of_a_link_may_be_away),
        cmocka_unit_test(the_only_queue_that_was_used_may_be_removed),
        cmocka_unit_test(a_server_that_is_away_is_left_out_of_the_link),
        cmocka_unit_test(any_server_may_fail_during_the_handshake),
        cmocka_unit_test(another_queue_is_the_first_when_that_is_refused),
        cmocka_unit_test(the_others_go_when_the_joiner_uses_the_first_alone),
        cmocka_unit_test(the_others_go_when_the_initiator_uses_the_first_alone),
        cmocka_unit_test(repeats_of_a_message_do_not_say_that_the_peer_uses_one_queue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
