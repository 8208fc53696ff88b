/* SPDX-License-Identifier: Apache-2.0 */
/* A server in this process, as its clients see it, and queues on it. */
#ifndef TESTS_RUNNING_SERVER_H
#define TESTS_RUNNING_SERVER_H

#include "support/vec.h"

#include "simplex/server.h"
#include "support/blocking_client.h"

/* Without the delays that gather what is told to clients. */
void prompt_config(simplex_server_config *cfg, unsigned threads);

/* Starts it; key_hash, which peer points to then, and peer are for clients. Fails with the server's
 * own words. */
simplex_server *run_server(simplex_server_config *cfg, uint8_t key_hash[32],
                           struct smp_peer_cfg *peer);

simplex_server_counters server_counters(const simplex_server *s);
/* The server sees a closed socket a moment later. */
void wait_connections(const simplex_server *s, size_t n);

struct queue { /* as its recipient and its sender know it */
    struct sx_keypair rcv, dh, snd;
    uint8_t rcv_id[24], snd_id[24];
    struct sx_pub srv_dh;
    struct sx_keypair ntf; /* of the notifier, where a test makes one */
    uint8_t ntf_id[24];
};

/* For messages; snd: the kind of the sender's key. The server's answer, too. */
const struct sx_rsp *new_queue(struct smp_peer *p, struct queue *q, enum sx_alg snd,
                               bool subscribe);

#endif
