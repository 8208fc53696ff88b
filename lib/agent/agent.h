/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's inside. One thread (the loop) owns everything here but `calls` and `pulled`, which
 * are behind `lock`. The database is the truth; what is kept in memory is only what the network
 * is doing right now, and can be thrown away at any time (sx_agent_recover).
 *
 * A turn of the loop: network callbacks, timers and calls write rows inside one transaction; then
 * the transaction is committed, then what was waiting for it happens: commands go to servers,
 * callers return, events are shown (sx_turn_end in turn.c).
 */
#ifndef SX_AGENT_H
#define SX_AGENT_H

#include <uv.h>

#include "client/smp_client.h"
#include "simplex/agent.h"
#include "store/store.h"
#include "wire/short_link.h"

/* ---- constants of agent.md section 8.1 (ms) ---- */

#define SX_RETRY_FIRST 2000
#define SX_RETRY_GROW 10000
#define SX_RETRY_MAX 120000
#define SX_QUOTA_RETRY_FIRST 300000
#define SX_QUOTA_RETRY_GROW 60000
#define SX_QUOTA_RETRY_ALIVE 1000 /* while the peer's messages arrive */
#define SX_QUOTA_RETRY_MAX (6 * 3600 * 1000)
#define SX_MESSAGE_TIMEOUT (2 * 24 * 3600 * 1000LL)
#define SX_QUOTA_TIMEOUT (7 * 24 * 3600 * 1000LL)
#define SX_HASH_TTL (21 * 24 * 3600 * 1000LL)
#define SX_SYNC_KEYS_MAX 40 /* of a peer in an hour: each costs an answer */
#define SX_SYNC_KEYS_TIME (3600 * 1000LL)
#define SX_CLEANUP_FIRST 30000
#define SX_CLEANUP_EVERY 300000
#define SX_REQUESTS_MAX 500 /* to an address, waiting for an answer */
#define SX_SUB_CHUNK 1350 /* 10 blocks of 135 */
#define SX_LAZY_COMMIT 5 /* rows nobody waits for are committed after this */
#define SX_DELETE_ERRORS 10
#define SX_HOLD_TIME 30000 /* several queues: a gap is waited for so long */
#define SX_MISS_TIME 300000 /* one that is behind the others for so long is told */
#define SX_SPARE_MESSAGES 10 /* so many, and in so long, through the first alone: */
#define SX_SPARE_TIME 600000 /* the peer does not use the others */
#define SX_RECOVER_AFTER 1000
#define SX_MS_MAX (36500LL * 24 * 3600 * 1000) /* of times that the host gives: a century */
#define SX_IDLE_TIME (3600 * 1000LL) /* servers that nobody has used for so long are forgotten */
#define SX_CACHE_KIB 4000 /* of the database, once it is loaded */

/* ---- events ---- */

struct simplex_event {
    int64_t row; /* of the events table; 0: not durable */
    struct simplex_agent *agent; /* pulled events: whom to tell that it was handled */
    struct simplex_event *next;  /* in the queue of pull mode */
    int32_t kind;
    int64_t conn, msg_id, conf; /* conf: of REQ the request, of RSYNC the state, of DEL_USER the user */
    int64_t user;          /* of events that are not durable */
    struct sx_wr data; /* owned */
    char *server;      /* owned, may be NULL */
    char *detail;      /* owned, may be NULL */
    simplex_rc rc;
    int32_t direction, phase; /* SWITCH */
    bool pq, notify;
    int32_t status;    /* of a receipt */
    simplex_queue_status queue; /* QINFO */
    int32_t integrity;
    int64_t gap_first, gap_last, ext_id, srv_ts;
    int64_t *conns; /* owned */
    size_t n_conns;
    char *json; /* owned, made when asked for */
};

void sx_event_init(struct simplex_event *ev, int32_t kind, int64_t conn);
void sx_event_clear(struct simplex_event *ev); /* frees what it owns, wipes */
void sx_event_encode(struct sx_wr *w, const struct simplex_event *ev);
simplex_rc sx_event_decode(simplex_bytes in, struct simplex_event *ev) SIMPLEX_CHECK;

/* ---- runtime tables (tables.c) ---- */

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
    bool got;                  /* GET was used in this session (these five: fetch.c) */
    bool fetched;              /* a message that was fetched waits for its ACK */
    bool asked_twice;
    uint8_t fetch;             /* enum sx_fetch_state */
    uint8_t rounds;            /* of this fetch */
    bool notifier;             /* has a row of notifiers */
    bool assoc;                /* its server knows it to be the service's */
    uint8_t quiet;             /* SUBs of a drain without a message since */
    int64_t subscribed_at;     /* mono ms of the last answer to SUB; 0: none */
    int64_t doubted_at;        /* mono ms of the last END that was not believed; 0: none */
    int64_t held_since;        /* mono ms; 0: not */
    int64_t fetched_ts;        /* ms: of the message that was fetched */
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

/* ---- calls from other threads ---- */

struct sx_call {
    struct sx_call *next;
    simplex_rc (*fn)(struct simplex_agent *a, void *arg);
    void *arg;
    bool wants_store; /* bracket with a savepoint, commit before returning */
    simplex_rc rc;
    bool done;
    uv_cond_t finished; /* of this call alone: waking all callers for each would be a stampede */
};

/* What to send to a server when the transaction is on disk. */
struct sx_ack {
    struct sx_ack *next;
    int64_t queue;
    struct sx_id msg_id;
};

/* Until it is suspended, the kind of operation that is being brought to its end: suspend.c. */
enum sx_life {
    SX_ACTIVE,
    SX_END_RECEIVING,
    SX_END_DELIVERY,
    SX_END_SENDING,
    SX_END_DATABASE,
    SX_SUSPENDED,
};

struct sx_speaks { /* versions: agent.md section 1 */
    struct sx_range agent, client, e2e;
};

struct simplex_agent {
    uv_loop_t loop;
    uv_thread_t thread;
    bool loop_ready, handles_ready, thread_ready;
    uv_async_t wake;
    uv_check_t turn;
    uv_prepare_t before_poll;
    uv_idle_t spin;  /* active while a turn left work behind */
    uv_timer_t alarm;
    uv_mutex_t lock; /* guards calls, inside, closing, pulled */
    uv_cond_t changed;
    struct sx_call *calls, **calls_end;
    unsigned inside; /* threads waiting in calls or for events, behind lock */
    bool closing;

    struct sx_store *store;
    char *db_path;
    struct sx_age age; /* n 0: not opened yet */
    struct sx_net *net;
    char *isolation;
    struct sx_server_list servers; /* of the configuration: of users without a list of their own */
    struct sx_user *users;         /* the default one first */
    struct sx_server *presets; /* short links name them by their first host alone */
    size_t n_presets;
    simplex_agent_config cfg; /* numbers and callback only; pointers in it are cleared */
    struct sx_net_cfg net_cfg;
    struct sx_speaks speaks; /* everything we know; less in tests, which make peers older */

    /* the turn */
    bool must_commit;       /* somebody waits for the rows of this transaction */
    int64_t lazy_since;     /* mono ms of the first row nobody waits for; 0: none */
    struct sx_call *committing; /* done but for the commit */
    struct sx_ack *acks, **acks_end; /* after the commit */
    struct sx_ack *acks_out;         /* sent, not answered */
    bool failed;            /* the store failed in this turn: recover at its end */
    simplex_rc failed_rc;   /* why it failed last: what calls of that turn return */
    int64_t recover_at;     /* mono ms; 0: not recovering */
    int64_t recover_after;  /* ms; tests are less patient */
    int64_t reported_at;    /* mono ms of the last ERR about it */

    /* events */
    int64_t shown;          /* last durable event shown or queued */
    int64_t handled;        /* callback mode: last one whose handling is on disk */
    bool events_due;        /* durable events behind `shown` */
    int64_t uncommitted;    /* first event row of the open transaction; 0: none */
    struct simplex_event *transient, **transient_end;
    struct simplex_event *pulled, **pulled_end; /* pull mode, behind lock */
    size_t n_pulled;
    struct simplex_event *freed; /* handled by the host, behind lock */

    /* runtime tables */
    struct sx_rt_server *rt_servers;
    struct sx_rt_rcvq *rcvqs[SX_TABLE]; /* by hash of rcv_id */
    struct sx_rt_rcvq *rcvqs_by_id[SX_TABLE];
    struct sx_rt_sndq *sndqs[SX_TABLE]; /* by id */
    struct sx_rt_conn *conns[SX_TABLE]; /* by id */
    struct sx_rt_relay *relays; /* servers that are written to through proxies: route.c */
    const struct sx_rt_server *routed;
    int64_t held_until;     /* mono ms: look at messages that were held; 0: there are none */
    int64_t misses_at;      /* mono ms: look for queues that are behind others; 0: there are none */
    int32_t queues_of_call; /* receiving queues of what this call begins; 0: as configured */
    bool quota_waits;       /* some delivery worker may be waiting for a full queue */
    struct sx_fetch *fetches; /* under way: fetch.c */
    bool only_create;       /* connections made now are not subscribed */
    bool left;              /* messages may have been left on their servers: unread.c */
    bool noticed;           /* servers may have sent notices: notice.c */
    bool farewells;         /* deleted connections may have something to deliver: farewell.c */
    struct sx_lost_new *lost;
    size_t n_lost;
    bool work;              /* some worker is dirty */
    int64_t next_retry;     /* mono ms: no retry is due before; INT64_MAX: none */
    int64_t next_cleanup;
    int64_t idle_time;      /* ms; tests are less patient */
    struct { /* rotation.c */
        int64_t at;          /* mono ms: something is due; INT64_MAX: nothing will be */
        bool changed;        /* rows changed: look when the turn ends */
        bool by_count;       /* some connections count messages */
        bool check;          /* servers are compared with the lists of users */
        bool checking;       /* those of check_user, behind check_conn */
        int64_t check_user, check_conn, check_version;
    } rotation;
    uint8_t *scratch;       /* SX_BLOCK bytes: the body of the message at hand, opened in place */
    uint8_t *plain;         /* SX_BLOCK bytes: its agent message */
    struct sx_noise *noise;    /* NULL: never had any */
    simplex_noise noise_cfg;   /* at the start */
    struct { /* network.c */
        int32_t type;        /* SIMPLEX_NET_... */
        bool offline;
        bool waited;         /* for so long that attempts are made all the same */
        int64_t changed_at;  /* mono ms of the last word of the device; 0: none */
        int64_t offline_at;  /* mono ms: offline from then on; 0: no */
        int64_t wait_until;  /* mono ms; 0: no */
        int64_t wait;        /* ms; tests are less patient */
    } network;
    struct { /* suspend.c */
        enum sx_life phase;
        int64_t deadline;    /* mono ms */
        bool tell;           /* SUSPENDED when it is done */
        bool in_callback;    /* the application is being shown an event */
    } life;
    struct sx_server_test *tests; /* server_test.c */
    unsigned n_tests;
    int64_t last_test;
    const struct sx_x3dh_keys *fresh_keys; /* of the next synchronisation; NULL but in replays */
};

/* ---- turn.c: the loop ---- */

simplex_rc sx_agent_load(struct simplex_agent *a) SIMPLEX_CHECK;  /* handles, and what rows say */
simplex_rc sx_agent_start(struct simplex_agent *a) SIMPLEX_CHECK; /* the thread */
void sx_agent_stop(struct simplex_agent *a);                      /* joins the thread, if any */
/* Runs call->fn on the loop (inline when on it) and waits for its rows to be on disk. */
simplex_rc sx_agent_call(struct simplex_agent *a, struct sx_call *call) SIMPLEX_CHECK;
simplex_rc sx_agent_run(struct simplex_agent *a, simplex_rc (*fn)(struct simplex_agent *, void *),
                        void *arg, bool wants_store) SIMPLEX_CHECK; /* the same, in one */
/* Brackets of a handler on the loop: everything it wrote goes when it fails. */
simplex_rc sx_handler_begin(struct simplex_agent *a) SIMPLEX_CHECK;
void sx_handler_end(struct simplex_agent *a, simplex_rc rc);
void sx_agent_lazy(struct simplex_agent *a); /* rows were written that nobody waits for */
/* A failure of the store: this turn's rows are dropped, sessions closed, all is loaded anew. */
void sx_agent_store_failed(struct simplex_agent *a, simplex_rc rc);
/* A row that makes no sense concerns one connection, and would not be mended by loading it again. */
static inline bool sx_rc_is_store(simplex_rc rc)
{
    return (rc <= SIMPLEX_E_DB_KEY && rc != SIMPLEX_E_DB_DAMAGED) || rc == SIMPLEX_E_NOMEM;
}
void sx_agent_leave(struct simplex_agent *a); /* a thread that counted itself in: unlocks */
bool sx_on_loop(struct simplex_agent *a);
/* What the network is doing is forgotten, sessions are closed: to begin from the rows again. */
void sx_agent_drop_runtime(struct simplex_agent *a);
simplex_rc sx_agent_commit_now(struct simplex_agent *a) SIMPLEX_CHECK;
void sx_agent_wake_at(struct simplex_agent *a, int64_t mono_ms); /* a turn at this time or before */

/* ---- open.c ---- */

/* All of simplex_agent_open but the thread, for tests that are the loop themselves. */
simplex_rc sx_agent_prepare(const simplex_agent_config *cfg,
                            struct simplex_agent **out) SIMPLEX_CHECK;

/* ---- show.c: events to the application ---- */

/* The row of a received message is its event: `seq` is what sx_store_rcv_msg_add gave it. */
void sx_emit_message(struct simplex_agent *a, int64_t seq);
/* Durable: stored with the rows of this turn, shown after the commit. Takes over ev. */
simplex_rc sx_emit(struct simplex_agent *a, struct simplex_event *ev) SIMPLEX_CHECK;
/* Not durable: shown when the turn ends. Takes over ev; dropped when out of memory. */
void sx_emit_now(struct simplex_agent *a, struct simplex_event *ev);
/* The same, in room from sx_malloc that was made before: what is waited for must not get lost. */
void sx_emit_into(struct simplex_agent *a, struct simplex_event *ev, struct simplex_event *room);
simplex_rc sx_emit_simple(struct simplex_agent *a, int32_t kind, int64_t conn) SIMPLEX_CHECK;
/* ERR of a connection (durable): rc and what the server said (may be NULL). */
simplex_rc sx_emit_err(struct simplex_agent *a, int64_t conn, simplex_rc rc, const char *detail)
    SIMPLEX_CHECK;
/* RSYNC (durable): c's present state, and why (OK when it got better). */
simplex_rc sx_emit_rsync(struct simplex_agent *a, const struct sx_conn *c, simplex_rc why,
                         const char *detail) SIMPLEX_CHECK;
bool sx_show_events(struct simplex_agent *a); /* true: more is waiting */
bool sx_events_due(struct simplex_agent *a);  /* some can be shown now */
void sx_events_freed(struct simplex_agent *a);
void sx_events_drop(struct simplex_agent *a); /* at close */

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

/* ---- servers.c ---- */

/* How servers are chosen: users.h. Of the password of one in the list of the user; empty: none. */
simplex_bytes sx_server_password(struct simplex_agent *a, int64_t user,
                                 const struct sx_server *s);
char *sx_server_text(const struct sx_server *s); /* "host:port", sx_free; NULL: no memory */
char *sx_smp_err_text(const struct sx_rsp *rsp); /* of an ERR response; NULL when there is none */
/* Queues req for the server. Too much waiting for it already counts as a server that is away (it is
 * no failure of the store, unlike other lack of memory). */
simplex_rc sx_request_send(struct simplex_agent *a, int64_t conn, const struct sx_server *server,
                           const struct sx_request *req, struct sx_rt_server **out) SIMPLEX_CHECK;
bool sx_shares_host(const struct sx_server *a, const struct sx_server *b); /* name and port */
/* By names alone: the ports of a machine have one operator. */
bool sx_shares_name(const struct sx_server *a, const struct sx_server *b);
/* Temporary: worth a retry (agent.md section 6.7). */
bool sx_is_temporary(simplex_rc rc, const struct sx_rsp *rsp);

/* ---- route.c: private routing (agent.md section 8.4) ---- */

/*
 * As sx_request_send, for the commands that go to the server of a contact (SEND, SKEY, LKEY,
 * LGET): through a proxy when the configuration says so. *out: whose session it depends on. corr_id
 * and timeout of req are not used on the way through a proxy. During req->done a->routed is the
 * proxy that the answer came through, NULL when it came directly.
 */
simplex_rc sx_route_send(struct simplex_agent *a, int64_t conn, const struct sx_server *server,
                         const struct sx_request *req, struct sx_rt_server **out) SIMPLEX_CHECK;
/* The same when the user is known; entity: the connection if they are isolated, else 0. */
simplex_rc sx_route_send_for(struct simplex_agent *a, int64_t user, int64_t entity,
                             const struct sx_server *server, const struct sx_request *req,
                             struct sx_rt_server **out) SIMPLEX_CHECK;
/* A failure on the way that needs the user's settings rather than time. */
bool sx_route_is_hopeless(simplex_rc rc, const struct sx_rsp *rsp);
void sx_routes_drop(struct simplex_agent *a); /* what is on its way, no answers follow */
/* Forgets relays not used since `before` (mono ms); the proxies of the others are marked in_use. */
void sx_routes_idle(struct simplex_agent *a, int64_t before);
void sx_routes_free(struct simplex_agent *a); /* at close, when the net is gone */

/* ---- idle.c ---- */

/* Now and then: the servers and relays that nobody needs any more go. */
void sx_idle_run(struct simplex_agent *a);

/* ---- work.c: command and delivery workers, their retries ---- */

void sx_wake_commands(struct simplex_agent *a, int64_t conn);
void sx_wake_delivery(struct simplex_agent *a, int64_t snd_queue, int64_t conn);
void sx_wake_server(struct simplex_agent *a, const struct sx_rt_server *s); /* it is up */
void sx_wake_all(struct simplex_agent *a);
/* A message of the peer came: it is there and reading, so its full queue may have emptied. `now`:
 * do not wait even a second since the last attempt. */
void sx_wake_quota(struct simplex_agent *a, int64_t conn, bool now);
/* The marker of a full queue of ours was read; A_QCONT is stored, and leaves when the server has
 * dropped the marker: a sender that is quicker would find the queue still full, and nobody would
 * tell it a second time. */
void sx_qcont_waits(struct simplex_agent *a, struct sx_rt_rcvq *q);
void sx_qcont_goes(struct simplex_agent *a, struct sx_rt_rcvq *q); /* q may be NULL */
void sx_run_work(struct simplex_agent *a);       /* at the end of a turn, after the commit */
void sx_retry_at(struct simplex_agent *a, int64_t at); /* a worker waits until then */
int64_t sx_work_alarm(struct simplex_agent *a);  /* mono ms of the next retry; INT64_MAX: none */
simplex_rc sx_load_work(struct simplex_agent *a) SIMPLEX_CHECK; /* at start: who has work */
/* The next delay of a retry (section 8.1: x 3/2 once `grow` ms have passed). */
int64_t sx_next_delay(int64_t *delay, int64_t *elapsed, int64_t first, int64_t grow, int64_t max);

/* ---- command.c, command_send.c, command_answer.c, command_new.c ---- */

enum sx_command_tag {
    SX_C_NEW = 1, /* NEW for rcv queue; data: of a joiner, e2e parameters and information; of a
                   * requester, the queue of the address and information */
    SX_C_KEY,     /* KEY with the sender's key on rcv queue */
    SX_C_SKEY,    /* SKEY on snd queue */
    SX_C_DEL,     /* DEL on rcv queue */
    SX_C_DRAIN,   /* SUB on a replaced rcv queue until nothing comes; then DEL */
    SX_C_INVITATION, /* the link to rcv queue goes to a contact address; data: as of NEW */
    SX_C_LSET,    /* the link data of rcv queue as it is in its row then */
    SX_C_LDEL,    /* the link data of rcv queue */
    SX_C_LOOK,    /* LKEY or LGET of the link that the connection looks at; data: look.c */
    SX_C_NKEY,    /* a notifier for rcv queue; data: its public key (notifier.c) */
    SX_C_NDEL,    /* takes it away */
    SX_C_MADE,    /* nothing is sent: all NEW of a new connection are behind it; data: as of NEW */
    SX_C_OFF,     /* OFF on rcv queue: its server takes nothing more */
};
simplex_rc sx_command_add(struct simplex_agent *a, int64_t conn, enum sx_command_tag tag,
                          int64_t queue, simplex_bytes data) SIMPLEX_CHECK;
simplex_rc sx_command_drop(struct simplex_agent *a, int64_t conn,
                           enum sx_command_tag tag) SIMPLEX_CHECK; /* all of this kind */
simplex_rc sx_command_waits(struct simplex_agent *a, int64_t conn, enum sx_command_tag tag,
                            bool *yes) SIMPLEX_CHECK; /* one that is not being sent */
void sx_run_command(struct simplex_agent *a, struct sx_rt_conn *w); /* sends the oldest */
/* At the start: what may have been sent before is made fit for a repeat. */
simplex_rc sx_commands_again(struct simplex_agent *a, int64_t conn) SIMPLEX_CHECK;
/* IDS that no request waits for: deletes the queue if it was ours. */
void sx_late_ids(struct simplex_agent *a, struct sx_client *c, const struct sx_transmission *t,
                 const struct sx_rsp *rsp);
void sx_lost_drop(struct simplex_agent *a, const struct sx_client *c); /* NULL: all */
/* A NEW to c timed out: should it have made a queue after all, that goes when its IDS comes. */
void sx_lost_add(struct simplex_agent *a, const struct sx_client *c,
                 const uint8_t corr_id[SX_ID_LEN], const struct sx_keypair *auth);

/* ---- create.c, join.c, allow.c: the handshake ---- */

simplex_rc sx_create(struct simplex_agent *a, int64_t user, int32_t pq,
                     int64_t *conn) SIMPLEX_CHECK;
/* Of an invitation. *conn: 0, or the connection that looked at its short link, whose user stays. */
simplex_rc sx_join_link(struct simplex_agent *a, int64_t user, const struct sx_link *l,
                        simplex_bytes info, int32_t pq, int64_t *conn) SIMPLEX_CHECK;
simplex_rc sx_join(struct simplex_agent *a, int64_t user, simplex_bytes link, simplex_bytes info,
                   int32_t pq, int64_t *conn) SIMPLEX_CHECK;
simplex_rc sx_allow(struct simplex_agent *a, int64_t conn, int64_t conf,
                    simplex_bytes info) SIMPLEX_CHECK;
/* The row of a connection that begins now: new, or (c->id) of one that looked at a short link. */
simplex_rc sx_conn_begin(struct simplex_agent *a, struct sx_conn *c) SIMPLEX_CHECK;
/* Fresh keys towards the server, which must not be shown to two of them. */
simplex_rc sx_rcv_queue_keys(struct sx_rcv_queue *q) SIMPLEX_CHECK;
/* Keys and row of a new receiving queue; server chosen away from `avoid` (may be NULL). */
simplex_rc sx_new_rcv_queue(struct simplex_agent *a, const struct sx_conn *c,
                            const struct sx_server *avoid, uint16_t client_version,
                            struct sx_rcv_queue *q) SIMPLEX_CHECK;
simplex_rc sx_new_rcv_queue_on(struct simplex_agent *a, int64_t conn,
                               const struct sx_server *server, uint16_t client_version,
                               int64_t replaces, struct sx_rcv_queue *q) SIMPLEX_CHECK;
/* Row of a new sending queue to `addr`, with fresh keys. */
simplex_rc sx_new_snd_queue(struct simplex_agent *a, int64_t conn,
                            const struct sx_queue_addr *addr, uint16_t client_version,
                            struct sx_snd_queue *q) SIMPLEX_CHECK;
simplex_rc sx_snd_queue_open(struct simplex_agent *a, struct sx_snd_queue *q) SIMPLEX_CHECK;
void sx_queue_info_of(const struct sx_rcv_queue *q, struct sx_queue_addr *addr);
size_t sx_info_max(uint16_t agent_version, bool pq); /* longest connection information */
/* The full link to give to others: of an invitation or of a contact address. */
simplex_rc sx_invitation_text(struct simplex_agent *a, const struct sx_conn *c,
                              const struct sx_rcv_queue *q, struct sx_wr *w) SIMPLEX_CHECK;
/* The same with so many queues at most. */
simplex_rc sx_invitation_short_of(struct simplex_agent *a, const struct sx_conn *c,
                                  const struct sx_rcv_queue *q, size_t most,
                                  struct sx_wr *w) SIMPLEX_CHECK;
/* The full link to q, with the KEM key that there is, and to the queues beside it, `most` in all;
 * link borrows from keys and list, which has room for SIMPLEX_QUEUES_MAX. */
simplex_rc sx_queue_link(struct simplex_agent *a, const struct sx_conn *c,
                         const struct sx_rcv_queue *q, struct sx_x3dh_keys *keys,
                         struct sx_queue_addr *list, size_t most,
                         struct sx_link *link) SIMPLEX_CHECK;
/* The queues of a new connection are there: the link, the request or the confirmation follows. */
simplex_rc sx_conn_ready(struct simplex_agent *a, struct sx_conn *c, const struct sx_rcv_queue *q,
                         simplex_bytes data) SIMPLEX_CHECK;
simplex_rc sx_new_answered(struct simplex_agent *a, struct sx_conn *c,
                           const struct sx_command *cmd,
                           const struct sx_rsp *rsp) SIMPLEX_CHECK; /* IDS */
simplex_rc sx_join_reply(struct simplex_agent *a, struct sx_conn *c, const struct sx_rcv_queue *q,
                         simplex_bytes data) SIMPLEX_CHECK; /* J's confirmation */

/* ---- address.c, request.c: contact addresses, their owner and a requester ---- */

simplex_rc sx_create_address(struct simplex_agent *a, int64_t user, int64_t *conn) SIMPLEX_CHECK;
simplex_rc sx_accept(struct simplex_agent *a, int64_t request, simplex_bytes info, int32_t pq,
                     int64_t *conn) SIMPLEX_CHECK;
simplex_rc sx_reject(struct simplex_agent *a, int64_t request) SIMPLEX_CHECK;
/* *conn: as of sx_join_link */
simplex_rc sx_request(struct simplex_agent *a, int64_t user, const struct sx_link *l,
                      simplex_bytes info, int32_t pq, int64_t *conn) SIMPLEX_CHECK;
simplex_rc sx_request_ready(struct simplex_agent *a, struct sx_conn *c,
                            const struct sx_rcv_queue *q,
                            simplex_bytes target) SIMPLEX_CHECK; /* the queue for it is made */
simplex_rc sx_request_body(struct simplex_agent *a, const struct sx_command *cmd,
                           struct sx_queue_addr *to, struct sx_wr *body) SIMPLEX_CHECK;
simplex_rc sx_request_sent(struct simplex_agent *a, const struct sx_conn *c) SIMPLEX_CHECK;
/* The owner's confirmation arrived: the request did, even if the server's answer was lost. */
simplex_rc sx_request_answered(struct simplex_agent *a, const struct sx_conn *c) SIMPLEX_CHECK;

/* ---- link.c, link_make.c: short links of our own (section 5.3) ---- */

/* told: the link is known before the network is asked, by sx_publish. */
simplex_rc sx_create_short(struct simplex_agent *a, int64_t user, uint8_t type, int32_t pq,
                           const simplex_link_data *d, bool told, int64_t *conn) SIMPLEX_CHECK;
simplex_rc sx_publish(struct simplex_agent *a, int64_t conn) SIMPLEX_CHECK;
simplex_rc sx_set_link_data(struct simplex_agent *a, int64_t conn,
                            const simplex_link_data *d) SIMPLEX_CHECK;
simplex_rc sx_delete_link_data(struct simplex_agent *a, int64_t conn) SIMPLEX_CHECK;
/* An invitation or address whose link may be shown: E_NOT_FOUND, E_PROHIBITED. Wipe q. */
simplex_rc sx_link_queue(struct simplex_agent *a, int64_t conn, struct sx_conn *c,
                         struct sx_rcv_queue *q) SIMPLEX_CHECK;
simplex_rc sx_short_text(struct simplex_agent *a, int64_t conn, struct sx_wr *w) SIMPLEX_CHECK;
/* Rows: the signed user part, and all that follows from it and the queue. */
simplex_rc sx_link_user(const struct sx_link_row *l, const simplex_link_data *d,
                        struct sx_wr *user_signed) SIMPLEX_CHECK;
simplex_rc sx_link_make(struct simplex_agent *a, const struct sx_conn *c, struct sx_rcv_queue *q,
                        struct sx_link_row *l, simplex_bytes user_signed) SIMPLEX_CHECK;
simplex_rc sx_link_update(struct simplex_agent *a, struct sx_link_row *l,
                          simplex_bytes user_signed) SIMPLEX_CHECK; /* other user data */
simplex_rc sx_link_open_user(const struct sx_link_row *l, struct sx_wr *user_signed) SIMPLEX_CHECK;
/* For NEW of q, when it has link data: slices of cmd live until the next call on the store. */
simplex_rc sx_link_new(struct simplex_agent *a, const struct sx_rcv_queue *q,
                       struct sx_link_row *l, struct sx_cmd *cmd) SIMPLEX_CHECK;
/* NEW may have been executed, or moves to another server: ids and link are made anew. */
simplex_rc sx_link_renew(struct simplex_agent *a, int64_t queue) SIMPLEX_CHECK;
bool sx_link_told(struct simplex_agent *a, int64_t queue);
/* IDS, when the queue has been stored. *on: the connection goes on. */
simplex_rc sx_link_made(struct simplex_agent *a, struct sx_conn *c, const struct sx_rcv_queue *q,
                        const struct sx_rsp *rsp, bool *on) SIMPLEX_CHECK;
simplex_rc sx_link_show(struct simplex_agent *a, const struct sx_conn *c,
                        const struct sx_rcv_queue *q) SIMPLEX_CHECK; /* LINK, if it has one */
simplex_rc sx_link_set(struct simplex_agent *a, const struct sx_conn *c, int64_t queue)
    SIMPLEX_CHECK; /* LSET was answered */
simplex_rc sx_link_deleted(struct simplex_agent *a, const struct sx_conn *c, int64_t queue)
    SIMPLEX_CHECK; /* LDEL was answered */
simplex_rc sx_link_refused(struct simplex_agent *a, const struct sx_command *cmd) SIMPLEX_CHECK;
/* Somebody joined through it: the server drops the data. */
simplex_rc sx_link_used(struct simplex_agent *a, const struct sx_conn *c, int64_t queue)
    SIMPLEX_CHECK;

/* ---- look.c: short links of others ---- */

struct sx_wish { /* what happens when the data was read */
    bool join;
    int32_t pq;
    simplex_bytes info;
};
simplex_rc sx_look(struct simplex_agent *a, int64_t user, simplex_bytes link,
                   const struct sx_wish *wish, int64_t *conn) SIMPLEX_CHECK;
simplex_rc sx_look_send(struct simplex_agent *a, int64_t conn, struct sx_look *l,
                        struct sx_short_link *s, struct sx_cmd *cmd,
                        struct sx_request *req) SIMPLEX_CHECK;
simplex_rc sx_look_answered(struct simplex_agent *a, struct sx_conn *c,
                            const struct sx_command *cmd, const struct sx_rsp *rsp) SIMPLEX_CHECK;

/* What LDATA carries, in the data of the event. */
struct sx_ldata { /* borrowed */
    uint8_t type;
    bool direct;
    simplex_bytes root; /* raw Ed25519 key */
    simplex_bytes link, entity, data;
    struct sx_list owners, relays;
};
void sx_ldata_encode(struct sx_wr *w, const struct sx_ldata *d);
simplex_rc sx_ldata_decode(simplex_bytes in, struct sx_ldata *d) SIMPLEX_CHECK;

/* ---- enqueue.c: encrypt and store a message to send ---- */

struct sx_outgoing {
    uint8_t type;       /* enum sx_msg_tag; 0: connection information */
    bool notify;
    enum sx_pq_flag pq;
    simplex_bytes e2e;  /* encoded parameters in the joiner's confirmation */
    int64_t body_id;    /* the body of the message is stored already, for others as well; 0: not */
};
/* msg: its M fields (snd_msg_id, prev_hash) are filled in here. Updates c (and stores it). */
simplex_rc sx_enqueue(struct simplex_agent *a, struct sx_conn *c, struct sx_agent_msg *msg,
                      const struct sx_outgoing *o, int64_t *msg_id) SIMPLEX_CHECK;
bool sx_can_send(const struct sx_conn *c, const struct sx_snd_queue *q);
/* So many messages wait for the peer that it gets no answers until it has read some. */
simplex_rc sx_answers_wait(struct simplex_agent *a, int64_t conn, bool *too_many) SIMPLEX_CHECK;
/* Deliveries of message msg_id to every queue that leads to the peer. */
simplex_rc sx_add_deliveries(struct simplex_agent *a, int64_t conn, int64_t msg_id) SIMPLEX_CHECK;

/* ---- restored.c: an old copy of the database ---- */

simplex_rc sx_age_opened(struct simplex_agent *a) SIMPLEX_CHECK;
void sx_age_closed(struct simplex_agent *a);

/* ---- deliver.c ---- */

void sx_deliver(struct simplex_agent *a, struct sx_rt_sndq *w); /* sends the oldest pending */

/* ---- envelope.c: the per-queue layer (agent.md section 2) ---- */

/* SEND body of m for q, encrypting the ratchet message. */
simplex_rc sx_seal_send(const struct simplex_agent *a, const struct sx_conn *c,
                        const struct sx_snd_queue *q, const struct sx_snd_msg *m,
                        struct sx_wr *body) SIMPLEX_CHECK;
/* The ratchet message of m: the same bytes each time. */
simplex_rc sx_ratchet_message_of(const struct sx_snd_msg *m, struct sx_wr *w) SIMPLEX_CHECK;
/* For noise: SEND body of a ratchet message that was sent before, and one of random bytes. */
simplex_rc sx_seal_again(const struct sx_snd_queue *q, simplex_bytes ratchet_message,
                         struct sx_wr *body) SIMPLEX_CHECK;
simplex_rc sx_seal_nothing(struct sx_wr *body) SIMPLEX_CHECK;
/* SEND body of an envelope for a queue that keeps no secret, under a key of its own. */
simplex_rc sx_seal_once(const struct sx_queue_addr *to, const struct sx_envelope *env,
                        struct sx_wr *body) SIMPLEX_CHECK;
struct sx_opened { /* slices point into the buffer that was opened */
    struct sx_client_msg outer;
    struct sx_private_msg inner;
    struct sx_envelope env;
    bool first;              /* opened with the key of its header: no secret was stored yet */
    uint8_t secret[32];
};
/* body is decrypted in place. */
simplex_rc sx_open_body(const struct sx_rcv_queue *q, uint8_t *body, size_t len,
                        struct sx_opened *o) SIMPLEX_CHECK;

/* ---- receive.c, confirm.c, message.c ---- */

/* A MSG of queue `id`, pushed or in an answer. */
void sx_receive(struct simplex_agent *a, int64_t queue, const struct sx_rsp *msg);
/* Handlers: within a bracket; any failure undoes what they wrote and is shown as ERR. */
simplex_rc sx_on_confirmation(struct simplex_agent *a, struct sx_conn *c, struct sx_rcv_queue *q,
                              const struct sx_opened *o) SIMPLEX_CHECK;
struct sx_incoming { /* a message at hand */
    simplex_bytes srv_msg_id;
    int64_t srv_ts; /* ms */
    bool notify;
    bool keep;      /* out: acknowledged by the application, not by us */
    bool hold;      /* out: not its turn yet, left on the server; all is undone */
    int64_t ext_id; /* out, with hold: its number */
    bool leave;     /* out: not looked at, for want of room for what it might cause (unread.c) */
};
simplex_rc sx_on_request(struct simplex_agent *a, const struct sx_rcv_queue *q,
                         const struct sx_opened *o, struct sx_incoming *in) SIMPLEX_CHECK;
simplex_rc sx_on_message(struct simplex_agent *a, struct sx_conn *c, struct sx_rcv_queue *q,
                         const struct sx_opened *o, struct sx_incoming *in) SIMPLEX_CHECK;
/* Handshake steps that a HELLO, a confirmation or their delivery completes. */
simplex_rc sx_on_hello(struct simplex_agent *a, struct sx_conn *c, struct sx_rcv_queue *q)
    SIMPLEX_CHECK;
/* Our last handshake message reached the joiner, even if the server's answer to that was lost: it
 * sent what it may send only then. In a queue of the standard handshake that is any message of the
 * application (`word`), in others what follows the handshake. */
simplex_rc sx_heard_from_peer(struct simplex_agent *a, struct sx_conn *c,
                              const struct sx_rcv_queue *q, bool word) SIMPLEX_CHECK;
simplex_rc sx_on_sent(struct simplex_agent *a, struct sx_conn *c, struct sx_snd_queue *q,
                      uint8_t type) SIMPLEX_CHECK;
simplex_rc sx_send_hello(struct simplex_agent *a, struct sx_conn *c) SIMPLEX_CHECK;
simplex_rc sx_connected(struct simplex_agent *a, struct sx_conn *c) SIMPLEX_CHECK; /* CON, once */
simplex_rc sx_first_snd_queue(struct simplex_agent *a, const struct sx_conn *c,
                              struct sx_snd_queue *q) SIMPLEX_CHECK;

/* ---- resync.c: a new ratchet (section 6.6) ---- */

#define SX_AGENT_SYNC 3 /* agents from this version on have it */
#define SX_ROW_RATCHET_KEY 100 /* type of a message that carries our new keys */
/* Nothing but the handshake and EREADY can be sent. */
bool sx_sync_blocks(const struct sx_conn *c);
simplex_rc sx_sync_start(struct simplex_agent *a, int64_t conn, bool force) SIMPLEX_CHECK;
simplex_rc sx_on_ratchet_key(struct simplex_agent *a, struct sx_conn *c,
                             const struct sx_rcv_queue *q, const struct sx_opened *o,
                             struct sx_incoming *in) SIMPLEX_CHECK;
/* A message was read, or could not be; the row of c is the caller's to update. */
simplex_rc sx_sync_read(struct simplex_agent *a, struct sx_conn *c) SIMPLEX_CHECK;
simplex_rc sx_sync_unreadable(struct simplex_agent *a, struct sx_conn *c, simplex_rc why,
                              bool *told) SIMPLEX_CHECK;
simplex_rc sx_on_eready(struct simplex_agent *a, struct sx_conn *c, bool had_chain) SIMPLEX_CHECK;
/* Our keys will not reach the peer. */
simplex_rc sx_sync_undelivered(struct simplex_agent *a, int64_t conn, simplex_rc why,
                               const char *detail) SIMPLEX_CHECK;
/* ---- switch_rcv.c, switch_snd.c: rotation of queues ---- */

union sx_switch_item {
    struct sx_qadd add;
    struct sx_qkey key;
    struct sx_quse use;
    struct sx_queue_ref test;
};
/* QADD, QKEY, QUSE or QTEST with one item. */
simplex_rc sx_send_switch(struct simplex_agent *a, struct sx_conn *c, enum sx_msg_tag tag,
                          const union sx_switch_item *x) SIMPLEX_CHECK;
simplex_rc sx_emit_switch(struct simplex_agent *a, int64_t conn, int32_t direction, int32_t phase,
                          const struct sx_server *server, simplex_rc why,
                          const char *detail) SIMPLEX_CHECK;
/* A message of the rotation that makes no sense now: ERR; it counts as received. */
simplex_rc sx_switch_refuse(struct simplex_agent *a, int64_t conn, enum sx_msg_tag msg,
                            simplex_rc why) SIMPLEX_CHECK;
bool sx_switch_possible(const struct sx_conn *c);
/* Phase reached; 0: none. */
simplex_rc sx_rcv_switch_phase(struct simplex_agent *a, int64_t conn, int32_t *phase) SIMPLEX_CHECK;
simplex_rc sx_snd_switch_phase(struct simplex_agent *a, int64_t conn, int32_t *phase) SIMPLEX_CHECK;

simplex_rc sx_switch_start(struct simplex_agent *a, int64_t conn, int64_t queue,
                           simplex_bytes server) SIMPLEX_CHECK; /* 0: the first; empty: any */
simplex_rc sx_switch_abort(struct simplex_agent *a, int64_t conn) SIMPLEX_CHECK;
/* It cannot go on before the sender uses the new queue: the old one stays. */
simplex_rc sx_switch_failed(struct simplex_agent *a, int64_t conn, simplex_rc why,
                            const char *detail) SIMPLEX_CHECK;
/* The queue that takes the place of old. E_NOT_FOUND. */
simplex_rc sx_rcv_replacement(struct simplex_agent *a, const struct sx_rcv_queue *old,
                              struct sx_rcv_queue *q) SIMPLEX_CHECK;
/* By the data of a NEW: may another server be tried, and the password. */
#define SX_NEW_DATA_MAX 256
void sx_new_data_any(struct sx_wr *data);
simplex_rc sx_new_data_named(simplex_bytes wanted, struct sx_server *server,
                             struct sx_wr *data) SIMPLEX_CHECK;
bool sx_new_may_move(const struct sx_rcv_queue *q, simplex_bytes data);
/* The sender's keys for q, which is secured next. */
simplex_rc sx_take_sender(struct simplex_agent *a, const struct sx_qkey *x,
                          struct sx_rcv_queue *q) SIMPLEX_CHECK;
/* q goes from here and from its server; a NEW that is out is waited for: its queue would be left
 * behind. */
simplex_rc sx_rcv_queue_end(struct simplex_agent *a, struct sx_rcv_queue *q) SIMPLEX_CHECK;
simplex_bytes sx_new_password(struct simplex_agent *a, int64_t user, const struct sx_rcv_queue *q,
                              simplex_bytes data);
simplex_rc sx_switch_created(struct simplex_agent *a, struct sx_conn *c,
                             const struct sx_rcv_queue *q) SIMPLEX_CHECK; /* IDS */
simplex_rc sx_switch_secured(struct simplex_agent *a, struct sx_conn *c,
                             struct sx_rcv_queue *q) SIMPLEX_CHECK; /* KEY was answered */
/* A message of the peer came through q. E_PROHIBITED: it was not told to use it. */
simplex_rc sx_switch_used(struct simplex_agent *a, struct sx_rcv_queue *q) SIMPLEX_CHECK;
bool sx_drain_waits(struct simplex_agent *a, int64_t queue);
bool sx_drained(struct simplex_agent *a, int64_t queue);
simplex_rc sx_drain_done(struct simplex_agent *a, int64_t queue) SIMPLEX_CHECK;
simplex_rc sx_switch_deleted(struct simplex_agent *a, const struct sx_rcv_queue *gone,
                             simplex_rc why, const char *detail) SIMPLEX_CHECK;
simplex_rc sx_switch_sub_refused(struct simplex_agent *a, int64_t queue, simplex_rc why,
                                 const char *detail, bool *expected) SIMPLEX_CHECK;
simplex_rc sx_on_qkey(struct simplex_agent *a, struct sx_conn *c, const struct sx_rcv_queue *from,
                      const struct sx_agent_msg *m) SIMPLEX_CHECK;

simplex_rc sx_on_qadd(struct simplex_agent *a, struct sx_conn *c,
                      const struct sx_agent_msg *m) SIMPLEX_CHECK;
simplex_rc sx_on_quse(struct simplex_agent *a, struct sx_conn *c,
                      const struct sx_agent_msg *m) SIMPLEX_CHECK;
simplex_rc sx_find_snd_queue(struct simplex_agent *a, int64_t conn, const struct sx_queue_ref *ref,
                             struct sx_snd_queue *q) SIMPLEX_CHECK;
bool sx_takes_messages(const struct sx_snd_queue *q, unsigned nth);
simplex_rc sx_keep_sent(struct simplex_agent *a, const struct sx_snd_queue *old, int64_t msg_id,
                        uint8_t type, bool *kept) SIMPLEX_CHECK;
simplex_rc sx_switch_sent(struct simplex_agent *a, struct sx_snd_queue *q,
                          uint8_t type) SIMPLEX_CHECK;
simplex_rc sx_switch_detour(struct simplex_agent *a, const struct sx_snd_queue *q) SIMPLEX_CHECK;
simplex_rc sx_switch_snd_failed(struct simplex_agent *a, const struct sx_snd_queue *q,
                                simplex_rc why, const char *detail) SIMPLEX_CHECK;
simplex_rc sx_switch_undelivered(struct simplex_agent *a, const struct sx_snd_queue *q,
                                 uint8_t type, simplex_rc why, const char *detail) SIMPLEX_CHECK;

/* ---- hold.c: order between several queues ---- */

simplex_rc sx_hold(struct simplex_agent *a, const struct sx_conn *c, const struct sx_rcv_queue *q,
                   const struct sx_agent_msg *m, bool *hold) SIMPLEX_CHECK;
/* New keys of the peer: in->hold, in->ext_id. */
simplex_rc sx_hold_keys(struct simplex_agent *a, struct sx_conn *c, const struct sx_rcv_queue *q,
                        struct sx_incoming *in) SIMPLEX_CHECK;
void sx_held(struct simplex_agent *a, int64_t queue, int64_t ext_id); /* left on the server */
void sx_held_release(struct simplex_agent *a, int64_t conn);  /* it may be its turn */
void sx_held_check(struct simplex_agent *a);                  /* it has waited long enough */

/* ---- ack.c ---- */

/* ACK to the server when this turn ends; after_commit: not before its rows are on disk. */
simplex_rc sx_ack_later(struct simplex_agent *a, int64_t queue, simplex_bytes msg_id,
                        bool after_commit) SIMPLEX_CHECK;
void sx_send_acks(struct simplex_agent *a);
/* The server shows no message of this queue (any more): a drain may go on. */
void sx_nothing_shown(struct simplex_agent *a, int64_t queue);
void sx_drop_acks(struct simplex_agent *a); /* what was not sent */
void sx_free_acks(struct simplex_agent *a); /* all, at close */
/* receipt: its information; NULL: none is sent. */
simplex_rc sx_user_ack(struct simplex_agent *a, int64_t conn, int64_t msg_id,
                       const simplex_bytes *receipt) SIMPLEX_CHECK;

/* ---- receipts.c ---- */

#define SX_AGENT_RECEIPTS 4 /* agent version from which receipts are understood */
/* For the message at hand, if the peer understands receipts. */
simplex_rc sx_send_receipt(struct simplex_agent *a, struct sx_conn *c,
                           const struct sx_receipt *r) SIMPLEX_CHECK;
simplex_rc sx_on_receipts(struct simplex_agent *a, const struct sx_conn *c,
                          const struct sx_list *list) SIMPLEX_CHECK;

/* ---- status.c ---- */

/* INFO of a server; E_RESPONSE when it is not what section 6.3 of smp.md says. */
simplex_rc sx_queue_status_parse(simplex_bytes json, simplex_queue_status *out) SIMPLEX_CHECK;
extern const char *const sx_subscription_names[5];

/* ---- verify.c ---- */

void sx_code_text(const uint8_t code[32], char text[SIMPLEX_CODE_TEXT]);

/* ---- subscribe.c ---- */

simplex_rc sx_load_queues(struct simplex_agent *a) SIMPLEX_CHECK; /* all rows into the tables */
void sx_check_subscriptions(struct simplex_agent *a); /* at the end of a turn */
void sx_subscribe_server(struct simplex_agent *a, struct sx_rt_server *s); /* what is pending */
/* Delivers again what was not acknowledged. */
void sx_subscribe_again(struct sx_rt_rcvq *q);
simplex_rc sx_set_subscribed(struct simplex_agent *a, int64_t conn, bool on) SIMPLEX_CHECK;
void sx_on_up(void *user, struct sx_client *c);
void sx_on_down(void *user, struct sx_client *c, simplex_rc rc);
void sx_on_event(void *user, struct sx_client *c, const struct sx_transmission *t,
                 const struct sx_rsp *rsp);

/* ---- delete.c ---- */

simplex_rc sx_delete(struct simplex_agent *a, int64_t conn) SIMPLEX_CHECK;
/* When its messages are delivered: farewell.c. */
simplex_rc sx_delete_after_sending(struct simplex_agent *a, int64_t conn) SIMPLEX_CHECK;
/* Nothing more is to be delivered. */
simplex_rc sx_deletion_goes_on(struct simplex_agent *a, int64_t conn) SIMPLEX_CHECK;
/* Nothing is sent any more for a connection that is being made; only deleting it is left. */
simplex_rc sx_stop_making(struct simplex_agent *a, int64_t conn) SIMPLEX_CHECK;
/* DEL was answered (rc OK), or is given up: the queue goes, and with the last the connection. */
simplex_rc sx_queue_never_made(struct simplex_agent *a, int64_t conn, int64_t queue) SIMPLEX_CHECK;
simplex_rc sx_queue_deleted(struct simplex_agent *a, const struct sx_rcv_queue *q, simplex_rc rc,
                            const char *detail) SIMPLEX_CHECK;

#endif
