/* SPDX-License-Identifier: Apache-2.0 */
/* One browser's connection, on the thread of the site: HTTP/1 inside TLS, or without it. */
#ifndef SX_WEB_CONN_H
#define SX_WEB_CONN_H

#include <uv.h>

#include "client/tls.h"

#define SX_WEB_READ 65536
#define SX_WEB_PART 32768 /* bytes of a file in memory for a connection */

struct sx_web_conn;

struct sx_web_conns { /* of the thread of the site */
    uv_loop_t *uv;
    const char *root; /* path of the folder, opened for each request: it may be replaced */
    int64_t tls_timeout_ms, head_timeout_ms, stall_timeout_ms;
    unsigned max;
    struct sx_web_conn *first, *last; /* oldest first */
    _Atomic size_t count;             /* until they are freed */
    uint8_t read_buf[SX_WEB_READ];
    uint8_t part[SX_WEB_PART];
};

/* Takes fd and tls (NULL: none), whose handshake may be under way. When there are too many, the one
 * that has been waiting longest for a request goes, or else this one. */
void sx_web_conn_open(struct sx_web_conns *l, int fd, struct sx_tls *tls);
void sx_web_conns_check(struct sx_web_conns *l, int64_t now); /* time limits */
void sx_web_conns_close(struct sx_web_conns *l);              /* all of them */

#endif
