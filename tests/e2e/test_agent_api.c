/* SPDX-License-Identifier: Apache-2.0 */
/* What the functions of the agent promise: acknowledging, deleting, callbacks, threads, keys. */
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "agent/agent.h"
#include "support/one_duo.h"

/* ---- acknowledging ---- */

static void the_next_message_comes_after_the_acknowledgement(void **state)
{
    (void)state;
    send_text(&d.i, d.ic, "one");
    send_text(&d.i, d.ic, "two");
    send_text(&d.i, d.ic, "three");
    int64_t one = see_text(&d.j, d.jc, "one");
    assert_true(quiet(&d.j, SIMPLEX_EV_MSG, 200));
    assert_int_equal(simplex_agent_ack(d.j.a, d.jc, one), SIMPLEX_OK);
    int64_t two = see_text(&d.j, d.jc, "two");
    assert_int_equal(two, one + 1);
    assert_int_equal(simplex_agent_ack(d.j.a, d.jc, one), SIMPLEX_OK); /* once more: nothing */
    assert_true(quiet(&d.j, SIMPLEX_EV_MSG, 200));
    assert_int_equal(simplex_agent_ack(d.j.a, d.jc, two), SIMPLEX_OK);
    receive_text(&d.j, d.jc, "three");
}

static void only_received_messages_can_be_acknowledged(void **state)
{
    (void)state;
    send_text(&d.i, d.ic, "one");
    int64_t one = receive_text(&d.j, d.jc, "one");
    assert_int_equal(simplex_agent_ack(d.j.a, d.jc, one + 1), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_ack(d.j.a, d.jc, 0), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_ack(d.j.a, d.jc, -1), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_ack(d.j.a, d.jc + 1, one), SIMPLEX_E_NOT_FOUND);
    talk(&d.j, d.jc, &d.i, d.ic, "still here");
}

static void an_unacknowledged_message_is_shown_again_after_a_restart(void **state)
{
    (void)state;
    send_text(&d.i, d.ic, "one");
    send_text(&d.i, d.ic, "two");
    int64_t one = see_text(&d.j, d.jc, "one");
    for (int n = 0; n < 3; n++) {
        agent_reopen(&d.j);
        assert_int_equal(see_text(&d.j, d.jc, "one"), one);
    }
    assert_true(quiet(&d.j, SIMPLEX_EV_MSG, 150)); /* not twice */
    assert_int_equal(simplex_agent_ack(d.j.a, d.jc, one), SIMPLEX_OK);
    agent_reopen(&d.j);
    assert_int_equal(receive_text(&d.j, d.jc, "two"), one + 1);
    agent_reopen(&d.j);
    assert_true(quiet(&d.j, SIMPLEX_EV_MSG, 150));
}

static void an_unacknowledged_message_is_not_doubled_by_a_reconnection(void **state)
{
    (void)state;
    send_text(&d.i, d.ic, "one");
    expect(&d.i, SIMPLEX_EV_SENT, d.ic);
    int64_t one = see_text(&d.j, d.jc, "one");
    for (int n = 0; n < 3; n++) {
        forwarder_drop(&d.fj);
        expect(&d.j, SIMPLEX_EV_DOWN, 0);
        expect(&d.j, SIMPLEX_EV_UP, 0);
        assert_true(quiet(&d.j, SIMPLEX_EV_MSG, 100));
    }
    assert_int_equal(simplex_agent_ack(d.j.a, d.jc, one), SIMPLEX_OK);
    talk(&d.i, d.ic, &d.j, d.jc, "two");
}

static void a_message_whose_acknowledgement_was_lost_is_not_shown_again(void **state)
{
    (void)state;
    for (int n = 0; n < 3; n++) {
        send_text(&d.i, d.ic, "one");
        expect(&d.i, SIMPLEX_EV_SENT, d.ic);
        int64_t one = see_text(&d.j, d.jc, "one");
        forwarder_set(&d.fj, FORWARD_STALL);
        usleep(50000); /* it does */
        assert_int_equal(simplex_agent_ack(d.j.a, d.jc, one), SIMPLEX_OK);
        usleep(50000); /* it has left, and goes nowhere */
        if (n == 2)
            agent_reopen(&d.j);
        forwarder_set(&d.fj, FORWARD_REFUSE);
        if (n != 2)
            expect(&d.j, SIMPLEX_EV_DOWN, 0);
        forwarder_set(&d.fj, FORWARD);
        expect_server_empty(&d.srv); /* delivered once more and acknowledged */
        assert_true(quiet(&d.j, SIMPLEX_EV_MSG, 100));
        assert_true(quiet(&d.j, SIMPLEX_EV_ERR, 50));
        assert_int_equal(simplex_agent_ack(d.j.a, d.jc, one), SIMPLEX_OK);
    }
    talk(&d.i, d.ic, &d.j, d.jc, "two");
}

/* ---- deleting ---- */

static void expect_deleted(struct test_agent *t, int64_t conn, simplex_rc why)
{
    simplex_event *ev = wait_event(t, SIMPLEX_EV_DEL_RCVQ, conn);

    assert_string_equal(simplex_rc_name(simplex_event_error(ev)), simplex_rc_name(why));
    assert_non_null(simplex_event_server(ev));
    simplex_event_free(ev);
    expect(t, SIMPLEX_EV_DEL_CONN, conn);
}

static void a_deleted_connection_is_gone_on_both_sides(void **state)
{
    simplex_connection_info info = { .size = sizeof info };
    int64_t id;

    (void)state;
    assert_int_equal(server_queues(&d.srv), 2);
    assert_int_equal(simplex_agent_delete(d.i.a, d.ic), SIMPLEX_OK);
    assert_int_equal(simplex_agent_send(d.i.a, d.ic, sx_str("x"), 0, &id), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_connection(d.i.a, d.ic, &info), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_subscribe(d.i.a, d.ic, true), SIMPLEX_E_NOT_FOUND);
    expect_deleted(&d.i, d.ic, SIMPLEX_OK);
    assert_int_equal(simplex_agent_delete(d.i.a, d.ic), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(server_queues(&d.srv), 1);
    expect_gone(&d.j, d.jc);
    expect_gone(&d.j, d.jc); /* and stays away */
    assert_int_equal(simplex_agent_delete(d.j.a, d.jc), SIMPLEX_OK);
    expect_deleted(&d.j, d.jc, SIMPLEX_OK);
    assert_int_equal(server_queues(&d.srv), 0);
    duo_connect(&d); /* the agents are as good as before */
    talk(&d.i, d.ic, &d.j, d.jc, "again");
}

static void deleting_waits_for_a_server_that_is_away(void **state)
{
    (void)state;
    forwarder_set(&d.fi, FORWARD_REFUSE);
    expect(&d.i, SIMPLEX_EV_DOWN, 0);
    assert_int_equal(simplex_agent_delete(d.i.a, d.ic), SIMPLEX_OK);
    assert_true(quiet(&d.i, SIMPLEX_EV_DEL_CONN, 150));
    agent_reopen(&d.i);
    assert_true(quiet(&d.i, SIMPLEX_EV_DEL_CONN, 100));
    forwarder_set(&d.fi, FORWARD);
    expect_deleted(&d.i, d.ic, SIMPLEX_OK);
    assert_int_equal(server_queues(&d.srv), 1);
}

static void deleting_is_given_up_when_the_server_stays_away(void **state)
{
    (void)state;
    d.i.cfg.retry_first = 10;
    d.i.cfg.retry_max = 20;
    d.i.cfg.message_timeout = 500;
    agent_reopen(&d.i);
    expect(&d.i, SIMPLEX_EV_UP, 0);
    forwarder_set(&d.fi, FORWARD_REFUSE);
    expect(&d.i, SIMPLEX_EV_DOWN, 0);
    assert_int_equal(simplex_agent_delete(d.i.a, d.ic), SIMPLEX_OK);
    simplex_event *ev = wait_event(&d.i, SIMPLEX_EV_DEL_RCVQ, d.ic);
    assert_true(simplex_event_error(ev) <= SIMPLEX_E_CONNECT);
    simplex_event_free(ev);
    expect(&d.i, SIMPLEX_EV_DEL_CONN, d.ic);
}

static void a_connection_can_be_deleted_at_every_step(void **state)
{
    simplex_event *ev;

    (void)state;
    d.j.errors_ok = true; /* its queue disappears */
    for (int step = 0; step < 5; step++) {
        assert_int_equal(simplex_agent_create(d.i.a, 0, &d.ic), SIMPLEX_OK);
        d.jc = 0;
        if (step > 0) {
            ev = wait_event(&d.i, SIMPLEX_EV_INV, d.ic);
            if (step > 1)
                assert_int_equal(
                    simplex_agent_join(d.j.a, simplex_event_data(ev), sx_str("J"), 0, &d.jc),
                    SIMPLEX_OK);
            simplex_event_free(ev);
        }
        if (step > 2) {
            ev = wait_event(&d.i, SIMPLEX_EV_CONF, d.ic);
            if (step > 3)
                assert_int_equal(
                    simplex_agent_allow(d.i.a, d.ic, simplex_event_conf(ev), sx_str("I")),
                    SIMPLEX_OK);
            simplex_event_free(ev);
        }
        assert_int_equal(simplex_agent_delete(d.i.a, d.ic), SIMPLEX_OK);
        expect(&d.i, SIMPLEX_EV_DEL_CONN, d.ic);
        if (d.jc != 0) {
            assert_int_equal(simplex_agent_delete(d.j.a, d.jc), SIMPLEX_OK);
            expect(&d.j, SIMPLEX_EV_DEL_CONN, d.jc);
        }
        expect_server_queues(&d.srv, 0);
    }
}

/* ---- callbacks ---- */

struct echo {         /* acknowledges and answers inside the callback */
    simplex_agent *a; /* written before the first message comes */
    pthread_mutex_t lock;
    int connected, messages, wrong;
    simplex_rc close_rc, pull_rc;
};

static void on_echo(void *user, const simplex_event *ev)
{
    struct echo *e = user;
    simplex_event *none;
    int64_t id;
    bool ok = true;

    (void)pthread_mutex_lock(&e->lock);
    if (simplex_event_kind(ev) == SIMPLEX_EV_CON)
        e->connected++;
    if (simplex_event_kind(ev) == SIMPLEX_EV_MSG) {
        int64_t conn = simplex_event_conn(ev);
        ok = simplex_agent_ack(e->a, conn, simplex_event_msg_id(ev)) == SIMPLEX_OK &&
             simplex_agent_send(e->a, conn, simplex_event_data(ev), 0, &id) == SIMPLEX_OK &&
             id > simplex_event_msg_id(ev);
        e->messages++;
        e->close_rc = simplex_agent_close(e->a);
        e->pull_rc = simplex_agent_next_event(e->a, 0, &none);
    }
    e->wrong += !ok || simplex_event_kind(ev) == SIMPLEX_EV_ERR;
    (void)pthread_mutex_unlock(&e->lock);
}

static int echo_count(struct echo *e, int *field)
{
    (void)pthread_mutex_lock(&e->lock);
    int n = *field;
    (void)pthread_mutex_unlock(&e->lock);
    return n;
}

static void echo_open(struct echo *e)
{
    agent_close(&d.j);
    d.j.cfg.on_event = on_echo;
    d.j.cfg.user = e;
    (void)pthread_mutex_lock(&e->lock); /* events wait until the handle is known */
    agent_reopen(&d.j);
    e->a = d.j.a;
    (void)pthread_mutex_unlock(&e->lock);
}

static void a_callback_acknowledges_and_answers(void **state)
{
    enum { N = 60 };
    struct echo e = { .a = NULL };
    simplex_event *ev;

    (void)state;
    assert_int_equal(pthread_mutex_init(&e.lock, NULL), 0);
    echo_open(&e);
    assert_int_equal(simplex_agent_create(d.i.a, 0, &d.ic), SIMPLEX_OK);
    ev = wait_event(&d.i, SIMPLEX_EV_INV, d.ic);
    assert_int_equal(simplex_agent_join(d.j.a, simplex_event_data(ev), sx_str("J"), 0, &d.jc),
                     SIMPLEX_OK);
    simplex_event_free(ev);
    agent_allow(&d.i, d.ic, "I");
    expect(&d.i, SIMPLEX_EV_CON, d.ic);
    for (int n = 0; n < N; n++) {
        send_number(&d.i, d.ic, n);
        if (n == N / 2) /* whatever the callback was doing */
            echo_open(&e);
    }
    for (int n = 0; n < N; n++) {
        receive_number(&d.i, d.ic, n);
        expect(&d.i, SIMPLEX_EV_SENT, d.ic);
    }
    assert_int_equal(echo_count(&e, &e.connected), 1);
    assert_int_equal(echo_count(&e, &e.messages), N);
    assert_int_equal(echo_count(&e, &e.wrong), 0);
    assert_int_equal(e.close_rc, SIMPLEX_E_CALLBACK);
    assert_int_equal(e.pull_rc, SIMPLEX_E_PROHIBITED);
    assert_int_equal(simplex_agent_next_event(d.j.a, 0, &ev), SIMPLEX_E_PROHIBITED);
    agent_close(&d.j);
    (void)pthread_mutex_destroy(&e.lock);
}

/* ---- pulling ---- */

static void pulling_times_out(void **state)
{
    simplex_event *ev;

    (void)state;
    assert_int_equal(simplex_agent_next_event(d.i.a, 0, &ev), SIMPLEX_E_NO_EVENT);
    assert_null(ev);
    int64_t before = sx_mono_ms();
    assert_int_equal(simplex_agent_next_event(d.i.a, 120, &ev), SIMPLEX_E_NO_EVENT);
    assert_in_range(sx_mono_ms() - before, 110, WAIT_MS);
    assert_int_equal(simplex_agent_next_event(NULL, 0, &ev), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_next_event(d.i.a, 0, NULL), SIMPLEX_E_ARG);
}

static void an_event_not_freed_is_shown_again_after_a_restart(void **state)
{
    simplex_event *ev;

    (void)state;
    assert_int_equal(simplex_agent_create(d.i.a, 0, &d.ic), SIMPLEX_OK);
    for (int n = 0; n < 50; n++) { /* made, and not pulled */
        simplex_connection_info info = { .size = sizeof info };
        assert_int_equal(simplex_agent_connection(d.i.a, d.ic, &info), SIMPLEX_OK);
        if (info.state == SIMPLEX_CONN_INVITED)
            break;
        usleep(10000);
    }
    agent_reopen(&d.i);
    ev = wait_event(&d.i, SIMPLEX_EV_INV, d.ic);
    assert_true(simplex_event_data(ev).len > 100);
    simplex_event_free(ev);
    agent_reopen(&d.i);
    assert_true(quiet(&d.i, SIMPLEX_EV_INV, 100));
}

/* Until everything of the connection was sent and its last id is `last`. */
static void wait_until_settled(struct test_agent *t, int64_t conn, int64_t last)
{
    simplex_connection_info info = { .size = sizeof info };

    for (int ms = 0; ms < WAIT_MS; ms += 10) {
        assert_int_equal(simplex_agent_connection(t->a, conn, &info), SIMPLEX_OK);
        if (info.pending == 0 && info.last_msg_id >= last)
            return;
        usleep(10000);
    }
    fail_msg("connection %d stays at %d", (int)conn, (int)info.last_msg_id);
}

/* The next SENT or MSG. */
static void assert_next(struct test_agent *t, int32_t kind, int64_t conn, int64_t msg_id)
{
    simplex_event *ev = NULL;
    bool durable = false;

    while (!durable) {
        assert_int_equal(simplex_agent_next_event(t->a, WAIT_MS, &ev), SIMPLEX_OK);
        int32_t k = simplex_event_kind(ev);
        durable = k == SIMPLEX_EV_MSG || k == SIMPLEX_EV_SENT;
        if (durable) {
            assert_int_equal(k, kind);
            assert_int_equal(simplex_event_conn(ev), conn);
            assert_int_equal(simplex_event_msg_id(ev), msg_id);
        }
        simplex_event_free(ev);
    }
}

static void messages_and_other_events_keep_their_order_over_restarts(void **state)
{
    (void)state;
    int64_t ic = d.ic, jc = d.jc;
    duo_connect(&d);
    int64_t x = send_text(&d.j, jc, "x"); /* nothing is pulled from here on */
    wait_until_settled(&d.j, jc, x);
    int64_t y = send_text(&d.j, d.jc, "y"), a = y + 1, b = x + 1;
    wait_until_settled(&d.j, d.jc, y);
    send_text(&d.i, d.ic, "a");
    wait_until_settled(&d.j, d.jc, a);
    int64_t z = send_text(&d.j, d.jc, "z");
    wait_until_settled(&d.j, d.jc, z);
    send_text(&d.i, ic, "b");
    wait_until_settled(&d.j, jc, b);
    agent_reopen(&d.j);
    assert_next(&d.j, SIMPLEX_EV_SENT, jc, x);
    assert_next(&d.j, SIMPLEX_EV_SENT, d.jc, y);
    assert_next(&d.j, SIMPLEX_EV_MSG, d.jc, a);
    assert_next(&d.j, SIMPLEX_EV_SENT, d.jc, z);
    assert_next(&d.j, SIMPLEX_EV_MSG, jc, b);
    z = send_text(&d.j, d.jc, "new"); /* its number is behind those of the messages that wait */
    wait_until_settled(&d.j, d.jc, z);
    assert_next(&d.j, SIMPLEX_EV_SENT, d.jc, z);
    for (int n = 0; n < 2; n++) { /* handled but not acknowledged: shown again, as before */
        agent_reopen(&d.j);
        assert_next(&d.j, SIMPLEX_EV_MSG, d.jc, a);
        assert_next(&d.j, SIMPLEX_EV_MSG, jc, b);
    }
    assert_int_equal(simplex_agent_ack(d.j.a, d.jc, a), SIMPLEX_OK);
    agent_reopen(&d.j);
    assert_next(&d.j, SIMPLEX_EV_MSG, jc, b);
    assert_int_equal(simplex_agent_ack(d.j.a, jc, b), SIMPLEX_OK);
    agent_reopen(&d.j);
    assert_true(quiet(&d.j, SIMPLEX_EV_MSG, 200));
}

/* ---- threads ---- */

enum { THREADS = 4, EACH = 25 };

struct sender {
    pthread_t thread;
    int64_t ids[EACH];
    simplex_rc rc;
};

static void *send_many(void *arg)
{
    struct sender *s = arg;
    simplex_connection_info info = { .size = sizeof info };
    int64_t list[4];

    for (int n = 0; n < EACH && s->rc == SIMPLEX_OK; n++) {
        size_t room = SX_COUNT(list);
        s->rc = simplex_agent_send(d.i.a, d.ic, sx_str("threads"), 0, &s->ids[n]);
        if (s->rc == SIMPLEX_OK)
            s->rc = simplex_agent_connection(d.i.a, d.ic, &info);
        if (s->rc == SIMPLEX_OK)
            s->rc = simplex_agent_connections(d.i.a, 0, list, &room);
        if (s->rc == SIMPLEX_OK && (room != 1 || info.last_msg_id < s->ids[n]))
            s->rc = SIMPLEX_E_INTERNAL;
    }
    return NULL;
}

static void many_threads_may_call_at_once(void **state)
{
    struct sender s[THREADS];
    bool seen[THREADS * EACH] = { false };

    (void)state;
    memset(s, 0, sizeof s);
    for (int n = 0; n < THREADS; n++) {
        assert_int_equal(pthread_create(&s[n].thread, NULL, send_many, &s[n]), 0);
    }
    for (int n = 0; n < THREADS * EACH; n++)
        receive_text(&d.j, d.jc, "threads");
    for (int n = 0; n < THREADS; n++) {
        assert_int_equal(pthread_join(s[n].thread, NULL), 0);
        assert_int_equal(s[n].rc, SIMPLEX_OK);
        for (int k = 0; k < EACH; k++) {
            assert_in_range(s[n].ids[k], 2, THREADS * EACH + 1);
            assert_false(seen[s[n].ids[k] - 2]);
            seen[s[n].ids[k] - 2] = true;
        }
    }
}

static void *pull_to_the_end(void *arg)
{
    simplex_agent *a = arg;
    simplex_event *ev;
    simplex_rc rc;

    while ((rc = simplex_agent_next_event(a, -1, &ev)) == SIMPLEX_OK)
        simplex_event_free(ev);
    return (void *)(intptr_t)rc;
}

/* Nobody may begin a call on an agent that is being closed: all of them are inside, and no event
 * is to come that would let one out again. */
static void wait_inside(simplex_agent *a, unsigned n)
{
    unsigned inside = 0;

    for (int ms = 0; ms < WAIT_MS && inside != n; ms++) {
        usleep(1000);
        uv_mutex_lock(&a->lock);
        inside = a->inside;
        uv_mutex_unlock(&a->lock);
    }
    assert_int_equal(inside, n);
}

static void closing_ends_what_waits(void **state)
{
    pthread_t threads[3];
    void *rc;

    (void)state;
    for (int round = 0; round < 5; round++) {
        agent_reopen(&d.i);
        expect(&d.i, SIMPLEX_EV_UP, 0); /* the last that it has to tell */
        for (size_t n = 0; n < SX_COUNT(threads); n++)
            assert_int_equal(pthread_create(&threads[n], NULL, pull_to_the_end, d.i.a), 0);
        wait_inside(d.i.a, SX_COUNT(threads));
        agent_close(&d.i);
        for (size_t n = 0; n < SX_COUNT(threads); n++) {
            assert_int_equal(pthread_join(threads[n], &rc), 0);
            assert_int_equal((simplex_rc)(intptr_t)rc, SIMPLEX_E_CLOSED);
        }
    }
}

/* ---- the database ---- */

static void the_key_of_the_database_can_be_changed(void **state)
{
    static const simplex_bytes next = { (const uint8_t *)"FEDCBA9876543210fedcba9876543210", 32 };
    simplex_agent *a;

    (void)state;
    simplex_bytes old = d.i.cfg.db_key;
    assert_int_equal(simplex_agent_rekey(d.i.a, next, true), SIMPLEX_OK);
    talk(&d.i, d.ic, &d.j, d.jc, "under a new key");
    agent_close(&d.i);
    assert_int_equal(simplex_agent_open(&d.i.cfg, &a), SIMPLEX_E_DB_KEY);
    assert_null(a);
    d.i.cfg.db_key = next;
    agent_reopen(&d.i);
    talk(&d.j, d.jc, &d.i, d.ic, "opened with it");
    assert_int_equal(simplex_agent_rekey(d.i.a, sx_str("a passphrase"), false), SIMPLEX_OK);
    agent_close(&d.i);
    assert_int_equal(simplex_agent_open(&d.i.cfg, &a), SIMPLEX_E_DB_KEY);
    d.i.cfg.db_key = sx_str("a passphrase");
    d.i.cfg.db_raw_key = false;
    agent_reopen(&d.i);
    talk(&d.j, d.jc, &d.i, d.ic, "and with a passphrase");
    assert_int_equal(simplex_agent_rekey(d.i.a, sx_bytes(old.ptr, 31), true), SIMPLEX_E_ARG);
}

static void what_cannot_be_opened_is_told_apart(void **state)
{
    simplex_agent *a;
    char path[300];

    (void)state;
    assert_int_equal(simplex_agent_open(&d.i.cfg, &a), SIMPLEX_E_DB_LOCKED);
    agent_close(&d.i);
    simplex_agent_config cfg = d.i.cfg;
    cfg.db_key = sx_str("another key, 32 characters long!");
    assert_int_equal(simplex_agent_open(&cfg, &a), SIMPLEX_E_DB_KEY);
    (void)snprintf(path, sizeof path, "%s/text", d.dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (int n = 0; n < 1000; n++)
        assert_true(fputs("this is not a database\n", f) >= 0);
    assert_int_equal(fclose(f), 0);
    cfg.db_path = path;
    assert_int_equal(simplex_agent_open(&cfg, &a), SIMPLEX_E_DB_KEY);
    cfg.db_path = "/nonexistent/folder/agent.db";
    assert_int_equal(simplex_agent_open(&cfg, &a), SIMPLEX_E_DB_IO);
    agent_reopen(&d.i); /* none of it did any harm */
    duo_connect(&d);
}

static void wrong_arguments_are_refused(void **state)
{
    simplex_agent *a;
    int64_t id;

    (void)state;
    simplex_agent_config cfg = d.i.cfg;
    cfg.size = 8;
    assert_int_equal(simplex_agent_open(&cfg, &a), SIMPLEX_E_ARG);
    cfg = d.i.cfg;
    cfg.db_key.len = 31;
    assert_int_equal(simplex_agent_open(&cfg, &a), SIMPLEX_E_ARG);
    cfg = d.i.cfg;
    cfg.db_path = NULL;
    assert_int_equal(simplex_agent_open(&cfg, &a), SIMPLEX_E_ARG);
    cfg = d.i.cfg;
    const char *bad[] = { "https://example.com" };
    char path[300];
    (void)snprintf(path, sizeof path, "%s/other.db", d.dir);
    cfg.db_path = path;
    cfg.servers = bad;
    assert_int_equal(simplex_agent_open(&cfg, &a), SIMPLEX_E_ADDRESS);
    assert_int_equal(simplex_agent_open(NULL, &a), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_create(NULL, 0, &id), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_create(d.i.a, 3, &id), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_send(d.i.a, 1, sx_str("x"), 8, &id), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_send(d.i.a, 1, sx_bytes(NULL, 5), 0, &id), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_send(d.i.a, 1, sx_str("x"), 0, &id), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_close(NULL), SIMPLEX_OK);
    simplex_event_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_next_message_comes_after_the_acknowledgement,
                                        connected_duo, close_duo),
        cmocka_unit_test_setup_teardown(only_received_messages_can_be_acknowledged, connected_duo,
                                        close_duo),
        cmocka_unit_test_setup_teardown(an_unacknowledged_message_is_shown_again_after_a_restart,
                                        connected_duo, close_duo),
        cmocka_unit_test_setup_teardown(an_unacknowledged_message_is_not_doubled_by_a_reconnection,
                                        connected_duo, close_duo),
        cmocka_unit_test_setup_teardown(a_message_whose_acknowledgement_was_lost_is_not_shown_again,
                                        connected_duo, close_duo),
        cmocka_unit_test_setup_teardown(a_deleted_connection_is_gone_on_both_sides, connected_duo,
                                        close_duo),
        cmocka_unit_test_setup_teardown(deleting_waits_for_a_server_that_is_away, connected_duo,
                                        close_duo),
        cmocka_unit_test_setup_teardown(deleting_is_given_up_when_the_server_stays_away,
                                        connected_duo, close_duo),
        cmocka_unit_test_setup_teardown(a_connection_can_be_deleted_at_every_step, opened_duo,
                                        close_duo),
        cmocka_unit_test_setup_teardown(a_callback_acknowledges_and_answers, opened_duo, close_duo),
        cmocka_unit_test_setup_teardown(pulling_times_out, opened_duo, close_duo),
        cmocka_unit_test_setup_teardown(an_event_not_freed_is_shown_again_after_a_restart,
                                        opened_duo, close_duo),
        cmocka_unit_test_setup_teardown(messages_and_other_events_keep_their_order_over_restarts,
                                        connected_duo, close_duo),
        cmocka_unit_test_setup_teardown(many_threads_may_call_at_once, connected_duo, close_duo),
        cmocka_unit_test_setup_teardown(closing_ends_what_waits, connected_duo, close_duo),
        cmocka_unit_test_setup_teardown(the_key_of_the_database_can_be_changed, connected_duo,
                                        close_duo),
        cmocka_unit_test_setup_teardown(what_cannot_be_opened_is_told_apart, opened_duo, close_duo),
        cmocka_unit_test_setup_teardown(wrong_arguments_are_refused, opened_duo, close_duo),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
