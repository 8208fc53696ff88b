/* SPDX-License-Identifier: Apache-2.0 */
/* Every counter of the server's statistics (section 10). */
#include "support/mem_service.h"

#include "stats_util.h"

static void counts_the_life_of_a_queue(void **state)
{
    struct mem_two t;
    struct mem_queue q = { .rcv_id = { 0 } }, r = { .rcv_id = { 0 } };
    struct sx_keypair other;

    (void)state;
    mem_open_two(&t, NULL);
    assert_int_equal(sx_keypair_new(SX_ED25519, &other), SIMPLEX_OK);
    struct sx_snapshot s = read_now(&t.m);
    assert_int_equal(s.from_ms, t.m.now);
    mem_new(&t.a, &q, SX_MODE_MESSAGING, true);
    assert_change(&t.m, &s, "Q_CREATED 1, Q_COUNT 1, SUBS 1, SUB_CLIENTS 1");
    mem_new(&t.a, &r, SX_MODE_MESSAGING, false);
    assert_change(&t.m, &s, "Q_CREATED 1, Q_COUNT 1");
    mem_assert_tag(mem_skey(&t.b, &q), SX_R_OK);
    assert_change(&t.m, &s, "Q_SECURED 1");
    mem_assert_tag(mem_skey(&t.b, &q), SX_R_OK); /* again, with the same key */
    assert_change(&t.m, &s, "");
    struct sx_cmd del = { .tag = SX_DEL };
    mem_assert_err(mem_cmd(&t.b, &other, mem_rcv_id(&q), &del), SX_ERR_AUTH);
    assert_change(&t.m, &s, "");
    mem_assert_tag(mem_rcv(&t.a, &q, SX_DEL), SX_R_OK);
    assert_change(&t.m, &s,
                  "Q_DELETED 1, Q_DELETED_SECURED 1, Q_COUNT -1, SUBS -1, SUB_CLIENTS -1");
    mem_assert_tag(mem_rcv(&t.a, &r, SX_DEL), SX_R_OK);
    assert_change(&t.m, &s, "Q_DELETED 1, Q_DELETED_NEW 1, Q_COUNT -1");
    mem_close_two(&t);
}

static void counts_messages_that_are_sent(void **state)
{
    struct mem_two t;
    struct mem_queue q = { .rcv_id = { 0 } };
    struct sx_srv_cfg cfg = { .new_queues = true, .store = { .quota = 2, .ttl_ms = 1000 } };
    static uint8_t large[SX_BLOCK];
    struct sx_cmd send = { .tag = SX_SEND };

    (void)state;
    mem_open_two(&t, &cfg);
    mem_new(&t.a, &q, SX_MODE_MESSAGING, false);
    struct sx_snapshot s = read_now(&t.m);
    mem_assert_tag(mem_send(&t.b, &q, false, "one"), SX_R_OK);
    assert_change(&t.m, &s, "MSG_SENT 1, DAY_QUEUES 1, WEEK_QUEUES 1, MONTH_QUEUES 1");
    mem_assert_tag(mem_send(&t.b, &q, false, "two"), SX_R_OK);
    assert_change(&t.m, &s, "MSG_SENT 1");
    mem_assert_err(mem_send(&t.b, &q, false, "three"), SX_ERR_QUOTA);
    assert_change(&t.m, &s, "MSG_SENT_QUOTA 1");
    mem_assert_err(mem_send(&t.b, &q, true, "signed"), SX_ERR_AUTH);
    assert_change(&t.m, &s, "MSG_SENT_AUTH 1");
    send.send.body = sx_bytes(large, sx_smp_max_send(t.b.client.version) + 1);
    mem_assert_err(mem_cmd(&t.b, NULL, mem_snd_id(&q), &send), SX_ERR_LARGE_MSG);
    assert_change(&t.m, &s, "MSG_SENT_LARGE 1");
    t.m.now += 2000;
    sx_srv_expire(t.m.srv); /* up to the marker */
    assert_change(&t.m, &s, "MSG_EXPIRED 2");
    mem_assert_tag(mem_rcv(&t.a, &q, SX_OFF), SX_R_OK);
    mem_assert_err(mem_send(&t.b, &q, false, "off"), SX_ERR_AUTH);
    assert_change(&t.m, &s, "MSG_SENT_AUTH 1");
    mem_close_two(&t);
}

static void counts_messages_that_expire_when_the_next_is_sent(void **state)
{
    struct mem_two t;
    struct mem_queue q = { .rcv_id = { 0 } };
    struct sx_srv_cfg cfg = { .new_queues = true, .store = { .ttl_ms = 1000 } };

    (void)state;
    mem_open_two(&t, &cfg);
    mem_new(&t.a, &q, SX_MODE_MESSAGING, false);
    mem_assert_tag(mem_send(&t.b, &q, false, "one"), SX_R_OK);
    t.m.now += 2000;
    struct sx_snapshot s = read_now(&t.m);
    mem_assert_tag(mem_send(&t.b, &q, false, "two"), SX_R_OK);
    assert_change(&t.m, &s, "MSG_SENT 1, MSG_EXPIRED 1");
    mem_close_two(&t);
}

static void counts_subscriptions_and_what_is_received(void **state)
{
    struct mem_two t;
    struct mem_queue q = { .rcv_id = { 0 } };
    struct sx_keypair other;

    (void)state;
    mem_open_two(&t, NULL);
    assert_int_equal(sx_keypair_new(SX_ED25519, &other), SIMPLEX_OK);
    mem_new(&t.a, &q, SX_MODE_MESSAGING, false);
    struct sx_snapshot s = read_now(&t.m);
    mem_assert_tag(mem_rcv(&t.a, &q, SX_SUB), SX_R_SOK);
    assert_change(&t.m, &s, "SUBS 1, SUB_CLIENTS 1"); /* an empty queue */
    mem_assert_tag(mem_send(&t.b, &q, false, "one"), SX_R_OK);
    mem_settle(&t.m);
    simplex_bytes id = mem_assert_msg(&q, mem_event(&t.a), "one");
    assert_change(&t.m, &s, "MSG_SENT 1, DAY_QUEUES 1, WEEK_QUEUES 1, MONTH_QUEUES 1");
    mem_assert_tag(mem_rcv(&t.a, &q, SX_SUB), SX_R_SOK);
    assert_change(&t.m, &s, "Q_SUB_DUPLICATE 1");
    mem_assert_msg(&q, mem_event(&t.a), "one");
    mem_assert_tag(mem_rcv(&t.b, &q, SX_SUB), SX_R_SOK); /* another connection */
    mem_settle(&t.m);
    assert_change(&t.m, &s, "Q_SUB 1");
    sx_peer_flush_ends(&t.a.peer);
    assert_change(&t.m, &s, "Q_SUB_END 1, Q_SUB_END_B 1");
    struct sx_cmd sub = { .tag = SX_SUB };
    mem_assert_err(mem_cmd(&t.b, &other, mem_rcv_id(&q), &sub), SX_ERR_AUTH);
    assert_change(&t.m, &s, "Q_SUB_AUTH 1");
    mem_assert_cmd_err(mem_rcv(&t.b, &q, SX_GET), SX_CMD_PROHIBITED);
    assert_change(&t.m, &s, "MSG_GET_PROHIBITED 1");
    id = mem_assert_msg(&q, mem_event(&t.b), "one");
    mem_assert_tag(mem_ack(&t.b, &q, id), SX_R_OK);
    assert_change(&t.m, &s, "MSG_RECV 1, ACK_1 1");
    mem_assert_err(mem_ack(&t.b, &q, id), SX_ERR_NO_MSG);
    assert_change(&t.m, &s, "");
    mem_disconnect(&t.b);
    assert_change(&t.m, &s, "SUBS -1, SUB_CLIENTS -1");
    mem_connect(&t.m, &t.b, 1, 0);
    mem_close_two(&t);
}

static void measures_the_time_until_a_message_is_acknowledged(void **state)
{
    struct mem_two t;
    struct mem_queue q = { .rcv_id = { 0 } };
    static const struct {
        int64_t wait_ms;
        const char *wanted;
    } cases[] = {
        { 1999, "MSG_RECV 1, ACK_1 1, ACK_SUM 1" },
        { 5000, "MSG_RECV 1, ACK_5 1, ACK_SUM 5" },
        { 3600000, "MSG_RECV 1, ACK_3600 1, ACK_SUM 3600" },
        { 3601000, "MSG_RECV 1, ACK_MORE 1, ACK_SUM 3601" },
        { -5000, "MSG_RECV 1, ACK_1 1" }, /* the clock was set back */
    };

    (void)state;
    mem_open_two(&t, NULL);
    t.m.now = 1700000000000;
    mem_new(&t.a, &q, SX_MODE_MESSAGING, true);
    for (size_t i = 0; i < SX_COUNT(cases); i++) {
        mem_assert_tag(mem_send(&t.b, &q, false, "x"), SX_R_OK);
        mem_settle(&t.m);
        simplex_bytes id = mem_assert_msg(&q, mem_event(&t.a), "x");
        struct sx_snapshot s = read_now(&t.m);
        t.m.now += cases[i].wait_ms;
        mem_assert_tag(mem_ack(&t.a, &q, id), SX_R_OK);
        assert_change(&t.m, &s, cases[i].wanted);
    }
    mem_close_two(&t);
}

static uint64_t delivered_clients(struct mem_server *m)
{
    return read_now(m).v[SX_STAT_DELIVERED_CLIENTS];
}

static void counts_clients_that_have_not_acknowledged(void **state)
{
    struct mem_two t;
    struct mem_queue q[2] = { { .rcv_id = { 0 } } };
    simplex_bytes id[2];

    (void)state;
    mem_open_two(&t, NULL);
    for (size_t i = 0; i < 2; i++)
        mem_new(&t.a, &q[i], SX_MODE_MESSAGING, true);
    assert_int_equal(delivered_clients(&t.m), 0);
    for (size_t i = 0; i < 2; i++) {
        mem_assert_tag(mem_send(&t.b, &q[i], false, "x"), SX_R_OK);
        mem_settle(&t.m);
        id[i] = mem_assert_msg(&q[i], mem_event(&t.a), "x");
        assert_int_equal(delivered_clients(&t.m), 1);
    }
    mem_assert_tag(mem_ack(&t.a, &q[0], id[0]), SX_R_OK);
    assert_int_equal(delivered_clients(&t.m), 1);
    mem_assert_tag(mem_ack(&t.a, &q[1], id[1]), SX_R_OK);
    assert_int_equal(delivered_clients(&t.m), 0);
    mem_assert_tag(mem_send(&t.b, &q[0], false, "y"), SX_R_OK);
    mem_settle(&t.m);
    assert_int_equal(delivered_clients(&t.m), 1);
    mem_assert_tag(mem_rcv(&t.b, &q[0], SX_SUB), SX_R_SOK); /* it goes to another client */
    mem_settle(&t.m);
    assert_int_equal(delivered_clients(&t.m), 1);
    mem_disconnect(&t.b);
    assert_int_equal(delivered_clients(&t.m), 0);
    mem_connect(&t.m, &t.b, 1, 0);
    mem_close_two(&t);
}

/* Deliveries of each age, their time added up and the longest, as a tick of every thread has it. */
static void assert_unacked(struct mem_two *t, const char *ages, unsigned sum, unsigned max)
{
    char text[100];

    for (size_t i = 0; i < SX_COUNT(t->m.hub); i++)
        sx_unacked_tick(&t->m.hub[i]);
    struct sx_snapshot s = read_now(&t->m);
    const uint64_t *n = &s.v[SX_STAT_UNACKED];
    snprintf(text, sizeof(text), "%u %u %u %u %u", (unsigned)n[0], (unsigned)n[1], (unsigned)n[2],
             (unsigned)n[3], (unsigned)n[4]);
    assert_string_equal(text, ages);
    assert_int_equal(s.unacked, n[0] + n[1] + n[2] + n[3] + n[4]);
    assert_int_equal(s.unacked, s.v[SX_STAT_DELIVERED]);
    assert_int_equal(s.unacked_s, sum);
    assert_int_equal(s.unacked_max_s, max);
}

/* delivery_ack_pending_count, delivery_ack_time */
static void tells_how_long_deliveries_have_waited_for_their_ack(void **state)
{
    struct mem_two t;
    struct mem_queue q[4] = { { .rcv_id = { 0 } } };
    simplex_bytes id[4];

    (void)state;
    mem_open_two(&t, NULL);
    t.m.now = 1700000000000;
    assert_unacked(&t, "0 0 0 0 0", 0, 0);
    for (size_t i = 0; i < 3; i++) { /* to a; 10 seconds apart */
        mem_new(&t.a, &q[i], SX_MODE_MESSAGING, true);
        mem_assert_tag(mem_send(&t.b, &q[i], false, "x"), SX_R_OK);
        mem_settle(&t.m);
        id[i] = mem_assert_msg(&q[i], mem_event(&t.a), "x");
        t.m.now += 10000;
    }
    assert_unacked(&t, "3 0 0 0 0", 60, 30);
    mem_new(&t.a, &q[3], SX_MODE_MESSAGING, false);
    mem_assert_tag(mem_send(&t.a, &q[3], false, "y"), SX_R_OK);
    id[3] = mem_assert_msg(&q[3], mem_rcv(&t.b, &q[3], SX_GET), "y"); /* on the other thread */
    assert_unacked(&t, "4 0 0 0 0", 60, 30);
    t.m.now += 30000;
    assert_unacked(&t, "3 1 0 0 0", 180, 60);
    mem_assert_tag(mem_ack(&t.a, &q[1], id[1]), SX_R_OK); /* from the middle */
    assert_unacked(&t, "2 1 0 0 0", 130, 60);
    t.m.now += 1140000; /* more than one age at once */
    assert_unacked(&t, "0 0 2 1 0", 3550, 1200);
    mem_assert_tag(mem_rcv(&t.b, &q[0], SX_SUB), SX_R_SOK); /* the oldest goes to another client */
    mem_settle(&t.m);
    assert_unacked(&t, "1 0 2 0 0", 2350, 1180);
    t.m.now += 3600000;
    assert_unacked(&t, "0 0 0 0 3", 13150, 4780);
    mem_assert_tag(mem_ack(&t.a, &q[2], id[2]), SX_R_OK);
    mem_assert_tag(mem_ack(&t.b, &q[3], id[3]), SX_R_OK);
    assert_unacked(&t, "0 0 0 0 1", 3600, 3600);
    mem_disconnect(&t.b);
    assert_unacked(&t, "0 0 0 0 0", 0, 0);
    mem_connect(&t.m, &t.b, 1, 0);
    mem_close_two(&t);
}

/* A clock that is set back makes no time negative, and loses nothing. */
static void tells_it_when_the_clock_is_set_back(void **state)
{
    struct mem_two t;
    struct mem_queue q[2] = { { .rcv_id = { 0 } } };
    simplex_bytes id[2];

    (void)state;
    mem_open_two(&t, NULL);
    t.m.now = 1700000000000;
    for (size_t i = 0; i < 2; i++) {
        mem_new(&t.a, &q[i], SX_MODE_MESSAGING, true);
        mem_assert_tag(mem_send(&t.b, &q[i], false, "x"), SX_R_OK);
        mem_settle(&t.m);
        id[i] = mem_assert_msg(&q[i], mem_event(&t.a), "x");
        t.m.now -= 100000;
    }
    assert_unacked(&t, "2 0 0 0 0", 0, 0);
    t.m.now += 400000;
    assert_unacked(&t, "0 2 0 0 0", 500, 200); /* the one that came first counts as the oldest */
    for (size_t i = 0; i < 2; i++)
        mem_assert_tag(mem_ack(&t.a, &q[i], id[i]), SX_R_OK);
    assert_unacked(&t, "0 0 0 0 0", 0, 0);
    mem_close_two(&t);
}

static void counts_get(void **state)
{
    struct mem_two t;
    struct mem_queue q = { .rcv_id = { 0 } };
    struct sx_keypair other;
    struct sx_cmd get = { .tag = SX_GET };

    (void)state;
    mem_open_two(&t, NULL);
    assert_int_equal(sx_keypair_new(SX_ED25519, &other), SIMPLEX_OK);
    mem_new(&t.a, &q, SX_MODE_MESSAGING, false);
    struct sx_snapshot s = read_now(&t.m);
    mem_assert_tag(mem_rcv(&t.a, &q, SX_GET), SX_R_OK);
    assert_change(&t.m, &s, "MSG_GET_NO_MSG 1");
    mem_assert_tag(mem_send(&t.b, &q, false, "one"), SX_R_OK);
    s = read_now(&t.m);
    simplex_bytes id = mem_assert_msg(&q, mem_rcv(&t.a, &q, SX_GET), "one");
    assert_change(&t.m, &s, "MSG_GET 1");
    id = mem_assert_msg(&q, mem_rcv(&t.a, &q, SX_GET), "one");
    assert_change(&t.m, &s, "MSG_GET_DUPLICATE 1");
    mem_assert_cmd_err(mem_rcv(&t.a, &q, SX_SUB), SX_CMD_PROHIBITED);
    assert_change(&t.m, &s, "Q_SUB_PROHIBITED 1");
    mem_assert_tag(mem_ack(&t.a, &q, id), SX_R_OK);
    assert_change(&t.m, &s, "MSG_RECV 1, MSG_RECV_GET 1, ACK_1 1");
    mem_assert_err(mem_cmd(&t.a, &other, mem_rcv_id(&q), &get), SX_ERR_AUTH);
    assert_change(&t.m, &s, "MSG_GET_AUTH 1");
    mem_close_two(&t);
}

static void counts_a_block_of_subscriptions_once(void **state)
{
    struct mem_two t;
    struct mem_queue q[3] = { { .rcv_id = { 0 } } };
    struct sx_cmd sub = { .tag = SX_SUB }, del = { .tag = SX_DEL };
    struct mem_batch b;

    (void)state;
    mem_open_two(&t, NULL);
    for (size_t i = 0; i < SX_COUNT(q); i++)
        mem_new(&t.a, &q[i], SX_MODE_MESSAGING, false);
    struct sx_snapshot s = read_now(&t.m);
    mem_batch_open(&b, &t.a);
    for (size_t i = 0; i < SX_COUNT(q); i++)
        mem_batch_add(&b, &q[i].rcv, mem_rcv_id(&q[i]), &sub);
    mem_batch_run(&b);
    assert_change(&t.m, &s, "Q_SUB_B 1, SUBS 3, SUB_CLIENTS 1");
    mem_batch_open(&b, &t.a);
    for (size_t i = 0; i < 2; i++)
        mem_batch_add(&b, &q[i].rcv, mem_rcv_id(&q[i]), &del);
    mem_batch_run(&b);
    assert_change(&t.m, &s, "Q_DELETED 2, Q_DELETED_NEW 2, Q_DELETED_B 1, Q_COUNT -2, SUBS -2");
    mem_receive(&t.a);
    mem_close_two(&t);
}

/* ---- notifications ---- */

static void counts_notifications(void **state)
{
    struct mem_two t;
    struct mem_queue q = { .rcv_id = { 0 } };
    struct mem_ntf n, wrong;

    (void)state;
    mem_open_two(&t, NULL);
    mem_new(&t.a, &q, SX_MODE_MESSAGING, true);
    struct sx_snapshot s = read_now(&t.m);
    mem_nkey(&t.a, &q, &n);
    assert_change(&t.m, &s, "NTF_CREATED 1");
    assert_int_equal(s.notifiers, 1);
    send_notifying(&t, &q);
    assert_change(&t.m, &s,
                  "MSG_SENT 1, MSG_SENT_NTF 1, MSG_NTF_NO_SUB 1, DAY_QUEUES 1, WEEK_QUEUES 1, "
                  "MONTH_QUEUES 1, DAY_NTFS 1, WEEK_NTFS 1, MONTH_NTFS 1, NTF_COUNT 1");
    mem_assert_tag(mem_nsub(&t.b, &n), SX_R_SOK);
    assert_change(&t.m, &s, "NTF_SUB 1, NTF_SUBS 1, NTF_SUB_CLIENTS 1");
    mem_assert_tag(mem_nsub(&t.b, &n), SX_R_SOK);
    assert_change(&t.m, &s, "NTF_SUB_DUPLICATE 1");
    wrong = n;
    wrong.key = n.dh;
    mem_assert_err(mem_nsub(&t.b, &wrong), SX_ERR_AUTH);
    assert_change(&t.m, &s, "NTF_SUB_AUTH 1");
    sx_peer_flush_ntfs(&t.b.peer);
    assert_change(&t.m, &s, "MSG_NTFS 1, MSG_NTFS_B 1, NTF_COUNT -1");
    mem_assert_tag(mem_event(&t.b), SX_R_NMSG);
    simplex_bytes id = mem_assert_msg(&q, mem_event(&t.a), "ring");
    mem_assert_tag(mem_ack(&t.a, &q, id), SX_R_OK);
    assert_change(&t.m, &s, "MSG_RECV 1, MSG_RECV_NTF 1, ACK_1 1");
    send_notifying(&t, &q);
    assert_change(&t.m, &s, "MSG_SENT 1, MSG_SENT_NTF 1, NTF_COUNT 1");
    t.m.now += SX_STORE_NTF_TTL_MS + 1;
    mem_settle(&t.m);
    sx_peer_flush_ntfs(&t.b.peer);
    assert_change(&t.m, &s, "MSG_NTF_EXPIRED 1, NTF_COUNT -1");
    for (int i = 0; i < 5; i++)
        send_notifying(&t, &q);
    s = read_now(&t.m);
    assert_int_equal(s.v[SX_STAT_NTF_COUNT], 5);
    struct sx_cmd ndel = { .tag = SX_NDEL };
    mem_assert_tag(mem_cmd(&t.a, &q.rcv, mem_rcv_id(&q), &ndel), SX_R_OK);
    mem_settle(&t.m);
    assert_change(&t.m, &s, "NTF_DELETED 1, NTF_COUNT -5, NTF_SUBS -1, NTF_SUB_CLIENTS -1");
    assert_int_equal(s.notifiers, 0);
    mem_close_two(&t);
}

static void counts_notifications_that_are_lost(void **state)
{
    struct mem_two t;
    struct mem_queue q = { .rcv_id = { 0 } };
    struct sx_srv_cfg cfg = { .new_queues = true, .store = { .quota = SX_STORE_NTF_MAX + 2 } };
    struct mem_ntf n;

    (void)state;
    mem_open_two(&t, &cfg);
    mem_new(&t.a, &q, SX_MODE_MESSAGING, false);
    mem_nkey(&t.a, &q, &n);
    for (int i = 0; i < SX_STORE_NTF_MAX; i++)
        send_notifying(&t, &q);
    struct sx_snapshot s = read_now(&t.m);
    send_notifying(&t, &q); /* the oldest one makes room */
    assert_change(&t.m, &s, "MSG_SENT 1, MSG_SENT_NTF 1, MSG_NTF_NO_SUB 1, MSG_NTF_LOST 1");
    mem_close_two(&t);
}

/* ---- services ---- */

static void counts_services(void **state)
{
    struct mem_server m;
    struct mem_service service, other;
    struct mem_client a, s1, s2, o;
    struct mem_queue q = { .rcv_id = { 0 } };

    (void)state;
    mem_open(&m, NULL);
    mem_service_make(&service, 'M', 2);
    mem_service_make(&other, 'M', 2);
    mem_connect(&m, &a, 0, 0);
    mem_connect_service(&m, &s1, 1, 0, &service.cert);
    mem_connect_service(&m, &s2, 0, 0, &service.cert);
    mem_connect_service(&m, &o, 0, 0, &other.cert);
    mem_new(&a, &q, SX_MODE_MESSAGING, false);
    mem_assert_tag(mem_send(&a, &q, false, "waits"), SX_R_OK);
    struct sx_snapshot s = read_now(&m);
    assert_int_equal(s.services.services[0], 2);
    mem_assert_total(mem_subs(&s1), SX_R_SOKS, 0);
    mem_settle(&m);
    assert_change(&m, &s, "RCV_SUB_COUNT 1, RCV_SERVICE_SUBS 1");
    mem_subs(&s1);
    mem_settle(&m);
    assert_change(&m, &s, "RCV_SUB_DUPLICATE 1");
    mem_assert_tag(mem_rcv(&o, &q, SX_SUB), SX_R_SOK); /* the other service has it first */
    mem_settle(&m);
    assert_int_equal(read_now(&m).v[SX_STAT_RCV_ASSOC_NEW], 1);
    s = read_now(&m);
    mem_assert_tag(mem_rcv(&o, &q, SX_SUB), SX_R_SOK);
    mem_settle(&m);
    assert_int_equal(read_now(&m).v[SX_STAT_RCV_ASSOC_DUPLICATE], 1);
    mem_assert_tag(mem_rcv(&s1, &q, SX_SUB), SX_R_SOK);
    mem_settle(&m);
    s = read_now(&m);
    assert_int_equal(s.v[SX_STAT_RCV_ASSOC_UPDATED], 1);
    assert_int_equal(s.services.queues[0], 1);
    mem_assert_total(mem_subs(&s2), SX_R_SOKS, 1, q.rcv_id); /* takes over */
    mem_settle(&m);
    assert_int_equal(read_now(&m).v[SX_STAT_RCV_SUB_END], 1);
    assert_int_equal(read_now(&m).v[SX_STAT_RCV_SUB_MSG], 1);
    assert_int_equal(read_now(&m).v[SX_STAT_RCV_SUB_QUEUES] - s.v[SX_STAT_RCV_SUB_QUEUES], 1);
    mem_assert_tag(mem_rcv(&a, &q, SX_SUB), SX_R_SOK); /* an ordinary client takes it back */
    mem_settle(&m);
    assert_int_equal(read_now(&m).v[SX_STAT_RCV_ASSOC_REMOVED], 1);
    struct mem_client *all[] = { &a, &s1, &s2, &o };
    for (size_t i = 0; i < SX_COUNT(all); i++)
        mem_disconnect(all[i]);
    s = read_now(&m);
    assert_int_equal(s.v[SX_STAT_RCV_SERVICE_SUBS], 0);
    assert_int_equal(s.v[SX_STAT_SUBS], 0);
    assert_int_equal(s.v[SX_STAT_SUB_CLIENTS], 0);
    mem_service_free(&service);
    mem_service_free(&other);
    mem_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_the_life_of_a_queue),
        cmocka_unit_test(counts_messages_that_are_sent),
        cmocka_unit_test(counts_messages_that_expire_when_the_next_is_sent),
        cmocka_unit_test(counts_subscriptions_and_what_is_received),
        cmocka_unit_test(measures_the_time_until_a_message_is_acknowledged),
        cmocka_unit_test(counts_clients_that_have_not_acknowledged),
        cmocka_unit_test(tells_how_long_deliveries_have_waited_for_their_ack),
        cmocka_unit_test(tells_it_when_the_clock_is_set_back),
        cmocka_unit_test(counts_get),
        cmocka_unit_test(counts_a_block_of_subscriptions_once),
        cmocka_unit_test(counts_notifications),
        cmocka_unit_test(counts_notifications_that_are_lost),
        cmocka_unit_test(counts_services),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
