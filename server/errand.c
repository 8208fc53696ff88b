/* SPDX-License-Identifier: Apache-2.0 */
#include "errand.h"

#include "commands.h"

#define TEXT_MAX UINT8_MAX /* of an error: its length is one byte */
#define ADDRESS_MAX (1 + SX_HOSTS_MAX * (1 + SX_HOST_MAX) + 1 + 5 + 1 + 32)

static void free_errand(struct sx_errand *e)
{
    sx_free(e->body);
    sx_free(e);
}

/* ---- for the worker ---- */

void sx_errand_fail(struct sx_errand *e, const struct sx_smp_err *err, enum sx_errand_result result)
{
    simplex_bytes text = err->text;
    uint8_t *copy = NULL;

    if (text.len > TEXT_MAX)
        text.len = TEXT_MAX;
    if (text.len > 0)
        copy = sx_memdup(text);
    e->rsp = (struct sx_rsp){ .tag = SX_R_ERR, .err = *err };
    if (text.len > 0 && copy == NULL)
        e->rsp.err = (struct sx_smp_err){ .err = SX_ERR_INTERNAL };
    e->rsp.err.text = sx_bytes(copy, copy == NULL ? 0 : text.len);
    e->result = (uint8_t)result;
    sx_free(e->body); /* after the copy: the text may lie in it */
    e->body = copy;
    e->body_len = e->rsp.err.text.len;
}

void sx_errand_done(struct sx_errand *e)
{
    struct sx_hub *h = e->hub;

    e->next = NULL;
    pthread_mutex_lock(&h->lock);
    bool was_empty = h->done_first == NULL;
    if (was_empty)
        h->done_first = e;
    else
        h->done_last->next = e;
    h->done_last = e;
    /* Under the lock, as in sx_hub_post: the hub cannot end in between. */
    if (was_empty && h->wake != NULL)
        h->wake(h->wake_user);
    pthread_mutex_unlock(&h->lock);
}

/* ---- the errands of a peer ---- */

static void link_errand(struct sx_peer *p, struct sx_errand *e)
{
    e->peer_prev = NULL;
    e->peer_next = p->errands;
    if (p->errands != NULL)
        p->errands->peer_prev = e;
    p->errands = e;
    p->n_errands++;
    p->n_prxy += e->tag == SX_PRXY;
}

static void unlink_errand(struct sx_peer *p, struct sx_errand *e)
{
    if (e->peer_prev == NULL)
        p->errands = e->peer_next;
    else
        e->peer_prev->peer_next = e->peer_next;
    if (e->peer_next != NULL)
        e->peer_next->peer_prev = e->peer_prev;
    p->n_errands--;
    p->n_prxy -= e->tag == SX_PRXY;
}

static void count(const struct sx_hub *h, const struct sx_errand *e)
{
    static const enum sx_stat results[SX_ERRAND_RESULTS] = {
        [SX_ERRAND_SUCCESS] = SX_STAT_P_RELAYS_SUCCESSES,
        [SX_ERRAND_CONNECT] = SX_STAT_P_RELAYS_CONNECT,
        [SX_ERRAND_COMPAT] = SX_STAT_P_RELAYS_COMPAT,
        [SX_ERRAND_OTHER] = SX_STAT_P_RELAYS_OTHER,
    };
    /* The lists of section 10 have the same counters four times. */
    enum {
        OWN = SX_STAT_P_RELAYS_OWN_REQUESTS - SX_STAT_P_RELAYS_REQUESTS,
        FWDS = SX_STAT_P_FWDS_REQUESTS - SX_STAT_P_RELAYS_REQUESTS
    };
    unsigned add = e->tag == SX_PFWD ? FWDS : 0;

    for (unsigned own = 0; own <= (e->own ? 1u : 0u); own++) {
        sx_count(h->stats, SX_STAT_P_RELAYS_REQUESTS + add + own * OWN, 1);
        sx_count(h->stats, results[e->result] + add + own * OWN, 1);
    }
}

/* The answer of e, which is freed. */
static void answer(struct sx_hub *h, struct sx_errand *e)
{
    struct sx_answer a = { .corr_id = sx_errand_corr_id(e),
                           .entity_id = sx_errand_entity(e),
                           .rsp = e->rsp };

    count(h, e);
    if (e->peer != NULL)
        sx_peer_send(e->peer, &a);
    free_errand(e);
}

/* No relay can be asked now: the client may try again. Answered in the next turn of the hub,
 * because this one may be in the middle of a block. */
static void refuse(struct sx_errand *e)
{
    struct sx_smp_err busy = { .err = SX_ERR_PROXY,
                               .proxy = SX_PROXY_BROKER,
                               .broker = SX_BROKER_TIMEOUT };

    sx_errand_fail(e, &busy, SX_ERRAND_OTHER);
    sx_errand_done(e);
}

/* The first one that the peer may have under way now; NULL: none. */
static struct sx_errand *take_held(struct sx_peer *p)
{
    const struct sx_srv *srv = p->hub->srv;
    struct sx_errand *before = NULL, *e = p->held_first;

    if (p->n_errands >= srv->concurrency)
        return NULL;
    for (; e != NULL && e->tag == SX_PRXY && p->n_prxy >= srv->limits.prxys; e = e->next)
        before = e;
    if (e == NULL)
        return NULL;
    *(before == NULL ? &p->held_first : &before->next) = e->next;
    if (p->held_last == e)
        p->held_last = before;
    p->n_held--;
    e->next = NULL;
    return e;
}

static void submit(struct sx_peer *p, struct sx_errand *e)
{
    struct sx_srv *srv = p->hub->srv;

    link_errand(p, e); /* first: it may be done before submit returns */
    if ((e->tag == SX_PRXY && !sx_limits_may_try_relay(&srv->limits, p, sx_srv_now(srv))) ||
        !srv->relays.submit(srv->relays.user, e))
        refuse(e);
}

static void submit_held(struct sx_peer *p)
{
    struct sx_errand *e;

    while ((e = take_held(p)) != NULL)
        submit(p, e);
}

void sx_peer_drop_errands(struct sx_peer *p)
{
    while (p->errands != NULL) {
        struct sx_errand *e = p->errands;
        unlink_errand(p, e);
        e->peer = NULL;
    }
    while (p->held_first != NULL) {
        struct sx_errand *e = p->held_first;
        p->held_first = e->next;
        free_errand(e);
    }
    p->held_last = NULL;
    p->n_held = 0;
}

/* ---- the hub ---- */

static struct sx_errand *take_done(struct sx_hub *h)
{
    pthread_mutex_lock(&h->lock);
    struct sx_errand *list = h->done_first;
    h->done_first = h->done_last = NULL;
    pthread_mutex_unlock(&h->lock);
    return list;
}

void sx_hub_errands(struct sx_hub *h)
{
    struct sx_errand *next;

    for (struct sx_errand *e = take_done(h); e != NULL; e = next) {
        struct sx_peer *p = e->peer;
        next = e->next;
        if (p != NULL) {
            unlink_errand(p, e);
            if (e->tried && e->result != SX_ERRAND_SUCCESS)
                sx_limits_failed_relay(p, sx_srv_now(h->srv));
        }
        answer(h, e);
        if (p != NULL)
            submit_held(p);
    }
}

void sx_hub_drop_errands(struct sx_hub *h)
{
    struct sx_errand *next;

    for (struct sx_errand *e = take_done(h); e != NULL; e = next) {
        next = e->next;
        free_errand(e);
    }
}

/* ---- the commands ---- */

/* NULL: the answer is INTERNAL. */
static struct sx_errand *new_errand(struct sx_run *r, simplex_bytes body)
{
    struct sx_errand *e = sx_calloc(1, sizeof(*e));

    if (e != NULL && body.len > 0)
        e->body = sx_memdup(body);
    if (e == NULL || (e->body == NULL && body.len > 0)) {
        sx_free(e);
        sx_run_fail(r, SX_ERR_INTERNAL);
        return NULL;
    }
    e->body_len = body.len;
    e->hub = r->p->hub;
    e->client = e->peer = r->p;
    e->tag = r->cmd->tag;
    e->corr_len = (uint8_t)r->t->corr_id.len;
    memcpy(e->corr_id, r->t->corr_id.ptr, e->corr_len);
    e->entity_len = (uint8_t)r->t->entity_id.len;
    if (e->entity_len > 0)
        memcpy(e->entity_id, r->t->entity_id.ptr, e->entity_len);
    return e;
}

static void hold(struct sx_run *r, struct sx_errand *e)
{
    struct sx_peer *p = r->p;

    r->later = true;
    e->next = NULL;
    if (p->held_last == NULL)
        p->held_first = e;
    else
        p->held_last->next = e;
    p->held_last = e;
    p->n_held++;
    submit_held(p);
}

static void refuse_proxy(struct sx_run *r, enum sx_err_proxy why)
{
    sx_run_fail(r, SX_ERR_PROXY);
    r->answer.rsp.err.proxy = (uint8_t)why;
}

void sx_run_prxy(struct sx_run *r)
{
    const struct sx_cmd *c = r->cmd;

    if (r->srv->relays.submit == NULL ||
        !sx_srv_may_proxy(r->srv, c->prxy.has_password, c->prxy.password)) {
        refuse_proxy(r, SX_PROXY_BASIC_AUTH);
        return;
    }
    uint8_t address[ADDRESS_MAX]; /* a tenth of what the structure takes */
    struct sx_wr w;
    sx_wr_fixed(&w, address, sizeof(address));
    sx_server_encode(&w, &c->prxy.server);
    struct sx_errand *e = new_errand(r, sx_wr_bytes(&w));
    if (e != NULL)
        hold(r, e);
}

void sx_run_pfwd(struct sx_run *r)
{
    const struct sx_cmd *c = r->cmd;

    if (r->srv->relays.submit == NULL) {
        refuse_proxy(r, SX_PROXY_NO_SESSION); /* there was no PRXY */
        return;
    }
    struct sx_errand *e = new_errand(r, c->pfwd.body);
    if (e == NULL)
        return;
    e->version = c->pfwd.version;
    e->key = c->pfwd.key;
    hold(r, e);
}
