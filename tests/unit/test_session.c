/* SPDX-License-Identifier: Apache-2.0 */
/* The handshake of two SMP sessions: what they agree on, and hellos that either side refuses. */
#include "support/session_peers.h"
#include "support/vec.h"

/* ---- agreement ---- */

static void agrees_on_the_highest_common_version(void **state)
{
    (void)state;
    for (uint16_t c = SX_SMP_MIN; c <= SX_SMP_MAX; c++) {
        for (uint16_t s = SX_SMP_MIN; s <= SX_SMP_MAX; s++) {
            struct peers p;
            configure(&p);
            p.cc.max = c;
            p.sc.max = s;
            connect_peers(&p);
            assert_int_equal(p.c.version, c < s ? c : s);
            assert_int_equal(p.c.encrypted, p.c.version >= 11);
            assert_int_equal(p.c.has_shared, p.c.version >= 7);
            assert_int_equal(sx_session_room(&p.s), p.c.encrypted ? 16366 : 16382);
            exchange(&p);
        }
    }
}

static void works_with_every_length_of_tls_unique_and_an_ed448_chain(void **state)
{
    static const size_t lens[] = { 1, 12, 32, 48, 64 };
    uint8_t id[64];

    (void)state;
    sx_random(id, sizeof id);
    for (size_t i = 0; i < SX_COUNT(lens); i++) {
        struct peers p;
        configure(&p);
        p.cc.session_id = p.sc.session_id = sx_bytes(id, lens[i]);
        p.cc.chain = p.sc.chain = &other.chain;
        p.cc.key_hash = p.sc.key_hash = other.fingerprint;
        p.sc.leaf = &other.leaf;
        connect_peers(&p);
        exchange(&p);
    }
}

static void without_alpn_only_version_6_and_no_key(void **state)
{
    struct peers p;
    struct sx_server_hello h;
    simplex_bytes content;

    (void)state;
    configure(&p);
    p.cc.alpn = p.sc.alpn = false;
    start(&p);
    assert_int_equal(sx_unpad(sx_bytes(p.hello, SX_BLOCK), &content), SIMPLEX_OK);
    assert_int_equal(content.len, 4 + 33);
    assert_int_equal(sx_server_hello_decode(content, &h), SIMPLEX_OK);
    assert_int_equal(h.max, 6);
    assert_false(h.has_key);
    assert_int_equal(feed_client(&p), SIMPLEX_OK);
    assert_int_equal(feed_server(&p), SIMPLEX_OK);
    assert_int_equal(p.s.version, 6);
    exchange(&p);

    configure(&p); /* the client alone knows that there was no ALPN */
    p.cc.alpn = false;
    connect_peers(&p);
    assert_int_equal(p.s.version, 6);
    configure(&p);
    p.cc.alpn = false;
    p.cc.min = 8;
    assert_int_equal(sx_session_client(&p.c, &p.cc), SIMPLEX_E_VERSION);
    assert_int_equal(p.c.state, SX_S_FAILED);
}

static void without_a_client_key_blocks_stay_plain(void **state)
{
    struct peers p;

    (void)state;
    configure(&p);
    p.cc.no_key = true;
    connect_peers(&p);
    assert_int_equal(p.s.version, SX_SMP_MAX);
    assert_false(p.s.encrypted || p.s.has_shared || p.c.has_shared);
    assert_int_equal(p.s.peer_key.alg, SX_NO_KEY);
    exchange(&p);
}

static void proxies_share_a_secret_and_send_plain_blocks(void **state)
{
    static const struct {
        uint16_t server_max, version;
    } rows[] = { { 19, 19 }, { 14, 14 }, { 13, 10 }, { 11, 10 }, { 10, 10 }, { 9, 9 } };

    (void)state;
    for (size_t i = 0; i < SX_COUNT(rows); i++) {
        struct peers p;
        configure(&p);
        p.cc.proxy = true;
        p.sc.max = rows[i].server_max;
        connect_peers(&p);
        assert_int_equal(p.s.version, rows[i].version);
        assert_int_equal(p.s.proxy, rows[i].version >= 14);
        assert_false(p.s.encrypted);
        assert_true(p.s.has_shared && p.c.has_shared);
        assert_memory_equal(&p.s.shared, &p.c.shared, sizeof p.s.shared);
        exchange(&p);
    }
}

static void a_session_is_small(void **state)
{
    (void)state;
    assert_true(sizeof(struct sx_session) <= 768);
}

static void refuses_bad_configurations(void **state)
{
    struct peers p;
    uint8_t id[65] = { 0 };

    (void)state;
    configure(&p);
    p.cc.session_id = sx_bytes(id, 65);
    assert_int_equal(sx_session_client(&p.c, &p.cc), SIMPLEX_E_ARG);
    p.cc.session_id = sx_bytes(id, 0);
    assert_int_equal(sx_session_client(&p.c, &p.cc), SIMPLEX_E_ARG);
    configure(&p);
    p.cc.chain = NULL;
    assert_int_equal(sx_session_client(&p.c, &p.cc), SIMPLEX_E_ARG);
    configure(&p);
    p.sc.key_hash = NULL;
    assert_int_equal(sx_session_server(&p.s, &p.sc, p.hello), SIMPLEX_E_ARG);
    configure(&p);
    p.sc.leaf = NULL;
    assert_int_equal(sx_session_server(&p.s, &p.sc, p.hello), SIMPLEX_E_ARG);
    configure(&p);
    p.sc.min = 10;
    p.sc.max = 9;
    assert_int_equal(sx_session_server(&p.s, &p.sc, p.hello), SIMPLEX_E_VERSION);
    assert_int_equal(p.s.state, SX_S_FAILED);
}

/* ---- hellos that a client refuses ---- */

static void put_hello(struct peers *p, const struct sx_server_hello *h)
{
    uint8_t buf[SX_BLOCK];
    struct sx_wr w;

    sx_wr_fixed(&w, buf, sizeof buf);
    sx_server_hello_encode(&w, h);
    assert_false(w.bad);
    assert_int_equal(sx_pad(sx_wr_bytes(&w), p->hello, SX_BLOCK), SIMPLEX_OK);
}

/* The genuine hello of p's server, to be changed; slices borrow from buf. */
static struct sx_server_hello genuine_hello(struct peers *p, uint8_t buf[SX_BLOCK])
{
    struct sx_server_hello h;
    simplex_bytes content;

    configure(p);
    start(p);
    memcpy(buf, p->hello, SX_BLOCK);
    assert_int_equal(sx_unpad(sx_bytes(buf, SX_BLOCK), &content), SIMPLEX_OK);
    assert_int_equal(sx_server_hello_decode(content, &h), SIMPLEX_OK);
    return h;
}

static simplex_bytes sign_key(const struct sx_keypair *leaf, enum sx_alg alg, uint8_t buf[256])
{
    struct sx_keypair k;
    struct sx_wr w;

    assert_int_equal(sx_keypair_new(alg, &k), SIMPLEX_OK);
    sx_wr_fixed(&w, buf, 256);
    assert_int_equal(sx_signed_key_encode(&w, &k.pub, leaf), SIMPLEX_OK);
    assert_false(w.bad);
    return sx_wr_bytes(&w);
}

static void client_refuses_another_session_identity_or_signature(void **state)
{
    struct peers p;
    uint8_t buf[SX_BLOCK], key[256], id[32];

    (void)state;
    struct sx_server_hello h = genuine_hello(&p, buf);
    memcpy(id, unique, 32);
    id[0] ^= 1;
    h.session_id = sx_bytes(id, 32);
    put_hello(&p, &h);
    assert_int_equal(feed_client(&p), SIMPLEX_E_SESSION);

    h = genuine_hello(&p, buf);
    h.session_id.len--;
    put_hello(&p, &h);
    assert_int_equal(feed_client(&p), SIMPLEX_E_SESSION);

    h = genuine_hello(&p, buf); /* the chain of another server */
    for (size_t i = 0; i < other.chain.count; i++)
        h.certs[i] = other.chain.cert[i];
    h.n_certs = other.chain.count;
    put_hello(&p, &h);
    assert_int_equal(feed_client(&p), SIMPLEX_E_FINGERPRINT);

    h = genuine_hello(&p, buf); /* a leaf alone */
    h.n_certs = 1;
    put_hello(&p, &h);
    assert_int_equal(feed_client(&p), SIMPLEX_E_FINGERPRINT);

    h = genuine_hello(&p, buf); /* five, the right identity second */
    for (h.n_certs = 2; h.n_certs < 5; h.n_certs++)
        h.certs[h.n_certs] = h.certs[1];
    put_hello(&p, &h);
    assert_int_equal(feed_client(&p), SIMPLEX_E_FINGERPRINT);

    h = genuine_hello(&p, buf); /* signed by someone else */
    h.signed_key = sign_key(&other.leaf, SX_X25519, key);
    put_hello(&p, &h);
    assert_int_equal(feed_client(&p), SIMPLEX_E_SIGNATURE);

    h = genuine_hello(&p, buf); /* someone else's leaf in the hello changes nothing: TLS counts */
    h.certs[0] = other.chain.cert[0];
    h.signed_key = sign_key(&other.leaf, SX_X25519, key);
    put_hello(&p, &h);
    assert_int_equal(feed_client(&p), SIMPLEX_E_SIGNATURE);

    h = genuine_hello(&p, buf); /* a key of another kind, well signed */
    h.signed_key = sign_key(&certs.leaf, SX_ED25519, key);
    put_hello(&p, &h);
    assert_int_equal(feed_client(&p), SIMPLEX_E_HANDSHAKE);
}

static void client_refuses_ranges_without_a_common_version(void **state)
{
    static const struct {
        uint16_t s_min, s_max, c_min, c_max;
        simplex_rc rc;
    } rows[] = {
        { 20, 30, 0, 0, SIMPLEX_E_VERSION },  { 6, 10, 11, 19, SIMPLEX_E_VERSION },
        { 17, 19, 6, 16, SIMPLEX_E_VERSION }, { 19, 65535, 0, 0, SIMPLEX_OK },
        { 1, 65535, 0, 0, SIMPLEX_OK },       { 9, 9, 9, 9, SIMPLEX_OK },
    };

    (void)state;
    for (size_t i = 0; i < SX_COUNT(rows); i++) {
        struct peers p;
        uint8_t buf[SX_BLOCK];
        struct sx_server_hello h = genuine_hello(&p, buf);
        p.cc.min = rows[i].c_min;
        p.cc.max = rows[i].c_max;
        assert_int_equal(sx_session_client(&p.c, &p.cc), SIMPLEX_OK);
        h.min = rows[i].s_min;
        h.max = rows[i].s_max;
        put_hello(&p, &h);
        assert_int_equal(feed_client(&p), rows[i].rc);
    }
}

static void client_refuses_every_truncated_hello_and_takes_longer_ones(void **state)
{
    struct peers p;
    uint8_t buf[SX_BLOCK];
    simplex_bytes content;

    (void)state;
    (void)genuine_hello(&p, buf);
    assert_int_equal(sx_unpad(sx_bytes(buf, SX_BLOCK), &content), SIMPLEX_OK);
    for (size_t len = 0; len < content.len; len++) {
        assert_int_equal(sx_session_client(&p.c, &p.cc), SIMPLEX_OK);
        assert_int_equal(sx_pad(sx_bytes(content.ptr, len), p.hello, SX_BLOCK), SIMPLEX_OK);
        assert_int_equal(feed_client(&p), SIMPLEX_E_HANDSHAKE);
    }
    content.len += 100; /* the filler as unknown fields of a later version */
    assert_int_equal(sx_session_client(&p.c, &p.cc), SIMPLEX_OK);
    assert_int_equal(sx_pad(content, p.hello, SX_BLOCK), SIMPLEX_OK);
    assert_int_equal(feed_client(&p), SIMPLEX_OK);
    assert_int_equal(feed_server(&p), SIMPLEX_OK);
    exchange(&p);
}

static void a_changed_hello_never_yields_another_server_key(void **state)
{
    struct peers p;
    uint8_t buf[SX_BLOCK];
    size_t refused = 0;

    (void)state;
    struct sx_server_hello h = genuine_hello(&p, buf);
    struct sx_pub key = p.s.own.pub;
    size_t end = (size_t)(h.signed_key.ptr + h.signed_key.len - buf);
    for (size_t at = 0; at < end; at++) {
        assert_int_equal(sx_session_client(&p.c, &p.cc), SIMPLEX_OK);
        memcpy(p.hello, buf, SX_BLOCK);
        p.hello[at] ^= (uint8_t)(1u << at % 8);
        if (feed_client(&p) != SIMPLEX_OK)
            refused++;
        else
            assert_true(sx_pub_eq(&p.c.peer_key, &key));
    }
    /* free to change: versions and the leaf, which TLS has shown already */
    assert_true(refused > certs.chain.cert[1].len + h.signed_key.len + 32);
}

static void blocks_with_impossible_padding_are_refused(void **state)
{
    struct peers p;

    (void)state;
    configure(&p);
    start(&p);
    p.hello[0] = 0x40; /* 16384 bytes in 16382 */
    p.hello[1] = 0;
    assert_int_equal(feed_client(&p), SIMPLEX_E_BLOCK);
    assert_int_equal(sx_session_client(&p.c, &p.cc), SIMPLEX_OK);
    memset(p.hello, 0xff, SX_BLOCK);
    assert_int_equal(feed_client(&p), SIMPLEX_E_BLOCK);
    memset(p.answer, 0xff, SX_BLOCK);
    assert_int_equal(feed_server(&p), SIMPLEX_E_BLOCK);
}

/* ---- hellos that a server refuses ---- */

static struct sx_client_hello genuine_answer(struct peers *p, uint8_t buf[SX_BLOCK])
{
    struct sx_client_hello h;
    simplex_bytes content;

    configure(p);
    start(p);
    assert_int_equal(feed_client(p), SIMPLEX_OK);
    memcpy(buf, p->answer, SX_BLOCK);
    assert_int_equal(sx_unpad(sx_bytes(buf, SX_BLOCK), &content), SIMPLEX_OK);
    assert_int_equal(sx_client_hello_decode(content, &h), SIMPLEX_OK);
    return h;
}

static void put_answer(struct peers *p, const struct sx_client_hello *h)
{
    uint8_t buf[SX_BLOCK];
    struct sx_wr w;

    sx_wr_fixed(&w, buf, sizeof buf);
    sx_client_hello_encode(&w, h);
    assert_false(w.bad);
    assert_int_equal(sx_pad(sx_wr_bytes(&w), p->answer, SX_BLOCK), SIMPLEX_OK);
}

static void server_refuses_another_identity_version_or_a_weak_key(void **state)
{
    struct peers p;
    uint8_t buf[SX_BLOCK];

    (void)state;
    struct sx_client_hello h = genuine_answer(&p, buf);
    h.key_hash = sx_bytes(other.fingerprint, 32);
    put_answer(&p, &h);
    assert_int_equal(feed_server(&p), SIMPLEX_E_FINGERPRINT);

    h = genuine_answer(&p, buf);
    p.answer[2 + 2] = 31; /* behind padding and version: the length of the key hash */
    assert_int_equal(feed_server(&p), SIMPLEX_E_HANDSHAKE);

    h = genuine_answer(&p, buf);
    h.version = SX_SMP_MAX + 1;
    put_answer(&p, &h);
    assert_int_equal(feed_server(&p), SIMPLEX_E_VERSION);

    h = genuine_answer(&p, buf);
    h.version = 5;
    h.has_key = h.proxy = false;
    put_answer(&p, &h);
    simplex_rc rc = feed_server(&p);
    assert_true(rc == SIMPLEX_E_VERSION || rc == SIMPLEX_E_HANDSHAKE);

    h = genuine_answer(&p, buf); /* its secret with any key is zero */
    memset(h.key.b, 0, sizeof h.key.b);
    put_answer(&p, &h);
    assert_int_equal(feed_server(&p), SIMPLEX_E_HANDSHAKE);
}

static void server_refuses_truncated_answers(void **state)
{
    struct peers p;
    uint8_t buf[SX_BLOCK];
    simplex_bytes content;

    (void)state;
    (void)genuine_answer(&p, buf);
    assert_int_equal(sx_unpad(sx_bytes(buf, SX_BLOCK), &content), SIMPLEX_OK);
    struct sx_session fresh = p.s;
    for (size_t len = 0; len < content.len; len++) {
        p.s = fresh;
        assert_int_equal(sx_pad(sx_bytes(content.ptr, len), p.answer, SX_BLOCK), SIMPLEX_OK);
        assert_int_equal(feed_server(&p), SIMPLEX_E_HANDSHAKE);
    }
}

static void server_answers_a_service_and_closes(void **state)
{
    struct peers p;
    uint8_t buf[SX_BLOCK], key[256], reply[SX_BLOCK];
    struct sx_service_reply r;
    bool has_reply;
    simplex_bytes content;

    (void)state;
    struct sx_client_hello h = genuine_answer(&p, buf);
    h.has_service = true;
    h.service_role = 'N';
    h.n_certs = other.chain.count;
    for (size_t i = 0; i < h.n_certs; i++)
        h.certs[i] = other.chain.cert[i];
    h.signed_key = sign_key(&other.leaf, SX_ED25519, key);
    put_answer(&p, &h);
    assert_int_equal(sx_session_input(&p.s, p.answer, reply, &has_reply, &content),
                     SIMPLEX_E_HANDSHAKE);
    assert_true(has_reply);
    assert_int_equal(p.s.state, SX_S_FAILED);
    assert_int_equal(sx_unpad(sx_bytes(reply, SX_BLOCK), &content), SIMPLEX_OK);
    assert_int_equal(sx_service_reply_decode(content, &r), SIMPLEX_OK);
    assert_false(r.ok);
    assert_int_equal(r.error.transport, SX_TRANSPORT_HANDSHAKE);
    assert_int_equal(r.error.handshake, SX_HS_BAD_SERVICE);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_on_the_highest_common_version),
        cmocka_unit_test(works_with_every_length_of_tls_unique_and_an_ed448_chain),
        cmocka_unit_test(without_alpn_only_version_6_and_no_key),
        cmocka_unit_test(without_a_client_key_blocks_stay_plain),
        cmocka_unit_test(proxies_share_a_secret_and_send_plain_blocks),
        cmocka_unit_test(a_session_is_small),
        cmocka_unit_test(refuses_bad_configurations),
        cmocka_unit_test(client_refuses_another_session_identity_or_signature),
        cmocka_unit_test(client_refuses_ranges_without_a_common_version),
        cmocka_unit_test(client_refuses_every_truncated_hello_and_takes_longer_ones),
        cmocka_unit_test(a_changed_hello_never_yields_another_server_key),
        cmocka_unit_test(blocks_with_impossible_padding_are_refused),
        cmocka_unit_test(server_refuses_another_identity_version_or_a_weak_key),
        cmocka_unit_test(server_refuses_truncated_answers),
        cmocka_unit_test(server_answers_a_service_and_closes),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
