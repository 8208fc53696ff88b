/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz_smp.h"

/* Errors have several forms, and older peers get another tag than what is decoded here. */
static bool has_one_form(enum sx_rsp_tag tag, uint16_t version)
{
    return tag != SX_R_ERR && !(tag == SX_R_DELD && version < 10) &&
           !(tag == SX_R_SOK && version < 16);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sx_rsp m, again;
    struct sx_wr one, two;

    if (size == 0)
        return 0;
    uint16_t version = fuzz_version(data[0]);
    simplex_bytes text = sx_bytes(data + 1, size - 1);
    if (sx_rsp_decode(text, version, &m) != SIMPLEX_OK) {
        CHECK(m.tag == SX_RSP_TAGS);
        return 0;
    }
    if (m.tag == SX_R_PKEY) {
        simplex_bytes certs[SX_HELLO_CERTS_MAX];
        size_t n;

        CHECK(sx_chain_decode(m.pkey.chain, certs, &n) == SIMPLEX_OK && n > 0);
    }
    sx_wr_init(&one, FUZZ_CAP);
    sx_wr_init(&two, FUZZ_CAP);
    sx_rsp_encode(&one, &m, version);
    CHECK(!one.bad);
    CHECK(!has_one_form(m.tag, version) || sx_bytes_eq(sx_wr_bytes(&one), text));
    CHECK(sx_rsp_decode(sx_wr_bytes(&one), version, &again) == SIMPLEX_OK);
    sx_rsp_encode(&two, &again, version);
    CHECK(sx_bytes_eq(sx_wr_bytes(&one), sx_wr_bytes(&two)));
    sx_wr_free(&one);
    sx_wr_free(&two);
    return 0;
}
