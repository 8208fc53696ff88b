/* SPDX-License-Identifier: Apache-2.0 */
/* smp-server-stats.daily.log: one line a day with the columns of the reference. */
#include "stats_file.h"

#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

enum { /* columns that are no counter */
       DATE = SX_STAT_COUNT,
       ZERO, /* counted by the reference once, and not any more */
       MESSAGES,
       NOTIFIERS,
       RCV_SERVICES,
       NTF_SERVICES,
       RCV_SERVICE_QUEUES,
       NTF_SERVICE_QUEUES,
};

#define S(id) SX_STAT_##id
#define PROXY(p)                                                                      \
    S(P_##p##_REQUESTS), S(P_##p##_SUCCESSES), S(P_##p##_CONNECT), S(P_##p##_COMPAT), \
        S(P_##p##_OTHER)

static const uint8_t columns[SX_STATS_COLUMNS] = {
    /* those of version 3.4 */
    DATE, S(Q_CREATED), S(Q_SECURED), S(Q_DELETED), S(MSG_SENT), S(MSG_RECV), S(DAY_QUEUES),
    S(WEEK_QUEUES), S(MONTH_QUEUES),
    /* messages that notify; what there is */
    S(MSG_SENT_NTF), S(MSG_RECV_NTF), S(DAY_NTFS), S(WEEK_NTFS), S(MONTH_NTFS), S(Q_COUNT),
    MESSAGES, S(MSG_EXPIRED), S(Q_DELETED_NEW), S(Q_DELETED_SECURED),
    /* private routing */
    PROXY(RELAYS), PROXY(RELAYS_OWN), PROXY(FWDS), PROXY(FWDS_OWN), S(P_FWDS_RECV),
    /* commands */
    S(Q_SUB), S(Q_SUB_AUTH), S(Q_SUB_DUPLICATE), S(Q_SUB_PROHIBITED), S(MSG_SENT_AUTH),
    S(MSG_SENT_QUOTA), S(MSG_SENT_LARGE), S(MSG_NTFS), S(MSG_NTF_NO_SUB), S(MSG_NTF_LOST), ZERO,
    S(MSG_RECV_GET), S(MSG_GET), S(MSG_GET_NO_MSG), S(MSG_GET_AUTH), S(MSG_GET_DUPLICATE),
    S(MSG_GET_PROHIBITED), ZERO, ZERO, ZERO, S(Q_COUNT), S(NTF_CREATED), S(NTF_DELETED), S(NTF_SUB),
    S(NTF_SUB_AUTH), S(NTF_SUB_DUPLICATE), NOTIFIERS, S(Q_DELETED_B), S(Q_SUB_B), S(Q_SUB_END),
    S(Q_SUB_END_B), S(NTF_DELETED_B), S(NTF_SUB_B), S(MSG_NTFS_B), S(MSG_NTF_EXPIRED), S(NTF_COUNT),
    /* services */
    RCV_SERVICES, NTF_SERVICES, RCV_SERVICE_QUEUES, NTF_SERVICE_QUEUES, S(RCV_ASSOC_NEW),
    S(RCV_ASSOC_DUPLICATE), S(RCV_ASSOC_UPDATED), S(RCV_ASSOC_REMOVED), S(RCV_SUB_COUNT),
    S(RCV_SUB_DUPLICATE), S(RCV_SUB_QUEUES), S(RCV_SUB_END), S(NTF_ASSOC_NEW),
    S(NTF_ASSOC_DUPLICATE), S(NTF_ASSOC_UPDATED), S(NTF_ASSOC_REMOVED), S(NTF_SRV_SUB_COUNT),
    S(NTF_SRV_SUB_DUPLICATE), S(NTF_SRV_SUB_QUEUES), S(NTF_SRV_SUB_END),
    /* names */
    S(RSLV_REQS), S(RSLV_SUCC), S(RSLV_NOT_FOUND), S(RSLV_ERRS), S(RSLV_DISABLED)
};
_Static_assert(NTF_SERVICE_QUEUES <= UINT8_MAX, "a column is a byte");

void sx_time_text(int64_t ms, char to[SX_TIME_TEXT])
{
    time_t t = (time_t)(ms / 1000);
    struct tm tm;

    if (ms < 0 || gmtime_r(&t, &tm) == NULL || tm.tm_year > 8099) {
        snprintf(to, SX_TIME_TEXT, "1970-01-01T00:00:00.000Z");
        return;
    }
    size_t n = strftime(to, SX_TIME_TEXT, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(to + n, SX_TIME_TEXT - n, ".%03dZ", (int)(ms % 1000));
}

static uint64_t number(const struct sx_snapshot *s, unsigned column)
{
    switch (column) {
    case ZERO:
        return 0;
    case MESSAGES:
        return s->messages;
    case NOTIFIERS:
        return s->notifiers;
    case RCV_SERVICES:
    case NTF_SERVICES:
        return s->services.services[column - RCV_SERVICES];
    case RCV_SERVICE_QUEUES:
    case NTF_SERVICE_QUEUES:
        return s->services.queues[column - RCV_SERVICE_QUEUES];
    default:
        return s->v[column];
    }
}

static bool left_empty(unsigned column, struct sx_new_periods begun)
{
    if (column == SX_STAT_WEEK_QUEUES || column == SX_STAT_WEEK_NTFS)
        return !begun.week;
    return (column == SX_STAT_MONTH_QUEUES || column == SX_STAT_MONTH_NTFS) && !begun.month;
}

void sx_stats_csv(struct sx_wr *to, const struct sx_snapshot *s, struct sx_new_periods begun)
{
    char text[SX_TIME_TEXT];

    for (unsigned i = 0; i < SX_COUNT(columns); i++) {
        if (columns[i] == DATE) {
            sx_time_text(s->from_ms, text);
            text[10] = 0; /* the date */
        } else if (left_empty(columns[i], begun)) {
            text[0] = 0;
        } else {
            snprintf(text, sizeof(text), "%" PRIu64, number(s, columns[i]));
        }
        sx_wr_text(to, i == 0 ? "" : ",");
        sx_wr_text(to, text);
    }
    sx_wr_text(to, "\n");
}

/* ---- the file ---- */

/* What is left of a line that a full disk or a loss of power tore gets an end. */
static bool end_line(int fd, off_t end, const char *path)
{
    char last = '\n';

    if (end > 0 && pread(fd, &last, 1, end - 1) != 1)
        return false;
    if (last == '\n')
        return true;
    if (write(fd, "\n", 1) != 1)
        return false;
    sx_log(SX_LOG_WARN, "%s: the last line was torn by a full disk or a crash; it stays as it is",
           path);
    return true;
}

static bool append_to(int fd, simplex_bytes line, const char *path)
{
    off_t end = lseek(fd, 0, SEEK_END);

    if (end < 0 || !end_line(fd, end, path))
        return false;
    ssize_t n = write(fd, line.ptr, line.len);
    if (n == (ssize_t)line.len && fsync(fd) == 0)
        return true;
    int e = n >= 0 && n < (ssize_t)line.len ? ENOSPC : errno;
    if (n > 0 && ftruncate(fd, end) != 0)
        e = errno;
    errno = e;
    return false;
}

static simplex_rc append(const char *dir, simplex_bytes line, struct sx_errtext *err)
{
    char path[SX_PATH_MAX];

    if (!sx_path_join(path, dir, SX_STATS_DAILY_FILE))
        return SIMPLEX_E_ARG;
    int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    bool ok = fd >= 0 && append_to(fd, line, path);
    if (!ok)
        sx_errtext_set(err, "cannot write %s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return ok ? SIMPLEX_OK : SIMPLEX_E_SYSTEM;
}

simplex_rc sx_stats_write_day(struct sx_stats *st, struct sx_store *store, const char *dir,
                              int64_t now_ms, struct sx_errtext *err)
{
    struct sx_new_periods begun = sx_stats_new_periods(st, now_ms);
    struct sx_snapshot s;
    uint8_t line[SX_STATS_COLUMNS * 21 + 1];
    struct sx_wr w;

    sx_stats_read(st, store, now_ms, &s);
    sx_wr_fixed(&w, line, sizeof(line));
    sx_stats_csv(&w, &s, begun);
    simplex_rc rc = append(dir, sx_wr_bytes(&w), err);
    if (rc != SIMPLEX_OK)
        return rc;
    sx_stats_begin_day(st, &s);
    sx_stats_reported(st, &s);
    return SIMPLEX_OK;
}
