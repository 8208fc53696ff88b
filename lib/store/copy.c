/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Backups: page by page through the database's own copier, which reads what is committed and
 * decrypts, and writes under the key of the copy. SQLCipher does not report every write that
 * failed, so each copy is read through afterwards: every page is authenticated.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/db.h"

/* No row: every page of the file is what was written. A log must have been written back. */
static simplex_rc all_pages_authentic(struct sx_store *s)
{
    sqlite3_stmt *st = NULL;
    int code = sqlite3_prepare_v2(s->db, "PRAGMA cipher_integrity_check", -1, &st, NULL);

    if (code == SQLITE_OK)
        code = sqlite3_step(st);
    (void)sqlite3_finalize(st);
    return code == SQLITE_ROW ? SIMPLEX_E_DB_DAMAGED : sx_db_rc(s, code);
}

static simplex_rc check_whole(struct sx_store *s)
{
    simplex_rc rc = all_pages_authentic(s);

    return rc == SIMPLEX_OK ? sx_db_text_is(s, "PRAGMA quick_check(1)", "ok") : rc;
}

static simplex_rc copy_pages(struct sx_store *from, struct sx_store *to)
{
    sqlite3_backup *b = sqlite3_backup_init(to->db, "main", from->db, "main");
    int code, end;

    if (b == NULL)
        return sx_db_rc(to, sqlite3_errcode(to->db));
    code = sqlite3_backup_step(b, -1);
    simplex_rc rc = code == SQLITE_DONE ? SIMPLEX_OK : sx_db_rc(to, code);
    end = sqlite3_backup_finish(b); /* rolls back what is not whole */
    if (rc == SIMPLEX_OK && code == SQLITE_DONE)
        rc = sx_db_rc(to, end);
    return code == SQLITE_OK ? SIMPLEX_E_DB_IO : rc;
}

/* ---- into a new file ---- */

static bool exists(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}

/* A log that stands alone would be taken for that of the new file. */
static simplex_rc must_be_new(const char *path)
{
    char *log = sx_db_beside(path, "-wal");
    simplex_rc rc = log == NULL ? SIMPLEX_E_NOMEM : SIMPLEX_OK;

    if (rc == SIMPLEX_OK && (exists(path) || exists(log)))
        rc = SIMPLEX_E_PROHIBITED;
    sx_free(log);
    return rc;
}

static simplex_rc sync_folder(const char *path)
{
    char *folder = sx_strdup(path);
    int fd, rc;

    if (folder == NULL)
        return SIMPLEX_E_NOMEM;
    char *slash = strrchr(folder, '/');
    if (slash != NULL)
        slash[slash == folder ? 1 : 0] = '\0';
    fd = open(slash != NULL ? folder : ".", O_RDONLY | O_CLOEXEC);
    sx_free(folder);
    if (fd < 0)
        return SIMPLEX_E_DB_IO;
    rc = fsync(fd);
    (void)close(fd);
    return rc == 0 || errno == EINVAL ? SIMPLEX_OK : SIMPLEX_E_DB_IO;
}

/* A link cannot take the place of a file; where there are no links, it was looked for before. */
static simplex_rc publish(const char *part, const char *path)
{
    if (link(part, path) == 0)
        (void)unlink(part);
    else if (errno == EEXIST)
        return SIMPLEX_E_PROHIBITED;
    else if (exists(path) || rename(part, path) != 0)
        return SIMPLEX_E_DB_IO;
    simplex_rc rc = sync_folder(path);
    if (rc != SIMPLEX_OK)
        (void)unlink(path);
    return rc;
}

/* The copier has left the marks of a log in the header: away with them, so that the copy is one
 * file and stays so when it is only read. */
static const char settings_copy[] = "PRAGMA journal_mode = MEMORY; PRAGMA synchronous = FULL;";
static const char settings_alone[] = "PRAGMA journal_mode = DELETE;";

static simplex_rc write_part(struct sx_store *from, struct sx_store *to,
                             const struct sx_store_cfg *cfg)
{
    simplex_rc rc = sx_db_connect(to, cfg);

    to->key_fits = true; /* it is new: what cannot be read is damage */
    if (rc == SIMPLEX_OK)
        rc = sx_db_exec(to, settings_copy);
    if (rc == SIMPLEX_OK)
        rc = copy_pages(from, to);
    if (rc == SIMPLEX_OK) /* whoever works with it knows that it is one */
        rc = sx_db_exec(to, "UPDATE database_age SET age = -1");
    return rc == SIMPLEX_OK ? sx_db_exec(to, settings_alone) : rc;
}

/* With a connection of its own: from the disk, not from a cache. */
static simplex_rc read_part(const struct sx_store_cfg *cfg)
{
    struct sx_store *s = sx_calloc(1, sizeof *s);

    if (s == NULL)
        return SIMPLEX_E_NOMEM;
    s->read_only = true;
    simplex_rc rc = sx_db_connect(s, cfg);
    if (rc == SIMPLEX_OK)
        rc = check_whole(s);
    sx_db_disconnect(s);
    /* What was just written and is wrong is no damage but a disk that did not take it. */
    return rc == SIMPLEX_E_DB_DAMAGED || rc == SIMPLEX_E_DB_KEY ? SIMPLEX_E_DB_IO : rc;
}

static simplex_rc fill_part(struct sx_store *from, const struct sx_store_cfg *cfg)
{
    struct sx_store *to = sx_calloc(1, sizeof *to);

    if (to == NULL)
        return SIMPLEX_E_NOMEM;
    simplex_rc rc = write_part(from, to, cfg);
    sx_db_disconnect(to);
    return rc == SIMPLEX_OK ? read_part(cfg) : rc;
}

static simplex_rc copy_to_new(struct sx_store *from, const struct sx_store_cfg *cfg)
{
    struct sx_store_cfg part = *cfg;
    char *path = NULL;
    bool created = false;
    simplex_rc rc = must_be_new(cfg->path);

    if (rc == SIMPLEX_OK && (path = sx_db_beside(cfg->path, ".part")) == NULL)
        rc = SIMPLEX_E_NOMEM;
    if (rc != SIMPLEX_OK)
        return rc;
    part.path = path;
    sx_db_remove_files(path); /* of an attempt that was killed */
    rc = sx_db_create_file(path, &created);
    if (rc == SIMPLEX_OK && !created)
        rc = SIMPLEX_E_DB_IO;
    if (rc == SIMPLEX_OK)
        rc = fill_part(from, &part);
    if (rc == SIMPLEX_OK)
        rc = publish(path, cfg->path);
    if (rc != SIMPLEX_OK && created)
        sx_db_remove_files(path);
    sx_free(path);
    return rc;
}

simplex_rc sx_store_backup(struct sx_store *s, const char *path, simplex_bytes key, bool raw_key)
{
    struct sx_store_cfg cfg = { .path = path, .key = key, .raw_key = raw_key };
    simplex_rc rc = s->broken;

    if (path == NULL || path[0] == '\0' || path[0] == ':' || !sx_db_key_valid(key, raw_key))
        return SIMPLEX_E_ARG;
    if (s->in_txn)
        return SIMPLEX_E_PROHIBITED;
    sx_db_end_loan(s);
    if (rc != SIMPLEX_OK || sx_db_fault(s, &rc))
        return rc;
    return copy_to_new(s, &cfg);
}

/* ---- into a database ---- */

/* One transaction of the log. Whether all of it was written is not certain before it was read. */
static simplex_rc replace(struct sx_store *from, struct sx_store *to)
{
    simplex_rc rc;

    sx_db_end_loan(to);
    rc = copy_pages(from, to);
    if (rc == SIMPLEX_OK)
        rc = sx_db_exec(to, "PRAGMA wal_checkpoint(TRUNCATE)");
    return rc == SIMPLEX_OK ? check_whole(to) : rc;
}

static simplex_rc restore(struct sx_store *from, const struct sx_store_cfg *cfg)
{
    struct sx_store *to;
    simplex_rc rc = check_whole(from);

    if (rc != SIMPLEX_OK)
        return rc;
    if (!exists(cfg->path))
        return copy_to_new(from, cfg);
    rc = sx_store_open(cfg, &to);
    if (rc != SIMPLEX_OK)
        return rc;
    rc = replace(from, to);
    sx_store_close(to);
    return rc;
}

simplex_rc sx_store_restore(const struct sx_store_cfg *from, const struct sx_store_cfg *to)
{
    struct sx_store_cfg source = *from;
    struct sx_store *s;

    if (to->path == NULL || to->path[0] == '\0' || to->path[0] == ':' || to->read_only ||
        !sx_db_key_valid(to->key, to->raw_key))
        return SIMPLEX_E_ARG;
    source.read_only = source.older = true;
    simplex_rc rc = sx_store_open(&source, &s);
    if (rc != SIMPLEX_OK)
        return rc;
    rc = restore(s, to);
    sx_store_close(s);
    return rc;
}
