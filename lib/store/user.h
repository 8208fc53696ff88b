/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of users and their servers. */
#ifndef SX_STORE_USER_H
#define SX_STORE_USER_H

#include "store/database.h"

#define SX_USER_DEFAULT 1 /* made with the database */

struct sx_user_row {
    int64_t id;
    bool active;                 /* its queues are subscribed first */
    bool deleted;                /* its connections are being deleted */
    bool own_servers;            /* it has a list of its own, perhaps an empty one */
    bool has_hash;
    uint8_t servers_hash[32];    /* of the list that it uses */
    int64_t servers_version;     /* how often that became another one */
    int64_t servers_changed_at;  /* ms */
    int64_t created_at;          /* ms */
};
simplex_rc sx_store_user_add(struct sx_store *s, struct sx_user_row *u) SIMPLEX_CHECK; /* sets id */
/* The first with an id above `after`. E_NOT_FOUND behind the last. */
simplex_rc sx_store_user_next(struct sx_store *s, int64_t after,
                              struct sx_user_row *u) SIMPLEX_CHECK;
simplex_rc sx_store_user_update(struct sx_store *s, const struct sx_user_row *u) SIMPLEX_CHECK;
/* With its list of servers. E_PROHIBITED: it has connections. */
simplex_rc sx_store_user_delete(struct sx_store *s, int64_t id) SIMPLEX_CHECK;

enum sx_server_flags {
    SX_SRV_ENABLED = 1,
    SX_SRV_STORAGE = 2,
    SX_SRV_PROXY = 4,
    SX_SRV_PRESET = 8,
};

struct sx_server_row {
    int64_t user_id;
    int64_t position;     /* from 1 */
    simplex_bytes server; /* text with the password; next: borrowed until the next call */
    int64_t operator_id;
    uint8_t flags;        /* enum sx_server_flags */
};
simplex_rc sx_store_user_server_add(struct sx_store *s,
                                    const struct sx_server_row *r) SIMPLEX_CHECK;
/* The first of the user behind position `after`. E_NOT_FOUND behind the last. */
simplex_rc sx_store_user_server_next(struct sx_store *s, int64_t user_id, int64_t after,
                                     struct sx_server_row *r) SIMPLEX_CHECK;
simplex_rc sx_store_user_servers_delete(struct sx_store *s, int64_t user_id) SIMPLEX_CHECK;

#endif
