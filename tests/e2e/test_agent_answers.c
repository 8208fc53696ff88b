/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that are answered by one event without a row. Whatever allocation fails, from the call to
 * its answer: it is refused, or it has its answer. An application that waits never waits in vain.
 */
#include "agent/agent.h"
#include "support/agents.h"

static struct duo d;

struct call {
    simplex_rc (*fn)(struct simplex_agent *a);
    unsigned nth; /* allocation from the call on that fails */
};

static simplex_rc without_memory(struct simplex_agent *a, void *arg)
{
    const struct call *x = arg;

    sx_fault_malloc(x->nth);
    return x->fn(a);
}

static void no_more(void)
{
}

static void each_malloc_may_fail(simplex_rc (*fn)(struct simplex_agent *), int32_t kind,
                                 int64_t conn, void (*after)(void))
{
    struct call x = { .fn = fn };
    unsigned refused = 0;
    bool fired = true;

    for (; fired; x.nth++) {
        assert_in_range(x.nth, 0, 300);
        simplex_rc rc = sx_agent_run(d.i.a, without_memory, &x, false);
        assert_true(rc == SIMPLEX_OK || rc == SIMPLEX_E_NOMEM);
        refused += rc != SIMPLEX_OK;
        if (rc == SIMPLEX_OK)
            expect(&d.i, kind, conn);
        fired = sx_fault_disarm();
        if (rc == SIMPLEX_OK)
            after();
    }
    assert_true(refused > 0); /* what answers is made with the call */
    assert_true(quiet(&d.i, kind, 50));
}

/* ---- the calls ---- */

static simplex_rc test_server(struct simplex_agent *a)
{
    int64_t test;

    return simplex_agent_test_server(
        a, SIMPLEX_USER_DEFAULT, "smp://AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=@127.0.0.1:1",
        &test);
}

static void a_test_of_a_server_is_refused_or_has_its_end(void **state)
{
    (void)state;
    duo_open(&d, NULL);
    each_malloc_may_fail(test_server, SIMPLEX_EV_TEST, 0, no_more);
    duo_close(&d);
}

static simplex_rc suspend(struct simplex_agent *a)
{
    return simplex_agent_suspend(a, 2000);
}

static void resume(void)
{
    assert_int_equal(simplex_agent_resume(d.i.a), SIMPLEX_OK);
}

static void suspending_is_refused_or_told(void **state)
{
    (void)state;
    duo_open(&d, NULL);
    each_malloc_may_fail(suspend, SIMPLEX_EV_SUSPENDED, 0, resume);
    duo_close(&d);
}

static simplex_rc query(struct simplex_agent *a)
{
    return simplex_agent_query_queues(a, d.ic);
}

static void a_question_about_queues_is_refused_or_answered(void **state)
{
    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    each_malloc_may_fail(query, SIMPLEX_EV_QINFO, d.ic, no_more);
    forwarder_set(&d.fi, FORWARD_REFUSE);
    forwarder_drop(&d.fi);
    each_malloc_may_fail(query, SIMPLEX_EV_QINFO, d.ic, no_more);
    duo_close(&d);
}

static simplex_rc peek(struct simplex_agent *a)
{
    return simplex_agent_peek(a, d.ic);
}

static void a_look_at_a_message_is_refused_or_shown(void **state)
{
    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    d.i.cfg.read_only = true;
    agent_reopen(&d.i);
    send_text(&d.j, d.jc, "look at me");
    expect(&d.j, SIMPLEX_EV_SENT, d.jc);
    each_malloc_may_fail(peek, SIMPLEX_EV_PEEKED, d.ic, no_more);
    forwarder_set(&d.fi, FORWARD_REFUSE);
    forwarder_drop(&d.fi);
    each_malloc_may_fail(peek, SIMPLEX_EV_PEEKED, d.ic, no_more);
    duo_close(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_test_of_a_server_is_refused_or_has_its_end),
        cmocka_unit_test(suspending_is_refused_or_told),
        cmocka_unit_test(a_question_about_queues_is_refused_or_answered),
        cmocka_unit_test(a_look_at_a_message_is_refused_or_shown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
