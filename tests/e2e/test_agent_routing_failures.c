/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private routing while the ways between agents, proxies and relays fail, and while proxies refuse
 * or lie: messages wait or go another way, in order and once, and never directly.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/smp_client.h"
#include "routing_stage.h"
#include "support/odd_server.h"

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

static void choose_of_two_proxies(void)
{
    n.j.servers[1] = n.other_address;
    n.j.n_servers = 2;
    reopen_j(SIMPLEX_PROXY_ALWAYS, SIMPLEX_FALLBACK_PROHIBIT);
}

static void another_proxy_takes_over(void **state)
{
    struct forwarder *first, *second;
    unsigned port;
    int64_t id;

    (void)state;
    choose_of_two_proxies();
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
    choose_of_two_proxies();
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
    choose_of_two_proxies();
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
    (void)state;
    n.i.errors_ok = n.j.errors_ok = true;
    reopen_j(SIMPLEX_PROXY_ALWAYS, SIMPLEX_FALLBACK_PROHIBIT);
    connect_both();
    assert_int_equal(simplex_agent_delete(n.i.a, n.ic), SIMPLEX_OK);
    expect(&n.i, SIMPLEX_EV_DEL_CONN, n.ic);
    expect_gone(&n.j, n.jc);
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

/* For so long, and before until it was asked. */
static void run_liar(bool until_asked, int64_t ms)
{
    int64_t until = sx_mono_ms() + WAIT_MS;

    while (until_asked && liar.asked == 0 && sx_mono_ms() < until)
        (void)uv_run(&liar.server.loop, UV_RUN_NOWAIT);
    for (until = sx_mono_ms() + ms; sx_mono_ms() < until;)
        (void)uv_run(&liar.server.loop, UV_RUN_NOWAIT);
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
        liar.asked = 0;
        id = send_text(&n.j, n.jc, text);
        run_liar(k != CLOSES, 600);
        print_message("lie %d: asked %u times\n", k, liar.asked);
        assert_true(k == CLOSES ? liar.asked == 0 : liar.asked > 0);
        assert_int_equal(forwarder_accepted(&n.way), before);
        liar.silent = false;
        choose_of_two_proxies();
        assert_int_equal(hear_sent(id), n.to_other.port);
        receive_text(&n.i, n.ic, text);
    }
    agent_close(&n.j);
    odd_server_close(&liar.server);
    sx_wr_free(&chain);
    sx_wr_free(&key);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
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
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
