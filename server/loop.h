/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The I/O of the server: N threads, each with a libuv loop, a hub and the connections given to
 * it. The first one also accepts and hands each connection to the loop that has the fewest.
 */
#ifndef SX_LOOP_H
#define SX_LOOP_H

#include <uv.h>

#include "client/tls.h"
#include "hub.h"

#define SX_READ_BUF 65536         /* one a loop, shared by its connections */
#define SX_WRITE_HIGH (64 * 1024) /* a connection's unsent bytes: nothing is sealed beyond */

#define SX_LISTEN_MAX 16

struct sx_srv_conn;
struct sx_web;

struct sx_port { /* that clients come to */
    int fd;
    uint16_t number;
    bool web;                     /* shared with browsers */
    atomic_size_t accepted, open; /* connections: since the start, now */
};

struct sx_listeners { /* sockets that listen */
    struct sx_port port[SX_LISTEN_MAX];
    unsigned count;
};

struct sx_io_cfg { /* shared by all loops, read-only */
    struct sx_tls_ctx *tls;
    struct sx_tls_ctx *tls_web; /* of ports that browsers come to as well; NULL: there is none */
    struct sx_web *web;         /* takes those browsers */
    struct sx_chain chain;
    struct sx_keypair leaf;
    uint8_t key_hash[32];
    uint16_t min_version, max_version;
    int64_t tls_timeout_ms, handshake_timeout_ms, stall_timeout_ms;
    unsigned max_connections;
    bool log_tls_errors;
    /* Changed while the server runs. */
    _Atomic int64_t end_flush_ms, ntf_flush_ms, expire_interval_ms;
    /* A client that is subscribed to nothing and has been silent for
     * so long is closed; 0: never. */
    _Atomic int64_t inactive_ttl_ms, inactive_check_ms;
};

struct sx_fd { /* an accepted socket on its way to its loop */
    struct sx_fd *next;
    int fd;
    struct sx_port *port; /* it came to */
};

struct sx_loop {
    uv_loop_t uv;
    uv_async_t async;
    uv_timer_t tick, end_timer, ntf_timer, expire_timer;
    int64_t end_every, ntf_every, expire_every; /* as those three were started */
    uv_poll_t accept[SX_LISTEN_MAX];            /* the first loop only */
    uv_thread_t thread;
    struct sx_hub hub;
    const struct sx_io_cfg *cfg;
    atomic_size_t n_conns;
    struct sx_srv_conn *conns;
    bool has_thread, has_uv, has_hub;
    unsigned expiring; /* the next shard to look for old messages in; SX_STORE_SHARDS: none */
    int64_t inactive_checked_ms;
    int64_t tls_logged_ms;
    unsigned tls_unlogged; /* failed handshakes since */

    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t dropped;
    struct sx_fd *fds;
    bool stopping;
    unsigned drop_wanted, drop_done;            /* numbers of requests to close all connections */
    void (*call)(struct sx_loop *l, void *arg); /* of sx_loop_call */
    void *call_arg;

    /* the loop that accepts */
    struct sx_listeners *listeners; /* NULL: another one accepts */
    struct sx_loop *all;
    unsigned n_all;

    /* for statistics: microseconds that its timers were late */
    int64_t tick_due_us;
    _Atomic uint64_t late_us, late_total_us;

    /* scratch of the thread */
    uint8_t read_buf[SX_READ_BUF];
    uint8_t block[SX_BLOCK], content[SX_BLOCK], sealed[SX_BLOCK];
};

/* listeners: of the first of the n loops at `all`, NULL for the others; the sockets stay the
 * caller's. The thread runs until sx_loop_stop. */
simplex_rc sx_loop_start(struct sx_loop *l, const struct sx_io_cfg *cfg, struct sx_srv *srv,
                         struct sx_listeners *listeners, struct sx_loop *all,
                         unsigned n) SIMPLEX_CHECK;
void sx_loop_stop(struct sx_loop *l); /* asks the thread to end */
void sx_loop_join(struct sx_loop *l); /* waits for it, frees what the loop has; idempotent */
void sx_loop_drop(struct sx_loop *l); /* closes all connections; waits */
/* Calls fn on the thread of the loop and waits for it; by one other thread at a time, between start
 * and stop. */
void sx_loop_call(struct sx_loop *l, void (*fn)(struct sx_loop *l, void *arg), void *arg);

/* Runs the hub and sends what came of it. On the thread, after anything was processed. */
void sx_loop_settle(struct sx_loop *l);

/* ---- conn.c ---- */

/* Takes the socket, which came to this port. */
void sx_srv_conn_open(struct sx_loop *l, int fd, struct sx_port *port);
void sx_srv_conn_close(struct sx_srv_conn *c);
void sx_srv_conn_close_all(struct sx_loop *l);
void sx_srv_conn_pump(struct sx_srv_conn *c);            /* seals and writes as much as may be */
void sx_srv_conns_check(struct sx_loop *l, int64_t now); /* time limits */
/* A line of text for each connection, for the control port; *n counts them. */
void sx_srv_conns_list(const struct sx_loop *l, struct sx_wr *to, unsigned *n);
void sx_srv_conns_flush_ends(struct sx_loop *l);
void sx_srv_conns_flush_ntfs(struct sx_loop *l);

#endif
