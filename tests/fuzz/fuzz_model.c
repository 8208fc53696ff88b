/* SPDX-License-Identifier: Apache-2.0 */
/* Devices, their network and their servers, and all that can go wrong with them. */
#include "fuzz_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_model(data, size, ~0u);
    return 0;
}
