/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Part of simplex/agent.h: the agent in the network: reconnecting, what the device knows about its
 * network, suspending, and the servers: testing one, how each is doing, their notices.
 */
#ifndef SIMPLEX_AGENT_NETWORK_H
#define SIMPLEX_AGENT_NETWORK_H

#include "simplex/agent/handles.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the agent as a whole ---- */

/*
 * Connect now what waits, without waiting for the end of a back-off, and ask sessions that seem to
 * be alive whether they are: for when the application comes to the front. Errors: SUSPENDED.
 */
SIMPLEX_API simplex_rc simplex_agent_reconnect(simplex_agent *a) SIMPLEX_CHECK;

/* Closes the sessions of a user, or its session with one server ("host:port" as events name it, or
 * an address; NULL: all), and makes them anew if they are needed: DOWN and UP follow. Errors:
 * NOT_FOUND (no such user, or no session with this server), SUSPENDED. */
SIMPLEX_API simplex_rc simplex_agent_reconnect_user(simplex_agent *a, int64_t user,
                                                    const char *server) SIMPLEX_CHECK;

enum { /* simplex_agent_set_network */
    SIMPLEX_NET_NONE = 0,
    SIMPLEX_NET_CELLULAR = 1, /* time limits are half as long again, noise has its own budget */
    SIMPLEX_NET_WIFI = 2,
    SIMPLEX_NET_ETHERNET = 3,
    SIMPLEX_NET_OTHER = 4, /* to begin with, online */
};

/*
 * What the device says about its network. While it is NONE or not `online` nothing is tried, for
 * half an hour at most: the device may be wrong. Then, when the network changed, and when it is
 * back, everything that waits is connected at once. Messages are taken for sending all the while.
 * "Offline" less than 2 seconds after the last call takes effect when these are over. Kept until
 * the agent is closed. Errors: ARG.
 */
SIMPLEX_API simplex_rc simplex_agent_set_network(simplex_agent *a, int32_t network,
                                                 bool online) SIMPLEX_CHECK;

/*
 * Before the system may freeze the process. For up to ms: no more messages are taken from servers,
 * what is to be sent is delivered, commands and acknowledgements are answered, the events of all
 * this are shown. Then everything is on disk, the sessions are closed, and SUSPENDED is shown. ms
 * 0: at once, without an event; inside the callback it happens when that returns.
 *
 * From then on nothing is written or sent and no event is shown until simplex_agent_resume; calls
 * that would change something give SUSPENDED. The file stays locked. Nothing is lost: what did not
 * get through goes on then, messages stay on their servers. Connections are not subscribed
 * meanwhile, though no DOWN says so. Pulled events may be freed at any time. Errors: ARG,
 * PROHIBITED (read-only), NOMEM (nothing was begun), those of the database (it is under way all the
 * same).
 */
SIMPLEX_API simplex_rc simplex_agent_suspend(simplex_agent *a, int64_t ms) SIMPLEX_CHECK;

/* Goes on after simplex_agent_suspend, or calls it off while it is under way: UP tells what is
 * subscribed again. A repeat is fine. */
SIMPLEX_API simplex_rc simplex_agent_resume(simplex_agent *a) SIMPLEX_CHECK;

/* ---- servers ---- */

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
 * NOT_FOUND (no such user), PROHIBITED (16 are under way, or read-only), SUSPENDED, ARG, NOMEM.
 */
SIMPLEX_API simplex_rc simplex_agent_test_server(simplex_agent *a, int64_t user, const char *server,
                                                 int64_t *test) SIMPLEX_CHECK;

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

#ifdef __cplusplus
}
#endif
#endif
