/* SPDX-License-Identifier: Apache-2.0 */
/* The client connects, fails to, comes back, and goes through a SOCKS5 proxy. */
#include "client_stage.h"

#include <stdio.h>
#include <stdlib.h>

/* An empty label: the resolver of the system refuses it itself and asks nobody. */
#define NO_NAME "no-such-host..invalid"

/* ---- failing attempts ---- */

static void failures_of_the_attempt_have_their_codes(void **state)
{
    static const struct {
        enum peer_mode mode;
        simplex_rc rc;
    } rows[] = {
        { PEER_CLOSES, SIMPLEX_E_DISCONNECTED },       { PEER_NO_TLS, SIMPLEX_E_TLS },
        { PEER_CLOSES_HELLO, SIMPLEX_E_DISCONNECTED }, { PEER_BAD_HELLO, SIMPLEX_E_HANDSHAKE },
        { PEER_OTHER_SESSION, SIMPLEX_E_SESSION },     { PEER_FUTURE, SIMPLEX_E_VERSION },
    };

    (void)state;
    open_client();
    for (size_t i = 0; i < SX_COUNT(rows); i++) {
        t.peer.mode = rows[i].mode;
        t.downs = 0;
        run_for(3); /* past the memory of the last failure */
        assert_fails(rows[i].rc);
    }
}

static void another_identity_is_refused(void **state)
{
    struct sx_server server;

    (void)state;
    open_net();
    peer_server(&t.peer, "127.0.0.1", &server);
    server.key_hash[31] ^= 1;
    assert_int_equal(sx_net_client(t.net, &server, &t.client), SIMPLEX_OK);
    assert_fails(SIMPLEX_E_FINGERPRINT);
}

static void nobody_listening_is_a_failed_connection(void **state)
{
    (void)state;
    peer_listen(&t.peer, false);
    open_client();
    assert_fails(SIMPLEX_E_CONNECT);
}

static void a_name_that_does_not_resolve_is_a_host_error(void **state)
{
    (void)state;
    open_net();
    client_of(NO_NAME);
    assert_fails(SIMPLEX_E_HOST);
}

static void onion_hosts_need_a_proxy(void **state)
{
    (void)state;
    open_net();
    client_of("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.onion");
    assert_fails(SIMPLEX_E_HOST);
}

static void all_hosts_are_tried(void **state)
{
    struct result r = { 0 };

    (void)state;
    open_net();
    client_of(NO_NAME ",127.0.0.2,127.0.0.3,localhost");
    send_cmd(SX_SUB, "a", &r);
    RUN_UNTIL(r.done);
    assert_int_equal(r.rc, SIMPLEX_OK);
    assert_int_equal(t.downs, 0);
}

static void a_silent_host_leaves_time_for_the_next(void **state)
{
    struct result r = { 0 };

    (void)state;
    t.cfg.connect_timeout = 20000; /* 10 s for each */
    /* 127.0.0.2 accepts nothing but lets connections in: a listener that is never served */
    static uv_tcp_t silent;
    struct sockaddr_in at;
    uv_tcp_init(&t.loop, &silent);
    uv_ip4_addr("127.0.0.2", t.peer.port, &at);
    assert_int_equal(uv_tcp_bind(&silent, (const struct sockaddr *)&at, 0), 0);
    uv_os_fd_t fd;
    assert_int_equal(uv_fileno((uv_handle_t *)&silent, &fd), 0);
    assert_int_equal(listen(fd, 4), 0);
    open_net();
    client_of("127.0.0.2,127.0.0.1");
    int64_t begin = sx_mono_ms();
    send_cmd(SX_SUB, "a", &r);
    RUN_UNTIL(t.peer.accepted > 0);
    assert_in_range(sx_mono_ms() - begin, 9900, 19990);
    RUN_UNTIL(r.done);
    assert_int_equal(r.rc, SIMPLEX_OK);
    uv_close((uv_handle_t *)&silent, NULL);
}

static void remembered_for(int64_t ms)
{
    struct result r[2] = { 0 };
    int64_t begin = sx_mono_ms();

    t.peer.mode = PEER_CLOSES;
    open_client();
    assert_fails(SIMPLEX_E_DISCONNECTED);
    unsigned accepted = t.peer.accepted;
    t.peer.mode = PEER_NORMAL;
    send_cmd(SX_SUB, "a", &r[0]);
    RUN_UNTIL(r[0].done);
    if (sx_mono_ms() - begin < ms) { /* a machine that stood still may have tried again */
        assert_int_equal(r[0].rc, SIMPLEX_E_DISCONNECTED);
        assert_int_equal(t.peer.accepted, accepted);
    }
    run_for(ms + 10);
    send_cmd(SX_SUB, "a", &r[1]);
    RUN_UNTIL(r[1].done);
    assert_int_equal(r[1].rc, SIMPLEX_OK);
    assert_int_equal(t.downs, 1);
}

static void a_failure_is_remembered_for_a_moment(void **state)
{
    (void)state;
    t.cfg.failed_cache = 2000;
    remembered_for(2000);
}

static void who_reconnects_soon_forgets_a_failure_soon(void **state)
{
    (void)state;
    t.cfg.failed_cache = 0;
    t.cfg.reconnect_first = 1000;
    remembered_for(1500);
}

/* ---- wanted clients ---- */

static void wanted_clients_connect_and_come_back(void **state)
{
    (void)state;
    open_client();
    sx_client_want(t.client, true);
    RUN_UNTIL(t.ups == 1);
    peer_drop(&t.peer);
    RUN_UNTIL(t.downs == 1);
    assert_int_equal(t.down_rc, SIMPLEX_E_DISCONNECTED);
    RUN_UNTIL(t.ups == 2);
    peer_listen(&t.peer, false);
    peer_drop(&t.peer);
    RUN_UNTIL(t.downs == 4); /* two more attempts failed */
    assert_int_equal(t.down_rc, SIMPLEX_E_CONNECT);
    peer_listen(&t.peer, true);
    RUN_UNTIL(t.ups == 3);
}

static void unwanted_clients_stay_away(void **state)
{
    struct result r = { 0 };

    (void)state;
    go_up();
    peer_drop(&t.peer);
    RUN_UNTIL(t.downs == 1);
    run_for(100);
    assert_int_equal(t.peer.accepted, 1);
    send_cmd(SX_SUB, "a", &r); /* but a command brings them back at once */
    RUN_UNTIL(r.done);
    assert_int_equal(r.rc, SIMPLEX_OK);
    sx_client_want(t.client, true);
    sx_client_want(t.client, false);
    peer_drop(&t.peer);
    RUN_UNTIL(t.downs == 2);
    run_for(100);
    assert_int_equal(t.ups, 2);
}

static void reconnecting_at_once_forgets_the_back_off(void **state)
{
    (void)state;
    t.cfg.reconnect_first = 60000;
    t.cfg.failed_cache = 60000;
    t.peer.mode = PEER_CLOSES;
    open_client();
    sx_client_want(t.client, true);
    RUN_UNTIL(t.downs == 1);
    run_for(50);
    assert_int_equal(t.peer.accepted, 1);
    t.peer.mode = PEER_NORMAL;
    sx_net_reconnect(t.net);
    RUN_UNTIL(t.ups == 1);
}

static void reconnecting_abandons_an_attempt_that_hangs(void **state)
{
    struct result r = { 0 };

    (void)state;
    t.peer.mode = PEER_SILENT;
    t.cfg.reconnect_first = 3000;
    open_client();
    int64_t begin = sx_mono_ms();
    send_cmd(SX_SUB, "a", &r);
    RUN_UNTIL(t.peer.accepted == 1);
    sx_net_reconnect(t.net); /* too young to be abandoned, unless the machine stood still */
    bool young = sx_mono_ms() - begin < 3000;
    run_for(3050);
    if (young)
        assert_int_equal(t.peer.accepted, 1);
    t.peer.mode = PEER_NORMAL;
    sx_net_reconnect(t.net);
    RUN_UNTIL(r.done);
    assert_int_equal(r.rc, SIMPLEX_OK);
    assert_int_equal(t.downs, 0);
}

static void reconnecting_probes_connections_that_are_up(void **state)
{
    (void)state;
    t.cfg.command_timeout = 2000;
    open_client();
    sx_client_want(t.client, true);
    RUN_UNTIL(t.ups == 1);
    int64_t begin = sx_mono_ms();
    sx_net_reconnect(t.net);
    RUN_UNTIL(t.peer.commands == 1 || t.downs == 1);
    run_for(100);
    if (sx_mono_ms() - begin < 2000)  /* else the time limit may have been there before it */
        assert_int_equal(t.downs, 0); /* it answered */
    t.peer.answer = silence;
    sx_net_reconnect(t.net);
    RUN_UNTIL(t.downs == 1);
    assert_int_equal(t.down_rc, SIMPLEX_E_TIMEOUT);
    t.peer.answer = NULL;
    RUN_UNTIL(t.ups == 2);
}

static void pings_when_nothing_comes_and_gives_up_in_the_end(void **state)
{
    (void)state;
    t.cfg.ping_interval = 30;
    t.cfg.command_timeout = 20;
    t.cfg.ping_give_up = 2000;
    open_client();
    sx_client_want(t.client, true);
    RUN_UNTIL(t.ups == 1);
    RUN_UNTIL(t.peer.commands >= 3); /* pings, answered */
    assert_int_equal(t.downs, 0);
    t.peer.answer = silence;
    unsigned before = t.peer.commands;
    int64_t begin = sx_mono_ms();
    RUN_UNTIL(t.downs == 1);
    assert_int_equal(t.down_rc, SIMPLEX_E_TIMEOUT);
    assert_in_range(sx_mono_ms() - begin, 500, GUARD_MS);
    assert_true(t.peer.commands - before >= 3);
    t.peer.answer = NULL;
    RUN_UNTIL(t.ups == 2);
}

static void leaves_a_session_that_answers_no_command(void **state)
{
    struct sx_cmd cmd = { .tag = SX_SEND };
    struct result r[3] = { 0 };

    (void)state;
    go_up();
    t.peer.answer = silence;
    for (size_t i = 0; i < SX_COUNT(r); i++) {
        assert_int_equal(t.downs, 0);
        assert_int_equal(try_send(&cmd, "x", 300, &r[i]), SIMPLEX_OK);
        RUN_UNTIL(r[i].done);
        assert_int_equal(r[i].rc, SIMPLEX_E_TIMEOUT);
    }
    RUN_UNTIL(t.downs == 1);
    assert_int_equal(t.down_rc, SIMPLEX_E_TIMEOUT);
}

static void unwanted_clients_do_not_ping(void **state)
{
    (void)state;
    t.cfg.ping_interval = 10;
    go_up();
    run_for(60);
    assert_int_equal(t.peer.commands, 1);
}

/* ---- SOCKS5 ---- */

static void use_proxy(void)
{
    proxy_start(&proxy, &t.loop);
    proxy.to = t.peer.port;
    t.cfg.has_socks = true;
    strcpy(t.cfg.socks_host, "127.0.0.1");
    t.cfg.socks_port = proxy.port;
}

static void assert_works(const char *hosts)
{
    struct result r = { 0 };

    client_of(hosts);
    send_cmd(SX_SUB, "a", &r);
    RUN_UNTIL(r.done);
    assert_int_equal(r.rc, SIMPLEX_OK);
}

static void the_proxy_resolves_names_and_gets_isolation_credentials(void **state)
{
    (void)state;
    use_proxy();
    open_net();
    assert_works("smp.example");
    assert_int_equal(proxy.accepted, 1);
    assert_string_equal(proxy.host, "smp.example");
    assert_int_equal(proxy.host_port, t.peer.port);
    /* printf user | openssl dgst -sha256 -binary | base64 */
    assert_string_equal(proxy.user, "BPiZbadjt6lpsQKO4wB1aerzpjVIbdqyEdUSyFud+Ps=");
    assert_string_equal(proxy.got_password, "");
}

static void servers_can_be_isolated_from_each_other(void **state)
{
    char first[256];

    (void)state;
    use_proxy();
    t.cfg.isolation = SX_ISOLATE_SERVER;
    open_net();
    assert_works("a.example");
    strcpy(first, proxy.user);
    assert_works("b.example");
    assert_string_not_equal(proxy.user, first);
}

static void isolation_separates_sessions_and_entities(void **state)
{
    static const enum sx_isolation_mode modes[] = { SX_ISOLATE_USER, SX_ISOLATE_SESSION,
                                                    SX_ISOLATE_SERVER, SX_ISOLATE_ENTITY };

    (void)state;
    use_proxy();
    for (size_t i = 0; i < SX_COUNT(modes); i++) {
        char first[256];
        t.cfg.isolation = modes[i];
        open_net();
        assert_works("a.example");
        strcpy(first, proxy.user);
        assert_works("b.example");
        assert_int_equal(strcmp(first, proxy.user) != 0,
                         modes[i] >= SX_ISOLATE_SERVER && modes[i] != SX_ISOLATE_SESSION);
        struct sx_server server;
        struct result r = { 0 };
        peer_server(&t.peer, "a.example", &server);
        assert_int_equal(sx_net_client_of(t.net, &server, 0, 7, &t.client), SIMPLEX_OK);
        send_cmd(SX_SUB, "a", &r);
        RUN_UNTIL(r.done);
        assert_int_equal(r.rc, SIMPLEX_OK);
        assert_int_equal(strcmp(first, proxy.user) != 0, modes[i] == SX_ISOLATE_ENTITY);
        sx_net_reconnect(t.net); /* circuits of before are not used for what is new */
        assert_works("a2.example");
        char second[256];
        strcpy(second, proxy.user);
        sx_net_reconnect(t.net);
        sx_client_disconnect(t.client, SIMPLEX_E_DISCONNECTED);
        struct result again = { 0 };
        send_cmd(SX_SUB, "a", &again);
        RUN_UNTIL(again.done);
        assert_int_equal(again.rc, SIMPLEX_OK);
        assert_int_equal(strcmp(second, proxy.user) != 0, modes[i] != SX_ISOLATE_USER);
        close_net();
        RUN_UNTIL(t.closed);
        t.closed = false;
    }
    open_net(); /* for the teardown */
}

static void own_credentials_replace_isolation(void **state)
{
    (void)state;
    use_proxy();
    proxy.password = "secret";
    t.cfg.socks_has_auth = true;
    strcpy(t.cfg.socks_user, "me");
    strcpy(t.cfg.socks_password, "secret");
    t.cfg.failed_cache = 1;
    open_net();
    assert_works("1.2.3.4");
    assert_string_equal(proxy.user, "me");
    assert_string_equal(proxy.host, "1.2.3.4");
    assert_works("[2001:db8::1]");
    assert_string_equal(proxy.host, "2001:db8::1");
    proxy.password = "other";
    t.downs = t.ups = 0;
    client_of("c.example");
    assert_fails(SIMPLEX_E_PROXY);
}

static void a_proxy_without_users_is_enough(void **state)
{
    (void)state;
    use_proxy();
    proxy.no_auth = true;
    open_net();
    assert_works("a.example"); /* isolation credentials are offered, not insisted on */
    assert_string_equal(proxy.user, "");
    close_net();
    RUN_UNTIL(t.closed);
    t.closed = false;
    t.cfg.socks_no_auth = true;
    open_net();
    assert_works("a.example");
    close_net();
    RUN_UNTIL(t.closed);
    t.cfg.socks_no_auth = false;
    t.cfg.socks_has_auth = true; /* but one's own are */
    strcpy(t.cfg.socks_user, "me");
    open_net();
    client_of("a.example");
    t.ups = t.downs = 0;
    assert_fails(SIMPLEX_E_PROXY);
}

static void onion_hosts_go_through_the_proxy_others_need_not(void **state)
{
    const char *onion = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.onion";

    (void)state;
    use_proxy();
    t.cfg.socks_mode = SX_SOCKS_ONION;
    open_net();
    assert_works("127.0.0.1");
    assert_int_equal(proxy.accepted, 0);
    assert_works(onion);
    assert_int_equal(proxy.accepted, 1);
    assert_string_equal(proxy.host, onion);
}

static void refusals_of_the_proxy_have_their_codes(void **state)
{
    (void)state;
    use_proxy();
    open_net();
    client_of("a.example");
    proxy.reply = 5; /* refused by the host */
    assert_fails(SIMPLEX_E_CONNECT);
    proxy.reply = 1; /* general failure */
    t.downs = 0;
    run_for(3);
    assert_fails(SIMPLEX_E_PROXY);
    proxy_stop(&proxy);
    proxy.loop = NULL;
    run_for(3);
    t.downs = 0;
    assert_fails(SIMPLEX_E_PROXY); /* not there */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(failures_of_the_attempt_have_their_codes),
        CASE(another_identity_is_refused),
        CASE(nobody_listening_is_a_failed_connection),
        CASE(a_name_that_does_not_resolve_is_a_host_error),
        CASE(onion_hosts_need_a_proxy),
        CASE(all_hosts_are_tried),
        CASE(a_silent_host_leaves_time_for_the_next),
        CASE(a_failure_is_remembered_for_a_moment),
        CASE(who_reconnects_soon_forgets_a_failure_soon),
        CASE(wanted_clients_connect_and_come_back),
        CASE(unwanted_clients_stay_away),
        CASE(reconnecting_at_once_forgets_the_back_off),
        CASE(reconnecting_abandons_an_attempt_that_hangs),
        CASE(reconnecting_probes_connections_that_are_up),
        CASE(pings_when_nothing_comes_and_gives_up_in_the_end),
        CASE(leaves_a_session_that_answers_no_command),
        CASE(unwanted_clients_do_not_ping),
        CASE(the_proxy_resolves_names_and_gets_isolation_credentials),
        CASE(servers_can_be_isolated_from_each_other),
        CASE(isolation_separates_sessions_and_entities),
        CASE(own_credentials_replace_isolation),
        CASE(a_proxy_without_users_is_enough),
        CASE(onion_hosts_go_through_the_proxy_others_need_not),
        CASE(refusals_of_the_proxy_have_their_codes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
