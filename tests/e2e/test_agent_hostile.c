/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A contact that does not keep to the protocol. Whatever it sends is told to the application or
 * dropped; its queue goes on, and so does the connection to somebody else.
 */
#include "hostile_stage.h"

/* ---- bodies ---- */

static void noise_of_every_length(void)
{
    static const size_t more[] = { 1000, 15991, 15992, 15993, 16040, 16047, 16048 };

    for (size_t len = 1; len < 150; len++) {
        send_noise(len);
        (void)next_err();
    }
    for (size_t n = 0; n < SX_COUNT(more); n++) {
        send_noise(more[n]);
        (void)next_err();
    }
}

static void noise_before_the_confirmation_is_reported(void **state)
{
    (void)state;
    noise_of_every_length();
    connect_contact();
    assert_usable();
}

static void noise_afterwards_is_reported(void **state)
{
    (void)state;
    connect_contact();
    noise_of_every_length();
    assert_usable();
}

static void make_confirmation(struct sx_wr *envelope, const struct sx_e2e_params *params,
                              uint16_t version, simplex_bytes plain)
{
    struct sx_envelope e = { .version = version,
                             .tag = SX_ENV_CONFIRMATION,
                             .has_e2e = params != NULL };

    if (params != NULL)
        e.e2e = *params;
    contact_envelope(&s.c, &e, plain, envelope);
}

static const struct contact_how confirming = { .confirmation = true };

/* Every byte of the head, and some of what follows. */
static void a_changed_confirmation_is_refused(void **state)
{
    struct sx_wr plain, envelope, body;

    (void)state;
    sx_wr_init(&plain, BODY_MAX);
    sx_wr_init(&envelope, BODY_MAX);
    sx_wr_init(&body, BODY_MAX);
    contact_info_plain(&s.c, "a contact", &plain);
    make_confirmation(&envelope, &s.c.params, SX_AGENT_MAX, sx_wr_bytes(&plain));
    contact_box(&s.c, &confirming, sx_wr_bytes(&envelope), &body);
    for (size_t at = 0; at < body.len; at += at < 100 ? 1 : 1777) {
        body.p[at] ^= 0x40; /* not 0x80: X25519 ignores the highest bit of a key */
        contact_send(&s.c, sx_wr_bytes(&body));
        simplex_rc rc = next_err();
        if (rc != SIMPLEX_E_DECODE && rc != SIMPLEX_E_CRYPTO && rc != SIMPLEX_E_VERSION &&
            rc != SIMPLEX_E_PROHIBITED && rc != SIMPLEX_E_KEY)
            fail_msg("byte %zu: %s", at, simplex_rc_name(rc));
        body.p[at] ^= 0x40;
    }
    for (size_t at = 0; at < envelope.len; at += at < 240 ? 3 : 411) { /* under the box */
        envelope.p[at] ^= 1;
        box_and_send(&confirming, sx_wr_bytes(&envelope));
        (void)next_err();
        envelope.p[at] ^= 1;
    }
    assert_true(quiet(&s.d.i, SIMPLEX_EV_CONF, 20));
    contact_send(&s.c, sx_wr_bytes(&body)); /* unchanged it is welcome */
    s.c.snd_id = 1;
    sx_sha256(sx_wr_bytes(&plain), s.c.last_hash);
    allow_contact();
    assert_usable();
    sx_wr_free(&plain);
    sx_wr_free(&envelope);
    sx_wr_free(&body);
}

static void send_confirmation(const struct sx_e2e_params *params, uint16_t version,
                              simplex_bytes plain)
{
    struct sx_ratchet before = s.c.r;
    struct sx_wr envelope;

    sx_wr_init(&envelope, BODY_MAX);
    make_confirmation(&envelope, params, version, plain);
    box_and_send(&confirming, sx_wr_bytes(&envelope));
    sx_wr_free(&envelope);
    s.c.r = before; /* nothing is skipped on the sending side: plain values */
}

static void confirmations_of_the_wrong_kind_are_refused(void **state)
{
    struct sx_agent_msg odd = { .tag = SX_AM_INFO, .info = sx_str("no reply queue") };
    struct sx_e2e_params params = s.c.params;
    struct sx_wr plain, other;

    (void)state;
    sx_wr_init(&plain, BODY_MAX);
    sx_wr_init(&other, BODY_MAX);
    contact_info_plain(&s.c, "a contact", &plain);
    send_confirmation(NULL, SX_AGENT_MAX, sx_wr_bytes(&plain));
    expect_err(SIMPLEX_E_PROHIBITED); /* no keys */
    send_confirmation(&params, 1, sx_wr_bytes(&plain));
    expect_err(SIMPLEX_E_VERSION);
    send_confirmation(&params, SX_AGENT_MAX + 1, sx_wr_bytes(&plain));
    expect_err(SIMPLEX_E_VERSION);
    params.v = (struct sx_range){ 1, 1 };
    send_confirmation(&params, SX_AGENT_MAX, sx_wr_bytes(&plain));
    expect_err(SIMPLEX_E_VERSION);
    sx_agent_msg_encode(&other, &odd);
    send_confirmation(&s.c.params, SX_AGENT_MAX, sx_wr_bytes(&other));
    expect_err(SIMPLEX_E_DECODE);
    send_confirmation(&s.c.params, SX_AGENT_MAX, sx_str("noise"));
    expect_err(SIMPLEX_E_DECODE);
    send_confirmation(&s.c.params, SX_AGENT_MAX, sx_bytes(NULL, 0));
    expect_err(SIMPLEX_E_DECODE);
    assert_true(quiet(&s.d.i, SIMPLEX_EV_CONF, 20));
    connect_contact();
    assert_usable();
    sx_wr_free(&plain);
    sx_wr_free(&other);
}

static void a_message_cannot_come_before_the_confirmation(void **state)
{
    (void)state;
    struct sx_ratchet before = s.c.r;
    contact_say(&s.c, "too early");
    expect_err(SIMPLEX_E_PROHIBITED);
    s.c.r = before;
    connect_contact();
    assert_usable();
}

static void a_second_confirmation_changes_nothing(void **state)
{
    struct sx_wr plain, envelope, body;

    (void)state;
    sx_wr_init(&plain, BODY_MAX);
    sx_wr_init(&envelope, BODY_MAX);
    sx_wr_init(&body, BODY_MAX);
    contact_info_plain(&s.c, "a contact", &plain);
    s.c.snd_id = 1;
    sx_sha256(sx_wr_bytes(&plain), s.c.last_hash);
    make_confirmation(&envelope, &s.c.params, SX_AGENT_MAX, sx_wr_bytes(&plain));
    contact_box(&s.c, &confirming, sx_wr_bytes(&envelope), &body);
    contact_send(&s.c, sx_wr_bytes(&body));
    allow_contact();
    contact_send(&s.c, sx_wr_bytes(&body)); /* a repeat is nothing to worry about */
    box_and_send(&confirming, sx_wr_bytes(&envelope));
    assert_true(quiet(&s.d.i, SIMPLEX_EV_ERR, 50));
    box_and_send(&saying, sx_wr_bytes(&envelope)); /* without the key: not even a repeat */
    expect_err(SIMPLEX_E_PROHIBITED);
    struct contact_how with_auth = { .confirmation = true, .has_auth = true };
    box_and_send(&with_auth, sx_wr_bytes(&envelope));
    assert_true(quiet(&s.d.i, SIMPLEX_EV_CONF, 50));
    assert_usable();
    sx_wr_free(&plain);
    sx_wr_free(&envelope);
    sx_wr_free(&body);
}

/* ---- messages ---- */

static void replayed_messages_are_dropped(void **state)
{
    struct sx_envelope e = { .version = SX_AGENT_MAX, .tag = SX_ENV_MESSAGE };
    struct sx_wr plain[3], envelope[3], body;

    (void)state;
    connect_contact();
    sx_wr_init(&body, BODY_MAX);
    for (int n = 0; n < 3; n++) {
        sx_wr_init(&plain[n], BODY_MAX);
        sx_wr_init(&envelope[n], BODY_MAX);
        contact_message_plain(&s.c, "replayed", &plain[n]);
        contact_envelope(&s.c, &e, sx_wr_bytes(&plain[n]), &envelope[n]);
        box_and_send(&saying, sx_wr_bytes(&envelope[n]));
        expect_msg("replayed", SIMPLEX_MSG_OK, 0, 0);
    }
    for (int n = 0; n < 9; n++) /* under a new nonce each time */
        box_and_send(&saying, sx_wr_bytes(&envelope[n % 3]));
    contact_box(&s.c, &saying, sx_wr_bytes(&envelope[1]), &body);
    contact_send(&s.c, sx_wr_bytes(&body)); /* and under the same */
    contact_send(&s.c, sx_wr_bytes(&body));
    assert_true(quiet(&s.d.i, SIMPLEX_EV_MSG, 50));
    assert_true(quiet(&s.d.i, SIMPLEX_EV_ERR, 0));
    assert_usable();
    for (int n = 0; n < 3; n++) {
        sx_wr_free(&plain[n]);
        sx_wr_free(&envelope[n]);
    }
    sx_wr_free(&body);
}

static void reordered_messages_are_marked(void **state)
{
    struct sx_wr plain, body[4];

    (void)state;
    connect_contact();
    sx_wr_init(&plain, BODY_MAX);
    for (int n = 0; n < 4; n++) { /* numbers 2 to 5 */
        char text[2] = { (char)('a' + n), 0 };
        sx_wr_init(&body[n], BODY_MAX);
        sx_wr_reset(&plain);
        contact_message_plain(&s.c, text, &plain);
        contact_plain_to_body(&s.c, sx_wr_bytes(&plain), &body[n]);
    }
    contact_send(&s.c, sx_wr_bytes(&body[2]));
    expect_msg("c", SIMPLEX_MSG_SKIPPED, 2, 3);
    contact_send(&s.c, sx_wr_bytes(&body[0]));
    expect_msg("a", SIMPLEX_MSG_BAD_ID, 2, 0);
    contact_send(&s.c, sx_wr_bytes(&body[1]));
    expect_msg("b", SIMPLEX_MSG_OK, 0, 0); /* it follows the one before */
    contact_send(&s.c, sx_wr_bytes(&body[3]));
    expect_msg("d", SIMPLEX_MSG_SKIPPED, 4, 4);
    assert_usable();
    for (int n = 0; n < 4; n++)
        sx_wr_free(&body[n]);
    sx_wr_free(&plain);
}

static void say_with(int64_t id, simplex_bytes prev_hash, const char *text)
{
    struct sx_agent_msg msg = { .tag = SX_AM_MESSAGE,
                                .msg = SX_M_MSG,
                                .snd_msg_id = id,
                                .prev_hash = prev_hash,
                                .body = sx_str(text) };

    s.c.snd_id = id;
    say_msg(&msg);
}

static void false_numbers_and_hashes_are_marked(void **state)
{
    static const uint8_t wrong[32] = { 1 };

    (void)state;
    connect_contact();
    say_with(2, sx_bytes(wrong, 32), "hash");
    expect_msg("hash", SIMPLEX_MSG_BAD_HASH, 0, 0);
    say_with(2, sx_bytes(s.c.last_hash, 32), "twice");
    expect_msg("twice", SIMPLEX_MSG_DUPLICATE, 0, 0);
    say_with(3, sx_bytes(NULL, 0), "no hash");
    expect_msg("no hash", SIMPLEX_MSG_BAD_HASH, 0, 0);
    say_with(INT64_MAX, sx_bytes(wrong, 32), "far");
    expect_msg("far", SIMPLEX_MSG_SKIPPED, 4, INT64_MAX - 1);
    say_with(1, sx_bytes(wrong, 32), "back");
    expect_msg("back", SIMPLEX_MSG_BAD_ID, 1, 0);
    assert_usable();
}

/* The queue is to move after ten messages, however the contact numbers them. */
static void numbers_that_jump_do_not_make_a_queue_move(void **state)
{
    simplex_rotation soon = {
        .size = sizeof soon, .messages = 10, .jitter = 1, .spread = 1, .per_day = 864000000
    };

    (void)state;
    connect_contact();
    assert_int_equal(simplex_agent_set_conn_rotation(s.d.i.a, s.conn, &soon), SIMPLEX_OK);
    for (int64_t n = 1; n <= 5; n++) {
        say_with(1000 * n, sx_bytes(s.c.last_hash, 32), "far");
        expect_msg("far", SIMPLEX_MSG_SKIPPED, n == 1 ? 2 : 1000 * (n - 1) + 1, 1000 * n - 1);
    }
    assert_true(quiet(&s.d.i, SIMPLEX_EV_SWITCH, 300));
    for (int64_t n = 5001; n <= 5008; n++) {
        say_with(n, sx_bytes(s.c.last_hash, 32), "near");
        expect_msg("near", SIMPLEX_MSG_OK, 0, 0);
    }
    expect(&s.d.i, SIMPLEX_EV_SWITCH, s.conn);
}

static void messages_without_sense_are_reported(void **state)
{
    struct sx_agent_msg info = { .tag = SX_AM_INFO, .info = sx_str("late") };
    struct sx_wr plain;

    (void)state;
    connect_contact();
    sx_wr_init(&plain, BODY_MAX);
    send_plain(sx_str("noise"));
    expect_err(SIMPLEX_E_DECODE);
    send_plain(sx_bytes(NULL, 0));
    expect_err(SIMPLEX_E_DECODE);
    sx_agent_msg_encode(&plain, &info);
    send_plain(sx_wr_bytes(&plain));
    expect_err(SIMPLEX_E_DECODE);
    assert_usable();
    sx_wr_free(&plain);
}

static void control_messages_at_the_wrong_time_do_no_harm(void **state)
{
    static const uint8_t kinds[] = { SX_M_HELLO, SX_M_EREADY, SX_M_QCONT };

    (void)state;
    connect_contact();
    for (size_t n = 0; n < SX_COUNT(kinds); n++) {
        struct sx_agent_msg msg = next_msg(kinds[n]);
        msg.qcont.server = s.c.to.server;
        msg.qcont.snd_id = s.c.to.snd_id;
        say_msg(&msg);
    }
    assert_true(quiet(&s.d.i, SIMPLEX_EV_CON, 30)); /* not connected twice */
    assert_usable();
}

static void wrong_keys_are_reported(void **state)
{
    struct sx_envelope e = { .version = SX_AGENT_MAX, .tag = SX_ENV_MESSAGE };
    struct contact_how other = { .other_secret = true }, newer = { .version = 9 };
    struct sx_ratchet mine;
    struct sx_wr plain, envelope;

    (void)state;
    connect_contact();
    sx_wr_init(&plain, BODY_MAX);
    sx_wr_init(&envelope, BODY_MAX);
    mine = s.c.r;
    contact_message_plain(&s.c, "x", &plain);
    contact_envelope(&s.c, &e, sx_wr_bytes(&plain), &envelope);
    box_and_send(&other, sx_wr_bytes(&envelope));
    expect_err(SIMPLEX_E_CRYPTO);
    box_and_send(&newer, sx_wr_bytes(&envelope));
    expect_err(SIMPLEX_E_VERSION);
    envelope.p[envelope.len - 1] ^= 1;
    box_and_send(&saying, sx_wr_bytes(&envelope));
    expect_sync(&s.d.i, s.conn, SIMPLEX_SYNC_ALLOWED, SIMPLEX_E_RATCHET_AES);
    s.c.r = mine; /* that key is used up; its number can not come again, the next can */
    sx_random(s.c.r.hks, sizeof s.c.r.hks);
    sx_wr_reset(&envelope);
    contact_envelope(&s.c, &e, sx_wr_bytes(&plain), &envelope);
    box_and_send(&saying, sx_wr_bytes(&envelope));
    expect_sync(&s.d.i, s.conn, SIMPLEX_SYNC_REQUIRED, SIMPLEX_E_RATCHET_HEADER);
    memcpy(s.c.r.hks, mine.hks, sizeof mine.hks);
    sx_wr_reset(&envelope);
    contact_envelope(&s.c, &e, sx_wr_bytes(&plain), &envelope);
    box_and_send(&saying, sx_wr_bytes(&envelope));
    expect_msg("x", SIMPLEX_MSG_OK, 0, 0);
    expect_sync(&s.d.i, s.conn, SIMPLEX_SYNC_OK, SIMPLEX_OK);
    assert_usable();
    sx_wr_free(&plain);
    sx_wr_free(&envelope);
}

static void too_many_skipped_messages_are_refused(void **state)
{
    struct sx_ratchet before;
    struct sx_msg_key key;

    (void)state;
    connect_contact();
    before = s.c.r;
    for (int n = 0; n < SX_RATCHET_MAX_SKIP + 1; n++)
        assert_int_equal(sx_ratchet_encrypt_header(&s.c.r, SX_PQ_KEEP, &key), SIMPLEX_OK);
    contact_say(&s.c, "far ahead");
    expect_sync(&s.d.i, s.conn, SIMPLEX_SYNC_REQUIRED, SIMPLEX_E_RATCHET_SKIPPED);
    s.c.r = before;
    s.c.snd_id = 1;
    contact_say(&s.c, "where we were");
    expect_msg("where we were", SIMPLEX_MSG_BAD_HASH, 0, 0); /* the lost one was its predecessor */
    expect_sync(&s.d.i, s.conn, SIMPLEX_SYNC_OK, SIMPLEX_OK);
    assert_usable();
}

static void envelopes_of_other_kinds_are_reported(void **state)
{
    struct sx_envelope invitation = { .version = SX_AGENT_MAX,
                                      .tag = SX_ENV_INVITATION,
                                      .link = sx_str("simplex:/invitation"),
                                      .body = sx_str("info") };
    struct sx_wr w;

    (void)state;
    connect_contact();
    sx_wr_init(&w, BODY_MAX);
    sx_envelope_encode(&w, &invitation);
    assert_false(w.bad);
    box_and_send(&saying, sx_wr_bytes(&w));
    (void)next_err();
    box_and_send(&saying, sx_bytes(NULL, 0));
    expect_err(SIMPLEX_E_DECODE);
    assert_usable();
    sx_wr_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(noise_before_the_confirmation_is_reported),
        TEST(noise_afterwards_is_reported),
        TEST(a_changed_confirmation_is_refused),
        TEST(confirmations_of_the_wrong_kind_are_refused),
        TEST(a_message_cannot_come_before_the_confirmation),
        TEST(a_second_confirmation_changes_nothing),
        TEST(replayed_messages_are_dropped),
        TEST(reordered_messages_are_marked),
        TEST(false_numbers_and_hashes_are_marked),
        TEST(numbers_that_jump_do_not_make_a_queue_move),
        TEST(messages_without_sense_are_reported),
        TEST(control_messages_at_the_wrong_time_do_no_harm),
        TEST(wrong_keys_are_reported),
        TEST(too_many_skipped_messages_are_refused),
        TEST(envelopes_of_other_kinds_are_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
