/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Much of what a contact can send becomes a row until the application has seen it: steps of
 * rotations, queues that come and go, receipts, what cannot be read. While SX_EVENTS_WAITING of
 * them wait, messages of this connection are left on their servers, neither looked at nor
 * acknowledged, so these deliver no more, and refuse what their queues cannot hold. Nothing is
 * lost: when half of the events are handled the messages are asked for again.
 *
 * Messages that the application has not acknowledged count too. A server delivers one of a queue,
 * unless it and the contact are of one mind.
 *
 * Requests to an address have a bound of their own (address.c), what else comes there is not the
 * doing of somebody who could be made to wait.
 */
#include "agent/subscribe.h"
#include "agent/unread.h"

bool sx_event_is_of_peer(int32_t kind)
{
    switch (kind) {
    case SIMPLEX_EV_ERR:
    case SIMPLEX_EV_RSYNC:
    case SIMPLEX_EV_SWITCH:
    case SIMPLEX_EV_RCVD:
    case SIMPLEX_EV_QMISS:
    case SIMPLEX_EV_QUEUE:
        return true;
    default: /* answers to what the application did, or once in the life of a connection */
        return false;
    }
}

simplex_rc sx_events_wait(struct simplex_agent *a, int64_t conn, bool *too_many)
{
    int64_t n;
    simplex_rc rc = sx_store_event_count(a->store, conn, SX_EVENTS_WAITING, &n);

    *too_many = rc == SIMPLEX_OK && n >= SX_EVENTS_WAITING;
    return rc;
}

simplex_rc sx_unread_holds(struct simplex_agent *a, const struct sx_conn *c, int64_t queue,
                           bool *yes)
{
    const struct sx_rt_rcvq *rt = sx_rt_rcvq_by_id(a, queue);

    *yes = false;
    if (c->role == SX_ADDRESS || rt == NULL || rt->fetch != 0) /* which the application asked for */
        return SIMPLEX_OK;
    return sx_events_wait(a, c->id, yes);
}

void sx_unread_left(struct simplex_agent *a, int64_t queue)
{
    struct sx_rt_rcvq *rt = sx_rt_rcvq_by_id(a, queue);

    if (rt != NULL)
        rt->left = a->left = true;
}

static simplex_rc ask_again(struct simplex_agent *a, int64_t conn)
{
    struct sx_rcv_queue q;
    simplex_rc rc = SIMPLEX_OK;

    for (unsigned n = 0; rc == SIMPLEX_OK; n++) {
        rc = sx_store_rcvq_of(a->store, conn, n, &q);
        struct sx_rt_rcvq *rt = rc == SIMPLEX_OK ? sx_rt_rcvq_by_id(a, q.id) : NULL;
        if (rt != NULL && rt->left) {
            rt->left = false;
            sx_subscribe_again(rt);
        }
    }
    sx_wipe(&q, sizeof q);
    return rc;
}

simplex_rc sx_unread_less(struct simplex_agent *a, int64_t conn)
{
    int64_t waiting;
    simplex_rc rc;

    if (!a->left || conn == 0)
        return SIMPLEX_OK;
    rc = sx_store_event_count(a->store, conn, SX_EVENTS_WAITING, &waiting);
    if (rc == SIMPLEX_OK && waiting <= SX_EVENTS_WAITING / 2)
        rc = ask_again(a, conn);
    return sx_rc_is_store(rc) ? rc : SIMPLEX_OK; /* a damaged row stops nothing else */
}
