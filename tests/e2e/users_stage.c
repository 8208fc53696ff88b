/* SPDX-License-Identifier: Apache-2.0 */
#include "users_stage.h"

#include <stdio.h>
#include <stdlib.h>

struct world w;

simplex_user_server entry(const char *address, int64_t op)
{
    return (simplex_user_server){ .size = sizeof(simplex_user_server),
                                  .address = address,
                                  .operator_id = op,
                                  .enabled = true,
                                  .storage = true,
                                  .proxy = true };
}

int64_t make_user(const char *address)
{
    simplex_user_server s = entry(address, 0);
    int64_t user;

    assert_int_equal(simplex_agent_create_user(w.t.a, &s, 1, &user), SIMPLEX_OK);
    return user;
}

int set_up(void **state)
{
    (void)state;
    memset(&w, 0, sizeof w);
    tmp_make(w.dir);
    server_start(&w.one, NULL);
    server_start(&w.two, NULL);
    forwarder_start(&w.to_one, simplex_server_port(w.one.s));
    forwarder_start(&w.to_two, simplex_server_port(w.two.s));
    forwarder_address(&w.to_one, w.one.address, w.one_address, sizeof w.one_address);
    forwarder_address(&w.to_two, w.two.address, w.two_address, sizeof w.two_address);
    agent_open(&w.t, w.dir, "t", w.one_address);
    agent_open(&w.p, w.dir, "p", w.one.address);
    w.user = make_user(w.two_address);
    return 0;
}

int tear_down(void **state)
{
    (void)state;
    agent_close(&w.t);
    agent_close(&w.p);
    forwarder_stop(&w.to_one);
    forwarder_stop(&w.to_two);
    server_stop(&w.one);
    server_stop(&w.two);
    tmp_remove(w.dir);
    return 0;
}

void connect_user(int64_t user, int64_t *tc, int64_t *pc)
{
    connect_agents_as(&w.t, user, &w.p, tc, pc);
}

unsigned port_of(const char *server)
{
    return (unsigned)strtoul(strrchr(server, ':') + 1, NULL, 10);
}

unsigned queue_port(struct test_agent *t, int64_t conn)
{
    assert_int_equal(simplex_agent_query_queues(t->a, conn), SIMPLEX_OK);
    simplex_event *ev = wait_event(t, SIMPLEX_EV_QINFO, conn);
    unsigned port = port_of(simplex_event_server(ev));
    simplex_event_free(ev);
    return port;
}

int64_t user_of(int64_t conn)
{
    simplex_connection_info i = { .size = sizeof i };

    assert_int_equal(simplex_agent_connection(w.t.a, conn, &i), SIMPLEX_OK);
    return i.user;
}

simplex_user_info info_of(int64_t user)
{
    simplex_user_info i = { .size = sizeof i };

    assert_int_equal(simplex_agent_user(w.t.a, user, &i), SIMPLEX_OK);
    return i;
}

bool session_of(int64_t user, unsigned port, simplex_server_status *out)
{
    for (size_t i = 0;; i++) {
        *out = (simplex_server_status){ .size = sizeof *out };
        simplex_rc rc = simplex_agent_server(w.t.a, i, out);
        if (rc == SIMPLEX_E_NOT_FOUND)
            return false;
        assert_int_equal(rc, SIMPLEX_OK);
        if (out->user == user && port_of(out->server) == port)
            return true;
    }
}

void expect_user_deleted(int64_t user)
{
    simplex_event *ev = wait_event(&w.t, SIMPLEX_EV_DEL_USER, 0);

    assert_string_equal(simplex_event_name(ev), "DEL_USER");
    assert_int_equal(simplex_event_user(ev), user);
    assert_non_null(strstr(simplex_event_json(ev), "\"user\":"));
    simplex_event_free(ev);
}
