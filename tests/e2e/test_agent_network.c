/* SPDX-License-Identifier: Apache-2.0 */
/* What the device says of its network, sessions made anew on demand, and the test of servers. */
#include <stdio.h>
#include <unistd.h>

#include "agent/network.h"
#include "support/agents.h"
#include "support/smp_peer.h"

static struct duo d;

static int set_up(void **state)
{
    (void)state;
    duo_open(&d, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    duo_close(&d);
    return 0;
}

static void set_network(int32_t network, bool online)
{
    assert_int_equal(simplex_agent_set_network(d.i.a, network, online), SIMPLEX_OK);
}

static void go_offline(void)
{
    set_network(SIMPLEX_NET_NONE, false);
}

/* ---- networks ---- */

static void nothing_is_tried_while_offline(void **state)
{
    int64_t id, conn;

    (void)state;
    duo_connect(&d);
    go_offline();
    duo_ways(&d, FORWARD_REFUSE);
    expect(&d.i, SIMPLEX_EV_DOWN, 0);
    expect(&d.j, SIMPLEX_EV_DOWN, 0);
    unsigned before = forwarder_accepted(&d.fi);
    duo_ways(&d, FORWARD);
    id = send_text(&d.i, d.ic, "later"); /* is taken all the same */
    assert_int_equal(simplex_agent_create(d.i.a, SIMPLEX_PQ_OFF, &conn), SIMPLEX_OK);
    expect(&d.j, SIMPLEX_EV_UP, 0); /* J, who is not offline, comes back alone */
    assert_true(quiet(&d.i, SIMPLEX_EV_SENT, 1000));
    assert_int_equal(forwarder_accepted(&d.fi), before);
    set_network(SIMPLEX_NET_WIFI, true);
    simplex_event *ev = wait_event(&d.i, SIMPLEX_EV_SENT, d.ic);
    assert_int_equal(simplex_event_msg_id(ev), id);
    simplex_event_free(ev);
    expect(&d.i, SIMPLEX_EV_INV, conn);
    receive_text(&d.j, d.jc, "later");
}

static void being_back_ends_a_long_wait_at_once(void **state)
{
    (void)state;
    d.i.cfg.reconnect_first = d.i.cfg.reconnect_max = 60000;
    d.i.cfg.retry_first = d.i.cfg.retry_max = 60000;
    agent_reopen(&d.i);
    duo_connect(&d);
    duo_ways(&d, FORWARD_REFUSE);
    expect(&d.i, SIMPLEX_EV_DOWN, 0);
    send_text(&d.i, d.ic, "waits");
    (void)quiet(&d.i, SIMPLEX_EV_SENT, 300);
    duo_ways(&d, FORWARD);
    set_network(SIMPLEX_NET_NONE, true); /* NONE is offline, whatever else is said */
    set_network(SIMPLEX_NET_OTHER, true);
    expect(&d.i, SIMPLEX_EV_UP, 0);
    expect(&d.i, SIMPLEX_EV_SENT, d.ic);
}

static simplex_rc set_wait(struct simplex_agent *a, void *arg)
{
    a->network.wait = *(int64_t *)arg;
    return SIMPLEX_OK;
}

static void a_device_that_is_wrong_is_believed_for_a_while_only(void **state)
{
    int64_t wait = 1500;

    (void)state;
    duo_connect(&d);
    assert_int_equal(sx_agent_run(d.i.a, set_wait, &wait, false), SIMPLEX_OK);
    int64_t since = sx_mono_ms();
    go_offline();
    forwarder_drop(&d.fi);
    forwarder_drop(&d.fj);
    expect(&d.i, SIMPLEX_EV_DOWN, 0);
    expect(&d.i, SIMPLEX_EV_UP, 0);
    assert_true(sx_mono_ms() - since >= wait);
    talk(&d.i, d.ic, &d.j, d.jc, "in spite of it");
    go_offline(); /* once more is nothing new */
    talk(&d.i, d.ic, &d.j, d.jc, "still");
}

static simplex_rc is_off(struct simplex_agent *a, void *arg)
{
    *(bool *)arg = sx_network_off(a);
    return SIMPLEX_OK;
}

static bool off(void)
{
    bool yes;

    assert_int_equal(sx_agent_run(d.i.a, is_off, &yes, false), SIMPLEX_OK);
    return yes;
}

static void a_change_of_networks_is_not_taken_for_being_offline(void **state)
{
    int64_t at_least = SX_OFFLINE_DEBOUNCE - 500, since;
    bool believed;

    (void)state;
    do {
        since = sx_mono_ms();
        set_network(SIMPLEX_NET_WIFI, true);
        go_offline();
        believed = off();
    } while (sx_mono_ms() - since >= at_least); /* again: it was not that soon */
    assert_false(believed);
    since = sx_mono_ms();
    set_network(SIMPLEX_NET_CELLULAR, true);
    assert_false(off());
    go_offline();
    while (!off() && sx_mono_ms() - since < WAIT_MS)
        usleep(20000);
    assert_true(off()); /* but when it stays like that it is */
    assert_true(sx_mono_ms() - since >= at_least);
    set_network(SIMPLEX_NET_WIFI, true);
    assert_false(off());
}

static void wrong_networks_are_refused(void **state)
{
    (void)state;
    assert_int_equal(simplex_agent_set_network(NULL, SIMPLEX_NET_WIFI, true), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_set_network(d.i.a, -1, true), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_set_network(d.i.a, 5, true), SIMPLEX_E_ARG);
}

/* ---- on demand ---- */

static void sessions_are_made_anew_on_demand(void **state)
{
    char name[300];

    (void)state;
    duo_connect(&d);
    simplex_server_status s = { .size = sizeof s };
    assert_int_equal(simplex_agent_server(d.i.a, 0, &s), SIMPLEX_OK);
    memcpy(name, s.server, sizeof s.server);
    unsigned before = forwarder_accepted(&d.fi);
    assert_int_equal(simplex_agent_reconnect_user(d.i.a, SIMPLEX_USER_DEFAULT, NULL), SIMPLEX_OK);
    expect(&d.i, SIMPLEX_EV_DOWN, 0);
    expect(&d.i, SIMPLEX_EV_UP, 0);
    assert_true(forwarder_accepted(&d.fi) > before);
    before = forwarder_accepted(&d.fi);
    assert_int_equal(simplex_agent_reconnect_user(d.i.a, SIMPLEX_USER_DEFAULT, d.i_address),
                     SIMPLEX_OK);
    expect(&d.i, SIMPLEX_EV_DOWN, 0);
    expect(&d.i, SIMPLEX_EV_UP, 0);
    assert_int_equal(forwarder_accepted(&d.fi), before + 1);
    assert_int_equal(simplex_agent_reconnect_user(d.i.a, SIMPLEX_USER_DEFAULT, name), SIMPLEX_OK);
    talk(&d.i, d.ic, &d.j, d.jc, "one");
    talk(&d.j, d.jc, &d.i, d.ic, "two");
    assert_int_equal(simplex_agent_reconnect(d.i.a), SIMPLEX_OK);
    talk(&d.j, d.jc, &d.i, d.ic, "three");
    assert_int_equal(simplex_agent_reconnect_user(d.i.a, 9, NULL), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_reconnect_user(d.i.a, SIMPLEX_USER_DEFAULT, "x.example:1"),
                     SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_reconnect_user(NULL, 1, NULL), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_reconnect(NULL), SIMPLEX_E_ARG);
}

static void one_user_is_reconnected_without_the_others(void **state)
{
    simplex_user_server s = {
        .size = sizeof s, .address = d.j_address, .enabled = true, .storage = true, .proxy = true
    };
    int64_t user, conn;
    simplex_event *ev;

    (void)state;
    duo_connect(&d);
    assert_int_equal(simplex_agent_create_user(d.i.a, &s, 1, &user), SIMPLEX_OK);
    assert_int_equal(simplex_agent_create_as(d.i.a, user, SIMPLEX_PQ_OFF, &conn), SIMPLEX_OK);
    expect(&d.i, SIMPLEX_EV_INV, conn);
    assert_int_equal(simplex_agent_reconnect_user(d.i.a, user, NULL), SIMPLEX_OK);
    ev = wait_event(&d.i, SIMPLEX_EV_DOWN, 0);
    assert_int_equal(simplex_event_user(ev), user);
    simplex_event_free(ev);
    ev = wait_event(&d.i, SIMPLEX_EV_UP, 0);
    assert_int_equal(simplex_event_user(ev), user);
    simplex_event_free(ev);
    assert_true(quiet(&d.i, SIMPLEX_EV_DOWN, 200));
}

/* ---- tests of servers ---- */

static int32_t test_once(struct test_agent *t, const char *server, simplex_rc *rc, char detail[64])
{
    int64_t test;
    int32_t step;

    assert_int_equal(simplex_agent_test_server(t->a, SIMPLEX_USER_DEFAULT, server, &test),
                     SIMPLEX_OK);
    simplex_event *ev = wait_event(t, SIMPLEX_EV_TEST, 0);
    assert_string_equal(simplex_event_name(ev), "TEST");
    assert_int_equal(simplex_event_test(ev, &step), test);
    assert_int_equal(simplex_event_test(ev, NULL), test);
    assert_int_equal(simplex_event_user(ev), SIMPLEX_USER_DEFAULT);
    assert_non_null(strstr(simplex_event_json(ev), "\"test\":"));
    assert_int_equal(strstr(simplex_event_json(ev), "\"step\":\"") != NULL, step != 0);
    *rc = simplex_event_error(ev);
    (void)snprintf(detail, 64, "%s",
                   simplex_event_detail(ev) != NULL ? simplex_event_detail(ev) : "");
    simplex_event_free(ev);
    return step;
}

static void assert_test(const char *server, int32_t step, simplex_rc rc, const char *detail)
{
    char got[64];
    simplex_rc got_rc;
    int32_t got_step = test_once(&d.i, server, &got_rc, got);

    if (got_rc != rc || got_step != step)
        fail_msg("step %d, %s instead of %d, %s", got_step, simplex_rc_name(got_rc), step,
                 simplex_rc_name(rc));
    assert_string_equal(got, detail);
}

static void a_good_server_passes_and_keeps_nothing(void **state)
{
    (void)state;
    for (int n = 0; n < 3; n++)
        assert_test(d.i_address, 0, SIMPLEX_OK, "");
    assert_int_equal(forwarder_accepted(&d.fi), 3); /* each in a session of its own */
    simplex_server_status s = { .size = sizeof s };
    assert_int_equal(simplex_agent_server(d.i.a, 0, &s), SIMPLEX_E_NOT_FOUND);
}

static void a_failed_connection_is_the_first_step(void **state)
{
    char other[600];

    (void)state;
    d.i.cfg.connect_timeout = 800;
    agent_reopen(&d.i);
    forwarder_set(&d.fi, FORWARD_STALL);
    assert_test(d.i_address, SIMPLEX_TEST_CONNECT, SIMPLEX_E_TIMEOUT, "");
    d.i.cfg.connect_timeout = 0; /* what comes now takes no longer than the machine */
    agent_reopen(&d.i);
    assert_test("smp://AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=@127.0.0.1:1",
                SIMPLEX_TEST_CONNECT, SIMPLEX_E_CONNECT, "");
    forwarder_set(&d.fi, FORWARD);
    (void)snprintf(other, sizeof other, "smp://AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=%s",
                   strchr(d.i_address, '@'));
    assert_test(other, SIMPLEX_TEST_CONNECT, SIMPLEX_E_FINGERPRINT, "");
}

static void a_server_that_says_nothing_fails_in_time(void **state)
{
    int64_t test;

    (void)state;
    d.i.cfg.command_timeout = 700;
    agent_reopen(&d.i);
    /* stalled once the session is there: by chance of time in another step, never for ever */
    for (int ms = 0; ms < 60; ms += 6) {
        forwarder_set(&d.fi, FORWARD);
        assert_int_equal(simplex_agent_test_server(d.i.a, SIMPLEX_USER_DEFAULT, d.i_address, &test),
                         SIMPLEX_OK);
        usleep((useconds_t)ms * 1000);
        forwarder_drop(&d.fi);
        simplex_event *ev = wait_event(&d.i, SIMPLEX_EV_TEST, 0);
        int32_t step;
        assert_int_equal(simplex_event_test(ev, &step), test);
        assert_int_equal(step == 0, simplex_event_error(ev) == SIMPLEX_OK);
        simplex_event_free(ev);
    }
}

static void the_password_is_tested(void **state)
{
    simplex_server_config cfg;
    struct test_server locked;
    char address[600];
    size_t len = sizeof address;

    (void)state;
    simplex_server_config_init(&cfg);
    cfg.password = "let-me-in";
    server_start(&locked, &cfg);
    assert_int_equal(simplex_server_address(locked.s, address, &len), SIMPLEX_OK);
    assert_non_null(strstr(address, ":let-me-in@"));
    assert_test(address, 0, SIMPLEX_OK, "");
    char *at = strstr(address, "let-me-in");
    at[0] = 'x';
    assert_test(address, SIMPLEX_TEST_CREATE, SIMPLEX_E_SERVER, "AUTH");
    memmove(at - 1, strchr(at, '@'), strlen(strchr(at, '@')) + 1);
    assert_test(address, SIMPLEX_TEST_CREATE, SIMPLEX_E_SERVER, "AUTH");
    server_stop(&locked);
}

/* A server that refuses one command, on a thread of its own. */
static struct bad {
    uv_loop_t loop;
    uv_thread_t thread;
    uv_async_t stop;
    struct peer peer;
    struct proxy proxy;
    enum sx_cmd_tag refused;
    uint16_t proxied;
} bad;

static bool refuse(struct peer *p, struct peer_conn *c, const struct sx_cmd *cmd,
                   struct sx_transmission *t, struct sx_rsp *rsp)
{
    if (cmd->tag != bad.refused && cmd->tag == SX_NEW) {
        *rsp = (struct sx_rsp){ .tag = SX_R_IDS };
        rsp->ids.rcv_id = sx_str("of the recipient        ");
        rsp->ids.snd_id = sx_str("of the sender           ");
        rsp->ids.srv_dh = cmd->new_.dh;
        rsp->ids.mode = SX_MODE_MESSAGING;
        return true;
    }
    if (cmd->tag != bad.refused)
        return peer_answer(p, c, cmd, t, rsp);
    *rsp = (struct sx_rsp){ .tag = SX_R_ERR };
    rsp->err.err = SX_ERR_INTERNAL;
    return true;
}

static void on_stop(uv_async_t *h)
{
    peer_stop(&bad.peer);
    if (bad.proxied != 0)
        proxy_stop(&bad.proxy);
    uv_close((uv_handle_t *)h, NULL);
}

static void run_bad(void *arg)
{
    (void)arg;
    (void)uv_run(&bad.loop, UV_RUN_DEFAULT);
}

static void start_bad(enum sx_cmd_tag refused, uint16_t proxied)
{
    memset(&bad, 0, sizeof bad);
    bad.refused = refused;
    bad.proxied = proxied;
    assert_int_equal(uv_loop_init(&bad.loop), 0);
    peer_start(&bad.peer, &bad.loop, 0);
    bad.peer.answer = refuse;
    if (proxied != 0) {
        proxy_start(&bad.proxy, &bad.loop);
        bad.proxy.to = proxied;
    }
    assert_int_equal(uv_async_init(&bad.loop, &bad.stop, on_stop), 0);
    assert_int_equal(uv_thread_create(&bad.thread, run_bad, NULL), 0);
}

static void stop_bad(void)
{
    (void)uv_async_send(&bad.stop);
    (void)uv_thread_join(&bad.thread);
    peer_free(&bad.peer);
    assert_int_equal(uv_loop_close(&bad.loop), 0);
}

static void bad_address(char to[600])
{
    struct sx_server s;
    struct sx_wr w;

    peer_server(&bad.peer, "127.0.0.1", &s);
    sx_wr_fixed(&w, to, 599);
    sx_server_print(&w, &s, sx_bytes(NULL, 0));
    assert_false(w.bad);
    to[w.len] = 0;
}

static void the_step_that_failed_is_told(void **state)
{
    static const struct {
        enum sx_cmd_tag refused;
        int32_t step;
    } rows[] = {
        { SX_NEW, SIMPLEX_TEST_CREATE },
        { SX_SKEY, SIMPLEX_TEST_SECURE },
        { SX_DEL, SIMPLEX_TEST_DELETE },
    };
    char address[600];

    (void)state;
    for (size_t k = 0; k < SX_COUNT(rows); k++) {
        start_bad(rows[k].refused, 0);
        bad_address(address);
        assert_test(address, rows[k].step, SIMPLEX_E_SERVER, "INTERNAL");
        stop_bad();
        /* a queue that was made is deleted whatever happened to it */
        assert_int_equal(bad.peer.commands, rows[k].refused == SX_NEW ? 1 : 3);
    }
}

static void a_server_is_tested_through_the_socks_proxy(void **state)
{
    char socks[64];

    (void)state;
    start_bad(SX_PING, d.fi.port);
    (void)snprintf(socks, sizeof socks, "127.0.0.1:%u", (unsigned)bad.proxy.port);
    d.i.cfg.socks_proxy = socks;
    agent_reopen(&d.i);
    assert_test(d.i_address, 0, SIMPLEX_OK, "");
    bad.proxy.reply = 1; /* refuses */
    assert_test(d.i_address, SIMPLEX_TEST_CONNECT, SIMPLEX_E_PROXY, "");
    agent_close(&d.i);
    stop_bad();
    assert_int_equal(bad.proxy.accepted, 2);
    d.i.cfg.socks_proxy = NULL;
    agent_reopen(&d.i);
}

static void a_test_offline_fails_and_some_run_at_once(void **state)
{
    int64_t test, last = 0;
    simplex_rc rc;
    unsigned n = 0;

    (void)state;
    forwarder_set(&d.fi, FORWARD_STALL);
    while ((rc = simplex_agent_test_server(d.i.a, SIMPLEX_USER_DEFAULT, d.i_address, &test)) ==
           SIMPLEX_OK) {
        assert_true(test > last);
        last = test;
        n++;
    }
    assert_int_equal(rc, SIMPLEX_E_PROHIBITED);
    assert_int_equal(n, 16);
    go_offline(); /* those that wait for a connection wait no longer */
    for (; n > 0; n--)
        expect(&d.i, SIMPLEX_EV_TEST, 0);
    forwarder_set(&d.fi, FORWARD);
    assert_test(d.i_address, SIMPLEX_TEST_CONNECT, SIMPLEX_E_CONNECT, "");
    set_network(SIMPLEX_NET_WIFI, true);
    assert_test(d.i_address, 0, SIMPLEX_OK, "");
}

static void wrong_tests_are_refused(void **state)
{
    int64_t test = 7;

    (void)state;
    assert_int_equal(simplex_agent_test_server(NULL, 1, d.i_address, &test), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_test_server(d.i.a, 1, NULL, &test), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_test_server(d.i.a, 1, d.i_address, NULL), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_test_server(d.i.a, 1, "smp://x", &test), SIMPLEX_E_ADDRESS);
    assert_int_equal(test, 0);
    assert_int_equal(simplex_agent_test_server(d.i.a, 8, d.i_address, &test), SIMPLEX_E_NOT_FOUND);
    /* closing with one under way */
    assert_int_equal(simplex_agent_test_server(d.i.a, 1, d.i_address, &test), SIMPLEX_OK);
    agent_reopen(&d.i);
    assert_true(quiet(&d.i, SIMPLEX_EV_TEST, 200));
}

struct starved {
    unsigned nth;
    bool fired;
};

static simplex_rc test_starved(struct simplex_agent *a, void *arg)
{
    struct starved *x = arg;
    int64_t test;

    sx_fault_malloc(x->nth);
    simplex_rc rc = simplex_agent_test_server(a, SIMPLEX_USER_DEFAULT, d.i_address, &test);
    x->fired = sx_fault_disarm();
    return rc;
}

static void a_test_without_memory_fails_or_runs(void **state)
{
    struct starved x = { .fired = true };

    (void)state;
    for (; x.fired; x.nth++) {
        simplex_rc rc = sx_agent_run(d.i.a, test_starved, &x, false);
        assert_true(rc == SIMPLEX_OK || (x.fired && rc == SIMPLEX_E_NOMEM));
        if (rc == SIMPLEX_OK)
            expect(&d.i, SIMPLEX_EV_TEST, 0);
        assert_true(x.nth < 50);
    }
    assert_true(x.nth > 2);
    assert_test(d.i_address, 0, SIMPLEX_OK, "");
}

int main(int argc, char **argv)
{
#define DUO(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        DUO(nothing_is_tried_while_offline),
        DUO(being_back_ends_a_long_wait_at_once),
        DUO(a_device_that_is_wrong_is_believed_for_a_while_only),
        DUO(a_change_of_networks_is_not_taken_for_being_offline),
        DUO(wrong_networks_are_refused),
        DUO(sessions_are_made_anew_on_demand),
        DUO(one_user_is_reconnected_without_the_others),
        DUO(a_good_server_passes_and_keeps_nothing),
        DUO(a_failed_connection_is_the_first_step),
        DUO(a_server_that_says_nothing_fails_in_time),
        DUO(the_password_is_tested),
        DUO(the_step_that_failed_is_told),
        DUO(a_server_is_tested_through_the_socks_proxy),
        DUO(a_test_offline_fails_and_some_run_at_once),
        DUO(wrong_tests_are_refused),
        DUO(a_test_without_memory_fails_or_runs),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
