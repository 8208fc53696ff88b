/* SPDX-License-Identifier: Apache-2.0 */
/* Cached statements: parameters in, checked columns out. */
#include <errno.h>

#include "store/db.h"

static bool no_space(int system_errno)
{
#ifdef EDQUOT
    if (system_errno == EDQUOT)
        return true;
#endif
    return system_errno == ENOSPC || system_errno == EFBIG;
}

static simplex_rc io_rc(struct sx_store *s, int code)
{
    if (code == SQLITE_IOERR_NOMEM)
        return SIMPLEX_E_NOMEM;
    if (code == SQLITE_IOERR_DATA || code == SQLITE_IOERR_CORRUPTFS)
        return SIMPLEX_E_DB_DAMAGED;
    /* Quotas and file size limits do not arrive as SQLITE_FULL. */
    return no_space(sqlite3_system_errno(s->db)) ? SIMPLEX_E_DB_FULL : SIMPLEX_E_DB_IO;
}

simplex_rc sx_db_rc(struct sx_store *s, int code)
{
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return SIMPLEX_OK;
    case SQLITE_FULL:
        return SIMPLEX_E_DB_FULL;
    case SQLITE_NOTADB: /* page 1 is no page under this key */
        return s->key_fits ? SIMPLEX_E_DB_DAMAGED : SIMPLEX_E_DB_KEY;
    case SQLITE_CORRUPT:
    case SQLITE_FORMAT:
    case SQLITE_ERROR: /* our statements are right, so the tables are not */
        return SIMPLEX_E_DB_DAMAGED;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return SIMPLEX_E_DB_LOCKED;
    case SQLITE_NOMEM:
        return SIMPLEX_E_NOMEM;
    case SQLITE_TOOBIG:
        return SIMPLEX_E_TOO_LARGE;
    case SQLITE_IOERR:
        return io_rc(s, code);
    case SQLITE_READONLY:
        return s->read_only ? SIMPLEX_E_PROHIBITED : SIMPLEX_E_DB_IO;
    case SQLITE_CONSTRAINT: /* the connection or queue is not there, or the row exists */
        return code == SQLITE_CONSTRAINT_FOREIGNKEY ? SIMPLEX_E_NOT_FOUND : SIMPLEX_E_PROHIBITED;
    default:
        return SIMPLEX_E_DB_IO;
    }
}

simplex_rc sx_db_failed(struct sx_store *s, simplex_rc rc)
{
    /* After a full disk and its like the database rolls back on its own. What follows must not
     * commit piece by piece then: every call fails until the caller ends the transaction. */
    if (s->in_txn && s->lost == SIMPLEX_OK && sqlite3_get_autocommit(s->db) != 0)
        s->lost = rc;
    return rc;
}

simplex_rc sx_db_exec(struct sx_store *s, const char *sql)
{
    int code = sqlite3_exec(s->db, sql, NULL, NULL, NULL);

    return code == SQLITE_OK ? SIMPLEX_OK : sx_db_failed(s, sx_db_rc(s, code));
}

bool sx_db_fault(struct sx_store *s, simplex_rc *rc)
{
    if (s->fault_rc == SIMPLEX_OK || s->fault_in-- > 0)
        return false;
    *rc = s->fault_rc;
    s->fault_rc = SIMPLEX_OK;
    s->fault_fired = true;
    if (s->in_txn && sqlite3_get_autocommit(s->db) == 0)
        (void)sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    (void)sx_db_failed(s, *rc);
    return true;
}

void sx_db_end_loan(struct sx_store *s)
{
    if (s->lent != NULL)
        (void)sqlite3_reset(s->lent);
    s->lent = NULL;
}

void sx_q_start(struct sx_q *q, struct sx_store *s, enum sx_sql which)
{
    *q = (struct sx_q){ .s = s, .rc = s->broken != SIMPLEX_OK ? s->broken : s->lost };
    sx_db_end_loan(s);
    if (q->rc != SIMPLEX_OK)
        return;
    if (s->stmt[which] == NULL) {
        int code = sqlite3_prepare_v3(s->db, sx_sql_text[which], -1, SQLITE_PREPARE_PERSISTENT,
                                      &s->stmt[which], NULL);
        if (code != SQLITE_OK)
            q->rc = sx_db_failed(s, sx_db_rc(s, code));
    }
    q->st = s->stmt[which];
}

/* ---- parameters: never copied, so every statement binds all of its own on each use ---- */

static void bound(struct sx_q *q, int code)
{
    if (code != SQLITE_OK && q->rc == SIMPLEX_OK)
        q->rc = sx_db_rc(q->s, code);
}

void sx_q_put_i64(struct sx_q *q, int64_t v)
{
    if (q->rc == SIMPLEX_OK)
        bound(q, sqlite3_bind_int64(q->st, ++q->at, v));
}

void sx_q_put_blob(struct sx_q *q, simplex_bytes b)
{
    static const uint8_t none[1];

    if (q->rc == SIMPLEX_OK)
        bound(q,
              sqlite3_bind_blob64(q->st, ++q->at, b.len > 0 ? b.ptr : none, b.len, SQLITE_STATIC));
}

void sx_q_put_some(struct sx_q *q, simplex_bytes b)
{
    if (b.len > 0)
        sx_q_put_blob(q, b);
    else if (q->rc == SIMPLEX_OK)
        bound(q, sqlite3_bind_null(q->st, ++q->at));
}

void sx_q_put_text(struct sx_q *q, const char *text)
{
    if (q->rc == SIMPLEX_OK)
        bound(q, sqlite3_bind_text(q->st, ++q->at, text, -1, SQLITE_STATIC));
}

void sx_q_put_pub(struct sx_q *q, const struct sx_pub *k, uint8_t *buf)
{
    size_t n = sx_key_len(k->alg);

    buf[0] = k->alg;
    memcpy(buf + 1, k->b, n);
    sx_q_put_some(q, sx_bytes(buf, n > 0 ? n + 1 : 0));
}

void sx_q_put_pair(struct sx_q *q, const struct sx_keypair *k, uint8_t *buf)
{
    size_t n = sx_key_len(k->pub.alg);

    buf[0] = k->pub.alg;
    memcpy(buf + 1, k->pub.b, n);
    memcpy(buf + 1 + n, k->priv.b, n);
    sx_q_put_some(q, sx_bytes(buf, n > 0 ? 2 * n + 1 : 0));
}

/* ---- running ---- */

static simplex_rc step(struct sx_q *q, int *code)
{
    simplex_rc rc;

    if (q->rc != SIMPLEX_OK)
        return q->rc;
    if (sx_db_fault(q->s, &rc)) {
        (void)sqlite3_reset(q->st);
        return q->rc = rc;
    }
    *code = sqlite3_step(q->st);
    if (*code == SQLITE_ROW || *code == SQLITE_DONE)
        return SIMPLEX_OK;
    (void)sqlite3_reset(q->st); /* this is when the transaction may be ended by the database */
    return q->rc = sx_db_failed(q->s, sx_db_rc(q->s, *code));
}

simplex_rc sx_q_run(struct sx_q *q)
{
    int code = SQLITE_DONE;
    simplex_rc rc = step(q, &code);

    if (rc != SIMPLEX_OK)
        return rc;
    (void)sqlite3_reset(q->st);
    if (q->s->in_txn)
        q->s->dirty = true;
    return SIMPLEX_OK;
}

simplex_rc sx_q_run_one(struct sx_q *q)
{
    simplex_rc rc = sx_q_run(q);

    if (rc == SIMPLEX_OK && sqlite3_changes(q->s->db) == 0)
        rc = SIMPLEX_E_NOT_FOUND;
    return rc;
}

simplex_rc sx_q_row(struct sx_q *q)
{
    int code = SQLITE_DONE;
    simplex_rc rc = step(q, &code);

    if (rc != SIMPLEX_OK)
        return rc;
    q->at = 0;
    if (code == SQLITE_ROW)
        return SIMPLEX_OK;
    (void)sqlite3_reset(q->st);
    return SIMPLEX_E_NOT_FOUND;
}

/* ---- columns ---- */

static bool is(struct sx_q *q, int type)
{
    if (sqlite3_column_type(q->st, q->at) == type)
        return true;
    q->bad = true;
    return false;
}

int64_t sx_q_i64(struct sx_q *q)
{
    int64_t v = is(q, SQLITE_INTEGER) ? sqlite3_column_int64(q->st, q->at) : 0;

    q->at++;
    return v;
}

uint32_t sx_q_uint(struct sx_q *q, uint32_t max)
{
    int64_t v = sx_q_i64(q);

    if (v >= 0 && v <= max)
        return (uint32_t)v;
    q->bad = true;
    return 0;
}

bool sx_q_bool(struct sx_q *q)
{
    return sx_q_uint(q, 1) == 1;
}

#define LONG_VALUE 1000 /* from here on a row may continue on other pages */

/* SQLCipher reads zeros for a page that was changed, and reports it with the page that is asked for
 * next. The last page of a long value is often the last one of all, so another one is asked for. */
static simplex_rc another_page(struct sx_store *s)
{
    sqlite3_stmt **st = &s->stmt[SQL_ANOTHER_PAGE];
    int code = SQLITE_OK;

    if (*st == NULL)
        code = sqlite3_prepare_v3(s->db, sx_sql_text[SQL_ANOTHER_PAGE], -1,
                                  SQLITE_PREPARE_PERSISTENT, st, NULL);
    if (code == SQLITE_OK) {
        code = sqlite3_step(*st);
        (void)sqlite3_reset(*st);
    }
    simplex_rc rc = sx_db_rc(s, code);
    return rc == SIMPLEX_OK ? rc : sx_db_failed(s, rc);
}

simplex_bytes sx_q_blob(struct sx_q *q)
{
    simplex_bytes b = { NULL, 0 };

    if (sqlite3_column_type(q->st, q->at) != SQLITE_NULL && is(q, SQLITE_BLOB)) {
        b.ptr = sqlite3_column_blob(q->st, q->at);
        b.len = (size_t)sqlite3_column_bytes(q->st, q->at);
        if (b.ptr == NULL && sqlite3_errcode(q->s->db) == SQLITE_NOMEM)
            q->rc = SIMPLEX_E_NOMEM;
        if (b.ptr == NULL) /* an empty blob has no address either */
            b.len = 0;
        if (b.len >= LONG_VALUE && q->rc == SIMPLEX_OK)
            q->rc = another_page(q->s);
    }
    q->at++;
    return b;
}

bool sx_q_maybe_copy(struct sx_q *q, void *to, size_t n)
{
    bool is_null = sqlite3_column_type(q->st, q->at) == SQLITE_NULL;
    simplex_bytes b = sx_q_blob(q);

    if (!is_null && b.len == n) {
        memcpy(to, b.ptr, n);
        return true;
    }
    if (!is_null)
        q->bad = true;
    memset(to, 0, n);
    return false;
}

void sx_q_copy(struct sx_q *q, void *to, size_t n)
{
    if (!sx_q_maybe_copy(q, to, n))
        q->bad = true;
}

void sx_q_id(struct sx_q *q, struct sx_id *id)
{
    simplex_bytes b = sx_q_blob(q);

    *id = (struct sx_id){ 0 };
    if (b.len > sizeof id->b) {
        q->bad = true;
        return;
    }
    id->len = (uint8_t)b.len;
    if (b.len > 0)
        memcpy(id->b, b.ptr, b.len);
}

uint8_t sx_q_word(struct sx_q *q, const char *const *words, size_t n)
{
    const char *text = is(q, SQLITE_TEXT) ? (const char *)sqlite3_column_text(q->st, q->at) : NULL;

    q->at++;
    for (size_t i = 1; text != NULL && i < n; i++)
        if (words[i] != NULL && strcmp(words[i], text) == 0)
            return (uint8_t)i;
    q->bad = true;
    return 0;
}

void sx_q_pub(struct sx_q *q, struct sx_pub *k)
{
    struct sx_rd r = sx_rd_init(sx_q_blob(q));

    *k = (struct sx_pub){ .alg = SX_NO_KEY };
    if (r.left == 0)
        return;
    k->alg = sx_rd_u8(&r);
    sx_rd_copy(&r, k->b, sx_key_len(k->alg));
    if (sx_key_len(k->alg) == 0 || !sx_rd_done(&r))
        q->bad = true;
}

void sx_q_pair(struct sx_q *q, struct sx_keypair *k)
{
    struct sx_rd r = sx_rd_init(sx_q_blob(q));

    *k = (struct sx_keypair){ .pub.alg = SX_NO_KEY };
    if (r.left == 0)
        return;
    k->pub.alg = k->priv.alg = sx_rd_u8(&r);
    sx_rd_copy(&r, k->pub.b, sx_key_len(k->pub.alg));
    sx_rd_copy(&r, k->priv.b, sx_key_len(k->pub.alg));
    if (sx_key_len(k->pub.alg) == 0 || !sx_rd_done(&r))
        q->bad = true;
}

static simplex_rc verdict(const struct sx_q *q)
{
    if (q->rc != SIMPLEX_OK)
        return q->rc;
    return q->bad ? SIMPLEX_E_DB_DAMAGED : SIMPLEX_OK;
}

simplex_rc sx_q_done(struct sx_q *q)
{
    (void)sqlite3_reset(q->st);
    return verdict(q);
}

simplex_rc sx_q_lend(struct sx_q *q)
{
    simplex_rc rc = verdict(q);

    if (rc != SIMPLEX_OK)
        (void)sqlite3_reset(q->st);
    else
        q->s->lent = q->st;
    return rc;
}

simplex_rc sx_db_encoded(struct sx_store *s)
{
    return s->scratch.bad ? SIMPLEX_E_ENCODE : SIMPLEX_OK;
}

void sx_db_scratch_wipe(struct sx_store *s)
{
    sx_wipe(s->scratch.p, s->scratch.len);
    sx_wr_reset(&s->scratch);
}
