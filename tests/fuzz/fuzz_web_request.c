/* SPDX-License-Identifier: Apache-2.0 */
/* Heads of HTTP requests: wherever they are cut, the same comes out, and no path leaves the root.
 */
#include "fuzz.h"

#include "web_request.h"

static bool inside(simplex_bytes part, const uint8_t *data, size_t size)
{
    return part.len == 0 || (part.ptr >= data && part.len <= size - (size_t)(part.ptr - data));
}

static void check_path(const char *path)
{
    for (const char *p = path; *p != 0;) {
        size_t n = strcspn(p, "/");
        CHECK(n > 0);
        CHECK(p[0] != '.' || (p == path && n == 11 && memcmp(p, ".well-known", n) == 0));
        for (size_t i = 0; i < n; i++)
            CHECK((uint8_t)p[i] >= ' ' && p[i] != 0x7f && p[i] != '\\');
        CHECK(p[n] == 0 || p[n + 1] != 0);
        p += n + (p[n] == '/');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct sx_web_request r, again;
    simplex_bytes in = sx_bytes(data, size < SX_WEB_HEAD_MAX ? size : SX_WEB_HEAD_MAX);
    size_t n = sx_web_request_read(in, &r);

    CHECK(n <= in.len);
    CHECK(n > 0 || in.len < SX_WEB_HEAD_MAX);
    if (n == 0)
        return 0;
    CHECK(r.refused == 0 || (r.refused >= 400 && r.refused < 600 && r.close && n == in.len));
    CHECK(inside(r.if_none_match, in.ptr, n) && inside(r.if_modified_since, in.ptr, n));
    if (r.refused != 0)
        return 0;
    check_path(r.path);
    CHECK(sx_web_request_read(sx_bytes(in.ptr, n), &again) == n);
    CHECK(again.refused == 0 && strcmp(again.path, r.path) == 0 && again.close == r.close);
    if (n > 0)
        CHECK(sx_web_request_read(sx_bytes(in.ptr, n - 1), &again) == 0);
    return 0;
}
