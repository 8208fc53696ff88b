/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A contact that does not keep to the protocol. Whatever it sends is told to the application or
 * dropped; its queue goes on, and so does the connection to somebody else.
 */
#include <stdio.h>
#include <unistd.h>

#include "support/agents.h"
#include "support/contact.h"

#define BODY_MAX 20000

static struct scene {
    struct duo d; /* i: the victim; j: somebody it talks to as well */
    struct contact c;
    int64_t conn; /* of i with the contact */
} s;

static int set_up(void **state)
{
    simplex_event *ev;

    (void)state;
    duo_open(&s.d, NULL);
    duo_connect(&s.d);
    assert_int_equal(simplex_agent_create(s.d.i.a, SIMPLEX_PQ_OFF, &s.conn), SIMPLEX_OK);
    ev = wait_event(&s.d.i, SIMPLEX_EV_INV, s.conn);
    contact_open(&s.c, simplex_event_data(ev), simplex_server_port(s.d.srv.s));
    simplex_event_free(ev);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    contact_close(&s.c);
    duo_close(&s.d);
    return 0;
}

/* ---- what the victim shows ---- */

static void expect_err(simplex_rc why)
{
    simplex_event *ev = wait_event(&s.d.i, SIMPLEX_EV_ERR, s.conn);

    assert_string_equal(simplex_rc_name(simplex_event_error(ev)), simplex_rc_name(why));
    simplex_event_free(ev);
}

static void expect_sync(int32_t to, simplex_rc why)
{
    simplex_event *ev = wait_event(&s.d.i, SIMPLEX_EV_RSYNC, s.conn);

    assert_int_equal(simplex_event_sync_state(ev), to);
    assert_string_equal(simplex_rc_name(simplex_event_error(ev)), simplex_rc_name(why));
    simplex_event_free(ev);
}

static simplex_rc next_err(void)
{
    simplex_event *ev = wait_event(&s.d.i, SIMPLEX_EV_ERR, s.conn);
    simplex_rc rc = simplex_event_error(ev);

    simplex_event_free(ev);
    return rc;
}

static void expect_msg(const char *text, int32_t integrity, int64_t first, int64_t last)
{
    simplex_event *ev = wait_event(&s.d.i, SIMPLEX_EV_MSG, s.conn);
    int64_t got_first, got_last;

    vec_assert_eq(simplex_event_data(ev), sx_str(text), "message");
    assert_int_equal(simplex_event_integrity(ev, &got_first, &got_last), integrity);
    assert_int_equal(got_first, first);
    assert_int_equal(got_last, last);
    assert_int_equal(simplex_agent_ack(s.d.i.a, s.conn, simplex_event_msg_id(ev)), SIMPLEX_OK);
    simplex_event_free(ev);
}

static void others_go_on(void)
{
    talk(&s.d.i, s.d.ic, &s.d.j, s.d.jc, "not concerned");
    talk(&s.d.j, s.d.jc, &s.d.i, s.d.ic, "not at all");
}

static void allow_contact(void)
{
    simplex_event *ev = wait_event(&s.d.i, SIMPLEX_EV_CONF, s.conn);

    assert_int_equal(simplex_agent_allow(s.d.i.a, s.conn, simplex_event_conf(ev), sx_str("I")),
                     SIMPLEX_OK);
    simplex_event_free(ev);
    expect(&s.d.i, SIMPLEX_EV_CON, s.conn);
}

static void connect_contact(void)
{
    contact_confirm(&s.c, "a contact");
    allow_contact();
}

static void assert_usable(void)
{
    contact_say(&s.c, "and now for something proper");
    expect_msg("and now for something proper", SIMPLEX_MSG_OK, 0, 0);
    assert_true(quiet(&s.d.i, SIMPLEX_EV_ERR, 20));
    others_go_on();
}

/* ---- bodies ---- */

static void send_noise(size_t len)
{
    static uint8_t body[BODY_MAX];

    sx_random(body, len);
    contact_send(&s.c, sx_bytes(body, len));
}

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

static void box_and_send(const struct contact_how *how, simplex_bytes envelope)
{
    struct sx_wr body;

    sx_wr_init(&body, BODY_MAX);
    contact_box(&s.c, how, envelope, &body);
    contact_send(&s.c, sx_wr_bytes(&body));
    sx_wr_free(&body);
}

static const struct contact_how confirming = { .confirmation = true };
static const struct contact_how saying = { .confirmation = false };

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
    struct sx_wr plain, body;

    sx_wr_init(&plain, BODY_MAX);
    sx_wr_init(&body, BODY_MAX);
    sx_agent_msg_encode(&plain, &msg);
    sx_sha256(sx_wr_bytes(&plain), s.c.last_hash);
    s.c.snd_id = id;
    contact_plain_to_body(&s.c, sx_wr_bytes(&plain), &body);
    contact_send(&s.c, sx_wr_bytes(&body));
    sx_wr_free(&plain);
    sx_wr_free(&body);
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

static void send_plain(simplex_bytes plain)
{
    struct sx_wr body;

    sx_wr_init(&body, BODY_MAX);
    contact_plain_to_body(&s.c, plain, &body);
    contact_send(&s.c, sx_wr_bytes(&body));
    sx_wr_free(&body);
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
    struct sx_wr plain;

    (void)state;
    connect_contact();
    sx_wr_init(&plain, BODY_MAX);
    for (size_t n = 0; n < SX_COUNT(kinds); n++) {
        struct sx_agent_msg msg = { .tag = SX_AM_MESSAGE,
                                    .msg = kinds[n],
                                    .snd_msg_id = ++s.c.snd_id,
                                    .prev_hash = sx_bytes(s.c.last_hash, 32) };
        msg.qcont.server = s.c.to.server;
        msg.qcont.snd_id = s.c.to.snd_id;
        sx_wr_reset(&plain);
        sx_agent_msg_encode(&plain, &msg);
        assert_false(plain.bad);
        sx_sha256(sx_wr_bytes(&plain), s.c.last_hash);
        send_plain(sx_wr_bytes(&plain));
    }
    assert_true(quiet(&s.d.i, SIMPLEX_EV_CON, 30)); /* not connected twice */
    assert_usable();
    sx_wr_free(&plain);
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
    expect_sync(SIMPLEX_SYNC_ALLOWED, SIMPLEX_E_RATCHET_AES);
    s.c.r = mine; /* that key is used up; its number can not come again, the next can */
    sx_random(s.c.r.hks, sizeof s.c.r.hks);
    sx_wr_reset(&envelope);
    contact_envelope(&s.c, &e, sx_wr_bytes(&plain), &envelope);
    box_and_send(&saying, sx_wr_bytes(&envelope));
    expect_sync(SIMPLEX_SYNC_REQUIRED, SIMPLEX_E_RATCHET_HEADER);
    memcpy(s.c.r.hks, mine.hks, sizeof mine.hks);
    sx_wr_reset(&envelope);
    contact_envelope(&s.c, &e, sx_wr_bytes(&plain), &envelope);
    box_and_send(&saying, sx_wr_bytes(&envelope));
    expect_msg("x", SIMPLEX_MSG_OK, 0, 0);
    expect_sync(SIMPLEX_SYNC_OK, SIMPLEX_OK);
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
    expect_sync(SIMPLEX_SYNC_REQUIRED, SIMPLEX_E_RATCHET_SKIPPED);
    s.c.r = before;
    s.c.snd_id = 1;
    contact_say(&s.c, "where we were");
    expect_msg("where we were", SIMPLEX_MSG_BAD_HASH, 0, 0); /* the lost one was its predecessor */
    expect_sync(SIMPLEX_SYNC_OK, SIMPLEX_OK);
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

/* ---- rotation ---- */

static void say_rotation(enum sx_msg_tag tag, const union sx_switch_item *x)
{
    struct sx_agent_msg m = { .tag = SX_AM_MESSAGE,
                              .msg = (uint8_t)tag,
                              .snd_msg_id = ++s.c.snd_id,
                              .prev_hash = sx_bytes(s.c.last_hash, 32) };
    struct sx_wr item, plain, body;

    sx_wr_init(&item, BODY_MAX);
    sx_wr_init(&plain, BODY_MAX);
    sx_wr_init(&body, BODY_MAX);
    if (tag == SX_M_QADD)
        sx_qadd_encode(&item, &x->add);
    else if (tag == SX_M_QKEY)
        sx_qkey_encode(&item, &x->key);
    else if (tag == SX_M_QUSE)
        sx_quse_encode(&item, &x->use);
    else
        sx_queue_ref_encode(&item, &x->test);
    m.list = (struct sx_list){ 1, sx_wr_bytes(&item) };
    sx_agent_msg_encode(&plain, &m);
    assert_false(plain.bad || item.bad);
    sx_sha256(sx_wr_bytes(&plain), s.c.last_hash);
    contact_plain_to_body(&s.c, sx_wr_bytes(&plain), &body);
    contact_send(&s.c, sx_wr_bytes(&body));
    sx_wr_free(&item);
    sx_wr_free(&plain);
    sx_wr_free(&body);
}

static struct sx_queue_ref ref_of(const struct sx_queue_addr *q)
{
    return (struct sx_queue_ref){ q->server, q->snd_id };
}

static void steps_of_a_rotation_out_of_turn_are_refused(void **state)
{
    union sx_switch_item x;
    struct sx_queue_addr other = s.c.reply;

    (void)state;
    connect_contact();
    other.v = (struct sx_range){ SX_CLIENT_MIN, SX_CLIENT_MAX };
    other.snd_id.b[0] ^= 1;
    x.key = (struct sx_qkey){ s.c.to, s.c.auth.pub }; /* nothing moves */
    say_rotation(SX_M_QKEY, &x);
    expect_err(SIMPLEX_E_PROHIBITED);
    x.use = (struct sx_quse){ ref_of(&s.c.reply), true }; /* the queue in use */
    say_rotation(SX_M_QUSE, &x);
    expect_err(SIMPLEX_E_PROHIBITED);
    x.use = (struct sx_quse){ ref_of(&other), true }; /* an unknown one */
    say_rotation(SX_M_QUSE, &x);
    expect_err(SIMPLEX_E_PROHIBITED);
    x.test = ref_of(&other);
    say_rotation(SX_M_QTEST, &x);                            /* says nothing */
    x.add = (struct sx_qadd){ other, true, ref_of(&other) }; /* one that is not there */
    say_rotation(SX_M_QADD, &x);
    expect_err(SIMPLEX_E_PROHIBITED);
    x.add = (struct sx_qadd){ s.c.reply, true, ref_of(&s.c.reply) }; /* itself */
    say_rotation(SX_M_QADD, &x);
    expect_err(SIMPLEX_E_PROHIBITED);
    x.add = (struct sx_qadd){ other, true, ref_of(&s.c.reply) };
    x.add.queue.v = (struct sx_range){ SX_CLIENT_MAX + 1, SX_CLIENT_MAX + 1 };
    x.add.queue.mode = SX_MODE_MESSAGING;
    say_rotation(SX_M_QADD, &x);
    expect_err(SIMPLEX_E_VERSION);
    assert_true(quiet(&s.d.i, SIMPLEX_EV_SWITCH, 20));
    assert_usable();
}

/* A queue that nobody made: the peer harms itself only, and not for long. */
static void a_rotation_to_nowhere_goes_back(void **state)
{
    union sx_switch_item x;
    struct sx_queue_addr other = s.c.reply;
    simplex_event *ev;
    int32_t direction;

    (void)state;
    connect_contact();
    other.v = (struct sx_range){ SX_CLIENT_MIN, SX_CLIENT_MAX };
    for (int n = 0; n < 5; n++) { /* each replaces the one before */
        other.snd_id.b[0]++;
        x.add = (struct sx_qadd){ other, true, ref_of(&s.c.reply) };
        say_rotation(SX_M_QADD, &x);
        ev = wait_event(&s.d.i, SIMPLEX_EV_SWITCH, s.conn);
        assert_int_equal(simplex_event_switch(ev, &direction), SIMPLEX_SWITCH_STARTED);
        assert_int_equal(direction, SIMPLEX_SWITCH_SND);
        simplex_event_free(ev);
        expect(&s.d.i, SIMPLEX_EV_SWITCH, s.conn); /* confirmed */
    }
    send_text(&s.d.i, s.conn, "between");
    expect(&s.d.i, SIMPLEX_EV_SENT, s.conn);
    x.use = (struct sx_quse){ ref_of(&other), true };
    say_rotation(SX_M_QUSE, &x);
    expect(&s.d.i, SIMPLEX_EV_SWITCH, s.conn); /* secured */
    ev = wait_event(&s.d.i, SIMPLEX_EV_SWITCH, s.conn);
    assert_int_equal(simplex_event_switch(ev, NULL), SIMPLEX_SWITCH_ABORTED);
    assert_int_equal(simplex_event_error(ev), SIMPLEX_E_SERVER);
    simplex_event_free(ev);
    send_text(&s.d.i, s.conn, "as before");
    expect(&s.d.i, SIMPLEX_EV_SENT, s.conn);
    say_rotation(SX_M_QUSE, &x);
    expect_err(SIMPLEX_E_PROHIBITED);
    assert_usable();
}

static unsigned sending_queues(void)
{
    simplex_queue_info q = { .size = sizeof q };
    unsigned n = 0;

    for (size_t k = 0; simplex_agent_queue(s.d.i.a, s.conn, k, &q) == SIMPLEX_OK; k++)
        n += q.direction == SIMPLEX_SWITCH_SND;
    return n;
}

/* Queues that nobody made, as many as the peer likes to name: the last few are kept in mind, one
 * that is to be used is found out, and the one that works goes on working. */
static void added_queues_that_lead_nowhere_are_bounded_and_given_up(void **state)
{
    union sx_switch_item x;
    struct sx_queue_addr other = s.c.reply;
    simplex_event *ev;
    int32_t direction;

    (void)state;
    connect_contact();
    other.v = (struct sx_range){ SX_CLIENT_MIN, SX_CLIENT_MAX };
    x.test = ref_of(&s.c.to); /* names a queue that is not its sender's: a rotation's */
    say_rotation(SX_M_QTEST, &x);
    for (int n = 0; n < 2 * SIMPLEX_QUEUES_MAX + 5; n++) {
        other.snd_id.b[0]++;
        x.add = (struct sx_qadd){ other, false, ref_of(&s.c.reply) };
        say_rotation(SX_M_QADD, &x);
    }
    x.use = (struct sx_quse){ ref_of(&other), false };
    x.use.queue.snd_id.b[0] = (uint8_t)(s.c.reply.snd_id.b[0] + 1);
    say_rotation(SX_M_QUSE, &x); /* it had to make room for others */
    expect_err(SIMPLEX_E_PROHIBITED);
    assert_int_equal(sending_queues(), SIMPLEX_QUEUES_MAX + 1);
    x.use = (struct sx_quse){ ref_of(&other), false };
    say_rotation(SX_M_QUSE, &x);
    ev = wait_event(&s.d.i, SIMPLEX_EV_QUEUE, s.conn);
    assert_int_equal(simplex_event_switch(ev, &direction), SIMPLEX_QUEUE_ADDED);
    assert_int_equal(direction, SIMPLEX_SWITCH_SND);
    simplex_event_free(ev);
    ev = wait_event(&s.d.i, SIMPLEX_EV_QUEUE, s.conn);
    assert_int_equal(simplex_event_switch(ev, NULL), SIMPLEX_QUEUE_REMOVED);
    assert_int_equal(simplex_event_error(ev), SIMPLEX_E_SERVER);
    assert_string_equal(simplex_event_detail(ev), "AUTH");
    simplex_event_free(ev);
    say_rotation(SX_M_QUSE, &x); /* it is not there any more */
    expect_err(SIMPLEX_E_PROHIBITED);
    send_text(&s.d.i, s.conn, "as before");
    expect(&s.d.i, SIMPLEX_EV_SENT, s.conn);
    x.key = (struct sx_qkey){ s.c.to, s.c.auth.pub }; /* nothing is added here */
    say_rotation(SX_M_QKEY, &x);
    expect_err(SIMPLEX_E_PROHIBITED);
    x.test = ref_of(&s.c.reply); /* says that the peer has several: nothing follows */
    say_rotation(SX_M_QTEST, &x);
    assert_usable();
}

/* Queues on a server that never answers: nothing finds out that they are none. */
static void queues_that_a_peer_makes_us_use_are_bounded(void **state)
{
    union sx_switch_item x;
    struct sx_queue_addr other = s.c.reply;

    (void)state;
    connect_contact();
    other.v = (struct sx_range){ SX_CLIENT_MIN, SX_CLIENT_MAX };
    (void)snprintf(other.server.port, sizeof other.server.port, "9");
    for (int n = 1; n < 2 * SIMPLEX_QUEUES_MAX + 5; n++) {
        other.snd_id.b[0]++;
        x.add = (struct sx_qadd){ other, false, ref_of(&s.c.reply) };
        say_rotation(SX_M_QADD, &x);
        if (n > SIMPLEX_QUEUES_MAX) {
            expect_err(SIMPLEX_E_PROHIBITED);
            continue;
        }
        x.use = (struct sx_quse){ ref_of(&other), false };
        say_rotation(SX_M_QUSE, &x);
        expect(&s.d.i, SIMPLEX_EV_QUEUE, s.conn);
    }
    assert_int_equal(sending_queues(), SIMPLEX_QUEUES_MAX + 1);
    send_text(&s.d.i, s.conn, "through the one that is there");
    expect(&s.d.i, SIMPLEX_EV_SENT, s.conn);
    assert_usable();
}

/* ---- a host that does not look at its events ---- */

#define ROUNDS 100     /* fit into the victim's queue */
#define WAITING_MAX 80 /* 64, and what the last message and the answers to others cause */

static simplex_rc count_events(struct simplex_agent *a, void *arg)
{
    return sx_store_event_count(a->store, s.conn, 100000, arg);
}

static int64_t events_waiting(void)
{
    int64_t n = 0;

    assert_int_equal(sx_agent_run(s.d.i.a, count_events, &n, false), SIMPLEX_OK);
    return n;
}

/* Until nothing is added any more. */
static void expect_few_events(void)
{
    int64_t before = -1, now = events_waiting();

    for (int k = 0; k < 100 && (now != before || now < WAITING_MAX / 2); k++) {
        usleep(100000);
        before = now;
        now = events_waiting();
    }
    assert_in_range(now, WAITING_MAX / 2, WAITING_MAX);
}

static void say_receipt(int64_t id, simplex_bytes hash)
{
    struct sx_agent_msg m = { .tag = SX_AM_MESSAGE,
                              .msg = SX_M_RCVD,
                              .snd_msg_id = ++s.c.snd_id,
                              .prev_hash = sx_bytes(s.c.last_hash, 32) };
    struct sx_receipt r = { .id = id, .hash = hash };
    struct sx_wr item, plain, body;

    sx_wr_init(&item, BODY_MAX);
    sx_wr_init(&plain, BODY_MAX);
    sx_wr_init(&body, BODY_MAX);
    sx_receipt_encode(&item, &r);
    m.list = (struct sx_list){ 1, sx_wr_bytes(&item) };
    sx_agent_msg_encode(&plain, &m);
    sx_sha256(sx_wr_bytes(&plain), s.c.last_hash);
    contact_plain_to_body(&s.c, sx_wr_bytes(&plain), &body);
    contact_send(&s.c, sx_wr_bytes(&body));
    sx_wr_free(&item);
    sx_wr_free(&plain);
    sx_wr_free(&body);
}

static void rotations_without_end_wait_until_they_are_seen(void **state)
{
    union sx_switch_item x;
    struct sx_queue_addr other = s.c.reply;
    int started = 0;

    (void)state;
    connect_contact();
    other.v = (struct sx_range){ SX_CLIENT_MIN, SX_CLIENT_MAX };
    for (int n = 0; n < ROUNDS; n++) {
        other.snd_id.b[0]++;
        x.add = (struct sx_qadd){ other, true, ref_of(&s.c.reply) };
        say_rotation(SX_M_QADD, &x);
    }
    expect_few_events();
    agent_reopen(&s.d.i); /* a restart opens no door */
    expect_few_events();
    while (started < ROUNDS) { /* nothing was lost */
        simplex_event *ev = wait_event(&s.d.i, SIMPLEX_EV_SWITCH, s.conn);
        started += simplex_event_switch(ev, NULL) == SIMPLEX_SWITCH_STARTED;
        simplex_event_free(ev);
    }
    assert_usable();
}

static void added_queues_without_end_wait_until_they_are_seen(void **state)
{
    union sx_switch_item x;
    struct sx_queue_addr other = s.c.reply;
    int added = 0;

    (void)state;
    connect_contact();
    other.v = (struct sx_range){ SX_CLIENT_MIN, SX_CLIENT_MAX };
    for (int n = 0; n < ROUNDS / 2; n++) { /* each is found out at once, and makes room */
        other.snd_id.b[0]++;
        x.add = (struct sx_qadd){ other, false, ref_of(&s.c.reply) };
        say_rotation(SX_M_QADD, &x);
        x.use = (struct sx_quse){ ref_of(&other), false };
        say_rotation(SX_M_QUSE, &x);
        usleep(20000);
    }
    expect_few_events();
    for (; added < ROUNDS / 2; added++) { /* and goes again */
        for (int32_t what = SIMPLEX_QUEUE_ADDED; what <= SIMPLEX_QUEUE_REMOVED; what++) {
            simplex_event *ev = wait_event(&s.d.i, SIMPLEX_EV_QUEUE, s.conn);
            assert_int_equal(simplex_event_switch(ev, NULL), what);
            simplex_event_free(ev);
        }
    }
    assert_usable();
}

static void noise_and_receipts_wait_until_they_are_seen(void **state)
{
    static const uint8_t wrong[32] = { 1 };
    int64_t id = 0;

    (void)state;
    connect_contact();
    for (int n = 0; n < ROUNDS; n++)
        send_noise(100);
    expect_few_events();
    for (int n = 0; n < ROUNDS; n++)
        (void)next_err(); /* each is told */
    for (int n = 0; n < ROUNDS; n++)
        id = send_text(&s.d.i, s.conn, "to be received");
    for (int n = 0; n < ROUNDS; n++)
        expect(&s.d.i, SIMPLEX_EV_SENT, s.conn);
    for (int n = 0; n < ROUNDS; n++)
        say_receipt(n + 2, sx_bytes(wrong, sizeof wrong)); /* 1: the confirmation */
    expect_few_events();
    for (int64_t n = id - ROUNDS + 1; n <= id; n++) {
        simplex_event *ev = wait_event(&s.d.i, SIMPLEX_EV_RCVD, s.conn);
        assert_int_equal(simplex_event_msg_id(ev), n);
        simplex_event_free(ev);
    }
    assert_usable();
}

#define PUSHED 200

/* MSG as the server would push it, if it did not wait for ACK. */
static simplex_rc push(struct simplex_agent *a, void *arg)
{
    struct sx_rcv_msg m = { .ts_s = 1700000000, .body = *(const simplex_bytes *)arg };
    struct sx_rsp rsp = { .tag = SX_R_MSG };
    static uint8_t sealed[SX_BLOCK];
    uint8_t id[SX_NONCE_LEN];
    struct sx_rcv_queue q;
    struct sx_box_key key;
    struct sx_wr plain;

    assert_int_equal(sx_store_rcvq_of(a->store, s.conn, 0, &q), SIMPLEX_OK);
    sx_random(id, sizeof id);
    sx_wr_init(&plain, BODY_MAX);
    sx_rcv_msg_encode(&plain, &m);
    sx_box_key_init(&key, q.srv_secret);
    assert_int_equal(sx_box_seal_padded(&key, id, sx_wr_bytes(&plain), SX_MSG_PADDED, sealed),
                     SIMPLEX_OK);
    rsp.msg.msg_id = sx_bytes(id, sizeof id);
    rsp.msg.body = sx_bytes(sealed, SX_MSG_BODY);
    sx_receive(a, q.id, &rsp);
    sx_wr_free(&plain);
    return SIMPLEX_OK;
}

static void a_server_that_helps_the_contact_fills_nothing(void **state)
{
    (void)state;
    connect_contact();
    for (int n = 0; n < PUSHED; n++) {
        struct sx_wr plain, body;
        sx_wr_init(&plain, BODY_MAX);
        sx_wr_init(&body, BODY_MAX);
        contact_message_plain(&s.c, "and another one", &plain);
        contact_plain_to_body(&s.c, sx_wr_bytes(&plain), &body);
        simplex_bytes pushed = sx_wr_bytes(&body);
        assert_int_equal(sx_agent_run(s.d.i.a, push, &pushed, false), SIMPLEX_OK);
        sx_wr_free(&plain);
        sx_wr_free(&body);
    }
    expect_few_events();
    for (int64_t n = events_waiting(); n > 0; n--) /* as usual */
        expect_msg("and another one", SIMPLEX_MSG_OK, 0, 0);
    others_go_on();
}

/* ---- the disk ---- */

struct fault {
    unsigned nth;
    bool fired;
};

static simplex_rc arm(struct simplex_agent *a, void *arg)
{
    const struct fault *f = arg;

    a->recover_after = 20;
    sx_store_fault(a->store, f->nth, SIMPLEX_E_DB_FULL);
    return SIMPLEX_OK;
}

static simplex_rc disarm(struct simplex_agent *a, void *arg)
{
    ((struct fault *)arg)->fired = sx_store_fault_disarm(a->store);
    return SIMPLEX_OK;
}

static void on_loop(struct test_agent *t, simplex_rc (*fn)(struct simplex_agent *, void *),
                    struct fault *f)
{
    struct sx_call call = { .fn = fn, .arg = f };

    (void)!sx_agent_call(t->a, &call); /* a failing commit of the same turn is its result as well */
}

/* The disk is full at each statement of sending, in turn: the caller is told, or it was stored. */
static void a_full_disk_while_sending_loses_nothing(void **state)
{
    struct test_agent *t = &s.d.i;
    struct fault f = { .fired = true };
    char text[32];
    int64_t id;

    (void)state;
    t->errors_ok = true; /* ERR tells of the disk */
    for (f.nth = 0; f.fired; f.nth++) {
        assert_in_range(f.nth, 0, 200);
        (void)snprintf(text, sizeof text, "message %u", f.nth);
        on_loop(t, arm, &f);
        simplex_rc rc = simplex_agent_send(t->a, s.d.ic, sx_str(text), 0, &id);
        if (rc != SIMPLEX_OK && rc != SIMPLEX_E_DB_FULL)
            fail_msg("at statement %u: %s", f.nth, simplex_rc_name(rc));
        (void)quiet(t, SIMPLEX_EV_SENT, 20);
        on_loop(t, disarm, &f);
        while (rc != SIMPLEX_OK) { /* there is room again */
            rc = simplex_agent_send(t->a, s.d.ic, sx_str(text), 0, &id);
            if (rc != SIMPLEX_OK)
                (void)quiet(t, SIMPLEX_EV_SENT, 20);
        }
        assert_int_equal(receive_text(&s.d.j, s.d.jc, text), id);
    }
    assert_true(f.nth > 5);
    assert_true(quiet(&s.d.j, SIMPLEX_EV_MSG, 50));
}

static void a_full_disk_while_receiving_loses_nothing(void **state)
{
    struct test_agent *t = &s.d.i;
    struct fault f = { .fired = true };
    char text[32];

    (void)state;
    t->errors_ok = true;
    for (f.nth = 0; f.fired; f.nth++) {
        assert_in_range(f.nth, 0, 200);
        (void)snprintf(text, sizeof text, "message %u", f.nth);
        on_loop(t, arm, &f);
        send_text(&s.d.j, s.d.jc, text);
        simplex_event *ev = wait_event(t, SIMPLEX_EV_MSG, s.d.ic);
        vec_assert_eq(simplex_event_data(ev), sx_str(text), "message");
        assert_int_equal(simplex_event_integrity(ev, NULL, NULL), SIMPLEX_MSG_OK);
        int64_t id = simplex_event_msg_id(ev);
        simplex_event_free(ev);
        simplex_rc rc = simplex_agent_ack(t->a, s.d.ic, id);
        while (rc != SIMPLEX_OK) {
            assert_int_equal(rc, SIMPLEX_E_DB_FULL);
            (void)quiet(t, SIMPLEX_EV_SENT, 20);
            rc = simplex_agent_ack(t->a, s.d.ic, id);
        }
        (void)quiet(t, SIMPLEX_EV_SENT, 10);
        on_loop(t, disarm, &f);
    }
    assert_true(f.nth > 5);
    (void)quiet(t, SIMPLEX_EV_SENT, 1500); /* the last recovery */
    send_text(&s.d.j, s.d.jc, "last");
    receive_text(t, s.d.ic, "last");
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
    struct test_agent *t = &s.d.j;
    struct fault f = { .fired = true };
    char text[32];

    (void)state;
    agent_close(t);
    t->cfg.on_event = on_echo;
    t->cfg.user = &t->a;
    agent_reopen(t);
    for (f.nth = 0; f.fired; f.nth++) {
        assert_in_range(f.nth, 0, 200);
        (void)snprintf(text, sizeof text, "message %u", f.nth);
        on_loop(t, arm, &f);
        send_text(&s.d.i, s.d.ic, text);
        receive_text(&s.d.i, s.d.ic, text);
        assert_true(quiet(&s.d.i, SIMPLEX_EV_MSG, 10));
        on_loop(t, disarm, &f);
    }
    assert_true(f.nth > 10);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

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
        TEST(steps_of_a_rotation_out_of_turn_are_refused),
        TEST(a_rotation_to_nowhere_goes_back),
        TEST(added_queues_that_lead_nowhere_are_bounded_and_given_up),
        TEST(queues_that_a_peer_makes_us_use_are_bounded),
        TEST(rotations_without_end_wait_until_they_are_seen),
        TEST(added_queues_without_end_wait_until_they_are_seen),
        TEST(noise_and_receipts_wait_until_they_are_seen),
        TEST(a_server_that_helps_the_contact_fills_nothing),
        TEST(a_full_disk_while_sending_loses_nothing),
        TEST(a_full_disk_while_receiving_loses_nothing),
        TEST(a_full_disk_under_a_callback_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
