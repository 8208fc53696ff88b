/* SPDX-License-Identifier: Apache-2.0 */
/* The initiator lets the joiner in (agent.md section 6.1, steps 8 to 10). */
#include "agent/enqueue.h"
#include "agent/handshake.h"
#include "agent/several.h"
#include "agent/work.h"

/* Which commands stand between here and the confirmation depends on the mode of each queue: our
 * own is secured with KEY when the joiner could not do it, the joiner's with SKEY when we can. */
static simplex_rc secure_queues(struct simplex_agent *a, int64_t conn, struct sx_snd_queue *sq)
{
    struct sx_rcv_queue rq;
    bool key;
    simplex_rc rc = sx_store_rcvq_of(a->store, conn, 0, &rq);

    if (rc != SIMPLEX_OK)
        return rc;
    key = rq.sender_key.alg != SX_NO_KEY && rq.status < SX_Q_SECURED;
    if (key)
        rc = sx_command_add(a, conn, SX_C_KEY, rq.id, sx_bytes(NULL, 0));
    if (rc == SIMPLEX_OK && sq->mode == SX_MODE_MESSAGING)
        rc = sx_command_add(a, conn, SX_C_SKEY, sq->id, sx_bytes(NULL, 0));
    else if (rc == SIMPLEX_OK && !key)
        rc = sx_snd_queue_open(a, sq);
    sx_wipe(&rq, sizeof rq);
    return rc;
}

/* What the joiner lists; more than we use is not even looked at. */
static simplex_rc reply_queues(const struct simplex_agent *a, const struct sx_confirmation *conf,
                               struct sx_queue_addr list[SX_QUEUES_MAX], size_t *n,
                               uint16_t *version)
{
    struct sx_rd r = sx_rd_init(conf->reply_queue);

    for (*n = 0; *n < SX_QUEUES_MAX && (*n == 0 || !sx_rd_done(&r)); ++*n)
        sx_queue_info_decode(&r, &list[*n]);
    if (r.bad)
        return SIMPLEX_E_DB_DAMAGED;
    *version = list[0].v.max < a->speaks.client.max ? list[0].v.max : a->speaks.client.max;
    *n = sx_usable_queues(list, *n);
    return SIMPLEX_OK;
}

static simplex_rc accept_joiner(struct simplex_agent *a, struct sx_conn *c,
                         const struct sx_confirmation *conf, simplex_bytes info)
{
    struct sx_agent_msg msg = { .tag = SX_AM_INFO, .info = info };
    struct sx_outgoing o = { .notify = true };
    struct sx_queue_addr list[SX_QUEUES_MAX];
    struct sx_snd_queue sq;
    size_t n = 0;
    uint16_t version;
    int64_t id;
    simplex_rc rc = reply_queues(a, conf, list, &n, &version);

    if (rc == SIMPLEX_OK)
        rc = sx_new_snd_queue(a, c->id, &list[0], version, &sq);
    if (rc != SIMPLEX_OK)
        return rc;
    c->peer_several = c->peer_several || n > 1;
    rc = secure_queues(a, c->id, &sq);
    sx_wipe(&sq, sizeof sq);
    if (rc == SIMPLEX_OK)
        rc = sx_more_snd_queues(a, c->id, list, n, version);
    c->state = SX_CONN_ACCEPTED;
    if (rc == SIMPLEX_OK)
        rc = sx_enqueue(a, c, &msg, &o, &id);
    return rc;
}

simplex_rc sx_allow(struct simplex_agent *a, int64_t conn, int64_t conf_id, simplex_bytes info)
{
    struct sx_conn c;
    struct sx_confirmation conf;
    simplex_rc rc = sx_store_conn_get(a->store, conn, &c);

    if (rc == SIMPLEX_OK && c.deleted)
        rc = SIMPLEX_E_NOT_FOUND;
    if (rc == SIMPLEX_OK && c.state == SX_CONN_READY) /* confirmations are gone: a repeat */
        return SIMPLEX_OK;
    if (rc == SIMPLEX_OK)
        rc = sx_store_conf_get(a->store, conf_id, &conf);
    if (rc == SIMPLEX_E_NOT_FOUND && c.state == SX_CONN_ACCEPTED)
        return SIMPLEX_OK; /* it went when its answer was delivered */
    if (rc != SIMPLEX_OK)
        return rc;
    if (conf.conn_id != conn)
        return SIMPLEX_E_NOT_FOUND;
    if (conf.accepted)
        return SIMPLEX_OK;
    if (c.state != SX_CONN_CONFIRMED)
        return SIMPLEX_E_PROHIBITED;
    if (info.len > sx_info_max(c.agent_version, c.pq_support))
        return SIMPLEX_E_TOO_LARGE;
    rc = sx_store_conf_accept(a->store, conf_id, info);
    if (rc == SIMPLEX_OK)
        rc = sx_store_conf_get(a->store, conf_id, &conf);
    if (rc == SIMPLEX_OK)
        rc = accept_joiner(a, &c, &conf, info);
    return rc;
}
