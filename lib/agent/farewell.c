/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deleting a connection when what was sent is delivered (agent.md section 6.9): its receiving
 * queues go at once, its sending queues when they have nothing left, or after two days. A row of
 * `farewells` stands for the wait; the connection is deleted in every other respect.
 */
#include "agent/delete.h"
#include "agent/farewell.h"

simplex_rc sx_farewells_load(struct simplex_agent *a)
{
    int64_t conn, by;
    simplex_rc rc = sx_store_farewell_first(a->store, &conn, &by);

    a->farewells = rc == SIMPLEX_OK;
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

/* Looked at with the next clean-up, which comes earlier for it. */
static void look_at(struct simplex_agent *a, int64_t by)
{
    int64_t left = by - sx_now_ms();
    int64_t at = sx_mono_ms() + (left > 0 ? left : 0);

    if (at < a->next_cleanup)
        a->next_cleanup = at;
}

simplex_rc sx_farewell_begin(struct simplex_agent *a, int64_t conn, bool *waits)
{
    int64_t pending, by = sx_now_ms() + a->cfg.delete_timeout;
    simplex_rc rc = sx_store_delivery_count(a->store, conn, &pending);

    *waits = rc == SIMPLEX_OK && pending > 0;
    if (!*waits)
        return rc;
    a->farewells = true;
    look_at(a, by);
    return sx_store_farewell_add(a->store, conn, by);
}

simplex_rc sx_farewell_waits(struct simplex_agent *a, int64_t conn, bool *yes)
{
    simplex_rc rc = a->farewells ? sx_store_farewell_has(a->store, conn) : SIMPLEX_E_NOT_FOUND;

    *yes = rc == SIMPLEX_OK;
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

simplex_rc sx_farewell_end(struct simplex_agent *a, int64_t conn)
{
    bool waits;
    simplex_rc rc = sx_farewell_waits(a, conn, &waits);

    if (rc != SIMPLEX_OK || !waits)
        return rc;
    rc = sx_store_farewell_delete(a->store, conn);
    return rc == SIMPLEX_OK ? sx_deletion_goes_on(a, conn) : rc;
}

simplex_rc sx_farewell_said(struct simplex_agent *a, int64_t conn)
{
    int64_t pending;
    bool waits;
    simplex_rc rc = sx_farewell_waits(a, conn, &waits);

    if (rc != SIMPLEX_OK || !waits)
        return rc;
    rc = sx_store_delivery_count(a->store, conn, &pending);
    return rc == SIMPLEX_OK && pending == 0 ? sx_farewell_end(a, conn) : rc;
}

void sx_farewells_due(struct simplex_agent *a)
{
    int64_t conn, by;
    simplex_rc rc = a->farewells ? sx_handler_begin(a) : SIMPLEX_E_NOT_FOUND;

    if (rc != SIMPLEX_OK)
        return;
    while ((rc = sx_store_farewell_first(a->store, &conn, &by)) == SIMPLEX_OK) {
        if (by > sx_now_ms()) {
            look_at(a, by);
            break;
        }
        rc = sx_farewell_end(a, conn);
        if (rc != SIMPLEX_OK)
            break;
    }
    if (rc == SIMPLEX_E_NOT_FOUND) {
        a->farewells = false;
        rc = SIMPLEX_OK;
    }
    sx_handler_end(a, rc);
}
