/* SPDX-License-Identifier: Apache-2.0 */
/* Padding (smp.md section 2). The filler is written, never checked. */
#include "crypto/crypto.h"

simplex_rc sx_pad(simplex_bytes m, uint8_t *out, size_t n)
{
    if (m.len > UINT16_MAX - 2 || n < 2 || m.len > n - 2)
        return SIMPLEX_E_TOO_LARGE;
    if (m.len > 0)
        memmove(out + 2, m.ptr, m.len); /* m may already lie inside out */
    out[0] = (uint8_t)(m.len >> 8);
    out[1] = (uint8_t)m.len;
    memset(out + 2 + m.len, '#', n - 2 - m.len);
    return SIMPLEX_OK;
}

simplex_rc sx_unpad(simplex_bytes padded, simplex_bytes *m)
{
    struct sx_rd r = sx_rd_init(padded);

    *m = sx_rd_large(&r);
    return r.bad ? SIMPLEX_E_PADDING : SIMPLEX_OK;
}
