/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hash tables with chains through the nodes themselves: 8 bytes a node and about 11 a bucket.
 * The hash is multiply-add with random odd keys: clients choose link ids and (through the
 * correlation id) sender ids, but cannot choose where they land.
 */
#include "store_index.h"

#define TABLE_FIRST 16
#define WALK_OVER (SX_WALK_SHORT - 1) /* a cursor behind all buckets */

static uint64_t word(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

uint64_t sx_index_hash(const struct sx_store *st, const uint8_t id[SX_ID_LEN])
{
    uint64_t h = st->hash_key[3];

    for (size_t i = 0; i < 3; i++) {
        h += word(id + 8 * i) * st->hash_key[i];
        h = (h ^ (h >> 32)) * st->hash_key[3];
    }
    return h ^ (h >> 29);
}

static struct sx_shard *shard_of(struct sx_store *st, uint64_t hash)
{
    return &st->shard[hash >> 58]; /* the upper 6 bits; buckets use the lower ones */
}

simplex_rc sx_index_init(struct sx_store *st)
{
    sx_random(st->hash_key, sizeof(st->hash_key));
    for (size_t i = 0; i < SX_COUNT(st->hash_key); i++)
        st->hash_key[i] |= 1;
    for (size_t i = 0; i < SX_STORE_SHARDS; i++) {
        if (pthread_mutex_init(&st->shard[i].lock, NULL) != 0)
            return SIMPLEX_E_SYSTEM;
        if (pthread_mutex_init(&st->stripe[i], NULL) != 0)
            return SIMPLEX_E_SYSTEM;
    }
    return SIMPLEX_OK;
}

void sx_index_free(struct sx_store *st)
{
    for (size_t i = 0; i < SX_STORE_SHARDS; i++) {
        for (size_t k = 0; k < SX_ID_KINDS; k++)
            sx_free(st->shard[i].table[k].bucket);
        pthread_mutex_destroy(&st->shard[i].lock);
        pthread_mutex_destroy(&st->stripe[i]);
    }
}

/* Makes room for one more node. A table that cannot grow goes on with longer chains. */
static bool grow(const struct sx_store *st, struct sx_table *t)
{
    if (t->count < t->size)
        return true;
    size_t size = t->size == 0 ? TABLE_FIRST : t->size * 2;
    struct sx_node **bucket = sx_calloc(size, sizeof(*bucket));
    if (bucket == NULL)
        return t->size != 0;
    for (size_t i = 0; i < t->size; i++) {
        struct sx_node *next;
        for (struct sx_node *n = t->bucket[i]; n != NULL; n = next) {
            size_t to = sx_index_hash(st, n->id) & (size - 1);
            next = n->next;
            n->next = bucket[to];
            bucket[to] = n;
        }
    }
    sx_free(t->bucket);
    t->bucket = bucket;
    t->size = size;
    return true;
}

static struct sx_node **find_slot(const struct sx_table *t, uint64_t hash, const uint8_t *id)
{
    if (t->size == 0)
        return NULL;
    struct sx_node **slot = &t->bucket[hash & (t->size - 1)];
    while (*slot != NULL && memcmp((*slot)->id, id, SX_ID_LEN) != 0)
        slot = &(*slot)->next;
    return *slot == NULL ? NULL : slot;
}

enum sx_index_result sx_index_add(struct sx_store *st, enum sx_id_kind kind, struct sx_node *node)
{
    uint64_t hash = sx_index_hash(st, node->id);
    struct sx_shard *sh = shard_of(st, hash);
    struct sx_table *t = &sh->table[kind];
    enum sx_index_result result = SX_INDEX_ADDED;

    pthread_mutex_lock(&sh->lock);
    if (find_slot(t, hash, node->id) != NULL) {
        result = SX_INDEX_TAKEN;
    } else if (!grow(st, t)) {
        result = SX_INDEX_NOMEM;
    } else {
        struct sx_node **slot = &t->bucket[hash & (t->size - 1)];
        node->next = *slot;
        *slot = node;
        t->count++;
    }
    pthread_mutex_unlock(&sh->lock);
    return result;
}

void sx_index_remove(struct sx_store *st, enum sx_id_kind kind, struct sx_node *node)
{
    uint64_t hash = sx_index_hash(st, node->id);
    struct sx_shard *sh = shard_of(st, hash);
    struct sx_table *t = &sh->table[kind];

    pthread_mutex_lock(&sh->lock);
    struct sx_node **slot = find_slot(t, hash, node->id);
    if (slot != NULL && *slot == node) {
        *slot = node->next;
        t->count--;
    }
    pthread_mutex_unlock(&sh->lock);
}

void sx_index_replace(struct sx_store *st, enum sx_id_kind kind, struct sx_node *old,
                      struct sx_node *now)
{
    uint64_t hash = sx_index_hash(st, old->id);
    struct sx_shard *sh = shard_of(st, hash);

    memcpy(now->id, old->id, SX_ID_LEN);
    pthread_mutex_lock(&sh->lock);
    struct sx_node **slot = find_slot(&sh->table[kind], hash, old->id);
    if (slot != NULL) {
        now->next = old->next;
        *slot = now;
    }
    pthread_mutex_unlock(&sh->lock);
}

static struct sx_queue *queue_of(enum sx_id_kind kind, struct sx_node *n)
{
    switch (kind) {
    case SX_BY_RCV:
        return (struct sx_queue *)(void *)((uint8_t *)n - offsetof(struct sx_queue, rcv));
    case SX_BY_SND:
        return (struct sx_queue *)(void *)((uint8_t *)n - offsetof(struct sx_queue, snd));
    case SX_BY_LINK:
        return ((struct sx_link *)(void *)n)->q; /* the node comes first in both */
    case SX_BY_NTF:
        return ((struct sx_notifier *)(void *)n)->q;
    case SX_ID_KINDS:
        break;
    }
    return NULL;
}

struct sx_queue *sx_qstore_find(struct sx_store *st, enum sx_id_kind kind, simplex_bytes id)
{
    if (id.len != SX_ID_LEN)
        return NULL;
    uint64_t hash = sx_index_hash(st, id.ptr);
    struct sx_shard *sh = shard_of(st, hash);
    struct sx_queue *q = NULL;

    pthread_mutex_lock(&sh->lock);
    struct sx_node **slot = find_slot(&sh->table[kind], hash, id.ptr);
    if (slot != NULL) {
        q = queue_of(kind, *slot);
        sx_queue_ref(q); /* the index holds one reference while the node is in it */
    }
    pthread_mutex_unlock(&sh->lock);
    return q;
}

static size_t chain_length(const struct sx_node *n)
{
    size_t len = 0;

    for (; n != NULL; n = n->next)
        len++;
    return len;
}

/*
 * Counts from the highest bit on; 0 behind the last. When the table doubles, the nodes of a bucket
 * go to two that follow each other in this order: what was seen is behind the walk, and what was
 * not is before it.
 */
static size_t bucket_after(size_t i, size_t size)
{
    size_t bit = size / 2;

    for (; (i & bit) != 0; bit /= 2)
        i -= bit;
    return i + bit;
}

size_t sx_qstore_walk(struct sx_store *st, unsigned shard, size_t *cursor, struct sx_queue **out,
                      size_t max)
{
    struct sx_shard *sh = &st->shard[shard];
    struct sx_table *t = &sh->table[SX_BY_RCV];
    size_t n = 0;

    pthread_mutex_lock(&sh->lock);
    size_t i = *cursor & ~SX_WALK_SHORT, missed = *cursor & SX_WALK_SHORT;
    bool over = i >= t->size;
    for (; !over; i = bucket_after(i, t->size), over = i == 0) {
        /* A chain that does not fit is left for the next call, unless it is longer than all of
         * `out`, which random ids do not make happen. */
        if (n > 0 && chain_length(t->bucket[i]) > max - n)
            break;
        struct sx_node *node = t->bucket[i];
        for (; node != NULL && n < max; node = node->next) {
            out[n] = queue_of(SX_BY_RCV, node);
            sx_queue_ref(out[n++]);
        }
        if (node != NULL)
            missed = SX_WALK_SHORT;
    }
    if (over) /* once more when some were left out, to say so */
        i = missed != 0 && n > 0 ? WALK_OVER : 0;
    *cursor = i == 0 ? 0 : i | missed;
    pthread_mutex_unlock(&sh->lock);
    return n;
}

size_t sx_index_count(struct sx_store *st, enum sx_id_kind kind)
{
    size_t n = 0;

    for (unsigned i = 0; i < SX_STORE_SHARDS; i++) {
        pthread_mutex_lock(&st->shard[i].lock);
        n += st->shard[i].table[kind].count;
        pthread_mutex_unlock(&st->shard[i].lock);
    }
    return n;
}
