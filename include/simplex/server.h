/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An SMP server (relay) inside your process: for tests, demos and small deployments. The program
 * smp-server is a thin wrapper of it.
 *
 * With a state directory queues and messages outlive the server: what a client was answered is on
 * disk, whatever happens to the process or the machine. Without one they are held in memory and are
 * gone when it stops. SMP versions 6..19. Services are offered (clients with a certificate that
 * subscribe all their queues with one command: SUBS, NSUBS), and both roles of private routing,
 * relay (RFWD) and proxy (PRXY, PFWD). Name resolution is not: clients that ask for it get the
 * error of a server that has it switched off.
 *
 * All functions may be called from any thread, except from the server's own (there is no
 * callback, so no call can come from there).
 */
#ifndef SIMPLEX_SERVER_H
#define SIMPLEX_SERVER_H

#include "simplex/types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct simplex_server simplex_server;

/* Fill with simplex_server_config_init, then change what you like. Everything is copied. */
typedef struct simplex_server_config {
    size_t size;                /* sizeof(simplex_server_config); new fields go at the end */
    const char *host;           /* address to listen on, IPv4 or IPv6; "*": all addresses of
                                   both kinds; NULL: "127.0.0.1" */
    uint16_t port;              /* 0: any free port, see simplex_server_port */
    const char *public_host;    /* host name for the server's address; NULL: `host` */
    const char *dir;            /* ca.key ca.crt server.key server.crt fingerprint: read, or made
                                   when there is no server.crt; NULL: made in memory, gone at
                                   stop */
    const char *password;       /* needed to create queues; printable, no space @ : /; NULL: none */
    bool new_queues;            /* false: queues cannot be created */
    unsigned threads;           /* 0: one a processor core */
    unsigned quota;             /* messages waiting in a queue; 0: 128 */
    int64_t message_ttl_ms;     /* messages older than this expire; default 21 days; < 0: never */
    int64_t expire_interval_ms; /* how often all queues are looked through; default 2 hours */
    int64_t end_flush_ms;   /* END and DELD wait up to so long; default 15000; 0: sent at once */
    int64_t ntf_flush_ms;   /* so do notifications; default 1500; 0: sent at once */
    uint16_t min_version;   /* range of SMP versions offered; 0: 6 */
    uint16_t max_version;   /* 0: 19 */
    int64_t tls_timeout_ms; /* TLS must be set up by then; default 60000 */
    int64_t handshake_timeout_ms; /* TLS and SMP handshake; default 120000 */
    int64_t stall_timeout_ms;     /* a client that takes no data, or leaves a block unfinished, is
                                     closed; default 120000 */
    /* Further ones are closed at once; 0: 100000. Never more than the limit of open files has room
     * for, as it is at the start. */
    unsigned max_connections;
    char *error;                /* receives one English sentence when start fails; may be NULL */
    size_t error_size;          /* bytes at `error` */
    const uint16_t *more_ports; /* to listen on besides `port`; at most 15 */
    size_t n_more_ports;
    bool no_new_identity;    /* start fails when dir has no certificates */
    int64_t inactive_ttl_ms; /* a client that is subscribed to nothing and silent for so long is
                                closed; default 0: never */
    bool offline;            /* the state is loaded and made ready to be written again by stop, but
                                nobody is served: no socket is opened */
    int64_t inactive_check_ms; /* how often that is looked at; default 1 hour */

    /* Private routing: as a relay it serves every proxy. As a proxy it connects to servers whose
     * addresses its clients give (PRXY; whoever knows `password` may), and to any host and port. */
    bool proxy;                   /* default true; false: PRXY is refused */
    const char *proxy_socks_host; /* SOCKS5 proxy for relays with onion hosts; NULL: none */
    uint16_t proxy_socks_port;    /* 0: 9050 */
    const char *proxy_socks_user; /* NULL: a user name for each relay, to keep circuits apart */
    const char *proxy_socks_password;
    bool proxy_socks_no_auth;         /* no credentials at all */
    bool proxy_socks_always;          /* through it to all relays */
    bool proxy_onion;                 /* of a relay with both kinds of hosts, the onion ones */
    bool proxy_required_host;         /* relays without hosts of the wanted kind are not used */
    unsigned proxy_concurrency;       /* PRXY and PFWD of one client under way; 0: 32 */
    unsigned proxy_relays;            /* relays connected to at a time; 0: 1000 */
    int64_t proxy_connect_timeout_ms; /* 0: 45000 */
    int64_t proxy_command_timeout_ms; /* for the relay's answer; 0: 30000 */
    int64_t proxy_idle_ms;            /* an unused session with a relay is closed; 0: 1 hour */
    int64_t proxy_failed_ms;          /* a failed connection is not tried again so long; 0: 30000 */
    const char *const *own_domains;   /* relays below them are counted as the operator's own */
    size_t n_own_domains;

    /* Limits of one connection. A command that goes beyond is answered with an error and the
     * connection stays. A client that connects again begins anew: where that matters, use a
     * password. */
    unsigned queues_per_client;        /* created in queues_interval_ms, then NEW answers QUOTA; 0:
                                          no limit */
    int64_t queues_interval_ms;        /* 0: 1 hour */
    unsigned subscriptions_per_client; /* then SUB, NSUB and GET answer INTERNAL; 0: 1048576 */
    size_t memory_per_client;          /* bytes; a connection needs about 350 KiB for itself and 500
                                          bytes a subscription when it never reads, so this limits
                                          subscriptions too; 0: no limit */
    unsigned commands_per_block;       /* further ones of a block answer INTERNAL; 0: 255 */

    const char *state_dir;   /* queues and messages are kept here (made when missing) and are
                                there again after a stop, a kill or a power loss; NULL: they
                                are held in memory and are gone at stop */
    bool messages_in_memory; /* with state_dir: messages are written only when the server is
                                stopped; a killed one loses them, and is a little faster */
    bool messages_not_saved; /* with messages_in_memory: a stop loses them as well */
    bool expire_on_start;    /* look for old messages when the state is read; default true */
    bool expire_on_send;     /* and in its queue at each SEND; default true */
    int64_t ntf_ttl_ms;      /* notifications older than this expire; default 24 hours */
    bool log_tls_errors;     /* failed TLS handshakes are logged, at most one line a second */
    bool skip_damage;        /* records of state_dir that cannot be read are left out with a
                                warning; otherwise they stop the start */

    /* What an operator sees of it; ports are on 127.0.0.1 only. */
    const char *stats_dir; /* a directory for smp-server-stats.log (counters over a restart) and
                              the next two files; NULL: no files */
    bool daily_stats;      /* a line a day in smp-server-stats.daily.log */
    int64_t metrics_interval_ms; /* how often smp-server-metrics.txt is written, for Prometheus;
                                    default 0: never */
    bool metrics_http;           /* the same at http://127.0.0.1:<metrics_port>/metrics */
    uint16_t metrics_port;       /* 0: any free port, see simplex_server_metrics_port */
    bool control;                /* a control port */
    uint16_t control_port;       /* 0: any free port, see simplex_server_control_port */
    const char *control_admin;   /* passwords of the two roles; NULL: nobody has it */
    const char *control_user;
    int64_t control_block_quota; /* queues that users may block a day; default 20; 0: no limit;
                                    < 0: none */
    size_t max_message_memory;   /* bytes of all waiting messages; then SEND answers QUOTA; 0: no
                                    limit */

    /* Proxy: relays that were tried in vain for a connection within ten minutes; then its PRXY are
     * answered with a timeout without a try. 0: 60 */
    unsigned failed_relays_per_client;

    /* What clients can make the server keep. */
    unsigned compact_growth; /* the log of queues is written anew when it is so many times as
                                large as it was after the last time, 2 or more; 0: 4 */
    uint64_t compact_bytes;  /* and larger than this; 0: 64 MiB */
    unsigned services;       /* certificates of services with queues, or that had some; those that
                                are not connected and have at most 16 make room, then commands
                                answer QUOTA; 0: 16384 */

    /* Of the proxy; commands of 16 KB each. Beyond these they are refused for the moment. */
    unsigned proxy_pending;       /* forwarded and not answered yet; 0: 4096 */
    unsigned proxy_relay_pending; /* of them to one relay; 0: 512 */

    /* A static site: GET and HEAD for the files below web_path. */
    const char *web_path;   /* NULL: no site */
    bool web_http;          /* over HTTP, on a port of its own */
    uint16_t web_http_port; /* 0: any free port, see simplex_server_web_port */
    /* Over HTTPS. A port that SMP clients use too (one of `port` and more_ports) gives this
     * certificate to clients that name a host (SNI), as browsers do; another one is opened. The
     * files may be replaced while it runs: they are looked at every 10 seconds, and at a reload. */
    bool web_https;
    uint16_t web_https_port;  /* 0: `port` */
    const char *web_cert;     /* PEM: the site's certificate, then those of its issuers */
    const char *web_key;      /* PEM, without a password */
    unsigned web_connections; /* of browsers at a time; 0: 1000 */
} simplex_server_config;

/* Sets every field to its default, `new_queues` to true and `size`. */
SIMPLEX_API void simplex_server_config_init(simplex_server_config *cfg);

/*
 * Starts the server: on SIMPLEX_OK it is listening. On failure *out is NULL, nothing runs, and
 * cfg->error says what to do about it. E_ARG, E_SYSTEM (socket, threads, files), E_CERT (the
 * certificates of dir cannot be used), E_FINGERPRINT (the file `fingerprint` belongs to other
 * certificates), E_NOMEM.
 */
SIMPLEX_API simplex_rc simplex_server_start(const simplex_server_config *cfg,
                                            simplex_server **out) SIMPLEX_CHECK;

/*
 * Closes all connections, waits for the threads and frees everything, whatever it returns. NULL is
 * fine. Not OK: what was to be written at the end could not be (the log says which file and why):
 * with messages_in_memory those that wait are lost, and what an earlier stop has saved is still
 * there; otherwise nothing that was answered. E_SYSTEM, E_DB_FULL, E_DB_IO.
 */
SIMPLEX_API simplex_rc simplex_server_stop(simplex_server *s);

/*
 * Changes what can change while the server runs: password, new_queues, message_ttl_ms, ntf_ttl_ms,
 * expire_on_send, expire_interval_ms, end_flush_ms, ntf_flush_ms, inactive_ttl_ms,
 * inactive_check_ms, and of the operator's part (if it was started with a stats_dir or a port)
 * metrics_interval_ms and what begins with control_ but the port; of the proxy, its limits (relays,
 * pending, concurrency), proxy_idle_ms, proxy_failed_ms and own_domains. The files of the web
 * certificate are read again, and the log says so. The other fields are not looked at, but must be
 * ones that start would take. On failure everything is as it was. E_ARG (see cfg->error), E_NOMEM.
 */
SIMPLEX_API simplex_rc simplex_server_reload(simplex_server *s,
                                             const simplex_server_config *cfg) SIMPLEX_CHECK;

/*
 * The address clients need, smp://<fingerprint>[:<password>]@<host>:<port>, NUL-terminated. *len:
 * in, the bytes at `to`; out, the length without NUL. E_BUFFER: too small, *len (plus one for NUL)
 * is needed.
 */
SIMPLEX_API simplex_rc simplex_server_address(const simplex_server *s, char *to,
                                              size_t *len) SIMPLEX_CHECK;

/* SHA-256 of the identity certificate. */
SIMPLEX_API void simplex_server_fingerprint(const simplex_server *s, uint8_t out[32]);

/* The port it listens on: `port` of the configuration, or the one chosen for 0. */
SIMPLEX_API uint16_t simplex_server_port(const simplex_server *s);

/* The ports of the site: of HTTP, and of HTTPS. 0: there is none. */
SIMPLEX_API uint16_t simplex_server_web_port(const simplex_server *s);
SIMPLEX_API uint16_t simplex_server_web_tls_port(const simplex_server *s);

/* Ports on 127.0.0.1; 0: there is none. */
SIMPLEX_API uint16_t simplex_server_metrics_port(const simplex_server *s);
SIMPLEX_API uint16_t simplex_server_control_port(const simplex_server *s);

typedef struct simplex_server_counters {
    size_t size;        /* in: sizeof(simplex_server_counters) */
    size_t connections; /* open now */
    size_t accepted;    /* since the start */
    size_t queues;      /* that exist now */
    size_t messages;    /* waiting now, quota markers included */
} simplex_server_counters;

/* A snapshot; the numbers are exact when nothing is going on. E_ARG: c->size is unknown. */
SIMPLEX_API simplex_rc simplex_server_count(const simplex_server *s,
                                            simplex_server_counters *c) SIMPLEX_CHECK;

/*
 * Closes every client connection and returns when it is done; queues and messages stay. For tests
 * of reconnection. Clients may connect again before it returns.
 */
SIMPLEX_API void simplex_server_drop_connections(simplex_server *s);

#ifdef __cplusplus
}
#endif
#endif
