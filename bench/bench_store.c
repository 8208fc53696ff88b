/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the database costs per message, beside what the disk costs by itself: the same number of
 * bytes appended to a plain file and synced. Usage: bench_store [directory]
 *
 * A commit encrypts and authenticates each changed page (15 us for 4096 bytes) and syncs once. A
 * short message received changes four pages (connection, message, its index, hash) and two when it
 * is acknowledged; one sent changes three (connection, message, delivery) and three when the server
 * has it. Of 16000 bytes there are four pages more, and four again when they are removed, under
 * secure_delete.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/usage.h"
#include "store/store.h"

#define BODY 16000 /* the longest; most are shorter */
#define CONNS 20

static void must(simplex_rc rc, const char *what)
{
    if (rc == SIMPLEX_OK)
        return;
    fprintf(stderr, "%s: %s\n", what, simplex_rc_text(rc));
    exit(1);
}

struct bench {
    struct sx_store *store;
    char path[512];
    struct sx_conn conn[CONNS];
    struct sx_rcv_queue rcv[CONNS];
    struct sx_snd_queue snd[CONNS];
    struct sx_ratchet ratchet;
    uint8_t body[BODY];
    size_t length;                     /* of the messages */
    int64_t in_statements, in_commits; /* us */
    unsigned commits;
};

static void fill_server(struct sx_server *server)
{
    static const char text[] = "smp://LcJUMfVhwD8yxjAiSaDzzGF3-kLG4Uh0Fl_ZIjrRwjI=@smp.example.org";
    simplex_bytes password;

    must(sx_server_parse(sx_str(text), server, &password), "server");
}

static void add_connection(struct bench *b, size_t i)
{
    struct sx_rcv_queue *rq = &b->rcv[i];
    struct sx_snd_queue *sq = &b->snd[i];

    b->conn[i] = (struct sx_conn){
        .role = SX_INITIATOR, .state = SX_CONN_READY, .has_snd_hash = true, .has_rcv_hash = true
    };
    must(sx_store_conn_add(b->store, &b->conn[i]), "connection");
    rq->conn_id = sq->conn_id = b->conn[i].id;
    rq->status = sq->status = SX_Q_ACTIVE;
    rq->primary = sq->primary = true;
    fill_server(&rq->server);
    sq->server = rq->server;
    rq->rcv_id.len = rq->snd_id.len = sq->snd_id.len = SX_ID_LEN;
    sx_random(rq->rcv_id.b, SX_ID_LEN);
    must(sx_keypair_new(SX_ED25519, &rq->auth), "key");
    must(sx_keypair_new(SX_X25519, &rq->dh), "key");
    rq->e2e = rq->dh;
    rq->has_srv_secret = rq->has_e2e_secret = true;
    sq->auth = rq->auth;
    must(sx_store_rcvq_add(b->store, rq), "queue");
    must(sx_store_sndq_add(b->store, sq), "queue");
}

static void open_store(struct bench *b, bool pq)
{
    static const uint8_t key[32] = { 1 };
    struct sx_store_cfg cfg = { .path = b->path, .key = { key, 32 }, .raw_key = true };

    must(sx_store_open(&cfg, &b->store), "open");
    sx_store_cache(b->store, 4000); /* as an agent has it */
    must(sx_store_begin(b->store), "begin");
    for (size_t i = 0; i < CONNS; i++)
        add_connection(b, i);
    must(sx_store_commit(b->store), "commit");
    b->ratchet = (struct sx_ratchet){ .current = 3,
                                      .max_supported = 3,
                                      .has_snd = true,
                                      .has_rcv = true,
                                      .support_kem = pq,
                                      .has_kem = pq,
                                      .has_accepted = pq };
    must(sx_keypair_new(SX_X448, &b->ratchet.dhs), "key");
    sx_random(b->body, BODY);
}

static void receive(struct bench *b, int64_t n)
{
    struct sx_store *s = b->store;
    struct sx_rcv_queue rq;
    struct sx_conn c;
    struct sx_rcv_msg_row m = { .id = n, .type = SX_M_MSG, .srv_msg_id.len = SX_ID_LEN };

    must(sx_store_rcvq_find(s, &b->rcv[n % CONNS].server, sx_id_bytes(&b->rcv[n % CONNS].rcv_id),
                            &rq),
         "find");
    must(sx_store_conn_get(s, rq.conn_id, &c), "conn");
    sx_random(m.hash, 32);
    must(sx_store_ratchet_put(s, c.id, &b->ratchet, &(struct sx_skipped_diff){ 0 }), "ratchet");
    c.last_id = c.last_rcv_ext_id = n;
    must(sx_store_conn_update(s, &c), "update");
    must(sx_store_rcv_hash_add(s, c.id, m.hash, 0, 0), "hash");
    memcpy(m.srv_msg_id.b, m.hash, SX_ID_LEN);
    m.conn_id = c.id;
    m.rcv_queue_id = rq.id;
    m.body = sx_bytes(b->body, b->length);
    must(sx_store_rcv_msg_add(s, &m), "message");
}

static void acknowledge(struct bench *b, int64_t n)
{
    int64_t conn = b->conn[n % CONNS].id;

    must(sx_store_rcv_msg_delete(b->store, conn, n), "delete");
}

static void send_one(struct bench *b, int64_t n)
{
    struct sx_conn *c = &b->conn[n % CONNS];
    struct sx_snd_msg m = { .conn_id = c->id,
                            .id = n,
                            .snd_id = n,
                            .type = SX_M_MSG,
                            .plain = { b->body, b->length },
                            .key = { b->body, 400 } };

    must(sx_store_ratchet_put(b->store, c->id, &b->ratchet, &(struct sx_skipped_diff){ 0 }), "r");
    c->last_id = c->last_snd_id = n;
    must(sx_store_conn_update(b->store, c), "update");
    must(sx_store_snd_msg_add(b->store, &m), "message");
    must(sx_store_delivery_add(b->store, b->snd[n % CONNS].id, c->id, n), "delivery");
}

static void sent(struct bench *b, int64_t n)
{
    struct sx_snd_msg m;
    struct sx_event_row e = { .conn_id = b->conn[n % CONNS].id, .data = { b->body, 40 } };
    bool last;

    must(sx_store_delivery_next(b->store, b->snd[n % CONNS].id, 0, &m), "next");
    must(sx_store_delivery_done(b->store, b->snd[n % CONNS].id, m.conn_id, m.id, &last), "done");
    must(sx_store_event_add(b->store, &e), "event");
    must(sx_store_event_delete(b->store, e.id), "event");
}

static void commit(struct bench *b)
{
    int64_t t = sx_mono_us();

    must(sx_store_commit(b->store), "commit");
    b->in_commits += sx_mono_us() - t;
    b->commits++;
}

/* `n` messages, `group` to a commit: first half of the work in one commit, the rest in the next. */
static void run(struct bench *b, const char *name, void (*in)(struct bench *, int64_t),
                void (*out)(struct bench *, int64_t), int64_t n, int64_t group)
{
    b->in_statements = b->in_commits = 0;
    b->commits = 0;
    (void)sx_store_pages(b->store);
    int64_t start = sx_mono_us();
    for (int64_t i = 1; i <= n; i += group) {
        must(sx_store_begin(b->store), "begin");
        for (int64_t k = i; k < i + group; k++)
            in(b, k);
        commit(b);
        must(sx_store_begin(b->store), "begin");
        for (int64_t k = i; k < i + group; k++)
            out(b, k);
        commit(b);
    }
    int64_t all = sx_mono_us() - start;
    printf("  %-22s %3d a commit: a message %5.2f pages, %6.1f us statements, %6.1f us commits; "
           "%6.0f messages/s\n",
           name, (int)group, (double)sx_store_pages(b->store) / (double)n,
           (double)(all - b->in_commits) / (double)n, (double)b->in_commits / (double)n,
           (double)n * 1e6 / (double)all);
}

static void sync_floor(const char *dir, size_t bytes)
{
    char path[512];
    static uint8_t block[1 << 20];
    int rounds = 100;

    snprintf(path, sizeof path, "%s/bench_store.raw", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0)
        must(SIMPLEX_E_SYSTEM, path);
    int64_t start = sx_mono_us();
    for (int i = 0; i < rounds; i++)
        if (pwrite(fd, block, bytes, (off_t)((size_t)i * bytes)) < 0 || fdatasync(fd) != 0)
            must(SIMPLEX_E_SYSTEM, path);
    printf("  floor: append %7zu bytes and fdatasync: %8.1f us\n", bytes,
           (double)(sx_mono_us() - start) / rounds);
    (void)close(fd);
    (void)unlink(path);
}

static void with_ratchet(struct bench *b, const char *dir, bool pq, size_t length)
{
    b->length = length;
    snprintf(b->path, sizeof b->path, "%s/bench_store.db", dir);
    (void)unlink(b->path);
    open_store(b, pq);
    printf("%s ratchet, messages of %zu bytes\n", pq ? "post-quantum" : "plain", length);
    run(b, "receive, acknowledge", receive, acknowledge, 400, 1);
    run(b, "receive, acknowledge", receive, acknowledge, 3200, 32);
    run(b, "send, sent", send_one, sent, 400, 1);
    run(b, "send, sent", send_one, sent, 3200, 32);
    sx_store_close(b->store);
    (void)unlink(b->path);
}

/* Is this message a repeat? Asked for what cannot be decrypted. */
static void look_for_repeats(struct bench *b, const char *dir, unsigned rows)
{
    uint8_t hash[32];
    bool known = false;
    int64_t us[3];

    snprintf(b->path, sizeof b->path, "%s/bench_store.db", dir);
    (void)unlink(b->path);
    open_store(b, false);
    must(sx_store_begin(b->store), "begin");
    for (unsigned i = 0; i < rows; i++) {
        sx_random(hash, sizeof hash);
        must(sx_store_rcv_hash_add(b->store, 1, hash, 0, 0), "hash");
    }
    must(sx_store_commit(b->store), "commit");
    us[0] = sx_mono_us();
    must(sx_store_rcv_hash_known(b->store, 1, hash, &known, NULL), "known");
    us[1] = sx_mono_us();
    hash[0] ^= 1;
    must(sx_store_rcv_hash_known(b->store, 1, hash, &known, NULL), "known");
    us[2] = sx_mono_us();
    printf("repeats among %u hashes: the last %d us, none %.1f ms\n", rows, (int)(us[1] - us[0]),
           (double)(us[2] - us[1]) / 1e3);
    sx_store_close(b->store);
    (void)unlink(b->path);
}

int main(int argc, char **argv)
{
    const char *dir = argc > 1 ? argv[1] : "/tmp";
    static struct bench b;

    bench_no_options(argc, argv, "bench_store [directory]");
    must(sx_crypto_init(), "init");
    sync_floor(dir, 4096);
    sync_floor(dir, 32 * 1024);
    sync_floor(dir, 1024 * 1024);
    with_ratchet(&b, dir, false, 200);
    with_ratchet(&b, dir, false, BODY);
    with_ratchet(&b, dir, true, BODY);
    look_for_repeats(&b, dir, 100000);
    return 0;
}
