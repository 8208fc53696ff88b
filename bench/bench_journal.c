/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the journal of messages makes of the disk: messages added and acknowledged, many to a sync
 * as a busy server has them, beside the same bytes written to a plain file with as many syncs, in
 * turns in the same run. Usage: bench_journal [directory]
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <dirent.h>

#include "bench/usage.h"
#include "journal.h"
#include "journal_internal.h"

enum { GROUP_MAX = 1000, BYTES = 96 << 20 };

static char dir[400];
static pthread_mutex_t stripes[SX_STORE_SHARDS];
static struct sx_msg *sent[GROUP_MAX];

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    perror(what);
    exit(1);
}

static bool load(void *user, const uint8_t *rid, struct sx_msg *m)
{
    (void)user;
    (void)rid;
    (void)m;
    return false;
}

static struct sx_journal *open_journal(void)
{
    struct sx_journal_cfg cfg = { .dir = dir, .stripes = stripes, .load = load };
    char text[600] = "";
    struct sx_errtext err = { text, sizeof text };
    struct sx_journal *j;

    if (sx_journal_open(&cfg, &err, &j) != SIMPLEX_OK) {
        fprintf(stderr, "%s\n", text);
        exit(1);
    }
    return j;
}

static struct sx_msg *make_msg(size_t len, const uint8_t *body)
{
    struct sx_msg *m = sx_malloc(sizeof(*m) + len);

    must(m != NULL, "message");
    memset(m, 0, sizeof(*m));
    atomic_init(&m->refs, 1);
    m->len = (uint16_t)len;
    sx_random(m->id, SX_ID_LEN);
    memcpy(m->body, body, len);
    return m;
}

/* A group is added and synced, then acknowledged together with the next one. */
static double run_journal(size_t len, unsigned group, unsigned rounds)
{
    static uint8_t body[SX_BODY_MAX];
    uint8_t rid[SX_ID_LEN] = { 0 };
    struct sx_journal *j = open_journal();
    int64_t start = sx_mono_us();

    sx_random(body, sizeof body);
    for (unsigned r = 0; r < rounds; r++) {
        for (unsigned i = 0; i < group; i++) {
            unsigned stripe = i % SX_STORE_SHARDS;
            struct sx_msg *m = make_msg(len, body);
            pthread_mutex_lock(&stripes[stripe]);
            if (sent[i] != NULL)
                must(sx_journal_del(j, stripe, sent[i]), "del");
            must(sx_journal_add(j, stripe, rid, m), "add");
            pthread_mutex_unlock(&stripes[stripe]);
            sx_msg_unref(sent[i]);
            sent[i] = m;
        }
        must(sx_journal_sync(j) == SIMPLEX_OK, "sync");
        while (sx_journal_tidy(j)) {
        }
    }
    double seconds = (double)(sx_mono_us() - start) / 1e6;
    for (unsigned i = 0; i < group; i++) {
        sx_journal_forget(j, i % SX_STORE_SHARDS, sent[i]);
        sx_msg_unref(sent[i]);
        sent[i] = NULL;
    }
    sx_journal_note_forgotten(j);
    sx_journal_let_go(j);
    sx_journal_close(j);
    return seconds;
}

/* The same bytes: one write and one sync a group. */
static double run_plain(size_t bytes, unsigned rounds)
{
    char path[500];
    uint8_t *block = sx_calloc(1, bytes);

    must(block != NULL, "block");
    sx_random(block, bytes);
    (void)snprintf(path, sizeof path, "%s/plain", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    must(fd >= 0, path);
    int64_t start = sx_mono_us();
    for (unsigned r = 0; r < rounds; r++) {
        must(pwrite(fd, block, bytes, (off_t)((uint64_t)bytes * r)) == (ssize_t)bytes, "write");
        must(fdatasync(fd) == 0, "fdatasync");
    }
    double seconds = (double)(sx_mono_us() - start) / 1e6;
    (void)close(fd);
    (void)unlink(path);
    sx_free(block);
    return seconds;
}

static void compare(size_t len, unsigned group)
{
    size_t bytes = group * ((size_t)sx_record_size(len) + SX_RECORD_HEADER);
    unsigned rounds = (unsigned)(BYTES / 4 / bytes), most = 1000;
    double plain = 0, journal = 0;

    rounds = rounds > most ? most : rounds < 4 ? 4 : rounds;
    for (unsigned turn = 0; turn < 3; turn++) {
        plain += run_plain(bytes, rounds);
        journal += run_journal(len, group, rounds);
    }
    double n = 3.0 * rounds * group, mb = 3.0 * rounds * (double)bytes / 1e6;
    printf(
        "  %5zu bytes, %4u a sync: %8.0f messages/s, %6.1f MB/s; plain file %6.1f MB/s; %3.0f%%\n",
        len, group, n / journal, mb / journal, mb / plain, 100 * plain / journal);
    fflush(stdout);
}

static void remove_all(void)
{
    char path[700];
    DIR *d = opendir(dir);
    struct dirent *e;

    while (d != NULL && (e = readdir(d)) != NULL) {
        (void)snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        (void)unlink(path);
    }
    if (d != NULL)
        (void)closedir(d);
    (void)rmdir(dir);
}

int main(int argc, char **argv)
{
    static const size_t lengths[] = { 200, 16048 };
    static const unsigned groups[] = { 1, 10, 100, 1000 };

    bench_no_options(argc, argv, "bench_journal [directory]");
    (void)snprintf(dir, sizeof dir, "%.300s/bench_journal.XXXXXX", argc > 1 ? argv[1] : "/tmp");
    must(sx_crypto_init() == SIMPLEX_OK && mkdtemp(dir) != NULL, dir);
    for (size_t i = 0; i < SX_STORE_SHARDS; i++)
        must(pthread_mutex_init(&stripes[i], NULL) == 0, "mutex");
    printf("messages added and acknowledged, in %s\n", dir);
    for (size_t i = 0; i < SX_COUNT(lengths); i++)
        for (size_t k = 0; k < SX_COUNT(groups); k++)
            compare(lengths[i], groups[k]);
    remove_all();
    return 0;
}
