/* SPDX-License-Identifier: Apache-2.0 */
/* The layout of ratchet messages and their headers (section 3.4). */
#include "ratchet/internal.h"

void sx_header_encode(struct sx_wr *w, const struct sx_header *h, uint16_t version)
{
    sx_wr_u16(w, h->max_version);
    sx_wr_key(w, &h->dh);
    if (version >= 3)
        sx_kem_params_encode(w, &h->kem);
    sx_wr_u32(w, h->pn);
    sx_wr_u32(w, h->n);
}

/* Bytes behind the known fields are for later versions. */
simplex_rc sx_header_decode(simplex_bytes in, uint16_t version, struct sx_header *h)
{
    struct sx_rd r = sx_rd_init(in);

    *h = (struct sx_header){ .max_version = sx_rd_u16(&r) };
    sx_rd_key_of(&r, SX_X448, &h->dh);
    if (version >= 3)
        sx_kem_params_decode(&r, &h->kem);
    h->pn = sx_rd_u32(&r);
    h->n = sx_rd_u32(&r);
    return r.bad ? SIMPLEX_E_DECODE : SIMPLEX_OK;
}

/*
 * The length's own size is not told by the version but by its first byte: a one-byte length is 123
 * or 88, a two-byte length begins with 0 to 9 (section 3.4).
 */
static simplex_bytes take_len(struct sx_rd *r)
{
    return sx_rd_peek(r) < 32 ? sx_rd_large(r) : sx_rd_short(r);
}

static bool decode_emh(simplex_bytes emh, struct sx_ratchet_parts *p)
{
    struct sx_rd r = sx_rd_init(emh);

    p->version = sx_rd_u16(&r);
    p->header_iv = sx_rd_take(&r, 16).ptr;
    p->header_tag = sx_rd_take(&r, SX_GCM_TAG).ptr;
    p->header = take_len(&r);
    return sx_rd_done(&r);
}

simplex_rc sx_ratchet_parts_decode(simplex_bytes msg, struct sx_ratchet_parts *p)
{
    struct sx_rd r = sx_rd_init(msg);

    p->emh = take_len(&r);
    p->tag = sx_rd_take(&r, SX_GCM_TAG).ptr;
    p->body = sx_rd_rest(&r);
    return !r.bad && decode_emh(p->emh, p) ? SIMPLEX_OK : SIMPLEX_E_DECODE;
}
