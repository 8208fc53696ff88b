/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of agent_worker share; see agent_worker.c. */
#ifndef AGENT_WORKER_H
#define AGENT_WORKER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "simplex/agent.h"

#define CONVS 128

enum {                      /* letters of the file `chores`: what is done beside talking */
       CHORE_ADDRESS = 'a', /* connections come about through a contact address of I */
       CHORE_SHORT = 'l',   /* links are short; J looks at them before it joins, or does not */
       CHORE_BATCH = 'b',   /* pings leave with simplex_agent_send_batch */
       CHORE_RECEIPTS = 'r',
       CHORE_SWITCH = 's', /* both sides move their queues */
       CHORE_ABORT = 'x',  /* and think better of it now and then */
       CHORE_POLICY = 'p', /* queues move by themselves */
       CHORE_SYNC = 'y',   /* new ratchets; pings have no answers then */
};

struct conv {
    long n, attempt;  /* the last ping */
    bool open;        /* nobody knows whether the agent has it */
    long answered;    /* the last ping with an answer */
    int64_t last_id;  /* of the messages in the log */
    int64_t taken_id; /* of the last ping that the agent has for sure */
    int64_t received; /* the last message with a receipt */
    char last[64];
    int64_t switch_at, sync_at; /* ms: when the next chore is due */
    int64_t blocked_at;         /* since when the ratchet is being made anew */
    int syncs;                  /* begun by us */
};

struct worker {
    bool initiator;
    bool owner; /* I, with an address */
    char chores[16];
    const char *dir;
    simplex_agent *a;
    int log;
    long batch;           /* the last one in the log */
    pthread_mutex_t lock; /* convs, log; never held while the agent is called from outside */
    struct conv convs[CONVS];
};

extern struct worker self;

bool chore(char letter);
int64_t now_ms(void);
long below(long n); /* at random */

/* ---- agent_worker_log.c: files ---- */

bool exists(const char *name);
/* name, or name.n; whole or not at all */
void put_file(const char *name, long n, const void *text, size_t len);
size_t get_file(const char *name, long n, char *to, size_t size);
void open_log(const char *role); /* and reads what was before */
void write_log(const char *line);
void error(const char *what, const char *text);
void check(const char *what, simplex_rc rc);

/* ---- agent_worker_chores.c ---- */

/* The next conversation, when there is to be one. */
void begin(long n, const int64_t *ids, long goal);
void on_link_data(const simplex_event *ev);
bool expected_error(const simplex_event *ev);
void set_policy(bool stop);
/* Moves a queue or makes a new ratchet. True when nothing of the kind is going on. */
bool do_chore(long conv, int64_t conn, const simplex_connection_info *info, bool stop);

/* ---- agent_worker_kill.c ---- */

/* The file `kill.<role>`, a letter and a number: this process kills itself before (b) or after (a)
 * that commit, before that block is written (w) or after that one was sent (p). */
void plan_kill(const char *role);

#endif
