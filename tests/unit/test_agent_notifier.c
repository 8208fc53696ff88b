/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notifiers by an agent without thread and network: every allocation of each step fails in turn,
 * answers come late, twice and in the wrong order, and servers answer what makes no sense. And the
 * rows of client services.
 */
#include <stdio.h>

#include "agent/event.h"
#include "agent/handshake.h"
#include "agent/push.h"
#include "agent/several.h"
#include "agent/work.h"
#include "lone_agent.h"
#include "store/service.h"

static struct story {
    char dir[256];
    struct simplex_agent *a;
    int64_t conn;
    struct sx_rcv_queue q;
    struct sx_keypair srv; /* the server's keys, of queue and notifier */
    uint8_t ntf_id[24];
    struct sx_rsp rsp;
} s;

/* ---- events and commands ---- */

static unsigned count_events(int32_t kind)
{
    struct sx_event_row row = { .id = 0 };
    struct simplex_event ev;
    unsigned n = 0;

    while (sx_store_event_next(s.a->store, row.id, &row) == SIMPLEX_OK) {
        must(sx_event_decode(row.data, &ev));
        n += ev.kind == kind;
        sx_event_clear(&ev);
    }
    return n;
}

/* The error of the last event, and the length of its data. */
static simplex_rc last_told(size_t *data)
{
    struct sx_event_row row = { .id = 0 };
    struct simplex_event ev;
    simplex_rc rc = SIMPLEX_E_NOT_FOUND;

    while (sx_store_event_next(s.a->store, row.id, &row) == SIMPLEX_OK) {
        must(sx_event_decode(row.data, &ev));
        if (ev.kind == SIMPLEX_EV_NOTIFIER) {
            rc = ev.rc;
            *data = ev.data.len;
        }
        sx_event_clear(&ev);
    }
    return rc;
}

/* The nth command of this kind, with a copy of its data. */
static bool command(enum sx_command_tag tag, unsigned nth, struct sx_command *cmd, uint8_t copy[32])
{
    int64_t after = 0;

    while (sx_store_command_next(s.a->store, s.conn, after, cmd) == SIMPLEX_OK) {
        after = cmd->id;
        if (cmd->tag != tag || nth-- > 0)
            continue;
        assert_int_equal(cmd->data.len, 32);
        memcpy(copy, cmd->data.ptr, 32);
        cmd->data = sx_bytes(copy, 32);
        return true;
    }
    return false;
}

static bool is_moot(struct sx_command *c)
{
    struct sx_cmd cmd;
    bool moot;

    memset(&cmd, 0, sizeof cmd);
    must(sx_notifier_cmd(s.a, c, &cmd, &moot));
    assert_int_equal(cmd.tag, !moot && c->tag == SX_C_NKEY ? SX_NKEY : SX_NDEL);
    return moot;
}

/* ---- failing ---- */

typedef simplex_rc step(void);

static simplex_rc bracket(step *fn)
{
    simplex_rc rc = sx_handler_begin(s.a);

    if (rc == SIMPLEX_OK) {
        rc = fn();
        sx_handler_end(s.a, rc);
    }
    return rc;
}

static void in_spite_of_failures(step *fn)
{
    bool fired = true;
    unsigned nth;

    for (nth = 0; fired; nth++) {
        sx_fault_malloc(nth);
        simplex_rc rc = bracket(fn);
        fired = sx_fault_disarm();
        assert_true(fired || (rc == SIMPLEX_OK && !s.a->failed));
        if (fired)
            lone_agent_undo(s.a);
        assert_in_range(nth, 0, 300);
    }
    must(sx_store_commit(s.a->store));
    s.a->uncommitted = 0;
}

static void in_one(step *fn)
{
    must(bracket(fn));
    must(sx_store_commit(s.a->store));
    s.a->uncommitted = 0;
}

/* ---- steps ---- */

static simplex_rc create(void)
{
    return sx_create(s.a, SX_USER_DEFAULT, SIMPLEX_PQ_OFF, &s.conn);
}

static simplex_rc on(void)
{
    return sx_notify_conn(s.a, s.conn, true);
}

static simplex_rc off(void)
{
    return sx_notify_conn(s.a, s.conn, false);
}

static void ids(bool with_notifier)
{
    sx_random(s.ntf_id, sizeof s.ntf_id);
    must(sx_keypair_new(SX_X25519, &s.srv));
    s.rsp = (struct sx_rsp){ .tag = SX_R_IDS };
    s.rsp.ids.rcv_id = sx_str("0123456789abcdef01234567");
    s.rsp.ids.snd_id = sx_str("76543210fedcba9876543210");
    s.rsp.ids.srv_dh = s.srv.pub;
    s.rsp.ids.mode = SX_MODE_MESSAGING;
    s.rsp.ids.has_ntf = with_notifier;
    s.rsp.ids.ntf_id = sx_bytes(s.ntf_id, 24);
    s.rsp.ids.ntf_srv_dh = s.srv.pub;
}

static void nid(void)
{
    sx_random(s.ntf_id, sizeof s.ntf_id);
    must(sx_keypair_new(SX_X25519, &s.srv));
    s.rsp = (struct sx_rsp){ .tag = SX_R_NID };
    s.rsp.nid.ntf_id = sx_bytes(s.ntf_id, 24);
    s.rsp.nid.srv_dh = s.srv.pub;
}

static simplex_rc new_answered(void)
{
    struct sx_command cmd;
    struct sx_conn c;
    simplex_rc rc = sx_store_conn_get(s.a->store, s.conn, &c);

    if (rc == SIMPLEX_OK)
        rc = sx_store_command_next(s.a->store, s.conn, 0, &cmd);
    if (rc == SIMPLEX_OK)
        assert_int_equal(cmd.tag, SX_C_NEW);
    return rc == SIMPLEX_OK ? sx_new_answered(s.a, &c, &cmd, &s.rsp) : rc;
}

static struct sx_command at_hand;

static simplex_rc answered(void)
{
    return sx_notifier_answered(s.a, &at_hand, &s.rsp);
}

static simplex_rc refused(void)
{
    return sx_notifier_refused(s.a, &at_hand, SIMPLEX_E_SERVER, "AUTH");
}

static enum sx_ntf_state state_of(struct sx_notifier *n)
{
    must(sx_store_rcvq_of(s.a->store, s.conn, 0, &s.q));
    simplex_rc rc = sx_store_notifier_get(s.a->store, s.q.id, n);

    if (rc == SIMPLEX_E_NOT_FOUND)
        return 0;
    must(rc);
    return n->state;
}

/* Forgets the commands that were for the network. */
static void forget_commands(void)
{
    struct sx_command cmd;

    while (sx_store_command_next(s.a->store, s.conn, 0, &cmd) == SIMPLEX_OK)
        must(sx_store_command_delete(s.a->store, cmd.id));
}

static void assert_secret_is_shared(const struct sx_notifier *n, const struct sx_pub *ours)
{
    uint8_t secret[SX_DH_MAX];

    must(sx_dh(&s.srv.priv, ours, secret));
    assert_true(n->has_secret);
    assert_memory_equal(n->secret, secret, 32);
    assert_int_equal(n->dh.pub.alg, SX_NO_KEY); /* it has served */
}

/* ---- tests ---- */

static void new_makes_the_notifier(void **state)
{
    struct sx_notifier n;
    struct sx_cmd cmd = { .tag = SX_NEW };
    struct sx_pub dh;

    (void)state;
    s.a->cfg.notifications = true;
    in_spite_of_failures(create);
    assert_int_equal(state_of(&n), SX_NTF_WANTED);
    must(sx_notifier_new(s.a, s.q.id, &cmd));
    assert_true(cmd.new_.has_ntf);
    assert_true(sx_pub_eq(&cmd.new_.ntf_auth, &n.auth.pub));
    dh = cmd.new_.ntf_dh;
    ids(true);
    in_spite_of_failures(new_answered);
    assert_int_equal(state_of(&n), SX_NTF_SET);
    assert_secret_is_shared(&n, &dh);
    assert_memory_equal(n.ntf_id.b, s.ntf_id, 24);
    assert_int_equal(count_events(SIMPLEX_EV_NOTIFIER), 1);
}

static void a_server_that_moves_sees_other_keys(void **state)
{
    struct sx_notifier before, after;

    (void)state;
    s.a->cfg.notifications = true;
    in_one(create);
    assert_int_equal(state_of(&before), SX_NTF_WANTED);
    must(sx_notifier_renew(s.a, s.q.id));
    assert_int_equal(state_of(&after), SX_NTF_WANTED);
    assert_false(sx_pub_eq(&before.auth.pub, &after.auth.pub));
    assert_false(sx_pub_eq(&before.dh.pub, &after.dh.pub));
}

static void use_servers(size_t n)
{
    static const char *const address[] = {
        "smp://LcJUMfVhwD8yxjAiSaDzzGF3-kLG4Uh0Fl_ZIjrRwjI=@localhost:1",
        "smp://LcJUMfVhwD8yxjAiSaDzzGF3-kLG4Uh0Fl_ZIjrRwjI=@localhost:2",
        "smp://LcJUMfVhwD8yxjAiSaDzzGF3-kLG4Uh0Fl_ZIjrRwjI=@localhost:3"
    };
    simplex_user_server list[SX_COUNT(address)];

    for (size_t k = 0; k < n; k++)
        list[k] = (simplex_user_server){
            .size = sizeof list[k], .address = address[k], .enabled = true, .storage = true
        };
    s.a->thread = uv_thread_self(); /* calls run inline */
    s.a->thread_ready = true;
    must(simplex_agent_set_servers(s.a, SIMPLEX_USER_DEFAULT, list, n));
    s.a->thread_ready = false;
}

static void one_of_several_that_moves_shows_other_keys_too(void **state)
{
    struct sx_notifier before, after;
    struct sx_rcv_queue moved;
    struct sx_command cmd;
    struct sx_conn c;

    (void)state;
    s.a->cfg.notifications = true;
    s.a->cfg.queues = 2;
    use_servers(3);
    in_one(create);
    must(sx_store_conn_get(s.a->store, s.conn, &c));
    must(sx_store_command_next(s.a->store, s.conn, 0, &cmd));
    assert_int_equal(cmd.tag, SX_C_NEW);
    must(sx_store_rcvq_get(s.a->store, cmd.queue_id, &s.q));
    must(sx_store_notifier_get(s.a->store, s.q.id, &before));
    must(sx_queue_away(s.a, &c, &cmd));
    must(sx_store_rcvq_get(s.a->store, s.q.id, &moved));
    must(sx_store_notifier_get(s.a->store, s.q.id, &after));
    assert_false(sx_server_eq(&moved.server, &s.q.server));
    assert_false(sx_pub_eq(&moved.auth.pub, &s.q.auth.pub));
    assert_false(sx_pub_eq(&before.auth.pub, &after.auth.pub));
    assert_false(sx_pub_eq(&before.dh.pub, &after.dh.pub));
}

static void an_older_server_gets_nkey(void **state)
{
    struct sx_notifier n;
    uint8_t keys[32];
    struct sx_pub dh;

    (void)state;
    in_one(create);
    in_spite_of_failures(on); /* before there is a queue: with NEW */
    assert_false(command(SX_C_NKEY, 0, &at_hand, keys));
    ids(false);
    in_spite_of_failures(new_answered);
    assert_true(command(SX_C_NKEY, 0, &at_hand, keys));
    assert_int_equal(state_of(&n), SX_NTF_WANTED);
    dh = n.dh.pub;
    nid();
    in_spite_of_failures(answered);
    assert_int_equal(state_of(&n), SX_NTF_SET);
    assert_secret_is_shared(&n, &dh);
    assert_true(is_moot(&at_hand));
    in_one(answered); /* once more changes nothing */
    assert_int_equal(count_events(SIMPLEX_EV_NOTIFIER), 1);
}

/* on, off and on again, with NEW out all the while: the server gets to know one pair of keys */
static void changes_of_mind_before_the_queue_is_made(void **state)
{
    struct sx_notifier n, again;
    uint8_t keys[32];

    (void)state;
    in_one(create);
    in_one(on);
    assert_int_equal(state_of(&n), SX_NTF_WANTED);
    in_one(off);
    assert_int_equal(state_of(&again), SX_NTF_DROPPED);
    in_one(on);
    assert_int_equal(state_of(&again), SX_NTF_WANTED);
    assert_true(sx_pub_eq(&n.auth.pub, &again.auth.pub));
    in_one(off);
    ids(true); /* it was made after all */
    in_one(new_answered);
    assert_true(command(SX_C_NDEL, 0, &at_hand, keys));
    s.rsp = (struct sx_rsp){ .tag = SX_R_OK };
    in_spite_of_failures(answered);
    assert_int_equal(state_of(&n), 0);
}

static void dropped_before_the_queue_was_made(void **state)
{
    struct sx_notifier n;
    uint8_t keys[32];

    (void)state;
    in_one(create);
    in_one(on);
    in_one(off);
    ids(false);
    in_one(new_answered);
    assert_int_equal(state_of(&n), 0);
    assert_false(command(SX_C_NDEL, 0, &at_hand, keys));
    assert_int_equal(count_events(SIMPLEX_EV_NOTIFIER), 0);
}

static void late_answers_count_for_what_they_were_for(void **state)
{
    uint8_t first[32], second[32], gone[32];
    struct sx_command nkey1, nkey2, ndel;
    struct sx_notifier n;
    size_t data = 1;

    (void)state;
    in_one(create);
    ids(false);
    in_one(new_answered);
    forget_commands();
    in_one(on);
    in_spite_of_failures(off);
    in_spite_of_failures(on);
    assert_true(command(SX_C_NKEY, 0, &nkey1, first));
    assert_true(command(SX_C_NKEY, 1, &nkey2, second));
    assert_true(command(SX_C_NDEL, 0, &ndel, gone));
    assert_memory_equal(first, gone, 32);
    assert_memory_not_equal(first, second, 32);
    assert_true(is_moot(&nkey1));
    assert_true(is_moot(&ndel)); /* it would take the second one away when it is overtaken */
    assert_false(is_moot(&nkey2));
    nid();
    at_hand = nkey1; /* was on its way */
    in_one(answered);
    assert_int_equal(state_of(&n), SX_NTF_WANTED);
    at_hand = ndel;
    in_one(answered);
    assert_int_equal(state_of(&n), SX_NTF_WANTED);
    at_hand = nkey1;
    in_one(refused);
    assert_int_equal(state_of(&n), SX_NTF_WANTED);
    assert_int_equal(count_events(SIMPLEX_EV_NOTIFIER), 0);
    at_hand = nkey2;
    in_one(answered);
    assert_int_equal(state_of(&n), SX_NTF_SET);
    assert_int_equal(last_told(&data), SIMPLEX_OK);
    assert_int_equal(data, 24);
    in_one(off);
    assert_true(command(SX_C_NDEL, 1, &at_hand, gone));
    assert_false(is_moot(&at_hand));
    in_one(answered);
    assert_int_equal(last_told(&data), SIMPLEX_OK);
    assert_int_equal(data, 0);
}

static void a_refusal_is_told_and_leaves_none(void **state)
{
    struct sx_notifier n;
    uint8_t keys[32];
    size_t data = 1;

    (void)state;
    in_one(create);
    ids(false);
    in_one(new_answered);
    in_one(on);
    assert_true(command(SX_C_NKEY, 0, &at_hand, keys));
    in_spite_of_failures(refused);
    assert_int_equal(state_of(&n), 0);
    assert_int_equal(last_told(&data), SIMPLEX_E_SERVER);
    assert_int_equal(data, 0);
    in_one(on);
    assert_int_equal(state_of(&n), SX_NTF_WANTED); /* it can be tried again */
}

static void answers_that_make_no_sense_are_refused(void **state)
{
    static const uint8_t long_id[256];
    struct sx_notifier n;
    uint8_t keys[32];

    (void)state;
    in_one(create);
    ids(false);
    in_one(new_answered);
    in_one(on);
    assert_true(command(SX_C_NKEY, 0, &at_hand, keys));
    nid();
    s.rsp.nid.ntf_id.len = 0;
    assert_int_equal(bracket(answered), SIMPLEX_E_RESPONSE);
    s.rsp.nid.ntf_id = sx_bytes(long_id, sizeof long_id);
    assert_int_equal(bracket(answered), SIMPLEX_E_RESPONSE);
    nid();
    memset(s.rsp.nid.srv_dh.b, 0, 32); /* a key whose secret everybody knows */
    assert_int_equal(bracket(answered), SIMPLEX_E_RESPONSE);
    assert_int_equal(state_of(&n), SX_NTF_WANTED);
    nid();
    in_one(answered);
    assert_int_equal(state_of(&n), SX_NTF_SET);
}

static void deleted_connections_take_their_notifier_along(void **state)
{
    struct sx_notifier n;

    (void)state;
    s.a->cfg.notifications = true;
    in_one(create);
    assert_int_equal(state_of(&n), SX_NTF_WANTED);
    must(sx_store_conn_delete(s.a->store, s.conn));
    assert_int_equal(sx_store_notifier_get(s.a->store, s.q.id, &n), SIMPLEX_E_NOT_FOUND);
    n.queue_id = 999;
    assert_int_equal(sx_store_notifier_put(s.a->store, &n), SIMPLEX_E_NOT_FOUND);
}

static void services_and_their_queues_are_kept(void **state)
{
    struct sx_service_row r = { .user_id = SX_USER_DEFAULT,
                                .cert = sx_str("certificate"),
                                .key = sx_str("key") };
    struct sx_service_row got = r;
    simplex_bytes password;
    int64_t list[4];
    size_t n = 4;

    (void)state;
    in_one(create);
    must(sx_store_rcvq_of(s.a->store, s.conn, 0, &s.q));
    r.server = got.server = s.q.server;
    assert_int_equal(sx_store_service_get(s.a->store, &got), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(sx_store_service_id(s.a->store, &r), SIMPLEX_E_NOT_FOUND);
    must(sx_store_service_put(s.a->store, &r));
    must(sx_store_service_get(s.a->store, &got));
    vec_assert_eq(got.cert, r.cert, "certificate");
    vec_assert_eq(got.key, r.key, "key");
    assert_false(got.has_id);
    r.has_id = true;
    memset(r.id, 3, sizeof r.id);
    must(sx_store_service_id(s.a->store, &r));
    must(sx_store_service_get(s.a->store, &got));
    assert_true(got.has_id);
    assert_memory_equal(got.id, r.id, sizeof r.id);
    must(sx_server_parse(sx_str("smp://LcJUMfVhwD8yxjAiSaDzzGF3-kLG4Uh0Fl_ZIjrRwjI=@other:1"),
                         &got.server, &password));
    assert_int_equal(sx_store_service_get(s.a->store, &got), SIMPLEX_E_NOT_FOUND);
    must(sx_store_assoc_add(s.a->store, s.q.id));
    must(sx_store_assoc_add(s.a->store, s.q.id));
    must(sx_store_assoc_list(s.a->store, 0, list, &n));
    assert_int_equal(n, 1);
    assert_int_equal(list[0], s.q.id);
    must(sx_store_conn_delete(s.a->store, s.conn));
    must(sx_store_assoc_list(s.a->store, 0, list, &n));
    assert_int_equal(n, 0);
    must(sx_store_service_delete(s.a->store, &r));
    assert_int_equal(sx_store_service_get(s.a->store, &r), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(sx_store_assoc_add(s.a->store, 999), SIMPLEX_E_NOT_FOUND);
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
    lone_agent_close(s.a, s.dir);
    return 0;
}

int main(void)
{
#define STORY(test) cmocka_unit_test_setup_teardown(test, open_story, close_story)
    const struct CMUnitTest tests[] = {
        STORY(new_makes_the_notifier),
        STORY(a_server_that_moves_sees_other_keys),
        STORY(one_of_several_that_moves_shows_other_keys_too),
        STORY(an_older_server_gets_nkey),
        STORY(changes_of_mind_before_the_queue_is_made),
        STORY(dropped_before_the_queue_was_made),
        STORY(late_answers_count_for_what_they_were_for),
        STORY(a_refusal_is_told_and_leaves_none),
        STORY(answers_that_make_no_sense_are_refused),
        STORY(deleted_connections_take_their_notifier_along),
        STORY(services_and_their_queues_are_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
