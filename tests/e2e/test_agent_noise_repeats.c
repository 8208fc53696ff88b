/* SPDX-License-Identifier: Apache-2.0 */
/* Noise in connections: repeats of messages that the peer drops, and messages in slots of noise. */
#include <stdio.h>
#include <unistd.h>

#include "noise_stage.h"

/* ---- repeats ---- */

/* J repeats, I is silent about it: no event, no number, and nothing stays on the server. */
static void repeats_pass_unseen(struct duo *d, int64_t how_many)
{
    int64_t id, before;

    duo_talk(d, "there and back");
    id = last_id(&d->i, d->ic);
    before = sent_of(&d->j, SIMPLEX_NOISE_REPEAT);
    set_noise(&d->j, SIMPLEX_NOISE_REPEAT);
    talk(&d->j, d->jc, &d->i, d->ic, "to be repeated");
    wait_sent(&d->j, SIMPLEX_NOISE_REPEAT, before + how_many);
    set_noise(&d->j, 0);
    expect_server_empty(&d->srv);
    assert_true(quiet(&d->i, SIMPLEX_EV_MSG, 100));
    assert_true(quiet(&d->i, SIMPLEX_EV_RSYNC, 1));
    assert_int_equal(last_id(&d->i, d->ic), id + 1);
    duo_talk(d, "there and back");
}

static void a_contact_drops_repeats_without_a_word(void **state)
{
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    repeats_pass_unseen(&d, 10);
    agent_reopen(&d.i);
    repeats_pass_unseen(&d, 5);
    agent_reopen(&d.j);
    repeats_pass_unseen(&d, 5);
    duo_close(&d);
}

static void repeats_that_come_after_a_restart_are_known(void **state)
{
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    set_noise_to(&d.j, SIMPLEX_NOISE_REPEAT, HARDLY);
    talk(&d.j, d.jc, &d.i, d.ic, "once");
    duo_talk(&d, "there and back"); /* the ratchet has moved on in both directions */
    agent_close(&d.i);
    set_noise(&d.j, SIMPLEX_NOISE_REPEAT);
    wait_noise(&d.j, SIMPLEX_NOISE_REPEAT, 6);
    set_noise(&d.j, 0);
    agent_reopen(&d.i);
    assert_true(quiet(&d.i, SIMPLEX_EV_MSG, 300));
    duo_talk(&d, "there and back");
    duo_close(&d);
}

static void who_is_not_heard_gets_no_more_of_them(void **state)
{
    struct duo d;
    simplex_noise_stats s;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    set_noise_to(&d.j, SIMPLEX_NOISE_REPEAT, HARDLY);
    talk(&d.j, d.jc, &d.i, d.ic, "once");
    talk(&d.i, d.ic, &d.j, d.jc, "heard");
    int64_t begin = stats_of(&d.j).total.repeats;
    set_noise(&d.j, SIMPLEX_NOISE_REPEAT);
    wait_sent(&d.j, SIMPLEX_NOISE_REPEAT, begin + SX_NOISE_UNANSWERED_MAX / 2);
    do {
        s = stats_of(&d.j);
        (void)usleep(1000000);
    } while (stats_of(&d.j).total.repeats != s.total.repeats);
    assert_in_range(s.total.repeats - begin, SX_NOISE_UNANSWERED_MAX / 2, SX_NOISE_UNANSWERED_MAX);
    talk(&d.i, d.ic, &d.j, d.jc, "here");
    wait_sent(&d.j, SIMPLEX_NOISE_REPEAT, s.total.repeats + 1);
    duo_close(&d);
}

static void repeats_after_a_rotation_and_a_new_ratchet_are_known(void **state)
{
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    repeats_pass_unseen(&d, 2);
    assert_int_equal(simplex_agent_switch(d.i.a, d.ic, sx_bytes(NULL, 0)), SIMPLEX_OK);
    wait_moved(&d.i, d.ic);
    repeats_pass_unseen(&d, 4);
    set_noise_to(&d.j, SIMPLEX_NOISE_REPEAT, HARDLY);
    talk(&d.j, d.jc, &d.i, d.ic, "before the new ratchet");
    agent_close(&d.i); /* repeats wait for it, the keys for the new ratchet behind them */
    set_noise(&d.j, SIMPLEX_NOISE_REPEAT);
    wait_noise(&d.j, SIMPLEX_NOISE_REPEAT, 3);
    assert_int_equal(simplex_agent_sync_ratchet(d.j.a, d.jc, true), SIMPLEX_OK);
    agent_reopen(&d.i);
    wait_synced(&d.j, d.jc);
    wait_synced(&d.i, d.ic);
    set_noise(&d.j, 0);
    duo_talk(&d, "there and back");
    repeats_pass_unseen(&d, 4); /* among them of the old ratchet's message */
    duo_close(&d);
}

static void all_kinds_on_both_sides_disturb_nothing(void **state)
{
    struct duo d;
    char text[32];

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    set_noise(&d.i, 7);
    set_noise(&d.j, 7);
    for (int n = 0; n < 40; n++) {
        (void)snprintf(text, sizeof text, "message %d", n);
        if (n % 3 == 0)
            talk(&d.i, d.ic, &d.j, d.jc, text);
        else
            talk(&d.j, d.jc, &d.i, d.ic, text);
        (void)usleep(20000);
    }
    wait_noise(&d.i, SIMPLEX_NOISE_REPEAT, 1);
    assert_true(stats_of(&d.j).total.messages >= 26);
    assert_true(stats_of(&d.j).total.replaced > 0);
    set_noise(&d.i, 0);
    set_noise(&d.j, 0);
    expect_server_queues(&d.srv, 2);
    duo_talk(&d, "there and back");
    duo_close(&d);
}

/* ---- messages that wait for a slot ---- */

static void messages_leave_in_the_slots_of_noise(void **state)
{
    struct duo d;
    simplex_noise n = noise_of(SIMPLEX_NOISE_PING);

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    n.wait = 600000;
    n.budget = PLENTY / 4;
    assert_int_equal(simplex_agent_set_noise(d.j.a, &n), SIMPLEX_OK);
    for (int i = 0; i < 5; i++)
        talk(&d.j, d.jc, &d.i, d.ic, "waits");
    simplex_noise_stats s = stats_of(&d.j);
    assert_int_equal(s.total.messages, 5);
    assert_int_equal(s.total.replaced, 5);
    /* Slots are hours apart now: it waits as long as it may, and then no longer. */
    n.budget = SX_NOISE_BUDGET_MIN;
    n.wait = 1500;
    assert_int_equal(simplex_agent_set_noise(d.j.a, &n), SIMPLEX_OK);
    int64_t begin = sx_mono_ms();
    send_text(&d.j, d.jc, "one");
    send_text(&d.j, d.jc, "two");
    receive_text(&d.i, d.ic, "one");
    assert_true(sx_mono_ms() - begin >= 1400);
    receive_text(&d.i, d.ic, "two"); /* has waited as long by then */
    expect(&d.j, SIMPLEX_EV_SENT, d.jc);
    expect(&d.j, SIMPLEX_EV_SENT, d.jc);
    /* Other settings let go what waits. */
    n.wait = 600000;
    assert_int_equal(simplex_agent_set_noise(d.j.a, &n), SIMPLEX_OK);
    send_text(&d.j, d.jc, "three");
    assert_true(quiet(&d.j, SIMPLEX_EV_SENT, 300));
    assert_int_equal(simplex_agent_set_noise(d.j.a, NULL), SIMPLEX_OK);
    receive_text(&d.i, d.ic, "three");
    expect(&d.j, SIMPLEX_EV_SENT, d.jc);
    /* And so does a restart: they are not settings that stay. */
    assert_int_equal(simplex_agent_set_noise(d.j.a, &n), SIMPLEX_OK);
    send_text(&d.j, d.jc, "four");
    agent_reopen(&d.j);
    receive_text(&d.i, d.ic, "four");
    duo_close(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_contact_drops_repeats_without_a_word),
        cmocka_unit_test(repeats_that_come_after_a_restart_are_known),
        cmocka_unit_test(who_is_not_heard_gets_no_more_of_them),
        cmocka_unit_test(repeats_after_a_rotation_and_a_new_ratchet_are_known),
        cmocka_unit_test(all_kinds_on_both_sides_disturb_nothing),
        cmocka_unit_test(messages_leave_in_the_slots_of_noise),
    };

    return cmocka_run_group_tests(tests, init, NULL);
}
