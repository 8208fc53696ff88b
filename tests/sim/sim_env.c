/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In the place of base/clock.c and base/mem.c: virtual time, and a heap that knows its owner, so
 * that what a killed device had can be freed and what a closed agent left is a leak.
 */
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "sim/sim.h"

#define EPOCH INT64_C(1700000000000)

struct sim sim;

/* ---- choices and randomness ---- */

static uint64_t schedule, entropy, luck;

static uint64_t next(uint64_t *state) /* splitmix64 */
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint32_t sim_below(uint32_t n)
{
    if (n < 2)
        return 0;
    if (sim.script == NULL)
        return (uint32_t)(next(&schedule) % n);
    uint32_t v = 0;
    for (unsigned bytes = n > 256 ? 2 : 1; bytes > 0 && sim.script_left > 0; bytes--) {
        v = v << 8 | *sim.script++;
        sim.script_left--;
    }
    return v % n;
}

bool sim_chance(uint32_t percent)
{
    return sim_below(100) < percent;
}

uint32_t sim_luck(uint32_t n)
{
    return n < 2 ? 0 : (uint32_t)(next(&luck) % n);
}

static const char *random_name(void)
{
    return "sim";
}

static uint32_t random_u32(void)
{
    return (uint32_t)next(&entropy);
}

static void random_buf(void *const to, const size_t n)
{
    uint8_t *p = to;
    uint64_t v = 0;

    for (size_t i = 0; i < n; i++) {
        if (i % 8 == 0)
            v = next(&entropy);
        p[i] = (uint8_t)(v >> 8 * (i % 8));
    }
}

static struct randombytes_implementation randomness = {
    .implementation_name = random_name,
    .random = random_u32,
    .buf = random_buf,
};

static void seed_all(uint64_t seed)
{
    static bool installed;

    if (!installed)
        SIM_CHECK(randombytes_set_implementation(&randomness) == 0);
    installed = true;
    sim_prepare(); /* not a choice of the first seed alone */
    schedule = seed;
    entropy = ~seed;
    luck = seed ^ UINT64_C(0x5bd1e995a5a5a5a5);
}

/* ---- clocks ---- */

int64_t sx_mono_ms(void)
{
    sim_point();
    return 1000 + sim.now;
}

int64_t sx_mono_us(void)
{
    return 1000 * sx_mono_ms();
}

int64_t sx_now_ms(void)
{
    sim_point();
    return EPOCH + sim.now + (sim.at != NULL ? sim.at->skew : 0);
}

/* ---- the heap ---- */

struct sim_block {
    struct sim_block *prev, *next;
    struct sim_block **list;
    size_t size;
};

static struct sim_block *worlds;
static int fail_in = -1;
static bool fault_fired;
static size_t live;

static bool fails_now(void)
{
    if (sim.at == NULL || sim_is_proxy(sim.at) || fail_in < 0 ||
        fail_in-- != 0) /* servers are not what is tested */
        return false;
    fault_fired = true;
    return true;
}

void *sx_malloc(size_t n)
{
    struct sim_block *b = fails_now() ? NULL : malloc(sizeof *b + n);

    if (b == NULL)
        return NULL;
    b->list = sim.at != NULL ? &sim.at->blocks : &worlds;
    b->size = n;
    b->prev = NULL;
    b->next = *b->list;
    if (b->next != NULL)
        b->next->prev = b;
    *b->list = b;
    live++;
    return b + 1;
}

void *sx_calloc(size_t count, size_t size)
{
    if (size != 0 && count > SIZE_MAX / 2 / size)
        return NULL;
    void *p = sx_malloc(count * size);
    if (p != NULL)
        memset(p, 0, count * size);
    return p;
}

void sx_free(void *p)
{
    if (p == NULL)
        return;
    struct sim_block *b = (struct sim_block *)p - 1;
    if (b->prev != NULL)
        b->prev->next = b->next;
    else
        *b->list = b->next;
    if (b->next != NULL)
        b->next->prev = b->prev;
    live--;
    free(b);
}

void sx_wipe(void *p, size_t n)
{
    if (n > 0)
        memset(p, 0, n);
}

void sx_free_secret(void *p, size_t n)
{
    if (p != NULL)
        sx_wipe(p, n);
    sx_free(p);
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

char *sx_strdup(const char *s)
{
    return (char *)sx_memdup(sx_str(s));
}

void sx_fault_malloc(unsigned nth)
{
    fault_fired = false;
    fail_in = (int)nth;
}

bool sx_fault_disarm(void)
{
    bool fired = fault_fired;

    fail_in = -1;
    fault_fired = false;
    return fired;
}

size_t sx_fault_live_blocks(void)
{
    return live;
}

size_t sim_heap_total(void)
{
    return live;
}

size_t sim_heap_used(const struct sim_node *n)
{
    size_t count = 0;

    for (const struct sim_block *b = n->blocks; b != NULL; b = b->next)
        count++;
    return count;
}

void sim_heap_drop(struct sim_node *n)
{
    while (n->blocks != NULL)
        sx_free(n->blocks + 1);
}

/* ---- a device's code, and its death ---- */

static jmp_buf death;
static bool mortal;
static uint32_t points;

void sim_kill_in(uint32_t n)
{
    points = n;
}

void sim_point(void)
{
    if (!mortal || points == 0 || --points > 0)
        return;
    mortal = false;
    longjmp(death, 1);
}

/* What is open meanwhile would be left open. Its files may have been frozen: it dies behind that.
 */
void sim_spare(bool on)
{
    mortal = !on && sim.at != NULL;
    if (mortal && sim_files_frozen()) {
        points = 1;
        sim_point();
    }
}

bool sim_app(struct sim_node *n, void (*fn)(struct sim_node *n, void *arg), void *arg)
{
    struct sim_node *volatile who = n;

    SIM_CHECK(sim.at == NULL);
    if (setjmp(death) != 0) {
        sim.at = NULL;
        sim.looping = false;
        sim_trace("%u dies", who->n);
        sim_kill(who);
        return false;
    }
    sim.at = n;
    mortal = true;
    fn(n, arg);
    mortal = false;
    sim.at = NULL;
    return true;
}

bool sim_is_proxy(const struct sim_node *n)
{
    return n >= &sim.nodes[SIM_NODES];
}

void sim_proxy(unsigned server, void (*fn)(struct sim_node *n, void *arg), void *arg)
{
    SIM_CHECK(sim.at == NULL && !mortal);
    sim.at = &sim.nodes[SIM_NODES + server];
    fn(sim.at, arg);
    sim.at = NULL;
}

/* ---- reports ---- */

void sim_trace(const char *fmt, ...)
{
    va_list args;

    if (!sim.trace)
        return;
    (void)fprintf(stderr, "%10.3f  ", (double)sim.now / 1000);
    va_start(args, fmt);
    (void)vfprintf(stderr, fmt, args);
    va_end(args);
    (void)fputc('\n', stderr);
}

void sim_fail(const char *fmt, ...)
{
    va_list args;

    (void)fprintf(stderr, "seed %" PRIu64 " failed after %.3f s: ", sim.seed,
                  (double)sim.now / 1000);
    va_start(args, fmt);
    (void)vfprintf(stderr, fmt, args);
    va_end(args);
    (void)fputc('\n', stderr);
    if (sim.how != NULL)
        (void)fprintf(stderr, "reproduce with: %s\n", sim.how);
    if (sim.failed != NULL)
        sim.failed();
    sim_end();
    exit(1);
}

/* ---- beginning ---- */

void sim_seed(uint64_t seed)
{
    sim.seed = seed;
    seed_all(seed);
    sim_kill_in(0);
    sim.now = 0;
    sim.steps = 0;
    sim.hostile = NULL;
    sim.at = NULL;
    sim.looping = false;
    mortal = false;
    (void)sx_fault_disarm();
}
