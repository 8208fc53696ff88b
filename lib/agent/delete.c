/* SPDX-License-Identifier: Apache-2.0 */
/* Deleting a connection: its queues on the servers first, the rows when they are gone (6.9). */
#include "agent/delete.h"
#include "agent/event.h"
#include "agent/farewell.h"
#include "agent/route.h"
#include "agent/switch.h"
#include "agent/users.h"
#include "agent/work.h"

static simplex_rc gone(struct simplex_agent *a, int64_t conn)
{
    int64_t user;
    simplex_rc rc = sx_user_of(a, conn, &user);

    if (rc == SIMPLEX_OK)
        rc = sx_emit_simple(a, SIMPLEX_EV_DEL_CONN, conn);
    if (rc == SIMPLEX_OK)
        rc = sx_store_conn_delete(a->store, conn);
    return rc == SIMPLEX_OK ? sx_user_gone_if_empty(a, user) : rc;
}

static simplex_rc gone_if_last(struct simplex_agent *a, int64_t conn)
{
    struct sx_rcv_queue q;
    bool waits = false;
    simplex_rc rc = sx_store_rcvq_of(a->store, conn, 0, &q);

    sx_wipe(&q, sizeof q);
    if (rc != SIMPLEX_E_NOT_FOUND)
        return rc;
    rc = sx_farewell_waits(a, conn, &waits);
    return rc == SIMPLEX_OK && !waits ? gone(a, conn) : rc;
}

simplex_rc sx_queue_never_made(struct simplex_agent *a, int64_t conn, int64_t queue)
{
    simplex_rc rc = sx_store_rcvq_delete(a->store, queue);

    return rc == SIMPLEX_OK ? gone_if_last(a, conn) : rc;
}

simplex_rc sx_queue_deleted(struct simplex_agent *a, const struct sx_rcv_queue *q, simplex_rc why,
                            const char *detail)
{
    struct simplex_event ev;
    struct sx_conn c;
    simplex_rc rc = sx_store_conn_get(a->store, q->conn_id, &c);

    if (rc == SIMPLEX_OK && !c.deleted)
        return sx_switch_deleted(a, q, why, detail);
    if (rc == SIMPLEX_OK)
        rc = sx_store_rcvq_delete(a->store, q->id);
    if (rc != SIMPLEX_OK)
        return rc;
    sx_rt_rcvq_remove(a, q->id);
    sx_event_init(&ev, SIMPLEX_EV_DEL_RCVQ, q->conn_id);
    sx_event_set_server(&ev, &q->server);
    ev.rc = why;
    sx_event_set_detail(&ev, detail);
    rc = sx_emit(a, &ev);
    return rc == SIMPLEX_OK ? gone_if_last(a, q->conn_id) : rc;
}

/* Commands that only build the connection up are pointless now; a NEW that is out must be waited
 * for, or its queue would be left behind on the server. */
static simplex_rc drop_commands(struct simplex_agent *a, int64_t conn, int64_t *kept_queue)
{
    struct sx_rt_conn *w = sx_rt_conn_get(a, conn, false);
    struct sx_command cmd;
    simplex_rc rc;

    *kept_queue = 0;
    if (w != NULL && !w->in_flight) /* what it waits for is dropped with the rest */
        w->waiting = false;
    for (int64_t after = 0;; after = cmd.id) {
        rc = sx_store_command_next(a->store, conn, after, &cmd);
        if (rc != SIMPLEX_OK)
            return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
        if (cmd.tag == SX_C_NEW && w != NULL && w->in_flight && w->command == cmd.id) {
            *kept_queue = cmd.queue_id;
            continue;
        }
        rc = sx_store_command_delete(a->store, cmd.id);
        if (rc != SIMPLEX_OK)
            return rc;
    }
}

static simplex_rc drop_snd_queues(struct simplex_agent *a, int64_t conn)
{
    struct sx_snd_queue q;
    simplex_rc rc;

    while ((rc = sx_store_sndq_of(a->store, conn, 0, &q)) == SIMPLEX_OK) {
        struct sx_rt_sndq *w = sx_rt_sndq_get(a, q.id, false);
        if (w != NULL)
            w->dirty = true; /* finds nothing and goes */
        rc = sx_store_sndq_delete(a->store, q.id);
        if (rc != SIMPLEX_OK)
            break;
    }
    sx_wipe(&q, sizeof q);
    a->work = true;
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

static simplex_rc drop_rcv_queues(struct simplex_agent *a, int64_t conn, int64_t kept)
{
    struct sx_rcv_queue q;
    unsigned n = 0;
    simplex_rc rc;

    while ((rc = sx_store_rcvq_of(a->store, conn, n, &q)) == SIMPLEX_OK) {
        struct sx_rt_rcvq *rt = sx_rt_rcvq_by_id(a, q.id);
        if (rt != NULL)
            rt->want = false;
        if (q.rcv_id.len == 0 && q.id != kept) { /* never made on a server */
            rc = sx_store_rcvq_delete(a->store, q.id);
        } else {
            n++;
            q.deleted = true;
            rc = sx_store_rcvq_update(a->store, &q);
            if (rc == SIMPLEX_OK && q.rcv_id.len > 0)
                rc = sx_command_add(a, conn, SX_C_DEL, q.id, sx_bytes(NULL, 0));
        }
        if (rc != SIMPLEX_OK)
            break;
    }
    sx_wipe(&q, sizeof q);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

simplex_rc sx_stop_making(struct simplex_agent *a, int64_t conn)
{
    int64_t kept;
    simplex_rc rc = drop_commands(a, conn, &kept);

    if (rc == SIMPLEX_OK)
        rc = drop_snd_queues(a, conn);
    return rc == SIMPLEX_OK ? sx_store_conf_delete_all(a->store, conn) : rc;
}

static simplex_rc begin(struct simplex_agent *a, int64_t conn, bool after_sending)
{
    struct sx_conn c;
    int64_t kept;
    bool waits = false;
    simplex_rc rc = sx_store_conn_get(a->store, conn, &c);

    if (rc != SIMPLEX_OK)
        return rc;
    if (c.deleted)
        return after_sending ? SIMPLEX_OK : sx_farewell_end(a, conn);
    c.deleted = true;
    rc = sx_store_conn_update(a->store, &c);
    if (rc == SIMPLEX_OK && c.role == SX_ADDRESS)
        rc = sx_store_inv_delete_all(a->store, conn);
    if (rc == SIMPLEX_OK)
        rc = sx_store_look_delete(a->store, conn);
    if (rc == SIMPLEX_OK)
        rc = drop_commands(a, conn, &kept);
    if (rc == SIMPLEX_OK && after_sending && c.state == SX_CONN_READY)
        rc = sx_farewell_begin(a, conn, &waits);
    if (rc == SIMPLEX_OK && !waits)
        rc = drop_snd_queues(a, conn);
    if (rc == SIMPLEX_OK)
        rc = drop_rcv_queues(a, conn, kept);
    return rc == SIMPLEX_OK ? gone_if_last(a, conn) : rc;
}

simplex_rc sx_delete(struct simplex_agent *a, int64_t conn)
{
    return begin(a, conn, false);
}

simplex_rc sx_delete_after_sending(struct simplex_agent *a, int64_t conn)
{
    return begin(a, conn, true);
}

simplex_rc sx_deletion_goes_on(struct simplex_agent *a, int64_t conn)
{
    simplex_rc rc = drop_snd_queues(a, conn);

    return rc == SIMPLEX_OK ? gone_if_last(a, conn) : rc;
}

simplex_rc sx_forget(struct simplex_agent *a, int64_t conn)
{
    struct sx_rcv_queue q;
    unsigned n = 0;
    int64_t kept;
    simplex_rc rc = drop_commands(a, conn, &kept);

    if (rc == SIMPLEX_OK)
        rc = drop_snd_queues(a, conn);
    while (rc == SIMPLEX_OK && (rc = sx_store_rcvq_of(a->store, conn, n++, &q)) == SIMPLEX_OK)
        sx_rt_rcvq_remove(a, q.id);
    sx_wipe(&q, sizeof q);
    return rc == SIMPLEX_E_NOT_FOUND ? sx_store_conn_delete(a->store, conn) : rc;
}
