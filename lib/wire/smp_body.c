/* SPDX-License-Identifier: Apache-2.0 */
/* What the server encrypts: messages, notifications, forwarded transmissions (sections 7, 8). */
#include "wire/smp_parts.h"

#define QUOTA_MARKER "QUOTA "

void sx_rcv_msg_encode(struct sx_wr *w, const struct sx_rcv_msg *m)
{
    if (m->quota) {
        sx_wr_text(w, QUOTA_MARKER);
        sx_wr_i64(w, m->ts_s);
        return;
    }
    sx_wr_i64(w, m->ts_s);
    sx_wr_flags(w, m->notify);
    sx_wr_raw(w, m->body);
}

/* The marker cannot be taken for a message: its letters would be a time in the far future. */
simplex_rc sx_rcv_msg_decode(simplex_bytes in, struct sx_rcv_msg *m)
{
    struct sx_rd r = sx_rd_init(in);

    *m = (struct sx_rcv_msg){ .quota = sx_rd_lit(&r, QUOTA_MARKER) };
    m->ts_s = sx_rd_i64(&r);
    if (!m->quota) {
        m->notify = sx_rd_flags(&r);
        m->body = sx_rd_rest(&r);
    }
    if (sx_rd_done(&r))
        return SIMPLEX_OK;
    *m = (struct sx_rcv_msg){ 0 };
    return SIMPLEX_E_DECODE;
}

void sx_ntf_meta_encode(struct sx_wr *w, const struct sx_ntf_meta *m)
{
    sx_wr_short(w, m->msg_id);
    sx_wr_i64(w, m->ts_s);
}

/* Later versions may add to it. */
simplex_rc sx_ntf_meta_decode(simplex_bytes in, struct sx_ntf_meta *m)
{
    struct sx_rd r = sx_rd_init(in);

    *m = (struct sx_ntf_meta){ 0 };
    m->msg_id = sx_rd_short(&r);
    m->ts_s = sx_rd_i64(&r);
    if (!r.bad)
        return SIMPLEX_OK;
    *m = (struct sx_ntf_meta){ 0 };
    return SIMPLEX_E_DECODE;
}

void sx_fwd_transmission_encode(struct sx_wr *w, const struct sx_fwd_transmission *f)
{
    sx_wr_short(w, f->corr_id);
    sx_wr_u16(w, f->version);
    sx_wr_key(w, &f->key);
    sx_wr_raw(w, f->encrypted);
}

simplex_rc sx_fwd_transmission_decode(simplex_bytes in, struct sx_fwd_transmission *f)
{
    struct sx_rd r = sx_rd_init(in);

    *f = (struct sx_fwd_transmission){ 0 };
    f->corr_id = sx_rd_short(&r);
    f->version = sx_rd_u16(&r);
    sx_rd_key_of(&r, SX_X25519, &f->key);
    f->encrypted = sx_rd_rest(&r);
    if (!r.bad)
        return SIMPLEX_OK;
    *f = (struct sx_fwd_transmission){ 0 };
    return SIMPLEX_E_DECODE;
}

void sx_fwd_response_encode(struct sx_wr *w, const struct sx_fwd_response *f)
{
    sx_wr_short(w, f->corr_id);
    sx_wr_raw(w, f->encrypted);
}

simplex_rc sx_fwd_response_decode(simplex_bytes in, struct sx_fwd_response *f)
{
    struct sx_rd r = sx_rd_init(in);

    *f = (struct sx_fwd_response){ 0 };
    f->corr_id = sx_rd_short(&r);
    f->encrypted = sx_rd_rest(&r);
    if (!r.bad)
        return SIMPLEX_OK;
    *f = (struct sx_fwd_response){ 0 };
    return SIMPLEX_E_DECODE;
}
