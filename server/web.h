/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The static site of [WEB] (protocol/smp.md section 10): a thread of its own serves it, over HTTP,
 * over HTTPS on a port of its own, and to the browsers that come to a port of SMP. Those are told
 * from SMP clients by TLS (client/tls.h), and handed over by the loops with all that belongs to
 * them, so that files and slow browsers take no time of the threads that serve messages.
 */
#ifndef SX_WEB_H
#define SX_WEB_H

#include "client/tls.h"
#include "file.h"
#include "listen.h"

#define SX_WEB_CONNECTIONS_MAX 1000

struct sx_web_cfg {
    const char *path; /* folder of the site; it need not be there yet */
    const char *host; /* to listen on, as for SMP */
    bool http, https; /* open a port of its own for it */
    uint16_t http_port, https_port;
    struct sx_tls_ctx *shared; /* of a port of SMP; NULL: none. Outlives the site */
    const char *cert, *key;    /* PEM files for https and shared; NULL: none of both */
    unsigned max_conns;        /* 0: SX_WEB_CONNECTIONS_MAX */
    int64_t tls_timeout_ms;
    int64_t head_timeout_ms;  /* 0: 15 s. A request must have come by then, the next one too */
    int64_t stall_timeout_ms; /* 0: 20 s. So long for each part of an answer */
};

struct sx_web;

/* Everything is copied. err says what is wrong with a port or a file, and what to do. */
simplex_rc sx_web_open(const struct sx_web_cfg *cfg, struct sx_web **out,
                       struct sx_errtext *err) SIMPLEX_CHECK;
/* Stops taking browsers and waits for the thread; when no loop hands any over. NULL is fine. */
void sx_web_close(struct sx_web *w);
/* From a loop: a browser whose handshake waits (sx_tls_resume). Takes the socket and tls; closes
 * them when so many wait that the thread is too busy. */
void sx_web_take(struct sx_web *w, int fd, struct sx_tls *tls);
/* From any thread: reads the certificate again if its files have changed, or in any case. It is
 * looked at every few seconds as well. */
void sx_web_reload(struct sx_web *w);
uint16_t sx_web_http_port(const struct sx_web *w); /* 0: none */
uint16_t sx_web_https_port(const struct sx_web *w);
size_t sx_web_connections(struct sx_web *w);
uint64_t sx_web_refused(struct sx_web *w); /* by sx_web_take */

/* Whether the two files can be used; *key_at_fault says which of them cannot. */
simplex_rc sx_web_check(const char *cert, const char *key, bool *key_at_fault,
                        struct sx_errtext *err) SIMPLEX_CHECK;

#endif
