/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The start of the store log: lock, read, write anew (protocol/smp.md section 10, "Files").
 *
 * The log is compacted by the reference's protocol of renames, so that a crash at any step leaves
 * a complete log under one of two names: the old one becomes <log>.start, the new one is written,
 * the old one becomes <log>.<time>, or goes when the new one says the same. Who finds a <log>.start
 * uses that, because the log itself may be half written.
 */
#include "store_log_compact.h"
#include "store_log_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILE_MODE 0600
#define CHUNK (1u << 20)

struct opening {
    const struct sx_slog_cfg *cfg;
    const struct sx_slog_sys *sys;
    struct sx_errtext *err;
    char start[SX_SLOG_PATH], bak[SX_SLOG_PATH];
    bool used_old; /* it could not be written anew */
};

static simplex_rc system_error(const struct opening *o, const char *what, const char *path)
{
    sx_errtext_set(o->err, "cannot %s %s: %s", what, path, sx_file_error(errno));
    return SIMPLEX_E_SYSTEM;
}

static simplex_rc sync_dir(const struct opening *o)
{
    return sx_slog_sync_dir(o->sys, o->cfg->path) == SIMPLEX_OK
               ? SIMPLEX_OK
               : system_error(o, "sync the directory of", o->cfg->path);
}

static simplex_rc move(const struct opening *o, const char *from, const char *to)
{
    return o->sys->rename(from, to) == 0 ? SIMPLEX_OK : system_error(o, "rename", from);
}

/* ---- the lock ---- */

static simplex_rc take_lock(const struct opening *o, int *out)
{
    char path[SX_SLOG_PATH];
    char pid[32] = "";

    if (!sx_slog_path(path, o->cfg->path, "lock"))
        return SIMPLEX_E_ARG;
    int fd = o->sys->open(path, O_RDWR | O_CREAT | O_CLOEXEC, FILE_MODE);
    if (fd < 0)
        return system_error(o, "open", path);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        bool other = errno == EWOULDBLOCK;
        simplex_rc rc = other ? SIMPLEX_E_DB_LOCKED : system_error(o, "lock", path);
        ssize_t n = other ? pread(fd, pid, sizeof(pid) - 1, 0) : 0;
        pid[n > 0 ? strspn(pid, "0123456789") : 0] = 0;
        if (other)
            sx_errtext_set(o->err, "%s is in use by a running server (process %s); stop that one",
                           o->cfg->path, pid[0] == 0 ? "unknown" : pid);
        (void)close(fd);
        return rc;
    }
    int n = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
    /* Only words for whoever is refused: the lock holds. */
    if (ftruncate(fd, 0) != 0 || pwrite(fd, pid, (size_t)n, 0) != n)
        sx_slog_warn(o->cfg, "%s does not say which process has it: %s", path, strerror(errno));
    *out = fd;
    return SIMPLEX_OK;
}

/* ---- a crashed start ---- */

static simplex_rc use_start(const struct opening *o)
{
    struct stat st;

    if (stat(o->start, &st) != 0)
        return errno == ENOENT ? SIMPLEX_OK : system_error(o, "look at", o->start);
    sx_slog_warn(o->cfg, "the last start was interrupted: restoring the store log from %s",
                 o->start);
    if (stat(o->cfg->path, &st) == 0) {
        simplex_rc rc = move(o, o->cfg->path, o->bak);
        if (rc != SIMPLEX_OK)
            return rc;
        sx_slog_warn(o->cfg, "the incomplete store log is kept as %s", o->bak);
    } else if (errno != ENOENT) {
        return system_error(o, "look at", o->cfg->path);
    }
    simplex_rc rc = move(o, o->start, o->cfg->path);
    return rc == SIMPLEX_OK ? sync_dir(o) : rc;
}

/* ---- the new file ---- */

struct output {
    const struct sx_slog_sys *sys;
    int fd;
    struct sx_wr buf;
    uint64_t at;
    simplex_rc rc;
    int error; /* errno of rc */
};

static bool drain(struct output *out)
{
    out->rc = sx_slog_pwrite(out->sys, out->fd, sx_wr_bytes(&out->buf), out->at);
    out->error = errno;
    out->at += out->buf.len;
    sx_wr_reset(&out->buf);
    return out->rc == SIMPLEX_OK;
}

static bool put_record(void *to, const struct sx_slog_record *r)
{
    struct output *out = to;

    sx_slog_encode(&out->buf, r);
    sx_wr_u8(&out->buf, '\n');
    if (out->buf.bad) {
        out->rc = SIMPLEX_E_NOMEM;
        return false;
    }
    return out->buf.len < CHUNK || drain(out);
}

static simplex_rc write_lines(const struct opening *o, struct output *out)
{
    bool ok = o->cfg->rewrite(o->cfg->user, put_record, out);

    if (ok && drain(out) && o->sys->sync(out->fd) != 0) {
        out->rc = sx_slog_errno();
        out->error = errno;
    }
    return !ok && out->rc == SIMPLEX_OK ? SIMPLEX_E_NOMEM : out->rc;
}

/* Writes everything into a file that is not there yet. On failure it is gone again. */
static simplex_rc write_new(const struct opening *o, int *fd, uint64_t *size)
{
    struct output out = { .sys = o->sys };

    out.fd = o->sys->open(o->cfg->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
    if (out.fd < 0) {
        simplex_rc rc = sx_slog_errno();
        (void)system_error(o, "create", o->cfg->path);
        return rc;
    }
    sx_wr_init(&out.buf, CHUNK + SX_SLOG_LINE_MAX);
    simplex_rc rc = write_lines(o, &out);
    sx_wr_free(&out.buf);
    if (rc == SIMPLEX_OK) {
        *fd = out.fd;
        *size = out.at;
        return SIMPLEX_OK;
    }
    if (rc != SIMPLEX_E_NOMEM) {
        errno = out.error;
        (void)system_error(o, "write", o->cfg->path);
    }
    (void)close(out.fd);
    (void)o->sys->unlink(o->cfg->path);
    return rc;
}

/* ---- the old file ---- */

static bool blank_lines(uint8_t *p, const uint8_t *end)
{
    uint8_t *lf;
    bool any = false;

    for (; (lf = memchr(p, '\n', (size_t)(end - p))) != NULL; p = lf + 1) {
        if (memchr(p, 0, (size_t)(lf - p)) == NULL)
            continue;
        memset(p, '\n', (size_t)(lf - p));
        any = true;
    }
    return any;
}

/* Lines with zero bytes were left out for being near the end; when the log has grown behind them
 * they would be damage. Those that a full disk has no room for stay as they are. */
static void blank_holes(const struct opening *o, int fd, const struct sx_slog_found *found)
{
    uint64_t from = found->size > SX_SLOG_TORN ? found->size - SX_SLOG_TORN - 1 : 0;

    if (from >= found->good_end)
        return;
    size_t n = (size_t)(found->good_end - from);
    uint8_t *buf = sx_malloc(n);
    if (buf == NULL)
        return;
    bool read = pread(fd, buf, n, (off_t)from) == (ssize_t)n;
    uint8_t *line = from == 0 || !read ? buf : memchr(buf, '\n', n); /* whole ones */
    if (read && line != NULL && blank_lines(line, buf + n))
        (void)!sx_slog_pwrite(o->sys, fd, sx_bytes(buf, n), from);
    sx_free_secret(buf, n);
}

/* Goes on with the file that was read, without what is behind its last record. */
static simplex_rc use_old(const struct opening *o, const struct sx_slog_found *found, int *fd,
                          uint64_t *size)
{
    simplex_rc rc = move(o, o->start, o->cfg->path);

    if (rc == SIMPLEX_OK)
        rc = sync_dir(o);
    if (rc != SIMPLEX_OK)
        return rc;
    *fd = o->sys->open(o->cfg->path, O_RDWR | O_CLOEXEC, 0);
    if (*fd < 0)
        return system_error(o, "open", o->cfg->path);
    bool cut = o->sys->ftruncate(*fd, (off_t)found->good_end) == 0;
    if (cut)
        blank_holes(o, *fd, found);
    if (!cut || o->sys->sync(*fd) != 0) {
        rc = system_error(o, "repair", o->cfg->path);
        (void)close(*fd);
        return rc;
    }
    sx_slog_warn(o->cfg, "the disk is full: %s goes on being used without compaction",
                 o->cfg->path);
    *size = found->good_end;
    return SIMPLEX_OK;
}

static int64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static simplex_rc move_to_backup(const struct opening *o, int64_t now)
{
    char backup[SX_SLOG_PATH];

    if (!sx_slog_backup_path(backup, o->cfg->path, now))
        return SIMPLEX_E_ARG;
    return move(o, o->start, backup);
}

static simplex_rc remove_start(const struct opening *o)
{
    return o->sys->unlink(o->start) == 0 ? SIMPLEX_OK : system_error(o, "remove", o->start);
}

/* An old log as long as the new one says the same. A start that fails later, and is tried again
 * every few seconds, must not fill the disk with copies of it. */
static simplex_rc put_away(const struct opening *o, bool same)
{
    int64_t now = now_us();

    simplex_rc rc = same ? remove_start(o) : move_to_backup(o, now);
    if (rc == SIMPLEX_OK)
        rc = sync_dir(o);
    if (rc == SIMPLEX_OK)
        sx_slog_prune(o->sys, o->cfg->path, now);
    return rc;
}

static simplex_rc compact(struct opening *o, const struct sx_slog_found *found, int *fd,
                          uint64_t *size)
{
    simplex_rc rc = move(o, o->cfg->path, o->start);

    if (rc == SIMPLEX_OK)
        rc = sync_dir(o);
    if (rc != SIMPLEX_OK)
        return rc;
    rc = write_new(o, fd, size);
    o->used_old = rc == SIMPLEX_E_DB_FULL;
    if (o->used_old)
        return use_old(o, found, fd, size);
    if (rc != SIMPLEX_OK) {
        (void)o->sys->rename(o->start, o->cfg->path); /* if not, the next start does it */
        return rc == SIMPLEX_E_NOMEM ? rc : SIMPLEX_E_SYSTEM;
    }
    rc = sync_dir(o);
    if (rc == SIMPLEX_OK)
        rc = put_away(o, *size == found->size);
    if (rc != SIMPLEX_OK)
        (void)close(*fd);
    return rc;
}

static simplex_rc create(const struct opening *o, int *fd, uint64_t *size)
{
    simplex_rc rc = write_new(o, fd, size);

    if (rc == SIMPLEX_E_DB_FULL || rc == SIMPLEX_E_DB_IO)
        rc = SIMPLEX_E_SYSTEM;
    if (rc != SIMPLEX_OK)
        return rc;
    rc = sync_dir(o);
    if (rc != SIMPLEX_OK)
        (void)close(*fd);
    return rc;
}

static simplex_rc open_locked(struct opening *o, int lock_fd, struct sx_slog **out)
{
    struct sx_slog_found found;
    uint64_t size;
    int fd;

    simplex_rc rc = use_start(o);
    sx_slog_compact_remove(o->sys, o->cfg->path);
    if (rc == SIMPLEX_OK)
        rc = sx_slog_read(o->cfg, o->err, &found);
    if (rc == SIMPLEX_OK)
        rc = found.exists ? compact(o, &found, &fd, &size) : create(o, &fd, &size);
    if (rc != SIMPLEX_OK)
        return rc;
    rc = sx_slog_new(o->sys, o->cfg->path, fd, lock_fd, size, out);
    if (rc != SIMPLEX_OK)
        (void)close(fd);
    else if (o->used_old)
        (*out)->base = 0;
    return rc;
}

simplex_rc sx_slog_open(const struct sx_slog_cfg *cfg, struct sx_errtext *err, struct sx_slog **out)
{
    struct opening o = { .cfg = cfg,
                         .sys = cfg->sys == NULL ? &sx_slog_system : cfg->sys,
                         .err = err };
    int lock_fd = -1;

    *out = NULL;
    if (!sx_slog_path(o.start, cfg->path, "start") || !sx_slog_path(o.bak, cfg->path, "bak"))
        return SIMPLEX_E_ARG;
    simplex_rc rc = take_lock(&o, &lock_fd);
    if (rc != SIMPLEX_OK)
        return rc;
    rc = open_locked(&o, lock_fd, out);
    if (rc != SIMPLEX_OK)
        (void)close(lock_fd);
    return rc;
}

simplex_rc sx_slog_lock(const char *path, struct sx_errtext *err, int *fd)
{
    const struct sx_slog_cfg cfg = { .path = path };
    const struct opening o = { .cfg = &cfg, .sys = &sx_slog_system, .err = err };

    return take_lock(&o, fd);
}
