/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Part of simplex/agent.h: the connections there are: what is known about them, their security
 * code, a new ratchet when the two sides do not understand each other any more, their end.
 */
#ifndef SIMPLEX_AGENT_CONNECTION_H
#define SIMPLEX_AGENT_CONNECTION_H

#include "simplex/agent/handles.h"

#ifdef __cplusplus
extern "C" {
#endif

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
 * or QINFO with an error. Errors: NOT_FOUND, PROHIBITED (no queue was made yet), NOMEM, SUSPENDED;
 * then none of them is asked.
 */
SIMPLEX_API simplex_rc simplex_agent_query_queues(simplex_agent *a, int64_t conn) SIMPLEX_CHECK;

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

/* ---- deleting ---- */

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

#ifdef __cplusplus
}
#endif
#endif
