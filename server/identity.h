/* SPDX-License-Identifier: Apache-2.0 */
/* The certificates of the server: made, or kept in a directory (protocol/smp.md section 10). */
#ifndef SX_IDENTITY_H
#define SX_IDENTITY_H

#include <stdio.h>

#include "crypto/x509.h"

struct sx_identity {
    struct sx_wr chain_pem, key_pem; /* leaf and CA; key of the leaf */
    struct sx_wr der;                /* what `chain` points into */
    struct sx_chain chain;
    struct sx_keypair leaf;
    uint8_t fingerprint[32];
};

struct sx_errtext { /* one sentence for whoever starts the server */
    char *to;
    size_t size;
};
void sx_errtext_set(struct sx_errtext *e, const char *fmt, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 2, 3)))
#endif
    ;

/* dir NULL: made in memory. Otherwise read from dir, or made there when it has no server.crt.
 * host: common name of a new certificate. */
simplex_rc sx_identity_load(struct sx_identity *c, const char *dir, const char *host,
                            struct sx_errtext *err) SIMPLEX_CHECK;
void sx_identity_wipe(struct sx_identity *c);

#endif
