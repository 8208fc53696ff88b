/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kill -9 of both applications at random moments while they connect and talk; see kill_stage.h.
 */
#include "kill_stage.h"

static void run(const char *chores, uint16_t max_version, long rounds)
{
    simplex_server_config cfg;

    simplex_server_config_init(&cfg);
    cfg.end_flush_ms = 0;
    cfg.max_version = max_version;
    struct stage *s = stage_open(chores, 1, &cfg);
    stage_kill_at_random(s, stage_rounds(rounds));
    stage_finish(s);
    stage_close(s);
}

static void nothing_is_lost_or_doubled_by_kills(void **state)
{
    (void)state;
    run("", 0, 100);
}

static void nothing_is_lost_or_doubled_by_kills_in_the_standard_handshake(void **state)
{
    (void)state;
    run("", 8, 50);
}

static void nothing_is_lost_or_doubled_by_kills_behind_a_contact_address(void **state)
{
    (void)state;
    run("a", 0, 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_lost_or_doubled_by_kills),
        cmocka_unit_test(nothing_is_lost_or_doubled_by_kills_in_the_standard_handshake),
        cmocka_unit_test(nothing_is_lost_or_doubled_by_kills_behind_a_contact_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
