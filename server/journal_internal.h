/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the journal: segments, records, and the structure itself. docs/architecture.md tells why
 * it survives a crash.
 *
 * A segment is written as spare.N first and gets its number only when it is synced: header and
 * records are durable before there is a file 0000000042.seg. Its header says how long the segment
 * before it is, so that what lies behind there, written but never synced, does not count.
 */
#ifndef SX_JOURNAL_INTERNAL_H
#define SX_JOURNAL_INTERNAL_H

#include <pthread.h>
#include <sys/uio.h>

#include "journal.h"

#define SX_SEGMENT_MIN (64u << 10)
#define SX_SEGMENT_MAX (1u << 30) /* offsets are 32 bits */
#define SX_SEGMENT_HEADER 64u
#define SX_RECORD_HEADER 96u
#define SX_BODY_MAX 16088u /* of SEND, in the oldest version (section 6.2) */
#define SX_RECORD_MAX (SX_RECORD_HEADER + SX_BODY_MAX)
#define SX_SALT_LEN 16
#define SX_SEGMENT_NAME 24 /* room for the longest name */
_Static_assert(SX_BODY_MAX % 8 == 0, "the longest record needs no padding");

/* ---- records (journal_record.c) ---- */

enum sx_record_type { SX_RECORD_ADD = 1, SX_RECORD_DEL, SX_RECORD_MARK };

struct sx_record {
    uint8_t type;
    bool quota, notify;
    uint16_t len;    /* of the body that follows */
    uint32_t synced; /* so much of this segment was durable when the record was written */
    uint64_t seq;
    int64_t ts_ms;
    uint8_t rid[SX_ID_LEN];
    uint8_t id[SX_ID_LEN];
    uint64_t hash; /* of the body */
};

struct sx_segment_header {
    uint32_t number;
    uint32_t prev, prev_end; /* the segment before, and so much of it counts; 0: there is none */
    uint32_t synced;         /* so much of this one was durable when it got its number */
    uint8_t salt[SX_SALT_LEN];
};

static inline uint32_t sx_record_size(size_t body)
{
    return (uint32_t)(SX_RECORD_HEADER + (body + 7) / 8 * 8);
}
uint64_t sx_record_hash(const uint8_t *id, simplex_bytes body);
/* `at`: where the record is in the segment, whose salt it is. */
void sx_record_encode(const struct sx_record *r, const uint8_t *salt, uint32_t at,
                      uint8_t to[SX_RECORD_HEADER]);
/* False: no header of a record of this segment at this place. The body is not looked at. */
bool sx_record_decode(const uint8_t from[SX_RECORD_HEADER], const uint8_t *salt, uint32_t at,
                      struct sx_record *r);
void sx_segment_encode(const struct sx_segment_header *h, uint8_t to[SX_SEGMENT_HEADER]);
/* OK, E_DB_DAMAGED, or E_DB_SCHEMA when a newer version wrote it. */
simplex_rc sx_segment_decode(const uint8_t from[SX_SEGMENT_HEADER], struct sx_segment_header *h);

/* ---- segments ---- */

struct sx_segment {
    struct sx_segment *next;
    int fd;          /* -1: closed */
    uint32_t number; /* 0: has none yet. By the committing thread */
    uint32_t spare;  /* its name while it has none */
    uint32_t pos;    /* written up to here */
    uint32_t durable;
    uint32_t target; /* durable after the sync that is running. By the committing thread */
    uint8_t salt[SX_SALT_LEN];
    struct sx_msg *live; /* its messages that live, newest first */
    size_t count;
    uint64_t empty_epoch; /* when the last of them died */
    bool unlinked;        /* its file is gone; that may not be on disk yet */
};

/* ---- operations ---- */

struct sx_op {
    struct sx_op *next;
    struct sx_msg *m; /* referenced */
    bool del;
};

struct sx_ops {
    struct sx_op *head, *tail;
};

static inline uint32_t sx_op_size(const struct sx_op *op)
{
    return sx_record_size(op->del ? 0 : op->m->len);
}
void sx_ops_push(struct sx_ops *l, struct sx_op *op);
struct sx_op *sx_ops_pop(struct sx_ops *l);                  /* NULL: empty */
void sx_ops_append(struct sx_ops *l, struct sx_ops *more);   /* leaves more empty */
void sx_ops_prepend(struct sx_ops *l, struct sx_ops *first); /* leaves first empty */
void sx_ops_free(struct sx_ops *l);

#define SX_JOURNAL_BATCH 256 /* records a system call */

struct sx_stage { /* under the lock of the stripe */
    struct sx_ops ops;
    struct sx_msg *forgotten;
};

struct sx_journal {
    char *dir;
    int dir_fd, lock_fd;
    uint32_t size; /* of a segment */
    pthread_mutex_t *stripes;
    void (*warn)(void *user, const char *text);
    void *user;
    int (*sync_fd)(int fd);

    struct sx_stage stage[SX_STORE_SHARDS];
    atomic_uint_least64_t dirty;     /* a bit a stripe with something staged */
    atomic_uint_least64_t forgetful; /* and with something forgotten */
    atomic_uint_least64_t seq;       /* of the next message */
    atomic_bool failed;
    /* Bytes that can still be staged: what is left of the current segment and the spares, less
     * what is staged. Each segment counts with sx_segment_room, since it may end with a gap. */
    atomic_int_least64_t room;

    pthread_mutex_t lock;              /* for everything up to the spares */
    struct sx_msg *noted;              /* forgotten: sx_journal_note_forgotten */
    struct sx_ops todo;                /* collected, to be written */
    struct sx_ops unsynced;            /* written, not known to be durable */
    struct sx_ops syncing;             /* the same, a sync of them is running */
    struct sx_segment *old, *old_tail; /* durable, the oldest first */
    struct sx_segment *open, *cur;     /* not yet durable ones; the last is written to */
    uint64_t old_bytes, live_bytes;
    uint64_t epoch, durable_epoch; /* counts syncs: what happened in epoch 5 is durable with it */
    simplex_rc failed_rc;
    bool broken;       /* an error was met in the open segments: they must not be used any more */
    uint32_t evacuate; /* segments up to this one are damaged: copied and deleted */
    uint8_t head[SX_JOURNAL_BATCH][SX_RECORD_HEADER];
    struct iovec iov[SX_JOURNAL_BATCH * 3];

    bool full;                      /* and told so. Committing thread */
    uint32_t last_number, last_end; /* of the last segment with a number. Committing thread */
    bool left; /* the last one found at the start is not known to be on disk. Committing thread */

    pthread_mutex_t spare_lock; /* innermost, for the spares */
    struct sx_segment *spares;
    unsigned spare_count;
    uint32_t spare_id;
    bool spare_failed; /* no disk for another one: tidy tries again */
};

/* What a segment is good for at least. */
static inline int64_t sx_segment_room(const struct sx_journal *j)
{
    return (int64_t)j->size - SX_SEGMENT_HEADER - SX_RECORD_MAX;
}

static inline void sx_journal_lend(struct sx_journal *j, int64_t n)
{
    atomic_fetch_add_explicit(&j->room, n, memory_order_relaxed);
}

void sx_journal_warn(struct sx_journal *j, const char *fmt, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 2, 3)))
#endif
    ;

/* ---- journal_file.c ---- */

simplex_rc sx_journal_errno(int error); /* E_DB_FULL or E_DB_IO */
void sx_segment_name(uint32_t number, char to[SX_SEGMENT_NAME]);
/* Makes, opens and locks the directory; removes spares of another life. */
simplex_rc sx_journal_open_dir(struct sx_journal *j, struct sx_errtext *err) SIMPLEX_CHECK;
void sx_journal_close_dir(struct sx_journal *j);
/* One more spare segment, allocated on disk. force: also when it failed last time, or there are
 * many. */
simplex_rc sx_spare_make(struct sx_journal *j, bool force);
/* The oldest spare, or a new one; E_DB_FULL, E_DB_IO, E_NOMEM. */
simplex_rc sx_spare_take(struct sx_journal *j, struct sx_segment **out) SIMPLEX_CHECK;
/* Writes the header, syncs, gives it its number; durable up to `target` then. */
simplex_rc sx_segment_publish(struct sx_journal *j, struct sx_segment *s, uint32_t prev,
                              uint32_t prev_end) SIMPLEX_CHECK;
simplex_rc sx_segment_write(struct sx_segment *s, struct iovec *iov, size_t n,
                            uint32_t at) SIMPLEX_CHECK;
/* Of one whose file is closed. */
simplex_rc sx_segment_sync_closed(struct sx_journal *j, const struct sx_segment *s) SIMPLEX_CHECK;
void sx_segment_cut(struct sx_segment *s, uint32_t end); /* gives back the rest, if it can */
void sx_segment_cut_closed(struct sx_journal *j, const struct sx_segment *s); /* at its pos */
void sx_segment_free(struct sx_segment *s);
simplex_rc sx_segment_unlink(struct sx_journal *j, struct sx_segment *s);

/* ---- journal.c ---- */

/* Writes m once more, into the current segment, with the lock of the journal. False: no room, no
 * memory. */
bool sx_journal_readd(struct sx_journal *j, struct sx_msg *m) SIMPLEX_CHECK;

/* ---- journal_write.c; with the lock of the journal ---- */

void sx_journal_live(struct sx_journal *j, struct sx_segment *s, struct sx_msg *m);
void sx_journal_die(struct sx_journal *j, struct sx_msg *m);
void sx_journal_collect(struct sx_journal *j);
simplex_rc sx_journal_write(struct sx_journal *j) SIMPLEX_CHECK;
void sx_journal_fail(struct sx_journal *j, simplex_rc rc, const char *what);

/* ---- journal_sync.c; without the lock, by the committing thread ---- */

void sx_journal_retire(struct sx_journal *j, struct sx_segment *s); /* with the lock */
/* Everything written becomes durable. */
simplex_rc sx_journal_sync_open(struct sx_journal *j) SIMPLEX_CHECK;

/* ---- journal_scan.c ---- */

struct sx_found { /* what lives, by seq; `in` of each is where it was found, not yet counted */
    struct sx_msg **msg;
    size_t count;
};
/* Reads all segments into j->old. On success the caller frees found->msg. */
simplex_rc sx_journal_scan(struct sx_journal *j, bool skip_damage, struct sx_errtext *err,
                           struct sx_found *found) SIMPLEX_CHECK;

#endif
