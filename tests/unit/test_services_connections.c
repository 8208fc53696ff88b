/* SPDX-License-Identifier: Apache-2.0 */
/* Connections of the same service: the one that subscribed last has its messages (protocol/smp.md
 * sections 6.3 and 7). */
#include "support/mem_service.h"

#include <pthread.h>

static void expect_ends(struct mem_client *c, const struct mem_queue *q, size_t n)
{
    mem_assert_queues(mem_expect_ended(c, SX_R_ENDS, mem_service_id(c)), SX_R_ENDS, q, n);
}

static void another_connection_takes_over(void **state)
{
    struct mem_world w;
    struct mem_queue q[2];

    (void)state;
    mem_open_served(&w, q, 2);
    mem_put(&w.b, &q[0], "in flight");
    simplex_bytes id = mem_expect_msg(&w.s, &q[0], "in flight");
    mem_assert_queues(mem_subs(&w.s2), SX_R_SOKS, q, 2);
    mem_expect_msg(&w.s2, &q[0], "in flight");
    mem_expect_alls(&w.s2);
    mem_assert_err(mem_ack(&w.s, &q[0], id), SX_ERR_NO_MSG);
    expect_ends(&w.s, q, 2);
    mem_assert_tag(mem_ack(&w.s2, &q[0], id), SX_R_OK);
    mem_deliver(&w.b, &w.s2, &q[1], "to the second");
    /* and back again, by SUB of one queue */
    mem_assert_sok(mem_rcv(&w.s, &q[0], SX_SUB), &w.s);
    mem_deliver(&w.b, &w.s, &q[1], "to the first");
    expect_ends(&w.s2, q, 2);
    mem_assert_quiet(&w.s);
    mem_assert_quiet(&w.s2);
    mem_close_world(&w);
}

static void who_has_subscribed_again_is_not_told_of_the_end(void **state)
{
    struct mem_world w;
    struct mem_queue q;

    (void)state;
    mem_open_served(&w, &q, 1);
    mem_subscribe_all(&w.s2, &q, 1);
    mem_subscribe_all(&w.s, &q, 1);
    mem_assert_not_ended(&w.s);
    mem_deliver(&w.b, &w.s, &q, "here");
    mem_close_world(&w);
}

/* The thread of the old connection has not noticed yet that it has lost the service. */
static void a_message_goes_to_the_connection_that_took_over(void **state)
{
    struct sx_cmd sub = { .tag = SX_SUB };
    struct sx_cmd send = { .tag = SX_SEND, .send = { .body = sx_str("on its way") } };
    struct mem_world w;
    struct mem_queue q[2];

    (void)state;
    mem_open_served(&w, q, 2);
    mem_run_ahead(&w.s2, &q[0].rcv, mem_rcv_id(&q[0]), &sub);
    mem_run_ahead(&w.b, NULL, mem_snd_id(&q[1]), &send);
    mem_settle(&w.m);
    mem_assert_sok(&mem_next(&w.s2)->rsp, &w.s2);
    mem_assert_quiet(&w.s);
    mem_take_msg(&w.s2, &q[1], "on its way");
    /* the same when the old connection closes before it notices */
    mem_run_ahead(&w.s, &q[0].rcv, mem_rcv_id(&q[0]), &sub);
    mem_run_ahead(&w.b, NULL, mem_snd_id(&q[1]), &send);
    mem_disconnect(&w.s2);
    mem_settle(&w.m);
    mem_assert_sok(&mem_next(&w.s)->rsp, &w.s);
    mem_take_msg(&w.s, &q[1], "on its way");
    mem_close_world(&w);
}

/* So it is not told; what the other connection had meanwhile is delivered here. */
static void who_takes_the_service_back_unnoticed_misses_nothing(void **state)
{
    struct mem_world w;
    struct mem_queue q;

    (void)state;
    mem_open_served(&w, &q, 1);
    mem_subscribe_all(&w.s, &q, 1);
    mem_put(&w.b, &q, "again");
    mem_expect_msg(&w.s, &q, "again");
    mem_subs_ahead(&w.s2);
    sx_hub_run(&w.m.hub[1]);
    mem_subs_ahead(&w.s);
    mem_settle(&w.m);
    mem_assert_queues(&mem_next(&w.s)->rsp, SX_R_SOKS, &q, 1);
    mem_take_msg(&w.s, &q, "again");
    mem_assert_not_ended(&w.s);
    mem_close_world(&w);
}

/* The same when it has noticed, but ENDS still waits for its flush. */
static void who_takes_the_service_back_untold_misses_nothing(void **state)
{
    struct mem_world w;
    struct mem_queue q[2];

    (void)state;
    mem_open_served(&w, q, 2);
    mem_subscribe_all(&w.s, q, 2);
    mem_subscribe_all(&w.s2, q, 2);
    mem_put(&w.b, &q[1], "elsewhere");
    mem_expect_msg(&w.s2, &q[1], "elsewhere");
    mem_assert_sok(mem_rcv(&w.s, &q[0], SX_SUB), &w.s);
    mem_take_msg(&w.s, &q[1], "elsewhere");
    mem_assert_not_ended(&w.s);
    mem_close_world(&w);
}

struct hand { /* a connection of the service, on a thread of its own */
    pthread_t thread;
    pthread_barrier_t *start;
    struct mem_client *c;
    struct sx_hub *hub;
    struct mem_batch subs;
};

static void *take_over(void *arg)
{
    struct hand *h = arg;
    uint8_t content[SX_BLOCK];

    pthread_barrier_wait(h->start);
    sx_peer_block(&h->c->peer, sx_wr_bytes(&h->subs.w));
    for (int i = 0; i < 20; i++) {
        sx_hub_run(h->hub);
        while (sx_peer_next(&h->c->peer, content) > 0)
            ;
    }
    return NULL;
}

static void assert_delivered_to(struct mem_server *m, const struct mem_queue *q,
                                const struct sx_peer *p)
{
    struct sx_queue *found = sx_qstore_find(m->srv->store, SX_BY_RCV, mem_rcv_id(q));

    assert_non_null(found);
    assert_non_null(found->sub);
    assert_ptr_equal(found->sub->peer, p);
    assert_true(found->sub->in_flight);
    sx_queue_unref(found);
}

/* Two connections at the same time: in the end one has all that waits, whichever it is. */
static void connections_that_take_over_at_once_lose_nothing(void **state)
{
    enum { N = 60, ROUNDS = 50 };
    struct sx_cmd subs = { .tag = SX_SUBS, .subs = { .has_hash = true } };
    static struct mem_queue q[N];
    pthread_barrier_t start;
    struct mem_world w;

    (void)state;
    mem_open_served(&w, q, N);
    assert_int_equal(pthread_barrier_init(&start, NULL, 2), 0);
    struct hand h[2] = { { .start = &start, .c = &w.s, .hub = &w.m.hub[0] },
                         { .start = &start, .c = &w.s2, .hub = &w.m.hub[1] } };
    for (size_t i = 0; i < N; i++)
        mem_put(&w.b, &q[i], "waits");
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < 2; i++) {
            mem_batch_open(&h[i].subs, h[i].c);
            mem_batch_add(&h[i].subs, &h[i].c->client.service.key, mem_service_id(h[i].c), &subs);
        }
        for (size_t i = 0; i < 2; i++)
            assert_int_equal(pthread_create(&h[i].thread, NULL, take_over, &h[i]), 0);
        for (size_t i = 0; i < 2; i++)
            pthread_join(h[i].thread, NULL);
        for (size_t i = 0; i < 20; i++) {
            mem_settle(&w.m);
            mem_receive(&w.s);
            mem_receive(&w.s2);
        }
        const struct sx_service *svc = w.s.peer.service;
        assert_non_null(svc->sub);
        for (size_t i = 0; i < N; i++)
            assert_delivered_to(&w.m, &q[i], svc->sub->peer);
    }
    pthread_barrier_destroy(&start);
    mem_close_world(&w);
}

static void repeated_subs_changes_nothing(void **state)
{
    struct mem_world w;
    struct mem_queue q;

    (void)state;
    mem_open_served(&w, &q, 1);
    mem_subscribe_all(&w.s, &q, 1);
    mem_put(&w.b, &q, "once");
    simplex_bytes id = mem_expect_msg(&w.s, &q, "once");
    mem_assert_queues(mem_subs(&w.s), SX_R_SOKS, &q, 1);
    mem_assert_quiet(&w.s);
    mem_assert_tag(mem_ack(&w.s, &q, id), SX_R_OK);
    mem_close_world(&w);
}

/* The thread of the service has not seen the subscription that a message made, and it closes. */
static void closes_with_messages_on_their_way(void **state)
{
    struct mem_world w;
    struct mem_queue q;
    struct sx_cmd send = { .tag = SX_SEND, .send = { .body = sx_str("late") } };

    (void)state;
    mem_open_served(&w, &q, 1);
    for (int i = 0; i < 3; i++) {
        mem_reconnect(&w, &w.s);
        mem_subscribe_all(&w.s, &q, 1);
        mem_run_ahead(&w.b, NULL, mem_snd_id(&q), &send);
        if (i == 1) /* another connection takes over before */
            mem_assert_tag(mem_subs(&w.s2), SX_R_SOKS);
        if (i == 2) /* the service deletes the queue before */
            mem_assert_tag(mem_rcv(&w.s, &q, SX_DEL), SX_R_OK);
        if (i == 0) {
            mem_reconnect(&w, &w.s);
            mem_assert_tag(mem_subs(&w.s), SX_R_SOKS);
            mem_take_msg(&w.s, &q, "late");
            mem_expect_alls(&w.s);
        }
        if (i == 1) {
            mem_take_msg(&w.s2, &q, "late");
            mem_expect_alls(&w.s2);
        }
    }
    mem_close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_connection_takes_over),
        cmocka_unit_test(who_has_subscribed_again_is_not_told_of_the_end),
        cmocka_unit_test(a_message_goes_to_the_connection_that_took_over),
        cmocka_unit_test(who_takes_the_service_back_unnoticed_misses_nothing),
        cmocka_unit_test(who_takes_the_service_back_untold_misses_nothing),
        cmocka_unit_test(connections_that_take_over_at_once_lose_nothing),
        cmocka_unit_test(repeated_subs_changes_nothing),
        cmocka_unit_test(closes_with_messages_on_their_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
