/* SPDX-License-Identifier: Apache-2.0 */
/* The server away, full, forgetful, or serving somebody else: what was begun is finished later, in
 * order, once, or the application is told. */
#include <stdio.h>
#include <unistd.h>

#include <inttypes.h>
#include "support/agents.h"
#include "support/free_port.h"
#include "store/store.h"

/* ---- UP and DOWN ---- */

static void expect_conns(struct test_agent *t, int32_t kind, int64_t one, int64_t two)
{
    size_t n;
    simplex_event *ev = wait_event(t, kind, 0);
    const int64_t *conns = simplex_event_conns(ev, &n);

    assert_non_null(simplex_event_server(ev));
    assert_int_equal(n, 2);
    assert_true((conns[0] == one && conns[1] == two) || (conns[0] == two && conns[1] == one));
    simplex_event_free(ev);
}

static void down_and_up_name_the_connections(void **state)
{
    struct duo d;
    int64_t first_i, first_j;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    first_i = d.ic;
    first_j = d.jc;
    duo_connect(&d);
    for (int n = 0; n < 3; n++) {
        simplex_server_drop_connections(d.srv.s);
        expect_conns(&d.i, SIMPLEX_EV_DOWN, first_i, d.ic);
        expect_conns(&d.i, SIMPLEX_EV_UP, first_i, d.ic);
        expect_conns(&d.j, SIMPLEX_EV_DOWN, first_j, d.jc);
        expect_conns(&d.j, SIMPLEX_EV_UP, first_j, d.jc);
        talk(&d.i, d.ic, &d.j, d.jc, "up again");
        talk(&d.j, first_j, &d.i, first_i, "up again");
    }
    duo_close(&d);
}

static void a_connection_is_made_when_the_server_appears(void **state)
{
    struct duo d;
    simplex_event *ev;

    (void)state;
    duo_open(&d, NULL);
    duo_ways(&d, FORWARD_REFUSE);
    assert_int_equal(simplex_agent_create(d.i.a, 0, &d.ic), SIMPLEX_OK);
    ev = wait_event(&d.i, SIMPLEX_EV_DISCONNECT, 0);
    assert_true(simplex_event_error(ev) <= SIMPLEX_E_CONNECT);
    simplex_event_free(ev);
    assert_true(quiet(&d.i, SIMPLEX_EV_INV, 100));
    forwarder_set(&d.fi, FORWARD);
    ev = wait_event(&d.i, SIMPLEX_EV_INV, d.ic); /* by itself */
    assert_int_equal(simplex_agent_join(d.j.a, simplex_event_data(ev), sx_str("J"), 0, &d.jc),
                     SIMPLEX_OK);
    simplex_event_free(ev);
    assert_true(quiet(&d.i, SIMPLEX_EV_CONF, 100));
    forwarder_set(&d.fj, FORWARD);
    expect(&d.i, SIMPLEX_EV_CONF, d.ic);
    duo_close(&d);
}

/* ---- messages ---- */

static void messages_wait_for_the_server_and_keep_their_order(void **state)
{
    enum { N = 30 };
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    forwarder_set(&d.fj, FORWARD_REFUSE);
    expect(&d.i, SIMPLEX_EV_DISCONNECT, 0);
    for (int n = 0; n < N; n++) {
        send_number(&d.i, d.ic, n);
        if (n == N / 2)
            agent_reopen(&d.i);
    }
    assert_true(quiet(&d.i, SIMPLEX_EV_SENT, 50));
    simplex_connection_info info = { .size = sizeof info };
    assert_int_equal(simplex_agent_connection(d.i.a, d.ic, &info), SIMPLEX_OK);
    assert_int_equal(info.pending, N);
    forwarder_set(&d.fj, FORWARD);
    for (int n = 0; n < N; n++) {
        receive_number(&d.j, d.jc, n);
        expect(&d.i, SIMPLEX_EV_SENT, d.ic);
    }
    duo_close(&d);
}

/* Somebody in between, or a portal: not the server, so nothing it does may count as an answer. */
static void an_impostor_costs_no_message(void **state)
{
    struct duo d;
    struct test_server other;
    simplex_event *ev;

    (void)state;
    duo_open(&d, NULL);
    server_start(&other, NULL);
    duo_connect(&d);
    forwarder_aim(&d.fj, simplex_server_port(other.s));
    expect(&d.i, SIMPLEX_EV_DISCONNECT, 0);
    for (int n = 0; n < 3; n++)
        send_text(&d.i, d.ic, "for the right server");
    ev = wait_event(&d.i, SIMPLEX_EV_MWARN, d.ic);
    assert_int_equal(simplex_event_error(ev), SIMPLEX_E_FINGERPRINT);
    simplex_event_free(ev);
    assert_true(quiet(&d.i, SIMPLEX_EV_MERR, 300));
    assert_true(quiet(&d.j, SIMPLEX_EV_ERR, 50)); /* its subscription waits as well */
    forwarder_aim(&d.fj, simplex_server_port(d.srv.s));
    for (int n = 0; n < 3; n++) {
        receive_text(&d.j, d.jc, "for the right server");
        expect(&d.i, SIMPLEX_EV_SENT, d.ic);
    }
    server_stop(&other);
    duo_close(&d);
}

static void a_message_whose_answer_was_lost_arrives_once(void **state)
{
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    d.i.cfg.command_timeout = 150;
    agent_reopen(&d.i);
    duo_connect(&d);
    for (int n = 0; n < 3; n++) {
        forwarder_set(&d.fj, FORWARD_STALL);
        send_text(&d.i, d.ic, "once");
        usleep(400000); /* tried again: the server will see it twice */
        forwarder_set(&d.fj, FORWARD);
        receive_text(&d.j, d.jc, "once");
        expect(&d.i, SIMPLEX_EV_SENT, d.ic);
        assert_true(quiet(&d.j, SIMPLEX_EV_MSG, 100));
    }
    talk(&d.j, d.jc, &d.i, d.ic, "and back");
    talk(&d.i, d.ic, &d.j, d.jc, "and forth");
    duo_close(&d);
}

static void messages_expire(void **state)
{
    struct duo d;
    int64_t ids[3], first, last;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    d.i.cfg.message_timeout = 300;
    agent_reopen(&d.i);
    forwarder_set(&d.fj, FORWARD_REFUSE);
    for (int n = 0; n < 3; n++)
        ids[n] = send_text(&d.i, d.ic, "too late");
    for (int n = 0; n < 3; n++) {
        simplex_event *ev = wait_event(&d.i, SIMPLEX_EV_MERR, d.ic);
        assert_int_equal(simplex_event_msg_id(ev), ids[n]);
        assert_true(simplex_event_error(ev) <= SIMPLEX_E_CONNECT);
        simplex_event_free(ev);
    }
    forwarder_set(&d.fj, FORWARD);
    d.i.cfg.message_timeout = 0;
    agent_reopen(&d.i);
    send_text(&d.i, d.ic, "in time");
    simplex_event *ev = wait_event(&d.j, SIMPLEX_EV_MSG, d.jc);
    vec_assert_eq(simplex_event_data(ev), sx_str("in time"), "message");
    assert_int_equal(simplex_event_integrity(ev, &first, &last), SIMPLEX_MSG_SKIPPED);
    assert_int_equal(first, 2);
    assert_int_equal(last, 4);
    assert_int_equal(simplex_agent_ack(d.j.a, d.jc, simplex_event_msg_id(ev)), SIMPLEX_OK);
    simplex_event_free(ev);
    expect(&d.i, SIMPLEX_EV_SENT, d.ic);
    talk(&d.i, d.ic, &d.j, d.jc, "no gap any more");
    duo_close(&d);
}

/* ---- quota ---- */

static simplex_server_config small_server(void)
{
    simplex_server_config cfg;

    simplex_server_config_init(&cfg);
    cfg.end_flush_ms = 0;
    cfg.quota = 4;
    return cfg;
}

/* J goes, and its queue has all its room: what J acknowledged last counts as long as the server has
 * not heard of it. */
static void leave_an_empty_queue(struct duo *d)
{
    expect_server_empty(&d->srv);
    agent_close(&d->j);
}

static void expect_quota_warning(struct test_agent *t, int64_t conn, int64_t msg_id)
{
    simplex_event *ev = wait_event(t, SIMPLEX_EV_MWARN, conn);

    assert_int_equal(simplex_event_msg_id(ev), msg_id);
    assert_int_equal(simplex_event_error(ev), SIMPLEX_E_SERVER);
    assert_string_equal(simplex_event_detail(ev), "QUOTA");
    simplex_event_free(ev);
}

static void a_full_queue_goes_on_when_its_reader_is_back(void **state)
{
    enum { N = 11 };
    simplex_server_config cfg = small_server();
    struct duo d;

    (void)state;
    duo_open(&d, &cfg);
    d.i.cfg.quota_retry_first = 3600000; /* only QCONT can help */
    agent_reopen(&d.i);
    duo_connect(&d);
    for (int round = 0; round < 2; round++) {
        int64_t fifth = 0;
        leave_an_empty_queue(&d);
        for (int n = 0; n < N; n++) {
            int64_t id = send_number(&d.i, d.ic, n);
            if (n == 4)
                fifth = id;
        }
        expect_quota_warning(&d.i, d.ic, fifth);
        agent_reopen(&d.j);
        for (int n = 0; n < N; n++) {
            receive_number(&d.j, d.jc, n);
            if (n == 4)
                expect(&d.i, SIMPLEX_EV_QCONT, d.ic);
        }
        for (int n = 0; n < N; n++)
            expect(&d.i, SIMPLEX_EV_SENT, d.ic);
    }
    talk(&d.j, d.jc, &d.i, d.ic, "done");
    duo_close(&d);
}

/* Each time the reader acknowledges the marker of the full queue and tells the sender to go on,
 * over two sessions: the sender must not find the queue still full and be told nothing more. */
static void a_queue_that_is_full_again_and_again_stops_nobody(void **state)
{
    enum { N = 400 };
    simplex_server_config cfg = small_server();
    struct duo d;

    (void)state;
    duo_open(&d, &cfg);
    d.i.cfg.quota_retry_first = 3600000;
    agent_reopen(&d.i);
    duo_connect(&d);
    for (int n = 0; n < N; n++)
        send_text(&d.i, d.ic, "on and on");
    for (int n = 0; n < N; n++)
        receive_text(&d.j, d.jc, "on and on");
    duo_close(&d);
}

static void a_restart_does_not_lose_a_message_that_waits_for_room(void **state)
{
    enum { N = 7 };
    simplex_server_config cfg = small_server();
    struct duo d;

    (void)state;
    duo_open(&d, &cfg);
    duo_connect(&d);
    agent_close(&d.j);
    for (int n = 0; n < N; n++) {
        send_number(&d.i, d.ic, n);
    }
    expect(&d.i, SIMPLEX_EV_MWARN, d.ic);
    agent_reopen(&d.i);
    agent_reopen(&d.j);
    for (int n = 0; n < N; n++) {
        receive_number(&d.j, d.jc, n);
    }
    duo_close(&d);
}

static void a_queue_that_stays_full_fails_its_messages(void **state)
{
    simplex_server_config cfg = small_server();
    struct duo d;
    int64_t ids[6];

    (void)state;
    duo_open(&d, &cfg);
    duo_connect(&d);
    d.i.cfg.quota_retry_first = 100;
    d.i.cfg.quota_timeout = 400;
    agent_reopen(&d.i);
    leave_an_empty_queue(&d);
    for (int n = 0; n < 6; n++)
        ids[n] = send_text(&d.i, d.ic, "x");
    for (int n = 4; n < 6; n++) {
        simplex_event *ev = wait_event(&d.i, SIMPLEX_EV_MERR, d.ic);
        assert_int_equal(simplex_event_msg_id(ev), ids[n]);
        simplex_event_free(ev);
    }
    agent_reopen(&d.j);
    for (int n = 0; n < 4; n++)
        receive_text(&d.j, d.jc, "x");
    duo_close(&d);
}

/* ---- a message that the application cannot take ---- */

/* As if it had been delivered so often, the first time so long ago. */
static void pretend(const struct test_agent *t, int attempts, int64_t ago_ms)
{
    struct sx_store_cfg cfg = { .path = t->db, .key = sx_str(AGENT_KEY), .raw_key = true };
    struct sx_store *s;
    char sql[200];

    (void)snprintf(sql, sizeof sql, "UPDATE rcv_messages SET attempts = %d, rcv_ts = %" PRId64,
                   attempts, sx_now_ms() - ago_ms);
    assert_int_equal(sx_store_open(&cfg, &s), SIMPLEX_OK);
    assert_int_equal(sx_store_exec(s, sql), SIMPLEX_OK);
    sx_store_close(s);
}

static void a_message_that_is_never_acknowledged_is_dropped_in_the_end(void **state)
{
    enum { DAY = 24 * 3600 * 1000 };
    static const struct {
        int attempts;
        int64_t ago;
        bool drops;
    } cases[] = { { 7, 2LL * DAY, false }, { 8, DAY / 2, false }, { 8, DAY, true } };
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    send_text(&d.i, d.ic, "poison");
    send_text(&d.i, d.ic, "behind it");
    simplex_event *ev = wait_event(&d.j, SIMPLEX_EV_MSG, d.jc);
    int64_t poison = simplex_event_msg_id(ev);
    simplex_event_free(ev);
    for (size_t n = 0; n < sizeof cases / sizeof cases[0]; n++) {
        agent_close(&d.j);
        pretend(&d.j, cases[n].attempts, cases[n].ago);
        agent_reopen(&d.j);
        if (!cases[n].drops) {
            expect(&d.j, SIMPLEX_EV_UP, 0);
            expect(&d.j, SIMPLEX_EV_MSG, d.jc);
            assert_true(quiet(&d.j, SIMPLEX_EV_ERR, 300));
        }
    }
    ev = wait_event(&d.j, SIMPLEX_EV_ERR, d.jc);
    assert_int_equal(simplex_event_error(ev), SIMPLEX_E_TIMEOUT);
    assert_int_equal(simplex_event_msg_id(ev), poison);
    simplex_event_free(ev);
    for (int n = 0; n < 2; n++) { /* the first may have been shown once more before */
        ev = wait_event(&d.j, SIMPLEX_EV_MSG, d.jc);
        bool behind = sx_bytes_eq(simplex_event_data(ev), sx_str("behind it"));
        assert_int_equal(simplex_agent_ack(d.j.a, d.jc, simplex_event_msg_id(ev)), SIMPLEX_OK);
        simplex_event_free(ev);
        if (behind)
            break;
        assert_int_equal(n, 0);
    }
    send_text(&d.i, d.ic, "on it goes");
    receive_text(&d.j, d.jc, "on it goes");
    duo_close(&d);
}

/* ---- somebody else has the queue ---- */

/* The database "copy". J is closed then. */
static void copy_of_j(struct duo *d)
{
    char path[300];

    agent_close(&d->j);
    (void)snprintf(path, sizeof path, "%s/copy.db", d->dir);
    copy_file(d->j.db, path);
}

static void a_copy_of_the_database_takes_the_subscriptions_over(void **state)
{
    struct duo d;
    struct test_agent copy;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    copy_of_j(&d);
    agent_reopen(&d.j);
    expect(&d.j, SIMPLEX_EV_UP, 0); /* or the copy might be there before it */
    talk(&d.j, d.jc, &d.i, d.ic, "the first one");
    agent_open(&copy, d.dir, "copy", d.j_address);
    expect(&d.j, SIMPLEX_EV_END, d.jc);
    assert_true(quiet(&copy, SIMPLEX_EV_END, 100)); /* they do not fight */
    assert_int_equal(simplex_agent_subscribe(d.j.a, d.jc, true), SIMPLEX_OK);
    expect(&copy, SIMPLEX_EV_END, d.jc);
    talk(&d.i, d.ic, &d.j, d.jc, "back again");
    agent_close(&copy);
    duo_close(&d);
}

/* It says on which server the queue is or was. */
static void expect_of_j(struct test_agent *t, const struct duo *d, int32_t kind)
{
    simplex_event *ev = wait_event(t, kind, d->jc);

    assert_non_null(simplex_event_server(ev));
    assert_non_null(strstr(d->j_address, simplex_event_server(ev)));
    simplex_event_free(ev);
}

static void another_client_deletes_the_queue(void **state)
{
    struct duo d;
    struct test_agent copy;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    copy_of_j(&d);
    agent_open(&copy, d.dir, "copy", d.j_address);
    expect(&copy, SIMPLEX_EV_UP, 0);
    agent_reopen(&d.j);
    expect_of_j(&copy, &d, SIMPLEX_EV_END);
    assert_int_equal(simplex_agent_delete(copy.a, d.jc), SIMPLEX_OK);
    expect(&copy, SIMPLEX_EV_DEL_CONN, d.jc);
    expect_of_j(&d.j, &d, SIMPLEX_EV_DELD);
    agent_close(&copy);
    duo_close(&d);
}

static void a_used_link_is_refused(void **state)
{
    struct duo d;
    struct test_agent late;
    char link[4096];
    size_t len = sizeof link;
    int64_t conn;

    (void)state;
    duo_open(&d, NULL);
    agent_open(&late, d.dir, "late", d.j_address);
    assert_int_equal(simplex_agent_create(d.i.a, 0, &d.ic), SIMPLEX_OK);
    expect(&d.i, SIMPLEX_EV_INV, d.ic);
    assert_int_equal(simplex_agent_link(d.i.a, d.ic, link, &len), SIMPLEX_OK);
    assert_int_equal(simplex_agent_join(d.j.a, sx_bytes(link, len), sx_str("J"), 0, &d.jc),
                     SIMPLEX_OK);
    expect(&d.i, SIMPLEX_EV_CONF, d.ic);
    assert_int_equal(simplex_agent_join(late.a, sx_bytes(link, len), sx_str("L"), 0, &conn),
                     SIMPLEX_OK);
    simplex_event *ev = wait_event(&late, SIMPLEX_EV_ERR, conn);
    assert_int_equal(simplex_event_error(ev), SIMPLEX_E_SERVER);
    assert_string_equal(simplex_event_detail(ev), "AUTH");
    simplex_event_free(ev);
    assert_true(quiet(&late, SIMPLEX_EV_JOINED, 50));
    assert_int_equal(simplex_agent_delete(late.a, conn), SIMPLEX_OK);
    expect(&late, SIMPLEX_EV_DEL_CONN, conn);
    agent_close(&late);
    duo_close(&d);
}

/* ---- the server forgets everything ---- */

static void a_server_that_lost_its_queues_is_told_of(void **state)
{
    struct duo d;
    simplex_server_config cfg;
    char dir[256];

    (void)state;
    tmp_make(dir);
    simplex_server_config_init(&cfg);
    cfg.end_flush_ms = 0;
    cfg.dir = dir;
    cfg.port = free_port();
    duo_open(&d, &cfg);
    duo_connect(&d);
    server_stop(&d.srv);
    expect(&d.i, SIMPLEX_EV_DOWN, 0);
    int64_t id = send_text(&d.i, d.ic, "lost");
    server_start(&d.srv, &cfg);
    d.i.errors_ok = d.j.errors_ok = true;
    simplex_event *ev = wait_event(&d.i, SIMPLEX_EV_MERR, d.ic);
    assert_int_equal(simplex_event_msg_id(ev), id);
    assert_string_equal(simplex_event_detail(ev), "AUTH");
    simplex_event_free(ev);
    ev = wait_event(&d.j, SIMPLEX_EV_ERR, d.jc);
    assert_int_equal(simplex_event_error(ev), SIMPLEX_E_SERVER);
    assert_string_equal(simplex_event_detail(ev), "AUTH");
    simplex_event_free(ev);
    duo_connect(&d); /* and new connections work */
    talk(&d.i, d.ic, &d.j, d.jc, "new");
    duo_close(&d);
    tmp_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(down_and_up_name_the_connections),
        cmocka_unit_test(a_connection_is_made_when_the_server_appears),
        cmocka_unit_test(messages_wait_for_the_server_and_keep_their_order),
        cmocka_unit_test(an_impostor_costs_no_message),
        cmocka_unit_test(a_message_whose_answer_was_lost_arrives_once),
        cmocka_unit_test(messages_expire),
        cmocka_unit_test(a_full_queue_goes_on_when_its_reader_is_back),
        cmocka_unit_test(a_queue_that_is_full_again_and_again_stops_nobody),
        cmocka_unit_test(a_restart_does_not_lose_a_message_that_waits_for_room),
        cmocka_unit_test(a_queue_that_stays_full_fails_its_messages),
        cmocka_unit_test(a_copy_of_the_database_takes_the_subscriptions_over),
        cmocka_unit_test(a_message_that_is_never_acknowledged_is_dropped_in_the_end),
        cmocka_unit_test(another_client_deletes_the_queue),
        cmocka_unit_test(a_used_link_is_refused),
        cmocka_unit_test(a_server_that_lost_its_queues_is_told_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
