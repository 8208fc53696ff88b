/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy_stage.h"

#include <stdio.h>

#define PADDED 16226 /* content of the inner box */

/* ---- servers ---- */

simplex_server_config hop_config(void)
{
    simplex_server_config cfg;

    prompt_config(&cfg, 2);
    return cfg;
}

void hop_start(struct hop *h, simplex_server_config cfg)
{
    h->s = run_server(&cfg, h->key_hash, &h->peer);
}

struct sx_server hop_at(const char *host, uint16_t port, const uint8_t key_hash[32])
{
    struct sx_server a = { .n_hosts = 1 };

    assert_int_equal(sx_host_parse(sx_str(host), &a.hosts[0]), SIMPLEX_OK);
    snprintf(a.port, sizeof(a.port), "%u", port);
    memcpy(a.key_hash, key_hash, 32);
    return a;
}

struct sx_server hop_address(const struct hop *h)
{
    return hop_at("127.0.0.1", h->peer.port, h->key_hash);
}

/* Behind an acknowledged message the next one comes in the answer. */
static struct sx_rsp next_msg;

void net_open(struct net *n, simplex_server_config proxy)
{
    memset(n, 0, sizeof(*n));
    next_msg.tag = SX_R_OK;
    hop_start(&n->relay, hop_config());
    hop_start(&n->proxy, proxy);
    forwarder_start(&n->way, n->relay.peer.port);
    n->to = hop_at("127.0.0.1", n->way.port, n->relay.key_hash);
    assert_int_equal(smp_peer_open(&n->client, &n->proxy.peer), SIMPLEX_OK);
    assert_int_equal(smp_peer_open(&n->rcv, &n->relay.peer), SIMPLEX_OK);
}

void net_close(struct net *n)
{
    smp_peer_close(&n->client);
    smp_peer_close(&n->rcv);
    forwarder_stop(&n->way);
    simplex_server_stop(n->proxy.s);
    simplex_server_stop(n->relay.s);
    vec_free_all();
}

/* ---- the client of the proxy ---- */

const struct sx_rsp *prxy(struct smp_peer *p, const struct sx_server *to, const char *password)
{
    struct sx_cmd cmd = { .tag = SX_PRXY, .prxy = { .server = *to } };

    cmd.prxy.has_password = password != NULL;
    if (password != NULL)
        cmd.prxy.password = sx_str(password);
    const struct sx_rsp *r = smp_peer_cmd(p, NULL, sx_bytes(NULL, 0), &cmd);
    assert_non_null(r);
    return r;
}

void read_pkey(const struct sx_rsp *r, const struct sx_server *to, struct route *route)
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

struct route open_route(struct smp_peer *p, const struct sx_server *to)
{
    struct route route;

    read_pkey(prxy(p, to, NULL), to, &route);
    return route;
}

simplex_rc forward(struct smp_peer *p, const struct route *route, const struct sx_keypair *key,
                   simplex_bytes entity, const struct sx_cmd *cmd, struct forwarding *f)
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

struct sx_rsp answer_to(struct smp_peer *p, const struct forwarding *f)
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

struct sx_rsp pfwd(struct smp_peer *p, const struct route *route, const struct sx_keypair *key,
                   simplex_bytes entity, const struct sx_cmd *cmd)
{
    struct forwarding f;

    assert_int_equal(forward(p, route, key, entity, cmd, &f), SIMPLEX_OK);
    return answer_to(p, &f);
}

void assert_proxy(const struct sx_rsp *r, enum sx_err_proxy proxy, unsigned broker,
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

struct sx_rsp send_to(struct smp_peer *p, const struct route *route, struct queue *q, bool sign,
                      simplex_bytes body)
{
    struct sx_cmd cmd = { .tag = SX_SEND, .send = { .body = body } };

    return pfwd(p, route, sign ? &q->snd : NULL, sx_bytes(q->snd_id, 24), &cmd);
}

void assert_received(struct smp_peer *p, const struct queue *q, simplex_bytes body)
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

struct route net_route(struct net *n, simplex_server_config proxy, struct queue *q)
{
    net_open(n, proxy);
    new_queue(&n->rcv, q, SX_ED25519, true);
    return open_route(&n->client, &n->to);
}
