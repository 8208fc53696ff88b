/* SPDX-License-Identifier: Apache-2.0 */
/* What parts of the agent do to each other: several queues and users, holding and acknowledgements,
 * policies and lists without servers; and what a contact can make grow. */
#include <unistd.h>

#include "agent/handshake.h"
#include "agent/push.h"
#include "agent/rotation.h"
#include "agent/services.h"
#include "agent/several.h"
#include "agent/switch.h"
#include "agent/users.h"
#include "agent/work.h"
#include "support/ring.h"

static void run(struct test_agent *t, simplex_rc (*fn)(struct simplex_agent *, void *), void *arg)
{
    assert_int_equal(sx_agent_run(t->a, fn, arg, true), SIMPLEX_OK);
}

struct sums {
    int64_t queues, active, pending, subscriptions;
};

/* Of the sessions of a user; 0: of all. */
static struct sums sum_of(struct test_agent *t, int64_t user)
{
    struct sums n = { 0 };
    simplex_server_status s = { .size = sizeof s };

    for (size_t k = 0; simplex_agent_server(t->a, k, &s) == SIMPLEX_OK; k++) {
        if (user != 0 && s.user != user)
            continue;
        n.queues += s.queues;
        n.active += s.active;
        n.pending += s.pending;
        n.subscriptions += s.subscriptions;
    }
    return n;
}

static void expect_active(struct test_agent *t, int64_t user, int64_t active)
{
    for (int k = 0; k < 2000 && sum_of(t, user).active != active; k++)
        (void)usleep(10000);
    assert_int_equal(sum_of(t, user).active, active);
}

/* ---- users ---- */

static int64_t other_user(struct test_agent *t)
{
    int64_t user;

    assert_int_equal(simplex_agent_create_user(t->a, NULL, 0, &user), SIMPLEX_OK);
    return user;
}

static void all_queues_of_an_invitation_go_to_the_other_user(void **state)
{
    struct ring r;
    int64_t conn, user;

    (void)state;
    ring_open(&r, 3, 3, 1, NULL);
    assert_int_equal(simplex_agent_create(r.i.a, SIMPLEX_PQ_OFF, &conn), SIMPLEX_OK);
    expect(&r.i, SIMPLEX_EV_INV, conn);
    expect_active(&r.i, SIMPLEX_USER_DEFAULT, 3);
    user = other_user(&r.i);
    assert_int_equal(simplex_agent_change_user(r.i.a, conn, user), SIMPLEX_OK);
    expect_active(&r.i, user, 3);
    assert_int_equal(sum_of(&r.i, SIMPLEX_USER_DEFAULT).queues, 0);
    ring_close(&r);
}

static simplex_rc has_notifier(struct simplex_agent *a, void *arg)
{
    struct sx_rcv_queue q;
    simplex_rc rc = sx_store_rcvq_of(a->store, *(int64_t *)arg, 0, &q);

    if (rc == SIMPLEX_OK && !sx_rt_rcvq_by_id(a, q.id)->notifier)
        rc = SIMPLEX_E_NOT_FOUND;
    sx_wipe(&q, sizeof q);
    return rc;
}

static void another_user_subscribes_nothing_that_was_not_subscribed(void **state)
{
    struct ring r;
    int64_t conn, user;

    (void)state;
    ring_open(&r, 1, 1, 1, NULL);
    r.i.cfg.fetch_only = r.i.cfg.notifications = true;
    agent_reopen(&r.i);
    assert_int_equal(simplex_agent_create(r.i.a, SIMPLEX_PQ_OFF, &conn), SIMPLEX_OK);
    expect(&r.i, SIMPLEX_EV_INV, conn);
    run(&r.i, has_notifier, &conn);
    user = other_user(&r.i);
    assert_int_equal(simplex_agent_change_user(r.i.a, conn, user), SIMPLEX_OK);
    assert_true(quiet(&r.i, SIMPLEX_EV_UP, 500));
    struct sums n = sum_of(&r.i, user);
    assert_int_equal(n.queues, 1);
    assert_int_equal(n.active + n.pending, 0);
    run(&r.i, has_notifier, &conn);
    ring_close(&r);
}

/* ---- holding ---- */

static void a_message_that_waits_for_its_acknowledgement_costs_no_traffic(void **state)
{
    struct ring r;
    simplex_event *ev;

    (void)state;
    ring_open(&r, 2, 2, 1, NULL);
    r.i.cfg.hold_time = 50;
    agent_reopen(&r.i);
    ring_connect(&r);
    talk(&r.j, r.jc, &r.i, r.ic, "the first");
    (void)send_text(&r.j, r.jc, "shown");
    (void)send_text(&r.j, r.jc, "held");
    ev = wait_event(&r.i, SIMPLEX_EV_MSG, r.ic);
    (void)usleep(1500000);
    int64_t before = sum_of(&r.i, 0).subscriptions;
    (void)usleep(4000000);
    assert_in_range(sum_of(&r.i, 0).subscriptions - before, 0, 1);
    assert_int_equal(simplex_agent_ack(r.i.a, r.ic, simplex_event_msg_id(ev)), SIMPLEX_OK);
    simplex_event_free(ev);
    (void)receive_text(&r.i, r.ic, "held");
    expect(&r.j, SIMPLEX_EV_SENT, r.jc);
    expect(&r.j, SIMPLEX_EV_SENT, r.jc);
    talk(&r.j, r.jc, &r.i, r.ic, "and on");
    ring_close(&r);
}

/* ---- what a contact can make grow ---- */

#define OFTEN 1200

struct flood {
    int64_t conn, count;
};

static void queue_to(struct simplex_agent *a, int64_t conn, struct sx_queue_ref *ref)
{
    struct sx_snd_queue q;

    assert_int_equal(sx_store_sndq_of(a->store, conn, 0, &q), SIMPLEX_OK);
    *ref = (struct sx_queue_ref){ .server = q.server, .snd_id = q.snd_id };
    sx_wipe(&q, sizeof q);
}

static simplex_rc ask_often(struct simplex_agent *a, void *arg)
{
    struct flood *f = arg;
    struct sx_agent_msg m = { .tag = SX_AM_MESSAGE, .msg = SX_M_QTEST };
    struct sx_queue_ref ref;
    struct sx_conn c;
    struct sx_wr w;
    simplex_rc rc = sx_store_conn_get(a->store, f->conn, &c);

    queue_to(a, f->conn, &ref);
    sx_wr_init(&w, 8192);
    sx_queue_ref_encode(&w, &ref);
    sx_queue_ref_encode(&w, &ref);
    m.list = (struct sx_list){ 2, sx_wr_bytes(&w) };
    for (int k = 0; rc == SIMPLEX_OK && k < OFTEN; k++)
        rc = sx_on_qtest(a, &c, &m);
    sx_wr_free(&w);
    return rc == SIMPLEX_OK ? sx_store_delivery_count(a->store, f->conn, &f->count) : rc;
}

static simplex_rc move_often(struct simplex_agent *a, void *arg)
{
    struct flood *f = arg;
    struct sx_agent_msg m = { .tag = SX_AM_MESSAGE, .msg = SX_M_QADD };
    struct sx_qadd x = { .has_replaced = true };
    struct sx_keypair dh;
    struct sx_conn c;
    simplex_rc rc = sx_store_conn_get(a->store, f->conn, &c);

    queue_to(a, f->conn, &x.replaced);
    assert_int_equal(sx_keypair_new(SX_X25519, &dh), SIMPLEX_OK);
    x.queue = (struct sx_queue_addr){ .v = { SX_CLIENT_MIN, SX_CLIENT_MAX },
                                      .server = x.replaced.server,
                                      .snd_id = { .len = 24 },
                                      .dh = dh.pub,
                                      .mode = SX_MODE_MESSAGING };
    for (int k = 0; rc == SIMPLEX_OK && k < OFTEN; k++) {
        struct sx_wr w;
        sx_random(x.queue.snd_id.b, 24);
        sx_wr_init(&w, 8192);
        sx_qadd_encode(&w, &x);
        m.list = (struct sx_list){ 1, sx_wr_bytes(&w) };
        rc = sx_on_qadd(a, &c, &m);
        sx_wr_free(&w);
    }
    sx_keypair_wipe(&dh);
    return rc == SIMPLEX_OK ? sx_store_delivery_count(a->store, f->conn, &f->count) : rc;
}

static void answers_that_nobody_takes_are_not_written_without_end(void **state)
{
    static simplex_rc (*const floods[])(struct simplex_agent *, void *) = { ask_often, move_often };

    (void)state;
    for (size_t k = 0; k < SX_COUNT(floods); k++) {
        struct duo d;
        duo_open(&d, NULL);
        duo_connect(&d);
        talk(&d.i, d.ic, &d.j, d.jc, "all is well");
        forwarder_set(&d.fj, FORWARD_REFUSE);
        d.i.errors_ok = true;
        struct flood f = { .conn = d.ic };
        run(&d.i, floods[k], &f);
        assert_in_range(f.count, 1, OFTEN / 2);
        duo_close(&d);
    }
}

static simplex_rc miss_often(struct simplex_agent *a, void *arg)
{
    struct flood *f = arg;
    struct sx_rcv_queue q;
    struct sx_conn c;
    simplex_rc rc = sx_store_conn_get(a->store, f->conn, &c);
    int64_t ext_id = c.last_rcv_ext_id + 1;

    if (rc == SIMPLEX_OK)
        rc = sx_store_rcvq_of(a->store, f->conn, 0, &q);
    for (int k = 0; rc == SIMPLEX_OK && k < OFTEN; k++)
        rc = sx_came(a, &c, &q, ext_id += 2, false, 0);
    sx_wipe(&q, sizeof q);
    return rc == SIMPLEX_OK ? sx_store_event_count(a->store, f->conn, OFTEN, &f->count) : rc;
}

static void events_of_misses_do_not_fill_the_database(void **state)
{
    struct ring r;

    (void)state;
    ring_open(&r, 2, 2, 1, NULL);
    ring_connect(&r);
    talk(&r.j, r.jc, &r.i, r.ic, "all is well");
    struct flood f = { .conn = r.ic };
    run(&r.i, miss_often, &f);
    assert_in_range(f.count, 1, 100);
    ring_close(&r);
}

/* ---- policies ---- */

static void a_list_in_which_all_stand_in_for_a_role_moves_nothing(void **state)
{
    static const simplex_rotation policy = {
        .size = sizeof policy, .server_list = true, .spread = 1, .per_day = 864000000
    };
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    simplex_user_server list[2] = { { .size = sizeof list[0], .address = d.i_address },
                                    { .size = sizeof list[0], .address = d.j_address } };
    list[0].enabled = list[1].enabled = true;
    list[0].proxy = list[1].proxy = true;
    assert_int_equal(simplex_agent_set_servers(d.i.a, SIMPLEX_USER_DEFAULT, list, 2), SIMPLEX_OK);
    assert_int_equal(simplex_agent_set_rotation(d.i.a, SIMPLEX_USER_DEFAULT, &policy), SIMPLEX_OK);
    assert_true(quiet(&d.i, SIMPLEX_EV_SWITCH, 1500));
    duo_close(&d);
}

static simplex_rc lists_changed(struct simplex_agent *a, void *arg)
{
    (void)arg;
    sx_rotation_servers_changed(a);
    return SIMPLEX_OK;
}

static simplex_rc is_checking(struct simplex_agent *a, void *arg)
{
    *(bool *)arg = a->rotation.check;
    return SIMPLEX_OK;
}

static void the_lists_of_many_users_are_looked_at_without_being_woken(void **state)
{
    struct duo d;
    bool checking = true;

    (void)state;
    duo_open(&d, NULL);
    for (int k = 0; k < 30; k++)
        (void)other_user(&d.i);
    run(&d.i, lists_changed, NULL);
    for (int k = 0; k < 2000 && checking; k++) {
        (void)usleep(10000);
        assert_int_equal(sx_agent_run(d.i.a, is_checking, &checking, false), SIMPLEX_OK);
    }
    assert_false(checking);
    duo_close(&d);
}

/* ---- times without end ---- */

static void a_suspension_may_take_any_time(void **state)
{
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    forwarder_set(&d.fj, FORWARD_STALL);
    (void)send_text(&d.i, d.ic, "slowly");
    assert_int_equal(simplex_agent_suspend(d.i.a, INT64_MAX), SIMPLEX_OK);
    assert_true(quiet(&d.i, SIMPLEX_EV_SUSPENDED, 500));
    forwarder_set(&d.fj, FORWARD);
    expect(&d.i, SIMPLEX_EV_SENT, d.ic);
    expect(&d.i, SIMPLEX_EV_SUSPENDED, 0);
    assert_int_equal(simplex_agent_resume(d.i.a), SIMPLEX_OK);
    (void)receive_text(&d.j, d.jc, "slowly");
    duo_close(&d);
}

static void times_of_the_configuration_may_be_any(void **state)
{
    struct ring r;
    simplex_event *ev;

    (void)state;
    ring_open(&r, 2, 2, 1, NULL);
    r.i.cfg.hold_time = r.i.cfg.miss_time = r.i.cfg.spare_time = INT64_MAX;
    r.i.cfg.retry_first = r.i.cfg.retry_max = r.i.cfg.quota_retry_first = INT64_MAX;
    r.i.cfg.message_timeout = r.i.cfg.quota_timeout = INT64_MAX;
    agent_reopen(&r.i);
    ring_connect(&r);
    (void)send_text(&r.j, r.jc, "shown");
    (void)send_text(&r.j, r.jc, "held");
    assert_int_equal(simplex_agent_next_event(r.j.a, INT64_MAX, &ev), SIMPLEX_OK);
    simplex_event_free(ev);
    (void)usleep(300000);
    (void)receive_text(&r.i, r.ic, "shown");
    (void)receive_text(&r.i, r.ic, "held");
    ring_close(&r);
}

/* ---- several queues of which one moves ---- */

/* The old queue of a rotation was read to its end, after it became the first. */
static simplex_rc end_old(struct simplex_agent *a, void *arg)
{
    int64_t conn = *(int64_t *)arg;
    struct sx_rcv_queue first, old, q;
    simplex_rc rc = sx_store_rcvq_of(a->store, conn, 0, &first);

    if (rc == SIMPLEX_OK)
        rc = sx_store_rcvq_of(a->store, conn, 1, &old);
    if (rc == SIMPLEX_OK)
        rc = sx_new_rcv_queue_on(a, conn, &old.server, SX_CLIENT_MAX, old.id, &q);
    q.primary = first.primary = false;
    q.status = SX_Q_ACTIVE;
    old.primary = true;
    old.switch_state = SX_SW_RECEIVED;
    if (rc == SIMPLEX_OK)
        rc = sx_store_rcvq_update(a->store, &q);
    if (rc == SIMPLEX_OK)
        rc = sx_store_rcvq_update(a->store, &first);
    if (rc == SIMPLEX_OK)
        rc = sx_store_rcvq_update(a->store, &old);
    if (rc == SIMPLEX_OK)
        rc = sx_switch_deleted(a, &old, SIMPLEX_OK, NULL);
    if (rc == SIMPLEX_OK)
        rc = sx_store_rcvq_get(a->store, q.id, &q);
    assert_true(rc != SIMPLEX_OK || q.primary);
    sx_wipe(&first, sizeof first);
    sx_wipe(&old, sizeof old);
    sx_wipe(&q, sizeof q);
    return rc;
}

static void a_queue_inherits_the_first_place_of_the_one_it_replaces(void **state)
{
    struct ring r;

    (void)state;
    ring_open(&r, 2, 2, 1, NULL);
    ring_connect(&r);
    talk(&r.j, r.jc, &r.i, r.ic, "all is well");
    run(&r.i, end_old, &r.ic);
    ring_close(&r);
}

/* ---- fetching ---- */

static void a_fetch_that_is_cut_off_does_not_say_that_nothing_is_there(void **state)
{
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    d.i.cfg.fetch_only = true;
    agent_reopen(&d.i);
    (void)send_text(&d.j, d.jc, "unseen");
    expect(&d.j, SIMPLEX_EV_SENT, d.jc);
    forwarder_set(&d.fi, FORWARD_STALL);
    assert_int_equal(simplex_agent_fetch(d.i.a, &d.ic, 1), SIMPLEX_OK);
    assert_int_equal(simplex_agent_suspend(d.i.a, 300), SIMPLEX_OK);
    simplex_event *ev = wait_event(&d.i, SIMPLEX_EV_FETCHED, d.ic);
    assert_int_not_equal(simplex_event_error(ev), SIMPLEX_OK);
    simplex_event_free(ev);
    duo_close(&d);
}

/* As when the peer moved a queue that was still to be secured. */
static simplex_rc add_moot_commands(struct simplex_agent *a, void *conn)
{
    simplex_rc rc = sx_command_add(a, *(int64_t *)conn, SX_C_SKEY, 4711, sx_bytes(NULL, 0));

    if (rc == SIMPLEX_OK)
        rc = sx_command_add(a, *(int64_t *)conn, SX_C_KEY, 4711, sx_bytes(NULL, 0));
    return rc;
}

static void a_command_for_a_queue_that_is_gone_holds_up_nothing(void **state)
{
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    run(&d.i, add_moot_commands, &d.ic);
    assert_int_equal(simplex_agent_switch(d.i.a, d.ic, sx_bytes(NULL, 0)), SIMPLEX_OK);
    wait_moved(&d.i, d.ic);
    duo_close(&d);
}

static void a_user_may_go_while_its_messages_are_fetched(void **state)
{
    struct ring r;
    int64_t user, ic, jc;

    (void)state;
    ring_open(&r, 2, 2, 1, NULL);
    user = other_user(&r.i);
    connect_agents_as(&r.i, user, &r.j, &ic, &jc);
    talk(&r.j, jc, &r.i, ic, "all is well");
    r.i.cfg.fetch_only = true;
    agent_reopen(&r.i);
    (void)send_text(&r.j, jc, "fetched");
    expect(&r.j, SIMPLEX_EV_SENT, jc);
    expect_taken(&r.j, jc);
    forwarder_set(&r.fwd[1], FORWARD_STALL);
    assert_int_equal(simplex_agent_fetch(r.i.a, &ic, 1), SIMPLEX_OK);
    expect(&r.i, SIMPLEX_EV_MSG, ic);
    assert_int_equal(simplex_agent_delete_user(r.i.a, user, false), SIMPLEX_OK);
    expect(&r.i, SIMPLEX_EV_DEL_USER, 0);
    ring_close(&r);
}

/* ---- hostile servers ---- */

static simplex_rc answer_badly(struct simplex_agent *a, void *arg)
{
    int64_t conn = *(int64_t *)arg;
    uint8_t id[2][24];
    struct sx_rsp rsp = { .tag = SX_R_IDS };
    struct sx_command cmd = { .tag = SX_C_NEW, .conn_id = conn };
    struct sx_rcv_queue q;
    struct sx_keypair dh;
    struct sx_conn c;
    simplex_rc rc = sx_store_conn_get(a->store, conn, &c);

    sx_random(id, sizeof id);
    assert_int_equal(sx_keypair_new(SX_X25519, &dh), SIMPLEX_OK);
    rsp.ids.rcv_id = sx_bytes(id[0], 24);
    rsp.ids.snd_id = sx_bytes(id[1], 24);
    rsp.ids.srv_dh = dh.pub;
    rsp.ids.mode = SX_MODE_MESSAGING;
    rsp.ids.has_ntf = true; /* with an id that is none */
    rsp.ids.ntf_srv_dh = dh.pub;
    if (rc == SIMPLEX_OK)
        rc = sx_store_rcvq_of(a->store, conn, 0, &q);
    if (rc != SIMPLEX_OK)
        return rc;
    cmd.queue_id = q.id;
    sx_wipe(&q, sizeof q);
    rc = sx_new_answered(a, &c, &cmd, &rsp);
    assert_null(sx_rt_rcvq_by_id(a, cmd.queue_id));
    return rc;
}

static void a_queue_whose_making_failed_is_in_no_table(void **state)
{
    struct duo d;
    int64_t conn;

    (void)state;
    duo_open(&d, NULL);
    d.i.cfg.notifications = true;
    agent_reopen(&d.i);
    duo_ways(&d, FORWARD_REFUSE);
    assert_int_equal(simplex_agent_create(d.i.a, SIMPLEX_PQ_OFF, &conn), SIMPLEX_OK);
    assert_int_equal(sx_agent_run(d.i.a, answer_badly, &conn, true), SIMPLEX_E_RESPONSE);
    duo_close(&d);
}

/* ---- services ---- */

static struct sx_rt_server *server_named(struct simplex_agent *a, const char *address)
{
    struct sx_rt_server *s;
    struct sx_server server;
    simplex_bytes password;

    assert_int_equal(sx_server_parse(sx_str(address), &server, &password), SIMPLEX_OK);
    assert_int_equal(sx_rt_server_for(a, SIMPLEX_USER_DEFAULT, 0, &server, &s), SIMPLEX_OK);
    return s;
}

static simplex_rc lose_certificate(struct simplex_agent *a, void *arg)
{
    struct sx_rt_server *s = server_named(a, arg);
    simplex_rc rc = sx_svc_use(a, s);

    assert_true(rc != SIMPLEX_OK || s->service != NULL);
    sx_agent_store_failed(a, SIMPLEX_E_DB_FULL);
    return rc;
}

static simplex_rc is_on_disk(struct simplex_agent *a, void *arg)
{
    struct sx_rt_server *s = server_named(a, arg);
    struct sx_service_row r = { .user_id = s->user, .server = *sx_client_server(s->client) };

    return s->service == NULL ? SIMPLEX_OK : sx_store_service_get(a->store, &r);
}

static void a_certificate_that_was_not_written_is_not_shown(void **state)
{
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    d.i.cfg.client_service = true;
    agent_reopen(&d.i);
    d.i.errors_ok = true;
    assert_int_equal(sx_agent_run(d.i.a, lose_certificate, d.i_address, true), SIMPLEX_E_DB_FULL);
    assert_int_equal(sx_agent_run(d.i.a, is_on_disk, d.i_address, false), SIMPLEX_OK);
    duo_close(&d);
}

static simplex_rc become_service(struct simplex_agent *a, void *arg)
{
    (void)arg;
    a->recover_after = 1;
    simplex_rc rc = simplex_agent_set_user_service(a, SIMPLEX_USER_DEFAULT, true);
    if (rc == SIMPLEX_OK)
        sx_agent_store_failed(a, SIMPLEX_E_DB_FULL);
    return rc == SIMPLEX_OK ? a->failed_rc : rc;
}

/* E_NOT_FOUND: there is no session now. */
static simplex_rc is_plain(struct simplex_agent *a, void *arg)
{
    const struct sx_session *s = sx_client_session(server_named(a, arg)->client);

    if (s == NULL)
        return SIMPLEX_E_NOT_FOUND;
    return s->service.role == 0 ? SIMPLEX_OK : SIMPLEX_E_PROHIBITED;
}

static void a_service_that_was_not_written_down_is_none(void **state)
{
    struct duo d;
    simplex_rc rc = SIMPLEX_E_NOT_FOUND;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    d.i.errors_ok = true;
    assert_int_equal(sx_agent_run(d.i.a, become_service, NULL, false), SIMPLEX_E_DB_FULL);
    (void)usleep(300000);
    for (int k = 0; k < 2000 && rc == SIMPLEX_E_NOT_FOUND; k++) {
        (void)usleep(10000);
        rc = sx_agent_run(d.i.a, is_plain, d.i_address, false);
    }
    assert_int_equal(rc, SIMPLEX_OK);
    talk(&d.j, d.jc, &d.i, d.ic, "as before");
    duo_close(&d);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_queues_of_an_invitation_go_to_the_other_user),
        cmocka_unit_test(another_user_subscribes_nothing_that_was_not_subscribed),
        cmocka_unit_test(a_message_that_waits_for_its_acknowledgement_costs_no_traffic),
        cmocka_unit_test(answers_that_nobody_takes_are_not_written_without_end),
        cmocka_unit_test(events_of_misses_do_not_fill_the_database),
        cmocka_unit_test(a_list_in_which_all_stand_in_for_a_role_moves_nothing),
        cmocka_unit_test(the_lists_of_many_users_are_looked_at_without_being_woken),
        cmocka_unit_test(a_suspension_may_take_any_time),
        cmocka_unit_test(times_of_the_configuration_may_be_any),
        cmocka_unit_test(a_queue_inherits_the_first_place_of_the_one_it_replaces),
        cmocka_unit_test(a_fetch_that_is_cut_off_does_not_say_that_nothing_is_there),
        cmocka_unit_test(a_command_for_a_queue_that_is_gone_holds_up_nothing),
        cmocka_unit_test(a_user_may_go_while_its_messages_are_fetched),
        cmocka_unit_test(a_queue_whose_making_failed_is_in_no_table),
        cmocka_unit_test(a_certificate_that_was_not_written_is_not_shown),
        cmocka_unit_test(a_service_that_was_not_written_down_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
