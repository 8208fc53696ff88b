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
/* J joins I's connection by this link, and both are connected. */
void ring_join(struct ring *r, simplex_bytes link, int32_t pq);
void ring_close(struct ring *r);
/* A message each way. */
void ring_talk(struct ring *r, const char *text);
/* Waits until both know so many queues of I and so many of J, all in use. */
void ring_expect_in_use(struct ring *r, size_t i_queues, size_t j_queues);
/* Waits until the servers hold so many. */
void ring_expect_queues(struct ring *r, size_t n);
/* Servers go away (refuse) and come back. */
void ring_away(struct ring *r, size_t server);
void ring_back(struct ring *r, size_t server);

/* The nth queue of a direction (SIMPLEX_SWITCH_...). False behind the last. */
bool queue_at(struct test_agent *t, int64_t conn, int32_t direction, size_t nth,
              simplex_queue_info *out);
size_t count_queues(struct test_agent *t, int64_t conn, int32_t direction);
/* Waits until so many queues of the direction are in use, and no other is there. */
void expect_in_use(struct test_agent *t, int64_t conn, int32_t direction, size_t n);
/* Waits until all queues of the peer have taken what was sent. */
void expect_taken(struct test_agent *t, int64_t conn);
/* The next SIMPLEX_EV_QUEUE of this direction that tells this change. The caller frees it. */
simplex_event *expect_queue_change(struct test_agent *t, int64_t conn, int32_t direction,
                                   int32_t change);
/* Of the server with this forwarder; RING_SERVERS: none of them. */
size_t server_of(const struct ring *r, const simplex_queue_info *q);

#endif
