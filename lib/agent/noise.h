/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Noise traffic: commands that mean nothing, so that whoever counts and times what an agent sends
 * learns less about its messages. Three kinds: PINGs, messages that the agent sends to itself
 * through queues of its own (loops), and repeats of a message that a contact has already.
 *
 * noise_plan.c decides when, without knowing what for; noise.c connects it with the agent;
 * noise_loop.c and noise_repeat.c do the two kinds that need more than a command.
 */
#ifndef SX_NOISE_H
#define SX_NOISE_H

#include "agent/agent.h"

/* ---- noise_plan.c: when ---- */

enum sx_noise_kind { SX_NOISE_PING, SX_NOISE_LOOP, SX_NOISE_REPEAT, SX_NOISE_KINDS };

/*
 * Each kind has slots at exponentially distributed distances, and a part of the budget: on average
 * half of it is spent. Who takes a slot draws one of its targets (a session, a queue) uniformly, so
 * that each target by itself has exponentially distributed slots too, independent of the others'.
 *
 * What is spent is taken from a bucket which is filled with three quarters of the budget an hour
 * and holds one quarter: whatever the slots, no hour sees more than the budget.
 */
struct sx_noise_plan { /* times in ms of one clock, which is handed in */
    int64_t budget;    /* bytes an hour; 0: no slots */
    uint32_t kinds;    /* 1 << kind of those that are wanted */
    int64_t tokens;    /* bytes that may be spent now */
    int64_t filled_at;
    int64_t seen;                 /* the last time that was handed in */
    int64_t next[SX_NOISE_KINDS]; /* slots; INT64_MAX: none */
};

#define SX_NOISE_HOUR 3600000
#define SX_NOISE_BUDGET_MIN (20 * SX_BLOCK)
#define SX_NOISE_BUDGET_MAX (INT64_C(1) << 40)
/* Blocks of either direction: a command and its answer; of a loop also MSG, ACK and its answer. */
#define SX_NOISE_COST_COMMAND (2 * SX_BLOCK)
#define SX_NOISE_COST_LOOP (5 * SX_BLOCK)
#define SX_NOISE_LATE 60000 /* a slot that is later than this was slept through */

/* Begins anew when something changed: the next slots are drawn from `now` on. */
void sx_noise_plan_set(struct sx_noise_plan *p, int64_t budget, uint32_t kinds, int64_t now);
int64_t sx_noise_plan_next(const struct sx_noise_plan *p); /* INT64_MAX: never */
/* Takes the next slot that is due and draws the one after it. False: none is due. What would have
 * happened while the process slept does not happen afterwards. */
bool sx_noise_plan_due(struct sx_noise_plan *p, int64_t now, enum sx_noise_kind *kind);
bool sx_noise_plan_spend(struct sx_noise_plan *p, int64_t bytes, int64_t now);
int64_t sx_noise_plan_mean(const struct sx_noise_plan *p, enum sx_noise_kind kind); /* ms */

/*
 * A message of the application takes the place of noise. With `wait` it leaves in a slot, whatever
 * its kind, and no noise does. Without it leaves at once, and is a debt of its target: a slot of
 * that target pays it, by being left out, with the probability debt / (debt + SX_NOISE_SPREAD).
 * Either way the number of sends stays what it is without messages. Were it always the next slot,
 * the long distance behind a single message would tell; the later, the more would a conversation
 * (bench/bench_noise.c has the figures).
 */
#define SX_NOISE_SPREAD 1
#define SX_NOISE_DEBT_MAX 64 /* a long file does not end all noise */
void sx_noise_owe(uint32_t *debt);
bool sx_noise_pay(uint32_t *debt); /* true: the slot is left out */

/* Exponentially distributed with this mean, in integers. mean: 1 to 2^36. */
int64_t sx_noise_exponential(int64_t mean);

/* ---- noise.c: the agent's side ---- */

struct sx_noise_queue;
struct sx_noise_repeat;

#define SX_NOISE_DELAYS 32
#define SX_NOISE_MINUTES 60

struct sx_noise_count { /* of a minute, or of all time */
    int64_t minute;
    int64_t bytes;
    uint32_t sent[SX_NOISE_KINDS];
    uint32_t real, replaced;
};

struct sx_noise_shown { /* a message that waits for its ACK */
    int64_t queue, since;
};

struct sx_noise_held { /* a message that waits for a slot */
    int64_t queue;
    bool goes; /* the slot is there */
};
#define SX_NOISE_HELD_MAX 64 /* what comes on top does not wait */
#define SX_NOISE_WAIT_MAX 600000

struct sx_noise {
    simplex_noise cfg;
    bool metered, paused;
    struct sx_noise_plan plan;
    int64_t wake; /* mono ms: nothing to do before */
    struct sx_noise_queue *queues;
    size_t n_queues;
    struct sx_noise_repeat *repeats; /* the one used last first */
    size_t n_repeats;
    /* How long real messages wait for their ACK: noise does the same. */
    struct sx_noise_shown shown[SX_NOISE_DELAYS];
    uint32_t delays[SX_NOISE_DELAYS]; /* ms */
    size_t n_shown, n_delays;
    struct sx_noise_held held[SX_NOISE_HELD_MAX]; /* the oldest first */
    size_t n_held;
    bool in_slot; /* the message that leaves now */
    bool notify;  /* of the last message of the application */
    struct sx_noise_count total, minutes[SX_NOISE_MINUTES];
};

simplex_rc sx_noise_check(const simplex_noise *cfg, simplex_noise *out) SIMPLEX_CHECK;
/* At the start and after a failure of the database: reads the rows; makes a->noise if need be. */
simplex_rc sx_noise_load(struct simplex_agent *a) SIMPLEX_CHECK;
void sx_noise_reset(struct simplex_agent *a); /* forgets what is in memory, before _load */
void sx_noise_free(struct simplex_agent *a);
void sx_noise_run(struct simplex_agent *a);            /* at the end of a turn, after the commit */
int64_t sx_noise_alarm(const struct simplex_agent *a); /* mono ms; INT64_MAX: none */
void sx_noise_wake(struct sx_noise *n, int64_t at);
/* The network: a metered one has a budget of its own; paused: offline or suspended. */
void sx_noise_network(struct simplex_agent *a, bool metered, bool paused);

/* m is about to leave: true: it waits for a slot, as a retry of w. */
bool sx_noise_holds(struct simplex_agent *a, struct sx_rt_sndq *w, const struct sx_snd_msg *m);
/* A SEND of w left; the server has m. */
void sx_noise_real(struct simplex_agent *a, struct sx_rt_sndq *w, bool notify);
void sx_noise_delivered(struct simplex_agent *a, const struct sx_rt_sndq *w,
                        const struct sx_snd_msg *m);
/* A MSG was shown by the server; its ACK leaves. */
void sx_noise_shown(struct simplex_agent *a, int64_t queue);
void sx_noise_acked(struct simplex_agent *a, int64_t queue);
/* A message of the peer was read. */
void sx_noise_heard(struct simplex_agent *a, int64_t conn);

void sx_noise_up(struct simplex_agent *a, struct sx_rt_server *s);
void sx_noise_down(struct simplex_agent *a, const struct sx_rt_server *s);
/* True: it was for a queue of noise. */
bool sx_noise_event(struct simplex_agent *a, const struct sx_client *c,
                    const struct sx_transmission *t, const struct sx_rsp *rsp);

/* For the kinds: spends, counts. False: the budget has not enough, nothing may be sent. */
bool sx_noise_may(struct sx_noise *n, int64_t bytes);
void sx_noise_did(struct sx_noise *n, enum sx_noise_kind kind);
int64_t sx_noise_delay(const struct sx_noise *n); /* ms until an ACK: as messages have it */
bool sx_noise_pay_session(struct sx_noise *n, struct sx_rt_server *s);
bool sx_noise_pay_repeat(struct sx_noise *n, struct sx_noise_repeat *r);
void sx_noise_count_bytes(struct sx_noise *n, int64_t bytes); /* what must be sent anyway */

/* ---- noise_loop.c ---- */

struct sx_noise_queue {
    struct sx_noise_queue *next;
    struct sx_noise_row row;
    struct sx_rt_server *server; /* where it is read */
    struct sx_rt_server *path;   /* that the last SEND went by */
    bool due;                    /* its row is on disk soon: NEW follows */
    bool in_flight;              /* NEW, SKEY or DEL */
    bool subscribed, subscribing;
    bool unacked;
    struct sx_id msg_id;
    uint8_t corr_id[SX_ID_LEN]; /* of NEW */
    int64_t ack_at;
    int64_t delay, elapsed, retry_at; /* of DEL */
};
#define SX_NOISE_QUEUES_MAX 16

simplex_rc sx_noise_loops_load(struct simplex_agent *a) SIMPLEX_CHECK;
void sx_noise_loops_free(struct sx_noise *n);
void sx_noise_loop(struct simplex_agent *a);                   /* a slot */
void sx_noise_loops_run(struct simplex_agent *a, int64_t now); /* ACKs and DELs that are due */
void sx_noise_loops_up(struct simplex_agent *a, struct sx_rt_server *s);
void sx_noise_loops_mark(struct simplex_agent *a); /* servers in_use: idle.c */
void sx_noise_loops_down(struct sx_noise *n, const struct sx_rt_server *s);

/* ---- noise_repeat.c ---- */

struct sx_noise_repeat { /* a message that the server of a contact has taken */
    struct sx_noise_repeat *next;
    int64_t queue, conn;
    int64_t since; /* mono ms of its delivery */
    uint32_t debt;
    uint32_t unanswered; /* repeats since the contact was heard */
    bool in_flight, full;
    simplex_bytes text; /* owned: as the ratchet made it */
};
#define SX_NOISE_REPEATS_MAX 32
/* Recipients know a message again for 21 days after they read it, and servers keep what was not
 * read for 21 days: a contact that is away for longer than 20 days would see an error. */
#define SX_NOISE_REPEAT_AGE (24 * 3600 * 1000)
#define SX_NOISE_UNANSWERED_MAX 16 /* a queue holds 128: noise must not be what fills it */

void sx_noise_repeat(struct simplex_agent *a); /* a slot */
void sx_noise_repeats_free(struct sx_noise *n);
struct sx_noise_repeat *sx_noise_repeat_of(struct sx_noise *n, int64_t queue);

#endif
