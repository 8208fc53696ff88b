/* SPDX-License-Identifier: Apache-2.0 */
/* SOCKS5 client (RFC 1928, RFC 1929) without I/O: bytes in, bytes out. */
#ifndef SX_SOCKS5_H
#define SX_SOCKS5_H

#include "wire/server.h"

enum sx_socks5_state {
    SX_SOCKS5_METHOD,  /* waiting for the choice of the method */
    SX_SOCKS5_AUTH,    /* ... for the verdict on the credentials */
    SX_SOCKS5_REPLY,   /* ... for the head of the reply */
    SX_SOCKS5_ADDRESS, /* ... for the rest of the reply */
    SX_SOCKS5_DONE,
    SX_SOCKS5_FAILED,
};

struct sx_socks5_cfg {
    const char *user, *password; /* NULL user: no credentials; at most 255 bytes each */
    bool may_skip_auth;          /* offer "no authentication" besides the credentials */
    const struct sx_host *host;
    uint16_t port;
};

struct sx_socks5 {
    uint8_t state;   /* enum sx_socks5_state */
    uint8_t methods; /* offered: bit 0 none, bit 1 user and password */
    uint16_t in_len, in_need;
    uint8_t in[262]; /* the reply being collected */
    uint16_t out_len;
    uint8_t out[520]; /* the next thing to send */
    uint16_t auth_len, request_len;
    uint8_t auth[513]; /* prepared messages */
    uint8_t request[262];
};

/* Makes the greeting. E_ARG when the names do not fit. */
simplex_rc sx_socks5_init(struct sx_socks5 *s, const struct sx_socks5_cfg *cfg) SIMPLEX_CHECK;
/* What is to be sent now; empty when nothing is. The caller sends all of it. */
simplex_bytes sx_socks5_take(struct sx_socks5 *s);
/*
 * Feeds bytes of the proxy. *used: how many belonged to the negotiation; once the state is DONE
 * the rest belongs to the connection. E_PROXY; E_CONNECT when the proxy cannot reach the host.
 */
simplex_rc sx_socks5_input(struct sx_socks5 *s, simplex_bytes in, size_t *used) SIMPLEX_CHECK;
void sx_socks5_wipe(struct sx_socks5 *s);

#endif
