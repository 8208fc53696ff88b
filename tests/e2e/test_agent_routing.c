/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private routing of agents (protocol/smp.md section 8): what goes through a proxy, through which
 * one, and what does not.
 */
#include <stddef.h>
#include <unistd.h>

#include "routing_stage.h"

/* ---- which way ---- */

static void modes_decide_which_servers_are_written_to_through_a_proxy(void **state)
{
    enum { DIRECT, PROXY, RELAY };
    static const struct {
        int32_t mode;
        const char *servers[2];
        int through;
    } rows[] = {
        { SIMPLEX_PROXY_NEVER, { n.proxy_address }, DIRECT },
        { SIMPLEX_PROXY_ALWAYS, { n.proxy_address }, PROXY },
        { SIMPLEX_PROXY_ALWAYS, { n.proxy_address, n.relay_address }, PROXY },
        { SIMPLEX_PROXY_ALWAYS, { n.relay_address }, RELAY }, /* it is its own proxy */
        { SIMPLEX_PROXY_UNKNOWN, { n.proxy_address }, PROXY },
        { SIMPLEX_PROXY_UNKNOWN, { n.proxy_address, n.relay_address }, DIRECT },
        { SIMPLEX_PROXY_UNPROTECTED, { n.proxy_address }, PROXY },
        { SIMPLEX_PROXY_UNPROTECTED, { n.relay_address }, DIRECT },
    };

    (void)state;
    for (size_t i = 0; i < SX_COUNT(rows); i++) {
        unsigned ports[] = { 0, n.to_proxy.port, n.way.port };
        n.j.servers[0] = rows[i].servers[0];
        n.j.servers[1] = rows[i].servers[1];
        n.j.n_servers = rows[i].servers[1] != NULL ? 2 : 1;
        reopen_j(rows[i].mode, SIMPLEX_FALLBACK_PROHIBIT);
        connect_both();
        print_message("row %zu\n", i);
        assert_int_equal(send_through("by the rules"), ports[rows[i].through]);
        talk(&n.i, n.ic, &n.j, n.jc, "back");
    }
}

static void the_whole_handshake_goes_through_the_proxy(void **state)
{
    (void)state;
    reopen_j(SIMPLEX_PROXY_ALWAYS, SIMPLEX_FALLBACK_PROHIBIT);
    connect_both();
    assert_int_equal(send_through("hello"), n.to_proxy.port);
    assert_int_equal(forwarder_accepted(&n.way), 2); /* I, and the proxy */
}

static void both_sides_may_use_proxies(void **state)
{
    simplex_event *ev;

    (void)state;
    n.i.cfg.proxy_mode = SIMPLEX_PROXY_ALWAYS;
    n.i.servers[1] = n.other_address;
    n.i.n_servers = 2;
    agent_reopen(&n.i);
    reopen_j(SIMPLEX_PROXY_ALWAYS, SIMPLEX_FALLBACK_PROHIBIT);
    connect_both();
    assert_int_equal(send_through("there"), n.to_proxy.port);
    send_text(&n.i, n.ic, "and back");
    receive_text(&n.j, n.jc, "and back");
    ev = wait_event(&n.i, SIMPLEX_EV_SENT, n.ic);
    assert_non_null(simplex_event_server(ev));
    simplex_event_free(ev);
}

static void requests_to_contact_addresses_go_through_the_proxy(void **state)
{
    simplex_event *ev;
    int64_t address, accepted;

    (void)state;
    reopen_j(SIMPLEX_PROXY_ALWAYS, SIMPLEX_FALLBACK_PROHIBIT);
    assert_int_equal(simplex_agent_create_address(n.i.a, &address), SIMPLEX_OK);
    agent_join(&n.i, address, &n.j, "it is me", &n.jc);
    ev = wait_event(&n.i, SIMPLEX_EV_REQ, address);
    assert_int_equal(simplex_agent_accept(n.i.a, simplex_event_request(ev), sx_str("owner"),
                                          SIMPLEX_PQ_OFF, &accepted),
                     SIMPLEX_OK);
    simplex_event_free(ev);
    agent_allow(&n.j, n.jc, "J");
    expect(&n.i, SIMPLEX_EV_CON, accepted);
    n.ic = accepted;
    assert_int_equal(send_through("thank you"), n.to_proxy.port);
    assert_int_equal(forwarder_accepted(&n.way), 2);
}

/* Both kinds: the look at the link goes the same way as what follows. */
static void short_links_are_looked_at_through_the_proxy(void **state)
{
    simplex_link_data d = { .size = sizeof d, .data = sx_str("welcome") };
    simplex_event *ev;

    (void)state;
    reopen_j(SIMPLEX_PROXY_ALWAYS, SIMPLEX_FALLBACK_PROHIBIT);
    assert_int_equal(
        simplex_agent_create_short(n.i.a, SIMPLEX_LINK_INVITATION, SIMPLEX_PQ_OFF, &d, &n.ic),
        SIMPLEX_OK);
    ev = wait_event(&n.i, SIMPLEX_EV_LINK, n.ic);
    assert_int_equal(
        simplex_agent_join(n.j.a, simplex_event_data(ev), sx_str("I am J"), SIMPLEX_PQ_OFF, &n.jc),
        SIMPLEX_OK);
    simplex_event_free(ev);
    agent_allow(&n.i, n.ic, "I am I");
    expect(&n.j, SIMPLEX_EV_CON, n.jc);
    expect(&n.i, SIMPLEX_EV_CON, n.ic);
    assert_int_equal(send_through("from the short link"), n.to_proxy.port);
    assert_int_equal(
        simplex_agent_create_short(n.i.a, SIMPLEX_LINK_CONTACT, SIMPLEX_PQ_OFF, &d, &n.ic),
        SIMPLEX_OK);
    ev = wait_event(&n.i, SIMPLEX_EV_LINK, n.ic);
    assert_int_equal(simplex_agent_look(n.j.a, simplex_event_data(ev), &n.jc), SIMPLEX_OK);
    simplex_event_free(ev);
    expect(&n.j, SIMPLEX_EV_LDATA, n.jc);
    assert_int_equal(forwarder_accepted(&n.way), 2); /* I, and the proxy */
}

/* ---- when the proxy cannot use the relay ---- */

static void a_relay_that_is_too_old_is_written_to_directly_if_allowed(void **state)
{
    simplex_server_config old = server_config();
    int64_t id;

    (void)state;
    old.max_version = 7; /* relays need 8 */
    open_net(&old, NULL);
    reopen_j(SIMPLEX_PROXY_NEVER, SIMPLEX_FALLBACK_ALLOW);
    connect_both();
    assert_int_equal(send_through("directly"), 0);
    for (int32_t f = SIMPLEX_FALLBACK_PROTECTED; f <= SIMPLEX_FALLBACK_PROHIBIT; f++) {
        unsigned before;
        reopen_j(SIMPLEX_PROXY_ALWAYS, f);
        before = forwarder_accepted(&n.way);
        id = send_text(&n.j, n.jc, f == SIMPLEX_FALLBACK_PROTECTED ? "one" : "two");
        assert_warned(id - (f == SIMPLEX_FALLBACK_PROHIBIT), SIMPLEX_E_SERVER,
                      "PROXY BROKER TRANSPORT VERSION");
        assert_true(quiet(&n.j, SIMPLEX_EV_SENT, 400));
        for (int ms = 0; ms < WAIT_MS && forwarder_accepted(&n.way) == before; ms += 10)
            (void)usleep(10000);
        assert_true(forwarder_accepted(&n.way) > before); /* by the proxy */
        assert_true(quiet(&n.j, SIMPLEX_EV_SENT, 0));
    }
    reopen_j(SIMPLEX_PROXY_ALWAYS, SIMPLEX_FALLBACK_ALLOW);
    assert_int_equal(sent_through(id - 1), 0);
    assert_int_equal(sent_through(id), 0);
    receive_text(&n.i, n.ic, "one");
    receive_text(&n.i, n.ic, "two");
    connect_both(); /* all of it, by the same rule */
    assert_int_equal(send_through("anew"), 0);
    close_net();
}

/* J keeps its connection, but has no server of its own any more. */
static void without_servers_there_is_no_proxy(void **state)
{
    int64_t id;

    (void)state;
    connect_both();
    n.j.n_servers = 0;
    reopen_j(SIMPLEX_PROXY_ALWAYS, SIMPLEX_FALLBACK_PROHIBIT);
    id = send_text(&n.j, n.jc, "nobody to pass it on");
    assert_warned(id, SIMPLEX_E_NO_SERVERS, NULL);
    assert_true(quiet(&n.j, SIMPLEX_EV_SENT, 300));
    n.j.cfg.message_timeout = 1;
    reopen_j(SIMPLEX_PROXY_ALWAYS, SIMPLEX_FALLBACK_PROHIBIT);
    expect(&n.j, SIMPLEX_EV_MERR, n.jc); /* it expires as any other */
    n.j.cfg.message_timeout = 0;
    reopen_j(SIMPLEX_PROXY_ALWAYS, SIMPLEX_FALLBACK_ALLOW);
    id = send_text(&n.j, n.jc, "directly, then");
    assert_int_equal(sent_through(id), 0);
}

/* ---- sessions by connection ---- */

static void entities_have_sessions_of_their_own(void **state)
{
    int64_t ic[2], jc[2];
    unsigned before;

    (void)state;
    n.j.cfg.isolation = SIMPLEX_ISOLATE_ENTITY;
    reopen_j(SIMPLEX_PROXY_ALWAYS, SIMPLEX_FALLBACK_PROHIBIT);
    before = forwarder_accepted(&n.to_proxy);
    for (int k = 0; k < 2; k++) {
        connect_agents(&n.i, &n.j, SIMPLEX_PQ_OFF, &ic[k], &jc[k]);
        talk(&n.j, jc[k], &n.i, ic[k], "to you alone");
        talk(&n.i, ic[k], &n.j, jc[k], "and back");
    }
    assert_int_equal(forwarder_accepted(&n.to_proxy), before + 3); /* I has one, too */
    agent_reopen(&n.j);
    for (int k = 0; k < 2; k++)
        talk(&n.i, ic[k], &n.j, jc[k], "still there");
    assert_int_equal(forwarder_accepted(&n.to_proxy), before + 5);
}

static void settings_out_of_range_are_refused(void **state)
{
    static const size_t fields[] = {
        offsetof(simplex_agent_config, proxy_mode),
        offsetof(simplex_agent_config, proxy_fallback),
        offsetof(simplex_agent_config, isolation),
        offsetof(simplex_agent_config, host_mode),
    };
    static const int32_t largest[] = { SIMPLEX_PROXY_UNPROTECTED, SIMPLEX_FALLBACK_PROHIBIT,
                                       SIMPLEX_ISOLATE_ENTITY, SIMPLEX_HOSTS_PUBLIC };

    (void)state;
    for (size_t i = 0; i < SX_COUNT(fields); i++) {
        int32_t values[] = { -1, largest[i] + 1 };
        for (size_t k = 0; k < SX_COUNT(values); k++) {
            simplex_agent_config cfg = n.j.cfg;
            simplex_agent *a;
            cfg.db_path = n.j.db;
            memcpy((char *)&cfg + fields[i], &values[k], sizeof values[k]);
            assert_int_equal(simplex_agent_open(&cfg, &a), SIMPLEX_E_ARG);
        }
    }
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(modes_decide_which_servers_are_written_to_through_a_proxy),
        CASE(the_whole_handshake_goes_through_the_proxy),
        CASE(both_sides_may_use_proxies),
        CASE(requests_to_contact_addresses_go_through_the_proxy),
        CASE(short_links_are_looked_at_through_the_proxy),
        cmocka_unit_test(a_relay_that_is_too_old_is_written_to_directly_if_allowed),
        CASE(without_servers_there_is_no_proxy),
        CASE(entities_have_sessions_of_their_own),
        CASE(settings_out_of_range_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
