/* SPDX-License-Identifier: Apache-2.0 */
#include "support/vec.h"

static void cursor_reads_and_sticks_on_the_first_error(void **state)
{
    static const uint8_t in[] = { 1, 0x12, 0x34, 2, 'a', 'b', 0, 1, 'c', 'T', '0', 9 };
    struct sx_rd r = sx_rd_init(sx_bytes(in, sizeof in));

    (void)state;
    assert_int_equal(sx_rd_u8(&r), 1);
    assert_int_equal(sx_rd_u16(&r), 0x1234);
    assert_true(sx_bytes_eq(sx_rd_short(&r), sx_str("ab")));
    assert_true(sx_bytes_eq(sx_rd_large(&r), sx_str("c")));
    assert_true(sx_rd_bool(&r));
    assert_false(sx_rd_maybe(&r));
    assert_false(r.bad);
    assert_int_equal(sx_rd_short(&r).len, 0); /* length 9, nothing left */
    assert_true(r.bad);
    assert_int_equal(sx_rd_u8(&r), 0);
    assert_false(sx_rd_done(&r));
}

static void writer_grows_to_its_cap_and_not_beyond(void **state)
{
    struct sx_wr w;
    static const uint8_t big[300];

    (void)state;
    sx_wr_init(&w, 100);
    for (int i = 0; i < 12; i++)
        sx_wr_i64(&w, -2);
    assert_false(w.bad);
    assert_int_equal(w.len, 96);
    sx_wr_i64(&w, 1);
    assert_true(w.bad);
    sx_wr_free(&w);

    sx_wr_init(&w, 1000);
    sx_wr_short(&w, sx_bytes(big, 255));
    assert_false(w.bad);
    sx_wr_short(&w, sx_bytes(big, 256));
    assert_true(w.bad);
    sx_wr_free(&w);
}

static void writer_survives_each_failed_malloc(void **state)
{
    bool fired = true;

    (void)state;
    for (unsigned nth = 0; fired; nth++) {
        struct sx_wr w;
        sx_wr_init(&w, 4096);
        sx_fault_malloc(nth);
        for (int i = 0; i < 100; i++)
            sx_wr_u32(&w, 7);
        fired = sx_fault_disarm();
        assert_true(w.bad == fired);
        sx_wr_free(&w);
    }
}

static void every_result_code_has_a_name_and_a_text(void **state)
{
    (void)state;
    assert_string_equal(simplex_rc_name(SIMPLEX_E_DB_IO), "E_DB_IO");
    assert_string_equal(simplex_rc_name(SIMPLEX_E_RATCHET_NO_CHAIN), "E_RATCHET_NO_CHAIN");
    assert_string_equal(simplex_rc_text(12345), "unknown error");
    assert_non_null(simplex_version());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cursor_reads_and_sticks_on_the_first_error),
        cmocka_unit_test(writer_grows_to_its_cap_and_not_beyond),
        cmocka_unit_test(writer_survives_each_failed_malloc),
        cmocka_unit_test(every_result_code_has_a_name_and_a_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
