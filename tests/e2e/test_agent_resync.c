/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two sides that do not read each other any more, because one of them runs on an old copy of its
 * database, get a new ratchet: whoever begins, whoever is offline or starts anew meanwhile.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "support/agents.h"
#include "support/contact.h"

#define BODY_MAX 20000

/* ---- helpers ---- */

static void expect_sync(struct test_agent *t, int64_t conn, int32_t state, simplex_rc why)
{
    simplex_event *ev = wait_event(t, SIMPLEX_EV_RSYNC, conn);

    if (simplex_event_sync_state(ev) != state || simplex_event_error(ev) != why)
        fail_msg("%s: %s instead of state %d with %s", t->db, simplex_event_json(ev), state,
                 simplex_rc_name(why));
    simplex_event_free(ev);
}

static simplex_connection_info info_of(struct test_agent *t, int64_t conn)
{
    simplex_connection_info info = { .size = sizeof info };

    assert_int_equal(simplex_agent_connection(t->a, conn, &info), SIMPLEX_OK);
    return info;
}

static void assert_blocked(struct test_agent *t, int64_t conn)
{
    int64_t id;

    assert_int_equal(simplex_agent_send(t->a, conn, sx_str("no"), 0, &id), SIMPLEX_E_PROHIBITED);
}

static void sync_ok(struct test_agent *t, int64_t conn, bool force)
{
    assert_int_equal(simplex_agent_sync_ratchet(t->a, conn, force), SIMPLEX_OK);
}

static void copy_file(const char *from, const char *to)
{
    char buf[65536];
    size_t n;
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");

    assert_non_null(in);
    assert_non_null(out);
    while ((n = fread(buf, 1, sizeof buf, in)) > 0)
        assert_int_equal(fwrite(buf, 1, n, out), n);
    assert_int_equal(fclose(in), 0);
    assert_int_equal(fclose(out), 0);
}

static void save_copy(struct test_agent *t)
{
    char path[320];

    (void)snprintf(path, sizeof path, "%s.old", t->db);
    agent_close(t);
    copy_file(t->db, path);
    agent_reopen(t);
}

static void put_back(struct test_agent *t)
{
    char path[320];

    (void)snprintf(path, sizeof path, "%s.old", t->db);
    agent_close(t);
    copy_file(path, t->db);
}

/* On another device, where nothing but the messages shows that it is old. */
static void restore_copy(struct test_agent *t)
{
    char path[320];

    put_back(t);
    (void)snprintf(path, sizeof path, "%s-age", t->db);
    assert_int_equal(unlink(path), 0);
    agent_reopen(t);
}

/* Both directions, several turns of the ratchet. */
static void converse(struct duo *d)
{
    for (int n = 0; n < 3; n++) {
        talk(&d->i, d->ic, &d->j, d->jc, "from I");
        talk(&d->j, d->jc, &d->i, d->ic, "from J");
    }
}

/* J is back at an old copy, and does not know it yet. */
static void open_restored(struct duo *d, int32_t pq)
{
    duo_open(d, NULL);
    connect_agents(&d->i, &d->j, pq, &d->ic, &d->jc);
    talk(&d->i, d->ic, &d->j, d->jc, "before");
    save_copy(&d->j);
    converse(d);
    restore_copy(&d->j);
}

static void both_agree(struct duo *d)
{
    expect_sync(&d->i, d->ic, SIMPLEX_SYNC_AGREED, SIMPLEX_OK);
    expect_sync(&d->j, d->jc, SIMPLEX_SYNC_AGREED, SIMPLEX_OK);
    expect_sync(&d->i, d->ic, SIMPLEX_SYNC_OK, SIMPLEX_OK);
    expect_sync(&d->j, d->jc, SIMPLEX_SYNC_OK, SIMPLEX_OK);
    assert_int_equal(info_of(&d->i, d->ic).sync_state, SIMPLEX_SYNC_OK);
    assert_int_equal(info_of(&d->j, d->jc).sync_state, SIMPLEX_SYNC_OK);
}

/* The first messages may tell of a gap: the numbers of what was lost. */
static void first_words(struct test_agent *from, int64_t from_conn, struct test_agent *to,
                        int64_t to_conn, const char *text)
{
    (void)send_text(from, from_conn, text);
    simplex_event *ev = wait_event(to, SIMPLEX_EV_MSG, to_conn);
    vec_assert_eq(simplex_event_data(ev), sx_str(text), "message");
    assert_int_equal(simplex_agent_ack(to->a, to_conn, simplex_event_msg_id(ev)), SIMPLEX_OK);
    simplex_event_free(ev);
    expect(from, SIMPLEX_EV_SENT, from_conn);
}

static void usable_again(struct duo *d)
{
    first_words(&d->i, d->ic, &d->j, d->jc, "first from I");
    first_words(&d->j, d->jc, &d->i, d->ic, "first from J");
    converse(d);
    assert_true(quiet(&d->i, SIMPLEX_EV_MSG, 20)); /* nothing is shown twice */
    assert_true(quiet(&d->j, SIMPLEX_EV_MSG, 20));
    assert_true(quiet(&d->i, SIMPLEX_EV_RSYNC, 1));
    assert_true(quiet(&d->j, SIMPLEX_EV_RSYNC, 1));
}

/* Neither has anything to send, and the server holds nothing: what was on its way has been read,
 * unless something was sent meanwhile, which takes a number. */
static bool at_rest(struct duo *d)
{
    simplex_server_counters n = { .size = sizeof n };
    simplex_connection_info i = info_of(&d->i, d->ic), j = info_of(&d->j, d->jc);

    assert_int_equal(simplex_server_count(d->srv.s, &n), SIMPLEX_OK);
    return i.pending == 0 && j.pending == 0 && n.messages == 0 &&
           i.last_msg_id == info_of(&d->i, d->ic).last_msg_id &&
           j.last_msg_id == info_of(&d->j, d->jc).last_msg_id;
}

/* When attempts cross each other agreements come and go, also after both sides were content with
 * one. It ends by itself, and well. */
static void agreed_at_rest(struct duo *d)
{
    int64_t until = sx_mono_ms() + WAIT_MS;

    while (!at_rest(d)) {
        assert_true(sx_mono_ms() < until);
        usleep(5000);
    }
    assert_int_equal(info_of(&d->i, d->ic).sync_state, SIMPLEX_SYNC_OK);
    assert_int_equal(info_of(&d->j, d->jc).sync_state, SIMPLEX_SYNC_OK);
    forget_events(&d->i, SIMPLEX_EV_RSYNC);
    forget_events(&d->j, SIMPLEX_EV_RSYNC);
}

/* ---- an old copy ---- */

static void recover(int32_t pq)
{
    struct duo d;

    open_restored(&d, pq);
    (void)send_text(&d.i, d.ic, "nobody can read this");
    expect(&d.i, SIMPLEX_EV_SENT, d.ic);
    expect_sync(&d.j, d.jc, SIMPLEX_SYNC_REQUIRED, SIMPLEX_E_RATCHET_HEADER);
    assert_int_equal(info_of(&d.j, d.jc).sync_state, SIMPLEX_SYNC_REQUIRED);
    assert_blocked(&d.j, d.jc);
    (void)send_text(&d.i, d.ic, "nor this");
    assert_true(quiet(&d.j, SIMPLEX_EV_RSYNC, 100)); /* said once */
    sync_ok(&d.j, d.jc, false);
    assert_blocked(&d.j, d.jc);
    both_agree(&d);
    expect(&d.i, SIMPLEX_EV_SENT, d.ic);
    usable_again(&d);
    if (pq != SIMPLEX_PQ_OFF && sx_kem_available()) {
        simplex_connection_info info = info_of(&d.i, d.ic);
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
    both_agree(&d);
    usable_again(&d);
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
    both_agree(&d);
    usable_again(&d);
    d.ic = first_i;
    d.jc = first_j;
    sync_ok(&d.j, d.jc, false);
    both_agree(&d);
    usable_again(&d);
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
    forwarder_set(&d.fi, FORWARD_REFUSE);
    forwarder_set(&d.fj, FORWARD_REFUSE);
    sync_ok(&d.i, d.ic, true);
    assert_int_equal(info_of(&d.i, d.ic).sync_state, SIMPLEX_SYNC_STARTED);
    assert_blocked(&d.i, d.ic);
    assert_int_equal(simplex_agent_sync_ratchet(d.i.a, d.ic, false), SIMPLEX_E_PROHIBITED);
    for (int n = 0; n < 5; n++)
        sync_ok(&d.i, d.ic, true); /* the same keys wait */
    assert_int_equal(info_of(&d.i, d.ic).pending, 1);
    forwarder_set(&d.fi, FORWARD);
    forwarder_set(&d.fj, FORWARD);
    both_agree(&d);
    usable_again(&d);
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
        both_agree(&d);
        usable_again(&d);
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
    both_agree(&d);
    usable_again(&d);
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
    int64_t known = info_of(&d.i, d.ic).sent;
    save_copy(&d.j);
    talk(&d.i, d.ic, &d.j, d.jc, "this is forgotten");
    talk(&d.i, d.ic, &d.j, d.jc, "and this");
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
    forwarder_set(&d.fi, FORWARD_REFUSE);
    forwarder_set(&d.fj, FORWARD_REFUSE);
    sync_ok(&d.i, d.ic, true);
    sync_ok(&d.j, d.jc, true);
    forwarder_set(&d.fi, FORWARD);
    forwarder_set(&d.fj, FORWARD);
    both_agree(&d);
    usable_again(&d);
    duo_close(&d);
}

static void the_server_may_be_away_at_each_step(void **state)
{
    struct duo d;

    (void)state;
    open_restored(&d, SIMPLEX_PQ_OFF);
    agent_close(&d.i);
    forwarder_set(&d.fi, FORWARD_REFUSE);
    forwarder_set(&d.fj, FORWARD_REFUSE);
    sync_ok(&d.j, d.jc, true);
    agent_reopen(&d.j);
    assert_int_equal(info_of(&d.j, d.jc).sync_state, SIMPLEX_SYNC_STARTED);
    forwarder_set(&d.fi, FORWARD); /* the keys reach I's queue, I is offline */
    while (info_of(&d.j, d.jc).pending > 0)
        usleep(10000);
    agent_close(&d.j);
    agent_reopen(&d.i); /* agrees; J's queue is away */
    expect_sync(&d.i, d.ic, SIMPLEX_SYNC_AGREED, SIMPLEX_OK);
    agent_reopen(&d.i);
    assert_int_equal(info_of(&d.i, d.ic).sync_state, SIMPLEX_SYNC_AGREED);
    assert_blocked(&d.i, d.ic);
    forwarder_set(&d.fj, FORWARD);
    while (info_of(&d.i, d.ic).pending > 0)
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
        forwarder_set(&d.fi, FORWARD);
        forwarder_set(&d.fj, FORWARD);
        both_agree(&d);
        usable_again(&d);
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

static simplex_rc arm(struct simplex_agent *a, void *arg)
{
    a->recover_after = 20;
    sx_store_fault(a->store, *(unsigned *)arg, SIMPLEX_E_DB_FULL);
    return SIMPLEX_OK;
}

static simplex_rc disarm(struct simplex_agent *a, void *arg)
{
    *(bool *)arg = sx_store_fault_disarm(a->store);
    return SIMPLEX_OK;
}

static void on_loop(struct test_agent *t, simplex_rc (*fn)(struct simplex_agent *, void *),
                    void *arg)
{
    struct sx_call call = { .fn = fn, .arg = arg };

    (void)!sx_agent_call(t->a, &call); /* a failing commit of the same turn is its result as well */
}

/* At one statement after the other, on the side that begins and on the one that answers. */
static void a_full_disk_does_no_harm(void **state)
{
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    for (unsigned side = 0; side < 2; side++) {
        struct test_agent *full = side == 0 ? &d.i : &d.j;
        bool fired = true;
        for (unsigned nth = 0; fired && nth < 200; nth++) {
            if (nth % 12 == 0)
                duo_connect(&d);                  /* only so many keys of a peer count in an hour */
            d.i.errors_ok = d.j.errors_ok = true; /* ERR tells of the disk */
            on_loop(full, arm, &nth);
            simplex_rc rc = simplex_agent_sync_ratchet(d.j.a, d.jc, true);
            (void)quiet(full, SIMPLEX_EV_QCONT, 60);
            on_loop(full, disarm, &fired);
            while (rc == SIMPLEX_E_DB_FULL) { /* there is room again */
                (void)quiet(full, SIMPLEX_EV_QCONT, 30);
                rc = simplex_agent_sync_ratchet(d.j.a, d.jc, true);
            }
            assert_int_equal(rc, SIMPLEX_OK);
            both_agree(&d);
            first_words(&d.i, d.ic, &d.j, d.jc, "from I");
            first_words(&d.j, d.jc, &d.i, d.ic, "from J");
        }
        assert_false(fired);
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

/* ---- an old copy in the middle of it ---- */

static void await_delivery(struct test_agent *t, int64_t conn)
{
    while (info_of(t, conn).pending > 0)
        usleep(1000);
}

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
    both_agree(&d);
    usable_again(&d);
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
    both_agree(&d);
    usable_again(&d);
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
    both_agree(&d);
    usable_again(&d);
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

/* ---- a contact that does not keep to it ---- */

struct scene {
    struct duo d; /* i: the victim; j: somebody it talks to as well */
    struct contact c;
    int64_t conn; /* of i with the contact */
};

static void scene_open(struct scene *s)
{
    simplex_event *ev;

    duo_open(&s->d, NULL);
    duo_connect(&s->d);
    assert_int_equal(simplex_agent_create(s->d.i.a, SIMPLEX_PQ_OFF, &s->conn), SIMPLEX_OK);
    ev = wait_event(&s->d.i, SIMPLEX_EV_INV, s->conn);
    contact_open(&s->c, simplex_event_data(ev), simplex_server_port(s->d.srv.s));
    simplex_event_free(ev);
    contact_confirm(&s->c, "a contact");
    ev = wait_event(&s->d.i, SIMPLEX_EV_CONF, s->conn);
    assert_int_equal(simplex_agent_allow(s->d.i.a, s->conn, simplex_event_conf(ev), sx_str("I")),
                     SIMPLEX_OK);
    simplex_event_free(ev);
    expect(&s->d.i, SIMPLEX_EV_CON, s->conn);
}

static void scene_close(struct scene *s)
{
    talk(&s->d.i, s->d.ic, &s->d.j, s->d.jc, "others are not concerned");
    talk(&s->d.j, s->d.jc, &s->d.i, s->d.ic, "not at all");
    contact_close(&s->c);
    duo_close(&s->d);
}

static void send_key_with(struct scene *s, const struct sx_e2e_params *e2e, uint16_t version,
                          simplex_bytes info)
{
    struct sx_envelope env = {
        .version = version, .tag = SX_ENV_RATCHET_KEY, .has_e2e = true, .e2e = *e2e, .body = info
    };
    struct contact_how how = { .confirmation = false };
    struct sx_wr envelope, body;

    sx_wr_init(&envelope, BODY_MAX);
    sx_wr_init(&body, BODY_MAX);
    sx_envelope_encode(&envelope, &env);
    assert_false(envelope.bad);
    contact_box(&s->c, &how, sx_wr_bytes(&envelope), &body);
    contact_send(&s->c, sx_wr_bytes(&body));
    sx_wr_free(&envelope);
    sx_wr_free(&body);
}

static void send_key(struct scene *s, const struct sx_e2e_params *e2e, uint16_t version)
{
    send_key_with(s, e2e, version, sx_str("R"));
}

static void new_params(struct sx_x3dh_keys *k, struct sx_e2e_params *e2e)
{
    assert_int_equal(sx_x3dh_keys_new(false, k), SIMPLEX_OK);
    sx_x3dh_params(k, (struct sx_range){ SX_E2E_MAX, SX_E2E_MAX }, e2e);
}

static void expect_err(struct scene *s, simplex_rc why)
{
    simplex_event *ev = wait_event(&s->d.i, SIMPLEX_EV_ERR, s->conn);

    assert_string_equal(simplex_rc_name(simplex_event_error(ev)), simplex_rc_name(why));
    simplex_event_free(ev);
}

static void keys_that_make_no_sense_change_nothing(void **state)
{
    struct scene s;
    struct sx_x3dh_keys k;
    struct sx_e2e_params e2e, bad;

    (void)state;
    scene_open(&s);
    new_params(&k, &e2e);
    bad = e2e;
    bad.v = (struct sx_range){ SX_E2E_MAX + 1, SX_E2E_MAX + 1 };
    send_key(&s, &bad, SX_AGENT_MAX);
    expect_err(&s, SIMPLEX_E_VERSION);
    send_key(&s, &e2e, 2); /* an agent that had no such envelope */
    expect_err(&s, SIMPLEX_E_VERSION);
    bad = e2e;
    memset(bad.k1.b, 0, 56); /* small order: the secret would be known to all */
    send_key(&s, &bad, SX_AGENT_MAX);
    simplex_event_free(wait_event(&s.d.i, SIMPLEX_EV_ERR, s.conn));
    assert_int_equal(info_of(&s.d.i, s.conn).sync_state, SIMPLEX_SYNC_OK);
    contact_say(&s.c, "the old ratchet is there");
    (void)receive_text(&s.d.i, s.conn, "the old ratchet is there");
    scene_close(&s);
}

static void repeated_keys_count_once(void **state)
{
    struct scene s;
    struct sx_x3dh_keys k;
    struct sx_e2e_params e2e;

    (void)state;
    scene_open(&s);
    new_params(&k, &e2e);
    send_key(&s, &e2e, SX_AGENT_MAX);
    expect_sync(&s.d.i, s.conn, SIMPLEX_SYNC_AGREED, SIMPLEX_OK);
    int64_t last = info_of(&s.d.i, s.conn).last_msg_id;
    for (int n = 0; n < 50; n++)
        send_key(&s, &e2e, SX_AGENT_MAX);
    assert_true(quiet(&s.d.i, SIMPLEX_EV_RSYNC, 200));
    assert_int_equal(info_of(&s.d.i, s.conn).last_msg_id, last);
    agent_reopen(&s.d.i); /* it is not forgotten */
    send_key(&s, &e2e, SX_AGENT_MAX);
    assert_true(quiet(&s.d.i, SIMPLEX_EV_RSYNC, 200));
    assert_int_equal(info_of(&s.d.i, s.conn).sync_state, SIMPLEX_SYNC_AGREED);
    scene_close(&s);
}

static uint64_t on_server(struct scene *s)
{
    simplex_server_counters n = { .size = sizeof n };

    assert_int_equal(simplex_server_count(s->d.srv.s, &n), SIMPLEX_OK);
    return n.messages;
}

/* A rotation has what was sent meanwhile sent again: also the answer to keys that are not our last.
 */
static void a_repeat_is_no_answer_to_newer_keys(void **state)
{
    struct scene s;
    struct sx_x3dh_keys k;
    struct sx_e2e_params e2e;

    (void)state;
    scene_open(&s);
    sync_ok(&s.d.i, s.conn, true);
    new_params(&k, &e2e);
    send_key(&s, &e2e, SX_AGENT_MAX);
    expect_sync(&s.d.i, s.conn, SIMPLEX_SYNC_AGREED, SIMPLEX_OK);
    sync_ok(&s.d.i, s.conn, true);
    while (info_of(&s.d.i, s.conn).pending > 0)
        usleep(1000);
    uint64_t unread = on_server(&s); /* the contact reads nothing */
    send_key(&s, &e2e, SX_AGENT_MAX);
    while (on_server(&s) > unread && info_of(&s.d.i, s.conn).sync_state == SIMPLEX_SYNC_STARTED)
        usleep(1000);
    assert_int_equal(info_of(&s.d.i, s.conn).sync_state, SIMPLEX_SYNC_STARTED);
    new_params(&k, &e2e);
    send_key(&s, &e2e, SX_AGENT_MAX);
    expect_sync(&s.d.i, s.conn, SIMPLEX_SYNC_AGREED, SIMPLEX_OK);
    scene_close(&s);
}

/* The keys that the victim waited for, sent once more as the answer to some that it does not have:
 * it says which ones are its last. Once for each such message, and not for ever. */
static void who_answers_others_is_sent_the_last_keys(void **state)
{
    uint8_t info[1 + 32 + 8] = { 'R' };
    struct scene s;
    struct sx_x3dh_keys k;
    struct sx_e2e_params e2e;

    (void)state;
    scene_open(&s);
    sync_ok(&s.d.i, s.conn, true);
    new_params(&k, &e2e);
    send_key(&s, &e2e, SX_AGENT_MAX);
    expect_sync(&s.d.i, s.conn, SIMPLEX_SYNC_AGREED, SIMPLEX_OK);
    await_delivery(&s.d.i, s.conn);
    int64_t last = info_of(&s.d.i, s.conn).last_msg_id;
    for (int n = 0; n < 3; n++) /* a repeat of a server is no second one */
        send_key_with(&s, &e2e, SX_AGENT_MAX, sx_bytes(info, sizeof info));
    while (info_of(&s.d.i, s.conn).last_msg_id == last)
        usleep(1000);
    assert_true(quiet(&s.d.i, SIMPLEX_EV_RSYNC, 100));
    assert_int_equal(info_of(&s.d.i, s.conn).last_msg_id, last + 1);
    for (uint8_t n = 1; n < 100; n++) {
        info[sizeof info - 1] = n;
        send_key_with(&s, &e2e, SX_AGENT_MAX, sx_bytes(info, sizeof info));
    }
    assert_true(quiet(&s.d.i, SIMPLEX_EV_RSYNC, 300));
    last = info_of(&s.d.i, s.conn).last_msg_id - last;
    assert_true(last > 1 && last < SX_SYNC_KEYS_MAX);
    assert_int_equal(info_of(&s.d.i, s.conn).sync_state, SIMPLEX_SYNC_AGREED);
    scene_close(&s);
}

static void a_flood_of_keys_is_not_answered(void **state)
{
    enum { N = 300 };
    struct scene s;
    struct sx_x3dh_keys k;
    struct sx_e2e_params e2e;
    unsigned told = 0;

    (void)state;
    scene_open(&s);
    int64_t before = info_of(&s.d.i, s.conn).last_msg_id;
    for (int n = 0; n < N; n++) {
        new_params(&k, &e2e);
        send_key(&s, &e2e, SX_AGENT_MAX);
    }
    while (!quiet(&s.d.i, SIMPLEX_EV_RSYNC, 500))
        told++;
    assert_int_equal(told, SX_SYNC_KEYS_MAX);
    /* each of these was answered, with keys and perhaps EREADY */
    assert_true(info_of(&s.d.i, s.conn).last_msg_id - before <= 2 * SX_SYNC_KEYS_MAX);
    sync_ok(&s.d.i, s.conn, true); /* what is begun here is finished all the same */
    new_params(&k, &e2e);
    send_key(&s, &e2e, SX_AGENT_MAX);
    expect_sync(&s.d.i, s.conn, SIMPLEX_SYNC_AGREED, SIMPLEX_OK);
    scene_close(&s);
}

int main(void)
{
    const char *filter = getenv("SIMPLEX_TEST");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_old_copy_is_noticed_and_gets_a_new_ratchet),
        cmocka_unit_test(the_new_ratchet_returns_to_the_kem),
        cmocka_unit_test(the_peer_of_an_old_copy_can_begin),
        cmocka_unit_test(a_key_used_for_another_message_is_a_sign_too),
        cmocka_unit_test(an_old_copy_in_the_same_place_is_known_at_once),
        cmocka_unit_test(an_old_copy_stays_one_when_its_keys_cannot_be_delivered),
        cmocka_unit_test(no_other_database_is_taken_for_an_old_copy),
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
        cmocka_unit_test(who_went_back_gets_the_keys_that_it_took_before),
        cmocka_unit_test(who_is_forced_gets_them_too),
        cmocka_unit_test(going_back_again_does_no_harm),
        cmocka_unit_test(both_may_go_back),
        cmocka_unit_test(keys_that_make_no_sense_change_nothing),
        cmocka_unit_test(repeated_keys_count_once),
        cmocka_unit_test(a_repeat_is_no_answer_to_newer_keys),
        cmocka_unit_test(who_answers_others_is_sent_the_last_keys),
        cmocka_unit_test(a_flood_of_keys_is_not_answered),
    };
    if (filter != NULL) /* a pattern: only these */
        cmocka_set_test_filter(filter);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
