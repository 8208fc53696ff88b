/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages are fetched one by one without a subscription, or looked at by an extension: none is
 * lost or shown twice, and each fetch has its end, whatever fails on the way.
 */
#include <stdatomic.h>
#include <stdio.h>

#include "agent/push.h"
#include "agent/receive.h"
#include "push_stage.h"

/* With nothing on the server: of what the connection took to be made it may not have the ACK yet.
 */
static void connect_and_empty(void)
{
    duo_connect(&d);
    expect_server_empty(&d.srv);
}

static void fetch_text(int64_t conn, const char *text)
{
    fetch(conn);
    int64_t id = fetched(conn, 1, SIMPLEX_OK);
    assert_int_equal(receive_text(&d.i, conn, text), id);
    acked(conn, NULL);
}

/* ---- looked at ---- */

/* What peeking shows: its text, or NULL for nothing. */
static int64_t peeked(int64_t conn, const char *text)
{
    simplex_event *ev;
    int64_t id;

    assert_int_equal(simplex_agent_peek(d.i.a, conn), SIMPLEX_OK);
    ev = wait_event(&d.i, SIMPLEX_EV_PEEKED, conn);
    id = simplex_event_msg_id(ev);
    assert_int_equal(simplex_event_error(ev), SIMPLEX_OK);
    assert_int_equal(simplex_event_count(ev), text != NULL);
    vec_assert_eq(simplex_event_data(ev), text != NULL ? sx_str(text) : sx_bytes(NULL, 0), "peek");
    assert_non_null(strstr(simplex_event_json(ev), "\"PEEKED\""));
    assert_int_equal(strstr(simplex_event_json(ev), "\"notify\":") != NULL, text != NULL);
    assert_int_equal(strstr(simplex_event_json(ev), "\"pq\":") != NULL, text != NULL);
    simplex_event_free(ev);
    return id;
}

static void reopen_to_look(bool only_look)
{
    d.i.cfg.read_only = only_look;
    agent_reopen(&d.i);
}

static void an_extension_reads_the_message_without_taking_it(void **state)
{
    int64_t id;

    (void)state;
    begin();
    duo_connect(&d);
    talk(&d.i, d.ic, &d.j, d.jc, "a step of the ratchet to come");
    expect_server_empty(&d.srv);
    assert_int_equal(simplex_agent_peek(d.i.a, d.ic), SIMPLEX_E_PROHIBITED);
    reopen_to_look(true);
    assert_int_equal(simplex_agent_peek(d.i.a, 99), SIMPLEX_E_NOT_FOUND);
    peeked(d.ic, NULL);
    send_text(&d.j, d.jc, "look at me");
    send_text(&d.j, d.jc, "and me");
    expect(&d.j, SIMPLEX_EV_SENT, d.jc);
    expect(&d.j, SIMPLEX_EV_SENT, d.jc);
    for (int n = 0; n < 3; n++)
        assert_int_equal(peeked(d.ic, "look at me"), 0);
    agent_reopen(&d.i);
    peeked(d.ic, "look at me");
    assert_int_equal(simplex_agent_notify(d.i.a, d.ic, true), SIMPLEX_E_PROHIBITED);
    /* received, not acknowledged */
    reopen_to_look(false);
    simplex_event *ev = wait_event(&d.i, SIMPLEX_EV_MSG, d.ic);
    vec_assert_eq(simplex_event_data(ev), sx_str("look at me"), "the same message");
    assert_int_equal(simplex_event_integrity(ev, NULL, NULL), SIMPLEX_MSG_OK);
    id = simplex_event_msg_id(ev);
    simplex_event_free(ev);
    reopen_to_look(true);
    assert_int_equal(peeked(d.ic, "look at me"), id);
    reopen_to_look(false);
    receive_text(&d.i, d.ic, "look at me");
    receive_text(&d.i, d.ic, "and me");
    /* the server is away */
    reopen_to_look(true);
    forwarder_set(&d.fi, FORWARD_REFUSE);
    forwarder_drop(&d.fi);
    assert_int_equal(simplex_agent_peek(d.i.a, d.ic), SIMPLEX_OK);
    ev = wait_event(&d.i, SIMPLEX_EV_PEEKED, d.ic);
    assert_int_not_equal(simplex_event_error(ev), SIMPLEX_OK);
    simplex_event_free(ev);
    end();
}

/* ---- fetched ---- */

/* agent.md section 11: "only-create, v8 and current: delivery only by GET; MSGNTF each" */
static void only_created_connections_are_fetched(void **state)
{
    simplex_event *ev;

    (void)state;
    for (uint16_t v = 8; v <= 19; v += 11) {
        begin();
        d.i.cfg.smp_max = d.j.cfg.smp_max = v;
        agent_reopen(&d.i);
        agent_reopen(&d.j);
        assert_int_equal(simplex_agent_only_create(d.i.a, true), SIMPLEX_OK);
        assert_int_equal(simplex_agent_create(d.i.a, SIMPLEX_PQ_OFF, &d.ic), SIMPLEX_OK);
        agent_join(&d.i, d.ic, &d.j, "J", &d.jc);
        expect(&d.j, SIMPLEX_EV_JOINED, d.jc);
        assert_true(quiet(&d.i, SIMPLEX_EV_CONF, 300));
        do
            fetch(d.ic);
        while (simplex_event_count(ev = wait_event(&d.i, SIMPLEX_EV_FETCHED, d.ic)) == 0 &&
               (simplex_event_free(ev), true));
        simplex_event_free(ev);
        acked(d.ic, NULL);
        agent_allow(&d.i, d.ic, "I");
        if (v < 9) { /* the standard handshake needs J's HELLO, which waits to be fetched */
            expect(&d.j, SIMPLEX_EV_INFO, d.jc);
            while (true) {
                fetch(d.ic);
                ev = wait_event(&d.i, SIMPLEX_EV_FETCHED, d.ic);
                bool came = simplex_event_count(ev) > 0;
                simplex_event_free(ev);
                if (came)
                    break;
            }
            acked(d.ic, NULL);
        }
        expect(&d.i, SIMPLEX_EV_CON, d.ic);
        expect(&d.j, SIMPLEX_EV_CON, d.jc);
        send_text(&d.j, d.jc, "one");
        send_text(&d.j, d.jc, "two");
        expect(&d.j, SIMPLEX_EV_SENT, d.jc);
        expect(&d.j, SIMPLEX_EV_SENT, d.jc);
        assert_true(quiet(&d.i, SIMPLEX_EV_MSG, 300));
        fetch_text(d.ic, "one");
        fetch_text(d.ic, "two");
        nothing_waits(d.ic);
        talk(&d.i, d.ic, &d.j, d.jc, "back");
        /* from now on like any other, although GET was used in this session */
        assert_int_equal(simplex_agent_subscribe(d.i.a, d.ic, true), SIMPLEX_OK);
        talk(&d.j, d.jc, &d.i, d.ic, "three");
        end();
    }
}

static void what_cannot_be_fetched_is_said(void **state)
{
    int64_t conns[3], unmade;

    (void)state;
    begin();
    connect_and_empty();
    conns[0] = d.ic;
    conns[1] = 4711;
    assert_int_equal(simplex_agent_fetch(d.i.a, conns, 2), SIMPLEX_OK);
    fetched(d.ic, 0, SIMPLEX_E_PROHIBITED);
    fetched(4711, 0, SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_fetch(d.i.a, NULL, 2), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_fetch(NULL, conns, 1), SIMPLEX_E_ARG);
    reopen(true, false);
    forwarder_set(&d.fi, FORWARD_REFUSE);
    forwarder_drop(&d.fi);
    assert_int_equal(simplex_agent_create(d.i.a, SIMPLEX_PQ_OFF, &unmade), SIMPLEX_OK);
    conns[1] = unmade;
    assert_int_equal(simplex_agent_fetch(d.i.a, conns, 2), SIMPLEX_OK);
    fetched(unmade, 0, SIMPLEX_E_PROHIBITED);
    simplex_event *ev = wait_event(&d.i, SIMPLEX_EV_FETCHED, d.ic);
    assert_int_not_equal(simplex_event_error(ev), SIMPLEX_OK);
    assert_non_null(strstr(simplex_event_json(ev), "\"FETCHED\""));
    simplex_event_free(ev);
    forwarder_set(&d.fi, FORWARD);
    assert_int_equal(simplex_agent_reconnect(d.i.a), SIMPLEX_OK);
    send_text(&d.j, d.jc, "later");
    expect(&d.j, SIMPLEX_EV_SENT, d.jc);
    fetch_text(d.ic, "later");
    d.i.cfg.read_only = true;
    agent_reopen(&d.i);
    assert_int_equal(simplex_agent_fetch(d.i.a, conns, 1), SIMPLEX_E_PROHIBITED);
    end();
}

static void several_connections_are_fetched_at_once(void **state)
{
    int64_t ic[3], jc[3];

    (void)state;
    begin();
    for (int n = 0; n < 3; n++)
        connect_agents(&d.i, &d.j, SIMPLEX_PQ_OFF, &ic[n], &jc[n]);
    expect_server_empty(&d.srv);
    reopen(true, false);
    send_text(&d.j, jc[0], "to the first");
    send_text(&d.j, jc[2], "to the third");
    expect(&d.j, SIMPLEX_EV_SENT, jc[0]);
    expect(&d.j, SIMPLEX_EV_SENT, jc[2]);
    assert_int_equal(simplex_agent_fetch(d.i.a, ic, 3), SIMPLEX_OK);
    assert_true(fetched(ic[0], 1, SIMPLEX_OK) > 0);
    assert_int_equal(fetched(ic[1], 0, SIMPLEX_OK), 0);
    assert_true(fetched(ic[2], 1, SIMPLEX_OK) > 0);
    receive_text(&d.i, ic[0], "to the first");
    receive_text(&d.i, ic[2], "to the third");
    end();
}

/* The server still pushes to this session: SUB again is how the message is had. */
static void what_was_subscribed_here_is_fetched_too(void **state)
{
    (void)state;
    begin();
    duo_connect(&d);
    talk(&d.j, d.jc, &d.i, d.ic, "subscribed");
    assert_int_equal(simplex_agent_subscribe(d.i.a, d.ic, false), SIMPLEX_OK);
    nothing_waits(d.ic);
    send_text(&d.j, d.jc, "one");
    send_text(&d.j, d.jc, "two");
    expect(&d.j, SIMPLEX_EV_SENT, d.jc);
    expect(&d.j, SIMPLEX_EV_SENT, d.jc);
    assert_true(quiet(&d.i, SIMPLEX_EV_MSG, 200));
    fetch_text(d.ic, "one");
    assert_true(quiet(&d.i, SIMPLEX_EV_MSG, 200));
    fetch_text(d.ic, "two");
    nothing_waits(d.ic);
    assert_int_equal(simplex_agent_subscribe(d.i.a, d.ic, true), SIMPLEX_OK);
    talk(&d.j, d.jc, &d.i, d.ic, "three");
    end();
}

/* Such a GET was never sent, and the session that comes later knows nothing of it. */
static void subscribing_works_after_a_server_could_not_be_asked(void **state)
{
    (void)state;
    begin();
    duo_connect(&d);
    assert_int_equal(simplex_agent_subscribe(d.i.a, d.ic, false), SIMPLEX_OK);
    forwarder_set(&d.fi, FORWARD_REFUSE);
    for (unsigned n = 0; n < 3; n++) { /* the first is tried, the others fail at once */
        fetch(d.ic);
        simplex_event *ev = wait_event(&d.i, SIMPLEX_EV_FETCHED, d.ic);
        assert_int_not_equal(simplex_event_error(ev), SIMPLEX_OK);
        simplex_event_free(ev);
    }
    assert_int_equal(simplex_agent_subscribe(d.i.a, d.ic, true), SIMPLEX_OK);
    forwarder_set(&d.fi, FORWARD);
    talk(&d.j, d.jc, &d.i, d.ic, "again");
    end();
}

static void a_message_fetched_twice_is_shown_once(void **state)
{
    simplex_event *ev;
    uint8_t first[24], again[24];
    int64_t id;

    (void)state;
    begin();
    connect_and_empty();
    reopen(true, false);
    send_text(&d.j, d.jc, "once");
    expect(&d.j, SIMPLEX_EV_SENT, d.jc);
    fetch(d.ic);
    id = fetched(d.ic, 1, SIMPLEX_OK);
    ev = wait_event(&d.i, SIMPLEX_EV_MSG, d.ic);
    simplex_event_free(ev);
    /* again, before it was acknowledged */
    fetch(d.ic);
    assert_int_equal(fetched(d.ic, 1, SIMPLEX_OK), id);
    assert_true(quiet(&d.i, SIMPLEX_EV_MSG, 200));
    /* the way breaks, so the ACK is lost */
    forwarder_set(&d.fi, FORWARD_REFUSE);
    forwarder_drop(&d.fi);
    (void)quiet(&d.i, SIMPLEX_EV_DISCONNECT, 300);
    assert_int_equal(simplex_agent_ack(d.i.a, d.ic, id), SIMPLEX_OK);
    assert_true(quiet(&d.i, SIMPLEX_EV_MSGNTF, 200));
    forwarder_set(&d.fi, FORWARD);
    assert_int_equal(simplex_agent_reconnect(d.i.a), SIMPLEX_OK);
    fetch(d.ic);
    acked(d.ic, first); /* it was received and acknowledged before */
    assert_int_equal(fetched(d.ic, 1, SIMPLEX_OK), 0);
    assert_true(quiet(&d.i, SIMPLEX_EV_MSG, 200));
    send_text(&d.j, d.jc, "next");
    expect(&d.j, SIMPLEX_EV_SENT, d.jc);
    fetch(d.ic);
    fetched(d.ic, 1, SIMPLEX_OK);
    receive_text(&d.i, d.ic, "next");
    acked(d.ic, again);
    assert_memory_not_equal(first, again, 24);
    end();
}

static void a_rotation_goes_on_by_fetching_alone(void **state)
{
    bool completed = false;

    (void)state;
    begin();
    duo_connect(&d);
    d.i.servers[1] = d.j_address;
    d.i.n_servers = 2;
    reopen(true, true);
    assert_int_equal(simplex_agent_switch(d.i.a, d.ic, sx_str(d.j_address)), SIMPLEX_OK);
    int64_t until = sx_mono_ms() + 3 * WAIT_MS;
    for (int n = 0; sx_mono_ms() < until && !completed; n++) {
        simplex_event *ev;
        if (n == 2)
            send_text(&d.j, d.jc, "meanwhile");
        fetch(d.ic);
        simplex_event_free(wait_event(&d.i, SIMPLEX_EV_FETCHED, d.ic));
        while ((ev = any_event()) != NULL) {
            completed = completed || (simplex_event_kind(ev) == SIMPLEX_EV_SWITCH &&
                                      simplex_event_switch(ev, NULL) == SIMPLEX_SWITCH_COMPLETED);
            assert_int_not_equal(simplex_event_kind(ev), SIMPLEX_EV_ERR);
            if (simplex_event_kind(ev) == SIMPLEX_EV_MSG)
                assert_int_equal(simplex_agent_ack(d.i.a, d.ic, simplex_event_msg_id(ev)),
                                 SIMPLEX_OK);
            simplex_event_free(ev);
        }
    }
    assert_true(completed);
    send_text(&d.j, d.jc, "moved");
    fetch(d.ic);
    simplex_event_free(wait_event(&d.i, SIMPLEX_EV_FETCHED, d.ic));
    end();
}

/* ---- failures ---- */

static int64_t wait_empty(void)
{
    simplex_event *ev = wait_event(&d.i, SIMPLEX_EV_FETCHED, d.ic);
    int64_t count = simplex_event_count(ev);

    simplex_event_free(ev);
    return count;
}

/* Shown again with the same id until it was acknowledged, never afterwards with another. */
static void a_crash_while_fetching_repeats_and_loses_nothing(void **state)
{
    int64_t last = 0;
    char text[32];

    (void)state;
    begin();
    duo_connect(&d);
    reopen(true, true);
    for (int round = 0; round < 6; round++) {
        (void)snprintf(text, sizeof text, "message %d", round);
        send_text(&d.j, d.jc, text);
        expect(&d.j, SIMPLEX_EV_SENT, d.jc);
        fetch(d.ic);
        if (round % 3 == 0) /* GET is on its way, or answered, or shown */
            crash();
        for (bool seen = false; !seen;) {
            simplex_event *ev;
            fetch(d.ic);
            simplex_event_free(wait_event(&d.i, SIMPLEX_EV_FETCHED, d.ic));
            while ((ev = any_event()) != NULL) {
                if (simplex_event_kind(ev) == SIMPLEX_EV_MSG) {
                    int64_t id = simplex_event_msg_id(ev);
                    if (id != last)
                        vec_assert_eq(simplex_event_data(ev), sx_str(text), "the next one");
                    seen = seen || id != last;
                    assert_true(id >= last);
                    last = id;
                    if (round % 3 == 1) { /* shown, not acknowledged */
                        simplex_event_free(ev);
                        crash();
                        ev = wait_event(&d.i, SIMPLEX_EV_MSG, d.ic);
                        assert_int_equal(simplex_event_msg_id(ev), id);
                    }
                    assert_int_equal(simplex_agent_ack(d.i.a, d.ic, id), SIMPLEX_OK);
                    if (round % 3 == 2) { /* acknowledged, perhaps not on the server */
                        simplex_event_free(ev);
                        crash();
                        continue;
                    }
                }
                simplex_event_free(ev);
            }
        }
    }
    do
        fetch(d.ic);
    while (wait_empty() > 0);
    assert_true(quiet(&d.i, SIMPLEX_EV_MSG, 100));
    end();
}

struct starved {
    unsigned nth;
    int64_t msg; /* at hand */
    bool fired;
};

/* On the agent's thread: nothing else meets the fault. */
static simplex_rc fetch_starved(struct simplex_agent *a, void *arg)
{
    struct starved *x = arg;
    simplex_rc rc;

    assert_int_equal(sx_agent_commit_now(a), SIMPLEX_OK); /* not what is none of its business */
    sx_store_fault(a->store, x->nth, SIMPLEX_E_DB_IO);
    rc = simplex_agent_fetch(a, &d.ic, 1);
    x->fired = sx_store_fault_disarm(a->store);
    return rc;
}

static void a_fetch_that_the_disk_fails_has_its_end(void **state)
{
    struct starved x = { .fired = true };

    (void)state;
    begin();
    duo_connect(&d);
    reopen(true, false);
    for (; x.fired; x.nth++) {
        assert_in_range(x.nth, 0, 20);
        assert_int_equal(sx_agent_run(d.i.a, fetch_starved, &x, false), SIMPLEX_OK);
        expect(&d.i, SIMPLEX_EV_FETCHED, d.ic);
    }
    assert_true(x.nth > 4);
    end();
}

/* The fault waits for the answer too. */
static simplex_rc peek_starved(struct simplex_agent *a, void *arg)
{
    const struct starved *x = arg;

    sx_store_fault(a->store, x->nth, SIMPLEX_E_DB_IO);
    return simplex_agent_peek(a, d.ic);
}

static simplex_rc end_starving(struct simplex_agent *a, void *arg)
{
    ((struct starved *)arg)->fired = sx_store_fault_disarm(a->store);
    return SIMPLEX_OK;
}

/* Acknowledged by the application, which the server does not know: nothing new, if the database
 * can say so. */
static void a_look_that_the_disk_fails_tells_that(void **state)
{
    struct starved x = { .fired = true };

    (void)state;
    begin();
    duo_connect(&d);
    send_text(&d.j, d.jc, "known");
    simplex_event *ev = wait_event(&d.i, SIMPLEX_EV_MSG, d.ic);
    forwarder_set(&d.fi, FORWARD_REFUSE);
    forwarder_drop(&d.fi);
    assert_int_equal(simplex_agent_ack(d.i.a, d.ic, simplex_event_msg_id(ev)), SIMPLEX_OK);
    simplex_event_free(ev);
    agent_close(&d.i);
    forwarder_set(&d.fi, FORWARD);
    reopen_to_look(true);
    for (; x.fired; x.nth++) {
        assert_in_range(x.nth, 0, 100);
        simplex_rc rc = sx_agent_run(d.i.a, peek_starved, &x, false);
        assert_true(rc == SIMPLEX_OK || rc == SIMPLEX_E_DB_IO);
        if (rc == SIMPLEX_OK) {
            ev = wait_event(&d.i, SIMPLEX_EV_PEEKED, d.ic);
            rc = simplex_event_error(ev);
            assert_true(rc != SIMPLEX_OK || simplex_event_count(ev) == 0);
            simplex_event_free(ev);
        }
        assert_int_equal(sx_agent_run(d.i.a, end_starving, &x, false), SIMPLEX_OK);
        assert_int_equal(rc, x.fired ? SIMPLEX_E_DB_IO : SIMPLEX_OK);
    }
    assert_true(x.nth > 3);
    end();
}

static simplex_rc fetch_without_memory(struct simplex_agent *a, void *arg)
{
    struct starved *x = arg;
    int64_t conns[] = { d.ic, 4711 };

    sx_fault_malloc(x->nth);
    simplex_rc rc = simplex_agent_fetch(a, conns, 2);
    x->fired = sx_fault_disarm();
    return rc;
}

static void a_fetch_without_memory_is_refused_or_has_its_end(void **state)
{
    struct starved x = { .fired = true };
    unsigned refused = 0;

    (void)state;
    begin();
    duo_connect(&d);
    agent_close(&d.j); /* nobody else is to meet the fault */
    agent_close(&d.i);
    expect_server_connections(&d.srv, 0);
    reopen(true, false);
    for (; x.fired; x.nth++) {
        assert_in_range(x.nth, 0, 50);
        simplex_rc rc = sx_agent_run(d.i.a, fetch_without_memory, &x, false);
        assert_true(rc == SIMPLEX_OK || (x.fired && rc == SIMPLEX_E_NOMEM));
        refused += rc != SIMPLEX_OK;
        if (rc != SIMPLEX_OK)
            continue;
        expect(&d.i, SIMPLEX_EV_FETCHED, 4711);
        expect(&d.i, SIMPLEX_EV_FETCHED, d.ic);
    }
    assert_int_equal(refused, 4); /* of each connection, its state and its event */
    end();
}

/* The fault waits for the answer, and for the commit of what it brings. */
static simplex_rc fetch_to_full_disk(struct simplex_agent *a, void *arg)
{
    const struct starved *x = arg;

    assert_int_equal(sx_agent_commit_now(a), SIMPLEX_OK);
    a->recover_after = 10;
    sx_store_fault(a->store, x->nth, SIMPLEX_E_DB_FULL);
    return simplex_agent_fetch(a, &d.ic, 1);
}

static simplex_rc is_full(struct simplex_agent *a, void *arg)
{
    struct starved *x = arg;

    x->fired = sx_store_fault_disarm(a->store);
    return SIMPLEX_OK;
}

/* It fails with the commit that it waited for; it was run all the same. */
static void on_full_disk(simplex_rc (*fn)(struct simplex_agent *, void *), struct starved *x)
{
    simplex_rc rc = sx_agent_run(d.i.a, fn, x, false);

    assert_true(rc == SIMPLEX_OK || rc == SIMPLEX_E_DB_FULL);
}

static void a_fetch_whose_message_cannot_be_written_has_its_end(void **state)
{
    struct starved x = { .fired = true };
    int64_t id = 0;

    (void)state;
    begin();
    duo_connect(&d);
    reopen(true, false);
    d.i.errors_ok = true;
    send_text(&d.j, d.jc, "kept");
    expect(&d.j, SIMPLEX_EV_SENT, d.jc);
    for (; x.fired || id == 0; x.nth += x.fired) {
        assert_in_range(x.nth, 0, 100);
        on_full_disk(fetch_to_full_disk, &x);
        simplex_event *ev = wait_event(&d.i, SIMPLEX_EV_FETCHED, d.ic);
        id = simplex_event_msg_id(ev);
        simplex_event_free(ev);
        on_full_disk(is_full, &x);
    }
    assert_true(x.nth > 10);
    end();
}

/* On the agent's thread: the ACK has left when memory runs out. */
static simplex_rc ack_then_starve(struct simplex_agent *a, void *arg)
{
    const struct starved *x = arg;

    assert_int_equal(simplex_agent_ack(a, d.ic, x->msg), SIMPLEX_OK);
    assert_int_equal(sx_agent_commit_now(a), SIMPLEX_OK);
    a->recover_after = 10;
    sx_send_acks(a);
    sx_fault_malloc(x->nth);
    return SIMPLEX_OK;
}

/* The ACK was answered and that is told; or the session has ended before. */
static bool told_or_ended(void)
{
    int64_t until = sx_mono_ms() + WAIT_MS;
    bool told = false;

    while (!told && sx_mono_ms() < until) {
        simplex_event *ev = any_event();
        if (ev == NULL)
            continue;
        told = simplex_event_kind(ev) == SIMPLEX_EV_MSGNTF ||
               simplex_event_kind(ev) == SIMPLEX_EV_DISCONNECT;
        simplex_event_free(ev);
    }
    return told;
}

/* Fetches until nothing waits, as if every message were known. */
static void fetch_all(void)
{
    bool more = true;

    while (more) {
        fetch(d.ic);
        simplex_event *ev = wait_event(&d.i, SIMPLEX_EV_FETCHED, d.ic);
        int64_t msg = simplex_event_msg_id(ev);
        more = simplex_event_error(ev) != SIMPLEX_OK || simplex_event_count(ev) > 0;
        simplex_event_free(ev);
        if (msg != 0)
            assert_int_equal(simplex_agent_ack(d.i.a, d.ic, msg), SIMPLEX_OK);
    }
    for (simplex_event *ev; (ev = any_event()) != NULL;)
        simplex_event_free(ev);
}

static void that_a_message_is_off_its_server_is_told_without_memory_too(void **state)
{
    struct starved x = { .fired = true };

    (void)state;
    begin();
    connect_and_empty();
    reopen(true, false);
    d.i.errors_ok = d.j.errors_ok = true;
    for (; x.fired; x.nth++) {
        assert_in_range(x.nth, 0, 100);
        send_text(&d.j, d.jc, "off the server");
        expect(&d.j, SIMPLEX_EV_SENT, d.jc);
        fetch(d.ic);
        x.msg = fetched(d.ic, 1, SIMPLEX_OK);
        assert_int_equal(sx_agent_run(d.i.a, ack_then_starve, &x, false), SIMPLEX_OK);
        assert_true(told_or_ended());
        x.fired = sx_fault_disarm();
        fetch_all();
    }
    end();
}

/* ---- together with a call that writes ---- */

static unsigned calls_waiting(struct simplex_agent *a)
{
    unsigned n = 0;

    uv_mutex_lock(&a->lock);
    for (const struct sx_call *c = a->calls; c != NULL; c = c->next)
        n++;
    uv_mutex_unlock(&a->lock);
    return n;
}

static void wait_for_calls(struct simplex_agent *a, unsigned n)
{
    int64_t until = sx_mono_ms() + WAIT_MS;

    while (calls_waiting(a) < n && sx_mono_ms() < until)
        uv_sleep(1);
}

/* Keeps the agent's thread until a fetch and behind it a call that writes wait for it. */
static simplex_rc keep_busy(struct simplex_agent *a, void *arg)
{
    atomic_store((atomic_bool *)arg, true);
    wait_for_calls(a, 2);
    return SIMPLEX_OK;
}

static void be_kept_busy(void *arg)
{
    (void)!sx_agent_run(d.i.a, keep_busy, arg, false);
}

static void fetch_meanwhile(void *arg)
{
    simplex_rc *rc = arg;

    *rc = simplex_agent_fetch(d.i.a, &d.ic, 1);
}

static simplex_rc write_in_vain(struct simplex_agent *a, void *arg)
{
    simplex_rc rc = sx_store_exec(a->store, "DELETE FROM connections WHERE conn_id < 0");

    (void)arg;
    a->recover_after = 10;
    sx_store_fault(a->store, 0, SIMPLEX_E_DB_FULL); /* its commit */
    return rc;
}

static void a_fetch_goes_on_when_what_others_wrote_is_lost(void **state)
{
    uv_thread_t busy, fetching;
    atomic_bool is_busy = false;
    simplex_rc rc = SIMPLEX_E_INTERNAL;

    (void)state;
    begin();
    connect_and_empty();
    reopen(true, false);
    nothing_waits(d.ic);
    d.i.errors_ok = true;
    assert_int_equal(uv_thread_create(&busy, be_kept_busy, &is_busy), 0);
    while (!atomic_load(&is_busy))
        uv_sleep(1);
    assert_int_equal(uv_thread_create(&fetching, fetch_meanwhile, &rc), 0);
    wait_for_calls(d.i.a, 1);
    assert_int_equal(sx_agent_run(d.i.a, write_in_vain, NULL, true), SIMPLEX_E_DB_FULL);
    assert_int_equal(uv_thread_join(&fetching), 0);
    assert_int_equal(uv_thread_join(&busy), 0);
    assert_int_equal(rc, SIMPLEX_OK);
    expect(&d.i, SIMPLEX_EV_FETCHED, d.ic);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_extension_reads_the_message_without_taking_it),
        cmocka_unit_test(only_created_connections_are_fetched),
        cmocka_unit_test(what_cannot_be_fetched_is_said),
        cmocka_unit_test(several_connections_are_fetched_at_once),
        cmocka_unit_test(what_was_subscribed_here_is_fetched_too),
        cmocka_unit_test(subscribing_works_after_a_server_could_not_be_asked),
        cmocka_unit_test(a_message_fetched_twice_is_shown_once),
        cmocka_unit_test(a_rotation_goes_on_by_fetching_alone),
        cmocka_unit_test(a_crash_while_fetching_repeats_and_loses_nothing),
        cmocka_unit_test(a_fetch_that_the_disk_fails_has_its_end),
        cmocka_unit_test(a_look_that_the_disk_fails_tells_that),
        cmocka_unit_test(a_fetch_without_memory_is_refused_or_has_its_end),
        cmocka_unit_test(a_fetch_whose_message_cannot_be_written_has_its_end),
        cmocka_unit_test(that_a_message_is_off_its_server_is_told_without_memory_too),
        cmocka_unit_test(a_fetch_goes_on_when_what_others_wrote_is_lost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
