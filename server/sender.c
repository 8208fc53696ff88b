/* SPDX-License-Identifier: Apache-2.0 */
/* Commands of the sender (protocol/smp.md sections 6.3 and 7). */
#include "commands.h"
#include "store_index.h"

void sx_run_skey(struct sx_run *r)
{
    enum sx_err e = SX_ERR_AUTH;

    if (r->q->mode == SX_MODE_MESSAGING)
        e = sx_run_secure(r);
    if (e != SX_ERR_NONE)
        sx_run_fail(r, e);
}

/* The first message to a secured queue that is no contact address: its link has done its work. */
static enum sx_err drop_used_link(struct sx_run *r)
{
    if (r->q->link != NULL && r->q->mode != SX_MODE_CONTACT && r->q->snd_key.alg != SX_NO_KEY)
        return sx_queue_del_link(r->srv->store, r->q);
    return SX_ERR_NONE;
}

/* Counts what became of a message. */
static void count_sent(struct sx_run *r, enum sx_err e, bool notify)
{
    struct sx_counters *c = r->p->hub->stats;

    if (e == SX_ERR_QUOTA)
        sx_count(c, SX_STAT_MSG_SENT_QUOTA, 1);
    if (e != SX_ERR_NONE)
        return;
    sx_count(c, SX_STAT_MSG_SENT, 1);
    if (notify)
        sx_count(c, SX_STAT_MSG_SENT_NTF, 1);
    sx_stats_active(r->srv->stats, c, r->q, notify);
}

static void expire(struct sx_run *r, int64_t now)
{
    unsigned had = r->q->count;

    if (atomic_load(&r->srv->store->expire_on_send))
        sx_queue_expire(r->srv->store, r->q, now);
    sx_count(r->p->hub->stats, SX_STAT_MSG_EXPIRED, had - r->q->count);
}

void sx_run_send(struct sx_run *r)
{
    simplex_bytes body = r->cmd->send.body;
    bool notify = r->cmd->send.notify;
    int64_t now = sx_srv_now(r->srv);
    bool first;

    if (body.len > sx_smp_max_send(r->version)) {
        sx_count(r->p->hub->stats, SX_STAT_MSG_SENT_LARGE, 1);
        sx_run_fail(r, SX_ERR_LARGE_MSG);
        return;
    }
    if (r->q->status != SX_Q_ACTIVE) {
        bool blocked = r->q->status == SX_Q_BLOCKED;
        sx_count(r->p->hub->stats, blocked ? SX_STAT_MSG_SENT_BLOCK : SX_STAT_MSG_SENT_AUTH, 1);
        sx_run_fail(r, blocked ? SX_ERR_BLOCKED : SX_ERR_AUTH);
        return;
    }
    enum sx_err e = drop_used_link(r);
    if (e != SX_ERR_NONE) {
        sx_run_fail(r, e);
        return;
    }
    expire(r, now);
    e = sx_queue_push(r->srv->store, r->q, body, notify, now, &first);
    count_sent(r, e, notify);
    if (first)
        sx_sub_push(r->q, r->p->hub->stats, r->p->hub);
    if (e != SX_ERR_NONE)
        sx_run_fail(r, e);
    else if (notify && r->q->ntf != NULL)
        sx_notify(r, r->q->tail);
}
