/* SPDX-License-Identifier: Apache-2.0 */
/* Queues that belong to messaging services: what comes from them, how they are counted, and who may
 * do what with them (protocol/smp.md sections 6.3, 7, 11). */
#include "support/mem_service.h"

/* SUBS, with these queues, in one of which a message waits. */
static void subscribe_waiting(struct mem_client *c, const struct mem_queue *q, size_t n,
                              const struct mem_queue *which, const char *text)
{
    mem_assert_queues(mem_subs(c), SX_R_SOKS, q, n);
    mem_take_msg(c, which, text);
    mem_expect_alls(c);
}

/* ---- the tests of section 11 ---- */

/* testServiceDeliverSubscribe */
static void a_service_gets_the_messages_of_its_queues(void **state)
{
    struct mem_world w;
    struct mem_queue q;
    struct sx_cmd subs = { .tag = SX_SUBS, .subs = { .has_hash = true } };

    (void)state;
    mem_open_world(&w, NULL);
    mem_keys(&q, SX_ED25519);
    struct sx_cmd new_ = mem_new_cmd(&q, SX_MODE_MESSAGING, true);
    mem_assert_err(mem_unbound(&w.s, &q.rcv, sx_bytes(NULL, 0), &new_), SX_ERR_SERVICE);
    const struct sx_rsp *r = mem_cmd(&w.s, &q.rcv, sx_bytes(NULL, 0), &new_);
    mem_take_ids(&q, r);
    assert_true(r->ids.has_service_id);
    vec_assert_eq(r->ids.service_id, mem_service_id(&w.s), "service id");
    mem_deliver(&w.b, &w.s, &q, "live");
    mem_disconnect(&w.s);
    mem_put(&w.b, &q, "kept");

    mem_reconnect(&w, &w.s);
    vec_assert_eq(mem_service_id(&w.s), mem_service_id(&w.s2), "the same service");
    mem_assert_cmd_err(mem_cmd(&w.s, &w.s.client.service.key, sx_bytes(NULL, 0), &subs),
                       SX_CMD_NO_AUTH);
    subscribe_waiting(&w.s, &q, 1, &q, "kept");
    mem_deliver(&w.b, &w.s, &q, "live again");
    mem_assert_quiet(&w.s);
    mem_close_world(&w);
}

/* testServiceUpgradeAndDowngrade */
static void queues_join_a_service_and_are_taken_back(void **state)
{
    struct mem_world w;
    struct mem_queue q[3];

    (void)state;
    mem_open_world(&w, NULL);
    mem_new_all(&w.a, q, SX_COUNT(q));
    mem_assert_sok(mem_rcv(&w.a, &q[0], SX_SUB), NULL);
    for (size_t i = 0; i < 2; i++) {
        mem_assert_sok(mem_rcv(&w.s, &q[i], SX_SUB), &w.s);
        mem_deliver(&w.b, &w.s, &q[i], "to the service");
    }
    mem_expect_ended(&w.a, SX_R_END, mem_rcv_id(&q[0]));
    mem_expect(&w.a, SX_R_END, mem_rcv_id(&q[1]));
    mem_deliver(&w.b, &w.a, &q[2], "not of the service");
    mem_disconnect(&w.s);
    mem_put(&w.b, &q[1], "meanwhile");

    mem_reconnect(&w, &w.s);
    subscribe_waiting(&w.s, q, 2, &q[1], "meanwhile");
    mem_deliver(&w.b, &w.s, &q[0], "live");
    mem_disconnect(&w.s);

    struct sx_cmd subs = { .tag = SX_SUBS, .subs = { .has_hash = true } };
    mem_assert_err(mem_cmd(&w.a, &q[0].rcv, mem_service_id(&w.s2), &subs), SX_ERR_SERVICE);
    for (size_t i = 0; i < 2; i++) {
        mem_assert_sok(mem_rcv(&w.a, &q[i], SX_SUB), NULL);
        mem_deliver(&w.b, &w.a, &q[i], "taken back");
    }
    mem_reconnect(&w, &w.s);
    mem_subscribe_all(&w.s, NULL, 0);
    mem_assert_quiet(&w.s);
    mem_assert_quiet(&w.a);
    mem_close_world(&w);
}

/* testServiceSubsTotalCount */
static void counts_the_queues_of_subscribed_services(void **state)
{
    struct mem_world w;
    struct mem_queue q[3];
    struct sx_services_count c;

    (void)state;
    mem_open_served(&w, q, 2);
    sx_services_count(w.m.srv->store, &c);
    assert_int_equal(c.services[0], 1);
    assert_int_equal(c.queues[0], 2);
    assert_int_equal(c.subscribed[0], 2);
    mem_disconnect(&w.s);
    sx_services_count(w.m.srv->store, &c);
    assert_int_equal(c.queues[0], 2);
    assert_int_equal(c.subscribed[0], 0);
    mem_reconnect(&w, &w.s);
    mem_assert_queues(mem_subs(&w.s), SX_R_SOKS, q, 2);
    sx_services_count(w.m.srv->store, &c);
    assert_int_equal(c.subscribed[0], 2);
    mem_new(&w.s, &q[2], SX_MODE_MESSAGING, true);
    sx_services_count(w.m.srv->store, &c);
    assert_int_equal(c.subscribed[0], 3);
    assert_int_equal(c.services[1] + c.queues[1] + c.subscribed[1], 0);
    mem_close_world(&w);
}

/* ---- statistics ---- */

static void subs_believing(struct mem_world *w, int64_t count, const uint8_t *hash)
{
    struct sx_cmd subs = { .tag = SX_SUBS, .subs = { .has_hash = true, .count = count } };
    struct mem_client *c = &w->s;

    mem_reconnect(w, c);
    memcpy(subs.subs.hash, hash, sizeof(subs.subs.hash));
    mem_assert_tag(mem_cmd(c, &c->client.service.key, mem_service_id(c), &subs), SX_R_SOKS);
    mem_expect_alls(c);
}

static void counts_what_services_believed_to_have(void **state)
{
    struct mem_world w;
    struct mem_queue q[3];
    uint8_t hash[SX_SERVICE_HASH] = { 0 };
    uint32_t count;

    (void)state;
    mem_open_served(&w, q, SX_COUNT(q));
    sx_service_total(w.s.peer.service, &count, hash);
    assert_int_equal(count, 3);
    subs_believing(&w, 3, hash);
    hash[0] ^= 1;
    subs_believing(&w, 3, hash);
    subs_believing(&w, 1, hash);
    subs_believing(&w, 7, hash);
    subs_believing(&w, INT64_MAX, hash); /* a lie does not fill the sum */
    subs_believing(&w, INT64_MIN, hash);
    subs_believing(&w, -1, hash);
    static const unsigned wanted[] = { 1, 1, 2, 1, 2, 4 };
    for (unsigned i = 0; i < SX_COUNT(wanted); i++) {
        assert_int_equal(mem_stat(&w.m, SX_STAT_RCV_SUB_OK + i), wanted[i]);
        assert_int_equal(mem_stat(&w.m, SX_STAT_NTF_SRV_SUB_OK + i), 0);
    }
    mem_close_world(&w);
}

static void counts_messages_that_wait_for_their_ack(void **state)
{
    struct mem_world w;
    struct mem_queue q[3], g;

    (void)state;
    mem_open_world(&w, NULL);
    for (size_t i = 0; i < SX_COUNT(q); i++) {
        mem_new(&w.a, &q[i], SX_MODE_MESSAGING, true);
        mem_put(&w.b, &q[i], "one");
        mem_put(&w.b, &q[i], "two");
    }
    assert_int_equal(mem_stat(&w.m, SX_STAT_DELIVERED), 3);
    mem_assert_tag(mem_ack(&w.a, &q[0], mem_expect_msg(&w.a, &q[0], "one")), SX_R_MSG);
    assert_int_equal(mem_stat(&w.m, SX_STAT_DELIVERED), 3);
    mem_new(&w.a, &g, SX_MODE_MESSAGING, false);
    mem_put(&w.b, &g, "got");
    mem_assert_tag(mem_rcv(&w.b, &g, SX_GET), SX_R_MSG);
    assert_int_equal(mem_stat(&w.m, SX_STAT_DELIVERED), 4);
    mem_disconnect(&w.b);
    assert_int_equal(mem_stat(&w.m, SX_STAT_DELIVERED), 3);
    /* the first one ends, with its message */
    mem_assert_tag(mem_rcv(&w.s, &q[1], SX_SUB), SX_R_SOK);
    sx_peer_flush_ends(&w.a.peer);
    assert_int_equal(mem_stat(&w.m, SX_STAT_DELIVERED), 3);
    mem_assert_tag(mem_rcv(&w.a, &q[2], SX_DEL), SX_R_OK);
    assert_int_equal(mem_stat(&w.m, SX_STAT_DELIVERED), 2);
    mem_disconnect(&w.a);
    mem_disconnect(&w.s);
    assert_int_equal(mem_stat(&w.m, SX_STAT_DELIVERED), 0);
    mem_close_world(&w);
}

/* ---- who may ---- */

static void parties_need_the_role(void **state)
{
    static const struct {
        uint8_t role;
        bool new_, nsub, subs, nsubs;
    } may[] = { { 'M', true, false, true, false },
                { 'N', false, true, false, true },
                { 'P', false, false, false, false } };
    struct mem_world w;
    struct mem_queue q, other;
    struct mem_ntf n;

    (void)state;
    mem_open_world(&w, NULL);
    mem_new(&w.a, &q, SX_MODE_MESSAGING, false);
    mem_nkey(&w.a, &q, &n);
    for (size_t i = 0; i < SX_COUNT(may); i++) {
        struct mem_service svc;
        struct mem_client c;
        mem_service_make(&svc, may[i].role, 1);
        mem_connect_service(&w.m, &c, 0, 0, &svc.cert);
        const struct sx_keypair *key = &c.client.service.key;
        mem_keys(&other, SX_ED25519);
        struct sx_cmd new_ = mem_new_cmd(&other, SX_MODE_MESSAGING, true);
        struct sx_cmd subs = { .tag = SX_SUBS, .subs = { .has_hash = true } };
        struct sx_cmd nsubs = { .tag = SX_NSUBS, .subs = { .has_hash = true } };
        const struct sx_rsp *r[] = { mem_cmd(&c, &other.rcv, sx_bytes(NULL, 0), &new_),
                                     mem_nsub(&c, &n), mem_cmd(&c, key, mem_service_id(&c), &subs),
                                     mem_cmd(&c, key, mem_service_id(&c), &nsubs) };
        bool ok[] = { may[i].new_, may[i].nsub, may[i].subs, may[i].nsubs };
        enum sx_rsp_tag tag[] = { SX_R_IDS, SX_R_SOK, SX_R_SOKS, SX_R_SOKS };
        for (size_t k = 0; k < SX_COUNT(r); k++) {
            if (ok[k])
                mem_assert_tag(r[k], tag[k]);
            else
                mem_assert_cmd_err(r[k], SX_CMD_PROHIBITED);
        }
        mem_put(&c, &q, "anybody may send");
        mem_disconnect(&c);
        mem_service_free(&svc);
    }
    mem_close_world(&w);
}

/* OFF as it should be, but with a good signature of the service. */
static const struct sx_rsp *signed_off(struct mem_client *c, const struct mem_queue *q)
{
    uint8_t buf[512], auth[SX_SIG_MAX], sig[SX_SIG_MAX], content[600], corr[24] = { 7 };
    const struct sx_session_service *svc = &c->client.service;
    struct sx_transmission t = { .auth = { auth, 0 },
                                 .has_service_sig = true,
                                 .service_sig = { sig, 0 },
                                 .corr_id = sx_bytes(corr, sizeof(corr)),
                                 .entity_id = mem_rcv_id(q),
                                 .command = sx_str("OFF") };
    struct sx_wr w;

    sx_wr_fixed(&w, buf, sizeof(buf));
    sx_wr_raw(&w, sx_bytes(svc->cert_hash, 32));
    sx_authorized_encode(&w, sx_session_id(&c->client), t.corr_id, t.entity_id, t.command);
    assert_int_equal(sx_sign(&q->rcv, sx_wr_bytes(&w), auth, &t.auth.len), SIMPLEX_OK);
    assert_int_equal(sx_sign(&svc->key, sx_bytes(buf + 32, w.len - 32), sig, &t.service_sig.len),
                     SIMPLEX_OK);
    sx_wr_fixed(&w, buf, sizeof(buf));
    sx_transmission_encode(&w, &t, c->client.version);
    struct sx_wr all;
    sx_wr_fixed(&all, content, sizeof(content));
    sx_wr_u8(&all, 1);
    sx_wr_large(&all, sx_wr_bytes(&w));
    mem_content(c, sx_wr_bytes(&all));
    return &mem_next(c)->rsp;
}

static void signatures_are_those_of_the_session(void **state)
{
    struct mem_world w;
    struct mem_queue q;
    struct sx_keypair wrong;
    struct sx_cmd subs = { .tag = SX_SUBS, .subs = { .has_hash = true } };
    struct sx_cmd sub = { .tag = SX_SUB };

    (void)state;
    mem_open_world(&w, NULL);
    mem_new(&w.a, &q, SX_MODE_MESSAGING, false);
    assert_int_equal(sx_keypair_new(SX_ED25519, &wrong), SIMPLEX_OK);
    struct sx_keypair right = w.s.client.service.key;
    mem_assert_err(mem_cmd(&w.s, &wrong, mem_service_id(&w.s), &subs), SX_ERR_SERVICE);
    mem_assert_err(mem_cmd(&w.s, &right, mem_rcv_id(&q), &subs), SX_ERR_SERVICE);
    /* of another connection of the same service */
    mem_assert_err(mem_cmd(&w.s, &w.s2.client.service.key, mem_service_id(&w.s), &subs),
                   SX_ERR_SERVICE);
    mem_assert_err(mem_unbound(&w.s, &q.rcv, mem_rcv_id(&q), &sub), SX_ERR_SERVICE);
    w.s.client.service.key = wrong;
    mem_assert_err(mem_rcv(&w.s, &q, SX_SUB), SX_ERR_SERVICE);
    w.s.client.service.key = right;
    w.s.client.service.cert_hash[0] ^= 1; /* of another service, put into the place of this one */
    mem_assert_err(mem_rcv(&w.s, &q, SX_SUB), SX_ERR_AUTH);
    w.s.client.service.cert_hash[0] ^= 1;
    mem_assert_err(mem_cmd(&w.s, &wrong, mem_rcv_id(&q), &sub), SX_ERR_AUTH);
    struct mem_queue none = q;
    none.rcv_id[0] ^= 1; /* no such queue: before everything else */
    mem_assert_err(mem_unbound(&w.s, &q.rcv, mem_rcv_id(&none), &sub), SX_ERR_AUTH);
    mem_assert_sok(mem_rcv(&w.s, &q, SX_SUB), &w.s);
    /* a signature of a service where there is none */
    w.a.client.service = w.s.client.service;
    mem_assert_err(mem_rcv(&w.a, &q, SX_SUB), SX_ERR_SERVICE);
    w.a.client.service.role = 0;
    mem_assert_err(signed_off(&w.s, &q), SX_ERR_SERVICE); /* a command that never bears one */
    struct sx_cmd off = { .tag = SX_OFF };
    mem_assert_tag(mem_cmd(&w.s, &q.rcv, mem_rcv_id(&q), &off), SX_R_OK);
    mem_close_world(&w);
}

static void a_service_subscribes_the_queues_it_creates(void **state)
{
    struct mem_world w;
    struct mem_queue q;

    (void)state;
    mem_open_world(&w, NULL);
    mem_keys(&q, SX_ED25519);
    struct sx_cmd cmd = mem_new_cmd(&q, SX_MODE_MESSAGING, false);
    mem_assert_cmd_err(mem_cmd(&w.s, &q.rcv, sx_bytes(NULL, 0), &cmd), SX_CMD_PROHIBITED);
    mem_close_world(&w);
}

/* GET and a subscription exclude each other for the queues of a service as well. */
static void get_is_for_queues_that_are_not_subscribed(void **state)
{
    struct mem_world w;
    struct mem_queue q[2];

    (void)state;
    mem_open_served(&w, q, 2);
    mem_reconnect(&w, &w.s);
    mem_assert_tag(mem_rcv(&w.s, &q[0], SX_GET), SX_R_OK); /* nothing there */
    mem_subscribe_all(&w.s, q, 2);
    mem_assert_cmd_err(mem_rcv(&w.s, &q[1], SX_GET), SX_CMD_PROHIBITED);
    mem_put(&w.b, &q[0], "not pushed");
    mem_assert_quiet(&w.s);
    mem_assert_cmd_err(mem_rcv(&w.s, &q[0], SX_SUB), SX_CMD_PROHIBITED);
    mem_deliver(&w.b, &w.s, &q[1], "pushed");
    subscribe_waiting(&w.s2, q, 2, &q[0], "not pushed");
    mem_close_world(&w);
}

/* ---- whose a queue is ---- */

/* A connection with as many subscriptions as it may have: the queue stays whose it is. */
static void a_refused_sub_takes_no_queue_away(void **state)
{
    struct sx_srv_cfg cfg = { .new_queues = true, .limits = { .subs = 1 } };
    struct mem_world w;
    struct mem_queue q[2], mine;

    (void)state;
    mem_open_world(&w, &cfg);
    mem_new(&w.s, &q[0], SX_MODE_MESSAGING, true);
    mem_new(&w.a, &q[1], SX_MODE_MESSAGING, true);
    mem_new(&w.b, &mine, SX_MODE_MESSAGING, true);
    mem_assert_err(mem_rcv(&w.s, &q[1], SX_SUB), SX_ERR_INTERNAL); /* not from a client */
    mem_deliver(&w.b, &w.a, &q[1], "still here");
    mem_assert_err(mem_rcv(&w.b, &q[0], SX_SUB), SX_ERR_INTERNAL); /* nor from a service */
    mem_deliver(&w.b, &w.s, &q[0], "still here");
    mem_subscribe_all(&w.s, q, 1);
    mem_assert_not_ended(&w.a);
    mem_assert_not_ended(&w.s);
    mem_close_world(&w);
}

static void the_service_hears_of_queues_it_loses(void **state)
{
    struct mem_world w;
    struct mem_service rival;
    struct mem_client r;
    struct mem_queue q[4];

    (void)state;
    mem_open_served(&w, q, SX_COUNT(q));
    mem_reconnect(&w, &w.s);
    mem_subscribe_all(&w.s, q, SX_COUNT(q));
    /* none of them has a subscription of its own now */
    mem_assert_sok(mem_rcv(&w.a, &q[0], SX_SUB), NULL);
    mem_assert_tag(mem_rcv(&w.a, &q[1], SX_DEL), SX_R_OK);
    mem_service_make(&rival, 'M', 1);
    mem_connect_service(&w.m, &r, 1, 0, &rival.cert);
    mem_assert_sok(mem_rcv(&r, &q[2], SX_SUB), &r);
    mem_expect_ended(&w.s, SX_R_END, mem_rcv_id(&q[0]));
    mem_expect(&w.s, SX_R_DELD, mem_rcv_id(&q[1]));
    mem_expect(&w.s, SX_R_END, mem_rcv_id(&q[2]));
    mem_deliver(&w.b, &r, &q[2], "to the rival");
    mem_deliver(&w.b, &w.s, &q[3], "still here");
    mem_assert_tag(mem_rcv(&w.s, &q[3], SX_DEL), SX_R_OK);
    mem_reconnect(&w, &w.s);
    mem_assert_total(mem_subs(&w.s), SX_R_SOKS, 0);
    mem_assert_total(mem_subs(&r), SX_R_SOKS, 1, q[2].rcv_id);
    mem_disconnect(&r);
    mem_service_free(&rival);
    mem_close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_service_gets_the_messages_of_its_queues),
        cmocka_unit_test(queues_join_a_service_and_are_taken_back),
        cmocka_unit_test(counts_the_queues_of_subscribed_services),
        cmocka_unit_test(counts_what_services_believed_to_have),
        cmocka_unit_test(counts_messages_that_wait_for_their_ack),
        cmocka_unit_test(parties_need_the_role),
        cmocka_unit_test(signatures_are_those_of_the_session),
        cmocka_unit_test(a_service_subscribes_the_queues_it_creates),
        cmocka_unit_test(get_is_for_queues_that_are_not_subscribed),
        cmocka_unit_test(a_refused_sub_takes_no_queue_away),
        cmocka_unit_test(the_service_hears_of_queues_it_loses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
