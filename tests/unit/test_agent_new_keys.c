/* SPDX-License-Identifier: Apache-2.0 */
/*
 * New keys of the peer's that come through one of several queues (agent.md section 6.6): when they
 * are taken, and when they wait for what other queues may still bring. An agent without thread and
 * network gets them as its servers would deliver them.
 */
#include "lone_agent.h"

#include "agent/command.h"
#include "agent/event.h"
#include "agent/handshake.h"
#include "agent/numbers.h"
#include "agent/receive.h"
#include "agent/switch.h"
#include "agent/users.h"
#include "agent/work.h"

#define BODY_MAX 8192

struct queue { /* of ours, and what the peer knows of it */
    struct sx_rcv_queue row;
    uint8_t e2e_secret[32], srv_secret[32];
};

static char dir[256];
static struct simplex_agent *a;
static struct sx_conn c;
static struct queue first, second;

static void add_queue(struct queue *q, int64_t replaces)
{
    struct sx_server server = a->servers.v[0].server;

    memset(q, 0, sizeof *q);
    must(sx_new_rcv_queue_on(a, c.id, &server, SX_CLIENT_MAX, replaces, &q->row));
    sx_random(q->e2e_secret, sizeof q->e2e_secret);
    sx_random(q->srv_secret, sizeof q->srv_secret);
    memcpy(q->row.e2e_secret, q->e2e_secret, sizeof q->e2e_secret);
    memcpy(q->row.srv_secret, q->srv_secret, sizeof q->srv_secret);
    q->row.has_e2e_secret = q->row.has_srv_secret = true;
    q->row.status = SX_Q_ACTIVE;
    q->row.rcv_id.len = 24;
    sx_random(q->row.rcv_id.b, 24);
    must(sx_store_rcvq_update(a->store, &q->row));
    must(sx_rt_rcvq_add(a, &q->row, true, SX_SUB_NONE));
}

static void add_sending_queue(void)
{
    struct sx_queue_addr to = { .v = { SX_CLIENT_MAX, SX_CLIENT_MAX },
                                .server = a->servers.v[0].server,
                                .snd_id = { .len = 24 },
                                .mode = SX_MODE_MESSAGING };
    struct sx_snd_queue q;
    struct sx_keypair dh;

    must(sx_keypair_new(SX_X25519, &dh));
    to.dh = dh.pub;
    must(sx_new_snd_queue(a, c.id, &to, SX_CLIENT_MAX, &q));
}

static int setup(void **state)
{
    (void)state;
    a = lone_agent_open(dir);
    c = (struct sx_conn){ .user = SIMPLEX_USER_DEFAULT,
                          .role = SX_INITIATOR,
                          .state = SX_CONN_READY,
                          .agent_version = SX_AGENT_MAX,
                          .rcv_queues = 2,
                          .subscribe = true };
    must(sx_store_conn_add(a->store, &c));
    add_queue(&first, 0);
    add_sending_queue();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    lone_agent_close(a, dir);
    return 0;
}

/* ---- the peer's keys ---- */

static void make_keys(struct sx_wr *envelope)
{
    struct sx_envelope e = {
        .version = SX_AGENT_MAX, .tag = SX_ENV_RATCHET_KEY, .has_e2e = true, .body = sx_str("R")
    };
    struct sx_x3dh_keys k;

    must(sx_x3dh_keys_new(false, &k));
    sx_x3dh_params(&k, (struct sx_range){ SX_E2E_MAX, SX_E2E_MAX }, &e.e2e);
    sx_wr_init(envelope, BODY_MAX);
    sx_envelope_encode(envelope, &e);
    assert_false(envelope->bad);
    sx_x3dh_keys_wipe(&k);
}

static void seal(const uint8_t secret[32], const uint8_t nonce[SX_NONCE_LEN], simplex_bytes plain,
                 struct sx_wr *out)
{
    struct sx_box_key box;
    uint8_t *at = sx_wr_space(out, plain.len + 2 + SX_BOX_TAG);

    assert_non_null(at);
    sx_box_key_init(&box, secret);
    must(sx_box_seal_padded(&box, nonce, plain, plain.len + 2, at));
}

/* In the layers of queue and server, as MSG. */
static void deliver(const struct queue *q, simplex_bytes envelope)
{
    struct sx_client_msg head = { .version = SX_CLIENT_MAX };
    struct sx_private_msg priv = { .envelope = envelope };
    struct sx_rcv_msg m = { .ts_s = 1700000000 };
    uint8_t msg_id[SX_NONCE_LEN];
    struct sx_wr inner, body, plain, msg;
    struct sx_rsp rsp = { .tag = SX_R_MSG };

    sx_wr_init(&inner, BODY_MAX);
    sx_wr_init(&body, BODY_MAX);
    sx_wr_init(&plain, BODY_MAX);
    sx_wr_init(&msg, BODY_MAX);
    sx_private_msg_encode(&inner, &priv);
    sx_random(head.nonce, sizeof head.nonce);
    sx_client_msg_encode(&body, &head);
    seal(q->e2e_secret, head.nonce, sx_wr_bytes(&inner), &body);
    m.body = sx_wr_bytes(&body);
    sx_rcv_msg_encode(&plain, &m);
    sx_random(msg_id, sizeof msg_id);
    seal(q->srv_secret, msg_id, sx_wr_bytes(&plain), &msg);
    rsp.msg.msg_id = sx_bytes(msg_id, sizeof msg_id);
    rsp.msg.body = sx_wr_bytes(&msg);
    sx_receive(a, q->row.id, &rsp);
    sx_wr_free(&inner);
    sx_wr_free(&body);
    sx_wr_free(&plain);
    sx_wr_free(&msg);
}

/* ---- what became of them ---- */

static uint8_t sync_state(void)
{
    must(sx_store_conn_get(a->store, c.id, &c));
    return c.sync_state;
}

static bool waits(const struct queue *q)
{
    return sx_rt_rcvq_by_id(a, q->row.id)->on_hold;
}

static void reload(struct queue *q)
{
    must(sx_store_rcvq_get(a->store, q->row.id, &q->row));
}

static bool drains(const struct queue *q)
{
    struct sx_command cmd = { .id = 0 };

    while (sx_store_command_next(a->store, c.id, cmd.id, &cmd) == SIMPLEX_OK) {
        if (cmd.tag == SX_C_DRAIN && cmd.queue_id == q->row.id)
            return true;
    }
    return false;
}

static bool told_error(simplex_rc want)
{
    struct sx_event_row row;
    struct simplex_event ev;
    bool yes = false;

    for (int64_t after = 0; sx_store_event_next(a->store, after, &row) == SIMPLEX_OK;
         after = row.id) {
        must(sx_event_decode(row.data, &ev));
        yes = yes || (ev.kind == SIMPLEX_EV_ERR && ev.rc == want);
        sx_event_clear(&ev);
    }
    return yes;
}

/* ---- several queues ---- */

static void new_keys_wait_for_what_another_queue_may_bring(void **state)
{
    struct sx_wr keys;

    (void)state;
    add_queue(&second, 0);
    make_keys(&keys);
    deliver(&second, sx_wr_bytes(&keys));
    assert_int_equal(sync_state(), SX_SYNC_OK);
    assert_true(waits(&second));
    deliver(&first, sx_wr_bytes(&keys)); /* behind all that was sent before, here as well */
    assert_int_equal(sync_state(), SX_SYNC_AGREED);
    assert_false(waits(&first));
    deliver(&second, sx_wr_bytes(&keys)); /* known */
    assert_int_equal(sync_state(), SX_SYNC_AGREED);
    assert_false(waits(&second));
    assert_int_equal(c.rcv_others, 1);
    sx_wr_free(&keys);
}

/* Then they may have overtaken something. */
static void new_keys_wait_for_a_time_only(void **state)
{
    struct sx_wr keys;

    (void)state;
    add_queue(&second, 0);
    make_keys(&keys);
    deliver(&second, sx_wr_bytes(&keys));
    assert_true(waits(&second));
    sx_rt_rcvq_by_id(a, second.row.id)->held_since -= a->cfg.hold_time;
    deliver(&second, sx_wr_bytes(&keys));
    assert_int_equal(sync_state(), SX_SYNC_AGREED);
    assert_int_equal(c.rcv_others, SX_OTHERS_UNKNOWN);
    sx_wr_free(&keys);
}

static void the_only_queue_holds_no_keys_up(void **state)
{
    struct sx_wr keys;

    (void)state;
    c.rcv_queues = 1;
    must(sx_store_conn_update(a->store, &c));
    make_keys(&keys);
    deliver(&first, sx_wr_bytes(&keys));
    assert_int_equal(sync_state(), SX_SYNC_AGREED);
    assert_int_equal(c.rcv_others, 1);
    sx_wr_free(&keys);
}

/* ---- a rotation ---- */

static void begin_rotation(enum sx_switch_state at)
{
    c.rcv_queues = 1;
    must(sx_store_conn_update(a->store, &c));
    reload(&first);
    first.row.switch_state = (uint8_t)at;
    must(sx_store_rcvq_update(a->store, &first.row));
    add_queue(&second, first.row.id);
    second.row.status = SX_Q_SECURED;
    must(sx_store_rcvq_update(a->store, &second.row));
}

/* They say that it is used, so that the old one is read to its end. */
static void new_keys_of_the_new_queue_wait_for_the_end_of_the_old(void **state)
{
    struct sx_wr keys;

    (void)state;
    begin_rotation(SX_SW_QUSE);
    make_keys(&keys);
    deliver(&second, sx_wr_bytes(&keys));
    assert_int_equal(sync_state(), SX_SYNC_OK);
    assert_true(waits(&second));
    reload(&first);
    assert_int_equal(first.row.switch_state, SX_SW_RECEIVED);
    assert_true(drains(&first));
    must(sx_drain_done(a, first.row.id));
    deliver(&second, sx_wr_bytes(&keys));
    assert_int_equal(sync_state(), SX_SYNC_AGREED);
    assert_false(waits(&second));
    sx_wr_free(&keys);
}

/* Whoever found the new queue before the peer was told to use it is somebody else. */
static void new_keys_are_refused_where_no_message_may_come(void **state)
{
    static const enum sx_switch_state early[] = { SX_SW_STARTED, SX_SW_QADD };
    struct sx_wr keys;

    (void)state;
    begin_rotation(SX_SW_STARTED);
    for (size_t n = 0; n < SX_COUNT(early); n++) {
        first.row.switch_state = (uint8_t)early[n];
        must(sx_store_rcvq_update(a->store, &first.row));
        make_keys(&keys);
        deliver(&second, sx_wr_bytes(&keys));
        sx_wr_free(&keys);
        assert_int_equal(sync_state(), SX_SYNC_OK);
        assert_false(waits(&second));
        reload(&first);
        assert_int_equal(first.row.switch_state, early[n]);
    }
    assert_true(told_error(SIMPLEX_E_PROHIBITED));
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(new_keys_wait_for_what_another_queue_may_bring, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(new_keys_wait_for_a_time_only, setup, teardown),
        cmocka_unit_test_setup_teardown(the_only_queue_holds_no_keys_up, setup, teardown),
        cmocka_unit_test_setup_teardown(new_keys_of_the_new_queue_wait_for_the_end_of_the_old,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(new_keys_are_refused_where_no_message_may_come, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
