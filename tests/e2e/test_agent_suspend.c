/* SPDX-License-Identifier: Apache-2.0 */
/* Suspending an agent and going on: what is drained, what is kept back, and that nothing is lost.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "agent/network.h"
#include "support/full_disk.h"
#include "support/one_duo.h"

static void suspend(int64_t ms)
{
    assert_int_equal(simplex_agent_suspend(d.i.a, ms), SIMPLEX_OK);
}

static void resume(void)
{
    assert_int_equal(simplex_agent_resume(d.i.a), SIMPLEX_OK);
}

static void expect_suspended(void)
{
    simplex_event *ev = wait_event(&d.i, SIMPLEX_EV_SUSPENDED, 0);

    assert_string_equal(simplex_event_name(ev), "SUSPENDED");
    simplex_event_free(ev);
}

struct life {
    enum sx_life phase;
    bool in_transaction;
    int64_t pages;
};

static simplex_rc look(struct simplex_agent *a, void *arg)
{
    struct life *l = arg;

    l->phase = a->life.phase;
    l->in_transaction = sx_store_in_transaction(a->store);
    l->pages = sx_store_pages(a->store);
    return SIMPLEX_OK;
}

static struct life life(void)
{
    struct life l;

    assert_int_equal(sx_agent_run(d.i.a, look, &l, false), SIMPLEX_OK);
    return l;
}

/* ---- the usual course ---- */

static void an_idle_agent_is_suspended_at_once_and_goes_on(void **state)
{
    (void)state;
    for (int n = 0; n < 5; n++) {
        suspend(10 * WAIT_MS);
        expect_suspended(); /* not after that time */
        assert_int_equal(life().phase, SX_SUSPENDED);
        resume();
        expect(&d.i, SIMPLEX_EV_UP, 0);
        talk(&d.i, d.ic, &d.j, d.jc, "there");
        talk(&d.j, d.jc, &d.i, d.ic, "and back");
    }
}

static void what_is_to_be_sent_is_sent_first(void **state)
{
    simplex_event *ev;

    (void)state;
    duo_ways(&d, FORWARD_REFUSE);
    expect(&d.i, SIMPLEX_EV_DOWN, 0);
    expect(&d.j, SIMPLEX_EV_DOWN, 0);
    send_text(&d.i, d.ic, "one");
    send_text(&d.i, d.ic, "two");
    suspend(20000);
    assert_true(quiet(&d.i, SIMPLEX_EV_SUSPENDED, 300));
    duo_ways(&d, FORWARD);
    expect(&d.i, SIMPLEX_EV_SENT, d.ic);
    expect(&d.i, SIMPLEX_EV_SENT, d.ic);
    bool up = false; /* not subscribed on the way out */
    do {
        assert_int_equal(simplex_agent_next_event(d.i.a, WAIT_MS, &ev), SIMPLEX_OK);
        int32_t kind = simplex_event_kind(ev);
        up = up || kind == SIMPLEX_EV_UP;
        simplex_event_free(ev);
        if (kind == SIMPLEX_EV_SUSPENDED)
            break;
    } while (true);
    assert_false(up);
    receive_text(&d.j, d.jc, "one");
    receive_text(&d.j, d.jc, "two");
    resume();
    expect(&d.i, SIMPLEX_EV_UP, 0);
}

static void the_time_limit_ends_the_waiting(void **state)
{
    (void)state;
    duo_ways(&d, FORWARD_REFUSE);
    expect(&d.i, SIMPLEX_EV_DOWN, 0);
    expect(&d.j, SIMPLEX_EV_DOWN, 0);
    int64_t id = send_text(&d.i, d.ic, "cannot get out");
    int64_t since = sx_mono_ms();
    suspend(700);
    expect_suspended();
    assert_true(sx_mono_ms() - since >= 600);
    duo_ways(&d, FORWARD);
    assert_true(quiet(&d.i, SIMPLEX_EV_SENT, 600));
    resume();
    simplex_event *ev = wait_event(&d.i, SIMPLEX_EV_SENT, d.ic);
    assert_int_equal(simplex_event_msg_id(ev), id);
    simplex_event_free(ev);
    receive_text(&d.j, d.jc, "cannot get out");
}

static void nothing_happens_while_suspended(void **state)
{
    int64_t id, n_events = 0;
    simplex_event *ev;

    (void)state;
    suspend(5000);
    expect_suspended();
    (void)life();
    unsigned accepted = forwarder_accepted(&d.fi) + forwarder_accepted(&d.fj);
    for (int n = 0; n < 3; n++)
        send_text(&d.j, d.jc, "for later");
    for (int n = 0; n < 3; n++)
        expect(&d.j, SIMPLEX_EV_SENT, d.jc);
    simplex_server_drop_connections(d.srv.s);
    while (simplex_agent_next_event(d.i.a, 300, &ev) == SIMPLEX_OK) {
        simplex_event_free(ev);
        n_events++;
    }
    assert_int_equal(n_events, 0);
    /* what the application may ask and free, and what it may not do */
    simplex_connection_info info = { .size = sizeof info };
    assert_int_equal(simplex_agent_connection(d.i.a, d.ic, &info), SIMPLEX_OK);
    assert_int_equal(simplex_agent_send(d.i.a, d.ic, sx_str("x"), 0, &id), SIMPLEX_E_SUSPENDED);
    assert_int_equal(simplex_agent_ack(d.i.a, d.ic, 2), SIMPLEX_E_SUSPENDED);
    assert_int_equal(simplex_agent_create(d.i.a, SIMPLEX_PQ_OFF, &id), SIMPLEX_E_SUSPENDED);
    assert_int_equal(simplex_agent_delete(d.i.a, d.ic), SIMPLEX_E_SUSPENDED);
    assert_int_equal(simplex_agent_query_queues(d.i.a, d.ic), SIMPLEX_E_SUSPENDED);
    assert_int_equal(simplex_agent_reconnect(d.i.a), SIMPLEX_E_SUSPENDED);
    assert_int_equal(simplex_agent_reconnect_user(d.i.a, SIMPLEX_USER_DEFAULT, NULL),
                     SIMPLEX_E_SUSPENDED);
    assert_int_equal(simplex_agent_test_server(d.i.a, SIMPLEX_USER_DEFAULT, d.i_address, &id),
                     SIMPLEX_E_SUSPENDED);
    assert_int_equal(simplex_agent_rekey(d.i.a, sx_str("another"), false), SIMPLEX_E_SUSPENDED);
    assert_int_equal(simplex_agent_fetch(d.i.a, &d.ic, 1), SIMPLEX_E_SUSPENDED);
    assert_int_equal(simplex_agent_set_network(d.i.a, SIMPLEX_NET_CELLULAR, true), SIMPLEX_OK);
    struct life l = life();
    assert_int_equal(l.pages, 0); /* nothing was written */
    assert_false(l.in_transaction);
    assert_true(forwarder_accepted(&d.fi) + forwarder_accepted(&d.fj) <= accepted + 1); /* J's */
    resume();
    for (int n = 0; n < 3; n++)
        receive_text(&d.i, d.ic, "for later");
    talk(&d.i, d.ic, &d.j, d.jc, "awake");
}

static void events_freed_late_are_handled_after_going_on(void **state)
{
    simplex_event *ev;
    int64_t conn;

    (void)state;
    assert_int_equal(simplex_agent_create(d.i.a, SIMPLEX_PQ_OFF, &conn), SIMPLEX_OK);
    ev = wait_event(&d.i, SIMPLEX_EV_INV, conn);
    suspend(5000);
    expect_suspended();
    (void)life();
    simplex_event_free(ev); /* its row must not be removed now */
    usleep(100000);
    assert_int_equal(life().pages, 0);
    resume();
    expect(&d.i, SIMPLEX_EV_UP, 0);
    agent_reopen(&d.i);
    assert_true(quiet(&d.i, SIMPLEX_EV_INV, 200)); /* but was then */
}

static void at_once_means_without_an_event(void **state)
{
    (void)state;
    send_text(&d.i, d.ic, "perhaps on its way");
    suspend(0);
    assert_int_equal(life().phase, SX_SUSPENDED);
    assert_false(life().in_transaction);
    assert_true(quiet(&d.i, SIMPLEX_EV_SUSPENDED, 200));
    suspend(0);
    suspend(1000); /* who asks for the event gets it */
    expect_suspended();
    resume();
    resume();
    receive_text(&d.j, d.jc, "perhaps on its way");
    expect(&d.i, SIMPLEX_EV_SENT, d.ic);
    talk(&d.j, d.jc, &d.i, d.ic, "once");
}

static void it_can_be_called_off(void **state)
{
    (void)state;
    duo_ways(&d, FORWARD_REFUSE);
    expect(&d.i, SIMPLEX_EV_DOWN, 0);
    send_text(&d.i, d.ic, "one");
    suspend(20000);
    assert_true(quiet(&d.i, SIMPLEX_EV_SUSPENDED, 100));
    resume();
    duo_ways(&d, FORWARD);
    expect(&d.i, SIMPLEX_EV_UP, 0);
    receive_text(&d.j, d.jc, "one");
    talk(&d.j, d.jc, &d.i, d.ic, "two");
    assert_true(quiet(&d.i, SIMPLEX_EV_SUSPENDED, 200));
}

/* Messages that arrive while it drains are left there, and come when it is called off. */
static void what_was_left_on_the_server_comes_afterwards(void **state)
{
    int64_t i2, j2;

    (void)state;
    /* a connection whose queues are all behind fi: fj can fail without it */
    d.j.servers[0] = d.i_address;
    agent_reopen(&d.j);
    connect_agents(&d.i, &d.j, SIMPLEX_PQ_OFF, &i2, &j2);
    forwarder_set(&d.fj, FORWARD_REFUSE);
    expect(&d.j, SIMPLEX_EV_DOWN, 0);
    send_text(&d.i, d.ic, "slow");
    suspend(20000);
    send_text(&d.j, j2, "meanwhile");
    expect(&d.j, SIMPLEX_EV_SENT, j2);
    assert_true(quiet(&d.i, SIMPLEX_EV_MSG, 300));
    resume();
    receive_text(&d.i, i2, "meanwhile");
    forwarder_set(&d.fj, FORWARD);
    receive_text(&d.j, d.jc, "slow");
}

/* ---- in the middle of things ---- */

static void a_handshake_survives_it(void **state)
{
    simplex_event *ev;
    int64_t i, j;

    (void)state;
    assert_int_equal(simplex_agent_create(d.i.a, SIMPLEX_PQ_OFF, &i), SIMPLEX_OK);
    suspend(0); /* NEW may be out */
    resume();
    ev = wait_event(&d.i, SIMPLEX_EV_INV, i);
    suspend(3000);
    expect_suspended();
    assert_int_equal(
        simplex_agent_join(d.j.a, simplex_event_data(ev), sx_str("J"), SIMPLEX_PQ_OFF, &j),
        SIMPLEX_OK);
    simplex_event_free(ev);
    expect(&d.j, SIMPLEX_EV_JOINED, j);
    resume();
    agent_allow(&d.i, i, "I");
    suspend(0);
    usleep(50000);
    resume();
    expect(&d.i, SIMPLEX_EV_CON, i);
    expect(&d.j, SIMPLEX_EV_CON, j);
    talk(&d.i, i, &d.j, j, "connected");
}

static void many_times_under_traffic_nothing_is_lost(void **state)
{
    char text[32];
    int sent = 0, got = 0;

    (void)state;
    for (int round = 0; round < 25; round++) {
        for (int n = 0; n < 4; n++) {
            (void)snprintf(text, sizeof text, "to i %d", sent++);
            send_text(&d.j, d.jc, text);
        }
        for (int n = 0; n < 2; n++)
            send_text(&d.i, d.ic, "to j");
        usleep((useconds_t)(round * 700));
        suspend(round % 3 == 0 ? 0 : round % 3 == 1 ? 20 : 5000);
        if (round % 3 != 0)
            expect_suspended();
        assert_int_equal(life().phase, SX_SUSPENDED);
        if (round % 5 == 4)
            agent_reopen(&d.i); /* the system ended it: the next start is active */
        resume();
        for (int n = 0; n < round % 4; n++, got++) {
            (void)snprintf(text, sizeof text, "to i %d", got);
            receive_text(&d.i, d.ic, text);
        }
    }
    for (; got < sent; got++) {
        (void)snprintf(text, sizeof text, "to i %d", got);
        receive_text(&d.i, d.ic, text);
    }
    for (int n = 0; n < 50; n++)
        receive_text(&d.j, d.jc, "to j");
    assert_true(quiet(&d.i, SIMPLEX_EV_MSG, 200));
    assert_true(quiet(&d.j, SIMPLEX_EV_MSG, 100));
}

static void a_synchronisation_survives_it(void **state)
{
    (void)state;
    assert_int_equal(simplex_agent_sync_ratchet(d.i.a, d.ic, true), SIMPLEX_OK);
    suspend(2000);
    expect_suspended();
    simplex_event *ev;
    do { /* J has the keys and answers */
        ev = wait_event(&d.j, SIMPLEX_EV_RSYNC, d.jc);
        int32_t sync = simplex_event_sync_state(ev);
        simplex_event_free(ev);
        if (sync == SIMPLEX_SYNC_AGREED || sync == SIMPLEX_SYNC_OK)
            break;
    } while (true);
    resume();
    do {
        ev = wait_event(&d.i, SIMPLEX_EV_RSYNC, d.ic);
        int32_t sync = simplex_event_sync_state(ev);
        simplex_event_free(ev);
        if (sync == SIMPLEX_SYNC_OK || sync == SIMPLEX_SYNC_AGREED)
            break;
    } while (true);
    int64_t id;
    simplex_rc rc;
    for (int n = 0; (rc = simplex_agent_send(d.j.a, d.jc, sx_str("new keys"), 0, &id)) ==
                        SIMPLEX_E_PROHIBITED &&
                    n < 2000;
         n++)
        usleep(10000);
    assert_int_equal(rc, SIMPLEX_OK);
    receive_text(&d.i, d.ic, "new keys");
}

static void a_test_of_a_server_ends_with_it(void **state)
{
    int64_t test;
    simplex_event *ev;

    (void)state;
    forwarder_set(&d.fj, FORWARD_STALL);
    assert_int_equal(simplex_agent_test_server(d.i.a, SIMPLEX_USER_DEFAULT, d.j_address, &test),
                     SIMPLEX_OK);
    suspend(300);
    ev = wait_event(&d.i, SIMPLEX_EV_TEST, 0);
    assert_int_equal(simplex_event_error(ev), SIMPLEX_E_SUSPENDED);
    simplex_event_free(ev);
    expect_suspended();
    forwarder_set(&d.fj, FORWARD);
    resume();
    talk(&d.i, d.ic, &d.j, d.jc, "on");
}

static void offline_and_suspended_do_not_get_mixed_up(void **state)
{
    (void)state;
    assert_int_equal(simplex_agent_set_network(d.i.a, SIMPLEX_NET_NONE, false), SIMPLEX_OK);
    suspend(1000);
    expect_suspended();
    resume(); /* still offline */
    unsigned before = forwarder_accepted(&d.fi) + forwarder_accepted(&d.fj);
    assert_true(quiet(&d.i, SIMPLEX_EV_UP, 500));
    assert_int_equal(forwarder_accepted(&d.fi) + forwarder_accepted(&d.fj), before);
    suspend(0);
    assert_int_equal(simplex_agent_set_network(d.i.a, SIMPLEX_NET_WIFI, true), SIMPLEX_OK);
    assert_true(quiet(&d.i, SIMPLEX_EV_UP, 300)); /* still suspended */
    resume();
    expect(&d.i, SIMPLEX_EV_UP, 0);
    talk(&d.j, d.jc, &d.i, d.ic, "both are over");
}

static void closing_while_suspended_or_draining_is_fine(void **state)
{
    (void)state;
    suspend(0);
    agent_reopen(&d.i);
    talk(&d.j, d.jc, &d.i, d.ic, "one");
    forwarder_set(&d.fj, FORWARD_REFUSE);
    send_text(&d.i, d.ic, "two");
    suspend(60000);
    agent_reopen(&d.i);
    forwarder_set(&d.fj, FORWARD);
    receive_text(&d.j, d.jc, "two");
}

static void wrong_calls_are_refused(void **state)
{
    (void)state;
    assert_int_equal(simplex_agent_suspend(NULL, 1), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_suspend(d.i.a, -1), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_resume(NULL), SIMPLEX_E_ARG);
    resume(); /* it is not suspended: nothing */
    talk(&d.i, d.ic, &d.j, d.jc, "as before");
}

/* ---- inside the callback ---- */

static struct called {
    simplex_agent *a;
    _Atomic int suspended, messages;
    _Atomic int rc;
} called;

static void on_event(void *user, const simplex_event *ev)
{
    (void)user;
    if (simplex_event_kind(ev) == SIMPLEX_EV_MSG) {
        called.rc = simplex_agent_ack(called.a, simplex_event_conn(ev), simplex_event_msg_id(ev));
        if (called.rc == SIMPLEX_OK)
            called.rc = simplex_agent_suspend(called.a, called.messages == 0 ? 0 : 3000);
        called.messages++;
    } else if (simplex_event_kind(ev) == SIMPLEX_EV_SUSPENDED) {
        int64_t id;
        if (simplex_agent_send(called.a, d.ic, sx_str("x"), 0, &id) == SIMPLEX_E_SUSPENDED)
            called.suspended++;
    }
}

static void await(_Atomic int *value, int wanted)
{
    for (int n = 0; *value < wanted && n < 2000; n++)
        usleep(10000);
    assert_int_equal(*value, wanted);
}

static void it_works_inside_the_callback(void **state)
{
    (void)state;
    memset(&called, 0, sizeof called);
    d.i.cfg.on_event = on_event;
    agent_reopen(&d.i);
    called.a = d.i.a;
    send_text(&d.j, d.jc, "sleep");
    await(&called.messages, 1);
    for (int n = 0; life().phase != SX_SUSPENDED && n < 2000; n++)
        usleep(10000);
    assert_int_equal(life().phase, SX_SUSPENDED);
    assert_int_equal(called.suspended, 0);
    resume();
    send_text(&d.j, d.jc, "sleep again");
    await(&called.messages, 2);
    await(&called.suspended, 1);
    resume();
    assert_int_equal(called.rc, SIMPLEX_OK);
    usleep(200000);
    assert_int_equal(called.messages, 2); /* none was shown twice */
    d.i.cfg.on_event = NULL;
    agent_reopen(&d.i);
    send_text(&d.j, d.jc, "awake");
    receive_text(&d.i, d.ic, "awake");
}

/* ---- the disk ---- */

static void a_full_disk_does_not_keep_it_awake(void **state)
{
    struct full_disk f = { .recover_after = 1, .fired = true };
    int64_t id;

    (void)state;
    d.i.errors_ok = true;
    for (f.nth = 0; f.fired && f.nth < 60; f.nth++) {
        full_disk_begin(&d.i, &f);
        simplex_rc rc = simplex_agent_send(d.i.a, d.ic, sx_str("text"), 0, &id);
        (void)!simplex_agent_suspend(d.i.a, 3000); /* what fails is the commit of the same turn */
        expect_suspended();
        full_disk_end(&d.i, &f);
        assert_int_equal(life().phase, SX_SUSPENDED);
        resume();
        while (rc != SIMPLEX_OK)
            rc = simplex_agent_send(d.i.a, d.ic, sx_str("text"), 0, &id);
        receive_text(&d.j, d.jc, "text");
    }
    assert_true(f.nth > 5);
    assert_true(quiet(&d.j, SIMPLEX_EV_MSG, 100));
}

int main(int argc, char **argv)
{
#define DUO(test) cmocka_unit_test_setup_teardown(test, connected_duo, close_duo)
    const struct CMUnitTest tests[] = {
        DUO(an_idle_agent_is_suspended_at_once_and_goes_on),
        DUO(what_is_to_be_sent_is_sent_first),
        DUO(the_time_limit_ends_the_waiting),
        DUO(nothing_happens_while_suspended),
        DUO(events_freed_late_are_handled_after_going_on),
        DUO(at_once_means_without_an_event),
        DUO(it_can_be_called_off),
        DUO(what_was_left_on_the_server_comes_afterwards),
        DUO(a_handshake_survives_it),
        DUO(many_times_under_traffic_nothing_is_lost),
        DUO(a_synchronisation_survives_it),
        DUO(a_test_of_a_server_ends_with_it),
        DUO(offline_and_suspended_do_not_get_mixed_up),
        DUO(closing_while_suspended_or_draining_is_fine),
        DUO(wrong_calls_are_refused),
        DUO(it_works_inside_the_callback),
        DUO(a_full_disk_does_not_keep_it_awake),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
