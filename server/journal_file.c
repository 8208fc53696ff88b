/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of the journal: the directory and its lock, spare segments, and how a spare becomes a
 * segment with a number.
 */
#include "journal_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_NAME "lock"
#define SPARE_PREFIX "spare."
#define SPARES_MAX 64 /* unless more is needed for what was taken already */

simplex_rc sx_journal_errno(int error)
{
    return error == ENOSPC || error == EDQUOT || error == EFBIG ? SIMPLEX_E_DB_FULL
                                                                : SIMPLEX_E_DB_IO;
}

void sx_segment_name(uint32_t number, char to[SX_SEGMENT_NAME])
{
    (void)snprintf(to, SX_SEGMENT_NAME, "%010" PRIu32 ".seg", number);
}

static void file_name(const struct sx_segment *s, char to[SX_SEGMENT_NAME])
{
    if (s->number != 0)
        sx_segment_name(s->number, to);
    else
        (void)snprintf(to, SX_SEGMENT_NAME, SPARE_PREFIX "%" PRIu32, s->spare);
}

/* ---- the directory ---- */

static simplex_rc refuse(const struct sx_journal *j, struct sx_errtext *err, const char *what,
                         const char *remedy)
{
    sx_errtext_set(err, "cannot %s the directory of messages %s: %s; %s", what, j->dir,
                   strerror(errno), remedy);
    return SIMPLEX_E_SYSTEM;
}

/* Held by the open file: it goes with the process, however that ends. */
static simplex_rc lock_dir(struct sx_journal *j, struct sx_errtext *err)
{
    j->lock_fd = openat(j->dir_fd, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (j->lock_fd < 0)
        return refuse(j, err, "write to", "the server's user must own it");
    if (flock(j->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return SIMPLEX_OK;
    if (errno != EWOULDBLOCK)
        return refuse(j, err, "lock", "it must be on a local file system");
    sx_errtext_set(err, "%s is in use by another process: stop the other server first", j->dir);
    return SIMPLEX_E_DB_LOCKED;
}

static simplex_rc remove_spares(struct sx_journal *j, struct sx_errtext *err)
{
    DIR *d = opendir(j->dir);
    struct dirent *e;

    if (d == NULL)
        return refuse(j, err, "read", "the server's user must own it");
    while ((e = readdir(d)) != NULL)
        if (strncmp(e->d_name, SPARE_PREFIX, strlen(SPARE_PREFIX)) == 0)
            (void)unlinkat(j->dir_fd, e->d_name, 0); /* one that stays is overwritten */
    (void)closedir(d);
    return SIMPLEX_OK;
}

simplex_rc sx_journal_open_dir(struct sx_journal *j, struct sx_errtext *err)
{
    if (mkdir(j->dir, 0700) == 0) {
        if (!sx_dir_sync_parent(j->dir))
            return refuse(j, err, "sync", "check the disk");
    } else if (errno != EEXIST) {
        return refuse(j, err, "create", "create it for the server's user");
    }
    j->dir_fd = open(j->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (j->dir_fd < 0)
        return refuse(j, err, "open", "the server's user must own it");
    simplex_rc rc = lock_dir(j, err);
    return rc == SIMPLEX_OK ? remove_spares(j, err) : rc;
}

void sx_journal_close_dir(struct sx_journal *j)
{
    if (j->dir_fd >= 0)
        (void)close(j->dir_fd);
    if (j->lock_fd >= 0)
        (void)close(j->lock_fd);
}

/* ---- spares ---- */

static int write_zeros(int fd, uint32_t size)
{
    static const uint8_t zeros[64 << 10];

    for (uint32_t at = 0; at < size;) {
        size_t n = size - at < sizeof(zeros) ? size - at : sizeof(zeros);
        ssize_t put = pwrite(fd, zeros, n, (off_t)at);
        if (put < 0 && errno != EINTR)
            return errno;
        if (put > 0)
            at += (uint32_t)put;
    }
    return 0;
}

/*
 * The file has its full length from the start: a write into it changes no length, which would have
 * to be synced each time, and what was not written reads as zeros, which no record starts with.
 */
static int allocate(int fd, uint32_t size)
{
    int error;

    do
        error = posix_fallocate(fd, 0, (off_t)size);
    while (error == EINTR);
    return error == EOPNOTSUPP || error == EINVAL || error == ENOSYS ? write_zeros(fd, size)
                                                                     : error;
}

static simplex_rc create_spare(struct sx_journal *j, struct sx_segment *s)
{
    char name[SX_SEGMENT_NAME];

    s->spare = ++j->spare_id;
    file_name(s, name);
    s->fd = openat(j->dir_fd, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (s->fd < 0)
        return sx_journal_errno(errno);
    int error = allocate(s->fd, j->size);
    if (error == 0)
        return SIMPLEX_OK;
    (void)unlinkat(j->dir_fd, name, 0);
    return sx_journal_errno(error);
}

static simplex_rc make_spare(struct sx_journal *j)
{
    struct sx_segment *s = sx_calloc(1, sizeof(*s));

    if (s == NULL)
        return SIMPLEX_E_NOMEM;
    s->fd = -1;
    s->pos = s->durable = SX_SEGMENT_HEADER;
    sx_random(s->salt, sizeof(s->salt));
    simplex_rc rc = create_spare(j, s);
    if (rc != SIMPLEX_OK) {
        sx_segment_free(s);
        return rc;
    }
    struct sx_segment **end = &j->spares;
    while (*end != NULL)
        end = &(*end)->next;
    *end = s;
    j->spare_count++;
    sx_journal_lend(j, sx_segment_room(j));
    return SIMPLEX_OK;
}

simplex_rc sx_spare_make(struct sx_journal *j, bool force)
{
    simplex_rc rc = SIMPLEX_E_DB_FULL;

    pthread_mutex_lock(&j->spare_lock);
    if (force || (j->spare_count < SPARES_MAX && !j->spare_failed)) {
        rc = make_spare(j);
        j->spare_failed = rc != SIMPLEX_OK;
    }
    pthread_mutex_unlock(&j->spare_lock);
    return rc;
}

simplex_rc sx_spare_take(struct sx_journal *j, struct sx_segment **out)
{
    simplex_rc rc = SIMPLEX_OK;

    *out = NULL;
    pthread_mutex_lock(&j->spare_lock);
    if (j->spares == NULL)
        rc = make_spare(j);
    if (rc == SIMPLEX_OK) {
        *out = j->spares;
        j->spares = (*out)->next;
        (*out)->next = NULL;
        j->spare_count--;
    }
    pthread_mutex_unlock(&j->spare_lock);
    return rc;
}

/* ---- a segment ---- */

/* Skips what was written of the vectors. */
static void advance(struct iovec **iov, size_t *n, size_t done)
{
    while (*n > 0 && done >= (*iov)->iov_len) {
        done -= (*iov)->iov_len;
        ++*iov;
        --*n;
    }
    if (*n > 0) {
        (*iov)->iov_base = (uint8_t *)(*iov)->iov_base + done;
        (*iov)->iov_len -= done;
    }
}

simplex_rc sx_segment_write(struct sx_segment *s, struct iovec *iov, size_t n, uint32_t at)
{
    while (n > 0) {
        ssize_t put = pwritev(s->fd, iov, (int)n, (off_t)at);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return put == 0 ? SIMPLEX_E_DB_IO : sx_journal_errno(errno);
        at += (uint32_t)put;
        advance(&iov, &n, (size_t)put);
    }
    return SIMPLEX_OK;
}

simplex_rc sx_segment_publish(struct sx_journal *j, struct sx_segment *s, uint32_t prev,
                              uint32_t prev_end)
{
    uint8_t head[SX_SEGMENT_HEADER];
    char from[SX_SEGMENT_NAME], to[SX_SEGMENT_NAME];
    struct sx_segment_header h = { prev + 1, prev, prev_end, s->target, { 0 } };
    struct iovec iov = { head, sizeof(head) };

    if (prev == UINT32_MAX)
        return SIMPLEX_E_DB_IO;
    memcpy(h.salt, s->salt, sizeof(h.salt));
    sx_segment_encode(&h, head);
    simplex_rc rc = sx_segment_write(s, &iov, 1, 0);
    if (rc != SIMPLEX_OK)
        return rc;
    if (j->sync_fd(s->fd) != 0)
        return sx_journal_errno(errno);
    file_name(s, from);
    sx_segment_name(h.number, to);
    /* A failed attempt may have left a file with this number: it is replaced. */
    if (renameat(j->dir_fd, from, j->dir_fd, to) != 0)
        return sx_journal_errno(errno);
    s->number = h.number;
    return fsync(j->dir_fd) == 0 ? SIMPLEX_OK : sx_journal_errno(errno);
}

simplex_rc sx_segment_sync_closed(struct sx_journal *j, const struct sx_segment *s)
{
    char name[SX_SEGMENT_NAME];

    if (s->unlinked)
        return SIMPLEX_OK;
    file_name(s, name);
    int fd = openat(j->dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return sx_journal_errno(errno);
    simplex_rc rc = j->sync_fd(fd) == 0 ? SIMPLEX_OK : sx_journal_errno(errno);
    (void)close(fd);
    return rc;
}

void sx_segment_cut(struct sx_segment *s, uint32_t end)
{
    if (s->fd >= 0)
        while (ftruncate(s->fd, (off_t)end) != 0 && errno == EINTR) {
        }
}

void sx_segment_cut_closed(struct sx_journal *j, const struct sx_segment *s)
{
    char name[SX_SEGMENT_NAME];

    file_name(s, name);
    int fd = openat(j->dir_fd, name, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    struct stat st;
    if (fstat(fd, &st) == 0 && st.st_size > (off_t)s->pos)
        while (ftruncate(fd, (off_t)s->pos) != 0 && errno == EINTR) {
        }
    (void)close(fd);
}

void sx_segment_free(struct sx_segment *s)
{
    if (s == NULL)
        return;
    if (s->fd >= 0)
        (void)close(s->fd);
    sx_free(s);
}

simplex_rc sx_segment_unlink(struct sx_journal *j, struct sx_segment *s)
{
    char name[SX_SEGMENT_NAME];

    file_name(s, name);
    if (unlinkat(j->dir_fd, name, 0) != 0 && errno != ENOENT)
        return sx_journal_errno(errno);
    s->unlinked = true;
    return SIMPLEX_OK;
}
