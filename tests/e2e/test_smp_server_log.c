/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the program smp-server says about those who use it: nothing, at any level. It runs through
 * all that clients, browsers and the operator do, and through damaged files; then everything that
 * it has printed or written for people to read is searched for what the test knows of its clients.
 */
#include "support/vec.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "file.h"
#include "log_stage.h"
#include "support/free_port.h"
#include "support/program.h"
#include "support/server_dirs.h"
#include "wire/server.h"

static struct secrets secrets, ports;
static struct log_stage stage = { .secrets = &secrets, .ports = &ports };

/* ---- the server ---- */

static void choose_ports(void)
{
    secrets_free(&ports); /* ours are other ones now, and may be among them */
    stage.port = free_port();
    stage.control_port = free_port();
    stage.web_port = free_port();
}

/* Everything that makes the server talk is on, but what it says of a low limit of open files: a
 * number there may be that of a port. patience_s: with silent clients. */
static void write_ini(unsigned patience_s)
{
    static const char ini[] =
        "[STORE_LOG]\nenable: on\nlog_stats: on\nprometheus_interval: 1\n"
        "[AUTH]\nnew_queues: on\ncontrol_port_admin_password: " LOG_STAGE_PASSWORD "\n"
        "[TRANSPORT]\nhost: smp.example.org\nport: %u\ncontrol_port: %u\nlog_tls_errors: on\n"
        "[INACTIVE_CLIENTS]\ndisconnect: on\nttl: %u\ncheck_interval: 1\n"
        "[WEB]\nstatic_path: %s/www\nhttp: %u\n"
        "[LIMITS]\nmessages_per_queue: " LOG_STAGE_QUOTA
        "\nend_flush_seconds: 0\nntf_flush_seconds: 0\nmax_connections: 100\n";
    struct sx_errtext none = { 0 };
    char text[1024];

    snprintf(text, sizeof(text), ini, stage.port, stage.control_port, patience_s, base,
             stage.web_port);
    assert_int_equal(sx_file_write(config_dir, "smp-server.ini", sx_str(text), 0600, &none),
                     SIMPLEX_OK);
}

static void start(struct program *p, const char *level)
{
    struct sx_server address;
    char text[256];

    program_run(p, SMP_SERVER, ARG("start", "--log-level", level), NULL);
    if (!program_read(p, "creating new queues"))
        fail_msg("%s", p->text);
    const char *at = strstr(p->text, "Server address: ");
    assert_non_null(at);
    assert_int_equal(sscanf(at, "Server address: %255s", text), 1);
    assert_int_equal(sx_server_parse(sx_str(text), &address, NULL), SIMPLEX_OK);
    memcpy(stage.key_hash, address.key_hash, sizeof(stage.key_hash));
}

static void assert_absent(const struct secrets *what, simplex_bytes text, const char *where)
{
    char why[512];

    if (secrets_find(what, text, why, sizeof(why)))
        fail_msg("%s has a %s", where, why);
}

static void assert_discreet(struct program *p, int status, const char *must_have)
{
    int got = program_end(p);

    if (got != status || (must_have != NULL && strstr(p->text, must_have) == NULL))
        fail_msg("exit %d without \"%s\": %s", got, must_have != NULL ? must_have : "", p->text);
    assert_true(strlen(p->text) < sizeof(p->text) - 1); /* all of it was read */
    assert_absent(&secrets, sx_str(p->text), "the output");
    assert_absent(&ports, sx_str(p->text), "the output");
}

static void assert_run_discreet(const char *const *args, int status, const char *must_have)
{
    struct program p;

    program_run(&p, SMP_SERVER, args, NULL);
    assert_discreet(&p, status, must_have);
}

/* Files for people and for Prometheus; those that keep the state are full of ids. */
static void assert_files_discreet(void)
{
    static const char *const names[] = { "smp-server-metrics.txt", "smp-server-stats.log",
                                         "smp-server-stats.log.bak", "smp-server-stats.daily.log" };
    struct sx_errtext none = { 0 };
    unsigned n = 0;

    for (size_t i = 0; i < SX_COUNT(names); i++) {
        struct sx_wr w;
        if (!sx_file_exists(state_dir, names[i]))
            continue;
        sx_wr_init(&w, 1 << 20);
        assert_int_equal(sx_file_read(state_dir, names[i], &w, &none), SIMPLEX_OK);
        assert_absent(&secrets, sx_wr_bytes(&w), names[i]);
        sx_wr_free(&w);
        n++;
    }
    assert_true(n >= 2);
}

/* ---- damaged files ---- */

static void append(const char *name, const char *text)
{
    char path[160];

    snprintf(path, sizeof(path), "%s/%s", state_dir, name);
    FILE *f = fopen(path, "a");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

/* Starts with the file and stops; a damaged one may stop the start. */
static void start_with(const char *level, bool skip_damage)
{
    struct program p;

    program_run(&p, SMP_SERVER,
                skip_damage ? ARG("start", "--skip-warnings", "--log-level", level)
                            : ARG("start", "--log-level", level),
                NULL);
    bool up = program_read(&p, "creating new queues");
    assert_true(up || !skip_damage);
    if (up)
        assert_int_equal(kill(p.pid, SIGTERM), 0);
    assert_discreet(&p, up ? 0 : 1, up ? "Server stopped." : "smp-server: ");
}

/* Lines about ids, that cannot be read, or are about what is not there. */
static void damage(const char *level)
{
    static const char *const names[] = { "smp-server-store.log", "smp-server-messages.log",
                                         "smp-server-ntfs.log", "smp-server-stats.log" };
    uint8_t raw[24];
    struct sx_wr w;
    char id[40] = "", text[400];

    sx_random(raw, sizeof(raw));
    secrets_add(&secrets, "id in a damaged file", sx_bytes(raw, sizeof(raw)));
    sx_wr_fixed(&w, (uint8_t *)id, sizeof(id) - 1);
    sx_b64url_encode(&w, sx_bytes(raw, sizeof(raw)));
    snprintf(text, sizeof(text),
             "DELETE %s\nSECURE %s\nv3 %s %s 1 flags=T x\nv1 %s\n%s=1\n%s\nTIME 1\nTIME 2\nTIME %s",
             id, id, id, id, id, id, id, id);
    for (size_t i = 0; i < SX_COUNT(names); i++) {
        append(names[i], text);
        start_with(level, false);
        start_with(level, true);
    }
    assert_run_discreet(ARG("messages", "export"), 0, NULL);
    append("smp-server-messages.log", text);
    assert_run_discreet(ARG("messages", "import"), 1, NULL);
    snprintf(text, sizeof(text), "%s/smp-server-messages.log", state_dir);
    assert_int_equal(unlink(text), 0);
}

/* ---- tests ---- */

/* A client that says nothing is closed as soon as the ini says so. */
static void lose_patience(struct program *p)
{
    log_stage_fall_silent();
    write_ini(1);
    assert_int_equal(kill(p->pid, SIGHUP), 0);
    log_stage_await_end();
}

/* After all that has been done. */
static void await_metrics(void)
{
    char path[160];

    snprintf(path, sizeof(path), "%s/smp-server-metrics.txt", state_dir);
    (void)unlink(path);
    for (int i = 0; i < 2000 && !sx_file_exists(state_dir, "smp-server-metrics.txt"); i++)
        usleep(20000);
    assert_true(sx_file_exists(state_dir, "smp-server-metrics.txt"));
}

static void run_through(const char *level)
{
    struct program p;

    choose_ports();
    write_ini(60);
    start(&p, level);
    log_stage_play(&stage);
    lose_patience(&p);
    await_metrics();
    assert_int_equal(kill(p.pid, SIGINT), 0);
    bool warns = strcmp(level, "error") != 0;
    assert_discreet(&p, 0, warns ? "TLS handshake failed" : "Server stopped.");
    assert_files_discreet();
    damage(level);
}

static void no_level_of_the_log_tells_who_does_what(void **state)
{
    static const char *const levels[] = { "error", "warn", "info", "debug", "trace" };

    (void)state;
    assert_run_discreet(ARG("init", "-y", "--no-password", "-n", "smp.example.org"), 0, NULL);
    for (size_t i = 0; i < SX_COUNT(levels); i++)
        run_through(levels[i]);
}

/* The search itself: each form is found. */
static void the_search_finds_every_form(void **state)
{
    static const uint8_t id[] = { 0xfb, 0xef, 0xbe, 0x61, 0x62, 0x63, 0x64, 0x65 };
    static const char *const has[] = {
        "\xfb\xef\xbe\x61\x62\x63",
        "a line\nqueue fbefbe616263.\n",
        "FBEFBE616263",
        "++++YWJj6",
        "----YWJj6",
        "port 5223",
        "5223",
        "[::1]:5223\n",
    };
    static const char *const has_not[] = { "", "fbefbe6162", "15223", "52230", "5223a", "YWJj" };
    struct secrets s = { 0 };
    char why[64];

    (void)state;
    secrets_add(&s, "id", sx_bytes(id, sizeof(id)));
    secrets_word(&s, "port", "5223");
    for (size_t i = 0; i < SX_COUNT(has); i++) {
        if (!secrets_find(&s, sx_str(has[i]), why, sizeof(why)))
            fail_msg("not found: %s", has[i]);
    }
    for (size_t i = 0; i < SX_COUNT(has_not); i++)
        assert_false(secrets_find(&s, sx_str(has_not[i]), why, sizeof(why)));
    secrets_free(&s);
}

static int tear_down(void **state)
{
    secrets_free(&secrets);
    secrets_free(&ports);
    return remove_dirs(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_search_finds_every_form),
        cmocka_unit_test_setup_teardown(no_level_of_the_log_tells_who_does_what, make_dirs,
                                        tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
