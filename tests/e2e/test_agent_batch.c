/* SPDX-License-Identifier: Apache-2.0 */
/* One message to many connections at once, and many messages in one call. */
#include "agent/agent.h"
#include "support/agents.h"

#define CONNS 8

struct party {
    struct duo d;
    int64_t i[CONNS], j[CONNS];
};

static void party_open(struct party *p)
{
    memset(p, 0, sizeof *p);
    duo_open(&p->d, NULL);
    for (size_t n = 0; n < CONNS; n++)
        connect_agents(&p->d.i, &p->d.j, SIMPLEX_PQ_OFF, &p->i[n], &p->j[n]);
}

static size_t send_batch(struct test_agent *t, simplex_batch_message *m, size_t n)
{
    size_t sent = 99;
    simplex_rc rc = simplex_agent_send_batch(t->a, m, n, sizeof *m, &sent);

    if (rc != SIMPLEX_OK)
        fail_msg("batch: %s", simplex_rc_name(rc));
    return sent;
}

static void to_all(const struct party *p, simplex_batch_message m[CONNS], simplex_bytes body)
{
    for (size_t n = 0; n < CONNS; n++)
        m[n] = (simplex_batch_message){ .conn = p->i[n], .body = body, .rc = -1, .msg_id = -1 };
}

static void a_body_reaches_everybody(void **state)
{
    static char text[15000];
    struct party p;
    simplex_batch_message m[CONNS];

    (void)state;
    party_open(&p);
    memset(text, 'x', sizeof text - 1);
    to_all(&p, m, sx_str(text));
    assert_int_equal(send_batch(&p.d.i, m, CONNS), CONNS);
    for (size_t n = 0; n < CONNS; n++) {
        assert_int_equal(m[n].rc, SIMPLEX_OK);
        simplex_event *ev = wait_event(&p.d.i, SIMPLEX_EV_SENT, p.i[n]);
        assert_int_equal(simplex_event_msg_id(ev), m[n].msg_id);
        simplex_event_free(ev);
        (void)receive_text(&p.d.j, p.j[n], text);
    }
    for (size_t n = 0; n < CONNS; n++)
        talk(&p.d.j, p.j[n], &p.d.i, p.i[n], "seen");
    duo_close(&p.d);
}

/* What was promised is delivered by the next process, from the one stored body. */
static void a_batch_survives_a_restart(void **state)
{
    struct party p;
    simplex_batch_message m[CONNS];
    char text[512];

    (void)state;
    party_open(&p);
    memset(text, 'r', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    duo_ways(&p.d, FORWARD_REFUSE);
    to_all(&p, m, sx_str(text));
    assert_int_equal(send_batch(&p.d.i, m, CONNS), CONNS);
    memset(m, 0, sizeof m);
    to_all(&p, m, sx_str("and a second one of its own for each, but not worth sharing"));
    assert_int_equal(send_batch(&p.d.i, m, CONNS), CONNS);
    agent_close(&p.d.i);
    duo_ways(&p.d, FORWARD);
    agent_reopen(&p.d.i);
    for (size_t n = 0; n < CONNS; n++) {
        (void)receive_text(&p.d.j, p.j[n], text);
        (void)receive_text(&p.d.j, p.j[n],
                           "and a second one of its own for each, but not worth sharing");
    }
    duo_close(&p.d);
}

static void each_message_fails_by_itself(void **state)
{
    static uint8_t large[16000];
    static const char text[] = "a text that is long enough to be kept in a row of its own, shared";
    struct party p;
    simplex_batch_message m[7] = { { .conn = 0 } };
    size_t sent;

    (void)state;
    party_open(&p);
    m[0] = (simplex_batch_message){ .conn = 4711, .body = sx_str(text) }; /* the first of a run */
    m[1] = (simplex_batch_message){ .conn = p.i[1], .body = m[0].body };
    m[2] = (simplex_batch_message){ .conn = p.i[2], .body = sx_bytes(large, sizeof large) };
    m[3] = (simplex_batch_message){ .conn = p.i[3], .body = m[2].body };
    m[4] = (simplex_batch_message){ .conn = p.i[4], .body = sx_str("alone") };
    m[5] = (simplex_batch_message){ .conn = p.i[1], .body = sx_bytes(NULL, 0) };
    m[6] = (simplex_batch_message){ .conn = p.i[1], .body = sx_str("third") };
    assert_int_equal(send_batch(&p.d.i, m, 7), 4);
    assert_int_equal(m[0].rc, SIMPLEX_E_NOT_FOUND);
    assert_int_equal(m[0].msg_id, 0);
    assert_int_equal(m[1].rc, SIMPLEX_OK);
    assert_int_equal(m[2].rc, SIMPLEX_E_TOO_LARGE);
    assert_int_equal(m[3].rc, SIMPLEX_E_TOO_LARGE);
    (void)receive_text(&p.d.j, p.j[1], text);
    (void)receive_text(&p.d.j, p.j[1], "");
    (void)receive_text(&p.d.j, p.j[1], "third");
    (void)receive_text(&p.d.j, p.j[4], "alone");
    talk(&p.d.i, p.i[2], &p.d.j, p.j[2], "no gap"); /* what failed used no number */

    m[1].flags = 6; /* nothing of a batch that makes no sense is sent */
    assert_int_equal(simplex_agent_send_batch(p.d.i.a, m, 7, sizeof *m, &sent), SIMPLEX_E_ARG);
    assert_int_equal(sent, 0);
    for (size_t n = 0; n < 7; n++)
        assert_int_equal(m[n].rc, SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_send_batch(p.d.i.a, m, 7, 8, &sent), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_send_batch(p.d.i.a, NULL, 1, sizeof *m, &sent), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_send_batch(p.d.i.a, NULL, 0, sizeof *m, NULL), SIMPLEX_OK);
    assert_true(quiet(&p.d.j, SIMPLEX_EV_MSG, 200));
    duo_close(&p.d);
}

/* ---- all or nothing ---- */

struct attempt {
    simplex_batch_message *m;
    size_t n;
    const char *before, *after; /* SQL around the batch */
    unsigned nth;               /* the statement that fails */
    simplex_rc fault;           /* with this; OK: none does */
    bool fired;
    simplex_rc rc;
    size_t sent;
};

/* On the agent's thread: nothing else meets the fault. */
static simplex_rc try_batch(struct simplex_agent *a, void *arg)
{
    struct attempt *x = arg;

    if (x->before != NULL)
        assert_int_equal(sx_store_exec(a->store, x->before), SIMPLEX_OK);
    sx_store_fault(a->store, x->nth, x->fault);
    x->rc = simplex_agent_send_batch(a, x->m, x->n, sizeof *x->m, &x->sent);
    x->fired = sx_store_fault_disarm(a->store);
    if (x->after != NULL)
        assert_int_equal(sx_store_exec(a->store, x->after), SIMPLEX_OK);
    return SIMPLEX_OK;
}

/* What the results say is what arrives. */
static void expect_as_said(struct party *p, const struct attempt *x, const char *text)
{
    size_t sent = 0;

    for (size_t n = 0; n < x->n; n++)
        sent += x->m[n].rc == SIMPLEX_OK;
    assert_int_equal(sent, x->sent);
    for (size_t n = 0; n < x->n; n++) {
        if (x->rc != SIMPLEX_OK) {
            assert_int_equal(x->m[n].rc, x->rc);
            assert_int_equal(x->m[n].msg_id, 0);
        }
        if (x->m[n].rc == SIMPLEX_OK)
            (void)receive_text(&p->d.j, p->j[n], text);
    }
    for (size_t n = 0; n < x->n; n++) {
        (void)send_text(&p->d.i, p->i[n], "what follows");
        (void)receive_text(&p->d.j, p->j[n], "what follows");
    }
}

/* A statement that fails and leaves the transaction as it was. */
static void a_batch_that_fails_in_the_middle_sends_nothing(void **state)
{
    static const char text[] = "a text that is long enough to be kept in a row of its own, shared";
    static const struct {
        const char *broken;
        bool shared_first;
    } cases[] = {
        { "CREATE TRIGGER broken BEFORE INSERT ON snd_bodies BEGIN DELETE FROM nowhere; END",
          false },
        { "CREATE TRIGGER broken BEFORE DELETE ON snd_bodies BEGIN DELETE FROM nowhere; END",
          true },
    };
    struct party p;

    (void)state;
    party_open(&p);
    for (size_t k = 0; k < SX_COUNT(cases); k++) {
        simplex_batch_message m[4];
        struct attempt x = {
            .m = m, .n = 4, .before = cases[k].broken, .after = "DROP TRIGGER broken"
        };
        for (size_t n = 0; n < 4; n++) {
            bool shared = (n < 2) == cases[k].shared_first;
            m[n] = (simplex_batch_message){ .conn = p.i[n],
                                            .body = shared ? sx_str(text) : sx_str("alone") };
        }
        assert_int_equal(sx_agent_run(p.d.i.a, try_batch, &x, false), SIMPLEX_OK);
        assert_int_equal(x.rc, SIMPLEX_E_DB_DAMAGED);
        assert_int_equal(x.sent, 0);
        expect_as_said(&p, &x, "none of it");
    }
    duo_close(&p.d);
}

/* Each statement of a batch fails in turn, and takes the transaction with it. */
static void a_batch_on_a_full_disk_is_sent_as_a_whole_or_not_at_all(void **state)
{
    static const char text[] = "a text that is long enough to be kept in a row of its own, shared";
    struct party p;
    simplex_batch_message m[3];
    struct attempt x = { .m = m, .n = 3, .fault = SIMPLEX_E_DB_FULL, .fired = true };

    (void)state;
    party_open(&p);
    p.d.i.errors_ok = true;
    for (; x.fired; x.nth++) {
        assert_in_range(x.nth, 0, 200);
        for (size_t n = 0; n < 3; n++)
            m[n] = (simplex_batch_message){ .conn = p.i[n], .body = sx_str(text) };
        (void)!sx_agent_run(p.d.i.a, try_batch, &x, false);
        if (x.rc != SIMPLEX_OK)
            assert_int_equal(x.sent, 0);
        expect_as_said(&p, &x, text);
    }
    assert_true(x.nth > 20);
    assert_int_equal(x.rc, SIMPLEX_OK);
    duo_close(&p.d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_body_reaches_everybody),
        cmocka_unit_test(a_batch_survives_a_restart),
        cmocka_unit_test(each_message_fails_by_itself),
        cmocka_unit_test(a_batch_that_fails_in_the_middle_sends_nothing),
        cmocka_unit_test(a_batch_on_a_full_disk_is_sent_as_a_whole_or_not_at_all),
    };

    return cmocka_run_group_tests_name("agent_batch", tests, NULL, NULL);
}
