/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of a queue, quota, expiry; notifications that wait (protocol/smp.md section 7). */
#include "persist.h"
#include "queue_store.h"
#include "store_index.h"

struct sx_msg *sx_msg_ref(struct sx_msg *m)
{
    atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
    return m;
}

static size_t size_of(const struct sx_msg *m)
{
    return sizeof(*m) + m->len;
}

void sx_msg_unref(struct sx_msg *m)
{
    if (m == NULL || atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (m->counted != NULL)
        atomic_fetch_sub_explicit(m->counted, size_of(m), memory_order_relaxed);
    sx_free(m);
}

struct sx_msg *sx_msg_new(simplex_bytes body, int64_t ts_ms)
{
    struct sx_msg *m = sx_malloc(sizeof(*m) + body.len);

    if (m == NULL)
        return NULL;
    memset(m, 0, sizeof(*m));
    m->ts_ms = ts_ms;
    atomic_init(&m->refs, 1);
    m->len = (uint16_t)body.len; /* checked against the limit of the version by SEND */
    if (body.len > 0)
        memcpy(m->body, body.ptr, body.len);
    return m;
}

/*
 * Beyond the limit a sender is told what it is told about a full queue: to try again later. No
 * marker is left, as the recipient cannot make room. Several threads may go beyond it by a message
 * each.
 */
static bool memory_full(const struct sx_store *st)
{
    return st->memory != 0 &&
           atomic_load_explicit(&st->memory_used, memory_order_relaxed) >= st->memory;
}

/* Until nobody has it: clients that do not read what was sent to them must not make the server keep
 * messages that others have acknowledged meanwhile, without a limit. */
static void count_memory(struct sx_store *st, struct sx_msg *m)
{
    if (st->memory == 0)
        return;
    m->counted = &st->memory_used;
    atomic_fetch_add_explicit(m->counted, size_of(m), memory_order_relaxed);
}

static void append(struct sx_store *st, struct sx_queue *q, struct sx_msg *m)
{
    if (q->tail == NULL)
        q->head = m;
    else
        q->tail->next = m;
    q->tail = m;
    q->count++;
    q->full = m->quota;
    atomic_fetch_add_explicit(&st->messages, 1, memory_order_relaxed);
    count_memory(st, m);
}

enum sx_err sx_queue_push(struct sx_store *st, struct sx_queue *q, simplex_bytes body, bool notify,
                          int64_t now_ms, bool *first)
{
    *first = false;
    if (q->head == NULL)
        q->full = false;
    if (q->full || memory_full(st))
        return SX_ERR_QUOTA;
    bool over = q->count >= st->quota;
    struct sx_msg *m = sx_msg_new(over ? sx_bytes(NULL, 0) : body, now_ms);
    if (m == NULL)
        return SX_ERR_INTERNAL;
    m->quota = over;
    m->notify = notify && !over;
    sx_random(m->id, sizeof(m->id)); /* the nonce of the MSG body: never the same twice */
    if (!sx_persist_push(st, q, m)) {
        sx_msg_unref(m);
        return SX_ERR_INTERNAL;
    }
    *first = q->head == NULL;
    append(st, q, m);
    return over ? SX_ERR_QUOTA : SX_ERR_NONE;
}

void sx_queue_restore(struct sx_store *st, struct sx_queue *q, struct sx_msg *m)
{
    append(st, q, m);
}

static void pop_head(struct sx_store *st, struct sx_queue *q)
{
    struct sx_msg *m = q->head;

    q->head = m->next;
    if (q->head == NULL)
        q->tail = NULL;
    q->count--;
    atomic_fetch_sub_explicit(&st->messages, 1, memory_order_relaxed);
    sx_msg_unref(m);
}

enum sx_err sx_queue_pop(struct sx_store *st, struct sx_queue *q, const uint8_t *msg_id)
{
    if (q->head == NULL || memcmp(q->head->id, msg_id, SX_ID_LEN) != 0)
        return SX_ERR_NONE;
    if (!sx_persist_pop(st, q, q->head))
        return SX_ERR_INTERNAL;
    pop_head(st, q);
    return SX_ERR_NONE;
}

static void forget_head(struct sx_store *st, struct sx_queue *q)
{
    sx_persist_forget(st, q, q->head);
    pop_head(st, q);
}

void sx_queue_clear(struct sx_store *st, struct sx_queue *q)
{
    while (q->head != NULL)
        forget_head(st, q);
}

void sx_queue_expire(struct sx_store *st, struct sx_queue *q, int64_t now_ms)
{
    int64_t ttl_ms = atomic_load(&st->ttl_ms);

    if (ttl_ms < 0)
        return;
    while (q->head != NULL && !q->head->quota && now_ms - q->head->ts_ms > ttl_ms)
        forget_head(st, q);
}

/* ---- notifications ---- */

bool sx_notifier_add(struct sx_notifier *n, const struct sx_msg *msg)
{
    struct sx_ntf *ntf = sx_malloc(sizeof(*ntf));

    if (ntf == NULL)
        return false;
    ntf->next = NULL;
    ntf->ts_ms = msg->ts_ms;
    memcpy(ntf->msg_id, msg->id, sizeof(ntf->msg_id));
    if (n->tail == NULL)
        n->head = ntf;
    else
        n->tail->next = ntf;
    n->tail = ntf;
    if (++n->count > SX_STORE_NTF_MAX) {
        struct sx_ntf *oldest = n->head;
        n->head = oldest->next;
        n->count--;
        sx_free(oldest);
    }
    return true;
}

unsigned sx_notifier_expire(const struct sx_store *st, struct sx_notifier *n, int64_t now_ms)
{
    int64_t ttl_ms = atomic_load(&st->ntf_ttl_ms);
    unsigned expired = 0;

    for (; n->head != NULL && now_ms - n->head->ts_ms > ttl_ms; expired++) {
        struct sx_ntf *old = n->head;
        n->head = old->next;
        n->count--;
        sx_free(old);
    }
    if (n->head == NULL)
        n->tail = NULL;
    return expired;
}

struct sx_ntf *sx_notifier_take(struct sx_store *st, struct sx_notifier *n, int64_t now_ms)
{
    (void)sx_notifier_expire(st, n, now_ms);
    struct sx_ntf *list = n->head;
    n->head = n->tail = NULL;
    n->count = 0;
    return list;
}

void sx_ntf_free(struct sx_ntf *list)
{
    while (list != NULL) {
        struct sx_ntf *next = list->next;
        sx_free(list);
        list = next;
    }
}
