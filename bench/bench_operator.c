/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The figures an operator asks for: cycles a second with few and with many connections beside what
 * the prescribed cryptography alone allows on the same cores, memory of connections and queues,
 * the same with a server that keeps its state on disk, memory over a long run, and ten thousand
 * clients that come at once. The clients are the ones of
 * smp-load, in this process; the server is another process, and both share the cores.
 *
 * bench_operator [--full] [--memory | --disk] [--connections N] [seconds per row]
 * --memory, --disk: nothing but the cycles a second of a server that keeps its state there.
 * --connections: of those rows the one with so many.
 * BENCH_DIR: on the disk to be measured; default /var/tmp.
 */
#define _XOPEN_SOURCE 700 /* nftw */
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bench/cycle_floor.h"
#include "bench/load/load.h"
#include "bench/served.h"

#define IDLE 1000
#define QUEUES 20000
#define STORM 10000
#define SAMPLES_MAX 20000

static double seconds = 8;
static long cores;
static unsigned only_connections; /* 0: all rows */

struct shape { /* messages in flight in a queue, in all, and those that a queue sends at a time */
    unsigned connections, window, in_flight, burst;
};

static const struct shape rows[] = { { 2, 100, 100, 8 }, { 100, 8, 64, 4 }, { 2000, 8, 64, 8 } };

static struct load_options options_for(const struct served *s)
{
    struct load_options o = {
        .connections = 2,
        .queues = 1,
        .threads = (unsigned)cores,
        .window = 1,
        .burst = 1,
        .parallel = 64,
        .size = SX_BLOCK,
        .seconds = seconds,
        .timeout_ms = 300000,
    };

    memcpy(o.server.key_hash, s->key_hash, sizeof(o.server.key_hash));
    o.server.n_hosts = 1;
    if (sx_host_parse(sx_str("127.0.0.1"), &o.server.hosts[0]) != SIMPLEX_OK)
        exit(1);
    snprintf(o.server.port, sizeof(o.server.port), "%u", s->port);
    return o;
}

/* ---- watching the server while a load runs ---- */

struct watch {
    const struct served *s;
    double memory[LOAD_CLOSE + 1]; /* the last seen in each phase */
    double cpu_us, cycles;         /* of the run: processor time of both processes, and cycles */
    double cpu_first, done_first;
    double blocks, blocks_first;
    size_t n; /* samples of the run */
    double done[SAMPLES_MAX], rss[SAMPLES_MAX];
};

static struct cycle_sampler *sampler; /* of the row; NULL: none */

static double own_cpu(void)
{
    struct timespec t;

    return clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) == 0
               ? (double)t.tv_sec + (double)t.tv_nsec / 1e9
               : 0;
}

static bool look(void *user, const struct load_snapshot *s)
{
    struct watch *w = user;
    double now = served_memory(w->s);

    w->memory[s->phase] = now;
    if (sampler != NULL)
        cycle_sampler_set(sampler, s->phase == LOAD_RUN);
    if (s->phase == LOAD_RUN) {
        double cpu = served_cpu(w->s) + own_cpu();
        if (w->n == 0) {
            w->cpu_first = cpu;
            w->done_first = (double)s->done;
            w->blocks_first = (double)s->blocks;
        }
        w->cpu_us = (cpu - w->cpu_first) * 1e6;
        w->cycles = (double)s->done - w->done_first;
        w->blocks = (double)s->blocks - w->blocks_first;
    }
    if (s->phase == LOAD_RUN && w->n < SAMPLES_MAX) {
        w->done[w->n] = (double)s->done;
        w->rss[w->n++] = now;
    }
    return true;
}

static struct watch watch; /* large */
static struct load_result result;

static void run(const struct served *s, const struct load_options *o)
{
    memset(&watch, 0, sizeof(watch));
    watch.s = s;
    if (!load_run(o, look, &watch, &result))
        fprintf(stderr, "bench_operator: no connection could be made\n");
}

static void print_errors(void)
{
    for (size_t i = 0; i < result.errors.n; i++)
        printf("    %" PRIu64 " x %s\n", result.errors.kind[i].n, result.errors.kind[i].kind);
    if (result.unanswered > 0)
        printf("    %" PRIu64 " without an answer\n", result.unanswered);
}

/* What a process needs once must not count as memory of the first connection. */
static void warm(const struct served *s)
{
    struct load_options o = options_for(s);

    o.connections = 20;
    o.seconds = 0.5;
    run(s, &o);
}

/* ---- throughput ---- */

/* used_us: processor time of the sampler, which server and clients did not have. */
static void print_row(const struct shape *w, const struct cycle_costs *costs, double used_us,
                      double memory)
{
    double blocks = watch.blocks / watch.cycles, cpu_us = (watch.cpu_us - used_us) / watch.cycles;
    double rate = (double)result.done / result.seconds, floor_us = cycle_floor(costs, blocks);
    double best = ((double)cores * 1e6 - used_us / result.seconds) / floor_us;

    printf(
        "%11u  %9u  %5u  %9.0f  %6.2f  %12.0f  %6.0f%%  %10.0f us  %6.0f%%  %6.2f  %6.2f  %6.2f  "
        "%6.2f  %8.1f\n",
        w->connections, w->in_flight, w->burst, rate, blocks, best, 100 * rate / best, cpu_us,
        100 * floor_us / cpu_us, (double)hist_at(&result.deliver, 0.5) / 1e3,
        (double)hist_at(&result.deliver, 0.99) / 1e3, (double)hist_at(&result.deliver, 0.999) / 1e3,
        (double)result.deliver.max / 1e3,
        (watch.memory[LOAD_RUN] - memory) / w->connections / 1024);
    fflush(stdout);
}

/* dir: where the server keeps its state; NULL: in memory. */
static void row(const char *dir, const struct shape *w)
{
    struct served s = served_start(dir);
    struct load_options o = options_for(&s);
    double used_us;

    warm(&s);
    double memory = served_memory(&s);
    o.connections = w->connections;
    o.window = w->window;
    o.in_flight = w->in_flight;
    o.burst = w->burst;
    if (o.threads > w->connections)
        o.threads = w->connections;
    sampler = cycle_sampler_start((size_t)cores);
    run(&s, &o);
    struct cycle_costs costs = cycle_sampler_stop(sampler, &used_us);
    sampler = NULL;
    print_errors();
    if (watch.cycles > 0)
        print_row(w, &costs, used_us, memory);
    served_stop(&s);
}

static bool wanted(size_t i)
{
    return only_connections == 0 || rows[i].connections == only_connections;
}

static void throughput(void)
{
    struct cycle_costs c = cycle_costs_measure((size_t)cores);

    cycle_costs_print(&c);
    printf(
        "\nSEND -> MSG -> ACK with bodies of 16048 bytes on %ld cores, clients included, beside\n"
        "what this cryptography alone allows (measured in processor time on all cores, ten times "
        "a\n"
        "second while the row runs): of the cycles a second, which other work on the machine\n"
        "spoils, and of the processor time that server and clients used for a cycle, which it\n"
        "does not. burst: messages that a queue sends at a time. blocks: that a cycle took; the\n"
        "bound is for these. KiB/conn: of the server, with the messages that wait (16 KiB each, "
        "at\n"
        "most as many as are in flight)\n\n",
        cores);
    printf("%11s  %9s  %5s  %9s  %6s  %12s  %7s  %13s  %7s  %30s  %8s\n", "connections",
           "in flight", "burst", "cycles/s", "blocks", "cryptography", "of best", "time a cycle",
           "of best", "SEND->MSG ms p50 p99 p99.9 max", "KiB/conn");
    for (size_t i = 0; i < SX_COUNT(rows); i++)
        if (wanted(i))
            row(NULL, &rows[i]);
}

/* ---- on disk ---- */

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

/* What the file system needs for a sync of one message: the floor of a cycle that waits for it. */
static double sync_us(const char *dir)
{
    static const uint8_t block[SX_BLOCK];
    char path[256];
    int64_t start;

    snprintf(path, sizeof(path), "%s/sync", dir);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0)
        return 0;
    start = sx_mono_us();
    for (int i = 0; i < 100; i++)
        if (write(fd, block, sizeof(block)) < 0 || fdatasync(fd) != 0)
            break;
    double us = (double)(sx_mono_us() - start) / 100;
    close(fd);
    remove(path);
    return us;
}

static void durable(void)
{
    const char *parent = getenv("BENCH_DIR");
    char dir[200];
    bool said = false;

    for (size_t i = 0; i < SX_COUNT(rows); i++) {
        if (!wanted(i))
            continue;
        snprintf(dir, sizeof(dir), "%s/bench-operator-XXXXXX",
                 parent != NULL ? parent : "/var/tmp");
        if (mkdtemp(dir) == NULL) {
            fprintf(stderr, "bench_operator: no directory can be made in %s: set BENCH_DIR\n",
                    parent != NULL ? parent : "/var/tmp");
            return;
        }
        if (!said)
            printf(
                "\nthe same with every message on disk before it is answered OK (in %s, where a\n"
                "sync of 16 KiB takes %.0f us)\n\n",
                parent != NULL ? parent : "/var/tmp", sync_us(dir));
        said = true;
        row(dir, &rows[i]);
        nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    }
}

/* ---- memory ---- */

static void idle_connections(void)
{
    struct served s = served_start(NULL);
    struct load_options o = options_for(&s);

    warm(&s);
    double before = served_memory(&s);
    o.mode = LOAD_IDLE;
    o.connections = IDLE;
    o.seconds = 1;
    run(&s, &o);
    printf("memory of an idle TLS connection (%d of them)            %10.1f KiB\n", IDLE,
           (watch.memory[LOAD_RUN] - before) / IDLE / 1024);
    print_errors();
    served_stop(&s);
}

static void empty_queues(void)
{
    struct served s = served_start(NULL);
    struct load_options o = options_for(&s);

    warm(&s);
    o.threads = 1;
    o.queues = QUEUES;
    o.only_prepare = true;
    run(&s, &o);
    printf("memory of an empty secured queue (%d of them)           %10.0f bytes\n", QUEUES,
           (watch.memory[LOAD_PREPARE] - watch.memory[LOAD_CONNECT]) / QUEUES);
    printf("time to make and secure a queue                            %10.1f us\n",
           result.prepare_seconds * 1e6 / QUEUES);
    print_errors();
    served_stop(&s);
}

/* Least squares over the samples, without those of the first fifth: buffers find their size. */
static double slope(const struct watch *w)
{
    double n = 0, x = 0, y = 0, xx = 0, xy = 0;

    for (size_t i = w->n / 5; i < w->n; i++) {
        n++;
        x += w->done[i];
        y += w->rss[i];
        xx += w->done[i] * w->done[i];
        xy += w->done[i] * w->rss[i];
    }
    double d = n * xx - x * x;
    return d > 0 ? (n * xy - x * y) / d : 0;
}

static void long_run(uint64_t messages)
{
    struct served s = served_start(NULL);
    struct load_options o = options_for(&s);

    warm(&s);
    o.connections = 100;
    o.window = 2;
    o.messages = messages;
    o.seconds = 3600;
    run(&s, &o);
    printf("resident memory over %" PRIu64 " messages: slope %.0f bytes per 10^6 messages,\n"
           "    %.1f MiB at the end\n",
           result.done, slope(&watch) * 1e6, watch.memory[LOAD_RUN] / 1048576);
    print_errors();
    served_stop(&s);
}

/* ---- everybody at once ---- */

static void storm(void)
{
    struct served s = served_start(NULL);
    struct load_options o = options_for(&s);

    o.mode = LOAD_STORM;
    o.connections = STORM;
    o.seconds = 0.1; /* one round */
    run(&s, &o);
    printf("%d connections opened at once: %u served in %.1f s (%.0f/s); half of them within\n"
           "    %.1f s, the slowest after %.1f s\n",
           STORM, result.ready, result.seconds, result.ready / result.seconds,
           (double)hist_at(&result.connect, 0.5) / 1e6, (double)result.connect.max / 1e6);
    print_errors();
    served_stop(&s);
}

struct choice {
    bool memory, disk; /* the tables of cycles */
    bool rest;
    uint64_t messages; /* of the long run */
};

static bool read_number(const char *text, double *n)
{
    char *end;

    *n = text == NULL ? 0 : strtod(text, &end);
    return *n > 0 && *end == 0;
}

static bool read_options(char **arg, struct choice *c)
{
    double n;

    for (; *arg != NULL; arg++) {
        if (strcmp(*arg, "--full") == 0) {
            c->messages = 1000000;
        } else if (strcmp(*arg, "--memory") == 0) {
            c->disk = c->rest = false;
        } else if (strcmp(*arg, "--disk") == 0) {
            c->memory = c->rest = false;
        } else if (strcmp(*arg, "--connections") == 0 && read_number(arg[1], &n)) {
            only_connections = (unsigned)n;
            arg++;
        } else if (!read_number(*arg, &seconds)) {
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    struct choice c = { .memory = true, .disk = true, .rest = true, .messages = 50000 };

    if (argc < 1 || !read_options(argv + 1, &c)) {
        fprintf(stderr, "Usage: bench_operator [--full] [--memory | --disk] [--connections N] "
                        "[seconds per row]\n");
        return 2;
    }
    cores = sysconf(_SC_NPROCESSORS_ONLN);
    cores = cores < 1 ? 1 : cores > LOAD_THREADS_MAX ? LOAD_THREADS_MAX : cores;
    if (load_raise_files() < STORM + 100)
        fprintf(stderr, "bench_operator: the limit of open files is low (ulimit -Hn): the last "
                        "figure will show errors\n");
    if (sx_crypto_init() != SIMPLEX_OK)
        return 1;
    if (c.memory)
        throughput();
    if (c.disk)
        durable();
    if (!c.rest)
        return 0;
    printf("\n");
    idle_connections();
    empty_queues();
    fflush(stdout);
    long_run(c.messages);
    fflush(stdout);
    storm();
    return 0;
}
