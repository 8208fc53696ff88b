/* SPDX-License-Identifier: Apache-2.0 */
/* What each command of a connection is on the wire (protocol/smp.md section 6). */
#include "agent/address.h"
#include "agent/command.h"
#include "agent/links.h"
#include "agent/push.h"
#include "agent/route.h"
#include "agent/services.h"
#include "agent/switch.h"
#include "agent/users.h"
#include "agent/work.h"

static simplex_rc send_to(struct simplex_agent *a, struct sx_rt_conn *w,
                          const struct sx_server *server, struct sx_request *req)
{
    req->done = sx_command_answered;
    req->ctx = (void *)(intptr_t)w->id;
    return sx_request_send(a, w->id, server, req, &w->server);
}

/* To the server of a contact. */
static simplex_rc route_to(struct simplex_agent *a, struct sx_rt_conn *w,
                           const struct sx_server *server, struct sx_request *req)
{
    req->done = sx_command_answered;
    req->ctx = (void *)(intptr_t)w->id;
    return sx_route_send(a, w->id, server, req, &w->server);
}

/* Creates a queue that only the sender it is made for can write to (mode M), or an address. */
static simplex_rc send_new(struct simplex_agent *a, struct sx_rt_conn *w,
                           const struct sx_rcv_queue *q, simplex_bytes data)
{
    struct sx_conn c;
    bool service;
    struct sx_cmd cmd = { .tag = SX_NEW };
    struct sx_request req = { .cmd = &cmd, .key = &q->auth, .corr_id = w->corr_id };
    simplex_bytes password;
    struct sx_link_row link;
    int64_t user;
    simplex_rc rc = sx_user_of(a, q->conn_id, &user);

    if (rc == SIMPLEX_OK)
        rc = sx_store_conn_get(a->store, w->id, &c);
    if (rc == SIMPLEX_OK)
        rc = sx_notifier_new(a, q->id, &cmd);
    if (rc != SIMPLEX_OK)
        return rc;
    password = sx_new_password(a, user, q, data);
    rc = sx_svc_use_for(a, w->id, &q->server, &service);
    if (rc != SIMPLEX_OK)
        return rc;
    /* A service's queues are subscribed from the start (smp.md section 6.3). */
    w->subscribes = (c.subscribe && !a->cfg.fetch_only) || service;
    cmd.new_.auth = q->auth.pub;
    cmd.new_.dh = q->dh.pub;
    cmd.new_.has_password = password.len > 0;
    cmd.new_.password = password;
    cmd.new_.subscribe = w->subscribes;
    cmd.new_.mode = q->mode == SX_MODE_CONTACT ? SX_MODE_CONTACT : SX_MODE_MESSAGING;
    rc = sx_link_new(a, q, &link, &cmd);
    if (rc == SIMPLEX_OK && cmd.new_.has_link)
        memcpy(w->corr_id, link.corr_id, sizeof w->corr_id); /* the sender id was made of it */
    else
        sx_random(w->corr_id, sizeof w->corr_id);
    if (rc == SIMPLEX_OK)
        rc = send_to(a, w, &q->server, &req);
    sx_wipe(&link, sizeof link);
    return rc;
}

static simplex_rc send_lset(struct simplex_agent *a, struct sx_rt_conn *w,
                            const struct sx_rcv_queue *q)
{
    struct sx_cmd cmd = { .tag = SX_LSET };
    struct sx_request req = { .cmd = &cmd, .key = &q->auth, .entity = sx_id_bytes(&q->rcv_id) };
    struct sx_link_row link;
    simplex_rc rc = sx_store_link_get(a->store, q->id, &link);

    if (rc != SIMPLEX_OK)
        return rc;
    cmd.lset.link_id = sx_bytes(link.link_id, sizeof link.link_id);
    cmd.lset.fixed = link.fixed;
    cmd.lset.user = link.user;
    rc = send_to(a, w, &q->server, &req);
    sx_wipe(&link, sizeof link);
    return rc;
}

static simplex_rc send_ldel(struct simplex_agent *a, struct sx_rt_conn *w,
                            const struct sx_rcv_queue *q)
{
    struct sx_cmd cmd = { .tag = SX_LDEL };
    struct sx_request req = { .cmd = &cmd, .key = &q->auth, .entity = sx_id_bytes(&q->rcv_id) };

    return send_to(a, w, &q->server, &req);
}

static simplex_rc send_look(struct simplex_agent *a, struct sx_rt_conn *w)
{
    struct sx_cmd cmd;
    struct sx_request req = { .cmd = &cmd };
    struct sx_short_link s;
    struct sx_look l;
    simplex_rc rc = sx_look_send(a, w->id, &l, &s, &cmd, &req);

    if (rc == SIMPLEX_OK)
        rc = route_to(a, w, &s.server, &req);
    sx_wipe(&l, sizeof l);
    sx_wipe(&s, sizeof s);
    return rc;
}

static simplex_rc send_notifier(struct simplex_agent *a, struct sx_rt_conn *w,
                                const struct sx_rcv_queue *q, const struct sx_command *c)
{
    struct sx_cmd cmd = { .tag = SX_NDEL };
    struct sx_request req = { .cmd = &cmd, .key = &q->auth, .entity = sx_id_bytes(&q->rcv_id) };
    bool moot;
    simplex_rc rc = sx_notifier_cmd(a, c, &cmd, &moot);

    if (rc != SIMPLEX_OK || moot)
        return rc != SIMPLEX_OK ? rc : SIMPLEX_E_NO_EVENT;
    return send_to(a, w, &q->server, &req);
}

static simplex_rc send_key(struct simplex_agent *a, struct sx_rt_conn *w,
                           const struct sx_rcv_queue *q)
{
    struct sx_cmd cmd = { .tag = SX_KEY };
    struct sx_request req = { .cmd = &cmd, .key = &q->auth, .entity = sx_id_bytes(&q->rcv_id) };

    cmd.key.key = q->sender_key;
    return send_to(a, w, &q->server, &req);
}

static simplex_rc send_plain(struct simplex_agent *a, struct sx_rt_conn *w,
                             const struct sx_rcv_queue *q, enum sx_cmd_tag tag)
{
    struct sx_cmd cmd = { .tag = tag };
    struct sx_request req = { .cmd = &cmd, .key = &q->auth, .entity = sx_id_bytes(&q->rcv_id) };

    return send_to(a, w, &q->server, &req);
}

/* The queue is gone: the peer moved it meanwhile, or does without it. */
static simplex_rc moot(simplex_rc rc)
{
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_E_NO_EVENT : rc;
}

static simplex_rc send_skey(struct simplex_agent *a, struct sx_rt_conn *w, int64_t queue)
{
    struct sx_snd_queue q;
    struct sx_cmd cmd = { .tag = SX_SKEY };
    struct sx_request req = { .cmd = &cmd, .key = &q.auth };
    simplex_rc rc = sx_store_sndq_get(a->store, queue, &q);

    if (rc != SIMPLEX_OK)
        return moot(rc);
    cmd.key.key = q.auth.pub;
    req.entity = sx_id_bytes(&q.snd_id);
    rc = route_to(a, w, &q.server, &req);
    sx_keypair_wipe(&q.auth);
    return rc;
}

/* Unsigned, as anybody may write there. */
static simplex_rc send_invitation(struct simplex_agent *a, struct sx_rt_conn *w,
                                  const struct sx_command *c)
{
    struct sx_cmd cmd = { .tag = SX_SEND };
    struct sx_request req = { .cmd = &cmd };
    struct sx_queue_addr to;
    struct sx_wr body;
    simplex_rc rc;

    memset(&body, 0, sizeof body);
    rc = sx_request_body(a, c, &to, &body);
    if (rc == SIMPLEX_OK) {
        cmd.send.notify = true;
        cmd.send.body = sx_wr_bytes(&body);
        req.entity = sx_id_bytes(&to.snd_id);
        rc = route_to(a, w, &to.server, &req);
    }
    sx_wr_free(&body);
    return rc;
}

simplex_rc sx_command_send(struct simplex_agent *a, struct sx_rt_conn *w,
                           const struct sx_command *cmd)
{
    size_t len = cmd->data.len < SX_NEW_DATA_MAX ? cmd->data.len : SX_NEW_DATA_MAX;
    uint8_t data[SX_NEW_DATA_MAX]; /* cmd->data lives until the next call on the store */
    struct sx_rcv_queue q;
    simplex_rc rc;

    if (cmd->tag == SX_C_SKEY)
        return send_skey(a, w, cmd->queue_id);
    if (cmd->tag == SX_C_INVITATION)
        return send_invitation(a, w, cmd);
    if (cmd->tag == SX_C_LOOK)
        return send_look(a, w);
    if (len > 0)
        memcpy(data, cmd->data.ptr, len);
    rc = sx_store_rcvq_get(a->store, cmd->queue_id, &q);
    if (rc != SIMPLEX_OK)
        return moot(rc);
    switch ((enum sx_command_tag)cmd->tag) {
    case SX_C_NEW:
        rc = send_new(a, w, &q, sx_bytes(data, len));
        break;
    case SX_C_KEY:
        rc = send_key(a, w, &q);
        break;
    case SX_C_DEL:
        rc = send_plain(a, w, &q, SX_DEL);
        break;
    case SX_C_OFF:
        rc = send_plain(a, w, &q, SX_OFF);
        break;
    case SX_C_DRAIN:
        rc = send_plain(a, w, &q, SX_SUB);
        break;
    case SX_C_LSET:
        rc = send_lset(a, w, &q);
        break;
    case SX_C_LDEL:
        rc = send_ldel(a, w, &q);
        break;
    case SX_C_NKEY:
    case SX_C_NDEL: {
        struct sx_command own = *cmd; /* its data as copied above */
        own.data = sx_bytes(data, len);
        rc = send_notifier(a, w, &q, &own);
        break;
    }
    default:
        rc = SIMPLEX_E_DB_DAMAGED;
    }
    sx_wipe(&q, sizeof q);
    sx_wipe(data, len);
    return rc;
}
