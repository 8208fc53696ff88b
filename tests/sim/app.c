/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "agent/agent.h"
#include "sim/acts.h"

struct app app;

/* ---- ends ---- */

struct app_end *app_new_end(struct sim_node *n, enum app_role role)
{
    struct app_end *e = &app.ends[app.n_ends];

    SIM_CHECK(app.n_ends < APP_ENDS);
    memset(e, 0, sizeof *e);
    e->n = app.n_ends++;
    e->node = n;
    e->role = role;
    e->made = app.tick;
    e->last_in = -1;
    e->hostile = e->dead = sim.hostile == n;
    e->off = push_creates_only(n);
    e->notify = n->cfg.notifications ? APP_ON : APP_OFF;
    e->switched = app.rotates[n->n];
    return e;
}

void app_rotates(const struct sim_node *n)
{
    app.rotates[n->n] = true;
    for (unsigned i = 0; i < app.n_ends; i++)
        app.ends[i].switched = app.ends[i].switched || app.ends[i].node == n;
}

struct app_end *app_find(const struct sim_node *n, int64_t id)
{
    for (unsigned i = 0; i < app.n_ends; i++) {
        if (app.ends[i].node == n && app.ends[i].id == id && !app.ends[i].lost)
            return &app.ends[i];
    }
    return NULL;
}

void app_making(struct app_end *e)
{
    app.calling[e->node->n] = e;
}

void app_made(struct app_end *e, int64_t id)
{
    SIM_CHECK(e->id == 0 || e->id == id);
    app.calling[e->node->n] = NULL;
    e->id = id;
    e->made = ++app.tick;
}

bool app_usable(const struct app_end *e)
{
    return e->node->a != NULL && e->ready != 0 && !e->deleted && !e->lost && e->id != 0;
}

/* ---- what is done later ---- */

void app_add_task(enum app_kind kind, struct app_end *e, int64_t id, unsigned other)
{
    struct app_task *free_one = NULL;

    for (size_t i = 0; i < APP_TASKS; i++) {
        struct app_task *t = &app.tasks[i];
        if (t->kind == kind && t->end == e && t->id == id)
            return; /* an event that was shown again */
        if (t->kind == 0 && free_one == NULL)
            free_one = t;
    }
    SIM_CHECK(free_one != NULL);
    *free_one = (struct app_task){ .kind = kind,
                                   .end = e,
                                   .id = id,
                                   .other = other,
                                   .made = app.tick,
                                   .due = sim.now + (app.prompt ? 0 : sim_below(app.max_wait)) };
}

static void info_text(char letter, const struct app_end *e, char out[16])
{
    (void)snprintf(out, 16, "%c%u", letter, e->n);
}

static struct app_end *end_of_info(const simplex_event *ev)
{
    simplex_bytes info = simplex_event_data(ev);
    char text[16] = { 0 };

    SIM_CHECK(info.len > 1 && info.len < sizeof text);
    memcpy(text, info.ptr, info.len);
    unsigned long n = strtoul(text + 1, NULL, 10);
    SIM_CHECK(n < app.n_ends);
    return &app.ends[n];
}

/* Rollbacks make a call meaningless that was promised to be repeatable. */
static bool fits(const struct app_task *t, simplex_rc rc, simplex_rc expected)
{
    if (rc == SIMPLEX_OK || (app.faults && sx_rc_is_store(rc)))
        return rc == SIMPLEX_OK;
    if (rc == expected || t->end->dead || t->end->rolled || t->end->deleted)
        return true;
    sim_fail("task %d of end %u on %u: %s", (int)t->kind, t->end->n, t->end->node->n,
             simplex_rc_name(rc));
}

static bool do_allow(struct app_task *t)
{
    char info[16];

    info_text('I', t->end, info);
    simplex_rc rc = simplex_agent_allow(t->end->node->a, t->end->id, t->id, sx_str(info));
    if (!fits(t, rc, SIMPLEX_OK))
        return false;
    if (rc == SIMPLEX_OK)
        t->end->allowed = true;
    return true;
}

static bool do_accept(struct app_task *t)
{
    struct sim_node *n = t->end->node;
    struct app_end *asker = &app.ends[t->other], *e = asker->peer;
    char info[16];
    int64_t id;

    if (e == NULL) {
        e = app_new_end(n, APP_ACCEPTER);
        e->offer = t->end;
        e->peer = asker;
        asker->peer = e;
        e->dead = asker->dead; /* it was deleted meanwhile */
    }
    info_text('A', e, info);
    app_making(e);
    int32_t pq = app.pq ? act_any_pq() : SIMPLEX_PQ_OFF;
    simplex_rc rc = simplex_agent_accept(n->a, t->id, sx_str(info), pq, &id);
    app_made(e, rc == SIMPLEX_OK ? id : e->id);
    if (!fits(t, rc, SIMPLEX_E_NOT_FOUND))
        return false;
    if (rc != SIMPLEX_OK) {
        e->dead = asker->dead = true;
        return true;
    }
    asker->accepted = true;
    return true;
}

static bool do_reject(struct app_task *t)
{
    simplex_rc rc = simplex_agent_reject(t->end->node->a, t->id);

    if (!fits(t, rc, SIMPLEX_E_NOT_FOUND))
        return false;
    app.ends[t->other].dead = true;
    return true;
}

static bool do_ack(struct app_task *t)
{
    struct app_msg *m = app_shown(t->end, t->id);
    struct sim_node *n = t->end->node;
    bool receipt = t->receipt;
    simplex_rc rc;

    if (receipt)
        rc = simplex_agent_ack_receipt(n->a, t->end->id, t->id, sx_bytes(NULL, 0));
    else
        rc = simplex_agent_ack(n->a, t->end->id, t->id);
    if (!fits(t, rc, SIMPLEX_OK))
        return false;
    if (m != NULL && rc == SIMPLEX_OK) {
        m->receipt = receipt;
        m->acked = !sim.looping;
        m->ack_pending = sim.looping;
    }
    return true;
}

static bool do_sync(struct app_task *t)
{
    simplex_rc rc = simplex_agent_sync_ratchet(t->end->node->a, t->end->id, false);

    /* The peer was quicker, or a message could be read after all. */
    if (!fits(t, rc, SIMPLEX_E_PROHIBITED))
        return false;
    t->end->synced = true;
    if (t->end->peer != NULL)
        t->end->peer->synced = true;
    return true;
}

static bool do_join(struct app_task *t)
{
    struct app_end *e = t->end;
    simplex_connection_info now = { .size = sizeof now };
    char info[16];
    int64_t id;

    /* An address can be asked any number of times: perhaps it was, when the device died. */
    simplex_rc rc = simplex_agent_connection(e->node->a, e->id, &now);
    if (rc == SIMPLEX_OK && now.state != SIMPLEX_CONN_LOOKED)
        return true;
    info_text('J', e, info);
    rc = simplex_agent_join(e->node->a, sx_str(e->short_link), sx_str(info),
                            app.pq ? act_any_pq() : SIMPLEX_PQ_OFF, &id);
    if (!fits(t, rc, SIMPLEX_OK))
        return false;
    SIM_CHECK(rc != SIMPLEX_OK || id == e->id);
    return true;
}

static void do_task(struct sim_node *n, void *arg)
{
    static bool (*const by_kind[])(struct app_task *) = {
        [APP_ALLOW] = do_allow, [APP_ACCEPT] = do_accept, [APP_REJECT] = do_reject,
        [APP_ACK] = do_ack,     [APP_SYNC] = do_sync,     [APP_JOIN] = do_join,
    };
    struct app_task *t = arg;

    (void)n;
    if (by_kind[t->kind](t))
        t->kind = 0;
    else
        t->due = sim.now + 500;
}

static void do_due_tasks(void)
{
    for (size_t i = 0; i < APP_TASKS; i++) {
        struct app_task *t = &app.tasks[i];
        if (t->kind == 0)
            continue;
        if (t->end->lost || t->end->deleted)
            t->kind = 0;
        else if (!push_peeking(t->end->node) && t->end->node->a != NULL &&
                 !rest_asleep(t->end->node) && t->due <= sim.now && t->end->id != 0)
            (void)sim_app(t->end->node, do_task, t);
    }
}

/* ---- sending ---- */

struct app_msg *app_new_msg(struct app_end *e, bool probe)
{
    struct app_msg *m = &app.msgs[app.n_msgs];

    if (app.n_msgs == APP_MSGS)
        return NULL;
    memset(m, 0, sizeof *m);
    m->n = m->text = app.n_msgs++;
    m->from = e;
    m->seq = e->n_out++;
    m->sent_at = ++app.tick;
    m->probe = probe;
    return m;
}

simplex_bytes app_body(const struct app_msg *m, size_t len, uint8_t to[APP_BODY])
{
    struct sx_wr w;

    sx_wr_fixed(&w, to, APP_BODY);
    sx_wr_text(&w, "message ");
    sx_wr_u32(&w, m->text);
    while (w.len < len)
        sx_wr_u8(&w, (uint8_t)(m->text + w.len));
    SIM_CHECK(!w.bad);
    return sx_wr_bytes(&w);
}

void app_sent(struct app_msg *m, simplex_rc rc)
{
    const struct app_end *e = m->from;

    m->state = rc != SIMPLEX_OK ? APP_NOT_SENT : sim.looping ? APP_PENDING : APP_SENT;
    sim_trace("%u/%u sends %u: %s, id %" PRId64, e->node->n, e->n, m->n, simplex_rc_name(rc),
              m->id);
    if (rc == SIMPLEX_OK || (app.faults && sx_rc_is_store(rc)) || e->hostile)
        return;
    SIM_CHECK(!m->probe);
    if (rc == SIMPLEX_E_SUSPENDED && rest_going(e->node))
        return;
    if (rc != SIMPLEX_E_PROHIBITED || (!e->synced && !e->rolled && !e->dead))
        sim_fail("end %u on %u cannot send: %s", e->n, e->node->n, simplex_rc_name(rc));
}

void app_send_flags(struct app_end *e, size_t len, bool probe, uint32_t flags)
{
    static uint8_t body[APP_BODY];
    struct app_msg *m = app_new_msg(e, probe);

    if (m == NULL)
        return;
    flags |= m->n % 2 == 0 ? SIMPLEX_SEND_NOTIFY : 0;
    simplex_rc rc = simplex_agent_send(e->node->a, e->id, app_body(m, len, body), flags, &m->id);
    app_sent(m, rc);
}

void app_send_now(struct app_end *e, size_t len, bool probe)
{
    app_send_flags(e, len, probe, app.pq && !probe ? pq_any_flag() : 0);
}

struct sending {
    struct app_end *e;
    size_t len;
    bool probe;
};

static void send_in(struct sim_node *n, void *arg)
{
    const struct sending *s = arg;

    (void)n;
    app_send_now(s->e, s->len, s->probe);
}

void app_send(struct app_end *e, size_t len, bool probe)
{
    struct sending s = { e, len, probe };

    (void)sim_app(e->node, send_in, &s);
}

/* ---- events ---- */

static void keep_link(char to[APP_LINK], const simplex_event *ev)
{
    simplex_bytes link = simplex_event_data(ev);

    SIM_CHECK(link.len < APP_LINK);
    if (link.len > 0)
        memcpy(to, link.ptr, link.len);
    to[link.len] = 0;
}

static void on_conf(struct app_end *e, const simplex_event *ev)
{
    struct app_end *other = end_of_info(ev);

    if (e->role == APP_INVITER ? other->offer != e : other->peer != e)
        sim_fail("end %u on %u (role %d): CONF of end %u, role %d peer %d", e->n, e->node->n,
                 (int)e->role, other->n, (int)other->role, other->peer ? (int)other->peer->n : -1);
    if (e->peer != NULL && e->peer != other)
        sim_fail("a second joiner for end %u", e->n);
    e->peer = other;
    other->peer = e;
    app_add_task(APP_ALLOW, e, simplex_event_conf(ev), other->n);
}

static void on_req(struct app_end *e, const simplex_event *ev)
{
    struct app_end *other = end_of_info(ev);
    bool reject = other->n % 10 == 9; /* the same when it is shown again */

    SIM_CHECK(e->role == APP_ADDRESS && other->offer == e);
    if (other->accepted || (other->dead && !other->rolled && !e->rolled))
        return;
    app_add_task(reject ? APP_REJECT : APP_ACCEPT, e, simplex_event_request(ev), other->n);
}

static void on_con(struct app_end *e)
{
    if (e->ready != 0)
        return;
    e->ready = ++app.tick;
}

static void on_msg(struct app_end *e, const simplex_event *ev)
{
    app_on_message(e, ev);
    app_add_task(APP_ACK, e, simplex_event_msg_id(ev), 0);
    for (size_t i = 0; i < APP_TASKS; i++) {
        struct app_task *t = &app.tasks[i];
        if (t->kind != APP_ACK || t->end != e || t->id != simplex_event_msg_id(ev))
            continue;
        t->receipt = sim_chance(50);
        if (sim.looping && sim_chance(50))
            do_task(e->node, t);
    }
    if (app.replies && !app.prompt && sim_chance(10) && app_usable(e) && e->sync == 0)
        app_send_now(e, 20, false);
}

static void on_switch(struct app_end *e, const simplex_event *ev)
{
    int32_t direction;
    int32_t phase = simplex_event_switch(ev, &direction);

    e->switched = true;
    sim_trace("%u/%u switch %d: %d %s", e->node->n, e->n, direction, phase,
              simplex_rc_name(simplex_event_error(ev)));
}

void app_event(struct sim_node *n, const simplex_event *ev)
{
    struct app_end *e = simplex_event_conn(ev) != 0 ? app_find(n, simplex_event_conn(ev)) : NULL;
    int32_t kind = simplex_event_kind(ev);

    app.tick++;
    sim_trace("%u/%d %s %" PRId64 " %s", n->n, e != NULL ? (int)e->n : -1, simplex_event_name(ev),
              simplex_event_msg_id(ev), simplex_rc_name(simplex_event_error(ev)));
    if (e != NULL && e->hostile) {
        if (kind == SIMPLEX_EV_MSG)
            app_add_task(APP_ACK, e, simplex_event_msg_id(ev), 0);
        return;
    }
    if (kind == SIMPLEX_EV_ERR) {
        app_on_err(n, e, ev);
        return;
    }
    if (kind == SIMPLEX_EV_DEL_USER)
        users_on_deleted(n, simplex_event_user(ev));
    if (e == NULL) /* of all connections, or one whose making was interrupted */
        return;
    switch (kind) {
    case SIMPLEX_EV_INV:
        keep_link(e->link, ev);
        break;
    case SIMPLEX_EV_LINK:
        keep_link(e->short_link, ev);
        break;
    case SIMPLEX_EV_LDATA:
        links_on_data(e, ev);
        if (e->wants_join)
            app_add_task(APP_JOIN, e, 0, 0);
        break;
    case SIMPLEX_EV_CONF:
        on_conf(e, ev);
        break;
    case SIMPLEX_EV_REQ:
        on_req(e, ev);
        break;
    case SIMPLEX_EV_INFO:
        SIM_CHECK(e->peer == NULL || e->peer == end_of_info(ev));
        e->peer = end_of_info(ev);
        break;
    case SIMPLEX_EV_CON:
        on_con(e);
        break;
    case SIMPLEX_EV_MSG:
        on_msg(e, ev);
        break;
    case SIMPLEX_EV_SENT:
        app_on_sent(e, ev);
        break;
    case SIMPLEX_EV_MERR:
        app_on_merr(e, ev);
        break;
    case SIMPLEX_EV_RCVD:
        app_on_rcvd(e, ev);
        break;
    case SIMPLEX_EV_RSYNC:
        app_on_rsync(e, ev);
        break;
    case SIMPLEX_EV_SWITCH:
        on_switch(e, ev);
        break;
    case SIMPLEX_EV_QINFO:
        ask_on_info(e, ev);
        break;
    case SIMPLEX_EV_FETCHED:
        push_on_fetched(e, ev);
        break;
    case SIMPLEX_EV_PEEKED:
        push_on_peeked(e, ev);
        break;
    case SIMPLEX_EV_DEL_CONN:
        SIM_CHECK(e->deleted);
        e->gone = true;
        break;
    case SIMPLEX_EV_END: /* or what the run before sent arrives behind what this one sent */
    case SIMPLEX_EV_DELD:
        if (!e->rolled && !e->dead && (n->runs == 1 || simplex_event_kind(ev) == SIMPLEX_EV_DELD))
            sim_fail("end %u on %u: %s", e->n, n->n, simplex_event_name(ev));
        break;
    default:
        break;
    }
}

static void call_back(void *user, const simplex_event *ev)
{
    app_event(user, ev);
}

static void pull(struct sim_node *n, void *arg)
{
    simplex_event *ev;

    (void)arg;
    while (!rest_asleep(n) && simplex_agent_next_event(n->a, 0, &ev) == SIMPLEX_OK) {
        app_event(n, ev);
        simplex_event_free(ev);
    }
}

void app_pump(void)
{
    for (unsigned i = 0; i < sim.n_nodes; i++) {
        struct sim_node *n = &sim.nodes[i];
        rest_check(n);
        if (n->a != NULL && n->a->pulled != NULL && !rest_asleep(n))
            (void)sim_app(n, pull, NULL);
    }
    do_due_tasks();
}

/* ---- starting ---- */

/* What an interrupted call made is found by its number. */
static void adopt(struct sim_node *n, void *arg)
{
    int64_t ids[APP_ENDS];
    size_t count = SX_COUNT(ids);
    simplex_rc rc = simplex_agent_connections(n->a, 0, ids, &count);

    (void)arg;
    if (rc != SIMPLEX_OK && app.faults)
        return;
    SIM_CHECK(rc == SIMPLEX_OK);
    for (size_t i = 0; i < count; i++) {
        struct app_end *e = app_find(n, ids[i]);
        if (e != NULL)
            continue;
        e = app.calling[n->n];
        if (e == NULL || e->id != 0)
            sim_fail("device %u: connection %" PRId64 " was never made", n->n, ids[i]);
        app_made(e, ids[i]);
        sim_trace("%u/%u is connection %" PRId64, n->n, e->n, e->id);
    }
    struct app_end *e = app.calling[n->n];
    app.calling[n->n] = NULL;
    if (e != NULL && e->id == 0 && e->role != APP_ACCEPTER)
        e->lost = true; /* it was not made; accepting is tried again */
}

void app_start(struct sim_node *n)
{
    n->cfg.on_event = app.calls_back[n->n] ? call_back : NULL;
    n->cfg.user = n;
    plan_configure(n);
    for (unsigned tries = 0; sim_start(n) != SIMPLEX_OK && tries < 3; tries++)
        continue;
    if (n->a != NULL)
        (void)sim_app(n, adopt, NULL);
}

/* What callbacks did counts when it is committed. */
static void committed(struct sim_node *n)
{
    for (unsigned i = 0; i < app.n_msgs; i++) {
        struct app_msg *m = &app.msgs[i];
        if (m->from->node == n && m->state == APP_PENDING)
            m->state = APP_SENT;
        if (m->ack_pending && m->from->peer != NULL && m->from->peer->node == n) {
            m->ack_pending = false;
            m->acked = true;
        }
    }
}

static void undone(struct sim_node *n)
{
    for (unsigned i = 0; i < app.n_msgs; i++) {
        struct app_msg *m = &app.msgs[i];
        if (m->from->node == n && m->state == APP_PENDING)
            m->state = APP_NOT_SENT;
        if (m->from->node == n && m->state == APP_SENDING)
            m->state = APP_MAYBE;
        if (m->ack_pending && m->from->peer != NULL && m->from->peer->node == n) {
            m->ack_pending = false;
            app_add_task(APP_ACK, m->from->peer, m->shown_id, 0);
        }
    }
}

void app_open(void)
{
    memset(app.tasks, 0, sizeof app.tasks);
    memset(app.calls_back, 0, sizeof app.calls_back);
    memset(app.calling, 0, sizeof app.calling);
    memset(app.rotates, 0, sizeof app.rotates);
    users_open();
    push_open();
    links_open();
    database_open();
    ask_open();
    app.tick = 1;
    app.n_ends = app.n_msgs = 0;
    app.prompt = app.faults = app.expiry = app.replies = app.kills = app.pq = false;
    app.max_wait = 10000;
    app.shown = 0;
    sim.committed = committed;
    sim.undone = undone;
}
