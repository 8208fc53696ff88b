/* SPDX-License-Identifier: Apache-2.0 */
/* Which hosts of a server to connect to, and how (protocol/smp.md section 9). */
#ifndef SX_HOSTS_H
#define SX_HOSTS_H

#include "client/smp_client.h"

struct sx_route {
    uint8_t host; /* index in the server's hosts */
    bool socks;   /* through the proxy, which resolves the name */
};

/*
 * The hosts to try, in order; returns their number, 0 when none may be used. All are of one kind
 * (onion or public): a server that cannot be reached in the preferred way is never tried in
 * another one, or whoever blocks one way could push a user into the other. Onion hosts without a
 * proxy are left out: their names must not reach a resolver.
 */
size_t sx_routes(const struct sx_net_cfg *cfg, const struct sx_server *s,
                 struct sx_route out[SX_HOSTS_MAX]);

#define SX_ISOLATION_USER 45 /* base64 of SHA-256 and NUL */

/* What a SOCKS5 user name stands for: connections that differ in it use different circuits. */
struct sx_isolation {
    const char *text;               /* of this process */
    int64_t user;                   /* 0: of all users */
    int64_t session;                /* 0: of all times */
    const struct sx_server *server; /* NULL: of all servers */
    int64_t entity;                 /* 0: of all connections of the application */
};
simplex_rc sx_isolation_user(const struct sx_isolation *i,
                             char out[SX_ISOLATION_USER]) SIMPLEX_CHECK; /* E_NOMEM */

#endif
