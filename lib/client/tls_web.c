/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTPS on a port of SMP (protocol/smp.md section 3). Which of the two a client gets is decided by
 * its ClientHello alone, before anything is chosen: naming a host makes it a browser. An SMP
 * connection has nothing of this.
 */
#include <time.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "client/tls_internal.h"

#define CERTS_MAX 10 /* of a web chain; public ones have two to four */
#define RSA_BITS_MIN 2048

/* h2 is not offered: no browser is without HTTP/1.1. */
static int select_http(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                       const unsigned char *in, unsigned in_len, void *arg)
{
    struct sx_rd r = sx_rd_init(sx_bytes(in, in_len));

    (void)ssl;
    (void)arg;
    while (r.left > 0 && !r.bad) {
        simplex_bytes name = sx_rd_short(&r);
        if (sx_bytes_eq(name, sx_str("http/1.1"))) {
            *out = name.ptr;
            *out_len = (unsigned char)name.len;
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL; /* no_application_protocol */
}

/* What SSL_set_SSL_CTX leaves as it was made for SMP. */
static bool as_browsers_like(SSL *ssl)
{
    SSL_set_verify(ssl, SSL_VERIFY_NONE, NULL); /* no certificate is asked for */
    return SSL_set1_groups_list(ssl, "X25519:P-256:X448:P-384:P-521") == 1;
}

static int on_hello(SSL *ssl, int *alert, void *arg)
{
    struct sx_tls_ctx *ctx = arg;
    struct sx_tls *t = BIO_get_data(SSL_get_rbio(ssl));
    const unsigned char *name;
    size_t len;

    if (!ctx->web_only && SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &name, &len) != 1)
        return SSL_CLIENT_HELLO_SUCCESS;
    if (!ctx->web_only && !t->web) {
        t->web = t->waits = true;
        return SSL_CLIENT_HELLO_RETRY; /* asked again by sx_tls_resume */
    }
    *alert = SSL_AD_INTERNAL_ERROR;
    if (CRYPTO_THREAD_read_lock(ctx->lock) != 1)
        return SSL_CLIENT_HELLO_ERROR;
    bool ok = ctx->web != NULL && SSL_set_SSL_CTX(ssl, ctx->web) != NULL && as_browsers_like(ssl);
    CRYPTO_THREAD_unlock(ctx->lock);
    t->web = true;
    return ok ? SSL_CLIENT_HELLO_SUCCESS : SSL_CLIENT_HELLO_ERROR;
}

/* ---- the files ---- */

/* A key with a password: without this OpenSSL asks for it on the terminal. */
static int no_password(char *buf, int size, int writing, void *user)
{
    (void)buf;
    (void)size;
    (void)writing;
    (void)user;
    return -1;
}

static BIO *memory_bio(simplex_bytes pem)
{
    return pem.len > INT32_MAX ? NULL : BIO_new_mem_buf(pem.ptr, (int)pem.len);
}

static STACK_OF(X509) * read_chain(simplex_bytes pem)
{
    STACK_OF(X509) *certs = sk_X509_new_null();
    BIO *b = memory_bio(pem);
    bool ok = certs != NULL && b != NULL;
    X509 *x = NULL;

    while (ok && (x = PEM_read_bio_X509(b, NULL, no_password, NULL)) != NULL) {
        ok = sk_X509_num(certs) < CERTS_MAX && sk_X509_push(certs, x) > 0;
        if (!ok)
            X509_free(x);
    }
    /* The end is the one error that there may be. */
    unsigned long e = ERR_peek_last_error();
    ok = ok && ERR_GET_LIB(e) == ERR_LIB_PEM && ERR_GET_REASON(e) == PEM_R_NO_START_LINE &&
         sk_X509_num(certs) > 0;
    BIO_free(b);
    if (ok)
        return certs;
    sk_X509_pop_free(certs, X509_free);
    return NULL;
}

static EVP_PKEY *read_key(simplex_bytes pem)
{
    BIO *b = memory_bio(pem);
    EVP_PKEY *key = b == NULL ? NULL : PEM_read_bio_PrivateKey(b, NULL, no_password, NULL);

    BIO_free(b);
    return key;
}

static bool strong_enough(const EVP_PKEY *key)
{
    switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_RSA:
        return EVP_PKEY_get_bits(key) >= RSA_BITS_MIN;
    case EVP_PKEY_EC:
        return EVP_PKEY_get_bits(key) >= 256;
    case EVP_PKEY_ED25519:
        return true;
    default:
        return false;
    }
}

static int64_t seconds_of(const ASN1_TIME *t)
{
    struct tm tm;

    return ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static simplex_rc use_pair(SSL_CTX *c, STACK_OF(X509) * certs, EVP_PKEY *key, int64_t *not_after)
{
    X509 *leaf = sk_X509_shift(certs);
    simplex_rc rc = SIMPLEX_OK;

    if (!strong_enough(key) || X509_get0_pubkey(leaf) == NULL)
        rc = SIMPLEX_E_UNSUPPORTED;
    else if (X509_check_private_key(leaf, key) != 1)
        rc = SIMPLEX_E_KEY;
    else if (SSL_CTX_use_cert_and_key(c, leaf, key, certs, 1) != 1)
        rc = SIMPLEX_E_CERT;
    if (rc == SIMPLEX_OK && not_after != NULL)
        *not_after = seconds_of(X509_get0_notAfter(leaf));
    X509_free(leaf);
    return rc;
}

static simplex_rc load(SSL_CTX *c, simplex_bytes chain_pem, simplex_bytes key_pem,
                       int64_t *not_after)
{
    ERR_clear_error();
    STACK_OF(X509) *certs = read_chain(chain_pem);
    if (certs == NULL)
        return SIMPLEX_E_CERT;
    EVP_PKEY *key = read_key(key_pem);
    simplex_rc rc = key == NULL ? SIMPLEX_E_KEY : use_pair(c, certs, key, not_after);
    EVP_PKEY_free(key);
    sk_X509_pop_free(certs, X509_free);
    return rc;
}

/* ---- contexts ---- */

/* The suites are OpenSSL's own, of its security level; versions and behaviour are those of SMP. */
static SSL_CTX *new_web(void)
{
    SSL_CTX *c = SSL_CTX_new(TLS_server_method());

    if (c == NULL)
        return NULL;
    SSL_CTX_set_options(c, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    (void)SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_num_tickets(c, 0);
    SSL_CTX_set_alpn_select_cb(c, select_http, NULL);
    if (SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION) == 1 &&
        SSL_CTX_set_cipher_list(c, "ECDHE+AESGCM:ECDHE+CHACHA20") == 1)
        return c;
    SSL_CTX_free(c);
    return NULL;
}

simplex_rc sx_tls_ctx_set_web(struct sx_tls_ctx *ctx, simplex_bytes chain_pem,
                              simplex_bytes key_pem, int64_t *not_after)
{
    if (!ctx->is_server)
        return SIMPLEX_E_ARG;
    if (ctx->lock == NULL)
        ctx->lock = CRYPTO_THREAD_lock_new();
    SSL_CTX *web = ctx->lock == NULL ? NULL : new_web();
    simplex_rc rc = web == NULL ? SIMPLEX_E_NOMEM : load(web, chain_pem, key_pem, not_after);
    ERR_clear_error();
    if (rc == SIMPLEX_OK && CRYPTO_THREAD_write_lock(ctx->lock) == 1) {
        SSL_CTX *old = ctx->web;
        ctx->web = web;
        web = old;
        CRYPTO_THREAD_unlock(ctx->lock);
        if (old == NULL) /* the first time, when there are no connections yet */
            SSL_CTX_set_client_hello_cb(ctx->ssl, on_hello, ctx);
    } else if (rc == SIMPLEX_OK) {
        rc = SIMPLEX_E_SYSTEM;
    }
    SSL_CTX_free(web);
    return rc;
}

simplex_rc sx_tls_ctx_https(struct sx_tls_ctx **out)
{
    simplex_rc rc = sx_tls_ctx_new(true, out);

    if (rc == SIMPLEX_OK)
        (*out)->web_only = true;
    return rc;
}
