/* SPDX-License-Identifier: Apache-2.0 */
/* When noise is due: distributions, the budget, and a clock that does as it likes. */
#include <math.h>
#include <stdlib.h>

#include "agent/noise.h"
#include "support/vec.h"

#define N 20000

/* ---- distributions ---- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Kolmogorov-Smirnov against the exponential distribution of this mean. A right generator fails
 * with a probability of 2e-6. */
static void assert_exponential(double *v, size_t n, double mean)
{
    double worst = 0;

    qsort(v, n, sizeof *v, by_value);
    for (size_t i = 0; i < n; i++) {
        double p = 1 - exp(-v[i] / mean);
        worst = fmax(worst, fmax(p - (double)i / (double)n, (double)(i + 1) / (double)n - p));
    }
    if (worst * sqrt((double)n) > 2.63)
        fail_msg("distance %g of %zu samples", worst, n);
}

static void distances_are_exponentially_distributed(void **state)
{
    static double v[N];
    static const int64_t means[] = { 1000000, 123456789, INT64_C(1) << 36 };

    (void)state;
    for (size_t m = 0; m < SX_COUNT(means); m++) {
        double sum = 0;
        for (size_t i = 0; i < N; i++) {
            v[i] = (double)sx_noise_exponential(means[m]);
            assert_true(v[i] >= 0);
            sum += v[i];
        }
        /* six standard deviations */
        assert_true(fabs(sum / N / (double)means[m] - 1) < 6 / sqrt(N));
        assert_exponential(v, N, (double)means[m]);
    }
}

static void neighbours_are_independent(void **state)
{
    double prev = (double)sx_noise_exponential(1000000) / 1e6 - 1, sum = 0;

    (void)state;
    for (size_t i = 0; i < N; i++) {
        double next = (double)sx_noise_exponential(1000000) / 1e6 - 1;
        sum += prev * next;
        prev = next;
    }
    assert_true(fabs(sum / N) < 6 / sqrt(N));
}

static void slots_of_each_target_are_exponential_too(void **state)
{
    struct sx_noise_plan p = { 0 };
    static double v[N];
    enum sx_noise_kind kind;
    int64_t now = 0, last = 0;
    size_t n = 0;

    (void)state;
    sx_noise_plan_set(&p, 1 << 20, 1 << SX_NOISE_PING | 1 << SX_NOISE_LOOP, now);
    double mean = (double)sx_noise_plan_mean(&p, SX_NOISE_LOOP);
    while (n < N) {
        now = sx_noise_plan_next(&p);
        assert_true(sx_noise_plan_due(&p, now, &kind));
        assert_int_not_equal(kind, SX_NOISE_REPEAT);
        if (kind != SX_NOISE_LOOP || sx_random_below(5) != 0)
            continue;
        v[n++] = (double)(now - last);
        last = now;
    }
    assert_exponential(v, N, 5 * mean);
}

/* ---- the budget ---- */

#define SPENT 4096

struct book {
    int64_t at[SPENT], bytes[SPENT];
    size_t n;
};

static void assert_within(const struct book *b, int64_t budget)
{
    int64_t sum = 0;

    for (size_t from = 0, to = 0; to < b->n; to++) {
        sum += b->bytes[to];
        while (b->at[to] - b->at[from] >= SX_NOISE_HOUR)
            sum -= b->bytes[from++];
        assert_true(sum <= budget);
    }
}

static void no_hour_sees_more_than_the_budget(void **state)
{
    static struct book b;
    static const int64_t budgets[] = { SX_NOISE_BUDGET_MIN, 5000000, 60000000 };

    (void)state;
    for (size_t i = 0; i < SX_COUNT(budgets); i++) {
        struct sx_noise_plan p = { 0 };
        int64_t now = 1000;
        memset(&b, 0, sizeof b);
        sx_noise_plan_set(&p, budgets[i], 7, now);
        while (b.n < SPENT) { /* as greedy as can be, with pauses in between */
            int64_t bytes = sx_random_below(2) == 0 ? SX_NOISE_COST_LOOP : SX_NOISE_COST_COMMAND;
            now += sx_random_below(100) == 0 ? sx_random_below(2 * SX_NOISE_HOUR)
                                             : sx_random_below(2000);
            if (!sx_noise_plan_spend(&p, bytes, now))
                continue;
            b.at[b.n] = now;
            b.bytes[b.n++] = bytes;
            if (sx_random_below(50) == 0) /* settings that are set again give nothing */
                sx_noise_plan_set(&p, budgets[i], 7, now);
        }
        assert_within(&b, budgets[i]);
    }
}

static int64_t cost_of(enum sx_noise_kind kind)
{
    return kind == SX_NOISE_LOOP ? SX_NOISE_COST_LOOP : SX_NOISE_COST_COMMAND;
}

static void on_average_half_of_it_is_spent_in_equal_parts(void **state)
{
    struct sx_noise_plan p = { 0 };
    enum sx_noise_kind kind;
    int64_t now = 0, spent[SX_NOISE_KINDS] = { 0 }, refused = 0, slots = 0;
    const int64_t budget = 50 << 20, hours = 400;

    (void)state;
    sx_noise_plan_set(&p, budget, 7, now);
    while ((now = sx_noise_plan_next(&p)) < hours * SX_NOISE_HOUR) {
        assert_true(sx_noise_plan_due(&p, now, &kind));
        slots++;
        if (sx_noise_plan_spend(&p, cost_of(kind), now))
            spent[kind] += cost_of(kind);
        else
            refused++;
    }
    for (int k = 0; k < SX_NOISE_KINDS; k++) {
        double share = (double)spent[k] / (double)(budget * hours);
        assert_true(fabs(share * 6 - 1) < 0.05);
    }
    assert_true(refused * 200 < slots);
}

static void without_a_budget_or_kinds_there_are_no_slots(void **state)
{
    struct sx_noise_plan p = { 0 };
    enum sx_noise_kind kind;

    (void)state;
    sx_noise_plan_set(&p, 0, 7, 5);
    assert_true(sx_noise_plan_next(&p) == INT64_MAX);
    assert_false(sx_noise_plan_due(&p, INT64_MAX - 1, &kind));
    assert_false(sx_noise_plan_spend(&p, 1, 100000));
    sx_noise_plan_set(&p, SX_NOISE_BUDGET_MIN, 0, 5);
    assert_true(sx_noise_plan_next(&p) == INT64_MAX);
    sx_noise_plan_set(&p, SX_NOISE_BUDGET_MAX, 7, 5);
    assert_true(sx_noise_plan_next(&p) < INT64_MAX);
    for (int k = 0; k < SX_NOISE_KINDS; k++)
        assert_true(sx_noise_plan_mean(&p, (enum sx_noise_kind)k) >= 1);
}

/* ---- clocks ---- */

static void what_was_slept_through_does_not_happen_afterwards(void **state)
{
    struct sx_noise_plan p = { 0 };
    enum sx_noise_kind kind;
    int64_t now = 0, spent = 0;

    (void)state;
    sx_noise_plan_set(&p, 100 << 20, 7, now); /* about three slots a second */
    for (int i = 0; i < 1000; i++) {
        int n = 0;
        now += 24 * SX_NOISE_HOUR;
        while (sx_noise_plan_due(&p, now, &kind))
            n++;
        assert_in_range(n, 0, 3);
        assert_true(sx_noise_plan_next(&p) > now);
        assert_true(sx_noise_plan_next(&p) < now + SX_NOISE_HOUR);
    }
    while (sx_noise_plan_spend(&p, SX_BLOCK, now))
        spent += SX_BLOCK;
    assert_true(spent <= 25 << 20);
}

static void a_loop_that_is_late_loses_no_slot(void **state)
{
    struct sx_noise_plan p = { 0 };
    enum sx_noise_kind kind;
    const int64_t end = INT64_C(100) * SX_NOISE_HOUR;
    int64_t n = 0;

    (void)state;
    sx_noise_plan_set(&p, 10 << 20, 1 << SX_NOISE_PING, 0);
    double mean = (double)sx_noise_plan_mean(&p, SX_NOISE_PING);
    for (int64_t now = 0; now < end; now += sx_random_below(20000)) {
        while (sx_noise_plan_due(&p, now, &kind))
            n++;
    }
    assert_true(fabs((double)n * mean / (double)end - 1) < 0.05);
}

static void a_clock_that_goes_back_stops_nothing(void **state)
{
    struct sx_noise_plan p = { 0 };
    enum sx_noise_kind kind;
    const int64_t later = INT64_C(1000) * SX_NOISE_HOUR;
    int64_t spent = 0;

    (void)state;
    sx_noise_plan_set(&p, 10 << 20, 7, later);
    (void)sx_noise_plan_spend(&p, SX_BLOCK, later + SX_NOISE_HOUR);
    assert_false(sx_noise_plan_due(&p, 1000, &kind));
    assert_true(sx_noise_plan_next(&p) < SX_NOISE_HOUR);
    while (sx_noise_plan_spend(&p, SX_BLOCK, 1000))
        spent += SX_BLOCK;
    assert_true(spent <= (10 << 20) / 4);
    assert_false(sx_noise_plan_spend(&p, SX_BLOCK, 1001));
    assert_true(sx_noise_plan_spend(&p, SX_BLOCK, 1000 + SX_NOISE_HOUR));
}

/* ---- messages in the place of noise ---- */

static void each_message_takes_the_place_of_one_slot(void **state)
{
    uint32_t debt = 0;
    unsigned paid = 0, slots = 0;

    (void)state;
    assert_false(sx_noise_pay(&debt));
    for (int i = 0; i < 20; i++)
        sx_noise_owe(&debt);
    while (debt > 0) {
        paid += sx_noise_pay(&debt);
        assert_true(++slots < 10000);
    }
    assert_int_equal(paid, 20);
    assert_false(sx_noise_pay(&debt));
    for (int i = 0; i < 1000; i++)
        sx_noise_owe(&debt);
    assert_int_equal(debt, SX_NOISE_DEBT_MAX);
}

/* Messages at random, noise at twice the rate: together they are as many as noise alone. */
static void the_number_of_sends_does_not_tell_how_many_are_messages(void **state)
{
    static const int percent[] = { 0, 10, 50, 80 };

    (void)state;
    for (size_t i = 0; i < SX_COUNT(percent); i++) {
        uint32_t debt = 0;
        int64_t sends = 0, t = 0, next = sx_noise_exponential(1000);
        const int64_t end = 50000000;
        int64_t mean = percent[i] == 0 ? 0 : 100000 / percent[i];
        int64_t message = mean == 0 ? end : sx_noise_exponential(mean);
        while (t < end) {
            t = next < message ? next : message;
            if (t == next) {
                sends += !sx_noise_pay(&debt);
                next += sx_noise_exponential(1000);
            } else {
                sx_noise_owe(&debt);
                sends++;
                message += sx_noise_exponential(mean);
            }
        }
        assert_true(fabs((double)sends * 1000 / (double)end - 1) < 0.03);
    }
}

static int init(void **state)
{
    (void)state;
    return sx_crypto_init();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distances_are_exponentially_distributed),
        cmocka_unit_test(neighbours_are_independent),
        cmocka_unit_test(slots_of_each_target_are_exponential_too),
        cmocka_unit_test(no_hour_sees_more_than_the_budget),
        cmocka_unit_test(on_average_half_of_it_is_spent_in_equal_parts),
        cmocka_unit_test(without_a_budget_or_kinds_there_are_no_slots),
        cmocka_unit_test(what_was_slept_through_does_not_happen_afterwards),
        cmocka_unit_test(a_loop_that_is_late_loses_no_slot),
        cmocka_unit_test(a_clock_that_goes_back_stops_nothing),
        cmocka_unit_test(each_message_takes_the_place_of_one_slot),
        cmocka_unit_test(the_number_of_sends_does_not_tell_how_many_are_messages),
    };

    return cmocka_run_group_tests(tests, init, NULL);
}
