/* SPDX-License-Identifier: Apache-2.0 */
#include "web_request.h"

#include <strings.h>

enum {
    BAD = 400,
    NOT_FOUND = 404,
    NOT_ALLOWED = 405,
    BODY = 413,
    LONG_TARGET = 414,
    LONG_HEAD = 431,
    VERSION = 505
};

struct head { /* what is known of it so far */
    struct sx_web_request *r;
    bool is_1_0;
    unsigned hosts;
};

/* ---- text ---- */

/* Up to CR LF, which is taken too. */
static bool take_line(simplex_bytes *in, simplex_bytes *line, bool *bad)
{
    const uint8_t *lf = in->len == 0 ? NULL : memchr(in->ptr, '\n', in->len);

    if (lf == NULL)
        return false;
    size_t n = (size_t)(lf - in->ptr);
    *bad = n == 0 || in->ptr[n - 1] != '\r';
    *line = sx_bytes(in->ptr, *bad ? n : n - 1);
    *in = sx_bytes(lf + 1, in->len - n - 1);
    for (size_t i = 0; i < line->len; i++)
        *bad = *bad || (line->ptr[i] < ' ' && line->ptr[i] != '\t') || line->ptr[i] == 0x7f;
    return true;
}

static simplex_bytes take_word(simplex_bytes *line)
{
    const uint8_t *space = line->len == 0 ? NULL : memchr(line->ptr, ' ', line->len);
    size_t n = space == NULL ? line->len : (size_t)(space - line->ptr);
    simplex_bytes word = sx_bytes(line->ptr, n);

    *line = space == NULL ? sx_bytes(NULL, 0) : sx_bytes(space + 1, line->len - n - 1);
    return word;
}

static bool is(simplex_bytes s, const char *text)
{
    return sx_bytes_eq(s, sx_str(text));
}

static bool is_nocase(simplex_bytes s, const char *text)
{
    return s.len == strlen(text) && strncasecmp((const char *)s.ptr, text, s.len) == 0;
}

static bool is_token(simplex_bytes s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] <= ' ' || s.ptr[i] > '~' || strchr("()<>@,;:\\\"/[]?={}", s.ptr[i]) != NULL)
            return false;
    return s.len > 0;
}

static simplex_bytes trimmed(simplex_bytes s)
{
    while (s.len > 0 && (s.ptr[0] == ' ' || s.ptr[0] == '\t'))
        s = sx_bytes(s.ptr + 1, s.len - 1);
    while (s.len > 0 && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
        s.len--;
    return s;
}

/* One of the words of a list with commas. */
static bool has_word(simplex_bytes list, const char *word)
{
    while (list.len > 0) {
        const uint8_t *comma = memchr(list.ptr, ',', list.len);
        size_t n = comma == NULL ? list.len : (size_t)(comma - list.ptr);
        if (is_nocase(trimmed(sx_bytes(list.ptr, n)), word))
            return true;
        n += comma != NULL;
        list = sx_bytes(list.ptr + n, list.len - n);
    }
    return false;
}

/* ---- the path ---- */

static int hex(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A slash that was encoded is no separator, and no name has one. */
static unsigned decode_path(simplex_bytes in, char out[SX_WEB_PATH_MAX])
{
    size_t n = 0;

    for (size_t i = 0; i < in.len; i++) {
        int c = in.ptr[i];
        if (c == '%') {
            int high = in.len - i > 2 ? hex(in.ptr[i + 1]) : -1;
            int low = high < 0 ? -1 : hex(in.ptr[i + 2]);
            if (low < 0)
                return BAD;
            c = high * 16 + low;
            i += 2;
            if (c == '/')
                return NOT_FOUND;
        }
        if (c < ' ' || c == 0x7f || c == '\\')
            return NOT_FOUND;
        if (n == SX_WEB_PATH_MAX - 1)
            return LONG_TARGET;
        out[n++] = (char)c;
    }
    out[n] = 0;
    return 0;
}

static unsigned check_names(const char *path)
{
    static const char hidden[] = ".well-known"; /* RFC 8615: the only one that is to be seen */

    for (const char *p = path; *p != 0;) {
        size_t n = strcspn(p, "/");
        bool known = p == path && n == sizeof(hidden) - 1 && memcmp(p, hidden, n) == 0;
        if (n == 0 || (p[0] == '.' && !known))
            return NOT_FOUND;
        p += n + (p[n] == '/');
    }
    return 0;
}

static unsigned read_path(simplex_bytes target, char out[SX_WEB_PATH_MAX])
{
    size_t n = 1;

    while (n < target.len && target.ptr[n] != '?' && target.ptr[n] != '#')
        n++;
    unsigned refused = decode_path(sx_bytes(target.ptr + 1, n - 1), out);
    if (refused != 0)
        return refused;
    if ((refused = check_names(out)) != 0)
        return refused;
    size_t len = strlen(out);
    if (len > 0 && out[len - 1] == '/') /* a folder: its page is looked for anyway */
        out[len - 1] = 0;
    return 0;
}

/* "http://host/path" is as good as "/path" (RFC 9112 section 3.2.2). */
static bool strip_origin(simplex_bytes *target)
{
    static const char *const schemes[] = { "http://", "https://" };

    for (size_t i = 0; i < SX_COUNT(schemes); i++) {
        size_t n = strlen(schemes[i]);
        if (target->len < n || strncasecmp((const char *)target->ptr, schemes[i], n) != 0)
            continue;
        const uint8_t *slash = memchr(target->ptr + n, '/', target->len - n);
        if (slash == NULL)
            return false;
        *target = sx_bytes(slash, target->len - (size_t)(slash - target->ptr));
    }
    return target->len > 0 && target->ptr[0] == '/';
}

/* ---- lines ---- */

static unsigned request_line(struct head *h, simplex_bytes line)
{
    simplex_bytes method = take_word(&line), target = take_word(&line), version = take_word(&line);

    if (line.len > 0 || !is_token(method) || version.len != 8 ||
        memcmp(version.ptr, "HTTP/", 5) != 0)
        return BAD;
    h->is_1_0 = is(version, "HTTP/1.0");
    if (!h->is_1_0 && !is(version, "HTTP/1.1"))
        return VERSION;
    h->r->head = is(method, "HEAD");
    if (!h->r->head && !is(method, "GET"))
        return NOT_ALLOWED;
    return strip_origin(&target) ? read_path(target, h->r->path) : BAD;
}

static unsigned header(struct head *h, simplex_bytes line)
{
    const uint8_t *colon = memchr(line.ptr, ':', line.len);

    if (colon == NULL)
        return BAD;
    simplex_bytes name = sx_bytes(line.ptr, (size_t)(colon - line.ptr));
    simplex_bytes value = trimmed(sx_bytes(colon + 1, line.len - name.len - 1));
    if (!is_token(name)) /* a continued line too: it begins with a blank */
        return BAD;
    if (is_nocase(name, "Host"))
        h->hosts++;
    else if (is_nocase(name, "Connection"))
        h->r->close = h->r->close || has_word(value, "close");
    else if (is_nocase(name, "If-None-Match"))
        h->r->if_none_match = value;
    else if (is_nocase(name, "If-Modified-Since"))
        h->r->if_modified_since = value;
    else if (is_nocase(name, "Transfer-Encoding"))
        return BODY;
    else if (is_nocase(name, "Content-Length") && !is(value, "0"))
        return BODY;
    return 0;
}

/* The first thing that is wrong decides, but the head is read to its end: the client reads the
 * answer when it has sent it. */
size_t sx_web_request_read(simplex_bytes in, struct sx_web_request *r)
{
    struct head h = { .r = r };
    simplex_bytes left = in, line;
    bool first = true, bad;

    *r = (struct sx_web_request){ 0 };
    while (take_line(&left, &line, &bad)) {
        unsigned wrong = 0;
        if (!bad && !first && line.len == 0) {
            if (r->refused == 0 && h.hosts != 1 && !(h.is_1_0 && h.hosts == 0))
                r->refused = BAD;
            r->close = r->close || h.is_1_0 || r->refused != 0;
            return r->refused != 0 ? in.len : in.len - left.len;
        }
        if (bad)
            wrong = BAD;
        else
            wrong = first ? request_line(&h, line) : header(&h, line);
        first = false;
        if (r->refused == 0)
            r->refused = wrong;
        if (r->refused == BAD)
            break; /* no telling where it ends */
    }
    if (r->refused != BAD && in.len < SX_WEB_HEAD_MAX)
        return 0;
    if (r->refused == 0)
        r->refused = LONG_HEAD;
    r->close = true;
    return in.len;
}
