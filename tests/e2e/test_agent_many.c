/* SPDX-License-Identifier: Apache-2.0 */
/* Many connections on one server: what the application is told at once, and sessions that nobody
 * needs. */
#include <stdio.h>

#include "support/agents.h"
#include "support/free_port.h"

#define IDLE_MS 4000 /* who does something every 100 ms must not be as long in doing it */

#define MANY 200
#define FEW 10
#define DELETED 20
#define EACH 5 /* messages */

struct place {
    char dir[256], server_dir[256];
    simplex_server_config cfg;
    struct test_server srv;
};

static void open_place(struct place *p)
{
    memset(p, 0, sizeof *p);
    tmp_make(p->dir);
    tmp_make(p->server_dir);
    simplex_server_config_init(&p->cfg);
    p->cfg.end_flush_ms = 0;
    p->cfg.dir = p->cfg.state_dir = p->server_dir;
    p->cfg.port = free_port();
    p->cfg.messages_in_memory = true;
    server_start(&p->srv, &p->cfg);
}

static void close_place(struct place *p)
{
    server_stop(&p->srv);
    tmp_remove(p->dir);
    tmp_remove(p->server_dir);
}

/* ---- DOWN and UP ---- */

struct told {
    unsigned events;
    int64_t conns[2 * MANY];
    size_t n;
};

static void add(struct told *t, const simplex_event *ev)
{
    size_t n;
    const int64_t *conns = simplex_event_conns(ev, &n);

    t->events++;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < t->n; j++)
            assert_int_not_equal(t->conns[j], conns[i]); /* each is named once */
        assert_true(t->n < SX_COUNT(t->conns));
        t->conns[t->n++] = conns[i];
    }
}

/* Until so many connections were named in events of this kind. */
static struct told told_of(struct test_agent *t, int32_t kind, size_t conns)
{
    struct told told = { .events = 0 };

    while (told.n < conns) {
        simplex_event *ev = wait_event(t, kind, 0);
        assert_non_null(simplex_event_server(ev));
        add(&told, ev);
        simplex_event_free(ev);
    }
    assert_int_equal(told.n, conns);
    return told;
}

/* Nobody would want a screen to blink two hundred times. SUBs leave ten blocks at a time, and an UP
 * follows each: all of these queues are in the first. */
static void comes_back(struct test_agent *t, size_t conns)
{
    assert_int_equal(told_of(t, SIMPLEX_EV_DOWN, conns).events, 1);
    assert_int_equal(told_of(t, SIMPLEX_EV_UP, conns).events, 1);
}

static void delete_all(struct test_agent *t, const int64_t *conns, size_t n)
{
    for (size_t i = 0; i < n; i++)
        must(simplex_agent_delete(t->a, conns[i]));
    for (size_t i = 0; i < n; i++)
        expect(t, SIMPLEX_EV_DEL_CONN, conns[i]);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(simplex_agent_delete(t->a, conns[i]), SIMPLEX_E_NOT_FOUND);
}

static void two_hundred_connections_go_down_and_come_up_at_once(void **state)
{
    struct place p;
    struct test_agent t;
    int64_t conns[MANY];

    (void)state;
    open_place(&p);
    agent_open(&t, p.dir, "many", p.srv.address);
    for (size_t i = 0; i < MANY; i++) {
        must(simplex_agent_create_address(t.a, &conns[i]));
        expect(&t, SIMPLEX_EV_INV, conns[i]);
    }
    simplex_server_drop_connections(p.srv.s);
    comes_back(&t, MANY);
    server_stop(&p.srv);
    server_start(&p.srv, &p.cfg);
    comes_back(&t, MANY);
    delete_all(&t, conns, DELETED);
    server_stop(&p.srv);
    server_start(&p.srv, &p.cfg);
    comes_back(&t, MANY - DELETED);
    delete_all(&t, conns + DELETED, MANY - DELETED);
    server_stop(&p.srv);
    server_start(&p.srv, &p.cfg);
    assert_true(quiet(&t, SIMPLEX_EV_DOWN, 1)); /* nothing is left to be named */
    agent_close(&t);
    close_place(&p);
}

static void messages_that_wait_come_to_all_connections(void **state)
{
    struct place p;
    struct test_agent i, j;
    int64_t ic[FEW], jc[FEW];
    char text[32];

    (void)state;
    open_place(&p);
    agent_open(&i, p.dir, "i", p.srv.address);
    agent_open(&j, p.dir, "j", p.srv.address);
    for (int c = 0; c < FEW; c++)
        connect_agents(&i, &j, SIMPLEX_PQ_OFF, &ic[c], &jc[c]);
    agent_close(&j);
    for (int n = 0; n < FEW * EACH; n++) {
        (void)snprintf(text, sizeof text, "message %d", n / FEW);
        send_text(&i, ic[n % FEW], text);
        expect(&i, SIMPLEX_EV_SENT, ic[n % FEW]);
    }
    server_stop(&p.srv);
    server_start(&p.srv, &p.cfg);
    agent_reopen(&j);
    assert_int_equal(told_of(&j, SIMPLEX_EV_UP, FEW).events, 1);
    for (int n = 0; n < FEW * EACH; n++) {
        (void)snprintf(text, sizeof text, "message %d", n / FEW);
        receive_text(&j, jc[n % FEW], text);
    }
    agent_close(&i);
    agent_close(&j);
    close_place(&p);
}

/* ---- moves ---- */

static void expect_phase(struct test_agent *t, int64_t conn, int32_t direction, int32_t phase)
{
    simplex_event *ev;
    int32_t there, now;

    do {
        ev = wait_event(t, SIMPLEX_EV_SWITCH, conn);
        now = simplex_event_switch(ev, &there);
        assert_int_equal(there, direction);
        simplex_event_free(ev);
    } while (now != phase);
}

/* give_up: one of the two is aborted as soon as its new queue is there, and goes on where it was.
 */
static void two_move(bool two_servers, bool give_up)
{
    struct place p;
    struct test_agent i, j;
    struct test_server other;
    int64_t ic[2], jc[2];

    open_place(&p);
    server_start(&other, NULL);
    agent_open(&i, p.dir, "i", p.srv.address);
    agent_open(&j, p.dir, "j", p.srv.address);
    if (two_servers)
        i.servers[i.n_servers++] = other.address;
    agent_reopen(&i);
    for (int c = 0; c < 2; c++)
        connect_agents(&i, &j, SIMPLEX_PQ_OFF, &ic[c], &jc[c]);
    if (give_up) /* or it would be too late */
        agent_close(&j);
    for (int c = 0; c < 2; c++)
        must(simplex_agent_switch(i.a, ic[c], sx_bytes(NULL, 0)));
    if (give_up) {
        expect_phase(&i, ic[1], SIMPLEX_SWITCH_RCV, SIMPLEX_SWITCH_STARTED);
        must(simplex_agent_abort_switch(i.a, ic[1]));
        expect_phase(&i, ic[1], SIMPLEX_SWITCH_RCV, SIMPLEX_SWITCH_ABORTED);
        i.errors_ok = true; /* the peer's keys for a queue that is gone */
        agent_reopen(&j);
    }
    for (int c = 0; c < 2; c++) {
        if (c == 0 || !give_up) {
            expect_phase(&i, ic[c], SIMPLEX_SWITCH_RCV, SIMPLEX_SWITCH_COMPLETED);
            expect_phase(&j, jc[c], SIMPLEX_SWITCH_SND, SIMPLEX_SWITCH_COMPLETED);
        }
        talk(&i, ic[c], &j, jc[c], "moved?");
        talk(&j, jc[c], &i, ic[c], "as you hear");
    }
    agent_close(&i);
    agent_close(&j);
    server_stop(&other);
    close_place(&p);
}

static void two_connections_move_at_once(void **state)
{
    (void)state;
    two_move(false, false);
    two_move(true, false);
}

static void one_of_two_moves_is_given_up(void **state)
{
    (void)state;
    two_move(false, true);
    two_move(true, true);
}

/* ---- idle sessions ---- */

static void fetch(struct test_agent *t, int64_t conn)
{
    must(simplex_agent_fetch(t->a, &conn, 1));
    expect(t, SIMPLEX_EV_FETCHED, conn);
}

/* The server closes a session that is silent and subscribed to nothing. Who subscribes, or does
 * something now and then, keeps it; who lost it has a new one when there is something to do. */
static void an_idle_session_without_subscriptions_is_closed_until_it_is_needed(void **state)
{
    struct place p;
    struct test_agent idle, subscribed, busy;
    int64_t conn, idle_conn, busy_conn;

    (void)state;
    open_place(&p);
    server_stop(&p.srv);
    p.cfg.inactive_ttl_ms = IDLE_MS;
    p.cfg.inactive_check_ms = 1;
    server_start(&p.srv, &p.cfg);
    agent_open(&idle, p.dir, "idle", p.srv.address);
    agent_open(&subscribed, p.dir, "subscribed", p.srv.address);
    agent_open(&busy, p.dir, "busy", p.srv.address);
    must(simplex_agent_only_create(idle.a, true));
    must(simplex_agent_only_create(busy.a, true));
    must(simplex_agent_create_address(subscribed.a, &conn));
    expect(&subscribed, SIMPLEX_EV_INV, conn);
    must(simplex_agent_create_address(busy.a, &busy_conn));
    expect(&busy, SIMPLEX_EV_INV, busy_conn);
    must(simplex_agent_create_address(idle.a, &idle_conn));
    expect(&idle, SIMPLEX_EV_INV, idle_conn);
    for (int n = 0; n < 2; n++) { /* the second session was made for the fetch, which is over */
        for (int waited = 0; quiet(&idle, SIMPLEX_EV_DISCONNECT, 100); waited++) {
            assert_true(waited < WAIT_MS / 100);
            fetch(&busy, busy_conn);
        }
        fetch(&idle, idle_conn);
    }
    assert_true(quiet(&subscribed, SIMPLEX_EV_DISCONNECT, 1));
    assert_true(quiet(&busy, SIMPLEX_EV_DISCONNECT, 1));
    agent_close(&idle);
    agent_close(&subscribed);
    agent_close(&busy);
    close_place(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_hundred_connections_go_down_and_come_up_at_once),
        cmocka_unit_test(messages_that_wait_come_to_all_connections),
        cmocka_unit_test(two_connections_move_at_once),
        cmocka_unit_test(one_of_two_moves_is_given_up),
        cmocka_unit_test(an_idle_session_without_subscriptions_is_closed_until_it_is_needed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
