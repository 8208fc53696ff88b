/* SPDX-License-Identifier: Apache-2.0 */
/* The joiner's first steps: from a link to the confirmation (agent.md section 6.1, 2 to 6). */
#include "agent/address.h"
#include "agent/enqueue.h"
#include "agent/event.h"
#include "agent/handshake.h"
#include "agent/links.h"
#include "agent/several.h"
#include "agent/work.h"

#define INFO_MAX 14300 /* leaves room for the longest address of the reply queue */
#define INFO_MAX_PQ 10500

size_t sx_info_max(uint16_t agent_version, bool pq)
{
    return pq && agent_version >= 5 ? INFO_MAX_PQ : INFO_MAX;
}

simplex_rc sx_new_snd_queue(struct simplex_agent *a, int64_t conn,
                            const struct sx_queue_addr *addr, uint16_t client_version,
                            struct sx_snd_queue *q)
{
    struct sx_keypair e2e;
    uint8_t secret[SX_DH_MAX];
    simplex_rc rc;

    memset(q, 0, sizeof *q);
    memset(&e2e, 0, sizeof e2e);
    q->conn_id = conn;
    q->server = addr->server;
    q->snd_id = addr->snd_id;
    q->mode = addr->mode;
    q->client_version = client_version;
    q->status = SX_Q_NEW;
    q->primary = true;
    rc = sx_keypair_new(SX_ED25519, &q->auth);
    if (rc == SIMPLEX_OK)
        rc = sx_keypair_new(SX_X25519, &e2e);
    if (rc == SIMPLEX_OK)
        rc = sx_dh(&e2e.priv, &addr->dh, secret);
    if (rc == SIMPLEX_OK) {
        memcpy(q->e2e_secret, secret, sizeof q->e2e_secret);
        q->e2e_pub = e2e.pub;
        rc = sx_store_sndq_add(a->store, q);
    }
    sx_wipe(secret, sizeof secret);
    sx_keypair_wipe(&e2e);
    return rc;
}

/* Nothing has to be done on its server before the confirmation may be delivered. */
simplex_rc sx_snd_queue_open(struct simplex_agent *a, struct sx_snd_queue *q)
{
    q->status = SX_Q_CONFIRMED;
    sx_wake_delivery(a, q->id, q->conn_id);
    return sx_store_sndq_update(a->store, q);
}

struct agreed {
    uint16_t agent, client, e2e;
};

static simplex_rc agree(const struct simplex_agent *a, const struct sx_link *l, struct agreed *v)
{
    v->agent = sx_range_agree(l->agent_v, a->speaks.agent);
    v->client = sx_range_agree(l->queues[0].v, a->speaks.client);
    v->e2e = sx_range_agree(l->e2e.v, a->speaks.e2e);
    return v->agent != 0 && v->client != 0 && v->e2e != 0 ? SIMPLEX_OK : SIMPLEX_E_VERSION;
}

/* X3DH and the ratchet, stored at once: only the public half leaves in the confirmation. */
static simplex_rc start_ratchet(struct simplex_agent *a, const struct sx_conn *c,
                                const struct sx_link *l, uint16_t version, struct sx_wr *params)
{
    struct sx_ratchet r;
    struct sx_x3dh_keys own;
    struct sx_e2e_params e2e;
    struct sx_wr w;
    simplex_rc rc;

    memset(&r, 0, sizeof r);
    memset(&own, 0, sizeof own);
    rc = sx_ratchet_init_send(&r, &l->e2e, version, c->pq_support, &own, &e2e, NULL);
    if (rc == SIMPLEX_OK) {
        r.max_supported = a->speaks.e2e.max;
        sx_wr_init(&w, 8192);
        sx_e2e_params_encode(&w, &e2e);
        sx_wr_large(params, sx_wr_bytes(&w));
        rc = w.bad ? SIMPLEX_E_NOMEM : sx_store_ratchet_put(a->store, c->id, &r, NULL);
        sx_wr_free(&w);
    }
    sx_x3dh_keys_wipe(&own);
    sx_ratchet_wipe(&r);
    return rc;
}

/* A short link was looked at: its key is set in the queue already (section 5.3). */
static simplex_rc use_look(struct simplex_agent *a, int64_t conn, struct sx_snd_queue *q,
                           bool *secured)
{
    struct sx_look look;
    simplex_rc rc = sx_store_look_get(a->store, conn, &look);

    *secured = rc == SIMPLEX_OK;
    if (rc != SIMPLEX_OK)
        return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
    q->auth = look.auth;
    q->status = SX_Q_SECURED;
    sx_wipe(&look, sizeof look);
    return sx_store_sndq_update(a->store, q);
}

static simplex_rc make_queues(struct simplex_agent *a, const struct sx_conn *c,
                              const struct sx_link *l, const struct agreed *v,
                              simplex_bytes reply_data)
{
    struct sx_snd_queue sq;
    struct sx_rcv_queue rq;
    bool secured = false;
    simplex_rc rc;

    memset(&rq, 0, sizeof rq);
    rc = sx_new_snd_queue(a, c->id, &l->queues[0], v->client, &sq);
    if (rc == SIMPLEX_OK)
        rc = use_look(a, c->id, &sq, &secured);
    if (rc == SIMPLEX_OK)
        rc = sx_new_rcv_queue(a, c, &sq.server, v->client, &rq);
    if (rc == SIMPLEX_OK && secured)
        ; /* nothing more to do there */
    else if (rc == SIMPLEX_OK && sq.mode == SX_MODE_MESSAGING)
        rc = sx_command_add(a, c->id, SX_C_SKEY, sq.id, sx_bytes(NULL, 0));
    else if (rc == SIMPLEX_OK)
        rc = sx_snd_queue_open(a, &sq);
    if (rc == SIMPLEX_OK && c->peer_several)
        rc = sx_more_snd_queues(a, c->id, l->queues, sx_usable_queues(l->queues, l->n_queues),
                                v->client);
    if (rc == SIMPLEX_OK)
        rc = sx_make_queues(a, c, &rq, &sq.server, reply_data);
    sx_wipe(&sq, sizeof sq);
    sx_wipe(&rq, sizeof rq);
    return rc;
}

simplex_rc sx_join_link(struct simplex_agent *a, int64_t user, const struct sx_link *l,
                        simplex_bytes info, int32_t pq, int64_t *conn)
{
    struct sx_conn c = { .user = user,
                         .role = SX_JOINER,
                         .state = SX_CONN_NEW,
                         .subscribe = !a->only_create,
                         .created_at = sx_now_ms() };
    struct agreed v;
    struct sx_wr data;
    simplex_rc rc = agree(a, l, &v);

    if (rc != SIMPLEX_OK)
        return rc;
    c.id = *conn;
    c.agent_version = v.agent;
    c.peer_several = sx_usable_queues(l->queues, l->n_queues) > 1;
    c.pq_support = pq != SIMPLEX_PQ_OFF && sx_kem_available() && v.agent >= 5 && v.e2e >= 3;
    if (info.len > sx_info_max(c.agent_version, c.pq_support))
        return SIMPLEX_E_TOO_LARGE;
    sx_wr_init(&data, 32768);
    rc = sx_conn_begin(a, &c);
    if (rc == SIMPLEX_OK)
        rc = start_ratchet(a, &c, l, v.e2e, &data);
    sx_wr_large(&data, info);
    if (rc == SIMPLEX_OK)
        rc = data.bad ? SIMPLEX_E_NOMEM : make_queues(a, &c, l, &v, sx_wr_bytes(&data));
    sx_wr_free(&data);
    *conn = c.id;
    return rc;
}

simplex_rc sx_join(struct simplex_agent *a, int64_t user, simplex_bytes link, simplex_bytes info,
                   int32_t pq, int64_t *conn)
{
    struct sx_link l;
    simplex_rc rc;

    memset(&l, 0, sizeof l);
    *conn = 0;
    rc = sx_link_parse(link, &l);
    if (rc == SIMPLEX_E_LINK) {
        struct sx_wish wish = { .join = true, .pq = pq, .info = info };
        return sx_look(a, user, link, &wish, conn);
    }
    if (rc != SIMPLEX_OK)
        return rc;
    if (l.kind == SX_LINK_CONTACT)
        rc = sx_request(a, user, &l, info, pq, conn);
    else
        rc = sx_join_link(a, user, &l, info, pq, conn);
    sx_link_free(&l);
    return rc;
}

static void reply_item(struct sx_wr *w, struct sx_queue_addr *addr)
{
    if (addr->mode == SX_MODE_NONE && addr->v.max >= 4)
        addr->mode = SX_MODE_CONTACT; /* else the first letter of info could be read as the mode */
    sx_queue_info_encode(w, addr);
}

/* The number of queues that the initiator is told of. */
static simplex_rc send_reply(struct simplex_agent *a, struct sx_conn *c,
                             struct sx_agent_msg *msg, const struct sx_outgoing *o,
                             struct sx_queue_addr *list, size_t n)
{
    struct sx_wr w;
    int64_t id;
    simplex_rc rc;

    sx_wr_init(&w, 32768);
    for (size_t i = 0; i < n; i++)
        reply_item(&w, &list[i]);
    msg->queues = (struct sx_list){ (unsigned)n, sx_wr_bytes(&w) };
    rc = w.bad ? SIMPLEX_E_NOMEM : sx_enqueue(a, c, msg, o, &id);
    sx_wr_free(&w);
    return rc;
}

/* The reply queue exists: its address and our information go to the initiator, as number 1. Those
 * beside it that there is no room for are left out, and go when they turn out not to be used. */
simplex_rc sx_join_reply(struct simplex_agent *a, struct sx_conn *c, const struct sx_rcv_queue *q,
                         simplex_bytes data)
{
    struct sx_rd r = sx_rd_init(data);
    struct sx_outgoing o = { .notify = true };
    struct sx_agent_msg msg = { .tag = SX_AM_INFO_REPLY };
    struct sx_queue_addr list[SX_QUEUES_MAX];
    size_t n;
    simplex_rc rc;

    o.e2e = sx_rd_large(&r);
    msg.info = sx_rd_large(&r);
    if (!sx_rd_done(&r))
        return SIMPLEX_E_DB_DAMAGED;
    sx_queue_info_of(q, &list[0]);
    rc = sx_list_queues(a, c, q->id, list[0].v, list, SX_QUEUES_MAX, &n);
    c->state = SX_CONN_JOINING;
    if (rc == SIMPLEX_OK)
        rc = send_reply(a, c, &msg, &o, list, n);
    while (rc == SIMPLEX_E_TOO_LARGE && n > 1)
        rc = send_reply(a, c, &msg, &o, list, --n);
    if (rc == SIMPLEX_OK)
        rc = sx_emit_simple(a, SIMPLEX_EV_JOINED, c->id);
    return rc;
}
