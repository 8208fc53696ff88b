/* SPDX-License-Identifier: Apache-2.0 */
#include "client/dial.h"

#include <stdio.h>

simplex_rc sx_dial_init(struct sx_dial *d)
{
    d->n_routes = sx_routes(d->cfg, d->server, d->routes);
    return d->n_routes == 0 ? SIMPLEX_E_HOST : SIMPLEX_OK;
}

const struct sx_host *sx_dial_host(const struct sx_dial *d)
{
    return &d->server->hosts[d->routes[d->route - 1].host];
}

bool sx_dial_socks(const struct sx_dial *d)
{
    return d->routes[d->route - 1].socks;
}

unsigned sx_dial_left(const struct sx_dial *d)
{
    unsigned n = d->has_literal ? 1 : 0;

    for (const struct addrinfo *a = d->addr; a != NULL; a = a->ai_next)
        n++;
    return n + (unsigned)(d->n_routes - d->route);
}

/* ---- names ---- */

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *list)
{
    struct sx_dial *d = req->data;

    d->resolving = false;
    d->list = status == 0 ? list : NULL;
    d->addr = NULL;
    d->resolved(d);
}

static bool literal(struct sx_dial *d, const char *host, uint16_t port)
{
    return uv_ip4_addr(host, port, (struct sockaddr_in *)&d->literal) == 0 ||
           uv_ip6_addr(host, port, (struct sockaddr_in6 *)&d->literal) == 0;
}

static enum sx_dial_result begin_route(struct sx_dial *d, const struct sockaddr **to)
{
    static const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
    const char *host;
    char port_text[6];
    uint16_t port;

    d->route++;
    if (sx_dial_socks(d)) {
        host = d->cfg->socks_host[0] != 0 ? d->cfg->socks_host : "127.0.0.1";
        port = d->cfg->socks_port != 0 ? d->cfg->socks_port : 9050;
    } else {
        host = sx_dial_host(d)->text;
        port = sx_server_port(d->server);
    }
    if (literal(d, host, port)) {
        d->has_literal = true;
        *to = (const struct sockaddr *)&d->literal;
        return SX_DIAL_ADDRESS;
    }
    snprintf(port_text, sizeof(port_text), "%u", (unsigned)port);
    d->resolver.data = d;
    if (uv_getaddrinfo(d->loop, &d->resolver, on_resolved, host, port_text, &hints) != 0)
        return SX_DIAL_FAILED;
    d->resolving = true;
    return SX_DIAL_WAIT;
}

enum sx_dial_result sx_dial_next(struct sx_dial *d, const struct sockaddr **to)
{
    d->has_literal = false;
    if (d->list != NULL) {
        d->addr = d->addr == NULL ? d->list : d->addr->ai_next;
        if (d->addr != NULL) {
            *to = d->addr->ai_addr;
            return SX_DIAL_ADDRESS;
        }
        uv_freeaddrinfo(d->list);
        d->list = NULL;
    }
    return d->route < d->n_routes ? begin_route(d, to) : SX_DIAL_END;
}

void sx_dial_cancel(struct sx_dial *d)
{
    if (d->resolving)
        uv_cancel((uv_req_t *)&d->resolver); /* refused when it runs: then it simply ends */
}

void sx_dial_free(struct sx_dial *d)
{
    uv_freeaddrinfo(d->list);
    d->list = d->addr = NULL;
}
