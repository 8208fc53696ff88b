/* SPDX-License-Identifier: Apache-2.0 */
/* The certificate of the web site: two PEM files that a certificate authority's client renews. */
#ifndef SX_WEB_CERT_H
#define SX_WEB_CERT_H

#include "client/tls.h"
#include "file.h"

struct sx_web_stamp { /* of a file: another one when it was written or replaced */
    int64_t mtime_s, mtime_ns, size;
    uint64_t inode;
};

struct sx_web_cert {
    const char *cert, *key; /* paths, borrowed */
    struct sx_web_stamp stamp[2];
};

/* Reads both files into each context (NULL: none of them). On failure those keep what they have;
 * *key_at_fault (may be NULL) tells which file it is, err what to do. */
simplex_rc sx_web_cert_load(struct sx_web_cert *c, struct sx_tls_ctx *const *ctx, size_t n,
                            bool *key_at_fault, struct sx_errtext *err) SIMPLEX_CHECK;
/* A file is another one than at the last load, which may have failed. */
bool sx_web_cert_changed(const struct sx_web_cert *c);

#endif
