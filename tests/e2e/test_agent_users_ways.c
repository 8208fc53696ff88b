/* SPDX-License-Identifier: Apache-2.0 */
/* The ways of several users of an agent: proxies and circuits of their own; and users killed -9. */
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/users.h"
#include "support/agents.h"
#include "support/smp_peer.h"

extern char **environ;

static simplex_user_server entry(const char *address, bool storage, bool proxy)
{
    return (simplex_user_server){ .size = sizeof(simplex_user_server),
                                  .address = address,
                                  .enabled = storage || proxy,
                                  .storage = storage,
                                  .proxy = proxy };
}

/* Another name of the same machine: servers of one name count as one place. */
static void renamed(const char *address, const char *host, char to[512])
{
    const char *at = strrchr(address, '@'), *colon = strrchr(address, ':');

    (void)snprintf(to, 512, "%.*s%s%s", (int)(at + 1 - address), address, host, colon);
}

/* ---- private routing ---- */

static unsigned sent_through(struct test_agent *t, int64_t conn)
{
    send_text(t, conn, "which way");
    simplex_event *ev = wait_event(t, SIMPLEX_EV_SENT, conn);
    const char *server = simplex_event_server(ev);
    unsigned port = server != NULL ? (unsigned)strtoul(strrchr(server, ':') + 1, NULL, 10) : 0;

    simplex_event_free(ev);
    return port;
}

/* A connection to an invitation of the peer; over which proxy it writes. */
static unsigned way_of(struct test_agent *t, int64_t user, struct test_agent *peer)
{
    int64_t tc, pc;
    simplex_event *ev;

    assert_int_equal(simplex_agent_create(peer->a, SIMPLEX_PQ_OFF, &pc), SIMPLEX_OK);
    ev = wait_event(peer, SIMPLEX_EV_INV, pc);
    assert_int_equal(
        simplex_agent_join_as(t->a, user, simplex_event_data(ev), sx_str(""), SIMPLEX_PQ_OFF, &tc),
        SIMPLEX_OK);
    simplex_event_free(ev);
    agent_allow(peer, pc, "");
    expect(t, SIMPLEX_EV_CON, tc);
    return sent_through(t, tc);
}

static void each_user_has_its_own_proxies_and_known_servers(void **state)
{
    struct test_server relay, one, two;
    struct test_agent t, peer;
    char relay_address[512], dir[256];
    int64_t stranger, friend_, roles, switched;

    (void)state;
    tmp_make(dir);
    server_start(&relay, NULL);
    server_start(&one, NULL);
    server_start(&two, NULL);
    renamed(relay.address, "localhost", relay_address);
    agent_open(&peer, dir, "p", relay_address);
    agent_open(&t, dir, "t", one.address);
    t.cfg.proxy_mode = SIMPLEX_PROXY_UNKNOWN;
    t.cfg.proxy_fallback = SIMPLEX_FALLBACK_PROHIBIT;
    agent_reopen(&t);
    unsigned one_port = simplex_server_port(one.s), two_port = simplex_server_port(two.s);
    simplex_user_server a[] = { entry(one.address, true, true) };
    simplex_user_server b[] = { entry(one.address, true, true),
                                entry(relay_address, false, false) };
    simplex_user_server c[] = { entry(one.address, true, false), entry(two.address, false, true) };
    assert_int_equal(simplex_agent_create_user(t.a, a, 1, &stranger), SIMPLEX_OK);
    assert_int_equal(simplex_agent_create_user(t.a, b, 2, &friend_), SIMPLEX_OK);
    assert_int_equal(simplex_agent_create_user(t.a, c, 2, &roles), SIMPLEX_OK);
    assert_int_equal(way_of(&t, SIMPLEX_USER_DEFAULT, &peer), one_port);
    assert_int_equal(way_of(&t, stranger, &peer), one_port);
    assert_int_equal(way_of(&t, friend_, &peer), 0); /* knows it, though it is switched off */
    assert_int_equal(way_of(&t, roles, &peer), two_port);
    c[1].enabled = false; /* no proxy is left: any of the list */
    assert_int_equal(simplex_agent_create_user(t.a, c, 2, &switched), SIMPLEX_OK);
    unsigned port = way_of(&t, switched, &peer);
    assert_true(port == one_port || port == two_port);
    agent_close(&t);
    agent_close(&peer);
    server_stop(&relay);
    server_stop(&one);
    server_stop(&two);
    tmp_remove(dir);
}

/* ---- circuits ---- */

static struct {
    uv_loop_t loop;
    uv_thread_t thread;
    uv_async_t stop;
    struct proxy proxy;
} tor;

static void on_stop(uv_async_t *h)
{
    proxy_stop(&tor.proxy);
    uv_close((uv_handle_t *)h, NULL);
}

static void run_tor(void *arg)
{
    (void)arg;
    (void)uv_run(&tor.loop, UV_RUN_DEFAULT);
}

static void start_tor(uint16_t to)
{
    memset(&tor, 0, sizeof tor);
    assert_int_equal(uv_loop_init(&tor.loop), 0);
    proxy_start(&tor.proxy, &tor.loop);
    tor.proxy.to = to;
    assert_int_equal(uv_async_init(&tor.loop, &tor.stop, on_stop), 0);
    assert_int_equal(uv_thread_create(&tor.thread, run_tor, NULL), 0);
}

static void stop_tor(void)
{
    (void)uv_async_send(&tor.stop);
    (void)uv_thread_join(&tor.thread);
    assert_int_equal(uv_loop_close(&tor.loop), 0);
}

/* The SOCKS user name of the session that a new connection of the user is made in. */
static void circuit_of(struct test_agent *t, int64_t user, char name[256])
{
    int64_t conn;

    assert_int_equal(simplex_agent_create_as(t->a, user, SIMPLEX_PQ_OFF, &conn), SIMPLEX_OK);
    expect(t, SIMPLEX_EV_INV, conn);
    memcpy(name, tor.proxy.user, 256);
}

static void users_have_circuits_of_their_own(void **state)
{
    static const int32_t modes[] = { SIMPLEX_ISOLATE_USER, SIMPLEX_ISOLATE_SESSION,
                                     SIMPLEX_ISOLATE_SERVER, SIMPLEX_ISOLATE_ENTITY };
    struct test_server srv;
    struct test_agent t;
    char dir[256], socks[64], name[3][256], again[256];

    (void)state;
    tmp_make(dir);
    server_start(&srv, NULL);
    for (size_t m = 0; m < SX_COUNT(modes); m++) {
        int64_t users[3] = { SIMPLEX_USER_DEFAULT };
        char file[8];
        (void)snprintf(file, sizeof file, "t%zu", m);
        start_tor(simplex_server_port(srv.s));
        (void)snprintf(socks, sizeof socks, "127.0.0.1:%u", (unsigned)tor.proxy.port);
        agent_open(&t, dir, file, srv.address);
        t.cfg.socks_proxy = socks;
        t.cfg.isolation = modes[m];
        agent_reopen(&t);
        for (int k = 1; k < 3; k++)
            assert_int_equal(simplex_agent_create_user(t.a, NULL, 0, &users[k]), SIMPLEX_OK);
        for (int k = 0; k < 3; k++) {
            circuit_of(&t, users[k], name[k]);
            assert_true(strlen(name[k]) == 44); /* made up, of the usual length */
            for (int i = 0; i < k; i++)
                assert_string_not_equal(name[i], name[k]);
        }
        circuit_of(&t, users[2], again); /* one session, but for connections apart */
        assert_int_equal(strcmp(again, name[2]) != 0, modes[m] == SIMPLEX_ISOLATE_ENTITY);
        assert_int_equal(tor.proxy.accepted, modes[m] == SIMPLEX_ISOLATE_ENTITY ? 4 : 3);
        agent_close(&t);
        stop_tor();
    }
    server_stop(&srv);
    tmp_remove(dir);
}

/* ---- kill -9 ---- */

#define WORKER "worker"
#define LISTS 3 /* a list has so many servers as its name says: op 1, ops 1 2, ops 1 2 3 */

/* Nobody listens there. Numbers, because closing an agent waits for resolvers at work. */
static void list_of(simplex_user_server *list, int n)
{
    static const char *const hosts[LISTS] = {
        "smp://AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=@127.0.1.1:1",
        "smp://AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=@127.0.1.2:1",
        "smp://AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=@127.0.1.3:1",
    };

    for (int i = 0; i < n; i++) {
        list[i] = entry(hosts[i], true, true);
        list[i].operator_id = n;
    }
}

/* The file by which a worker says that it has made its first user. */
static void mark_path(const char *dir, char path[300])
{
    (void)snprintf(path, 300, "%s/mark", dir);
}

static bool mark(const char *dir)
{
    char path[300];

    mark_path(dir, path);
    FILE *f = fopen(path, "w");
    return f != NULL && fclose(f) == 0;
}

static void wait_for(const char *path)
{
    int64_t end = sx_mono_ms() + WAIT_MS;

    while (access(path, F_OK) != 0) {
        assert_true(sx_mono_ms() < end);
        (void)usleep(1000);
    }
}

/* Makes users, changes their lists, gives them connections, deletes some: until it is killed. */
static int work(const char *dir)
{
    simplex_user_server list[LISTS];
    struct test_agent t;
    int64_t user, conn, ids[8];
    size_t n;

    agent_open(&t, dir, "t", NULL);
    for (int round = 0;; round++) {
        list_of(list, 1 + round % LISTS);
        if (simplex_agent_create_user(t.a, list, (size_t)(1 + round % LISTS), &user) != SIMPLEX_OK)
            return 2;
        list_of(list, 1 + (round + 1) % LISTS);
        if (simplex_agent_set_servers(t.a, user, list, (size_t)(1 + (round + 1) % LISTS)) !=
                SIMPLEX_OK ||
            simplex_agent_create_as(t.a, user, SIMPLEX_PQ_OFF, &conn) != SIMPLEX_OK ||
            simplex_agent_activate_user(t.a, user) != SIMPLEX_OK)
            return 2;
        n = SX_COUNT(ids);
        if (simplex_agent_users(t.a, SIMPLEX_USER_DEFAULT, ids, &n) != SIMPLEX_OK)
            return 2;
        if (n > 4 && simplex_agent_delete_user(t.a, ids[0], round % 2 == 0) != SIMPLEX_OK)
            return 2;
        if (round == 0 && !mark(dir))
            return 2;
    }
}

static void check_user(simplex_agent *a, int64_t user)
{
    simplex_user_info info = { .size = sizeof info };
    simplex_user_server s = { .size = sizeof s };
    char text[256];

    assert_int_equal(simplex_agent_user(a, user, &info), SIMPLEX_OK);
    if (user == SIMPLEX_USER_DEFAULT)
        return;
    assert_in_range(info.n_servers, 1, LISTS);
    for (int64_t i = 0; i < info.n_servers; i++) { /* one list or the other, never parts of both */
        size_t len = sizeof text;
        assert_int_equal(simplex_agent_user_server(a, user, (size_t)i, text, &len, &s), SIMPLEX_OK);
        assert_int_equal(s.operator_id, info.n_servers);
    }
}

static int check_all(const char *dir)
{
    struct test_agent t;
    int64_t ids[64];
    size_t n = SX_COUNT(ids);
    int active = 0;

    agent_open(&t, dir, "t", NULL);
    assert_int_equal(simplex_agent_users(t.a, 0, ids, &n), SIMPLEX_OK);
    for (size_t i = 0; i < n; i++) {
        simplex_user_info info = { .size = sizeof info };
        check_user(t.a, ids[i]);
        assert_int_equal(simplex_agent_user(t.a, ids[i], &info), SIMPLEX_OK);
        active += info.active;
    }
    assert_int_equal(active, 1);
    agent_close(&t);
    return (int)n;
}

static void users_are_whole_after_each_kill(void **state)
{
    const char *rounds = getenv("SX_KILLS");
    char dir[256], marked[300], *const argv[] = { (char *)"users", (char *)WORKER, dir, NULL };
    int kills = rounds != NULL ? atoi(rounds) : 12, most = 0;

    (void)state;
    tmp_make(dir);
    mark_path(dir, marked);
    for (int k = 0; k < kills; k++) {
        pid_t pid;
        int status;
        assert_int_equal(posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, environ), 0);
        if (k % 2 == 0) /* else anywhere from its start on */
            wait_for(marked);
        (void)usleep(sx_random_below(150000));
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status)); /* it did not end by itself */
        (void)unlink(marked);
        int n = check_all(dir);
        most = n > most ? n : most;
    }
    assert_true(most > 1); /* something was under way */
    tmp_remove(dir);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_user_has_its_own_proxies_and_known_servers),
        cmocka_unit_test(users_have_circuits_of_their_own),
        cmocka_unit_test(users_are_whole_after_each_kill),
    };

    if (argc > 2 && strcmp(argv[1], WORKER) == 0)
        return work(argv[2]);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
