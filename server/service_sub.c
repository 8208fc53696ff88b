/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection of a service (protocol/smp.md sections 6.3 and 7): which one has the queues of
 * the service, how their messages reach it, and how another connection takes them over.
 *
 * A queue of a service has a subscription (sub.c) only when it was subscribed by itself, or when
 * there was something to deliver: so SUBS costs nothing for queues that are empty, and a queue
 * that is used finds its connection without a look at the service. Whoever sends the first message
 * makes the subscription and puts it into `fresh` of the connection, under the lock of the service;
 * the thread of the connection takes it over from there.
 *
 * After SUBS the connection walks over the queues of the service, some at a time, waiting when its
 * client does not take what was found. Messages that arrive meanwhile are delivered by who sends
 * them; the walk leaves alone what is in flight on this connection, and takes over from the last
 * one what is still subscribed there.
 */
#include "commands.h"

#define WALK_QUEUES 64 /* looked at before others have their turn */
#define DAY_S (24 * 3600)

struct total { /* what a service has: for SOKS and ENDS */
    uint32_t queues;
    uint8_t hash[SX_SERVICE_HASH];
};

struct sx_service_sub {
    struct sx_sub sub;          /* first: this is what the service knows and what is posted */
    struct sx_sub *fresh;       /* [service] */
    struct total ended;         /* [service] of ENDS */
    bool again;                 /* [service] a message found no memory for its subscription */
    bool all;                   /* SUBS or NSUBS was used */
    bool subscribed;            /* as the statistics have it: until the loss is noticed */
    bool untold;                /* and from then on until ENDS leaves */
    bool walking, paused, tell; /* tell: ALLS at the end */
    uint32_t at;                /* of the walk */
};

static struct sx_service_sub *of(struct sx_sub *sub)
{
    return (struct sx_service_sub *)(void *)sub;
}

static bool is_ntf(const struct sx_service *svc)
{
    return svc->role == 'N';
}

/* ---- statistics ---- */

static void count(const struct sx_peer *p, enum sx_stat rcv, enum sx_stat ntf, int64_t n)
{
    sx_count(p->hub->stats, is_ntf(p->service) ? ntf : rcv, n);
}

static void count_subscribed(struct sx_service_sub *ss, bool subscribed)
{
    if (ss->subscribed == subscribed)
        return;
    ss->subscribed = subscribed;
    ss->sub.peer->n_kind[SX_SUB_SERVICE] = subscribed; /* not idle: sx_peer_busy */
    count(ss->sub.peer, SX_STAT_RCV_SERVICE_SUBS, SX_STAT_NTF_SERVICE_SUBS, subscribed ? 1 : -1);
}

/* ---- which connection ---- */

/* The day it was first seen is enough, as in the reference. */
struct sx_service *sx_service_hello(struct sx_srv *s, const struct sx_service_hello *h)
{
    int64_t now_s = sx_srv_now(s) / 1000;

    sx_services_make_room(s->store); /* it may want a place, and holds no queue yet */
    return sx_service_enter(s->store, h->role, h->cert_hash, h->chain, now_s - now_s % DAY_S);
}

static bool make_service_sub(struct sx_peer *p)
{
    if (p->service_sub != NULL)
        return true;
    struct sx_service_sub *ss = sx_calloc(1, sizeof(*ss));
    if (ss == NULL)
        return false;
    ss->sub.peer = p;
    ss->sub.kind = SX_SUB_SERVICE;
    p->service_sub = ss;
    return true;
}

static void walk_on(struct sx_service_sub *ss)
{
    sx_hub_post(&ss->sub, SX_EV_WALK, NULL);
}

static void start_walk(struct sx_service_sub *ss)
{
    ss->at = UINT32_MAX;
    ss->paused = false;
    ss->walking = true;
    walk_on(ss);
}

static struct total total_of(struct sx_service *svc)
{
    struct total t;

    sx_service_total(svc, &t.queues, t.hash);
    return t;
}

/* make_service_sub() succeeded. The service is subscribed by p from now on, another connection of
 * it gets ENDS: it had so much. */
static void take_service(struct sx_peer *p, const struct total *had)
{
    struct sx_service *svc = p->service;
    struct sx_service_sub *ss = p->service_sub;

    pthread_mutex_lock(&svc->lock);
    struct sx_sub *before = svc->sub;
    if (before != NULL && before != &ss->sub) {
        of(before)->ended = *had;
        sx_hub_post(before, SX_EV_ENDS, p->hub);
    }
    svc->sub = &ss->sub;
    atomic_store(&svc->subscribed, true);
    pthread_mutex_unlock(&svc->lock);
    /* It had lost the service and has it again before the client is told, which it is not then:
     * but what was delivered elsewhere meanwhile waits again. */
    if (before != &ss->sub && (ss->subscribed || ss->untold))
        start_walk(ss);
    count_subscribed(ss, true);
}

static bool has_service(const struct sx_peer *p)
{
    struct sx_service *svc = p->service;

    pthread_mutex_lock(&svc->lock);
    bool has = svc->sub == &p->service_sub->sub;
    pthread_mutex_unlock(&svc->lock);
    return has;
}

bool sx_service_serves(const struct sx_peer *p, const struct sx_queue *q)
{
    return p->service_sub != NULL && q->served.svc == p->service && has_service(p);
}

static void adopt_all(struct sx_service_sub *ss)
{
    struct sx_service *svc = ss->sub.peer->service;
    struct sx_sub *sub;

    pthread_mutex_lock(&svc->lock);
    struct sx_sub *fresh = ss->fresh;
    ss->fresh = NULL;
    pthread_mutex_unlock(&svc->lock);
    while ((sub = fresh) != NULL) {
        fresh = sub->next;
        sub->fresh = false;
        sx_sub_link(sub);
    }
}

void sx_service_adopt(struct sx_sub *sub)
{
    if (sub->fresh)
        adopt_all(sub->peer->service_sub);
}

void sx_service_leave(struct sx_peer *p)
{
    struct sx_service_sub *ss = p->service_sub;

    if (ss == NULL)
        return;
    pthread_mutex_lock(&p->service->lock);
    if (p->service->sub == &ss->sub) {
        p->service->sub = NULL;
        atomic_store(&p->service->subscribed, false);
    }
    pthread_mutex_unlock(&p->service->lock);
    adopt_all(ss); /* nobody makes further ones */
    while (p->subs != NULL)
        sx_sub_drop(p->subs);
    count_subscribed(ss, false);
    sx_hub_forget(p->hub, &ss->sub);
    p->service_sub = NULL;
    sx_free(ss);
}

/* ---- queues ---- */

static struct sx_sub **place_of(struct sx_queue *q, enum sx_sub_kind kind)
{
    return kind == SX_SUB_NTF ? &q->ntf->sub : &q->sub;
}

/* With the lock of svc held. */
static void put_fresh(struct sx_service *svc, struct sx_sub *sub, struct sx_queue *q,
                      const struct sx_hub *from)
{
    struct sx_service_sub *ss = of(svc->sub);

    sub->q = q;
    sx_queue_ref(q);
    sub->peer = ss->sub.peer;
    sub->service = true;
    sub->fresh = true;
    sub->next = ss->fresh;
    ss->fresh = sub;
    sx_hub_post(sub, SX_EV_NEW, from);
}

/* Makes sure that there is the subscription of a service that is connected. False: no memory. */
static bool reach(struct sx_queue *q, enum sx_sub_kind kind, const struct sx_hub *from)
{
    struct sx_service *svc = sx_queue_service(q, kind == SX_SUB_NTF);
    struct sx_sub **place = place_of(q, kind);
    bool ok = true;

    if (*place != NULL || svc == NULL || !atomic_load(&svc->subscribed))
        return true;
    struct sx_sub *sub = sx_calloc(1, sizeof(*sub));
    if (sub != NULL) {
        sub->kind = (uint8_t)kind;
        if (kind == SX_SUB_NTF)
            memcpy(sub->ntf_id, q->ntf->node.id, sizeof(sub->ntf_id));
    }
    pthread_mutex_lock(&svc->lock);
    if (svc->sub != NULL && kind == SX_SUB_MSG &&
        sx_sub_find(svc->sub->peer, q, SX_SUB_GET) != NULL) {
        /* it asks for the messages of this queue by itself */
    } else if (svc->sub != NULL && sub != NULL) {
        put_fresh(svc, sub, q, from);
        *place = sub;
    } else if (svc->sub != NULL) {
        of(svc->sub)->again = true;
        sx_hub_post(svc->sub, SX_EV_WALK, from);
        ok = false;
    }
    pthread_mutex_unlock(&svc->lock);
    if (*place != sub)
        sx_free(sub);
    return ok;
}

struct sx_sub *sx_sub_reach(struct sx_queue *q, enum sx_sub_kind kind, const struct sx_hub *from)
{
    (void)reach(q, kind, from);
    return *place_of(q, kind);
}

void sx_sub_delete(struct sx_peer *p, struct sx_queue *q, enum sx_sub_kind kind)
{
    struct sx_sub *sub = sx_sub_reach(q, kind, p->hub);

    if (sub != NULL)
        sx_sub_detach(sub, p, SX_EV_DELD);
    while (kind == SX_SUB_MSG && q->gets != NULL) /* nothing is left to acknowledge */
        sx_sub_detach(q->gets, p, SX_EV_DROP);
}

/* ---- the walk after SUBS and NSUBS ---- */

/* The queue's subscription on this connection, if something waits in it: *waits. With the lock of q
 * held. NULL: nothing to do, or it is on its way already. */
static struct sx_sub *subscribe_waiting(struct sx_peer *p, struct sx_queue *q,
                                        enum sx_sub_kind kind, bool waits)
{
    struct sx_sub *sub = *place_of(q, kind);
    bool others = sub != NULL && sub->peer != p; /* the last connection's */

    if (!others && (!waits || (sub != NULL && sub->in_flight)))
        return NULL;
    if (!has_service(p))
        return NULL; /* any more, though not told yet: the queues are looked at by who has it */
    if (others) {
        sx_sub_detach(sub, p, SX_EV_DROP);
        sub = NULL;
    }
    if (!waits || (kind == SX_SUB_MSG && sx_sub_find(p, q, SX_SUB_GET) != NULL))
        return NULL;
    if (sub == NULL && (sub = sx_sub_make(p, q, kind)) == NULL) {
        p->failed = true; /* the client learns it from the closed connection */
        sx_peer_mark_ready(p);
    }
    return sub;
}

static void look_at(struct sx_peer *p, struct sx_queue *q)
{
    struct sx_store *st = p->hub->srv->store;
    struct sx_answer a = { .msg = NULL };
    struct sx_sub *sub;

    sx_queue_lock(st, q);
    if (is_ntf(p->service)) {
        if (!q->deleted && q->ntf != NULL && q->ntf->served.svc == p->service &&
            (sub = subscribe_waiting(p, q, SX_SUB_NTF, q->ntf->head != NULL)) != NULL)
            sx_sub_queue_ntf(sub);
    } else if (!q->deleted && q->served.svc == p->service &&
               (sub = subscribe_waiting(p, q, SX_SUB_MSG, q->head != NULL)) != NULL) {
        sx_answer_head(&a, sub, q);
    }
    sx_queue_unlock(st, q);
    if (a.msg == NULL)
        return;
    sx_peer_send(p, &a);
    sx_count(p->hub->stats, SX_STAT_RCV_SUB_MSG, 1);
}

static void end_walk(struct sx_service_sub *ss)
{
    struct sx_answer alls = { .rsp = { .tag = SX_R_ALLS } };

    ss->walking = false;
    if (ss->tell)
        sx_peer_send(ss->sub.peer, &alls);
    ss->tell = false;
}

static void walk(struct sx_service_sub *ss)
{
    struct sx_queue *found[WALK_QUEUES];
    struct sx_peer *p = ss->sub.peer;

    if (sx_peer_paused(p)) {
        ss->paused = true;
        return;
    }
    size_t n = sx_service_walk(p->service, &ss->at, found, SX_COUNT(found));
    for (size_t i = 0; i < n; i++) {
        look_at(p, found[i]);
        sx_queue_unref(found[i]);
    }
    if (ss->at > 0)
        walk_on(ss);
    else
        end_walk(ss);
}

void sx_service_resume(struct sx_peer *p)
{
    struct sx_service_sub *ss = p->service_sub;

    if (ss == NULL || !ss->paused || sx_peer_paused(p))
        return;
    ss->paused = false;
    walk_on(ss);
}

/* ---- events ---- */

static void lose_service(struct sx_service_sub *ss)
{
    struct sx_peer *p = ss->sub.peer;
    struct sx_ended e = { .kind = SX_SUB_SERVICE };
    struct sx_sub *next;

    if (has_service(p))
        return; /* subscribed again meanwhile */
    ss->all = ss->walking = ss->paused = ss->tell = false;
    adopt_all(ss);
    for (struct sx_sub *sub = p->subs; sub != NULL; sub = next) {
        next = sub->next;
        if (sub->service)
            sx_sub_drop(sub);
    }
    count_subscribed(ss, false);
    count(p, SX_STAT_RCV_SUB_END, SX_STAT_NTF_SRV_SUB_END, 1);
    memcpy(e.id, p->service->id, sizeof(e.id));
    ss->untold = true;
    (void)sx_peer_add_ended(p, &e);
}

void sx_service_event(struct sx_sub *sub, unsigned events)
{
    struct sx_service_sub *ss = of(sub);
    struct sx_service *svc = sub->peer->service;

    if (events & SX_EV_ENDS)
        lose_service(ss);
    if (!(events & SX_EV_WALK))
        return;
    pthread_mutex_lock(&svc->lock);
    bool again = ss->again && svc->sub == sub;
    ss->again = false;
    pthread_mutex_unlock(&svc->lock);
    if (again) {
        ss->walking = true;
        ss->at = UINT32_MAX;
    }
    if (ss->walking && !ss->paused)
        walk(ss);
}

bool sx_service_ended(const struct sx_peer *p, struct sx_rsp *rsp)
{
    struct sx_service_sub *ss = p->service_sub;

    if (ss == NULL)
        return false;
    ss->untold = false;
    if (has_service(p))
        return false;
    pthread_mutex_lock(&p->service->lock);
    *rsp = (struct sx_rsp){ .tag = SX_R_ENDS };
    rsp->soks.count = ss->ended.queues;
    rsp->soks.has_hash = true;
    memcpy(rsp->soks.hash, ss->ended.hash, sizeof(rsp->soks.hash));
    pthread_mutex_unlock(&p->service->lock);
    return true;
}

/* ---- commands ---- */

/* What the client believes to have, and what there is: for the statistics. */
static void count_difference(const struct sx_run *r, int64_t there, const uint8_t *hash)
{
    const struct sx_cmd *c = r->cmd;
    struct sx_counters *stats = r->p->hub->stats;
    unsigned at = is_ntf(r->p->service) ? SX_STAT_NTF_SRV_SUB_OK : SX_STAT_RCV_SUB_OK;
    unsigned found = SX_SUBS_OK;

    if (!c->subs.has_hash || c->subs.count < 0) /* nonsense, and differences could overflow */
        return;
    if (there != c->subs.count)
        found = there > c->subs.count ? SX_SUBS_MORE : SX_SUBS_FEWER;
    else if (memcmp(hash, c->subs.hash, SX_SERVICE_HASH) != 0)
        found = SX_SUBS_DIFF;
    sx_count(stats, at + found, 1);
    if (found == SX_SUBS_MORE)
        sx_count(stats, at + SX_SUBS_MORE_TOTAL, there - c->subs.count);
    if (found == SX_SUBS_FEWER && c->subs.count <= INT32_MAX)
        sx_count(stats, at + SX_SUBS_FEWER_TOTAL, c->subs.count - there);
}

/*
 * SUBS, NSUBS. What the client believes to have is only counted: it has the server's count and
 * hash in the answer. Repeated on the same connection it changes nothing, as in the reference.
 */
void sx_run_subs(struct sx_run *r)
{
    struct sx_peer *p = r->p;

    if (!make_service_sub(p)) {
        sx_run_fail(r, SX_ERR_INTERNAL);
        return;
    }
    struct sx_service_sub *ss = p->service_sub;
    struct total there = total_of(p->service);
    take_service(p, &there);
    r->answer.rsp.tag = SX_R_SOKS;
    r->answer.rsp.soks.has_hash = true;
    r->answer.rsp.soks.count = there.queues;
    memcpy(r->answer.rsp.soks.hash, there.hash, sizeof(there.hash));
    if (ss->all) {
        count(p, SX_STAT_RCV_SUB_DUPLICATE, SX_STAT_NTF_SRV_SUB_DUPLICATE, 1);
        return;
    }
    count(p, SX_STAT_RCV_SUB_COUNT, SX_STAT_NTF_SRV_SUB_COUNT, 1);
    count(p, SX_STAT_RCV_SUB_QUEUES, SX_STAT_NTF_SRV_SUB_QUEUES, there.queues);
    count_difference(r, there.queues, there.hash);
    ss->all = true;
    ss->tell = !is_ntf(p->service); /* notifications are never all there */
    start_walk(ss);
}

static void count_association(const struct sx_run *r, const struct sx_service *before,
                              const struct sx_service *now, bool ntf)
{
    struct sx_counters *c = r->p->hub->stats;

    if (now == NULL)
        sx_count(c, ntf ? SX_STAT_NTF_ASSOC_REMOVED : SX_STAT_RCV_ASSOC_REMOVED, 1);
    else if (before == NULL)
        sx_count(c, ntf ? SX_STAT_NTF_ASSOC_NEW : SX_STAT_RCV_ASSOC_NEW, 1);
    else if (before == now)
        sx_count(c, ntf ? SX_STAT_NTF_ASSOC_DUPLICATE : SX_STAT_RCV_ASSOC_DUPLICATE, 1);
    else
        sx_count(c, ntf ? SX_STAT_NTF_ASSOC_UPDATED : SX_STAT_RCV_ASSOC_UPDATED, 1);
}

/* With the service whose session this is, or with none. Unless it fails nothing has changed. */
static enum sx_err associate(struct sx_run *r, struct sx_queue *q, bool ntf)
{
    struct sx_service *before = sx_queue_service(q, ntf), *now = r->p->service;
    enum sx_sub_kind kind = ntf ? SX_SUB_NTF : SX_SUB_MSG;

    if (before == NULL && now == NULL)
        return SX_ERR_NONE;
    if (now != NULL && !make_service_sub(r->p))
        return SX_ERR_INTERNAL;
    struct total had = { 0 };
    if (now != NULL)
        had = total_of(now); /* without this queue */
    /* A service that loses the queue hears of it at once, not with its next SOKS. */
    if (before != now && !reach(q, kind, r->p->hub))
        return SX_ERR_INTERNAL;
    struct sx_sub *sub = *place_of(q, kind);
    enum sx_err e = sx_queue_set_service(r->srv->store, q, ntf, now);
    if (e != SX_ERR_NONE)
        return e;
    if (now != NULL)
        take_service(r->p, &had);
    count_association(r, before, now, ntf);
    /* The same service on an older connection: that one gets ENDS. */
    if (sub != NULL && sub->peer != r->p)
        sx_sub_detach(sub, r->p, before == now ? SX_EV_DROP : SX_EV_END);
    return e;
}

enum sx_err sx_run_subscribe(struct sx_run *r, struct sx_queue *q, enum sx_sub_kind kind,
                             struct sx_sub **out)
{
    struct sx_sub *sub = sx_sub_find(r->p, q, kind), *made = NULL;

    if (sub == NULL && sx_sub_may_add(r->p))
        sub = made = sx_sub_new(r->p, q, kind);
    if (sub == NULL)
        return SX_ERR_INTERNAL;
    enum sx_err e = associate(r, q, kind == SX_SUB_NTF);
    if (e != SX_ERR_NONE)
        sx_free(made);
    else if (made != NULL)
        sx_sub_put(made);
    *out = sub;
    return e;
}

void sx_run_answer_sok(struct sx_run *r)
{
    r->answer.rsp.tag = SX_R_SOK;
    r->answer.rsp.sok.has_service_id = r->p->service != NULL;
    if (r->p->service != NULL)
        r->answer.rsp.sok.service_id = sx_bytes(r->p->service->id, SX_ID_LEN);
}
