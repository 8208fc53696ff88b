/* SPDX-License-Identifier: Apache-2.0 */
/* The index of the queue store: ids of four kinds to nodes, in 64 shards. */
#ifndef SX_STORE_INDEX_H
#define SX_STORE_INDEX_H

#include <pthread.h>

#include "queue_store.h"

struct sx_table {
    struct sx_node **bucket; /* a power of two of them */
    size_t size, count;
};

struct sx_shard {
    pthread_mutex_t lock;
    struct sx_table table[SX_ID_KINDS];
};

struct sx_store {
    struct sx_shard shard[SX_STORE_SHARDS];
    pthread_mutex_t stripe[SX_STORE_SHARDS];
    uint64_t hash_key[4]; /* random: ids given by clients cannot be made to collide */
    unsigned quota;
    _Atomic int64_t ttl_ms, ntf_ttl_ms; /* changed by a reload, */
    atomic_bool expire_on_send;         /* and so is this */
    atomic_size_t queues, messages;
    size_t memory; /* of messages at most; 0: no limit, and memory_used is not kept */
    atomic_size_t memory_used;
    struct sx_persist *persist;   /* NULL: nothing is kept */
    struct sx_services *services; /* services.h */
};

simplex_rc sx_index_init(struct sx_store *st) SIMPLEX_CHECK;
void sx_index_free(struct sx_store *st);
/* Ids of this kind; exact when nothing runs. */
size_t sx_index_count(struct sx_store *st, enum sx_id_kind kind);
uint64_t sx_index_hash(const struct sx_store *st, const uint8_t id[SX_ID_LEN]);

enum sx_index_result { SX_INDEX_ADDED, SX_INDEX_TAKEN, SX_INDEX_NOMEM };
/* node->id is set by the caller. The node becomes visible to other threads at once. */
enum sx_index_result sx_index_add(struct sx_store *st, enum sx_id_kind kind,
                                  struct sx_node *node) SIMPLEX_CHECK;
void sx_index_remove(struct sx_store *st, enum sx_id_kind kind, struct sx_node *node);
/* Puts `now` into the place of `old`, which is in the index, under the same id. */
void sx_index_replace(struct sx_store *st, enum sx_id_kind kind, struct sx_node *old,
                      struct sx_node *now);

#endif
