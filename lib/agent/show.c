/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events on their way to the application. Durable events are rows: written with what caused them,
 * shown after the commit in the order of their ids, deleted when the callback returned or the
 * pulled event was freed. A message received is such a row too, in its own table, deleted when it
 * is acknowledged. After a crash what is left is shown again.
 */
#include "agent/event.h"
#include "agent/farewell.h"
#include "agent/network.h"
#include "agent/unread.h"

#define PULL_AHEAD 128 /* events waiting in memory in pull mode; the rest waits in the database */
#define SHOW_AT_ONCE 32

/* Events of a connection go with its row; these tell of its end. */
static simplex_rc outlives(struct simplex_agent *a, const struct simplex_event *ev, bool *yes)
{
    *yes = false;
    switch (ev->kind) {
    case SIMPLEX_EV_DEL_CONN:
    case SIMPLEX_EV_DEL_RCVQ:
        *yes = true;
        return SIMPLEX_OK;
    case SIMPLEX_EV_SENT:
    case SIMPLEX_EV_MERR:
        return sx_farewell_waits(a, ev->conn, yes);
    default:
        return SIMPLEX_OK;
    }
}

simplex_rc sx_emit(struct simplex_agent *a, struct simplex_event *ev)
{
    struct sx_event_row row = { .conn_id = ev->conn, .of_peer = sx_event_is_of_peer(ev->kind) };
    struct sx_wr w;
    bool alone;
    simplex_rc rc = outlives(a, ev, &alone);

    if (alone)
        row.conn_id = 0;
    sx_wr_init(&w, 80000);
    sx_event_encode(&w, ev);
    row.data = sx_wr_bytes(&w);
    if (rc == SIMPLEX_OK)
        rc = w.bad || ev->data.bad ? SIMPLEX_E_NOMEM : sx_store_event_add(a->store, &row);
    sx_wr_free(&w);
    if (rc == SIMPLEX_OK && a->uncommitted == 0)
        a->uncommitted = row.id;
    /* Nobody waits for SENT: its commit is shared with what comes within a few milliseconds. */
    if (ev->kind == SIMPLEX_EV_SENT)
        sx_agent_lazy(a);
    else
        a->must_commit = true;
    a->events_due = true;
    sx_event_clear(ev);
    return rc;
}

void sx_emit_message(struct simplex_agent *a, int64_t seq)
{
    if (a->uncommitted == 0)
        a->uncommitted = seq;
    a->must_commit = true;
    a->events_due = true;
}

/* In pull mode, what a host that does not look can do without. */
static bool matters(int32_t kind)
{
    return kind != SIMPLEX_EV_MWARN && kind != SIMPLEX_EV_QCONT && kind != SIMPLEX_EV_CONNECT &&
           kind != SIMPLEX_EV_DISCONNECT;
}

static size_t count_pulled(struct simplex_agent *a)
{
    size_t n;

    uv_mutex_lock(&a->lock);
    n = a->n_pulled;
    uv_mutex_unlock(&a->lock);
    return n;
}

void sx_emit_made(struct simplex_agent *a, struct simplex_event *ev)
{
    /* answers that come too late, the end of sessions */
    if (sx_ending(a, SX_SUSPENDED) && ev->kind != SIMPLEX_EV_SUSPENDED) {
        sx_event_delete(ev);
        return;
    }
    ev->next = NULL;
    *a->transient_end = ev;
    a->transient_end = &ev->next;
}

void sx_emit_now(struct simplex_agent *a, struct simplex_event *ev)
{
    bool full = !matters(ev->kind) && count_pulled(a) >= PULL_AHEAD;
    struct simplex_event *room = full || ev->data.bad ? NULL : sx_malloc(sizeof *room);

    if (room == NULL) {
        sx_log(SX_LOG_WARN, "agent: no room for an event");
        sx_event_clear(ev);
        return;
    }
    *room = *ev;
    sx_emit_made(a, room);
}

simplex_rc sx_emit_simple(struct simplex_agent *a, int32_t kind, int64_t conn)
{
    struct simplex_event ev;

    sx_event_init(&ev, kind, conn);
    return sx_emit(a, &ev);
}

simplex_rc sx_emit_err(struct simplex_agent *a, int64_t conn, simplex_rc why, const char *detail)
{
    return sx_emit_err_of(a, conn, NULL, why, detail);
}

simplex_rc sx_emit_err_of(struct simplex_agent *a, int64_t conn, const struct sx_server *server,
                          simplex_rc why, const char *detail)
{
    struct simplex_event ev;
    bool too_many;
    simplex_rc rc = sx_events_wait(a, conn, &too_many);

    /* What a server says, or who writes to an address, must not fill the database either. */
    if (rc != SIMPLEX_OK || too_many)
        return rc;
    sx_event_init(&ev, SIMPLEX_EV_ERR, conn);
    ev.rc = why;
    if (server != NULL)
        sx_event_set_server(&ev, server);
    sx_event_set_detail(&ev, detail);
    return sx_emit(a, &ev);
}

simplex_rc sx_emit_rsync(struct simplex_agent *a, const struct sx_conn *c, simplex_rc why,
                         const char *detail)
{
    struct simplex_event ev;
    bool too_many;
    simplex_rc rc = sx_events_wait(a, c->id, &too_many);

    if (rc != SIMPLEX_OK || too_many) /* the connection tells its state too */
        return rc;
    sx_event_init(&ev, SIMPLEX_EV_RSYNC, c->id);
    ev.conf = c->sync_state;
    ev.rc = why;
    sx_event_set_detail(&ev, detail);
    return sx_emit(a, &ev);
}

/* ---- reading them back ---- */

static simplex_rc load_message(struct simplex_agent *a, const struct sx_event_row *row,
                               struct simplex_event *ev)
{
    struct sx_rcv_msg_row m;
    simplex_rc rc = sx_store_rcv_msg_get(a->store, row->conn_id, row->msg_id, &m);

    sx_event_init(ev, SIMPLEX_EV_MSG, row->conn_id);
    if (rc != SIMPLEX_OK)
        return rc;
    ev->msg_id = row->msg_id;
    sx_wr_raw(&ev->data, m.body);
    ev->integrity = m.integrity;
    ev->gap_first = m.gap_first;
    ev->gap_last = m.gap_last;
    ev->ext_id = m.ext_id;
    ev->srv_ts = m.srv_ts;
    ev->notify = m.notify;
    ev->pq = m.pq;
    return ev->data.bad ? SIMPLEX_E_NOMEM : SIMPLEX_OK;
}

/* The next durable event. A row that makes no sense is skipped, never repeated for ever. */
static simplex_rc load_next(struct simplex_agent *a, struct simplex_event *ev)
{
    for (;;) {
        struct sx_event_row row;
        if (a->uncommitted != 0 && a->shown + 1 >= a->uncommitted)
            return SIMPLEX_E_NO_EVENT;
        simplex_rc rc = sx_store_event_next(a->store, a->shown, &row);
        if (rc != SIMPLEX_OK)
            return rc;
        int64_t id = row.id;
        if (a->uncommitted != 0 && id >= a->uncommitted)
            return SIMPLEX_E_NO_EVENT; /* not before it is on disk */
        rc = row.msg_id != 0 ? load_message(a, &row, ev) : sx_event_decode(row.data, ev);
        if (sx_rc_is_store(rc) && rc != SIMPLEX_E_DB_DAMAGED) { /* of the moment */
            sx_event_clear(ev);
            return rc;
        }
        a->shown = id;
        ev->row = id;
        if (rc == SIMPLEX_OK)
            return rc;
        sx_event_clear(ev);
        if (rc != SIMPLEX_E_NOT_FOUND)
            sx_log(SX_LOG_ERROR, "agent: an event cannot be read: %s", simplex_rc_name(rc));
    }
}

static void handled(struct simplex_agent *a, const struct simplex_event *ev)
{
    simplex_rc rc;

    if (ev->row == 0 || ev->kind == SIMPLEX_EV_MSG)
        return;
    rc = sx_handler_begin(a);
    if (rc != SIMPLEX_OK)
        return;
    rc = sx_store_event_delete(a->store, ev->row);
    if (rc == SIMPLEX_OK)
        rc = sx_unread_less(a, ev->conn);
    sx_handler_end(a, rc);
    sx_agent_lazy(a);
}

static void no_event(struct simplex_agent *a, simplex_rc rc)
{
    if (rc == SIMPLEX_E_NO_EVENT) /* after the commit there is */
        return;
    a->events_due = false;
    if (rc != SIMPLEX_E_NOT_FOUND)
        sx_agent_store_failed(a, rc);
}

/* ---- callback mode ---- */

static void call_back(struct simplex_agent *a, struct simplex_event *ev)
{
    a->life.in_callback = true;
    a->cfg.on_event(a->cfg.user, ev);
    a->life.in_callback = false;
    handled(a, ev);
    if (!a->failed && !sx_store_in_transaction(a->store))
        a->handled = a->shown; /* nothing of it waits for a commit */
}

static bool show_one(struct simplex_agent *a)
{
    struct simplex_event ev, *t = a->transient;

    if (t != NULL) {
        a->transient = t->next;
        if (t->next == NULL)
            a->transient_end = &a->transient;
        call_back(a, t);
        sx_event_clear(t);
        sx_free(t);
        return true;
    }
    if (!a->events_due || sx_ending(a, SX_SUSPENDED))
        return false;
    simplex_rc rc = load_next(a, &ev);
    if (rc != SIMPLEX_OK) {
        no_event(a, rc);
        return false;
    }
    call_back(a, &ev);
    sx_event_clear(&ev);
    return true;
}

/* ---- pull mode ---- */

static void push_pulled(struct simplex_agent *a, struct simplex_event *ev)
{
    ev->agent = a;
    ev->next = NULL;
    uv_mutex_lock(&a->lock);
    *a->pulled_end = ev;
    a->pulled_end = &ev->next;
    a->n_pulled++;
    uv_cond_broadcast(&a->changed);
    uv_mutex_unlock(&a->lock);
}

static bool queue_one(struct simplex_agent *a)
{
    struct simplex_event *ev = a->transient;

    if (ev != NULL) {
        a->transient = ev->next;
        if (ev->next == NULL)
            a->transient_end = &a->transient;
        push_pulled(a, ev);
        return true;
    }
    if (!a->events_due || sx_ending(a, SX_SUSPENDED) || count_pulled(a) >= PULL_AHEAD)
        return false;
    ev = sx_malloc(sizeof *ev);
    if (ev == NULL)
        return false;
    simplex_rc rc = load_next(a, ev);
    if (rc != SIMPLEX_OK) {
        sx_free(ev);
        no_event(a, rc);
        return false;
    }
    push_pulled(a, ev);
    return true;
}

/* A few at a time: what the callback wrote is committed together, then come the next. */
bool sx_show_events(struct simplex_agent *a)
{
    bool shown = false;

    for (int i = 0; i < SHOW_AT_ONCE && !a->failed; i++) {
        if (!(a->cfg.on_event != NULL ? show_one(a) : queue_one(a)))
            break;
        shown = true;
    }
    return shown;
}

bool sx_events_due(struct simplex_agent *a)
{
    return a->transient != NULL ||
           (a->events_due && (a->cfg.on_event != NULL || count_pulled(a) < PULL_AHEAD));
}

void sx_events_drop(struct simplex_agent *a)
{
    struct simplex_event *lists[] = { a->transient, a->pulled, a->freed };

    for (size_t i = 0; i < SX_COUNT(lists); i++) {
        while (lists[i] != NULL) {
            struct simplex_event *next = lists[i]->next;
            sx_event_clear(lists[i]);
            sx_free(lists[i]);
            lists[i] = next;
        }
    }
    a->transient = a->pulled = a->freed = NULL;
    a->transient_end = &a->transient;
    a->pulled_end = &a->pulled;
}

simplex_rc simplex_agent_next_event(simplex_agent *a, int64_t timeout_ms, simplex_event **out)
{
    int64_t until = sx_mono_ms() + (timeout_ms < SX_MS_MAX ? timeout_ms : SX_MS_MAX);
    simplex_event *ev;
    bool closing;

    if (out == NULL)
        return SIMPLEX_E_ARG;
    *out = NULL;
    if (a == NULL)
        return SIMPLEX_E_ARG;
    if (a->cfg.on_event != NULL)
        return SIMPLEX_E_PROHIBITED;
    uv_mutex_lock(&a->lock);
    a->inside++;
    while (a->pulled == NULL && !a->closing && timeout_ms != 0) {
        int64_t left = timeout_ms < 0 ? 3600000 : until - sx_mono_ms();
        if (left <= 0)
            break;
        (void)uv_cond_timedwait(&a->changed, &a->lock, (uint64_t)left * 1000000);
    }
    closing = a->closing;
    ev = closing ? NULL : a->pulled;
    if (ev != NULL) {
        a->pulled = ev->next;
        if (a->pulled == NULL)
            a->pulled_end = &a->pulled;
        ev->next = NULL;
        if (a->n_pulled-- == PULL_AHEAD)
            (void)uv_async_send(&a->wake); /* there is room again */
    }
    sx_agent_leave(a);
    *out = ev;
    return ev != NULL ? SIMPLEX_OK : closing ? SIMPLEX_E_CLOSED : SIMPLEX_E_NO_EVENT;
}

void simplex_event_free(simplex_event *ev)
{
    struct simplex_agent *a;

    if (ev == NULL)
        return;
    a = ev->agent;
    uv_mutex_lock(&a->lock);
    ev->next = a->freed;
    a->freed = ev;
    if (ev->next == NULL)
        (void)uv_async_send(&a->wake);
    uv_mutex_unlock(&a->lock);
}

/* Events the host has freed since the last turn: their rows go with the next commit. */
void sx_events_freed(struct simplex_agent *a)
{
    struct simplex_event *ev, *next;

    if (a->cfg.on_event != NULL)
        return;
    uv_mutex_lock(&a->lock);
    ev = a->freed;
    a->freed = NULL;
    uv_mutex_unlock(&a->lock);
    for (; ev != NULL; ev = next) {
        next = ev->next;
        handled(a, ev);
        sx_event_clear(ev);
        sx_free(ev);
    }
}
