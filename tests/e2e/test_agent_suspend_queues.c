/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Suspending the receiving queues of a connection (OFF; the reference's suspendConnection): nothing
 * more comes, what was there still does, and the other direction works on.
 */
#include <stdio.h>
#include <unistd.h>

#include "support/full_disk.h"
#include "support/one_duo.h"
#include "support/ring.h"

static struct test_server second; /* where queues move to */

static int open_duo(void **state)
{
    (void)connected_duo(state);
    server_start(&second, NULL);
    duo_talk(&d, "hello");
    return 0;
}

static int close_both(void **state)
{
    (void)close_duo(state);
    server_stop(&second);
    return 0;
}

static int64_t expect_change(struct test_agent *t, int64_t conn, int32_t change)
{
    simplex_event *ev = wait_event(t, SIMPLEX_EV_QUEUE, conn);
    int32_t direction, what = simplex_event_switch(ev, &direction);
    int64_t queue = simplex_event_queue_id(ev);

    if (direction != SIMPLEX_SWITCH_RCV || what != change ||
        simplex_event_error(ev) != SIMPLEX_OK || simplex_event_server(ev) == NULL)
        fail_msg("%s", simplex_event_json(ev));
    simplex_event_free(ev);
    return queue;
}

static void expect_suspended(struct test_agent *t, int64_t conn)
{
    assert_true(expect_change(t, conn, SIMPLEX_QUEUE_SUSPENDED) > 0);
}

static bool queue_suspended(struct test_agent *t, int64_t conn, size_t nth)
{
    simplex_queue_info q;

    assert_true(queue_at(t, conn, SIMPLEX_SWITCH_RCV, nth, &q));
    return q.suspended;
}

/* ---- what it is ---- */

static void nothing_more_comes_and_what_was_there_does(void **state)
{
    (void)state;
    for (int n = 0; n < 3; n++)
        (void)send_text(&d.j, d.jc, n == 0 ? "one" : n == 1 ? "two" : "three");
    for (int n = 0; n < 3; n++)
        expect(&d.j, SIMPLEX_EV_SENT, d.jc);
    assert_false(connection_info(&d.i, d.ic).suspended);
    must(simplex_agent_suspend_queues(d.i.a, d.ic));
    assert_true(connection_info(&d.i, d.ic).suspended);
    simplex_event *ev = wait_event(&d.i, SIMPLEX_EV_QUEUE, d.ic);
    assert_non_null(strstr(simplex_event_json(ev), "\"change\":\"suspended\""));
    simplex_event_free(ev);
    assert_true(queue_suspended(&d.i, d.ic, 0));
    expect_gone(&d.j, d.jc);
    receive_text(&d.i, d.ic, "one");
    agent_reopen(&d.i);
    receive_text(&d.i, d.ic, "two");
    receive_text(&d.i, d.ic, "three");
    talk(&d.i, d.ic, &d.j, d.jc, "I can still speak");
    expect_gone(&d.j, d.jc);
    assert_int_equal(connection_info(&d.j, d.jc).state, SIMPLEX_CONN_READY); /* nobody ended it */
}

static void it_is_done_once_and_for_all(void **state)
{
    simplex_notifier ntf = { .size = sizeof ntf };
    int64_t queue;

    (void)state;
    must(simplex_agent_suspend_queues(d.i.a, d.ic));
    must(simplex_agent_suspend_queues(d.i.a, d.ic));
    expect_suspended(&d.i, d.ic);
    must(simplex_agent_suspend_queues(d.i.a, d.ic));
    assert_true(quiet(&d.i, SIMPLEX_EV_QUEUE, 200));
    assert_int_equal(simplex_agent_switch(d.i.a, d.ic, sx_str("")), SIMPLEX_E_PROHIBITED);
    assert_int_equal(simplex_agent_add_queue(d.i.a, d.ic, sx_str(""), &queue),
                     SIMPLEX_E_PROHIBITED);
    assert_int_equal(simplex_agent_sync_ratchet(d.i.a, d.ic, true), SIMPLEX_E_PROHIBITED);
    assert_int_equal(simplex_agent_notify(d.i.a, d.ic, true), SIMPLEX_E_PROHIBITED);
    assert_int_equal(simplex_agent_notifier(d.i.a, d.ic, 0, &ntf), SIMPLEX_E_NOT_FOUND);
    must(simplex_agent_delete(d.i.a, d.ic));
    expect(&d.i, SIMPLEX_EV_DEL_RCVQ, d.ic);
    expect(&d.i, SIMPLEX_EV_DEL_CONN, d.ic);
    assert_int_equal(server_queues(&d.srv), 1); /* J's */
}

static void it_waits_for_a_server_that_is_away(void **state)
{
    (void)state;
    forwarder_set(&d.fi, FORWARD_REFUSE);
    expect(&d.i, SIMPLEX_EV_DISCONNECT, 0);
    must(simplex_agent_suspend_queues(d.i.a, d.ic));
    talk(&d.i, d.ic, &d.j, d.jc, "nothing waits for it");
    assert_true(quiet(&d.i, SIMPLEX_EV_QUEUE, 100));
    assert_false(queue_suspended(&d.i, d.ic, 0));
    agent_reopen(&d.i);
    assert_true(connection_info(&d.i, d.ic).suspended);
    assert_true(quiet(&d.i, SIMPLEX_EV_QUEUE, 100));
    forwarder_set(&d.fi, FORWARD);
    must(simplex_agent_reconnect(d.i.a));
    expect_suspended(&d.i, d.ic);
    expect_gone(&d.j, d.jc);
}

/* The server does it when it hears of it at last, and then once more. */
static void lost_answers_make_no_difference(void **state)
{
    (void)state;
    d.i.cfg.command_timeout = 500;
    agent_reopen(&d.i);
    expect(&d.i, SIMPLEX_EV_UP, 0);
    forwarder_set(&d.fi, FORWARD_STALL);
    must(simplex_agent_suspend_queues(d.i.a, d.ic));
    usleep(700000);
    agent_reopen(&d.i);
    usleep(700000);
    forwarder_set(&d.fi, FORWARD);
    must(simplex_agent_reconnect(d.i.a));
    expect_suspended(&d.i, d.ic);
    assert_true(quiet(&d.i, SIMPLEX_EV_QUEUE, 200));
    expect_gone(&d.j, d.jc);
}

/* The same server, as its clients know it, without anything it had. */
static void a_queue_that_its_server_has_lost_takes_nothing_either(void **state)
{
    simplex_server_config cfg;
    struct test_server reborn;
    char dir[256];

    (void)state;
    tmp_make(dir);
    simplex_server_config_init(&cfg);
    cfg.dir = dir;
    duo_open(&d, &cfg);
    duo_connect(&d);
    server_start(&reborn, &cfg);
    d.i.errors_ok = true; /* its subscription fails */
    forwarder_set(&d.fi, FORWARD_REFUSE);
    must(simplex_agent_suspend_queues(d.i.a, d.ic));
    forwarder_aim(&d.fi, simplex_server_port(reborn.s));
    forwarder_set(&d.fi, FORWARD);
    must(simplex_agent_reconnect(d.i.a));
    expect_suspended(&d.i, d.ic);
    duo_close(&d);
    server_stop(&reborn);
    tmp_remove(dir);
}

static void deleting_does_not_wait_for_it(void **state)
{
    (void)state;
    forwarder_set(&d.fi, FORWARD_REFUSE);
    must(simplex_agent_suspend_queues(d.i.a, d.ic));
    must(simplex_agent_delete(d.i.a, d.ic));
    forwarder_set(&d.fi, FORWARD);
    must(simplex_agent_reconnect(d.i.a));
    expect(&d.i, SIMPLEX_EV_DEL_CONN, d.ic);
    assert_true(quiet(&d.i, SIMPLEX_EV_QUEUE, 0));
}

/* The disk refuses one statement on the way, each time a later one. */
static void suspending_survives_failures_of_the_disk(void **state)
{
    struct full_disk f = { .recover_after = 1, .fired = true };
    unsigned n = 0;

    (void)state;
    d.i.errors_ok = true; /* the failures are told */
    for (; f.fired; n++) {
        simplex_rc rc;
        if (n > 0)
            duo_connect(&d);
        f.nth = n;
        full_disk_begin(&d.i, &f);
        do {
            rc = simplex_agent_suspend_queues(d.i.a, d.ic);
            assert_true(rc == SIMPLEX_OK || rc == SIMPLEX_E_DB_FULL);
        } while (rc != SIMPLEX_OK);
        expect_suspended(&d.i, d.ic);
        full_disk_end(&d.i, &f);
        assert_true(queue_suspended(&d.i, d.ic, 0));
        expect_gone(&d.j, d.jc);
        forget_held(&d.i); /* SENT and their like, which nobody asks for here */
    }
    print_message("%u statements\n", n);
    assert_true(n > 8);
}

/* ---- several queues, and queues that move ---- */

static void all_queues_are_suspended_and_none_is_added(void **state)
{
    struct ring r;
    int64_t added;

    (void)state;
    ring_open(&r, 3, 2, 1, NULL);
    ring_connect(&r);
    expect_in_use(&r.i, r.ic, SIMPLEX_SWITCH_RCV, 2);
    expect_in_use(&r.j, r.jc, SIMPLEX_SWITCH_SND, 2);
    talk(&r.j, r.jc, &r.i, r.ic, "hello");
    agent_close(&r.j); /* nobody uses the queue that is added */
    forget_events(&r.i, SIMPLEX_EV_QUEUE);
    must(simplex_agent_add_queue(r.i.a, r.ic, sx_str(""), &added));
    assert_true(quiet(&r.i, SIMPLEX_EV_QUEUE, 100)); /* it is made, and J has not heard of it */
    must(simplex_agent_suspend_queues(r.i.a, r.ic));
    assert_int_equal(expect_change(&r.i, r.ic, SIMPLEX_QUEUE_REMOVED), added);
    int64_t first = expect_change(&r.i, r.ic, SIMPLEX_QUEUE_SUSPENDED);
    int64_t other = expect_change(&r.i, r.ic, SIMPLEX_QUEUE_SUSPENDED);
    assert_int_not_equal(first, other);
    assert_true(queue_suspended(&r.i, r.ic, 0) && queue_suspended(&r.i, r.ic, 1));
    assert_int_equal(count_queues(&r.i, r.ic, SIMPLEX_SWITCH_RCV), 2);
    r.j.errors_ok = true; /* its answer about the added queue is refused as well */
    agent_reopen(&r.j);
    expect_gone(&r.j, r.jc);
    talk(&r.i, r.ic, &r.j, r.jc, "one way");
    ring_close(&r);
}

static void a_rotation_is_given_up(void **state)
{
    (void)state;
    agent_close(&d.j);
    must(simplex_agent_switch(d.i.a, d.ic, sx_str(second.address)));
    expect_switch(&d.i, d.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_SWITCH_STARTED);
    must(simplex_agent_suspend_queues(d.i.a, d.ic));
    expect_switch(&d.i, d.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_SWITCH_ABORTED);
    expect_suspended(&d.i, d.ic);
    expect_server_queues(&second, 0);
    agent_reopen(&d.j);
    expect_gone(&d.j, d.jc);
}

/* J has set its key in the new queue and is not reached by the word to use it. */
static void a_rotation_that_cannot_be_given_up_ends(void **state)
{
    (void)state;
    agent_close(&d.i);
    (void)send_text(&d.j, d.jc, "in the old queue");
    expect(&d.j, SIMPLEX_EV_SENT, d.jc);
    agent_reopen(&d.i);
    must(simplex_agent_switch(d.i.a, d.ic, sx_str(second.address)));
    expect_switch(&d.i, d.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_SWITCH_STARTED);
    expect_switch(&d.j, d.jc, SIMPLEX_SWITCH_SND, SIMPLEX_SWITCH_STARTED);
    forwarder_set(&d.fj, FORWARD_STALL);
    receive_text(&d.i, d.ic, "in the old queue"); /* J's key waits behind it */
    expect_switch(&d.i, d.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_SWITCH_CONFIRMED);
    expect_switch(&d.i, d.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_SWITCH_SECURED);
    (void)send_text(&d.j, d.jc, "still in the old queue");
    expect(&d.j, SIMPLEX_EV_SENT, d.jc);
    must(simplex_agent_suspend_queues(d.i.a, d.ic));
    receive_text(&d.i, d.ic, "still in the old queue");
    expect_suspended(&d.i, d.ic);
    expect_suspended(&d.i, d.ic);
    expect_switch(&d.i, d.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_SWITCH_COMPLETED);
    assert_int_equal(count_queues(&d.i, d.ic, SIMPLEX_SWITCH_RCV), 1);
    assert_true(queue_suspended(&d.i, d.ic, 0));
    expect_server_queues(&d.srv, 1); /* J's */
    d.j.errors_ok = true;            /* what it says about the rotation is refused as well */
    forwarder_set(&d.fj, FORWARD);
    talk(&d.i, d.ic, &d.j, d.jc, "one way");
    expect_gone(&d.j, d.jc);
}

static void policies_leave_it_alone(void **state)
{
    simplex_rotation policy = {
        .size = sizeof policy, .every = 300, .spread = 1, .per_day = 1000000
    };
    simplex_rotation_status status = { .size = sizeof status };

    (void)state;
    must(simplex_agent_suspend_queues(d.i.a, d.ic));
    must(simplex_agent_set_rotation(d.i.a, SIMPLEX_USER_DEFAULT, &policy));
    must(simplex_agent_set_conn_rotation(d.i.a, d.ic, &policy));
    must(simplex_agent_set_conn_rotation(d.j.a, d.jc, &policy));
    expect(&d.j, SIMPLEX_EV_SWITCH, d.jc); /* of one that is not suspended */
    must(simplex_agent_conn_rotation(d.i.a, d.ic, NULL, &status));
    assert_int_equal(status.started, 0);
    assert_int_equal(status.next_at, 0);
}

/* ---- what can be suspended ---- */

static void nobody_can_use_a_link_any_more(void **state)
{
    int64_t address, invitation, jc;
    char link[4][3000];
    size_t len;

    (void)state;
    must(simplex_agent_create_address(d.i.a, &address));
    expect(&d.i, SIMPLEX_EV_INV, address);
    must(simplex_agent_create(d.i.a, SIMPLEX_PQ_OFF, &invitation));
    expect(&d.i, SIMPLEX_EV_INV, invitation);
    int64_t conns[] = { address, invitation };
    for (int n = 0; n < 2; n++) {
        len = sizeof link[n];
        must(simplex_agent_link(d.i.a, conns[n], link[n], &len));
        must(simplex_agent_suspend_queues(d.i.a, conns[n]));
        expect_suspended(&d.i, conns[n]);
        must(simplex_agent_join(d.j.a, (simplex_bytes){ (uint8_t *)link[n], len },
                                sx_str("let me in"), SIMPLEX_PQ_OFF, &jc));
        simplex_event *ev = wait_event(&d.j, SIMPLEX_EV_ERR, jc);
        assert_string_equal(simplex_event_detail(ev), "AUTH");
        simplex_event_free(ev);
    }
    assert_true(quiet(&d.i, SIMPLEX_EV_REQ, 0) && quiet(&d.i, SIMPLEX_EV_CONF, 0));
}

static void what_is_not_there_yet_or_any_more_is_not_suspended(void **state)
{
    simplex_link_data data = { .size = sizeof data, .data = sx_str("a name") };
    int64_t conn, jc;
    char link[3000];
    size_t len = sizeof link;

    (void)state;
    assert_int_equal(simplex_agent_suspend_queues(d.i.a, 999), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_suspend_queues(d.i.a, -1), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_suspend_queues(NULL, 1), SIMPLEX_E_ARG);
    must(simplex_agent_prepare_short(d.i.a, SIMPLEX_LINK_CONTACT, SIMPLEX_PQ_OFF, &data, &conn));
    assert_int_equal(simplex_agent_suspend_queues(d.i.a, conn), SIMPLEX_E_PROHIBITED);
    assert_false(connection_info(&d.i, conn).suspended); /* nothing of it is left */
    must(simplex_agent_create(d.i.a, SIMPLEX_PQ_OFF, &conn));
    expect(&d.i, SIMPLEX_EV_INV, conn);
    must(simplex_agent_link(d.i.a, conn, link, &len));
    must(simplex_agent_join(d.j.a, (simplex_bytes){ (uint8_t *)link, len }, sx_str("J"),
                            SIMPLEX_PQ_OFF, &jc));
    assert_int_equal(simplex_agent_suspend_queues(d.j.a, jc), SIMPLEX_E_PROHIBITED);
    expect(&d.i, SIMPLEX_EV_CONF, conn);
    assert_int_equal(simplex_agent_suspend_queues(d.i.a, conn), SIMPLEX_E_PROHIBITED);
    must(simplex_agent_delete(d.j.a, jc));
    assert_int_equal(simplex_agent_suspend_queues(d.j.a, jc), SIMPLEX_E_NOT_FOUND);
    agent_close(&d.i);
    d.i.cfg.read_only = true;
    agent_reopen(&d.i);
    assert_int_equal(simplex_agent_suspend_queues(d.i.a, d.ic), SIMPLEX_E_PROHIBITED);
}

int main(void)
{
#define EACH(f) cmocka_unit_test_setup_teardown(f, open_duo, close_both)
    const struct CMUnitTest tests[] = {
        EACH(nothing_more_comes_and_what_was_there_does),
        EACH(it_is_done_once_and_for_all),
        EACH(it_waits_for_a_server_that_is_away),
        EACH(lost_answers_make_no_difference),
        cmocka_unit_test(a_queue_that_its_server_has_lost_takes_nothing_either),
        EACH(deleting_does_not_wait_for_it),
        EACH(suspending_survives_failures_of_the_disk),
        cmocka_unit_test(all_queues_are_suspended_and_none_is_added),
        EACH(a_rotation_is_given_up),
        EACH(a_rotation_that_cannot_be_given_up_ends),
        EACH(policies_leave_it_alone),
        EACH(nobody_can_use_a_link_any_more),
        EACH(what_is_not_there_yet_or_any_more_is_not_suspended),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
