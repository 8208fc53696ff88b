/* SPDX-License-Identifier: Apache-2.0 */
/* The proxy as the public configuration wants it. */
#ifndef SX_PROXY_CONFIG_H
#define SX_PROXY_CONFIG_H

#include "identity.h"
#include "proxy.h"
#include "simplex/server.h"

/* E_ARG, with err set, for settings that cannot be. */
simplex_rc sx_proxy_check(const simplex_server_config *cfg, struct sx_errtext *err) SIMPLEX_CHECK;
/* Relays that cfg wants to be connected to at a time; 0: it wants no proxy. */
unsigned sx_proxy_relays_max(const simplex_server_config *cfg);
/* Starts it for srv, with so many relays at most; *out stays NULL when cfg wants none. */
simplex_rc sx_proxy_open(const simplex_server_config *cfg, unsigned relays, struct sx_srv *srv,
                         struct sx_proxy **out) SIMPLEX_CHECK;
/* What can change while it runs; p NULL: nothing. */
simplex_rc sx_proxy_follow(const simplex_server_config *cfg, unsigned relays,
                           struct sx_proxy *p) SIMPLEX_CHECK;

#endif
