/* SPDX-License-Identifier: Apache-2.0 */
/* Agents of benchmarks: they connect, acknowledge and count by themselves. A failure ends the
 * program. */
#ifndef BENCH_SIDES_H
#define BENCH_SIDES_H

#include <pthread.h>
#include <stddef.h>

#include "simplex/agent.h"

#define SIDE_CONNS 1000
#define SIDE_KINDS 128
#define SERVERS_MAX 10

struct side {
    simplex_agent *a;
    struct side *peer; /* who joins this one's links; NULL: nobody */
    bool receipts;     /* messages are acknowledged with one */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t seen[SIDE_KINDS];   /* events, by kind */
    size_t up;                 /* connections in UP events */
    size_t moved, synced;      /* rotations and synchronisations completed */
    int64_t conns[SIDE_CONNS]; /* the first that were connected */
};

void bench_die(const char *what, simplex_rc rc);
void bench_must(const char *what, simplex_rc rc);

/* cfg: what is not the usual; db_path, key, callback and servers are set here. NULL: nothing. */
void side_open(struct side *s, const char *db, const char *const *servers, size_t n_servers,
               const simplex_agent_config *cfg);
void side_close(struct side *s);
/* Until the counter, which is one of s, has reached n. */
void side_wait(struct side *s, const size_t *counter, size_t n);
/* n connections between s and its peer, by one-time links. */
void side_connect(struct side *s, size_t n);
void side_remove_db(const char *db);

/* Servers in processes of their own; call while this process has one thread. */
extern const char *bench_servers[SERVERS_MAX];
void bench_servers_start(size_t n);
void bench_servers_stop(size_t n);

#endif
