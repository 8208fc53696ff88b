/* SPDX-License-Identifier: Apache-2.0 */
/* Private routing over real connections: sessions with relays, and what is carried over them. */
#include "proxy_stage.h"

#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

static void carries_the_longest_messages_with_each_kind_of_key(void **state)
{
    static const enum sx_alg algs[] = { SX_ED448, SX_ED25519, SX_X25519 };
    struct net n;
    struct queue q;
    uint8_t *body = vec_keep(16049);

    (void)state;
    net_open(&n, hop_config());
    sx_random(body, 16049);
    for (size_t i = 0; i < SX_COUNT(algs); i++) {
        struct route route = open_route(&n.client, &n.to);
        struct sx_cmd skey = { .tag = SX_SKEY };
        new_queue(&n.rcv, &q, algs[i], true);
        skey.key.key = q.snd.pub;
        struct sx_rsp r = pfwd(&n.client, &route, &q.snd, sx_bytes(q.snd_id, 24), &skey);
        assert_int_equal(r.tag, SX_R_OK);
        r = send_to(&n.client, &route, &q, true, sx_bytes(body, 16048));
        assert_int_equal(r.tag, SX_R_OK);
        assert_received(&n.rcv, &q, sx_bytes(body, 16048));
        if (algs[i] != SX_ED448) { /* whose signature leaves no room for more in the inner box */
            r = send_to(&n.client, &route, &q, true, sx_bytes(body, 16049));
            assert_int_equal(r.tag, SX_R_ERR);
            assert_int_equal(r.err.err, SX_ERR_LARGE_MSG);
        }
        r = send_to(&n.client, &route, &q, false, sx_bytes(body, 10));
        assert_int_equal(r.tag, SX_R_ERR);
        assert_int_equal(r.err.err, SX_ERR_AUTH);
    }
    assert_int_equal(forwarder_accepted(&n.way), 1); /* one session for all of them */
    net_close(&n);
}

static void shares_one_session_among_all_clients(void **state)
{
    struct net n;
    struct smp_peer more[6];
    struct route route, first;
    struct queue q;

    (void)state;
    net_open(&n, hop_config());
    new_queue(&n.rcv, &q, SX_ED25519, true);
    first = open_route(&n.client, &n.to);
    for (size_t i = 0; i < SX_COUNT(more); i++) {
        char text[16];
        assert_int_equal(smp_peer_open(&more[i], &n.proxy.peer), SIMPLEX_OK);
        route = open_route(&more[i], &n.to);
        assert_memory_equal(route.id, first.id, first.id_len);
        snprintf(text, sizeof(text), "from %zu", i);
        assert_int_equal(send_to(&more[i], &route, &q, false, sx_str(text)).tag, SX_R_OK);
        assert_received(&n.rcv, &q, sx_str(text));
    }
    assert_int_equal(forwarder_accepted(&n.way), 1);
    for (size_t i = 0; i < SX_COUNT(more); i++)
        smp_peer_close(&more[i]);
    net_close(&n);
}

static void finds_no_session_that_was_never_made(void **state)
{
    struct net n;
    struct queue q;

    (void)state;
    net_open(&n, hop_config());
    new_queue(&n.rcv, &q, SX_ED25519, true);
    struct route route = open_route(&n.client, &n.to), other = route;
    other.id[3] ^= 1;
    struct sx_rsp r = send_to(&n.client, &other, &q, false, sx_str("x"));
    assert_proxy(&r, SX_PROXY_NO_SESSION, 0, 0);
    other = route;
    other.id_len--;
    r = send_to(&n.client, &other, &q, false, sx_str("x"));
    assert_proxy(&r, SX_PROXY_NO_SESSION, 0, 0);
    assert_int_equal(send_to(&n.client, &route, &q, false, sx_str("x")).tag, SX_R_OK);
    net_close(&n);
}

/* PFWD until the proxy has seen that the session is gone. */
static void wait_no_session(struct net *n, const struct route *route, struct queue *q)
{
    for (int i = 0; i < 500; i++) {
        struct sx_rsp r = send_to(&n->client, route, q, false, sx_str("lost"));
        if (r.tag == SX_R_ERR && r.err.proxy == SX_PROXY_NO_SESSION)
            return;
        if (r.tag == SX_R_ERR)
            assert_proxy(&r, SX_PROXY_BROKER, SX_BROKER_NETWORK, 0);
        usleep(10000);
    }
    fail_msg("the session stays");
}

static void connects_again_when_it_is_asked_to(void **state)
{
    struct net n;
    struct queue q;

    (void)state;
    net_open(&n, hop_config());
    for (int i = 0; i < 3; i++) {
        struct route route = open_route(&n.client, &n.to);
        if (i % 2 == 0)
            forwarder_drop(&n.way);
        else
            simplex_server_drop_connections(n.relay.s);
        smp_peer_close(&n.rcv);
        assert_int_equal(smp_peer_open(&n.rcv, &n.relay.peer), SIMPLEX_OK);
        new_queue(&n.rcv, &q, SX_ED25519, true);
        wait_no_session(&n, &route, &q);
        struct route again = open_route(&n.client, &n.to);
        assert_memory_not_equal(again.id, route.id, route.id_len);
        assert_int_equal(send_to(&n.client, &again, &q, false, sx_str("back")).tag, SX_R_OK);
        assert_received(&n.rcv, &q, sx_str("back"));
    }
    net_close(&n);
}

static void remembers_a_failed_connection_for_a_while(void **state)
{
    struct net n;
    simplex_server_config cfg = hop_config();

    (void)state;
    cfg.proxy_failed_ms = 4000;
    net_open(&n, cfg);
    int64_t begin = sx_mono_ms();
    forwarder_set(&n.way, FORWARD_REFUSE);
    assert_proxy(prxy(&n.client, &n.to, NULL), SX_PROXY_BROKER, SX_BROKER_NETWORK, 0);
    forwarder_set(&n.way, FORWARD);
    unsigned accepted = forwarder_accepted(&n.way);
    const struct sx_rsp *again = prxy(&n.client, &n.to, NULL);
    if (sx_mono_ms() - begin < cfg.proxy_failed_ms) { /* a machine may stand still for so long */
        assert_proxy(again, SX_PROXY_BROKER, SX_BROKER_NETWORK, 0);
        assert_int_equal(forwarder_accepted(&n.way), accepted); /* it did not try */
    }
    usleep(4100000);
    open_route(&n.client, &n.to);
    net_close(&n);
}

static void tells_why_a_relay_cannot_be_reached(void **state)
{
    struct net n;
    simplex_server_config cfg = hop_config();

    (void)state;
    cfg.proxy_connect_timeout_ms = 6000; /* it is told of the failures before */
    net_open(&n, cfg);
    struct sx_server to = n.to;
    to.key_hash[5] ^= 1; /* somebody else answers there */
    assert_proxy(prxy(&n.client, &to, NULL), SX_PROXY_BROKER, SX_BROKER_NETWORK, 0);
    to = hop_at("127.0.0.1", 1, n.relay.key_hash);
    assert_proxy(prxy(&n.client, &to, NULL), SX_PROXY_BROKER, SX_BROKER_NETWORK, 0);
    to = hop_at("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaad.onion", 5223,
                n.relay.key_hash); /* without SOCKS */
    assert_proxy(prxy(&n.client, &to, NULL), SX_PROXY_BROKER, SX_BROKER_HOST, 0);
    to = hop_at("no-such-host.invalid", 5223,
                n.relay.key_hash); /* a resolver that fails is not that */
    assert_proxy(prxy(&n.client, &to, NULL), SX_PROXY_BROKER, SX_BROKER_NETWORK, 0);
    forwarder_set(&n.way, FORWARD_STALL);
    assert_proxy(prxy(&n.client, &n.to, NULL), SX_PROXY_BROKER, SX_BROKER_TIMEOUT, 0);
    net_close(&n);
}

static void refuses_relays_below_version_8(void **state)
{
    struct hop old;
    struct net n;
    simplex_server_config cfg = hop_config();

    (void)state;
    net_open(&n, hop_config());
    cfg.max_version = 7;
    hop_start(&old, cfg);
    struct sx_server to = hop_address(&old);
    assert_proxy(prxy(&n.client, &to, NULL), SX_PROXY_BROKER, SX_BROKER_TRANSPORT,
                 SX_TRANSPORT_VERSION);
    simplex_server_stop(old.s);
    cfg.max_version = 10; /* knows no flag of proxies */
    hop_start(&old, cfg);
    to = hop_address(&old);
    struct route route = open_route(&n.client, &to);
    assert_int_equal(route.version, 10);
    struct smp_peer rcv;
    struct queue q;
    assert_int_equal(smp_peer_open(&rcv, &old.peer), SIMPLEX_OK);
    new_queue(&rcv, &q, SX_X25519, true);
    assert_int_equal(send_to(&n.client, &route, &q, false, sx_str("to an old one")).tag, SX_R_OK);
    assert_received(&rcv, &q, sx_str("to an old one"));
    smp_peer_close(&rcv);
    simplex_server_stop(old.s);
    net_close(&n);
}

static void asks_for_the_password_of_new(void **state)
{
    struct net n;
    simplex_server_config cfg = hop_config();

    (void)state;
    cfg.password = "secret";
    cfg.new_queues = false; /* has no say in it */
    net_open(&n, cfg);
    struct route route;
    assert_proxy(prxy(&n.client, &n.to, NULL), SX_PROXY_BASIC_AUTH, 0, 0);
    assert_proxy(prxy(&n.client, &n.to, "other"), SX_PROXY_BASIC_AUTH, 0, 0);
    read_pkey(prxy(&n.client, &n.to, "secret"), &n.to, &route);
    assert_int_equal(forwarder_accepted(&n.way), 1);
    net_close(&n);
}

static void is_no_proxy_when_it_is_told_so(void **state)
{
    struct net n;
    struct queue q;
    simplex_server_config cfg = hop_config();

    (void)state;
    cfg.proxy = false;
    net_open(&n, cfg);
    assert_proxy(prxy(&n.client, &n.to, NULL), SX_PROXY_BASIC_AUTH, 0, 0);
    struct route route = { .id_len = 32, .version = 12 };
    struct sx_keypair k;
    assert_int_equal(sx_keypair_new(SX_X25519, &k), SIMPLEX_OK);
    route.key = k.pub;
    memset(&q, 1, sizeof(q));
    struct sx_rsp r = send_to(&n.client, &route, &q, false, sx_str("x"));
    assert_proxy(&r, SX_PROXY_NO_SESSION, 0, 0);
    net_close(&n);
}

static void routes_to_itself(void **state)
{
    struct net n;
    struct smp_peer rcv;
    struct queue q;

    (void)state;
    net_open(&n, hop_config());
    struct sx_server to = hop_address(&n.proxy);
    struct route route = open_route(&n.client, &to);
    assert_int_equal(smp_peer_open(&rcv, &n.proxy.peer), SIMPLEX_OK);
    new_queue(&rcv, &q, SX_ED448, true);
    assert_int_equal(send_to(&n.client, &route, &q, false, sx_str("self")).tag, SX_R_OK);
    assert_received(&rcv, &q, sx_str("self"));
    smp_peer_close(&rcv);
    net_close(&n);
}

/* ---- many at once ---- */

#define BUSY_CLIENTS 6
#define BUSY_ROUNDS 40

struct busy {
    pthread_t thread;
    const struct net *n;
    struct sx_server to;
    uint8_t snd_id[24];
    unsigned ok, lost;
    bool failed;
};

/* One PFWD; false: the session is gone. No assertions: this is not the test's thread. */
static bool busy_send(struct busy *b, struct smp_peer *p, const struct route *route)
{
    struct sx_cmd cmd = { .tag = SX_SEND, .send = { .body = sx_str("busy") } };
    struct forwarding f;

    if (forward(p, route, NULL, sx_bytes(b->snd_id, 24), &cmd, &f) != SIMPLEX_OK) {
        b->failed = true;
        return false;
    }
    const struct smp_item *i = smp_peer_wait(p, sx_bytes(f.corr, 24), 20000);
    if (i == NULL)
        b->failed = true;
    else if (i->rsp.tag == SX_R_PRES)
        b->ok++;
    else
        b->lost++;
    return i != NULL && i->rsp.tag == SX_R_PRES;
}

static void *busy_main(void *arg)
{
    struct busy *b = arg;
    struct smp_peer p;
    struct route route;
    bool has_route = false;

    if (smp_peer_open(&p, &b->n->proxy.peer) != SIMPLEX_OK) {
        b->failed = true;
        return NULL;
    }
    for (int i = 0; i < BUSY_ROUNDS && !b->failed; i++) {
        if (!has_route) {
            struct sx_cmd cmd = { .tag = SX_PRXY, .prxy = { .server = b->to } };
            const struct sx_rsp *r = smp_peer_cmd(&p, NULL, sx_bytes(NULL, 0), &cmd);
            if (r == NULL || (r->tag != SX_R_PKEY && r->tag != SX_R_ERR))
                b->failed = true;
            has_route = r != NULL && r->tag == SX_R_PKEY;
            if (has_route)
                read_pkey(r, &b->to, &route);
        }
        if (has_route)
            has_route = busy_send(b, &p, &route);
        smp_peer_forget(&p);
    }
    smp_peer_close(&p);
    return NULL;
}

static void serves_many_clients_while_sessions_break(void **state)
{
    struct net n;
    struct busy b[BUSY_CLIENTS];
    struct queue q;
    unsigned ok = 0;
    simplex_server_config cfg = hop_config();

    (void)state;
    cfg.proxy_failed_ms = 20;
    net_open(&n, cfg);
    new_queue(&n.rcv, &q, SX_ED25519, true);
    smp_peer_close(&n.rcv); /* nobody reads: QUOTA is an answer as well */
    for (size_t i = 0; i < BUSY_CLIENTS; i++) {
        b[i] = (struct busy){ .n = &n, .to = i % 2 == 0 ? n.to : hop_address(&n.relay) };
        memcpy(b[i].snd_id, q.snd_id, 24);
        assert_int_equal(pthread_create(&b[i].thread, NULL, busy_main, &b[i]), 0);
    }
    for (int i = 0; i < 10; i++) {
        usleep(20000);
        if (i % 3 == 0)
            simplex_server_drop_connections(n.relay.s);
        else
            forwarder_drop(&n.way);
    }
    for (size_t i = 0; i < BUSY_CLIENTS; i++) {
        pthread_join(b[i].thread, NULL);
        assert_false(b[i].failed);
        ok += b[i].ok;
    }
    assert_true(ok > 0);
    usleep(50000); /* a failure of the last moment is forgotten */
    struct route route = open_route(&n.client, &n.to);
    send_to(&n.client, &route, &q, false, sx_str("after"));
    net_close(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(carries_the_longest_messages_with_each_kind_of_key),
        cmocka_unit_test(shares_one_session_among_all_clients),
        cmocka_unit_test(finds_no_session_that_was_never_made),
        cmocka_unit_test(connects_again_when_it_is_asked_to),
        cmocka_unit_test(remembers_a_failed_connection_for_a_while),
        cmocka_unit_test(tells_why_a_relay_cannot_be_reached),
        cmocka_unit_test(refuses_relays_below_version_8),
        cmocka_unit_test(asks_for_the_password_of_new),
        cmocka_unit_test(is_no_proxy_when_it_is_told_so),
        cmocka_unit_test(routes_to_itself),
        cmocka_unit_test(serves_many_clients_while_sessions_break),
    };

    if (sx_crypto_init() != SIMPLEX_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
