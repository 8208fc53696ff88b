/* SPDX-License-Identifier: Apache-2.0 */
/* What follows from the answer to a command, and from none. */
#include "agent/address.h"
#include "agent/command.h"
#include "agent/delete.h"
#include "agent/event.h"
#include "agent/handshake.h"
#include "agent/links.h"
#include "agent/push.h"
#include "agent/receive.h"
#include "agent/route.h"
#include "agent/several.h"
#include "agent/suspend_queues.h"
#include "agent/switch.h"
#include "agent/work.h"

/* ---- done ---- */

static simplex_rc key_answered(struct simplex_agent *a, struct sx_conn *c,
                               const struct sx_command *cmd)
{
    struct sx_rcv_queue q;
    struct sx_snd_queue s;
    simplex_rc rc = sx_store_rcvq_get(a->store, cmd->queue_id, &q);

    if (rc != SIMPLEX_OK)
        return rc;
    if (q.status < SX_Q_SECURED) /* a HELLO may have been faster */
        q.status = SX_Q_SECURED;
    bool added = sx_is_added(&q), rotation = q.replaces != 0 || added;
    if (added)
        rc = sx_add_secured(a, c, &q);
    else if (!rotation)
        rc = sx_store_rcvq_update(a->store, &q);
    else if (!q.deleted)
        rc = sx_switch_secured(a, c, &q);
    sx_wipe(&q, sizeof q);
    if (rc != SIMPLEX_OK || rotation)
        return rc;
    if (c->role == SX_JOINER)
        return sx_send_hello(a, c);
    /* The joiner may write now: it may be told so (its own queue waits for SKEY when it has one).
     */
    rc = sx_store_sndq_of(a->store, c->id, 0, &s);
    if (rc != SIMPLEX_OK)
        return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
    if (s.mode != SX_MODE_MESSAGING && s.status == SX_Q_NEW)
        rc = sx_snd_queue_open(a, &s);
    sx_wipe(&s, sizeof s);
    return rc;
}

static simplex_rc skey_answered(struct simplex_agent *a, struct sx_conn *c,
                                const struct sx_command *cmd)
{
    struct sx_snd_queue q;
    simplex_rc rc = sx_store_sndq_get(a->store, cmd->queue_id, &q);

    if (rc != SIMPLEX_OK)
        return rc;
    q.status = SX_Q_SECURED;
    rc = sx_store_sndq_update(a->store, &q);
    if (rc == SIMPLEX_OK)
        rc = sx_snd_secured(a, &q);
    sx_wake_delivery(a, q.id, c->id);
    sx_wipe(&q, sizeof q);
    return rc;
}

static simplex_rc del_answered(struct simplex_agent *a, const struct sx_command *cmd,
                               simplex_rc why, const char *detail)
{
    struct sx_rcv_queue q;
    simplex_rc rc = sx_store_rcvq_get(a->store, cmd->queue_id, &q);

    if (rc == SIMPLEX_OK)
        rc = sx_queue_deleted(a, &q, why, detail);
    sx_wipe(&q, sizeof q);
    return rc;
}

static simplex_rc succeeded(struct simplex_agent *a, struct sx_conn *c,
                            const struct sx_command *cmd, const struct sx_rsp *rsp)
{
    simplex_rc rc = SIMPLEX_OK;

    switch ((enum sx_command_tag)cmd->tag) {
    case SX_C_NEW:
        if (rsp->tag != SX_R_IDS)
            return sx_emit_err(a, c->id, SIMPLEX_E_RESPONSE, NULL);
        return sx_new_answered(a, c, cmd, rsp);
    case SX_C_KEY:
        rc = key_answered(a, c, cmd);
        break;
    case SX_C_SKEY:
        rc = skey_answered(a, c, cmd);
        break;
    case SX_C_DEL:
        return del_answered(a, cmd, SIMPLEX_OK, NULL);
    case SX_C_INVITATION:
        return sx_request_sent(a, c);
    case SX_C_DRAIN:
        return sx_drain_done(a, cmd->queue_id);
    case SX_C_LSET:
        return sx_link_set(a, c, cmd->queue_id);
    case SX_C_LDEL:
        return sx_link_deleted(a, c, cmd->queue_id);
    case SX_C_LOOK:
        return sx_look_answered(a, c, cmd, rsp);
    case SX_C_NKEY:
    case SX_C_NDEL:
        return sx_notifier_answered(a, cmd, rsp);
    case SX_C_MADE:
        return c->deleted ? SIMPLEX_OK : sx_queues_made(a, c, cmd->data);
    case SX_C_OFF:
        return sx_off_answered(a, cmd, SIMPLEX_OK, NULL);
    }
    return rc;
}

/* ---- refused ---- */

/* Of a rotation: the connection goes on with the queue it has. */
static simplex_rc rotation_failed(struct simplex_agent *a, const struct sx_command *cmd,
                                  simplex_rc why, const char *detail, bool *was_one)
{
    struct sx_rcv_queue q;
    simplex_rc rc;

    *was_one = false;
    if (cmd->tag != SX_C_NEW && cmd->tag != SX_C_KEY)
        return SIMPLEX_OK;
    rc = sx_store_rcvq_get(a->store, cmd->queue_id, &q);
    if (rc != SIMPLEX_OK)
        return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
    *was_one = q.replaces != 0;
    if (*was_one && !q.deleted)
        rc = sx_switch_failed(a, cmd->conn_id, why, detail);
    else if (*was_one && cmd->tag == SX_C_NEW)
        rc = sx_queue_never_made(a, cmd->conn_id, q.id);
    sx_wipe(&q, sizeof q);
    return rc;
}

/* What cannot be done will not become possible: the steps behind it are dropped as well. */
static simplex_rc drop_commands(struct simplex_agent *a, int64_t conn)
{
    struct sx_command cmd;
    simplex_rc rc;

    for (int64_t after = 0;; after = cmd.id) {
        rc = sx_store_command_next(a->store, conn, after, &cmd);
        if (rc != SIMPLEX_OK)
            return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
        if (sx_command_is_errand(&cmd))
            continue;
        rc = sx_store_command_delete(a->store, cmd.id);
        if (rc != SIMPLEX_OK)
            return rc;
    }
}

static simplex_rc failed(struct simplex_agent *a, struct sx_conn *c, const struct sx_command *cmd,
                         simplex_rc why, const struct sx_rsp *rsp)
{
    char *detail = sx_smp_err_text(rsp);
    bool rotation = false;
    simplex_rc rc = c->deleted ? SIMPLEX_OK : rotation_failed(a, cmd, why, detail, &rotation);

    if (rc == SIMPLEX_OK && !rotation && !c->deleted)
        rc = sx_several_failed(a, c, cmd, why, detail, &rotation);
    if (rc != SIMPLEX_OK || rotation) {
        sx_free(detail);
        return rc;
    }
    bool gone = rsp != NULL && rsp->err.err == SX_ERR_AUTH; /* the server has no such queue */
    if (sx_command_ends_queue(cmd)) {
        rc = gone ? del_answered(a, cmd, SIMPLEX_OK, NULL) : del_answered(a, cmd, why, detail);
    } else if (cmd->tag == SX_C_OFF) {
        rc = gone ? sx_off_answered(a, cmd, SIMPLEX_OK, NULL)
                  : sx_off_answered(a, cmd, why, detail);
    } else if (sx_command_is_notifier(cmd)) {
        rc = sx_notifier_refused(a, cmd, why, detail);
    } else {
        bool link = cmd->tag == SX_C_LSET || cmd->tag == SX_C_LDEL; /* no step of a handshake */
        rc = link ? sx_link_refused(a, cmd) : drop_commands(a, c->id);
        if (rc == SIMPLEX_OK && !c->deleted)
            rc = sx_emit_err(a, c->id, why, detail);
    }
    sx_free(detail);
    return rc;
}

/* ---- not now ---- */

/* A server that stays away must not keep a deleted connection for ever. Retries are quick, so the
 * time decides as well as their number: a queue left behind would never be noticed. */
static simplex_rc count_delete_error(struct simplex_agent *a, struct sx_conn *c,
                                     const struct sx_command *cmd, simplex_rc why,
                                     const struct sx_rsp *rsp)
{
    struct sx_rcv_queue q;
    simplex_rc rc = sx_store_rcvq_get(a->store, cmd->queue_id, &q);

    if (rc == SIMPLEX_OK) {
        q.delete_errors++;
        rc = sx_store_rcvq_update(a->store, &q);
    }
    if (rc == SIMPLEX_OK && q.delete_errors >= SX_DELETE_ERRORS &&
        sx_now_ms() - cmd->created_at >= a->cfg.message_timeout) {
        rc = sx_store_command_delete(a->store, cmd->id);
        if (rc == SIMPLEX_OK)
            rc = failed(a, c, cmd, why, rsp);
    }
    sx_wipe(&q, sizeof q);
    return rc;
}

/* Of several queues one may be done without; *done: nothing else is to be tried now. */
static simplex_rc not_needed(struct simplex_agent *a, struct sx_conn *c,
                             const struct sx_command *cmd, simplex_rc why, const struct sx_rsp *rsp,
                             bool *done)
{
    struct sx_rcv_queue q;
    bool late = sx_now_ms() - cmd->created_at >= a->cfg.message_timeout, linked;
    char *detail;
    simplex_rc rc = SIMPLEX_OK;

    *done = false;
    if (c->deleted || !sx_command_stands_alone(c, cmd))
        return SIMPLEX_OK;
    if (late) {
        detail = sx_smp_err_text(rsp);
        rc = sx_several_failed(a, c, cmd, why, detail, done);
        sx_free(detail);
        return rc == SIMPLEX_OK && *done ? sx_store_command_delete(a->store, cmd->id) : rc;
    }
    if (cmd->tag != SX_C_NEW)
        return SIMPLEX_OK;
    rc = sx_store_rcvq_get(a->store, cmd->queue_id, &q);
    if (rc == SIMPLEX_OK)
        rc = sx_has_link(a, q.id, &linked);
    *done = rc == SIMPLEX_OK && q.replaces == 0 && !linked;
    sx_wipe(&q, sizeof q);
    if (*done)
        return sx_queue_away(a, c, cmd);
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

static simplex_rc not_now(struct simplex_agent *a, struct sx_rt_conn *w, struct sx_conn *c,
                          const struct sx_command *cmd, simplex_rc why, const struct sx_rsp *rsp)
{
    bool done = false;
    simplex_rc rc;

    if (why == SIMPLEX_E_TIMEOUT)
        sx_new_lost(a, w, cmd);
    rc = sx_command_step_over(a, w, cmd);
    if (rc != SIMPLEX_OK)
        return rc;
    if (sx_command_ends_queue(cmd))
        return count_delete_error(a, c, cmd, why, rsp);
    rc = not_needed(a, c, cmd, why, rsp, &done);
    if (rc != SIMPLEX_OK || done)
        return rc;
    rc = sx_new_move(a, w, c, cmd);
    return rc == SIMPLEX_OK && cmd->tag == SX_C_NEW ? sx_link_renew(a, cmd->queue_id) : rc;
}

/* A request that the address has no room for yet. */
static bool waits_for_room(const struct simplex_agent *a, const struct sx_command *cmd,
                           simplex_rc why, const struct sx_rsp *rsp)
{
    return cmd->tag == SX_C_INVITATION && why == SIMPLEX_E_SERVER && rsp != NULL &&
           rsp->err.err == SX_ERR_QUOTA && sx_now_ms() - cmd->created_at < a->cfg.quota_timeout;
}

/* ---- all of them ---- */

static simplex_rc handle_answer(struct simplex_agent *a, struct sx_rt_conn *w, simplex_rc why,
                                const struct sx_rsp *rsp)
{
    struct sx_command cmd;
    struct sx_conn c;
    struct sx_wr data;
    bool unwanted = false;
    simplex_rc rc = sx_store_command_next(a->store, w->id, w->command - 1, &cmd);

    if (rc == SIMPLEX_E_NOT_FOUND || (rc == SIMPLEX_OK && cmd.id != w->command))
        return SIMPLEX_OK; /* dropped meanwhile */
    if (rc != SIMPLEX_OK)
        return rc;
    sx_wr_init(&data, 70000); /* cmd.data lives until the next call on the store */
    sx_wr_raw(&data, cmd.data);
    cmd.data = sx_wr_bytes(&data);
    rc = data.bad ? SIMPLEX_E_NOMEM : sx_store_conn_get(a->store, w->id, &c);
    if (rc == SIMPLEX_OK && why != SIMPLEX_OK)
        rc = sx_new_unwanted(a, &c, &cmd, &unwanted);
    if (rc == SIMPLEX_OK && why == SIMPLEX_OK && cmd.tag == SX_C_DRAIN &&
        !sx_drained(a, cmd.queue_id)) {
        w->delay = w->elapsed = 0; /* asks once more */
    } else if (rc == SIMPLEX_OK && unwanted) {
        if (why == SIMPLEX_E_TIMEOUT)
            sx_new_lost(a, w, &cmd);
        rc = sx_new_abandon(a, &cmd);
    } else if (rc == SIMPLEX_OK && waits_for_room(a, &cmd, why, rsp)) {
        sx_command_retry_full(a, w);
    } else if (rc == SIMPLEX_OK && why != SIMPLEX_OK && sx_is_temporary(why, rsp)) {
        rc = not_now(a, w, &c, &cmd, why, rsp);
    } else if (rc == SIMPLEX_OK) {
        w->delay = w->elapsed = 0;
        rc = sx_store_command_delete(a->store, cmd.id);
        if (rc == SIMPLEX_OK)
            rc = why == SIMPLEX_OK ? succeeded(a, &c, &cmd, rsp) : failed(a, &c, &cmd, why, rsp);
    }
    sx_wr_free(&data);
    return rc;
}

simplex_rc sx_command_try_answer(struct simplex_agent *a, struct sx_rt_conn *w, simplex_rc why,
                                 const struct sx_rsp *rsp)
{
    simplex_rc rc = sx_handler_begin(a);

    if (rc != SIMPLEX_OK)
        return SIMPLEX_OK; /* the store failed: all is loaded anew */
    rc = handle_answer(a, w, why, rsp);
    sx_handler_end(a, rc);
    sx_agent_lazy(a);
    return sx_rc_is_store(rc) ? SIMPLEX_OK : rc;
}

void sx_command_answered(void *user, void *ctx, simplex_rc why, const struct sx_rsp *rsp)
{
    struct simplex_agent *a = user;
    struct sx_rt_conn *w = sx_rt_conn_get(a, (int64_t)(intptr_t)ctx, false);
    simplex_rc rc;

    if (w == NULL || !w->in_flight)
        return;
    w->in_flight = false;
    w->dirty = true;
    a->work = true;
    if (w->drain != 0 && why == SIMPLEX_OK && rsp->tag == SX_R_MSG) {
        sx_receive(a, w->drain, rsp); /* servers before release 6.4 */
        return;
    }
    rc = sx_command_try_answer(a, w, why, rsp);
    /* An answer that makes no sense counts as a refusal: asking again would not mend it. */
    if (rc != SIMPLEX_OK && sx_command_try_answer(a, w, rc, NULL) != SIMPLEX_OK)
        sx_command_retry(a, w);
}
