/* SPDX-License-Identifier: Apache-2.0 */
/* Which server a new queue is made on, and what servers say when they refuse. */
#include <limits.h>
#include <stdio.h>

#include "agent/route.h"
#include "agent/users.h"
#include "client/hosts.h"

bool sx_shares_host(const struct sx_server *a, const struct sx_server *b)
{
    for (size_t i = 0; i < a->n_hosts; i++) {
        for (size_t j = 0; j < b->n_hosts; j++) {
            if (strcmp(a->hosts[i].text, b->hosts[j].text) == 0 &&
                sx_server_port(a) == sx_server_port(b))
                return true;
        }
    }
    return false;
}

bool sx_shares_name(const struct sx_server *a, const struct sx_server *b)
{
    for (size_t i = 0; i < a->n_hosts; i++) {
        for (size_t j = 0; j < b->n_hosts; j++) {
            if (strcmp(a->hosts[i].text, b->hosts[j].text) == 0)
                return true;
        }
    }
    return false;
}

/* ---- which servers there are for a role ---- */

static bool has_role(const struct sx_user_server *s, uint8_t role)
{
    return (s->flags & SX_SRV_ENABLED) != 0 && (s->flags & role) != 0;
}

/* When none is meant for the role, all are (section 8.4): a user without servers can do nothing. */
static bool all_serve(const struct sx_server_list *l, uint8_t role)
{
    for (size_t i = 0; i < l->n; i++) {
        if (has_role(&l->v[i], role))
            return false;
    }
    return true;
}

size_t sx_servers_for(struct simplex_agent *a, int64_t user, uint8_t role)
{
    const struct sx_server_list *l = sx_user_servers(a, user);
    bool all = all_serve(l, role);
    size_t n = 0;

    for (size_t i = 0; i < l->n; i++)
        n += all || has_role(&l->v[i], role);
    return n;
}

bool sx_serves(struct simplex_agent *a, int64_t user, uint8_t role, const struct sx_server *s)
{
    const struct sx_server_list *l = sx_user_servers(a, user);
    bool all = all_serve(l, role);

    for (size_t i = 0; i < l->n; i++) {
        if ((all || has_role(&l->v[i], role)) && sx_server_same_address(&l->v[i].server, s))
            return true;
    }
    return false;
}

/* ---- servers that were tried ---- */

static bool was_tried(const struct sx_tried *t, size_t place)
{
    return t != NULL && (t->places[place / 8] & 1u << place % 8) != 0;
}

static bool tried_host(const struct sx_choice *c, const struct sx_server_list *l, size_t place)
{
    if (c->failed != NULL && sx_shares_host(&l->v[place].server, c->failed))
        return true;
    for (size_t i = 0; c->tried != NULL && i < l->n; i++) {
        if (was_tried(c->tried, i) && sx_shares_host(&l->v[place].server, &l->v[i].server))
            return true;
    }
    return false;
}

/* ---- the choice ---- */

static bool operator_used(const struct sx_choice *c, const struct sx_server_list *l, size_t place)
{
    for (size_t i = 0; i < l->n; i++) {
        if (l->v[i].operator_id != l->v[place].operator_id)
            continue;
        for (size_t k = 0; k < c->n_used; k++) {
            if (sx_shares_name(&l->v[i].server, c->used[k]))
                return true;
        }
    }
    return false;
}

static bool can_reach(const struct simplex_agent *a, const struct sx_server *s)
{
    struct sx_route routes[SX_HOSTS_MAX];

    return sx_routes(&a->net_cfg, s, routes) > 0;
}

/*
 * What speaks against server number `place`, the gravest highest. Operators come before all: two
 * servers of one operator see the same, and whoever can block servers must not be able to bring
 * both ends of a connection to one operator (as the reference: section 8.4).
 */
static unsigned against(const struct simplex_agent *a, const struct sx_choice *c,
                        const struct sx_server_list *l, size_t place)
{
    const struct sx_server *s = &l->v[place].server;
    unsigned v = can_reach(a, s) ? 0 : 32;

    if (c->n_used > 0 && operator_used(c, l, place))
        v += 16;
    if (c->not_there != NULL && sx_shares_host(s, c->not_there))
        v += 8;
    if (tried_host(c, l, place))
        v += 4;
    for (size_t k = 0; k < c->n_used; k++) {
        v |= sx_shares_host(s, c->used[k]) ? 2 : 0;
        v |= sx_shares_name(s, c->used[k]) ? 1 : 0;
    }
    return v;
}

simplex_rc sx_choose(struct simplex_agent *a, const struct sx_choice *c,
                     const struct sx_user_server **out)
{
    const struct sx_server_list *l = sx_user_servers(a, c->user);
    bool all = all_serve(l, c->role);
    unsigned least = c->reachable ? 31 : UINT_MAX;
    uint32_t n = 0;

    for (size_t i = 0; i < l->n; i++) {
        unsigned v = against(a, c, l, i);
        if ((!all && !has_role(&l->v[i], c->role)) || v > least)
            continue;
        n = v < least ? 1 : n + 1;
        least = v;
    }
    if (n == 0)
        return SIMPLEX_E_NO_SERVERS;
    uint32_t pick = sx_random_below(n);
    for (size_t i = 0; i < l->n; i++) {
        if ((all || has_role(&l->v[i], c->role)) && against(a, c, l, i) == least && pick-- == 0) {
            *out = &l->v[i];
            return SIMPLEX_OK;
        }
    }
    return SIMPLEX_E_INTERNAL;
}

void sx_tried_add(struct simplex_agent *a, struct sx_choice *c, const struct sx_server *s)
{
    const struct sx_user *u = sx_user_find(a, c->user);
    const struct sx_server_list *l = sx_user_servers(a, c->user);
    bool all = all_serve(l, c->role), left = false;

    if (u == NULL || c->tried->version != u->row.servers_version)
        memset(c->tried, 0, sizeof *c->tried);
    c->tried->version = u != NULL ? u->row.servers_version : 0;
    for (size_t i = 0; i < l->n && i < SX_USER_SERVERS_MAX; i++) {
        if (sx_shares_host(&l->v[i].server, s))
            c->tried->places[i / 8] |= (uint8_t)(1u << i % 8);
    }
    /* the circle ends among those of unused operators: the choice would not leave them anyway */
    unsigned least = UINT_MAX;
    for (size_t i = 0; i < l->n; i++) {
        unsigned v = against(a, c, l, i) & ~7u;
        if (all || has_role(&l->v[i], c->role))
            least = v < least ? v : least;
    }
    for (size_t i = 0; i < l->n; i++)
        left = left || ((all || has_role(&l->v[i], c->role)) &&
                        (against(a, c, l, i) & ~7u) == least && !was_tried(c->tried, i));
    if (!left)
        memset(c->tried->places, 0, sizeof c->tried->places);
}

simplex_bytes sx_server_password(struct simplex_agent *a, int64_t user, const struct sx_server *s)
{
    const struct sx_server_list *l = sx_user_servers(a, user);

    for (size_t i = 0; i < l->n; i++) {
        if (sx_server_eq(&l->v[i].server, s) && l->v[i].password != NULL)
            return sx_str(l->v[i].password);
    }
    return sx_bytes(NULL, 0);
}

char *sx_server_text(const struct sx_server *s)
{
    char text[SX_HOST_MAX + 16];

    (void)snprintf(text, sizeof text, strchr(s->hosts[0].text, ':') != NULL ? "[%s]:%u" : "%s:%u",
                   s->hosts[0].text, (unsigned)sx_server_port(s));
    return sx_strdup(text);
}

simplex_rc sx_request_send(struct simplex_agent *a, int64_t conn, const struct sx_server *server,
                           const struct sx_request *req, struct sx_rt_server **out)
{
    simplex_rc rc = sx_rt_server_get(a, conn, server, out);

    if (rc == SIMPLEX_OK)
        rc = sx_client_send((*out)->client, req);
    return rc == SIMPLEX_E_NOMEM ? SIMPLEX_E_DISCONNECTED : rc;
}

char *sx_smp_err_text(const struct sx_rsp *rsp)
{
    struct sx_wr w;
    char *text = NULL;

    if (rsp == NULL || rsp->tag != SX_R_ERR)
        return NULL;
    sx_wr_init(&w, 1024);
    sx_smp_err_encode(&w, &rsp->err, SX_SMP_MAX);
    /* Parts of it are whatever the server wrote: it ends up in logs and in JSON. */
    for (size_t i = 0; i < w.len; i++) {
        if (w.p[i] < ' ' || w.p[i] > '~')
            w.p[i] = '?';
    }
    if (!w.bad)
        text = (char *)sx_memdup(sx_wr_bytes(&w));
    sx_wr_free(&w);
    return text;
}

/* What no repetition mends: our own command cannot be made, or its answer cannot be used. All else
 * may pass: no network, a server being updated, somebody in between with a wrong certificate. */
static bool is_final(simplex_rc rc)
{
    switch (rc) {
    case SIMPLEX_E_ARG:
    case SIMPLEX_E_PROHIBITED:
    case SIMPLEX_E_NOT_FOUND:
    case SIMPLEX_E_TOO_LARGE:
    case SIMPLEX_E_ENCODE:
    case SIMPLEX_E_DECODE:
    case SIMPLEX_E_KEY:
    case SIMPLEX_E_RESPONSE:
    case SIMPLEX_E_SERVER:
    case SIMPLEX_E_DB_DAMAGED:
        return true;
    default:
        return false;
    }
}

bool sx_is_temporary(simplex_rc rc, const struct sx_rsp *rsp)
{
    if (rc != SIMPLEX_E_SERVER || rsp == NULL || rsp->tag != SX_R_ERR)
        return !is_final(rc);
    switch ((enum sx_err)rsp->err.err) {
    case SX_ERR_STORE:
    case SX_ERR_INTERNAL: /* a server that is out of disk recovers */
        return true;
    case SX_ERR_PROXY:
        return true; /* another proxy may do better, or the same one later */
    default:
        return false;
    }
}
