/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every wrong credential of a command: each byte of it changed, each length, each key that is not
 * the queue's, what was signed for another session, queue or command, and none at all. Nothing of
 * it is executed (protocol/smp.md section 6.2).
 */
#include "support/server_mem.h"

static const enum sx_alg algs[] = { SX_ED25519, SX_ED448, SX_X25519 };
static const enum sx_cmd_tag commands[] = { SX_SUB, SX_GET,  SX_ACK,  SX_QUE,
                                            SX_OFF, SX_NDEL, SX_LDEL, SX_DEL };

struct world {
    struct mem_server m;
    struct mem_client a, b;
    struct mem_queue q, other; /* of the same client, with different keys */
};

/* A transmission as the client would send it; it points into b. */
static struct sx_transmission signed_by(struct mem_batch *b, struct mem_client *c,
                                        const struct sx_keypair *key, simplex_bytes entity,
                                        enum sx_cmd_tag tag)
{
    struct sx_cmd cmd = { .tag = tag };
    struct sx_transmission t;

    mem_batch_open(b, c);
    mem_batch_add(b, key, entity, &cmd);
    struct sx_rd rd = sx_rd_init(sx_wr_bytes(&b->w));
    assert_int_equal(sx_rd_u8(&rd), 1);
    size_t len = sx_rd_u16(&rd);
    assert_int_equal(sx_transmission_decode(sx_rd_take(&rd, len), c->client.version, &t),
                     SIMPLEX_OK);
    return t;
}

static void assert_refused(struct world *w, const struct sx_transmission *t)
{
    uint8_t one[SX_BLOCK], content[SX_BLOCK];
    struct sx_wr body, all;

    sx_wr_fixed(&body, one, sizeof(one));
    sx_transmission_encode(&body, t, w->a.client.version);
    sx_wr_fixed(&all, content, sizeof(content));
    sx_wr_u8(&all, 1);
    sx_wr_u16(&all, (uint16_t)body.len);
    sx_wr_raw(&all, sx_wr_bytes(&body));
    assert_false(body.bad || all.bad);
    mem_content(&w->a, sx_wr_bytes(&all));
    const struct mem_item *i = mem_next(&w->a);
    assert_non_null(i);
    vec_assert_eq(i->t.corr_id, t->corr_id, "correlation id");
    if (t->auth.len == 0)
        mem_assert_cmd_err(&i->rsp, SX_CMD_NO_AUTH);
    else if (!sx_auth_len_valid(t->auth.len))
        mem_assert_err(&i->rsp, SX_ERR_BLOCK); /* there is no such credential */
    else
        mem_assert_err(&i->rsp, SX_ERR_AUTH);
    mem_assert_quiet(&w->a);
}

static void open_world(struct world *w, enum sx_alg alg)
{
    mem_open(&w->m, NULL);
    mem_connect(&w->m, &w->a, 0, 0);
    mem_connect(&w->m, &w->b, 1, 0);
    struct mem_queue *q[] = { &w->q, &w->other };
    for (size_t i = 0; i < 2; i++) {
        mem_keys(q[i], alg);
        struct sx_cmd cmd = mem_new_cmd(q[i], SX_MODE_MESSAGING, false);
        const struct sx_rsp *r = mem_cmd(&w->a, &q[i]->rcv, sx_bytes(NULL, 0), &cmd);
        mem_assert_tag(r, SX_R_IDS);
        memcpy(q[i]->rcv_id, r->ids.rcv_id.ptr, 24);
        memcpy(q[i]->snd_id, r->ids.snd_id.ptr, 24);
        q[i]->srv_dh = r->ids.srv_dh;
    }
    mem_assert_tag(mem_send(&w->b, &w->q, false, "waits"), SX_R_OK);
}

/* All is as it was: the queue is active, with its message. */
static void close_world(struct world *w)
{
    mem_assert_tag(mem_send(&w->b, &w->q, false, "second"), SX_R_OK);
    mem_assert_tag(mem_rcv(&w->a, &w->q, SX_SUB), SX_R_SOK);
    assert_non_null(mem_next(&w->a)); /* the message */
    mem_disconnect(&w->a);
    mem_disconnect(&w->b);
    mem_close(&w->m);
    vec_free_all();
}

static void no_changed_byte_or_length_is_taken(void **state)
{
    (void)state;
    for (size_t k = 0; k < SX_COUNT(algs); k++) {
        struct world w;
        open_world(&w, algs[k]);
        for (size_t i = 0; i < SX_COUNT(commands); i++) {
            uint8_t changed[UINT8_MAX] = { 0 };
            struct mem_batch b;
            struct sx_transmission t = signed_by(&b, &w.a, &w.q.rcv, mem_rcv_id(&w.q), commands[i]);
            size_t len = t.auth.len;
            memcpy(changed, t.auth.ptr, len);
            for (size_t at = 0; at < len; at++) {
                changed[at] ^= (uint8_t)(1 << (at % 8));
                t.auth = sx_bytes(changed, len);
                assert_refused(&w, &t);
                changed[at] ^= (uint8_t)(1 << (at % 8));
            }
            for (size_t n = 0; n <= UINT8_MAX; n += n < len ? 1 : 13) {
                t.auth = sx_bytes(changed, n);
                if (n != len)
                    assert_refused(&w, &t);
            }
        }
        close_world(&w);
    }
}

static void no_other_key_is_taken(void **state)
{
    (void)state;
    for (size_t k = 0; k < SX_COUNT(algs); k++) {
        struct world w;
        struct mem_batch b;
        open_world(&w, algs[k]);
        for (size_t i = 0; i < SX_COUNT(commands); i++) {
            struct sx_keypair fresh;
            const struct sx_keypair *keys[] = { &w.other.rcv, &w.q.snd, &fresh };
            for (size_t n = 0; n < SX_COUNT(keys) + SX_COUNT(algs); n++) {
                if (n >= 2)
                    assert_int_equal(sx_keypair_new(algs[n % SX_COUNT(algs)], &fresh), SIMPLEX_OK);
                const struct sx_keypair *key = n < SX_COUNT(keys) ? keys[n] : &fresh;
                struct sx_transmission t = signed_by(&b, &w.a, key, mem_rcv_id(&w.q), commands[i]);
                assert_refused(&w, &t);
            }
        }
        close_world(&w);
    }
}

static void no_credential_is_taken_for_something_else(void **state)
{
    (void)state;
    for (size_t k = 0; k < SX_COUNT(algs); k++) {
        struct world w;
        struct mem_batch b, d;
        open_world(&w, algs[k]);
        for (size_t i = 0; i < SX_COUNT(commands); i++) {
            enum sx_cmd_tag next = commands[(i + 1) % SX_COUNT(commands)];
            uint8_t corr[24];
            /* of another session */
            struct sx_transmission t = signed_by(&b, &w.b, &w.q.rcv, mem_rcv_id(&w.q), commands[i]);
            assert_refused(&w, &t);
            /* of another queue */
            t = signed_by(&b, &w.a, &w.q.rcv, mem_rcv_id(&w.other), commands[i]);
            t.entity_id = mem_rcv_id(&w.q);
            assert_refused(&w, &t);
            /* of another command */
            t = signed_by(&b, &w.a, &w.q.rcv, mem_rcv_id(&w.q), next);
            t.command = signed_by(&d, &w.a, &w.q.rcv, mem_rcv_id(&w.q), commands[i]).command;
            assert_refused(&w, &t);
            /* of another correlation id: sent again */
            t = signed_by(&b, &w.a, &w.q.rcv, mem_rcv_id(&w.q), commands[i]);
            memcpy(corr, t.corr_id.ptr, sizeof(corr));
            corr[23] ^= 1;
            t.corr_id = sx_bytes(corr, sizeof(corr));
            assert_refused(&w, &t);
        }
        close_world(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_changed_byte_or_length_is_taken),
        cmocka_unit_test(no_other_key_is_taken),
        cmocka_unit_test(no_credential_is_taken_for_something_else),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
