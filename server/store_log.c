/* SPDX-License-Identifier: Apache-2.0 */
/* The life of the store log: lines are appended, written, made durable, written again. */
#if defined(__linux__)
#define _GNU_SOURCE /* fallocate */
#endif
#include "store_log_compact.h"
#include "store_log_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define SMALL_ROOM 4096        /* the step when the disk is nearly full */
#define IDLE_MEMORY (1u << 20) /* more than this is given back when nothing is kept */

/* ---- the system ---- */

static int keep_size_fallocate(int fd, off_t at, off_t n)
{
#if defined(__linux__)
    return fallocate(fd, FALLOC_FL_KEEP_SIZE, at, n);
#else
    (void)fd;
    (void)at;
    (void)n;
    errno = EOPNOTSUPP;
    return -1;
#endif
}

static int open_file(const char *path, int flags, mode_t mode)
{
    return open(path, flags, mode);
}

static int sync_file(int fd)
{
#if defined(__APPLE__)
    return fcntl(fd, F_FULLFSYNC);
#else
    return fdatasync(fd);
#endif
}

const struct sx_slog_sys sx_slog_system = {
    .pwrite = pwrite,
    .fallocate = keep_size_fallocate,
    .ftruncate = ftruncate,
    .sync = sync_file,
    .rename = rename,
    .unlink = unlink,
    .open = open_file,
};

simplex_rc sx_slog_errno(void)
{
    return errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? SIMPLEX_E_DB_FULL
                                                                : SIMPLEX_E_DB_IO;
}

simplex_rc sx_slog_pwrite(const struct sx_slog_sys *sys, int fd, simplex_bytes b, uint64_t at)
{
    while (b.len > 0) {
        ssize_t n = sys->pwrite(fd, b.ptr, b.len, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            if (n == 0)
                errno = ENOSPC;
            return sx_slog_errno();
        }
        b.ptr += n;
        b.len -= (size_t)n;
        at += (uint64_t)n;
    }
    return SIMPLEX_OK;
}

simplex_rc sx_slog_sync_dir(const struct sx_slog_sys *sys, const char *path)
{
    char dir[SX_SLOG_PATH];
    const char *slash = strrchr(path, '/');
    simplex_rc rc = SIMPLEX_OK;

    (void)snprintf(dir, sizeof(dir), "%.*s", slash == NULL ? 1 : (int)(slash - path + 1),
                   slash == NULL ? "." : path);
    int fd = sys->open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0)
        return sx_slog_errno();
    if (fsync(fd) != 0 && errno != EINVAL) /* file systems that cannot say EINVAL */
        rc = sx_slog_errno();
    int e = errno;
    (void)close(fd);
    errno = e;
    return rc;
}

/* ---- with the lock held ---- */

static uint64_t end_of(const struct sx_slog *l)
{
    return l->durable + l->kept.len;
}

static bool reserve(struct sx_slog *l, uint64_t step)
{
    uint64_t n = (end_of(l) - l->room + step - 1) / step * step;
    int rc;

    do {
        rc = l->sys.fallocate(l->fd, (off_t)l->room, (off_t)n);
    } while (rc != 0 && errno == EINTR);
    if (rc != 0)
        return false;
    l->room += n;
    return true;
}

bool sx_slog_take_room(struct sx_slog *l)
{
    if (!l->reserves || end_of(l) <= l->room || reserve(l, SX_SLOG_ROOM))
        return true;
    if (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL) {
        l->reserves = false;
        return true;
    }
    return reserve(l, SMALL_ROOM);
}

static simplex_rc write_kept(struct sx_slog *l)
{
    if (l->failed != SIMPLEX_OK || l->written == l->kept.len)
        return l->failed;
    l->failed =
        sx_slog_pwrite(&l->sys, l->fd, sx_bytes(l->kept.p + l->written, l->kept.len - l->written),
                       l->durable + l->written);
    if (l->failed == SIMPLEX_OK)
        l->written = l->kept.len;
    return l->failed;
}

/* The first n bytes that are kept are on disk. */
static void settle(struct sx_slog *l, size_t n)
{
    memmove(l->kept.p, l->kept.p + n, l->kept.len - n);
    l->kept.len -= n;
    l->written -= n;
    l->durable += n;
    if (l->kept.len == 0 && l->kept.size > IDLE_MEMORY) {
        sx_wr_free(&l->kept);
        sx_wr_init(&l->kept, SX_SLOG_KEPT);
    }
}

/* Where room cannot be reserved a line is tried at once, and taken back if the disk is full. */
static bool write_at_once(struct sx_slog *l, size_t before)
{
    simplex_rc earlier = l->failed;
    size_t written = l->written;

    if (write_kept(l) == SIMPLEX_OK)
        return true;
    if (earlier != SIMPLEX_OK || written < before ||
        l->sys.ftruncate(l->fd, (off_t)(l->durable + before)) != 0)
        return false; /* the log stays failed */
    l->failed = SIMPLEX_OK;
    return false;
}

/* Ends the line that was put behind the first `before` bytes, or takes it away again. */
static bool end_line(struct sx_slog *l, size_t before)
{
    sx_wr_u8(&l->kept, '\n');
    bool ok = !l->kept.bad && sx_slog_take_room(l) && (l->reserves || write_at_once(l, before));
    if (ok) {
        l->lines++;
        return true;
    }
    if (l->kept.len > before)
        sx_wipe(l->kept.p + before, l->kept.len - before);
    l->kept.len = before;
    l->kept.bad = false;
    return false;
}

/* ---- any thread ---- */

bool sx_slog_append(struct sx_slog *l, simplex_bytes line)
{
    bool ok = false;

    if (line.len == 0 || memchr(line.ptr, '\n', line.len) != NULL)
        return false;
    pthread_mutex_lock(&l->lock);
    if (l->failed == SIMPLEX_OK) {
        size_t before = l->kept.len;
        sx_wr_raw(&l->kept, line);
        ok = end_line(l, before);
        if (ok && l->compacts != NULL)
            sx_slog_compact_copy(l, NULL, NULL, before);
    }
    pthread_mutex_unlock(&l->lock);
    return ok;
}

bool sx_slog_write_marked(struct sx_slog *l, const struct sx_slog_record *r, uint16_t *mark)
{
    bool ok = false;

    pthread_mutex_lock(&l->lock);
    if (l->failed == SIMPLEX_OK) {
        size_t before = l->kept.len;
        sx_slog_encode(&l->kept, r);
        ok = end_line(l, before);
        if (ok && l->compacts != NULL)
            sx_slog_compact_copy(l, r, mark, before);
    }
    pthread_mutex_unlock(&l->lock);
    return ok;
}

bool sx_slog_write(struct sx_slog *l, const struct sx_slog_record *r)
{
    return sx_slog_write_marked(l, r, NULL);
}

simplex_rc sx_slog_flush(struct sx_slog *l)
{
    pthread_mutex_lock(&l->lock);
    simplex_rc rc = write_kept(l);
    pthread_mutex_unlock(&l->lock);
    return rc;
}

bool sx_slog_failed(struct sx_slog *l)
{
    pthread_mutex_lock(&l->lock);
    bool failed = l->failed != SIMPLEX_OK;
    pthread_mutex_unlock(&l->lock);
    return failed;
}

void sx_slog_size(struct sx_slog *l, uint64_t *bytes, uint64_t *lines)
{
    pthread_mutex_lock(&l->lock);
    *bytes = end_of(l);
    *lines = l->lines;
    pthread_mutex_unlock(&l->lock);
}

/* ---- the committing thread ---- */

simplex_rc sx_slog_sync(struct sx_slog *l)
{
    pthread_mutex_lock(&l->lock);
    simplex_rc rc = write_kept(l);
    size_t n = l->written;
    pthread_mutex_unlock(&l->lock);
    if (rc != SIMPLEX_OK || n == 0)
        return rc;
    if (l->sys.sync(l->fd) != 0) /* others append and write meanwhile, behind n */
        rc = sx_slog_errno();
    pthread_mutex_lock(&l->lock);
    if (rc != SIMPLEX_OK)
        l->failed = rc;
    else
        settle(l, n);
    pthread_mutex_unlock(&l->lock);
    return rc;
}

/* Back to what is known to be on disk, then all that is kept once more. Nothing is appended
 * meanwhile, because the log is still failed. */
static simplex_rc write_again(struct sx_slog *l)
{
    if (l->sys.ftruncate(l->fd, (off_t)l->durable) != 0)
        return sx_slog_errno();
    l->room = l->durable;
    l->written = 0;
    if (!sx_slog_take_room(l))
        return sx_slog_errno();
    return sx_slog_pwrite(&l->sys, l->fd, sx_wr_bytes(&l->kept), l->durable);
}

simplex_rc sx_slog_recover(struct sx_slog *l)
{
    simplex_rc rc = SIMPLEX_OK;

    if (!sx_slog_failed(l))
        return sx_slog_sync(l);
    if (l->renamed) /* by this thread: sx_slog_compact_end */
        rc = sx_slog_sync_dir(&l->sys, l->path);
    if (rc != SIMPLEX_OK)
        return rc;
    l->renamed = false;
    pthread_mutex_lock(&l->lock);
    rc = write_again(l);
    pthread_mutex_unlock(&l->lock);
    if (rc == SIMPLEX_OK && l->sys.sync(l->fd) != 0)
        rc = sx_slog_errno();
    pthread_mutex_lock(&l->lock);
    if (rc == SIMPLEX_OK) {
        l->written = l->kept.len;
        settle(l, l->kept.len);
    }
    l->failed = rc;
    pthread_mutex_unlock(&l->lock);
    return rc;
}

/* ---- life ---- */

simplex_rc sx_slog_new(const struct sx_slog_sys *sys, const char *path, int fd, int lock_fd,
                       uint64_t size, struct sx_slog **out)
{
    struct sx_slog *l = sx_calloc(1, sizeof(*l));

    *out = NULL;
    if (l == NULL || (l->path = sx_strdup(path)) == NULL) {
        sx_free(l);
        return SIMPLEX_E_NOMEM;
    }
    if (pthread_mutex_init(&l->lock, NULL) != 0) {
        sx_free(l->path);
        sx_free(l);
        return SIMPLEX_E_SYSTEM;
    }
    l->sys = *sys;
    l->fd = fd;
    l->lock_fd = lock_fd;
    sx_wr_init(&l->kept, SX_SLOG_KEPT);
    l->durable = l->room = l->base = size;
    l->reserves = true;
    *out = l;
    return SIMPLEX_OK;
}

simplex_rc sx_slog_close(struct sx_slog *l)
{
    if (l == NULL)
        return SIMPLEX_OK;
    sx_slog_compact_abort(l);
    simplex_rc rc = sx_slog_recover(l);
    if (l->room > l->durable && rc == SIMPLEX_OK)
        (void)l->sys.ftruncate(l->fd,
                               (off_t)l->durable); /* gives the room back; no more than that */
    if (close(l->fd) != 0 && rc == SIMPLEX_OK)
        rc = SIMPLEX_E_DB_IO;
    (void)close(l->lock_fd); /* ends the lock */
    sx_wr_free(&l->kept);
    pthread_mutex_destroy(&l->lock);
    sx_free(l->path);
    sx_free(l);
    return rc;
}
