/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An agent that is a client service (agent.md section 11: "client services"): its queues are
 * associated when they are made or subscribed, and SUBS subscribes them all.
 */
#include <stdio.h>

#include "agent/services.h"
#include "support/agents.h"
#include "support/blocking_client.h"

static struct duo d;

static void begin(bool service)
{
    simplex_server_config cfg;

    simplex_server_config_init(&cfg);
    cfg.end_flush_ms = 0;
    duo_open(&d, &cfg);
    d.i.cfg.client_service = service;
    agent_reopen(&d.i);
}

/* The next event of this kind; its count. */
static int64_t service_event(int32_t kind, simplex_rc rc)
{
    simplex_event *ev = wait_event(&d.i, kind, 0);
    int64_t count = simplex_event_count(ev);

    assert_non_null(simplex_event_server(ev));
    assert_int_equal(simplex_event_error(ev), rc);
    simplex_event_free(ev);
    return count;
}

/* How many connections of the agent are in the next UP. */
static size_t up(void)
{
    simplex_event *ev = wait_event(&d.i, SIMPLEX_EV_UP, 0);
    size_t n;

    (void)simplex_event_conns(ev, &n);
    simplex_event_free(ev);
    return n;
}

/* The same of this user, whatever is told of others before. */
static size_t up_of(int64_t user)
{
    simplex_event *ev = wait_event(&d.i, SIMPLEX_EV_UP, 0);
    size_t n;

    while (simplex_event_user(ev) != user) {
        simplex_event_free(ev);
        ev = wait_event(&d.i, SIMPLEX_EV_UP, 0);
    }
    (void)simplex_event_conns(ev, &n);
    simplex_event_free(ev);
    return n;
}

static void sql(const char *text)
{
    struct sx_store_cfg cfg = { .path = d.i.db, .key = sx_str(AGENT_KEY), .raw_key = true };
    struct sx_store *s;

    agent_close(&d.i);
    assert_int_equal(sx_store_open(&cfg, &s), SIMPLEX_OK);
    assert_int_equal(sx_store_exec(s, text), SIMPLEX_OK);
    sx_store_close(s);
}

static void one_command_subscribes_all_queues(void **state)
{
    int64_t i[3], j[3];

    (void)state;
    begin(true);
    for (int n = 0; n < 3; n++)
        connect_agents(&d.i, &d.j, SIMPLEX_PQ_OFF, &i[n], &j[n]);
    talk(&d.j, j[1], &d.i, i[1], "hello");
    /* the session breaks: what comes meanwhile is delivered when it is back */
    forwarder_set(&d.fi, FORWARD_REFUSE);
    forwarder_drop(&d.fi);
    assert_int_equal(service_event(SIMPLEX_EV_SERVICE_DOWN, SIMPLEX_E_DISCONNECTED), 3);
    send_text(&d.j, j[0], "to the first");
    send_text(&d.j, j[2], "to the third");
    forwarder_set(&d.fi, FORWARD);
    assert_int_equal(service_event(SIMPLEX_EV_SERVICE_UP, SIMPLEX_OK), 3);
    receive_text(&d.i, i[0], "to the first");
    receive_text(&d.i, i[2], "to the third");
    expect(&d.j, SIMPLEX_EV_SENT, j[0]);
    expect(&d.j, SIMPLEX_EV_SENT, j[2]);
    assert_int_equal(service_event(SIMPLEX_EV_SERVICE_ALL, SIMPLEX_OK), 3);
    agent_reopen(&d.i);
    assert_int_equal(service_event(SIMPLEX_EV_SERVICE_UP, SIMPLEX_OK), 3);
    assert_true(quiet(&d.i, SIMPLEX_EV_UP, 200));
    for (int n = 0; n < 3; n++) {
        simplex_connection_info info = { .size = sizeof info };
        assert_int_equal(simplex_agent_connection(d.i.a, i[n], &info), SIMPLEX_OK);
        assert_true(info.subscribed);
        talk(&d.j, j[n], &d.i, i[n], "again");
    }
    /* a queue less */
    assert_int_equal(simplex_agent_delete(d.i.a, i[1]), SIMPLEX_OK);
    expect(&d.i, SIMPLEX_EV_DEL_CONN, i[1]);
    agent_reopen(&d.i);
    assert_int_equal(service_event(SIMPLEX_EV_SERVICE_UP, SIMPLEX_OK), 2);
    duo_close(&d);
}

static void a_database_goes_to_services_and_back(void **state)
{
    (void)state;
    begin(false);
    duo_connect(&d);
    d.i.cfg.client_service = true;
    agent_reopen(&d.i);
    assert_int_equal(up(), 1); /* by itself: that associates it */
    duo_talk(&d, "a service");
    agent_reopen(&d.i);
    assert_int_equal(service_event(SIMPLEX_EV_SERVICE_UP, SIMPLEX_OK), 1);
    duo_talk(&d, "by SUBS");
    d.i.cfg.client_service = false;
    agent_reopen(&d.i);
    assert_int_equal(up(), 1);
    duo_talk(&d, "no service");
    agent_reopen(&d.i);
    assert_int_equal(up(), 1);
    d.i.cfg.client_service = true;
    agent_reopen(&d.i);
    assert_int_equal(up(), 1);
    agent_reopen(&d.i);
    assert_int_equal(service_event(SIMPLEX_EV_SERVICE_UP, SIMPLEX_OK), 1);
    duo_talk(&d, "a service again");
    duo_close(&d);
}

static void a_server_that_forgot_the_service_learns_it_again(void **state)
{
    (void)state;
    begin(true);
    duo_connect(&d);
    sql("UPDATE client_services SET service_id = zeroblob(24)");
    agent_reopen(&d.i);
    assert_int_equal(up(), 1);
    duo_talk(&d, "another id");
    agent_reopen(&d.i);
    assert_int_equal(service_event(SIMPLEX_EV_SERVICE_UP, SIMPLEX_OK), 1);
    /* the certificate is gone: a new one, and the queue goes from one service to the other */
    sql("DELETE FROM client_services");
    agent_reopen(&d.i);
    assert_int_equal(up(), 1);
    duo_talk(&d, "another certificate");
    agent_reopen(&d.i);
    assert_int_equal(service_event(SIMPLEX_EV_SERVICE_UP, SIMPLEX_OK), 1);
    duo_talk(&d, "known");
    duo_close(&d);
}

static void a_difference_mends_itself(void **state)
{
    int64_t i2, j2;

    (void)state;
    begin(true);
    duo_connect(&d);
    connect_agents(&d.i, &d.j, SIMPLEX_PQ_OFF, &i2, &j2);
    sql("DELETE FROM service_queues WHERE rcv_queue_id = (SELECT max(rcv_queue_id) FROM "
        "service_queues)");
    agent_reopen(&d.i);
    assert_int_equal(service_event(SIMPLEX_EV_SERVICE_UP, SIMPLEX_E_RESPONSE), 2);
    talk(&d.j, j2, &d.i, i2, "subscribed by itself");
    duo_talk(&d, "and this one");
    agent_reopen(&d.i);
    assert_int_equal(service_event(SIMPLEX_EV_SERVICE_UP, SIMPLEX_OK), 2);
    /* one that the server does not know of */
    int64_t i3, j3;
    d.i.cfg.client_service = false;
    agent_reopen(&d.i);
    connect_agents(&d.i, &d.j, SIMPLEX_PQ_OFF, &i3, &j3);
    d.i.cfg.client_service = true;
    agent_reopen(&d.i);
    (void)up();
    sql("INSERT OR IGNORE INTO service_queues SELECT rcv_queue_id FROM rcv_queues");
    agent_reopen(&d.i);
    service_event(SIMPLEX_EV_SERVICE_UP, SIMPLEX_OK);
    talk(&d.j, j3, &d.i, i3, "the third");
    duo_close(&d);
}

static void another_client_of_the_service_takes_over(void **state)
{
    struct test_agent twin;
    char path[320];

    (void)state;
    begin(true);
    duo_connect(&d);
    agent_reopen(&d.i);
    assert_int_equal(service_event(SIMPLEX_EV_SERVICE_UP, SIMPLEX_OK), 1);
    (void)snprintf(path, sizeof path, "%s/twin.db", d.dir);
    assert_int_equal(simplex_agent_backup(d.i.a, path, sx_str(AGENT_KEY), true), SIMPLEX_OK);
    memset(&twin, 0, sizeof twin);
    memcpy(twin.db, path, strlen(path) + 1 < sizeof twin.db ? strlen(path) + 1 : 0);
    twin.cfg = d.i.cfg;
    twin.servers[0] = d.i_address;
    twin.n_servers = 1;
    agent_reopen(&twin);
    assert_int_equal(service_event(SIMPLEX_EV_SERVICE_END, SIMPLEX_OK), 1);
    agent_close(&twin);
    /* and it is taken back */
    send_text(&d.j, d.jc, "for whoever is there");
    assert_true(quiet(&d.i, SIMPLEX_EV_MSG, 200));
    assert_int_equal(simplex_agent_subscribe(d.i.a, d.ic, true), SIMPLEX_OK);
    receive_text(&d.i, d.ic, "for whoever is there");
    expect(&d.j, SIMPLEX_EV_SENT, d.jc);
    duo_close(&d);
}

static void an_older_server_gets_an_ordinary_client(void **state)
{
    (void)state;
    begin(true);
    duo_connect(&d);
    agent_reopen(&d.i);
    assert_int_equal(service_event(SIMPLEX_EV_SERVICE_UP, SIMPLEX_OK), 1);
    d.i.cfg.smp_max = 18;
    agent_reopen(&d.i);
    assert_int_equal(up(), 1);
    duo_talk(&d, "as before");
    d.i.cfg.smp_max = 0;
    agent_reopen(&d.i);
    assert_int_equal(up(), 1);
    duo_talk(&d, "and back");
    agent_reopen(&d.i);
    assert_int_equal(service_event(SIMPLEX_EV_SERVICE_UP, SIMPLEX_OK), 1);
    duo_close(&d);
}

static simplex_rc has_identity(struct simplex_agent *a, void *arg)
{
    struct sx_service_row r = { .user_id = 1 };
    simplex_bytes password;
    simplex_rc rc = sx_server_parse(sx_str(arg), &r.server, &password);

    return rc == SIMPLEX_OK ? sx_store_service_get(a->store, &r) : rc;
}

/* The agent has made a certificate for its server. */
static void wait_identity(void)
{
    int64_t until = sx_mono_ms() + WAIT_MS;

    while (sx_agent_run(d.i.a, has_identity, d.i_address, true) != SIMPLEX_OK) {
        assert_true(sx_mono_ms() < until);
        (void)quiet(&d.i, SIMPLEX_EV_INV, 10);
    }
}

/* The certificate of the agent, known to the server as another kind of service while peer stays. */
static void register_as_notifier(struct smp_peer *peer)
{
    struct sx_store_cfg cfg = { .path = d.i.db, .key = sx_str(AGENT_KEY), .raw_key = true };
    struct sx_service_row r = { .user_id = 1 };
    struct sx_service_cert cert = { .role = 'N' };
    struct sx_store *s;
    simplex_bytes password;
    struct sx_wr der;

    agent_close(&d.i);
    assert_int_equal(sx_store_open(&cfg, &s), SIMPLEX_OK);
    assert_int_equal(sx_server_parse(sx_str(d.i_address), &r.server, &password), SIMPLEX_OK);
    assert_int_equal(sx_store_service_get(s, &r), SIMPLEX_OK);
    sx_wr_init(&der, 16384);
    assert_int_equal(sx_pem_chain(r.cert, &der, &cert.chain), SIMPLEX_OK);
    assert_int_equal(sx_pem_key(r.key, &cert.leaf), SIMPLEX_OK);
    struct smp_peer_cfg peer_cfg = { .port = simplex_server_port(d.srv.s),
                                     .key_hash = r.server.key_hash,
                                     .cert_pem = r.cert,
                                     .cert_key_pem = r.key,
                                     .service = &cert };
    assert_int_equal(smp_peer_open(peer, &peer_cfg), SIMPLEX_OK);
    sx_wr_free(&der);
    sx_store_close(s);
}

static void a_service_that_is_refused_goes_on_without(void **state)
{
    struct smp_peer peer;
    int64_t conn;

    (void)state;
    begin(true);
    forwarder_set(&d.fi, FORWARD_REFUSE);
    assert_int_equal(simplex_agent_create(d.i.a, SIMPLEX_PQ_OFF, &conn), SIMPLEX_OK);
    wait_identity();
    register_as_notifier(&peer);
    forwarder_set(&d.fi, FORWARD);
    agent_reopen(&d.i);
    assert_int_equal(service_event(SIMPLEX_EV_SERVICE_DOWN, SIMPLEX_E_HANDSHAKE), 0);
    expect(&d.i, SIMPLEX_EV_INV, conn);
    duo_connect(&d);
    duo_talk(&d, "an ordinary client");
    smp_peer_close(&peer);
    duo_close(&d);
}

/* Rows of client_services. */
static unsigned count_identities(void)
{
    struct sx_store_cfg cfg = { .path = d.i.db, .key = sx_str(AGENT_KEY), .raw_key = true };
    struct sx_service_row r = { .user_id = 0 };
    simplex_bytes password;
    struct sx_store *s;
    unsigned n = 0;

    agent_close(&d.i);
    assert_int_equal(sx_store_open(&cfg, &s), SIMPLEX_OK);
    assert_int_equal(sx_server_parse(sx_str(d.i_address), &r.server, &password), SIMPLEX_OK);
    for (r.user_id = 1; r.user_id < 10; r.user_id++)
        n += sx_store_service_get(s, &r) == SIMPLEX_OK;
    sx_store_close(s);
    agent_reopen(&d.i);
    return n;
}

static void users_are_services_of_their_own(void **state)
{
    simplex_agent_config cfg;
    simplex_agent *a;
    int64_t user, conn;

    (void)state;
    begin(true);
    duo_connect(&d);
    cfg = d.i.cfg;
    cfg.isolation = SIMPLEX_ISOLATE_ENTITY;
    agent_close(&d.i);
    assert_int_equal(simplex_agent_open(&cfg, &a), SIMPLEX_E_ARG);
    agent_reopen(&d.i);
    service_event(SIMPLEX_EV_SERVICE_UP, SIMPLEX_OK);
    assert_int_equal(simplex_agent_create_user(d.i.a, NULL, 0, &user), SIMPLEX_OK);
    assert_int_equal(simplex_agent_create_as(d.i.a, user, SIMPLEX_PQ_OFF, &conn), SIMPLEX_OK);
    expect(&d.i, SIMPLEX_EV_INV, conn);
    assert_int_equal(simplex_agent_set_user_service(d.i.a, user, false), SIMPLEX_E_PROHIBITED);
    assert_int_equal(count_identities(), 2);
    service_event(SIMPLEX_EV_SERVICE_UP, SIMPLEX_OK);
    service_event(SIMPLEX_EV_SERVICE_UP, SIMPLEX_OK);
    duo_close(&d);
}

static void one_user_alone_is_a_service(void **state)
{
    int64_t user, conn;

    (void)state;
    begin(false);
    duo_connect(&d);
    assert_int_equal(simplex_agent_create_user(d.i.a, NULL, 0, &user), SIMPLEX_OK);
    assert_int_equal(simplex_agent_set_user_service(d.i.a, 99, true), SIMPLEX_E_NOT_FOUND);
    assert_int_equal(simplex_agent_set_user_service(d.i.a, user, true), SIMPLEX_OK);
    assert_int_equal(simplex_agent_create_as(d.i.a, user, SIMPLEX_PQ_OFF, &conn), SIMPLEX_OK);
    expect(&d.i, SIMPLEX_EV_INV, conn);
    assert_int_equal(count_identities(), 1);
    assert_int_equal(up_of(SIMPLEX_USER_DEFAULT), 1);
    assert_int_equal(service_event(SIMPLEX_EV_SERVICE_UP, SIMPLEX_OK), 1);
    duo_talk(&d, "the other user's");
    assert_int_equal(simplex_agent_set_user_service(d.i.a, user, false), SIMPLEX_OK);
    assert_int_equal(up_of(user), 1);
    /* while it runs, with queues that are subscribed */
    assert_int_equal(simplex_agent_set_user_service(d.i.a, SIMPLEX_USER_DEFAULT, true), SIMPLEX_OK);
    assert_int_equal(up_of(SIMPLEX_USER_DEFAULT), 1);
    duo_talk(&d, "a service from now on");
    forwarder_drop(&d.fi);
    assert_int_equal(service_event(SIMPLEX_EV_SERVICE_UP, SIMPLEX_OK), 1);
    duo_talk(&d, "over reconnections");
    duo_close(&d);
}

static void what_a_service_does_not_want_is_fetched(void **state)
{
    (void)state;
    begin(true);
    duo_connect(&d);
    assert_int_equal(simplex_agent_subscribe(d.i.a, d.ic, false), SIMPLEX_OK);
    send_text(&d.j, d.jc, "later");
    expect(&d.j, SIMPLEX_EV_SENT, d.jc);
    assert_true(quiet(&d.i, SIMPLEX_EV_MSG, 200));
    for (int n = 0; n < 2; n++) {
        assert_int_equal(simplex_agent_fetch(d.i.a, &d.ic, 1), SIMPLEX_OK);
        simplex_event *ev = wait_event(&d.i, SIMPLEX_EV_FETCHED, d.ic);
        assert_int_equal(simplex_event_error(ev), SIMPLEX_OK);
        assert_int_equal(simplex_event_count(ev), 1);
        simplex_event_free(ev);
        receive_text(&d.i, d.ic, n == 0 ? "later" : "even later");
        expect(&d.i, SIMPLEX_EV_MSGNTF, d.ic);
        if (n == 0) {
            agent_reopen(&d.i); /* nothing of it is subscribed now */
            send_text(&d.j, d.jc, "even later");
            expect(&d.j, SIMPLEX_EV_SENT, d.jc);
        }
    }
    duo_close(&d);
}

/* Queues of noise from before are not subscribed in its sessions, which would make them its own. */
static void noise_is_no_part_of_the_service(void **state)
{
    simplex_noise noise = { .size = sizeof noise,
                            .budget = INT64_C(1) << 33,
                            .kinds = SIMPLEX_NOISE_LOOP };
    simplex_noise_stats st = { .size = sizeof st };

    (void)state;
    begin(false);
    duo_connect(&d);
    assert_int_equal(simplex_agent_set_noise(d.i.a, &noise), SIMPLEX_OK);
    for (int n = 0; n < 400 && st.total.loops < 3; n++) {
        (void)quiet(&d.i, SIMPLEX_EV_END, 50);
        assert_int_equal(simplex_agent_noise_stats(d.i.a, &st), SIMPLEX_OK);
    }
    assert_true(st.total.loops >= 3);
    d.i.cfg.noise = &noise;
    d.i.cfg.client_service = true;
    agent_reopen(&d.i);
    assert_int_equal(up(), 1);
    duo_talk(&d, "among noise");
    for (int n = 0; n < 2; n++) {
        agent_reopen(&d.i);
        assert_int_equal(service_event(SIMPLEX_EV_SERVICE_UP, SIMPLEX_OK), 1);
    }
    d.i.cfg.noise = NULL;
    duo_close(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_command_subscribes_all_queues),
        cmocka_unit_test(a_database_goes_to_services_and_back),
        cmocka_unit_test(a_server_that_forgot_the_service_learns_it_again),
        cmocka_unit_test(a_difference_mends_itself),
        cmocka_unit_test(another_client_of_the_service_takes_over),
        cmocka_unit_test(an_older_server_gets_an_ordinary_client),
        cmocka_unit_test(a_service_that_is_refused_goes_on_without),
        cmocka_unit_test(users_are_services_of_their_own),
        cmocka_unit_test(one_user_alone_is_a_service),
        cmocka_unit_test(noise_is_no_part_of_the_service),
        cmocka_unit_test(what_a_service_does_not_want_is_fetched),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
