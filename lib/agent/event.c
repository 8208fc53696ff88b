/* SPDX-License-Identifier: Apache-2.0 */
/* Event objects: their life, their form in the database, their accessors. */
#include "agent/agent.h"
#include "agent/event.h"
#include "agent/links.h"
#include "agent/route.h"

#define EVENT_FORM 1 /* first byte of the stored form; a newer one is refused, not guessed at */
#define EVENT_CAP 70000

void sx_event_init(struct simplex_event *ev, int32_t kind, int64_t conn)
{
    memset(ev, 0, sizeof *ev);
    ev->kind = kind;
    ev->conn = conn;
    sx_wr_init(&ev->data, EVENT_CAP);
}

void sx_event_clear(struct simplex_event *ev)
{
    sx_wr_free(&ev->data);
    sx_free(ev->server);
    sx_free(ev->detail);
    sx_free(ev->conns);
    if (ev->json != NULL)
        sx_free_secret(ev->json, strlen(ev->json));
    memset(ev, 0, sizeof *ev);
}

struct simplex_event *sx_event_new(int32_t kind, int64_t conn)
{
    struct simplex_event *ev = sx_malloc(sizeof *ev);

    if (ev != NULL)
        sx_event_init(ev, kind, conn);
    return ev;
}

void sx_event_delete(struct simplex_event *ev)
{
    if (ev != NULL)
        sx_event_clear(ev);
    sx_free(ev);
}

void sx_event_set_server(struct simplex_event *ev, const struct sx_server *server)
{
    ev->server = sx_server_text(server);
    if (ev->server == NULL)
        ev->data.bad = true;
}

void sx_event_set_detail(struct simplex_event *ev, const char *detail)
{
    if (detail == NULL)
        return;
    ev->detail = sx_strdup(detail);
    if (ev->detail == NULL)
        ev->data.bad = true;
}

static simplex_bytes text_of(const char *s)
{
    return s != NULL ? sx_str(s) : sx_bytes(NULL, 0);
}

void sx_event_encode(struct sx_wr *w, const struct simplex_event *ev)
{
    sx_wr_u8(w, EVENT_FORM);
    sx_wr_u32(w, (uint32_t)ev->kind);
    sx_wr_i64(w, ev->conn);
    sx_wr_i64(w, ev->msg_id);
    sx_wr_i64(w, ev->conf);
    sx_wr_u32(w, (uint32_t)ev->status);
    sx_wr_u32(w, (uint32_t)ev->rc);
    sx_wr_bool(w, ev->pq);
    sx_wr_u8(w, (uint8_t)ev->direction);
    sx_wr_u8(w, (uint8_t)ev->phase);
    sx_wr_large(w, text_of(ev->server));
    sx_wr_large(w, text_of(ev->detail));
    sx_wr_u32(w, (uint32_t)ev->data.len);
    sx_wr_raw(w, sx_wr_bytes(&ev->data));
}

/* What was written as a text has no NUL in it. */
static bool is_text(simplex_bytes s)
{
    return s.len == 0 || memchr(s.ptr, 0, s.len) == NULL;
}

static char *text_dup(simplex_bytes s, bool *bad)
{
    char *t;

    if (s.len == 0)
        return NULL;
    t = (char *)sx_memdup(s);
    if (t == NULL)
        *bad = true;
    return t;
}

simplex_rc sx_event_decode(simplex_bytes in, struct simplex_event *ev)
{
    struct sx_rd r = sx_rd_init(in);
    simplex_bytes server, detail;
    bool nomem = false;

    sx_event_init(ev, 0, 0);
    if (sx_rd_u8(&r) != EVENT_FORM)
        return SIMPLEX_E_DB_DAMAGED;
    ev->kind = (int32_t)sx_rd_u32(&r);
    ev->conn = sx_rd_i64(&r);
    ev->msg_id = sx_rd_i64(&r);
    ev->conf = sx_rd_i64(&r);
    ev->status = (int32_t)sx_rd_u32(&r);
    ev->rc = (simplex_rc)sx_rd_u32(&r);
    ev->pq = sx_rd_bool(&r);
    ev->direction = sx_rd_u8(&r);
    ev->phase = sx_rd_u8(&r);
    server = sx_rd_large(&r);
    detail = sx_rd_large(&r);
    simplex_bytes data = sx_rd_take(&r, sx_rd_u32(&r));
    if (ev->kind == SIMPLEX_EV_RSYNC &&
        (ev->conf < SIMPLEX_SYNC_OK || ev->conf > SIMPLEX_SYNC_AGREED))
        return SIMPLEX_E_DB_DAMAGED;
    if (!sx_rd_done(&r) || !is_text(server) || !is_text(detail) || data.len > EVENT_CAP)
        return SIMPLEX_E_DB_DAMAGED;
    ev->server = text_dup(server, &nomem);
    ev->detail = text_dup(detail, &nomem);
    sx_wr_raw(&ev->data, data);
    if (nomem || ev->data.bad) {
        sx_event_clear(ev);
        return SIMPLEX_E_NOMEM;
    }
    return SIMPLEX_OK;
}

static const char *const names[] = {
    [SIMPLEX_EV_DEL_USER] = "DEL_USER",
    [SIMPLEX_EV_TEST] = "TEST",
    [SIMPLEX_EV_SUSPENDED] = "SUSPENDED",
    [SIMPLEX_EV_INV] = "INV",
    [SIMPLEX_EV_JOINED] = "JOINED",
    [SIMPLEX_EV_CONF] = "CONF",
    [SIMPLEX_EV_INFO] = "INFO",
    [SIMPLEX_EV_CON] = "CON",
    [SIMPLEX_EV_MSG] = "MSG",
    [SIMPLEX_EV_SENT] = "SENT",
    [SIMPLEX_EV_MWARN] = "MWARN",
    [SIMPLEX_EV_MERR] = "MERR",
    [SIMPLEX_EV_QCONT] = "QCONT",
    [SIMPLEX_EV_UP] = "UP",
    [SIMPLEX_EV_DOWN] = "DOWN",
    [SIMPLEX_EV_CONNECT] = "CONNECT",
    [SIMPLEX_EV_DISCONNECT] = "DISCONNECT",
    [SIMPLEX_EV_END] = "END",
    [SIMPLEX_EV_DELD] = "DELD",
    [SIMPLEX_EV_DEL_RCVQ] = "DEL_RCVQ",
    [SIMPLEX_EV_DEL_CONN] = "DEL_CONN",
    [SIMPLEX_EV_ERR] = "ERR",
    [SIMPLEX_EV_REQ] = "REQ",
    [SIMPLEX_EV_RCVD] = "RCVD",
    [SIMPLEX_EV_RSYNC] = "RSYNC",
    [SIMPLEX_EV_SWITCH] = "SWITCH",
    [SIMPLEX_EV_LINK] = "LINK",
    [SIMPLEX_EV_LDATA] = "LDATA",
    [SIMPLEX_EV_QINFO] = "QINFO",
    [SIMPLEX_EV_NOTIFIER] = "NOTIFIER",
    [SIMPLEX_EV_FETCHED] = "FETCHED",
    [SIMPLEX_EV_QMISS] = "QMISS",
    [SIMPLEX_EV_QUEUE] = "QUEUE",
    [SIMPLEX_EV_MSGNTF] = "MSGNTF",
    [SIMPLEX_EV_SERVICE_UP] = "SERVICE_UP",
    [SIMPLEX_EV_SERVICE_DOWN] = "SERVICE_DOWN",
    [SIMPLEX_EV_SERVICE_ALL] = "SERVICE_ALL",
    [SIMPLEX_EV_SERVICE_END] = "SERVICE_END",
    [SIMPLEX_EV_PEEKED] = "PEEKED",
};

int32_t simplex_event_kind(const simplex_event *ev)
{
    return ev->kind;
}

const char *simplex_event_name(const simplex_event *ev)
{
    size_t i = (size_t)ev->kind;

    return i < SX_COUNT(names) && names[i] != NULL ? names[i] : "UNKNOWN";
}

int64_t simplex_event_conn(const simplex_event *ev)
{
    return ev->conn;
}

int64_t simplex_event_msg_id(const simplex_event *ev)
{
    return ev->msg_id;
}

int64_t simplex_event_conf(const simplex_event *ev)
{
    return ev->kind == SIMPLEX_EV_CONF ? ev->conf : 0;
}

int64_t simplex_event_count(const simplex_event *ev)
{
    return ev->kind >= SIMPLEX_EV_FETCHED && ev->kind <= SIMPLEX_EV_PEEKED ? ev->conf : 0;
}

int64_t simplex_event_request(const simplex_event *ev)
{
    return ev->kind == SIMPLEX_EV_REQ ? ev->conf : 0;
}

int32_t simplex_event_sync_state(const simplex_event *ev)
{
    return ev->kind == SIMPLEX_EV_RSYNC ? (int32_t)ev->conf : SIMPLEX_SYNC_OK;
}

simplex_bytes simplex_event_data(const simplex_event *ev)
{
    struct sx_ldata d;

    if (ev->kind == SIMPLEX_EV_QMISS) /* see simplex_event_misses */
        return sx_bytes(NULL, 0);
    if (ev->kind != SIMPLEX_EV_LDATA)
        return sx_wr_bytes(&ev->data);
    return sx_ldata_decode(sx_wr_bytes(&ev->data), &d) == SIMPLEX_OK ? d.data
                                                                     : sx_bytes(NULL, 0);
}

simplex_rc simplex_event_error(const simplex_event *ev)
{
    return ev->rc;
}

const char *simplex_event_detail(const simplex_event *ev)
{
    return ev->detail;
}

const char *simplex_event_server(const simplex_event *ev)
{
    return ev->server;
}

bool simplex_event_pq(const simplex_event *ev)
{
    return ev->pq;
}

bool simplex_event_notify(const simplex_event *ev)
{
    return ev->notify;
}

int32_t simplex_event_receipt(const simplex_event *ev)
{
    return ev->kind == SIMPLEX_EV_RCVD ? ev->status : 0;
}

int32_t simplex_event_integrity(const simplex_event *ev, int64_t *gap_first, int64_t *gap_last)
{
    if (gap_first != NULL)
        *gap_first = ev->gap_first;
    if (gap_last != NULL)
        *gap_last = ev->gap_last;
    return ev->integrity;
}

int32_t simplex_event_switch(const simplex_event *ev, int32_t *direction)
{
    if (direction != NULL)
        *direction = ev->direction;
    return ev->phase;
}

int64_t simplex_event_queue_id(const simplex_event *ev)
{
    return ev->kind == SIMPLEX_EV_QMISS || ev->kind == SIMPLEX_EV_QUEUE ? ev->conf : 0;
}

int64_t simplex_event_misses(const simplex_event *ev, int64_t *behind)
{
    struct sx_rd r = sx_rd_init(sx_wr_bytes(&ev->data));
    int64_t missed = 0, late = 0;

    if (ev->kind == SIMPLEX_EV_QMISS) {
        missed = sx_rd_i64(&r);
        late = sx_rd_i64(&r);
    }
    if (behind != NULL)
        *behind = r.bad ? 0 : late;
    return r.bad ? 0 : missed;
}

int64_t simplex_event_sender_id(const simplex_event *ev)
{
    return ev->ext_id;
}

int64_t simplex_event_server_time(const simplex_event *ev)
{
    return ev->srv_ts;
}

int64_t simplex_event_user(const simplex_event *ev)
{
    return ev->kind == SIMPLEX_EV_DEL_USER ? ev->conf : ev->user;
}

const int64_t *simplex_event_conns(const simplex_event *ev, size_t *n)
{
    *n = ev->n_conns;
    return ev->conns;
}

/* ---- LDATA ---- */

static simplex_rc link_data_of(const simplex_event *ev, struct sx_ldata *d)
{
    if (ev == NULL)
        return SIMPLEX_E_ARG;
    if (ev->kind != SIMPLEX_EV_LDATA)
        return SIMPLEX_E_PROHIBITED;
    return sx_ldata_decode(sx_wr_bytes(&ev->data), d);
}

simplex_rc simplex_event_link_info(const simplex_event *ev, simplex_link_info *out)
{
    struct sx_ldata d;
    simplex_rc rc;

    if (out == NULL || out->size < sizeof *out)
        return SIMPLEX_E_ARG;
    rc = link_data_of(ev, &d);
    if (rc != SIMPLEX_OK)
        return rc;
    *out = (simplex_link_info){ .size = out->size,
                                .type = d.type,
                                .direct = d.direct,
                                .link = d.link,
                                .root_key = d.root,
                                .entity = d.entity,
                                .n_owners = d.owners.count,
                                .n_relays = d.relays.count };
    return SIMPLEX_OK;
}

/* As sx_link_owner_next, with slices of what was read instead of copies. */
static void next_owner(struct sx_rd *r, simplex_link_owner *out)
{
    struct sx_rd in = sx_rd_init(sx_rd_short(r));

    out->id = sx_rd_short(&in);
    simplex_bytes key = sx_rd_short(&in);
    out->signature = sx_rd_short(&in);
    if (in.bad || key.len < 32)
        r->bad = true;
    else
        out->key = sx_bytes(key.ptr + key.len - 32, 32); /* DER: the raw key stands last */
}

simplex_rc simplex_event_link_owner(const simplex_event *ev, size_t n, simplex_link_owner *out)
{
    struct sx_ldata d;
    simplex_rc rc = out != NULL ? link_data_of(ev, &d) : SIMPLEX_E_ARG;

    if (rc != SIMPLEX_OK)
        return rc;
    if (n >= d.owners.count)
        return SIMPLEX_E_NOT_FOUND;
    struct sx_rd r = sx_rd_init(d.owners.items);
    do
        next_owner(&r, out);
    while (n-- > 0);
    return r.bad ? SIMPLEX_E_DB_DAMAGED : SIMPLEX_OK;
}

simplex_rc simplex_event_link_relay(const simplex_event *ev, size_t n, char *to, size_t *len)
{
    struct sx_short_link s;
    struct sx_ldata d;
    struct sx_wr w;
    simplex_rc rc = len != NULL && (to != NULL || *len == 0) ? link_data_of(ev, &d)
                                                             : SIMPLEX_E_ARG;

    if (rc != SIMPLEX_OK)
        return rc;
    if (n >= d.relays.count)
        return SIMPLEX_E_NOT_FOUND;
    struct sx_rd r = sx_rd_init(d.relays.items);
    do
        sx_link_relay_next(&r, &s);
    while (n-- > 0);
    sx_wr_init(&w, 8192);
    sx_short_link_print(&w, &s);
    if (r.bad || w.bad)
        rc = r.bad ? SIMPLEX_E_DB_DAMAGED : SIMPLEX_E_NOMEM;
    else if (w.len > *len)
        rc = SIMPLEX_E_BUFFER;
    else
        memcpy(to, w.p, w.len);
    if (rc == SIMPLEX_OK || rc == SIMPLEX_E_BUFFER)
        *len = w.len;
    sx_wr_free(&w);
    return rc;
}
