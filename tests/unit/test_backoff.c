/* SPDX-License-Identifier: Apache-2.0 */
#include "client/backoff.h"
#include "support/vec.h"

#define MIDDLE 200 /* no jitter */

static void grows_by_half_once_ten_seconds_have_passed(void **state)
{
    static const int64_t expected[] = { 2000, 2000, 2000, 2000, 2000, 3000, 4500, 6750, 10125 };
    struct sx_backoff b;

    (void)state;
    sx_backoff_init(&b, 2000, 10000, 180000);
    for (size_t i = 0; i < SX_COUNT(expected); i++)
        assert_int_equal(sx_backoff_next(&b, MIDDLE), expected[i]);
    sx_backoff_reset(&b);
    assert_int_equal(sx_backoff_next(&b, MIDDLE), 2000);
}

static void stops_at_the_cap(void **state)
{
    struct sx_backoff b;
    int64_t delay = 0;

    (void)state;
    sx_backoff_init(&b, 2000, 10000, 180000);
    for (int i = 0; i < 200; i++) {
        int64_t next = sx_backoff_next(&b, MIDDLE);
        assert_true(next >= delay);
        delay = next;
    }
    assert_int_equal(delay, 180000);
}

static void jitter_moves_by_a_fifth_at_most(void **state)
{
    struct sx_backoff b;

    (void)state;
    for (uint32_t random = 0; random < SX_BACKOFF_JITTER; random += 50) {
        sx_backoff_init(&b, 2000, 10000, 180000);
        assert_int_equal(sx_backoff_next(&b, random), 1600 + 2 * (int64_t)random);
    }
}

static void odd_settings_do_no_harm(void **state)
{
    struct sx_backoff b;

    (void)state;
    sx_backoff_init(&b, 1, 0, 0); /* the cap is raised to the first delay */
    for (int i = 0; i < 10; i++)
        assert_int_equal(sx_backoff_next(&b, 0), 1);
    sx_backoff_init(&b, INT64_MAX / 4, 1, INT64_MAX / 4);
    for (int i = 0; i < 10; i++)
        assert_true(sx_backoff_next(&b, SX_BACKOFF_JITTER - 1) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_by_half_once_ten_seconds_have_passed),
        cmocka_unit_test(stops_at_the_cap),
        cmocka_unit_test(jitter_moves_by_a_fifth_at_most),
        cmocka_unit_test(odd_settings_do_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
