/* SPDX-License-Identifier: Apache-2.0 */
/* Queues of services while several threads work. */
#include <pthread.h>

#include "services_stage.h"

/* The number of the queue of an event; n: it is of none of them. */
static unsigned queue_of(const struct smp_item *i, const struct queue *q, unsigned n)
{
    unsigned k = 0;

    while (k < n && !sx_bytes_eq(i->t.entity_id, sx_bytes(q[k].rcv_id, 24)))
        k++;
    return k;
}

/* ---- messages that arrive meanwhile ---- */

#define QUEUES 40
#define ROUNDS 30

struct sender {
    pthread_t thread;
    const struct server *t;
    const struct queue *q;
    unsigned from, to;
};

static void *sender_main(void *arg)
{
    struct sender *s = arg;
    struct smp_peer p;

    open_peer(s->t, &p);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = s->from; i < s->to; i++) {
            send_to(&p, &s->q[i], "m");
            smp_peer_forget(&p);
        }
    }
    smp_peer_close(&p);
    return NULL;
}

struct tally {
    unsigned got[QUEUES];
    unsigned total;
};

static void acknowledge(struct smp_peer *p, const struct queue *q, const struct smp_item *i,
                        struct tally *tally)
{
    unsigned k = queue_of(i, q, QUEUES);
    uint8_t id[24];

    assert_true(k < QUEUES);
    const struct sx_rsp *r = &i->rsp;
    while (r != NULL && r->tag == SX_R_MSG) { /* the answer may be the next one */
        memcpy(id, r->msg.msg_id.ptr, sizeof(id));
        r = ack(p, &q[k], sx_bytes(id, sizeof(id)));
        if (r != NULL && r->tag == SX_R_ERR)
            return; /* another connection has it by now */
        tally->got[k]++;
        tally->total++;
    }
}

/* Connections of one service take over from each other while messages arrive: each message is
 * acknowledged once, none is lost. */
static void loses_nothing_while_connections_take_over(void **state)
{
    static struct queue q[QUEUES];
    struct server t;
    struct service svc;
    struct smp_peer p[2];
    struct sender s[2];
    struct tally tally = { .total = 0 };

    (void)state;
    open_threaded(&t, false);
    make_service(&svc, 'M', SX_ED25519, 2);
    connect_service(&t, &p[0], &svc);
    connect_service(&t, &p[1], &svc);
    for (size_t i = 0; i < QUEUES; i++)
        make_queue(&p[0], &q[i]);
    for (unsigned i = 0; i < 2; i++) {
        s[i] =
            (struct sender){ .t = &t, .q = q, .from = i * QUEUES / 2, .to = (i + 1) * QUEUES / 2 };
        assert_int_equal(pthread_create(&s[i].thread, NULL, sender_main, &s[i]), 0);
    }
    unsigned which = 0, events = 0;
    while (tally.total < QUEUES * ROUNDS) {
        const struct smp_item *i = smp_peer_event(&p[which], 3000);
        if (i != NULL && i->rsp.tag == SX_R_MSG)
            acknowledge(&p[which], q, i, &tally);
        smp_peer_forget(&p[which]);
        if (i != NULL && ++events % 50 != 0)
            continue;
        /* The other connection takes over; sometimes this one is closed for good. */
        if (events % 100 == 0) {
            smp_peer_close(&p[which]);
            connect_service(&t, &p[which], &svc);
        }
        which ^= 1;
        assert_int_equal(subscribe(&p[which])->soks.count, QUEUES);
    }
    for (unsigned i = 0; i < 2; i++)
        pthread_join(s[i].thread, NULL);
    for (size_t i = 0; i < QUEUES; i++)
        assert_int_equal(tally.got[i], ROUNDS);
    assert_int_equal(server_counters(t.s).messages, 0);
    smp_peer_close(&p[0]);
    smp_peer_close(&p[1]);
    free_service(&svc);
    close_server(&t);
}

/* ---- queues that change hands ---- */

#define HANDS 4 /* queues */
#define TURNS 60

struct hand {
    pthread_t thread;
    const struct server *t;
    const struct service *service; /* NULL: an ordinary client */
    const struct queue *q;
    bool drops; /* its connection, now and then */
};

static void drain(struct smp_peer *p, const struct queue *q, int timeout_ms)
{
    const struct smp_item *i;
    uint8_t id[24];

    while ((i = smp_peer_event(p, timeout_ms)) != NULL) {
        const struct sx_rsp *r = &i->rsp;
        unsigned k = queue_of(i, q, HANDS);
        assert_true(k < HANDS || r->tag != SX_R_MSG);
        while (r != NULL && r->tag == SX_R_MSG) {
            memcpy(id, r->msg.msg_id.ptr, sizeof(id));
            r = ack(p, &q[k], sx_bytes(id, sizeof(id)));
        }
        smp_peer_forget(p);
    }
}

static void open_hand(const struct hand *h, struct smp_peer *p)
{
    if (h->service != NULL)
        connect_service(h->t, p, h->service);
    else
        open_peer(h->t, p);
}

static void *hand_main(void *arg)
{
    const struct hand *h = arg;
    struct sx_cmd sub = { .tag = SX_SUB };
    struct smp_peer p;

    open_hand(h, &p);
    for (unsigned turn = 0; turn < TURNS; turn++) {
        const struct queue *q = &h->q[turn % HANDS];
        const struct sx_rsp *r = smp_peer_cmd(&p, &q->rcv, sx_bytes(q->rcv_id, 24), &sub);
        assert_non_null(r);
        assert_int_equal(r->tag, SX_R_SOK);
        assert_int_equal(r->sok.has_service_id, h->service != NULL);
        if (h->service != NULL && turn % 5 == 0)
            assert_in_range(subscribe(&p)->soks.count, 0, HANDS);
        drain(&p, h->q, 2);
        if (h->drops && turn % 10 == 9) {
            smp_peer_close(&p);
            open_hand(h, &p);
        }
    }
    smp_peer_close(&p);
    return NULL;
}

/* Two services and ordinary clients take queues from each other while messages arrive. */
static void queues_change_hands_on_several_threads(void **state)
{
    static struct queue q[HANDS];
    struct server t;
    struct service svc[2];
    struct smp_peer owner, sender;
    struct sx_cmd sub = { .tag = SX_SUB };

    (void)state;
    open_threaded(&t, false);
    make_service(&svc[0], 'M', SX_ED25519, 1);
    make_service(&svc[1], 'M', SX_ED25519, 2);
    open_peer(&t, &owner);
    open_peer(&t, &sender);
    for (size_t i = 0; i < HANDS; i++)
        make_queue(&owner, &q[i]);
    struct hand hand[] = { { .service = &svc[0] },
                           { .service = &svc[0], .drops = true },
                           { .service = &svc[1] },
                           { .service = NULL },
                           { .service = NULL, .drops = true } };
    for (size_t i = 0; i < SX_COUNT(hand); i++) {
        hand[i].t = &t;
        hand[i].q = q;
        assert_int_equal(pthread_create(&hand[i].thread, NULL, hand_main, &hand[i]), 0);
    }
    for (unsigned turn = 0; turn < TURNS; turn++) {
        for (size_t i = 0; i < HANDS; i++)
            send_to(&sender, &q[i], "m");
        smp_peer_forget(&sender);
    }
    for (size_t i = 0; i < SX_COUNT(hand); i++)
        pthread_join(hand[i].thread, NULL);
    drain(&owner, q, 50); /* END, and what came before */
    for (size_t i = 0; i < HANDS; i++) {
        const struct sx_rsp *r = smp_peer_cmd(&owner, &q[i].rcv, sx_bytes(q[i].rcv_id, 24), &sub);
        assert_non_null(r);
        assert_int_equal(r->tag, SX_R_SOK);
        drain(&owner, q, 100);
    }
    for (int i = 0; i < 20 && server_counters(t.s).messages > 0; i++)
        drain(&owner, q, 1000); /* what comes late */
    assert_int_equal(server_counters(t.s).messages, 0);
    smp_peer_close(&owner);
    smp_peer_close(&sender);
    free_service(&svc[0]);
    free_service(&svc[1]);
    close_server(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loses_nothing_while_connections_take_over),
        cmocka_unit_test(queues_change_hands_on_several_threads),
    };

    assert_int_equal(sx_crypto_init(), SIMPLEX_OK);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
