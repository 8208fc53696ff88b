/* SPDX-License-Identifier: Apache-2.0 */
/* What every target includes. */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stdlib.h>

#include "base/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Not assert: it must hold in release builds as well. */
#ifndef CHECK
#define CHECK(x)     \
    do {             \
        if (!(x))    \
            abort(); \
    } while (0)
#endif

#endif
