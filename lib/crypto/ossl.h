/* SPDX-License-Identifier: Apache-2.0 */
/* Inside lib/crypto only: OpenSSL's algorithm objects, looked up once, and per-thread contexts. */
#ifndef SX_OSSL_H
#define SX_OSSL_H

#include <openssl/evp.h>

#include "crypto/crypto.h"

/* The hashes that libsodium has too come first. */
enum sx_md { SX_MD_SHA256, SX_MD_SHA512, SX_MD_SHA3_256, SX_MD_SHA3_384, SX_MD_MD5, SX_MDS };
#define SX_MD_OWN SX_MD_SHA3_256

/* Contexts of the calling thread, made on first use, freed when it ends. NULL: no memory. */
EVP_CIPHER_CTX *sx_ossl_gcm_ctx(void);
EVP_MD_CTX *sx_ossl_md_ctx(enum sx_md md); /* below SX_MD_OWN */
/*
 * A context of the process for the hashes from SX_MD_OWN on, ready for data, locked until it is
 * given back. OpenSSL 3.0 allocates whenever a hash starts: each starts ahead, when the one before
 * ends, so that the first lack of memory does no harm. NULL (not locked): the second lack.
 */
EVP_MD_CTX *sx_ossl_lock_md(enum sx_md md);
void sx_ossl_unlock_md(enum sx_md md);

/* Key of one of the four kinds; NULL and an empty error queue on failure. */
EVP_PKEY *sx_ossl_pub(const struct sx_pub *k);
/* `pub` is taken as given: deriving it costs as much as the operation itself. */
EVP_PKEY *sx_ossl_priv(const struct sx_priv *k, const struct sx_pub *pub);

#endif
