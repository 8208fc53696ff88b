/* SPDX-License-Identifier: Apache-2.0 */
/* Host names and SMP server addresses, binary and text (protocol/smp.md section 1). */
#ifndef SX_WIRE_SERVER_H
#define SX_WIRE_SERVER_H

#include "crypto/crypto.h"

#define SX_HOST_MAX 255
#define SX_HOSTS_MAX 8 /* more in one address is refused: no deployed server has over three */

enum sx_host_kind { SX_HOST_NAME, SX_HOST_IPV4, SX_HOST_IPV6, SX_HOST_ONION };

struct sx_host { /* text as in the address; IPv6 without brackets */
    uint8_t kind;
    char text[SX_HOST_MAX + 1];
};

/* Owned: no pointers into the input. Copy by assignment. port "" = the default (5223). */
struct sx_server {
    uint8_t n_hosts;
    struct sx_host hosts[SX_HOSTS_MAX];
    char port[6]; /* decimal, no leading zeros */
    uint8_t key_hash[32];
};

/* Text of one host; IPv6 with or without brackets. Strict: E_ADDRESS. */
simplex_rc sx_host_parse(simplex_bytes text, struct sx_host *out) SIMPLEX_CHECK;

void sx_server_encode(struct sx_wr *w, const struct sx_server *s); /* binary `Srv` */
void sx_server_decode(struct sx_rd *r, struct sx_server *s);

/*
 * smp://<fp>[:password]@host1[,host2...][:port]; password: borrowed from text, empty when none.
 * password == NULL: an address with a password is refused, as inside links.
 */
simplex_rc sx_server_parse(simplex_bytes text, struct sx_server *s, simplex_bytes *password)
    SIMPLEX_CHECK; /* E_ADDRESS */
void sx_server_print(struct sx_wr *w, const struct sx_server *s, simplex_bytes password);
/* "host1,host2[:port]" alone, as inside links */
void sx_server_print_hosts(struct sx_wr *w, const struct sx_server *s);

bool sx_server_eq(const struct sx_server *a, const struct sx_server *b); /* with key hash */
/* Full host list and port equal, key hash ignored (agent.md section 5.2: address equality). */
bool sx_server_same_address(const struct sx_server *a, const struct sx_server *b);
/* 5223 when unset; 0 for a number that is no port (addresses may carry up to five digits). */
uint16_t sx_server_port(const struct sx_server *s);
/* "host1,host2[:port]" into s->hosts and s->port; the key hash stays. E_ADDRESS. */
simplex_rc sx_server_parse_hosts(simplex_bytes text, struct sx_server *s) SIMPLEX_CHECK;
/* What a password of NEW, PRXY and server addresses may consist of; empty is refused. */
bool sx_password_valid(simplex_bytes p);

#endif
