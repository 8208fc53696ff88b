/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policies: after a time, after a number of messages, or when the user has other servers now, the
 * receiving queue of a connection moves to a server chosen as for a new one.
 *
 * Who watches servers must not see that two queues belong to one user. So every time is drawn for
 * each connection by itself, at the first time over the whole interval; between two starts of one
 * user there is a pause of random length, longer the smaller the user's budget is; and what could
 * not start because of it is spread over the time that all who wait will need. Nothing happens on
 * a common beat: the alarm is set to the millisecond that was drawn.
 *
 * Times are those of the wall clock, in rows (SQL tables rotations and user_rotations): a device
 * that was off for a week goes on as if it had not been.
 */
#include "agent/agent.h"
#include "agent/rotation.h"
#include "agent/switch.h"

#define DAY (24 * 3600 * 1000LL)
#define DEFAULT_SPREAD (3600 * 1000LL)
#define DEFAULT_PER_DAY 24
#define PATIENCE (7 * DAY) /* with a peer that is away; then a new server is tried */
#define RETRY_FIRST (3600 * 1000LL)
#define RETRY_MAX (7 * DAY)
#define LOOK_AGAIN (3600 * 1000LL) /* a clock that was set does not stop us for longer */

/* ---- chance ---- */

int64_t sx_up_to(int64_t max)
{
    uint64_t r;

    sx_random(&r, sizeof r);
    return max <= 0 ? 0 : (int64_t)(r % ((uint64_t)max + 1));
}

static int64_t around(int64_t middle, uint32_t percent)
{
    int64_t by = percent > 0 ? middle / 100 * percent + middle % 100 * percent / 100 : 0;

    return middle - by + sx_up_to(2 * by);
}

/* At least the day divided by the budget: shorter pauses now and then would exceed it. */
static int64_t pause_of(const struct sx_rotation_policy *p)
{
    int64_t per_day = p->per_day > 0 ? p->per_day : DEFAULT_PER_DAY;
    int64_t least = (DAY + per_day - 1) / per_day;

    return least + sx_up_to(least / 2);
}

static int64_t pause_of_user(const struct sx_user_rotation *u, const struct sx_rotation_policy *p)
{
    return pause_of(sx_rotates(&u->policy) ? &u->policy : p);
}

int64_t sx_rotation_spread(const struct sx_rotation_policy *p)
{
    return p->spread > 0 ? p->spread : DEFAULT_SPREAD;
}

static int64_t retry_after(uint32_t attempts)
{
    int64_t t = RETRY_FIRST;

    for (uint32_t n = 1; n < attempts && t < RETRY_MAX; n++)
        t *= 2;
    return around(t < RETRY_MAX ? t : RETRY_MAX, 50);
}

/* ---- times ---- */

static void plan_from(struct sx_rotation *r, int64_t now, int64_t in)
{
    r->planned_at = now;
    r->due_at = now + in;
}

void sx_rotation_plan(struct sx_rotation *r, int64_t in)
{
    plan_from(r, sx_now_ms(), in);
}

void sx_rotation_plan_sooner(struct sx_rotation *r, int64_t in)
{
    int64_t now = sx_now_ms();

    if (now + in < r->due_at)
        plan_from(r, now, in);
}

void sx_rotation_never(struct sx_rotation *r)
{
    r->planned_at = 0;
    r->due_at = SX_ROTATION_NEVER;
}

/* Planned by a clock that was ahead and has been set back: each waits as long as it was to wait,
 * from now on. *more: there may be others. */
static simplex_rc plan_again(struct simplex_agent *a, bool *more)
{
    struct sx_rotation r;
    simplex_rc rc = SIMPLEX_OK;
    int64_t conn;

    for (int n = 0; rc == SIMPLEX_OK && n < SX_ROTATION_BATCH; n++) {
        int64_t now = sx_now_ms();
        rc = sx_store_rotation_ahead(a->store, now, &conn);
        if (rc == SIMPLEX_OK)
            rc = sx_store_rotation_get(a->store, conn, &r);
        if (rc != SIMPLEX_OK)
            break;
        plan_from(&r, now, r.due_at - r.planned_at);
        rc = sx_rotation_put(a, &r);
    }
    *more = rc == SIMPLEX_OK;
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

/* ---- rows ---- */

bool sx_rotates(const struct sx_rotation_policy *p)
{
    return p->every > 0 || p->messages > 0 || p->server_list;
}

simplex_rc sx_rotation_put(struct simplex_agent *a, const struct sx_rotation *r)
{
    a->rotation.changed = true;
    if (r->count_at > 0)
        a->rotation.by_count = true;
    return sx_store_rotation_put(a->store, r);
}

simplex_rc sx_rotation_policy(struct simplex_agent *a, int64_t user, const struct sx_rotation *r,
                              struct sx_rotation_policy *p)
{
    struct sx_user_rotation u = { .user = user };
    simplex_rc rc = SIMPLEX_OK;

    if (!r->own)
        rc = sx_store_user_rotation_get(a->store, user, &u);
    *p = r->own ? r->policy : u.policy;
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

void sx_rotation_draw(struct sx_rotation *r, const struct sx_rotation_policy *p,
                      const struct sx_conn *c, bool spread)
{
    sx_rotation_never(r);
    r->count_at = 0;
    r->running = false;
    r->unlisted = false;
    r->attempts = 0;
    if (p->every > 0)
        sx_rotation_plan(r, spread ? sx_up_to(p->every) : around(p->every, p->jitter));
    if (p->messages > 0) /* those that came: the numbers that the peer gives them may jump */
        r->count_at = c->received + 1 + around(p->messages, p->jitter);
}

bool sx_rotation_possible(const struct sx_conn *c)
{
    return !c->deleted && !c->suspended && c->role != SX_ADDRESS && c->state == SX_CONN_READY;
}

/* ---- what happens to connections ---- */

simplex_rc sx_rotation_connected(struct simplex_agent *a, const struct sx_conn *c)
{
    struct sx_rotation_policy p;
    struct sx_rotation r;
    simplex_rc rc = sx_store_rotation_get(a->store, c->id, &r); /* one of its own, set before */

    if (rc == SIMPLEX_E_NOT_FOUND) {
        r = (struct sx_rotation){ .conn_id = c->id };
        rc = SIMPLEX_OK;
    }
    if (rc == SIMPLEX_OK)
        rc = sx_rotation_policy(a, c->user, &r, &p);
    if (rc != SIMPLEX_OK || !sx_rotates(&p))
        return rc;
    sx_rotation_draw(&r, &p, c, false);
    return sx_rotation_put(a, &r);
}

simplex_rc sx_rotation_message(struct simplex_agent *a, const struct sx_conn *c)
{
    struct sx_rotation r;
    struct sx_rotation_policy p;
    simplex_rc rc;

    if (!a->rotation.by_count)
        return SIMPLEX_OK;
    rc = sx_store_rotation_get(a->store, c->id, &r);
    if (rc == SIMPLEX_OK && (r.running || r.count_at == 0 || c->received < r.count_at))
        return SIMPLEX_OK;
    if (rc == SIMPLEX_OK)
        rc = sx_rotation_policy(a, c->user, &r, &p);
    if (rc != SIMPLEX_OK)
        return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
    r.count_at = 0; /* the peer, who counts along, does not say when */
    sx_rotation_plan_sooner(&r, sx_up_to(sx_rotation_spread(&p)));
    return sx_rotation_put(a, &r);
}

simplex_rc sx_rotation_ended(struct simplex_agent *a, int64_t conn, bool completed, simplex_rc why)
{
    struct sx_rotation r;
    struct sx_rotation_policy p;
    struct sx_conn c;
    simplex_rc rc = sx_store_rotation_get(a->store, conn, &r);

    if (rc == SIMPLEX_OK)
        rc = sx_store_conn_get(a->store, conn, &c);
    if (rc == SIMPLEX_OK)
        rc = sx_rotation_policy(a, c.user, &r, &p);
    if (rc != SIMPLEX_OK)
        return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
    if (completed && r.running)
        r.counts.completed++;
    if (completed || (r.running && why == SIMPLEX_OK)) { /* the application's word counts too */
        sx_rotation_draw(&r, &p, &c, false);
    } else if (r.running) {
        r.counts.failed++;
        r.attempts++;
        r.running = false;
        sx_rotation_plan(&r, retry_after(r.attempts));
    } else {
        return SIMPLEX_OK;
    }
    rc = sx_rotation_put(a, &r);
    return rc == SIMPLEX_OK && completed ? sx_rotation_check(a, conn) : rc; /* it may have others */
}

/* ---- what is due ---- */

/* False: another rotation of this user has started not long ago, and r waits for its turn. */
static simplex_rc has_turn(struct simplex_agent *a, const struct sx_rotation_policy *p,
                           struct sx_user_rotation *u, struct sx_rotation *r, bool *yes)
{
    int64_t now = sx_now_ms(), waiting = 0;
    simplex_rc rc = sx_store_user_rotation_get(a->store, u->user, u);

    *yes = true;
    if (rc != SIMPLEX_OK) /* only connections have policies: the pause is theirs */
        return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
    /* Further ahead than any pause: the clock was set back. */
    if (u->next_at <= now || u->next_at - now > 2 * DAY)
        return SIMPLEX_OK;
    *yes = false;
    rc = sx_store_rotation_overdue(a->store, u->user, now, &waiting);
    sx_rotation_plan(r, u->next_at - now +
                            sx_up_to(pause_of_user(u, p) * (waiting < 1000 ? waiting : 1000)));
    return rc;
}

/* The turn is used up, and the pause begins. */
static simplex_rc started(struct simplex_agent *a, const struct sx_rotation_policy *p,
                          struct sx_user_rotation *u, struct sx_rotation *r)
{
    int64_t now = sx_now_ms();

    r->running = true;
    r->unlisted = false;
    r->counts.started++;
    plan_from(r, now, PATIENCE);
    u->next_at = now + pause_of_user(u, p);
    return sx_store_user_rotation_put(a->store, u);
}

static simplex_rc start(struct simplex_agent *a, const struct sx_conn *c, struct sx_rotation *r)
{
    struct sx_user_rotation u = { .user = c->user };
    struct sx_rotation_policy p;
    int64_t queue;
    bool mine, listed;
    simplex_rc rc = sx_rotation_policy(a, c->user, r, &p);

    if (rc == SIMPLEX_OK && !sx_rotates(&p)) { /* its user's was taken back */
        sx_rotation_never(r);
        return sx_rotation_put(a, r);
    }
    if (rc == SIMPLEX_OK)
        rc = has_turn(a, &p, &u, r, &mine);
    if (rc != SIMPLEX_OK)
        return rc;
    if (!mine)
        return sx_rotation_put(a, r);
    rc = sx_rotation_queue(a, c, &queue, &listed);
    if (rc == SIMPLEX_OK)
        rc = sx_switch_start(a, r->conn_id, queue, sx_bytes(NULL, 0));
    if (rc == SIMPLEX_OK)
        rc = started(a, &p, &u, r);
    else if (!sx_rc_is_store(rc)) { /* under way, out of step, or no servers: later, others now */
        sx_rotation_plan(r, around(sx_rotation_spread(&p), 50));
        rc = SIMPLEX_OK;
    }
    return rc == SIMPLEX_OK ? sx_rotation_put(a, r) : rc;
}

/* The peer did not come for its new queue, or the new server is gone: the old one stays until the
 * next try. Not once the sender was told to use the new one: then it only takes its time. */
static simplex_rc give_up(struct simplex_agent *a, struct sx_rotation *r)
{
    int32_t phase;
    simplex_rc rc = sx_rcv_switch_phase(a, r->conn_id, &phase);

    if (rc == SIMPLEX_OK && phase == 0) /* there is none: nothing would ever end it */
        return sx_rotation_ended(a, r->conn_id, false, SIMPLEX_E_TIMEOUT);
    if (rc == SIMPLEX_OK && phase < SIMPLEX_SWITCH_SECURED)
        return sx_switch_failed(a, r->conn_id, SIMPLEX_E_TIMEOUT, NULL);
    sx_rotation_plan(r, PATIENCE);
    return rc == SIMPLEX_OK ? sx_rotation_put(a, r) : rc;
}

static simplex_rc due(struct simplex_agent *a, int64_t conn)
{
    struct sx_rotation r;
    struct sx_conn c;
    simplex_rc rc = sx_store_rotation_get(a->store, conn, &r);

    if (rc == SIMPLEX_OK)
        rc = sx_store_conn_get(a->store, conn, &c);
    if (rc != SIMPLEX_OK)
        return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_E_DB_DAMAGED : rc;
    if (!sx_rotation_possible(&c)) { /* at its end, or not connected yet: sx_rotation_connected */
        sx_rotation_never(&r);
        return sx_rotation_put(a, &r);
    }
    return r.running ? give_up(a, &r) : start(a, &c, &r);
}

static simplex_rc run_due(struct simplex_agent *a)
{
    int64_t conn, at, now = sx_now_ms();
    simplex_rc rc = SIMPLEX_OK;

    a->rotation.at = INT64_MAX;
    for (int n = 0; rc == SIMPLEX_OK && n < SX_ROTATION_BATCH; n++) {
        rc = sx_store_rotation_first(a->store, &conn, &at);
        if (rc == SIMPLEX_OK && at > now)
            break;
        if (rc == SIMPLEX_OK)
            rc = due(a, conn);
    }
    if (rc == SIMPLEX_OK)
        rc = sx_store_rotation_first(a->store, &conn, &at);
    if (rc == SIMPLEX_OK) {
        int64_t in = at > now ? at - now : 0;
        a->rotation.at = sx_mono_ms() + (in < LOOK_AGAIN ? in : LOOK_AGAIN);
    }
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

void sx_rotation_run(struct simplex_agent *a)
{
    bool more;
    simplex_rc rc;

    if ((!a->rotation.changed && sx_mono_ms() < a->rotation.at) || a->recover_at != 0 ||
        a->cfg.read_only)
        return;
    rc = sx_handler_begin(a);
    if (rc != SIMPLEX_OK)
        return;
    rc = plan_again(a, &more);
    if (rc == SIMPLEX_OK && a->rotation.check)
        rc = sx_rotation_check_servers(a);
    if (rc == SIMPLEX_OK)
        rc = run_due(a);
    sx_handler_end(a, rc);
    /* what was written is seen */
    a->rotation.changed = rc == SIMPLEX_OK && (a->rotation.check || more);
    if (rc != SIMPLEX_OK) /* a row that makes no sense: not in every turn */
        a->rotation.at = sx_mono_ms() + LOOK_AGAIN;
    if (sx_store_dirty(a->store))
        sx_agent_lazy(a);
}

int64_t sx_rotation_alarm(const struct simplex_agent *a)
{
    return a->rotation.changed ? 0 : a->rotation.at;
}

simplex_rc sx_rotation_load(struct simplex_agent *a)
{
    a->rotation.at = INT64_MAX;
    sx_rotation_servers_changed(a); /* and what is due is looked at with it */
    return sx_store_rotation_by_count(a->store, &a->rotation.by_count);
}
