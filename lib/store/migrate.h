/* SPDX-License-Identifier: Apache-2.0 */
/* Numbered forward migrations; number i + 1 is list[i]. Published ones never change. */
#ifndef SX_STORE_MIGRATE_H
#define SX_STORE_MIGRATE_H

#include "base/base.h"

struct sx_store;

struct sx_migration {
    const char *sql[12]; /* one text in parts; those behind the first may be NULL */
};
extern const struct sx_migration sx_migrations[];
extern const size_t sx_migrations_count;

/*
 * Brings the schema up to list[n - 1], all in one transaction. E_DB_SCHEMA: the database has a
 * later migration, or is no database of this library. E_DB_DAMAGED: a recorded migration has not
 * the checksum of ours, or one is missing in between. In both cases nothing was written.
 */
simplex_rc sx_store_migrate(struct sx_store *s, const struct sx_migration *list,
                            size_t n) SIMPLEX_CHECK;

#endif
