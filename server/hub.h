/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one thread of the server owns, without I/O: peers (the state of a client above its SMP
 * session), their subscriptions and the inbox through which other threads reach them
 * (protocol/smp.md sections 5 to 7).
 *
 * A peer is touched by the thread of its hub alone. A subscription hangs on its queue, where any
 * thread finds it under the lock of the queue; that thread changes the fields marked [queue] and
 * posts the subscription to the inbox of its hub. It stays allocated until its own hub frees it,
 * so nothing is allocated, and nothing can be lost, on the way of a message.
 */
#ifndef SX_HUB_H
#define SX_HUB_H

#include <pthread.h>

#include "client/session.h"
#include "client_limits.h"
#include "queue_store.h"
#include "stats.h"
#include "unacked.h"

#define SX_PEER_ERRANDS 32         /* PRXY and PFWD of one connection under way, by default */
#define SX_PEER_OUT_PAUSE 8        /* blocks waiting: no further input is processed */
#define SX_BLOCK_LIST_KEYS_MAX 512 /* keys of lists tried for one block; beyond: ERR INTERNAL */
/* Bytes of answers to one block; the links asked for behind them: ERR INTERNAL. They are as large
 * as a block each, and the commands are small. */
#define SX_BLOCK_LINKS_MAX (SX_PEER_OUT_PAUSE * SX_BLOCK)
#define SX_MSG_BURST_MAX 4         /* up to so many answers: the first MSG joins their block */
#define SX_ENDS_PER_FLUSH 255      /* transmissions in one block of END and DELD */
#define SX_NMSG_PER_BLOCK 80

/* ---- shared by all hubs of a server ---- */

struct sx_srv_cfg {
    bool new_queues;             /* false: NEW answers AUTH */
    simplex_bytes password;      /* for NEW; empty: none needed. Copied. */
    unsigned client_concurrency; /* errands of one connection; 0: SX_PEER_ERRANDS */
    struct sx_limits limits;     /* of a connection */
    struct sx_qstore_cfg store;
    const char *state_dir;      /* NULL: nothing is kept */
    bool messages_in_memory;    /* not in the journal: lost when the process is killed */
    bool messages_not_saved;    /* with the former: a stop loses them as well */
    bool offline;               /* for the state: nobody is served */
    bool skip_damage;           /* leave out damaged records of the state */
    unsigned compact_growth;    /* of the store log; 0: 4 */
    uint64_t compact_bytes;     /* 0: 64 MiB */
    struct sx_errtext *err;     /* what went wrong with the state; or NULL */
    int64_t (*now)(void *user); /* NULL: sx_now_ms; ms since 1970 */
    void *now_user;
};

struct sx_errand; /* errand.h */

/* Who connects to relays for clients (section 8). Called by the threads of the hubs. */
struct sx_relays {
    /* Takes e and gives it back with sx_errand_done, perhaps before it returns. False: not now.
     * NULL: this server is no proxy. */
    bool (*submit)(void *user, struct sx_errand *e);
    void *user;
};

struct sx_srv {
    struct sx_relays relays;      /* set before the first client is there */
    _Atomic unsigned concurrency; /* errands of one connection under way */
    struct sx_limits limits;      /* of a connection, without zeros for defaults */
    struct sx_store *store;
    struct sx_stats *stats;
    pthread_mutex_t policy_lock; /* of the next three, which a reload changes */
    bool new_queues, has_password;
    uint8_t password_hash[32];
    int64_t (*now)(void *user);
    void *now_user;
    pthread_mutex_t lock; /* of the list: */
    struct sx_hub *hubs;
};

simplex_rc sx_srv_open(const struct sx_srv_cfg *cfg, struct sx_srv **out) SIMPLEX_CHECK;
simplex_rc sx_srv_close(struct sx_srv *s); /* after all hubs are closed; as sx_persist_close */
/* password: for NEW; empty: none needed. Any thread. */
void sx_srv_set_policy(struct sx_srv *s, bool new_queues, simplex_bytes password);
/* Whether a client that gives this password may create queues. */
bool sx_srv_may_create(struct sx_srv *s, bool has_password, simplex_bytes password);
/* The same password; whether queues may be created does not matter. */
bool sx_srv_may_proxy(struct sx_srv *s, bool has_password, simplex_bytes password);
int64_t sx_srv_now(const struct sx_srv *s);
/* The service that says hello (services.h), or NULL: it is refused. */
struct sx_service *sx_service_hello(struct sx_srv *s, const struct sx_service_hello *h);
/* Expires messages and notifications of every queue, or of those of one shard: a loop does one at a
 * time, so that its clients do not wait. */
void sx_srv_expire(struct sx_srv *s);
void sx_srv_expire_shard(struct sx_srv *s, unsigned shard);

/* ---- hubs and subscriptions ---- */

enum sx_sub_kind { SX_SUB_MSG, SX_SUB_GET, SX_SUB_NTF, SX_SUB_SERVICE, SX_SUB_KINDS };
enum {                /* what is to do for a posted subscription */
       SX_EV_MSG = 1, /* deliver the head */
       SX_EV_NTF = 2, /* notifications wait */
       SX_EV_END = 4, /* another connection has it now */
       SX_EV_DELD = 8,
       SX_EV_NEW = 16,      /* another thread has made it: take it over (service_sub.c) */
       SX_EV_DROP = 32,     /* it is of no use any more; the client knows */
       SX_EV_ENDS = 64,     /* SX_SUB_SERVICE: another connection has the service's queues now */
       SX_EV_WALK = 128,    /* SX_SUB_SERVICE: look at some more of its queues */
       SX_EV_BLOCKED = 256, /* the operator blocked the queue */
};

struct sx_peer;

struct sx_sub {
    struct sx_queue *q; /* referenced; SX_SUB_SERVICE: NULL */
    struct sx_peer *peer;
    struct sx_sub *prev, *next;             /* of the peer */
    struct sx_sub *inbox_prev, *inbox_next; /* [inbox] */
    struct sx_sub *line_prev, *line_next;   /* SX_SUB_NTF: of the peer, notifications wait for their
                                             * flush. Others: of the hub, unacked.h */
    struct sx_sub *get_next;                /* [queue] next of q->gets */
    uint8_t delivered[SX_ID_LEN];           /* [queue] the message in flight */
    uint8_t ntf_id[SX_ID_LEN];              /* SX_SUB_NTF: entity of its events */
    uint32_t delivered_s;                   /* [queue] when it was, for statistics */
    uint8_t kind;
    uint8_t line;    /* unacked.h: in which line of the hub, counted from 1; 0: none */
    uint16_t events; /* [inbox] not 0: it is in the inbox */
    bool in_flight;  /* [queue] */
    bool pushed;     /* [queue] in flight, but not yet made into output */
    bool ntf_queued;
    bool service; /* of a service: ends with its ENDS */
    bool fresh;   /* made by another thread, not yet in the list of the peer */
};

struct sx_hub {
    pthread_mutex_t lock; /* of the inbox */
    struct sx_sub *inbox_first, *inbox_last;
    struct sx_errand *done_first, *done_last;
    void (*wake)(void *user); /* from any thread: call sx_hub_run soon */
    void *wake_user;
    struct sx_srv *srv;
    struct sx_counters *stats; /* this thread's */
    struct sx_unacked unacked; /* what its peers have to acknowledge */
    struct sx_peer *ready;     /* peers with output since it was last taken */
    struct sx_peer *waiting;   /* peers whose next block tells what is not yet durable */
    uint64_t settled;          /* sx_persist_settled when they were last looked at */
    atomic_bool awaits;        /* `waiting` is not empty */
    struct sx_hub *next_hub;   /* of the server */
    struct sx_block *block;    /* scratch for one block of commands (commands.c) */
};

simplex_rc sx_hub_open(struct sx_hub *h, struct sx_srv *srv, void (*wake)(void *user),
                       void *wake_user) SIMPLEX_CHECK;
void sx_hub_close(struct sx_hub *h); /* no peers may be left */
/* Handles the inbox: messages become output of their peers, lost subscriptions wait as ENDs. */
void sx_hub_run(struct sx_hub *h);
/* Commits have been made or have failed: peers that waited become ready. */
void sx_hub_committed(struct sx_hub *h);
/* No peer is left, and what wakes the hub is about to go: commits do not wake it any more. */
void sx_hub_rest(struct sx_hub *h);
/* Takes one peer from the list of those with new output, or NULL. */
struct sx_peer *sx_hub_ready(struct sx_hub *h);
/* Posts to the hub of sub. `from`: the hub of the calling thread (it is not woken), or NULL. With
 * the lock of sub->q (SX_SUB_SERVICE: of the service) held, or by the thread of its hub. */
void sx_hub_post(struct sx_sub *sub, unsigned events, const struct sx_hub *from);

/* ---- peers ---- */

struct sx_out; /* a block of answers that waits to be sealed */

struct sx_ended {
    uint8_t id[SX_ID_LEN];
    uint8_t kind; /* enum sx_sub_kind: of a queue, a notifier, a service */
    bool deld;
};

struct sx_peer {
    struct sx_hub *hub;
    const struct sx_session *session; /* READY before the first block */
    void *user;
    struct sx_service *service; /* whose connection it is, or NULL; set before the first block */
    struct sx_service_sub *service_sub; /* service_sub.c; NULL until it subscribes its queues */
    struct sx_sub *subs;
    size_t n_subs;
    uint32_t n_kind[SX_SUB_KINDS]; /* of them; those that have ended count no longer */
    _Atomic uint32_t n_flight;     /* of them: with a message that waits for its ACK; any thread */
    struct sx_sub *ntfs;           /* subscriptions with notifications to flush */
    struct sx_ended *ended;        /* ENDs to flush: n_ended of them from ended_at on */
    size_t n_ended, ended_at, ended_size;
    bool ends_due, ntfs_due;   /* of a flush that had no room for all: the rest follows */
    struct sx_errand *errands; /* under way */
    struct sx_errand *held_first, *held_last; /* that wait until one of those is done */
    unsigned n_errands, n_held;
    unsigned n_prxy;   /* of those under way */
    unsigned n_failed; /* relays since failed_since_ms: client_limits.h */
    int64_t failed_since_ms;
    unsigned n_made; /* queues created since made_since_ms: client_limits.h */
    int64_t made_since_ms;
    struct sx_out *out, *out_last;
    size_t n_out;
    struct sx_peer *ready_next;
    struct sx_peer *waiting_prev, *waiting_next;
    bool ready;   /* in the hub's list */
    bool waiting; /* in the hub's other list */
    bool failed;  /* out of memory: the connection is to be closed */
};

void sx_peer_init(struct sx_peer *p, struct sx_hub *h, const struct sx_session *session,
                  void *user);
void sx_peer_close(struct sx_peer *p); /* drops subscriptions and output */

/* Processes the content of one block. Answers become output. Call only when !sx_peer_paused. */
void sx_peer_block(struct sx_peer *p, simplex_bytes content);
/* It is subscribed to something, or waits for a relay: not idle, however silent it is. GET asks for
 * one message, and its place is kept for the ACK alone. */
static inline bool sx_peer_busy(const struct sx_peer *p)
{
    uint32_t n = 0;

    for (size_t i = 0; i < SX_SUB_KINDS; i++)
        n += i != SX_SUB_GET ? p->n_kind[i] : 0;
    return n > 0 || p->n_errands + p->n_held > 0;
}
/* So much output waits, or so many errands are under way, that no input should be processed before
 * some of it is gone. */
static inline bool sx_peer_paused(const struct sx_peer *p)
{
    return p->n_out >= SX_PEER_OUT_PAUSE || p->n_errands + p->n_held >= p->hub->srv->concurrency;
}
/* The content of the next block to send, in to (SX_BLOCK bytes); 0 when there is none, or when it
 * must wait for a commit. */
size_t sx_peer_next(struct sx_peer *p, uint8_t to[SX_BLOCK]);
/* Makes blocks of the ENDs and DELDs that wait; of the notifications that wait. */
void sx_peer_flush_ends(struct sx_peer *p);
void sx_peer_flush_ntfs(struct sx_peer *p);

#endif
