/* SPDX-License-Identifier: Apache-2.0 */
/* An agent, a connection or a server away at every step of connecting and talking, in turn. */
#include <unistd.h>

#include "support/agents.h"

enum step {
    CREATED,
    INVITED,
    JOINED,
    ASKED, /* CONF was shown */
    ALLOWED,
    INFORMED, /* INFO was shown */
    CONNECTED_J,
    CONNECTED_I,
    SENT_I,
    SEEN_J, /* J has the message, and did not acknowledge it */
    SENT_J,
    STEPS,
};

enum who { I, J };

enum how {
    RESTART, /* closed and opened again */
    AWAY,    /* the same, while the other side goes on */
    DROP,    /* connections to the server of its queue break */
    CUT,     /* that server cannot be reached for a while */
    STALL,   /* it takes everything and answers nothing for a while */
};

struct interruption {
    enum step at;
    enum who who;
    enum how how;
};

static void interrupt(struct duo *d, const struct interruption *x)
{
    struct test_agent *t = x->who == I ? &d->i : &d->j;
    struct forwarder *f = x->who == I ? &d->fi : &d->fj;

    switch (x->how) {
    case RESTART:
        agent_reopen(t);
        break;
    case AWAY:
        agent_close(t);
        usleep(40000);
        agent_reopen(t);
        break;
    case DROP:
        forwarder_drop(f);
        break;
    case CUT:
    case STALL:
        forwarder_set(f, x->how == CUT ? FORWARD_REFUSE : FORWARD_STALL);
        usleep(150000);
        forwarder_set(f, FORWARD);
        assert_int_equal(simplex_agent_reconnect(d->i.a), SIMPLEX_OK);
        assert_int_equal(simplex_agent_reconnect(d->j.a), SIMPLEX_OK);
        break;
    }
}

static void at(struct duo *d, const struct interruption *x, enum step step)
{
    if (x->at == step)
        interrupt(d, x);
}

static void connect_interrupted(struct duo *d, const struct interruption *x)
{
    simplex_event *ev;
    char link[4096];
    size_t len = 0;

    assert_int_equal(simplex_agent_create(d->i.a, 0, &d->ic), SIMPLEX_OK);
    at(d, x, CREATED);
    ev = wait_event(&d->i, SIMPLEX_EV_INV, d->ic);
    len = simplex_event_data(ev).len;
    assert_in_range(len, 1, sizeof link);
    memcpy(link, simplex_event_data(ev).ptr, len);
    simplex_event_free(ev);
    at(d, x, INVITED);
    assert_int_equal(simplex_agent_join(d->j.a, sx_bytes(link, len), sx_str("J"), 0, &d->jc),
                     SIMPLEX_OK);
    at(d, x, JOINED);
    ev = wait_event(&d->i, SIMPLEX_EV_CONF, d->ic);
    int64_t conf = simplex_event_conf(ev);
    simplex_event_free(ev);
    at(d, x, ASKED);
    assert_int_equal(simplex_agent_allow(d->i.a, d->ic, conf, sx_str("I")), SIMPLEX_OK);
    at(d, x, ALLOWED);
    expect(&d->j, SIMPLEX_EV_INFO, d->jc);
    at(d, x, INFORMED);
    expect(&d->j, SIMPLEX_EV_CON, d->jc);
    at(d, x, CONNECTED_J);
    expect(&d->i, SIMPLEX_EV_CON, d->ic);
    at(d, x, CONNECTED_I);
}

/* Through a contact address of I, step by step the same: J asks, I accepts, J allows. */
static void ask_interrupted(struct duo *d, const struct interruption *x, int64_t address,
                            const char *link)
{
    simplex_event *ev;

    assert_int_equal(simplex_agent_join(d->j.a, sx_str(link), sx_str("J"), 0, &d->jc), SIMPLEX_OK);
    at(d, x, CREATED);
    expect(&d->j, SIMPLEX_EV_JOINED, d->jc);
    at(d, x, INVITED);
    ev = wait_event(&d->i, SIMPLEX_EV_REQ, address);
    int64_t request = simplex_event_request(ev);
    simplex_event_free(ev);
    at(d, x, JOINED);
    assert_int_equal(simplex_agent_accept(d->i.a, request, sx_str("I"), 0, &d->ic), SIMPLEX_OK);
    at(d, x, ASKED);
    ev = wait_event(&d->j, SIMPLEX_EV_CONF, d->jc);
    int64_t conf = simplex_event_conf(ev);
    simplex_event_free(ev);
    at(d, x, ALLOWED);
    assert_int_equal(simplex_agent_allow(d->j.a, d->jc, conf, sx_str("J")), SIMPLEX_OK);
    at(d, x, INFORMED);
    expect(&d->i, SIMPLEX_EV_INFO, d->ic);
    at(d, x, CONNECTED_J);
    expect(&d->i, SIMPLEX_EV_CON, d->ic);
    expect(&d->j, SIMPLEX_EV_CON, d->jc);
    at(d, x, CONNECTED_I);
}

static void talk_interrupted(struct duo *d, const struct interruption *x)
{
    send_text(&d->i, d->ic, "one");
    send_text(&d->i, d->ic, "two");
    at(d, x, SENT_I);
    simplex_event *ev = wait_event(&d->j, SIMPLEX_EV_MSG, d->jc);
    int64_t id = simplex_event_msg_id(ev);
    simplex_event_free(ev);
    at(d, x, SEEN_J);
    if (x->at == SEEN_J && x->who == J && (x->how == RESTART || x->how == AWAY)) {
        ev = wait_event(&d->j, SIMPLEX_EV_MSG, d->jc); /* shown once more */
        assert_int_equal(simplex_event_msg_id(ev), id);
        simplex_event_free(ev);
    }
    assert_int_equal(simplex_agent_ack(d->j.a, d->jc, id), SIMPLEX_OK);
    receive_text(&d->j, d->jc, "two");
    send_text(&d->j, d->jc, "three");
    send_text(&d->j, d->jc, "four");
    at(d, x, SENT_J);
    receive_text(&d->i, d->ic, "three");
    receive_text(&d->i, d->ic, "four");
}

/* SENT may have been shown before an interruption: only what arrives is of interest. */
static void assert_all_is_well(struct duo *d)
{
    send_text(&d->i, d->ic, "last");
    receive_text(&d->j, d->jc, "last");
    send_text(&d->j, d->jc, "of all");
    receive_text(&d->i, d->ic, "of all");
    assert_true(quiet(&d->i, SIMPLEX_EV_MSG, 20));
    assert_true(quiet(&d->j, SIMPLEX_EV_MSG, 0));
}

/*
 * Queues of which nobody knows any more are deleted when the answer to NEW comes late. When it
 * never comes, because the connection is gone, one stays behind for each: the server will drop it.
 * Stalls break no connection; a machine that is slow to answer SUB does.
 */
static size_t surplus_after(struct duo *d, enum how how)
{
    enum { WAYS = 4 }; /* of two agents to two addresses: a further connection follows a break */
    size_t accepted = forwarder_accepted(&d->fi) + forwarder_accepted(&d->fj);

    if (how != STALL)
        return 4;
    return accepted > WAYS ? 2 * (accepted - WAYS) : 0;
}

static void expect_queues(struct duo *d, size_t n, enum how how)
{
    size_t surplus = surplus_after(d, how);

    for (int k = 0; k < 2000 && server_queues(&d->srv) > n + surplus; k++)
        usleep(10000);
    assert_in_range(server_queues(&d->srv), n, n + surplus);
}

static simplex_server_config old_server(void)
{
    simplex_server_config cfg;

    simplex_server_config_init(&cfg);
    cfg.end_flush_ms = 0;
    cfg.max_version = 8;
    return cfg;
}

static void open_impatient(struct duo *d, const simplex_server_config *cfg, enum how how)
{
    duo_open(d, cfg);
    d->i.cfg.command_timeout = d->j.cfg.command_timeout = how == STALL ? 100 : 0;
    d->i.cfg.reconnect_first = d->j.cfg.reconnect_first = 20;
    d->i.cfg.retry_first = d->j.cfg.retry_first = 20;
    agent_reopen(&d->i);
    agent_reopen(&d->j);
}

static void asked_and_interrupted_everywhere(const simplex_server_config *cfg, enum how how)
{
    struct duo d;
    int64_t address;
    char link[4096] = { 0 };
    size_t made = 1;

    open_impatient(&d, cfg, how);
    assert_int_equal(simplex_agent_create_address(d.i.a, &address), SIMPLEX_OK);
    simplex_event *ev = wait_event(&d.i, SIMPLEX_EV_INV, address);
    memcpy(link, simplex_event_data(ev).ptr, simplex_event_data(ev).len);
    simplex_event_free(ev);
    for (enum step step = CREATED; step < SENT_I; step++) {
        for (enum who who = I; who <= J; who++) {
            struct interruption x = { step, who, how };
            ask_interrupted(&d, &x, address, link);
            assert_all_is_well(&d);
            made += 2;
        }
    }
    assert_true(quiet(&d.i, SIMPLEX_EV_REQ, 20)); /* no request twice */
    expect_queues(&d, made, how);
    duo_close(&d);
}

static void interrupted_everywhere(const simplex_server_config *cfg, enum how how)
{
    enum step end = cfg == NULL ? STEPS : SENT_I; /* from there on it is the same */
    struct duo d;
    size_t made = 0;

    open_impatient(&d, cfg, how);
    for (enum step step = CREATED; step < end; step++) {
        for (enum who who = I; who <= J; who++) {
            struct interruption x = { step, who, how };
            connect_interrupted(&d, &x);
            talk_interrupted(&d, &x);
            assert_all_is_well(&d);
            made += 2;
        }
    }
    expect_queues(&d, made, how);
    duo_close(&d);
}

static void restarts_at_every_step(void **state)
{
    (void)state;
    interrupted_everywhere(NULL, RESTART);
}

static void restarts_at_every_step_of_the_standard_handshake(void **state)
{
    simplex_server_config cfg = old_server();

    (void)state;
    interrupted_everywhere(&cfg, RESTART);
}

static void is_away_at_every_step(void **state)
{
    (void)state;
    interrupted_everywhere(NULL, AWAY);
}

static void is_away_at_every_step_of_the_standard_handshake(void **state)
{
    simplex_server_config cfg = old_server();

    (void)state;
    interrupted_everywhere(&cfg, AWAY);
}

static void connections_break_at_every_step(void **state)
{
    (void)state;
    interrupted_everywhere(NULL, DROP);
}

static void connections_break_at_every_step_of_the_standard_handshake(void **state)
{
    simplex_server_config cfg = old_server();

    (void)state;
    interrupted_everywhere(&cfg, DROP);
}

static void the_network_is_away_at_every_step(void **state)
{
    (void)state;
    interrupted_everywhere(NULL, CUT);
}

static void the_network_is_away_at_every_step_of_the_standard_handshake(void **state)
{
    simplex_server_config cfg = old_server();

    (void)state;
    interrupted_everywhere(&cfg, CUT);
}

static void the_network_stalls_at_every_step(void **state)
{
    (void)state;
    interrupted_everywhere(NULL, STALL);
}

static void the_network_stalls_at_every_step_of_the_standard_handshake(void **state)
{
    simplex_server_config cfg = old_server();

    (void)state;
    interrupted_everywhere(&cfg, STALL);
}

static void asking_is_interrupted_in_every_way_at_every_step(void **state)
{
    (void)state;
    for (enum how how = RESTART; how <= STALL; how++)
        asked_and_interrupted_everywhere(NULL, how);
}

static void asking_on_an_old_server_is_interrupted_at_every_step(void **state)
{
    simplex_server_config cfg = old_server();

    (void)state;
    asked_and_interrupted_everywhere(&cfg, RESTART);
    asked_and_interrupted_everywhere(&cfg, STALL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(restarts_at_every_step),
        cmocka_unit_test(restarts_at_every_step_of_the_standard_handshake),
        cmocka_unit_test(is_away_at_every_step),
        cmocka_unit_test(is_away_at_every_step_of_the_standard_handshake),
        cmocka_unit_test(connections_break_at_every_step),
        cmocka_unit_test(connections_break_at_every_step_of_the_standard_handshake),
        cmocka_unit_test(the_network_is_away_at_every_step),
        cmocka_unit_test(the_network_is_away_at_every_step_of_the_standard_handshake),
        cmocka_unit_test(the_network_stalls_at_every_step),
        cmocka_unit_test(the_network_stalls_at_every_step_of_the_standard_handshake),
        cmocka_unit_test(asking_is_interrupted_in_every_way_at_every_step),
        cmocka_unit_test(asking_on_an_old_server_is_interrupted_at_every_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
