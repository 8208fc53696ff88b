/* SPDX-License-Identifier: Apache-2.0 */
/* Two SMP sessions in memory: a client and a server that hand each other their blocks. */
#ifndef TESTS_SESSION_PEERS_H
#define TESTS_SESSION_PEERS_H

#include "client/session.h"
#include "support/certs.h"

extern struct test_certs certs, other; /* the server's, and somebody else's */
extern const uint8_t unique[32];       /* of the TLS connection */

struct peers {
    struct sx_session c, s;
    struct sx_session_client_cfg cc;
    struct sx_session_server_cfg sc;
    uint8_t hello[SX_BLOCK], answer[SX_BLOCK];
    simplex_rc c_rc, s_rc;
};

/* For cmocka: the certificates. */
int set_up(void **state);
int tear_down(void **state);

/* What a test may change before start. */
void configure(struct peers *p);
/* Makes both sessions, the server's hello in p->hello. */
void start(struct peers *p);
simplex_rc feed_client(struct peers *p); /* the hello */
simplex_rc feed_server(struct peers *p); /* the client's answer */
void connect_peers(struct peers *p);     /* all three */
void connected(struct peers *p);         /* configured and connected */
/* Blocks of all sizes, both ways. */
void exchange(struct peers *p);

#endif
