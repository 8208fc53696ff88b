/* SPDX-License-Identifier: Apache-2.0 */
/* The age of the database, in it and beside it. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "store/db.h"

#define AGE_BYTES 24

simplex_rc sx_store_age_get(struct sx_store *s, struct sx_age *a)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_AGE_GET);
    simplex_rc rc = sx_q_row(&q);
    if (rc == SIMPLEX_E_NOT_FOUND) {
        sx_random(a->id, sizeof a->id);
        a->n = 0;
        return SIMPLEX_OK;
    }
    if (rc != SIMPLEX_OK)
        return rc;
    sx_q_copy(&q, a->id, sizeof a->id);
    a->n = sx_q_i64(&q);
    return sx_q_done(&q);
}

simplex_rc sx_store_age_put(struct sx_store *s, const struct sx_age *a)
{
    struct sx_q q;

    sx_q_start(&q, s, SQL_AGE_PUT);
    sx_q_put_blob(&q, sx_bytes(a->id, sizeof a->id));
    sx_q_put_i64(&q, a->n);
    return sx_q_run(&q);
}

/* ---- the file ---- */

static char *name_of(const char *db_path, const char *suffix)
{
    size_t n = strlen(db_path) + strlen(suffix) + 1;
    char *name = sx_malloc(n);

    if (name != NULL)
        (void)snprintf(name, n, "%s%s", db_path, suffix);
    return name;
}

bool sx_age_read(const char *db_path, struct sx_age *a)
{
    uint8_t b[AGE_BYTES + 1];
    char *name = name_of(db_path, "-age");
    int fd = name != NULL ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t got = fd >= 0 ? read(fd, b, sizeof b) : -1;
    struct sx_rd r = sx_rd_init(sx_bytes(b, AGE_BYTES));

    if (fd >= 0)
        (void)close(fd);
    sx_free(name);
    if (got != AGE_BYTES)
        return false;
    memcpy(a->id, sx_rd_take(&r, sizeof a->id).ptr, sizeof a->id);
    a->n = sx_rd_i64(&r);
    return a->n >= 0;
}

static bool write_file(const char *name, simplex_bytes b)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && write(fd, b.ptr, b.len) == (ssize_t)b.len && fsync(fd) == 0;

    if (fd >= 0 && close(fd) != 0)
        ok = false;
    return ok;
}

/* Under another name first: half a number would be none. */
bool sx_age_write(const char *db_path, const struct sx_age *a)
{
    uint8_t room[AGE_BYTES];
    char *name = name_of(db_path, "-age"), *part = name_of(db_path, "-age.part");
    struct sx_wr w;

    sx_wr_fixed(&w, room, sizeof room);
    sx_wr_raw(&w, sx_bytes(a->id, sizeof a->id));
    sx_wr_i64(&w, a->n);
    bool ok = name != NULL && part != NULL && !w.bad && write_file(part, sx_wr_bytes(&w)) &&
              rename(part, name) == 0;
    if (!ok && part != NULL)
        (void)unlink(part);
    sx_free(name);
    sx_free(part);
    return ok;
}
