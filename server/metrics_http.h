/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 on 127.0.0.1 for Prometheus: GET /metrics, one request a connection. */
#ifndef SX_METRICS_HTTP_H
#define SX_METRICS_HTTP_H

#include "base/base.h"

#define SX_HTTP_HEAD_MAX 4096 /* bytes of a request with its headers */

enum sx_http_result {
    SX_HTTP_MORE,        /* the head is not complete yet */
    SX_HTTP_METRICS,     /* 200 */
    SX_HTTP_BAD_REQUEST, /* 400 */
    SX_HTTP_NOT_FOUND,   /* 404 */
    SX_HTTP_NOT_ALLOWED, /* 405 */
    SX_HTTP_TOO_LARGE,   /* 431 */
    SX_HTTP_VERSION,     /* 505 */
};

/* What is to be answered to the bytes received so far. *head: HEAD instead of GET. */
enum sx_http_result sx_http_parse(simplex_bytes in, bool *head);
/* The head of the answer; body_len is that of the 200 one, others bring their own body. */
void sx_http_answer(struct sx_wr *w, enum sx_http_result what, size_t body_len, bool head);

#endif
