/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of when queues are rotated (lib/agent/rotation.c). */
#ifndef SX_STORE_ROTATION_H
#define SX_STORE_ROTATION_H

#include "store/database.h"

#define SX_ROTATION_MS_MAX (1000LL * 366 * 24 * 3600 * 1000) /* of any length of time */
#define SX_ROTATION_NEVER INT64_MAX

struct sx_rotation_policy {
    int64_t every;    /* ms; 0: not by time */
    uint32_t jitter;  /* per cent of what is drawn */
    int64_t messages; /* of the peer; 0: not by number */
    int64_t spread;   /* ms over which what became due by another cause than time is spread */
    bool server_list; /* when the queue's server is not one of the user's any more */
    uint32_t per_day; /* rotations of one user that may start in a day */
};
struct sx_user_rotation {
    int64_t user;
    struct sx_rotation_policy policy;
    int64_t next_at; /* ms; no rotation starts before */
    int64_t checked_version; /* of the list of servers that its queues were compared with */
};
struct sx_rotation_counts {
    int64_t started, completed, failed;
};
struct sx_rotation { /* of a connection that a policy is for */
    int64_t conn_id;
    bool own; /* the policy is this connection's; else its user's counts */
    struct sx_rotation_policy policy;
    int64_t due_at;    /* ms: to start, or while one runs, to give up; SX_ROTATION_NEVER */
    int64_t planned_at; /* ms: when due_at was chosen; 0: never due */
    int64_t count_at;  /* so many messages of the peer make it due (sx_conn.received); 0: none do */
    bool unlisted;     /* due because of its server */
    bool running;      /* started by the policy */
    uint32_t attempts; /* that failed since the last success */
    struct sx_rotation_counts counts;
};
simplex_rc sx_store_user_rotation_put(struct sx_store *s,
                                      const struct sx_user_rotation *u) SIMPLEX_CHECK;
simplex_rc sx_store_user_rotation_get(struct sx_store *s, int64_t user,
                                      struct sx_user_rotation *u) SIMPLEX_CHECK;
simplex_rc sx_store_rotation_put(struct sx_store *s, const struct sx_rotation *r) SIMPLEX_CHECK;
simplex_rc sx_store_rotation_get(struct sx_store *s, int64_t conn_id,
                                 struct sx_rotation *r) SIMPLEX_CHECK;
/* What is due first of all. E_NOT_FOUND: nothing ever is. */
simplex_rc sx_store_rotation_first(struct sx_store *s, int64_t *conn_id,
                                   int64_t *due_at) SIMPLEX_CHECK;
/* One that was planned later than now, by a clock that has been set back. E_NOT_FOUND: none was. */
simplex_rc sx_store_rotation_ahead(struct sx_store *s, int64_t now,
                                   int64_t *conn_id) SIMPLEX_CHECK;
/* Of a user: how many are due at `now`. */
simplex_rc sx_store_rotation_overdue(struct sx_store *s, int64_t user, int64_t now,
                                     int64_t *n) SIMPLEX_CHECK;
simplex_rc sx_store_rotation_by_count(struct sx_store *s, bool *any) SIMPLEX_CHECK;
/* Of all connections of a user; *next_at: the first that is due, or SX_ROTATION_NEVER. */
simplex_rc sx_store_rotation_sums(struct sx_store *s, int64_t user,
                                  struct sx_rotation_counts *c, int64_t *next_at) SIMPLEX_CHECK;

#endif
