/* SPDX-License-Identifier: Apache-2.0 */
/* The output of a peer: answers, packed into blocks whose messages are encrypted when sent. */
#include "commands.h"
#include "errand.h"
#include "persist.h"
#include "services.h"

struct sx_out { /* transmissions of one block, each behind its length; at most one MSG */
    struct sx_out *next;
    struct sx_queue *q;
    struct sx_msg *msg;
    uint64_t stamp;   /* leaves when this epoch is durable; 0: at once */
    uint16_t body_at; /* where in `bytes` the MSG body goes */
    uint16_t len;
    uint8_t count;
    uint8_t bytes[];
};

/* ---- answers ---- */

void sx_answer_encode(struct sx_wr *to, const struct sx_session *s, uint16_t version,
                      const struct sx_answer *a)
{
    uint8_t text[SX_BLOCK];
    struct sx_wr w;

    sx_wr_fixed(&w, text, sizeof(text));
    sx_rsp_encode(&w, &a->rsp, version);
    struct sx_transmission t = {
        .session_id = sx_bytes(s->id, s->id_len),
        .corr_id = a->corr_id,
        .entity_id = a->entity_id,
        .command = sx_wr_bytes(&w),
    };
    sx_transmission_encode(to, &t, version);
    to->bad |= w.bad;
}

static void add_encoded(struct sx_answers *to, const struct sx_peer *p, const struct sx_answer *a)
{
    size_t at = to->buf.len;

    sx_answer_encode(&to->buf, p->session, p->session->version, a);
    to->item[to->n] =
        (struct sx_answer_at){ (uint32_t)at, (uint32_t)(to->buf.len - at), a->q, a->msg };
}

static size_t item_len(const struct sx_answer_at *i)
{
    return i->len + (i->msg == NULL ? 0u : SX_MSG_BODY);
}

void sx_answers_add(struct sx_answers *to, const struct sx_peer *p, const struct sx_answer *a)
{
    if (to->n == SX_COUNT(to->item))
        to->buf.bad = true;
    if (to->buf.bad) {
        sx_queue_unref(a->q);
        sx_msg_unref(a->msg);
        return;
    }
    size_t at = to->buf.len;
    add_encoded(to, p, a);
    if (!to->buf.bad && item_len(&to->item[to->n]) > SX_BATCH_CONTENT - 2) {
        /* Only with an oversized correlation id of the client. */
        struct sx_answer large = *a;
        sx_queue_unref(a->q);
        sx_msg_unref(a->msg);
        large.q = NULL;
        large.msg = NULL;
        large.rsp = (struct sx_rsp){ .tag = SX_R_ERR, .err = { .err = SX_ERR_LARGE_MSG } };
        to->buf.len = at;
        add_encoded(to, p, &large);
    }
    to->n++;
}

void sx_answers_drop(struct sx_answers *a)
{
    for (size_t i = 0; i < a->n; i++) {
        sx_queue_unref(a->item[i].q);
        sx_msg_unref(a->item[i].msg);
    }
    a->n = 0;
    a->stamp = 0;
    if (a->buf.size > SX_ANSWERS_KEPT)
        sx_wr_free(&a->buf); /* keeps its cap */
    sx_wr_reset(&a->buf);
}

void sx_answers_free(struct sx_answers *a)
{
    sx_answers_drop(a);
    sx_wr_free(&a->buf);
}

void sx_answers_join(struct sx_answers *to, struct sx_answers *from)
{
    struct sx_answer_at *i = &from->item[0];

    if (from->n == 0 || to->n == SX_COUNT(to->item))
        return;
    to->item[to->n] = *i;
    to->item[to->n++].at = (uint32_t)to->buf.len;
    sx_wr_raw(&to->buf, sx_bytes(from->buf.p + i->at, i->len));
    i->q = NULL; /* `to` has the references now; the empty item is skipped */
    i->msg = NULL;
    i->len = 0;
}

void sx_peer_mark_ready(struct sx_peer *p)
{
    if (p->ready)
        return;
    p->ready = true;
    p->ready_next = p->hub->ready;
    p->hub->ready = p;
}

/* ---- blocks ---- */

static void append(struct sx_peer *p, struct sx_out *o)
{
    if (p->out_last == NULL)
        p->out = o;
    else
        p->out_last->next = o;
    p->out_last = o;
    p->n_out++;
}

/* Items [first, end) go into one block; takes over their references. */
static void emit(struct sx_peer *p, struct sx_answers *a, size_t first, size_t end)
{
    size_t len = 0;

    for (size_t i = first; i < end; i++)
        len += 2 + a->item[i].len;
    struct sx_out *o = sx_calloc(1, sizeof(*o) + len);
    if (o == NULL) {
        p->failed = true;
        return;
    }
    struct sx_wr w;
    sx_wr_fixed(&w, o->bytes, len);
    o->count = (uint8_t)(end - first);
    for (size_t i = first; i < end; i++) {
        struct sx_answer_at *it = &a->item[i];
        sx_wr_u16(&w, (uint16_t)item_len(it));
        sx_wr_raw(&w, sx_bytes(a->buf.p + it->at, it->len));
        if (it->msg != NULL) {
            o->q = it->q;
            o->msg = it->msg;
            o->body_at = (uint16_t)w.len;
            it->q = NULL;
            it->msg = NULL;
        }
    }
    o->len = (uint16_t)w.len;
    o->stamp = a->stamp;
    append(p, o);
}

void sx_answers_send(struct sx_answers *from, struct sx_peer *p)
{
    size_t len[SX_BATCH_MAX + 1], first[SX_BATCH_MAX + 1];
    size_t blocks = 0;

    if (from->n > 0 || from->buf.bad)
        sx_peer_mark_ready(p);
    for (size_t i = 0; i < from->n; i++)
        len[i] = item_len(&from->item[i]);
    if (from->buf.bad || (from->n > 0 && sx_batch_plan(len, from->n, first, &blocks) != SIMPLEX_OK))
        p->failed = true; /* no memory: the client learns it from the closed connection */
    for (size_t b = 0; b < blocks && !p->failed; b++)
        emit(p, from, first[b], b + 1 < blocks ? first[b + 1] : from->n);
    sx_answers_drop(from);
}

void sx_answers_send_apart(struct sx_answers *from, struct sx_peer *p)
{
    if (from->n > 0 || from->buf.bad)
        sx_peer_mark_ready(p);
    p->failed |= from->buf.bad;
    for (size_t i = 0; i < from->n && !p->failed; i++) {
        if (from->item[i].len > 0)
            emit(p, from, i, i + 1);
    }
    sx_answers_drop(from);
}

void sx_peer_send(struct sx_peer *p, const struct sx_answer *a)
{
    struct sx_answers *events = sx_block_events(p->hub->block);

    sx_answers_add(events, p, a);
    sx_answers_send(events, p);
}

void sx_answer_head(struct sx_answer *a, struct sx_sub *sub, struct sx_queue *q)
{
    a->q = q;
    a->msg = sx_msg_ref(q->head);
    sx_queue_ref(q);
    sx_sub_flight(sub, true, sub->peer->hub->stats);
    sub->pushed = false;
    memcpy(sub->delivered, q->head->id, sizeof(sub->delivered));
    sub->delivered_s = (uint32_t)(sx_srv_now(sub->peer->hub->srv) / 1000);
    sx_unacked_add(sub->peer->hub, sub);
    a->entity_id = sx_bytes(q->rcv.id, sizeof(q->rcv.id));
    a->rsp = (struct sx_rsp){ .tag = SX_R_MSG };
    a->rsp.msg.msg_id = sx_bytes(a->msg->id, sizeof(a->msg->id));
}

/* Encrypts the message into to, SX_MSG_BODY bytes: encoded at its place in the box, behind the
 * length that padding puts before it. */
static bool seal_msg(const struct sx_queue *q, const struct sx_msg *m, uint8_t *to)
{
    struct sx_box_key key;
    struct sx_wr w;
    struct sx_rcv_msg msg = {
        .quota = m->quota,
        .ts_s = m->ts_ms / 1000,
        .notify = m->notify,
        .body = sx_bytes(m->body, m->len),
    };

    sx_wr_fixed(&w, to + SX_BOX_TAG + 2, SX_MSG_PADDED - 2);
    sx_rcv_msg_encode(&w, &msg);
    sx_box_key_init(&key, q->secret);
    bool ok =
        !w.bad && sx_box_seal_padded(&key, m->id, sx_wr_bytes(&w), SX_MSG_PADDED, to) == SIMPLEX_OK;
    sx_wipe(&key, sizeof(key));
    return ok;
}

static void free_out(struct sx_out *o)
{
    sx_queue_unref(o->q);
    sx_msg_unref(o->msg);
    sx_free(o);
}

static void leave_waiting(struct sx_peer *p)
{
    if (!p->waiting)
        return;
    p->waiting = false;
    if (p->waiting_prev == NULL)
        p->hub->waiting = p->waiting_next;
    else
        p->waiting_prev->waiting_next = p->waiting_next;
    if (p->waiting_next != NULL)
        p->waiting_next->waiting_prev = p->waiting_prev;
}

static void enter_waiting(struct sx_peer *p)
{
    struct sx_hub *h = p->hub;

    if (!p->waiting) {
        p->waiting = true;
        p->waiting_prev = NULL;
        p->waiting_next = h->waiting;
        if (h->waiting != NULL)
            h->waiting->waiting_prev = p;
        h->waiting = p;
        atomic_store(&h->awaits, true);
    }
    sx_persist_request(h->srv->store);
}

/* False: what the block tells is not yet on disk (the peer waits), or never will be (it failed). */
static bool may_leave(struct sx_peer *p, const struct sx_out *o)
{
    if (o->stamp == 0)
        return true;
    switch (sx_persist_state(p->hub->srv->store, o->stamp)) {
    case SX_COMMIT_DURABLE:
        return true;
    case SX_COMMIT_LOST:
        p->failed = true;
        return false;
    case SX_COMMIT_WAIT:
        enter_waiting(p);
        return false;
    }
    return false;
}

void sx_hub_committed(struct sx_hub *h)
{
    uint64_t settled = sx_persist_settled(h->srv->store);
    struct sx_peer *next;

    /* Thousands may wait, and this is called for each of them that sends something. */
    bool look = settled != h->settled;
    h->settled = settled;
    for (struct sx_peer *p = look ? h->waiting : NULL; p != NULL; p = next) {
        next = p->waiting_next;
        if (sx_persist_state(h->srv->store, p->out->stamp) == SX_COMMIT_WAIT)
            continue;
        leave_waiting(p);
        sx_peer_mark_ready(p);
    }
    if (h->waiting != NULL)
        sx_persist_request(h->srv->store);
    else
        atomic_store(&h->awaits, false);
}

static size_t content_len(const struct sx_out *o)
{
    return o->len + (o->msg == NULL ? 0u : SX_MSG_BODY);
}

static void take_first(struct sx_peer *p)
{
    p->out = p->out->next;
    if (p->out == NULL)
        p->out_last = NULL;
    p->n_out--;
}

/* Its transmissions, with the body of the message. */
static void write_out(struct sx_peer *p, const struct sx_out *o, uint8_t *to)
{
    if (o->msg == NULL) {
        memcpy(to, o->bytes, o->len);
        return;
    }
    memcpy(to, o->bytes, o->body_at);
    if (!seal_msg(o->q, o->msg, to + o->body_at))
        p->failed = true;
    memcpy(to + o->body_at + SX_MSG_BODY, o->bytes + o->body_at, o->len - o->body_at);
}

static bool is_durable(const struct sx_peer *p, const struct sx_out *o)
{
    return o->stamp == 0 || sx_persist_state(p->hub->srv->store, o->stamp) == SX_COMMIT_DURABLE;
}

/*
 * What waits behind the first goes with it as far as it fits: a client that sent several blocks, or
 * whose answers waited for one commit, has them in one. At most one MSG.
 */
static bool joins(const struct sx_peer *p, const struct sx_out *o, size_t len, size_t count,
                  bool has_msg)
{
    return len + content_len(o) <= 1 + SX_BATCH_CONTENT && count + o->count <= SX_BATCH_MAX &&
           !(has_msg && o->msg != NULL) && is_durable(p, o);
}

/* There is room for output again: what waited for it goes on. */
static void resume(struct sx_peer *p)
{
    sx_service_resume(p);
    if (p->ends_due)
        sx_peer_flush_ends(p);
    if (p->ntfs_due)
        sx_peer_flush_ntfs(p);
}

size_t sx_peer_next(struct sx_peer *p, uint8_t to[SX_BLOCK])
{
    struct sx_out *o = p->out;
    size_t len = 1, count = 0;
    bool has_msg = false;

    if (o == NULL || !may_leave(p, o))
        return 0;
    leave_waiting(p); /* the socket may have asked before the hub heard of the commit */
    do {
        take_first(p);
        write_out(p, o, to + len);
        len += content_len(o);
        count += o->count;
        has_msg |= o->msg != NULL;
        free_out(o);
        o = p->out;
    } while (o != NULL && joins(p, o, len, count, has_msg));
    to[0] = (uint8_t)count;
    resume(p);
    return len;
}

/* ---- life ---- */

void sx_peer_init(struct sx_peer *p, struct sx_hub *h, const struct sx_session *session, void *user)
{
    memset(p, 0, sizeof(*p));
    p->hub = h;
    p->session = session;
    p->user = user;
}

static void leave_ready(struct sx_peer *p)
{
    struct sx_peer **r = &p->hub->ready;

    if (!p->ready)
        return;
    while (*r != p)
        r = &(*r)->ready_next;
    *r = p->ready_next;
    p->ready = false;
}

void sx_peer_close(struct sx_peer *p)
{
    sx_service_leave(p);
    sx_peer_drop_errands(p);
    while (p->subs != NULL)
        sx_sub_drop(p->subs);
    while (p->out != NULL) {
        struct sx_out *o = p->out;
        p->out = o->next;
        free_out(o);
    }
    p->out_last = NULL;
    p->n_out = 0;
    sx_free(p->ended);
    p->ended = NULL;
    p->n_ended = p->ended_at = p->ended_size = 0;
    leave_waiting(p);
    leave_ready(p);
    sx_service_release(p->hub->srv->store, p->service);
    p->service = NULL;
}
