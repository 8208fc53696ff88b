/* SPDX-License-Identifier: Apache-2.0 */
/* What must be true of the events of all devices together. */
#include <stdio.h>

#include "sim/acts.h"

#define HEADER 12 /* "message " and its number */

/* Sides that went back in time, or a connection that one side gave up, explain a lot. */
static bool excused(const struct app_end *e)
{
    return e->dead || e->rolled || e->lost;
}

/* ---- messages ---- */

struct app_msg *app_shown(const struct app_end *e, int64_t msg_id)
{
    for (unsigned i = app.n_msgs; i-- > 0;) {
        struct app_msg *m = &app.msgs[i];
        if (m->from->peer == e && m->shown_id == msg_id)
            return m;
    }
    return NULL;
}

static struct app_msg *sent_as(const struct app_end *e, int64_t id)
{
    for (unsigned i = app.n_msgs; i-- > 0;) {
        struct app_msg *m = &app.msgs[i];
        if (m->from == e && m->id == id && m->state != APP_NOT_SENT)
            return m;
    }
    return NULL;
}

struct app_msg *app_of_body(const struct app_end *e, simplex_bytes body)
{
    struct sx_rd r = sx_rd_init(body);

    SIM_CHECK(sx_rd_lit(&r, "message "));
    uint32_t n = sx_rd_u32(&r);
    SIM_CHECK(!r.bad && n < app.n_msgs);
    for (size_t i = HEADER; i < body.len; i++)
        SIM_CHECK(body.ptr[i] == (uint8_t)(n + i));
    for (unsigned i = n; i < app.n_msgs && i < n + APP_ENDS; i++) {
        if (app.msgs[i].text == n && app.msgs[i].from->peer == e)
            return &app.msgs[i];
    }
    return &app.msgs[n];
}

/* Messages before m that were not shown; `told`: they are reported. */
static unsigned missing_before(const struct app_end *e, const struct app_msg *m, bool told)
{
    unsigned n = 0;

    for (unsigned i = 0; i < m->n; i++) {
        struct app_msg *x = &app.msgs[i];
        if (x->from != m->from || x->seq <= e->last_in || x->shown_id != 0 || x->excused ||
            x->state == APP_NOT_SENT)
            continue;
        if (told)
            x->reported = true;
        if (x->state == APP_MAYBE && !told)
            continue;
        if (!told && !excused(e))
            sim_fail("message %u is missing before %u on device %u, and nobody says so", x->n, m->n,
                     e->node->n);
        n++;
    }
    return n;
}

static void check_integrity(const struct app_end *e, const struct app_msg *m,
                            const simplex_event *ev)
{
    int64_t first, last;
    int32_t integrity = simplex_event_integrity(ev, &first, &last);
    unsigned missing = missing_before(e, m, integrity != SIMPLEX_MSG_OK);

    sim_trace("%u/%u message %u, integrity %d", e->node->n, e->n, m->n, integrity);
    if (integrity == SIMPLEX_MSG_OK || excused(e))
        return;
    if (integrity != SIMPLEX_MSG_SKIPPED)
        sim_fail("message %u has integrity %d", m->n, integrity);
    /* New keys that waited in vain for a queue that is away: whether they overtook something can
     * not be known. */
    if (missing == 0 && !app.expiry && !(e->synced && sim.queues > 1))
        sim_fail("message %u: a gap %" PRId64 "-%" PRId64 " that is none", m->n, first, last);
}

void app_on_message(struct app_end *e, const simplex_event *ev)
{
    struct app_msg *m = app_of_body(e, simplex_event_data(ev));
    int64_t id = simplex_event_msg_id(ev);

    if (m->from->peer != e)
        sim_fail("message %u arrives in another connection", m->n);
    if (m->state == APP_NOT_SENT)
        sim_fail("message %u was not sent", m->n);
    if (m->shown_id == id) {
        if (m->acked && !excused(e))
            sim_fail("message %u is shown after it was acknowledged", m->n);
        return; /* again, since it was not */
    }
    if (m->shown_id != 0)
        sim_fail("message %u is shown twice on device %u, as %" PRId64 " and %" PRId64, m->n,
                 e->node->n, m->shown_id, id);
    if (m->seq <= e->last_in && !excused(e))
        sim_fail("message %u is shown behind a later one", m->n);
    check_integrity(e, m, ev);
    if (m->reported && !excused(e))
        sim_fail("message %u is shown after it was reported missing", m->n);
    m->shown_id = id;
    m->shown_at = ++app.tick;
    e->last_in = m->seq;
    app.shown++;
}

/* Of a call that was interrupted nobody knows the number. */
static bool has_nameless(const struct app_end *e)
{
    for (unsigned i = 0; i < app.n_msgs; i++) {
        if (app.msgs[i].from == e && app.msgs[i].state == APP_MAYBE)
            return true;
    }
    return false;
}

static struct app_msg *named(struct app_end *e, const simplex_event *ev)
{
    struct app_msg *m = sent_as(e, simplex_event_msg_id(ev));

    if (m == NULL && !excused(e) && !has_nameless(e))
        sim_fail("end %u on %u: %s of an unknown message %" PRId64, e->n, e->node->n,
                 simplex_event_name(ev), simplex_event_msg_id(ev));
    return m;
}

void app_on_sent(struct app_end *e, const simplex_event *ev)
{
    struct app_msg *m = named(e, ev);

    if (m == NULL)
        return;
    if (m->merr && !excused(e))
        sim_fail("message %u: SENT after MERR", m->n);
    m->sent_event = true;
}

void app_on_merr(struct app_end *e, const simplex_event *ev)
{
    struct app_msg *m = named(e, ev);

    if (m == NULL)
        return;
    if (!excused(e) && (!app.expiry || m->sent_event))
        sim_fail("message %u: MERR %s %s", m->n, simplex_rc_name(simplex_event_error(ev)),
                 simplex_event_detail(ev));
    m->merr = true;
}

void app_on_rcvd(struct app_end *e, const simplex_event *ev)
{
    struct app_msg *m = named(e, ev);

    if (m == NULL)
        return;
    if (m->shown_id == 0 && !excused(e))
        sim_fail("message %u: a receipt, but it was not shown", m->n);
    if (simplex_event_receipt(ev) != SIMPLEX_RECEIPT_OK && !excused(e))
        sim_fail("message %u: a receipt of something else", m->n);
    m->rcvd = true;
}

/* What the interface says may happen. */
static bool is_documented(const struct app_end *e, simplex_rc rc, const char *detail)
{
    if (e == NULL)
        return false;
    if (rc == SIMPLEX_E_PROHIBITED && e->aborted && detail != NULL && strcmp(detail, "QK") == 0)
        return true; /* the peer's answer to a rotation that was given up */
    if (rc == SIMPLEX_E_SERVER && links_may_be_refused(e))
        return true;
    if (rc == SIMPLEX_E_PROHIBITED && e->synced && detail != NULL && detail[0] == 'Q')
        return true; /* a step of a rotation that a synchronisation came across */
    return rc == SIMPLEX_E_VERSION && sim_net_cfg.version != 0; /* a server without short links */
}

/* A confirmation whose answers were lost, in a queue for two or three messages: no reader is known
 * that would empty it. */
static bool is_full(const struct app_end *e, simplex_rc rc, const char *detail)
{
    return sim_net_cfg.quota != 0 && e->ready == 0 && rc == SIMPLEX_E_SERVER && detail != NULL &&
           strcmp(detail, "QUOTA") == 0;
}

void app_on_err(struct sim_node *n, struct app_end *e, const simplex_event *ev)
{
    simplex_rc rc = simplex_event_error(ev);
    const char *detail = simplex_event_detail(ev);

    sim_trace("%u/%d error %s %s", n->n, e != NULL ? (int)e->n : -1, simplex_rc_name(rc),
              detail != NULL ? detail : "");
    if (e != NULL && e->looking)
        links_on_error(e);
    if (e != NULL && is_full(e, rc, detail))
        app_connection_ended(e);
    if (app.faults || (e != NULL && (excused(e) || e->deleted)) || is_documented(e, rc, detail))
        return;
    sim_fail("device %u, end %d: ERR %s %s", n->n, e != NULL ? (int)e->n : -1, simplex_rc_name(rc),
             detail != NULL ? detail : "");
}

void app_on_rsync(struct app_end *e, const simplex_event *ev)
{
    e->sync = simplex_event_sync_state(ev);
    sim_trace("%u/%u sync state %d", e->node->n, e->n, e->sync);
    if (!excused(e) && !e->synced)
        sim_fail("end %u on %u: RSYNC %d without a cause", e->n, e->node->n, e->sync);
    if (simplex_event_error(ev) == SIMPLEX_E_SERVER)
        return; /* the peer's queue is gone: trying again at once would go on for ever */
    if (e->sync == SIMPLEX_SYNC_REQUIRED ||
        (e->sync == SIMPLEX_SYNC_ALLOWED && (app.prompt || sim_chance(50))))
        app_add_task(APP_SYNC, e, (int64_t)app.tick, 0);
}

/* ---- the end of a connection, and an old copy ---- */

void app_connection_ended(struct app_end *e)
{
    e->dead = true;
    if (e->peer != NULL)
        e->peer->dead = true;
    for (unsigned i = 0; i < app.n_ends; i++) { /* who is about to join, or was not heard yet */
        if (app.ends[i].offer == e && (e->role == APP_INVITER || app.ends[i].ready == 0))
            app.ends[i].dead = true;
    }
    if (e->role == APP_JOINER && e->offer != NULL)
        e->offer->dead = true;
}

static void roll_end(struct app_end *e, uint64_t tick)
{
    if (e->made > tick || e->id == 0)
        e->lost = true;
    if (e->deleted_at > tick)
        e->deleted = e->gone = false;
    e->off = true; /* perhaps */
    e->notify = APP_UNKNOWN;
    e->fetch_run = 0;
    if (e->role == APP_ADDRESS && !e->lost) {
        for (unsigned i = 0; i < app.n_ends; i++) {
            struct app_end *x = &app.ends[i];
            if (x->offer == e && x->node != e->node && (x->ready == 0 || x->ready > tick))
                app_connection_ended(x);
        }
        return;
    }
    /* A queue that was moved since is deleted: the copy knows of no other. */
    if (e->lost || e->ready == 0 || e->ready > tick || e->switched ||
        (e->peer != NULL && e->peer->switched)) {
        app_connection_ended(e);
        return;
    }
    e->rolled = true;
    e->last_in = -1;
    if (e->peer != NULL)
        e->peer->rolled = true;
}

static void roll_msg(struct sim_node *n, struct app_msg *m, uint64_t tick)
{
    if (m->from->node == n && m->sent_at > tick) {
        m->id = -1; /* forgotten: the number is given again */
        m->excused = true;
    }
    if (m->from->peer == NULL || m->from->peer->node != n || m->shown_id == 0)
        return;
    if (m->shown_at > tick) {
        m->shown_id = 0;
        m->acked = m->ack_pending = false;
        m->excused = true;
    } else if (m->seq > m->from->peer->last_in) {
        m->from->peer->last_in = m->seq;
    }
}

void app_rolled_back(struct sim_node *n, uint64_t tick)
{
    for (unsigned i = 0; i < app.n_ends; i++) {
        if (app.ends[i].node == n)
            roll_end(&app.ends[i], tick);
    }
    for (unsigned i = 0; i < app.n_msgs; i++)
        roll_msg(n, &app.msgs[i], tick);
    users_rolled_back(n, tick);
    links_rolled_back(n);
    database_rolled_back(n, tick);
    devices_rolled_back(n, tick);
    for (size_t i = 0; i < APP_TASKS; i++) { /* its events are shown again, with other numbers */
        struct app_task *t = &app.tasks[i];
        if (t->kind != 0 && t->end->node == n && t->made > tick)
            t->kind = 0;
    }
}

/* ---- the end of a run ---- */

static bool receipt_due(const struct app_msg *m)
{
    return m->receipt && m->acked && !m->rcvd && !excused(m->from) && !m->from->synced &&
           !app.expiry;
}

static bool msg_ended(const struct app_msg *m)
{
    const struct app_end *e = m->from;

    if (m->state != APP_SENT || m->excused || e->hostile || e->deleted || e->lost || m->merr)
        return true;
    if (receipt_due(m))
        return false;
    return m->sent_event || (e->rolled && m->shown_id != 0);
}

static bool expected(const struct app_end *e)
{
    if (e->dead || e->lost || e->deleted || e->id == 0)
        return false;
    switch (e->role) {
    case APP_INVITER:
        return e->peer != NULL;
    case APP_JOINER:
        return !e->looking || e->wants_join;
    case APP_REQUESTER:
        return e->accepted;
    case APP_ACCEPTER:
        return true;
    case APP_ADDRESS:
        break;
    }
    return false;
}

static bool end_ended(const struct app_end *e)
{
    if (push_fetching(e))
        return false;
    if (e->deleted && !e->lost)
        return e->gone || e->doubtful;
    if (e->dead || e->lost)
        return true;
    if (e->ready == 0)
        return !expected(e);
    return e->sync <= SIMPLEX_SYNC_ALLOWED; /* perhaps one message was bad: the next will tell */
}

bool app_settled(void)
{
    for (size_t i = 0; i < APP_TASKS; i++) {
        if (app.tasks[i].kind != 0)
            return false;
    }
    if (!users_settled() || !links_settled() || !ask_settled())
        return false;
    for (unsigned i = 0; i < app.n_ends; i++) {
        if (!end_ended(&app.ends[i]))
            return false;
    }
    for (unsigned i = 0; i < app.n_msgs; i++) {
        const struct app_msg *m = &app.msgs[i];
        if (!msg_ended(m))
            return false;
        if (m->probe && m->shown_id == 0)
            return false;
    }
    return true;
}

void app_describe(void)
{
    for (size_t i = 0; i < APP_TASKS; i++) {
        const struct app_task *t = &app.tasks[i];
        if (t->kind != 0)
            (void)fprintf(stderr, "task %d of end %u (%" PRId64 ")\n", (int)t->kind, t->end->n,
                          t->id);
    }
    for (unsigned i = 0; i < app.n_ends; i++) {
        const struct app_end *e = &app.ends[i];
        if (!end_ended(e))
            (void)fprintf(stderr,
                          "end %u on %u (connection %" PRId64 ", role %d, peer %d): ready %d, sync "
                          "%d, rolled %d, deleted %d\n",
                          e->n, e->node->n, e->id, (int)e->role,
                          e->peer != NULL ? (int)e->peer->n : -1, e->ready != 0, e->sync, e->rolled,
                          e->deleted);
    }
    for (unsigned i = 0; i < app.n_msgs; i++) {
        const struct app_msg *m = &app.msgs[i];
        if (!msg_ended(m) || (m->probe && m->shown_id == 0))
            (void)fprintf(stderr,
                          "message %u of end %u on %u (id %" PRId64
                          "): state %d, SENT %d, shown %d\n",
                          m->n, m->from->n, m->from->node->n, m->id, (int)m->state, m->sent_event,
                          m->shown_id != 0);
    }
}

void app_check_end(void)
{
    for (unsigned i = 0; i < app.n_msgs; i++) {
        const struct app_msg *m = &app.msgs[i];
        const struct app_end *e = m->from;
        if (m->state != APP_SENT || m->excused || excused(e) || e->deleted)
            continue;
        if (m->shown_id == 0 && !m->merr && !m->reported)
            sim_fail("message %u of end %u was lost", m->n, e->n);
        if (receipt_due(m))
            sim_fail("message %u: its receipt was lost", m->n);
    }
}
