/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening and closing.
 *
 * One process: locking_mode EXCLUSIVE takes the file lock for as long as the store is open, and
 * keeps the index of the write-ahead log on the heap instead of in a shared file.
 *
 * Damage: SQLCipher authenticates each page when it is read, so damage cannot go unnoticed, it is
 * met either at opening or when the page is used. Opening reads what it needs anyway (page 1, the
 * schema, the record of migrations), compares the length of the file with its header, and
 * checks the structure of databases up to CHECK_PAGES, which takes some milliseconds. Larger ones
 * would make starting slow for what the first use of a page tells as well.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/db.h"
#include "store/memory.h"

#define CHECK_PAGES 512

/* The page size stays SQLCipher's default (4096), so that any tool opens the file: 8192 made large
 * commits 10% faster and small ones 20% slower, 1024 and 16384 were slower (bench/bench_store.c).
 * secure_delete ON is a third of the cost of a message of 16 KB, and the only setting that leaves
 * nothing of it in the file. cache_size: until sx_store_cache. auto_vacuum NONE: freed pages are
 * used again, moving pages at each commit would cost more than the space. */
static const char settings_before[] = "PRAGMA locking_mode = EXCLUSIVE;"
                                      "PRAGMA temp_store = MEMORY;"
                                      "PRAGMA auto_vacuum = NONE;"
                                      "PRAGMA trusted_schema = OFF;"
                                      "PRAGMA foreign_keys = ON;"
                                      "PRAGMA recursive_triggers = OFF;"
                                      "PRAGMA secure_delete = ON;"
                                      "PRAGMA cache_size = -512;"
                                      "PRAGMA cell_size_check = ON;";

/* For the whole process: SQLCipher reports on stderr otherwise; memory.c wipes. */
static const char settings_process[] = "PRAGMA cipher_log_level = NONE;"
                                       "PRAGMA cipher_memory_security = OFF;";

/* synchronous FULL: a commit survives a power cut. The log is written back after 1000 pages; four
 * times as many were not faster. */
static const char settings_wal[] = "PRAGMA journal_mode = WAL;"
                                   "PRAGMA synchronous = FULL;"
                                   "PRAGMA wal_autocheckpoint = 1000;"
                                   "PRAGMA journal_size_limit = 16777216;";

void sx_store_cache(struct sx_store *s, unsigned kib)
{
    char sql[48];

    (void)snprintf(sql, sizeof sql, "PRAGMA cache_size = -%u", kib);
    if (sx_db_exec(s, sql) != SIMPLEX_OK)
        sx_log(SX_LOG_WARN, "store: the size of the cache stays"); /* slower, nothing else */
}

/* ---- keys ---- */

simplex_rc sx_db_key(struct sx_store *s, simplex_bytes key, bool raw,
                     int (*set)(sqlite3 *, const void *, int))
{
    static const char digit[] = "0123456789abcdef";
    char hex[2 + 64 + 1]; /* x'..': the key itself instead of something to derive it from */

    if (!raw) {
        int code = set(s->db, key.ptr, (int)key.len);
        return code == SQLITE_OK ? SIMPLEX_OK : sx_db_rc(s, code);
    }
    memcpy(hex, "x'", 2);
    for (size_t i = 0; i < 32; i++) {
        hex[2 + 2 * i] = digit[key.ptr[i] >> 4];
        hex[3 + 2 * i] = digit[key.ptr[i] & 15];
    }
    hex[66] = '\'';
    int code = set(s->db, hex, sizeof hex);
    sx_wipe(hex, sizeof hex);
    return code == SQLITE_OK ? SIMPLEX_OK : sx_db_rc(s, code);
}

bool sx_db_key_valid(simplex_bytes key, bool raw)
{
    if (key.ptr == NULL || key.len == 0 || key.len > 4096)
        return false;
    return !raw || key.len == 32;
}

/* ---- files ---- */

char *sx_db_beside(const char *path, const char *suffix)
{
    size_t n = strlen(path), m = strlen(suffix);
    char *name = sx_malloc(n + m + 1);

    if (name != NULL) {
        memcpy(name, path, n);
        memcpy(name + n, suffix, m + 1);
    }
    return name;
}

/* So that nobody but the owner reads it; files beside it inherit the mode. The file is opened here
 * only when it does not exist: closing a second descriptor would end the lock of the first. */
simplex_rc sx_db_create_file(const char *path, bool *created)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    *created = fd >= 0;
    if (fd >= 0)
        return close(fd) == 0 ? SIMPLEX_OK : SIMPLEX_E_DB_IO;
    if (errno == EEXIST)
        return SIMPLEX_OK;
    return errno == ENOSPC || errno == EDQUOT ? SIMPLEX_E_DB_FULL : SIMPLEX_E_DB_IO;
}

static simplex_rc keep_log(struct sx_store *s, bool keep)
{
    int code = sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep ? 1 : 0, NULL);

    return code == SQLITE_OK ? SIMPLEX_OK : sx_db_rc(s, code);
}

/* A log that a crash left is written back by closing, which a failed opening must not do. */
static simplex_rc keep_old_log(struct sx_store *s, const char *path)
{
    struct stat st;
    char *log = sx_db_beside(path, "-wal");

    if (log == NULL)
        return SIMPLEX_E_NOMEM;
    bool exists = stat(log, &st) == 0;
    sx_free(log);
    return keep_log(s, exists || s->read_only);
}

/* Only while the lock is held (or nobody could want it): another process may be next. */
void sx_db_remove_files(const char *path)
{
    static const char *const suffix[] = { "-wal", "-journal", "" };

    for (size_t i = 0; i < SX_COUNT(suffix); i++) {
        char *name = sx_db_beside(path, suffix[i]);
        if (name != NULL)
            (void)unlink(name);
        sx_free(name);
    }
}

/* ---- opening ---- */

/* The first read: takes the lock and finds out whether the key fits. */
static simplex_rc lock_and_read(struct sx_store *s, bool *fresh)
{
    sqlite3_stmt *st = NULL;
    int code = sqlite3_exec(s->db, "BEGIN EXCLUSIVE; ROLLBACK", NULL, NULL, NULL);

    if (code == SQLITE_OK)
        code = sqlite3_prepare_v2(s->db, "PRAGMA page_count", -1, &st, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_step(st);
    *fresh = code == SQLITE_ROW && sqlite3_column_int64(st, 0) == 0;
    (void)sqlite3_finalize(st);
    s->key_fits = sx_db_rc(s, code) == SIMPLEX_OK;
    return sx_db_rc(s, code);
}

simplex_rc sx_db_text_is(struct sx_store *s, const char *sql, const char *expected)
{
    sqlite3_stmt *st = NULL;
    int code = sqlite3_prepare_v2(s->db, sql, -1, &st, NULL);

    if (code == SQLITE_OK)
        code = sqlite3_step(st);
    simplex_rc rc = sx_db_rc(s, code);
    if (rc == SIMPLEX_OK) {
        const char *text = code == SQLITE_ROW ? (const char *)sqlite3_column_text(st, 0) : NULL;
        rc = text != NULL && strcmp(text, expected) == 0 ? SIMPLEX_OK : SIMPLEX_E_DB_DAMAGED;
    }
    (void)sqlite3_finalize(st);
    return rc;
}

static simplex_rc check_small(struct sx_store *s)
{
    sqlite3_stmt *st = NULL;
    int code = sqlite3_prepare_v2(s->db, "PRAGMA page_count", -1, &st, NULL);

    if (code == SQLITE_OK)
        code = sqlite3_step(st);
    bool small = code == SQLITE_ROW && sqlite3_column_int64(st, 0) <= CHECK_PAGES;
    (void)sqlite3_finalize(st);
    if (sx_db_rc(s, code) != SIMPLEX_OK || !small)
        return sx_db_rc(s, code);
    return sx_db_text_is(s, "PRAGMA quick_check(1)", "ok");
}

static simplex_rc configure(struct sx_store *s)
{
    simplex_rc rc = sx_db_exec(s, settings_before);

    (void)sqlite3_limit(s->db, SQLITE_LIMIT_LENGTH, SX_ROW_MAX);
    (void)sqlite3_limit(s->db, SQLITE_LIMIT_ATTACHED, 0);
    (void)sqlite3_extended_result_codes(s->db, 1);
    return rc;
}

static simplex_rc last_ids(struct sx_store *s)
{
    struct sx_q q;
    simplex_rc rc;

    sx_q_start(&q, s, SQL_COMMAND_LAST);
    if ((rc = sx_q_row(&q)) != SIMPLEX_OK)
        return rc;
    s->last_command = sx_q_i64(&q);
    if ((rc = sx_q_done(&q)) != SIMPLEX_OK)
        return rc;
    sx_q_start(&q, s, SQL_EVENT_LAST);
    if ((rc = sx_q_row(&q)) != SIMPLEX_OK)
        return rc;
    s->last_event = sx_q_i64(&q);
    return sx_q_done(&q);
}

static simplex_rc prepare_database(struct sx_store *s, bool fresh)
{
    simplex_rc rc = SIMPLEX_OK;

    if (!fresh)
        rc = check_small(s);
    if (rc == SIMPLEX_OK && s->read_only)
        rc = sx_db_exec(s, "PRAGMA query_only = ON");
    else if (rc == SIMPLEX_OK)
        rc = sx_db_exec(s, settings_wal);
    if (rc == SIMPLEX_OK)
        rc = sx_store_migrate(s, sx_migrations, sx_migrations_count);
    if (rc == SIMPLEX_OK && !s->older)
        rc = last_ids(s);
    return rc;
}

simplex_rc sx_db_connect(struct sx_store *s, const struct sx_store_cfg *cfg)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
    int code = sqlite3_open_v2(cfg->path, &s->db, flags, NULL);

    if (s->db == NULL)
        return SIMPLEX_E_NOMEM;
    if (code != SQLITE_OK)
        return sx_db_rc(s, code);
    simplex_rc rc = keep_old_log(s, cfg->path);
    if (rc == SIMPLEX_OK)
        rc = sx_db_key(s, cfg->key, cfg->raw_key, sqlite3_key);
    if (rc == SIMPLEX_OK) /* the first key of a process sets up SQLCipher: not before */
        rc = sx_db_exec(s, settings_process);
    if (rc == SIMPLEX_OK)
        rc = configure(s);
    return rc;
}

void sx_db_disconnect(struct sx_store *s)
{
    for (size_t i = 0; i < SQL_COUNT; i++)
        (void)sqlite3_finalize(s->stmt[i]);
    (void)sqlite3_close(s->db);
    sx_free_secret(s, sizeof *s);
}

static simplex_rc open_file(struct sx_store *s, const struct sx_store_cfg *cfg, bool created)
{
    bool fresh = false;
    simplex_rc rc = sx_db_connect(s, cfg);

    if (rc == SIMPLEX_OK)
        rc = lock_and_read(s, &fresh);
    if (rc == SIMPLEX_OK)
        rc = prepare_database(s, fresh);
    if (rc == SIMPLEX_OK)
        rc = keep_log(s, s->read_only);
    if (rc == SIMPLEX_OK || !created || rc == SIMPLEX_E_DB_LOCKED)
        return rc;
    if (s->db != NULL)
        (void)keep_log(s, true);
    sx_db_remove_files(cfg->path);
    return rc;
}

simplex_rc sx_store_open(const struct sx_store_cfg *cfg, struct sx_store **out)
{
    bool created = false;

    if (out == NULL)
        return SIMPLEX_E_ARG;
    *out = NULL;
    if (cfg == NULL || cfg->path == NULL || cfg->path[0] == '\0' || cfg->path[0] == ':' ||
        !sx_db_key_valid(cfg->key, cfg->raw_key))
        return SIMPLEX_E_ARG;
    sx_db_memory();
    struct sx_store *s = sx_calloc(1, sizeof *s);
    if (s == NULL)
        return SIMPLEX_E_NOMEM;
    sx_wr_fixed(&s->scratch, s->scratch_buf, sizeof s->scratch_buf);
    s->read_only = cfg->read_only;
    s->older = cfg->older;
    simplex_rc rc = cfg->read_only ? SIMPLEX_OK : sx_db_create_file(cfg->path, &created);
    if (rc == SIMPLEX_OK)
        rc = open_file(s, cfg, created);
    if (rc == SIMPLEX_OK)
        *out = s;
    else
        sx_db_disconnect(s);
    return rc;
}

void sx_store_close(struct sx_store *s)
{
    if (s == NULL)
        return;
    sx_store_rollback(s);
    sx_db_disconnect(s);
}
