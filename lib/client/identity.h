/* SPDX-License-Identifier: Apache-2.0 */
/* Who a client is as a service (protocol/smp.md section 4): its certificate, for TLS and hello. */
#ifndef SX_IDENTITY_H
#define SX_IDENTITY_H

#include "client/session.h"
#include "client/tls.h"

/* Of one loop. Who has it holds a reference: connections keep theirs until TLS is gone. */
struct sx_identity {
    unsigned refs;
    struct sx_tls_ctx *tls;      /* presents the certificate */
    struct sx_service_cert cert; /* into der */
    struct sx_wr der;
};

/* role: 'M' 'N' 'P'; PEM, leaf first, and the key of the leaf. E_DECODE, E_CERT, E_KEY, E_NOMEM. */
simplex_rc sx_identity_open(uint8_t role, simplex_bytes chain_pem, simplex_bytes key_pem,
                            struct sx_identity **out) SIMPLEX_CHECK;
struct sx_identity *sx_identity_ref(struct sx_identity *i); /* i; NULL is fine in both */
void sx_identity_unref(struct sx_identity *i);

#endif
