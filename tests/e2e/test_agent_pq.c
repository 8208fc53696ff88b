/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each of two sides may or may not want post-quantum keys (the matrices of protocol/agent.md
 * section 11), over current and old servers and through a proxy.
 */
#include <stdio.h>

#include "support/server_process.h" /* TESTS_SANITIZED */
#include "support/sides.h"

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

/* ---- who wants them ---- */

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

static void assert_longest(struct side *from, struct side *to, size_t max, bool pq)
{
    assert_int_equal(send_long(from, max + 1, 0), SIMPLEX_E_TOO_LARGE);
    must(send_long(from, max, 0));
    hear_long(from, to, max, pq);
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
    assert_longest(i, j, wants(i->pq) ? 13573 : 15795, both);
    assert_longest(j, i, wants(j->pq) ? 13573 : 15795, both);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_invitation_asks_for_keys_and_a_joiner_agrees),
        cmocka_unit_test(behind_a_short_link_as_well),
        cmocka_unit_test(whoever_asks_at_an_address_has_a_wish_too),
        cmocka_unit_test(three_users_have_three_wishes),
        cmocka_unit_test(keys_wanted_later_make_messages_shorter_for_good),
    };

    return cmocka_run_group_tests(tests, open_stage, close_stage);
}
