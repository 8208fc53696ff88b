/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A message to send becomes a row: its number, its place in the hash chain, its ratchet key
 * (agent.md section 6.7). The size is checked before anything advances, so that a message that is
 * too large leaves no gap for the peer to see.
 */
#include "agent/agent.h"
#include "agent/enqueue.h"
#include "agent/resync.h"
#include "agent/switch.h"
#include "agent/work.h"

#define ANSWERS_WAITING 500

bool sx_can_send(const struct sx_conn *c, const struct sx_snd_queue *q)
{
    if (c->last_snd_id == 0 || sx_sync_blocks(c)) /* the confirmation is number 1 */
        return false;
    if (c->state == SX_CONN_READY || q->status == SX_Q_ACTIVE)
        return true;
    return q->mode == SX_MODE_MESSAGING && c->agent_version >= 7;
}

/* What a contact makes us answer, and does not take, must not fill the database. Messages that get
 * through to one of its queues are taken. */
simplex_rc sx_answers_wait(struct simplex_agent *a, int64_t conn, bool *too_many)
{
    struct sx_snd_queue q;
    int64_t n;
    simplex_rc rc = SIMPLEX_OK;

    *too_many = false;
    for (unsigned k = 0; rc == SIMPLEX_OK; k++) {
        rc = sx_store_sndq_of(a->store, conn, k, &q);
        if (rc != SIMPLEX_OK || !sx_takes_messages(&q, k))
            continue;
        rc = sx_store_delivery_count_of(a->store, q.id, &n);
        *too_many = rc == SIMPLEX_OK && n >= ANSWERS_WAITING;
        if (!*too_many)
            break;
    }
    sx_wipe(&q, sizeof q);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

static simplex_rc advance_ratchet(struct simplex_agent *a, int64_t conn, enum sx_pq_flag pq,
                                  struct sx_msg_key *key)
{
    static const struct sx_skipped_diff nothing;
    struct sx_ratchet r;
    simplex_rc rc;

    memset(&r, 0, sizeof r);
    rc = sx_store_ratchet_get_snd(a->store, conn, &r);
    if (rc != SIMPLEX_OK)
        return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_E_PROHIBITED : rc;
    rc = sx_ratchet_encrypt_header_as(&r, pq, a->speaks.e2e.max, key);
    if (rc == SIMPLEX_OK)
        rc = sx_store_ratchet_put(a->store, conn, &r, &nothing);
    sx_ratchet_wipe(&r);
    return rc;
}

/* Deliveries for every queue that leads to the peer: the first, and others when secured. */
simplex_rc sx_add_deliveries(struct simplex_agent *a, int64_t conn, int64_t msg_id)
{
    struct sx_snd_queue q;
    bool any = false;
    simplex_rc rc = SIMPLEX_OK;

    for (unsigned n = 0; rc == SIMPLEX_OK; n++) {
        rc = sx_store_sndq_of(a->store, conn, n, &q);
        if (rc == SIMPLEX_E_NOT_FOUND)
            return any ? SIMPLEX_OK : SIMPLEX_E_PROHIBITED;
        if (rc != SIMPLEX_OK || !sx_takes_messages(&q, n))
            continue;
        any = true;
        rc = sx_store_delivery_add(a->store, q.id, conn, msg_id);
        sx_wake_delivery(a, q.id, conn);
    }
    sx_wipe(&q, sizeof q);
    return rc;
}

static simplex_rc store_message(struct simplex_agent *a, const struct sx_conn *c,
                                const struct sx_outgoing *o, simplex_bytes plain, size_t padded)
{
    struct sx_msg_key key;
    struct sx_wr encoded;
    simplex_rc rc = advance_ratchet(a, c->id, o->pq, &key);

    if (rc != SIMPLEX_OK)
        return rc;
    sx_wr_init(&encoded, sizeof key + 64);
    sx_msg_key_encode(&encoded, &key);
    struct sx_snd_msg m = { .conn_id = c->id,
                            .id = c->last_id,
                            .snd_id = c->last_snd_id,
                            .type = o->type,
                            .notify = o->notify,
                            .padded = (uint16_t)padded,
                            .plain = plain,
                            .body_id = o->body_id,
                            .key = sx_wr_bytes(&encoded),
                            .e2e = o->e2e,
                            .created_at = sx_now_ms() };
    rc = encoded.bad ? SIMPLEX_E_NOMEM : sx_store_snd_msg_add(a->store, &m);
    sx_wr_free(&encoded);
    sx_msg_key_wipe(&key);
    return rc;
}

/* What the peer may send a receipt for: receipts name the message by its number and hash. A peer
 * that knows none may have been updated when it reads this. */
static simplex_rc expect_receipt(struct simplex_agent *a, const struct sx_conn *c,
                                 const struct sx_outgoing *o)
{
    struct sx_sent m = { .conn_id = c->id,
                         .snd_id = c->last_snd_id,
                         .id = c->last_id,
                         .created_at = sx_now_ms() };

    if (o->type != SX_M_MSG)
        return SIMPLEX_OK;
    memcpy(m.hash, c->last_snd_hash, sizeof m.hash);
    return sx_store_sent_add(a->store, &m);
}

/* The old ratchet is of no use, the new one is not there: only what completes a handshake or a
 * synchronisation passes (section 6.6). */
static bool passes_sync(uint8_t type)
{
    return type == 0 || type == SX_M_HELLO || type == SX_M_EREADY;
}

simplex_rc sx_enqueue(struct simplex_agent *a, struct sx_conn *c, struct sx_agent_msg *msg,
                      const struct sx_outgoing *o, int64_t *msg_id)
{
    bool pq = c->pq_support || (o->pq == SX_PQ_ON && sx_kem_available() && c->agent_version >= 5);
    size_t padded = o->type == 0 ? sx_ratchet_padded_info(c->agent_version, pq)
                                 : sx_ratchet_padded_message(c->agent_version, pq);
    uint8_t *room;
    struct sx_wr plain;
    simplex_rc rc;

    if (sx_sync_blocks(c) && !passes_sync(o->type))
        return SIMPLEX_E_PROHIBITED;
    room = sx_malloc(padded); /* at once: what does not fit then is too large, not out of memory */
    if (room == NULL)
        return SIMPLEX_E_NOMEM;
    msg->snd_msg_id = c->last_snd_id + 1;
    msg->prev_hash = c->has_snd_hash ? sx_bytes(c->last_snd_hash, sizeof c->last_snd_hash)
                                     : sx_bytes(NULL, 0);
    sx_wr_fixed(&plain, room, padded - 2);
    sx_agent_msg_encode(&plain, msg);
    if (plain.bad) {
        sx_free_secret(room, padded);
        return SIMPLEX_E_TOO_LARGE;
    }
    c->pq_support = pq;
    c->last_id++;
    c->last_snd_id++;
    sx_sha256(sx_wr_bytes(&plain), c->last_snd_hash);
    c->has_snd_hash = true;
    *msg_id = c->last_id;
    /* The body is the tail of the message: what is stored for many is left out here. */
    rc = store_message(
        a, c, o, sx_bytes(plain.p, plain.len - (o->body_id != 0 ? msg->body.len : 0)), padded);
    sx_free_secret(room, padded);
    if (rc == SIMPLEX_OK)
        rc = expect_receipt(a, c, o);
    if (rc == SIMPLEX_OK)
        rc = sx_add_deliveries(a, c->id, c->last_id);
    if (rc == SIMPLEX_OK)
        rc = sx_store_conn_update(a->store, c);
    return rc;
}
