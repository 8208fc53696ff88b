/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a proxy and the relay behind it can send to a client. The first byte chooses: 0, a response
 * that may be PKEY, for the identity it names itself; 1, what the relay puts into the box; else the
 * bytes that the proxy gives out as the box, as they are or over the end of a genuine one.
 */
#include "fuzz.h"

#include "client/proxied.h"

#define NOW 1795392000 /* when the certificates of the seed are valid */

static const uint8_t corr[SX_ID_LEN] = { 0xfc, 0x41, 0x73, 0x3c, 0xc5, 0xa7, 0x77, 0xe7,
                                         0x56, 0x8a, 0x94, 0x9b, 0x91, 0x78, 0x45, 0xc2,
                                         0xa0, 0xc5, 0x68, 0x02, 0xcb, 0xc2, 0x5a, 0xc7 };

static void read_key(simplex_bytes in)
{
    simplex_bytes certs[SX_HELLO_CERTS_MAX];
    uint8_t identity[32] = { 0 };
    struct sx_proxied p;
    struct sx_rsp rsp;
    size_t n;

    if (sx_rsp_decode(in, SX_SMP_MAX, &rsp) != SIMPLEX_OK || rsp.tag != SX_R_PKEY)
        return;
    if (sx_chain_decode(rsp.pkey.chain, certs, &n) == SIMPLEX_OK && n > 1)
        sx_sha256(certs[1], identity);
    if (sx_proxied_open(&p, &rsp, identity, SX_SMP_MAX, NOW) == SIMPLEX_OK) {
        CHECK(p.s.state == SX_S_RELAY && p.s.version >= SX_PROXIED_MIN);
        CHECK(p.s.version >= rsp.pkey.min && p.s.version <= rsp.pkey.max);
        CHECK(sx_bytes_eq(sx_proxied_id(&p), rsp.pkey.session_id));
    } else {
        CHECK(p.s.state == SX_S_FAILED);
    }
    sx_proxied_wipe(&p);
}

static void read_answer(const struct sx_proxied_cmd *c, simplex_bytes body, bool genuine)
{
    uint8_t plain[SX_PROXIED_BOX];
    struct sx_transmission t;
    struct sx_rsp rsp;
    simplex_rc rc = sx_proxied_answer(c, body, plain, &t, &rsp);

    CHECK(genuine || rc == SIMPLEX_E_CRYPTO);
    CHECK(rc != SIMPLEX_OK || sx_bytes_eq(t.corr_id, sx_bytes(corr, sizeof corr)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sx_proxied_cmd c = { .version = 17 };
    uint8_t body[SX_PROXIED_BOX], secret[32] = { 7 }, nonce[SX_NONCE_LEN], was[64];

    if (size == 0)
        return 0;
    simplex_bytes in = sx_bytes(data + 1, size - 1);
    if (data[0] == 0) {
        read_key(in);
        return 0;
    }
    memcpy(c.corr_id, corr, sizeof corr);
    sx_box_key_init(&c.box, secret);
    sx_nonce_reverse(corr, nonce);
    bool sealed = data[0] == 1 && in.len <= SX_PROXIED_PADDED - 2;
    CHECK(sx_box_seal_padded(&c.box, nonce, sealed ? in : sx_str("x"), SX_PROXIED_PADDED, body) ==
          SIMPLEX_OK);
    if (sealed) {
        read_answer(&c, sx_bytes(body, sizeof body), true);
    } else if (in.len > 0 && in.len <= sizeof was) {
        memcpy(was, body + sizeof body - in.len, in.len);
        memcpy(body + sizeof body - in.len, in.ptr, in.len);
        read_answer(&c, sx_bytes(body, sizeof body), memcmp(was, in.ptr, in.len) == 0);
    } else {
        read_answer(&c, in, false);
    }
    return 0;
}
