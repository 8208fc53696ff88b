/* SPDX-License-Identifier: Apache-2.0 */
/* TLS between peers that behave, and refusals: identities, chains, versions, limits. */
#include "tls_pair.h"

#include <openssl/pem.h>
#include <openssl/ssl.h>

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

/* Each request for new keys is answered, and refused renegotiations are: a peer that sends many of
 * them and reads nothing is left before the answers take much memory. */
static void a_peer_that_makes_us_answer_must_read(void **state)
{
    (void)state;
    for (int reads = 0; reads < 2; reads++) {
        SSL *ssl = plain_peer(&certs, false);
        struct sx_tls *s;
        simplex_rc rc = SIMPLEX_OK;
        assert_int_equal(sx_tls_new(server_ctx, NULL, &s), SIMPLEX_OK);
        assert_int_equal(pump_plain(ssl, s), SIMPLEX_OK);
        for (int i = 0; i < 5000 && rc == SIMPLEX_OK; i++) {
            uint8_t got[64];
            size_t n;
            assert_int_equal(SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED), 1);
            assert_int_equal(SSL_do_handshake(ssl), 1);
            assert_int_equal(from_plain(ssl, s), SIMPLEX_OK);
            rc = sx_tls_read(s, got, sizeof got, &n);
            assert_true(sx_tls_pending(s).len < 80000);
            if (reads)
                sx_tls_consume(s, sx_tls_pending(s).len);
        }
        assert_int_equal(rc, reads ? SIMPLEX_OK : SIMPLEX_E_TLS);
        sx_tls_free(s);
        SSL_free(ssl);
    }
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
        cmocka_unit_test(a_peer_that_makes_us_answer_must_read),
        cmocka_unit_test(server_shows_the_certificates_of_a_service),
        cmocka_unit_test(server_refuses_more_certificates_than_a_chain_has),
        cmocka_unit_test(tickets_of_other_servers_are_ignored),
        cmocka_unit_test(keys_are_updated_and_renegotiation_is_refused),
        cmocka_unit_test(data_before_close_notify_is_read_first),
        cmocka_unit_test(receives_without_keeping_a_copy),
        cmocka_unit_test(receive_drives_the_handshake_too),
        cmocka_unit_test(output_is_consumed_in_parts_and_capped),
        cmocka_unit_test(input_that_nobody_reads_is_capped),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
