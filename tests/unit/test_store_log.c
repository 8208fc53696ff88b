/* SPDX-License-Identifier: Apache-2.0 */
/* The file of the store log: reading and repair, compaction with a crash at each step, backups. */
#include "slog_disk.h"

#include <sys/wait.h>
#include <time.h>

/* ---- reading ---- */

static void makes_the_file_and_appends(void **state)
{
    struct sx_slog *l = opened(NULL);
    uint64_t bytes, lines;
    struct stat st;

    (void)state;
    assert_true(add(l, 1, 1));
    assert_true(sx_slog_append(l, sx_str("TIME " SID " 172800")));
    assert_false(sx_slog_append(l, sx_str("two\nlines")));
    assert_false(sx_slog_append(l, sx_str("")));
    assert_file(""); /* staged */
    assert_int_equal(sx_slog_flush(l), SIMPLEX_OK);
    assert_file(T1 T2);
    assert_true(add(l, 3, 3));
    assert_int_equal(sx_slog_sync(l), SIMPLEX_OK);
    assert_int_equal(sx_slog_sync(l), SIMPLEX_OK);
    assert_file(T1 T2 T3);
    sx_slog_size(l, &bytes, &lines);
    assert_int_equal(bytes, strlen(T1 T2 T3));
    assert_int_equal(lines, 3);
    assert_true(add(l, 1, 4));
    assert_int_equal(sx_slog_close(l), SIMPLEX_OK); /* syncs */
    reopen();
    assert_int_equal(records, 4);
    assert_file("TIME " RID " 345600\n" T2 T3);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_true(st.st_blocks * 512 < (blkcnt_t)SX_SLOG_ROOM); /* the room was given back */
    assert_null(sx_slog_close(NULL) == SIMPLEX_OK ? NULL : path);
}

static void repairs_a_torn_end(void **state)
{
    static const struct {
        const char *text;
        const char *left;
        const char *warning;
    } rows[] = {
        { T1 "TIME " SID " 17", T1, "line 2: the end of the file" },
        { T1 "TIME " SID " 172800", T1, "line 2: the end of the file" }, /* may be cut as well */
        { "TIME", "", "line 1: the end of the file" },
        { T1 T2 "garbage\nmore of it\n", T1 T2, "line 3: the end of the file" },
        { T1 "garbage\nTIME", T1, "line 2: the end of the file" },
        { T1 "\r\n\n" T2, T1 T2, "" },
        { "TIME " RID " 86400\r\n", T1, "" },
        { "", "", "" },
        { "\n\n", "", "" },
    };

    for (size_t i = 0; i < SX_COUNT(rows); i++) {
        clean(state);
        write_text(NULL, rows[i].text);
        reopen();
        if (rows[i].warning[0] == 0)
            assert_string_equal(warnings, "");
        else
            assert_non_null(strstr(warnings, rows[i].warning));
        assert_file(rows[i].left);
        reopen();
        assert_string_equal(warnings, "");
        assert_file(rows[i].left);
    }
}

static void refuses_damage_and_changes_nothing(void **state)
{
    static const struct {
        const char *text;
        const char *line;
        const char *left; /* when damage is skipped */
    } rows[] = {
        { T1 "garbage\n" T2, "line 2", T1 T2 },
        { "garbage\n" T1, "line 1", T1 },
        { "not a log\nat all\n", "line 1", "" },
        { T1 "TIME " SID "\nx\n\n" T2 "torn", "line 2", T1 T2 },
    };

    for (size_t i = 0; i < SX_COUNT(rows); i++) {
        struct sx_slog *l;
        clean(state);
        write_text(NULL, rows[i].text);
        assert_int_equal(open_log(NULL, false, &l), SIMPLEX_E_DB_DAMAGED);
        assert_null(l);
        assert_non_null(strstr(problem, path));
        assert_non_null(strstr(problem, rows[i].line));
        assert_non_null(strstr(problem, "restore a backup"));
        assert_file(rows[i].text);
        assert_int_equal(files("smp-server-store.log"), 2); /* and the lock */
        assert_int_equal(open_log(NULL, true, &l), SIMPLEX_OK);
        assert_non_null(strstr(warnings, rows[i].line));
        assert_int_equal(sx_slog_close(l), SIMPLEX_OK);
        assert_file(rows[i].left);
        assert_int_equal(files("smp-server-store.log."), 2); /* the damaged one is kept */
    }
}

/* What a loss of power leaves: blocks of zeros where the data never arrived. */
static void repairs_holes_near_the_end(void **state)
{
    static uint8_t text[(2u << 20) + 4096];
    static const char hole[] = T1 "TIME \0\0\0\0\0\0\n" T2 "TIME\0\0\0\0\0\0\0";
    struct sx_slog *l;
    size_t n = 0;

    (void)state;
    write_file(NULL, hole, sizeof(hole));
    reopen();
    assert_non_null(strstr(warnings, "line 2: zero bytes"));
    assert_non_null(strstr(warnings, "line 4: the end"));
    assert_file(T1 T2);

    memcpy(text, "TIME \0\n", 7); /* the same far from the end is damage */
    for (n = 7; n < (1u << 20) + 100; n += strlen(T1))
        memcpy(text + n, T1, strlen(T1));
    write_file(NULL, text, n);
    assert_int_equal(open_log(NULL, false, &l), SIMPLEX_E_DB_DAMAGED);

    memset(text, 0, sizeof(text)); /* as is an end that no interrupted write explains */
    memcpy(text, T1, strlen(T1));
    write_file(NULL, text, (1u << 20) + 2 * strlen(T1));
    assert_int_equal(open_log(NULL, false, &l), SIMPLEX_E_DB_DAMAGED);
    write_file(NULL, text, (1u << 20) + strlen(T1));
    reopen();
    assert_file(T1);
}

static void bounds_the_length_of_a_line(void **state)
{
    static uint8_t text[(4u << 20) + 256];
    struct sx_slog *l;

    (void)state;
    memset(text, 'x', sizeof(text));
    memcpy(text, T1, strlen(T1));
    memcpy(text + sizeof(text) - strlen(T2) - 1, "\n" T2, strlen(T2) + 1);
    write_file(NULL, text, sizeof(text));
    assert_int_equal(open_log(NULL, false, &l), SIMPLEX_E_DB_DAMAGED);
    assert_non_null(strstr(problem, "line 2"));
    assert_non_null(strstr(problem, "length"));
    assert_int_equal(open_log(NULL, true, &l), SIMPLEX_OK);
    assert_int_equal(sx_slog_close(l), SIMPLEX_OK);
    assert_file(T1 T2);
}

static void refuses_a_second_server(void **state)
{
    struct sx_slog *l = opened(NULL);
    struct sx_slog *second;
    char pid[32];

    (void)state;
    snprintf(pid, sizeof(pid), "(process %ld)", (long)getpid());
    assert_true(add(l, 1, 1));
    assert_int_equal(sx_slog_sync(l), SIMPLEX_OK);
    assert_int_equal(open_log(NULL, false, &second), SIMPLEX_E_DB_LOCKED);
    assert_null(second);
    assert_non_null(strstr(problem, "in use by a running server"));
    assert_non_null(strstr(problem, pid));
    assert_file(T1);
    assert_int_equal(sx_slog_close(l), SIMPLEX_OK);
    reopen();
}

static void says_which_file_cannot_be_used(void **state)
{
    struct sx_slog *l;

    (void)state;
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(open_log(NULL, false, &l), SIMPLEX_E_SYSTEM);
    assert_non_null(strstr(problem, path));
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0); /* not waited for */
    assert_int_equal(open_log(NULL, false, &l), SIMPLEX_E_SYSTEM);
    assert_non_null(strstr(problem, "is not a file"));
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof(path), "%s/none/smp-server-store.log", dir);
    assert_int_equal(open_log(NULL, false, &l), SIMPLEX_E_SYSTEM);
    assert_non_null(strstr(problem, path));
    snprintf(path, sizeof(path), "%s/smp-server-store.log", dir);
}

/* ---- compaction ---- */

static void keeps_what_was_compacted(void **state)
{
    (void)state;
    write_text(NULL, T1 T2 "DELETE " RID "\n" T3);
    reopen();
    assert_file(T2 T3);
    assert_int_equal(files("smp-server-store.log.20"), 1);
    assert_false(exists("start"));
    for (int i = 0; i < 5; i++) {
        write_text(NULL, T2 T3 T3);
        reopen();
    }
    assert_int_equal(files("smp-server-store.log.20"), 6); /* none overwrites another */
    assert_file(T2 T3);
}

/* A start that fails later is tried again every two seconds, for ever. */
static void keeps_no_copies_of_the_same(void **state)
{
    bool fired = true;

    (void)state;
    write_text(NULL, T1 T2);
    for (int i = 0; i < 5; i++)
        reopen();
    assert_file(T1 T2);
    assert_int_equal(files("smp-server-store.log"), 2); /* and its lock */
    for (unsigned nth = 0; fired; nth++) {              /* nor is it lost at any step */
        struct sx_slog *l;
        clean(state);
        write_text(NULL, T1 T2);
        fault.at = nth;
        fault.times = UINT_MAX - nth;
        fault.error = EIO;
        if (open_log(&faulty, false, &l) == SIMPLEX_OK)
            (void)sx_slog_close(l);
        fired = fault.fired;
        no_fault();
        reopen();
        assert_file(T1 T2);
        assert_false(exists("start"));
    }
}

static void goes_back_to_the_log_of_an_interrupted_start(void **state)
{
    (void)state;
    write_text("start", T1 T2);
    write_text(NULL, T1); /* half written */
    reopen();
    assert_file(T1 T2);
    assert_non_null(strstr(warnings, "interrupted"));
    assert_true(exists("bak"));
    assert_false(exists("start"));
    clean(state);
    write_text("start", T1 T2);
    reopen();
    assert_file(T1 T2);
    assert_false(exists("bak") || exists("start"));
}

/* The process ends at the nth system call, which may have half happened. */
static void loses_nothing_when_a_start_crashes(void **state)
{
    bool fired = true;

    for (unsigned nth = 0; fired; nth++) {
        struct sx_slog *l;
        clean(state);
        write_text(NULL, T1 T2 T3 "DELETE " LID "\n");
        fault.at = nth;
        fault.times = UINT_MAX - nth;
        fault.error = EIO;
        simplex_rc rc = open_log(&faulty, false, &l);
        fired = fault.fired;
        if (rc == SIMPLEX_OK)
            (void)sx_slog_close(l);
        else
            assert_string_not_equal(problem, "");
        no_fault();
        reopen();
        assert_file(T1 T2);
        assert_false(exists("start"));
    }
}

/* One system call finds the disk full, and only that. */
static void starts_on_a_full_disk(void **state)
{
    bool fired = true;
    unsigned used_old = 0;

    for (unsigned nth = 0; fired; nth++) {
        struct sx_slog *l;
        clean(state);
        write_text(NULL, T1 T2 T3 "DELETE " LID "\nTIME");
        fault.at = nth;
        fault.error = ENOSPC;
        simplex_rc rc = open_log(&faulty, false, &l);
        fired = fault.fired;
        no_fault();
        if (rc == SIMPLEX_OK && strstr(warnings, "without compaction") != NULL) {
            assert_file(T1 T2 T3 "DELETE " LID "\n");
            used_old++;
        }
        if (rc == SIMPLEX_OK) {
            assert_true(add(l, 1, 4));
            assert_int_equal(sx_slog_close(l), SIMPLEX_OK);
        }
        reopen();
        assert_int_equal(day_of[1], rc == SIMPLEX_OK ? 4 : 1);
        assert_int_equal(day_of[2], 2);
        assert_int_equal(day_of[3], 0);
    }
    assert_int_equal(used_old, 3); /* making the file, writing it, syncing it */
}

/* What was left out near the end is not damage when the log has grown behind it. */
static void repairs_holes_of_a_log_that_goes_on_being_used(void **state)
{
    static const char holes[] = T1 "TIME \0\0\n" T2 "\0\n\n\0\0\0\n" T1 "torn";
    struct sx_slog *l;

    (void)state;
    write_file(NULL, holes, sizeof(holes) - 1);
    fault.at = 0;
    fault.only = "pwrite";
    fault.error = ENOSPC;
    assert_int_equal(open_log(&faulty, false, &l), SIMPLEX_OK);
    assert_non_null(strstr(warnings, "without compaction"));
    for (size_t n = 0; n < SX_SLOG_TORN; n += strlen(T3))
        assert_true(add(l, 3, 3));
    assert_int_equal(sx_slog_close(l), SIMPLEX_OK);
    no_fault();
    reopen();
    assert_string_equal(warnings, "");
    assert_file(T1 T2 T3);
}

/* ---- backups ---- */

static void name_backup(char to[64], int64_t s, const char *fraction)
{
    time_t t = (time_t)s;
    struct tm tm;
    size_t n = strftime(to, 48, "%Y-%m-%dT%H:%M:%S", gmtime_r(&t, &tm));

    snprintf(to + n, 64 - n, "%sZ", fraction);
}

static void removes_old_backups_but_three(void **state)
{
    static const int64_t now = 1732200000;
    static const struct {
        int64_t hours;
        bool kept;
    } rows[] = {
        { 1, true },       { 23, true },           { 25, true },       { 10 * 24, true },
        { 21 * 24, true }, { 21 * 24 + 1, false }, { 30 * 24, false }, { 400 * 24, false },
    };
    char name[64];

    for (size_t i = 0; i < SX_COUNT(rows); i++) {
        name_backup(name, now - rows[i].hours * 3600, i % 2 == 0 ? "" : ".123456789");
        write_text(name, "x");
    }
    static const char *const others[] = {
        "2001-01-01T00:00:00",   "2001-01-01",           "bak", "start",
        "2001-01-01T00:00:00ZZ", "2001-01-01T00:00:00.Z"
    };
    for (size_t i = 0; i < SX_COUNT(others); i++)
        write_text(others[i], "x");
    sx_slog_prune(&sx_slog_system, path, now * 1000000);
    for (size_t i = 0; i < SX_COUNT(rows); i++) {
        name_backup(name, now - rows[i].hours * 3600, i % 2 == 0 ? "" : ".123456789");
        assert_int_equal(exists(name), rows[i].kept);
    }
    for (size_t i = 0; i < SX_COUNT(others); i++)
        assert_true(exists(others[i]));

    clean(state); /* three are kept whatever their age */
    for (int i = 1; i <= 5; i++) {
        name_backup(name, now - i * 100 * 86400, "");
        write_text(name, "x");
    }
    sx_slog_prune(&sx_slog_system, path, now * 1000000);
    for (int i = 1; i <= 5; i++) {
        name_backup(name, now - i * 100 * 86400, "");
        assert_int_equal(exists(name), i <= 3);
    }
}

/* The reference parses the name and makes it again, so there is one way to write a time. */
static void names_backups_like_the_reference(void **state)
{
    static const struct {
        int64_t us;
        const char *name;
    } rows[] = {
        { 1732147200000000, "2024-11-21T00:00:00Z" },
        { 1732147200500000, "2024-11-21T00:00:00.5Z" },
        { 1732147261000120, "2024-11-21T00:01:01.00012Z" },
    };
    char got[SX_SLOG_PATH], want[SX_SLOG_PATH];

    (void)state;
    for (size_t i = 0; i < SX_COUNT(rows); i++) {
        assert_true(sx_slog_backup_path(got, path, rows[i].us));
        assert_true(sx_slog_path(want, path, rows[i].name));
        assert_string_equal(got, want);
    }
    write_text("2024-11-21T00:00:00Z", "x");
    assert_true(sx_slog_backup_path(got, path, 1732147200000000));
    assert_true(sx_slog_path(want, path, "2024-11-21T00:00:00.000001Z"));
    assert_string_equal(got, want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(makes_the_file_and_appends, clean),
        cmocka_unit_test_setup(repairs_a_torn_end, clean),
        cmocka_unit_test_setup(refuses_damage_and_changes_nothing, clean),
        cmocka_unit_test_setup(repairs_holes_near_the_end, clean),
        cmocka_unit_test_setup(bounds_the_length_of_a_line, clean),
        cmocka_unit_test_setup(refuses_a_second_server, clean),
        cmocka_unit_test_setup(says_which_file_cannot_be_used, clean),
        cmocka_unit_test_setup(keeps_what_was_compacted, clean),
        cmocka_unit_test_setup(keeps_no_copies_of_the_same, clean),
        cmocka_unit_test_setup(goes_back_to_the_log_of_an_interrupted_start, clean),
        cmocka_unit_test_setup(loses_nothing_when_a_start_crashes, clean),
        cmocka_unit_test_setup(starts_on_a_full_disk, clean),
        cmocka_unit_test_setup(repairs_holes_of_a_log_that_goes_on_being_used, clean),
        cmocka_unit_test_setup(removes_old_backups_but_three, clean),
        cmocka_unit_test_setup(names_backups_like_the_reference, clean),
    };

    if (!disk_open())
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    disk_close();
    return failed;
}
