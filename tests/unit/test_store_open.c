/* SPDX-License-Identifier: Apache-2.0 */
/* Opening: which error for what, and that a failed opening changes no file. */
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "store/migrate.h"
#include "store_util.h"

static simplex_rc try_open(const struct sx_store_cfg *cfg)
{
    struct sx_store *s = (struct sx_store *)cfg;
    simplex_rc rc = sx_store_open(cfg, &s);

    assert_true((s != NULL) == (rc == SIMPLEX_OK));
    sx_store_close(s);
    return rc;
}

static void make_database(const struct tmp *t, int rows)
{
    struct sx_store *s = tmp_open(t);

    for (int i = 0; i < rows; i++)
        (void)add_conn(s);
    sx_store_close(s);
}

/* A database whose process was killed: file and log as they are on disk. */
static void make_crashed_database(const struct tmp *t)
{
    make_database(t, 3);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct sx_store *s = tmp_open(t);
        (void)add_conn(s);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(access(t->log, F_OK), 0);
}

/* rc of opening, while file and log stay as they are. */
static void opens_with(const struct tmp *t, const struct sx_store_cfg *cfg, simplex_rc expected)
{
    struct file db = file_read(t->path), log = file_read(t->log);
    size_t n = tmp_files(t, false);

    assert_string_equal(simplex_rc_name(try_open(cfg)), simplex_rc_name(expected));
    assert_true(file_unchanged(t->path, &db));
    assert_true(file_unchanged(t->log, &log));
    assert_int_equal(tmp_files(t, false), n);
}

static void wrong_arguments_are_refused(void **state)
{
    struct tmp *t = *state;
    struct sx_store_cfg cfg = tmp_cfg(t);
    struct sx_store *s;

    assert_int_equal(sx_store_open(&cfg, NULL), SIMPLEX_E_ARG);
    assert_int_equal(sx_store_open(NULL, &s), SIMPLEX_E_ARG);
    cfg.key.len = 31;
    assert_int_equal(try_open(&cfg), SIMPLEX_E_ARG);
    cfg.key.len = 0;
    cfg.raw_key = false;
    assert_int_equal(try_open(&cfg), SIMPLEX_E_ARG);
    cfg = tmp_cfg(t);
    cfg.path = "";
    assert_int_equal(try_open(&cfg), SIMPLEX_E_ARG);
    cfg.path = ":memory:";
    assert_int_equal(try_open(&cfg), SIMPLEX_E_ARG);
    cfg.path = NULL;
    assert_int_equal(try_open(&cfg), SIMPLEX_E_ARG);
    sx_store_close(NULL);
    assert_int_equal(tmp_files(t, false), 0);
}

static void a_new_database_is_private_encrypted_and_one_file_after_closing(void **state)
{
    struct tmp *t = *state;
    struct stat st;
    struct sx_store *s = tmp_open(t);

    struct sx_event_row e = { .data = sx_str("a secret that must not be readable") };
    ok(sx_store_event_add(s, &e));
    assert_int_equal(stat(t->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(stat(t->log, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    sx_store_close(s);
    assert_int_equal(tmp_files(t, false), 1);
    struct file f = file_read(t->path);
    assert_true(f.n > 4096);
    for (size_t i = 0; i + 15 < f.n; i++) {
        assert_memory_not_equal(f.p + i, "SQLite format 3", 15);
        assert_memory_not_equal(f.p + i, "a secret", 8);
    }
    free(f.p);
}

static void passphrases_of_any_kind_open_what_they_made(void **state)
{
    struct tmp *t = *state;
    static const char odd[] = "na\0me'; DROP \xff";
    struct sx_store_cfg cfg = tmp_cfg(t);

    cfg.raw_key = false;
    cfg.key = sx_bytes(odd, sizeof odd);
    ok(try_open(&cfg));
    ok(try_open(&cfg));
    cfg.key.len -= 2; /* without its last character and the NUL behind it */
    opens_with(t, &cfg, SIMPLEX_E_DB_KEY);
    cfg.key.len = 1;
    opens_with(t, &cfg, SIMPLEX_E_DB_KEY);
}

static void a_wrong_key_is_refused_and_changes_nothing(void **state)
{
    struct tmp *t = *state;
    struct sx_store_cfg cfg = tmp_cfg(t);
    static const uint8_t other[32] = { 7, 7 };

    make_crashed_database(t);
    cfg.key = sx_bytes(other, 32);
    opens_with(t, &cfg, SIMPLEX_E_DB_KEY);
    cfg.raw_key = false;
    opens_with(t, &cfg, SIMPLEX_E_DB_KEY);

    struct sx_store *s = tmp_open(t); /* and what the crashed process committed is there */
    int64_t ids[9];
    size_t n = 9;
    ok(sx_store_conn_list(s, 0, ids, &n));
    assert_int_equal(n, 4);
    sx_store_close(s);
}

static void other_files_are_no_databases(void **state)
{
    struct tmp *t = *state;
    struct sx_store_cfg cfg = tmp_cfg(t);
    static uint8_t noise[9000];

    file_write(t->path, "dear diary", 10);
    opens_with(t, &cfg, SIMPLEX_E_DB_KEY);
    sx_random(noise, sizeof noise);
    file_write(t->path, noise, sizeof noise);
    opens_with(t, &cfg, SIMPLEX_E_DB_KEY);
    memset(noise, 0, sizeof noise);
    memcpy(noise, "SQLite format 3", 16);
    file_write(t->path, noise, sizeof noise);
    opens_with(t, &cfg, SIMPLEX_E_DB_KEY);
    cfg.path = t->dir;
    opens_with(t, &cfg, SIMPLEX_E_DB_IO);
    cfg.path = "/tmp/no/such/folder/db";
    opens_with(t, &cfg, SIMPLEX_E_DB_IO);
}

static void an_empty_file_becomes_a_database(void **state)
{
    struct tmp *t = *state;
    struct sx_store_cfg cfg = tmp_cfg(t);

    file_write(t->path, "", 0);
    ok(try_open(&cfg));
    ok(try_open(&cfg));
}

static void a_truncated_file_is_damaged(void **state)
{
    struct tmp *t = *state;
    struct sx_store_cfg cfg = tmp_cfg(t);

    make_database(t, 10);
    struct file f = file_read(t->path);
    /* SQLite reads a short last page as if zeros followed, and one page in 256 does end with a
     * zero byte: sixteen missing bytes are noticed always. */
    for (size_t n = f.n - 16; n > 4096; n = n > 8192 ? n - 4096 : n - 1000) {
        file_write(t->path, f.p, n);
        opens_with(t, &cfg, SIMPLEX_E_DB_DAMAGED);
    }
    file_write(t->path, f.p, 3000); /* not even the first page */
    opens_with(t, &cfg, SIMPLEX_E_DB_KEY);
    file_write(t->path, f.p, f.n);
    ok(try_open(&cfg));
    free(f.p);
}

static void a_changed_byte_in_any_page_is_noticed(void **state)
{
    struct tmp *t = *state;
    struct sx_store_cfg cfg = tmp_cfg(t);

    make_database(t, 200);
    struct file f = file_read(t->path);
    for (size_t page = 0; page < f.n / 4096; page++) {
        f.p[page * 4096 + 100 + page] ^= 4;
        file_write(t->path, f.p, f.n);
        opens_with(t, &cfg, page == 0 ? SIMPLEX_E_DB_KEY : SIMPLEX_E_DB_DAMAGED);
        f.p[page * 4096 + 100 + page] ^= 4;
    }
    free(f.p);
}

static simplex_rc read_all_events(struct sx_store *s)
{
    struct sx_event_row e = { .id = 0 };
    simplex_rc rc = SIMPLEX_OK;

    while (rc == SIMPLEX_OK)
        rc = sx_store_event_next(s, e.id, &e);
    return rc;
}

/* Whichever of its pages it is: each row takes four. */
static void damage_beyond_the_check_of_opening_is_met_when_read(void **state)
{
    struct tmp *t = *state;
    static uint8_t body[16000];
    struct sx_store *s = tmp_open(t);
    struct sx_event_row e = { .data = { body, sizeof body } };
    unsigned met = 0;

    ok(sx_store_begin(s));
    for (int i = 0; i < 800; i++) /* far more pages than are checked */
        ok(sx_store_event_add(s, &e));
    ok(sx_store_commit(s));
    sx_store_close(s);
    struct file f = file_read(t->path);
    struct sx_store_cfg cfg = tmp_cfg(t);
    for (size_t page = 800; met < 8; page++) { /* those that opening has no use for */
        assert_true(page < f.n / 4096);
        f.p[page * 4096 + 9] ^= 1;
        file_write(t->path, f.p, f.n);
        f.p[page * 4096 + 9] ^= 1;
        if (try_open(&cfg) != SIMPLEX_OK)
            continue;
        s = tmp_open(t);
        assert_string_equal(simplex_rc_name(read_all_events(s)), "E_DB_DAMAGED");
        sx_store_close(s);
        met++;
    }
    free(f.p);
}

/* ---- migrations ---- */

static const struct sx_migration *extended(const char *extra)
{
    static struct sx_migration list[9];

    memcpy(list, sx_migrations, sx_migrations_count * sizeof list[0]);
    list[sx_migrations_count] = (struct sx_migration){ { extra, NULL } };
    return list;
}

static void migrations_run_once_and_a_newer_schema_is_refused(void **state)
{
    struct tmp *t = *state;
    struct sx_store_cfg cfg = tmp_cfg(t);
    size_t n = sx_migrations_count;
    const struct sx_migration *list = extended("CREATE TABLE later (x INTEGER)");
    struct sx_store *s = tmp_open(t);

    ok(sx_store_migrate(s, list, n + 1));
    ok(sx_store_exec(s, "INSERT INTO later VALUES (1)"));
    ok(sx_store_migrate(s, list, n + 1)); /* a second run would fail: the table exists */
    sx_store_close(s);
    opens_with(t, &cfg, SIMPLEX_E_DB_SCHEMA);
}

static void a_failed_migration_leaves_the_database_as_it_was(void **state)
{
    struct tmp *t = *state;
    struct sx_store_cfg cfg = tmp_cfg(t);
    const struct sx_migration *list =
        extended("CREATE TABLE later (x INTEGER); INSERT INTO nowhere VALUES (1)");
    struct sx_store *s = tmp_open(t);

    assert_int_equal(sx_store_migrate(s, list, sx_migrations_count + 1), SIMPLEX_E_DB_DAMAGED);
    assert_false(sx_store_in_transaction(s));
    assert_int_equal(sx_store_exec(s, "INSERT INTO later VALUES (1)"), SIMPLEX_E_DB_DAMAGED);
    (void)add_conn(s);
    sx_store_close(s);
    ok(try_open(&cfg));
}

static void changed_or_missing_migrations_are_damage(void **state)
{
    struct tmp *t = *state;
    struct sx_store_cfg cfg = tmp_cfg(t);
    static const struct {
        const char *sql;
        simplex_rc rc;
    } rows[] = {
        { "UPDATE migrations SET sha256 = zeroblob(32) WHERE number = 1", SIMPLEX_E_DB_DAMAGED },
        { "UPDATE migrations SET sha256 = substr(sha256, 2)", SIMPLEX_E_DB_DAMAGED },
        { "UPDATE migrations SET number = number - 1", SIMPLEX_E_DB_DAMAGED },
        { "DELETE FROM migrations", SIMPLEX_E_DB_DAMAGED },
        { "INSERT INTO migrations VALUES (1000, zeroblob(32), 0)", SIMPLEX_E_DB_SCHEMA },
        { "PRAGMA application_id = 5", SIMPLEX_E_DB_SCHEMA },
        { "DROP TABLE migrations", SIMPLEX_E_DB_DAMAGED },
    };

    for (size_t i = 0; i < SX_COUNT(rows); i++) {
        (void)tmp_files(t, true);
        struct sx_store *s = tmp_open(t);
        ok(sx_store_exec(s, rows[i].sql));
        sx_store_close(s);
        opens_with(t, &cfg, rows[i].rc);
    }
}

/* ---- two at a time ---- */

static void a_second_opening_in_the_same_process_is_refused(void **state)
{
    struct tmp *t = *state;
    struct sx_store_cfg cfg = tmp_cfg(t);
    struct sx_store *s = tmp_open(t);

    assert_int_equal(try_open(&cfg), SIMPLEX_E_DB_LOCKED);
    cfg.read_only = true;
    assert_int_equal(try_open(&cfg), SIMPLEX_E_DB_LOCKED);
    (void)add_conn(s);
    sx_store_close(s);
    cfg.read_only = false;
    ok(try_open(&cfg));
}

/* A failure that took long, each time, is one that waited for something. */
static simplex_rc open_at_once(const struct sx_store_cfg *cfg, struct sx_store **s)
{
    for (int tries = 0; tries < 4; tries++) { /* a machine may stand still */
        int64_t start = sx_mono_ms();
        simplex_rc rc = sx_store_open(cfg, s);
        if (rc == SIMPLEX_OK || sx_mono_ms() - start <= 4000)
            return rc;
    }
    return SIMPLEX_E_TIMEOUT;
}

/* The child opens when told to, and answers with the result; nothing is shared with the parent. */
struct child {
    pid_t pid;
    int tell, hear;
};

static struct child start_child(const struct tmp *t)
{
    int a[2], b[2];

    assert_int_equal(pipe(a), 0);
    assert_int_equal(pipe(b), 0);
    struct child c = { .tell = a[1], .hear = b[0] };
    c.pid = fork();
    assert_true(c.pid >= 0);
    if (c.pid == 0) {
        struct sx_store_cfg cfg = tmp_cfg(t);
        struct sx_store *s = NULL;
        char byte;
        while (read(a[0], &byte, 1) == 1 && byte != 'q') {
            sx_store_close(s);
            s = NULL;
            simplex_rc rc = byte == 'o' ? open_at_once(&cfg, &s) : SIMPLEX_OK;
            if (write(b[1], &rc, sizeof rc) != sizeof rc)
                break;
        }
        _exit(0);
    }
    close(a[0]);
    close(b[1]);
    return c;
}

static simplex_rc ask(const struct child *c, char what)
{
    simplex_rc rc = SIMPLEX_E_INTERNAL;

    assert_int_equal(write(c->tell, &what, 1), 1);
    assert_int_equal(read(c->hear, &rc, sizeof rc), sizeof rc);
    return rc;
}

static void another_process_is_refused_at_once_and_harms_nothing(void **state)
{
    struct tmp *t = *state;
    struct sx_store_cfg cfg = tmp_cfg(t);
    struct child c = start_child(t);
    struct sx_store *s = tmp_open(t);

    int64_t id = add_conn(s);
    for (int i = 0; i < 5; i++) {
        assert_string_equal(simplex_rc_name(ask(&c, 'o')), "E_DB_LOCKED");
        ok(sx_store_begin(s));
        id = add_conn(s);
        assert_string_equal(simplex_rc_name(ask(&c, 'o')), "E_DB_LOCKED");
        ok(sx_store_commit(s));
    }
    sx_store_close(s);
    ok(ask(&c, 'o'));
    assert_int_equal(try_open(&cfg), SIMPLEX_E_DB_LOCKED);
    ok(ask(&c, 'c'));
    s = tmp_open(t);
    struct sx_conn got;
    ok(sx_store_conn_get(s, id, &got));
    sx_store_close(s);
    assert_int_equal(write(c.tell, "q", 1), 1);
    assert_int_equal(waitpid(c.pid, NULL, 0), c.pid);
    close(c.tell);
    close(c.hear);
}

static void reading_only_reads(void **state)
{
    struct tmp *t = *state;
    struct sx_store_cfg cfg = tmp_cfg(t);
    struct sx_store *s = NULL;
    struct sx_conn c = make_conn(), got;
    int64_t ids[5];
    size_t n = 5;

    cfg.read_only = true;
    assert_int_equal(try_open(&cfg), SIMPLEX_E_DB_IO); /* does not create */
    assert_int_equal(tmp_files(t, false), 0);
    make_crashed_database(t);
    struct file db = file_read(t->path), log = file_read(t->log);
    ok(sx_store_open(&cfg, &s));
    ok(sx_store_conn_list(s, 0, ids, &n));
    assert_int_equal(n, 4); /* with what is in the log only */
    ok(sx_store_conn_get(s, ids[3], &got));
    assert_int_equal(sx_store_conn_add(s, &c), SIMPLEX_E_PROHIBITED);
    assert_int_equal(sx_store_rekey(s, cfg.key, true), SIMPLEX_E_PROHIBITED);
    sx_store_close(s);
    assert_true(file_unchanged(t->path, &db));
    assert_true(file_unchanged(t->log, &log));
}

/* ---- another key ---- */

static void a_new_key_replaces_the_old_one(void **state)
{
    struct tmp *t = *state;
    struct sx_store_cfg old = tmp_cfg(t), now = old;
    static const uint8_t raw[32] = { 1, 2, 3 };
    struct sx_store *s = tmp_open(t);
    struct sx_conn got;

    for (int i = 0; i < 300; i++)
        (void)add_conn(s);
    ok(sx_store_begin(s));
    assert_int_equal(sx_store_rekey(s, sx_str("new"), false), SIMPLEX_E_PROHIBITED);
    sx_store_rollback(s);
    assert_int_equal(sx_store_rekey(s, sx_str(""), false), SIMPLEX_E_ARG);
    assert_int_equal(sx_store_rekey(s, sx_str("new"), true), SIMPLEX_E_ARG);
    ok(sx_store_rekey(s, sx_str("new"), false));
    ok(sx_store_conn_get(s, 7, &got));
    int64_t id = add_conn(s);
    sx_store_close(s);
    opens_with(t, &old, SIMPLEX_E_DB_KEY);

    now.key = sx_str("new");
    now.raw_key = false;
    ok(sx_store_open(&now, &s));
    ok(sx_store_conn_get(s, id, &got));
    ok(sx_store_rekey(s, sx_bytes(raw, 32), true));
    sx_store_close(s);
    opens_with(t, &now, SIMPLEX_E_DB_KEY);
    now.key = sx_bytes(raw, 32);
    now.raw_key = true;
    ok(sx_store_open(&now, &s));
    ok(sx_store_conn_get(s, id, &got));
    sx_store_close(s);
}

static void a_failed_change_of_the_key_keeps_the_old_one(void **state)
{
    struct tmp *t = *state;
    struct sx_store_cfg cfg = tmp_cfg(t);
    struct sx_store *s = tmp_open(t);

    (void)add_conn(s);
    sx_store_fault(s, 0, SIMPLEX_E_DB_FULL);
    assert_int_equal(sx_store_rekey(s, sx_str("new"), false), SIMPLEX_E_DB_FULL);
    assert_true(sx_store_fault_disarm(s));
    (void)add_conn(s);
    sx_store_close(s);
    ok(try_open(&cfg));
}

static void opening_survives_each_failed_malloc(void **state)
{
    struct tmp *t = *state;
    struct sx_store_cfg cfg = tmp_cfg(t);
    bool fired = true;
    size_t live = sx_fault_live_blocks();

    make_database(t, 2);
    for (unsigned nth = 0; fired; nth++) {
        struct sx_store *s = NULL;
        sx_fault_malloc(nth);
        simplex_rc rc = sx_store_open(&cfg, &s);
        fired = sx_fault_disarm();
        assert_int_equal(rc, fired ? SIMPLEX_E_NOMEM : SIMPLEX_OK);
        assert_true((s == NULL) == fired);
        sx_store_close(s);
        assert_int_equal(sx_fault_live_blocks(), live);
    }
    (void)tmp_files(t, true);
    fired = true;
    for (unsigned nth = 0; fired; nth++) { /* and when creating: no file stays behind */
        sx_fault_malloc(nth);
        simplex_rc rc = try_open(&cfg);
        fired = sx_fault_disarm();
        assert_int_equal(rc, fired ? SIMPLEX_E_NOMEM : SIMPLEX_OK);
        assert_true(!fired || tmp_files(t, false) == 0);
        (void)tmp_files(t, true);
    }
}

/* SQLCipher does not tell when a write fails, neither of the commit nor of a page that the cache
 * has no room for: the store notices, and writes nothing more. */
static void fill_disk_during_rekey(const struct tmp *t, unsigned cache_kib)
{
    struct sx_store_cfg cfg = tmp_cfg(t), now = cfg;
    struct sx_store *s = tmp_open(t);
    static uint8_t body[16000];
    struct sx_event_row e = { .data = { body, sizeof body } };

    now.key = sx_str("new");
    now.raw_key = false;
    for (int i = 0; i < 100; i++)
        ok(sx_store_event_add(s, &e));
    sx_store_close(s);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct rlimit limit = { 1000000, 100000000 };
        struct sx_conn c = make_conn();
        signal(SIGXFSZ, SIG_IGN);
        if (sx_store_open(&cfg, &s) != SIMPLEX_OK || setrlimit(RLIMIT_FSIZE, &limit) != 0)
            _exit(1);
        sx_store_cache(s, cache_kib);
        if (sx_store_rekey(s, now.key, false) != SIMPLEX_E_DB_IO)
            _exit(2);
        limit.rlim_cur = limit.rlim_max; /* there is room again, but it is too late */
        if (setrlimit(RLIMIT_FSIZE, &limit) != 0 || sx_store_conn_add(s, &c) != SIMPLEX_E_DB_IO ||
            sx_store_begin(s) != SIMPLEX_E_DB_IO ||
            sx_store_rekey(s, now.key, false) != SIMPLEX_E_DB_IO)
            _exit(3);
        sx_store_close(s);
        _exit(0);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(try_open(&now), SIMPLEX_E_DB_KEY);
    s = tmp_open(t);
    for (e.id = 0; sx_store_event_next(s, e.id, &e) == SIMPLEX_OK;)
        assert_int_equal(e.data.len, sizeof body);
    assert_int_equal(e.id, 100);
    sx_store_cache(s, cache_kib);
    ok(sx_store_rekey(s, now.key, false)); /* another attempt */
    sx_store_close(s);
    ok(try_open(&now));
}

static void a_disk_that_fills_up_while_the_key_changes_keeps_the_old_one(void **state)
{
    fill_disk_during_rekey(*state, 8000);
}

static void so_it_is_when_the_database_is_larger_than_the_cache(void **state)
{
    fill_disk_during_rekey(*state, 100);
}

#define T(f) cmocka_unit_test_setup_teardown(f, tmp_setup, tmp_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(wrong_arguments_are_refused),
        T(a_new_database_is_private_encrypted_and_one_file_after_closing),
        T(passphrases_of_any_kind_open_what_they_made),
        T(a_wrong_key_is_refused_and_changes_nothing),
        T(other_files_are_no_databases),
        T(an_empty_file_becomes_a_database),
        T(a_truncated_file_is_damaged),
        T(a_changed_byte_in_any_page_is_noticed),
        T(damage_beyond_the_check_of_opening_is_met_when_read),
        T(migrations_run_once_and_a_newer_schema_is_refused),
        T(a_failed_migration_leaves_the_database_as_it_was),
        T(changed_or_missing_migrations_are_damage),
        T(a_second_opening_in_the_same_process_is_refused),
        T(another_process_is_refused_at_once_and_harms_nothing),
        T(reading_only_reads),
        T(a_new_key_replaces_the_old_one),
        T(a_failed_change_of_the_key_keeps_the_old_one),
        T(a_disk_that_fills_up_while_the_key_changes_keeps_the_old_one),
        T(so_it_is_when_the_database_is_larger_than_the_cache),
        T(opening_survives_each_failed_malloc),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
