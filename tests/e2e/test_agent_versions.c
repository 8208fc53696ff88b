/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Agents of different versions (protocol/agent.md section 1): who is older knows less of the agent,
 * of queues or of the ratchet. Older peers are our own agent with narrower ranges.
 */
#include <stdio.h>

#include "agent/agent.h"
#include "support/server_process.h" /* TESTS_SANITIZED */
#include "support/sides.h"

#if defined(TESTS_SANITIZED)
#define STRIDE 3 /* of each table only every third row */
#else
#define STRIDE 1
#endif

static struct stage { /* shared by all tests: each makes connections of its own */
    char dir[256];
    struct test_server srv;
    struct test_agent i, j;
} s;

static int open_stage(void **state)
{
    (void)state;
    memset(&s, 0, sizeof s);
    tmp_make(s.dir);
    server_start(&s.srv, NULL);
    agent_open(&s.i, s.dir, "i", s.srv.address);
    agent_open(&s.j, s.dir, "j", s.srv.address);
    return 0;
}

static int close_stage(void **state)
{
    (void)state;
    agent_close(&s.i);
    agent_close(&s.j);
    server_stop(&s.srv);
    tmp_remove(s.dir);
    return 0;
}

/* ---- what an agent speaks ---- */

static const struct sx_speaks everything = { { SX_AGENT_MIN, SX_AGENT_MAX },
                                             { SX_CLIENT_MIN, SX_CLIENT_MAX },
                                             { SX_E2E_MIN, SX_E2E_MAX } };

static simplex_rc set_versions(struct simplex_agent *a, void *p)
{
    a->speaks = *(const struct sx_speaks *)p;
    return SIMPLEX_OK;
}

static void speak(struct test_agent *t, struct sx_speaks v)
{
    must(sx_agent_run(t->a, set_versions, &v, false));
}

static void speak_agent(struct test_agent *t, uint16_t max)
{
    struct sx_speaks v = everything;

    v.agent.max = max;
    speak(t, v);
}

struct seen { /* rows of a connection */
    int64_t conn;
    uint16_t agent, ratchet, rcv_client, snd_client;
};

static simplex_rc look_inside(struct simplex_agent *a, void *p)
{
    struct seen *seen = p;
    struct sx_conn c;
    struct sx_ratchet r;
    struct sx_rcv_queue rq;
    struct sx_snd_queue sq;
    simplex_rc rc = sx_store_conn_get(a->store, seen->conn, &c);

    memset(&r, 0, sizeof r);
    if (rc == SIMPLEX_OK)
        rc = sx_store_ratchet_get(a->store, c.id, &r);
    if (rc == SIMPLEX_OK)
        rc = sx_store_rcvq_of(a->store, c.id, 0, &rq);
    if (rc == SIMPLEX_OK)
        rc = sx_store_sndq_of(a->store, c.id, 0, &sq);
    if (rc == SIMPLEX_OK) {
        seen->agent = c.agent_version;
        seen->ratchet = r.current;
        seen->rcv_client = rq.client_version;
        seen->snd_client = sq.client_version;
    }
    sx_ratchet_wipe(&r);
    return rc;
}

static struct seen inside(struct test_agent *t, int64_t conn)
{
    struct seen seen = { .conn = conn };

    must(sx_agent_run(t->a, look_inside, &seen, true));
    return seen;
}

/* ---- who is older ---- */

static const struct peer {
    const char *name;
    struct sx_speaks v;
} older[] = {
    { "the release before", { { 2, 6 }, { 1, 3 }, { 2, 2 } } },
    { "before the ratchet with a KEM", { { 2, 7 }, { 1, 4 }, { 2, 2 } } },
    { "agent 6", { { 2, 6 }, { 1, 4 }, { 2, 3 } } },
    { "agent 5", { { 2, 5 }, { 1, 4 }, { 2, 3 } } },
    { "agent 4", { { 2, 4 }, { 1, 4 }, { 2, 3 } } },
    { "agent 2", { { 2, 2 }, { 1, 4 }, { 2, 3 } } },
    { "queues 3", { { 2, 7 }, { 1, 3 }, { 2, 3 } } },
    { "queues 2", { { 2, 7 }, { 1, 2 }, { 2, 3 } } },
    { "queues 1", { { 2, 7 }, { 1, 1 }, { 2, 3 } } },
    { "the oldest", { { 2, 2 }, { 1, 1 }, { 2, 2 } } },
};

static uint16_t lower(uint16_t a, uint16_t b)
{
    return a < b ? a : b;
}

static bool pq_between(const struct sx_speaks *x, const struct sx_speaks *y)
{
    return sx_kem_available() && lower(x->agent.max, y->agent.max) >= 5 &&
           lower(x->e2e.max, y->e2e.max) >= 3;
}

static void assert_agreed(struct side *x, const struct sx_speaks *a, const struct sx_speaks *b)
{
    struct seen seen = inside(x->t, x->conn);

    assert_int_equal(seen.agent, lower(a->agent.max, b->agent.max));
    assert_int_equal(seen.ratchet, lower(a->e2e.max, b->e2e.max));
    assert_int_equal(seen.rcv_client, lower(a->client.max, b->client.max));
    assert_int_equal(seen.snd_client, lower(a->client.max, b->client.max));
}

/* i made the link, or asked at an address. Ids tell which handshake it was: queues before 3 cannot
 * say that their sender may secure them. */
static void meet(struct side *i, const struct sx_speaks *iv, struct side *j,
                 const struct sx_speaks *jv)
{
    bool pq = pq_between(iv, jv);
    bool fast = lower(iv->client.max, jv->client.max) >= 3;
    simplex_connection_info info = { .size = sizeof info };

    assert_int_equal(i->con, pq);
    assert_int_equal(j->con, pq);
    must(simplex_agent_connection(i->t->a, i->conn, &info));
    assert_int_equal(info.last_msg_id, fast ? 1 : 3);
    assert_agreed(i, iv, jv);
    assert_agreed(j, iv, jv);
    both_say(i, j, 2, pq);
    assert_agreed(i, iv, jv);
    assert_agreed(j, iv, jv);
}

typedef void way_fn(const struct sx_speaks *iv, const struct sx_speaks *jv);

static void each_pair(way_fn *way)
{
    for (size_t n = 0; n < SX_COUNT(older); n += STRIDE) {
        const struct sx_speaks *v = &older[n].v;
        print_message("           %s: one, the other, both\n", older[n].name);
        way(v, &everything);
        way(&everything, v);
        way(v, v);
    }
    speak(&s.i, everything);
    speak(&s.j, everything);
}

static void invite(const struct sx_speaks *iv, const struct sx_speaks *jv)
{
    struct side i = { .t = &s.i, .pq = SIMPLEX_PQ_ON }, j = { .t = &s.j, .pq = SIMPLEX_PQ_ON };

    speak(i.t, *iv);
    speak(j.t, *jv);
    by_invitation(&i, &j);
    meet(&i, iv, &j, jv);
    part(&i, &j);
}

static void older_agents_connect_by_invitation(void **state)
{
    (void)state;
    each_pair(invite);
}

static void ask(const struct sx_speaks *rv, const struct sx_speaks *ov)
{
    struct side r = { .t = &s.i, .pq = SIMPLEX_PQ_ON }, o = { .pq = SIMPLEX_PQ_ON };
    struct address at;

    speak(&s.i, *rv);
    speak(&s.j, *ov);
    make_address(&at, &s.j);
    by_address(&at, &r, &o);
    meet(&r, rv, &o, ov);
    part(&r, &o);
    drop_address(&at);
}

static void older_agents_connect_through_an_address(void **state)
{
    (void)state;
    each_pair(ask);
}

/* Who does not know queues of version 4 cannot know short links. */
static void invite_shortly(const struct sx_speaks *iv, const struct sx_speaks *jv)
{
    struct side i = { .t = &s.i, .pq = SIMPLEX_PQ_ON }, j = { .t = &s.j, .pq = SIMPLEX_PQ_ON };

    if (lower(iv->client.max, jv->client.max) < 4)
        return;
    speak(i.t, *iv);
    speak(j.t, *jv);
    by_short_link(&i, &j);
    meet(&i, iv, &j, jv);
    part(&i, &j);
}

static void older_agents_connect_by_a_short_link(void **state)
{
    (void)state;
    each_pair(invite_shortly);
}

static void moved(struct side *x, struct side *y)
{
    must(simplex_agent_switch(x->t->a, x->conn, sx_bytes(NULL, 0)));
    wait_moved(x->t, x->conn);
    wait_moved(y->t, y->conn);
}

static void move(const struct sx_speaks *iv, const struct sx_speaks *jv)
{
    struct side i = { .t = &s.i, .pq = SIMPLEX_PQ_ON }, j = { .t = &s.j, .pq = SIMPLEX_PQ_ON };

    speak(i.t, *iv);
    speak(j.t, *jv);
    by_invitation(&i, &j);
    moved(&i, &j);
    moved(&j, &i);
    both_say(&i, &j, 1, pq_between(iv, jv));
    assert_agreed(&i, iv, jv);
    assert_agreed(&j, iv, jv);
    part(&i, &j);
}

static void queues_of_older_agents_move(void **state)
{
    (void)state;
    each_pair(move);
}

static void nothing_in_common_is_refused(void **state)
{
    const struct sx_speaks strange[] = { { { 8, 9 }, { 1, 4 }, { 2, 3 } },
                                         { { 2, 7 }, { 5, 6 }, { 2, 3 } },
                                         { { 2, 7 }, { 1, 4 }, { 4, 5 } } };
    simplex_event *inv;
    struct address at;
    int64_t ic, jc;

    (void)state;
    must(simplex_agent_create(s.i.a, SIMPLEX_PQ_ON, &ic));
    inv = wait_event(&s.i, SIMPLEX_EV_INV, ic);
    make_address(&at, &s.i);
    for (size_t n = 0; n < SX_COUNT(strange); n++) {
        speak(&s.j, strange[n]);
        assert_int_equal(
            simplex_agent_join(s.j.a, simplex_event_data(inv), sx_str("J"), SIMPLEX_PQ_ON, &jc),
            SIMPLEX_E_VERSION);
        if (n < 2) /* an address has no keys of a ratchet */
            assert_int_equal(simplex_agent_join(s.j.a, simplex_event_data(at.inv), sx_str("J"),
                                                SIMPLEX_PQ_ON, &jc),
                             SIMPLEX_E_VERSION);
    }
    speak(&s.j, everything);
    simplex_event_free(inv);
    must(simplex_agent_delete(s.i.a, ic));
    drop_address(&at);
}

/* ---- versions change ---- */

static void assert_versions(struct side *i, uint16_t iv, struct side *j, uint16_t jv)
{
    assert_int_equal(inside(i->t, i->conn).agent, iv);
    assert_int_equal(inside(j->t, j->conn).agent, jv);
}

static void the_version_rises_with_the_peers_and_never_falls(void **state)
{
    struct side i = { .t = &s.i, .pq = SIMPLEX_PQ_OFF }, j = { .t = &s.j, .pq = SIMPLEX_PQ_OFF };

    (void)state;
    speak_agent(i.t, 4);
    speak_agent(j.t, 2);
    by_invitation(&i, &j);
    both_say(&i, &j, 1, false);
    assert_versions(&i, 2, &j, 2);
    speak_agent(j.t, 3); /* it is updated, and each message tells */
    say(&i, &j, false);
    assert_versions(&i, 2, &j, 3); /* of i it knew only what both could */
    say(&j, &i, false);
    assert_versions(&i, 3, &j, 3);
    speak_agent(i.t, 2); /* set back: what was agreed on holds */
    both_say(&i, &j, 1, false);
    assert_versions(&i, 3, &j, 3);
    speak_agent(i.t, 5);
    speak_agent(j.t, 7);
    both_say(&i, &j, 1, false);
    assert_versions(&i, 5, &j, 5);
    speak(i.t, everything);
    say(&i, &j, false);
    assert_versions(&i, 5, &j, 7);
    say(&j, &i, false);
    assert_versions(&i, 7, &j, 7);
    part(&i, &j);
}

/* The ratchet's version is in each header: it rises when both are updated, and with it the KEM. */
static void the_ratchet_rises_too(void **state)
{
    const struct sx_speaks *v2 = &older[1].v;
    struct side i = { .t = &s.i, .pq = SIMPLEX_PQ_ON }, j = { .t = &s.j, .pq = SIMPLEX_PQ_ON };
    int64_t id;

    (void)state;
    speak(i.t, *v2);
    speak(j.t, *v2);
    by_invitation(&i, &j);
    both_say(&i, &j, 1, false);
    speak(i.t, everything);
    both_say(&i, &j, 1, false);
    assert_int_equal(inside(i.t, i.conn).ratchet, 2);
    speak(j.t, everything);
    both_say(&i, &j, 2, false);
    assert_int_equal(inside(i.t, i.conn).ratchet, 3);
    assert_int_equal(inside(j.t, j.conn).ratchet, 3);
    for (int n = 0; n < 8; n++) { /* asked for with each message */
        struct side *from = n % 2 != 0 ? &j : &i, *to = n % 2 != 0 ? &i : &j;
        must(simplex_agent_send(from->t->a, from->conn, sx_str("on"), SIMPLEX_SEND_PQ_ON, &id));
        expect(from->t, SIMPLEX_EV_SENT, from->conn);
        receive_text(to->t, to->conn, "on");
    }
    both_say(&i, &j, 1, sx_kem_available());
    part(&i, &j);
}

/* Who sends a message may not know yet that its reader was updated. */
static void receipts_wait_for_their_version(void **state)
{
    struct side i = { .t = &s.i, .pq = SIMPLEX_PQ_OFF }, j = { .t = &s.j, .pq = SIMPLEX_PQ_OFF };

    (void)state;
    speak_agent(i.t, 3);
    by_invitation(&i, &j);
    for (int n = 0; n < 2; n++) {
        send_text(i.t, i.conn, "a receipt, please");
        simplex_event *ev = wait_event(j.t, SIMPLEX_EV_MSG, j.conn);
        must(simplex_agent_ack_receipt(j.t->a, j.conn, simplex_event_msg_id(ev), sx_str("")));
        simplex_event_free(ev);
        expect(i.t, SIMPLEX_EV_SENT, i.conn);
        say(&j, &i, false); /* behind the receipt, had there been one */
        assert_int_equal(quiet(i.t, SIMPLEX_EV_RCVD, 1), n == 0);
        speak(i.t, everything);
        say(&i, &j, false);
    }
    part(&i, &j);
}

static void a_new_ratchet_waits_for_its_version(void **state)
{
    struct side i = { .t = &s.i, .pq = SIMPLEX_PQ_OFF }, j = { .t = &s.j, .pq = SIMPLEX_PQ_OFF };

    (void)state;
    speak_agent(i.t, 2);
    by_invitation(&i, &j);
    assert_int_equal(simplex_agent_sync_ratchet(j.t->a, j.conn, true), SIMPLEX_E_VERSION);
    speak(i.t, everything);
    both_say(&i, &j, 1, false);
    must(simplex_agent_sync_ratchet(j.t->a, j.conn, true));
    wait_synced(j.t, j.conn);
    wait_synced(i.t, i.conn);
    both_say(&i, &j, 1, false);
    part(&i, &j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(older_agents_connect_by_invitation),
        cmocka_unit_test(older_agents_connect_through_an_address),
        cmocka_unit_test(older_agents_connect_by_a_short_link),
        cmocka_unit_test(queues_of_older_agents_move),
        cmocka_unit_test(nothing_in_common_is_refused),
        cmocka_unit_test(the_version_rises_with_the_peers_and_never_falls),
        cmocka_unit_test(the_ratchet_rises_too),
        cmocka_unit_test(receipts_wait_for_their_version),
        cmocka_unit_test(a_new_ratchet_waits_for_its_version),
    };

    return cmocka_run_group_tests(tests, open_stage, close_stage);
}
