/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Part of simplex/agent.h: how an agent is configured, opened and closed, and its database as a
 * whole: another key, backups.
 */
#ifndef SIMPLEX_AGENT_OPEN_H
#define SIMPLEX_AGENT_OPEN_H

#include "simplex/agent/handles.h"
#include "simplex/agent/noise.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Called on the agent's thread for every event, one at a time. ev is valid during the call.
 * Functions of simplex/agent.h may be called inside, except simplex_agent_close and _next_event:
 * they run at once and are committed together with the event, so that acknowledging a message and
 * answering it is one transaction. Do not block in here: everything of this agent waits.
 */
typedef void simplex_event_cb(void *user, const simplex_event *ev);

enum { /* proxy_mode: which servers are written to through a proxy */
    SIMPLEX_PROXY_NEVER = 0, /* none, as with the reference's default */
    SIMPLEX_PROXY_ALWAYS = 1,
    SIMPLEX_PROXY_UNKNOWN = 2,     /* those that share no host with `servers` */
    SIMPLEX_PROXY_UNPROTECTED = 3, /* of these, those that socks_proxy would not be used for */
};

enum { /* proxy_fallback: may a command go directly when the proxy cannot use the server at all? */
    SIMPLEX_FALLBACK_ALLOW = 0,     /* yes, as with the reference's default */
    SIMPLEX_FALLBACK_PROTECTED = 1, /* through socks_proxy only */
    SIMPLEX_FALLBACK_PROHIBIT = 2,
};

enum { /* isolation: what shares a Tor circuit, when socks_proxy has no credentials of its own */
    SIMPLEX_ISOLATE_DEFAULT = 0, /* SERVER (the reference's default is SESSION) */
    SIMPLEX_ISOLATE_USER = 1,    /* everything, until the agent is closed */
    SIMPLEX_ISOLATE_SESSION = 2, /* everything since the last simplex_agent_reconnect */
    SIMPLEX_ISOLATE_SERVER = 3,  /* of that, what goes to one server */
    SIMPLEX_ISOLATE_ENTITY = 4,  /* of that, one connection: with TCP and TLS sessions of its own,
                                    also without socks_proxy */
};

enum { /* host_mode: which hosts of a server are used */
    SIMPLEX_HOSTS_ONION_VIA_SOCKS = 0, /* .onion with socks_proxy, else public ones */
    SIMPLEX_HOSTS_ONION = 1,
    SIMPLEX_HOSTS_PUBLIC = 2,
};

typedef struct simplex_agent_config {
    size_t size;         /* sizeof(simplex_agent_config); new fields are added at the end */
    const char *db_path; /* file of the database; made when missing; -wal and -age beside it */
    simplex_bytes db_key; /* passphrase of any length, or 32 random bytes with db_raw_key */
    bool db_raw_key;
    simplex_event_cb *on_event; /* NULL: pull with simplex_agent_next_event */
    void *user;                 /* handed to on_event */

    /* SMP servers for new queues: smp://fingerprint[:password]@host[,host...][:port]. A queue is
     * made on a random one; the reply queue of a connection on another one when there is one. */
    const char *const *servers;
    size_t n_servers;

    /* SOCKS5 proxy "host:port" or "user:password@host:port"; NULL: none. Without credentials the
     * agent makes up user names by `isolation`, so that Tor isolates the circuits. */
    const char *socks_proxy;
    bool socks_only_onion; /* through the proxy only to .onion hosts */

    /* 0 means the protocol's default; times in milliseconds. */
    int64_t connect_timeout;  /* 45,000: TCP, TLS and handshake together */
    int64_t command_timeout;  /* 30,000 */
    int64_t retry_first;      /* 2,000: delivery of a message after a failure of the network */
    int64_t retry_max;        /* 120,000 */
    int64_t quota_retry_first; /* 300,000: after the peer's queue was full */
    int64_t message_timeout;  /* 172,800,000: undelivered messages expire with MERR */
    int64_t quota_timeout;    /* 604,800,000: the same while the peer's queue is full */
    int64_t reconnect_first;  /* 2,000; for 3/2 of it, 3,000 at most, a failure to connect answers
                               * what follows */
    int64_t reconnect_max;    /* 180,000 */
    uint16_t smp_min, smp_max; /* SMP versions: 6..19 */

    /* Only look: nothing is written, nothing subscribed or sent, no event is shown but those of
     * sessions and PEEKED. What changes something is PROHIBITED. For an extension that shows who a
     * notification is from (simplex_agent_open_push) and what it says (simplex_agent_peek); not
     * beside an agent that is open (DB_LOCKED). The database must exist and be up to date
     * (DB_SCHEMA). */
    bool read_only;

    /* Private routing: the servers of contacts are written to through one of `servers`, so that
     * they do not see our IP address. SIMPLEX_PROXY_..., SIMPLEX_FALLBACK_... */
    int32_t proxy_mode;
    int32_t proxy_fallback;

    /* Tor. SIMPLEX_ISOLATE_..., SIMPLEX_HOSTS_... */
    int32_t isolation;
    int32_t host_mode;
    bool required_host_mode; /* servers without a host of that kind are not used at all */

    /* Servers that every application of this family knows, in the form of `servers`: short links
     * to queues on them name the first host only, and such links are understood. */
    const char *const *preset_servers;
    size_t n_preset_servers;

    const simplex_noise *noise; /* NULL: none. simplex_agent_set_noise changes it */
    /* For a short run after a push: nothing is subscribed, neither when the agent is opened nor for
     * new connections; messages come with simplex_agent_fetch. All else works as usual. */
    bool fetch_only;
    /* New connections and addresses have notifications from the start: simplex_agent_notify. */
    bool notifications;

    /* Redundant queues: how many receiving queues, each on a server of its own, a new connection
     * gets (as far as there are servers). 0 and 1: one; up to SIMPLEX_QUEUES_MAX. Then numbers and
     * milliseconds, 0 means the default. */
    int32_t queues;
    int64_t hold_time;      /* 30,000: a message behind a gap waits for another queue to fill it */
    int64_t miss_messages;  /* 1: QMISS when so many more were missed for certain */
    int64_t miss_time;      /* 300,000: QMISS when a queue is behind the others for so long */
    int64_t spare_messages; /* 10: after so many messages, and ... */
    int64_t spare_time;     /* 600,000: ... so much time between the first and the last of them,
                             * none through another than the first queue: the others are deleted */
    /* For an agent with very many connections (a relay, a directory): to each server of its queues
     * it is a client service, with a certificate of its own for each user and server, made when it
     * is first used. One command subscribes all queues that the server knows to be the service's,
     * and SERVICE_UP takes the place of UP for them. Servers older than SMP 19 are used as without.
     * The server sees which queues belong together also over reconnections, so not with
     * SIMPLEX_ISOLATE_ENTITY (ARG). Switched off, the next subscription takes the queues back. */
    bool client_service;
    int64_t delete_timeout; /* ms; 0: two days. simplex_agent_delete_after_sending waits so long */
} simplex_agent_config;

/*
 * Opens or creates the database and starts the agent: subscribes, continues deliveries, shows
 * events left over, possibly before this function returns; *out is set by then. cfg and all it
 * points to are copied. On failure *out is NULL and the files are as they were. Errors: ARG,
 * ADDRESS (a server), DB_KEY, DB_SCHEMA, DB_DAMAGED, DB_LOCKED, DB_FULL, DB_IO, NOMEM, SYSTEM.
 */
SIMPLEX_API simplex_rc simplex_agent_open(const simplex_agent_config *cfg,
                                          simplex_agent **out) SIMPLEX_CHECK;

/*
 * Stops the thread, closes connections and database, wipes keys, frees a. Waits for the agent's
 * thread; calls still waiting in other threads return CLOSED. No event is shown after it
 * returned. Pulled events must have been freed. NULL is fine. Refused (CALLBACK) inside on_event.
 */
SIMPLEX_API simplex_rc simplex_agent_close(simplex_agent *a);

/* ---- the database ---- */

/* Changes the key of the database. On failure the old one stays. Inside on_event this and
 * simplex_agent_backup first commit what was done there so far; the event is handled when on_event
 * returns, as ever. Errors: ARG, PROHIBITED (read-only), SUSPENDED, those of the database. */
SIMPLEX_API simplex_rc simplex_agent_rekey(simplex_agent *a, simplex_bytes key,
                                           bool raw_key) SIMPLEX_CHECK;

/*
 * A copy of the whole database in a new file, while the agent works: it has what was promised when
 * the call began, and the agent waits until it is written (some seconds for a gigabyte). key: of
 * the copy; the agent's own or another one, which tells nothing about the agent's. It appears under
 * its name whole and checked: a crash before leaves PATH.part. Errors: ARG, PROHIBITED (there is a
 * file of this name), SUSPENDED, DB_FULL, DB_IO (nothing is left of it).
 *
 * Two agents must never run from one database and its copy. After restoring one, ratchets that went
 * on since have to be synchronised (RSYNC).
 */
SIMPLEX_API simplex_rc simplex_agent_backup(simplex_agent *a, const char *path, simplex_bytes key,
                                            bool raw_key) SIMPLEX_CHECK;

/*
 * Puts a copy that simplex_agent_backup made in the place of the database of a closed agent, which
 * keeps its file and its key db_key; where there is no file, one is made with that key. The copy is
 * read through and checked before, and stays. It happens as a whole or, on failure and after a
 * crash, not at all. A database that is damaged, or whose key is lost, is moved away first (with
 * the file
 * -wal beside it). Errors: ARG (also: one path for both), DB_KEY (either file), DB_SCHEMA (the copy
 * is of a newer release, or of something else), DB_DAMAGED, DB_LOCKED (an agent has one of them
 * open), DB_FULL, DB_IO, NOMEM.
 */
SIMPLEX_API simplex_rc simplex_agent_restore(const char *path, simplex_bytes key, bool raw_key,
                                             const char *db_path, simplex_bytes db_key,
                                             bool db_raw_key) SIMPLEX_CHECK;

#ifdef __cplusplus
}
#endif
#endif
