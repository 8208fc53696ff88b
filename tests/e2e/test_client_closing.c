/* SPDX-License-Identifier: Apache-2.0 */
/* The client is closed at any time, and a peer or the heap that has no room. */
#include "client_stage.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- disconnecting and closing ---- */

static void disconnecting_fails_the_requests_then_reports_down(void **state)
{
    struct result r[2] = { 0 }, after = { 0 };

    (void)state;
    go_up();
    t.peer.answer = silence;
    send_cmd(SX_SUB, "a", &r[0]);
    RUN_UNTIL(t.peer.commands == 2);
    send_cmd(SX_SUB, "b", &r[1]); /* not sent yet */
    t.inside = true;
    sx_client_disconnect(t.client, SIMPLEX_E_TIMEOUT);
    sx_client_disconnect(t.client, SIMPLEX_E_CLOSED); /* does nothing more */
    t.inside = false;
    assert_false(sx_client_is_up(t.client));
    t.peer.answer = NULL;
    send_cmd(SX_SUB, "c", &after); /* belongs to the next connection */
    RUN_UNTIL(after.done);
    assert_int_equal(r[0].rc, SIMPLEX_E_TIMEOUT);
    assert_int_equal(r[1].rc, SIMPLEX_E_TIMEOUT);
    assert_int_equal(after.rc, SIMPLEX_OK);
    assert_int_equal(t.downs, 1);
    assert_int_equal(t.down_rc, SIMPLEX_E_TIMEOUT);
    assert_true(r[0].order < r[1].order && r[1].order < t.down_order);
    assert_true(t.down_order < after.order);
    assert_int_equal(t.ups, 2);
}

static void closing_drops_requests_silently_at_every_step(void **state)
{
    (void)state;
    for (int steps = 0; steps < 80; steps++) {
        struct result r[3] = { 0 };
        open_client();
        sx_client_want(t.client, true);
        send_cmd(SX_SUB, "a", &r[0]);
        send_cmd(SX_SUB, "b", &r[1]);
        for (int i = 0; i < steps; i++)
            uv_run(&t.loop, UV_RUN_NOWAIT);
        send_cmd(SX_SUB, "c", &r[2]);
        int before = t.callbacks;
        close_net();
        RUN_UNTIL(t.closed);
        assert_int_equal(t.callbacks, before);
        assert_int_equal(r[2].done, 0);
        t.closed = false;
        peer_drop(&t.peer);
        RUN_UNTIL(t.peer.open == 0);
    }
}

static void closing_while_resolving_waits_for_the_resolver(void **state)
{
    struct result r = { 0 };

    (void)state;
    open_net();
    client_of("localhost");
    send_cmd(SX_SUB, "a", &r);
    for (int i = 0; i < 2; i++)
        uv_run(&t.loop, UV_RUN_NOWAIT);
    close_net();
    RUN_UNTIL(t.closed);
    assert_int_equal(t.callbacks, 0);
}

static void done_closes(struct result *r)
{
    (void)r;
    close_net();
}

static void done_disconnects(struct result *r)
{
    (void)r;
    sx_client_disconnect(t.client, SIMPLEX_E_CLOSED);
}

static void disconnect_now(void)
{
    sx_client_disconnect(t.client, SIMPLEX_E_CLOSED);
}

static void callbacks_may_close_everything(void **state)
{
    (void)state;
    for (int which = 0; which < 5; which++) {
        struct result r[3] = { 0 };
        t.on_up = which == 0 ? close_net : NULL;
        t.on_done = which == 1 || which == 3 ? done_closes : NULL;
        t.on_event = which == 2 ? close_net : NULL;
        t.on_down = which == 4 ? close_net : NULL;
        t.peer.answer = which == 3 ? silence : answer_oddly;
        open_client();
        struct sx_cmd cmd = { .tag = SX_SUB };
        /* 3: inside the timer; 4: requests are waiting when the attempt fails */
        assert_int_equal(try_send(&cmd, "push", which == 3 ? 60 : 0, &r[0]), SIMPLEX_OK);
        assert_int_equal(try_send(&cmd, "b", which == 3 ? 60 : 0, &r[1]), SIMPLEX_OK);
        assert_int_equal(try_send(&cmd, "c", which == 3 ? 60 : 0, &r[2]), SIMPLEX_OK);
        t.peer.mode = which == 4 ? PEER_CLOSES : PEER_NORMAL;
        RUN_UNTIL(t.closed);
        if (which == 1 || which == 3)
            assert_int_equal(r[0].done + r[1].done + r[2].done, 1);
        t.closed = false;
        peer_drop(&t.peer);
        RUN_UNTIL(t.peer.open == 0);
    }
}

static void callbacks_may_disconnect(void **state)
{
    (void)state;
    t.peer.answer = answer_oddly;
    for (int which = 0; which < 3; which++) {
        struct result r[3] = { 0 };
        t.on_up = which == 0 ? disconnect_now : NULL;
        t.on_done = which == 1 ? done_disconnects : NULL;
        t.on_event = which == 2 ? disconnect_now : NULL;
        t.downs = 0;
        open_client();
        send_cmd(SX_SUB, "push", &r[0]);
        send_cmd(SX_SUB, "b", &r[1]);
        send_cmd(SX_SUB, "c", &r[2]);
        RUN_UNTIL(t.downs == 1);
        assert_int_equal(t.down_rc, SIMPLEX_E_CLOSED);
        assert_int_equal(r[0].done + r[1].done + r[2].done, 3);
        assert_int_equal(r[2].rc, SIMPLEX_E_CLOSED);
        close_net();
        RUN_UNTIL(t.closed);
        t.closed = false;
    }
}

static void send_again(struct result *r)
{
    if (r->rc != SIMPLEX_OK && r->done < 50)
        send_cmd(SX_SUB, "again", r);
}

static void sending_again_when_it_failed_does_not_stall_the_loop(void **state)
{
    struct result r = { 0 };

    (void)state;
    t.cfg.failed_cache = 60000;
    t.peer.mode = PEER_CLOSES;
    open_client();
    t.on_done = send_again;
    send_cmd(SX_SUB, "again", &r);
    RUN_UNTIL(r.done == 50);
    assert_int_equal(t.peer.accepted, 1);
}

/* ---- load ---- */

static void writes_are_held_back_when_the_server_does_not_read(void **state)
{
    enum { N = 300 };
    static struct result r[N];
    static uint8_t body[16000];
    struct sx_cmd cmd = { .tag = SX_SEND, .send.body = { body, sizeof(body) } };

    (void)state;
    memset(r, 0, sizeof(r));
    go_up();
    peer_pause(&t.peer);
    for (int i = 0; i < N; i++) {
        char entity[16];
        snprintf(entity, sizeof(entity), "q%d", i);
        assert_int_equal(try_send(&cmd, entity, 0, &r[i]), SIMPLEX_OK);
    }
    run_for(100);
    assert_int_equal(r[0].done, 0);
    peer_resume(&t.peer);
    RUN_UNTIL(r[N - 1].done);
    for (int i = 0; i < N; i++) {
        assert_int_equal(r[i].rc, SIMPLEX_OK);
        assert_true(i == 0 || r[i].order > r[i - 1].order);
    }
}

static void commands_that_never_left_are_dropped_when_time_is_over(void **state)
{
    enum { N = 600 };
    static struct result r[N];
    static uint8_t body[16000];
    struct sx_cmd cmd = { .tag = SX_SEND, .send.body = { body, sizeof(body) } };
    int timed_out = 0;

    (void)state;
    memset(r, 0, sizeof(r));
    go_up();
    peer_pause(&t.peer);
    for (int i = 0; i < N; i++) {
        char entity[16];
        snprintf(entity, sizeof(entity), "q%d", i);
        assert_int_equal(try_send(&cmd, entity, 100, &r[i]), SIMPLEX_OK);
    }
    RUN_UNTIL(r[N - 1].done);
    for (int i = 0; i < N; i++)
        timed_out += r[i].rc == SIMPLEX_E_TIMEOUT;
    assert_int_equal(timed_out, N);
    unsigned before = t.peer.commands;
    peer_resume(&t.peer);
    run_for(300);
    assert_true(t.peer.commands - before < N); /* those in the socket's queue arrived */
    struct result after = { 0 };
    send_cmd(SX_SUB, "after", &after);
    RUN_UNTIL(after.done);
    assert_int_equal(after.rc, SIMPLEX_OK);
}

static void an_idle_connection_is_small(void **state)
{
    (void)state;
    open_client();
    run_for(1);
    size_t before = sx_fault_live_blocks();
    struct result r = { 0 };
    send_cmd(SX_SUB, "a", &r);
    RUN_UNTIL(r.done);
    /* connection and TLS of the client, TLS of the peer: no buffers, no tables */
    RUN_UNTIL(sx_fault_live_blocks() <= before + 4);
    assert_true(sx_fault_live_blocks() > before);
}

/* From nothing to an answer within this time, while the nth allocation fails. */
static simplex_rc come_up_with_fault(unsigned nth, int64_t timeout, bool *fired)
{
    struct result r = { 0 };
    struct sx_server server;
    struct sx_cmd cmd = { .tag = SX_SUB };

    peer_server(&t.peer, "127.0.0.1", &server);
    sx_fault_malloc(nth);
    simplex_rc rc = try_open_net();
    if (rc == SIMPLEX_OK)
        rc = sx_net_client(t.net, &server, &t.client);
    if (rc == SIMPLEX_OK)
        rc = try_send(&cmd, "a", timeout, &r);
    if (rc == SIMPLEX_OK) {
        RUN_UNTIL(r.done == 1);
        rc = r.rc;
    }
    *fired = sx_fault_disarm();
    bool opened = t.net != NULL;
    close_net();
    peer_drop(&t.peer);
    RUN_UNTIL(t.peer.open == 0 && t.closed == opened);
    t.closed = false;
    return rc;
}

static void a_network_survives_each_failed_malloc(void **state)
{
    bool fired = true;
    int failures = 0;

    (void)state;
    for (unsigned nth = 0; fired; nth++) {
        /* Some failures are seen by the time limit alone, so it is short; nothing else meets it
         * but a machine that stood still. */
        simplex_rc rc = come_up_with_fault(nth, 3000, &fired);
        if (!fired && rc == SIMPLEX_E_TIMEOUT)
            rc = come_up_with_fault(nth, 15000, &fired);
        failures += rc != SIMPLEX_OK;
        if (!fired)
            assert_int_equal(rc, SIMPLEX_OK);
    }
    assert_true(failures > 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(disconnecting_fails_the_requests_then_reports_down),
        CASE(closing_drops_requests_silently_at_every_step),
        CASE(closing_while_resolving_waits_for_the_resolver),
        CASE(callbacks_may_close_everything),
        CASE(callbacks_may_disconnect),
        CASE(sending_again_when_it_failed_does_not_stall_the_loop),
        CASE(writes_are_held_back_when_the_server_does_not_read),
        CASE(commands_that_never_left_are_dropped_when_time_is_over),
        CASE(an_idle_connection_is_small),
        CASE(a_network_survives_each_failed_malloc),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
