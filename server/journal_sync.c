/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From what is written to what is durable, and what to do when that fails. All of it runs in the
 * committing thread, which alone gives numbers to segments.
 */
#include "journal_internal.h"

#include <errno.h>
#include <unistd.h>

/* ---- syncing ---- */

/* A process that was killed may have written what it never synced. It was read, so it counts from
 * now on: the header of the next segment will say so. */
static simplex_rc sync_left(struct sx_journal *j)
{
    simplex_rc rc = SIMPLEX_OK;

    if (j->left && j->old_tail != NULL)
        rc = sx_segment_sync_closed(j, j->old_tail);
    if (rc == SIMPLEX_OK)
        j->left = false;
    return rc;
}

/* Outside the lock: the segments up to `last` do not move meanwhile, since only this thread takes
 * one from the front of the list. */
static simplex_rc sync_segments(struct sx_journal *j, struct sx_segment *s,
                                const struct sx_segment *last)
{
    simplex_rc rc = sync_left(j);

    for (; rc == SIMPLEX_OK; s = s->next) {
        if (s->number == 0)
            rc = sx_segment_publish(j, s, j->last_number, j->last_end);
        else if (s->target != j->last_end && j->sync_fd(s->fd) != 0)
            rc = sx_journal_errno(errno);
        if (rc == SIMPLEX_OK) {
            j->last_number = s->number;
            j->last_end = s->target;
        }
        if (s == last)
            break;
    }
    return rc;
}

/* It is durable up to its end and needs its open file no more. */
void sx_journal_retire(struct sx_journal *j, struct sx_segment *s)
{
    if (s->fd >= 0)
        (void)close(s->fd);
    s->fd = -1;
    if (j->old_tail == NULL)
        j->old = s;
    else
        j->old_tail->next = s;
    j->old_tail = s;
    j->old_bytes += s->pos;
}

/* Segments before `last` are full. */
static void retire_full(struct sx_journal *j, const struct sx_segment *last)
{
    while (j->open != last) {
        struct sx_segment *s = j->open;
        j->open = s->next;
        s->next = NULL;
        sx_journal_retire(j, s);
    }
}

simplex_rc sx_journal_sync_open(struct sx_journal *j)
{
    pthread_mutex_lock(&j->lock);
    uint64_t epoch = j->epoch++;
    struct sx_segment *first = j->open, *last = j->cur;
    bool needed = j->unsynced.head != NULL || first != last || last->number == 0;
    for (struct sx_segment *s = first; s != NULL; s = s->next)
        s->target = s->pos;
    sx_ops_append(&j->syncing, &j->unsynced);
    pthread_mutex_unlock(&j->lock);

    simplex_rc rc = needed ? sync_segments(j, first, last) : SIMPLEX_OK;

    pthread_mutex_lock(&j->lock);
    struct sx_ops done = { NULL, NULL };
    if (rc == SIMPLEX_OK) {
        sx_ops_append(&done, &j->syncing);
        retire_full(j, last);
        last->durable = last->target;
        j->durable_epoch = epoch;
    } else {
        sx_ops_prepend(&j->unsynced, &j->syncing);
        sx_journal_fail(j, rc, "synced");
    }
    pthread_mutex_unlock(&j->lock);
    sx_ops_free(&done);
    return rc;
}

simplex_rc sx_journal_sync(struct sx_journal *j)
{
    simplex_rc rc = sx_journal_flush(j);

    return rc == SIMPLEX_OK ? sx_journal_sync_open(j) : rc;
}

/* ---- after a failure ---- */

/* What was not durable is written again: it is back among what is to be written. Its room was
 * used up. */
static void write_again(struct sx_journal *j)
{
    for (struct sx_op *op = j->unsynced.head; op != NULL; op = op->next) {
        sx_journal_lend(j, -(int64_t)sx_op_size(op));
        if (!op->del)
            sx_journal_die(j, op->m); /* until it is written */
    }
    sx_ops_prepend(&j->todo, &j->unsynced);
}

/*
 * No file is used any more after an error: after a failed sync the system may have dropped what
 * it could not write, and say that all is well the next time. Of those that have their number,
 * what was durable counts; the header of the next segment will say so.
 */
static void abandon(struct sx_journal *j)
{
    struct sx_segment *s;

    write_again(j);
    /* What was left of the current segment is no room any more. */
    sx_journal_lend(j, (int64_t)j->cur->pos - SX_SEGMENT_HEADER - sx_segment_room(j));
    while ((s = j->open) != NULL) {
        j->open = s->next;
        s->next = NULL;
        if (s->number == 0 || s->number > j->last_number) {
            (void)sx_segment_unlink(j, s); /* one that stays is overwritten or ignored */
            sx_segment_free(s);
            continue;
        }
        if (s->number == j->last_number)
            s->pos = j->last_end;
        sx_segment_cut(s, s->pos);
        sx_journal_retire(j, s);
    }
    j->cur = NULL;
}

/* A segment to write to, and room for all that has to be written. */
static simplex_rc make_room(struct sx_journal *j)
{
    simplex_rc rc = SIMPLEX_OK;

    if (j->cur == NULL) {
        rc = sx_spare_take(j, &j->cur);
        j->open = j->cur;
    }
    while (rc == SIMPLEX_OK && atomic_load(&j->room) < 0)
        rc = sx_spare_make(j, true);
    return rc;
}

simplex_rc sx_journal_recover(struct sx_journal *j)
{
    simplex_rc rc = SIMPLEX_OK;

    pthread_mutex_lock(&j->lock);
    bool failed = atomic_load(&j->failed);
    if (failed) {
        if (j->broken && j->cur != NULL)
            abandon(j);
        j->broken = false;
        sx_journal_collect(j);
        rc = make_room(j);
        if (rc == SIMPLEX_OK && (rc = sx_journal_write(j)) != SIMPLEX_OK)
            sx_journal_fail(j, rc, "written");
    }
    pthread_mutex_unlock(&j->lock);
    if (!failed)
        return sx_journal_sync(j);
    if (rc == SIMPLEX_OK)
        rc = sx_journal_sync_open(j);
    if (rc == SIMPLEX_OK) {
        atomic_store(&j->failed, false);
        sx_journal_warn(j, "messages in %s are written again", j->dir);
    }
    return rc;
}
