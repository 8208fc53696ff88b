/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of a file, one at a time, with a bound on their length. */
#ifndef SX_LINES_H
#define SX_LINES_H

#include <stdio.h>

#include "base/base.h"

struct sx_lines {
    FILE *f;
    uint8_t *buf;
    size_t size;
    unsigned line; /* number of the line read last, from 1 */
    long long at;  /* where it begins in the file */
    long long end; /* where the next one does */
};

enum sx_line {
    SX_LINE,      /* a line; without its line feed (and carriage return) */
    SX_LINE_END,  /* the end of the file */
    SX_LINE_TORN, /* the last one, which has no line feed */
    SX_LINE_LONG, /* longer than `max`; skipped up to its line feed */
    SX_LINE_IO,   /* the file cannot be read on: errno */
};

/* False: errno says why (ENOENT: there is no such file; sx_file_error tells of others). */
bool sx_lines_open(struct sx_lines *l, const char *path, size_t max) SIMPLEX_CHECK;
enum sx_line sx_lines_next(struct sx_lines *l, simplex_bytes *line);
void sx_lines_close(struct sx_lines *l);

#endif
