/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private routing over real connections (protocol/smp.md section 8): a client, our server as the
 * proxy, our server as the relay, a recipient there, and the way between that can fail.
 */
#ifndef PROXY_STAGE_H
#define PROXY_STAGE_H

#include "support/forwarder.h"
#include "support/running_server.h"

/* ---- servers ---- */

struct hop {
    simplex_server *s;
    uint8_t key_hash[32];
    struct smp_peer_cfg peer;
};

simplex_server_config hop_config(void);
void hop_start(struct hop *h, simplex_server_config cfg);
struct sx_server hop_at(const char *host, uint16_t port, const uint8_t key_hash[32]);
struct sx_server hop_address(const struct hop *h);

struct net { /* a proxy, a relay, a client of each */
    struct hop proxy, relay;
    struct forwarder way; /* from the proxy to the relay */
    struct smp_peer client, rcv;
    struct sx_server to; /* the relay, as clients of the proxy know it: behind `way` */
};

void net_open(struct net *n, simplex_server_config proxy);
void net_close(struct net *n);

/* ---- the client of the proxy ---- */

struct route { /* what PKEY told */
    uint8_t id[64];
    size_t id_len;
    struct sx_pub key;
    uint16_t version;
};

const struct sx_rsp *prxy(struct smp_peer *p, const struct sx_server *to, const char *password);
/* What a client checks: the identity in the address signs for the key it will use. */
void read_pkey(const struct sx_rsp *r, const struct sx_server *to, struct route *route);
struct route open_route(struct smp_peer *p, const struct sx_server *to);

struct forwarding { /* one PFWD */
    const struct route *route;
    struct sx_keypair command;
    struct sx_box_key box;
    uint8_t corr[24];
};

simplex_rc forward(struct smp_peer *p, const struct route *route, const struct sx_keypair *key,
                   simplex_bytes entity, const struct sx_cmd *cmd, struct forwarding *f);
/* The answer: what is inside PRES, or ERR of the proxy. */
struct sx_rsp answer_to(struct smp_peer *p, const struct forwarding *f);
/* Both. */
struct sx_rsp pfwd(struct smp_peer *p, const struct route *route, const struct sx_keypair *key,
                   simplex_bytes entity, const struct sx_cmd *cmd);
void assert_proxy(const struct sx_rsp *r, enum sx_err_proxy proxy, unsigned broker,
                  unsigned transport);

/* ---- the recipient, at the relay ---- */

struct sx_rsp send_to(struct smp_peer *p, const struct route *route, struct queue *q, bool sign,
                      simplex_bytes body);
void assert_received(struct smp_peer *p, const struct queue *q, simplex_bytes body);

/* Opens the net, with a queue at the relay and a session of the proxy with it. */
struct route net_route(struct net *n, simplex_server_config proxy, struct queue *q);

#endif
