/* SPDX-License-Identifier: Apache-2.0 */
/* Backups, restored or not, and other keys, while devices die and their files are encrypted. */
#include "fuzz_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    plan_all = true;
    fuzz_model(data, size, PLAN_BACKUP | PLAN_KEY | PLAN_COPY | PLAN_KILL | PLAN_FAULT);
    return 0;
}
