/* SPDX-License-Identifier: Apache-2.0 */
/* A command on the heap with everything it points to, while it waits for a session. */
#ifndef SX_CMD_COPY_H
#define SX_CMD_COPY_H

#include "wire/smp.h"

struct sx_cmd_copy;

/* False when the parts of cmd are more than a block could ever hold. */
bool sx_cmd_fits(const struct sx_cmd *cmd);
/* cmd must fit; key may be NULL. */
simplex_rc sx_cmd_copy_new(const struct sx_cmd *cmd, const struct sx_keypair *key,
                           struct sx_cmd_copy **out) SIMPLEX_CHECK;
void sx_cmd_copy_free(struct sx_cmd_copy *c); /* wipes */
/* *cmd and *key borrow from c; *key is NULL when there was none. */
void sx_cmd_copy_get(const struct sx_cmd_copy *c, struct sx_cmd *cmd,
                     const struct sx_keypair **key);
size_t sx_cmd_copy_size(const struct sx_cmd_copy *c); /* bytes on the heap */

#endif
