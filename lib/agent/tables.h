/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The runtime tables: what the network is doing right now for servers, queues and connections.
 * What matters longer is in the database; all of this can be thrown away at any time.
 */
#ifndef SX_AGENT_TABLES_H
#define SX_AGENT_TABLES_H

#include "client/smp_client.h"
#include "simplex/agent.h"
#include "store/store.h"

enum sx_sub_state { SX_SUB_NONE, SX_SUB_PENDING, SX_SUB_SENT, SX_SUB_ACTIVE };

#define SX_USER_SERVERS_MAX 256

struct sx_user_server; /* users.h */
struct sx_user;
struct sx_server_list {
    struct sx_user_server *v; /* owned */
    size_t n;
};

/* Servers that have been tried in vain, by their place in a list of a certain version. */
struct sx_tried {
    int64_t version;
    uint8_t places[SX_USER_SERVERS_MAX / 8];
};

struct sx_served { /* counts, since the agent was opened */
    uint64_t subs, received, acks; /* commands SUB and ACK sent, messages that came */
    uint64_t sent, send_errors;    /* answers to SEND, here or through this proxy */
};

struct sx_rt_server { /* one per user and server that a queue of theirs or of a contact is on */
    struct sx_rt_server *next;
    int64_t user;
    struct sx_client *client;
    struct sx_rt_service *service; /* that we are to it; NULL: none (services.c) */
    bool no_service;           /* nor is one wanted */
    struct sx_rt_rcvq *queues; /* receiving queues there */
    size_t n_pending, n_sent, n_active;
    int64_t used_at;           /* mono ms: when something was last to be sent there (idle.c) */
    bool in_use;               /* somebody holds a pointer to it; only while idle.c looks */
    bool missed;               /* a message was left on it because the agent is to be suspended */
    bool subs_changed;         /* look whether a chunk is answered when the turn ends */
    uint32_t noise_debt;       /* messages whose place noise has not left yet: noise.h */
    bool timed_out;            /* a SUB was not answered on a living session */
    int64_t *subscribed;       /* connections for the next UP event */
    size_t n_subscribed, cap_subscribed;
    struct sx_served served;
};

struct sx_rt_rcvq { /* a receiving queue that has an id on its server */
    struct sx_rt_rcvq *next_server, *next_hash, *next_id;
    struct sx_rt_server *server;
    int64_t id, conn;
    uint8_t sub;               /* enum sx_sub_state */
    bool want;                 /* the application wants it subscribed */
    bool unacked;              /* the server has shown a message and waits for ACK */
    bool on_hold;              /* that message is not wanted yet (hold.c) */
    bool left;                 /* it stays there until the application has seen others (unread.c) */
    bool qcont;                /* A_QCONT waits for the acknowledgement of the marker */
    bool again;                /* subscribed again for that: no news to the application */
    bool draining;             /* a drain waits for an ACK */
    bool lost;                 /* its server has said that it does not have it (any more) */
    bool subscribed_here;      /* in this session, wanted or not */
    bool got;                  /* GET was used in this session (these four, and fetched: fetch.c) */
    bool asked_twice;
    uint8_t fetch;             /* enum sx_fetch_state */
    uint8_t rounds;            /* of this fetch */
    bool notifier;             /* has a row of notifiers */
    bool assoc;                /* its server knows it to be the service's */
    uint8_t quiet;             /* SUBs of a drain without a message since */
    int64_t subscribed_at;     /* mono ms of the last answer to SUB; 0: none */
    int64_t doubted_at;        /* mono ms of the last END that was not believed; 0: none */
    int64_t held_since;        /* mono ms; 0: not */
    struct simplex_event *fetched; /* MSGNTF: while a message that was fetched waits for its ACK */
    int64_t held_ext;          /* on_hold: the number of that message */
    int64_t behind_since;      /* mono ms: others have brought more; 0: they have not */
    struct sx_id *rcv_id;      /* trimmed copy */
    struct sx_keypair *auth;   /* for SUB and ACK */
    struct sx_id *held;        /* of an address that is full: the message to acknowledge later */
};

struct sx_rt_sndq { /* delivery worker of a sending queue, while it has work */
    struct sx_rt_sndq *next;
    int64_t id, conn;
    bool in_flight;            /* a SEND is out */
    bool dirty;                /* look for work when the turn ends */
    bool waiting;              /* for retry_at */
    bool quota;                /* the peer's queue is full: waits for A_QCONT too */
    bool cont_waits;           /* nothing leaves before the marker of our full queue is gone */
    int64_t cont_at;           /* mono ms of the last A_QCONT; 0: none came */
    bool keeping;              /* what is in flight is kept for the queue's replacement */
    bool secured;              /* our key is set in a queue of the standard handshake, perhaps */
    struct sx_rt_server *server; /* of the last attempt */
    int64_t msg_id;            /* what is in flight */
    int64_t elapsed;           /* ms spent in retries since the last success */
    int64_t delay;             /* ms of the last retry */
    int64_t retry_at;
    int64_t tried_at;          /* mono ms of the last QUOTA answer */
};

struct sx_rt_conn { /* command worker of a connection, while it has commands */
    struct sx_rt_conn *next;
    int64_t id;
    bool in_flight, dirty, waiting;
    int64_t command;           /* id of the one in flight */
    int64_t skip;              /* a deletion that waits for its server; others go on. 0: none */
    int64_t drain;             /* queue of a DRAIN in flight; 0: something else is */
    uint8_t corr_id[SX_ID_LEN]; /* of a NEW in flight */
    bool subscribes;           /* and whether it subscribes */
    struct sx_rt_server *server; /* of the last attempt */
    struct sx_tried tried;       /* servers that a NEW was sent to in vain */
    int64_t elapsed, delay, retry_at;
};

/* A NEW that timed out: should its answer come late, the surplus queue is deleted. */
struct sx_lost_new {
    struct sx_lost_new *next;
    const struct sx_client *client; /* its session is the only one that can answer */
    uint8_t corr_id[SX_ID_LEN];
    struct sx_keypair auth;
};
#define SX_LOST_MAX 64

#define SX_TABLE 1024 /* buckets */

/* ---- tables.c ---- */

/* The session for a connection (0: for any) with a server: one for all connections, unless they
 * are isolated from each other. */
simplex_rc sx_rt_server_get(struct simplex_agent *a, int64_t conn, const struct sx_server *s,
                            struct sx_rt_server **out) SIMPLEX_CHECK;
/* The same when the user is known; entity: the connection if they are isolated, else 0. */
simplex_rc sx_rt_server_for(struct simplex_agent *a, int64_t user, int64_t entity,
                            const struct sx_server *s, struct sx_rt_server **out) SIMPLEX_CHECK;
struct sx_rt_server *sx_rt_server_of(struct simplex_agent *a, const struct sx_client *c);
void sx_rt_server_forget(struct simplex_agent *a, struct sx_rt_server *s); /* nobody uses it */
simplex_rc sx_rt_rcvq_add(struct simplex_agent *a, const struct sx_rcv_queue *q, bool want,
                          uint8_t sub) SIMPLEX_CHECK;
struct sx_rt_rcvq *sx_rt_rcvq_find(struct simplex_agent *a, const struct sx_client *c,
                                   simplex_bytes rcv_id);
struct sx_rt_rcvq *sx_rt_rcvq_by_id(struct simplex_agent *a, int64_t id);
void sx_rt_rcvq_remove(struct simplex_agent *a, int64_t id);
void sx_rt_sub_set(struct sx_rt_rcvq *q, enum sx_sub_state to);
/* NULL when out of memory: the work is found again at the next start or reconnection */
struct sx_rt_sndq *sx_rt_sndq_get(struct simplex_agent *a, int64_t id, bool make);
struct sx_rt_conn *sx_rt_conn_get(struct simplex_agent *a, int64_t id, bool make);
void sx_rt_sndq_remove(struct simplex_agent *a, int64_t id);
void sx_rt_conn_remove(struct simplex_agent *a, int64_t id);
void sx_rt_clear(struct simplex_agent *a); /* all but the servers */
void sx_rt_free(struct simplex_agent *a);  /* at close */

/* ---- idle.c ---- */

/* Now and then: the servers and relays that nobody needs any more go. */
void sx_idle_run(struct simplex_agent *a);

#endif
