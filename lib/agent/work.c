/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workers: one per sending queue (deliveries) and one per connection (commands), each with at most
 * one command out. They are woken after a commit, take the oldest row of the database, and are
 * forgotten when there is none (agent.md sections 8.1 and 8.2).
 */
#include "agent/network.h"
#include "agent/work.h"

int64_t sx_next_delay(int64_t *delay, int64_t *elapsed, int64_t first, int64_t grow, int64_t max)
{
    if (*delay == 0)
        *delay = first;
    else if (*elapsed >= grow)
        *delay = *delay + *delay / 2;
    if (*delay > max)
        *delay = max;
    *elapsed += *delay;
    return *delay;
}

void sx_wake_commands(struct simplex_agent *a, int64_t conn)
{
    struct sx_rt_conn *w;

    a->must_commit = true; /* rows first, then the network */
    if (a->recover_at != 0)
        return;
    w = sx_rt_conn_get(a, conn, true);
    if (w == NULL) {
        sx_agent_store_failed(a, SIMPLEX_E_NOMEM);
        return;
    }
    w->dirty = true;
    a->work = true;
}

void sx_wake_delivery(struct simplex_agent *a, int64_t snd_queue, int64_t conn)
{
    struct sx_rt_sndq *w;

    a->must_commit = true;
    if (a->recover_at != 0)
        return;
    w = sx_rt_sndq_get(a, snd_queue, true);
    if (w == NULL) { /* the row would wait for a restart */
        sx_agent_store_failed(a, SIMPLEX_E_NOMEM);
        return;
    }
    w->conn = conn;
    w->dirty = true;
    a->work = true;
}

void sx_wake_all(struct simplex_agent *a)
{
    for (size_t b = 0; b < SX_TABLE; b++) {
        for (struct sx_rt_sndq *w = a->sndqs[b]; w != NULL; w = w->next) {
            w->waiting = false;
            w->dirty = true;
        }
        for (struct sx_rt_conn *w = a->conns[b]; w != NULL; w = w->next) {
            w->waiting = false;
            w->dirty = true;
        }
    }
    a->work = true;
}

/* A session is up: whatever waits for any server looks again; those whose server is still away
 * are answered at once by the failed connection's memory and wait on. */
void sx_wake_server(struct simplex_agent *a, const struct sx_rt_server *s)
{
    for (size_t b = 0; b < SX_TABLE; b++) {
        for (struct sx_rt_sndq *w = a->sndqs[b]; w != NULL; w = w->next) {
            if (w->waiting && !w->quota && w->server == s) {
                w->waiting = false;
                w->dirty = true;
                a->work = true;
            }
        }
        for (struct sx_rt_conn *w = a->conns[b]; w != NULL; w = w->next) {
            if (w->waiting) {
                w->waiting = false;
                w->dirty = true;
                a->work = true;
            }
        }
    }
}

#define QCONT_WAIT 5000 /* ms for an ACK: then something else is wrong */

void sx_qcont_waits(struct simplex_agent *a, struct sx_rt_rcvq *q)
{
    for (size_t b = 0; b < SX_TABLE; b++) {
        for (struct sx_rt_sndq *w = a->sndqs[b]; w != NULL; w = w->next) {
            if (w->conn != q->conn || w->waiting || w->in_flight)
                continue;
            q->qcont = w->waiting = w->cont_waits = true;
            w->retry_at = sx_mono_ms() + QCONT_WAIT;
            sx_retry_at(a, w->retry_at);
        }
    }
}

void sx_qcont_goes(struct simplex_agent *a, struct sx_rt_rcvq *q)
{
    if (q == NULL || !q->qcont)
        return;
    q->qcont = false;
    for (size_t b = 0; b < SX_TABLE; b++) {
        for (struct sx_rt_sndq *w = a->sndqs[b]; w != NULL; w = w->next) {
            if (w->conn != q->conn || !w->cont_waits)
                continue;
            w->waiting = w->cont_waits = false;
            w->dirty = a->work = true;
        }
    }
}

/* When both directions are full, the A_QCONT of each side waits behind messages that the other side
 * does not take: without this both would sleep until the slow retry. */
void sx_wake_quota(struct simplex_agent *a, int64_t conn, bool at_once)
{
    int64_t now = sx_mono_ms();
    bool left = false;

    if (!a->quota_waits)
        return;
    for (size_t b = 0; b < SX_TABLE; b++) {
        for (struct sx_rt_sndq *w = a->sndqs[b]; w != NULL; w = w->next) {
            left = left || w->quota;
            if (w->conn != conn || !w->quota || !w->waiting ||
                (!at_once && now - w->tried_at < SX_QUOTA_RETRY_ALIVE))
                continue;
            w->waiting = false;
            w->dirty = true;
            a->work = true;
        }
    }
    a->quota_waits = left;
}

static void due(int64_t now, int64_t retry_at, bool *waiting, bool *dirty)
{
    if (*waiting && retry_at <= now) {
        *waiting = false;
        *dirty = true;
    }
}

void sx_retry_at(struct simplex_agent *a, int64_t at)
{
    if (at < a->next_retry)
        a->next_retry = at;
}

/* Marks the workers whose retry is due and finds the next one. */
static void check_retries(struct simplex_agent *a)
{
    int64_t now = sx_mono_ms(), next = INT64_MAX;

    if (now < a->next_retry)
        return;
    for (size_t b = 0; b < SX_TABLE; b++) {
        for (struct sx_rt_sndq *w = a->sndqs[b]; w != NULL; w = w->next) {
            due(now, w->retry_at, &w->waiting, &w->dirty);
            if (w->waiting && w->retry_at < next)
                next = w->retry_at;
        }
        for (struct sx_rt_conn *w = a->conns[b]; w != NULL; w = w->next) {
            due(now, w->retry_at, &w->waiting, &w->dirty);
            if (w->waiting && w->retry_at < next)
                next = w->retry_at;
        }
    }
    a->next_retry = next;
    a->work = true;
}

void sx_run_work(struct simplex_agent *a)
{
    check_retries(a);
    /* Not while rows are unwritten that the network must not run ahead of. */
    if (!a->work || a->must_commit || a->failed || sx_ending(a, SX_END_SENDING))
        return;
    a->work = false;
    for (size_t b = 0; b < SX_TABLE; b++) {
        struct sx_rt_sndq *next_q;
        struct sx_rt_conn *next_c;
        for (struct sx_rt_conn *w = a->conns[b]; w != NULL; w = next_c) {
            next_c = w->next;
            if (w->dirty && !w->in_flight && !w->waiting)
                sx_run_command(a, w); /* may free w */
            if (a->must_commit || a->failed) {
                a->work = true; /* it wrote rows: the rest goes on behind them */
                return;
            }
        }
        for (struct sx_rt_sndq *w = a->sndqs[b]; w != NULL; w = next_q) {
            next_q = w->next;
            if (w->dirty && !w->in_flight && !w->waiting)
                sx_deliver(a, w); /* may free w */
        }
    }
}

int64_t sx_work_alarm(struct simplex_agent *a)
{
    return a->next_retry;
}

static simplex_rc load_commands(struct simplex_agent *a)
{
    int64_t ids[64], after = 0;
    simplex_rc rc;
    size_t n;

    do {
        n = SX_COUNT(ids);
        rc = sx_store_command_conns(a->store, after, ids, &n);
        for (size_t i = 0; rc == SIMPLEX_OK && i < n; i++) {
            rc = sx_commands_again(a, ids[i]);
            sx_wake_commands(a, ids[i]);
            after = ids[i];
        }
    } while (rc == SIMPLEX_OK && n == SX_COUNT(ids));
    return rc;
}

static simplex_rc load_deliveries(struct simplex_agent *a)
{
    struct sx_snd_queue q;
    struct sx_snd_msg m;
    simplex_rc rc;

    for (int64_t after = 0;; after = q.id) {
        rc = sx_store_sndq_next(a->store, after, &q);
        if (rc != SIMPLEX_OK)
            return rc == SIMPLEX_E_NOT_FOUND ? SIMPLEX_OK : rc;
        rc = sx_store_delivery_next(a->store, q.id, 0, &m);
        if (rc == SIMPLEX_OK || q.status == SX_Q_DISABLED)
            sx_wake_delivery(a, q.id, q.conn_id);
        else if (rc != SIMPLEX_E_NOT_FOUND)
            return rc;
    }
}

simplex_rc sx_load_work(struct simplex_agent *a)
{
    bool due = a->must_commit; /* by others: what is written here is committed here */
    simplex_rc rc = sx_store_begin(a->store);

    if (rc == SIMPLEX_OK)
        rc = load_commands(a);
    if (rc == SIMPLEX_OK)
        rc = load_deliveries(a);
    if (rc == SIMPLEX_OK)
        rc = sx_store_commit(a->store);
    if (rc != SIMPLEX_OK)
        sx_store_rollback(a->store);
    a->must_commit = due;
    return rc;
}
