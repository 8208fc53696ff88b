/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the capabilities of the agent cost: rotation of a queue, a new ratchet, receipts, redundant
 * queues. Agents in this process, servers in others, databases on disk; each figure stands beside
 * the same work without the capability.
 * BENCH_DIR: where the databases are; default /var/tmp.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "bench/sides.h"

#define ROUNDS 20
#define MESSAGES 1000

static char dir[200], i_db[300], j_db[300];
static struct side i, j;

static void open_both(size_t n_servers, const simplex_agent_config *cfg)
{
    side_open(&i, i_db, bench_servers, n_servers, cfg);
    side_open(&j, j_db, bench_servers, n_servers, cfg);
    i.peer = &j;
    side_connect(&i, 1);
}

static void close_both(void)
{
    side_close(&i);
    side_close(&j);
    side_remove_db(i_db);
    side_remove_db(j_db);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static void print_times(const char *what, double ms[ROUNDS])
{
    qsort(ms, ROUNDS, sizeof *ms, by_value);
    printf("  %-44s median %7.1f ms   longest %7.1f ms\n", what, ms[ROUNDS / 2], ms[ROUNDS - 1]);
    fflush(stdout);
}

static double since(int64_t start_us)
{
    return (double)(sx_mono_us() - start_us) / 1e3;
}

/* Until the old queue is gone from its server and the peer uses the new one. */
static void rotation(void)
{
    double ms[ROUNDS];

    for (size_t n = 0; n < ROUNDS; n++) {
        int64_t start = sx_mono_us();
        bench_must("switch", simplex_agent_switch(i.a, i.conns[0], sx_str("")));
        side_wait(&i, &i.moved, n + 1);
        side_wait(&j, &j.moved, n + 1);
        ms[n] = since(start);
    }
    print_times("a queue moves to another server", ms);
}

/* Until both have received a message under the new ratchet. */
static void synchronisation(void)
{
    double ms[ROUNDS];

    for (size_t n = 0; n < ROUNDS; n++) {
        int64_t start = sx_mono_us();
        bench_must("synchronise", simplex_agent_sync_ratchet(i.a, i.conns[0], true));
        side_wait(&i, &i.synced, n + 1);
        side_wait(&j, &j.synced, n + 1);
        ms[n] = since(start);
    }
    print_times("a new ratchet", ms);
}

static void one_at_a_time(const char *what)
{
    double ms[ROUNDS];
    int64_t id;

    for (size_t n = 0; n < ROUNDS; n++) {
        size_t seen = j.seen[SIMPLEX_EV_MSG];
        int64_t start = sx_mono_us();
        bench_must("send", simplex_agent_send(i.a, i.conns[0], sx_str("x"), 0, &id));
        side_wait(&j, &j.seen[SIMPLEX_EV_MSG], seen + 1);
        ms[n] = since(start);
    }
    print_times(what, ms);
}

/* Messages a second from the first call until the last of `last` at `at`. */
static void throughput(const char *what, struct side *at, int32_t last)
{
    static uint8_t body[1000];
    size_t before = at->seen[last];
    int64_t id, start = sx_mono_us();

    for (size_t n = 0; n < MESSAGES; n++)
        bench_must("send",
                   simplex_agent_send(i.a, i.conns[0], sx_bytes(body, sizeof body), 0, &id));
    side_wait(at, &at->seen[last], before + MESSAGES);
    printf("  %-44s %8.0f msg/s\n", what, MESSAGES / since(start) * 1e3);
    fflush(stdout);
}

static void redundant(int32_t queues, const char *what)
{
    simplex_agent_config cfg = { .size = sizeof cfg, .queues = queues };
    char text[80];

    bench_servers_start(3);
    open_both(3, &cfg);
    /* The joiner's and the initiator's further queues come into use with the first messages. */
    for (int n = 0; n < 30; n++) {
        int64_t id;
        struct side *from = n % 2 == 0 ? &i : &j, *to = n % 2 == 0 ? &j : &i;
        size_t seen = to->seen[SIMPLEX_EV_MSG];
        bench_must("send", simplex_agent_send(from->a, from->conns[0], sx_str("warm"), 0, &id));
        side_wait(to, &to->seen[SIMPLEX_EV_MSG], seen + 1);
    }
    (void)snprintf(text, sizeof text, "%s: from call to arrival", what);
    one_at_a_time(text);
    (void)snprintf(text, sizeof text, "%s: throughput", what);
    throughput(text, &j, SIMPLEX_EV_MSG);
    close_both();
    bench_servers_stop(3);
}

int main(void)
{
    const char *parent = getenv("BENCH_DIR");

    (void)snprintf(dir, sizeof dir, "%s/simplex-bench-XXXXXX",
                   parent != NULL ? parent : "/var/tmp");
    if (mkdtemp(dir) == NULL)
        bench_die("temporary folder", SIMPLEX_E_SYSTEM);
    (void)snprintf(i_db, sizeof i_db, "%s/i.db", dir);
    (void)snprintf(j_db, sizeof j_db, "%s/j.db", dir);

    bench_servers_start(2);
    open_both(2, NULL);
    printf("one connection, %d times each; everything durable, both agents and the servers here\n",
           ROUNDS);
    one_at_a_time("for comparison: a message, call to arrival");
    rotation();
    synchronisation();
    printf("\n%d messages of 1,000 bytes through one connection\n", MESSAGES);
    throughput("without receipts, until the last has arrived", &j, SIMPLEX_EV_MSG);
    j.receipts = true;
    throughput("with receipts, until the last one is back", &i, SIMPLEX_EV_RCVD);
    close_both();
    bench_servers_stop(2);
    printf("\nredundant queues, three servers\n");
    redundant(1, "1 queue");
    redundant(2, "2 queues");
    redundant(3, "3 queues");
    (void)rmdir(dir);
    return 0;
}
