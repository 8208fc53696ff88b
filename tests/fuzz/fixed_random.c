/* SPDX-License-Identifier: Apache-2.0 */
/*
 * With -seed=N a target is to do the same in each run, so its keys and ids are the same as well:
 * they come from a generator that begins with N. Without -seed they are random as ever.
 */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);

static uint64_t at;

static const char *fixed_name(void)
{
    return "fixed";
}

/* SplitMix64. */
static uint64_t next_u64(void)
{
    uint64_t x = at += 0x9e3779b97f4a7c15;

    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

static uint32_t fixed_u32(void)
{
    return (uint32_t)next_u64();
}

static void fixed_buf(void *const to, const size_t n)
{
    for (size_t i = 0; i < n; i += sizeof(uint64_t)) {
        uint64_t x = next_u64();
        memcpy((uint8_t *)to + i, &x, n - i < sizeof x ? n - i : sizeof x);
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static struct randombytes_implementation fixed = { .implementation_name = fixed_name,
                                                       .random = fixed_u32,
                                                       .buf = fixed_buf };

    for (int i = 1; i < *argc; i++)
        if (strncmp((*argv)[i], "-seed=", 6) == 0)
            at = strtoull((*argv)[i] + 6, NULL, 10);
    return at == 0 ? 0 : randombytes_set_implementation(&fixed);
}
