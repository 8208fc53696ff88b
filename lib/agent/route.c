/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private routing (protocol/smp.md section 8, agent.md section 8.4): which commands to servers of
 * contacts go through a proxy of ours, which one, and when directly after all. A relay stays with
 * its proxy as long as that does its part, so that as few servers as possible learn of it.
 */
#include "agent/route.h"
#include "agent/users.h"

#include "client/hosts.h"
#include "client/via.h"

#define DIRECT_MS 60000 /* how long a relay that no proxy can use is written to directly */
#define FAILURES_MAX 3  /* in a row, of whose cause we have only the proxy's word */

struct way { /* to a relay, through one proxy */
    struct way *next;
    struct sx_rt_relay *relay;
    struct sx_rt_server *proxy;
    struct sx_via *via;
    size_t pending;       /* commands without an answer */
    int64_t list_version; /* of the user's servers, when it was chosen */
    bool left;            /* goes with its last answer */
};

struct sx_rt_relay {
    struct sx_rt_relay *next;
    struct simplex_agent *agent;
    struct sx_server server;
    int64_t user;
    int64_t entity;   /* of the isolation of connections; else 0 */
    int64_t used_at;  /* mono ms */
    struct way *way;  /* for what is sent now; NULL: to be chosen */
    struct way *left; /* those that have answers to give yet */
    bool has_failed;
    struct sx_server failed; /* the proxy that did last */
    unsigned failures;       /* of the way */
    int64_t direct_until;    /* mono ms */
};

/* ---- the rules ---- */

/* No host of it is one of the user's, those that are switched off included. */
static bool is_unknown(struct simplex_agent *a, int64_t user, const struct sx_server *s)
{
    const struct sx_server_list *l = sx_user_servers(a, user);

    for (size_t i = 0; i < l->n; i++) {
        if (sx_shares_name(&l->v[i].server, s))
            return false;
    }
    return true;
}

/* Would a direct connection hide our address? Only what goes through the SOCKS proxy does: with
 * socks_only_onion that depends on the server. */
static bool is_protected(const struct simplex_agent *a, const struct sx_server *s)
{
    struct sx_route routes[SX_HOSTS_MAX];
    size_t n = sx_routes(&a->net_cfg, s, routes);

    for (size_t i = 0; i < n; i++) {
        if (!routes[i].socks)
            return false;
    }
    return n > 0;
}

static bool through_proxy(struct simplex_agent *a, int64_t user, const struct sx_server *s)
{
    switch (a->cfg.proxy_mode) {
    case SIMPLEX_PROXY_ALWAYS:
        return true;
    case SIMPLEX_PROXY_UNKNOWN:
        return is_unknown(a, user, s);
    case SIMPLEX_PROXY_UNPROTECTED:
        return is_unknown(a, user, s) && !is_protected(a, s);
    default:
        return false;
    }
}

static bool direct_allowed(const struct simplex_agent *a, const struct sx_server *s)
{
    switch (a->cfg.proxy_fallback) {
    case SIMPLEX_FALLBACK_ALLOW:
        return true;
    case SIMPLEX_FALLBACK_PROTECTED:
        return is_protected(a, s);
    default:
        return false;
    }
}

/* What no waiting mends: the proxy has no way to the relay, or they speak no version in common.
 * Only then may a command go directly: whoever can block the way to a proxy must not be able to
 * make us show our address. */
static bool is_host_error(simplex_rc rc, const struct sx_rsp *rsp)
{
    if (rc == SIMPLEX_E_VERSION)
        return true;
    return rc == SIMPLEX_E_SERVER && rsp->err.err == SX_ERR_PROXY &&
           rsp->err.proxy == SX_PROXY_BROKER &&
           (rsp->err.broker == SX_BROKER_HOST ||
            (rsp->err.broker == SX_BROKER_TRANSPORT && rsp->err.transport == SX_TRANSPORT_VERSION));
}

bool sx_route_is_hopeless(simplex_rc rc, const struct sx_rsp *rsp)
{
    if (rc == SIMPLEX_E_NO_SERVERS)
        return true;
    if (rc != SIMPLEX_E_SERVER || rsp == NULL || rsp->tag != SX_R_ERR ||
        rsp->err.err != SX_ERR_PROXY)
        return false;
    return rsp->err.proxy == SX_PROXY_BASIC_AUTH || is_host_error(rc, rsp);
}

/* ---- proxies ---- */

/* Away from the relay and from the proxy that failed last: who sees both ends needs no proxy. */
static simplex_rc choose_proxy(struct simplex_agent *a, const struct sx_rt_relay *r,
                               const struct sx_user_server **out)
{
    struct sx_choice c = { .user = r->user,
                           .role = SX_SRV_PROXY,
                           .used = { &r->server },
                           .n_used = 1,
                           .failed = r->has_failed ? &r->failed : NULL,
                           .reachable = true };

    return sx_choose(a, &c, out);
}

static int64_t list_version(struct simplex_agent *a, int64_t user)
{
    const struct sx_user *u = sx_user_find(a, user);

    return u != NULL ? u->row.servers_version : 0;
}

/* The same proxy as before, if it is on the list still. NULL: it is not. */
static const struct sx_user_server *listed(struct simplex_agent *a, int64_t user,
                                           const struct sx_server *proxy)
{
    const struct sx_server_list *l = sx_user_servers(a, user);

    for (size_t i = 0; i < l->n; i++) {
        if (sx_server_eq(&l->v[i].server, proxy) &&
            sx_serves(a, user, SX_SRV_PROXY, &l->v[i].server))
            return &l->v[i];
    }
    return NULL;
}

/* ---- ways ---- */

static void on_answer(void *owner, const struct sx_via_answer *answer);

static simplex_rc open_way(struct simplex_agent *a, struct sx_rt_relay *r,
                           const struct sx_user_server *p)
{
    struct way *w = sx_calloc(1, sizeof *w);
    simplex_rc rc = w != NULL ? SIMPLEX_OK : SIMPLEX_E_NOMEM;

    if (rc == SIMPLEX_OK)
        rc = sx_rt_server_for(a, r->user, r->entity, &p->server, &w->proxy);
    if (rc == SIMPLEX_OK)
        rc = sx_via_open(w->proxy->client, &r->server,
                         p->password != NULL ? sx_str(p->password) : sx_bytes(NULL, 0), on_answer,
                         w, &w->via);
    if (rc != SIMPLEX_OK) {
        sx_free(w);
        return rc;
    }
    w->relay = r;
    w->list_version = list_version(a, r->user);
    r->way = w;
    r->failures = 0;
    return SIMPLEX_OK;
}

static void free_ways(struct way *w, bool net_is_there)
{
    while (w != NULL) {
        struct way *next = w->next;
        if (net_is_there) /* else it is gone with it */
            sx_via_close(w->via);
        sx_free(w);
        w = next;
    }
}

/* Nothing more is sent by it. Those who wait for its answers still get them: nobody else would tell
 * them that they have to try again. */
static void leave(struct way *w)
{
    struct sx_rt_relay *r = w->relay;

    if (w->left)
        return;
    w->left = true;
    w->next = r->left;
    r->left = w;
    r->way = NULL;
}

static void end_if_done(struct way *w)
{
    struct way **p = &w->relay->left;

    if (!w->left || w->pending > 0)
        return;
    while (*p != w)
        p = &(*p)->next;
    *p = w->next;
    w->next = NULL;
    free_ways(w, true);
}

/* The proxy did not do its part: another one is tried, if there is any. */
static void leave_proxy(struct way *w)
{
    struct sx_rt_relay *r = w->relay;

    if (w->left)
        return;
    r->failed = *sx_client_server(w->proxy->client);
    r->has_failed = true;
    leave(w);
}

/* What the user took off the list is used no longer; what stays there stays, with the password that
 * it has now. */
static simplex_rc choose_way(struct simplex_agent *a, struct sx_rt_relay *r)
{
    const struct sx_user_server *p = NULL;
    struct way *old = r->way;
    simplex_rc rc = SIMPLEX_OK;

    if (old != NULL && old->list_version == list_version(a, r->user))
        return SIMPLEX_OK;
    if (old != NULL) {
        p = listed(a, r->user, sx_client_server(old->proxy->client));
        leave(old);
        end_if_done(old);
    }
    if (p == NULL)
        rc = choose_proxy(a, r, &p);
    return rc == SIMPLEX_OK ? open_way(a, r, p) : rc;
}

/* ---- answers ---- */

/* Certainly the proxy's own failure, or one too many of those it blames on others. */
static bool is_proxy_bad(struct sx_rt_relay *r, simplex_rc rc, const struct sx_rsp *rsp)
{
    r->failures++;
    if (rc == SIMPLEX_E_DISCONNECTED ||
        (rc == SIMPLEX_E_SERVER && rsp->err.err == SX_ERR_PROXY &&
         (rsp->err.proxy == SX_PROXY_BROKER || rsp->err.proxy == SX_PROXY_PROTOCOL)))
        return r->failures >= FAILURES_MAX;
    return true;
}

/* The failure as the workers see it: all that a proxy can cause passes, by itself or with another
 * proxy. An ERR that is not about proxies would be taken for the relay's. */
static simplex_rc failure_of(simplex_rc rc, const struct sx_rsp *said, struct sx_rsp *rsp)
{
    if (rc == SIMPLEX_E_SERVER) {
        *rsp = *said;
        if (said->err.err != SX_ERR_PROXY) {
            rsp->err.err = SX_ERR_PROXY;
            rsp->err.proxy = SX_PROXY_PROTOCOL;
            rsp->err.relay = said->err.err;
        }
        return rc;
    }
    return sx_is_temporary(rc, NULL) ? rc : SIMPLEX_E_HANDSHAKE;
}

static bool send_directly(struct sx_rt_relay *r, const struct sx_request *req)
{
    struct simplex_agent *a = r->agent;
    struct sx_rt_server *s;

    if (!direct_allowed(a, &r->server))
        return false;
    r->direct_until = sx_mono_ms() + DIRECT_MS;
    return sx_rt_server_for(a, r->user, r->entity, &r->server, &s) == SIMPLEX_OK &&
           sx_client_send(s->client, req) == SIMPLEX_OK;
}

static void on_failure(struct way *w, const struct sx_via_answer *answer)
{
    struct sx_rt_relay *r = w->relay;
    struct simplex_agent *a = r->agent;
    struct sx_rsp rsp;
    simplex_rc rc = failure_of(answer->rc, answer->rsp, &rsp);
    bool host = is_host_error(answer->rc, answer->rsp);

    sx_log(SX_LOG_WARN, "agent: a proxy could not pass on a command: %s",
           simplex_rc_name(answer->rc));
    if (!w->left && is_proxy_bad(r, answer->rc, answer->rsp))
        leave_proxy(w);
    if (host && send_directly(r, answer->req))
        return;
    answer->req->done(a, answer->req->ctx, rc, rc == SIMPLEX_E_SERVER ? &rsp : NULL);
}

static void on_answer(void *owner, const struct sx_via_answer *answer)
{
    struct way *w = owner;
    struct simplex_agent *a = w->relay->agent;

    w->pending--;
    if (answer->proxy_failed) {
        on_failure(w, answer);
    } else {
        if (!w->left)
            w->relay->failures = 0;
        a->routed = w->proxy;
        answer->req->done(a, answer->req->ctx, answer->rc, answer->rsp);
        a->routed = NULL;
    }
    end_if_done(w);
}

/* ---- sending ---- */

static struct sx_rt_relay *relay_of(struct simplex_agent *a, int64_t user, int64_t entity,
                                    const struct sx_server *server)
{
    struct sx_rt_relay *r = a->relays;

    while (r != NULL &&
           !(r->user == user && r->entity == entity && sx_server_eq(&r->server, server)))
        r = r->next;
    if (r != NULL)
        r->used_at = sx_mono_ms();
    if (r != NULL || (r = sx_calloc(1, sizeof *r)) == NULL)
        return r;
    r->used_at = sx_mono_ms();
    r->agent = a;
    r->server = *server;
    r->user = user;
    r->entity = entity;
    r->next = a->relays;
    a->relays = r;
    return r;
}

static simplex_rc send_via(struct simplex_agent *a, struct sx_rt_relay *r,
                           const struct sx_request *req, struct sx_rt_server **out)
{
    simplex_rc rc = choose_way(a, r);

    *out = NULL;
    if (rc == SIMPLEX_OK) {
        *out = r->way->proxy;
        rc = sx_via_send(r->way->via, req);
        r->way->pending += rc == SIMPLEX_OK;
    }
    return rc == SIMPLEX_E_NOMEM ? SIMPLEX_E_DISCONNECTED : rc;
}

simplex_rc sx_route_send(struct simplex_agent *a, int64_t conn, const struct sx_server *server,
                         const struct sx_request *req, struct sx_rt_server **out)
{
    int64_t user;
    simplex_rc rc = sx_user_of(a, conn, &user);

    if (rc != SIMPLEX_OK)
        return rc;
    return sx_route_send_for(a, user, a->net_cfg.isolation == SX_ISOLATE_ENTITY ? conn : 0, server,
                             req, out);
}

static simplex_rc send_here(struct simplex_agent *a, int64_t user, int64_t entity,
                            const struct sx_server *server, const struct sx_request *req,
                            struct sx_rt_server **out)
{
    simplex_rc rc = sx_rt_server_for(a, user, entity, server, out);

    if (rc == SIMPLEX_OK)
        rc = sx_client_send((*out)->client, req);
    return rc == SIMPLEX_E_NOMEM ? SIMPLEX_E_DISCONNECTED : rc;
}

simplex_rc sx_route_send_for(struct simplex_agent *a, int64_t user, int64_t entity,
                             const struct sx_server *server, const struct sx_request *req,
                             struct sx_rt_server **out)
{
    struct sx_rt_relay *r = NULL;
    simplex_rc rc;

    if (through_proxy(a, user, server) && (r = relay_of(a, user, entity, server)) == NULL)
        return SIMPLEX_E_DISCONNECTED;
    if (r == NULL || sx_mono_ms() < r->direct_until)
        return send_here(a, user, entity, server, req, out);
    rc = send_via(a, r, req, out);
    if (rc == SIMPLEX_E_NO_SERVERS && direct_allowed(a, server))
        rc = send_here(a, user, entity, server, req, out);
    return rc;
}

/* ---- the end ---- */

static void end_ways(struct sx_rt_relay *r, bool net_is_there)
{
    free_ways(r->way, net_is_there);
    free_ways(r->left, net_is_there);
    r->way = r->left = NULL;
}

void sx_routes_drop(struct simplex_agent *a)
{
    for (struct sx_rt_relay *r = a->relays; r != NULL; r = r->next)
        end_ways(r, true);
}

void sx_routes_idle(struct simplex_agent *a, int64_t before)
{
    struct sx_rt_relay **p = &a->relays, *r;

    while ((r = *p) != NULL) {
        bool busy = r->left != NULL || (r->way != NULL && r->way->pending > 0);
        if (busy || r->used_at > before) {
            if (r->way != NULL)
                r->way->proxy->in_use = true;
            for (struct way *w = r->left; w != NULL; w = w->next)
                w->proxy->in_use = true;
            p = &r->next;
            continue;
        }
        end_ways(r, true);
        *p = r->next;
        sx_free(r);
    }
}

void sx_routes_free(struct simplex_agent *a)
{
    while (a->relays != NULL) {
        struct sx_rt_relay *next = a->relays->next;
        end_ways(a->relays, false);
        sx_free(a->relays);
        a->relays = next;
    }
}
