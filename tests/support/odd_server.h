/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server for an agent that answers as the test tells it (smp_peer.h), on the thread of the test:
 * it runs while the test waits for an event.
 */
#ifndef TESTS_ODD_SERVER_H
#define TESTS_ODD_SERVER_H

#include "support/agents.h"
#include "support/smp_peer.h"

struct odd_server {
    uv_loop_t loop;
    struct peer peer; /* peer.answer says what it does */
    char address[512];
};

void odd_server_open(struct odd_server *o);
/* The agents first: they hold connections to it. */
void odd_server_close(struct odd_server *o);

/* The next event of this kind (and connection, unless 0); others are dropped. NULL: it did not come
 * within ms. */
simplex_event *odd_server_hear_within(struct odd_server *o, struct test_agent *t, int32_t kind,
                                      int64_t conn, int64_t ms);
/* The same, and must come. */
simplex_event *odd_server_hear(struct odd_server *o, struct test_agent *t, int32_t kind,
                               int64_t conn);

#endif
