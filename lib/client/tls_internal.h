/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by tls_ctx.c (parameters, certificates) and tls_openssl.c (connections). */
#ifndef SX_TLS_INTERNAL_H
#define SX_TLS_INTERNAL_H

#include <openssl/bio.h>
#include <openssl/ssl.h>

#include "client/tls.h"

struct sx_tls_ctx {
    SSL_CTX *ssl;
    BIO_METHOD *bio;
    CRYPTO_RWLOCK *lock; /* of `web`; NULL: it never has one */
    SSL_CTX *web;        /* what browsers get: tls_web.c */
    bool is_server;
    bool web_only; /* for everyone, named or not */
};

struct tls_buf { /* ciphertext waiting; freed when drained */
    uint8_t *p;
    size_t off, len, size; /* bytes off..len are waiting */
};

struct peer_chain { /* one allocation: the DER follows */
    struct sx_chain chain;
    uint8_t der[];
};

struct sx_tls {
    SSL *ssl;
    struct tls_buf out;
    struct tls_buf kept; /* input fed after the handshake and not read yet */
    simplex_bytes in;    /* input lent for the duration of a call */
    struct peer_chain *peer;
    simplex_rc failed;     /* sticky */
    simplex_rc cert_error; /* why the certificates were refused */
    size_t answered;       /* output made while reading, since all of it was last taken */
    bool is_server, ready;
    bool reading;
    bool presented; /* our certificates were asked for */
    bool web;       /* the client is a browser */
    bool waits;     /* for sx_tls_resume: nothing was answered to its hello yet */
    uint8_t key_hash[32];
};

/* The BIO between OpenSSL and the two buffers of a connection. */
BIO_METHOD *sx_tls_bio_method(void);
/* For SSL_CTX_set_cert_cb: the server wants to see certificates. */
int sx_tls_asked(SSL *ssl, void *arg);
/* A context without certificates, with everything else that is SMP's. */
simplex_rc sx_tls_ctx_new(bool is_server, struct sx_tls_ctx **out) SIMPLEX_CHECK;
/* For SSL_CTX_set_cert_verify_callback: the only verification of peers there is. */
int sx_tls_verify_peer(X509_STORE_CTX *store, void *arg);

#endif
