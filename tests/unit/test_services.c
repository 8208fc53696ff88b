/* SPDX-License-Identifier: Apache-2.0 */
/* Messaging services: queues that belong to them, and SUBS (protocol/smp.md sections 6.3, 7, 11).
 */
#include "support/mem_service.h"

struct world { /* clients of different threads; s, s2: connections of the same service */
    struct mem_server m;
    struct mem_service service;
    struct mem_client a, b, s, s2;
};

static void open_world(struct world *w)
{
    mem_open(&w->m, NULL);
    mem_service_make(&w->service, 'M', 2);
    mem_connect(&w->m, &w->a, 0, 0);
    mem_connect(&w->m, &w->b, 1, 0);
    mem_connect_service(&w->m, &w->s, 0, 0, &w->service.cert);
    mem_connect_service(&w->m, &w->s2, 1, 0, &w->service.cert);
}

static void close_world(struct world *w)
{
    mem_disconnect(&w->a);
    mem_disconnect(&w->b);
    mem_disconnect(&w->s);
    mem_disconnect(&w->s2);
    mem_service_free(&w->service);
    mem_close(&w->m);
}

static simplex_bytes service_id(const struct mem_client *c)
{
    return sx_bytes(c->client.service.id, 24);
}

static void assert_sok(const struct sx_rsp *r, const struct mem_client *service)
{
    mem_assert_tag(r, SX_R_SOK);
    assert_int_equal(r->sok.has_service_id, service != NULL);
    if (service != NULL)
        vec_assert_eq(r->sok.service_id, service_id(service), "service of the queue");
}

/* A queue with a message in it, which nobody is subscribed to. */
static void make_waiting(struct world *w, struct mem_queue *q, const char *text)
{
    mem_new(&w->a, q, SX_MODE_MESSAGING, false);
    mem_assert_tag(mem_send(&w->b, q, false, text), SX_R_OK);
}

static const struct mem_item *event(struct mem_client *c, enum sx_rsp_tag tag, simplex_bytes entity)
{
    const struct mem_item *i = mem_next(c);

    assert_non_null(i);
    mem_assert_tag(&i->rsp, tag);
    assert_int_equal(i->t.corr_id.len, 0);
    vec_assert_eq(i->t.entity_id, entity, "entity of an event");
    return i;
}

static simplex_bytes expect_msg(struct mem_client *c, const struct mem_queue *q, const char *text)
{
    return mem_assert_msg(q, &event(c, SX_R_MSG, mem_rcv_id(q))->rsp, text);
}

static void expect_alls(struct mem_client *c)
{
    event(c, SX_R_ALLS, sx_bytes(NULL, 0));
}

static void deliver(struct world *w, struct mem_client *to, const struct mem_queue *q,
                    const char *text)
{
    mem_assert_tag(mem_send(&w->b, q, false, text), SX_R_OK);
    mem_assert_tag(mem_ack(to, q, expect_msg(to, q, text)), SX_R_OK);
}

/* ---- the tests of section 11 ---- */

/* testServiceDeliverSubscribe */
static void a_service_gets_the_messages_of_its_queues(void **state)
{
    struct world w;
    struct mem_queue q;
    struct sx_cmd subs = { .tag = SX_SUBS, .subs = { .has_hash = true } };

    (void)state;
    open_world(&w);
    mem_keys(&q, SX_ED25519);
    struct sx_cmd new_ = mem_new_cmd(&q, SX_MODE_MESSAGING, true);
    mem_assert_err(mem_unbound(&w.s, &q.rcv, sx_bytes(NULL, 0), &new_), SX_ERR_SERVICE);
    const struct sx_rsp *r = mem_cmd(&w.s, &q.rcv, sx_bytes(NULL, 0), &new_);
    mem_assert_tag(r, SX_R_IDS);
    assert_true(r->ids.has_service_id);
    vec_assert_eq(r->ids.service_id, service_id(&w.s), "service id");
    memcpy(q.rcv_id, r->ids.rcv_id.ptr, 24);
    memcpy(q.snd_id, r->ids.snd_id.ptr, 24);
    q.srv_dh = r->ids.srv_dh;
    deliver(&w, &w.s, &q, "live");
    mem_disconnect(&w.s);
    mem_assert_tag(mem_send(&w.b, &q, false, "kept"), SX_R_OK);

    mem_connect_service(&w.m, &w.s, 0, 0, &w.service.cert);
    vec_assert_eq(service_id(&w.s), service_id(&w.s2), "the same service");
    mem_assert_cmd_err(mem_cmd(&w.s, &w.s.client.service.key, sx_bytes(NULL, 0), &subs),
                       SX_CMD_NO_AUTH);
    mem_assert_total(mem_subs(&w.s), SX_R_SOKS, 1, q.rcv_id);
    mem_assert_tag(mem_ack(&w.s, &q, expect_msg(&w.s, &q, "kept")), SX_R_OK);
    expect_alls(&w.s);
    deliver(&w, &w.s, &q, "live again");
    mem_assert_quiet(&w.s);
    close_world(&w);
}

/* testServiceUpgradeAndDowngrade */
static void queues_join_a_service_and_are_taken_back(void **state)
{
    struct world w;
    struct mem_queue q[3];

    (void)state;
    open_world(&w);
    for (size_t i = 0; i < SX_COUNT(q); i++)
        mem_new(&w.a, &q[i], SX_MODE_MESSAGING, true);
    assert_sok(mem_rcv(&w.a, &q[0], SX_SUB), NULL);
    for (size_t i = 0; i < 2; i++) {
        assert_sok(mem_rcv(&w.s, &q[i], SX_SUB), &w.s);
        deliver(&w, &w.s, &q[i], "to the service");
    }
    sx_peer_flush_ends(&w.a.peer);
    event(&w.a, SX_R_END, mem_rcv_id(&q[0]));
    event(&w.a, SX_R_END, mem_rcv_id(&q[1]));
    deliver(&w, &w.a, &q[2], "not of the service");
    mem_disconnect(&w.s);
    mem_assert_tag(mem_send(&w.b, &q[1], false, "meanwhile"), SX_R_OK);

    mem_connect_service(&w.m, &w.s, 0, 0, &w.service.cert);
    mem_assert_total(mem_subs(&w.s), SX_R_SOKS, 2, q[0].rcv_id, q[1].rcv_id);
    mem_assert_tag(mem_ack(&w.s, &q[1], expect_msg(&w.s, &q[1], "meanwhile")), SX_R_OK);
    expect_alls(&w.s);
    deliver(&w, &w.s, &q[0], "live");
    mem_disconnect(&w.s);

    struct sx_cmd subs = { .tag = SX_SUBS, .subs = { .has_hash = true } };
    mem_assert_err(mem_cmd(&w.a, &q[0].rcv, service_id(&w.s2), &subs), SX_ERR_SERVICE);
    for (size_t i = 0; i < 2; i++) {
        assert_sok(mem_rcv(&w.a, &q[i], SX_SUB), NULL);
        deliver(&w, &w.a, &q[i], "taken back");
    }
    mem_connect_service(&w.m, &w.s, 0, 0, &w.service.cert);
    mem_assert_total(mem_subs(&w.s), SX_R_SOKS, 0);
    expect_alls(&w.s);
    mem_assert_quiet(&w.s);
    mem_assert_quiet(&w.a);
    close_world(&w);
}

/* testServiceSubsTotalCount */
static void counts_the_queues_of_subscribed_services(void **state)
{
    struct world w;
    struct mem_queue q[3];
    struct sx_services_count c;

    (void)state;
    open_world(&w);
    for (size_t i = 0; i < 2; i++)
        mem_new(&w.s, &q[i], SX_MODE_MESSAGING, true);
    sx_services_count(w.m.srv->store, &c);
    assert_int_equal(c.services[0], 1);
    assert_int_equal(c.queues[0], 2);
    assert_int_equal(c.subscribed[0], 2);
    mem_disconnect(&w.s);
    sx_services_count(w.m.srv->store, &c);
    assert_int_equal(c.queues[0], 2);
    assert_int_equal(c.subscribed[0], 0);
    mem_connect_service(&w.m, &w.s, 0, 0, &w.service.cert);
    mem_assert_total(mem_subs(&w.s), SX_R_SOKS, 2, q[0].rcv_id, q[1].rcv_id);
    sx_services_count(w.m.srv->store, &c);
    assert_int_equal(c.subscribed[0], 2);
    mem_new(&w.s, &q[2], SX_MODE_MESSAGING, true);
    sx_services_count(w.m.srv->store, &c);
    assert_int_equal(c.subscribed[0], 3);
    assert_int_equal(c.services[1] + c.queues[1] + c.subscribed[1], 0);
    close_world(&w);
}

static uint64_t stat_of(const struct world *w, unsigned stat)
{
    struct sx_snapshot s;

    sx_stats_read(w->m.srv->stats, w->m.srv->store, w->m.now, &s);
    return s.v[stat];
}

static void subs_believing(struct world *w, struct mem_client *c, int64_t count,
                           const uint8_t *hash)
{
    struct sx_cmd subs = { .tag = SX_SUBS, .subs = { .has_hash = true, .count = count } };

    mem_connect_service(&w->m, c, 0, 0, &w->service.cert);
    memcpy(subs.subs.hash, hash, sizeof(subs.subs.hash));
    mem_assert_tag(mem_cmd(c, &c->client.service.key, service_id(c), &subs), SX_R_SOKS);
    expect_alls(c);
    mem_disconnect(c);
}

static void counts_what_services_believed_to_have(void **state)
{
    struct world w;
    struct mem_queue q[3];
    uint8_t hash[SX_SERVICE_HASH] = { 0 };
    uint32_t count;

    (void)state;
    open_world(&w);
    for (size_t i = 0; i < SX_COUNT(q); i++)
        mem_new(&w.s, &q[i], SX_MODE_MESSAGING, true);
    sx_service_total(w.s.peer.service, &count, hash);
    assert_int_equal(count, 3);
    mem_disconnect(&w.s);
    subs_believing(&w, &w.s, 3, hash);
    hash[0] ^= 1;
    subs_believing(&w, &w.s, 3, hash);
    subs_believing(&w, &w.s, 1, hash);
    subs_believing(&w, &w.s, 7, hash);
    subs_believing(&w, &w.s, INT64_MAX, hash); /* a lie does not fill the sum */
    subs_believing(&w, &w.s, INT64_MIN, hash);
    subs_believing(&w, &w.s, -1, hash);
    static const unsigned wanted[] = { 1, 1, 2, 1, 2, 4 };
    for (unsigned i = 0; i < SX_COUNT(wanted); i++) {
        assert_int_equal(stat_of(&w, SX_STAT_RCV_SUB_OK + i), wanted[i]);
        assert_int_equal(stat_of(&w, SX_STAT_NTF_SRV_SUB_OK + i), 0);
    }
    mem_connect_service(&w.m, &w.s, 0, 0, &w.service.cert);
    close_world(&w);
}

static void counts_messages_that_wait_for_their_ack(void **state)
{
    struct world w;
    struct mem_queue q[3], g;

    (void)state;
    open_world(&w);
    for (size_t i = 0; i < SX_COUNT(q); i++) {
        mem_new(&w.a, &q[i], SX_MODE_MESSAGING, true);
        mem_assert_tag(mem_send(&w.b, &q[i], false, "one"), SX_R_OK);
        mem_assert_tag(mem_send(&w.b, &q[i], false, "two"), SX_R_OK);
    }
    assert_int_equal(stat_of(&w, SX_STAT_DELIVERED), 3);
    mem_assert_tag(mem_ack(&w.a, &q[0], expect_msg(&w.a, &q[0], "one")), SX_R_MSG);
    assert_int_equal(stat_of(&w, SX_STAT_DELIVERED), 3);
    make_waiting(&w, &g, "got");
    mem_assert_tag(mem_rcv(&w.b, &g, SX_GET), SX_R_MSG);
    assert_int_equal(stat_of(&w, SX_STAT_DELIVERED), 4);
    mem_disconnect(&w.b);
    assert_int_equal(stat_of(&w, SX_STAT_DELIVERED), 3);
    mem_assert_tag(mem_rcv(&w.s, &q[1], SX_SUB),
                   SX_R_SOK); /* the first one ends, with its message */
    sx_peer_flush_ends(&w.a.peer);
    assert_int_equal(stat_of(&w, SX_STAT_DELIVERED), 3);
    mem_assert_tag(mem_rcv(&w.a, &q[2], SX_DEL), SX_R_OK);
    assert_int_equal(stat_of(&w, SX_STAT_DELIVERED), 2);
    mem_disconnect(&w.a);
    mem_disconnect(&w.s);
    assert_int_equal(stat_of(&w, SX_STAT_DELIVERED), 0);
    mem_connect(&w.m, &w.a, 0, 0);
    mem_connect(&w.m, &w.b, 1, 0);
    mem_connect_service(&w.m, &w.s, 0, 0, &w.service.cert);
    close_world(&w);
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
    struct world w;
    struct mem_queue q, other;
    struct mem_ntf n;

    (void)state;
    open_world(&w);
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
                                     mem_nsub(&c, &n), mem_cmd(&c, key, service_id(&c), &subs),
                                     mem_cmd(&c, key, service_id(&c), &nsubs) };
        bool ok[] = { may[i].new_, may[i].nsub, may[i].subs, may[i].nsubs };
        enum sx_rsp_tag tag[] = { SX_R_IDS, SX_R_SOK, SX_R_SOKS, SX_R_SOKS };
        for (size_t k = 0; k < SX_COUNT(r); k++) {
            if (ok[k])
                mem_assert_tag(r[k], tag[k]);
            else
                mem_assert_cmd_err(r[k], SX_CMD_PROHIBITED);
        }
        mem_assert_tag(mem_send(&c, &q, false, "anybody may send"), SX_R_OK);
        mem_disconnect(&c);
        mem_service_free(&svc);
    }
    close_world(&w);
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
    struct world w;
    struct mem_queue q;
    struct sx_keypair wrong;
    struct sx_cmd subs = { .tag = SX_SUBS, .subs = { .has_hash = true } };
    struct sx_cmd sub = { .tag = SX_SUB };

    (void)state;
    open_world(&w);
    mem_new(&w.a, &q, SX_MODE_MESSAGING, false);
    assert_int_equal(sx_keypair_new(SX_ED25519, &wrong), SIMPLEX_OK);
    struct sx_keypair right = w.s.client.service.key;
    mem_assert_err(mem_cmd(&w.s, &wrong, service_id(&w.s), &subs), SX_ERR_SERVICE);
    mem_assert_err(mem_cmd(&w.s, &right, mem_rcv_id(&q), &subs), SX_ERR_SERVICE);
    /* of another connection of the same service */
    mem_assert_err(mem_cmd(&w.s, &w.s2.client.service.key, service_id(&w.s), &subs),
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
    assert_sok(mem_rcv(&w.s, &q, SX_SUB), &w.s);
    /* a signature of a service where there is none */
    w.a.client.service = w.s.client.service;
    mem_assert_err(mem_rcv(&w.a, &q, SX_SUB), SX_ERR_SERVICE);
    w.a.client.service.role = 0;
    mem_assert_err(signed_off(&w.s, &q), SX_ERR_SERVICE); /* a command that never bears one */
    struct sx_cmd off = { .tag = SX_OFF };
    mem_assert_tag(mem_cmd(&w.s, &q.rcv, mem_rcv_id(&q), &off), SX_R_OK);
    close_world(&w);
}

static void a_service_subscribes_the_queues_it_creates(void **state)
{
    struct world w;
    struct mem_queue q;

    (void)state;
    open_world(&w);
    mem_keys(&q, SX_ED25519);
    struct sx_cmd cmd = mem_new_cmd(&q, SX_MODE_MESSAGING, false);
    mem_assert_cmd_err(mem_cmd(&w.s, &q.rcv, sx_bytes(NULL, 0), &cmd), SX_CMD_PROHIBITED);
    close_world(&w);
}

/* GET and a subscription exclude each other for the queues of a service as well. */
static void get_is_for_queues_that_are_not_subscribed(void **state)
{
    struct world w;
    struct mem_queue q[2];

    (void)state;
    open_world(&w);
    for (size_t i = 0; i < 2; i++)
        mem_new(&w.s, &q[i], SX_MODE_MESSAGING, true);
    mem_disconnect(&w.s);
    mem_connect_service(&w.m, &w.s, 0, 0, &w.service.cert);
    mem_assert_tag(mem_rcv(&w.s, &q[0], SX_GET), SX_R_OK); /* nothing there */
    mem_assert_total(mem_subs(&w.s), SX_R_SOKS, 2, q[0].rcv_id, q[1].rcv_id);
    expect_alls(&w.s);
    mem_assert_cmd_err(mem_rcv(&w.s, &q[1], SX_GET), SX_CMD_PROHIBITED);
    mem_assert_tag(mem_send(&w.b, &q[0], false, "not pushed"), SX_R_OK);
    mem_assert_quiet(&w.s);
    mem_assert_cmd_err(mem_rcv(&w.s, &q[0], SX_SUB), SX_CMD_PROHIBITED);
    deliver(&w, &w.s, &q[1], "pushed");
    mem_assert_total(mem_subs(&w.s2), SX_R_SOKS, 2, q[0].rcv_id, q[1].rcv_id);
    mem_assert_tag(mem_ack(&w.s2, &q[0], expect_msg(&w.s2, &q[0], "not pushed")), SX_R_OK);
    expect_alls(&w.s2);
    close_world(&w);
}

/* ---- connections ---- */

static void another_connection_takes_over(void **state)
{
    struct world w;
    struct mem_queue q[2];

    (void)state;
    open_world(&w);
    for (size_t i = 0; i < 2; i++)
        mem_new(&w.s, &q[i], SX_MODE_MESSAGING, true);
    mem_assert_tag(mem_send(&w.b, &q[0], false, "in flight"), SX_R_OK);
    simplex_bytes id = expect_msg(&w.s, &q[0], "in flight");
    mem_assert_total(mem_subs(&w.s2), SX_R_SOKS, 2, q[0].rcv_id, q[1].rcv_id);
    expect_msg(&w.s2, &q[0], "in flight");
    expect_alls(&w.s2);
    mem_assert_err(mem_ack(&w.s, &q[0], id), SX_ERR_NO_MSG);
    sx_peer_flush_ends(&w.s.peer);
    mem_assert_total(&event(&w.s, SX_R_ENDS, service_id(&w.s))->rsp, SX_R_ENDS, 2, q[0].rcv_id,
                     q[1].rcv_id);
    mem_assert_tag(mem_ack(&w.s2, &q[0], id), SX_R_OK);
    deliver(&w, &w.s2, &q[1], "to the second");
    /* and back again, by SUB of one queue */
    assert_sok(mem_rcv(&w.s, &q[0], SX_SUB), &w.s);
    deliver(&w, &w.s, &q[1], "to the first");
    sx_peer_flush_ends(&w.s2.peer);
    mem_assert_total(&event(&w.s2, SX_R_ENDS, service_id(&w.s2))->rsp, SX_R_ENDS, 2, q[0].rcv_id,
                     q[1].rcv_id);
    mem_assert_quiet(&w.s);
    mem_assert_quiet(&w.s2);
    close_world(&w);
}

static void who_has_subscribed_again_is_not_told_of_the_end(void **state)
{
    struct world w;
    struct mem_queue q;

    (void)state;
    open_world(&w);
    mem_new(&w.s, &q, SX_MODE_MESSAGING, true);
    mem_assert_total(mem_subs(&w.s2), SX_R_SOKS, 1, q.rcv_id);
    expect_alls(&w.s2);
    mem_assert_total(mem_subs(&w.s), SX_R_SOKS, 1, q.rcv_id);
    expect_alls(&w.s);
    sx_peer_flush_ends(&w.s.peer);
    mem_assert_quiet(&w.s);
    deliver(&w, &w.s, &q, "here");
    close_world(&w);
}

static void repeated_subs_changes_nothing(void **state)
{
    struct world w;
    struct mem_queue q;

    (void)state;
    open_world(&w);
    mem_new(&w.s, &q, SX_MODE_MESSAGING, true);
    mem_assert_total(mem_subs(&w.s), SX_R_SOKS, 1, q.rcv_id);
    expect_alls(&w.s);
    mem_assert_tag(mem_send(&w.b, &q, false, "once"), SX_R_OK);
    simplex_bytes id = expect_msg(&w.s, &q, "once");
    mem_assert_total(mem_subs(&w.s), SX_R_SOKS, 1, q.rcv_id);
    mem_assert_quiet(&w.s);
    mem_assert_tag(mem_ack(&w.s, &q, id), SX_R_OK);
    close_world(&w);
}

static void the_service_hears_of_queues_it_loses(void **state)
{
    struct world w;
    struct mem_service rival;
    struct mem_client r;
    struct mem_queue q[4];

    (void)state;
    open_world(&w);
    for (size_t i = 0; i < SX_COUNT(q); i++)
        mem_new(&w.s, &q[i], SX_MODE_MESSAGING, true);
    mem_disconnect(&w.s);
    mem_connect_service(&w.m, &w.s, 0, 0, &w.service.cert);
    mem_assert_tag(mem_subs(&w.s), SX_R_SOKS);
    expect_alls(&w.s);
    /* none of them has a subscription of its own now */
    assert_sok(mem_rcv(&w.a, &q[0], SX_SUB), NULL);
    mem_assert_tag(mem_rcv(&w.a, &q[1], SX_DEL), SX_R_OK);
    mem_service_make(&rival, 'M', 1);
    mem_connect_service(&w.m, &r, 1, 0, &rival.cert);
    assert_sok(mem_rcv(&r, &q[2], SX_SUB), &r);
    sx_peer_flush_ends(&w.s.peer);
    event(&w.s, SX_R_END, mem_rcv_id(&q[0]));
    event(&w.s, SX_R_DELD, mem_rcv_id(&q[1]));
    event(&w.s, SX_R_END, mem_rcv_id(&q[2]));
    deliver(&w, &r, &q[2], "to the rival");
    deliver(&w, &w.s, &q[3], "still here");
    mem_assert_tag(mem_rcv(&w.s, &q[3], SX_DEL), SX_R_OK);
    mem_disconnect(&w.s);
    mem_connect_service(&w.m, &w.s, 0, 0, &w.service.cert);
    mem_assert_total(mem_subs(&w.s), SX_R_SOKS, 0);
    mem_assert_total(mem_subs(&r), SX_R_SOKS, 1, q[2].rcv_id);
    mem_disconnect(&r);
    mem_service_free(&rival);
    close_world(&w);
}

/* ---- the walk ---- */

static void delivers_what_waits_in_many_queues(void **state)
{
    enum { N = 700 };
    static struct mem_queue q[N];
    static bool seen[N];
    struct world w;

    (void)state;
    open_world(&w);
    memset(seen, 0, sizeof(seen));
    for (size_t i = 0; i < N; i++) {
        make_waiting(&w, &q[i], "waits");
        assert_sok(mem_rcv(&w.s, &q[i], SX_SUB), &w.s);
        mem_next(&w.s);
    }
    mem_disconnect(&w.s);
    mem_assert_tag(mem_rcv(&w.a, &q[N / 2], SX_DEL), SX_R_OK);
    const struct sx_rsp *soks = mem_subs(&w.s2);
    mem_assert_tag(soks, SX_R_SOKS);
    assert_int_equal(soks->soks.count, N - 1);
    size_t n = 0;
    const struct mem_item *i;
    for (;; n++) {
        while ((i = mem_next(&w.s2)) == NULL)
            mem_settle(&w.m); /* its output was full: it goes on now */
        if (i->rsp.tag == SX_R_ALLS)
            break;
        mem_assert_tag(&i->rsp, SX_R_MSG);
        size_t k = 0;
        while (k < N && !sx_bytes_eq(i->t.entity_id, mem_rcv_id(&q[k])))
            k++;
        assert_true(k < N && !seen[k]);
        seen[k] = true;
    }
    assert_int_equal(n, N - 1);
    assert_null(mem_next(&w.s2));
    close_world(&w);
}

static void the_walk_waits_for_the_client(void **state)
{
    enum { N = 500 };
    static struct mem_queue q[N];
    struct world w;

    (void)state;
    open_world(&w);
    for (size_t i = 0; i < N; i++) {
        make_waiting(&w, &q[i], "waits");
        mem_assert_tag(mem_rcv(&w.s, &q[i], SX_SUB), SX_R_SOK);
    }
    struct mem_batch b;
    struct sx_cmd subs = { .tag = SX_SUBS, .subs = { .has_hash = true } };
    mem_batch_open(&b, &w.s2);
    mem_batch_add(&b, &w.s2.client.service.key, service_id(&w.s2), &subs);
    mem_batch_run(&b);
    for (int i = 0; i < 20; i++)
        mem_settle(&w.m);
    assert_in_range(w.s2.peer.n_out, SX_PEER_OUT_PAUSE, 100);
    /* Deleted, sent to and subscribed while the walk is not over. */
    mem_assert_tag(mem_rcv(&w.a, &q[0], SX_DEL), SX_R_OK);
    mem_assert_tag(mem_send(&w.b, &q[1], false, "behind"), SX_R_OK);
    mem_assert_tag(mem_rcv(&w.s2, &q[2], SX_SUB), SX_R_SOK);
    mem_assert_tag(mem_rcv(&w.a, &q[3], SX_SUB), SX_R_SOK);
    unsigned msgs = 0, alls = 0;
    for (int i = 0; i < 100; i++) {
        const struct mem_item *item;
        while ((item = mem_next(&w.s2)) != NULL) {
            msgs += item->rsp.tag == SX_R_MSG;
            alls += item->rsp.tag == SX_R_ALLS;
        }
        mem_settle(&w.m);
    }
    assert_int_equal(alls, 1);
    assert_int_equal(msgs, N - 2); /* all but the deleted one and the one taken back */
    close_world(&w);
}

/* ---- faults ---- */

static void a_message_finds_its_service_without_memory(void **state)
{
    struct world w;
    struct mem_queue q;
    bool fired = true;

    (void)state;
    open_world(&w);
    mem_new(&w.s, &q, SX_MODE_MESSAGING, true);
    for (unsigned nth = 0; fired; nth++) {
        struct mem_batch b;
        struct sx_cmd cmd = { .tag = SX_SEND, .send = { .body = sx_str("kept") } };
        mem_disconnect(&w.s);
        mem_connect_service(&w.m, &w.s, 0, 0, &w.service.cert);
        mem_assert_tag(mem_subs(&w.s), SX_R_SOKS);
        expect_alls(&w.s);
        mem_batch_open(&b, &w.b);
        mem_batch_add(&b, NULL, mem_snd_id(&q), &cmd);
        sx_fault_malloc(nth);
        sx_peer_block(&w.b.peer, sx_wr_bytes(&b.w));
        fired = sx_fault_disarm();
        mem_settle(&w.m);
        bool failed = w.b.peer.failed;
        const struct mem_item *i = failed ? NULL : mem_next(&w.b);
        if (i == NULL || i->rsp.tag == SX_R_OK) { /* taken: then it is delivered, whatever failed */
            mem_assert_tag(mem_ack(&w.s, &q, expect_msg(&w.s, &q, "kept")), SX_R_OK);
        } else {
            mem_assert_err(&i->rsp, SX_ERR_INTERNAL);
            mem_assert_quiet(&w.s);
        }
        if (failed) {
            mem_disconnect(&w.b);
            mem_connect(&w.m, &w.b, 1, 0);
        }
    }
    close_world(&w);
}

static void every_failed_allocation_of_a_service_is_answered(void **state)
{
    static const enum sx_cmd_tag tags[] = { SX_SUB, SX_SUBS, SX_DEL };
    struct world w;

    (void)state;
    open_world(&w);
    for (size_t k = 0; k < SX_COUNT(tags); k++) {
        bool fired = true;
        for (unsigned nth = 0; fired; nth++) {
            struct mem_queue q;
            struct mem_batch b;
            struct sx_cmd cmd = { .tag = tags[k], .subs = { .has_hash = tags[k] == SX_SUBS } };
            make_waiting(&w, &q, "here");
            mem_disconnect(&w.s);
            mem_connect_service(&w.m, &w.s, 0, 0, &w.service.cert);
            mem_batch_open(&b, &w.s);
            if (tags[k] == SX_SUBS)
                mem_batch_add(&b, &w.s.client.service.key, service_id(&w.s), &cmd);
            else
                mem_batch_add(&b, &q.rcv, mem_rcv_id(&q), &cmd);
            sx_fault_malloc(nth);
            sx_peer_block(&w.s.peer, sx_wr_bytes(&b.w));
            mem_settle(&w.m);
            fired = sx_fault_disarm();
            if (w.s.peer.failed)
                continue; /* the connection would be closed */
            const struct mem_item *i = mem_next(&w.s);
            assert_non_null(i);
            if (i->rsp.tag == SX_R_ERR)
                mem_assert_err(&i->rsp, SX_ERR_INTERNAL);
            if (tags[k] != SX_DEL || i->rsp.tag == SX_R_ERR)
                mem_assert_tag(mem_rcv(&w.a, &q, SX_DEL), SX_R_OK);
        }
    }
    close_world(&w);
}

/* The thread of the service has not seen the subscription that a message made, and it closes. */
static void closes_with_messages_on_their_way(void **state)
{
    struct world w;
    struct mem_queue q;
    struct mem_batch b;
    struct sx_cmd cmd = { .tag = SX_SEND, .send = { .body = sx_str("late") } };

    (void)state;
    open_world(&w);
    mem_new(&w.s, &q, SX_MODE_MESSAGING, true);
    for (int i = 0; i < 3; i++) {
        mem_disconnect(&w.s);
        mem_connect_service(&w.m, &w.s, 0, 0, &w.service.cert);
        mem_assert_tag(mem_subs(&w.s), SX_R_SOKS);
        expect_alls(&w.s);
        mem_batch_open(&b, &w.b);
        mem_batch_add(&b, NULL, mem_snd_id(&q), &cmd);
        sx_peer_block(&w.b.peer, sx_wr_bytes(&b.w));
        if (i == 1) /* another connection takes over before */
            mem_assert_tag(mem_subs(&w.s2), SX_R_SOKS);
        if (i == 2) /* the service deletes the queue before */
            mem_assert_tag(mem_rcv(&w.s, &q, SX_DEL), SX_R_OK);
        if (i == 0) {
            mem_disconnect(&w.s);
            mem_connect_service(&w.m, &w.s, 0, 0, &w.service.cert);
            mem_assert_tag(mem_subs(&w.s), SX_R_SOKS);
            mem_assert_tag(mem_ack(&w.s, &q, expect_msg(&w.s, &q, "late")), SX_R_OK);
            expect_alls(&w.s);
        }
        if (i == 1) {
            mem_assert_tag(mem_ack(&w.s2, &q, expect_msg(&w.s2, &q, "late")), SX_R_OK);
            expect_alls(&w.s2);
        }
    }
    close_world(&w);
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
        cmocka_unit_test(another_connection_takes_over),
        cmocka_unit_test(who_has_subscribed_again_is_not_told_of_the_end),
        cmocka_unit_test(repeated_subs_changes_nothing),
        cmocka_unit_test(the_service_hears_of_queues_it_loses),
        cmocka_unit_test(delivers_what_waits_in_many_queues),
        cmocka_unit_test(the_walk_waits_for_the_client),
        cmocka_unit_test(a_message_finds_its_service_without_memory),
        cmocka_unit_test(every_failed_allocation_of_a_service_is_answered),
        cmocka_unit_test(closes_with_messages_on_their_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
