/* SPDX-License-Identifier: Apache-2.0 */
/* The control port: lines of text on 127.0.0.1 (protocol/smp.md section 10). */
#ifndef SX_CONTROL_H
#define SX_CONTROL_H

#include "local.h"
#include "ops.h"

enum sx_role { SX_ROLE_NONE, SX_ROLE_USER, SX_ROLE_ADMIN };

struct sx_control_state { /* of a session */
    enum sx_role role;
};

/* What a session needs of struct sx_ops. */
struct sx_control {
    struct sx_srv *srv;
    struct sx_counters *stats; /* of this thread */
    struct sx_ops *ops;
    struct sx_loop *loops;
    unsigned n_loops;
    simplex_rc (*save)(void *user, struct sx_errtext *err);
    void *save_user;
    int64_t refused_ms;   /* when a refused command was logged */
    pthread_mutex_t lock; /* of the next three */
    bool has_admin, has_user;
    uint8_t admin[32], user[32]; /* SHA-256 of the passwords */
    int64_t block_quota;
    uint32_t block_day, blocked_today;
};

void sx_control_opened(struct sx_local_conn *c);
size_t sx_control_input(struct sx_local_conn *c, simplex_bytes in);
/* One line without its end; the answer is appended to out. Returns milliseconds that the answer
 * has to wait (after a wrong password), or -1: the session ends. */
int64_t sx_control_line(struct sx_control *c, struct sx_control_state *s, simplex_bytes line,
                        struct sx_wr *out);

#endif
