/* SPDX-License-Identifier: Apache-2.0 */
/* Contact addresses: an owner (the duo's i), whose address many people may write to. */
#include <stdio.h>
#include <unistd.h>

#include "support/agents.h"
#include "support/contact.h"

static struct story {
    struct duo d;
    char link[4096];
    int64_t address;
} s;

static void make_address(struct test_agent *owner, int64_t *conn)
{
    simplex_event *ev;

    must(simplex_agent_create_address(owner->a, conn));
    ev = wait_event(owner, SIMPLEX_EV_INV, *conn);
    simplex_bytes text = simplex_event_data(ev);
    assert_true(text.len < sizeof s.link);
    memcpy(s.link, text.ptr, text.len);
    s.link[text.len] = 0;
    assert_non_null(strstr(s.link, "/contact#/?v=2-7&"));
    simplex_event_free(ev);
}

static int open_story(void **state)
{
    (void)state;
    memset(&s, 0, sizeof s);
    duo_open(&s.d, NULL);
    make_address(&s.d.i, &s.address);
    return 0;
}

static int close_story(void **state)
{
    (void)state;
    duo_close(&s.d);
    return 0;
}

static int64_t ask_as(struct test_agent *t, const char *info, int32_t pq)
{
    int64_t conn;

    must(simplex_agent_join(t->a, sx_str(s.link), sx_str(info), pq, &conn));
    return conn;
}

static int64_t take_request(struct test_agent *owner, const char *info)
{
    simplex_event *ev = wait_event(owner, SIMPLEX_EV_REQ, s.address);
    int64_t id = simplex_event_request(ev);

    if (info != NULL)
        vec_assert_eq(simplex_event_data(ev), sx_str(info), "information in REQ");
    assert_true(id > 0);
    assert_int_equal(simplex_event_conf(ev), 0);
    assert_non_null(simplex_event_server(ev));
    assert_non_null(strstr(simplex_event_json(ev), "\"event\":\"REQ\""));
    assert_non_null(strstr(simplex_event_json(ev), "\"request\":"));
    simplex_event_free(ev);
    return id;
}

static int64_t accept_request(int64_t request, int32_t pq)
{
    int64_t conn;

    must(simplex_agent_accept(s.d.i.a, request, sx_str("I am the owner"), pq, &conn));
    return conn;
}

/* R's part once the owner has accepted. */
static void allow_owner(struct test_agent *t, int64_t conn)
{
    simplex_event *ev = wait_event(t, SIMPLEX_EV_CONF, conn);

    vec_assert_eq(simplex_event_data(ev), sx_str("I am the owner"), "information in CONF");
    must(simplex_agent_allow(t->a, conn, simplex_event_conf(ev), sx_str("I am R")));
    simplex_event_free(ev);
}

static void finish(struct test_agent *r, int64_t rc, int64_t oc)
{
    simplex_event *ev;

    allow_owner(r, rc);
    ev = wait_event(&s.d.i, SIMPLEX_EV_INFO, oc);
    vec_assert_eq(simplex_event_data(ev), sx_str("I am R"), "information in INFO");
    simplex_event_free(ev);
    expect(&s.d.i, SIMPLEX_EV_CON, oc);
    expect(r, SIMPLEX_EV_CON, rc);
}

static void both_talk(struct test_agent *r, int64_t rc, int64_t oc)
{
    talk(&s.d.i, oc, r, rc, "from the owner");
    talk(r, rc, &s.d.i, oc, "from the requester");
}

static size_t waiting(struct test_agent *t, int64_t after)
{
    static int64_t ids[2000];
    size_t n = SX_COUNT(ids);

    must(simplex_agent_requests(t->a, after, ids, &n));
    return n;
}

/* ---- as it should be ---- */

static void two_agents_connect_through_an_address(void **state)
{
    int64_t rc, oc, request;

    (void)state;
    rc = ask_as(&s.d.j, "may I?", SIMPLEX_PQ_OFF);
    expect(&s.d.j, SIMPLEX_EV_JOINED, rc);
    assert_int_equal(connection_info(&s.d.j, rc).state, SIMPLEX_CONN_REQUESTED);
    request = take_request(&s.d.i, "may I?");
    oc = accept_request(request, SIMPLEX_PQ_OFF);
    expect(&s.d.i, SIMPLEX_EV_JOINED, oc);
    finish(&s.d.j, rc, oc);
    both_talk(&s.d.j, rc, oc);
    assert_true(connection_info(&s.d.i, s.address).address);
    assert_false(connection_info(&s.d.i, oc).address);
    assert_false(connection_info(&s.d.i, oc).initiator); /* it joined the link of the request */
    assert_true(connection_info(&s.d.j, rc).initiator);
    assert_true(quiet(&s.d.i, SIMPLEX_EV_REQ, 50));
}

static void a_connection_through_an_address_is_post_quantum_from_the_start(void **state)
{
    int64_t rc, oc;
    simplex_event *ev;

    (void)state;
    if (!sx_kem_available())
        skip();
    rc = ask_as(&s.d.j, "may I?", SIMPLEX_PQ_ON);
    ev = wait_event(&s.d.i, SIMPLEX_EV_REQ, s.address);
    assert_true(simplex_event_pq(ev));
    oc = accept_request(simplex_event_request(ev), SIMPLEX_PQ_ON);
    simplex_event_free(ev);
    allow_owner(&s.d.j, rc);
    ev = wait_event(&s.d.j, SIMPLEX_EV_CON, rc);
    assert_true(simplex_event_pq(ev));
    simplex_event_free(ev);
    expect(&s.d.i, SIMPLEX_EV_CON, oc);
    both_talk(&s.d.j, rc, oc);
    assert_true(connection_info(&s.d.i, oc).pq_snd && connection_info(&s.d.i, oc).pq_rcv);
}

/* Only when both want it. */
static void each_side_can_do_without_post_quantum_keys(void **state)
{
    static const int32_t ways[3][2] = { { SIMPLEX_PQ_ON, SIMPLEX_PQ_OFF },
                                        { SIMPLEX_PQ_OFF, SIMPLEX_PQ_ON },
                                        { SIMPLEX_PQ_OFF, SIMPLEX_PQ_OFF } };

    (void)state;
    for (size_t n = 0; n < SX_COUNT(ways); n++) {
        int64_t rc = ask_as(&s.d.j, "may I?", ways[n][0]);
        int64_t oc = accept_request(take_request(&s.d.i, "may I?"), ways[n][1]);
        allow_owner(&s.d.j, rc);
        simplex_event *ev = wait_event(&s.d.j, SIMPLEX_EV_CON, rc);
        assert_false(simplex_event_pq(ev));
        simplex_event_free(ev);
        ev = wait_event(&s.d.i, SIMPLEX_EV_CON, oc);
        assert_false(simplex_event_pq(ev));
        simplex_event_free(ev);
        both_talk(&s.d.j, rc, oc);
        both_talk(&s.d.j, rc, oc);
    }
}

/* Two owners in one agent, two requesters: each at both addresses. */
static void addresses_and_requesters_are_kept_apart(void **state)
{
    struct test_agent k;
    struct test_agent *who[2] = { &s.d.j, &k };
    int64_t address[2], rc[2][2], oc[2][2];
    char link[2][4096], info[32];

    (void)state;
    memset(&k, 0, sizeof k);
    agent_open(&k, s.d.dir, "k", s.d.j_address);
    for (int n = 0; n < 2; n++) {
        make_address(&s.d.i, &address[n]);
        memcpy(link[n], s.link, sizeof s.link);
    }
    for (int n = 0; n < 2; n++) {
        for (int w = 0; w < 2; w++) {
            (void)snprintf(info, sizeof info, "%d", w);
            must(simplex_agent_join(who[w]->a, sx_str(link[n]), sx_str(info), 0, &rc[n][w]));
        }
    }
    for (int n = 0; n < 2; n++) {
        for (int e = 0; e < 2; e++) {
            simplex_event *ev = wait_event(&s.d.i, SIMPLEX_EV_REQ, address[n]);
            int w = simplex_event_data(ev).ptr[0] - '0';
            assert_in_range(w, 0, 1);
            oc[n][w] = accept_request(simplex_event_request(ev), SIMPLEX_PQ_OFF);
            simplex_event_free(ev);
        }
    }
    for (int n = 0; n < 2; n++) {
        for (int w = 0; w < 2; w++)
            finish(who[w], rc[n][w], oc[n][w]);
    }
    must(simplex_agent_delete(s.d.i.a, address[0]));
    for (int n = 0; n < 2; n++) {
        for (int w = 0; w < 2; w++)
            both_talk(who[w], rc[n][w], oc[n][w]);
    }
    agent_close(&k);
}

/* What an event carries has a length and no end: copied before it is read as a string. */
static int number_asked(const simplex_event *ev)
{
    simplex_bytes info = simplex_event_data(ev);
    char text[32] = "";
    int n = -1;

    assert_true(info.len < sizeof text);
    memcpy(text, info.ptr, info.len);
    assert_int_equal(sscanf(text, "number %d", &n), 1);
    return n;
}

static void many_people_ask_and_each_gets_a_connection(void **state)
{
    enum { N = 12 };
    int64_t rc[N], oc[N];
    char info[32];

    (void)state;
    for (int n = 0; n < N; n++) {
        (void)snprintf(info, sizeof info, "number %d", n);
        rc[n] = ask_as(&s.d.j, info, SIMPLEX_PQ_OFF);
    }
    for (int n = 0; n < N; n++) { /* they may arrive in any order */
        simplex_event *ev = wait_event(&s.d.i, SIMPLEX_EV_REQ, s.address);
        int which = number_asked(ev);
        assert_in_range(which, 0, N - 1);
        oc[which] = accept_request(simplex_event_request(ev), SIMPLEX_PQ_OFF);
        simplex_event_free(ev);
    }
    for (int n = 0; n < N; n++)
        finish(&s.d.j, rc[n], oc[n]);
    for (int n = 0; n < N; n++)
        both_talk(&s.d.j, rc[n], oc[n]);
    assert_int_equal(waiting(&s.d.i, 0), 0);
}

static void an_agent_may_ask_at_its_own_address(void **state)
{
    int64_t rc, oc;

    (void)state;
    rc = ask_as(&s.d.i, "it is me", SIMPLEX_PQ_OFF);
    oc = accept_request(take_request(&s.d.i, "it is me"), SIMPLEX_PQ_OFF);
    finish(&s.d.i, rc, oc);
    both_talk(&s.d.i, rc, oc);
}

static void the_link_of_an_address_is_told_again(void **state)
{
    char again[sizeof s.link];
    size_t len = sizeof again;

    (void)state;
    must(simplex_agent_link(s.d.i.a, s.address, again, &len));
    vec_assert_eq(sx_bytes(again, len), sx_str(s.link), "link");
    agent_reopen(&s.d.i);
    len = 3;
    assert_int_equal(simplex_agent_link(s.d.i.a, s.address, again, &len), SIMPLEX_E_BUFFER);
    assert_int_equal(len, strlen(s.link));
}

/* ---- answers ---- */

static void nothing_reaches_who_was_rejected(void **state)
{
    int64_t rc, conn, request;

    (void)state;
    rc = ask_as(&s.d.j, "may I?", SIMPLEX_PQ_OFF);
    request = take_request(&s.d.i, "may I?");
    must(simplex_agent_reject(s.d.i.a, request));
    must(simplex_agent_reject(s.d.i.a, request)); /* a repeat */
    assert_int_equal(waiting(&s.d.i, 0), 0);
    assert_int_equal(simplex_agent_accept(s.d.i.a, request, sx_str("no"), 0, &conn),
                     SIMPLEX_E_PROHIBITED);
    assert_int_equal(conn, 0);
    assert_true(quiet(&s.d.j, SIMPLEX_EV_CONF, 200));
    must(simplex_agent_delete(s.d.j.a, rc));
    expect(&s.d.j, SIMPLEX_EV_DEL_CONN, rc);
    rc = ask_as(&s.d.j, "please?", SIMPLEX_PQ_OFF); /* with another link: another request */
    finish(&s.d.j, rc, accept_request(take_request(&s.d.i, "please?"), SIMPLEX_PQ_OFF));
}

static void a_repeated_acceptance_tells_the_same_connection(void **state)
{
    int64_t rc = ask_as(&s.d.j, "may I?", SIMPLEX_PQ_OFF), oc, again, request;

    (void)state;
    request = take_request(&s.d.i, "may I?");
    oc = accept_request(request, SIMPLEX_PQ_OFF);
    assert_int_equal(accept_request(request, SIMPLEX_PQ_OFF), oc);
    assert_int_equal(simplex_agent_reject(s.d.i.a, request), SIMPLEX_E_PROHIBITED);
    finish(&s.d.j, rc, oc);
    agent_reopen(&s.d.i);
    assert_int_equal(accept_request(request, SIMPLEX_PQ_OFF), oc);
    both_talk(&s.d.j, rc, oc);
    must(simplex_agent_delete(s.d.i.a, oc));
    assert_int_equal(simplex_agent_accept(s.d.i.a, request, sx_str("x"), 0, &again),
                     SIMPLEX_E_NOT_FOUND);
}

static void a_request_waits_in_the_database_for_its_answer(void **state)
{
    char info[64];
    size_t len = 2;
    int64_t rc = ask_as(&s.d.j, "may I?", SIMPLEX_PQ_OFF), request, ids[4], address, conn;
    size_t n = SX_COUNT(ids);

    (void)state;
    request = take_request(&s.d.i, "may I?");
    agent_reopen(&s.d.i);
    must(simplex_agent_requests(s.d.i.a, 0, ids, &n));
    assert_int_equal(n, 1);
    assert_int_equal(ids[0], request);
    assert_int_equal(simplex_agent_request(s.d.i.a, request, &address, info, &len),
                     SIMPLEX_E_BUFFER);
    assert_int_equal(len, 6);
    len = sizeof info;
    must(simplex_agent_request(s.d.i.a, request, &address, info, &len));
    vec_assert_eq(sx_bytes(info, len), sx_str("may I?"), "information");
    assert_int_equal(address, s.address);
    assert_true(quiet(&s.d.i, SIMPLEX_EV_REQ, 50)); /* it was shown */
    finish(&s.d.j, rc, accept_request(request, SIMPLEX_PQ_OFF));
    len = sizeof info;
    assert_int_equal(simplex_agent_request(s.d.i.a, request, NULL, info, &len),
                     SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_request(s.d.i.a, 99, NULL, info, &len), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_accept(s.d.i.a, 99, sx_str("x"), 0, &conn), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_reject(s.d.i.a, 99), SIMPLEX_E_NOT_FOUND);
}

static void an_address_is_no_connection(void **state)
{
    int64_t id;
    size_t len = 0;

    (void)state;
    assert_int_equal(simplex_agent_send(s.d.i.a, s.address, sx_str("x"), 0, &id),
                     SIMPLEX_E_PROHIBITED);
    assert_int_equal(simplex_agent_allow(s.d.i.a, s.address, 1, sx_str("x")), SIMPLEX_E_NOT_FOUND);
    int64_t rc = ask_as(&s.d.j, "may I?", SIMPLEX_PQ_OFF);
    expect(&s.d.j, SIMPLEX_EV_JOINED, rc);
    assert_int_equal(simplex_agent_link(s.d.j.a, rc, NULL, &len), SIMPLEX_E_PROHIBITED);
    assert_int_equal(simplex_agent_send(s.d.j.a, rc, sx_str("x"), 0, &id), SIMPLEX_E_PROHIBITED);
}

static void information_that_is_too_long_is_refused(void **state)
{
    static uint8_t info[14301];
    int64_t rc;

    (void)state;
    memset(info, 'x', sizeof info);
    assert_int_equal(
        simplex_agent_join(s.d.j.a, sx_str(s.link), sx_bytes(info, sizeof info), 0, &rc),
        SIMPLEX_E_TOO_LARGE);
    must(simplex_agent_join(s.d.j.a, sx_str(s.link), sx_bytes(info, sizeof info - 1), 0, &rc));
    simplex_event *ev = wait_event(&s.d.i, SIMPLEX_EV_REQ, s.address);
    assert_int_equal(simplex_event_data(ev).len, sizeof info - 1);
    assert_int_equal(simplex_agent_accept(s.d.i.a, simplex_event_request(ev),
                                          sx_bytes(info, sizeof info), 0, &rc),
                     SIMPLEX_E_TOO_LARGE);
    must(simplex_agent_accept(s.d.i.a, simplex_event_request(ev), sx_bytes(info, sizeof info - 1),
                              0, &rc));
    simplex_event_free(ev);
}

static void the_longest_information_fits_beside_a_kem_key(void **state)
{
    static uint8_t info[10500];
    int64_t rc;

    (void)state;
    if (!sx_kem_available())
        skip();
    memset(info, 'x', sizeof info);
    must(simplex_agent_join(s.d.j.a, sx_str(s.link), sx_bytes(info, sizeof info), SIMPLEX_PQ_ON,
                            &rc));
    simplex_event *ev = wait_event(&s.d.i, SIMPLEX_EV_REQ, s.address);
    assert_int_equal(simplex_event_data(ev).len, sizeof info);
    simplex_event_free(ev);
}

/* The limits leave room for usual server addresses. With very long ones a request may not fit;
 * which shows only when it is known on which server the queue is. */
static void a_request_that_does_not_fit_is_reported(void **state)
{
    static uint8_t info[14300];
    char address[2048], host[200];
    const char *port = strrchr(s.d.j_address, ':');
    int64_t rc;

    (void)state;
    memset(info, 'x', sizeof info);
    memset(host, 'a', sizeof host);
    for (size_t n = 60; n < sizeof host; n += 61)
        host[n] = '.';
    host[sizeof host - 1] = 0;
    (void)snprintf(address, sizeof address, "%.*s", (int)(port - s.d.j_address), s.d.j_address);
    for (int n = 0; n < 7; n++)
        (void)snprintf(address + strlen(address), sizeof address - strlen(address), ",%s", host);
    (void)snprintf(address + strlen(address), sizeof address - strlen(address), "%s", port);
    s.d.j.servers[0] = address;
    s.d.j.errors_ok = true;
    agent_reopen(&s.d.j);
    must(simplex_agent_join(s.d.j.a, sx_str(s.link), sx_bytes(info, sizeof info), 0, &rc));
    simplex_event *ev = wait_event(&s.d.j, SIMPLEX_EV_ERR, rc);
    assert_int_equal(simplex_event_error(ev), SIMPLEX_E_TOO_LARGE);
    simplex_event_free(ev);
    must(simplex_agent_join(s.d.j.a, sx_str(s.link), sx_bytes(info, 8000), 0, &rc));
    expect(&s.d.j, SIMPLEX_EV_JOINED, rc);
    expect(&s.d.i, SIMPLEX_EV_REQ, s.address);
    s.d.j.servers[0] = s.d.j_address;
}

/* ---- deletion ---- */

static void connections_outlive_their_address(void **state)
{
    int64_t rc = ask_as(&s.d.j, "may I?", SIMPLEX_PQ_OFF), oc, other, waits;

    (void)state;
    oc = accept_request(take_request(&s.d.i, "may I?"), SIMPLEX_PQ_OFF);
    finish(&s.d.j, rc, oc);
    other = ask_as(&s.d.j, "me too?", SIMPLEX_PQ_OFF);
    waits = take_request(&s.d.i, "me too?");
    must(simplex_agent_delete(s.d.i.a, s.address));
    expect(&s.d.i, SIMPLEX_EV_DEL_RCVQ, s.address);
    expect(&s.d.i, SIMPLEX_EV_DEL_CONN, s.address);
    both_talk(&s.d.j, rc, oc);
    assert_int_equal(simplex_agent_accept(s.d.i.a, waits, sx_str("x"), 0, &oc),
                     SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_reject(s.d.i.a, waits), SIMPLEX_E_NOT_FOUND);
    assert_true(quiet(&s.d.j, SIMPLEX_EV_CONF, 50));
    must(simplex_agent_delete(s.d.j.a, other));
    /* whoever comes now is told */
    s.d.j.errors_ok = true;
    rc = ask_as(&s.d.j, "am I late?", SIMPLEX_PQ_OFF);
    simplex_event *ev = wait_event(&s.d.j, SIMPLEX_EV_ERR, rc);
    assert_int_equal(simplex_event_error(ev), SIMPLEX_E_SERVER);
    assert_non_null(strstr(simplex_event_detail(ev), "AUTH"));
    simplex_event_free(ev);
    must(simplex_agent_delete(s.d.j.a, rc));
    expect(&s.d.j, SIMPLEX_EV_DEL_CONN, rc);
}

static void requests_are_dropped_with_their_address_even_while_its_server_is_away(void **state)
{
    int64_t rc = ask_as(&s.d.j, "may I?", SIMPLEX_PQ_OFF), request, conn;

    (void)state;
    expect(&s.d.j, SIMPLEX_EV_JOINED, rc);
    request = take_request(&s.d.i, "may I?");
    forwarder_set(&s.d.fi, FORWARD_REFUSE);
    must(simplex_agent_delete(s.d.i.a, s.address));
    assert_int_equal(simplex_agent_accept(s.d.i.a, request, sx_str("x"), 0, &conn),
                     SIMPLEX_E_NOT_FOUND);
    assert_int_equal(waiting(&s.d.i, 0), 0);
    agent_reopen(&s.d.i);
    forwarder_set(&s.d.fi, FORWARD);
    expect(&s.d.i, SIMPLEX_EV_DEL_CONN, s.address);
}

/* ---- somebody is away ---- */

static void each_step_waits_for_who_is_offline(void **state)
{
    int64_t rc, oc, request;

    (void)state;
    agent_close(&s.d.i); /* the owner is away while it is asked */
    rc = ask_as(&s.d.j, "may I?", SIMPLEX_PQ_OFF);
    expect(&s.d.j, SIMPLEX_EV_JOINED, rc);
    agent_close(&s.d.j); /* the requester while it is accepted */
    agent_reopen(&s.d.i);
    request = take_request(&s.d.i, "may I?");
    oc = accept_request(request, SIMPLEX_PQ_OFF);
    expect(&s.d.i, SIMPLEX_EV_JOINED, oc);
    agent_close(&s.d.i); /* the owner while it is allowed */
    agent_reopen(&s.d.j);
    allow_owner(&s.d.j, rc);
    expect(&s.d.j, SIMPLEX_EV_CON, rc);
    send_text(&s.d.j, rc, "are you there?");
    expect(&s.d.j, SIMPLEX_EV_SENT, rc);
    agent_close(&s.d.j);
    agent_reopen(&s.d.i);
    expect(&s.d.i, SIMPLEX_EV_INFO, oc);
    expect(&s.d.i, SIMPLEX_EV_CON, oc);
    receive_text(&s.d.i, oc, "are you there?");
    agent_reopen(&s.d.j);
    both_talk(&s.d.j, rc, oc);
}

static void each_step_waits_for_the_server(void **state)
{
    int64_t rc, oc, request;

    (void)state;
    forwarder_set(&s.d.fi, FORWARD_REFUSE);
    rc = ask_as(&s.d.j, "may I?", SIMPLEX_PQ_OFF); /* its own queue can be made, SEND cannot */
    assert_true(quiet(&s.d.j, SIMPLEX_EV_JOINED, 300));
    for (int ms = 0; ms < WAIT_MS && connection_info(&s.d.j, rc).state != SIMPLEX_CONN_REQUESTED;
         ms += 10)
        (void)usleep(10000);
    assert_int_equal(connection_info(&s.d.j, rc).state, SIMPLEX_CONN_REQUESTED);
    assert_true(quiet(&s.d.j, SIMPLEX_EV_JOINED, 0));
    agent_reopen(&s.d.j);
    assert_true(quiet(&s.d.j, SIMPLEX_EV_JOINED, 100));
    forwarder_set(&s.d.fi, FORWARD);
    expect(&s.d.j, SIMPLEX_EV_JOINED, rc);
    request = take_request(&s.d.i, "may I?");
    forwarder_set(&s.d.fj, FORWARD_REFUSE);
    oc = accept_request(request, SIMPLEX_PQ_OFF);
    assert_true(quiet(&s.d.i, SIMPLEX_EV_JOINED, 100));
    agent_reopen(&s.d.i);
    forwarder_set(&s.d.fj, FORWARD);
    expect(&s.d.i, SIMPLEX_EV_JOINED, oc);
    finish(&s.d.j, rc, oc);
    both_talk(&s.d.j, rc, oc);
}

static void a_requester_that_was_deleted_asks_no_more(void **state)
{
    int64_t rc;

    (void)state;
    forwarder_set(&s.d.fi, FORWARD_REFUSE);
    rc = ask_as(&s.d.j, "may I?", SIMPLEX_PQ_OFF);
    assert_true(quiet(&s.d.j, SIMPLEX_EV_JOINED, 200));
    must(simplex_agent_delete(s.d.j.a, rc));
    expect(&s.d.j, SIMPLEX_EV_DEL_CONN, rc);
    forwarder_set(&s.d.fi, FORWARD);
    assert_true(quiet(&s.d.i, SIMPLEX_EV_REQ, 300));
}

int main(void)
{
#define STORY(test) cmocka_unit_test_setup_teardown(test, open_story, close_story)
    const struct CMUnitTest tests[] = {
        STORY(two_agents_connect_through_an_address),
        STORY(a_connection_through_an_address_is_post_quantum_from_the_start),
        STORY(each_side_can_do_without_post_quantum_keys),
        STORY(addresses_and_requesters_are_kept_apart),
        STORY(many_people_ask_and_each_gets_a_connection),
        STORY(an_agent_may_ask_at_its_own_address),
        STORY(the_link_of_an_address_is_told_again),
        STORY(nothing_reaches_who_was_rejected),
        STORY(a_repeated_acceptance_tells_the_same_connection),
        STORY(a_request_waits_in_the_database_for_its_answer),
        STORY(an_address_is_no_connection),
        STORY(information_that_is_too_long_is_refused),
        STORY(the_longest_information_fits_beside_a_kem_key),
        STORY(a_request_that_does_not_fit_is_reported),
        STORY(connections_outlive_their_address),
        STORY(requests_are_dropped_with_their_address_even_while_its_server_is_away),
        STORY(each_step_waits_for_who_is_offline),
        STORY(each_step_waits_for_the_server),
        STORY(a_requester_that_was_deleted_asks_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
