/* SPDX-License-Identifier: Apache-2.0 */
/* Cursor and writer (protocol/smp.md section 1: the primitives of every encoding). */
#include "base/base.h"

simplex_bytes sx_rd_take(struct sx_rd *r, size_t n)
{
    if (r->bad || n > r->left) {
        r->bad = true;
        return (simplex_bytes){ NULL, 0 };
    }
    simplex_bytes s = { r->p, n };
    if (n > 0)
        r->p += n;
    r->left -= n;
    return s;
}

simplex_bytes sx_rd_rest(struct sx_rd *r)
{
    return sx_rd_take(r, r->left);
}

void sx_rd_copy(struct sx_rd *r, void *to, size_t n)
{
    simplex_bytes s = sx_rd_take(r, n);

    if (s.ptr != NULL)
        memcpy(to, s.ptr, n);
    else
        memset(to, 0, n);
}

uint8_t sx_rd_u8(struct sx_rd *r)
{
    simplex_bytes s = sx_rd_take(r, 1);

    return s.ptr != NULL ? s.ptr[0] : 0;
}

uint16_t sx_rd_u16(struct sx_rd *r)
{
    simplex_bytes s = sx_rd_take(r, 2);

    return (uint16_t)(s.ptr != NULL ? s.ptr[0] << 8 | s.ptr[1] : 0);
}

uint32_t sx_rd_u32(struct sx_rd *r)
{
    simplex_bytes s = sx_rd_take(r, 4);
    uint32_t v = 0;

    for (size_t i = 0; i < s.len; i++)
        v = v << 8 | s.ptr[i];
    return v;
}

int64_t sx_rd_i64(struct sx_rd *r)
{
    simplex_bytes s = sx_rd_take(r, 8);
    uint64_t v = 0;

    for (size_t i = 0; i < s.len; i++)
        v = v << 8 | s.ptr[i];
    return (int64_t)v;
}

static bool one_of(struct sx_rd *r, uint8_t yes, uint8_t no)
{
    uint8_t c = sx_rd_u8(r);

    if (c != yes && c != no)
        r->bad = true;
    return !r->bad && c == yes;
}

bool sx_rd_bool(struct sx_rd *r)
{
    return one_of(r, 'T', 'F');
}

bool sx_rd_maybe(struct sx_rd *r)
{
    return one_of(r, '1', '0');
}

simplex_bytes sx_rd_short(struct sx_rd *r)
{
    return sx_rd_take(r, sx_rd_u8(r));
}

simplex_bytes sx_rd_large(struct sx_rd *r)
{
    return sx_rd_take(r, sx_rd_u16(r));
}

bool sx_rd_lit(struct sx_rd *r, const char *text)
{
    size_t n = strlen(text);

    if (r->bad || n > r->left || (n > 0 && memcmp(r->p, text, n) != 0))
        return false;
    (void)sx_rd_take(r, n);
    return true;
}

int sx_rd_peek(const struct sx_rd *r)
{
    return r->bad || r->left == 0 ? -1 : r->p[0];
}

void sx_wr_init(struct sx_wr *w, size_t cap)
{
    *w = (struct sx_wr){ .cap = cap };
}

void sx_wr_fixed(struct sx_wr *w, void *buf, size_t size)
{
    *w = (struct sx_wr){ .p = buf, .size = size, .cap = size, .lent = true };
}

void sx_wr_free(struct sx_wr *w)
{
    if (!w->lent)
        sx_free_secret(w->p, w->size);
    *w = (struct sx_wr){ .cap = w->lent ? 0 : w->cap };
}

void sx_wr_reset(struct sx_wr *w)
{
    w->len = 0;
    w->bad = false;
}

/* By copy and wipe, never by realloc: what a buffer held must not stay in freed memory. */
static bool grow(struct sx_wr *w, size_t need)
{
    size_t size = w->size < 64 ? 64 : w->size;

    while (size < need)
        size = size > w->cap / 2 ? w->cap : size * 2;
    uint8_t *p = sx_malloc(size);
    if (p == NULL)
        return false;
    if (w->len > 0)
        memcpy(p, w->p, w->len);
    sx_free_secret(w->p, w->size);
    w->p = p;
    w->size = size;
    return true;
}

uint8_t *sx_wr_space(struct sx_wr *w, size_t n)
{
    if (w->bad || n > w->cap - w->len) {
        w->bad = true;
        return NULL;
    }
    if (n > w->size - w->len && (w->lent || !grow(w, w->len + n))) {
        w->bad = true;
        return NULL;
    }
    uint8_t *at = w->p + w->len;
    w->len += n;
    return at;
}

void sx_wr_raw(struct sx_wr *w, simplex_bytes s)
{
    if (s.len == 0)
        return;
    uint8_t *at = sx_wr_space(w, s.len);
    if (at != NULL)
        memcpy(at, s.ptr, s.len);
}

void sx_wr_text(struct sx_wr *w, const char *s)
{
    sx_wr_raw(w, sx_str(s));
}

static void put_be(struct sx_wr *w, uint64_t v, size_t n)
{
    uint8_t *at = sx_wr_space(w, n);

    for (size_t i = n; at != NULL && i > 0; i--, v >>= 8)
        at[i - 1] = (uint8_t)v;
}

void sx_wr_u8(struct sx_wr *w, uint8_t v)
{
    put_be(w, v, 1);
}

void sx_wr_u16(struct sx_wr *w, uint16_t v)
{
    put_be(w, v, 2);
}

void sx_wr_u32(struct sx_wr *w, uint32_t v)
{
    put_be(w, v, 4);
}

void sx_wr_i64(struct sx_wr *w, int64_t v)
{
    put_be(w, (uint64_t)v, 8);
}

void sx_wr_bool(struct sx_wr *w, bool v)
{
    sx_wr_u8(w, v ? 'T' : 'F');
}

void sx_wr_maybe(struct sx_wr *w, bool some)
{
    sx_wr_u8(w, some ? '1' : '0');
}

void sx_wr_short(struct sx_wr *w, simplex_bytes s)
{
    if (s.len > UINT8_MAX) {
        w->bad = true;
        return;
    }
    sx_wr_u8(w, (uint8_t)s.len);
    sx_wr_raw(w, s);
}

void sx_wr_large(struct sx_wr *w, simplex_bytes s)
{
    if (s.len > UINT16_MAX) {
        w->bad = true;
        return;
    }
    sx_wr_u16(w, (uint16_t)s.len);
    sx_wr_raw(w, s);
}
