/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two halves of a connection: how it comes about and ends (conn.c), and the bytes and blocks
 * that go over it (conn_stream.c).
 */
#ifndef SX_CONN_INTERNAL_H
#define SX_CONN_INTERNAL_H

#include "client/conn.h"
#include "client/dial.h"
#include "client/net_internal.h"
#include "client/socks5.h"

enum stage { STAGE_DIAL, STAGE_TCP, STAGE_SOCKS, STAGE_TLS, STAGE_HELLO, STAGE_READY };

/* What is needed until the session is ready. */
struct attempt {
    struct sx_server server; /* the owner may be gone while a resolver works */
    int64_t user, entity;    /* who may share the circuit */
    struct sx_dial dial;
    uv_timer_t timer;
    uv_connect_t connect;
    struct sx_socks5 socks;
    int64_t deadline; /* of all attempts together */
    simplex_rc rc;    /* the most telling failure so far */
};

struct sx_conn {
    struct sx_net *net;
    const struct sx_conn_ops *ops;
    void *owner;
    struct attempt *attempt; /* NULL once ready */
    uint8_t stage;           /* enum stage */
    bool dead;               /* closed or lost: only waits for its handles */
    bool tcp_open;           /* between uv_tcp_init and its close callback */
    bool congested;
    unsigned refs; /* handles, the resolver, the owner */
    uv_tcp_t tcp;
    struct sx_identity *identity; /* that TLS was begun with; the owner may change it */
    struct sx_tls *tls;
    uint8_t *partial; /* a block of which partial_len bytes came */
    size_t partial_len;
    uint8_t *hello; /* of the server: cfg.proxy */
    size_t hello_len;
    struct sx_session session;
};

/* ---- conn.c; from the loop only ---- */

/* Tries the next host or address; without one, or when it was ready, it is lost. */
void sx_conn_fail(struct sx_conn *c, simplex_rc rc);
/* What was needed until it was ready is freed. */
void sx_conn_end_attempt(struct sx_conn *c);

/* ---- conn_stream.c ---- */

/* Before TLS. Copies the bytes. */
simplex_rc sx_conn_send_plain(struct sx_conn *c, simplex_bytes out) SIMPLEX_CHECK;
simplex_rc sx_conn_begin_tls(struct sx_conn *c) SIMPLEX_CHECK;
/* What came from the socket, once TLS has begun. */
simplex_rc sx_conn_on_cipher(struct sx_conn *c, simplex_bytes in) SIMPLEX_CHECK;
/* Tells the server that it is closed, as far as the socket takes it. */
void sx_conn_farewell(struct sx_conn *c);
/* Frees what belongs to the socket, which is closed. */
void sx_conn_drop_stream(struct sx_conn *c);

#endif
