/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The SMP server: SEND -> MSG -> ACK cycles over TLS on loopback, beside the cryptography that
 * the protocol prescribes for such a cycle (measured in the same run), latency, and memory per
 * connection and per queue. The server is a child process, so that its memory is its own; it
 * shares the processor cores with the clients, whose cryptography the floor therefore includes.
 *
 * bench_server [seconds per row]
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bench/cycle_floor.h"
#include "bench/served.h"
#include "bench/usage.h"
#include "support/blocking_client.h"

#define USAGE "bench_server [seconds per row]"
#define PAIRS_MAX 32
#define WINDOW_MAX 64
#define SAMPLES_MAX 200000
#define IDLE_CONNS 1000
#define QUEUES 12000
#define QUEUES_PER_BLOCK 50

static void die(const char *what)
{
    fprintf(stderr, "bench_server: %s failed\n", what);
    exit(1);
}

static void must(simplex_rc rc, const char *what)
{
    if (rc == SIMPLEX_OK)
        return;
    fprintf(stderr, "bench_server: %s: %s\n", what, simplex_rc_text(rc));
    exit(1);
}

static void open_peer(const struct served *s, struct smp_peer *p)
{
    struct smp_peer_cfg cfg = { .port = s->port, .key_hash = s->key_hash };

    must(smp_peer_open(p, &cfg), "connect");
}

/* ---- cycles ---- */

struct pair {
    const struct served *s;
    struct smp_peer snd, rcv;
    struct sx_keypair rcv_key, snd_key, dh;
    uint8_t rcv_id[24], snd_id[24];
    unsigned window;
    int64_t until_us;
    pthread_t sender, recipient;
    pthread_mutex_t lock;
    pthread_cond_t room;
    unsigned in_flight;
    bool stop;
    unsigned received;
    int64_t last_us;
    float *latency_us;
    unsigned n_latency;
};

static void prepare(struct pair *p, const struct served *s, unsigned window)
{
    struct sx_cmd new = { .tag = SX_NEW }, skey = { .tag = SX_SKEY };

    memset(p, 0, sizeof(*p));
    p->s = s;
    p->window = window;
    p->latency_us = malloc(SAMPLES_MAX / PAIRS_MAX * 8 * sizeof(*p->latency_us));
    if (p->latency_us == NULL || pthread_mutex_init(&p->lock, NULL) != 0 ||
        pthread_cond_init(&p->room, NULL) != 0)
        die("memory");
    open_peer(s, &p->snd);
    open_peer(s, &p->rcv);
    must(sx_keypair_new(SX_ED25519, &p->rcv_key), "key");
    must(sx_keypair_new(SX_ED25519, &p->snd_key), "key");
    must(sx_keypair_new(SX_X25519, &p->dh), "key");
    new.new_.auth = p->rcv_key.pub;
    new.new_.dh = p->dh.pub;
    new.new_.mode = SX_MODE_MESSAGING;
    new.new_.subscribe = true;
    const struct sx_rsp *r = smp_peer_cmd(&p->rcv, &p->rcv_key, sx_bytes(NULL, 0), &new);
    if (r == NULL || r->tag != SX_R_IDS)
        die("NEW");
    memcpy(p->rcv_id, r->ids.rcv_id.ptr, 24);
    memcpy(p->snd_id, r->ids.snd_id.ptr, 24);
    skey.key.key = p->snd_key.pub;
    r = smp_peer_cmd(&p->snd, &p->snd_key, sx_bytes(p->snd_id, 24), &skey);
    if (r == NULL || r->tag != SX_R_OK)
        die("SKEY");
}

/* Keeps `window` messages between itself and the recipient. */
static void *send_main(void *arg)
{
    struct pair *p = arg;
    static const uint8_t body[SX_MSG_BODY] = { 0 };
    struct sx_cmd send = { .tag = SX_SEND, .send = { .body = sx_bytes(body, 16048) } };
    struct smp_batch b;
    unsigned unanswered = 0;

    while (sx_mono_us() < p->until_us) {
        pthread_mutex_lock(&p->lock);
        while (p->in_flight >= p->window)
            pthread_cond_wait(&p->room, &p->lock);
        p->in_flight++;
        pthread_mutex_unlock(&p->lock);
        smp_batch_init(&b);
        must(smp_batch_add(&b, &p->snd, &p->snd_key, NULL, sx_bytes(p->snd_id, 24), &send), "SEND");
        must(smp_batch_send(&b, &p->snd), "SEND");
        unanswered++;
        /* Answers are taken when they are there; at the window's end they are waited for. */
        const struct smp_item *i;
        while (unanswered > 0 &&
               (i = smp_peer_next(&p->snd, unanswered >= p->window ? 10000 : 0)) != NULL) {
            if (i->rsp.tag != SX_R_OK)
                die("SEND");
            unanswered--;
        }
        smp_peer_forget(&p->snd);
    }
    while (unanswered > 0) {
        const struct smp_item *i = smp_peer_next(&p->snd, 10000);
        if (i == NULL || i->rsp.tag != SX_R_OK)
            die("SEND");
        unanswered--;
    }
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static void arrived(struct pair *p)
{
    pthread_mutex_lock(&p->lock);
    p->in_flight--;
    p->received++;
    p->last_us = sx_mono_us();
    pthread_cond_signal(&p->room);
    pthread_mutex_unlock(&p->lock);
}

static bool finished(struct pair *p)
{
    pthread_mutex_lock(&p->lock);
    bool done = p->stop && p->in_flight == 0;
    pthread_mutex_unlock(&p->lock);
    return done;
}

static void *receive_main(void *arg)
{
    struct pair *p = arg;

    while (!finished(p)) {
        const struct smp_item *i = smp_peer_next(&p->rcv, 100);
        if (i == NULL)
            continue;
        while (i->rsp.tag == SX_R_MSG) {
            struct sx_cmd ack = { .tag = SX_ACK, .ack = { .msg_id = i->rsp.msg.msg_id } };
            struct smp_batch b;
            smp_batch_init(&b);
            must(smp_batch_add(&b, &p->rcv, &p->rcv_key, NULL, sx_bytes(p->rcv_id, 24), &ack),
                 "ACK");
            must(smp_batch_send(&b, &p->rcv), "ACK");
            arrived(p);
            i = smp_peer_wait(&p->rcv, sx_bytes(b.corr[0], SX_ID_LEN), 10000);
            if (i == NULL)
                die("ACK");
        }
        smp_peer_forget(&p->rcv);
    }
    return NULL;
}

/* One after the other on one thread: SEND until its MSG is here, then ACK. */
static void *alternate_main(void *arg)
{
    struct pair *p = arg;
    static const uint8_t body[SX_MSG_BODY] = { 0 };
    struct sx_cmd send = { .tag = SX_SEND, .send = { .body = sx_bytes(body, 16048) } };
    struct smp_batch b;

    while (sx_mono_us() < p->until_us) {
        int64_t start = sx_mono_us();
        smp_batch_init(&b);
        must(smp_batch_add(&b, &p->snd, &p->snd_key, NULL, sx_bytes(p->snd_id, 24), &send), "SEND");
        must(smp_batch_send(&b, &p->snd), "SEND");
        const struct smp_item *i = smp_peer_event(&p->rcv, 10000);
        if (i == NULL || i->rsp.tag != SX_R_MSG)
            die("MSG");
        if (p->n_latency < SAMPLES_MAX / PAIRS_MAX * 8)
            p->latency_us[p->n_latency++] = (float)(sx_mono_us() - start);
        if (smp_peer_next(&p->snd, 10000) == NULL)
            die("SEND");
        struct sx_cmd ack = { .tag = SX_ACK, .ack = { .msg_id = i->rsp.msg.msg_id } };
        const struct sx_rsp *r = smp_peer_cmd(&p->rcv, &p->rcv_key, sx_bytes(p->rcv_id, 24), &ack);
        if (r == NULL || r->tag != SX_R_OK)
            die("ACK");
        p->received++;
        p->last_us = sx_mono_us();
        smp_peer_forget(&p->snd);
        smp_peer_forget(&p->rcv);
    }
    return NULL;
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;

    return (x > y) - (x < y);
}

static void print_row(struct pair *p, unsigned pairs, unsigned window, int64_t start,
                      const struct cycle_costs *c)
{
    static float all[SAMPLES_MAX * 8];
    unsigned received = 0;
    size_t n = 0;
    int64_t last = start;

    for (unsigned i = 0; i < pairs; i++) {
        received += p[i].received;
        last = p[i].last_us > last ? p[i].last_us : last;
        memcpy(all + n, p[i].latency_us, p[i].n_latency * sizeof(*all));
        n += p[i].n_latency;
    }
    double rate = received / ((double)(last - start) / 1e6);
    double best = (double)sysconf(_SC_NPROCESSORS_ONLN) * 1e6 / cycle_floor(c, 5);
    printf("%11u  %9u  %9.0f  %13.0f  %7.0f%%", pairs * 2, window, rate, best, 100 * rate / best);
    if (n > 0) {
        qsort(all, n, sizeof(*all), by_value);
        printf("  %6.2f ms  %6.2f ms\n", all[n / 2] / 1e3, all[n * 99 / 100] / 1e3);
    } else {
        printf("          -          -\n");
    }
}

/* window 0: one message at a time, with its latency. */
static void run(const struct served *s, unsigned pairs, unsigned window, double seconds,
                const struct cycle_costs *c)
{
    static struct pair p[PAIRS_MAX];

    for (unsigned i = 0; i < pairs; i++)
        prepare(&p[i], s, window);
    int64_t start = sx_mono_us();
    for (unsigned i = 0; i < pairs; i++) {
        p[i].until_us = start + (int64_t)(seconds * 1e6);
        if (pthread_create(&p[i].sender, NULL, window == 0 ? alternate_main : send_main, &p[i]) !=
                0 ||
            (window > 0 && pthread_create(&p[i].recipient, NULL, receive_main, &p[i]) != 0))
            die("threads");
    }
    for (unsigned i = 0; i < pairs; i++) {
        pthread_join(p[i].sender, NULL);
        if (window > 0)
            pthread_join(p[i].recipient, NULL);
    }
    print_row(p, pairs, window == 0 ? 1 : window, start, c);
    fflush(stdout);
    for (unsigned i = 0; i < pairs; i++) {
        smp_peer_close(&p[i].snd);
        smp_peer_close(&p[i].rcv);
        free(p[i].latency_us);
    }
}

/* ---- memory ---- */

static void memory_of_connections(void)
{
    static struct smp_peer p[IDLE_CONNS];
    struct served s = served_start(NULL);
    struct smp_peer first;

    for (int i = 0; i < 20; i++) { /* what a process needs once */
        open_peer(&s, &first);
        smp_peer_close(&first);
    }
    double before = served_memory(&s);
    int64_t start = sx_mono_us();
    for (size_t i = 0; i < IDLE_CONNS; i++)
        open_peer(&s, &p[i]);
    double us = (double)(sx_mono_us() - start) / IDLE_CONNS;
    double after = served_memory(&s);
    printf("memory of an idle connection (TLS 1.3, version 19, %d of them)  %8.1f KiB\n",
           IDLE_CONNS, (after - before) / IDLE_CONNS / 1024);
    printf("time of a connection, both sides: TCP, TLS, SMP handshake         %8.2f ms\n",
           us / 1e3);
    for (size_t i = 0; i < IDLE_CONNS; i++)
        smp_peer_close(&p[i]);
    served_stop(&s);
}

static void make_queues(struct smp_peer *p, const struct sx_keypair *key,
                        const struct sx_keypair *dh)
{
    struct sx_cmd new = { .tag = SX_NEW }, skey = { .tag = SX_SKEY };
    uint8_t snd_id[QUEUES_PER_BLOCK][24];
    struct smp_batch b;

    new.new_.auth = key->pub;
    new.new_.dh = dh->pub;
    new.new_.mode = SX_MODE_MESSAGING;
    skey.key.key = key->pub;
    smp_batch_init(&b);
    for (int i = 0; i < QUEUES_PER_BLOCK; i++)
        must(smp_batch_add(&b, p, key, NULL, sx_bytes(NULL, 0), &new), "NEW");
    must(smp_batch_send(&b, p), "NEW");
    for (int i = 0; i < QUEUES_PER_BLOCK; i++) {
        const struct smp_item *it = smp_peer_next(p, 20000);
        if (it == NULL || it->rsp.tag != SX_R_IDS)
            die("NEW");
        memcpy(snd_id[i], it->rsp.ids.snd_id.ptr, 24);
    }
    smp_batch_init(&b);
    for (int i = 0; i < QUEUES_PER_BLOCK; i++)
        must(smp_batch_add(&b, p, key, NULL, sx_bytes(snd_id[i], 24), &skey), "SKEY");
    must(smp_batch_send(&b, p), "SKEY");
    for (int i = 0; i < QUEUES_PER_BLOCK; i++) {
        const struct smp_item *it = smp_peer_next(p, 20000);
        if (it == NULL || it->rsp.tag != SX_R_OK)
            die("SKEY");
    }
    smp_peer_forget(p);
}

static void memory_of_queues(void)
{
    struct served s = served_start(NULL);
    struct sx_keypair key, dh;
    struct smp_peer p;

    must(sx_keypair_new(SX_ED25519, &key), "key");
    must(sx_keypair_new(SX_X25519, &dh), "key");
    open_peer(&s, &p);
    for (int i = 0; i < 4; i++)
        make_queues(&p, &key, &dh);
    double before = served_memory(&s);
    int64_t start = sx_mono_us();
    for (int i = 0; i < QUEUES / QUEUES_PER_BLOCK; i++)
        make_queues(&p, &key, &dh);
    double us = (double)(sx_mono_us() - start) / QUEUES;
    double after = served_memory(&s);
    printf("memory of an empty secured queue (%d of them)                  %8.0f bytes\n", QUEUES,
           (after - before) / QUEUES);
    printf("time to create and secure a queue, one connection                 %8.1f us\n", us);
    smp_peer_close(&p);
    served_stop(&s);
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 3;
    struct rlimit files;

    bench_no_options(argc, argv, USAGE);
    if (!(seconds > 0)) {
        fputs("Usage: " USAGE "\n", stderr);
        return 2;
    }
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    /* The children first: they are made before this process has threads. */
    must(sx_crypto_init(), "crypto");
    memory_of_connections();
    memory_of_queues();
    struct cycle_costs c = cycle_costs_measure((size_t)sysconf(_SC_NPROCESSORS_ONLN));
    printf("\n");
    cycle_costs_print(&c);
    printf(
        "\nSEND -> MSG -> ACK with bodies of 16048 bytes; the best that this cryptography allows "
        "on %ld cores\n\n",
        sysconf(_SC_NPROCESSORS_ONLN));
    printf("connections  in flight   cycles/s  cryptography  of best   SEND-MSG p50        p99\n");
    fflush(stdout);
    struct served s = served_start(NULL);
    run(&s, 1, 0, seconds, &c);
    run(&s, 1, 16, seconds, &c);
    run(&s, 32, 0, seconds, &c);
    run(&s, 32, 4, seconds, &c);
    printf("\nserver memory after that: %.1f MiB\n", served_memory(&s) / 1048576);
    served_stop(&s);
    return 0;
}
