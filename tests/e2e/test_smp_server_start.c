/* SPDX-License-Identifier: Apache-2.0 */
/* smp-server start: what it says and refuses, and what a hang-up changes while it runs. */
#include "support/vec.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli_stage.h"
#include "file.h"
#include "support/free_port.h"

static void start_says_what_it_serves(void **state)
{
    struct program p;
    char line[160];

    (void)state;
    init_server();
    uint16_t second = free_port();
    snprintf(line, sizeof(line), "port: %u,%u", port, second);
    set_line("port", line);
    start_server(&p);
    assert_int_equal(strncmp(p.text, "SMP server v", 12), 0);
    snprintf(line, sizeof(line),
             "@smp.example.org:%u,%u\nClients take one port: write \":%u\" instead.\n", port,
             second, port);
    assert_non_null(strstr(p.text, line));
    snprintf(line, sizeof(line), "Store log: %s/smp-server-store.log\n", state_dir);
    assert_non_null(strstr(p.text, line));
    snprintf(line, sizeof(line), "Serving SMP protocol on port %u (TLS)...\n", second);
    assert_non_null(strstr(p.text, line));
    assert_non_null(strstr(p.text, "Queues: 0. Messages that wait: 0.\n"));
    assert_non_null(strstr(p.text, "Messages are on disk before they are answered OK.\n"));
    assert_non_null(strstr(p.text, "expiring messages after 21 days\n"));
    assert_non_null(strstr(p.text, "expiring clients inactive for 21600 seconds every 3600 "));
    assert_non_null(strstr(p.text, "creating new queues allowed\n"));
    assert_non_null(strstr(p.text, "the source code of the server is not specified"));
    stop_server(&p, SIGTERM);
    set_line("disconnect", "disconnect: off");
    set_line("new_queues", "new_queues: off");
    set_line("enable", "enable: off");
    set_line("# source_code", "source_code: https://example.org/source");
    set_line("expire_messages_days", "expire_messages_days: 1");
    start_server(&p);
    assert_non_null(strstr(p.text, "Store log disabled.\n"));
    assert_non_null(strstr(p.text, "not expiring inactive clients\n"));
    assert_non_null(strstr(p.text, "creating new queues NOT allowed\n"));
    assert_non_null(strstr(p.text, "Server source code: https://example.org/source\n"));
    assert_non_null(strstr(p.text, "expiring messages after 1 day\n"));
    stop_server(&p, SIGINT);
}

/* To a port on which nothing answers: what tells is whether it was tried. */
static void assert_prxy(const struct program *p, enum sx_err_proxy wanted)
{
    struct sx_cmd prxy = { .tag = SX_PRXY, .prxy = { .server = { .n_hosts = 1, .port = "1" } } };
    struct smp_peer c;

    assert_int_equal(sx_host_parse(sx_str("127.0.0.1"), &prxy.prxy.server.hosts[0]), SIMPLEX_OK);
    open_client(p, &c);
    const struct sx_rsp *r = smp_peer_cmd(&c, NULL, sx_bytes(NULL, 0), &prxy);
    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_ERR);
    assert_int_equal(r->err.err, SX_ERR_PROXY);
    assert_int_equal(r->err.proxy, wanted);
    smp_peer_close(&c);
}

static void the_proxy_can_be_switched_off(void **state)
{
    struct program p;

    (void)state;
    init_server();
    start_server(&p);
    assert_prxy(&p, SX_PROXY_BROKER);
    stop_server(&p, SIGTERM);
    char *text = read_text("smp-server.ini"), *at = strstr(strstr(text, "[PROXY]"), "# enable: on");
    assert_non_null(at);
    memcpy(at, "enable: off ", 12);
    write_text("smp-server.ini", text);
    start_server(&p);
    assert_prxy(&p, SX_PROXY_BASIC_AUTH);
    stop_server(&p, SIGTERM);
}

static void start_names_the_line_of_a_wrong_value(void **state)
{
    char text[64];

    (void)state;
    init_server();
    unsigned line = set_line("new_queues", "new_queues: maybe");
    snprintf(text, sizeof(text), "smp-server.ini:%u: [AUTH] new_queues: ", line);
    expect(ARG("start"), NULL, 1, text);
    set_line("new_queues", "new_queues: on");
    expect(ARG("start", "--log-level", "loud"), NULL, 2, "--log-level is trace");
    expect(ARG("start", "--dir", "x"), NULL, 2, "do not go with --config");
    expect(ARG("start", "-m", "--confirm-migrations", "up", "--compact-log"), NULL, 0,
           "Maintenance completed.");
    const char *const quick[] = { "start", "--port", "0", "--dir", config_dir, NULL };
    expect(quick, NULL, 2, "start it with `smp-server start --config ");
}

static void start_takes_its_directories_from_the_environment(void **state)
{
    static const char *const plain[] = { "start", NULL };
    struct program p;

    (void)state;
    init_server();
    assert_int_equal(setenv("SMP_SERVER_CFG_PATH", config_dir, 1), 0);
    assert_int_equal(setenv("SMP_SERVER_LOG_PATH", state_dir, 1), 0);
    program_run(&p, SMP_SERVER, plain, NULL);
    unsetenv("SMP_SERVER_CFG_PATH");
    unsetenv("SMP_SERVER_LOG_PATH");
    assert_true(program_read(&p, "creating new queues"));
    stop_server(&p, SIGINT);
}

/* Until it can be connected to: there is no output to tell. */
static void wait_for_port(void)
{
    struct smp_peer_cfg cfg = { .port = port };
    int fd;

    while ((fd = smp_peer_socket(&cfg)) < 0)
        usleep(20000);
    (void)close(fd);
}

/* Numbers of closed streams are those of the next files, which then would have what is printed. */
static void start_keeps_output_out_of_its_files_when_streams_are_closed(void **state)
{
    static const char *const closed[] = { "exec \"$@\" <&-", "exec \"$@\" >&-", "exec \"$@\" 2>&-",
                                          "exec \"$@\" <&- >&- 2>&-" };
    struct program p;
    struct stat st;
    char log[160];

    (void)state;
    snprintf(log, sizeof(log), "%s/smp-server-store.log", state_dir);
    init_server();
    for (size_t i = 0; i < SX_COUNT(closed); i++) {
        const char *const args[] = { "-c",       closed[i],  "sh",      SMP_SERVER, "start",
                                     "--config", config_dir, "--state", state_dir,  NULL };
        program_run(&p, "/bin/sh", args, NULL);
        wait_for_port();
        set_line("new_queues", "new_queues: maybe"); /* something to complain about */
        assert_int_equal(kill(p.pid, SIGHUP), 0);
        assert_int_equal(kill(p.pid, SIGTERM), 0);
        assert_int_equal(program_end(&p), 0);
        set_line("new_queues", "new_queues: on");
        assert_int_equal(stat(log, &st), 0);
        assert_int_equal(st.st_size, 0);
    }
}

/* The pages of the site are in the state directory, which they must not make for everybody. */
static void start_makes_a_state_directory_for_its_owner_alone(void **state)
{
    struct program p;
    struct stat st;

    (void)state;
    init_server();
    assert_int_equal(rmdir(state_dir), 0);
    start_server(&p);
    assert_int_equal(stat(state_dir, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    stop_server(&p, SIGTERM);
}

/* Who forgot to export the journal of the reference would miss its messages without a word. */
static void start_tells_of_messages_that_it_does_not_read(void **state)
{
    char path[160];
    struct program p;

    (void)state;
    init_server();
    start_server(&p);
    assert_null(strstr(p.text, "journal export"));
    stop_server(&p, SIGTERM);
    snprintf(path, sizeof(path), "%s/messages", state_dir);
    assert_int_equal(mkdir(path, 0700), 0);
    start_server(&p);
    assert_non_null(strstr(p.text, "/messages has messages of the reference"));
    assert_non_null(strstr(p.text, "`smp-server journal export`"));
    stop_server(&p, SIGTERM);
    assert_int_equal(access(path, F_OK), 0);
}

static void start_refuses_another_identity(void **state)
{
    struct program p;

    (void)state;
    init_server();
    write_text("fingerprint", "4GRew_mCaKOS6bZcmmLXY0SmS5Ygy85kkg1PddI6vyU=\n");
    program_run(&p, SMP_SERVER, ARG("start"), NULL);
    assert_int_equal(program_end(&p), 1);
    const char *said = strstr(p.text, "Stored fingerprint is invalid.");
    assert_non_null(said);
    assert_null(strstr(said + 1, "Stored fingerprint is invalid.")); /* once */
    expect(ARG("cert"), NULL, 1, "Stored fingerprint is invalid.");
}

/* ---- while it runs ---- */

/* A session of the control port, of which the level "info" has a line before it is answered. */
static void use_control_port(uint16_t at)
{
    static const char said[] = "auth operator\nquit\n";
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_addr = { htonl(INADDR_LOOPBACK) },
                              .sin_port = htons(at) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    char text[512] = "";
    size_t len = 0;
    ssize_t n;

    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    assert_int_equal(write(fd, said, strlen(said)), strlen(said));
    while ((n = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
        len += (size_t)n;
    assert_non_null(strstr(text, "Current role is CPRUser"));
    close(fd);
}

#define SESSION_LINE "INFO control port: session with role CPRUser"

static void a_hang_up_changes_the_log_level(void **state)
{
    uint16_t control = free_port();
    struct program p;
    char line[64];

    (void)state;
    init_server();
    snprintf(line, sizeof(line), "control_port: %u", control);
    set_line("# control_port", line);
    set_line("# control_port_user_password", "control_port_user_password: operator");
    set_line("level", "level: warn");
    start_server(&p);
    use_control_port(control);
    set_line("level", "level: info");
    assert_int_equal(kill(p.pid, SIGHUP), 0);
    assert_true(program_read(&p, "Configuration reloaded: 1 change."));
    assert_non_null(strstr(p.text, "log level: warn -> info\n"));
    assert_null(strstr(p.text, SESSION_LINE));
    use_control_port(control);
    assert_true(program_read(&p, SESSION_LINE));
    set_line("level", "level: error");
    assert_int_equal(kill(p.pid, SIGHUP), 0);
    assert_true(program_read(&p, "Configuration reloaded: 1 change."));
    use_control_port(control);
    stop_server(&p, SIGTERM);
    const char *first = strstr(p.text, SESSION_LINE);
    assert_non_null(first);
    assert_null(strstr(first + 1, SESSION_LINE));
}

static void a_hang_up_reads_the_configuration_again(void **state)
{
    struct program p;
    char line[64];

    (void)state;
    init_server();
    start_server(&p);
    set_line("# create_password", "create_password: secret");
    set_line("expire_messages_days", "expire_messages_days: 14");
    set_line("# prometheus_interval", "prometheus_interval: 1");
    snprintf(line, sizeof(line), "port: %u,%u", port, free_port());
    set_line("port", line);
    assert_int_equal(kill(p.pid, SIGHUP), 0);
    assert_true(program_read(&p, "Configuration reloaded: 4 changes."));
    assert_non_null(strstr(p.text, "message TTL: 21 days -> 14 days\n"));
    assert_non_null(strstr(p.text, "password to create queues: set\n"));
    assert_non_null(strstr(p.text, " (takes effect when the server is restarted)\n"));
    assert_null(strstr(p.text, "secret"));
    for (int i = 0; i < 1500 && !sx_file_exists(state_dir, "smp-server-metrics.txt"); i++)
        usleep(20000);
    assert_true(sx_file_exists(state_dir, "smp-server-metrics.txt"));
    set_line("new_queues", "new_queues: perhaps");
    assert_int_equal(kill(p.pid, SIGHUP), 0);
    assert_true(program_read(&p, "Configuration not reloaded"));
    set_line("new_queues", "new_queues: on");
    assert_int_equal(kill(p.pid, SIGHUP), 0);
    assert_true(program_read(&p, "Configuration reloaded: 1 change.")); /* the port, still */
    assert_served(&p, "");
    stop_server(&p, SIGTERM);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_dirs, remove_dirs)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(start_says_what_it_serves),
        TEST(the_proxy_can_be_switched_off),
        TEST(start_names_the_line_of_a_wrong_value),
        TEST(start_takes_its_directories_from_the_environment),
        TEST(start_keeps_output_out_of_its_files_when_streams_are_closed),
        TEST(start_makes_a_state_directory_for_its_owner_alone),
        TEST(start_tells_of_messages_that_it_does_not_read),
        TEST(start_refuses_another_identity),
        TEST(a_hang_up_reads_the_configuration_again),
        TEST(a_hang_up_changes_the_log_level),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
