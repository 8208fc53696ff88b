/* SPDX-License-Identifier: Apache-2.0 */
/* Inside lib/crypto: writing PEM. */
#ifndef SX_PEM_H
#define SX_PEM_H

#include "crypto/x509.h"

void sx_pem_write(struct sx_wr *w, const char *label, simplex_bytes der);

#endif
