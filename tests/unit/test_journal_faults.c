/* SPDX-License-Identifier: Apache-2.0 */
/* The journal on a disk that is full or fails, and after a power loss. */
#define _GNU_SOURCE /* O_PATH */
#include "journal_util.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>

static void limit_files(rlim_t bytes)
{
    struct rlimit r;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &r), 0);
    r.rlim_cur = bytes < r.rlim_max ? bytes : r.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &r), 0);
}

/* ---- a full disk ---- */

/* Segments can no more be made, those there are can be written to. */
static void refuses_messages_on_a_full_disk_and_can_be_drained(void **state)
{
    static struct sx_msg *m[200];
    struct jt *t = jt_new();
    size_t n = 0;

    (void)state;
    jt_open(t);
    limit_files(SX_SEGMENT_MIN - 1);
    while (sx_journal_room(t->j, 1000)) {
        assert_true(n < SX_COUNT(m));
        m[n++] = jt_add(t, 1, 1000);
        if (n % 10 == 0)
            jt_sync(t);
    }
    struct sx_msg *refused = jt_msg(1000);
    assert_false(jt_try_add(t, 1, refused));
    jt_sync(t);
    jt_tidy(t);
    jt_tidy(t);
    assert_false(jt_try_add(t, 1, refused));
    assert_int_equal(t->warnings, 1); /* the operator is told once */
    limit_files(RLIM_INFINITY);
    struct jt *copy = jt_snapshot(t);
    jt_open(copy);
    jt_expect(copy, m, n);
    jt_free(copy);
    limit_files(SX_SEGMENT_MIN - 1);
    assert_true(n > 40 && n < 60);
    for (size_t i = 0; i < 30; i++)
        jt_del(t, m[i]);
    jt_sync(t);
    limit_files(RLIM_INFINITY);
    assert_false(jt_try_add(t, 1, refused)); /* it tries when it tidies, not each time */
    jt_tidy(t);
    assert_int_equal(t->warnings, 2); /* and that it is over */
    assert_true(jt_try_add(t, 1, refused));
    sx_msg_unref(refused);
    jt_reopen(t);
    assert_int_equal(t->count, n - 30 + 1);
    while (n > 30)
        sx_msg_unref(m[--n]);
    jt_free(t);
}

/* Even writes fail that had their room; then there is space again. */
static void recovers_from_writes_that_fail(void **state)
{
    struct sx_msg *m[12];
    struct jt *t = jt_new();

    (void)state;
    jt_open(t);
    for (size_t i = 0; i < 4; i++)
        m[i] = jt_add(t, 1, 2000);
    jt_sync(t);
    for (size_t i = 4; i < 8; i++)
        m[i] = jt_add(t, (uint8_t)i, 2000);
    assert_int_equal(sx_journal_flush(t->j), SIMPLEX_OK);
    for (size_t i = 8; i < 12; i++)
        m[i] = jt_add(t, (uint8_t)i, 2000);
    jt_del(t, m[5]);
    limit_files(8 * 2096 + SX_SEGMENT_HEADER + 1000); /* in the middle of the ninth */
    assert_int_equal(sx_journal_sync(t->j), SIMPLEX_E_DB_FULL);
    assert_int_equal(t->warnings, 1);
    assert_non_null(strstr(t->warned, "free space"));
    /* Nothing is taken until it recovered. */
    assert_false(sx_journal_room(t->j, 1));
    assert_false(jt_try_del(t, m[0]));
    assert_int_equal(sx_journal_flush(t->j), SIMPLEX_E_DB_FULL);
    assert_int_equal(sx_journal_recover(t->j), SIMPLEX_E_DB_FULL);
    assert_int_equal(sx_journal_recover(t->j), SIMPLEX_E_DB_FULL);
    assert_int_equal(sx_journal_sync(t->j), SIMPLEX_E_DB_FULL);
    jt_forget(t, m[6]);
    jt_let_go(t);
    limit_files(RLIM_INFINITY);
    assert_int_equal(sx_journal_recover(t->j), SIMPLEX_OK);
    assert_int_equal(sx_journal_recover(t->j), SIMPLEX_OK); /* there is nothing to do */
    /* What recovered is durable. */
    struct sx_msg *want[10] = { m[0], m[1], m[2], m[3], m[4], m[7], m[8], m[9], m[10], m[11] };
    struct jt *copy = jt_snapshot(t);
    jt_open(copy);
    jt_expect(copy, want, 10);
    assert_int_equal(copy->warnings, 0);
    jt_free(copy);
    assert_true(jt_try_del(t, m[0]));
    jt_reopen(t);
    jt_expect(t, want + 1, 9);
    for (size_t i = 0; i < 10; i++)
        sx_msg_unref(want[i]);
    jt_free(t);
}

static void starts_on_a_full_disk(void **state)
{
    struct jt *t = jt_new();

    (void)state;
    jt_open(t);
    struct sx_msg *m = jt_add(t, 1, 2000);
    jt_close(t);
    limit_files(SX_SEGMENT_MIN - 1);
    jt_open(t);
    assert_int_equal(t->warnings, 1);
    jt_expect(t, &m, 1);
    assert_false(sx_journal_room(t->j, 1));
    assert_int_equal(sx_journal_sync(t->j), SIMPLEX_E_DB_FULL);
    assert_false(sx_journal_tidy(t->j));
    assert_int_equal(sx_journal_recover(t->j), SIMPLEX_E_DB_FULL);
    jt_reopen(t); /* stopped and started meanwhile */
    limit_files(RLIM_INFINITY);
    assert_int_equal(sx_journal_recover(t->j), SIMPLEX_OK);
    sx_msg_unref(jt_add(t, 1, 10));
    jt_reopen(t);
    assert_int_equal(t->count, 2);
    sx_msg_unref(m);
    jt_free(t);
}

/* ---- syncs that fail, and power that goes ---- */

enum { FILES = 64 };

/* What the disk has for sure: files as they were when they were synced. */
static struct disk {
    ino_t inode[FILES];
    uint8_t *content[FILES];
    size_t len[FILES];
    size_t count;
    int fail_in; /* the sync that fails; negative: none */
    int error;
} disk;

static uint32_t rng_state;

static uint32_t rng(uint32_t below)
{
    rng_state = rng_state * 1664525 + 1013904223;
    return (uint32_t)((uint64_t)(rng_state >> 8) * below >> 24);
}

static size_t slot_of(ino_t inode)
{
    size_t i = 0;

    while (i < disk.count && disk.inode[i] != inode)
        i++;
    return i;
}

static int disk_sync(int fd)
{
    struct stat st;

    if (disk.fail_in == 0) {
        errno = disk.error;
        disk.fail_in = -1;
        return -1;
    }
    if (disk.fail_in > 0)
        disk.fail_in--;
    assert_int_equal(fstat(fd, &st), 0);
    size_t i = slot_of(st.st_ino);
    if (i == disk.count) {
        assert_true(disk.count < FILES);
        disk.count++;
    }
    free(disk.content[i]);
    disk.inode[i] = st.st_ino;
    disk.len[i] = (size_t)st.st_size;
    disk.content[i] = malloc(disk.len[i] + 1);
    assert_int_equal(pread(fd, disk.content[i], disk.len[i], 0), st.st_size);
    return 0;
}

static void disk_reset(void)
{
    while (disk.count > 0) {
        disk.count--;
        free(disk.content[disk.count]);
        disk.content[disk.count] = NULL;
    }
    disk.fail_in = -1;
    disk.error = EIO;
}

/* Of what was not synced each sector reached the disk or did not. */
static void after_power_loss(const char *path, const char *name, void *arg)
{
    char to[400];
    struct stat st;
    size_t len;
    uint8_t *now = jt_read(path, &len);

    assert_int_equal(stat(path, &st), 0);
    size_t i = slot_of(st.st_ino);
    for (size_t at = 0; at < len; at += 512) {
        size_t n = len - at < 512 ? len - at : 512;
        if (rng(2) == 0)
            continue;
        size_t old = i < disk.count && at < disk.len[i] ? disk.len[i] - at : 0;
        old = old < n ? old : n;
        if (old > 0)
            memcpy(now + at, disk.content[i] + at, old);
        memset(now + at + old, 0, n - old);
    }
    (void)snprintf(to, sizeof to, "%.100s/%.255s", (const char *)arg, name);
    jt_write(to, now, len);
    free(now);
}

enum { OPS = 400 };

static struct entry {
    struct sx_msg *m;
    bool durable, deleted, deleted_durable;
} entries[OPS];
static size_t n_entries;

static void all_durable(void)
{
    for (size_t i = 0; i < n_entries; i++) {
        entries[i].durable = true;
        entries[i].deleted_durable = entries[i].deleted;
    }
}

static const struct sx_msg *loaded_as(const struct jt *t, const uint8_t *id)
{
    for (size_t i = 0; i < t->count; i++)
        if (memcmp(t->loaded[i]->id, id, SX_ID_LEN) == 0)
            return t->loaded[i];
    return NULL;
}

static void check_crash(struct jt *t)
{
    struct jt *copy = jt_new();
    size_t known = 0;

    jt_each_file(t->dir, after_power_loss, copy->dir);
    jt_open(copy);
    for (size_t i = 0; i < n_entries; i++) {
        const struct sx_msg *m = loaded_as(copy, entries[i].m->id);
        if (entries[i].durable && !entries[i].deleted)
            assert_non_null(m);
        if (entries[i].deleted_durable)
            assert_null(m);
        if (m != NULL) {
            known++;
            jt_check(m);
        }
    }
    assert_int_equal(copy->count, known);
    for (size_t i = 1; i < copy->count; i++)
        assert_true(copy->loaded[i - 1]->journal.seq < copy->loaded[i]->journal.seq);
    jt_free(copy);
}

static void recover(struct jt *t)
{
    unsigned tries = 0;

    while (sx_journal_recover(t->j) != SIMPLEX_OK)
        assert_true(tries++ < 3);
    all_durable();
}

static void one_step(struct jt *t)
{
    uint32_t what = rng(100);

    if (what < 45 && n_entries < OPS) {
        struct sx_msg *m = jt_msg(rng(2) == 0 ? rng(SX_BODY_MAX) : rng(600));
        if (jt_try_add(t, (uint8_t)rng(256), m))
            entries[n_entries++] = (struct entry){ .m = m };
        else
            sx_msg_unref(m);
    } else if (what < 75 && n_entries > 0) {
        struct entry *e = &entries[rng((uint32_t)n_entries)];
        if (!e->deleted && jt_try_del(t, e->m))
            e->deleted = true;
    } else if (what < 85) {
        if (sx_journal_flush(t->j) != SIMPLEX_OK)
            recover(t);
    } else if (what < 93) {
        if (sx_journal_sync(t->j) == SIMPLEX_OK)
            all_durable();
        else
            recover(t);
    } else {
        (void)sx_journal_tidy(t->j);
    }
}

/* Random work, with syncs that fail now and then; the power goes at random points of it. */
static void keeps_what_was_synced_when_the_power_goes(void **state)
{
    unsigned crashes = 0, failures = 0;

    (void)state;
    for (uint32_t seed = 1; seed <= 30; seed++) {
        struct jt *t = jt_new();
        rng_state = seed * 2654435761u;
        disk_reset();
        n_entries = 0;
        t->cfg.sync_fd = disk_sync;
        jt_open(t);
        for (unsigned i = 0; i < 500; i++) {
            if (rng(40) == 0)
                disk.fail_in = (int)rng(3);
            one_step(t);
            if (rng(50) == 0) {
                crashes++;
                check_crash(t);
            }
        }
        disk.fail_in = -1;
        failures += t->warnings;
        jt_close(t);
        jt_open(t);
        all_durable();
        check_crash(t);
        while (n_entries > 0)
            sx_msg_unref(entries[--n_entries].m);
        jt_free(t);
    }
    disk_reset();
    print_message("%u power losses, %u warnings of failed syncs\n", crashes, failures);
    assert_true(crashes > 100 && failures > 50);
}

/* The same folder once more, as after a kill: the one that has it now just does not go on. */
static struct jt *killed_and_started(const struct jt *t)
{
    struct jt *next = jt_new();
    char path[80];

    assert_int_equal(rmdir(next->dir), 0);
    memcpy(next->dir, t->dir, sizeof next->dir);
    (void)snprintf(path, sizeof path, "%s/lock", t->dir);
    assert_int_equal(unlink(path), 0);
    next->cfg.sync_fd = disk_sync;
    jt_open(next);
    return next;
}

/* No operator is to look for a database. */
static void a_disk_that_fails_is_named_in_the_log(void **state)
{
    struct jt *t = jt_new();

    (void)state;
    disk_reset();
    t->cfg.sync_fd = disk_sync;
    jt_open(t);
    struct sx_msg *m = jt_add(t, 1, 1000);
    disk.fail_in = 0;
    disk.error = EIO;
    assert_int_equal(sx_journal_sync(t->j), SIMPLEX_E_DB_IO);
    assert_int_equal(t->warnings, 1);
    assert_non_null(strstr(t->warned, "a file cannot be opened, read or written"));
    assert_non_null(strstr(t->warned, "check its disk"));
    assert_null(strstr(t->warned, "database"));
    recover(t);
    sx_msg_unref(m);
    jt_free(t);
    disk_reset();
}

/* What a killed process has written and not synced is there for the next one, which delivers it and
 * begins a segment behind it: from then on it must not go any more. */
static void what_a_start_has_found_outlives_a_loss_of_power(void **state)
{
    struct jt *t = jt_new();

    (void)state;
    disk_reset();
    t->cfg.sync_fd = disk_sync;
    jt_open(t);
    for (n_entries = 0; n_entries < 10; n_entries++)
        entries[n_entries] = (struct entry){ .m = jt_add(t, 1, 1000) };
    assert_int_equal(sx_journal_flush(t->j), SIMPLEX_OK);
    struct jt *next = killed_and_started(t);
    assert_int_equal(next->count, n_entries);
    all_durable();
    for (rng_state = 1; rng_state < 20; rng_state++)
        check_crash(next);
    jt_close(next);
    free(next);
    while (n_entries > 0)
        sx_msg_unref(entries[--n_entries].m);
    jt_free(t);
    disk_reset();
}

/* Files can be unlinked by such a descriptor, but it cannot be synced. */
static void let_folder_fail(struct sx_journal *j, int *aside)
{
    int path_only = openat(j->dir_fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);

    assert_true(path_only >= 0);
    *aside = j->dir_fd;
    j->dir_fd = path_only;
}

static void let_folder_work(struct sx_journal *j, int aside)
{
    assert_int_equal(close(j->dir_fd), 0);
    j->dir_fd = aside;
}

/* A start on a full disk syncs later what it has found: not what has gone meanwhile. */
static void recovers_when_all_that_was_found_is_gone(void **state)
{
    struct jt *t = jt_new();
    int aside;

    (void)state;
    jt_open(t);
    struct sx_msg *m = jt_add(t, 1, 1000);
    assert_int_equal(sx_journal_flush(t->j), SIMPLEX_OK);
    jt_del(t, m);
    assert_int_equal(sx_journal_flush(t->j), SIMPLEX_OK);
    disk_reset();
    disk.fail_in = 0;
    disk.error = ENOSPC;
    struct jt *next = killed_and_started(t);
    assert_int_equal(jt_segments(next), 1);
    let_folder_fail(next->j, &aside);
    assert_false(sx_journal_tidy(next->j));
    let_folder_work(next->j, aside);
    assert_int_equal(jt_segments(next), 0);
    recover(next);
    jt_close(next);
    free(next);
    jt_free(t);
    disk_reset();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_messages_on_a_full_disk_and_can_be_drained),
        cmocka_unit_test(recovers_from_writes_that_fail),
        cmocka_unit_test(starts_on_a_full_disk),
        cmocka_unit_test(keeps_what_was_synced_when_the_power_goes),
        cmocka_unit_test(a_disk_that_fails_is_named_in_the_log),
        cmocka_unit_test(what_a_start_has_found_outlives_a_loss_of_power),
        cmocka_unit_test(recovers_when_all_that_was_found_is_gone),
    };

    (void)signal(SIGXFSZ, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
