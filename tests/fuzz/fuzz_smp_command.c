/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz_smp.h"

/* These say the same in more than one way: unknown flags, brackets and zeros, text behind a name.
 */
static bool has_one_form(enum sx_cmd_tag tag)
{
    return tag != SX_SEND && tag != SX_PRXY && tag != SX_RSLV;
}

static void check_keys(const struct sx_cmd *c)
{
    struct sx_rd keys = sx_rd_init(c->rkey.keys);
    struct sx_pub k;

    for (unsigned i = 0; i < c->rkey.count; i++)
        sx_rkey_next(&keys, &k);
    CHECK(sx_rd_done(&keys));
}

static void check_credentials(const struct sx_cmd *c)
{
    unsigned accepted = 0;

    for (unsigned i = 0; i < 4; i++) {
        if (sx_cmd_check_credentials(c, (i & 1) != 0, (i & 2) != 0).err == SX_ERR_NONE)
            accepted++;
    }
    CHECK(accepted >= 1 && accepted <= 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sx_cmd c, again;
    struct sx_smp_err err;
    struct sx_wr one, two;

    if (size == 0)
        return 0;
    uint16_t version = fuzz_version(data[0]);
    simplex_bytes text = sx_bytes(data + 1, size - 1);
    if (sx_cmd_decode(text, version, &c, &err) != SIMPLEX_OK) {
        CHECK(err.err == SX_ERR_CMD && (err.cmd == SX_CMD_UNKNOWN || err.cmd == SX_CMD_SYNTAX));
        return 0;
    }
    CHECK(err.err == SX_ERR_NONE);
    if (c.tag == SX_RKEY)
        check_keys(&c);
    check_credentials(&c);
    sx_wr_init(&one, FUZZ_CAP);
    sx_wr_init(&two, FUZZ_CAP);
    sx_cmd_encode(&one, &c, version);
    CHECK(!one.bad);
    CHECK(!has_one_form(c.tag) || sx_bytes_eq(sx_wr_bytes(&one), text));
    CHECK(sx_cmd_decode(sx_wr_bytes(&one), version, &again, &err) == SIMPLEX_OK);
    CHECK(again.tag == c.tag);
    sx_cmd_encode(&two, &again, version);
    CHECK(sx_bytes_eq(sx_wr_bytes(&one), sx_wr_bytes(&two)));
    sx_wr_free(&one);
    sx_wr_free(&two);
    return 0;
}
