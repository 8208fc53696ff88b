/* SPDX-License-Identifier: Apache-2.0 */
#include "client_stage.h"

#include <stdio.h>

#define TICK_MS 5
#define PATIENCE_MS 30000 /* a machine may stand still: what is answered has its time */

struct client_stage t;

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

void done(void *user, void *ctx, simplex_rc rc, const struct sx_rsp *rsp)
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

void closed(void *user)
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

void guard(int64_t ms)
{
    t.late = false;
    t.deadline = sx_mono_ms() + ms;
    uv_update_time(&t.loop);
    uv_timer_start(&t.guard, on_guard, ms < TICK_MS ? (uint64_t)ms : TICK_MS, TICK_MS);
}

void run_for(int64_t ms)
{
    guard(ms);
    while (!t.late)
        uv_run(&t.loop, UV_RUN_ONCE);
    uv_timer_stop(&t.guard);
}

struct proxy proxy;

int set_up(void **state)
{
    (void)state;
    assert_int_equal(sx_crypto_init(), SIMPLEX_OK);
    t = (struct client_stage){ .live = sx_fault_live_blocks() };
    proxy.loop = NULL;
    assert_int_equal(uv_loop_init(&t.loop), 0);
    uv_timer_init(&t.loop, &t.guard);
    peer_start(&t.peer, &t.loop, 0);
    t.cfg.connect_timeout = PATIENCE_MS;
    t.cfg.command_timeout = PATIENCE_MS;
    t.cfg.reconnect_first = 30;
    t.cfg.reconnect_grow = 200;
    t.cfg.reconnect_max = 120;
    t.cfg.failed_cache = 1;
    return 0;
}

static const struct sx_net_callbacks callbacks = { .up = up, .down = down, .event = event };

struct sx_client *client_of(const char *hosts)
{
    struct sx_server server;

    peer_server(&t.peer, hosts, &server);
    assert_int_equal(sx_net_client(t.net, &server, &t.client), SIMPLEX_OK);
    return t.client;
}

simplex_rc try_open_net(void)
{
    return sx_net_open(&t.loop, &t.cfg, &callbacks, &t, "user", &t.net);
}

void open_net(void)
{
    assert_int_equal(try_open_net(), SIMPLEX_OK);
}

void open_client(void)
{
    open_net();
    client_of("127.0.0.1");
}

void close_net(void)
{
    if (t.net == NULL)
        return;
    sx_net_close(t.net, closed, &t);
    assert_false(t.closed); /* later, from the loop */
    t.net = NULL;
}

int tear_down(void **state)
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

simplex_rc try_send(const struct sx_cmd *cmd, const char *entity, int64_t timeout, struct result *r)
{
    struct sx_request req = {
        .cmd = cmd, .entity = sx_str(entity), .done = done, .ctx = r, .timeout = timeout
    };

    t.inside = true;
    simplex_rc rc = sx_client_send(t.client, &req);
    t.inside = false;
    return rc;
}

void send_cmd(enum sx_cmd_tag tag, const char *entity, struct result *r)
{
    struct sx_cmd cmd = { .tag = tag };

    assert_int_equal(try_send(&cmd, entity, 0, r), SIMPLEX_OK);
}

void go_up(void)
{
    struct result r = { 0 };

    open_client();
    send_cmd(SX_SUB, "first", &r);
    RUN_UNTIL(r.done);
    assert_int_equal(r.rc, SIMPLEX_OK);
    t.peer.log[0] = t.peer.entities[0] = 0;
}

/* The attempt fails with rc, and so does the command that caused it. */
void assert_fails(simplex_rc rc)
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

/* ---- how the peer answers ---- */

bool answer_oddly(struct peer *p, struct peer_conn *c, const struct sx_cmd *cmd,
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

bool silence(struct peer *p, struct peer_conn *c, const struct sx_cmd *cmd,
             struct sx_transmission *tr, struct sx_rsp *rsp)
{
    (void)p, (void)c, (void)cmd, (void)tr, (void)rsp;
    return false;
}
