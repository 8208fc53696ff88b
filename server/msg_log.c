/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of the files of messages and notifications. */
#include "msg_log.h"

#include <stdio.h>

#define BODY_MAX sx_smp_max_send(SX_SMP_MIN) /* the most that SEND ever carried */

/* ---- writing ---- */

static void put_id(struct sx_wr *w, const uint8_t id[SX_ID_LEN])
{
    sx_b64url_encode(w, sx_bytes(id, SX_ID_LEN));
    sx_wr_u8(w, ' ');
}

static void put_seconds(struct sx_wr *w, int64_t ts_ms)
{
    char text[24];

    (void)snprintf(text, sizeof(text), "%" PRId64, ts_ms / 1000);
    sx_wr_text(w, text);
}

void sx_msg_line_encode(struct sx_wr *w, const uint8_t rid[SX_ID_LEN], const struct sx_msg *m)
{
    sx_wr_text(w, "v3 ");
    put_id(w, rid);
    put_id(w, m->id);
    put_seconds(w, m->ts_ms);
    if (m->quota) {
        sx_wr_text(w, " quota");
        return;
    }
    sx_wr_text(w, m->notify ? " flags=T " : " flags=F ");
    sx_b64url_encode(w, sx_bytes(m->body, m->len));
}

void sx_ntf_line_encode(struct sx_wr *w, const struct sx_notifier *n, const struct sx_ntf *ntf)
{
    uint8_t plain[64], meta[SX_NMSG_PADDED + SX_BOX_TAG], nonce[24];
    struct sx_ntf_meta m = { .msg_id = sx_bytes(ntf->msg_id, sizeof(ntf->msg_id)),
                             .ts_s = ntf->ts_ms / 1000 };
    struct sx_box_key key;
    struct sx_wr p;

    sx_wr_fixed(&p, plain, sizeof(plain));
    sx_ntf_meta_encode(&p, &m);
    sx_random(nonce, sizeof(nonce));
    sx_box_key_init(&key, n->secret);
    if (p.bad ||
        sx_box_seal_padded(&key, nonce, sx_wr_bytes(&p), SX_NMSG_PADDED, meta) != SIMPLEX_OK)
        w->bad = true;
    sx_wipe(&key, sizeof(key));
    sx_wr_text(w, "v1 ");
    put_id(w, n->node.id);
    put_id(w, ntf->msg_id);
    put_seconds(w, ntf->ts_ms);
    sx_wr_u8(w, ' ');
    sx_b64url_encode(w, sx_bytes(nonce, sizeof(nonce)));
    sx_wr_u8(w, ' ');
    sx_b64url_encode(w, sx_bytes(meta, sizeof(meta)));
}

/* ---- reading ---- */

/* The text up to the next space or the end; the space is taken. */
static simplex_bytes word(struct sx_rd *r)
{
    size_t n = 0;

    while (n < r->left && r->p[n] != ' ')
        n++;
    simplex_bytes w = sx_rd_take(r, n);
    if (r->left > 0)
        (void)sx_rd_u8(r);
    return w;
}

static void get_id(struct sx_rd *r, uint8_t id[SX_ID_LEN])
{
    uint8_t buf[SX_ID_LEN + 3];
    size_t len = sizeof(buf);
    simplex_bytes text = word(r);

    if (text.len > 4 * SX_ID_LEN / 3 || sx_b64url_decode(text, buf, &len) != SIMPLEX_OK ||
        len != SX_ID_LEN)
        r->bad = true;
    else
        memcpy(id, buf, SX_ID_LEN);
}

static int64_t get_seconds(struct sx_rd *r)
{
    simplex_bytes text = word(r);
    int64_t v = 0;

    if (text.len == 0 || text.len > 12)
        r->bad = true;
    for (size_t i = 0; i < text.len && !r->bad; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            r->bad = true;
        v = v * 10 + (text.ptr[i] - '0');
    }
    return r->bad ? 0 : v;
}

static bool is(simplex_bytes a, const char *text)
{
    return sx_bytes_eq(a, sx_str(text));
}

static simplex_rc get_body(struct sx_rd *r, struct sx_msg **out)
{
    simplex_bytes text = sx_rd_rest(r);
    size_t size = text.len / 4 * 3 + 3;
    uint8_t *body;

    if (text.len > 4 * (SX_BLOCK / 3 + 1))
        return SIMPLEX_E_DECODE;
    body = sx_malloc(size);
    if (body == NULL)
        return SIMPLEX_E_NOMEM;
    simplex_rc rc = sx_b64url_decode(text, body, &size);
    if (rc == SIMPLEX_OK && size > BODY_MAX)
        rc = SIMPLEX_E_DECODE;
    if (rc == SIMPLEX_OK && (*out = sx_msg_new(sx_bytes(body, size), 0)) == NULL)
        rc = SIMPLEX_E_NOMEM;
    sx_free(body);
    return rc == SIMPLEX_OK || rc == SIMPLEX_E_NOMEM ? rc : SIMPLEX_E_DECODE;
}

simplex_rc sx_msg_line_decode(simplex_bytes line, uint8_t rid[SX_ID_LEN], struct sx_msg **out)
{
    struct sx_rd r = sx_rd_init(line);
    uint8_t id[SX_ID_LEN];

    *out = NULL;
    bool v3 = is(word(&r), "v3");
    get_id(&r, rid);
    get_id(&r, id);
    int64_t seconds = get_seconds(&r);
    simplex_bytes kind = word(&r);
    bool quota = is(kind, "quota");
    bool notify = is(kind, "flags=T");
    if (!v3 || r.bad || (quota && r.left > 0) || !(quota || notify || is(kind, "flags=F")))
        return SIMPLEX_E_DECODE;
    simplex_rc rc = SIMPLEX_OK;
    if (!quota)
        rc = get_body(&r, out);
    else if ((*out = sx_msg_new(sx_bytes(NULL, 0), 0)) == NULL)
        rc = SIMPLEX_E_NOMEM;
    if (rc != SIMPLEX_OK)
        return rc;
    (*out)->ts_ms = seconds * 1000;
    (*out)->quota = quota;
    (*out)->notify = notify;
    memcpy((*out)->id, id, sizeof(id));
    return SIMPLEX_OK;
}

simplex_rc sx_ntf_line_decode(simplex_bytes line, uint8_t ntf_id[SX_ID_LEN], struct sx_ntf *out)
{
    struct sx_rd r = sx_rd_init(line);
    uint8_t nonce[27], meta[SX_NMSG_PADDED + SX_BOX_TAG + 3];
    size_t nonce_len = sizeof(nonce), meta_len = sizeof(meta);

    memset(out, 0, sizeof(*out));
    bool v1 = is(word(&r), "v1");
    get_id(&r, ntf_id);
    get_id(&r, out->msg_id);
    out->ts_ms = get_seconds(&r) * 1000;
    simplex_bytes nonce_text = word(&r);
    simplex_bytes meta_text = sx_rd_rest(&r);
    if (!v1 || r.bad || nonce_text.len > 32 || meta_text.len > 192 ||
        sx_b64url_decode(nonce_text, nonce, &nonce_len) != SIMPLEX_OK || nonce_len != 24 ||
        sx_b64url_decode(meta_text, meta, &meta_len) != SIMPLEX_OK ||
        meta_len != SX_NMSG_PADDED + SX_BOX_TAG)
        return SIMPLEX_E_DECODE;
    return SIMPLEX_OK;
}
