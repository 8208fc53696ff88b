/* SPDX-License-Identifier: Apache-2.0 */
/* The files of statistics: a line a day, and the counters over a restart (section 10). */
#ifndef SX_STATS_FILE_H
#define SX_STATS_FILE_H

#include "file.h"
#include "stats.h"

#define SX_STATS_DAILY_FILE "smp-server-stats.daily.log"
#define SX_STATS_FILE "smp-server-stats.log"
#define SX_STATS_FILE_OLD "smp-server-stats.log.bak"
#define SX_STATS_FILE_MAX ((size_t)1 << 30) /* 8 million active queues and more */
#define SX_STATS_COLUMNS 101

/* ---- stats_csv.c ---- */

/* One line with LF. Days have their own count in each line, weeks and months when they end. */
void sx_stats_csv(struct sx_wr *to, const struct sx_snapshot *s, struct sx_new_periods begun);
/* Appends the line of the time since the last one, and begins to count anew. */
simplex_rc sx_stats_write_day(struct sx_stats *st, struct sx_store *store, const char *dir,
                              int64_t now_ms, struct sx_errtext *err) SIMPLEX_CHECK;
/* ISO 8601 with milliseconds, UTC. */
#define SX_TIME_TEXT 32
void sx_time_text(int64_t ms, char to[SX_TIME_TEXT]);

/* ---- stats_backup.c ---- */

/* At the stop, when no thread counts any more. */
simplex_rc sx_stats_save(struct sx_stats *st, struct sx_store *store, const char *dir,
                         int64_t now_ms, struct sx_errtext *err) SIMPLEX_CHECK;
/*
 * At the start, when the queues are loaded and no thread runs. The file is renamed to .bak. What
 * cannot be read of it is left out, each line with a warning in the log: statistics never keep a
 * server from starting.
 */
void sx_stats_restore(struct sx_stats *st, struct sx_store *store, const char *dir, int64_t now_ms);
/* The same from its text, which was saved at saved_ms. Returns the number of lines left out. */
unsigned sx_stats_parse(struct sx_stats *st, struct sx_store *store, simplex_bytes text,
                        int64_t saved_ms);

#endif
