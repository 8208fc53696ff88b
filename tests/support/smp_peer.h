/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other side of an SMP connection for tests of the client, on the same loop, made of sx_tls
 * and sx_session: it answers, stays silent, lies or breaks off as it is told. And a SOCKS5 proxy.
 */
#ifndef TESTS_SMP_PEER_H
#define TESTS_SMP_PEER_H

#include <uv.h>

#include "client/session.h"
#include "client/tls.h"
#include "support/certs.h"

enum peer_mode {
    PEER_NORMAL,
    PEER_CLOSES,        /* as soon as it accepted */
    PEER_SILENT,        /* accepts and says nothing */
    PEER_NO_TLS,        /* answers with text */
    PEER_NO_HELLO,      /* silent after TLS */
    PEER_CLOSES_HELLO,  /* closes after TLS */
    PEER_BAD_HELLO,     /* a block of noise */
    PEER_OTHER_SESSION, /* a hello that names another TLS session */
    PEER_FUTURE,        /* only versions that do not exist yet */
};

struct peer_conn;

struct peer {
    enum peer_mode mode;
    /*
     * Fills in rsp for a command; false: no answer. May change t->entity_id and t->corr_id.
     * NULL: peer_answer.
     */
    bool (*answer)(struct peer *p, struct peer_conn *c, const struct sx_cmd *cmd,
                   struct sx_transmission *t, struct sx_rsp *rsp);
    void *user;
    uint16_t min, max; /* 0: all versions */
    uint16_t port;
    unsigned accepted, open;
    unsigned commands;
    char log[4096];      /* "3 1": commands in each block */
    char entities[4096]; /* those of the commands, in order */
    struct test_certs certs;
    struct sx_tls_ctx *tls;
    uv_loop_t *loop;
    uv_tcp_t listener;
    struct peer_conn *conns;
};

/* Listens on 127.0.0.1; port 0: any. */
void peer_start(struct peer *p, uv_loop_t *loop, uint16_t port);
void peer_stop(struct peer *p); /* closes everything; run the loop afterwards */
void peer_free(struct peer *p);
void peer_listen(struct peer *p, bool on); /* stops listening, or starts again on the same port */
void peer_drop(struct peer *p);            /* closes all connections */
void peer_pause(struct peer *p);           /* stops reading */
void peer_resume(struct peer *p);
/* The usual answer to a command. */
bool peer_answer(struct peer *p, struct peer_conn *c, const struct sx_cmd *cmd,
                 struct sx_transmission *t, struct sx_rsp *rsp);
/* Sends one transmission in a block of its own. */
void peer_push(struct peer_conn *c, simplex_bytes corr_id, simplex_bytes entity,
               const struct sx_rsp *rsp);
void peer_push_content(struct peer_conn *c, simplex_bytes content);
void peer_server(const struct peer *p, const char *hosts, struct sx_server *out);

struct proxy {
    uv_tcp_t listener;
    uv_loop_t *loop;
    uint16_t port;
    uint16_t to;          /* port on 127.0.0.1 that everything is relayed to */
    bool no_auth;         /* accepts connections without credentials only */
    uint8_t reply;        /* not 0: refuses with this */
    const char *password; /* wanted; NULL: any */
    char user[256], got_password[256], host[256];
    uint16_t host_port;
    unsigned accepted, open;
};

void proxy_start(struct proxy *p, uv_loop_t *loop);
void proxy_stop(struct proxy *p);

#endif
