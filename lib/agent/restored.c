/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An old copy of the database in the place of a newer one: its ratchets would use keys for a second
 * time, so that nothing is sent before each connection has a new one. Backups say themselves what
 * they are. Another copy that was put back elsewhere, or was made in the run that it replaces and
 * that did not end properly, is noticed by the messages alone (resync.c).
 */
#include "agent/agent.h"
#include "agent/delete.h"
#include "agent/event.h"
#include "agent/resync.h"

/* A handshake cannot go on with another ratchet: it may have been completed since the copy was
 * made, or would encrypt something else with the same keys. */
static simplex_rc stop_handshake(struct simplex_agent *a, int64_t conn)
{
    simplex_rc rc = sx_store_ratchet_delete(a->store, conn);

    if (rc == SIMPLEX_E_NOT_FOUND) /* nothing was encrypted yet */
        return SIMPLEX_OK;
    if (rc == SIMPLEX_OK)
        rc = sx_stop_making(a, conn);
    return rc == SIMPLEX_OK ? sx_emit_err(a, conn, SIMPLEX_E_DB_OLD, NULL) : rc;
}

static simplex_rc require_sync(struct simplex_agent *a, int64_t conn)
{
    struct sx_conn c;
    simplex_rc rc = sx_store_conn_get(a->store, conn, &c);

    if (rc == SIMPLEX_OK && !c.deleted && c.state != SX_CONN_READY)
        return stop_handshake(a, conn);
    if (rc != SIMPLEX_OK || c.deleted || c.agent_version < SX_AGENT_SYNC)
        return rc;
    c.sync_state = SX_SYNC_REQUIRED; /* also when the copy was about to agree: with whom, is open */
    /* What can still be read says nothing about what we would send: the peer may have read other
     * messages under those keys. */
    c.old_copy = true;
    rc = sx_emit_rsync(a, &c, SIMPLEX_E_DB_OLD, NULL);
    return rc == SIMPLEX_OK ? sx_store_conn_update(a->store, &c) : rc;
}

static simplex_rc require_all(struct simplex_agent *a)
{
    int64_t ids[64], after = 0;
    simplex_rc rc;
    size_t n;

    do {
        n = SX_COUNT(ids);
        rc = sx_store_conn_list(a->store, after, ids, &n);
        for (size_t i = 0; rc == SIMPLEX_OK && i < n; i++) {
            rc = require_sync(a, ids[i]);
            after = ids[i];
        }
    } while (rc == SIMPLEX_OK && n == SX_COUNT(ids));
    return rc;
}

/* First in the database: a crash before the file has it leaves the file behind, which says
 * nothing. */
static simplex_rc grow(struct simplex_agent *a, bool old)
{
    simplex_rc rc = sx_store_begin(a->store);

    a->age.n++;
    if (rc == SIMPLEX_OK)
        rc = sx_store_age_put(a->store, &a->age);
    if (rc == SIMPLEX_OK && old)
        rc = require_all(a);
    if (rc == SIMPLEX_OK)
        rc = sx_store_commit(a->store);
    if (rc != SIMPLEX_OK)
        sx_store_rollback(a->store);
    a->uncommitted = 0; /* nothing is shown yet */
    a->must_commit = false;
    if (rc == SIMPLEX_OK && !sx_age_write(a->db_path, &a->age))
        sx_log(SX_LOG_WARN, "agent: the age of the database was not noted beside it");
    return rc;
}

simplex_rc sx_age_opened(struct simplex_agent *a)
{
    struct sx_age beside;
    simplex_rc rc = sx_store_age_get(a->store, &a->age);

    if (rc != SIMPLEX_OK)
        return rc;
    bool backup = a->age.n < 0;
    bool known =
        sx_age_read(a->db_path, &beside) && memcmp(beside.id, a->age.id, sizeof beside.id) == 0;
    bool old = backup || (known && beside.n > a->age.n);
    if (old) {
        sx_log(SX_LOG_WARN, "agent: this database is an old copy");
        a->age.n = known ? beside.n : 0;
    }
    rc = grow(a, old);
    return old ? rc : SIMPLEX_OK; /* an agent on a full disk can still receive */
}

void sx_age_closed(struct simplex_agent *a)
{
    if (a->store == NULL || a->age.n <= 0)
        return;
    sx_store_rollback(a->store);
    if (grow(a, false) != SIMPLEX_OK)
        sx_log(SX_LOG_WARN, "agent: the age of the database stays");
}
