/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kill -9 of both applications while they move queues, use short links, make new ratchets, send
 * batches and confirm what they receive, on two servers: at random moments, and at one commit or
 * block after the other. See kill_stage.h; SIMPLEX_ROUNDS is the number of kills of each test.
 */
#include "kill_stage.h"

static struct stage *open_two(const char *chores)
{
    simplex_server_config cfg;

    simplex_server_config_init(&cfg);
    cfg.end_flush_ms = 0;
    return stage_open(chores, 2, &cfg);
}

static void at_random(const char *chores, long rounds)
{
    struct stage *s = open_two(chores);

    s->pause_us = 500000; /* time for a rotation or two */
    stage_kill_at_random(s, stage_rounds(rounds));
    stage_finish(s);
    stage_close(s);
}

/* A new conversation after so many kills. Which moments: the nth from the start of the process on,
 * of all kinds, in turn on both sides. */
static void at_each_step(const char *chores, long rounds, long conversation)
{
    static const char letters[] = "abwp";
    long came = 0;

    rounds = stage_rounds(rounds);
    struct stage *s = open_two(chores);
    for (long n = 0; n < rounds; n++) {
        if (n % conversation == 0 && n / conversation + 1 < CONVS)
            stage_goal(s, n / conversation + 1);
        came += stage_kill_at(s, n % 2 == 0 ? 1 : 0, letters[n / 2 % 4], n / 8) ? 1 : 0;
    }
    print_message("%ld of %ld at their moment\n", came, rounds);
    stage_finish(s);
    stage_close(s);
    assert_true(came > rounds / 2);
}

static void rotations_come_to_their_end_whatever_is_killed(void **state)
{
    (void)state;
    at_random("s", 24);
}

static void rotations_are_given_up_and_begun_again_under_kills(void **state)
{
    (void)state;
    at_random("sxr", 18);
}

static void a_rotation_policy_goes_on_after_kills(void **state)
{
    (void)state;
    at_random("pb", 18);
}

static void rotations_go_on_from_each_commit_and_each_block(void **state)
{
    (void)state;
    at_each_step("s", 64, 32);
}

static void short_links_are_made_looked_at_and_joined_through_kills(void **state)
{
    (void)state;
    at_random("lbr", 18);
}

static void short_contact_links_are_joined_and_accepted_through_kills(void **state)
{
    (void)state;
    at_random("alb", 18);
}

static void short_links_go_on_from_each_commit_and_each_block(void **state)
{
    (void)state;
    at_each_step("l", 32, 4);
}

static void new_ratchets_are_agreed_on_through_kills(void **state)
{
    (void)state;
    at_random("y", 18);
}

static void new_ratchets_go_on_from_each_commit_and_each_block(void **state)
{
    (void)state;
    at_each_step("y", 32, 4);
}

static void everything_at_once_under_kills(void **state)
{
    (void)state;
    at_random("lbrspy", 18);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rotations_come_to_their_end_whatever_is_killed),
        cmocka_unit_test(rotations_are_given_up_and_begun_again_under_kills),
        cmocka_unit_test(a_rotation_policy_goes_on_after_kills),
        cmocka_unit_test(rotations_go_on_from_each_commit_and_each_block),
        cmocka_unit_test(short_links_are_made_looked_at_and_joined_through_kills),
        cmocka_unit_test(short_contact_links_are_joined_and_accepted_through_kills),
        cmocka_unit_test(short_links_go_on_from_each_commit_and_each_block),
        cmocka_unit_test(new_ratchets_are_agreed_on_through_kills),
        cmocka_unit_test(new_ratchets_go_on_from_each_commit_and_each_block),
        cmocka_unit_test(everything_at_once_under_kills),
    };
    choose_tests();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
