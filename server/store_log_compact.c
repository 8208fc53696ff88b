/* SPDX-License-Identifier: Apache-2.0 */
/* Compaction of the store log while the server runs. */
#include "store_log_compact.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "store_log_internal.h"

#define SYNC_STEP (4u << 20) /* synced so often that no sync takes long */

struct sx_slog_compaction {
    struct sx_wr fresh; /* [lock of the log] put or copied, not yet written */
    bool queues;        /* [lock] services are all there */
    bool complete;      /* [lock] nothing is copied any more: see last_lines */
    struct sx_wr out;   /* what is being written */
    int fd;
    uint64_t at;     /* end of what was written */
    uint64_t synced; /* so much of it is on disk */
    char path[SX_SLOG_PATH];
};

static void init_buffers(struct sx_slog_compaction *c)
{
    sx_wr_init(&c->fresh, SX_SLOG_KEPT);
    sx_wr_init(&c->out, SX_SLOG_KEPT);
}

simplex_rc sx_slog_compact_begin(struct sx_slog *l)
{
    if (l->compacts != NULL)
        return SIMPLEX_E_PROHIBITED;
    struct sx_slog_compaction *c = sx_calloc(1, sizeof(*c));
    if (c == NULL)
        return SIMPLEX_E_NOMEM;
    init_buffers(c);
    c->fd = -1;
    errno = ENAMETOOLONG;
    if (sx_slog_path(c->path, l->path, "compact")) {
        (void)l->sys.unlink(c->path);
        c->fd = l->sys.open(c->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    }
    if (c->fd < 0) {
        simplex_rc rc = sx_slog_errno();
        sx_free(c);
        return rc;
    }
    pthread_mutex_lock(&l->lock);
    if (++l->generation == 0) /* what was never put has this mark */
        l->generation = 1;
    l->compacts = c;
    pthread_mutex_unlock(&l->lock);
    return SIMPLEX_OK;
}

void sx_slog_compact_queues(struct sx_slog *l)
{
    pthread_mutex_lock(&l->lock);
    l->compacts->queues = true;
    pthread_mutex_unlock(&l->lock);
}

void sx_slog_compact_put(struct sx_slog *l, const struct sx_slog_record *r, uint16_t *mark)
{
    pthread_mutex_lock(&l->lock);
    struct sx_slog_compaction *c = l->compacts;
    if (*mark != l->generation) {
        sx_slog_encode(&c->fresh, r);
        sx_wr_u8(&c->fresh, '\n');
        *mark = l->generation;
    }
    pthread_mutex_unlock(&l->lock);
}

/* A queue that is made while services are being put is met later; a service is put here. */
void sx_slog_compact_copy(struct sx_slog *l, const struct sx_slog_record *r, uint16_t *mark,
                          size_t before)
{
    struct sx_slog_compaction *c = l->compacts;

    if (c->complete)
        return;
    if (mark != NULL && (r->tag == SX_SLOG_NEW_SERVICE || (r->tag == SX_SLOG_CREATE && c->queues)))
        *mark = l->generation;
    if (mark == NULL || *mark == l->generation)
        sx_wr_raw(&c->fresh, sx_bytes(l->kept.p + before, l->kept.len - before));
}

/* What clients send must not find the disk full because of us. */
static bool has_spare(const struct sx_slog_compaction *c)
{
    struct statvfs v;

    return fstatvfs(c->fd, &v) != 0 || v.f_frsize == 0 || v.f_bavail >= SX_SLOG_SPARE / v.f_frsize;
}

static simplex_rc sync_new(const struct sx_slog *l, struct sx_slog_compaction *c)
{
    if (l->sys.sync(c->fd) != 0)
        return sx_slog_errno();
    c->synced = c->at;
    return SIMPLEX_OK;
}

simplex_rc sx_slog_compact_write(struct sx_slog *l, size_t *bytes)
{
    struct sx_slog_compaction *c = l->compacts;

    sx_wr_reset(&c->out);
    pthread_mutex_lock(&l->lock);
    struct sx_wr full = c->fresh;
    c->fresh = c->out;
    pthread_mutex_unlock(&l->lock);
    c->out = full;
    *bytes = full.len;
    if (full.bad)
        return SIMPLEX_E_NOMEM;
    if (full.len == 0)
        return SIMPLEX_OK;
    if (!has_spare(c))
        return SIMPLEX_E_DB_FULL;
    simplex_rc rc = sx_slog_pwrite(&l->sys, c->fd, sx_wr_bytes(&c->out), c->at);
    c->at += full.len;
    if (rc == SIMPLEX_OK && c->at - c->synced >= SYNC_STEP)
        rc = sync_new(l, c);
    return rc;
}

static void free_compaction(struct sx_slog_compaction *c)
{
    sx_wr_free(&c->fresh); /* wiped: secrets of queues were in it */
    sx_wr_free(&c->out);
    sx_free(c);
}

/* The moment from which on both files get the same lines: those that `kept` has from `cut` on. */
static simplex_rc last_lines(struct sx_slog *l, struct sx_slog_compaction *c, size_t *cut)
{
    pthread_mutex_lock(&l->lock);
    struct sx_wr last = c->fresh;
    c->fresh = (struct sx_wr){ .cap = last.cap };
    c->complete = true;
    *cut = l->kept.len;
    pthread_mutex_unlock(&l->lock);
    simplex_rc rc = last.bad ? SIMPLEX_E_NOMEM : SIMPLEX_OK;
    if (rc == SIMPLEX_OK)
        rc = sx_slog_pwrite(&l->sys, c->fd, sx_wr_bytes(&last), c->at);
    c->at += last.len;
    sx_wr_free(&last);
    return rc;
}

/* From here on lines go to the new file, those behind `cut` first. */
static void take_place(struct sx_slog *l, struct sx_slog_compaction *c, size_t cut)
{
    pthread_mutex_lock(&l->lock);
    int old = l->fd;
    l->fd = c->fd;
    c->fd = old;
    if (l->kept.len > cut)
        memmove(l->kept.p, l->kept.p + cut, l->kept.len - cut);
    l->kept.len -= cut;
    l->written = 0;
    l->durable = l->room = l->base = c->at;
    l->compacts = NULL;
    if (!sx_slog_take_room(l)) /* what is kept already is tried when it is written */
        l->room = l->durable + l->kept.len;
    pthread_mutex_unlock(&l->lock);
    (void)close(c->fd);
    free_compaction(c);
}

simplex_rc sx_slog_compact_end(struct sx_slog *l)
{
    struct sx_slog_compaction *c = l->compacts;
    size_t cut;

    simplex_rc rc = last_lines(l, c, &cut);
    if (rc == SIMPLEX_OK)
        rc = sync_new(l, c);
    if (rc == SIMPLEX_OK && l->sys.rename(c->path, l->path) != 0)
        rc = sx_slog_errno();
    if (rc != SIMPLEX_OK)
        return rc;
    rc = sx_slog_sync_dir(&l->sys, l->path);
    take_place(l, c, cut);
    if (rc == SIMPLEX_OK)
        return rc;
    /* After a loss of power it may be the old file again: nothing is answered before it cannot. */
    l->renamed = true;
    pthread_mutex_lock(&l->lock);
    l->failed = rc;
    pthread_mutex_unlock(&l->lock);
    return SIMPLEX_OK;
}

void sx_slog_compact_abort(struct sx_slog *l)
{
    struct sx_slog_compaction *c = l->compacts;

    if (c == NULL)
        return;
    pthread_mutex_lock(&l->lock);
    l->compacts = NULL;
    pthread_mutex_unlock(&l->lock);
    (void)close(c->fd);
    (void)l->sys.unlink(c->path);
    free_compaction(c);
}

void sx_slog_compact_remove(const struct sx_slog_sys *sys, const char *path)
{
    char left[SX_SLOG_PATH];

    if (sx_slog_path(left, path, "compact") && access(left, F_OK) == 0)
        (void)sys->unlink(left); /* if not, the next compaction says why it cannot make it */
}

void sx_slog_growth(struct sx_slog *l, uint64_t *bytes, uint64_t *base)
{
    pthread_mutex_lock(&l->lock);
    *bytes = l->durable + l->kept.len;
    *base = l->base;
    pthread_mutex_unlock(&l->lock);
}
