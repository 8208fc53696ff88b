/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A contact that moves and adds queues out of turn, to nowhere or without end, and one that sends
 * more than anybody looks at: what it can make the agent keep is bounded.
 */
#include <stdio.h>
#include <unistd.h>

#include "agent/receive.h"
#include "agent/switch.h"
#include "agent/unread.h"
#include "hostile_stage.h"

/* ---- rotation ---- */

static void say_rotation(enum sx_msg_tag tag, const union sx_switch_item *x)
{
    struct sx_agent_msg m = next_msg(tag);
    struct sx_wr item;

    sx_wr_init(&item, BODY_MAX);
    if (tag == SX_M_QADD)
        sx_qadd_encode(&item, &x->add);
    else if (tag == SX_M_QKEY)
        sx_qkey_encode(&item, &x->key);
    else if (tag == SX_M_QUSE)
        sx_quse_encode(&item, &x->use);
    else
        sx_queue_ref_encode(&item, &x->test);
    assert_false(item.bad);
    m.list = (struct sx_list){ 1, sx_wr_bytes(&item) };
    say_msg(&m);
    sx_wr_free(&item);
}

static struct sx_queue_ref ref_of(const struct sx_queue_addr *q)
{
    return (struct sx_queue_ref){ q->server, q->snd_id };
}

/* The reply queue, as one to move to or to add; with another id it is one that nobody made. */
static struct sx_queue_addr like_the_reply(void)
{
    struct sx_queue_addr q = s.c.reply;

    q.v = (struct sx_range){ SX_CLIENT_MIN, SX_CLIENT_MAX };
    return q;
}

static void steps_of_a_rotation_out_of_turn_are_refused(void **state)
{
    union sx_switch_item x;
    struct sx_queue_addr other = like_the_reply();

    (void)state;
    connect_contact();
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
    struct sx_queue_addr other = like_the_reply();
    simplex_event *ev;

    (void)state;
    connect_contact();
    for (int n = 0; n < 5; n++) { /* each replaces the one before */
        other.snd_id.b[0]++;
        x.add = (struct sx_qadd){ other, true, ref_of(&s.c.reply) };
        say_rotation(SX_M_QADD, &x);
        expect_switch(&s.d.i, s.conn, SIMPLEX_SWITCH_SND, SIMPLEX_SWITCH_STARTED);
        expect_switch(&s.d.i, s.conn, SIMPLEX_SWITCH_SND, SIMPLEX_SWITCH_CONFIRMED);
    }
    send_text(&s.d.i, s.conn, "between");
    expect(&s.d.i, SIMPLEX_EV_SENT, s.conn);
    x.use = (struct sx_quse){ ref_of(&other), true };
    say_rotation(SX_M_QUSE, &x);
    expect_switch(&s.d.i, s.conn, SIMPLEX_SWITCH_SND, SIMPLEX_SWITCH_SECURED);
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
    struct sx_queue_addr other = like_the_reply();
    simplex_event *ev;
    int32_t direction;

    (void)state;
    connect_contact();
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
    struct sx_queue_addr other = like_the_reply();

    (void)state;
    connect_contact();
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

static void wait_events(int64_t n)
{
    for (int ms = 0; ms < WAIT_MS && events_waiting() < n; ms++)
        usleep(1000);
    assert_true(events_waiting() >= n);
}

/* Until nothing is added any more. */
static void expect_few_events(void)
{
    int64_t before = -1, now;

    wait_events(WAITING_MAX / 2);
    for (now = events_waiting(); now != before;) {
        usleep(100000);
        before = now;
        now = events_waiting();
    }
    assert_in_range(now, WAITING_MAX / 2, WAITING_MAX);
}

static void say_receipt(int64_t id, simplex_bytes hash)
{
    struct sx_agent_msg m = next_msg(SX_M_RCVD);
    struct sx_receipt r = { .id = id, .hash = hash };
    struct sx_wr item;

    sx_wr_init(&item, BODY_MAX);
    sx_receipt_encode(&item, &r);
    m.list = (struct sx_list){ 1, sx_wr_bytes(&item) };
    say_msg(&m);
    sx_wr_free(&item);
}

static void rotations_without_end_wait_until_they_are_seen(void **state)
{
    union sx_switch_item x;
    struct sx_queue_addr other = like_the_reply();
    int started = 0;

    (void)state;
    connect_contact();
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
    struct sx_queue_addr other = like_the_reply();
    int added = 0;

    (void)state;
    connect_contact();
    for (int n = 0; n < ROUNDS / 2; n++) { /* each is found out at once, and makes room */
        other.snd_id.b[0]++;
        x.add = (struct sx_qadd){ other, false, ref_of(&s.c.reply) };
        say_rotation(SX_M_QADD, &x);
        x.use = (struct sx_quse){ ref_of(&other), false };
        say_rotation(SX_M_QUSE, &x);
        if (2 * n + 2 < SX_EVENTS_WAITING)
            wait_events(2 * n + 2);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(steps_of_a_rotation_out_of_turn_are_refused),
        TEST(a_rotation_to_nowhere_goes_back),
        TEST(added_queues_that_lead_nowhere_are_bounded_and_given_up),
        TEST(queues_that_a_peer_makes_us_use_are_bounded),
        TEST(rotations_without_end_wait_until_they_are_seen),
        TEST(added_queues_without_end_wait_until_they_are_seen),
        TEST(noise_and_receipts_wait_until_they_are_seen),
        TEST(a_server_that_helps_the_contact_fills_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
