/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The model: applications on all devices, which react to events, and what must be true of what they
 * see. It is outside of the devices: nothing of it is lost when one dies.
 *
 *     app.c        events, what applications do on them, tasks they do later
 *     app_rules.c  the invariants of messages; an old copy of a database; what must be in the end
 *     plan.c       actions of the schedule, one row each
 */
#ifndef TESTS_SIM_APP_H
#define TESTS_SIM_APP_H

#include "sim/sim.h"

#define APP_ENDS 64
#define APP_MSGS 1024
#define APP_TASKS 256
#define APP_LINK 8192
#define APP_BODY 15800 /* of messages, at most */

enum app_role { APP_INVITER, APP_JOINER, APP_ADDRESS, APP_REQUESTER, APP_ACCEPTER };

enum app_wish { APP_OFF, APP_ON, APP_UNKNOWN };

struct app_end { /* of a connection, on one device */
    unsigned n;
    struct sim_node *node;
    int64_t id; /* 0: the call was interrupted, or the connection is not known any more */
    enum app_role role;
    struct app_end *offer; /* whose link it used; of an accepter, the address */
    struct app_end *peer;
    char link[APP_LINK]; /* of an inviter or address; empty: not yet */
    char short_link[APP_LINK];
    uint64_t made;  /* tick */
    uint64_t ready; /* tick; 0: not yet */
    uint64_t used;  /* tick when somebody used the link (of an invitation: once) */
    bool allowed, accepted;
    bool by_short; /* it joined or looked with the short link */
    bool looking, wants_join;
    bool deleted, gone;
    bool doubtful; /* the call that deletes was interrupted */
    uint64_t deleted_at;
    bool lost;            /* its device forgot it with an old copy of the database */
    bool hostile;         /* it is one of a device that sends anything, or leads there */
    bool dead;            /* the connection: nothing is promised about it any more */
    bool rolled;          /* one side went back to an old copy */
    bool synced;          /* a new ratchet was asked for */
    bool switched;        /* its queue was moved, or is */
    bool aborted;         /* a rotation was given up */
    bool off;             /* not subscribed */
    enum app_wish notify; /* notifications are wanted */
    unsigned fetch_run;   /* its device's run in which FETCHED is due; 0: in none */
    int32_t sync;
    int64_t last_in; /* number of the last message that was shown; -1: none */
    int64_t n_out;   /* messages that were sent */
};

enum app_sent { APP_SENDING, APP_PENDING, APP_SENT, APP_NOT_SENT, APP_MAYBE };

struct app_msg {
    unsigned n;
    struct app_end *from;
    unsigned text; /* number in its body: its own, or that of the first of a batch */
    int64_t seq;   /* among those of `from` */
    int64_t id;    /* the sender's */
    enum app_sent state;
    uint64_t sent_at, shown_at; /* ticks */
    int64_t shown_id;           /* the receiver's; 0: was not shown */
    bool acked, ack_pending;
    bool receipt; /* wanted by the receiver */
    bool sent_event, merr, rcvd;
    bool excused;  /* need not arrive */
    bool reported; /* the receiver was told that it is missing */
    bool probe;
};

enum app_kind { APP_ALLOW = 1, APP_ACCEPT, APP_REJECT, APP_ACK, APP_SYNC, APP_JOIN };

struct app_task {
    enum app_kind kind; /* 0: free */
    struct app_end *end;
    int64_t id;
    unsigned other; /* number of the end that asks */
    bool receipt;
    int64_t due;
    uint64_t made; /* tick */
};

extern struct app {
    uint64_t tick; /* counts what happens: an order without equal times */
    struct app_end ends[APP_ENDS];
    unsigned n_ends;
    struct app_msg msgs[APP_MSGS];
    unsigned n_msgs;
    struct app_task tasks[APP_TASKS];
    struct app_end *calling[SIM_NODES]; /* the end that a call under way makes */
    bool calls_back[SIM_NODES];         /* the device uses on_event */
    bool prompt;                        /* no more delays: tasks are done at once */
    bool faults;                        /* allocations or the database may fail */
    bool kills;                         /* devices may die */
    bool pq;                            /* messages switch post-quantum keys */
    bool expiry;                        /* so much time has passed that messages may have expired */
    bool rotates[SIM_NODES];            /* policies may move the queues of the device */
    bool replies;                       /* a message may be answered while it is handled */
    unsigned max_wait;                  /* ms, of tasks */
    unsigned shown;                     /* messages */
} app;

void app_open(void);
void app_start(struct sim_node *n);         /* opens its agent, unless it dies on the way */
void app_pump(void);                        /* events that wait, tasks that are due */
void app_rotates(const struct sim_node *n); /* a policy is set: its queues may move */
struct app_end *app_new_end(struct sim_node *n, enum app_role role);
/* The end is being made; it was made and has this number, or was not (0). */
void app_making(struct app_end *e);
void app_made(struct app_end *e, int64_t id);
struct app_end *app_find(const struct sim_node *n, int64_t id);
bool app_usable(const struct app_end *e); /* on a running device, ready and not deleted */
void app_event(struct sim_node *n, const simplex_event *ev);
void app_add_task(enum app_kind kind, struct app_end *e, int64_t id, unsigned other);
/* A message about to be sent: NULL: there are enough. Its body, and what became of it. */
struct app_msg *app_new_msg(struct app_end *e, bool probe);
simplex_bytes app_body(const struct app_msg *m, size_t len, uint8_t to[APP_BODY]);
void app_sent(struct app_msg *m, simplex_rc rc);
/* Sends a message; in a device's context. */
void app_send_now(struct app_end *e, size_t len, bool probe);
void app_send_flags(struct app_end *e, size_t len, bool probe, uint32_t flags);
void app_send(struct app_end *e, size_t len, bool probe);

/* ---- app_rules.c ---- */

void app_on_message(struct app_end *e, const simplex_event *ev);
void app_on_sent(struct app_end *e, const simplex_event *ev);
void app_on_merr(struct app_end *e, const simplex_event *ev);
void app_on_rcvd(struct app_end *e, const simplex_event *ev);
void app_on_err(struct sim_node *n, struct app_end *e, const simplex_event *ev);
void app_on_rsync(struct app_end *e, const simplex_event *ev);
/* The message of this body; to e, if any such is. */
struct app_msg *app_of_body(const struct app_end *e, simplex_bytes body);
struct app_msg *app_shown(const struct app_end *e, int64_t msg_id);
/* The device went back to the copy made at that tick. */
void app_rolled_back(struct sim_node *n, uint64_t tick);
void app_connection_ended(struct app_end *e); /* on one side: nothing is promised any more */
bool app_settled(void);                       /* all that was begun has ended */
void app_check_end(void);                     /* after that: nothing is missing */
void app_describe(void);                      /* on stderr: what has not ended */

/* ---- plan.c ---- */

enum plan_group { /* what a run may contain, chosen for each */
                  PLAN_ALWAYS = 0,
                  PLAN_KILL = 1,   /* devices die and start again */
                  PLAN_NET = 2,    /* sessions break, are deaf, repeat */
                  PLAN_SERVER = 4, /* servers go and come */
                  PLAN_SWITCH = 8, /* queues move */
                  PLAN_SYNC = 16,  /* ratchets are made anew */
                  PLAN_DELETE = 32,
                  PLAN_ADDRESS = 64, /* contact addresses and short links */
                  PLAN_COPY = 128,   /* old copies of databases */
                  PLAN_TIME = 256,   /* clocks jump, hours pass */
                  PLAN_FAULT = 512,  /* no memory, full disk */
                  PLAN_NOISE = 1024, /* noise traffic */
                  PLAN_LIFE = 2048,  /* networks, suspension */
                  PLAN_USERS = 4096,
                  PLAN_PUSH = 8192,     /* notifiers, fetching */
                  PLAN_PROXY = 16384,   /* private routing */
                  PLAN_SERVICE = 32768, /* client services */
                  PLAN_QUEUES = 65536,  /* queues are added and removed */
                  PLAN_GROUPS = 17,     /* those above; the others: `later` in plan.c */
                  PLAN_BACKUP = 1 << 17,
                  PLAN_KEY = 1 << 18,  /* databases are encrypted, keys change */
                  PLAN_LINK = 1 << 19, /* what is behind short links changes */
                  PLAN_PQ = 1 << 20,   /* post-quantum keys go on and off */
                  PLAN_ASK = 1 << 21,  /* servers are asked about queues */
};

extern bool plan_contact;    /* device 1 sends anything once it is connected with device 0 */
extern unsigned plan_groups; /* bits of the groups of actions that may be chosen; all */
extern bool plan_all;        /* they are chosen in every run */
void plan_configure(struct sim_node *n); /* before its agent is opened */
void plan_run(void); /* a whole run, from sim_open to sim_close, as the choices have it */

#endif
