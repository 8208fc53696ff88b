/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two sides that do not read each other any more, because one of them runs on an old copy of its
 * database: it is noticed, here or there, and mended by a new ratchet.
 */
#include <stdio.h>

#include "crypto/crypto.h"
#include "resync_stage.h"

/* ---- an old copy ---- */

static void recover(int32_t pq)
{
    struct duo d;

    open_restored(&d, pq);
    (void)send_text(&d.i, d.ic, "nobody can read this");
    expect(&d.i, SIMPLEX_EV_SENT, d.ic);
    expect_sync(&d.j, d.jc, SIMPLEX_SYNC_REQUIRED, SIMPLEX_E_RATCHET_HEADER);
    assert_int_equal(connection_info(&d.j, d.jc).sync_state, SIMPLEX_SYNC_REQUIRED);
    assert_blocked(&d.j, d.jc);
    (void)send_text(&d.i, d.ic, "nor this");
    assert_true(quiet(&d.j, SIMPLEX_EV_RSYNC, 100)); /* said once */
    sync_ok(&d.j, d.jc, false);
    assert_blocked(&d.j, d.jc);
    both_agree(&d);
    expect(&d.i, SIMPLEX_EV_SENT, d.ic);
    usable_again(&d);
    if (pq != SIMPLEX_PQ_OFF && sx_kem_available()) {
        simplex_connection_info info = connection_info(&d.i, d.ic);
        assert_true(info.pq_snd && info.pq_rcv);
    }
    duo_close(&d);
}

static void an_old_copy_is_noticed_and_gets_a_new_ratchet(void **state)
{
    (void)state;
    recover(SIMPLEX_PQ_OFF);
}

static void the_new_ratchet_returns_to_the_kem(void **state)
{
    (void)state;
    recover(SIMPLEX_PQ_ON);
}

/* What an old copy sends uses keys for the second time: its peer notices, and can mend it. */
static void the_peer_of_an_old_copy_can_begin(void **state)
{
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    talk(&d.i, d.ic, &d.j, d.jc, "before");
    save_copy(&d.j);
    talk(&d.j, d.jc, &d.i, d.ic, "one");
    talk(&d.j, d.jc, &d.i, d.ic, "two");
    restore_copy(&d.j);
    (void)send_text(&d.j, d.jc, "one, once more");
    expect_sync(&d.i, d.ic, SIMPLEX_SYNC_ALLOWED, SIMPLEX_E_RATCHET_EARLIER);
    expect(&d.j, SIMPLEX_EV_SENT, d.jc);
    sync_ok(&d.i, d.ic, false);
    both_recover(&d);
    duo_close(&d);
}

static void a_key_used_for_another_message_is_a_sign_too(void **state)
{
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    talk(&d.i, d.ic, &d.j, d.jc, "before");
    save_copy(&d.j);
    talk(&d.j, d.jc, &d.i, d.ic, "the last one");
    restore_copy(&d.j);
    (void)send_text(&d.j, d.jc, "another one");
    expect_sync(&d.i, d.ic, SIMPLEX_SYNC_ALLOWED, SIMPLEX_E_RATCHET_DUPLICATE);
    expect(&d.j, SIMPLEX_EV_SENT, d.jc);
    first_words(&d.j, d.jc, &d.i, d.ic, "with the key behind it"); /* it passes by itself */
    expect_sync(&d.i, d.ic, SIMPLEX_SYNC_OK, SIMPLEX_OK);
    converse(&d);
    duo_close(&d);
}

/* ---- an old copy in the place of the newer database ---- */

static void an_old_copy_in_the_same_place_is_known_at_once(void **state)
{
    struct duo d;
    int64_t first_i, first_j;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    first_i = d.ic;
    first_j = d.jc;
    duo_connect(&d);
    save_copy(&d.j);
    converse(&d);
    put_back(&d.j);
    agent_reopen(&d.j);
    expect_sync(&d.j, first_j, SIMPLEX_SYNC_REQUIRED, SIMPLEX_E_DB_OLD);
    expect_sync(&d.j, d.jc, SIMPLEX_SYNC_REQUIRED, SIMPLEX_E_DB_OLD);
    assert_blocked(&d.j, d.jc); /* no key is used twice */
    assert_blocked(&d.j, first_j);
    agent_reopen(&d.j);
    assert_true(quiet(&d.j, SIMPLEX_EV_RSYNC, 100)); /* said once */
    assert_blocked(&d.j, d.jc);
    sync_ok(&d.j, d.jc, false);
    both_recover(&d);
    d.ic = first_i;
    d.jc = first_j;
    sync_ok(&d.j, d.jc, false);
    both_recover(&d);
    put_back(&d.j); /* once more */
    agent_reopen(&d.j);
    expect_sync(&d.j, first_j, SIMPLEX_SYNC_REQUIRED, SIMPLEX_E_DB_OLD);
    duo_close(&d);
}

/* What can still be read says nothing of what was sent before: also when our keys have no reader.
 */
static void an_old_copy_stays_one_when_its_keys_cannot_be_delivered(void **state)
{
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    save_copy(&d.j);
    agent_close(&d.j);
    (void)send_text(&d.i, d.ic, "not read yet");
    expect(&d.i, SIMPLEX_EV_SENT, d.ic);
    assert_int_equal(simplex_agent_delete(d.i.a, d.ic), SIMPLEX_OK);
    expect(&d.i, SIMPLEX_EV_DEL_CONN, d.ic);
    forwarder_set(&d.fj, FORWARD_REFUSE); /* what waits for J cannot be read yet */
    put_back(&d.j);
    agent_reopen(&d.j);
    expect_sync(&d.j, d.jc, SIMPLEX_SYNC_REQUIRED, SIMPLEX_E_DB_OLD);
    sync_ok(&d.j, d.jc, false);
    expect_sync(&d.j, d.jc, SIMPLEX_SYNC_REQUIRED, SIMPLEX_E_SERVER);
    forwarder_set(&d.fj, FORWARD);
    receive_text(&d.j, d.jc, "not read yet");
    assert_blocked(&d.j, d.jc);
    duo_close(&d);
}

static void write_mark(const struct test_agent *t, const char *text)
{
    char path[320];

    (void)snprintf(path, sizeof path, "%s-age", t->db);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0 && fclose(f) == 0);
}

static void no_other_database_is_taken_for_an_old_copy(void **state)
{
    struct duo d;
    char mark[320], other[320];

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    for (int n = 0; n < 3; n++)
        agent_reopen(&d.j);
    save_copy(&d.j);
    agent_close(&d.j); /* away and back, newer than what was noted here */
    (void)snprintf(mark, sizeof mark, "%s-age", d.j.db);
    (void)snprintf(other, sizeof other, "%s.mark", d.j.db);
    copy_file(mark, other);
    agent_reopen(&d.j);
    agent_close(&d.j);
    copy_file(other, mark);
    agent_reopen(&d.j);
    agent_close(&d.j);
    write_mark(&d.j, ""); /* damaged, or of another database */
    agent_reopen(&d.j);
    agent_close(&d.j);
    write_mark(&d.j, "an id of 16 byte8 bytes.");
    agent_reopen(&d.j);
    agent_close(&d.j);
    write_mark(&d.j, "an id of 16 byte8 bytes, and more");
    agent_reopen(&d.j);
    assert_true(quiet(&d.j, SIMPLEX_EV_RSYNC, 50));
    converse(&d);
    put_back(&d.j); /* and it is written anew each time */
    agent_reopen(&d.j);
    expect_sync(&d.j, d.jc, SIMPLEX_SYNC_REQUIRED, SIMPLEX_E_DB_OLD);
    duo_close(&d);
}

/* ---- an old copy in the middle of it ---- */

/* J took I's keys and goes back before its answer has left: I waits, and no server has its keys any
 * more. Copies of both were made before. */
static void go_back_while_i_waits(struct duo *d)
{
    duo_open(d, NULL);
    duo_connect(d);
    talk(&d->i, d->ic, &d->j, d->jc, "before");
    save_copy(&d->i);
    save_copy(&d->j);
    forwarder_set(&d->fi, FORWARD_REFUSE); /* the way to I */
    sync_ok(&d->i, d->ic, true);
    expect_sync(&d->j, d->jc, SIMPLEX_SYNC_AGREED, SIMPLEX_OK);
    await_delivery(&d->i, d->ic);
    expect_server_empty(&d->srv);
    put_back(&d->j);
}

static void knows_that_it_went_back(struct test_agent *t, int64_t conn)
{
    agent_reopen(t);
    expect_sync(t, conn, SIMPLEX_SYNC_REQUIRED, SIMPLEX_E_DB_OLD);
    sync_ok(t, conn, false);
}

static void who_went_back_gets_the_keys_that_it_took_before(void **state)
{
    struct duo d;

    (void)state;
    go_back_while_i_waits(&d);
    knows_that_it_went_back(&d.j, d.jc);
    forwarder_set(&d.fi, FORWARD);
    both_recover(&d);
    duo_close(&d);
}

/* On another device nothing says so, but its user does. */
static void who_is_forced_gets_them_too(void **state)
{
    struct duo d;

    (void)state;
    go_back_while_i_waits(&d);
    restore_copy(&d.j);
    sync_ok(&d.j, d.jc, true);
    forwarder_set(&d.fi, FORWARD);
    both_recover(&d);
    duo_close(&d);
}

/* The second time it has taken the keys that were sent once more. */
static void going_back_again_does_no_harm(void **state)
{
    struct duo d;

    (void)state;
    go_back_while_i_waits(&d);
    knows_that_it_went_back(&d.j, d.jc);
    forwarder_set(&d.fi, FORWARD);
    both_agree(&d);
    put_back(&d.j);
    knows_that_it_went_back(&d.j, d.jc);
    both_recover(&d);
    duo_close(&d);
}

static void both_may_go_back(void **state)
{
    struct duo d;

    (void)state;
    go_back_while_i_waits(&d);
    knows_that_it_went_back(&d.j, d.jc);
    put_back(&d.i);
    knows_that_it_went_back(&d.i, d.ic);
    forwarder_set(&d.fi, FORWARD);
    agreed_at_rest(&d);
    usable_again(&d);
    duo_close(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_old_copy_is_noticed_and_gets_a_new_ratchet),
        cmocka_unit_test(the_new_ratchet_returns_to_the_kem),
        cmocka_unit_test(the_peer_of_an_old_copy_can_begin),
        cmocka_unit_test(a_key_used_for_another_message_is_a_sign_too),
        cmocka_unit_test(an_old_copy_in_the_same_place_is_known_at_once),
        cmocka_unit_test(an_old_copy_stays_one_when_its_keys_cannot_be_delivered),
        cmocka_unit_test(no_other_database_is_taken_for_an_old_copy),
        cmocka_unit_test(who_went_back_gets_the_keys_that_it_took_before),
        cmocka_unit_test(who_is_forced_gets_them_too),
        cmocka_unit_test(going_back_again_does_no_harm),
        cmocka_unit_test(both_may_go_back),
    };
    choose_tests();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
