/* SPDX-License-Identifier: Apache-2.0 */
/* Base64url: any bytes survive; any text that is accepted has one spelling, but for its padding. */
#include "fuzz.h"

#include "crypto/crypto.h"

#define CAP ((size_t)4 << 20)

static void text(simplex_bytes in)
{
    size_t len = in.len;
    uint8_t *out = malloc(in.len + 1);
    struct sx_wr w;

    CHECK(out != NULL);
    simplex_rc rc = sx_b64url_decode(in, out, &len);
    CHECK(rc == SIMPLEX_OK || (rc == SIMPLEX_E_DECODE && len == 0));
    if (rc == SIMPLEX_OK) {
        sx_wr_init(&w, CAP);
        sx_b64url_encode_unpadded(&w, sx_bytes(out, len));
        CHECK(!w.bad && w.len <= in.len && in.len - w.len <= 2);
        CHECK(w.len == 0 || memcmp(w.p, in.ptr, w.len) == 0);
        for (size_t i = w.len; i < in.len; i++)
            CHECK(in.ptr[i] == '=' && in.len % 4 == 0);
        if (len > 0) {
            size_t small = len - 1;
            CHECK(sx_b64url_decode(in, out, &small) == SIMPLEX_E_BUFFER && small == len);
        }
        sx_wr_free(&w);
    }
    free(out);
}

static void bytes(simplex_bytes in)
{
    size_t len = in.len;
    uint8_t *out = malloc(in.len + 1);
    struct sx_wr w;

    CHECK(out != NULL);
    sx_wr_init(&w, CAP);
    sx_b64url_encode(&w, in);
    CHECK(!w.bad && w.len == (in.len + 2) / 3 * 4);
    CHECK(sx_b64url_decode(sx_wr_bytes(&w), out, &len) == SIMPLEX_OK);
    CHECK(sx_bytes_eq(sx_bytes(out, len), in));
    sx_wr_free(&w);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    text(sx_bytes(data, size));
    bytes(sx_bytes(data, size));
    return 0;
}
