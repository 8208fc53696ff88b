/* SPDX-License-Identifier: Apache-2.0 */
/*
 * END: another session subscribed to our queue. It may be one of our own, whose SUB was held up, or
 * another client with the same keys.
 */
#include "agent/agent.h"
#include "support/agents.h"
#include "support/blocking_client.h"

static struct duo d;
static struct smp_peer late; /* a session with the keys of J */
static struct sx_rcv_queue queue;

static simplex_rc get_queue(struct simplex_agent *a, void *arg)
{
    return sx_store_rcvq_of(a->store, *(int64_t *)arg, 0, &queue);
}

static void begin(void)
{
    struct sx_call call = { .fn = get_queue, .arg = &d.jc };
    struct sx_server s;
    simplex_bytes password;
    struct smp_peer_cfg cfg = { .key_hash = s.key_hash };
    simplex_server_config server;

    simplex_server_config_init(&server);
    server.end_flush_ms = 0;
    duo_open(&d, &server);
    duo_connect(&d);
    agent_reopen(&d.j);
    expect(&d.j, SIMPLEX_EV_UP, 0);
    assert_int_equal(sx_agent_call(d.j.a, &call), SIMPLEX_OK);
    assert_int_equal(sx_server_parse(sx_str(d.srv.address), &s, &password), SIMPLEX_OK);
    cfg.port = simplex_server_port(d.srv.s);
    assert_int_equal(smp_peer_open(&late, &cfg), SIMPLEX_OK);
}

static void end(void)
{
    smp_peer_close(&late);
    sx_wipe(&queue, sizeof queue);
    duo_close(&d);
}

static void subscribe_late(void)
{
    static const struct sx_cmd sub = { .tag = SX_SUB };
    const struct sx_rsp *rsp = smp_peer_cmd(&late, &queue.auth, sx_id_bytes(&queue.rcv_id), &sub);

    assert_non_null(rsp);
    assert_true(rsp->tag == SX_R_OK || rsp->tag == SX_R_SOK);
}

static void a_late_sub_of_our_own_session_before_takes_nothing(void **state)
{
    (void)state;
    begin();
    subscribe_late();
    smp_peer_close(&late); /* nobody is there any more */
    for (int n = 0; n < 3; n++)
        talk(&d.i, d.ic, &d.j, d.jc, "without a word of the application");
    assert_true(quiet(&d.j, SIMPLEX_EV_END, 20));
    assert_true(quiet(&d.j, SIMPLEX_EV_UP, 1));
    end();
}

static void with_another_client_we_do_not_fight(void **state)
{
    simplex_connection_info info = { .size = sizeof info };

    (void)state;
    begin();
    subscribe_late();
    talk(&d.i, d.ic, &d.j, d.jc, "taken back");
    subscribe_late();
    expect(&d.j, SIMPLEX_EV_END, d.jc);
    assert_int_equal(simplex_agent_connection(d.j.a, d.jc, &info), SIMPLEX_OK);
    assert_false(info.subscribed);
    assert_int_equal(simplex_agent_subscribe(d.j.a, d.jc, true), SIMPLEX_OK);
    talk(&d.i, d.ic, &d.j, d.jc, "the application wants it");
    subscribe_late();
    expect(&d.j, SIMPLEX_EV_END, d.jc);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_late_sub_of_our_own_session_before_takes_nothing),
        cmocka_unit_test(with_another_client_we_do_not_fight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
