/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Part of simplex/agent.h: push notifications, and fetching or looking at single messages without
 * being subscribed, as a device does that was woken by one.
 */
#ifndef SIMPLEX_AGENT_PUSH_H
#define SIMPLEX_AGENT_PUSH_H

#include "simplex/agent/handles.h"

#ifdef __cplusplus
extern "C" {
#endif

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
    uint8_t secret[32];      /* stays here: opens what is in a push (simplex_agent_open_push) */
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
 * received before, MSGNTF tells; not when the session ends before the answer. Fetching again before
 * that brings the same message, which is not shown again. FETCHED has PROHIBITED for a connection
 * that is subscribed or has no queue yet, NOT_FOUND for one that does not exist, and why the server
 * could not be asked (nothing is tried again). Errors: PROHIBITED (read_only: see
 * simplex_agent_peek), SUSPENDED, NOMEM (none of them is fetched), ARG.
 */
SIMPLEX_API simplex_rc simplex_agent_fetch(simplex_agent *a, const int64_t *conns,
                                           size_t n) SIMPLEX_CHECK;

/*
 * With read_only: looks at the message that waits, without acknowledging it or writing anything.
 * The agent that is opened later receives it as if nobody had looked. PEEKED follows for each
 * receiving queue. Errors: NOT_FOUND, PROHIBITED (not read_only, or there is no queue yet), NOMEM;
 * then none of them is asked.
 */
SIMPLEX_API simplex_rc simplex_agent_peek(simplex_agent *a, int64_t conn) SIMPLEX_CHECK;

/* While on, connections and addresses that are made, joined or accepted are not subscribed, as if
 * simplex_agent_subscribe(conn, false) had been called before their server is asked. Until the
 * agent is closed. */
SIMPLEX_API simplex_rc simplex_agent_only_create(simplex_agent *a, bool on) SIMPLEX_CHECK;

#ifdef __cplusplus
}
#endif
#endif
