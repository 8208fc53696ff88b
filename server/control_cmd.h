/* SPDX-License-Identifier: Apache-2.0 */
/* Commands of the control port: what they get, and those that concern one queue. */
#ifndef SX_CONTROL_CMD_H
#define SX_CONTROL_CMD_H

#include "control.h"

struct sx_call {
    struct sx_control *c;
    enum sx_role role;
    const simplex_bytes *word; /* behind the command's name, as many as it wants */
    struct sx_wr *out;
};

/* One line. */
void sx_say(struct sx_wr *out, const char *fmt, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 2, 3)))
#endif
    ;

/* control_queue.c: the queue with this sender id, or this link id */
void sx_control_status(struct sx_call *call);
void sx_control_block(struct sx_call *call);
void sx_control_unblock(struct sx_call *call);
void sx_control_delete(struct sx_call *call);

#endif
