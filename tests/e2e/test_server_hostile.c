/* SPDX-License-Identifier: Apache-2.0 */
/* What hostile, broken and slow clients do to a running server, and that others do not notice. */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/running_server.h"
#include "support/server_process.h"

#if defined(TESTS_SANITIZED)
#define SLOW_BUILD 1
#else
#define SLOW_BUILD 0
#endif

#define PATIENCE_MS (SLOW_BUILD ? 20000 : 10000) /* nobody may wait longer for an answer */

/* ---- fixture ---- */

struct server {
    simplex_server *s;
    uint8_t key_hash[32];
    struct smp_peer_cfg peer;
};

static simplex_server_config config(void)
{
    simplex_server_config cfg;

    prompt_config(&cfg, 2);
    return cfg;
}

static void start(struct server *t, simplex_server_config *cfg)
{
    t->s = run_server(cfg, t->key_hash, &t->peer);
}

static void open_peer(const struct server *t, struct smp_peer *p)
{
    assert_int_equal(smp_peer_open(p, &t->peer), SIMPLEX_OK);
}

static void ping(struct smp_peer *p)
{
    struct sx_cmd cmd = { .tag = SX_PING };
    int64_t start = sx_mono_ms();
    const struct sx_rsp *r = smp_peer_cmd(p, NULL, sx_bytes(NULL, 0), &cmd);

    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_PONG);
    assert_true(sx_mono_ms() - start < PATIENCE_MS);
    smp_peer_forget(p);
}

/* ---- queues, many at a time ---- */

#define PER_BLOCK 60

struct many { /* queues with one pair of keys */
    struct sx_keypair key, dh;
    size_t n;
    uint8_t (*rcv)[24], (*snd)[24];
};

static struct sx_cmd new_cmd(const struct many *m)
{
    struct sx_cmd c = { .tag = SX_NEW };

    c.new_.auth = m->key.pub;
    c.new_.dh = m->dh.pub;
    c.new_.mode = SX_MODE_MESSAGING;
    return c;
}

/* n commands in a block, for these queues or for none. */
static void block(struct smp_peer *p, const struct many *m, const struct sx_cmd *cmd,
                  const uint8_t (*ids)[24], size_t n)
{
    static _Thread_local struct smp_batch b;

    smp_batch_init(&b);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(smp_batch_add(&b, p, &m->key, NULL,
                                       ids == NULL ? sx_bytes(NULL, 0) : sx_bytes(ids[i], 24), cmd),
                         SIMPLEX_OK);
    assert_int_equal(smp_batch_send(&b, p), SIMPLEX_OK);
}

static void many_make(struct smp_peer *p, struct many *m, size_t n)
{
    struct sx_cmd cmd;

    memset(m, 0, sizeof(*m));
    assert_int_equal(sx_keypair_new(SX_ED25519, &m->key), SIMPLEX_OK);
    assert_int_equal(sx_keypair_new(SX_X25519, &m->dh), SIMPLEX_OK);
    m->rcv = calloc(n, sizeof(*m->rcv));
    m->snd = calloc(n, sizeof(*m->snd));
    assert_true(m->rcv != NULL && m->snd != NULL);
    cmd = new_cmd(m);
    while (m->n < n) {
        size_t some = n - m->n < PER_BLOCK ? n - m->n : PER_BLOCK;
        block(p, m, &cmd, NULL, some);
        for (size_t i = 0; i < some; i++, m->n++) {
            const struct smp_item *it = smp_peer_next(p, 20000);
            assert_non_null(it);
            assert_int_equal(it->rsp.tag, SX_R_IDS);
            memcpy(m->rcv[m->n], it->rsp.ids.rcv_id.ptr, 24);
            memcpy(m->snd[m->n], it->rsp.ids.snd_id.ptr, 24);
        }
        smp_peer_forget(p);
    }
}

static void many_free(struct many *m)
{
    free(m->rcv);
    free(m->snd);
}

/* One message of the largest size into each queue. */
static void many_fill(struct smp_peer *p, const struct many *m)
{
    static const uint8_t body[16048];
    struct sx_cmd send = { .tag = SX_SEND, .send = { .body = sx_bytes(body, sizeof(body)) } };

    for (size_t i = 0; i < m->n; i++) {
        const struct sx_rsp *r = smp_peer_cmd(p, NULL, sx_bytes(m->snd[i], 24), &send);
        assert_non_null(r);
        assert_int_equal(r->tag, SX_R_OK);
        smp_peer_forget(p);
    }
}

/* ---- someone who is served meanwhile ---- */

struct good {
    const struct server *t;
    struct smp_peer p;
    pthread_t thread;
    pthread_mutex_t lock;
    bool stop, failed;
    unsigned pings;
    int64_t slowest_ms;
};

static bool stopping(struct good *g)
{
    pthread_mutex_lock(&g->lock);
    bool stop = g->stop;
    pthread_mutex_unlock(&g->lock);
    return stop;
}

static void *good_main(void *arg)
{
    struct good *g = arg;
    struct sx_cmd cmd = { .tag = SX_PING };

    while (!stopping(g)) {
        int64_t start = sx_mono_ms();
        const struct sx_rsp *r = smp_peer_cmd(&g->p, NULL, sx_bytes(NULL, 0), &cmd);
        if (r == NULL || r->tag != SX_R_PONG) {
            g->failed = true;
            return NULL;
        }
        int64_t took = sx_mono_ms() - start;
        g->slowest_ms = took > g->slowest_ms ? took : g->slowest_ms;
        g->pings++;
        smp_peer_forget(&g->p);
        usleep(1000);
    }
    return NULL;
}

static void good_start(struct good *g, const struct server *t)
{
    memset(g, 0, sizeof(*g));
    open_peer(t, &g->p);
    assert_int_equal(pthread_mutex_init(&g->lock, NULL), 0);
    assert_int_equal(pthread_create(&g->thread, NULL, good_main, g), 0);
}

static void good_stop(struct good *g)
{
    pthread_mutex_lock(&g->lock);
    g->stop = true;
    pthread_mutex_unlock(&g->lock);
    pthread_join(g->thread, NULL);
    pthread_mutex_destroy(&g->lock);
    smp_peer_close(&g->p);
    print_message("another client: %u answers, the slowest after %d ms\n", g->pings,
                  (int)g->slowest_ms);
    assert_false(g->failed);
    assert_true(g->pings > 0);
    assert_true(g->slowest_ms < PATIENCE_MS);
}

/* ---- floods ---- */

static simplex_bytes client_hello(const struct server *t, struct sx_tls_ctx **ctx,
                                  struct sx_tls **tls)
{
    assert_int_equal(sx_tls_ctx_client(ctx), SIMPLEX_OK);
    assert_int_equal(sx_tls_new(*ctx, t->key_hash, tls), SIMPLEX_OK);
    assert_int_equal(sx_tls_start(*tls), SIMPLEX_OK);
    return sx_tls_pending(*tls);
}

/* 300 clients of which a third says nothing, a third one byte and a third hello, and no more. */
static void serves_others_while_handshakes_stay_half_open(void **state)
{
    enum { N = 300 };
    simplex_server_config cfg = config();
    struct server t;
    struct good g;
    struct sx_tls_ctx *ctx;
    struct sx_tls *tls;
    static int fd[N];

    (void)state;
    cfg.tls_timeout_ms = SLOW_BUILD ? 16000 : 8000; /* the good ones are to be done by then */
    start(&t, &cfg);
    good_start(&g, &t);
    simplex_bytes hello = client_hello(&t, &ctx, &tls);
    for (size_t i = 0; i < N; i++) {
        fd[i] = smp_peer_socket(&t.peer);
        assert_true(fd[i] >= 0);
        size_t len = i % 3 == 0 ? 0 : i % 3 == 1 ? 1 : hello.len;
        if (len > 0)
            assert_int_equal(send(fd[i], hello.ptr, len, MSG_NOSIGNAL), (ssize_t)len);
    }
    struct smp_peer late;
    open_peer(&t, &late); /* the door is open while they stay */
    ping(&late);
    smp_peer_close(&late);
    wait_connections(t.s, 1); /* all of them were given up */
    for (size_t i = 0; i < N; i++)
        close(fd[i]);
    good_stop(&g);
    sx_tls_free(tls);
    sx_tls_ctx_free(ctx);
    simplex_server_stop(t.s);
}

struct flood {
    const struct server *t;
    unsigned rounds;
};

/* Hello, then away: each costs the server its part of the key agreement and a signature. */
static void *flood_main(void *arg)
{
    struct flood *f = arg;
    struct sx_tls_ctx *ctx;
    struct sx_tls *tls;
    simplex_bytes hello = client_hello(f->t, &ctx, &tls);

    for (unsigned i = 0; i < f->rounds; i++) {
        int fd = smp_peer_socket(&f->t->peer);
        if (fd >= 0 && send(fd, hello.ptr, hello.len, MSG_NOSIGNAL) < 0)
            usleep(1000);
        if (fd >= 0)
            close(fd);
    }
    sx_tls_free(tls);
    sx_tls_ctx_free(ctx);
    return NULL;
}

static void serves_others_during_a_flood_of_handshakes(void **state)
{
    simplex_server_config cfg = config();
    struct server t;
    struct good g;
    pthread_t thread[2];

    (void)state;
    start(&t, &cfg);
    good_start(&g, &t);
    struct flood f = { &t, SLOW_BUILD ? 100 : 500 };
    for (size_t i = 0; i < SX_COUNT(thread); i++)
        assert_int_equal(pthread_create(&thread[i], NULL, flood_main, &f), 0);
    for (size_t i = 0; i < SX_COUNT(thread); i++)
        pthread_join(thread[i], NULL);
    wait_connections(t.s, 1); /* the server has worked through what it had accepted */
    good_stop(&g);
    simplex_server_stop(t.s);
}

/* ---- slow readers ---- */

/* 9 MB for a client that reads nothing: what waits for it are references to the messages. */
static void holds_no_copies_for_a_client_that_stops_reading(void **state)
{
    simplex_server_config cfg = config();
    struct server t;
    struct smp_peer a, b;
    struct many m;
    struct sx_cmd sub = { .tag = SX_SUB };

    (void)state;
    cfg.threads = 1;
    start(&t, &cfg);
    t.peer.rcvbuf = 8192;
    open_peer(&t, &a);
    t.peer.rcvbuf = 0;
    open_peer(&t, &b);
    many_make(&b, &m, 9 * PER_BLOCK);
    many_fill(&b, &m);
    size_t before = mallinfo2().uordblks;
    for (size_t i = 0; i < m.n; i += PER_BLOCK)
        block(&a, &m, &sub, (const uint8_t(*)[24])m.rcv + i, PER_BLOCK);
    for (int i = 0; i < 20; i++)
        ping(&b); /* it goes on, and has surely seen the blocks */
    size_t after = mallinfo2().uordblks;
    print_message("memory while a client does not read: %zu KiB more\n",
                  after > before ? (after - before) / 1024 : 0);
    assert_true(after < before + ((size_t)1 << 20));
    /* It was only slow: now it gets everything. */
    unsigned msgs = 0, oks = 0;
    while (msgs < m.n || oks < m.n) {
        const struct smp_item *it = smp_peer_next(&a, 20000);
        if (it == NULL)
            fail_msg("%u messages, %u answers", msgs, oks);
        msgs += it->rsp.tag == SX_R_MSG;
        oks += it->rsp.tag == SX_R_SOK;
        smp_peer_forget(&a);
    }
    many_free(&m);
    smp_peer_close(&a);
    smp_peer_close(&b);
    simplex_server_stop(t.s);
}

static size_t read_some(int fd, size_t n)
{
    uint8_t buf[16384];
    ssize_t got = recv(fd, buf, n < sizeof(buf) ? n : sizeof(buf), MSG_DONTWAIT);

    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return SIZE_MAX;
    return got <= 0 ? 0 : (size_t)got;
}

/* For 12 s. False: this machine stood still for so long that the server may have closed it. */
static bool reads_slowly(const struct server *t, struct smp_peer *p, int64_t stall_ms)
{
    int64_t last = sx_mono_ms();

    for (int i = 0; i < 120; i++) {
        usleep(100000);
        size_t n = read_some(p->fd, 2048);
        int64_t now = sx_mono_ms();
        if (now - last > stall_ms / 2)
            return false;
        assert_int_not_equal(n, 0);
        last = now;
    }
    assert_int_equal(server_counters(t->s).connections, 2);
    return true;
}

/*
 * A reader so slow that what is written to its socket takes many times the stall timeout; then one
 * that stops. The clock of the first starts again with every bit it takes.
 */
static void closes_a_reader_when_it_stops_and_not_when_it_is_slow(void **state)
{
    simplex_server_config cfg = config();
    struct server t;
    struct smp_peer a, b;
    struct many m;
    struct sx_cmd sub = { .tag = SX_SUB };

    (void)state;
    cfg.stall_timeout_ms = 3000;
    start(&t, &cfg);
    open_peer(&t, &b);
    many_make(&b, &m, 8 * PER_BLOCK);
    many_fill(&b, &m);
    t.peer.rcvbuf = 4096;
    for (int tries = 0;; tries++) {
        assert_true(tries < 10);
        open_peer(&t, &a);
        for (size_t i = 0; i < m.n; i += PER_BLOCK)
            block(&a, &m, &sub, (const uint8_t(*)[24])m.rcv + i, PER_BLOCK);
        if (reads_slowly(&t, &a, cfg.stall_timeout_ms))
            break;
        smp_peer_close(&a);
        wait_connections(t.s, 1);
    }
    wait_connections(t.s, 1); /* now it takes nothing any more */
    ping(&b);
    many_free(&m);
    smp_peer_close(&a);
    smp_peer_close(&b);
    simplex_server_stop(t.s);
}

/* ---- slow writers ---- */

static simplex_bytes sealed_ping(struct smp_peer *p)
{
    static struct smp_batch b;
    static uint8_t block_of_ping[SX_BLOCK];
    struct sx_cmd cmd = { .tag = SX_PING };

    smp_batch_init(&b);
    assert_int_equal(smp_batch_add(&b, p, NULL, NULL, sx_bytes(NULL, 0), &cmd), SIMPLEX_OK);
    assert_int_equal(sx_session_seal(&p->session, sx_wr_bytes(&b.w), block_of_ping), SIMPLEX_OK);
    assert_int_equal(sx_tls_write(p->tls, sx_bytes(block_of_ping, SX_BLOCK)), SIMPLEX_OK);
    return sx_tls_pending(p->tls);
}

static void takes_a_block_that_comes_in_small_pieces(void **state)
{
    simplex_server_config cfg = config();
    struct server t;
    struct smp_peer a;

    (void)state;
    cfg.stall_timeout_ms = PATIENCE_MS;
    start(&t, &cfg);
    open_peer(&t, &a);
    simplex_bytes bytes = sealed_ping(&a);
    for (size_t at = 0; at < bytes.len; at += 97) {
        size_t n = bytes.len - at < 97 ? bytes.len - at : 97;
        assert_int_equal(send(a.fd, bytes.ptr + at, n, MSG_NOSIGNAL), (ssize_t)n);
        if (at % (97 * 8) == 0)
            usleep(10000);
    }
    sx_tls_consume(a.tls, bytes.len);
    const struct smp_item *it = smp_peer_next(&a, 20000);
    assert_non_null(it);
    assert_int_equal(it->rsp.tag, SX_R_PONG);
    smp_peer_close(&a);
    simplex_server_stop(t.s);
}

/* Five bytes of a TLS record make the server hold memory for 16 KB: not for long. */
static void closes_a_client_that_leaves_a_record_unfinished(void **state)
{
    simplex_server_config cfg = config();
    struct server t;
    struct smp_peer a, b;

    (void)state;
    cfg.stall_timeout_ms = 3000; /* the hellos come in less */
    start(&t, &cfg);
    open_peer(&t, &a);
    open_peer(&t, &b); /* silent, which is fine */
    simplex_bytes bytes = sealed_ping(&a);
    assert_int_equal(send(a.fd, bytes.ptr, 100, MSG_NOSIGNAL), 100);
    wait_connections(t.s, 1);
    ping(&b);
    smp_peer_close(&a);
    smp_peer_close(&b);
    simplex_server_stop(t.s);
}

/* ---- many subscriptions ---- */

static void serves_others_while_one_subscribes_to_100000_queues(void **state)
{
    size_t n = SLOW_BUILD ? 5000 : 100000;
    simplex_server_config cfg = config();
    struct server t;
    struct smp_peer a;
    struct good g;
    struct many m;
    struct sx_cmd sub = { .tag = SX_SUB }, text = { .tag = SX_SEND };

    (void)state;
    start(&t, &cfg);
    open_peer(&t, &a);
    good_start(&g, &t);
    many_make(&a, &m, n);
    assert_int_equal(server_counters(t.s).queues, n);
    for (size_t i = 0; i < n; i += PER_BLOCK) {
        size_t some = n - i < PER_BLOCK ? n - i : PER_BLOCK;
        block(&a, &m, &sub, (const uint8_t(*)[24])m.rcv + i, some);
        for (size_t k = 0; k < some; k++) {
            const struct smp_item *it = smp_peer_next(&a, 20000);
            assert_non_null(it);
            assert_int_equal(it->rsp.tag, SX_R_SOK);
        }
        smp_peer_forget(&a);
    }
    good_stop(&g);
    /* The last subscription works like the first. */
    struct smp_peer b;
    open_peer(&t, &b);
    text.send.body = sx_str("hello");
    for (size_t i = 0; i < n; i += n - 1) {
        const struct sx_rsp *r = smp_peer_cmd(&b, NULL, sx_bytes(m.snd[i], 24), &text);
        assert_true(r != NULL && r->tag == SX_R_OK);
        const struct smp_item *it = smp_peer_event(&a, 20000);
        assert_true(it != NULL && it->rsp.tag == SX_R_MSG);
        assert_memory_equal(it->t.entity_id.ptr, m.rcv[i], 24);
    }
    smp_peer_close(&a); /* all of them end at once */
    int64_t start_ms = sx_mono_ms();
    ping(&b);
    wait_connections(t.s, 1);
    assert_true(sx_mono_ms() - start_ms < PATIENCE_MS);
    many_free(&m);
    smp_peer_close(&b);
    simplex_server_stop(t.s);
}

/* ---- damaged blocks at a session that is ready ---- */

/* What is done to the content of a block; false: there are no more variants. */
static bool mutate(unsigned i, uint8_t *content, size_t *len)
{
    static const uint16_t lengths[] = { 0, 1, 63, 64, 65, 255, 256, 16365, 32767, 65535 };

    if (i < 64) { /* the first bytes: count, length, length of the signature */
        content[i / 16] = (uint8_t)(i % 16 * 17);
    } else if (i < 64 + SX_COUNT(lengths)) {
        content[1] = (uint8_t)(lengths[i - 64] >> 8);
        content[2] = (uint8_t)lengths[i - 64];
    } else if (i < 200) { /* cut off */
        *len = *len * (i - 74) / 126;
    } else if (i < 264) { /* cut off at the front */
        memmove(content, content + i - 200, *len - (i - 200));
        *len -= i - 200;
    } else if (i < 300) { /* repeated */
        memmove(content + *len, content, *len);
        *len *= 2;
        content[0] = (uint8_t)(i - 264);
    } else {
        return false;
    }
    return true;
}

static void answers_damaged_blocks_and_does_not_touch_others(void **state)
{
    simplex_server_config cfg = config();
    struct server t;
    struct smp_peer a;
    struct good g;
    struct many m;
    struct smp_batch b;
    struct sx_cmd sub = { .tag = SX_SUB };
    unsigned variants = 0;

    (void)state;
    start(&t, &cfg);
    good_start(&g, &t);
    open_peer(&t, &a);
    many_make(&a, &m, 1);
    smp_batch_init(&b);
    for (int i = 0; i < 2; i++)
        assert_int_equal(smp_batch_add(&b, &a, &m.key, NULL, sx_bytes(m.rcv[0], 24), &sub),
                         SIMPLEX_OK);
    for (;; variants++) {
        static uint8_t content[2 * SX_BLOCK];
        size_t len = b.w.len;
        memcpy(content, b.buf, len);
        if (!mutate(variants, content, &len))
            break;
        assert_int_equal(smp_peer_send_content(&a, sx_bytes(content, len)), SIMPLEX_OK);
        const struct smp_item *it = smp_peer_next(&a, 20000);
        assert_non_null(it);
        assert_int_equal(it->rc, SIMPLEX_OK);
        ping(&a); /* whatever it was, the connection goes on */
    }
    assert_int_equal(variants, 300);
    good_stop(&g);
    assert_int_equal(server_counters(t.s).queues, 1);
    many_free(&m);
    smp_peer_close(&a);
    simplex_server_stop(t.s);
}

/* The same below the block encryption: a changed bit anywhere ends the connection, only it. */
static void ends_the_session_of_a_block_that_was_changed_on_the_way(void **state)
{
    simplex_server_config cfg = config();
    struct server t;
    struct smp_peer a, b;
    static uint8_t bytes[SX_BLOCK];
    struct smp_batch batch;
    struct sx_cmd cmd = { .tag = SX_PING };

    (void)state;
    start(&t, &cfg);
    open_peer(&t, &b);
    for (size_t at = 0; at < SX_BLOCK; at += 1171) {
        open_peer(&t, &a);
        smp_batch_init(&batch);
        assert_int_equal(smp_batch_add(&batch, &a, NULL, NULL, sx_bytes(NULL, 0), &cmd),
                         SIMPLEX_OK);
        assert_int_equal(sx_session_seal(&a.session, sx_wr_bytes(&batch.w), bytes), SIMPLEX_OK);
        bytes[at] ^= (uint8_t)(1u << at % 8);
        assert_int_equal(smp_peer_send_raw(&a, sx_bytes(bytes, SX_BLOCK)), SIMPLEX_OK);
        assert_true(smp_peer_wait_closed(&a, 20000));
        smp_peer_close(&a);
        ping(&b);
    }
    wait_connections(t.s, 1);
    smp_peer_close(&b);
    simplex_server_stop(t.s);
}

int main(void)
{
    struct rlimit files;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(serves_others_while_handshakes_stay_half_open),
        cmocka_unit_test(serves_others_during_a_flood_of_handshakes),
        cmocka_unit_test(holds_no_copies_for_a_client_that_stops_reading),
        cmocka_unit_test(closes_a_reader_when_it_stops_and_not_when_it_is_slow),
        cmocka_unit_test(takes_a_block_that_comes_in_small_pieces),
        cmocka_unit_test(closes_a_client_that_leaves_a_record_unfinished),
        cmocka_unit_test(serves_others_while_one_subscribes_to_100000_queues),
        cmocka_unit_test(answers_damaged_blocks_and_does_not_touch_others),
        cmocka_unit_test(ends_the_session_of_a_block_that_was_changed_on_the_way),
    };

    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
