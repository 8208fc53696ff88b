/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What smp-server tells a service manager (sd_notify(3), Type=notify in the unit): that clients can
 * connect, not sooner, and nothing when the start fails.
 */
#include "support/vec.h"

#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli_stage.h"
#include "support/free_port.h"

/* The socket of a service manager; name: as in NOTIFY_SOCKET, '@' stands for an abstract one. */
static int manager(const char *name)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    const struct timeval patience = { .tv_sec = 60 };
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

    assert_true(fd >= 0 && strlen(name) < sizeof(at.sun_path));
    memcpy(at.sun_path, name, strlen(name));
    if (name[0] == '@')
        at.sun_path[0] = 0;
    assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
    return fd;
}

/* What was told so far, or (wait) is told next. */
static void assert_told(int fd, bool wait, const char *wanted)
{
    char text[256];
    ssize_t n = recv(fd, text, sizeof(text) - 1, wait ? 0 : MSG_DONTWAIT);

    text[n < 0 ? 0 : n] = 0;
    assert_string_equal(text, wanted);
}

static void assert_answers(const struct program *p)
{
    struct smp_peer c;

    open_client(p, &c);
    smp_peer_close(&c);
}

static void stop(struct program *p, int fd)
{
    assert_int_equal(kill(p->pid, SIGTERM), 0);
    assert_int_equal(program_end(p), 0);
    assert_told(fd, false, "");
}

/* How the program is started with this port in a smp-server.ini. */
static const char *const *configured(unsigned at)
{
    char ini[128];

    if (access(config_dir, F_OK) != 0)
        program_expect(SMP_SERVER,
                       ARG("init", "-y", "--no-password", "--disable-web", "-n", "localhost"), NULL,
                       0, "Server initialized");
    snprintf(ini, sizeof(ini), "[STORE_LOG]\nenable: on\n[TRANSPORT]\nhost: localhost\nport: %u\n",
             at);
    write_text("smp-server.ini", ini);
    return ARG("start");
}

static void a_server_that_runs_is_ready(void **state)
{
    char name[96];
    struct program p;

    (void)state;
    const char *const *args = configured(free_port());
    snprintf(name, sizeof(name), "%s/notify", base);
    int fd = manager(name);
    program_run(&p, SMP_SERVER, args, NULL);
    assert_told(fd, true, "READY=1");
    assert_true(program_read(&p, "creating new queues")); /* was printed before */
    assert_answers(&p);
    stop(&p, fd);
    close(fd);
}

static void a_quick_start_is_ready_too_and_finds_an_abstract_socket(void **state)
{
    static const char *const args[] = { "start", "--port", "0", "--dir", base, NULL };
    char name[96];
    struct program p;

    (void)state;
    snprintf(name, sizeof(name), "@%s/notify", base);
    int fd = manager(name);
    program_run(&p, SMP_SERVER, args, NULL);
    assert_told(fd, true, "READY=1");
    assert_true(program_read(&p, "creating new queues"));
    assert_answers(&p);
    stop(&p, fd);
    close(fd);
}

static void a_start_that_fails_is_never_ready(void **state)
{
    char name[96];

    (void)state;
    snprintf(name, sizeof(name), "%s/notify", base);
    const char *const *args = configured(0);
    int fd = manager(name);
    expect(args, NULL, 1, "port: \"0\" cannot be used");
    assert_told(fd, false, "");
    close(fd);
}

static void a_manager_that_cannot_be_told_is_named(void **state)
{
    char name[160];
    struct program p;

    (void)state;
    const char *const *args = configured(free_port());
    memset(name, 'x', sizeof(name) - 1); /* more than an address of a socket can hold */
    name[0] = '/';
    name[sizeof(name) - 1] = 0;
    const char *const names[] = { name, "/nowhere/notify" };
    for (size_t i = 0; i < SX_COUNT(names); i++) {
        assert_int_equal(setenv("NOTIFY_SOCKET", names[i], 1), 0);
        program_run(&p, SMP_SERVER, args, NULL);
        assert_true(program_read(&p, "NOTIFY_SOCKET"));
        assert_answers(&p);
        stop_server(&p, SIGTERM);
    }
}

static int forget_manager(void **state)
{
    unsetenv("NOTIFY_SOCKET");
    return remove_dirs(state);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_dirs, forget_manager)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_server_that_runs_is_ready),
        TEST(a_quick_start_is_ready_too_and_finds_an_abstract_socket),
        TEST(a_start_that_fails_is_never_ready),
        TEST(a_manager_that_cannot_be_told_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
