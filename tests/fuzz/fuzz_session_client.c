/* SPDX-License-Identifier: Apache-2.0 */
/* The client's side of a session: the first byte says what it wants, a script of blocks follows. */
#include "fuzz_session.h"

/* Whatever the hello said around it, the key is the one that the leaf has signed. */
static void agreed(struct sx_session *s, const uint8_t *reply, bool has_reply)
{
    struct sx_priv priv = { .alg = SX_X25519 };
    struct sx_keypair server;
    struct sx_client_hello h;
    simplex_bytes content;

    memcpy(priv.b, fuzz_server_priv, sizeof fuzz_server_priv);
    CHECK(sx_keypair_from_priv(&priv, &server) == SIMPLEX_OK);
    CHECK(s->version >= s->min && s->version <= s->max);
    CHECK(s->peer_key.alg == SX_NO_KEY || sx_pub_eq(&s->peer_key, &server.pub));
    CHECK(s->peer_key.alg != SX_NO_KEY || s->version == 6);
    CHECK(has_reply && sx_unpad(sx_bytes(reply, SX_BLOCK), &content) == SIMPLEX_OK);
    CHECK(sx_client_hello_decode(content, &h) == SIMPLEX_OK);
    CHECK(h.version == s->version);
    CHECK(h.has_key == (s->version >= 7 && !s->no_key));
    CHECK(s->encrypted == (s->version >= 11 && h.has_key && !s->proxy));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sx_server_hello h;
    struct sx_chain chain;
    struct sx_session s;
    uint8_t fingerprint[32];

    if (size == 0)
        return 0;
    CHECK(sx_crypto_init() == SIMPLEX_OK);
    fuzz_server(&h, &chain, fingerprint);
    struct sx_session_client_cfg cfg = { .max = (uint16_t)(6 + data[0] % 14),
                                         .session_id = h.session_id,
                                         .key_hash = fingerprint,
                                         .chain = &chain,
                                         .proxy = (data[0] & 0x40) != 0,
                                         .no_key = (data[0] & 0x80) != 0,
                                         .alpn = true };
    CHECK(sx_session_client(&s, &cfg) == SIMPLEX_OK);
    fuzz_session(&s, sx_bytes(data + 1, size - 1), agreed);
    return 0;
}
