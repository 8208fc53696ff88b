/* SPDX-License-Identifier: Apache-2.0 */
/* Odd commands, and the roles this server does not have (protocol/smp.md sections 6 and 11). */
#include "support/server_mem.h"

struct one {
    struct mem_server m;
    struct mem_client a;
    struct mem_queue q;
};

static void open_one(struct one *t)
{
    mem_open(&t->m, NULL);
    mem_connect(&t->m, &t->a, 0, 0);
    mem_new(&t->a, &t->q, SX_MODE_MESSAGING, true);
}

static void close_one(struct one *t)
{
    mem_disconnect(&t->a);
    mem_close(&t->m);
}

/* serverSyntaxTests */
static void refuses_odd_commands(void **state)
{
    enum who { NONE, QUEUE };
    static const struct {
        const char *text;
        bool sign;
        enum who entity;
        enum sx_err_cmd err;
    } rows[] = {
        { "HELLO", false, NONE, SX_CMD_UNKNOWN },
        { "SUB=", true, QUEUE, SX_CMD_UNKNOWN },
        { "OK", false, NONE, SX_CMD_UNKNOWN },
        { "", false, NONE, SX_CMD_UNKNOWN },
        { "NEW", true, NONE, SX_CMD_SYNTAX },
        { "KEY", true, QUEUE, SX_CMD_SYNTAX },
        { "KEY abcd", true, QUEUE, SX_CMD_SYNTAX },
        { "SUB x", true, QUEUE, SX_CMD_SYNTAX },
        { "ACK", true, QUEUE, SX_CMD_SYNTAX },
        { "SEND", false, QUEUE, SX_CMD_SYNTAX },
        { "SEND F hello", false, NONE, SX_CMD_NO_ENTITY },
        { "SUB", false, QUEUE, SX_CMD_NO_AUTH },
        { "SUB", true, NONE, SX_CMD_NO_AUTH },
        { "OFF", false, QUEUE, SX_CMD_NO_AUTH },
        { "DEL", true, NONE, SX_CMD_NO_AUTH },
        { "QUE", false, NONE, SX_CMD_NO_AUTH },
        { "LGET", true, QUEUE, SX_CMD_HAS_AUTH },
        { "LGET", false, NONE, SX_CMD_NO_ENTITY },
        { "PING", true, NONE, SX_CMD_HAS_AUTH },
        { "PING", false, QUEUE, SX_CMD_HAS_AUTH },
        { "RFWD x", true, NONE, SX_CMD_HAS_AUTH },
    };
    struct one t;

    (void)state;
    open_one(&t);
    for (size_t i = 0; i < SX_COUNT(rows); i++) {
        const struct sx_rsp *r = mem_text(
            &t.a, rows[i].sign ? &t.q.rcv : NULL,
            rows[i].entity == QUEUE ? mem_rcv_id(&t.q) : sx_bytes(NULL, 0), sx_str(rows[i].text));
        mem_assert_cmd_err(r, rows[i].err);
    }
    struct sx_cmd ping = { .tag = SX_PING };
    mem_assert_tag(mem_cmd(&t.a, NULL, sx_bytes(NULL, 0), &ping), SX_R_PONG);
    close_one(&t);
}

static const struct sx_rsp *refused(struct one *t, const struct sx_keypair *key,
                                    simplex_bytes entity, const struct sx_cmd *cmd, enum sx_err err)
{
    const struct sx_rsp *r = mem_cmd(&t->a, key, entity, cmd);

    mem_assert_err(r, err);
    return r;
}

static void answers_for_roles_it_does_not_have(void **state)
{
    struct one t;
    simplex_bytes none = sx_bytes(NULL, 0);
    struct sx_cmd prxy = { .tag = SX_PRXY }, pfwd = { .tag = SX_PFWD };
    struct sx_cmd subs = { .tag = SX_SUBS, .subs = { .has_hash = true } };

    (void)state;
    open_one(&t);
    prxy.prxy.server.n_hosts = 1;
    assert_int_equal(sx_host_parse(sx_str("127.0.0.1"), &prxy.prxy.server.hosts[0]), SIMPLEX_OK);
    const struct sx_rsp *r = refused(&t, NULL, none, &prxy, SX_ERR_PROXY);
    assert_int_equal(r->err.proxy, SX_PROXY_BASIC_AUTH);
    pfwd.pfwd.version = 19;
    pfwd.pfwd.key = t.q.dh.pub;
    pfwd.pfwd.body = sx_str("body");
    r = refused(&t, NULL, mem_rcv_id(&t.q), &pfwd, SX_ERR_PROXY);
    assert_int_equal(r->err.proxy, SX_PROXY_NO_SESSION);
    refused(&t, &t.q.rcv, mem_rcv_id(&t.q), &subs, SX_ERR_SERVICE);
    subs.tag = SX_NSUBS;
    refused(&t, &t.q.rcv, mem_rcv_id(&t.q), &subs, SX_ERR_SERVICE);
    r = mem_text(&t.a, NULL, none, sx_str("RSLV name.example"));
    mem_assert_err(r, SX_ERR_NAME);
    assert_int_equal(r->err.name, SX_NAME_NO_RESOLVER);
    close_one(&t);
}

/* A service signature on an ordinary connection. */
static void refuses_service_signatures(void **state)
{
    struct one t;
    uint8_t buf[512], sig[SX_SIG_MAX], corr[24] = { 1 };
    struct sx_transmission x = { .corr_id = sx_bytes(corr, 24),
                                 .has_service_sig = true,
                                 .service_sig = sx_bytes(sig, 64),
                                 .command = sx_str("SUB") };
    struct sx_wr w, block;

    (void)state;
    open_one(&t);
    x.entity_id = mem_rcv_id(&t.q);
    sx_wr_fixed(&w, buf, sizeof(buf));
    sx_authorized_encode(&w, sx_session_id(&t.a.client), x.corr_id, x.entity_id, x.command);
    x.auth.ptr = sig;
    assert_int_equal(sx_sign(&t.q.rcv, sx_wr_bytes(&w), sig, &x.auth.len), SIMPLEX_OK);
    sx_wr_fixed(&w, buf, sizeof(buf));
    sx_transmission_encode(&w, &x, t.a.client.version);
    sx_wr_init(&block, SX_BLOCK);
    sx_wr_u8(&block, 1);
    sx_wr_large(&block, sx_wr_bytes(&w));
    mem_content(&t.a, sx_wr_bytes(&block));
    mem_assert_err(&mem_next(&t.a)->rsp, SX_ERR_SERVICE);
    sx_wr_free(&block);
    close_one(&t);
}

/* 255 commands in one block, each answered; answers as large as can be are not packed too full. */
static void answers_full_blocks(void **state)
{
    struct one t;
    struct mem_batch b;
    struct sx_cmd ping = { .tag = SX_PING }, get = { .tag = SX_GET };
    struct mem_queue q;

    (void)state;
    open_one(&t);
    mem_batch_open(&b, &t.a);
    for (int i = 0; i < 255; i++)
        mem_batch_add(&b, NULL, sx_bytes(NULL, 0), &ping);
    mem_batch_run(&b);
    for (int i = 0; i < 255; i++)
        mem_assert_tag(&mem_next(&t.a)->rsp, SX_R_PONG);
    mem_new(&t.a, &q, SX_MODE_MESSAGING, false);
    mem_assert_tag(mem_send(&t.a, &q, false, "big"), SX_R_OK);
    mem_batch_open(&b, &t.a);
    for (int i = 0; i < 100; i++)
        mem_batch_add(&b, &q.rcv, mem_rcv_id(&q), &get);
    mem_batch_run(&b);
    assert_true(sx_peer_paused(&t.a.peer)); /* nothing more is read before some of it is sent */
    unsigned first = t.a.n_blocks + 1;
    for (unsigned i = 0; i < 100; i++) {
        const struct mem_item *it = mem_next(&t.a);
        mem_assert_msg(&q, &it->rsp, "big");
        assert_int_equal(it->block, first + i);
    }
    close_one(&t);
}

/* The correlation id is the client's: any length up to what the length byte can say. */
static void echoes_any_correlation_id(void **state)
{
    struct one t;
    uint8_t buf[SX_BLOCK], corr[255];
    struct sx_wr w;

    (void)state;
    open_one(&t);
    memset(corr, 'c', sizeof(corr));
    for (size_t n = 0; n <= sizeof(corr); n += 51) {
        struct sx_transmission x = { .corr_id = sx_bytes(corr, n), .command = sx_str("PING") };
        uint8_t text[512];
        struct sx_wr inner;
        sx_wr_fixed(&inner, text, sizeof(text));
        sx_transmission_encode(&inner, &x, t.a.client.version);
        sx_wr_fixed(&w, buf, sizeof(buf));
        sx_wr_u8(&w, 1);
        sx_wr_large(&w, sx_wr_bytes(&inner));
        mem_content(&t.a, sx_wr_bytes(&w));
        const struct mem_item *i = mem_next(&t.a);
        mem_assert_tag(&i->rsp, SX_R_PONG);
        vec_assert_eq(i->t.corr_id, sx_bytes(corr, n), "correlation id");
    }
    close_one(&t);
}

/* With a long correlation id a message does not fit: an error instead of a broken block. */
static void answers_large_msg_when_the_answer_does_not_fit(void **state)
{
    struct one t;
    uint8_t buf[1024], text[1024], corr[255], sig[SX_SIG_MAX];
    struct sx_wr w;

    (void)state;
    open_one(&t);
    struct mem_queue q;
    mem_new(&t.a, &q, SX_MODE_MESSAGING, false);
    mem_assert_tag(mem_send(&t.a, &q, false, "x"), SX_R_OK);
    memset(corr, 'c', sizeof(corr));
    struct sx_transmission x = { .corr_id = sx_bytes(corr, sizeof(corr)),
                                 .entity_id = mem_rcv_id(&q),
                                 .command = sx_str("GET") };
    sx_wr_fixed(&w, buf, sizeof(buf));
    sx_authorized_encode(&w, sx_session_id(&t.a.client), x.corr_id, x.entity_id, x.command);
    x.auth.ptr = sig;
    assert_int_equal(sx_sign(&q.rcv, sx_wr_bytes(&w), sig, &x.auth.len), SIMPLEX_OK);
    struct sx_wr inner;
    sx_wr_fixed(&inner, text, sizeof(text));
    sx_transmission_encode(&inner, &x, t.a.client.version);
    sx_wr_fixed(&w, buf, sizeof(buf));
    sx_wr_u8(&w, 1);
    sx_wr_large(&w, sx_wr_bytes(&inner));
    mem_content(&t.a, sx_wr_bytes(&w));
    mem_assert_err(&mem_next(&t.a)->rsp, SX_ERR_LARGE_MSG);
    close_one(&t);
}

/* Ids of every length there is, also those that begin or end like one that exists. */
static void ids_of_other_lengths_are_unknown(void **state)
{
    static const enum sx_cmd_tag by_rcv[] = { SX_SUB,  SX_GET,  SX_ACK, SX_QUE, SX_KEY, SX_NKEY,
                                              SX_NDEL, SX_LDEL, SX_OFF, SX_DEL, SX_NSUB };
    struct one t;
    uint8_t id[255];

    (void)state;
    open_one(&t);
    for (size_t i = 0; i < sizeof(id); i++)
        id[i] = t.q.rcv_id[i % 24];
    for (size_t len = 1; len <= sizeof(id); len++) {
        if (len == 24)
            continue;
        struct sx_cmd cmd = { .tag = by_rcv[len % SX_COUNT(by_rcv)] };
        if (cmd.tag == SX_KEY) {
            cmd.key.key = t.q.snd.pub;
        } else if (cmd.tag == SX_NKEY) {
            cmd.nkey.auth = t.q.snd.pub;
            cmd.nkey.dh = t.q.dh.pub;
        }
        mem_assert_err(mem_cmd(&t.a, &t.q.rcv, sx_bytes(id, len), &cmd), SX_ERR_AUTH);
        struct sx_cmd send = { .tag = SX_SEND, .send = { .body = sx_str("x") } };
        mem_assert_err(mem_cmd(&t.a, NULL, sx_bytes(t.q.snd_id, 1 + len % 23), &send), SX_ERR_AUTH);
        struct sx_cmd lget = { .tag = SX_LGET };
        mem_assert_err(mem_cmd(&t.a, NULL, sx_bytes(id, len), &lget), SX_ERR_AUTH);
    }
    mem_assert_tag(mem_rcv(&t.a, &t.q, SX_SUB), SX_R_SOK);
    close_one(&t);
}

/* Fields that may be empty, or longer than anything that exists. */
static void fields_may_be_empty_or_long(void **state)
{
    static uint8_t zero[255], password[255];
    static const size_t lens[] = { 0, 1, 23, 25, 255 };
    struct one t;

    (void)state;
    open_one(&t);
    mem_assert_tag(mem_send(&t.a, &t.q, false, ""), SX_R_OK);
    simplex_bytes id = mem_assert_msg(&t.q, mem_event(&t.a), "");
    for (size_t i = 0; i < SX_COUNT(lens); i++) {
        struct sx_cmd lset = { .tag = SX_LSET, .lset = { .link_id = sx_bytes(zero, lens[i]) } };
        mem_assert_err(mem_cmd(&t.a, &t.q.rcv, mem_rcv_id(&t.q), &lset), SX_ERR_AUTH);
        if (lens[i] > 0)
            mem_assert_err(mem_ack(&t.a, &t.q, sx_bytes(zero, lens[i])), SX_ERR_NO_MSG);
        struct mem_queue q = { .rcv_id = { 0 } };
        mem_keys(&q, SX_ED25519);
        struct sx_cmd new = mem_new_cmd(&q, SX_MODE_MESSAGING, false);
        new.new_.has_link = true;
        new.new_.snd_id = sx_bytes(zero, lens[i]);
        mem_assert_cmd_err(mem_cmd(&t.a, &q.rcv, sx_bytes(NULL, 0), &new), SX_CMD_PROHIBITED);
        new = mem_new_cmd(&q, SX_MODE_MESSAGING, false);
        memset(password, 'p', sizeof(password));
        new.new_.has_password = lens[i] > 0; /* none is asked for: any will do */
        new.new_.password = sx_bytes(password, lens[i]);
        mem_assert_tag(mem_cmd(&t.a, &q.rcv, sx_bytes(NULL, 0), &new), SX_R_IDS);
    }
    mem_assert_tag(mem_ack(&t.a, &t.q, id), SX_R_OK);
    struct sx_cmd lset = { .tag = SX_LSET, .lset = { .link_id = sx_bytes(zero, 24) } };
    mem_assert_tag(mem_cmd(&t.a, &t.q.rcv, mem_rcv_id(&t.q), &lset), SX_R_OK);
    mem_assert_tag(mem_cmd(&t.a, &t.q.rcv, mem_rcv_id(&t.q), &lset), SX_R_OK);
    close_one(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_odd_commands),
        cmocka_unit_test(answers_for_roles_it_does_not_have),
        cmocka_unit_test(refuses_service_signatures),
        cmocka_unit_test(answers_full_blocks),
        cmocka_unit_test(echoes_any_correlation_id),
        cmocka_unit_test(ids_of_other_lengths_are_unknown),
        cmocka_unit_test(fields_may_be_empty_or_long),
        cmocka_unit_test(answers_large_msg_when_the_answer_does_not_fit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
