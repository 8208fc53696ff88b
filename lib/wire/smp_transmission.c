/* SPDX-License-Identifier: Apache-2.0 */
/* Transmissions, batches and what is signed (protocol/smp.md sections 2 and 5). */
#include "wire/smp.h"

#define V_IMPLIED_SESSION 7
#define V_SERVICE_SIG 16
#define SERVICE_SIG_LEN 64

size_t sx_smp_max_send(uint16_t version)
{
    return version >= 11 ? 16048 : version >= 8 ? 16064 : 16088;
}

/* ---- transmissions ---- */

static void put_service_sig(struct sx_wr *w, const struct sx_transmission *t)
{
    if (t->has_service_sig && (t->auth.len == 0 || t->service_sig.len != SERVICE_SIG_LEN))
        w->bad = true;
    if (t->auth.len == 0)
        return;
    sx_wr_maybe(w, t->has_service_sig);
    if (t->has_service_sig)
        sx_wr_short(w, t->service_sig);
}

static void get_service_sig(struct sx_rd *r, struct sx_transmission *t)
{
    if (t->auth.len == 0)
        return;
    t->has_service_sig = sx_rd_maybe(r);
    if (!t->has_service_sig)
        return;
    t->service_sig = sx_rd_short(r);
    if (t->service_sig.len != SERVICE_SIG_LEN)
        r->bad = true;
}

void sx_transmission_encode(struct sx_wr *w, const struct sx_transmission *t, uint16_t version)
{
    sx_wr_short(w, t->auth);
    if (version >= V_SERVICE_SIG)
        put_service_sig(w, t);
    if (version < V_IMPLIED_SESSION)
        sx_wr_short(w, t->session_id);
    sx_wr_short(w, t->corr_id);
    sx_wr_short(w, t->entity_id);
    sx_wr_raw(w, t->command);
}

simplex_rc sx_transmission_decode(simplex_bytes in, uint16_t version, struct sx_transmission *t)
{
    struct sx_rd r = sx_rd_init(in);

    *t = (struct sx_transmission){ 0 };
    t->auth = sx_rd_short(&r);
    if (version >= V_SERVICE_SIG)
        get_service_sig(&r, t);
    if (version < V_IMPLIED_SESSION)
        t->session_id = sx_rd_short(&r);
    t->corr_id = sx_rd_short(&r);
    t->entity_id = sx_rd_short(&r);
    t->command = sx_rd_rest(&r);
    if (!r.bad)
        return SIMPLEX_OK;
    *t = (struct sx_transmission){ 0 };
    return SIMPLEX_E_DECODE;
}

void sx_authorized_encode(struct sx_wr *w, simplex_bytes session_id, simplex_bytes corr_id,
                          simplex_bytes entity_id, simplex_bytes command)
{
    sx_wr_short(w, session_id);
    sx_wr_short(w, corr_id);
    sx_wr_short(w, entity_id);
    sx_wr_raw(w, command);
}

bool sx_auth_len_valid(size_t len)
{
    return len == 0 || len == sx_sig_len(SX_ED25519) || len == SX_AUTHENTICATOR_LEN ||
           len == sx_sig_len(SX_ED448);
}

/* ---- batches ---- */

simplex_rc sx_batch_open(simplex_bytes content, struct sx_batch_rd *b)
{
    struct sx_rd r = sx_rd_init(content);
    unsigned count = sx_rd_u8(&r);

    *b = (struct sx_batch_rd){ .rd = r, .left = count };
    for (unsigned i = 0; i < count; i++)
        (void)sx_rd_large(&r);
    if (count > 0 && sx_rd_done(&r))
        return SIMPLEX_OK;
    *b = (struct sx_batch_rd){ .left = 0 };
    return SIMPLEX_E_BLOCK;
}

bool sx_batch_next(struct sx_batch_rd *b, simplex_bytes *transmission)
{
    if (b->left == 0)
        return false;
    b->left--;
    *transmission = sx_rd_large(&b->rd);
    return true;
}

/*
 * From the last transmission to the first: each goes in front of those already in the block, or
 * starts the block before it. So the last blocks are full and the first is the short one.
 */
simplex_rc sx_batch_plan(const size_t *len, size_t n, size_t *first, size_t *blocks)
{
    size_t room = 0, count = 0, used = 0;

    *blocks = 0;
    for (size_t i = n; i > 0; i--) {
        if (len[i - 1] > SX_BATCH_CONTENT - 2)
            return SIMPLEX_E_TOO_LARGE;
        if (len[i - 1] + 2 > room || count == SX_BATCH_MAX) {
            used++;
            room = SX_BATCH_CONTENT;
            count = 0;
        }
        room -= len[i - 1] + 2;
        count++;
        first[n - used] = i - 1; /* blocks are met last to first: kept at the end, moved below */
    }
    if (used > 0)
        memmove(first, first + (n - used), used * sizeof *first);
    *blocks = used;
    return SIMPLEX_OK;
}
