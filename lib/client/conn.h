/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection to a server: TCP, SOCKS5 when a proxy is used, TLS, SMP handshake, blocks.
 * Tries all hosts and addresses within the time limit. Owned by its sx_client.
 */
#ifndef SX_CONN_H
#define SX_CONN_H

#include "client/identity.h"
#include "client/session.h"
#include "client/smp_client.h"

struct sx_conn;

struct sx_conn_ops { /* called from the loop; the connection may be closed inside */
    void (*ready)(void *owner);
    void (*content)(void *owner, simplex_bytes content); /* of a block */
    void (*drained)(void *owner);                        /* not congested any more */
    void (*lost)(void *owner, simplex_rc rc);            /* closed by itself: forget it */
    /* The service that the connection is one of; NULL: of none. May itself be NULL. */
    struct sx_identity *(*identity)(void *owner);
};

/* server is copied. No call of ops happens inside. E_HOST, E_NOMEM, E_SYSTEM. */
simplex_rc sx_conn_open(struct sx_net *net, const struct sx_server *server, int64_t user,
                        int64_t entity, const struct sx_conn_ops *ops, void *owner,
                        struct sx_conn **out) SIMPLEX_CHECK;
void sx_conn_close(struct sx_conn *c); /* ops are not called any more */
const struct sx_session *sx_conn_session(const struct sx_conn *c);
simplex_bytes sx_conn_hello(const struct sx_conn *c); /* of the server; kept when cfg.proxy */
/* Too much is waiting in the socket's queue: stop writing until `drained`. */
bool sx_conn_congested(const struct sx_conn *c);
/* Seals content into a block and writes it into TLS; sx_conn_push sends what was written. */
simplex_rc sx_conn_write(struct sx_conn *c, simplex_bytes content) SIMPLEX_CHECK;
simplex_rc sx_conn_push(struct sx_conn *c) SIMPLEX_CHECK;

#endif
