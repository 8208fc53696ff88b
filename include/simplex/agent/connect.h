/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Part of simplex/agent.h: how two people become connected: by an invitation, through a contact
 * address, and the short links of either. simplex/agent.h shows the order of the calls.
 */
#ifndef SIMPLEX_AGENT_CONNECT_H
#define SIMPLEX_AGENT_CONNECT_H

#include "simplex/agent/handles.h"

#ifdef __cplusplus
extern "C" {
#endif

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

/* The invitation link again, while nobody has joined; the link of a contact address at any time.
 * Writes up to *len characters and no NUL, sets *len. Errors: NOT_FOUND, PROHIBITED (not an open
 * invitation), BUFFER (*len is set). */
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
/* A repeat is fine; where the queue is there already, prepared or not, nothing is left to do.
 * Errors: NOT_FOUND, PROHIBITED (it is being made without having been prepared, or is in use),
 * NOTICE (an address, see simplex_agent_notice). */
SIMPLEX_API simplex_rc simplex_agent_publish(simplex_agent *a, int64_t conn) SIMPLEX_CHECK;

/* The short link again, while nobody has joined; of an address at any time. Writes up to *len
 * characters and no NUL, sets *len. Errors: NOT_FOUND, PROHIBITED (it has none, or not yet),
 * BUFFER (*len is set). */
SIMPLEX_API simplex_rc simplex_agent_short_link(simplex_agent *a, int64_t conn, char *to,
                                                size_t *len) SIMPLEX_CHECK;

/*
 * Replaces the data behind a short link; the link stays. An address that has no short link gets
 * one. LINK follows when the server has the data, or ERR: with AUTH also when the server has a link
 * of this address that an old copy of the database does not know; then delete it first
 * (simplex_agent_delete_link_data). Of several calls in a row the last one counts. Errors:
 * NOT_FOUND, PROHIBITED (an invitation without a short link, or used; a link that is being
 * deleted), and those of simplex_agent_create_short.
 */
SIMPLEX_API simplex_rc simplex_agent_set_link_data(simplex_agent *a, int64_t conn,
                                                   const simplex_link_data *data) SIMPLEX_CHECK;

/* Takes the data off the server: the short link leads nowhere from then on, the full link and the
 * connection stay. LINK without data follows, or ERR. An address may have one on its server that
 * the database does not know: that goes too. Errors: NOT_FOUND, PROHIBITED (an invitation without a
 * short link, or used; nothing is on the server yet). */
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

#ifdef __cplusplus
}
#endif
#endif
