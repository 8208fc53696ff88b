/* SPDX-License-Identifier: Apache-2.0 */
/* Queues: creation, keys, status, links, notifiers, deletion. Messages are in store_msg.c. */
#include "queue_store.h"

#include "persist.h"
#include "services.h"
#include "store_index.h"

#define ID_TRIES 3 /* for random ids */

/* With the allocator's overhead and two places in the index it must stay below 400 bytes. */
_Static_assert(sizeof(struct sx_queue) <= 320, "an empty queue takes too much memory");

void sx_qstore_set_ttl(struct sx_store *st, const struct sx_qstore_cfg *cfg)
{
    atomic_store(&st->ttl_ms, cfg->ttl_ms == 0 ? SX_STORE_TTL_MS : cfg->ttl_ms);
    atomic_store(&st->ntf_ttl_ms, cfg->ntf_ttl_ms == 0 ? SX_STORE_NTF_TTL_MS : cfg->ntf_ttl_ms);
    atomic_store(&st->expire_on_send, !cfg->not_on_send);
}

simplex_rc sx_qstore_open(const struct sx_qstore_cfg *cfg, struct sx_store **out)
{
    struct sx_store *st = sx_calloc(1, sizeof(*st));

    *out = NULL;
    if (st == NULL)
        return SIMPLEX_E_NOMEM;
    simplex_rc rc = sx_index_init(st);
    if (rc != SIMPLEX_OK) {
        sx_free(st);
        return rc;
    }
    if ((rc = sx_services_open(cfg->services, &st->services)) != SIMPLEX_OK) {
        sx_index_free(st);
        sx_free(st);
        return rc;
    }
    st->memory = cfg->memory;
    st->quota = cfg->quota == 0 ? SX_STORE_QUOTA : cfg->quota;
    sx_qstore_set_ttl(st, cfg);
    *out = st;
    return SIMPLEX_OK;
}

static void close_shard(struct sx_store *st, unsigned shard)
{
    struct sx_queue *found[64];
    size_t n;
    size_t cursor = 0;

    while ((n = sx_qstore_walk(st, shard, &cursor, found, SX_COUNT(found))) > 0 || cursor != 0) {
        for (size_t i = 0; i < n; i++) {
            sx_queue_delete(st, found[i]);
            sx_queue_unref(found[i]);
        }
        cursor = 0; /* what was found is gone: the chains start anew */
    }
}

simplex_rc sx_qstore_close(struct sx_store *st)
{
    if (st == NULL)
        return SIMPLEX_OK;
    simplex_rc rc = sx_persist_close(st); /* from here on nothing is recorded */
    for (unsigned i = 0; i < SX_STORE_SHARDS; i++)
        close_shard(st, i);
    sx_services_close(st->services);
    sx_index_free(st);
    sx_free_secret(st, sizeof(*st));
    return rc;
}

size_t sx_qstore_queues(const struct sx_store *st)
{
    return atomic_load(&st->queues);
}

size_t sx_qstore_messages(const struct sx_store *st)
{
    return atomic_load(&st->messages);
}

void sx_queue_ref(struct sx_queue *q)
{
    atomic_fetch_add_explicit(&q->refs, 1, memory_order_relaxed);
}

void sx_queue_unref(struct sx_queue *q)
{
    if (q == NULL || atomic_fetch_sub_explicit(&q->refs, 1, memory_order_acq_rel) != 1)
        return;
    sx_free(q->keys);
    sx_free_secret(q, sizeof(*q));
}

void sx_queue_lock(struct sx_store *st, struct sx_queue *q)
{
    pthread_mutex_lock(&st->stripe[q->stripe]);
}

void sx_queue_unlock(struct sx_store *st, struct sx_queue *q)
{
    pthread_mutex_unlock(&st->stripe[q->stripe]);
}

/* Adds a node under the given id, or under a random one. */
static enum sx_err add_node(struct sx_store *st, enum sx_id_kind kind, struct sx_node *node,
                            const uint8_t *id)
{
    for (int i = 0; i < ID_TRIES; i++) {
        if (id != NULL)
            memcpy(node->id, id, SX_ID_LEN);
        else
            sx_random(node->id, SX_ID_LEN);
        switch (sx_index_add(st, kind, node)) {
        case SX_INDEX_ADDED:
            return SX_ERR_NONE;
        case SX_INDEX_NOMEM:
            return SX_ERR_INTERNAL;
        case SX_INDEX_TAKEN:
            if (id != NULL)
                return SX_ERR_AUTH;
        }
    }
    return SX_ERR_INTERNAL;
}

/* ---- links ---- */

static struct sx_link *make_link(struct sx_queue *q, simplex_bytes fixed, simplex_bytes user)
{
    struct sx_link *l = sx_malloc(sizeof(*l) + fixed.len + user.len);

    if (l == NULL)
        return NULL;
    l->q = q;
    l->fixed_len = (uint16_t)fixed.len; /* both came behind a u16 length */
    l->user_len = (uint16_t)user.len;
    if (fixed.len > 0)
        memcpy(l->data, fixed.ptr, fixed.len);
    if (user.len > 0)
        memcpy(l->data + fixed.len, user.ptr, user.len);
    return l;
}

static enum sx_err add_link(struct sx_store *st, struct sx_queue *q, const uint8_t *id,
                            simplex_bytes fixed, simplex_bytes user)
{
    struct sx_link *l = make_link(q, fixed, user);

    if (l == NULL)
        return SX_ERR_INTERNAL;
    enum sx_err e = add_node(st, SX_BY_LINK, &l->node, id);
    if (e != SX_ERR_NONE) {
        sx_free(l);
        return e;
    }
    q->link = l;
    return SX_ERR_NONE;
}

static void drop_link(struct sx_store *st, struct sx_queue *q)
{
    if (q->link == NULL)
        return;
    sx_index_remove(st, SX_BY_LINK, &q->link->node);
    sx_free(q->link);
    q->link = NULL;
}

enum sx_err sx_queue_del_link(struct sx_store *st, struct sx_queue *q)
{
    if (q->link != NULL && !sx_persist_del_link(st, q))
        return SX_ERR_INTERNAL;
    q->staged = true; /* it may have gone a moment ago */
    drop_link(st, q);
    return SX_ERR_NONE;
}

/* The id is taken first, so that nobody else can take it while the record is made. */
static enum sx_err add_and_record_link(struct sx_store *st, struct sx_queue *q, const uint8_t *id,
                                       simplex_bytes fixed, simplex_bytes user)
{
    enum sx_err e = add_link(st, q, id, fixed, user);

    if (e != SX_ERR_NONE || sx_persist_link(st, q, q->link))
        return e;
    drop_link(st, q);
    return SX_ERR_INTERNAL;
}

enum sx_err sx_queue_set_link(struct sx_store *st, struct sx_queue *q, simplex_bytes link_id,
                              simplex_bytes fixed, simplex_bytes user)
{
    if (link_id.len != SX_ID_LEN)
        return SX_ERR_AUTH;
    if (q->link == NULL)
        return add_and_record_link(st, q, link_id.ptr, fixed, user);
    if (memcmp(q->link->node.id, link_id.ptr, SX_ID_LEN) != 0 ||
        !sx_bytes_eq(sx_bytes(q->link->data, q->link->fixed_len), fixed))
        return SX_ERR_AUTH;
    struct sx_link *l = make_link(q, fixed, user);
    if (l == NULL)
        return SX_ERR_INTERNAL;
    memcpy(l->node.id, link_id.ptr, SX_ID_LEN);
    if (!sx_persist_link(st, q, l)) {
        sx_free(l);
        return SX_ERR_INTERNAL;
    }
    sx_index_replace(st, SX_BY_LINK, &q->link->node, &l->node);
    sx_free(q->link);
    q->link = l;
    return SX_ERR_NONE;
}

/* ---- notifiers ---- */

static enum sx_err new_notifier(struct sx_store *st, struct sx_queue *q, const uint8_t *id,
                                const struct sx_pub *key, const uint8_t secret[32],
                                struct sx_notifier **made)
{
    struct sx_notifier *n = sx_calloc(1, sizeof(*n));

    if (n == NULL)
        return SX_ERR_INTERNAL;
    n->q = q;
    n->key = *key;
    memcpy(n->secret, secret, sizeof(n->secret));
    enum sx_err e = add_node(st, SX_BY_NTF, &n->node, id);
    if (e != SX_ERR_NONE) {
        sx_free_secret(n, sizeof(*n));
        return e;
    }
    *made = n;
    return SX_ERR_NONE;
}

static void drop_notifier(struct sx_store *st, struct sx_notifier *n)
{
    if (n == NULL)
        return;
    sx_index_remove(st, SX_BY_NTF, &n->node);
    sx_ntf_free(n->head);
    sx_free_secret(n, sizeof(*n));
}

enum sx_err sx_queue_make_notifier(struct sx_store *st, struct sx_queue *q,
                                   const struct sx_pub *key, const uint8_t secret[32],
                                   struct sx_notifier **made)
{
    enum sx_err e = new_notifier(st, q, NULL, key, secret, made);

    if (e != SX_ERR_NONE || sx_persist_notifier(st, q, *made))
        return e;
    drop_notifier(st, *made);
    return SX_ERR_INTERNAL;
}

void sx_queue_put_notifier(struct sx_store *st, struct sx_queue *q, struct sx_notifier *made)
{
    if (q->ntf != NULL)
        sx_queue_leave_service(q, true);
    drop_notifier(st, q->ntf);
    q->ntf = made;
}

enum sx_err sx_queue_load_notifier(struct sx_store *st, struct sx_queue *q, const uint8_t *id,
                                   const struct sx_pub *key, const uint8_t secret[32])
{
    struct sx_notifier *made;
    enum sx_err e = new_notifier(st, q, id, key, secret, &made);

    if (e == SX_ERR_NONE)
        sx_queue_put_notifier(st, q, made);
    return e;
}

enum sx_err sx_queue_record_del_notifier(struct sx_store *st, struct sx_queue *q)
{
    if (q->ntf != NULL && !sx_persist_del_notifier(st, q))
        return SX_ERR_INTERNAL;
    q->staged = true;
    return SX_ERR_NONE;
}

void sx_queue_del_notifier(struct sx_store *st, struct sx_queue *q)
{
    sx_queue_put_notifier(st, q, NULL);
}

/* ---- queues ---- */

static void remove_queue(struct sx_store *st, struct sx_queue *q, bool rcv, bool snd)
{
    drop_link(st, q);
    sx_queue_del_notifier(st, q);
    sx_queue_leave_service(q, false);
    if (snd)
        sx_index_remove(st, SX_BY_SND, &q->snd);
    if (rcv)
        sx_index_remove(st, SX_BY_RCV, &q->rcv);
    sx_queue_unref(q); /* the reference of the index */
}

static enum sx_err index_queue(struct sx_store *st, struct sx_queue *q,
                               const struct sx_queue_new *n)
{
    enum sx_err e = add_node(st, SX_BY_RCV, &q->rcv, n->rcv_id);

    if (e != SX_ERR_NONE) {
        remove_queue(st, q, false, false);
        return e;
    }
    e = add_node(st, SX_BY_SND, &q->snd, n->snd_id);
    if (e != SX_ERR_NONE) {
        remove_queue(st, q, true, false);
        return e;
    }
    if (n->has_link)
        e = add_link(st, q, n->link_id, n->fixed, n->user);
    if (q->link != NULL && n->made_link_id != NULL)
        memcpy(n->made_link_id, q->link->node.id, SX_ID_LEN);
    if (e == SX_ERR_NONE && n->has_ntf)
        e = new_notifier(st, q, n->ntf_id, &n->ntf_key, n->ntf_secret, &q->ntf);
    if (e != SX_ERR_NONE)
        remove_queue(st, q, true, true);
    return e;
}

enum sx_err sx_qstore_create(struct sx_store *st, const struct sx_queue_new *n,
                             struct sx_queue **out)
{
    struct sx_queue *q = sx_calloc(1, sizeof(*q));

    *out = NULL;
    if (q == NULL)
        return SX_ERR_INTERNAL;
    atomic_init(&q->refs, 2); /* of the index and of the caller */
    q->deleted = true;        /* until every id is in the index */
    q->mode = n->mode;
    q->used_day = n->used_day;
    q->rcv_key = n->rcv_key;
    memcpy(q->secret, n->secret, sizeof(q->secret));
    sx_random(&q->stripe, 1);
    q->stripe %= SX_STORE_SHARDS;
    enum sx_err e = index_queue(st, q, n);
    if (e != SX_ERR_NONE) {
        sx_queue_unref(q);
        return e;
    }
    sx_queue_lock(st, q);
    bool recorded = sx_persist_create(st, q);
    q->deleted = !recorded;
    if (!recorded)
        remove_queue(st, q, true, true);
    sx_queue_unlock(st, q);
    if (!recorded) {
        sx_queue_unref(q);
        return SX_ERR_INTERNAL;
    }
    atomic_fetch_add(&st->queues, 1);
    *out = q;
    return SX_ERR_NONE;
}

enum sx_err sx_queue_record_delete(struct sx_store *st, struct sx_queue *q)
{
    return sx_persist_delete(st, q) ? SX_ERR_NONE : SX_ERR_INTERNAL;
}

void sx_queue_delete(struct sx_store *st, struct sx_queue *q)
{
    if (q->deleted)
        return;
    q->deleted = true;
    sx_queue_clear(st, q);
    atomic_fetch_sub(&st->queues, 1);
    remove_queue(st, q, true, true);
}

enum sx_err sx_queue_secure(struct sx_store *st, struct sx_queue *q, const struct sx_pub *key)
{
    if (q->snd_key.alg != SX_NO_KEY) {
        q->staged = true; /* the key may have been set a moment ago, and not be on disk yet */
        return sx_pub_eq(&q->snd_key, key) ? SX_ERR_NONE : SX_ERR_AUTH;
    }
    if (!sx_persist_secure(st, q, key))
        return SX_ERR_INTERNAL;
    q->snd_key = *key;
    return SX_ERR_NONE;
}

/* Room for so many recipient keys; one alone is kept in the queue itself. */
static struct sx_keys *new_keys(unsigned count)
{
    struct sx_keys *list = sx_malloc(sizeof(*list) + count * sizeof(list->key[0]));

    if (list != NULL)
        list->count = (uint8_t)count;
    return list;
}

static void put_keys(struct sx_queue *q, const struct sx_pub *first, struct sx_keys *list)
{
    q->rcv_key = *first;
    sx_free(q->keys);
    q->keys = list;
}

enum sx_err sx_queue_set_keys(struct sx_store *st, struct sx_queue *q, simplex_bytes keys,
                              unsigned count)
{
    struct sx_rd rd = sx_rd_init(keys);
    struct sx_keys *list = NULL;
    struct sx_pub first;

    if (count > 1 && (list = new_keys(count)) == NULL)
        return SX_ERR_INTERNAL;
    for (unsigned i = 0; i < count; i++)
        sx_rkey_next(&rd, list == NULL ? &first : &list->key[i]);
    const struct sx_pub *key = list == NULL ? &first : list->key;
    if (!sx_persist_keys(st, q, key, count)) {
        sx_free(list);
        return SX_ERR_INTERNAL;
    }
    put_keys(q, key, list);
    return SX_ERR_NONE;
}

enum sx_err sx_queue_load_keys(struct sx_queue *q, const struct sx_pub *key, unsigned count)
{
    struct sx_keys *list = NULL;

    if (count > 1) {
        if ((list = new_keys(count)) == NULL)
            return SX_ERR_INTERNAL;
        memcpy(list->key, key, count * sizeof(list->key[0]));
    }
    put_keys(q, key, list);
    return SX_ERR_NONE;
}

static enum sx_err set_status(struct sx_store *st, struct sx_queue *q, enum sx_q_status status,
                              const struct sx_smp_err *why)
{
    if (!sx_persist_status(st, q, status, why))
        return SX_ERR_INTERNAL;
    q->status = (uint8_t)status;
    q->blocked = why->blocked;
    q->notice = SX_NOTICE_NONE;
    if (why->has_notice)
        q->notice = why->has_ttl ? SX_NOTICE_TTL : SX_NOTICE_EMPTY;
    q->notice_ttl = why->ttl;
    return SX_ERR_NONE;
}

enum sx_err sx_queue_set_status(struct sx_store *st, struct sx_queue *q, enum sx_q_status status,
                                enum sx_block_reason why)
{
    struct sx_smp_err info = { .blocked = (uint8_t)why };

    return set_status(st, q, status, &info);
}

enum sx_err sx_queue_block(struct sx_store *st, struct sx_queue *q, const struct sx_smp_err *why)
{
    return set_status(st, q, SX_Q_BLOCKED, why);
}

struct sx_smp_err sx_queue_blocked(const struct sx_queue *q)
{
    return (struct sx_smp_err){ .err = SX_ERR_BLOCKED,
                                .blocked = q->blocked,
                                .has_notice = q->notice != SX_NOTICE_NONE,
                                .has_ttl = q->notice == SX_NOTICE_TTL,
                                .ttl = q->notice_ttl };
}
