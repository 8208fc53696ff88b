/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small TCP services for this machine: the control port and the metrics. They listen on 127.0.0.1,
 * with few connections, little memory for each, and a limit of time. Input is not looked at while
 * output waits to be sent.
 *
 * All functions: by the thread of the libuv loop.
 */
#ifndef SX_LOCAL_H
#define SX_LOCAL_H

#include <uv.h>

#include "file.h"

#define SX_LOCAL_IN 4096               /* bytes of a line, or of the head of a request */
#define SX_LOCAL_OUT ((size_t)8 << 20) /* bytes of one answer */

struct sx_local;
struct sx_local_conn;

struct sx_local_cfg {
    uint16_t port; /* 0: any, see sx_local_port */
    unsigned max_conns;
    int64_t idle_ms; /* a connection from which nothing was consumed for so long is closed */
    size_t state_size;
    void (*opened)(struct sx_local_conn *c); /* may write; NULL: nothing */
    /* Takes what it can from the beginning of in, and returns how much. 0 with SX_LOCAL_IN bytes:
     * the connection is closed. */
    size_t (*input)(struct sx_local_conn *c, simplex_bytes in);
    void *user;
};

simplex_rc sx_local_open(struct sx_local **out, uv_loop_t *uv, const struct sx_local_cfg *cfg,
                         struct sx_errtext *err) SIMPLEX_CHECK;
uint16_t sx_local_port(const struct sx_local *l);
/* Closes the handles: it and all connections are freed while the loop runs on. NULL is fine. */
void sx_local_close(struct sx_local *l);

void *sx_local_user(const struct sx_local_conn *c);
void *sx_local_state(struct sx_local_conn *c);       /* state_size bytes, zero at first; wiped */
struct sx_wr *sx_local_out(struct sx_local_conn *c); /* what input() answers */
void sx_local_finish(struct sx_local_conn *c);       /* close when it is sent */
void sx_local_delay(struct sx_local_conn *c, int64_t ms); /* input waits so long */

#endif
