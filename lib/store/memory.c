/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The database's heap. Its caches hold keys and plaintext, so blocks are wiped when freed.
 * SQLCipher's own cipher_memory_security does that too, but locks and unlocks each block with two
 * system calls, which makes statements ten times slower (bench/bench_store.c).
 *
 * The setting is one of the process and can only be made before the database library is used for
 * the first time; where the host application was earlier, its choice stands.
 */
#include <stdatomic.h>
#include <stdlib.h>

#include "store/db.h"
#include "store/memory.h"

#define HEAD 16 /* the length, and the alignment of what follows */

static atomic_bool faults;

void sx_store_fault_memory(bool on)
{
    atomic_store(&faults, on);
}

/* Tests make our allocator fail; the database's blocks are not counted as ours, since its globals
 * live as long as the process. */
static bool fails(void)
{
    if (!atomic_load_explicit(&faults, memory_order_relaxed))
        return false;
    void *probe = sx_malloc(1);
    sx_free(probe);
    return probe == NULL;
}

static size_t length(const void *block)
{
    size_t n;

    memcpy(&n, (const uint8_t *)block - HEAD, sizeof n);
    return n;
}

static void *mem_alloc(int n)
{
    if (n <= 0 || fails())
        return NULL;
    uint8_t *p = malloc(HEAD + (size_t)n);
    if (p == NULL)
        return NULL;
    size_t size = (size_t)n;
    memcpy(p, &size, sizeof size);
    return p + HEAD;
}

static void mem_free(void *block)
{
    if (block == NULL)
        return;
    size_t n = length(block);
    sx_wipe(block, n);
    free((uint8_t *)block - HEAD);
}

static void *mem_realloc(void *block, int n)
{
    size_t old = length(block);
    void *p = mem_alloc(n);

    if (p == NULL)
        return NULL;
    memcpy(p, block, old < (size_t)n ? old : (size_t)n);
    mem_free(block);
    return p;
}

static int mem_size(void *block)
{
    return block == NULL ? 0 : (int)length(block);
}

static int mem_roundup(int n)
{
    return (n + 7) & ~7;
}

static int mem_init(void *unused)
{
    (void)unused;
    return SQLITE_OK;
}

static void mem_shutdown(void *unused)
{
    (void)unused;
}

void sx_db_memory(void)
{
    static const sqlite3_mem_methods methods = { mem_alloc,   mem_free, mem_realloc,  mem_size,
                                                 mem_roundup, mem_init, mem_shutdown, NULL };
    static atomic_int stage; /* 0: not begun, 1: one thread is at it, 2: done */
    int expected = 0;

    if (!atomic_compare_exchange_strong(&stage, &expected, 1)) {
        while (atomic_load(&stage) != 2) /* a few instructions: nobody may open a database yet */
            ;
        return;
    }
    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &methods) != SQLITE_OK)
        sx_log(SX_LOG_WARN, "the host uses the database library: its freed memory is not wiped");
    atomic_store(&stage, 2);
}
