/* SPDX-License-Identifier: Apache-2.0 */
/* Inside lib/crypto: the pieces of PEM. */
#ifndef SX_PEM_H
#define SX_PEM_H

#include "crypto/x509.h"

void sx_pem_write(struct sx_wr *w, const char *label, simplex_bytes der);
/* Standard alphabet, padded, blanks and line ends skipped. *len is 0 on failure. */
bool sx_b64_decode_lines(simplex_bytes text, uint8_t *out, size_t size, size_t *len);

#endif
