/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signed session keys. The first byte chooses the kind of the leaf, whose private key is known
 * here: what verifies is what signing the same key gives.
 */
#include "fuzz.h"

#include "crypto/x509.h"

static void leaf_of(enum sx_alg alg, struct sx_keypair *out)
{
    struct sx_priv priv = { .alg = (uint8_t)alg };

    for (size_t i = 0; i < sx_key_len(alg); i++)
        priv.b[i] = (uint8_t)i;
    CHECK(sx_keypair_from_priv(&priv, out) == SIMPLEX_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct sx_keypair leaf[2];
    struct sx_pub key;
    uint8_t buf[192];
    struct sx_wr w;

    if (size == 0)
        return 0;
    if (leaf[0].pub.alg == SX_NO_KEY) {
        leaf_of(SX_ED25519, &leaf[0]);
        leaf_of(SX_ED448, &leaf[1]);
    }
    const struct sx_keypair *l = &leaf[data[0] & 1];
    simplex_bytes in = sx_bytes(data + 1, size - 1);
    simplex_rc rc = sx_signed_key_verify(in, &l->pub, &key);
    CHECK((rc == SIMPLEX_OK) == (key.alg == SX_X25519 || key.alg == SX_ED25519));
    if (rc != SIMPLEX_OK) {
        CHECK(rc == SIMPLEX_E_DECODE || rc == SIMPLEX_E_SIGNATURE);
        return 0;
    }
    sx_wr_fixed(&w, buf, sizeof buf);
    CHECK(sx_signed_key_encode(&w, &key, l) == SIMPLEX_OK);
    CHECK(!w.bad && sx_bytes_eq(sx_wr_bytes(&w), in));
    return 0;
}
