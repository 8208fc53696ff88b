/* SPDX-License-Identifier: Apache-2.0 */
/* The end of users of an agent, and what fails when users are made, changed and deleted. */
#include <unistd.h>

#include "support/full_disk.h"
#include "users_stage.h"

/* ---- the end of a user ---- */

static void a_deleted_user_leaves_nothing_on_its_servers(void **state)
{
    int64_t a, pa, b, pb, c, pc, ids[4];
    size_t n = 4;
    simplex_server_status s;
    simplex_user_info info = { .size = sizeof info };

    (void)state;
    connect_user(SIMPLEX_USER_DEFAULT, &a, &pa);
    connect_user(w.user, &b, &pb);
    connect_user(w.user, &c, &pc);
    assert_int_equal(simplex_agent_delete_user(w.t.a, w.user, true), SIMPLEX_OK);
    expect(&w.t, SIMPLEX_EV_DEL_CONN, b);
    expect(&w.t, SIMPLEX_EV_DEL_CONN, c);
    expect_user_deleted(w.user);
    expect_gone(&w.p, pb);
    expect_gone(&w.p, pc);
    assert_int_equal(simplex_agent_users(w.t.a, 0, ids, &n), SIMPLEX_OK);
    assert_int_equal(n, 1);
    assert_int_equal(simplex_agent_user(w.t.a, w.user, &info), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_create_as(w.t.a, w.user, SIMPLEX_PQ_OFF, &c),
                     SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_delete_user(w.t.a, w.user, true), SIMPLEX_E_NOT_FOUND);
    bool connected = true; /* if it is there at all, it is being closed */
    for (int ms = 0; ms < WAIT_MS && connected; ms += 10) {
        connected = session_of(w.user, w.to_two.port, &s) && s.connected;
        (void)usleep(connected ? 10000 : 0);
    }
    assert_false(connected);
    talk(&w.t, a, &w.p, pa, "the other one lives");
    int64_t next = make_user(w.two_address);
    assert_true(next > w.user); /* ids are not used again */
}

static void a_user_without_connections_goes_at_once(void **state)
{
    (void)state;
    assert_int_equal(simplex_agent_delete_user(w.t.a, w.user, true), SIMPLEX_OK);
    expect_user_deleted(w.user);
    int64_t user = make_user(w.two_address);
    assert_int_equal(simplex_agent_delete_user(w.t.a, user, false), SIMPLEX_OK);
    expect_user_deleted(user);
}

static void a_user_can_be_forgotten_without_its_servers(void **state)
{
    int64_t a, pa, b, pb;

    (void)state;
    connect_user(SIMPLEX_USER_DEFAULT, &a, &pa);
    connect_user(w.user, &b, &pb);
    send_text(&w.t, b, "on its way"); /* something is out when it happens */
    assert_int_equal(simplex_agent_delete_user(w.t.a, w.user, false), SIMPLEX_OK);
    expect_user_deleted(w.user);
    assert_int_equal(simplex_agent_delete(w.t.a, b), SIMPLEX_E_NOT_FOUND);
    send_text(&w.p, pb, "nobody reads this"); /* its queue is still there */
    expect(&w.p, SIMPLEX_EV_SENT, pb);
    talk(&w.p, pa, &w.t, a, "but this");
    agent_reopen(&w.t);
    talk(&w.p, pa, &w.t, a, "and this");
}

static void delete_while_a_server_is_away(bool active)
{
    int64_t b, pb;

    connect_user(w.user, &b, &pb);
    if (active)
        assert_int_equal(simplex_agent_activate_user(w.t.a, w.user), SIMPLEX_OK);
    forwarder_set(&w.to_two, FORWARD_REFUSE);
    expect(&w.t, SIMPLEX_EV_DOWN, 0);
    assert_int_equal(simplex_agent_delete_user(w.t.a, w.user, true), SIMPLEX_OK);
    assert_int_equal(simplex_agent_create_as(w.t.a, w.user, SIMPLEX_PQ_OFF, &b),
                     SIMPLEX_E_NOT_FOUND);
    assert_true(quiet(&w.t, SIMPLEX_EV_DEL_USER, 300));
    agent_reopen(&w.t); /* a restart does not forget it */
    assert_true(quiet(&w.t, SIMPLEX_EV_DEL_USER, 300));
    forwarder_set(&w.to_two, FORWARD);
    expect_user_deleted(w.user);
    expect_gone(&w.p, pb);
}

static void deleting_waits_for_a_server_that_is_away(void **state)
{
    (void)state;
    delete_while_a_server_is_away(false);
}

/* The default user becomes the active one in its place. */
static void deleting_the_active_user_waits_too(void **state)
{
    (void)state;
    delete_while_a_server_is_away(true);
    assert_true(info_of(SIMPLEX_USER_DEFAULT).active);
}

static void waiting_for_a_server_can_be_ended(void **state)
{
    int64_t b, pb;

    (void)state;
    connect_user(w.user, &b, &pb);
    forwarder_set(&w.to_two, FORWARD_REFUSE);
    expect(&w.t, SIMPLEX_EV_DOWN, 0);
    assert_int_equal(simplex_agent_delete_user(w.t.a, w.user, true), SIMPLEX_OK);
    assert_int_equal(simplex_agent_delete_user(w.t.a, w.user, true), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_delete_user(w.t.a, w.user, false), SIMPLEX_OK);
    expect_user_deleted(w.user);
    assert_int_equal(simplex_agent_delete_user(w.t.a, w.user, false), SIMPLEX_E_NOT_FOUND);
}

static void the_default_user_stays(void **state)
{
    (void)state;
    assert_int_equal(simplex_agent_activate_user(w.t.a, w.user), SIMPLEX_OK);
    assert_false(info_of(SIMPLEX_USER_DEFAULT).active);
    agent_reopen(&w.t);
    assert_true(info_of(w.user).active);
    assert_int_equal(simplex_agent_delete_user(w.t.a, SIMPLEX_USER_DEFAULT, true),
                     SIMPLEX_E_PROHIBITED);
    assert_int_equal(simplex_agent_delete_user(w.t.a, w.user, true), SIMPLEX_OK);
    expect_user_deleted(w.user);
    assert_true(info_of(SIMPLEX_USER_DEFAULT).active); /* somebody has to be */
}

/* ---- wrong calls, faults ---- */

static void wrong_calls_change_nothing(void **state)
{
    static simplex_user_server many[SX_USER_SERVERS_MAX + 1];
    simplex_user_server s = entry(w.one_address, 0), out = { .size = sizeof out };
    simplex_user_info i = { .size = 4 };
    int64_t id, ids[2];
    size_t n = 2;
    char text[600];
    simplex_agent *a = w.t.a;

    (void)state;
    for (size_t k = 0; k < SX_COUNT(many); k++)
        many[k] = s;
    assert_int_equal(simplex_agent_create_user(NULL, &s, 1, &id), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_create_user(a, &s, 1, NULL), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_create_user(a, NULL, 1, &id), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_create_user(a, many, SX_COUNT(many), &id), SIMPLEX_E_ARG);
    s.address = NULL;
    assert_int_equal(simplex_agent_create_user(a, &s, 1, &id), SIMPLEX_E_ARG);
    s.address = "smp://nonsense";
    assert_int_equal(simplex_agent_create_user(a, &s, 1, &id), SIMPLEX_E_ADDRESS);
    assert_int_equal(simplex_agent_set_servers(a, w.user, &s, 1), SIMPLEX_E_ADDRESS);
    s.size = 8;
    assert_int_equal(simplex_agent_set_servers(a, w.user, &s, 1), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_set_servers(NULL, w.user, NULL, 0), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_set_servers(a, 77, NULL, 0), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_delete_user(NULL, w.user, true), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_delete_user(a, 0, true), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_user(a, w.user, &i), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_user(a, w.user, NULL), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_users(NULL, 0, ids, &n), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_users(a, 0, NULL, &n), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_user_connections(a, 77, 0, ids, &n), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_user_connections(a, w.user, 0, NULL, &n), SIMPLEX_E_ARG);
    n = sizeof text;
    assert_int_equal(simplex_agent_user_server(a, w.user, 0, NULL, &n, &out), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_user_server(a, 77, 0, text, &n, &out), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_activate_user(a, 77), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_activate_user(NULL, 77), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_change_user(a, 12345, w.user), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_change_user(a, 12345, 77), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_create_as(a, 77, SIMPLEX_PQ_OFF, &id), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_create_address_as(a, 77, &id), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(info_of(w.user).servers_version, 1);
    n = 2;
    assert_int_equal(simplex_agent_users(a, 0, ids, &n), SIMPLEX_OK);
    assert_int_equal(n, 2);
}

/* All that changes users, once; OK or why not. */
static simplex_rc change_all(int64_t *user)
{
    simplex_user_server list[2] = { entry(w.one_address, 1), entry(w.two_address, 2) };
    simplex_rc rc = *user == 0 ? simplex_agent_create_user(w.t.a, list, 1, user) : SIMPLEX_OK;

    if (rc == SIMPLEX_OK)
        rc = simplex_agent_set_servers(w.t.a, *user, list, 2);
    if (rc == SIMPLEX_OK)
        rc = simplex_agent_activate_user(w.t.a, *user);
    if (rc == SIMPLEX_OK)
        rc = simplex_agent_activate_user(w.t.a, SIMPLEX_USER_DEFAULT);
    if (rc == SIMPLEX_OK)
        rc = simplex_agent_set_servers(w.t.a, *user, list, 1);
    return rc;
}

static void check_after_fault(int64_t user)
{
    int64_t ids[256], id;
    size_t n = SX_COUNT(ids);

    assert_int_equal(simplex_agent_users(w.t.a, 0, ids, &n), SIMPLEX_OK);
    for (size_t k = 0; k < n; k++)
        assert_int_equal(info_of(ids[k]).active, ids[k] == SIMPLEX_USER_DEFAULT);
    assert_int_equal(info_of(user).n_servers, 1);
    assert_int_equal(simplex_agent_create_as(w.t.a, user, SIMPLEX_PQ_OFF, &id), SIMPLEX_OK);
    expect(&w.t, SIMPLEX_EV_INV, id);
    assert_int_equal(simplex_agent_delete_user(w.t.a, user, true), SIMPLEX_OK);
    expect_user_deleted(user);
}

static void every_statement_may_fail(void **state)
{
    struct full_disk f = { .recover_after = 1, .fired = true };

    (void)state;
    w.t.errors_ok = true;
    for (f.nth = 0; f.fired; f.nth++) {
        int64_t user = 0;
        simplex_rc rc;
        full_disk_begin(&w.t, &f);
        rc = change_all(&user);
        full_disk_end(&w.t, &f);
        assert_true(rc == SIMPLEX_OK || f.fired);
        while (rc != SIMPLEX_OK) { /* the agent recovers, and the calls are repeated */
            assert_int_equal(rc, SIMPLEX_E_DB_FULL);
            rc = change_all(&user);
        }
        check_after_fault(user);
    }
}

/* A deletion is interrupted at every statement: it ends all the same. */
static void a_deletion_survives_every_failure(void **state)
{
    struct full_disk f = { .recover_after = 1, .fired = true };

    (void)state;
    w.t.errors_ok = w.p.errors_ok = true;
    for (f.nth = 0; f.fired; f.nth += 3) {
        int64_t user = make_user(w.two_address), b, pb;
        simplex_rc rc;
        connect_user(user, &b, &pb);
        full_disk_begin(&w.t, &f);
        rc = simplex_agent_delete_user(w.t.a, user, true);
        if (rc != SIMPLEX_OK) {
            assert_int_equal(rc, SIMPLEX_E_DB_FULL);
            while ((rc = simplex_agent_delete_user(w.t.a, user, true)) == SIMPLEX_E_DB_FULL)
                continue;
            assert_int_equal(rc, SIMPLEX_OK); /* the first call did nothing */
        }
        expect_user_deleted(user);
        full_disk_end(&w.t, &f);
        if (f.nth % 2 == 0)
            agent_reopen(&w.t);
    }
}

struct starved {
    unsigned nth;
    bool fired;
};

static simplex_rc under_failing_malloc(struct simplex_agent *a, void *arg)
{
    struct starved *x = arg;
    int64_t user;
    simplex_rc rc;

    a->recover_after = 1;
    sx_fault_malloc(x->nth);
    user = 0;
    rc = change_all(&user); /* runs at once: this is the agent's thread */
    if (rc == SIMPLEX_OK)
        rc = simplex_agent_delete_user(w.t.a, user, false);
    x->fired = sx_fault_disarm();
    return rc;
}

static void every_malloc_may_fail(void **state)
{
    struct starved x = { .fired = true };
    int64_t ids[4];

    (void)state;
    w.t.errors_ok = true;
    for (x.nth = 0; x.fired; x.nth++) {
        simplex_rc rc = sx_agent_run(w.t.a, under_failing_malloc, &x, false);
        if (rc != SIMPLEX_OK && !(x.fired && rc == SIMPLEX_E_NOMEM))
            fail_msg("at malloc %u: %s", x.nth, simplex_rc_name(rc));
        size_t n;
        do { /* a rolled back user is out of memory, too, when the agent has recovered */
            n = SX_COUNT(ids);
            assert_int_equal(simplex_agent_users(w.t.a, 0, ids, &n), SIMPLEX_OK);
        } while (n != 2);
    }
    assert_true(x.nth > 5);
    int64_t b, pb;
    connect_user(w.user, &b, &pb);
}

int main(int argc, char **argv)
{
#define WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WORLD(a_deleted_user_leaves_nothing_on_its_servers),
        WORLD(a_user_without_connections_goes_at_once),
        WORLD(a_user_can_be_forgotten_without_its_servers),
        WORLD(deleting_waits_for_a_server_that_is_away),
        WORLD(deleting_the_active_user_waits_too),
        WORLD(waiting_for_a_server_can_be_ended),
        WORLD(the_default_user_stays),
        WORLD(wrong_calls_change_nothing),
        WORLD(every_statement_may_fail),
        WORLD(a_deletion_survives_every_failure),
        WORLD(every_malloc_may_fail),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
