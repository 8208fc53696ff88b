/* SPDX-License-Identifier: Apache-2.0 */
/* Private keys: what is accepted is written back the same and has a public half. */
#include "fuzz.h"

#include "crypto/crypto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    simplex_bytes in = sx_bytes(data, size);
    struct sx_priv priv;
    struct sx_keypair k;
    uint8_t buf[128];
    struct sx_wr w;

    simplex_rc rc = sx_pkcs8_decode(in, &priv);
    CHECK((rc == SIMPLEX_OK) == (priv.alg != SX_NO_KEY));
    if (rc != SIMPLEX_OK)
        return 0;
    sx_wr_fixed(&w, buf, sizeof buf);
    sx_pkcs8_encode(&priv, &w);
    CHECK(!w.bad && sx_bytes_eq(sx_wr_bytes(&w), in));
    CHECK(sx_keypair_from_priv(&priv, &k) == SIMPLEX_OK);
    CHECK(k.pub.alg == priv.alg && memcmp(&k.priv, &priv, sizeof priv) == 0);
    return 0;
}
