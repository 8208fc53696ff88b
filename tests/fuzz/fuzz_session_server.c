/* SPDX-License-Identifier: Apache-2.0 */
/* The server's side of a session: a script of blocks. TLS has seen the certificates of the first.
 */
#include "fuzz_session.h"

static bool accepted;

static bool accept_service(void *user, const struct sx_service_hello *h, uint8_t id[SX_ID_LEN])
{
    CHECK(h->chain == user && h->chain->count > 0);
    memset(id, h->role, SX_ID_LEN);
    accepted = true;
    return true;
}

/* The chain in the hello at the front of the script, if it is one of a service. */
static void chain_of_tls(simplex_bytes script, struct sx_chain *chain)
{
    struct sx_rd r = sx_rd_init(script);
    struct sx_client_hello h;

    *chain = (struct sx_chain){ .count = 0 };
    (void)sx_rd_u8(&r);
    simplex_bytes content = sx_rd_large(&r);
    if (r.bad || sx_client_hello_decode(content, &h) != SIMPLEX_OK || h.n_certs > SX_CHAIN_MAX)
        return;
    chain->count = h.n_certs;
    for (size_t i = 0; i < h.n_certs; i++)
        chain->cert[i] = h.certs[i];
}

static void agreed(struct sx_session *s, const uint8_t *reply, bool has_reply)
{
    struct sx_service_reply r;
    simplex_bytes content;

    CHECK(has_reply == (s->service.role != 0));
    if (has_reply) {
        CHECK(sx_unpad(sx_bytes(reply, SX_BLOCK), &content) == SIMPLEX_OK);
        CHECK(sx_service_reply_decode(content, &r) == SIMPLEX_OK && r.ok && accepted);
        CHECK(s->service.key.pub.alg == SX_ED25519 && s->version >= 16);
        CHECK(sx_bytes_eq(r.service_id, sx_bytes(s->service.id, sizeof s->service.id)));
    }
    CHECK(s->version >= s->min && s->version <= s->max);
    CHECK(s->has_shared == (s->peer_key.alg == SX_X25519));
    CHECK(s->encrypted == (s->version >= 11 && s->has_shared && !s->proxy));
    CHECK(!s->proxy || s->version >= 14);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sx_priv priv = { .alg = SX_X25519 };
    struct sx_server_hello h;
    struct sx_chain chain, tls;
    struct sx_session s = { .state = SX_S_WAIT_HELLO,
                            .is_server = true,
                            .peer_chain = &tls,
                            .accept = accept_service,
                            .accept_user = &tls };

    CHECK(sx_crypto_init() == SIMPLEX_OK);
    fuzz_server(&h, &chain, s.key_hash);
    s.min = SX_SMP_MIN;
    s.max = SX_SMP_MAX;
    s.id_len = (uint8_t)h.session_id.len;
    memcpy(s.id, h.session_id.ptr, h.session_id.len);
    memcpy(priv.b, fuzz_server_priv, sizeof fuzz_server_priv);
    CHECK(sx_keypair_from_priv(&priv, &s.own) == SIMPLEX_OK);
    accepted = false;
    chain_of_tls(sx_bytes(data, size), &tls);
    fuzz_session(&s, sx_bytes(data, size), agreed);
    return 0;
}
