/* SPDX-License-Identifier: Apache-2.0 */
/* The age of the database: to know an old copy. */
#ifndef SX_STORE_AGE_H
#define SX_STORE_AGE_H

#include "store/database.h"

/*
 * A number that grows when the database is opened and closed. It stands in the database and, after
 * each growth, in a file beside it (PATH-age, which holds nothing else but an id made up for this
 * purpose): a database younger than its file is an old copy that was put back. A file of another
 * database, a damaged one or none says nothing.
 */
struct sx_age {
    uint8_t id[16]; /* of the database, made with it */
    int64_t n;      /* -1: this is a backup */
};
/* A database that has none yet gets one of 0 here. */
simplex_rc sx_store_age_get(struct sx_store *s, struct sx_age *a) SIMPLEX_CHECK;
simplex_rc sx_store_age_put(struct sx_store *s, const struct sx_age *a) SIMPLEX_CHECK;
bool sx_age_read(const char *db_path, struct sx_age *a); /* false: there is none that can be read */
bool sx_age_write(const char *db_path, const struct sx_age *a); /* as a whole; false: not written */

#endif
