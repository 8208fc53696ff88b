/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes through which of several receiving queues. A queue keeps the order of its sender, so a
 * number behind a gap says that the messages in between will not come through this one: they are
 * missed. A queue that only is behind the others may be slow: that is told when it lasts.
 *
 * The first messages also say whether the peer uses several queues at all (docs/protocol-notes.md).
 */
#include "agent/event.h"
#include "agent/route.h"
#include "agent/several.h"
#include "agent/unread.h"

static simplex_rc tell(struct simplex_agent *a, const struct sx_rcv_queue *q,
                       const struct sx_queue_counts *n, int64_t behind)
{
    struct simplex_event ev;
    bool too_many;
    simplex_rc rc = sx_events_wait(a, q->conn_id, &too_many);

    /* each says how many there are in all: a host that does not look gets no more of them */
    if (rc != SIMPLEX_OK || too_many)
        return rc;
    sx_event_init(&ev, SIMPLEX_EV_QMISS, q->conn_id);
    ev.conf = q->id;
    sx_wr_i64(&ev.data, n->missed);
    sx_wr_i64(&ev.data, behind);
    sx_event_set_server(&ev, &q->server);
    return sx_emit(a, &ev);
}

static int64_t behind_of(const struct sx_conn *c, const struct sx_queue_counts *n)
{
    return c->last_rcv_ext_id > n->last_ext_id ? c->last_rcv_ext_id - n->last_ext_id : 0;
}

/* The others brought something that this one has not: the time begins. */
static void mark_behind(struct simplex_agent *a, const struct sx_rcv_queue *q)
{
    struct sx_rt_rcvq *rt = sx_rt_rcvq_by_id(a, q->id);
    int64_t now = sx_mono_ms();

    if (rt == NULL || rt->behind_since != 0)
        return;
    rt->behind_since = now;
    if (a->misses_at == 0 || now + a->cfg.miss_time < a->misses_at)
        a->misses_at = now + a->cfg.miss_time;
}

/* Can anything come through it? */
static bool is_used(const struct sx_rcv_queue *q)
{
    return !q->deleted && q->has_e2e_secret && !sx_is_added(q) && q->switch_state != SX_SW_REMOVE &&
           (q->replaces == 0 || q->status == SX_Q_ACTIVE);
}

static simplex_rc mark_others(struct simplex_agent *a, const struct sx_conn *c,
                              const struct sx_rcv_queue *q)
{
    struct sx_rcv_queue other;
    simplex_rc rc = SIMPLEX_OK;

    for (unsigned n = 0; rc == SIMPLEX_OK; n++) {
        rc = sx_store_rcvq_of(a->store, c->id, n, &other);
        if (rc == SIMPLEX_OK && other.id != q->id &&
            (is_used(&other) || (c->peer_several && other.rcv_id.len > 0 && !other.deleted &&
                                 other.switch_state == SX_SW_NONE && other.replaces == 0)))
            mark_behind(a, &other);
    }
    sx_wipe(&other, sizeof other);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

/* ---- one message ---- */

/* Numbers are the peer's: any, up to the largest. */
static void note_number(struct sx_queue_counts *n, int64_t ext_id, bool fresh, int64_t before)
{
    int64_t seen = fresh ? before : ext_id - 1; /* no message behind that came through others */

    if (ext_id <= n->last_ext_id) {
        if (fresh) /* the peer began to count again */
            n->last_ext_id = ext_id;
        return;
    }
    if (n->last_ext_id > 0 && seen > n->last_ext_id && seen < ext_id &&
        seen - n->last_ext_id < INT64_MAX - n->missed)
        n->missed += seen - n->last_ext_id;
    n->last_ext_id = ext_id;
}

static simplex_rc caught_up(struct simplex_agent *a, const struct sx_conn *c,
                            const struct sx_rcv_queue *q, struct sx_queue_counts *n)
{
    struct sx_rt_rcvq *rt = sx_rt_rcvq_by_id(a, q->id);
    bool news = n->missed - n->missed_told >= a->cfg.miss_messages;
    int64_t behind = behind_of(c, n);

    if (behind == 0) {
        if (rt != NULL)
            rt->behind_since = 0;
        news = news || n->behind_told;
        n->behind_told = false;
    }
    if (!news)
        return SIMPLEX_OK;
    n->missed_told = n->missed;
    return tell(a, q, n, behind);
}

static simplex_rc prove(struct simplex_agent *a, struct sx_conn *c, struct sx_rcv_queue *q)
{
    bool added = q->switch_state == SX_SW_ADD_QUSE;
    simplex_rc rc;

    if (q->primary || q->replaces != 0 || (q->status == SX_Q_ACTIVE && !added))
        return SIMPLEX_OK;
    q->status = SX_Q_ACTIVE;
    if (added)
        q->switch_state = SX_SW_NONE;
    rc = sx_store_rcvq_update(a->store, q);
    if (rc == SIMPLEX_OK)
        rc = sx_peer_is_several(a, c);
    return rc == SIMPLEX_OK ? sx_emit_queue(a, c->id, q->id, SIMPLEX_SWITCH_RCV,
                                            SIMPLEX_QUEUE_ADDED, &q->server, SIMPLEX_OK, NULL)
                            : rc;
}

/* Enough came through the first queue alone. */
static bool proves_one(const struct simplex_agent *a, const struct sx_conn *c,
                       const struct sx_queue_counts *n)
{
    int64_t age = n->last_ts - n->first_ts;

    if (c->peer_several || c->state != SX_CONN_READY)
        return false;
    return (n->received >= a->cfg.spare_messages && age >= a->cfg.spare_time) ||
           age >= a->cfg.message_timeout;
}

simplex_rc sx_came(struct simplex_agent *a, struct sx_conn *c, struct sx_rcv_queue *q,
                   int64_t ext_id, bool fresh, int64_t before)
{
    struct sx_queue_counts n;
    bool counts; /* a repeat through the same queue may be noise: it says nothing of the peer */
    simplex_rc rc;

    if (c->rcv_queues <= 1)
        return SIMPLEX_OK;
    rc = sx_store_counts_get(a->store, q->id, &n);
    if (rc == SIMPLEX_OK)
        rc = prove(a, c, q);
    if (rc != SIMPLEX_OK)
        return rc;
    counts = fresh || ext_id > n.last_ext_id;
    if (ext_id > 0)
        note_number(&n, ext_id, fresh, before);
    n.last_ts = sx_now_ms();
    n.received += counts;
    if (counts && n.first_ts == 0)
        n.first_ts = n.last_ts;
    rc = caught_up(a, c, q, &n);
    if (rc == SIMPLEX_OK)
        rc = sx_store_counts_put(a->store, q->id, &n);
    if (rc == SIMPLEX_OK && fresh)
        rc = mark_others(a, c, q);
    if (rc != SIMPLEX_OK || !counts || !q->primary || !proves_one(a, c, &n))
        return rc;
    return sx_fall_back(a, c);
}

simplex_rc sx_keys_came(struct simplex_agent *a, const struct sx_conn *c,
                        const struct sx_rcv_queue *q)
{
    struct sx_queue_counts n;
    simplex_rc rc;

    if (c->rcv_queues <= 1)
        return SIMPLEX_OK;
    rc = sx_store_counts_get(a->store, q->id, &n);
    if (rc != SIMPLEX_OK || n.last_ext_id == 0 || n.last_ext_id == INT64_MAX)
        return rc;
    n.last_ext_id++;
    return sx_store_counts_put(a->store, q->id, &n);
}

/* What came while there was one queue does not count against it. */
static simplex_rc count_from_here(struct simplex_agent *a, const struct sx_conn *c, int64_t queue)
{
    struct sx_queue_counts n;
    simplex_rc rc = sx_store_counts_get(a->store, queue, &n);

    if (rc == SIMPLEX_OK && c->rcv_queues <= 1)
        n.last_ext_id = c->last_rcv_ext_id;
    if (rc == SIMPLEX_OK && !c->peer_several)
        n.received = n.first_ts = 0;
    return rc == SIMPLEX_OK ? sx_store_counts_put(a->store, queue, &n) : rc;
}

simplex_rc sx_counts_begin(struct simplex_agent *a, const struct sx_conn *c)
{
    struct sx_rcv_queue q;
    simplex_rc rc = SIMPLEX_OK;

    for (unsigned k = 0; rc == SIMPLEX_OK; k++) {
        rc = sx_store_rcvq_of(a->store, c->id, k, &q);
        if (rc == SIMPLEX_OK && !q.deleted && !sx_is_added(&q))
            rc = count_from_here(a, c, q.id);
    }
    sx_wipe(&q, sizeof q);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

simplex_rc sx_is_behind(struct simplex_agent *a, const struct sx_conn *c,
                        const struct sx_rcv_queue *q, bool *yes)
{
    struct sx_queue_counts n;
    simplex_rc rc = SIMPLEX_OK;

    *yes = false;
    if (c->rcv_queues <= 1)
        return SIMPLEX_OK;
    rc = sx_store_counts_get(a->store, q->id, &n);
    *yes = rc == SIMPLEX_OK && behind_of(c, &n) > 0;
    return rc;
}

/* ---- behind for too long ---- */

static simplex_rc check_queue(struct simplex_agent *a, struct sx_rt_rcvq *rt)
{
    struct sx_rcv_queue q;
    struct sx_conn c;
    struct sx_queue_counts n;
    simplex_rc rc = sx_store_rcvq_get(a->store, rt->id, &q);

    if (rc == SIMPLEX_OK)
        rc = sx_store_conn_get(a->store, q.conn_id, &c);
    if (rc == SIMPLEX_OK)
        rc = sx_store_counts_get(a->store, q.id, &n);
    if (rc == SIMPLEX_OK && behind_of(&c, &n) > 0 && !n.behind_told && c.rcv_queues > 1 &&
        !q.deleted && !c.deleted) {
        n.behind_told = true;
        n.missed_told = n.missed;
        rc = sx_store_counts_put(a->store, q.id, &n);
        if (rc == SIMPLEX_OK)
            rc = tell(a, &q, &n, behind_of(&c, &n));
    }
    sx_wipe(&q, sizeof q);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

void sx_misses_check(struct simplex_agent *a)
{
    int64_t now = sx_mono_ms(), next = 0;

    if (a->misses_at == 0 || now < a->misses_at || a->recover_at != 0)
        return;
    for (size_t b = 0; b < SX_TABLE; b++) {
        for (struct sx_rt_rcvq *rt = a->rcvqs_by_id[b]; rt != NULL; rt = rt->next_id) {
            if (rt->behind_since == 0)
                continue;
            int64_t due = rt->behind_since + a->cfg.miss_time;
            if (due > now) {
                next = next == 0 || due < next ? due : next;
                continue;
            }
            simplex_rc rc = sx_handler_begin(a);
            if (rc != SIMPLEX_OK)
                return;
            sx_handler_end(a, check_queue(a, rt));
            rt->behind_since = 0; /* told once, until it has caught up */
        }
    }
    a->misses_at = next;
}
