/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server that does not keep to the protocol, played by tests/support/smp_peer.c. The application
 * is told; a connection on another server goes on, and so does everything here once the server
 * behaves.
 */
#include <stdio.h>

#include "client/smp_client.h"
#include "support/odd_server.h"

static struct scene {
    struct duo d; /* i: the victim; on the good server it talks to j */
    struct odd_server server;
    struct peer_conn *client;
    struct sx_rsp ids;              /* the answer to NEW */
    struct sx_keypair dh;           /* the server's for the queue */
    struct sx_pub rcv_dh;           /* the victim's */
    uint8_t rcv_id[24], snd_id[24]; /* of the last queue */
    bool same_ids;                  /* for each queue */
    unsigned news, acks, drop_at, silent;
    int64_t conn;
} s;

/* ---- the server ---- */

static bool good(struct peer *p, struct peer_conn *c, const struct sx_cmd *cmd,
                 struct sx_transmission *t, struct sx_rsp *rsp)
{
    s.client = c;
    if (s.drop_at > 0 && p->commands == s.drop_at) {
        s.drop_at = 0;
        peer_drop(p);
        return false;
    }
    if (s.silent > 0) {
        s.silent--;
        return false;
    }
    s.acks += cmd->tag == SX_ACK;
    if (cmd->tag != SX_NEW)
        return peer_answer(p, c, cmd, t, rsp);
    s.news++;
    if (!s.same_ids)
        s.rcv_id[0] = s.snd_id[0] = (uint8_t)s.news;
    s.rcv_dh = cmd->new_.dh;
    *rsp = s.ids;
    return true;
}

static void good_ids(void)
{
    s.ids = (struct sx_rsp){ .tag = SX_R_IDS };
    s.ids.ids.rcv_id = sx_bytes(s.rcv_id, 24);
    s.ids.ids.snd_id = sx_bytes(s.snd_id, 24);
    s.ids.ids.srv_dh = s.dh.pub;
    s.ids.ids.mode = SX_MODE_MESSAGING;
}

static int set_up(void **state)
{
    (void)state;
    memset(&s, 0, sizeof s);
    duo_open(&s.d, NULL);
    duo_connect(&s.d);
    odd_server_open(&s.server);
    s.server.peer.answer = good;
    assert_int_equal(sx_keypair_new(SX_X25519, &s.dh), SIMPLEX_OK);
    good_ids();
    s.d.i.servers[0] = s.server.address; /* for new queues only */
    s.d.i.cfg.connect_timeout = 3000;    /* a handshake of a slow machine is to end otherwise */
    s.d.i.cfg.command_timeout = 3000;    /* nothing but silence takes so long */
    s.d.i.errors_ok = true;
    agent_reopen(&s.d.i);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    duo_close(&s.d);
    odd_server_close(&s.server);
    return 0;
}

/* ---- the victim ---- */

static simplex_event *hear_within(int32_t kind, int64_t conn, int64_t ms)
{
    return odd_server_hear_within(&s.server, &s.d.i, kind, conn, ms);
}

static simplex_event *hear(int32_t kind, int64_t conn)
{
    return odd_server_hear(&s.server, &s.d.i, kind, conn);
}

static simplex_rc heard_error(int32_t kind, int64_t conn)
{
    simplex_event *ev = hear(kind, conn);
    simplex_rc rc = simplex_event_error(ev);

    simplex_event_free(ev);
    return rc;
}

/* Of this server; the other one may be too slow for its time limit. */
static simplex_rc heard_disconnect(void)
{
    simplex_rc rc = SIMPLEX_OK;

    while (rc == SIMPLEX_OK) {
        simplex_event *ev = hear(SIMPLEX_EV_DISCONNECT, 0);
        if (strstr(s.d.i.servers[0], simplex_event_server(ev)) != NULL)
            rc = simplex_event_error(ev);
        simplex_event_free(ev);
    }
    return rc;
}

/* Of this server; the other one says it at any time after the start. */
static void hear_up(void)
{
    for (bool here = false; !here;) {
        simplex_event *ev = hear(SIMPLEX_EV_UP, 0);
        here = strstr(s.d.i.servers[0], simplex_event_server(ev)) != NULL;
        simplex_event_free(ev);
    }
}

static void run_until(const unsigned *count, unsigned n)
{
    int64_t until = sx_mono_ms() + WAIT_MS;

    while (*count < n && sx_mono_ms() < until) {
        simplex_event *ev = hear_within(SIMPLEX_EV_INV, 0, 2);
        simplex_event_free(ev);
    }
    assert_true(*count >= n);
}

static void create(void)
{
    assert_int_equal(simplex_agent_create(s.d.i.a, 0, &s.conn), SIMPLEX_OK);
}

static void others_go_on(void)
{
    talk(&s.d.i, s.d.ic, &s.d.j, s.d.jc, "not concerned");
    talk(&s.d.j, s.d.jc, &s.d.i, s.d.ic, "not at all");
}

static void assert_usable(void)
{
    good_ids();
    assert_int_equal(simplex_agent_reconnect(s.d.i.a), SIMPLEX_OK);
    create();
    simplex_event_free(hear(SIMPLEX_EV_INV, s.conn));
    others_go_on();
}

/* ---- handshakes ---- */

static void every_failed_handshake_is_told(void **state)
{
    static const struct {
        enum peer_mode mode;
        simplex_rc rc;
    } failures[] = {
        { PEER_CLOSES, SIMPLEX_E_DISCONNECTED },
        { PEER_SILENT, SIMPLEX_E_TIMEOUT },
        { PEER_NO_TLS, SIMPLEX_E_TLS },
        { PEER_NO_HELLO, SIMPLEX_E_TIMEOUT },
        { PEER_CLOSES_HELLO, SIMPLEX_E_DISCONNECTED },
        { PEER_BAD_HELLO, SIMPLEX_E_HANDSHAKE },
        { PEER_OTHER_SESSION, SIMPLEX_E_SESSION },
        { PEER_FUTURE, SIMPLEX_E_VERSION },
    };

    (void)state;
    for (size_t n = 0; n < SX_COUNT(failures); n++) {
        s.server.peer.mode = failures[n].mode;
        assert_int_equal(simplex_agent_reconnect(s.d.i.a), SIMPLEX_OK);
        create();
        simplex_rc rc = heard_disconnect();
        if (rc != failures[n].rc)
            fail_msg("mode %d: %s", (int)failures[n].mode, simplex_rc_name(rc));
        others_go_on();
        s.server.peer.mode = PEER_NORMAL; /* it comes to its senses */
        peer_drop(&s.server.peer);
        assert_int_equal(simplex_agent_reconnect(s.d.i.a), SIMPLEX_OK);
        simplex_event_free(hear(SIMPLEX_EV_INV, s.conn));
        peer_drop(&s.server.peer);
        (void)heard_disconnect();
    }
}

static void a_server_with_another_identity_is_refused(void **state)
{
    char other[512];
    const char *at = strchr(s.server.address, '@');

    (void)state;
    (void)snprintf(other, sizeof other, "smp://%.43s=%s",
                   "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", at);
    s.d.i.servers[0] = other;
    agent_reopen(&s.d.i);
    create();
    assert_int_equal(heard_disconnect(), SIMPLEX_E_FINGERPRINT);
    others_go_on();
    s.d.i.servers[0] = s.server.address;
    agent_reopen(&s.d.i);
    assert_usable();
}

static void connections_that_break_at_any_command_are_made_again(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= 4; n++) {
        s.drop_at = s.server.peer.commands + n;
        create();
        simplex_event_free(hear(SIMPLEX_EV_INV, s.conn));
    }
    others_go_on();
}

static void a_server_that_answers_nothing_is_asked_again(void **state)
{
    (void)state;
    s.d.i.cfg.command_timeout = 500;
    agent_reopen(&s.d.i);
    for (s.silent = 1; s.silent < 4; s.silent += 1) {
        unsigned silent = s.silent;
        create();
        simplex_event_free(hear(SIMPLEX_EV_INV, s.conn));
        assert_int_equal(s.silent, 0);
        s.silent = silent;
    }
    s.silent = 0;
    others_go_on();
}

/* ---- answers to NEW ---- */

static void answers_that_make_no_sense_are_errors(void **state)
{
    static const uint8_t zero[32] = { 0 };
    struct sx_rsp odd[6];

    (void)state;
    for (size_t n = 0; n < SX_COUNT(odd); n++)
        odd[n] = s.ids;
    odd[0].ids.rcv_id = sx_bytes(NULL, 0);
    odd[1].ids.snd_id = sx_bytes(NULL, 0);
    memcpy(odd[2].ids.srv_dh.b, zero, sizeof zero); /* a point that makes the secret zero */
    odd[3] = (struct sx_rsp){ .tag = SX_R_OK };
    odd[4] = (struct sx_rsp){ .tag = SX_R_PONG };
    odd[5] = (struct sx_rsp){ .tag = SX_R_MSG };
    odd[5].msg.msg_id = sx_bytes(s.rcv_id, 24);
    odd[5].msg.body = sx_str("no queue yet");
    for (size_t n = 0; n < SX_COUNT(odd); n++) {
        s.ids = odd[n];
        create();
        simplex_rc rc = heard_error(SIMPLEX_EV_ERR, s.conn);
        if (rc != SIMPLEX_E_RESPONSE && rc != SIMPLEX_E_KEY && rc != SIMPLEX_E_CRYPTO)
            fail_msg("answer %zu: %s", n, simplex_rc_name(rc));
        assert_int_equal(simplex_agent_delete(s.d.i.a, s.conn), SIMPLEX_OK);
        simplex_event_free(hear(SIMPLEX_EV_DEL_CONN, s.conn));
    }
    assert_usable();
}

static void refusals_are_told_with_their_reason(void **state)
{
    static const enum sx_err refusals[] = { SX_ERR_AUTH, SX_ERR_QUOTA, SX_ERR_BLOCK,
                                            SX_ERR_LARGE_MSG };

    (void)state;
    for (size_t n = 0; n < SX_COUNT(refusals); n++) {
        s.ids = (struct sx_rsp){ .tag = SX_R_ERR, .err.err = (uint8_t)refusals[n] };
        create();
        simplex_event *ev = hear(SIMPLEX_EV_ERR, s.conn);
        assert_int_equal(simplex_event_error(ev), SIMPLEX_E_SERVER);
        assert_non_null(simplex_event_detail(ev));
        simplex_event_free(ev);
    }
    s.ids = (struct sx_rsp){ .tag = SX_R_ERR, .err.err = SX_ERR_INTERNAL };
    create(); /* this may pass */
    run_until(&s.news, s.news + 3);
    good_ids();
    simplex_event_free(hear(SIMPLEX_EV_INV, s.conn));
    assert_usable();
}

static void ids_of_any_length_are_taken(void **state)
{
    static const uint8_t id[255] = { 7 };

    (void)state;
    s.ids.ids.rcv_id = s.ids.ids.snd_id = sx_bytes(id, 1);
    create();
    simplex_event_free(hear(SIMPLEX_EV_INV, s.conn));
    s.ids.ids.rcv_id = s.ids.ids.snd_id = sx_bytes(id, 255);
    create();
    simplex_event_free(hear(SIMPLEX_EV_INV, s.conn));
    others_go_on();
}

static void two_queues_with_one_id_do_not_upset_the_agent(void **state)
{
    (void)state;
    s.same_ids = true;
    create();
    simplex_event_free(hear(SIMPLEX_EV_INV, s.conn));
    create();
    assert_int_equal(heard_error(SIMPLEX_EV_ERR, s.conn), SIMPLEX_E_RESPONSE);
    others_go_on();
    s.same_ids = false;
    assert_usable();
}

/* ---- messages ---- */

static void push_msg(simplex_bytes entity, simplex_bytes id, simplex_bytes body)
{
    struct sx_rsp rsp = { .tag = SX_R_MSG, .msg = { .msg_id = id, .body = body } };

    peer_push(s.client, sx_bytes(NULL, 0), entity, &rsp);
}

static void bodies_of_noise_are_errors_and_acknowledged(void **state)
{
    static uint8_t body[SX_MSG_BODY];
    static const size_t lengths[] = { 0, 1, 15, 16, 17, 18, 24, 100, 16121, 16122 };

    (void)state;
    create();
    simplex_event_free(hear(SIMPLEX_EV_INV, s.conn));
    for (size_t n = 0; n < SX_COUNT(lengths); n++) {
        uint8_t id[24];
        sx_random(id, sizeof id);
        sx_random(body, lengths[n]);
        push_msg(sx_bytes(s.rcv_id, 24), sx_bytes(id, 24), sx_bytes(body, lengths[n]));
        simplex_rc rc = heard_error(SIMPLEX_EV_ERR, s.conn);
        if (rc != SIMPLEX_E_CRYPTO && rc != SIMPLEX_E_DECODE && rc != SIMPLEX_E_PADDING)
            fail_msg("length %zu: %s", lengths[n], simplex_rc_name(rc));
        run_until(&s.acks, (unsigned)n + 1);
    }
    push_msg(sx_bytes(s.rcv_id, 24), sx_bytes(s.rcv_id, 5), sx_bytes(body, 100));
    assert_int_equal(heard_error(SIMPLEX_EV_ERR, s.conn), SIMPLEX_E_DECODE);
    push_msg(sx_bytes(body + 1000, 24), sx_bytes(s.rcv_id, 24), sx_bytes(body, 100)); /* whose? */
    assert_null(hear_within(SIMPLEX_EV_ERR, 0, 30));
    assert_usable();
}

/* The server's layer is right, what is inside is not. */
static void well_sealed_noise_is_an_error(void **state)
{
    uint8_t secret[SX_DH_MAX], sealed[SX_BLOCK], id[24], inner[64];
    struct sx_box_key box;

    (void)state;
    create();
    simplex_event_free(hear(SIMPLEX_EV_INV, s.conn));
    assert_int_equal(sx_dh(&s.dh.priv, &s.rcv_dh, secret), SIMPLEX_OK);
    sx_box_key_init(&box, secret);
    for (size_t len = 0; len < sizeof inner; len++) {
        sx_random(id, sizeof id);
        sx_random(inner, sizeof inner);
        assert_int_equal(sx_box_seal_padded(&box, id, sx_bytes(inner, len), 1000, sealed),
                         SIMPLEX_OK);
        push_msg(sx_bytes(s.rcv_id, 24), sx_bytes(id, 24), sx_bytes(sealed, 1000 + SX_BOX_TAG));
        (void)heard_error(SIMPLEX_EV_ERR, s.conn);
    }
    assert_usable();
}

/* ---- what nobody asked for ---- */

static void responses_to_nothing_are_ignored(void **state)
{
    static const enum sx_rsp_tag tags[] = { SX_R_OK,  SX_R_PONG, SX_R_SOK,
                                            SX_R_ERR, SX_R_IDS,  SX_R_END };
    static const uint8_t corr[24] = { 1 };

    (void)state;
    create();
    simplex_event_free(hear(SIMPLEX_EV_INV, s.conn));
    for (size_t n = 0; n < 2 * SX_COUNT(tags); n++) {
        struct sx_rsp rsp = tags[n / 2] == SX_R_IDS ? s.ids : (struct sx_rsp){ .tag = tags[n / 2] };
        if (rsp.tag == SX_R_ERR)
            rsp.err.err = SX_ERR_AUTH;
        peer_push(s.client, sx_bytes(corr, n % 2 == 0 ? 24 : 0), sx_str("no such queue"), &rsp);
    }
    assert_null(hear_within(SIMPLEX_EV_DISCONNECT, 0, 50));
    assert_usable();
}

static void blocks_of_noise_end_the_connection_only(void **state)
{
    uint8_t noise[300];

    (void)state;
    create();
    simplex_event_free(hear(SIMPLEX_EV_INV, s.conn));
    for (int n = 0; n < 5; n++) {
        sx_random(noise, sizeof noise);
        noise[0] = 3; /* transmissions that are none */
        struct peer_conn *c = s.client;
        s.client = NULL;
        peer_push_content(c, sx_bytes(noise, sizeof noise));
        assert_int_equal(heard_disconnect(), SIMPLEX_E_BLOCK);
        hear_up(); /* subscribed again */
        assert_non_null(s.client);
    }
    assert_usable();
}

static void an_end_and_a_deletion_are_believed(void **state)
{
    struct sx_rsp end = { .tag = SX_R_END }, deld = { .tag = SX_R_DELD };

    (void)state;
    create();
    simplex_event_free(hear(SIMPLEX_EV_INV, s.conn));
    peer_push(s.client, sx_bytes(NULL, 0), sx_bytes(s.rcv_id, 24), &end);
    simplex_event_free(hear(SIMPLEX_EV_END, s.conn));
    assert_int_equal(simplex_agent_subscribe(s.d.i.a, s.conn, true), SIMPLEX_OK);
    hear_up();
    peer_push(s.client, sx_bytes(NULL, 0), sx_bytes(s.rcv_id, 24), &deld);
    simplex_event_free(hear(SIMPLEX_EV_DELD, s.conn));
    others_go_on();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_failed_handshake_is_told),
        TEST(a_server_with_another_identity_is_refused),
        TEST(connections_that_break_at_any_command_are_made_again),
        TEST(a_server_that_answers_nothing_is_asked_again),
        TEST(answers_that_make_no_sense_are_errors),
        TEST(refusals_are_told_with_their_reason),
        TEST(ids_of_any_length_are_taken),
        TEST(two_queues_with_one_id_do_not_upset_the_agent),
        TEST(bodies_of_noise_are_errors_and_acknowledged),
        TEST(well_sealed_noise_is_an_error),
        TEST(responses_to_nothing_are_ignored),
        TEST(blocks_of_noise_end_the_connection_only),
        TEST(an_end_and_a_deletion_are_believed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
