/* SPDX-License-Identifier: Apache-2.0 */
#include "forward.h"

/* ---- the relay ---- */

static struct sx_smp_err error(enum sx_err err)
{
    return (struct sx_smp_err){ .err = (uint8_t)err };
}

static simplex_rc open_inner(const struct sx_session *s, const struct sx_fwd_transmission *t,
                             uint8_t *buf, struct sx_forwarded *f)
{
    uint8_t secret[SX_DH_MAX], nonce[SX_NONCE_LEN];
    uint8_t *box = buf + (t->encrypted.ptr - buf); /* not const: it is opened where it lies */

    simplex_rc rc = sx_dh(&s->own.priv, &t->key, secret);
    if (rc != SIMPLEX_OK)
        return rc;
    sx_box_key_init(&f->key, secret);
    sx_wipe(secret, sizeof(secret));
    sx_nonce_from(t->corr_id, nonce);
    return sx_box_open_padded(&f->key, nonce, box, t->encrypted.len, &f->content);
}

struct sx_smp_err sx_forward_open(const struct sx_session *s, simplex_bytes corr_id,
                                  simplex_bytes box, uint8_t *buf, struct sx_forwarded *f)
{
    struct sx_fwd_transmission t;
    uint8_t nonce[SX_NONCE_LEN];

    memset(f, 0, sizeof(*f));
    if (!s->has_shared)
        return (struct sx_smp_err){ .err = SX_ERR_PROXY,
                                    .proxy = SX_PROXY_BROKER,
                                    .broker = SX_BROKER_TRANSPORT,
                                    .transport = SX_TRANSPORT_NO_AUTH };
    sx_nonce_from(corr_id, nonce);
    if (box.len < SX_BOX_TAG || sx_box_open(&s->shared, nonce, box, buf) != SIMPLEX_OK)
        return error(SX_ERR_CRYPTO);
    if (sx_fwd_transmission_decode(sx_bytes(buf, box.len - SX_BOX_TAG), &t) != SIMPLEX_OK)
        return (struct sx_smp_err){ .err = SX_ERR_CMD, .cmd = SX_CMD_SYNTAX };
    if (open_inner(s, &t, buf, f) != SIMPLEX_OK)
        return error(SX_ERR_CRYPTO);
    f->corr_id = t.corr_id;
    f->version = t.version;
    return error(SX_ERR_NONE);
}

static void reversed(simplex_bytes corr_id, uint8_t nonce[SX_NONCE_LEN])
{
    sx_nonce_from(corr_id, nonce);
    sx_nonce_reverse(nonce, nonce);
}

simplex_rc sx_forward_answer(const struct sx_session *s, simplex_bytes corr_id,
                             const struct sx_forwarded *f, simplex_bytes content, struct sx_wr *out)
{
    uint8_t inner[SX_FORWARD_PADDED + SX_BOX_TAG], plain[SX_BLOCK], box[SX_BLOCK + SX_BOX_TAG];
    uint8_t nonce[SX_NONCE_LEN];
    struct sx_fwd_response r = { .corr_id = f->corr_id,
                                 .encrypted = sx_bytes(inner, sizeof(inner)) };
    struct sx_wr w;

    reversed(f->corr_id, nonce);
    simplex_rc rc = sx_box_seal_padded(&f->key, nonce, content, SX_FORWARD_PADDED, inner);
    if (rc != SIMPLEX_OK)
        return rc;
    sx_wr_fixed(&w, plain, sizeof(plain));
    sx_fwd_response_encode(&w, &r);
    if (w.bad)
        return SIMPLEX_E_TOO_LARGE; /* an oversized correlation id */
    reversed(corr_id, nonce);
    sx_box_seal(&s->shared, nonce, sx_wr_bytes(&w), box);
    sx_wr_raw(out, sx_bytes(box, w.len + SX_BOX_TAG));
    return out->bad ? SIMPLEX_E_ENCODE : SIMPLEX_OK;
}

/* ---- the proxy ---- */

simplex_rc sx_forward_wrap(const struct sx_session *s, const uint8_t nonce[SX_NONCE_LEN],
                           const struct sx_fwd_transmission *t, struct sx_wr *out)
{
    uint8_t plain[SX_BLOCK], box[SX_BLOCK + SX_BOX_TAG];
    struct sx_wr w;

    sx_wr_fixed(&w, plain, sizeof(plain));
    sx_fwd_transmission_encode(&w, t);
    if (w.bad)
        return SIMPLEX_E_TOO_LARGE;
    sx_box_seal(&s->shared, nonce, sx_wr_bytes(&w), box);
    sx_wr_raw(out, sx_bytes(box, w.len + SX_BOX_TAG));
    return out->bad ? SIMPLEX_E_ENCODE : SIMPLEX_OK;
}

simplex_rc sx_forward_unwrap(const struct sx_session *s, const uint8_t nonce[SX_NONCE_LEN],
                             simplex_bytes box, uint8_t *buf, simplex_bytes *answer)
{
    struct sx_fwd_response r;
    uint8_t back[SX_NONCE_LEN];

    *answer = sx_bytes(NULL, 0);
    sx_nonce_reverse(nonce, back);
    if (box.len < SX_BOX_TAG || sx_box_open(&s->shared, back, box, buf) != SIMPLEX_OK)
        return SIMPLEX_E_CRYPTO;
    simplex_rc rc = sx_fwd_response_decode(sx_bytes(buf, box.len - SX_BOX_TAG), &r);
    if (rc != SIMPLEX_OK)
        return rc;
    *answer = r.encrypted;
    return SIMPLEX_OK;
}
