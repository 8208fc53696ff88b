/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the journal at the start: which messages live. Everything here is about files that
 * anything may have happened to.
 *
 * How far a segment counts is said by the header of the next one. Only the last may end in the
 * middle of a write; what the records in it say was durable must be there also in it.
 */
#include "journal_internal.h"
#include "journal_found.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_AHEAD (256u << 10)
_Static_assert(READ_AHEAD >= SX_RECORD_MAX, "a record is seen at once");

struct scan {
    struct sx_journal *j;
    struct sx_errtext *err;
    bool skip;
    struct sx_found_table found;
    uint64_t max_seq;

    /* the segment that is being read */
    char name[SX_SEGMENT_NAME];
    struct sx_segment *s;
    struct sx_segment_header h;
    int fd;
    uint32_t end;    /* it counts up to here, at most */
    uint32_t synced; /* it was durable up to here, at least */
    uint8_t *buf;
    uint32_t buf_at, buf_len;
};

static simplex_rc system_error(struct scan *c, const char *what)
{
    sx_errtext_set(c->err, "cannot %s %s/%s: %s; the server's user must own it, on a disk in order",
                   what, c->j->dir, c->name, strerror(errno));
    return SIMPLEX_E_SYSTEM;
}

/* skip_damage: says it and goes on; tidy gets rid of the file. */
static simplex_rc damaged(struct scan *c, uint32_t at, const char *what)
{
    c->j->evacuate = c->s->number;
    if (c->skip) {
        sx_journal_warn(c->j, "%s/%s, offset %" PRIu32 ": %s; left out", c->j->dir, c->name, at,
                        what);
        return SIMPLEX_OK;
    }
    sx_errtext_set(c->err,
                   "%s/%s is damaged at offset %" PRIu32 " (%s): restore the directory from a "
                   "backup, or start with --skip-warnings to leave out what is damaged",
                   c->j->dir, c->name, at, what);
    return SIMPLEX_E_DB_DAMAGED;
}

/* ---- bytes ---- */

/* n bytes at this offset: *out is NULL when the file ends before. */
static simplex_rc look(struct scan *c, uint32_t at, uint32_t n, const uint8_t **out)
{
    *out = NULL;
    if (at > c->end || n > c->end - at)
        return SIMPLEX_OK;
    if (at < c->buf_at || at - c->buf_at > c->buf_len || n > c->buf_len - (at - c->buf_at)) {
        uint32_t want = c->end - at < READ_AHEAD ? c->end - at : READ_AHEAD;
        c->buf_at = at;
        c->buf_len = 0;
        while (c->buf_len < want) {
            ssize_t got =
                pread(c->fd, c->buf + c->buf_len, want - c->buf_len, (off_t)at + c->buf_len);
            if (got < 0 && errno == EINTR)
                continue;
            if (got < 0)
                return system_error(c, "read");
            if (got == 0) /* it became shorter meanwhile */
                return SIMPLEX_OK;
            c->buf_len += (uint32_t)got;
        }
    }
    *out = c->buf + (at - c->buf_at);
    return SIMPLEX_OK;
}

/* A whole record at this place: *r and its body, or *found false. Its header alone tells what was
 * durable when it was written. */
static simplex_rc look_record(struct scan *c, uint32_t at, struct sx_record *r,
                              const uint8_t **body, bool *found)
{
    const uint8_t *p;
    simplex_rc rc = look(c, at, SX_RECORD_HEADER, &p);

    *found = false;
    if (rc != SIMPLEX_OK || p == NULL || !sx_record_decode(p, c->h.salt, at, r))
        return rc;
    if (r->synced > c->synced)
        c->synced = r->synced;
    rc = look(c, at, sx_record_size(r->len), &p);
    if (rc != SIMPLEX_OK || p == NULL)
        return rc;
    *body = p + SX_RECORD_HEADER;
    *found = r->type != SX_RECORD_ADD || sx_record_hash(r->id, sx_bytes(*body, r->len)) == r->hash;
    return SIMPLEX_OK;
}

/* The next whole record from here on; c->end when there is none. */
static simplex_rc find_record(struct scan *c, uint32_t from, uint32_t *at)
{
    struct sx_record r;
    const uint8_t *body;
    bool found = false;
    simplex_rc rc = SIMPLEX_OK;

    for (*at = from; *at < c->end; *at += 8) {
        rc = look_record(c, *at, &r, &body, &found);
        if (rc != SIMPLEX_OK || found)
            return rc;
        if (c->end - *at <= 8)
            break;
    }
    *at = c->end;
    return SIMPLEX_OK;
}

/* What the records behind a hole say was durable. */
static simplex_rc learn_synced(struct scan *c, uint32_t at)
{
    struct sx_record r;
    const uint8_t *body;
    bool found;
    simplex_rc rc = find_record(c, at, &at);

    while (rc == SIMPLEX_OK && at < c->end) {
        rc = look_record(c, at, &r, &body, &found);
        if (rc == SIMPLEX_OK)
            rc = find_record(c, at + (found ? sx_record_size(r.len) : 8), &at);
    }
    return rc;
}

static simplex_rc all_zeros(struct scan *c, uint32_t at, bool *yes)
{
    const uint8_t *p;
    simplex_rc rc = SIMPLEX_OK;

    *yes = true;
    while (rc == SIMPLEX_OK && *yes && at < c->end) {
        uint32_t n = c->end - at < READ_AHEAD ? c->end - at : READ_AHEAD;
        rc = look(c, at, n, &p);
        for (uint32_t i = 0; rc == SIMPLEX_OK && p != NULL && i < n; i++)
            *yes = *yes && p[i] == 0;
        at += n;
    }
    return rc;
}

/* ---- one segment ---- */

static struct sx_msg *make_msg(const struct sx_record *r, const uint8_t *body)
{
    struct sx_msg *m = sx_calloc(1, sizeof(*m) + r->len);

    if (m == NULL)
        return NULL;
    m->ts_ms = r->ts_ms;
    m->journal.seq = r->seq;
    m->journal.hash = r->hash;
    memcpy(m->journal.rid, r->rid, SX_ID_LEN);
    m->journal.written = true;
    atomic_init(&m->refs, 1);
    m->len = r->len;
    m->quota = r->quota;
    m->notify = r->notify;
    memcpy(m->id, r->id, SX_ID_LEN);
    memcpy(m->body, body, r->len);
    return m;
}

/* Set semantics: a message lives when there is an ADD and no DEL, whatever their order. */
static simplex_rc apply(struct scan *c, const struct sx_record *r, const uint8_t *body)
{
    if (r->seq > c->max_seq)
        c->max_seq = r->seq;
    if (r->type == SX_RECORD_MARK)
        return SIMPLEX_OK;
    struct sx_found_row *row = sx_found_row(&c->found, r->id);
    if (row == NULL)
        return SIMPLEX_E_NOMEM;
    if (r->type == SX_RECORD_DEL) {
        row->dead = true;
        sx_msg_unref(row->m);
        row->m = NULL;
    } else if (!row->dead) {
        if (row->m == NULL && (row->m = make_msg(r, body)) == NULL)
            return SIMPLEX_E_NOMEM;
        row->m->journal.in = c->s; /* of several copies the newest counts */
    }
    return SIMPLEX_OK;
}

/* No record at `at`. In the last segment it may be its end, cut off: *at is c->end then and
 * c->s->pos stays. Otherwise *at is the next record. */
static simplex_rc skip_hole(struct scan *c, bool last, uint32_t *at)
{
    uint32_t hole = *at;
    bool zeros;
    simplex_rc rc = all_zeros(c, hole, &zeros);

    if (rc == SIMPLEX_OK && last && !zeros)
        rc = learn_synced(c, hole + 8 < c->end ? hole + 8 : c->end);
    if (rc != SIMPLEX_OK)
        return rc;
    if (last && c->synced <= hole) {
        if (!zeros)
            sx_journal_warn(c->j,
                            "%s/%s ended in the middle of a write at offset %" PRIu32
                            ": the rest is left out, none of it was confirmed to anybody",
                            c->j->dir, c->name, hole);
        *at = c->end;
        return SIMPLEX_OK;
    }
    rc = damaged(c, hole, "a record is not what was written");
    if (rc == SIMPLEX_OK)
        rc = find_record(c, hole + 8 < c->end ? hole + 8 : c->end, at);
    if (rc == SIMPLEX_OK)
        c->s->pos = *at;
    return rc;
}

static simplex_rc scan_records(struct scan *c, bool last)
{
    uint32_t at = SX_SEGMENT_HEADER;
    simplex_rc rc = SIMPLEX_OK;

    c->s->pos = at;
    while (rc == SIMPLEX_OK && at < c->end) {
        struct sx_record r;
        const uint8_t *body;
        bool found;
        rc = look_record(c, at, &r, &body, &found);
        if (rc != SIMPLEX_OK)
            break;
        if (!found) {
            rc = skip_hole(c, last, &at);
            continue;
        }
        rc = apply(c, &r, body);
        at += sx_record_size(r.len);
        c->s->pos = at;
    }
    return rc;
}

/* ---- the segments ---- */

static simplex_rc open_segment(struct scan *c, struct sx_segment *s, uint32_t *size)
{
    struct stat st;

    c->s = s;
    c->buf_at = c->buf_len = 0;
    sx_segment_name(s->number, c->name);
    c->fd = openat(c->j->dir_fd, c->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (c->fd < 0)
        return system_error(c, "open");
    if (fstat(c->fd, &st) != 0)
        return system_error(c, "read");
    if (!S_ISREG(st.st_mode))
        st.st_size = 0; /* damaged, as its header is not there */
    *size = st.st_size > (off_t)UINT32_MAX ? UINT32_MAX & ~7u : (uint32_t)st.st_size;
    return SIMPLEX_OK;
}

static void close_segment(struct scan *c)
{
    if (c->fd >= 0)
        (void)close(c->fd);
    c->fd = -1;
}

/* Into c->h; *good false when it was left out. */
static simplex_rc read_header(struct scan *c, struct sx_segment *s, uint32_t *size, bool *good)
{
    const uint8_t *p = NULL;
    simplex_rc rc = open_segment(c, s, size);

    *good = false;
    c->end = *size;
    if (rc == SIMPLEX_OK)
        rc = look(c, 0, SX_SEGMENT_HEADER, &p);
    if (rc != SIMPLEX_OK)
        return rc;
    rc = p == NULL ? SIMPLEX_E_DB_DAMAGED : sx_segment_decode(p, &c->h);
    if (rc == SIMPLEX_OK && c->h.number != s->number)
        rc = SIMPLEX_E_DB_DAMAGED;
    if (rc == SIMPLEX_E_DB_SCHEMA) {
        sx_errtext_set(c->err, "%s/%s was written by a newer server: update this one", c->j->dir,
                       c->name);
        return rc;
    }
    if (rc == SIMPLEX_OK) {
        *good = true;
        return SIMPLEX_OK;
    }
    return damaged(c, 0, "its header is not what was written");
}

/* The next segment says how much of this one counts, and that none is missing between them. */
static simplex_rc ask_next(struct scan *c, const struct sx_segment *s, uint32_t *end)
{
    uint32_t size;
    bool good;
    simplex_rc rc = read_header(c, s->next, &size, &good);

    *end = UINT32_MAX;
    close_segment(c);
    if (rc != SIMPLEX_OK || !good)
        return rc;
    if (c->h.prev == s->number) {
        *end = c->h.prev_end;
        return SIMPLEX_OK;
    }
    return damaged(c, 0, "the file before it is missing");
}

static simplex_rc scan_segment(struct scan *c, struct sx_segment *s)
{
    uint32_t size, end = UINT32_MAX;
    bool good, last = s->next == NULL;
    simplex_rc rc = last ? SIMPLEX_OK : ask_next(c, s, &end);

    if (rc == SIMPLEX_OK)
        rc = read_header(c, s, &size, &good);
    if (rc == SIMPLEX_OK && good) {
        memcpy(s->salt, c->h.salt, SX_SALT_LEN);
        c->synced = c->h.synced;
        /* The header of the next one unreadable, and left out: as far as there are records. */
        bool open_end = last || end == UINT32_MAX;
        if (!open_end && size < end)
            rc = damaged(c, size, "the file is shorter than it was");
        c->end = end < size ? end : size;
        if (rc == SIMPLEX_OK)
            rc = scan_records(c, open_end);
        if (rc == SIMPLEX_OK && open_end && c->synced > s->pos)
            rc = damaged(c, s->pos, "what follows was durable and is missing");
    } else if (rc == SIMPLEX_OK) {
        s->pos = size;
    }
    close_segment(c);
    s->durable = s->pos;
    return rc;
}

/* ---- the directory ---- */

static bool is_segment(const char *name, uint32_t *number)
{
    uint64_t v = 0;

    for (size_t i = 0; i < 10; i++) {
        if (name[i] < '0' || name[i] > '9')
            return false;
        v = v * 10 + (uint64_t)(name[i] - '0');
    }
    *number = (uint32_t)v;
    return v > 0 && v < UINT32_MAX && strcmp(name + 10, ".seg") == 0;
}

/* Into the list, by number. */
static void insert(struct sx_journal *j, struct sx_segment *s)
{
    struct sx_segment **at = &j->old;

    if (j->old_tail != NULL && j->old_tail->number < s->number)
        at = &j->old_tail->next; /* as most directories list them */
    while (*at != NULL && (*at)->number < s->number)
        at = &(*at)->next;
    s->next = *at;
    *at = s;
    if (s->next == NULL)
        j->old_tail = s;
}

static simplex_rc list(struct scan *c)
{
    DIR *d = opendir(c->j->dir);
    struct dirent *e;
    uint32_t number;
    simplex_rc rc = SIMPLEX_OK;

    if (d == NULL)
        return system_error(c, "read");
    while (rc == SIMPLEX_OK && (e = readdir(d)) != NULL) {
        if (!is_segment(e->d_name, &number))
            continue;
        struct sx_segment *s = sx_calloc(1, sizeof(*s));
        if (s == NULL) {
            rc = SIMPLEX_E_NOMEM;
        } else {
            s->fd = -1;
            s->number = number;
            insert(c->j, s);
        }
    }
    (void)closedir(d);
    return rc;
}

simplex_rc sx_journal_scan(struct sx_journal *j, bool skip_damage, struct sx_errtext *err,
                           struct sx_found *found)
{
    struct scan c = { .j = j, .err = err, .skip = skip_damage, .fd = -1 };
    simplex_rc rc = list(&c);

    c.buf = sx_malloc(READ_AHEAD);
    if (rc == SIMPLEX_OK && c.buf == NULL)
        rc = SIMPLEX_E_NOMEM;
    sx_found_init(&c.found);
    for (struct sx_segment *s = j->old; rc == SIMPLEX_OK && s != NULL; s = s->next) {
        rc = scan_segment(&c, s);
        j->old_bytes += s->pos;
    }
    close_segment(&c);
    if (rc == SIMPLEX_OK)
        rc = sx_found_sort(&c.found, found);
    sx_found_free(&c.found);
    sx_free(c.buf);
    if (rc == SIMPLEX_OK && j->old_tail != NULL) {
        j->last_number = j->old_tail->number;
        j->last_end = j->old_tail->pos;
        j->left = true;
    }
    atomic_store(&j->seq, c.max_seq + 1);
    return rc;
}
