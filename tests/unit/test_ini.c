/* SPDX-License-Identifier: Apache-2.0 */
/* The reader of ini text. */
#include "support/vec.h"

#include "ini.h"

static struct sx_ini ini;
static struct sx_ini_item item;

static void start(const char *text)
{
    sx_ini_start(&ini, sx_str(text));
}

static void next_is(unsigned line, const char *section, const char *key, const char *value)
{
    sx_ini_next(&ini, &item);
    assert_int_equal(item.kind, SX_INI_VALUE);
    assert_int_equal(item.line, line);
    vec_assert_eq(item.section, sx_str(section), "section");
    vec_assert_eq(item.key, sx_str(key), "key");
    vec_assert_eq(item.value, sx_str(value), "value");
}

static void expect_section(unsigned line, const char *section)
{
    sx_ini_next(&ini, &item);
    assert_int_equal(item.kind, SX_INI_SECTION);
    assert_int_equal(item.line, line);
    vec_assert_eq(item.section, sx_str(section), "section");
}

static void expect_problem(enum sx_ini_kind kind, unsigned line, const char *part)
{
    sx_ini_next(&ini, &item);
    assert_int_equal(item.kind, kind);
    assert_int_equal(item.line, line);
    assert_non_null(item.problem);
    assert_non_null(strstr(item.problem, part));
}

static void expect_bad(unsigned line, const char *part)
{
    expect_problem(SX_INI_BAD, line, part);
}

static void expect_end(void)
{
    for (int i = 0; i < 2; i++) {
        sx_ini_next(&ini, &item);
        assert_int_equal(item.kind, SX_INI_END);
    }
}

static void sections_and_both_separators_are_read_with_their_lines(void **state)
{
    (void)state;
    start("# comment\n; another: one\n\n[STORE_LOG]\nenable: on\nrestore_messages = off\n"
          "  [ AUTH ]  \n  create_password:a=b:c\t\nempty:\nhost=x # no comment\nlast: 1");
    expect_section(4, "STORE_LOG");
    next_is(5, "STORE_LOG", "enable", "on");
    next_is(6, "STORE_LOG", "restore_messages", "off");
    expect_section(7, "AUTH");
    next_is(8, "AUTH", "create_password", "a=b:c");
    next_is(9, "AUTH", "empty", "");
    next_is(10, "AUTH", "host", "x # no comment");
    next_is(11, "AUTH", "last", "1");
    expect_end();
}

static void crlf_and_a_byte_order_mark_make_no_difference(void **state)
{
    (void)state;
    start("\xef\xbb\xbf[A]\r\n\r\nk: v\r\n# c\r\nn = w\r");
    expect_section(1, "A");
    next_is(3, "A", "k", "v");
    next_is(5, "A", "n", "w");
    expect_end();
}

static void a_value_above_the_first_section_has_none(void **state)
{
    (void)state;
    start("k: v\n[A]\n");
    next_is(1, "", "k", "v");
    expect_section(2, "A");
    expect_end();
}

static void bad_lines_are_named_and_the_next_ones_read(void **state)
{
    (void)state;
    start("[A\n: v\n[]\n[[A]\n[\na\x01z: v\nesc: \x1b[2J\n[B]\nk: v");
    expect_bad(1, "]");
    expect_bad(2, "key: value");
    expect_bad(3, "name");
    expect_bad(4, "name");
    expect_bad(5, "]");
    expect_bad(6, "control character");
    expect_bad(7, "control character");
    expect_section(8, "B");
    next_is(9, "B", "k", "v");
    expect_end();
}

static void text_that_is_no_setting_is_told_from_what_is_bad(void **state)
{
    (void)state;
    start("[A] # comment\n[B] ; comment\nThis option is deprecated.\nk: v\n[C] junk\nk: w\n[D]]");
    expect_section(1, "A");
    assert_null(item.problem);
    expect_section(2, "B");
    assert_null(item.problem);
    expect_problem(SX_INI_JUNK, 3, "key: value");
    next_is(4, "B", "k", "v");
    expect_problem(SX_INI_SECTION, 5, "behind ]");
    next_is(6, "C", "k", "w");
    expect_problem(SX_INI_SECTION, 7, "behind ]");
    vec_assert_eq(item.section, sx_str("D"), "section");
    expect_end();
}

static void nul_is_refused_wherever_it_stands(void **state)
{
    static const char text[] = "# a\0b\nk: v\0w\n\0\nk: v";

    (void)state;
    sx_ini_start(&ini, sx_bytes(text, sizeof text - 1));
    expect_bad(1, "NUL");
    expect_bad(2, "NUL");
    expect_bad(3, "NUL");
    next_is(4, "", "k", "v");
    expect_end();
}

static void a_line_may_have_4096_bytes_and_no_more(void **state)
{
    static char text[SX_INI_LINE_MAX + 16];

    (void)state;
    memset(text, 'x', sizeof text);
    memcpy(text, "k: ", 3);
    memcpy(text + SX_INI_LINE_MAX, "\nn: v", 6);
    start(text);
    sx_ini_next(&ini, &item);
    assert_int_equal(item.kind, SX_INI_VALUE);
    assert_int_equal(item.value.len, SX_INI_LINE_MAX - 3);
    next_is(2, "", "n", "v");
    expect_end();

    memset(text + SX_INI_LINE_MAX, 'x', 6);
    memcpy(text + SX_INI_LINE_MAX + 1, "\nn: v", 6);
    start(text);
    expect_bad(1, "too long");
    next_is(2, "", "n", "v");
    expect_end();
}

static void nothing_and_blank_lines_are_the_end(void **state)
{
    (void)state;
    sx_ini_start(&ini, sx_bytes(NULL, 0));
    expect_end();
    start("\n \t\n\r\n#");
    expect_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sections_and_both_separators_are_read_with_their_lines),
        cmocka_unit_test(crlf_and_a_byte_order_mark_make_no_difference),
        cmocka_unit_test(a_value_above_the_first_section_has_none),
        cmocka_unit_test(bad_lines_are_named_and_the_next_ones_read),
        cmocka_unit_test(text_that_is_no_setting_is_told_from_what_is_bad),
        cmocka_unit_test(nul_is_refused_wherever_it_stands),
        cmocka_unit_test(a_line_may_have_4096_bytes_and_no_more),
        cmocka_unit_test(nothing_and_blank_lines_are_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
