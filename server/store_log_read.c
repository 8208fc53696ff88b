/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the store log at the start. What is no record stops the start, so that nothing is lost
 * unnoticed, except where an interrupted write explains it: an end without LF, lines at the very
 * end, and lines near it that hold zero bytes (pages that never reached the disk). None of these
 * was answered before by a server that syncs.
 */
#include "store_log_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK (SX_SLOG_LINE_MAX + (1u << 20))
#define PROGRESS (4u << 20)

struct reader {
    const struct sx_slog_cfg *cfg;
    struct sx_errtext *err;
    struct sx_slog_scratch scratch;
    uint64_t size;     /* of the file */
    uint64_t at;       /* offset of the present line */
    uint64_t number;   /* of the present line */
    uint64_t good_end; /* behind the last record */
    uint64_t shown;    /* offset of the last progress */
    uint64_t records;
    uint64_t bad, bad_at; /* number and offset of the first line since good_end that is none */
    const char *bad_what;
};

void sx_slog_warn(const struct sx_slog_cfg *cfg, const char *fmt, ...)
{
    char text[SX_SLOG_PATH + 512];
    va_list ap;

    if (cfg->warn == NULL)
        return;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    cfg->warn(cfg->user, text);
}

static simplex_rc damaged(const struct reader *r)
{
    sx_errtext_set(r->err,
                   "%s, line %" PRIu64 ": not a record of the store log (wrong %s); restore a "
                   "backup, or correct or remove the line, or start with --skip-warnings, which "
                   "leaves such lines out",
                   r->cfg->path, r->bad, r->bad_what);
    return SIMPLEX_E_DB_DAMAGED;
}

/* A line that is no record: what it means depends on what follows. */
static void remember_bad(struct reader *r, simplex_bytes line, const char *what)
{
    bool hole = line.len > 0 && memchr(line.ptr, 0, line.len) != NULL;

    if (hole && r->size - r->at <= SX_SLOG_TORN) {
        sx_slog_warn(r->cfg, "%s, line %" PRIu64 ": zero bytes of an interrupted write; left out",
                     r->cfg->path, r->number);
        return;
    }
    if (r->bad != 0)
        return;
    r->bad = r->number;
    r->bad_at = r->at;
    r->bad_what = what;
}

/* A record follows lines that are none. */
static simplex_rc pass_bad(struct reader *r)
{
    if (!r->cfg->skip_damage)
        return damaged(r);
    sx_slog_warn(r->cfg,
                 "%s, line %" PRIu64 ": not a record (wrong %s); left out, with %" PRIu64
                 " bytes in all",
                 r->cfg->path, r->bad, r->bad_what, r->at - r->bad_at);
    r->bad = 0;
    return SIMPLEX_OK;
}

static bool is_blank(simplex_bytes line)
{
    return line.len == 0 || (line.len == 1 && line.ptr[0] == '\r');
}

static simplex_rc take_line(struct reader *r, simplex_bytes line)
{
    struct sx_slog_record rec;
    const char *what;

    r->number++;
    if (is_blank(line))
        return SIMPLEX_OK;
    simplex_rc rc = sx_slog_decode(line, &r->scratch, &rec, &what);
    if (rc == SIMPLEX_E_DECODE) {
        remember_bad(r, line, what);
        return SIMPLEX_OK;
    }
    if (rc == SIMPLEX_OK && r->bad != 0)
        rc = pass_bad(r);
    if (rc == SIMPLEX_OK)
        rc = r->cfg->record(r->cfg->user, &rec, r->number);
    sx_wipe(rec.rdh, sizeof(rec.rdh));
    sx_wipe(rec.ntf_secret, sizeof(rec.ntf_secret));
    r->records++;
    r->good_end = r->at + line.len + 1;
    return rc;
}

static void show_progress(struct reader *r)
{
    if (r->cfg->progress == NULL || (r->at - r->shown < PROGRESS && r->at < r->size))
        return;
    r->shown = r->at;
    r->cfg->progress(r->cfg->user, r->at, r->size);
}

/* All lines that end within the n bytes of buf; *used: their length. */
static simplex_rc take_lines(struct reader *r, const uint8_t *buf, size_t n, size_t *used)
{
    const uint8_t *lf;
    simplex_rc rc = SIMPLEX_OK;

    *used = 0;
    while (rc == SIMPLEX_OK && (lf = memchr(buf + *used, '\n', n - *used)) != NULL) {
        size_t len = (size_t)(lf - (buf + *used));
        rc = take_line(r, sx_bytes(buf + *used, len));
        *used += len + 1;
        r->at += len + 1;
    }
    show_progress(r);
    return rc;
}

/* At the end of the file; n bytes without LF are left. */
static simplex_rc take_end(struct reader *r, size_t n)
{
    if (r->bad == 0 && n > 0) {
        r->bad = r->number + 1;
        r->bad_at = r->at;
        r->bad_what = "end";
    }
    if (r->bad == 0)
        return SIMPLEX_OK;
    uint64_t len = r->size - r->bad_at;
    bool torn = len <= SX_SLOG_TORN && (r->records > 0 || r->bad_at == r->at);
    if (!torn && !r->cfg->skip_damage)
        return damaged(r);
    sx_slog_warn(r->cfg,
                 "%s, line %" PRIu64 ": the end of the file is of an interrupted write; %" PRIu64
                 " bytes were left out",
                 r->cfg->path, r->bad, len);
    return SIMPLEX_OK;
}

static simplex_rc read_failed(const struct reader *r)
{
    sx_errtext_set(r->err, "cannot read %s: %s", r->cfg->path, strerror(errno));
    return SIMPLEX_E_SYSTEM;
}

static simplex_rc read_lines(struct reader *r, int fd, uint8_t *buf)
{
    size_t have = 0;

    for (;;) {
        ssize_t n = read(fd, buf + have, CHUNK - have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return read_failed(r);
        if (n == 0)
            return take_end(r, have);
        size_t used;
        simplex_rc rc = take_lines(r, buf, have + (size_t)n, &used);
        if (rc != SIMPLEX_OK)
            return rc;
        have += (size_t)n - used;
        memmove(buf, buf + used, have);
        if (have <= SX_SLOG_LINE_MAX)
            continue;
        /* longer than any record: it counts as one bad line a piece */
        r->number++;
        remember_bad(r, sx_bytes(NULL, 0), "length");
        r->at += have;
        have = 0;
    }
}

static simplex_rc read_file(struct reader *r, int fd)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return read_failed(r);
    if (!S_ISREG(st.st_mode)) {
        sx_errtext_set(r->err, "%s is not a file; move it away", r->cfg->path);
        return SIMPLEX_E_SYSTEM;
    }
    r->size = (uint64_t)st.st_size;
    uint8_t *buf = sx_malloc(CHUNK);
    if (buf == NULL)
        return SIMPLEX_E_NOMEM;
    simplex_rc rc = read_lines(r, fd, buf);
    sx_free_secret(buf, CHUNK);
    return rc;
}

simplex_rc sx_slog_read(const struct sx_slog_cfg *cfg, struct sx_errtext *err,
                        struct sx_slog_found *found)
{
    struct reader *r;

    *found = (struct sx_slog_found){ .exists = false };
    int fd = open(cfg->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* nor wait at a FIFO */
    if (fd < 0 && errno == ENOENT)
        return SIMPLEX_OK;
    if (fd < 0) {
        sx_errtext_set(err, "cannot read %s: %s", cfg->path, sx_file_error(errno));
        return SIMPLEX_E_SYSTEM;
    }
    simplex_rc rc = SIMPLEX_E_NOMEM;
    if ((r = sx_calloc(1, sizeof(*r))) != NULL) {
        r->cfg = cfg;
        r->err = err;
        sx_slog_scratch_init(&r->scratch);
        rc = read_file(r, fd);
        found->exists = true;
        found->size = r->size;
        found->good_end = r->good_end;
        sx_slog_scratch_wipe(&r->scratch);
        sx_free(r);
    }
    (void)close(fd);
    return rc;
}
