/* SPDX-License-Identifier: Apache-2.0 */
/* When noise is due. No clock and no network in here. */
#include "agent/noise.h"

/* ---- the exponential distribution ---- */

/* log2(m / 2^31) of a uniform m in [2^31, 2^32), in units of 2^-31, by squaring. */
static uint32_t log2_fraction(uint32_t m)
{
    uint32_t log = 0;

    for (int i = 0; i < 31; i++) {
        uint64_t sq = (uint64_t)m * m; /* in [2^62, 2^64) */
        bool carry = sq >> 63 != 0;
        log = log << 1 | carry;
        m = (uint32_t)(sq >> (carry ? 32 : 31));
    }
    return log;
}

/*
 * -ln U for a uniform U: the number of halvings above U is geometric and exact, the rest is a
 * uniform mantissa. Integers alone: the same on every machine.
 */
int64_t sx_noise_exponential(int64_t mean)
{
    static const uint64_t ln2 = 1488522236; /* 2^31 ln 2 */
    uint64_t tosses, zeros = 0, e;
    uint32_t mantissa;

    sx_random(&tosses, sizeof tosses);
    sx_random(&mantissa, sizeof mantissa);
    while (zeros < 64 && (tosses >> zeros & 1) == 0)
        zeros++;
    /* -log2 U in units of 2^-31, then -ln U in units of 2^-20 */
    e = ((zeros + 1) << 31) - log2_fraction(mantissa | UINT32_C(1) << 31);
    e = (e >> 11) * (ln2 >> 11) >> 20;
    return (int64_t)(((uint64_t)mean * e) >> 20);
}

/* ---- slots ---- */

static const int64_t costs[SX_NOISE_KINDS] = {
    [SX_NOISE_PING] = SX_NOISE_COST_COMMAND,
    [SX_NOISE_LOOP] = SX_NOISE_COST_LOOP,
    [SX_NOISE_REPEAT] = SX_NOISE_COST_COMMAND,
};

static int64_t kinds_of(uint32_t bits)
{
    int64_t n = 0;

    for (int k = 0; k < SX_NOISE_KINDS; k++)
        n += bits >> k & 1;
    return n;
}

/* Half the budget, in equal parts. */
int64_t sx_noise_plan_mean(const struct sx_noise_plan *p, enum sx_noise_kind kind)
{
    int64_t mean = 2 * costs[kind] * kinds_of(p->kinds) * SX_NOISE_HOUR / p->budget;

    return mean > 0 ? mean : 1;
}

static bool has_kind(const struct sx_noise_plan *p, int kind)
{
    return p->budget > 0 && (p->kinds >> kind & 1) != 0;
}

static void draw(struct sx_noise_plan *p, int kind, int64_t from)
{
    p->next[kind] =
        has_kind(p, kind)
            ? from + sx_noise_exponential(sx_noise_plan_mean(p, (enum sx_noise_kind)kind))
            : INT64_MAX;
}

void sx_noise_plan_set(struct sx_noise_plan *p, int64_t budget, uint32_t kinds, int64_t now)
{
    int64_t most = budget / 4;

    if (p->tokens > most || p->budget == 0)
        p->tokens = p->tokens < most ? p->tokens : most;
    p->budget = budget;
    p->kinds = kinds;
    p->filled_at = now;
    p->seen = now;
    for (int k = 0; k < SX_NOISE_KINDS; k++)
        draw(p, k, now);
}

int64_t sx_noise_plan_next(const struct sx_noise_plan *p)
{
    int64_t next = INT64_MAX;

    for (int k = 0; k < SX_NOISE_KINDS; k++)
        next = p->next[k] < next ? p->next[k] : next;
    return next;
}

bool sx_noise_plan_due(struct sx_noise_plan *p, int64_t now, enum sx_noise_kind *kind)
{
    if (now < p->seen) { /* the clock went back: what was drawn may be far away now */
        for (int k = 0; k < SX_NOISE_KINDS; k++)
            draw(p, k, now);
    }
    p->seen = now;
    for (int k = 0; k < SX_NOISE_KINDS; k++) {
        if (p->next[k] > now)
            continue;
        bool late = now - p->next[k] > SX_NOISE_LATE;
        /* From the slot, not from now: a loop that is late now and then changes no distance. */
        draw(p, k, late ? now : p->next[k]);
        if (late) {
            k--; /* the distance to the next is memoryless: nothing is known of it yet */
            continue;
        }
        *kind = (enum sx_noise_kind)k;
        return true;
    }
    return false;
}

/* ---- the budget ---- */

static void fill(struct sx_noise_plan *p, int64_t now)
{
    int64_t most = p->budget / 4, rate = p->budget / 4 * 3;
    int64_t passed = now - p->filled_at, bytes;

    if (passed <= 0) {
        p->filled_at = now; /* a clock that went back gives nothing */
        return;
    }
    if (passed >= SX_NOISE_HOUR) {
        p->tokens = most;
        p->filled_at = now;
        return;
    }
    bytes = rate * passed / SX_NOISE_HOUR;
    p->tokens = p->tokens + bytes < most ? p->tokens + bytes : most;
    if (bytes > 0) /* what is less than a byte is not forgotten */
        p->filled_at = now - (rate * passed % SX_NOISE_HOUR) / rate;
}

bool sx_noise_plan_spend(struct sx_noise_plan *p, int64_t bytes, int64_t now)
{
    if (p->budget == 0)
        return false;
    fill(p, now);
    if (p->tokens < bytes)
        return false;
    p->tokens -= bytes;
    return true;
}

/* ---- messages in the place of noise ---- */

void sx_noise_owe(uint32_t *debt)
{
    if (*debt < SX_NOISE_DEBT_MAX)
        ++*debt;
}

bool sx_noise_pay(uint32_t *debt)
{
    if (*debt == 0 || sx_random_below(*debt + SX_NOISE_SPREAD) >= *debt)
        return false;
    --*debt;
    return true;
}
