/* SPDX-License-Identifier: Apache-2.0 */
/* Servers that nobody needs any more are forgotten; what is needed stays. */
#include <stdio.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/route.h"
#include "support/agents.h"

#define SERVERS 1000

static size_t servers(struct test_agent *t)
{
    simplex_server_status s = { .size = sizeof s };
    size_t n = 0;

    while (simplex_agent_server(t->a, n, &s) == SIMPLEX_OK)
        n++;
    return n;
}

static simplex_rc look_now(struct simplex_agent *a, void *arg)
{
    (void)arg;
    a->idle_time = 0;
    sx_idle_run(a);
    a->idle_time = SX_IDLE_TIME;
    return SIMPLEX_OK;
}

/* As if an hour had passed. A session is closed the first time, and gone the next. */
static void wait_servers(struct test_agent *t, size_t n)
{
    int64_t end = sx_mono_ms() + 3 * WAIT_MS; /* counting a thousand takes its time */

    while (servers(t) != n) {
        assert_true(sx_mono_ms() < end);
        assert_int_equal(sx_agent_run(t->a, look_now, NULL, false), SIMPLEX_OK);
        (void)usleep(10000);
    }
}

static void stays(struct test_agent *t, size_t n)
{
    for (int k = 0; k < 20; k++) {
        assert_int_equal(sx_agent_run(t->a, look_now, NULL, false), SIMPLEX_OK);
        (void)usleep(10000);
    }
    assert_int_equal(servers(t), n);
}

/* ---- many servers, once each ---- */

struct crowd {
    const char *address; /* of one; the others differ in the port */
    size_t asked;
    size_t relays;
};
static size_t answered; /* on the agent's thread */

static void on_answer(void *user, void *ctx, simplex_rc rc, const struct sx_rsp *rsp)
{
    (void)user;
    (void)ctx;
    (void)rc;
    (void)rsp;
    answered++;
}

static simplex_rc write_to_all(struct simplex_agent *a, void *arg)
{
    static const uint8_t id[24] = { 1 };
    struct crowd *c = arg;
    struct sx_cmd cmd = { .tag = SX_SEND };
    struct sx_request req = { .cmd = &cmd, .entity = sx_bytes(id, 24), .done = on_answer };
    struct sx_rt_server *by;
    struct sx_server server;
    simplex_bytes password;

    answered = 0;
    cmd.send.body = sx_str("anything");
    assert_int_equal(sx_server_parse(sx_str(c->address), &server, &password), SIMPLEX_OK);
    for (uint16_t k = 1; k <= c->asked; k++) { /* nobody listens at such ports */
        (void)snprintf(server.port, sizeof server.port, "%u", (unsigned)k);
        assert_int_equal(sx_route_send_for(a, SIMPLEX_USER_DEFAULT, 0, &server, &req, &by),
                         SIMPLEX_OK);
    }
    return SIMPLEX_OK;
}

static simplex_rc count(struct simplex_agent *a, void *arg)
{
    struct crowd *c = arg;

    c->relays = a->relays != NULL;
    return answered == c->asked ? SIMPLEX_OK : SIMPLEX_E_NOT_FOUND;
}

static void wait_answers(struct test_agent *t, struct crowd *c)
{
    int64_t end = sx_mono_ms() + 2 * WAIT_MS;

    while (sx_agent_run(t->a, count, c, false) != SIMPLEX_OK) {
        assert_true(sx_mono_ms() < end);
        (void)usleep(10000);
    }
}

static void servers_that_were_used_once_do_not_stay(void **state)
{
    struct duo d;
    struct crowd c = { .asked = SERVERS };

    (void)state;
    duo_open(&d, NULL);
    d.i.cfg.connect_timeout = 5000; /* where somebody listens after all, and says nothing */
    agent_reopen(&d.i);
    duo_connect(&d);
    size_t before = servers(&d.i);
    c.address = d.i_address;
    assert_int_equal(sx_agent_run(d.i.a, write_to_all, &c, false), SIMPLEX_OK);
    wait_answers(&d.i, &c);
    assert_int_equal(servers(&d.i), before + SERVERS); /* their time has not come */
    wait_servers(&d.i, 1);
    talk(&d.i, d.ic, &d.j, d.jc, "as ever");
    talk(&d.j, d.jc, &d.i, d.ic, "as ever");
    duo_close(&d);
}

/* The same for relays behind a proxy, which fails them all. */
static void relays_that_were_used_once_do_not_stay(void **state)
{
    struct duo d;
    struct crowd c = { .asked = 30 };

    (void)state;
    duo_open(&d, NULL);
    d.i.cfg.proxy_mode = SIMPLEX_PROXY_ALWAYS;
    agent_reopen(&d.i);
    duo_connect(&d);
    talk(&d.i, d.ic, &d.j, d.jc, "through the proxy");
    c.address = d.j_address;
    assert_int_equal(sx_agent_run(d.i.a, write_to_all, &c, false), SIMPLEX_OK);
    wait_answers(&d.i, &c);
    assert_int_equal(c.relays, 1);
    stays(&d.i, 1);
    for (int64_t end = sx_mono_ms() + WAIT_MS; c.relays > 0 && sx_mono_ms() < end;) {
        stays(&d.i, 1);
        (void)!sx_agent_run(d.i.a, count, &c, false);
    }
    assert_int_equal(c.relays, 0);
    talk(&d.i, d.ic, &d.j, d.jc, "through the proxy again");
    duo_close(&d);
}

/* ---- what is needed ---- */

static void what_waits_for_its_server_stays(void **state)
{
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    assert_int_equal(servers(&d.i), 2);
    forwarder_set(&d.fj, FORWARD_REFUSE);
    (void)send_text(&d.i, d.ic, "for later");
    stays(&d.i, 2);
    forwarder_set(&d.fj, FORWARD);
    (void)receive_text(&d.j, d.jc, "for later");
    expect(&d.i, SIMPLEX_EV_SENT, d.ic);
    wait_servers(&d.i, 1);
    talk(&d.i, d.ic, &d.j, d.jc, "made anew");
    assert_int_equal(servers(&d.i), 2);
    assert_int_equal(simplex_agent_delete(d.i.a, d.ic), SIMPLEX_OK);
    expect(&d.i, SIMPLEX_EV_DEL_CONN, d.ic);
    wait_servers(&d.i, 0);
    duo_connect(&d);
    talk(&d.i, d.ic, &d.j, d.jc, "another one");
    duo_close(&d);
}

static void sessions_of_loops_stay(void **state)
{
    simplex_noise noise = { .size = sizeof noise,
                            .budget = INT64_C(1) << 33,
                            .kinds = SIMPLEX_NOISE_LOOP };
    simplex_noise_stats s = { .size = sizeof s };
    struct duo d;

    (void)state;
    duo_open(&d, NULL);
    duo_connect(&d);
    assert_int_equal(simplex_agent_set_noise(d.i.a, &noise), SIMPLEX_OK);
    for (int64_t end = sx_mono_ms() + WAIT_MS; s.total.loops < 8 && sx_mono_ms() < end;) {
        assert_int_equal(sx_agent_run(d.i.a, look_now, NULL, false), SIMPLEX_OK);
        (void)usleep(10000);
        assert_int_equal(simplex_agent_noise_stats(d.i.a, &s), SIMPLEX_OK);
    }
    assert_true(s.total.loops >= 8);
    assert_int_equal(simplex_agent_delete(d.i.a, d.ic), SIMPLEX_OK);
    expect(&d.i, SIMPLEX_EV_DEL_CONN, d.ic);
    wait_servers(&d.i, 0); /* when the queues of the loops are gone */
    duo_close(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(servers_that_were_used_once_do_not_stay),
        cmocka_unit_test(relays_that_were_used_once_do_not_stay),
        cmocka_unit_test(what_waits_for_its_server_stays),
        cmocka_unit_test(sessions_of_loops_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
