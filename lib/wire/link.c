/* SPDX-License-Identifier: Apache-2.0 */
/* Full links: what both forms share, and the binary one (protocol/agent.md section 5.2). */
#include "wire/link.h"
#include "wire/link_parts.h"

#define DATA_MAX UINT16_MAX

void sx_link_init(struct sx_link *l, uint8_t kind)
{
    memset(l, 0, sizeof *l);
    l->kind = kind;
    sx_wr_init(&l->data, DATA_MAX);
    sx_wr_init(&l->kem_pk, SX_KEM_PK);
}

void sx_link_free(struct sx_link *l)
{
    if (l == NULL)
        return;
    sx_free(l->queues);
    sx_wr_free(&l->data);
    sx_wr_free(&l->kem_pk);
    memset(l, 0, sizeof *l);
}

simplex_rc sx_link_set_kem(struct sx_link *l, simplex_bytes pk)
{
    l->e2e.kem = (struct sx_kem_params){ SX_KEM_NONE };
    sx_wr_free(&l->kem_pk);
    sx_wr_init(&l->kem_pk, SX_KEM_PK);
    if (pk.len == 0)
        return SIMPLEX_OK;
    if (pk.len != SX_KEM_PK)
        return SIMPLEX_E_KEY;
    sx_wr_raw(&l->kem_pk, pk);
    if (l->kem_pk.bad)
        return SIMPLEX_E_NOMEM;
    l->e2e.kem.kind = SX_KEM_PROPOSED;
    l->e2e.kem.pk = sx_wr_bytes(&l->kem_pk);
    return SIMPLEX_OK;
}

/* Length of the UTF-8 sequence that s begins with; 0 when it begins with none. */
static size_t utf8_len(simplex_bytes s)
{
    uint8_t c = s.ptr[0];
    uint8_t low = 0x80, high = 0xbf; /* bounds of the second byte */
    size_t n;

    if (c < 0x80)
        return 1;
    if (c < 0xc2 || c > 0xf4)
        return 0;
    n = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    if (s.len < n)
        return 0;
    if (c == 0xe0)
        low = 0xa0; /* shorter forms exist */
    else if (c == 0xed)
        high = 0x9f; /* surrogates */
    else if (c == 0xf0)
        low = 0x90;
    else if (c == 0xf4)
        high = 0x8f; /* above U+10FFFF */
    if (s.ptr[1] < low || s.ptr[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++) {
        if ((s.ptr[i] & 0xc0) != 0x80)
            return 0;
    }
    return n;
}

void sx_link_clean_utf8(struct sx_wr *w)
{
    for (size_t i = 0; i < w->len;) {
        size_t n = utf8_len(sx_bytes(w->p + i, w->len - i));
        if (n == 0)
            w->p[i] = '?';
        i += n == 0 ? 1 : n;
    }
}

simplex_rc sx_link_set_data(struct sx_link *l, simplex_bytes text)
{
    sx_wr_reset(&l->data);
    if (text.len > DATA_MAX)
        return SIMPLEX_E_TOO_LARGE;
    sx_wr_raw(&l->data, text);
    if (l->data.bad)
        return SIMPLEX_E_NOMEM;
    sx_link_clean_utf8(&l->data);
    l->has_data = true;
    return SIMPLEX_OK;
}

simplex_rc sx_link_alloc_queues(struct sx_link *l, size_t n)
{
    l->queues = sx_calloc(n, sizeof *l->queues);
    if (l->queues == NULL)
        return SIMPLEX_E_NOMEM;
    l->n_queues = n;
    return SIMPLEX_OK;
}

/* ---- ConnectionRequest ---- */

void sx_link_encode(struct sx_wr *w, const struct sx_link *l)
{
    if (l->n_queues == 0 || l->n_queues > SX_LINK_QUEUES_MAX) {
        w->bad = true;
        return;
    }
    sx_wr_u8(w, l->kind);
    sx_range_encode(w, l->agent_v);
    sx_wr_u8(w, (uint8_t)l->n_queues);
    for (size_t i = 0; i < l->n_queues; i++)
        sx_queue_uri_encode(w, &l->queues[i]);
    sx_wr_maybe(w, l->has_data);
    if (l->has_data)
        sx_wr_large(w, sx_wr_bytes(&l->data));
    if (l->kind == SX_LINK_INVITATION)
        sx_e2e_uri_encode(w, &l->e2e);
}

static simplex_rc read_queues(struct sx_rd *r, struct sx_link *l)
{
    size_t n = sx_rd_u8(r);

    if (n == 0 || n > SX_LINK_QUEUES_MAX)
        r->bad = true;
    if (r->bad)
        return SIMPLEX_E_DECODE;
    simplex_rc rc = sx_link_alloc_queues(l, n);
    if (rc != SIMPLEX_OK)
        return rc;
    for (size_t i = 0; i < n; i++) {
        sx_queue_uri_decode(r, &l->queues[i]);
        /* the range 1-4 has no way to write the mode of a contact queue */
        if (l->queues[i].mode == SX_MODE_NONE)
            l->queues[i].mode = SX_MODE_CONTACT;
    }
    return r->bad ? SIMPLEX_E_DECODE : SIMPLEX_OK;
}

static simplex_rc read_data(struct sx_rd *r, struct sx_link *l)
{
    if (!sx_rd_maybe(r))
        return r->bad ? SIMPLEX_E_DECODE : SIMPLEX_OK;
    simplex_bytes text = sx_rd_large(r);
    return r->bad ? SIMPLEX_E_DECODE : sx_link_set_data(l, text);
}

static simplex_rc read_e2e(struct sx_rd *r, struct sx_link *l)
{
    sx_e2e_uri_decode(r, &l->e2e);
    if (r->bad) {
        l->e2e.kem = (struct sx_kem_params){ SX_KEM_NONE };
        return SIMPLEX_E_DECODE;
    }
    return sx_link_set_kem(l, l->e2e.kem.pk);
}

simplex_rc sx_link_read(struct sx_rd *r, struct sx_link *l)
{
    simplex_rc rc;

    sx_link_init(l, sx_rd_u8(r));
    if (l->kind != SX_LINK_INVITATION && l->kind != SX_LINK_CONTACT)
        r->bad = true;
    sx_range_decode(r, &l->agent_v);
    rc = read_queues(r, l);
    if (rc == SIMPLEX_OK)
        rc = read_data(r, l);
    if (rc == SIMPLEX_OK && l->kind == SX_LINK_INVITATION)
        rc = read_e2e(r, l);
    if (rc != SIMPLEX_OK)
        sx_link_free(l);
    return rc;
}

simplex_rc sx_link_decode(simplex_bytes in, struct sx_link *l)
{
    struct sx_rd r = sx_rd_init(in);
    simplex_rc rc = sx_link_read(&r, l);

    if (rc == SIMPLEX_OK && !sx_rd_done(&r)) {
        sx_link_free(l);
        rc = SIMPLEX_E_DECODE;
    }
    return rc;
}
