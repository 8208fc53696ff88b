/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Contact addresses, the owner's side (agent.md section 6.2): a queue of mode C and the link to it;
 * each request is a row until it is accepted, which joins the requester's own link, or rejected.
 *
 * Anybody may write there. When SX_REQUESTS_MAX requests wait for an answer, the last message is
 * left unacknowledged: the server delivers no more, holds what its quota allows and refuses the
 * rest, whose senders try again. So a flood is bounded and nothing is lost.
 */
#include "agent/address.h"
#include "agent/envelope.h"
#include "agent/event.h"
#include "agent/handshake.h"
#include "agent/notice.h"
#include "agent/receive.h"
#include "agent/route.h"
#include "agent/users.h"
#include "agent/work.h"

simplex_rc sx_create_address(struct simplex_agent *a, int64_t user, int64_t *conn)
{
    struct sx_conn c = { .user = user,
                         .role = SX_ADDRESS,
                         .state = SX_CONN_NEW,
                         .subscribe = !a->only_create,
                         .created_at = sx_now_ms() };
    struct sx_rcv_queue q;
    simplex_rc rc = sx_conn_begin(a, &c);

    if (rc == SIMPLEX_OK)
        rc = sx_new_rcv_queue(a, &c, NULL, a->speaks.client.max, &q);
    if (rc == SIMPLEX_OK)
        rc = sx_notice_check(a, &q.server);
    if (rc != SIMPLEX_OK)
        return rc;
    q.mode = SX_MODE_CONTACT; /* what NEW will ask for */
    rc = sx_store_rcvq_update(a->store, &q);
    if (rc == SIMPLEX_OK)
        rc = sx_command_add(a, c.id, SX_C_NEW, q.id, sx_bytes(NULL, 0));
    sx_wipe(&q, sizeof q);
    *conn = c.id;
    return rc;
}

/* ---- a request arrives ---- */

static void hold(struct simplex_agent *a, const struct sx_rcv_queue *q, simplex_bytes msg_id)
{
    struct sx_rt_rcvq *rt = sx_rt_rcvq_by_id(a, q->id);

    if (rt == NULL || msg_id.len > SX_QUEUE_ID_MAX)
        return;
    if (rt->held == NULL) /* without memory for it, it comes again with the next session */
        rt->held = sx_malloc(sizeof *rt->held);
    if (rt->held == NULL)
        return;
    rt->held->len = (uint8_t)msg_id.len;
    memcpy(rt->held->b, msg_id.ptr, msg_id.len);
}

/* As the reference: shown even if it could not be accepted, then without PQ. */
static bool pq_with(const struct simplex_agent *a, const struct sx_link *l)
{
    return sx_kem_available() && sx_range_agree(l->agent_v, a->speaks.agent) >= 5 &&
           sx_range_agree(l->e2e.v, a->speaks.e2e) >= 3 &&
           sx_range_agree(l->queues[0].v, a->speaks.client) != 0;
}

static simplex_rc show_request(struct simplex_agent *a, const struct sx_invitation *i,
                               const struct sx_link *l)
{
    struct simplex_event ev;

    sx_event_init(&ev, SIMPLEX_EV_REQ, i->conn_id);
    ev.conf = i->id;
    ev.pq = pq_with(a, l);
    sx_event_set_server(&ev, &l->queues[0].server);
    sx_wr_raw(&ev.data, i->info);
    return sx_emit(a, &ev);
}

static simplex_rc add_request(struct simplex_agent *a, struct sx_invitation *i,
                              const struct sx_link *l)
{
    simplex_rc rc = sx_store_inv_add(a->store, i, sx_now_ms());

    return rc == SIMPLEX_OK ? show_request(a, i, l) : rc;
}

static simplex_rc take_request(struct simplex_agent *a, const struct sx_rcv_queue *q,
                               const struct sx_opened *o, const struct sx_link *l,
                               struct sx_incoming *in)
{
    struct sx_invitation i = { .conn_id = q->conn_id, .link = o->env.link, .info = o->env.body };
    int64_t waiting = 0;
    bool known;
    simplex_rc rc = sx_store_inv_known(a->store, q->conn_id, i.link, &known);

    if (rc == SIMPLEX_OK)
        rc = sx_store_inv_count(a->store, q->conn_id, &waiting);
    if (rc != SIMPLEX_OK)
        return rc;
    if (!known && waiting >= SX_REQUESTS_MAX) {
        in->keep = true; /* of a server that does not wait for ours: it may keep it */
        return SIMPLEX_OK;
    }
    if (!known) {
        waiting++;
        rc = add_request(a, &i, l);
    }
    if (rc == SIMPLEX_OK && waiting >= SX_REQUESTS_MAX) {
        in->keep = true;
        hold(a, q, in->srv_msg_id);
    }
    return rc;
}

simplex_rc sx_on_request(struct simplex_agent *a, const struct sx_rcv_queue *q,
                         const struct sx_opened *o, struct sx_incoming *in)
{
    struct sx_link l;
    simplex_rc rc;

    memset(&l, 0, sizeof l);
    rc = sx_link_parse(o->env.link, &l);
    if (rc != SIMPLEX_OK)
        return rc;
    rc = l.kind == SX_LINK_INVITATION ? take_request(a, q, o, &l, in) : SIMPLEX_E_LINK;
    sx_link_free(&l);
    return rc;
}

/* ---- the answer ---- */

/* The request, of an address that is still there. */
static simplex_rc get_request(struct simplex_agent *a, int64_t id, struct sx_invitation *i)
{
    struct sx_conn c;
    simplex_rc rc = sx_store_inv_get(a->store, id, i);

    if (rc == SIMPLEX_OK)
        rc = sx_store_conn_get(a->store, i->conn_id, &c);
    if (rc == SIMPLEX_OK && c.deleted)
        rc = SIMPLEX_E_NOT_FOUND;
    return rc == SIMPLEX_OK ? sx_store_inv_get(a->store, id, i) : rc;
}

/* There is room for another request again. */
static simplex_rc release(struct simplex_agent *a, int64_t conn)
{
    struct sx_rcv_queue q;
    struct sx_rt_rcvq *rt;
    int64_t waiting = 0;
    simplex_rc rc = sx_store_inv_count(a->store, conn, &waiting);

    if (rc != SIMPLEX_OK || waiting >= SX_REQUESTS_MAX)
        return rc;
    rc = sx_store_rcvq_of(a->store, conn, 0, &q);
    if (rc != SIMPLEX_OK)
        return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
    rt = sx_rt_rcvq_by_id(a, q.id);
    if (rt != NULL && rt->held != NULL) {
        rc = sx_ack_later(a, q.id, sx_id_bytes(rt->held), true);
        sx_free(rt->held);
        rt->held = NULL;
    }
    sx_wipe(&q, sizeof q);
    return rc;
}

static simplex_rc close_request(struct simplex_agent *a, const struct sx_invitation *i,
                                int64_t accepted)
{
    int64_t conn = i->conn_id;
    simplex_rc rc = sx_store_inv_close(a->store, i->id, accepted);

    return rc == SIMPLEX_OK ? release(a, conn) : rc;
}

/* A repeat, perhaps of an application that stopped before it noted what it got. */
static simplex_rc accepted_before(struct simplex_agent *a, const struct sx_invitation *i,
                                  int64_t *conn)
{
    struct sx_conn c;
    simplex_rc rc;

    if (i->accepted == 0)
        return SIMPLEX_E_PROHIBITED;
    rc = sx_store_conn_get(a->store, i->accepted, &c);
    if (rc != SIMPLEX_OK)
        return rc;
    *conn = c.id;
    return c.deleted ? SIMPLEX_E_NOT_FOUND : SIMPLEX_OK;
}

simplex_rc sx_accept(struct simplex_agent *a, int64_t request, simplex_bytes info, int32_t pq,
                     int64_t *conn)
{
    struct sx_invitation i;
    struct sx_link l;
    int64_t user;
    simplex_rc rc = get_request(a, request, &i);

    if (rc != SIMPLEX_OK)
        return rc;
    if (!i.pending)
        return accepted_before(a, &i, conn);
    memset(&l, 0, sizeof l);
    *conn = 0;
    rc = sx_link_parse(i.link, &l);
    if (rc == SIMPLEX_OK) /* before: i.link lives until the next call on the store */
        rc = sx_user_of(a, i.conn_id, &user);
    if (rc == SIMPLEX_OK)
        rc = sx_join_link(a, user, &l, info, pq, conn);
    sx_link_free(&l);
    return rc == SIMPLEX_OK ? close_request(a, &i, *conn) : rc;
}

simplex_rc sx_reject(struct simplex_agent *a, int64_t request)
{
    struct sx_invitation i;
    simplex_rc rc = get_request(a, request, &i);

    if (rc != SIMPLEX_OK)
        return rc;
    if (!i.pending)
        return i.accepted == 0 ? SIMPLEX_OK : SIMPLEX_E_PROHIBITED;
    return close_request(a, &i, 0);
}
