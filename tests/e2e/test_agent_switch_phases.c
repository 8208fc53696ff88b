/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rotation of queues while somebody is away, something breaks or a new ratchet is made, at every
 * phase of it: it comes to its end, and messages go on, in order and once.
 */
#include <unistd.h>

#include "agent/event.h"
#include "agent/switch_again.h"
#include "switch_stage.h"

/* ---- somebody away, something broken, at every phase ---- */

enum how { RESTART, AWAY, DROP, CUT, STALL };
enum who { I, J };

#define STALL_MS 400 /* half of it is how long answers are waited for */

static void interrupt(struct trio *t, enum who who, enum how how)
{
    struct test_agent *a = who == I ? &t->d.i : &t->d.j;
    struct forwarder *ways[] = { &t->d.fi, &t->d.fj, &t->next };

    if (how == RESTART || how == AWAY) {
        agent_close(a);
        if (how == AWAY)
            usleep(60000);
        agent_reopen(a);
        return;
    }
    for (size_t n = 0; n < SX_COUNT(ways); n++) {
        if (how == DROP)
            forwarder_drop(ways[n]);
        else if (who == I || n == 2)
            forwarder_set(ways[n], how == CUT ? FORWARD_REFUSE : FORWARD_STALL);
    }
    if (how == DROP)
        return;
    usleep(1000 * (how == STALL ? STALL_MS : 150));
    for (size_t n = 0; n < SX_COUNT(ways); n++)
        forwarder_set(ways[n], FORWARD);
    assert_int_equal(simplex_agent_reconnect(t->d.i.a), SIMPLEX_OK);
    assert_int_equal(simplex_agent_reconnect(t->d.j.a), SIMPLEX_OK);
}

static void forget(struct duo *d, int32_t kind)
{
    while (!quiet(&d->i, kind, 0) || !quiet(&d->j, kind, 0))
        continue;
}

static void receive_both(struct duo *d, int n)
{
    receive_number(&d->i, d->ic, n);
    receive_number(&d->j, d->jc, n);
}

static void moved_despite(struct trio *t, enum who side, int32_t phase, enum who who, enum how how,
                          const char *server)
{
    struct test_agent *a = side == I ? &t->d.i : &t->d.j;
    int64_t conn = side == I ? t->d.ic : t->d.jc;
    int n = 0;

    send_number(&t->d.i, t->d.ic, 0);
    send_number(&t->d.j, t->d.jc, 0);
    start_move(&t->d.i, t->d.ic, server);
    send_number(&t->d.i, t->d.ic, 1);
    send_number(&t->d.j, t->d.jc, 1);
    if (phase > 0) { /* what the move sends waits behind what is not acknowledged */
        for (; n < 2; n++)
            receive_both(&t->d, n);
        reach(a, conn, phase, server);
    }
    send_number(&t->d.i, t->d.ic, 2);
    send_number(&t->d.j, t->d.jc, 2);
    interrupt(t, who, how);
    send_number(&t->d.i, t->d.ic, 3);
    send_number(&t->d.j, t->d.jc, 3);
    for (; n < 4; n++)
        receive_both(&t->d, n);
    wait_until_moved(&t->d);
    forget(&t->d, SIMPLEX_EV_SWITCH);
    forget(&t->d, SIMPLEX_EV_SENT);
    assert_true(quiet(&t->d.i, SIMPLEX_EV_MSG, 10));
    assert_true(quiet(&t->d.j, SIMPLEX_EV_MSG, 0));
}

static size_t queues_left(const struct trio *t)
{
    return server_queues(&t->d.srv) + server_queues(&t->second);
}

static unsigned sessions(struct trio *t)
{
    return forwarder_accepted(&t->d.fi) + forwarder_accepted(&t->d.fj) +
           forwarder_accepted(&t->next);
}

/* Sessions that were made although there had been one: of two agents over three ways. */
static unsigned breaks(struct trio *t, unsigned before)
{
    unsigned made = sessions(t) - before;

    return made > 6 ? made - 6 : 0;
}

static void interrupted_at_every_phase(enum how how)
{
    struct trio t;
    int n = 0;

    trio_open(&t, NULL);
    t.d.i.cfg.command_timeout = t.d.j.cfg.command_timeout = how == STALL ? STALL_MS / 2 : 0;
    t.d.i.cfg.reconnect_first = t.d.j.cfg.reconnect_first = 20;
    t.d.i.cfg.retry_first = t.d.j.cfg.retry_first = 20;
    agent_reopen(&t.d.i);
    agent_reopen(&t.d.j);
    unsigned before = sessions(&t);
    for (enum who side = I; side <= J; side++) {
        for (int32_t phase = 0; phase <= SIMPLEX_SWITCH_COMPLETED; phase++) {
            for (enum who who = I; who <= J; who++)
                moved_despite(&t, side, phase, who, how, n++ % 2 == 0 ? t.address : t.d.i_address);
        }
    }
    /* An answer to NEW that never came leaves one behind. Stalls break no session, but a machine
     * that is too slow for the time limit does. */
    size_t left, most = how == STALL ? 8 + breaks(&t, before) : 4;
    for (int k = 0; (left = queues_left(&t)) > most && k < WAIT_MS / 10; k++)
        usleep(10000);
    assert_in_range(left, 2, most);
    trio_close(&t);
}

static void restarts_at_every_phase(void **state)
{
    (void)state;
    interrupted_at_every_phase(RESTART);
}

static void is_away_at_every_phase(void **state)
{
    (void)state;
    interrupted_at_every_phase(AWAY);
}

static void connections_break_at_every_phase(void **state)
{
    (void)state;
    interrupted_at_every_phase(DROP);
}

static void the_network_is_away_at_every_phase(void **state)
{
    (void)state;
    interrupted_at_every_phase(CUT);
}

static void answers_are_lost_at_every_phase(void **state)
{
    (void)state;
    interrupted_at_every_phase(STALL);
}

/* ---- a new ratchet in the middle ---- */

static void wait_until_synchronised(struct duo *d)
{
    for (int n = 0; n < 4000; n++) {
        if (connection_info(&d->i, d->ic).sync_state == SIMPLEX_SYNC_OK &&
            connection_info(&d->j, d->jc).sync_state == SIMPLEX_SYNC_OK)
            return;
        usleep(5000);
    }
    fail_msg("not synchronised: I %d, switch %d; J %d, switch %d",
             connection_info(&d->i, d->ic).sync_state, connection_info(&d->i, d->ic).rcv_switch,
             connection_info(&d->j, d->jc).sync_state, connection_info(&d->j, d->jc).snd_switch);
}

static void wait_until_sent(struct test_agent *t, int64_t conn)
{
    for (int n = 0; n < 4000 && connection_info(t, conn).pending > 0; n++)
        usleep(5000);
}

/* One side begins a new ratchet when the move is at `phase` of `side`. With `away` that is J, which
 * was closed, so that the next step of I is waiting for it. */
static void moved_with_new_ratchet(struct trio *t, enum who side, int32_t phase, enum who begins,
                                   bool away, const char *server)
{
    struct test_agent *a = side == I ? &t->d.i : &t->d.j, *b = begins == I ? &t->d.i : &t->d.j;

    if (away && phase == 0)
        agent_close(&t->d.j);
    start_move(&t->d.i, t->d.ic, server);
    if (phase > 0)
        reach(a, side == I ? t->d.ic : t->d.jc, phase, server);
    if (away && phase > 0)
        agent_close(&t->d.j);
    if (away) {
        usleep(30000);
        wait_until_sent(&t->d.i, t->d.ic);
        agent_reopen(&t->d.j);
    }
    assert_int_equal(simplex_agent_sync_ratchet(b->a, begins == I ? t->d.ic : t->d.jc, true),
                     SIMPLEX_OK);
    wait_until_synchronised(&t->d);
    first_words(&t->d.i, t->d.ic, &t->d.j, t->d.jc, "from I");
    first_words(&t->d.j, t->d.jc, &t->d.i, t->d.ic, "from J");
    wait_until_moved(&t->d);
    duo_talk(&t->d, "both done");
    assert_true(quiet(&t->d.i, SIMPLEX_EV_MSG, 10));
    assert_true(quiet(&t->d.j, SIMPLEX_EV_MSG, 10));
    forget_held(&t->d.i);
    forget_held(&t->d.j);
}

static void a_new_ratchet_at_any_phase_does_not_end_the_move(void **state)
{
    struct trio t;
    int n = 0;

    (void)state;
    trio_open(&t, NULL);
    for (enum who side = I; side <= J; side++) {
        for (int32_t phase = 0; phase <= SIMPLEX_SWITCH_SECURED; phase++) {
            for (int who = 0; who < 3; who++) { /* 2: J, which was away */
                if (n % 8 == 7) {               /* a peer's keys are limited in an hour */
                    trio_close(&t);
                    trio_open(&t, NULL);
                }
                moved_with_new_ratchet(&t, side, phase, who == 0 ? I : J, who == 2,
                                       n % 2 == 0 ? t.address : t.d.i_address);
                n++;
            }
        }
    }
    trio_close(&t);
}

/* What J says behind a new ratchet may leave when the old queue is gone, and the new one in use. */
static simplex_rc say_key_again(struct simplex_agent *a, void *arg)
{
    const int64_t *conn = arg;
    struct sx_snd_queue q;
    struct sx_conn c;
    simplex_rc rc = sx_store_conn_get(a->store, *conn, &c);

    if (rc == SIMPLEX_OK)
        rc = sx_store_sndq_of(a->store, c.id, 0, &q);
    if (rc == SIMPLEX_OK)
        rc = sx_send_qkey(a, &c, &q);
    sx_wipe(&q, sizeof q);
    return rc;
}

static void a_key_that_comes_again_through_the_new_queue_is_a_repeat(void **state)
{
    struct trio t;

    (void)state;
    trio_open(&t, NULL);
    start_move(&t.d.i, t.d.ic, t.address);
    expect_moved(&t.d.i, t.d.ic, SIMPLEX_SWITCH_RCV);
    expect_moved(&t.d.j, t.d.jc, SIMPLEX_SWITCH_SND);
    assert_int_equal(sx_agent_run(t.d.j.a, say_key_again, &t.d.jc, true), SIMPLEX_OK);
    duo_talk(&t.d, "behind it"); /* without an ERR before */
    assert_true(quiet(&t.d.i, SIMPLEX_EV_ERR, 0));
    expect_server_queues(&t.second, 1);
    start_move(&t.d.i, t.d.ic, t.d.i_address);
    expect_moved(&t.d.i, t.d.ic, SIMPLEX_SWITCH_RCV);
    trio_close(&t);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(restarts_at_every_phase),
        cmocka_unit_test(is_away_at_every_phase),
        cmocka_unit_test(connections_break_at_every_phase),
        cmocka_unit_test(the_network_is_away_at_every_phase),
        cmocka_unit_test(answers_are_lost_at_every_phase),
        cmocka_unit_test(a_new_ratchet_at_any_phase_does_not_end_the_move),
        cmocka_unit_test(a_key_that_comes_again_through_the_new_queue_is_a_repeat),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
