/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head of an HTTP/1 request for a file (RFC 9112), read strictly: GET and HEAD without a body.
 * What is not understood is refused and the connection closed, so that nothing of a request can
 * pass for another one.
 */
#ifndef SX_WEB_REQUEST_H
#define SX_WEB_REQUEST_H

#include "base/base.h"

#define SX_WEB_HEAD_MAX 8192
#define SX_WEB_PATH_MAX 1024

struct sx_web_request {
    unsigned refused; /* the status of the answer, 400 or above; 0: it can be served */
    bool head;        /* HEAD: the answer is without its body */
    bool close;       /* no further request is read */
    /* Percent-decoded, without the first slash; "" is the root. Names joined by single slashes:
     * none is empty, "." or "..", or begins with a dot but ".well-known" at the beginning; no
     * control characters, no backslash. */
    char path[SX_WEB_PATH_MAX];
    simplex_bytes if_none_match, if_modified_since; /* into the input; empty: none */
};

/* The number of bytes the head took; 0: more of it is to come, and in.len < SX_WEB_HEAD_MAX. A
 * refused one takes everything. */
size_t sx_web_request_read(simplex_bytes in, struct sx_web_request *r);

#endif
