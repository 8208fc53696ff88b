/* SPDX-License-Identifier: Apache-2.0 */
/* First byte: who asks and for what; the rest: what the proxy says, in one piece and in bits. */
#include "client/socks5.h"

#include "fuzz/fuzz.h"

static void begin(struct sx_socks5 *s, uint8_t how)
{
    static const struct sx_host hosts[] = {
        { SX_HOST_NAME, "smp.example" },
        { SX_HOST_IPV4, "1.2.3.4" },
        { SX_HOST_IPV6, "2001:db8::1" },
        { SX_HOST_ONION, "abcdefgh.onion" },
    };
    struct sx_socks5_cfg cfg = {
        .user = (how & 1) != 0 ? "user" : NULL,
        .password = (how & 2) != 0 ? "password" : NULL,
        .may_skip_auth = (how & 4) != 0,
        .host = &hosts[(how >> 3) & 3],
        .port = 5223,
    };

    CHECK(sx_socks5_init(s, &cfg) == SIMPLEX_OK);
}

/* What was sent, so that both ways can be compared. */
static size_t drain(struct sx_socks5 *s, uint8_t *to, size_t at, size_t size)
{
    simplex_bytes out = sx_socks5_take(s);

    CHECK(at + out.len <= size);
    memcpy(to + at, out.ptr, out.len);
    return at + out.len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct sx_socks5 whole, bits;
    uint8_t a[2048], b[2048];
    size_t used = 0, used_bits = 0, sent = 0;
    simplex_rc rc_bits = SIMPLEX_OK;

    if (size == 0)
        return 0;
    begin(&whole, data[0]);
    begin(&bits, data[0]);
    simplex_bytes in = sx_bytes(data + 1, size - 1);
    (void)sx_socks5_take(&whole);
    simplex_rc rc = sx_socks5_input(&whole, in, &used);
    (void)drain(&whole, a, 0, sizeof(a));
    CHECK(used <= in.len);

    for (size_t i = 0; i < in.len && rc_bits == SIMPLEX_OK && bits.state != SX_SOCKS5_DONE; i++) {
        size_t n;
        sent = drain(&bits, b, sent, sizeof(b));
        rc_bits = sx_socks5_input(&bits, sx_bytes(in.ptr + i, 1), &n);
        used_bits += n;
    }
    CHECK(rc == rc_bits);
    CHECK(used == used_bits);
    CHECK(whole.state == bits.state);
    CHECK((whole.state == SX_SOCKS5_FAILED) == (rc != SIMPLEX_OK));
    /* A request goes out before any reply to it counts. */
    CHECK(whole.state != SX_SOCKS5_DONE || sent > 4);
    sx_socks5_wipe(&whole);
    sx_socks5_wipe(&bits);
    return 0;
}
