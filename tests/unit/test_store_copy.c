/* SPDX-License-Identifier: Apache-2.0 */
/* Backups: whole, under their own key, never in the place of something else; restored or not at
 * all. */
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "store_util.h"

struct paths {
    char copy[96], part[104];
};

static struct paths paths_of(const struct tmp *t)
{
    struct paths p;

    snprintf(p.copy, sizeof p.copy, "%s/copy", t->dir);
    snprintf(p.part, sizeof p.part, "%s.part", p.copy);
    return p;
}

static struct sx_store_cfg copy_cfg(const struct paths *p)
{
    return (struct sx_store_cfg){ .path = p->copy, .key = sx_str("backup password") };
}

static unsigned count(struct sx_store *s)
{
    static int64_t ids[4096];
    size_t n = 4096;

    ok(sx_store_conn_list(s, 0, ids, &n));
    return (unsigned)n;
}

static void fill(struct sx_store *s, unsigned conns)
{
    static const uint8_t body[250];
    struct sx_event_row e = { .data = { body, sizeof body } };

    ok(sx_store_begin(s));
    for (unsigned n = 0; n < conns; n++) {
        (void)add_conn(s);
        ok(sx_store_event_add(s, &e));
    }
    ok(sx_store_commit(s));
}

static unsigned count_in(const struct sx_store_cfg *cfg)
{
    struct sx_store *s;

    ok(sx_store_open(cfg, &s));
    unsigned n = count(s);
    sx_store_close(s);
    return n;
}

static simplex_rc backup(struct sx_store *s, const struct sx_store_cfg *cfg)
{
    return sx_store_backup(s, cfg->path, cfg->key, cfg->raw_key);
}

static void a_backup_has_what_is_committed_and_its_own_key(void **state)
{
    struct paths p = paths_of(*state);
    struct sx_store_cfg cfg = copy_cfg(&p), wrong = tmp_cfg(*state);
    struct sx_store *s = tmp_open(*state), *c;
    struct stat st;

    fill(s, 20);
    ok(backup(s, &cfg));
    fill(s, 1); /* goes on, and is not in it */
    assert_int_equal(stat(p.copy, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(access(p.part, F_OK), -1);
    wrong.path = p.copy;
    assert_int_equal(sx_store_open(&wrong, &c), SIMPLEX_E_DB_KEY);
    assert_int_equal(count(s), 21);
    sx_store_close(s);
    cfg.read_only = true;
    assert_int_equal(count_in(&cfg), 20);
    assert_int_equal(tmp_files(*state, false), 2); /* no logs */
    cfg.read_only = false;
    assert_int_equal(count_in(&cfg), 20);
    assert_int_equal(tmp_files(*state, false), 2);
}

static void the_same_key_makes_other_bytes(void **state)
{
    struct paths p = paths_of(*state);
    struct sx_store_cfg cfg = tmp_cfg(*state);
    struct sx_store *s = tmp_open(*state);

    fill(s, 5);
    cfg.path = p.copy;
    ok(backup(s, &cfg));
    sx_store_close(s);
    assert_int_equal(count_in(&cfg), 5);
    struct file a = file_read(((struct tmp *)*state)->path), b = file_read(p.copy);
    assert_true(a.n > 4096 && b.n > 4096);
    assert_memory_not_equal(a.p, b.p, 16); /* the salt */
    for (size_t at = 4096; at + 4096 <= a.n && at + 4096 <= b.n; at += 4096)
        assert_memory_not_equal(a.p + at, b.p + at, 64);
    free(a.p);
    free(b.p);
}

static void nothing_is_overwritten(void **state)
{
    struct paths p = paths_of(*state);
    struct sx_store_cfg cfg = copy_cfg(&p);
    struct sx_store *s = tmp_open(*state);
    char log[110];

    fill(s, 2);
    file_write(p.copy, "precious", 8);
    struct file old = file_read(p.copy);
    assert_int_equal(backup(s, &cfg), SIMPLEX_E_PROHIBITED);
    assert_true(file_unchanged(p.copy, &old));
    assert_int_equal(unlink(p.copy), 0);
    assert_int_equal(symlink("/nonexistent", p.copy), 0);
    assert_int_equal(backup(s, &cfg), SIMPLEX_E_PROHIBITED);
    assert_int_equal(unlink(p.copy), 0);
    snprintf(log, sizeof log, "%s-wal", p.copy);
    file_write(log, "of another", 10);
    assert_int_equal(backup(s, &cfg), SIMPLEX_E_PROHIBITED);
    assert_int_equal(unlink(log), 0);
    cfg.path = ((struct tmp *)*state)->path; /* onto itself */
    assert_int_equal(backup(s, &cfg), SIMPLEX_E_PROHIBITED);
    cfg.path = "/nonexistent/copy";
    assert_int_equal(backup(s, &cfg), SIMPLEX_E_DB_IO);
    cfg.path = "";
    assert_int_equal(backup(s, &cfg), SIMPLEX_E_ARG);
    cfg = copy_cfg(&p);
    cfg.key.len = 0;
    assert_int_equal(backup(s, &cfg), SIMPLEX_E_ARG);
    cfg = copy_cfg(&p);
    ok(sx_store_begin(s));
    assert_int_equal(backup(s, &cfg), SIMPLEX_E_PROHIBITED);
    sx_store_rollback(s);
    sx_store_fault(s, 0, SIMPLEX_E_DB_IO);
    assert_int_equal(backup(s, &cfg), SIMPLEX_E_DB_IO);
    (void)sx_store_fault_disarm(s);
    assert_int_equal(access(p.copy, F_OK), -1);
    file_write(p.part, "of a killed attempt", 19);
    ok(backup(s, &cfg));
    assert_int_equal(access(p.part, F_OK), -1);
    sx_store_close(s);
    assert_int_equal(count_in(&cfg), 2);
}

static void lack_of_memory_leaves_nothing(void **state)
{
    struct paths p = paths_of(*state);
    struct sx_store_cfg cfg = copy_cfg(&p), to = tmp_cfg(*state);
    struct sx_store *s = tmp_open(*state);
    bool fired = true;
    unsigned nth, failures = 0;

    fill(s, 2);
    for (nth = 0; fired; nth++) {
        sx_fault_malloc(nth);
        simplex_rc rc = backup(s, &cfg);
        fired = sx_fault_disarm();
        assert_true(rc == SIMPLEX_OK || (fired && rc == SIMPLEX_E_NOMEM));
        assert_int_equal(access(p.copy, F_OK), rc == SIMPLEX_OK ? 0 : -1);
        failures += rc != SIMPLEX_OK;
        if (fired)
            (void)unlink(p.copy); /* what it could do without */
        assert_int_equal(access(p.part, F_OK), -1);
    }
    assert_true(failures > 4);
    fill(s, 2);
    sx_store_close(s);
    fired = true;
    for (nth = 0; fired; nth++) {
        sx_fault_malloc(nth);
        simplex_rc rc = sx_store_restore(&cfg, &to);
        fired = sx_fault_disarm();
        assert_int_equal(rc, fired ? SIMPLEX_E_NOMEM : SIMPLEX_OK);
        assert_int_equal(count_in(&to), fired ? 4 : 2);
    }
    assert_true(nth > 2);
}

/* ---- full disks ---- */

static void with_limit(void (*run)(const struct tmp *), const struct tmp *t)
{
    pid_t pid = fork();
    int status = -1;

    assert_true(pid >= 0);
    if (pid == 0) {
        signal(SIGXFSZ, SIG_IGN);
        run(t);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void limit_files(rlim_t bytes)
{
    struct rlimit limit = { bytes, RLIM_INFINITY };

    if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
        _exit(9);
}

static void backup_to_full_disk(const struct tmp *t)
{
    static const rlim_t sizes[] = { 1, 4096, 5000, 20000, 100000, 200000 };
    struct paths p = paths_of(t);
    struct sx_store_cfg cfg = copy_cfg(&p), own = tmp_cfg(t);
    struct sx_store *s;

    if (sx_store_open(&own, &s) != SIMPLEX_OK)
        _exit(1);
    for (size_t n = 0; n < SX_COUNT(sizes); n++) {
        limit_files(sizes[n]);
        simplex_rc rc = backup(s, &cfg);
        if (rc != SIMPLEX_E_DB_FULL && rc != SIMPLEX_E_DB_IO)
            _exit(2);
        if (access(p.copy, F_OK) == 0 || access(p.part, F_OK) == 0)
            _exit(3);
    }
    limit_files(RLIM_INFINITY);
    if (backup(s, &cfg) != SIMPLEX_OK || sx_store_begin(s) != SIMPLEX_OK)
        _exit(4);
    sx_store_close(s);
}

static void a_backup_to_a_full_disk_leaves_nothing(void **state)
{
    struct paths p = paths_of(*state);
    struct sx_store_cfg cfg = copy_cfg(&p);
    struct sx_store *s = tmp_open(*state);
    struct stat st;

    fill(s, 1500);
    sx_store_close(s);
    assert_int_equal(stat(((struct tmp *)*state)->path, &st), 0);
    assert_true(st.st_size > 300000);
    with_limit(backup_to_full_disk, *state);
    assert_int_equal(count_in(&cfg), 1500);
    cfg = tmp_cfg(*state);
    assert_int_equal(count_in(&cfg), 1500);
}

static void restore_to_full_disk(const struct tmp *t)
{
    static const rlim_t sizes[] = { 1, 5000, 40000, 100000, 200000 };
    struct paths p = paths_of(t);
    struct sx_store_cfg from = copy_cfg(&p), to = tmp_cfg(t);

    for (size_t n = 0; n < SX_COUNT(sizes); n++) {
        limit_files(sizes[n]);
        if (sx_store_restore(&from, &to) == SIMPLEX_OK)
            _exit(1);
        limit_files(RLIM_INFINITY);
        if (count_in(&to) != 3)
            _exit(2);
    }
}

static void a_restoration_on_a_full_disk_changes_nothing(void **state)
{
    struct paths p = paths_of(*state);
    struct sx_store_cfg from = copy_cfg(&p), to = tmp_cfg(*state);
    struct sx_store *s = tmp_open(*state);

    fill(s, 1500);
    ok(backup(s, &from));
    sx_store_close(s);
    (void)unlink(to.path);
    s = tmp_open(*state);
    fill(s, 3);
    sx_store_close(s);
    with_limit(restore_to_full_disk, *state);
    assert_int_equal(count_in(&to), 3);
    ok(sx_store_restore(&from, &to));
    assert_int_equal(count_in(&to), 1500);
}

/* ---- restoring ---- */

static void a_backup_takes_the_place_of_the_database(void **state)
{
    struct paths p = paths_of(*state);
    struct sx_store_cfg from = copy_cfg(&p), to = tmp_cfg(*state);
    struct sx_store *s = tmp_open(*state);

    fill(s, 7);
    ok(backup(s, &from));
    fill(s, 500);
    sx_store_close(s);
    ok(sx_store_restore(&from, &to));
    assert_int_equal(count_in(&to), 7);
    assert_int_equal(count_in(&from), 7);
    s = tmp_open(*state); /* and lives */
    fill(s, 3);
    sx_store_close(s);
    assert_int_equal(count_in(&to), 10);
    ok(sx_store_restore(&from, &to));
    assert_int_equal(count_in(&to), 7);
}

static void where_there_is_no_database_one_is_made(void **state)
{
    struct paths p = paths_of(*state);
    struct sx_store_cfg from = copy_cfg(&p), to = tmp_cfg(*state);
    struct sx_store *s = tmp_open(*state);

    fill(s, 7);
    ok(backup(s, &from));
    sx_store_close(s);
    assert_int_equal(unlink(to.path), 0);
    to.key = sx_str("a new one");
    to.raw_key = false;
    ok(sx_store_restore(&from, &to));
    assert_int_equal(count_in(&to), 7);
    assert_int_equal(tmp_files(*state, false), 2);
}

/* rc of restoring, while the files stay as they are. */
static void restores_with(const struct sx_store_cfg *from, const struct sx_store_cfg *to,
                          simplex_rc expected)
{
    struct file a = file_read(from->path), b = file_read(to->path);

    assert_string_equal(simplex_rc_name(sx_store_restore(from, to)), simplex_rc_name(expected));
    assert_true(file_unchanged(from->path, &a));
    assert_true(file_unchanged(to->path, &b));
}

static void what_is_no_backup_of_ours_changes_nothing(void **state)
{
    struct paths p = paths_of(*state);
    struct sx_store_cfg from = copy_cfg(&p), to = tmp_cfg(*state), bad;
    struct sx_store *s = tmp_open(*state);

    fill(s, 3000);
    restores_with(&from, &to, SIMPLEX_E_DB_IO); /* there is none */
    ok(backup(s, &from));
    restores_with(&from, &to, SIMPLEX_E_DB_LOCKED); /* the database is open */
    sx_store_close(s);
    bad = from;
    bad.key = sx_str("wrong password");
    restores_with(&bad, &to, SIMPLEX_E_DB_KEY);
    bad = to;
    bad.key = sx_str("wrong key");
    bad.raw_key = false;
    restores_with(&from, &bad, SIMPLEX_E_DB_KEY);
    bad.key.len = 0;
    restores_with(&from, &bad, SIMPLEX_E_ARG);
    bad = from;
    bad.path = to.path;
    bad.key = to.key;
    bad.raw_key = true;
    assert_int_equal(sx_store_restore(&bad, &to), SIMPLEX_E_DB_LOCKED); /* from itself */

    struct file f = file_read(p.copy);
    assert_true(f.n > 600 * 1024); /* opening alone would not look at all of it */
    for (size_t at = 30; at < f.n; at += f.n / 7) {
        f.p[at] ^= 1;
        file_write(p.copy, f.p, f.n);
        f.p[at] ^= 1;
        restores_with(&from, &to, at < 4096 ? SIMPLEX_E_DB_KEY : SIMPLEX_E_DB_DAMAGED);
    }
    file_write(p.copy, f.p, f.n / 4096 / 2 * 4096);
    restores_with(&from, &to, SIMPLEX_E_DB_DAMAGED);
    file_write(p.copy, f.p, 0);
    restores_with(&from, &to, SIMPLEX_E_DB_SCHEMA);
    file_write(p.copy, "PNG", 3);
    restores_with(&from, &to, SIMPLEX_E_DB_KEY);
    free(f.p);
    assert_int_equal(count_in(&to), 3000);
}

static void a_newer_or_foreign_backup_changes_nothing(void **state)
{
    struct paths p = paths_of(*state);
    struct sx_store_cfg from = copy_cfg(&p), to = tmp_cfg(*state);
    struct sx_store *s = tmp_open(*state);
    char log[110];

    fill(s, 3);
    ok(backup(s, &from));
    sx_store_close(s);
    ok(sx_store_open(&from, &s));
    ok(sx_store_exec(s, "INSERT INTO migrations VALUES (1000, zeroblob(32), 0)"));
    sx_store_close(s);
    restores_with(&from, &to, SIMPLEX_E_DB_SCHEMA);
    snprintf(log, sizeof log, "%s-wal", p.copy);
    (void)unlink(log);
    (void)unlink(p.copy);
    s = tmp_open(*state);
    ok(backup(s, &from));
    sx_store_close(s);
    ok(sx_store_open(&from, &s));
    ok(sx_store_exec(s, "PRAGMA application_id = 7"));
    sx_store_close(s);
    restores_with(&from, &to, SIMPLEX_E_DB_SCHEMA);
    assert_int_equal(count_in(&to), 3);
}

/* ---- kill -9 ---- */

static void kill_after(void (*run)(const struct tmp *), const struct tmp *t, unsigned us)
{
    int p[2];
    char byte;

    assert_int_equal(pipe(p), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (write(p[1], "o", 1) != 1)
            _exit(1);
        run(t);
        for (;;)
            (void)pause();
    }
    assert_int_equal(read(p[0], &byte, 1), 1);
    close(p[0]);
    close(p[1]);
    (void)usleep(us);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void run_restore(const struct tmp *t)
{
    struct paths p = paths_of(t);
    struct sx_store_cfg from = copy_cfg(&p), to = tmp_cfg(t);

    from.raw_key = true;
    from.key = sx_bytes((const uint8_t *)"01234567890123456789012345678901", 32);
    (void)!sx_store_restore(&from, &to);
}

static void run_backup(const struct tmp *t)
{
    struct paths p = paths_of(t);
    struct sx_store_cfg cfg = copy_cfg(&p), own = tmp_cfg(t);
    struct sx_store *s;

    cfg.raw_key = true;
    cfg.key = sx_bytes((const uint8_t *)"01234567890123456789012345678901", 32);
    if (sx_store_open(&own, &s) != SIMPLEX_OK)
        return;
    (void)!backup(s, &cfg);
    sx_store_close(s);
}

/* The copy is there and whole, or it is not there. */
static void a_killed_backup_is_whole_or_not_there(void **state)
{
    struct paths p = paths_of(*state);
    struct sx_store_cfg cfg = copy_cfg(&p), own = tmp_cfg(*state);
    struct sx_store *s = tmp_open(*state);
    unsigned done = 0, not_done = 0, us = 0;

    cfg.raw_key = true;
    cfg.key = sx_bytes((const uint8_t *)"01234567890123456789012345678901", 32);
    fill(s, 2000);
    sx_store_close(s);
    for (unsigned round = 0; round < 60 && (done < 2 || not_done < 4); round++) {
        kill_after(run_backup, *state, us);
        bool there = access(p.copy, F_OK) == 0;
        us = next_kill(us, there);
        if (there) {
            done++;
            assert_int_equal(count_in(&cfg), 2000);
            assert_int_equal(unlink(p.copy), 0);
        } else {
            not_done++;
        }
        assert_int_equal(count_in(&own), 2000);
    }
    assert_true(done > 0 && not_done > 0);
}

static void a_killed_restoration_leaves_the_one_or_the_other(void **state)
{
    struct paths p = paths_of(*state);
    struct sx_store_cfg own = tmp_cfg(*state);
    struct sx_store *s = tmp_open(*state);
    unsigned old = 0, restored = 0, us = 0;

    fill(s, 2000);
    sx_store_close(s);
    run_backup(*state);
    assert_int_equal(access(p.copy, F_OK), 0);
    (void)unlink(own.path);
    (void)unlink(((struct tmp *)*state)->log);
    for (unsigned round = 0; round < 60 && (old < 4 || restored < 2); round++) {
        if (access(own.path, F_OK) != 0) {
            s = tmp_open(*state);
            fill(s, 100);
            sx_store_close(s);
        }
        kill_after(run_restore, *state, us);
        unsigned n = count_in(&own);
        us = next_kill(us, n == 2000);
        if (n == 2000) {
            restored++;
            assert_int_equal(unlink(own.path), 0);
        } else {
            assert_int_equal(n, 100);
            old++;
        }
    }
    assert_true(old > 0 && restored > 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, tmp_setup, tmp_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_backup_has_what_is_committed_and_its_own_key),
        T(the_same_key_makes_other_bytes),
        T(nothing_is_overwritten),
        T(lack_of_memory_leaves_nothing),
        T(a_backup_to_a_full_disk_leaves_nothing),
        T(a_restoration_on_a_full_disk_changes_nothing),
        T(a_backup_takes_the_place_of_the_database),
        T(where_there_is_no_database_one_is_made),
        T(what_is_no_backup_of_ours_changes_nothing),
        T(a_newer_or_foreign_backup_changes_nothing),
        T(a_killed_backup_is_whole_or_not_there),
        T(a_killed_restoration_leaves_the_one_or_the_other),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
