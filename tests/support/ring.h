/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two agents and several servers, for connections with several queues. Each server is behind two
 * forwarders: what either agent has to do with it can fail alone, or with the other's.
 */
#ifndef TESTS_RING_H
#define TESTS_RING_H

#include "support/agents.h"

#define RING_SERVERS 4

struct ring {
    char dir[256];
    size_t n;
    struct test_server srv[RING_SERVERS];
    struct forwarder fwd[RING_SERVERS]; /* the way to it, for both */
    char address[RING_SERVERS][512];
    struct test_agent i, j;
    int64_t ic, jc;
};

/* Agents with so many queues each; cfg is that of the first server, NULL: as of the others. */
void ring_open(struct ring *r, size_t servers, int32_t i_queues, int32_t j_queues,
               const simplex_server_config *cfg);
void ring_connect(struct ring *r);
void ring_close(struct ring *r);
/* Servers go away (refuse) and come back. */
void ring_away(struct ring *r, size_t server);
void ring_back(struct ring *r, size_t server);

/* The nth queue of a direction (SIMPLEX_SWITCH_...). False behind the last. */
bool queue_at(struct test_agent *t, int64_t conn, int32_t direction, size_t nth,
              simplex_queue_info *out);
size_t count_queues(struct test_agent *t, int64_t conn, int32_t direction);
/* Waits until so many queues of the direction are in use, and no other is there. */
void expect_in_use(struct test_agent *t, int64_t conn, int32_t direction, size_t n);
/* Of the server with this forwarder; RING_SERVERS: none of them. */
size_t server_of(const struct ring *r, const simplex_queue_info *q);

#endif
