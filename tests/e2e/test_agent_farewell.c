/* SPDX-License-Identifier: Apache-2.0 */
/* Deleting a connection when what was sent is delivered (the reference's testWaitDelivery...). */
#include <stdio.h>
#include <unistd.h>

#include "agent/agent.h"
#include "support/full_disk.h"
#include "support/one_duo.h"
#include "support/ring.h"

static int open_duo(void **state)
{
    (void)connected_duo(state);
    duo_talk(&d, "hello");
    return 0;
}

/* Two messages that cannot leave, and the connection is to go. */
static void say_farewell(void)
{
    forwarder_set(&d.fj, FORWARD_REFUSE);
    expect(&d.i, SIMPLEX_EV_DISCONNECT, 0);
    send_text(&d.i, d.ic, "one more thing");
    send_text(&d.i, d.ic, "farewell");
    must(simplex_agent_delete_after_sending(d.i.a, d.ic));
    expect(&d.i, SIMPLEX_EV_DEL_RCVQ, d.ic); /* nothing is received any more */
}

static void expect_nothing_left(void)
{
    simplex_connection_info info = { .size = sizeof info };
    simplex_server_counters c = { .size = sizeof c };

    assert_int_equal(simplex_agent_connection(d.i.a, d.ic, &info), SIMPLEX_E_NOT_FOUND);
    expect_gone(&d.j, d.jc);
    must(simplex_server_count(d.srv.s, &c));
    assert_int_equal(c.queues, 1); /* J's */
}

static void nothing_pending_is_nothing_to_wait_for(void **state)
{
    (void)state;
    must(simplex_agent_delete_after_sending(d.i.a, d.ic));
    expect(&d.i, SIMPLEX_EV_DEL_RCVQ, d.ic);
    expect(&d.i, SIMPLEX_EV_DEL_CONN, d.ic);
    assert_int_equal(simplex_agent_delete_after_sending(d.i.a, d.ic), SIMPLEX_E_NOT_FOUND);
    expect_nothing_left();
}

static void the_last_messages_are_delivered_first(void **state)
{
    simplex_connection_info info = { .size = sizeof info };
    int64_t id;

    (void)state;
    say_farewell();
    assert_true(quiet(&d.i, SIMPLEX_EV_DEL_CONN, 50));
    assert_int_equal(simplex_agent_connection(d.i.a, d.ic, &info), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_send(d.i.a, d.ic, sx_str("x"), 0, &id), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_switch(d.i.a, d.ic, sx_str("")), SIMPLEX_E_NOT_FOUND);
    must(simplex_agent_delete_after_sending(d.i.a, d.ic)); /* a repeat */
    agent_reopen(&d.i);
    assert_true(quiet(&d.i, SIMPLEX_EV_DEL_CONN, 50));
    forwarder_set(&d.fj, FORWARD);
    expect(&d.i, SIMPLEX_EV_SENT, d.ic);
    expect(&d.i, SIMPLEX_EV_SENT, d.ic);
    expect(&d.i, SIMPLEX_EV_DEL_CONN, d.ic);
    receive_text(&d.j, d.jc, "one more thing");
    receive_text(&d.j, d.jc, "farewell");
    expect_nothing_left();
}

static void a_peer_that_is_gone_is_not_waited_for(void **state)
{
    (void)state;
    say_farewell();
    agent_close(&d.i);
    forwarder_set(&d.fj, FORWARD);
    must(simplex_agent_delete(d.j.a, d.jc));
    expect(&d.j, SIMPLEX_EV_DEL_CONN, d.jc);
    agent_reopen(&d.i);
    for (int n = 0; n < 2; n++) {
        simplex_event *ev = wait_event(&d.i, SIMPLEX_EV_MERR, d.ic);
        assert_string_equal(simplex_event_detail(ev), "AUTH");
        simplex_event_free(ev);
    }
    expect(&d.i, SIMPLEX_EV_DEL_CONN, d.ic);
}

static void the_time_for_it_is_limited(void **state)
{
    (void)state;
    d.i.cfg.delete_timeout = 300;
    agent_reopen(&d.i);
    talk(&d.i, d.ic, &d.j, d.jc, "still here");
    say_farewell();
    expect(&d.i, SIMPLEX_EV_DEL_CONN, d.ic);
    forwarder_set(&d.fj, FORWARD);
    assert_true(quiet(&d.j, SIMPLEX_EV_MSG, 100));
    expect_nothing_left();
}

static simplex_rc is_out(struct simplex_agent *a, void *arg)
{
    (void)arg;
    for (size_t b = 0; b < SX_TABLE; b++) {
        for (const struct sx_rt_sndq *w = a->sndqs[b]; w != NULL; w = w->next) {
            if (w->in_flight)
                return SIMPLEX_OK;
        }
    }
    return SIMPLEX_E_NOT_FOUND;
}

static void wait_until_out(struct test_agent *t)
{
    int64_t until = sx_mono_ms() + WAIT_MS;

    while (sx_agent_run(t->a, is_out, NULL, false) != SIMPLEX_OK) {
        assert_true(sx_mono_ms() < until);
        (void)usleep(1000);
    }
}

static void what_is_on_its_way_when_time_is_over_may_arrive(void **state)
{
    (void)state;
    d.i.cfg.delete_timeout = 300;
    agent_reopen(&d.i);
    talk(&d.i, d.ic, &d.j, d.jc, "still here");
    forwarder_set(&d.fj, FORWARD_STALL);
    send_text(&d.i, d.ic, "farewell");
    wait_until_out(&d.i);
    must(simplex_agent_delete_after_sending(d.i.a, d.ic));
    expect(&d.i, SIMPLEX_EV_DEL_CONN, d.ic);
    forwarder_set(&d.fj, FORWARD);
    receive_text(&d.j, d.jc, "farewell");
    assert_true(quiet(&d.i, SIMPLEX_EV_SENT, 50)); /* nobody is there to be told */
    expect_nothing_left();
}

static void the_wait_can_be_ended(void **state)
{
    (void)state;
    say_farewell();
    must(simplex_agent_delete(d.i.a, d.ic));
    expect(&d.i, SIMPLEX_EV_DEL_CONN, d.ic);
    forwarder_set(&d.fj, FORWARD);
    assert_true(quiet(&d.j, SIMPLEX_EV_MSG, 100));
    expect_nothing_left();
}

static void a_user_is_not_kept_by_it(void **state)
{
    int64_t user, ic, jc;

    (void)state;
    must(simplex_agent_create_user(d.i.a, NULL, 0, &user));
    connect_agents_as(&d.i, user, &d.j, &ic, &jc);
    forwarder_set(&d.fj, FORWARD_REFUSE);
    expect(&d.i, SIMPLEX_EV_DISCONNECT, 0);
    send_text(&d.i, ic, "never said");
    must(simplex_agent_delete_after_sending(d.i.a, ic));
    expect(&d.i, SIMPLEX_EV_DEL_RCVQ, ic);
    must(simplex_agent_delete_user(d.i.a, user, true));
    expect(&d.i, SIMPLEX_EV_DEL_CONN, ic);
    expect(&d.i, SIMPLEX_EV_DEL_USER, 0);
    forwarder_set(&d.fj, FORWARD);
    talk(&d.i, d.ic, &d.j, d.jc, "the other user stays");
}

static void an_address_or_a_beginning_goes_at_once(void **state)
{
    int64_t conn;

    (void)state;
    must(simplex_agent_create_address(d.i.a, &conn));
    expect(&d.i, SIMPLEX_EV_INV, conn);
    must(simplex_agent_delete_after_sending(d.i.a, conn));
    expect(&d.i, SIMPLEX_EV_DEL_CONN, conn);
    must(simplex_agent_create(d.i.a, SIMPLEX_PQ_OFF, &conn));
    expect(&d.i, SIMPLEX_EV_INV, conn);
    must(simplex_agent_delete_after_sending(d.i.a, conn));
    expect(&d.i, SIMPLEX_EV_DEL_CONN, conn);
    assert_int_equal(simplex_agent_delete_after_sending(d.i.a, 9999), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_delete_after_sending(NULL, 1), SIMPLEX_E_ARG);
}

/* The disk refuses one statement on the way, each time a later one. */
static void a_farewell_survives_failures_of_the_disk(void **state)
{
    struct full_disk f = { .recover_after = 1, .fired = true };

    (void)state;
    d.i.errors_ok = true;
    for (f.nth = 0; f.fired; f.nth += 3) {
        simplex_rc rc;
        duo_connect(&d);
        forwarder_set(&d.fj, FORWARD_REFUSE);
        expect(&d.i, SIMPLEX_EV_DISCONNECT, 0);
        send_text(&d.i, d.ic, "one more thing");
        send_text(&d.i, d.ic, "farewell");
        full_disk_begin(&d.i, &f);
        do {
            rc = simplex_agent_delete_after_sending(d.i.a, d.ic);
            assert_true(rc == SIMPLEX_OK || rc == SIMPLEX_E_DB_FULL);
        } while (rc != SIMPLEX_OK);
        forwarder_set(&d.fj, FORWARD);
        receive_text(&d.j, d.jc, "one more thing");
        receive_text(&d.j, d.jc, "farewell");
        expect(&d.i, SIMPLEX_EV_DEL_CONN, d.ic);
        full_disk_end(&d.i, &f);
        must(simplex_agent_delete(d.j.a, d.jc));
        expect(&d.j, SIMPLEX_EV_DEL_CONN, d.jc);
        forget_held(&d.i); /* SENT and their like, which nobody asks for here */
    }
    assert_true(f.nth > 20);
}

/* The other one may be away for ever. */
static void one_of_several_servers_is_enough(void **state)
{
    struct ring r;
    simplex_queue_info own, peer;
    size_t away = 0;

    (void)state;
    ring_open(&r, 3, 1, 2, NULL);
    ring_connect(&r);
    expect_in_use(&r.i, r.ic, SIMPLEX_SWITCH_SND, 2);
    assert_true(queue_at(&r.i, r.ic, SIMPLEX_SWITCH_RCV, 0, &own));
    for (size_t n = 0; queue_at(&r.i, r.ic, SIMPLEX_SWITCH_SND, n, &peer); n++) {
        if (server_of(&r, &peer) != server_of(&r, &own))
            away = server_of(&r, &peer);
    }
    ring_away(&r, away);
    expect(&r.i, SIMPLEX_EV_DISCONNECT, 0);
    send_text(&r.i, r.ic, "farewell");
    must(simplex_agent_delete_after_sending(r.i.a, r.ic));
    receive_text(&r.j, r.jc, "farewell");
    expect(&r.i, SIMPLEX_EV_DEL_CONN, r.ic);
    ring_close(&r);
}

/* Whatever step of a move is on its way: nobody answers the next one. */
static void the_peer_may_be_moving_its_queue(void **state)
{
    (void)state;
    d.j.errors_ok = true; /* its move comes to nothing */
    for (unsigned n = 0; n < 12; n++) {
        if (n > 0)
            duo_connect(&d);
        must(simplex_agent_switch(d.j.a, d.jc, sx_str("")));
        usleep(n * 2000);
        send_text(&d.i, d.ic, "farewell");
        must(simplex_agent_delete_after_sending(d.i.a, d.ic));
        expect(&d.i, SIMPLEX_EV_SENT, d.ic);
        expect(&d.i, SIMPLEX_EV_DEL_CONN, d.ic);
        receive_text(&d.j, d.jc, "farewell");
        must(simplex_agent_delete(d.j.a, d.jc));
        expect(&d.j, SIMPLEX_EV_DEL_CONN, d.jc);
    }
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, open_duo, close_duo)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(nothing_pending_is_nothing_to_wait_for),
        CASE(the_last_messages_are_delivered_first),
        CASE(a_peer_that_is_gone_is_not_waited_for),
        CASE(the_time_for_it_is_limited),
        CASE(what_is_on_its_way_when_time_is_over_may_arrive),
        CASE(the_wait_can_be_ended),
        CASE(a_user_is_not_kept_by_it),
        CASE(a_farewell_survives_failures_of_the_disk),
        CASE(the_peer_may_be_moving_its_queue),
        cmocka_unit_test(one_of_several_servers_is_enough),
        CASE(an_address_or_a_beginning_goes_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
