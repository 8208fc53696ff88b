/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that ask the servers of a connection about each of its receiving queues, and are answered
 * by events without a row. The events are made when the call is accepted: a lack of memory is an
 * error of the call then, and a later one leaves no application waiting.
 */
#ifndef SX_AGENT_PROMISED_H
#define SX_AGENT_PROMISED_H

#include "agent/agent.h"

struct sx_promised {
    struct sx_promised *next;
    int64_t queue;
    struct simplex_event *answer; /* tells the connection and the server already */
};

struct sx_question {
    int32_t kind; /* of the events */
    bool (*may_ask)(struct simplex_agent *a, const struct sx_rcv_queue *q);
    /* Sends a request with p as its ctx. A failure is the answer. */
    simplex_rc (*ask)(struct simplex_agent *a, struct sx_promised *p);
};

/* E_NOT_FOUND, E_PROHIBITED (no queue may be asked), E_NOMEM, those of the database: then nothing
 * is asked and no event follows. */
simplex_rc sx_promise_answers(struct simplex_agent *a, int64_t conn,
                              const struct sx_question *how) SIMPLEX_CHECK;
/* The answer is shown; p is gone. */
void sx_promise_keep(struct simplex_agent *a, struct sx_promised *p);
void sx_promise_forget(struct simplex_agent *a, struct sx_promised *p); /* nobody waits for it */
void sx_promises_free(struct simplex_agent *a);

#endif
