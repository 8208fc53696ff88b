/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Suspending the receiving queues of a connection (agent.md section 6.9): their servers take
 * nothing more from senders, what waits there is read as ever. SMP has no way back, so the
 * connection says so in its row (`suspended`), with a command OFF for each queue that repeats until
 * the server has answered; the row of the queue (`suspended` again) says when it has.
 *
 * No queue is made for such a connection any more: a rotation is given up, or where it is too late
 * for that the sender's word for the new queue is not waited for.
 */
#include <limits.h>

#include "agent/check.h"
#include "agent/several.h"
#include "agent/suspend_queues.h"
#include "agent/switch.h"
#include "agent/work.h"

static bool may_suspend(const struct sx_conn *c)
{
    return c->state == SX_CONN_READY || c->state == SX_CONN_INVITED;
}

/* What was to be used later will not be. */
static simplex_rc drop_added(struct simplex_agent *a, struct sx_conn *c)
{
    struct sx_rcv_queue q;
    simplex_rc rc = SIMPLEX_OK;

    for (unsigned n = 0; rc == SIMPLEX_OK; n++) {
        rc = sx_store_rcvq_of(a->store, c->id, n, &q);
        if (rc == SIMPLEX_OK && sx_is_added(&q) && !q.deleted) {
            rc = sx_queue_drop(a, c, &q, SIMPLEX_OK, NULL);
            n = UINT_MAX; /* the list is another one now: from its beginning */
        }
    }
    sx_wipe(&q, sizeof q);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

/* Those that are read to their end too: until then they would take messages. */
static simplex_rc add_commands(struct simplex_agent *a, int64_t conn, unsigned *queues)
{
    struct sx_rcv_queue q;
    simplex_rc rc = SIMPLEX_OK;

    *queues = 0;
    for (unsigned n = 0; rc == SIMPLEX_OK; n++) {
        rc = sx_store_rcvq_of(a->store, conn, n, &q);
        if (rc != SIMPLEX_OK || q.deleted || q.rcv_id.len == 0)
            continue;
        ++*queues;
        rc = sx_command_add(a, conn, SX_C_OFF, q.id, sx_bytes(NULL, 0));
    }
    sx_wipe(&q, sizeof q);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

static simplex_rc suspend(struct simplex_agent *a, int64_t conn)
{
    struct sx_conn c;
    unsigned queues = 0;
    simplex_rc rc = sx_store_conn_get(a->store, conn, &c);

    if (rc == SIMPLEX_OK && c.deleted)
        rc = SIMPLEX_E_NOT_FOUND;
    if (rc != SIMPLEX_OK || c.suspended)
        return rc;
    if (!may_suspend(&c))
        return SIMPLEX_E_PROHIBITED;
    c.suspended = true;
    rc = sx_store_conn_update(a->store, &c);
    if (rc == SIMPLEX_OK)
        rc = sx_switch_abort(a, conn);
    if (rc == SIMPLEX_OK || rc == SIMPLEX_E_PROHIBITED) /* too late, or there is none */
        rc = drop_added(a, &c);
    if (rc == SIMPLEX_OK)
        rc = add_commands(a, conn, &queues);
    return rc == SIMPLEX_OK && queues == 0 ? SIMPLEX_E_PROHIBITED : rc;
}

/* The sender was told to use the new queue, which takes nothing from it: the old one, where nothing
 * comes any more either, is read to its end and deleted now. */
static simplex_rc end_rotation(struct simplex_agent *a, const struct sx_rcv_queue *old)
{
    struct sx_rcv_queue q;
    simplex_rc rc;

    if (old->switch_state != SX_SW_QUSE)
        return SIMPLEX_OK;
    rc = sx_rcv_replacement(a, old, &q);
    if (rc == SIMPLEX_OK)
        rc = sx_switch_used(a, &q);
    sx_wipe(&q, sizeof q);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_E_DB_DAMAGED : rc;
}

simplex_rc sx_off_answered(struct simplex_agent *a, const struct sx_command *cmd, simplex_rc why,
                           const char *detail)
{
    struct sx_rcv_queue q;
    simplex_rc rc = sx_store_rcvq_get(a->store, cmd->queue_id, &q);

    if (rc == SIMPLEX_E_NOT_FOUND)
        return SIMPLEX_OK; /* deleted meanwhile */
    if (rc == SIMPLEX_OK && why == SIMPLEX_OK) {
        q.suspended = true;
        rc = sx_store_rcvq_update(a->store, &q);
    }
    if (rc == SIMPLEX_OK)
        rc = sx_emit_queue(a, q.conn_id, q.id, SIMPLEX_SWITCH_RCV, SIMPLEX_QUEUE_SUSPENDED,
                           &q.server, why, detail);
    if (rc == SIMPLEX_OK && why == SIMPLEX_OK)
        rc = end_rotation(a, &q);
    sx_wipe(&q, sizeof q);
    return rc;
}

/* ---- public ---- */

static simplex_rc do_suspend(struct simplex_agent *a, void *p)
{
    const int64_t *conn = p;

    return suspend(a, *conn);
}

simplex_rc simplex_agent_suspend_queues(simplex_agent *a, int64_t conn)
{
    CHECK(a != NULL);
    return sx_agent_run(a, do_suspend, &conn, true);
}
