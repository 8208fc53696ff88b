/* SPDX-License-Identifier: Apache-2.0 */
/* Subscriptions: who a queue delivers to, and how another connection takes that over. */
#include "peer.h"

struct sx_sub *sx_sub_find(const struct sx_peer *p, const struct sx_queue *q, enum sx_sub_kind kind)
{
    struct sx_sub *sub = kind == SX_SUB_MSG ? q->sub : q->gets;

    if (kind == SX_SUB_NTF)
        sub = q->ntf == NULL ? NULL : q->ntf->sub;
    while (kind == SX_SUB_GET && sub != NULL && sub->peer != p)
        sub = sub->get_next;
    return sub != NULL && sub->peer == p ? sub : NULL;
}

static void attach(struct sx_sub *sub, struct sx_peer *p)
{
    struct sx_queue *q = sub->q;

    if (sub->kind == SX_SUB_GET) {
        sub->get_next = q->gets;
        q->gets = sub;
        return;
    }
    struct sx_sub **place = sub->kind == SX_SUB_MSG ? &q->sub : &q->ntf->sub;
    if (*place != NULL)
        sx_sub_detach(*place, p, SX_EV_END);
    if (sub->kind == SX_SUB_NTF)
        memcpy(sub->ntf_id, q->ntf->node.id, sizeof(sub->ntf_id));
    *place = sub;
}

/* By the thread of the hub of sub. */
static void count_kind(const struct sx_sub *sub, int n)
{
    struct sx_peer *p = sub->peer;
    uint32_t was = p->n_kind[sub->kind];

    p->n_kind[sub->kind] = was + (uint32_t)n;
    if (sub->kind == SX_SUB_GET || sub->service) /* services are counted as a whole */
        return;
    bool ntf = sub->kind == SX_SUB_NTF;
    sx_count(p->hub->stats, ntf ? SX_STAT_NTF_SUBS : SX_STAT_SUBS, n);
    if (was == 0 || p->n_kind[sub->kind] == 0)
        sx_count(p->hub->stats, ntf ? SX_STAT_NTF_SUB_CLIENTS : SX_STAT_SUB_CLIENTS, n);
}

void sx_sub_link(struct sx_sub *sub)
{
    struct sx_peer *p = sub->peer;

    sub->prev = NULL;
    sub->next = p->subs;
    if (p->subs != NULL)
        p->subs->prev = sub;
    p->subs = sub;
    p->n_subs++;
    count_kind(sub, 1);
}

struct sx_sub *sx_sub_add(struct sx_peer *p, struct sx_queue *q, enum sx_sub_kind kind)
{
    return sx_sub_may_add(p) ? sx_sub_make(p, q, kind) : NULL;
}

struct sx_sub *sx_sub_make(struct sx_peer *p, struct sx_queue *q, enum sx_sub_kind kind)
{
    struct sx_sub *sub = sx_sub_new(p, q, kind);

    if (sub != NULL)
        sx_sub_put(sub);
    return sub;
}

struct sx_sub *sx_sub_new(struct sx_peer *p, struct sx_queue *q, enum sx_sub_kind kind)
{
    struct sx_sub *sub = sx_calloc(1, sizeof(*sub));

    if (sub == NULL)
        return NULL;
    sub->q = q;
    sub->peer = p;
    sub->kind = (uint8_t)kind;
    sub->service = p->service != NULL && kind != SX_SUB_GET;
    return sub;
}

void sx_sub_put(struct sx_sub *sub)
{
    sx_queue_ref(sub->q);
    sx_sub_link(sub);
    attach(sub, sub->peer);
}

void sx_sub_push(struct sx_queue *q, struct sx_counters *c, const struct sx_hub *from)
{
    struct sx_sub *sub = sx_sub_reach(q, SX_SUB_MSG, from);

    if (sub == NULL || sub->in_flight)
        return;
    sx_sub_flight(sub, true, c);
    sub->pushed = true;
    memcpy(sub->delivered, q->head->id, sizeof(sub->delivered));
    sx_hub_post(sub, SX_EV_MSG, from);
}

/* Takes the subscription off its queue. False: it was not on it any more, or is one of GET. With
 * the lock of the queue held. */
static bool unhook(struct sx_sub *sub)
{
    struct sx_queue *q = sub->q;

    if (q->sub == sub) {
        q->sub = NULL;
        return true;
    }
    if (q->ntf != NULL && q->ntf->sub == sub) {
        q->ntf->sub = NULL;
        return true;
    }
    for (struct sx_sub **s = &q->gets; *s != NULL; s = &(*s)->get_next) {
        if (*s == sub) {
            *s = sub->get_next;
            break;
        }
    }
    return false;
}

/*
 * Off its queue: what came for a connection that had lost its service already, without knowing it,
 * goes to the one that has it. Nobody else would tell that one. Our own hub may rest: it is woken.
 */
static void pass_on(const struct sx_sub *sub)
{
    struct sx_queue *q = sub->q;

    if (sub->kind == SX_SUB_MSG && sub->pushed && q->head != NULL)
        sx_sub_push(q, sub->peer->hub->stats, NULL);
    if (sub->kind == SX_SUB_NTF && q->ntf->head != NULL) {
        struct sx_sub *now = sx_sub_reach(q, SX_SUB_NTF, NULL);
        if (now != NULL)
            sx_hub_post(now, SX_EV_NTF, NULL);
    }
}

/* Off the lists of its peer, off the inbox, gone. By the thread of its hub. */
static void free_sub(struct sx_sub *sub)
{
    struct sx_peer *p = sub->peer;

    sx_service_adopt(sub); /* it is in the list of the peer, if it was not */
    sx_hub_forget(p->hub, sub);
    if (sub->prev == NULL)
        p->subs = sub->next;
    else
        sub->prev->next = sub->next;
    if (sub->next != NULL)
        sub->next->prev = sub->prev;
    p->n_subs--;
    count_kind(sub, -1);
    sx_sub_unqueue_ntf(sub);
    sx_sub_flight(sub, false, p->hub->stats); /* off its queue: nobody else has it */
    sx_queue_unref(sub->q);
    sx_free(sub);
}

void sx_sub_detach(struct sx_sub *sub, struct sx_peer *p, unsigned events)
{
    (void)unhook(sub);
    if (sub->peer == p)
        free_sub(sub); /* the caller has a reference to the queue */
    else
        sx_hub_post(sub, events, p->hub);
}

void sx_sub_drop(struct sx_sub *sub)
{
    struct sx_store *st = sub->peer->hub->srv->store;

    sx_queue_lock(st, sub->q);
    if (unhook(sub) && sub->service)
        pass_on(sub);
    sx_queue_unlock(st, sub->q);
    free_sub(sub);
}

void sx_sub_queue_ntf(struct sx_sub *sub)
{
    struct sx_peer *p = sub->peer;

    if (sub->ntf_queued)
        return;
    sub->ntf_queued = true;
    sub->line_prev = NULL;
    sub->line_next = p->ntfs;
    if (p->ntfs != NULL)
        p->ntfs->line_prev = sub;
    p->ntfs = sub;
    sx_peer_mark_ready(p);
}

void sx_sub_unqueue_ntf(struct sx_sub *sub)
{
    if (!sub->ntf_queued)
        return;
    sub->ntf_queued = false;
    if (sub->line_prev != NULL)
        sub->line_prev->line_next = sub->line_next;
    else
        sub->peer->ntfs = sub->line_next;
    if (sub->line_next != NULL)
        sub->line_next->line_prev = sub->line_prev;
}

/* Room for one more END, in front of those that wait or in more memory. */
static bool make_room(struct sx_peer *p)
{
    struct sx_ended *to = p->ended;

    if (p->ended_at + p->n_ended < p->ended_size)
        return true;
    if (p->ended_at <= p->ended_size / 2) {
        size_t size = p->ended_size == 0 ? 16 : p->ended_size * 2;
        if ((to = sx_malloc(size * sizeof(*to))) == NULL)
            return false;
        p->ended_size = size;
    }
    if (p->n_ended > 0)
        memmove(to, p->ended + p->ended_at, p->n_ended * sizeof(*to));
    if (to != p->ended)
        sx_free(p->ended);
    p->ended = to;
    p->ended_at = 0;
    return true;
}

/* Connections that take their subscriptions from each other have many ENDs to hear of: with more
 * than subscriptions are allowed they do not wait for the flush. */
bool sx_peer_add_ended(struct sx_peer *p, const struct sx_ended *e)
{
    sx_peer_mark_ready(p);
    if (!make_room(p)) {
        p->failed = true; /* closing tells the client as well */
        return false;
    }
    p->ended[p->ended_at + p->n_ended++] = *e;
    if (p->n_ended > p->hub->srv->limits.subs)
        sx_peer_flush_ends(p);
    return true;
}

void sx_sub_ended(struct sx_sub *sub, bool deld)
{
    struct sx_ended e = { .kind = sub->kind, .deld = deld };

    memcpy(e.id, sub->kind == SX_SUB_NTF ? sub->ntf_id : sub->q->rcv.id, sizeof(e.id));
    (void)sx_peer_add_ended(sub->peer, &e);
    free_sub(sub);
}
