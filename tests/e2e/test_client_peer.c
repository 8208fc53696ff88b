/* SPDX-License-Identifier: Apache-2.0 */
/* Commands of the client, and a peer that answers, lies or stays silent as it is told. */
#include "client_stage.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- commands and answers ---- */

static void connects_when_there_is_something_to_send(void **state)
{
    struct result r = { 0 };

    (void)state;
    open_client();
    run_for(30);
    assert_int_equal(t.peer.accepted, 0);
    assert_int_equal(sx_client_version(t.client), 0);
    assert_null(sx_client_session(t.client));
    send_cmd(SX_SUB, "queue", &r);
    RUN_UNTIL(r.done);
    assert_int_equal(r.rc, SIMPLEX_OK);
    assert_int_equal(r.rsp.tag, SX_R_SOK);
    assert_int_equal(t.ups, 1);
    assert_true(t.up_order < r.order);
    assert_string_equal(t.peer.entities, "queue");
    assert_int_equal(sx_client_version(t.client), SX_SMP_MAX);
    assert_true(sx_client_session(t.client)->encrypted);
}

static void clients_are_found_again_by_their_server(void **state)
{
    struct sx_server server;
    struct sx_client *again, *other;

    (void)state;
    open_client();
    peer_server(&t.peer, "127.0.0.1", &server);
    assert_int_equal(sx_net_client(t.net, &server, &again), SIMPLEX_OK);
    assert_ptr_equal(again, t.client);
    assert_true(sx_server_eq(sx_client_server(again), &server));
    server.key_hash[0] ^= 1;
    assert_int_equal(sx_net_client(t.net, &server, &other), SIMPLEX_OK);
    assert_ptr_not_equal(other, t.client);
    assert_null(sx_client_data(other));
    sx_client_set_data(other, &server);
    assert_ptr_equal(sx_client_data(other), &server);
}

static void dropped_clients_are_gone_without_a_word(void **state)
{
    struct result r = { 0 };

    (void)state;
    go_up();
    struct sx_client *before = t.client;
    t.peer.answer = silence; /* the next command waits */
    send_cmd(SX_SUB, "waits", &r);
    run_for(30);
    sx_client_drop(before);
    client_of("127.0.0.1"); /* the same server once more */
    assert_ptr_not_equal(t.client, before);
    RUN_UNTIL(t.peer.open == 0);
    assert_int_equal(r.done, 0);
    assert_int_equal(t.downs, 0);
    t.peer.answer = NULL;
    send_cmd(SX_SUB, "again", &r);
    RUN_UNTIL(r.done);
    assert_int_equal(r.rc, SIMPLEX_OK);
    assert_int_equal(t.peer.accepted, 2);
}

/* In each state, and with what is not yet done in this turn; tear_down finds what is left. */
static void clients_can_be_dropped_at_any_time(void **state)
{
    static const char *const hosts[] = { "127.0.0.1", "localhost" };
    struct result r[200] = { 0 };
    size_t n = 0;

    (void)state;
    open_net();
    for (size_t h = 0; h < SX_COUNT(hosts); h++) {
        for (int64_t wait = -1; wait < 60; wait++) {
            client_of(hosts[h]);
            sx_client_want(t.client, wait % 2 == 0);
            send_cmd(SX_SUB, "queue", &r[n++]);
            if (wait >= 0)
                run_for(wait / 4);
            sx_client_drop(t.client);
        }
    }
    sx_client_drop(t.client); /* once more, before its turn */
    close_net();
    assert_int_equal(t.downs, 0);
}

static void a_proxy_keeps_the_hello_and_is_not_encrypted(void **state)
{
    struct sx_server_hello h;

    (void)state;
    t.cfg.proxy = true;
    go_up();
    const struct sx_session *s = sx_client_session(t.client);
    assert_true(s->proxy);
    assert_true(s->has_shared);
    assert_false(s->encrypted);
    assert_int_equal(sx_server_hello_decode(sx_client_hello(t.client), &h), SIMPLEX_OK);
    assert_true(h.has_key);
    assert_true(sx_bytes_eq(h.session_id, sx_session_id(s)));
    peer_drop(&t.peer);
    RUN_UNTIL(t.downs > 0);
    assert_int_equal(sx_client_hello(t.client).len, 0);
}

static void others_do_not_keep_the_hello(void **state)
{
    (void)state;
    go_up();
    assert_int_equal(sx_client_hello(t.client).len, 0);
}

static void commands_of_one_turn_are_batched_in_order(void **state)
{
    static struct result r[300];

    (void)state;
    memset(r, 0, sizeof(r));
    go_up();
    struct sx_keypair key;
    assert_int_equal(sx_keypair_new(SX_ED25519, &key), SIMPLEX_OK);
    for (int i = 0; i < 300; i++) {
        struct sx_cmd cmd = { .tag = SX_SUB };
        char entity[32]; /* as long as real ids */
        snprintf(entity, sizeof(entity), "%024d", i);
        struct sx_request req = {
            .cmd = &cmd, .entity = sx_bytes(entity, 24), .key = &key, .done = done, .ctx = &r[i]
        };
        assert_int_equal(sx_client_send(t.client, &req), SIMPLEX_OK);
    }
    RUN_UNTIL(r[299].done);
    assert_string_equal(t.peer.log, "30 135 135");
    for (int i = 0; i < 300; i++) {
        assert_int_equal(r[i].done, 1);
        assert_int_equal(r[i].rc, SIMPLEX_OK);
        assert_true(i == 0 || r[i].order > r[i - 1].order);
    }
}

static void commands_that_wait_for_the_session_keep_their_order(void **state)
{
    struct result r[4] = { 0 };

    (void)state;
    open_client();
    send_cmd(SX_SUB, "a", &r[0]);
    send_cmd(SX_SUB, "b", &r[1]);
    uv_run(&t.loop, UV_RUN_NOWAIT); /* it connects: however fast, not in one turn */
    assert_int_equal(t.ups, 0);
    send_cmd(SX_SUB, "c", &r[2]);
    send_cmd(SX_GET, "a", &r[3]);
    RUN_UNTIL(r[3].done);
    assert_string_equal(t.peer.entities, "a b c a");
    assert_string_equal(t.peer.log, "3 1"); /* the same queue twice: two blocks */
}

static void queue_more(void)
{
    send_cmd(SX_SUB, "later", t.peer.user);
}

static void what_is_queued_in_up_follows_what_waited(void **state)
{
    struct result r = { 0 };
    static struct result late;

    (void)state;
    late = (struct result){ 0 };
    open_client();
    t.on_up = queue_more;
    t.peer.user = &late;
    send_cmd(SX_SUB, "waited", &r);
    RUN_UNTIL(late.done);
    assert_string_equal(t.peer.entities, "waited later");
    assert_string_equal(t.peer.log, "2");
}

static void long_messages_go_alone(void **state)
{
    static uint8_t body[SX_BLOCK + 1];
    struct result r[4] = { 0 };
    struct sx_cmd cmd = { .tag = SX_SEND, .send.body = { body, 16048 } };
    struct sx_keypair key;

    (void)state;
    go_up();
    assert_int_equal(sx_keypair_new(SX_ED448, &key), SIMPLEX_OK);
    send_cmd(SX_SUB, "a", &r[0]);
    struct sx_request req = { .cmd = &cmd,
                              .entity = sx_str("123456789012345678901234"),
                              .key = &key,
                              .done = done,
                              .ctx = &r[1] };
    assert_int_equal(sx_client_send(t.client, &req), SIMPLEX_OK);
    send_cmd(SX_SUB, "b", &r[2]);
    RUN_UNTIL(r[2].done && r[1].done && r[0].done);
    assert_int_equal(r[1].rc, SIMPLEX_OK);
    /* find the longest body that fits: alone it fills the block to the last byte */
    size_t n = 16048;
    for (int answers = 2; cmd.send.body.len = ++n, sx_client_send(t.client, &req) == SIMPLEX_OK;
         answers++) {
        RUN_UNTIL(r[1].done == answers);
        assert_int_equal(r[1].rc, SIMPLEX_OK);
    }
    assert_in_range(n, 16049, 16366);
    cmd.send.body.len = SX_BLOCK + 1;
    assert_int_equal(try_send(&cmd, "e", 0, &r[3]), SIMPLEX_E_TOO_LARGE);
    assert_int_equal(r[3].done, 0);
}

static void wrong_requests_are_refused_at_once(void **state)
{
    uint8_t corr_id[SX_ID_LEN] = { 7 };
    static const char long_entity[257] = { 0 };
    struct sx_cmd cmd = { .tag = SX_SUB };
    struct result r = { 0 };
    struct sx_request req = {
        .cmd = &cmd, .corr_id = corr_id, .entity = sx_str("a"), .done = done, .ctx = &r
    };

    (void)state;
    open_client();
    assert_int_equal(sx_client_send(t.client, &req), SIMPLEX_OK);
    assert_int_equal(sx_client_send(t.client, &req), SIMPLEX_E_PROHIBITED);
    req.corr_id = NULL;
    req.entity = sx_bytes(long_entity, 256);
    assert_int_equal(sx_client_send(t.client, &req), SIMPLEX_E_ARG);
    cmd.tag = SX_CMD_TAGS;
    assert_int_equal(sx_client_send(t.client, &req), SIMPLEX_E_ARG);
    req.cmd = NULL;
    assert_int_equal(sx_client_send(t.client, &req), SIMPLEX_E_ARG);
    RUN_UNTIL(r.done);
    assert_int_equal(r.done, 1);
    sx_net_close(t.net, closed, &t);
    cmd.tag = SX_SUB;
    req = (struct sx_request){ .cmd = &cmd };
    assert_int_equal(sx_client_send(t.client, &req), SIMPLEX_E_CLOSED);
    assert_int_equal(sx_net_client(t.net, sx_client_server(t.client), &t.client), SIMPLEX_E_CLOSED);
    t.net = NULL;
}

static void a_request_that_cannot_be_encoded_fails_when_the_session_is_up(void **state)
{
    struct sx_cmd cmd = { .tag = SX_SUB };
    struct sx_keypair key = { .priv.alg = SX_X448, .pub.alg = SX_X448 };
    struct result r = { 0 }, ok = { 0 };
    struct sx_request req = {
        .cmd = &cmd, .key = &key, .entity = sx_str("a"), .done = done, .ctx = &r
    };

    (void)state;
    open_client();
    assert_int_equal(sx_client_send(t.client, &req), SIMPLEX_OK);
    send_cmd(SX_SUB, "b", &ok);
    RUN_UNTIL(r.done && ok.done);
    assert_int_equal(r.rc, SIMPLEX_E_KEY);
    assert_int_equal(ok.rc, SIMPLEX_OK);
    assert_int_equal(sx_client_send(t.client, &req), SIMPLEX_E_KEY);
}

/* ---- odd answers ---- */

static void answers_must_fit_their_request(void **state)
{
    struct result entity = { 0 }, tag = { 0 }, error = { 0 }, fine = { 0 };

    (void)state;
    go_up();
    t.peer.answer = answer_oddly;
    send_cmd(SX_SUB, "entity", &entity);
    send_cmd(SX_SUB, "tag", &tag);
    send_cmd(SX_SUB, "error", &error);
    send_cmd(SX_SUB, "fine", &fine);
    RUN_UNTIL(fine.done);
    assert_int_equal(entity.rc, SIMPLEX_E_RESPONSE);
    assert_int_equal(tag.rc, SIMPLEX_E_RESPONSE);
    assert_int_equal(error.rc, SIMPLEX_E_SERVER);
    assert_int_equal(error.rsp.tag, SX_R_ERR);
    assert_int_equal(error.rsp.err.err, SX_ERR_AUTH);
    assert_int_equal(fine.rc, SIMPLEX_OK);
    assert_int_equal(t.downs, 0); /* one odd answer does not cost the connection */
}

static void answers_nobody_waits_for_are_events(void **state)
{
    struct result r = { 0 }, push = { 0 }, blocked = { 0 };

    (void)state;
    go_up();
    t.peer.answer = answer_oddly;
    send_cmd(SX_SUB, "corr", &r);
    RUN_UNTIL(t.events == 1);
    assert_int_equal(t.event, SX_R_SOK);
    assert_int_equal(t.event_corr, SX_ID_LEN);
    assert_string_equal(t.event_entity, "corr");
    assert_int_equal(r.done, 0);
    send_cmd(SX_SUB, "push", &push);
    RUN_UNTIL(push.done);
    assert_int_equal(t.events, 2);
    assert_int_equal(t.event, SX_R_END);
    assert_int_equal(t.event_corr, 0);
    assert_string_equal(t.event_entity, "moved");
    send_cmd(SX_SUB, "blocked", &blocked);
    RUN_UNTIL(blocked.done);
    assert_int_equal(t.event, SX_R_ERR);
    assert_int_equal(t.event_err.err, SX_ERR_BLOCKED);
    assert_string_equal(t.event_entity, "queue");
    assert_int_equal(t.downs, 0);
}

static int logged;

static void count_line(void *user, enum sx_log_level level, const char *text)
{
    (void)user;
    (void)level;
    logged += strstr(text, "unknown") != NULL;
}

static void a_server_cannot_fill_the_log(void **state)
{
    struct result r = { 0 };

    (void)state;
    logged = 0;
    go_up();
    t.peer.answer = answer_oddly;
    sx_log_set(count_line, NULL, SX_LOG_DEBUG);
    send_cmd(SX_SUB, "unknown", &r);
    RUN_UNTIL(r.done);
    sx_log_set(NULL, NULL, SX_LOG_ERROR);
    assert_int_equal(logged, 1);
    assert_int_equal(t.downs, 0);
}

static void a_malformed_block_ends_the_connection(void **state)
{
    struct result r = { 0 };

    (void)state;
    go_up();
    t.peer.answer = answer_oddly;
    send_cmd(SX_SUB, "block", &r);
    RUN_UNTIL(t.downs);
    assert_int_equal(r.rc, SIMPLEX_E_BLOCK);
    assert_int_equal(t.down_rc, SIMPLEX_E_BLOCK);
}

static void a_server_that_lost_a_block_ends_the_connection(void **state)
{
    struct result r = { 0 };

    (void)state;
    go_up();
    t.peer.answer = answer_oddly;
    send_cmd(SX_SUB, "lost", &r);
    RUN_UNTIL(t.downs);
    assert_int_equal(r.rc, SIMPLEX_E_BLOCK);
    assert_int_equal(t.down_rc, SIMPLEX_E_BLOCK);
    assert_int_equal(t.events, 0);
}

/* ---- time limits ---- */

static struct peer_conn *kept_conn;
static uint8_t kept_corr[SX_ID_LEN];

static bool keep_corr(struct peer *p, struct peer_conn *c, const struct sx_cmd *cmd,
                      struct sx_transmission *tr, struct sx_rsp *rsp)
{
    if (!sx_bytes_eq(tr->entity_id, sx_str("slow")))
        return peer_answer(p, c, cmd, tr, rsp);
    kept_conn = c;
    memcpy(kept_corr, tr->corr_id.ptr, SX_ID_LEN);
    return false;
}

/* The first in 60 ms, or longer where the machine stands still so long that it never leaves. */
static void time_out_beside_another(struct result *slow)
{
    struct sx_cmd cmd = { .tag = SX_SUB };

    kept_conn = NULL;
    for (int64_t limit = 60; kept_conn == NULL; limit *= 2) {
        struct result fast = { 0 };
        *slow = fast;
        int64_t begin = sx_mono_ms();
        assert_int_equal(try_send(&cmd, "slow", limit, slow), SIMPLEX_OK);
        send_cmd(SX_SUB, "fast", &fast);
        RUN_UNTIL(slow->done);
        assert_int_equal(slow->rc, SIMPLEX_E_TIMEOUT);
        assert_true(sx_mono_ms() - begin >= limit - 5);
        RUN_UNTIL(fast.done);
        assert_int_equal(fast.rc, SIMPLEX_OK);
    }
}

static void a_late_answer_is_an_event(void **state)
{
    struct result slow;
    struct sx_rsp sok = { .tag = SX_R_SOK };

    (void)state;
    go_up();
    t.peer.answer = keep_corr;
    time_out_beside_another(&slow);
    assert_int_equal(t.downs, 0);
    peer_push(kept_conn, sx_bytes(kept_corr, SX_ID_LEN), sx_str("slow"), &sok);
    RUN_UNTIL(t.events);
    assert_int_equal(t.event, SX_R_SOK);
    assert_int_equal(t.event_corr, SX_ID_LEN);
    assert_int_equal(slow.done, 1);
}

static void time_limits_run_out_in_order(void **state)
{
    struct sx_cmd cmd = { .tag = SX_SUB };
    struct result r[3];
    int64_t begin, took;

    (void)state;
    open_client();
    t.peer.answer = answer_oddly;
    do { /* once more where the machine stood still between the first and the last */
        struct result up = { 0 };
        memset(r, 0, sizeof r);
        send_cmd(SX_SUB, "first", &up);
        RUN_UNTIL(up.done);
        assert_int_equal(up.rc, SIMPLEX_OK);
        begin = sx_mono_ms();
        assert_int_equal(try_send(&cmd, "silence", 90, &r[0]), SIMPLEX_OK);
        assert_int_equal(try_send(&cmd, "silence", 30, &r[1]), SIMPLEX_OK);
        assert_int_equal(try_send(&cmd, "silence", 60, &r[2]), SIMPLEX_OK);
        took = sx_mono_ms() - begin;
        RUN_UNTIL(r[0].done && r[1].done && r[2].done);
    } while (took >= 30);
    assert_true(r[1].order < r[2].order && r[2].order < r[0].order);
}

static void a_silent_server_is_given_up(void **state)
{
    (void)state;
    t.peer.mode = PEER_SILENT;
    t.cfg.connect_timeout = 80;
    open_client();
    assert_fails(SIMPLEX_E_TIMEOUT);
}

static void a_server_without_hello_is_given_up(void **state)
{
    (void)state;
    t.peer.mode = PEER_NO_HELLO;
    t.cfg.connect_timeout = 120;
    open_client();
    assert_fails(SIMPLEX_E_TIMEOUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(connects_when_there_is_something_to_send),
        CASE(clients_are_found_again_by_their_server),
        CASE(dropped_clients_are_gone_without_a_word),
        CASE(clients_can_be_dropped_at_any_time),
        CASE(a_proxy_keeps_the_hello_and_is_not_encrypted),
        CASE(others_do_not_keep_the_hello),
        CASE(commands_of_one_turn_are_batched_in_order),
        CASE(commands_that_wait_for_the_session_keep_their_order),
        CASE(what_is_queued_in_up_follows_what_waited),
        CASE(long_messages_go_alone),
        CASE(wrong_requests_are_refused_at_once),
        CASE(a_request_that_cannot_be_encoded_fails_when_the_session_is_up),
        CASE(answers_must_fit_their_request),
        CASE(answers_nobody_waits_for_are_events),
        CASE(a_server_cannot_fill_the_log),
        CASE(a_malformed_block_ends_the_connection),
        CASE(a_server_that_lost_a_block_ends_the_connection),
        CASE(a_late_answer_is_an_event),
        CASE(time_limits_run_out_in_order),
        CASE(a_silent_server_is_given_up),
        CASE(a_server_without_hello_is_given_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
