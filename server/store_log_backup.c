/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Backups of the store log: what was compacted stays as <log>.<ISO8601> for a while. The reference
 * makes the name anew from the time in it when it removes a backup, so the name must be the one
 * it would write: UTC with Z, and a fraction without zeros at its end.
 */
#include "store_log_internal.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define SECOND INT64_C(1000000) /* times are in microseconds */
#define DAY (86400 * SECOND)
#define KEEP_ALL DAY
#define KEEP_DAYS (21 * DAY)
#define KEEP_OLD 3       /* of those that are not younger than KEEP_ALL */
#define BACKUPS_MAX 4096 /* looked at in one start */

bool sx_slog_path(char to[SX_SLOG_PATH], const char *path, const char *suffix)
{
    int n = snprintf(to, SX_SLOG_PATH, "%s.%s", path, suffix);

    return n > 0 && n < SX_SLOG_PATH;
}

/* ---- times in names ---- */

static bool format_time(char to[64], int64_t us)
{
    time_t s = (time_t)(us / SECOND);
    struct tm tm;
    char fraction[16] = "";

    if (gmtime_r(&s, &tm) == NULL)
        return false;
    if (us % SECOND != 0) {
        size_t n = (size_t)snprintf(fraction, sizeof(fraction), ".%06" PRId64, us % SECOND);
        while (n > 0 && n < sizeof(fraction) && fraction[n - 1] == '0')
            fraction[--n] = 0;
    }
    size_t n = strftime(to, 40, "%Y-%m-%dT%H:%M:%S", &tm);
    if (n == 0)
        return false;
    (void)snprintf(to + n, 64 - n, "%sZ", fraction);
    return true;
}

static bool digits(const char **p, int n, int *out)
{
    *out = 0;
    for (int i = 0; i < n; i++, (*p)++) {
        if (**p < '0' || **p > '9')
            return false;
        *out = *out * 10 + (**p - '0');
    }
    return true;
}

static bool mark(const char **p, char c)
{
    return *(*p)++ == c;
}

/* Fractions are cut to microseconds. */
static bool parse_fraction(const char **p, int64_t *us)
{
    int64_t unit = SECOND / 10;

    *us = 0;
    if (**p != '.')
        return true;
    if (*++*p < '0' || **p > '9')
        return false;
    for (; **p >= '0' && **p <= '9'; (*p)++, unit /= 10)
        *us += (**p - '0') * unit;
    return true;
}

static bool parse_time(const char *p, int64_t *us)
{
    struct tm tm = { .tm_year = 0 };
    int64_t fraction;

    if (!digits(&p, 4, &tm.tm_year) || !mark(&p, '-') || !digits(&p, 2, &tm.tm_mon) ||
        !mark(&p, '-') || !digits(&p, 2, &tm.tm_mday) || !mark(&p, 'T') ||
        !digits(&p, 2, &tm.tm_hour) || !mark(&p, ':') || !digits(&p, 2, &tm.tm_min) ||
        !mark(&p, ':') || !digits(&p, 2, &tm.tm_sec) || !parse_fraction(&p, &fraction) ||
        strcmp(p, "Z") != 0)
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    *us = (int64_t)timegm(&tm) * SECOND + fraction;
    return true;
}

bool sx_slog_backup_path(char to[SX_SLOG_PATH], const char *path, int64_t now_us)
{
    char when[64];

    do {
        if (!format_time(when, now_us++) || !sx_slog_path(to, path, when))
            return false;
    } while (access(to, F_OK) == 0);
    return true;
}

/* ---- removal ---- */

struct backup {
    int64_t us;
    char *path;
};

struct list {
    struct backup *item;
    size_t n;
};

static int by_time(const void *a, const void *b)
{
    const struct backup *x = a;
    const struct backup *y = b;

    return (x->us > y->us) - (x->us < y->us);
}

/* Adds <dir>/<name> when it is <log name>.<time> and not young. */
static void consider(struct list *l, const char *path, const char *name, int64_t before)
{
    const char *slash = strrchr(path, '/');
    const char *own = slash == NULL ? path : slash + 1;
    size_t len = strlen(own);
    char full[SX_SLOG_PATH];
    int64_t us;

    if (strncmp(name, own, len) != 0 || name[len] != '.' || !parse_time(name + len + 1, &us))
        return;
    if (us >= before || l->n == BACKUPS_MAX || !sx_slog_path(full, path, name + len + 1))
        return;
    char *copy = sx_strdup(full);
    if (copy == NULL)
        return; /* the next start removes it */
    l->item[l->n++] = (struct backup){ us, copy };
}

static void find_old(struct list *l, const char *path, int64_t before)
{
    char dir[SX_SLOG_PATH];
    const char *slash = strrchr(path, '/');
    const struct dirent *e;

    (void)snprintf(dir, sizeof(dir), "%.*s", slash == NULL ? 1 : (int)(slash - path + 1),
                   slash == NULL ? "." : path);
    DIR *d = opendir(dir);
    if (d == NULL)
        return;
    while ((e = readdir(d)) != NULL)
        consider(l, path, e->d_name, before);
    (void)closedir(d);
}

void sx_slog_prune(const struct sx_slog_sys *sys, const char *path, int64_t now_us)
{
    struct list l = { sx_calloc(BACKUPS_MAX, sizeof(struct backup)), 0 };

    if (l.item == NULL)
        return; /* the next start removes them */
    find_old(&l, path, now_us - KEEP_ALL);
    qsort(l.item, l.n, sizeof(l.item[0]), by_time);
    for (size_t i = 0; i < l.n; i++) {
        if (i + KEEP_OLD < l.n && l.item[i].us < now_us - KEEP_DAYS &&
            sys->unlink(l.item[i].path) != 0)
            sx_log(SX_LOG_WARN, "an old backup of the store log could not be removed");
        sx_free(l.item[i].path);
    }
    sx_free(l.item);
}
