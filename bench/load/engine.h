/* SPDX-License-Identifier: Apache-2.0 */
/* Between engine.c (threads and phases), link.c (connections) and work.c (commands). */
#ifndef BENCH_LOAD_ENGINE_H
#define BENCH_LOAD_ENGINE_H

#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

#include "bench/load/load.h"
#include "client/conn.h"

enum side { RECIPIENT, SENDER };
enum op { OP_NEW = 1, OP_SKEY = 2, OP_SEND = 4, OP_ACK = 8, OP_SUB = 16, OP_PING = 32 };

struct queue;

struct todo { /* what one connection has to send for a queue */
    struct queue *next;
    uint8_t ops; /* enum op */
    bool listed;
};

/*
 * Belongs to the thread of its recipient. Where the sender has a thread of its own, each thread
 * touches what is marked with its side, and both what is atomic.
 */
struct queue {
    struct link *link[2]; /* by enum side */
    struct todo todo[2];
    uint8_t rcv_id[SX_ID_LEN], snd_id[SX_ID_LEN], msg_id[SX_ID_LEN];
    uint8_t secret[32];     /* --check */
    bool made;              /* has ids; phases of the run apart */
    atomic_bool stopped;    /* an error ended its traffic */
    atomic_uint in_flight;  /* SENDs whose cycle is not over */
    unsigned to_send;       /* of them, not yet sent [sender] */
    unsigned block;         /* [sender] its last block that has a SEND of this queue */
    atomic_ullong sent;     /* messages */
    uint64_t got;           /* [recipient] */
    int64_t *sent_us;       /* ring of `window`: a slot is the sender's while it is not in flight */
    struct queue *ask_next; /* [asked] */
    bool asked;
};

enum link_state { LINK_NONE, LINK_CONNECTING, LINK_READY, LINK_OVER };

struct link { /* a connection */
    struct thread *t;
    struct sx_conn *conn;
    enum link_state state;
    int64_t since_us;
    unsigned pending;           /* commands without an answer */
    struct queue *first, *last; /* with something to send */
    enum side side;
    bool dirty, ping;
    struct link *next_dirty;
    unsigned blocks;
};

struct thread {
    const struct load_options *o;
    struct load_control *control;
    struct thread *owner; /* of the queues: the thread of the recipients */
    bool senders;         /* only senders are here, the recipients are the owner's */
    unsigned groups;      /* threads that own queues, in all */
    uv_loop_t loop;
    uv_timer_t tick;
    uv_check_t check;
    uv_prepare_t prepare;
    uv_thread_t id;
    struct sx_net *net;
    struct link *links;
    unsigned n_links, opened, connecting, resolved; /* links opened, being made, decided */
    struct queue *queues;
    unsigned n_queues;
    struct sx_keypair rcv_key, snd_key, dh;
    struct link *dirty;
    enum load_phase phase; /* what this thread does */
    bool closing;
    bool keyed;      /* the senders' keys were sent */
    uint64_t wanted; /* answers expected in LOAD_PREPARE */
    uint64_t prepared;
    uint64_t serial;
    struct load_result r;
    uint8_t block[SX_BLOCK], body[SX_BLOCK], text[2 * SX_BLOCK];

    struct thread *other; /* of an owner: where its senders are, if not here */
    uv_async_t asks;      /* of `senders`: queues that may send more */
    pthread_mutex_t lock; /* of the next two and of `asked`, `ask_next` in the queues */
    struct queue *asked;
    bool deaf; /* nothing is asked any more */

    atomic_bool queues_made; /* of an owner */
    atomic_int finished;     /* the phase it has done with */
    atomic_uint ready;
    atomic_ullong done, errors, blocks; /* blocks: written and read */
    atomic_uint flying;                 /* of an owner: messages in flight */
    unsigned turn;                      /* of an owner: the queue that sends next */
};

struct load_control { /* what the threads are told */
    atomic_int phase;
    atomic_bool over; /* a storm begins no further round */
};

/* link.c */
bool links_make(struct thread *t, unsigned n);
void links_open(struct thread *t); /* as many as may be open at a time */
void links_close(struct thread *t);
void link_touch(struct link *l); /* it has something to send in this turn */
void links_flush(struct thread *t);
void count_error(struct thread *t, const char *what, const char *detail);

/* work.c */
bool queues_make(struct thread *t);
void work_add(struct queue *q, enum side s, enum op op);
void work_prepare(struct thread *t); /* puts the commands of the phase onto the links */
/* The keys of the senders; false: the queues are not all made yet. */
bool work_skey(struct thread *t);
void work_asked(struct thread *t); /* cycles have ended elsewhere: sends more */
void work_run(struct thread *t);
void work_ping(struct thread *t);
void work_lost(struct link *l);
/* Encodes the next commands of l into t->block; its length, 0: there are none. */
size_t work_block(struct link *l);
void work_content(struct link *l, simplex_bytes content);
uint64_t work_pending(const struct thread *t);

#endif
