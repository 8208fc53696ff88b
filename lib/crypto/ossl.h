/* SPDX-License-Identifier: Apache-2.0 */
/* Inside lib/crypto only: OpenSSL's algorithm objects, looked up once, and per-thread contexts. */
#ifndef SX_OSSL_H
#define SX_OSSL_H

#include <openssl/evp.h>

#include "crypto/crypto.h"

enum sx_md { SX_MD_SHA256, SX_MD_SHA512, SX_MD_SHA3_256, SX_MD_SHA3_384, SX_MD_MD5, SX_MDS };

struct sx_ossl {
    EVP_CIPHER *gcm;
    EVP_MD *md[SX_MDS];
};

/* The process-wide objects; NULL when sx_crypto_init fails. */
const struct sx_ossl *sx_ossl(void);

/* Contexts of the calling thread, made on first use, freed when the thread ends. NULL: no memory. */
EVP_CIPHER_CTX *sx_ossl_cipher_ctx(void);
EVP_MD_CTX *sx_ossl_md_ctx(enum sx_md md);

/* EVP_PKEY of one of the four kinds; NULL and an empty error queue on failure. */
EVP_PKEY *sx_ossl_priv(const struct sx_priv *k);
EVP_PKEY *sx_ossl_pub(const struct sx_pub *k);

#endif
