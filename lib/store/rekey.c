/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Another key for the whole file. Every page is written again, in one transaction of the log:
 * until its commit record is on disk the old key opens the database, from then on the new one
 * does, whenever the process or the power dies. The log is then written back and cut, so that
 * nothing readable under the old key remains in the two files.
 */
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "store/db.h"

/* The log grows by the size of the file, plus 24 bytes a page. */
static bool room_for_copy(const char *path)
{
    struct stat st;
    struct statvfs fs;

    if (path == NULL || stat(path, &st) != 0 || statvfs(path, &fs) != 0)
        return true; /* unknown: try */
    uint64_t need = (uint64_t)st.st_size + (uint64_t)st.st_size / 64 + (1 << 20);
    return (uint64_t)fs.f_bavail >= need / fs.f_frsize;
}

static simplex_rc number(struct sx_store *s, const char *sql, int column, int64_t *n)
{
    sqlite3_stmt *st = NULL;
    int code = sqlite3_prepare_v2(s->db, sql, -1, &st, NULL);

    if (code == SQLITE_OK)
        code = sqlite3_step(st);
    *n = code == SQLITE_ROW ? sqlite3_column_int64(st, column) : -1;
    (void)sqlite3_finalize(st);
    return sx_db_rc(s, code);
}

/* Every page is in the log, which was empty before. One page of a file above 1 GB is never used. */
static simplex_rc all_written(struct sx_store *s)
{
    int64_t log, pages;
    simplex_rc rc = number(s, "PRAGMA wal_checkpoint(PASSIVE)", 1, &log);

    if (rc == SIMPLEX_OK)
        rc = number(s, "PRAGMA page_count", 0, &pages);
    return rc == SIMPLEX_OK && log + 1 < pages ? SIMPLEX_E_DB_IO : rc;
}

/* SQLCipher 4.6 reports neither a page nor a commit that could not be written. It has rolled back
 * then, and would write under the new key from now on into a file that is still under the old. */
static simplex_rc verify(struct sx_store *s)
{
    simplex_rc rc = all_written(s);

    if (rc == SIMPLEX_OK)
        rc = sx_db_exec(s, "PRAGMA wal_checkpoint(TRUNCATE)");
    (void)sqlite3_db_release_memory(s->db);
    if (rc == SIMPLEX_OK)
        rc = sx_db_exec(s, "SELECT count(*) FROM migrations");
    return rc == SIMPLEX_OK || rc == SIMPLEX_E_DB_FULL ? rc : SIMPLEX_E_DB_IO;
}

simplex_rc sx_store_rekey(struct sx_store *s, simplex_bytes key, bool raw_key)
{
    simplex_rc rc = s->broken;

    if (!sx_db_key_valid(key, raw_key))
        return SIMPLEX_E_ARG;
    if (s->in_txn || s->read_only)
        return SIMPLEX_E_PROHIBITED;
    sx_db_end_loan(s);
    if (rc != SIMPLEX_OK || sx_db_fault(s, &rc))
        return rc;
    if (!room_for_copy(sqlite3_db_filename(s->db, "main")))
        return SIMPLEX_E_DB_FULL;
    rc = sx_db_exec(s, "PRAGMA wal_checkpoint(TRUNCATE)");
    if (rc != SIMPLEX_OK)
        return rc;
    rc = sx_db_key(s, key, raw_key, sqlite3_rekey);
    if (rc == SIMPLEX_OK)
        rc = verify(s);
    s->broken = rc; /* which key pages would be written with now is not certain: no more writing */
    return rc;
}
