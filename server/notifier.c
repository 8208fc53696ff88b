/* SPDX-License-Identifier: Apache-2.0 */
/* Notifications, and the events that wait for a flush: NMSG, END, DELD (sections 6.3 and 7). */
#include "commands.h"

void sx_count_ntfs_dropped(struct sx_counters *c, const struct sx_queue *q)
{
    if (q->ntf != NULL)
        sx_count(c, SX_STAT_NTF_COUNT, -(int64_t)q->ntf->count);
}

static void drop_subscription(struct sx_run *r)
{
    if (r->q->ntf != NULL)
        sx_sub_delete(r->p, r->q, SX_SUB_NTF);
}

void sx_run_nkey(struct sx_run *r)
{
    struct sx_rsp *rsp = &r->answer.rsp;
    uint8_t secret[32];
    struct sx_pub ours;
    struct sx_notifier *made;

    enum sx_err e = sx_queue_dh(&r->cmd->nkey.dh, secret, &ours);
    if (e == SX_ERR_NONE)
        e = sx_queue_make_notifier(r->srv->store, r->q, &r->cmd->nkey.auth, secret, &made);
    sx_wipe(secret, sizeof(secret));
    if (e != SX_ERR_NONE) {
        sx_run_fail(r, e);
        return;
    }
    drop_subscription(r);
    sx_count_ntfs_dropped(r->p->hub->stats, r->q);
    sx_queue_put_notifier(r->srv->store, r->q, made);
    sx_count(r->p->hub->stats, SX_STAT_NTF_CREATED, 1);
    rsp->tag = SX_R_NID;
    rsp->nid.ntf_id = sx_bytes(r->q->ntf->node.id, SX_ID_LEN);
    rsp->nid.srv_dh = ours;
}

void sx_run_ndel(struct sx_run *r)
{
    enum sx_err e = sx_queue_record_del_notifier(r->srv->store, r->q);

    if (e != SX_ERR_NONE) {
        sx_run_fail(r, e);
        return;
    }
    drop_subscription(r);
    sx_count_ntfs_dropped(r->p->hub->stats, r->q);
    if (r->q->ntf != NULL)
        sx_count(r->p->hub->stats, SX_STAT_NTF_DELETED, 1);
    sx_queue_del_notifier(r->srv->store, r->q);
}

void sx_run_nsub(struct sx_run *r)
{
    struct sx_notifier *n = r->q->ntf;

    if (n == NULL || memcmp(n->node.id, r->t->entity_id.ptr, SX_ID_LEN) != 0) {
        sx_run_fail(r, SX_ERR_AUTH);
        return;
    }
    bool again = sx_sub_find(r->p, r->q, SX_SUB_NTF) != NULL;
    struct sx_sub *sub;
    enum sx_err e = sx_run_subscribe(r, r->q, SX_SUB_NTF, &sub);
    if (e != SX_ERR_NONE) {
        sx_run_fail(r, e);
        return;
    }
    sx_count(r->p->hub->stats, again ? SX_STAT_NTF_SUB_DUPLICATE : SX_STAT_NTF_SUB, 1);
    if (n->head != NULL)
        sx_sub_queue_ntf(sub);
    sx_run_answer_sok(r);
}

/* Without memory the notification is lost, not the message. */
void sx_notify(struct sx_run *r, const struct sx_msg *m)
{
    struct sx_notifier *n = r->q->ntf;
    struct sx_counters *c = r->p->hub->stats;
    unsigned had = n->count;
    bool added = sx_notifier_add(n, m);

    sx_count(c, SX_STAT_NTF_COUNT, (int64_t)n->count - had);
    if (n->count == had) /* no memory, or the oldest one had to go */
        sx_count(c, SX_STAT_MSG_NTF_LOST, 1);
    if (!added)
        return;
    struct sx_sub *sub = sx_sub_reach(r->q, SX_SUB_NTF, r->p->hub);
    if (sub == NULL)
        sx_count(c, SX_STAT_MSG_NTF_NO_SUB, 1);
    else
        sx_hub_post(sub, SX_EV_NTF, r->p->hub);
}

/* ---- flushes ---- */

static void send_ntfs(struct sx_peer *p, struct sx_answers *to)
{
    if (to->n > 0)
        sx_count(p->hub->stats, SX_STAT_MSG_NTFS_B, 1);
    sx_answers_send(to, p);
}

static void add_nmsg(struct sx_peer *p, struct sx_answers *to, const struct sx_sub *sub,
                     const struct sx_box_key *key, const struct sx_ntf *ntf)
{
    uint8_t plain[64], meta[SX_NMSG_PADDED + SX_BOX_TAG];
    struct sx_ntf_meta m = { .msg_id = sx_bytes(ntf->msg_id, sizeof(ntf->msg_id)),
                             .ts_s = ntf->ts_ms / 1000 };
    struct sx_answer a = { .entity_id = sx_bytes(sub->ntf_id, sizeof(sub->ntf_id)),
                           .rsp = { .tag = SX_R_NMSG } };
    struct sx_wr w;

    sx_wr_fixed(&w, plain, sizeof(plain));
    sx_ntf_meta_encode(&w, &m);
    sx_random(a.rsp.nmsg.nonce, sizeof(a.rsp.nmsg.nonce));
    if (w.bad || sx_box_seal_padded(key, a.rsp.nmsg.nonce, sx_wr_bytes(&w), SX_NMSG_PADDED, meta) !=
                     SIMPLEX_OK)
        return;
    a.rsp.nmsg.meta = sx_bytes(meta, sizeof(meta));
    sx_answers_add(to, p, &a);
    if (to->n >= SX_NMSG_PER_BLOCK)
        send_ntfs(p, to);
}

void sx_peer_flush_ntfs(struct sx_peer *p)
{
    struct sx_answers *to = sx_block_events(p->hub->block);
    struct sx_srv *srv = p->hub->srv;
    struct sx_sub *sub;

    while ((sub = p->ntfs) != NULL && !sx_peer_paused(p)) {
        struct sx_ntf *list = NULL;
        struct sx_box_key key;
        unsigned had = 0, sent = 0;
        sx_sub_unqueue_ntf(sub);
        sx_queue_lock(srv->store, sub->q);
        if (sub->q->ntf != NULL && sub->q->ntf->sub == sub) {
            had = sub->q->ntf->count;
            list = sx_notifier_take(srv->store, sub->q->ntf, sx_srv_now(srv));
            sx_box_key_init(&key, sub->q->ntf->secret);
        }
        sx_queue_unlock(srv->store, sub->q);
        for (const struct sx_ntf *n = list; n != NULL; n = n->next, sent++)
            add_nmsg(p, to, sub, &key, n);
        sx_count(p->hub->stats, SX_STAT_NTF_COUNT, -(int64_t)had);
        sx_count(p->hub->stats, SX_STAT_MSG_NTFS, sent);
        sx_count(p->hub->stats, SX_STAT_MSG_NTF_EXPIRED, had - sent);
        if (list != NULL)
            sx_wipe(&key, sizeof(key));
        sx_ntf_free(list);
    }
    send_ntfs(p, to);
    p->ntfs_due = p->ntfs != NULL;
}

/* A client that has subscribed again since must not be told that its subscription ended. */
static bool subscribed_again(struct sx_peer *p, const struct sx_ended *e)
{
    struct sx_store *st = p->hub->srv->store;
    struct sx_queue *q = sx_qstore_find(st, e->kind == SX_SUB_NTF ? SX_BY_NTF : SX_BY_RCV,
                                        sx_bytes(e->id, sizeof(e->id)));

    if (q == NULL)
        return false;
    sx_queue_lock(st, q);
    bool again = sx_sub_find(p, q, e->kind) != NULL;
    sx_queue_unlock(st, q);
    sx_queue_unref(q);
    return again;
}

/* False: there is nothing to tell any more. */
static bool describe_end(struct sx_peer *p, const struct sx_ended *e, struct sx_rsp *rsp)
{
    if (e->kind == SX_SUB_SERVICE)
        return sx_service_ended(p, rsp);
    if (subscribed_again(p, e))
        return false;
    /* Version 10 brought DELD. */
    rsp->tag = e->deld && p->session->version >= 10 ? SX_R_DELD : SX_R_END;
    return true;
}

static void send_ends(struct sx_peer *p, struct sx_answers *to)
{
    sx_count(p->hub->stats, SX_STAT_Q_SUB_END_B, to->n > 0);
    sx_answers_send(to, p);
}

void sx_peer_flush_ends(struct sx_peer *p)
{
    struct sx_answers *to = sx_block_events(p->hub->block);
    size_t done = 0;

    for (; done < p->n_ended && !sx_peer_paused(p); done++) {
        const struct sx_ended *e = &p->ended[p->ended_at + done];
        struct sx_answer a = { .entity_id = sx_bytes(e->id, sizeof(e->id)) };
        if (!describe_end(p, e, &a.rsp))
            continue;
        sx_count(p->hub->stats, SX_STAT_Q_SUB_END, e->kind != SX_SUB_SERVICE);
        sx_answers_add(to, p, &a);
        if (to->n >= SX_ENDS_PER_FLUSH)
            send_ends(p, to);
    }
    send_ends(p, to);
    p->n_ended -= done;
    p->ended_at += done;
    p->ends_due = p->n_ended > 0;
    if (p->ends_due)
        return;
    sx_free(p->ended); /* seldom needed: an idle connection holds nothing */
    p->ended = NULL;
    p->ended_at = p->ended_size = 0;
}
