/* SPDX-License-Identifier: Apache-2.0 */
/* Commands of the control port that concern one queue (protocol/smp.md section 10). */
#include <uv.h>

#include "commands.h"
#include "control_cmd.h"
#include "persist.h"
#include "stats_file.h"

#define DURABLE_TRIES 5000 /* of a millisecond */
#define DAY_MS (24 * 3600 * INT64_C(1000))

static struct sx_queue *find_queue(struct sx_call *call)
{
    struct sx_store *st = call->c->srv->store;
    uint8_t id[SX_ID_LEN];
    size_t len = sizeof(id);
    struct sx_queue *q = NULL;

    if (sx_b64url_decode(call->word[0], id, &len) != SIMPLEX_OK || len != sizeof(id)) {
        sx_say(call->out, "error: this is not the id of a sender or of a link");
        return NULL;
    }
    q = sx_qstore_find(st, SX_BY_SND, sx_bytes(id, len));
    if (q == NULL)
        q = sx_qstore_find(st, SX_BY_LINK, sx_bytes(id, len));
    if (q == NULL)
        sx_say(call->out, "error: AUTH");
    return q;
}

/* Runs fn with the lock of the queue; what it changed is on disk before the answer is given. */
static void with_queue(struct sx_call *call,
                       enum sx_err (*fn)(struct sx_call *call, struct sx_queue *q))
{
    struct sx_store *st = call->c->srv->store;
    struct sx_queue *q = find_queue(call);
    enum sx_commit_state state = SX_COMMIT_DURABLE;

    if (q == NULL)
        return;
    size_t said = call->out->len;
    sx_queue_lock(st, q);
    enum sx_err e = q->deleted ? SX_ERR_AUTH : fn(call, q);
    bool staged = q->staged;
    q->staged = false; /* it is waited for here, and not by the next command of a client */
    uint64_t stamp = staged ? sx_persist_stamp(st) : 0;
    sx_queue_unlock(st, q);
    sx_queue_unref(q);
    if (staged)
        sx_persist_request(st);
    for (int i = 0; staged && i < DURABLE_TRIES; i++) {
        if ((state = sx_persist_state(st, stamp)) != SX_COMMIT_WAIT)
            break;
        uv_sleep(1);
    }
    if (e == SX_ERR_NONE && state == SX_COMMIT_DURABLE)
        return;
    call->out->len = said; /* not what fn said */
    if (e == SX_ERR_AUTH)
        sx_say(call->out, "error: AUTH");
    else
        sx_say(call->out, "error: INTERNAL, it could not be written to disk: make room and repeat");
}

/* ---- status ---- */

/* A comma, then as in the command. */
static void print_reason(const struct sx_queue *q, char *to, size_t size)
{
    struct sx_smp_err why = sx_queue_blocked(q);
    struct sx_wr w;

    sx_wr_fixed(&w, to, size - 1);
    sx_wr_u8(&w, ',');
    sx_wr_block_info(&w, &why, SX_SMP_MAX);
    to[w.len] = 0;
}

static enum sx_err say_status(struct sx_call *call, struct sx_queue *q)
{
    static const char *const modes[] = {
        [SX_MODE_NONE] = "none",
        [SX_MODE_MESSAGING] = "messaging",
        [SX_MODE_CONTACT] = "contact",
    };
    char used[SX_TIME_TEXT], blocked[96] = "";

    sx_time_text((int64_t)q->used_day * DAY_MS, used);
    used[10] = 0; /* the day */
    if (q->status == SX_Q_BLOCKED)
        print_reason(q, blocked, sizeof(blocked));
    sx_say(call->out, "status: %s%s, updatedAt: %s, queueMode: %s",
           q->status == SX_Q_ACTIVE ? "active"
           : q->status == SX_Q_OFF  ? "off"
                                    : "blocked",
           blocked, q->used_day == 0 ? "unknown" : used,
           q->mode < SX_COUNT(modes) ? modes[q->mode] : "unknown");
    return SX_ERR_NONE;
}

void sx_control_status(struct sx_call *call)
{
    with_queue(call, say_status);
}

/* ---- block and unblock ---- */

/* Users may block so many queues a day; administrators as many as they like. */
static bool take_quota(struct sx_call *call)
{
    struct sx_control *c = call->c;
    uint32_t today = sx_day_of(sx_srv_now(c->srv));

    if (call->role == SX_ROLE_ADMIN)
        return true;
    pthread_mutex_lock(&c->lock);
    if (c->block_day != today) {
        c->block_day = today;
        c->blocked_today = 0;
    }
    bool ok = c->block_quota == 0 || (int64_t)c->blocked_today < c->block_quota;
    if (ok)
        c->blocked_today++;
    pthread_mutex_unlock(&c->lock);
    return ok;
}

static bool parse_reason(simplex_bytes word, struct sx_smp_err *why)
{
    struct sx_rd r = sx_rd_init(word);

    *why = (struct sx_smp_err){ .err = SX_ERR_BLOCKED };
    sx_rd_block_info(&r, why);
    return sx_rd_done(&r);
}

static bool same_block(const struct sx_queue *q, const struct sx_smp_err *why)
{
    struct sx_smp_err now = sx_queue_blocked(q);

    return q->status == SX_Q_BLOCKED && now.blocked == why->blocked &&
           now.has_notice == why->has_notice && now.has_ttl == why->has_ttl && now.ttl == why->ttl;
}

/* For the functions of the command layer, which are told who calls. Nothing is posted to it. */
static struct sx_hub caller(struct sx_call *call)
{
    return (struct sx_hub){ .srv = call->c->srv, .stats = call->c->stats };
}

static enum sx_err block(struct sx_call *call, struct sx_queue *q)
{
    struct sx_hub us = caller(call);
    struct sx_smp_err why;

    if (parse_reason(call->word[1], &why) && same_block(q, &why)) {
        sx_say(call->out, "ok, it was blocked before");
        return SX_ERR_NONE;
    }
    if (!take_quota(call)) {
        sx_say(call->out, "error: daily_block_queue_quota is used up, ask an administrator");
        return SX_ERR_NONE;
    }
    enum sx_err e = sx_queue_block(call->c->srv->store, q, &why);
    if (e != SX_ERR_NONE)
        return e;
    struct sx_sub *sub = sx_sub_reach(q, SX_SUB_MSG, &us);
    if (sub != NULL)
        sx_hub_post(sub, SX_EV_BLOCKED, &us);
    sx_count(us.stats, SX_STAT_Q_BLOCKED, 1);
    sx_say(call->out, "ok, queue blocked");
    return SX_ERR_NONE;
}

void sx_control_block(struct sx_call *call)
{
    struct sx_smp_err why;

    if (!parse_reason(call->word[1], &why))
        sx_say(call->out, "error: write reason=spam or reason=content");
    else
        with_queue(call, block);
}

static enum sx_err unblock(struct sx_call *call, struct sx_queue *q)
{
    if (q->status != SX_Q_BLOCKED) {
        sx_say(call->out, "error: the queue is not blocked");
        return SX_ERR_NONE;
    }
    enum sx_err e = sx_queue_set_status(call->c->srv->store, q, SX_Q_ACTIVE, 0);
    if (e == SX_ERR_NONE)
        sx_say(call->out, "ok, queue unblocked");
    return e;
}

void sx_control_unblock(struct sx_call *call)
{
    with_queue(call, unblock);
}

/* ---- delete ---- */

static enum sx_err delete_queue(struct sx_call *call, struct sx_queue *q)
{
    struct sx_hub us = caller(call);
    struct sx_peer nobody = { .hub = &us };
    unsigned messages = q->count;

    enum sx_err e = sx_queue_record_delete(call->c->srv->store, q);
    if (e != SX_ERR_NONE)
        return e;
    sx_sub_delete(&nobody, q, SX_SUB_MSG);
    if (q->ntf != NULL)
        sx_sub_delete(&nobody, q, SX_SUB_NTF);
    sx_count_queue_deleted(us.stats, q);
    sx_queue_delete(call->c->srv->store, q);
    sx_say(call->out, "ok, %u messages deleted", messages);
    return SX_ERR_NONE;
}

void sx_control_delete(struct sx_call *call)
{
    with_queue(call, delete_queue);
}
