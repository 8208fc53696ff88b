/* SPDX-License-Identifier: Apache-2.0 */
#include "store/db.h"

/* "sxLs": tells our databases from others that are opened with the right key. */
#define APPLICATION_ID 0x73784c73
#define TEXT_OF(n) TEXT_OF_(n)
#define TEXT_OF_(n) #n

static const char create_table[] = "PRAGMA application_id = " TEXT_OF(
    APPLICATION_ID) ";"
                    "CREATE TABLE migrations (number INTEGER PRIMARY KEY, sha256 BLOB NOT NULL,"
                    " applied_at INTEGER NOT NULL) STRICT";

static simplex_rc prepare(struct sx_store *s, const char *sql, sqlite3_stmt **st)
{
    int code = sqlite3_prepare_v2(s->db, sql, -1, st, NULL);

    return code == SQLITE_OK ? SIMPLEX_OK : sx_db_failed(s, sx_db_rc(s, code));
}

static simplex_rc query_int(struct sx_store *s, const char *sql, int64_t *value)
{
    sqlite3_stmt *st = NULL;
    simplex_rc rc = prepare(s, sql, &st);

    if (rc != SIMPLEX_OK)
        return rc;
    int code = sqlite3_step(st);
    *value = code == SQLITE_ROW ? sqlite3_column_int64(st, 0) : 0;
    rc = code == SQLITE_ROW ? SIMPLEX_OK : sx_db_rc(s, code);
    (void)sqlite3_finalize(st);
    return rc;
}

static simplex_rc checksum(const struct sx_migration *m, uint8_t sum[32])
{
    struct sx_wr w;

    sx_wr_init(&w, 1 << 16);
    for (size_t i = 0; i < SX_COUNT(m->sql) && m->sql[i] != NULL; i++)
        sx_wr_text(&w, m->sql[i]);
    simplex_rc rc = w.bad ? SIMPLEX_E_NOMEM : SIMPLEX_OK;
    if (rc == SIMPLEX_OK)
        sx_sha256(sx_wr_bytes(&w), sum);
    sx_wr_free(&w);
    return rc;
}

/* One recorded migration against ours. */
static simplex_rc check_row(sqlite3_stmt *st, const struct sx_migration *list, size_t expected)
{
    int64_t number = sqlite3_column_int64(st, 0);
    const void *sum = sqlite3_column_blob(st, 1);
    uint8_t ours[32];

    if (number != (int64_t)expected) {
        sx_log(SX_LOG_ERROR, "the record of migration %zu is missing", expected);
        return SIMPLEX_E_DB_DAMAGED;
    }
    simplex_rc rc = checksum(&list[number - 1], ours);
    if (rc != SIMPLEX_OK)
        return rc;
    if (sum == NULL || sqlite3_column_bytes(st, 1) != 32 || memcmp(sum, ours, 32) != 0) {
        sx_log(SX_LOG_ERROR, "migration %" PRId64 " of the database is not ours", number);
        return SIMPLEX_E_DB_DAMAGED;
    }
    return SIMPLEX_OK;
}

static simplex_rc check_recorded(struct sx_store *s, const struct sx_migration *list, size_t n,
                                 size_t *done)
{
    sqlite3_stmt *st = NULL;
    int64_t last = 0;
    simplex_rc rc = query_int(s, "SELECT coalesce(max(number), 0) FROM migrations", &last);

    if (rc != SIMPLEX_OK)
        return rc;
    if (last > (int64_t)n) {
        sx_log(SX_LOG_ERROR, "the database is at migration %" PRId64 ", this library at %zu", last,
               n);
        return SIMPLEX_E_DB_SCHEMA;
    }
    rc = prepare(s, "SELECT number, sha256 FROM migrations ORDER BY number", &st);
    if (rc != SIMPLEX_OK)
        return rc;
    int code = SQLITE_DONE;
    *done = 0;
    while ((code = sqlite3_step(st)) == SQLITE_ROW && rc == SIMPLEX_OK)
        rc = check_row(st, list, ++*done);
    if (rc == SIMPLEX_OK)
        rc = sx_db_rc(s, code);
    (void)sqlite3_finalize(st);
    return rc;
}

static simplex_rc record(struct sx_store *s, size_t number, const struct sx_migration *m)
{
    sqlite3_stmt *st = NULL;
    uint8_t sum[32];
    simplex_rc rc = checksum(m, sum);

    if (rc == SIMPLEX_OK)
        rc = prepare(s, "INSERT INTO migrations VALUES (?,?,?)", &st);
    if (rc != SIMPLEX_OK)
        return rc;
    (void)sqlite3_bind_int64(st, 1, (int64_t)number);
    (void)sqlite3_bind_blob(st, 2, sum, sizeof sum, SQLITE_STATIC);
    (void)sqlite3_bind_int64(st, 3, sx_now_ms());
    int code = sqlite3_step(st);
    (void)sqlite3_finalize(st);
    return code == SQLITE_DONE ? SIMPLEX_OK : sx_db_failed(s, sx_db_rc(s, code));
}

static simplex_rc apply(struct sx_store *s, const struct sx_migration *list, size_t n, size_t done,
                        bool empty)
{
    simplex_rc rc = empty ? sx_db_exec(s, create_table) : SIMPLEX_OK;

    for (size_t i = done; rc == SIMPLEX_OK && i < n; i++) {
        for (size_t k = 0; rc == SIMPLEX_OK && k < SX_COUNT(list[i].sql); k++)
            if (list[i].sql[k] != NULL)
                rc = sx_db_exec(s, list[i].sql[k]);
        if (rc == SIMPLEX_OK)
            rc = record(s, i + 1, &list[i]);
        if (rc == SIMPLEX_OK)
            sx_log(SX_LOG_INFO, "database migration %zu applied", i + 1);
    }
    return rc;
}

simplex_rc sx_store_migrate(struct sx_store *s, const struct sx_migration *list, size_t n)
{
    int64_t objects = 0, id = 0;
    size_t done = 0;
    simplex_rc rc = query_int(s, "SELECT count(*) FROM sqlite_master", &objects);

    if (rc == SIMPLEX_OK)
        rc = query_int(s, "PRAGMA application_id", &id);
    if (rc != SIMPLEX_OK)
        return rc;
    if (objects > 0 && id != APPLICATION_ID) {
        sx_log(SX_LOG_ERROR, "a database, but not of this library");
        return SIMPLEX_E_DB_SCHEMA;
    }
    if (objects > 0 && (rc = check_recorded(s, list, n, &done)) != SIMPLEX_OK)
        return rc;
    if (done == n)
        return SIMPLEX_OK;
    if (s->read_only) /* cannot be brought up to date; an empty file is no database of ours */
        return s->older && done > 0 ? SIMPLEX_OK : SIMPLEX_E_DB_SCHEMA;
    if ((rc = sx_store_begin(s)) != SIMPLEX_OK)
        return rc;
    rc = apply(s, list, n, done, objects == 0);
    if (rc == SIMPLEX_OK)
        return sx_store_commit(s);
    sx_store_rollback(s);
    return rc;
}
