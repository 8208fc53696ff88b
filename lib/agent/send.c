/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of the application, one or many at once. */
#include "agent/agent.h"
#include "agent/enqueue.h"
#include "agent/handshake.h"
#include "agent/resync.h"

#define SHARED_MIN 64 /* shorter bodies are not worth a row of their own */
#define PQ_FLAGS (SIMPLEX_SEND_PQ_ON | SIMPLEX_SEND_PQ_OFF)

static bool valid(simplex_bytes body, uint32_t flags)
{
    return (body.ptr != NULL || body.len == 0) && flags < 8 && (flags & PQ_FLAGS) != PQ_FLAGS;
}

static simplex_rc may_send(struct simplex_agent *a, int64_t conn, struct sx_conn *c)
{
    struct sx_snd_queue q;
    simplex_rc rc = sx_store_conn_get(a->store, conn, c);

    if (rc == SIMPLEX_OK && c->deleted)
        rc = SIMPLEX_E_NOT_FOUND;
    if (rc == SIMPLEX_OK && sx_sync_blocks(c))
        rc = SIMPLEX_E_PROHIBITED;
    if (rc != SIMPLEX_OK || c->state == SX_CONN_READY)
        return rc;
    rc = sx_first_snd_queue(a, c, &q);
    if (rc == SIMPLEX_E_NOT_FOUND || (rc == SIMPLEX_OK && !sx_can_send(c, &q)))
        rc = SIMPLEX_E_PROHIBITED;
    sx_wipe(&q, sizeof q);
    return rc;
}

/* body_id: of the body, when it is stored for several messages; 0: not. */
static simplex_rc send_one(struct simplex_agent *a, simplex_batch_message *m, int64_t body_id)
{
    struct sx_conn c;
    struct sx_agent_msg msg = { .tag = SX_AM_MESSAGE, .msg = SX_M_MSG, .body = m->body };
    struct sx_outgoing o = { .type = SX_M_MSG,
                             .notify = (m->flags & SIMPLEX_SEND_NOTIFY) != 0,
                             .body_id = body_id };
    simplex_rc rc = may_send(a, m->conn, &c);

    if ((m->flags & SIMPLEX_SEND_PQ_ON) != 0)
        o.pq = SX_PQ_ON;
    else if ((m->flags & SIMPLEX_SEND_PQ_OFF) != 0)
        o.pq = SX_PQ_OFF;
    return rc == SIMPLEX_OK ? sx_enqueue(a, &c, &msg, &o, &m->msg_id) : rc;
}

static simplex_rc do_send(struct simplex_agent *a, void *p)
{
    return send_one(a, p, 0);
}

simplex_rc simplex_agent_send(simplex_agent *a, int64_t conn, simplex_bytes body, uint32_t flags,
                              int64_t *msg_id)
{
    simplex_batch_message m = { .conn = conn, .body = body, .flags = flags };
    simplex_rc rc;

    if (a == NULL || msg_id == NULL || !valid(body, flags))
        return SIMPLEX_E_ARG;
    rc = sx_agent_run(a, do_send, &m, true);
    *msg_id = rc == SIMPLEX_OK ? m.msg_id : 0;
    return rc;
}

/* ---- many ---- */

struct batch {
    char *at;
    size_t n, size, sent;
    simplex_bytes body; /* at hand, stored as body_id */
    int64_t body_id;
};

static simplex_batch_message *item(const struct batch *b, size_t i)
{
    return (simplex_batch_message *)(void *)(b->at + i * b->size);
}

static bool same(simplex_bytes x, simplex_bytes y)
{
    return x.ptr == y.ptr && x.len == y.len;
}

static simplex_rc end_body(struct simplex_agent *a, struct batch *b)
{
    int64_t id = b->body_id;

    b->body_id = 0;
    b->body = sx_bytes(NULL, 0);
    return id != 0 ? sx_store_snd_body_trim(a->store, id) : SIMPLEX_OK;
}

/* Stores the body of message i apart, when the next one has the same. */
static simplex_rc begin_body(struct simplex_agent *a, struct batch *b, size_t i)
{
    simplex_bytes body = item(b, i)->body;
    simplex_rc rc;

    if (b->body_id != 0 && same(body, b->body))
        return SIMPLEX_OK;
    rc = end_body(a, b);
    if (rc != SIMPLEX_OK || body.len < SHARED_MIN || body.len > SX_BLOCK || i + 1 >= b->n ||
        !same(body, item(b, i + 1)->body))
        return rc;
    rc = sx_store_snd_body_add(a->store, body, &b->body_id);
    b->body = body;
    return rc;
}

/* rc of this message; the result is that of the whole. */
static simplex_rc send_part(struct simplex_agent *a, struct batch *b, simplex_batch_message *m)
{
    simplex_rc rc = sx_store_part(a->store);

    if (rc != SIMPLEX_OK)
        return rc;
    m->rc = send_one(a, m, b->body_id);
    if (m->rc != SIMPLEX_OK)
        m->msg_id = 0;
    b->sent += m->rc == SIMPLEX_OK;
    return sx_rc_is_store(m->rc) ? m->rc : sx_store_part_end(a->store, m->rc == SIMPLEX_OK);
}

/* Fails with what the database fails with, and then no message stays. */
static simplex_rc do_batch(struct simplex_agent *a, void *p)
{
    struct batch *b = p;
    simplex_rc rc = SIMPLEX_OK;

    for (size_t i = 0; rc == SIMPLEX_OK && i < b->n; i++) {
        rc = begin_body(a, b, i);
        if (rc == SIMPLEX_OK)
            rc = send_part(a, b, item(b, i));
    }
    return rc == SIMPLEX_OK ? end_body(a, b) : rc;
}

static void none_sent(struct batch *b, simplex_rc rc)
{
    for (size_t i = 0; i < b->n; i++) {
        item(b, i)->rc = rc;
        item(b, i)->msg_id = 0;
    }
    b->sent = 0;
}

simplex_rc simplex_agent_send_batch(simplex_agent *a, simplex_batch_message *messages, size_t n,
                                    size_t size, size_t *n_sent)
{
    struct batch b = { .at = (char *)messages, .n = n, .size = size };
    simplex_rc rc = SIMPLEX_OK;

    if (n_sent != NULL)
        *n_sent = 0;
    if (a == NULL || (messages == NULL && n > 0) || size < sizeof *messages ||
        size % _Alignof(simplex_batch_message) != 0)
        return SIMPLEX_E_ARG;
    for (size_t i = 0; i < n; i++) {
        if (!valid(item(&b, i)->body, item(&b, i)->flags))
            rc = SIMPLEX_E_ARG;
    }
    if (rc == SIMPLEX_OK)
        rc = sx_agent_run(a, do_batch, &b, true);
    if (rc != SIMPLEX_OK)
        none_sent(&b, rc);
    if (n_sent != NULL)
        *n_sent = b.sent;
    return rc;
}
