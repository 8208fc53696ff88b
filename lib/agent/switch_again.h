/* SPDX-License-Identifier: Apache-2.0 */
/* Rotations that meet a new ratchet; see switch_again.c. */
#ifndef SX_SWITCH_AGAIN_H
#define SX_SWITCH_AGAIN_H

#include "agent/agent.h"

/* The steps, said now, or by sx_switch_again when the ratchet is being made anew. */
simplex_rc sx_send_qadd(struct simplex_agent *a, struct sx_conn *c, const struct sx_rcv_queue *old,
                        const struct sx_rcv_queue *q) SIMPLEX_CHECK;
simplex_rc sx_send_qkey(struct simplex_agent *a, struct sx_conn *c,
                        const struct sx_snd_queue *q) SIMPLEX_CHECK;
simplex_rc sx_send_quse(struct simplex_agent *a, struct sx_conn *c,
                        const struct sx_rcv_queue *q) SIMPLEX_CHECK;
simplex_rc sx_send_qtest(struct simplex_agent *a, struct sx_conn *c,
                         const struct sx_snd_queue *q) SIMPLEX_CHECK;
/* Messages are read again: says once more what each unfinished rotation waits for an answer to. */
simplex_rc sx_switch_again(struct simplex_agent *a, struct sx_conn *c) SIMPLEX_CHECK;

/* The queue that takes the place of old. E_NOT_FOUND. */
simplex_rc sx_snd_replacement(struct simplex_agent *a, const struct sx_snd_queue *old,
                              struct sx_snd_queue *q) SIMPLEX_CHECK;

#endif
