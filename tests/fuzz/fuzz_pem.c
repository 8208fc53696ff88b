/* SPDX-License-Identifier: Apache-2.0 */
/* PEM: certificates read are written and read again the same. */
#include "fuzz.h"

#include "crypto/pem.h"

#define CAP ((size_t)1 << 20)

static void chain(simplex_bytes in)
{
    struct sx_wr der, pem, der2;
    struct sx_chain c, again;

    sx_wr_init(&der, CAP);
    sx_wr_init(&pem, CAP);
    sx_wr_init(&der2, CAP);
    if (sx_pem_chain(in, &der, &c) == SIMPLEX_OK) {
        CHECK(c.count >= 1 && c.count <= SX_CHAIN_MAX);
        for (size_t i = 0; i < c.count; i++) {
            CHECK(c.cert[i].len > 0);
            sx_pem_write(&pem, "CERTIFICATE", c.cert[i]);
        }
        CHECK(c.cert[c.count - 1].ptr + c.cert[c.count - 1].len == der.p + der.len);
        CHECK(sx_pem_chain(sx_wr_bytes(&pem), &der2, &again) == SIMPLEX_OK);
        CHECK(again.count == c.count && sx_bytes_eq(sx_wr_bytes(&der), sx_wr_bytes(&der2)));
    } else {
        CHECK(c.count == 0);
    }
    sx_wr_free(&der);
    sx_wr_free(&pem);
    sx_wr_free(&der2);
}

static void key(simplex_bytes in)
{
    struct sx_keypair k;
    simplex_rc rc = sx_pem_key(in, &k);

    CHECK((rc == SIMPLEX_OK) == (k.pub.alg != SX_NO_KEY));
    CHECK(rc == SIMPLEX_OK || rc == SIMPLEX_E_DECODE || rc == SIMPLEX_E_KEY);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    chain(sx_bytes(data, size));
    key(sx_bytes(data, size));
    return 0;
}
