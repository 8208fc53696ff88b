/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private routing of agents (protocol/smp.md section 8): I's queue is on the relay, J writes to it
 * through a proxy of its own. The ways between all of them can fail, proxies can lie.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/smp_client.h"
#include "support/odd_server.h"

static struct net {
    char dir[256];
    struct test_server relay, proxy, other;
    struct forwarder way; /* to the relay: for I, for proxies and, when it comes to that, for J */
    struct forwarder to_proxy, to_other; /* J's */
    char relay_address[512], proxy_address[512], other_address[512];
    struct test_agent i, j;
    int64_t ic, jc;
} n;

static simplex_server_config server_config(void)
{
    simplex_server_config cfg;

    simplex_server_config_init(&cfg);
    cfg.end_flush_ms = 0;
    cfg.proxy_failed_ms = 100;
    cfg.proxy_connect_timeout_ms = 3000;
    cfg.proxy_command_timeout_ms = 3000;
    return cfg;
}

/* Through a forwarder, under another name for the same machine. */
static void place(struct test_server *s, const simplex_server_config *cfg, struct forwarder *f,
                  const char *host, char address[512])
{
    char text[512], *at, *colon;

    server_start(s, cfg);
    forwarder_start(f, simplex_server_port(s->s));
    forwarder_address(f, s->address, text, sizeof text);
    at = strrchr(text, '@');
    colon = strrchr(text, ':');
    assert_true(at != NULL && colon > at);
    (void)snprintf(address, 512, "%.*s%s%s", (int)(at + 1 - text), text, host, colon);
}

static void open_net(const simplex_server_config *relay, const simplex_server_config *proxy)
{
    simplex_server_config def = server_config();

    memset(&n, 0, sizeof n);
    tmp_make(n.dir);
    place(&n.relay, relay != NULL ? relay : &def, &n.way, "localhost", n.relay_address);
    place(&n.proxy, proxy != NULL ? proxy : &def, &n.to_proxy, "127.0.0.1", n.proxy_address);
    place(&n.other, &def, &n.to_other, "127.0.0.1", n.other_address);
    agent_open(&n.i, n.dir, "i", n.relay_address);
    agent_open(&n.j, n.dir, "j", n.proxy_address);
    n.j.cfg.connect_timeout = 3000;
    n.j.cfg.command_timeout = 3000;
}

static void close_net(void)
{
    agent_close(&n.i);
    agent_close(&n.j);
    forwarder_stop(&n.way);
    forwarder_stop(&n.to_proxy);
    forwarder_stop(&n.to_other);
    server_stop(&n.relay);
    server_stop(&n.proxy);
    server_stop(&n.other);
    tmp_remove(n.dir);
}

static int set_up(void **state)
{
    (void)state;
    open_net(NULL, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    close_net();
    return 0;
}

static void reopen_j(int32_t mode, int32_t fallback)
{
    n.j.cfg.proxy_mode = mode;
    n.j.cfg.proxy_fallback = fallback;
    agent_reopen(&n.j);
}

static void connect_both(void)
{
    connect_agents(&n.i, &n.j, SIMPLEX_PQ_OFF, &n.ic, &n.jc);
}

/* By which server SENT says the message went; its port, 0: directly. */
static unsigned sent_through(int64_t id)
{
    simplex_event *ev = wait_event(&n.j, SIMPLEX_EV_SENT, n.jc);
    const char *server = simplex_event_server(ev);
    unsigned port = 0;

    assert_int_equal(simplex_event_msg_id(ev), id);
    if (server != NULL) {
        port = (unsigned)strtoul(strrchr(server, ':') + 1, NULL, 10);
        assert_non_null(strstr(simplex_event_json(ev), server));
    } else {
        assert_null(strstr(simplex_event_json(ev), "\"server\""));
    }
    simplex_event_free(ev);
    return port;
}

static unsigned send_through(const char *text)
{
    int64_t id = send_text(&n.j, n.jc, text);
    unsigned port = sent_through(id);

    receive_text(&n.i, n.ic, text);
    return port;
}

static void assert_warned(int64_t id, simplex_rc rc, const char *detail)
{
    simplex_event *ev = wait_event(&n.j, SIMPLEX_EV_MWARN, n.jc);

    assert_int_equal(simplex_event_msg_id(ev), id);
    assert_int_equal(simplex_event_error(ev), rc);
    if (detail != NULL)
        assert_string_equal(simplex_event_detail(ev), detail);
    simplex_event_free(ev);
}

static void set_servers(struct test_agent *t, const char *const *addresses, size_t count)
{
    simplex_user_server list[4];

    for (size_t k = 0; k < count; k++)
        list[k] = (simplex_user_server){ .size = sizeof list[k],
                                         .address = addresses[k],
                                         .enabled = true,
                                         .storage = true,
                                         .proxy = true };
    assert_int_equal(simplex_agent_set_servers(t->a, SIMPLEX_USER_DEFAULT, list, count),
                     SIMPLEX_OK);
}

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
        assert_true(forwarder_accepted(&n.way) > before); /* by the proxy */
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

/* ---- failures on the way ---- */

static void messages_wait_for_a_proxy_that_is_away(void **state)
{
    unsigned before;
    int64_t id;

    (void)state;
    reopen_j(SIMPLEX_PROXY_ALWAYS, SIMPLEX_FALLBACK_ALLOW);
    connect_both();
    before = forwarder_accepted(&n.way);
    forwarder_set(&n.to_proxy, FORWARD_REFUSE);
    id = send_text(&n.j, n.jc, "later");
    assert_true(quiet(&n.j, SIMPLEX_EV_SENT, 1000));
    forwarder_set(&n.to_proxy, FORWARD);
    assert_int_equal(sent_through(id), n.to_proxy.port);
    receive_text(&n.i, n.ic, "later");
    assert_int_equal(forwarder_accepted(&n.way), before); /* never directly */
}

static void another_proxy_takes_over(void **state)
{
    struct forwarder *first, *second;
    unsigned port;
    int64_t id;

    (void)state;
    n.j.servers[1] = n.other_address;
    n.j.n_servers = 2;
    reopen_j(SIMPLEX_PROXY_ALWAYS, SIMPLEX_FALLBACK_PROHIBIT);
    connect_both();
    port = send_through("through the first");
    first = port == n.to_proxy.port ? &n.to_proxy : &n.to_other;
    second = first == &n.to_proxy ? &n.to_other : &n.to_proxy;
    assert_int_equal(port, first->port);
    for (int i = 0; i < 5; i++) /* and stays with it */
        assert_int_equal(send_through("again"), first->port);
    forwarder_set(first, FORWARD_REFUSE);
    id = send_text(&n.j, n.jc, "through the second");
    assert_int_equal(sent_through(id), second->port);
    receive_text(&n.i, n.ic, "through the second");
    forwarder_set(first, FORWARD);
    assert_int_equal(send_through("and stays there"), second->port);
}

/* Many messages are on their way to one relay when their proxy goes. */
static void all_go_on_when_their_proxy_is_left(void **state)
{
    enum { CONNS = 8 };
    int64_t ic[CONNS], jc[CONNS];

    (void)state;
    reopen_j(SIMPLEX_PROXY_ALWAYS, SIMPLEX_FALLBACK_PROHIBIT);
    for (size_t k = 0; k < CONNS; k++)
        connect_agents(&n.i, &n.j, SIMPLEX_PQ_OFF, &ic[k], &jc[k]);
    for (int round = 0; round < 2; round++) {
        forwarder_set(&n.to_proxy, round == 0 ? FORWARD_STALL : FORWARD_REFUSE);
        for (size_t k = 0; k < CONNS; k++)
            send_text(&n.j, jc[k], "to all of them");
        (void)usleep(300000);
        forwarder_set(&n.to_proxy, FORWARD_REFUSE);
        (void)usleep(300000);
        forwarder_set(&n.to_proxy, FORWARD);
        for (size_t k = 0; k < CONNS; k++) {
            expect(&n.j, SIMPLEX_EV_SENT, jc[k]);
            receive_text(&n.i, ic[k], "to all of them");
        }
    }
}

static void a_proxy_that_leaves_the_list_is_left(void **state)
{
    const char *first, *second;
    unsigned port;

    (void)state;
    n.j.servers[1] = n.other_address;
    n.j.n_servers = 2;
    reopen_j(SIMPLEX_PROXY_ALWAYS, SIMPLEX_FALLBACK_PROHIBIT);
    connect_both();
    port = send_through("through the first");
    first = port == n.to_proxy.port ? n.proxy_address : n.other_address;
    second = port == n.to_proxy.port ? n.other_address : n.proxy_address;
    set_servers(&n.j, (const char *[]){ second, first }, 2);
    assert_int_equal(send_through("it is still there"), port);
    set_servers(&n.j, (const char *[]){ second }, 1);
    assert_int_equal(send_through("through the second"), n.to_proxy.port + n.to_other.port - port);
    set_servers(&n.j, (const char *[]){ first }, 1);
    assert_int_equal(send_through("back to the first"), port);
}

static void messages_wait_for_a_relay_that_is_away(void **state)
{
    int64_t id[3];

    (void)state;
    reopen_j(SIMPLEX_PROXY_ALWAYS, SIMPLEX_FALLBACK_ALLOW);
    connect_both();
    assert_int_equal(send_through("before"), n.to_proxy.port);
    forwarder_set(&n.way, FORWARD_REFUSE);
    id[0] = send_text(&n.j, n.jc, "one");
    id[1] = send_text(&n.j, n.jc, "two");
    assert_true(quiet(&n.j, SIMPLEX_EV_SENT, 1500));
    agent_reopen(&n.j); /* what is not sent is on disk */
    id[2] = send_text(&n.j, n.jc, "three");
    forwarder_set(&n.way, FORWARD);
    for (int k = 0; k < 3; k++)
        assert_int_equal(sent_through(id[k]), n.to_proxy.port);
    receive_text(&n.i, n.ic, "one");
    receive_text(&n.i, n.ic, "two");
    receive_text(&n.i, n.ic, "three");
}

static void a_relay_that_stalls_is_waited_for(void **state)
{
    int64_t id;

    (void)state;
    reopen_j(SIMPLEX_PROXY_ALWAYS, SIMPLEX_FALLBACK_PROHIBIT);
    connect_both();
    assert_int_equal(send_through("before"), n.to_proxy.port);
    forwarder_set(&n.way, FORWARD_STALL);
    id = send_text(&n.j, n.jc, "slow");
    assert_true(quiet(&n.j, SIMPLEX_EV_SENT, 3500)); /* longer than the proxy waits */
    forwarder_set(&n.way, FORWARD);
    assert_int_equal(sent_through(id), n.to_proxy.port);
    receive_text(&n.i, n.ic, "slow");
    assert_int_equal(send_through("after"), n.to_proxy.port); /* once, and in order */
}

static void sessions_that_are_lost_are_made_again(void **state)
{
    (void)state;
    reopen_j(SIMPLEX_PROXY_ALWAYS, SIMPLEX_FALLBACK_PROHIBIT);
    connect_both();
    assert_int_equal(send_through("first"), n.to_proxy.port);
    forwarder_drop(&n.way); /* the proxy answers NO_SESSION */
    assert_int_equal(send_through("second"), n.to_proxy.port);
    forwarder_drop(&n.to_proxy);
    assert_int_equal(send_through("third"), n.to_proxy.port);
    forwarder_drop(&n.way);
    forwarder_drop(&n.to_proxy);
    assert_int_equal(send_through("fourth"), n.to_proxy.port);
}

static void order_holds_while_sessions_break(void **state)
{
    enum { MESSAGES = 200 };
    char text[32];

    (void)state;
    n.j.servers[1] = n.other_address;
    n.j.n_servers = 2;
    reopen_j(SIMPLEX_PROXY_ALWAYS, SIMPLEX_FALLBACK_PROHIBIT);
    connect_both();
    for (int k = 0; k < MESSAGES; k++) {
        (void)snprintf(text, sizeof text, "message %d", k);
        send_text(&n.j, n.jc, text);
    }
    for (int k = 0; k < MESSAGES; k++) {
        if (k % 40 == 13)
            forwarder_drop(&n.to_proxy);
        if (k % 40 == 26)
            forwarder_drop(&n.to_other);
        if (k % 40 == 39)
            forwarder_drop(&n.way);
        (void)snprintf(text, sizeof text, "message %d", k);
        receive_text(&n.i, n.ic, text);
    }
    for (int k = 0; k < MESSAGES; k++)
        expect(&n.j, SIMPLEX_EV_SENT, n.jc);
    assert_true(quiet(&n.i, SIMPLEX_EV_MSG, 200)); /* nothing twice */
}

static void a_full_queue_is_waited_for(void **state)
{
    simplex_server_config small = server_config();
    simplex_event *ev;
    char text[32];

    (void)state;
    small.quota = 3;
    open_net(&small, NULL);
    n.j.cfg.quota_retry_first = 300;
    reopen_j(SIMPLEX_PROXY_ALWAYS, SIMPLEX_FALLBACK_PROHIBIT);
    connect_both();
    assert_int_equal(simplex_agent_subscribe(n.i.a, n.ic, false), SIMPLEX_OK);
    agent_reopen(&n.i);
    for (int k = 0; k < 6; k++) {
        (void)snprintf(text, sizeof text, "message %d", k);
        send_text(&n.j, n.jc, text);
    }
    ev = wait_event(&n.j, SIMPLEX_EV_MWARN, n.jc);
    assert_string_equal(simplex_event_detail(ev), "QUOTA");
    simplex_event_free(ev);
    assert_int_equal(simplex_agent_subscribe(n.i.a, n.ic, true), SIMPLEX_OK);
    for (int k = 0; k < 6; k++) {
        (void)snprintf(text, sizeof text, "message %d", k);
        receive_text(&n.i, n.ic, text);
    }
    for (int k = 0; k < 6; k++)
        expect(&n.j, SIMPLEX_EV_SENT, n.jc);
    close_net();
}

static void what_the_relay_refuses_is_refused_for_good(void **state)
{
    simplex_event *ev;
    int64_t id;

    (void)state;
    n.i.errors_ok = n.j.errors_ok = true;
    reopen_j(SIMPLEX_PROXY_ALWAYS, SIMPLEX_FALLBACK_PROHIBIT);
    connect_both();
    assert_int_equal(simplex_agent_delete(n.i.a, n.ic), SIMPLEX_OK);
    expect(&n.i, SIMPLEX_EV_DEL_CONN, n.ic);
    id = send_text(&n.j, n.jc, "to nobody");
    ev = wait_event(&n.j, SIMPLEX_EV_MERR, n.jc);
    assert_int_equal(simplex_event_msg_id(ev), id);
    assert_int_equal(simplex_event_error(ev), SIMPLEX_E_SERVER);
    assert_string_equal(simplex_event_detail(ev), "AUTH");
    simplex_event_free(ev);
}

/* ---- proxies that refuse or lie ---- */

/* The address of a server with another password in it. */
static void with_password(const char *address, const char *password, char to[512])
{
    const char *at = strchr(address, '@'), *colon = strchr(address + 6, ':');
    size_t head = (size_t)((colon < at ? colon : at) - address);

    (void)snprintf(to, 512, "%.*s:%s%s", (int)head, address, password, at);
}

static void a_wrong_password_is_reported_and_another_proxy_used(void **state)
{
    simplex_server_config locked = server_config();
    char wrong[512], right[512];
    int64_t id;

    (void)state;
    locked.password = "secret";
    open_net(NULL, &locked);
    with_password(n.proxy_address, "secret", right);
    with_password(n.proxy_address, "guess", wrong);
    n.j.servers[0] = right;
    reopen_j(SIMPLEX_PROXY_ALWAYS, SIMPLEX_FALLBACK_ALLOW);
    connect_both();
    assert_int_equal(send_through("with the password"), n.to_proxy.port);
    n.j.servers[0] = wrong;
    agent_reopen(&n.j);
    id = send_text(&n.j, n.jc, "without");
    assert_warned(id, SIMPLEX_E_SERVER, "PROXY BASIC_AUTH");
    assert_true(quiet(&n.j, SIMPLEX_EV_SENT, 300));
    n.j.servers[1] = n.other_address;
    n.j.n_servers = 2;
    agent_reopen(&n.j);
    assert_int_equal(sent_through(id), n.to_other.port);
    receive_text(&n.i, n.ic, "without");
    close_net();
}

static struct liar {
    struct odd_server server;
    struct sx_rsp says;
    bool silent;
    unsigned asked;
} liar;

static bool lie(struct peer *p, struct peer_conn *c, const struct sx_cmd *cmd,
                struct sx_transmission *t, struct sx_rsp *rsp)
{
    if (cmd->tag != SX_PRXY)
        return peer_answer(p, c, cmd, t, rsp);
    liar.asked++;
    *rsp = liar.says;
    return !liar.silent;
}

/* Runs the liar until SENT, whose proxy is told. */
static unsigned hear_sent(int64_t id)
{
    int64_t until = sx_mono_ms() + WAIT_MS;
    simplex_event *ev;

    while (sx_mono_ms() < until) {
        (void)uv_run(&liar.server.loop, UV_RUN_NOWAIT);
        if (simplex_agent_next_event(n.j.a, 1, &ev) != SIMPLEX_OK)
            continue;
        bool sent = simplex_event_kind(ev) == SIMPLEX_EV_SENT && simplex_event_msg_id(ev) == id;
        assert_int_not_equal(simplex_event_kind(ev), SIMPLEX_EV_MERR);
        const char *server = simplex_event_server(ev);
        unsigned port =
            sent && server != NULL ? (unsigned)strtoul(strrchr(server, ':') + 1, NULL, 10) : 0;
        simplex_event_free(ev);
        if (sent)
            return port;
    }
    fail_msg("not sent");
    return 0;
}

/* A PKEY with the liar's own chain and a key signed by it: everything but the relay's identity. */
static void own_pkey(struct sx_wr *chain, struct sx_wr *key)
{
    struct sx_keypair session;

    sx_wr_u8(chain, (uint8_t)liar.server.peer.certs.chain.count);
    for (size_t i = 0; i < liar.server.peer.certs.chain.count; i++)
        sx_wr_large(chain, liar.server.peer.certs.chain.cert[i]);
    assert_int_equal(sx_keypair_new(SX_X25519, &session), SIMPLEX_OK);
    assert_int_equal(sx_signed_key_encode(key, &session.pub, &liar.server.peer.certs.leaf),
                     SIMPLEX_OK);
    liar.says = (struct sx_rsp){ .tag = SX_R_PKEY };
    liar.says.pkey.session_id = sx_str("a session that there is not");
    liar.says.pkey.min = 8;
    liar.says.pkey.max = 19;
    liar.says.pkey.chain = sx_wr_bytes(chain);
    liar.says.pkey.signed_key = sx_wr_bytes(key);
}

static void start_liar(void)
{
    memset(&liar, 0, sizeof liar);
    odd_server_open(&liar.server);
    liar.server.peer.answer = lie;
}

static void proxies_that_lie_are_left_and_nothing_goes_directly(void **state)
{
    enum { OWN_PKEY, WRONG_ANSWER, AUTH, GARBAGE, SILENT, CLOSES, CASES };
    struct sx_wr chain, key;
    unsigned before;

    (void)state;
    start_liar();
    connect_both();
    sx_wr_init(&chain, 65536);
    sx_wr_init(&key, 1024);
    own_pkey(&chain, &key);
    struct sx_rsp pkey = liar.says;
    n.j.cfg.command_timeout = 300;
    n.j.cfg.connect_timeout = 1000;
    for (int k = 0; k < CASES; k++) {
        char text[32];
        int64_t id;
        liar.says = pkey;
        liar.silent = k == SILENT;
        liar.server.peer.mode = k == CLOSES ? PEER_CLOSES : PEER_NORMAL;
        if (k == WRONG_ANSWER)
            liar.says = (struct sx_rsp){ .tag = SX_R_OK };
        if (k == AUTH)
            liar.says = (struct sx_rsp){ .tag = SX_R_ERR, .err = { .err = SX_ERR_AUTH } };
        if (k == GARBAGE)
            liar.says.pkey.signed_key = sx_str("not a key");
        n.j.servers[0] = liar.server.address;
        n.j.n_servers = 1;
        reopen_j(SIMPLEX_PROXY_ALWAYS, SIMPLEX_FALLBACK_ALLOW);
        before = forwarder_accepted(&n.way);
        (void)snprintf(text, sizeof text, "in spite of lie %d", k);
        id = send_text(&n.j, n.jc, text);
        liar.asked = 0;
        for (int64_t until = sx_mono_ms() + 600; sx_mono_ms() < until;)
            (void)uv_run(&liar.server.loop, UV_RUN_NOWAIT);
        print_message("lie %d: asked %u times\n", k, liar.asked);
        assert_true(k == CLOSES ? liar.asked == 0 : liar.asked > 0);
        assert_int_equal(forwarder_accepted(&n.way), before);
        liar.silent = false;
        n.j.servers[1] = n.other_address;
        n.j.n_servers = 2;
        reopen_j(SIMPLEX_PROXY_ALWAYS, SIMPLEX_FALLBACK_PROHIBIT);
        assert_int_equal(hear_sent(id), n.to_other.port);
        receive_text(&n.i, n.ic, text);
    }
    agent_close(&n.j);
    odd_server_close(&liar.server);
    sx_wr_free(&chain);
    sx_wr_free(&key);
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
        CASE(messages_wait_for_a_proxy_that_is_away),
        CASE(another_proxy_takes_over),
        CASE(all_go_on_when_their_proxy_is_left),
        CASE(a_proxy_that_leaves_the_list_is_left),
        CASE(messages_wait_for_a_relay_that_is_away),
        CASE(a_relay_that_stalls_is_waited_for),
        CASE(sessions_that_are_lost_are_made_again),
        CASE(order_holds_while_sessions_break),
        cmocka_unit_test(a_full_queue_is_waited_for),
        CASE(what_the_relay_refuses_is_refused_for_good),
        cmocka_unit_test(a_wrong_password_is_reported_and_another_proxy_used),
        CASE(proxies_that_lie_are_left_and_nothing_goes_directly),
        CASE(entities_have_sessions_of_their_own),
        CASE(settings_out_of_range_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
