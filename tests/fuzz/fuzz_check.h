/* SPDX-License-Identifier: Apache-2.0 */
/* An older name of fuzz.h. */
#ifndef TESTS_FUZZ_CHECK_H
#define TESTS_FUZZ_CHECK_H

#include "fuzz.h"

#endif
