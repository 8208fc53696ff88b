/* SPDX-License-Identifier: Apache-2.0 */
/* Several users in one agent: their servers, their sessions, their connections and links. */
#include <stdio.h>

#include "users_stage.h"

/* ---- users and lists ---- */

static void a_user_has_its_own_servers_and_sessions(void **state)
{
    int64_t a, pa, b, pb, c, pc;
    simplex_server_status s;

    (void)state;
    connect_user(SIMPLEX_USER_DEFAULT, &a, &pa);
    connect_user(w.user, &b, &pb);
    assert_int_equal(user_of(a), SIMPLEX_USER_DEFAULT);
    assert_int_equal(user_of(b), w.user);
    assert_int_equal(queue_port(&w.t, a), w.to_one.port);
    assert_int_equal(queue_port(&w.t, b), w.to_two.port);
    assert_true(session_of(SIMPLEX_USER_DEFAULT, w.to_one.port, &s));
    assert_int_equal(s.active, 1);
    assert_true(session_of(w.user, w.to_two.port, &s));
    assert_int_equal(s.active, 1);
    assert_false(session_of(w.user, w.to_one.port, &s));
    /* on the same server they still are strangers */
    int64_t third = make_user(w.one_address);
    unsigned before = forwarder_accepted(&w.to_one);
    connect_user(third, &c, &pc);
    assert_int_equal(queue_port(&w.t, c), w.to_one.port);
    assert_int_equal(forwarder_accepted(&w.to_one), before + 1);
    assert_true(session_of(third, w.to_one.port, &s));
    assert_int_equal(s.queues, 1);
    talk(&w.t, a, &w.p, pa, "one");
    talk(&w.t, b, &w.p, pb, "two");
    talk(&w.p, pc, &w.t, c, "three");
}

static void two_users_of_an_agent_can_be_connected(void **state)
{
    int64_t a, b;

    (void)state;
    assert_int_equal(simplex_agent_create_as(w.t.a, w.user, SIMPLEX_PQ_OFF, &a), SIMPLEX_OK);
    agent_join(&w.t, a, &w.t, "me", &b);
    agent_allow(&w.t, a, "too");
    expect(&w.t, SIMPLEX_EV_CON, a);
    expect(&w.t, SIMPLEX_EV_CON, b);
    talk(&w.t, a, &w.t, b, "to myself");
    talk(&w.t, b, &w.t, a, "and back");
}

static void up_and_down_tell_the_user(void **state)
{
    int64_t a, pa, b, pb;
    size_t n;

    (void)state;
    connect_user(SIMPLEX_USER_DEFAULT, &a, &pa);
    connect_user(w.user, &b, &pb);
    forwarder_set(&w.to_two, FORWARD_REFUSE);
    simplex_event *ev = wait_event(&w.t, SIMPLEX_EV_DOWN, 0);
    assert_int_equal(simplex_event_user(ev), w.user);
    assert_int_equal(simplex_event_conns(ev, &n)[0], b);
    assert_int_equal(n, 1);
    simplex_event_free(ev);
    forwarder_set(&w.to_two, FORWARD);
    ev = wait_event(&w.t, SIMPLEX_EV_UP, 0);
    assert_int_equal(simplex_event_user(ev), w.user);
    assert_non_null(strstr(simplex_event_json(ev), "\"user\":2"));
    simplex_event_free(ev);
    talk(&w.p, pb, &w.t, b, "again");
}

/* The session that was made first comes last. */
static int64_t user_of_first_session(void)
{
    simplex_server_status s = { .size = sizeof s };
    int64_t user = 0;

    for (size_t i = 0; simplex_agent_server(w.t.a, i, &s) == SIMPLEX_OK; i++)
        user = s.user;
    return user;
}

static void the_active_user_is_subscribed_first(void **state)
{
    int64_t a, pa, b, pb;

    (void)state;
    connect_user(SIMPLEX_USER_DEFAULT, &a, &pa);
    connect_user(w.user, &b, &pb);
    agent_reopen(&w.t);
    assert_int_equal(user_of_first_session(), SIMPLEX_USER_DEFAULT);
    assert_int_equal(simplex_agent_activate_user(w.t.a, w.user), SIMPLEX_OK);
    agent_reopen(&w.t);
    assert_int_equal(user_of_first_session(), w.user);
    talk(&w.p, pa, &w.t, a, "both");
    talk(&w.p, pb, &w.t, b, "are there");
}

static void users_and_their_lists_survive_a_restart(void **state)
{
    simplex_user_server list[2] = { entry(w.one_address, 7), entry(w.two_address, -8) };
    simplex_user_server out = { .size = sizeof out };
    char text[600];
    size_t len = sizeof text, n = 4;
    int64_t ids[4], b, pb;

    (void)state;
    list[0].proxy = false;
    list[1].enabled = false;
    list[1].preset = true;
    assert_int_equal(simplex_agent_set_servers(w.t.a, w.user, list, 2), SIMPLEX_OK);
    connect_user(w.user, &b, &pb);
    agent_reopen(&w.t);
    assert_int_equal(simplex_agent_users(w.t.a, 0, ids, &n), SIMPLEX_OK);
    assert_int_equal(n, 2);
    assert_int_equal(ids[0], SIMPLEX_USER_DEFAULT);
    assert_int_equal(ids[1], w.user);
    n = 4;
    assert_int_equal(simplex_agent_users(w.t.a, SIMPLEX_USER_DEFAULT, ids, &n), SIMPLEX_OK);
    assert_int_equal(n, 1);
    assert_int_equal(simplex_agent_user_server(w.t.a, w.user, 0, text, &len, &out), SIMPLEX_OK);
    assert_string_equal(text, w.one_address);
    assert_ptr_equal(out.address, text);
    assert_true(out.operator_id == 7 && out.enabled && out.storage && !out.proxy && !out.preset);
    len = sizeof text;
    assert_int_equal(simplex_agent_user_server(w.t.a, w.user, 1, text, &len, &out), SIMPLEX_OK);
    assert_string_equal(text, w.two_address);
    assert_int_equal(len, strlen(text) + 1);
    assert_true(out.operator_id == -8 && !out.enabled && out.proxy && out.preset);
    assert_int_equal(simplex_agent_user_server(w.t.a, w.user, 2, text, &len, &out),
                     SIMPLEX_E_NOT_FOUND);
    len = 3;
    assert_int_equal(simplex_agent_user_server(w.t.a, w.user, 1, text, &len, &out),
                     SIMPLEX_E_BUFFER);
    assert_int_equal(len, strlen(w.two_address) + 1);
    talk(&w.p, pb, &w.t, b, "after the restart");
    assert_int_equal(user_of(b), w.user);
}

static void each_change_of_a_list_is_counted(void **state)
{
    simplex_user_server s = entry(w.two_address, 0);
    simplex_user_info i = info_of(w.user), d = info_of(SIMPLEX_USER_DEFAULT);

    (void)state;
    assert_int_equal(i.servers_version, 1);
    assert_true(i.own_servers && !i.active && i.n_servers == 1 && i.created_at > 0);
    assert_int_equal(d.servers_version, 1);
    assert_true(!d.own_servers && d.active && d.n_servers == 1);
    assert_int_equal(simplex_agent_set_servers(w.t.a, w.user, &s, 1), SIMPLEX_OK); /* the same */
    assert_int_equal(info_of(w.user).servers_version, 1);
    s.operator_id = 4;
    assert_int_equal(simplex_agent_set_servers(w.t.a, w.user, &s, 1), SIMPLEX_OK);
    assert_int_equal(info_of(w.user).servers_version, 2);
    assert_true(info_of(w.user).servers_changed_at >= i.servers_changed_at);
    assert_int_equal(simplex_agent_set_servers(w.t.a, w.user, NULL, 0), SIMPLEX_OK);
    assert_int_equal(info_of(w.user).servers_version, 3);
    assert_false(info_of(w.user).own_servers);
    agent_reopen(&w.t);
    assert_int_equal(info_of(w.user).servers_version, 3);
    assert_int_equal(info_of(SIMPLEX_USER_DEFAULT).servers_version, 1);
    w.t.servers[w.t.n_servers++] = w.two_address; /* another configuration: for both */
    agent_reopen(&w.t);
    assert_int_equal(info_of(w.user).servers_version, 4);
    assert_int_equal(info_of(SIMPLEX_USER_DEFAULT).servers_version, 2);
    assert_int_equal(info_of(SIMPLEX_USER_DEFAULT).n_servers, 2);
}

static void a_changed_list_is_for_new_queues_only(void **state)
{
    simplex_user_server s = entry(w.one_address, 0);
    int64_t a, pa, b, pb;

    (void)state;
    connect_user(w.user, &a, &pa);
    assert_int_equal(simplex_agent_set_servers(w.t.a, w.user, &s, 1), SIMPLEX_OK);
    connect_user(w.user, &b, &pb);
    assert_int_equal(queue_port(&w.t, a), w.to_two.port);
    assert_int_equal(queue_port(&w.t, b), w.to_one.port);
    talk(&w.p, pa, &w.t, a, "stays");
    assert_int_equal(simplex_agent_switch(w.t.a, a, sx_bytes(NULL, 0)), SIMPLEX_OK);
    wait_moved(&w.t, a);
    assert_int_equal(queue_port(&w.t, a), w.to_one.port); /* a rotation goes by the list */
    talk(&w.p, pa, &w.t, a, "moved");
    assert_int_equal(simplex_agent_set_servers(w.t.a, w.user, &s, 0), SIMPLEX_OK);
    assert_int_equal(simplex_agent_create_as(w.t.a, w.user, SIMPLEX_PQ_OFF, &b),
                     SIMPLEX_E_NO_SERVERS);
    talk(&w.p, pa, &w.t, a, "still");
}

static void the_reply_queue_is_made_by_another_operator(void **state)
{
    simplex_user_server list[3] = { entry(w.one.address, 1), entry(w.one_address, 1),
                                    entry(w.two_address, 2) };
    simplex_event *ev;
    int64_t pc, tc;

    (void)state;
    /* all are on one machine, so the peer's server has a name of its own for this */
    char renamed[512];
    (void)snprintf(renamed, sizeof renamed, "%.*slocalhost%s",
                   (int)(strrchr(w.one.address, '@') + 1 - w.one.address), w.one.address,
                   strrchr(w.one.address, ':'));
    list[0].address = renamed;
    list[0].enabled = false; /* only tells whose it is */
    assert_int_equal(simplex_agent_set_servers(w.t.a, w.user, list, 3), SIMPLEX_OK);
    w.p.servers[0] = renamed;
    agent_reopen(&w.p);
    for (int n = 0; n < 4; n++) {
        assert_int_equal(simplex_agent_create(w.p.a, SIMPLEX_PQ_OFF, &pc), SIMPLEX_OK);
        ev = wait_event(&w.p, SIMPLEX_EV_INV, pc);
        assert_int_equal(simplex_agent_join_as(w.t.a, w.user, simplex_event_data(ev), sx_str(""),
                                               SIMPLEX_PQ_OFF, &tc),
                         SIMPLEX_OK);
        simplex_event_free(ev);
        expect(&w.t, SIMPLEX_EV_JOINED, tc);
        assert_int_equal(queue_port(&w.t, tc), w.to_two.port);
    }
}

static void a_queue_is_made_on_the_next_server_when_one_is_away(void **state)
{
    simplex_user_server list[2] = { entry(w.one_address, 0), entry(w.two_address, 0) };
    int64_t a, pa;

    (void)state;
    assert_int_equal(simplex_agent_set_servers(w.t.a, w.user, list, 2), SIMPLEX_OK);
    forwarder_set(&w.to_one, FORWARD_REFUSE);
    for (int n = 0; n < 3; n++) {
        connect_user(w.user, &a, &pa);
        assert_int_equal(queue_port(&w.t, a), w.to_two.port);
    }
}

/* ---- addresses, links ---- */

static void an_accepted_request_belongs_to_the_user_of_the_address(void **state)
{
    simplex_event *ev;
    int64_t address, pc, tc;

    (void)state;
    assert_int_equal(simplex_agent_create_address_as(w.t.a, w.user, &address), SIMPLEX_OK);
    agent_join(&w.t, address, &w.p, "?", &pc);
    ev = wait_event(&w.t, SIMPLEX_EV_REQ, address);
    assert_int_equal(
        simplex_agent_accept(w.t.a, simplex_event_request(ev), sx_str("!"), SIMPLEX_PQ_OFF, &tc),
        SIMPLEX_OK);
    simplex_event_free(ev);
    agent_allow(&w.p, pc, "");
    expect(&w.t, SIMPLEX_EV_CON, tc);
    expect(&w.p, SIMPLEX_EV_CON, pc);
    assert_int_equal(user_of(tc), w.user);
    assert_int_equal(queue_port(&w.t, tc), w.to_two.port);
    talk(&w.t, tc, &w.p, pc, "welcome");
}

/* Found by the simulation: whose session it is was looked up between taking the data from its row
 * and sending it. */
static void the_short_link_of_a_user_leads_to_its_data(void **state)
{
    simplex_link_data data = { .size = sizeof data, .data = sx_str("what is behind it") };
    int64_t tc, pc;

    (void)state;
    for (int k = 0; k < 2; k++) {
        assert_int_equal(simplex_agent_create_short_as(w.t.a, k == 0 ? w.user : 1,
                                                       SIMPLEX_LINK_CONTACT, SIMPLEX_PQ_OFF, &data,
                                                       &tc),
                         SIMPLEX_OK);
        simplex_event *link = wait_event(&w.t, SIMPLEX_EV_LINK, tc);
        assert_int_equal(simplex_agent_look(w.p.a, simplex_event_data(link), &pc), SIMPLEX_OK);
        simplex_event_free(link);
        simplex_event *ev = wait_event(&w.p, SIMPLEX_EV_LDATA, pc);
        vec_assert_eq(simplex_event_data(ev), data.data, "data of the link");
        simplex_event_free(ev);
        simplex_link_data other = { .size = sizeof other, .data = sx_str("changed") };
        assert_int_equal(simplex_agent_set_link_data(w.t.a, tc, &other), SIMPLEX_OK);
        link = wait_event(&w.t, SIMPLEX_EV_LINK, tc);
        assert_int_equal(simplex_agent_look(w.p.a, simplex_event_data(link), &pc), SIMPLEX_OK);
        simplex_event_free(link);
        ev = wait_event(&w.p, SIMPLEX_EV_LDATA, pc);
        vec_assert_eq(simplex_event_data(ev), other.data, "changed data");
        simplex_event_free(ev);
    }
}

static void an_invitation_that_one_user_looked_at_is_not_for_another(void **state)
{
    simplex_link_data data = { .size = sizeof data, .data = sx_str("hello") };
    int64_t pc, mine, other, again;
    simplex_event *ev;

    (void)state;
    assert_int_equal(
        simplex_agent_create_short(w.p.a, SIMPLEX_LINK_INVITATION, SIMPLEX_PQ_OFF, &data, &pc),
        SIMPLEX_OK);
    simplex_event *link = wait_event(&w.p, SIMPLEX_EV_LINK, pc);
    assert_int_equal(simplex_agent_look_as(w.t.a, w.user, simplex_event_data(link), &mine),
                     SIMPLEX_OK);
    expect(&w.t, SIMPLEX_EV_LDATA, mine);
    w.t.errors_ok = true;
    assert_int_equal(simplex_agent_look(w.t.a, simplex_event_data(link), &other), SIMPLEX_OK);
    assert_int_not_equal(mine, other);
    ev = wait_event(&w.t, SIMPLEX_EV_ERR, other);
    assert_int_equal(simplex_event_error(ev), SIMPLEX_E_SERVER);
    assert_string_equal(simplex_event_detail(ev), "AUTH");
    simplex_event_free(ev);
    assert_int_equal(simplex_agent_join_as(w.t.a, w.user, simplex_event_data(link), sx_str("it"),
                                           SIMPLEX_PQ_OFF, &again),
                     SIMPLEX_OK);
    assert_int_equal(again, mine);
    simplex_event_free(link);
    agent_allow(&w.p, pc, "");
    expect(&w.t, SIMPLEX_EV_CON, mine);
    assert_int_equal(user_of(mine), w.user);
    assert_int_equal(queue_port(&w.t, mine), w.to_two.port);
}

static void an_invitation_can_be_given_to_another_user(void **state)
{
    simplex_server_status s;
    simplex_event *ev;
    int64_t tc, pc;
    char link[2048];

    (void)state;
    assert_int_equal(simplex_agent_create(w.t.a, SIMPLEX_PQ_OFF, &tc), SIMPLEX_OK);
    ev = wait_event(&w.t, SIMPLEX_EV_INV, tc);
    simplex_bytes data = simplex_event_data(ev);
    size_t len = data.len;
    assert_true(len < sizeof link);
    memcpy(link, data.ptr, len);
    simplex_event_free(ev);
    assert_int_equal(simplex_agent_change_user(w.t.a, tc, w.user), SIMPLEX_OK);
    assert_int_equal(simplex_agent_change_user(w.t.a, tc, w.user), SIMPLEX_OK); /* a repeat */
    assert_int_equal(user_of(tc), w.user);
    agent_reopen(&w.t);
    assert_int_equal(user_of(tc), w.user);
    assert_int_equal(simplex_agent_change_user(w.t.a, tc, SIMPLEX_USER_DEFAULT), SIMPLEX_OK);
    assert_int_equal(simplex_agent_change_user(w.t.a, tc, w.user), SIMPLEX_OK);
    assert_int_equal(
        simplex_agent_join(w.p.a, sx_bytes(link, len), sx_str("p"), SIMPLEX_PQ_OFF, &pc),
        SIMPLEX_OK);
    ev = wait_event(&w.t, SIMPLEX_EV_CONF, tc);
    assert_int_equal(simplex_agent_change_user(w.t.a, tc, SIMPLEX_USER_DEFAULT),
                     SIMPLEX_E_PROHIBITED);
    assert_int_equal(simplex_agent_allow(w.t.a, tc, simplex_event_conf(ev), sx_str("")),
                     SIMPLEX_OK);
    simplex_event_free(ev);
    expect(&w.t, SIMPLEX_EV_CON, tc);
    expect(&w.p, SIMPLEX_EV_CON, pc);
    talk(&w.p, pc, &w.t, tc, "to the other");
    assert_true(session_of(w.user, w.to_one.port, &s));
    assert_int_equal(s.active, 1);
    assert_true(session_of(SIMPLEX_USER_DEFAULT, w.to_one.port, &s));
    assert_int_equal(s.queues, 0);
}

int main(int argc, char **argv)
{
#define WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WORLD(a_user_has_its_own_servers_and_sessions),
        WORLD(two_users_of_an_agent_can_be_connected),
        WORLD(up_and_down_tell_the_user),
        WORLD(the_active_user_is_subscribed_first),
        WORLD(users_and_their_lists_survive_a_restart),
        WORLD(each_change_of_a_list_is_counted),
        WORLD(a_changed_list_is_for_new_queues_only),
        WORLD(the_reply_queue_is_made_by_another_operator),
        WORLD(a_queue_is_made_on_the_next_server_when_one_is_away),
        WORLD(an_accepted_request_belongs_to_the_user_of_the_address),
        WORLD(the_short_link_of_a_user_leads_to_its_data),
        WORLD(an_invitation_that_one_user_looked_at_is_not_for_another),
        WORLD(an_invitation_can_be_given_to_another_user),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
