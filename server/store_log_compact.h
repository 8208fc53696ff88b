/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compaction of the store log while the server runs, so that what clients change again and again
 * cannot fill the disk (the start compacts as well: store_log_open.c).
 *
 * What lives is put into <log>.compact, some at a time, while commands go on. Each queue and each
 * service has a mark: the number of the last compaction that has put it. A record of what is put
 * already goes to both files; one of what is not does not need to, because it will be in what is
 * put later. Putting and recording are both done with the lock of the queue held, so the new file
 * is at every moment what the old one says, in the same order, of all that was put: nothing is
 * there twice, and an id that goes from one queue to another does so in the new file too.
 *
 * At the end the new file is synced and renamed to <log>. Answers wait for the old file until then
 * and for the new one from then on. A crash leaves one complete log under that name: the old one,
 * beside a <log>.compact that the next start removes, or the new one. No backup is made.
 *
 * When the disk fails or is full, or there is no memory, the new file is given up and the old one
 * goes on. All functions are for the committing thread but where it says otherwise.
 */
#ifndef SX_STORE_LOG_COMPACT_H
#define SX_STORE_LOG_COMPACT_H

#include "store_log.h"

#define SX_SLOG_SPARE (16u << 20) /* so much room is left on the disk */

/* Begins; nothing is put or copied yet but services. E_PROHIBITED: one is under way; E_DB_FULL,
 * E_DB_IO, E_NOMEM. */
simplex_rc sx_slog_compact_begin(struct sx_slog *l) SIMPLEX_CHECK;
/* All services are put: from here on queues are. */
void sx_slog_compact_queues(struct sx_slog *l);
/* Puts a record of what lives, with its lock held, unless it is there already. */
void sx_slog_compact_put(struct sx_slog *l, const struct sx_slog_record *r, uint16_t *mark);
/* Writes what was put; E_DB_FULL, E_DB_IO, E_NOMEM: give up. *bytes: put since it was last called.
 */
simplex_rc sx_slog_compact_write(struct sx_slog *l, size_t *bytes) SIMPLEX_CHECK;
/* Everything is put: the new file takes the place of the old one. Not OK: nothing has changed. */
simplex_rc sx_slog_compact_end(struct sx_slog *l) SIMPLEX_CHECK;
/* Gives up; nothing when none is under way. */
void sx_slog_compact_abort(struct sx_slog *l);
/* What an interrupted one has left. */
void sx_slog_compact_remove(const struct sx_slog_sys *sys, const char *path);

/* Bytes of the log, and what it had when it was last written anew (0: not known). Any thread. */
void sx_slog_growth(struct sx_slog *l, uint64_t *bytes, uint64_t *base);

#endif
