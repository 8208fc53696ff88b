/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>

#include "base/base.h"

static sx_log_fn *log_fn;
static void *log_user;
static enum sx_log_level log_max;

void sx_log_set(sx_log_fn *fn, void *user, enum sx_log_level max)
{
    log_fn = fn;
    log_user = user;
    log_max = max;
}

void sx_log(enum sx_log_level level, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    if (log_fn == NULL || level > log_max)
        return;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    log_fn(log_user, level, text);
}
