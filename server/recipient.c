/* SPDX-License-Identifier: Apache-2.0 */
/* Commands of the recipient (protocol/smp.md sections 6.3 and 7). */
#include "commands.h"

enum sx_err sx_queue_dh(const struct sx_pub *theirs, uint8_t secret[32], struct sx_pub *ours)
{
    struct sx_keypair k;
    uint8_t dh[SX_DH_MAX];

    if (sx_keypair_new(SX_X25519, &k) != SIMPLEX_OK)
        return SX_ERR_INTERNAL;
    simplex_rc rc = sx_dh(&k.priv, theirs, dh);
    *ours = k.pub;
    memcpy(secret, dh, 32);
    sx_wipe(dh, sizeof(dh));
    sx_keypair_wipe(&k);
    return rc == SIMPLEX_OK ? SX_ERR_NONE : SX_ERR_CRYPTO; /* a low order point of the client */
}

/* ---- NEW ---- */

/* Ids the client chose: the sender id must be derived from the correlation id. */
static bool own_snd_id(const struct sx_run *r)
{
    uint8_t hash[48];

    sx_sha3_384(r->t->corr_id, hash);
    return sx_bytes_eq(r->cmd->new_.snd_id, sx_bytes(hash, SX_ID_LEN));
}

static enum sx_err describe(const struct sx_cmd *c, struct sx_queue_new *n, struct sx_pub *dh,
                            struct sx_pub *ntf_dh)
{
    n->mode = c->new_.mode;
    n->rcv_key = c->new_.auth;
    enum sx_err e = sx_queue_dh(&c->new_.dh, n->secret, dh);
    if (c->new_.has_link) {
        n->has_link = true;
        n->snd_id = c->new_.snd_id.ptr;
        n->fixed = c->new_.fixed;
        n->user = c->new_.user;
        if (c->new_.mode == SX_MODE_CONTACT) {
            n->link_id = c->new_.link_id.ptr;
            if (c->new_.link_id.len != SX_ID_LEN)
                return SX_ERR_AUTH; /* no such id can be found again */
        }
    }
    if (e == SX_ERR_NONE && c->new_.has_ntf) {
        n->has_ntf = true;
        n->ntf_key = c->new_.ntf_auth;
        e = sx_queue_dh(&c->new_.ntf_dh, n->ntf_secret, ntf_dh);
    }
    return e;
}

static void answer_ids(struct sx_run *r, const struct sx_pub *dh, const struct sx_pub *ntf_dh)
{
    struct sx_rsp *rsp = &r->answer.rsp;
    const struct sx_queue *q = r->made;

    rsp->tag = SX_R_IDS;
    rsp->ids.rcv_id = sx_bytes(q->rcv.id, sizeof(q->rcv.id));
    rsp->ids.snd_id = sx_bytes(q->snd.id, sizeof(q->snd.id));
    rsp->ids.srv_dh = *dh;
    rsp->ids.mode = q->mode;
    rsp->ids.has_service_id = r->p->service != NULL;
    if (rsp->ids.has_service_id)
        rsp->ids.service_id = sx_bytes(r->p->service->id, SX_ID_LEN);
    rsp->ids.has_link_id = r->cmd->new_.has_link;
    if (rsp->ids.has_link_id)
        rsp->ids.link_id = sx_bytes(r->text, SX_ID_LEN);
    rsp->ids.has_ntf = r->cmd->new_.has_ntf;
    if (rsp->ids.has_ntf) {
        rsp->ids.ntf_id = sx_bytes(q->ntf->node.id, sizeof(q->ntf->node.id));
        rsp->ids.ntf_srv_dh = *ntf_dh;
    }
}

/* Or there is no queue: an answer without a subscription would not be what was asked for. */
static enum sx_err subscribe_made(struct sx_run *r)
{
    struct sx_sub *sub;

    sx_queue_lock(r->srv->store, r->made);
    enum sx_err e = sx_run_subscribe(r, r->made, SX_SUB_MSG, &sub);
    if (e != SX_ERR_NONE && sx_queue_record_delete(r->srv->store, r->made) == SX_ERR_NONE)
        sx_queue_delete(r->srv->store, r->made);
    sx_queue_unlock(r->srv->store, r->made);
    return e;
}

void sx_run_new(struct sx_run *r)
{
    const struct sx_cmd *c = r->cmd;
    struct sx_queue_new n = { .made_link_id = r->text, .used_day = sx_day_of(sx_srv_now(r->srv)) };
    struct sx_pub dh, ntf_dh;

    if (!sx_srv_may_create(r->srv, c->new_.has_password, c->new_.password)) {
        sx_run_fail(r, SX_ERR_AUTH);
        return;
    }
    if (!sx_limits_new_queue(&r->srv->limits, r->p, sx_srv_now(r->srv))) {
        sx_run_fail(r, SX_ERR_QUOTA);
        return;
    }
    if ((c->new_.has_link && !own_snd_id(r)) || (r->p->service != NULL && !c->new_.subscribe)) {
        sx_run_fail_cmd(r, SX_CMD_PROHIBITED);
        return;
    }
    enum sx_err e = describe(c, &n, &dh, &ntf_dh);
    if (e == SX_ERR_NONE)
        e = sx_qstore_create(r->srv->store, &n, &r->made);
    sx_wipe(&n, sizeof(n));
    if (e == SX_ERR_NONE && c->new_.subscribe)
        e = subscribe_made(r);
    if (e != SX_ERR_NONE) {
        sx_run_fail(r, e);
        return;
    }
    answer_ids(r, &dh, &ntf_dh);
    sx_count(r->p->hub->stats, SX_STAT_Q_CREATED, 1);
    if (c->new_.has_ntf)
        sx_count(r->p->hub->stats, SX_STAT_NTF_CREATED, 1);
}

/* ---- subscriptions and messages ---- */

void sx_run_sub(struct sx_run *r)
{
    struct sx_counters *c = r->p->hub->stats;

    if (sx_sub_find(r->p, r->q, SX_SUB_GET) != NULL) {
        sx_count(c, SX_STAT_Q_SUB_PROHIBITED, 1);
        sx_run_fail_cmd(r, SX_CMD_PROHIBITED);
        return;
    }
    bool again = sx_sub_find(r->p, r->q, SX_SUB_MSG) != NULL;
    struct sx_sub *sub;
    enum sx_err e = sx_run_subscribe(r, r->q, SX_SUB_MSG, &sub);
    if (e != SX_ERR_NONE) {
        sx_run_fail(r, e);
        return;
    }
    if (again)
        sx_count(c, SX_STAT_Q_SUB_DUPLICATE, 1);
    else if (r->q->head != NULL) /* subscriptions to empty queues are not counted */
        sx_count(c, SX_STAT_Q_SUB, 1);
    sx_sub_flight(sub, false, c);
    if (r->q->head != NULL)
        sx_answer_head(&r->message, sub, r->q);
    sx_run_answer_sok(r);
}

void sx_run_get(struct sx_run *r)
{
    struct sx_counters *c = r->p->hub->stats;

    if (sx_sub_find(r->p, r->q, SX_SUB_MSG) != NULL || sx_service_serves(r->p, r->q)) {
        sx_count(c, SX_STAT_MSG_GET_PROHIBITED, 1);
        sx_run_fail_cmd(r, SX_CMD_PROHIBITED);
        return;
    }
    struct sx_sub *sub = sx_sub_find(r->p, r->q, SX_SUB_GET);
    if (sub == NULL)
        sub = sx_sub_add(r->p, r->q, SX_SUB_GET);
    if (sub == NULL) {
        sx_run_fail(r, SX_ERR_INTERNAL);
        return;
    }
    if (r->q->head == NULL)
        sx_count(c, SX_STAT_MSG_GET_NO_MSG, 1);
    else
        sx_count(c, sub->in_flight ? SX_STAT_MSG_GET_DUPLICATE : SX_STAT_MSG_GET, 1);
    sx_sub_flight(sub, false, c);
    if (r->q->head != NULL)
        sx_answer_head(&r->answer, sub, r->q);
}

static void count_received(const struct sx_run *r, const struct sx_msg *m, const struct sx_sub *sub)
{
    struct sx_counters *c = r->p->hub->stats;
    uint32_t now_s = (uint32_t)(sx_srv_now(r->srv) / 1000);

    if (m->quota)
        return;
    sx_count(c, SX_STAT_MSG_RECV, 1);
    if (sub->kind == SX_SUB_GET)
        sx_count(c, SX_STAT_MSG_RECV_GET, 1);
    if (m->notify)
        sx_count(c, SX_STAT_MSG_RECV_NTF, 1);
    sx_stats_active(r->srv->stats, c, r->q, m->notify);
    sx_stats_acked(c, now_s > sub->delivered_s ? now_s - sub->delivered_s : 0);
}

static enum sx_err delete_acked(struct sx_run *r, const struct sx_sub *sub)
{
    simplex_bytes id = r->cmd->ack.msg_id;
    struct sx_msg *head = r->q->head;

    if (id.len == 0)
        return SX_ERR_NONE;
    if (head == NULL || !sx_bytes_eq(id, sx_bytes(head->id, sizeof(head->id)))) {
        r->q->staged = true; /* it went a moment ago: that may not be on disk yet */
        return SX_ERR_NONE;
    }
    sx_msg_ref(head);
    enum sx_err e = sx_queue_pop(r->srv->store, r->q, id.ptr);
    if (e == SX_ERR_NONE)
        count_received(r, head, sub);
    sx_msg_unref(head);
    return e;
}

/*
 * An empty id is accepted but deletes nothing (section 14, item 1): a subscriber gets the same
 * message again. The head may be another message by now, when another connection has
 * acknowledged this one: then nothing is deleted either.
 */
void sx_run_ack(struct sx_run *r)
{
    simplex_bytes id = r->cmd->ack.msg_id;
    struct sx_sub *sub = sx_sub_find(r->p, r->q, SX_SUB_MSG);
    bool get = sub == NULL;

    if (get)
        sub = sx_sub_find(r->p, r->q, SX_SUB_GET);
    if (sub == NULL || !sub->in_flight ||
        (id.len != 0 && !sx_bytes_eq(id, sx_bytes(sub->delivered, sizeof(sub->delivered))))) {
        sx_run_fail(r, SX_ERR_NO_MSG);
        return;
    }
    enum sx_err e = delete_acked(r, sub);
    if (e != SX_ERR_NONE) {
        sx_run_fail(r, e);
        return;
    }
    sx_sub_flight(sub, false, r->p->hub->stats);
    if (!get && r->q->head != NULL)
        sx_answer_head(&r->answer, sub, r->q);
}

/* ---- keys and life ---- */

enum sx_err sx_run_secure(struct sx_run *r)
{
    bool was_secured = r->q->snd_key.alg != SX_NO_KEY;
    enum sx_err e = sx_queue_secure(r->srv->store, r->q, &r->cmd->key.key);

    if (e == SX_ERR_NONE && !was_secured)
        sx_count(r->p->hub->stats, SX_STAT_Q_SECURED, 1);
    return e;
}

void sx_run_key(struct sx_run *r)
{
    enum sx_err e = sx_run_secure(r);

    if (e != SX_ERR_NONE)
        sx_run_fail(r, e);
}

void sx_run_rkey(struct sx_run *r)
{
    enum sx_err e = SX_ERR_AUTH;

    if (r->q->mode == SX_MODE_CONTACT)
        e = sx_queue_set_keys(r->srv->store, r->q, r->cmd->rkey.keys, r->cmd->rkey.count);
    if (e != SX_ERR_NONE)
        sx_run_fail(r, e);
}

void sx_run_off(struct sx_run *r)
{
    enum sx_err e = SX_ERR_NONE;

    if (r->q->status == SX_Q_ACTIVE)
        e = sx_queue_set_status(r->srv->store, r->q, SX_Q_OFF, 0);
    else
        r->q->staged = true; /* what switched it off may not be on disk yet */
    if (e != SX_ERR_NONE)
        sx_run_fail(r, e);
}

void sx_count_queue_deleted(struct sx_counters *c, const struct sx_queue *q)
{
    bool secured = q->snd_key.alg != SX_NO_KEY;

    sx_count_ntfs_dropped(c, q);
    sx_count(c, SX_STAT_Q_DELETED, 1);
    sx_count(c, secured ? SX_STAT_Q_DELETED_SECURED : SX_STAT_Q_DELETED_NEW, 1);
}

void sx_run_del(struct sx_run *r)
{
    struct sx_queue *q = r->q;
    enum sx_err e = sx_queue_record_delete(r->srv->store, q);

    if (e != SX_ERR_NONE) {
        sx_run_fail(r, e);
        return;
    }
    sx_sub_delete(r->p, q, SX_SUB_MSG);
    if (q->ntf != NULL)
        sx_sub_delete(r->p, q, SX_SUB_NTF);
    sx_count_queue_deleted(r->p->hub->stats, q);
    sx_queue_delete(r->srv->store, q);
}
