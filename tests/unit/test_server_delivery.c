/* SPDX-License-Identifier: Apache-2.0 */
/* Subscriptions and messages (protocol/smp.md sections 7, 11 and 14). */
#include "support/server_mem.h"

#include "peer.h"

#include <stdio.h>

struct three { /* the first and the last on one thread */
    struct mem_server m;
    struct mem_client a, b, c;
};

static void open_three(struct three *t, const struct sx_srv_cfg *cfg)
{
    mem_open(&t->m, cfg);
    mem_connect(&t->m, &t->a, 0, 0);
    mem_connect(&t->m, &t->b, 1, 0);
    mem_connect(&t->m, &t->c, 0, 0);
}

/* With a queue of the first one. */
static void open_queue(struct three *t, const struct sx_srv_cfg *cfg, struct mem_queue *q,
                       bool subscribe)
{
    open_three(t, cfg);
    mem_new(&t->a, q, SX_MODE_MESSAGING, subscribe);
}

static void close_three(struct three *t)
{
    mem_disconnect(&t->a);
    mem_disconnect(&t->b);
    mem_disconnect(&t->c);
    mem_close(&t->m);
}

static void sub_queue(struct mem_client *c, const struct mem_queue *q)
{
    mem_assert_tag(mem_rcv(c, q, SX_SUB), SX_R_SOK);
}

/* testDuplex */
static void carries_both_directions(void **state)
{
    struct three t;
    struct mem_queue ab, ba;

    (void)state;
    open_three(&t, NULL);
    mem_new(&t.a, &ba, SX_MODE_MESSAGING, true);
    mem_new(&t.b, &ab, SX_MODE_MESSAGING, true);
    mem_assert_tag(mem_skey(&t.a, &ab), SX_R_OK);
    mem_assert_tag(mem_skey(&t.b, &ba), SX_R_OK);
    for (int i = 0; i < 3; i++) {
        mem_assert_tag(mem_send(&t.a, &ab, true, "to b"), SX_R_OK);
        mem_assert_tag(mem_send(&t.b, &ba, true, "to a"), SX_R_OK);
        mem_take_msg(&t.a, &ba, "to a");
        mem_take_msg(&t.b, &ab, "to b");
    }
    close_three(&t);
}

static void sends_the_next_message_in_the_answer_to_ack(void **state)
{
    struct three t;
    struct mem_queue q;
    simplex_bytes id;

    (void)state;
    open_queue(&t, NULL, &q, true);
    mem_put(&t.b, &q, "1");
    mem_put(&t.b, &q, "2");
    mem_put(&t.b, &q, "3");
    id = mem_expect_msg(&t.a, &q, "1");
    mem_assert_err(mem_ack(&t.a, &q, sx_bytes("wrong id of 24 bytes len", 24)), SX_ERR_NO_MSG);
    id = mem_assert_msg(&q, mem_ack(&t.a, &q, id), "2");
    id = mem_assert_msg(&q, mem_ack(&t.a, &q, id), "3");
    mem_assert_tag(mem_ack(&t.a, &q, id), SX_R_OK);
    mem_assert_err(mem_ack(&t.a, &q, id), SX_ERR_NO_MSG);
    mem_assert_quiet(&t.a);
    close_three(&t);
}

/* Section 14, item 1. */
static void ack_without_id_repeats_the_message(void **state)
{
    struct three t;
    struct mem_queue q;

    (void)state;
    open_queue(&t, NULL, &q, true);
    mem_put(&t.b, &q, "1");
    simplex_bytes id = mem_expect_msg(&t.a, &q, "1");
    simplex_bytes again = mem_assert_msg(&q, mem_ack(&t.a, &q, sx_bytes(NULL, 0)), "1");
    vec_assert_eq(again, id, "message id");
    mem_assert_tag(mem_ack(&t.a, &q, id), SX_R_OK);
    mem_assert_err(mem_ack(&t.a, &q, sx_bytes(NULL, 0)), SX_ERR_NO_MSG);
    close_three(&t);
}

/* testSwitchSub */
static void moves_a_subscription_to_the_connection_that_asks(void **state)
{
    struct three t;
    struct mem_queue q;

    (void)state;
    open_queue(&t, NULL, &q, true);
    mem_put(&t.c, &q, "1");
    simplex_bytes one = mem_expect_msg(&t.a, &q, "1");
    sub_queue(&t.b, &q);
    mem_expect_msg(&t.b, &q, "1"); /* not acknowledged: delivered again */
    mem_assert_quiet(&t.a);        /* END waits for the flush */
    mem_expect_ended(&t.a, SX_R_END, mem_rcv_id(&q));
    mem_assert_err(mem_ack(&t.a, &q, one), SX_ERR_NO_MSG);
    mem_assert_tag(mem_ack(&t.b, &q, one), SX_R_OK);
    mem_put(&t.c, &q, "2");
    mem_expect_msg(&t.b, &q, "2");
    mem_assert_quiet(&t.a);

    mem_assert_tag(mem_rcv(&t.a, &q, SX_DEL), SX_R_OK);
    mem_expect_ended(&t.b, SX_R_DELD, mem_rcv_id(&q));
    mem_assert_not_ended(&t.a);
    close_three(&t);
}

static void old_clients_get_end_for_deld(void **state)
{
    struct mem_server m;
    struct mem_client a, b;
    struct mem_queue q;

    (void)state;
    mem_open(&m, NULL);
    mem_connect(&m, &a, 0, 9);
    mem_connect(&m, &b, 1, 10);
    mem_new(&a, &q, SX_MODE_NONE, true);
    mem_assert_tag(mem_rcv(&b, &q, SX_DEL), SX_R_OK);
    mem_expect_ended(&a, SX_R_END, mem_rcv_id(&q));
    mem_new(&b, &q, SX_MODE_NONE, true);
    mem_assert_tag(mem_rcv(&a, &q, SX_DEL), SX_R_OK);
    mem_expect_ended(&b, SX_R_DELD, mem_rcv_id(&q));
    mem_disconnect(&a);
    mem_disconnect(&b);
    mem_close(&m);
}

static void a_client_that_subscribed_again_gets_no_end(void **state)
{
    struct three t;
    struct mem_queue q;

    (void)state;
    open_queue(&t, NULL, &q, true);
    sub_queue(&t.b, &q);
    sub_queue(&t.a, &q);
    mem_assert_not_ended(&t.a);
    mem_expect_ended(&t.b, SX_R_END, mem_rcv_id(&q));
    close_three(&t);
}

static void subscribing_again_repeats_the_message(void **state)
{
    struct three t;
    struct mem_queue q;

    (void)state;
    open_queue(&t, NULL, &q, true);
    mem_put(&t.b, &q, "1");
    mem_expect_msg(&t.a, &q, "1");
    sub_queue(&t.a, &q);
    mem_expect_msg(&t.a, &q, "1");
    mem_assert_quiet(&t.a);
    close_three(&t);
}

/* testGetCommand */
static void gets_messages_without_subscription(void **state)
{
    struct three t;
    struct mem_queue q;

    (void)state;
    open_queue(&t, NULL, &q, false);
    mem_assert_tag(mem_rcv(&t.a, &q, SX_GET), SX_R_OK); /* nothing there */
    mem_put(&t.b, &q, "1");
    mem_put(&t.b, &q, "2");
    mem_assert_quiet(&t.a);
    mem_get_msg(&t.a, &q, "1"); /* and no next message */
    mem_get_msg(&t.a, &q, "2");
    mem_assert_tag(mem_rcv(&t.a, &q, SX_GET), SX_R_OK);
    close_three(&t);
}

/* The message is gone when the thread of the subscriber comes to deliver it. */
static void delivers_after_another_connection_took_the_message(void **state)
{
    struct three t;
    struct mem_queue q;
    struct sx_cmd send = { .tag = SX_SEND, .send = { .body = sx_str("1") } };
    struct sx_cmd get = { .tag = SX_GET }, ack = { .tag = SX_ACK };

    (void)state;
    open_queue(&t, NULL, &q, true);
    mem_run_ahead(&t.b, NULL, mem_snd_id(&q), &send);
    mem_assert_tag(&mem_next(&t.b)->rsp, SX_R_OK);
    mem_run_ahead(&t.b, &q.rcv, mem_rcv_id(&q), &get);
    ack.ack.msg_id = mem_assert_msg(&q, &mem_next(&t.b)->rsp, "1");
    mem_run_ahead(&t.b, &q.rcv, mem_rcv_id(&q), &ack);
    mem_assert_tag(&mem_next(&t.b)->rsp, SX_R_OK);
    mem_settle(&t.m);
    mem_assert_quiet(&t.a);

    mem_put(&t.b, &q, "2");
    mem_take_msg(&t.a, &q, "2");
    close_three(&t);
}

/* testGetSubCommands */
static void keeps_get_and_sub_apart_on_one_connection(void **state)
{
    struct three t;
    struct mem_queue q;

    (void)state;
    open_queue(&t, NULL, &q, true);
    for (const char *text = "1\0"
                            "2\0"
                            "3\0"
                            "4\0";
         *text != 0; text += 2)
        mem_put(&t.c, &q, text);
    simplex_bytes one = mem_expect_msg(&t.a, &q, "1");
    mem_assert_cmd_err(mem_rcv(&t.a, &q, SX_GET), SX_CMD_PROHIBITED);
    vec_assert_eq(mem_assert_msg(&q, mem_rcv(&t.b, &q, SX_GET), "1"), one, "same head");
    mem_assert_cmd_err(mem_rcv(&t.b, &q, SX_SUB), SX_CMD_PROHIBITED);
    simplex_bytes two = mem_assert_msg(&q, mem_ack(&t.a, &q, one), "2");
    mem_assert_tag(mem_ack(&t.b, &q, one), SX_R_OK); /* gone already: nothing more is deleted */
    vec_assert_eq(mem_assert_msg(&q, mem_rcv(&t.b, &q, SX_GET), "2"), two, "second");
    mem_assert_err(mem_ack(&t.b, &q, one), SX_ERR_NO_MSG);
    mem_assert_tag(mem_ack(&t.b, &q, two), SX_R_OK);
    simplex_bytes three = mem_assert_msg(&q, mem_ack(&t.a, &q, two), "3");
    simplex_bytes four = mem_assert_msg(&q, mem_ack(&t.a, &q, three), "4");
    mem_assert_tag(mem_ack(&t.a, &q, four), SX_R_OK);
    assert_int_equal(sx_qstore_messages(t.m.srv->store), 0);
    close_three(&t);
}

/* testExceedQueueQuota */
static void holds_senders_back_until_the_queue_is_empty(void **state)
{
    struct sx_srv_cfg cfg = { .new_queues = true, .store = { .quota = 2 } };
    struct three t;
    struct mem_queue q;

    (void)state;
    open_queue(&t, &cfg, &q, true);
    mem_put(&t.b, &q, "1");
    mem_put(&t.b, &q, "2");
    mem_assert_err(mem_send(&t.b, &q, false, "3"), SX_ERR_QUOTA);
    mem_assert_err(mem_send(&t.b, &q, false, "4"), SX_ERR_QUOTA);
    simplex_bytes id = mem_expect_msg(&t.a, &q, "1");
    id = mem_assert_msg(&q, mem_ack(&t.a, &q, id), "2");
    mem_assert_err(mem_send(&t.b, &q, false, "5"), SX_ERR_QUOTA);
    id = mem_assert_msg(&q, mem_ack(&t.a, &q, id), NULL); /* the marker */
    mem_assert_err(mem_send(&t.b, &q, false, "6"), SX_ERR_QUOTA);
    mem_assert_tag(mem_ack(&t.a, &q, id), SX_R_OK);
    mem_put(&t.b, &q, "7");
    mem_expect_msg(&t.a, &q, "7");
    close_three(&t);
}

static void default_quota_is_128(void **state)
{
    struct three t;
    struct mem_queue q;

    (void)state;
    open_queue(&t, NULL, &q, false);
    for (int i = 0; i < 128; i++)
        mem_put(&t.b, &q, "x");
    mem_assert_err(mem_send(&t.b, &q, false, "x"), SX_ERR_QUOTA);
    assert_int_equal(sx_qstore_messages(t.m.srv->store), 129);
    close_three(&t);
}

/* testConcurrentSendDelivery, in every order that two threads can have: see e2e for real ones */
static void two_senders_lose_nothing(void **state)
{
    struct three t;
    struct mem_queue q;
    unsigned got = 0;
    char text[16];

    (void)state;
    open_queue(&t, NULL, &q, true);
    for (int i = 0; i < 50; i++) {
        snprintf(text, sizeof(text), "%d", i);
        mem_put(i % 3 == 0 ? &t.b : &t.c, &q, text);
        if (i % 2 == 0)
            continue;
        const struct sx_rsp *r = mem_event(&t.a);
        while (r != NULL && r->tag == SX_R_MSG) {
            snprintf(text, sizeof(text), "%u", got++);
            r = mem_ack(&t.a, &q, mem_assert_msg(&q, r, text));
        }
    }
    assert_int_equal(got, 50);
    close_three(&t);
}

/* testMsgExpireOnSend, testMsgExpireOnInterval, testMsgNOTExpireOnInterval */
static void expires_old_messages(void **state)
{
    struct sx_srv_cfg cfg = { .new_queues = true, .store = { .ttl_ms = 10000 } };
    struct three t;
    struct mem_queue q, r;

    (void)state;
    open_queue(&t, &cfg, &q, false);
    mem_new(&t.a, &r, SX_MODE_MESSAGING, false);
    mem_put(&t.b, &q, "old");
    mem_put(&t.b, &r, "old too");
    t.m.now += 10000;
    sx_srv_expire(t.m.srv); /* exactly the age is not over it */
    assert_int_equal(sx_qstore_messages(t.m.srv->store), 2);
    t.m.now += 1;
    mem_put(&t.b, &q, "new");
    assert_int_equal(sx_qstore_messages(t.m.srv->store), 2);
    sx_srv_expire(t.m.srv);
    assert_int_equal(sx_qstore_messages(t.m.srv->store), 1);
    mem_assert_msg(&q, mem_rcv(&t.a, &q, SX_GET), "new");
    mem_assert_tag(mem_rcv(&t.a, &r, SX_GET), SX_R_OK);
    close_three(&t);
}

static void expiry_stops_at_the_quota_marker(void **state)
{
    struct sx_srv_cfg cfg = { .new_queues = true, .store = { .quota = 1, .ttl_ms = 1000 } };
    struct three t;
    struct mem_queue q;

    (void)state;
    open_queue(&t, &cfg, &q, false);
    mem_put(&t.b, &q, "1");
    mem_assert_err(mem_send(&t.b, &q, false, "2"), SX_ERR_QUOTA);
    t.m.now += 5000;
    sx_srv_expire(t.m.srv);
    assert_int_equal(sx_qstore_messages(t.m.srv->store), 1);
    mem_get_msg(&t.a, &q, NULL);
    close_three(&t);
}

/* A message that expires while it is on its way cannot be acknowledged away with its follower. */
static void acknowledging_an_expired_message_deletes_nothing(void **state)
{
    struct sx_srv_cfg cfg = { .new_queues = true, .store = { .ttl_ms = 1000 } };
    struct three t;
    struct mem_queue q;

    (void)state;
    open_queue(&t, &cfg, &q, true);
    mem_put(&t.b, &q, "1");
    simplex_bytes id = mem_expect_msg(&t.a, &q, "1");
    t.m.now += 5000;
    mem_put(&t.b, &q, "2"); /* expires the first */
    mem_assert_quiet(&t.a);
    mem_assert_msg(&q, mem_ack(&t.a, &q, id), "2");
    close_three(&t);
}

/* What a flush has no room for does not wait for the next one, 15 seconds later. */
static void many_ends_follow_each_other_as_the_client_reads(void **state)
{
    enum { N = 5000 };
    struct three t;
    const struct mem_item *i;
    size_t got = 0;

    (void)state;
    open_three(&t, NULL);
    for (int k = 0; k < N; k++) {
        struct sx_ended e = { .kind = SX_SUB_MSG };
        memcpy(e.id, &k, sizeof(k));
        assert_true(sx_peer_add_ended(&t.a.peer, &e));
    }
    sx_peer_flush_ends(&t.a.peer);
    assert_in_range(t.a.peer.n_out, SX_PEER_OUT_PAUSE, SX_PEER_OUT_PAUSE + 1);
    for (; (i = mem_next(&t.a)) != NULL; got++) {
        int k;
        mem_assert_tag(&i->rsp, SX_R_END);
        memcpy(&k, i->t.entity_id.ptr, sizeof(k));
        assert_int_equal(k, got);
    }
    assert_int_equal(got, N);
    assert_int_equal(t.a.peer.n_ended, 0);
    close_three(&t);
}

/* stressTest: 50 queues, subscribed from two further connections */
static void moves_fifty_subscriptions_twice(void **state)
{
    struct three t;
    static struct mem_queue q[50];
    struct mem_client *from[] = { &t.a, &t.b }, *to[] = { &t.b, &t.c };
    struct sx_cmd sub = { .tag = SX_SUB };

    (void)state;
    open_three(&t, NULL);
    mem_new_all(&t.a, q, SX_COUNT(q));
    for (size_t k = 0; k < 2; k++) {
        struct mem_batch b;
        mem_batch_open(&b, to[k]);
        for (size_t i = 0; i < SX_COUNT(q); i++)
            mem_batch_add(&b, &q[i].rcv, mem_rcv_id(&q[i]), &sub);
        mem_batch_run(&b);
        for (size_t i = 0; i < SX_COUNT(q); i++)
            mem_assert_tag(&mem_next(to[k])->rsp, SX_R_SOK);
        unsigned before = from[k]->n_blocks;
        sx_peer_flush_ends(&from[k]->peer);
        for (size_t i = 0; i < SX_COUNT(q); i++)
            mem_assert_tag(&mem_next(from[k])->rsp, SX_R_END);
        assert_int_equal(from[k]->n_blocks, before + 1);
        assert_int_equal(from[k]->peer.n_subs, 0);
    }
    mem_put(&t.a, &q[17], "last");
    mem_expect_msg(&t.c, &q[17], "last");
    close_three(&t);
}

/* Section 7: with up to four answers the first message is in their block. */
static void puts_the_first_message_into_the_block_of_few_answers(void **state)
{
    struct three t;
    struct mem_queue q[5];
    struct sx_cmd sub = { .tag = SX_SUB };

    (void)state;
    open_three(&t, NULL);
    for (size_t i = 0; i < 5; i++) {
        mem_new(&t.a, &q[i], SX_MODE_MESSAGING, false);
        mem_put(&t.a, &q[i], "waiting");
    }
    for (size_t n = 3; n <= 5; n += 2) {
        struct mem_batch b;
        mem_batch_open(&b, &t.b);
        for (size_t i = 0; i < n; i++)
            mem_batch_add(&b, &q[i].rcv, mem_rcv_id(&q[i]), &sub);
        unsigned first = t.b.n_blocks + 1;
        mem_batch_run(&b);
        for (size_t i = 0; i < n; i++) {
            const struct mem_item *it = mem_next(&t.b);
            mem_assert_tag(&it->rsp, SX_R_SOK);
            assert_int_equal(it->block, first);
        }
        for (unsigned i = 0; i < n; i++) {
            const struct mem_item *it = mem_next(&t.b);
            mem_assert_msg(&q[i], &it->rsp, "waiting");
            assert_int_equal(it->block, first + i + (n == 5 ? 1 : 0));
        }
        mem_assert_quiet(&t.b);
    }
    close_three(&t);
}

/* n PINGs in one block. */
static void ping_ahead(struct mem_client *c, unsigned n)
{
    struct sx_cmd ping = { .tag = SX_PING };
    struct mem_batch b;

    mem_batch_open(&b, c);
    for (unsigned i = 0; i < n; i++)
        mem_batch_add(&b, NULL, sx_bytes(NULL, 0), &ping);
    sx_peer_block(&c->peer, sx_wr_bytes(&b.w));
}

/* A client that is ahead of the server: the answers to its blocks share one, up to what fits. */
static void answers_that_wait_share_a_block(void **state)
{
    static const struct {
        unsigned n[3], blocks;
    } cases[] = {
        { { 1, 1, 1 }, 1 },
        { { 100, 100, 55 }, 1 },
        { { 100, 100, 56 }, 2 }, /* 255 transmissions are a block */
        { { 1, 255, 1 }, 3 },
    };
    struct three t;

    (void)state;
    open_three(&t, NULL);
    for (size_t i = 0; i < SX_COUNT(cases); i++) {
        unsigned blocks = t.a.n_blocks, n = 0;
        for (size_t k = 0; k < 3; k++) {
            ping_ahead(&t.a, cases[i].n[k]);
            n += cases[i].n[k];
        }
        for (; n > 0; n--)
            mem_assert_tag(&mem_next(&t.a)->rsp, SX_R_PONG);
        mem_assert_quiet(&t.a);
        assert_int_equal(t.a.n_blocks - blocks, cases[i].blocks);
    }
    close_three(&t);
}

/* A message fills its block but for a few answers; those before and behind it go along. */
static void a_message_that_waits_shares_its_block_with_answers(void **state)
{
    struct three t;
    struct mem_queue q[2];

    (void)state;
    open_three(&t, NULL);
    mem_new_all(&t.a, q, 2);
    unsigned blocks = t.a.n_blocks;
    ping_ahead(&t.a, 1);
    for (size_t i = 0; i < 2; i++)
        mem_put(&t.b, &q[i], "both");
    ping_ahead(&t.a, 1);
    mem_assert_tag(&mem_next(&t.a)->rsp, SX_R_PONG);
    (void)mem_assert_msg(&q[0], &mem_next(&t.a)->rsp, "both");
    assert_int_equal(t.a.n_blocks - blocks, 2);
    (void)mem_assert_msg(&q[1], &mem_next(&t.a)->rsp, "both");
    mem_assert_tag(&mem_next(&t.a)->rsp, SX_R_PONG);
    mem_assert_quiet(&t.a);
    close_three(&t);
}

static void a_closed_connection_leaves_its_queues(void **state)
{
    struct three t;
    struct mem_queue q;

    (void)state;
    open_queue(&t, NULL, &q, true);
    mem_put(&t.b, &q, "1");
    mem_disconnect(&t.a);
    mem_put(&t.b, &q, "2");
    mem_connect(&t.m, &t.a, 1, 0);
    sub_queue(&t.a, &q);
    simplex_bytes id = mem_expect_msg(&t.a, &q, "1");
    mem_assert_msg(&q, mem_ack(&t.a, &q, id), "2");
    close_three(&t);
}

static void old_versions_answer_sub_with_ok(void **state)
{
    struct mem_server m;
    struct mem_client a;
    struct mem_queue q;

    (void)state;
    mem_open(&m, NULL);
    for (uint16_t v = 6; v <= SX_SMP_MAX; v++) {
        mem_connect(&m, &a, 0, v);
        mem_new(&a, &q, v < 9 ? SX_MODE_NONE : SX_MODE_MESSAGING, false);
        mem_put(&a, &q, "hello");
        mem_assert_tag(mem_rcv(&a, &q, SX_SUB), v < 16 ? SX_R_OK : SX_R_SOK);
        mem_take_msg(&a, &q, "hello");
        mem_disconnect(&a);
    }
    mem_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(carries_both_directions),
        cmocka_unit_test(sends_the_next_message_in_the_answer_to_ack),
        cmocka_unit_test(ack_without_id_repeats_the_message),
        cmocka_unit_test(moves_a_subscription_to_the_connection_that_asks),
        cmocka_unit_test(old_clients_get_end_for_deld),
        cmocka_unit_test(a_client_that_subscribed_again_gets_no_end),
        cmocka_unit_test(subscribing_again_repeats_the_message),
        cmocka_unit_test(gets_messages_without_subscription),
        cmocka_unit_test(delivers_after_another_connection_took_the_message),
        cmocka_unit_test(keeps_get_and_sub_apart_on_one_connection),
        cmocka_unit_test(holds_senders_back_until_the_queue_is_empty),
        cmocka_unit_test(default_quota_is_128),
        cmocka_unit_test(two_senders_lose_nothing),
        cmocka_unit_test(expires_old_messages),
        cmocka_unit_test(expiry_stops_at_the_quota_marker),
        cmocka_unit_test(acknowledging_an_expired_message_deletes_nothing),
        cmocka_unit_test(many_ends_follow_each_other_as_the_client_reads),
        cmocka_unit_test(moves_fifty_subscriptions_twice),
        cmocka_unit_test(puts_the_first_message_into_the_block_of_few_answers),
        cmocka_unit_test(answers_that_wait_share_a_block),
        cmocka_unit_test(a_message_that_waits_shares_its_block_with_answers),
        cmocka_unit_test(a_closed_connection_leaves_its_queues),
        cmocka_unit_test(old_versions_answer_sub_with_ok),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
