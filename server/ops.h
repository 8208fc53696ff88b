/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an operator sees of a server that runs (protocol/smp.md section 10): the daily line, the
 * metrics in a file and over HTTP, and the control port.
 *
 * It has a thread of its own, so that writing files and answering an operator takes no time from
 * the threads that serve clients. It reads counters which they write, and asks them to call a
 * function when it needs what only they may touch.
 */
#ifndef SX_OPS_H
#define SX_OPS_H

#include "file.h"
#include "loop.h"
#include "prometheus.h"
#include "proxy.h"
#include "web.h"

struct sx_ops_cfg {
    struct sx_srv *srv;
    struct sx_loop *loops; /* those run until sx_ops_close has returned */
    unsigned n_loops;
    const char *dir;             /* for the files, or NULL: none */
    bool daily;                  /* a line a day; off: counters are never set back */
    int64_t metrics_interval_ms; /* 0: no file */
    bool has_metrics_port, has_control_port;
    uint16_t metrics_port, control_port;        /* 0: any free one, for tests */
    const char *admin_password, *user_password; /* NULL: nobody has the role */
    int64_t block_quota;                  /* blocks a day by users; 0: no limit, < 0: none at all */
    struct sx_proxy *proxy;               /* for metrics; NULL: none */
    struct sx_web *web;                   /* for metrics; NULL: none */
    const struct sx_listeners *listeners; /* ports of clients; NULL: none */
    /* The command `save`; NULL: there is nothing to save. err: one sentence. */
    simplex_rc (*save)(void *user, struct sx_errtext *err);
    void *save_user;
};

struct sx_ops;

/* Everything is copied. err says which port or file is at fault. */
simplex_rc sx_ops_open(const struct sx_ops_cfg *cfg, struct sx_ops **out,
                       struct sx_errtext *err) SIMPLEX_CHECK;
/* Waits for the thread. Before the loops are stopped. NULL is fine. */
void sx_ops_close(struct sx_ops *o);
uint16_t sx_ops_metrics_port(const struct sx_ops *o); /* 0: none */
uint16_t sx_ops_control_port(const struct sx_ops *o);
/* From any thread; sessions of the control port keep the role they have. */
void sx_ops_set_passwords(struct sx_ops *o, const char *admin, const char *user,
                          int64_t block_quota);

/* How often the file is made, from any thread; 0: no more. */
void sx_ops_set_metrics_interval(struct sx_ops *o, int64_t interval_ms);

/* ---- for the parts of it: on its thread ---- */

void sx_ops_report(struct sx_ops *o, struct sx_report *r);

#endif
