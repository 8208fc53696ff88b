/* SPDX-License-Identifier: Apache-2.0 */
/* The end of connections, and of their queues on servers. */
#ifndef SX_AGENT_DELETE_H
#define SX_AGENT_DELETE_H

#include "agent/agent.h"

simplex_rc sx_delete(struct simplex_agent *a, int64_t conn) SIMPLEX_CHECK;
/* When its messages are delivered: farewell.c. */
simplex_rc sx_delete_after_sending(struct simplex_agent *a, int64_t conn) SIMPLEX_CHECK;
/* Nothing more is to be delivered. */
simplex_rc sx_deletion_goes_on(struct simplex_agent *a, int64_t conn) SIMPLEX_CHECK;
/* Nothing is sent any more for a connection that is being made; only deleting it is left. */
simplex_rc sx_stop_making(struct simplex_agent *a, int64_t conn) SIMPLEX_CHECK;
/* DEL was answered (rc OK), or is given up: the queue goes, and with the last the connection. */
simplex_rc sx_queue_never_made(struct simplex_agent *a, int64_t conn, int64_t queue) SIMPLEX_CHECK;
simplex_rc sx_queue_deleted(struct simplex_agent *a, const struct sx_rcv_queue *q, simplex_rc rc,
                            const char *detail) SIMPLEX_CHECK;

#endif
