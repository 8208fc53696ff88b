/* SPDX-License-Identifier: Apache-2.0 */
/* What net.c, smp_client.c and conn.c share. One thread, one loop. */
#ifndef SX_NET_INTERNAL_H
#define SX_NET_INTERNAL_H

#include "client/backoff.h"
#include "client/conn.h"
#include "client/identity.h"
#include "client/outbox.h"
#include "client/proxied.h"
#include "client/smp_client.h"
#include "client/tls.h"

#define SX_READ_BUFFER 65536

struct sx_net {
    uv_loop_t *loop;
    struct sx_net_cfg cfg; /* without zeros */
    struct sx_net_callbacks cb;
    void *user;
    char *isolation;
    int64_t session; /* counts sx_net_reconnect: circuits of before are not used any more */
    struct sx_tls_ctx *tls;
    struct sx_identity *identity; /* of cfg.service_role */
    struct sx_client *clients;
    struct sx_via *vias; /* relays behind proxies: via.c */
    struct sx_client *work_first, *work_last; /* clients with something to do this turn */
    /* Work is done after polling, or before it when it came from elsewhere: never in a call. */
    uv_check_t check;
    uv_idle_t idle;
    unsigned open; /* handles and connections that still need the loop */
    bool closing, offline;
    int64_t connect_timeout, command_timeout; /* of cfg, when the network is not slow */
    void (*closed)(void *user);
    void *closed_user;
    /* Scratch shared by all connections, so that an idle one needs none. */
    uint8_t read_buffer[SX_READ_BUFFER];
    uint8_t in_block[SX_BLOCK], out_block[SX_BLOCK];
    uint8_t content[2 * SX_BLOCK]; /* also of transmissions that prove too long */
    uint8_t proxied[SX_PROXIED_BOX];
    struct sx_outbox outbox;
};

int64_t sx_net_now(void); /* ms, monotonic */
void sx_net_add_work(struct sx_net *n, struct sx_client *c);
void sx_net_forget(struct sx_net *n, struct sx_client *c); /* takes it off the list */
void sx_net_released(struct sx_net *n);                    /* one of n->open is gone */

struct sx_client {
    struct sx_client *next, *next_work;
    struct sx_net *net;
    struct sx_server server;
    int64_t user, entity; /* who may share it: see sx_net_client_of */
    void *data;
    struct sx_conn *conn; /* while connecting or up */
    struct sx_identity *identity; /* sx_client_service; NULL: that of net */
    bool up, wanted, has_work;
    bool dropped;     /* sx_client_drop: goes in its next turn */
    bool gone;        /* no longer among the clients of net */
    bool odd;         /* something unknown came, and was logged */
    bool connect_now; /* in the next turn */
    bool down_pending;
    simplex_rc down_rc;
    uv_timer_t timer; /* the earliest of all times below */
    struct sx_requests requests;
    struct sx_req_list waiting, queued, sent, finished;
    size_t bytes_kept; /* by waiting and queued requests */
    struct sx_backoff backoff;
    int64_t reconnect_at; /* or SX_NO_DEADLINE */
    int64_t connecting_since, up_since, last_received;
    int64_t failed_until; /* commands are answered with failed_rc at once */
    simplex_rc failed_rc;
    struct sx_req *ping; /* the PING without an answer */
    bool probing;        /* one lost PING is enough */
    int64_t last_ping;
    unsigned pings_lost;
    unsigned unanswered; /* commands that timed out since the last data came */
    struct sx_traffic traffic;
};

void sx_vias_free(struct sx_net *n); /* via.c: at the end, all that are left */

/* smp_client.c */
simplex_rc sx_client_new(struct sx_net *n, const struct sx_server *server,
                         struct sx_client **out) SIMPLEX_CHECK;
void sx_client_work(struct sx_client *c); /* from the loop */
void sx_client_reconnect(struct sx_client *c);
void sx_client_close(struct sx_client *c); /* drops everything, no callbacks */
void sx_client_free(struct sx_client *c);

#endif
