/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Start of the libraries, randomness and contexts. A lookup by name in OpenSSL 3 costs more than
 * hashing a message, therefore each algorithm is looked up once for the process, and contexts
 * are kept.
 */
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <openssl/err.h>

#include "crypto/ossl.h"

static EVP_CIPHER *gcm;
static EVP_MD *mds[SX_MDS];
static EVP_MD_CTX *shared[SX_MDS]; /* from SX_MD_OWN on */
static bool started[SX_MDS];       /* the shared context is ready for data */
static pthread_mutex_t shared_lock = PTHREAD_MUTEX_INITIALIZER;

static atomic_bool ready;
static pthread_mutex_t init_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_key_t thread_end;
static bool have_thread_end;

static _Thread_local struct thread_ctx {
    EVP_CIPHER_CTX *gcm;
    EVP_MD_CTX *md[SX_MD_OWN];
} mine;

static void free_thread_ctx(void *p)
{
    struct thread_ctx *t = p;

    EVP_CIPHER_CTX_free(t->gcm);
    for (size_t i = 0; i < SX_MD_OWN; i++)
        EVP_MD_CTX_free(t->md[i]);
    *t = (struct thread_ctx){ 0 };
}

static EVP_MD_CTX *new_md_ctx(enum sx_md md)
{
    EVP_MD_CTX *c = EVP_MD_CTX_new();

    if (c != NULL && EVP_DigestInit_ex2(c, mds[md], NULL) == 1)
        return c;
    EVP_MD_CTX_free(c);
    ERR_clear_error();
    return NULL;
}

static void free_objects(void)
{
    EVP_CIPHER_free(gcm);
    gcm = NULL;
    for (size_t i = 0; i < SX_MDS; i++) {
        EVP_MD_CTX_free(shared[i]);
        EVP_MD_free(mds[i]);
        shared[i] = NULL;
        mds[i] = NULL;
    }
    ERR_clear_error();
}

static simplex_rc fetch_objects(void)
{
    static const char *const names[SX_MDS] = {
        [SX_MD_SHA256] = "SHA2-256",   [SX_MD_SHA512] = "SHA2-512", [SX_MD_SHA3_256] = "SHA3-256",
        [SX_MD_SHA3_384] = "SHA3-384", [SX_MD_MD5] = "MD5",
    };
    bool ok = (gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL)) != NULL;

    for (unsigned i = 0; ok && i < SX_MDS; i++) {
        ok = (mds[i] = EVP_MD_fetch(NULL, names[i], NULL)) != NULL;
        if (ok && i >= SX_MD_OWN)
            ok = started[i] = (shared[i] = new_md_ctx(i)) != NULL;
    }
    if (ok)
        return SIMPLEX_OK;
    free_objects();
    return SIMPLEX_E_UNSUPPORTED;
}

static simplex_rc start(void)
{
    if (sodium_init() < 0)
        return SIMPLEX_E_RANDOM;
    if (!have_thread_end && pthread_key_create(&thread_end, free_thread_ctx) != 0)
        return SIMPLEX_E_SYSTEM;
    have_thread_end = true;
    return fetch_objects();
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
        rc = start();
        atomic_store_explicit(&ready, rc == SIMPLEX_OK, memory_order_release);
    }
    (void)pthread_mutex_unlock(&init_lock);
    return rc;
}

static bool thread_ready(void)
{
    return sx_crypto_init() == SIMPLEX_OK && pthread_setspecific(thread_end, &mine) == 0;
}

EVP_CIPHER_CTX *sx_ossl_gcm_ctx(void)
{
    if (mine.gcm != NULL || !thread_ready())
        return mine.gcm;
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    if (c != NULL && EVP_CipherInit_ex2(c, gcm, NULL, NULL, 1, NULL) == 1)
        return mine.gcm = c;
    EVP_CIPHER_CTX_free(c);
    ERR_clear_error();
    return NULL;
}

EVP_MD_CTX *sx_ossl_md_ctx(enum sx_md md)
{
    if (mine.md[md] == NULL && thread_ready())
        mine.md[md] = new_md_ctx(md);
    return mine.md[md];
}

EVP_MD_CTX *sx_ossl_lock_md(enum sx_md md)
{
    if (sx_crypto_init() != SIMPLEX_OK || pthread_mutex_lock(&shared_lock) != 0)
        return NULL;
    if (started[md] || EVP_DigestInit_ex2(shared[md], mds[md], NULL) == 1)
        return shared[md];
    ERR_clear_error();
    (void)pthread_mutex_unlock(&shared_lock);
    return NULL;
}

void sx_ossl_unlock_md(enum sx_md md)
{
    started[md] = EVP_DigestInit_ex2(shared[md], mds[md], NULL) == 1;
    if (!started[md])
        ERR_clear_error();
    (void)pthread_mutex_unlock(&shared_lock);
}

/* libsodium asks the kernel for every call and aborts the process when it gets nothing. */
void sx_random(void *to, size_t n)
{
    if (sx_crypto_init() == SIMPLEX_E_RANDOM)
        abort();
    if (n > 0)
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
