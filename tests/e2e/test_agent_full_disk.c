/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disk is full at each statement of sending, of receiving and of answering under a callback:
 * no message is lost, and none comes twice.
 */
#include <stdio.h>

#include "support/full_disk.h"
#include "support/one_duo.h"

/* The disk is full at each statement of sending, in turn: the caller is told, or it was stored. */
static void a_full_disk_while_sending_loses_nothing(void **state)
{
    struct test_agent *t = &d.i;
    struct full_disk f = { .recover_after = 20, .fired = true };
    char text[32];
    int64_t id;

    (void)state;
    t->errors_ok = true; /* ERR tells of the disk */
    for (f.nth = 0; f.fired; f.nth++) {
        assert_in_range(f.nth, 0, 200);
        (void)snprintf(text, sizeof text, "message %u", f.nth);
        full_disk_begin(t, &f);
        simplex_rc rc = simplex_agent_send(t->a, d.ic, sx_str(text), 0, &id);
        if (rc != SIMPLEX_OK && rc != SIMPLEX_E_DB_FULL)
            fail_msg("at statement %u: %s", f.nth, simplex_rc_name(rc));
        (void)quiet(t, SIMPLEX_EV_SENT, 20);
        full_disk_end(t, &f);
        while (rc != SIMPLEX_OK) { /* there is room again */
            rc = simplex_agent_send(t->a, d.ic, sx_str(text), 0, &id);
            if (rc != SIMPLEX_OK)
                (void)quiet(t, SIMPLEX_EV_SENT, 20);
        }
        assert_int_equal(receive_text(&d.j, d.jc, text), id);
    }
    assert_true(f.nth > 5);
    assert_true(quiet(&d.j, SIMPLEX_EV_MSG, 50));
}

static void a_full_disk_while_receiving_loses_nothing(void **state)
{
    struct test_agent *t = &d.i;
    struct full_disk f = { .recover_after = 20, .fired = true };
    char text[32];

    (void)state;
    t->errors_ok = true;
    for (f.nth = 0; f.fired; f.nth++) {
        assert_in_range(f.nth, 0, 200);
        (void)snprintf(text, sizeof text, "message %u", f.nth);
        full_disk_begin(t, &f);
        send_text(&d.j, d.jc, text);
        simplex_event *ev = wait_event(t, SIMPLEX_EV_MSG, d.ic);
        vec_assert_eq(simplex_event_data(ev), sx_str(text), "message");
        assert_int_equal(simplex_event_integrity(ev, NULL, NULL), SIMPLEX_MSG_OK);
        int64_t id = simplex_event_msg_id(ev);
        simplex_event_free(ev);
        simplex_rc rc = simplex_agent_ack(t->a, d.ic, id);
        while (rc != SIMPLEX_OK) {
            assert_int_equal(rc, SIMPLEX_E_DB_FULL);
            (void)quiet(t, SIMPLEX_EV_SENT, 20);
            rc = simplex_agent_ack(t->a, d.ic, id);
        }
        (void)quiet(t, SIMPLEX_EV_SENT, 10);
        full_disk_end(t, &f);
    }
    assert_true(f.nth > 5);
    (void)quiet(t, SIMPLEX_EV_SENT, 1500); /* the last recovery */
    send_text(&d.j, d.jc, "last");
    receive_text(t, d.ic, "last");
}

/* The other side answers inside its callback: acknowledgement and answer are stored or are not. */
static void on_echo(void *user, const simplex_event *ev)
{
    simplex_agent *const *a = user;
    int64_t id;

    if (simplex_event_kind(ev) != SIMPLEX_EV_MSG)
        return;
    if (simplex_agent_ack(*a, simplex_event_conn(ev), simplex_event_msg_id(ev)) == SIMPLEX_OK)
        (void)!simplex_agent_send(*a, simplex_event_conn(ev), simplex_event_data(ev), 0, &id);
}

static void a_full_disk_under_a_callback_loses_nothing(void **state)
{
    struct test_agent *t = &d.j;
    struct full_disk f = { .recover_after = 20, .fired = true };
    char text[32];

    (void)state;
    agent_close(t);
    t->cfg.on_event = on_echo;
    t->cfg.user = &t->a;
    agent_reopen(t);
    for (f.nth = 0; f.fired; f.nth++) {
        assert_in_range(f.nth, 0, 200);
        (void)snprintf(text, sizeof text, "message %u", f.nth);
        full_disk_begin(t, &f);
        send_text(&d.i, d.ic, text);
        receive_text(&d.i, d.ic, text);
        assert_true(quiet(&d.i, SIMPLEX_EV_MSG, 10));
        full_disk_end(t, &f);
    }
    assert_true(f.nth > 10);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, connected_duo, close_duo)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_full_disk_while_sending_loses_nothing),
        TEST(a_full_disk_while_receiving_loses_nothing),
        TEST(a_full_disk_under_a_callback_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
