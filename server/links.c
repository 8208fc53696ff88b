/* SPDX-License-Identifier: Apache-2.0 */
/* Link data: what an invitation or an address shows before there is a connection (section 6.3). */
#include "commands.h"

void sx_run_lset(struct sx_run *r)
{
    const struct sx_cmd *c = r->cmd;
    bool secured = r->q->snd_key.alg != SX_NO_KEY;
    enum sx_err e = SX_ERR_AUTH;

    if (!secured || r->q->mode == SX_MODE_CONTACT)
        e = sx_queue_set_link(r->srv->store, r->q, c->lset.link_id, c->lset.fixed, c->lset.user);
    if (e != SX_ERR_NONE)
        sx_run_fail(r, e);
}

void sx_run_ldel(struct sx_run *r)
{
    enum sx_err e = sx_queue_del_link(r->srv->store, r->q);

    if (e != SX_ERR_NONE)
        sx_run_fail(r, e);
}

/* The link may have been deleted or replaced since the queue was found by it. */
static bool is_link(const struct sx_run *r)
{
    return r->q->link != NULL &&
           sx_bytes_eq(r->t->entity_id, sx_bytes(r->q->link->node.id, SX_ID_LEN));
}

static void answer_link(struct sx_run *r)
{
    const struct sx_link *l = r->q->link;
    struct sx_rsp *rsp = &r->answer.rsp;

    rsp->tag = SX_R_LNK;
    rsp->lnk.snd_id = sx_bytes(r->q->snd.id, sizeof(r->q->snd.id));
    rsp->lnk.fixed = sx_bytes(l->data, l->fixed_len);
    rsp->lnk.user = sx_bytes(l->data + l->fixed_len, l->user_len);
}

void sx_run_lkey(struct sx_run *r)
{
    enum sx_err e = SX_ERR_AUTH;

    if (r->q->mode == SX_MODE_MESSAGING && is_link(r))
        e = sx_run_secure(r);
    if (e == SX_ERR_NONE)
        answer_link(r);
    else
        sx_run_fail(r, e);
}

void sx_run_lget(struct sx_run *r)
{
    bool secured = r->q->snd_key.alg != SX_NO_KEY;

    if (is_link(r) && (r->q->mode == SX_MODE_CONTACT || (r->q->mode == SX_MODE_NONE && !secured)))
        answer_link(r);
    else
        sx_run_fail(r, SX_ERR_AUTH);
}
