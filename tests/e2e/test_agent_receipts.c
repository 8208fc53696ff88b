/* SPDX-License-Identifier: Apache-2.0 */
/* Receipts: the sender learns that the application on the other side has the message. */
#include <unistd.h>

#include "agent/agent.h"
#include "agent/enqueue.h"
#include "agent/receive.h"
#include "support/one_duo.h"

static void expect_receipt(struct test_agent *t, int64_t conn, int64_t msg_id, const char *info)
{
    simplex_event *ev = wait_event(t, SIMPLEX_EV_RCVD, conn);

    assert_string_equal(simplex_event_name(ev), "RCVD");
    assert_int_equal(simplex_event_msg_id(ev), msg_id);
    assert_int_equal(simplex_event_receipt(ev), SIMPLEX_RECEIPT_OK);
    vec_assert_eq(simplex_event_data(ev), sx_str(info), "information of the receipt");
    simplex_event_free(ev);
}

static void confirm(struct test_agent *t, int64_t conn, int64_t id, const char *info)
{
    assert_int_equal(simplex_agent_ack_receipt(t->a, conn, id, sx_str(info)), SIMPLEX_OK);
}

static void the_sender_sees_the_receipt_of_each_message(void **state)
{
    (void)state;
    int64_t one = send_text(&d.i, d.ic, "one");
    int64_t two = send_text(&d.i, d.ic, "two");
    confirm(&d.j, d.jc, see_text(&d.j, d.jc, "one"), "");
    expect_receipt(&d.i, d.ic, one, "");
    confirm(&d.j, d.jc, see_text(&d.j, d.jc, "two"), "read at noon");
    expect_receipt(&d.i, d.ic, two, "read at noon");
    int64_t back = send_text(&d.j, d.jc, "three");
    confirm(&d.i, d.ic, see_text(&d.i, d.ic, "three"), "x");
    expect_receipt(&d.j, d.jc, back, "x");
    expect(&d.i, SIMPLEX_EV_SENT, d.ic);
    expect(&d.i, SIMPLEX_EV_SENT, d.ic);
    expect(&d.j, SIMPLEX_EV_SENT, d.jc);
    talk(&d.i, d.ic, &d.j, d.jc, "numbers and hashes still fit");
    talk(&d.j, d.jc, &d.i, d.ic, "on both sides");
}

static void without_being_asked_for_no_receipt_is_sent(void **state)
{
    (void)state;
    talk(&d.i, d.ic, &d.j, d.jc, "one");
    assert_true(quiet(&d.i, SIMPLEX_EV_RCVD, 300));
}

static void a_second_acknowledgement_sends_no_second_receipt(void **state)
{
    (void)state;
    int64_t sent = send_text(&d.i, d.ic, "one");
    int64_t one = see_text(&d.j, d.jc, "one");
    confirm(&d.j, d.jc, one, "");
    expect_receipt(&d.i, d.ic, sent, "");
    int64_t last = last_id(&d.j, d.jc);
    confirm(&d.j, d.jc, one, "");
    assert_int_equal(simplex_agent_ack(d.j.a, d.jc, one), SIMPLEX_OK);
    assert_int_equal(last_id(&d.j, d.jc), last);
    assert_true(quiet(&d.i, SIMPLEX_EV_RCVD, 200));
}

static void a_receipt_is_not_answered_by_a_receipt(void **state)
{
    (void)state;
    int64_t sent = send_text(&d.i, d.ic, "one");
    confirm(&d.j, d.jc, see_text(&d.j, d.jc, "one"), "");
    expect_receipt(&d.i, d.ic, sent, "");
    int64_t receipt = last_id(&d.i, d.ic); /* the id that the receipt took here */
    assert_int_equal(receipt, sent + 1);
    confirm(&d.i, d.ic, receipt, "");
    assert_int_equal(last_id(&d.i, d.ic), receipt);
    assert_true(quiet(&d.j, SIMPLEX_EV_RCVD, 200));
}

static void bad_calls_change_nothing(void **state)
{
    static uint8_t large[20000];

    (void)state;
    int64_t sent = send_text(&d.i, d.ic, "one");
    int64_t one = see_text(&d.j, d.jc, "one"), last = last_id(&d.j, d.jc);
    simplex_bytes none = { 0 };
    assert_int_equal(simplex_agent_ack_receipt(d.j.a, d.jc, one + 1, none), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_ack_receipt(d.j.a, d.jc, 0, none), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_ack_receipt(d.j.a, d.jc + 1, one, none), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_ack_receipt(NULL, d.jc, one, none), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_ack_receipt(d.j.a, d.jc, one, (simplex_bytes){ NULL, 1 }),
                     SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_ack_receipt(d.j.a, d.jc, one, (simplex_bytes){ large, 20000 }),
                     SIMPLEX_E_TOO_LARGE);
    assert_int_equal(simplex_agent_ack_receipt(d.j.a, d.jc, one, (simplex_bytes){ large, 15752 }),
                     SIMPLEX_E_TOO_LARGE);
    assert_int_equal(last_id(&d.j, d.jc), last);
    assert_true(quiet(&d.i, SIMPLEX_EV_RCVD, 100));
    assert_int_equal(simplex_agent_ack_receipt(d.j.a, d.jc, one, (simplex_bytes){ large, 15751 }),
                     SIMPLEX_OK);
    simplex_event *ev = wait_event(&d.i, SIMPLEX_EV_RCVD, d.ic);
    assert_int_equal(simplex_event_msg_id(ev), sent);
    assert_int_equal(simplex_event_data(ev).len, 15751);
    simplex_event_free(ev);
    expect(&d.i, SIMPLEX_EV_SENT, d.ic);
    talk(&d.i, d.ic, &d.j, d.jc, "two");
}

static void receipts_survive_restarts_on_both_sides(void **state)
{
    (void)state;
    int64_t sent = send_text(&d.i, d.ic, "one");
    expect(&d.i, SIMPLEX_EV_SENT, d.ic);
    int64_t one = see_text(&d.j, d.jc, "one");
    agent_reopen(&d.i); /* what was sent is remembered */
    duo_ways(&d, FORWARD_REFUSE);
    confirm(&d.j, d.jc, one, "");
    agent_reopen(&d.j); /* the receipt is not forgotten */
    duo_ways(&d, FORWARD);
    expect_receipt(&d.i, d.ic, sent, "");
    talk(&d.i, d.ic, &d.j, d.jc, "two");
}

/* ---- what a peer may send that ours does not ---- */

struct forged {
    int64_t conn, id;
    const uint8_t *hash;
    unsigned times;
};

static simplex_rc send_forged(struct simplex_agent *a, void *arg)
{
    const struct forged *f = arg;
    struct sx_agent_msg msg = { .tag = SX_AM_MESSAGE, .msg = SX_M_RCVD };
    struct sx_outgoing o = { .type = SX_M_RCVD };
    struct sx_receipt r = { .id = f->id, .hash = sx_bytes(f->hash, 32) };
    struct sx_conn c;
    struct sx_wr w;
    int64_t id;
    simplex_rc rc = sx_store_conn_get(a->store, f->conn, &c);

    sx_wr_init(&w, 16000);
    for (unsigned n = 0; n < f->times; n++)
        sx_receipt_encode(&w, &r);
    msg.list = (struct sx_list){ f->times, sx_wr_bytes(&w) };
    if (rc == SIMPLEX_OK)
        rc = sx_enqueue(a, &c, &msg, &o, &id);
    sx_wr_free(&w);
    return rc;
}

static void forge(struct test_agent *t, int64_t conn, int64_t snd_id, const uint8_t hash[32],
                  unsigned times)
{
    struct forged f = { conn, snd_id, hash, times };

    assert_int_equal(sx_agent_run(t->a, send_forged, &f, true), SIMPLEX_OK);
}

/* The number of I's last message, as J names it. */
static int64_t number_of(struct test_agent *t, int64_t conn, const char *text)
{
    simplex_event *ev = wait_event(t, SIMPLEX_EV_MSG, conn);
    int64_t number = simplex_event_sender_id(ev);

    vec_assert_eq(simplex_event_data(ev), sx_str(text), "message");
    simplex_event_free(ev);
    return number;
}

static void a_wrong_hash_is_told_once_and_a_right_one_afterwards(void **state)
{
    static const uint8_t wrong[32] = { 1 };

    (void)state;
    int64_t sent = send_text(&d.i, d.ic, "one");
    int64_t number = number_of(&d.j, d.jc, "one");
    forge(&d.j, d.jc, number, wrong, 200);
    forge(&d.j, d.jc, number, wrong, 1);
    simplex_event *ev = wait_event(&d.i, SIMPLEX_EV_RCVD, d.ic);
    assert_int_equal(simplex_event_msg_id(ev), sent);
    assert_int_equal(simplex_event_receipt(ev), SIMPLEX_RECEIPT_BAD_HASH);
    assert_non_null(strstr(simplex_event_json(ev), "\"status\":\"BAD_HASH\""));
    simplex_event_free(ev);
    assert_true(quiet(&d.i, SIMPLEX_EV_RCVD, 200));
    confirm(&d.j, d.jc, last_id(&d.j, d.jc) - 2, "");
    expect_receipt(&d.i, d.ic, sent, "");
    forge(&d.j, d.jc, number, wrong, 1); /* after the right one: nothing */
    assert_true(quiet(&d.i, SIMPLEX_EV_RCVD, 200));
}

static void receipts_for_what_was_not_sent_are_refused(void **state)
{
    static const int64_t numbers[] = { 1000, 0, -1, INT64_MAX, INT64_MIN };
    static const uint8_t hash[32] = { 1 };

    (void)state;
    d.i.errors_ok = true;
    for (size_t n = 0; n < SX_COUNT(numbers); n++) {
        forge(&d.j, d.jc, numbers[n], hash, 3);
        simplex_event *ev = wait_event(&d.i, SIMPLEX_EV_ERR, d.ic);
        assert_int_equal(simplex_event_error(ev), SIMPLEX_E_DECODE);
        simplex_event_free(ev);
    }
    forge(&d.j, d.jc, 1, hash, 1); /* the confirmation: no message of the application */
    assert_true(quiet(&d.i, SIMPLEX_EV_RCVD, 200));
    d.i.errors_ok = false;
    talk(&d.i, d.ic, &d.j, d.jc, "still here");
    talk(&d.j, d.jc, &d.i, d.ic, "here too");
}

/* ---- an old peer ---- */

static simplex_rc pretend_old(struct simplex_agent *a, void *arg)
{
    struct sx_conn c;
    simplex_rc rc = sx_store_conn_get(a->store, *(int64_t *)arg, &c);

    c.agent_version = 3;
    return rc == SIMPLEX_OK ? sx_store_conn_update(a->store, &c) : rc;
}

static void a_peer_too_old_for_receipts_gets_none(void **state)
{
    (void)state;
    send_text(&d.i, d.ic, "one");
    int64_t one = see_text(&d.j, d.jc, "one"), last = last_id(&d.j, d.jc);
    assert_int_equal(sx_agent_run(d.j.a, pretend_old, &d.jc, true), SIMPLEX_OK);
    confirm(&d.j, d.jc, one, "");
    assert_int_equal(last_id(&d.j, d.jc), last);
    assert_true(quiet(&d.i, SIMPLEX_EV_RCVD, 200));
}

/* ---- lack of memory ---- */

struct starved {
    int64_t conn, id;
    unsigned nth;
    bool fired;
};

static simplex_rc ack_starved(struct simplex_agent *a, void *arg)
{
    struct starved *x = arg;
    simplex_bytes info = sx_str("read");

    a->recover_after = 10;
    sx_fault_malloc(x->nth);
    simplex_rc rc = sx_user_ack(a, x->conn, x->id, &info);
    x->fired = sx_fault_disarm();
    return rc;
}

static void a_receipt_without_memory_is_whole_or_not_at_all(void **state)
{
    (void)state;
    d.j.errors_ok = true;
    agent_reopen(&d.j);
    expect(&d.j, SIMPLEX_EV_UP, 0);
    int64_t sent = send_text(&d.i, d.ic, "one");
    expect(&d.i, SIMPLEX_EV_SENT, d.ic);
    int64_t one = see_text(&d.j, d.jc, "one"), last = last_id(&d.j, d.jc);
    expect_server_connections(&d.srv, 3);
    struct starved x = { d.jc, one, 0, true };
    for (; x.fired; x.nth++) {
        simplex_rc rc = sx_agent_run(d.j.a, ack_starved, &x, true);
        assert_int_equal(rc == SIMPLEX_OK, !x.fired);
        if (x.fired) {
            expect(&d.j, SIMPLEX_EV_UP, 0); /* it has recovered */
            expect_server_connections(&d.srv, 3);
            usleep(50000); /* and nobody else is to meet the next fault */
            assert_int_equal(last_id(&d.j, d.jc), last);
        }
        assert_true(x.nth < 50);
    }
    assert_true(x.nth > 1);
    expect_receipt(&d.i, d.ic, sent, "read");
    assert_true(quiet(&d.i, SIMPLEX_EV_RCVD, 200));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_sender_sees_the_receipt_of_each_message, connected_duo,
                                        close_duo),
        cmocka_unit_test_setup_teardown(without_being_asked_for_no_receipt_is_sent, connected_duo,
                                        close_duo),
        cmocka_unit_test_setup_teardown(a_second_acknowledgement_sends_no_second_receipt,
                                        connected_duo, close_duo),
        cmocka_unit_test_setup_teardown(a_receipt_is_not_answered_by_a_receipt, connected_duo,
                                        close_duo),
        cmocka_unit_test_setup_teardown(bad_calls_change_nothing, connected_duo, close_duo),
        cmocka_unit_test_setup_teardown(receipts_survive_restarts_on_both_sides, connected_duo,
                                        close_duo),
        cmocka_unit_test_setup_teardown(a_wrong_hash_is_told_once_and_a_right_one_afterwards,
                                        connected_duo, close_duo),
        cmocka_unit_test_setup_teardown(receipts_for_what_was_not_sent_are_refused, connected_duo,
                                        close_duo),
        cmocka_unit_test_setup_teardown(a_peer_too_old_for_receipts_gets_none, connected_duo,
                                        close_duo),
        cmocka_unit_test_setup_teardown(a_receipt_without_memory_is_whole_or_not_at_all,
                                        connected_duo, close_duo),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
