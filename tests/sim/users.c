/* SPDX-License-Identifier: Apache-2.0 */
/* Users: made, deleted with all they have, with servers and policies of rotation of their own. */
#include "sim/acts.h"

#define USERS_MAX 4
#define HOUR (3600 * INT64_C(1000))

static struct deleted { /* a user; id 0: none */
    int64_t id;
    uint64_t at; /* tick */
    bool gone;
    bool doubtful; /* the call was interrupted */
} deleted[SIM_NODES][64];

static struct { /* arguments and results of what runs on a device */
    simplex_rc rc;
    int64_t user;
    bool on;
    struct app_end *e;
    bool theirs[APP_ENDS];
    simplex_user_server servers[SIM_SERVERS];
    size_t n_servers;
    simplex_rotation policy;
} call;

void users_open(void)
{
    memset(deleted, 0, sizeof deleted);
}

int64_t users_any(struct sim_node *n)
{
    int64_t ids[8];
    size_t count = SX_COUNT(ids);

    if (simplex_agent_users(n->a, 0, ids, &count) != SIMPLEX_OK || count < 2)
        return SIMPLEX_USER_DEFAULT;
    return ids[sim_below((uint32_t)count)];
}

/* ---- making, and what they have ---- */

static void run_make(struct sim_node *n, void *arg)
{
    int64_t ids[USERS_MAX];
    size_t count = USERS_MAX;

    (void)arg;
    call.rc = simplex_agent_users(n->a, 0, ids, &count);
    if (call.rc == SIMPLEX_OK && count < USERS_MAX)
        call.rc = simplex_agent_create_user(n->a, NULL, 0, &call.user);
    if (call.rc == SIMPLEX_OK && sim_chance(50))
        call.rc = simplex_agent_activate_user(n->a, users_any(n));
}

bool users_make(struct sim_node *n)
{
    if (sim_app(n, run_make, NULL))
        (void)act_tolerated(call.rc);
    return true;
}

static void run_servers(struct sim_node *n, void *arg)
{
    (void)arg;
    call.rc = simplex_agent_set_servers(n->a, users_any(n), call.on ? call.servers : NULL,
                                        call.on ? call.n_servers : 0);
}

/* Any but none of those that there are. */
bool users_servers(struct sim_node *n)
{
    size_t first = sim_below((uint32_t)n->cfg.n_servers);

    call.on = sim_chance(70);
    call.n_servers = 0;
    for (size_t i = 0; i < n->cfg.n_servers; i++) {
        if (i != first && sim_chance(50))
            continue;
        call.servers[call.n_servers++] =
            (simplex_user_server){ .size = sizeof call.servers[0],
                                   .address = n->cfg.servers[i],
                                   .operator_id = (int64_t)sim_below(3),
                                   .enabled = sim_chance(80),
                                   .storage = sim_chance(80),
                                   .proxy = sim_chance(80) };
    }
    if (sim_app(n, run_servers, NULL))
        (void)act_tolerated(call.rc);
    return true;
}

static bool is_open_invitation(const struct app_end *e)
{
    return e->role == APP_INVITER && e->ready == 0 && act_deletable(e);
}

static void run_move(struct sim_node *n, void *arg)
{
    (void)arg;
    call.rc = simplex_agent_change_user(n->a, call.e->id, users_any(n));
}

bool users_move(struct sim_node *n)
{
    call.e = act_any_end(n, is_open_invitation);
    if (call.e == NULL)
        return false;
    if (sim_app(n, run_move, NULL) && call.rc != SIMPLEX_E_PROHIBITED) /* somebody has joined */
        (void)act_tolerated(call.rc);
    return true;
}

static void run_service(struct sim_node *n, void *arg)
{
    (void)arg;
    call.rc = simplex_agent_set_user_service(n->a, users_any(n), call.on);
}

bool users_service(struct sim_node *n)
{
    call.on = sim_chance(60);
    if (sim_app(n, run_service, NULL) &&
        (call.rc != SIMPLEX_E_PROHIBITED || !n->cfg.client_service))
        (void)act_tolerated(call.rc);
    return true;
}

/* ---- deleting ---- */

static void run_find(struct sim_node *n, void *arg)
{
    (void)arg;
    memset(call.theirs, 0, sizeof call.theirs);
    call.user = users_any(n);
    for (unsigned i = 0; i < app.n_ends && call.user != SIMPLEX_USER_DEFAULT; i++) {
        simplex_connection_info info = { .size = sizeof info };
        const struct app_end *e = &app.ends[i];
        if (e->node != n || !act_deletable(e))
            continue;
        call.rc = simplex_agent_connection(n->a, e->id, &info);
        if (!act_tolerated(call.rc))
            call.user = SIMPLEX_USER_DEFAULT; /* nobody knows what it has */
        call.theirs[i] = info.user == call.user;
    }
}

static void run_delete(struct sim_node *n, void *arg)
{
    (void)arg;
    call.rc = simplex_agent_delete_user(n->a, call.user, call.on);
}

/* What is waiting for its servers is forgotten as well, and nothing more is said of it. */
static void delete_ends(const struct sim_node *n, bool known, bool done)
{
    for (unsigned i = 0; i < app.n_ends; i++) {
        struct app_end *e = &app.ends[i];
        if (call.theirs[i]) {
            e->deleted = !known || done;
            e->doubtful = !known;
            e->gone = e->gone || (known && done && !call.on); /* DEL_CONN may have come */
        } else if (e->node == n && e->deleted && !call.on && (!known || done)) {
            e->doubtful = true;
        }
    }
}

static struct deleted *free_place(const struct sim_node *n)
{
    for (size_t i = 0; i < SX_COUNT(deleted[0]); i++) {
        if (deleted[n->n][i].id == 0)
            return &deleted[n->n][i];
    }
    return NULL;
}

bool users_delete(struct sim_node *n)
{
    struct deleted *d = free_place(n);

    if (d == NULL || !sim_app(n, run_find, NULL) || call.user == SIMPLEX_USER_DEFAULT)
        return false;
    for (unsigned i = 0; i < app.n_ends; i++) {
        if (!call.theirs[i])
            continue;
        app_connection_ended(&app.ends[i]); /* whether it is deleted or the device dies before */
        app.ends[i].deleted = true;
        app.ends[i].deleted_at = ++app.tick;
    }
    call.on = sim_chance(60);
    *d = (struct deleted){ .id = call.user, .at = ++app.tick };
    sim_trace("%u: user %" PRId64 " is deleted%s", n->n, call.user, call.on ? "" : " here");
    bool known = sim_app(n, run_delete, NULL);
    bool done = known && act_tolerated(call.rc);
    delete_ends(n, known, done);
    if (known && !done)
        d->id = 0;
    d->doubtful = !known;
    return true;
}

void users_on_deleted(struct sim_node *n, int64_t user)
{
    for (size_t i = 0; i < SX_COUNT(deleted[0]); i++) {
        if (user != 0 && deleted[n->n][i].id == user) {
            deleted[n->n][i].gone = true;
            return;
        }
    }
    sim_fail("device %u: DEL_USER of user %" PRId64, n->n, user);
}

void users_rolled_back(const struct sim_node *n, uint64_t tick)
{
    for (size_t i = 0; i < SX_COUNT(deleted[0]); i++) {
        if (deleted[n->n][i].at > tick)
            deleted[n->n][i].id = 0;
        else
            deleted[n->n][i].gone = false;
        deleted[n->n][i].doubtful = true; /* its end may have been told before the copy was made */
    }
}

bool users_settled(void)
{
    for (unsigned n = 0; n < sim.n_nodes; n++) {
        for (size_t i = 0; i < SX_COUNT(deleted[0]); i++) {
            const struct deleted *d = &deleted[n][i];
            if (d->id != 0 && !d->gone && !d->doubtful)
                return false;
        }
    }
    return true;
}

/* ---- policies of rotation ---- */

static void run_policy(struct sim_node *n, void *arg)
{
    const simplex_rotation *p = call.on ? &call.policy : NULL;

    (void)arg;
    call.rc = call.e != NULL ? simplex_agent_set_conn_rotation(n->a, call.e->id, p)
                             : simplex_agent_set_rotation(n->a, users_any(n), p);
}

static bool is_connection(const struct app_end *e)
{
    return e->role != APP_ADDRESS && act_deletable(e);
}

/* From now on any queue of the device may move at any time. */
bool users_policy(struct sim_node *n)
{
    call.e = sim_chance(30) ? act_any_end(n, is_connection) : NULL;
    call.on = sim_chance(85);
    call.policy = (simplex_rotation){ .size = sizeof call.policy,
                                      .every = sim_chance(60) ? 60000 * (1 + sim_below(90)) : 0,
                                      .messages = sim_chance(50) ? 1 + sim_below(6) : 0,
                                      .server_list = sim_chance(50),
                                      .spread = 1000 * (1 + sim_below(60)),
                                      .per_day = 50 };
    if (call.on)
        app_rotates(n);
    if (sim_app(n, run_policy, NULL))
        (void)act_tolerated(call.rc);
    return true;
}

static void run_end(struct sim_node *n, void *arg)
{
    int64_t ids[2 * USERS_MAX];
    size_t count = SX_COUNT(ids);

    (void)arg;
    SIM_CHECK(simplex_agent_users(n->a, 0, ids, &count) == SIMPLEX_OK);
    for (size_t i = 0; i < count; i++)
        SIM_CHECK(simplex_agent_set_rotation(n->a, ids[i], NULL) == SIMPLEX_OK);
    for (unsigned i = 0; i < app.n_ends; i++) {
        const struct app_end *e = &app.ends[i];
        if (e->node == n && is_connection(e))
            SIM_CHECK(simplex_agent_set_conn_rotation(n->a, e->id, NULL) == SIMPLEX_OK);
    }
}

void users_end(struct sim_node *n)
{
    SIM_CHECK(sim_app(n, run_end, NULL));
}
