/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of the proxy: its thread and its life (proxy.c), the relays that it remembers
 * (proxy_relays.c), and what it does with PRXY and PFWD (proxy_run.c). All but what has the lock is
 * of the proxy's thread.
 */
#ifndef SX_PROXY_INTERNAL_H
#define SX_PROXY_INTERNAL_H

#include "proxy.h"
#include "relay.h"

#define SX_PROXY_BUCKETS 256

struct sx_proxy_relay {
    struct sx_proxy_relay *next;         /* of those of its address' bucket */
    struct sx_proxy_relay *next_session; /* of those of its session's bucket, while up */
    struct sx_proxy *proxy;
    struct sx_client *client;
    struct sx_errand *work; /* PRXY that wait for the session, PFWD that wait for the answer */
    unsigned n_work;
    int64_t used_ms;
    int64_t tried_ms;     /* the attempt began, while `connecting` */
    const void *asker;    /* the client it is for, perhaps gone */
    int64_t failed_until; /* PRXY is answered with failed_rc at once */
    simplex_rc failed_rc;
    bool up, connecting, own;
    uint8_t session[64]; /* while up */
    uint8_t session_len;
};

struct sx_proxy_domains {
    size_t n;
    char **name;
};

struct sx_proxy_fresh { /* of a reload, on its way to the thread */
    struct sx_proxy_cfg cfg;
    struct sx_proxy_domains own;
};

struct sx_proxy {
    uv_loop_t uv;
    uv_async_t async;
    uv_timer_t tick;
    uv_thread_t thread;
    bool has_uv, has_thread;
    struct sx_proxy_cfg cfg; /* without zeros */
    struct sx_proxy_domains own;
    struct sx_net *net;
    struct sx_proxy_relay *by_address[SX_PROXY_BUCKETS], *by_session[SX_PROXY_BUCKETS];
    atomic_size_t n_relays, n_connecting;
    atomic_uint_fast64_t hurried;
    uint8_t body[SX_BLOCK + SX_BOX_TAG]; /* of an RFWD */

    pthread_mutex_t lock; /* of what follows */
    struct sx_errand *inbox_first, *inbox_last;
    unsigned pending, pending_prxy, pending_max; /* submitted and not done */
    uint64_t refused;
    struct sx_proxy_fresh *fresh;
    bool stopping;
};

static inline int64_t sx_proxy_now(void)
{
    return (int64_t)(uv_hrtime() / 1000000);
}

/* ---- proxy.c ---- */

/* e has its answer. */
void sx_proxy_done(struct sx_proxy *p, struct sx_errand *e);
void sx_proxy_fail(struct sx_proxy *p, struct sx_errand *e, simplex_rc rc);

/* ---- proxy_relays.c ---- */

struct sx_proxy_relay *sx_proxy_find_address(struct sx_proxy *p, const struct sx_server *s);
struct sx_proxy_relay *sx_proxy_find_session(struct sx_proxy *p, simplex_bytes id);
/* NULL: *rc says why. */
struct sx_proxy_relay *sx_proxy_new_relay(struct sx_proxy *p, const struct sx_server *s,
                                          simplex_rc *rc);
void sx_proxy_connecting_begins(struct sx_proxy_relay *r, const void *client);
void sx_proxy_connecting_ends(struct sx_proxy_relay *r);
void sx_proxy_work_add(struct sx_proxy_relay *r, struct sx_errand *e);
void sx_proxy_work_remove(struct sx_proxy_relay *r, struct sx_errand *e);
void sx_proxy_fail_work(struct sx_proxy_relay *r, simplex_rc rc);
void sx_proxy_answer_pkey(struct sx_proxy_relay *r, struct sx_errand *e); /* it is up */
/* Of struct sx_net_callbacks. */
void sx_proxy_on_up(void *user, struct sx_client *c);
void sx_proxy_on_down(void *user, struct sx_client *c, simplex_rc rc);
/* Forgets those that were idle, or failed, for long enough. */
void sx_proxy_sweep(struct sx_proxy *p);
/* Forgets all of them, with their work; their clients are dropped with the net. */
void sx_proxy_drop_relays(struct sx_proxy *p);

/* ---- proxy_run.c ---- */

void sx_proxy_run(struct sx_proxy *p, struct sx_errand *e);

#endif
