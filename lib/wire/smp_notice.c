/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The notice of ERR BLOCKED (protocol/smp.md section 6.2): {"ttl":seconds} or {}. Members that
 * later versions add are skipped without being understood, so this reads less than all of JSON:
 * nested values are only followed to their closing bracket.
 */
#include <stdio.h>

#include "wire/smp_parts.h"

void sx_wr_notice(struct sx_wr *w, bool has_ttl, int64_t ttl)
{
    char text[40] = "{}";

    if (has_ttl)
        (void)snprintf(text, sizeof text, "{\"ttl\":%" PRId64 "}", ttl);
    sx_wr_text(w, text);
}

static void skip_space(struct sx_rd *r)
{
    int c;

    while ((c = sx_rd_peek(r)) == ' ' || c == '\t' || c == '\n' || c == '\r')
        (void)sx_rd_u8(r);
}

static void expect(struct sx_rd *r, char c)
{
    skip_space(r);
    if (sx_rd_u8(r) != (uint8_t)c)
        r->bad = true;
}

/* The characters between the quotes, with their escapes. */
static simplex_bytes string(struct sx_rd *r)
{
    expect(r, '"');
    const uint8_t *from = r->p;
    size_t n = 0;

    for (;;) {
        uint8_t c = sx_rd_u8(r);

        if (r->bad || c < ' ') {
            r->bad = true;
            return sx_bytes(NULL, 0);
        }
        if (c == '"')
            return sx_bytes(from, n);
        n++;
        if (c == '\\') {
            (void)sx_rd_u8(r);
            n++;
        }
    }
}

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static void integer(struct sx_rd *r, int64_t *v)
{
    bool minus = sx_rd_lit(r, "-");
    bool zero = sx_rd_peek(r) == '0';
    unsigned digits = 0;

    *v = 0;
    for (; is_digit(sx_rd_peek(r)); digits++) {
        int d = sx_rd_u8(r) - '0';

        /* built up negative: that side has room for one more */
        if (*v < INT64_MIN / 10 || *v * 10 < INT64_MIN + d) {
            r->bad = true;
            return;
        }
        *v = *v * 10 - d;
    }
    if (digits == 0 || (zero && digits > 1) || (!minus && *v == INT64_MIN))
        r->bad = true;
    else if (!minus)
        *v = -*v;
}

/* A number or a literal: runs up to what may follow a value. */
static void skip_word(struct sx_rd *r)
{
    size_t n = 0;
    int c;

    while ((c = sx_rd_peek(r)) > ' ' && strchr(",]}:\"[{", c) == NULL) {
        (void)sx_rd_u8(r);
        n++;
    }
    if (n == 0)
        r->bad = true;
}

static void skip_value(struct sx_rd *r)
{
    size_t depth = 0;

    do {
        skip_space(r);
        int c = sx_rd_peek(r);
        if (c == '"') {
            (void)string(r);
        } else if (c == '{' || c == '[') {
            depth++;
            (void)sx_rd_u8(r);
        } else if (depth > 0 && (c == '}' || c == ']')) {
            depth--;
            (void)sx_rd_u8(r);
        } else if (depth > 0 && (c == ',' || c == ':')) {
            (void)sx_rd_u8(r);
        } else {
            skip_word(r);
        }
    } while (depth > 0 && !r->bad);
}

static void member(struct sx_rd *r, bool *has_ttl, int64_t *ttl)
{
    simplex_bytes key = string(r);

    expect(r, ':');
    skip_space(r);
    if (!sx_bytes_eq(key, sx_str("ttl"))) {
        skip_value(r);
        return;
    }
    *has_ttl = !sx_rd_lit(r, "null");
    *ttl = 0;
    if (*has_ttl)
        integer(r, ttl);
}

void sx_rd_notice(struct sx_rd *r, bool *has_ttl, int64_t *ttl)
{
    *has_ttl = false;
    *ttl = 0;
    expect(r, '{');
    skip_space(r);
    if (!sx_rd_lit(r, "}")) {
        member(r, has_ttl, ttl);
        skip_space(r);
        while (sx_rd_lit(r, ",")) {
            member(r, has_ttl, ttl);
            skip_space(r);
        }
        expect(r, '}');
    }
    skip_space(r);
}
