/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store log: queues and services in one append-only file of lines, which the reference reads
 * and writes too (protocol/smp.md section 10, "Files"; the lines are in store_log_line.h).
 *
 * Threads. Any thread appends and flushes: an own lock is held for that, and no other one is
 * taken under it. One thread syncs and recovers (commit.h).
 *
 * Everything since the last good sync is kept in memory, so that nothing that append took is lost
 * when a write or a sync fails: the log is FAILED then, append answers false, and
 * sx_slog_recover cuts the file to what is known to be on disk and writes the rest again.
 * Room on disk is reserved ahead of the lines, so that a full disk is met by append and not by
 * the write of a line that was taken already.
 */
#ifndef SX_STORE_LOG_H
#define SX_STORE_LOG_H

#include <sys/types.h>

#include "file.h" /* struct sx_errtext */
#include "store_log_line.h"

#define SX_SLOG_ROOM (1u << 20)  /* reserved ahead in steps of this */
#define SX_SLOG_KEPT (64u << 20) /* at most this much is kept while nothing becomes durable */
#define SX_SLOG_TORN (1u << 20)  /* damage within this many bytes of the end is a torn end */

struct sx_slog;

/* The system calls that may fail, so that tests can make each one do it. */
struct sx_slog_sys {
    ssize_t (*pwrite)(int fd, const void *p, size_t n, off_t at);
    int (*fallocate)(int fd, off_t at, off_t n); /* keeps the size; EOPNOTSUPP: cannot */
    int (*ftruncate)(int fd, off_t size);
    int (*sync)(int fd); /* fdatasync */
    int (*rename)(const char *from, const char *to);
    int (*unlink)(const char *path);
    int (*open)(const char *path, int flags, mode_t mode);
};

/* Takes one record. False: it cannot be written, stop. */
typedef bool sx_slog_put(void *to, const struct sx_slog_record *r);

struct sx_slog_cfg {
    const char *path; /* <state>/smp-server-store.log; made when it is missing, mode 0600 */
    bool skip_damage; /* lines that are no records are left out with a warning, not refused */
    const struct sx_slog_sys *sys; /* NULL: the system's */
    void *user;                    /* of the functions below */
    /* A record of the file, in its order; line counts from 1. Not OK stops the start with that. */
    simplex_rc (*record)(void *user, const struct sx_slog_record *r, uint64_t line);
    /* Puts everything that lives: services, then queues. False when put answered false, or there
     * is no memory. */
    bool (*rewrite)(void *user, sx_slog_put *put, void *to);
    void (*progress)(void *user, uint64_t bytes, uint64_t total); /* or NULL; every few MiB */
    void (*warn)(void *user, const char *text);                   /* or NULL; one sentence */
};

/*
 * Takes the lock, reads the file, repairs a torn end, writes it anew without what is gone and
 * keeps the old one as a backup, if something is gone; then lines can be appended. When the disk is
 * too full for the new file the old one goes on being used.
 * E_DB_LOCKED: another server uses it. E_DB_DAMAGED: a line is no record (err: file, line,
 * remedy); nothing was changed. E_SYSTEM (err: path, reason). E_NOMEM.
 */
simplex_rc sx_slog_open(const struct sx_slog_cfg *cfg, struct sx_errtext *err,
                        struct sx_slog **out) SIMPLEX_CHECK;
/* The lock alone, for who wants no server to run meanwhile; close(*fd) gives it back. Errors: as
 * above. */
simplex_rc sx_slog_lock(const char *path, struct sx_errtext *err, int *fd) SIMPLEX_CHECK;
/* Flushes, syncs and closes; NULL is fine. Not OK: what was appended last may not be on disk. */
simplex_rc sx_slog_close(struct sx_slog *l);

/* ---- any thread ---- */

/* Stages a line (without LF) or a record. False: nothing is staged, because the disk has no room
 * for it, the log is failed, there is no memory, or the record does not fit its encoding. */
bool sx_slog_append(struct sx_slog *l, simplex_bytes line) SIMPLEX_CHECK;
bool sx_slog_write(struct sx_slog *l, const struct sx_slog_record *r) SIMPLEX_CHECK;
/* The same for a record of the queue or service whose mark this is (store_log_compact.h), with its
 * lock held. */
bool sx_slog_write_marked(struct sx_slog *l, const struct sx_slog_record *r,
                          uint16_t *mark) SIMPLEX_CHECK;
/* Hands what is staged to the system. E_DB_FULL or E_DB_IO: the log is failed. */
simplex_rc sx_slog_flush(struct sx_slog *l) SIMPLEX_CHECK;
bool sx_slog_failed(struct sx_slog *l);

/* ---- the committing thread ---- */

/* Flushes, and makes durable what was appended before the call. Errors as above. */
simplex_rc sx_slog_sync(struct sx_slog *l) SIMPLEX_CHECK;
/* After a failure: writes again and makes durable all that is kept. OK: the log works again. */
simplex_rc sx_slog_recover(struct sx_slog *l) SIMPLEX_CHECK;

/* Bytes of the file, and lines appended since it was opened. */
void sx_slog_size(struct sx_slog *l, uint64_t *bytes, uint64_t *lines);

#endif
