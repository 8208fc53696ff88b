/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The SMP server: SEND -> MSG -> ACK cycles over TLS on loopback, beside the cryptography that
 * the protocol prescribes for such a cycle (measured in the same run), latency, and memory per
 * connection and per queue. The server is a child process, so that its memory is its own; it
 * shares the processor cores with the clients, whose cryptography the floor therefore includes.
 *
 * bench_server [seconds per row]
 */
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "simplex/server.h"
#include "support/blocking_client.h"

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

/* ---- the server, in a process of its own ---- */

struct served {
    pid_t pid;
    int stop; /* closing it stops the server */
    uint16_t port;
    uint8_t key_hash[32];
};

struct hello {
    uint16_t port;
    uint8_t key_hash[32];
};

static void serve(int in, int out)
{
    simplex_server_config cfg;
    simplex_server *s;
    struct hello h;
    char c;

    simplex_server_config_init(&cfg);
    must(simplex_server_start(&cfg, &s), "start of the server");
    h.port = simplex_server_port(s);
    simplex_server_fingerprint(s, h.key_hash);
    if (write(out, &h, sizeof(h)) != (ssize_t)sizeof(h))
        die("write");
    while (read(in, &c, 1) > 0)
        ;
    simplex_server_stop(s);
    _exit(0); /* what stdout holds is the parent's */
}

static struct served start_server(void)
{
    struct served s;
    struct hello h;
    int in[2], out[2];

    if (pipe(in) != 0 || pipe(out) != 0)
        die("pipe");
    s.pid = fork();
    if (s.pid < 0)
        die("fork");
    if (s.pid == 0) {
        close(in[1]);
        close(out[0]);
        serve(in[0], out[1]);
    }
    close(in[0]);
    close(out[1]);
    if (read(out[0], &h, sizeof(h)) != (ssize_t)sizeof(h))
        die("start of the server");
    close(out[0]);
    s.stop = in[1];
    s.port = h.port;
    memcpy(s.key_hash, h.key_hash, sizeof(s.key_hash));
    return s;
}

static void stop_server(const struct served *s)
{
    close(s->stop);
    waitpid(s->pid, NULL, 0);
}

/* Bytes of memory the server really uses. */
static double server_memory(const struct served *s)
{
    char path[64];
    long pages = 0, rss = 0;

    snprintf(path, sizeof(path), "/proc/%d/statm", (int)s->pid);
    FILE *f = fopen(path, "r");
    if (f == NULL || fscanf(f, "%ld %ld", &pages, &rss) != 2)
        die("reading /proc");
    fclose(f);
    return (double)rss * (double)sysconf(_SC_PAGESIZE);
}

static void open_peer(const struct served *s, struct smp_peer *p)
{
    struct smp_peer_cfg cfg = { .port = s->port, .key_hash = s->key_hash };

    must(smp_peer_open(p, &cfg), "connect");
}

/* ---- the floor ---- */

struct costs { /* us */
    double tls, box, hkdf, sign, verify, msg;
};

static uint8_t buf[SX_BLOCK + 64], out[SX_BLOCK + 64];

#define MEASURE(result, times, what)                                    \
    do {                                                                \
        int64_t start_us = sx_mono_us();                                \
        for (int t_ = 0; t_ < (times); t_++)                            \
            what;                                                       \
        (result) = (double)(sx_mono_us() - start_us) / (double)(times); \
    } while (0)

static void chacha(EVP_CIPHER_CTX *ctx)
{
    static const uint8_t key[32] = { 1 }, iv[12] = { 2 };
    uint8_t tag[16];
    int n;

    if (EVP_EncryptInit_ex(ctx, EVP_chacha20_poly1305(), NULL, key, iv) != 1 ||
        EVP_EncryptUpdate(ctx, NULL, &n, iv, 5) != 1 ||
        EVP_EncryptUpdate(ctx, out, &n, buf, SX_BLOCK) != 1 ||
        EVP_EncryptFinal_ex(ctx, out + n, &n) != 1 ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, tag) != 1)
        die("ChaCha20-Poly1305");
}

static struct costs measure_costs(void)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    struct sx_box_key k;
    struct sx_keypair sign;
    uint8_t nonce[24] = { 3 }, okm[88], ck[32] = { 4 }, sig[SX_SIG_MAX];
    size_t sig_len;
    struct costs c;
    bool ok = true;

    if (ctx == NULL)
        die("memory");
    sx_box_key_init(&k, ck);
    must(sx_keypair_new(SX_ED25519, &sign), "key");
    for (int warm = 0; warm < 2; warm++) {
        MEASURE(c.tls, 2000, chacha(ctx));
        MEASURE(c.box, 2000, sx_box_seal(&k, nonce, sx_bytes(buf, 16368), out));
        MEASURE(c.msg, 2000, sx_box_seal(&k, nonce, sx_bytes(buf, SX_MSG_PADDED), out));
        MEASURE(c.hkdf, 2000,
                must(sx_hkdf_sha512(sx_bytes(NULL, 0), sx_bytes(ck, sizeof(ck)), "SimpleXSbChain",
                                    okm, sizeof(okm)),
                     "HKDF"));
        MEASURE(c.sign, 500, must(sx_sign(&sign, sx_bytes(buf, 8100), sig, &sig_len), "sign"));
        MEASURE(c.verify, 500,
                ok &= sx_verify(&sign.pub, sx_bytes(buf, 8100), sx_bytes(sig, sig_len)));
    }
    if (!ok)
        die("verify");
    EVP_CIPHER_CTX_free(ctx);
    return c;
}

/* Five blocks (SEND, OK, MSG, ACK, OK), each sealed and opened, on TLS and on the session; two
 * signatures made and verified; one message encrypted for its recipient. */
static double cycle_floor(const struct costs *c)
{
    return 10 * (c->tls + c->box + c->hkdf) + 2 * (c->sign + c->verify) + c->msg;
}

static void print_costs(const struct costs *c)
{
    printf("prescribed cryptography of one cycle, server and both clients (us):\n");
    printf("  10 x ChaCha20-Poly1305, 16 KB (TLS)         %8.1f\n", 10 * c->tls);
    printf("  10 x XSalsa20-Poly1305, 16 KB (blocks)      %8.1f\n", 10 * c->box);
    printf("  10 x HKDF-SHA512 (block keys)               %8.1f\n", 10 * c->hkdf);
    printf("   1 x XSalsa20-Poly1305, 16 KB (MSG body)    %8.1f\n", c->msg);
    printf("   2 x Ed25519 signature made and verified    %8.1f\n", 2 * (c->sign + c->verify));
    printf("  sum                                         %8.1f\n", cycle_floor(c));
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
                      const struct costs *c)
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
    double best = (double)sysconf(_SC_NPROCESSORS_ONLN) * 1e6 / cycle_floor(c);
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
                const struct costs *c)
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
    struct served s = start_server();
    struct smp_peer first;

    for (int i = 0; i < 20; i++) { /* what a process needs once */
        open_peer(&s, &first);
        smp_peer_close(&first);
    }
    double before = server_memory(&s);
    int64_t start = sx_mono_us();
    for (size_t i = 0; i < IDLE_CONNS; i++)
        open_peer(&s, &p[i]);
    double us = (double)(sx_mono_us() - start) / IDLE_CONNS;
    double after = server_memory(&s);
    printf("memory of an idle connection (TLS 1.3, version 19, %d of them)  %8.1f KiB\n",
           IDLE_CONNS, (after - before) / IDLE_CONNS / 1024);
    printf("time of a connection, both sides: TCP, TLS, SMP handshake         %8.2f ms\n",
           us / 1e3);
    for (size_t i = 0; i < IDLE_CONNS; i++)
        smp_peer_close(&p[i]);
    stop_server(&s);
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
    struct served s = start_server();
    struct sx_keypair key, dh;
    struct smp_peer p;

    must(sx_keypair_new(SX_ED25519, &key), "key");
    must(sx_keypair_new(SX_X25519, &dh), "key");
    open_peer(&s, &p);
    for (int i = 0; i < 4; i++)
        make_queues(&p, &key, &dh);
    double before = server_memory(&s);
    int64_t start = sx_mono_us();
    for (int i = 0; i < QUEUES / QUEUES_PER_BLOCK; i++)
        make_queues(&p, &key, &dh);
    double us = (double)(sx_mono_us() - start) / QUEUES;
    double after = server_memory(&s);
    printf("memory of an empty secured queue (%d of them)                  %8.0f bytes\n", QUEUES,
           (after - before) / QUEUES);
    printf("time to create and secure a queue, one connection                 %8.1f us\n", us);
    smp_peer_close(&p);
    stop_server(&s);
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 3;
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    /* The children first: they are made before this process has threads. */
    must(sx_crypto_init(), "crypto");
    memory_of_connections();
    memory_of_queues();
    struct costs c = measure_costs();
    printf("\n");
    print_costs(&c);
    printf(
        "\nSEND -> MSG -> ACK with bodies of 16048 bytes; the best that this cryptography allows "
        "on %ld cores\n\n",
        sysconf(_SC_NPROCESSORS_ONLN));
    printf("connections  in flight   cycles/s  cryptography  of best   SEND-MSG p50        p99\n");
    fflush(stdout);
    struct served s = start_server();
    run(&s, 1, 0, seconds, &c);
    run(&s, 1, 16, seconds, &c);
    run(&s, 32, 0, seconds, &c);
    run(&s, 32, 4, seconds, &c);
    printf("\nserver memory after that: %.1f MiB\n", server_memory(&s) / 1048576);
    stop_server(&s);
    return 0;
}
