/* SPDX-License-Identifier: Apache-2.0 */
#include "support/browser.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#define WAIT_MS 20000

/* ---- connections ---- */

static void set_alpn(SSL *ssl, const char *name)
{
    unsigned char wire[64];
    size_t n = strlen(name);

    assert_true(n < sizeof(wire));
    wire[0] = (unsigned char)n;
    memcpy(wire + 1, name, n);
    assert_int_equal(SSL_set_alpn_protos(ssl, wire, (unsigned)n + 1), 0);
}

static bool start_tls(struct browser *b, const struct browser_cfg *cfg)
{
    b->ctx = SSL_CTX_new(TLS_client_method());
    assert_non_null(b->ctx);
    if (cfg->max_version != 0)
        assert_int_equal(SSL_CTX_set_max_proto_version(b->ctx, cfg->max_version), 1);
    b->ssl = SSL_new(b->ctx);
    assert_non_null(b->ssl);
    if (cfg->sni != NULL)
        assert_int_equal(SSL_set_tlsext_host_name(b->ssl, cfg->sni), 1);
    if (cfg->alpn != NULL)
        set_alpn(b->ssl, cfg->alpn);
    assert_int_equal(SSL_set_fd(b->ssl, b->fd), 1);
    return SSL_connect(b->ssl) == 1;
}

bool browser_open(struct browser *b, const struct browser_cfg *cfg)
{
    struct sockaddr_in at = { .sin_family = AF_INET,
                              .sin_port = htons(cfg->port),
                              .sin_addr = { htonl(INADDR_LOOPBACK) } };
    struct timeval limit = { WAIT_MS / 1000, 0 };

    (void)signal(SIGPIPE, SIG_IGN); /* OpenSSL writes to servers that may have closed */
    b->ctx = NULL;
    b->ssl = NULL;
    b->have = b->len = 0;
    b->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(b->fd >= 0);
    assert_int_equal(setsockopt(b->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
    if (connect(b->fd, (struct sockaddr *)&at, sizeof(at)) == 0 &&
        (cfg->plain || start_tls(b, cfg)))
        return true;
    browser_close(b);
    return false;
}

void browser_close(struct browser *b)
{
    SSL_free(b->ssl);
    SSL_CTX_free(b->ctx);
    if (b->fd >= 0)
        close(b->fd);
    b->ssl = NULL;
    b->ctx = NULL;
    b->fd = -1;
}

void browser_send(struct browser *b, const char *text)
{
    int n = (int)strlen(text);

    if (b->ssl != NULL)
        (void)SSL_write(b->ssl, text, n); /* a server that closes meanwhile is seen when reading */
    else
        (void)send(b->fd, text, (size_t)n, MSG_NOSIGNAL);
}

static size_t read_some(struct browser *b, char *to, size_t n)
{
    int limit = n > 65536 ? 65536 : (int)n;
    int got = b->ssl != NULL ? SSL_read(b->ssl, to, limit) : (int)recv(b->fd, to, n, 0);

    return got > 0 ? (size_t)got : 0;
}

static size_t content_length(const struct browser *b, size_t head)
{
    for (size_t i = 0; i < head; i++)
        if (strncasecmp(b->text + i, "\nContent-Length:", 16) == 0)
            return strtoul(b->text + i + 16, NULL, 10);
    return 0;
}

bool browser_read(struct browser *b, bool no_body)
{
    const char *end;

    memmove(b->text, b->text + b->len, b->have - b->len); /* of the answer before */
    b->have -= b->len;
    b->len = 0;
    for (;;) {
        b->text[b->have] = 0;
        end = strstr(b->text, "\r\n\r\n");
        if (end != NULL) {
            size_t head = (size_t)(end - b->text) + 4;
            assert_int_equal(sscanf(b->text, "HTTP/1.1 %3u ", &b->status), 1);
            bool none = no_body || b->status == 304;
            b->len = head + (none ? 0 : content_length(b, head));
            b->body = b->text + head;
            assert_true(b->len < sizeof(b->text));
            if (b->have >= b->len)
                break;
        }
        size_t n = read_some(b, b->text + b->have, sizeof(b->text) - 1 - b->have);
        if (n == 0)
            return false;
        b->have += n;
    }
    return true;
}

unsigned browser_get(struct browser *b, const struct browser_cfg *cfg, const char *path)
{
    char text[2048];

    if (!browser_open(b, cfg))
        fail_msg("no connection for %s", path);
    snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
             path);
    browser_send(b, text);
    if (!browser_read(b, false))
        fail_msg("no answer for %s", path);
    browser_close(b);
    return b->status;
}

bool browser_has(const struct browser *b, const char *header)
{
    char line[256];

    snprintf(line, sizeof(line), "\r\n%s\r\n", header);
    const char *at = strstr(b->text, line);
    return at != NULL && at < b->body;
}

bool browser_closed(struct browser *b, int timeout_ms)
{
    struct pollfd p = { .fd = b->fd, .events = POLLIN };
    char buf[4096];

    while (poll(&p, 1, timeout_ms) == 1)
        if (recv(b->fd, buf, sizeof(buf), 0) <= 0)
            return true;
    return false;
}

void browser_cert_name(const struct browser *b, char to[64])
{
    X509 *x = SSL_get1_peer_certificate(b->ssl);

    assert_non_null(x);
    assert_true(X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, to, 64) > 0);
    X509_free(x);
}

/* ---- certificates ---- */

static EVP_PKEY *make_key(enum web_key kind)
{
    EVP_PKEY *key = NULL;

    switch (kind) {
    case WEB_RSA_2048:
        key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
        break;
    case WEB_RSA_1024:
        key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)1024);
        break;
    case WEB_EC:
        key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
        break;
    case WEB_ED25519:
        key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
        break;
    }
    assert_non_null(key);
    return key;
}

static X509 *make_cert(EVP_PKEY *key, const char *name, EVP_PKEY *issuer_key, const char *issuer)
{
    const EVP_MD *md = EVP_PKEY_get_base_id(issuer_key) == EVP_PKEY_ED25519 ? NULL : EVP_sha256();
    X509 *x = X509_new();

    assert_non_null(x);
    assert_int_equal(X509_set_version(x, 2), 1);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(x), 1), 1);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(x), -3600));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(x), 86400));
    assert_int_equal(X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                                                (const unsigned char *)name, -1, -1, 0),
                     1);
    assert_int_equal(X509_NAME_add_entry_by_txt(X509_get_issuer_name(x), "CN", MBSTRING_ASC,
                                                (const unsigned char *)issuer, -1, -1, 0),
                     1);
    assert_int_equal(X509_set_pubkey(x, key), 1);
    assert_true(X509_sign(x, issuer_key, md) > 0);
    return x;
}

static FILE *create(const char *dir, const char *name)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    return f;
}

void web_cert_make(const char *dir, enum web_key kind, const char *name)
{
    EVP_PKEY *key = make_key(kind), *issuer_key = make_key(WEB_EC);
    X509 *leaf = make_cert(key, name, issuer_key, "web issuer");
    X509 *issuer = make_cert(issuer_key, "web issuer", issuer_key, "web issuer");

    FILE *f = create(dir, "web.crt");
    assert_int_equal(PEM_write_X509(f, leaf), 1);
    assert_int_equal(PEM_write_X509(f, issuer), 1);
    assert_int_equal(fclose(f), 0);
    f = create(dir, "web.key");
    assert_int_equal(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
    assert_int_equal(fclose(f), 0);
    X509_free(leaf);
    X509_free(issuer);
    EVP_PKEY_free(key);
    EVP_PKEY_free(issuer_key);
}
