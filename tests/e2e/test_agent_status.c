/* SPDX-License-Identifier: Apache-2.0 */
/* What servers say about our queues, and what is subscribed where. */
#include <unistd.h>

#include "agent/agent.h"
#include "agent/status.h"
#include "support/one_duo.h"

static simplex_queue_status query(struct test_agent *t, int64_t conn)
{
    simplex_queue_status q = { .size = sizeof q };

    assert_int_equal(simplex_agent_query_queues(t->a, conn), SIMPLEX_OK);
    simplex_event *ev = wait_event(t, SIMPLEX_EV_QINFO, conn);
    assert_string_equal(simplex_event_name(ev), "QINFO");
    assert_non_null(simplex_event_server(ev));
    assert_int_equal(simplex_event_error(ev), SIMPLEX_OK);
    assert_int_equal(simplex_event_queue(ev, &q), SIMPLEX_OK);
    assert_non_null(strstr(simplex_event_json(ev), "\"subscription\":\""));
    simplex_event_free(ev);
    return q;
}

static void the_server_tells_of_waiting_messages(void **state)
{
    (void)state;
    simplex_queue_status q = query(&d.j, d.jc);
    assert_true(q.secured);
    assert_false(q.notifier || q.full || q.delivered);
    assert_int_equal(q.messages, 0);
    assert_int_not_equal(q.subscription, SIMPLEX_QUEUE_NO_SUB);
    for (int n = 0; n < 3; n++) {
        send_text(&d.i, d.ic, "waits");
        expect(&d.i, SIMPLEX_EV_SENT, d.ic);
    }
    expect(&d.j, SIMPLEX_EV_MSG, d.jc); /* and is not acknowledged */
    q = query(&d.j, d.jc);
    assert_int_equal(q.messages, 3);
    assert_true(q.delivered);
    assert_int_equal(q.subscription, SIMPLEX_QUEUE_IDLE);
    assert_int_equal(simplex_agent_subscribe(d.j.a, d.jc, false), SIMPLEX_OK);
    agent_reopen(&d.j); /* in a session without a subscription */
    q = query(&d.j, d.jc);
    assert_int_equal(q.subscription, SIMPLEX_QUEUE_NO_SUB);
    assert_int_equal(q.messages, 3);
}

static void a_query_without_a_server_or_a_queue_fails(void **state)
{
    simplex_queue_status q = { .size = sizeof q };

    (void)state;
    assert_int_equal(simplex_agent_query_queues(NULL, d.ic), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_query_queues(d.i.a, d.ic + 7), SIMPLEX_E_NOT_FOUND);
    forwarder_set(&d.fi, FORWARD_REFUSE);
    expect(&d.i, SIMPLEX_EV_DOWN, 0);
    assert_int_equal(simplex_agent_query_queues(d.i.a, d.ic), SIMPLEX_OK);
    simplex_event *ev = wait_event(&d.i, SIMPLEX_EV_QINFO, d.ic);
    assert_int_not_equal(simplex_event_error(ev), SIMPLEX_OK);
    assert_int_equal(simplex_event_queue(ev, &q), SIMPLEX_E_ARG);
    assert_non_null(strstr(simplex_event_json(ev), "\"error\""));
    simplex_event_free(ev);
    int64_t conn;
    assert_int_equal(simplex_agent_create(d.i.a, SIMPLEX_PQ_OFF, &conn), SIMPLEX_OK);
    assert_int_equal(simplex_agent_query_queues(d.i.a, conn), SIMPLEX_E_PROHIBITED);
    forwarder_set(&d.fi, FORWARD);
    expect(&d.i, SIMPLEX_EV_INV, conn);
    assert_int_equal(simplex_agent_delete(d.i.a, d.ic), SIMPLEX_OK);
    assert_int_equal(simplex_agent_query_queues(d.i.a, d.ic), SIMPLEX_E_NOT_FOUND);
}

static simplex_server_status sums(struct test_agent *t)
{
    simplex_server_status sum = { .size = sizeof sum }, s = { .size = sizeof s };

    for (size_t n = 0; simplex_agent_server(t->a, n, &s) == SIMPLEX_OK; n++) {
        sum.sessions += s.sessions;
        sum.attempts += s.attempts;
        sum.subscriptions += s.subscriptions;
        sum.sent += s.sent;
        sum.send_errors += s.send_errors;
        sum.received += s.received;
        sum.acknowledged += s.acknowledged;
        sum.bytes_in += s.bytes_in;
        sum.bytes_out += s.bytes_out;
    }
    return sum;
}

static void what_went_on_with_servers_is_counted(void **state)
{
    simplex_connection_info info = { .size = sizeof info };

    (void)state;
    agent_reopen(&d.i);
    agent_reopen(&d.j);
    expect(&d.i, SIMPLEX_EV_UP, 0);
    expect(&d.j, SIMPLEX_EV_UP, 0);
    simplex_server_status i0 = sums(&d.i), j0 = sums(&d.j);
    assert_true(i0.sessions == 1 && i0.attempts == 1); /* nothing else was needed */
    assert_int_equal(i0.subscriptions, 1);
    for (int n = 0; n < 5; n++)
        talk(&d.i, d.ic, &d.j, d.jc, "counted");
    simplex_server_status i = sums(&d.i), j = sums(&d.j);
    assert_int_equal(i.sent - i0.sent, 5);
    assert_int_equal(i.send_errors, i0.send_errors);
    assert_int_equal(j.received - j0.received, 5);
    assert_true(j.acknowledged - j0.acknowledged >= 4); /* the last one may be on its way */
    assert_true(i.bytes_out - i0.bytes_out >= 5 * 16384 && j.bytes_in - j0.bytes_in >= 5 * 16384);
    assert_int_equal(i.bytes_out % 16384, 0);
    assert_int_equal(simplex_agent_connection(d.i.a, d.ic, &info), SIMPLEX_OK);
    int64_t sent = info.sent;
    assert_int_equal(simplex_agent_connection(d.j.a, d.jc, &info), SIMPLEX_OK);
    assert_int_equal(info.received, sent);
    forwarder_set(&d.fj, FORWARD_REFUSE);
    send_text(&d.i, d.ic, "delayed");
    for (int n = 0; n < 2000 && sums(&d.i).send_errors == i.send_errors; n++)
        usleep(10000);
    assert_true(sums(&d.i).send_errors > i.send_errors);
}

/* Of all servers that the agent knows. */
static simplex_server_status totals(struct test_agent *t)
{
    simplex_server_status sum = { .size = sizeof sum }, s = { .size = sizeof s };
    simplex_rc rc;

    for (size_t n = 0; (rc = simplex_agent_server(t->a, n, &s)) == SIMPLEX_OK; n++) {
        assert_non_null(strchr(s.server, ':'));
        sum.active += s.active;
        sum.pending += s.pending;
        sum.queues += s.queues;
        assert_int_equal(s.version != 0, s.connected);
    }
    assert_int_equal(rc, SIMPLEX_E_NOT_FOUND);
    return sum;
}

static void wait_for(struct test_agent *t, int64_t active, int64_t pending)
{
    simplex_server_status s = totals(t);

    for (int ms = 0; ms < WAIT_MS && (s.active != active || s.pending != pending); ms += 10) {
        usleep(10000);
        s = totals(t);
    }
    assert_int_equal(s.active, active);
    assert_int_equal(s.pending, pending);
}

static void subscriptions_are_counted(void **state)
{
    simplex_server_status s = { .size = sizeof s };
    int64_t i2, j2;

    (void)state;
    assert_int_equal(simplex_agent_server(d.i.a, 0, &s), SIMPLEX_E_NOT_FOUND);
    duo_connect(&d);
    connect_agents(&d.i, &d.j, SIMPLEX_PQ_OFF, &i2, &j2);
    wait_for(&d.i, 2, 0);
    assert_int_equal(totals(&d.i).queues, 2);
    assert_int_equal(simplex_agent_subscribe(d.i.a, i2, false), SIMPLEX_OK);
    wait_for(&d.i, 1, 0);
    assert_int_equal(totals(&d.i).queues, 2);
    forwarder_set(&d.fi, FORWARD_REFUSE);
    expect(&d.i, SIMPLEX_EV_DOWN, 0);
    wait_for(&d.i, 0, 1);
    forwarder_set(&d.fi, FORWARD);
    wait_for(&d.i, 1, 0);
    s.size = 3;
    assert_int_equal(simplex_agent_server(d.i.a, 0, &s), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_server(NULL, 0, &s), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_server(d.i.a, 0, NULL), SIMPLEX_E_ARG);
}

static void only_what_a_server_may_say_is_read(void **state)
{
    static const char *const bad[] = {
        "",
        "{",
        "[]",
        "null",
        "\"qiSize\"",
        "{}",
        "{\"qiSnd\":true}",
        "{\"qiSnd\":1,\"qiSize\":1}",
        "{\"qiSnd\":true,\"qiSize\":\"1\"}",
        "{\"qiSnd\":true,\"qiSize\":-1}",
        "{\"qiSnd\":true,\"qiSize\":1e300}",
        "{\"qiSnd\":true,\"qiSize\":0,\"qiSub\":[]}",
        "{\"qiSnd\":true,\"qiSize\":0,\"qiSub\":{\"qSubThread\":7}}",
        "{\"qiSnd\":true,\"qiSize\":0,\"qiSub\":{\"qSubThread\":\"else\"}}",
    };
    static char deep[100000];
    simplex_queue_status q;

    (void)state;
    for (size_t n = 0; n < SX_COUNT(bad); n++)
        assert_int_equal(sx_queue_status_parse(sx_str(bad[n]), &q), SIMPLEX_E_RESPONSE);
    memset(deep, '[', sizeof deep);
    for (size_t n = 1; n <= sizeof deep; n *= 4)
        assert_int_equal(sx_queue_status_parse(sx_bytes(deep, n), &q), SIMPLEX_E_RESPONSE);
    const char *good = "{\"qiSnd\":true,\"qiNtf\":true,\"qiSub\":{\"qSubThread\":\"prohibitSub\","
                       "\"qDelivered\":\"MDEy\"},\"qiSize\":129,\"qiMsg\":{\"msgId\":\"MDEy\","
                       "\"msgTs\":\"2026-11-22T03:36:27Z\",\"msgType\":\"quota\"},\"new\":[]}";
    assert_int_equal(sx_queue_status_parse(sx_str(good), &q), SIMPLEX_OK);
    assert_true(q.secured && q.notifier && q.delivered && q.full);
    assert_int_equal(q.subscription, SIMPLEX_QUEUE_GET_ONLY);
    assert_int_equal(q.messages, 129);
    good = "{\"qiSnd\":false,\"qiNtf\":false,\"qiSize\":0}";
    assert_int_equal(sx_queue_status_parse(sx_str(good), &q), SIMPLEX_OK);
    assert_false(q.secured || q.notifier || q.delivered || q.full);
    assert_int_equal(q.subscription, SIMPLEX_QUEUE_NO_SUB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_server_tells_of_waiting_messages, connected_duo,
                                        close_duo),
        cmocka_unit_test_setup_teardown(a_query_without_a_server_or_a_queue_fails, connected_duo,
                                        close_duo),
        cmocka_unit_test_setup_teardown(what_went_on_with_servers_is_counted, connected_duo,
                                        close_duo),
        cmocka_unit_test_setup_teardown(subscriptions_are_counted, opened_duo, close_duo),
        cmocka_unit_test(only_what_a_server_may_say_is_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
