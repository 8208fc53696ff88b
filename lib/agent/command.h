/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the command worker share; others use work.h. */
#ifndef SX_AGENT_COMMAND_H
#define SX_AGENT_COMMAND_H

#include "agent/agent.h"

/* ---- command.c: the queue of commands ---- */

bool sx_command_ends_queue(const struct sx_command *cmd);
bool sx_command_is_notifier(const struct sx_command *cmd);
/* The end of a queue, its suspension, its notifier: no steps to anything. */
bool sx_command_is_errand(const struct sx_command *cmd);
/* One of several queues stands for itself. */
bool sx_command_stands_alone(const struct sx_conn *c, const struct sx_command *cmd);
void sx_command_retry(struct simplex_agent *a, struct sx_rt_conn *w);
/* The address has as many requests as its server keeps: its owner has to read them first. */
void sx_command_retry_full(struct simplex_agent *a, struct sx_rt_conn *w);
/* Later, and what is behind it now, if it need not wait. */
simplex_rc sx_command_step_over(struct simplex_agent *a, struct sx_rt_conn *w,
                                const struct sx_command *cmd) SIMPLEX_CHECK;

/* ---- command_send.c ---- */

/* E_NO_EVENT: there is nothing to send any more. */
simplex_rc sx_command_send(struct simplex_agent *a, struct sx_rt_conn *w,
                           const struct sx_command *cmd) SIMPLEX_CHECK;

/* ---- command_answer.c ---- */

/* Of a request: ctx is the id of the connection. */
void sx_command_answered(void *user, void *ctx, simplex_rc why, const struct sx_rsp *rsp);
/* In a bracket of its own. A failure: what rsp says makes no sense, all that it led to is undone.
 */
simplex_rc sx_command_try_answer(struct simplex_agent *a, struct sx_rt_conn *w, simplex_rc why,
                                 const struct sx_rsp *rsp) SIMPLEX_CHECK;

/* ---- command_new.c: a NEW without an answer ---- */

/* A queue that no server has yet may as well be made on another one. */
simplex_rc sx_new_move(struct simplex_agent *a, struct sx_rt_conn *w, const struct sx_conn *c,
                       const struct sx_command *cmd) SIMPLEX_CHECK;
/* The same, to a certain one. */
simplex_rc sx_new_elsewhere(struct simplex_agent *a, struct sx_rcv_queue *q,
                            const struct sx_server *server) SIMPLEX_CHECK;
/* It timed out, and may have been executed all the same. */
void sx_new_lost(struct simplex_agent *a, const struct sx_rt_conn *w, const struct sx_command *cmd);
/* A NEW whose queue nobody wants any more. */
simplex_rc sx_new_unwanted(struct simplex_agent *a, const struct sx_conn *c,
                           const struct sx_command *cmd, bool *yes) SIMPLEX_CHECK;
/* It is not repeated: there is nothing to delete. */
simplex_rc sx_new_abandon(struct simplex_agent *a, const struct sx_command *cmd) SIMPLEX_CHECK;

#endif
