/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers of a peer's messages, and what they say about lost ones (section 6.8). */
#ifndef SX_AGENT_NUMBERS_H
#define SX_AGENT_NUMBERS_H

#include "agent/agent.h"

/* Something that the peer sent before m has not come. */
bool sx_is_gap(const struct sx_conn *c, const struct sx_agent_msg *m);
/* m, whose hash is in row, is received: fills in the rest of row; the row of c is the caller's to
 * update. */
void sx_take_number(struct sx_conn *c, const struct sx_agent_msg *m, struct sx_rcv_msg_row *row);
/* Something came that has a number, does not tell it, and is no message of the application. */
void sx_note_other(struct sx_conn *c);
/* Of rcv_others, until the next gap: messages may have come too late to be read. */
#define SX_OTHERS_UNKNOWN (-1)

#endif
