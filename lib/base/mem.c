/* SPDX-License-Identifier: Apache-2.0 */
/* The one door to the heap, with a fault injector that costs one relaxed load when idle. */
#include <stdatomic.h>
#include <stdlib.h>

#include "base/base.h"

static atomic_int fail_in = -1; /* allocations until the one that fails; -1: off */
static atomic_bool fired;
static atomic_size_t live;

static bool fails_now(void)
{
    if (atomic_load_explicit(&fail_in, memory_order_relaxed) < 0)
        return false;
    if (atomic_fetch_sub(&fail_in, 1) != 0)
        return false;
    atomic_store(&fired, true);
    return true;
}

static void *counted(void *p)
{
#ifndef NDEBUG
    if (p != NULL)
        atomic_fetch_add_explicit(&live, 1, memory_order_relaxed);
#endif
    return p;
}

void *sx_malloc(size_t n)
{
    return fails_now() ? NULL : counted(malloc(n == 0 ? 1 : n));
}

void *sx_calloc(size_t count, size_t size)
{
    if (fails_now())
        return NULL;
    return counted(count == 0 || size == 0 ? calloc(1, 1) : calloc(count, size));
}

void sx_free(void *p)
{
#ifndef NDEBUG
    if (p != NULL)
        atomic_fetch_sub_explicit(&live, 1, memory_order_relaxed);
#endif
    free(p);
}

void sx_free_secret(void *p, size_t n)
{
    if (p != NULL)
        sx_wipe(p, n);
    sx_free(p);
}

char *sx_strdup(const char *s)
{
    return (char *)sx_memdup(sx_str(s));
}

uint8_t *sx_memdup(simplex_bytes s)
{
    uint8_t *p = sx_malloc(s.len + 1);

    if (p == NULL)
        return NULL;
    if (s.len > 0)
        memcpy(p, s.ptr, s.len);
    p[s.len] = 0;
    return p;
}

void sx_wipe(void *p, size_t n)
{
    volatile uint8_t *v = p;

#if defined(__GLIBC__)
    (void)v;
    explicit_bzero(p, n);
#else
    while (n-- > 0)
        *v++ = 0;
#endif
}

void sx_fault_malloc(unsigned nth)
{
    atomic_store(&fired, false);
    atomic_store(&fail_in, (int)nth);
}

bool sx_fault_disarm(void)
{
    atomic_store(&fail_in, -1);
    return atomic_exchange(&fired, false);
}

size_t sx_fault_live_blocks(void)
{
    return atomic_load(&live);
}
