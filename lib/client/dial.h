/* SPDX-License-Identifier: Apache-2.0 */
/* The addresses to connect to for one server, one after the other, names resolved on the way. */
#ifndef SX_DIAL_H
#define SX_DIAL_H

#include "client/hosts.h"

struct sx_dial {
    uv_loop_t *loop;
    const struct sx_net_cfg *cfg;
    const struct sx_server *server;
    struct sx_route routes[SX_HOSTS_MAX];
    size_t n_routes, route; /* `route` counts those begun */
    struct addrinfo *list, *addr;
    struct sockaddr_storage literal; /* a host that needs no resolver */
    bool has_literal;
    uv_getaddrinfo_t resolver;
    bool resolving;
    /* Called from the loop: the outcome of sx_dial_next when that had to wait. */
    void (*resolved)(struct sx_dial *d);
    void *owner;
};

enum sx_dial_result { SX_DIAL_ADDRESS, SX_DIAL_WAIT, SX_DIAL_FAILED, SX_DIAL_END };

simplex_rc sx_dial_init(struct sx_dial *d) SIMPLEX_CHECK; /* E_HOST: no host may be used */
/*
 * Moves on. ADDRESS: *to is the next address, of the current route. WAIT: `resolved` follows, call
 * again then. FAILED: a name did not resolve, call again. END: that was the last one.
 */
enum sx_dial_result sx_dial_next(struct sx_dial *d, const struct sockaddr **to);
const struct sx_host *sx_dial_host(const struct sx_dial *d); /* of the current route */
bool sx_dial_socks(const struct sx_dial *d);
/* Attempts left at least, the current one included: what the time is divided by. */
unsigned sx_dial_left(const struct sx_dial *d);
/* While d->resolving: `resolved` is still called, soon. */
void sx_dial_cancel(struct sx_dial *d);
void sx_dial_free(struct sx_dial *d); /* not while resolving */

#endif
