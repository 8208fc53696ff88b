/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An agent with many connections: opening the database, subscribing, memory, what it costs to be
 * idle, and one message to all contacts. Servers are other processes; the agent that is measured
 * is one too, so that its memory and its wake-ups are its own.
 *
 * bench_scale [--full]      10,000 connections instead of 2,000, idle for 11 minutes instead of 20
 * s
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "bench/served.h"
#include "crypto/crypto.h"
#include "simplex/agent.h"

#define SERVERS_MAX 10
#define CONTACTS_MAX 1000
#define KEY "0123456789abcdef0123456789abcdef"
#define PARALLEL 64 /* connections being made at a time */

static struct served servers[SERVERS_MAX];
static char addresses[SERVERS_MAX][128];
static const char *address_list[SERVERS_MAX];

static void die(const char *what, simplex_rc rc)
{
    fprintf(stderr, "bench_scale: %s: %s\n", what, simplex_rc_text(rc));
    exit(1);
}

static void must(const char *what, simplex_rc rc)
{
    if (rc != SIMPLEX_OK)
        die(what, rc);
}

/* ---- an agent and what it told ---- */

struct side {
    simplex_agent *a;
    struct side *peer;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t inv, con, up, sent, received;
    int64_t cons[CONTACTS_MAX];
};

/* I hands each link to J at once: both are in this process. */
static void on_link(struct side *s, const simplex_event *ev)
{
    int64_t conn;

    s->inv++;
    if (s->peer != NULL)
        must("join", simplex_agent_join(s->peer->a, simplex_event_data(ev), sx_str("J"),
                                        SIMPLEX_PQ_OFF, &conn));
}

static void count(struct side *s, const simplex_event *ev)
{
    size_t n;

    switch (simplex_event_kind(ev)) {
    case SIMPLEX_EV_INV:
        on_link(s, ev);
        break;
    case SIMPLEX_EV_CONF:
        must("allow", simplex_agent_allow(s->a, simplex_event_conn(ev), simplex_event_conf(ev),
                                          sx_str("I")));
        break;
    case SIMPLEX_EV_CON:
        if (s->con < CONTACTS_MAX)
            s->cons[s->con] = simplex_event_conn(ev);
        s->con++;
        break;
    case SIMPLEX_EV_UP:
        (void)simplex_event_conns(ev, &n);
        s->up += n;
        break;
    case SIMPLEX_EV_MSG:
        s->received++;
        must("ack", simplex_agent_ack(s->a, simplex_event_conn(ev), simplex_event_msg_id(ev)));
        break;
    case SIMPLEX_EV_SENT:
        s->sent++;
        break;
    case SIMPLEX_EV_ERR:
    case SIMPLEX_EV_MERR:
        fprintf(stderr, "bench_scale: %s\n", simplex_event_json(ev));
        exit(1);
    default:
        break;
    }
}

static void on_event(void *user, const simplex_event *ev)
{
    struct side *s = user;

    pthread_mutex_lock(&s->lock);
    count(s, ev);
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static void wait_for(struct side *s, const size_t *counter, size_t n)
{
    pthread_mutex_lock(&s->lock);
    while (*counter < n)
        pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

static void side_open(struct side *s, const char *db, size_t n_servers)
{
    simplex_agent_config cfg = { .size = sizeof cfg,
                                 .db_path = db,
                                 .db_key = sx_str(KEY),
                                 .db_raw_key = true,
                                 .on_event = on_event,
                                 .user = s,
                                 .servers = address_list,
                                 .n_servers = n_servers };

    memset(s, 0, sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    must("open", simplex_agent_open(&cfg, &s->a));
}

static void side_close(struct side *s)
{
    must("close", simplex_agent_close(s->a));
    s->a = NULL;
}

/* ---- servers ---- */

static void start_servers(size_t n)
{
    char fingerprint[64];

    for (size_t i = 0; i < n; i++) {
        struct sx_wr w;
        servers[i] = served_start(NULL);
        sx_wr_fixed(&w, (uint8_t *)fingerprint, sizeof fingerprint);
        sx_b64url_encode(&w, sx_bytes(servers[i].key_hash, 32));
        (void)snprintf(addresses[i], sizeof addresses[i], "smp://%.*s@127.0.0.1:%u", (int)w.len,
                       fingerprint, (unsigned)servers[i].port);
        address_list[i] = addresses[i];
    }
}

static void stop_servers(size_t n)
{
    for (size_t i = 0; i < n; i++)
        served_stop(&servers[i]);
}

/* ---- the measured process ---- */

static double resident(void)
{
    struct served self = { .pid = getpid() };

    return served_memory(&self);
}

static long wakeups(void)
{
    struct rusage u;

    (void)getrusage(RUSAGE_SELF, &u);
    return u.ru_nvcsw;
}

static simplex_server_status sums(struct side *s)
{
    simplex_server_status sum = { .size = sizeof sum }, one = { .size = sizeof one };

    for (size_t n = 0; simplex_agent_server(s->a, n, &one) == SIMPLEX_OK; n++) {
        sum.subscriptions += one.subscriptions;
        sum.bytes_in += one.bytes_in;
        sum.bytes_out += one.bytes_out;
        sum.active += one.active;
    }
    return sum;
}

static void measure_idle(struct side *s, unsigned seconds)
{
    simplex_server_status before = sums(s);
    long woken = wakeups();

    sleep(seconds);
    woken = wakeups() - woken;
    simplex_server_status after = sums(s);
    double an_hour = 3600.0 / seconds;
    printf("    idle for %u s: %.0f wake-ups and %.0f KiB an hour\n", seconds,
           (double)woken * an_hour,
           (double)(after.bytes_in + after.bytes_out - before.bytes_in - before.bytes_out) / 1024 *
               an_hour);
}

/* The rest of the arguments are addresses. */
static int measure(int argc, char **argv)
{
    static struct side s;
    size_t n = strtoul(argv[3], NULL, 10), n_servers = 0;
    unsigned idle = (unsigned)strtoul(argv[4], NULL, 10);

    for (int i = 5; i < argc && n_servers < SERVERS_MAX; i++)
        address_list[n_servers++] = argv[i];
    double before = resident();
    int64_t start = sx_mono_us();
    side_open(&s, argv[2], n_servers);
    double opened = (double)(sx_mono_us() - start) / 1e3;
    wait_for(&s, &s.up, n);
    double subscribed = (double)(sx_mono_us() - start) / 1e3;
    sleep(1); /* what came with the answers is freed */
    double memory = resident() - before;
    simplex_server_status st = sums(&s);
    printf("%7zu  %7zu  %9.0f ms  %11.0f ms  %13.3f  %9.2f KiB\n", n, n_servers, opened, subscribed,
           (double)st.subscriptions / (double)n, memory / 1024 / (double)n);
    measure_idle(&s, idle);
    side_close(&s);
    return 0;
}

static void run_measure(const char *db, size_t n, size_t n_servers, unsigned idle)
{
    char count_text[24], idle_text[24];
    char *argv[5 + SERVERS_MAX + 1] = { (char *)"bench_scale", (char *)"--measure", (char *)db,
                                        count_text, idle_text };

    (void)snprintf(count_text, sizeof count_text, "%zu", n);
    (void)snprintf(idle_text, sizeof idle_text, "%u", idle);
    for (size_t i = 0; i < n_servers; i++)
        argv[5 + i] = addresses[i];
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        execv("/proc/self/exe", argv);
        _exit(127);
    }
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
        die("the measured process", SIMPLEX_E_SYSTEM);
}

/* ---- many connections ---- */

static void make_queues(const char *db, size_t n, size_t n_servers)
{
    static struct side s;
    int64_t conn;

    side_open(&s, db, n_servers);
    for (size_t i = 0; i < n; i++) {
        must("create", simplex_agent_create(s.a, SIMPLEX_PQ_OFF, &conn));
        if (i % 500 == 499) {
            wait_for(&s, &s.inv, i - PARALLEL);
            fprintf(stderr, "\r%zu of %zu connections made ", i + 1, n);
        }
    }
    wait_for(&s, &s.inv, n);
    fprintf(stderr, "\r\033[K");
    side_close(&s);
}

static void remove_db(const char *db)
{
    static const char *const ends[] = { "", "-wal", "-shm", "-lock", "-age" };
    char path[320];

    for (size_t i = 0; i < SX_COUNT(ends); i++) {
        (void)snprintf(path, sizeof path, "%s%s", db, ends[i]);
        (void)unlink(path);
    }
}

static void many(const char *dir, size_t n, size_t n_servers, unsigned idle)
{
    char db[300];

    (void)snprintf(db, sizeof db, "%s/many.db", dir);
    start_servers(n_servers);
    make_queues(db, n, n_servers);
    run_measure(db, n, n_servers, idle);
    stop_servers(n_servers);
    remove_db(db);
}

/* ---- one message to all ---- */

static struct side from, to;
static size_t n_contacts;

static void connect_all(void)
{
    int64_t conn;

    from.peer = &to;
    for (size_t n = 0; n < n_contacts; n++) {
        must("create", simplex_agent_create(from.a, SIMPLEX_PQ_OFF, &conn));
        wait_for(&from, &from.con, n > PARALLEL ? n - PARALLEL : 0);
    }
    wait_for(&from, &from.con, n_contacts);
    wait_for(&to, &to.con, n_contacts);
}

static void send_singly(simplex_batch_message *m)
{
    for (size_t n = 0; n < n_contacts; n++)
        must("send", simplex_agent_send(from.a, m[n].conn, m[n].body, 0, &m[n].msg_id));
}

static void send_together(simplex_batch_message *m)
{
    size_t sent;

    must("batch", simplex_agent_send_batch(from.a, m, n_contacts, sizeof *m, &sent));
    if (sent != n_contacts)
        die("batch", SIMPLEX_E_INTERNAL);
}

static void message_to_all(const char *what, void (*send)(simplex_batch_message *), size_t round)
{
    static simplex_batch_message m[CONTACTS_MAX];
    static uint8_t body[10000];

    for (size_t n = 0; n < n_contacts; n++)
        m[n] = (simplex_batch_message){ .conn = from.cons[n], .body = sx_bytes(body, sizeof body) };
    int64_t start = sx_mono_us();
    send(m);
    double stored = (double)(sx_mono_us() - start) / 1e6;
    wait_for(&from, &from.sent, round * n_contacts);
    double sent = (double)(sx_mono_us() - start) / 1e6;
    wait_for(&to, &to.received, round * n_contacts);
    double all = (double)(sx_mono_us() - start) / 1e6;
    printf("  %-28s %9.0f/s stored  %9.0f/s sent  %9.0f/s received\n", what,
           (double)n_contacts / stored, (double)n_contacts / sent, (double)n_contacts / all);
}

static void contacts(const char *dir)
{
    char i[300], j[300];

    (void)snprintf(i, sizeof i, "%s/i.db", dir);
    (void)snprintf(j, sizeof j, "%s/j.db", dir);
    start_servers(1);
    side_open(&from, i, 1);
    side_open(&to, j, 1);
    connect_all();
    printf("\na message of 10,000 bytes to %zu contacts (both agents and the server on this "
           "machine)\n",
           n_contacts);
    message_to_all("a call for each", send_singly, 1);
    message_to_all("simplex_agent_send_batch", send_together, 2);
    side_close(&from);
    side_close(&to);
    stop_servers(1);
    remove_db(i);
    remove_db(j);
}

int main(int argc, char **argv)
{
    const char *parent = getenv("BENCH_DIR");
    char dir[200];
    bool full = argc == 2 && strcmp(argv[1], "--full") == 0;
    size_t n = full ? 10000 : 2000;
    unsigned idle = full ? 660 : 20; /* a PING every ten minutes */

    if (argc > 5 && strcmp(argv[1], "--measure") == 0)
        return measure(argc, argv);
    if (argc > 1 && !full) {
        fprintf(stderr, "Usage: bench_scale [--full]\n");
        return 2;
    }
    (void)snprintf(dir, sizeof dir, "%s/simplex-bench-XXXXXX",
                   parent != NULL ? parent : "/var/tmp");
    if (mkdtemp(dir) == NULL)
        die("temporary folder", SIMPLEX_E_SYSTEM);
    printf("connections in one agent; open: simplex_agent_open has returned; subscribed: counted "
           "from\n"
           "the same start; tries: SUB commands for each queue\n\n");
    printf("%7s  %7s  %12s  %14s  %13s  %13s\n", "queues", "servers", "open", "subscribed", "tries",
           "memory each");
    many(dir, n, 1, idle);
    many(dir, n, SERVERS_MAX, idle);
    fflush(stdout);
    n_contacts = full ? CONTACTS_MAX : 200;
    contacts(dir);
    (void)rmdir(dir);
    return 0;
}
