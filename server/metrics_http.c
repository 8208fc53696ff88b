/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As much of HTTP as a GET of one path needs, and no more: a request without a body, its head
 * checked strictly, the connection closed behind the answer. A Host that is no name of this
 * machine is refused, so that a page in a browser cannot read metrics by a name that it makes
 * point to 127.0.0.1.
 */
#include "metrics_http.h"

#include <stdio.h>
#include <strings.h>

/* ---- the request ---- */

static bool take_line(simplex_bytes *in, simplex_bytes *line)
{
    const uint8_t *lf = in->len == 0 ? NULL : memchr(in->ptr, '\n', in->len);

    if (lf == NULL)
        return false;
    size_t n = (size_t)(lf - in->ptr);
    *line = sx_bytes(in->ptr, n);
    *in = sx_bytes(lf + 1, in->len - n - 1);
    return true;
}

/* Lines end with CR LF, and hold printable characters. */
static bool clean(simplex_bytes *line)
{
    if (line->len == 0 || line->ptr[line->len - 1] != '\r')
        return false;
    line->len--;
    for (size_t i = 0; i < line->len; i++) {
        if (line->ptr[i] != '\t' && (line->ptr[i] < ' ' || line->ptr[i] > '~'))
            return false;
    }
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

static enum sx_http_result request_line(simplex_bytes line, bool *head)
{
    simplex_bytes method = take_word(&line), target = take_word(&line), version = take_word(&line);

    if (line.len > 0 || target.len == 0 || target.ptr[0] != '/' || version.len != 8 ||
        memcmp(version.ptr, "HTTP/", 5) != 0)
        return SX_HTTP_BAD_REQUEST;
    if (!is(version, "HTTP/1.1") && !is(version, "HTTP/1.0"))
        return SX_HTTP_VERSION;
    *head = is(method, "HEAD");
    if (!*head && !is(method, "GET"))
        return SX_HTTP_NOT_ALLOWED;
    return is(target, "/metrics") ? SX_HTTP_METRICS : SX_HTTP_NOT_FOUND;
}

static bool is_local(simplex_bytes host)
{
    static const char *const names[] = { "127.0.0.1", "localhost", "[::1]" };

    for (size_t i = 0; i < SX_COUNT(names); i++) {
        size_t n = strlen(names[i]);
        if (host.len >= n && strncasecmp((const char *)host.ptr, names[i], n) == 0 &&
            (host.len == n || host.ptr[n] == ':'))
            return true;
    }
    return false;
}

static bool named(simplex_bytes name, const char *text)
{
    return name.len == strlen(text) && strncasecmp((const char *)name.ptr, text, name.len) == 0;
}

static bool is_token(simplex_bytes s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] <= ' ' || strchr("()<>@,;:\\\"/[]?={}", s.ptr[i]) != NULL)
            return false;
    return s.len > 0;
}

static bool header_valid(simplex_bytes line)
{
    const uint8_t *colon = line.len == 0 ? NULL : memchr(line.ptr, ':', line.len);

    if (colon == NULL)
        return false;
    simplex_bytes name = sx_bytes(line.ptr, (size_t)(colon - line.ptr));
    simplex_bytes value = sx_bytes(colon + 1, line.len - name.len - 1);
    while (value.len > 0 && (value.ptr[0] == ' ' || value.ptr[0] == '\t'))
        value = sx_bytes(value.ptr + 1, value.len - 1);
    if (!is_token(name))
        return false;
    if (named(name, "Host"))
        return is_local(value);
    return !named(name, "Transfer-Encoding") && (!named(name, "Content-Length") || is(value, "0"));
}

enum sx_http_result sx_http_parse(simplex_bytes in, bool *head)
{
    simplex_bytes left = in, line;
    enum sx_http_result result = SX_HTTP_MORE;

    *head = false;
    while (take_line(&left, &line)) {
        if (!clean(&line))
            return SX_HTTP_BAD_REQUEST;
        if (result == SX_HTTP_MORE)
            result = request_line(line, head);
        else if (line.len == 0)
            return left.len == 0 ? result : SX_HTTP_BAD_REQUEST; /* a body, or a second request */
        else if (!header_valid(line))
            return SX_HTTP_BAD_REQUEST;
        if (result == SX_HTTP_BAD_REQUEST)
            return result;
    }
    return in.len >= SX_HTTP_HEAD_MAX ? SX_HTTP_TOO_LARGE : SX_HTTP_MORE;
}

/* ---- the answer ---- */

void sx_http_answer(struct sx_wr *w, enum sx_http_result what, size_t body_len, bool head)
{
    static const char *const status[] = {
        [SX_HTTP_METRICS] = "200 OK",
        [SX_HTTP_BAD_REQUEST] = "400 Bad Request",
        [SX_HTTP_NOT_FOUND] = "404 Not Found",
        [SX_HTTP_NOT_ALLOWED] = "405 Method Not Allowed",
        [SX_HTTP_TOO_LARGE] = "431 Request Header Fields Too Large",
        [SX_HTTP_VERSION] = "505 HTTP Version Not Supported",
    };
    char text[320];
    bool ok = what == SX_HTTP_METRICS;
    const char *body = ok ? "" : status[what];

    snprintf(text, sizeof(text),
             "HTTP/1.1 %s\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
             "Content-Length: %zu\r\n%sCache-Control: no-store\r\nConnection: close\r\n\r\n%s%s",
             status[what], ok ? body_len : strlen(body) + 1,
             what == SX_HTTP_NOT_ALLOWED ? "Allow: GET, HEAD\r\n" : "", head ? "" : body,
             ok || head ? "" : "\n");
    sx_wr_text(w, text);
}
