/* SPDX-License-Identifier: Apache-2.0 */
/* A service says hello (protocol/smp.md section 4), and what is refused; the registry behind it. */
#include "support/mem_service.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "store_index.h"

static void free_client(struct mem_client *c)
{
    mem_disconnect(c);
}

static void assert_refused(struct mem_server *m, const struct sx_service_cert *cert,
                           const struct sx_chain *tls)
{
    struct sx_services_count before, after;
    struct mem_client c;

    sx_services_count(m->srv->store, &before);
    assert_int_equal(mem_try_service(m, &c, 0, 0, cert, tls), SIMPLEX_E_HANDSHAKE);
    assert_int_equal(c.server.state, SX_S_FAILED);
    assert_int_equal(c.client.state, SX_S_FAILED);
    assert_null(c.peer.service);
    free_client(&c);
    sx_services_count(m->srv->store, &after);
    assert_memory_equal(&before, &after, sizeof(before));
}

static void services_have_their_ids_for_good(void **state)
{
    struct mem_server m;
    uint8_t id[4][24];

    (void)state;
    mem_open(&m, NULL);
    for (size_t n = 1; n <= 4; n++) { /* certificates */
        struct mem_service svc;
        struct mem_client c[2];
        mem_service_make(&svc, 'M', n);
        for (size_t i = 0; i < 2; i++) {
            mem_connect_service(&m, &c[i], (unsigned)i, 0, &svc.cert);
            assert_int_equal(c[i].server.service.role, 'M');
            assert_memory_equal(c[i].server.service.cert_hash, svc.certs.fingerprint, 32);
            assert_memory_equal(c[i].client.service.cert_hash, svc.certs.fingerprint, 32);
            assert_true(sx_pub_eq(&c[i].server.service.key.pub, &c[i].client.service.key.pub));
        }
        assert_false(sx_pub_eq(&c[0].server.service.key.pub, &c[1].server.service.key.pub));
        assert_memory_equal(c[0].client.service.id, c[1].client.service.id, 24);
        memcpy(id[n - 1], c[0].client.service.id, 24);
        for (size_t k = 0; k + 1 < n; k++)
            assert_memory_not_equal(id[k], id[n - 1], 24);
        free_client(&c[0]);
        free_client(&c[1]);
        mem_service_free(&svc);
    }
    struct sx_services_count count;
    sx_services_count(m.srv->store, &count);
    assert_int_equal(count.services[0], 0); /* none of them has done anything */
    mem_close(&m);
}

/* Services came with version 16, messaging ones with 19; below, the same client is an ordinary one
 * and its queues are nobody's. */
static void versions_without_services_make_ordinary_sessions(void **state)
{
    static const struct {
        uint8_t role;
        uint16_t since;
    } roles[] = { { 'N', 16 }, { 'M', 19 }, { 'P', 16 } };
    struct mem_server m;

    (void)state;
    mem_open(&m, NULL);
    for (size_t i = 0; i < SX_COUNT(roles); i++) {
        struct mem_service svc;
        mem_service_make(&svc, roles[i].role, 2);
        for (uint16_t v = 15; v <= 19; v++) {
            struct mem_client c;
            mem_connect_service(&m, &c, 0, v, &svc.cert);
            bool service = v >= roles[i].since;
            assert_int_equal(c.client.service.role, service ? roles[i].role : 0);
            assert_int_equal(c.server.service.role, c.client.service.role);
            assert_int_equal(c.peer.service != NULL, service);
            assert_int_equal(c.client.encrypted, true);
            if (roles[i].role == 'M') {
                struct mem_queue q;
                mem_new(&c, &q, SX_MODE_MESSAGING, true);
                struct sx_queue *stored = sx_qstore_find(m.srv->store, SX_BY_RCV, mem_rcv_id(&q));
                assert_int_equal(stored->served.svc != NULL, service);
                sx_queue_unref(stored);
            }
            free_client(&c);
        }
        mem_service_free(&svc);
    }
    mem_close(&m);
}

/* Section 14, item 4: a messaging service of version 18 may not SUBS; a notifier may NSUBS. */
static void subs_needs_version_19(void **state)
{
    struct mem_server m;
    struct mem_service svc;
    struct mem_client c, n;

    (void)state;
    mem_open(&m, NULL);
    mem_service_make(&svc, 'N', 1);
    mem_connect_service(&m, &n, 0, 18, &svc.cert);
    mem_assert_tag(mem_subs(&n), SX_R_SOKS);
    mem_connect_service(&m, &c, 0, 18, &svc.cert);
    c.client.service.role = c.server.service.role = 'M'; /* which our client does not say */
    mem_assert_cmd_err(mem_subs(&c), SX_CMD_PROHIBITED);
    free_client(&c);
    free_client(&n);
    mem_service_free(&svc);
    mem_close(&m);
}

static void a_certificate_keeps_its_role(void **state)
{
    struct mem_server m;
    struct mem_service svc;
    struct mem_client c;

    (void)state;
    mem_open(&m, NULL);
    mem_service_make(&svc, 'N', 2);
    mem_connect_service(&m, &c, 0, 0, &svc.cert);
    svc.cert.role = 'M';
    assert_refused(&m, &svc.cert, &svc.cert.chain);
    svc.cert.role = 'N';
    free_client(&c);
    mem_connect_service(&m, &c, 0, 0, &svc.cert);
    free_client(&c);
    mem_service_free(&svc);
    mem_close(&m);
}

static void the_chain_must_be_the_one_of_tls(void **state)
{
    struct mem_server m;
    struct mem_service svc, other;
    struct sx_chain none = { .count = 0 }, shorter, longer;

    (void)state;
    mem_open(&m, NULL);
    mem_service_make(&svc, 'N', 3);
    mem_service_make(&other, 'N', 3);
    shorter = longer = svc.cert.chain;
    shorter.count = 2;
    longer.cert[longer.count++] = other.cert.chain.cert[2];
    assert_refused(&m, &svc.cert, NULL);
    assert_refused(&m, &svc.cert, &none);
    assert_refused(&m, &svc.cert, &other.cert.chain);
    assert_refused(&m, &svc.cert, &shorter);
    assert_refused(&m, &svc.cert, &longer);
    struct sx_service_cert part = svc.cert; /* the same, but not a chain that leads anywhere */
    part.chain = shorter;
    part.chain.cert[1] = svc.cert.chain.cert[2];
    assert_refused(&m, &part, &part.chain);
    part.chain.count = 1; /* a leaf that did not sign itself */
    assert_refused(&m, &part, &part.chain);
    struct mem_client c;
    mem_connect_service(&m, &c, 0, 0, &svc.cert);
    free_client(&c);
    mem_service_free(&svc);
    mem_service_free(&other);
    mem_close(&m);
}

static void the_session_key_must_be_signed_by_the_leaf(void **state)
{
    struct mem_server m;
    struct mem_service svc, other;

    (void)state;
    mem_open(&m, NULL);
    mem_service_make(&svc, 'N', 2);
    mem_service_make(&other, 'N', 2);
    struct sx_service_cert wrong = svc.cert;
    wrong.leaf = other.cert.leaf;
    assert_refused(&m, &wrong, &svc.cert.chain);
    mem_service_free(&svc);
    mem_service_free(&other);
    mem_close(&m);
}

static bool count_accepted(void *user, const struct sx_service_hello *h, uint8_t id[SX_ID_LEN])
{
    int *accepted = user;

    (void)h;
    memset(id, 1, SX_ID_LEN);
    ++*accepted;
    return true;
}

/* Every part of what a service says, with a byte changed: refused, and never another identity. */
static void every_changed_byte_is_refused(void **state)
{
    struct mem_server m;
    struct mem_service svc;
    struct mem_client c;
    uint8_t id[32] = { 1 }, hello[SX_BLOCK], reply[SX_BLOCK], changed[SX_BLOCK];
    simplex_bytes content;
    bool has_reply;
    int accepted = 0;

    (void)state;
    mem_open(&m, NULL);
    mem_service_make(&svc, 'N', 1);
    memset(&c, 0, sizeof(c));
    struct sx_session_server_cfg s = { .session_id = sx_bytes(id, sizeof(id)),
                                       .key_hash = m.identity.fingerprint,
                                       .chain = &m.identity.chain,
                                       .leaf = &m.identity.leaf,
                                       .alpn = true,
                                       .peer_chain = &svc.cert.chain,
                                       .accept = count_accepted,
                                       .accept_user = &accepted };
    struct sx_session_client_cfg k = { .session_id = sx_bytes(id, sizeof(id)),
                                       .key_hash = m.identity.fingerprint,
                                       .chain = &m.identity.chain,
                                       .alpn = true,
                                       .service = &svc.cert };
    assert_int_equal(sx_session_server(&c.server, &s, hello), SIMPLEX_OK);
    assert_int_equal(sx_session_client(&c.client, &k), SIMPLEX_OK);
    assert_int_equal(sx_session_input(&c.client, hello, reply, &has_reply, &content), SIMPLEX_OK);
    size_t len = (size_t)reply[0] << 8 | reply[1];
    /* behind version, hash, X25519 key and the two flags */
    for (size_t at = 2 + 2 + 33 + 45 + 2; at < 2 + len; at++) {
        struct sx_session session = c.server;
        memcpy(changed, reply, sizeof(changed));
        changed[at] ^= 0x20;
        simplex_rc rc = sx_session_input(&session, changed, hello, &has_reply, &content);
        assert_int_equal(rc, SIMPLEX_E_HANDSHAKE);
        assert_int_equal(session.state, SX_S_FAILED);
        assert_int_equal(session.service.role, 0);
    }
    assert_int_equal(accepted, 0);
    assert_int_equal(sx_session_input(&c.server, reply, hello, &has_reply, &content), SIMPLEX_OK);
    assert_int_equal(accepted, 1);
    sx_session_wipe(&c.client);
    sx_session_wipe(&c.server);
    mem_service_free(&svc);
    mem_close(&m);
}

static void the_client_takes_only_a_real_answer(void **state)
{
    static const char *const answers[] = { "",
                                           "E HANDSHAKE BAD_SERVICE",
                                           "EHANDSHAKE BAD_SERVICE",
                                           "R",
                                           "R\x17"
                                           "12345678901234567890123",
                                           "X\x18"
                                           "123456789012345678901234" };
    struct mem_server m;
    struct mem_service svc;

    (void)state;
    mem_open(&m, NULL);
    mem_service_make(&svc, 'N', 1);
    uint8_t id[32] = { 1 }, hello[SX_BLOCK], reply[SX_BLOCK];
    simplex_bytes content;
    bool has_reply;
    struct sx_session server, client;
    struct sx_session_server_cfg s = { .session_id = sx_bytes(id, sizeof(id)),
                                       .key_hash = m.identity.fingerprint,
                                       .chain = &m.identity.chain,
                                       .leaf = &m.identity.leaf,
                                       .alpn = true };
    struct sx_session_client_cfg k = { .session_id = sx_bytes(id, sizeof(id)),
                                       .key_hash = m.identity.fingerprint,
                                       .chain = &m.identity.chain,
                                       .alpn = true,
                                       .service = &svc.cert };
    for (size_t i = 0; i < SX_COUNT(answers); i++) {
        assert_int_equal(sx_session_server(&server, &s, hello), SIMPLEX_OK);
        assert_int_equal(sx_session_client(&client, &k), SIMPLEX_OK);
        assert_int_equal(sx_session_input(&client, hello, reply, &has_reply, &content), SIMPLEX_OK);
        assert_int_equal(client.state, SX_S_WAIT_SERVICE);
        assert_int_equal(sx_session_seal(&client, sx_str("early"), reply), SIMPLEX_E_PROHIBITED);
        assert_int_equal(sx_pad(sx_str(answers[i]), hello, SX_BLOCK), SIMPLEX_OK);
        assert_int_equal(sx_session_input(&client, hello, NULL, &has_reply, &content),
                         SIMPLEX_E_HANDSHAKE);
        assert_int_equal(client.state, SX_S_FAILED);
        sx_session_wipe(&server);
    }
    mem_service_free(&svc);
    mem_close(&m);
}

/* ---- the registry ---- */

static struct sx_service *enter(struct mem_server *m, uint32_t number, uint8_t role)
{
    static const uint8_t der[4] = { 0 };
    struct sx_chain chain = { .cert = { { der, sizeof(der) } }, .count = 1 };
    uint8_t hash[32] = { 0 };

    memcpy(hash, &number, sizeof(number));
    struct sx_service *svc = sx_service_enter(m->srv->store, role, hash, &chain, 86400);
    assert_non_null(svc);
    return svc;
}

static enum sx_err join(struct mem_server *m, struct sx_queue *q, struct sx_service *svc)
{
    sx_queue_lock(m->srv->store, q);
    enum sx_err e = sx_queue_set_service(m->srv->store, q, false, svc);
    sx_queue_unlock(m->srv->store, q);
    return e;
}

static struct sx_queue *make_queue(struct mem_server *m)
{
    struct sx_queue_new n = { .rcv_key = { .alg = SX_ED25519 } };
    struct sx_queue *q;

    assert_int_equal(sx_qstore_create(m->srv->store, &n, &q), SX_ERR_NONE);
    return q;
}

static void hellos_with_fresh_certificates_leave_nothing_behind(void **state)
{
    struct sx_services_count c;
    struct mem_server m;
    uint8_t id[24];

    (void)state;
    mem_open(&m, NULL);
    for (uint32_t i = 0; i < 3 * SX_SERVICES_MAX; i++)
        sx_service_release(m.srv->store, enter(&m, i, 'M'));
    sx_services_count(m.srv->store, &c);
    assert_int_equal(c.services[0] + c.recorded + c.forgotten + c.refused, 0);
    struct sx_service *svc = enter(&m, 5, 'M');
    memcpy(id, svc->id, 24);
    assert_ptr_equal(enter(&m, 5, 'M'), svc);
    sx_service_release(m.srv->store, svc);
    assert_ptr_equal(sx_service_find(m.srv->store, sx_bytes(id, 24)), svc); /* one is still there */
    sx_service_release(m.srv->store, svc);
    assert_null(sx_service_find(m.srv->store, sx_bytes(id, 24)));
    svc = enter(&m, 5, 'M');
    assert_memory_equal(svc->id, id, 24); /* what it was told */
    assert_null(sx_service_enter(m.srv->store, 'N', svc->cert_hash, &svc->chain, 0));
    sx_service_release(m.srv->store, svc);
    svc = enter(&m, 5, 'N');
    assert_memory_not_equal(svc->id, id, 24);
    sx_service_release(m.srv->store, svc);
    mem_close(&m);
}

static void the_oldest_without_queues_make_room(void **state)
{
    struct sx_srv_cfg cfg = { .new_queues = true };
    struct sx_services_count c;
    struct mem_server m;
    struct sx_queue *q[3];
    struct sx_service *svc;

    (void)state;
    cfg.store.services = 4;
    mem_open(&m, &cfg);
    for (size_t i = 0; i < SX_COUNT(q); i++)
        q[i] = make_queue(&m);
    for (uint32_t i = 0; i < 500; i++) { /* each has a queue for a moment */
        assert_int_equal(join(&m, q[0], svc = enter(&m, 100 + i, 'M')), SX_ERR_NONE);
        assert_int_equal(join(&m, q[0], NULL), SX_ERR_NONE);
        sx_service_release(m.srv->store, svc);
    }
    sx_services_count(m.srv->store, &c);
    assert_true(c.recorded <= 4);
    assert_int_equal(c.recorded + c.forgotten, 500);
    assert_int_equal(c.refused, 0);

    for (uint32_t i = 0; i < 3; i++) { /* in use by a queue */
        assert_int_equal(join(&m, q[i], svc = enter(&m, i, 'M')), SX_ERR_NONE);
        sx_service_release(m.srv->store, svc);
    }
    struct sx_queue *r = make_queue(&m), *s = make_queue(&m);
    struct sx_service *open = enter(&m, 3, 'M'); /* by a connection */
    assert_int_equal(join(&m, r, open), SX_ERR_NONE);
    assert_int_equal(join(&m, r, NULL), SX_ERR_NONE);
    svc = enter(&m, 4, 'M');
    assert_int_equal(join(&m, s, svc), SX_ERR_QUOTA);
    assert_int_equal(join(&m, s, svc), SX_ERR_QUOTA);
    assert_null(s->served.svc);
    sx_services_count(m.srv->store, &c);
    assert_int_equal(c.refused, 2);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(join(&m, q[i], q[i]->served.svc), SX_ERR_NONE); /* they are all there */
    sx_service_release(m.srv->store, open);
    sx_service_release(m.srv->store, svc);
    for (size_t i = 0; i < SX_COUNT(q); i++)
        sx_queue_unref(q[i]);
    sx_queue_unref(r);
    sx_queue_unref(s);
    mem_close(&m);
}

/* Certificates cost nothing: somebody makes them, with n queues for each, and goes away. */
static void fill_places(struct mem_server *m, unsigned n_services, unsigned n_queues)
{
    for (unsigned i = 0; i < n_services; i++) {
        struct mem_service svc;
        struct mem_client c;
        struct mem_queue q;
        mem_service_make(&svc, 'M', 1);
        mem_connect_service(m, &c, 0, 0, &svc.cert);
        for (unsigned k = 0; k < n_queues; k++)
            mem_new(&c, &q, SX_MODE_MESSAGING, true);
        mem_disconnect(&c);
        mem_service_free(&svc);
    }
}

static void one_client_cannot_take_the_places_of_all(void **state)
{
    struct sx_srv_cfg cfg = { .new_queues = true };
    struct sx_services_count count;
    struct mem_service here, away, new_;
    struct mem_client c, d;
    struct mem_queue q, r, s;
    struct mem_server m;

    (void)state;
    cfg.store.services = 4;
    mem_open(&m, &cfg);
    mem_service_make(&here, 'M', 1);
    mem_service_make(&away, 'M', 1);
    mem_service_make(&new_, 'M', 1);
    mem_connect_service(&m, &c, 0, 0, &away.cert);
    for (unsigned i = 0; i <= SX_SERVICE_FEW; i++) /* nobody makes so many in passing */
        mem_new(&c, &q, SX_MODE_MESSAGING, true);
    mem_disconnect(&c);
    mem_connect_service(&m, &c, 0, 0, &here.cert);
    mem_new(&c, &r, SX_MODE_MESSAGING, true);
    fill_places(&m, 9, 2);
    mem_connect_service(&m, &d, 0, 0, &new_.cert);
    mem_new(&d, &s, SX_MODE_MESSAGING, true);
    sx_services_count(m.srv->store, &count);
    assert_true(count.recorded <= 4);
    assert_int_equal(count.recorded + count.forgotten, 12);
    assert_int_equal(count.refused, 0);
    assert_int_equal(sx_qstore_queues(m.srv->store), SX_SERVICE_FEW + 1 + 1 + 9 * 2 + 1);
    mem_assert_total(mem_subs(&c), SX_R_SOKS, 1, r.rcv_id); /* they are all there */
    mem_disconnect(&d);
    mem_connect_service(&m, &d, 0, 0, &away.cert);
    assert_int_equal(mem_subs(&d)->soks.count, SX_SERVICE_FEW + 1);
    mem_disconnect(&d);
    mem_disconnect(&c);
    mem_service_free(&here);
    mem_service_free(&away);
    mem_service_free(&new_);
    mem_close(&m);
}

/* Its queues are there, and join again one by one. */
static void a_service_that_was_forgotten_comes_back(void **state)
{
    struct sx_srv_cfg cfg = { .new_queues = true };
    struct sx_cmd sub = { .tag = SX_SUB };
    struct mem_service svc;
    struct mem_client c;
    struct mem_queue q;
    struct mem_server m;
    uint8_t id[24];

    (void)state;
    cfg.store.services = 2;
    mem_open(&m, &cfg);
    mem_service_make(&svc, 'M', 1);
    mem_connect_service(&m, &c, 0, 0, &svc.cert);
    memcpy(id, c.client.service.id, sizeof(id));
    mem_new(&c, &q, SX_MODE_MESSAGING, true);
    mem_disconnect(&c);
    fill_places(&m, 3, 1);
    mem_connect_service(&m, &c, 0, 0, &svc.cert);
    assert_memory_equal(c.client.service.id, id, sizeof(id));
    mem_assert_total(mem_subs(&c), SX_R_SOKS, 0);
    const struct sx_rsp *r = mem_cmd(&c, &q.rcv, sx_bytes(q.rcv_id, 24), &sub);
    mem_assert_tag(r, SX_R_SOK);
    assert_true(r->sok.has_service_id);
    mem_assert_total(mem_subs(&c), SX_R_SOKS, 1, q.rcv_id);
    mem_disconnect(&c);
    mem_service_free(&svc);
    mem_close(&m);
}

#define PARTED 10 /* times that something was to be lost, at least */

struct comer { /* comes and goes as one service */
    struct mem_server *m;
    struct sx_queue *q[SX_SERVICE_FEW];
    unsigned lost; /* queues, while it was there */
    unsigned parted;
    atomic_bool done;
};

static void *come_and_go(void *arg)
{
    struct comer *c = arg;
    uint32_t before, after;
    uint8_t hash[SX_SERVICE_HASH];

    /* However seldom the other thread gets a processor. */
    for (unsigned i = 0; i < 10000 || (c->parted <= PARTED && i < 1000000); i++) {
        struct sx_service *svc = enter(c->m, 1, 'M');
        sx_service_total(svc, &before, hash);
        usleep(20);
        sx_service_total(svc, &after, hash);
        c->lost += before - after;
        c->parted += after == 0;
        for (size_t k = 0; k < SX_COUNT(c->q); k++)
            if (join(c->m, c->q[k], svc) != SX_ERR_NONE)
                break; /* no place just now */
        sx_service_release(c->m->srv->store, svc);
        usleep(20);
    }
    atomic_store(&c->done, true);
    return NULL;
}

/* It would wait for messages of queues that it has not any more. */
static void who_comes_back_loses_no_queue_while_it_is_there(void **state)
{
    struct sx_srv_cfg cfg = { .new_queues = true, .store.services = 2 };
    struct mem_server m;
    struct comer c = { .m = &m };
    pthread_t thread;
    uint32_t number = 2;

    (void)state;
    mem_open(&m, &cfg);
    struct sx_queue *other = make_queue(&m);
    for (size_t i = 0; i < SX_COUNT(c.q); i++)
        c.q[i] = make_queue(&m);
    assert_int_equal(pthread_create(&thread, NULL, come_and_go, &c), 0);
    while (!atomic_load(&c.done)) {
        struct sx_service *svc = enter(&m, number++, 'M');
        (void)join(&m, other, svc); /* or no place */
        sx_service_release(m.srv->store, svc);
        sx_services_make_room(m.srv->store);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(c.lost, 0);
    assert_true(c.parted > PARTED); /* there was something to lose */
    for (size_t i = 0; i < SX_COUNT(c.q); i++)
        sx_queue_unref(c.q[i]);
    sx_queue_unref(other);
    mem_close(&m);
}

/* Who is connected keeps the place, and when all are, there is none. */
static void places_of_connected_services_are_taken(void **state)
{
    struct sx_srv_cfg cfg = { .new_queues = true };
    struct mem_service svc[3];
    struct mem_client c[3];
    struct mem_queue q;
    struct mem_server m;

    (void)state;
    cfg.store.services = 2;
    mem_open(&m, &cfg);
    for (size_t i = 0; i < 3; i++)
        mem_service_make(&svc[i], 'M', 2);
    for (size_t i = 0; i < 2; i++) {
        mem_connect_service(&m, &c[i], 0, 0, &svc[i].cert);
        mem_new(&c[i], &q, SX_MODE_MESSAGING, true);
    }
    mem_connect_service(&m, &c[2], 0, 0, &svc[2].cert);
    size_t queues = sx_qstore_queues(m.srv->store);
    mem_keys(&q, SX_ED25519);
    struct sx_cmd new_ = mem_new_cmd(&q, SX_MODE_MESSAGING, true);
    mem_assert_err(mem_cmd(&c[2], &q.rcv, sx_bytes(NULL, 0), &new_), SX_ERR_QUOTA);
    assert_int_equal(sx_qstore_queues(m.srv->store), queues); /* no queue is left over */
    mem_new(&c[1], &q, SX_MODE_MESSAGING, true);
    for (size_t i = 0; i < 3; i++) {
        mem_disconnect(&c[i]);
        mem_service_free(&svc[i]);
    }
    mem_close(&m);
}

static void loads_only_what_can_be(void **state)
{
    struct mem_server m;
    uint8_t der[4] = { 1, 2, 3, 4 };
    struct sx_service_rec rec = { .id = { 1 },
                                  .role = 'M',
                                  .cert_hash = { 2 },
                                  .created_s = 7,
                                  .chain = { .cert = { { der, sizeof(der) } }, .count = 1 } };
    struct sx_services_count count;
    struct mem_client a;
    struct mem_queue q;

    (void)state;
    mem_open(&m, NULL);
    struct sx_store *st = m.srv->store;
    rec.id[0] = 9;
    assert_int_equal(sx_service_load(st, &rec), SIMPLEX_OK);
    rec.id[0] = 1; /* it was forgotten without queues, and recorded anew: with another id */
    assert_int_equal(sx_service_load(st, &rec), SIMPLEX_OK);
    assert_int_equal(sx_service_load(st, &rec), SIMPLEX_OK); /* or the same */
    sx_services_count(st, &count);
    assert_int_equal(count.recorded, 1);
    rec.role = 'N';
    assert_int_equal(sx_service_load(st, &rec), SIMPLEX_E_ARG);
    rec.role = 'M';
    rec.cert_hash[0] = 3;
    assert_int_equal(sx_service_load(st, &rec), SIMPLEX_E_ARG); /* the id is there */
    rec.id[0] = 3;
    rec.role = 'X';
    assert_int_equal(sx_service_load(st, &rec), SIMPLEX_E_ARG);
    rec.role = 'N';
    rec.chain.count = 0;
    assert_int_equal(sx_service_load(st, &rec), SIMPLEX_E_ARG);
    rec.chain.count = SX_CHAIN_MAX + 1;
    assert_int_equal(sx_service_load(st, &rec), SIMPLEX_E_ARG);
    rec.chain.count = 1;
    assert_int_equal(sx_service_load(st, &rec), SIMPLEX_OK);
    assert_null(sx_service_find(st, sx_bytes(rec.id, 23)));

    struct sx_service *notifier = sx_service_find(st, sx_bytes(rec.id, 24));
    rec.id[0] = 1;
    struct sx_service *messaging = sx_service_find(st, sx_bytes(rec.id, 24));
    vec_assert_eq(messaging->chain.cert[0], sx_bytes(der, sizeof(der)), "certificate");
    mem_connect(&m, &a, 0, 0);
    mem_new(&a, &q, SX_MODE_MESSAGING, false);
    struct sx_queue *stored = sx_qstore_find(st, SX_BY_RCV, mem_rcv_id(&q));
    assert_int_equal(sx_queue_load_service(stored, false, notifier), SIMPLEX_E_ARG);
    assert_int_equal(sx_queue_load_service(stored, true, messaging), SIMPLEX_E_ARG);
    assert_int_equal(sx_queue_load_service(stored, true, notifier), SIMPLEX_E_ARG); /* has none */
    assert_int_equal(sx_queue_load_service(stored, false, messaging), SIMPLEX_OK);
    assert_int_equal(messaging->n_queues, 1);
    memset(rec.id, 5, sizeof(rec.id));
    memcpy(rec.cert_hash, messaging->cert_hash, 32);
    assert_int_equal(sx_service_load(st, &rec), SIMPLEX_E_ARG); /* it has a queue */
    assert_int_equal(sx_queue_load_service(stored, false, NULL), SIMPLEX_OK);
    assert_int_equal(messaging->n_queues, 0);
    sx_queue_unref(stored);
    mem_disconnect(&a);
    mem_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(services_have_their_ids_for_good),
        cmocka_unit_test(versions_without_services_make_ordinary_sessions),
        cmocka_unit_test(subs_needs_version_19),
        cmocka_unit_test(a_certificate_keeps_its_role),
        cmocka_unit_test(the_chain_must_be_the_one_of_tls),
        cmocka_unit_test(the_session_key_must_be_signed_by_the_leaf),
        cmocka_unit_test(every_changed_byte_is_refused),
        cmocka_unit_test(the_client_takes_only_a_real_answer),
        cmocka_unit_test(hellos_with_fresh_certificates_leave_nothing_behind),
        cmocka_unit_test(the_oldest_without_queues_make_room),
        cmocka_unit_test(one_client_cannot_take_the_places_of_all),
        cmocka_unit_test(a_service_that_was_forgotten_comes_back),
        cmocka_unit_test(who_comes_back_loses_no_queue_while_it_is_there),
        cmocka_unit_test(places_of_connected_services_are_taken),
        cmocka_unit_test(loads_only_what_can_be),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
