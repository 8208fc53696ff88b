/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Databases as files: backups while everything goes on, restoring them, other keys. A death on the
 * way leaves the old one or the new one.
 */
#include <stdio.h>
#include <stdlib.h>

#include "agent/agent.h"
#include "sim/acts.h"

#define CHANGES 600 /* of files, about as many as the longest of these calls makes */

static const char *const keys[] = { /* raw: deriving them would take longer than a run */
                                    "0123456789abcdef0123456789abcdef",
                                    "another key of thirty-two bytes!",
                                    "a third one, 32 bytes as well..."
};

static struct backup {
    bool made;
    uint64_t tick;
    simplex_bytes key;
} backups[SIM_NODES];

static struct {
    char path[320];
    simplex_bytes key, to;
    simplex_rc rc;
} call;

void database_open(void)
{
    memset(backups, 0, sizeof backups);
}

static simplex_bytes any_key(void)
{
    return sx_str(keys[sim_below(SX_COUNT(keys))]);
}

static const char *path_of(const struct sim_node *n)
{
    (void)snprintf(call.path, sizeof call.path, "%s.bak", n->db);
    return call.path;
}

/* In half of the cases with deaths it dies somewhere in the call. */
static bool run(struct sim_node *n, void (*fn)(struct sim_node *, void *))
{
    bool lived;

    sim_files_freeze_in(app.kills && sim_chance(50) ? 1 + sim_below(CHANGES) : 0);
    lived = sim_app(n, fn, NULL);
    sim_files_freeze_in(0);
    return lived;
}

/* ---- backups ---- */

static void run_backup(struct sim_node *n, void *arg)
{
    (void)arg;
    call.rc = simplex_agent_backup(n->a, call.path, call.key, true);
}

static bool there(void)
{
    uint8_t *bytes;
    size_t len;

    sim_file_get(call.path, &bytes, &len);
    free(bytes);
    return bytes != NULL;
}

bool database_backup(struct sim_node *n)
{
    struct backup *b = &backups[n->n];

    sim_file_put(path_of(n), NULL, 0);
    call.key = any_key();
    *b = (struct backup){ .key = call.key };
    bool lived = run(n, run_backup);
    b->made = lived ? call.rc == SIMPLEX_OK : there();
    b->tick = ++app.tick;
    sim_trace("%u: backup %s", n->n, lived ? simplex_rc_name(call.rc) : "interrupted");
    if (lived && !b->made && there())
        sim_fail("a backup that failed is left behind");
    if (lived && (call.rc != SIMPLEX_E_SUSPENDED || !rest_going(n)))
        (void)act_tolerated(call.rc);
    return true;
}

/* What was saved since belongs to a course of things that is no more. */
void database_rolled_back(const struct sim_node *n, uint64_t tick)
{
    if (backups[n->n].tick > tick)
        backups[n->n].made = false;
}

/* ---- restoring ---- */

static void run_restore(struct sim_node *n, void *arg)
{
    (void)arg;
    call.rc = simplex_agent_restore(call.path, call.key, true, n->db, n->cfg.db_key, true);
}

static void must_refuse_key(struct sim_node *n)
{
    call.key = sx_str("none of the keys, 32 bytes long.");
    SIM_CHECK(sim_app(n, run_restore, NULL) && call.rc == SIMPLEX_E_DB_KEY);
}

/* Whether the database is the backup now: that says so itself until an agent has opened it. */
static bool is_restored(const struct sim_node *n)
{
    struct sx_store_cfg cfg = { .path = n->db, .key = n->cfg.db_key, .raw_key = true };
    struct sx_store *s;
    struct sx_age age;

    SIM_CHECK(sx_store_open(&cfg, &s) == SIMPLEX_OK && sx_store_age_get(s, &age) == SIMPLEX_OK);
    sx_store_close(s);
    return age.n < 0;
}

static void remove_database(const struct sim_node *n)
{
    char log[320];

    (void)snprintf(log, sizeof log, "%s-wal", n->db);
    sim_file_put(log, NULL, 0);
    sim_file_put(n->db, NULL, 0);
}

/* Faults that wait are dropped: it is the application's second attempt, so to speak. */
bool database_restore(struct sim_node *n)
{
    const struct backup *b = &backups[n->n];
    bool whole;

    if (!b->made)
        return false;
    (void)sx_fault_disarm();
    if (n->a != NULL)
        (void)sx_store_fault_disarm(n->a->store);
    sim_stop(n);
    (void)path_of(n);
    if (sim.encrypted && sim_chance(20))
        must_refuse_key(n);
    call.key = b->key;
    bool lost = sim_chance(10);
    if (lost)
        remove_database(n);
    if (run(n, run_restore)) {
        SIM_CHECK(call.rc == SIMPLEX_OK && is_restored(n));
        whole = true;
    } else if (lost) { /* there is none, or a whole one */
        SIM_CHECK(sim_app(n, run_restore, NULL) && call.rc == SIMPLEX_OK);
        whole = true;
    } else {
        whole = is_restored(n);
    }
    sim_trace("%u %s its backup", n->n, whole ? "goes back to" : "does not go back to");
    if (whole)
        app_rolled_back(n, b->tick);
    app_start(n);
    return true;
}

/* ---- other keys ---- */

static void run_rekey(struct sim_node *n, void *arg)
{
    (void)arg;
    call.rc = simplex_agent_rekey(n->a, call.to, true);
}

/* It died on the way: one of the two keys opens it, the other does not. */
static void find_key(struct sim_node *n, simplex_bytes old)
{
    bool before = sim_key_opens(n, old), after = sim_key_opens(n, call.to);

    sim_trace("%u has the %s key", n->n, after ? "new" : "old");
    if (before == after)
        sim_fail("both keys of %u open its database, or none does (%d)", n->n, before);
    n->cfg.db_key = after ? call.to : old;
}

bool database_rekey(struct sim_node *n)
{
    simplex_bytes old = n->cfg.db_key;

    call.to = any_key();
    if (sx_bytes_eq(call.to, old))
        return false;
    if (!run(n, run_rekey))
        find_key(n, old);
    else if (call.rc == SIMPLEX_OK)
        n->cfg.db_key = call.to;
    else if (call.rc != SIMPLEX_E_SUSPENDED || !rest_going(n))
        (void)act_tolerated(call.rc);
    return true;
}
