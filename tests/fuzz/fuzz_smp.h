/* SPDX-License-Identifier: Apache-2.0 */
/* What the SMP targets share. */
#ifndef TESTS_FUZZ_SMP_H
#define TESTS_FUZZ_SMP_H

#include <stdlib.h>

#include "wire/smp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Not assert: it must hold in release builds as well. */
#define CHECK(x)     \
    do {             \
        if (!(x))    \
            abort(); \
    } while (0)

#define FUZZ_CAP 100000 /* more than any input grows to */

/* The first byte chooses the version. */
static inline uint16_t fuzz_version(uint8_t b)
{
    return (uint16_t)(SX_SMP_MIN + b % (SX_SMP_MAX - SX_SMP_MIN + 1));
}

static inline bool fuzz_starts_with(simplex_bytes s, simplex_bytes start)
{
    return s.len >= start.len && sx_bytes_eq(sx_bytes(s.ptr, start.len), start);
}

#endif
