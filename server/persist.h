/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The narrow interface between the queue store and what keeps it: every change of a queue, a
 * message or a service that must outlive the process is recorded by one function here, before the
 * memory is changed, with the lock of the queue's stripe held. Today it is the store log
 * (store_log.h, the reference's format) for queues and services, and the journal (journal.h) for
 * messages; a database would implement the same functions.
 *
 * A record is staged, not yet on disk: commit.h says when it is, and the answer of the command
 * waits for that. When a function returns false nothing was recorded, the command changes nothing
 * and answers INTERNAL: the disk is full, an earlier write failed and has not recovered, or there
 * is no memory. Without persistence (st->persist NULL) all of them answer true.
 */
#ifndef SX_PERSIST_H
#define SX_PERSIST_H

#include "commit.h"
#include "identity.h" /* struct sx_errtext */
#include "queue_store.h"

struct sx_persist;
struct sx_service;

enum sx_keep_messages {
    SX_KEEP_DISK,   /* in the journal: what was answered OK is on disk */
    SX_KEEP_MEMORY, /* written to a file by sx_persist_save, read by the next start */
    SX_KEEP_NOT,    /* not even that */
};

struct sx_persist_cfg {
    const char *dir; /* the state directory; made when it is missing */
    enum sx_keep_messages messages;
    /* The store log is written anew when it is larger than compact_min and has grown so many times
     * since it last was. 0: only by a start. */
    unsigned compact_factor;
    uint64_t compact_min;
    size_t compact_slice;     /* bytes written between two commits, about; 0: 256 KiB */
    size_t journal_segment;   /* bytes of a file of messages; 0: SX_JOURNAL_SEGMENT */
    bool offline;             /* nobody is served: the state is loaded and saved again */
    bool skip_damage;         /* damaged records are left out with a warning, not refused */
    void (*done)(void *user); /* the state of stamps has changed; from the committing thread */
    void (*warn)(void *user, const char *text); /* one sentence for the operator; any thread */
    void *user;
};

/* Reads what the directory holds into st, which must be empty, and keeps st from now on. err: file,
 * line and remedy. */
simplex_rc sx_persist_open(const struct sx_persist_cfg *cfg, struct sx_store *st,
                           struct sx_errtext *err) SIMPLEX_CHECK;
/* Writes what is not in the journal: notifications, and messages when they are kept in memory. */
simplex_rc sx_persist_save(struct sx_store *st, struct sx_errtext *err) SIMPLEX_CHECK;
/* Commits, saves messages that are kept in memory, and lets go of st. Nothing may run any more. Not
 * OK: something could not be written (the log says what); files of before are as they were. */
simplex_rc sx_persist_close(struct sx_store *st);

/* ---- when an answer may leave; no lock needed ---- */

/* The stamp of what was staged up to now; 0 without persistence: durable at once. */
uint64_t sx_persist_stamp(struct sx_store *st);
enum sx_commit_state sx_persist_state(struct sx_store *st, uint64_t stamp);
/* As long as this is the same, sx_persist_state is. */
uint64_t sx_persist_settled(struct sx_store *st);
void sx_persist_request(struct sx_store *st);

/* ---- for statistics; no lock needed ---- */

struct sx_persist_figures {
    struct sx_commit_figures commits;
    uint64_t journal_bytes, journal_live_bytes; /* of messages on disk; live: that still wait */
    uint64_t loaded_ntfs;                       /* notifications found at the start */
    uint64_t log_bytes, log_base_bytes; /* of the store log; when it was last written anew */
    uint64_t compactions, compaction_failures, compaction_ms; /* of it, while the server ran */
};
/* False: nothing is kept. */
bool sx_persist_figures(struct sx_store *st, struct sx_persist_figures *out);

/* ---- recording; all set q->staged ---- */

bool sx_persist_create(struct sx_store *st, struct sx_queue *q) SIMPLEX_CHECK;
bool sx_persist_secure(struct sx_store *st, struct sx_queue *q,
                       const struct sx_pub *key) SIMPLEX_CHECK;
bool sx_persist_keys(struct sx_store *st, struct sx_queue *q, const struct sx_pub *key,
                     unsigned count) SIMPLEX_CHECK;
bool sx_persist_link(struct sx_store *st, struct sx_queue *q,
                     const struct sx_link *l) SIMPLEX_CHECK;
bool sx_persist_del_link(struct sx_store *st, struct sx_queue *q) SIMPLEX_CHECK;
bool sx_persist_notifier(struct sx_store *st, struct sx_queue *q,
                         const struct sx_notifier *n) SIMPLEX_CHECK;
bool sx_persist_del_notifier(struct sx_store *st, struct sx_queue *q) SIMPLEX_CHECK;
/* why: the fields `blocked` to `ttl` when the queue is blocked */
bool sx_persist_status(struct sx_store *st, struct sx_queue *q, enum sx_q_status status,
                       const struct sx_smp_err *why) SIMPLEX_CHECK;
bool sx_persist_delete(struct sx_store *st, struct sx_queue *q) SIMPLEX_CHECK;
/* The queue was used: recorded at most once a day. Never fails a command. */
void sx_persist_used(struct sx_store *st, struct sx_queue *q, int64_t now_ms);

/* A service, with its lock held; the queue (its notifier when ntf) is associated with svc, or with
 * none: NULL. */
bool sx_persist_service(struct sx_store *st, struct sx_service *svc) SIMPLEX_CHECK;
bool sx_persist_queue_service(struct sx_store *st, struct sx_queue *q, bool ntf,
                              const struct sx_service *svc) SIMPLEX_CHECK;

bool sx_persist_push(struct sx_store *st, struct sx_queue *q, struct sx_msg *m) SIMPLEX_CHECK;
bool sx_persist_pop(struct sx_store *st, struct sx_queue *q, struct sx_msg *m) SIMPLEX_CHECK;
/* While the state is loaded, no queue locked: writes the messages that were pushed, which makes
 * room for more. */
bool sx_persist_write(struct sx_store *st) SIMPLEX_CHECK;
void sx_persist_forget(struct sx_store *st, struct sx_queue *q, struct sx_msg *m);

#endif
