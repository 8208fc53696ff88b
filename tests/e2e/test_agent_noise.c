/* SPDX-License-Identifier: Apache-2.0 */
/* Noise traffic with real servers: what it makes, what it leaves alone, and how it ends. */
#include <unistd.h>

#include "agent/event.h"
#include "agent/network.h"
#include "noise_stage.h"

/* The agent knows that its queues for noise are gone. */
static void wait_no_queue(struct test_agent *t)
{
    int64_t end = sx_mono_ms() + WAIT_MS;

    while (stats_of(t).queues != 0) {
        assert_true(sx_mono_ms() < end);
        (void)usleep(10000);
    }
}

static size_t connections(struct test_agent *t)
{
    int64_t ids[8];
    size_t n = SX_COUNT(ids);

    assert_int_equal(simplex_agent_connections(t->a, 0, ids, &n), SIMPLEX_OK);
    return n;
}

/* ---- settings ---- */

static void settings_are_checked(void **state)
{
    struct duo d;
    simplex_noise n = noise_of(SIMPLEX_NOISE_PING);

    (void)state;
    duo_open(&d, NULL);
    assert_int_equal(simplex_agent_set_noise(NULL, &n), SIMPLEX_E_ARG);
    n.budget = SX_NOISE_BUDGET_MIN - 1;
    assert_int_equal(simplex_agent_set_noise(d.i.a, &n), SIMPLEX_E_ARG);
    n.budget = -1;
    assert_int_equal(simplex_agent_set_noise(d.i.a, &n), SIMPLEX_E_ARG);
    n.budget = SX_NOISE_BUDGET_MIN;
    n.budget_metered = SX_NOISE_BUDGET_MAX + 1;
    assert_int_equal(simplex_agent_set_noise(d.i.a, &n), SIMPLEX_E_ARG);
    n.budget_metered = 0;
    n.kinds = 8;
    assert_int_equal(simplex_agent_set_noise(d.i.a, &n), SIMPLEX_E_ARG);
    n.kinds = 7;
    n.wait = SX_NOISE_WAIT_MAX + 1;
    assert_int_equal(simplex_agent_set_noise(d.i.a, &n), SIMPLEX_E_ARG);
    n.wait = -1;
    assert_int_equal(simplex_agent_set_noise(d.i.a, &n), SIMPLEX_E_ARG);
    n.wait = 0;
    n.size = 8;
    assert_int_equal(simplex_agent_set_noise(d.i.a, &n), SIMPLEX_E_ARG);
    n.size = sizeof n;
    assert_int_equal(simplex_agent_set_noise(d.i.a, &n), SIMPLEX_OK);
    assert_int_equal(simplex_agent_set_noise(d.i.a, NULL), SIMPLEX_OK);
    assert_int_equal(simplex_agent_noise_stats(d.i.a, NULL), SIMPLEX_E_ARG);
    simplex_noise_stats s = { .size = 8 };
    assert_int_equal(simplex_agent_noise_stats(d.i.a, &s), SIMPLEX_E_ARG);
    agent_close(&d.i);
    n.kinds = 8;
    d.i.cfg.noise = &n;
    assert_int_equal(simplex_agent_open(&d.i.cfg, &d.i.a), SIMPLEX_E_ARG);
    d.i.cfg.noise = NULL;
    duo_close(&d);
}

static void without_settings_there_is_none(void **state)
{
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    duo_talk(&d, "there and back");
    (void)usleep(300000);
    simplex_noise_stats s = stats_of(&d.i);
    assert_int_equal(s.total.bytes, 0);
    assert_int_equal(s.total.messages, 0);
    assert_int_equal(server_queues(&d.srv), 2);
    duo_close(&d);
}

/* ---- loops ---- */

static void loops_run_through_a_queue_that_nobody_sees(void **state)
{
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    duo_talk(&d, "there and back");
    set_noise(&d.i, SIMPLEX_NOISE_LOOP);
    wait_noise(&d.i, SIMPLEX_NOISE_LOOP, 8);
    assert_int_equal(server_queues(&d.srv), 3);
    assert_int_equal(connections(&d.i), 1);
    assert_true(quiet(&d.i, SIMPLEX_EV_MSG, 100));
    duo_talk(&d, "there and back");
    simplex_noise_stats s = stats_of(&d.i);
    assert_int_equal(s.queues, 1);
    assert_true(s.total.messages >= 1);
    assert_int_equal(s.hour.loops, s.total.loops);
    assert_int_equal(s.hour.bytes, s.total.bytes);
    /* NEW and SKEY are two of them. */
    assert_true(s.total.bytes >= (s.total.loops - 2) * SX_NOISE_COST_LOOP);
    set_noise(&d.i, 0);
    expect_server_queues(&d.srv, 2);
    duo_talk(&d, "there and back");
    duo_close(&d);
}

static void loops_are_read_to_the_last(void **state)
{
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    set_noise(&d.i, SIMPLEX_NOISE_LOOP);
    wait_noise(&d.i, SIMPLEX_NOISE_LOOP, 12);
    simplex_noise n = noise_of(SIMPLEX_NOISE_LOOP); /* as good as none, but the queue stays */
    n.budget = SX_NOISE_BUDGET_MIN;
    assert_int_equal(simplex_agent_set_noise(d.i.a, &n), SIMPLEX_OK);
    expect_server_empty(&d.srv);
    assert_int_equal(server_queues(&d.srv), 3);
    duo_close(&d);
}

static void loops_go_on_after_a_restart_with_the_same_queue(void **state)
{
    struct duo d;
    simplex_noise n = noise_of(SIMPLEX_NOISE_LOOP);

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    d.i.cfg.noise = &n;
    agent_reopen(&d.i);
    wait_noise(&d.i, SIMPLEX_NOISE_LOOP, 6);
    for (int round = 0; round < 3; round++) {
        agent_reopen(&d.i);
        wait_noise(&d.i, SIMPLEX_NOISE_LOOP, 4);
        assert_int_equal(server_queues(&d.srv), 3);
    }
    duo_talk(&d, "there and back");
    forwarder_drop(&d.fi);
    wait_noise(&d.i, SIMPLEX_NOISE_LOOP, 4);
    assert_int_equal(server_queues(&d.srv), 3);
    /* Without settings the queue is not left behind. */
    d.i.cfg.noise = NULL;
    agent_reopen(&d.i);
    expect_server_queues(&d.srv, 2);
    agent_reopen(&d.i); /* perhaps before the answer came */
    wait_no_queue(&d.i);
    duo_talk(&d, "there and back");
    duo_close(&d);
}

static void a_queue_is_deleted_when_its_server_is_there_again(void **state)
{
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    d.i.cfg.retry_first = 50;
    d.i.cfg.reconnect_first = 50;
    agent_reopen(&d.i);
    duo_connect(&d);
    set_noise(&d.i, SIMPLEX_NOISE_LOOP);
    wait_noise(&d.i, SIMPLEX_NOISE_LOOP, 4);
    duo_ways(&d, FORWARD_REFUSE);
    assert_int_equal(simplex_agent_set_noise(d.i.a, NULL), SIMPLEX_OK);
    (void)usleep(200000);
    assert_int_equal(stats_of(&d.i).queues, 1);
    assert_int_equal(server_queues(&d.srv), 3);
    duo_ways(&d, FORWARD);
    expect_server_queues(&d.srv, 2);
    duo_close(&d);
}

/* ---- PING ---- */

static void pings_need_no_queue(void **state)
{
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    set_noise(&d.j, SIMPLEX_NOISE_PING);
    wait_noise(&d.j, SIMPLEX_NOISE_PING, 10);
    simplex_noise_stats s = stats_of(&d.j);
    assert_int_equal(s.total.bytes, s.total.pings * SX_NOISE_COST_COMMAND);
    assert_int_equal(server_queues(&d.srv), 2);
    duo_talk(&d, "there and back");
    duo_close(&d);
}

/* ---- failures ---- */

struct fault {
    unsigned nth;
    bool disk, fired;
    void (*slot)(struct simplex_agent *a);
};

/* The nth allocation, or statement of the database, fails in a slot. */
static simplex_rc fail_in_slot(struct simplex_agent *a, void *arg)
{
    struct fault *f = arg;

    a->recover_after = 20;
    f->fired = true;
    if (a->failed || a->recover_at != 0 || a->noise == NULL)
        return SIMPLEX_OK;
    if (f->disk)
        sx_store_fault(a->store, f->nth, SIMPLEX_E_DB_FULL);
    else
        sx_fault_malloc(f->nth);
    f->slot(a);
    f->fired = f->disk ? sx_store_fault_disarm(a->store) : sx_fault_disarm();
    return SIMPLEX_OK;
}

static void fail_in_slots(struct test_agent *t, void (*slot)(struct simplex_agent *), bool disk)
{
    for (unsigned nth = 0; nth < 12; nth++) {
        struct fault f = { .nth = nth, .disk = disk, .slot = slot };
        assert_int_equal(sx_agent_run(t->a, fail_in_slot, &f, false), SIMPLEX_OK);
        (void)usleep(30000);
    }
}

static void noise_goes_on_after_memory_or_the_disk_failed(void **state)
{
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    d.j.cfg.reconnect_first = 20;
    d.j.cfg.retry_first = 50;
    agent_reopen(&d.j);
    duo_connect(&d);
    d.i.errors_ok = d.j.errors_ok = true; /* I gets the repeats, and may be who has no memory */
    for (int disk = 0; disk < 2; disk++) {
        set_noise(&d.j, 7);
        fail_in_slots(&d.j, sx_noise_loop, disk == 1);
        duo_talk(&d, "there and back");
        fail_in_slots(&d.j, sx_noise_repeat, disk == 1);
        fail_in_slots(&d.j, sx_noise_loop, disk == 1);
        wait_noise(&d.j, SIMPLEX_NOISE_LOOP, 4);
        duo_talk(&d, "there and back");
        set_noise(&d.j, 0);
        int64_t end = sx_mono_ms() + WAIT_MS;
        while (stats_of(&d.j).queues > 0) {
            assert_true(sx_mono_ms() < end);
            (void)usleep(10000);
        }
    }
    duo_talk(&d, "there and back");
    duo_close(&d);
}

/* The server has lost the queue of the loops: another one is made. */
static simplex_rc forget_ids(struct simplex_agent *a, void *arg)
{
    (void)arg;
    for (struct sx_noise_queue *q = a->noise->queues; q != NULL; q = q->next)
        memset(q->row.snd_id.b, 7, q->row.snd_id.len);
    return SIMPLEX_OK;
}

static void a_queue_that_the_server_does_not_know_is_replaced(void **state)
{
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    set_noise(&d.i, SIMPLEX_NOISE_LOOP);
    wait_noise(&d.i, SIMPLEX_NOISE_LOOP, 4);
    assert_int_equal(sx_agent_run(d.i.a, forget_ids, NULL, false), SIMPLEX_OK);
    expect_server_queues(&d.srv, 4);
    wait_noise(&d.i, SIMPLEX_NOISE_LOOP, 4);
    assert_int_equal(stats_of(&d.i).queues, 1);
    duo_talk(&d, "there and back");
    duo_close(&d);
}

/* ---- networks ---- */

static void set_network(struct test_agent *t, int32_t network)
{
    assert_int_equal(simplex_agent_set_network(t->a, network, network != SIMPLEX_NET_NONE),
                     SIMPLEX_OK);
}

/* What was under way comes to its end first. */
static void assert_no_noise(struct test_agent *t)
{
    int64_t before, bytes = stats_of(t).total.bytes, end = sx_mono_ms() + WAIT_MS;

    do {
        assert_true(sx_mono_ms() < end);
        before = bytes;
        (void)usleep(400000);
        bytes = stats_of(t).total.bytes;
    } while (bytes != before);
}

/* ---- whose they are ---- */

static void wait_loops(struct test_agent *t, int64_t n)
{
    int64_t end = sx_mono_ms() + WAIT_MS;

    while (stats_of(t).queues != n) {
        assert_true(sx_mono_ms() < end);
        (void)usleep(10000);
    }
}

static void users_and_connections_that_are_apart_have_loops_that_are(void **state)
{
    struct duo d;
    int64_t user, i, j;

    (void)state;
    duo_open(&d, NULL);
    d.i.cfg.isolation = SIMPLEX_ISOLATE_ENTITY;
    agent_reopen(&d.i);
    duo_connect(&d);
    assert_int_equal(simplex_agent_create_user(d.i.a, NULL, 0, &user), SIMPLEX_OK);
    connect_agents_as(&d.i, user, &d.j, &i, &j);
    set_noise(&d.i, SIMPLEX_NOISE_LOOP);
    expect_server_queues(&d.srv, 6);
    wait_noise(&d.i, SIMPLEX_NOISE_LOOP, 12);
    assert_int_equal(stats_of(&d.i).queues, 2);
    duo_talk(&d, "there and back");
    /* Whoever leaves a server leaves no queue of loops there. */
    assert_int_equal(simplex_agent_delete(d.i.a, i), SIMPLEX_OK);
    expect_server_queues(&d.srv, 4);
    wait_loops(&d.i, 1);
    set_noise(&d.i, 0);
    expect_server_queues(&d.srv, 3);
    duo_close(&d);
}

static void nothing_is_sent_while_the_network_is_off_or_metered(void **state)
{
    struct duo d;
    simplex_noise n = noise_of(7);

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    set_noise(&d.i, 7);
    wait_noise(&d.i, SIMPLEX_NOISE_LOOP, 4);
    set_network(&d.i, SIMPLEX_NET_CELLULAR);
    assert_no_noise(&d.i);
    assert_int_equal(server_queues(&d.srv), 3); /* it stays for the next network */
    set_network(&d.i, SIMPLEX_NET_WIFI);
    wait_noise(&d.i, SIMPLEX_NOISE_LOOP, 2);
    n.budget_metered = PLENTY;
    assert_int_equal(simplex_agent_set_noise(d.i.a, &n), SIMPLEX_OK);
    set_network(&d.i, SIMPLEX_NET_CELLULAR);
    wait_noise(&d.i, SIMPLEX_NOISE_LOOP, 2);
    set_network(&d.i, SIMPLEX_NET_NONE);
    (void)usleep(SX_OFFLINE_DEBOUNCE * 1000); /* so long after the last call it is believed */
    assert_no_noise(&d.i);
    set_network(&d.i, SIMPLEX_NET_WIFI);
    wait_noise(&d.i, SIMPLEX_NOISE_LOOP, 2);
    assert_int_equal(simplex_agent_suspend(d.i.a, 0), SIMPLEX_OK);
    assert_no_noise(&d.i);
    assert_int_equal(simplex_agent_resume(d.i.a), SIMPLEX_OK);
    wait_noise(&d.i, SIMPLEX_NOISE_LOOP, 2);
    duo_talk(&d, "there and back");
    duo_close(&d);
}

/* Where no queue is subscribed, one that is would be known for what it is. */
static void loops_are_not_made_where_connections_are_not_subscribed(void **state)
{
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    assert_int_equal(simplex_agent_only_create(d.i.a, true), SIMPLEX_OK);
    set_noise(&d.i, SIMPLEX_NOISE_LOOP | SIMPLEX_NOISE_PING);
    wait_noise(&d.i, SIMPLEX_NOISE_PING, 8);
    assert_int_equal(stats_of(&d.i).total.loops, 0);
    assert_int_equal(server_queues(&d.srv), 2);
    assert_int_equal(simplex_agent_only_create(d.i.a, false), SIMPLEX_OK);
    wait_noise(&d.i, SIMPLEX_NOISE_LOOP, 4);
    simplex_noise kept = noise_of(SIMPLEX_NOISE_LOOP | SIMPLEX_NOISE_PING);
    d.i.cfg.noise = &kept;
    d.i.cfg.fetch_only = true;
    agent_reopen(&d.i);
    assert_int_equal(simplex_agent_fetch(d.i.a, &d.ic, 1), SIMPLEX_OK); /* which makes a session */
    expect(&d.i, SIMPLEX_EV_FETCHED, d.ic);
    wait_noise(&d.i, SIMPLEX_NOISE_PING, 8);
    assert_int_equal(stats_of(&d.i).total.loops, 0);
    duo_close(&d);
}

/* NEW is answered when nobody waits for it any more: the queue that it made is deleted. */
static void a_queue_whose_answer_comes_too_late_is_not_left_behind(void **state)
{
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    d.i.cfg.command_timeout = 2000; /* nothing but the stall is to take so long */
    agent_reopen(&d.i);
    duo_connect(&d);
    duo_talk(&d, "there and back");
    forwarder_set(&d.fi, FORWARD_STALL);
    set_noise(&d.i, SIMPLEX_NOISE_LOOP);
    wait_noise(&d.i, SIMPLEX_NOISE_LOOP, 1);
    (void)usleep(2500000);
    forwarder_set(&d.fi, FORWARD);
    wait_noise(&d.i, SIMPLEX_NOISE_LOOP, 6);
    expect_server_queues(&d.srv, 3);
    duo_talk(&d, "there and back");
    duo_close(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settings_are_checked),
        cmocka_unit_test(without_settings_there_is_none),
        cmocka_unit_test(loops_run_through_a_queue_that_nobody_sees),
        cmocka_unit_test(loops_are_read_to_the_last),
        cmocka_unit_test(loops_go_on_after_a_restart_with_the_same_queue),
        cmocka_unit_test(a_queue_is_deleted_when_its_server_is_there_again),
        cmocka_unit_test(pings_need_no_queue),
        cmocka_unit_test(noise_goes_on_after_memory_or_the_disk_failed),
        cmocka_unit_test(a_queue_that_the_server_does_not_know_is_replaced),
        cmocka_unit_test(users_and_connections_that_are_apart_have_loops_that_are),
        cmocka_unit_test(nothing_is_sent_while_the_network_is_off_or_metered),
        cmocka_unit_test(a_queue_whose_answer_comes_too_late_is_not_left_behind),
        cmocka_unit_test(loops_are_not_made_where_connections_are_not_subscribed),
    };

    return cmocka_run_group_tests(tests, init, NULL);
}
