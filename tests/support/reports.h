/* SPDX-License-Identifier: Apache-2.0 */
/* Collects what the reader of the configuration says, for assertions. Header only. */
#ifndef TESTS_REPORTS_H
#define TESTS_REPORTS_H

#include <stdio.h>

#include "config.h"

#define REPORTS_KEPT 128

struct reports {
    unsigned count, errors, warnings;
    unsigned line[REPORTS_KEPT];
    char text[REPORTS_KEPT][512];
};

static inline void reports_add(void *user, enum sx_config_severity severity, unsigned line,
                               const char *text)
{
    struct reports *r = user;

    if (r->count < REPORTS_KEPT) {
        r->line[r->count] = line;
        snprintf(r->text[r->count], sizeof r->text[0], "%s", text);
        r->count++;
    }
    if (severity == SX_CONFIG_ERROR)
        r->errors++;
    else
        r->warnings++;
}

static inline void reports_print(const struct reports *r)
{
    for (unsigned i = 0; i < r->count; i++)
        printf("    %s\n", r->text[i]);
}

#endif
