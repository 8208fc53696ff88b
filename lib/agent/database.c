/* SPDX-License-Identifier: Apache-2.0 */
/* The database as a file: its key, copies of it, and back. */
#include "agent/event.h"
#include "agent/network.h"

#define KEY_MAX 1024

struct args {
    const char *path;
    simplex_bytes key;
    bool raw;
};

static bool key_valid(simplex_bytes key, bool raw)
{
    return key.ptr != NULL && key.len > 0 && key.len <= KEY_MAX && (!raw || key.len == 32);
}

static bool path_valid(const char *path)
{
    return path != NULL && path[0] != '\0';
}

/* The key changes between two transactions. */
static simplex_rc do_rekey(struct simplex_agent *a, void *p)
{
    const struct args *x = p;
    simplex_rc rc = a->cfg.read_only ? SIMPLEX_E_PROHIBITED : SIMPLEX_OK;

    if (rc == SIMPLEX_OK && sx_ending(a, SX_SUSPENDED))
        rc = SIMPLEX_E_SUSPENDED;
    if (rc == SIMPLEX_OK)
        rc = sx_agent_commit_now(a);

    return rc == SIMPLEX_OK ? sx_store_rekey(a->store, x->key, x->raw) : rc;
}

simplex_rc simplex_agent_rekey(simplex_agent *a, simplex_bytes key, bool raw_key)
{
    struct args x = { .key = key, .raw = raw_key };

    if (a == NULL || !key_valid(key, raw_key))
        return SIMPLEX_E_ARG;
    return sx_agent_begin(a, do_rekey, &x);
}

/* With everything that calls before this one were promised, and without the events that were
 * handled before. */
static simplex_rc do_backup(struct simplex_agent *a, void *p)
{
    const struct args *x = p;
    simplex_rc rc;

    if (sx_ending(a, SX_SUSPENDED))
        return SIMPLEX_E_SUSPENDED;
    sx_events_freed(a);
    rc = sx_agent_commit_now(a);

    return rc == SIMPLEX_OK ? sx_store_backup(a->store, x->path, x->key, x->raw) : rc;
}

simplex_rc simplex_agent_backup(simplex_agent *a, const char *path, simplex_bytes key, bool raw_key)
{
    struct args x = { path, key, raw_key };

    if (a == NULL || !path_valid(path) || !key_valid(key, raw_key))
        return SIMPLEX_E_ARG;
    return sx_agent_begin(a, do_backup, &x);
}

simplex_rc simplex_agent_restore(const char *path, simplex_bytes key, bool raw_key,
                                 const char *db_path, simplex_bytes db_key, bool db_raw_key)
{
    struct sx_store_cfg from = { .path = path, .key = key, .raw_key = raw_key };
    struct sx_store_cfg to = { .path = db_path, .key = db_key, .raw_key = db_raw_key };
    simplex_rc rc;

    if (!path_valid(path) || !key_valid(key, raw_key) || !path_valid(db_path) ||
        !key_valid(db_key, db_raw_key) || strcmp(path, db_path) == 0)
        return SIMPLEX_E_ARG;
    rc = sx_crypto_init();
    return rc == SIMPLEX_OK ? sx_store_restore(&from, &to) : rc;
}
