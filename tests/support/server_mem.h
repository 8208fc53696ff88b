/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's command layer with clients in memory: no sockets, no TLS, no block encryption, but
 * real handshakes, real authorisation and two hubs as if they were two threads. The clock is a
 * variable. Everything received lives until the client is closed. Failures fail the test.
 */
#ifndef TESTS_SERVER_MEM_H
#define TESTS_SERVER_MEM_H

#include "support/vec.h"

#include "identity.h"
#include "hub.h"

struct mem_server {
    struct sx_srv *srv;
    struct sx_hub hub[2];
    struct sx_identity identity;
    int64_t now;
};

struct mem_item {
    struct mem_item *next;
    unsigned block; /* number of the block it came in, from 1 */
    struct sx_transmission t;
    struct sx_rsp rsp;
};

struct mem_client {
    struct mem_server *m;
    struct sx_session client, server;
    struct sx_peer peer;
    struct mem_item *first, *last; /* received and not asked for */
    unsigned n_blocks;
    void **kept;
    size_t n_kept;
};

struct mem_queue { /* as its recipient and its sender know it */
    struct sx_keypair rcv, dh, snd;
    uint8_t rcv_id[24], snd_id[24], link_id[24];
    struct sx_pub srv_dh;
};

/* cfg: NULL: the defaults, with new queues. Its clock is replaced. */
void mem_open(struct mem_server *m, const struct sx_srv_cfg *cfg);
void mem_close(struct mem_server *m);
void mem_connect(struct mem_server *m, struct mem_client *c, unsigned hub, uint16_t max_version);
/* The same as a service. Below the version that has services (16, role M: 19) an ordinary one. */
void mem_connect_service(struct mem_server *m, struct mem_client *c, unsigned hub,
                         uint16_t max_version, const struct sx_service_cert *cert);
/* TLS has seen tls_chain. What the client has of the handshake in the end. */
simplex_rc mem_try_service(struct mem_server *m, struct mem_client *c, unsigned hub,
                           uint16_t max_version, const struct sx_service_cert *cert,
                           const struct sx_chain *tls_chain);
void mem_disconnect(struct mem_client *c);
struct mem_two { /* a recipient and a sender on different threads */
    struct mem_server m;
    struct mem_client a, b;
};
void mem_open_two(struct mem_two *t, const struct sx_srv_cfg *cfg);
void mem_close_two(struct mem_two *t);

void mem_settle(struct mem_server *m);  /* runs the hubs until nothing is left to do */
void mem_receive(struct mem_client *c); /* what the server has for it */

/* Content of a block as it is. */
void mem_content(struct mem_client *c, simplex_bytes content);
/* One command in a block of its own; its answer. */
const struct sx_rsp *mem_cmd(struct mem_client *c, const struct sx_keypair *key,
                             simplex_bytes entity, const struct sx_cmd *cmd);
const struct sx_rsp *mem_cmd_corr(struct mem_client *c, const struct sx_keypair *key,
                                  const uint8_t corr[24], simplex_bytes entity,
                                  const struct sx_cmd *cmd);
/* Command text as it is, signed. */
const struct sx_rsp *mem_text(struct mem_client *c, const struct sx_keypair *key,
                              simplex_bytes entity, simplex_bytes text);

/* Several commands in one block; answers are taken with mem_next. */
struct mem_batch {
    struct mem_client *c;
    uint8_t buf[SX_BLOCK];
    struct sx_wr w;
};
void mem_batch_open(struct mem_batch *b, struct mem_client *c);
void mem_batch_add(struct mem_batch *b, const struct sx_keypair *key, simplex_bytes entity,
                   const struct sx_cmd *cmd);
void mem_batch_run(struct mem_batch *b);
/* One command that is processed before any hub runs, as by a thread that is ahead of the others;
 * its answer is taken with mem_next. */
void mem_run_ahead(struct mem_client *c, const struct sx_keypair *key, simplex_bytes entity,
                   const struct sx_cmd *cmd);

/* The next transmission received; the next event (without correlation id); NULL: none. */
const struct mem_item *mem_next(struct mem_client *c);
const struct sx_rsp *mem_event(struct mem_client *c);
/* The next transmission, which is this event. */
const struct sx_rsp *mem_expect(struct mem_client *c, enum sx_rsp_tag tag, simplex_bytes entity);
/* The same for END, ENDS or DELD, after the time in which they are gathered; nothing even then. */
const struct sx_rsp *mem_expect_ended(struct mem_client *c, enum sx_rsp_tag tag,
                                      simplex_bytes entity);
void mem_assert_not_ended(struct mem_client *c);

/* ---- shorthands ---- */

static inline simplex_bytes mem_rcv_id(const struct mem_queue *q)
{
    return sx_bytes(q->rcv_id, 24);
}
static inline simplex_bytes mem_snd_id(const struct mem_queue *q)
{
    return sx_bytes(q->snd_id, 24);
}

void mem_keys(struct mem_queue *q, enum sx_alg alg);
struct sx_cmd mem_new_cmd(const struct mem_queue *q, enum sx_queue_mode mode, bool subscribe);
void mem_take_ids(struct mem_queue *q, const struct sx_rsp *r); /* of the answer to NEW */
/* NEW with Ed25519 keys. */
void mem_new(struct mem_client *c, struct mem_queue *q, enum sx_queue_mode mode, bool subscribe);
/* So many, for messages and subscribed. */
void mem_new_all(struct mem_client *c, struct mem_queue *q, size_t n);
const struct sx_rsp *mem_rcv(struct mem_client *c, const struct mem_queue *q,
                             enum sx_cmd_tag tag); /* a recipient's command without parameters */
const struct sx_rsp *mem_skey(struct mem_client *c, const struct mem_queue *q);
/* SEND with the queue's sender key (key true) or without. */
const struct sx_rsp *mem_send(struct mem_client *c, const struct mem_queue *q, bool key,
                              const char *text);
const struct sx_rsp *mem_ack(struct mem_client *c, const struct mem_queue *q, simplex_bytes id);
/* SEND without a key, which is taken. */
void mem_put(struct mem_client *c, const struct mem_queue *q, const char *text);
/* The next transmission is this message; its id. */
simplex_bytes mem_expect_msg(struct mem_client *c, const struct mem_queue *q, const char *text);
/* And it is acknowledged: no other one waits. */
void mem_take_msg(struct mem_client *c, const struct mem_queue *q, const char *text);
/* GET has this message, which is acknowledged then; its id. */
simplex_bytes mem_get_msg(struct mem_client *c, const struct mem_queue *q, const char *text);
/* mem_put, then mem_take_msg. */
void mem_deliver(struct mem_client *from, struct mem_client *to, const struct mem_queue *q,
                 const char *text);

void mem_assert_tag(const struct sx_rsp *r, enum sx_rsp_tag tag);
void mem_assert_err(const struct sx_rsp *r, enum sx_err err);
void mem_assert_cmd_err(const struct sx_rsp *r, enum sx_err_cmd err);
/* It is a MSG with this text; returns its id (24 bytes). text NULL: the quota marker. */
simplex_bytes mem_assert_msg(const struct mem_queue *q, const struct sx_rsp *r, const char *text);
void mem_assert_quiet(struct mem_client *c); /* nothing was received */
uint64_t mem_stat(const struct mem_server *m, unsigned stat);

#endif
