/* SPDX-License-Identifier: Apache-2.0 */
/* The server's side of a session: a script of blocks. */
#include "fuzz_session.h"

static void agreed(struct sx_session *s, const uint8_t *reply, bool has_reply)
{
    (void)reply;
    CHECK(!has_reply);
    CHECK(s->version >= s->min && s->version <= s->max);
    CHECK(s->has_shared == (s->peer_key.alg == SX_X25519));
    CHECK(s->encrypted == (s->version >= 11 && s->has_shared && !s->proxy));
    CHECK(!s->proxy || s->version >= 14);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sx_priv priv = { .alg = SX_X25519 };
    struct sx_server_hello h;
    struct sx_chain chain;
    struct sx_session s = { .state = SX_S_WAIT_HELLO, .is_server = true };

    CHECK(sx_crypto_init() == SIMPLEX_OK);
    fuzz_server(&h, &chain, s.key_hash);
    s.min = SX_SMP_MIN;
    s.max = SX_SMP_MAX;
    s.id_len = (uint8_t)h.session_id.len;
    memcpy(s.id, h.session_id.ptr, h.session_id.len);
    memcpy(priv.b, fuzz_server_priv, sizeof fuzz_server_priv);
    CHECK(sx_keypair_from_priv(&priv, &s.own) == SIMPLEX_OK);
    fuzz_session(&s, sx_bytes(data, size), agreed);
    return 0;
}
