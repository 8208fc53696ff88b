/* SPDX-License-Identifier: Apache-2.0 */
/* Events: how one is made, stored and shown to the application. */
#ifndef SX_AGENT_EVENT_H
#define SX_AGENT_EVENT_H

#include "agent/agent.h"

/* ---- event.c ---- */

struct simplex_event {
    int64_t row; /* of the events table; 0: not durable */
    struct simplex_agent *agent; /* pulled events: whom to tell that it was handled */
    struct simplex_event *next;  /* in the queue of pull mode */
    int32_t kind;
    int64_t conn, msg_id;
    int64_t conf; /* of REQ the request, of RSYNC the state, of DEL_USER the user */
    int64_t user;          /* of events that are not durable */
    struct sx_wr data; /* owned */
    char *server;      /* owned, may be NULL */
    char *detail;      /* owned, may be NULL */
    simplex_rc rc;
    int32_t direction, phase; /* SWITCH */
    bool pq, notify;
    int32_t status;    /* of a receipt */
    simplex_queue_status queue; /* QINFO */
    int32_t integrity;
    int64_t gap_first, gap_last, ext_id, srv_ts;
    int64_t *conns; /* owned */
    size_t n_conns;
    char *json; /* owned, made when asked for */
};

void sx_event_init(struct simplex_event *ev, int32_t kind, int64_t conn);
void sx_event_clear(struct simplex_event *ev); /* frees what it owns, wipes */
/* On the heap, for sx_emit_made; NULL without memory. */
struct simplex_event *sx_event_new(int32_t kind, int64_t conn);
void sx_event_delete(struct simplex_event *ev); /* may be NULL */
/* Without memory they mark ev as bad, and sx_emit fails: an application decides by what these say.
 * detail may be NULL. */
void sx_event_set_server(struct simplex_event *ev, const struct sx_server *server);
void sx_event_set_detail(struct simplex_event *ev, const char *detail);
void sx_event_encode(struct sx_wr *w, const struct simplex_event *ev);
simplex_rc sx_event_decode(simplex_bytes in, struct simplex_event *ev) SIMPLEX_CHECK;

/* ---- show.c: events to the application ---- */

/* The row of a received message is its event: `seq` is what sx_store_rcv_msg_add gave it. */
void sx_emit_message(struct simplex_agent *a, int64_t seq);
/* Durable: stored with the rows of this turn, shown after the commit. Takes over ev. */
simplex_rc sx_emit(struct simplex_agent *a, struct simplex_event *ev) SIMPLEX_CHECK;
/* Not durable: shown when the turn ends. Takes over ev; dropped when out of memory. */
void sx_emit_now(struct simplex_agent *a, struct simplex_event *ev);
/* The same for one of sx_event_new, made when it was promised: what is waited for must not get lost
 * for want of memory. */
void sx_emit_made(struct simplex_agent *a, struct simplex_event *ev);
simplex_rc sx_emit_simple(struct simplex_agent *a, int32_t kind, int64_t conn) SIMPLEX_CHECK;
/* ERR of a connection (durable): rc and what the server said (may be NULL). */
simplex_rc sx_emit_err(struct simplex_agent *a, int64_t conn, simplex_rc rc, const char *detail)
    SIMPLEX_CHECK;
/* The same, and it names the server (may be NULL) that it comes from. */
simplex_rc sx_emit_err_of(struct simplex_agent *a, int64_t conn, const struct sx_server *server,
                          simplex_rc rc, const char *detail) SIMPLEX_CHECK;
/* RSYNC (durable): c's present state, and why (OK when it got better). */
simplex_rc sx_emit_rsync(struct simplex_agent *a, const struct sx_conn *c, simplex_rc why,
                         const char *detail) SIMPLEX_CHECK;
bool sx_show_events(struct simplex_agent *a); /* true: more is waiting */
bool sx_events_due(struct simplex_agent *a);  /* some can be shown now */
void sx_events_freed(struct simplex_agent *a);
void sx_events_drop(struct simplex_agent *a); /* at close */

#endif
