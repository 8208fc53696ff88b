/* SPDX-License-Identifier: Apache-2.0 */
/* What the proxy does with PRXY and PFWD (protocol/smp.md section 8). */
#include "proxy_internal.h"

#define CLIENT_MIN 2 /* connecting for one client whatever others do */

/* ---- PRXY ---- */

/* The attempt that has lasted longest. *own: how many are for this client. */
static struct sx_proxy_relay *slowest(struct sx_proxy *p, const void *client, unsigned *own)
{
    struct sx_proxy_relay *found = NULL;

    *own = 0;
    for (unsigned b = 0; b < SX_PROXY_BUCKETS; b++) {
        for (struct sx_proxy_relay *r = p->by_address[b]; r != NULL; r = r->next) {
            if (!r->connecting)
                continue;
            *own += r->asker == client;
            if (found == NULL || r->tried_ms < found->tried_ms)
                found = r;
        }
    }
    return found;
}

/*
 * A place among those that are being connected to. When half of them are taken, a client has two at
 * most. When all are, one that lasts too long is given up: relays that live answer within seconds.
 */
static bool may_connect(struct sx_proxy *p, const struct sx_proxy_relay *r, const void *client)
{
    unsigned half = (p->cfg.relays_max + 1) / 2, own;
    size_t taken = atomic_load(&p->n_connecting);

    if (r->connecting || taken < half / 2)
        return true;
    struct sx_proxy_relay *slow = slowest(p, client, &own);
    if (own >= CLIENT_MIN)
        return false;
    if (taken < half)
        return true;
    if (slow == NULL || sx_proxy_now() - slow->tried_ms < p->cfg.hurry_ms)
        return false;
    atomic_fetch_add(&p->hurried, 1);
    sx_proxy_connecting_ends(slow);
    sx_client_want(slow->client, false);
    slow->failed_rc = SIMPLEX_E_TIMEOUT;
    slow->failed_until = sx_proxy_now() + p->cfg.failed_ms;
    sx_proxy_fail_work(slow, SIMPLEX_E_TIMEOUT);
    sx_client_disconnect(slow->client, SIMPLEX_E_TIMEOUT);
    return true;
}

static void run_prxy(struct sx_proxy *p, struct sx_errand *e)
{
    struct sx_rd rd = sx_rd_init(sx_bytes(e->body, e->body_len));
    simplex_rc rc = SIMPLEX_OK;
    struct sx_server server;

    sx_server_decode(&rd, &server); /* was encoded by us */
    struct sx_proxy_relay *r = sx_proxy_find_address(p, &server);
    if (r == NULL)
        r = sx_proxy_new_relay(p, &server, &rc);
    if (r == NULL) {
        sx_proxy_fail(p, e, rc);
        return;
    }
    e->own = r->own;
    r->used_ms = sx_proxy_now();
    if (sx_client_is_up(r->client)) {
        sx_proxy_answer_pkey(r, e);
    } else if (!r->up && r->used_ms < r->failed_until) {
        sx_proxy_fail(p, e, r->failed_rc);
    } else if (r->n_work >= p->cfg.relay_pending_max || !may_connect(p, r, e->client)) {
        sx_proxy_fail(p, e, SIMPLEX_E_TIMEOUT);
    } else {
        e->tried = true;
        sx_proxy_work_add(r, e);
        sx_proxy_connecting_begins(r, e->client);
        sx_client_want(r->client, true);
    }
}

/* ---- PFWD ---- */

static void on_answer(void *user, void *ctx, simplex_rc rc, const struct sx_rsp *rsp)
{
    struct sx_errand *e = ctx;
    struct sx_proxy_relay *r = e->work;

    sx_proxy_work_remove(r, e);
    r->used_ms = sx_proxy_now();
    sx_relay_answer(e, sx_client_session(r->client), rc, rsp);
    sx_proxy_done(user, e);
}

static simplex_rc forward(struct sx_proxy *p, struct sx_proxy_relay *r, struct sx_errand *e)
{
    struct sx_cmd cmd = { .tag = SX_RFWD };
    struct sx_request req = { .cmd = &cmd, .corr_id = e->nonce, .done = on_answer, .ctx = e };
    struct sx_wr w;

    sx_wr_fixed(&w, p->body, sizeof(p->body));
    simplex_rc rc = sx_relay_wrap(e, sx_client_session(r->client), NULL, &w);
    if (rc != SIMPLEX_OK)
        return rc;
    cmd.rfwd.body = sx_wr_bytes(&w);
    return sx_client_send(r->client, &req);
}

static void run_pfwd(struct sx_proxy *p, struct sx_errand *e)
{
    static const struct sx_smp_err no_session = { .err = SX_ERR_PROXY,
                                                  .proxy = SX_PROXY_NO_SESSION };
    struct sx_proxy_relay *r = sx_proxy_find_session(p, sx_errand_entity(e));

    /* Between the loss of a session and the callback that tells it, there is none either. */
    if (r == NULL || !sx_client_is_up(r->client)) {
        sx_errand_fail(e, &no_session, SX_ERRAND_CONNECT);
        sx_proxy_done(p, e);
        return;
    }
    e->own = r->own;
    r->used_ms = sx_proxy_now();
    simplex_rc rc = r->n_work < p->cfg.relay_pending_max ? forward(p, r, e) : SIMPLEX_E_TIMEOUT;
    if (rc != SIMPLEX_OK) {
        sx_proxy_fail(p, e, rc);
        return;
    }
    sx_free(e->body); /* the client of the relay has its copy */
    e->body = NULL;
    e->body_len = 0;
    sx_proxy_work_add(r, e);
}

void sx_proxy_run(struct sx_proxy *p, struct sx_errand *e)
{
    if (e->tag == SX_PRXY)
        run_prxy(p, e);
    else
        run_pfwd(p, e);
}
