/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From what is staged to what is written: collect and write; and what lives in which segment.
 */
#include "journal_internal.h"

#include <stdarg.h>

void sx_journal_warn(struct sx_journal *j, const char *fmt, ...)
{
    char text[1024];
    va_list ap;

    if (j->warn == NULL)
        return;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    j->warn(j->user, text);
}

/* ---- lists of operations ---- */

void sx_ops_push(struct sx_ops *l, struct sx_op *op)
{
    op->next = NULL;
    if (l->tail == NULL)
        l->head = op;
    else
        l->tail->next = op;
    l->tail = op;
}

struct sx_op *sx_ops_pop(struct sx_ops *l)
{
    struct sx_op *op = l->head;

    if (op == NULL)
        return NULL;
    l->head = op->next;
    if (l->head == NULL)
        l->tail = NULL;
    return op;
}

void sx_ops_append(struct sx_ops *l, struct sx_ops *more)
{
    if (more->head == NULL)
        return;
    if (l->tail == NULL)
        l->head = more->head;
    else
        l->tail->next = more->head;
    l->tail = more->tail;
    *more = (struct sx_ops){ NULL, NULL };
}

void sx_ops_prepend(struct sx_ops *l, struct sx_ops *first)
{
    sx_ops_append(first, l);
    *l = *first;
    *first = (struct sx_ops){ NULL, NULL };
}

static void free_op(struct sx_op *op)
{
    sx_msg_unref(op->m);
    sx_free(op);
}

void sx_ops_free(struct sx_ops *l)
{
    struct sx_op *op;

    while ((op = sx_ops_pop(l)) != NULL)
        free_op(op);
}

/* ---- life ---- */

static void take_out(struct sx_journal *j, struct sx_msg *m)
{
    struct sx_segment *s = m->journal.in;

    if (m->journal.prev == NULL)
        s->live = m->journal.next;
    else
        m->journal.prev->journal.next = m->journal.next;
    if (m->journal.next != NULL)
        m->journal.next->journal.prev = m->journal.prev;
    m->journal.prev = m->journal.next = NULL;
    m->journal.in = NULL;
    j->live_bytes -= sx_record_size(m->len);
    if (--s->count == 0)
        s->empty_epoch = j->epoch;
}

/* m lives in s now; if it lived elsewhere, that was copied. */
void sx_journal_live(struct sx_journal *j, struct sx_segment *s, struct sx_msg *m)
{
    if (m->journal.in != NULL)
        take_out(j, m);
    else
        (void)sx_msg_ref(m);
    m->journal.in = s;
    m->journal.prev = NULL;
    m->journal.next = s->live;
    if (s->live != NULL)
        s->live->journal.prev = m;
    s->live = m;
    s->count++;
    j->live_bytes += sx_record_size(m->len);
}

void sx_journal_die(struct sx_journal *j, struct sx_msg *m)
{
    if (m->journal.in == NULL)
        return;
    take_out(j, m);
    sx_msg_unref(m);
}

/* ---- collecting ---- */

static void collect_stripe(struct sx_journal *j, unsigned i)
{
    struct sx_stage *stage = &j->stage[i];

    pthread_mutex_lock(&j->stripes[i]);
    struct sx_ops ops = stage->ops;
    stage->ops = (struct sx_ops){ NULL, NULL };
    pthread_mutex_unlock(&j->stripes[i]);

    for (struct sx_op *op = ops.head; op != NULL; op = op->next) {
        if (op->del) {
            op->m->journal.gone = true;
            sx_journal_die(j, op->m);
        }
    }
    sx_ops_append(&j->todo, &ops);
}

void sx_journal_collect(struct sx_journal *j)
{
    uint64_t dirty = atomic_exchange_explicit(&j->dirty, 0, memory_order_acq_rel);

    for (unsigned i = 0; dirty != 0; i++, dirty >>= 1)
        if ((dirty & 1) != 0)
            collect_stripe(j, i);
}

/* ---- forgetting ---- */

static void note_stripe(struct sx_journal *j, unsigned i)
{
    struct sx_stage *stage = &j->stage[i];

    pthread_mutex_lock(&j->stripes[i]);
    struct sx_msg *m = stage->forgotten;
    stage->forgotten = NULL;
    pthread_mutex_unlock(&j->stripes[i]);
    while (m != NULL) {
        struct sx_msg *next = m->journal.forgotten;
        m->journal.forgotten = j->noted;
        j->noted = m;
        m = next;
    }
}

void sx_journal_note_forgotten(struct sx_journal *j)
{
    uint64_t stripes = atomic_exchange_explicit(&j->forgetful, 0, memory_order_acq_rel);

    pthread_mutex_lock(&j->lock);
    for (unsigned i = 0; stripes != 0; i++, stripes >>= 1)
        if ((stripes & 1) != 0)
            note_stripe(j, i);
    pthread_mutex_unlock(&j->lock);
}

void sx_journal_let_go(struct sx_journal *j)
{
    pthread_mutex_lock(&j->lock);
    while (j->noted != NULL) {
        struct sx_msg *m = j->noted;
        j->noted = m->journal.forgotten;
        m->journal.gone = true;
        sx_journal_die(j, m);
        sx_msg_unref(m);
    }
    pthread_mutex_unlock(&j->lock);
}

/* ---- writing ---- */

/* A message that went before it was written needs no record, nor one that says it went. */
static bool needless(const struct sx_op *op)
{
    return op->del ? !op->m->journal.written : op->m->journal.gone;
}

static size_t encode(struct sx_journal *j, const struct sx_op *op, size_t nth, uint32_t at,
                     struct iovec *iov)
{
    static const uint8_t zeros[8];
    struct sx_msg *m = op->m;
    struct sx_record r = { .type = op->del ? SX_RECORD_DEL : SX_RECORD_ADD,
                           .synced = j->cur->durable,
                           .seq = m->journal.seq,
                           .ts_ms = m->ts_ms };
    size_t n = 0;

    memcpy(r.rid, m->journal.rid, SX_ID_LEN);
    memcpy(r.id, m->id, SX_ID_LEN);
    if (!op->del) {
        r.quota = m->quota;
        r.notify = m->notify;
        r.len = m->len;
        r.hash = m->journal.hash;
        m->journal.written = true;
    }
    sx_record_encode(&r, j->cur->salt, at, j->head[nth]);
    iov[n++] = (struct iovec){ j->head[nth], SX_RECORD_HEADER };
    if (r.len > 0)
        iov[n++] = (struct iovec){ m->body, r.len };
    if (r.len % 8 != 0) /* only read from */
        iov[n++] = (struct iovec){ (void *)(uintptr_t)zeros, 8 - r.len % 8 };
    return n;
}

/* The current segment is full: the next one is written to. It gets its number when it is synced,
 * after the current one was. */
static simplex_rc rotate(struct sx_journal *j)
{
    struct sx_segment *s;
    simplex_rc rc = sx_spare_take(j, &s);

    if (rc != SIMPLEX_OK)
        return rc;
    /* It held more than it had to. */
    sx_journal_lend(j, (int64_t)j->cur->pos - SX_SEGMENT_HEADER - sx_segment_room(j));
    j->cur->next = s;
    j->cur = s;
    return SIMPLEX_OK;
}

/* Takes what fits into one system call and the segment. */
static size_t fill(struct sx_journal *j, struct sx_ops *batch, uint32_t *pos, size_t *iovs)
{
    struct sx_op *op;
    size_t n = 0;

    *pos = j->cur->pos;
    *iovs = 0;
    while ((op = j->todo.head) != NULL && n < SX_JOURNAL_BATCH) {
        uint32_t size = sx_op_size(op);
        if (needless(op)) {
            sx_journal_lend(j, size);
            free_op(sx_ops_pop(&j->todo));
            continue;
        }
        if (size > j->size - *pos)
            break;
        *iovs += encode(j, op, n++, *pos, &j->iov[*iovs]);
        *pos += size;
        sx_ops_push(batch, sx_ops_pop(&j->todo));
    }
    return n;
}

static simplex_rc write_batch(struct sx_journal *j)
{
    struct sx_ops batch = { NULL, NULL };
    uint32_t pos;
    size_t iovs;

    if (fill(j, &batch, &pos, &iovs) == 0)
        return j->todo.head == NULL ? SIMPLEX_OK : rotate(j);
    simplex_rc rc = sx_segment_write(j->cur, j->iov, iovs, j->cur->pos);
    if (rc != SIMPLEX_OK) {
        sx_ops_prepend(&j->todo, &batch);
        return rc;
    }
    j->cur->pos = pos;
    for (struct sx_op *op = batch.head; op != NULL; op = op->next)
        if (!op->del)
            sx_journal_live(j, j->cur, op->m);
    sx_ops_append(&j->unsynced, &batch);
    return SIMPLEX_OK;
}

simplex_rc sx_journal_write(struct sx_journal *j)
{
    simplex_rc rc = SIMPLEX_OK;

    while (rc == SIMPLEX_OK && j->todo.head != NULL)
        rc = write_batch(j);
    return rc;
}

void sx_journal_fail(struct sx_journal *j, simplex_rc rc, const char *what)
{
    j->failed_rc = rc;
    j->broken = true;
    if (!atomic_exchange(&j->failed, true))
        sx_journal_warn(j,
                        "messages in %s cannot be %s (%s): none is taken until that succeeds; %s",
                        j->dir, what, sx_file_rc_text(rc),
                        rc == SIMPLEX_E_DB_FULL ? "free space on its disk" : "check its disk");
}

simplex_rc sx_journal_flush(struct sx_journal *j)
{
    simplex_rc rc;

    pthread_mutex_lock(&j->lock);
    sx_journal_collect(j); /* also after a failure: what was acknowledged need not be kept */
    if (atomic_load(&j->failed)) {
        rc = j->failed_rc;
    } else {
        rc = sx_journal_write(j);
        if (rc != SIMPLEX_OK)
            sx_journal_fail(j, rc, "written");
    }
    pthread_mutex_unlock(&j->lock);
    return rc;
}
