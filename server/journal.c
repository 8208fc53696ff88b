/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing the journal, and staging: the part of it on the path of messages. */
#include "journal_internal.h"

#include <unistd.h>

/* ---- staging ---- */

/* Room that only acknowledgements may use: without it nothing could leave a full disk. */
static int64_t slack(const struct sx_journal *j)
{
    return j->size / 16;
}

static bool reserve(struct sx_journal *j, int64_t size, int64_t keep)
{
    int64_t have = atomic_load_explicit(&j->room, memory_order_relaxed);

    while (have - size >= keep)
        if (atomic_compare_exchange_weak_explicit(&j->room, &have, have - size,
                                                  memory_order_relaxed, memory_order_relaxed))
            return true;
    return false;
}

/* Much is staged at once: more spares, so that false means a full disk. */
static bool reserve_or_grow(struct sx_journal *j, int64_t size)
{
    while (!reserve(j, size, slack(j)))
        if (sx_spare_make(j, false) != SIMPLEX_OK)
            return false;
    return true;
}

static bool in_order(const struct sx_journal *j)
{
    return !atomic_load_explicit(&j->failed, memory_order_relaxed);
}

bool sx_journal_room(struct sx_journal *j, size_t n)
{
    if (n > SX_BODY_MAX || !in_order(j) || !reserve_or_grow(j, sx_record_size(n)))
        return false;
    sx_journal_lend(j, sx_record_size(n));
    return true;
}

static struct sx_op *make_op(struct sx_msg *m, bool del)
{
    struct sx_op *op = sx_malloc(sizeof(*op));

    if (op != NULL)
        *op = (struct sx_op){ .m = sx_msg_ref(m), .del = del };
    return op;
}

static void mark_dirty(struct sx_journal *j, unsigned stripe)
{
    atomic_fetch_or_explicit(&j->dirty, UINT64_C(1) << stripe, memory_order_acq_rel);
}

bool sx_journal_add(struct sx_journal *j, unsigned stripe, const uint8_t *rid, struct sx_msg *m)
{
    int64_t size = sx_record_size(m->len);

    if (m->len > SX_BODY_MAX || !in_order(j))
        return false;
    if (!reserve_or_grow(j, size))
        return false;
    struct sx_op *op = make_op(m, false);
    if (op == NULL) {
        sx_journal_lend(j, size);
        return false;
    }
    m->journal = (struct sx_journaled){ .prev = NULL };
    m->journal.seq = atomic_fetch_add_explicit(&j->seq, 1, memory_order_relaxed);
    m->journal.hash = sx_record_hash(m->id, sx_bytes(m->body, m->len));
    memcpy(m->journal.rid, rid, SX_ID_LEN);
    sx_ops_push(&j->stage[stripe].ops, op);
    mark_dirty(j, stripe);
    return true;
}

bool sx_journal_readd(struct sx_journal *j, struct sx_msg *m)
{
    int64_t size = sx_record_size(m->len);

    if (!reserve_or_grow(j, size))
        return false;
    struct sx_op *op = make_op(m, false);
    if (op == NULL) {
        sx_journal_lend(j, size);
        return false;
    }
    sx_ops_push(&j->todo, op);
    return true;
}

bool sx_journal_del(struct sx_journal *j, unsigned stripe, struct sx_msg *m)
{
    int64_t size = sx_record_size(0);

    if (!in_order(j) || !reserve(j, size, 0))
        return false;
    struct sx_op *op = make_op(m, true);
    if (op == NULL) {
        sx_journal_lend(j, size);
        return false;
    }
    sx_ops_push(&j->stage[stripe].ops, op);
    mark_dirty(j, stripe);
    return true;
}

void sx_journal_forget(struct sx_journal *j, unsigned stripe, struct sx_msg *m)
{
    m->journal.forgotten = j->stage[stripe].forgotten;
    j->stage[stripe].forgotten = sx_msg_ref(m);
    atomic_fetch_or_explicit(&j->forgetful, UINT64_C(1) << stripe, memory_order_acq_rel);
}

/* ---- statistics ---- */

void sx_journal_size(struct sx_journal *j, uint64_t *total, uint64_t *live)
{
    pthread_mutex_lock(&j->lock);
    *total = j->old_bytes;
    for (const struct sx_segment *s = j->open; s != NULL; s = s->next)
        *total += s->pos;
    *live = j->live_bytes;
    pthread_mutex_unlock(&j->lock);
}

/* ---- opening ---- */

static void free_segments(struct sx_journal *j, struct sx_segment *s, bool remove)
{
    while (s != NULL) {
        struct sx_segment *next = s->next;
        while (s->live != NULL)
            sx_journal_die(j, s->live);
        if (remove)
            (void)sx_segment_unlink(j, s); /* one that stays is removed at the next start */
        sx_segment_free(s);
        s = next;
    }
}

/* Everything but the files and what is in them. */
static void destroy(struct sx_journal *j)
{
    sx_journal_note_forgotten(j);
    sx_journal_let_go(j);
    sx_ops_free(&j->todo);
    sx_ops_free(&j->unsynced);
    free_segments(j, j->old, false);
    free_segments(j, j->open, false);
    free_segments(j, j->spares, true);
    sx_journal_close_dir(j);
    pthread_mutex_destroy(&j->lock);
    pthread_mutex_destroy(&j->spare_lock);
    sx_free(j->dir);
    sx_free(j);
}

static simplex_rc create(const struct sx_journal_cfg *cfg, struct sx_journal **out)
{
    struct sx_journal *j = sx_calloc(1, sizeof(*j));

    if (j == NULL)
        return SIMPLEX_E_NOMEM;
    j->dir_fd = j->lock_fd = -1;
    j->size = cfg->segment_size == 0 ? SX_JOURNAL_SEGMENT : (uint32_t)cfg->segment_size;
    j->stripes = cfg->stripes;
    j->warn = cfg->warn;
    j->user = cfg->user;
    j->sync_fd = cfg->sync_fd != NULL ? cfg->sync_fd : fdatasync;
    j->epoch = 1;
    j->dir = sx_strdup(cfg->dir);
    if (j->dir == NULL) {
        sx_free(j);
        return SIMPLEX_E_NOMEM;
    }
    if (pthread_mutex_init(&j->lock, NULL) != 0 || pthread_mutex_init(&j->spare_lock, NULL) != 0) {
        sx_free(j->dir);
        sx_free(j);
        return SIMPLEX_E_SYSTEM;
    }
    *out = j;
    return SIMPLEX_OK;
}

/* The fresh segment. On a full disk the journal waits for recovery. */
static simplex_rc begin(struct sx_journal *j, struct sx_errtext *err)
{
    simplex_rc rc = sx_spare_take(j, &j->cur);

    j->open = j->cur;
    if (rc == SIMPLEX_OK)
        rc = sx_journal_sync_open(j);
    if (rc == SIMPLEX_E_DB_FULL) {
        sx_journal_fail(j, rc, "written");
        return SIMPLEX_OK;
    }
    if (rc != SIMPLEX_OK && rc != SIMPLEX_E_NOMEM) {
        sx_errtext_set(err,
                       "cannot write to the directory of messages %s: check its disk, and "
                       "that the server's user owns it",
                       j->dir);
        return SIMPLEX_E_SYSTEM;
    }
    if (rc == SIMPLEX_OK && j->old_tail != NULL)
        sx_segment_cut_closed(j, j->old_tail);
    return rc;
}

static void load(struct sx_journal *j, const struct sx_journal_cfg *cfg, struct sx_found *found)
{
    for (size_t i = 0; i < found->count; i++) {
        struct sx_msg *m = found->msg[i];
        struct sx_segment *s = m->journal.in;
        m->journal.in = NULL;
        sx_journal_live(j, s, m);
        if (!cfg->load(cfg->user, m->journal.rid, m)) {
            sx_journal_die(j, m);
            sx_msg_unref(m);
        }
    }
}

static simplex_rc start(struct sx_journal *j, const struct sx_journal_cfg *cfg,
                        struct sx_errtext *err)
{
    struct sx_found found = { NULL, 0 };
    simplex_rc rc = sx_journal_open_dir(j, err);

    if (rc == SIMPLEX_OK)
        rc = sx_journal_scan(j, cfg->skip_damage, err, &found);
    if (rc == SIMPLEX_OK)
        rc = begin(j, err);
    if (rc == SIMPLEX_OK)
        load(j, cfg, &found);
    else
        for (size_t i = 0; i < found.count; i++)
            sx_msg_unref(found.msg[i]);
    sx_free(found.msg);
    return rc;
}

simplex_rc sx_journal_open(const struct sx_journal_cfg *cfg, struct sx_errtext *err,
                           struct sx_journal **out)
{
    *out = NULL;
    if (cfg->segment_size != 0 &&
        (cfg->segment_size < SX_SEGMENT_MIN || cfg->segment_size > SX_SEGMENT_MAX))
        return SIMPLEX_E_ARG;
    struct sx_journal *j = NULL;
    simplex_rc rc = create(cfg, &j);
    if (rc == SIMPLEX_OK) {
        rc = start(j, cfg, err);
        if (rc == SIMPLEX_OK)
            *out = j;
        else
            destroy(j);
    }
    if (rc == SIMPLEX_E_NOMEM)
        sx_errtext_set(err, "not enough memory for the messages in %s", cfg->dir);
    return rc;
}

/* ---- closing ---- */

/* A record that only says how far the segment is durable: with it, damage anywhere before is told
 * from a write that was cut off. */
static void mark_end(struct sx_journal *j)
{
    uint8_t head[SX_RECORD_HEADER];
    struct sx_segment *s = j->cur;
    struct sx_record r = { .type = SX_RECORD_MARK, .synced = s->durable };
    struct iovec iov = { head, sizeof(head) };

    if (s->pos == SX_SEGMENT_HEADER || j->size - s->pos < sizeof(head))
        return;
    sx_record_encode(&r, s->salt, s->pos, head);
    if (sx_segment_write(s, &iov, 1, s->pos) == SIMPLEX_OK)
        s->pos += SX_RECORD_HEADER;
    sx_segment_cut(s, s->pos);
    (void)j->sync_fd(s->fd); /* nothing depends on it */
}

void sx_journal_close(struct sx_journal *j)
{
    if (j == NULL)
        return;
    simplex_rc rc = sx_journal_sync(j);
    if (rc != SIMPLEX_OK)
        rc = sx_journal_recover(j);
    if (rc == SIMPLEX_OK)
        mark_end(j);
    destroy(j);
}
