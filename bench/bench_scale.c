/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An agent with many connections: opening the database, subscribing, memory, what it costs to be
 * idle, and one message to all contacts. Servers are other processes; the agent that is measured
 * is one too, so that its memory and its wake-ups are its own.
 *
 * bench_scale [--full]      10,000 connections instead of 2,000, idle for 11 minutes instead of 20
 * s
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "bench/served.h"
#include "bench/sides.h"

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
        bench_servers[n_servers++] = argv[i];
    double before = resident();
    int64_t start = sx_mono_us();
    side_open(&s, argv[2], bench_servers, n_servers, NULL);
    double opened = (double)(sx_mono_us() - start) / 1e3;
    side_wait(&s, &s.up, n);
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
        argv[5 + i] = (char *)(uintptr_t)bench_servers[i];
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        execv("/proc/self/exe", argv);
        _exit(127);
    }
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
        bench_die("the measured process", SIMPLEX_E_SYSTEM);
}

/* ---- many connections ---- */

static void make_queues(const char *db, size_t n, size_t n_servers)
{
    static struct side s;
    int64_t conn;

    side_open(&s, db, bench_servers, n_servers, NULL);
    for (size_t i = 0; i < n; i++) {
        bench_must("create", simplex_agent_create(s.a, SIMPLEX_PQ_OFF, &conn));
        if (i % 500 == 499) {
            side_wait(&s, &s.seen[SIMPLEX_EV_INV], i - 64);
            fprintf(stderr, "\r%zu of %zu connections made ", i + 1, n);
        }
    }
    side_wait(&s, &s.seen[SIMPLEX_EV_INV], n);
    fprintf(stderr, "\r\033[K");
    side_close(&s);
}

static void many(const char *dir, size_t n, size_t n_servers, unsigned idle)
{
    char db[300];

    (void)snprintf(db, sizeof db, "%s/many.db", dir);
    bench_servers_start(n_servers);
    make_queues(db, n, n_servers);
    run_measure(db, n, n_servers, idle);
    bench_servers_stop(n_servers);
    side_remove_db(db);
}

/* ---- one message to all ---- */

static struct side from, to;
static size_t n_contacts;

static void send_singly(simplex_batch_message *m)
{
    for (size_t n = 0; n < n_contacts; n++)
        bench_must("send", simplex_agent_send(from.a, m[n].conn, m[n].body, 0, &m[n].msg_id));
}

static void send_together(simplex_batch_message *m)
{
    size_t sent;

    bench_must("batch", simplex_agent_send_batch(from.a, m, n_contacts, sizeof *m, &sent));
    if (sent != n_contacts)
        bench_die("batch", SIMPLEX_E_INTERNAL);
}

static void message_to_all(const char *what, void (*send)(simplex_batch_message *), size_t round)
{
    static simplex_batch_message m[SIDE_CONNS];
    static uint8_t body[10000];

    for (size_t n = 0; n < n_contacts; n++)
        m[n] =
            (simplex_batch_message){ .conn = from.conns[n], .body = sx_bytes(body, sizeof body) };
    int64_t start = sx_mono_us();
    send(m);
    double stored = (double)(sx_mono_us() - start) / 1e6;
    side_wait(&from, &from.seen[SIMPLEX_EV_SENT], round * n_contacts);
    double sent = (double)(sx_mono_us() - start) / 1e6;
    side_wait(&to, &to.seen[SIMPLEX_EV_MSG], round * n_contacts);
    double all = (double)(sx_mono_us() - start) / 1e6;
    printf("  %-28s %9.0f/s stored  %9.0f/s sent  %9.0f/s received\n", what,
           (double)n_contacts / stored, (double)n_contacts / sent, (double)n_contacts / all);
}

static void contacts(const char *dir)
{
    char i[300], j[300];

    (void)snprintf(i, sizeof i, "%s/i.db", dir);
    (void)snprintf(j, sizeof j, "%s/j.db", dir);
    bench_servers_start(1);
    side_open(&from, i, bench_servers, 1, NULL);
    side_open(&to, j, bench_servers, 1, NULL);
    from.peer = &to;
    side_connect(&from, n_contacts);
    printf("\na message of 10,000 bytes to %zu contacts (both agents and the server on this "
           "machine)\n",
           n_contacts);
    message_to_all("a call for each", send_singly, 1);
    message_to_all("simplex_agent_send_batch", send_together, 2);
    side_close(&from);
    side_close(&to);
    bench_servers_stop(1);
    side_remove_db(i);
    side_remove_db(j);
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
        bench_die("temporary folder", SIMPLEX_E_SYSTEM);
    setvbuf(stdout, NULL, _IOLBF, 0); /* a row is there when it is measured, in a file too */
    printf("connections in one agent; open: simplex_agent_open has returned; subscribed: counted "
           "from\n"
           "the same start; tries: SUB commands for each queue\n\n");
    printf("%7s  %7s  %12s  %14s  %13s  %13s\n", "queues", "servers", "open", "subscribed", "tries",
           "memory each");
    many(dir, n, 1, idle);
    many(dir, n, SERVERS_MAX, idle);
    n_contacts = full ? SIDE_CONNS : 200;
    contacts(dir);
    (void)rmdir(dir);
    return 0;
}
