/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command worker of a connection: NEW, KEY, SKEY, DEL, and the SEND of a request to a contact
 * address, one at a time, oldest first, each kept in the database until the server answered it
 * (agent.md sections 6.3 and 6.4). Every key is in the database before its command is sent, so
 * that a repeat after a lost answer is the same.
 */
#include "agent/command.h"
#include "agent/several.h"
#include "agent/switch.h"
#include "agent/work.h"

simplex_rc sx_command_add(struct simplex_agent *a, int64_t conn, enum sx_command_tag tag,
                          int64_t queue, simplex_bytes data)
{
    struct sx_command cmd = { .conn_id = conn,
                              .tag = (uint8_t)tag,
                              .queue_id = queue,
                              .data = data,
                              .created_at = sx_now_ms() };
    simplex_rc rc = sx_store_command_add(a->store, &cmd);

    if (rc == SIMPLEX_OK)
        sx_wake_commands(a, conn);
    return rc;
}

simplex_rc sx_command_drop(struct simplex_agent *a, int64_t conn, enum sx_command_tag tag)
{
    struct sx_command cmd;
    simplex_rc rc = SIMPLEX_OK;

    for (int64_t after = 0; rc == SIMPLEX_OK; after = cmd.id) {
        rc = sx_store_command_next(a->store, conn, after, &cmd);
        if (rc == SIMPLEX_OK && cmd.tag == tag)
            rc = sx_store_command_delete(a->store, cmd.id);
    }
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

simplex_rc sx_command_waits(struct simplex_agent *a, int64_t conn, enum sx_command_tag tag,
                            bool *yes)
{
    struct sx_rt_conn *w = sx_rt_conn_get(a, conn, false);
    struct sx_command cmd;
    simplex_rc rc = SIMPLEX_OK;

    *yes = false;
    for (int64_t after = 0; rc == SIMPLEX_OK && !*yes; after = cmd.id) {
        rc = sx_store_command_next(a->store, conn, after, &cmd);
        if (rc == SIMPLEX_OK && cmd.tag == tag)
            *yes = w == NULL || !w->in_flight || w->command != cmd.id;
    }
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

/* ---- which is next ---- */

static void wait_for(struct simplex_agent *a, struct sx_rt_conn *w, int64_t delay)
{
    w->waiting = true;
    w->retry_at = sx_mono_ms() + delay;
    sx_retry_at(a, w->retry_at);
}

void sx_command_retry(struct simplex_agent *a, struct sx_rt_conn *w)
{
    wait_for(
        a, w,
        sx_next_delay(&w->delay, &w->elapsed, a->cfg.retry_first, SX_RETRY_GROW, a->cfg.retry_max));
}

/* The address has as many requests as its server keeps: its owner has to read them first. */
void sx_command_retry_full(struct simplex_agent *a, struct sx_rt_conn *w)
{
    wait_for(a, w,
             sx_next_delay(&w->delay, &w->elapsed, a->cfg.quota_retry_first, SX_QUOTA_RETRY_GROW,
                           SX_QUOTA_RETRY_MAX));
}

bool sx_command_ends_queue(const struct sx_command *cmd)
{
    return cmd->tag == SX_C_DEL || cmd->tag == SX_C_DRAIN;
}

bool sx_command_is_notifier(const struct sx_command *cmd)
{
    return cmd->tag == SX_C_NKEY || cmd->tag == SX_C_NDEL;
}

bool sx_command_is_errand(const struct sx_command *cmd)
{
    return sx_command_ends_queue(cmd) || sx_command_is_notifier(cmd) || cmd->tag == SX_C_OFF;
}

/* One of several queues stands for itself. */
bool sx_command_stands_alone(const struct sx_conn *c, const struct sx_command *cmd)
{
    return sx_command_is_errand(cmd) ||
           ((c->rcv_queues > 1 || c->peer_several) &&
            (cmd->tag == SX_C_NEW || cmd->tag == SX_C_KEY || cmd->tag == SX_C_SKEY ||
             cmd->tag == SX_C_MADE));
}

/* What is behind an errand need not wait for its server. */
simplex_rc sx_command_step_over(struct simplex_agent *a, struct sx_rt_conn *w,
                                const struct sx_command *cmd)
{
    struct sx_command next;
    struct sx_conn c;
    simplex_rc rc = sx_store_conn_get(a->store, w->id, &c);

    sx_command_retry(a, w);
    w->skip = 0;
    if (rc != SIMPLEX_OK || !sx_command_stands_alone(&c, cmd))
        return rc;
    rc = sx_store_command_next(a->store, w->id, cmd->id, &next);
    if (rc == SIMPLEX_OK) {
        w->skip = cmd->id;
        w->waiting = false;
        w->dirty = true;
        a->work = true;
    }
    return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
}

/* The oldest command, but those that are stepped over. E_NO_EVENT: not before their time. */
static simplex_rc next_command(struct simplex_agent *a, struct sx_rt_conn *w,
                               struct sx_command *cmd)
{
    simplex_rc rc = sx_store_command_next(a->store, w->id, w->skip, cmd);

    if (rc != SIMPLEX_E_NOT_FOUND || w->skip == 0)
        return rc;
    w->skip = 0;
    if (sx_mono_ms() < w->retry_at) {
        w->waiting = true;
        sx_retry_at(a, w->retry_at);
        return SIMPLEX_E_NO_EVENT;
    }
    return sx_store_command_next(a->store, w->id, 0, cmd);
}

/* ---- sending it ---- */

/* What cannot be put together is refused by ourselves; anything else may pass. */
static void not_sent(struct simplex_agent *a, struct sx_rt_conn *w, simplex_rc why)
{
    if (why == SIMPLEX_E_TOO_LARGE && sx_command_try_answer(a, w, why, NULL) == SIMPLEX_OK) {
        w->dirty = true;
        a->work = true;
        return;
    }
    sx_log(SX_LOG_WARN, "agent: a command cannot be sent: %s", simplex_rc_name(why));
    sx_command_retry(a, w);
}

/* There is nothing to send: what it was for has changed. */
static void drop_moot(struct simplex_agent *a, struct sx_rt_conn *w, int64_t command)
{
    simplex_rc rc = sx_handler_begin(a);

    if (rc != SIMPLEX_OK)
        return;
    rc = sx_store_command_delete(a->store, command);
    sx_handler_end(a, rc);
    sx_agent_lazy(a);
    w->dirty = true;
    a->work = true;
}

/* Nothing is sent: it is answered as soon as its time has come. */
static void run_made(struct simplex_agent *a, struct sx_rt_conn *w, const struct sx_command *cmd)
{
    bool wait;
    simplex_rc rc = sx_queues_unmade(a, w->id, &wait);

    w->command = cmd->id;
    if (rc == SIMPLEX_OK && wait)
        rc = sx_command_step_over(a, w, cmd);
    else if (rc == SIMPLEX_OK)
        rc = sx_command_try_answer(a, w, SIMPLEX_OK, NULL);
    if (rc == SIMPLEX_OK && wait)
        return;
    if (sx_rc_is_store(rc)) {
        sx_agent_store_failed(a, rc);
        return;
    }
    w->dirty = true;
    a->work = true;
    if (rc != SIMPLEX_OK && sx_command_try_answer(a, w, rc, NULL) != SIMPLEX_OK)
        sx_command_retry(a, w);
}

void sx_run_command(struct simplex_agent *a, struct sx_rt_conn *w)
{
    struct sx_command cmd;
    simplex_rc rc = next_command(a, w, &cmd);

    w->dirty = false;
    if (rc == SIMPLEX_E_NO_EVENT)
        return;
    if (rc == SIMPLEX_E_NOT_FOUND) {
        sx_rt_conn_remove(a, w->id);
        return;
    }
    if (rc == SIMPLEX_OK && cmd.tag == SX_C_DRAIN && sx_drain_waits(a, cmd.queue_id)) {
        rc = sx_command_step_over(a, w, &cmd);
        if (rc == SIMPLEX_OK)
            return;
    }
    if (rc == SIMPLEX_OK && cmd.tag == SX_C_MADE) {
        run_made(a, w, &cmd);
        return;
    }
    if (rc == SIMPLEX_OK) {
        w->command = cmd.id;
        w->drain = cmd.tag == SX_C_DRAIN ? cmd.queue_id : 0;
        rc = sx_command_send(a, w, &cmd);
    }
    if (rc == SIMPLEX_OK) {
        w->in_flight = true;
    } else if (rc == SIMPLEX_E_NO_EVENT) {
        drop_moot(a, w, cmd.id);
    } else if (sx_rc_is_store(rc)) {
        sx_agent_store_failed(a, rc);
    } else {
        not_sent(a, w, rc);
    }
}
