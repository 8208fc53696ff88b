/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 (smp.md section 1) over libsodium, which encodes without table lookups by secrets. */
#include <sodium.h>

#include "crypto/pem.h"

#define CHUNK 192 /* a multiple of 3: no padding inside */

/* In pieces through the stack, because libsodium wants room for a NUL behind the text. */
static void encode(struct sx_wr *w, simplex_bytes b, int variant)
{
    char text[sodium_base64_ENCODED_LEN(CHUNK, sodium_base64_VARIANT_ORIGINAL)];

    while (b.len > 0 && !w->bad) {
        size_t n = b.len < CHUNK ? b.len : CHUNK;

        (void)sodium_bin2base64(text, sizeof text, b.ptr, n, variant);
        sx_wr_text(w, text);
        b.ptr += n;
        b.len -= n;
    }
    sx_wipe(text, sizeof text);
}

void sx_b64url_encode(struct sx_wr *w, simplex_bytes b)
{
    encode(w, b, sodium_base64_VARIANT_URLSAFE);
}

void sx_b64url_encode_unpadded(struct sx_wr *w, simplex_bytes b)
{
    encode(w, b, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

void sx_b64_encode(struct sx_wr *w, simplex_bytes b)
{
    encode(w, b, sodium_base64_VARIANT_ORIGINAL);
}

/* libsodium 1.0.18 takes the bytes 80..cf for the last character of the alphabet. */
static bool is_ascii(simplex_bytes text)
{
    unsigned all = 0;

    for (size_t i = 0; i < text.len; i++)
        all |= text.ptr[i];
    return all < 0x80;
}

static bool decode(simplex_bytes text, int variant, const char *ignore, uint8_t *out, size_t size,
                   size_t *len)
{
    if (is_ascii(text) && sodium_base642bin(out, size, (const char *)text.ptr, text.len, ignore,
                                            len, NULL, variant) == 0)
        return true;
    *len = 0;
    return false;
}

bool sx_b64_decode_lines(simplex_bytes text, uint8_t *out, size_t size, size_t *len)
{
    return decode(text, sodium_base64_VARIANT_ORIGINAL, "\r\n \t", out, size, len);
}

/* The characters without their '='; padding counts only where it completes a group of four. */
static simplex_bytes strip(simplex_bytes text)
{
    if (text.len % 4 != 0)
        return text;
    for (int i = 0; i < 2 && text.len > 0 && text.ptr[text.len - 1] == '='; i++)
        text.len--;
    return text;
}

simplex_rc sx_b64url_decode(simplex_bytes text, uint8_t *out, size_t *len)
{
    simplex_bytes t = strip(text);
    size_t size = *len;
    size_t need = t.len / 4 * 3 + (t.len % 4 > 0 ? t.len % 4 - 1 : 0);

    *len = 0;
    if (t.len % 4 == 1)
        return SIMPLEX_E_DECODE;
    if (need > size) {
        *len = need;
        return SIMPLEX_E_BUFFER;
    }
    if (need == 0 || decode(t, sodium_base64_VARIANT_URLSAFE_NO_PADDING, NULL, out, need, len))
        return SIMPLEX_OK;
    return SIMPLEX_E_DECODE;
}
