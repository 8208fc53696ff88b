/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registry of services (protocol/smp.md sections 4 and 6.3). A certificate costs nothing, so
 * the places in it are bounded and nobody may keep others from them: when all are taken, services
 * that are not connected and have no queues or a few make room. The list has them in the order in
 * which they were left.
 */
#include "services.h"

#include "persist.h"
#include "store_index.h"
#include "store_load.h"

#define BUCKETS 4096 /* for SX_SERVICES_MAX: chains of 4, and those that are connected */
#define MAKE_ROOM 64 /* forgotten at a time */
#define FULL_MS 1000 /* looked for again after so long */

struct sx_services {
    pthread_mutex_t lock;
    struct sx_service *by_id[BUCKETS], *by_cert[BUCKETS];
    struct sx_service *first, *last;
    size_t max; /* recorded */
    size_t recorded, forgotten, refused;
    int64_t full_ms; /* all had queues then; 0: not all */
    int64_t busy_ms; /* all were connected then, or had many queues; 0: not all */
};

/* ---- registry ---- */

simplex_rc sx_services_open(unsigned max, struct sx_services **out)
{
    struct sx_services *s = sx_calloc(1, sizeof(*s));

    *out = NULL;
    if (s == NULL)
        return SIMPLEX_E_NOMEM;
    if (pthread_mutex_init(&s->lock, NULL) != 0) {
        sx_free(s);
        return SIMPLEX_E_SYSTEM;
    }
    s->max = max == 0 ? SX_SERVICES_MAX : max;
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

static void append(struct sx_services *s, struct sx_service *svc)
{
    svc->next = NULL;
    svc->prev = s->last;
    if (s->last == NULL)
        s->first = svc;
    else
        s->last->next = svc;
    s->last = svc;
}

static void unlink_service(struct sx_services *s, struct sx_service *svc)
{
    *(svc->prev == NULL ? &s->first : &svc->prev->next) = svc->next;
    *(svc->next == NULL ? &s->last : &svc->next->prev) = svc->prev;
}

static void insert(struct sx_services *s, struct sx_service *svc)
{
    struct sx_service **id = &s->by_id[bucket_of(svc->id)];
    struct sx_service **cert = &s->by_cert[bucket_of(svc->cert_hash)];

    svc->next_by_id = *id;
    *id = svc;
    svc->next_by_cert = *cert;
    *cert = svc;
    append(s, svc);
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
    unlink_service(s, svc);
    s->recorded -= svc->recorded;
    free_service(svc);
}

/* ---- places ---- */

/* Only connections of the service bring queues to it: without them it gets no more. */
static bool is_left(struct sx_service *svc, uint32_t queues)
{
    if (svc->refs > 0)
        return false;
    pthread_mutex_lock(&svc->lock);
    bool few = svc->n_queues <= queues;
    pthread_mutex_unlock(&svc->lock);
    return few;
}

/* Forgets up to n recorded services without queues and connections. */
static void forget_unused(struct sx_services *s, size_t n)
{
    struct sx_service *next;

    for (struct sx_service *svc = s->first; svc != NULL && n > 0; svc = next) {
        next = svc->next;
        if (svc->recorded && is_left(svc, 0)) {
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

    if (s->recorded < s->max)
        return true;
    if (s->full_ms != 0 && now - s->full_ms < FULL_MS)
        return false;
    forget_unused(s, s->recorded - s->max + MAKE_ROOM);
    s->full_ms = s->recorded < s->max ? 0 : now;
    return s->full_ms == 0;
}

/* Up to MAKE_ROOM recorded services that were left with few queues, each referenced. */
static size_t pick_left(struct sx_services *s, struct sx_service *out[MAKE_ROOM])
{
    int64_t now = sx_mono_ms();
    size_t n = 0;

    if (make_room(s) || (s->busy_ms != 0 && now - s->busy_ms < FULL_MS))
        return 0;
    for (struct sx_service *svc = s->first; svc != NULL && n < MAKE_ROOM; svc = svc->next) {
        if (svc->recorded && is_left(svc, SX_SERVICE_FEW)) {
            svc->refs++;
            out[n++] = svc;
        }
    }
    s->busy_ms = n > 0 ? 0 : now;
    return n;
}

/* Who is connected counts on the queues that SUBS told: nobody comes back while one is taken away,
 * nor are further ones then. The service is referenced here. */
static bool part(struct sx_store *st, struct sx_service *svc, struct sx_queue *q)
{
    bool ntf = svc->role == 'N', parted = false;

    sx_queue_lock(st, q);
    pthread_mutex_lock(&st->services->lock);
    /* it may have been deleted, or have gone to another service, since it was on the list */
    if (svc->refs == 1 && !q->deleted && (!ntf || q->ntf != NULL) &&
        sx_queue_service(q, ntf) == svc)
        parted = sx_queue_set_service(st, q, ntf, NULL) == SX_ERR_NONE;
    pthread_mutex_unlock(&st->services->lock);
    sx_queue_unlock(st, q);
    sx_queue_unref(q);
    return parted;
}

static void part_all(struct sx_store *st, struct sx_service *svc)
{
    struct sx_queue *q[SX_SERVICE_FEW];
    uint32_t at = UINT32_MAX;
    bool parted = false;

    size_t n = sx_service_walk(svc, &at, q, SX_COUNT(q));
    for (size_t i = 0; i < n; i++)
        parted |= part(st, svc, q[i]);
    if (parted)
        sx_persist_request(st);
}

/* Unless it has come back meanwhile, or the disk refused to part it from its queues. */
static void give_up(struct sx_services *s, struct sx_service *svc)
{
    pthread_mutex_lock(&s->lock);
    svc->refs--;
    if (is_left(svc, 0)) {
        forget(s, svc);
        s->forgotten++;
    }
    pthread_mutex_unlock(&s->lock);
}

void sx_services_make_room(struct sx_store *st)
{
    struct sx_service *left[MAKE_ROOM];

    pthread_mutex_lock(&st->services->lock);
    size_t n = pick_left(st->services, left);
    pthread_mutex_unlock(&st->services->lock);
    for (size_t i = 0; i < n; i++)
        part_all(st, left[i]);
    for (size_t i = 0; i < n; i++)
        give_up(st->services, left[i]);
}

/* ---- connections ---- */

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
    svc->refs--;
    if (svc->refs == 0 && !svc->recorded) {
        forget(st->services, svc);
    } else if (svc->refs == 0) {
        unlink_service(st->services, svc);
        append(st->services, svc);
    }
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

/* Another connection of the service may have done it since it was looked at. */
static enum sx_err record_new(struct sx_store *st, struct sx_service *svc)
{
    struct sx_services *s = st->services;

    if (svc->recorded)
        return SX_ERR_NONE;
    if (!make_room(s)) {
        s->refused++;
        return SX_ERR_QUOTA;
    }
    pthread_mutex_lock(&svc->lock);
    svc->recorded = sx_persist_service(st, svc);
    pthread_mutex_unlock(&svc->lock);
    if (!svc->recorded)
        return SX_ERR_INTERNAL;
    s->recorded++;
    return SX_ERR_NONE;
}

enum sx_err sx_service_record(struct sx_store *st, struct sx_service *svc)
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
    if (id != NULL || !is_left(cert, 0))
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
    if (s->recorded > s->max)
        forget_unused(s, s->recorded - s->max);
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

/* ---- for statistics ---- */

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
