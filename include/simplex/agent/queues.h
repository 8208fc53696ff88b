/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Part of simplex/agent.h: the queues behind a connection: moving them to other servers, by hand or
 * by a policy, and having several of them at a time.
 */
#ifndef SIMPLEX_AGENT_QUEUES_H
#define SIMPLEX_AGENT_QUEUES_H

#include "simplex/agent/handles.h"

#ifdef __cplusplus
extern "C" {
#endif

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
 * way is shown as ERR (PROHIBITED, detail "QK"). Errors: NOT_FOUND, PROHIBITED (too late, or
 * nothing to abort).
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
    int64_t spread;   /* ms over which what became due by messages or server is spread; 0: an
                       * hour */
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
/* The same for one connection. NULL: as its user's. Errors: NOT_FOUND, PROHIBITED (a contact
 * address cannot be moved), ARG. */
SIMPLEX_API simplex_rc
simplex_agent_set_conn_rotation(simplex_agent *a, int64_t conn,
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
 * the first messages. A contact address has one queue, and the connection that comes of a request
 * as many as both want. A link of simplex_agent_prepare_short has one, since servers choose the ids
 * of the others: simplex_agent_add_queue when the connection is there.
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
 * several is asked first; if it does not, the queue waits until simplex_agent_remove_queue, or
 * until enough messages have come without it. Errors: NOT_FOUND, PROHIBITED (not connected, or
 * SIMPLEX_QUEUES_MAX are there), NO_SERVERS (none is left), ADDRESS, ARG.
 */
SIMPLEX_API simplex_rc simplex_agent_add_queue(simplex_agent *a, int64_t conn, simplex_bytes server,
                                               int64_t *queue) SIMPLEX_CHECK;

/*
 * Does without a receiving queue: it is read to its end and deleted on its server, QUEUE with
 * REMOVED follows. The peer finds out by itself. Repeating the call is fine. Errors: NOT_FOUND,
 * PROHIBITED (it is the only one in use, those that their server has lost not counted, or it is
 * being moved).
 */
SIMPLEX_API simplex_rc simplex_agent_remove_queue(simplex_agent *a, int64_t conn,
                                                  int64_t queue) SIMPLEX_CHECK;

/*
 * From now on nobody can send to this connection: the servers of all its receiving queues are told
 * to refuse whatever comes (OFF), and its sender gets MERR with SERVER and AUTH, as if the queue
 * were gone. There is no way back: SMP has no command for it, and the connection gets no other
 * queue any more. What waits on the servers already is still received; sending works as before,
 * except that nothing the peer would answer comes: no receipts, no new ratchet.
 * simplex_agent_delete is for ending both directions. (To stop the whole agent for a while:
 * simplex_agent_suspend.)
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
    SIMPLEX_QUEUE_MOVING = 4, /* it is being moved, or replaces one that is */
    SIMPLEX_QUEUE_ENDING = 5, /* it is being removed */
    SIMPLEX_QUEUE_LOST = 6,   /* RCV: its server does not have it, or has blocked it (ERR says
                               * which): move or remove it. Asked anew in each run of the agent */
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

/* The queue number `index`, from 0, of a connection: first its receiving queues, then those it
 * sends to. out->size is set by the caller. Errors: NOT_FOUND (also behind the last), ARG. */
SIMPLEX_API simplex_rc simplex_agent_queue(simplex_agent *a, int64_t conn, size_t index,
                                           simplex_queue_info *out) SIMPLEX_CHECK;

enum { /* simplex_event_switch of QUEUE */
    SIMPLEX_QUEUE_ADDED = 1,     /* RCV: messages come through it; SND: messages go there too */
    SIMPLEX_QUEUE_REMOVED = 2,   /* the error says why; UNSUPPORTED: the peer uses only the first */
    SIMPLEX_QUEUE_SUSPENDED = 3, /* its server takes nothing more; with an error: it refuses that,
                                  * and nothing is tried again */
};

/* Of QUEUE and QMISS: simplex_queue_info.id. 0 for other events. */
SIMPLEX_API int64_t simplex_event_queue_id(const simplex_event *ev);
/* Of QMISS: messages that came through other queues and are lost in this one, all in all; *behind
 * (may be NULL): that this one may still bring. 0 for other events. */
SIMPLEX_API int64_t simplex_event_misses(const simplex_event *ev, int64_t *behind);

#ifdef __cplusplus
}
#endif
#endif
