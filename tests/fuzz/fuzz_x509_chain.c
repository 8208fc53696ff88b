/* SPDX-License-Identifier: Apache-2.0 */
/* Chains in the form of the server's hello: a count byte, then certificates behind a u16 length. */
#include "fuzz.h"

#include "crypto/x509.h"

#define NOW INT64_C(1800000000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sx_rd r = sx_rd_init(sx_bytes(data, size));
    struct sx_chain c = { .count = sx_rd_u8(&r) };
    struct sx_pub leaf;
    uint8_t fp[32];

    for (size_t i = 0; i < c.count && i < SX_CHAIN_MAX; i++)
        c.cert[i] = sx_rd_large(&r);
    simplex_rc rc = sx_chain_verify(&c, NULL, NOW);
    CHECK(rc == SIMPLEX_OK || rc == SIMPLEX_E_CERT);
    simplex_rc key_rc = sx_chain_leaf_key(&c, &leaf);
    CHECK((key_rc == SIMPLEX_OK) == (leaf.alg == SX_ED25519 || leaf.alg == SX_ED448));
    bool counted = c.count >= 2 && c.count <= SX_CHAIN_MAX;
    CHECK((sx_chain_fingerprint(&c, fp) == SIMPLEX_OK) == counted);
    if (rc != SIMPLEX_OK)
        return 0;
    CHECK(counted && sx_chain_verify(&c, fp, NOW) == SIMPLEX_OK);
    fp[0] ^= 1;
    CHECK(sx_chain_verify(&c, fp, NOW) == SIMPLEX_E_FINGERPRINT);
    return 0;
}
