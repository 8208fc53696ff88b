/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rotation of queues: I moves its receiving queue, J follows. Messages go on, in order and once,
 * whoever is away, whatever breaks.
 */
#include <stdio.h>
#include <unistd.h>

#include "agent/switch_again.h"
#include "support/agents.h"

/* The queues of both are on the first server; `next` is the way to a second one. */
struct trio {
    struct duo d;
    struct test_server second;
    struct forwarder next;
    char address[512];
};

static void trio_open(struct trio *t, const simplex_server_config *cfg)
{
    memset(t, 0, sizeof *t);
    duo_open(&t->d, cfg);
    server_start(&t->second, cfg);
    forwarder_start(&t->next, simplex_server_port(t->second.s));
    forwarder_address(&t->next, t->second.address, t->address, sizeof t->address);
    duo_connect(&t->d);
}

static void trio_close(struct trio *t)
{
    duo_close(&t->d);
    forwarder_stop(&t->next);
    server_stop(&t->second);
}

static size_t queues(const struct test_server *s)
{
    simplex_server_counters c = { .size = sizeof c };

    assert_int_equal(simplex_server_count(s->s, &c), SIMPLEX_OK);
    return c.queues;
}

static void expect_queues(const struct test_server *s, size_t n)
{
    for (int k = 0; k < 1000 && queues(s) != n; k++)
        usleep(10000);
    assert_int_equal(queues(s), n);
}

static void expect_phase(struct test_agent *t, int64_t conn, int32_t direction, int32_t phase)
{
    simplex_event *ev = wait_event(t, SIMPLEX_EV_SWITCH, conn);
    int32_t got_direction, got_phase = simplex_event_switch(ev, &got_direction);

    if (got_direction != direction || got_phase != phase)
        fail_msg("%s instead of direction %d phase %d", simplex_event_json(ev), direction, phase);
    assert_non_null(simplex_event_server(ev));
    simplex_event_free(ev);
}

static void start(struct test_agent *t, int64_t conn, const char *server)
{
    simplex_rc rc = simplex_agent_switch(t->a, conn, sx_str(server));

    if (rc != SIMPLEX_OK)
        fail_msg("switch: %s", simplex_rc_name(rc));
}

static void expect_moved(struct test_agent *t, int64_t conn)
{
    for (int32_t phase = SIMPLEX_SWITCH_STARTED; phase <= SIMPLEX_SWITCH_COMPLETED; phase++)
        expect_phase(t, conn, SIMPLEX_SWITCH_RCV, phase);
}

static void expect_followed(struct test_agent *t, int64_t conn)
{
    for (int32_t phase = SIMPLEX_SWITCH_STARTED; phase <= SIMPLEX_SWITCH_COMPLETED; phase++)
        expect_phase(t, conn, SIMPLEX_SWITCH_SND, phase);
}

static void talk_both_ways(struct duo *d, const char *text)
{
    talk(&d->i, d->ic, &d->j, d->jc, text);
    talk(&d->j, d->jc, &d->i, d->ic, text);
}

static simplex_connection_info info_of(struct test_agent *t, int64_t conn)
{
    simplex_connection_info info = { .size = sizeof info };

    assert_int_equal(simplex_agent_connection(t->a, conn, &info), SIMPLEX_OK);
    return info;
}

/* ---- when nothing fails ---- */

static void a_queue_moves_to_another_server(void **state)
{
    struct trio t;

    (void)state;
    trio_open(&t, NULL);
    talk_both_ways(&t.d, "before");
    start(&t.d.i, t.d.ic, t.address);
    expect_moved(&t.d.i, t.d.ic);
    expect_followed(&t.d.j, t.d.jc);
    expect_queues(&t.d.srv, 1);
    expect_queues(&t.second, 1);
    talk_both_ways(&t.d, "after");
    forwarder_set(&t.d.fi, FORWARD_REFUSE); /* nobody needs the way to the old queue */
    talk_both_ways(&t.d, "without the old server");
    agent_reopen(&t.d.i);
    agent_reopen(&t.d.j);
    talk_both_ways(&t.d, "after a restart");
    assert_true(quiet(&t.d.i, SIMPLEX_EV_SWITCH, 0));
    assert_true(quiet(&t.d.j, SIMPLEX_EV_SWITCH, 0));
    assert_int_equal(info_of(&t.d.i, t.d.ic).rcv_switch, 0);
    assert_int_equal(info_of(&t.d.j, t.d.jc).snd_switch, 0);
    trio_close(&t);
}

static void a_queue_moves_on_the_only_server(void **state)
{
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    for (int n = 0; n < 3; n++) {
        start(&d.i, d.ic, "");
        expect_moved(&d.i, d.ic);
        expect_followed(&d.j, d.jc);
        expect_queues(&d.srv, 2);
        talk_both_ways(&d, "moved");
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
    start(&t.d.i, t.d.ic, "");
    ev = wait_event(&t.d.i, SIMPLEX_EV_SWITCH, t.d.ic);
    assert_non_null(strstr(t.address, simplex_event_server(ev)));
    assert_non_null(strstr(simplex_event_json(ev), "\"direction\":\"rcv\",\"phase\":\"started\""));
    simplex_event_free(ev);
    expect_followed(&t.d.j, t.d.jc);
    expect_queues(&t.second, 1);
    talk_both_ways(&t.d, "there");
    trio_close(&t);
}

static void both_sides_move_at_once(void **state)
{
    struct trio t;

    (void)state;
    trio_open(&t, NULL);
    start(&t.d.i, t.d.ic, t.address);
    start(&t.d.j, t.d.jc, t.address);
    for (int n = 0; n < 8; n++) {
        expect(&t.d.i, SIMPLEX_EV_SWITCH, t.d.ic);
        expect(&t.d.j, SIMPLEX_EV_SWITCH, t.d.jc);
    }
    expect_queues(&t.d.srv, 0);
    expect_queues(&t.second, 2);
    talk_both_ways(&t.d, "both moved");
    trio_close(&t);
}

/* ---- messages all the while ---- */

static void send_number(struct test_agent *t, int64_t conn, int n)
{
    char text[16];

    (void)snprintf(text, sizeof text, "%d", n);
    send_text(t, conn, text);
}

static void receive_number(struct test_agent *t, int64_t conn, int n)
{
    char text[16];

    (void)snprintf(text, sizeof text, "%d", n);
    receive_text(t, conn, text);
}

static void messages_flow_both_ways_during_moves(void **state)
{
    enum { MOVES = 6, EACH = 40 };
    struct trio t;

    (void)state;
    trio_open(&t, NULL);
    for (int m = 0; m < MOVES; m++) {
        start(&t.d.i, t.d.ic, m % 2 == 0 ? t.address : t.d.i_address);
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
        expect_moved(&t.d.i, t.d.ic);
        expect_followed(&t.d.j, t.d.jc);
    }
    assert_true(quiet(&t.d.i, SIMPLEX_EV_MSG, 50));
    assert_true(quiet(&t.d.j, SIMPLEX_EV_SENT, 0));
    assert_int_equal(info_of(&t.d.j, t.d.jc).pending, 0);
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
    start(&t.d.i, t.d.ic, t.address);
    expect_phase(&t.d.j, t.d.jc, SIMPLEX_SWITCH_SND, SIMPLEX_SWITCH_STARTED);
    for (int n = 0; n < N; n++)
        send_number(&t.d.j, t.d.jc, n);
    for (int32_t phase = SIMPLEX_SWITCH_CONFIRMED; phase <= SIMPLEX_SWITCH_COMPLETED; phase++)
        expect_phase(&t.d.j, t.d.jc, SIMPLEX_SWITCH_SND, phase);
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
    expect_moved(&t.d.i, t.d.ic);
    expect_queues(&t.d.srv, 1);
    assert_true(quiet(&t.d.i, SIMPLEX_EV_MSG, 30));
    trio_close(&t);
}

/* ---- somebody away, something broken, at every phase ---- */

enum how { RESTART, AWAY, DROP, CUT, STALL };
enum who { I, J };

static void interrupt(struct trio *t, enum who who, enum how how)
{
    struct test_agent *a = who == I ? &t->d.i : &t->d.j;
    struct forwarder *ways[] = { &t->d.fi, &t->d.fj, &t->next };

    if (how == RESTART || how == AWAY) {
        agent_close(a);
        if (how == AWAY)
            usleep(60000);
        agent_reopen(a);
        return;
    }
    for (size_t n = 0; n < SX_COUNT(ways); n++) {
        if (how == DROP)
            forwarder_drop(ways[n]);
        else if (who == I || n == 2)
            forwarder_set(ways[n], how == CUT ? FORWARD_REFUSE : FORWARD_STALL);
    }
    if (how == DROP)
        return;
    usleep(150000);
    for (size_t n = 0; n < SX_COUNT(ways); n++)
        forwarder_set(ways[n], FORWARD);
    assert_int_equal(simplex_agent_reconnect(t->d.i.a), SIMPLEX_OK);
    assert_int_equal(simplex_agent_reconnect(t->d.j.a), SIMPLEX_OK);
}

/* Waits until this side is at the phase; what it has shown before may have been thrown away. */
static bool reach(struct test_agent *t, int64_t conn, int32_t phase)
{
    for (;;) {
        simplex_event *ev = wait_event(t, SIMPLEX_EV_SWITCH, conn);
        int32_t got = simplex_event_switch(ev, NULL);
        simplex_event_free(ev);
        assert_int_not_equal(got, SIMPLEX_SWITCH_ABORTED);
        if (got >= phase)
            return got == phase;
    }
}

/* By what is stored: events may have been shown before a restart. */
static void wait_until_moved(struct duo *d)
{
    for (int n = 0; n < 4000; n++) {
        if (info_of(&d->i, d->ic).rcv_switch == 0 && info_of(&d->j, d->jc).snd_switch == 0)
            return;
        usleep(5000);
    }
    fail_msg("still moving: %d, %d", info_of(&d->i, d->ic).rcv_switch,
             info_of(&d->j, d->jc).snd_switch);
}

static void forget(struct duo *d, int32_t kind)
{
    while (!quiet(&d->i, kind, 0) || !quiet(&d->j, kind, 0))
        continue;
}

static void moved_despite(struct trio *t, enum who side, int32_t phase, enum who who, enum how how,
                          const char *server)
{
    struct test_agent *a = side == I ? &t->d.i : &t->d.j;
    int64_t conn = side == I ? t->d.ic : t->d.jc;

    send_number(&t->d.i, t->d.ic, 0);
    send_number(&t->d.j, t->d.jc, 0);
    start(&t->d.i, t->d.ic, server);
    send_number(&t->d.i, t->d.ic, 1);
    send_number(&t->d.j, t->d.jc, 1);
    if (phase > 0)
        (void)reach(a, conn, phase);
    send_number(&t->d.i, t->d.ic, 2);
    send_number(&t->d.j, t->d.jc, 2);
    interrupt(t, who, how);
    send_number(&t->d.i, t->d.ic, 3);
    send_number(&t->d.j, t->d.jc, 3);
    for (int n = 0; n < 4; n++) {
        receive_number(&t->d.i, t->d.ic, n);
        receive_number(&t->d.j, t->d.jc, n);
    }
    wait_until_moved(&t->d);
    forget(&t->d, SIMPLEX_EV_SWITCH);
    forget(&t->d, SIMPLEX_EV_SENT);
    assert_true(quiet(&t->d.i, SIMPLEX_EV_MSG, 10));
    assert_true(quiet(&t->d.j, SIMPLEX_EV_MSG, 0));
}

static void interrupted_at_every_phase(enum how how)
{
    struct trio t;
    int n = 0;

    trio_open(&t, NULL);
    t.d.i.cfg.command_timeout = t.d.j.cfg.command_timeout = how == STALL ? 100 : 0;
    t.d.i.cfg.reconnect_first = t.d.j.cfg.reconnect_first = 20;
    t.d.i.cfg.retry_first = t.d.j.cfg.retry_first = 20;
    agent_reopen(&t.d.i);
    agent_reopen(&t.d.j);
    for (enum who side = I; side <= J; side++) {
        for (int32_t phase = 0; phase <= SIMPLEX_SWITCH_COMPLETED; phase++) {
            for (enum who who = I; who <= J; who++)
                moved_despite(&t, side, phase, who, how, n++ % 2 == 0 ? t.address : t.d.i_address);
        }
    }
    /* An answer to NEW that never came leaves one behind. */
    for (int k = 0; k < 500 && queues(&t.d.srv) + queues(&t.second) > 2; k++)
        usleep(10000);
    assert_in_range(queues(&t.d.srv) + queues(&t.second), 2, how == STALL ? 8 : 4);
    trio_close(&t);
}

static void restarts_at_every_phase(void **state)
{
    (void)state;
    interrupted_at_every_phase(RESTART);
}

static void is_away_at_every_phase(void **state)
{
    (void)state;
    interrupted_at_every_phase(AWAY);
}

static void connections_break_at_every_phase(void **state)
{
    (void)state;
    interrupted_at_every_phase(DROP);
}

static void the_network_is_away_at_every_phase(void **state)
{
    (void)state;
    interrupted_at_every_phase(CUT);
}

static void answers_are_lost_at_every_phase(void **state)
{
    (void)state;
    interrupted_at_every_phase(STALL);
}

/* ---- servers that are gone ---- */

static void the_new_server_away_holds_nothing_up(void **state)
{
    struct trio t;

    (void)state;
    trio_open(&t, NULL);
    agent_close(&t.d.j);
    start(&t.d.i, t.d.ic, t.address);
    expect_phase(&t.d.i, t.d.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_SWITCH_STARTED);
    agent_reopen(&t.d.j);
    expect_phase(&t.d.i, t.d.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_SWITCH_CONFIRMED);
    expect_phase(&t.d.i, t.d.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_SWITCH_SECURED);
    forwarder_set(&t.next, FORWARD_REFUSE);
    for (int n = 0; n < 5; n++)
        send_number(&t.d.j, t.d.jc, n);
    for (int n = 0; n < 5; n++) /* the old way, unless the new one was faster */
        receive_number(&t.d.i, t.d.ic, n);
    forwarder_set(&t.next, FORWARD);
    expect_followed(&t.d.j, t.d.jc);
    expect_phase(&t.d.i, t.d.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_SWITCH_COMPLETED);
    assert_true(quiet(&t.d.i, SIMPLEX_EV_MSG, 50));
    for (int n = 0; n < 5; n++)
        expect(&t.d.j, SIMPLEX_EV_SENT, t.d.jc);
    talk_both_ways(&t.d, "after");
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
    agent_close(&t.d.j);
    start(&t.d.i, t.d.ic, t.address);
    expect_phase(&t.d.i, t.d.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_SWITCH_STARTED);
    agent_reopen(&t.d.j);
    expect_phase(&t.d.j, t.d.jc, SIMPLEX_SWITCH_SND, SIMPLEX_SWITCH_STARTED);
    expect_phase(&t.d.j, t.d.jc, SIMPLEX_SWITCH_SND, SIMPLEX_SWITCH_CONFIRMED);
    forwarder_set(&t.d.fi, FORWARD_REFUSE);
    t.d.i.errors_ok = true;
    expect_phase(&t.d.i, t.d.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_SWITCH_CONFIRMED);
    expect_phase(&t.d.i, t.d.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_SWITCH_SECURED);
    talk_both_ways(&t.d, "the new way");
    ev = wait_event(&t.d.i, SIMPLEX_EV_SWITCH, t.d.ic);
    assert_int_equal(simplex_event_switch(ev, NULL), SIMPLEX_SWITCH_COMPLETED);
    simplex_event_free(ev);
    ev = wait_event(&t.d.i, SIMPLEX_EV_ERR, t.d.ic);
    assert_true(simplex_event_error(ev) <= SIMPLEX_E_CONNECT);
    simplex_event_free(ev);
    start(&t.d.i, t.d.ic, t.address); /* it may go on */
    expect_moved(&t.d.i, t.d.ic);
    talk_both_ways(&t.d, "moved again");
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
    start(&t.d.i, t.d.ic, ""); /* the one that J's queue is not on first */
    ev = wait_event(&t.d.i, SIMPLEX_EV_SWITCH, t.d.ic);
    assert_non_null(strstr(t.d.j_address, simplex_event_server(ev)));
    simplex_event_free(ev);
    expect_followed(&t.d.j, t.d.jc);
    talk_both_ways(&t.d, "on the third");
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
    start(&t.d.i, t.d.ic, t.address); /* before there is a queue */
    assert_int_equal(info_of(&t.d.i, t.d.ic).rcv_switch, SIMPLEX_SWITCH_STARTED);
    expect_refused(&t.d.i, t.d.ic);
    usleep(50000);
    assert_int_equal(simplex_agent_abort_switch(t.d.i.a, t.d.ic), SIMPLEX_OK);
    expect_phase(&t.d.i, t.d.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_SWITCH_ABORTED);
    assert_int_equal(simplex_agent_abort_switch(t.d.i.a, t.d.ic), SIMPLEX_E_PROHIBITED);
    assert_int_equal(info_of(&t.d.i, t.d.ic).rcv_switch, 0);
    forwarder_set(&t.next, FORWARD);
    for (int n = 0; n < 3; n++) { /* with a queue that the peer is told of */
        agent_close(&t.d.j);
        start(&t.d.i, t.d.ic, t.address);
        expect_phase(&t.d.i, t.d.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_SWITCH_STARTED);
        if (n == 1)
            agent_reopen(&t.d.i);
        assert_int_equal(simplex_agent_abort_switch(t.d.i.a, t.d.ic), SIMPLEX_OK);
        expect_phase(&t.d.i, t.d.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_SWITCH_ABORTED);
        expect_queues(&t.second, 0);
        agent_reopen(&t.d.j);
        ev = wait_event(&t.d.i, SIMPLEX_EV_ERR, t.d.ic); /* its keys come too late */
        assert_int_equal(simplex_event_error(ev), SIMPLEX_E_PROHIBITED);
        assert_string_equal(simplex_event_detail(ev), "QK");
        simplex_event_free(ev);
        talk_both_ways(&t.d, "as before");
    }
    while (!quiet(&t.d.j, SIMPLEX_EV_SWITCH, 0))
        continue;
    start(&t.d.i, t.d.ic, t.address);
    expect_moved(&t.d.i, t.d.ic);
    expect_followed(&t.d.j, t.d.jc);
    talk_both_ways(&t.d, "moved at last");
    expect_queues(&t.d.srv, 1);
    expect_queues(&t.second, 1);
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
    start(&t.d.i, t.d.ic, t.address);
    expect_refused(&t.d.i, t.d.ic);
    for (int32_t phase = SIMPLEX_SWITCH_STARTED; phase <= SIMPLEX_SWITCH_SECURED; phase++)
        expect_phase(&t.d.i, t.d.ic, SIMPLEX_SWITCH_RCV, phase);
    assert_int_equal(simplex_agent_abort_switch(t.d.i.a, t.d.ic), SIMPLEX_E_PROHIBITED);
    expect_phase(&t.d.i, t.d.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_SWITCH_COMPLETED);
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
    start(&d.i, d.ic, open_address);
    ev = wait_event(&d.i, SIMPLEX_EV_SWITCH, d.ic);
    assert_int_equal(simplex_event_switch(ev, NULL), SIMPLEX_SWITCH_ABORTED);
    assert_int_equal(simplex_event_error(ev), SIMPLEX_E_SERVER);
    assert_non_null(strstr(simplex_event_detail(ev), "AUTH"));
    simplex_event_free(ev);
    talk_both_ways(&d, "where it was");
    assert_int_equal(info_of(&d.i, d.ic).rcv_switch, 0);
    start(&d.i, d.ic, locked.address);
    expect_moved(&d.i, d.ic);
    talk_both_ways(&d, "elsewhere");
    duo_close(&d);
    server_stop(&locked);
}

static void a_connection_is_deleted_while_it_moves(void **state)
{
    struct trio t;

    (void)state;
    trio_open(&t, NULL);
    for (int32_t phase = 0; phase <= SIMPLEX_SWITCH_SECURED; phase++) {
        start(&t.d.i, t.d.ic, t.address);
        if (phase > 0)
            (void)reach(&t.d.i, t.d.ic, phase);
        assert_int_equal(simplex_agent_delete(t.d.i.a, t.d.ic), SIMPLEX_OK);
        expect(&t.d.i, SIMPLEX_EV_DEL_CONN, t.d.ic);
        t.d.j.errors_ok = true;
        assert_int_equal(simplex_agent_delete(t.d.j.a, t.d.jc), SIMPLEX_OK);
        expect(&t.d.j, SIMPLEX_EV_DEL_CONN, t.d.jc);
        expect_queues(&t.d.srv, 0);
        expect_queues(&t.second, 0);
        duo_connect(&t.d);
    }
    trio_close(&t);
}

/* ---- a new ratchet in the middle ---- */

static void forget_all(struct test_agent *t)
{
    while (t->n_held > 0)
        simplex_event_free(t->held[--t->n_held]);
}

/* The number of the new keys looks like a gap before the first message. */
static void first_words(struct test_agent *from, int64_t from_conn, struct test_agent *to,
                        int64_t to_conn)
{
    (void)send_text(from, from_conn, "first");
    simplex_event *ev = wait_event(to, SIMPLEX_EV_MSG, to_conn);
    vec_assert_eq(simplex_event_data(ev), sx_str("first"), "message");
    assert_int_equal(simplex_agent_ack(to->a, to_conn, simplex_event_msg_id(ev)), SIMPLEX_OK);
    simplex_event_free(ev);
    expect(from, SIMPLEX_EV_SENT, from_conn);
}

static void wait_until_synchronised(struct duo *d)
{
    for (int n = 0; n < 4000; n++) {
        if (info_of(&d->i, d->ic).sync_state == SIMPLEX_SYNC_OK &&
            info_of(&d->j, d->jc).sync_state == SIMPLEX_SYNC_OK)
            return;
        usleep(5000);
    }
    fail_msg("not synchronised: I %d, switch %d; J %d, switch %d", info_of(&d->i, d->ic).sync_state,
             info_of(&d->i, d->ic).rcv_switch, info_of(&d->j, d->jc).sync_state,
             info_of(&d->j, d->jc).snd_switch);
}

static void wait_until_sent(struct test_agent *t, int64_t conn)
{
    for (int n = 0; n < 4000 && info_of(t, conn).pending > 0; n++)
        usleep(5000);
}

/* One side begins a new ratchet when the move is at `phase` of `side`. With `away` that is J, which
 * was closed, so that the next step of I is waiting for it. */
static void moved_with_new_ratchet(struct trio *t, enum who side, int32_t phase, enum who begins,
                                   bool away, const char *server)
{
    struct test_agent *a = side == I ? &t->d.i : &t->d.j, *b = begins == I ? &t->d.i : &t->d.j;

    if (away && phase == 0)
        agent_close(&t->d.j);
    start(&t->d.i, t->d.ic, server);
    if (phase > 0)
        (void)reach(a, side == I ? t->d.ic : t->d.jc, phase);
    if (away && phase > 0)
        agent_close(&t->d.j);
    if (away) {
        usleep(30000);
        wait_until_sent(&t->d.i, t->d.ic);
        agent_reopen(&t->d.j);
    }
    assert_int_equal(simplex_agent_sync_ratchet(b->a, begins == I ? t->d.ic : t->d.jc, true),
                     SIMPLEX_OK);
    wait_until_synchronised(&t->d);
    first_words(&t->d.i, t->d.ic, &t->d.j, t->d.jc);
    first_words(&t->d.j, t->d.jc, &t->d.i, t->d.ic);
    wait_until_moved(&t->d);
    talk_both_ways(&t->d, "both done");
    assert_true(quiet(&t->d.i, SIMPLEX_EV_MSG, 10));
    assert_true(quiet(&t->d.j, SIMPLEX_EV_MSG, 10));
    forget_all(&t->d.i);
    forget_all(&t->d.j);
}

static void a_new_ratchet_at_any_phase_does_not_end_the_move(void **state)
{
    struct trio t;
    int n = 0;

    (void)state;
    trio_open(&t, NULL);
    for (enum who side = I; side <= J; side++) {
        for (int32_t phase = 0; phase <= SIMPLEX_SWITCH_SECURED; phase++) {
            for (int who = 0; who < 3; who++) { /* 2: J, which was away */
                if (n % 8 == 7) {               /* a peer's keys are limited in an hour */
                    trio_close(&t);
                    trio_open(&t, NULL);
                }
                moved_with_new_ratchet(&t, side, phase, who == 0 ? I : J, who == 2,
                                       n % 2 == 0 ? t.address : t.d.i_address);
                n++;
            }
        }
    }
    trio_close(&t);
}

/* What J says behind a new ratchet may leave when the old queue is gone, and the new one in use. */
static simplex_rc say_key_again(struct simplex_agent *a, void *arg)
{
    const int64_t *conn = arg;
    struct sx_snd_queue q;
    struct sx_conn c;
    simplex_rc rc = sx_store_conn_get(a->store, *conn, &c);

    if (rc == SIMPLEX_OK)
        rc = sx_store_sndq_of(a->store, c.id, 0, &q);
    if (rc == SIMPLEX_OK)
        rc = sx_send_qkey(a, &c, &q);
    sx_wipe(&q, sizeof q);
    return rc;
}

static void a_key_that_comes_again_through_the_new_queue_is_a_repeat(void **state)
{
    struct trio t;

    (void)state;
    trio_open(&t, NULL);
    start(&t.d.i, t.d.ic, t.address);
    expect_moved(&t.d.i, t.d.ic);
    expect_followed(&t.d.j, t.d.jc);
    assert_int_equal(sx_agent_run(t.d.j.a, say_key_again, &t.d.jc, true), SIMPLEX_OK);
    talk_both_ways(&t.d, "behind it"); /* without an ERR before */
    assert_true(quiet(&t.d.i, SIMPLEX_EV_ERR, 0));
    expect_queues(&t.second, 1);
    start(&t.d.i, t.d.ic, t.d.i_address);
    expect_moved(&t.d.i, t.d.ic);
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
        cmocka_unit_test(restarts_at_every_phase),
        cmocka_unit_test(is_away_at_every_phase),
        cmocka_unit_test(connections_break_at_every_phase),
        cmocka_unit_test(the_network_is_away_at_every_phase),
        cmocka_unit_test(answers_are_lost_at_every_phase),
        cmocka_unit_test(the_new_server_away_holds_nothing_up),
        cmocka_unit_test(the_old_server_gone_ends_the_move_with_an_error),
        cmocka_unit_test(a_server_that_is_not_there_is_replaced_by_another),
        cmocka_unit_test(a_move_is_aborted),
        cmocka_unit_test(what_is_too_late_or_early_is_refused),
        cmocka_unit_test(a_server_that_refuses_ends_the_move),
        cmocka_unit_test(a_connection_is_deleted_while_it_moves),
        cmocka_unit_test(a_new_ratchet_at_any_phase_does_not_end_the_move),
        cmocka_unit_test(a_key_that_comes_again_through_the_new_queue_is_a_repeat),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
