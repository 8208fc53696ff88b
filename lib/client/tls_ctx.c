/* SPDX-License-Identifier: Apache-2.0 */
/* The TLS parameters of SMP and the server's certificates (protocol/smp.md section 3). */
#include <openssl/err.h>
#include <openssl/x509.h>

#include "client/tls_internal.h"

/* Certificates also travel in the server's hello, which is one block: no chain is longer. */
#define CERT_LIST_MAX (2 * 16384)
#define CHAIN_DER_MAX CERT_LIST_MAX
/* Anyone may present certificates to a server: as much as four of ordinary size need. */
#define CLIENT_CERT_LIST_MAX 8192

static const uint8_t alpn_smp1[] = { 5, 's', 'm', 'p', '/', '1' };

/* All of them mean SMP here: a client that keeps to port 443 may offer http/1.1 alone. */
static bool is_known_protocol(simplex_bytes name)
{
    static const char *const known[] = { "smp/1", "h2", "http/1.1" };

    for (size_t i = 0; i < SX_COUNT(known); i++) {
        if (sx_bytes_eq(name, sx_str(known[i])))
            return true;
    }
    return false;
}

/* The first name of the client's that the server knows (smp.md sections 3 and 14.8). */
static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                       const unsigned char *in, unsigned in_len, void *arg)
{
    struct sx_rd r = sx_rd_init(sx_bytes(in, in_len));

    (void)ssl;
    (void)arg;
    while (r.left > 0 && !r.bad) {
        simplex_bytes name = sx_rd_short(&r);
        if (is_known_protocol(name)) {
            *out = name.ptr;
            *out_len = (unsigned char)name.len;
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL; /* no_application_protocol */
}

static bool set_algorithms(SSL_CTX *c)
{
    return SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION) == 1 &&
           SSL_CTX_set_max_proto_version(c, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_ciphersuites(c, "TLS_CHACHA20_POLY1305_SHA256") == 1 &&
           SSL_CTX_set_cipher_list(c, "ECDHE-ECDSA-CHACHA20-POLY1305") == 1 &&
           SSL_CTX_set1_groups_list(c, "X448:X25519") == 1 &&
           SSL_CTX_set1_sigalgs_list(c, "ed448:ed25519") == 1 &&
           SSL_CTX_set1_client_sigalgs_list(c, "ed448:ed25519") == 1;
}

/*
 * No resumption in either direction, no renegotiation. LEGACY_SERVER_CONNECT: Haskell servers do
 * not offer RFC 5746, which only says something about renegotiation.
 */
static void set_behaviour(SSL_CTX *c)
{
    SSL_CTX_set_options(c, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                               SSL_OP_LEGACY_SERVER_CONNECT);
    SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN |
                            SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    (void)SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_max_cert_list(c, CERT_LIST_MAX);
    SSL_CTX_set_verify(c, SSL_VERIFY_PEER, NULL); /* a server asks, and takes an empty answer */
    SSL_CTX_set_cert_verify_callback(c, sx_tls_verify_peer, NULL);
}

simplex_rc sx_tls_ctx_new(bool is_server, struct sx_tls_ctx **out)
{
    struct sx_tls_ctx *ctx = sx_calloc(1, sizeof *ctx);

    *out = NULL;
    if (ctx == NULL)
        return SIMPLEX_E_NOMEM;
    ctx->is_server = is_server;
    ctx->bio = sx_tls_bio_method();
    ctx->ssl = SSL_CTX_new(is_server ? TLS_server_method() : TLS_client_method());
    if (ctx->bio == NULL || ctx->ssl == NULL) {
        sx_tls_ctx_free(ctx);
        ERR_clear_error();
        return SIMPLEX_E_NOMEM;
    }
    if (!set_algorithms(ctx->ssl)) {
        sx_tls_ctx_free(ctx);
        ERR_clear_error();
        return SIMPLEX_E_UNSUPPORTED; /* an OpenSSL without EdDSA, X448 or ChaCha20 */
    }
    set_behaviour(ctx->ssl);
    *out = ctx;
    return SIMPLEX_OK;
}

simplex_rc sx_tls_ctx_client(struct sx_tls_ctx **out)
{
    simplex_rc rc = sx_tls_ctx_new(false, out);

    if (rc == SIMPLEX_OK)
        rc = sx_tls_ctx_alpn(*out, sx_bytes(alpn_smp1, sizeof alpn_smp1));
    if (rc != SIMPLEX_OK) {
        sx_tls_ctx_free(*out);
        *out = NULL;
    }
    return rc;
}

static EVP_PKEY *leaf_key(simplex_bytes key_pem)
{
    struct sx_keypair k = { 0 };
    EVP_PKEY *pkey = NULL;

    if (sx_pem_key(key_pem, &k) == SIMPLEX_OK && sx_sig_len(k.priv.alg) > 0)
        pkey =
            EVP_PKEY_new_raw_private_key(k.priv.alg == SX_ED448 ? EVP_PKEY_ED448 : EVP_PKEY_ED25519,
                                         NULL, k.priv.b, sx_key_len(k.priv.alg));
    sx_keypair_wipe(&k);
    return pkey;
}

/* The certificates behind the leaf, as OpenSSL wants them; NULL without memory or when bad. */
static STACK_OF(X509) * parse_chain(const struct sx_chain *chain)
{
    STACK_OF(X509) *certs = sk_X509_new_null();

    for (size_t i = 0; certs != NULL && i < chain->count; i++) {
        const uint8_t *p = chain->cert[i].ptr;
        X509 *x = d2i_X509(NULL, &p, (long)chain->cert[i].len);
        if (x == NULL || sk_X509_push(certs, x) <= 0) {
            X509_free(x);
            sk_X509_pop_free(certs, X509_free);
            return NULL;
        }
    }
    return certs;
}

static simplex_rc use_certs(SSL_CTX *c, const struct sx_chain *chain, EVP_PKEY *key)
{
    STACK_OF(X509) *certs = parse_chain(chain);
    simplex_rc rc = SIMPLEX_E_CERT;

    if (certs == NULL)
        return SIMPLEX_E_CERT;
    X509 *leaf = sk_X509_shift(certs);
    if (leaf != NULL && SSL_CTX_use_cert_and_key(c, leaf, key, certs, 1) == 1)
        rc = SIMPLEX_OK;
    X509_free(leaf);
    sk_X509_pop_free(certs, X509_free);
    return rc;
}

static simplex_rc load_certs(SSL_CTX *c, simplex_bytes chain_pem, simplex_bytes key_pem)
{
    struct sx_wr der;
    struct sx_chain chain = { 0 };

    sx_wr_init(&der, CHAIN_DER_MAX);
    simplex_rc rc = sx_pem_chain(chain_pem, &der, &chain);
    if (rc == SIMPLEX_OK) {
        EVP_PKEY *key = leaf_key(key_pem);
        rc = key != NULL ? use_certs(c, &chain, key) : SIMPLEX_E_KEY;
        EVP_PKEY_free(key);
    }
    sx_wr_free(&der);
    ERR_clear_error();
    return rc;
}

simplex_rc sx_tls_ctx_server(simplex_bytes chain_pem, simplex_bytes key_pem,
                             struct sx_tls_ctx **out)
{
    struct sx_tls_ctx *ctx;
    simplex_rc rc = sx_tls_ctx_new(true, &ctx);

    *out = NULL;
    if (rc != SIMPLEX_OK)
        return rc;
    SSL_CTX_set_alpn_select_cb(ctx->ssl, select_alpn, NULL);
    (void)SSL_CTX_set_num_tickets(ctx->ssl, 0);
    SSL_CTX_set_max_cert_list(ctx->ssl, CLIENT_CERT_LIST_MAX);
    rc = load_certs(ctx->ssl, chain_pem, key_pem);
    if (rc != SIMPLEX_OK) {
        sx_tls_ctx_free(ctx);
        return rc;
    }
    *out = ctx;
    return SIMPLEX_OK;
}

simplex_rc sx_tls_ctx_present(struct sx_tls_ctx *ctx, simplex_bytes chain_pem,
                              simplex_bytes key_pem)
{
    if (ctx->is_server)
        return SIMPLEX_E_ARG;
    SSL_CTX_set_cert_cb(ctx->ssl, sx_tls_asked, NULL);
    return load_certs(ctx->ssl, chain_pem, key_pem);
}

simplex_rc sx_tls_ctx_versions(struct sx_tls_ctx *ctx, int min, int max)
{
    if (SSL_CTX_set_min_proto_version(ctx->ssl, min) == 1 &&
        SSL_CTX_set_max_proto_version(ctx->ssl, max) == 1)
        return SIMPLEX_OK;
    ERR_clear_error();
    return SIMPLEX_E_ARG;
}

simplex_rc sx_tls_ctx_alpn(struct sx_tls_ctx *ctx, simplex_bytes names)
{
    if (ctx->is_server || names.len > 255)
        return SIMPLEX_E_ARG;
    /* This one function of OpenSSL returns 0 for success. */
    if (SSL_CTX_set_alpn_protos(ctx->ssl, names.ptr, (unsigned)names.len) == 0)
        return SIMPLEX_OK;
    ERR_clear_error();
    return SIMPLEX_E_ARG;
}

void sx_tls_ctx_free(struct sx_tls_ctx *ctx)
{
    if (ctx == NULL)
        return;
    SSL_CTX_free(ctx->ssl);
    SSL_CTX_free(ctx->web);
    CRYPTO_THREAD_lock_free(ctx->lock);
    BIO_meth_free(ctx->bio);
    sx_free(ctx);
}
