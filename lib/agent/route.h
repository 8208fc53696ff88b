/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to servers: which session one takes, directly or through a proxy. */
#ifndef SX_AGENT_ROUTE_H
#define SX_AGENT_ROUTE_H

#include "agent/agent.h"

/* ---- servers.c ---- */

/* How servers are chosen: users.h. Of the password of one in the list of the user; empty: none. */
simplex_bytes sx_server_password(struct simplex_agent *a, int64_t user,
                                 const struct sx_server *s);
char *sx_server_text(const struct sx_server *s); /* "host:port", sx_free; NULL: no memory */
char *sx_smp_err_text(const struct sx_rsp *rsp); /* of an ERR response; NULL when there is none */
/* Queues req for the server. Too much waiting for it already counts as a server that is away (it is
 * no failure of the store, unlike other lack of memory). */
simplex_rc sx_request_send(struct simplex_agent *a, int64_t conn, const struct sx_server *server,
                           const struct sx_request *req, struct sx_rt_server **out) SIMPLEX_CHECK;
bool sx_shares_host(const struct sx_server *a, const struct sx_server *b); /* name and port */
/* By names alone: the ports of a machine have one operator. */
bool sx_shares_name(const struct sx_server *a, const struct sx_server *b);
/* Temporary: worth a retry (agent.md section 6.7). */
bool sx_is_temporary(simplex_rc rc, const struct sx_rsp *rsp);

/* ---- route.c: private routing (agent.md section 8.4) ---- */

/*
 * As sx_request_send, for the commands that go to the server of a contact (SEND, SKEY, LKEY,
 * LGET): through a proxy when the configuration says so. *out: whose session it depends on. corr_id
 * and timeout of req are not used on the way through a proxy. During req->done a->routed is the
 * proxy that the answer came through, NULL when it came directly.
 */
simplex_rc sx_route_send(struct simplex_agent *a, int64_t conn, const struct sx_server *server,
                         const struct sx_request *req, struct sx_rt_server **out) SIMPLEX_CHECK;
/* The same when the user is known; entity: the connection if they are isolated, else 0. */
simplex_rc sx_route_send_for(struct simplex_agent *a, int64_t user, int64_t entity,
                             const struct sx_server *server, const struct sx_request *req,
                             struct sx_rt_server **out) SIMPLEX_CHECK;
/* A failure on the way that needs the user's settings rather than time. */
bool sx_route_is_hopeless(simplex_rc rc, const struct sx_rsp *rsp);
void sx_routes_drop(struct simplex_agent *a); /* what is on its way, no answers follow */
/* Forgets relays not used since `before` (mono ms); the proxies of the others are marked in_use. */
void sx_routes_idle(struct simplex_agent *a, int64_t before);
void sx_routes_free(struct simplex_agent *a); /* at close, when the net is gone */

#endif
