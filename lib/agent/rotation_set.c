/* SPDX-License-Identifier: Apache-2.0 */
/* Policies of rotation: setting them, showing them, and what a change of the servers means. */
#include "agent/rotation.h"
#include "agent/several.h"
#include "agent/users.h"

/* ---- the servers of a user have changed ---- */

void sx_rotation_servers_changed(struct simplex_agent *a)
{
    a->rotation.check = true;
    a->rotation.check_user = a->rotation.check_conn = 0;
    a->rotation.changed = true;
}

simplex_rc sx_rotation_queue(struct simplex_agent *a, const struct sx_conn *c, int64_t *queue,
                             bool *listed)
{
    struct sx_rcv_queue q;
    simplex_rc rc = SIMPLEX_OK;

    *queue = 0;
    *listed = true;
    for (unsigned n = 0; rc == SIMPLEX_OK; n++) {
        rc = sx_store_rcvq_of(a->store, c->id, n, &q);
        if (rc != SIMPLEX_OK || q.deleted || q.replaces != 0 || sx_is_added(&q) ||
            q.switch_state == SX_SW_REMOVE)
            continue;
        bool on_list = sx_serves(a, c->user, SX_SRV_STORAGE, &q.server);
        if (*queue == 0 || (*listed && !on_list) || (*listed == on_list && q.id < *queue)) {
            *queue = q.id;
            *listed = on_list;
        }
    }
    sx_wipe(&q, sizeof q);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

simplex_rc sx_rotation_check(struct simplex_agent *a, int64_t conn)
{
    struct sx_rotation r;
    struct sx_rotation_policy p = { .every = 0 };
    struct sx_conn c;
    int64_t queue;
    bool listed = true;
    simplex_rc rc = sx_store_rotation_get(a->store, conn, &r);

    if (rc == SIMPLEX_OK)
        rc = sx_store_conn_get(a->store, conn, &c);
    if (rc == SIMPLEX_OK)
        rc = sx_rotation_policy(a, c.user, &r, &p);
    if (rc == SIMPLEX_OK && p.server_list && !r.running && !r.unlisted)
        rc = sx_rotation_queue(a, &c, &queue, &listed);
    if (rc != SIMPLEX_OK || listed)
        return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
    r.unlisted = true;
    sx_rotation_plan_sooner(&r, sx_up_to(sx_rotation_spread(&p)));
    return sx_rotation_put(a, &r);
}

/* The next connections of the user at hand. *done: there are no more. */
static simplex_rc check_some(struct simplex_agent *a, bool *done)
{
    int64_t ids[256];
    size_t n = SX_COUNT(ids);
    simplex_rc rc =
        sx_store_conn_list_user(a->store, a->rotation.check_user, a->rotation.check_conn, ids, &n);

    for (size_t i = 0; rc == SIMPLEX_OK && i < n; i++) {
        rc = sx_rotation_check(a, ids[i]);
        a->rotation.check_conn = ids[i];
    }
    *done = n < SX_COUNT(ids);
    return rc;
}

static simplex_rc note_checked(struct simplex_agent *a, int64_t version)
{
    struct sx_user_rotation u = { .user = a->rotation.check_user };
    simplex_rc rc = sx_store_user_rotation_get(a->store, u.user, &u);

    if (rc != SIMPLEX_OK && rc != SIMPLEX_E_NOT_FOUND)
        return rc;
    u.checked_version = version;
    return sx_store_user_rotation_put(a->store, &u);
}

/* The next user whose list is another one than that of the last time. */
static simplex_rc next_user(struct simplex_agent *a)
{
    struct sx_user_rotation u = { .checked_version = 0 };
    struct sx_user_row user;
    simplex_rc rc = sx_store_user_next(a->store, a->rotation.check_user, &user);

    if (rc == SIMPLEX_E_NOT_FOUND) {
        a->rotation.check = false;
        return SIMPLEX_OK;
    }
    if (rc == SIMPLEX_OK)
        rc = sx_store_user_rotation_get(a->store, user.id, &u);
    if (rc != SIMPLEX_OK && rc != SIMPLEX_E_NOT_FOUND)
        return rc;
    a->rotation.check_user = user.id;
    a->rotation.check_conn = 0;
    a->rotation.check_version = user.servers_version;
    a->rotation.checking = u.checked_version != user.servers_version;
    return SIMPLEX_OK;
}

simplex_rc sx_rotation_check_servers(struct simplex_agent *a)
{
    bool done = false;
    simplex_rc rc;

    if (!a->rotation.checking)
        return next_user(a);
    rc = check_some(a, &done);
    if (rc != SIMPLEX_OK || !done)
        return rc;
    a->rotation.checking = false;
    return note_checked(a, a->rotation.check_version);
}

/* ---- setting ---- */

static bool in_range(int64_t ms)
{
    return ms >= 0 && ms <= SX_ROTATION_MS_MAX;
}

static simplex_rc from_api(const simplex_rotation *in, struct sx_rotation_policy *p)
{
    *p = (struct sx_rotation_policy){ .every = 0 };
    if (in == NULL)
        return SIMPLEX_OK;
    if (in->size < sizeof *in || !in_range(in->every) || !in_range(in->spread) ||
        in->messages < 0 || in->messages > INT32_MAX || in->jitter < 0 || in->jitter > 100 ||
        in->per_day < 0)
        return SIMPLEX_E_ARG;
    p->every = in->every;
    p->jitter = in->jitter > 0 ? (uint32_t)in->jitter : SX_ROTATION_JITTER;
    p->messages = in->messages;
    p->spread = in->spread;
    p->server_list = in->server_list;
    p->per_day = (uint32_t)in->per_day;
    return SIMPLEX_OK;
}

static void to_api(const struct sx_rotation_policy *p, simplex_rotation *out)
{
    out->every = p->every;
    out->jitter = (int32_t)p->jitter;
    out->messages = p->messages;
    out->spread = p->spread;
    out->server_list = p->server_list;
    out->per_day = (int32_t)p->per_day;
}

struct args {
    int64_t user, conn;
    bool own;
    struct sx_rotation_policy policy;
    simplex_rotation *out;
    simplex_rotation_status *status;
};

/* The policy p holds for connection c from now on. */
static simplex_rc apply(struct simplex_agent *a, const struct sx_conn *c,
                        const struct sx_rotation_policy *p, bool own)
{
    struct sx_rotation r = { .conn_id = c->id, .due_at = SX_ROTATION_NEVER };
    simplex_rc rc = sx_store_rotation_get(a->store, c->id, &r);

    if (rc == SIMPLEX_E_NOT_FOUND && !own && !sx_rotates(p))
        return SIMPLEX_OK;
    if (rc != SIMPLEX_OK && rc != SIMPLEX_E_NOT_FOUND)
        return rc;
    bool running = r.running;
    r.own = own;
    r.policy = own ? *p : (struct sx_rotation_policy){ .every = 0 };
    if (running) /* goes on; its end draws anew */
        return sx_rotation_put(a, &r);
    sx_rotation_draw(&r, p, c, true);
    if (!sx_rotation_possible(c))
        sx_rotation_never(&r); /* until it is connected */
    return sx_rotation_put(a, &r);
}

static simplex_rc apply_to_user(struct simplex_agent *a, int64_t conn,
                                const struct sx_rotation_policy *p)
{
    struct sx_rotation r;
    struct sx_conn c;
    simplex_rc rc = sx_store_rotation_get(a->store, conn, &r);

    if (rc == SIMPLEX_OK && r.own)
        return SIMPLEX_OK;
    if (rc == SIMPLEX_OK || rc == SIMPLEX_E_NOT_FOUND)
        rc = sx_store_conn_get(a->store, conn, &c);
    if (rc != SIMPLEX_OK || c.role == SX_ADDRESS || c.deleted)
        return rc;
    return apply(a, &c, p, false);
}

static simplex_rc set_user(struct simplex_agent *a, void *arg)
{
    const struct args *x = arg;
    struct sx_user_rotation u = { .user = x->user };
    int64_t ids[256], last = 0;
    size_t n = SX_COUNT(ids);
    simplex_rc rc = sx_user_check(a, x->user);

    if (rc == SIMPLEX_OK)
        rc = sx_store_user_rotation_get(a->store, x->user, &u);
    if (rc != SIMPLEX_OK && rc != SIMPLEX_E_NOT_FOUND)
        return rc;
    u.policy = x->policy;
    u.checked_version = -1; /* what is there already may be on other servers */
    rc = sx_store_user_rotation_put(a->store, &u);
    while (rc == SIMPLEX_OK && n == SX_COUNT(ids)) {
        rc = sx_store_conn_list_user(a->store, x->user, last, ids, &n);
        for (size_t i = 0; rc == SIMPLEX_OK && i < n; i++)
            rc = apply_to_user(a, last = ids[i], &x->policy);
    }
    sx_rotation_servers_changed(a);
    return rc;
}

static simplex_rc get_conn(struct simplex_agent *a, int64_t id, struct sx_conn *c)
{
    simplex_rc rc = sx_store_conn_get(a->store, id, c);

    if (rc == SIMPLEX_OK && c->deleted)
        return SIMPLEX_E_NOT_FOUND;
    return rc == SIMPLEX_OK && c->role == SX_ADDRESS ? SIMPLEX_E_PROHIBITED : rc;
}

static simplex_rc set_conn(struct simplex_agent *a, void *arg)
{
    struct args *x = arg;
    struct sx_user_rotation u = { .user = 0 };
    struct sx_conn c;
    simplex_rc rc = get_conn(a, x->conn, &c);

    if (rc != SIMPLEX_OK)
        return rc;
    if (!x->own) {
        rc = sx_store_user_rotation_get(a->store, c.user, &u);
        x->policy = u.policy;
    }
    if (rc == SIMPLEX_OK || rc == SIMPLEX_E_NOT_FOUND)
        rc = apply(a, &c, &x->policy, x->own);
    if (rc == SIMPLEX_OK)
        rc = sx_rotation_check(a, c.id);
    return rc;
}

simplex_rc simplex_agent_set_rotation(simplex_agent *a, int64_t user,
                                      const simplex_rotation *policy)
{
    struct args x = { .user = user };

    if (a == NULL || from_api(policy, &x.policy) != SIMPLEX_OK)
        return SIMPLEX_E_ARG;
    return sx_agent_run(a, set_user, &x, true);
}

simplex_rc simplex_agent_set_conn_rotation(simplex_agent *a, int64_t conn,
                                           const simplex_rotation *policy)
{
    struct args x = { .conn = conn, .own = policy != NULL };

    if (a == NULL || from_api(policy, &x.policy) != SIMPLEX_OK)
        return SIMPLEX_E_ARG;
    return sx_agent_run(a, set_conn, &x, true);
}

/* ---- showing ---- */

static void show(const struct args *x, const struct sx_rotation_policy *p,
                 const struct sx_rotation_counts *n, int64_t next_at)
{
    if (x->out != NULL)
        to_api(p, x->out);
    if (x->status == NULL)
        return;
    x->status->started = n->started;
    x->status->completed = n->completed;
    x->status->failed = n->failed;
    x->status->next_at = next_at == SX_ROTATION_NEVER ? 0 : next_at;
}

static simplex_rc show_user(struct simplex_agent *a, void *arg)
{
    const struct args *x = arg;
    struct sx_user_rotation u = { .user = x->user };
    struct sx_rotation_counts n;
    int64_t next_at;
    simplex_rc rc = sx_user_check(a, x->user);

    if (rc != SIMPLEX_OK)
        return rc;
    rc = sx_store_user_rotation_get(a->store, x->user, &u);
    if (rc == SIMPLEX_OK || rc == SIMPLEX_E_NOT_FOUND)
        rc = sx_store_rotation_sums(a->store, x->user, &n, &next_at);
    if (rc == SIMPLEX_OK)
        show(x, &u.policy, &n, next_at);
    return rc;
}

static simplex_rc show_conn(struct simplex_agent *a, void *arg)
{
    const struct args *x = arg;
    struct sx_rotation r = { .due_at = SX_ROTATION_NEVER };
    struct sx_rotation_policy p;
    struct sx_conn c;
    simplex_rc rc = get_conn(a, x->conn, &c);

    if (rc != SIMPLEX_OK)
        return rc;
    rc = sx_store_rotation_get(a->store, c.id, &r);
    if (rc == SIMPLEX_OK || rc == SIMPLEX_E_NOT_FOUND)
        rc = sx_rotation_policy(a, c.user, &r, &p);
    if (rc != SIMPLEX_OK)
        return rc;
    show(x, &p, &r.counts, r.running ? SX_ROTATION_NEVER : r.due_at);
    if (x->status != NULL)
        x->status->running = r.running;
    return SIMPLEX_OK;
}

static simplex_rc prepare(simplex_rotation *policy, simplex_rotation_status *status)
{
    if ((policy != NULL && policy->size < sizeof *policy) ||
        (status != NULL && status->size < sizeof *status))
        return SIMPLEX_E_ARG;
    if (policy != NULL)
        *policy = (simplex_rotation){ .size = policy->size };
    if (status != NULL)
        *status = (simplex_rotation_status){ .size = status->size };
    return SIMPLEX_OK;
}

simplex_rc simplex_agent_rotation(simplex_agent *a, int64_t user, simplex_rotation *policy,
                                  simplex_rotation_status *status)
{
    struct args x = { .user = user, .out = policy, .status = status };

    if (a == NULL || prepare(policy, status) != SIMPLEX_OK)
        return SIMPLEX_E_ARG;
    return sx_agent_run(a, show_user, &x, false);
}

simplex_rc simplex_agent_conn_rotation(simplex_agent *a, int64_t conn, simplex_rotation *policy,
                                       simplex_rotation_status *status)
{
    struct args x = { .conn = conn, .out = policy, .status = status };

    if (a == NULL || prepare(policy, status) != SIMPLEX_OK)
        return SIMPLEX_E_ARG;
    return sx_agent_run(a, show_conn, &x, false);
}
