/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything a contact can send: device 1 encrypts what the script says with ratchets that are in
 * order. Device 0 must stay well, and so must its connection with device 2.
 */
#include "fuzz_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    plan_contact = true;
    fuzz_model(data, size, PLAN_SWITCH | PLAN_SYNC | PLAN_NET);
    return 0;
}
