/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of commands: what has to be done over the network, oldest first per connection. */
#ifndef SX_STORE_COMMAND_H
#define SX_STORE_COMMAND_H

#include "store/database.h"

struct sx_command {
    int64_t id, conn_id;
    uint8_t tag;               /* enum of lib/agent/work.h */
    int64_t queue_id;          /* 0: none */
    simplex_bytes data;        /* get: borrowed until the next call on the store */
    int64_t created_at;
};
simplex_rc sx_store_command_add(struct sx_store *s, struct sx_command *c) SIMPLEX_CHECK;
/* The oldest of the connection with an id above `after`. E_NOT_FOUND. */
simplex_rc sx_store_command_next(struct sx_store *s, int64_t conn_id, int64_t after,
                                 struct sx_command *c) SIMPLEX_CHECK;
simplex_rc sx_store_command_delete(struct sx_store *s, int64_t id) SIMPLEX_CHECK;
/* Connections that have commands, ascending after `after`. */
simplex_rc sx_store_command_conns(struct sx_store *s, int64_t after, int64_t *ids, size_t *n)
    SIMPLEX_CHECK;

#endif
