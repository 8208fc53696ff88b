/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file of the store log: reading and repair, compaction with a crash at each step, backups,
 * full disks, failed writes and syncs, threads.
 */
#include "store_log_util.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "store_log_internal.h"

static char dir[] = "/tmp/sx-slog-XXXXXX";
static char path[64];
static char warnings[8192];
static char problem[8192];

/* ---- a disk that fails ---- */

static struct {
    unsigned calls; /* so far */
    unsigned at;    /* this one and the following `times` fail */
    unsigned times; /* UINT_MAX: all that follow, like a crash */
    int error;
    bool fired;
    const char *only; /* calls of this name alone count; NULL: all */
    int no_room;      /* errno of fallocate, 0: works */
} fault;

static void no_fault(void)
{
    memset(&fault, 0, sizeof(fault));
    fault.at = UINT_MAX;
}

static bool strikes(const char *name)
{
    if (fault.only != NULL && strcmp(fault.only, name) != 0)
        return false;
    unsigned n = fault.calls++;
    if (n < fault.at || n - fault.at > fault.times)
        return false;
    fault.fired = true;
    errno = fault.error;
    return true;
}

static ssize_t f_pwrite(int fd, const void *p, size_t n, off_t at)
{
    if (!strikes("pwrite"))
        return pwrite(fd, p, n, at);
    if (fault.calls == fault.at + 1) /* half of it arrives */
        assert_int_equal(pwrite(fd, p, n / 2, at), n / 2);
    errno = fault.error;
    return -1;
}

static int f_fallocate(int fd, off_t at, off_t n)
{
    if (fault.no_room != 0) {
        errno = fault.no_room;
        return -1;
    }
    return sx_slog_system.fallocate(fd, at, n);
}

static int f_ftruncate(int fd, off_t size)
{
    return strikes("ftruncate") ? -1 : ftruncate(fd, size);
}

static int f_sync(int fd)
{
    return strikes("sync") ? -1 : fdatasync(fd);
}

static int f_rename(const char *from, const char *to)
{
    return strikes("rename") ? -1 : rename(from, to);
}

static int f_unlink(const char *name)
{
    return strikes("unlink") ? -1 : unlink(name);
}

static int f_open(const char *name, int flags, mode_t mode)
{
    return strikes("open") ? -1 : open(name, flags, mode);
}

static const struct sx_slog_sys faulty = {
    f_pwrite, f_fallocate, f_ftruncate, f_sync, f_rename, f_unlink, f_open,
};

/* ---- the directory ---- */

static unsigned files(const char *prefix)
{
    const struct dirent *e;
    unsigned n = 0;
    DIR *d = opendir(dir);

    while ((e = readdir(d)) != NULL)
        n += e->d_name[0] != '.' && strncmp(e->d_name, prefix, strlen(prefix)) == 0;
    closedir(d);
    return n;
}

static int clean(void **state)
{
    char name[512];
    const struct dirent *e;
    DIR *d = opendir(dir);

    (void)state;
    while ((e = readdir(d)) != NULL) {
        snprintf(name, sizeof(name), "%s/%s", dir, e->d_name);
        if (e->d_name[0] != '.')
            remove(name);
    }
    closedir(d);
    no_fault();
    return 0;
}

static bool exists(const char *suffix)
{
    char name[SX_SLOG_PATH];

    assert_true(sx_slog_path(name, path, suffix));
    return access(name, F_OK) == 0;
}

static void write_file(const char *suffix, const void *p, size_t n)
{
    char name[SX_SLOG_PATH];

    if (suffix == NULL)
        snprintf(name, sizeof(name), "%s", path);
    else
        assert_true(sx_slog_path(name, path, suffix));
    FILE *f = fopen(name, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    fclose(f);
}

static void write_text(const char *suffix, const char *text)
{
    write_file(suffix, text, strlen(text));
}

static void assert_file(const char *text)
{
    char buf[32768];
    FILE *f = fopen(path, "rb");

    assert_non_null(f);
    size_t n = fread(buf, 1, sizeof(buf) - 1, f);
    fclose(f);
    buf[n] = 0;
    assert_string_equal(buf, text);
}

/* ---- a memory that keeps the records of time, by the first byte of the id ---- */

static uint32_t day_of[256];
static unsigned records;

static void on_warn(void *user, const char *text)
{
    (void)user;
    strncat(warnings, text, sizeof(warnings) - strlen(warnings) - 1);
}

static simplex_rc on_record(void *user, const struct sx_slog_record *r, uint64_t line)
{
    (void)user;
    (void)line;
    if (r->tag == SX_SLOG_TIME)
        day_of[r->rid[0]] = r->day;
    if (r->tag == SX_SLOG_DELETE)
        day_of[r->rid[0]] = 0;
    records++;
    return SIMPLEX_OK;
}

static struct sx_slog_record time_record(uint8_t id, uint32_t day)
{
    struct sx_slog_record r = { .tag = SX_SLOG_TIME, .has_updated_at = true, .day = day };

    memset(r.rid, id, sizeof(r.rid));
    return r;
}

static bool on_rewrite(void *user, sx_slog_put *put, void *to)
{
    bool ok = true;

    (void)user;
    for (unsigned i = 0; ok && i < 256; i++) {
        struct sx_slog_record r = time_record((uint8_t)i, day_of[i]);
        if (day_of[i] != 0)
            ok = put(to, &r);
    }
    return ok;
}

static simplex_rc open_log(const struct sx_slog_sys *sys, bool skip, struct sx_slog **out)
{
    struct sx_errtext err = { problem, sizeof(problem) };
    struct sx_slog_cfg cfg = { .path = path,
                               .skip_damage = skip,
                               .sys = sys,
                               .record = on_record,
                               .rewrite = on_rewrite,
                               .warn = on_warn };

    warnings[0] = problem[0] = 0;
    memset(day_of, 0, sizeof(day_of));
    records = 0;
    return sx_slog_open(&cfg, &err, out);
}

static struct sx_slog *opened(const struct sx_slog_sys *sys)
{
    struct sx_slog *l;

    if (open_log(sys, false, &l) != SIMPLEX_OK)
        fail_msg("%s", problem);
    return l;
}

static void reopen(void)
{
    assert_int_equal(sx_slog_close(opened(NULL)), SIMPLEX_OK);
}

static bool add(struct sx_slog *l, uint8_t id, uint32_t day)
{
    struct sx_slog_record r = time_record(id, day);

    return sx_slog_write(l, &r);
}

#define T1 "TIME " RID " 86400\n"  /* id 1, day 1 */
#define T2 "TIME " SID " 172800\n" /* id 2, day 2 */
#define T3 "TIME " LID " 259200\n" /* id 3, day 3 */

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
    assert_non_null(strstr(problem, "in use by another server"));
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
    for (int i = 0; i < 5; i++)
        reopen();
    assert_int_equal(files("smp-server-store.log.20"), 6); /* none overwrites another */
    assert_file(T2 T3);
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

/* ---- failures while it runs ---- */

static void takes_nothing_without_room(void **state)
{
    struct sx_slog *l = opened(&faulty);

    (void)state;
    fault.no_room = ENOSPC;
    assert_false(add(l, 1, 1));
    assert_false(sx_slog_failed(l));
    assert_int_equal(sx_slog_sync(l), SIMPLEX_OK);
    assert_file("");
    fault.no_room = 0;
    assert_true(add(l, 1, 1));
    fault.no_room = ENOSPC; /* there is room reserved for many more */
    for (int i = 0; i < 1000; i++)
        assert_true(add(l, 2, 2));
    assert_int_equal(sx_slog_close(l), SIMPLEX_OK);
    no_fault();
    reopen();
    assert_int_equal(records, 1001);
    assert_file(T1 T2);
}

static void takes_a_line_back_where_room_cannot_be_reserved(void **state)
{
    struct sx_slog *l = opened(&faulty);

    (void)state;
    fault.no_room = EOPNOTSUPP;
    assert_true(add(l, 1, 1));
    assert_file(T1); /* written at once */
    fault.only = "pwrite";
    fault.at = fault.calls;
    fault.error = ENOSPC;
    assert_false(add(l, 2, 2));
    assert_false(sx_slog_failed(l));
    assert_file(T1); /* the half that arrived is gone */
    assert_true(add(l, 3, 3));
    assert_int_equal(sx_slog_sync(l), SIMPLEX_OK);
    assert_file(T1 T3);
    fault.only = NULL;
    fault.at = fault.calls;
    fault.times = 1; /* it cannot be cut off either */
    assert_false(add(l, 2, 2));
    assert_true(sx_slog_failed(l));
    assert_false(add(l, 2, 2));
    assert_int_equal(sx_slog_recover(l), SIMPLEX_OK);
    assert_file(T1 T3);
    assert_int_equal(sx_slog_close(l), SIMPLEX_OK);
}

static void writes_again_what_failed(void **state)
{
    static const char *const calls[] = { "pwrite", "sync" };
    static const int errors[] = { ENOSPC, EDQUOT, EIO };

    for (size_t i = 0; i < SX_COUNT(calls) * SX_COUNT(errors); i++) {
        simplex_rc want = i % 3 == 2 ? SIMPLEX_E_DB_IO : SIMPLEX_E_DB_FULL;
        clean(state);
        struct sx_slog *l = opened(&faulty);
        assert_true(add(l, 1, 1));
        assert_int_equal(sx_slog_sync(l), SIMPLEX_OK);
        fault.only = calls[i / 3];
        fault.at = fault.calls = 0;
        fault.error = errors[i % 3];
        fault.times = 1;
        assert_true(add(l, 2, 2));
        assert_int_equal(sx_slog_sync(l), want);
        assert_true(sx_slog_failed(l));
        assert_false(add(l, 3, 3));
        assert_int_equal(sx_slog_flush(l), want);
        assert_int_equal(sx_slog_sync(l), want);
        assert_int_equal(sx_slog_recover(l), want); /* fails again */
        /* nobody knows what is behind the last good sync */
        assert_int_equal(truncate(path, (off_t)strlen(T1) + 3), 0);
        assert_int_equal(truncate(path, 4000), 0);
        assert_int_equal(sx_slog_recover(l), SIMPLEX_OK);
        assert_file(T1 T2);
        assert_false(sx_slog_failed(l));
        assert_true(add(l, 3, 3));
        assert_int_equal(sx_slog_close(l), SIMPLEX_OK);
        assert_file(T1 T2 T3);
    }
}

static void waits_for_room_before_it_recovers(void **state)
{
    struct sx_slog *l = opened(&faulty);

    (void)state;
    assert_true(add(l, 1, 1));
    fault.only = "pwrite";
    fault.at = fault.calls = 0;
    fault.error = EIO;
    assert_int_equal(sx_slog_flush(l), SIMPLEX_E_DB_IO);
    fault.no_room = ENOSPC;
    assert_int_equal(sx_slog_recover(l), SIMPLEX_E_DB_FULL);
    assert_false(add(l, 2, 2));
    fault.no_room = 0;
    assert_int_equal(sx_slog_close(l), SIMPLEX_OK); /* the last attempt */
    assert_file(T1);
}

static void tells_when_the_end_was_lost(void **state)
{
    struct sx_slog *l = opened(&faulty);

    (void)state;
    assert_true(add(l, 1, 1));
    fault.only = "sync";
    fault.at = fault.calls = 0;
    fault.times = 9;
    fault.error = EIO;
    assert_int_equal(sx_slog_close(l), SIMPLEX_E_DB_IO);
}

static void lives_with_a_limit_of_the_file_size(void **state)
{
    struct rlimit old, small;
    struct sx_slog *l = opened(NULL);
    unsigned taken = 0;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){ 10000, old.rlim_max };
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    for (int i = 0; i < 400; i++) {
        taken += add(l, 1, (uint32_t)taken + 1);
        (void)!sx_slog_flush(l);
    }
    simplex_rc rc = sx_slog_sync(l);
    bool more = add(l, 2, 2);
    simplex_rc again = sx_slog_recover(l);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(rc, SIMPLEX_E_DB_FULL);
    assert_int_equal(again, SIMPLEX_E_DB_FULL);
    assert_false(more);
    assert_true(taken > 100 && taken < 400);
    assert_int_equal(sx_slog_recover(l), SIMPLEX_OK);
    assert_true(add(l, 2, 2));
    assert_int_equal(sx_slog_close(l), SIMPLEX_OK);
    reopen();
    assert_int_equal(records, taken + 1);
    assert_int_equal(day_of[1], taken);
}

static void takes_nothing_without_memory(void **state)
{
    struct sx_slog *l = opened(NULL);

    (void)state;
    sx_fault_malloc(0);
    assert_false(add(l, 1, 1));
    assert_true(sx_fault_disarm());
    assert_true(add(l, 2, 2));
    for (int i = 0; i < 100; i++) { /* where the buffer grows */
        sx_fault_malloc(0);
        (void)!add(l, 2, 2);
        (void)sx_fault_disarm();
    }
    assert_true(add(l, 1, 1));
    assert_int_equal(sx_slog_close(l), SIMPLEX_OK);
    reopen();
    assert_int_equal(day_of[1], 1);
    assert_int_equal(day_of[2], 2);
}

static void bounds_what_it_keeps(void **state)
{
    struct sx_slog *l = opened(NULL);
    static char line[1u << 20];
    unsigned taken = 0;

    (void)state;
    memset(line, 'x', sizeof(line));
    while (taken < 100 && sx_slog_append(l, sx_bytes(line, sizeof(line))))
        taken++;
    assert_int_equal(taken, 63); /* each with its LF */
    assert_int_equal(sx_slog_sync(l), SIMPLEX_OK);
    assert_true(sx_slog_append(l, sx_bytes(line, sizeof(line))));
    assert_int_equal(sx_slog_close(l), SIMPLEX_OK);
}

/* ---- ends of a process and of the power ---- */

/* The process says which days are synced until it is killed. */
static void child(int to)
{
    struct sx_slog *l = opened(NULL);

    for (uint32_t day = day_of[1] + 1;; day++) {
        if (!add(l, 1, day) || !add(l, 2, day) || sx_slog_sync(l) != SIMPLEX_OK ||
            write(to, &day, sizeof(day)) != sizeof(day))
            _exit(1);
        (void)!add(l, 1, day + 1);
        (void)!sx_slog_flush(l);
    }
}

static void keeps_what_was_synced_when_killed(void **state)
{
    uint32_t synced = 0;

    (void)state;
    for (int round = 0; round < 10; round++) {
        int ends[2];
        assert_int_equal(pipe(ends), 0);
        pid_t pid = fork();
        if (pid == 0)
            child(ends[1]);
        close(ends[1]);
        for (int n = 0; n < 5 + round; n++)
            assert_int_equal(read(ends[0], &synced, sizeof(synced)), sizeof(synced));
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        while (read(ends[0], &synced, sizeof(synced)) == sizeof(synced)) {
        }
        close(ends[0]);
        reopen();
        assert_true(day_of[1] >= synced && day_of[1] <= synced + 2);
        assert_true(day_of[2] >= synced && day_of[2] <= synced + 1);
    }
}

static uint32_t rolled;

static uint32_t roll(uint32_t n)
{
    rolled = rolled * 1664525 + 1013904223;
    return (rolled >> 8) % n;
}

/* Sectors behind the last sync arrive or not, in any order, and the size may be any. */
static size_t lose_power(uint8_t *text, size_t n, size_t durable)
{
    for (size_t sector = (durable + 511) / 512 * 512; sector < n; sector += 512)
        if (roll(3) == 0)
            memset(text + sector, 0, n - sector < 512 ? n - sector : 512);
    return roll(4) == 0 ? n : durable + roll((uint32_t)(n - durable + 1));
}

static void keeps_what_was_synced_when_the_power_fails(void **state)
{
    static uint8_t text[1 << 20];

    rolled = (uint32_t)time(NULL);
    print_message("seed %u\n", rolled);
    for (int round = 0; round < 200; round++) {
        uint32_t day = 0;
        clean(state);
        struct sx_slog *l = opened(NULL);
        for (uint32_t n = roll(100); n > 0; n--)
            assert_true(add(l, 1, ++day));
        assert_int_equal(sx_slog_sync(l), SIMPLEX_OK);
        uint32_t synced = day;
        size_t durable = (size_t)l->durable;
        for (uint32_t n = roll(200); n > 0; n--)
            assert_true(add(l, 1, ++day));
        assert_int_equal(sx_slog_close(l), SIMPLEX_OK);
        FILE *f = fopen(path, "rb");
        assert_non_null(f);
        size_t n = fread(text, 1, sizeof(text), f);
        fclose(f);
        write_file(NULL, text, lose_power(text, n, durable));
        reopen();
        assert_true(records >= synced && records <= day);
        assert_true(day_of[1] >= synced && day_of[1] <= day);
        reopen();
        assert_string_equal(warnings, "");
    }
}

/* ---- threads ---- */

#define APPENDERS 4
#define EACH 3000

static struct appender {
    struct sx_slog *l;
    uint8_t id;
    uint32_t taken; /* days 1..taken were taken, in this order */
} appenders[APPENDERS];
static atomic_uint working;

static void *append_lines(void *user)
{
    struct appender *a = user;

    for (unsigned i = 0; i < EACH; i++) {
        a->taken += add(a->l, a->id, a->taken + 1);
        if (i % 7 == 0)
            (void)!sx_slog_flush(a->l);
    }
    atomic_fetch_sub(&working, 1);
    return NULL;
}

static uint32_t next_day[256];

static simplex_rc in_order(void *user, const struct sx_slog_record *r, uint64_t line)
{
    (void)user;
    (void)line;
    assert_int_equal(r->day, ++next_day[r->rid[0]]);
    return SIMPLEX_OK;
}

static bool put_nothing(void *user, sx_slog_put *put, void *to)
{
    (void)user;
    (void)put;
    (void)to;
    return true;
}

static void assert_all_in_order(void)
{
    struct sx_errtext err = { problem, sizeof(problem) };
    struct sx_slog_cfg cfg = { .path = path, .record = in_order, .rewrite = put_nothing };
    struct sx_slog *l;

    memset(next_day, 0, sizeof(next_day));
    assert_int_equal(sx_slog_open(&cfg, &err, &l), SIMPLEX_OK);
    assert_int_equal(sx_slog_close(l), SIMPLEX_OK);
    for (unsigned i = 0; i < APPENDERS; i++)
        assert_int_equal(next_day[appenders[i].id], appenders[i].taken);
}

/* Every so many syncs fail. The fault is looked at by this thread alone. */
static atomic_uint syncs;
static unsigned sync_fails_every;

static int sometimes_sync(int fd)
{
    unsigned n = atomic_fetch_add(&syncs, 1);

    if (sync_fails_every != 0 && n % sync_fails_every == sync_fails_every - 1) {
        errno = EIO;
        return -1;
    }
    return fdatasync(fd);
}

static void run_appenders(const struct sx_slog_sys *sys)
{
    pthread_t thread[APPENDERS];
    struct sx_slog *l = opened(sys);
    simplex_rc rc = SIMPLEX_OK;

    atomic_store(&working, APPENDERS);
    for (uint8_t i = 0; i < APPENDERS; i++) {
        appenders[i] = (struct appender){ l, i, 0 };
        assert_int_equal(pthread_create(&thread[i], NULL, append_lines, &appenders[i]), 0);
    }
    while (atomic_load(&working) > 0)
        rc = rc == SIMPLEX_OK ? sx_slog_sync(l) : sx_slog_recover(l);
    for (unsigned i = 0; i < APPENDERS; i++)
        pthread_join(thread[i], NULL);
    while (sx_slog_recover(l) != SIMPLEX_OK) {
    }
    while (sx_slog_close(l) != SIMPLEX_OK)
        fail();
}

static void keeps_the_order_of_each_thread(void **state)
{
    (void)state;
    run_appenders(NULL);
    for (unsigned i = 0; i < APPENDERS; i++)
        assert_int_equal(appenders[i].taken, EACH);
    assert_all_in_order();
}

static void loses_nothing_when_syncs_fail(void **state)
{
    struct sx_slog_sys sys = sx_slog_system;

    (void)state;
    sys.sync = sometimes_sync;
    sync_fails_every = 5;
    run_appenders(&sys);
    sync_fails_every = 0;
    assert_all_in_order();
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
        cmocka_unit_test_setup(goes_back_to_the_log_of_an_interrupted_start, clean),
        cmocka_unit_test_setup(loses_nothing_when_a_start_crashes, clean),
        cmocka_unit_test_setup(starts_on_a_full_disk, clean),
        cmocka_unit_test_setup(removes_old_backups_but_three, clean),
        cmocka_unit_test_setup(names_backups_like_the_reference, clean),
        cmocka_unit_test_setup(takes_nothing_without_room, clean),
        cmocka_unit_test_setup(takes_a_line_back_where_room_cannot_be_reserved, clean),
        cmocka_unit_test_setup(writes_again_what_failed, clean),
        cmocka_unit_test_setup(waits_for_room_before_it_recovers, clean),
        cmocka_unit_test_setup(tells_when_the_end_was_lost, clean),
        cmocka_unit_test_setup(lives_with_a_limit_of_the_file_size, clean),
        cmocka_unit_test_setup(takes_nothing_without_memory, clean),
        cmocka_unit_test_setup(bounds_what_it_keeps, clean),
        cmocka_unit_test_setup(keeps_what_was_synced_when_killed, clean),
        cmocka_unit_test_setup(keeps_what_was_synced_when_the_power_fails, clean),
        cmocka_unit_test_setup(keeps_the_order_of_each_thread, clean),
        cmocka_unit_test_setup(loses_nothing_when_syncs_fail, clean),
    };

    if (sx_crypto_init() != SIMPLEX_OK || mkdtemp(dir) == NULL)
        return 1;
    snprintf(path, sizeof(path), "%s/smp-server-store.log", dir);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    clean(NULL);
    rmdir(dir);
    return failed;
}
