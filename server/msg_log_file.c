/* SPDX-License-Identifier: Apache-2.0 */
/* The files of messages and notifications: written whole, read into the queues. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "lines.h"
#include "msg_log.h"
#include "persist.h"

#define LINE_MAX_LEN (24u << 10) /* 16 KB in base64 and the ids */
#define WALK 64

/* ---- writing ---- */

struct out_file {
    int fd;
    struct sx_wr w;
    bool failed;
    char tmp[4096];
};

static bool out_open(struct out_file *o, const char *path)
{
    int n = snprintf(o->tmp, sizeof(o->tmp), "%s.tmp", path);

    if (n < 0 || (size_t)n >= sizeof(o->tmp)) {
        errno = ENAMETOOLONG;
        return false;
    }
    sx_wr_init(&o->w, 1u << 20);
    o->failed = false;
    o->fd = open(o->tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    return o->fd >= 0;
}

static void out_flush(struct out_file *o)
{
    simplex_bytes b = sx_wr_bytes(&o->w);

    if (o->w.bad) {
        errno = ENOMEM;
        o->failed = true;
    }
    while (b.len > 0 && !o->failed) {
        ssize_t n = write(o->fd, b.ptr, b.len);
        if (n < 0 && errno == EINTR)
            continue;
        o->failed = n < 0;
        if (n > 0)
            b = sx_bytes(b.ptr + n, b.len - (size_t)n);
    }
    sx_wr_reset(&o->w);
}

static void out_line_end(struct out_file *o)
{
    sx_wr_u8(&o->w, '\n');
    if (o->w.bad || o->w.len > 256 * 1024)
        out_flush(o);
}

/* The directory is synced as well: a rename is not durable before that. */
static bool sync_directory(const char *path)
{
    char dir[4096];
    const char *slash = strrchr(path, '/');
    size_t n = slash == NULL ? 0 : (size_t)(slash - path);

    if (n >= sizeof(dir))
        return false;
    memcpy(dir, path, n);
    dir[n] = 0;
    int fd = open(slash == NULL ? "." : n == 0 ? "/" : dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool ok = fsync(fd) == 0;
    close(fd);
    return ok;
}

static simplex_rc out_close(struct out_file *o, const char *path, struct sx_errtext *err)
{
    int e;

    if (!o->failed)
        out_flush(o);
    e = errno;
    if (!o->failed && fsync(o->fd) != 0) {
        o->failed = true;
        e = errno;
    }
    close(o->fd);
    sx_wr_free(&o->w);
    if (!o->failed && rename(o->tmp, path) == 0 && sync_directory(path))
        return SIMPLEX_OK;
    if (!o->failed)
        e = errno;
    (void)unlink(o->tmp);
    sx_errtext_set(err, "cannot write %s: %s; make room or mend the file system", path,
                   strerror(e));
    return SIMPLEX_E_SYSTEM;
}

static void save_messages(struct out_file *o, const struct sx_queue *q)
{
    for (const struct sx_msg *m = q->head; m != NULL && !o->failed; m = m->next) {
        sx_msg_line_encode(&o->w, q->rcv.id, m);
        out_line_end(o);
    }
}

static void save_ntfs(struct out_file *o, const struct sx_queue *q)
{
    for (const struct sx_ntf *n = q->ntf == NULL ? NULL : q->ntf->head; n != NULL && !o->failed;
         n = n->next) {
        sx_ntf_line_encode(&o->w, q->ntf, n);
        out_line_end(o);
    }
}

static void save_shard(struct sx_store *st, unsigned shard, struct out_file *o,
                       void (*save)(struct out_file *o, const struct sx_queue *q))
{
    struct sx_queue *found[WALK];
    size_t cursor = 0;

    do {
        size_t n = sx_qstore_walk(st, shard, &cursor, found, WALK);
        for (size_t i = 0; i < n; i++) {
            sx_queue_lock(st, found[i]);
            if (!found[i]->deleted)
                save(o, found[i]);
            sx_queue_unlock(st, found[i]);
            sx_queue_unref(found[i]);
        }
    } while (cursor != 0);
}

static simplex_rc save_all(struct sx_store *st, const char *path, struct sx_errtext *err,
                           void (*save)(struct out_file *o, const struct sx_queue *q))
{
    struct out_file o;

    if (!out_open(&o, path)) {
        sx_errtext_set(err, "cannot write %s: %s", o.tmp, strerror(errno));
        return SIMPLEX_E_SYSTEM;
    }
    for (unsigned i = 0; i < SX_STORE_SHARDS && !o.failed; i++)
        save_shard(st, i, &o, save);
    return out_close(&o, path, err);
}

simplex_rc sx_msg_log_save(struct sx_store *st, const char *path, struct sx_errtext *err)
{
    return save_all(st, path, err, save_messages);
}

simplex_rc sx_ntf_log_save(struct sx_store *st, const char *path, struct sx_errtext *err)
{
    return save_all(st, path, err, save_ntfs);
}

/* ---- reading ---- */

static bool has_message(const struct sx_queue *q, const uint8_t *id)
{
    for (const struct sx_msg *m = q->head; m != NULL; m = m->next) {
        if (memcmp(m->id, id, SX_ID_LEN) == 0)
            return true;
    }
    return false;
}

/* Takes over m unless it returns false: it could not be recorded. */
static bool put_message(struct sx_store *st, struct sx_queue *q, struct sx_msg *m,
                        struct sx_msg_log_count *count)
{
    bool ok = true;

    sx_queue_lock(st, q);
    if (has_message(q, m->id)) {
        count->known++;
        sx_msg_unref(m);
    } else if ((ok = sx_persist_push(st, q, m))) {
        sx_queue_restore(st, q, m);
        count->loaded++;
    }
    sx_queue_unlock(st, q);
    return ok;
}

/* Takes over m. A file may have more than can be recorded at once. */
static simplex_rc add_message(struct sx_store *st, const uint8_t *rid, struct sx_msg *m,
                              struct sx_msg_log_count *count)
{
    struct sx_queue *q = sx_qstore_find(st, SX_BY_RCV, sx_bytes(rid, SX_ID_LEN));

    if (q == NULL) {
        count->no_queue++;
        sx_msg_unref(m);
        return SIMPLEX_OK;
    }
    bool ok =
        put_message(st, q, m, count) || (sx_persist_write(st) && put_message(st, q, m, count));
    sx_queue_unref(q);
    if (!ok)
        sx_msg_unref(m);
    return ok ? SIMPLEX_OK : SIMPLEX_E_SYSTEM;
}

static simplex_rc load_message(struct sx_store *st, simplex_bytes line,
                               struct sx_msg_log_count *count)
{
    uint8_t rid[SX_ID_LEN];
    struct sx_msg *m;

    simplex_rc rc = sx_msg_line_decode(line, rid, &m);
    return rc == SIMPLEX_OK ? add_message(st, rid, m, count) : rc;
}

static simplex_rc load_ntf(struct sx_store *st, simplex_bytes line, struct sx_msg_log_count *count)
{
    uint8_t id[SX_ID_LEN];
    struct sx_ntf ntf;

    simplex_rc rc = sx_ntf_line_decode(line, id, &ntf);
    if (rc != SIMPLEX_OK)
        return rc;
    struct sx_msg like = { .ts_ms = ntf.ts_ms };
    memcpy(like.id, ntf.msg_id, sizeof(like.id));
    struct sx_queue *q = sx_qstore_find(st, SX_BY_NTF, sx_bytes(id, sizeof(id)));
    if (q == NULL) {
        count->no_queue++;
        return SIMPLEX_OK;
    }
    sx_queue_lock(st, q);
    unsigned had = q->ntf->count; /* it was found by it, and nothing else runs yet */
    bool ok = sx_notifier_add(q->ntf, &like);
    count->loaded += q->ntf->count - had; /* none when the oldest one had to go */
    sx_queue_unlock(st, q);
    sx_queue_unref(q);
    return ok ? SIMPLEX_OK : SIMPLEX_E_NOMEM;
}

typedef simplex_rc load_fn(struct sx_store *st, simplex_bytes line, struct sx_msg_log_count *count);

static simplex_rc load_failed(simplex_rc rc, const struct sx_lines *l, const char *path,
                              struct sx_errtext *err)
{
    if (rc == SIMPLEX_E_DB_DAMAGED)
        sx_errtext_set(err,
                       "%s:%u is not a record: the file was damaged. Restore it from a backup, or "
                       "start with --skip-warnings to go on without that line",
                       path, l->line);
    else if (rc == SIMPLEX_E_SYSTEM)
        sx_errtext_set(err, "%s cannot be taken over: the disk is full or refuses to write", path);
    return rc;
}

/* Line by line; a record that cannot be read is skipped only when it is the last or skip is set. */
static simplex_rc load_lines(struct sx_store *st, struct sx_lines *l, const char *path, bool skip,
                             load_fn *load, struct sx_msg_log_count *count, struct sx_errtext *err)
{
    for (;;) {
        simplex_bytes line;
        enum sx_line kind = sx_lines_next(l, &line);
        simplex_rc rc = SIMPLEX_E_DECODE;
        if (kind == SX_LINE_END)
            return SIMPLEX_OK;
        if (kind == SX_LINE_IO) {
            sx_errtext_set(err, "cannot read %s: %s", path, strerror(errno));
            return SIMPLEX_E_SYSTEM;
        }
        if (kind == SX_LINE) /* half a base64 text may look like a whole one: not if torn */
            rc = load(st, line, count);
        if (rc == SIMPLEX_OK)
            continue;
        if (rc != SIMPLEX_E_DECODE)
            return load_failed(rc, l, path, err);
        if (kind != SX_LINE_TORN && !skip)
            return load_failed(SIMPLEX_E_DB_DAMAGED, l, path, err);
        sx_log(SX_LOG_WARN, "%s:%u %s and was left out", path, l->line,
               kind == SX_LINE_TORN ? "was not written to its end" : "is not a record");
        count->bad++;
    }
}

static simplex_rc load_file(struct sx_store *st, const char *path, bool skip, load_fn *load,
                            struct sx_msg_log_count *count, struct sx_errtext *err)
{
    struct sx_lines l;

    memset(count, 0, sizeof(*count));
    if (!sx_lines_open(&l, path, LINE_MAX_LEN)) {
        if (errno == ENOENT)
            return SIMPLEX_OK;
        sx_errtext_set(err, "cannot read %s: %s", path, sx_file_error(errno));
        return errno == ENOMEM ? SIMPLEX_E_NOMEM : SIMPLEX_E_SYSTEM;
    }
    simplex_rc rc = load_lines(st, &l, path, skip, load, count, err);
    sx_lines_close(&l);
    return rc;
}

simplex_rc sx_msg_log_load(struct sx_store *st, const char *path, bool skip,
                           struct sx_msg_log_count *count, struct sx_errtext *err)
{
    return load_file(st, path, skip, load_message, count, err);
}

/* Notifications are hints that lose nothing when they are lost: no line of theirs stops a start. */
simplex_rc sx_ntf_log_load(struct sx_store *st, const char *path, struct sx_msg_log_count *count,
                           struct sx_errtext *err)
{
    return load_file(st, path, true, load_ntf, count, err);
}
