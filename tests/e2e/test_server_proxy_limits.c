/* SPDX-License-Identifier: Apache-2.0 */
/* The proxy's limits: of time, of what clients and relays have under way, of relays. */
#include "proxy_stage.h"

#include <stdio.h>
#include <unistd.h>

static void gives_up_when_the_relay_does_not_answer(void **state)
{
    struct net n;
    struct queue q;
    simplex_server_config cfg = hop_config();

    (void)state;
    cfg.proxy_command_timeout_ms = 4000; /* the next one is answered in less */
    struct route route = net_route(&n, cfg, &q);
    forwarder_set(&n.way, FORWARD_STALL);
    struct sx_rsp r = send_to(&n.client, &route, &q, false, sx_str("late"));
    assert_proxy(&r, SX_PROXY_BROKER, SX_BROKER_TIMEOUT, 0);
    forwarder_set(&n.way, FORWARD);
    r = send_to(&n.client, &route, &q, false, sx_str("next"));
    assert_int_equal(r.tag, SX_R_OK);
    assert_received(&n.rcv, &q, sx_str("late")); /* it got there all the same */
    assert_received(&n.rcv, &q, sx_str("next"));
    net_close(&n);
}

static void answers_other_commands_while_a_relay_is_slow(void **state)
{
    struct net n;
    struct smp_batch b;
    simplex_server_config cfg = hop_config();
    struct sx_cmd cmd = { .tag = SX_PRXY }, ping = { .tag = SX_PING };
    simplex_bytes none = sx_bytes(NULL, 0);

    (void)state;
    cfg.proxy_connect_timeout_ms = 1000;
    net_open(&n, cfg);
    forwarder_set(&n.way, FORWARD_STALL);
    cmd.prxy.server = n.to;
    smp_batch_init(&b);
    assert_int_equal(smp_batch_add(&b, &n.client, NULL, NULL, none, &cmd), SIMPLEX_OK);
    assert_int_equal(smp_batch_add(&b, &n.client, NULL, NULL, none, &ping), SIMPLEX_OK);
    assert_int_equal(smp_batch_send(&b, &n.client), SIMPLEX_OK);
    const struct smp_item *i = smp_peer_next(&n.client, 20000);
    assert_non_null(i);
    assert_int_equal(i->rsp.tag, SX_R_PONG);
    const struct sx_rsp *r = smp_peer_cmd(&n.client, NULL, none, &ping);
    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_PONG);
    i = smp_peer_next(&n.client, 20000);
    assert_non_null(i);
    assert_proxy(&i->rsp, SX_PROXY_BROKER, SX_BROKER_TIMEOUT, 0);
    net_close(&n);
}

/* More than it may have under way: the rest waits, and so does what comes behind. */
static void limits_what_a_client_has_under_way(void **state)
{
    enum { MORE = 5 };
    struct net n;
    struct smp_batch b;
    struct queue q;
    simplex_server_config cfg = hop_config();
    struct sx_cmd ping = { .tag = SX_PING };
    struct forwarding f[MORE];

    (void)state;
    cfg.proxy_concurrency = 2;
    struct route route = net_route(&n, cfg, &q);
    struct sx_cmd send = { .tag = SX_SEND, .send = { .body = sx_str("many") } };
    forwarder_set(&n.way, FORWARD_STALL);
    for (size_t i = 0; i < MORE; i++)
        assert_int_equal(forward(&n.client, &route, NULL, sx_bytes(q.snd_id, 24), &send, &f[i]),
                         SIMPLEX_OK);
    smp_batch_init(&b);
    assert_int_equal(smp_batch_add(&b, &n.client, NULL, NULL, sx_bytes(NULL, 0), &ping),
                     SIMPLEX_OK);
    assert_int_equal(smp_batch_send(&b, &n.client), SIMPLEX_OK);
    assert_null(smp_peer_next(&n.client, 500));
    forwarder_set(&n.way, FORWARD);
    for (size_t i = 0; i < MORE; i++) {
        assert_int_equal(answer_to(&n.client, &f[i]).tag, SX_R_OK);
        assert_received(&n.rcv, &q, sx_str("many"));
    }
    const struct smp_item *i = smp_peer_wait(&n.client, sx_bytes(b.corr[0], 24), 20000);
    assert_non_null(i);
    assert_int_equal(i->rsp.tag, SX_R_PONG);
    net_close(&n);
}

static void answers_a_block_of_more_than_it_may_have_under_way(void **state)
{
    enum { ALL = 40 };
    struct net n;
    struct smp_batch b;
    simplex_server_config cfg = hop_config();
    struct sx_cmd cmd = { .tag = SX_PRXY };

    (void)state;
    cfg.proxy_concurrency = 3;
    net_open(&n, cfg);
    cmd.prxy.server = n.to;
    smp_batch_init(&b);
    for (int i = 0; i < ALL; i++)
        assert_int_equal(smp_batch_add(&b, &n.client, NULL, NULL, sx_bytes(NULL, 0), &cmd),
                         SIMPLEX_OK);
    assert_int_equal(smp_batch_send(&b, &n.client), SIMPLEX_OK);
    for (int i = 0; i < ALL; i++) {
        const struct smp_item *item = smp_peer_wait(&n.client, sx_bytes(b.corr[i], 24), 20000);
        struct route route;
        assert_non_null(item);
        read_pkey(&item->rsp, &n.to, &route);
    }
    assert_int_equal(forwarder_accepted(&n.way), 1);
    net_close(&n);
}

static void forgets_clients_that_left_before_the_answer(void **state)
{
    struct net n;
    struct smp_peer other;
    struct queue q;
    struct forwarding f;
    struct sx_cmd send = { .tag = SX_SEND, .send = { .body = sx_str("whose") } };

    (void)state;
    net_open(&n, hop_config());
    new_queue(&n.rcv, &q, SX_ED25519, true);
    assert_int_equal(smp_peer_open(&other, &n.proxy.peer), SIMPLEX_OK);
    struct route route = open_route(&other, &n.to);
    forwarder_set(&n.way, FORWARD_STALL);
    for (int i = 0; i < 3; i++)
        assert_int_equal(forward(&other, &route, NULL, sx_bytes(q.snd_id, 24), &send, &f),
                         SIMPLEX_OK);
    usleep(200000);
    smp_peer_close(&other);
    usleep(200000);
    forwarder_set(&n.way, FORWARD);
    for (int i = 0; i < 3; i++)
        assert_received(&n.rcv, &q, sx_str("whose"));
    assert_int_equal(send_to(&n.client, &route, &q, false, sx_str("mine")).tag, SX_R_OK);
    assert_received(&n.rcv, &q, sx_str("mine"));
    net_close(&n);
}

static void stops_with_commands_under_way(void **state)
{
    struct net n;
    struct queue q;
    struct forwarding f;
    struct sx_cmd send = { .tag = SX_SEND, .send = { .body = sx_str("never") } };
    struct sx_cmd cmd = { .tag = SX_PRXY };
    struct smp_batch b;

    (void)state;
    struct route route = net_route(&n, hop_config(), &q);
    forwarder_set(&n.way, FORWARD_STALL);
    assert_int_equal(forward(&n.client, &route, NULL, sx_bytes(q.snd_id, 24), &send, &f),
                     SIMPLEX_OK);
    cmd.prxy.server = n.to;
    cmd.prxy.server.key_hash[0] ^= 1; /* another relay, connecting */
    smp_batch_init(&b);
    assert_int_equal(smp_batch_add(&b, &n.client, NULL, NULL, sx_bytes(NULL, 0), &cmd), SIMPLEX_OK);
    assert_int_equal(smp_batch_send(&b, &n.client), SIMPLEX_OK);
    usleep(200000);
    net_close(&n);
}

/* When nobody uses it for so long, which a slow machine may need more than once. */
static void assert_session_goes(struct net *n, const struct route *route, struct queue *q, int ms)
{
    struct sx_rsp r = { .tag = SX_R_OK };

    for (int i = 0; i < 10 && r.tag == SX_R_OK; i++) {
        usleep((useconds_t)ms * 1000);
        r = send_to(&n->client, route, q, false, sx_str("x"));
    }
    assert_proxy(&r, SX_PROXY_NO_SESSION, 0, 0);
}

static void closes_sessions_that_nobody_uses(void **state)
{
    struct net n;
    struct queue q;
    simplex_server_config cfg = hop_config();

    (void)state;
    cfg.proxy_idle_ms = 4000;
    struct route route = net_route(&n, cfg, &q);
    assert_int_equal(send_to(&n.client, &route, &q, false, sx_str("x")).tag, SX_R_OK);
    assert_session_goes(&n, &route, &q, 8500); /* looked at as often as that is long */
    open_route(&n.client, &n.to);
    net_close(&n);
}

/* Beyond what one relay may hold up there is an answer at once: others are not kept waiting. */
static void limits_what_one_relay_has_under_way(void **state)
{
    enum { MORE = 4 };
    struct net n;
    struct queue q;
    simplex_server_config cfg = hop_config();
    struct forwarding f[MORE];

    (void)state;
    cfg.proxy_relay_pending = 2;
    struct route route = net_route(&n, cfg, &q);
    struct sx_cmd send = { .tag = SX_SEND, .send = { .body = sx_str("many") } };
    forwarder_set(&n.way, FORWARD_STALL);
    for (size_t i = 0; i < MORE; i++)
        assert_int_equal(forward(&n.client, &route, NULL, sx_bytes(q.snd_id, 24), &send, &f[i]),
                         SIMPLEX_OK);
    for (size_t i = 2; i < MORE; i++) {
        struct sx_rsp r = answer_to(&n.client, &f[i]);
        assert_proxy(&r, SX_PROXY_BROKER, SX_BROKER_TIMEOUT, 0);
    }
    forwarder_set(&n.way, FORWARD);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(answer_to(&n.client, &f[i]).tag, SX_R_OK);
    net_close(&n);
}

static void takes_other_limits_while_it_runs(void **state)
{
    struct net n;
    struct queue q;
    simplex_server_config cfg = hop_config();
    const char *const own[] = { "example.org", "127.0.0.1" };

    (void)state;
    struct route route = net_route(&n, cfg, &q);
    usleep(1000000);
    assert_int_equal(send_to(&n.client, &route, &q, false, sx_str("x")).tag, SX_R_OK);
    cfg.proxy_idle_ms = 300;
    cfg.proxy_failed_ms = 300;
    cfg.own_domains = own;
    cfg.n_own_domains = SX_COUNT(own);
    for (int i = 0; i < 3; i++) /* faster than the thread takes them */
        assert_int_equal(simplex_server_reload(n.proxy.s, &cfg), SIMPLEX_OK);
    assert_session_goes(&n, &route, &q, 1000);
    forwarder_set(&n.way, FORWARD_REFUSE);
    assert_proxy(prxy(&n.client, &n.to, NULL), SX_PROXY_BROKER, SX_BROKER_NETWORK, 0);
    forwarder_set(&n.way, FORWARD);
    usleep(500000); /* and not 30 s */
    open_route(&n.client, &n.to);
    cfg.proxy_pending = 2000000;
    assert_int_equal(simplex_server_reload(n.proxy.s, &cfg), SIMPLEX_E_ARG);
    net_close(&n);
}

static void keeps_the_number_of_relays_within_its_limit(void **state)
{
    struct net n;
    struct hop more[3];
    struct sx_server to[3];
    struct queue q;
    simplex_server_config cfg = hop_config();

    (void)state;
    cfg.proxy_relays = 2;
    net_open(&n, cfg);
    for (size_t i = 0; i < 3; i++) {
        hop_start(&more[i], hop_config());
        to[i] = hop_address(&more[i]);
    }
    struct sx_server bad = n.to;
    bad.key_hash[0] ^= 1;
    struct route first = open_route(&n.client, &to[0]);
    assert_proxy(prxy(&n.client, &bad, NULL), SX_PROXY_BROKER, SX_BROKER_NETWORK, 0);
    struct route second = open_route(&n.client, &to[1]); /* in place of the failed one */
    memset(&q, 0, sizeof(q));
    struct sx_rsp r = send_to(&n.client, &first, &q, false, sx_str("x"));
    assert_int_equal(r.err.err, SX_ERR_AUTH); /* the session is there: no such queue */
    usleep(20000);
    r = send_to(&n.client, &second, &q, false, sx_str("x"));
    assert_int_equal(r.err.err, SX_ERR_AUTH);
    open_route(&n.client, &to[2]); /* in place of the first */
    r = send_to(&n.client, &first, &q, false, sx_str("x"));
    assert_proxy(&r, SX_PROXY_NO_SESSION, 0, 0);
    r = send_to(&n.client, &second, &q, false, sx_str("x"));
    assert_int_equal(r.err.err, SX_ERR_AUTH);
    for (size_t i = 0; i < 3; i++)
        simplex_server_stop(more[i].s);
    net_close(&n);
}

/* Clients that ask for relays which take connections and then say nothing. */
static void serves_others_while_clients_ask_for_dead_relays(void **state)
{
    enum { CLIENTS = 12, RELAYS = 30 };
    static struct smp_peer bad[CLIENTS];
    struct net n;
    struct forwarder dead;
    struct hop third;
    struct queue q;
    simplex_server_config cfg = hop_config();
    struct sx_cmd cmd = { .tag = SX_PRXY };
    int64_t slowest = 0;

    (void)state;
    cfg.proxy_relays = 40;
    net_open(&n, cfg);
    hop_start(&third, hop_config());
    new_queue(&n.rcv, &q, SX_ED25519, true);
    struct route route = open_route(&n.client, &n.to);
    forwarder_start(&dead, n.relay.peer.port);
    forwarder_set(&dead, FORWARD_STALL);
    cmd.prxy.server = hop_at("127.0.0.1", dead.port, n.relay.key_hash);
    for (size_t i = 0; i < CLIENTS; i++) {
        struct smp_batch b;
        assert_int_equal(smp_peer_open(&bad[i], &n.proxy.peer), SIMPLEX_OK);
        smp_batch_init(&b);
        for (size_t k = 0; k < RELAYS; k++) {
            cmd.prxy.server.key_hash[0] = (uint8_t)i;
            cmd.prxy.server.key_hash[1] = (uint8_t)k;
            assert_int_equal(smp_batch_add(&b, &bad[i], NULL, NULL, sx_bytes(NULL, 0), &cmd),
                             SIMPLEX_OK);
        }
        assert_int_equal(smp_batch_send(&b, &bad[i]), SIMPLEX_OK);
    }
    bool found = false;
    int64_t begin = sx_mono_ms();
    struct sx_server to = hop_address(&third);
    while (!found && sx_mono_ms() - begin < 30000) {
        int64_t at = sx_mono_ms();
        assert_int_equal(send_to(&n.client, &route, &q, false, sx_str("goes on")).tag, SX_R_OK);
        if (sx_mono_ms() - at > slowest)
            slowest = sx_mono_ms() - at;
        assert_received(&n.rcv, &q, sx_str("goes on"));
        found = prxy(&n.client, &to, NULL)->tag == SX_R_PKEY;
        usleep(found ? 0 : 200000);
    }
    print_message("a relay that lives was reached after %d ms; the slowest forwarded command took "
                  "%d ms\n",
                  (int)(sx_mono_ms() - begin), (int)slowest);
    assert_true(found);
    assert_true(slowest < 10000); /* a relay has 45 s to take a connection */
    for (size_t i = 0; i < CLIENTS; i++)
        smp_peer_close(&bad[i]);
    forwarder_stop(&dead);
    net_close(&n);
    simplex_server_stop(third.s);
    vec_free_all();
}

/* It is reached as any relay: nothing is answered by short cut, nothing loops for ever. */
static void refuses_settings_that_cannot_be(void **state)
{
    simplex_server_config cfg = hop_config();
    simplex_server *s;
    char *host = vec_keep(400), error[300] = "";

    (void)state;
    memset(host, 'a', 399);
    cfg.error = error;
    cfg.error_size = sizeof(error);
    cfg.proxy_socks_host = host;
    assert_int_equal(simplex_server_start(&cfg, &s), SIMPLEX_E_ARG);
    assert_string_not_equal(error, "");
    cfg.proxy_socks_host = NULL;
    cfg.proxy_socks_always = true;
    assert_int_equal(simplex_server_start(&cfg, &s), SIMPLEX_E_ARG);
    cfg.proxy_socks_always = false;
    cfg.proxy_concurrency = 70000;
    assert_int_equal(simplex_server_start(&cfg, &s), SIMPLEX_E_ARG);
    vec_free_all();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_up_when_the_relay_does_not_answer),
        cmocka_unit_test(answers_other_commands_while_a_relay_is_slow),
        cmocka_unit_test(limits_what_a_client_has_under_way),
        cmocka_unit_test(answers_a_block_of_more_than_it_may_have_under_way),
        cmocka_unit_test(forgets_clients_that_left_before_the_answer),
        cmocka_unit_test(stops_with_commands_under_way),
        cmocka_unit_test(closes_sessions_that_nobody_uses),
        cmocka_unit_test(limits_what_one_relay_has_under_way),
        cmocka_unit_test(takes_other_limits_while_it_runs),
        cmocka_unit_test(keeps_the_number_of_relays_within_its_limit),
        cmocka_unit_test(serves_others_while_clients_ask_for_dead_relays),
        cmocka_unit_test(refuses_settings_that_cannot_be),
    };

    if (sx_crypto_init() != SIMPLEX_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
