/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions, the savepoint, and the faults that tests inject. */
#include "store/db.h"

static simplex_rc plain(struct sx_store *s, enum sx_sql which)
{
    struct sx_q q;
    bool dirty = s->dirty;

    sx_q_start(&q, s, which);
    simplex_rc rc = sx_q_run(&q);
    s->dirty = dirty;
    return rc;
}

simplex_rc sx_store_begin(struct sx_store *s)
{
    if (s->in_txn)
        return s->lost;
    simplex_rc rc = plain(s, SQL_BEGIN);
    s->in_txn = rc == SIMPLEX_OK;
    s->dirty = false;
    return rc;
}

bool sx_store_in_savepoint(const struct sx_store *s)
{
    return s->in_savepoint;
}

bool sx_store_in_transaction(const struct sx_store *s)
{
    return s->in_txn;
}

bool sx_store_dirty(const struct sx_store *s)
{
    return s->in_txn && s->dirty;
}

simplex_rc sx_store_commit(struct sx_store *s)
{
    if (!s->in_txn)
        return SIMPLEX_E_PROHIBITED;
    simplex_rc rc = plain(s, SQL_COMMIT);
    if (rc != SIMPLEX_OK)
        sx_store_rollback(s);
    s->in_txn = s->dirty = s->in_savepoint = s->in_part = false;
    return rc;
}

void sx_store_rollback(struct sx_store *s)
{
    sx_db_end_loan(s);
    /* Cannot fail: where writing back fails, the pages come from the log at the next read. */
    if (s->in_txn && sqlite3_get_autocommit(s->db) == 0)
        (void)sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    s->in_txn = s->dirty = s->in_savepoint = s->in_part = false;
    s->lost = SIMPLEX_OK;
}

void sx_store_abandon(struct sx_store *s, simplex_rc why)
{
    sx_db_end_loan(s);
    if (!s->in_txn)
        return;
    if (sqlite3_get_autocommit(s->db) == 0)
        (void)sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    if (s->lost == SIMPLEX_OK)
        s->lost = why;
}

/* A savepoint keeps copies of the pages that change behind it. Where nothing was written before it,
 * the start of the transaction does as well. */
simplex_rc sx_store_savepoint(struct sx_store *s)
{
    if (!s->in_txn || s->in_savepoint)
        return SIMPLEX_E_PROHIBITED;
    simplex_rc rc = s->dirty ? plain(s, SQL_SAVEPOINT) : s->lost;
    s->in_savepoint = rc == SIMPLEX_OK;
    s->dirty_before = s->dirty;
    return rc;
}

simplex_rc sx_store_release(struct sx_store *s)
{
    if (!s->in_savepoint)
        return SIMPLEX_E_PROHIBITED;
    simplex_rc rc = s->dirty_before ? plain(s, SQL_RELEASE) : s->lost;
    s->in_savepoint = s->in_savepoint && rc != SIMPLEX_OK;
    s->in_part = s->in_part && rc != SIMPLEX_OK;
    return rc;
}

static simplex_rc start_over(struct sx_store *s)
{
    if (s->lost != SIMPLEX_OK || !s->dirty)
        return s->lost;
    sx_store_rollback(s);
    simplex_rc rc = sx_store_begin(s);
    if (rc != SIMPLEX_OK) { /* what follows belongs to a transaction that cannot be had */
        s->in_txn = true;
        s->lost = rc;
    }
    return rc;
}

simplex_rc sx_store_undo(struct sx_store *s)
{
    if (!s->in_savepoint)
        return SIMPLEX_E_PROHIBITED;
    s->in_savepoint = s->in_part = false;
    if (!s->dirty_before)
        return start_over(s);
    simplex_rc rc = plain(s, SQL_UNDO);
    if (rc == SIMPLEX_OK)
        rc = plain(s, SQL_RELEASE);
    s->dirty = s->dirty_before;
    return rc;
}

simplex_rc sx_store_part(struct sx_store *s)
{
    if (!s->in_savepoint || s->in_part)
        return SIMPLEX_E_PROHIBITED;
    simplex_rc rc = plain(s, SQL_PART);
    s->in_part = rc == SIMPLEX_OK;
    return rc;
}

simplex_rc sx_store_part_end(struct sx_store *s, bool keep)
{
    if (!s->in_part)
        return SIMPLEX_E_PROHIBITED;
    simplex_rc rc = keep ? SIMPLEX_OK : plain(s, SQL_PART_UNDO);
    s->in_part = false;
    return rc == SIMPLEX_OK ? plain(s, SQL_PART_END) : rc;
}

simplex_rc sx_db_group(struct sx_store *s, bool *own)
{
    *own = !s->in_txn;
    return sx_store_begin(s);
}

simplex_rc sx_db_group_end(struct sx_store *s, bool own, simplex_rc rc)
{
    if (!own)
        return rc;
    if (rc == SIMPLEX_OK)
        return sx_store_commit(s);
    sx_store_rollback(s);
    return rc;
}

void sx_store_fault(struct sx_store *s, unsigned nth, simplex_rc rc)
{
    s->fault_in = nth;
    s->fault_rc = rc;
    s->fault_fired = false;
}

bool sx_store_fault_disarm(struct sx_store *s)
{
    bool fired = s->fault_fired;

    sx_store_fault(s, 0, SIMPLEX_OK);
    return fired;
}

simplex_rc sx_store_exec(struct sx_store *s, const char *sql)
{
    sx_db_end_loan(s);
    s->dirty = s->in_txn;
    return sx_db_exec(s, sql);
}

int64_t sx_store_pages(struct sx_store *s)
{
    int now = 0, highest = 0;

    (void)sqlite3_db_status(s->db, SQLITE_DBSTATUS_CACHE_WRITE, &now, &highest, 1);
    return now;
}
