/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Housekeeping of the journal: the oldest segment goes when nothing in it lives, and what lives
 * long is copied out of it when more than half of the journal is dead, or little is spread over
 * many files. Only the oldest one ever goes: an acknowledgement stays on disk as long as there may
 * be a record of its message.
 */
#include "journal_internal.h"

#include <unistd.h>

#define COPY_BYTES (1u << 20) /* a call */
#define FEW_SEGMENTS 8

enum step { NOTHING, AGAIN, SYNC };

/* The unlinked file must not come back after a later one went. */
static enum step remove_oldest(struct sx_journal *j)
{
    struct sx_segment *s = j->old;

    if (sx_segment_unlink(j, s) != SIMPLEX_OK || fsync(j->dir_fd) != 0)
        return NOTHING; /* tried again at the next call */
    j->old = s->next;
    if (j->old == NULL)
        j->old_tail = NULL;
    j->old_bytes -= s->pos;
    sx_segment_free(s);
    return AGAIN;
}

/* Each start begins a segment, however short the one before is: while an old message lives, bytes
 * alone would let one file a start stay. What is copied fits into one segment, so this ends. */
static bool scattered(const struct sx_journal *j)
{
    const struct sx_segment *s = j->old;

    for (unsigned n = 0; s != NULL && n < FEW_SEGMENTS; n++)
        s = s->next;
    return s != NULL && j->live_bytes <= j->size - SX_SEGMENT_HEADER;
}

static bool worth_copying(const struct sx_journal *j)
{
    uint64_t total = j->old_bytes, most = 2 * j->live_bytes;

    if (j->old->number <= j->evacuate || scattered(j))
        return true;
    for (const struct sx_segment *s = j->open; s != NULL; s = s->next)
        total += s->pos;
    return total > (most > 4 * (uint64_t)j->size ? most : 4 * (uint64_t)j->size);
}

/* The copies are operations like any other, with the seq they had. */
static enum step copy_oldest(struct sx_journal *j)
{
    size_t bytes = 0;

    for (struct sx_msg *m = j->old->live; m != NULL && bytes < COPY_BYTES; m = m->journal.next) {
        if (!sx_journal_readd(j, m))
            break; /* no room, no memory: what there is of it is something */
        bytes += sx_record_size(m->len);
    }
    simplex_rc rc = sx_journal_write(j);
    if (rc != SIMPLEX_OK)
        sx_journal_fail(j, rc, "written");
    return rc == SIMPLEX_OK && bytes > 0 ? AGAIN : NOTHING;
}

static enum step tidy(struct sx_journal *j)
{
    struct sx_segment *s = j->old;
    bool failed = atomic_load(&j->failed);

    if (s == NULL)
        return NOTHING;
    if (s->count == 0 && s->empty_epoch <= j->durable_epoch)
        return remove_oldest(j);
    if (failed)
        return NOTHING;
    if (s->count == 0)
        return SYNC;
    return worth_copying(j) ? copy_oldest(j) : NOTHING;
}

/* Without one no more messages are taken than fit into the current segment: who runs the server
 * should know before that, and when it is over. */
static void keep_spare(struct sx_journal *j)
{
    pthread_mutex_lock(&j->spare_lock);
    bool spare = j->spares != NULL;
    pthread_mutex_unlock(&j->spare_lock);
    bool full = !spare && sx_spare_make(j, true) != SIMPLEX_OK;

    if (full && !j->full)
        sx_journal_warn(j,
                        "no room for another file of messages (%" PRIu32 " MiB) in %s: soon none "
                        "will be taken; free space on its disk",
                        j->size >> 20, j->dir);
    else if (!full && j->full)
        sx_journal_warn(j, "there is room for messages in %s again", j->dir);
    j->full = full;
}

bool sx_journal_tidy(struct sx_journal *j)
{
    if (!atomic_load(&j->failed))
        keep_spare(j);
    pthread_mutex_lock(&j->lock);
    enum step step = tidy(j);
    pthread_mutex_unlock(&j->lock);
    return step == AGAIN || (step == SYNC && sx_journal_sync(j) == SIMPLEX_OK);
}
