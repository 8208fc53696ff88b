/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Load on an SMP server: many connections over TLS, made of the connections of lib/client, on a
 * few threads with a libuv loop each. The program smp-load and bench_operator run it.
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <stdio.h>

#include "wire/smp.h"

#define LOAD_THREADS_MAX 64
#define LOAD_WINDOW_MAX 100 /* below the usual quota of 128 messages in a queue */
#define LOAD_ERRORS_MAX 32  /* kinds of errors told apart */

enum load_mode {
    LOAD_CYCLE,     /* SEND, MSG, ACK, over and over */
    LOAD_IDLE,      /* connections that only stay; a PING on each at the end */
    LOAD_STORM,     /* all connections at once, closed again, over and over */
    LOAD_SUBSCRIBE, /* SUB of every queue, over and over */
};

struct load_options {
    struct sx_server server;
    simplex_bytes password; /* for NEW; borrowed */
    enum load_mode mode;
    unsigned connections; /* cycle: half of them send */
    unsigned queues;      /* of a connection that receives */
    unsigned threads;
    unsigned window;    /* cycle: messages in flight in a queue */
    unsigned in_flight; /* cycle: and in all queues, which take turns; 0: no limit */
    unsigned burst;     /* cycle: messages that a queue sends at a time; at most a window */
    unsigned parallel;  /* connections being made at a time; 0: all (always so in a storm) */
    unsigned size;      /* of a SEND body; more than the version allows: the most it allows */
    double seconds;     /* of the run itself */
    uint64_t messages;  /* cycle: the run also ends after so many; 0: it does not */
    int64_t timeout_ms; /* of making a connection, and of answers at the end */
    uint16_t min, max;  /* SMP versions; 0: all */
    bool check;         /* cycle: decrypt what arrives and compare it with what was sent */
    bool only_prepare;  /* ends when the queues are made */
    bool socks;         /* onion hosts through a SOCKS5 proxy on 127.0.0.1 */
    uint16_t socks_port;
};

/* Values in microseconds, about 3% apart. */
struct hist {
    uint64_t n, max;
    uint32_t count[32 * 40];
};

void hist_add(struct hist *h, uint64_t us);
void hist_merge(struct hist *to, const struct hist *from);
uint64_t hist_at(const struct hist *h, double share); /* 0.5: the median; 0 when empty */

struct load_error {
    char kind[96];
    uint64_t n;
};

struct load_errors {
    size_t n;
    struct load_error kind[LOAD_ERRORS_MAX]; /* the last one takes what has no room */
    uint64_t total;
};

void errors_add(struct load_errors *e, const char *what, const char *detail, uint64_t n);

enum load_phase { LOAD_CONNECT, LOAD_PREPARE, LOAD_RUN, LOAD_DRAIN, LOAD_CLOSE };

struct load_snapshot {
    enum load_phase phase;
    double seconds; /* since the phase began */
    unsigned ready; /* connections */
    uint64_t done;  /* cycles, connections of a storm, subscriptions; since the run began */
    uint64_t errors;
    uint64_t blocks; /* written and read, since the beginning */
};

struct load_result {
    double connect_seconds, prepare_seconds, seconds;
    unsigned ready; /* connections that were made (storm: in all rounds) */
    uint16_t version;
    uint64_t done, unanswered;
    struct hist connect, send, deliver, ack, sub, ping;
    struct load_errors errors;
};

/* `progress` is called ten times a second, on the calling thread; when it returns false, LOAD_RUN
 * ends before its time. False: nothing could be run. */
bool load_run(const struct load_options *o,
              bool (*progress)(void *user, const struct load_snapshot *s), void *user,
              struct load_result *out);

/* As many open files as the system allows; returns that number. */
unsigned long load_raise_files(void);

/* options.c: fills o. Returns -1 to go on, otherwise the exit status of the program. */
int load_parse(int argc, char **argv, struct load_options *o, bool *json);
/* A host name becomes an address, once, so that the resolver is not part of what is measured. */
bool load_resolve(struct sx_server *s);

/* report.c */
const char *load_mode_name(enum load_mode m);
void load_print(FILE *f, const struct load_options *o, const struct load_result *r);
void load_print_json(FILE *f, const struct load_options *o, const struct load_result *r);

#endif
