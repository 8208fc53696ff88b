/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ACKs to servers. One for a control message leaves when its rows are on disk; one that the
 * application asked for may leave before: were the removal of the row lost, the message would be
 * shown again with the same id. Where an ACK is lost the server delivers the message again: it
 * cannot be decrypted twice, its hash is known, so it is acknowledged without a word.
 */
#include "agent/noise.h"
#include "agent/push.h"
#include "agent/receive.h"
#include "agent/route.h"
#include "agent/several.h"
#include "agent/subscribe.h"
#include "agent/unread.h"
#include "agent/work.h"

simplex_rc sx_ack_later(struct simplex_agent *a, int64_t queue, simplex_bytes msg_id,
                        bool after_commit)
{
    struct sx_ack *k;

    if (msg_id.len > SX_QUEUE_ID_MAX)
        return SIMPLEX_E_DECODE;
    k = sx_calloc(1, sizeof *k);
    if (k == NULL)
        return SIMPLEX_E_NOMEM;
    k->queue = queue;
    k->msg_id.len = (uint8_t)msg_id.len;
    if (msg_id.len > 0)
        memcpy(k->msg_id.b, msg_id.ptr, msg_id.len);
    *a->acks_end = k;
    a->acks_end = &k->next;
    if (after_commit)
        a->must_commit = true;
    return SIMPLEX_OK;
}

static void unlink_out(struct simplex_agent *a, struct sx_ack *k)
{
    struct sx_ack **p = &a->acks_out;

    while (*p != k)
        p = &(*p)->next;
    *p = k->next;
}

/* The application waits for nothing in this queue any more: what drains it may ask. */
static void let_drain(struct simplex_agent *a, struct sx_rt_rcvq *q)
{
    struct sx_rt_conn *w = q->draining ? sx_rt_conn_get(a, q->conn, false) : NULL;

    q->unacked = q->draining = false;
    if (w != NULL) {
        w->waiting = false;
        w->delay = w->elapsed = 0;
        w->dirty = true;
        a->work = true;
    }
}

/* Unanswered on a session that lives: subscribing again delivers the message again, unless the
 * server had taken the ACK, which then nothing else would tell. */
static void ask_again(struct simplex_agent *a, const struct sx_ack *k)
{
    struct sx_rt_rcvq *q = sx_rt_rcvq_by_id(a, k->queue);

    if (q == NULL)
        return;
    let_drain(a, q);
    if (q->sub != SX_SUB_ACTIVE || !sx_client_is_up(q->server->client))
        return;
    sx_rt_sub_set(q, SX_SUB_PENDING);
    sx_subscribe_server(a, q->server);
}

void sx_nothing_shown(struct simplex_agent *a, int64_t queue)
{
    struct sx_rt_rcvq *q = sx_rt_rcvq_by_id(a, queue);

    if (q == NULL)
        return;
    let_drain(a, q);
    q->held_since = 0;
}

static bool wanted(struct simplex_agent *a, int64_t queue)
{
    const struct sx_rt_rcvq *q = sx_rt_rcvq_by_id(a, queue);

    return q != NULL && q->want;
}

static void on_answer(void *user, void *ctx, simplex_rc why, const struct sx_rsp *rsp)
{
    struct simplex_agent *a = user;
    struct sx_ack *k = ctx;

    unlink_out(a, k);
    sx_qcont_goes(a, sx_rt_rcvq_by_id(a, k->queue));
    if (why == SIMPLEX_OK ? rsp->tag != SX_R_MSG : !sx_is_temporary(why, rsp))
        sx_nothing_shown(a, k->queue);
    if (why != SIMPLEX_OK && sx_is_temporary(why, rsp))
        ask_again(a, k); /* otherwise the server does not know it (any more): NO_MSG, AUTH */
    if (why == SIMPLEX_OK && rsp->tag == SX_R_MSG && wanted(a, k->queue))
        sx_receive(a, k->queue, rsp);
    else
        sx_fetch_acked(a, k, why, rsp);
    sx_free(k);
}

static void send_ack(struct simplex_agent *a, struct sx_ack *k)
{
    struct sx_rt_rcvq *q = sx_rt_rcvq_by_id(a, k->queue);
    struct sx_cmd cmd = { .tag = SX_ACK };
    struct sx_request req = { .cmd = &cmd, .done = on_answer, .ctx = k };

    /* Without a subscription the message comes again with the next, and is acknowledged then. */
    if (q == NULL || !sx_client_is_up(q->server->client)) {
        sx_qcont_goes(a, q);
        sx_free(k);
        return;
    }
    req.key = q->auth;
    req.entity = sx_id_bytes(q->rcv_id);
    cmd.ack.msg_id = sx_id_bytes(&k->msg_id);
    sx_noise_acked(a, k->queue);
    if (sx_client_send(q->server->client, &req) != SIMPLEX_OK) {
        sx_qcont_goes(a, q);
        ask_again(a, k);
        sx_fetch_acked(a, k, SIMPLEX_E_DISCONNECTED, NULL);
        sx_free(k);
        return;
    }
    q->server->served.acks++;
    k->next = a->acks_out;
    a->acks_out = k;
}

void sx_send_acks(struct simplex_agent *a)
{
    struct sx_ack *k, *next;

    if (a->must_commit || a->failed) /* rows first */
        return;
    k = a->acks;
    a->acks = NULL;
    a->acks_end = &a->acks;
    for (; k != NULL; k = next) {
        next = k->next;
        send_ack(a, k);
    }
}

static void free_list(struct sx_ack **list)
{
    while (*list != NULL) {
        struct sx_ack *next = (*list)->next;
        sx_free(*list);
        *list = next;
    }
}

void sx_drop_acks(struct simplex_agent *a)
{
    free_list(&a->acks);
    a->acks_end = &a->acks;
}

void sx_free_acks(struct simplex_agent *a)
{
    sx_drop_acks(a);
    free_list(&a->acks_out);
}

simplex_rc sx_user_ack(struct simplex_agent *a, int64_t conn, int64_t msg_id,
                       const simplex_bytes *receipt)
{
    struct sx_rcv_msg_row m;
    struct sx_conn c;
    struct sx_id srv;
    simplex_rc rc = sx_store_conn_get(a->store, conn, &c);

    if (rc == SIMPLEX_OK && (c.deleted || msg_id <= 0 || msg_id > c.last_id))
        rc = SIMPLEX_E_NOT_FOUND;
    if (rc != SIMPLEX_OK)
        return rc;
    rc = sx_store_rcv_msg_get(a->store, conn, msg_id, &m);
    if (rc == SIMPLEX_E_NOT_FOUND)
        return SIMPLEX_OK; /* acknowledged before */
    if (rc != SIMPLEX_OK)
        return rc;
    srv = m.srv_msg_id;
    int64_t queue = m.rcv_queue_id;
    if (receipt != NULL) {
        struct sx_receipt r = { m.ext_id, sx_bytes(m.hash, sizeof m.hash), *receipt };
        rc = sx_send_receipt(a, &c, &r);
    }
    if (rc == SIMPLEX_OK)
        rc = sx_store_rcv_msg_delete(a->store, conn, msg_id);
    sx_held_release(a, conn);
    if (rc == SIMPLEX_OK)
        rc = sx_unread_less(a, conn);
    return rc == SIMPLEX_OK ? sx_ack_later(a, queue, sx_id_bytes(&srv), false) : rc;
}
