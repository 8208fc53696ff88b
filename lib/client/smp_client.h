/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SMP clients on a libuv loop: connections to servers with SOCKS5, TLS, handshake, batching,
 * correlation, time limits, keep-alive and reconnection (protocol/smp.md sections 4, 5 and 9).
 * Everything here belongs to the thread of the loop; no locks.
 *
 * A client stands for one server (and isolation key). It connects when there is something to send
 * or when it is wanted (sx_client_want), and reports what happens through the callbacks.
 */
#ifndef SX_SMP_CLIENT_H
#define SX_SMP_CLIENT_H

#include <uv.h>

#include "client/session.h"

struct sx_net;
struct sx_client;

enum sx_socks_mode { SX_SOCKS_ALWAYS = 0, SX_SOCKS_ONION };
enum sx_host_mode { SX_HOSTS_ONION_VIA_SOCKS = 0, SX_HOSTS_ONION, SX_HOSTS_PUBLIC };
/* What shares a SOCKS5 user name: everything of the isolation text and one user; of it, what was
 * connected since the last sx_net_reconnect; of that, each server apart; there, each entity apart
 * (section 9). */
enum sx_isolation_mode {
    SX_ISOLATE_USER = 0,
    SX_ISOLATE_SERVER,
    SX_ISOLATE_SESSION,
    SX_ISOLATE_ENTITY,
};

struct sx_net_cfg {          /* times in ms; 0 = the protocol's default (section 9) */
    int64_t connect_timeout; /* 45000: TCP, TLS and handshake together */
    int64_t command_timeout; /* 30000 */
    int64_t ping_interval;   /* 600000 without data received, when wanted */
    int64_t ping_give_up;    /* 900000 since the last data, and >= 3 pings unanswered */
    int64_t reconnect_first; /* 2000; x 3/2 once reconnect_grow has passed */
    int64_t reconnect_grow;  /* 10000 */
    int64_t reconnect_max;   /* 180000 */
    int64_t failed_cache;    /* 3000, at most reconnect_first * 3/2: a failed connection answers
                              * commands at once */
    bool has_socks;
    char socks_host[256]; /* "" = 127.0.0.1 */
    uint16_t socks_port;  /* 0 = 9050 */
    bool socks_has_auth;  /* explicit credentials; otherwise isolation credentials */
    bool socks_no_auth;   /* "@": none at all */
    char socks_user[256], socks_password[256];
    enum sx_isolation_mode isolation;
    enum sx_socks_mode socks_mode;
    enum sx_host_mode host_mode;
    bool required_host_mode;
    uint16_t min_version, max_version; /* SMP range; 0 = 6..19 */
    bool proxy; /* connections announce a proxy, and keep the server's hello: section 8 */
    /* All connections are those of a service (section 4): 'M' 'N' 'P', 0: of none. PEM, needed by
     * sx_net_open alone. Who it is to a server: `service` of sx_client_session. */
    uint8_t service_role;
    simplex_bytes service_chain_pem, service_key_pem;
};

/* Callbacks run on the loop, never inside a call that this header offers. */
struct sx_net_callbacks {
    /* The session is ready (first time and after each reconnection). */
    void (*up)(void *user, struct sx_client *c);
    /* The session, or the attempt to get one, ended. All requests were answered with rc before. */
    void (*down)(void *user, struct sx_client *c, simplex_rc rc);
    /* A transmission of the server that answers no pending request: MSG, END, DELD, NMSG ... and
     * late answers (corr_id not empty). Slices are valid during the call. */
    void (*event)(void *user, struct sx_client *c, const struct sx_transmission *t,
                  const struct sx_rsp *rsp);
};

/* isolation: hashed into the SOCKS5 user name (section 9); process-unique text of the user. */
simplex_rc sx_net_open(uv_loop_t *loop, const struct sx_net_cfg *cfg,
                       const struct sx_net_callbacks *cb, void *user, const char *isolation,
                       struct sx_net **out) SIMPLEX_CHECK;
/* Closes all connections; requests are dropped without a callback. Handles are closed
 * asynchronously: run the loop afterwards, `closed` is called when the last one is gone. */
void sx_net_close(struct sx_net *n, void (*closed)(void *user), void *user);

/* The client of a server: found or made. Lives as long as n, or until sx_client_drop. */
simplex_rc sx_net_client(struct sx_net *n, const struct sx_server *server,
                         struct sx_client **out) SIMPLEX_CHECK;
/* The same for what only one user may share and, of it, only one entity; 0: anybody. */
simplex_rc sx_net_client_of(struct sx_net *n, const struct sx_server *server, int64_t user,
                            int64_t entity, struct sx_client **out) SIMPLEX_CHECK;
const struct sx_server *sx_client_server(const struct sx_client *c);
bool sx_client_is_up(const struct sx_client *c);
bool sx_client_is_busy(const struct sx_client *c); /* some request has no answer yet */
uint16_t sx_client_version(const struct sx_client *c); /* 0 when not up */
/* The server's session key hash context for callers that need it. NULL when not up. */
const struct sx_session *sx_client_session(const struct sx_client *c);
/* With cfg.proxy: the hello of the server, from which PKEY is made. Empty when not up. */
simplex_bytes sx_client_hello(const struct sx_client *c);
struct sx_traffic {              /* of a client, since it was made */
    uint64_t attempts, sessions; /* connections tried, and those that got through the handshake */
    uint64_t blocks_out, blocks_in; /* of 16,384 bytes, without handshakes */
};
const struct sx_traffic *sx_client_traffic(const struct sx_client *c);
void *sx_client_data(const struct sx_client *c); /* the owner's pointer */
void sx_client_set_data(struct sx_client *c, void *data);

/* Wanted clients reconnect by themselves with back-off and jitter, and send PINGs. */
void sx_client_want(struct sx_client *c, bool wanted);
/* Network came back: forget back-off and failures, connect at once what is wanted; connections of
 * wanted clients that leave one PING without an answer are closed. */
void sx_net_reconnect(struct sx_net *n);
/* Closes the connection now (callbacks: requests fail, down); wanted clients reconnect. */
void sx_client_disconnect(struct sx_client *c, simplex_rc why);
/* The same, and what is wanted connects again at once. */
void sx_client_restart(struct sx_client *c);

/* While it is not online (it is, to begin with) no connection is begun: commands and wanted clients
 * wait, without a limit of time. Those that are open stay. Follow with sx_net_reconnect. */
void sx_net_set_online(struct sx_net *n, bool online);
/* A slow network: time limits of what begins now are half as long again (agent.md section 8.1). */
void sx_net_set_slow(struct sx_net *n, bool slow);

/* From its next connection on this client is one of a service (section 4), with a certificate of
 * its own: role 'M' 'N' 'P'; 0: of none, or that of the net. A connection there is is closed. Needs
 * what sx_net_cfg says. E_DECODE, E_CERT, E_KEY, E_NOMEM, E_CLOSED; then nothing has changed. */
simplex_rc sx_client_service(struct sx_client *c, uint8_t role, simplex_bytes chain_pem,
                             simplex_bytes key_pem) SIMPLEX_CHECK;

/* Forgets the server: the connection is closed, requests are dropped, no callback follows. c is
 * not to be used any more. */
void sx_client_drop(struct sx_client *c);

/* rc SIMPLEX_OK: rsp is the answer (never ERR). E_SERVER: rsp is ERR. Others: rsp is NULL. */
typedef void sx_response_fn(void *user, void *ctx, simplex_rc rc, const struct sx_rsp *rsp);

struct sx_request {
    const struct sx_cmd *cmd; /* encoded during the call */
    simplex_bytes entity;
    const struct sx_keypair *key; /* NULL: unsigned */
    const uint8_t *corr_id;       /* 24 bytes, or NULL: random */
    sx_response_fn *done;         /* may be NULL */
    void *ctx;
    int64_t timeout; /* ms, 0 = command_timeout */
};
/*
 * Queues a command. When the session is not up it waits for the connection attempt (starting one)
 * and is encoded when it is up, so everything req points to is copied. The timeout runs from the
 * moment of encoding. A command that follows a failed attempt within failed_cache is answered with
 * the rc of that attempt. An answer of a kind that the command cannot have is E_RESPONSE.
 *
 * Commands of one turn of the loop to one server are batched; order is kept. Servers run the
 * commands of a block from the last to the first (section 5), so two commands with the same
 * entity never share a block: the second one starts a new block.
 *
 * E_ARG, E_NOMEM (also when SX_CLIENT_QUEUE_MAX bytes wait already), E_CLOSED, E_PROHIBITED when
 * corr_id is in use; when up also the errors of encoding: E_TOO_LARGE, E_ENCODE, E_KEY.
 */
#define SX_CLIENT_QUEUE_MAX (64u << 20)
simplex_rc sx_client_send(struct sx_client *c, const struct sx_request *req) SIMPLEX_CHECK;

#endif
