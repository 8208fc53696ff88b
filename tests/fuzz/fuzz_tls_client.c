/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS records from a peer. The first byte chooses the role we play and the TLS version, then come
 * pieces, each S(data), as reads from a socket would give them. Nobody can finish a handshake by
 * guessing, so no connection may become ready.
 */
#include "client/tls.h"

#include "fuzz.h"

static struct sx_tls_ctx *client_ctx[2], *server_ctx;

static void make_contexts(void)
{
    struct sx_server_certs c;
    struct sx_wr chain;

    CHECK(sx_crypto_init() == SIMPLEX_OK);
    CHECK(sx_tls_ctx_client(&client_ctx[0]) == SIMPLEX_OK);
    CHECK(sx_tls_ctx_client(&client_ctx[1]) == SIMPLEX_OK);
    CHECK(sx_tls_ctx_versions(client_ctx[1], 0x0303, 0x0303) == SIMPLEX_OK);
    CHECK(sx_certs_make(SX_ED25519, "localhost", &c) == SIMPLEX_OK);
    sx_wr_init(&chain, 32768);
    sx_wr_raw(&chain, sx_wr_bytes(&c.cert));
    sx_wr_raw(&chain, sx_wr_bytes(&c.ca_cert));
    CHECK(sx_tls_ctx_server(sx_wr_bytes(&chain), sx_wr_bytes(&c.key), &server_ctx) == SIMPLEX_OK);
    sx_wr_free(&chain);
    sx_certs_free(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t key_hash[32];
    struct sx_rd r = sx_rd_init(sx_bytes(data, size));
    uint8_t unique[SX_TLS_UNIQUE_MAX], plain[64];
    struct sx_tls *t;
    simplex_rc rc, before = SIMPLEX_OK;
    size_t n;

    if (server_ctx == NULL)
        make_contexts();
    uint8_t role = sx_rd_u8(&r) % 3;
    if (role == 2)
        CHECK(sx_tls_new(server_ctx, NULL, &t) == SIMPLEX_OK);
    else
        CHECK(sx_tls_new(client_ctx[role], key_hash, &t) == SIMPLEX_OK);
    CHECK(sx_tls_start(t) == SIMPLEX_OK);
    CHECK((sx_tls_pending(t).len > 0) == (role != 2));
    while (r.left > 0 && !r.bad) {
        rc = sx_tls_feed(t, sx_rd_short(&r));
        CHECK(before == SIMPLEX_OK || rc == before);
        CHECK(!sx_tls_ready(t) && sx_tls_unique(t, unique) == 0);
        CHECK(sx_tls_read(t, plain, sizeof plain, &n) == rc && n == 0);
        before = rc;
        sx_tls_consume(t, sx_tls_pending(t).len);
    }
    sx_tls_free(t);
    return 0;
}
