/* SPDX-License-Identifier: Apache-2.0 */
/* For programs whose arguments are no options: --help, or what is meant for another program, must
 * not be taken for a folder or a number and measured with. */
#ifndef BENCH_USAGE_H
#define BENCH_USAGE_H

#include <stdio.h>
#include <stdlib.h>

static inline void bench_no_options(int argc, char **argv, const char *usage)
{
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] == '-') {
            fprintf(stderr, "Usage: %s\n", usage);
            exit(2);
        }
    }
}

#endif
