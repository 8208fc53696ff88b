/* SPDX-License-Identifier: Apache-2.0 */
#include "support/server_mem.h"

#include <stdlib.h>

/* ---- server and clients ---- */

static int64_t clock_of(void *user)
{
    return ((struct mem_server *)user)->now;
}

void mem_open(struct mem_server *m, const struct sx_srv_cfg *cfg)
{
    struct sx_srv_cfg c = { .new_queues = true };
    struct sx_errtext none = { NULL, 0 };

    assert_int_equal(sx_crypto_init(), SIMPLEX_OK);
    memset(m, 0, sizeof(*m));
    m->now = 1700000000123;
    if (cfg != NULL)
        c = *cfg;
    c.now = clock_of;
    c.now_user = m;
    assert_int_equal(sx_srv_open(&c, &m->srv), SIMPLEX_OK);
    assert_int_equal(sx_identity_load(&m->identity, NULL, "localhost", &none), SIMPLEX_OK);
    for (size_t i = 0; i < SX_COUNT(m->hub); i++)
        assert_int_equal(sx_hub_open(&m->hub[i], m->srv, NULL, NULL), SIMPLEX_OK);
}

void mem_close(struct mem_server *m)
{
    for (size_t i = 0; i < SX_COUNT(m->hub); i++)
        sx_hub_close(&m->hub[i]);
    sx_srv_close(m->srv);
    sx_identity_wipe(&m->identity);
}

static void keep(struct mem_client *c, void *p)
{
    assert_non_null(p);
    c->kept = realloc(c->kept, (c->n_kept + 1) * sizeof(*c->kept));
    assert_non_null(c->kept);
    c->kept[c->n_kept++] = p;
}

static bool accept_service(void *user, const struct sx_service_hello *h, uint8_t id[SX_ID_LEN])
{
    struct mem_client *c = user;

    c->peer.service = sx_service_hello(c->m->srv, h);
    if (c->peer.service != NULL)
        memcpy(id, c->peer.service->id, SX_ID_LEN);
    return c->peer.service != NULL;
}

static simplex_rc shake_hands(struct mem_client *c, uint8_t hello[SX_BLOCK])
{
    uint8_t reply[SX_BLOCK];
    simplex_bytes content;
    bool has_reply;

    simplex_rc rc = sx_session_input(&c->client, hello, reply, &has_reply, &content);
    if (rc != SIMPLEX_OK)
        return rc;
    assert_true(has_reply);
    rc = sx_session_input(&c->server, reply, hello, &has_reply, &content);
    if (!has_reply)
        return rc;
    simplex_rc answer = sx_session_input(&c->client, hello, NULL, &has_reply, &content);
    assert_int_equal(answer == SIMPLEX_OK, rc == SIMPLEX_OK);
    return answer;
}

simplex_rc mem_try_service(struct mem_server *m, struct mem_client *c, unsigned hub,
                           uint16_t max_version, const struct sx_service_cert *cert,
                           const struct sx_chain *tls_chain)
{
    uint8_t id[32], hello[SX_BLOCK];
    struct sx_session_server_cfg s = { .max = max_version,
                                       .session_id = sx_bytes(id, sizeof(id)),
                                       .key_hash = m->identity.fingerprint,
                                       .chain = &m->identity.chain,
                                       .leaf = &m->identity.leaf,
                                       .alpn = true,
                                       .peer_chain = tls_chain,
                                       .accept = accept_service,
                                       .accept_user = c };
    struct sx_session_client_cfg k = { .session_id = sx_bytes(id, sizeof(id)),
                                       .key_hash = m->identity.fingerprint,
                                       .chain = &m->identity.chain,
                                       .alpn = true,
                                       .service = cert };

    memset(c, 0, sizeof(*c));
    c->m = m;
    sx_random(id, sizeof(id));
    sx_peer_init(&c->peer, &m->hub[hub], &c->server, c);
    assert_int_equal(sx_session_server(&c->server, &s, hello), SIMPLEX_OK);
    assert_int_equal(sx_session_client(&c->client, &k), SIMPLEX_OK);
    return shake_hands(c, hello);
}

void mem_connect_service(struct mem_server *m, struct mem_client *c, unsigned hub,
                         uint16_t max_version, const struct sx_service_cert *cert)
{
    assert_int_equal(
        mem_try_service(m, c, hub, max_version, cert, cert == NULL ? NULL : &cert->chain),
        SIMPLEX_OK);
    assert_int_equal(c->server.state, SX_S_READY);
    assert_int_equal(c->client.state, SX_S_READY);
    assert_int_equal(c->server.version, max_version == 0 ? SX_SMP_MAX : max_version);
}

void mem_connect(struct mem_server *m, struct mem_client *c, unsigned hub, uint16_t max_version)
{
    mem_connect_service(m, c, hub, max_version, NULL);
}

void mem_disconnect(struct mem_client *c)
{
    if (c->m == NULL)
        return; /* it is already */
    sx_peer_close(&c->peer);
    for (size_t i = 0; i < c->n_kept; i++)
        free(c->kept[i]);
    free(c->kept);
    sx_session_wipe(&c->client);
    sx_session_wipe(&c->server);
    memset(c, 0, sizeof(*c));
}

void mem_open_two(struct mem_two *t, const struct sx_srv_cfg *cfg)
{
    mem_open(&t->m, cfg);
    mem_connect(&t->m, &t->a, 0, 0);
    mem_connect(&t->m, &t->b, 1, 0);
}

void mem_close_two(struct mem_two *t)
{
    mem_disconnect(&t->a);
    mem_disconnect(&t->b);
    mem_close(&t->m);
}

void mem_settle(struct mem_server *m)
{
    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < SX_COUNT(m->hub); i++)
            sx_hub_run(&m->hub[i]);
}

/* ---- receiving ---- */

void mem_receive(struct mem_client *c)
{
    struct sx_batch_rd rd;
    simplex_bytes in;
    size_t len;

    for (;;) {
        uint8_t *content = malloc(SX_BLOCK);
        keep(c, content);
        len = sx_peer_next(&c->peer, content);
        assert_false(c->peer.failed);
        if (len == 0)
            return;
        assert_true(len <= SX_BLOCK_CONTENT_ENC);
        assert_int_equal(sx_batch_open(sx_bytes(content, len), &rd), SIMPLEX_OK);
        c->n_blocks++;
        while (sx_batch_next(&rd, &in)) {
            struct mem_item *i = calloc(1, sizeof(*i));
            keep(c, i);
            i->block = c->n_blocks;
            assert_int_equal(sx_transmission_decode(in, c->server.version, &i->t), SIMPLEX_OK);
            assert_int_equal(sx_rsp_decode(i->t.command, c->server.version, &i->rsp), SIMPLEX_OK);
            if (c->last == NULL)
                c->first = i;
            else
                c->last->next = i;
            c->last = i;
        }
    }
}

static const struct mem_item *take(struct mem_client *c, const simplex_bytes *corr)
{
    struct mem_item *before = NULL;

    mem_receive(c);
    for (struct mem_item *i = c->first; i != NULL; before = i, i = i->next) {
        if (corr != NULL && !sx_bytes_eq(i->t.corr_id, *corr))
            continue;
        if (before == NULL)
            c->first = i->next;
        else
            before->next = i->next;
        if (c->last == i)
            c->last = before;
        return i;
    }
    return NULL;
}

const struct mem_item *mem_next(struct mem_client *c)
{
    return take(c, NULL);
}

const struct sx_rsp *mem_event(struct mem_client *c)
{
    simplex_bytes none = sx_bytes(NULL, 0);
    const struct mem_item *i = take(c, &none);

    return i == NULL ? NULL : &i->rsp;
}

const struct sx_rsp *mem_expect(struct mem_client *c, enum sx_rsp_tag tag, simplex_bytes entity)
{
    const struct mem_item *i = mem_next(c);

    assert_non_null(i);
    mem_assert_tag(&i->rsp, tag);
    assert_int_equal(i->t.corr_id.len, 0);
    vec_assert_eq(i->t.entity_id, entity, "entity of an event");
    return &i->rsp;
}

const struct sx_rsp *mem_expect_ended(struct mem_client *c, enum sx_rsp_tag tag,
                                      simplex_bytes entity)
{
    sx_peer_flush_ends(&c->peer);
    return mem_expect(c, tag, entity);
}

void mem_assert_not_ended(struct mem_client *c)
{
    sx_peer_flush_ends(&c->peer);
    mem_assert_quiet(c);
}

/* ---- sending ---- */

void mem_content(struct mem_client *c, simplex_bytes content)
{
    sx_peer_block(&c->peer, content);
    mem_settle(c->m);
}

void mem_batch_open(struct mem_batch *b, struct mem_client *c)
{
    b->c = c;
    sx_wr_fixed(&b->w, b->buf, sizeof(b->buf));
    sx_wr_u8(&b->w, 0);
}

static void batch_add(struct mem_batch *b, const struct sx_keypair *key, const uint8_t corr[24],
                      simplex_bytes entity, const struct sx_cmd *cmd)
{
    uint8_t buf[SX_BLOCK];
    struct sx_wr w;

    sx_wr_fixed(&w, buf, sizeof(buf));
    assert_int_equal(sx_session_encode(&b->c->client, key, corr, entity, cmd, &w), SIMPLEX_OK);
    sx_wr_large(&b->w, sx_wr_bytes(&w));
    assert_false(b->w.bad);
    b->buf[0]++;
}

void mem_batch_add(struct mem_batch *b, const struct sx_keypair *key, simplex_bytes entity,
                   const struct sx_cmd *cmd)
{
    uint8_t corr[24];

    sx_random(corr, sizeof(corr));
    batch_add(b, key, corr, entity, cmd);
}

void mem_batch_run(struct mem_batch *b)
{
    mem_content(b->c, sx_wr_bytes(&b->w));
}

void mem_run_ahead(struct mem_client *c, const struct sx_keypair *key, simplex_bytes entity,
                   const struct sx_cmd *cmd)
{
    struct mem_batch b;

    mem_batch_open(&b, c);
    mem_batch_add(&b, key, entity, cmd);
    sx_peer_block(&c->peer, sx_wr_bytes(&b.w));
}

const struct sx_rsp *mem_cmd_corr(struct mem_client *c, const struct sx_keypair *key,
                                  const uint8_t corr[24], simplex_bytes entity,
                                  const struct sx_cmd *cmd)
{
    struct mem_batch b;
    simplex_bytes id = sx_bytes(corr, 24);

    mem_batch_open(&b, c);
    batch_add(&b, key, corr, entity, cmd);
    mem_batch_run(&b);
    const struct mem_item *i = take(c, &id);
    assert_non_null(i);
    return &i->rsp;
}

const struct sx_rsp *mem_cmd(struct mem_client *c, const struct sx_keypair *key,
                             simplex_bytes entity, const struct sx_cmd *cmd)
{
    uint8_t corr[24];

    sx_random(corr, sizeof(corr));
    return mem_cmd_corr(c, key, corr, entity, cmd);
}

const struct sx_rsp *mem_text(struct mem_client *c, const struct sx_keypair *key,
                              simplex_bytes entity, simplex_bytes text)
{
    uint8_t buf[SX_BLOCK], all[SX_BLOCK], sig[SX_SIG_MAX], corr[24];
    simplex_bytes id = sx_bytes(corr, sizeof(corr));
    struct sx_transmission t = { .corr_id = id, .entity_id = entity, .command = text };
    struct sx_wr w;

    sx_random(corr, sizeof(corr));
    if (key != NULL) {
        sx_wr_fixed(&w, buf, sizeof(buf));
        sx_authorized_encode(&w, sx_session_id(&c->client), id, entity, text);
        t.auth.ptr = sig;
        assert_int_equal(sx_sign(key, sx_wr_bytes(&w), sig, &t.auth.len), SIMPLEX_OK);
    }
    sx_wr_fixed(&w, buf, sizeof(buf));
    sx_transmission_encode(&w, &t, c->client.version);
    struct sx_wr block;
    sx_wr_fixed(&block, all, sizeof(all));
    sx_wr_u8(&block, 1);
    sx_wr_large(&block, sx_wr_bytes(&w));
    assert_false(w.bad || block.bad);
    mem_content(c, sx_wr_bytes(&block));
    const struct mem_item *i = take(c, &id);
    assert_non_null(i);
    return &i->rsp;
}

/* ---- shorthands ---- */

void mem_keys(struct mem_queue *q, enum sx_alg alg)
{
    assert_int_equal(sx_keypair_new(alg, &q->rcv), SIMPLEX_OK);
    assert_int_equal(sx_keypair_new(alg, &q->snd), SIMPLEX_OK);
    assert_int_equal(sx_keypair_new(SX_X25519, &q->dh), SIMPLEX_OK);
}

struct sx_cmd mem_new_cmd(const struct mem_queue *q, enum sx_queue_mode mode, bool subscribe)
{
    struct sx_cmd c = { .tag = SX_NEW };

    c.new_.auth = q->rcv.pub;
    c.new_.dh = q->dh.pub;
    c.new_.mode = (uint8_t)mode;
    c.new_.subscribe = subscribe;
    return c;
}

void mem_take_ids(struct mem_queue *q, const struct sx_rsp *r)
{
    mem_assert_tag(r, SX_R_IDS);
    assert_int_equal(r->ids.rcv_id.len, 24);
    assert_int_equal(r->ids.snd_id.len, 24);
    memcpy(q->rcv_id, r->ids.rcv_id.ptr, 24);
    memcpy(q->snd_id, r->ids.snd_id.ptr, 24);
    q->srv_dh = r->ids.srv_dh;
}

void mem_new(struct mem_client *c, struct mem_queue *q, enum sx_queue_mode mode, bool subscribe)
{
    memset(q, 0, sizeof(*q));
    mem_keys(q, SX_ED25519);
    struct sx_cmd cmd = mem_new_cmd(q, mode, subscribe);
    mem_take_ids(q, mem_cmd(c, &q->rcv, sx_bytes(NULL, 0), &cmd));
}

void mem_new_all(struct mem_client *c, struct mem_queue *q, size_t n)
{
    for (size_t i = 0; i < n; i++)
        mem_new(c, &q[i], SX_MODE_MESSAGING, true);
}

const struct sx_rsp *mem_rcv(struct mem_client *c, const struct mem_queue *q, enum sx_cmd_tag tag)
{
    struct sx_cmd cmd = { .tag = tag };

    return mem_cmd(c, &q->rcv, mem_rcv_id(q), &cmd);
}

const struct sx_rsp *mem_skey(struct mem_client *c, const struct mem_queue *q)
{
    struct sx_cmd cmd = { .tag = SX_SKEY };

    cmd.key.key = q->snd.pub;
    return mem_cmd(c, &q->snd, mem_snd_id(q), &cmd);
}

const struct sx_rsp *mem_send(struct mem_client *c, const struct mem_queue *q, bool key,
                              const char *text)
{
    struct sx_cmd cmd = { .tag = SX_SEND, .send = { .body = sx_str(text) } };

    return mem_cmd(c, key ? &q->snd : NULL, mem_snd_id(q), &cmd);
}

const struct sx_rsp *mem_ack(struct mem_client *c, const struct mem_queue *q, simplex_bytes id)
{
    struct sx_cmd cmd = { .tag = SX_ACK, .ack = { .msg_id = id } };

    return mem_cmd(c, &q->rcv, mem_rcv_id(q), &cmd);
}

void mem_put(struct mem_client *c, const struct mem_queue *q, const char *text)
{
    mem_assert_tag(mem_send(c, q, false, text), SX_R_OK);
}

simplex_bytes mem_expect_msg(struct mem_client *c, const struct mem_queue *q, const char *text)
{
    return mem_assert_msg(q, mem_expect(c, SX_R_MSG, mem_rcv_id(q)), text);
}

void mem_take_msg(struct mem_client *c, const struct mem_queue *q, const char *text)
{
    mem_assert_tag(mem_ack(c, q, mem_expect_msg(c, q, text)), SX_R_OK);
}

simplex_bytes mem_get_msg(struct mem_client *c, const struct mem_queue *q, const char *text)
{
    simplex_bytes id = mem_assert_msg(q, mem_rcv(c, q, SX_GET), text);

    mem_assert_tag(mem_ack(c, q, id), SX_R_OK);
    return id;
}

void mem_deliver(struct mem_client *from, struct mem_client *to, const struct mem_queue *q,
                 const char *text)
{
    mem_put(from, q, text);
    mem_take_msg(to, q, text);
}

void mem_assert_tag(const struct sx_rsp *r, enum sx_rsp_tag tag)
{
    assert_non_null(r);
    if (r->tag == SX_R_ERR && tag != SX_R_ERR)
        fail_msg("ERR %d %d instead of %s", r->err.err, r->err.cmd, sx_rsp_name(tag));
    if (r->tag != tag)
        fail_msg("%s instead of %s", sx_rsp_name(r->tag), sx_rsp_name(tag));
}

void mem_assert_err(const struct sx_rsp *r, enum sx_err err)
{
    mem_assert_tag(r, SX_R_ERR);
    assert_int_equal(r->err.err, err);
}

void mem_assert_cmd_err(const struct sx_rsp *r, enum sx_err_cmd err)
{
    mem_assert_err(r, SX_ERR_CMD);
    assert_int_equal(r->err.cmd, err);
}

simplex_bytes mem_assert_msg(const struct mem_queue *q, const struct sx_rsp *r, const char *text)
{
    uint8_t secret[SX_DH_MAX];
    static uint8_t body[SX_MSG_BODY];
    struct sx_rcv_msg m;
    struct sx_box_key key;
    simplex_bytes plain;

    mem_assert_tag(r, SX_R_MSG);
    assert_int_equal(r->msg.msg_id.len, 24);
    assert_int_equal(r->msg.body.len, SX_MSG_BODY);
    assert_int_equal(sx_dh(&q->dh.priv, &q->srv_dh, secret), SIMPLEX_OK);
    sx_box_key_init(&key, secret);
    memcpy(body, r->msg.body.ptr, sizeof(body));
    assert_int_equal(sx_box_open_padded(&key, r->msg.msg_id.ptr, body, sizeof(body), &plain),
                     SIMPLEX_OK);
    assert_int_equal(sx_rcv_msg_decode(plain, &m), SIMPLEX_OK);
    assert_int_equal(m.quota, text == NULL);
    if (text != NULL)
        vec_assert_eq(m.body, sx_str(text), "message");
    return r->msg.msg_id;
}

void mem_assert_quiet(struct mem_client *c)
{
    mem_receive(c);
    if (c->first != NULL)
        fail_msg("unexpected %s", sx_rsp_name(c->first->rsp.tag));
}

uint64_t mem_stat(const struct mem_server *m, unsigned stat)
{
    struct sx_snapshot s;

    sx_stats_read(m->srv->stats, m->srv->store, m->now, &s);
    return s.v[stat];
}
