/* SPDX-License-Identifier: Apache-2.0 */
/* Which server a new queue is made on, and what servers say when they refuse. */
#include <stdio.h>

#include "agent/agent.h"

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

/* Uniform over the servers that share no host with `avoid`; over all when none is left. */
simplex_rc sx_choose_server(struct simplex_agent *a, const struct sx_server *avoid,
                            struct sx_server *out)
{
    uint32_t others = 0, pick;

    if (a->n_servers == 0)
        return SIMPLEX_E_NO_SERVERS;
    for (size_t i = 0; avoid != NULL && i < a->n_servers; i++)
        others += !sx_shares_host(&a->servers[i], avoid);
    pick = sx_random_below(others > 0 ? others : (uint32_t)a->n_servers);
    for (size_t i = 0; i < a->n_servers; i++) {
        if (others > 0 && sx_shares_host(&a->servers[i], avoid))
            continue;
        if (pick-- == 0) {
            *out = a->servers[i];
            return SIMPLEX_OK;
        }
    }
    return SIMPLEX_E_INTERNAL;
}

simplex_rc sx_choose_server_beside(struct simplex_agent *a, const struct sx_server *not_there,
                                   const struct sx_server *rather_not, struct sx_server *out)
{
    uint32_t others = 0, pick;

    for (size_t i = 0; i < a->n_servers; i++)
        others += !sx_shares_host(&a->servers[i], not_there) &&
                  !sx_shares_host(&a->servers[i], rather_not);
    if (others == 0)
        return sx_choose_server(a, not_there, out);
    pick = sx_random_below(others);
    for (size_t i = 0; i < a->n_servers; i++) {
        if (!sx_shares_host(&a->servers[i], not_there) &&
            !sx_shares_host(&a->servers[i], rather_not) && pick-- == 0) {
            *out = a->servers[i];
            return SIMPLEX_OK;
        }
    }
    return SIMPLEX_E_INTERNAL;
}

simplex_bytes sx_server_password(const struct simplex_agent *a, const struct sx_server *s)
{
    for (size_t i = 0; i < a->n_servers; i++) {
        if (sx_server_eq(&a->servers[i], s) && a->passwords[i] != NULL)
            return sx_str(a->passwords[i]);
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
