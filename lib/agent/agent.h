/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's inside. One thread (the loop) owns everything here but `calls` and `pulled`, which
 * are behind `lock`. The database is the truth; what is kept in memory is only what the network
 * is doing right now, and can be thrown away at any time (sx_agent_drop_runtime).
 *
 * A turn of the loop: network callbacks, timers and calls write rows inside one transaction; then
 * the transaction is committed, then what was waiting for it happens: commands go to servers,
 * callers return, events are shown (sx_turn_end in turn.c).
 *
 * What the other files offer each other is in a header for each subject beside this one.
 */
#ifndef SX_AGENT_H
#define SX_AGENT_H

#include <uv.h>

#include "agent/tables.h"
#include "client/smp_client.h"
#include "simplex/agent.h"
#include "store/store.h"

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

/* ---- calls from other threads ---- */

struct sx_call {
    struct sx_call *next;
    simplex_rc (*fn)(struct simplex_agent *a, void *arg);
    void *arg;
    bool wants_store; /* bracket with a savepoint, commit before returning */
    bool begins;      /* something that no row holds: the fate of rows is not its result */
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
    struct sx_promised *promised; /* answers that are under way: promised.c */
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
        struct simplex_event *tell; /* SUSPENDED, when it is done; NULL: without it */
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
/* For what goes on also when rows of others, that would be written with it, are lost. */
simplex_rc sx_agent_begin(struct simplex_agent *a, simplex_rc (*fn)(struct simplex_agent *, void *),
                          void *arg) SIMPLEX_CHECK;
/* Brackets of a handler on the loop: everything it wrote goes when it fails. */
simplex_rc sx_handler_begin(struct simplex_agent *a) SIMPLEX_CHECK;
void sx_handler_end(struct simplex_agent *a, simplex_rc rc);
void sx_agent_lazy(struct simplex_agent *a); /* rows were written that nobody waits for */
/* A failure of the store: this turn's rows are dropped, sessions closed, all is loaded anew. */
void sx_agent_store_failed(struct simplex_agent *a, simplex_rc rc);
/* A row that makes no sense concerns one connection, and loading it again would not mend it. */
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

/* ---- restored.c: an old copy of the database ---- */

simplex_rc sx_age_opened(struct simplex_agent *a) SIMPLEX_CHECK;
void sx_age_closed(struct simplex_agent *a);

#endif
