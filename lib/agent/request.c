/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Contact addresses, the requester's side (agent.md section 6.2): a connection of our own is made
 * as by an initiator, but its link goes to the address instead of to the application. What comes
 * back is the confirmation of the owner, who joined it.
 */
#include "agent/address.h"
#include "agent/envelope.h"
#include "agent/event.h"
#include "agent/handshake.h"
#include "agent/several.h"
#include "agent/work.h"

/* What NEW leads to: where the link goes, and what is said with it. */
static void encode_target(struct sx_wr *w, const struct sx_queue_addr *to, simplex_bytes info)
{
    sx_wr_large(w, info);
    sx_queue_uri_encode(w, to);
}

static simplex_rc decode_target(simplex_bytes data, struct sx_queue_addr *to, simplex_bytes *info)
{
    struct sx_rd r = sx_rd_init(data);

    *info = sx_rd_large(&r);
    sx_queue_uri_decode(&r, to);
    return sx_rd_done(&r) ? SIMPLEX_OK : SIMPLEX_E_DB_DAMAGED;
}

static simplex_rc start(struct simplex_agent *a, struct sx_conn *c, simplex_bytes target,
                        const struct sx_server *address)
{
    struct sx_rcv_queue q;
    struct sx_x3dh_keys keys;
    simplex_rc rc;

    memset(&keys, 0, sizeof keys);
    memset(&q, 0, sizeof q);
    rc = sx_conn_begin(a, c);
    if (rc == SIMPLEX_OK)
        rc = sx_new_rcv_queue(a, c, address, a->speaks.client.max, &q);
    if (rc == SIMPLEX_OK)
        rc = sx_x3dh_keys_new(c->pq_support, &keys); /* its reader knows the KEM (section 3.6) */
    if (rc == SIMPLEX_OK)
        rc = sx_store_x3dh_put(a->store, c->id, &keys);
    if (rc == SIMPLEX_OK)
        rc = sx_make_queues(a, c, &q, address, target);
    sx_x3dh_keys_wipe(&keys);
    sx_wipe(&q, sizeof q);
    return rc;
}

simplex_rc sx_request(struct simplex_agent *a, int64_t user, const struct sx_link *l,
                      simplex_bytes info, int32_t pq, int64_t *conn)
{
    struct sx_conn c = { .user = user,
                         .role = SX_INITIATOR,
                         .state = SX_CONN_NEW,
                         .subscribe = !a->only_create,
                         .created_at = sx_now_ms() };
    struct sx_queue_addr to = l->queues[0];
    struct sx_wr target;
    simplex_rc rc;

    c.id = *conn;
    c.agent_version = sx_range_agree(l->agent_v, a->speaks.agent);
    to.v.max = sx_range_agree(to.v, a->speaks.client);
    to.v.min = to.v.max;
    to.mode = SX_MODE_CONTACT; /* a binary address of an old version may not tell */
    if (c.agent_version == 0 || to.v.max == 0)
        return SIMPLEX_E_VERSION;
    c.pq_support = pq != SIMPLEX_PQ_OFF && sx_kem_available() && c.agent_version >= 5;
    if (info.len > sx_info_max(c.agent_version, c.pq_support))
        return SIMPLEX_E_TOO_LARGE;
    sx_wr_init(&target, 32768);
    encode_target(&target, &to, info);
    rc = target.bad ? SIMPLEX_E_NOMEM : start(a, &c, sx_wr_bytes(&target), &to.server);
    sx_wr_free(&target);
    *conn = c.id;
    return rc;
}

simplex_rc sx_request_ready(struct simplex_agent *a, struct sx_conn *c,
                            const struct sx_rcv_queue *q, simplex_bytes target)
{
    simplex_rc rc;

    c->state = SX_CONN_REQUESTED;
    rc = sx_store_conn_update(a->store, c);
    return rc == SIMPLEX_OK ? sx_command_add(a, c->id, SX_C_INVITATION, q->id, target) : rc;
}

/* The link, under a key that is used for this body only: an address agrees on no secret. */
static simplex_rc seal(struct simplex_agent *a, const struct sx_conn *c,
                       const struct sx_rcv_queue *q, const struct sx_queue_addr *to,
                       simplex_bytes info, size_t queues, struct sx_wr *body)
{
    struct sx_envelope env = { .version = c->agent_version,
                               .tag = SX_ENV_INVITATION,
                               .body = info };
    struct sx_wr link;
    simplex_rc rc;

    sx_wr_init(&link, SX_LINK_TEXT_MAX);
    rc = sx_invitation_short_of(a, c, q, queues, &link);
    env.link = sx_wr_bytes(&link);
    if (rc == SIMPLEX_OK)
        rc = sx_seal_once(to, &env, body);
    sx_wr_free(&link);
    return rc;
}

simplex_rc sx_request_body(struct simplex_agent *a, const struct sx_command *cmd,
                           struct sx_queue_addr *to, struct sx_wr *body)
{
    struct sx_conn c;
    struct sx_rcv_queue q;
    struct sx_wr target;
    simplex_bytes info;
    simplex_rc rc;

    memset(&q, 0, sizeof q);
    sx_wr_init(&target, 32768); /* cmd->data lives until the next call on the store */
    sx_wr_raw(&target, cmd->data);
    rc = target.bad ? SIMPLEX_E_NOMEM : decode_target(sx_wr_bytes(&target), to, &info);
    if (rc == SIMPLEX_OK)
        rc = sx_store_conn_get(a->store, cmd->conn_id, &c);
    if (rc == SIMPLEX_OK)
        rc = sx_store_rcvq_get(a->store, cmd->queue_id, &q);
    if (rc == SIMPLEX_OK)
        rc = seal(a, &c, &q, to, info, SX_QUEUES_MAX, body);
    for (size_t n = SX_QUEUES_MAX; rc == SIMPLEX_E_TOO_LARGE && n-- > 1;) {
        sx_wr_free(body); /* no room for as many queues beside the information */
        rc = seal(a, &c, &q, to, info, n, body);
    }
    sx_wr_free(&target);
    sx_wipe(&q, sizeof q);
    return rc;
}

simplex_rc sx_request_sent(struct simplex_agent *a, const struct sx_conn *c)
{
    return sx_emit_simple(a, SIMPLEX_EV_JOINED, c->id);
}

simplex_rc sx_request_answered(struct simplex_agent *a, const struct sx_conn *c)
{
    struct sx_rt_conn *w = sx_rt_conn_get(a, c->id, false);
    struct sx_command cmd;
    simplex_rc rc = sx_store_command_next(a->store, c->id, 0, &cmd);

    if (rc != SIMPLEX_OK || cmd.tag != SX_C_INVITATION)
        return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
    rc = sx_store_command_delete(a->store, cmd.id);
    if (w != NULL) { /* what comes next need not wait for its repeat */
        w->waiting = false;
        w->delay = w->elapsed = 0;
    }
    return rc == SIMPLEX_OK ? sx_request_sent(a, c) : rc;
}
