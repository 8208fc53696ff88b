/* SPDX-License-Identifier: Apache-2.0 */
/* Correlation and deadlines: a chained hash table and a binary heap over the same nodes. */
#include "client/requests.h"

#include "client/cmd_copy.h"

#define NO_SLOT SIZE_MAX
#define FIRST_BUCKETS 16

/* ---- one request ---- */

simplex_rc sx_req_new(const uint8_t corr_id[SX_ID_LEN], simplex_bytes entity, enum sx_cmd_tag tag,
                      struct sx_req **out)
{
    *out = NULL;
    if (entity.len > UINT8_MAX)
        return SIMPLEX_E_ARG;
    struct sx_req *r = sx_calloc(1, sizeof(*r) + entity.len);
    if (r == NULL)
        return SIMPLEX_E_NOMEM;
    memcpy(r->corr_id, corr_id, SX_ID_LEN);
    r->entity_len = (uint8_t)entity.len;
    if (entity.len > 0)
        memcpy(r->entity, entity.ptr, entity.len);
    r->tag = (uint8_t)tag;
    r->slot = NO_SLOT;
    r->deadline = SX_NO_DEADLINE;
    *out = r;
    return SIMPLEX_OK;
}

void sx_req_free(struct sx_req *r)
{
    if (r == NULL)
        return;
    sx_cmd_copy_free(r->copy);
    sx_free(r->out);
    sx_free(r);
}

#define ANSWER(tag) (1u << (tag))

/* What a server may answer besides ERR (section 6.1; MSG to SUB came from old servers). */
static const uint32_t answers[SX_CMD_TAGS] = {
    [SX_NEW] = ANSWER(SX_R_IDS),
    [SX_SUB] = ANSWER(SX_R_OK) | ANSWER(SX_R_SOK) | ANSWER(SX_R_MSG),
    [SX_SUBS] = ANSWER(SX_R_SOKS),
    [SX_KEY] = ANSWER(SX_R_OK),
    [SX_RKEY] = ANSWER(SX_R_OK),
    [SX_LSET] = ANSWER(SX_R_OK),
    [SX_LDEL] = ANSWER(SX_R_OK),
    [SX_NKEY] = ANSWER(SX_R_NID),
    [SX_NDEL] = ANSWER(SX_R_OK),
    [SX_GET] = ANSWER(SX_R_OK) | ANSWER(SX_R_MSG),
    [SX_ACK] = ANSWER(SX_R_OK) | ANSWER(SX_R_MSG),
    [SX_OFF] = ANSWER(SX_R_OK),
    [SX_DEL] = ANSWER(SX_R_OK),
    [SX_QUE] = ANSWER(SX_R_INFO),
    [SX_SKEY] = ANSWER(SX_R_OK),
    [SX_SEND] = ANSWER(SX_R_OK),
    [SX_PING] = ANSWER(SX_R_PONG),
    [SX_LKEY] = ANSWER(SX_R_LNK),
    [SX_LGET] = ANSWER(SX_R_LNK),
    [SX_NSUB] = ANSWER(SX_R_OK) | ANSWER(SX_R_SOK),
    [SX_NSUBS] = ANSWER(SX_R_SOKS),
    [SX_PRXY] = ANSWER(SX_R_PKEY),
    [SX_PFWD] = ANSWER(SX_R_PRES),
    [SX_RFWD] = ANSWER(SX_R_RRES),
    [SX_RSLV] = ANSWER(SX_R_RNAME),
};

simplex_rc sx_req_check(const struct sx_req *r, const struct sx_transmission *t,
                        const struct sx_rsp *rsp)
{
    if (!sx_bytes_eq(sx_req_entity(r), t->entity_id))
        return SIMPLEX_E_RESPONSE;
    if (rsp->tag == SX_R_ERR)
        return SIMPLEX_E_SERVER;
    return (answers[r->tag] & ANSWER(rsp->tag)) != 0 ? SIMPLEX_OK : SIMPLEX_E_RESPONSE;
}

/* ---- lists ---- */

void sx_req_append(struct sx_req_list *l, struct sx_req *r)
{
    r->next = NULL;
    r->prev = l->last;
    if (l->last != NULL)
        l->last->next = r;
    else
        l->first = r;
    l->last = r;
}

void sx_req_unlink(struct sx_req_list *l, struct sx_req *r)
{
    if (r->prev != NULL)
        r->prev->next = r->next;
    else
        l->first = r->next;
    if (r->next != NULL)
        r->next->prev = r->prev;
    else
        l->last = r->prev;
    r->prev = r->next = NULL;
}

/* ---- the hash table: correlation ids are random and ours, so their bytes are the hash ---- */

static size_t hash(const uint8_t corr_id[SX_ID_LEN])
{
    uint64_t h;

    memcpy(&h, corr_id, sizeof(h));
    return (size_t)(h ^ (h >> 32));
}

static struct sx_req **bucket_of(const struct sx_requests *t, const uint8_t corr_id[SX_ID_LEN])
{
    return &t->bucket[hash(corr_id) & (t->n_buckets - 1)];
}

static simplex_rc grow_buckets(struct sx_requests *t)
{
    size_t n = t->n_buckets == 0 ? FIRST_BUCKETS : 2 * t->n_buckets;
    struct sx_requests bigger = { .n_buckets = n };

    bigger.bucket = sx_calloc(n, sizeof(struct sx_req *));
    if (bigger.bucket == NULL)
        return SIMPLEX_E_NOMEM;
    for (size_t i = 0; i < t->n_buckets; i++) {
        for (struct sx_req *r = t->bucket[i], *next; r != NULL; r = next) {
            next = r->chain;
            struct sx_req **b = bucket_of(&bigger, r->corr_id);
            r->chain = *b;
            *b = r;
        }
    }
    sx_free(t->bucket);
    t->bucket = bigger.bucket;
    t->n_buckets = n;
    return SIMPLEX_OK;
}

/* Room in the heap is made when a request is added, so that setting a deadline cannot fail. */
static simplex_rc grow_heap(struct sx_requests *t)
{
    size_t n = t->heap_size == 0 ? FIRST_BUCKETS : 2 * t->heap_size;
    struct sx_req **heap = sx_calloc(n, sizeof(struct sx_req *));

    if (heap == NULL)
        return SIMPLEX_E_NOMEM;
    if (t->heap_len > 0)
        memcpy(heap, t->heap, t->heap_len * sizeof(struct sx_req *));
    sx_free(t->heap);
    t->heap = heap;
    t->heap_size = n;
    return SIMPLEX_OK;
}

struct sx_req *sx_requests_find(const struct sx_requests *t, simplex_bytes corr_id)
{
    if (corr_id.len != SX_ID_LEN || t->n_buckets == 0)
        return NULL;
    struct sx_req *r = *bucket_of(t, corr_id.ptr);
    while (r != NULL && memcmp(r->corr_id, corr_id.ptr, SX_ID_LEN) != 0)
        r = r->chain;
    return r;
}

simplex_rc sx_requests_add(struct sx_requests *t, struct sx_req *r)
{
    simplex_rc rc = SIMPLEX_OK;

    if (sx_requests_find(t, sx_bytes(r->corr_id, SX_ID_LEN)) != NULL)
        return SIMPLEX_E_PROHIBITED;
    if (t->count >= t->n_buckets)
        rc = grow_buckets(t);
    if (rc == SIMPLEX_OK && t->count >= t->heap_size)
        rc = grow_heap(t);
    if (rc != SIMPLEX_OK)
        return rc;
    struct sx_req **b = bucket_of(t, r->corr_id);
    r->chain = *b;
    *b = r;
    t->count++;
    return SIMPLEX_OK;
}

/* ---- the heap of deadlines ---- */

static void put(struct sx_requests *t, size_t slot, struct sx_req *r)
{
    t->heap[slot] = r;
    r->slot = slot;
}

static void sift_up(struct sx_requests *t, size_t slot, struct sx_req *r)
{
    while (slot > 0 && t->heap[(slot - 1) / 2]->deadline > r->deadline) {
        put(t, slot, t->heap[(slot - 1) / 2]);
        slot = (slot - 1) / 2;
    }
    put(t, slot, r);
}

static void sift_down(struct sx_requests *t, size_t slot, struct sx_req *r)
{
    for (;;) {
        size_t child = 2 * slot + 1;
        if (child >= t->heap_len)
            break;
        if (child + 1 < t->heap_len && t->heap[child + 1]->deadline < t->heap[child]->deadline)
            child++;
        if (t->heap[child]->deadline >= r->deadline)
            break;
        put(t, slot, t->heap[child]);
        slot = child;
    }
    put(t, slot, r);
}

static void heap_remove(struct sx_requests *t, struct sx_req *r)
{
    size_t slot = r->slot;

    if (slot == NO_SLOT)
        return;
    r->slot = NO_SLOT;
    struct sx_req *last = t->heap[--t->heap_len];
    if (last == r)
        return;
    sift_up(t, slot, last);
    if (last->slot == slot)
        sift_down(t, slot, last);
}

void sx_requests_set_deadline(struct sx_requests *t, struct sx_req *r, int64_t when)
{
    heap_remove(t, r);
    r->deadline = when;
    if (when != SX_NO_DEADLINE)
        sift_up(t, t->heap_len++, r);
}

int64_t sx_requests_next(const struct sx_requests *t)
{
    return t->heap_len == 0 ? SX_NO_DEADLINE : t->heap[0]->deadline;
}

struct sx_req *sx_requests_expired(const struct sx_requests *t, int64_t now)
{
    return t->heap_len > 0 && t->heap[0]->deadline <= now ? t->heap[0] : NULL;
}

void sx_requests_remove(struct sx_requests *t, struct sx_req *r)
{
    struct sx_req **at = bucket_of(t, r->corr_id);

    while (*at != r)
        at = &(*at)->chain;
    *at = r->chain;
    r->chain = NULL;
    heap_remove(t, r);
    if (--t->count == 0)
        sx_requests_free(t); /* an idle connection holds no table */
}

void sx_requests_free(struct sx_requests *t)
{
    sx_free(t->bucket);
    sx_free(t->heap);
    memset(t, 0, sizeof(*t));
}
