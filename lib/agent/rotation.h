/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When receiving queues are rotated without being asked to: policies of users and connections.
 * How a rotation goes is in switch_rcv.c. All on the agent's thread; functions that write are
 * called within a handler.
 */
#ifndef SX_ROTATION_H
#define SX_ROTATION_H

#include "agent/agent.h"

#define SX_ROTATION_JITTER 25 /* per cent */
#define SX_ROTATION_BATCH 64  /* rows looked at in one turn */

/* The tables at the start: what is due, and what depends on messages. */
simplex_rc sx_rotation_load(struct simplex_agent *a) SIMPLEX_CHECK;
/* At the end of a turn: starts what is due, gives up what does not come to an end. */
void sx_rotation_run(struct simplex_agent *a);
void sx_rotation_servers_changed(struct simplex_agent *a); /* the list of some user, perhaps */
int64_t sx_rotation_alarm(const struct simplex_agent *a);  /* mono ms; INT64_MAX: none */

simplex_rc sx_rotation_connected(struct simplex_agent *a, const struct sx_conn *c) SIMPLEX_CHECK;
/* A message of the peer has come, and is counted in c. */
simplex_rc sx_rotation_message(struct simplex_agent *a, const struct sx_conn *c) SIMPLEX_CHECK;
/* The rotation of a queue of ours has come to an end. why: of one that was aborted. */
simplex_rc sx_rotation_ended(struct simplex_agent *a, int64_t conn, bool completed,
                             simplex_rc why) SIMPLEX_CHECK;

/* ---- rotation_set.c ---- */

/* Connections whose server is not on the list of their user any more: some of them at a time, while
 * a->rotation.check is set. */
simplex_rc sx_rotation_check_servers(struct simplex_agent *a) SIMPLEX_CHECK;

/* A queue that is not where its user wants queues to be makes the connection due. */
simplex_rc sx_rotation_check(struct simplex_agent *a, int64_t conn) SIMPLEX_CHECK;
/* Which of its queues moves next: one on a server that is not on the list of the user any more, or
 * that which has been there for longest. 0: there is none. */
simplex_rc sx_rotation_queue(struct simplex_agent *a, const struct sx_conn *c, int64_t *queue,
                             bool *listed) SIMPLEX_CHECK;

/* ---- shared by rotation.c and rotation_set.c ---- */

int64_t sx_up_to(int64_t max); /* 0 .. max, uniform but for 1 in 2^18 at the longest */
bool sx_rotates(const struct sx_rotation_policy *p);
/* Due in so many ms. A clock that is set back meanwhile makes it no longer. */
void sx_rotation_plan(struct sx_rotation *r, int64_t in);
void sx_rotation_plan_sooner(struct sx_rotation *r, int64_t in); /* unless it is due before */
void sx_rotation_never(struct sx_rotation *r);
int64_t sx_rotation_spread(const struct sx_rotation_policy *p);
bool sx_rotation_possible(const struct sx_conn *c); /* now, or when its ratchet is in step */
/* The policy that holds for r; an empty one when none does. */
simplex_rc sx_rotation_policy(struct simplex_agent *a, int64_t user, const struct sx_rotation *r,
                              struct sx_rotation_policy *p) SIMPLEX_CHECK;
/* When the next one is due. spread: of one of many that begin together. */
void sx_rotation_draw(struct sx_rotation *r, const struct sx_rotation_policy *p,
                      const struct sx_conn *c, bool spread);
simplex_rc sx_rotation_put(struct simplex_agent *a, const struct sx_rotation *r) SIMPLEX_CHECK;

#endif
