/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands and answers. A correlation id says by itself what it belongs to (the command, the
 * queue, when it was sent), so nothing is looked up and nothing grows with the run.
 */
#include "bench/load/engine.h"

#define SUBS_PER_BLOCK 90
#define SKEY_VERSION 9
#define MARK_LEN 16 /* what --check looks at: number of the message, index of its queue */

/* ---- queues ---- */

static bool keys_make(struct thread *t)
{
    return sx_keypair_new(SX_ED25519, &t->rcv_key) == SIMPLEX_OK &&
           sx_keypair_new(SX_ED25519, &t->snd_key) == SIMPLEX_OK &&
           sx_keypair_new(SX_X25519, &t->dh) == SIMPLEX_OK;
}

static bool both_sides(const struct thread *t)
{
    return t->o->mode == LOAD_CYCLE && t->other == NULL;
}

static void queue_join(struct thread *t, struct queue *q, unsigned at)
{
    bool both = both_sides(t);

    q->link[RECIPIENT] = &t->links[both ? 2 * at : at];
    if (both)
        q->link[SENDER] = &t->links[2 * at + 1];
    else if (t->other != NULL)
        q->link[SENDER] = &t->other->links[at];
}

/* The links of `other`, if there is one, are made. */
bool queues_make(struct thread *t)
{
    const struct load_options *o = t->o;
    unsigned n = o->mode == LOAD_IDLE || o->mode == LOAD_STORM ? 0 : o->queues;
    unsigned receivers = both_sides(t) ? t->n_links / 2 : t->n_links;

    if (t->senders) {
        t->queues = t->owner->queues;
        t->n_queues = t->owner->n_queues;
        return keys_make(t);
    }
    t->n_queues = receivers * n;
    t->queues = sx_calloc(t->n_queues + 1u, sizeof(*t->queues));
    if (t->queues == NULL)
        return false;
    for (unsigned i = 0; i < t->n_queues; i++) {
        struct queue *q = &t->queues[i];
        queue_join(t, q, i % receivers); /* neighbours are on different connections */
        q->sent_us = sx_calloc(o->window, sizeof(*q->sent_us));
        if (q->sent_us == NULL)
            return false;
    }
    return keys_make(t);
}

void work_add(struct queue *q, enum side s, enum op op)
{
    struct link *l = q->link[s];

    if (l == NULL || l->state != LINK_READY)
        return;
    q->todo[s].ops |= (uint8_t)op;
    if (!q->todo[s].listed) {
        q->todo[s].listed = true;
        q->todo[s].next = NULL;
        if (l->first == NULL)
            l->first = q;
        else
            l->last->todo[s].next = q;
        l->last = q;
    }
    link_touch(l);
}

void work_prepare(struct thread *t)
{
    if (t->senders)
        return;
    for (unsigned i = 0; i < t->n_queues; i++) {
        if (t->queues[i].link[RECIPIENT]->state != LINK_READY)
            continue;
        work_add(&t->queues[i], RECIPIENT, OP_NEW);
        t->wanted++;
    }
}

/* Senders secure their queues themselves since version 9, recipients did it before. */
bool work_skey(struct thread *t)
{
    enum side side = t->r.version >= SKEY_VERSION ? SENDER : RECIPIENT;

    if (t->senders && !atomic_load(&t->owner->queues_made))
        return false;
    atomic_store(&t->queues_made, true);
    for (unsigned i = 0; t->o->mode == LOAD_CYCLE && i < t->n_queues; i++) {
        struct queue *q = &t->queues[i];
        if (q->link[side]->t != t || !q->made || q->link[side]->state != LINK_READY)
            continue;
        work_add(q, side, OP_SKEY);
        t->wanted++;
    }
    return true;
}

static bool may_send(const struct thread *t)
{
    uint64_t limit = t->o->messages / t->groups;

    return t->phase == LOAD_RUN &&
           (t->o->messages == 0 || (uint64_t)atomic_load(&t->owner->done) < limit);
}

/* For a burst, of all queues, when they take turns. */
static bool has_room(const struct thread *t)
{
    unsigned n = t->o->in_flight / t->groups, burst = t->o->burst;

    return t->o->in_flight == 0 ||
           atomic_load(&t->owner->flying) + burst <= (n > burst ? n : burst);
}

static bool ready(const struct thread *t, struct queue *q)
{
    return q->made && !atomic_load(&q->stopped) &&
           atomic_load(&q->in_flight) + t->o->burst <= t->o->window;
}

/* On the thread of the sender. */
static void send_more(struct queue *q)
{
    struct thread *t = q->link[SENDER]->t;

    while (ready(t, q) && has_room(t) && may_send(t)) {
        atomic_fetch_add(&q->in_flight, t->o->burst);
        atomic_fetch_add(&t->owner->flying, t->o->burst);
        q->to_send += t->o->burst;
        work_add(q, SENDER, OP_SEND);
    }
}

/* Leaves the queue to the thread of its sender. */
static void ask(struct queue *q)
{
    struct thread *t = q->link[SENDER]->t;

    pthread_mutex_lock(&t->lock);
    bool first = t->asked == NULL;
    if (!q->asked) {
        q->asked = true;
        q->ask_next = t->asked;
        t->asked = q;
    }
    if (first && !t->deaf) /* under the lock: the handle is open */
        uv_async_send(&t->asks);
    pthread_mutex_unlock(&t->lock);
}

static struct queue *take_asked(struct thread *t)
{
    pthread_mutex_lock(&t->lock);
    struct queue *q = t->asked;
    if (q != NULL) {
        t->asked = q->ask_next;
        q->asked = false;
    }
    pthread_mutex_unlock(&t->lock);
    return q;
}

void work_asked(struct thread *t)
{
    struct queue *q;

    while ((q = take_asked(t)) != NULL)
        if (q->link[SENDER]->state == LINK_READY)
            send_more(q);
}

void work_run(struct thread *t)
{
    for (unsigned i = 0; i < t->n_queues; i++) {
        struct queue *q = &t->queues[i];
        if (!q->made)
            continue;
        if (t->o->mode == LOAD_SUBSCRIBE)
            work_add(q, RECIPIENT, OP_SUB);
        else if (q->link[SENDER]->t == t && q->link[SENDER]->state == LINK_READY)
            send_more(q); /* unless the recipient was lost: then it has been stopped */
    }
}

void work_ping(struct thread *t)
{
    for (unsigned i = 0; i < t->n_links; i++) {
        t->links[i].ping = t->links[i].state == LINK_READY;
        if (t->links[i].ping)
            link_touch(&t->links[i]);
    }
}

/* The cycles of the other side cannot end any more. */
void work_lost(struct link *l)
{
    struct thread *t = l->t;

    l->pending = 0;
    l->ping = false;
    l->first = l->last = NULL;
    for (unsigned i = 0; i < t->n_queues; i++) {
        struct queue *q = &t->queues[i];
        if (q->link[l->side] != l)
            continue;
        atomic_store(&q->stopped, true);
        q->todo[l->side] = (struct todo){ .ops = 0 };
    }
}

uint64_t work_pending(const struct thread *t)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < t->n_links; i++)
        n += t->links[i].pending + (t->links[i].ping ? 1 : 0);
    /* A message that was accepted and did not come is missing as well. */
    for (unsigned i = 0; i < t->n_queues && !t->senders; i++)
        n += atomic_load(&t->queues[i].stopped) ? 0 : atomic_load(&t->queues[i].in_flight);
    return n;
}

/* ---- commands ---- */

static void corr_make(struct thread *t, const struct queue *q, enum op op, uint8_t to[SX_ID_LEN])
{
    struct sx_wr w;

    sx_wr_fixed(&w, to, SX_ID_LEN);
    sx_wr_u8(&w, (uint8_t)op);
    sx_wr_u32(&w, q == NULL ? 0 : (uint32_t)(q - t->queues));
    sx_wr_i64(&w, sx_mono_us());
    sx_wr_i64(&w, (int64_t)t->serial++);
    while (w.len < SX_ID_LEN)
        sx_wr_u8(&w, 0);
}

static struct sx_cmd new_cmd(const struct thread *t)
{
    struct sx_cmd c = { .tag = SX_NEW };

    c.new_.auth = t->rcv_key.pub;
    c.new_.dh = t->dh.pub;
    c.new_.mode = SX_MODE_MESSAGING;
    c.new_.subscribe = t->o->mode == LOAD_CYCLE && !t->o->only_prepare;
    c.new_.has_password = t->o->password.len > 0;
    c.new_.password = t->o->password;
    return c;
}

static struct sx_cmd send_cmd(struct thread *t, struct queue *q)
{
    struct sx_cmd c = { .tag = SX_SEND };
    size_t max = sx_smp_max_send(t->r.version);
    struct sx_wr w;

    sx_wr_fixed(&w, t->body, MARK_LEN);
    sx_wr_i64(&w, (int64_t)atomic_load(&q->sent));
    sx_wr_i64(&w, q - t->queues);
    c.send.body = sx_bytes(t->body, t->o->size < max ? t->o->size : max);
    return c;
}

struct piece { /* a command with what it is about */
    struct sx_cmd cmd;
    const struct sx_keypair *key;
    simplex_bytes entity;
};

static struct piece make_piece(struct thread *t, struct queue *q, enum op op, enum side side)
{
    struct piece p = { .key = &t->rcv_key, .entity = sx_bytes(q->rcv_id, SX_ID_LEN) };

    switch (op) {
    case OP_NEW:
        p.cmd = new_cmd(t);
        p.entity = sx_bytes(NULL, 0);
        break;
    case OP_SUB:
        p.cmd.tag = SX_SUB;
        break;
    case OP_ACK:
        p.cmd.tag = SX_ACK;
        p.cmd.ack.msg_id = sx_bytes(q->msg_id, SX_ID_LEN);
        break;
    default:
        if (side == SENDER) {
            p.key = &t->snd_key;
            p.entity = sx_bytes(q->snd_id, SX_ID_LEN);
        }
        p.cmd.tag = side == SENDER ? SX_SKEY : SX_KEY;
        p.cmd.key.key = q->link[SENDER] == NULL ? t->snd_key.pub : q->link[SENDER]->t->snd_key.pub;
        if (op == OP_SEND)
            p.cmd = send_cmd(t, q);
        break;
    }
    return p;
}

/* Appends one command. False: it does not fit any more. */
static bool put(struct link *l, struct sx_wr *w, struct queue *q, enum op op)
{
    struct thread *t = l->t;
    struct piece p = { .cmd = { .tag = SX_PING } };
    uint8_t corr[SX_ID_LEN];
    struct sx_wr text;

    if (q != NULL)
        p = make_piece(t, q, op, l->side);
    corr_make(t, q, op, corr);
    sx_wr_fixed(&text, t->text, sizeof(t->text));
    simplex_rc rc =
        sx_session_encode(sx_conn_session(l->conn), p.key, corr, p.entity, &p.cmd, &text);
    if (rc != SIMPLEX_OK) {
        count_error(t, "encode", simplex_rc_text(rc));
        return true;
    }
    if (w->len + 2 + text.len > SX_BATCH_CONTENT)
        return false;
    sx_wr_large(w, sx_wr_bytes(&text));
    t->block[0]++;
    l->pending++;
    return true;
}

static void sent_one(struct link *l, struct queue *q)
{
    q->sent_us[atomic_load(&q->sent) % l->t->o->window] = sx_mono_us();
    atomic_fetch_add(&q->sent, 1);
    q->to_send--;
    q->block = l->blocks;
}

/* Two commands of one queue never share a block: servers run blocks from the last to the first. */
static bool put_queue(struct link *l, struct sx_wr *w, struct queue *q)
{
    struct todo *todo = &q->todo[l->side];
    enum op op = (enum op)(todo->ops & -todo->ops);

    if (op == OP_SEND && q->block == l->blocks)
        return false;
    if (!put(l, w, q, op))
        return false;
    if (op == OP_SEND)
        sent_one(l, q);
    if (op != OP_SEND || q->to_send == 0)
        todo->ops &= (uint8_t)~op;
    return true;
}

static void next_queue(struct link *l)
{
    struct queue *q = l->first;
    struct todo *todo = &q->todo[l->side];

    l->first = todo->next;
    if (l->first == NULL)
        l->last = NULL;
    todo->listed = false;
    if (todo->ops != 0)
        work_add(q, l->side, (enum op)todo->ops);
}

size_t work_block(struct link *l)
{
    struct thread *t = l->t;
    struct sx_wr w;
    uint8_t before;

    sx_wr_fixed(&w, t->block, sizeof(t->block));
    sx_wr_u8(&w, 0);
    l->blocks++;
    if (l->ping) {
        l->ping = false;
        (void)put(l, &w, NULL, OP_PING); /* an empty block has room */
    }
    do {
        before = t->block[0];
        if (l->first != NULL && t->block[0] < SUBS_PER_BLOCK && put_queue(l, &w, l->first))
            next_queue(l);
    } while (t->block[0] > before);
    return t->block[0] == 0 ? 0 : w.len;
}

/* ---- answers ---- */

static void stop_queue(struct queue *q)
{
    atomic_store(&q->stopped, true);
}

static void check_body(struct thread *t, struct queue *q, const struct sx_rsp *r)
{
    struct sx_box_key key;
    struct sx_rcv_msg m;
    simplex_bytes plain;
    uint8_t *box = (uint8_t *)(uintptr_t)r->msg.body.ptr; /* in a block of ours */

    sx_box_key_init(&key, q->secret);
    if (sx_box_open_padded(&key, r->msg.msg_id.ptr, box, r->msg.body.len, &plain) != SIMPLEX_OK ||
        sx_rcv_msg_decode(plain, &m) != SIMPLEX_OK || m.quota) {
        count_error(t, "message", "cannot be decrypted");
        return;
    }
    struct sx_rd rd = sx_rd_init(m.body);
    uint64_t number = (uint64_t)sx_rd_i64(&rd);
    int64_t index = sx_rd_i64(&rd);
    if (rd.bad || index != q - t->queues)
        count_error(t, "message", "is not one that was sent");
    else if (number != q->got)
        count_error(t, "message", number < q->got ? "came twice" : "before it is missing");
}

static struct queue *by_recipient(struct link *l, simplex_bytes id)
{
    struct thread *t = l->t;
    unsigned step = both_sides(t) ? t->n_links / 2 : t->n_links;
    unsigned at = (unsigned)(l - t->links) / (both_sides(t) ? 2 : 1);

    for (unsigned i = at; i < t->n_queues; i += step)
        if (t->queues[i].made && sx_bytes_eq(id, sx_bytes(t->queues[i].rcv_id, SX_ID_LEN)))
            return &t->queues[i];
    return NULL;
}

static void on_msg(struct link *l, simplex_bytes entity, const struct sx_rsp *r)
{
    struct thread *t = l->t;
    struct queue *q = l->side == RECIPIENT ? by_recipient(l, entity) : NULL;

    if (q == NULL || r->msg.msg_id.len != SX_ID_LEN || q->got >= atomic_load(&q->sent)) {
        count_error(t, "message", "nobody asked for");
        return;
    }
    hist_add(&t->r.deliver, (uint64_t)(sx_mono_us() - q->sent_us[q->got % t->o->window]));
    if (t->o->check)
        check_body(t, q, r);
    q->got++;
    memcpy(q->msg_id, r->msg.msg_id.ptr, SX_ID_LEN);
    work_add(q, RECIPIENT, OP_ACK);
}

static void on_ids(struct thread *t, struct queue *q, const struct sx_rsp *r)
{
    uint8_t secret[SX_DH_MAX];

    if (r->tag != SX_R_IDS || r->ids.rcv_id.len != SX_ID_LEN || r->ids.snd_id.len != SX_ID_LEN)
        return;
    memcpy(q->rcv_id, r->ids.rcv_id.ptr, SX_ID_LEN);
    memcpy(q->snd_id, r->ids.snd_id.ptr, SX_ID_LEN);
    if (t->o->check && sx_dh(&t->dh.priv, &r->ids.srv_dh, secret) != SIMPLEX_OK)
        return;
    if (t->o->check)
        memcpy(q->secret, secret, sizeof(q->secret));
    q->made = true;
}

/* Which queue sends after a cycle of q; NULL: none may. */
static struct queue *whose_turn(struct thread *t, struct queue *q)
{
    if (!has_room(t))
        return NULL;
    for (unsigned i = 0; t->o->in_flight > 0 && i < t->n_queues; i++) {
        t->turn = (t->turn + 1) % t->n_queues;
        if (ready(t, &t->queues[t->turn]))
            return &t->queues[t->turn];
    }
    return ready(t, q) ? q : NULL;
}

static void cycle_done(struct thread *t, struct queue *q)
{
    if (atomic_load(&q->in_flight) > 0) {
        atomic_fetch_sub(&q->in_flight, 1);
        atomic_fetch_sub(&t->flying, 1);
    }
    if (t->phase == LOAD_RUN)
        atomic_fetch_add(&t->done, 1);
    q = whose_turn(t, q);
    if (q != NULL && t->other == NULL)
        send_more(q);
    else if (q != NULL)
        ask(q);
}

static void on_answer(struct link *l, struct queue *q, enum op op, uint64_t us,
                      const struct sx_rsp *r)
{
    struct thread *t = l->t;
    bool ok = r->tag != SX_R_ERR;

    switch (op) {
    case OP_NEW:
        on_ids(t, q, r);
        t->prepared++;
        break;
    case OP_SKEY:
        q->made = ok;
        t->prepared++;
        break;
    case OP_SEND:
        hist_add(&t->r.send, us);
        if (!ok)
            stop_queue(q);
        break;
    case OP_ACK:
        hist_add(&t->r.ack, us);
        if (ok)
            cycle_done(t, q);
        else
            stop_queue(q);
        break;
    case OP_SUB:
        hist_add(&t->r.sub, us);
        if (t->phase == LOAD_RUN)
            atomic_fetch_add(&t->done, 1);
        if (ok && t->phase == LOAD_RUN)
            work_add(q, RECIPIENT, OP_SUB);
        break;
    case OP_PING:
        hist_add(&t->r.ping, us);
        break;
    }
}

static void count_err(struct thread *t, const struct sx_rsp *r)
{
    uint8_t text[40];
    struct sx_wr w;

    sx_wr_fixed(&w, text, sizeof(text) - 1);
    sx_smp_err_encode(&w, &r->err, SX_SMP_MAX);
    text[w.len] = 0;
    count_error(t, "answer ERR", (const char *)text);
}

/* Says what the answer belongs to; false: to nothing of ours. */
static bool read_corr(struct thread *t, simplex_bytes corr, enum op *op, uint32_t *queue,
                      int64_t *at)
{
    struct sx_rd rd = sx_rd_init(corr);

    *op = (enum op)sx_rd_u8(&rd);
    *queue = sx_rd_u32(&rd);
    *at = sx_rd_i64(&rd);
    return !rd.bad && (*queue < t->n_queues || *op == OP_PING);
}

static void on_transmission(struct link *l, const struct sx_transmission *tr,
                            const struct sx_rsp *r)
{
    struct thread *t = l->t;
    enum op op;
    uint32_t queue;
    int64_t at;

    if (r->tag == SX_R_ERR)
        count_err(t, r);
    if (r->tag == SX_R_MSG)
        on_msg(l, tr->entity_id, r);
    if (tr->corr_id.len == 0) {
        if (r->tag != SX_R_MSG && r->tag != SX_R_ERR)
            count_error(t, "event", sx_rsp_name(r->tag));
        return;
    }
    if (!read_corr(t, tr->corr_id, &op, &queue, &at) || l->pending == 0) {
        count_error(t, "answer", "to nothing that was asked");
        return;
    }
    l->pending--;
    int64_t us = sx_mono_us() - at;
    on_answer(l, op == OP_PING ? NULL : &t->queues[queue], op, us > 0 ? (uint64_t)us : 0, r);
}

void work_content(struct link *l, simplex_bytes content)
{
    uint16_t version = sx_conn_session(l->conn)->version;
    struct sx_batch_rd rd;
    struct sx_transmission tr;
    struct sx_rsp r;
    simplex_bytes in;

    if (sx_batch_open(content, &rd) != SIMPLEX_OK) {
        count_error(l->t, "answer", "is no block of SMP");
        return;
    }
    while (sx_batch_next(&rd, &in)) {
        if (sx_transmission_decode(in, version, &tr) != SIMPLEX_OK ||
            sx_rsp_decode(tr.command, version, &r) != SIMPLEX_OK)
            count_error(l->t, "answer", "cannot be read");
        else
            on_transmission(l, &tr, &r);
    }
}
