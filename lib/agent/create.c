/* SPDX-License-Identifier: Apache-2.0 */
/* The initiator's first steps: a queue of its own and the link to it (agent.md section 6.1). */
#include "agent/address.h"
#include "agent/event.h"
#include "agent/handshake.h"
#include "agent/links.h"
#include "agent/push.h"
#include "agent/services.h"
#include "agent/several.h"
#include "agent/switch.h"
#include "agent/users.h"
#include "agent/work.h"

simplex_rc sx_rcv_queue_keys(struct sx_rcv_queue *q)
{
    simplex_rc rc = sx_keypair_new(SX_ED25519, &q->auth);

    return rc == SIMPLEX_OK ? sx_keypair_new(SX_X25519, &q->dh) : rc;
}

simplex_rc sx_new_rcv_queue_on(struct simplex_agent *a, int64_t conn,
                               const struct sx_server *server, uint16_t client_version,
                               int64_t replaces, struct sx_rcv_queue *q)
{
    simplex_rc rc;

    memset(q, 0, sizeof *q);
    q->conn_id = conn;
    q->server = *server;
    q->replaces = replaces;
    q->mode = SX_MODE_NONE; /* the server's answer tells */
    q->client_version = client_version;
    q->status = SX_Q_NEW;
    q->primary = replaces == 0;
    rc = sx_rcv_queue_keys(q);
    if (rc == SIMPLEX_OK)
        rc = sx_keypair_new(SX_X25519, &q->e2e);
    if (rc == SIMPLEX_OK)
        rc = sx_store_rcvq_add(a->store, q);
    return rc == SIMPLEX_OK ? sx_notifier_for_queue(a, q) : rc;
}

simplex_rc sx_new_rcv_queue(struct simplex_agent *a, const struct sx_conn *c,
                            const struct sx_server *avoid, uint16_t client_version,
                            struct sx_rcv_queue *q)
{
    struct sx_choice choice = { .user = c->user,
                                .role = SX_SRV_STORAGE,
                                .used = { avoid },
                                .n_used = avoid != NULL };
    const struct sx_user_server *s;
    simplex_rc rc = sx_choose(a, &choice, &s);

    return rc == SIMPLEX_OK ? sx_new_rcv_queue_on(a, c->id, &s->server, client_version, 0, q) : rc;
}

simplex_rc sx_conn_begin(struct simplex_agent *a, struct sx_conn *c)
{
    struct sx_conn known;
    simplex_rc rc;

    if (c->id == 0) {
        c->rcv_queues = c->role != SX_ADDRESS ? sx_queues_wanted(a) : 0;
        rc = sx_user_check(a, c->user);
        return rc == SIMPLEX_OK ? sx_store_conn_add(a->store, c) : rc;
    }
    rc = sx_store_conn_get(a->store, c->id, &known);
    if (rc != SIMPLEX_OK)
        return rc;
    c->subscribe = known.subscribe;
    c->user = known.user;
    c->rcv_queues = a->queues_of_call > 0 ? sx_queues_wanted(a) : known.rcv_queues;
    return sx_store_conn_update(a->store, c);
}

static bool pq_possible(int32_t pq)
{
    return pq != SIMPLEX_PQ_OFF && sx_kem_available();
}

simplex_rc sx_create(struct simplex_agent *a, int64_t user, int32_t pq, int64_t *conn)
{
    struct sx_conn c = { .user = user,
                         .role = SX_INITIATOR,
                         .state = SX_CONN_NEW,
                         .subscribe = !a->only_create,
                         .pq_support = pq_possible(pq),
                         .created_at = sx_now_ms(),
                         .rcv_queues = sx_queues_wanted(a) };
    struct sx_rcv_queue q;
    struct sx_x3dh_keys keys;
    simplex_rc rc;

    memset(&keys, 0, sizeof keys);
    memset(&q, 0, sizeof q);
    rc = sx_conn_begin(a, &c);
    if (rc == SIMPLEX_OK)
        rc = sx_new_rcv_queue(a, &c, NULL, a->speaks.client.max, &q);
    if (rc == SIMPLEX_OK)
        rc = sx_x3dh_keys_new(pq_possible(pq) && pq == SIMPLEX_PQ_IN_LINK, &keys);
    if (rc == SIMPLEX_OK)
        rc = sx_store_x3dh_put(a->store, c.id, &keys);
    if (rc == SIMPLEX_OK)
        rc = sx_make_queues(a, &c, &q, NULL, sx_bytes(NULL, 0));
    sx_x3dh_keys_wipe(&keys);
    sx_wipe(&q, sizeof q);
    *conn = c.id;
    return rc;
}

/* ---- the answer to NEW ---- */

static void queue_address(const struct sx_rcv_queue *q, struct sx_range v,
                          struct sx_queue_addr *addr)
{
    memset(addr, 0, sizeof *addr);
    addr->v = v;
    addr->server = q->server;
    addr->snd_id = q->snd_id;
    addr->dh = q->e2e.pub;
    addr->mode = q->mode;
}

void sx_queue_info_of(const struct sx_rcv_queue *q, struct sx_queue_addr *addr)
{
    queue_address(q, (struct sx_range){ q->client_version, q->client_version }, addr);
}

simplex_rc sx_queue_link(struct simplex_agent *a, const struct sx_conn *c,
                         const struct sx_rcv_queue *q, struct sx_x3dh_keys *keys,
                         struct sx_queue_addr *list, size_t most, struct sx_link *link)
{
    struct sx_range v = a->speaks.client;
    size_t n = 1;
    simplex_rc rc = SIMPLEX_OK;

    memset(keys, 0, sizeof *keys);
    queue_address(q, v, list);
    if (c->role != SX_ADDRESS)
        rc = sx_list_queues(a, c, q->id, v, list, most, &n);
    if (rc != SIMPLEX_OK)
        return rc;
    *link = (struct sx_link){ .kind = c->role == SX_ADDRESS ? SX_LINK_CONTACT : SX_LINK_INVITATION,
                              .agent_v = a->speaks.agent,
                              .queues = list,
                              .n_queues = n };
    if (c->role == SX_ADDRESS)
        return SIMPLEX_OK;
    rc = sx_store_x3dh_get(a->store, c->id, keys);
    if (rc == SIMPLEX_OK)
        sx_x3dh_params(keys, a->speaks.e2e, &link->e2e);
    return rc;
}

/* The KEM key of a short link makes the full one too long for most uses: it is left out. */
static simplex_rc strip_kem(struct simplex_agent *a, const struct sx_rcv_queue *q,
                            struct sx_link *link)
{
    struct sx_link_row row;
    simplex_rc rc = sx_store_link_get(a->store, q->id, &row);

    if (rc == SIMPLEX_OK && !row.kem_in_full)
        memset(&link->e2e.kem, 0, sizeof link->e2e.kem);
    sx_wipe(&row, sizeof row);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

simplex_rc sx_invitation_short_of(struct simplex_agent *a, const struct sx_conn *c,
                                  const struct sx_rcv_queue *q, size_t most, struct sx_wr *w)
{
    struct sx_x3dh_keys keys;
    struct sx_queue_addr list[SX_QUEUES_MAX];
    struct sx_link link;
    simplex_rc rc = sx_queue_link(a, c, q, &keys, list, most, &link);

    if (rc == SIMPLEX_OK)
        rc = strip_kem(a, q, &link);
    if (rc == SIMPLEX_OK) {
        sx_link_print(w, &link, "simplex:");
        rc = w->bad ? SIMPLEX_E_NOMEM : SIMPLEX_OK;
    }
    sx_x3dh_keys_wipe(&keys);
    return rc;
}

simplex_rc sx_invitation_text(struct simplex_agent *a, const struct sx_conn *c,
                              const struct sx_rcv_queue *q, struct sx_wr *w)
{
    return sx_invitation_short_of(a, c, q, SX_QUEUES_MAX, w);
}

/* NEW may have subscribed it, whether or not that is wanted by now. */
static simplex_rc into_tables(struct simplex_agent *a, const struct sx_conn *c,
                              const struct sx_rcv_queue *q, const struct sx_rsp *rsp)
{
    const struct sx_rt_conn *w = sx_rt_conn_get(a, c->id, false);
    bool subscribed = w != NULL && w->subscribes;
    bool want = c->subscribe && !a->cfg.fetch_only;
    enum sx_sub_state sub = subscribed ? SX_SUB_ACTIVE : SX_SUB_PENDING;
    struct sx_rt_rcvq *rt;
    simplex_rc rc = sx_rt_rcvq_add(a, q, want, (uint8_t)(want ? sub : SX_SUB_NONE));

    rt = sx_rt_rcvq_by_id(a, q->id);
    if (rt != NULL) {
        rt->subscribed_here = subscribed;
        if (rsp->ids.has_service_id)
            rc = sx_svc_made(a, rt, rsp->ids.service_id);
    }
    return rc;
}

static simplex_rc store_ids(struct simplex_agent *a, const struct sx_conn *c,
                            struct sx_rcv_queue *q, const struct sx_rsp *rsp)
{
    uint8_t secret[SX_DH_MAX];
    simplex_rc rc;

    if (!sx_id_take(&q->rcv_id, rsp->ids.rcv_id) || !sx_id_take(&q->snd_id, rsp->ids.snd_id))
        return SIMPLEX_E_RESPONSE;
    rc = sx_dh(&q->dh.priv, &rsp->ids.srv_dh, secret);
    if (rc != SIMPLEX_OK)
        return rc;
    memcpy(q->srv_secret, secret, sizeof q->srv_secret);
    sx_wipe(secret, sizeof secret);
    q->has_srv_secret = true;
    if (c->role != SX_ADDRESS) /* an address is one whatever the server makes of it */
        q->mode = rsp->ids.mode;
    rc = sx_store_rcvq_update(a->store, q);
    if (rc == SIMPLEX_E_PROHIBITED) /* this server gave that id to another queue of ours */
        rc = SIMPLEX_E_RESPONSE;
    return rc == SIMPLEX_OK ? into_tables(a, c, q, rsp) : rc;
}

static simplex_rc invite(struct simplex_agent *a, struct sx_conn *c, const struct sx_rcv_queue *q)
{
    struct simplex_event ev;
    simplex_rc rc;

    sx_event_init(&ev, SIMPLEX_EV_INV, c->id);
    rc = sx_invitation_text(a, c, q, &ev.data);
    if (rc != SIMPLEX_OK) {
        sx_event_clear(&ev);
        return rc;
    }
    c->state = SX_CONN_INVITED;
    rc = sx_store_conn_update(a->store, c);
    if (rc != SIMPLEX_OK) {
        sx_event_clear(&ev);
        return rc;
    }
    rc = sx_emit(a, &ev);
    return rc == SIMPLEX_OK ? sx_link_show(a, c, q) : rc;
}

simplex_rc sx_conn_ready(struct simplex_agent *a, struct sx_conn *c, const struct sx_rcv_queue *q,
                         simplex_bytes data)
{
    if (c->role == SX_JOINER)
        return sx_join_reply(a, c, q, data);
    if (c->role == SX_INITIATOR && data.len > 0)
        return sx_request_ready(a, c, q, data);
    return invite(a, c, q);
}

simplex_rc sx_new_answered(struct simplex_agent *a, struct sx_conn *c,
                           const struct sx_command *cmd, const struct sx_rsp *rsp)
{
    struct sx_rcv_queue q;
    bool on = true, one_of = false;
    simplex_rc rc = sx_store_rcvq_get(a->store, cmd->queue_id, &q);

    if (rc == SIMPLEX_OK)
        rc = store_ids(a, c, &q, rsp);
    if (rc == SIMPLEX_OK && !c->deleted && !q.deleted)
        rc = sx_notifier_made(a, &q, rsp);
    if (rc == SIMPLEX_OK && !c->deleted)
        rc = sx_link_made(a, c, &q, rsp, &on);
    if (rc == SIMPLEX_OK && c->rcv_queues > 1)
        rc = sx_command_waits(a, c->id, SX_C_MADE, &one_of);
    if (rc == SIMPLEX_OK) {
        if (c->deleted || q.deleted) /* meanwhile: the queue must go as well */
            rc = sx_command_add(a, c->id, SX_C_DEL, q.id, sx_bytes(NULL, 0));
        else if (q.replaces != 0)
            rc = sx_switch_created(a, c, &q);
        else if (sx_is_added(&q))
            rc = sx_add_created(a, c, &q);
        else if (on && !one_of) /* else there is more to wait for */
            rc = sx_conn_ready(a, c, &q, cmd->data);
    }
    if (rc != SIMPLEX_OK) /* its row will be without ids again */
        sx_rt_rcvq_remove(a, cmd->queue_id);
    sx_wipe(&q, sizeof q);
    return rc;
}
