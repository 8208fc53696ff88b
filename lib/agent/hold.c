/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Order while a connection has two receiving queues (a rotation): a message that came before its
 * predecessors, or before the application acknowledged the last one, stays on the server. It is
 * neither decrypted for good nor acknowledged, and asked for again when it may be its turn.
 */
#include "agent/agent.h"

#define HOLD_MAX 30000 /* ms; then the gap is taken for what it seems */

static bool rotating(const struct sx_rcv_queue *q)
{
    return q->replaces != 0 || q->switch_state != SX_SW_NONE;
}

/* May the other queue still bring what is missing? */
static simplex_rc may_come(struct simplex_agent *a, const struct sx_rcv_queue *q, bool *yes)
{
    const struct sx_rt_rcvq *rt = sx_rt_rcvq_by_id(a, q->id);
    int64_t since = rt != NULL && rt->held_since != 0 ? rt->held_since : sx_mono_ms();
    struct sx_rcv_queue old;
    simplex_rc rc;

    *yes = sx_mono_ms() - since < HOLD_MAX;
    if (q->replaces == 0)
        return SIMPLEX_OK;
    rc = sx_store_rcvq_get(a->store, q->replaces, &old);
    if (rc == SIMPLEX_OK) {
        rt = sx_rt_rcvq_by_id(a, old.id);
        if (old.deleted) /* it was read to its end */
            *yes = false;
        else if (rt != NULL && rt->want && sx_client_is_up(rt->server->client))
            *yes = true;
    }
    sx_wipe(&old, sizeof old);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

simplex_rc sx_hold(struct simplex_agent *a, const struct sx_conn *c, const struct sx_rcv_queue *q,
                   const struct sx_agent_msg *m, bool *hold)
{
    simplex_rc rc = SIMPLEX_OK;

    *hold = false;
    if (!rotating(q))
        return SIMPLEX_OK;
    if (m->snd_msg_id > c->last_rcv_ext_id && m->snd_msg_id - 1 != c->last_rcv_ext_id)
        rc = may_come(a, q, hold);
    if (rc == SIMPLEX_OK && !*hold && m->msg == SX_M_MSG)
        rc = sx_store_rcv_msg_other(a->store, c->id, q->id, hold);
    return rc;
}

void sx_held(struct simplex_agent *a, int64_t queue)
{
    struct sx_rt_rcvq *rt = sx_rt_rcvq_by_id(a, queue);

    if (rt == NULL)
        return;
    if (rt->held_since == 0)
        rt->held_since = sx_mono_ms();
    rt->on_hold = true;
    if (a->held_until == 0 || rt->held_since + HOLD_MAX < a->held_until)
        a->held_until = rt->held_since + HOLD_MAX;
}

/* Subscribing again delivers what was not acknowledged. */
static void ask_again(struct simplex_agent *a, struct sx_rt_rcvq *rt)
{
    rt->on_hold = false;
    if (rt->sub != SX_SUB_ACTIVE || !sx_client_is_up(rt->server->client))
        return; /* it comes with the subscription */
    rt->again = true;
    sx_rt_sub_set(rt, SX_SUB_PENDING);
    sx_subscribe_server(a, rt->server);
}

void sx_held_release(struct simplex_agent *a, int64_t conn)
{
    bool left = false;

    if (a->held_until == 0)
        return;
    for (size_t b = 0; b < SX_TABLE; b++) {
        for (struct sx_rt_rcvq *rt = a->rcvqs_by_id[b]; rt != NULL; rt = rt->next_id) {
            if (rt->on_hold && rt->conn == conn)
                ask_again(a, rt);
            left = left || rt->on_hold;
        }
    }
    if (!left)
        a->held_until = 0;
}

void sx_held_check(struct simplex_agent *a)
{
    int64_t now = sx_mono_ms(), next = 0;

    if (a->held_until == 0 || now < a->held_until)
        return;
    for (size_t b = 0; b < SX_TABLE; b++) {
        for (struct sx_rt_rcvq *rt = a->rcvqs_by_id[b]; rt != NULL; rt = rt->next_id) {
            if (rt->on_hold && now - rt->held_since >= HOLD_MAX)
                ask_again(a, rt);
            else if (rt->on_hold && (next == 0 || rt->held_since + HOLD_MAX < next))
                next = rt->held_since + HOLD_MAX;
        }
    }
    a->held_until = next;
}
