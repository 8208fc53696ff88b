/* SPDX-License-Identifier: Apache-2.0 */
/* The relay's part of private routing: what RFWD is answered (protocol/smp.md section 8). */
#include "support/server_mem.h"

#include "forward.h"

struct relay {
    struct mem_server m;
    struct mem_client rcv, proxy; /* who reads the queue; the proxy */
    struct mem_queue q;
    struct sx_keypair command; /* of the client, for one command */
    uint8_t inner_corr[24], outer_corr[24];
    uint16_t version; /* of the client behind the proxy */
};

static void open_relay(struct relay *t, enum sx_alg alg)
{
    memset(t, 0, sizeof(*t));
    mem_open(&t->m, NULL);
    mem_connect(&t->m, &t->rcv, 0, 0);
    mem_connect(&t->m, &t->proxy, 1, 0);
    mem_new(&t->rcv, &t->q, SX_MODE_MESSAGING, true);
    assert_int_equal(sx_keypair_new(alg, &t->q.snd), SIMPLEX_OK);
    assert_int_equal(sx_keypair_new(SX_X25519, &t->command), SIMPLEX_OK);
    t->version = SX_SMP_MAX;
}

static void close_relay(struct relay *t)
{
    mem_disconnect(&t->rcv);
    mem_disconnect(&t->proxy);
    mem_close(&t->m);
}

/* ---- the client behind the proxy ---- */

/* Its transmission, authorised for the session of proxy and relay. */
static void encode_inner(struct relay *t, const struct sx_keypair *key, simplex_bytes entity,
                         const struct sx_cmd *cmd, struct sx_wr *to)
{
    struct sx_session s;

    sx_random(t->inner_corr, sizeof(t->inner_corr));
    assert_int_equal(sx_session_relay(&s, t->version, sx_session_id(&t->proxy.client),
                                      &t->proxy.client.peer_key),
                     SIMPLEX_OK);
    assert_int_equal(sx_session_encode(&s, key, t->inner_corr, entity, cmd, to), SIMPLEX_OK);
}

static void inner_key(const struct relay *t, struct sx_box_key *k)
{
    uint8_t secret[SX_DH_MAX];

    assert_int_equal(sx_dh(&t->command.priv, &t->proxy.client.peer_key, secret), SIMPLEX_OK);
    sx_box_key_init(k, secret);
}

static simplex_bytes seal_inner(const struct relay *t, simplex_bytes content)
{
    uint8_t *box = vec_keep(SX_FORWARD_PADDED + SX_BOX_TAG);
    struct sx_box_key k;

    inner_key(t, &k);
    assert_int_equal(sx_box_seal_padded(&k, t->inner_corr, content, SX_FORWARD_PADDED, box),
                     SIMPLEX_OK);
    return sx_bytes(box, SX_FORWARD_PADDED + SX_BOX_TAG);
}

/* ---- the proxy ---- */

static const struct sx_rsp *rfwd(struct relay *t, simplex_bytes box)
{
    struct sx_cmd cmd = { .tag = SX_RFWD, .rfwd = { .body = box } };

    return mem_cmd_corr(&t->proxy, NULL, t->outer_corr, sx_bytes(NULL, 0), &cmd);
}

static const struct sx_rsp *forward_box(struct relay *t, simplex_bytes encrypted)
{
    uint8_t *buf = vec_keep(SX_BLOCK);
    struct sx_fwd_transmission f = { .corr_id = sx_bytes(t->inner_corr, 24),
                                     .version = t->version,
                                     .key = t->command.pub,
                                     .encrypted = encrypted };
    struct sx_wr w;

    sx_random(t->outer_corr, sizeof(t->outer_corr));
    sx_wr_fixed(&w, buf, SX_BLOCK);
    assert_int_equal(sx_forward_wrap(&t->proxy.client, t->outer_corr, &f, &w), SIMPLEX_OK);
    return rfwd(t, sx_wr_bytes(&w));
}

/* A box of any plaintext for the relay, in the outer layer alone. */
static const struct sx_rsp *forward_plain(struct relay *t, simplex_bytes plain)
{
    uint8_t *box = vec_keep(plain.len + SX_BOX_TAG);

    sx_random(t->outer_corr, sizeof(t->outer_corr));
    sx_box_seal(&t->proxy.client.shared, t->outer_corr, plain, box);
    return rfwd(t, sx_bytes(box, plain.len + SX_BOX_TAG));
}

static simplex_bytes batch(const simplex_bytes *t, size_t n)
{
    uint8_t *buf = vec_keep(SX_BLOCK);
    struct sx_wr w;

    sx_wr_fixed(&w, buf, SX_BLOCK);
    sx_wr_u8(&w, (uint8_t)n);
    for (size_t i = 0; i < n; i++)
        sx_wr_large(&w, t[i]);
    assert_false(w.bad);
    return sx_wr_bytes(&w);
}

/* What the client reads out of RRES. */
static const struct mem_item *open_answer(struct relay *t, const struct sx_rsp *r)
{
    uint8_t *buf, back[24], *inner;
    struct mem_item *i = vec_keep(sizeof(*i));
    struct sx_batch_rd rd;
    struct sx_box_key k;
    simplex_bytes box, content, in;

    mem_assert_tag(r, SX_R_RRES);
    buf = vec_keep(r->enc.body.len);
    assert_int_equal(sx_forward_unwrap(&t->proxy.client, t->outer_corr, r->enc.body, buf, &box),
                     SIMPLEX_OK);
    assert_int_equal(box.len, SX_FORWARD_PADDED + SX_BOX_TAG);
    inner = vec_keep(box.len);
    memcpy(inner, box.ptr, box.len);
    inner_key(t, &k);
    sx_nonce_reverse(t->inner_corr, back);
    assert_int_equal(sx_box_open_padded(&k, back, inner, box.len, &content), SIMPLEX_OK);
    assert_int_equal(sx_batch_open(content, &rd), SIMPLEX_OK);
    assert_true(sx_batch_next(&rd, &in));
    assert_int_equal(rd.left, 0);
    assert_int_equal(sx_transmission_decode(in, t->version, &i->t), SIMPLEX_OK);
    assert_int_equal(sx_rsp_decode(i->t.command, t->version, &i->rsp), SIMPLEX_OK);
    return i;
}

static const struct sx_rsp *forward(struct relay *t, const struct sx_keypair *key,
                                    simplex_bytes entity, const struct sx_cmd *cmd)
{
    uint8_t buf[SX_BLOCK];
    struct sx_wr w;
    simplex_bytes one;

    sx_wr_fixed(&w, buf, sizeof(buf));
    encode_inner(t, key, entity, cmd, &w);
    one = sx_wr_bytes(&w);
    const struct mem_item *i = open_answer(t, forward_box(t, seal_inner(t, batch(&one, 1))));
    vec_assert_eq(i->t.corr_id, sx_bytes(t->inner_corr, 24), "inner correlation id");
    vec_assert_eq(i->t.entity_id, entity, "inner entity");
    return &i->rsp;
}

static const struct sx_rsp *forward_key(struct relay *t, enum sx_cmd_tag tag, simplex_bytes entity)
{
    struct sx_cmd cmd = { .tag = tag };

    cmd.key.key = t->q.snd.pub;
    return forward(t, &t->q.snd, entity, &cmd);
}

static const struct sx_rsp *forward_send(struct relay *t, bool sign, simplex_bytes body)
{
    struct sx_cmd cmd = { .tag = SX_SEND, .send = { .body = body } };

    return forward(t, sign ? &t->q.snd : NULL, mem_snd_id(&t->q), &cmd);
}

/* ---- tests ---- */

static void deliver_with(enum sx_alg alg, uint16_t version)
{
    struct relay t;

    open_relay(&t, alg);
    t.version = version;
    size_t max = sx_smp_max_send(version);
    char *text = vec_keep(max + 1);
    memset(text, 'x', max);
    mem_assert_tag(forward_send(&t, false, sx_str("unsecured")), SX_R_OK);
    mem_ack(&t.rcv, &t.q, mem_assert_msg(&t.q, mem_event(&t.rcv), "unsecured"));
    if (version >= 9)
        mem_assert_tag(forward_key(&t, SX_SKEY, mem_snd_id(&t.q)), SX_R_OK);
    if (version >= 9) {
        mem_assert_err(forward_send(&t, false, sx_str("x")), SX_ERR_AUTH);
        mem_assert_tag(forward_send(&t, true, sx_bytes(text, max)), SX_R_OK);
        mem_assert_msg(&t.q, mem_event(&t.rcv), text);
    }
    close_relay(&t);
    vec_free_all();
}

static void delivers_what_a_proxy_forwards_with_each_kind_of_key(void **state)
{
    (void)state;
    deliver_with(SX_ED25519, SX_SMP_MAX);
    deliver_with(SX_ED448, 11);
    deliver_with(SX_X25519, SX_SMP_MAX);
}

static void encodes_as_the_version_of_the_client_has_it(void **state)
{
    (void)state;
    deliver_with(SX_X25519, 9);
    deliver_with(SX_ED25519, 8);
}

static void limits_the_body_by_the_version_of_the_client(void **state)
{
    struct relay t;
    static uint8_t body[16065];

    (void)state;
    open_relay(&t, SX_ED25519);
    mem_assert_err(forward_send(&t, false, sx_bytes(body, 16049)), SX_ERR_LARGE_MSG);
    t.version = 10;
    mem_assert_tag(forward_send(&t, false, sx_bytes(body, 16049)), SX_R_OK);
    mem_assert_err(forward_send(&t, false, sx_bytes(body, 16065)), SX_ERR_LARGE_MSG);
    close_relay(&t);
    vec_free_all();
}

static void verifies_with_the_session_of_proxy_and_relay(void **state)
{
    struct relay t;
    struct sx_cmd cmd = { .tag = SX_SKEY };
    uint8_t buf[SX_BLOCK];
    struct sx_session other;
    struct sx_wr w;

    (void)state;
    open_relay(&t, SX_ED25519);
    cmd.key.key = t.q.snd.pub;
    sx_random(t.inner_corr, sizeof(t.inner_corr));
    /* Signed for the session of somebody else. */
    assert_int_equal(
        sx_session_relay(&other, t.version, sx_session_id(&t.rcv.client), &t.proxy.client.peer_key),
        SIMPLEX_OK);
    sx_wr_fixed(&w, buf, sizeof(buf));
    assert_int_equal(sx_session_encode(&other, &t.q.snd, t.inner_corr, mem_snd_id(&t.q), &cmd, &w),
                     SIMPLEX_OK);
    simplex_bytes one = sx_wr_bytes(&w);
    mem_assert_err(&open_answer(&t, forward_box(&t, seal_inner(&t, batch(&one, 1))))->rsp,
                   SX_ERR_AUTH);
    mem_assert_tag(forward_key(&t, SX_SKEY, mem_snd_id(&t.q)), SX_R_OK);
    mem_assert_err(forward_key(&t, SX_SKEY, mem_rcv_id(&t.q)), SX_ERR_AUTH);
    close_relay(&t);
    vec_free_all();
}

static void forwards_link_commands(void **state)
{
    struct relay t;
    struct sx_cmd cmd, lget = { .tag = SX_LGET };
    uint8_t corr[24] = { 7 }, hash[48];

    (void)state;
    open_relay(&t, SX_ED25519);
    mem_keys(&t.q, SX_ED25519);
    sx_sha3_384(sx_bytes(corr, 24), hash);
    cmd = mem_new_cmd(&t.q, SX_MODE_MESSAGING, true);
    cmd.new_.has_link = true;
    cmd.new_.snd_id = sx_bytes(hash, 24);
    cmd.new_.fixed = sx_str("fixed");
    cmd.new_.user = sx_str("user");
    const struct sx_rsp *r = mem_cmd_corr(&t.rcv, &t.q.rcv, corr, sx_bytes(NULL, 0), &cmd);
    mem_assert_tag(r, SX_R_IDS);
    mem_assert_err(forward(&t, NULL, r->ids.link_id, &lget), SX_ERR_AUTH); /* not a contact's */
    const struct sx_rsp *lnk = forward_key(&t, SX_LKEY, r->ids.link_id);
    mem_assert_tag(lnk, SX_R_LNK);
    vec_assert_eq(lnk->lnk.user, sx_str("user"), "user data");
    struct sx_cmd rslv = { .tag = SX_RSLV, .rslv = { .name = sx_str("name.example") } };
    mem_assert_err(forward(&t, NULL, sx_bytes(NULL, 0), &rslv), SX_ERR_NAME);
    close_relay(&t);
    vec_free_all();
}

static void refuses_other_commands_inside(void **state)
{
    static const enum sx_cmd_tag tags[] = { SX_SUB, SX_DEL, SX_GET, SX_QUE, SX_OFF };
    struct relay t;
    struct sx_cmd cmd = { .tag = SX_PING }, key = { .tag = SX_KEY };

    (void)state;
    open_relay(&t, SX_ED25519);
    for (size_t i = 0; i < SX_COUNT(tags); i++) {
        struct sx_cmd c = { .tag = tags[i] };
        mem_assert_cmd_err(forward(&t, &t.q.rcv, mem_rcv_id(&t.q), &c), SX_CMD_PROHIBITED);
    }
    mem_assert_cmd_err(forward(&t, NULL, sx_bytes(NULL, 0), &cmd), SX_CMD_PROHIBITED);
    key.key.key = t.q.snd.pub;
    mem_assert_cmd_err(forward(&t, &t.q.rcv, mem_rcv_id(&t.q), &key), SX_CMD_PROHIBITED);
    struct sx_cmd rfwd_cmd = { .tag = SX_RFWD, .rfwd = { .body = sx_str("again") } };
    mem_assert_cmd_err(forward(&t, NULL, sx_bytes(NULL, 0), &rfwd_cmd), SX_CMD_PROHIBITED);
    struct sx_cmd new_cmd = mem_new_cmd(&t.q, SX_MODE_MESSAGING, false);
    mem_assert_cmd_err(forward(&t, &t.q.rcv, sx_bytes(NULL, 0), &new_cmd), SX_CMD_PROHIBITED);
    close_relay(&t);
    vec_free_all();
}

static void tells_the_proxy_when_a_layer_is_wrong(void **state)
{
    struct relay t;
    uint8_t box[200] = { 0 };
    struct sx_cmd send = { .tag = SX_SEND, .send = { .body = sx_str("x") } };
    uint8_t buf[SX_BLOCK];
    struct sx_wr w;

    (void)state;
    open_relay(&t, SX_ED25519);
    mem_assert_err(rfwd(&t, sx_bytes(NULL, 0)), SX_ERR_CRYPTO);
    mem_assert_err(rfwd(&t, sx_bytes(box, 15)), SX_ERR_CRYPTO);
    mem_assert_err(rfwd(&t, sx_bytes(box, sizeof(box))), SX_ERR_CRYPTO);
    mem_assert_cmd_err(forward_plain(&t, sx_bytes(NULL, 0)), SX_CMD_SYNTAX);
    mem_assert_cmd_err(forward_plain(&t, sx_str("\x03xyz\0\x13\x2c+++")), SX_CMD_SYNTAX);
    mem_assert_err(forward_box(&t, sx_bytes(NULL, 0)), SX_ERR_CRYPTO);
    mem_assert_err(forward_box(&t, sx_bytes(box, sizeof(box))), SX_ERR_CRYPTO);
    sx_wr_fixed(&w, buf, sizeof(buf));
    encode_inner(&t, NULL, mem_snd_id(&t.q), &send, &w);
    simplex_bytes two[2] = { sx_wr_bytes(&w), sx_wr_bytes(&w) };
    mem_assert_err(forward_box(&t, seal_inner(&t, batch(two, 2))), SX_ERR_BLOCK);
    simplex_bytes good = seal_inner(&t, batch(two, 1));
    for (size_t at = 0; at < good.len; at += 997) { /* any byte */
        uint8_t *bad = vec_keep(good.len);
        memcpy(bad, good.ptr, good.len);
        bad[at] ^= 1;
        mem_assert_err(forward_box(&t, sx_bytes(bad, good.len)), SX_ERR_CRYPTO);
    }
    mem_assert_quiet(&t.rcv);
    mem_assert_tag(&open_answer(&t, forward_box(&t, good))->rsp, SX_R_OK);
    mem_assert_msg(&t.q, mem_event(&t.rcv), "x");
    close_relay(&t);
    vec_free_all();
}

static void answers_inside_when_the_inner_batch_or_command_is_wrong(void **state)
{
    struct relay t;
    simplex_bytes text = sx_str("\0\0\0HELLO"), none = sx_bytes(NULL, 0);

    (void)state;
    open_relay(&t, SX_ED25519);
    mem_assert_err(&open_answer(&t, forward_box(&t, seal_inner(&t, none)))->rsp, SX_ERR_BLOCK);
    mem_assert_err(&open_answer(&t, forward_box(&t, seal_inner(&t, sx_str("\x01\xff"))))->rsp,
                   SX_ERR_BLOCK);
    mem_assert_err(&open_answer(&t, forward_box(&t, seal_inner(&t, batch(&none, 1))))->rsp,
                   SX_ERR_BLOCK);
    text.len = 8;
    mem_assert_cmd_err(&open_answer(&t, forward_box(&t, seal_inner(&t, batch(&text, 1))))->rsp,
                       SX_CMD_UNKNOWN);
    mem_assert_tag(forward_send(&t, false, sx_str("still works")), SX_R_OK);
    close_relay(&t);
    vec_free_all();
}

static void refuses_versions_it_does_not_offer(void **state)
{
    static const uint16_t versions[] = { 0, 5, SX_SMP_MAX + 1, 65535 };
    struct relay t;

    (void)state;
    open_relay(&t, SX_ED25519);
    simplex_bytes box = seal_inner(&t, sx_str("x"));
    for (size_t i = 0; i < SX_COUNT(versions); i++) {
        t.version = versions[i];
        mem_assert_cmd_err(forward_box(&t, box), SX_CMD_SYNTAX);
    }
    close_relay(&t);
    vec_free_all();
}

static void needs_the_key_of_the_proxy(void **state)
{
    struct relay t;

    (void)state;
    open_relay(&t, SX_ED25519);
    t.proxy.server.has_shared = false; /* as without a key in the hello */
    const struct sx_rsp *r = rfwd(&t, sx_str("anything of some length"));
    mem_assert_err(r, SX_ERR_PROXY);
    assert_int_equal(r->err.proxy, SX_PROXY_BROKER);
    assert_int_equal(r->err.broker, SX_BROKER_TRANSPORT);
    assert_int_equal(r->err.transport, SX_TRANSPORT_NO_AUTH);
    close_relay(&t);
}

static void leaves_no_room_for_an_answer_that_does_not_fit(void **state)
{
    struct relay t;
    uint8_t corr[255] = { 1 };
    struct sx_fwd_transmission f;
    uint8_t *buf = vec_keep(SX_BLOCK), *box = vec_keep(SX_FORWARD_PADDED + SX_BOX_TAG);
    struct sx_box_key k;
    struct sx_wr w;

    (void)state;
    open_relay(&t, SX_ED25519);
    inner_key(&t, &k); /* a correlation id of 255 bytes leaves room for a smaller inner box alone */
    memset(corr, 3, sizeof(corr));
    assert_int_equal(sx_box_seal_padded(&k, corr, sx_str("x"), 200, box), SIMPLEX_OK);
    f = (struct sx_fwd_transmission){ .corr_id = sx_bytes(corr, sizeof(corr)),
                                      .version = t.version,
                                      .key = t.command.pub,
                                      .encrypted = sx_bytes(box, 216) };
    sx_wr_fixed(&w, buf, SX_BLOCK);
    assert_int_equal(sx_forward_wrap(&t.proxy.client, t.outer_corr, &f, &w), SIMPLEX_OK);
    mem_assert_err(rfwd(&t, sx_wr_bytes(&w)), SX_ERR_BLOCK);
    close_relay(&t);
    vec_free_all();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delivers_what_a_proxy_forwards_with_each_kind_of_key),
        cmocka_unit_test(encodes_as_the_version_of_the_client_has_it),
        cmocka_unit_test(limits_the_body_by_the_version_of_the_client),
        cmocka_unit_test(verifies_with_the_session_of_proxy_and_relay),
        cmocka_unit_test(forwards_link_commands),
        cmocka_unit_test(refuses_other_commands_inside),
        cmocka_unit_test(tells_the_proxy_when_a_layer_is_wrong),
        cmocka_unit_test(answers_inside_when_the_inner_batch_or_command_is_wrong),
        cmocka_unit_test(refuses_versions_it_does_not_offer),
        cmocka_unit_test(needs_the_key_of_the_proxy),
        cmocka_unit_test(leaves_no_room_for_an_answer_that_does_not_fit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
