/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store's inside: the open database, and statements as cursors in the manner of sx_rd and
 * sx_wr: parameters and columns are taken in order, an error sticks and is tested once at the end.
 */
#ifndef SX_STORE_DB_H
#define SX_STORE_DB_H

#ifndef SQLITE_HAS_CODEC
#define SQLITE_HAS_CODEC 1 /* the header declares sqlite3_key only then */
#endif
#include <sqlite3.h>

#include "store/migrate.h"
#include "store/sql.h"
#include "store/store.h"

#define SX_ROW_MAX (1 << 20) /* bytes of one value or row; the longest we write is below 64 KB */

#define SX_SCRATCH 16384 /* the longest encoding is a ratchet with both KEM parts: 7 KB */

struct sx_store {
    sqlite3 *db;
    sqlite3_stmt *stmt[SQL_COUNT]; /* prepared when first used */
    sqlite3_stmt *lent;            /* its row backs the slices of the last call */
    struct sx_wr scratch;          /* for encodings that are bound; wiped after use */
    uint8_t scratch_buf[SX_SCRATCH];
    bool read_only, older;
    bool key_fits; /* page 1 was read */
    bool in_txn;
    bool dirty;
    bool in_savepoint, dirty_before; /* the savepoint, and `dirty` when it was set */
    bool in_part;                    /* of the savepoint */
    simplex_rc lost;                 /* the database gave up the transaction: why */
    simplex_rc broken;               /* a change of the key failed: only closing is left */
    int64_t last_command;
    int64_t last_event; /* of events and rcv_messages */
    int64_t sent_conn, sent_id; /* sx_store_cleanup has looked through sent_messages up to here */
    unsigned fault_in;
    simplex_rc fault_rc; /* SIMPLEX_OK: not armed */
    bool fault_fired;
};

/* From a result of the database. */
simplex_rc sx_db_rc(struct sx_store *s, int code);
/* Runs the statements in sql; not counted by sx_store_fault. */
simplex_rc sx_db_exec(struct sx_store *s, const char *sql) SIMPLEX_CHECK;
/* A failed statement may have ended the whole transaction: notices that. Returns rc. */
simplex_rc sx_db_failed(struct sx_store *s, simplex_rc rc);
/* True when an armed fault hits now; the open transaction is gone then, as after a full disk. */
bool sx_db_fault(struct sx_store *s, simplex_rc *rc);

/* The slices of the last call are not needed any more. */
void sx_db_end_loan(struct sx_store *s);

struct sx_q {
    struct sx_store *s;
    sqlite3_stmt *st;
    int at;        /* parameters bound, then columns read */
    simplex_rc rc; /* the first failure */
    bool bad;      /* a column is not what this table holds */
};

/* Ends the loan of the previous call and takes the statement. */
void sx_q_start(struct sx_q *q, struct sx_store *s, enum sx_sql which);
void sx_q_put_i64(struct sx_q *q, int64_t v);
void sx_q_put_blob(struct sx_q *q, simplex_bytes b); /* must live until the statement ran */
void sx_q_put_some(struct sx_q *q, simplex_bytes b); /* NULL when empty */
void sx_q_put_text(struct sx_q *q, const char *text);
void sx_q_put_pair(struct sx_q *q, const struct sx_keypair *k, uint8_t *buf); /* SX_Q_PAIR bytes */
void sx_q_put_pub(struct sx_q *q, const struct sx_pub *k, uint8_t *buf);      /* SX_Q_PUB bytes */
#define SX_Q_PUB (1 + SX_KEY_MAX)
#define SX_Q_PAIR (1 + 2 * SX_KEY_MAX)

simplex_rc sx_q_run(struct sx_q *q) SIMPLEX_CHECK;     /* a write */
simplex_rc sx_q_run_one(struct sx_q *q) SIMPLEX_CHECK; /* E_NOT_FOUND when no row was touched */
simplex_rc sx_q_row(struct sx_q *q) SIMPLEX_CHECK;     /* next row; E_NOT_FOUND behind the last */

int64_t sx_q_i64(struct sx_q *q);
uint32_t sx_q_uint(struct sx_q *q, uint32_t max);
bool sx_q_bool(struct sx_q *q);
simplex_bytes sx_q_blob(struct sx_q *q);            /* borrowed from the row; NULL reads as empty */
void sx_q_copy(struct sx_q *q, void *to, size_t n); /* exactly n bytes */
bool sx_q_maybe_copy(struct sx_q *q, void *to, size_t n); /* false when NULL */
void sx_q_id(struct sx_q *q, struct sx_id *id);
/* The index of the text in words[1..n-1]. */
uint8_t sx_q_word(struct sx_q *q, const char *const *words, size_t n);
void sx_q_pair(struct sx_q *q, struct sx_keypair *k);
void sx_q_pub(struct sx_q *q, struct sx_pub *k);

/* Ends a read: E_DB_DAMAGED when a column was bad. */
simplex_rc sx_q_done(struct sx_q *q) SIMPLEX_CHECK;
/* The same, but slices of the row stay valid until the next call on the store. */
simplex_rc sx_q_lend(struct sx_q *q) SIMPLEX_CHECK;
/* Fills ids[0..*n-1] from the first column and ends the read. */
simplex_rc sx_q_ids(struct sx_q *q, int64_t *ids, size_t *n) SIMPLEX_CHECK;

/* Several statements that belong together, whether or not the caller opened a transaction. */
simplex_rc sx_db_group(struct sx_store *s, bool *own) SIMPLEX_CHECK;
simplex_rc sx_db_group_end(struct sx_store *s, bool own, simplex_rc rc) SIMPLEX_CHECK;

simplex_rc sx_db_sent_cleanup(struct sx_store *s, int64_t before, unsigned limit,
                              unsigned *n) SIMPLEX_CHECK;

simplex_rc sx_db_encoded(struct sx_store *s) SIMPLEX_CHECK; /* s->scratch is whole: else E_ENCODE */
void sx_db_scratch_wipe(struct sx_store *s);

/* open.c, for copies. sx_db_connect: everything but locking and reading; s is from sx_calloc. */
simplex_rc sx_db_connect(struct sx_store *s, const struct sx_store_cfg *cfg) SIMPLEX_CHECK;
void sx_db_disconnect(struct sx_store *s); /* frees s */
simplex_rc sx_db_create_file(const char *path, bool *created) SIMPLEX_CHECK; /* mode 0600 */
void sx_db_remove_files(const char *path);
char *sx_db_beside(const char *path, const char *suffix); /* sx_free; NULL: no memory */
/* The first column of the first row; E_DB_DAMAGED when it is another text, or there is none. */
simplex_rc sx_db_text_is(struct sx_store *s, const char *sql, const char *expected) SIMPLEX_CHECK;

bool sx_db_key_valid(simplex_bytes key, bool raw);
/* Hands the key to sqlite3_key or sqlite3_rekey. */
simplex_rc sx_db_key(struct sx_store *s, simplex_bytes key, bool raw,
                     int (*set)(sqlite3 *, const void *, int)) SIMPLEX_CHECK;

#endif
