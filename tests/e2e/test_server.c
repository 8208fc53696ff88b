/* SPDX-License-Identifier: Apache-2.0 */
/* The server over real TLS sockets: normal use, several loops, hostile and slow clients. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "support/running_server.h"

/* ---- fixture ---- */

static simplex_server_config config(void)
{
    simplex_server_config cfg;

    prompt_config(&cfg, 3);
    return cfg;
}

struct server {
    simplex_server *s;
    uint8_t key_hash[32];
    struct smp_peer_cfg peer;
};

static void start_with(struct server *t, simplex_server_config *cfg)
{
    t->s = run_server(cfg, t->key_hash, &t->peer);
}

static void start(struct server *t)
{
    simplex_server_config cfg = config();

    start_with(t, &cfg);
}

static void open_peer(struct server *t, struct smp_peer *p)
{
    assert_int_equal(smp_peer_open(p, &t->peer), SIMPLEX_OK);
}

static simplex_bytes rcv_id(const struct queue *q)
{
    return sx_bytes(q->rcv_id, 24);
}

static simplex_bytes snd_id(const struct queue *q)
{
    return sx_bytes(q->snd_id, 24);
}

static struct sx_cmd send_cmd(const char *text)
{
    return (struct sx_cmd){ .tag = SX_SEND, .send = { .body = sx_str(text) } };
}

static void assert_ok(const struct sx_rsp *r)
{
    assert_non_null(r);
    if (r->tag != SX_R_OK)
        fail_msg("%s instead of OK", sx_rsp_name(r->tag));
}

static void assert_err(const struct sx_rsp *r, enum sx_err err)
{
    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_ERR);
    assert_int_equal(r->err.err, err);
}

static void assert_msg(const struct queue *q, const struct sx_rsp *r, const char *text)
{
    struct sx_rcv_msg m;

    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_MSG);
    assert_int_equal(smp_open_msg(r, &q->dh, &q->srv_dh, &m), SIMPLEX_OK);
    vec_assert_eq(m.body, sx_str(text), "message");
}

static const struct sx_rsp *ack(struct smp_peer *p, const struct queue *q, const struct sx_rsp *msg)
{
    struct sx_cmd c = { .tag = SX_ACK, .ack = { .msg_id = msg->msg.msg_id } };

    return smp_peer_cmd(p, &q->rcv, rcv_id(q), &c);
}

static const struct sx_rsp *event(struct smp_peer *p, enum sx_rsp_tag tag)
{
    const struct smp_item *i = smp_peer_event(p, 20000);

    assert_non_null(i);
    assert_int_equal(i->rc, SIMPLEX_OK);
    if (i->rsp.tag != tag)
        fail_msg("%s instead of %s", sx_rsp_name(i->rsp.tag), sx_rsp_name(tag));
    return &i->rsp;
}

/* ---- use ---- */

static void delivers_a_message_between_two_connections(void **state)
{
    struct server t;
    struct smp_peer a, b;
    struct queue q;
    struct sx_cmd skey = { .tag = SX_SKEY }, hello = send_cmd("hello");

    (void)state;
    start(&t);
    open_peer(&t, &a);
    open_peer(&t, &b);
    assert_int_equal(a.session.version, SX_SMP_MAX);
    assert_true(a.session.encrypted);
    new_queue(&a, &q, SX_ED25519, true);
    skey.key.key = q.snd.pub;
    assert_ok(smp_peer_cmd(&b, &q.snd, snd_id(&q), &skey));
    assert_err(smp_peer_cmd(&b, NULL, snd_id(&q), &hello), SX_ERR_AUTH);
    assert_ok(smp_peer_cmd(&b, &q.snd, snd_id(&q), &hello));
    const struct sx_rsp *msg = event(&a, SX_R_MSG);
    struct sx_rsp copy = *msg;
    assert_msg(&q, msg, "hello");
    assert_ok(ack(&a, &q, &copy));
    simplex_server_counters c = server_counters(t.s);
    assert_int_equal(c.connections, 2);
    assert_int_equal(c.accepted, 2);
    assert_int_equal(c.queues, 1);
    assert_int_equal(c.messages, 0);
    smp_peer_close(&a);
    wait_connections(t.s, 1);
    smp_peer_close(&b);
    simplex_server_stop(t.s);
}

static void serves_every_version(void **state)
{
    struct server t;
    struct smp_peer a;
    struct queue q;

    (void)state;
    start(&t);
    for (uint16_t v = SX_SMP_MIN; v <= SX_SMP_MAX; v++) {
        t.peer.max = v;
        t.peer.no_key = v % 2 == 0;
        t.peer.no_alpn = v == SX_SMP_MIN;
        open_peer(&t, &a);
        assert_int_equal(a.session.version, v);
        assert_int_equal(a.session.encrypted, v >= 11 && !t.peer.no_key);
        new_queue(&a, &q, SX_ED25519, true);
        struct sx_cmd hello = send_cmd("hello");
        assert_ok(smp_peer_cmd(&a, NULL, snd_id(&q), &hello));
        struct sx_rsp msg = *event(&a, SX_R_MSG);
        assert_msg(&q, &msg, "hello");
        assert_ok(ack(&a, &q, &msg));
        smp_peer_close(&a);
    }
    simplex_server_stop(t.s);
}

static void offers_only_the_versions_of_its_configuration(void **state)
{
    simplex_server_config cfg = config();
    struct server t;
    struct smp_peer a;

    (void)state;
    cfg.min_version = 7;
    cfg.max_version = 8;
    start_with(&t, &cfg);
    open_peer(&t, &a);
    assert_int_equal(a.session.version, 8);
    smp_peer_close(&a);
    t.peer.min = 9;
    assert_int_equal(smp_peer_open(&a, &t.peer), SIMPLEX_E_VERSION);
    simplex_server_stop(t.s);
}

static void flushes_ends_by_timer(void **state)
{
    simplex_server_config cfg = config();
    struct server t;
    struct smp_peer a, b;
    struct queue q;
    struct sx_cmd sub = { .tag = SX_SUB };

    (void)state;
    cfg.end_flush_ms = 300;
    start_with(&t, &cfg);
    open_peer(&t, &a);
    open_peer(&t, &b);
    new_queue(&a, &q, SX_ED25519, true);
    const struct sx_rsp *r = smp_peer_cmd(&b, &q.rcv, rcv_id(&q), &sub);
    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_SOK);
    event(&a, SX_R_END);
    smp_peer_close(&a);
    smp_peer_close(&b);
    simplex_server_stop(t.s);
}

static void keeps_its_state_when_connections_are_dropped(void **state)
{
    struct server t;
    struct smp_peer a, b;
    struct queue q;
    struct sx_cmd sub = { .tag = SX_SUB }, one = send_cmd("one"), two = send_cmd("two");

    (void)state;
    start(&t);
    open_peer(&t, &a);
    open_peer(&t, &b);
    new_queue(&a, &q, SX_ED25519, true);
    assert_ok(smp_peer_cmd(&b, NULL, snd_id(&q), &one));
    event(&a, SX_R_MSG);
    simplex_server_drop_connections(t.s);
    assert_true(smp_peer_wait_closed(&a, 20000));
    assert_true(smp_peer_wait_closed(&b, 20000));
    wait_connections(t.s, 0);
    smp_peer_close(&a);
    smp_peer_close(&b);
    assert_int_equal(server_counters(t.s).queues, 1);
    assert_int_equal(server_counters(t.s).messages, 1);
    open_peer(&t, &b);
    assert_ok(smp_peer_cmd(&b, NULL, snd_id(&q), &two));
    open_peer(&t, &a);
    const struct sx_rsp *r = smp_peer_cmd(&a, &q.rcv, rcv_id(&q), &sub);
    assert_int_equal(r->tag, SX_R_SOK);
    struct sx_rsp msg = *event(&a, SX_R_MSG);
    assert_msg(&q, &msg, "one");
    assert_msg(&q, ack(&a, &q, &msg), "two");
    smp_peer_close(&a);
    smp_peer_close(&b);
    simplex_server_stop(t.s);
}

/* ---- several threads ---- */

#define WORKERS 4
#define ROUNDS 60

struct worker {
    struct server *t;
    struct queue *shared; /* all of them subscribe to it in turn */
    pthread_t thread;
    unsigned received;
    const char *failed;
};

static struct sx_cmd ack_cmd(const struct sx_rsp *msg)
{
    return (struct sx_cmd){ .tag = SX_ACK, .ack = { .msg_id = msg->msg.msg_id } };
}

/* One's own queue: send from here, receive here; and the shared queue: send, subscribe, ack. */
static const char *work(struct worker *w, struct smp_peer *p)
{
    struct sx_cmd new = { .tag = SX_NEW }, hello = send_cmd("hello"), sub = { .tag = SX_SUB };
    struct sx_cmd del = { .tag = SX_DEL };
    struct sx_keypair rcv, dh;
    uint8_t id[2][24];
    simplex_bytes rid = sx_bytes(id[0], 24), sid = sx_bytes(id[1], 24);

    if (sx_keypair_new(SX_ED25519, &rcv) != SIMPLEX_OK ||
        sx_keypair_new(SX_X25519, &dh) != SIMPLEX_OK)
        return "keys";
    new.new_.auth = rcv.pub;
    new.new_.dh = dh.pub;
    new.new_.subscribe = true;
    const struct sx_rsp *r = smp_peer_cmd(p, &rcv, sx_bytes(NULL, 0), &new);
    if (r == NULL || r->tag != SX_R_IDS)
        return "NEW";
    memcpy(id[0], r->ids.rcv_id.ptr, 24);
    memcpy(id[1], r->ids.snd_id.ptr, 24);
    for (int i = 0; i < ROUNDS; i++) {
        r = smp_peer_cmd(p, NULL, sid, &hello);
        if (r == NULL || r->tag != SX_R_OK)
            return "SEND";
        r = smp_peer_cmd(p, NULL, snd_id(w->shared), &hello);
        if (r == NULL || (r->tag != SX_R_OK && r->err.err != SX_ERR_QUOTA))
            return "SEND to the shared queue";
        if (i % 10 == 0) {
            r = smp_peer_cmd(p, &w->shared->rcv, rcv_id(w->shared), &sub);
            if (r == NULL || r->tag != SX_R_SOK)
                return "SUB";
        }
        for (const struct smp_item *e = smp_peer_event(p, 0); e != NULL; e = smp_peer_event(p, 0)) {
            if (e->rsp.tag != SX_R_MSG)
                continue; /* END of the shared queue */
            bool own = sx_bytes_eq(e->t.entity_id, rid);
            struct sx_cmd ack = ack_cmd(&e->rsp);
            r = smp_peer_cmd(p, own ? &rcv : &w->shared->rcv, own ? rid : rcv_id(w->shared), &ack);
            if (r == NULL)
                return "ACK";
            w->received += own;
            while (r->tag == SX_R_MSG) {
                ack = ack_cmd(r);
                r = smp_peer_cmd(p, own ? &rcv : &w->shared->rcv, own ? rid : rcv_id(w->shared),
                                 &ack);
                if (r == NULL)
                    return "ACK";
                w->received += own;
            }
        }
        smp_peer_forget(p);
    }
    while (w->received < ROUNDS) {
        const struct smp_item *e = smp_peer_event(p, 20000);
        if (e == NULL)
            return "messages are missing";
        if (e->rsp.tag != SX_R_MSG || !sx_bytes_eq(e->t.entity_id, rid))
            continue;
        struct sx_cmd ack = ack_cmd(&e->rsp);
        r = smp_peer_cmd(p, &rcv, rid, &ack);
        for (w->received++; r != NULL && r->tag == SX_R_MSG; w->received++) {
            ack = ack_cmd(r);
            r = smp_peer_cmd(p, &rcv, rid, &ack);
        }
    }
    r = smp_peer_cmd(p, &rcv, rid, &del);
    return r != NULL && r->tag == SX_R_OK ? NULL : "DEL";
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct smp_peer p;

    if (smp_peer_open(&p, &w->t->peer) != SIMPLEX_OK) {
        w->failed = "connect";
        return NULL;
    }
    w->failed = work(w, &p);
    smp_peer_close(&p);
    return NULL;
}

static void serves_connections_on_several_threads(void **state)
{
    struct worker w[WORKERS];
    struct server t;
    struct smp_peer a;
    struct queue q;
    struct sx_cmd del = { .tag = SX_DEL };

    (void)state;
    start(&t);
    open_peer(&t, &a);
    new_queue(&a, &q, SX_ED25519, true);
    for (size_t i = 0; i < WORKERS; i++) {
        w[i] = (struct worker){ .t = &t, .shared = &q };
        assert_int_equal(pthread_create(&w[i].thread, NULL, worker_main, &w[i]), 0);
    }
    for (size_t i = 0; i < WORKERS; i++)
        pthread_join(w[i].thread, NULL);
    for (size_t i = 0; i < WORKERS; i++) {
        if (w[i].failed != NULL)
            fail_msg("worker %zu: %s", i, w[i].failed);
        assert_int_equal(w[i].received, ROUNDS);
    }
    assert_ok(smp_peer_cmd(&a, &q.rcv, rcv_id(&q), &del));
    assert_int_equal(server_counters(t.s).queues, 0);
    assert_int_equal(server_counters(t.s).messages, 0);
    smp_peer_close(&a);
    simplex_server_stop(t.s);
}

/* testConcurrentSendDelivery, with real threads */
struct sender {
    struct server *t;
    const struct queue *q;
    pthread_t thread;
    unsigned sent;
};

static void *sender_main(void *arg)
{
    struct sender *s = arg;
    struct smp_peer p;
    struct sx_cmd hello = send_cmd("concurrent");

    if (smp_peer_open(&p, &s->t->peer) != SIMPLEX_OK)
        return NULL;
    while (s->sent < 50) {
        const struct sx_rsp *r = smp_peer_cmd(&p, NULL, snd_id(s->q), &hello);
        if (r == NULL || r->tag != SX_R_OK)
            break;
        s->sent++;
    }
    smp_peer_close(&p);
    return NULL;
}

static void delivers_what_two_senders_send_at_once(void **state)
{
    struct server t;
    struct smp_peer a;
    struct queue q;
    struct sender s[2];

    (void)state;
    start(&t);
    open_peer(&t, &a);
    new_queue(&a, &q, SX_ED25519, true);
    for (size_t i = 0; i < 2; i++) {
        s[i] = (struct sender){ .t = &t, .q = &q };
        assert_int_equal(pthread_create(&s[i].thread, NULL, sender_main, &s[i]), 0);
    }
    struct sx_rsp msg = { .tag = SX_R_OK };
    for (int i = 0; i < 100; i++) {
        if (msg.tag != SX_R_MSG)
            msg = *event(&a, SX_R_MSG);
        assert_msg(&q, &msg, "concurrent");
        const struct sx_rsp *r = ack(&a, &q, &msg);
        assert_non_null(r);
        msg = *r;
    }
    assert_int_equal(msg.tag, SX_R_OK);
    for (size_t i = 0; i < 2; i++) {
        pthread_join(s[i].thread, NULL);
        assert_int_equal(s[i].sent, 50);
    }
    assert_int_equal(server_counters(t.s).messages, 0);
    smp_peer_close(&a);
    simplex_server_stop(t.s);
}

static void spreads_connections_over_its_threads(void **state)
{
    struct server t;
    static struct smp_peer p[30];
    struct sx_cmd ping = { .tag = SX_PING };

    (void)state;
    start(&t);
    for (size_t i = 0; i < SX_COUNT(p); i++)
        open_peer(&t, &p[i]);
    assert_int_equal(server_counters(t.s).connections, SX_COUNT(p));
    for (size_t i = 0; i < SX_COUNT(p); i++) {
        const struct sx_rsp *r = smp_peer_cmd(&p[i], NULL, sx_bytes(NULL, 0), &ping);
        assert_non_null(r);
        assert_int_equal(r->tag, SX_R_PONG);
        smp_peer_close(&p[i]);
    }
    wait_connections(t.s, 0);
    simplex_server_stop(t.s);
}

/* ---- bad clients ---- */

static void closes_connections_with_undecryptable_blocks(void **state)
{
    struct server t;
    struct smp_peer a;
    static uint8_t noise[SX_BLOCK];

    (void)state;
    start(&t);
    open_peer(&t, &a);
    sx_random(noise, sizeof(noise));
    assert_int_equal(smp_peer_send_raw(&a, sx_bytes(noise, sizeof(noise))), SIMPLEX_OK);
    assert_true(smp_peer_wait_closed(&a, 20000));
    smp_peer_close(&a);
    wait_connections(t.s, 0);
    simplex_server_stop(t.s);
}

static void answers_malformed_blocks_and_goes_on(void **state)
{
    static const char *const contents[] = {
        "", "\0", "\1", "\1\0\1", "\2\0\0\0\0x", "\1\0\4xxxxyy"
    };
    static const size_t len[] = { 0, 1, 1, 3, 6, 9 };
    struct server t;
    struct smp_peer a;
    struct sx_cmd ping = { .tag = SX_PING };

    (void)state;
    start(&t);
    open_peer(&t, &a);
    for (size_t i = 0; i < SX_COUNT(contents); i++) {
        assert_int_equal(smp_peer_send_content(&a, sx_bytes(contents[i], len[i])), SIMPLEX_OK);
        const struct smp_item *e = smp_peer_event(&a, 20000);
        assert_non_null(e);
        assert_err(&e->rsp, SX_ERR_BLOCK);
    }
    const struct sx_rsp *r = smp_peer_cmd(&a, NULL, sx_bytes(NULL, 0), &ping);
    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_PONG);
    smp_peer_close(&a);
    simplex_server_stop(t.s);
}

/* One bit of every byte of a block of commands changed in turn: an answer or a closed connection,
 * and others are served. No block encryption here, so that the changes reach the parser. */
static void survives_every_mutation_of_a_block(void **state)
{
    struct server t;
    struct smp_peer a, b;
    struct queue q;
    struct smp_batch batch;
    struct sx_cmd sub = { .tag = SX_SUB }, hello = send_cmd("hello"), ping = { .tag = SX_PING };

    (void)state;
    start(&t);
    t.peer.no_key = true;
    open_peer(&t, &a);
    open_peer(&t, &b);
    new_queue(&a, &q, SX_ED25519, true);
    smp_batch_init(&batch);
    assert_int_equal(smp_batch_add(&batch, &a, &q.rcv, NULL, rcv_id(&q), &sub), SIMPLEX_OK);
    assert_int_equal(smp_batch_add(&batch, &a, NULL, NULL, snd_id(&q), &hello), SIMPLEX_OK);
    for (size_t i = 0; i < batch.w.len; i++) {
        uint8_t copy[SX_BLOCK];
        memcpy(copy, batch.buf, batch.w.len);
        copy[i] ^= (uint8_t)(1u << (i % 8));
        assert_int_equal(smp_peer_send_content(&a, sx_bytes(copy, batch.w.len)), SIMPLEX_OK);
        const struct smp_item *e = smp_peer_next(&a, 20000);
        assert_non_null(e);
        assert_int_equal(e->rc, SIMPLEX_OK);
        while (smp_peer_next(&a, 0) != NULL)
            ;
        smp_peer_forget(&a);
    }
    const struct sx_rsp *r = smp_peer_cmd(&b, NULL, sx_bytes(NULL, 0), &ping);
    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_PONG);
    smp_peer_close(&a);
    smp_peer_close(&b);
    simplex_server_stop(t.s);
}

static bool socket_closed(int fd, int timeout_ms)
{
    struct timeval tv = { .tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000 };
    uint8_t buf[4096];
    ssize_t n;

    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)), 0);
    while ((n = recv(fd, buf, sizeof(buf), 0)) > 0)
        ; /* an alert */
    return n == 0 || errno == ECONNRESET;
}

static void closes_connections_that_are_not_tls(void **state)
{
    struct server t;

    (void)state;
    start(&t);
    int fd = smp_peer_socket(&t.peer);
    assert_true(fd >= 0);
    assert_int_equal(send(fd, "GET / HTTP/1.1\r\n\r\n", 18, MSG_NOSIGNAL), 18);
    assert_true(socket_closed(fd, 20000));
    close(fd);
    wait_connections(t.s, 0);
    simplex_server_stop(t.s);
}

static void gives_up_on_half_open_connections(void **state)
{
    simplex_server_config cfg = config();
    struct server t;
    struct smp_peer a;
    int fd[20];

    (void)state;
    cfg.tls_timeout_ms = 4000; /* a proper one is to be done by then */
    start_with(&t, &cfg);
    open_peer(&t, &a); /* and is not touched */
    for (size_t i = 0; i < SX_COUNT(fd); i++) {
        fd[i] = smp_peer_socket(&t.peer);
        assert_true(fd[i] >= 0);
        if (i % 2 == 0) /* the start of a ClientHello */
            assert_int_equal(send(fd[i], "\x16\x03\x01\x02\x00\x01", 6, MSG_NOSIGNAL), 6);
    }
    for (size_t i = 0; i < SX_COUNT(fd); i++) {
        assert_true(socket_closed(fd[i], 20000));
        close(fd[i]);
    }
    wait_connections(t.s, 1);
    struct sx_cmd ping = { .tag = SX_PING };
    const struct sx_rsp *r = smp_peer_cmd(&a, NULL, sx_bytes(NULL, 0), &ping);
    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_PONG);
    smp_peer_close(&a);
    simplex_server_stop(t.s);
}

/* TLS is up, but the SMP hello never comes. */
static void gives_up_on_an_unfinished_handshake(void **state)
{
    simplex_server_config cfg = config();
    struct server t;
    struct sx_tls_ctx *ctx;
    struct sx_tls *tls;
    uint8_t buf[32768];

    (void)state;
    cfg.handshake_timeout_ms = 6000; /* TLS is to be up by then */
    start_with(&t, &cfg);
    int fd = smp_peer_socket(&t.peer);
    assert_true(fd >= 0);
    assert_int_equal(sx_tls_ctx_client(&ctx), SIMPLEX_OK);
    assert_int_equal(sx_tls_new(ctx, t.key_hash, &tls), SIMPLEX_OK);
    assert_int_equal(sx_tls_start(tls), SIMPLEX_OK);
    while (!sx_tls_ready(tls)) {
        simplex_bytes out = sx_tls_pending(tls);
        assert_int_equal(send(fd, out.ptr, out.len, MSG_NOSIGNAL), (ssize_t)out.len);
        sx_tls_consume(tls, out.len);
        ssize_t n = recv(fd, buf, sizeof(buf), 0);
        assert_true(n > 0);
        assert_int_equal(sx_tls_feed(tls, sx_bytes(buf, (size_t)n)), SIMPLEX_OK);
    }
    simplex_bytes out = sx_tls_pending(tls);
    assert_int_equal(send(fd, out.ptr, out.len, MSG_NOSIGNAL), (ssize_t)out.len);
    assert_true(socket_closed(fd, 20000));
    close(fd);
    sx_tls_free(tls);
    sx_tls_ctx_free(ctx);
    wait_connections(t.s, 0);
    simplex_server_stop(t.s);
}

/* A client that floods without reading is held back: the socket takes no more in the end. */
static void holds_back_a_client_that_does_not_read(void **state)
{
    struct server t;
    struct smp_peer a, b;
    struct smp_batch batch;
    struct sx_cmd ping = { .tag = SX_PING };
    struct timeval tv = { .tv_usec = 500000 };
    unsigned sent = 0;

    (void)state;
    start(&t);
    t.peer.rcvbuf = 16384;
    open_peer(&t, &a);
    t.peer.rcvbuf = 0;
    open_peer(&t, &b);
    assert_int_equal(setsockopt(a.fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)), 0);
    smp_batch_init(&batch);
    assert_int_equal(smp_batch_add(&batch, &a, NULL, NULL, sx_bytes(NULL, 0), &ping), SIMPLEX_OK);
    while (sent < 6000 && smp_batch_send(&batch, &a) == SIMPLEX_OK)
        sent++;
    assert_true(sent < 6000); /* 96 MB would mean that somebody collects them */
    const struct sx_rsp *r = smp_peer_cmd(&b, NULL, sx_bytes(NULL, 0), &ping);
    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_PONG);
    smp_peer_close(&a);
    wait_connections(t.s, 1);
    smp_peer_close(&b);
    simplex_server_stop(t.s);
}

static void closes_a_client_that_takes_no_data(void **state)
{
    simplex_server_config cfg = config();
    struct server t;
    struct smp_peer a;
    struct smp_batch batch;
    struct sx_cmd ping = { .tag = SX_PING };
    struct timeval tv = { .tv_usec = 200000 };

    (void)state;
    cfg.stall_timeout_ms = 3000; /* the hello does not fit into the small buffer either */
    start_with(&t, &cfg);
    t.peer.rcvbuf = 16384;
    open_peer(&t, &a);
    assert_int_equal(setsockopt(a.fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)), 0);
    smp_batch_init(&batch);
    assert_int_equal(smp_batch_add(&batch, &a, NULL, NULL, sx_bytes(NULL, 0), &ping), SIMPLEX_OK);
    for (int i = 0; i < 6000 && smp_batch_send(&batch, &a) == SIMPLEX_OK; i++)
        ;
    wait_connections(t.s, 0);
    smp_peer_close(&a);
    simplex_server_stop(t.s);
}

static void closes_a_client_that_leaves_a_block_unfinished(void **state)
{
    simplex_server_config cfg = config();
    struct server t;
    struct smp_peer a, b;

    (void)state;
    cfg.stall_timeout_ms = 1000;
    start_with(&t, &cfg);
    open_peer(&t, &a);
    open_peer(&t, &b); /* says nothing at all, which is fine */
    assert_int_equal(smp_peer_send_raw(&a, sx_str("half a block")), SIMPLEX_OK);
    wait_connections(t.s, 1);
    smp_peer_close(&a);
    smp_peer_close(&b);
    simplex_server_stop(t.s);
}

/* Hundreds of messages for a client that reads late: all of them arrive. */
static void delivers_to_a_slow_reader(void **state)
{
    enum { N = 300 };
    struct server t;
    struct smp_peer a, b;
    static struct queue q[N];
    struct sx_cmd hello = send_cmd("slow"), ping = { .tag = SX_PING };

    (void)state;
    start(&t);
    t.peer.rcvbuf = 16384;
    open_peer(&t, &a);
    t.peer.rcvbuf = 0;
    open_peer(&t, &b);
    for (size_t i = 0; i < N; i++)
        new_queue(&a, &q[i], SX_ED25519, true);
    for (size_t i = 0; i < N; i++)
        assert_ok(smp_peer_cmd(&b, NULL, snd_id(&q[i]), &hello));
    const struct sx_rsp *r = smp_peer_cmd(&b, NULL, sx_bytes(NULL, 0), &ping);
    assert_non_null(r);
    for (size_t i = 0; i < N; i++) {
        struct sx_rsp msg = *event(&a, SX_R_MSG);
        assert_msg(&q[i], &msg, "slow");
        smp_peer_forget(&a);
    }
    smp_peer_close(&a);
    smp_peer_close(&b);
    simplex_server_stop(t.s);
}

static void limits_the_number_of_connections(void **state)
{
    simplex_server_config cfg = config();
    struct server t;
    struct smp_peer a, b;

    (void)state;
    cfg.max_connections = 1;
    start_with(&t, &cfg);
    open_peer(&t, &a);
    assert_int_not_equal(smp_peer_open(&b, &t.peer), SIMPLEX_OK);
    smp_peer_close(&a);
    wait_connections(t.s, 0);
    open_peer(&t, &b);
    smp_peer_close(&b);
    simplex_server_stop(t.s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delivers_a_message_between_two_connections),
        cmocka_unit_test(serves_every_version),
        cmocka_unit_test(offers_only_the_versions_of_its_configuration),
        cmocka_unit_test(flushes_ends_by_timer),
        cmocka_unit_test(keeps_its_state_when_connections_are_dropped),
        cmocka_unit_test(serves_connections_on_several_threads),
        cmocka_unit_test(delivers_what_two_senders_send_at_once),
        cmocka_unit_test(spreads_connections_over_its_threads),
        cmocka_unit_test(closes_connections_with_undecryptable_blocks),
        cmocka_unit_test(answers_malformed_blocks_and_goes_on),
        cmocka_unit_test(survives_every_mutation_of_a_block),
        cmocka_unit_test(closes_connections_that_are_not_tls),
        cmocka_unit_test(gives_up_on_half_open_connections),
        cmocka_unit_test(gives_up_on_an_unfinished_handshake),
        cmocka_unit_test(holds_back_a_client_that_does_not_read),
        cmocka_unit_test(closes_a_client_that_takes_no_data),
        cmocka_unit_test(closes_a_client_that_leaves_a_block_unfinished),
        cmocka_unit_test(delivers_to_a_slow_reader),
        cmocka_unit_test(limits_the_number_of_connections),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
