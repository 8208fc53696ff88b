/* SPDX-License-Identifier: Apache-2.0 */
/* The client on the loop against a peer that behaves and misbehaves as it is told. */
#include <stdio.h>
#include <stdlib.h>

#include "client/smp_client.h"
#include "support/smp_peer.h"
#include "support/vec.h"

#define GUARD_MS 20000
#define TICK_MS 5

struct result {
    int done;
    simplex_rc rc;
    bool has_rsp;
    struct sx_rsp rsp;
    int order; /* of all callbacks of the test */
};

static struct test {
    uv_loop_t loop;
    uv_timer_t guard;
    int64_t deadline;
    bool late, closed, inside;
    struct peer peer;
    struct sx_net *net;
    struct sx_net_cfg cfg;
    struct sx_client *client;
    int ups, downs, events, callbacks;
    simplex_rc down_rc;
    int down_order, up_order;
    enum sx_rsp_tag event;
    struct sx_smp_err event_err;
    size_t event_corr;
    char event_entity[64];
    void (*on_up)(void);
    void (*on_down)(void);
    void (*on_event)(void);
    void (*on_done)(struct result *r);
    size_t live;
} t;

/* ---- callbacks ---- */

static void up(void *user, struct sx_client *c)
{
    assert_ptr_equal(user, &t);
    assert_false(t.inside);
    assert_true(sx_client_is_up(c));
    t.ups++;
    t.up_order = ++t.callbacks;
    if (t.on_up != NULL)
        t.on_up();
}

static void down(void *user, struct sx_client *c, simplex_rc rc)
{
    assert_ptr_equal(user, &t);
    assert_false(t.inside);
    assert_false(sx_client_is_up(c));
    t.downs++;
    t.down_rc = rc;
    t.down_order = ++t.callbacks;
    if (t.on_down != NULL)
        t.on_down();
}

static void event(void *user, struct sx_client *c, const struct sx_transmission *tr,
                  const struct sx_rsp *rsp)
{
    assert_ptr_equal(user, &t);
    assert_ptr_equal(c, t.client);
    assert_false(t.inside);
    t.events++;
    t.event = rsp->tag;
    if (rsp->tag == SX_R_ERR)
        t.event_err = rsp->err;
    t.event_corr = tr->corr_id.len;
    snprintf(t.event_entity, sizeof(t.event_entity), "%.*s", (int)tr->entity_id.len,
             (const char *)tr->entity_id.ptr);
    t.callbacks++;
    if (t.on_event != NULL)
        t.on_event();
}

static void done(void *user, void *ctx, simplex_rc rc, const struct sx_rsp *rsp)
{
    struct result *r = ctx;

    assert_ptr_equal(user, &t);
    assert_false(t.inside);
    assert_true((rsp != NULL) == (rc == SIMPLEX_OK || rc == SIMPLEX_E_SERVER));
    r->done++;
    r->rc = rc;
    r->has_rsp = rsp != NULL;
    if (rsp != NULL)
        r->rsp = *rsp;
    r->order = ++t.callbacks;
    if (t.on_done != NULL)
        t.on_done(r);
}

static void closed(void *user)
{
    assert_ptr_equal(user, &t);
    t.closed = true;
}

/* ---- the loop ---- */

/* Ticks, because uv_run may go on to sleep after the callback that was waited for. */
static void on_guard(uv_timer_t *timer)
{
    (void)timer;
    t.late = sx_mono_ms() >= t.deadline;
}

static void guard(int64_t ms)
{
    t.late = false;
    t.deadline = sx_mono_ms() + ms;
    uv_update_time(&t.loop);
    uv_timer_start(&t.guard, on_guard, ms < TICK_MS ? (uint64_t)ms : TICK_MS, TICK_MS);
}

#define RUN_UNTIL(condition)                                \
    do {                                                    \
        guard(GUARD_MS);                                    \
        while (!(condition)) {                              \
            uv_run(&t.loop, UV_RUN_ONCE);                   \
            if (t.late)                                     \
                fail_msg("never happened: %s", #condition); \
        }                                                   \
        uv_timer_stop(&t.guard);                            \
    } while (0)

static void run_for(int64_t ms)
{
    guard(ms);
    while (!t.late)
        uv_run(&t.loop, UV_RUN_ONCE);
    uv_timer_stop(&t.guard);
}

static struct proxy proxy;

static int set_up(void **state)
{
    (void)state;
    assert_int_equal(sx_crypto_init(), SIMPLEX_OK);
    sx_thread_ignore_sigpipe();
    t = (struct test){ .live = sx_fault_live_blocks() };
    proxy.loop = NULL;
    assert_int_equal(uv_loop_init(&t.loop), 0);
    uv_timer_init(&t.loop, &t.guard);
    peer_start(&t.peer, &t.loop, 0);
    t.cfg.connect_timeout = 5000;
    t.cfg.command_timeout = 5000;
    t.cfg.reconnect_first = 30;
    t.cfg.reconnect_grow = 200;
    t.cfg.reconnect_max = 120;
    t.cfg.failed_cache = 1;
    return 0;
}

static const struct sx_net_callbacks callbacks = { .up = up, .down = down, .event = event };

static struct sx_client *client_of(const char *hosts)
{
    struct sx_server server;

    peer_server(&t.peer, hosts, &server);
    assert_int_equal(sx_net_client(t.net, &server, &t.client), SIMPLEX_OK);
    return t.client;
}

static void open_net(void)
{
    assert_int_equal(sx_net_open(&t.loop, &t.cfg, &callbacks, &t, "user", &t.net), SIMPLEX_OK);
}

static void open_client(void)
{
    open_net();
    client_of("127.0.0.1");
}

static void close_net(void)
{
    if (t.net == NULL)
        return;
    sx_net_close(t.net, closed, &t);
    assert_false(t.closed); /* later, from the loop */
    t.net = NULL;
}

static int tear_down(void **state)
{
    (void)state;
    t.closed = false;
    close_net();
    peer_stop(&t.peer);
    if (proxy.loop != NULL)
        proxy_stop(&proxy);
    uv_close((uv_handle_t *)&t.guard, NULL);
    uv_run(&t.loop, UV_RUN_DEFAULT); /* returns: nothing is left behind on the loop */
    peer_free(&t.peer);
    assert_int_equal(uv_loop_close(&t.loop), 0);
    assert_int_equal(sx_fault_live_blocks(), t.live);
    return 0;
}

/* ---- requests ---- */

static simplex_rc try_send(const struct sx_cmd *cmd, const char *entity, int64_t timeout,
                           struct result *r)
{
    struct sx_request req = {
        .cmd = cmd, .entity = sx_str(entity), .done = done, .ctx = r, .timeout = timeout
    };

    t.inside = true;
    simplex_rc rc = sx_client_send(t.client, &req);
    t.inside = false;
    return rc;
}

static void send_cmd(enum sx_cmd_tag tag, const char *entity, struct result *r)
{
    struct sx_cmd cmd = { .tag = tag };

    assert_int_equal(try_send(&cmd, entity, 0, r), SIMPLEX_OK);
}

static void go_up(void)
{
    struct result r = { 0 };

    open_client();
    send_cmd(SX_SUB, "first", &r);
    RUN_UNTIL(r.done);
    assert_int_equal(r.rc, SIMPLEX_OK);
    t.peer.log[0] = t.peer.entities[0] = 0;
}

/* The attempt fails with rc, and so does the command that caused it. */
static void assert_fails(simplex_rc rc)
{
    struct result r = { 0 };

    send_cmd(SX_SUB, "a", &r);
    RUN_UNTIL(t.downs > 0);
    assert_int_equal(r.done, 1);
    assert_string_equal(simplex_rc_name(r.rc), simplex_rc_name(rc));
    assert_int_equal(t.down_rc, rc);
    assert_true(r.order < t.down_order); /* requests first */
    assert_int_equal(t.ups, 0);
}

/* ---- commands and answers ---- */

static bool never(struct peer *p, struct peer_conn *c, const struct sx_cmd *cmd,
                  struct sx_transmission *tr, struct sx_rsp *rsp)
{
    (void)p;
    (void)c;
    (void)cmd;
    (void)tr;
    (void)rsp;
    return false;
}

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
    t.peer.answer = never; /* the next command waits */
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
    run_for(1);
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
    while (cmd.send.body.len = ++n, sx_client_send(t.client, &req) == SIMPLEX_OK)
        RUN_UNTIL(r[1].rc == SIMPLEX_OK && t.callbacks > 0);
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

static bool answer_oddly(struct peer *p, struct peer_conn *c, const struct sx_cmd *cmd,
                         struct sx_transmission *tr, struct sx_rsp *rsp)
{
    peer_answer(p, c, cmd, tr, rsp);
    if (sx_bytes_eq(tr->entity_id, sx_str("entity")))
        tr->entity_id = sx_str("other");
    else if (sx_bytes_eq(tr->entity_id, sx_str("tag")))
        rsp->tag = SX_R_END;
    else if (sx_bytes_eq(tr->entity_id, sx_str("error")))
        *rsp = (struct sx_rsp){ .tag = SX_R_ERR, .err.err = SX_ERR_AUTH };
    else if (sx_bytes_eq(tr->entity_id, sx_str("corr")))
        tr->corr_id = sx_str("123456789012345678901234");
    else if (sx_bytes_eq(tr->entity_id, sx_str("block")))
        peer_push_content(c, sx_str("\1\0\5noise"));
    else if (sx_bytes_eq(tr->entity_id, sx_str("unknown")))
        for (int i = 0; i < 20; i++) /* a transmission without ids, of a command to come */
            peer_push_content(c, sx_bytes((const uint8_t *)"\1\0\7\0\0\0LATER", 10));
    else if (sx_bytes_eq(tr->entity_id, sx_str("lost"))) {
        *rsp = (struct sx_rsp){ .tag = SX_R_ERR, .err.err = SX_ERR_BLOCK };
        tr->corr_id = tr->entity_id = sx_str("");
    } else if (sx_bytes_eq(tr->entity_id, sx_str("push"))) {
        struct sx_rsp end = { .tag = SX_R_END };
        peer_push(c, sx_str(""), sx_str("moved"), &end);
    } else if (sx_bytes_eq(tr->entity_id, sx_str("blocked"))) {
        struct sx_rsp e = { .tag = SX_R_ERR,
                            .err = { .err = SX_ERR_BLOCKED, .blocked = SX_BLOCKED_SPAM } };
        peer_push(c, sx_str(""), sx_str("queue"), &e);
    } else if (sx_bytes_eq(tr->entity_id, sx_str("silence")))
        return false;
    return true;
}

static bool silence(struct peer *p, struct peer_conn *c, const struct sx_cmd *cmd,
                    struct sx_transmission *tr, struct sx_rsp *rsp)
{
    (void)p, (void)c, (void)cmd, (void)tr, (void)rsp;
    return false;
}

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

static void a_late_answer_is_an_event(void **state)
{
    struct sx_cmd cmd = { .tag = SX_SUB };
    struct result slow = { 0 }, fast = { 0 };
    struct sx_rsp sok = { .tag = SX_R_SOK };

    (void)state;
    go_up();
    t.peer.answer = keep_corr;
    assert_int_equal(try_send(&cmd, "slow", 60, &slow), SIMPLEX_OK);
    send_cmd(SX_SUB, "fast", &fast);
    int64_t begin = sx_mono_ms();
    RUN_UNTIL(slow.done);
    assert_int_equal(slow.rc, SIMPLEX_E_TIMEOUT);
    assert_in_range(sx_mono_ms() - begin, 55, 1000);
    assert_int_equal(fast.done, 1);
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
    struct result r[3] = { 0 };

    (void)state;
    go_up();
    t.peer.answer = answer_oddly;
    assert_int_equal(try_send(&cmd, "silence", 90, &r[0]), SIMPLEX_OK);
    assert_int_equal(try_send(&cmd, "silence", 30, &r[1]), SIMPLEX_OK);
    assert_int_equal(try_send(&cmd, "silence", 60, &r[2]), SIMPLEX_OK);
    RUN_UNTIL(r[0].done);
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

/* ---- failing attempts ---- */

static void failures_of_the_attempt_have_their_codes(void **state)
{
    static const struct {
        enum peer_mode mode;
        simplex_rc rc;
    } rows[] = {
        { PEER_CLOSES, SIMPLEX_E_DISCONNECTED },       { PEER_NO_TLS, SIMPLEX_E_TLS },
        { PEER_CLOSES_HELLO, SIMPLEX_E_DISCONNECTED }, { PEER_BAD_HELLO, SIMPLEX_E_HANDSHAKE },
        { PEER_OTHER_SESSION, SIMPLEX_E_SESSION },     { PEER_FUTURE, SIMPLEX_E_VERSION },
    };

    (void)state;
    open_client();
    for (size_t i = 0; i < SX_COUNT(rows); i++) {
        t.peer.mode = rows[i].mode;
        t.downs = 0;
        run_for(3); /* past the memory of the last failure */
        assert_fails(rows[i].rc);
    }
}

static void another_identity_is_refused(void **state)
{
    struct sx_server server;

    (void)state;
    open_net();
    peer_server(&t.peer, "127.0.0.1", &server);
    server.key_hash[31] ^= 1;
    assert_int_equal(sx_net_client(t.net, &server, &t.client), SIMPLEX_OK);
    assert_fails(SIMPLEX_E_FINGERPRINT);
}

static void nobody_listening_is_a_failed_connection(void **state)
{
    (void)state;
    peer_listen(&t.peer, false);
    open_client();
    assert_fails(SIMPLEX_E_CONNECT);
}

static void a_name_that_does_not_resolve_is_a_host_error(void **state)
{
    (void)state;
    open_net();
    client_of("no-such-host.invalid");
    assert_fails(SIMPLEX_E_HOST);
}

static void onion_hosts_need_a_proxy(void **state)
{
    (void)state;
    open_net();
    client_of("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.onion");
    assert_fails(SIMPLEX_E_HOST);
}

static void all_hosts_are_tried(void **state)
{
    struct result r = { 0 };

    (void)state;
    open_net();
    client_of("no-such-host.invalid,127.0.0.2,127.0.0.3,localhost");
    send_cmd(SX_SUB, "a", &r);
    RUN_UNTIL(r.done);
    assert_int_equal(r.rc, SIMPLEX_OK);
    assert_int_equal(t.downs, 0);
}

static void a_silent_host_leaves_time_for_the_next(void **state)
{
    struct result r = { 0 };

    (void)state;
    t.cfg.connect_timeout = 2000;
    /* 127.0.0.2 accepts nothing but lets connections in: a listener that is never served */
    static uv_tcp_t silent;
    struct sockaddr_in at;
    uv_tcp_init(&t.loop, &silent);
    uv_ip4_addr("127.0.0.2", t.peer.port, &at);
    assert_int_equal(uv_tcp_bind(&silent, (const struct sockaddr *)&at, 0), 0);
    uv_os_fd_t fd;
    assert_int_equal(uv_fileno((uv_handle_t *)&silent, &fd), 0);
    assert_int_equal(listen(fd, 4), 0);
    open_net();
    client_of("127.0.0.2,127.0.0.1");
    int64_t begin = sx_mono_ms();
    send_cmd(SX_SUB, "a", &r);
    RUN_UNTIL(r.done);
    assert_int_equal(r.rc, SIMPLEX_OK);
    assert_in_range(sx_mono_ms() - begin, 950, 1990);
    uv_close((uv_handle_t *)&silent, NULL);
}

static void remembered_for_150_ms(void)
{
    struct result r[2] = { 0 };

    t.peer.mode = PEER_CLOSES;
    open_client();
    assert_fails(SIMPLEX_E_DISCONNECTED);
    unsigned accepted = t.peer.accepted;
    t.peer.mode = PEER_NORMAL;
    send_cmd(SX_SUB, "a", &r[0]);
    RUN_UNTIL(r[0].done);
    assert_int_equal(r[0].rc, SIMPLEX_E_DISCONNECTED);
    assert_int_equal(t.peer.accepted, accepted);
    run_for(160);
    send_cmd(SX_SUB, "a", &r[1]);
    RUN_UNTIL(r[1].done);
    assert_int_equal(r[1].rc, SIMPLEX_OK);
    assert_int_equal(t.downs, 1);
}

static void a_failure_is_remembered_for_a_moment(void **state)
{
    (void)state;
    t.cfg.failed_cache = 150;
    remembered_for_150_ms();
}

static void who_reconnects_soon_forgets_a_failure_soon(void **state)
{
    (void)state;
    t.cfg.failed_cache = 0;
    t.cfg.reconnect_first = 100;
    remembered_for_150_ms();
}

/* ---- wanted clients ---- */

static void wanted_clients_connect_and_come_back(void **state)
{
    (void)state;
    open_client();
    sx_client_want(t.client, true);
    RUN_UNTIL(t.ups == 1);
    peer_drop(&t.peer);
    RUN_UNTIL(t.downs == 1);
    assert_int_equal(t.down_rc, SIMPLEX_E_DISCONNECTED);
    RUN_UNTIL(t.ups == 2);
    peer_listen(&t.peer, false);
    peer_drop(&t.peer);
    RUN_UNTIL(t.downs == 4); /* two more attempts failed */
    assert_int_equal(t.down_rc, SIMPLEX_E_CONNECT);
    peer_listen(&t.peer, true);
    RUN_UNTIL(t.ups == 3);
}

static void unwanted_clients_stay_away(void **state)
{
    struct result r = { 0 };

    (void)state;
    go_up();
    peer_drop(&t.peer);
    RUN_UNTIL(t.downs == 1);
    run_for(100);
    assert_int_equal(t.peer.accepted, 1);
    send_cmd(SX_SUB, "a", &r); /* but a command brings them back at once */
    RUN_UNTIL(r.done);
    assert_int_equal(r.rc, SIMPLEX_OK);
    sx_client_want(t.client, true);
    sx_client_want(t.client, false);
    peer_drop(&t.peer);
    RUN_UNTIL(t.downs == 2);
    run_for(100);
    assert_int_equal(t.ups, 2);
}

static void reconnecting_at_once_forgets_the_back_off(void **state)
{
    (void)state;
    t.cfg.reconnect_first = 60000;
    t.cfg.failed_cache = 60000;
    t.peer.mode = PEER_CLOSES;
    open_client();
    sx_client_want(t.client, true);
    RUN_UNTIL(t.downs == 1);
    run_for(50);
    assert_int_equal(t.peer.accepted, 1);
    t.peer.mode = PEER_NORMAL;
    sx_net_reconnect(t.net);
    RUN_UNTIL(t.ups == 1);
}

static void reconnecting_abandons_an_attempt_that_hangs(void **state)
{
    struct result r = { 0 };

    (void)state;
    t.peer.mode = PEER_SILENT;
    t.cfg.reconnect_first = 400;
    open_client();
    send_cmd(SX_SUB, "a", &r);
    RUN_UNTIL(t.peer.accepted == 1);
    sx_net_reconnect(t.net); /* too young to be abandoned */
    run_for(450);
    assert_int_equal(t.peer.accepted, 1);
    t.peer.mode = PEER_NORMAL;
    sx_net_reconnect(t.net);
    RUN_UNTIL(r.done);
    assert_int_equal(r.rc, SIMPLEX_OK);
    assert_int_equal(t.downs, 0);
}

static void reconnecting_probes_connections_that_are_up(void **state)
{
    (void)state;
    t.cfg.command_timeout = 50;
    open_client();
    sx_client_want(t.client, true);
    RUN_UNTIL(t.ups == 1);
    sx_net_reconnect(t.net);
    RUN_UNTIL(t.peer.commands == 1);
    run_for(100);
    assert_int_equal(t.downs, 0); /* it answered */
    t.peer.answer = silence;
    sx_net_reconnect(t.net);
    RUN_UNTIL(t.downs == 1);
    assert_int_equal(t.down_rc, SIMPLEX_E_TIMEOUT);
    t.peer.answer = NULL;
    RUN_UNTIL(t.ups == 2);
}

static void pings_when_nothing_comes_and_gives_up_in_the_end(void **state)
{
    (void)state;
    t.cfg.ping_interval = 30;
    t.cfg.command_timeout = 20;
    t.cfg.ping_give_up = 150;
    open_client();
    sx_client_want(t.client, true);
    RUN_UNTIL(t.ups == 1);
    RUN_UNTIL(t.peer.commands == 3); /* pings, answered */
    assert_int_equal(t.downs, 0);
    t.peer.answer = silence;
    unsigned before = t.peer.commands;
    int64_t begin = sx_mono_ms();
    RUN_UNTIL(t.downs == 1);
    assert_int_equal(t.down_rc, SIMPLEX_E_TIMEOUT);
    assert_in_range(sx_mono_ms() - begin, 100, 5000);
    assert_true(t.peer.commands - before >= 3);
    t.peer.answer = NULL;
    RUN_UNTIL(t.ups == 2);
}

static void leaves_a_session_that_answers_no_command(void **state)
{
    struct result r[3] = { 0 };

    (void)state;
    t.cfg.command_timeout = 30;
    go_up();
    t.peer.answer = silence;
    for (size_t i = 0; i < SX_COUNT(r); i++) {
        assert_int_equal(t.downs, 0);
        send_cmd(SX_SEND, "x", &r[i]);
        RUN_UNTIL(r[i].done);
        assert_int_equal(r[i].rc, SIMPLEX_E_TIMEOUT);
    }
    RUN_UNTIL(t.downs == 1);
    assert_int_equal(t.down_rc, SIMPLEX_E_TIMEOUT);
}

static void unwanted_clients_do_not_ping(void **state)
{
    (void)state;
    t.cfg.ping_interval = 10;
    go_up();
    run_for(60);
    assert_int_equal(t.peer.commands, 1);
}

/* ---- disconnecting and closing ---- */

static void disconnecting_fails_the_requests_then_reports_down(void **state)
{
    struct result r[2] = { 0 }, after = { 0 };

    (void)state;
    go_up();
    t.peer.answer = silence;
    send_cmd(SX_SUB, "a", &r[0]);
    RUN_UNTIL(t.peer.commands == 2);
    send_cmd(SX_SUB, "b", &r[1]); /* not sent yet */
    t.inside = true;
    sx_client_disconnect(t.client, SIMPLEX_E_TIMEOUT);
    sx_client_disconnect(t.client, SIMPLEX_E_CLOSED); /* does nothing more */
    t.inside = false;
    assert_false(sx_client_is_up(t.client));
    t.peer.answer = NULL;
    send_cmd(SX_SUB, "c", &after); /* belongs to the next connection */
    RUN_UNTIL(after.done);
    assert_int_equal(r[0].rc, SIMPLEX_E_TIMEOUT);
    assert_int_equal(r[1].rc, SIMPLEX_E_TIMEOUT);
    assert_int_equal(after.rc, SIMPLEX_OK);
    assert_int_equal(t.downs, 1);
    assert_int_equal(t.down_rc, SIMPLEX_E_TIMEOUT);
    assert_true(r[0].order < r[1].order && r[1].order < t.down_order);
    assert_true(t.down_order < after.order);
    assert_int_equal(t.ups, 2);
}

static void closing_drops_requests_silently_at_every_step(void **state)
{
    (void)state;
    for (int steps = 0; steps < 80; steps++) {
        struct result r[3] = { 0 };
        open_client();
        sx_client_want(t.client, true);
        send_cmd(SX_SUB, "a", &r[0]);
        send_cmd(SX_SUB, "b", &r[1]);
        for (int i = 0; i < steps; i++)
            uv_run(&t.loop, UV_RUN_NOWAIT);
        send_cmd(SX_SUB, "c", &r[2]);
        int before = t.callbacks;
        close_net();
        RUN_UNTIL(t.closed);
        assert_int_equal(t.callbacks, before);
        assert_int_equal(r[2].done, 0);
        t.closed = false;
        peer_drop(&t.peer);
        RUN_UNTIL(t.peer.open == 0);
    }
}

static void closing_while_resolving_waits_for_the_resolver(void **state)
{
    struct result r = { 0 };

    (void)state;
    open_net();
    client_of("localhost");
    send_cmd(SX_SUB, "a", &r);
    for (int i = 0; i < 2; i++)
        uv_run(&t.loop, UV_RUN_NOWAIT);
    close_net();
    RUN_UNTIL(t.closed);
    assert_int_equal(t.callbacks, 0);
}

static void done_closes(struct result *r)
{
    (void)r;
    close_net();
}

static void done_disconnects(struct result *r)
{
    (void)r;
    sx_client_disconnect(t.client, SIMPLEX_E_CLOSED);
}

static void disconnect_now(void)
{
    sx_client_disconnect(t.client, SIMPLEX_E_CLOSED);
}

static void callbacks_may_close_everything(void **state)
{
    (void)state;
    for (int which = 0; which < 5; which++) {
        struct result r[3] = { 0 };
        t.on_up = which == 0 ? close_net : NULL;
        t.on_done = which == 1 || which == 3 ? done_closes : NULL;
        t.on_event = which == 2 ? close_net : NULL;
        t.on_down = which == 4 ? close_net : NULL;
        t.peer.answer = which == 3 ? silence : answer_oddly;
        open_client();
        struct sx_cmd cmd = { .tag = SX_SUB };
        /* 3: inside the timer; 4: requests are waiting when the attempt fails */
        assert_int_equal(try_send(&cmd, "push", which == 3 ? 60 : 0, &r[0]), SIMPLEX_OK);
        assert_int_equal(try_send(&cmd, "b", which == 3 ? 60 : 0, &r[1]), SIMPLEX_OK);
        assert_int_equal(try_send(&cmd, "c", which == 3 ? 60 : 0, &r[2]), SIMPLEX_OK);
        t.peer.mode = which == 4 ? PEER_CLOSES : PEER_NORMAL;
        RUN_UNTIL(t.closed);
        if (which == 1 || which == 3)
            assert_int_equal(r[0].done + r[1].done + r[2].done, 1);
        t.closed = false;
        peer_drop(&t.peer);
        RUN_UNTIL(t.peer.open == 0);
    }
}

static void callbacks_may_disconnect(void **state)
{
    (void)state;
    t.peer.answer = answer_oddly;
    for (int which = 0; which < 3; which++) {
        struct result r[3] = { 0 };
        t.on_up = which == 0 ? disconnect_now : NULL;
        t.on_done = which == 1 ? done_disconnects : NULL;
        t.on_event = which == 2 ? disconnect_now : NULL;
        t.downs = 0;
        open_client();
        send_cmd(SX_SUB, "push", &r[0]);
        send_cmd(SX_SUB, "b", &r[1]);
        send_cmd(SX_SUB, "c", &r[2]);
        RUN_UNTIL(t.downs == 1);
        assert_int_equal(t.down_rc, SIMPLEX_E_CLOSED);
        assert_int_equal(r[0].done + r[1].done + r[2].done, 3);
        assert_int_equal(r[2].rc, SIMPLEX_E_CLOSED);
        close_net();
        RUN_UNTIL(t.closed);
        t.closed = false;
    }
}

static void send_again(struct result *r)
{
    if (r->rc != SIMPLEX_OK && r->done < 50)
        send_cmd(SX_SUB, "again", r);
}

static void sending_again_when_it_failed_does_not_stall_the_loop(void **state)
{
    struct result r = { 0 };

    (void)state;
    t.cfg.failed_cache = 60000;
    t.peer.mode = PEER_CLOSES;
    open_client();
    t.on_done = send_again;
    send_cmd(SX_SUB, "again", &r);
    RUN_UNTIL(r.done == 50);
    assert_int_equal(t.peer.accepted, 1);
}

/* ---- load ---- */

static void writes_are_held_back_when_the_server_does_not_read(void **state)
{
    enum { N = 300 };
    static struct result r[N];
    static uint8_t body[16000];
    struct sx_cmd cmd = { .tag = SX_SEND, .send.body = { body, sizeof(body) } };

    (void)state;
    memset(r, 0, sizeof(r));
    go_up();
    peer_pause(&t.peer);
    for (int i = 0; i < N; i++) {
        char entity[16];
        snprintf(entity, sizeof(entity), "q%d", i);
        assert_int_equal(try_send(&cmd, entity, 0, &r[i]), SIMPLEX_OK);
    }
    run_for(100);
    assert_int_equal(r[0].done, 0);
    peer_resume(&t.peer);
    RUN_UNTIL(r[N - 1].done);
    for (int i = 0; i < N; i++) {
        assert_int_equal(r[i].rc, SIMPLEX_OK);
        assert_true(i == 0 || r[i].order > r[i - 1].order);
    }
}

static void commands_that_never_left_are_dropped_when_time_is_over(void **state)
{
    enum { N = 600 };
    static struct result r[N];
    static uint8_t body[16000];
    struct sx_cmd cmd = { .tag = SX_SEND, .send.body = { body, sizeof(body) } };
    int timed_out = 0;

    (void)state;
    memset(r, 0, sizeof(r));
    go_up();
    peer_pause(&t.peer);
    for (int i = 0; i < N; i++) {
        char entity[16];
        snprintf(entity, sizeof(entity), "q%d", i);
        assert_int_equal(try_send(&cmd, entity, 100, &r[i]), SIMPLEX_OK);
    }
    RUN_UNTIL(r[N - 1].done);
    for (int i = 0; i < N; i++)
        timed_out += r[i].rc == SIMPLEX_E_TIMEOUT;
    assert_int_equal(timed_out, N);
    unsigned before = t.peer.commands;
    peer_resume(&t.peer);
    run_for(300);
    assert_true(t.peer.commands - before < N); /* those in the socket's queue arrived */
    struct result after = { 0 };
    send_cmd(SX_SUB, "after", &after);
    RUN_UNTIL(after.done);
    assert_int_equal(after.rc, SIMPLEX_OK);
}

static void an_idle_connection_is_small(void **state)
{
    (void)state;
    open_client();
    run_for(1);
    size_t before = sx_fault_live_blocks();
    struct result r = { 0 };
    send_cmd(SX_SUB, "a", &r);
    RUN_UNTIL(r.done);
    run_for(5);
    /* connection and TLS of the client, TLS of the peer: no buffers, no tables */
    assert_in_range(sx_fault_live_blocks() - before, 1, 4);
}

static void a_network_survives_each_failed_malloc(void **state)
{
    bool fired = true;
    int failures = 0;

    (void)state;
    for (unsigned nth = 0; fired; nth++) {
        struct result r = { 0 };
        struct sx_server server;
        struct sx_cmd cmd = { .tag = SX_SUB };
        simplex_rc rc;
        peer_server(&t.peer, "127.0.0.1", &server);
        sx_fault_malloc(nth);
        rc = sx_net_open(&t.loop, &t.cfg, &callbacks, &t, "user", &t.net);
        if (rc == SIMPLEX_OK)
            rc = sx_net_client(t.net, &server, &t.client);
        if (rc == SIMPLEX_OK)
            rc = try_send(&cmd, "a", 300, &r);
        if (rc == SIMPLEX_OK) {
            RUN_UNTIL(r.done == 1);
            rc = r.rc;
        }
        fired = sx_fault_disarm();
        failures += rc != SIMPLEX_OK;
        if (!fired)
            assert_int_equal(rc, SIMPLEX_OK);
        bool opened = t.net != NULL;
        close_net();
        peer_drop(&t.peer);
        RUN_UNTIL(t.peer.open == 0 && t.closed == opened);
        t.closed = false;
    }
    assert_true(failures > 8);
}

/* ---- SOCKS5 ---- */

static void use_proxy(void)
{
    proxy_start(&proxy, &t.loop);
    proxy.to = t.peer.port;
    t.cfg.has_socks = true;
    strcpy(t.cfg.socks_host, "127.0.0.1");
    t.cfg.socks_port = proxy.port;
}

static void assert_works(const char *hosts)
{
    struct result r = { 0 };

    client_of(hosts);
    send_cmd(SX_SUB, "a", &r);
    RUN_UNTIL(r.done);
    assert_int_equal(r.rc, SIMPLEX_OK);
}

static void the_proxy_resolves_names_and_gets_isolation_credentials(void **state)
{
    (void)state;
    use_proxy();
    open_net();
    assert_works("smp.example");
    assert_int_equal(proxy.accepted, 1);
    assert_string_equal(proxy.host, "smp.example");
    assert_int_equal(proxy.host_port, t.peer.port);
    /* printf user | openssl dgst -sha256 -binary | base64 */
    assert_string_equal(proxy.user, "BPiZbadjt6lpsQKO4wB1aerzpjVIbdqyEdUSyFud+Ps=");
    assert_string_equal(proxy.got_password, "");
}

static void servers_can_be_isolated_from_each_other(void **state)
{
    char first[256];

    (void)state;
    use_proxy();
    t.cfg.isolation = SX_ISOLATE_SERVER;
    open_net();
    assert_works("a.example");
    strcpy(first, proxy.user);
    assert_works("b.example");
    assert_string_not_equal(proxy.user, first);
}

static void isolation_separates_sessions_and_entities(void **state)
{
    static const enum sx_isolation_mode modes[] = { SX_ISOLATE_USER, SX_ISOLATE_SESSION,
                                                    SX_ISOLATE_SERVER, SX_ISOLATE_ENTITY };

    (void)state;
    use_proxy();
    for (size_t i = 0; i < SX_COUNT(modes); i++) {
        char first[256];
        t.cfg.isolation = modes[i];
        open_net();
        assert_works("a.example");
        strcpy(first, proxy.user);
        assert_works("b.example");
        assert_int_equal(strcmp(first, proxy.user) != 0,
                         modes[i] >= SX_ISOLATE_SERVER && modes[i] != SX_ISOLATE_SESSION);
        struct sx_server server;
        struct result r = { 0 };
        peer_server(&t.peer, "a.example", &server);
        assert_int_equal(sx_net_client_of(t.net, &server, 0, 7, &t.client), SIMPLEX_OK);
        send_cmd(SX_SUB, "a", &r);
        RUN_UNTIL(r.done);
        assert_int_equal(r.rc, SIMPLEX_OK);
        assert_int_equal(strcmp(first, proxy.user) != 0, modes[i] == SX_ISOLATE_ENTITY);
        sx_net_reconnect(t.net); /* circuits of before are not used for what is new */
        assert_works("a2.example");
        char second[256];
        strcpy(second, proxy.user);
        sx_net_reconnect(t.net);
        sx_client_disconnect(t.client, SIMPLEX_E_DISCONNECTED);
        struct result again = { 0 };
        send_cmd(SX_SUB, "a", &again);
        RUN_UNTIL(again.done);
        assert_int_equal(again.rc, SIMPLEX_OK);
        assert_int_equal(strcmp(second, proxy.user) != 0, modes[i] != SX_ISOLATE_USER);
        close_net();
        RUN_UNTIL(t.closed);
        t.closed = false;
    }
    open_net(); /* for the teardown */
}

static void own_credentials_replace_isolation(void **state)
{
    (void)state;
    use_proxy();
    proxy.password = "secret";
    t.cfg.socks_has_auth = true;
    strcpy(t.cfg.socks_user, "me");
    strcpy(t.cfg.socks_password, "secret");
    t.cfg.failed_cache = 1;
    open_net();
    assert_works("1.2.3.4");
    assert_string_equal(proxy.user, "me");
    assert_string_equal(proxy.host, "1.2.3.4");
    assert_works("[2001:db8::1]");
    assert_string_equal(proxy.host, "2001:db8::1");
    proxy.password = "other";
    t.downs = t.ups = 0;
    client_of("c.example");
    assert_fails(SIMPLEX_E_PROXY);
}

static void a_proxy_without_users_is_enough(void **state)
{
    (void)state;
    use_proxy();
    proxy.no_auth = true;
    open_net();
    assert_works("a.example"); /* isolation credentials are offered, not insisted on */
    assert_string_equal(proxy.user, "");
    close_net();
    RUN_UNTIL(t.closed);
    t.closed = false;
    t.cfg.socks_no_auth = true;
    open_net();
    assert_works("a.example");
    close_net();
    RUN_UNTIL(t.closed);
    t.cfg.socks_no_auth = false;
    t.cfg.socks_has_auth = true; /* but one's own are */
    strcpy(t.cfg.socks_user, "me");
    open_net();
    client_of("a.example");
    t.ups = t.downs = 0;
    assert_fails(SIMPLEX_E_PROXY);
}

static void onion_hosts_go_through_the_proxy_others_need_not(void **state)
{
    const char *onion = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.onion";

    (void)state;
    use_proxy();
    t.cfg.socks_mode = SX_SOCKS_ONION;
    open_net();
    assert_works("127.0.0.1");
    assert_int_equal(proxy.accepted, 0);
    assert_works(onion);
    assert_int_equal(proxy.accepted, 1);
    assert_string_equal(proxy.host, onion);
}

static void refusals_of_the_proxy_have_their_codes(void **state)
{
    (void)state;
    use_proxy();
    open_net();
    client_of("a.example");
    proxy.reply = 5; /* refused by the host */
    assert_fails(SIMPLEX_E_CONNECT);
    proxy.reply = 1; /* general failure */
    t.downs = 0;
    run_for(3);
    assert_fails(SIMPLEX_E_PROXY);
    proxy_stop(&proxy);
    proxy.loop = NULL;
    run_for(3);
    t.downs = 0;
    assert_fails(SIMPLEX_E_PROXY); /* not there */
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

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
        CASE(failures_of_the_attempt_have_their_codes),
        CASE(another_identity_is_refused),
        CASE(nobody_listening_is_a_failed_connection),
        CASE(a_name_that_does_not_resolve_is_a_host_error),
        CASE(onion_hosts_need_a_proxy),
        CASE(all_hosts_are_tried),
        CASE(a_silent_host_leaves_time_for_the_next),
        CASE(a_failure_is_remembered_for_a_moment),
        CASE(who_reconnects_soon_forgets_a_failure_soon),
        CASE(wanted_clients_connect_and_come_back),
        CASE(unwanted_clients_stay_away),
        CASE(reconnecting_at_once_forgets_the_back_off),
        CASE(reconnecting_abandons_an_attempt_that_hangs),
        CASE(reconnecting_probes_connections_that_are_up),
        CASE(pings_when_nothing_comes_and_gives_up_in_the_end),
        CASE(leaves_a_session_that_answers_no_command),
        CASE(unwanted_clients_do_not_ping),
        CASE(disconnecting_fails_the_requests_then_reports_down),
        CASE(closing_drops_requests_silently_at_every_step),
        CASE(closing_while_resolving_waits_for_the_resolver),
        CASE(callbacks_may_close_everything),
        CASE(callbacks_may_disconnect),
        CASE(sending_again_when_it_failed_does_not_stall_the_loop),
        CASE(writes_are_held_back_when_the_server_does_not_read),
        CASE(commands_that_never_left_are_dropped_when_time_is_over),
        CASE(an_idle_connection_is_small),
        CASE(a_network_survives_each_failed_malloc),
        CASE(the_proxy_resolves_names_and_gets_isolation_credentials),
        CASE(servers_can_be_isolated_from_each_other),
        CASE(isolation_separates_sessions_and_entities),
        CASE(own_credentials_replace_isolation),
        CASE(a_proxy_without_users_is_enough),
        CASE(onion_hosts_go_through_the_proxy_others_need_not),
        CASE(refusals_of_the_proxy_have_their_codes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
