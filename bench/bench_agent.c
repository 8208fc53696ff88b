/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Agent to agent through our server on loopback, everything real: TLS, encrypted databases that
 * are synced to disk. Prints throughput, latency and the time to connect, beside the cost of the
 * cryptography that one message must pay for wherever it runs (see message_floor).
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "bench/floor.h"
#include "simplex/agent.h"
#include "simplex/server.h"

#define MAX_CONNS 100
#define MAX_THREADS 8

struct side {
    simplex_agent *a;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    char link[4096];
    int64_t conf;
    unsigned inv, confs, cons; /* events seen */
    int64_t last_conf_conn;
    unsigned received, sent;
    int64_t first_us, last_us; /* of received messages */
    double *latency_ms;        /* by arrival */
    unsigned room;
    const unsigned *watched; /* the counter somebody waits for, and the value */
    unsigned wanted;
};

static void die(const char *what, simplex_rc rc)
{
    fprintf(stderr, "bench_agent: %s: %s\n", what, simplex_rc_text(rc));
    exit(1);
}

/* A body starts with the time it was sent. */
static void on_message(struct side *s, const simplex_event *ev)
{
    simplex_bytes body = simplex_event_data(ev);
    int64_t now = sx_mono_us(), then;

    memcpy(&then, body.ptr, sizeof then);
    if (s->received < s->room)
        s->latency_ms[s->received] = (double)(now - then) / 1e3;
    if (s->received++ == 0)
        s->first_us = now;
    s->last_us = now;
    simplex_rc rc = simplex_agent_ack(s->a, simplex_event_conn(ev), simplex_event_msg_id(ev));
    if (rc != SIMPLEX_OK)
        die("ack", rc);
}

static void on_event(void *user, const simplex_event *ev)
{
    struct side *s = user;
    simplex_bytes data = simplex_event_data(ev);

    pthread_mutex_lock(&s->lock);
    switch (simplex_event_kind(ev)) {
    case SIMPLEX_EV_INV:
        memcpy(s->link, data.ptr, data.len);
        s->link[data.len] = 0;
        s->inv++;
        break;
    case SIMPLEX_EV_CONF:
        if (simplex_agent_allow(s->a, simplex_event_conn(ev), simplex_event_conf(ev),
                                sx_str("I")) != SIMPLEX_OK)
            die("allow", SIMPLEX_E_INTERNAL);
        break;
    case SIMPLEX_EV_CON:
        s->cons++;
        break;
    case SIMPLEX_EV_MSG:
        on_message(s, ev);
        break;
    case SIMPLEX_EV_SENT:
        s->sent++;
        break;
    case SIMPLEX_EV_ERR:
    case SIMPLEX_EV_MERR:
        fprintf(stderr, "bench_agent: %s\n", simplex_event_json(ev));
        exit(1);
    default:
        break;
    }
    /* Waking somebody for each event would measure the waking. */
    if (s->watched != NULL && *s->watched >= s->wanted) {
        s->watched = NULL;
        pthread_cond_broadcast(&s->changed);
    }
    pthread_mutex_unlock(&s->lock);
}

/* One waiter for each side. */
static void wait_until(struct side *s, const unsigned *counter, unsigned want)
{
    pthread_mutex_lock(&s->lock);
    while (*counter < want) {
        s->watched = counter;
        s->wanted = want;
        pthread_cond_wait(&s->changed, &s->lock);
    }
    pthread_mutex_unlock(&s->lock);
}

static void open_side(struct side *s, const char *dir, const char *name, const char *address)
{
    char path[300];
    simplex_agent_config cfg = { .size = sizeof cfg,
                                 .db_path = path,
                                 .db_key = sx_str("0123456789abcdef0123456789abcdef"),
                                 .db_raw_key = true,
                                 .on_event = on_event,
                                 .user = s,
                                 .servers = &address,
                                 .n_servers = 1 };

    memset(s, 0, sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    (void)snprintf(path, sizeof path, "%s/%s.db", dir, name);
    simplex_rc rc = simplex_agent_open(&cfg, &s->a);
    if (rc != SIMPLEX_OK)
        die("open", rc);
}

static void connect_pair(struct side *i, struct side *j, int64_t *ic, int64_t *jc)
{
    unsigned inv = i->inv, icon = i->cons, jcon = j->cons;
    simplex_rc rc = simplex_agent_create(i->a, SIMPLEX_PQ_OFF, ic);

    if (rc != SIMPLEX_OK)
        die("create", rc);
    wait_until(i, &i->inv, inv + 1);
    rc = simplex_agent_join(j->a, sx_str(i->link), sx_str("J"), SIMPLEX_PQ_OFF, jc);
    if (rc != SIMPLEX_OK)
        die("join", rc);
    wait_until(i, &i->cons, icon + 1);
    wait_until(j, &j->cons, jcon + 1);
}

struct load {
    struct side *from, *to;
    const int64_t *conns;
    unsigned n_conns, n_messages;
    unsigned window;  /* messages not yet received; 0: all at once */
    unsigned threads; /* that call send, each returns when its message is on disk; 0: 1 */
    atomic_uint next; /* message to send */
};

static void reset(struct side *s, unsigned room)
{
    s->received = s->sent = 0;
    s->room = room;
    free(s->latency_ms);
    s->latency_ms = calloc(room, sizeof *s->latency_ms);
}

static void *send_all(void *arg)
{
    struct load *l = arg;
    uint8_t body[1000] = { 0 };
    unsigned n;
    int64_t id;

    while ((n = atomic_fetch_add(&l->next, 1)) < l->n_messages) {
        if (l->window > 0)
            wait_until(l->to, &l->to->received, n + 1 > l->window ? n + 1 - l->window : 0);
        int64_t now = sx_mono_us();
        memcpy(body, &now, sizeof now);
        simplex_rc rc = simplex_agent_send(l->from->a, l->conns[n % l->n_conns],
                                           sx_bytes(body, sizeof body), 0, &id);
        if (rc != SIMPLEX_OK)
            die("send", rc);
    }
    return NULL;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double percentile(struct side *s, double p)
{
    return s->latency_ms[(unsigned)((double)(s->received - 1) * p)];
}

static void start_senders(struct load *l, pthread_t *t)
{
    l->next = 0;
    if (l->threads == 0)
        l->threads = 1;
    for (unsigned n = 0; n < l->threads; n++)
        pthread_create(&t[n], NULL, send_all, l);
}

static void join_senders(const struct load *l, pthread_t *t)
{
    for (unsigned n = 0; n < l->threads; n++)
        pthread_join(t[n], NULL);
}

/* ji NULL: one direction. Otherwise both at the same time, as people talk. */
static void run_load(struct load *ij, struct load *ji, double floor_us, const char *what)
{
    pthread_t ti[MAX_THREADS], tj[MAX_THREADS];
    int64_t start;

    reset(ij->to, ij->n_messages);
    if (ji != NULL)
        reset(ji->to, ji->n_messages);
    start = sx_mono_us();
    start_senders(ij, ti);
    if (ji != NULL)
        start_senders(ji, tj);
    join_senders(ij, ti); /* until then the sender is who waits */
    if (ji != NULL)
        join_senders(ji, tj);
    wait_until(ij->to, &ij->to->received, ij->n_messages);
    if (ji != NULL)
        wait_until(ji->to, &ji->to->received, ji->n_messages);
    double us = (double)(sx_mono_us() - start);
    double rate = (double)(ij->n_messages + (ji != NULL ? ji->n_messages : 0)) / us * 1e6;
    qsort(ij->to->latency_ms, ij->n_messages, sizeof(double), by_value);
    printf("  %-34s %8.0f msg/s   p50 %6.2f ms   p99 %6.2f ms   %5.2fx the floor\n", what, rate,
           percentile(ij->to, 0.5), percentile(ij->to, 0.99),
           2.0 / rate * 1e6 / floor_us); /* two cores */
}

static void remove_db(const char *dir, const char *name)
{
    static const char *const ends[] = { ".db", ".db-wal", ".db-shm", ".db-lock", ".db-age" };
    char path[300];

    for (size_t i = 0; i < SX_COUNT(ends); i++) {
        (void)snprintf(path, sizeof path, "%s/%s%s", dir, name, ends[i]);
        (void)unlink(path);
    }
}

int main(void)
{
    static struct side i, j;
    static int64_t ic[MAX_CONNS], jc[MAX_CONNS];
    char dir[] = "/tmp/simplex-bench-XXXXXX", address[512];
    size_t len = sizeof address;
    simplex_server_config cfg;
    simplex_server *server;
    simplex_rc rc;

    simplex_server_config_init(&cfg);
    cfg.threads = 1;
    rc = simplex_server_start(&cfg, &server);
    if (rc != SIMPLEX_OK)
        die("server", rc);
    if (mkdtemp(dir) == NULL || simplex_server_address(server, address, &len) != SIMPLEX_OK)
        die("setup", SIMPLEX_E_SYSTEM);
    open_side(&i, dir, "i", address);
    open_side(&j, dir, "j", address);

    struct floor f = measure_floor();
    double sync_us = measure_sync_us(dir);
    printf("Floors: cryptography of one message %.0f us in all; one fdatasync %.0f us\n",
           f.message_us, sync_us);

    int64_t start = sx_mono_us();
    for (unsigned n = 0; n < MAX_CONNS; n++)
        connect_pair(&i, &j, &ic[n], &jc[n]);
    double connect_ms = (double)(sx_mono_us() - start) / 1e3 / MAX_CONNS;
    printf("Time to establish a connection: %.1f ms; its cryptography alone: %.1f ms (%.1fx)\n",
           connect_ms, f.connect_ms, connect_ms / f.connect_ms);

    struct load ij = { .from = &i, .to = &j, .conns = ic, .n_conns = 1, .n_messages = 3000 };
    struct load ji = { .from = &j, .to = &i, .conns = jc, .n_conns = 1, .n_messages = 3000 };
    printf("Durable messages of 1,000 bytes, one direction:\n");
    run_load(&ij, NULL, f.message_us, "1 connection, all queued");
    ij.window = 1;
    run_load(&ij, NULL, f.message_us, "1 connection, one at a time");
    ij.window = 0;
    ij.n_messages = 8000;
    ij.n_conns = MAX_CONNS;
    ij.threads = MAX_THREADS;
    run_load(&ij, NULL, f.message_us, "100 connections, 8 threads");

    printf("Both directions at once (each turn of the talk costs a ratchet step of %.0f us, which\n"
           "the floor leaves out):\n",
           f.step_us);
    ij.n_messages = 3000;
    ij.n_conns = ij.threads = 1;
    run_load(&ij, &ji, f.message_us, "1 connection, all queued");
    ij.window = ji.window = 1;
    ij.n_messages = ji.n_messages = 2000;
    run_load(&ij, &ji, f.message_us, "1 connection, one at a time");
    ij.window = ji.window = 0;
    ij.n_messages = ji.n_messages = 5000;
    ij.n_conns = ji.n_conns = MAX_CONNS;
    ij.threads = ji.threads = MAX_THREADS;
    run_load(&ij, &ji, f.message_us, "100 connections, 8 threads a side");
    printf("  (floor: the cryptography above on both cores; the reference: 63 msg/s, 1.3 s to "
           "connect)\n");

    (void)simplex_agent_close(i.a);
    (void)simplex_agent_close(j.a);
    simplex_server_stop(server);
    remove_db(dir, "i");
    remove_db(dir, "j");
    (void)rmdir(dir);
    free(i.latency_ms);
    free(j.latency_ms);
    return 0;
}
