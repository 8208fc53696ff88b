/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A contact that makes no sense when it comes to new ratchets: keys that are wrong, old, repeated
 * or too many change nothing for the agent and cost it little.
 */
#include <unistd.h>

#include "hostile_stage.h"
#include "resync_stage.h"

static void send_key_with(const struct sx_e2e_params *e2e, uint16_t version, simplex_bytes info)
{
    struct sx_envelope env = {
        .version = version, .tag = SX_ENV_RATCHET_KEY, .has_e2e = true, .e2e = *e2e, .body = info
    };
    struct sx_wr envelope;

    sx_wr_init(&envelope, BODY_MAX);
    sx_envelope_encode(&envelope, &env);
    assert_false(envelope.bad);
    box_and_send(&saying, sx_wr_bytes(&envelope));
    sx_wr_free(&envelope);
}

static void send_key(const struct sx_e2e_params *e2e, uint16_t version)
{
    send_key_with(e2e, version, sx_str("R"));
}

static void new_params(struct sx_x3dh_keys *k, struct sx_e2e_params *e2e)
{
    assert_int_equal(sx_x3dh_keys_new(false, k), SIMPLEX_OK);
    sx_x3dh_params(k, (struct sx_range){ SX_E2E_MAX, SX_E2E_MAX }, e2e);
}

static void keys_that_make_no_sense_change_nothing(void **state)
{
    struct sx_x3dh_keys k;
    struct sx_e2e_params e2e, bad;

    (void)state;
    connect_contact();
    new_params(&k, &e2e);
    bad = e2e;
    bad.v = (struct sx_range){ SX_E2E_MAX + 1, SX_E2E_MAX + 1 };
    send_key(&bad, SX_AGENT_MAX);
    expect_err(SIMPLEX_E_VERSION);
    send_key(&e2e, 2); /* an agent that had no such envelope */
    expect_err(SIMPLEX_E_VERSION);
    bad = e2e;
    memset(bad.k1.b, 0, 56); /* small order: the secret would be known to all */
    send_key(&bad, SX_AGENT_MAX);
    simplex_event_free(wait_event(&s.d.i, SIMPLEX_EV_ERR, s.conn));
    assert_int_equal(connection_info(&s.d.i, s.conn).sync_state, SIMPLEX_SYNC_OK);
    contact_say(&s.c, "the old ratchet is there");
    (void)receive_text(&s.d.i, s.conn, "the old ratchet is there");
    others_go_on();
}

static void repeated_keys_count_once(void **state)
{
    struct sx_x3dh_keys k;
    struct sx_e2e_params e2e;

    (void)state;
    connect_contact();
    new_params(&k, &e2e);
    send_key(&e2e, SX_AGENT_MAX);
    expect_sync(&s.d.i, s.conn, SIMPLEX_SYNC_AGREED, SIMPLEX_OK);
    int64_t last = connection_info(&s.d.i, s.conn).last_msg_id;
    for (int n = 0; n < 50; n++)
        send_key(&e2e, SX_AGENT_MAX);
    assert_true(quiet(&s.d.i, SIMPLEX_EV_RSYNC, 200));
    assert_int_equal(connection_info(&s.d.i, s.conn).last_msg_id, last);
    agent_reopen(&s.d.i); /* it is not forgotten */
    send_key(&e2e, SX_AGENT_MAX);
    assert_true(quiet(&s.d.i, SIMPLEX_EV_RSYNC, 200));
    assert_int_equal(connection_info(&s.d.i, s.conn).sync_state, SIMPLEX_SYNC_AGREED);
    others_go_on();
}

static uint64_t on_server(void)
{
    simplex_server_counters n = { .size = sizeof n };

    assert_int_equal(simplex_server_count(s.d.srv.s, &n), SIMPLEX_OK);
    return n.messages;
}

/* A rotation has what was sent meanwhile sent again: also the answer to keys that are not our last.
 */
static void a_repeat_is_no_answer_to_newer_keys(void **state)
{
    struct sx_x3dh_keys k;
    struct sx_e2e_params e2e;

    (void)state;
    connect_contact();
    sync_ok(&s.d.i, s.conn, true);
    new_params(&k, &e2e);
    send_key(&e2e, SX_AGENT_MAX);
    expect_sync(&s.d.i, s.conn, SIMPLEX_SYNC_AGREED, SIMPLEX_OK);
    sync_ok(&s.d.i, s.conn, true);
    await_delivery(&s.d.i, s.conn);
    uint64_t unread = on_server(); /* the contact reads nothing */
    send_key(&e2e, SX_AGENT_MAX);
    while (on_server() > unread &&
           connection_info(&s.d.i, s.conn).sync_state == SIMPLEX_SYNC_STARTED)
        usleep(1000);
    assert_int_equal(connection_info(&s.d.i, s.conn).sync_state, SIMPLEX_SYNC_STARTED);
    new_params(&k, &e2e);
    send_key(&e2e, SX_AGENT_MAX);
    expect_sync(&s.d.i, s.conn, SIMPLEX_SYNC_AGREED, SIMPLEX_OK);
    others_go_on();
}

/* The keys that the victim waited for, sent once more as the answer to some that it does not have:
 * it says which ones are its last. Once for each such message, and not for ever. */
static void who_answers_others_is_sent_the_last_keys(void **state)
{
    uint8_t info[1 + 32 + 8] = { 'R' };
    struct sx_x3dh_keys k;
    struct sx_e2e_params e2e;

    (void)state;
    connect_contact();
    sync_ok(&s.d.i, s.conn, true);
    new_params(&k, &e2e);
    send_key(&e2e, SX_AGENT_MAX);
    expect_sync(&s.d.i, s.conn, SIMPLEX_SYNC_AGREED, SIMPLEX_OK);
    await_delivery(&s.d.i, s.conn);
    int64_t last = connection_info(&s.d.i, s.conn).last_msg_id;
    for (int n = 0; n < 3; n++) /* a repeat of a server is no second one */
        send_key_with(&e2e, SX_AGENT_MAX, sx_bytes(info, sizeof info));
    while (connection_info(&s.d.i, s.conn).last_msg_id == last)
        usleep(1000);
    assert_true(quiet(&s.d.i, SIMPLEX_EV_RSYNC, 100));
    assert_int_equal(connection_info(&s.d.i, s.conn).last_msg_id, last + 1);
    for (uint8_t n = 1; n < 100; n++) {
        info[sizeof info - 1] = n;
        send_key_with(&e2e, SX_AGENT_MAX, sx_bytes(info, sizeof info));
    }
    while (connection_info(&s.d.i, s.conn).last_msg_id < last + 2)
        usleep(1000);
    assert_true(quiet(&s.d.i, SIMPLEX_EV_RSYNC, 300));
    last = connection_info(&s.d.i, s.conn).last_msg_id - last;
    assert_true(last > 1 && last < SX_SYNC_KEYS_MAX);
    assert_int_equal(connection_info(&s.d.i, s.conn).sync_state, SIMPLEX_SYNC_AGREED);
    others_go_on();
}

static void a_flood_of_keys_is_not_answered(void **state)
{
    enum { N = 300 };
    struct sx_x3dh_keys k;
    struct sx_e2e_params e2e;

    (void)state;
    connect_contact();
    int64_t before = connection_info(&s.d.i, s.conn).last_msg_id;
    for (int n = 0; n < N; n++) {
        new_params(&k, &e2e);
        send_key(&e2e, SX_AGENT_MAX);
    }
    for (unsigned told = 0; told < SX_SYNC_KEYS_MAX; told++)
        expect(&s.d.i, SIMPLEX_EV_RSYNC, s.conn);
    assert_true(quiet(&s.d.i, SIMPLEX_EV_RSYNC, 500));
    /* each of these was answered, with keys and perhaps EREADY */
    assert_true(connection_info(&s.d.i, s.conn).last_msg_id - before <= 2 * SX_SYNC_KEYS_MAX);
    sync_ok(&s.d.i, s.conn, true); /* what is begun here is finished all the same */
    new_params(&k, &e2e);
    send_key(&e2e, SX_AGENT_MAX);
    expect_sync(&s.d.i, s.conn, SIMPLEX_SYNC_AGREED, SIMPLEX_OK);
    others_go_on();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(keys_that_make_no_sense_change_nothing),
        TEST(repeated_keys_count_once),
        TEST(a_repeat_is_no_answer_to_newer_keys),
        TEST(who_answers_others_is_sent_the_last_keys),
        TEST(a_flood_of_keys_is_not_answered),
    };
    choose_tests();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
