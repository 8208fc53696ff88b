/* SPDX-License-Identifier: Apache-2.0 */
/* Noise traffic with real servers: what it makes, what it leaves alone, and how it ends. */
#include <stdio.h>
#include <unistd.h>

#include "agent/noise.h"
#include "support/agents.h"

#define PLENTY (INT64_C(1) << 33) /* bytes an hour: some noise every 100 ms */

static simplex_noise noise_of(uint32_t kinds)
{
    return (simplex_noise){ .size = sizeof(simplex_noise), .budget = PLENTY, .kinds = kinds };
}

static void set_noise(struct test_agent *t, uint32_t kinds)
{
    simplex_noise n = noise_of(kinds);

    assert_int_equal(simplex_agent_set_noise(t->a, &n), SIMPLEX_OK);
}

static simplex_noise_stats stats_of(struct test_agent *t)
{
    simplex_noise_stats s = { .size = sizeof s };

    assert_int_equal(simplex_agent_noise_stats(t->a, &s), SIMPLEX_OK);
    return s;
}

static int64_t field(const simplex_noise_stats *s, uint32_t kind)
{
    return kind == SIMPLEX_NOISE_PING   ? s->total.pings
           : kind == SIMPLEX_NOISE_LOOP ? s->total.loops
                                        : s->total.repeats;
}

/* Until so many more were sent; nothing of it is an event. */
static void wait_noise(struct test_agent *t, uint32_t kind, int64_t more)
{
    simplex_noise_stats s = stats_of(t);
    int64_t want = field(&s, kind) + more, end = sx_mono_ms() + WAIT_MS;

    while (field(&s, kind) < want) {
        assert_true(sx_mono_ms() < end);
        (void)usleep(10000);
        s = stats_of(t);
    }
}

static uint64_t server_queues(struct test_server *s)
{
    simplex_server_counters c = { .size = sizeof c };

    assert_int_equal(simplex_server_count(s->s, &c), SIMPLEX_OK);
    return c.queues;
}

static void wait_queues(struct test_server *s, uint64_t n)
{
    int64_t end = sx_mono_ms() + WAIT_MS;

    while (server_queues(s) != n) {
        assert_true(sx_mono_ms() < end);
        (void)usleep(10000);
    }
}

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

static void talk_both_ways(struct duo *d)
{
    talk(&d->i, d->ic, &d->j, d->jc, "there");
    talk(&d->j, d->jc, &d->i, d->ic, "and back");
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
    talk_both_ways(&d);
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
    talk_both_ways(&d);
    set_noise(&d.i, SIMPLEX_NOISE_LOOP);
    wait_noise(&d.i, SIMPLEX_NOISE_LOOP, 8);
    assert_int_equal(server_queues(&d.srv), 3);
    assert_int_equal(connections(&d.i), 1);
    assert_true(quiet(&d.i, SIMPLEX_EV_MSG, 100));
    talk_both_ways(&d);
    simplex_noise_stats s = stats_of(&d.i);
    assert_int_equal(s.queues, 1);
    assert_true(s.total.messages >= 1);
    assert_int_equal(s.hour.loops, s.total.loops);
    assert_int_equal(s.hour.bytes, s.total.bytes);
    /* NEW and SKEY are two of them. */
    assert_true(s.total.bytes >= (s.total.loops - 2) * SX_NOISE_COST_LOOP);
    set_noise(&d.i, 0);
    wait_queues(&d.srv, 2);
    talk_both_ways(&d);
    duo_close(&d);
}

static void loops_are_read_to_the_last(void **state)
{
    struct duo d;
    simplex_server_counters c = { .size = sizeof c };
    int64_t end;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    set_noise(&d.i, SIMPLEX_NOISE_LOOP);
    wait_noise(&d.i, SIMPLEX_NOISE_LOOP, 12);
    simplex_noise n = noise_of(SIMPLEX_NOISE_LOOP); /* as good as none, but the queue stays */
    n.budget = SX_NOISE_BUDGET_MIN;
    assert_int_equal(simplex_agent_set_noise(d.i.a, &n), SIMPLEX_OK);
    end = sx_mono_ms() + WAIT_MS;
    do {
        assert_true(sx_mono_ms() < end);
        (void)usleep(10000);
        assert_int_equal(simplex_server_count(d.srv.s, &c), SIMPLEX_OK);
    } while (c.messages > 0);
    assert_int_equal(c.queues, 3);
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
    talk_both_ways(&d);
    forwarder_drop(&d.fi);
    wait_noise(&d.i, SIMPLEX_NOISE_LOOP, 4);
    assert_int_equal(server_queues(&d.srv), 3);
    /* Without settings the queue is not left behind. */
    d.i.cfg.noise = NULL;
    agent_reopen(&d.i);
    wait_queues(&d.srv, 2);
    agent_reopen(&d.i); /* perhaps before the answer came */
    wait_no_queue(&d.i);
    talk_both_ways(&d);
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
    forwarder_set(&d.fi, FORWARD_REFUSE);
    forwarder_set(&d.fj, FORWARD_REFUSE);
    assert_int_equal(simplex_agent_set_noise(d.i.a, NULL), SIMPLEX_OK);
    (void)usleep(200000);
    assert_int_equal(stats_of(&d.i).queues, 1);
    assert_int_equal(server_queues(&d.srv), 3);
    forwarder_set(&d.fi, FORWARD);
    forwarder_set(&d.fj, FORWARD);
    wait_queues(&d.srv, 2);
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
    talk_both_ways(&d);
    duo_close(&d);
}

/* ---- repeats ---- */

static int64_t last_id(struct test_agent *t, int64_t conn)
{
    simplex_connection_info info = { .size = sizeof info };

    assert_int_equal(simplex_agent_connection(t->a, conn, &info), SIMPLEX_OK);
    return info.last_msg_id;
}

/* J repeats, I is silent about it: no event, no number, and nothing stays on the server. */
static void repeats_pass_unseen(struct duo *d, int64_t how_many)
{
    simplex_server_counters c = { .size = sizeof c };
    int64_t id, end;

    talk_both_ways(d);
    id = last_id(&d->i, d->ic);
    set_noise(&d->j, SIMPLEX_NOISE_REPEAT);
    talk(&d->j, d->jc, &d->i, d->ic, "to be repeated");
    wait_noise(&d->j, SIMPLEX_NOISE_REPEAT, how_many);
    set_noise(&d->j, 0);
    end = sx_mono_ms() + WAIT_MS;
    do {
        assert_true(sx_mono_ms() < end);
        (void)usleep(10000);
        assert_int_equal(simplex_server_count(d->srv.s, &c), SIMPLEX_OK);
    } while (c.messages > 0);
    assert_true(quiet(&d->i, SIMPLEX_EV_MSG, 100));
    assert_true(quiet(&d->i, SIMPLEX_EV_RSYNC, 1));
    assert_int_equal(last_id(&d->i, d->ic), id + 1);
    talk_both_ways(d);
}

static void a_contact_drops_repeats_without_a_word(void **state)
{
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    repeats_pass_unseen(&d, 10);
    agent_reopen(&d.i);
    repeats_pass_unseen(&d, 5);
    agent_reopen(&d.j);
    repeats_pass_unseen(&d, 5);
    duo_close(&d);
}

static void repeats_that_come_after_a_restart_are_known(void **state)
{
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    set_noise(&d.j, SIMPLEX_NOISE_REPEAT);
    talk(&d.j, d.jc, &d.i, d.ic, "once");
    talk_both_ways(&d); /* the ratchet has moved on in both directions */
    agent_close(&d.i);
    wait_noise(&d.j, SIMPLEX_NOISE_REPEAT, 6);
    set_noise(&d.j, 0);
    agent_reopen(&d.i);
    assert_true(quiet(&d.i, SIMPLEX_EV_MSG, 300));
    talk_both_ways(&d);
    duo_close(&d);
}

static void who_is_not_heard_gets_no_more_of_them(void **state)
{
    struct duo d;
    simplex_noise_stats s;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    set_noise(&d.j, SIMPLEX_NOISE_REPEAT);
    talk(&d.j, d.jc, &d.i, d.ic, "once");
    talk(&d.i, d.ic, &d.j, d.jc, "heard");
    int64_t begin = stats_of(&d.j).total.repeats;
    wait_noise(&d.j, SIMPLEX_NOISE_REPEAT, SX_NOISE_UNANSWERED_MAX / 2);
    do {
        s = stats_of(&d.j);
        (void)usleep(1000000);
    } while (stats_of(&d.j).total.repeats != s.total.repeats);
    assert_in_range(s.total.repeats - begin, SX_NOISE_UNANSWERED_MAX / 2, SX_NOISE_UNANSWERED_MAX);
    talk(&d.i, d.ic, &d.j, d.jc, "here");
    wait_noise(&d.j, SIMPLEX_NOISE_REPEAT, 1);
    duo_close(&d);
}

static void wait_sync(struct test_agent *t, int64_t conn)
{
    int32_t sync;

    do {
        simplex_event *ev = wait_event(t, SIMPLEX_EV_RSYNC, conn);
        sync = simplex_event_sync_state(ev);
        simplex_event_free(ev);
    } while (sync != SIMPLEX_SYNC_OK);
}

static void wait_switched(struct test_agent *t, int64_t conn)
{
    int32_t phase;

    do {
        simplex_event *ev = wait_event(t, SIMPLEX_EV_SWITCH, conn);
        phase = simplex_event_switch(ev, NULL);
        simplex_event_free(ev);
    } while (phase != SIMPLEX_SWITCH_COMPLETED);
}

static void repeats_after_a_rotation_and_a_new_ratchet_are_known(void **state)
{
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    repeats_pass_unseen(&d, 2);
    assert_int_equal(simplex_agent_switch(d.i.a, d.ic, sx_bytes(NULL, 0)), SIMPLEX_OK);
    wait_switched(&d.i, d.ic);
    repeats_pass_unseen(&d, 4);
    set_noise(&d.j, SIMPLEX_NOISE_REPEAT);
    talk(&d.j, d.jc, &d.i, d.ic, "before the new ratchet");
    agent_close(&d.i); /* repeats wait for it, the keys for the new ratchet behind them */
    wait_noise(&d.j, SIMPLEX_NOISE_REPEAT, 3);
    assert_int_equal(simplex_agent_sync_ratchet(d.j.a, d.jc, true), SIMPLEX_OK);
    agent_reopen(&d.i);
    wait_sync(&d.j, d.jc);
    wait_sync(&d.i, d.ic);
    set_noise(&d.j, 0);
    talk_both_ways(&d);
    repeats_pass_unseen(&d, 4); /* among them of the old ratchet's message */
    duo_close(&d);
}

static void all_kinds_on_both_sides_disturb_nothing(void **state)
{
    struct duo d;
    char text[32];

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    set_noise(&d.i, 7);
    set_noise(&d.j, 7);
    for (int n = 0; n < 40; n++) {
        (void)snprintf(text, sizeof text, "message %d", n);
        if (n % 3 == 0)
            talk(&d.i, d.ic, &d.j, d.jc, text);
        else
            talk(&d.j, d.jc, &d.i, d.ic, text);
        (void)usleep(20000);
    }
    wait_noise(&d.i, SIMPLEX_NOISE_REPEAT, 1);
    assert_true(stats_of(&d.j).total.messages >= 26);
    assert_true(stats_of(&d.j).total.replaced > 0);
    set_noise(&d.i, 0);
    set_noise(&d.j, 0);
    wait_queues(&d.srv, 2);
    talk_both_ways(&d);
    duo_close(&d);
}

/* ---- messages that wait for a slot ---- */

static void messages_leave_in_the_slots_of_noise(void **state)
{
    struct duo d;
    simplex_noise n = noise_of(SIMPLEX_NOISE_PING);

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    n.wait = 600000;
    n.budget = PLENTY / 4;
    assert_int_equal(simplex_agent_set_noise(d.j.a, &n), SIMPLEX_OK);
    for (int i = 0; i < 5; i++)
        talk(&d.j, d.jc, &d.i, d.ic, "waits");
    simplex_noise_stats s = stats_of(&d.j);
    assert_int_equal(s.total.messages, 5);
    assert_int_equal(s.total.replaced, 5);
    /* Slots are hours apart now: it waits as long as it may, and then no longer. */
    n.budget = SX_NOISE_BUDGET_MIN;
    n.wait = 1500;
    assert_int_equal(simplex_agent_set_noise(d.j.a, &n), SIMPLEX_OK);
    int64_t begin = sx_mono_ms();
    send_text(&d.j, d.jc, "one");
    send_text(&d.j, d.jc, "two");
    receive_text(&d.i, d.ic, "one");
    assert_true(sx_mono_ms() - begin >= 1400);
    receive_text(&d.i, d.ic, "two"); /* has waited as long by then */
    assert_true(sx_mono_ms() - begin < 10000);
    expect(&d.j, SIMPLEX_EV_SENT, d.jc);
    expect(&d.j, SIMPLEX_EV_SENT, d.jc);
    /* Other settings let go what waits. */
    n.wait = 600000;
    assert_int_equal(simplex_agent_set_noise(d.j.a, &n), SIMPLEX_OK);
    send_text(&d.j, d.jc, "three");
    assert_true(quiet(&d.j, SIMPLEX_EV_SENT, 300));
    assert_int_equal(simplex_agent_set_noise(d.j.a, NULL), SIMPLEX_OK);
    receive_text(&d.i, d.ic, "three");
    expect(&d.j, SIMPLEX_EV_SENT, d.jc);
    /* And so does a restart: they are not settings that stay. */
    assert_int_equal(simplex_agent_set_noise(d.j.a, &n), SIMPLEX_OK);
    send_text(&d.j, d.jc, "four");
    agent_reopen(&d.j);
    receive_text(&d.i, d.ic, "four");
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
    d.j.errors_ok = true;
    for (int disk = 0; disk < 2; disk++) {
        set_noise(&d.j, 7);
        fail_in_slots(&d.j, sx_noise_loop, disk == 1);
        talk_both_ways(&d);
        fail_in_slots(&d.j, sx_noise_repeat, disk == 1);
        fail_in_slots(&d.j, sx_noise_loop, disk == 1);
        wait_noise(&d.j, SIMPLEX_NOISE_LOOP, 4);
        talk_both_ways(&d);
        set_noise(&d.j, 0);
        int64_t end = sx_mono_ms() + WAIT_MS;
        while (stats_of(&d.j).queues > 0) {
            assert_true(sx_mono_ms() < end);
            (void)usleep(10000);
        }
    }
    talk_both_ways(&d);
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
    wait_queues(&d.srv, 4);
    wait_noise(&d.i, SIMPLEX_NOISE_LOOP, 4);
    assert_int_equal(stats_of(&d.i).queues, 1);
    talk_both_ways(&d);
    duo_close(&d);
}

/* ---- networks ---- */

static void set_network(struct test_agent *t, int32_t network)
{
    assert_int_equal(simplex_agent_set_network(t->a, network, network != SIMPLEX_NET_NONE),
                     SIMPLEX_OK);
}

static void assert_no_noise(struct test_agent *t)
{
    simplex_noise_stats before = stats_of(t), after;

    (void)usleep(400000);
    after = stats_of(t);
    assert_int_equal(before.total.bytes, after.total.bytes);
}

/* ---- whose they are ---- */

static void connect_agents_as(struct duo *d, int64_t user, int64_t *i, int64_t *j)
{
    simplex_event *ev;

    assert_int_equal(simplex_agent_create_as(d->i.a, user, SIMPLEX_PQ_OFF, i), SIMPLEX_OK);
    ev = wait_event(&d->i, SIMPLEX_EV_INV, *i);
    assert_int_equal(
        simplex_agent_join(d->j.a, simplex_event_data(ev), sx_str("J"), SIMPLEX_PQ_OFF, j),
        SIMPLEX_OK);
    simplex_event_free(ev);
    ev = wait_event(&d->i, SIMPLEX_EV_CONF, *i);
    assert_int_equal(simplex_agent_allow(d->i.a, *i, simplex_event_conf(ev), sx_str("I")),
                     SIMPLEX_OK);
    simplex_event_free(ev);
    expect(&d->j, SIMPLEX_EV_CON, *j);
    expect(&d->i, SIMPLEX_EV_CON, *i);
}

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
    connect_agents_as(&d, user, &i, &j);
    set_noise(&d.i, SIMPLEX_NOISE_LOOP);
    wait_queues(&d.srv, 6);
    wait_noise(&d.i, SIMPLEX_NOISE_LOOP, 12);
    assert_int_equal(stats_of(&d.i).queues, 2);
    talk_both_ways(&d);
    /* Whoever leaves a server leaves no queue of loops there. */
    assert_int_equal(simplex_agent_delete(d.i.a, i), SIMPLEX_OK);
    wait_queues(&d.srv, 4);
    wait_loops(&d.i, 1);
    set_noise(&d.i, 0);
    wait_queues(&d.srv, 3);
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
    (void)usleep(2300000); /* so long after the last call it is believed */
    assert_no_noise(&d.i);
    set_network(&d.i, SIMPLEX_NET_WIFI);
    wait_noise(&d.i, SIMPLEX_NOISE_LOOP, 2);
    assert_int_equal(simplex_agent_suspend(d.i.a, 0), SIMPLEX_OK);
    (void)usleep(100000);
    assert_no_noise(&d.i);
    assert_int_equal(simplex_agent_resume(d.i.a), SIMPLEX_OK);
    wait_noise(&d.i, SIMPLEX_NOISE_LOOP, 2);
    talk_both_ways(&d);
    duo_close(&d);
}

static int init(void **state)
{
    (void)state;
    return sx_crypto_init();
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
    d.i.cfg.command_timeout = 400;
    agent_reopen(&d.i);
    duo_connect(&d);
    talk_both_ways(&d);
    forwarder_set(&d.fi, FORWARD_STALL);
    set_noise(&d.i, SIMPLEX_NOISE_LOOP);
    wait_noise(&d.i, SIMPLEX_NOISE_LOOP, 1);
    (void)usleep(500000);
    forwarder_set(&d.fi, FORWARD);
    wait_noise(&d.i, SIMPLEX_NOISE_LOOP, 6);
    wait_queues(&d.srv, 3);
    talk_both_ways(&d);
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
        cmocka_unit_test(a_contact_drops_repeats_without_a_word),
        cmocka_unit_test(repeats_that_come_after_a_restart_are_known),
        cmocka_unit_test(who_is_not_heard_gets_no_more_of_them),
        cmocka_unit_test(repeats_after_a_rotation_and_a_new_ratchet_are_known),
        cmocka_unit_test(all_kinds_on_both_sides_disturb_nothing),
        cmocka_unit_test(messages_leave_in_the_slots_of_noise),
        cmocka_unit_test(noise_goes_on_after_memory_or_the_disk_failed),
        cmocka_unit_test(a_queue_that_the_server_does_not_know_is_replaced),
        cmocka_unit_test(users_and_connections_that_are_apart_have_loops_that_are),
        cmocka_unit_test(nothing_is_sent_while_the_network_is_off_or_metered),
        cmocka_unit_test(a_queue_whose_answer_comes_too_late_is_not_left_behind),
        cmocka_unit_test(loops_are_not_made_where_connections_are_not_subscribed),
    };

    return cmocka_run_group_tests(tests, init, NULL);
}
