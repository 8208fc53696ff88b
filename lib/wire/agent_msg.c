/* SPDX-License-Identifier: Apache-2.0 */
/* Agent envelopes and messages (protocol/agent.md section 4). */
#include "wire/agent_msg.h"
#include "wire/smp_parts.h"

/* ---- envelopes ---- */

void sx_envelope_encode(struct sx_wr *w, const struct sx_envelope *e)
{
    sx_wr_u16(w, e->version);
    sx_wr_u8(w, e->tag);
    switch (e->tag) {
    case SX_ENV_CONFIRMATION:
        sx_wr_maybe(w, e->has_e2e);
        if (e->has_e2e)
            sx_e2e_params_encode(w, &e->e2e);
        break;
    case SX_ENV_INVITATION:
        sx_wr_large(w, e->link);
        break;
    case SX_ENV_RATCHET_KEY:
        sx_e2e_params_encode(w, &e->e2e);
        break;
    case SX_ENV_MESSAGE:
        break;
    default:
        w->bad = true;
    }
    sx_wr_raw(w, e->body);
}

simplex_rc sx_envelope_decode(simplex_bytes in, struct sx_envelope *e)
{
    struct sx_rd r = sx_rd_init(in);

    memset(e, 0, sizeof *e);
    e->version = sx_rd_u16(&r);
    e->tag = sx_rd_u8(&r);
    switch (e->tag) {
    case SX_ENV_CONFIRMATION:
        e->has_e2e = sx_rd_maybe(&r);
        if (e->has_e2e)
            sx_e2e_params_decode(&r, &e->e2e);
        break;
    case SX_ENV_INVITATION:
        e->link = sx_rd_large(&r);
        break;
    case SX_ENV_RATCHET_KEY:
        e->has_e2e = true;
        sx_e2e_params_decode(&r, &e->e2e);
        if (e->e2e.kem.kind == SX_KEM_ACCEPTED)
            r.bad = true;
        break;
    case SX_ENV_MESSAGE:
        break;
    default:
        r.bad = true;
    }
    e->body = sx_rd_rest(&r);
    return sx_rd_done(&r) ? SIMPLEX_OK : SIMPLEX_E_DECODE;
}

/* ---- items of lists ---- */

void sx_receipt_encode(struct sx_wr *w, const struct sx_receipt *x)
{
    sx_wr_i64(w, x->id);
    sx_wr_short(w, x->hash);
    sx_wr_large(w, x->info);
}

void sx_receipt_next(struct sx_rd *r, struct sx_receipt *x)
{
    x->id = sx_rd_i64(r);
    x->hash = sx_rd_short(r);
    x->info = sx_rd_large(r);
}

void sx_qadd_encode(struct sx_wr *w, const struct sx_qadd *x)
{
    sx_queue_uri_encode(w, &x->queue);
    sx_wr_maybe(w, x->has_replaced);
    if (x->has_replaced)
        sx_queue_ref_encode(w, &x->replaced);
}

void sx_qadd_next(struct sx_rd *r, struct sx_qadd *x)
{
    memset(x, 0, sizeof *x);
    sx_queue_uri_decode(r, &x->queue);
    x->has_replaced = sx_rd_maybe(r);
    if (x->has_replaced)
        sx_queue_ref_decode(r, &x->replaced);
}

void sx_qkey_encode(struct sx_wr *w, const struct sx_qkey *x)
{
    sx_queue_info_encode(w, &x->queue);
    sx_wr_key(w, &x->key);
}

void sx_qkey_next(struct sx_rd *r, struct sx_qkey *x)
{
    sx_queue_info_decode(r, &x->queue);
    sx_rd_auth_key(r, &x->key);
}

void sx_quse_encode(struct sx_wr *w, const struct sx_quse *x)
{
    sx_queue_ref_encode(w, &x->queue);
    sx_wr_bool(w, x->primary);
}

void sx_quse_next(struct sx_rd *r, struct sx_quse *x)
{
    sx_queue_ref_decode(r, &x->queue);
    x->primary = sx_rd_bool(r);
}

/* ---- lists ---- */

/* One item read and thrown away: the proof that _next will succeed later. */
typedef void skip_fn(struct sx_rd *r);

static void skip_queue_info(struct sx_rd *r)
{
    struct sx_queue_addr q;

    sx_queue_info_decode(r, &q);
}

static void skip_receipt(struct sx_rd *r)
{
    struct sx_receipt x;

    sx_receipt_next(r, &x);
}

static void skip_qadd(struct sx_rd *r)
{
    struct sx_qadd x;

    sx_qadd_next(r, &x);
}

static void skip_qkey(struct sx_rd *r)
{
    struct sx_qkey x;

    sx_qkey_next(r, &x);
}

static void skip_quse(struct sx_rd *r)
{
    struct sx_quse x;

    sx_quse_next(r, &x);
}

static void skip_queue_ref(struct sx_rd *r)
{
    struct sx_queue_ref x;

    sx_queue_ref_decode(r, &x);
}

static void read_list(struct sx_rd *r, skip_fn *skip, struct sx_list *l)
{
    l->count = sx_rd_u8(r);
    if (l->count == 0)
        r->bad = true;
    const uint8_t *start = r->p;
    for (unsigned i = 0; i < l->count && !r->bad; i++)
        skip(r);
    if (!r->bad)
        l->items = sx_bytes(start, (size_t)(r->p - start));
}

static void write_list(struct sx_wr *w, const struct sx_list *l)
{
    if (l->count == 0 || l->count > UINT8_MAX)
        w->bad = true;
    sx_wr_u8(w, (uint8_t)l->count);
    sx_wr_raw(w, l->items);
}

/* ---- messages ---- */

enum part { NOTHING, BODY, LIST, QCONT, EREADY };

/* clang-format off */
static const struct {
    const char *tag;
    enum part part;
    skip_fn *skip;
} messages[] = {
    [SX_M_HELLO] = { "H", NOTHING, NULL },
    [SX_M_MSG] = { "M", BODY, NULL },
    [SX_M_RCVD] = { "V", LIST, skip_receipt },
    [SX_M_QCONT] = { "QC", QCONT, NULL },
    [SX_M_QADD] = { "QA", LIST, skip_qadd },
    [SX_M_QKEY] = { "QK", LIST, skip_qkey },
    [SX_M_QUSE] = { "QU", LIST, skip_quse },
    [SX_M_QTEST] = { "QT", LIST, skip_queue_ref },
    [SX_M_EREADY] = { "E", EREADY, NULL },
};
/* clang-format on */

const char *sx_msg_name(enum sx_msg_tag tag)
{
    size_t i = (size_t)tag;

    return i > 0 && i < SX_COUNT(messages) ? messages[i].tag : "?";
}

static void write_message(struct sx_wr *w, const struct sx_agent_msg *m)
{
    if (m->msg == 0 || m->msg >= SX_COUNT(messages)) {
        w->bad = true;
        return;
    }
    sx_wr_i64(w, m->snd_msg_id);
    sx_wr_short(w, m->prev_hash);
    sx_wr_text(w, messages[m->msg].tag);
    switch (messages[m->msg].part) {
    case NOTHING:
        break;
    case BODY:
        sx_wr_raw(w, m->body);
        break;
    case LIST:
        write_list(w, &m->list);
        break;
    case QCONT:
        sx_queue_ref_encode(w, &m->qcont);
        break;
    case EREADY:
        sx_wr_i64(w, m->eready);
        break;
    }
}

/* No tag is the beginning of another one, so the order of the table does not matter. */
static uint8_t read_message_tag(struct sx_rd *r)
{
    for (uint8_t i = 1; i < SX_COUNT(messages); i++) {
        if (sx_rd_lit(r, messages[i].tag))
            return i;
    }
    r->bad = true;
    return 0;
}

static void read_message(struct sx_rd *r, struct sx_agent_msg *m)
{
    m->snd_msg_id = sx_rd_i64(r);
    m->prev_hash = sx_rd_short(r);
    m->msg = read_message_tag(r);
    if (r->bad)
        return;
    switch (messages[m->msg].part) {
    case NOTHING:
        break;
    case BODY:
        m->body = sx_rd_rest(r);
        break;
    case LIST:
        read_list(r, messages[m->msg].skip, &m->list);
        break;
    case QCONT:
        sx_queue_ref_decode(r, &m->qcont);
        break;
    case EREADY:
        m->eready = sx_rd_i64(r);
        break;
    }
}

void sx_agent_msg_encode(struct sx_wr *w, const struct sx_agent_msg *m)
{
    sx_wr_u8(w, m->tag);
    switch (m->tag) {
    case SX_AM_INFO_REPLY:
        write_list(w, &m->queues);
        sx_wr_raw(w, m->info);
        break;
    case SX_AM_INFO:
    case SX_AM_RATCHET_INFO:
        sx_wr_raw(w, m->info);
        break;
    case SX_AM_MESSAGE:
        write_message(w, m);
        break;
    default:
        w->bad = true;
    }
}

simplex_rc sx_agent_msg_decode(simplex_bytes in, struct sx_agent_msg *m)
{
    struct sx_rd r = sx_rd_init(in);

    memset(m, 0, sizeof *m);
    m->tag = sx_rd_u8(&r);
    switch (m->tag) {
    case SX_AM_INFO_REPLY:
        read_list(&r, skip_queue_info, &m->queues);
        m->info = sx_rd_rest(&r);
        break;
    case SX_AM_INFO:
    case SX_AM_RATCHET_INFO:
        m->info = sx_rd_rest(&r);
        break;
    case SX_AM_MESSAGE:
        read_message(&r, m);
        break;
    default:
        r.bad = true;
    }
    return sx_rd_done(&r) ? SIMPLEX_OK : SIMPLEX_E_DECODE;
}
