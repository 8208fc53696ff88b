/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kill -9 of the program smp-server at random moments under load, by clients that keep book of
 * every answer. After each restart: every queue answered IDS exists, every key answered OK is set,
 * every queue whose deletion was answered is gone; every message answered OK and not acknowledged
 * comes exactly once, in order; none whose acknowledgement was answered comes again. What was not
 * answered may have happened or not. SIMPLEX_SEED repeats a run, SIMPLEX_ROUNDS changes its length.
 */
#include "support/server_process.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "support/agents.h"
#include "support/blocking_client.h"

#if defined(TESTS_SANITIZED)
#define ROUNDS 30
#else
#define ROUNDS 200
#endif
#define QUEUES 24
#define MESSAGES 4096 /* of a queue in one round */
#define PENDING 256
#define LOAD_MS 120

enum fate { NOTHING, ASKED, ANSWERED };

struct message {
    uint8_t sent, acked; /* enum fate */
    bool came;           /* after the restart */
};

struct queue {
    bool used;
    uint8_t made, secured, deleted; /* enum fate */
    struct sx_keypair rcv, dh, snd;
    uint8_t rcv_id[24], snd_id[24];
    struct sx_pub srv_dh;
    int n; /* messages of this round */
    struct message m[MESSAGES];
};

enum op_kind { OP_NEW, OP_SKEY, OP_DEL, OP_SEND, OP_ACK };

struct op {
    bool used;
    enum op_kind kind;
    uint8_t corr[24];
    struct queue *q;
    int n; /* number of the message */
};

struct client {
    struct smp_peer p;
    struct op op[PENDING];
    size_t n_ops;
};

struct world {
    struct server_process server;
    struct client rcv, snd;
    struct queue q[QUEUES];
    unsigned long created, sent, delivered, redelivered, deleted;
};

/* ---- asking ---- */

static void connect_client(struct world *w, struct client *c)
{
    struct smp_peer_cfg cfg = { .port = sx_server_port(&w->server.parsed),
                                .key_hash = w->server.parsed.key_hash };

    memset(c->op, 0, sizeof(c->op));
    c->n_ops = 0;
    assert_int_equal(smp_peer_open(&c->p, &cfg), SIMPLEX_OK);
}

static void ask(struct client *c, enum op_kind kind, struct queue *q, int n,
                const struct sx_keypair *key, simplex_bytes entity, const struct sx_cmd *cmd)
{
    static struct smp_batch b;
    struct op *op = c->op;

    while (op->used)
        op++;
    *op = (struct op){ .used = true, .kind = kind, .q = q, .n = n };
    sx_random(op->corr, sizeof(op->corr));
    c->n_ops++;
    smp_batch_init(&b);
    if (smp_batch_add(&b, &c->p, key, op->corr, entity, cmd) != SIMPLEX_OK)
        fail_msg("a command does not fit");
    if (smp_batch_send(&b, &c->p) != SIMPLEX_OK)
        c->p.closed = true;
}

static void ask_new(struct world *w, struct queue *q)
{
    struct sx_cmd c = { .tag = SX_NEW };

    memset(q, 0, sizeof(*q));
    q->used = true;
    q->made = ASKED;
    assert_int_equal(sx_keypair_new(SX_ED25519, &q->rcv), SIMPLEX_OK);
    assert_int_equal(sx_keypair_new(SX_ED25519, &q->snd), SIMPLEX_OK);
    assert_int_equal(sx_keypair_new(SX_X25519, &q->dh), SIMPLEX_OK);
    c.new_.auth = q->rcv.pub;
    c.new_.dh = q->dh.pub;
    c.new_.subscribe = true;
    c.new_.mode = SX_MODE_MESSAGING;
    ask(&w->rcv, OP_NEW, q, 0, &q->rcv, sx_bytes(NULL, 0), &c);
}

static void ask_skey(struct world *w, struct queue *q)
{
    struct sx_cmd c = { .tag = SX_SKEY, .key = { .key = q->snd.pub } };

    q->secured = ASKED;
    ask(&w->snd, OP_SKEY, q, 0, &q->snd, sx_bytes(q->snd_id, 24), &c);
}

static void ask_del(struct world *w, struct queue *q)
{
    struct sx_cmd c = { .tag = SX_DEL };

    q->deleted = ASKED;
    ask(&w->rcv, OP_DEL, q, 0, &q->rcv, sx_bytes(q->rcv_id, 24), &c);
}

static void ask_send(struct world *w, struct queue *q)
{
    char body[12000];
    struct sx_cmd c = { .tag = SX_SEND };

    int head = snprintf(body, sizeof(body), "%d ", q->n);
    size_t len = (size_t)head + (size_t)(random() % 10000);
    memset(body + head, 'm', len - (size_t)head);
    c.send.body = sx_bytes(body, len);
    q->m[q->n] = (struct message){ .sent = ASKED };
    ask(&w->snd, OP_SEND, q, q->n++, q->secured == ANSWERED ? &q->snd : NULL,
        sx_bytes(q->snd_id, 24), &c);
    w->sent++;
}

/* ---- answers ---- */

static int number_of(const struct queue *q, const struct sx_rsp *msg)
{
    struct sx_rcv_msg m;
    char text[12] = "";

    assert_int_equal(smp_open_msg(msg, &q->dh, &q->srv_dh, &m), SIMPLEX_OK);
    if (m.quota)
        return -1;
    memcpy(text, m.body.ptr, m.body.len < 11 ? m.body.len : 11);
    int n = atoi(text);
    assert_in_range(n, 0, q->n - 1);
    return n;
}

static void on_msg(struct world *w, struct queue *q, const struct sx_rsp *msg)
{
    struct sx_cmd c = { .tag = SX_ACK };
    int n = number_of(q, msg);

    if (n >= 0) {
        assert_int_equal(q->m[n].acked, NOTHING);
        q->m[n].acked = ASKED;
    }
    c.ack.msg_id = msg->msg.msg_id;
    ask(&w->rcv, OP_ACK, q, n, &q->rcv, sx_bytes(q->rcv_id, 24), &c);
    w->delivered++;
}

static void on_answer(struct world *w, struct op *op, const struct sx_rsp *r)
{
    struct queue *q = op->q;

    switch (op->kind) {
    case OP_NEW:
        if (r->tag != SX_R_IDS)
            fail_msg("NEW answers error %d", r->err.err);
        q->made = ANSWERED;
        memcpy(q->rcv_id, r->ids.rcv_id.ptr, 24);
        memcpy(q->snd_id, r->ids.snd_id.ptr, 24);
        q->srv_dh = r->ids.srv_dh;
        w->created++;
        break;
    case OP_SKEY:
        if (r->tag == SX_R_ERR && q->deleted != NOTHING)
            break;
        assert_int_equal(r->tag, SX_R_OK);
        q->secured = ANSWERED;
        break;
    case OP_DEL:
        assert_int_equal(r->tag, SX_R_OK);
        q->deleted = ANSWERED;
        w->deleted++;
        break;
    case OP_SEND:
        if (r->tag == SX_R_OK)
            q->m[op->n].sent = ANSWERED;
        else if (q->deleted == NOTHING) /* else AUTH */
            assert_true(r->tag == SX_R_ERR && r->err.err == SX_ERR_QUOTA);
        break;
    case OP_ACK:
        if (r->tag == SX_R_ERR && q->deleted != NOTHING)
            break;
        assert_true(r->tag == SX_R_OK || r->tag == SX_R_MSG);
        if (op->n >= 0)
            q->m[op->n].acked = ANSWERED;
        if (r->tag == SX_R_MSG)
            on_msg(w, q, r);
        break;
    }
}

static struct queue *queue_by_rcv_id(struct world *w, simplex_bytes id)
{
    for (size_t i = 0; i < QUEUES; i++) {
        if (w->q[i].used && sx_bytes_eq(id, sx_bytes(w->q[i].rcv_id, 24)))
            return &w->q[i];
    }
    fail_msg("an event of an unknown queue");
    return NULL;
}

static void on_item(struct world *w, struct client *c, const struct smp_item *it)
{
    assert_int_equal(it->rc, SIMPLEX_OK);
    if (it->t.corr_id.len == 0) {
        if (it->rsp.tag == SX_R_MSG)
            on_msg(w, queue_by_rcv_id(w, it->t.entity_id), &it->rsp);
        return;
    }
    for (size_t i = 0; i < PENDING; i++) {
        struct op *op = &c->op[i];
        if (!op->used || !sx_bytes_eq(it->t.corr_id, sx_bytes(op->corr, 24)))
            continue;
        op->used = false;
        c->n_ops--;
        on_answer(w, op, &it->rsp);
        return;
    }
    fail_msg("an answer to nothing");
}

static void take(struct world *w, struct client *c, int timeout_ms)
{
    const struct smp_item *it;

    while ((it = smp_peer_next(&c->p, timeout_ms)) != NULL) {
        on_item(w, c, it);
        timeout_ms = 0;
    }
    smp_peer_forget(&c->p);
}

/* ---- load ---- */

static void act(struct world *w)
{
    struct queue *q = &w->q[random() % QUEUES];
    long dice = random() % 1000;

    if (!q->used) {
        if (w->rcv.n_ops < PENDING / 2)
            ask_new(w, q);
    } else if (q->made != ANSWERED || q->deleted != NOTHING) {
        return;
    } else if (dice < 3 && w->rcv.n_ops < PENDING / 2) {
        ask_del(w, q);
    } else if (dice < 200 && q->secured == NOTHING && q->n == 0) {
        ask_skey(w, q);
    } else if (q->secured != ASKED && q->n < MESSAGES && w->snd.n_ops < 60) {
        ask_send(w, q);
    }
}

static void load(struct world *w, int64_t ms)
{
    int64_t until = sx_mono_ms() + ms;

    while (sx_mono_ms() < until) {
        act(w);
        take(w, &w->snd, 0);
        take(w, &w->rcv, 0);
        if (w->snd.p.closed || w->rcv.p.closed)
            server_process_died(&w->server);
    }
}

/* Another one: it was compacted. */
static ino_t store_log_file(const struct world *w)
{
    char path[400];
    struct stat st;

    (void)snprintf(path, sizeof path, "%s/state/smp-server-store.log", w->server.dir);
    return stat(path, &st) == 0 ? st.st_ino : 0;
}

/* What the server had answered before it was killed counts, although it is read only now. */
static void take_rest(struct world *w)
{
    struct client *c[] = { &w->snd, &w->rcv };

    for (size_t i = 0; i < 2; i++) {
        while (!c[i]->p.closed)
            take(w, c[i], 100);
        smp_peer_close(&c[i]->p);
    }
}

/* ---- what must hold after the restart ---- */

static const struct sx_rsp *drain_one(struct world *w, struct queue *q, const struct sx_rsp *msg,
                                      int *last)
{
    struct sx_cmd c = { .tag = SX_ACK };
    int n = number_of(q, msg);

    if (n >= 0) {
        struct message *m = &q->m[n];
        if (m->acked == ANSWERED)
            fail_msg("message %d comes again although it was acknowledged", n);
        if (m->came || n <= *last)
            fail_msg("message %d after %d", n, *last);
        w->redelivered += m->acked == ASKED;
        m->came = true;
        *last = n;
    }
    c.ack.msg_id = msg->msg.msg_id;
    w->delivered++;
    return smp_peer_cmd(&w->rcv.p, &q->rcv, sx_bytes(q->rcv_id, 24), &c);
}

static void drain(struct world *w, struct queue *q)
{
    struct sx_cmd get = { .tag = SX_GET };
    int last = -1;

    const struct sx_rsp *r = smp_peer_cmd(&w->rcv.p, &q->rcv, sx_bytes(q->rcv_id, 24), &get);
    for (;;) {
        assert_non_null(r);
        if (r->tag == SX_R_OK)
            break;
        assert_int_equal(r->tag, SX_R_MSG);
        r = drain_one(w, q, r, &last);
        assert_non_null(r);
        assert_int_equal(r->tag, SX_R_OK);
        smp_peer_forget(&w->rcv.p);
        r = smp_peer_cmd(&w->rcv.p, &q->rcv, sx_bytes(q->rcv_id, 24), &get);
    }
    for (int n = 0; n < q->n; n++) {
        if (q->m[n].sent == ANSWERED && q->m[n].acked == NOTHING && !q->m[n].came)
            fail_msg("message %d was answered OK and is lost", n);
    }
    smp_peer_forget(&w->rcv.p);
}

/* True: the queue is there and empty now. */
static bool check_queue(struct world *w, struct queue *q)
{
    struct sx_cmd info = { .tag = SX_QUE }, skey = { .tag = SX_SKEY };

    if (q->made != ANSWERED)
        return false; /* nobody knows its ids */
    const struct sx_rsp *r = smp_peer_cmd(&w->rcv.p, &q->rcv, sx_bytes(q->rcv_id, 24), &info);
    assert_non_null(r);
    bool gone = r->tag == SX_R_ERR && r->err.err == SX_ERR_AUTH;
    if (gone && q->deleted == NOTHING)
        fail_msg("a queue that was answered IDS is gone");
    if (!gone && q->deleted == ANSWERED)
        fail_msg("a deleted queue is back");
    if (gone)
        return false;
    drain(w, q);
    if (q->secured == NOTHING)
        return true;
    struct sx_cmd send = { .tag = SX_SEND, .send = { .body = sx_str("x") } };
    r = smp_peer_cmd(&w->snd.p, NULL, sx_bytes(q->snd_id, 24), &send);
    assert_non_null(r);
    if (q->secured == ANSWERED && r->tag != SX_R_ERR)
        fail_msg("a key that was answered OK is gone");
    bool sent = r->tag == SX_R_OK;
    skey.key.key = q->snd.pub; /* the same key again is fine in either case */
    r = smp_peer_cmd(&w->snd.p, &q->snd, sx_bytes(q->snd_id, 24), &skey);
    assert_true(r != NULL && r->tag == SX_R_OK);
    q->secured = ANSWERED;
    return !sent;
}

static void check_all(struct world *w)
{
    for (size_t i = 0; i < QUEUES; i++) {
        struct queue *q = &w->q[i];
        if (!q->used)
            continue;
        if (!check_queue(w, q))
            q->used = false;
        q->n = 0;
        if (q->deleted == ASKED)
            q->deleted = NOTHING;
        smp_peer_forget(&w->rcv.p);
        smp_peer_forget(&w->snd.p);
    }
}

static void subscribe_all(struct world *w)
{
    struct sx_cmd sub = { .tag = SX_SUB };

    for (size_t i = 0; i < QUEUES; i++) {
        if (!w->q[i].used)
            continue;
        const struct sx_rsp *r =
            smp_peer_cmd(&w->rcv.p, &w->q[i].rcv, sx_bytes(w->q[i].rcv_id, 24), &sub);
        assert_true(r != NULL && (r->tag == SX_R_SOK || r->tag == SX_R_OK));
        smp_peer_forget(&w->rcv.p);
    }
}

static void connect_both(struct world *w)
{
    connect_client(w, &w->rcv);
    connect_client(w, &w->snd);
}

/* Everything has happened that may be lost; on a slow machine it takes more rounds. */
static bool enough(const struct world *w, unsigned compacted)
{
    return w->created > QUEUES && w->delivered > 100 && w->deleted > 0 && compacted > 0;
}

static void nothing_answered_is_lost_or_repeated_when_the_server_is_killed(void **state)
{
    static struct world w;
    const char *text = getenv("SIMPLEX_SEED"), *rounds = getenv("SIMPLEX_ROUNDS");
    unsigned seed = text != NULL ? (unsigned)strtoul(text, NULL, 10) : (unsigned)sx_now_ms();
    int n_rounds = rounds != NULL ? atoi(rounds) : ROUNDS;
    unsigned compacted = 0;
    int n = 0;

    (void)state;
    print_message("SIMPLEX_SEED=%u\n", seed);
    srandom(seed);
    tmp_make(w.server.dir);
    w.server.option[0] = "--compact-kib"; /* all the time, so that it is killed meanwhile */
    w.server.option[1] = "1";
    server_process_run(&w.server);
    for (; n < n_rounds || (n_rounds >= 20 && !enough(&w, compacted) && n < 5 * n_rounds); n++) {
        connect_both(&w);
        subscribe_all(&w);
        ino_t before = store_log_file(&w);
        load(&w, random() % LOAD_MS);
        compacted += store_log_file(&w) != before;
        server_process_kill(&w.server);
        take_rest(&w);
        server_process_run(&w.server);
        connect_both(&w); /* GET is for connections that are not subscribed */
        check_all(&w);
        smp_peer_close(&w.rcv.p);
        smp_peer_close(&w.snd.p);
    }
    print_message(
        "%d kills: %lu queues made, %lu deleted, %lu messages sent, %lu delivered, %lu of "
        "them again; the store log was compacted in %u rounds\n",
        n, w.created, w.deleted, w.sent, w.delivered, w.redelivered, compacted);
    assert_true(n_rounds < 20 || enough(&w, compacted));
    server_process_kill(&w.server);
    tmp_remove(w.server.dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_answered_is_lost_or_repeated_when_the_server_is_killed),
    };

    assert_int_equal(sx_crypto_init(), SIMPLEX_OK);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
