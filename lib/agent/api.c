/* SPDX-License-Identifier: Apache-2.0 */
/* The public functions: each packs its arguments and runs a handler on the agent's thread. */
#include "agent/address.h"
#include "agent/agent.h"
#include "agent/check.h"
#include "agent/delete.h"
#include "agent/handshake.h"
#include "agent/links.h"
#include "agent/receive.h"
#include "agent/resync.h"
#include "agent/subscribe.h"
#include "agent/switch.h"

struct args {
    int64_t user;
    simplex_bytes link, info;
    int32_t pq;
    int64_t conn, id;
    uint32_t flags;
    bool on;
    void *out;
    size_t *len;
};

static simplex_rc do_create(struct simplex_agent *a, void *p)
{
    struct args *x = p;

    return sx_create(a, x->user, x->pq, &x->conn);
}

simplex_rc simplex_agent_create(simplex_agent *a, int32_t pq, int64_t *conn)
{
    return simplex_agent_create_as(a, SIMPLEX_USER_DEFAULT, pq, conn);
}

simplex_rc simplex_agent_create_as(simplex_agent *a, int64_t user, int32_t pq, int64_t *conn)
{
    struct args x = { .user = user, .pq = pq };
    simplex_rc rc;

    CHECK(a != NULL && conn != NULL && valid_pq(pq));
    rc = sx_agent_run(a, do_create, &x, true);
    *conn = rc == SIMPLEX_OK ? x.conn : 0;
    return rc;
}

static simplex_rc do_join(struct simplex_agent *a, void *p)
{
    struct args *x = p;

    return sx_join(a, x->user, x->link, x->info, x->pq, &x->conn);
}

simplex_rc simplex_agent_join(simplex_agent *a, simplex_bytes link, simplex_bytes info, int32_t pq,
                              int64_t *conn)
{
    return simplex_agent_join_as(a, SIMPLEX_USER_DEFAULT, link, info, pq, conn);
}

simplex_rc simplex_agent_join_as(simplex_agent *a, int64_t user, simplex_bytes link,
                                 simplex_bytes info, int32_t pq, int64_t *conn)
{
    struct args x = { .user = user, .link = link, .info = info, .pq = pq };
    simplex_rc rc;

    CHECK(a != NULL && conn != NULL && valid(link) && valid(info) && valid_pq(pq));
    rc = sx_agent_run(a, do_join, &x, true);
    *conn = rc == SIMPLEX_OK ? x.conn : 0;
    return rc;
}

static simplex_rc do_allow(struct simplex_agent *a, void *p)
{
    struct args *x = p;

    return sx_allow(a, x->conn, x->id, x->info);
}

simplex_rc simplex_agent_allow(simplex_agent *a, int64_t conn, int64_t conf, simplex_bytes info)
{
    struct args x = { .conn = conn, .id = conf, .info = info };

    CHECK(a != NULL && valid(info));
    return sx_agent_run(a, do_allow, &x, true);
}

static simplex_rc do_create_address(struct simplex_agent *a, void *p)
{
    struct args *x = p;

    return sx_create_address(a, x->user, &x->conn);
}

simplex_rc simplex_agent_create_address(simplex_agent *a, int64_t *conn)
{
    return simplex_agent_create_address_as(a, SIMPLEX_USER_DEFAULT, conn);
}

simplex_rc simplex_agent_create_address_as(simplex_agent *a, int64_t user, int64_t *conn)
{
    struct args x = { .user = user };
    simplex_rc rc;

    CHECK(a != NULL && conn != NULL);
    rc = sx_agent_run(a, do_create_address, &x, true);
    *conn = rc == SIMPLEX_OK ? x.conn : 0;
    return rc;
}

static simplex_rc do_accept(struct simplex_agent *a, void *p)
{
    struct args *x = p;

    return sx_accept(a, x->id, x->info, x->pq, &x->conn);
}

simplex_rc simplex_agent_accept(simplex_agent *a, int64_t request, simplex_bytes info, int32_t pq,
                                int64_t *conn)
{
    struct args x = { .id = request, .info = info, .pq = pq };
    simplex_rc rc;

    CHECK(a != NULL && conn != NULL && valid(info) && valid_pq(pq));
    rc = sx_agent_run(a, do_accept, &x, true);
    *conn = rc == SIMPLEX_OK ? x.conn : 0;
    return rc;
}

static simplex_rc do_reject(struct simplex_agent *a, void *p)
{
    struct args *x = p;

    return sx_reject(a, x->id);
}

simplex_rc simplex_agent_reject(simplex_agent *a, int64_t request)
{
    struct args x = { .id = request };

    CHECK(a != NULL);
    return sx_agent_run(a, do_reject, &x, true);
}

/* Copies what fits and tells the whole length. */
static simplex_rc give(const struct args *x, simplex_bytes from)
{
    bool fits = from.len <= *x->len;

    if (fits && from.len > 0)
        memcpy(x->out, from.ptr, from.len);
    *x->len = from.len;
    return fits ? SIMPLEX_OK : SIMPLEX_E_BUFFER;
}

static simplex_rc do_request(struct simplex_agent *a, void *p)
{
    struct args *x = p;
    struct sx_invitation i;
    simplex_rc rc = sx_store_inv_get(a->store, x->id, &i);

    if (rc == SIMPLEX_OK && !i.pending)
        rc = SIMPLEX_E_NOT_FOUND;
    if (rc != SIMPLEX_OK)
        return rc;
    x->conn = i.conn_id;
    return give(x, i.info);
}

simplex_rc simplex_agent_request(simplex_agent *a, int64_t request, int64_t *conn, void *info,
                                 size_t *len)
{
    struct args x = { .id = request, .out = info, .len = len };
    simplex_rc rc;

    CHECK(a != NULL && len != NULL && (info != NULL || *len == 0));
    rc = sx_agent_run(a, do_request, &x, false);
    if (conn != NULL)
        *conn = x.conn;
    return rc;
}

static simplex_rc do_requests(struct simplex_agent *a, void *p)
{
    struct args *x = p;

    return sx_store_inv_list(a->store, x->id, x->out, x->len);
}

simplex_rc simplex_agent_requests(simplex_agent *a, int64_t after, int64_t *ids, size_t *n)
{
    struct args x = { .id = after, .out = ids, .len = n };

    CHECK(a != NULL && ids != NULL && n != NULL);
    return sx_agent_run(a, do_requests, &x, false);
}

/* A live connection: deleted ones are as good as gone. */
static simplex_rc get_conn(struct simplex_agent *a, int64_t id, struct sx_conn *c)
{
    simplex_rc rc = sx_store_conn_get(a->store, id, c);

    return rc == SIMPLEX_OK && c->deleted ? SIMPLEX_E_NOT_FOUND : rc;
}

static simplex_rc do_link(struct simplex_agent *a, void *p)
{
    struct args *x = p;
    struct sx_conn c;
    struct sx_rcv_queue q;
    struct sx_wr w;
    simplex_rc rc = sx_link_queue(a, x->conn, &c, &q);

    if (rc != SIMPLEX_OK)
        return rc;
    sx_wr_init(&w, SX_LINK_TEXT_MAX);
    rc = sx_invitation_text(a, &c, &q, &w);
    if (rc == SIMPLEX_OK)
        rc = give(x, sx_wr_bytes(&w));
    sx_wr_free(&w);
    sx_wipe(&q, sizeof q);
    return rc;
}

simplex_rc simplex_agent_link(simplex_agent *a, int64_t conn, char *to, size_t *len)
{
    struct args x = { .conn = conn, .out = to, .len = len };

    CHECK(a != NULL && len != NULL && (to != NULL || *len == 0));
    return sx_agent_run(a, do_link, &x, false);
}

/* ---- short links ---- */

static bool valid_link_data(const simplex_link_data *d)
{
    if (d == NULL || d->size < sizeof *d || !valid(d->data) || !valid(d->signer) ||
        (d->owners == NULL && d->n_owners > 0) || (d->relays == NULL && d->n_relays > 0))
        return false;
    for (size_t i = 0; i < d->n_owners; i++) {
        const simplex_link_owner *o = &d->owners[i];
        if (!valid(o->id) || !valid(o->key) || !valid(o->signature))
            return false;
    }
    return true;
}

static bool valid_type(int32_t type)
{
    return type == SIMPLEX_LINK_INVITATION || type == SIMPLEX_LINK_CONTACT ||
           type == SIMPLEX_LINK_CHANNEL || type == SIMPLEX_LINK_GROUP || type == SIMPLEX_LINK_RELAY;
}

struct link_args {
    int64_t user;
    int32_t type, pq;
    const simplex_link_data *data;
    bool told;
    int64_t conn;
};

static simplex_rc do_create_short(struct simplex_agent *a, void *p)
{
    struct link_args *x = p;

    return sx_create_short(a, x->user, (uint8_t)x->type, x->pq, x->data, x->told, &x->conn);
}

static simplex_rc create_short(simplex_agent *a, int64_t user, int32_t type, int32_t pq,
                               const simplex_link_data *data, bool told, int64_t *conn)
{
    struct link_args x = { .user = user, .type = type, .pq = pq, .data = data, .told = told };
    simplex_rc rc;

    CHECK(a != NULL && conn != NULL && valid_type(type) && valid_link_data(data) && valid_pq(pq));
    rc = sx_agent_run(a, do_create_short, &x, true);
    *conn = rc == SIMPLEX_OK ? x.conn : 0;
    return rc;
}

simplex_rc simplex_agent_create_short(simplex_agent *a, int32_t type, int32_t pq,
                                      const simplex_link_data *data, int64_t *conn)
{
    return create_short(a, SIMPLEX_USER_DEFAULT, type, pq, data, false, conn);
}

simplex_rc simplex_agent_create_short_as(simplex_agent *a, int64_t user, int32_t type, int32_t pq,
                                         const simplex_link_data *data, int64_t *conn)
{
    return create_short(a, user, type, pq, data, false, conn);
}

simplex_rc simplex_agent_prepare_short(simplex_agent *a, int32_t type, int32_t pq,
                                       const simplex_link_data *data, int64_t *conn)
{
    return create_short(a, SIMPLEX_USER_DEFAULT, type, pq, data, true, conn);
}

simplex_rc simplex_agent_prepare_short_as(simplex_agent *a, int64_t user, int32_t type, int32_t pq,
                                          const simplex_link_data *data, int64_t *conn)
{
    return create_short(a, user, type, pq, data, true, conn);
}

static simplex_rc do_publish(struct simplex_agent *a, void *p)
{
    struct args *x = p;

    return sx_publish(a, x->conn);
}

simplex_rc simplex_agent_publish(simplex_agent *a, int64_t conn)
{
    struct args x = { .conn = conn };

    CHECK(a != NULL);
    return sx_agent_run(a, do_publish, &x, true);
}

static simplex_rc do_short_link(struct simplex_agent *a, void *p)
{
    struct args *x = p;
    struct sx_wr w;
    simplex_rc rc;

    sx_wr_init(&w, SX_LINK_TEXT_MAX);
    rc = sx_short_text(a, x->conn, &w);
    if (rc == SIMPLEX_OK)
        rc = give(x, sx_wr_bytes(&w));
    sx_wr_free(&w);
    return rc;
}

simplex_rc simplex_agent_short_link(simplex_agent *a, int64_t conn, char *to, size_t *len)
{
    struct args x = { .conn = conn, .out = to, .len = len };

    CHECK(a != NULL && len != NULL && (to != NULL || *len == 0));
    return sx_agent_run(a, do_short_link, &x, false);
}

static simplex_rc do_set_link_data(struct simplex_agent *a, void *p)
{
    struct link_args *x = p;

    return sx_set_link_data(a, x->conn, x->data);
}

simplex_rc simplex_agent_set_link_data(simplex_agent *a, int64_t conn,
                                       const simplex_link_data *data)
{
    struct link_args x = { .conn = conn, .data = data };

    CHECK(a != NULL && valid_link_data(data));
    return sx_agent_run(a, do_set_link_data, &x, true);
}

static simplex_rc do_delete_link_data(struct simplex_agent *a, void *p)
{
    struct args *x = p;

    return sx_delete_link_data(a, x->conn);
}

simplex_rc simplex_agent_delete_link_data(simplex_agent *a, int64_t conn)
{
    struct args x = { .conn = conn };

    CHECK(a != NULL);
    return sx_agent_run(a, do_delete_link_data, &x, true);
}

static simplex_rc do_look(struct simplex_agent *a, void *p)
{
    struct args *x = p;
    struct sx_wish wish = { .join = false };

    return sx_look(a, x->user, x->link, &wish, &x->conn);
}

simplex_rc simplex_agent_look(simplex_agent *a, simplex_bytes link, int64_t *conn)
{
    return simplex_agent_look_as(a, SIMPLEX_USER_DEFAULT, link, conn);
}

simplex_rc simplex_agent_look_as(simplex_agent *a, int64_t user, simplex_bytes link, int64_t *conn)
{
    struct args x = { .user = user, .link = link };
    simplex_rc rc;

    CHECK(a != NULL && conn != NULL && valid(link));
    rc = sx_agent_run(a, do_look, &x, true);
    *conn = rc == SIMPLEX_OK ? x.conn : 0;
    return rc;
}

/* ---- messages ---- */

static simplex_rc do_ack(struct simplex_agent *a, void *p)
{
    struct args *x = p;

    return sx_user_ack(a, x->conn, x->id, x->on ? &x->info : NULL);
}

simplex_rc simplex_agent_ack(simplex_agent *a, int64_t conn, int64_t msg_id)
{
    struct args x = { .conn = conn, .id = msg_id };

    CHECK(a != NULL);
    return sx_agent_run(a, do_ack, &x, true);
}

simplex_rc simplex_agent_ack_receipt(simplex_agent *a, int64_t conn, int64_t msg_id,
                                     simplex_bytes info)
{
    struct args x = { .conn = conn, .id = msg_id, .info = info, .on = true };

    CHECK(a != NULL && valid(info));
    return sx_agent_run(a, do_ack, &x, true);
}

static simplex_rc do_sync(struct simplex_agent *a, void *p)
{
    struct args *x = p;

    return sx_sync_start(a, x->conn, x->on);
}

simplex_rc simplex_agent_sync_ratchet(simplex_agent *a, int64_t conn, bool force)
{
    struct args x = { .conn = conn, .on = force };

    CHECK(a != NULL);
    return sx_agent_run(a, do_sync, &x, true);
}

static simplex_rc do_subscribe(struct simplex_agent *a, void *p)
{
    struct args *x = p;

    return sx_set_subscribed(a, x->conn, x->on);
}

simplex_rc simplex_agent_subscribe(simplex_agent *a, int64_t conn, bool on)
{
    struct args x = { .conn = conn, .on = on };

    CHECK(a != NULL);
    return sx_agent_run(a, do_subscribe, &x, true);
}

static simplex_rc do_delete(struct simplex_agent *a, void *p)
{
    struct args *x = p;

    return sx_delete(a, x->conn);
}

simplex_rc simplex_agent_delete(simplex_agent *a, int64_t conn)
{
    struct args x = { .conn = conn };

    CHECK(a != NULL);
    return sx_agent_run(a, do_delete, &x, true);
}

static simplex_rc do_delete_after_sending(struct simplex_agent *a, void *p)
{
    struct args *x = p;

    return sx_delete_after_sending(a, x->conn);
}

simplex_rc simplex_agent_delete_after_sending(simplex_agent *a, int64_t conn)
{
    struct args x = { .conn = conn };

    CHECK(a != NULL);
    return sx_agent_run(a, do_delete_after_sending, &x, true);
}

simplex_rc simplex_agent_switch(simplex_agent *a, int64_t conn, simplex_bytes server)
{
    return simplex_agent_switch_queue(a, conn, 0, server);
}

static simplex_rc do_abort_switch(struct simplex_agent *a, void *p)
{
    struct args *x = p;

    return sx_switch_abort(a, x->conn);
}

simplex_rc simplex_agent_abort_switch(simplex_agent *a, int64_t conn)
{
    struct args x = { .conn = conn };

    CHECK(a != NULL);
    return sx_agent_run(a, do_abort_switch, &x, true);
}

static simplex_rc fill_info(struct simplex_agent *a, const struct sx_conn *c,
                            simplex_connection_info *out)
{
    struct sx_rcv_queue q;
    struct sx_ratchet r;
    struct sx_rt_rcvq *rt;
    simplex_rc rc = SIMPLEX_OK;

    out->state = c->state;
    out->initiator = c->role == SX_INITIATOR;
    out->address = c->role == SX_ADDRESS;
    out->agent_version = c->agent_version;
    out->last_msg_id = c->last_id;
    out->sent = c->last_snd_id;
    out->received = c->last_rcv_ext_id;
    out->user = c->user;
    out->sync_state = c->sync_state;
    out->suspended = c->suspended;
    out->subscribed = false;
    for (unsigned n = 0; rc == SIMPLEX_OK && !out->subscribed; n++) { /* of several one is enough */
        rc = sx_store_rcvq_of(a->store, c->id, n, &q);
        rt = rc == SIMPLEX_OK ? sx_rt_rcvq_by_id(a, q.id) : NULL;
        out->subscribed = rt != NULL && rt->sub == SX_SUB_ACTIVE && !q.deleted;
    }
    sx_wipe(&q, sizeof q);
    memset(&r, 0, sizeof r);
    if (rc == SIMPLEX_OK || rc == SIMPLEX_E_NOT_FOUND)
        rc = sx_store_ratchet_get(a->store, c->id, &r);
    out->pq_snd = r.snd_kem;
    out->pq_rcv = r.rcv_kem;
    sx_ratchet_wipe(&r);
    if (rc == SIMPLEX_OK || rc == SIMPLEX_E_NOT_FOUND)
        rc = sx_store_delivery_count(a->store, c->id, &out->pending);
    if (rc == SIMPLEX_OK)
        rc = sx_rcv_switch_phase(a, c->id, &out->rcv_switch);
    if (rc == SIMPLEX_OK)
        rc = sx_snd_switch_phase(a, c->id, &out->snd_switch);
    return rc;
}

static simplex_rc do_info(struct simplex_agent *a, void *p)
{
    struct args *x = p;
    struct sx_conn c;
    simplex_rc rc = get_conn(a, x->conn, &c);

    return rc == SIMPLEX_OK ? fill_info(a, &c, x->out) : rc;
}

simplex_rc simplex_agent_connection(simplex_agent *a, int64_t conn, simplex_connection_info *out)
{
    struct args x = { .conn = conn, .out = out };
    size_t size;

    CHECK(a != NULL && out != NULL && out->size >= sizeof *out);
    size = out->size;
    memset(out, 0, sizeof *out);
    out->size = size;
    return sx_agent_run(a, do_info, &x, false);
}

static simplex_rc do_list(struct simplex_agent *a, void *p)
{
    struct args *x = p;
    size_t room = *x->len, n = 0;
    int64_t *ids = x->out, after = x->id, id;
    struct sx_conn c;
    simplex_rc rc = SIMPLEX_OK;

    while (rc == SIMPLEX_OK && n < room) {
        size_t one = 1;
        rc = sx_store_conn_list(a->store, after, &id, &one);
        if (rc != SIMPLEX_OK || one == 0)
            break;
        after = id;
        rc = sx_store_conn_get(a->store, id, &c);
        if (rc == SIMPLEX_OK && !c.deleted)
            ids[n++] = id;
    }
    *x->len = n;
    return rc;
}

simplex_rc simplex_agent_connections(simplex_agent *a, int64_t after, int64_t *ids, size_t *n)
{
    struct args x = { .id = after, .out = ids, .len = n };

    CHECK(a != NULL && ids != NULL && n != NULL);
    return sx_agent_run(a, do_list, &x, false);
}
