/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices and time. Databases are in memory (sim_vfs.c) and mostly not encrypted: sqlite3_key does
 * nothing then (wrapped at link time). New ones are copies of a template, since making the tables
 * takes longer than most runs.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "sim/sim.h"
#include "store/store.h"

#define STEPS_MAX 500000 /* two quiet weeks are a tenth of it */
#define DB_KEY "0123456789abcdef0123456789abcdef"

static char dir[256];
static struct sim_copy empty[2]; /* templates; the second one is encrypted */

/* ---- files ---- */

static const char *const suffixes[] = { "", "-wal" };

static void make_dir(void)
{
    const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : getenv("TMPDIR");

    (void)snprintf(dir, sizeof dir, "%s/simplex-sim-XXXXXX", base != NULL ? base : "/tmp");
    SIM_CHECK(mkdtemp(dir) != NULL);
}

static void remove_files(void)
{
    DIR *d = opendir(dir);
    const struct dirent *e;
    char path[600];

    while (d != NULL && (e = readdir(d)) != NULL) {
        (void)snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        (void)unlink(path);
    }
    if (d != NULL)
        (void)closedir(d);
}

void sim_end(void)
{
    sim_copy_free(&empty[0]);
    sim_copy_free(&empty[1]);
    sim_files_drop();
    sim_keys_clear();
    if (dir[0] == 0)
        return;
    remove_files();
    (void)rmdir(dir);
    dir[0] = 0;
}

void sim_copy_make(struct sim_node *n, struct sim_copy *c)
{
    char path[320];

    sim_copy_free(c);
    for (size_t i = 0; i < SX_COUNT(suffixes); i++) {
        (void)snprintf(path, sizeof path, "%s%s", n->db, suffixes[i]);
        sim_file_get(path, &c->file[i], &c->len[i]);
    }
    c->run = n->runs;
    c->open = n->a != NULL;
    c->key = n->cfg.db_key;
}

void sim_copy_put(struct sim_node *n, const struct sim_copy *c)
{
    char path[320];

    SIM_CHECK(n->a == NULL);
    for (size_t i = 0; i < SX_COUNT(suffixes); i++) {
        (void)snprintf(path, sizeof path, "%s%s", n->db, suffixes[i]);
        sim_file_put(path, c->file[i], c->len[i]);
    }
    n->cfg.db_key = c->key;
}

void sim_copy_free(struct sim_copy *c)
{
    for (size_t i = 0; i < SX_COUNT(suffixes); i++)
        free(c->file[i]);
    memset(c, 0, sizeof *c);
}

int __real_sqlite3_key(void *db, const void *key, int len);
int __wrap_sqlite3_key(void *db, const void *key, int len);

int __wrap_sqlite3_key(void *db, const void *key, int len)
{
    return sim.encrypted ? __real_sqlite3_key(db, key, len) : 0;
}

static void make_template(bool encrypted)
{
    struct sim_node n = { .cfg.db_key = sx_str(DB_KEY) };
    struct sx_store_cfg cfg = { .path = n.db, .key = n.cfg.db_key, .raw_key = true };
    struct sx_store *s;

    sim.encrypted = encrypted;
    (void)snprintf(n.db, sizeof n.db, "%s/template%d", dir, encrypted);
    SIM_CHECK(sx_store_open(&cfg, &s) == SIMPLEX_OK);
    sx_store_close(s);
    sim_copy_make(&n, &empty[encrypted]);
    sim_file_put(n.db, NULL, 0);
}

bool sim_key_opens(const struct sim_node *n, simplex_bytes key)
{
    struct sx_store_cfg cfg = { .path = n->db, .key = key, .raw_key = true };
    struct sx_store *s;

    SIM_CHECK(n->a == NULL && sim.at == NULL);
    simplex_rc rc = sx_store_open(&cfg, &s);
    if (rc != SIMPLEX_OK && rc != SIMPLEX_E_DB_KEY)
        sim_fail("the database of %u cannot be opened: %s", n->n, simplex_rc_name(rc));
    if (rc == SIMPLEX_OK)
        sx_store_close(s);
    return rc == SIMPLEX_OK;
}

void sim_prepare(void)
{
    if (dir[0] != 0)
        return;
    SIM_CHECK(sx_crypto_init() == SIMPLEX_OK);
    sim_files_prepare();
    make_dir();
    make_template(true);
    make_template(false);
}

/* ---- devices ---- */

static void open_agent(struct sim_node *n, void *arg)
{
    simplex_rc *rc = arg;
    struct simplex_agent *a;

    *rc = simplex_agent_open(&n->cfg, &a);
    if (*rc != SIMPLEX_OK)
        return;
    n->a = a;
    sim_turn(n, NULL, NULL);
}

simplex_rc sim_start(struct sim_node *n)
{
    simplex_rc rc = SIMPLEX_E_CLOSED;

    SIM_CHECK(n->a == NULL);
    n->cfg.db_path = n->db;
    n->runs++;
    if (!sim_app(n, open_agent, &rc))
        return SIMPLEX_E_CLOSED;
    sim_trace("%u opens: %s", n->n, simplex_rc_name(rc));
    return rc;
}

static void close_agent(struct sim_node *n, void *arg)
{
    struct simplex_agent *a = n->a;

    (void)arg;
    SIM_CHECK(simplex_agent_close(a) == SIMPLEX_OK);
    n->a = NULL;
}

void sim_stop(struct sim_node *n)
{
    if (n->a == NULL || !sim_app(n, close_agent, NULL))
        return;
    sim_trace("%u closes", n->n);
    if (n->blocks != NULL)
        sim_fail("device %u: %zu blocks were not freed", n->n, sim_heap_used(n));
}

/* The process ends; the system closes its files. Only the database library must be told. */
static struct sx_store *stores[SIM_NODES];

simplex_rc __real_sx_store_open(const struct sx_store_cfg *cfg, struct sx_store **out);
simplex_rc __wrap_sx_store_open(const struct sx_store_cfg *cfg, struct sx_store **out);
void __real_sx_store_close(struct sx_store *s);
void __wrap_sx_store_close(struct sx_store *s);
simplex_rc __real_sx_store_commit(struct sx_store *s);
simplex_rc __wrap_sx_store_commit(struct sx_store *s);
void __real_sx_store_abandon(struct sx_store *s, simplex_rc why);
void __wrap_sx_store_abandon(struct sx_store *s, simplex_rc why);

simplex_rc __wrap_sx_store_open(const struct sx_store_cfg *cfg, struct sx_store **out)
{
    simplex_rc rc = __real_sx_store_open(cfg, out);

    if (rc == SIMPLEX_OK && sim.at != NULL)
        stores[sim.at->n] = *out;
    return rc;
}

void __wrap_sx_store_close(struct sx_store *s)
{
    if (sim.at != NULL)
        stores[sim.at->n] = NULL;
    __real_sx_store_close(s);
}

simplex_rc __wrap_sx_store_commit(struct sx_store *s)
{
    struct sim_node *n = sim.at;

    sim_point();
    simplex_rc rc = __real_sx_store_commit(s);
    if (n != NULL && rc == SIMPLEX_OK && sim.committed != NULL)
        sim.committed(n);
    if (n != NULL && rc != SIMPLEX_OK && sim.undone != NULL)
        sim.undone(n);
    sim_point();
    return rc;
}

void __wrap_sx_store_abandon(struct sx_store *s, simplex_rc why)
{
    if (sim.at != NULL && sim.undone != NULL && sx_store_in_transaction(s))
        sim.undone(sim.at);
    __real_sx_store_abandon(s, why);
}

simplex_rc __real_sx_store_rekey(struct sx_store *s, simplex_bytes key, bool raw_key);
simplex_rc __wrap_sx_store_rekey(struct sx_store *s, simplex_bytes key, bool raw_key);
simplex_rc __real_sx_store_backup(struct sx_store *s, const char *path, simplex_bytes key,
                                  bool raw_key);
simplex_rc __wrap_sx_store_backup(struct sx_store *s, const char *path, simplex_bytes key,
                                  bool raw_key);
simplex_rc __real_sx_store_restore(const struct sx_store_cfg *from, const struct sx_store_cfg *to);
simplex_rc __wrap_sx_store_restore(const struct sx_store_cfg *from, const struct sx_store_cfg *to);

simplex_rc __wrap_sx_store_rekey(struct sx_store *s, simplex_bytes key, bool raw_key)
{
    sim_spare(true);
    simplex_rc rc = __real_sx_store_rekey(s, key, raw_key);
    sim_spare(false);
    return rc;
}

simplex_rc __wrap_sx_store_backup(struct sx_store *s, const char *path, simplex_bytes key,
                                  bool raw_key)
{
    sim_spare(true);
    simplex_rc rc = __real_sx_store_backup(s, path, key, raw_key);
    sim_spare(false);
    return rc;
}

simplex_rc __wrap_sx_store_restore(const struct sx_store_cfg *from, const struct sx_store_cfg *to)
{
    sim_spare(true);
    simplex_rc rc = __real_sx_store_restore(from, to);
    sim_spare(false);
    return rc;
}

/* They stay as they are; at every second death the power fails too. */
static void leave_files(struct sim_node *n)
{
    char path[320];

    sim_files_freeze(true);
    if (stores[n->n] != NULL)
        __real_sx_store_close(stores[n->n]);
    sim_files_freeze(false);
    stores[n->n] = NULL;
    if (sim_luck(2) == 0)
        return;
    for (size_t i = 0; i < SX_COUNT(suffixes); i++) {
        (void)snprintf(path, sizeof path, "%s%s", n->db, suffixes[i]);
        sim_power_lost(path);
    }
}

void sim_kill(struct sim_node *n)
{
    n->kills++;
    if (sim.undone != NULL)
        sim.undone(n);
    leave_files(n);
    n->a = NULL;
    sim_loop_forget(n);
    sim_net_forget(n);
    sim_heap_drop(n);
}

/* ---- time ---- */

static void only_turn(struct sim_node *n, void *arg)
{
    (void)arg;
    sim_turn(n, NULL, NULL);
}

bool sim_step(int64_t until)
{
    int64_t first = sim_net_due();
    struct sim_node *who = NULL;

    for (unsigned i = 0; i < SX_COUNT(sim.nodes); i++) {
        int64_t due = sim_due(&sim.nodes[i]);
        if (due < first) {
            first = due;
            who = &sim.nodes[i];
        }
    }
    if (first > until)
        return false;
    if (++sim.steps > STEPS_MAX)
        sim_fail("it goes on and on");
    if (first > sim.now)
        sim.now = first;
    if (who == NULL)
        sim_net_step();
    else if (sim_is_proxy(who))
        sim_proxy_step((unsigned)(who - &sim.nodes[SIM_NODES]));
    else
        (void)sim_app(who, only_turn, NULL);
    return true;
}

bool sim_run(int64_t ms, bool (*done)(void))
{
    int64_t until = sim.now + ms;

    do {
        if (done != NULL && done())
            return true;
    } while (sim_step(until));
    sim.now = until;
    return done != NULL && done();
}

/* ---- the world ---- */

static const char *const left_over[] = { ".bak", ".bak.part" }; /* by the run before */

static void set_up(struct sim_node *n, unsigned i, unsigned servers)
{
    static const char *addresses[SIM_SERVERS];
    char age[320];

    memset(n, 0, sizeof *n);
    n->n = i;
    (void)snprintf(n->db, sizeof n->db, "%s/%u.db", dir, i);
    (void)snprintf(age, sizeof age, "%s-age", n->db);
    (void)unlink(age);
    for (size_t k = 0; k < SX_COUNT(left_over); k++) {
        (void)snprintf(age, sizeof age, "%s%s", n->db, left_over[k]);
        sim_file_put(age, NULL, 0);
    }
    sim_copy_put(n, &empty[sim.encrypted]);
    for (unsigned s = 0; s < servers; s++)
        addresses[s] = sim_server_address(s);
    n->cfg = (simplex_agent_config){ .size = sizeof n->cfg,
                                     .db_key = sx_str(DB_KEY),
                                     .db_raw_key = true,
                                     .servers = addresses,
                                     .n_servers = servers,
                                     .queues = sim.queues };
}

void sim_open(unsigned nodes, unsigned servers)
{
    sim_keys_clear();
    sim_net_open(servers);
    sim.n_nodes = nodes;
    for (unsigned i = 0; i < nodes; i++)
        set_up(&sim.nodes[i], i, servers);
}

void sim_close(void)
{
    for (unsigned i = 0; i < sim.n_nodes; i++)
        sim_stop(&sim.nodes[i]);
    sim_net_close();
    if (sim_heap_total() != 0)
        sim_fail("%zu blocks of the servers were not freed", sim_heap_total());
}
