/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queues of the server and their messages, in memory (protocol/smp.md sections 6.3 and 7).
 *
 * Every change of a queue goes through one function here, and what it returns is what the command
 * answers. The function records it through persist.h first, the interface behind which another
 * store can follow. Subscriptions hang on queues but are not recorded.
 *
 * Threads. Ids are found through an index of 64 shards, each with its own lock, held only while
 * one chain is walked. A found queue is referenced, so that it stays valid when it is deleted
 * meanwhile. The queue itself is changed under one of 64 stripe locks (sx_queue_lock); a thread
 * holds one of them at a time. Order: stripe, then index shard or the inbox of a hub; never back.
 */
#ifndef SX_QUEUE_STORE_H
#define SX_QUEUE_STORE_H

#include <stdatomic.h>

#include "wire/smp.h"

struct sx_store;
struct sx_sub; /* hub.h */
struct sx_service;
struct sx_segment; /* journal_internal.h */

#define SX_STORE_SHARDS 64
#define SX_STORE_QUOTA 128 /* messages in a queue; one more place for the marker */
#define SX_STORE_TTL_MS (21 * 24 * 3600 * INT64_C(1000))
#define SX_STORE_NTF_MAX 128 /* notifications kept for a notifier who is away */
#define SX_STORE_NTF_TTL_MS (24 * 3600 * INT64_C(1000))

/* One id of one kind inside the index. */
struct sx_node {
    struct sx_node *next;
    uint8_t id[SX_ID_LEN];
};

enum sx_id_kind { SX_BY_RCV, SX_BY_SND, SX_BY_LINK, SX_BY_NTF, SX_ID_KINDS };
enum sx_q_status { SX_Q_ACTIVE, SX_Q_OFF, SX_Q_BLOCKED };

struct sx_msg { /* immutable once it is in a queue, but for `next` and what the journal keeps */
    struct sx_msg *next;
    int64_t ts_ms;
    struct sx_journaled {           /* by the journal, under its lock unless said otherwise */
        struct sx_msg *prev, *next; /* of those that live in the same segment */
        struct sx_segment *in;      /* that segment; NULL: does not live (yet, or any more) */
        struct sx_msg *forgotten;   /* list of sx_journal_forget, under the stripe's lock */
        uint64_t seq;               /* orders the messages of a queue; set when it is staged, */
        uint64_t hash;              /* of the body; as is this */
        uint8_t rid[SX_ID_LEN];     /* and the id of its queue, for copies */
        bool written;               /* there may be a record of it in some file */
        bool gone;                  /* acknowledged or forgotten */
    } journal;
    atomic_size_t *counted; /* where it is counted as long as it is referenced, or NULL */
    atomic_uint refs;
    uint16_t len;
    bool quota; /* the marker that replaces the message over quota */
    bool notify;
    uint8_t id[SX_ID_LEN];
    uint8_t body[];
};

struct sx_link { /* link data of a queue */
    struct sx_node node;
    struct sx_queue *q;
    uint16_t fixed_len, user_len;
    uint8_t data[]; /* fixed, then user */
};

struct sx_ntf { /* one notification that waits for its flush */
    struct sx_ntf *next;
    int64_t ts_ms;
    uint8_t msg_id[SX_ID_LEN];
};

struct sx_served { /* by which service: services.h; `at` is under its lock */
    struct sx_service *svc;
    uint32_t at;
};

struct sx_notifier {
    struct sx_node node;
    struct sx_queue *q;
    struct sx_pub key;
    uint8_t secret[32]; /* DH of the recipient's and the server's keys: NMSG is boxed with it */
    struct sx_served served;
    struct sx_sub *sub;
    struct sx_ntf *head, *tail;
    uint16_t count;
};

struct sx_keys { /* several recipient keys, made by RKEY */
    uint8_t count;
    struct sx_pub key[];
};

enum sx_notice { SX_NOTICE_NONE, SX_NOTICE_EMPTY, SX_NOTICE_TTL };

struct sx_queue {
    struct sx_node rcv, snd;
    atomic_uint refs;
    uint16_t count; /* messages, the quota marker included */
    uint8_t stripe;
    uint8_t mode;          /* enum sx_queue_mode */
    uint8_t status;        /* enum sx_q_status */
    uint8_t blocked;       /* enum sx_block_reason */
    bool deleted;          /* also before it is complete */
    bool full;             /* quota was reached: nothing is taken until the queue is empty */
    bool staged;           /* a change was recorded, or repeated, since the last look: its answer
                            * must wait */
    uint16_t active_day;   /* days since 1970; statistics: a message was sent or received */
    uint16_t ntf_day;      /* one that notifies */
    uint8_t secret[32];    /* DH of the recipient's and the server's keys: MSG is boxed with it */
    struct sx_pub rcv_key; /* the first of `keys` when there are several */
    struct sx_pub snd_key; /* SX_NO_KEY: not secured */
    struct sx_keys *keys;  /* NULL: rcv_key alone */
    struct sx_link *link;
    struct sx_notifier *ntf;
    struct sx_msg *head, *tail;
    struct sx_sub *sub;  /* the one subscription */
    struct sx_sub *gets; /* connections that use GET */
    uint32_t used_day;   /* when it was last used, in days since 1970; 0: not known */
    uint8_t notice;      /* with `blocked`: enum sx_notice */
    uint16_t logged;     /* the mark of the store log: store_log_compact.h */
    int64_t notice_ttl;  /* seconds */
    struct sx_served served;
};

struct sx_qstore_cfg {
    unsigned quota;     /* 0: SX_STORE_QUOTA */
    int64_t ttl_ms;     /* 0: SX_STORE_TTL_MS; negative: messages do not expire */
    bool not_on_send;   /* SEND does not look for old messages in its queue */
    int64_t ntf_ttl_ms; /* of notifications; 0: SX_STORE_NTF_TTL_MS */
    unsigned services;  /* recorded at most (services.h); 0: SX_SERVICES_MAX */
    size_t memory;      /* of all messages, those that are gone from their queues and still wait to
                         * be sent included; with more, sx_queue_push is QUOTA. 0: no limit */
};

/* As ttl_ms of the configuration; any thread, while the store is in use. */
void sx_qstore_set_ttl(struct sx_store *st, const struct sx_qstore_cfg *cfg);
simplex_rc sx_qstore_open(const struct sx_qstore_cfg *cfg, struct sx_store **out) SIMPLEX_CHECK;
/* No queue may be referenced or subscribed. As sx_persist_close. */
simplex_rc sx_qstore_close(struct sx_store *st);

/* Counters; exact when nothing runs. */
size_t sx_qstore_queues(const struct sx_store *st);
size_t sx_qstore_messages(const struct sx_store *st);

/* A reference to the queue with this id of this kind, or NULL. */
struct sx_queue *sx_qstore_find(struct sx_store *st, enum sx_id_kind kind, simplex_bytes id);
void sx_queue_ref(struct sx_queue *q);
void sx_queue_unref(struct sx_queue *q);
void sx_queue_lock(struct sx_store *st, struct sx_queue *q);
void sx_queue_unlock(struct sx_store *st, struct sx_queue *q);

struct sx_queue_new {
    uint8_t mode;
    struct sx_pub rcv_key;
    uint8_t secret[32];
    const uint8_t *rcv_id; /* of the store log, or NULL: random */
    const uint8_t *snd_id; /* 24 bytes given by the client, or NULL: random */
    bool has_link;
    const uint8_t *link_id; /* 24 bytes given by the client, or NULL: random */
    uint8_t *made_link_id;  /* out unless NULL: a SEND of another thread may delete the link soon */
    simplex_bytes fixed, user;
    uint32_t used_day; /* today, or 0: not known */
    bool has_ntf;
    const uint8_t *ntf_id; /* of the store log, or NULL: random */
    struct sx_pub ntf_key;
    uint8_t ntf_secret[32];
};
/* On SX_ERR_NONE *out is referenced. AUTH: an id that was given is taken. INTERNAL: no
 * memory, or three random ids in a row were taken. */
enum sx_err sx_qstore_create(struct sx_store *st, const struct sx_queue_new *n,
                             struct sx_queue **out) SIMPLEX_CHECK;

/* ---- everything below: with the lock of q held, and q not deleted ---- */

/* Each of them is recorded (persist.h) before the memory is changed; INTERNAL: it could not be,
 * nothing has changed. */

/* KEY, SKEY, LKEY: sets the sender key once. AUTH when another one is set. */
enum sx_err sx_queue_secure(struct sx_store *st, struct sx_queue *q,
                            const struct sx_pub *key) SIMPLEX_CHECK;
/* RKEY: replaces all recipient keys. `keys` as decoded. */
enum sx_err sx_queue_set_keys(struct sx_store *st, struct sx_queue *q, simplex_bytes keys,
                              unsigned count) SIMPLEX_CHECK;
enum sx_err sx_queue_set_status(struct sx_store *st, struct sx_queue *q, enum sx_q_status status,
                                enum sx_block_reason why) SIMPLEX_CHECK;
/* With a notice: the fields `blocked` to `ttl` of why. */
enum sx_err sx_queue_block(struct sx_store *st, struct sx_queue *q,
                           const struct sx_smp_err *why) SIMPLEX_CHECK;
/* ERR BLOCKED of this queue. */
struct sx_smp_err sx_queue_blocked(const struct sx_queue *q);
/* Deletion has two steps, because subscriptions must be detached between them, and only when it
 * is recorded. The second removes q from the index, frees messages, link and notifier. */
enum sx_err sx_queue_record_delete(struct sx_store *st, struct sx_queue *q) SIMPLEX_CHECK;
void sx_queue_delete(struct sx_store *st, struct sx_queue *q);

/* LSET: new link data, or new user data of the same link. */
enum sx_err sx_queue_set_link(struct sx_store *st, struct sx_queue *q, simplex_bytes link_id,
                              simplex_bytes fixed, simplex_bytes user) SIMPLEX_CHECK;
enum sx_err sx_queue_del_link(struct sx_store *st, struct sx_queue *q) SIMPLEX_CHECK;

/* NKEY: makes and records a notifier with a random id; then, when the subscription of the present
 * one is detached, it takes its place. */
enum sx_err sx_queue_make_notifier(struct sx_store *st, struct sx_queue *q,
                                   const struct sx_pub *key, const uint8_t secret[32],
                                   struct sx_notifier **made) SIMPLEX_CHECK;
void sx_queue_put_notifier(struct sx_store *st, struct sx_queue *q, struct sx_notifier *made);
/* NDEL, in two steps like a deletion. */
enum sx_err sx_queue_record_del_notifier(struct sx_store *st, struct sx_queue *q) SIMPLEX_CHECK;
void sx_queue_del_notifier(struct sx_store *st, struct sx_queue *q);
/* From the store log, recorded already: a notifier with this id in the place of the present one,
 * all recipient keys. AUTH: the id is taken. INTERNAL: no memory. */
enum sx_err sx_queue_load_notifier(struct sx_store *st, struct sx_queue *q, const uint8_t *id,
                                   const struct sx_pub *key,
                                   const uint8_t secret[32]) SIMPLEX_CHECK;
enum sx_err sx_queue_load_keys(struct sx_queue *q, const struct sx_pub *key,
                               unsigned count) SIMPLEX_CHECK;
/* Remembers that msg arrived; drops the oldest when there are too many. False: no memory. */
bool sx_notifier_add(struct sx_notifier *n, const struct sx_msg *msg);
/* Drops those over age: how many. */
unsigned sx_notifier_expire(const struct sx_store *st, struct sx_notifier *n, int64_t now_ms);
/* Takes all that wait; the caller frees them with sx_ntf_free. Those over age are left out. */
struct sx_ntf *sx_notifier_take(struct sx_store *st, struct sx_notifier *n, int64_t now_ms);
void sx_ntf_free(struct sx_ntf *list);

/* Appends a message (SEND). *first: it became the head. QUOTA: full now or before, the marker is
 * stored the first time (and may be the head: *first). INTERNAL: no memory. */
enum sx_err sx_queue_push(struct sx_store *st, struct sx_queue *q, simplex_bytes body, bool notify,
                          int64_t now_ms, bool *first) SIMPLEX_CHECK;
/* Deletes the head if it has this id (24 bytes). */
enum sx_err sx_queue_pop(struct sx_store *st, struct sx_queue *q,
                         const uint8_t *msg_id) SIMPLEX_CHECK;
/* At the start: a message that was kept, younger than those q has. Takes over the reference. */
void sx_queue_restore(struct sx_store *st, struct sx_queue *q, struct sx_msg *m);
void sx_queue_clear(struct sx_store *st, struct sx_queue *q); /* all messages, with their queue */
/* Deletes expired messages from the head on, up to the first young one or quota marker. */
void sx_queue_expire(struct sx_store *st, struct sx_queue *q, int64_t now_ms);

/* ---- without a lock ---- */

/* A message with one reference and no id yet, or NULL. Body: at most 65535 bytes. */
struct sx_msg *sx_msg_new(simplex_bytes body, int64_t ts_ms);
struct sx_msg *sx_msg_ref(struct sx_msg *m);
void sx_msg_unref(struct sx_msg *m);

/* Up to `max` queues of a shard from *cursor on (0 first; back at 0 when the shard is done), each
 * referenced. For walks over everything, like expiry: they meet each queue that is there all the
 * time once, whatever comes and goes meanwhile. With this bit in *cursor some were left out,
 * because the index has found no memory for so long that more than `max` share a place in it. */
#define SX_WALK_SHORT (SIZE_MAX / 2 + 1)
size_t sx_qstore_walk(struct sx_store *st, unsigned shard, size_t *cursor, struct sx_queue **out,
                      size_t max);

#endif
