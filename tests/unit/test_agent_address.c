/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each step through a contact address, and of short links, by an agent without thread and network
 * that is both its owner and who asks. Every allocation of a step fails in turn: the step is undone
 * as a whole, or done.
 */
#include <stdio.h>

#include "agent/address.h"
#include "agent/envelope.h"
#include "agent/event.h"
#include "agent/handshake.h"
#include "agent/links.h"
#include "agent/receive.h"
#include "agent/work.h"
#include "lone_agent.h"

static struct story {
    char dir[256];
    struct simplex_agent *a;
    int64_t address, asking, accepted;
    struct sx_rcv_queue at; /* the queue of the address */
    struct sx_wr link;      /* to it */
    struct sx_wr body;      /* of the request */
    struct sx_opened opened;
    struct sx_invitation request; /* its id */
} s;

static void expect_event(int32_t kind, int64_t conn, struct simplex_event *ev)
{
    struct sx_event_row row = { .id = 0 };

    memset(ev, 0, sizeof *ev);
    while (ev->kind != kind || ev->conn != conn) {
        sx_event_clear(ev);
        must(sx_store_event_next(s.a->store, row.id, &row));
        must(sx_event_decode(row.data, ev));
    }
}

/* ---- failing ---- */

typedef simplex_rc step(void);

static size_t count_conns(void)
{
    int64_t ids[16];
    size_t n = SX_COUNT(ids);

    must(sx_store_conn_list(s.a->store, 0, ids, &n));
    return n;
}

static size_t count_events(void)
{
    struct sx_event_row row = { .id = 0 };
    size_t n = 0;

    while (sx_store_event_next(s.a->store, row.id, &row) == SIMPLEX_OK)
        n++;
    return n;
}

/* True when it came to its end although the nth allocation failed, if there was one. */
static bool attempt(step *fn, unsigned nth, bool *fired)
{
    size_t conns = count_conns(), events = count_events();
    simplex_rc rc;

    sx_fault_malloc(nth);
    rc = sx_handler_begin(s.a);
    if (rc == SIMPLEX_OK) {
        rc = fn();
        sx_handler_end(s.a, rc);
    }
    *fired = sx_fault_disarm();
    if (rc == SIMPLEX_OK && !s.a->failed)
        return true;
    assert_true(*fired);
    if (!s.a->failed) /* else the rows went before the step did not find them */
        assert_int_equal(rc, SIMPLEX_E_NOMEM);
    lone_agent_undo(s.a);
    assert_int_equal(count_conns(), conns);
    assert_int_equal(count_events(), events);
    return false;
}

static void in_spite_of_failures(step *fn, unsigned least)
{
    bool fired = true;
    unsigned nth;

    for (nth = 0; fired; nth++) {
        assert_in_range(nth, 0, 300);
        if (attempt(fn, nth, &fired) && fired)
            lone_agent_undo(s.a); /* what failed did not matter: once more from the beginning */
    }
    assert_true(nth > least);
    must(sx_store_commit(s.a->store));
    s.a->uncommitted = 0;
}

/* ---- the steps ---- */

static simplex_rc create(void)
{
    return sx_create_address(s.a, SX_USER_DEFAULT, &s.address);
}

/* What the answer to NEW brings. */
static void queue_is_made(int64_t conn, struct sx_rcv_queue *q)
{
    must(sx_store_rcvq_of(s.a->store, conn, 0, q));
    q->rcv_id.len = q->snd_id.len = 24;
    sx_random(q->rcv_id.b, 24);
    sx_random(q->snd_id.b, 24);
    if (q->mode != SX_MODE_CONTACT)
        q->mode = SX_MODE_MESSAGING;
    must(sx_store_rcvq_update(s.a->store, q));
}

static simplex_rc print(void)
{
    struct sx_conn c;
    simplex_rc rc = sx_store_conn_get(s.a->store, s.address, &c);

    sx_wr_free(&s.link);
    sx_wr_init(&s.link, SX_LINK_TEXT_MAX);
    return rc == SIMPLEX_OK ? sx_invitation_text(s.a, &c, &s.at, &s.link) : rc;
}

static simplex_rc ask(void)
{
    return sx_join(s.a, SX_USER_DEFAULT, sx_wr_bytes(&s.link), sx_str("may I?"), SIMPLEX_PQ_OFF,
                   &s.asking);
}

static simplex_rc get_command(enum sx_command_tag tag, struct sx_command *cmd)
{
    simplex_rc rc = sx_store_command_next(s.a->store, s.asking, 0, cmd);

    if (rc == SIMPLEX_OK)
        assert_int_equal(cmd->tag, tag);
    return rc;
}

static simplex_rc ready(void)
{
    uint8_t target[1024];
    struct sx_command cmd;
    struct sx_rcv_queue q;
    struct sx_conn c;

    must(sx_store_conn_get(s.a->store, s.asking, &c));
    must(sx_store_rcvq_of(s.a->store, s.asking, 0, &q));
    must(get_command(SX_C_NEW, &cmd));
    assert_in_range(cmd.data.len, 1, sizeof target);
    memcpy(target, cmd.data.ptr, cmd.data.len);
    must(sx_store_command_delete(s.a->store, cmd.id));
    return sx_request_ready(s.a, &c, &q, sx_bytes(target, cmd.data.len));
}

static simplex_rc seal(void)
{
    struct sx_queue_addr to;
    struct sx_command cmd;

    must(get_command(SX_C_INVITATION, &cmd));
    sx_wr_free(&s.body);
    memset(&s.body, 0, sizeof s.body);
    return sx_request_body(s.a, &cmd, &to, &s.body);
}

static simplex_rc take(void)
{
    struct sx_incoming in = { .srv_msg_id = sx_str("id") };

    return sx_on_request(s.a, &s.at, &s.opened, &in);
}

static simplex_rc accept_it(void)
{
    return sx_accept(s.a, s.request.id, sx_str("yes"), SIMPLEX_PQ_OFF, &s.accepted);
}

static simplex_rc reject_it(void)
{
    return sx_reject(s.a, s.request.id);
}

static simplex_rc confirmed(void)
{
    struct sx_conn c;

    must(sx_store_conn_get(s.a->store, s.asking, &c));
    return sx_request_answered(s.a, &c);
}

/* ---- tests ---- */

static void state_is(int64_t conn, uint8_t role, uint8_t state)
{
    struct sx_conn c;

    must(sx_store_conn_get(s.a->store, conn, &c));
    assert_int_equal(c.role, role);
    assert_int_equal(c.state, state);
}

static void ask_and_be_heard(void)
{
    struct simplex_event ev;
    struct sx_rcv_queue own;

    in_spite_of_failures(create, 1);
    state_is(s.address, SX_ADDRESS, SX_CONN_NEW);
    queue_is_made(s.address, &s.at);
    in_spite_of_failures(print, 1);
    in_spite_of_failures(ask, 5);
    state_is(s.asking, SX_INITIATOR, SX_CONN_NEW);
    queue_is_made(s.asking, &own);
    in_spite_of_failures(ready, 0);
    state_is(s.asking, SX_INITIATOR, SX_CONN_REQUESTED);
    in_spite_of_failures(seal, 3);
    assert_int_equal(s.body.len, 15992);
    must(sx_open_body(&s.at, s.body.p, s.body.len, &s.opened));
    in_spite_of_failures(take, 5);
    expect_event(SIMPLEX_EV_REQ, s.address, &ev);
    vec_assert_eq(sx_wr_bytes(&ev.data), sx_str("may I?"), "information");
    s.request.id = simplex_event_request(&ev);
    sx_event_clear(&ev);
}

static void a_request_is_accepted(void **state)
{
    (void)state;
    ask_and_be_heard();
    in_spite_of_failures(accept_it, 10);
    state_is(s.accepted, SX_JOINER, SX_CONN_NEW);
    must(sx_store_inv_get(s.a->store, s.request.id, &s.request));
    assert_true(!s.request.pending && s.request.accepted == s.accepted);
}

static void a_request_is_rejected(void **state)
{
    int64_t n;

    (void)state;
    ask_and_be_heard();
    in_spite_of_failures(reject_it, 0);
    must(sx_store_inv_count(s.a->store, s.address, &n));
    assert_int_equal(n, 0);
    in_spite_of_failures(take, 3); /* a repeat */
    must(sx_store_inv_count(s.a->store, s.address, &n));
    assert_int_equal(n, 0);
}

/* The answer to SEND was lost, but the owner has joined. */
static void a_request_that_is_answered_is_not_sent_again(void **state)
{
    struct simplex_event ev;
    struct sx_command cmd;

    (void)state;
    ask_and_be_heard();
    in_spite_of_failures(confirmed, 0);
    assert_int_equal(sx_store_command_next(s.a->store, s.asking, 0, &cmd), SIMPLEX_E_NOT_FOUND);
    expect_event(SIMPLEX_EV_JOINED, s.asking, &ev);
    sx_event_clear(&ev);
    size_t events = count_events();
    in_spite_of_failures(confirmed, 0); /* when it is known already */
    assert_int_equal(count_events(), events);
}

/* ---- short links ---- */

static struct {
    simplex_link_data data;
    int64_t made, looked;
    struct sx_rsp ids, lnk;
    uint8_t rcv_id[24], link_id[24];
    struct sx_keypair dh;
    struct sx_wr text, fixed, user;
} l;

static simplex_rc make_short(void)
{
    return sx_create_short(s.a, SX_USER_DEFAULT, SX_SHORT_INVITATION, SIMPLEX_PQ_OFF, &l.data,
                           false, &l.made);
}

static simplex_rc command_of(int64_t conn, enum sx_command_tag tag, struct sx_command *cmd)
{
    simplex_rc rc = SIMPLEX_OK;

    for (cmd->id = 0; rc == SIMPLEX_OK;) {
        rc = sx_store_command_next(s.a->store, conn, cmd->id, cmd);
        if (rc == SIMPLEX_OK && cmd->tag == tag)
            return rc;
    }
    return rc;
}

/* What the server has got, and would answer to NEW. */
static void short_is_on_its_server(void)
{
    struct sx_rcv_queue q;
    struct sx_link_row row;
    static struct sx_id snd_id;

    must(sx_store_rcvq_of(s.a->store, l.made, 0, &q));
    must(sx_store_link_get(s.a->store, q.id, &row));
    snd_id = q.snd_id;
    sx_wr_reset(&l.fixed);
    sx_wr_reset(&l.user);
    sx_wr_raw(&l.fixed, row.fixed);
    sx_wr_raw(&l.user, row.user);
    l.ids = (struct sx_rsp){ .tag = SX_R_IDS };
    l.ids.ids.rcv_id = sx_bytes(l.rcv_id, 24);
    l.ids.ids.snd_id = sx_id_bytes(&snd_id);
    l.ids.ids.srv_dh = l.dh.pub;
    l.ids.ids.mode = SX_MODE_MESSAGING;
    l.ids.ids.has_link_id = true;
    l.ids.ids.link_id = sx_bytes(l.link_id, 24);
    l.lnk = (struct sx_rsp){ .tag = SX_R_LNK };
    l.lnk.lnk.snd_id = sx_id_bytes(&snd_id);
    l.lnk.lnk.fixed = sx_wr_bytes(&l.fixed);
    l.lnk.lnk.user = sx_wr_bytes(&l.user);
}

static simplex_rc answer_new(void)
{
    struct sx_command cmd;
    struct sx_conn c;
    simplex_rc rc = sx_store_conn_get(s.a->store, l.made, &c);

    if (rc == SIMPLEX_OK)
        rc = command_of(l.made, SX_C_NEW, &cmd);
    return rc == SIMPLEX_OK ? sx_new_answered(s.a, &c, &cmd, &l.ids) : rc;
}

static simplex_rc renew(void)
{
    struct sx_rcv_queue q;
    simplex_rc rc = sx_store_rcvq_of(s.a->store, l.made, 0, &q);

    return rc == SIMPLEX_OK ? sx_link_renew(s.a, q.id) : rc;
}

static simplex_rc change(void)
{
    return sx_set_link_data(s.a, l.made, &l.data);
}

static simplex_rc drop(void)
{
    return sx_delete_link_data(s.a, l.made);
}

static simplex_rc look_and_join(void)
{
    struct sx_wish wish = { .join = true, .info = sx_str("hello") };

    return sx_look(s.a, SX_USER_DEFAULT, sx_wr_bytes(&l.text), &wish, &l.looked);
}

static simplex_rc answer_look(void)
{
    uint8_t copy[64];
    struct sx_command cmd;
    struct sx_conn c;
    simplex_rc rc = sx_store_conn_get(s.a->store, l.looked, &c);

    if (rc == SIMPLEX_OK)
        rc = command_of(l.looked, SX_C_LOOK, &cmd);
    if (rc != SIMPLEX_OK)
        return rc;
    assert_true(cmd.data.len <= sizeof copy);
    memcpy(copy, cmd.data.ptr, cmd.data.len);
    cmd.data.ptr = copy;
    return sx_look_answered(s.a, &c, &cmd, &l.lnk);
}

static void a_short_link_is_made_changed_and_joined(void **state)
{
    struct simplex_event ev;
    struct sx_conn c;

    (void)state;
    memset(&l, 0, sizeof l);
    l.data = (simplex_link_data){ .size = sizeof l.data, .data = sx_str("data") };
    must(sx_keypair_new(SX_X25519, &l.dh));
    sx_wr_init(&l.text, 2048);
    sx_wr_init(&l.fixed, SX_LINK_FIXED_STORED);
    sx_wr_init(&l.user, SX_LINK_USER_STORED);
    in_spite_of_failures(make_short, 3);
    in_spite_of_failures(renew, 3);
    short_is_on_its_server();
    in_spite_of_failures(answer_new, 3);
    expect_event(SIMPLEX_EV_LINK, l.made, &ev);
    sx_wr_raw(&l.text, sx_wr_bytes(&ev.data));
    sx_event_clear(&ev);
    in_spite_of_failures(change, 3);
    short_is_on_its_server();
    in_spite_of_failures(look_and_join, 1);
    in_spite_of_failures(answer_look, 3);
    must(sx_store_conn_get(s.a->store, l.looked, &c));
    assert_int_equal(c.role, SX_JOINER);
    assert_int_equal(c.state, SX_CONN_NEW);
    in_spite_of_failures(drop, 1);
    sx_wr_free(&l.text);
    sx_wr_free(&l.fixed);
    sx_wr_free(&l.user);
}

static int open_story(void **state)
{
    (void)state;
    memset(&s, 0, sizeof s);
    s.a = lone_agent_open(s.dir);
    return 0;
}

static int close_story(void **state)
{
    (void)state;
    sx_wr_free(&s.link);
    sx_wr_free(&s.body);
    lone_agent_close(s.a, s.dir);
    return 0;
}

int main(void)
{
#define STORY(test) cmocka_unit_test_setup_teardown(test, open_story, close_story)
    const struct CMUnitTest tests[] = {
        STORY(a_request_is_accepted),
        STORY(a_request_is_rejected),
        STORY(a_request_that_is_answered_is_not_sent_again),
        STORY(a_short_link_is_made_changed_and_joined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
