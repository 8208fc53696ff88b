/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The encrypted state database (SQLCipher). One connection, one thread. Nobody else includes the
 * database header. Records are plain structures; functions are named after what they do to rows.
 *
 * Transactions: sx_store_begin opens one unless one is open; everything until sx_store_commit
 * belongs together. A handler that may fail half-way brackets its writes with _savepoint and
 * _release or _undo. Reads see the open transaction. Without a transaction each call is one.
 *
 * A full disk, an I/O error or a lack of memory may cost the whole transaction, not only the
 * statement. Nothing is written piece by piece then: until _commit or _rollback every call,
 * _savepoint, _undo and _begin included, fails with that same result; the next transaction starts
 * afresh. Other failures leave the transaction as it was before the call.
 *
 * Results beside those of the single function: E_DB_FULL, E_DB_IO, E_NOMEM; E_DB_DAMAGED for pages
 * or values that nobody but us could have written and we did not; E_TOO_LARGE for rows above 1 MB.
 * Writing to a connection or queue that is not there is E_NOT_FOUND, adding what is there
 * E_PROHIBITED; an update of no row is E_NOT_FOUND, a removal of no row succeeds. A record with a
 * state that has no name is E_ARG.
 */
#ifndef SX_STORE_DATABASE_H
#define SX_STORE_DATABASE_H

#include "ratchet/ratchet.h"

struct sx_store;

struct sx_store_cfg {
    const char *path;
    simplex_bytes key; /* 32 bytes and raw_key, or a passphrase of any length >= 1 */
    bool raw_key;
    bool read_only;
    bool older; /* with read_only: a schema not up to date is fine; for sx_store_restore alone */
};
/* Opens or creates, migrates. E_DB_KEY, _SCHEMA, _DAMAGED, _LOCKED, _FULL, _IO. On failure *out is
 * NULL and the files are as they were. A second process is refused (E_DB_LOCKED).
 * read_only: nothing is created, migrated (E_DB_SCHEMA) or written (E_PROHIBITED); the lock is
 * taken all the same. A passphrase of the form x'64 hex digits' is that raw key (SQLCipher). */
simplex_rc sx_store_open(const struct sx_store_cfg *cfg, struct sx_store **out) SIMPLEX_CHECK;
void sx_store_close(struct sx_store *s); /* rolls back what is open */
/* Not inside a transaction (E_PROHIBITED). Survives a crash: one of the two keys opens the file. It
 * needs as much room as the file has (E_DB_FULL: nothing happened). After E_DB_IO only closing and
 * opening again is left: every call fails. */
simplex_rc sx_store_rekey(struct sx_store *s, simplex_bytes key, bool raw_key) SIMPLEX_CHECK;

/*
 * A copy of everything that is committed, in a new file with another key or the same: nothing about
 * the one key can be learned from the other. Not inside a transaction (E_PROHIBITED). It appears
 * under its name when it is whole, on disk and checked; until then, and after a crash, there is
 * PATH.part. E_PROHIBITED: the file exists. Otherwise E_DB_FULL, E_DB_IO; nothing is left then.
 */
simplex_rc sx_store_backup(struct sx_store *s, const char *path, simplex_bytes key,
                           bool raw_key) SIMPLEX_CHECK;
/*
 * The other way: the backup takes the place of what is in the database at to->path, which keeps
 * its key, in one transaction; where there is no file, one is made. The backup is read through and
 * checked before. On failure, and after a crash before the end, the database is as it was.
 * E_DB_KEY, _SCHEMA, _DAMAGED, _LOCKED, _IO (also: there is no backup) of either file.
 */
simplex_rc sx_store_restore(const struct sx_store_cfg *from,
                            const struct sx_store_cfg *to) SIMPLEX_CHECK;

/* Pages are kept in up to so much memory. After opening it is 512 KiB: whoever reads each row once
 * to begin with would only fill it with what is not needed again. */
void sx_store_cache(struct sx_store *s, unsigned kib);

simplex_rc sx_store_begin(struct sx_store *s) SIMPLEX_CHECK;
bool sx_store_in_transaction(const struct sx_store *s);
bool sx_store_in_savepoint(const struct sx_store *s);
bool sx_store_dirty(const struct sx_store *s); /* the open transaction has written something */
simplex_rc sx_store_commit(struct sx_store *s) SIMPLEX_CHECK; /* on failure all is rolled back */
void sx_store_rollback(struct sx_store *s);
/* For a caller in the middle of others' work: the transaction is rolled back, and what they still
 * do in it fails with `why` (not OK) until _rollback. */
void sx_store_abandon(struct sx_store *s, simplex_rc why);
simplex_rc sx_store_savepoint(struct sx_store *s) SIMPLEX_CHECK; /* one level */
simplex_rc sx_store_release(struct sx_store *s) SIMPLEX_CHECK;
simplex_rc sx_store_undo(struct sx_store *s) SIMPLEX_CHECK;
/* Within a savepoint: what is written from here to _part_end can be undone by itself. One level. */
simplex_rc sx_store_part(struct sx_store *s) SIMPLEX_CHECK;
simplex_rc sx_store_part_end(struct sx_store *s, bool keep) SIMPLEX_CHECK;

/*
 * For tests. The nth statement (begin, commit and savepoints included; 0: the next one) from now
 * fails with rc, once, and takes the open transaction with it as a full disk does. _disarm: true
 * when it did. _exec runs SQL past all of that. _memory: failures of sx_fault_malloc reach the
 * database's own allocations too.
 */
void sx_store_fault(struct sx_store *s, unsigned nth, simplex_rc rc);
bool sx_store_fault_disarm(struct sx_store *s);
void sx_store_fault_memory(bool on);
int64_t sx_store_pages(struct sx_store *s); /* written by commits since this was last asked */
simplex_rc sx_store_exec(struct sx_store *s, const char *sql) SIMPLEX_CHECK;

#endif
