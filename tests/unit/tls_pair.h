/* SPDX-License-Identifier: Apache-2.0 */
/* Two TLS peers in memory; what one has pending is fed to the other. */
#ifndef TLS_PAIR_H
#define TLS_PAIR_H

#include "support/vec.h"

#include <stdio.h>
#include <stdlib.h>

#include "client/tls.h"
#include "support/certs.h"

#define BLOCK 16384

struct pair {
    struct sx_tls *c, *s;
    simplex_rc c_rc, s_rc;
};

static struct test_certs certs; /* Ed25519, 2 certificates */
static struct sx_tls_ctx *client_ctx, *server_ctx;

static inline int set_up(void **state)
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

static inline int tear_down(void **state)
{
    (void)state;
    sx_tls_ctx_free(client_ctx);
    sx_tls_ctx_free(server_ctx);
    test_certs_free(&certs);
    vec_free_all();
    return 0;
}

static inline struct pair pair_new(struct sx_tls_ctx *c, struct sx_tls_ctx *s,
                                   const uint8_t *key_hash)
{
    struct pair p = { 0 };

    assert_int_equal(sx_tls_new(c, key_hash, &p.c), SIMPLEX_OK);
    assert_int_equal(sx_tls_new(s, NULL, &p.s), SIMPLEX_OK);
    assert_int_equal(sx_tls_start(p.c), SIMPLEX_OK);
    return p;
}

static inline void pair_free(struct pair *p)
{
    sx_tls_free(p->c);
    sx_tls_free(p->s);
}

/* Feeds all that `from` has pending, `step` bytes a time; keeps the first error in *rc. */
static inline bool move(struct sx_tls *from, struct sx_tls *to, size_t step, simplex_rc *rc)
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

static inline void pump(struct pair *p, size_t step)
{
    bool moved;

    do {
        moved = move(p->c, p->s, step, &p->s_rc);
        moved = move(p->s, p->c, step, &p->c_rc) || moved;
    } while (moved);
}

static inline void assert_ready(struct pair *p)
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

static inline void send_block(struct sx_tls *from, struct sx_tls *to)
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

static inline struct sx_tls_ctx *tls12_client(void)
{
    struct sx_tls_ctx *c;

    assert_int_equal(sx_tls_ctx_client(&c), SIMPLEX_OK);
    assert_int_equal(sx_tls_ctx_versions(c, 0x0303, 0x0303), SIMPLEX_OK);
    return c;
}

#endif
