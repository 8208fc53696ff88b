/* SPDX-License-Identifier: Apache-2.0 */
/* The security code: the same on both sides of a connection, and on nobody else's. */
#include "agent/agent.h"
#include "agent/status.h"
#include "support/one_duo.h"

static void both_sides_have_the_same_code(void **state)
{
    uint8_t i[32], j[32], other[32];
    char ti[SIMPLEX_CODE_TEXT], tj[SIMPLEX_CODE_TEXT];
    int64_t ic2, jc2;

    (void)state;
    assert_int_equal(simplex_agent_security_code(d.i.a, d.ic, i, ti), SIMPLEX_OK);
    assert_int_equal(simplex_agent_security_code(d.j.a, d.jc, j, tj), SIMPLEX_OK);
    assert_memory_equal(i, j, 32);
    assert_string_equal(ti, tj);
    connect_agents(&d.i, &d.j, SIMPLEX_PQ_OFF, &ic2, &jc2);
    assert_int_equal(simplex_agent_security_code(d.i.a, ic2, other, NULL), SIMPLEX_OK);
    assert_memory_not_equal(i, other, 32);
    assert_int_equal(simplex_agent_security_code(d.j.a, jc2, j, NULL), SIMPLEX_OK);
    assert_memory_equal(other, j, 32);
}

static void the_code_stays_over_messages_and_restarts(void **state)
{
    uint8_t before[32], after[32];

    (void)state;
    assert_int_equal(simplex_agent_security_code(d.i.a, d.ic, before, NULL), SIMPLEX_OK);
    for (int n = 0; n < 3; n++) {
        talk(&d.i, d.ic, &d.j, d.jc, "to J");
        talk(&d.j, d.jc, &d.i, d.ic, "to I");
    }
    agent_reopen(&d.i);
    assert_int_equal(simplex_agent_security_code(d.i.a, d.ic, after, NULL), SIMPLEX_OK);
    assert_memory_equal(before, after, 32);
}

static void there_is_no_code_without_the_keys_of_the_peer(void **state)
{
    uint8_t code[32];
    int64_t conn;

    (void)state;
    assert_int_equal(simplex_agent_security_code(d.i.a, 1, code, NULL), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_create(d.i.a, SIMPLEX_PQ_OFF, &conn), SIMPLEX_OK);
    assert_int_equal(simplex_agent_security_code(d.i.a, conn, code, NULL), SIMPLEX_E_PROHIBITED);
    expect(&d.i, SIMPLEX_EV_INV, conn);
    assert_int_equal(simplex_agent_security_code(d.i.a, conn, code, NULL), SIMPLEX_E_PROHIBITED);
    assert_int_equal(simplex_agent_security_code(d.i.a, conn, NULL, NULL), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_security_code(NULL, conn, code, NULL), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_delete(d.i.a, conn), SIMPLEX_OK);
    assert_int_equal(simplex_agent_security_code(d.i.a, conn, code, NULL), SIMPLEX_E_NOT_FOUND);
}

static void the_text_is_the_number_in_groups_of_five(void **state)
{
    uint8_t code[32] = { 0 };
    char text[SIMPLEX_CODE_TEXT];

    (void)state;
    sx_code_text(code, text);
    assert_string_equal(text, "0");
    code[31] = 1;
    code[30] = 0x1e;
    code[29] = 1; /* 65536 + 7680 + 1 */
    sx_code_text(code, text);
    assert_string_equal(text, "73217");
    code[28] = 1;
    sx_code_text(code, text);
    assert_string_equal(text, "16850 433");
    memset(code, 0xff, sizeof code); /* 2^256 - 1 */
    sx_code_text(code, text);
    assert_string_equal(text, "11579 20892 37316 19542 35709 85008 68790 78532 69984 66564 05640 "
                              "39457 58400 79131 29639 935");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(both_sides_have_the_same_code, connected_duo, close_duo),
        cmocka_unit_test_setup_teardown(the_code_stays_over_messages_and_restarts, connected_duo,
                                        close_duo),
        cmocka_unit_test_setup_teardown(there_is_no_code_without_the_keys_of_the_peer, opened_duo,
                                        close_duo),
        cmocka_unit_test(the_text_is_the_number_in_groups_of_five),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
