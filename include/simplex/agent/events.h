/* SPDX-License-Identifier: Apache-2.0 */
/* Part of simplex/agent.h: all events, what each carries, and how they are pulled. */
#ifndef SIMPLEX_AGENT_EVENTS_H
#define SIMPLEX_AGENT_EVENTS_H

#include "simplex/agent/connect.h"

#ifdef __cplusplus
extern "C" {
#endif

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
    SIMPLEX_EV_END = 15,        /* durable; conn, server: another client subscribed to its queue
                                 * there */
    SIMPLEX_EV_DELD = 16,       /* durable; conn, server: its queue there was deleted by another
                                 * client */
    SIMPLEX_EV_DEL_RCVQ = 17,   /* durable; conn, server, error (OK when deleted there) */
    SIMPLEX_EV_DEL_CONN = 18,   /* durable; conn: nothing is left of it */
    SIMPLEX_EV_ERR = 19,        /* durable when conn is set; conn, error, detail: see the text;
                                 * server: which one has not the receiving queue any more, or did
                                 * not delete it after a move */
    SIMPLEX_EV_REQ = 20,        /* durable; conn = address, request, data = information, pq */
    SIMPLEX_EV_RSYNC = 21,      /* durable; conn, sync_state, error (why it got worse), detail */
    SIMPLEX_EV_SWITCH = 22,     /* durable; conn, server of the new queue, direction and phase */
    SIMPLEX_EV_QINFO = 29,      /* conn, server, error: see simplex_event_queue */
    SIMPLEX_EV_RCVD = 30,       /* durable; conn, msg_id: the peer's application has the message */
    SIMPLEX_EV_LINK = 40,       /* durable; conn, data = short link; empty: it was deleted */
    SIMPLEX_EV_QMISS = 70,      /* durable; conn, server, queue_id, misses: this queue misses
                                 * messages that came through others; behind 0: all that was late
                                 * has come */
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
    SIMPLEX_EV_PEEKED = 67,       /* conn, server, count (1: a message waits), data = its body;
                                   * empty: it is none of the application's; msg_id when this
                                   * agent has received it already; sender id, server time, notify,
                                   * pq, error */
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
/* Of TEST: its number, and the step that failed (SIMPLEX_TEST_..., 0: none; step may be NULL). */
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

#ifdef __cplusplus
}
#endif
#endif
