/* SPDX-License-Identifier: Apache-2.0 */
/* Two agents and two servers: I moves its receiving queue, J follows. */
#ifndef SWITCH_STAGE_H
#define SWITCH_STAGE_H

#include "support/agents.h"

/* The queues of both are on the first server; `next` is the way to a second one. */
struct trio {
    struct duo d;
    struct test_server second;
    struct forwarder next;
    char address[512];
};

void trio_open(struct trio *t, const simplex_server_config *cfg); /* both are connected */
void trio_close(struct trio *t);
/* Begins a move; to an empty `server`: to any. */
void start_move(struct test_agent *t, int64_t conn, const char *server);
/* Waits until this side is at the phase; what it has shown before may have been thrown away. The
 * end of the move before, which was to the other server, may come behind what is stored of it. */
void reach(struct test_agent *t, int64_t conn, int32_t phase, const char *server);
/* By what is stored: events may have been shown before a restart. */
void wait_until_moved(struct duo *d);

#endif
