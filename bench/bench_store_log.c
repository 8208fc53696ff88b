/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long the server needs to start with its queues in the store log, and how it grows; what a
 * queue takes in memory. Usage: bench_store_log [directory [queues ...]]
 *
 * The log is what a server leaves that runs long: every queue was created, secured, used, and
 * every tenth has a notifier; so three lines a queue are read and one is written. The second start
 * reads the compacted log, one line a queue. Beside it, what the disk needs for the same bytes.
 */
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/usage.h"
#include "server/store_index.h"
#include "server/store_load.h"

static char path[512];

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "%s failed\n", what);
    exit(1);
}

static double since(int64_t us)
{
    return (double)(sx_mono_us() - us) / 1e6;
}

/* ---- a log of the kind ---- */

static void line(FILE *f, struct sx_wr *w, const struct sx_slog_record *r)
{
    sx_wr_reset(w);
    sx_slog_encode(w, r);
    sx_wr_u8(w, '\n');
    must(!w->bad && fwrite(w->p, 1, w->len, f) == w->len, "writing the log");
}

static void random_key(struct sx_pub *k)
{
    k->alg = SX_ED25519;
    sx_random(k->b, 32);
}

static void queue(FILE *f, struct sx_wr *w, bool notifies)
{
    struct sx_slog_record r = { .tag = SX_SLOG_CREATE,
                                .rk_count = 1,
                                .queue_mode = SX_MODE_MESSAGING };
    struct sx_pub key = { 0 };

    random_key(&key);
    r.rk = &key;
    sx_random(r.rid, sizeof(r.rid));
    sx_random(r.sid, sizeof(r.sid));
    sx_random(r.rdh, sizeof(r.rdh));
    if (notifies) {
        r.has_notifier = true;
        random_key(&r.ntf_key);
        sx_random(r.ntf_id, sizeof(r.ntf_id));
        sx_random(r.ntf_secret, sizeof(r.ntf_secret));
    }
    line(f, w, &r);
    r.tag = SX_SLOG_SECURE;
    random_key(&r.sk);
    line(f, w, &r);
    r.tag = SX_SLOG_TIME;
    r.day = 20000;
    line(f, w, &r);
}

static void make_log(size_t n)
{
    FILE *f = fopen(path, "wb");
    struct sx_wr w;

    must(f != NULL, path);
    sx_wr_init(&w, SX_SLOG_LINE_MAX);
    for (size_t i = 0; i < n; i++)
        queue(f, &w, i % 10 == 0);
    sx_wr_free(&w);
    must(fclose(f) == 0, "writing the log");
}

static double file_mib(void)
{
    struct stat st;

    must(stat(path, &st) == 0, path);
    return (double)st.st_size / (1 << 20);
}

/* ---- figures ---- */

struct started {
    double seconds, mib;
    size_t bytes; /* of the heap */
};

static struct started start(size_t n)
{
    char problem[512] = "";
    struct sx_errtext err = { problem, sizeof(problem) };
    struct sx_load_cfg cfg = { .path = path };
    struct sx_qstore_cfg store = { .quota = 0 };
    struct sx_store *st;
    struct sx_slog *log;
    struct started s = { .mib = file_mib() };

    size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
    int64_t from = sx_mono_us();
    must(sx_qstore_open(&store, &st) == SIMPLEX_OK, "the queue store");
    simplex_rc rc = sx_store_load(st, &cfg, NULL, &err, &log);
    must(rc == SIMPLEX_OK, problem[0] != 0 ? problem : simplex_rc_text(rc));
    s.seconds = since(from);
    s.bytes = mallinfo2().uordblks + mallinfo2().hblkhd - before;
    must(sx_qstore_queues(st) == n, "loading all queues");
    must(sx_slog_close(log) == SIMPLEX_OK, "closing the log");
    sx_qstore_close(st);
    return s;
}

/* The bytes of the log alone: read, written beside it, synced. */
static double disk_alone(void)
{
    static uint8_t buf[1 << 20];
    char copy[sizeof(path) + 8];
    ssize_t n;

    snprintf(copy, sizeof(copy), "%s.copy", path);
    int64_t from = sx_mono_us();
    int in = open(path, O_RDONLY);
    int out = open(copy, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    must(in >= 0 && out >= 0, copy);
    while ((n = read(in, buf, sizeof(buf))) > 0)
        must(write(out, buf, (size_t)n) == n, "writing a copy");
    must(n == 0 && fdatasync(out) == 0, "syncing a copy");
    double s = since(from);
    close(in);
    close(out);
    must(unlink(copy) == 0, copy);
    return s;
}

static void remove_all(void)
{
    char command[sizeof(path) + 16];

    snprintf(command, sizeof(command), "rm -f '%s'*", path);
    must(system(command) == 0, command);
}

static void measure(size_t n)
{
    make_log(n);
    struct started full = start(n);
    struct started again = start(n);
    double disk = disk_alone();

    printf("%8zu  %7.0f  %8.2f  %7.0f  %8.2f  %8.2f  %10.2f  %6zu\n", n, full.mib, full.seconds,
           again.mib, again.seconds, disk, again.seconds * 1e6 / (double)n, again.bytes / n);
    fflush(stdout);
    remove_all();
}

int main(int argc, char **argv)
{
    static const size_t usual[] = { 10000, 100000, 1000000 };

    bench_no_options(argc, argv, "bench_store_log [directory [queues ...]]");
    snprintf(path, sizeof(path), "%s/bench-store.log", argc > 1 ? argv[1] : ".");
    must(sx_crypto_init() == SIMPLEX_OK, "the random generator");
    printf("           a long log         compacted         disk                   bytes\n"
           "  queues      MiB   seconds      MiB   seconds   seconds    us/queue   /queue\n");
    for (int i = 2; i < argc; i++)
        measure(strtoul(argv[i], NULL, 10));
    for (size_t i = 0; argc <= 2 && i < SX_COUNT(usual); i++)
        measure(usual[i]);
    return 0;
}
