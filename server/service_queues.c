/* SPDX-License-Identifier: Apache-2.0 */
/* The queues of a service: which they are, their number and the hash of their ids. */
#include "persist.h"
#include "services.h"

#define FIRST_QUEUES 4

static struct sx_served *served(struct sx_queue *q, bool ntf)
{
    return ntf ? &q->ntf->served : &q->served;
}

static struct sx_queue *queue_of(const struct sx_service *svc, struct sx_served *m)
{
    uint8_t *at = (uint8_t *)m;

    if (svc->role != 'N')
        return (struct sx_queue *)(void *)(at - offsetof(struct sx_queue, served));
    return ((struct sx_notifier *)(void *)(at - offsetof(struct sx_notifier, served)))->q;
}

/* The hash is its own inverse: the same for a queue that comes and one that goes. */
static void mix(struct sx_service *svc, const uint8_t id[SX_ID_LEN])
{
    uint8_t md5[SX_SERVICE_HASH];

    sx_md5(sx_bytes(id, SX_ID_LEN), md5);
    for (size_t i = 0; i < sizeof(md5); i++)
        svc->hash[i] ^= md5[i];
}

static const uint8_t *id_of(const struct sx_queue *q, bool ntf)
{
    return ntf ? q->ntf->node.id : q->rcv.id;
}

/* Room for one more, until it is used or given back: what happens between must not fail. */
static bool reserve(struct sx_service *svc)
{
    bool ok = true;

    pthread_mutex_lock(&svc->lock);
    if (svc->n_queues + svc->reserved == svc->size) {
        uint32_t size = svc->size == 0 ? FIRST_QUEUES : svc->size + svc->size / 2;
        struct sx_served **more = NULL;
        if (svc->size <= SX_SERVICE_QUEUES_MAX)
            more = sx_malloc(size * sizeof(struct sx_served *));
        ok = more != NULL;
        if (ok && svc->n_queues > 0)
            memcpy(more, svc->queue, svc->n_queues * sizeof(struct sx_served *));
        if (ok) {
            sx_free(svc->queue);
            svc->queue = more;
            svc->size = size;
        }
    }
    if (ok)
        svc->reserved++;
    pthread_mutex_unlock(&svc->lock);
    return ok;
}

static void give_back(struct sx_service *svc)
{
    pthread_mutex_lock(&svc->lock);
    svc->reserved--;
    pthread_mutex_unlock(&svc->lock);
}

/* Into the reserved room. */
static void join(struct sx_service *svc, struct sx_queue *q, bool ntf)
{
    struct sx_served *m = served(q, ntf);

    pthread_mutex_lock(&svc->lock);
    svc->reserved--;
    m->svc = svc;
    m->at = svc->n_queues;
    svc->queue[svc->n_queues++] = m;
    mix(svc, id_of(q, ntf));
    pthread_mutex_unlock(&svc->lock);
}

void sx_queue_leave_service(struct sx_queue *q, bool ntf)
{
    struct sx_served *m = served(q, ntf);
    struct sx_service *svc = m->svc;

    if (svc == NULL)
        return;
    pthread_mutex_lock(&svc->lock);
    struct sx_served *last = svc->queue[--svc->n_queues];
    svc->queue[m->at] = last;
    last->at = m->at;
    m->svc = NULL;
    mix(svc, id_of(q, ntf));
    pthread_mutex_unlock(&svc->lock);
}

struct sx_service *sx_queue_service(const struct sx_queue *q, bool ntf)
{
    return ntf ? q->ntf->served.svc : q->served.svc;
}

enum sx_err sx_queue_set_service(struct sx_store *st, struct sx_queue *q, bool ntf,
                                 struct sx_service *svc)
{
    if (sx_queue_service(q, ntf) == svc) {
        q->staged = q->staged || svc != NULL; /* it may have joined a moment ago */
        return SX_ERR_NONE;
    }
    enum sx_err e = svc == NULL ? SX_ERR_NONE : sx_service_record(st, svc);
    if (e != SX_ERR_NONE)
        return e;
    if (svc != NULL && !reserve(svc))
        return SX_ERR_INTERNAL;
    if (!sx_persist_queue_service(st, q, ntf, svc)) {
        if (svc != NULL)
            give_back(svc);
        return SX_ERR_INTERNAL;
    }
    sx_queue_leave_service(q, ntf);
    if (svc != NULL)
        join(svc, q, ntf);
    return SX_ERR_NONE;
}

simplex_rc sx_queue_load_service(struct sx_queue *q, bool ntf, struct sx_service *svc)
{
    if (svc != NULL && (svc->role != (ntf ? 'N' : 'M') || (ntf && q->ntf == NULL)))
        return SIMPLEX_E_ARG;
    if (svc != NULL && !reserve(svc))
        return SIMPLEX_E_NOMEM;
    if (!ntf || q->ntf != NULL)
        sx_queue_leave_service(q, ntf);
    if (svc != NULL)
        join(svc, q, ntf);
    return SIMPLEX_OK;
}

void sx_service_total(struct sx_service *svc, uint32_t *count, uint8_t hash[SX_SERVICE_HASH])
{
    pthread_mutex_lock(&svc->lock);
    *count = svc->n_queues;
    memcpy(hash, svc->hash, SX_SERVICE_HASH);
    pthread_mutex_unlock(&svc->lock);
}

size_t sx_service_walk(struct sx_service *svc, uint32_t *at, struct sx_queue **out, size_t max)
{
    size_t n = 0;

    pthread_mutex_lock(&svc->lock);
    if (*at > svc->n_queues)
        *at = svc->n_queues;
    while (*at > 0 && n < max) {
        out[n] = queue_of(svc, svc->queue[--*at]);
        sx_queue_ref(out[n++]); /* one is held while it is on the list */
    }
    pthread_mutex_unlock(&svc->lock);
    return n;
}
