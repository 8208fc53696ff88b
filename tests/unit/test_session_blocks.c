/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions that are ready: their blocks, and the authorisation of transmissions. */
#include "support/session_peers.h"
#include "support/vec.h"

/* ---- blocks ---- */

static void assert_dead(struct sx_session *s)
{
    static const uint8_t zeros[SX_KEY_MAX];
    uint8_t block[SX_BLOCK] = { 0 };
    simplex_bytes content;
    bool has_reply;

    assert_int_equal(s->state, SX_S_FAILED);
    assert_memory_equal(s->own.priv.b, zeros, sizeof zeros);
    assert_memory_equal(s->rcv_chain, zeros, 32);
    assert_memory_equal(s->snd_chain, zeros, 32);
    assert_int_equal(sx_session_input(s, block, block, &has_reply, &content), SIMPLEX_E_PROHIBITED);
    assert_int_equal(sx_session_seal(s, sx_bytes(NULL, 0), block), SIMPLEX_E_PROHIBITED);
}

static void changed_blocks_are_refused_and_end_the_session(void **state)
{
    static const size_t places[] = { 0, 15, 16, 17, 8000, SX_BLOCK - 1 };

    (void)state;
    for (size_t i = 0; i < SX_COUNT(places); i++) {
        struct peers p;
        uint8_t block[SX_BLOCK];
        simplex_bytes content;
        bool has_reply;
        connected(&p);
        assert_int_equal(sx_session_seal(&p.c, sx_str("content"), block), SIMPLEX_OK);
        block[places[i]] ^= 0x80;
        assert_int_equal(sx_session_input(&p.s, block, NULL, &has_reply, &content),
                         SIMPLEX_E_BLOCK);
        assert_int_equal(content.len, 0);
        assert_dead(&p.s);
    }
}

static void repeated_and_reordered_blocks_are_refused(void **state)
{
    uint8_t one[SX_BLOCK], two[SX_BLOCK], copy[SX_BLOCK];
    struct peers p;
    simplex_bytes content;
    bool has_reply;

    (void)state;
    connected(&p);
    assert_int_equal(sx_session_seal(&p.s, sx_str("one"), one), SIMPLEX_OK);
    memcpy(copy, one, SX_BLOCK);
    assert_int_equal(sx_session_input(&p.c, one, NULL, &has_reply, &content), SIMPLEX_OK);
    assert_int_equal(sx_session_input(&p.c, copy, NULL, &has_reply, &content), SIMPLEX_E_BLOCK);
    assert_dead(&p.c);

    connected(&p);
    assert_int_equal(sx_session_seal(&p.s, sx_str("one"), one), SIMPLEX_OK);
    assert_int_equal(sx_session_seal(&p.s, sx_str("two"), two), SIMPLEX_OK);
    assert_int_equal(sx_session_input(&p.c, two, NULL, &has_reply, &content), SIMPLEX_E_BLOCK);
    assert_dead(&p.c);

    connected(&p); /* a block sent back to its sender */
    assert_int_equal(sx_session_seal(&p.s, sx_str("one"), one), SIMPLEX_OK);
    assert_int_equal(sx_session_input(&p.s, one, NULL, &has_reply, &content), SIMPLEX_E_BLOCK);
}

static void a_plain_block_with_an_impossible_length_is_refused(void **state)
{
    struct peers p;
    uint8_t block[SX_BLOCK];
    simplex_bytes content;
    bool has_reply;

    (void)state;
    configure(&p);
    p.cc.max = 9;
    connect_peers(&p);
    assert_int_equal(sx_session_seal(&p.c, sx_str("x"), block), SIMPLEX_OK);
    block[0] = 0x3f;
    block[1] = 0xff;
    assert_int_equal(sx_session_input(&p.s, block, NULL, &has_reply, &content), SIMPLEX_E_BLOCK);
    assert_dead(&p.s);
}

static void content_that_is_too_large_leaves_the_session_usable(void **state)
{
    static const uint8_t data[SX_BLOCK];

    (void)state;
    for (uint16_t version = 10; version <= 11; version++) {
        struct peers p;
        uint8_t block[SX_BLOCK];
        configure(&p);
        p.cc.max = version;
        connect_peers(&p);
        assert_int_equal(sx_session_seal(&p.c, sx_bytes(data, sx_session_room(&p.c) + 1), block),
                         SIMPLEX_E_TOO_LARGE);
        assert_int_equal(sx_session_seal(&p.c, sx_bytes(data, SX_BLOCK), block),
                         SIMPLEX_E_TOO_LARGE);
        exchange(&p);
    }
}

static void nothing_is_sealed_before_the_handshake_ends(void **state)
{
    struct peers p;
    uint8_t block[SX_BLOCK];

    (void)state;
    configure(&p);
    start(&p);
    assert_int_equal(sx_session_seal(&p.c, sx_str("x"), block), SIMPLEX_E_PROHIBITED);
    assert_int_equal(sx_session_seal(&p.s, sx_str("x"), block), SIMPLEX_E_PROHIBITED);
}

/* ---- authorisation ---- */

static struct sx_cmd command(enum sx_cmd_tag tag)
{
    return (struct sx_cmd){ .tag = tag };
}

struct sent {
    uint8_t buf[SX_BLOCK];
    struct sx_wr w;
    struct sx_transmission t;
    uint8_t authorized_buf[SX_BLOCK];
    simplex_bytes authorized;
};

static void encode(struct peers *p, const struct sx_keypair *key, const struct sx_cmd *cmd,
                   struct sent *out)
{
    uint8_t corr[SX_ID_LEN], entity[SX_ID_LEN];
    struct sx_wr a;

    sx_random(corr, sizeof corr);
    sx_random(entity, sizeof entity);
    sx_wr_fixed(&out->w, out->buf, sizeof out->buf);
    assert_int_equal(
        sx_session_encode(&p->c, key, corr, sx_bytes(entity, sizeof entity), cmd, &out->w),
        SIMPLEX_OK);
    assert_int_equal(sx_transmission_decode(sx_wr_bytes(&out->w), p->s.version, &out->t),
                     SIMPLEX_OK);
    vec_assert_eq(out->t.corr_id, sx_bytes(corr, sizeof corr), "corr id");
    vec_assert_eq(out->t.entity_id, sx_bytes(entity, sizeof entity), "entity id");
    sx_wr_fixed(&a, out->authorized_buf, sizeof out->authorized_buf);
    sx_authorized_encode(&a, sx_session_id(&p->s), out->t.corr_id, out->t.entity_id,
                         out->t.command);
    assert_false(a.bad);
    out->authorized = sx_wr_bytes(&a);
}

static void authorises_with_every_kind_of_key_at_every_version(void **state)
{
    static const enum sx_alg algs[] = { SX_ED25519, SX_ED448, SX_X25519 };
    static const size_t lens[] = { 64, 114, 80 };
    struct sx_keypair keys[3], stranger[3];
    const struct sx_cmd sub = command(SX_SUB);

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(sx_keypair_new(algs[i], &keys[i]), SIMPLEX_OK);
        assert_int_equal(sx_keypair_new(algs[i], &stranger[i]), SIMPLEX_OK);
    }
    for (uint16_t version = 7; version <= SX_SMP_MAX; version++) {
        struct peers p;
        static struct sent sent;
        configure(&p);
        p.cc.max = version;
        connect_peers(&p);
        for (size_t i = 0; i < 3; i++) {
            encode(&p, &keys[i], &sub, &sent);
            assert_int_equal(sent.t.auth.len, lens[i]);
            for (size_t k = 0; k < 3; k++) {
                assert_int_equal(sx_session_verify(&p.s, &keys[k].pub, &sent.t, sent.authorized),
                                 k == i);
                assert_false(sx_session_verify(&p.s, &stranger[k].pub, &sent.t, sent.authorized));
            }
            assert_false(sx_session_verify(&p.s, NULL, &sent.t, sent.authorized));
            sent.authorized_buf[sent.authorized.len - 1] ^= 1;
            assert_false(sx_session_verify(&p.s, &keys[i].pub, &sent.t, sent.authorized));
        }
    }
}

static void unsigned_and_odd_authorisations_are_worth_nothing(void **state)
{
    struct peers p;
    struct sx_keypair key;
    static struct sent sent;
    static const uint8_t zeros[SX_SIG_MAX + 10];
    const struct sx_cmd sub = command(SX_SUB);

    (void)state;
    connected(&p);
    assert_int_equal(sx_keypair_new(SX_ED25519, &key), SIMPLEX_OK);
    encode(&p, NULL, &sub, &sent);
    assert_int_equal(sent.t.auth.len, 0);
    for (size_t len = 0; len < sizeof zeros; len++) {
        sent.t.auth = sx_bytes(zeros, len);
        assert_false(sx_session_verify(&p.s, &key.pub, &sent.t, sent.authorized));
        assert_false(sx_session_verify(&p.s, NULL, &sent.t, sent.authorized));
    }
}

static void authenticators_belong_to_their_session_and_correlation_id(void **state)
{
    struct peers p, q;
    struct sx_keypair key;
    static struct sent sent;
    const struct sx_cmd sub = command(SX_SUB);

    (void)state;
    connected(&p);
    connected(&q);
    assert_int_equal(sx_keypair_new(SX_X25519, &key), SIMPLEX_OK);
    encode(&p, &key, &sub, &sent);
    assert_true(sx_session_verify(&p.s, &key.pub, &sent.t, sent.authorized));
    assert_false(sx_session_verify(&q.s, &key.pub, &sent.t, sent.authorized));
    uint8_t corr[SX_ID_LEN] = { 0 };
    sent.t.corr_id = sx_bytes(corr, sizeof corr);
    assert_false(sx_session_verify(&p.s, &key.pub, &sent.t, sent.authorized));
}

static void encoding_fails_without_touching_the_output(void **state)
{
    static uint8_t body[SX_BLOCK + 3000];
    static const uint8_t corr[SX_ID_LEN];
    struct sx_keypair x25519, x448;
    struct peers p;
    struct sx_wr w;

    (void)state;
    assert_int_equal(sx_keypair_new(SX_X25519, &x25519), SIMPLEX_OK);
    assert_int_equal(sx_keypair_new(SX_X448, &x448), SIMPLEX_OK);
    connected(&p);
    sx_wr_init(&w, 4 * SX_BLOCK);
    sx_wr_text(&w, "before");
    struct sx_cmd send = command(SX_SEND);
    send.send.body = sx_bytes(body, SX_BLOCK - 40);
    assert_int_equal(sx_session_encode(&p.c, NULL, corr, sx_str("entity"), &send, &w),
                     SIMPLEX_E_TOO_LARGE);
    send.send.body.len = sizeof body;
    assert_int_equal(sx_session_encode(&p.c, NULL, corr, sx_str("entity"), &send, &w),
                     SIMPLEX_E_ENCODE);
    struct sx_cmd ping = command(SX_PING);
    assert_int_equal(sx_session_encode(&p.c, &x448, corr, sx_str(""), &ping, &w), SIMPLEX_E_KEY);
    vec_assert_eq(sx_wr_bytes(&w), sx_str("before"), "output");
    /* 48 bytes around the body: it fits to the byte, and not one more */
    send.send.body.len = sx_session_room(&p.c) - 3 - (1 + 25 + 7 + 7);
    assert_int_equal(sx_session_encode(&p.c, NULL, corr, sx_str("entity"), &send, &w), SIMPLEX_OK);
    assert_int_equal(w.len, 6 + sx_session_room(&p.c) - 3);
    send.send.body.len++;
    assert_int_equal(sx_session_encode(&p.c, NULL, corr, sx_str("entity"), &send, &w),
                     SIMPLEX_E_TOO_LARGE);
    sx_wr_free(&w);

    uint8_t small[20];
    sx_wr_fixed(&w, small, sizeof small);
    assert_int_equal(sx_session_encode(&p.c, NULL, corr, sx_str(""), &ping, &w), SIMPLEX_E_NOMEM);
    assert_true(w.len == 0 && !w.bad);

    configure(&p); /* no key of the server: nothing to authenticate with */
    p.cc.alpn = p.sc.alpn = false;
    connect_peers(&p);
    sx_wr_init(&w, SX_BLOCK);
    assert_int_equal(sx_session_encode(&p.c, &x25519, corr, sx_str(""), &ping, &w), SIMPLEX_E_KEY);
    sx_session_wipe(&p.c);
    assert_int_equal(sx_session_encode(&p.c, NULL, corr, sx_str(""), &ping, &w),
                     SIMPLEX_E_PROHIBITED);
    sx_wr_free(&w);
}

static void a_relay_session_encodes_what_the_relay_verifies(void **state)
{
    struct peers proxy; /* the relay's session with the proxy */
    struct sx_keypair key;
    static struct sent sent;
    struct sx_cmd skey = command(SX_SKEY);
    uint8_t block[SX_BLOCK];

    (void)state;
    configure(&proxy);
    proxy.cc.proxy = true;
    connect_peers(&proxy);
    assert_int_equal(sx_keypair_new(SX_X25519, &key), SIMPLEX_OK);
    skey.key.key = key.pub;
    assert_int_equal(sx_session_relay(&proxy.c, 9, sx_session_id(&proxy.s), &key.pub), SIMPLEX_OK);
    assert_int_equal(sx_session_relay(&proxy.c, 9, sx_session_id(&proxy.s), &proxy.s.own.pub),
                     SIMPLEX_OK);
    proxy.s.version = 9; /* that of the forwarded command */
    encode(&proxy, &key, &skey, &sent);
    assert_true(sx_session_verify(&proxy.s, &key.pub, &sent.t, sent.authorized));
    assert_int_equal(sx_session_seal(&proxy.c, sx_str("x"), block), SIMPLEX_E_PROHIBITED);
    assert_int_equal(sx_session_relay(&proxy.c, 9, sx_session_id(&proxy.s), &certs.leaf.pub),
                     SIMPLEX_E_ARG);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(changed_blocks_are_refused_and_end_the_session),
        cmocka_unit_test(repeated_and_reordered_blocks_are_refused),
        cmocka_unit_test(a_plain_block_with_an_impossible_length_is_refused),
        cmocka_unit_test(content_that_is_too_large_leaves_the_session_usable),
        cmocka_unit_test(nothing_is_sealed_before_the_handshake_ends),
        cmocka_unit_test(authorises_with_every_kind_of_key_at_every_version),
        cmocka_unit_test(unsigned_and_odd_authorisations_are_worth_nothing),
        cmocka_unit_test(authenticators_belong_to_their_session_and_correlation_id),
        cmocka_unit_test(encoding_fails_without_touching_the_output),
        cmocka_unit_test(a_relay_session_encodes_what_the_relay_verifies),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
