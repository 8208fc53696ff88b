/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the store log: what its opening (store_log_open.c) hands to its life (store_log.c). */
#ifndef SX_STORE_LOG_INTERNAL_H
#define SX_STORE_LOG_INTERNAL_H

#include <pthread.h>

#include "store_log.h"

struct sx_slog_compaction; /* store_log_compact.c */

struct sx_slog {
    struct sx_slog_sys sys;
    char *path;
    int fd;
    int lock_fd;
    pthread_mutex_t lock;
    struct sx_wr kept; /* the bytes of the file from `durable` on */
    size_t written;    /* of these were handed to the system */
    uint64_t durable;  /* the file is on disk up to here */
    uint64_t room;     /* and reserved up to here */
    bool reserves;     /* the file system can; otherwise lines are written at once */
    simplex_rc failed; /* OK, or why the last write or sync failed */
    uint64_t lines;
    uint64_t base; /* size when it was last written anew; 0: not known */
    bool renamed;  /* the directory is not yet known to be on disk */
    uint16_t generation;                 /* of the last compaction */
    struct sx_slog_compaction *compacts; /* NULL: none is under way */
};

extern const struct sx_slog_sys sx_slog_system;

/* E_DB_FULL or E_DB_IO for what errno says. */
simplex_rc sx_slog_errno(void);
/* All of b at this offset. */
simplex_rc sx_slog_pwrite(const struct sx_slog_sys *sys, int fd, simplex_bytes b,
                          uint64_t at) SIMPLEX_CHECK;

/* Makes the log over an open file of this size. Takes over both descriptors. */
simplex_rc sx_slog_new(const struct sx_slog_sys *sys, const char *path, int fd, int lock_fd,
                       uint64_t size, struct sx_slog **out) SIMPLEX_CHECK;
/* The directory of path: renames become durable with it. E_DB_FULL, E_DB_IO (errno). */
simplex_rc sx_slog_sync_dir(const struct sx_slog_sys *sys, const char *path) SIMPLEX_CHECK;
/* Room on disk for all that is kept, with the lock held. False: there is none. */
bool sx_slog_take_room(struct sx_slog *l) SIMPLEX_CHECK;
/* The line that was put behind the first `before` bytes of `kept`, as the compaction wants it; with
 * the lock held. */
void sx_slog_compact_copy(struct sx_slog *l, const struct sx_slog_record *r, uint16_t *mark,
                          size_t before);

/* ---- reading (store_log_read.c) ---- */

struct sx_slog_found {
    bool exists;
    uint64_t size;
    uint64_t good_end; /* offset behind the last record */
};
simplex_rc sx_slog_read(const struct sx_slog_cfg *cfg, struct sx_errtext *err,
                        struct sx_slog_found *found) SIMPLEX_CHECK;
void sx_slog_warn(const struct sx_slog_cfg *cfg, const char *fmt, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 2, 3)))
#endif
    ;

/* ---- backups (store_log_backup.c) ---- */

#define SX_SLOG_PATH SX_PATH_MAX
/* path.suffix; false when it is too long. */
bool sx_slog_path(char to[SX_SLOG_PATH], const char *path, const char *suffix);
/* path.<ISO8601> for this time (microseconds since 1970) or, while there is such a file, later. */
bool sx_slog_backup_path(char to[SX_SLOG_PATH], const char *path, int64_t now_us);
/* Removes backups older than 21 days, but keeps three of those older than 24 hours. */
void sx_slog_prune(const struct sx_slog_sys *sys, const char *path, int64_t now_us);

#endif
