/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two agents in processes of their own (agent_worker.c) that are killed, servers in this one, and
 * networks between them that fail as well. In the end every message that an agent took over has
 * arrived once, in order, whole, and the servers hold nothing that nobody knows.
 *
 * SIMPLEX_SEED repeats a run (as far as timing allows), SIMPLEX_ROUNDS makes it longer.
 */
#ifndef KILL_STAGE_H
#define KILL_STAGE_H

#include "support/agents.h"

#define CONVS 128

struct stage {
    char dir[256], chores[16];
    size_t n_servers;
    struct test_server srv[2];
    struct forwarder f[2][2]; /* [agent][server] */
    char address[2][2][512];
    char db[2][300];
    uint64_t seed;
    uint32_t pause_us; /* every second life lasts up to that */
    long goal;
    size_t
        lost_answers; /* kills and dropped connections: each may leave queues that nobody knows */
};

/* chores: letters of agent_worker.h. cfg: of the servers; NULL: defaults. */
struct stage *stage_open(const char *chores, size_t n_servers, const simplex_server_config *cfg);
void stage_close(struct stage *s);

uint32_t stage_below(struct stage *s, uint32_t n);
long stage_rounds(long n);                   /* SIMPLEX_ROUNDS, or n */
void stage_goal(struct stage *s, long goal); /* so many conversations */

/* So many kills of one or both at random moments, with new conversations from time to time. */
void stage_kill_at_random(struct stage *s, long rounds);
/* `who` kills itself at the nth such moment (agent_worker_kill.c) and is started again. False: the
 * moment did not come. */
bool stage_kill_at(struct stage *s, int who, char letter, long nth);
/* Lets both finish, and checks what the logs and the servers say. */
void stage_finish(struct stage *s);

#endif
