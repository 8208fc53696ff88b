/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The proxy's side of private routing (protocol/smp.md section 8): one session a relay, shared by
 * all clients of this server, on a thread and a loop of its own. PRXY and PFWD reach it as errands.
 *
 * A relay is a server address with all its parts: hosts, port, key hash. Its session is made when a
 * PRXY asks for it and stays until the relay closes it, until nobody used it for idle_ms, or until
 * the place is needed for another one. It is not made again by itself: the client whose PFWD is
 * answered NO_SESSION sends PRXY. When a connection failed, every PRXY within failed_ms is answered
 * with that failure.
 */
#ifndef SX_PROXY_H
#define SX_PROXY_H

#include "client/smp_client.h"
#include "hub.h"

#define SX_PROXY_RELAYS_MAX 1000
#define SX_PROXY_PENDING_MAX 4096 /* errands, of 16 KB each, that the server works on */
#define SX_PROXY_RELAY_PENDING 512
#define SX_PROXY_IDLE_MS (3600 * 1000)
#define SX_PROXY_FAILED_MS 30000
#define SX_PROXY_HURRY_MS 5000
#define SX_PROXY_MIN_VERSION 8 /* of relays */

struct sx_proxy_cfg { /* 0: the value above */
    struct sx_net_cfg
        net; /* hosts, SOCKS, connect_timeout, command_timeout; the rest is set here */
    unsigned relays_max, pending_max, relay_pending_max;
    int64_t idle_ms, failed_ms, hurry_ms;
    const char *const *own_domains; /* relays of the same operator: for the statistics */
    size_t n_own_domains;           /* both are copied */
};

struct sx_proxy;

simplex_rc sx_proxy_start(const struct sx_proxy_cfg *cfg, struct sx_proxy **out) SIMPLEX_CHECK;
/* What submit is to be: struct sx_relays with user = the proxy. From any thread. */
bool sx_proxy_submit(void *proxy, struct sx_errand *e);
/* Takes everything of cfg but `net` and the proxy's own part of it; from any thread. Relays that it
 * has already stay until they are idle, and count as they did. */
simplex_rc sx_proxy_reload(struct sx_proxy *p, const struct sx_proxy_cfg *cfg) SIMPLEX_CHECK;
/* Gives all errands back, closes all connections and waits for the thread. The hubs must still be
 * open. Errands submitted later are refused. */
void sx_proxy_stop(struct sx_proxy *p);
void sx_proxy_free(struct sx_proxy *p);     /* after the hubs are closed; stops it first */
size_t sx_proxy_relays(struct sx_proxy *p); /* remembered now, connected or failed */

struct sx_proxy_figures { /* for statistics */
    size_t relays, connecting, pending;
    uint64_t hurried, refused; /* since the start: attempts cut short; errands not taken */
};
void sx_proxy_figures(struct sx_proxy *p, struct sx_proxy_figures *out);

#endif
