/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands through a proxy (lib/client/via.h). The proxy is tests/support/smp_peer.c, which plays
 * the relay behind it as well: it opens what is forwarded, and does wrong what it is told to.
 */
#include "client/via.h"

#include "client/proxied.h"
#include "support/smp_peer.h"
#include "support/vec.h"

enum fault {
    NONE,
    NO_SESSION,    /* once */
    NEVER_SESSION, /* each time */
    GARBAGE,       /* PRES of noise */
    SHORT,         /* PRES of a few bytes */
    OTHER_CORR,    /* an answer to another command, of the relay itself */
    OTHER_ENTITY,
    TWO_ANSWERS,
    RELAY_AUTH,     /* the relay answers ERR AUTH */
    RELAY_ODD,      /* the relay answers IDS */
    DROP,           /* the connection, when a command is forwarded */
    DROP_ASKED,     /* the connection, when the session is asked for */
    NO_SUCH_HOST,   /* ERR PROXY BROKER HOST to PRXY */
    OTHER_IDENTITY, /* PKEY of a server that is not the relay */
    OLD,            /* PKEY for versions that no longer are */
    SILENT,         /* no answer to a command that is forwarded */
};

static struct scene {
    uv_loop_t loop;
    struct peer peer;
    struct sx_net *net;
    struct sx_client *client;
    struct sx_via *via;
    enum fault fault;
    struct test_certs relay;
    struct sx_keypair relay_key;
    struct sx_wr chain, signed_key;
    struct sx_server address;
    unsigned asked, forwarded;
    bool password;
    /* answers */
    unsigned answered;
    bool proxy_failed, close_in_answer;
    simplex_rc rc;
    struct sx_smp_err err;
    uint8_t entities[64][24];
} s;

/* ---- the proxy and the relay ---- */

static bool tell_key(struct sx_rsp *rsp)
{
    *rsp = (struct sx_rsp){ .tag = SX_R_PKEY };
    rsp->pkey.session_id = sx_str("the session of the relay");
    rsp->pkey.min = s.fault == OLD ? 6 : 8;
    rsp->pkey.max = s.fault == OLD ? 7 : 19;
    rsp->pkey.chain = sx_wr_bytes(&s.chain);
    rsp->pkey.signed_key = sx_wr_bytes(&s.signed_key);
    if (s.fault == NO_SUCH_HOST)
        *rsp = (struct sx_rsp){
            .tag = SX_R_ERR,
            .err = { .err = SX_ERR_PROXY, .proxy = SX_PROXY_BROKER, .broker = SX_BROKER_HOST }
        };
    return true;
}

static void relay_answers(struct sx_transmission *t, struct sx_wr *w)
{
    static uint8_t corr[24], id[24];
    uint8_t one[512], text[256];
    struct sx_rsp rsp = { .tag = SX_R_OK };
    struct sx_wr inner, cmd;

    if (s.fault == RELAY_AUTH)
        rsp = (struct sx_rsp){ .tag = SX_R_ERR, .err = { .err = SX_ERR_AUTH } };
    if (s.fault == RELAY_ODD)
        rsp = (struct sx_rsp){ .tag = SX_R_PONG };
    sx_wr_fixed(&cmd, text, sizeof text);
    sx_rsp_encode(&cmd, &rsp, 19);
    if (s.fault == OTHER_CORR)
        t->corr_id = sx_bytes(corr, sizeof corr);
    if (s.fault == OTHER_ENTITY)
        t->entity_id = sx_bytes(id, sizeof id);
    t->auth = sx_bytes(NULL, 0);
    t->command = sx_wr_bytes(&cmd);
    sx_wr_fixed(&inner, one, sizeof one);
    sx_transmission_encode(&inner, t, 19);
    sx_wr_u8(w, s.fault == TWO_ANSWERS ? 2 : 1);
    sx_wr_large(w, sx_wr_bytes(&inner));
    if (s.fault == TWO_ANSWERS)
        sx_wr_large(w, sx_wr_bytes(&inner));
    assert_false(w->bad);
}

static bool forwarded(const struct sx_cmd *cmd, const struct sx_transmission *t, struct sx_rsp *rsp)
{
    static uint8_t sealed[SX_PROXIED_BOX];
    uint8_t box[SX_PROXIED_BOX], secret[SX_DH_MAX], back[24], content[1024];
    struct sx_transmission inner;
    struct sx_batch_rd batch;
    struct sx_box_key key;
    simplex_bytes in, one;
    struct sx_wr w;

    assert_int_equal(cmd->pfwd.version, 19);
    assert_int_equal(cmd->pfwd.body.len, sizeof box);
    vec_assert_eq(t->entity_id, sx_str("the session of the relay"), "entity of PFWD");
    memcpy(box, cmd->pfwd.body.ptr, sizeof box);
    assert_int_equal(sx_dh(&s.relay_key.priv, &cmd->pfwd.key, secret), SIMPLEX_OK);
    sx_box_key_init(&key, secret);
    assert_int_equal(sx_box_open_padded(&key, t->corr_id.ptr, box, sizeof box, &in), SIMPLEX_OK);
    assert_int_equal(sx_batch_open(in, &batch), SIMPLEX_OK);
    assert_true(sx_batch_next(&batch, &one));
    assert_int_equal(sx_transmission_decode(one, 19, &inner), SIMPLEX_OK);
    vec_assert_eq(inner.corr_id, t->corr_id, "correlation id inside");
    sx_wr_fixed(&w, content, sizeof content);
    relay_answers(&inner, &w);
    sx_nonce_reverse(t->corr_id.ptr, back);
    assert_int_equal(sx_box_seal_padded(&key, back, sx_wr_bytes(&w), SX_PROXIED_PADDED, sealed),
                     SIMPLEX_OK);
    *rsp = (struct sx_rsp){ .tag = SX_R_PRES };
    rsp->enc.body = sx_bytes(sealed, s.fault == SHORT ? 5 : sizeof sealed);
    if (s.fault == GARBAGE)
        sealed[1000] ^= 1;
    return true;
}

static bool answer(struct peer *p, struct peer_conn *c, const struct sx_cmd *cmd,
                   struct sx_transmission *t, struct sx_rsp *rsp)
{
    if (cmd->tag == SX_PRXY) {
        s.asked++;
        assert_true(sx_server_eq(&cmd->prxy.server, &s.address));
        assert_int_equal(cmd->prxy.has_password, s.password);
        if (s.fault == DROP_ASKED)
            peer_drop(p);
        return s.fault != DROP_ASKED && tell_key(rsp);
    }
    if (cmd->tag != SX_PFWD)
        return peer_answer(p, c, cmd, t, rsp);
    s.forwarded++;
    if (s.fault == DROP)
        peer_drop(p);
    if (s.fault == DROP || s.fault == SILENT)
        return false;
    if (s.fault != NO_SESSION && s.fault != NEVER_SESSION)
        return forwarded(cmd, t, rsp);
    if (s.fault == NO_SESSION)
        s.fault = NONE;
    *rsp = (struct sx_rsp){ .tag = SX_R_ERR,
                            .err = { .err = SX_ERR_PROXY, .proxy = SX_PROXY_NO_SESSION } };
    return true;
}

/* ---- the client ---- */

static void on_answer(void *owner, const struct sx_via_answer *a)
{
    assert_ptr_equal(owner, &s);
    assert_int_equal(a->req->cmd->tag, SX_SEND);
    vec_assert_eq(a->req->cmd->send.body, sx_str("hello"), "as it was given");
    assert_true(s.answered < SX_COUNT(s.entities));
    memcpy(s.entities[s.answered++], a->req->entity.ptr, a->req->entity.len);
    s.proxy_failed = a->proxy_failed;
    s.rc = a->rc;
    assert_int_equal(a->rsp != NULL, a->rc == SIMPLEX_OK || a->rc == SIMPLEX_E_SERVER);
    s.err = a->rc == SIMPLEX_E_SERVER ? a->rsp->err : (struct sx_smp_err){ 0 };
    if (s.close_in_answer) {
        sx_via_close(s.via);
        s.via = NULL;
    }
}

static simplex_rc send_one(uint8_t entity)
{
    uint8_t id[24] = { entity };
    struct sx_cmd cmd = { .tag = SX_SEND, .send = { .body = sx_str("hello") } };
    struct sx_request req = { .cmd = &cmd, .entity = sx_bytes(id, sizeof id) };

    return sx_via_send(s.via, &req);
}

static void run_until(const unsigned *count, unsigned n)
{
    int64_t until = sx_mono_ms() + 40000;

    while (*count < n) {
        if (sx_mono_ms() > until)
            fail_msg("%u instead of %u", *count, n);
        (void)uv_run(&s.loop, UV_RUN_ONCE);
    }
}

static void run_for(int64_t ms)
{
    for (int64_t until = sx_mono_ms() + ms; sx_mono_ms() < until;)
        (void)uv_run(&s.loop, UV_RUN_NOWAIT);
}

static void assert_answer(enum fault fault, bool proxy_failed, simplex_rc rc)
{
    unsigned before = s.answered;

    s.fault = fault;
    assert_int_equal(send_one((uint8_t)(before + 1)), SIMPLEX_OK);
    run_until(&s.answered, before + 1);
    if (s.rc != rc || s.proxy_failed != proxy_failed)
        fail_msg("fault %d: %s, proxy %d", (int)fault, simplex_rc_name(s.rc), s.proxy_failed);
    s.fault = NONE;
}

static void make_relay(struct test_certs *certs)
{
    assert_int_equal(sx_keypair_new(SX_X25519, &s.relay_key), SIMPLEX_OK);
    sx_wr_free(&s.chain);
    sx_wr_free(&s.signed_key);
    sx_wr_init(&s.chain, 65536);
    sx_wr_init(&s.signed_key, 1024);
    sx_wr_u8(&s.chain, (uint8_t)certs->chain.count);
    for (size_t i = 0; i < certs->chain.count; i++)
        sx_wr_large(&s.chain, certs->chain.cert[i]);
    assert_int_equal(sx_signed_key_encode(&s.signed_key, &s.relay_key.pub, &certs->leaf),
                     SIMPLEX_OK);
}

static void open_scene(uint16_t max)
{
    static const struct sx_net_callbacks callbacks;
    struct sx_net_cfg cfg = {
        .connect_timeout = 15000, .command_timeout = 6000, .reconnect_first = 20, .failed_cache = 20
    };
    struct sx_server proxy;

    memset(&s, 0, sizeof s);
    assert_int_equal(uv_loop_init(&s.loop), 0);
    peer_start(&s.peer, &s.loop, 0);
    s.peer.answer = answer;
    s.peer.max = max;
    test_certs_make(SX_ED25519, 2, &s.relay);
    make_relay(&s.relay);
    s.address = (struct sx_server){ .n_hosts = 1 };
    assert_int_equal(sx_host_parse(sx_str("relay.example"), &s.address.hosts[0]), SIMPLEX_OK);
    memcpy(s.address.key_hash, s.relay.fingerprint, 32);
    peer_server(&s.peer, "127.0.0.1", &proxy);
    assert_int_equal(sx_net_open(&s.loop, &cfg, &callbacks, NULL, NULL, &s.net), SIMPLEX_OK);
    assert_int_equal(sx_net_client(s.net, &proxy, &s.client), SIMPLEX_OK);
    assert_int_equal(sx_via_open(s.client, &s.address, sx_bytes(NULL, 0), on_answer, &s, &s.via),
                     SIMPLEX_OK);
}

static int set_up(void **state)
{
    (void)state;
    open_scene(0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    sx_net_close(s.net, NULL, NULL); /* with what is still under way */
    peer_stop(&s.peer);
    (void)uv_run(&s.loop, UV_RUN_DEFAULT);
    peer_free(&s.peer);
    assert_int_equal(uv_loop_close(&s.loop), 0);
    test_certs_free(&s.relay);
    sx_wr_free(&s.chain);
    sx_wr_free(&s.signed_key);
    vec_free_all();
    return 0;
}

/* ---- tests ---- */

static void asks_once_for_many_commands(void **state)
{
    (void)state;
    for (uint8_t i = 0; i < 20; i++)
        assert_int_equal(send_one(i), SIMPLEX_OK);
    assert_int_equal(s.answered, 0); /* never inside a call */
    run_until(&s.answered, 20);
    assert_int_equal(s.rc, SIMPLEX_OK);
    assert_false(s.proxy_failed);
    assert_int_equal(s.asked, 1);
    assert_int_equal(s.forwarded, 20);
    for (uint8_t i = 0; i < 20; i++)
        assert_int_equal(s.entities[i][0], i); /* in order */
}

static void asks_again_when_the_session_is_gone(void **state)
{
    (void)state;
    assert_answer(NONE, false, SIMPLEX_OK);
    assert_answer(NO_SESSION, false, SIMPLEX_OK);
    assert_int_equal(s.asked, 2);
    assert_int_equal(s.forwarded, 3);
    assert_answer(NEVER_SESSION, true, SIMPLEX_E_SERVER); /* but not for ever */
    assert_int_equal(s.err.proxy, SX_PROXY_NO_SESSION);
    assert_int_equal(s.asked, 3);
    assert_int_equal(s.forwarded, 5);
    assert_answer(NONE, false, SIMPLEX_OK);
    assert_int_equal(s.asked, 4);
}

static void tells_the_word_of_the_relay_from_that_of_the_proxy(void **state)
{
    (void)state;
    assert_answer(RELAY_AUTH, false, SIMPLEX_E_SERVER);
    assert_int_equal(s.err.err, SX_ERR_AUTH);
    assert_answer(RELAY_ODD, false, SIMPLEX_E_RESPONSE);
    assert_answer(OTHER_CORR, false, SIMPLEX_E_RESPONSE);
    assert_answer(OTHER_ENTITY, false, SIMPLEX_E_RESPONSE);
    assert_answer(TWO_ANSWERS, false, SIMPLEX_E_RESPONSE);
    assert_int_equal(s.asked, 1);
    assert_answer(GARBAGE, true, SIMPLEX_E_CRYPTO);
    assert_answer(SHORT, true, SIMPLEX_E_CRYPTO);
    assert_answer(NO_SUCH_HOST, true, SIMPLEX_E_SERVER); /* it is asked anew after a lie */
    assert_int_equal(s.err.broker, SX_BROKER_HOST);
    assert_answer(SILENT, true, SIMPLEX_E_TIMEOUT);
}

static void believes_no_other_identity_and_no_old_version(void **state)
{
    struct test_certs other;

    (void)state;
    assert_answer(OLD, true, SIMPLEX_E_VERSION);
    test_certs_make(SX_ED25519, 2, &other);
    make_relay(&other);
    assert_answer(OTHER_IDENTITY, true, SIMPLEX_E_FINGERPRINT);
    make_relay(&s.relay);
    s.signed_key.p[s.signed_key.len - 1] ^= 1;
    assert_answer(NONE, true, SIMPLEX_E_SIGNATURE);
    make_relay(&s.relay);
    assert_int_equal(s.forwarded, 0); /* nothing went to any of them */
    assert_answer(NONE, false, SIMPLEX_OK);
    test_certs_free(&other);
}

static void begins_anew_when_the_connection_was_lost(void **state)
{
    (void)state;
    assert_answer(DROP_ASKED, true, SIMPLEX_E_DISCONNECTED);
    assert_answer(NONE, false, SIMPLEX_OK);
    assert_answer(DROP, true, SIMPLEX_E_DISCONNECTED);
    unsigned asked = s.asked;
    assert_answer(NONE, false, SIMPLEX_OK);
    assert_int_equal(s.asked, asked + 1);
}

static void reports_a_proxy_that_is_not_there(void **state)
{
    (void)state;
    peer_listen(&s.peer, false);
    assert_answer(NONE, true, SIMPLEX_E_CONNECT);
}

static void reports_a_proxy_that_is_too_old(void **state)
{
    (void)state;
    open_scene(7);
    assert_int_equal(send_one(1), SIMPLEX_OK);
    run_until(&s.answered, 1);
    assert_true(s.proxy_failed);
    assert_int_equal(s.rc, SIMPLEX_E_VERSION);
}

static void shows_the_password_to_the_proxy(void **state)
{
    (void)state;
    sx_via_close(s.via);
    s.password = true;
    assert_int_equal(sx_via_open(s.client, &s.address, sx_str("secret"), on_answer, &s, &s.via),
                     SIMPLEX_OK);
    assert_answer(NONE, false, SIMPLEX_OK);
}

static void says_nothing_after_it_was_closed(void **state)
{
    (void)state;
    assert_answer(NONE, false, SIMPLEX_OK);
    for (uint8_t i = 0; i < 5; i++)
        assert_int_equal(send_one(i), SIMPLEX_OK); /* forwarded */
    sx_via_close(s.via);
    run_until(&s.forwarded, 6);
    run_for(50);
    assert_int_equal(s.answered, 1);
    assert_int_equal(sx_via_open(s.client, &s.address, sx_bytes(NULL, 0), on_answer, &s, &s.via),
                     SIMPLEX_OK);
    for (uint8_t i = 0; i < 5; i++)
        assert_int_equal(send_one(i), SIMPLEX_OK); /* waiting for the session */
    sx_via_close(s.via);
    run_until(&s.asked, 2);
    run_for(50);
    assert_int_equal(s.answered, 1);
    s.via = NULL;
}

static void may_be_closed_in_an_answer(void **state)
{
    (void)state;
    for (uint8_t i = 0; i < 5; i++)
        assert_int_equal(send_one(i), SIMPLEX_OK);
    s.close_in_answer = true;
    s.fault = NO_SUCH_HOST; /* all five are answered at once */
    run_until(&s.answered, 1);
    run_for(50);
    assert_int_equal(s.answered, 1);
}

static void forwards_only_what_senders_send(void **state)
{
    struct sx_cmd cmd = { .tag = SX_DEL };
    struct sx_request req = { .cmd = &cmd };
    uint8_t *body = vec_keep(SX_BLOCK);

    (void)state;
    assert_int_equal(sx_via_send(s.via, &req), SIMPLEX_E_ARG);
    assert_answer(NONE, false, SIMPLEX_OK);
    cmd = (struct sx_cmd){ .tag = SX_SEND, .send = { .body = sx_bytes(body, SX_BLOCK) } };
    assert_int_equal(sx_via_send(s.via, &req), SIMPLEX_E_TOO_LARGE);
    cmd.send.body.len = 16200; /* fits into a block, but not with the layers around it */
    assert_int_equal(sx_via_send(s.via, &req), SIMPLEX_E_TOO_LARGE);
    assert_answer(NONE, false, SIMPLEX_OK);
}

static void survives_every_failed_malloc(void **state)
{
    unsigned n, before;

    (void)state;
    for (int round = 0; round < 2; round++) { /* before the session is known, and after */
        for (n = 0;; n++) {
            sx_fault_malloc(n);
            simplex_rc rc = send_one(1);
            if (!sx_fault_disarm()) {
                assert_int_equal(rc, SIMPLEX_OK);
                break;
            }
            assert_int_equal(rc, SIMPLEX_E_NOMEM);
        }
        assert_true(n > 2);
        before = s.answered;
        run_until(&s.answered, before + 1);
        assert_int_equal(s.rc, SIMPLEX_OK);
    }
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(asks_once_for_many_commands),
        CASE(asks_again_when_the_session_is_gone),
        CASE(tells_the_word_of_the_relay_from_that_of_the_proxy),
        CASE(believes_no_other_identity_and_no_old_version),
        CASE(begins_anew_when_the_connection_was_lost),
        CASE(reports_a_proxy_that_is_not_there),
        cmocka_unit_test_teardown(reports_a_proxy_that_is_too_old, tear_down),
        CASE(shows_the_password_to_the_proxy),
        CASE(says_nothing_after_it_was_closed),
        CASE(may_be_closed_in_an_answer),
        CASE(forwards_only_what_senders_send),
        CASE(survives_every_failed_malloc),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
