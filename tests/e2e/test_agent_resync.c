/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two sides agree on a new ratchet: whoever begins, whoever is offline or starts anew meanwhile,
 * and while messages are on their way.
 */
#include <stdio.h>
#include <unistd.h>

#include "resync_stage.h"
#include "support/full_disk.h"

/* ---- who may do what ---- */

static void what_is_allowed_depends_on_the_state(void **state)
{
    struct duo d;
    int64_t address;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    assert_int_equal(simplex_agent_sync_ratchet(NULL, 1, false), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_sync_ratchet(d.i.a, d.ic + 100, true), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_sync_ratchet(d.i.a, d.ic, false), SIMPLEX_E_PROHIBITED);
    assert_int_equal(simplex_agent_create_address(d.i.a, &address), SIMPLEX_OK);
    assert_int_equal(simplex_agent_sync_ratchet(d.i.a, address, true), SIMPLEX_E_PROHIBITED);
    duo_ways(&d, FORWARD_REFUSE);
    sync_ok(&d.i, d.ic, true);
    assert_int_equal(connection_info(&d.i, d.ic).sync_state, SIMPLEX_SYNC_STARTED);
    assert_blocked(&d.i, d.ic);
    assert_int_equal(simplex_agent_sync_ratchet(d.i.a, d.ic, false), SIMPLEX_E_PROHIBITED);
    for (int n = 0; n < 5; n++)
        sync_ok(&d.i, d.ic, true); /* the same keys wait */
    assert_int_equal(connection_info(&d.i, d.ic).pending, 1);
    duo_ways(&d, FORWARD);
    both_recover(&d);
    duo_close(&d);
}

static void a_healthy_ratchet_can_be_replaced(void **state)
{
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    for (int n = 0; n < 3; n++) {
        sync_ok(n % 2 == 0 ? &d.i : &d.j, n % 2 == 0 ? d.ic : d.jc, true);
        both_recover(&d);
    }
    duo_close(&d);
}

/* ---- messages before and meanwhile ---- */

static void messages_sent_before_arrive(void **state)
{
    enum { N = 5 };
    struct duo d;
    char text[32];

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    converse(&d);
    agent_close(&d.j);
    for (int n = 0; n < N; n++) { /* on the server when J begins */
        (void)snprintf(text, sizeof text, "on the server %d", n);
        (void)send_text(&d.i, d.ic, text);
        expect(&d.i, SIMPLEX_EV_SENT, d.ic);
    }
    forwarder_set(&d.fj, FORWARD_REFUSE); /* the way from I to J, and J's own */
    expect(&d.i, SIMPLEX_EV_DISCONNECT, 0);
    for (int n = 0; n < N; n++) { /* still with I */
        (void)snprintf(text, sizeof text, "still with I %d", n);
        (void)send_text(&d.i, d.ic, text);
    }
    agent_reopen(&d.j);
    sync_ok(&d.j, d.jc, true);
    forwarder_set(&d.fj, FORWARD);
    for (int n = 0; n < N; n++) {
        (void)snprintf(text, sizeof text, "on the server %d", n);
        receive_text(&d.j, d.jc, text);
    }
    for (int n = 0; n < N; n++) {
        (void)snprintf(text, sizeof text, "still with I %d", n);
        receive_text(&d.j, d.jc, text);
        expect(&d.i, SIMPLEX_EV_SENT, d.ic);
    }
    both_recover(&d);
    duo_close(&d);
}

/* ---- at once, offline, restarted ---- */

/* The last of them, and how its number fits behind what came before. */
static void word_with_gap(struct test_agent *from, int64_t from_conn, struct test_agent *to,
                          int64_t to_conn, int64_t first, int64_t last)
{
    int64_t got_first, got_last;

    (void)send_text(from, from_conn, "a word");
    simplex_event *ev = wait_event(to, SIMPLEX_EV_MSG, to_conn);
    assert_int_equal(simplex_event_integrity(ev, &got_first, &got_last),
                     last > 0 ? SIMPLEX_MSG_SKIPPED : SIMPLEX_MSG_OK);
    assert_int_equal(got_first, first);
    assert_int_equal(got_last, last);
    assert_int_equal(simplex_agent_ack(to->a, to_conn, simplex_event_msg_id(ev)), SIMPLEX_OK);
    simplex_event_free(ev);
    expect(from, SIMPLEX_EV_SENT, from_conn);
}

/* The new ratchet begins with a message that the application does not see. */
static void what_was_lost_before_it_is_told(void **state)
{
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    talk(&d.i, d.ic, &d.j, d.jc, "before");
    int64_t known = connection_info(&d.i, d.ic).sent;
    save_copy(&d.j);
    talk(&d.i, d.ic, &d.j, d.jc, "this is forgotten");
    talk(&d.i, d.ic, &d.j, d.jc, "and this");
    expect_server_empty(&d.srv); /* or the copy would read it again */
    restore_copy(&d.j);
    sync_ok(&d.j, d.jc, true);
    both_agree(&d);
    word_with_gap(&d.i, d.ic, &d.j, d.jc, known + 1, known + 3); /* with the number of the keys */
    word_with_gap(&d.i, d.ic, &d.j, d.jc, 0, 0);
    word_with_gap(&d.j, d.jc, &d.i, d.ic, 0, 0);
    duo_close(&d);
}

static void new_keys_are_not_taken_for_lost_messages(void **state)
{
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    for (int n = 0; n < 4; n++) { /* either side may be the one that sends first */
        duo_connect(&d);
        sync_ok(&d.i, d.ic, true);
        both_agree(&d);
        sync_ok(&d.j, d.jc, true); /* nothing is said in between */
        both_agree(&d);
        word_with_gap(&d.i, d.ic, &d.j, d.jc, 0, 0);
        word_with_gap(&d.j, d.jc, &d.i, d.ic, 0, 0);
    }
    duo_close(&d);
}

static void both_can_begin_at_once(void **state)
{
    struct duo d;

    (void)state;
    open_restored(&d, SIMPLEX_PQ_OFF);
    duo_ways(&d, FORWARD_REFUSE);
    sync_ok(&d.i, d.ic, true);
    sync_ok(&d.j, d.jc, true);
    duo_ways(&d, FORWARD);
    both_recover(&d);
    duo_close(&d);
}

static void the_server_may_be_away_at_each_step(void **state)
{
    struct duo d;

    (void)state;
    open_restored(&d, SIMPLEX_PQ_OFF);
    agent_close(&d.i);
    duo_ways(&d, FORWARD_REFUSE);
    sync_ok(&d.j, d.jc, true);
    agent_reopen(&d.j);
    assert_int_equal(connection_info(&d.j, d.jc).sync_state, SIMPLEX_SYNC_STARTED);
    forwarder_set(&d.fi, FORWARD); /* the keys reach I's queue, I is offline */
    while (connection_info(&d.j, d.jc).pending > 0)
        usleep(10000);
    agent_close(&d.j);
    agent_reopen(&d.i); /* agrees; J's queue is away */
    expect_sync(&d.i, d.ic, SIMPLEX_SYNC_AGREED, SIMPLEX_OK);
    agent_reopen(&d.i);
    assert_int_equal(connection_info(&d.i, d.ic).sync_state, SIMPLEX_SYNC_AGREED);
    assert_blocked(&d.i, d.ic);
    forwarder_set(&d.fj, FORWARD);
    while (connection_info(&d.i, d.ic).pending > 0)
        usleep(10000);
    agent_close(&d.i);
    agent_reopen(&d.j);
    expect_sync(&d.j, d.jc, SIMPLEX_SYNC_AGREED, SIMPLEX_OK);
    agent_reopen(&d.j);
    agent_reopen(&d.i);
    expect_sync(&d.i, d.ic, SIMPLEX_SYNC_OK, SIMPLEX_OK);
    expect_sync(&d.j, d.jc, SIMPLEX_SYNC_OK, SIMPLEX_OK);
    usable_again(&d);
    duo_close(&d);
}

static void restarts_at_any_time_do_no_harm(void **state)
{
    struct duo d;

    (void)state;
    open_restored(&d, SIMPLEX_PQ_OFF);
    d.i.errors_ok = d.j.errors_ok = true;
    for (unsigned round = 0; round < 6; round++) {
        sync_ok(&d.j, d.jc, true);
        for (unsigned n = 0; n < 6; n++) {
            usleep((round * 7 + n * 3) * 1000);
            agent_reopen(n % 2 == 0 ? &d.i : &d.j);
        }
        agreed_at_rest(&d);
        usable_again(&d);
    }
    duo_close(&d);
}

/* An answer that was given twice, or a repeat of the keys by a server, changes nothing. */
static void lost_answers_do_no_harm(void **state)
{
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    d.i.cfg.command_timeout = d.j.cfg.command_timeout = 150;
    agent_reopen(&d.i);
    agent_reopen(&d.j);
    duo_connect(&d);
    for (int n = 0; n < 3; n++) {
        forwarder_set(n % 2 == 0 ? &d.fi : &d.fj, FORWARD_STALL);
        sync_ok(&d.j, d.jc, true);
        usleep(400000); /* tried again: the server will see it twice */
        duo_ways(&d, FORWARD);
        both_recover(&d);
    }
    duo_close(&d);
}

static void keys_that_cannot_be_delivered_are_told_of(void **state)
{
    struct duo d;
    simplex_event *ev;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    assert_int_equal(simplex_agent_delete(d.j.a, d.jc), SIMPLEX_OK);
    expect(&d.j, SIMPLEX_EV_DEL_CONN, d.jc);
    sync_ok(&d.i, d.ic, true);
    ev = wait_event(&d.i, SIMPLEX_EV_RSYNC, d.ic);
    assert_int_equal(simplex_event_sync_state(ev), SIMPLEX_SYNC_REQUIRED);
    assert_int_equal(simplex_event_error(ev), SIMPLEX_E_SERVER);
    assert_string_equal(simplex_event_detail(ev), "AUTH");
    assert_non_null(strstr(simplex_event_json(ev), "\"state\":\"required\""));
    simplex_event_free(ev);
    duo_close(&d);
}

/* ---- the disk ---- */

/* At one statement after the other, on the side that begins and on the one that answers. */
static void a_full_disk_does_no_harm(void **state)
{
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    for (unsigned side = 0; side < 2; side++) {
        struct test_agent *full = side == 0 ? &d.i : &d.j;
        struct full_disk f = { .recover_after = 20, .fired = true };
        for (; f.fired && f.nth < 200; f.nth++) {
            if (f.nth % 12 == 0)
                duo_connect(&d);                  /* only so many keys of a peer count in an hour */
            d.i.errors_ok = d.j.errors_ok = true; /* ERR tells of the disk */
            full_disk_begin(full, &f);
            simplex_rc rc = simplex_agent_sync_ratchet(d.j.a, d.jc, true);
            (void)quiet(full, SIMPLEX_EV_QCONT, 60);
            full_disk_end(full, &f);
            while (rc == SIMPLEX_E_DB_FULL) { /* there is room again */
                (void)quiet(full, SIMPLEX_EV_QCONT, 30);
                rc = simplex_agent_sync_ratchet(d.j.a, d.jc, true);
            }
            assert_int_equal(rc, SIMPLEX_OK);
            both_agree(&d);
            first_words(&d.i, d.ic, &d.j, d.jc, "from I");
            first_words(&d.j, d.jc, &d.i, d.ic, "from J");
        }
        assert_false(f.fired);
    }
    duo_close(&d);
}

/* ---- new keys while the last are being agreed on ---- */

/* I answered, its answer is on its way, J begins again: the answer belongs to the attempt before.
 */
static void an_answer_to_the_attempt_before_does_no_harm(void **state)
{
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    forwarder_set(&d.fj, FORWARD_REFUSE); /* the way to J */
    sync_ok(&d.j, d.jc, true);
    expect_sync(&d.i, d.ic, SIMPLEX_SYNC_AGREED, SIMPLEX_OK);
    sync_ok(&d.j, d.jc, true);
    expect_sync(&d.i, d.ic, SIMPLEX_SYNC_AGREED, SIMPLEX_OK); /* answers once more */
    forwarder_set(&d.fj, FORWARD);
    agreed_at_rest(&d);
    usable_again(&d);
    duo_close(&d);
}

/* J begins again when it has I's answer, but I does not have J's message in the new ratchet. */
static void whoever_has_agreed_may_begin_again(void **state)
{
    struct duo d;

    (void)state;
    for (int n = 0; n < 4; n++) { /* either of them may be the one to send first */
        duo_open(&d, NULL);
        duo_connect(&d);
        forwarder_set(&d.fi, FORWARD_REFUSE); /* the way to I */
        sync_ok(&d.j, d.jc, true);
        sync_ok(&d.i, d.ic, true); /* both begin; only J hears of it */
        expect_sync(&d.j, d.jc, SIMPLEX_SYNC_AGREED, SIMPLEX_OK);
        sync_ok(&d.j, d.jc, true);
        forwarder_set(&d.fi, FORWARD);
        agreed_at_rest(&d);
        usable_again(&d);
        duo_close(&d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_allowed_depends_on_the_state),
        cmocka_unit_test(a_healthy_ratchet_can_be_replaced),
        cmocka_unit_test(messages_sent_before_arrive),
        cmocka_unit_test(what_was_lost_before_it_is_told),
        cmocka_unit_test(new_keys_are_not_taken_for_lost_messages),
        cmocka_unit_test(both_can_begin_at_once),
        cmocka_unit_test(the_server_may_be_away_at_each_step),
        cmocka_unit_test(restarts_at_any_time_do_no_harm),
        cmocka_unit_test(lost_answers_do_no_harm),
        cmocka_unit_test(keys_that_cannot_be_delivered_are_told_of),
        cmocka_unit_test(a_full_disk_does_no_harm),
        cmocka_unit_test(an_answer_to_the_attempt_before_does_no_harm),
        cmocka_unit_test(whoever_has_agreed_may_begin_again),
    };
    choose_tests();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
