/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Receipts (A_RCVD, agent.md section 6.8): the recipient's application acknowledges a message and
 * says so to the sender, naming it by the sender's number and the hash it arrived with. Receipts
 * are messages of the ratchet, with a number of their own, and are never answered by receipts.
 */
#include "agent/agent.h"
#include "agent/enqueue.h"
#include "agent/event.h"
#include "agent/handshake.h"
#include "agent/receive.h"

simplex_rc sx_send_receipt(struct simplex_agent *a, struct sx_conn *c, const struct sx_receipt *r)
{
    struct sx_agent_msg msg = { .tag = SX_AM_MESSAGE, .msg = SX_M_RCVD };
    struct sx_outgoing o = { .type = SX_M_RCVD };
    struct sx_snd_queue q;
    struct sx_wr item;
    int64_t id;
    simplex_rc rc;

    if (c->agent_version < SX_AGENT_RECEIPTS)
        return SIMPLEX_OK;
    rc = sx_first_snd_queue(a, c, &q);
    if (rc == SIMPLEX_OK && !sx_can_send(c, &q))
        rc = SIMPLEX_E_NOT_FOUND;
    sx_wipe(&q, sizeof q);
    if (rc != SIMPLEX_OK) /* no way to the peer yet: the message is acknowledged all the same */
        return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
    if (r->info.len > SX_BLOCK)
        return SIMPLEX_E_TOO_LARGE;
    sx_wr_init(&item, SX_BLOCK + 64);
    sx_receipt_encode(&item, r);
    msg.list = (struct sx_list){ 1, sx_wr_bytes(&item) };
    rc = item.bad ? SIMPLEX_E_NOMEM : sx_enqueue(a, c, &msg, &o, &id);
    sx_wr_free(&item);
    return rc;
}

/* The row ends with the receipt that fits. One that does not is told once, and a right one may
 * still follow: what can be shown is bounded by what we sent. */
static simplex_rc remember(struct simplex_agent *a, struct sx_sent *m, int32_t status)
{
    if (status == SIMPLEX_RECEIPT_OK)
        return sx_store_sent_delete(a->store, m->conn_id, m->snd_id);
    m->status = (uint8_t)status;
    return sx_store_sent_status(a->store, m);
}

static simplex_rc on_receipt(struct simplex_agent *a, const struct sx_conn *c,
                             const struct sx_receipt *r)
{
    struct simplex_event ev;
    struct sx_sent m;
    simplex_rc rc = sx_store_sent_get(a->store, c->id, r->id, &m);

    if (rc == SIMPLEX_E_NOT_FOUND) /* repeated, too old, or no message of the application */
        return r->id > 0 && r->id <= c->last_snd_id ? SIMPLEX_OK : SIMPLEX_E_DECODE;
    if (rc != SIMPLEX_OK)
        return rc;
    bool right = sx_bytes_eq(r->hash, sx_bytes(m.hash, sizeof m.hash));
    int32_t status = right ? SIMPLEX_RECEIPT_OK : SIMPLEX_RECEIPT_BAD_HASH;
    if (m.status == status)
        return SIMPLEX_OK;
    rc = remember(a, &m, status);
    if (rc != SIMPLEX_OK)
        return rc;
    sx_event_init(&ev, SIMPLEX_EV_RCVD, c->id);
    ev.msg_id = m.id;
    ev.status = status;
    sx_wr_raw(&ev.data, r->info);
    return sx_emit(a, &ev);
}

simplex_rc sx_on_receipts(struct simplex_agent *a, const struct sx_conn *c,
                          const struct sx_list *list)
{
    struct sx_rd r = sx_rd_init(list->items);
    simplex_rc rc = SIMPLEX_OK;
    bool unknown = false;

    for (unsigned n = 0; rc == SIMPLEX_OK && n < list->count; n++) {
        struct sx_receipt x;
        sx_receipt_next(&r, &x);
        rc = r.bad ? SIMPLEX_E_DECODE : on_receipt(a, c, &x);
        if (rc == SIMPLEX_E_DECODE) { /* the others of the list still count */
            unknown = true;
            rc = SIMPLEX_OK;
        }
    }
    return rc == SIMPLEX_OK && unknown ? sx_emit_err(a, c->id, SIMPLEX_E_DECODE, "V") : rc;
}
