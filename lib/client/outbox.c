/* SPDX-License-Identifier: Apache-2.0 */
#include "client/outbox.h"

#define BATCH_LEN (SX_BATCH_CONTENT - 2) /* longest transmission of a batch */

static size_t hash(simplex_bytes entity)
{
    uint64_t h = 14695981039346656037u; /* FNV-1a */

    for (size_t i = 0; i < entity.len; i++)
        h = (h ^ entity.ptr[i]) * 1099511628211u;
    return (size_t)(h ^ (h >> 32));
}

/* Adds request number i; false when its entity is in the set. No entity: never in the set. */
static bool add_entity(struct sx_outbox *o, size_t i)
{
    simplex_bytes entity = sx_req_entity(o->req[i]);

    if (entity.len == 0)
        return true;
    size_t at = hash(entity) & (SX_OUTBOX_SEEN - 1);
    while (o->seen[at] != 0) {
        if (sx_bytes_eq(sx_req_entity(o->req[o->seen[at] - 1]), entity))
            return false;
        at = (at + 1) & (SX_OUTBOX_SEEN - 1);
    }
    o->seen[at] = (uint16_t)(i + 1);
    return true;
}

simplex_rc sx_outbox_plan(struct sx_outbox *o, const struct sx_req_list *queued)
{
    size_t bytes = 0;

    o->n = o->blocks = 0;
    memset(o->seen, 0, sizeof(o->seen));
    for (struct sx_req *r = queued->first; r != NULL && o->n < SX_OUTBOX_REQUESTS; r = r->next) {
        if (r->out_len > BATCH_LEN && o->n > 0)
            break;
        if (o->n > 0 && bytes + r->out_len > SX_OUTBOX_BYTES)
            break;
        o->req[o->n] = r;
        o->len[o->n] = r->out_len;
        if (!add_entity(o, o->n))
            break;
        bytes += r->out_len;
        o->n++;
        if (r->out_len > BATCH_LEN) {
            o->first[0] = 0;
            o->blocks = 1;
            return SIMPLEX_OK;
        }
    }
    if (o->n == 0)
        return SIMPLEX_OK;
    return sx_batch_plan(o->len, o->n, o->first, &o->blocks);
}

void sx_outbox_range(const struct sx_outbox *o, size_t i, size_t *from, size_t *to)
{
    *from = o->first[i];
    *to = i + 1 < o->blocks ? o->first[i + 1] : o->n;
}

void sx_outbox_content(const struct sx_outbox *o, size_t i, struct sx_wr *content)
{
    size_t from, to;

    sx_outbox_range(o, i, &from, &to);
    sx_wr_u8(content, (uint8_t)(to - from));
    for (; from < to; from++)
        sx_wr_large(content, sx_bytes(o->req[from]->out, o->req[from]->out_len));
}
