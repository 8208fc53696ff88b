/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal of messages: what makes a message outlive a killed process and a power loss.
 *
 * A directory of numbered segment files. A message is appended when it is sent (ADD) and once
 * more, without its body, when it is acknowledged (DEL): a message lives if there is an ADD and no
 * DEL with its id, whatever their order, because ids are random and never used twice. Segments
 * are deleted from the oldest on, when nothing in them lives; what lives long is copied to the
 * newest, so that the journal stays within a small multiple of what lives.
 *
 * Threads. A change is staged by the thread that makes it, in the list of the queue's stripe,
 * with the lock of that stripe held: the message path knows no other lock. Once a turn of its
 * loop a thread flushes: it takes the lock of the journal, then each stripe's in turn, and writes
 * everything staged with few system calls. One thread (commit.h) then syncs. Order of locks:
 * journal, then stripe; staging must therefore not take the lock of the journal.
 *
 * Room is reserved before a message is taken: segments are allocated on disk ahead of their use,
 * so that a full disk is met by sx_journal_room, not by a write.
 */
#ifndef SX_JOURNAL_H
#define SX_JOURNAL_H

#include "identity.h" /* struct sx_errtext */
#include "queue_store.h"

#define SX_JOURNAL_SEGMENT (32u << 20)

struct sx_journal;

struct sx_journal_cfg {
    const char *dir;          /* made when it is missing, mode 0700 */
    size_t segment_size;      /* 0: SX_JOURNAL_SEGMENT; at least 64 KiB */
    bool skip_damage;         /* damaged records are left out with a warning instead of refusing */
    pthread_mutex_t *stripes; /* SX_STORE_SHARDS of them, of the queue store */
    /* A live message, in the order they were sent. rid: SX_ID_LEN bytes. Takes over the reference
     * to m unless it returns false: there is no such queue (any more), the message is forgotten. */
    bool (*load)(void *user, const uint8_t *rid, struct sx_msg *m);
    void *user;
    /* One sentence: repairs, skipped records; while running, why writing failed (from the thread
     * that met it, with the lock of the journal held). */
    void (*warn)(void *user, const char *text);
    int (*sync_fd)(int fd); /* for tests: instead of fdatasync; NULL otherwise */
};

/* Reads the directory, repairs a torn end, calls load for what lives, makes a fresh segment.
 * E_SYSTEM (err: path, errno in words, remedy), E_DB_DAMAGED (err: file, offset, remedy),
 * E_DB_LOCKED (another process has it), E_DB_SCHEMA (a newer format), E_NOMEM. On a full disk it
 * opens, warns and is FAILED: what is stored can be delivered, sx_journal_recover goes on. */
simplex_rc sx_journal_open(const struct sx_journal_cfg *cfg, struct sx_errtext *err,
                           struct sx_journal **out) SIMPLEX_CHECK;
/* Flushes, syncs and closes. No stripe may be locked. */
void sx_journal_close(struct sx_journal *j);

/* ---- staging; with the lock of the stripe held ---- */

/* Would a message with a body of n bytes be taken now: is there room on disk, and is the journal in
 * working order? Otherwise the command fails with INTERNAL. Nothing is reserved: the answer of
 * sx_journal_add decides. May make a file, seldom. */
bool sx_journal_room(struct sx_journal *j, size_t n) SIMPLEX_CHECK;
/* The message is about to be put into the queue with this recipient id: reserves the room for it
 * and sets its seq. False: no room, no memory, or FAILED; nothing is staged. */
bool sx_journal_add(struct sx_journal *j, unsigned stripe, const uint8_t *rid,
                    struct sx_msg *m) SIMPLEX_CHECK;
/* The message is about to be taken out, acknowledged. A part of the room is kept for this, so that
 * a full disk can be drained. False: no room even so, no memory, or FAILED; nothing is staged. */
bool sx_journal_del(struct sx_journal *j, unsigned stripe, struct sx_msg *m) SIMPLEX_CHECK;
/* The message went with its queue, or expired: nothing is written, it only stops to count as
 * living, when sx_journal_let_go says so. After a restart it is there again until `load` refuses
 * it, or it expires again. Never fails (what would have to be allocated is part of sx_msg). Not
 * after sx_journal_del. */
void sx_journal_forget(struct sx_journal *j, unsigned stripe, struct sx_msg *m);

/* ---- from any thread, no stripe locked ---- */

/* Writes what is staged; on return all that this thread had staged is written, by whomever. On
 * failure (E_DB_FULL, E_DB_IO) the journal is FAILED: everything not yet synced is kept and written
 * again by sx_journal_recover; room, add and del answer false until then. */
simplex_rc sx_journal_flush(struct sx_journal *j) SIMPLEX_CHECK;

/* ---- by the committing thread ---- */

/* What was forgotten with its queue must not go before the queue has gone for good, or a crash in
 * between would leave the queue without its messages. So: note what is forgotten by now, sync where
 * the queues are kept, and when that is done let go what was noted. */
void sx_journal_note_forgotten(struct sx_journal *j);
void sx_journal_let_go(struct sx_journal *j);

/* Flushes and makes everything flushed durable. */
simplex_rc sx_journal_sync(struct sx_journal *j) SIMPLEX_CHECK;
/* After a failure: a new segment with everything that was not known to be durable, synced.
 * Without a failure the same as sx_journal_sync. On an error it can be called again, after a second
 * say. */
simplex_rc sx_journal_recover(struct sx_journal *j) SIMPLEX_CHECK;
/* One step of housekeeping: a spare segment is kept allocated, the oldest segment is deleted when
 * nothing in it lives (once that is durable: it syncs when it has to), or about 1 MiB is copied
 * from it when too much of the journal is dead. True: there is more to do, call again. */
bool sx_journal_tidy(struct sx_journal *j);

/* For statistics: bytes of all segments, and of what lives. */
void sx_journal_size(struct sx_journal *j, uint64_t *total, uint64_t *live);

#endif
