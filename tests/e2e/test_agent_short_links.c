/* SPDX-License-Identifier: Apache-2.0 */
/* Short links between two agents and a real server: how they are made, looked at and joined. */
#include <unistd.h>

#include "short_links_stage.h"

static int32_t state_of(struct test_agent *t, int64_t conn)
{
    simplex_connection_info info = { .size = sizeof info };

    must(simplex_agent_connection(t->a, conn, &info));
    return info.state;
}

/* ---- invitations ---- */

static void an_invitation_is_looked_at_and_joined(void **state)
{
    simplex_link_info info = { .size = sizeof info };
    simplex_event *ev;
    char again[2048];
    size_t len = sizeof again;
    int64_t conn;

    (void)state;
    make(SIMPLEX_LINK_INVITATION, SIMPLEX_PQ_OFF, "come in");
    assert_non_null(strstr(s.link, "/i#"));
    must(simplex_agent_short_link(s.d.i.a, s.ic, again, &len));
    vec_assert_eq(sx_bytes((uint8_t *)again, len), sx_str(s.link), "the link again");
    look(&s.d.j, &s.jc);
    ev = ldata(&s.d.j, s.jc);
    vec_assert_eq(simplex_event_data(ev), sx_str("come in"), "data");
    must(simplex_event_link_info(ev, &info));
    assert_int_equal(info.type, SIMPLEX_LINK_INVITATION);
    assert_int_equal(info.root_key.len, 32);
    vec_assert_eq(info.link, sx_str(s.full), "the full link");
    assert_non_null(strstr(simplex_event_json(ev), "\"type\":\"i\""));
    assert_non_null(strstr(simplex_event_json(ev), "\"data\":\"Y29tZSBpbg==\""));
    simplex_event_free(ev);
    assert_int_equal(state_of(&s.d.j, s.jc), SIMPLEX_CONN_LOOKED);
    look(&s.d.j, &conn); /* the same again */
    assert_int_equal(conn, s.jc);
    expect_data(&s.d.j, s.jc, "come in");
    join(&s.d.j, s.link, SIMPLEX_PQ_OFF, &conn);
    assert_int_equal(conn, s.jc);
    join(&s.d.j, s.link, SIMPLEX_PQ_OFF, &conn); /* a repeat */
    assert_int_equal(conn, s.jc);
    expect(&s.d.j, SIMPLEX_EV_JOINED, s.jc);
    finish(&s.d.j, s.jc, false);
    assert_int_equal(simplex_agent_look(s.d.j.a, sx_str(s.link), &conn), SIMPLEX_E_PROHIBITED);
    len = sizeof again;
    assert_int_equal(simplex_agent_short_link(s.d.i.a, s.ic, again, &len), SIMPLEX_E_PROHIBITED);
}

static void an_invitation_is_joined_without_looking(void **state)
{
    bool pq = sx_kem_available();

    (void)state;
    make(SIMPLEX_LINK_INVITATION, SIMPLEX_PQ_ON, "");
    assert_null(strstr(s.full, "kem_key"));
    join(&s.d.j, s.link, SIMPLEX_PQ_ON, &s.jc);
    expect(&s.d.j, SIMPLEX_EV_JOINED, s.jc);
    finish(&s.d.j, s.jc, pq); /* from the start: the KEM key is in the data */
}

static void the_full_link_of_an_invitation_works_as_well(void **state)
{
    (void)state;
    make(SIMPLEX_LINK_INVITATION, SIMPLEX_PQ_ON, "x");
    join(&s.d.j, s.full, SIMPLEX_PQ_ON, &s.jc);
    expect(&s.d.j, SIMPLEX_EV_JOINED, s.jc);
    finish(&s.d.j, s.jc, sx_kem_available());
}

static void the_full_link_carries_the_kem_key_when_asked(void **state)
{
    (void)state;
    make(SIMPLEX_LINK_INVITATION, SIMPLEX_PQ_IN_LINK, "x");
    assert_int_equal(strstr(s.full, "kem_key") != NULL, sx_kem_available());
}

static void an_invitation_belongs_to_who_looks_first(void **state)
{
    struct test_agent other;
    int64_t conn;

    (void)state;
    make(SIMPLEX_LINK_INVITATION, SIMPLEX_PQ_OFF, "for one");
    look(&s.d.j, &s.jc);
    expect_data(&s.d.j, s.jc, "for one");
    agent_open(&other, s.d.dir, "k", s.d.j_address);
    look(&other, &conn);
    expect_error(&other, conn, SIMPLEX_E_SERVER, "AUTH");
    join(&other, s.link, SIMPLEX_PQ_OFF, &conn);
    expect_error(&other, conn, SIMPLEX_E_SERVER, "AUTH");
    must(simplex_agent_delete(other.a, conn));
    expect(&other, SIMPLEX_EV_DEL_CONN, conn);
    join(&s.d.j, s.link, SIMPLEX_PQ_OFF, &conn);
    expect(&s.d.j, SIMPLEX_EV_JOINED, s.jc);
    look(&other, &conn); /* the server has dropped the data */
    expect_error(&other, conn, SIMPLEX_E_SERVER, "AUTH");
    finish(&s.d.j, s.jc, false);
    agent_close(&other);
}

static void a_restart_between_looking_and_joining_keeps_the_key(void **state)
{
    int64_t conn;

    (void)state;
    make(SIMPLEX_LINK_INVITATION, SIMPLEX_PQ_OFF, "later");
    look(&s.d.j, &s.jc);
    expect_data(&s.d.j, s.jc, "later");
    agent_reopen(&s.d.j);
    agent_reopen(&s.d.i);
    look(&s.d.j, &conn);
    assert_int_equal(conn, s.jc);
    expect_data(&s.d.j, s.jc, "later");
    agent_reopen(&s.d.j);
    join(&s.d.j, s.link, SIMPLEX_PQ_OFF, &conn);
    assert_int_equal(conn, s.jc);
    agent_reopen(&s.d.j);
    expect(&s.d.j, SIMPLEX_EV_JOINED, s.jc);
    finish(&s.d.j, s.jc, false);
}

/* The agent is closed before and after each answer: at one of them LKEY was executed and its answer
 * lost. */
static void a_restart_at_any_time_while_joining_continues(void **state)
{
    (void)state;
    for (useconds_t us = 0; us < 40000; us += 4000) {
        make(SIMPLEX_LINK_INVITATION, SIMPLEX_PQ_OFF, "now");
        join(&s.d.j, s.link, SIMPLEX_PQ_OFF, &s.jc);
        usleep(us);
        agent_reopen(&s.d.j);
        expect(&s.d.j, SIMPLEX_EV_JOINED, s.jc);
        finish(&s.d.j, s.jc, false);
    }
}

static void a_restart_at_any_time_while_making_continues(void **state)
{
    simplex_link_data d = data_of("made");

    (void)state;
    for (useconds_t us = 0; us < 40000; us += 4000) {
        must(simplex_agent_create_short(s.d.i.a, SIMPLEX_LINK_INVITATION, SIMPLEX_PQ_OFF, &d,
                                        &s.ic));
        usleep(us);
        forwarder_drop(&s.d.fi);
        usleep(1000);
        agent_reopen(&s.d.i);
        s.d.i.errors_ok = true; /* NEW may have been executed, and be refused once */
        take_links(&s.d.i, s.ic);
        look(&s.d.j, &s.jc);
        expect_data(&s.d.j, s.jc, "made");
    }
}

/* ---- contact addresses ---- */

static void a_contact_address_is_looked_at_and_asked(void **state)
{
    simplex_link_info info = { .size = sizeof info };
    simplex_event *ev;
    int64_t conn, oc;

    (void)state;
    make(SIMPLEX_LINK_CONTACT, SIMPLEX_PQ_OFF, "my address");
    assert_non_null(strstr(s.link, "/a#"));
    look(&s.d.j, &s.jc);
    ev = ldata(&s.d.j, s.jc);
    must(simplex_event_link_info(ev, &info));
    assert_true(info.direct);
    assert_int_equal(info.type, SIMPLEX_LINK_CONTACT);
    vec_assert_eq(info.link, sx_str(s.full), "the full link");
    simplex_event_free(ev);
    join(&s.d.j, s.link, SIMPLEX_PQ_OFF, &conn);
    assert_int_equal(conn, s.jc);
    expect(&s.d.j, SIMPLEX_EV_JOINED, s.jc);
    ev = wait_event(&s.d.i, SIMPLEX_EV_REQ, s.ic);
    must(simplex_agent_accept(s.d.i.a, simplex_event_request(ev), sx_str("hi"), SIMPLEX_PQ_OFF,
                              &oc));
    simplex_event_free(ev);
    agent_allow(&s.d.j, s.jc, "ok");
    expect(&s.d.i, SIMPLEX_EV_CON, oc);
    expect(&s.d.j, SIMPLEX_EV_CON, s.jc);
    talk(&s.d.i, oc, &s.d.j, s.jc, "through an address");
    /* it may be looked at and asked again */
    look(&s.d.j, &conn);
    assert_int_not_equal(conn, s.jc);
    expect_data(&s.d.j, conn, "my address");
    join(&s.d.j, s.link, SIMPLEX_PQ_OFF, &conn);
    expect(&s.d.j, SIMPLEX_EV_JOINED, conn);
    expect(&s.d.i, SIMPLEX_EV_REQ, s.ic);
}

static void an_address_gets_a_short_link_later(void **state)
{
    simplex_link_data d = data_of("added");
    simplex_event *ev;
    char text[2048];
    size_t len = sizeof text;

    (void)state;
    forwarder_set(&s.d.fi, FORWARD_REFUSE);
    forwarder_drop(&s.d.fi);
    must(simplex_agent_create_address(s.d.i.a, &s.ic));
    assert_int_equal(simplex_agent_delete_link_data(s.d.i.a, s.ic), SIMPLEX_E_PROHIBITED);
    forwarder_set(&s.d.fi, FORWARD);
    must(simplex_agent_reconnect(s.d.i.a));
    expect(&s.d.i, SIMPLEX_EV_INV, s.ic);
    assert_int_equal(simplex_agent_short_link(s.d.i.a, s.ic, text, &len), SIMPLEX_E_PROHIBITED);
    must(simplex_agent_delete_link_data(s.d.i.a, s.ic)); /* none that is known here */
    ev = wait_event(&s.d.i, SIMPLEX_EV_LINK, s.ic);
    assert_int_equal(simplex_event_data(ev).len, 0);
    simplex_event_free(ev);
    must(simplex_agent_set_link_data(s.d.i.a, s.ic, &d));
    ev = wait_event(&s.d.i, SIMPLEX_EV_LINK, s.ic);
    keep(s.link, sizeof s.link, simplex_event_data(ev));
    simplex_event_free(ev);
    look(&s.d.j, &s.jc);
    expect_data(&s.d.j, s.jc, "added");
    join(&s.d.j, s.link, SIMPLEX_PQ_OFF, &s.jc);
    expect(&s.d.i, SIMPLEX_EV_REQ, s.ic);
}

static void an_invitation_without_short_link_gets_none(void **state)
{
    simplex_link_data d = data_of("too late");

    (void)state;
    must(simplex_agent_create(s.d.i.a, SIMPLEX_PQ_OFF, &s.ic));
    assert_int_equal(simplex_agent_set_link_data(s.d.i.a, s.ic, &d), SIMPLEX_E_PROHIBITED);
    expect(&s.d.i, SIMPLEX_EV_INV, s.ic);
    assert_int_equal(simplex_agent_set_link_data(s.d.i.a, s.ic, &d), SIMPLEX_E_PROHIBITED);
}

/* ---- prepared ---- */

static void a_prepared_link_is_known_before_its_queue(void **state)
{
    simplex_link_data d = data_of("prepared");
    char full[4096], link[2048];
    size_t n = sizeof full - 1, m = sizeof link - 1;
    int64_t conn;

    (void)state;
    forwarder_set(&s.d.fi, FORWARD_REFUSE);
    must(simplex_agent_prepare_short(s.d.i.a, SIMPLEX_LINK_CONTACT, 0, &d, &s.ic));
    must(simplex_agent_link(s.d.i.a, s.ic, full, &n));
    must(simplex_agent_short_link(s.d.i.a, s.ic, link, &m));
    full[n] = link[m] = 0;
    agent_reopen(&s.d.i);
    assert_int_equal(state_of(&s.d.i, s.ic), SIMPLEX_CONN_NEW);
    d = data_of("before it is published");
    must(simplex_agent_set_link_data(s.d.i.a, s.ic, &d));
    must(simplex_agent_publish(s.d.i.a, s.ic));
    must(simplex_agent_publish(s.d.i.a, s.ic));
    agent_reopen(&s.d.i);
    forwarder_set(&s.d.fi, FORWARD);
    must(simplex_agent_reconnect(s.d.i.a));
    take_links(&s.d.i, s.ic);
    assert_string_equal(s.full, full);
    assert_string_equal(s.link, link);
    must(simplex_agent_publish(s.d.i.a, s.ic));
    look(&s.d.j, &conn);
    expect_data(&s.d.j, conn, "before it is published");
    join(&s.d.j, full, SIMPLEX_PQ_OFF, &conn);
    expect(&s.d.i, SIMPLEX_EV_REQ, s.ic);
    assert_true(quiet(&s.d.i, SIMPLEX_EV_LINK, 50));
}

static void a_prepared_invitation_has_its_full_link(void **state)
{
    simplex_link_data d = data_of("prepared");
    char full[4096];
    size_t n = sizeof full - 1, m = sizeof s.link;

    (void)state;
    must(simplex_agent_prepare_short(s.d.i.a, SIMPLEX_LINK_INVITATION, 0, &d, &s.ic));
    must(simplex_agent_link(s.d.i.a, s.ic, full, &n));
    full[n] = 0;
    assert_int_equal(simplex_agent_short_link(s.d.i.a, s.ic, s.link, &m), SIMPLEX_E_PROHIBITED);
    must(simplex_agent_publish(s.d.i.a, s.ic));
    take_links(&s.d.i, s.ic);
    assert_string_equal(s.full, full);
    join(&s.d.j, s.link, SIMPLEX_PQ_OFF, &s.jc);
    expect(&s.d.j, SIMPLEX_EV_JOINED, s.jc);
    finish(&s.d.j, s.jc, false);
    assert_int_equal(simplex_agent_publish(s.d.i.a, s.ic), SIMPLEX_E_PROHIBITED);
}

static void a_prepared_link_can_be_forgotten(void **state)
{
    simplex_link_data d = data_of("never");

    (void)state;
    must(simplex_agent_prepare_short(s.d.i.a, SIMPLEX_LINK_CONTACT, 0, &d, &s.ic));
    must(simplex_agent_delete(s.d.i.a, s.ic));
    expect(&s.d.i, SIMPLEX_EV_DEL_CONN, s.ic);
    assert_int_equal(simplex_agent_publish(s.d.i.a, s.ic), SIMPLEX_E_NOT_FOUND);
}

/* ---- without network, with an old server, misused ---- */

static void everything_waits_for_the_network(void **state)
{
    simplex_link_data d = data_of("offline");
    int64_t conn;

    (void)state;
    make(SIMPLEX_LINK_CONTACT, SIMPLEX_PQ_OFF, "online");
    forwarder_set(&s.d.fi, FORWARD_REFUSE);
    must(simplex_agent_set_link_data(s.d.i.a, s.ic, &d));
    agent_reopen(&s.d.i);
    look(&s.d.j, &s.jc); /* the way to i's server is the link's */
    join(&s.d.j, s.link, SIMPLEX_PQ_OFF, &conn);
    assert_int_equal(conn, s.jc);
    agent_reopen(&s.d.j);
    assert_true(quiet(&s.d.j, SIMPLEX_EV_JOINED, 100));
    assert_int_equal(state_of(&s.d.j, s.jc), SIMPLEX_CONN_LOOKING);
    forwarder_set(&s.d.fi, FORWARD);
    must(simplex_agent_reconnect(s.d.i.a));
    must(simplex_agent_reconnect(s.d.j.a));
    expect(&s.d.i, SIMPLEX_EV_LINK, s.ic);
    expect(&s.d.j, SIMPLEX_EV_JOINED, s.jc);
    expect(&s.d.i, SIMPLEX_EV_REQ, s.ic);
    look(&s.d.j, &conn);
    expect_data(&s.d.j, conn, "offline");
}

static void a_look_can_be_called_off(void **state)
{
    int64_t conn;

    (void)state;
    make(SIMPLEX_LINK_CONTACT, SIMPLEX_PQ_OFF, "x");
    forwarder_set(&s.d.fi, FORWARD_REFUSE);
    look(&s.d.j, &s.jc);
    must(simplex_agent_delete(s.d.j.a, s.jc));
    expect(&s.d.j, SIMPLEX_EV_DEL_CONN, s.jc);
    forwarder_set(&s.d.fi, FORWARD);
    look(&s.d.j, &conn);
    assert_int_not_equal(conn, s.jc);
    expect_data(&s.d.j, conn, "x");
}

static void an_old_server_gives_a_full_link_only(void **state)
{
    simplex_link_data d = data_of("x");
    char text[4096];
    size_t len = sizeof text;

    (void)state;
    s.d.i.cfg.smp_max = 14;
    agent_reopen(&s.d.i);
    s.d.i.errors_ok = false;
    must(simplex_agent_create_short(s.d.i.a, SIMPLEX_LINK_INVITATION, 0, &d, &s.ic));
    expect_error(&s.d.i, s.ic, SIMPLEX_E_VERSION, NULL);
    simplex_event *ev = wait_event(&s.d.i, SIMPLEX_EV_INV, s.ic);
    keep(s.full, sizeof s.full, simplex_event_data(ev));
    simplex_event_free(ev);
    assert_int_equal(simplex_agent_short_link(s.d.i.a, s.ic, text, &len), SIMPLEX_E_PROHIBITED);
    join(&s.d.j, s.full, SIMPLEX_PQ_OFF, &s.jc);
    expect(&s.d.j, SIMPLEX_EV_JOINED, s.jc);
    finish(&s.d.j, s.jc, false);
    must(simplex_agent_prepare_short(s.d.i.a, SIMPLEX_LINK_CONTACT, 0, &d, &s.ic));
    must(simplex_agent_publish(s.d.i.a, s.ic));
    expect_error(&s.d.i, s.ic, SIMPLEX_E_VERSION, NULL);
    expect(&s.d.i, SIMPLEX_EV_DEL_CONN, s.ic); /* the link that was told leads nowhere */
}

static void misuse_is_refused(void **state)
{
    simplex_link_data d = data_of("x"), bad = d;
    simplex_link_info info = { .size = sizeof info };
    static uint8_t big[20000];
    simplex_event *ev;
    int64_t conn;

    (void)state;
    make(SIMPLEX_LINK_CONTACT, SIMPLEX_PQ_OFF, "x");
    bad.size = 8;
    assert_int_equal(simplex_agent_create_short(s.d.i.a, 'a', 0, &bad, &conn), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_create_short(s.d.i.a, 'x', 0, &d, &conn), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_create_short(s.d.i.a, 'a', 9, &d, &conn), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_create_short(s.d.i.a, 'a', 0, NULL, &conn), SIMPLEX_E_ARG);
    bad = d;
    bad.no_direct = true;
    assert_int_equal(simplex_agent_create_short(s.d.i.a, 'i', 0, &bad, &conn), SIMPLEX_E_ARG);
    assert_int_equal(simplex_agent_look(s.d.j.a, sx_str(s.full), &conn), SIMPLEX_E_LINK);
    assert_int_equal(simplex_agent_look(s.d.j.a, sx_str("https://x/a#short"), &conn),
                     SIMPLEX_E_LINK);
    assert_int_equal(simplex_agent_publish(s.d.j.a, 12345), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_set_link_data(s.d.j.a, 12345, &d), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_delete_link_data(s.d.j.a, 12345), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(
        simplex_agent_join(s.d.j.a, sx_str(s.link), sx_bytes(big, sizeof big), 0, &conn),
        SIMPLEX_E_TOO_LARGE);
    look(&s.d.j, &s.jc);
    assert_int_equal(simplex_agent_set_link_data(s.d.j.a, s.jc, &d), SIMPLEX_E_PROHIBITED);
    assert_int_equal(simplex_agent_publish(s.d.j.a, s.jc), SIMPLEX_E_PROHIBITED);
    assert_int_equal(simplex_agent_send(s.d.j.a, s.jc, sx_str("x"), 0, &conn),
                     SIMPLEX_E_PROHIBITED);
    expect_data(&s.d.j, s.jc, "x");
    must(simplex_agent_create_address(s.d.j.a, &conn));
    ev = wait_event(&s.d.j, SIMPLEX_EV_INV, conn);
    assert_int_equal(simplex_event_link_info(ev, &info), SIMPLEX_E_PROHIBITED);
    simplex_event_free(ev);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_story, close_story)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_invitation_is_looked_at_and_joined),
        TEST(an_invitation_is_joined_without_looking),
        TEST(the_full_link_of_an_invitation_works_as_well),
        TEST(the_full_link_carries_the_kem_key_when_asked),
        TEST(an_invitation_belongs_to_who_looks_first),
        TEST(a_restart_between_looking_and_joining_keeps_the_key),
        TEST(a_restart_at_any_time_while_joining_continues),
        TEST(a_restart_at_any_time_while_making_continues),
        TEST(a_contact_address_is_looked_at_and_asked),
        TEST(an_address_gets_a_short_link_later),
        TEST(an_invitation_without_short_link_gets_none),
        TEST(a_prepared_link_is_known_before_its_queue),
        TEST(a_prepared_invitation_has_its_full_link),
        TEST(a_prepared_link_can_be_forgotten),
        TEST(everything_waits_for_the_network),
        TEST(a_look_can_be_called_off),
        TEST(an_old_server_gives_a_full_link_only),
        TEST(misuse_is_refused),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
