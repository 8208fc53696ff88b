/* SPDX-License-Identifier: Apache-2.0 */
/* Queues that move by themselves: by time, by number of messages, when the servers change. */
#include <unistd.h>

#include "support/one_duo.h"

static simplex_rotation_status status_of(struct test_agent *t, int64_t conn)
{
    simplex_rotation_status s = { .size = sizeof s };

    assert_int_equal(simplex_agent_conn_rotation(t->a, conn, NULL, &s), SIMPLEX_OK);
    return s;
}

static simplex_rotation_status user_status(struct test_agent *t)
{
    simplex_rotation_status s = { .size = sizeof s };

    assert_int_equal(simplex_agent_rotation(t->a, SIMPLEX_USER_DEFAULT, NULL, &s), SIMPLEX_OK);
    return s;
}

static void set(struct test_agent *t, const simplex_rotation *policy)
{
    assert_int_equal(simplex_agent_set_rotation(t->a, SIMPLEX_USER_DEFAULT, policy), SIMPLEX_OK);
}

/* As often as the test wants to wait for it. */
#define SOON                                                                              \
    {                                                                                     \
        .size = sizeof(simplex_rotation), .every = 300, .spread = 1, .per_day = 864000000 \
    }

static void a_queue_moves_again_and_again(void **state)
{
    static const simplex_rotation soon = SOON;

    (void)state;
    assert_int_equal(user_status(&d.i).next_at, 0);
    set(&d.i, &soon);
    for (int n = 0; n < 3; n++) {
        expect_moved(&d.i, d.ic, SIMPLEX_SWITCH_RCV);
        duo_talk(&d, "moved");
    }
    simplex_rotation_status s = status_of(&d.i, d.ic);
    assert_true(s.completed >= 3 && s.started >= s.completed);
    assert_int_equal(s.failed, 0);
    assert_true(user_status(&d.i).completed >= 3);
}

static void a_policy_survives_a_restart(void **state)
{
    simplex_rotation soon = SOON, got = { .size = sizeof got };

    (void)state;
    soon.every = 1500;
    set(&d.i, &soon);
    agent_reopen(&d.i);
    assert_int_equal(simplex_agent_rotation(d.i.a, SIMPLEX_USER_DEFAULT, &got, NULL), SIMPLEX_OK);
    assert_int_equal(got.every, soon.every);
    assert_int_equal(got.per_day, soon.per_day);
    assert_int_equal(got.jitter, 25);
    expect_moved(&d.i, d.ic, SIMPLEX_SWITCH_RCV);
    agent_reopen(&d.i);
    expect_moved(&d.i, d.ic, SIMPLEX_SWITCH_RCV);
    duo_talk(&d, "after all that");
}

static void a_policy_that_is_taken_back_moves_nothing(void **state)
{
    static const simplex_rotation soon = SOON;

    (void)state;
    set(&d.i, &soon);
    expect_moved(&d.i, d.ic, SIMPLEX_SWITCH_RCV);
    set(&d.i, NULL);
    while (status_of(&d.i, d.ic).running) /* what had begun goes on */
        usleep(10000);
    int64_t started = status_of(&d.i, d.ic).started;
    usleep(1500000);
    assert_int_equal(status_of(&d.i, d.ic).started, started);
    assert_int_equal(status_of(&d.i, d.ic).next_at, 0);
}

static void a_number_of_messages_makes_a_queue_move(void **state)
{
    simplex_rotation by_number = SOON;

    (void)state;
    by_number.every = 0;
    by_number.messages = 10;
    by_number.jitter = 1;
    set(&d.i, &by_number);
    for (int n = 0; n < 8; n++)
        talk(&d.j, d.jc, &d.i, d.ic, "not yet");
    assert_true(quiet(&d.i, SIMPLEX_EV_SWITCH, 300));
    for (int n = 0; n < 4; n++)
        talk(&d.j, d.jc, &d.i, d.ic, "enough");
    expect_moved(&d.i, d.ic, SIMPLEX_SWITCH_RCV);
}

static void a_connection_may_have_a_policy_of_its_own(void **state)
{
    static const simplex_rotation soon = SOON;
    simplex_rotation never = { .size = sizeof never };

    (void)state;
    assert_int_equal(simplex_agent_set_conn_rotation(d.i.a, d.ic, &never), SIMPLEX_OK);
    set(&d.i, &soon);
    assert_true(quiet(&d.i, SIMPLEX_EV_SWITCH, 1000));
    set(&d.i, NULL);
    assert_int_equal(simplex_agent_set_conn_rotation(d.i.a, d.ic, &soon), SIMPLEX_OK);
    expect_moved(&d.i, d.ic, SIMPLEX_SWITCH_RCV);
    assert_int_equal(simplex_agent_set_conn_rotation(d.i.a, d.ic, NULL), SIMPLEX_OK);
}

static void a_connection_made_later_is_under_its_users_policy(void **state)
{
    static const simplex_rotation soon = SOON;

    (void)state;
    set(&d.i, &soon);
    duo_connect(&d);
    expect_moved(&d.i, d.ic, SIMPLEX_SWITCH_RCV);
    duo_talk(&d, "moved");
}

/* The budget of a user is one a day here: of two queues that are due only one moves. */
static void the_budget_keeps_rotations_apart(void **state)
{
    simplex_rotation policy = SOON;
    int64_t i2, j2;

    (void)state;
    connect_agents(&d.i, &d.j, SIMPLEX_PQ_OFF, &i2, &j2);
    policy.every = 1;
    policy.per_day = 1;
    set(&d.i, &policy);
    simplex_event *ev = wait_event(&d.i, SIMPLEX_EV_SWITCH, 0);
    simplex_event_free(ev);
    usleep(1500000);
    simplex_rotation_status s = user_status(&d.i);
    assert_int_equal(s.started, 1);
    assert_true(s.next_at > 0);
    assert_int_equal(status_of(&d.i, d.ic).started + status_of(&d.i, i2).started, 1);
}

static void a_queue_leaves_a_server_that_is_not_the_users_any_more(void **state)
{
    simplex_rotation policy = SOON;
    struct test_server second;

    (void)state;
    server_start(&second, NULL);
    policy.every = 0;
    policy.server_list = true;
    set(&d.i, &policy);
    assert_true(quiet(&d.i, SIMPLEX_EV_SWITCH, 500));
    d.i.servers[0] = second.address;
    d.i.n_servers = 1;
    agent_reopen(&d.i);
    expect_moved(&d.i, d.ic, SIMPLEX_SWITCH_RCV);
    assert_true(quiet(&d.i, SIMPLEX_EV_SWITCH, 500));
    duo_talk(&d, "on the new server");
    server_stop(&second);
}

static void a_failed_rotation_is_tried_again_later(void **state)
{
    simplex_rotation policy = SOON;

    (void)state;
    forwarder_set(&d.fj, FORWARD_REFUSE); /* J does not hear of it */
    set(&d.i, &policy);
    expect(&d.i, SIMPLEX_EV_SWITCH, d.ic);
    assert_true(status_of(&d.i, d.ic).running);
    assert_int_equal(status_of(&d.i, d.ic).next_at, 0);
    assert_int_equal(simplex_agent_abort_switch(d.i.a, d.ic), SIMPLEX_OK);
    expect(&d.i, SIMPLEX_EV_SWITCH, d.ic);
    assert_int_equal(status_of(&d.i, d.ic).completed, 0);
    assert_int_equal(status_of(&d.i, d.ic).failed, 0); /* the application's wish is no failure */
    set(&d.i, NULL);
}

static void wrong_policies_are_refused(void **state)
{
    int64_t address;

    (void)state;
    static const simplex_rotation wrong[] = {
        { .size = 1 },
        { .size = sizeof(simplex_rotation), .every = -1 },
        { .size = sizeof(simplex_rotation), .every = INT64_MAX },
        { .size = sizeof(simplex_rotation), .spread = INT64_MAX },
        { .size = sizeof(simplex_rotation), .jitter = 101 },
        { .size = sizeof(simplex_rotation), .messages = -1 },
        { .size = sizeof(simplex_rotation), .per_day = -1 },
    };
    for (size_t n = 0; n < sizeof wrong / sizeof wrong[0]; n++) {
        assert_int_equal(simplex_agent_set_rotation(d.i.a, SIMPLEX_USER_DEFAULT, &wrong[n]),
                         SIMPLEX_E_ARG);
        assert_int_equal(simplex_agent_set_conn_rotation(d.i.a, 1, &wrong[n]), SIMPLEX_E_ARG);
    }
    assert_int_equal(simplex_agent_set_rotation(NULL, SIMPLEX_USER_DEFAULT, NULL), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_set_rotation(d.i.a, 77, NULL), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_set_conn_rotation(d.i.a, 77, NULL), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_create_address(d.i.a, &address), SIMPLEX_OK);
    expect(&d.i, SIMPLEX_EV_INV, address);
    assert_int_equal(simplex_agent_set_conn_rotation(d.i.a, address, NULL), SIMPLEX_E_PROHIBITED);
}

static void nothing_is_shown_of_what_is_not_there(void **state)
{
    static const int64_t unknown[] = { 0, -1, 77, INT64_MAX, INT64_MIN };
    simplex_rotation policy = { .size = sizeof policy };
    simplex_rotation_status status = { .size = sizeof status };
    int64_t address;

    (void)state;
    for (size_t n = 0; n < sizeof unknown / sizeof unknown[0]; n++) {
        assert_int_equal(simplex_agent_rotation(d.i.a, unknown[n], &policy, &status),
                         SIMPLEX_E_NOT_FOUND);
        assert_int_equal(simplex_agent_conn_rotation(d.i.a, unknown[n], &policy, &status),
                         SIMPLEX_E_NOT_FOUND);
    }
    assert_int_equal(simplex_agent_create_address(d.i.a, &address), SIMPLEX_OK);
    assert_int_equal(simplex_agent_conn_rotation(d.i.a, address, &policy, &status),
                     SIMPLEX_E_PROHIBITED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_queue_moves_again_and_again, connected_duo, close_duo),
        cmocka_unit_test_setup_teardown(a_policy_survives_a_restart, connected_duo, close_duo),
        cmocka_unit_test_setup_teardown(a_policy_that_is_taken_back_moves_nothing, connected_duo,
                                        close_duo),
        cmocka_unit_test_setup_teardown(a_number_of_messages_makes_a_queue_move, connected_duo,
                                        close_duo),
        cmocka_unit_test_setup_teardown(a_connection_may_have_a_policy_of_its_own, connected_duo,
                                        close_duo),
        cmocka_unit_test_setup_teardown(a_connection_made_later_is_under_its_users_policy,
                                        opened_duo, close_duo),
        cmocka_unit_test_setup_teardown(the_budget_keeps_rotations_apart, connected_duo, close_duo),
        cmocka_unit_test_setup_teardown(a_queue_leaves_a_server_that_is_not_the_users_any_more,
                                        connected_duo, close_duo),
        cmocka_unit_test_setup_teardown(a_failed_rotation_is_tried_again_later, connected_duo,
                                        close_duo),
        cmocka_unit_test_setup_teardown(wrong_policies_are_refused, opened_duo, close_duo),
        cmocka_unit_test_setup_teardown(nothing_is_shown_of_what_is_not_there, opened_duo,
                                        close_duo),
    };

    return cmocka_run_group_tests_name("agent_rotation", tests, NULL, NULL);
}
