/* SPDX-License-Identifier: Apache-2.0 */
/*
 * smp-server-stats.log: the counters and which queues were active, over a restart. The layout is
 * the reference's: "key=value" lines, sections begin with "name:". Ours has 101 lines.
 *
 * Active queues stand there as numbers made of their recipient ids; which ones the reference makes
 * depends on a library of its language, so after a change of the program a queue that is active
 * again in the same period is counted twice. Queues that are gone are kept as the numbers 1, 2 ...
 */
#include "stats_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "crypto/crypto.h"

#define WARNINGS_MAX 5 /* lines named in the log; of the others it tells the number */
#define KEY_MAX 40

static const struct line {
    int stat; /* enum sx_stat; -1: begins a section */
    const char *name;
} lines[] = {
#define X(id, key) { SX_STAT_##id, key },
#define SECTION(name) { -1, name },
#include "stats_list.h"
#undef X
#undef SECTION
};

#define LISTS 6 /* of active queues: day, week and month, twice */

static bool is_list(int stat)
{
    return stat >= SX_STAT_DAY_QUEUES && stat < SX_STAT_DAY_QUEUES + LISTS;
}

static int64_t number_of_id(simplex_bytes id)
{
    uint8_t hash[32];
    uint64_t n = 0;

    sx_sha256(id, hash);
    for (int i = 0; i < 8; i++)
        n = n << 8 | hash[i];
    return (int64_t)n;
}

/* The first day of the period of a list. */
static uint32_t begin_of(unsigned list, uint32_t today)
{
    switch (list % 3) {
    case 0:
        return today;
    case 1:
        return sx_week_begin(today);
    default:
        return sx_month_begin(today);
    }
}

/* ---- writing ---- */

struct active { /* a queue */
    int64_t number;
    uint16_t day[2];
};

struct actives {
    struct active *p;
    size_t n, size;
};

static bool add_active(struct actives *a, const struct sx_queue *q)
{
    if (a->n == a->size) {
        size_t size = a->size == 0 ? 1024 : a->size * 2;
        struct active *more = sx_calloc(size, sizeof(*more));
        if (more == NULL)
            return false;
        if (a->n > 0)
            memcpy(more, a->p, a->n * sizeof(*more));
        sx_free(a->p);
        a->p = more;
        a->size = size;
    }
    a->p[a->n++] = (struct active){ number_of_id(sx_bytes(q->rcv.id, sizeof(q->rcv.id))),
                                    { q->active_day, q->ntf_day } };
    return true;
}

/* Calls fn for every queue, with its lock. */
static bool each_queue(struct sx_store *store, bool (*fn)(void *arg, struct sx_queue *q), void *arg)
{
    struct sx_queue *found[64];
    bool ok = true;

    for (unsigned shard = 0; shard < SX_STORE_SHARDS; shard++) {
        size_t cursor = 0;
        do {
            size_t n = sx_qstore_walk(store, shard, &cursor, found, SX_COUNT(found));
            for (size_t i = 0; i < n; i++) {
                sx_queue_lock(store, found[i]);
                ok = ok && fn(arg, found[i]);
                sx_queue_unlock(store, found[i]);
                sx_queue_unref(found[i]);
            }
        } while (cursor != 0);
    }
    return ok;
}

struct collecting {
    struct actives to;
    uint32_t since; /* older stamps are in no list */
};

static bool collect(void *arg, struct sx_queue *q)
{
    struct collecting *c = arg;

    if (q->active_day < c->since && q->ntf_day < c->since)
        return true;
    return add_active(&c->to, q);
}

static void write_number(struct sx_wr *w, int64_t n)
{
    char text[24];

    snprintf(text, sizeof(text), "%" PRId64, n);
    sx_wr_text(w, text);
}

/* `count`: how many there were; those whose queue is gone are made up. */
static void write_list(struct sx_wr *w, const struct actives *a, unsigned list, uint32_t today,
                       uint64_t count)
{
    uint32_t begin = begin_of(list, today);
    uint64_t n = 0;

    for (size_t i = 0; i < a->n && n < count; i++) {
        uint32_t day = a->p[i].day[list / 3];
        if (day < begin || day > today)
            continue;
        sx_wr_text(w, n++ == 0 ? "" : ",");
        write_number(w, a->p[i].number);
    }
    for (int64_t gone = 1; n < count && !w->bad; gone++) {
        sx_wr_text(w, n++ == 0 ? "" : ",");
        write_number(w, gone);
    }
}

static void write_lines(struct sx_wr *w, const struct sx_snapshot *s, const struct actives *a,
                        uint32_t today)
{
    char time[SX_TIME_TEXT];

    sx_time_text(s->from_ms, time);
    sx_wr_text(w, "fromTime=");
    sx_wr_text(w, time);
    sx_wr_text(w, "\n");
    for (size_t i = 0; i < SX_COUNT(lines); i++) {
        if (lines[i].stat < 0 && lines[i].name[0] == 0)
            continue; /* the end of a section has no line */
        sx_wr_text(w, lines[i].name);
        sx_wr_text(w, lines[i].stat < 0 ? ":" : "=");
        if (is_list(lines[i].stat))
            write_list(w, a, (unsigned)lines[i].stat - SX_STAT_DAY_QUEUES, today,
                       s->v[lines[i].stat]);
        else if (lines[i].stat >= 0)
            write_number(w, (int64_t)s->v[lines[i].stat]);
        sx_wr_text(w, "\n");
    }
}

/* The file is of the day that has no line yet, though it is written later: sx_stats_restore goes by
 * its time. */
static void date_back(const char *dir, uint32_t day)
{
    char path[SX_PATH_MAX];
    struct timespec end = { .tv_sec = ((time_t)day + 1) * 24 * 3600 - 1 };
    const struct timespec times[2] = { end, end };

    if (!sx_path_join(path, dir, SX_STATS_FILE) || utimensat(AT_FDCWD, path, times, 0) != 0)
        sx_log(SX_LOG_WARN, "%s: %s: counts of active queues will be of the wrong day",
               SX_STATS_FILE, strerror(errno));
}

simplex_rc sx_stats_save(struct sx_stats *st, struct sx_store *store, const char *dir,
                         int64_t now_ms, struct sx_errtext *err)
{
    uint32_t today = (uint32_t)atomic_load(&st->day), week = sx_week_begin(today);
    uint32_t month = sx_month_begin(today);
    struct collecting c = { .since = week < month ? week : month };
    struct sx_snapshot s;
    struct sx_wr w;

    sx_stats_read(st, store, now_ms, &s);
    sx_wr_init(&w, SX_STATS_FILE_MAX);
    bool ok = each_queue(store, collect, &c);
    if (ok)
        write_lines(&w, &s, &c.to, today);
    simplex_rc rc = SIMPLEX_OK;
    if (!ok || w.bad) {
        sx_errtext_set(err, "no memory to write %s/%s: statistics of today are lost", dir,
                       SX_STATS_FILE);
        rc = SIMPLEX_E_NOMEM;
    } else {
        rc = sx_file_write(dir, SX_STATS_FILE, sx_wr_bytes(&w), 0640, err);
    }
    if (rc == SIMPLEX_OK && sx_day_of(now_ms) > today)
        date_back(dir, today);
    sx_free(c.to.p);
    sx_wr_free(&w);
    return rc;
}

/* ---- reading ---- */

struct list {
    int64_t *p;
    size_t n, size;
};

struct reading {
    struct sx_stats *st;
    char section[KEY_MAX];
    bool skipped_section;
    unsigned line, left_out;
    uint64_t v[SX_STAT_COUNT];
    int64_t from_ms; /* -1: not there */
    struct list list[LISTS];
};

static void leave_out(struct reading *r, const char *why)
{
    if (r->left_out++ < WARNINGS_MAX)
        sx_log(SX_LOG_WARN, "%s line %u: %s: left out, that statistic begins anew", SX_STATS_FILE,
               r->line, why);
}

static bool push(struct list *l, int64_t v)
{
    if (l->n == l->size) {
        size_t size = l->size == 0 ? 256 : l->size * 2;
        int64_t *more = sx_calloc(size, sizeof(*more));
        if (more == NULL)
            return false;
        if (l->n > 0)
            memcpy(more, l->p, l->n * sizeof(*more));
        sx_free(l->p);
        l->p = more;
        l->size = size;
    }
    l->p[l->n++] = v;
    return true;
}

static bool parse_number(simplex_bytes t, int64_t *out)
{
    bool minus = t.len > 0 && t.ptr[0] == '-';
    uint64_t n = 0, max = (uint64_t)INT64_MAX + minus;

    if (t.len == minus)
        return false;
    for (size_t i = minus; i < t.len; i++) {
        unsigned d = (unsigned)t.ptr[i] - '0';
        if (d > 9 || n > (max - d) / 10)
            return false;
        n = n * 10 + d;
    }
    *out = minus ? (int64_t)(0 - n) : (int64_t)n;
    return true;
}

/* Old files have the ids themselves. */
static bool parse_item(simplex_bytes t, int64_t *out)
{
    uint8_t id[64];
    size_t len = sizeof(id);

    if (parse_number(t, out))
        return true;
    if (t.len == 0 || sx_b64url_decode(t, id, &len) != SIMPLEX_OK)
        return false;
    *out = number_of_id(sx_bytes(id, len));
    return true;
}

static bool parse_list(simplex_bytes t, struct list *l)
{
    bool ok = true;

    while (t.len > 0 && ok) {
        const uint8_t *comma = memchr(t.ptr, ',', t.len);
        size_t n = comma == NULL ? t.len : (size_t)(comma - t.ptr);
        int64_t v;
        ok = parse_item(sx_bytes(t.ptr, n), &v) && push(l, v);
        t = comma == NULL ? sx_bytes(NULL, 0) : sx_bytes(comma + 1, t.len - n - 1);
    }
    if (!ok)
        l->n = 0;
    return ok;
}

/* 2026-11-22T08:19:08 with whatever fraction, Z. */
static bool parse_time(simplex_bytes t, int64_t *ms)
{
    static const char form[] = "0000-00-00T00:00:00";
    int part[6] = { 0 };
    unsigned n = 0;

    if (t.len < sizeof(form) || t.len > 35 || t.ptr[t.len - 1] != 'Z')
        return false;
    for (size_t i = 0; form[i] != 0; i++) {
        if (form[i] != '0' && t.ptr[i] != (uint8_t)form[i])
            return false;
        if (form[i] != '0')
            n++;
        else if (t.ptr[i] < '0' || t.ptr[i] > '9')
            return false;
        else
            part[n] = part[n] * 10 + t.ptr[i] - '0';
    }
    struct tm tm = { .tm_year = part[0] - 1900,
                     .tm_mon = part[1] - 1,
                     .tm_mday = part[2],
                     .tm_hour = part[3],
                     .tm_min = part[4],
                     .tm_sec = part[5] };
    time_t s = timegm(&tm);
    *ms = (int64_t)s * 1000;
    return s >= 0;
}

/* Names that older versions wrote, and those that mean nothing any more. */
static const char *modern_name(const char *key)
{
    static const char *const renamed[][2] = {
        { "qDeleted", "qDeletedAll" },
        { "day", "dayHashes" },
        { "week", "weekHashes" },
        { "month", "monthHashes" },
        { "dayMsgQueues", "dayHashes" },
        { "weekMsgQueues", "weekHashes" },
        { "monthMsgQueues", "monthHashes" },
        { "assocUpdated", "assocUpdatedt" },
    };

    for (size_t i = 0; i < SX_COUNT(renamed); i++)
        if (strcmp(key, renamed[i][0]) == 0)
            return renamed[i][1];
    return key;
}

static int find(const char *section, const char *key)
{
    const char *in = "";

    for (size_t i = 0; i < SX_COUNT(lines); i++) {
        if (lines[i].stat < 0)
            in = lines[i].name;
        else if (strcmp(in, section) == 0 && strcmp(lines[i].name, key) == 0)
            return lines[i].stat;
    }
    return -1;
}

/* Keys of no section may stand anywhere, behind and among those of a section: their names are not
 * used in sections. So only the name of the section has to come before what is in it. */
static int find_stat(const struct reading *r, const char *key)
{
    int stat = find("", key);

    if (stat < 0 && !r->skipped_section)
        stat = find(r->section, key);
    if (stat < 0 && !r->skipped_section &&
        strstr(key, "Hashes") != NULL) /* the oldest files have no section for them */
        stat = find("activeQueues", key);
    return stat;
}

static void take_value(struct reading *r, const char *key, simplex_bytes value)
{
    const char *name = modern_name(key);
    int stat = find_stat(r, name);
    int64_t n = 0;

    if (strcmp(key, "fromTime") == 0) {
        if (!parse_time(value, &r->from_ms))
            leave_out(r, "fromTime is not a time like 2026-01-31T00:00:00Z");
    } else if (stat < 0 && (r->skipped_section || strcmp(key, "qSubNoMsg") == 0)) {
        /* counted by the reference once, and not any more */
    } else if (stat < 0) {
        leave_out(r, "an unknown name");
    } else if (is_list(stat)) {
        if (!parse_list(value, &r->list[stat - SX_STAT_DAY_QUEUES]))
            leave_out(r, "a list with something that is no number");
    } else if (!parse_number(value, &n) || n < 0) {
        leave_out(r, "not a number");
    } else {
        r->v[stat] = (uint64_t)n;
    }
}

static void begin_section(struct reading *r, const char *name)
{
    bool known = false;

    for (size_t i = 0; i < SX_COUNT(lines); i++)
        known |= lines[i].stat < 0 && strcmp(lines[i].name, name) == 0;
    r->skipped_section = strcmp(name, "subscribedQueues") == 0;
    if (!known && !r->skipped_section) {
        leave_out(r, "an unknown section");
        r->skipped_section = true;
    }
    snprintf(r->section, sizeof(r->section), "%s", name);
}

static void take_line(struct reading *r, simplex_bytes line)
{
    char key[KEY_MAX];
    const uint8_t *eq = memchr(line.ptr, '=', line.len);
    size_t n = eq == NULL ? line.len : (size_t)(eq - line.ptr);
    bool section = eq == NULL && n > 0 && line.ptr[n - 1] == ':';

    if (line.len == 0)
        return;
    n -= section;
    if ((eq == NULL && !section) || n == 0 || n >= sizeof(key) || memchr(line.ptr, 0, n) != NULL) {
        leave_out(r, "neither name=value nor a section");
        return;
    }
    memcpy(key, line.ptr, n);
    key[n] = 0;
    if (section)
        begin_section(r, key);
    else
        take_value(r, key, sx_bytes(eq + 1, line.len - n - 1));
}

static void take_lines(struct reading *r, simplex_bytes text)
{
    while (text.len > 0) {
        const uint8_t *lf = memchr(text.ptr, '\n', text.len);
        size_t n = lf == NULL ? text.len : (size_t)(lf - text.ptr);
        r->line++;
        if (lf == NULL) {
            leave_out(r, "the end of the line is missing");
            return;
        }
        take_line(r, sx_bytes(text.ptr, n > 0 && text.ptr[n - 1] == '\r' ? n - 1 : n));
        text = sx_bytes(lf + 1, text.len - n - 1);
    }
}

/* ---- what was read becomes counters and stamps ---- */

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static void sort(struct list *l)
{
    size_t n = 0;

    if (l->n == 0)
        return;
    qsort(l->p, l->n, sizeof(*l->p), compare);
    for (size_t i = 0; i < l->n; i++) {
        if (n == 0 || l->p[n - 1] != l->p[i])
            l->p[n++] = l->p[i];
    }
    l->n = n;
}

static bool has(const struct list *l, int64_t v)
{
    return l->n > 0 && bsearch(&v, l->p, l->n, sizeof(v), compare) != NULL;
}

/* A day that is in exactly these periods. */
static uint16_t stamp(uint32_t today, bool day, bool week, bool month)
{
    uint32_t week_begin = sx_week_begin(today), month_begin = sx_month_begin(today);
    const uint32_t tries[] = { today - 1, week_begin, month_begin };

    if (!day && !week && !month)
        return 0;
    for (size_t i = 0; i < SX_COUNT(tries) && !day; i++) {
        if (tries[i] < today && (tries[i] >= week_begin) == week &&
            (tries[i] >= month_begin) == month)
            return (uint16_t)tries[i];
    }
    return (uint16_t)today;
}

static bool restore_stamps(void *arg, struct sx_queue *q)
{
    const struct reading *r = arg;
    uint32_t today = (uint32_t)atomic_load(&r->st->day);
    int64_t n = number_of_id(sx_bytes(q->rcv.id, sizeof(q->rcv.id)));
    const struct list *l = r->list;

    q->active_day = stamp(today, has(&l[0], n), has(&l[1], n), has(&l[2], n));
    q->ntf_day = stamp(today, has(&l[3], n), has(&l[4], n), has(&l[5], n));
    return true;
}

unsigned sx_stats_parse(struct sx_stats *st, struct sx_store *store, simplex_bytes text,
                        int64_t saved_ms)
{
    struct reading *r = sx_calloc(1, sizeof(*r));

    if (r == NULL)
        return 1;
    r->st = st;
    r->from_ms = -1;
    take_lines(r, text);
    atomic_store(&st->day, sx_day_of(saved_ms));
    for (unsigned i = 0; i < LISTS; i++) {
        sort(&r->list[i]);
        r->v[SX_STAT_DAY_QUEUES + i] = r->list[i].n;
    }
    each_queue(store, restore_stamps, r);
    pthread_mutex_lock(&st->lock);
    for (unsigned i = 0; i < SX_STAT_SAVED; i++)
        st->base[i] -= r->v[i];
    if (r->from_ms >= 0 && r->from_ms <= saved_ms)
        st->from_ms = r->from_ms;
    pthread_mutex_unlock(&st->lock);
    unsigned left_out = r->left_out;
    for (unsigned i = 0; i < LISTS; i++)
        sx_free(r->list[i].p);
    sx_free(r);
    return left_out;
}

void sx_stats_restore(struct sx_stats *st, struct sx_store *store, const char *dir, int64_t now_ms)
{
    char path[SX_PATH_MAX], text[SX_PATH_MAX + 128];
    struct sx_errtext err = { text, sizeof(text) };
    struct stat info;
    struct sx_wr w;

    if (!sx_path_join(path, dir, SX_STATS_FILE) || stat(path, &info) != 0)
        return; /* the first start, or the last one was not stopped in order */
    int64_t saved_ms = (int64_t)info.st_mtime * 1000;
    sx_wr_init(&w, SX_STATS_FILE_MAX);
    if (sx_file_read(dir, SX_STATS_FILE, &w, &err) != SIMPLEX_OK) {
        sx_log(SX_LOG_WARN, "%s: statistics begin anew", text);
    } else {
        unsigned n =
            sx_stats_parse(st, store, sx_wr_bytes(&w), saved_ms > now_ms ? now_ms : saved_ms);
        if (n > 0)
            sx_log(SX_LOG_WARN, "%u lines of %s were left out; the file is kept as %s", n, path,
                   SX_STATS_FILE_OLD);
    }
    sx_wr_free(&w);
    if (sx_file_rename(dir, SX_STATS_FILE, SX_STATS_FILE_OLD, &err) != SIMPLEX_OK)
        sx_log(SX_LOG_WARN, "%s", text);
}
