/* SPDX-License-Identifier: Apache-2.0 */
#include "lines.h"

#include <errno.h>

#include "file.h"

bool sx_lines_open(struct sx_lines *l, const char *path, size_t max)
{
    memset(l, 0, sizeof(*l));
    l->size = max;
    l->buf = sx_malloc(max);
    if (l->buf == NULL) {
        errno = ENOMEM;
        return false;
    }
    l->f = sx_file_open(path);
    if (l->f != NULL)
        return true;
    int e = errno;
    sx_free(l->buf);
    l->buf = NULL;
    errno = e;
    return false;
}

enum sx_line sx_lines_next(struct sx_lines *l, simplex_bytes *line)
{
    size_t n = 0;
    bool too_long = false;
    int c;

    *line = sx_bytes(NULL, 0);
    l->at = l->end;
    l->line++;
    while ((c = getc_unlocked(l->f)) != EOF && c != '\n') {
        if (n < l->size)
            l->buf[n++] = (uint8_t)c;
        else
            too_long = true;
        l->end++;
    }
    if (ferror(l->f))
        return SX_LINE_IO;
    if (c == EOF && l->end == l->at)
        return SX_LINE_END;
    if (c == '\n') {
        l->end++;
        if (n > 0 && l->buf[n - 1] == '\r')
            n--;
    }
    *line = sx_bytes(l->buf, n);
    if (c == EOF)
        return SX_LINE_TORN;
    return too_long ? SX_LINE_LONG : SX_LINE;
}

void sx_lines_close(struct sx_lines *l)
{
    if (l->f != NULL)
        (void)fclose(l->f);
    sx_free_secret(l->buf, l->size);
    memset(l, 0, sizeof(*l));
}
