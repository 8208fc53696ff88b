/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rotation of queues: I moves its receiving queue, J follows. Messages go on, in order and once;
 * servers may be gone or refuse, and a move can be given up.
 */
#include <stdio.h>
#include <unistd.h>

#include "switch_stage.h"

/* ---- when nothing fails ---- */

static void a_queue_moves_to_another_server(void **state)
{
    struct trio t;

    (void)state;
    trio_open(&t, NULL);
    duo_talk(&t.d, "before");
    start_move(&t.d.i, t.d.ic, t.address);
    expect_moved(&t.d.i, t.d.ic, SIMPLEX_SWITCH_RCV);
    expect_moved(&t.d.j, t.d.jc, SIMPLEX_SWITCH_SND);
    expect_server_queues(&t.d.srv, 1);
    expect_server_queues(&t.second, 1);
    duo_talk(&t.d, "after");
    forwarder_set(&t.d.fi, FORWARD_REFUSE); /* nobody needs the way to the old queue */
    duo_talk(&t.d, "without the old server");
    agent_reopen(&t.d.i);
    agent_reopen(&t.d.j);
    duo_talk(&t.d, "after a restart");
    assert_true(quiet(&t.d.i, SIMPLEX_EV_SWITCH, 0));
    assert_true(quiet(&t.d.j, SIMPLEX_EV_SWITCH, 0));
    assert_int_equal(connection_info(&t.d.i, t.d.ic).rcv_switch, 0);
    assert_int_equal(connection_info(&t.d.j, t.d.jc).snd_switch, 0);
    trio_close(&t);
}

static void a_queue_moves_on_the_only_server(void **state)
{
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    for (int n = 0; n < 3; n++) {
        start_move(&d.i, d.ic, "");
        expect_moved(&d.i, d.ic, SIMPLEX_SWITCH_RCV);
        expect_moved(&d.j, d.jc, SIMPLEX_SWITCH_SND);
        expect_server_queues(&d.srv, 2);
        duo_talk(&d, "moved");
    }
    duo_close(&d);
}

static void another_server_is_chosen_when_there_is_one(void **state)
{
    struct trio t;
    simplex_event *ev;

    (void)state;
    trio_open(&t, NULL);
    t.d.i.servers[t.d.i.n_servers++] = t.address;
    agent_reopen(&t.d.i);
    start_move(&t.d.i, t.d.ic, "");
    ev = wait_event(&t.d.i, SIMPLEX_EV_SWITCH, t.d.ic);
    assert_non_null(strstr(t.address, simplex_event_server(ev)));
    assert_non_null(strstr(simplex_event_json(ev), "\"direction\":\"rcv\",\"phase\":\"started\""));
    simplex_event_free(ev);
    expect_moved(&t.d.j, t.d.jc, SIMPLEX_SWITCH_SND);
    expect_server_queues(&t.second, 1);
    duo_talk(&t.d, "there");
    trio_close(&t);
}

static void both_sides_move_at_once(void **state)
{
    struct trio t;

    (void)state;
    trio_open(&t, NULL);
    start_move(&t.d.i, t.d.ic, t.address);
    start_move(&t.d.j, t.d.jc, t.address);
    for (int n = 0; n < 8; n++) {
        expect(&t.d.i, SIMPLEX_EV_SWITCH, t.d.ic);
        expect(&t.d.j, SIMPLEX_EV_SWITCH, t.d.jc);
    }
    expect_server_queues(&t.d.srv, 0);
    expect_server_queues(&t.second, 2);
    duo_talk(&t.d, "both moved");
    trio_close(&t);
}

/* ---- messages all the while ---- */

static void messages_flow_both_ways_during_moves(void **state)
{
    enum { MOVES = 6, EACH = 40 };
    struct trio t;

    (void)state;
    trio_open(&t, NULL);
    for (int m = 0; m < MOVES; m++) {
        start_move(&t.d.i, t.d.ic, m % 2 == 0 ? t.address : t.d.i_address);
        for (int n = 0; n < EACH; n++) {
            send_number(&t.d.i, t.d.ic, n);
            send_number(&t.d.j, t.d.jc, n);
            if (n % 7 == 0)
                usleep(2000);
        }
        for (int n = 0; n < EACH; n++) {
            receive_number(&t.d.i, t.d.ic, n);
            receive_number(&t.d.j, t.d.jc, n);
            expect(&t.d.i, SIMPLEX_EV_SENT, t.d.ic);
            expect(&t.d.j, SIMPLEX_EV_SENT, t.d.jc);
        }
        expect_moved(&t.d.i, t.d.ic, SIMPLEX_SWITCH_RCV);
        expect_moved(&t.d.j, t.d.jc, SIMPLEX_SWITCH_SND);
    }
    assert_true(quiet(&t.d.i, SIMPLEX_EV_MSG, 50));
    assert_true(quiet(&t.d.j, SIMPLEX_EV_SENT, 0));
    assert_int_equal(connection_info(&t.d.j, t.d.jc).pending, 0);
    trio_close(&t);
}

/* The next message comes after the last was acknowledged, from whichever queue; what lies unread in
 * the old one is read before it is deleted. */
static void a_slow_reader_misses_nothing(void **state)
{
    enum { N = 12 };
    struct trio t;
    simplex_event *ev;

    (void)state;
    trio_open(&t, NULL);
    start_move(&t.d.i, t.d.ic, t.address);
    expect_switch(&t.d.j, t.d.jc, SIMPLEX_SWITCH_SND, SIMPLEX_SWITCH_STARTED);
    for (int n = 0; n < N; n++)
        send_number(&t.d.j, t.d.jc, n);
    for (int32_t phase = SIMPLEX_SWITCH_CONFIRMED; phase <= SIMPLEX_SWITCH_COMPLETED; phase++)
        expect_switch(&t.d.j, t.d.jc, SIMPLEX_SWITCH_SND, phase);
    for (int n = N; n < 2 * N; n++)
        send_number(&t.d.j, t.d.jc, n);
    for (int n = 0; n < 2 * N; n++) {
        ev = wait_event(&t.d.i, SIMPLEX_EV_MSG, t.d.ic);
        assert_int_equal(simplex_event_integrity(ev, NULL, NULL), SIMPLEX_MSG_OK);
        assert_true(quiet(&t.d.i, SIMPLEX_EV_MSG, 15)); /* not before it is acknowledged */
        assert_int_equal(simplex_agent_ack(t.d.i.a, t.d.ic, simplex_event_msg_id(ev)), SIMPLEX_OK);
        char text[16];
        (void)snprintf(text, sizeof text, "%d", n);
        vec_assert_eq(simplex_event_data(ev), sx_str(text), "message");
        simplex_event_free(ev);
    }
    expect_moved(&t.d.i, t.d.ic, SIMPLEX_SWITCH_RCV);
    expect_server_queues(&t.d.srv, 1);
    assert_true(quiet(&t.d.i, SIMPLEX_EV_MSG, 30));
    trio_close(&t);
}

/* The answer to the ACK of the last message in the old queue comes too late: the session goes on,
 * and the server has nothing more to deliver again. */
static void an_ack_whose_answer_is_lost_does_not_hold_the_end_up(void **state)
{
    struct trio t;

    (void)state;
    trio_open(&t, NULL);
    t.d.i.cfg.command_timeout = 2000;
    agent_reopen(&t.d.i);
    start_move(&t.d.i, t.d.ic, t.address);
    expect_switch(&t.d.j, t.d.jc, SIMPLEX_SWITCH_SND, SIMPLEX_SWITCH_STARTED);
    (void)send_text(&t.d.j, t.d.jc, "the last there");
    int64_t last = see_text(&t.d.i, t.d.ic, "the last there");
    expect_switch(&t.d.j, t.d.jc, SIMPLEX_SWITCH_SND, SIMPLEX_SWITCH_CONFIRMED);
    expect_switch(&t.d.j, t.d.jc, SIMPLEX_SWITCH_SND, SIMPLEX_SWITCH_SECURED);
    expect_switch(&t.d.j, t.d.jc, SIMPLEX_SWITCH_SND, SIMPLEX_SWITCH_COMPLETED);
    forwarder_set(&t.d.fi, FORWARD_STALL);
    assert_int_equal(simplex_agent_ack(t.d.i.a, t.d.ic, last), SIMPLEX_OK);
    usleep(3000000); /* after the ACK is given up, before the SUB that asks again is */
    forwarder_set(&t.d.fi, FORWARD);
    expect_moved(&t.d.i, t.d.ic, SIMPLEX_SWITCH_RCV);
    trio_close(&t);
}

/* ---- servers that are gone ---- */

static void the_new_server_away_holds_nothing_up(void **state)
{
    struct trio t;

    (void)state;
    trio_open(&t, NULL);
    agent_close(&t.d.j);
    start_move(&t.d.i, t.d.ic, t.address);
    expect_switch(&t.d.i, t.d.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_SWITCH_STARTED);
    agent_reopen(&t.d.j);
    expect_switch(&t.d.i, t.d.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_SWITCH_CONFIRMED);
    expect_switch(&t.d.i, t.d.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_SWITCH_SECURED);
    forwarder_set(&t.next, FORWARD_REFUSE);
    for (int n = 0; n < 5; n++)
        send_number(&t.d.j, t.d.jc, n);
    for (int n = 0; n < 5; n++) /* the old way, unless the new one was faster */
        receive_number(&t.d.i, t.d.ic, n);
    forwarder_set(&t.next, FORWARD);
    expect_moved(&t.d.j, t.d.jc, SIMPLEX_SWITCH_SND);
    expect_switch(&t.d.i, t.d.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_SWITCH_COMPLETED);
    assert_true(quiet(&t.d.i, SIMPLEX_EV_MSG, 50));
    for (int n = 0; n < 5; n++)
        expect(&t.d.j, SIMPLEX_EV_SENT, t.d.jc);
    duo_talk(&t.d, "after");
    trio_close(&t);
}

static void the_old_server_gone_ends_the_move_with_an_error(void **state)
{
    struct trio t;
    simplex_event *ev;

    (void)state;
    trio_open(&t, NULL);
    t.d.i.cfg.message_timeout = 400;
    t.d.i.cfg.retry_first = 20;
    t.d.i.cfg.retry_max = 30;
    agent_reopen(&t.d.i);
    (void)send_text(&t.d.j, t.d.jc, "J's key waits behind this");
    int64_t first = see_text(&t.d.i, t.d.ic, "J's key waits behind this");
    start_move(&t.d.i, t.d.ic, t.address);
    expect_switch(&t.d.i, t.d.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_SWITCH_STARTED);
    expect_switch(&t.d.j, t.d.jc, SIMPLEX_SWITCH_SND, SIMPLEX_SWITCH_STARTED);
    expect_switch(&t.d.j, t.d.jc, SIMPLEX_SWITCH_SND, SIMPLEX_SWITCH_CONFIRMED);
    agent_close(&t.d.j); /* it uses the new queue when the old server is gone */
    assert_int_equal(simplex_agent_ack(t.d.i.a, t.d.ic, first), SIMPLEX_OK);
    expect_switch(&t.d.i, t.d.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_SWITCH_CONFIRMED);
    expect_switch(&t.d.i, t.d.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_SWITCH_SECURED);
    forwarder_set(&t.d.fi, FORWARD_REFUSE);
    agent_reopen(&t.d.j);
    (void)send_text(&t.d.j, t.d.jc, "the new way");
    expect(&t.d.j, SIMPLEX_EV_SENT, t.d.jc);
    ev = wait_event(&t.d.i, SIMPLEX_EV_ERR, t.d.ic);
    assert_true(simplex_event_error(ev) <= SIMPLEX_E_CONNECT);
    simplex_event_free(ev);
    t.d.i.errors_ok = true;
    expect_switch(&t.d.i, t.d.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_SWITCH_COMPLETED);
    receive_text(&t.d.i, t.d.ic, "the new way");
    duo_talk(&t.d, "and back");
    start_move(&t.d.i, t.d.ic, t.address); /* it may go on */
    expect_moved(&t.d.i, t.d.ic, SIMPLEX_SWITCH_RCV);
    duo_talk(&t.d, "moved again");
    trio_close(&t);
}

static void a_server_that_is_not_there_is_replaced_by_another(void **state)
{
    struct trio t;
    simplex_event *ev;

    (void)state;
    trio_open(&t, NULL);
    forwarder_set(&t.next, FORWARD_REFUSE);
    t.d.i.servers[t.d.i.n_servers++] = t.address;
    t.d.i.servers[t.d.i.n_servers++] = t.d.j_address;
    t.d.i.cfg.retry_first = 20;
    agent_reopen(&t.d.i);
    start_move(&t.d.i, t.d.ic, ""); /* the one that J's queue is not on first */
    ev = wait_event(&t.d.i, SIMPLEX_EV_SWITCH, t.d.ic);
    assert_non_null(strstr(t.d.j_address, simplex_event_server(ev)));
    simplex_event_free(ev);
    expect_moved(&t.d.j, t.d.jc, SIMPLEX_SWITCH_SND);
    duo_talk(&t.d, "on the third");
    trio_close(&t);
}

/* ---- abort, and what is not allowed ---- */

static void expect_refused(struct test_agent *t, int64_t conn)
{
    assert_int_equal(simplex_agent_switch(t->a, conn, sx_str("")), SIMPLEX_E_PROHIBITED);
}

static void a_move_is_aborted(void **state)
{
    struct trio t;
    simplex_event *ev;

    (void)state;
    trio_open(&t, NULL);
    forwarder_set(&t.next, FORWARD_REFUSE);
    start_move(&t.d.i, t.d.ic, t.address); /* before there is a queue */
    assert_int_equal(connection_info(&t.d.i, t.d.ic).rcv_switch, SIMPLEX_SWITCH_STARTED);
    expect_refused(&t.d.i, t.d.ic);
    usleep(50000);
    assert_int_equal(simplex_agent_abort_switch(t.d.i.a, t.d.ic), SIMPLEX_OK);
    expect_switch(&t.d.i, t.d.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_SWITCH_ABORTED);
    assert_int_equal(simplex_agent_abort_switch(t.d.i.a, t.d.ic), SIMPLEX_E_PROHIBITED);
    assert_int_equal(connection_info(&t.d.i, t.d.ic).rcv_switch, 0);
    forwarder_set(&t.next, FORWARD);
    for (int n = 0; n < 3; n++) { /* with a queue that the peer is told of */
        agent_close(&t.d.j);
        start_move(&t.d.i, t.d.ic, t.address);
        expect_switch(&t.d.i, t.d.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_SWITCH_STARTED);
        if (n == 1)
            agent_reopen(&t.d.i);
        assert_int_equal(simplex_agent_abort_switch(t.d.i.a, t.d.ic), SIMPLEX_OK);
        expect_switch(&t.d.i, t.d.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_SWITCH_ABORTED);
        expect_server_queues(&t.second, 0);
        agent_reopen(&t.d.j);
        ev = wait_event(&t.d.i, SIMPLEX_EV_ERR, t.d.ic); /* its keys come too late */
        assert_int_equal(simplex_event_error(ev), SIMPLEX_E_PROHIBITED);
        assert_string_equal(simplex_event_detail(ev), "QK");
        simplex_event_free(ev);
        duo_talk(&t.d, "as before");
    }
    while (!quiet(&t.d.j, SIMPLEX_EV_SWITCH, 0))
        continue;
    start_move(&t.d.i, t.d.ic, t.address);
    expect_moved(&t.d.i, t.d.ic, SIMPLEX_SWITCH_RCV);
    expect_moved(&t.d.j, t.d.jc, SIMPLEX_SWITCH_SND);
    duo_talk(&t.d, "moved at last");
    expect_server_queues(&t.d.srv, 1);
    expect_server_queues(&t.second, 1);
    trio_close(&t);
}

static void what_is_too_late_or_early_is_refused(void **state)
{
    struct trio t;
    int64_t conn;

    (void)state;
    trio_open(&t, NULL);
    assert_int_equal(simplex_agent_switch(t.d.i.a, 99, sx_str("")), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_abort_switch(t.d.i.a, 99), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_switch(NULL, t.d.ic, sx_str("")), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_abort_switch(NULL, t.d.ic), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_switch(t.d.i.a, t.d.ic, sx_str("smp://nobody")),
                     SIMPLEX_E_ADDRESS);
    assert_int_equal(simplex_agent_create(t.d.i.a, 0, &conn), SIMPLEX_OK);
    expect_refused(&t.d.i, conn);
    assert_int_equal(simplex_agent_abort_switch(t.d.i.a, t.d.ic), SIMPLEX_E_PROHIBITED);
    agent_close(&t.d.j); /* or the move might be over by then */
    start_move(&t.d.i, t.d.ic, t.address);
    expect_refused(&t.d.i, t.d.ic);
    agent_reopen(&t.d.j);
    for (int32_t phase = SIMPLEX_SWITCH_STARTED; phase <= SIMPLEX_SWITCH_SECURED; phase++)
        expect_switch(&t.d.i, t.d.ic, SIMPLEX_SWITCH_RCV, phase);
    assert_int_equal(simplex_agent_abort_switch(t.d.i.a, t.d.ic), SIMPLEX_E_PROHIBITED);
    expect_switch(&t.d.i, t.d.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_SWITCH_COMPLETED);
    assert_int_equal(simplex_agent_abort_switch(t.d.i.a, t.d.ic), SIMPLEX_E_PROHIBITED);
    trio_close(&t);
}

static void a_server_that_refuses_ends_the_move(void **state)
{
    simplex_server_config cfg;
    struct test_server locked;
    struct duo d;
    simplex_event *ev;

    (void)state;
    simplex_server_config_init(&cfg);
    cfg.password = "members";
    duo_open(&d, NULL);
    server_start(&locked, &cfg);
    duo_connect(&d);
    char open_address[512], *password;
    memcpy(open_address, locked.address, sizeof open_address);
    password = strstr(open_address, ":members");
    assert_non_null(password);
    memmove(password, password + 8, strlen(password + 8) + 1);
    start_move(&d.i, d.ic, open_address);
    ev = wait_event(&d.i, SIMPLEX_EV_SWITCH, d.ic);
    assert_int_equal(simplex_event_switch(ev, NULL), SIMPLEX_SWITCH_ABORTED);
    assert_int_equal(simplex_event_error(ev), SIMPLEX_E_SERVER);
    assert_non_null(strstr(simplex_event_detail(ev), "AUTH"));
    simplex_event_free(ev);
    duo_talk(&d, "where it was");
    assert_int_equal(connection_info(&d.i, d.ic).rcv_switch, 0);
    start_move(&d.i, d.ic, locked.address);
    expect_moved(&d.i, d.ic, SIMPLEX_SWITCH_RCV);
    duo_talk(&d, "elsewhere");
    duo_close(&d);
    server_stop(&locked);
}

static void a_connection_is_deleted_while_it_moves(void **state)
{
    struct trio t;

    (void)state;
    trio_open(&t, NULL);
    for (int32_t phase = 0; phase <= SIMPLEX_SWITCH_SECURED; phase++) {
        start_move(&t.d.i, t.d.ic, t.address);
        if (phase > 0)
            reach(&t.d.i, t.d.ic, phase, t.address);
        assert_int_equal(simplex_agent_delete(t.d.i.a, t.d.ic), SIMPLEX_OK);
        expect(&t.d.i, SIMPLEX_EV_DEL_CONN, t.d.ic);
        t.d.j.errors_ok = true;
        assert_int_equal(simplex_agent_delete(t.d.j.a, t.d.jc), SIMPLEX_OK);
        expect(&t.d.j, SIMPLEX_EV_DEL_CONN, t.d.jc);
        expect_server_queues(&t.d.srv, 0);
        expect_server_queues(&t.second, 0);
        duo_connect(&t.d);
    }
    trio_close(&t);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_queue_moves_to_another_server),
        cmocka_unit_test(a_queue_moves_on_the_only_server),
        cmocka_unit_test(another_server_is_chosen_when_there_is_one),
        cmocka_unit_test(both_sides_move_at_once),
        cmocka_unit_test(messages_flow_both_ways_during_moves),
        cmocka_unit_test(a_slow_reader_misses_nothing),
        cmocka_unit_test(an_ack_whose_answer_is_lost_does_not_hold_the_end_up),
        cmocka_unit_test(the_new_server_away_holds_nothing_up),
        cmocka_unit_test(the_old_server_gone_ends_the_move_with_an_error),
        cmocka_unit_test(a_server_that_is_not_there_is_replaced_by_another),
        cmocka_unit_test(a_move_is_aborted),
        cmocka_unit_test(what_is_too_late_or_early_is_refused),
        cmocka_unit_test(a_server_that_refuses_ends_the_move),
        cmocka_unit_test(a_connection_is_deleted_while_it_moves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
