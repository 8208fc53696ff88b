/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Servers that answer NKEY, GET and services as they please, played by tests/support/smp_peer.c:
 * the application is told, nothing is asked for ever, and the agent goes on.
 */
#include "agent/agent.h"
#include "support/odd_server.h"

static struct scene {
    char dir[256];
    struct test_agent i;
    struct odd_server server;
    struct peer_conn *client;
    struct sx_rsp ids, nid, get; /* the answers; get also to SUB */
    struct sx_keypair dh;
    uint8_t rcv_id[24], snd_id[24], ntf_id[24], msg_id[24], body[SX_MSG_BODY];
    unsigned gets, acks, subs;
    bool silent; /* to GET */
    int64_t conn;
} s;

static bool answer(struct peer *p, struct peer_conn *c, const struct sx_cmd *cmd,
                   struct sx_transmission *t, struct sx_rsp *rsp)
{
    s.client = c;
    switch (cmd->tag) {
    case SX_NEW:
        s.rcv_id[0]++;
        s.snd_id[0]++;
        *rsp = s.ids;
        return true;
    case SX_NKEY:
        *rsp = s.nid;
        return true;
    case SX_GET:
        s.gets++;
        *rsp = s.get;
        return !s.silent;
    case SX_SUB:
        s.subs++;
        *rsp = s.get;
        return true;
    case SX_ACK:
        s.acks++;
        return peer_answer(p, c, cmd, t, rsp);
    default:
        return peer_answer(p, c, cmd, t, rsp);
    }
}

static void good_answers(void)
{
    s.ids = (struct sx_rsp){ .tag = SX_R_IDS };
    s.ids.ids.rcv_id = sx_bytes(s.rcv_id, 24);
    s.ids.ids.snd_id = sx_bytes(s.snd_id, 24);
    s.ids.ids.srv_dh = s.dh.pub;
    s.ids.ids.mode = SX_MODE_MESSAGING;
    s.nid = (struct sx_rsp){ .tag = SX_R_NID };
    s.nid.nid.ntf_id = sx_bytes(s.ntf_id, 24);
    s.nid.nid.srv_dh = s.dh.pub;
    s.get = (struct sx_rsp){ .tag = SX_R_OK };
}

static int set_up(void **state)
{
    (void)state;
    memset(&s, 0, sizeof s);
    tmp_make(s.dir);
    odd_server_open(&s.server);
    s.server.peer.answer = answer;
    assert_int_equal(sx_keypair_new(SX_X25519, &s.dh), SIMPLEX_OK);
    good_answers();
    agent_open(&s.i, s.dir, "i", s.server.address);
    s.i.cfg.connect_timeout = 10000;
    s.i.cfg.command_timeout = 3000; /* nothing but silence takes so long */
    s.i.cfg.fetch_only = true;
    s.i.errors_ok = true;
    agent_reopen(&s.i);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    agent_close(&s.i);
    odd_server_close(&s.server);
    tmp_remove(s.dir);
    return 0;
}

static simplex_event *hear_within(int32_t kind, int64_t ms)
{
    return odd_server_hear_within(&s.server, &s.i, kind, 0, ms);
}

static simplex_rc heard(int32_t kind)
{
    simplex_event *ev = odd_server_hear(&s.server, &s.i, kind, 0);
    simplex_rc rc = simplex_event_error(ev);

    simplex_event_free(ev);
    return rc;
}

static void create(void)
{
    assert_int_equal(simplex_agent_create(s.i.a, SIMPLEX_PQ_OFF, &s.conn), SIMPLEX_OK);
    assert_int_equal(heard(SIMPLEX_EV_INV), SIMPLEX_OK);
}

static simplex_rc fetch(int64_t *count)
{
    simplex_event *ev;
    simplex_rc rc;

    assert_int_equal(simplex_agent_fetch(s.i.a, &s.conn, 1), SIMPLEX_OK);
    ev = hear_within(SIMPLEX_EV_FETCHED, WAIT_MS);
    assert_non_null(ev);
    rc = simplex_event_error(ev);
    *count = simplex_event_count(ev);
    assert_int_equal(simplex_event_msg_id(ev), 0);
    simplex_event_free(ev);
    return rc;
}

static void odd_answers_to_nkey_are_told(void **state)
{
    struct sx_rsp odd[5];

    (void)state;
    create();
    for (size_t n = 0; n < SX_COUNT(odd); n++)
        odd[n] = s.nid;
    odd[0].nid.ntf_id.len = 0;
    memset(odd[1].nid.srv_dh.b, 0, 32);
    odd[2] = (struct sx_rsp){ .tag = SX_R_OK };
    odd[3] = (struct sx_rsp){ .tag = SX_R_ERR, .err.err = SX_ERR_AUTH };
    odd[4] = s.ids;
    for (size_t n = 0; n < SX_COUNT(odd); n++) {
        s.nid = odd[n];
        assert_int_equal(simplex_agent_notify(s.i.a, s.conn, true), SIMPLEX_OK);
        assert_int_equal(heard(SIMPLEX_EV_NOTIFIER),
                         n == 3 ? SIMPLEX_E_SERVER : SIMPLEX_E_RESPONSE);
    }
    good_answers();
    assert_int_equal(simplex_agent_notify(s.i.a, s.conn, true), SIMPLEX_OK);
    assert_int_equal(heard(SIMPLEX_EV_NOTIFIER), SIMPLEX_OK);
}

static void odd_answers_to_get_end_the_fetch(void **state)
{
    int64_t count;

    (void)state;
    create();
    assert_int_equal(fetch(&count), SIMPLEX_OK);
    assert_int_equal(count, 0);
    s.get = (struct sx_rsp){ .tag = SX_R_PONG };
    assert_int_equal(fetch(&count), SIMPLEX_E_RESPONSE);
    s.get = (struct sx_rsp){ .tag = SX_R_ERR, .err.err = SX_ERR_AUTH };
    assert_int_equal(fetch(&count), SIMPLEX_E_SERVER);
    /* it says that the queue is subscribed, and that it is not: both ways are tried, once */
    s.get =
        (struct sx_rsp){ .tag = SX_R_ERR, .err = { .err = SX_ERR_CMD, .cmd = SX_CMD_PROHIBITED } };
    s.gets = s.subs = 0;
    assert_int_equal(fetch(&count), SIMPLEX_E_SERVER);
    assert_int_equal(s.gets + s.subs, 2);
    s.get = (struct sx_rsp){ .tag = SX_R_OK };
    peer_drop(&s.server.peer);
    (void)fetch(&count); /* may be lost with the session */
    s.silent = true;
    assert_int_equal(fetch(&count), SIMPLEX_E_TIMEOUT);
    s.silent = false;
    assert_int_equal(fetch(&count), SIMPLEX_OK);
    assert_int_equal(count, 0);
}

/* A server that always has one more message that cannot be read. */
static void noise_without_end_is_fetched_a_bounded_number_of_times(void **state)
{
    int64_t count;

    (void)state;
    create();
    sx_random(s.body, sizeof s.body);
    sx_random(s.msg_id, sizeof s.msg_id);
    s.get = (struct sx_rsp){ .tag = SX_R_MSG };
    s.get.msg.msg_id = sx_bytes(s.msg_id, 24);
    s.get.msg.body = sx_bytes(s.body, sizeof s.body);
    assert_int_equal(fetch(&count), SIMPLEX_OK);
    assert_in_range(count, 2, 40);
    assert_in_range(s.gets, 2, 40);
    assert_int_equal(s.acks, s.gets);
    for (size_t len = 0; len < 40; len += 13) {
        s.get.msg.body.len = len;
        assert_int_equal(fetch(&count), SIMPLEX_OK);
    }
    s.get.msg.msg_id.len = 3;
    assert_int_equal(fetch(&count), SIMPLEX_OK);
    s.get = (struct sx_rsp){ .tag = SX_R_OK };
    assert_int_equal(fetch(&count), SIMPLEX_OK);
    assert_int_equal(count, 0);
}

static void what_nobody_asked_for_changes_nothing(void **state)
{
    static const enum sx_rsp_tag tags[] = { SX_R_SOKS, SX_R_ENDS, SX_R_ALLS, SX_R_NID,
                                            SX_R_NMSG, SX_R_SOK,  SX_R_MSG };
    int64_t count;

    (void)state;
    create();
    for (size_t n = 0; n < SX_COUNT(tags); n++) {
        struct sx_rsp rsp = { .tag = tags[n] };
        if (tags[n] == SX_R_SOKS || tags[n] == SX_R_ENDS)
            rsp.soks.has_hash = true;
        if (tags[n] == SX_R_NID)
            rsp = s.nid;
        if (tags[n] == SX_R_MSG) {
            rsp.msg.msg_id = sx_bytes(s.msg_id, 24);
            rsp.msg.body = sx_bytes(s.body, sizeof s.body);
        }
        peer_push(s.client, sx_bytes(NULL, 0), sx_bytes(s.rcv_id, 24), &rsp);
        peer_push(s.client, sx_bytes(s.msg_id, 24), sx_bytes(NULL, 0), &rsp);
    }
    assert_null(hear_within(SIMPLEX_EV_ERR, 200));
    assert_int_equal(s.acks, 0);
    assert_int_equal(fetch(&count), SIMPLEX_OK);
    assert_int_equal(count, 0);
}

/* The peer of these tests knows no services: it answers as a server that takes no part in them. */
static void a_server_that_ignores_the_service_serves_an_ordinary_client(void **state)
{
    (void)state;
    s.i.cfg.client_service = true;
    s.i.cfg.fetch_only = false;
    s.i.cfg.smp_max = 18;
    agent_reopen(&s.i);
    create();
    agent_reopen(&s.i);
    assert_int_equal(heard(SIMPLEX_EV_UP), SIMPLEX_OK);
    assert_true(s.subs > 0);
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(odd_answers_to_nkey_are_told),
        CASE(odd_answers_to_get_end_the_fetch),
        CASE(noise_without_end_is_fetched_a_bounded_number_of_times),
        CASE(what_nobody_asked_for_changes_nothing),
        CASE(a_server_that_ignores_the_service_serves_an_ordinary_client),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
