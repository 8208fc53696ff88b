/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Start of the libraries, randomness and contexts. A lookup by name in OpenSSL 3 costs more than
 * hashing a message, therefore each algorithm is looked up once for the process; a context keeps
 * its provider state for the thread, so that hashing allocates only the first time.
 */
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <openssl/err.h>

#include "crypto/ossl.h"

static struct sx_ossl objects;
static atomic_bool ready;
static pthread_mutex_t init_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_key_t thread_end;
static bool have_key;

struct thread_ctx {
    EVP_CIPHER_CTX *cipher;
    EVP_MD_CTX *md[SX_MDS];
};

static _Thread_local struct thread_ctx mine;

static void free_thread_ctx(void *p)
{
    struct thread_ctx *t = p;

    EVP_CIPHER_CTX_free(t->cipher);
    t->cipher = NULL;
    for (size_t i = 0; i < SX_MDS; i++) {
        EVP_MD_CTX_free(t->md[i]);
        t->md[i] = NULL;
    }
}

static void free_objects(void)
{
    EVP_CIPHER_free(objects.gcm);
    for (size_t i = 0; i < SX_MDS; i++)
        EVP_MD_free(objects.md[i]);
    objects = (struct sx_ossl){ 0 };
    ERR_clear_error();
}

static simplex_rc fetch_objects(void)
{
    static const char *const names[SX_MDS] = {
        [SX_MD_SHA256] = "SHA2-256",     [SX_MD_SHA512] = "SHA2-512", [SX_MD_SHA3_256] = "SHA3-256",
        [SX_MD_SHA3_384] = "SHA3-384", [SX_MD_MD5] = "MD5",
    };
    bool ok = (objects.gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL)) != NULL;

    for (size_t i = 0; i < SX_MDS; i++)
        ok = (objects.md[i] = EVP_MD_fetch(NULL, names[i], NULL)) != NULL && ok;
    if (ok)
        return SIMPLEX_OK;
    free_objects();
    return SIMPLEX_E_UNSUPPORTED;
}

/* Not pthread_once: a start that failed for want of memory may be tried again. */
simplex_rc sx_crypto_init(void)
{
    simplex_rc rc = SIMPLEX_OK;

    if (atomic_load_explicit(&ready, memory_order_acquire))
        return SIMPLEX_OK;
    if (pthread_mutex_lock(&init_lock) != 0)
        return SIMPLEX_E_SYSTEM;
    if (!atomic_load(&ready)) {
        if (sodium_init() < 0)
            rc = SIMPLEX_E_RANDOM;
        else if (!have_key && pthread_key_create(&thread_end, free_thread_ctx) != 0)
            rc = SIMPLEX_E_SYSTEM;
        else
            have_key = true;
        if (rc == SIMPLEX_OK)
            rc = fetch_objects();
        atomic_store_explicit(&ready, rc == SIMPLEX_OK, memory_order_release);
    }
    (void)pthread_mutex_unlock(&init_lock);
    return rc;
}

const struct sx_ossl *sx_ossl(void)
{
    return sx_crypto_init() == SIMPLEX_OK ? &objects : NULL;
}

EVP_CIPHER_CTX *sx_ossl_cipher_ctx(void)
{
    if (mine.cipher != NULL)
        return mine.cipher;
    if (sx_crypto_init() != SIMPLEX_OK || pthread_setspecific(thread_end, &mine) != 0)
        return NULL;
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    if (c != NULL && EVP_CipherInit_ex2(c, objects.gcm, NULL, NULL, 1, NULL) == 1)
        return mine.cipher = c;
    EVP_CIPHER_CTX_free(c);
    ERR_clear_error();
    return NULL;
}

EVP_MD_CTX *sx_ossl_md_ctx(enum sx_md md)
{
    if (mine.md[md] != NULL)
        return mine.md[md];
    if (sx_crypto_init() != SIMPLEX_OK || pthread_setspecific(thread_end, &mine) != 0)
        return NULL;
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    if (c != NULL && EVP_DigestInit_ex2(c, objects.md[md], NULL) == 1)
        return mine.md[md] = c;
    EVP_MD_CTX_free(c);
    ERR_clear_error();
    return NULL;
}

/* libsodium asks the kernel for every call and aborts the process when it gets nothing. */
void sx_random(void *to, size_t n)
{
    if (sx_crypto_init() == SIMPLEX_E_RANDOM)
        abort();
    randombytes_buf(to, n);
}

uint32_t sx_random_below(uint32_t limit)
{
    if (sx_crypto_init() == SIMPLEX_E_RANDOM)
        abort();
    return randombytes_uniform(limit);
}

bool sx_equal_ct(const void *a, const void *b, size_t n)
{
    return n == 0 || sodium_memcmp(a, b, n) == 0;
}
