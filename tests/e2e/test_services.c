/* SPDX-License-Identifier: Apache-2.0 */
/* Services over real TLS: their certificates, and their queues while several threads work. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/smp_client.h"
#include "support/running_server.h"
#include "support/certs.h"

struct server {
    simplex_server *s;
    char dir[64]; /* "": nothing is kept */
    uint8_t key_hash[32];
    struct smp_peer_cfg peer;
};

static void start_again(struct server *t)
{
    simplex_server_config cfg;

    prompt_config(&cfg, 3);
    if (t->dir[0] != 0)
        cfg.dir = cfg.state_dir = t->dir;
    t->s = run_server(&cfg, t->key_hash, &t->peer);
}

static void start(struct server *t)
{
    t->dir[0] = 0;
    start_again(t);
}

static void start_kept(struct server *t)
{
    snprintf(t->dir, sizeof(t->dir), "/tmp/sx-services-XXXXXX");
    assert_non_null(mkdtemp(t->dir));
    start_again(t);
}

static void restart(struct server *t)
{
    simplex_server_stop(t->s);
    start_again(t);
}

static void stop_kept(struct server *t)
{
    char command[128];

    simplex_server_stop(t->s);
    snprintf(command, sizeof(command), "rm -rf '%s'", t->dir);
    assert_int_equal(system(command), 0);
}

struct service {
    struct test_certs certs;
    struct sx_service_cert cert;
};

static void make_service(struct service *s, uint8_t role, enum sx_alg alg, size_t n_certs)
{
    test_certs_make(alg, n_certs, &s->certs);
    s->cert =
        (struct sx_service_cert){ .role = role, .chain = s->certs.chain, .leaf = s->certs.leaf };
}

/* What TLS presents, and what the hello says: NULL: nothing. */
static simplex_rc open_service(const struct server *t, struct smp_peer *p,
                               const struct service *tls, const struct sx_service_cert *hello)
{
    struct smp_peer_cfg cfg = t->peer;

    if (tls != NULL) {
        cfg.cert_pem = sx_wr_bytes(&tls->certs.chain_pem);
        cfg.cert_key_pem = sx_wr_bytes(&tls->certs.key_pem);
    }
    cfg.service = hello;
    return smp_peer_open(p, &cfg);
}

static void connect_service(const struct server *t, struct smp_peer *p, const struct service *s)
{
    assert_int_equal(open_service(t, p, s, &s->cert), SIMPLEX_OK);
    assert_int_equal(p->session.service.role, s->cert.role);
}

static void make_queue(struct smp_peer *p, struct queue *q)
{
    const struct sx_rsp *r = new_queue(p, q, SX_ED25519, true);

    assert_int_equal(r->ids.has_service_id, p->session.service.role != 0);
}

static void send_to(struct smp_peer *p, const struct queue *q, const char *text)
{
    struct sx_cmd c = { .tag = SX_SEND, .send = { .body = sx_str(text) } };
    const struct sx_rsp *r = smp_peer_cmd(p, NULL, sx_bytes(q->snd_id, 24), &c);

    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_OK);
}

static const struct sx_rsp *ack(struct smp_peer *p, const struct queue *q, simplex_bytes id)
{
    struct sx_cmd c = { .tag = SX_ACK, .ack = { .msg_id = id } };

    return smp_peer_cmd(p, &q->rcv, sx_bytes(q->rcv_id, 24), &c);
}

static const struct sx_rsp *subs(struct smp_peer *p)
{
    struct sx_cmd c = { .tag = p->session.service.role == 'N' ? SX_NSUBS : SX_SUBS,
                        .subs = { .has_hash = true } };
    const struct sx_session_service *s = &p->session.service;

    return smp_peer_cmd(p, &s->key, sx_bytes(s->id, sizeof(s->id)), &c);
}

static const struct smp_item *expect(struct smp_peer *p, enum sx_rsp_tag tag)
{
    const struct smp_item *i = smp_peer_event(p, 5000);

    assert_non_null(i);
    assert_int_equal(i->rc, SIMPLEX_OK);
    if (i->rsp.tag != tag)
        fail_msg("%s instead of %s", sx_rsp_name(i->rsp.tag), sx_rsp_name(tag));
    return i;
}

static void expect_msg(struct smp_peer *p, const struct queue *q, const char *text)
{
    const struct smp_item *i = expect(p, SX_R_MSG);
    struct sx_rcv_msg m;
    uint8_t id[24];

    memcpy(id, i->rsp.msg.msg_id.ptr, sizeof(id));
    assert_int_equal(smp_open_msg(&i->rsp, &q->dh, &q->srv_dh, &m), SIMPLEX_OK);
    vec_assert_eq(m.body, sx_str(text), "message");
    const struct sx_rsp *r = ack(p, q, sx_bytes(id, sizeof(id)));
    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_OK);
}

/* ---- certificates ---- */

static void takes_chains_of_one_to_four_certificates(void **state)
{
    struct server t;
    struct smp_peer sender;

    (void)state;
    start(&t);
    assert_int_equal(smp_peer_open(&sender, &t.peer), SIMPLEX_OK);
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
        const struct sx_rsp *r = subs(&p);
        assert_non_null(r);
        assert_int_equal(r->tag, SX_R_SOKS);
        assert_int_equal(r->soks.count, 1);
        expect_msg(&p, &q, "kept");
        expect(&p, SX_R_ALLS);
        smp_peer_close(&p);
        test_certs_free(&svc.certs);
    }
    smp_peer_close(&sender);
    simplex_server_stop(t.s);
}

static void refuses_what_tls_did_not_prove(void **state)
{
    struct server t;
    struct service svc, other;
    struct smp_peer p;

    (void)state;
    start(&t);
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
    test_certs_free(&svc.certs);
    test_certs_free(&other.certs);
    simplex_server_stop(t.s);
}

/* More than four are too many for TLS already. */
static void refuses_five_certificates(void **state)
{
    struct server t;
    struct service svc, tls;
    struct smp_peer p;

    (void)state;
    start(&t);
    make_service(&svc, 'M', SX_ED25519, 4);
    test_certs_make(SX_ED25519, 5, &tls.certs);
    assert_int_not_equal(open_service(&t, &p, &tls, &svc.cert), SIMPLEX_OK);
    test_certs_free(&svc.certs);
    test_certs_free(&tls.certs);
    simplex_server_stop(t.s);
}

/* ---- the client of the library ---- */

struct running {
    uv_loop_t loop;
    struct sx_net *net;
    struct sx_client *client;
    struct queue q;
    bool downs, closed;
    unsigned steps;
};

static void on_up(void *user, struct sx_client *c)
{
    (void)user;
    assert_int_equal(sx_client_session(c)->service.role, 'M');
}

static void on_down(void *user, struct sx_client *c, simplex_rc rc)
{
    struct running *r = user;

    (void)c;
    (void)rc;
    r->downs = true;
}

static void on_event(void *user, struct sx_client *c, const struct sx_transmission *t,
                     const struct sx_rsp *rsp)
{
    struct running *r = user;

    (void)c;
    assert_int_equal(t->corr_id.len, 0);
    assert_int_equal(rsp->tag, SX_R_ALLS);
    r->steps++;
    uv_stop(&r->loop);
}

static void request(struct running *r, enum sx_cmd_tag tag, const struct sx_keypair *key,
                    simplex_bytes entity, sx_response_fn *done)
{
    struct sx_cmd cmd = { .tag = tag };
    struct sx_request req = { .cmd = &cmd, .key = key, .entity = entity, .done = done, .ctx = r };

    if (tag == SX_NEW) {
        cmd.new_.auth = r->q.rcv.pub;
        cmd.new_.dh = r->q.dh.pub;
        cmd.new_.subscribe = true;
        cmd.new_.mode = SX_MODE_MESSAGING;
    } else {
        cmd.subs.has_hash = true;
    }
    assert_int_equal(sx_client_send(r->client, &req), SIMPLEX_OK);
}

static void on_soks(void *user, void *ctx, simplex_rc rc, const struct sx_rsp *rsp)
{
    struct running *r = user;

    (void)ctx;
    assert_int_equal(rc, SIMPLEX_OK);
    assert_int_equal(rsp->soks.count, 1);
    r->steps++;
}

static void on_ids(void *user, void *ctx, simplex_rc rc, const struct sx_rsp *rsp)
{
    struct running *r = user;
    const struct sx_session_service *svc = &sx_client_session(r->client)->service;

    (void)ctx;
    assert_int_equal(rc, SIMPLEX_OK);
    assert_true(rsp->ids.has_service_id);
    vec_assert_eq(rsp->ids.service_id, sx_bytes(svc->id, sizeof(svc->id)), "service id");
    r->steps++;
    request(r, SX_SUBS, &svc->key, sx_bytes(svc->id, sizeof(svc->id)), on_soks);
}

static void on_net_closed(void *user)
{
    ((struct running *)user)->closed = true;
}

static void the_client_of_the_library_can_be_a_service(void **state)
{
    static const struct sx_net_callbacks callbacks = { on_up, on_down, on_event };
    struct server t;
    struct service svc;
    struct running r = { .steps = 0 };
    struct sx_server at;
    char address[256];
    size_t len = sizeof(address);

    (void)state;
    start(&t);
    make_service(&svc, 'M', SX_ED448, 2);
    struct sx_net_cfg cfg = { .service_role = 'M',
                              .service_chain_pem = sx_wr_bytes(&svc.certs.chain_pem),
                              .service_key_pem = sx_str("no key") };
    assert_int_equal(uv_loop_init(&r.loop), 0);
    assert_int_not_equal(sx_net_open(&r.loop, &cfg, &callbacks, &r, "", &r.net), SIMPLEX_OK);
    cfg.service_key_pem = sx_wr_bytes(&svc.certs.key_pem);
    assert_int_equal(sx_net_open(&r.loop, &cfg, &callbacks, &r, "", &r.net), SIMPLEX_OK);
    assert_int_equal(simplex_server_address(t.s, address, &len), SIMPLEX_OK);
    assert_int_equal(sx_server_parse(sx_str(address), &at, NULL), SIMPLEX_OK);
    assert_int_equal(sx_net_client(r.net, &at, &r.client), SIMPLEX_OK);
    assert_int_equal(sx_keypair_new(SX_ED25519, &r.q.rcv), SIMPLEX_OK);
    assert_int_equal(sx_keypair_new(SX_X25519, &r.q.dh), SIMPLEX_OK);
    request(&r, SX_NEW, &r.q.rcv, sx_bytes(NULL, 0), on_ids);
    uv_run(&r.loop, UV_RUN_DEFAULT);
    assert_int_equal(r.steps, 3); /* IDS, SOKS, ALLS */
    assert_false(r.downs);
    sx_net_close(r.net, on_net_closed, &r);
    uv_run(&r.loop, UV_RUN_DEFAULT);
    assert_true(r.closed);
    assert_int_equal(uv_loop_close(&r.loop), 0);
    test_certs_free(&svc.certs);
    simplex_server_stop(t.s);
}

/* Takes what was freed a moment ago, so that who still uses it meets nonsense. */
static void reuse_memory(void **block, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t size = 16 + 16 * (i % 32);
        block[i] = malloc(size);
        assert_non_null(block[i]);
        memset(block[i], 0x5a, size);
    }
}

static void give_up_service(struct running *r)
{
    assert_int_equal(sx_client_service(r->client, 0, sx_bytes(NULL, 0), sx_bytes(NULL, 0)),
                     SIMPLEX_OK);
}

static void drop_client(struct running *r)
{
    sx_client_drop(r->client);
}

/* Its TLS is closed only when the loop comes round again. */
static void leave_service(void (*leave)(struct running *r))
{
    static const struct sx_net_callbacks callbacks = { on_up, on_down, on_event };
    static void *block[4096];
    const struct sx_net_cfg cfg = { 0 };
    struct server t;
    struct service svc;
    struct running r = { .steps = 0 };
    struct sx_server at;
    char address[256];
    size_t len = sizeof(address);

    start(&t);
    make_service(&svc, 'M', SX_ED25519, 1);
    assert_int_equal(uv_loop_init(&r.loop), 0);
    assert_int_equal(sx_net_open(&r.loop, &cfg, &callbacks, &r, "", &r.net), SIMPLEX_OK);
    assert_int_equal(simplex_server_address(t.s, address, &len), SIMPLEX_OK);
    assert_int_equal(sx_server_parse(sx_str(address), &at, NULL), SIMPLEX_OK);
    assert_int_equal(sx_net_client(r.net, &at, &r.client), SIMPLEX_OK);
    assert_int_equal(sx_client_service(r.client, 'M', sx_wr_bytes(&svc.certs.chain_pem),
                                       sx_wr_bytes(&svc.certs.key_pem)),
                     SIMPLEX_OK);
    assert_int_equal(sx_keypair_new(SX_ED25519, &r.q.rcv), SIMPLEX_OK);
    assert_int_equal(sx_keypair_new(SX_X25519, &r.q.dh), SIMPLEX_OK);
    request(&r, SX_NEW, &r.q.rcv, sx_bytes(NULL, 0), on_ids);
    uv_run(&r.loop, UV_RUN_DEFAULT);
    leave(&r);
    for (int i = 0; i < 8; i++) {
        reuse_memory(block + 512 * i, 512);
        uv_run(&r.loop, UV_RUN_NOWAIT);
    }
    sx_net_close(r.net, on_net_closed, &r);
    uv_run(&r.loop, UV_RUN_DEFAULT);
    assert_true(r.closed);
    assert_int_equal(uv_loop_close(&r.loop), 0);
    for (size_t i = 0; i < SX_COUNT(block); i++)
        free(block[i]);
    test_certs_free(&svc.certs);
    simplex_server_stop(t.s);
}

static void a_connection_keeps_the_certificate_it_was_made_with(void **state)
{
    (void)state;
    leave_service(give_up_service);
    leave_service(drop_client);
}

/* ---- restarts ---- */

struct notifier {
    struct sx_keypair key, dh;
    uint8_t id[24];
};

static void make_notifier(struct smp_peer *p, const struct queue *q, struct notifier *n)
{
    struct sx_cmd c = { .tag = SX_NKEY };

    assert_int_equal(sx_keypair_new(SX_ED25519, &n->key), SIMPLEX_OK);
    assert_int_equal(sx_keypair_new(SX_X25519, &n->dh), SIMPLEX_OK);
    c.nkey.auth = n->key.pub;
    c.nkey.dh = n->dh.pub;
    const struct sx_rsp *r = smp_peer_cmd(p, &q->rcv, sx_bytes(q->rcv_id, 24), &c);
    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_NID);
    memcpy(n->id, r->nid.ntf_id.ptr, sizeof(n->id));
}

static void assert_soks(const struct sx_rsp *r, const uint8_t *id)
{
    uint8_t hash[16] = { 0 };

    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_SOKS);
    assert_int_equal(r->soks.count, id != NULL);
    if (id != NULL)
        sx_md5(sx_bytes(id, 24), hash);
    vec_assert_eq(sx_bytes(r->soks.hash, 16), sx_bytes(hash, 16), "hash of ids");
}

static void expect_nmsg(struct smp_peer *sender, struct smp_peer *p, const struct queue *q,
                        const struct notifier *n)
{
    struct sx_cmd c = { .tag = SX_SEND, .send = { .notify = true, .body = sx_str("ring") } };
    const struct sx_rsp *r = smp_peer_cmd(sender, NULL, sx_bytes(q->snd_id, 24), &c);

    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_OK);
    vec_assert_eq(expect(p, SX_R_NMSG)->t.entity_id, sx_bytes(n->id, 24), "notifier");
}

/* testServiceNotificationsTwoRestarts */
static void a_notifier_service_outlives_two_restarts(void **state)
{
    struct server t;
    struct service svc;
    struct smp_peer p, sender;
    struct queue q;
    struct notifier n;
    struct sx_cmd nsub = { .tag = SX_NSUB };
    uint8_t id[24];

    (void)state;
    start_kept(&t);
    make_service(&svc, 'N', SX_ED25519, 2);
    assert_int_equal(smp_peer_open(&sender, &t.peer), SIMPLEX_OK);
    make_queue(&sender, &q);
    make_notifier(&sender, &q, &n);
    connect_service(&t, &p, &svc);
    memcpy(id, p.session.service.id, sizeof(id));
    const struct sx_rsp *r = smp_peer_cmd(&p, &n.key, sx_bytes(n.id, 24), &nsub);
    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_SOK);
    expect_nmsg(&sender, &p, &q, &n);
    for (int i = 0; i < 2; i++) { /* the second one reads what the first has rewritten */
        smp_peer_close(&p);
        smp_peer_close(&sender);
        restart(&t);
        assert_int_equal(smp_peer_open(&sender, &t.peer), SIMPLEX_OK);
        connect_service(&t, &p, &svc);
        assert_memory_equal(p.session.service.id, id, sizeof(id));
        assert_soks(subs(&p), n.id);
        expect_nmsg(&sender, &p, &q, &n);
    }
    /* taken back: that is kept as well */
    r = smp_peer_cmd(&sender, &n.key, sx_bytes(n.id, 24), &nsub);
    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_SOK);
    assert_false(r->sok.has_service_id);
    smp_peer_close(&p);
    smp_peer_close(&sender);
    restart(&t);
    connect_service(&t, &p, &svc);
    assert_soks(subs(&p), NULL);
    smp_peer_close(&p);
    test_certs_free(&svc.certs);
    stop_kept(&t);
}

static void a_messaging_service_outlives_two_restarts(void **state)
{
    struct server t;
    struct service svc;
    struct smp_peer p, sender;
    struct queue q;

    (void)state;
    start_kept(&t);
    make_service(&svc, 'M', SX_ED448, 3);
    connect_service(&t, &p, &svc);
    make_queue(&p, &q);
    for (int i = 0; i < 2; i++) {
        smp_peer_close(&p);
        assert_int_equal(smp_peer_open(&sender, &t.peer), SIMPLEX_OK);
        send_to(&sender, &q, "kept");
        smp_peer_close(&sender);
        restart(&t);
        connect_service(&t, &p, &svc);
        assert_soks(subs(&p), q.rcv_id);
        expect_msg(&p, &q, "kept");
        expect(&p, SX_R_ALLS);
        struct sx_service_cert other = svc.cert; /* the role is kept too */
        other.role = 'N';
        struct smp_peer wrong;
        assert_int_equal(open_service(&t, &wrong, &svc, &other), SIMPLEX_E_HANDSHAKE);
    }
    smp_peer_close(&p);
    test_certs_free(&svc.certs);
    stop_kept(&t);
}

/* ---- several threads ---- */

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

    assert_int_equal(smp_peer_open(&p, &s->t->peer), SIMPLEX_OK);
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
    unsigned k = 0;
    uint8_t id[24];

    while (k < QUEUES && memcmp(q[k].rcv_id, i->t.entity_id.ptr, 24) != 0)
        k++;
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
    start(&t);
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
        const struct sx_rsp *r = subs(&p[which]);
        assert_non_null(r);
        assert_int_equal(r->tag, SX_R_SOKS);
        assert_int_equal(r->soks.count, QUEUES);
    }
    for (unsigned i = 0; i < 2; i++)
        pthread_join(s[i].thread, NULL);
    for (size_t i = 0; i < QUEUES; i++)
        assert_int_equal(tally.got[i], ROUNDS);
    simplex_server_counters c = { .size = sizeof(c) };
    assert_int_equal(simplex_server_count(t.s, &c), SIMPLEX_OK);
    assert_int_equal(c.messages, 0);
    smp_peer_close(&p[0]);
    smp_peer_close(&p[1]);
    test_certs_free(&svc.certs);
    simplex_server_stop(t.s);
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
        unsigned k = 0;
        while (k < HANDS && !sx_bytes_eq(i->t.entity_id, sx_bytes(q[k].rcv_id, 24)))
            k++;
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
        assert_int_equal(smp_peer_open(p, &h->t->peer), SIMPLEX_OK);
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
        if (h->service != NULL && turn % 5 == 0) {
            r = subs(&p);
            assert_non_null(r);
            assert_int_equal(r->tag, SX_R_SOKS);
            assert_in_range(r->soks.count, 0, HANDS);
        }
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
    start(&t);
    make_service(&svc[0], 'M', SX_ED25519, 1);
    make_service(&svc[1], 'M', SX_ED25519, 2);
    assert_int_equal(smp_peer_open(&owner, &t.peer), SIMPLEX_OK);
    assert_int_equal(smp_peer_open(&sender, &t.peer), SIMPLEX_OK);
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
    simplex_server_counters c = { .size = sizeof(c) };
    assert_int_equal(simplex_server_count(t.s, &c), SIMPLEX_OK);
    assert_int_equal(c.messages, 0);
    smp_peer_close(&owner);
    smp_peer_close(&sender);
    test_certs_free(&svc[0].certs);
    test_certs_free(&svc[1].certs);
    simplex_server_stop(t.s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_chains_of_one_to_four_certificates),
        cmocka_unit_test(refuses_what_tls_did_not_prove),
        cmocka_unit_test(refuses_five_certificates),
        cmocka_unit_test(the_client_of_the_library_can_be_a_service),
        cmocka_unit_test(a_connection_keeps_the_certificate_it_was_made_with),
        cmocka_unit_test(a_notifier_service_outlives_two_restarts),
        cmocka_unit_test(a_messaging_service_outlives_two_restarts),
        cmocka_unit_test(loses_nothing_while_connections_take_over),
        cmocka_unit_test(queues_change_hands_on_several_threads),
    };

    assert_int_equal(sx_crypto_init(), SIMPLEX_OK);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
