/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A browser of sorts with blocking sockets, over OpenSSL itself and not over our TLS; and the
 * certificates of web sites. What fails fails the test, unless it is said otherwise.
 */
#ifndef TESTS_BROWSER_H
#define TESTS_BROWSER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/ssl.h>

struct browser_cfg {
    uint16_t port;
    bool plain;       /* no TLS */
    const char *sni;  /* NULL: no host is named */
    const char *alpn; /* one name; NULL: none */
    int max_version;  /* of TLS; 0: any */
};

struct browser {
    int fd;
    SSL_CTX *ctx;
    SSL *ssl;
    char text[1 << 20]; /* of the answer: head and body, NUL behind it */
    size_t len;
    size_t have; /* bytes read so far, of further answers as well */
    unsigned status;
    const char *body; /* into text */
};

/* False: the server refused the connection or the handshake. */
bool browser_open(struct browser *b, const struct browser_cfg *cfg);
void browser_close(struct browser *b);
void browser_send(struct browser *b, const char *text);
/* One answer; false: the server closed instead. no_body: of a HEAD. */
bool browser_read(struct browser *b, bool no_body);
/* GET path over a connection of its own; the status. */
unsigned browser_get(struct browser *b, const struct browser_cfg *cfg, const char *path);
bool browser_has(const struct browser *b, const char *header); /* "Name: value" */
/* The server has closed, or does within the time. */
bool browser_closed(struct browser *b, int timeout_ms);

enum web_key { WEB_RSA_2048, WEB_RSA_1024, WEB_EC, WEB_ED25519 };
/* Writes dir/web.crt (a leaf and its issuer, the name in the leaf) and dir/web.key. */
void web_cert_make(const char *dir, enum web_key kind, const char *name);
/* The name in the certificate that the server gave. */
void browser_cert_name(const struct browser *b, char to[64]);

#endif
