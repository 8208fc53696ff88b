/* SPDX-License-Identifier: Apache-2.0 */
/* Who a client is as a service (protocol/smp.md section 4): its certificate, for TLS and hello. */
#ifndef SX_IDENTITY_H
#define SX_IDENTITY_H

#include "client/session.h"
#include "client/tls.h"

struct sx_identity {
    struct sx_tls_ctx *tls;      /* presents the certificate */
    struct sx_service_cert cert; /* into der */
    struct sx_wr der;
};

/* role: 'M' 'N' 'P'; PEM, leaf first, and the key of the leaf. E_DECODE, E_CERT, E_KEY, E_NOMEM. */
simplex_rc sx_identity_open(uint8_t role, simplex_bytes chain_pem, simplex_bytes key_pem,
                            struct sx_identity **out) SIMPLEX_CHECK;
void sx_identity_free(struct sx_identity *i); /* NULL is fine */

#endif
