/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of a peer: answers, their packing into blocks, subscriptions. */
#ifndef SX_PEER_H
#define SX_PEER_H

#include "hub.h"

/*
 * A transmission to the client. The body of a MSG is encrypted only when its block is made: until
 * then the message is a reference, so that waiting output costs no 16 KB each.
 */
struct sx_answer {
    simplex_bytes corr_id; /* empty: an event */
    simplex_bytes entity_id;
    struct sx_rsp rsp;  /* MSG: without body */
    struct sx_queue *q; /* MSG: both referenced */
    struct sx_msg *msg;
};

struct sx_answers {
    struct sx_wr buf; /* encoded transmissions without MSG bodies, no lengths */
    struct sx_answer_at {
        uint32_t at, len;   /* in buf */
        struct sx_queue *q; /* MSG: body to append */
        struct sx_msg *msg;
    } item[SX_BATCH_MAX + 1];
    size_t n;
    uint64_t
        stamp; /* what the answers tell must be durable first (commit.h); 0: nothing to wait for */
};

/* The transmission of an answer; of a MSG without its body. */
void sx_answer_encode(struct sx_wr *to, const struct sx_session *s, uint16_t version,
                      const struct sx_answer *a);

#define SX_ANSWERS_CAP (8u << 20)    /* 255 answers of 16 KB and then some */
#define SX_ANSWERS_KEPT (256u << 10) /* memory kept for the next block */

/* Adds an answer; takes over the references of a->q and a->msg. */
void sx_answers_add(struct sx_answers *to, const struct sx_peer *p, const struct sx_answer *a);
/* Packs what was added into blocks of p (section 2) and empties `from`. */
void sx_answers_send(struct sx_answers *from, struct sx_peer *p);
/* The same, each in a block of its own. */
void sx_answers_send_apart(struct sx_answers *from, struct sx_peer *p);
/* Moves the first answer of `from` behind those in `to`. */
void sx_answers_join(struct sx_answers *to, struct sx_answers *from);
void sx_answers_drop(struct sx_answers *a); /* drops references, keeps memory */
void sx_answers_free(struct sx_answers *a);

/* One event by itself in a block. Takes over the references. */
void sx_peer_send(struct sx_peer *p, const struct sx_answer *a);

void sx_peer_mark_ready(struct sx_peer *p);

/* Makes an answer of the head of q (which is not empty): references taken, sub set in flight. */
void sx_answer_head(struct sx_answer *a, struct sx_sub *sub, struct sx_queue *q);

/* ---- subscriptions; with the lock of q held ---- */

/* A message of the subscription waits for its ACK: by any thread; or does not any more: by the
 * thread of its hub. c: of this thread. */
static inline void sx_sub_flight(struct sx_sub *sub, bool in_flight, struct sx_counters *c)
{
    if (sub->in_flight == in_flight)
        return;
    sub->in_flight = in_flight;
    if (!in_flight)
        sx_unacked_remove(sub->peer->hub, sub);
    sx_count(c, SX_STAT_DELIVERED, in_flight ? 1 : -1);
    if (in_flight && atomic_fetch_add(&sub->peer->n_flight, 1) == 0)
        sx_count(c, SX_STAT_DELIVERED_CLIENTS, 1);
    else if (!in_flight && atomic_fetch_sub(&sub->peer->n_flight, 1) == 1)
        sx_count(c, SX_STAT_DELIVERED_CLIENTS, -1);
}

struct sx_sub *sx_sub_find(const struct sx_peer *p, const struct sx_queue *q,
                           enum sx_sub_kind kind);
/* Whether p may have one more: to be asked before anything is changed for it. */
static inline bool sx_sub_may_add(const struct sx_peer *p)
{
    return p->n_subs < p->hub->srv->limits.subs;
}
/* Subscribes p; the former subscription of another peer is told to end. NULL: no memory. For
 * SX_SUB_GET nobody is told. */
struct sx_sub *sx_sub_add(struct sx_peer *p, struct sx_queue *q, enum sx_sub_kind kind);
/* The same without the limit of a connection: what a service has is limited by its queues. */
struct sx_sub *sx_sub_make(struct sx_peer *p, struct sx_queue *q, enum sx_sub_kind kind);
/* The same in two steps, of which the second cannot fail; in between sx_free undoes the first. */
struct sx_sub *sx_sub_new(struct sx_peer *p, struct sx_queue *q, enum sx_sub_kind kind);
void sx_sub_put(struct sx_sub *sub);
/* The head of q is new: a subscriber with nothing in flight gets it. c: of this thread. from: as
 * sx_hub_post has it. */
void sx_sub_push(struct sx_queue *q, struct sx_counters *c, const struct sx_hub *from);
/* Detaches a subscription from its queue: an event for another peer, or freed when it is p's. */
void sx_sub_detach(struct sx_sub *sub, struct sx_peer *p, unsigned events);

/* ---- services (service_sub.c); with the lock of q held ---- */

/*
 * The subscription of the queue (of its notifier). When there is none but its service is connected,
 * one is made for that connection. NULL: nobody is subscribed, or there is no memory: then the
 * connection is asked to look at all its queues.
 */
struct sx_sub *sx_sub_reach(struct sx_queue *q, enum sx_sub_kind kind, const struct sx_hub *from);
/* p is a service that is subscribed, and q is one of its queues. */
bool sx_service_serves(const struct sx_peer *p, const struct sx_queue *q);
/* p deletes q, or its notifier: whoever is subscribed, or has the service, gets DELD. */
void sx_sub_delete(struct sx_peer *p, struct sx_queue *q, enum sx_sub_kind kind);

/* ---- services; by the thread of their hub, without a lock ---- */

void sx_service_event(struct sx_sub *sub, unsigned events); /* of SX_SUB_SERVICE */
void sx_service_adopt(struct sx_sub *sub);                  /* SX_EV_NEW */
void sx_service_leave(struct sx_peer *p);                   /* p is about to be closed */
void sx_service_resume(struct sx_peer *p);                  /* there is room for output again */
/* The subscription is not p's any more, and ENDS is to say of how many queues. */
bool sx_service_ended(const struct sx_peer *p, struct sx_rsp *rsp);

/* ---- subscriptions; by the thread of their hub, without the lock ---- */

void sx_sub_drop(struct sx_sub *sub);      /* off its queue and freed */
void sx_sub_link(struct sx_sub *sub);      /* into the list of its peer */
void sx_sub_queue_ntf(struct sx_sub *sub); /* its notifications wait for the flush */
void sx_sub_unqueue_ntf(struct sx_sub *sub);
void sx_sub_ended(struct sx_sub *sub, bool deld); /* frees it; END or DELD waits */
/* False: no memory, p has failed. */
bool sx_peer_add_ended(struct sx_peer *p, const struct sx_ended *e);
void sx_hub_forget(struct sx_hub *h, struct sx_sub *sub); /* out of the inbox */

#endif
