/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private routing over real connections (protocol/smp.md section 8): a client, our server as the
 * proxy, our server as the relay, and the failures in between.
 */
#include "support/forwarder.h"
#include "support/vec.h"

#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "simplex/server.h"
#include "support/blocking_client.h"
#include "support/smp_peer.h"

#define PADDED 16226 /* content of the inner box */

/* ---- servers ---- */

struct hop {
    simplex_server *s;
    uint8_t key_hash[32];
    struct smp_peer_cfg peer;
};

static simplex_server_config config(void)
{
    simplex_server_config cfg;

    simplex_server_config_init(&cfg);
    cfg.end_flush_ms = cfg.ntf_flush_ms = 0;
    cfg.threads = 2;
    return cfg;
}

static void start(struct hop *h, simplex_server_config cfg)
{
    char error[300] = "";

    cfg.error = error;
    cfg.error_size = sizeof(error);
    if (simplex_server_start(&cfg, &h->s) != SIMPLEX_OK)
        fail_msg("%s", error);
    simplex_server_fingerprint(h->s, h->key_hash);
    h->peer = (struct smp_peer_cfg){ .port = simplex_server_port(h->s), .key_hash = h->key_hash };
}

static struct sx_server address(const char *host, uint16_t port, const uint8_t key_hash[32])
{
    struct sx_server a = { .n_hosts = 1 };

    assert_int_equal(sx_host_parse(sx_str(host), &a.hosts[0]), SIMPLEX_OK);
    snprintf(a.port, sizeof(a.port), "%u", port);
    memcpy(a.key_hash, key_hash, 32);
    return a;
}

static struct sx_server address_of(const struct hop *h)
{
    return address("127.0.0.1", h->peer.port, h->key_hash);
}

/* Behind an acknowledged message the next one comes in the answer. */
static struct sx_rsp next_msg;

struct net { /* a proxy, a relay, a client of each */
    struct hop proxy, relay;
    struct forwarder way; /* from the proxy to the relay */
    struct smp_peer client, rcv;
    struct sx_server to; /* the relay, as clients of the proxy know it: behind `way` */
};

static void net_open(struct net *n, simplex_server_config proxy)
{
    memset(n, 0, sizeof(*n));
    next_msg.tag = SX_R_OK;
    start(&n->relay, config());
    start(&n->proxy, proxy);
    forwarder_start(&n->way, n->relay.peer.port);
    n->to = address("127.0.0.1", n->way.port, n->relay.key_hash);
    assert_int_equal(smp_peer_open(&n->client, &n->proxy.peer), SIMPLEX_OK);
    assert_int_equal(smp_peer_open(&n->rcv, &n->relay.peer), SIMPLEX_OK);
}

static void net_close(struct net *n)
{
    smp_peer_close(&n->client);
    smp_peer_close(&n->rcv);
    forwarder_stop(&n->way);
    simplex_server_stop(n->proxy.s);
    simplex_server_stop(n->relay.s);
}

/* ---- the client of the proxy ---- */

struct route { /* what PKEY told */
    uint8_t id[64];
    size_t id_len;
    struct sx_pub key;
    uint16_t version;
};

static const struct sx_rsp *prxy(struct smp_peer *p, const struct sx_server *to,
                                 const char *password)
{
    struct sx_cmd cmd = { .tag = SX_PRXY, .prxy = { .server = *to } };

    cmd.prxy.has_password = password != NULL;
    if (password != NULL)
        cmd.prxy.password = sx_str(password);
    const struct sx_rsp *r = smp_peer_cmd(p, NULL, sx_bytes(NULL, 0), &cmd);
    assert_non_null(r);
    return r;
}

/* What a client checks: the identity in the address signs for the key it will use. */
static void read_pkey(const struct sx_rsp *r, const struct sx_server *to, struct route *route)
{
    struct sx_chain chain = { .count = 0 };
    simplex_bytes certs[SX_HELLO_CERTS_MAX];
    uint8_t identity[32];
    struct sx_pub leaf;
    size_t n;

    if (r->tag == SX_R_ERR)
        fail_msg("PRXY: ERR %d proxy %d broker %d transport %d", r->err.err, r->err.proxy,
                 r->err.broker, r->err.transport);
    assert_int_equal(r->tag, SX_R_PKEY);
    assert_int_equal(sx_chain_decode(r->pkey.chain, certs, &n), SIMPLEX_OK);
    chain.count = n;
    for (size_t i = 0; i < n; i++)
        chain.cert[i] = certs[i];
    assert_int_equal(sx_chain_fingerprint(&chain, identity), SIMPLEX_OK);
    assert_memory_equal(identity, to->key_hash, 32);
    assert_int_equal(sx_chain_leaf_key(&chain, &leaf), SIMPLEX_OK);
    assert_int_equal(sx_signed_key_verify(r->pkey.signed_key, &leaf, &route->key), SIMPLEX_OK);
    assert_int_equal(r->pkey.min, 8);
    assert_true(r->pkey.session_id.len > 0 && r->pkey.session_id.len <= sizeof(route->id));
    memcpy(route->id, r->pkey.session_id.ptr, r->pkey.session_id.len);
    route->id_len = r->pkey.session_id.len;
    route->version = r->pkey.max;
}

static struct route open_route(struct smp_peer *p, const struct sx_server *to)
{
    struct route route;

    read_pkey(prxy(p, to, NULL), to, &route);
    return route;
}

struct forwarding { /* one PFWD */
    const struct route *route;
    struct sx_keypair command;
    struct sx_box_key box;
    uint8_t corr[24];
};

static simplex_rc forward(struct smp_peer *p, const struct route *route,
                          const struct sx_keypair *key, simplex_bytes entity,
                          const struct sx_cmd *cmd, struct forwarding *f)
{
    uint8_t one[SX_BLOCK], content[SX_BLOCK], sealed[PADDED + SX_BOX_TAG], secret[SX_DH_MAX];
    struct sx_session s;
    struct smp_batch b;
    struct sx_wr w, batch;

    f->route = route;
    sx_random(f->corr, sizeof(f->corr));
    assert_int_equal(sx_keypair_new(SX_X25519, &f->command), SIMPLEX_OK);
    assert_int_equal(
        sx_session_relay(&s, route->version, sx_bytes(route->id, route->id_len), &route->key),
        SIMPLEX_OK);
    sx_wr_fixed(&w, one, sizeof(one));
    assert_int_equal(sx_session_encode(&s, key, f->corr, entity, cmd, &w), SIMPLEX_OK);
    sx_wr_fixed(&batch, content, sizeof(content));
    sx_wr_u8(&batch, 1);
    sx_wr_large(&batch, sx_wr_bytes(&w));
    assert_int_equal(sx_dh(&f->command.priv, &route->key, secret), SIMPLEX_OK);
    sx_box_key_init(&f->box, secret);
    assert_int_equal(sx_box_seal_padded(&f->box, f->corr, sx_wr_bytes(&batch), PADDED, sealed),
                     SIMPLEX_OK);
    struct sx_cmd pfwd = { .tag = SX_PFWD };
    pfwd.pfwd.version = route->version;
    pfwd.pfwd.key = f->command.pub;
    pfwd.pfwd.body = sx_bytes(sealed, sizeof(sealed));
    smp_batch_init(&b);
    simplex_rc rc = smp_batch_add(&b, p, NULL, f->corr, sx_bytes(route->id, route->id_len), &pfwd);
    return rc == SIMPLEX_OK ? smp_batch_send(&b, p) : rc;
}

/* The answer: what is inside PRES, or ERR of the proxy. */
static struct sx_rsp answer_to(struct smp_peer *p, const struct forwarding *f)
{
    const struct smp_item *i = smp_peer_wait(p, sx_bytes(f->corr, 24), 20000);
    uint8_t *box, back[24];
    struct sx_transmission t;
    struct sx_batch_rd rd;
    struct sx_rsp r;
    simplex_bytes content, in;

    assert_non_null(i);
    vec_assert_eq(i->t.entity_id, sx_bytes(f->route->id, f->route->id_len), "entity of PRES");
    if (i->rsp.tag == SX_R_ERR)
        return i->rsp;
    assert_int_equal(i->rsp.tag, SX_R_PRES);
    box = vec_keep(i->rsp.enc.body.len);
    memcpy(box, i->rsp.enc.body.ptr, i->rsp.enc.body.len);
    sx_nonce_reverse(f->corr, back);
    assert_int_equal(sx_box_open_padded(&f->box, back, box, i->rsp.enc.body.len, &content),
                     SIMPLEX_OK);
    assert_int_equal(sx_batch_open(content, &rd), SIMPLEX_OK);
    assert_true(sx_batch_next(&rd, &in));
    assert_int_equal(sx_transmission_decode(in, f->route->version, &t), SIMPLEX_OK);
    vec_assert_eq(t.corr_id, sx_bytes(f->corr, 24), "inner correlation id");
    assert_int_equal(sx_rsp_decode(t.command, f->route->version, &r), SIMPLEX_OK);
    return r;
}

static struct sx_rsp pfwd(struct smp_peer *p, const struct route *route,
                          const struct sx_keypair *key, simplex_bytes entity,
                          const struct sx_cmd *cmd)
{
    struct forwarding f;

    assert_int_equal(forward(p, route, key, entity, cmd, &f), SIMPLEX_OK);
    return answer_to(p, &f);
}

static void assert_proxy(const struct sx_rsp *r, enum sx_err_proxy proxy, unsigned broker,
                         unsigned transport)
{
    if (r->tag != SX_R_ERR)
        fail_msg("%s instead of ERR PROXY", sx_rsp_name(r->tag));
    assert_int_equal(r->err.err, SX_ERR_PROXY);
    assert_int_equal(r->err.proxy, proxy);
    assert_int_equal(r->err.broker, broker);
    assert_int_equal(r->err.transport, transport);
}

/* ---- the recipient, at the relay ---- */

struct queue {
    struct sx_keypair rcv, dh, snd;
    uint8_t rcv_id[24], snd_id[24];
    struct sx_pub srv_dh;
};

static void new_queue(struct smp_peer *p, struct queue *q, enum sx_alg snd)
{
    struct sx_cmd cmd = { .tag = SX_NEW };

    assert_int_equal(sx_keypair_new(SX_ED25519, &q->rcv), SIMPLEX_OK);
    assert_int_equal(sx_keypair_new(SX_X25519, &q->dh), SIMPLEX_OK);
    assert_int_equal(sx_keypair_new(snd, &q->snd), SIMPLEX_OK);
    cmd.new_.auth = q->rcv.pub;
    cmd.new_.dh = q->dh.pub;
    cmd.new_.mode = SX_MODE_MESSAGING;
    cmd.new_.subscribe = true;
    const struct sx_rsp *r = smp_peer_cmd(p, &q->rcv, sx_bytes(NULL, 0), &cmd);
    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_IDS);
    memcpy(q->rcv_id, r->ids.rcv_id.ptr, 24);
    memcpy(q->snd_id, r->ids.snd_id.ptr, 24);
    q->srv_dh = r->ids.srv_dh;
}

static struct sx_rsp send_to(struct smp_peer *p, const struct route *route, struct queue *q,
                             bool sign, simplex_bytes body)
{
    struct sx_cmd cmd = { .tag = SX_SEND, .send = { .body = body } };

    return pfwd(p, route, sign ? &q->snd : NULL, sx_bytes(q->snd_id, 24), &cmd);
}

static void assert_received(struct smp_peer *p, const struct queue *q, simplex_bytes body)
{
    struct sx_rcv_msg m;

    if (next_msg.tag != SX_R_MSG) {
        const struct smp_item *i = smp_peer_event(p, 20000);
        assert_non_null(i);
        next_msg = i->rsp;
    }
    assert_int_equal(next_msg.tag, SX_R_MSG);
    struct sx_cmd ack = { .tag = SX_ACK, .ack = { .msg_id = next_msg.msg.msg_id } };
    assert_int_equal(smp_open_msg(&next_msg, &q->dh, &q->srv_dh, &m), SIMPLEX_OK);
    vec_assert_eq(m.body, body, "message");
    const struct sx_rsp *r = smp_peer_cmd(p, &q->rcv, sx_bytes(q->rcv_id, 24), &ack);
    assert_non_null(r);
    next_msg = *r;
    assert_true(r->tag == SX_R_OK || r->tag == SX_R_MSG);
}

/* ---- tests ---- */

static void carries_the_longest_messages_with_each_kind_of_key(void **state)
{
    static const enum sx_alg algs[] = { SX_ED448, SX_ED25519, SX_X25519 };
    struct net n;
    struct queue q;
    uint8_t *body = vec_keep(16049);

    (void)state;
    net_open(&n, config());
    sx_random(body, 16049);
    for (size_t i = 0; i < SX_COUNT(algs); i++) {
        struct route route = open_route(&n.client, &n.to);
        struct sx_cmd skey = { .tag = SX_SKEY };
        new_queue(&n.rcv, &q, algs[i]);
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
    vec_free_all();
}

static void shares_one_session_among_all_clients(void **state)
{
    struct net n;
    struct smp_peer more[6];
    struct route route, first;
    struct queue q;

    (void)state;
    net_open(&n, config());
    new_queue(&n.rcv, &q, SX_ED25519);
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
    vec_free_all();
}

static void finds_no_session_that_was_never_made(void **state)
{
    struct net n;
    struct queue q;

    (void)state;
    net_open(&n, config());
    new_queue(&n.rcv, &q, SX_ED25519);
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
    vec_free_all();
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
    net_open(&n, config());
    for (int i = 0; i < 3; i++) {
        struct route route = open_route(&n.client, &n.to);
        if (i % 2 == 0)
            forwarder_drop(&n.way);
        else
            simplex_server_drop_connections(n.relay.s);
        smp_peer_close(&n.rcv);
        assert_int_equal(smp_peer_open(&n.rcv, &n.relay.peer), SIMPLEX_OK);
        new_queue(&n.rcv, &q, SX_ED25519);
        wait_no_session(&n, &route, &q);
        struct route again = open_route(&n.client, &n.to);
        assert_memory_not_equal(again.id, route.id, route.id_len);
        assert_int_equal(send_to(&n.client, &again, &q, false, sx_str("back")).tag, SX_R_OK);
        assert_received(&n.rcv, &q, sx_str("back"));
    }
    net_close(&n);
    vec_free_all();
}

static void remembers_a_failed_connection_for_a_while(void **state)
{
    struct net n;
    simplex_server_config cfg = config();

    (void)state;
    cfg.proxy_failed_ms = 1500;
    net_open(&n, cfg);
    forwarder_set(&n.way, FORWARD_REFUSE);
    assert_proxy(prxy(&n.client, &n.to, NULL), SX_PROXY_BROKER, SX_BROKER_NETWORK, 0);
    forwarder_set(&n.way, FORWARD);
    unsigned accepted = forwarder_accepted(&n.way);
    assert_proxy(prxy(&n.client, &n.to, NULL), SX_PROXY_BROKER, SX_BROKER_NETWORK, 0);
    assert_int_equal(forwarder_accepted(&n.way), accepted); /* it did not try */
    usleep(1600000);
    open_route(&n.client, &n.to);
    net_close(&n);
    vec_free_all();
}

static void tells_why_a_relay_cannot_be_reached(void **state)
{
    struct net n;
    simplex_server_config cfg = config();

    (void)state;
    cfg.proxy_connect_timeout_ms = 1000;
    net_open(&n, cfg);
    struct sx_server to = n.to;
    to.key_hash[5] ^= 1; /* somebody else answers there */
    assert_proxy(prxy(&n.client, &to, NULL), SX_PROXY_BROKER, SX_BROKER_NETWORK, 0);
    to = address("127.0.0.1", 1, n.relay.key_hash);
    assert_proxy(prxy(&n.client, &to, NULL), SX_PROXY_BROKER, SX_BROKER_NETWORK, 0);
    to = address("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaad.onion", 5223,
                 n.relay.key_hash); /* without SOCKS */
    assert_proxy(prxy(&n.client, &to, NULL), SX_PROXY_BROKER, SX_BROKER_HOST, 0);
    to = address("no-such-host.invalid", 5223,
                 n.relay.key_hash); /* a resolver that fails is not that */
    assert_proxy(prxy(&n.client, &to, NULL), SX_PROXY_BROKER, SX_BROKER_NETWORK, 0);
    forwarder_set(&n.way, FORWARD_STALL);
    assert_proxy(prxy(&n.client, &n.to, NULL), SX_PROXY_BROKER, SX_BROKER_TIMEOUT, 0);
    net_close(&n);
    vec_free_all();
}

static void refuses_relays_below_version_8(void **state)
{
    struct hop old;
    struct net n;
    simplex_server_config cfg = config();

    (void)state;
    net_open(&n, config());
    cfg.max_version = 7;
    start(&old, cfg);
    struct sx_server to = address_of(&old);
    assert_proxy(prxy(&n.client, &to, NULL), SX_PROXY_BROKER, SX_BROKER_TRANSPORT,
                 SX_TRANSPORT_VERSION);
    simplex_server_stop(old.s);
    cfg.max_version = 10; /* knows no flag of proxies */
    start(&old, cfg);
    to = address_of(&old);
    struct route route = open_route(&n.client, &to);
    assert_int_equal(route.version, 10);
    struct smp_peer rcv;
    struct queue q;
    assert_int_equal(smp_peer_open(&rcv, &old.peer), SIMPLEX_OK);
    new_queue(&rcv, &q, SX_X25519);
    assert_int_equal(send_to(&n.client, &route, &q, false, sx_str("to an old one")).tag, SX_R_OK);
    assert_received(&rcv, &q, sx_str("to an old one"));
    smp_peer_close(&rcv);
    simplex_server_stop(old.s);
    net_close(&n);
    vec_free_all();
}

static void asks_for_the_password_of_new(void **state)
{
    struct net n;
    simplex_server_config cfg = config();

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
    vec_free_all();
}

static void is_no_proxy_when_it_is_told_so(void **state)
{
    struct net n;
    struct queue q;
    simplex_server_config cfg = config();

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
    vec_free_all();
}

static void gives_up_when_the_relay_does_not_answer(void **state)
{
    struct net n;
    struct queue q;
    simplex_server_config cfg = config();

    (void)state;
    cfg.proxy_command_timeout_ms = 500;
    net_open(&n, cfg);
    new_queue(&n.rcv, &q, SX_ED25519);
    struct route route = open_route(&n.client, &n.to);
    forwarder_set(&n.way, FORWARD_STALL);
    struct sx_rsp r = send_to(&n.client, &route, &q, false, sx_str("late"));
    assert_proxy(&r, SX_PROXY_BROKER, SX_BROKER_TIMEOUT, 0);
    forwarder_set(&n.way, FORWARD);
    r = send_to(&n.client, &route, &q, false, sx_str("next"));
    assert_int_equal(r.tag, SX_R_OK);
    assert_received(&n.rcv, &q, sx_str("late")); /* it got there all the same */
    assert_received(&n.rcv, &q, sx_str("next"));
    net_close(&n);
    vec_free_all();
}

static void answers_other_commands_while_a_relay_is_slow(void **state)
{
    struct net n;
    struct smp_batch b;
    simplex_server_config cfg = config();
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
    vec_free_all();
}

/* More than it may have under way: the rest waits, and so does what comes behind. */
static void limits_what_a_client_has_under_way(void **state)
{
    enum { MORE = 5 };
    struct net n;
    struct smp_batch b;
    struct queue q;
    simplex_server_config cfg = config();
    struct sx_cmd ping = { .tag = SX_PING };
    struct forwarding f[MORE];

    (void)state;
    cfg.proxy_concurrency = 2;
    net_open(&n, cfg);
    new_queue(&n.rcv, &q, SX_ED25519);
    struct route route = open_route(&n.client, &n.to);
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
    vec_free_all();
}

static void answers_a_block_of_more_than_it_may_have_under_way(void **state)
{
    enum { ALL = 40 };
    struct net n;
    struct smp_batch b;
    simplex_server_config cfg = config();
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
    vec_free_all();
}

static void forgets_clients_that_left_before_the_answer(void **state)
{
    struct net n;
    struct smp_peer other;
    struct queue q;
    struct forwarding f;
    struct sx_cmd send = { .tag = SX_SEND, .send = { .body = sx_str("whose") } };

    (void)state;
    net_open(&n, config());
    new_queue(&n.rcv, &q, SX_ED25519);
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
    vec_free_all();
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
    net_open(&n, config());
    new_queue(&n.rcv, &q, SX_ED25519);
    struct route route = open_route(&n.client, &n.to);
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
    vec_free_all();
}

static void closes_sessions_that_nobody_uses(void **state)
{
    struct net n;
    struct queue q;
    simplex_server_config cfg = config();

    (void)state;
    cfg.proxy_idle_ms = 300;
    net_open(&n, cfg);
    new_queue(&n.rcv, &q, SX_ED25519);
    struct route route = open_route(&n.client, &n.to);
    assert_int_equal(send_to(&n.client, &route, &q, false, sx_str("x")).tag, SX_R_OK);
    usleep(1000000);
    struct sx_rsp r = send_to(&n.client, &route, &q, false, sx_str("x"));
    assert_proxy(&r, SX_PROXY_NO_SESSION, 0, 0);
    open_route(&n.client, &n.to);
    net_close(&n);
    vec_free_all();
}

/* Beyond what one relay may hold up there is an answer at once: others are not kept waiting. */
static void limits_what_one_relay_has_under_way(void **state)
{
    enum { MORE = 4 };
    struct net n;
    struct queue q;
    simplex_server_config cfg = config();
    struct forwarding f[MORE];

    (void)state;
    cfg.proxy_relay_pending = 2;
    net_open(&n, cfg);
    new_queue(&n.rcv, &q, SX_ED25519);
    struct route route = open_route(&n.client, &n.to);
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
    vec_free_all();
}

static void takes_other_limits_while_it_runs(void **state)
{
    struct net n;
    struct queue q;
    simplex_server_config cfg = config();
    const char *const own[] = { "example.org", "127.0.0.1" };

    (void)state;
    net_open(&n, cfg);
    new_queue(&n.rcv, &q, SX_ED25519);
    struct route route = open_route(&n.client, &n.to);
    usleep(1000000);
    assert_int_equal(send_to(&n.client, &route, &q, false, sx_str("x")).tag, SX_R_OK);
    cfg.proxy_idle_ms = 300;
    cfg.proxy_failed_ms = 300;
    cfg.own_domains = own;
    cfg.n_own_domains = SX_COUNT(own);
    for (int i = 0; i < 3; i++) /* faster than the thread takes them */
        assert_int_equal(simplex_server_reload(n.proxy.s, &cfg), SIMPLEX_OK);
    usleep(1000000);
    struct sx_rsp r = send_to(&n.client, &route, &q, false, sx_str("x"));
    assert_proxy(&r, SX_PROXY_NO_SESSION, 0, 0);
    forwarder_set(&n.way, FORWARD_REFUSE);
    assert_proxy(prxy(&n.client, &n.to, NULL), SX_PROXY_BROKER, SX_BROKER_NETWORK, 0);
    forwarder_set(&n.way, FORWARD);
    usleep(500000); /* and not 30 s */
    open_route(&n.client, &n.to);
    cfg.proxy_pending = 2000000;
    assert_int_equal(simplex_server_reload(n.proxy.s, &cfg), SIMPLEX_E_ARG);
    net_close(&n);
    vec_free_all();
}

static void keeps_the_number_of_relays_within_its_limit(void **state)
{
    struct net n;
    struct hop more[3];
    struct sx_server to[3];
    struct queue q;
    simplex_server_config cfg = config();

    (void)state;
    cfg.proxy_relays = 2;
    net_open(&n, cfg);
    for (size_t i = 0; i < 3; i++) {
        start(&more[i], config());
        to[i] = address_of(&more[i]);
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
    vec_free_all();
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
    simplex_server_config cfg = config();
    struct sx_cmd cmd = { .tag = SX_PRXY };
    int64_t slowest = 0;

    (void)state;
    cfg.proxy_relays = 40;
    net_open(&n, cfg);
    start(&third, config());
    new_queue(&n.rcv, &q, SX_ED25519);
    struct route route = open_route(&n.client, &n.to);
    forwarder_start(&dead, n.relay.peer.port);
    forwarder_set(&dead, FORWARD_STALL);
    cmd.prxy.server = address("127.0.0.1", dead.port, n.relay.key_hash);
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
    struct sx_server to = address_of(&third);
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
    assert_true(slowest < 2000);
    for (size_t i = 0; i < CLIENTS; i++)
        smp_peer_close(&bad[i]);
    forwarder_stop(&dead);
    net_close(&n);
    simplex_server_stop(third.s);
    vec_free_all();
}

/* It is reached as any relay: nothing is answered by short cut, nothing loops for ever. */
static void routes_to_itself(void **state)
{
    struct net n;
    struct smp_peer rcv;
    struct queue q;

    (void)state;
    net_open(&n, config());
    struct sx_server to = address_of(&n.proxy);
    struct route route = open_route(&n.client, &to);
    assert_int_equal(smp_peer_open(&rcv, &n.proxy.peer), SIMPLEX_OK);
    new_queue(&rcv, &q, SX_ED448);
    assert_int_equal(send_to(&n.client, &route, &q, false, sx_str("self")).tag, SX_R_OK);
    assert_received(&rcv, &q, sx_str("self"));
    smp_peer_close(&rcv);
    net_close(&n);
    vec_free_all();
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
    simplex_server_config cfg = config();

    (void)state;
    cfg.proxy_failed_ms = 20;
    net_open(&n, cfg);
    new_queue(&n.rcv, &q, SX_ED25519);
    smp_peer_close(&n.rcv); /* nobody reads: QUOTA is an answer as well */
    for (size_t i = 0; i < BUSY_CLIENTS; i++) {
        b[i] = (struct busy){ .n = &n, .to = i % 2 == 0 ? n.to : address_of(&n.relay) };
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
    vec_free_all();
}

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
    start(&proxy, config());
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
    simplex_server_config cfg = config();

    (void)state;
    cfg.proxy_connect_timeout_ms = 3000;
    start(&proxy, cfg);
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
    simplex_server_config cfg = config();

    (void)state;
    start(&relay, config());
    stage_open(&s);
    s.socks.to = relay.peer.port;
    cfg.proxy_socks_host = "127.0.0.1";
    cfg.proxy_socks_port = s.socks.port;
    stage_run(&s);
    start(&proxy, cfg);
    assert_int_equal(smp_peer_open(&client, &proxy.peer), SIMPLEX_OK);
    assert_int_equal(smp_peer_open(&rcv, &relay.peer), SIMPLEX_OK);
    struct sx_server to = address(ONION, 5223, relay.key_hash), direct = address_of(&relay);
    struct route route = open_route(&client, &to);
    new_queue(&rcv, &q, SX_ED25519);
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

static void refuses_settings_that_cannot_be(void **state)
{
    simplex_server_config cfg = config();
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
        cmocka_unit_test(carries_the_longest_messages_with_each_kind_of_key),
        cmocka_unit_test(shares_one_session_among_all_clients),
        cmocka_unit_test(finds_no_session_that_was_never_made),
        cmocka_unit_test(connects_again_when_it_is_asked_to),
        cmocka_unit_test(remembers_a_failed_connection_for_a_while),
        cmocka_unit_test(tells_why_a_relay_cannot_be_reached),
        cmocka_unit_test(refuses_relays_below_version_8),
        cmocka_unit_test(asks_for_the_password_of_new),
        cmocka_unit_test(is_no_proxy_when_it_is_told_so),
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
        cmocka_unit_test(routes_to_itself),
        cmocka_unit_test(serves_many_clients_while_sessions_break),
        cmocka_unit_test(passes_on_what_a_relay_says),
        cmocka_unit_test(survives_answers_of_a_relay_that_are_none),
        cmocka_unit_test(tells_how_a_handshake_failed),
        cmocka_unit_test(reaches_onion_relays_through_socks),
        cmocka_unit_test(refuses_settings_that_cannot_be),
    };

    if (sx_crypto_init() != SIMPLEX_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
