/* SPDX-License-Identifier: Apache-2.0 */
/* What a contact makes us show waits for an application that does not look: unread.c. */
#ifndef SX_AGENT_UNREAD_H
#define SX_AGENT_UNREAD_H

#include "agent/agent.h"

#define SX_EVENTS_WAITING 64 /* of one connection */

/* An event of this kind is the doing of the peer, who could go on with it without end. */
bool sx_event_is_of_peer(int32_t kind);
/* So many of the connection wait already. */
simplex_rc sx_events_wait(struct simplex_agent *a, int64_t conn, bool *too_many) SIMPLEX_CHECK;
/* Must a message of queue stay on its server for that? */
simplex_rc sx_unread_holds(struct simplex_agent *a, const struct sx_conn *c, int64_t queue,
                           bool *yes) SIMPLEX_CHECK;
void sx_unread_left(struct simplex_agent *a, int64_t queue); /* it did */
/* The application has handled an event of conn (0: of none), or acknowledged a message. */
simplex_rc sx_unread_less(struct simplex_agent *a, int64_t conn) SIMPLEX_CHECK;

#endif
