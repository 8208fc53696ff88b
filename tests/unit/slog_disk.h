/* SPDX-License-Identifier: Apache-2.0 */
/* The file of the store log in a directory of its own, on a disk that fails when it is told to. */
#ifndef SLOG_DISK_H
#define SLOG_DISK_H

#include "store_log_util.h"

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

static inline void no_fault(void)
{
    memset(&fault, 0, sizeof(fault));
    fault.at = UINT_MAX;
}

static inline bool strikes(const char *name)
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

static inline ssize_t f_pwrite(int fd, const void *p, size_t n, off_t at)
{
    if (!strikes("pwrite"))
        return pwrite(fd, p, n, at);
    if (fault.calls == fault.at + 1) /* half of it arrives */
        assert_int_equal(pwrite(fd, p, n / 2, at), n / 2);
    errno = fault.error;
    return -1;
}

static inline int f_fallocate(int fd, off_t at, off_t n)
{
    if (fault.no_room != 0) {
        errno = fault.no_room;
        return -1;
    }
    return sx_slog_system.fallocate(fd, at, n);
}

static inline int f_ftruncate(int fd, off_t size)
{
    return strikes("ftruncate") ? -1 : ftruncate(fd, size);
}

static inline int f_sync(int fd)
{
    return strikes("sync") ? -1 : fdatasync(fd);
}

static inline int f_rename(const char *from, const char *to)
{
    return strikes("rename") ? -1 : rename(from, to);
}

static inline int f_unlink(const char *name)
{
    return strikes("unlink") ? -1 : unlink(name);
}

static inline int f_open(const char *name, int flags, mode_t mode)
{
    return strikes("open") ? -1 : open(name, flags, mode);
}

static const struct sx_slog_sys faulty = {
    f_pwrite, f_fallocate, f_ftruncate, f_sync, f_rename, f_unlink, f_open,
};

/* ---- the directory ---- */

static inline unsigned files(const char *prefix)
{
    const struct dirent *e;
    unsigned n = 0;
    DIR *d = opendir(dir);

    while ((e = readdir(d)) != NULL)
        n += e->d_name[0] != '.' && strncmp(e->d_name, prefix, strlen(prefix)) == 0;
    closedir(d);
    return n;
}

static inline int clean(void **state)
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

static inline bool exists(const char *suffix)
{
    char name[SX_SLOG_PATH];

    assert_true(sx_slog_path(name, path, suffix));
    return access(name, F_OK) == 0;
}

static inline void write_file(const char *suffix, const void *p, size_t n)
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

static inline void write_text(const char *suffix, const char *text)
{
    write_file(suffix, text, strlen(text));
}

static inline void assert_file(const char *text)
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

static inline void on_warn(void *user, const char *text)
{
    (void)user;
    strncat(warnings, text, sizeof(warnings) - strlen(warnings) - 1);
}

static inline simplex_rc on_record(void *user, const struct sx_slog_record *r, uint64_t line)
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

static inline struct sx_slog_record time_record(uint8_t id, uint32_t day)
{
    struct sx_slog_record r = { .tag = SX_SLOG_TIME, .has_updated_at = true, .day = day };

    memset(r.rid, id, sizeof(r.rid));
    return r;
}

static inline bool on_rewrite(void *user, sx_slog_put *put, void *to)
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

static inline simplex_rc open_log(const struct sx_slog_sys *sys, bool skip, struct sx_slog **out)
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

static inline struct sx_slog *opened(const struct sx_slog_sys *sys)
{
    struct sx_slog *l;

    if (open_log(sys, false, &l) != SIMPLEX_OK)
        fail_msg("%s", problem);
    return l;
}

static inline void reopen(void)
{
    assert_int_equal(sx_slog_close(opened(NULL)), SIMPLEX_OK);
}

static inline bool add(struct sx_slog *l, uint8_t id, uint32_t day)
{
    struct sx_slog_record r = time_record(id, day);

    return sx_slog_write(l, &r);
}

#define T1 "TIME " RID " 86400\n"  /* id 1, day 1 */
#define T2 "TIME " SID " 172800\n" /* id 2, day 2 */
#define T3 "TIME " LID " 259200\n" /* id 3, day 3 */

static inline bool disk_open(void)
{
    if (sx_crypto_init() != SIMPLEX_OK || mkdtemp(dir) == NULL)
        return false;
    snprintf(path, sizeof(path), "%s/smp-server-store.log", dir);
    return true;
}

static inline void disk_close(void)
{
    clean(NULL);
    rmdir(dir);
}

#endif
