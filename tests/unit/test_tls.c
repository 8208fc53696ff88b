/* SPDX-License-Identifier: Apache-2.0 */
/* Two TLS peers in memory; what one has pending is fed to the other. */
#include "support/vec.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "client/tls.h"
#include "support/browser.h"
#include "support/certs.h"

#define BLOCK 16384

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

struct pair {
    struct sx_tls *c, *s;
    simplex_rc c_rc, s_rc;
};

static struct test_certs certs; /* Ed25519, 2 certificates */
static struct sx_tls_ctx *client_ctx, *server_ctx;
static struct sx_tls_ctx *https_ctx; /* of a test: for browsers alone */

static int set_up(void **state)
{
    (void)state;
    assert_int_equal(sx_crypto_init(), SIMPLEX_OK);
    test_certs_make(SX_ED25519, 2, &certs);
    assert_int_equal(sx_tls_ctx_client(&client_ctx), SIMPLEX_OK);
    assert_int_equal(
        sx_tls_ctx_server(sx_wr_bytes(&certs.chain_pem), sx_wr_bytes(&certs.key_pem), &server_ctx),
        SIMPLEX_OK);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    sx_tls_ctx_free(client_ctx);
    sx_tls_ctx_free(server_ctx);
    test_certs_free(&certs);
    vec_free_all();
    return 0;
}

static simplex_bytes file_text(const char *dir, const char *name)
{
    char path[128];
    uint8_t *text = vec_keep(32768);

    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t n = fread(text, 1, 32768, f);
    fclose(f);
    assert_int_equal(unlink(path), 0);
    return sx_bytes(text, n);
}

/* As server_ctx, for a port that browsers come to as well. */
static struct sx_tls_ctx *shared_ctx(void)
{
    char dir[] = "/tmp/simplex-test-XXXXXX";
    struct sx_tls_ctx *ctx;
    int64_t not_after;

    assert_non_null(mkdtemp(dir));
    web_cert_make(dir, WEB_EC, "site.example.org");
    simplex_bytes chain = file_text(dir, "web.crt"), key = file_text(dir, "web.key");
    assert_int_equal(rmdir(dir), 0);
    assert_int_equal(
        sx_tls_ctx_server(sx_wr_bytes(&certs.chain_pem), sx_wr_bytes(&certs.key_pem), &ctx),
        SIMPLEX_OK);
    assert_int_equal(sx_tls_ctx_set_web(ctx, chain, key, &not_after), SIMPLEX_OK);
    assert_in_range(not_after - sx_now_ms() / 1000, 80000, 90000);
    return ctx;
}

static struct pair pair_new(struct sx_tls_ctx *c, struct sx_tls_ctx *s, const uint8_t *key_hash)
{
    struct pair p = { 0 };

    assert_int_equal(sx_tls_new(c, key_hash, &p.c), SIMPLEX_OK);
    assert_int_equal(sx_tls_new(s, NULL, &p.s), SIMPLEX_OK);
    assert_int_equal(sx_tls_start(p.c), SIMPLEX_OK);
    return p;
}

static void pair_free(struct pair *p)
{
    sx_tls_free(p->c);
    sx_tls_free(p->s);
}

/* Feeds all that `from` has pending, `step` bytes a time; keeps the first error in *rc. */
static bool move(struct sx_tls *from, struct sx_tls *to, size_t step, simplex_rc *rc)
{
    size_t len;
    uint8_t *p = sx_tls_take(from, &len);

    for (size_t at = 0; at < len; at += step) {
        simplex_rc r = sx_tls_feed(to, sx_bytes(p + at, len - at < step ? len - at : step));
        if (*rc == SIMPLEX_OK)
            *rc = r;
    }
    sx_free(p);
    return len > 0;
}

static void pump(struct pair *p, size_t step)
{
    bool moved;

    do {
        moved = move(p->c, p->s, step, &p->s_rc);
        moved = move(p->s, p->c, step, &p->c_rc) || moved;
    } while (moved);
}

static void assert_ready(struct pair *p)
{
    uint8_t a[SX_TLS_UNIQUE_MAX], b[SX_TLS_UNIQUE_MAX];

    assert_int_equal(p->c_rc, SIMPLEX_OK);
    assert_int_equal(p->s_rc, SIMPLEX_OK);
    assert_true(sx_tls_ready(p->c) && sx_tls_ready(p->s));
    size_t n = sx_tls_unique(p->c, a);
    assert_int_equal(n, sx_tls_version(p->c) == 0x0304 ? 32 : 12);
    assert_int_equal(sx_tls_unique(p->s, b), n);
    assert_memory_equal(a, b, n);
}

static void send_block(struct sx_tls *from, struct sx_tls *to)
{
    static uint8_t block[BLOCK], got[BLOCK];
    simplex_rc rc = SIMPLEX_OK;
    size_t n;

    sx_random(block, sizeof block);
    assert_int_equal(sx_tls_write(from, sx_bytes(block, sizeof block)), SIMPLEX_OK);
    simplex_bytes wire = sx_tls_pending(from);
    /* one record: header, tag and in TLS 1.3 the inner type */
    assert_int_equal(wire.len, BLOCK + 5 + 16 + (sx_tls_version(from) == 0x0304));
    assert_int_equal(wire.ptr[3] << 8 | wire.ptr[4], wire.len - 5);
    move(from, to, 4000, &rc);
    assert_int_equal(rc, SIMPLEX_OK);
    assert_int_equal(sx_tls_read(to, got, sizeof got, &n), SIMPLEX_OK);
    assert_int_equal(n, BLOCK);
    assert_memory_equal(got, block, BLOCK);
    assert_int_equal(sx_tls_read(to, got, sizeof got, &n), SIMPLEX_OK);
    assert_int_equal(n, 0);
}

static void connects_with_chains_of_two_to_four_in_both_versions(void **state)
{
    static const enum sx_alg algs[] = { SX_ED25519, SX_ED448 };

    (void)state;
    for (unsigned i = 0; i < 2 * 3 * 2; i++) {
        enum sx_alg alg = algs[i % 2];
        size_t count = 2 + i / 2 % 3;
        int version = i < 6 ? 0x0304 : 0x0303;
        struct test_certs tc;
        struct sx_tls_ctx *c, *s;

        test_certs_make(alg, count, &tc);
        assert_int_equal(sx_tls_ctx_client(&c), SIMPLEX_OK);
        assert_int_equal(sx_tls_ctx_versions(c, 0x0303, version), SIMPLEX_OK);
        assert_int_equal(
            sx_tls_ctx_server(sx_wr_bytes(&tc.chain_pem), sx_wr_bytes(&tc.key_pem), &s),
            SIMPLEX_OK);
        struct pair p = pair_new(c, s, tc.fingerprint);
        assert_int_equal(sx_tls_unique(p.c, (uint8_t[SX_TLS_UNIQUE_MAX]){ 0 }), 0);
        pump(&p, BLOCK);
        assert_ready(&p);
        assert_int_equal(sx_tls_version(p.s), version);
        assert_true(sx_tls_alpn(p.c) && sx_tls_alpn(p.s));
        const struct sx_chain *seen = sx_tls_peer_chain(p.c);
        assert_int_equal(seen->count, count);
        for (size_t k = 0; k < count; k++)
            vec_assert_eq(seen->cert[k], tc.chain.cert[k], "certificate");
        assert_int_equal(sx_tls_peer_chain(p.s)->count, 0);
        send_block(p.c, p.s);
        send_block(p.s, p.c);
        sx_tls_forget_peer_chain(p.c);
        assert_int_equal(sx_tls_peer_chain(p.c)->count, 0);
        pair_free(&p);
        sx_tls_ctx_free(c);
        sx_tls_ctx_free(s);
        test_certs_free(&tc);
    }
}

static void connects_when_fed_byte_by_byte(void **state)
{
    (void)state;
    struct pair p = pair_new(client_ctx, server_ctx, certs.fingerprint);
    pump(&p, 1);
    assert_ready(&p);
    send_block(p.c, p.s);
    pair_free(&p);
}

static struct sx_tls_ctx *tls12_client(void)
{
    struct sx_tls_ctx *c;

    assert_int_equal(sx_tls_ctx_client(&c), SIMPLEX_OK);
    assert_int_equal(sx_tls_ctx_versions(c, 0x0303, 0x0303), SIMPLEX_OK);
    return c;
}

static void refuses_another_identity_with_unknown_ca(void **state)
{
    static const uint8_t alert[] = { 0x15, 3, 3, 0, 2, 2, 48 };
    struct sx_tls_ctx *c = tls12_client();
    uint8_t other[32];

    (void)state;
    memcpy(other, certs.fingerprint, 32);
    other[31] ^= 1;
    struct pair p = pair_new(client_ctx, server_ctx, other); /* TLS 1.3: the alert is encrypted */
    pump(&p, BLOCK);
    assert_int_equal(p.c_rc, SIMPLEX_E_FINGERPRINT);
    assert_int_equal(p.s_rc, SIMPLEX_E_TLS);
    assert_false(sx_tls_ready(p.c) || sx_tls_ready(p.s));
    assert_int_equal(sx_tls_feed(p.c, sx_bytes(NULL, 0)), SIMPLEX_E_FINGERPRINT); /* for good */
    pair_free(&p);

    p = pair_new(c, server_ctx, other);
    move(p.c, p.s, BLOCK, &p.s_rc);
    move(p.s, p.c, BLOCK, &p.c_rc);
    assert_int_equal(p.c_rc, SIMPLEX_E_FINGERPRINT);
    vec_assert_eq(sx_tls_pending(p.c), sx_bytes(alert, sizeof alert), "alert");
    pair_free(&p);
    sx_tls_ctx_free(c);
}

static void refuses_chains_of_one_and_of_five(void **state)
{
    struct test_certs one, five;
    struct sx_tls_ctx *s;

    (void)state;
    test_certs_make(SX_ED25519, 1, &one);
    test_certs_make(SX_ED25519, 5, &five);
    assert_int_equal(sx_tls_ctx_server(sx_wr_bytes(&one.chain_pem), sx_wr_bytes(&one.key_pem), &s),
                     SIMPLEX_OK);
    struct pair p = pair_new(client_ctx, s, one.fingerprint);
    pump(&p, BLOCK);
    assert_int_equal(p.c_rc, SIMPLEX_E_CERT);
    assert_int_equal(p.s_rc, SIMPLEX_E_TLS);
    pair_free(&p);
    sx_tls_ctx_free(s);
    assert_int_equal(
        sx_tls_ctx_server(sx_wr_bytes(&five.chain_pem), sx_wr_bytes(&five.key_pem), &s),
        SIMPLEX_E_CERT);
    assert_null(s);
    test_certs_free(&one);
    test_certs_free(&five);
}

static void refuses_a_genuine_identity_that_did_not_sign_the_leaf(void **state)
{
    struct test_certs other;
    struct sx_tls_ctx *s;
    struct sx_wr forged;

    (void)state;
    test_certs_make(SX_ED25519, 2, &other);
    /* leaf of `other`, identity of `certs` */
    const char *end = "-----END CERTIFICATE-----\n";
    sx_wr_init(&forged, 32768);
    sx_wr_u8(&other.chain_pem, 0);
    sx_wr_u8(&certs.chain_pem, 0);
    const char *a = (const char *)other.chain_pem.p, *b = (const char *)certs.chain_pem.p;
    sx_wr_raw(&forged, sx_bytes(a, (size_t)(strstr(a, end) - a) + strlen(end)));
    sx_wr_text(&forged, strstr(b, end) + strlen(end));
    certs.chain_pem.len--;
    assert_int_equal(sx_tls_ctx_server(sx_wr_bytes(&forged), sx_wr_bytes(&other.key_pem), &s),
                     SIMPLEX_OK);
    struct pair p = pair_new(client_ctx, s, certs.fingerprint);
    pump(&p, BLOCK);
    assert_int_equal(p.c_rc, SIMPLEX_E_CERT);
    assert_false(sx_tls_ready(p.s));
    pair_free(&p);
    sx_tls_ctx_free(s);
    sx_wr_free(&forged);
    test_certs_free(&other);
}

static void server_context_needs_a_matching_key(void **state)
{
    struct test_certs other;
    struct sx_tls_ctx *s;

    (void)state;
    test_certs_make(SX_ED25519, 2, &other);
    assert_int_not_equal(
        sx_tls_ctx_server(sx_wr_bytes(&certs.chain_pem), sx_wr_bytes(&other.key_pem), &s),
        SIMPLEX_OK);
    assert_null(s);
    assert_int_not_equal(sx_tls_ctx_server(sx_str("no PEM"), sx_wr_bytes(&certs.key_pem), &s),
                         SIMPLEX_OK);
    assert_int_not_equal(sx_tls_ctx_server(sx_wr_bytes(&certs.chain_pem), sx_str("no PEM"), &s),
                         SIMPLEX_OK);
    test_certs_free(&other);
}

static void alpn_may_be_missing_but_not_unknown(void **state)
{
    static const uint8_t no_protocol[] = { 0x15, 3, 3, 0, 2, 2, 120 };
    static const struct {
        const char *names;
        bool connects, alpn;
    } rows[] = {
        { "", true, false },
        { "\2h2", true, true }, /* clients that keep to port 443 offer http/1.1 */
        { "\10http/1.1", true, true },
        { "\5smp/2\2h2\5smp/1", true, true },
        { "\5smp/2", false, false },
        { "\4http\6smp/10", false, false },
    };

    (void)state;
    for (size_t i = 0; i < SX_COUNT(rows); i++) {
        struct sx_tls_ctx *c;
        assert_int_equal(sx_tls_ctx_client(&c), SIMPLEX_OK);
        assert_int_equal(sx_tls_ctx_alpn(c, sx_str(rows[i].names)), SIMPLEX_OK);
        struct pair p = pair_new(c, server_ctx, certs.fingerprint);
        move(p.c, p.s, BLOCK, &p.s_rc);
        if (!rows[i].connects) {
            assert_int_equal(p.s_rc, SIMPLEX_E_TLS);
            vec_assert_eq(sx_tls_pending(p.s), sx_bytes(no_protocol, sizeof no_protocol), "alert");
        }
        pump(&p, BLOCK);
        assert_int_equal(p.c_rc, rows[i].connects ? SIMPLEX_OK : SIMPLEX_E_TLS);
        assert_int_equal(sx_tls_ready(p.c), rows[i].connects);
        assert_int_equal(sx_tls_alpn(p.c), rows[i].alpn);
        assert_int_equal(sx_tls_alpn(p.s), rows[i].alpn);
        pair_free(&p);
        sx_tls_ctx_free(c);
    }
}

/* The client's first flight offers what smp.md section 3 lists, and no server name. */
static void client_hello_has_no_server_name_and_one_x448_share(void **state)
{
    struct pair p = pair_new(client_ctx, server_ctx, certs.fingerprint);
    simplex_bytes hello = sx_tls_pending(p.c);
    struct sx_rd r = sx_rd_init(hello);
    unsigned seen = 0;

    (void)state;
    (void)sx_rd_take(&r, 5 + 4 + 2 + 32);
    (void)sx_rd_short(&r); /* legacy session id */
    simplex_bytes suites = sx_rd_large(&r);
    static const uint8_t chacha[] = { 0x13, 0x03, 0xcc, 0xa9, 0x00, 0xff };
    vec_assert_eq(suites, sx_bytes(chacha, sizeof chacha), "suites");
    (void)sx_rd_short(&r);
    struct sx_rd exts = sx_rd_init(sx_rd_large(&r));
    assert_true(sx_rd_done(&r));
    while (exts.left > 0) {
        uint16_t type = sx_rd_u16(&exts);
        simplex_bytes body = sx_rd_large(&exts);
        assert_int_not_equal(type, 0);  /* server_name */
        assert_int_not_equal(type, 35); /* session_ticket */
        if (type == 51) {               /* key_share: X448, 56 bytes, alone */
            static const uint8_t share[] = { 0, 60, 0, 30, 0, 56 };
            assert_int_equal(body.len, 62);
            assert_memory_equal(body.ptr, share, sizeof share);
            seen |= 1;
        } else if (type == 13) { /* signature_algorithms */
            static const uint8_t algs[] = { 0, 4, 8, 8, 8, 7 };
            vec_assert_eq(body, sx_bytes(algs, sizeof algs), "signature algorithms");
            seen |= 2;
        } else if (type == 16) {
            static const uint8_t alpn[] = { 0, 6, 5, 's', 'm', 'p', '/', '1' };
            vec_assert_eq(body, sx_bytes(alpn, sizeof alpn), "ALPN");
            seen |= 4;
        } else if (type == 10) {
            static const uint8_t groups[] = { 0, 4, 0, 30, 0, 29 };
            vec_assert_eq(body, sx_bytes(groups, sizeof groups), "groups");
            seen |= 8;
        }
    }
    assert_false(exts.bad);
    assert_int_equal(seen, 15);
    pair_free(&p);
}

/* TLS 1.2 shows its messages: certificates are asked for, tickets are not given. */
static void server_asks_for_a_certificate_and_gives_no_ticket(void **state)
{
    static const uint8_t messages[] = { 2, 11, 12, 13, 14 }; /* hello .. hello done */
    struct sx_tls_ctx *c = tls12_client();
    size_t n = 0;

    (void)state;
    struct pair p = pair_new(c, server_ctx, certs.fingerprint);
    move(p.c, p.s, BLOCK, &p.s_rc);
    struct sx_rd flight = sx_rd_init(sx_tls_pending(p.s));
    while (flight.left > 0 && !flight.bad) {
        assert_int_equal(sx_rd_u8(&flight), 22);
        (void)sx_rd_u16(&flight);
        struct sx_rd r = sx_rd_init(sx_rd_large(&flight));
        while (r.left > 0 && !r.bad) {
            assert_in_range(n, 0, SX_COUNT(messages) - 1);
            assert_int_equal(sx_rd_u8(&r), messages[n++]);
            assert_int_equal(sx_rd_u8(&r), 0);
            (void)sx_rd_large(&r);
        }
        assert_false(r.bad);
    }
    assert_int_equal(n, SX_COUNT(messages));
    move(p.s, p.c, BLOCK, &p.c_rc);
    move(p.c, p.s, BLOCK, &p.s_rc);
    simplex_bytes last = sx_tls_pending(p.s);
    assert_int_equal(last.ptr[0], 20); /* change of cipher at once: no ticket in front */
    pump(&p, BLOCK);
    assert_ready(&p);
    pair_free(&p);
    sx_tls_ctx_free(c);
}

/* A peer made of OpenSSL alone, with its defaults, that has the chain of `own`. */
static SSL *plain_peer(const struct test_certs *own, bool server)
{
    SSL_CTX *c = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    BIO *pem = BIO_new_mem_buf(own->key_pem.p, (int)own->key_pem.len);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(pem, NULL, NULL, NULL);

    BIO_free(pem);
    assert_non_null(key);
    for (size_t i = 0; i < own->chain.count; i++) {
        const uint8_t *p = own->chain.cert[i].ptr;
        X509 *x = d2i_X509(NULL, &p, (long)own->chain.cert[i].len);
        assert_int_equal(i == 0 ? SSL_CTX_use_certificate(c, x) : SSL_CTX_add1_chain_cert(c, x), 1);
        X509_free(x);
    }
    assert_int_equal(SSL_CTX_use_PrivateKey(c, key), 1);
    EVP_PKEY_free(key);
    SSL *ssl = SSL_new(c);
    SSL_CTX_free(c);
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    if (server)
        SSL_set_accept_state(ssl);
    else
        SSL_set_connect_state(ssl);
    return ssl;
}

static void to_plain(struct sx_tls *from, SSL *ssl)
{
    simplex_bytes out = sx_tls_pending(from);

    if (out.len > 0)
        assert_int_equal(BIO_write(SSL_get_rbio(ssl), out.ptr, (int)out.len), out.len);
    sx_tls_consume(from, out.len);
}

static simplex_rc from_plain(SSL *ssl, struct sx_tls *to)
{
    char *p;
    long n = BIO_get_mem_data(SSL_get_wbio(ssl), &p);
    simplex_rc rc = sx_tls_feed(to, sx_bytes(p, (size_t)n));

    (void)BIO_reset(SSL_get_wbio(ssl));
    return rc;
}

static simplex_rc pump_plain(SSL *ssl, struct sx_tls *t)
{
    simplex_rc rc = SIMPLEX_OK;

    for (int i = 0; i < 4 && rc == SIMPLEX_OK; i++) {
        (void)SSL_do_handshake(ssl);
        rc = from_plain(ssl, t);
        to_plain(t, ssl);
    }
    return rc;
}

/* Haskell servers send one, whatever they are asked (smp.md section 3). */
static void tickets_of_other_servers_are_ignored(void **state)
{
    uint8_t got[64];
    size_t n;

    (void)state;
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        SSL *ssl = plain_peer(&certs, true);
        struct sx_tls *c;
        assert_int_equal(SSL_set_max_proto_version(ssl, version), 1);
        assert_int_equal(SSL_set_num_tickets(ssl, 3), 1);
        assert_int_equal(sx_tls_new(client_ctx, certs.fingerprint, &c), SIMPLEX_OK);
        assert_int_equal(sx_tls_start(c), SIMPLEX_OK);
        to_plain(c, ssl);
        assert_int_equal(pump_plain(ssl, c), SIMPLEX_OK);
        assert_true(sx_tls_ready(c));
        assert_int_equal(sx_tls_version(c), version);
        assert_false(sx_tls_alpn(c));
        assert_int_equal(sx_tls_read(c, got, sizeof got, &n), SIMPLEX_OK); /* the tickets */
        assert_int_equal(n, 0);
        assert_int_equal(SSL_write(ssl, "after", 5), 5);
        assert_int_equal(from_plain(ssl, c), SIMPLEX_OK);
        assert_int_equal(sx_tls_read(c, got, sizeof got, &n), SIMPLEX_OK);
        vec_assert_eq(sx_bytes(got, n), sx_str("after"), "data");
        sx_tls_free(c);
        SSL_free(ssl);
    }
}

static void keys_are_updated_and_renegotiation_is_refused(void **state)
{
    uint8_t got[64];
    size_t n;

    (void)state;
    SSL *ssl = plain_peer(&certs, false);
    struct sx_tls *s;
    assert_int_equal(sx_tls_new(server_ctx, NULL, &s), SIMPLEX_OK);
    assert_int_equal(pump_plain(ssl, s), SIMPLEX_OK);
    assert_true(sx_tls_ready(s));
    assert_int_equal(SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED), 1);
    assert_int_equal(SSL_write(ssl, "new keys", 8), 8);
    assert_int_equal(from_plain(ssl, s), SIMPLEX_OK);
    assert_int_equal(sx_tls_read(s, got, sizeof got, &n), SIMPLEX_OK);
    vec_assert_eq(sx_bytes(got, n), sx_str("new keys"), "data");
    assert_int_equal(sx_tls_write(s, sx_str("mine too")), SIMPLEX_OK);
    to_plain(s, ssl);
    assert_int_equal(SSL_read(ssl, got, sizeof got), 8);
    sx_tls_free(s);
    SSL_free(ssl);

    ssl = plain_peer(&certs, false);
    assert_int_equal(SSL_set_max_proto_version(ssl, TLS1_2_VERSION), 1);
    assert_int_equal(sx_tls_new(server_ctx, NULL, &s), SIMPLEX_OK);
    assert_int_equal(pump_plain(ssl, s), SIMPLEX_OK);
    assert_true(sx_tls_ready(s));
    assert_int_equal(SSL_renegotiate(ssl), 1);
    (void)SSL_do_handshake(ssl);
    assert_int_equal(from_plain(ssl, s), SIMPLEX_OK);
    assert_int_equal(sx_tls_read(s, got, sizeof got, &n), SIMPLEX_OK); /* a warning goes back */
    assert_int_equal(n, 0);
    assert_int_equal(sx_tls_pending(s).ptr[0], 21);
    sx_tls_free(s);
    SSL_free(ssl);
}

static void server_shows_the_certificates_of_a_service(void **state)
{
    struct test_certs own;

    (void)state;
    for (size_t count = 1; count <= 4; count++) {
        struct sx_tls *server;
        test_certs_make(count % 2 == 0 ? SX_ED25519 : SX_ED448, count, &own);
        SSL *ssl = plain_peer(&own, false);
        assert_int_equal(sx_tls_new(server_ctx, NULL, &server), SIMPLEX_OK);
        assert_int_equal(pump_plain(ssl, server), SIMPLEX_OK);
        assert_true(sx_tls_ready(server));
        assert_false(sx_tls_alpn(server));
        const struct sx_chain *seen = sx_tls_peer_chain(server);
        assert_int_equal(seen->count, count);
        for (size_t i = 0; i < count; i++)
            vec_assert_eq(seen->cert[i], own.chain.cert[i], "certificate of a service");
        sx_tls_free(server);
        SSL_free(ssl);
        test_certs_free(&own);
    }
}

static void server_refuses_more_certificates_than_a_chain_has(void **state)
{
    struct test_certs own;
    struct sx_tls *server;

    (void)state;
    test_certs_make(SX_ED25519, 4, &own);
    SSL *ssl = plain_peer(&own, false);
    const uint8_t *p = own.chain.cert[3].ptr;
    X509 *x = d2i_X509(NULL, &p, (long)own.chain.cert[3].len);
    assert_int_equal(SSL_add1_chain_cert(ssl, x), 1);
    assert_int_equal(sx_tls_new(server_ctx, NULL, &server), SIMPLEX_OK);
    assert_int_equal(pump_plain(ssl, server), SIMPLEX_E_CERT);
    sx_tls_free(server);
    SSL_free(ssl);

    ssl = plain_peer(&own, false);
    for (int i = 0; i < 100; i++) /* stopped by size before any is parsed */
        assert_int_equal(SSL_add1_chain_cert(ssl, x), 1);
    assert_int_equal(sx_tls_new(server_ctx, NULL, &server), SIMPLEX_OK);
    assert_int_equal(pump_plain(ssl, server), SIMPLEX_E_TLS);
    sx_tls_free(server);
    SSL_free(ssl);
    X509_free(x);
    test_certs_free(&own);
}

static void data_before_close_notify_is_read_first(void **state)
{
    uint8_t got[64];
    size_t n;

    (void)state;
    struct pair p = pair_new(client_ctx, server_ctx, certs.fingerprint);
    pump(&p, BLOCK);
    assert_ready(&p);
    assert_int_equal(sx_tls_write(p.s, sx_str("last words")), SIMPLEX_OK);
    sx_tls_shutdown(p.s);
    pump(&p, BLOCK);
    assert_int_equal(p.c_rc, SIMPLEX_OK);
    assert_int_equal(sx_tls_read(p.c, got, sizeof got, &n), SIMPLEX_OK);
    vec_assert_eq(sx_bytes(got, n), sx_str("last words"), "data");
    assert_int_equal(sx_tls_read(p.c, got, sizeof got, &n), SIMPLEX_E_DISCONNECTED);
    assert_int_equal(sx_tls_read(p.c, got, sizeof got, &n), SIMPLEX_E_DISCONNECTED);
    assert_int_equal(sx_tls_write(p.c, sx_str("x")), SIMPLEX_E_DISCONNECTED);
    sx_tls_shutdown(p.c); /* answers */
    assert_true(sx_tls_pending(p.c).len > 0);
    pair_free(&p);
}

static void receives_without_keeping_a_copy(void **state)
{
    static uint8_t block[3 * BLOCK], got[3 * BLOCK];
    size_t n, total = 0, len;

    (void)state;
    struct pair p = pair_new(client_ctx, server_ctx, certs.fingerprint);
    pump(&p, BLOCK);
    assert_ready(&p);
    sx_random(block, sizeof block);
    assert_int_equal(sx_tls_write(p.c, sx_bytes(block, sizeof block)), SIMPLEX_OK);
    uint8_t *wire = sx_tls_take(p.c, &len);
    assert_int_equal(len, 3 * (BLOCK + 22));
    for (size_t at = 0; at < len; at += 10000) {
        simplex_bytes in = sx_bytes(wire + at, len - at < 10000 ? len - at : 10000);
        do {
            assert_int_equal(sx_tls_receive(p.s, &in, got + total, 5000, &n), SIMPLEX_OK);
            total += n;
        } while (n > 0);
        assert_int_equal(in.len, 0);
    }
    assert_int_equal(total, sizeof block);
    assert_memory_equal(got, block, total);
    sx_free(wire);
    pair_free(&p);
}

static void receive_drives_the_handshake_too(void **state)
{
    uint8_t got[16];
    size_t n, len;

    (void)state;
    struct pair p = pair_new(client_ctx, server_ctx, certs.fingerprint);
    move(p.c, p.s, BLOCK, &p.s_rc);
    move(p.s, p.c, BLOCK, &p.c_rc);
    assert_true(sx_tls_ready(p.c));
    assert_int_equal(sx_tls_write(p.c, sx_str("early")), SIMPLEX_OK);
    uint8_t *wire = sx_tls_take(p.c, &len); /* Finished and data together */
    simplex_bytes in = sx_bytes(wire, len);
    assert_int_equal(sx_tls_receive(p.s, &in, got, sizeof got, &n), SIMPLEX_OK);
    vec_assert_eq(sx_bytes(got, n), sx_str("early"), "data");
    assert_int_equal(in.len, 0);
    assert_ready(&p);
    sx_free(wire);
    pair_free(&p);
}

static void output_is_consumed_in_parts_and_capped(void **state)
{
    static uint8_t block[BLOCK];
    size_t n = 0, blocks = 0, len;
    simplex_rc rc;

    (void)state;
    struct pair p = pair_new(client_ctx, server_ctx, certs.fingerprint);
    assert_int_equal(sx_tls_write(p.c, sx_str("x")), SIMPLEX_E_PROHIBITED); /* not ready */
    pump(&p, BLOCK);
    while ((rc = sx_tls_write(p.c, sx_bytes(block, sizeof block))) == SIMPLEX_OK)
        blocks++;
    assert_int_equal(rc, SIMPLEX_E_TOO_LARGE);
    assert_in_range(blocks, SX_TLS_OUT_MAX / BLOCK - 3, SX_TLS_OUT_MAX / BLOCK);
    while ((len = sx_tls_pending(p.c).len) > 0) {
        simplex_bytes wire = sx_tls_pending(p.c);
        if (wire.len > 300000)
            wire.len = 300000;
        assert_int_equal(sx_tls_feed(p.s, wire), SIMPLEX_OK);
        sx_tls_consume(p.c, wire.len);
        do {
            assert_int_equal(sx_tls_read(p.s, block, sizeof block, &len), SIMPLEX_OK);
            n += len;
        } while (len > 0);
    }
    assert_int_equal(n, blocks * BLOCK);
    assert_int_equal(sx_tls_write(p.c, sx_str("again")), SIMPLEX_OK);
    pair_free(&p);
}

static void input_that_nobody_reads_is_capped(void **state)
{
    static uint8_t chunk[1 << 20];
    simplex_rc rc = SIMPLEX_OK;
    unsigned n = 0;

    (void)state;
    struct pair p = pair_new(client_ctx, server_ctx, certs.fingerprint);
    pump(&p, BLOCK);
    while (n < 100 && (rc = sx_tls_feed(p.s, sx_bytes(chunk, sizeof chunk))) == SIMPLEX_OK)
        n++;
    assert_int_equal(n, SX_TLS_KEPT_MAX / sizeof chunk);
    assert_int_equal(rc, SIMPLEX_E_TOO_LARGE);
    pair_free(&p);
}

/* ---- hostile bytes ---- */

/*
 * A whole handshake in which byte `at` of flight `flight` (0, 2: client's; 1: server's) is changed;
 * false when there is no such byte. Whatever happens, two ready sides have the same transcript.
 */
static bool try_mutation(struct sx_tls_ctx *c, unsigned flight, size_t at, uint8_t mask)
{
    struct pair p = pair_new(c, server_ctx, certs.fingerprint);
    bool changed = false;

    for (unsigned f = 0; f < 4; f++) {
        struct sx_tls *from = f % 2 == 0 ? p.c : p.s, *to = f % 2 == 0 ? p.s : p.c;
        size_t len;
        uint8_t *bytes = sx_tls_take(from, &len);
        if (f == flight && at < len) {
            bytes[at] ^= mask;
            changed = true;
        }
        simplex_rc rc = sx_tls_feed(to, sx_bytes(bytes, len));
        assert_true(rc == SIMPLEX_OK || rc == SIMPLEX_E_TLS || rc == SIMPLEX_E_CERT ||
                    rc == SIMPLEX_E_FINGERPRINT);
        assert_false(rc != SIMPLEX_OK && sx_tls_ready(to));
        sx_free(bytes);
    }
    if (sx_tls_ready(p.c) && sx_tls_ready(p.s))
        assert_ready(&p);
    pair_free(&p);
    return changed;
}

static void changed_bytes_never_make_two_transcripts(void **state)
{
    struct sx_tls_ctx *c12 = tls12_client();
    size_t tried = 0;

    (void)state;
    for (unsigned flight = 0; flight < 3; flight++) {
        for (size_t at = 0; try_mutation(client_ctx, flight, at, (uint8_t)(1u << at % 8)); at += 13)
            tried++;
        for (size_t at = 0; try_mutation(c12, flight, at, (uint8_t)(1u << at % 8)); at += 13)
            tried++;
    }
    assert_in_range(tried, 100, 1000);
    sx_tls_ctx_free(c12);
}

static void truncated_flights_leave_both_sides_waiting(void **state)
{
    size_t len;

    (void)state;
    struct pair p = pair_new(client_ctx, server_ctx, certs.fingerprint);
    uint8_t *hello = sx_tls_take(p.c, &len);
    assert_int_equal(sx_tls_feed(p.s, sx_bytes(hello, len - 1)), SIMPLEX_OK);
    assert_int_equal(sx_tls_pending(p.s).len, 0);
    assert_int_equal(sx_tls_feed(p.s, sx_bytes(hello + len - 1, 1)), SIMPLEX_OK);
    sx_free(hello);
    uint8_t *flight = sx_tls_take(p.s, &len);
    assert_int_equal(sx_tls_feed(p.c, sx_bytes(flight, len - 1)), SIMPLEX_OK);
    assert_false(sx_tls_ready(p.c));
    assert_int_equal(sx_tls_feed(p.c, sx_bytes(flight + len - 1, 1)), SIMPLEX_OK);
    assert_true(sx_tls_ready(p.c));
    sx_free(flight);
    uint8_t *finished = sx_tls_take(p.c, &len);
    assert_int_equal(sx_tls_feed(p.s, sx_bytes(finished, len - 1)), SIMPLEX_OK);
    assert_false(sx_tls_ready(p.s));
    assert_int_equal(sx_tls_feed(p.s, sx_bytes(finished + len - 1, 1)), SIMPLEX_OK);
    sx_free(finished);
    assert_ready(&p);
    pair_free(&p);
}

static void garbage_is_refused_before_and_after_the_handshake(void **state)
{
    uint8_t noise[600], got[16];
    size_t n;

    (void)state;
    for (unsigned i = 0; i < 200; i++) {
        struct pair p = pair_new(client_ctx, server_ctx, certs.fingerprint);
        sx_random(noise, sizeof noise);
        noise[0] &= 0x7f; /* neither an SSLv2 hello nor a long record: those are waited for */
        noise[1] |= 0x80;
        if (i % 2 == 1) /* as if it were a record, with a message of no kind */
            memcpy(noise, (const uint8_t[]){ 22, 3, 3, 2, 0, 99 }, 6);
        assert_int_equal(sx_tls_feed(p.s, sx_bytes(noise, sizeof noise)), SIMPLEX_E_TLS);
        assert_int_equal(sx_tls_feed(p.c, sx_bytes(noise, sizeof noise)), SIMPLEX_E_TLS);
        assert_int_equal(sx_tls_read(p.c, got, sizeof got, &n), SIMPLEX_E_TLS);
        pair_free(&p);
    }
    struct pair p = pair_new(client_ctx, server_ctx, certs.fingerprint);
    pump(&p, BLOCK);
    assert_ready(&p);
    memcpy(noise, (const uint8_t[]){ 23, 3, 3, 2, 0 }, 5);
    assert_int_equal(sx_tls_feed(p.s, sx_bytes(noise, sizeof noise)), SIMPLEX_OK);
    assert_int_equal(sx_tls_read(p.s, got, sizeof got, &n), SIMPLEX_E_TLS);
    assert_int_equal(sx_tls_feed(p.s, sx_bytes(noise, 1)), SIMPLEX_E_TLS);
    pair_free(&p);
}

static void changed_and_repeated_records_are_refused(void **state)
{
    uint8_t got[64];
    size_t n, len;

    (void)state;
    for (unsigned repeat = 0; repeat < 2; repeat++) {
        struct pair p = pair_new(client_ctx, server_ctx, certs.fingerprint);
        pump(&p, BLOCK);
        assert_int_equal(sx_tls_write(p.c, sx_str("record")), SIMPLEX_OK);
        uint8_t *wire = sx_tls_take(p.c, &len);
        if (repeat) {
            assert_int_equal(sx_tls_feed(p.s, sx_bytes(wire, len)), SIMPLEX_OK);
            assert_int_equal(sx_tls_read(p.s, got, sizeof got, &n), SIMPLEX_OK);
            assert_int_equal(n, 6);
        } else {
            wire[len - 1] ^= 1;
        }
        assert_int_equal(sx_tls_feed(p.s, sx_bytes(wire, len)), SIMPLEX_OK);
        assert_int_equal(sx_tls_read(p.s, got, sizeof got, &n), SIMPLEX_E_TLS);
        assert_int_equal(n, 0);
        sx_free(wire);
        pair_free(&p);
    }
}

static void survives_each_failed_malloc(void **state)
{
    bool fired = true;

    (void)state;
    for (unsigned nth = 0; fired; nth++) {
        struct pair p = { 0 };
        size_t live = sx_fault_live_blocks();

        sx_fault_malloc(nth);
        simplex_rc rc = sx_tls_new(client_ctx, certs.fingerprint, &p.c);
        if (rc == SIMPLEX_OK)
            rc = sx_tls_new(server_ctx, NULL, &p.s);
        if (rc == SIMPLEX_OK)
            rc = sx_tls_start(p.c);
        if (rc == SIMPLEX_OK) {
            pump(&p, BLOCK);
            rc = p.c_rc == SIMPLEX_E_NOMEM ? p.c_rc : p.s_rc;
        }
        if (rc == SIMPLEX_OK)
            rc = sx_tls_write(p.c, sx_str("data"));
        fired = sx_fault_disarm();
        assert_int_equal(rc, fired ? SIMPLEX_E_NOMEM : SIMPLEX_OK);
        pair_free(&p);
        assert_int_equal(sx_fault_live_blocks(), live);
    }
}

static void contexts_survive_each_failed_malloc(void **state)
{
    (void)state;
    for (int server = 0; server < 2; server++) {
        bool fired = true;
        for (unsigned nth = 0; fired; nth++) {
            struct sx_tls_ctx *ctx = NULL;
            size_t live = sx_fault_live_blocks();
            sx_fault_malloc(nth);
            simplex_rc rc = server ? sx_tls_ctx_server(sx_wr_bytes(&certs.chain_pem),
                                                       sx_wr_bytes(&certs.key_pem), &ctx)
                                   : sx_tls_ctx_client(&ctx);
            fired = sx_fault_disarm();
            assert_int_equal(rc, fired ? SIMPLEX_E_NOMEM : SIMPLEX_OK);
            assert_true((ctx == NULL) == fired);
            sx_tls_ctx_free(ctx);
            assert_int_equal(sx_fault_live_blocks(), live);
        }
    }
}

#if defined(__GLIBC__)
/* Heap of one idle connection, everything included. */
static size_t idle_heap(struct sx_tls_ctx *c, struct sx_tls_ctx *server)
{
    enum { N = 100 };
    static struct sx_tls *idle[N];
    struct pair warm = pair_new(c, server, certs.fingerprint);

    pump(&warm, BLOCK);
    pair_free(&warm);
    struct mallinfo2 before = mallinfo2();
    for (unsigned i = 0; i < N; i++) {
        struct pair p = pair_new(c, server, certs.fingerprint);
        pump(&p, BLOCK);
        assert_ready(&p);
        send_block(p.c, p.s);
        send_block(p.s, p.c);
        sx_tls_free(p.c);
        idle[i] = p.s;
    }
    struct mallinfo2 after = mallinfo2();
    for (unsigned i = 0; i < N; i++)
        sx_tls_free(idle[i]);
    return (after.uordblks + after.hblkhd - before.uordblks - before.hblkhd) / N;
}
#endif

/* The figure a server's capacity hangs on; a port that browsers come to as well has the same. */
static void an_idle_server_connection_stays_below_25_kib(void **state)
{
    (void)state;
#if defined(__GLIBC__)
    if (SANITIZED)
        skip();
    struct sx_tls_ctx *shared = shared_ctx();
    for (int version = 0x0303; version <= 0x0304; version++) {
        struct sx_tls_ctx *c;
        assert_int_equal(sx_tls_ctx_client(&c), SIMPLEX_OK);
        assert_int_equal(sx_tls_ctx_versions(c, version, version), SIMPLEX_OK);
        size_t each = idle_heap(c, server_ctx), with_web = idle_heap(c, shared);
        print_message("heap of an idle server connection, TLS 1.%d: %zu bytes\n",
                      (version & 0xff) - 1, each);
        assert_in_range(each, 1, 25 * 1024);
        assert_in_range(with_web, 1, each + 64);
        sx_tls_ctx_free(c);
    }
    sx_tls_ctx_free(shared);
#else
    skip();
#endif
}

/* ---- ports that browsers come to as well ---- */

/* The bytes of a ClientHello, with and without a name, decide; no socket is needed. */
static struct sx_tls *answer_to_hello(struct sx_tls_ctx *server, const char *sni, simplex_rc *rc)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(ctx);
    BIO *out = BIO_new(BIO_s_mem()), *in = BIO_new(BIO_s_mem());
    struct sx_tls *t;
    char *p;

    assert_true(ssl != NULL && out != NULL && in != NULL);
    SSL_set_bio(ssl, in, out);
    SSL_set_connect_state(ssl);
    if (sni != NULL)
        assert_int_equal(SSL_set_tlsext_host_name(ssl, sni), 1);
    assert_int_not_equal(SSL_do_handshake(ssl), 1);
    long n = BIO_get_mem_data(out, &p);
    assert_true(n > 0);
    assert_int_equal(sx_tls_new(server, NULL, &t), SIMPLEX_OK);
    *rc = sx_tls_feed(t, sx_bytes(p, (size_t)n));
    if (sx_tls_web(t) && server != https_ctx) {
        assert_int_equal(*rc, SIMPLEX_OK); /* waits, whatever comes now */
        assert_int_equal(sx_tls_pending(t).len, 0);
        assert_int_equal(sx_tls_feed(t, sx_bytes(NULL, 0)), SIMPLEX_OK);
        assert_int_equal(sx_tls_pending(t).len, 0);
        *rc = sx_tls_resume(t);
    }
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    return t;
}

static void a_name_in_the_hello_makes_a_browser(void **state)
{
    struct sx_tls_ctx *shared = shared_ctx();
    simplex_rc rc;

    (void)state;
    struct sx_tls *t = answer_to_hello(shared, "site.example.org", &rc);
    assert_int_equal(rc, SIMPLEX_OK);
    assert_true(sx_tls_web(t));
    assert_true(sx_tls_pending(t).len > 0);
    sx_tls_free(t);
    t = answer_to_hello(shared, NULL, &rc); /* OpenSSL's client has SMP's algorithms too */
    assert_int_equal(rc, SIMPLEX_OK);
    assert_false(sx_tls_web(t));
    sx_tls_free(t);
    t = answer_to_hello(server_ctx, "site.example.org", &rc); /* there is no site */
    assert_int_equal(rc, SIMPLEX_OK);
    assert_false(sx_tls_web(t));
    sx_tls_free(t);
    struct pair p = pair_new(client_ctx, shared, certs.fingerprint);
    pump(&p, BLOCK);
    assert_ready(&p);
    assert_false(sx_tls_web(p.s));
    pair_free(&p);
    sx_tls_ctx_free(shared);
}

static void a_certificate_that_cannot_be_used_changes_nothing(void **state)
{
    struct sx_tls_ctx *shared = shared_ctx(), *c;
    simplex_rc rc;

    (void)state;
    assert_int_equal(sx_tls_ctx_set_web(shared, sx_str("x"), sx_str("y"), NULL), SIMPLEX_E_CERT);
    assert_int_equal(sx_tls_ctx_set_web(shared, sx_bytes(NULL, 0), sx_bytes(NULL, 0), NULL),
                     SIMPLEX_E_CERT);
    struct sx_tls *t = answer_to_hello(shared, "site.example.org", &rc);
    assert_int_equal(rc, SIMPLEX_OK);
    assert_true(sx_tls_web(t));
    sx_tls_free(t);
    assert_int_equal(sx_tls_ctx_client(&c), SIMPLEX_OK);
    assert_int_equal(sx_tls_ctx_set_web(c, sx_str("x"), sx_str("y"), NULL), SIMPLEX_E_ARG);
    sx_tls_ctx_free(c);
    sx_tls_ctx_free(shared);
    assert_int_equal(sx_tls_ctx_https(&https_ctx), SIMPLEX_OK);
    t = answer_to_hello(https_ctx, NULL, &rc); /* before there is a certificate */
    assert_int_equal(rc, SIMPLEX_E_TLS);
    sx_tls_free(t);
    sx_tls_ctx_free(https_ctx);
    https_ctx = NULL;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(connects_with_chains_of_two_to_four_in_both_versions),
        cmocka_unit_test(connects_when_fed_byte_by_byte),
        cmocka_unit_test(refuses_another_identity_with_unknown_ca),
        cmocka_unit_test(refuses_chains_of_one_and_of_five),
        cmocka_unit_test(refuses_a_genuine_identity_that_did_not_sign_the_leaf),
        cmocka_unit_test(server_context_needs_a_matching_key),
        cmocka_unit_test(alpn_may_be_missing_but_not_unknown),
        cmocka_unit_test(client_hello_has_no_server_name_and_one_x448_share),
        cmocka_unit_test(server_asks_for_a_certificate_and_gives_no_ticket),
        cmocka_unit_test(server_shows_the_certificates_of_a_service),
        cmocka_unit_test(server_refuses_more_certificates_than_a_chain_has),
        cmocka_unit_test(tickets_of_other_servers_are_ignored),
        cmocka_unit_test(keys_are_updated_and_renegotiation_is_refused),
        cmocka_unit_test(data_before_close_notify_is_read_first),
        cmocka_unit_test(receives_without_keeping_a_copy),
        cmocka_unit_test(receive_drives_the_handshake_too),
        cmocka_unit_test(output_is_consumed_in_parts_and_capped),
        cmocka_unit_test(input_that_nobody_reads_is_capped),
        cmocka_unit_test(changed_bytes_never_make_two_transcripts),
        cmocka_unit_test(truncated_flights_leave_both_sides_waiting),
        cmocka_unit_test(garbage_is_refused_before_and_after_the_handshake),
        cmocka_unit_test(changed_and_repeated_records_are_refused),
        cmocka_unit_test(survives_each_failed_malloc),
        cmocka_unit_test(contexts_survive_each_failed_malloc),
        cmocka_unit_test(an_idle_server_connection_stays_below_25_kib),
        cmocka_unit_test(a_name_in_the_hello_makes_a_browser),
        cmocka_unit_test(a_certificate_that_cannot_be_used_changes_nothing),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
