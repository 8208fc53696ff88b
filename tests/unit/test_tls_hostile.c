/* SPDX-License-Identifier: Apache-2.0 */
/* TLS fed with hostile bytes and without memory, and on a port that browsers come to as well. */
#include "tls_pair.h"

#include <malloc.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include "support/browser.h"

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

static struct sx_tls_ctx *https_ctx; /* of a test: for browsers alone */

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
