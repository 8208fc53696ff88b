/* SPDX-License-Identifier: Apache-2.0 */
/* Relays that misbehave, and the way to them through SOCKS. */
#include "proxy_stage.h"

#include <pthread.h>
#include <stdio.h>

#include "support/smp_peer.h"

/* ---- relays that misbehave, and SOCKS ---- */

struct stage { /* a loop of its own */
    uv_loop_t loop;
    uv_async_t stop;
    pthread_t thread;
    struct peer relay;
    struct proxy socks;
    bool has_socks;
};

static void on_stage_stop(uv_async_t *a)
{
    struct stage *s = a->data;

    peer_stop(&s->relay);
    if (s->has_socks)
        proxy_stop(&s->socks);
    uv_close((uv_handle_t *)a, NULL);
}

static void *stage_main(void *arg)
{
    struct stage *s = arg;

    uv_run(&s->loop, UV_RUN_DEFAULT);
    return NULL;
}

/* Set modes between the two. */
static void stage_open(struct stage *s)
{
    assert_int_equal(uv_loop_init(&s->loop), 0);
    assert_int_equal(uv_async_init(&s->loop, &s->stop, on_stage_stop), 0);
    s->stop.data = s;
    peer_start(&s->relay, &s->loop, 0);
    if (s->has_socks)
        proxy_start(&s->socks, &s->loop);
}

static void stage_run(struct stage *s)
{
    assert_int_equal(pthread_create(&s->thread, NULL, stage_main, s), 0);
}

static void stage_close(struct stage *s)
{
    uv_async_send(&s->stop);
    pthread_join(s->thread, NULL);
    assert_int_equal(uv_loop_close(&s->loop), 0);
    peer_free(&s->relay);
}

static struct sx_rsp next_answer; /* of the relay, to RFWD */

static bool answer_as_told(struct peer *p, struct peer_conn *c, const struct sx_cmd *cmd,
                           struct sx_transmission *t, struct sx_rsp *rsp)
{
    (void)p;
    (void)c;
    (void)cmd;
    if (next_answer.tag == SX_R_NID)
        t->entity_id = sx_str("another entity");
    *rsp = next_answer;
    return true;
}

static struct sx_rsp through_bad_relay(struct sx_rsp answer)
{
    struct stage s = { .has_socks = false };
    struct hop proxy;
    struct smp_peer client;
    struct sx_server to;
    struct queue q;

    next_answer = answer;
    stage_open(&s);
    s.relay.answer = answer_as_told;
    peer_server(&s.relay, "127.0.0.1", &to);
    stage_run(&s);
    hop_start(&proxy, hop_config());
    assert_int_equal(smp_peer_open(&client, &proxy.peer), SIMPLEX_OK);
    struct route route = open_route(&client, &to);
    memset(&q, 0, sizeof(q));
    struct sx_rsp r = send_to(&client, &route, &q, false, sx_str("x"));
    struct sx_cmd ping = { .tag = SX_PING };
    const struct sx_rsp *pong = smp_peer_cmd(&client, NULL, sx_bytes(NULL, 0), &ping);
    assert_non_null(pong);
    assert_int_equal(pong->tag, SX_R_PONG);
    smp_peer_close(&client);
    simplex_server_stop(proxy.s);
    stage_close(&s);
    return r;
}

static struct sx_rsp err(struct sx_smp_err e)
{
    return (struct sx_rsp){ .tag = SX_R_ERR, .err = e };
}

static void passes_on_what_a_relay_says(void **state)
{
    struct sx_rsp r;

    (void)state;
    r = through_bad_relay(err((struct sx_smp_err){ .err = SX_ERR_CRYPTO }));
    assert_proxy(&r, SX_PROXY_PROTOCOL, 0, 0);
    assert_int_equal(r.err.relay, SX_ERR_CRYPTO);
    r = through_bad_relay(err((struct sx_smp_err){ .err = SX_ERR_CMD, .cmd = SX_CMD_SYNTAX }));
    assert_proxy(&r, SX_PROXY_PROTOCOL, 0, 0);
    assert_int_equal(r.err.relay, SX_ERR_CMD);
    assert_int_equal(r.err.cmd, SX_CMD_SYNTAX);
    r = through_bad_relay(err((struct sx_smp_err){ .err = SX_ERR_PROXY,
                                                   .proxy = SX_PROXY_BROKER,
                                                   .broker = SX_BROKER_TRANSPORT,
                                                   .transport = SX_TRANSPORT_NO_AUTH }));
    assert_proxy(&r, SX_PROXY_BROKER, SX_BROKER_TRANSPORT, SX_TRANSPORT_NO_AUTH);
    r = through_bad_relay(
        err((struct sx_smp_err){ .err = SX_ERR_PROXY, .proxy = SX_PROXY_NO_SESSION }));
    assert_proxy(&r, SX_PROXY_BROKER, SX_BROKER_UNEXPECTED, 0);
}

static void survives_answers_of_a_relay_that_are_none(void **state)
{
    uint8_t *noise = vec_keep(16000);
    struct sx_rsp r;

    (void)state;
    sx_random(noise, 16000);
    r = through_bad_relay((struct sx_rsp){ .tag = SX_R_PONG });
    assert_proxy(&r, SX_PROXY_BROKER, SX_BROKER_UNEXPECTED, 0);
    r = through_bad_relay((struct sx_rsp){ .tag = SX_R_NID });
    assert_proxy(&r, SX_PROXY_BROKER, SX_BROKER_RESPONSE, 0); /* without a key it cannot be read */
    static const size_t lengths[] = { 0, 15, 16, 100, 16000 };
    for (size_t i = 0; i < SX_COUNT(lengths); i++) {
        struct sx_rsp junk = { .tag = SX_R_RRES };
        junk.enc.body = sx_bytes(noise, lengths[i]);
        r = through_bad_relay(junk);
        assert_int_equal(r.tag, SX_R_ERR);
        assert_int_equal(r.err.err, SX_ERR_CRYPTO);
    }
    vec_free_all();
}

static void tells_how_a_handshake_failed(void **state)
{
    static const struct {
        enum peer_mode mode;
        enum sx_err_broker broker;
        unsigned transport;
    } rows[] = {
        { PEER_CLOSES, SX_BROKER_NETWORK, 0 },
        { PEER_NO_TLS, SX_BROKER_NETWORK, 0 },
        { PEER_NO_HELLO, SX_BROKER_TIMEOUT, 0 },
        { PEER_CLOSES_HELLO, SX_BROKER_NETWORK, 0 },
        { PEER_BAD_HELLO, SX_BROKER_TRANSPORT, SX_TRANSPORT_HANDSHAKE },
        { PEER_OTHER_SESSION, SX_BROKER_TRANSPORT, SX_TRANSPORT_SESSION },
        { PEER_FUTURE, SX_BROKER_TRANSPORT, SX_TRANSPORT_VERSION },
    };
    struct hop proxy;
    struct smp_peer client;
    simplex_server_config cfg = hop_config();

    (void)state;
    cfg.proxy_connect_timeout_ms = 6000; /* they are told of a failure before */
    hop_start(&proxy, cfg);
    assert_int_equal(smp_peer_open(&client, &proxy.peer), SIMPLEX_OK);
    for (size_t i = 0; i < SX_COUNT(rows); i++) {
        struct stage s = { .has_socks = false };
        struct sx_server to;
        stage_open(&s);
        s.relay.mode = rows[i].mode;
        peer_server(&s.relay, "127.0.0.1", &to);
        stage_run(&s);
        assert_proxy(prxy(&client, &to, NULL), SX_PROXY_BROKER, rows[i].broker, rows[i].transport);
        stage_close(&s);
    }
    smp_peer_close(&client);
    simplex_server_stop(proxy.s);
}

#define ONION "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaad.onion"

static void reaches_onion_relays_through_socks(void **state)
{
    struct stage s = { .has_socks = true };
    struct hop proxy, relay;
    struct smp_peer client, rcv;
    struct queue q;
    simplex_server_config cfg = hop_config();

    (void)state;
    hop_start(&relay, hop_config());
    stage_open(&s);
    s.socks.to = relay.peer.port;
    cfg.proxy_socks_host = "127.0.0.1";
    cfg.proxy_socks_port = s.socks.port;
    stage_run(&s);
    hop_start(&proxy, cfg);
    assert_int_equal(smp_peer_open(&client, &proxy.peer), SIMPLEX_OK);
    assert_int_equal(smp_peer_open(&rcv, &relay.peer), SIMPLEX_OK);
    struct sx_server to = hop_at(ONION, 5223, relay.key_hash), direct = hop_address(&relay);
    struct route route = open_route(&client, &to);
    new_queue(&rcv, &q, SX_ED25519, true);
    assert_int_equal(send_to(&client, &route, &q, false, sx_str("hidden")).tag, SX_R_OK);
    assert_received(&rcv, &q, sx_str("hidden"));
    open_route(&client, &direct);
    smp_peer_close(&client);
    smp_peer_close(&rcv);
    simplex_server_stop(proxy.s);
    simplex_server_stop(relay.s);
    stage_close(&s);
    assert_int_equal(s.socks.accepted, 1); /* not for the public host */
    assert_string_equal(s.socks.host, ONION);
    assert_int_equal(s.socks.host_port, 5223);
    vec_free_all();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passes_on_what_a_relay_says),
        cmocka_unit_test(survives_answers_of_a_relay_that_are_none),
        cmocka_unit_test(tells_how_a_handshake_failed),
        cmocka_unit_test(reaches_onion_relays_through_socks),
    };

    if (sx_crypto_init() != SIMPLEX_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
