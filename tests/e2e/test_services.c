/* SPDX-License-Identifier: Apache-2.0 */
/* Services over real TLS: their certificates, and what of them outlives a restart. */
#include "services_stage.h"

/* ---- certificates ---- */

static void takes_chains_of_one_to_four_certificates(void **state)
{
    struct server t;
    struct smp_peer sender;

    (void)state;
    open_threaded(&t, false);
    open_peer(&t, &sender);
    for (size_t n = 1; n <= 4; n++) {
        struct service svc;
        struct smp_peer p;
        struct queue q;
        uint8_t id[24];
        make_service(&svc, 'M', n % 2 == 0 ? SX_ED448 : SX_ED25519, n);
        connect_service(&t, &p, &svc);
        memcpy(id, p.session.service.id, sizeof(id));
        make_queue(&p, &q);
        send_to(&sender, &q, "live");
        expect_msg(&p, &q, "live");
        smp_peer_close(&p);
        send_to(&sender, &q, "kept");
        connect_service(&t, &p, &svc);
        assert_memory_equal(id, p.session.service.id, sizeof(id));
        assert_int_equal(subscribe(&p)->soks.count, 1);
        expect_msg(&p, &q, "kept");
        expect_event(&p, SX_R_ALLS);
        smp_peer_close(&p);
        free_service(&svc);
    }
    smp_peer_close(&sender);
    close_server(&t);
}

static void has_as_many_places_as_it_is_told(void **state)
{
    struct server t;
    struct service svc[2];
    struct smp_peer p[2];
    struct queue q;

    (void)state;
    make_server(&t);
    prompt_config(&t.cfg, 2);
    t.cfg.services = 1;
    start(&t);
    for (size_t i = 0; i < SX_COUNT(p); i++) {
        make_service(&svc[i], 'M', SX_ED25519, 2);
        connect_service(&t, &p[i], &svc[i]);
    }
    make_queue(&p[0], &q);
    struct sx_cmd cmd = { .tag = SX_NEW };
    cmd.new_.auth = q.rcv.pub;
    cmd.new_.dh = q.dh.pub;
    cmd.new_.mode = SX_MODE_MESSAGING;
    cmd.new_.subscribe = true;
    const struct sx_rsp *r = smp_peer_cmd(&p[1], &q.rcv, sx_bytes(NULL, 0), &cmd);
    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_ERR);
    assert_int_equal(r->err.err, SX_ERR_QUOTA);
    for (size_t i = 0; i < SX_COUNT(p); i++) {
        smp_peer_close(&p[i]);
        free_service(&svc[i]);
    }
    close_server(&t);
}

static void refuses_what_tls_did_not_prove(void **state)
{
    struct server t;
    struct service svc, other;
    struct smp_peer p;

    (void)state;
    open_threaded(&t, false);
    make_service(&svc, 'M', SX_ED25519, 2);
    make_service(&other, 'M', SX_ED25519, 2);
    assert_int_equal(open_service(&t, &p, NULL, &svc.cert), SIMPLEX_E_HANDSHAKE);
    assert_int_equal(open_service(&t, &p, &other, &svc.cert), SIMPLEX_E_HANDSHAKE);
    struct sx_service_cert forged = svc.cert; /* the right chain, signed by somebody else */
    forged.leaf = other.cert.leaf;
    assert_int_equal(open_service(&t, &p, &svc, &forged), SIMPLEX_E_HANDSHAKE);
    forged = svc.cert;
    forged.role = 'N';
    struct smp_peer first; /* while it is known in one role it has no other */
    connect_service(&t, &first, &svc);
    assert_int_equal(open_service(&t, &p, &svc, &forged), SIMPLEX_E_HANDSHAKE);
    smp_peer_close(&first);
    /* a certificate of which the hello says nothing: an ordinary client */
    assert_int_equal(open_service(&t, &p, &svc, NULL), SIMPLEX_OK);
    assert_int_equal(p.session.service.role, 0);
    const struct sx_rsp *r = subs(&p);
    assert_null(r); /* not even a key to sign with */
    struct sx_cmd ping = { .tag = SX_PING };
    r = smp_peer_cmd(&p, NULL, sx_bytes(NULL, 0), &ping);
    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_PONG);
    smp_peer_close(&p);
    free_service(&svc);
    free_service(&other);
    close_server(&t);
}

/* More than four are too many for TLS already. */
static void refuses_five_certificates(void **state)
{
    struct server t;
    struct service svc, tls;
    struct smp_peer p;

    (void)state;
    open_threaded(&t, false);
    make_service(&svc, 'M', SX_ED25519, 4);
    test_certs_make(SX_ED25519, 5, &tls.certs);
    assert_int_not_equal(open_service(&t, &p, &tls, &svc.cert), SIMPLEX_OK);
    free_service(&svc);
    free_service(&tls);
    close_server(&t);
}

/* ---- restarts ---- */

/* SUBS or NSUBS, with this queue or notifier; NULL: with none. */
static void subscribe_one(struct smp_peer *p, const uint8_t *id)
{
    const struct sx_rsp *r = subscribe(p);
    uint8_t hash[16] = { 0 };

    assert_int_equal(r->soks.count, id != NULL);
    if (id != NULL)
        sx_md5(sx_bytes(id, 24), hash);
    vec_assert_eq(sx_bytes(r->soks.hash, 16), sx_bytes(hash, 16), "hash of ids");
}

static void expect_nmsg(struct smp_peer *sender, struct smp_peer *p, const struct queue *q)
{
    struct sx_cmd c = { .tag = SX_SEND, .send = { .notify = true, .body = sx_str("ring") } };
    const struct sx_rsp *r = smp_peer_cmd(sender, NULL, sx_bytes(q->snd_id, 24), &c);

    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_OK);
    vec_assert_eq(expect_event(p, SX_R_NMSG)->t.entity_id, sx_bytes(q->ntf_id, 24), "notifier");
}

/* testServiceNotificationsTwoRestarts */
static void a_notifier_service_outlives_two_restarts(void **state)
{
    struct server t;
    struct service svc;
    struct smp_peer p, sender;
    struct queue q;
    struct sx_cmd nsub = { .tag = SX_NSUB };
    uint8_t id[24];

    (void)state;
    open_threaded(&t, true);
    make_service(&svc, 'N', SX_ED25519, 2);
    open_peer(&t, &sender);
    make_queue(&sender, &q);
    make_notifier(&sender, &q);
    connect_service(&t, &p, &svc);
    memcpy(id, p.session.service.id, sizeof(id));
    const struct sx_rsp *r = smp_peer_cmd(&p, &q.ntf, sx_bytes(q.ntf_id, 24), &nsub);
    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_SOK);
    expect_nmsg(&sender, &p, &q);
    for (int i = 0; i < 2; i++) { /* the second one reads what the first has rewritten */
        smp_peer_close(&p);
        smp_peer_close(&sender);
        restart(&t);
        open_peer(&t, &sender);
        connect_service(&t, &p, &svc);
        assert_memory_equal(p.session.service.id, id, sizeof(id));
        subscribe_one(&p, q.ntf_id);
        expect_nmsg(&sender, &p, &q);
    }
    /* taken back: that is kept as well */
    r = smp_peer_cmd(&sender, &q.ntf, sx_bytes(q.ntf_id, 24), &nsub);
    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_SOK);
    assert_false(r->sok.has_service_id);
    smp_peer_close(&p);
    smp_peer_close(&sender);
    restart(&t);
    connect_service(&t, &p, &svc);
    subscribe_one(&p, NULL);
    smp_peer_close(&p);
    free_service(&svc);
    close_server(&t);
}

static void a_messaging_service_outlives_two_restarts(void **state)
{
    struct server t;
    struct service svc;
    struct smp_peer p, sender;
    struct queue q;

    (void)state;
    open_threaded(&t, true);
    make_service(&svc, 'M', SX_ED448, 3);
    connect_service(&t, &p, &svc);
    make_queue(&p, &q);
    for (int i = 0; i < 2; i++) {
        smp_peer_close(&p);
        open_peer(&t, &sender);
        send_to(&sender, &q, "kept");
        smp_peer_close(&sender);
        restart(&t);
        connect_service(&t, &p, &svc);
        subscribe_one(&p, q.rcv_id);
        expect_msg(&p, &q, "kept");
        expect_event(&p, SX_R_ALLS);
        struct sx_service_cert other = svc.cert; /* the role is kept too */
        other.role = 'N';
        struct smp_peer wrong;
        assert_int_equal(open_service(&t, &wrong, &svc, &other), SIMPLEX_E_HANDSHAKE);
    }
    smp_peer_close(&p);
    free_service(&svc);
    close_server(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_chains_of_one_to_four_certificates),
        cmocka_unit_test(has_as_many_places_as_it_is_told),
        cmocka_unit_test(refuses_what_tls_did_not_prove),
        cmocka_unit_test(refuses_five_certificates),
        cmocka_unit_test(a_notifier_service_outlives_two_restarts),
        cmocka_unit_test(a_messaging_service_outlives_two_restarts),
    };

    assert_int_equal(sx_crypto_init(), SIMPLEX_OK);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
