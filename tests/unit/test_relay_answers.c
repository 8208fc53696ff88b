/* SPDX-License-Identifier: Apache-2.0 */
/* What a proxy makes its answers of: a relay's hello, boxes both ways, and failures of each kind
 * (protocol/smp.md section 8). */
#include "support/server_mem.h"

#include "errand.h"
#include "peer.h"
#include "relay.h"

static struct sx_errand *new_errand(enum sx_cmd_tag tag)
{
    struct sx_errand *e = vec_keep(sizeof(*e));

    memset(e, 0, sizeof(*e));
    e->tag = tag;
    return e;
}

static void drop_errand(struct sx_errand *e)
{
    sx_free(e->body);
    e->body = NULL;
}

static void hello_of(struct mem_server *m, struct mem_client *c, uint16_t min, uint16_t max,
                     uint8_t block[SX_BLOCK], simplex_bytes *hello)
{
    uint8_t id[32] = { 9 }, reply[SX_BLOCK];
    struct sx_session_server_cfg s = { .min = min,
                                       .max = max,
                                       .session_id = sx_bytes(id, sizeof(id)),
                                       .key_hash = m->identity.fingerprint,
                                       .chain = &m->identity.chain,
                                       .leaf = &m->identity.leaf,
                                       .alpn = true };
    struct sx_session_client_cfg k = { .session_id = s.session_id,
                                       .key_hash = s.key_hash,
                                       .chain = s.chain,
                                       .proxy = true,
                                       .alpn = true };
    uint8_t copy[SX_BLOCK];
    simplex_bytes content;
    bool has_reply;

    memset(c, 0, sizeof(*c));
    assert_int_equal(sx_session_server(&c->server, &s, block), SIMPLEX_OK);
    memcpy(copy, block, SX_BLOCK);
    assert_int_equal(sx_session_client(&c->client, &k), SIMPLEX_OK);
    assert_int_equal(sx_session_input(&c->client, copy, reply, &has_reply, &content), SIMPLEX_OK);
    assert_int_equal(sx_session_input(&c->server, reply, copy, &has_reply, &content), SIMPLEX_OK);
    assert_int_equal(sx_unpad(sx_bytes(block, SX_BLOCK), hello), SIMPLEX_OK);
}

static void makes_pkey_of_the_hello(void **state)
{
    struct mem_server m;
    struct mem_client c;
    uint8_t block[SX_BLOCK];
    simplex_bytes hello, certs[SX_HELLO_CERTS_MAX];
    struct sx_pub key;
    size_t n;

    (void)state;
    mem_open(&m, NULL);
    hello_of(&m, &c, 6, 19, block, &hello);
    struct sx_errand *e = new_errand(SX_PRXY);
    sx_relay_pkey(e, &c.client, hello);
    mem_assert_tag(&e->rsp, SX_R_PKEY);
    assert_int_equal(e->result, SX_ERRAND_SUCCESS);
    assert_int_equal(e->rsp.pkey.min, 8);
    assert_int_equal(e->rsp.pkey.max, SX_SMP_MAX);
    vec_assert_eq(e->rsp.pkey.session_id, sx_session_id(&c.client), "session id");
    assert_int_equal(sx_chain_decode(e->rsp.pkey.chain, certs, &n), SIMPLEX_OK);
    assert_int_equal(n, m.identity.chain.count);
    vec_assert_eq(certs[0], m.identity.chain.cert[0], "leaf");
    assert_int_equal(sx_signed_key_verify(e->rsp.pkey.signed_key, &m.identity.leaf.pub, &key),
                     SIMPLEX_OK);
    assert_memory_equal(key.b, c.server.own.pub.b, 32);
    drop_errand(e);
    hello_of(&m, &c, 9, 12, block, &hello);
    sx_relay_pkey(e, &c.client, hello);
    assert_int_equal(e->rsp.pkey.min, 9);
    assert_int_equal(e->rsp.pkey.max, 12);
    drop_errand(e);
    mem_close(&m);
    vec_free_all();
}

/* The hello of a relay may fill its block; no answer may cost the client its connection. */
static void answers_whatever_certificates_a_relay_has(void **state)
{
    static const uint8_t large[SX_BLOCK];
    struct mem_server m;
    struct mem_client c;
    uint8_t block[SX_BLOCK], to[SX_BLOCK];
    simplex_bytes hello;
    struct sx_server_hello h;

    (void)state;
    mem_open(&m, NULL);
    hello_of(&m, &c, 6, 19, block, &hello);
    assert_int_equal(sx_server_hello_decode(hello, &h), SIMPLEX_OK);
    struct sx_errand *e = new_errand(SX_PRXY);
    for (size_t len = 13000; len < SX_BLOCK; len += 7) {
        struct sx_wr w, out;
        h.certs[1] = sx_bytes(large, len);
        sx_wr_fixed(&w, to, SX_BLOCK_CONTENT);
        sx_server_hello_encode(&w, &h);
        if (w.bad)
            break;
        sx_relay_pkey(e, &c.client, sx_wr_bytes(&w));
        struct sx_answer a = { .corr_id = sx_bytes(large, 255), .rsp = e->rsp };
        sx_wr_init(&out, SX_ANSWERS_CAP);
        sx_answer_encode(&out, &c.server, c.server.version, &a);
        assert_false(out.bad);
        assert_true(out.len <= SX_BATCH_CONTENT - 2);
        sx_wr_free(&out);
        assert_int_equal(e->rsp.tag, len < 14000 ? SX_R_PKEY : e->rsp.tag);
        drop_errand(e);
    }
    mem_assert_err(&e->rsp, SX_ERR_PROXY);
    assert_int_equal(e->rsp.err.transport, SX_TRANSPORT_LARGE_MSG);
    mem_close(&m);
    vec_free_all();
}

static void says_when_a_relay_cannot_serve(void **state)
{
    struct mem_server m;
    struct mem_client c;
    uint8_t block[SX_BLOCK];
    simplex_bytes hello;

    (void)state;
    mem_open(&m, NULL);
    struct sx_errand *e = new_errand(SX_PRXY);
    hello_of(&m, &c, 6, 7, block, &hello);
    sx_relay_pkey(e, &c.client, hello);
    mem_assert_err(&e->rsp, SX_ERR_PROXY);
    assert_int_equal(e->rsp.err.transport, SX_TRANSPORT_VERSION);
    assert_int_equal(e->result, SX_ERRAND_COMPAT);
    hello_of(&m, &c, 6, 19, block, &hello);
    uint8_t future[SX_BLOCK];
    memcpy(future, hello.ptr, hello.len);
    future[1] = future[3] = SX_SMP_MAX + 1; /* only versions that do not exist yet */
    sx_relay_pkey(e, &c.client, sx_bytes(future, hello.len));
    assert_int_equal(e->rsp.err.transport, SX_TRANSPORT_VERSION);
    for (size_t len = 0; len < hello.len; len++) { /* cut off anywhere */
        sx_relay_pkey(e, &c.client, sx_bytes(hello.ptr, len));
        mem_assert_err(&e->rsp, SX_ERR_PROXY);
        drop_errand(e);
    }
    c.client.has_shared = false;
    sx_relay_pkey(e, &c.client, hello);
    assert_int_equal(e->rsp.err.transport, SX_TRANSPORT_NO_AUTH);
    c.client.has_shared = true;
    for (unsigned nth = 0;; nth++) {
        sx_fault_malloc(nth);
        sx_relay_pkey(e, &c.client, hello);
        if (!sx_fault_disarm())
            break;
        mem_assert_err(&e->rsp, SX_ERR_INTERNAL);
        drop_errand(e);
    }
    mem_assert_tag(&e->rsp, SX_R_PKEY);
    drop_errand(e);
    mem_close(&m);
    vec_free_all();
}

static void carries_both_ways(void **state)
{
    struct mem_server m;
    struct mem_client c;
    uint8_t block[SX_BLOCK], buf[SX_BLOCK + SX_BOX_TAG], opened[SX_BLOCK], back[24];
    simplex_bytes hello, plain, answer = sx_str("sealed for the client");
    struct sx_fwd_transmission f;
    struct sx_keypair key;
    struct sx_wr w;

    (void)state;
    mem_open(&m, NULL);
    hello_of(&m, &c, 6, 19, block, &hello);
    assert_int_equal(sx_keypair_new(SX_X25519, &key), SIMPLEX_OK);
    struct sx_errand *e = new_errand(SX_PFWD);
    e->corr_len = 24;
    memset(e->corr_id, 5, 24);
    e->version = 12;
    e->key = key.pub;
    e->body = sx_memdup(sx_str("boxed"));
    e->body_len = 5;
    sx_wr_fixed(&w, buf, sizeof(buf));
    assert_int_equal(sx_relay_wrap(e, &c.client, NULL, &w), SIMPLEX_OK);
    assert_int_equal(sx_box_open(&c.server.shared, e->nonce, sx_wr_bytes(&w), opened), SIMPLEX_OK);
    plain = sx_bytes(opened, w.len - SX_BOX_TAG);
    assert_int_equal(sx_fwd_transmission_decode(plain, &f), SIMPLEX_OK);
    vec_assert_eq(f.corr_id, sx_errand_corr_id(e), "correlation id");
    assert_int_equal(f.version, 12);
    vec_assert_eq(f.encrypted, sx_str("boxed"), "body");

    struct sx_fwd_response r = { .corr_id = f.corr_id, .encrypted = answer };
    uint8_t text[200], box[300];
    sx_wr_fixed(&w, text, sizeof(text));
    sx_fwd_response_encode(&w, &r);
    sx_nonce_reverse(e->nonce, back);
    sx_box_seal(&c.server.shared, back, sx_wr_bytes(&w), box);
    struct sx_rsp rsp = { .tag = SX_R_RRES };
    rsp.enc.body = sx_bytes(box, w.len + SX_BOX_TAG);
    sx_fault_malloc(0);
    sx_relay_answer(e, &c.client, SIMPLEX_OK, &rsp);
    assert_true(sx_fault_disarm());
    mem_assert_err(&e->rsp, SX_ERR_INTERNAL);
    sx_relay_answer(e, &c.client, SIMPLEX_OK, &rsp);
    mem_assert_tag(&e->rsp, SX_R_PRES);
    vec_assert_eq(e->rsp.enc.body, answer, "answer");
    drop_errand(e);
    box[20] ^= 1;
    sx_relay_answer(e, &c.client, SIMPLEX_OK, &rsp);
    mem_assert_err(&e->rsp, SX_ERR_CRYPTO);
    sx_relay_answer(e, NULL, SIMPLEX_OK, &rsp); /* the session is gone */
    assert_int_equal(e->rsp.err.broker, SX_BROKER_NETWORK);
    drop_errand(e);
    mem_close(&m);
    vec_free_all();
}

static void refuses_what_does_not_fit_into_a_block(void **state)
{
    struct mem_server m;
    struct mem_client c;
    uint8_t block[SX_BLOCK], buf[SX_BLOCK + SX_BOX_TAG];
    simplex_bytes hello;
    struct sx_wr w;

    (void)state;
    mem_open(&m, NULL);
    hello_of(&m, &c, 6, 19, block, &hello);
    struct sx_errand *e = new_errand(SX_PFWD);
    e->key.alg = SX_X25519;
    e->body = sx_calloc(1, SX_BLOCK);
    e->body_len = SX_BLOCK;
    sx_wr_fixed(&w, buf, sizeof(buf));
    simplex_rc rc = sx_relay_wrap(e, &c.client, NULL, &w);
    assert_int_equal(rc, SIMPLEX_E_TOO_LARGE);
    sx_relay_fail(e, rc);
    assert_int_equal(e->rsp.err.transport, SX_TRANSPORT_LARGE_MSG);
    drop_errand(e);
    mem_close(&m);
    vec_free_all();
}

static void names_each_failure(void **state)
{
    static const struct {
        simplex_rc rc;
        uint8_t err, broker, transport, handshake, result_of_prxy;
    } rows[] = {
        { SIMPLEX_E_TIMEOUT, SX_ERR_PROXY, SX_BROKER_TIMEOUT, 0, 0, SX_ERRAND_CONNECT },
        { SIMPLEX_E_CONNECT, SX_ERR_PROXY, SX_BROKER_NETWORK, 0, 0, SX_ERRAND_CONNECT },
        { SIMPLEX_E_TLS, SX_ERR_PROXY, SX_BROKER_NETWORK, 0, 0, SX_ERRAND_CONNECT },
        { SIMPLEX_E_FINGERPRINT, SX_ERR_PROXY, SX_BROKER_NETWORK, 0, 0, SX_ERRAND_CONNECT },
        { SIMPLEX_E_PROXY, SX_ERR_PROXY, SX_BROKER_NETWORK, 0, 0, SX_ERRAND_CONNECT },
        { SIMPLEX_E_HOST, SX_ERR_PROXY, SX_BROKER_HOST, 0, 0, SX_ERRAND_OTHER },
        { SIMPLEX_E_RESPONSE, SX_ERR_PROXY, SX_BROKER_UNEXPECTED, 0, 0, SX_ERRAND_OTHER },
        { SIMPLEX_E_DECODE, SX_ERR_PROXY, SX_BROKER_RESPONSE, 0, 0, SX_ERRAND_OTHER },
        { SIMPLEX_E_BLOCK, SX_ERR_PROXY, SX_BROKER_TRANSPORT, SX_TRANSPORT_BLOCK, 0,
          SX_ERRAND_OTHER },
        { SIMPLEX_E_VERSION, SX_ERR_PROXY, SX_BROKER_TRANSPORT, SX_TRANSPORT_VERSION, 0,
          SX_ERRAND_OTHER },
        { SIMPLEX_E_SESSION, SX_ERR_PROXY, SX_BROKER_TRANSPORT, SX_TRANSPORT_SESSION, 0,
          SX_ERRAND_OTHER },
        { SIMPLEX_E_HANDSHAKE, SX_ERR_PROXY, SX_BROKER_TRANSPORT, SX_TRANSPORT_HANDSHAKE,
          SX_HS_PARSE, SX_ERRAND_OTHER },
        { SIMPLEX_E_SIGNATURE, SX_ERR_PROXY, SX_BROKER_TRANSPORT, SX_TRANSPORT_HANDSHAKE,
          SX_HS_BAD_AUTH, SX_ERRAND_OTHER },
        { SIMPLEX_E_CRYPTO, SX_ERR_CRYPTO, 0, 0, 0, SX_ERRAND_OTHER },
        { SIMPLEX_E_NOMEM, SX_ERR_INTERNAL, 0, 0, 0, SX_ERRAND_OTHER },
    };

    (void)state;
    for (size_t i = 0; i < SX_COUNT(rows); i++) {
        struct sx_errand *e = new_errand(SX_PRXY);
        uint8_t text[600];
        struct sx_wr w;
        struct sx_rsp back;
        sx_relay_fail(e, rows[i].rc);
        assert_int_equal(e->rsp.err.err, rows[i].err);
        assert_int_equal(e->rsp.err.broker, rows[i].broker);
        assert_int_equal(e->rsp.err.transport, rows[i].transport);
        assert_int_equal(e->rsp.err.handshake, rows[i].handshake);
        assert_int_equal(e->result, rows[i].result_of_prxy);
        sx_wr_fixed(&w, text, sizeof(text));
        sx_rsp_encode(&w, &e->rsp, SX_SMP_MAX);
        assert_false(w.bad);
        assert_int_equal(sx_rsp_decode(sx_wr_bytes(&w), SX_SMP_MAX, &back), SIMPLEX_OK);
        drop_errand(e);
    }
    vec_free_all();
}

static void copies_the_text_of_an_error(void **state)
{
    char *text = vec_keep(4000);
    struct sx_rsp rsp = { .tag = SX_R_ERR, .err = { .err = SX_ERR_STORE } };
    struct sx_errand *e = new_errand(SX_PFWD);

    (void)state;
    memset(text, 'a', 4000);
    rsp.err.text = sx_bytes(text, 4000);
    sx_relay_answer(e, NULL, SIMPLEX_E_SERVER, &rsp);
    assert_int_equal(e->rsp.err.proxy, SX_PROXY_PROTOCOL);
    assert_int_equal(e->rsp.err.relay, SX_ERR_STORE);
    assert_int_equal(e->rsp.err.text.len, 255);
    assert_ptr_equal(e->rsp.err.text.ptr, e->body);
    drop_errand(e);
    sx_fault_malloc(0);
    sx_relay_answer(e, NULL, SIMPLEX_E_SERVER, &rsp);
    assert_true(sx_fault_disarm());
    mem_assert_err(&e->rsp, SX_ERR_INTERNAL);
    vec_free_all();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(makes_pkey_of_the_hello),
        cmocka_unit_test(answers_whatever_certificates_a_relay_has),
        cmocka_unit_test(says_when_a_relay_cannot_serve),
        cmocka_unit_test(carries_both_ways),
        cmocka_unit_test(refuses_what_does_not_fit_into_a_block),
        cmocka_unit_test(names_each_failure),
        cmocka_unit_test(copies_the_text_of_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
