/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Agents of different versions and wishes (protocol/agent.md section 1, and the matrices of section
 * 11): who is older knows less of the agent, of queues or of the ratchet, and each of the two may
 * or may not want post-quantum keys. Older peers are our own agent with narrower ranges.
 */
#include <stdio.h>

#include "agent/agent.h"
#include "support/agents.h"
#include "support/server_process.h" /* TESTS_SANITIZED */

#if defined(TESTS_SANITIZED)
#define STRIDE 3 /* of each table only every third row */
#else
#define STRIDE 1
#endif

#define OLD_SMP 8 /* a server before queues that their sender secures */

enum { CURRENT, OLD, SERVERS };

static struct stage { /* shared by all tests: each makes connections of its own */
    char dir[256];
    struct test_server srv[SERVERS];
    struct test_agent i, j, k, old_i, old_j, old_k, via_i, via_j;
} s;

static void must(simplex_rc rc)
{
    if (rc != SIMPLEX_OK)
        fail_msg("%s", simplex_rc_name(rc));
}

/* Its servers are written to through themselves. */
static void open_routed(struct test_agent *t, const char *name)
{
    agent_open(t, s.dir, name, s.srv[CURRENT].address);
    t->cfg.proxy_mode = SIMPLEX_PROXY_ALWAYS;
    agent_reopen(t);
}

static int open_stage(void **state)
{
    simplex_server_config old;

    (void)state;
    memset(&s, 0, sizeof s);
    tmp_make(s.dir);
    server_start(&s.srv[CURRENT], NULL);
    simplex_server_config_init(&old);
    old.max_version = OLD_SMP;
    old.end_flush_ms = 0;
    server_start(&s.srv[OLD], &old);
    agent_open(&s.i, s.dir, "i", s.srv[CURRENT].address);
    agent_open(&s.j, s.dir, "j", s.srv[CURRENT].address);
    agent_open(&s.k, s.dir, "k", s.srv[CURRENT].address);
    agent_open(&s.old_i, s.dir, "old_i", s.srv[OLD].address);
    agent_open(&s.old_j, s.dir, "old_j", s.srv[OLD].address);
    agent_open(&s.old_k, s.dir, "old_k", s.srv[OLD].address);
    open_routed(&s.via_i, "via_i");
    open_routed(&s.via_j, "via_j");
    return 0;
}

static int close_stage(void **state)
{
    struct test_agent *all[] = {
        &s.i, &s.j, &s.k, &s.old_i, &s.old_j, &s.old_k, &s.via_i, &s.via_j
    };

    (void)state;
    for (size_t n = 0; n < SX_COUNT(all); n++)
        agent_close(all[n]);
    for (int n = 0; n < SERVERS; n++)
        server_stop(&s.srv[n]);
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

/* ---- handshakes ---- */

struct side {
    struct test_agent *t;
    int32_t pq; /* its wish */
    int64_t conn;
    bool supports; /* in CONF or INFO */
    bool con;      /* in CON */
};

static bool pq_of(struct side *x, int32_t kind)
{
    simplex_event *ev = wait_event(x->t, kind, x->conn);
    bool pq = simplex_event_pq(ev);

    simplex_event_free(ev);
    return pq;
}

/* From CONF on: i has the link that j joined. */
static void finish(struct side *i, struct side *j)
{
    simplex_event *ev = wait_event(i->t, SIMPLEX_EV_CONF, i->conn);

    vec_assert_eq(simplex_event_data(ev), sx_str("J"), "CONF");
    i->supports = simplex_event_pq(ev);
    must(simplex_agent_allow(i->t->a, i->conn, simplex_event_conf(ev), sx_str("I")));
    simplex_event_free(ev);
    j->supports = pq_of(j, SIMPLEX_EV_INFO);
    j->con = pq_of(j, SIMPLEX_EV_CON);
    i->con = pq_of(i, SIMPLEX_EV_CON);
}

static void by_invitation(struct side *i, struct side *j)
{
    simplex_event *inv;

    must(simplex_agent_create(i->t->a, i->pq, &i->conn));
    inv = wait_event(i->t, SIMPLEX_EV_INV, i->conn);
    must(simplex_agent_join(j->t->a, simplex_event_data(inv), sx_str("J"), j->pq, &j->conn));
    simplex_event_free(inv);
    finish(i, j);
}

static void by_short_link(struct side *i, struct side *j)
{
    simplex_link_data d = { .size = sizeof d, .data = sx_str("about me") };
    simplex_event *link;

    must(simplex_agent_create_short(i->t->a, SIMPLEX_LINK_INVITATION, i->pq, &d, &i->conn));
    link = wait_event(i->t, SIMPLEX_EV_LINK, i->conn);
    must(simplex_agent_join(j->t->a, simplex_event_data(link), sx_str("J"), j->pq, &j->conn));
    simplex_event_free(link);
    finish(i, j);
}

struct address {
    struct test_agent *t;
    int64_t conn;
    simplex_event *inv; /* with the link */
};

static void make_address(struct address *a, struct test_agent *t)
{
    a->t = t;
    must(simplex_agent_create_address(t->a, &a->conn));
    a->inv = wait_event(t, SIMPLEX_EV_INV, a->conn);
}

static void drop_address(struct address *a)
{
    simplex_event_free(a->inv);
    must(simplex_agent_delete(a->t->a, a->conn));
}

/* r asks and becomes the initiator; o, the owner, accepts. */
static void by_address(const struct address *at, struct side *r, struct side *o)
{
    simplex_event *req;

    must(simplex_agent_join(r->t->a, simplex_event_data(at->inv), sx_str("may I?"), r->pq,
                            &r->conn));
    req = wait_event(at->t, SIMPLEX_EV_REQ, at->conn);
    vec_assert_eq(simplex_event_data(req), sx_str("may I?"), "REQ");
    o->t = at->t;
    must(simplex_agent_accept(o->t->a, simplex_event_request(req), sx_str("J"), o->pq, &o->conn));
    simplex_event_free(req);
    finish(r, o);
}

/* ---- conversation ---- */

static void say(struct side *from, struct side *to, bool pq)
{
    int64_t id = send_text(from->t, from->conn, "hello");
    simplex_event *ev = wait_event(to->t, SIMPLEX_EV_MSG, to->conn);

    vec_assert_eq(simplex_event_data(ev), sx_str("hello"), "message");
    assert_int_equal(simplex_event_integrity(ev, NULL, NULL), SIMPLEX_MSG_OK);
    assert_int_equal(simplex_event_pq(ev), pq);
    must(simplex_agent_ack(to->t->a, to->conn, simplex_event_msg_id(ev)));
    simplex_event_free(ev);
    ev = wait_event(from->t, SIMPLEX_EV_SENT, from->conn);
    assert_int_equal(simplex_event_msg_id(ev), id);
    assert_int_equal(simplex_event_server(ev) != NULL, from->t->cfg.proxy_mode != 0);
    simplex_event_free(ev);
}

static void both_say(struct side *i, struct side *j, int rounds, bool pq)
{
    for (int n = 0; n < rounds; n++) {
        say(i, j, pq);
        say(j, i, pq);
    }
}

/* Events that no test asked for. */
static void forget(struct test_agent *t)
{
    while (t->n_held > 0)
        simplex_event_free(t->held[--t->n_held]);
}

/* Both go: what is deleted on one side is refused to the other, and nothing else comes. */
static void part(struct side *i, struct side *j)
{
    simplex_event *ev;

    must(simplex_agent_delete(i->t->a, i->conn));
    expect(i->t, SIMPLEX_EV_DEL_CONN, i->conn);
    int64_t id = send_text(j->t, j->conn, "too late");
    ev = wait_event(j->t, SIMPLEX_EV_MERR, j->conn);
    assert_int_equal(simplex_event_msg_id(ev), id);
    assert_string_equal(simplex_event_detail(ev), "AUTH");
    simplex_event_free(ev);
    must(simplex_agent_delete(j->t->a, j->conn));
    expect(j->t, SIMPLEX_EV_DEL_CONN, j->conn);
    forget(i->t);
    forget(j->t);
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
    int32_t phase = 0;

    must(simplex_agent_switch(x->t->a, x->conn, sx_bytes(NULL, 0)));
    while (phase != SIMPLEX_SWITCH_COMPLETED) {
        simplex_event *ev = wait_event(x->t, SIMPLEX_EV_SWITCH, x->conn);
        phase = simplex_event_switch(ev, NULL);
        assert_int_not_equal(phase, SIMPLEX_SWITCH_ABORTED);
        simplex_event_free(ev);
    }
    for (phase = 0; phase != SIMPLEX_SWITCH_COMPLETED;) {
        simplex_event *ev = wait_event(y->t, SIMPLEX_EV_SWITCH, y->conn);
        phase = simplex_event_switch(ev, NULL);
        simplex_event_free(ev);
    }
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

/* ---- post-quantum keys: who wants them ---- */

static const struct setting {
    const char *name;
    struct test_agent *a, *b, *c;
} settings[] = {
    { "current servers", &s.i, &s.j, &s.k },
    { "an old server", &s.old_i, &s.old_j, &s.old_k },
    { "through a proxy", &s.via_i, &s.via_j, &s.via_j },
};

static bool wants(int32_t pq)
{
    return pq != SIMPLEX_PQ_OFF && sx_kem_available();
}

static void assert_longest(struct side *from, struct side *to, size_t max)
{
    static uint8_t body[16000];
    int64_t id;

    memset(body, 'x', sizeof body);
    assert_int_equal(simplex_agent_send(from->t->a, from->conn, sx_bytes(body, max + 1), 0, &id),
                     SIMPLEX_E_TOO_LARGE);
    must(simplex_agent_send(from->t->a, from->conn, sx_bytes(body, max), 0, &id));
    expect(from->t, SIMPLEX_EV_SENT, from->conn);
    simplex_event *ev = wait_event(to->t, SIMPLEX_EV_MSG, to->conn);
    assert_int_equal(simplex_event_data(ev).len, max);
    assert_int_equal(simplex_event_integrity(ev, NULL, NULL), SIMPLEX_MSG_OK);
    must(simplex_agent_ack(to->t->a, to->conn, simplex_event_msg_id(ev)));
    simplex_event_free(ev);
}

/* What the reference asserts for each combination: CONF tells I's wish, INFO J's, CON whether a KEM
 * protects what follows. Each side's messages are as short as its own wish makes them. */
static void assert_wishes(struct side *i, struct side *j)
{
    bool both = wants(i->pq) && wants(j->pq);

    assert_int_equal(i->supports, wants(i->pq));
    assert_int_equal(j->supports, wants(j->pq));
    assert_int_equal(i->con, both);
    assert_int_equal(j->con, both);
    both_say(i, j, 3, both);
    assert_longest(i, j, wants(i->pq) ? 13573 : 15795);
    assert_longest(j, i, wants(j->pq) ? 13573 : 15795);
}

static void an_invitation_asks_for_keys_and_a_joiner_agrees(void **state)
{
    static const int32_t link[] = { SIMPLEX_PQ_OFF, SIMPLEX_PQ_ON, SIMPLEX_PQ_IN_LINK };
    static const int32_t joiner[] = { SIMPLEX_PQ_OFF, SIMPLEX_PQ_ON };

    (void)state;
    for (size_t n = 0; n < SX_COUNT(settings) * 6; n += STRIDE) {
        const struct setting *x = &settings[n / 6];
        struct side i = { .t = x->a, .pq = link[n % 6 / 2] },
                    j = { .t = x->b, .pq = joiner[n % 2] };
        by_invitation(&i, &j);
        assert_wishes(&i, &j);
        part(&i, &j);
    }
}

static void behind_a_short_link_as_well(void **state)
{
    static const int32_t link[] = { SIMPLEX_PQ_OFF, SIMPLEX_PQ_ON, SIMPLEX_PQ_IN_LINK };
    static const int32_t joiner[] = { SIMPLEX_PQ_OFF, SIMPLEX_PQ_ON };

    (void)state;
    for (size_t n = 0; n < 2 * 6; n += STRIDE) { /* old servers have no short links */
        const struct setting *x = &settings[n / 6 * 2];
        struct side i = { .t = x->a, .pq = link[n % 6 / 2] },
                    j = { .t = x->b, .pq = joiner[n % 2] };
        by_short_link(&i, &j);
        assert_wishes(&i, &j);
        part(&i, &j);
    }
}

static void whoever_asks_at_an_address_has_a_wish_too(void **state)
{
    (void)state;
    for (size_t n = 0; n < SX_COUNT(settings) * 4; n += STRIDE) {
        const struct setting *x = &settings[n / 4];
        struct side r = { .t = x->b, .pq = n % 2 != 0 ? SIMPLEX_PQ_ON : SIMPLEX_PQ_OFF };
        struct side o = { .pq = n / 2 % 2 != 0 ? SIMPLEX_PQ_ON : SIMPLEX_PQ_OFF };
        struct address at;
        make_address(&at, x->a);
        by_address(&at, &r, &o);
        assert_wishes(&r, &o);
        part(&r, &o);
        drop_address(&at);
    }
}

/* One address, one answer to both; each requester has a wish of its own. */
static void three_users_have_three_wishes(void **state)
{
    (void)state;
    for (size_t n = 0; n < 2 * 8; n += STRIDE) {
        const struct setting *x = &settings[n / 8];
        struct side b = { .t = x->b, .pq = n & 2 ? SIMPLEX_PQ_ON : SIMPLEX_PQ_OFF };
        struct side c = { .t = x->c, .pq = n & 1 ? SIMPLEX_PQ_ON : SIMPLEX_PQ_OFF };
        struct side ab = { .pq = n & 4 ? SIMPLEX_PQ_ON : SIMPLEX_PQ_OFF }, ac = ab;
        struct address at;
        make_address(&at, x->a);
        by_address(&at, &b, &ab);
        by_address(&at, &c, &ac);
        assert_wishes(&b, &ab);
        assert_wishes(&c, &ac);
        part(&b, &ab);
        part(&c, &ac);
        drop_address(&at);
    }
}

static simplex_rc send_long(struct side *from, size_t len, uint32_t flags)
{
    static uint8_t body[16000];
    int64_t id;

    memset(body, 'x', sizeof body);
    return simplex_agent_send(from->t->a, from->conn, sx_bytes(body, len), flags, &id);
}

static void hear_long(struct side *from, struct side *to, size_t len, bool pq)
{
    simplex_event *ev = wait_event(to->t, SIMPLEX_EV_MSG, to->conn);

    assert_int_equal(simplex_event_data(ev).len, len);
    assert_int_equal(simplex_event_integrity(ev, NULL, NULL), SIMPLEX_MSG_OK);
    assert_int_equal(simplex_event_pq(ev), pq);
    must(simplex_agent_ack(to->t->a, to->conn, simplex_event_msg_id(ev)));
    simplex_event_free(ev);
    expect(from->t, SIMPLEX_EV_SENT, from->conn);
}

/* Where the reference takes the numbers of a message that is too long, and the peer misses them,
 * nothing happens here. Once on, the room for the KEM stays, whatever is switched off. */
static void keys_wanted_later_make_messages_shorter_for_good(void **state)
{
    struct side i = { .t = &s.i, .pq = SIMPLEX_PQ_OFF }, j = { .t = &s.j, .pq = SIMPLEX_PQ_OFF };

    (void)state;
    if (!sx_kem_available())
        skip();
    by_invitation(&i, &j);
    must(send_long(&i, 15795, 0));
    hear_long(&i, &j, 15795, false);
    assert_int_equal(send_long(&i, 15795, SIMPLEX_SEND_PQ_ON), SIMPLEX_E_TOO_LARGE);
    assert_int_equal(send_long(&i, 13574, SIMPLEX_SEND_PQ_ON), SIMPLEX_E_TOO_LARGE);
    must(send_long(&i, 15795, 0)); /* refused, so nothing has changed */
    hear_long(&i, &j, 15795, false);
    for (int n = 0; n < 8; n++) {
        struct side *from = n % 2 != 0 ? &j : &i, *to = n % 2 != 0 ? &i : &j;
        must(send_long(from, 13573, SIMPLEX_SEND_PQ_ON));
        hear_long(from, to, 13573, n >= 3);
    }
    for (int n = 0; n < 6; n++) {
        struct side *from = n % 2 != 0 ? &j : &i, *to = n % 2 != 0 ? &i : &j;
        assert_int_equal(send_long(from, 13574, SIMPLEX_SEND_PQ_OFF), SIMPLEX_E_TOO_LARGE);
        must(send_long(from, 13573, SIMPLEX_SEND_PQ_OFF));
        hear_long(from, to, 13573, n < 2);
    }
    both_say(&i, &j, 1, false);
    part(&i, &j);
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

static void wait_sync_ok(struct side *x)
{
    for (int32_t now = SIMPLEX_SYNC_REQUIRED; now != SIMPLEX_SYNC_OK;) {
        simplex_event *ev = wait_event(x->t, SIMPLEX_EV_RSYNC, x->conn);
        now = simplex_event_sync_state(ev);
        simplex_event_free(ev);
    }
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
    wait_sync_ok(&j);
    wait_sync_ok(&i);
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
        cmocka_unit_test(an_invitation_asks_for_keys_and_a_joiner_agrees),
        cmocka_unit_test(behind_a_short_link_as_well),
        cmocka_unit_test(whoever_asks_at_an_address_has_a_wish_too),
        cmocka_unit_test(three_users_have_three_wishes),
        cmocka_unit_test(keys_wanted_later_make_messages_shorter_for_good),
        cmocka_unit_test(the_version_rises_with_the_peers_and_never_falls),
        cmocka_unit_test(the_ratchet_rises_too),
        cmocka_unit_test(receipts_wait_for_their_version),
        cmocka_unit_test(a_new_ratchet_waits_for_its_version),
    };

    return cmocka_run_group_tests(tests, open_stage, close_stage);
}
