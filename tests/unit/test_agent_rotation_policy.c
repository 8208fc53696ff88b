/* SPDX-License-Identifier: Apache-2.0 */
/* When queues rotate: the times that are drawn, by an agent without thread and network. */
#include "lone_agent.h"

#include "agent/handshake.h"
#include "agent/rotation.h"
#include "agent/users.h"

#define CONNS 300
#define HOUR (3600 * 1000LL)
#define DAY (24 * HOUR)

static char dir[256];
static struct simplex_agent *a;
static int64_t conns[CONNS];

static int64_t add_conn(void)
{
    struct sx_conn c = { .role = SX_INITIATOR, .state = SX_CONN_READY, .last_rcv_ext_id = 100 };

    must(sx_store_conn_add(a->store, &c));
    return c.id;
}

/* What a connection needs to be rotated. */
static void add_queues(int64_t conn)
{
    struct sx_server server = a->servers.v[0].server;
    struct sx_queue_addr to = { .v = { SX_CLIENT_MAX, SX_CLIENT_MAX },
                                .server = server,
                                .snd_id = { .len = 24 },
                                .mode = SX_MODE_MESSAGING };
    struct sx_rcv_queue q;
    struct sx_snd_queue sq;
    struct sx_keypair dh;

    must(sx_keypair_new(SX_X25519, &dh));
    to.dh = dh.pub;
    must(sx_new_rcv_queue_on(a, conn, &server, SX_CLIENT_MAX, 0, &q));
    must(sx_new_snd_queue(a, conn, &to, SX_CLIENT_MAX, &sq));
}

static int setup(void **state)
{
    (void)state;
    a = lone_agent_open(dir);
    for (size_t n = 0; n < CONNS; n++)
        conns[n] = add_conn();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    lone_agent_close(a, dir);
    return 0;
}

static void set(const simplex_rotation *policy)
{
    a->thread = uv_thread_self(); /* calls run inline */
    a->thread_ready = true;
    must(simplex_agent_set_rotation(a, SIMPLEX_USER_DEFAULT, policy));
    a->thread_ready = false;
}

static struct sx_rotation row_of(int64_t conn)
{
    struct sx_rotation r;

    must(sx_store_rotation_get(a->store, conn, &r));
    return r;
}

static void turn(void)
{
    a->rotation.changed = true;
    for (int n = 0; n < 100 && a->rotation.changed; n++)
        sx_rotation_run(a);
}

static void the_first_times_are_all_over_the_interval(void **state)
{
    static const simplex_rotation weekly = { .size = sizeof weekly, .every = 7 * DAY };
    int64_t now = sx_now_ms();
    size_t in[7] = { 0 };

    (void)state;
    set(&weekly);
    for (size_t n = 0; n < CONNS; n++) {
        int64_t in_ms = row_of(conns[n]).due_at - now;
        assert_true(in_ms >= 0 && in_ms <= 7 * DAY + 60000);
        in[in_ms >= 7 * DAY ? 6 : in_ms / DAY]++;
    }
    for (size_t day = 0; day < 7; day++) /* 43 expected: less than 15 in one of 10^6 runs */
        assert_true(in[day] >= 15);
}

static void later_times_vary_by_the_jitter(void **state)
{
    struct sx_rotation_policy p = { .every = 10 * DAY, .jitter = 10, .messages = 1000 };
    struct sx_conn c = { .last_rcv_ext_id = INT64_MAX, .received = 5 }; /* numbers may be any */
    int64_t least = INT64_MAX, most = 0;

    (void)state;
    for (int n = 0; n < 500; n++) {
        struct sx_rotation r = { .conn_id = 1 };
        int64_t now = sx_now_ms();
        sx_rotation_draw(&r, &p, &c, false);
        int64_t t = r.due_at - now;
        assert_true(t >= 9 * DAY && t <= 11 * DAY + 60000);
        assert_true(r.count_at >= 6 + 900 && r.count_at <= 6 + 1100);
        least = t < least ? t : least;
        most = t > most ? t : most;
    }
    assert_true(most - least > DAY); /* of two days */
}

static void what_waits_for_its_turn_is_spread(void **state)
{
    static const simplex_rotation policy = { .size = sizeof policy, .every = 1, .per_day = 24 };
    int64_t now = sx_now_ms(), last = 0;
    struct sx_user_rotation u;

    (void)state;
    for (size_t n = 0; n < CONNS; n++)
        add_queues(conns[n]);
    set(&policy);
    for (int n = 0; n < 20; n++)
        turn();
    must(sx_store_user_rotation_get(a->store, SX_USER_DEFAULT, &u));
    assert_true(u.next_at >= now + HOUR / 2 && u.next_at <= now + 2 * HOUR);
    size_t later = 0;
    for (size_t n = 0; n < CONNS; n++) {
        struct sx_rotation r = row_of(conns[n]);
        later += r.due_at >= u.next_at;
        last = r.due_at > last ? r.due_at : last;
    }
    assert_true(later >= CONNS - 1); /* one had its turn */
    assert_true(last > now + 100 * HOUR);
}

/* With per_day starts behind one another, each after the shortest pause, a day has passed. */
static void the_budget_is_never_exceeded(void **state)
{
    static const simplex_rotation policy = { .size = sizeof policy, .every = 1, .per_day = 7 };
    struct sx_user_rotation u;

    (void)state;
    for (size_t n = 0; n < CONNS; n++)
        add_queues(conns[n]);
    set(&policy);
    for (int n = 0; n < 100; n++) {
        int64_t now = sx_now_ms();
        struct sx_rotation r = row_of(conns[n]);
        r.due_at = 0;
        must(sx_store_rotation_put(a->store, &r));
        turn();
        assert_true(row_of(conns[n]).running);
        must(sx_store_user_rotation_get(a->store, SX_USER_DEFAULT, &u));
        assert_true(7 * (u.next_at - now) >= DAY);
        assert_true(7 * (u.next_at - now) <= 2 * DAY);
        u.next_at = 0;
        must(sx_store_user_rotation_put(a->store, &u));
    }
}

/* A rotation of which nothing is left cannot end any more, and must not be the last one. */
static void what_is_not_running_any_more_has_failed(void **state)
{
    static const simplex_rotation weekly = { .size = sizeof weekly, .every = 7 * DAY };

    (void)state;
    set(&weekly);
    struct sx_rotation r = row_of(conns[0]);
    r.running = true;
    r.due_at = 0;
    must(sx_store_rotation_put(a->store, &r));
    turn();
    assert_false(row_of(conns[0]).running);
    assert_int_equal(row_of(conns[0]).counts.failed, 1);
}

/* The budget is for those that can. */
static void what_cannot_start_takes_no_turn(void **state)
{
    static const simplex_rotation policy = { .size = sizeof policy, .every = 1, .per_day = 24 };
    struct sx_user_rotation u;

    (void)state;
    add_queues(conns[CONNS - 1]);
    set(&policy);
    for (int n = 0; n < 20; n++)
        turn();
    must(sx_store_user_rotation_get(a->store, SX_USER_DEFAULT, &u));
    assert_true(u.next_at > sx_now_ms());
    assert_int_equal(row_of(conns[CONNS - 1]).counts.started, 1);
    assert_int_equal(row_of(conns[0]).counts.started, 0);
    assert_true(row_of(conns[0]).due_at > sx_now_ms()); /* tried again later */
}

/* One that is being added, removed or replaces another is left alone; an idle one has its turn. */
static void a_queue_that_comes_or_goes_is_not_moved(void **state)
{
    static const uint8_t busy[] = { SX_SW_ADD_NEW, SX_SW_ADD_ASK, SX_SW_ADD_QADD, SX_SW_ADD_QUSE,
                                    SX_SW_REMOVE };
    struct sx_server server = a->servers.v[0].server;
    struct sx_rcv_queue q, idle;
    struct sx_conn c;
    int64_t queue;
    bool listed;

    (void)state;
    must(sx_store_conn_get(a->store, conns[0], &c));
    must(sx_new_rcv_queue_on(a, c.id, &server, SX_CLIENT_MAX, 0, &q));
    for (size_t n = 0; n < SX_COUNT(busy); n++) {
        q.switch_state = busy[n];
        must(sx_store_rcvq_update(a->store, &q));
        must(sx_rotation_queue(a, &c, &queue, &listed));
        assert_int_equal(queue, 0);
    }
    must(sx_new_rcv_queue_on(a, c.id, &server, SX_CLIENT_MAX, 0, &idle));
    must(sx_rotation_queue(a, &c, &queue, &listed));
    assert_int_equal(queue, idle.id);
}

static void a_failure_waits_longer_each_time(void **state)
{
    static const simplex_rotation weekly = { .size = sizeof weekly, .every = 7 * DAY };
    int64_t expected = HOUR;

    (void)state;
    set(&weekly);
    for (int n = 1; n <= 12; n++) {
        struct sx_rotation r = row_of(conns[0]);
        r.running = true;
        must(sx_store_rotation_put(a->store, &r));
        int64_t now = sx_now_ms();
        must(sx_rotation_ended(a, conns[0], false, SIMPLEX_E_SERVER));
        r = row_of(conns[0]);
        assert_false(r.running);
        assert_int_equal(r.attempts, n);
        assert_true(r.due_at - now >= expected / 2 && r.due_at - now <= expected * 3 / 2 + 60000);
        expected = expected * 2 < 7 * DAY ? expected * 2 : 7 * DAY;
    }
    assert_int_equal(row_of(conns[0]).counts.failed, 12);
    struct sx_rotation r = row_of(conns[0]);
    r.running = true;
    must(sx_store_rotation_put(a->store, &r));
    must(sx_rotation_ended(a, conns[0], true, SIMPLEX_OK));
    assert_int_equal(row_of(conns[0]).attempts, 0);
    assert_int_equal(row_of(conns[0]).counts.completed, 1);
}

/* A pause that ends in three weeks is of a clock that was wrong. */
static void a_clock_that_was_set_back_does_not_stop_rotation(void **state)
{
    static const simplex_rotation policy = { .size = sizeof policy, .every = 1, .per_day = 24 };
    struct sx_user_rotation u;
    int64_t now = sx_now_ms();

    (void)state;
    add_queues(conns[0]);
    set(&policy);
    must(sx_store_user_rotation_get(a->store, SX_USER_DEFAULT, &u));
    u.next_at = now + 21 * DAY;
    must(sx_store_user_rotation_put(a->store, &u));
    turn();
    must(sx_store_user_rotation_get(a->store, SX_USER_DEFAULT, &u));
    assert_true(u.next_at < now + DAY);
}

/* As if all of it had been planned by a clock that was a year ahead. */
static void plan_ahead(struct sx_rotation *r)
{
    r->planned_at += 365 * DAY;
    r->due_at += 365 * DAY;
    must(sx_store_rotation_put(a->store, r));
}

static void what_was_planned_before_the_clock_was_set_back_is_no_further_away(void **state)
{
    static const simplex_rotation weekly = { .size = sizeof weekly, .every = 7 * DAY };
    struct sx_rotation before[CONNS], r;

    (void)state;
    add_queues(conns[0]);
    set(&weekly);
    turn();
    for (size_t n = 0; n < CONNS; n++) {
        before[n] = row_of(conns[n]);
        before[n].running = n == 1; /* its peer is waited for */
        before[n].due_at = before[n].planned_at + (int64_t)n * HOUR / 2 + HOUR;
        r = before[n];
        plan_ahead(&r);
    }
    int64_t since = sx_now_ms();
    turn();
    for (size_t n = 0; n < CONNS; n++) {
        r = row_of(conns[n]);
        assert_true(r.planned_at >= since && r.planned_at <= sx_now_ms());
        assert_int_equal(r.due_at - r.planned_at, before[n].due_at - before[n].planned_at);
        assert_int_equal(r.running, before[n].running);
        before[n] = r;
    }
    turn(); /* no clock went back: nothing is planned again */
    for (size_t n = 0; n < CONNS; n++)
        assert_int_equal(row_of(conns[n]).planned_at, before[n].planned_at);
}

static void what_is_never_due_stays_so(void **state)
{
    static const simplex_rotation none = { .size = sizeof none, .messages = 10 };

    (void)state;
    set(&none);
    turn();
    for (size_t n = 0; n < CONNS; n++) {
        assert_int_equal(row_of(conns[n]).due_at, SX_ROTATION_NEVER);
        assert_int_equal(row_of(conns[n]).planned_at, 0); /* by no clock */
    }
}

static void values_that_we_never_wrote_are_damage(void **state)
{
    static const char *const wrong[] = {
        "UPDATE rotations SET every = -1",      "UPDATE rotations SET jitter = 101",
        "UPDATE rotations SET messages = -1",   "UPDATE rotations SET spread = -5",
        "UPDATE rotations SET server_list = 2", "UPDATE rotations SET per_day = -1",
        "UPDATE rotations SET own = 7",         "UPDATE rotations SET attempts = -1",
        "UPDATE rotations SET started = -1",    "UPDATE rotations SET every = 9223372036854775807",
        "UPDATE rotations SET due_at = -1",     "UPDATE rotations SET planned_at = -1",
    };
    static const simplex_rotation weekly = { .size = sizeof weekly, .every = 7 * DAY };

    (void)state;
    for (size_t n = 0; n < SX_COUNT(wrong); n++) {
        struct sx_rotation r;
        set(&weekly);
        must(sx_store_begin(a->store));
        must(sx_store_exec(a->store, wrong[n]));
        assert_int_equal(sx_store_rotation_get(a->store, conns[0], &r), SIMPLEX_E_DB_DAMAGED);
        sx_store_rollback(a->store);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_first_times_are_all_over_the_interval, setup, teardown),
        cmocka_unit_test_setup_teardown(later_times_vary_by_the_jitter, setup, teardown),
        cmocka_unit_test_setup_teardown(what_waits_for_its_turn_is_spread, setup, teardown),
        cmocka_unit_test_setup_teardown(the_budget_is_never_exceeded, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_not_running_any_more_has_failed, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_start_takes_no_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(a_queue_that_comes_or_goes_is_not_moved, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failure_waits_longer_each_time, setup, teardown),
        cmocka_unit_test_setup_teardown(a_clock_that_was_set_back_does_not_stop_rotation, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            what_was_planned_before_the_clock_was_set_back_is_no_further_away, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_never_due_stays_so, setup, teardown),
        cmocka_unit_test_setup_teardown(values_that_we_never_wrote_are_damage, setup, teardown),
    };

    return cmocka_run_group_tests_name("agent_rotation_policy", tests, NULL, NULL);
}
