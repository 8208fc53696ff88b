/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/url.h"

static bool is_unreserved(uint8_t c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.' || c == '~';
}

void sx_url_encode(struct sx_wr *w, simplex_bytes s)
{
    static const char digits[] = "0123456789ABCDEF";

    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.ptr[i];
        if (is_unreserved(c)) {
            sx_wr_u8(w, c);
        } else {
            sx_wr_u8(w, '%');
            sx_wr_u8(w, (uint8_t)digits[c >> 4]);
            sx_wr_u8(w, (uint8_t)digits[c & 15]);
        }
    }
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

/* Takes one character off s (not empty), be it plain or escaped. */
static uint8_t next_char(simplex_bytes *s)
{
    uint8_t c = s->ptr[0];
    size_t used = 1;

    if (c == '+') {
        c = ' ';
    } else if (c == '%' && s->len >= 3) {
        int hi = hex_digit(s->ptr[1]), lo = hex_digit(s->ptr[2]);
        if (hi >= 0 && lo >= 0) {
            c = (uint8_t)(hi << 4 | lo);
            used = 3;
        }
    }
    s->ptr += used;
    s->len -= used;
    return c;
}

void sx_url_decode(struct sx_wr *w, simplex_bytes s)
{
    while (s.len > 0)
        sx_wr_u8(w, next_char(&s));
}

static bool decodes_to(simplex_bytes s, const char *name)
{
    while (s.len > 0 && *name != 0) {
        if (next_char(&s) != (uint8_t)*name)
            return false;
        name++;
    }
    return s.len == 0 && *name == 0;
}

bool sx_query_get(simplex_bytes query, const char *name, struct sx_wr *value)
{
    struct sx_rd r = sx_rd_init(query);

    while (r.left > 0) {
        simplex_bytes param = sx_rd_until(&r, "&;");
        struct sx_rd p = sx_rd_init(param);
        simplex_bytes key = sx_rd_until(&p, "=");

        (void)sx_rd_u8(&r); /* the separator; harmless at the end, where the loop stops */
        if (decodes_to(key, name)) {
            if (p.left > 0)
                (void)sx_rd_u8(&p);
            sx_url_decode(value, sx_rd_rest(&p));
            return true;
        }
    }
    return false;
}

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

simplex_bytes sx_text_trim(simplex_bytes s)
{
    while (s.len > 0 && is_space(s.ptr[0])) {
        s.ptr++;
        s.len--;
    }
    while (s.len > 0 && is_space(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

bool sx_text_is_solid(simplex_bytes s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] <= ' ' || s.ptr[i] == 0x7f)
            return false;
    }
    return true;
}

simplex_bytes sx_rd_until(struct sx_rd *r, const char *stops)
{
    size_t n = 0;

    /* strchr would find the NUL that ends `stops` too */
    while (n < r->left && (r->p[n] == 0 || strchr(stops, r->p[n]) == NULL))
        n++;
    return sx_rd_take(r, n);
}

bool sx_text_u16(simplex_bytes s, uint16_t *out)
{
    uint32_t v = 0;

    if (s.len == 0 || s.len > 5)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return false;
        v = v * 10 + (uint32_t)(s.ptr[i] - '0');
    }
    if (v > UINT16_MAX)
        return false;
    *out = (uint16_t)v;
    return true;
}
