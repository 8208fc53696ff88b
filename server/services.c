/* SPDX-License-Identifier: Apache-2.0 */
/* The registry of services and the queues of each (protocol/smp.md sections 4 and 6.3). */
#include "services.h"

#include "persist.h"
#include "store_index.h"
#include "store_load.h"

#define BUCKETS 4096 /* for SX_SERVICES_MAX: chains of 4, and those that are connected */
#define FIRST_QUEUES 4
#define MAKE_ROOM 64 /* forgotten at a time */
#define FULL_MS 1000 /* looked for again after so long */
#define HOUR_MS 3600000

struct sx_services {
    pthread_mutex_t lock;
    struct sx_service *by_id[BUCKETS], *by_cert[BUCKETS];
    struct sx_service *first, *last;
    struct sx_services_cfg cfg; /* without zeros */
    size_t recorded, forgotten, refused;
    int64_t since_ms; /* the interval began */
    size_t n_new;     /* recorded in it */
    int64_t full_ms;  /* nothing could be forgotten then; 0: it could */
};

/* ---- registry ---- */

static void set_limits(struct sx_services_cfg *to, const struct sx_services_cfg *cfg)
{
    to->max = cfg->max == 0 ? SX_SERVICES_MAX : cfg->max;
    to->max_new = cfg->max_new == 0 ? SX_SERVICES_NEW : cfg->max_new;
    to->interval_ms = cfg->interval_ms <= 0 ? HOUR_MS : cfg->interval_ms;
}

simplex_rc sx_services_open(const struct sx_services_cfg *cfg, struct sx_services **out)
{
    struct sx_services *s = sx_calloc(1, sizeof(*s));

    *out = NULL;
    if (s == NULL)
        return SIMPLEX_E_NOMEM;
    if (pthread_mutex_init(&s->lock, NULL) != 0) {
        sx_free(s);
        return SIMPLEX_E_SYSTEM;
    }
    set_limits(&s->cfg, cfg);
    s->since_ms = sx_mono_ms();
    *out = s;
    return SIMPLEX_OK;
}

static void free_service(struct sx_service *svc)
{
    pthread_mutex_destroy(&svc->lock);
    sx_free(svc->queue);
    sx_free(svc);
}

void sx_services_close(struct sx_services *s)
{
    if (s == NULL)
        return;
    while (s->first != NULL) {
        struct sx_service *svc = s->first;
        s->first = svc->next;
        free_service(svc);
    }
    pthread_mutex_destroy(&s->lock);
    sx_free(s);
}

/* Random ids and digests: their first bytes are as good as a hash of all. */
static size_t bucket_of(const uint8_t *id)
{
    return ((size_t)id[0] << 8 | id[1]) % BUCKETS;
}

static struct sx_service *by_id(const struct sx_services *s, const uint8_t id[SX_ID_LEN])
{
    struct sx_service *svc = s->by_id[bucket_of(id)];

    while (svc != NULL && memcmp(svc->id, id, SX_ID_LEN) != 0)
        svc = svc->next_by_id;
    return svc;
}

static struct sx_service *by_cert(const struct sx_services *s, const uint8_t cert_hash[32])
{
    struct sx_service *svc = s->by_cert[bucket_of(cert_hash)];

    while (svc != NULL && memcmp(svc->cert_hash, cert_hash, sizeof(svc->cert_hash)) != 0)
        svc = svc->next_by_cert;
    return svc;
}

static struct sx_service *make(const struct sx_service_rec *rec)
{
    size_t len = 0;

    for (size_t i = 0; i < rec->chain.count; i++)
        len += rec->chain.cert[i].len;
    struct sx_service *svc = sx_calloc(1, sizeof(*svc) + len);
    if (svc == NULL)
        return NULL;
    if (pthread_mutex_init(&svc->lock, NULL) != 0) {
        sx_free(svc);
        return NULL;
    }
    memcpy(svc->id, rec->id, sizeof(svc->id));
    memcpy(svc->cert_hash, rec->cert_hash, sizeof(svc->cert_hash));
    svc->role = rec->role;
    svc->created_s = rec->created_s;
    svc->chain.count = rec->chain.count;
    uint8_t *to = svc->der;
    for (size_t i = 0; i < rec->chain.count; i++) {
        simplex_bytes cert = rec->chain.cert[i];
        if (cert.len > 0)
            memcpy(to, cert.ptr, cert.len);
        svc->chain.cert[i] = sx_bytes(to, cert.len);
        to += cert.len;
    }
    return svc;
}

static void insert(struct sx_services *s, struct sx_service *svc)
{
    struct sx_service **id = &s->by_id[bucket_of(svc->id)];
    struct sx_service **cert = &s->by_cert[bucket_of(svc->cert_hash)];

    svc->next_by_id = *id;
    *id = svc;
    svc->next_by_cert = *cert;
    *cert = svc;
    svc->prev = s->last;
    if (s->last == NULL)
        s->first = svc;
    else
        s->last->next = svc;
    s->last = svc;
    s->recorded += svc->recorded;
}

static void forget(struct sx_services *s, struct sx_service *svc)
{
    struct sx_service **id = &s->by_id[bucket_of(svc->id)];
    struct sx_service **cert = &s->by_cert[bucket_of(svc->cert_hash)];

    while (*id != svc)
        id = &(*id)->next_by_id;
    *id = svc->next_by_id;
    while (*cert != svc)
        cert = &(*cert)->next_by_cert;
    *cert = svc->next_by_cert;
    *(svc->prev == NULL ? &s->first : &svc->prev->next) = svc->next;
    *(svc->next == NULL ? &s->last : &svc->next->prev) = svc->prev;
    s->recorded -= svc->recorded;
    free_service(svc);
}

/* Only connections of the service bring queues to it: without them it has none for good. */
static bool is_unused(struct sx_service *svc)
{
    if (svc->refs > 0)
        return false;
    pthread_mutex_lock(&svc->lock);
    bool unused = svc->n_queues == 0;
    pthread_mutex_unlock(&svc->lock);
    return unused;
}

/* Forgets up to n recorded services without queues and connections, the oldest first. */
static void forget_unused(struct sx_services *s, size_t n)
{
    struct sx_service *next;

    for (struct sx_service *svc = s->first; svc != NULL && n > 0; svc = next) {
        next = svc->next;
        if (svc->recorded && is_unused(svc)) {
            forget(s, svc);
            s->forgotten++;
            n--;
        }
    }
}

/* Where there is nothing to forget, not every client has to make us look through all of them. */
static bool make_room(struct sx_services *s)
{
    int64_t now = sx_mono_ms();

    if (s->recorded < s->cfg.max)
        return true;
    if (s->full_ms != 0 && now - s->full_ms < FULL_MS)
        return false;
    forget_unused(s, s->recorded - s->cfg.max + MAKE_ROOM);
    s->full_ms = s->recorded < s->cfg.max ? 0 : now;
    return s->full_ms == 0;
}

/* The id must not change, as the client keeps it, and nothing is recorded yet. */
static void make_id(uint8_t role, const uint8_t cert_hash[32], uint8_t id[SX_ID_LEN])
{
    static const char what[] = "libsimplex service";
    uint8_t text[sizeof(what) + 1 + 32], hash[32];

    memcpy(text, what, sizeof(what));
    text[sizeof(what)] = role;
    memcpy(text + sizeof(what) + 1, cert_hash, 32);
    sx_sha256(sx_bytes(text, sizeof(text)), hash);
    memcpy(id, hash, SX_ID_LEN);
}

static struct sx_service *enter(struct sx_services *s, const struct sx_service_rec *rec)
{
    struct sx_service *svc = by_cert(s, rec->cert_hash);

    if (svc != NULL)
        return svc->role == rec->role ? svc : NULL;
    if (by_id(s, rec->id) != NULL || (svc = make(rec)) == NULL)
        return NULL;
    insert(s, svc);
    return svc;
}

struct sx_service *sx_service_enter(struct sx_store *st, uint8_t role, const uint8_t cert_hash[32],
                                    const struct sx_chain *chain, int64_t now_s)
{
    struct sx_service_rec rec = { .role = role, .created_s = now_s, .chain = *chain };

    make_id(role, cert_hash, rec.id);
    memcpy(rec.cert_hash, cert_hash, sizeof(rec.cert_hash));
    pthread_mutex_lock(&st->services->lock);
    struct sx_service *svc = enter(st->services, &rec);
    if (svc != NULL)
        svc->refs++;
    pthread_mutex_unlock(&st->services->lock);
    return svc;
}

void sx_service_release(struct sx_store *st, struct sx_service *svc)
{
    if (svc == NULL)
        return;
    pthread_mutex_lock(&st->services->lock);
    if (--svc->refs == 0 && !svc->recorded)
        forget(st->services, svc);
    pthread_mutex_unlock(&st->services->lock);
}

/* ---- records ---- */

static bool is_recorded(struct sx_service *svc)
{
    pthread_mutex_lock(&svc->lock);
    bool recorded = svc->recorded;
    pthread_mutex_unlock(&svc->lock);
    return recorded;
}

static bool may_record(struct sx_services *s)
{
    int64_t now = sx_mono_ms();

    if (now - s->since_ms >= s->cfg.interval_ms) {
        s->since_ms = now;
        s->n_new = 0;
    }
    if (s->n_new < s->cfg.max_new && make_room(s))
        return true;
    s->refused++;
    return false;
}

/* Another connection of the service may have done it since it was looked at. */
static enum sx_err record_new(struct sx_store *st, struct sx_service *svc)
{
    struct sx_services *s = st->services;

    if (svc->recorded)
        return SX_ERR_NONE;
    if (!may_record(s))
        return SX_ERR_QUOTA;
    pthread_mutex_lock(&svc->lock);
    svc->recorded = sx_persist_service(st, svc);
    pthread_mutex_unlock(&svc->lock);
    if (!svc->recorded)
        return SX_ERR_INTERNAL;
    s->recorded++;
    s->n_new++;
    return SX_ERR_NONE;
}

/* Before the record that names it. */
static enum sx_err record(struct sx_store *st, struct sx_service *svc)
{
    if (is_recorded(svc))
        return SX_ERR_NONE;
    pthread_mutex_lock(&st->services->lock);
    enum sx_err e = record_new(st, svc);
    pthread_mutex_unlock(&st->services->lock);
    return e;
}

/* The services of one bucket. */
bool sx_services_put(struct sx_store *st, size_t *at, sx_slog_mark_put *put, void *to)
{
    struct sx_slog_record r;
    bool ok = true;

    pthread_mutex_lock(&st->services->lock);
    for (struct sx_service *svc = st->services->by_id[*at]; ok && svc != NULL;
         svc = svc->next_by_id) {
        pthread_mutex_lock(&svc->lock);
        if (svc->recorded) {
            sx_load_service_record(svc, &r);
            ok = put(to, &r, &svc->logged);
        }
        pthread_mutex_unlock(&svc->lock);
    }
    pthread_mutex_unlock(&st->services->lock);
    *at = *at + 1 < BUCKETS ? *at + 1 : 0;
    return ok;
}

/* ---- loading ---- */

static bool is_role(uint8_t role)
{
    return role == 'M' || role == 'N' || role == 'P';
}

/* E_ARG: it is there with something else. *same: it is there as it is. */
static simplex_rc look_for(struct sx_services *s, const struct sx_service_rec *rec, bool *same)
{
    struct sx_service *id = by_id(s, rec->id), *cert = by_cert(s, rec->cert_hash);

    *same = id != NULL && id == cert && id->role == rec->role;
    if (*same || (id == NULL && cert == NULL))
        return SIMPLEX_OK;
    if (id != NULL || !is_unused(cert))
        return SIMPLEX_E_ARG;
    forget(s, cert);
    return SIMPLEX_OK;
}

simplex_rc sx_service_load(struct sx_store *st, const struct sx_service_rec *rec)
{
    struct sx_services *s = st->services;
    bool same;

    if (!is_role(rec->role) || rec->chain.count == 0 || rec->chain.count > SX_CHAIN_MAX)
        return SIMPLEX_E_ARG;
    pthread_mutex_lock(&s->lock);
    simplex_rc rc = look_for(s, rec, &same);
    if (rc == SIMPLEX_OK && !same) {
        struct sx_service *svc = make(rec);
        if (svc != NULL) {
            svc->recorded = true;
            insert(s, svc);
        }
        rc = svc != NULL ? SIMPLEX_OK : SIMPLEX_E_NOMEM;
    }
    pthread_mutex_unlock(&s->lock);
    return rc;
}

void sx_services_trim(struct sx_store *st)
{
    struct sx_services *s = st->services;

    pthread_mutex_lock(&s->lock);
    if (s->recorded > s->cfg.max)
        forget_unused(s, s->recorded - s->cfg.max);
    pthread_mutex_unlock(&s->lock);
}

struct sx_service *sx_service_find(struct sx_store *st, simplex_bytes id)
{
    struct sx_service *svc = NULL;

    if (id.len != SX_ID_LEN)
        return NULL;
    pthread_mutex_lock(&st->services->lock);
    svc = by_id(st->services, id.ptr);
    pthread_mutex_unlock(&st->services->lock);
    return svc;
}

/* ---- queues ---- */

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
    if (sx_queue_service(q, ntf) == svc)
        return SX_ERR_NONE;
    enum sx_err e = svc == NULL ? SX_ERR_NONE : record(st, svc);
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

void sx_services_count(struct sx_store *st, struct sx_services_count *out)
{
    memset(out, 0, sizeof(*out));
    pthread_mutex_lock(&st->services->lock);
    out->recorded = st->services->recorded;
    out->forgotten = st->services->forgotten;
    out->refused = st->services->refused;
    for (struct sx_service *svc = st->services->first; svc != NULL; svc = svc->next) {
        size_t i = svc->role == 'N';
        if (svc->role == 'P')
            continue;
        pthread_mutex_lock(&svc->lock);
        out->services[i]++;
        out->queues[i] += svc->n_queues;
        out->subscribed[i] += svc->sub != NULL ? svc->n_queues : 0;
        pthread_mutex_unlock(&svc->lock);
    }
    pthread_mutex_unlock(&st->services->lock);
}
