/* SPDX-License-Identifier: Apache-2.0 */
/* Reading ini text line by line. */
#include "ini.h"

#define TEXT(x) #x
#define NUMBER(x) TEXT(x)

void sx_ini_start(struct sx_ini *ini, simplex_bytes text)
{
    *ini = (struct sx_ini){ .in = sx_rd_init(text) };
    (void)sx_rd_lit(&ini->in, "\xef\xbb\xbf");
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

simplex_bytes sx_ini_trim(simplex_bytes s)
{
    while (s.len > 0 && is_blank(s.ptr[0]))
        s = sx_bytes(s.ptr + 1, s.len - 1);
    while (s.len > 0 && is_blank(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

/* Without its end; CR belongs to the end. */
static simplex_bytes take_line(struct sx_ini *ini)
{
    const uint8_t *lf = memchr(ini->in.p, '\n', ini->in.left);
    size_t n = lf == NULL ? ini->in.left : (size_t)(lf - ini->in.p);
    simplex_bytes s = sx_rd_take(&ini->in, n);

    if (lf != NULL)
        (void)sx_rd_u8(&ini->in);
    if (s.len > 0 && s.ptr[s.len - 1] == '\r')
        s.len--;
    ini->line++;
    return s;
}

static bool has_control(simplex_bytes s)
{
    for (size_t i = 0; i < s.len; i++) {
        if ((s.ptr[i] < ' ' && s.ptr[i] != '\t') || s.ptr[i] == 0x7f)
            return true;
    }
    return false;
}

static void bad(struct sx_ini_item *out, const char *problem)
{
    out->kind = SX_INI_BAD;
    out->problem = problem;
}

static bool is_comment(simplex_bytes s)
{
    return s.ptr[0] == '#' || s.ptr[0] == ';';
}

static void take_section(struct sx_ini *ini, simplex_bytes s, struct sx_ini_item *out)
{
    const uint8_t *end = memchr(s.ptr, ']', s.len);

    if (end == NULL) {
        bad(out, "a section ends with ]: write [NAME]");
        return;
    }
    simplex_bytes name = sx_ini_trim(sx_bytes(s.ptr + 1, (size_t)(end - s.ptr) - 1));
    simplex_bytes rest = sx_ini_trim(sx_bytes(end + 1, s.len - (size_t)(end - s.ptr) - 1));
    if (name.len == 0 || memchr(name.ptr, '[', name.len) != NULL) {
        bad(out, "a section has a name without brackets: write [NAME]");
        return;
    }
    ini->section = name;
    out->kind = SX_INI_SECTION;
    out->section = name;
    if (rest.len > 0 && !is_comment(rest))
        out->problem = "what stands behind ] has no effect: write [NAME] alone in the line";
}

static void take_value(simplex_bytes s, struct sx_ini_item *out)
{
    size_t at = 0;

    while (at < s.len && s.ptr[at] != ':' && s.ptr[at] != '=')
        at++;
    simplex_bytes key = sx_ini_trim(sx_bytes(s.ptr, at));
    if (at == s.len || key.len == 0) {
        bad(out, "this is no setting: write \"key: value\", or # before a comment");
        if (at == s.len)
            out->kind = SX_INI_JUNK;
        return;
    }
    out->kind = SX_INI_VALUE;
    out->key = key;
    out->value = sx_ini_trim(sx_bytes(s.ptr + at + 1, s.len - at - 1));
}

void sx_ini_next(struct sx_ini *ini, struct sx_ini_item *out)
{
    *out = (struct sx_ini_item){ .kind = SX_INI_END };
    while (ini->in.left > 0) {
        simplex_bytes raw = take_line(ini);
        simplex_bytes s = sx_ini_trim(raw);

        out->line = ini->line;
        out->section = ini->section;
        if (raw.len > SX_INI_LINE_MAX)
            bad(out, "the line is too long: write at most " NUMBER(SX_INI_LINE_MAX) " bytes");
        else if (has_control(raw))
            bad(out, "there is a NUL or another control character in the line: write it again in a "
                     "text editor");
        else if (s.len == 0 || is_comment(s))
            continue;
        else if (s.ptr[0] == '[')
            take_section(ini, s, out);
        else
            take_value(s, out);
        return;
    }
    out->line = ini->line;
    out->section = ini->section;
}
