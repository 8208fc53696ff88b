/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two sides of a rotation say to each other, and a new ratchet in between (agent.md
 * sections 6.5 and 6.6). While the ratchet is being made anew nothing can be sent, and what was
 * sent before may be lost. The rows know how far a rotation is: a step is taken there at once, and
 * what it has to say is said, or said again, when messages are read again. Who has heard it already
 * ignores it.
 */
#include "agent/handshake.h"
#include "agent/resync.h"
#include "agent/switch.h"
#include "agent/switch_again.h"

static simplex_rc say(struct simplex_agent *a, struct sx_conn *c, enum sx_msg_tag tag,
                      const union sx_switch_item *x)
{
    return sx_sync_blocks(c) ? SIMPLEX_OK : sx_send_switch(a, c, tag, x);
}

simplex_rc sx_send_qadd(struct simplex_agent *a, struct sx_conn *c, const struct sx_rcv_queue *old,
                        const struct sx_rcv_queue *q)
{
    union sx_switch_item x = { .add = { .has_replaced = true } };

    sx_queue_info_of(q, &x.add.queue);
    x.add.queue.v = a->speaks.client;
    x.add.replaced.server = old->server;
    x.add.replaced.snd_id = old->snd_id;
    return say(a, c, SX_M_QADD, &x);
}

simplex_rc sx_send_qkey(struct simplex_agent *a, struct sx_conn *c, const struct sx_snd_queue *q)
{
    union sx_switch_item x = { .key = { .key = q->auth.pub } };

    x.key.queue.v = (struct sx_range){ q->client_version, q->client_version };
    x.key.queue.server = q->server;
    x.key.queue.snd_id = q->snd_id;
    x.key.queue.mode = q->mode;
    x.key.queue.dh = q->e2e_pub;
    return say(a, c, SX_M_QKEY, &x);
}

simplex_rc sx_send_quse(struct simplex_agent *a, struct sx_conn *c, const struct sx_rcv_queue *q)
{
    union sx_switch_item x = { .use = { .primary = true } };

    x.use.queue.server = q->server;
    x.use.queue.snd_id = q->snd_id;
    return say(a, c, SX_M_QUSE, &x);
}

simplex_rc sx_send_qtest(struct simplex_agent *a, struct sx_conn *c, const struct sx_snd_queue *q)
{
    union sx_switch_item x = { .test = { .server = q->server, .snd_id = q->snd_id } };

    return say(a, c, SX_M_QTEST, &x);
}

/* ---- again ---- */

static simplex_rc of_receiver(struct simplex_agent *a, struct sx_conn *c,
                              const struct sx_rcv_queue *old)
{
    struct sx_rcv_queue q;
    simplex_rc rc;

    if (old->deleted || (old->switch_state != SX_SW_QADD && old->switch_state != SX_SW_QUSE))
        return SIMPLEX_OK;
    rc = sx_rcv_replacement(a, old, &q);
    if (rc == SIMPLEX_OK && old->switch_state == SX_SW_QUSE)
        rc = sx_send_quse(a, c, &q);
    else if (rc == SIMPLEX_OK && q.status == SX_Q_NEW)
        rc = sx_send_qadd(a, c, old, &q);
    sx_wipe(&q, sizeof q);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_E_DB_DAMAGED : rc;
}

static simplex_rc of_sender(struct simplex_agent *a, struct sx_conn *c,
                            const struct sx_snd_queue *old)
{
    struct sx_snd_queue q;
    simplex_rc rc;

    if (old->switch_state != SX_SW_QKEY && old->switch_state != SX_SW_QTEST)
        return SIMPLEX_OK;
    rc = sx_snd_replacement(a, old, &q);
    if (rc == SIMPLEX_OK)
        rc = old->switch_state == SX_SW_QKEY ? sx_send_qkey(a, c, &q) : sx_send_qtest(a, c, &q);
    sx_wipe(&q, sizeof q);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_E_DB_DAMAGED : rc;
}

simplex_rc sx_switch_again(struct simplex_agent *a, struct sx_conn *c)
{
    struct sx_rcv_queue r;
    struct sx_snd_queue s;
    simplex_rc rc = SIMPLEX_OK;

    for (unsigned n = 0; rc == SIMPLEX_OK; n++) {
        rc = sx_store_rcvq_of(a->store, c->id, n, &r);
        if (rc == SIMPLEX_OK)
            rc = of_receiver(a, c, &r);
    }
    if (rc == SIMPLEX_E_NOT_FOUND)
        rc = SIMPLEX_OK;
    for (unsigned n = 0; rc == SIMPLEX_OK; n++) {
        rc = sx_store_sndq_of(a->store, c->id, n, &s);
        if (rc == SIMPLEX_OK)
            rc = of_sender(a, c, &s);
    }
    sx_wipe(&r, sizeof r);
    sx_wipe(&s, sizeof s);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}
