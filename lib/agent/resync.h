/* SPDX-License-Identifier: Apache-2.0 */
/* A new ratchet (agent.md section 6.6). */
#ifndef SX_AGENT_RESYNC_H
#define SX_AGENT_RESYNC_H

#include "agent/receive.h"

#define SX_AGENT_SYNC 3 /* agents from this version on have it */
#define SX_ROW_RATCHET_KEY 100 /* type of a message that carries our new keys */
/* Nothing but the handshake and EREADY can be sent. */
bool sx_sync_blocks(const struct sx_conn *c);
simplex_rc sx_sync_start(struct simplex_agent *a, int64_t conn, bool force) SIMPLEX_CHECK;
simplex_rc sx_on_ratchet_key(struct simplex_agent *a, struct sx_conn *c,
                             const struct sx_rcv_queue *q, const struct sx_opened *o,
                             struct sx_incoming *in) SIMPLEX_CHECK;
/* A message was read, or could not be; the row of c is the caller's to update. */
simplex_rc sx_sync_read(struct simplex_agent *a, struct sx_conn *c) SIMPLEX_CHECK;
simplex_rc sx_sync_unreadable(struct simplex_agent *a, struct sx_conn *c, simplex_rc why,
                              bool *told) SIMPLEX_CHECK;
simplex_rc sx_on_eready(struct simplex_agent *a, struct sx_conn *c, bool had_chain) SIMPLEX_CHECK;
/* Our keys will not reach the peer. */
simplex_rc sx_sync_undelivered(struct simplex_agent *a, int64_t conn, simplex_rc why,
                               const char *detail) SIMPLEX_CHECK;

#endif
