/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queues of a connection that has several come and go: they are added, removed, lost by their
 * servers and moved, also while a new ratchet is made.
 */
#include <stdio.h>
#include <unistd.h>

#include "support/ring.h"

/* ---- added and removed ---- */

static int64_t add(struct ring *r, const char *server)
{
    int64_t id;
    simplex_rc rc = simplex_agent_add_queue(r->i.a, r->ic, sx_str(server), &id);

    if (rc != SIMPLEX_OK)
        fail_msg("add: %s", simplex_rc_name(rc));
    return id;
}

/* It names what no server was asked for yet, so it can name no queue whose id the server chooses.
 */
static void a_prepared_link_has_one_queue_and_others_follow(void **state)
{
    simplex_link_data d = { .size = sizeof d, .data = sx_str("printed") };
    struct ring r;
    simplex_event *ev;

    (void)state;
    ring_open(&r, 3, 2, 2, NULL);
    assert_int_equal(
        simplex_agent_prepare_short(r.i.a, SIMPLEX_LINK_INVITATION, SIMPLEX_PQ_OFF, &d, &r.ic),
        SIMPLEX_OK);
    assert_int_equal(simplex_agent_publish(r.i.a, r.ic), SIMPLEX_OK);
    ev = wait_event(&r.i, SIMPLEX_EV_LINK, r.ic);
    ring_join(&r, simplex_event_data(ev), SIMPLEX_PQ_OFF);
    simplex_event_free(ev);
    ring_expect_in_use(&r, 1, 2);
    (void)add(&r, "");
    ring_talk(&r, "through both");
    ring_expect_in_use(&r, 2, 2);
    ring_close(&r);
}

static void queues_are_added_and_removed(void **state)
{
    struct ring r;
    simplex_queue_info q;
    simplex_event *ev;
    int64_t id, old;

    (void)state;
    ring_open(&r, 4, 1, 1, NULL);
    ring_connect(&r);
    assert_int_equal(simplex_agent_add_queue(r.i.a, r.ic + 9, sx_str(""), &id),
                     SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_add_queue(r.i.a, r.ic, sx_str("nonsense"), &id),
                     SIMPLEX_E_ADDRESS);
    assert_true(queue_at(&r.i, r.ic, SIMPLEX_SWITCH_RCV, 0, &q));
    old = q.id;
    assert_int_equal(simplex_agent_remove_queue(r.i.a, r.ic, old), SIMPLEX_E_PROHIBITED);
    assert_int_equal(simplex_agent_remove_queue(r.i.a, r.ic, 999), SIMPLEX_E_NOT_FOUND);
    for (size_t k = 2; k <= SIMPLEX_QUEUES_MAX; k++) {
        id = add(&r, "");
        ev = expect_queue_change(&r.i, r.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_QUEUE_ADDED);
        assert_int_equal(simplex_event_queue_id(ev), id);
        simplex_event_free(ev);
        simplex_event_free(
            expect_queue_change(&r.j, r.jc, SIMPLEX_SWITCH_SND, SIMPLEX_QUEUE_ADDED));
        ring_expect_in_use(&r, k, 1);
        ring_talk(&r, "with one more");
    }
    assert_int_equal(simplex_agent_add_queue(r.i.a, r.ic, sx_str(""), &id), SIMPLEX_E_PROHIBITED);
    ring_away(&r, server_of(&r, &q)); /* the one that the connection began with */
    r.i.errors_ok = r.j.errors_ok = true;
    (void)send_text(&r.j, r.jc, "without the oldest");
    receive_text(&r.i, r.ic, "without the oldest");
    assert_int_equal(simplex_agent_remove_queue(r.i.a, r.ic, old), SIMPLEX_OK);
    assert_int_equal(simplex_agent_remove_queue(r.i.a, r.ic, old), SIMPLEX_OK);
    ring_back(&r, server_of(&r, &q)); /* only now it can be read to its end */
    ev = expect_queue_change(&r.i, r.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_QUEUE_REMOVED);
    assert_int_equal(simplex_event_queue_id(ev), old);
    assert_int_equal(simplex_event_error(ev), SIMPLEX_OK);
    simplex_event_free(ev);
    ring_expect_queues(&r, SIMPLEX_QUEUES_MAX); /* one less of I, and J's */
    (void)send_text(&r.j, r.jc, "it is gone");
    receive_text(&r.i, r.ic, "it is gone");
    simplex_event_free(expect_queue_change(&r.j, r.jc, SIMPLEX_SWITCH_SND, SIMPLEX_QUEUE_REMOVED));
    ring_expect_in_use(&r, SIMPLEX_QUEUES_MAX - 1, 1);
    assert_true(queue_at(&r.i, r.ic, SIMPLEX_SWITCH_RCV, 0, &q));
    assert_true(q.primary && q.id != old);
    for (size_t k = SIMPLEX_QUEUES_MAX - 1; k > 1; k--) {
        assert_true(queue_at(&r.i, r.ic, SIMPLEX_SWITCH_RCV, k - 1, &q));
        assert_int_equal(simplex_agent_remove_queue(r.i.a, r.ic, q.id), SIMPLEX_OK);
        simplex_event_free(
            expect_queue_change(&r.i, r.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_QUEUE_REMOVED));
        ring_expect_queues(&r, k); /* J hears of it when it sends, not before or after */
        (void)send_text(&r.j, r.jc, "one less");
        receive_text(&r.i, r.ic, "one less");
    }
    ring_expect_in_use(&r, 1, 1);
    ring_close(&r);
}

static void restarts_while_queues_are_added_and_removed(void **state)
{
    struct ring r;
    simplex_queue_info q;

    (void)state;
    ring_open(&r, 3, 1, 2, NULL);
    ring_connect(&r);
    ring_expect_in_use(&r, 1, 2);
    r.i.errors_ok = r.j.errors_ok = true;
    for (unsigned round = 0; round < 12; round++) {
        (void)add(&r, "");
        for (unsigned k = 0; k <= round; k++) {
            (void)usleep(1500 * (k % 5));
            agent_reopen(k % 2 ? &r.i : &r.j);
        }
        expect_in_use(&r.i, r.ic, SIMPLEX_SWITCH_RCV, 2);
        expect_in_use(&r.j, r.jc, SIMPLEX_SWITCH_SND, 2);
        (void)send_text(&r.j, r.jc, "both");
        receive_text(&r.i, r.ic, "both");
        assert_true(queue_at(&r.i, r.ic, SIMPLEX_SWITCH_RCV, round % 2, &q));
        assert_int_equal(simplex_agent_remove_queue(r.i.a, r.ic, q.id), SIMPLEX_OK);
        agent_reopen(&r.i);
        expect_in_use(&r.i, r.ic, SIMPLEX_SWITCH_RCV, 1);
        for (int k = 0; k < 500; k++) { /* J finds out when its server has deleted it */
            (void)send_text(&r.j, r.jc, "one");
            receive_text(&r.i, r.ic, "one");
            if (count_queues(&r.j, r.jc, SIMPLEX_SWITCH_SND) == 1)
                break;
            (void)usleep(10000);
        }
        expect_in_use(&r.j, r.jc, SIMPLEX_SWITCH_SND, 1);
    }
    ring_close(&r);
}

/* ---- lost ---- */

/* Server 0 keeps nothing but its certificates: its queues are gone when it comes back. */
static void lose_queues(struct ring *r, const simplex_server_config *cfg)
{
    ring_away(r, 0);
    server_stop(&r->srv[0]);
    server_start(&r->srv[0], cfg);
    forwarder_aim(&r->fwd[0], simplex_server_port(r->srv[0].s));
    ring_back(r, 0);
}

/* The nth queue of I is lost if it is this one; what was said of it before that may come first. */
static void expect_lost(struct ring *r, size_t nth, int64_t id)
{
    simplex_queue_info q;

    assert_true(queue_at(&r->i, r->ic, SIMPLEX_SWITCH_RCV, nth, &q));
    for (int k = 0; k < 2000 && q.id == id && q.state != SIMPLEX_QUEUE_LOST; k++) {
        (void)usleep(10000);
        assert_true(queue_at(&r->i, r->ic, SIMPLEX_SWITCH_RCV, nth, &q));
    }
    assert_int_equal(q.state == SIMPLEX_QUEUE_LOST, q.id == id);
}

/* I's queue on server 0, the other one, and both know that the first is lost; J only if it noticed.
 */
static void lose_one(struct ring *r, const simplex_server_config *cfg, bool noticed,
                     simplex_queue_info *lost, simplex_queue_info *other)
{
    simplex_event *ev;
    size_t n = 0;

    do { /* on which servers queues are is chosen at random */
        if (n++ > 0)
            ring_close(r);
        ring_open(r, 3, 2, 2, cfg);
        ring_connect(r);
        ring_expect_in_use(r, 2, 2);
        assert_true(queue_at(&r->i, r->ic, SIMPLEX_SWITCH_RCV, 0, lost));
        assert_true(queue_at(&r->i, r->ic, SIMPLEX_SWITCH_RCV, 1, other));
    } while (server_of(r, lost) != 0 && server_of(r, other) != 0);
    if (server_of(r, lost) != 0) {
        simplex_queue_info q = *lost;
        *lost = *other;
        *other = q;
    }
    ring_talk(r, "before");
    r->i.errors_ok = r->j.errors_ok = true;
    lose_queues(r, cfg);
    ev = wait_event(&r->i, SIMPLEX_EV_ERR, r->ic);
    assert_string_equal(simplex_event_detail(ev), "AUTH");
    assert_non_null(simplex_event_server(ev));
    assert_string_equal(simplex_event_server(ev), lost->server);
    simplex_event_free(ev);
    for (size_t k = 0; k < 2; k++)
        expect_lost(r, k, lost->id);
    if (!noticed)
        return;
    ring_talk(r, "one less");
    ev = expect_queue_change(&r->j, r->jc, SIMPLEX_SWITCH_SND, SIMPLEX_QUEUE_REMOVED);
    assert_string_equal(simplex_event_detail(ev), "AUTH");
    simplex_event_free(ev);
}

static void certificates_only(simplex_server_config *cfg, char dir[256])
{
    tmp_make(dir);
    simplex_server_config_init(cfg);
    cfg->dir = dir;
}

/* The agent knows that the server has not got it any more, so nothing is left to wait for. */
static void a_queue_that_its_server_lost_is_removed_at_once(void **state)
{
    simplex_server_config cfg;
    struct ring r;
    simplex_queue_info lost, other;
    simplex_event *ev;
    char dir[256];

    (void)state;
    certificates_only(&cfg, dir);
    lose_one(&r, &cfg, false, &lost, &other);
    assert_int_equal(simplex_agent_remove_queue(r.i.a, r.ic, other.id), SIMPLEX_E_PROHIBITED);
    assert_int_equal(simplex_agent_remove_queue(r.i.a, r.ic, lost.id), SIMPLEX_OK);
    ev = expect_queue_change(&r.i, r.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_QUEUE_REMOVED);
    assert_int_equal(simplex_event_queue_id(ev), lost.id);
    simplex_event_free(ev);
    (void)send_text(&r.j, r.jc, "without it");
    receive_text(&r.i, r.ic, "without it");
    ring_close(&r);
    tmp_remove(dir);
}

/* The peer may have found out before, and be asked to replace a queue that it does not know. */
static void a_queue_that_its_server_lost_can_be_moved(void **state)
{
    simplex_server_config cfg;
    struct ring r;
    simplex_queue_info lost, other;
    char dir[256];

    (void)state;
    certificates_only(&cfg, dir);
    for (int noticed = 0; noticed < 2; noticed++) {
        lose_one(&r, &cfg, noticed, &lost, &other);
        assert_int_equal(simplex_agent_switch_queue(r.i.a, r.ic, lost.id, sx_str(r.srv[1].address)),
                         SIMPLEX_OK);
        wait_moved(&r.i, r.ic);
        (void)send_text(&r.j, r.jc, "through both");
        receive_text(&r.i, r.ic, "through both");
        expect_in_use(&r.j, r.jc, SIMPLEX_SWITCH_SND, 2);
        ring_close(&r);
    }
    tmp_remove(dir);
}

/* ---- moved ---- */

static int32_t switch_phase(struct test_agent *t, int64_t conn)
{
    simplex_event *ev = wait_event(t, SIMPLEX_EV_SWITCH, conn);
    int32_t phase = simplex_event_switch(ev, NULL);

    simplex_event_free(ev);
    return phase;
}

/* I begins to move queue id to the server that it does not use, J answers, I thinks better of it.
 */
static void begin_to_move_and_give_up(struct ring *r, int64_t id)
{
    simplex_queue_info q;
    size_t to = 0;

    for (size_t k = 0; queue_at(&r->i, r->ic, SIMPLEX_SWITCH_RCV, k, &q); k++) {
        if (server_of(r, &q) == to) {
            to++;
            k = SIZE_MAX;
        }
    }
    agent_close(&r->j);
    assert_int_equal(simplex_agent_switch_queue(r->i.a, r->ic, id, sx_str(r->address[to])),
                     SIMPLEX_OK);
    assert_int_equal(switch_phase(&r->i, r->ic), SIMPLEX_SWITCH_STARTED);
    ring_away(r, to); /* J's keys cannot be set there */
    agent_reopen(&r->j);
    assert_int_equal(switch_phase(&r->i, r->ic), SIMPLEX_SWITCH_CONFIRMED);
    assert_int_equal(simplex_agent_abort_switch(r->i.a, r->ic), SIMPLEX_OK);
    assert_int_equal(switch_phase(&r->i, r->ic), SIMPLEX_SWITCH_ABORTED);
    ring_back(r, to);
}

/* The peer is not told that a move was given up. When it finds out that the queue is gone, it must
 * not keep a place for what would have come of it. */
static void moves_that_were_given_up_leave_room_with_the_peer(void **state)
{
    struct ring r;
    simplex_event *ev;
    int64_t id, gone;

    (void)state;
    ring_open(&r, 4, 2, 2, NULL);
    ring_connect(&r);
    ring_expect_in_use(&r, 2, 2);
    r.i.errors_ok = r.j.errors_ok = true;
    for (int round = 0; round < 6; round++) {
        assert_int_equal(simplex_agent_add_queue(r.i.a, r.ic, sx_str(""), &id), SIMPLEX_OK);
        do {
            ev = expect_queue_change(&r.i, r.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_QUEUE_ADDED);
            gone = simplex_event_queue_id(ev);
            simplex_event_free(ev);
        } while (gone != id);
        begin_to_move_and_give_up(&r, id);
        assert_int_equal(simplex_agent_remove_queue(r.i.a, r.ic, id), SIMPLEX_OK);
        simplex_event_free(
            expect_queue_change(&r.i, r.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_QUEUE_REMOVED));
        ring_expect_queues(&r, 4);
        (void)send_text(&r.j, r.jc, "is it there?");
        receive_text(&r.i, r.ic, "is it there?");
        simplex_event_free(
            expect_queue_change(&r.j, r.jc, SIMPLEX_SWITCH_SND, SIMPLEX_QUEUE_REMOVED));
    }
    ring_close(&r);
}

/* The one that has been in its place for longest moves, so all of them do. */
static void a_policy_moves_one_queue_after_the_other(void **state)
{
    static const simplex_rotation soon = {
        .size = sizeof soon, .every = 300, .spread = 1, .per_day = 864000000
    };
    struct ring r;
    simplex_queue_info first, second, q;

    (void)state;
    ring_open(&r, 4, 2, 1, NULL);
    ring_connect(&r);
    ring_expect_in_use(&r, 2, 1);
    assert_true(queue_at(&r.i, r.ic, SIMPLEX_SWITCH_RCV, 0, &first));
    assert_true(queue_at(&r.i, r.ic, SIMPLEX_SWITCH_RCV, 1, &second));
    int64_t newest = first.id > second.id ? first.id : second.id;
    assert_int_equal(simplex_agent_set_conn_rotation(r.i.a, r.ic, &soon), SIMPLEX_OK);
    for (int moved = 0; moved < 4;) {
        moved += switch_phase(&r.i, r.ic) == SIMPLEX_SWITCH_COMPLETED;
        ring_talk(&r, "meanwhile");
    }
    assert_int_equal(simplex_agent_set_conn_rotation(r.i.a, r.ic, NULL), SIMPLEX_OK);
    ring_expect_in_use(&r, 2, 1);
    for (size_t n = 0; queue_at(&r.i, r.ic, SIMPLEX_SWITCH_RCV, n, &q); n++)
        assert_true(q.id > newest);
    ring_close(&r);
}

static void one_of_several_queues_moves(void **state)
{
    struct ring r;
    simplex_queue_info q;

    (void)state;
    ring_open(&r, 4, 2, 1, NULL);
    ring_connect(&r);
    ring_expect_in_use(&r, 2, 1);
    for (int round = 0; round < 4; round++) {
        assert_true(queue_at(&r.i, r.ic, SIMPLEX_SWITCH_RCV, (size_t)round % 2, &q));
        bool dead = round >= 2; /* the server it leaves is not even there */
        r.i.errors_ok = r.j.errors_ok = dead;
        if (dead)
            ring_away(&r, server_of(&r, &q));
        agent_close(&r.j); /* without it no move comes to its end */
        assert_int_equal(simplex_agent_switch_queue(r.i.a, r.ic, q.id, sx_str("")), SIMPLEX_OK);
        assert_int_equal(simplex_agent_switch_queue(r.i.a, r.ic, q.id, sx_str("")),
                         SIMPLEX_E_PROHIBITED);
        agent_reopen(&r.j);
        for (int k = 0; k < 5; k++) {
            (void)send_text(&r.j, r.jc, "while it moves");
            receive_text(&r.i, r.ic, "while it moves");
        }
        int32_t last = dead ? SIMPLEX_SWITCH_SECURED : SIMPLEX_SWITCH_COMPLETED;
        while (switch_phase(&r.i, r.ic) != last)
            continue;
        wait_moved(&r.j, r.jc);
        if (dead) {
            (void)send_text(&r.j, r.jc, "without the old server");
            receive_text(&r.i, r.ic, "without the old server");
            ring_back(&r, server_of(&r, &q));
        }
        expect_in_use(&r.i, r.ic, SIMPLEX_SWITCH_RCV, 2);
        expect_in_use(&r.j, r.jc, SIMPLEX_SWITCH_SND, 2);
        (void)send_text(&r.j, r.jc, "moved");
        receive_text(&r.i, r.ic, "moved");
        assert_true(queue_at(&r.i, r.ic, SIMPLEX_SWITCH_RCV, 0, &q));
        assert_true(q.primary);
    }
    ring_close(&r);
}

/* ---- a new ratchet ---- */

/* J forgets what it was told: nobody would ever say more about the queue that is being added. */
static void a_queue_is_not_added_across_a_new_ratchet(void **state)
{
    simplex_bytes key = sx_str("of the backup");
    simplex_queue_info q;
    simplex_event *ev;
    struct ring r;
    char path[320];
    size_t first;
    int64_t added;

    (void)state;
    ring_open(&r, 4, 1, 2, NULL); /* so that I knows that J uses several */
    ring_connect(&r);
    ring_expect_in_use(&r, 1, 2); /* a copy that has read nothing in a queue could never do so */
    ring_talk(&r, "with one");
    (void)snprintf(path, sizeof path, "%s/backup", r.dir);
    assert_int_equal(simplex_agent_backup(r.j.a, path, key, false), SIMPLEX_OK);
    assert_true(queue_at(&r.i, r.ic, SIMPLEX_SWITCH_RCV, 0, &q));
    first = server_of(&r, &q);
    ring_away(&r, first); /* J reads QADD, its answer does not arrive */
    added = add(&r, "");
    for (int k = 0; k < 2000 && count_queues(&r.j, r.jc, SIMPLEX_SWITCH_SND) < 2; k++)
        (void)usleep(10000);
    assert_int_equal(count_queues(&r.j, r.jc, SIMPLEX_SWITCH_SND), 2);
    expect_taken(&r.i, r.ic); /* no copy of QADD is left that J would read once more */
    for (size_t k = 0; k < r.n; k++) {
        if (k != first)
            expect_server_empty(&r.srv[k]);
    }
    agent_close(&r.j);
    assert_int_equal(simplex_agent_restore(path, key, false, r.j.db, sx_str(AGENT_KEY), true),
                     SIMPLEX_OK);
    r.j.errors_ok = true; /* QADD may come again, before there is a new ratchet */
    agent_reopen(&r.j);
    ring_back(&r, first);
    assert_int_equal(simplex_agent_sync_ratchet(r.j.a, r.jc, false), SIMPLEX_OK);
    wait_synced(&r.j, r.jc);
    wait_synced(&r.i, r.ic);
    ev = expect_queue_change(&r.i, r.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_QUEUE_REMOVED);
    assert_int_equal(simplex_event_queue_id(ev), added);
    assert_int_equal(simplex_event_error(ev), SIMPLEX_E_PROHIBITED);
    simplex_event_free(ev);
    (void)add(&r, "");
    simplex_event_free(expect_queue_change(&r.i, r.ic, SIMPLEX_SWITCH_RCV, SIMPLEX_QUEUE_ADDED));
    ring_expect_in_use(&r, 2, 2);
    ring_close(&r);
}

static void a_new_ratchet_is_made_through_all_queues(void **state)
{
    struct ring r;
    simplex_event *ev;

    (void)state;
    ring_open(&r, 3, 2, 2, NULL);
    ring_connect(&r);
    ring_expect_in_use(&r, 2, 2);
    ring_talk(&r, "with the first one");
    assert_int_equal(simplex_agent_sync_ratchet(r.i.a, r.ic, true), SIMPLEX_OK);
    wait_synced(&r.i, r.ic);
    wait_synced(&r.j, r.jc);
    for (int k = 0; k < 3; k++) {
        for (int way = 0; way < 2; way++) { /* the keys took a number: the first tells a gap */
            struct test_agent *from = way == 0 ? &r.i : &r.j, *to = way == 0 ? &r.j : &r.i;
            (void)send_text(from, way == 0 ? r.ic : r.jc, "with the second");
            ev = wait_event(to, SIMPLEX_EV_MSG, 0);
            vec_assert_eq(simplex_event_data(ev), sx_str("with the second"), "text");
            assert_int_equal(
                simplex_agent_ack(to->a, simplex_event_conn(ev), simplex_event_msg_id(ev)),
                SIMPLEX_OK);
            simplex_event_free(ev);
        }
    }
    assert_true(quiet(&r.i, SIMPLEX_EV_RSYNC, 300));
    assert_true(quiet(&r.j, SIMPLEX_EV_RSYNC, 0));
    assert_true(quiet(&r.i, SIMPLEX_EV_QMISS, 0));
    ring_close(&r);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_prepared_link_has_one_queue_and_others_follow),
        cmocka_unit_test(queues_are_added_and_removed),
        cmocka_unit_test(a_queue_that_its_server_lost_is_removed_at_once),
        cmocka_unit_test(a_queue_that_its_server_lost_can_be_moved),
        cmocka_unit_test(moves_that_were_given_up_leave_room_with_the_peer),
        cmocka_unit_test(restarts_while_queues_are_added_and_removed),
        cmocka_unit_test(one_of_several_queues_moves),
        cmocka_unit_test(a_policy_moves_one_queue_after_the_other),
        cmocka_unit_test(a_new_ratchet_is_made_through_all_queues),
        cmocka_unit_test(a_queue_is_not_added_across_a_new_ratchet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
