/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent: connections to other people, over SMP servers, with end-to-end encryption.
 *
 * An agent owns one encrypted database file and one thread. Its functions may be called from any
 * thread: they post to the agent's thread and return when what they did is on disk. What takes
 * the network follows as events, either through one callback on the agent's thread or, when no
 * callback is configured, through simplex_agent_next_event.
 *
 * Life of a connection (I initiates, J joins):
 *
 *     I: simplex_agent_create        -> INV(link)        hand the link to J out of band
 *     J: simplex_agent_join(link)                        J's information goes to I
 *     I: CONF(conf, info)            -> simplex_agent_allow(conf, info)
 *     J: INFO(info), CON             I: CON              both: simplex_agent_send
 *     MSG                            -> simplex_agent_ack
 *
 * A contact address can be given to many people (O owns it, R asks to be connected):
 *
 *     O: simplex_agent_create_address -> INV(link)       publish the link
 *     R: simplex_agent_join(link)                        R's information goes to O
 *     O: REQ(request, info)          -> simplex_agent_accept(request, info), or _reject
 *     R: CONF(conf, info)            -> simplex_agent_allow(conf, info)
 *     O: INFO(info), CON              R: CON
 *
 * Either kind of link can be short: what it leads to is kept, encrypted and signed, by the server
 * (simplex_agent_create_short). Who has one can look at it before joining:
 *
 *     I: simplex_agent_create_short  -> INV(full link), LINK(short link)
 *     J: simplex_agent_look(link)    -> LDATA            simplex_agent_join(link) as above
 *
 * Both sides may be offline at any step. Everything survives a crash at any moment: what was
 * promised is continued when the agent is opened again, and durable events that the application
 * had not finished handling are shown again.
 */
#ifndef SIMPLEX_AGENT_H
#define SIMPLEX_AGENT_H

#include "simplex/types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct simplex_agent simplex_agent; /* thread-safe */
typedef struct simplex_event simplex_event; /* belongs to one thread at a time */

/*
 * Called on the agent's thread for every event, one at a time. ev is valid during the call.
 * Functions of this header may be called inside, except simplex_agent_close and _next_event: they
 * run at once and are committed together with the event, so that acknowledging a message and
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

enum { /* kinds of noise: what they hide from whom is in docs/threat-model.md */
    SIMPLEX_NOISE_PING = 1,   /* PINGs on sessions with servers */
    SIMPLEX_NOISE_LOOP = 2,   /* messages to ourselves through queues made for it */
    SIMPLEX_NOISE_REPEAT = 4, /* messages that a contact has already, which its agent drops */
};

/* Noise traffic: commands without a meaning, at random times, among which messages are less
 * easily told apart. */
typedef struct simplex_noise {
    size_t size;         /* sizeof(simplex_noise) */
    int64_t budget;      /* bytes an hour, of both directions, that are never exceeded; on average
                          * half of it is used. 0: no noise. At least 327,680, at most 2^40 */
    uint32_t kinds;      /* sum of SIMPLEX_NOISE_...; 0: no noise */
    int64_t budget_metered; /* the same where the network is metered (cellular); 0: none there */
    int64_t wait;           /* ms that a message may wait to leave in the place of noise, so that its
                             * time tells less; at most 600,000; 0: it leaves at once. 64
                             * connections at a time have one that waits */
} simplex_noise;

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
    int64_t spare_time;     /* 600,000: ... so much time between the first and the last of them, none
                             * through another than the first queue: the others are deleted */
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
 * events left over, possibly before this function returns; *out is set by then. cfg and all it points to are copied. On failure *out is NULL and the files are
 * as they were. Errors: ARG, ADDRESS (a server), DB_KEY, DB_SCHEMA, DB_DAMAGED, DB_LOCKED,
 * DB_FULL, DB_IO, NOMEM, SYSTEM.
 */
SIMPLEX_API simplex_rc simplex_agent_open(const simplex_agent_config *cfg,
                                          simplex_agent **out) SIMPLEX_CHECK;

/*
 * Stops the thread, closes connections and database, wipes keys, frees a. Waits for the agent's
 * thread; calls still waiting in other threads return CLOSED. No event is shown after it
 * returned. Pulled events must have been freed. NULL is fine. Refused (CALLBACK) inside on_event.
 */
SIMPLEX_API simplex_rc simplex_agent_close(simplex_agent *a);

/* ---- connecting (protocol/agent.md section 6.1) ---- */

/* Post-quantum ratchet of a new connection. */
enum {
    SIMPLEX_PQ_OFF = 0,
    SIMPLEX_PQ_ON = 1,      /* wanted; starts with the first messages */
    SIMPLEX_PQ_IN_LINK = 2, /* the link carries the KEM key (1.6 KB longer): on from the start */
};

/*
 * Makes a connection as initiator: a receiving queue on one of the servers. INV with the link
 * follows, or ERR. *conn: stable id of the connection, > 0. Errors: NO_SERVERS, ARG.
 */
SIMPLEX_API simplex_rc simplex_agent_create(simplex_agent *a, int32_t pq,
                                            int64_t *conn) SIMPLEX_CHECK;

/*
 * Joins a connection by its one-time link, or asks the owner of a contact address for one (any
 * written form of a full or short link; white space around is ignored). The data of a short link
 * is read first, unless simplex_agent_look has done it: *conn is the same then, and a repeat with
 * an invitation is fine; ERR tells when it cannot be read. info: up to 14,300 bytes (10,500
 * with PQ) shown to the initiator in CONF, or to the owner in REQ. JOINED follows when the server
 * of the link has it, then INFO and CON when the initiator allowed; or, when the owner of an
 * address accepted, CONF, to be answered with simplex_agent_allow, and CON. An owner who rejects
 * says nothing. Errors: LINK, VERSION, TOO_LARGE (info), NO_SERVERS, ARG.
 */
SIMPLEX_API simplex_rc simplex_agent_join(simplex_agent *a, simplex_bytes link, simplex_bytes info,
                                          int32_t pq, int64_t *conn) SIMPLEX_CHECK;

/*
 * Allows the joiner of confirmation `conf` (from CONF) to connect; info is shown to it in INFO.
 * CON follows. Repeating the call is fine. Errors: NOT_FOUND, PROHIBITED (another confirmation was
 * allowed), TOO_LARGE.
 */
SIMPLEX_API simplex_rc simplex_agent_allow(simplex_agent *a, int64_t conn, int64_t conf,
                                           simplex_bytes info) SIMPLEX_CHECK;

/* The invitation link again, while nobody has joined; the link of a contact address at any time. Writes up to *len characters and no NUL,
 * sets *len. Errors: NOT_FOUND, PROHIBITED (not an open invitation), BUFFER (*len is set). */
SIMPLEX_API simplex_rc simplex_agent_link(simplex_agent *a, int64_t conn, char *to,
                                          size_t *len) SIMPLEX_CHECK;

/* ---- contact addresses (section 6.2) ---- */

/*
 * Makes a contact address: a link for any number of people, each of whom can ask to be connected.
 * INV with the link follows, or ERR; simplex_agent_link tells it again. *conn: its id, for
 * simplex_agent_subscribe, _connection and _delete; nothing can be sent to it. Deleting it drops
 * the requests that were not accepted; connections made through it stay. Errors: NO_SERVERS,
 * NOTICE (see simplex_agent_notice), ARG.
 */
SIMPLEX_API simplex_rc simplex_agent_create_address(simplex_agent *a,
                                                    int64_t *conn) SIMPLEX_CHECK;

/*
 * Accepts `request` (from REQ): makes a connection to the requester, as simplex_agent_join does
 * with a one-time link. info is shown to it in CONF; JOINED, and when it allowed, INFO and CON
 * follow. A repeat is fine and tells the same *conn. Errors: NOT_FOUND (no such request, or its
 * address or connection was deleted), PROHIBITED (it was rejected), VERSION (the requester speaks
 * no version that we do: reject it), TOO_LARGE (info), NO_SERVERS, ARG.
 */
SIMPLEX_API simplex_rc simplex_agent_accept(simplex_agent *a, int64_t request, simplex_bytes info,
                                            int32_t pq, int64_t *conn) SIMPLEX_CHECK;

/* Forgets a request; the requester is told nothing. A repeat is fine. Errors: NOT_FOUND,
 * PROHIBITED (it was accepted). */
SIMPLEX_API simplex_rc simplex_agent_reject(simplex_agent *a, int64_t request) SIMPLEX_CHECK;

/*
 * The information of a request that was neither accepted nor rejected, again. Writes up to *len
 * bytes to info, sets *len, and *conn (may be NULL) to the address. Errors: NOT_FOUND, BUFFER
 * (*len is set).
 */
SIMPLEX_API simplex_rc simplex_agent_request(simplex_agent *a, int64_t request, int64_t *conn,
                                             void *info, size_t *len) SIMPLEX_CHECK;

/* Requests to all addresses that were neither accepted nor rejected: those above `after` in
 * ascending order: fills up to *n, sets *n. An address takes no more while 500 wait: further ones
 * stay on its server or with those who ask. */
SIMPLEX_API simplex_rc simplex_agent_requests(simplex_agent *a, int64_t after, int64_t *ids,
                                              size_t *n) SIMPLEX_CHECK;

/* ---- short links (section 5.3) ---- */

enum { /* what a short link is to: the letter in it */
    SIMPLEX_LINK_INVITATION = 'i', /* one-time */
    SIMPLEX_LINK_CONTACT = 'a',    /* this and those below: a contact address */
    SIMPLEX_LINK_CHANNEL = 'c',
    SIMPLEX_LINK_GROUP = 'g',
    SIMPLEX_LINK_RELAY = 'r',
};

/* Who may change the data of an address beside its maker. */
typedef struct simplex_link_owner {
    simplex_bytes id;        /* 1 to 100 bytes of the application's choice */
    simplex_bytes key;       /* Ed25519 public key: 32 bytes */
    simplex_bytes signature; /* 64 bytes over id and key (DER), by the root key of the link or an
                              * earlier owner of the list; empty: the agent signs */
} simplex_link_owner;

/* What everybody who has the link can read. Of an invitation: size and data only. */
typedef struct simplex_link_data {
    size_t size;        /* set by the caller: sizeof(simplex_link_data) */
    simplex_bytes data; /* of the application: up to 13,700 bytes, less with owners and relays */
    bool no_direct;     /* not to connect to the address itself, but as owners and relays say */
    const simplex_link_owner *owners;
    size_t n_owners;    /* up to 255 */
    const char *const *relays; /* short links of contact types */
    size_t n_relays;    /* up to 255 */
    simplex_bytes signer; /* Ed25519 private key (32 bytes) of one of the owners, who signs the
                           * data; empty: the root key of the link */
} simplex_link_data;

/*
 * Makes a connection as simplex_agent_create does (SIMPLEX_LINK_INVITATION), or a contact address
 * (the other types; pq is not used), with a short link. INV with the full link and LINK with the
 * short one follow, or ERR. With SIMPLEX_PQ_ON the short link carries the KEM key, with
 * SIMPLEX_PQ_IN_LINK the full one as well. A server older than short links gives INV, and ERR
 * (VERSION) in the place of LINK. Errors: NO_SERVERS, TOO_LARGE, LINK (a relay), SIGNATURE (of an
 * owner, or owners that repeat each other, or a signer who is none), KEY, NOTICE (an address, see
 * simplex_agent_notice), ARG.
 */
SIMPLEX_API simplex_rc simplex_agent_create_short(simplex_agent *a, int32_t type, int32_t pq,
                                                  const simplex_link_data *data,
                                                  int64_t *conn) SIMPLEX_CHECK;

/*
 * The same without the network: the full link, and the short one of an address, can be had from
 * simplex_agent_link and simplex_agent_short_link at once and hold (for signing them, or for
 * printing them). Nobody can use them before simplex_agent_publish makes the queue; INV and LINK
 * follow that. Its server is chosen here: while it is away, publishing waits for it. Should it
 * refuse, ERR follows and publishing can be tried again. A server older than short links cannot
 * keep what the links promise: ERR (VERSION), and the connection is deleted.
 */
SIMPLEX_API simplex_rc simplex_agent_prepare_short(simplex_agent *a, int32_t type, int32_t pq,
                                                   const simplex_link_data *data,
                                                   int64_t *conn) SIMPLEX_CHECK;
/* A repeat is fine; where the queue is there already, prepared or not, nothing is left to do. Errors:
 * NOT_FOUND, PROHIBITED (it is being made without having been prepared, or is in use), NOTICE (an
 * address, see simplex_agent_notice). */
SIMPLEX_API simplex_rc simplex_agent_publish(simplex_agent *a, int64_t conn) SIMPLEX_CHECK;

/* The short link again, while nobody has joined; of an address at any time. Writes up to *len
 * characters and no NUL, sets *len. Errors: NOT_FOUND, PROHIBITED (it has none, or not yet),
 * BUFFER (*len is set). */
SIMPLEX_API simplex_rc simplex_agent_short_link(simplex_agent *a, int64_t conn, char *to,
                                                size_t *len) SIMPLEX_CHECK;

/*
 * Replaces the data behind a short link; the link stays. An address that has no short link gets
 * one. LINK follows when the server has the data, or ERR. Of several calls in a row the last one
 * counts. Errors: NOT_FOUND, PROHIBITED (an invitation without a short link, or used; a link that
 * is being deleted), and those of simplex_agent_create_short.
 */
SIMPLEX_API simplex_rc simplex_agent_set_link_data(simplex_agent *a, int64_t conn,
                                                   const simplex_link_data *data) SIMPLEX_CHECK;

/* Takes the data off the server: the short link leads nowhere from then on, the full link and the
 * connection stay. LINK without data follows, or ERR. Errors: NOT_FOUND, PROHIBITED (no link). */
SIMPLEX_API simplex_rc simplex_agent_delete_link_data(simplex_agent *a,
                                                      int64_t conn) SIMPLEX_CHECK;

/*
 * Reads what is behind a short link: LDATA follows, or ERR, with SERVER and AUTH in its detail for
 * a link that is used, deleted or wrong, and SIGNATURE, CRYPTO or DECODE for data that is not what
 * the link was made of. *conn: a connection that was only begun; simplex_agent_join with the same
 * link continues it, simplex_agent_delete forgets it. Looking at an invitation takes it: from then
 * on only this agent can look at it again or join it. A repeat is fine and tells the same *conn.
 * Errors: LINK (not a short link, or one that leaves out its server, which is not known here),
 * PROHIBITED (it was joined).
 */
SIMPLEX_API simplex_rc simplex_agent_look(simplex_agent *a, simplex_bytes link,
                                          int64_t *conn) SIMPLEX_CHECK;

/* ---- messages (sections 6.7, 6.8) ---- */

enum { /* flags of simplex_agent_send */
    SIMPLEX_SEND_NOTIFY = 1, /* ask the server to notify the recipient's device */
    SIMPLEX_SEND_PQ_ON = 2,  /* switch the post-quantum ratchet on or off with this message */
    SIMPLEX_SEND_PQ_OFF = 4,
};

/*
 * Stores body for delivery: on return it is on disk. *msg_id: id within the connection, rising.
 * SENT or MERR with this id follows; MWARN while delivery is delayed. Messages are delivered in
 * order. body: up to 15,795 bytes, 13,573 with PQ. Errors: NOT_FOUND, PROHIBITED (not connected
 * yet, or the ratchet must be synchronised first), TOO_LARGE (nothing happened).
 */
SIMPLEX_API simplex_rc simplex_agent_send(simplex_agent *a, int64_t conn, simplex_bytes body,
                                          uint32_t flags, int64_t *msg_id) SIMPLEX_CHECK;

/* One message of a batch. */
typedef struct simplex_batch_message {
    int64_t conn;
    simplex_bytes body;
    uint32_t flags; /* as of simplex_agent_send */
    simplex_rc rc;  /* out: what simplex_agent_send would have returned */
    int64_t msg_id; /* out: 0 unless rc is OK */
} simplex_batch_message;

/*
 * Sends to many connections in one transaction. Each message succeeds or fails by itself: look at
 * its rc. A body with the same ptr and len as the one before it in the list is stored once for all
 * of them. *n_sent (may be NULL): how many are OK. size: sizeof(simplex_batch_message). Errors of the whole,
 * with which nothing was sent: ARG, and those of the database.
 */
SIMPLEX_API simplex_rc simplex_agent_send_batch(simplex_agent *a, simplex_batch_message *messages,
                                                size_t n, size_t size,
                                                size_t *n_sent) SIMPLEX_CHECK;

/*
 * Acknowledges the message of a MSG event: the application has it and will not see it again.
 * The next message of the connection comes only after it. Repeating the call is fine.
 * Errors: NOT_FOUND (no such message was received).
 */
SIMPLEX_API simplex_rc simplex_agent_ack(simplex_agent *a, int64_t conn,
                                         int64_t msg_id) SIMPLEX_CHECK;

/*
 * Acknowledges and tells the sender that the message arrived: RCVD there. info: up to 15,751 bytes
 * (13,529 with PQ) shown in RCVD, usually none. The receipt takes an id of its own here, as a
 * message does. A peer too old for receipts, and a message acknowledged before, get none. Errors:
 * NOT_FOUND, TOO_LARGE (nothing happened).
 */
SIMPLEX_API simplex_rc simplex_agent_ack_receipt(simplex_agent *a, int64_t conn, int64_t msg_id,
                                                 simplex_bytes info) SIMPLEX_CHECK;

/* Switches receiving messages of a connection on (the default) or off; kept over restarts. While
 * off the server keeps the messages. Errors: NOT_FOUND. */
SIMPLEX_API simplex_rc simplex_agent_subscribe(simplex_agent *a, int64_t conn,
                                               bool on) SIMPLEX_CHECK;

/* ---- push notifications (section 8.5; smp.md section 7) ---- */

/*
 * Switches notifications of a connection or contact address on or off; kept over restarts, and over
 * moves to other servers. On: each of its receiving queues gets a notifier, with which a
 * notification server can ask to be told when a message waits (sent with SIMPLEX_SEND_NOTIFY, or a
 * step of the connection). NOTIFIER follows for each queue, also for one that comes later. Off: it
 * is deleted, NOTIFIER without data follows; on again makes a new one, with other keys. A repeat
 * changes nothing. Errors: NOT_FOUND, PROHIBITED (there is no receiving queue yet).
 */
SIMPLEX_API simplex_rc simplex_agent_notify(simplex_agent *a, int64_t conn,
                                            bool on) SIMPLEX_CHECK;

typedef struct simplex_notifier {
    size_t size;             /* set by the caller: sizeof(simplex_notifier) */
    char server[2400];       /* smp://fingerprint@host[,host...][:port] */
    uint8_t id[255];         /* of the notifier, 24 bytes as a rule */
    size_t id_len;
    uint8_t private_key[48]; /* Ed25519, PKCS #8: with it the notification server subscribes */
    uint8_t secret[32];      /* stays here: opens what is in a push. simplex_agent_open_push has it */
} simplex_notifier;

/* What a notification server has to be given for the receiving queue number `nth` (from 0) of those
 * that have a notifier: server, id and private_key. Wipe out when it has served. Errors: NOT_FOUND
 * (behind the last, or none is set yet), ARG. */
SIMPLEX_API simplex_rc simplex_agent_notifier(simplex_agent *a, int64_t conn, unsigned nth,
                                              simplex_notifier *out) SIMPLEX_CHECK;

typedef struct simplex_push {
    size_t size;         /* set by the caller: sizeof(simplex_push) */
    int64_t conn;        /* whose message waits */
    uint8_t msg_id[255]; /* the server's id of it: MSGNTF names the same */
    size_t msg_id_len;
    int64_t server_time; /* ms since 1970, of the second when the server took the message */
    bool received;       /* this agent has, or had, the message: there is nothing to fetch */
    int64_t waiting;     /* its id while it waits here to be acknowledged; 0 otherwise */
} simplex_push;

/*
 * Opens what a notification server passed on: the id of the notifier, and nonce (24 bytes) and
 * encrypted metadata (144 bytes) as the SMP server made them. Reads only, so it works with
 * read_only. Errors: NOT_FOUND (no such notifier), CRYPTO (not meant for it, or changed), DECODE,
 * PADDING, ARG.
 */
SIMPLEX_API simplex_rc simplex_agent_open_push(simplex_agent *a, simplex_bytes notifier,
                                               simplex_bytes nonce, simplex_bytes meta,
                                               simplex_push *out) SIMPLEX_CHECK;

/*
 * Fetches the message that waits in each of these connections, without subscribing. It is shown as
 * any other (MSG, to be acknowledged); then, or when there is none, FETCHED follows for each
 * connection. What the agent handles by itself is acknowledged and the next one fetched, up to 32
 * times. When the ACK of a fetched message has reached the server, also of one that had been
 * received before, MSGNTF tells. Fetching again before that brings the same message, which is not
 * shown again. FETCHED has PROHIBITED for a connection that is subscribed or has no queue yet,
 * NOT_FOUND for one that does not exist, and why the server could not be asked (nothing is tried
 * again). Errors: PROHIBITED (read_only: see simplex_agent_peek), SUSPENDED, NOMEM (none of them is
 * fetched), ARG.
 */
SIMPLEX_API simplex_rc simplex_agent_fetch(simplex_agent *a, const int64_t *conns,
                                           size_t n) SIMPLEX_CHECK;

/*
 * With read_only: looks at the message that waits, without acknowledging it or writing anything. The
 * agent that is opened later receives it as if nobody had looked. PEEKED follows for each receiving
 * queue. Errors: NOT_FOUND, PROHIBITED (not read_only, or there is no queue yet).
 */
SIMPLEX_API simplex_rc simplex_agent_peek(simplex_agent *a, int64_t conn) SIMPLEX_CHECK;

/* While on, connections and addresses that are made, joined or accepted are not subscribed, as if
 * simplex_agent_subscribe(conn, false) had been called before their server is asked. Until the
 * agent is closed. */
SIMPLEX_API simplex_rc simplex_agent_only_create(simplex_agent *a, bool on) SIMPLEX_CHECK;

/* ---- a new ratchet (section 6.6) ---- */

/* Whether the two sides still agree on the keys of their messages. RSYNC tells each change that the
 * application did not ask for, simplex_agent_connection the present state. */
enum {
    SIMPLEX_SYNC_OK = 0,
    SIMPLEX_SYNC_ALLOWED = 1,  /* a message could not be read: if it goes on, synchronise */
    SIMPLEX_SYNC_REQUIRED = 2, /* nothing can be read any more: synchronise. Most often one of the
                                * two runs on an old copy of its database */
    SIMPLEX_SYNC_STARTED = 3,  /* waiting for the peer, which may be offline */
    SIMPLEX_SYNC_AGREED = 4,   /* waiting for the peer's first message with the new keys */
};

/*
 * Begins a new ratchet with the peer, in whose agent the same happens by itself. Both may be
 * offline meanwhile. RSYNC with AGREED follows, and RSYNC with OK when it is complete; until then
 * simplex_agent_send gives PROHIBITED, and messages that were sent before and not read are lost
 * (the next one that arrives tells the gap). Without `force` only in the states ALLOWED and
 * REQUIRED; with it in any, to begin again when nothing came of it. While the new keys have not
 * left for the server a repeat changes nothing. Errors: NOT_FOUND, PROHIBITED (another state, or
 * not connected), VERSION (the peer's agent is too old).
 */
SIMPLEX_API simplex_rc simplex_agent_sync_ratchet(simplex_agent *a, int64_t conn,
                                                  bool force) SIMPLEX_CHECK;

/*
 * Deletes the connection here and its queues on the servers; pending messages are dropped.
 * DEL_RCVQ for each queue and DEL_CONN follow, when the servers can be reached. Calls with conn
 * give NOT_FOUND from now on.
 */
SIMPLEX_API simplex_rc simplex_agent_delete(simplex_agent *a, int64_t conn) SIMPLEX_CHECK;
/* The same, but pending messages are delivered first (SENT or MERR for each), for delete_timeout at
 * most: for a last word. Nothing is received meanwhile; simplex_agent_delete ends the wait. */
SIMPLEX_API simplex_rc simplex_agent_delete_after_sending(simplex_agent *a,
                                                          int64_t conn) SIMPLEX_CHECK;

/* ---- rotation of queues (section 6.5) ---- */

/*
 * Moves the receiving queue of a connection: to `server` (an address as in the configuration), or,
 * when that is empty, to one of the configured servers, another one than now if there is one.
 * SWITCH events tell how far it is; both sides may be offline at any step. Messages go on all the
 * while, in order: nothing is lost and nothing shown twice. Errors: NOT_FOUND, PROHIBITED (not
 * connected yet, or it is being moved already), ADDRESS, NO_SERVERS, ARG.
 */
SIMPLEX_API simplex_rc simplex_agent_switch(simplex_agent *a, int64_t conn,
                                            simplex_bytes server) SIMPLEX_CHECK;

/*
 * Gives the move up and stays with the present queue: possible until the peer's keys are set in the
 * new one (phase SECURED). SWITCH with phase ABORTED follows. An answer of the peer that was on its
 * way is shown as ERR (PROHIBITED, detail "QK"). Errors: NOT_FOUND, PROHIBITED (too late, or nothing
 * to abort).
 */
SIMPLEX_API simplex_rc simplex_agent_abort_switch(simplex_agent *a, int64_t conn) SIMPLEX_CHECK;

/*
 * When receiving queues move by themselves, to a server chosen as for a new queue. Every time is
 * drawn at random for each connection, and between two starts of one user is a pause of random
 * length, so that who watches the servers does not see which queues are one user's. All 0: never.
 */
typedef struct simplex_rotation {
    size_t size;      /* set by the caller: sizeof(simplex_rotation) */
    int64_t every;    /* ms after the last rotation, or after connecting; 0: not by time */
    int32_t jitter;   /* per cent by which `every` and `messages` vary either way; 0: 25 */
    int64_t messages; /* after so many messages of the peer; 0: not by number */
    bool server_list; /* when its server is not one of the user's any more */
    int64_t spread;   /* ms over which what became due by messages or server is spread; 0: 3,600,000 */
    int32_t per_day;  /* budget: rotations of a user that may start in 24 hours; 0: 24. That of a
                       * connection's own policy counts when its user has none */
} simplex_rotation;

typedef struct simplex_rotation_status {
    size_t size;       /* set by the caller: sizeof(simplex_rotation_status) */
    int64_t started, completed;
    int64_t failed;    /* aborted for want of a server or of the peer, who has 7 days; tried again
                        * after an hour, then after twice as long each time, at most 7 days */
    int64_t next_at;   /* ms since 1970: not before; 0: none is due, or one is running */
    bool running;      /* of a connection */
} simplex_rotation_status;

/*
 * Sets the policy for all connections of a user, present and to come, that have none of their own.
 * policy NULL: none. The first time of each connection is drawn from 0 to `every`. What is running
 * goes on. SWITCH events tell of each rotation, as if simplex_agent_switch had been called. Errors:
 * NOT_FOUND (no such user), ARG.
 */
SIMPLEX_API simplex_rc simplex_agent_set_rotation(simplex_agent *a, int64_t user,
                                                  const simplex_rotation *policy) SIMPLEX_CHECK;
/* The same for one connection. NULL: as its user's. Errors: NOT_FOUND, PROHIBITED (a contact address
 * cannot be moved), ARG. */
SIMPLEX_API simplex_rc simplex_agent_set_conn_rotation(simplex_agent *a, int64_t conn,
                                                       const simplex_rotation *policy) SIMPLEX_CHECK;

/* The policy of a user, and what became of the rotations of its connections. Either may be NULL;
 * their size is set by the caller. Errors: NOT_FOUND, ARG. */
SIMPLEX_API simplex_rc simplex_agent_rotation(simplex_agent *a, int64_t user,
                                              simplex_rotation *policy,
                                              simplex_rotation_status *status) SIMPLEX_CHECK;
/* The policy that holds for a connection, its own or its user's. Errors: NOT_FOUND, PROHIBITED (a
 * contact address), ARG. */
SIMPLEX_API simplex_rc simplex_agent_conn_rotation(simplex_agent *a, int64_t conn,
                                                   simplex_rotation *policy,
                                                   simplex_rotation_status *status) SIMPLEX_CHECK;

/* ---- redundant queues (docs/protocol-notes.md) ---- */

/*
 * A connection may receive through several queues on different servers. The peer puts each message
 * into all of them; it is shown once, in order, whichever server dies, lies or loses it. Both sides
 * choose for themselves how many they have; each sends to all that the other has. The peer must be
 * an agent of this library: for any other the first queue is used, and the others are deleted after
 * the first messages. A contact address has one queue, and the connection that comes of a request as
 * many as both want. A link of simplex_agent_prepare_short has one, since servers choose the ids of the
 * others: simplex_agent_add_queue when the connection is there.
 */
#define SIMPLEX_QUEUES_MAX 4

typedef struct simplex_connection_options {
    size_t size;    /* set by the caller: sizeof(simplex_connection_options) */
    int32_t queues; /* receiving queues of this connection; 0: as configured */
    int64_t user;   /* of create and join: whose connection it is; 0: the default user's */
} simplex_connection_options;

/* As simplex_agent_create, _join and _accept, with options (NULL: none). Errors also: ARG. */
SIMPLEX_API simplex_rc simplex_agent_create_with(simplex_agent *a, int32_t pq,
                                                 const simplex_connection_options *options,
                                                 int64_t *conn) SIMPLEX_CHECK;
SIMPLEX_API simplex_rc simplex_agent_join_with(simplex_agent *a, simplex_bytes link,
                                               simplex_bytes info, int32_t pq,
                                               const simplex_connection_options *options,
                                               int64_t *conn) SIMPLEX_CHECK;
SIMPLEX_API simplex_rc simplex_agent_accept_with(simplex_agent *a, int64_t request,
                                                 simplex_bytes info, int32_t pq,
                                                 const simplex_connection_options *options,
                                                 int64_t *conn) SIMPLEX_CHECK;

/*
 * One more receiving queue: on `server` (an address as in the configuration), or, when that is
 * empty, on a configured one that the connection does not use yet. *queue: its id. QUEUE with ADDED
 * follows when the peer uses it, REMOVED when it cannot come about. A peer that is not known to use
 * several is asked first; if it does not, the queue waits until simplex_agent_remove_queue, or until
 * enough messages have come without it. Errors: NOT_FOUND, PROHIBITED (not connected, or
 * SIMPLEX_QUEUES_MAX are there), NO_SERVERS (none is left), ADDRESS, ARG.
 */
SIMPLEX_API simplex_rc simplex_agent_add_queue(simplex_agent *a, int64_t conn, simplex_bytes server,
                                               int64_t *queue) SIMPLEX_CHECK;

/*
 * Does without a receiving queue: it is read to its end and deleted on its server, QUEUE with REMOVED
 * follows. The peer finds out by itself. Repeating the call is fine. Errors: NOT_FOUND, PROHIBITED
 * (it is the only one in use, those that their server has lost not counted, or it is being moved).
 */
SIMPLEX_API simplex_rc simplex_agent_remove_queue(simplex_agent *a, int64_t conn,
                                                  int64_t queue) SIMPLEX_CHECK;

/*
 * From now on nobody can send to this connection: the servers of all its receiving queues are told
 * to refuse whatever comes (OFF), and its sender gets MERR with SERVER and AUTH, as if the queue were
 * gone. There is no way back: SMP has no command for it, and the connection gets no other queue any
 * more. What waits on the servers already is still received; sending works as before, except that
 * nothing the peer would answer comes: no receipts, no new ratchet. simplex_agent_delete is for ending
 * both directions. (To stop the whole agent for a while: simplex_agent_suspend.)
 *
 * It goes on over restarts until each server has answered; QUEUE with SUSPENDED follows for each
 * queue. A rotation under way is given up, or when the sender may use the new queue already, ends
 * with the old one read and deleted; queues that are being added are removed. Of a contact address:
 * no more requests come; of an invitation: nobody can join. Repeating the call is fine. Errors:
 * NOT_FOUND, PROHIBITED (not connected yet, and no open invitation or address).
 */
SIMPLEX_API simplex_rc simplex_agent_suspend_queues(simplex_agent *a, int64_t conn) SIMPLEX_CHECK;

/* As simplex_agent_switch, for one of several queues; 0: the first. */
SIMPLEX_API simplex_rc simplex_agent_switch_queue(simplex_agent *a, int64_t conn, int64_t queue,
                                                  simplex_bytes server) SIMPLEX_CHECK;

enum { /* simplex_queue_info.state */
    SIMPLEX_QUEUE_MAKING = 1,  /* its server or the peer has still to do something for it */
    SIMPLEX_QUEUE_WAITING = 2, /* nothing came through it yet: the peer may not use it */
    SIMPLEX_QUEUE_IN_USE = 3,
    SIMPLEX_QUEUE_MOVING = 4,  /* it is being moved, or replaces one that is */
    SIMPLEX_QUEUE_ENDING = 5,  /* it is being removed */
    SIMPLEX_QUEUE_LOST = 6,    /* RCV: its server does not have it, or has blocked it (ERR says which):
                                  move or remove it. Asked anew in each run of the agent */
};

typedef struct simplex_queue_info {
    size_t size;       /* set by the caller: sizeof(simplex_queue_info) */
    int64_t id;        /* among the queues of this direction */
    int32_t direction; /* SIMPLEX_SWITCH_RCV: ours, SIMPLEX_SWITCH_SND: the peer's */
    int32_t state;     /* SIMPLEX_QUEUE_... */
    bool primary;      /* what a peer that uses one queue uses */
    bool subscribed;   /* RCV: the server pushes its messages now */
    char server[288];  /* "host:port" */
    /* RCV, counted while the connection has several queues */
    int64_t received;  /* messages, also those that another queue brought first; no repeats */
    int64_t missed;    /* that others brought and this one lost */
    int64_t behind;    /* that others brought and this one may still bring */
    int64_t last_time; /* when the last one came, ms; 0: none did */
    /* SND */
    int64_t pending;   /* messages that its server does not have yet */
    bool suspended;    /* RCV: its server takes nothing more for it: simplex_agent_suspend_queues */
} simplex_queue_info;

/* The queue number `index`, from 0, of a connection: first its receiving queues, then those it sends
 * to. out->size is set by the caller. Errors: NOT_FOUND (also behind the last), ARG. */
SIMPLEX_API simplex_rc simplex_agent_queue(simplex_agent *a, int64_t conn, size_t index,
                                           simplex_queue_info *out) SIMPLEX_CHECK;

enum { /* simplex_event_switch of QUEUE */
    SIMPLEX_QUEUE_ADDED = 1,   /* RCV: messages come through it; SND: messages go there too */
    SIMPLEX_QUEUE_REMOVED = 2, /* the error says why; UNSUPPORTED: the peer uses the first alone */
    SIMPLEX_QUEUE_SUSPENDED = 3, /* its server takes nothing more; with an error: it refuses that,
                                  * and nothing is tried again */
};

/* Of QUEUE and QMISS: simplex_queue_info.id. 0 for other events. */
SIMPLEX_API int64_t simplex_event_queue_id(const simplex_event *ev);
/* Of QMISS: messages that came through other queues and are lost in this one, all in all; *behind
 * (may be NULL): that this one may still bring. 0 for other events. */
SIMPLEX_API int64_t simplex_event_misses(const simplex_event *ev, int64_t *behind);

/* ---- looking ---- */

enum {
    SIMPLEX_CONN_NEW = 1,       /* being created */
    SIMPLEX_CONN_INVITED = 2,   /* the link is out (a contact address stays in this state) */
    SIMPLEX_CONN_JOINING = 3,   /* joined, waiting for the initiator */
    SIMPLEX_CONN_CONFIRMED = 4, /* CONF was shown, waiting for simplex_agent_allow */
    SIMPLEX_CONN_ACCEPTED = 5,  /* allowed, waiting for the network */
    SIMPLEX_CONN_READY = 6,
    SIMPLEX_CONN_REQUESTED = 7, /* a contact address was asked, waiting for its owner */
    SIMPLEX_CONN_LOOKING = 8,   /* the data of a short link is being read */
    SIMPLEX_CONN_LOOKED = 9,    /* it was read: simplex_agent_join continues */
};

typedef struct simplex_connection_info {
    size_t size;        /* set by the caller: sizeof(simplex_connection_info) */
    int32_t state;      /* SIMPLEX_CONN_... */
    bool initiator;
    bool subscribed;    /* the server pushes its messages now */
    bool pq_snd, pq_rcv; /* a post-quantum secret protects the present sending, receiving chain */
    uint16_t agent_version;
    int64_t last_msg_id; /* last id given to a message, sent or received */
    int64_t pending;     /* messages not delivered yet */
    int64_t sent;        /* number of our last message, those of the protocol included */
    int64_t received;    /* number of the peer's last message that arrived */
    bool address;        /* a contact address, not a connection to somebody */
    int32_t sync_state;  /* SIMPLEX_SYNC_... */
    int32_t rcv_switch;  /* SIMPLEX_SWITCH_...: our queue is being moved, so far; 0: it is not */
    int32_t snd_switch;  /* the same of the queue that the peer receives from */
    int64_t user;        /* whose connection it is */
    bool suspended;      /* simplex_agent_suspend_queues was called */
} simplex_connection_info;

/* What is known about a connection. out->size is set by the caller. Errors: NOT_FOUND, ARG. */
SIMPLEX_API simplex_rc simplex_agent_connection(simplex_agent *a, int64_t conn,
                                                simplex_connection_info *out) SIMPLEX_CHECK;

/* Ids above `after` in ascending order: fills up to *n, sets *n. Start with 0. */
SIMPLEX_API simplex_rc simplex_agent_connections(simplex_agent *a, int64_t after, int64_t *ids,
                                                 size_t *n) SIMPLEX_CHECK;

/*
 * The security code: who has the same code on both screens has no one in between. code: SHA-256 of
 * the associated data of the ratchet. text: the same as a decimal number in groups of five, with a
 * NUL, as other applications of the network show it; NULL: not wanted. It changes when the ratchet
 * is synchronised. Errors: NOT_FOUND,
 * PROHIBITED (the peer's keys are not here yet: not before CONF or INFO).
 */
#define SIMPLEX_CODE_TEXT 96
SIMPLEX_API simplex_rc simplex_agent_security_code(simplex_agent *a, int64_t conn,
                                                   uint8_t code[32],
                                                   char text[SIMPLEX_CODE_TEXT]) SIMPLEX_CHECK;

/*
 * Asks the servers of a connection what they know of its receiving queues: QINFO for each follows,
 * or QINFO with an error. Errors: NOT_FOUND, PROHIBITED (no queue was made yet).
 */
SIMPLEX_API simplex_rc simplex_agent_query_queues(simplex_agent *a, int64_t conn) SIMPLEX_CHECK;

typedef struct simplex_server_status {
    size_t size;       /* set by the caller: sizeof(simplex_server_status) */
    char server[288];  /* "host:port" */
    bool connected;    /* a session is open */
    uint16_t version;  /* of SMP in this session */
    int64_t active;    /* receiving queues that are subscribed */
    int64_t pending;   /* that wait for it */
    int64_t queues;    /* all receiving queues there */
    int64_t user;      /* whose sessions and queues they are */
    /* Counts since the agent was opened: */
    int64_t attempts, sessions;      /* connections tried; those that became sessions */
    int64_t bytes_out, bytes_in;     /* in blocks of 16,384, without TLS and handshakes */
    int64_t subscriptions;           /* asked for, repeats included */
    int64_t received, acknowledged;  /* messages that came, repeats included; ACKs sent */
    int64_t sent, send_errors;       /* messages it took, as the server of a contact or as a proxy
                                      * for one; attempts that failed */
} simplex_server_status;

/* The server number `index`, from 0, of those that the agent has to do with since it was opened;
 * a new one may come before the others. One that has had no queues and nothing to do for an hour is
 * forgotten with its counts, its session is closed (DISCONNECT). out->size is set by the caller.
 * Errors: NOT_FOUND (behind the last), ARG. */
SIMPLEX_API simplex_rc simplex_agent_server(simplex_agent *a, size_t index,
                                            simplex_server_status *out) SIMPLEX_CHECK;

/* A server that blocked a queue of ours (ERR with BLOCKED in its detail) may ask for no new contact
 * addresses for a time: those that would be made there are refused with NOTICE. */
typedef struct simplex_notice {
    size_t size;      /* set by the caller: sizeof(simplex_notice) */
    char server[288]; /* "host:port" */
    int64_t until;    /* ms since 1970; 0: no end is known */
} simplex_notice;

/* The notice number `index`, from 0, of those that hold now. out->size is set by the caller.
 * Errors: NOT_FOUND (behind the last), ARG. */
SIMPLEX_API simplex_rc simplex_agent_notice(simplex_agent *a, size_t index,
                                            simplex_notice *out) SIMPLEX_CHECK;

/* ---- users (sections 8.3, 8.4) ---- */

/*
 * One agent can serve several users (profiles). Each has connections of its own, servers of its own
 * to make queues on, and sessions of its own with servers: nobody who looks on can tell from TCP
 * connections or Tor circuits that two users share an agent. The default user is there from the
 * beginning; functions without a user act for it. A user that was not given a list of servers uses
 * that of the configuration.
 */
#define SIMPLEX_USER_DEFAULT 1

/* A server in the list of a user. */
typedef struct simplex_user_server {
    size_t size;         /* set by the caller: sizeof(simplex_user_server) */
    const char *address; /* as in the configuration, with the password if it has one */
    int64_t operator_id; /* who runs it, a number of the application's choice; 0: not known. Two
                          * servers of one operator see the same as one server would */
    bool enabled;        /* of a list in which none is enabled for a role, all are used for it */
    bool storage;        /* roles: new queues are made there */
    bool proxy;          /*        servers of contacts are written to through it */
    bool preset;         /* came with the application; kept for it, of no meaning here */
} simplex_user_server;

/*
 * Makes a user with this list of servers (NULL, 0: that of the configuration). *user: stable id,
 * never used again. Errors: ARG (also: more than 256), ADDRESS.
 */
SIMPLEX_API simplex_rc simplex_agent_create_user(simplex_agent *a,
                                                 const simplex_user_server *servers, size_t n,
                                                 int64_t *user) SIMPLEX_CHECK;

/*
 * Makes one user a client service to its servers, or an ordinary client again, as `client_service` of
 * the configuration does for all; kept over restarts. Its sessions are closed and opened anew. Errors:
 * NOT_FOUND, PROHIBITED (all users are, or isolation is by connection).
 */
SIMPLEX_API simplex_rc simplex_agent_set_user_service(simplex_agent *a, int64_t user,
                                                      bool on) SIMPLEX_CHECK;

/*
 * Deletes a user and its connections. queues: as simplex_agent_delete does, with DEL_RCVQ and DEL_CONN
 * for each; DEL_USER follows when the last one is gone. Without it they are only forgotten here, at
 * once, and DEL_USER follows: what is left on the servers expires there. Calls with user give
 * NOT_FOUND from now on. A repeat without `queues` ends a deletion that waits for servers. Errors:
 * NOT_FOUND, PROHIBITED (the default user).
 */
SIMPLEX_API simplex_rc simplex_agent_delete_user(simplex_agent *a, int64_t user,
                                                 bool queues) SIMPLEX_CHECK;

/* Ids above `after` in ascending order: fills up to *n, sets *n. Start with 0. */
SIMPLEX_API simplex_rc simplex_agent_users(simplex_agent *a, int64_t after, int64_t *ids,
                                           size_t *n) SIMPLEX_CHECK;

typedef struct simplex_user_info {
    size_t size;         /* set by the caller: sizeof(simplex_user_info) */
    bool active;         /* simplex_agent_activate_user */
    bool own_servers;    /* it was given a list; else it uses the one of the configuration */
    int64_t n_servers;   /* in the list that it uses */
    int64_t servers_version; /* grows by 1 whenever that list becomes another one, also by another
                              * configuration at the next start */
    int64_t servers_changed_at; /* when it did so last: ms since 1970 */
    int64_t created_at;  /* ms since 1970; 0: with the database */
} simplex_user_info;
/* Errors: NOT_FOUND, ARG. */
SIMPLEX_API simplex_rc simplex_agent_user(simplex_agent *a, int64_t user,
                                          simplex_user_info *out) SIMPLEX_CHECK;

/*
 * Replaces the list of servers of a user. From now on queues are made on these: of several the one
 * for a reply or for a rotation is chosen from other operators, and then on other hosts, than those
 * of the connection, if there are any. Queues that exist stay where they are. n 0 with a list that
 * is not NULL: no servers; NULL: that of the configuration again. Errors: NOT_FOUND, ARG (also:
 * more than 256), ADDRESS.
 */
SIMPLEX_API simplex_rc simplex_agent_set_servers(simplex_agent *a, int64_t user,
                                                 const simplex_user_server *servers,
                                                 size_t n) SIMPLEX_CHECK;

/*
 * Server number `index`, from 0, of the list that a user uses. out->address becomes `address`, which
 * gets up to *len characters, the NUL included; *len is set. Errors: NOT_FOUND (no such user, or behind the
 * last), BUFFER (*len is what it needs), ARG.
 */
SIMPLEX_API simplex_rc simplex_agent_user_server(simplex_agent *a, int64_t user, size_t index,
                                                 char *address, size_t *len,
                                                 simplex_user_server *out) SIMPLEX_CHECK;

/* Whose queues are subscribed first when the agent starts: exactly one user, to begin with the
 * default one. Errors: NOT_FOUND. */
SIMPLEX_API simplex_rc simplex_agent_activate_user(simplex_agent *a, int64_t user) SIMPLEX_CHECK;

/* Connections of a user, as simplex_agent_connections. Errors: NOT_FOUND. */
SIMPLEX_API simplex_rc simplex_agent_user_connections(simplex_agent *a, int64_t user, int64_t after,
                                                      int64_t *ids, size_t *n) SIMPLEX_CHECK;

/* As the functions without _as, for a user. Errors: those, and NOT_FOUND (no such user). A connection
 * that is accepted belongs to the user of the address; one that looked at a link, to who looked. */
SIMPLEX_API simplex_rc simplex_agent_create_as(simplex_agent *a, int64_t user, int32_t pq,
                                               int64_t *conn) SIMPLEX_CHECK;
SIMPLEX_API simplex_rc simplex_agent_join_as(simplex_agent *a, int64_t user, simplex_bytes link,
                                             simplex_bytes info, int32_t pq,
                                             int64_t *conn) SIMPLEX_CHECK;
SIMPLEX_API simplex_rc simplex_agent_create_address_as(simplex_agent *a, int64_t user,
                                                       int64_t *conn) SIMPLEX_CHECK;
SIMPLEX_API simplex_rc simplex_agent_create_short_as(simplex_agent *a, int64_t user, int32_t type,
                                                     int32_t pq, const simplex_link_data *data,
                                                     int64_t *conn) SIMPLEX_CHECK;
SIMPLEX_API simplex_rc simplex_agent_prepare_short_as(simplex_agent *a, int64_t user, int32_t type,
                                                      int32_t pq, const simplex_link_data *data,
                                                      int64_t *conn) SIMPLEX_CHECK;
SIMPLEX_API simplex_rc simplex_agent_look_as(simplex_agent *a, int64_t user, simplex_bytes link,
                                             int64_t *conn) SIMPLEX_CHECK;

/* Gives an invitation that nobody has joined to another user: its link stays, its queue is served by
 * the sessions of that user from now on. Errors: NOT_FOUND, PROHIBITED (another state). */
SIMPLEX_API simplex_rc simplex_agent_change_user(simplex_agent *a, int64_t conn,
                                                 int64_t user) SIMPLEX_CHECK;

/* ---- the agent as a whole ---- */

/*
 * Connect now what waits, without waiting for the end of a back-off, and ask sessions that seem to
 * be alive whether they are: for when the application comes to the front. Errors: SUSPENDED.
 */
SIMPLEX_API simplex_rc simplex_agent_reconnect(simplex_agent *a) SIMPLEX_CHECK;

/* Closes the sessions of a user, or its session with one server ("host:port" as events name it, or an
 * address; NULL: all), and makes them anew if they are needed: DOWN and UP follow. Errors: NOT_FOUND
 * (no such user, or no session with this server), SUSPENDED. */
SIMPLEX_API simplex_rc simplex_agent_reconnect_user(simplex_agent *a, int64_t user,
                                                    const char *server) SIMPLEX_CHECK;

enum { /* simplex_agent_set_network */
    SIMPLEX_NET_NONE = 0,
    SIMPLEX_NET_CELLULAR = 1, /* time limits are half as long again, noise has a budget of its own */
    SIMPLEX_NET_WIFI = 2,
    SIMPLEX_NET_ETHERNET = 3,
    SIMPLEX_NET_OTHER = 4, /* to begin with, online */
};

/*
 * What the device says about its network. While it is NONE or not `online` nothing is tried, for half
 * an hour at most: the device may be wrong. Then, when the network changed, and when it is back,
 * everything that waits is connected at once. Messages are taken for sending all the while. "Offline"
 * less than 2 seconds after the last call takes effect when these are over. Kept until the agent is
 * closed. Errors: ARG.
 */
SIMPLEX_API simplex_rc simplex_agent_set_network(simplex_agent *a, int32_t network,
                                                 bool online) SIMPLEX_CHECK;

/*
 * Before the system may freeze the process. For up to ms: no more messages are taken from servers, what
 * is to be sent is delivered, commands and acknowledgements are answered, the events of all this are
 * shown. Then everything is on disk, the sessions are closed, and SUSPENDED is shown. ms 0: at once,
 * without an event; inside the callback it happens when that returns.
 *
 * From then on nothing is written or sent and no event is shown until simplex_agent_resume; calls that
 * would change something give SUSPENDED. The file stays locked. Nothing is lost: what did not get
 * through goes on then, messages stay on their servers. Connections are not subscribed meanwhile,
 * though no DOWN says so. Pulled events may be freed at any time. Errors: ARG, PROHIBITED (read-only),
 * those of the database (it is under way all the same).
 */
SIMPLEX_API simplex_rc simplex_agent_suspend(simplex_agent *a, int64_t ms) SIMPLEX_CHECK;

/* Goes on after simplex_agent_suspend, or calls it off while it is under way: UP tells what is
 * subscribed again. A repeat is fine. */
SIMPLEX_API simplex_rc simplex_agent_resume(simplex_agent *a) SIMPLEX_CHECK;

enum { /* steps of the test of a server */
    SIMPLEX_TEST_CONNECT = 1,
    SIMPLEX_TEST_CREATE = 2,     /* a queue: needs the right password, if there is one */
    SIMPLEX_TEST_SECURE = 3,
    SIMPLEX_TEST_DELETE = 4,
    SIMPLEX_TEST_DISCONNECT = 5,
};

/*
 * Tests whether `server` (an address as in the configuration, of a list or not) can be used: in a
 * session of its own a queue is made, secured and deleted. TEST with the number *test follows, with
 * an error and the step that failed, or with OK. user: whose circuits are used. Errors: ADDRESS,
 * NOT_FOUND (no such user), PROHIBITED (16 are under way, or read-only), SUSPENDED, ARG.
 */
SIMPLEX_API simplex_rc simplex_agent_test_server(simplex_agent *a, int64_t user, const char *server,
                                                 int64_t *test) SIMPLEX_CHECK;

/* Changes the key of the database. On failure the old one stays. Inside on_event this and
 * simplex_agent_backup first commit what was done there so far; the event is handled when on_event
 * returns, as ever. Errors: ARG, PROHIBITED (read-only), SUSPENDED, those of the database. */
SIMPLEX_API simplex_rc simplex_agent_rekey(simplex_agent *a, simplex_bytes key,
                                           bool raw_key) SIMPLEX_CHECK;

/*
 * A copy of the whole database in a new file, while the agent works: it has what was promised when
 * the call began, and the agent waits until it is written (some seconds for a gigabyte). key: of the
 * copy; the agent's own or another one, which tells nothing about the agent's. It appears under its
 * name whole and checked: a crash before leaves PATH.part. Errors: ARG, PROHIBITED (there is a file
 * of this name), SUSPENDED, DB_FULL, DB_IO (nothing is left of it).
 *
 * Two agents must never run from one database and its copy. After restoring one, ratchets that went
 * on since have to be synchronised (RSYNC).
 */
SIMPLEX_API simplex_rc simplex_agent_backup(simplex_agent *a, const char *path, simplex_bytes key,
                                            bool raw_key) SIMPLEX_CHECK;

/*
 * Puts a copy that simplex_agent_backup made in the place of the database of a closed agent, which
 * keeps its file and its key db_key; where there is no file, one is made with that key. The copy is
 * read through and checked before, and stays. It happens as a whole or, on failure and after a crash,
 * not at all. A database that is damaged, or whose key is lost, is moved away first (with the file
 * -wal beside it). Errors: ARG (also: one path for both), DB_KEY (either file), DB_SCHEMA (the copy is of a newer release, or
 * of something else), DB_DAMAGED, DB_LOCKED (an agent has one of them open), DB_FULL, DB_IO, NOMEM.
 */
SIMPLEX_API simplex_rc simplex_agent_restore(const char *path, simplex_bytes key, bool raw_key,
                                             const char *db_path, simplex_bytes db_key,
                                             bool db_raw_key) SIMPLEX_CHECK;

/* ---- events (section 9) ---- */

/* A contact could cause some of these without end: ERR, RSYNC, SWITCH, QUEUE, QMISS, RCVD. While 64
 * of them are not handled (or messages not acknowledged) its further messages stay on their
 * servers. */
enum {
    SIMPLEX_EV_INV = 1,         /* durable; conn, data = link */
    SIMPLEX_EV_JOINED = 2,      /* durable; conn: the confirmation is on its way to the initiator */
    SIMPLEX_EV_CONF = 3,        /* durable; conn, conf, data = the joiner's information, pq */
    SIMPLEX_EV_INFO = 4,        /* durable; conn, data = the initiator's information, pq */
    SIMPLEX_EV_CON = 5,         /* durable; conn, pq: connected */
    SIMPLEX_EV_MSG = 6,         /* until acknowledged; conn, msg_id, data = body, integrity ... */
    SIMPLEX_EV_SENT = 7,        /* durable; conn, msg_id: the server has the message; server: the
                                 * proxy that passed it on, NULL when it was sent directly */
    SIMPLEX_EV_MWARN = 8,       /* conn, msg_id, error: delivery delayed, goes on */
    SIMPLEX_EV_MERR = 9,        /* durable; conn, msg_id, error: will not be delivered */
    SIMPLEX_EV_QCONT = 10,      /* conn: the peer emptied its queue, delivery goes on */
    SIMPLEX_EV_UP = 11,         /* server, conns: subscribed */
    SIMPLEX_EV_DOWN = 12,       /* server, conns, error: not subscribed until UP */
    SIMPLEX_EV_CONNECT = 13,    /* server */
    SIMPLEX_EV_DISCONNECT = 14, /* server, error */
    SIMPLEX_EV_END = 15,        /* durable; conn: another client subscribed to its queue */
    SIMPLEX_EV_DELD = 16,       /* durable; conn: its queue was deleted by another client */
    SIMPLEX_EV_DEL_RCVQ = 17,   /* durable; conn, server, error (OK when deleted there) */
    SIMPLEX_EV_DEL_CONN = 18,   /* durable; conn: nothing is left of it */
    SIMPLEX_EV_ERR = 19,        /* durable when conn is set; conn, error, detail: see the text */
    SIMPLEX_EV_REQ = 20,        /* durable; conn = address, request, data = information, pq */
    SIMPLEX_EV_RSYNC = 21,      /* durable; conn, sync_state, error (why it got worse), detail */
    SIMPLEX_EV_SWITCH = 22,     /* durable; conn, server of the new queue, direction and phase */
    SIMPLEX_EV_QINFO = 29,      /* conn, server, error: see simplex_event_queue */
    SIMPLEX_EV_RCVD = 30,       /* durable; conn, msg_id: the peer's application has the message */
    SIMPLEX_EV_LINK = 40,       /* durable; conn, data = short link; empty: it was deleted */
    SIMPLEX_EV_QMISS = 70,      /* durable; conn, server, queue_id, misses: this queue misses messages
                                 * that came through others; behind 0: all that was late has come */
    SIMPLEX_EV_QUEUE = 71,      /* durable; conn, server, queue_id, switch = direction and what
                                 * happened (SIMPLEX_QUEUE_...), error: a queue more or less */
    SIMPLEX_EV_LDATA = 41,      /* durable; conn, data = the application's, server, link info */
    SIMPLEX_EV_DEL_USER = 50,   /* durable; user: nothing is left of it */
    SIMPLEX_EV_TEST = 51,       /* test, user, server, error and step of a failure, detail */
    SIMPLEX_EV_SUSPENDED = 52,  /* nothing is written or sent until simplex_agent_resume */
    SIMPLEX_EV_NOTIFIER = 60,   /* durable; conn, server, data = id of a notifier that was made;
                                 * empty: it was deleted, or (error, detail) refused */
    SIMPLEX_EV_FETCHED = 61,    /* conn, msg_id of the message (0: there is none for the
                                 * application), count of all that came, error, detail; behind
                                 * its MSG and durable when there is one */
    SIMPLEX_EV_MSGNTF = 62,     /* conn, data = the server's id of a message, server time (0:
                                 * unknown): it was fetched, and its ACK has reached the server */
    SIMPLEX_EV_SERVICE_UP = 63,   /* server, count: the queues of the client service there are
                                   * subscribed; error RESPONSE: the server has others than we
                                   * know, each is subscribed by itself now */
    SIMPLEX_EV_SERVICE_DOWN = 64, /* server, count, error: not any more; SERVER (detail) or
                                   * HANDSHAKE: it refuses the service */
    SIMPLEX_EV_SERVICE_ALL = 65,  /* server: what waited in its queues has been delivered */
    SIMPLEX_EV_SERVICE_END = 66,  /* server, count: another client with this certificate has them
                                   * now; simplex_agent_subscribe takes each back */
    SIMPLEX_EV_PEEKED = 67,       /* conn, server, count (1: a message waits), data = its body; empty:
                                   * it is none of the application's; msg_id when this agent has
                                   * received it already; sender id, server time, notify, pq, error */
};

enum { /* simplex_event_receipt */
    SIMPLEX_RECEIPT_OK = 1,
    SIMPLEX_RECEIPT_BAD_HASH = 2, /* what the peer got under this number is not what was sent */
};

enum { /* whose queue moves */
    SIMPLEX_SWITCH_RCV = 1, /* ours: simplex_agent_switch */
    SIMPLEX_SWITCH_SND = 2, /* the one we send to: the peer moves it */
};

enum { /* how far it is */
    SIMPLEX_SWITCH_STARTED = 1,   /* RCV: the queue exists, the peer is told; SND: we were told */
    SIMPLEX_SWITCH_CONFIRMED = 2, /* the sender's keys for it have arrived */
    SIMPLEX_SWITCH_SECURED = 3,   /* they are set; the sender begins to use it */
    SIMPLEX_SWITCH_COMPLETED = 4, /* RCV: the old queue was read to its end and deleted; SND: the
                                     new one took its first message */
    SIMPLEX_SWITCH_ABORTED = 5,   /* the old queue stays; error, detail: why (OK: abort_switch) */
};

enum { /* integrity of a message: what its number and the hash of its predecessor say */
    SIMPLEX_MSG_OK = 0,
    SIMPLEX_MSG_SKIPPED = 1,   /* gap_first .. gap_last (the sender's numbers) are missing */
    SIMPLEX_MSG_BAD_ID = 2,    /* older than the last one: number in gap_first */
    SIMPLEX_MSG_DUPLICATE = 3, /* the last number again */
    SIMPLEX_MSG_BAD_HASH = 4,  /* right number, another predecessor than we know */
};

/* All accessors: ev not NULL; what an event does not carry is 0, empty or NULL. */
SIMPLEX_API int32_t simplex_event_kind(const simplex_event *ev);      /* SIMPLEX_EV_... */
SIMPLEX_API const char *simplex_event_name(const simplex_event *ev);  /* "MSG" */
SIMPLEX_API int64_t simplex_event_conn(const simplex_event *ev);
SIMPLEX_API int64_t simplex_event_msg_id(const simplex_event *ev);
SIMPLEX_API int64_t simplex_event_conf(const simplex_event *ev);
SIMPLEX_API int64_t simplex_event_request(const simplex_event *ev);
SIMPLEX_API int64_t simplex_event_count(const simplex_event *ev); /* FETCHED, PEEKED, SERVICE_... */
SIMPLEX_API int32_t simplex_event_sync_state(const simplex_event *ev); /* SIMPLEX_SYNC_... */
SIMPLEX_API simplex_bytes simplex_event_data(const simplex_event *ev); /* lives as long as ev */
SIMPLEX_API simplex_rc simplex_event_error(const simplex_event *ev);
SIMPLEX_API const char *simplex_event_detail(const simplex_event *ev); /* what the server said */
SIMPLEX_API const char *simplex_event_server(const simplex_event *ev); /* "host:port" */
SIMPLEX_API bool simplex_event_pq(const simplex_event *ev);
SIMPLEX_API int32_t simplex_event_receipt(const simplex_event *ev); /* SIMPLEX_RECEIPT_..., RCVD */

enum { /* what the server does for our subscription of a receiving queue */
    SIMPLEX_QUEUE_NO_SUB = 0,     /* there is none in this session */
    SIMPLEX_QUEUE_IDLE = 1,       /* subscribed; the usual state, also with a message delivered */
    SIMPLEX_QUEUE_PENDING = 2,    /* a delivery is being started */
    SIMPLEX_QUEUE_DELIVERING = 3, /* a delivery waits for the network */
    SIMPLEX_QUEUE_GET_ONLY = 4,   /* single messages are fetched */
};

typedef struct simplex_queue_status {
    size_t size;           /* set by the caller: sizeof(simplex_queue_status) */
    bool secured;          /* has the key of its sender */
    bool notifier;         /* has a notifier */
    int32_t subscription;  /* SIMPLEX_QUEUE_... */
    bool delivered;        /* the oldest message was delivered and is not acknowledged */
    int64_t messages;      /* waiting, with the marker of a full queue */
    bool full;             /* the oldest is that marker */
} simplex_queue_status;

/* What a QINFO without error says. Errors: ARG (another event, or out->size is wrong). */
SIMPLEX_API simplex_rc simplex_event_queue(const simplex_event *ev,
                                           simplex_queue_status *out) SIMPLEX_CHECK;
SIMPLEX_API bool simplex_event_notify(const simplex_event *ev);
SIMPLEX_API int32_t simplex_event_integrity(const simplex_event *ev, int64_t *gap_first,
                                            int64_t *gap_last); /* pointers may be NULL */
SIMPLEX_API int32_t simplex_event_switch(const simplex_event *ev,
                                         int32_t *direction); /* phase; pointer may be NULL */
SIMPLEX_API int64_t simplex_event_sender_id(const simplex_event *ev); /* the sender's number */
SIMPLEX_API int64_t simplex_event_server_time(const simplex_event *ev); /* ms since 1970 */
SIMPLEX_API const int64_t *simplex_event_conns(const simplex_event *ev, size_t *n);
/* Of TEST: its number, and the step that failed (SIMPLEX_TEST_..., 0: none; pointer may be NULL). */
SIMPLEX_API int64_t simplex_event_test(const simplex_event *ev, int32_t *step);
/* Of DEL_USER, TEST, UP, DOWN, CONNECT, DISCONNECT: whose sessions they are about. */
SIMPLEX_API int64_t simplex_event_user(const simplex_event *ev);
/* Of LDATA: what was read, verified. Slices live as long as ev. */
typedef struct simplex_link_info {
    size_t size;          /* set by the caller: sizeof(simplex_link_info) */
    int32_t type;         /* SIMPLEX_LINK_... */
    bool direct;          /* one may connect to it */
    simplex_bytes link;   /* the full link */
    simplex_bytes root_key; /* Ed25519 public key of its maker: 32 bytes */
    simplex_bytes entity; /* id that its maker gave to what it is for; mostly empty */
    size_t n_owners, n_relays;
} simplex_link_info;
/* Errors: ARG, PROHIBITED (another kind of event). */
SIMPLEX_API simplex_rc simplex_event_link_info(const simplex_event *ev,
                                               simplex_link_info *out) SIMPLEX_CHECK;
/* Owner or relay number n. Errors: ARG, PROHIBITED, NOT_FOUND (no such), BUFFER (*len is set). */
SIMPLEX_API simplex_rc simplex_event_link_owner(const simplex_event *ev, size_t n,
                                                simplex_link_owner *out) SIMPLEX_CHECK;
SIMPLEX_API simplex_rc simplex_event_link_relay(const simplex_event *ev, size_t n, char *to,
                                                size_t *len) SIMPLEX_CHECK;
/* JSON object in UTF-8, {"event":"MSG","conn":1,...}; data is base64url. Lives as long as ev. NULL
 * when out of memory. Not const in spirit: one thread at a time. */
SIMPLEX_API const char *simplex_event_json(const simplex_event *ev);

/*
 * Pull mode: waits up to timeout_ms (0: not at all, < 0: for ever) and hands over the next event.
 * The host frees it with simplex_event_free, which is also what tells the agent that a durable
 * event was handled: until then it is shown again after a restart. Errors: NO_EVENT, CLOSED,
 * PROHIBITED (a callback is configured).
 */
SIMPLEX_API simplex_rc simplex_agent_next_event(simplex_agent *a, int64_t timeout_ms,
                                                simplex_event **ev) SIMPLEX_CHECK;
SIMPLEX_API void simplex_event_free(simplex_event *ev); /* only pulled events; NULL is fine */

/* ---- noise traffic ---- */

/*
 * From now on, until it is set again or the agent is closed; what was configured counts again at
 * the next start. When loops are turned off their queues are deleted on the servers, as soon as these
 * can be reached. noise: copied; NULL: none. Errors: ARG (a budget below the least, unknown kinds).
 */
SIMPLEX_API simplex_rc simplex_agent_set_noise(simplex_agent *a,
                                               const simplex_noise *noise) SIMPLEX_CHECK;

typedef struct simplex_noise_count {
    int64_t bytes;     /* of noise: what its commands and their answers take on the wire */
    int64_t pings, loops, repeats; /* sent; of loops also what makes and deletes their queues */
    int64_t messages;  /* of the application and of the protocol, sent meanwhile */
    int64_t replaced;  /* noise that was left out for them */
} simplex_noise_count;

typedef struct simplex_noise_stats {
    size_t size;               /* set by the caller: sizeof(simplex_noise_stats) */
    simplex_noise_count hour;  /* the last 60 minutes */
    simplex_noise_count total; /* since the agent was opened */
    int64_t queues;            /* that loops go through at present */
} simplex_noise_stats;

/* Errors: ARG. */
SIMPLEX_API simplex_rc simplex_agent_noise_stats(simplex_agent *a,
                                                 simplex_noise_stats *stats) SIMPLEX_CHECK;

#ifdef __cplusplus
}
#endif
#endif
