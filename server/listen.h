/* SPDX-License-Identifier: Apache-2.0 */
/* The sockets that listen. */
#ifndef SX_LISTEN_H
#define SX_LISTEN_H

#include "file.h"
#include "loop.h"

/*
 * Adds a socket for this address ("*": all addresses, of IPv6 and IPv4) and port, 0 for any free
 * one: `number` is the one taken.
 */
simplex_rc sx_listen(struct sx_listeners *to, const char *host, uint16_t port,
                     struct sx_errtext *err) SIMPLEX_CHECK;
void sx_listen_close(struct sx_listeners *l);

#endif
