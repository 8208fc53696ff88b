/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NEW that did not come to an answer: the queue may be made on another server, a server may have
 * made one that we will never use, or nobody wants it any more.
 */
#include "agent/command.h"
#include "agent/delete.h"
#include "agent/handshake.h"
#include "agent/links.h"
#include "agent/push.h"
#include "agent/several.h"
#include "agent/switch.h"
#include "agent/users.h"
#include "agent/work.h"

/* ---- another server ---- */

/* Rows that the servers of a choice stand in. */
struct used {
    struct sx_rcv_queue old;
    struct sx_snd_queue to;
};

/* What the new queue should be apart from: the peer's, and the one that it replaces. */
static simplex_rc used_servers(struct simplex_agent *a, const struct sx_rcv_queue *q,
                               struct used *u, struct sx_choice *c)
{
    simplex_rc rc = sx_store_sndq_of(a->store, q->conn_id, 0, &u->to);

    if (rc == SIMPLEX_OK)
        c->used[c->n_used++] = &u->to.server;
    else if (rc == SIMPLEX_E_NOT_FOUND)
        rc = SIMPLEX_OK;
    if (rc != SIMPLEX_OK || q->replaces == 0)
        return rc;
    rc = sx_store_rcvq_get(a->store, q->replaces, &u->old);
    if (rc == SIMPLEX_OK)
        c->not_there = c->used[c->n_used++] = &u->old.server;
    return rc;
}

static simplex_rc choose_other(struct simplex_agent *a, struct sx_rt_conn *w,
                               const struct sx_conn *conn, const struct sx_rcv_queue *q,
                               struct sx_server *other)
{
    struct sx_choice c = {
        .user = conn->user, .role = SX_SRV_STORAGE, .failed = &q->server, .tried = &w->tried
    };
    const struct sx_user_server *chosen;
    struct used u;
    simplex_rc rc;

    if (conn->rcv_queues > 1) {
        rc = sx_choose_server_apart(a, conn, NULL, &q->server, other);
        if (rc != SIMPLEX_E_NO_SERVERS)
            return rc;
    }
    memset(&u, 0, sizeof u);
    rc = used_servers(a, q, &u, &c);
    if (rc == SIMPLEX_OK) {
        sx_tried_add(a, &c, &q->server);
        rc = sx_choose(a, &c, &chosen);
    }
    if (rc == SIMPLEX_OK)
        *other = chosen->server;
    sx_wipe(&u, sizeof u);
    return rc == SIMPLEX_E_NO_SERVERS ? SIMPLEX_E_NOT_FOUND : rc;
}

/* What an earlier server may have seen is not shown to another one. */
simplex_rc sx_new_elsewhere(struct simplex_agent *a, struct sx_rcv_queue *q,
                            const struct sx_server *server)
{
    simplex_rc rc;

    q->server = *server;
    rc = sx_rcv_queue_keys(q);
    if (rc == SIMPLEX_OK)
        rc = sx_notifier_renew(a, q->id);
    return rc == SIMPLEX_OK ? sx_store_rcvq_update(a->store, q) : rc;
}

/* A queue that no server has yet may as well be made on another one. */
simplex_rc sx_new_move(struct simplex_agent *a, struct sx_rt_conn *w, const struct sx_conn *c,
                       const struct sx_command *cmd)
{
    struct sx_rcv_queue q;
    struct sx_server other;
    bool told;
    simplex_rc rc;

    if (cmd->tag != SX_C_NEW)
        return SIMPLEX_OK;
    rc = sx_link_told(a, cmd->queue_id, &told);
    if (rc != SIMPLEX_OK || told)
        return rc;
    rc = sx_store_rcvq_get(a->store, cmd->queue_id, &q);
    if (rc != SIMPLEX_OK)
        return rc;
    if (sx_new_may_move(&q, cmd->data)) {
        rc = choose_other(a, w, c, &q, &other);
        if (rc == SIMPLEX_OK && !sx_server_eq(&other, &q.server))
            rc = sx_new_elsewhere(a, &q, &other);
    }
    sx_wipe(&q, sizeof q);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc; /* no servers: the same one again */
}

/* ---- an answer that is late ---- */

void sx_lost_add(struct simplex_agent *a, const struct sx_client *c,
                 const uint8_t corr_id[SX_ID_LEN], const struct sx_keypair *auth)
{
    struct sx_lost_new *l = a->n_lost < SX_LOST_MAX ? sx_calloc(1, sizeof *l) : NULL;

    if (l == NULL)
        return;
    memcpy(l->corr_id, corr_id, sizeof l->corr_id);
    l->auth = *auth;
    l->client = c;
    l->next = a->lost;
    a->lost = l;
    a->n_lost++;
}

/* A repeated NEW must not leave a second queue behind (agent.md section 6.4: the orphan queue). */
void sx_new_lost(struct simplex_agent *a, const struct sx_rt_conn *w, const struct sx_command *cmd)
{
    struct sx_rcv_queue q;

    if (cmd->tag != SX_C_NEW || w->server == NULL ||
        sx_store_rcvq_get(a->store, cmd->queue_id, &q) != SIMPLEX_OK)
        return;
    sx_lost_add(a, w->server->client, w->corr_id, &q.auth);
    sx_wipe(&q, sizeof q);
}

void sx_late_ids(struct simplex_agent *a, struct sx_client *c, const struct sx_transmission *t,
                 const struct sx_rsp *rsp)
{
    struct sx_lost_new **p = &a->lost, *l;
    struct sx_cmd cmd = { .tag = SX_DEL };

    while (*p != NULL &&
           !((*p)->client == c && sx_bytes_eq(sx_bytes((*p)->corr_id, SX_ID_LEN), t->corr_id)))
        p = &(*p)->next;
    l = *p;
    if (l == NULL)
        return;
    struct sx_request req = { .cmd = &cmd, .key = &l->auth, .entity = rsp->ids.rcv_id };
    if (sx_client_send(c, &req) != SIMPLEX_OK)
        sx_log(SX_LOG_WARN, "agent: a surplus queue could not be deleted");
    *p = l->next;
    a->n_lost--;
    sx_free_secret(l, sizeof *l);
}

void sx_lost_drop(struct simplex_agent *a, const struct sx_client *c)
{
    struct sx_lost_new **p = &a->lost, *l;

    while ((l = *p) != NULL) {
        if (c != NULL && l->client != c) {
            p = &l->next;
            continue;
        }
        *p = l->next;
        a->n_lost--;
        sx_free_secret(l, sizeof *l);
    }
}

/* ---- asked again, or not at all ---- */

/* Whether an earlier run sent a NEW is not known: with a link it may have taken its ids already. */
simplex_rc sx_commands_again(struct simplex_agent *a, int64_t conn)
{
    struct sx_command cmd;

    for (int64_t after = 0;; after = cmd.id) {
        simplex_rc rc = sx_store_command_next(a->store, conn, after, &cmd);
        if (rc == SIMPLEX_OK && cmd.tag == SX_C_NEW)
            rc = sx_link_renew(a, cmd.queue_id);
        if (rc != SIMPLEX_OK)
            return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
    }
}

/* A NEW whose queue nobody wants any more. */
simplex_rc sx_new_unwanted(struct simplex_agent *a, const struct sx_conn *c,
                           const struct sx_command *cmd, bool *yes)
{
    struct sx_rcv_queue q;
    simplex_rc rc;

    *yes = c->deleted && cmd->tag == SX_C_NEW;
    if (*yes || cmd->tag != SX_C_NEW)
        return SIMPLEX_OK;
    rc = sx_store_rcvq_get(a->store, cmd->queue_id, &q);
    *yes = rc == SIMPLEX_OK && q.deleted;
    sx_wipe(&q, sizeof q);
    return rc;
}

/* A NEW of a connection deleted meanwhile is not repeated: there is nothing to delete. */
simplex_rc sx_new_abandon(struct simplex_agent *a, const struct sx_command *cmd)
{
    simplex_rc rc = sx_store_command_delete(a->store, cmd->id);

    return rc == SIMPLEX_OK ? sx_queue_never_made(a, cmd->conn_id, cmd->queue_id) : rc;
}
