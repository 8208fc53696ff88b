/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small SMP client with blocking sockets, for tests and benchmarks of servers. Everything it
 * hands out lives until smp_peer_close or smp_peer_forget.
 */
#ifndef TESTS_BLOCKING_CLIENT_H
#define TESTS_BLOCKING_CLIENT_H

#include "client/session.h"
#include "client/tls.h"

struct smp_peer_cfg {
    const char *host; /* numeric; NULL: 127.0.0.1 */
    uint16_t port;
    const uint8_t *key_hash; /* 32 bytes */
    uint16_t min, max;       /* 0: all */
    bool no_key;             /* no block encryption */
    bool no_alpn;
    int rcvbuf; /* SO_RCVBUF, 0: the system's */
    /* A service: what TLS presents (PEM), and what the hello says (NULL: nothing). */
    simplex_bytes cert_pem, cert_key_pem;
    const struct sx_service_cert *service;
};

struct smp_item { /* a transmission received */
    struct smp_item *next;
    struct sx_transmission t;
    struct sx_rsp rsp;
    simplex_rc rc; /* of decoding rsp */
};

struct smp_block {
    struct smp_block *next;
    unsigned n; /* transmissions */
    struct smp_item *item;
    uint8_t block[SX_BLOCK];
};

struct smp_peer {
    int fd;
    struct sx_tls_ctx *ctx;
    struct sx_tls *tls;
    struct sx_session session;
    struct smp_item *first, *last; /* received, not asked for yet */
    struct smp_block *blocks;      /* newest first */
    unsigned n_blocks;             /* received so far */
    bool closed;                   /* the server has closed the connection */
};

/* Connects, TLS and SMP handshake. Failures leave a closed peer. */
simplex_rc smp_peer_open(struct smp_peer *p, const struct smp_peer_cfg *cfg) SIMPLEX_CHECK;
/* TCP only: the connected socket, or -1. */
int smp_peer_socket(const struct smp_peer_cfg *cfg);
void smp_peer_close(struct smp_peer *p);
void smp_peer_forget(struct smp_peer *p); /* frees what was received and was asked for */

/* The content of one block: a count byte, then transmissions. */
struct smp_batch {
    uint8_t buf[SX_BLOCK];
    struct sx_wr w;
    unsigned n;
    uint8_t corr[255][SX_ID_LEN];
};
void smp_batch_init(struct smp_batch *b);
/* corr: NULL: random. */
simplex_rc smp_batch_add(struct smp_batch *b, struct smp_peer *p, const struct sx_keypair *key,
                         const uint8_t *corr, simplex_bytes entity,
                         const struct sx_cmd *cmd) SIMPLEX_CHECK;
simplex_rc smp_batch_send(struct smp_batch *b, struct smp_peer *p) SIMPLEX_CHECK;
/* Any content as a block. */
simplex_rc smp_peer_send_content(struct smp_peer *p, simplex_bytes content) SIMPLEX_CHECK;
/* Any bytes inside TLS. */
simplex_rc smp_peer_send_raw(struct smp_peer *p, simplex_bytes bytes) SIMPLEX_CHECK;

/* One command, alone in a block; waits for its answer. NULL: none within 20 s, or closed. */
const struct sx_rsp *smp_peer_cmd(struct smp_peer *p, const struct sx_keypair *key,
                                  simplex_bytes entity, const struct sx_cmd *cmd);
const struct sx_rsp *smp_peer_cmd_corr(struct smp_peer *p, const struct sx_keypair *key,
                                       const uint8_t corr[SX_ID_LEN], simplex_bytes entity,
                                       const struct sx_cmd *cmd);
/* The answer with this correlation id; empty corr: the next event. */
const struct smp_item *smp_peer_wait(struct smp_peer *p, simplex_bytes corr, int timeout_ms);
static inline const struct smp_item *smp_peer_event(struct smp_peer *p, int timeout_ms)
{
    return smp_peer_wait(p, sx_bytes(NULL, 0), timeout_ms);
}
/* The next transmission, answer or event. */
const struct smp_item *smp_peer_next(struct smp_peer *p, int timeout_ms);
/* Waits until the server closes. False: it did not within the time. */
bool smp_peer_wait_closed(struct smp_peer *p, int timeout_ms);

/* Decrypts the body of a MSG in place: DH of the recipient's key and the queue's srv_dh. */
simplex_rc smp_open_msg(const struct sx_rsp *msg, const struct sx_keypair *dh,
                        const struct sx_pub *srv_dh, struct sx_rcv_msg *out) SIMPLEX_CHECK;

#endif
