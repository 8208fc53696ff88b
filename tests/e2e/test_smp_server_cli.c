/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of smp-server beside init and start, as an operator gives them (protocol/smp.md
 * section 10). */
#include "support/vec.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli_stage.h"
#include "file.h"
#include "support/running_server.h"

/* ---- cert ---- */

static void cert_keeps_the_identity(void **state)
{
    char path[160], kept[160];
    struct program p;

    (void)state;
    init_server();
    const char *cert = read_text("server.crt"), *fingerprint = read_text("fingerprint");
    expect(ARG("cert"), NULL, 0, "Generated new server credentials for smp.example.org (ED25519)");
    assert_string_not_equal(read_text("server.crt"), cert);
    assert_string_equal(read_text("fingerprint"), fingerprint);
    expect(ARG("cert", "-a", "ED448", "--cn", "b.example.org"), NULL, 0,
           "Generated new server credentials for b.example.org (ED448)");
    snprintf(path, sizeof(path), "%s/ca.key", config_dir);
    snprintf(kept, sizeof(kept), "%s/offline", base);
    assert_int_equal(rename(path, kept), 0);
    expect(ARG("cert"), NULL, 1, "ca.key is not there");
    start_server(&p); /* the key of the CA is not needed for it */
    assert_served(&p, "");
    assert_memory_equal(fingerprint, printed(&p, "Fingerprint: "), 44);
    stop_server(&p, SIGTERM);
    assert_int_equal(rename(kept, path), 0);
    expect(ARG("cert"), NULL, 0, "b.example.org (ED448)");
}

/* docs/operator.md: to DIR what the machine with the key gets, what it made back to the server. */
static void cert_works_where_the_key_of_the_ca_is_and_no_server(void **state)
{
    static const char *const there[] = { "ca.key", "ca.crt", "fingerprint", "server.crt" };
    static const char *const back[] = { "server.key", "server.crt" };
    struct sx_errtext none = { 0 };
    struct program p;
    char dir[sizeof(config_dir)], from[160], to[160];

    (void)state;
    init_server();
    const char *cert = read_text("server.crt"), *fingerprint = read_text("fingerprint");
    snprintf(dir, sizeof(dir), "%s/offline", base);
    assert_int_equal(mkdir(dir, 0700), 0);
    for (size_t i = 0; i < SX_COUNT(there); i++) {
        char *text = read_text(there[i]);
        assert_int_equal(sx_file_write(dir, there[i], sx_str(text), 0600, &none), SIMPLEX_OK);
    }
    snprintf(from, sizeof(from), "%s/ca.key", config_dir);
    assert_int_equal(unlink(from), 0);
    const char *const args[] = { "cert", "--config", dir, NULL };
    program_expect(SMP_SERVER, args, NULL, 0,
                   "Generated new server credentials for smp.example.org (ED25519)");
    for (size_t i = 0; i < SX_COUNT(back); i++) {
        snprintf(from, sizeof(from), "%s/%s", dir, back[i]);
        snprintf(to, sizeof(to), "%s/%s", config_dir, back[i]);
        assert_int_equal(rename(from, to), 0);
    }
    assert_string_not_equal(read_text("server.crt"), cert);
    start_server(&p);
    assert_served(&p, "");
    assert_memory_equal(fingerprint, printed(&p, "Fingerprint: "), 44);
    stop_server(&p, SIGTERM);
}

static void cert_needs_a_server(void **state)
{
    (void)state;
    expect(ARG("cert"), NULL, 1, "ca.crt does not exist: restore it from a backup");
    expect(ARG("cert", "-a", "x"), NULL, 2, "ED25519 or ED448");
    expect(ARG("cert", "--help"), NULL, 0, "Usage: smp-server cert");
    assert_int_equal(symlink(config_dir, config_dir), 0); /* nobody can look into it */
    expect(ARG("cert"), NULL, 1, "ca.crt: Too many levels of symbolic links");
    expect(ARG("delete"), "Y\n", 1, "Too many levels of symbolic links");
    assert_int_equal(unlink(config_dir), 0);
}

/* ---- messages ---- */

/* A queue with so many messages in it. */
static void fill_queue(const struct program *p, struct queue *q, int messages)
{
    struct sx_cmd send = { .tag = SX_SEND, .send = { .body = sx_str("kept") } };
    struct smp_peer c;

    open_client(p, &c);
    new_queue(&c, q, SX_ED25519, false);
    for (int i = 0; i < messages; i++) {
        const struct sx_rsp *r =
            smp_peer_cmd(&c, NULL, sx_bytes(q->snd_id, sizeof(q->snd_id)), &send);
        assert_non_null(r);
        assert_int_equal(r->tag, SX_R_OK);
    }
    smp_peer_close(&c);
}

static void assert_has_message(const struct program *p, const struct queue *q)
{
    struct sx_cmd sub = { .tag = SX_SUB };
    struct smp_peer c;

    open_client(p, &c);
    const struct sx_rsp *r =
        smp_peer_cmd(&c, &q->rcv, sx_bytes(q->rcv_id, sizeof(q->rcv_id)), &sub);
    assert_non_null(r);
    if (r->tag == SX_R_SOK) { /* the message follows */
        const struct smp_item *event = smp_peer_event(&c, 20000);
        assert_non_null(event);
        r = &event->rsp;
    }
    assert_int_equal(r->tag, SX_R_MSG);
    smp_peer_close(&c);
}

static void assert_state_files(bool has_log, bool has_bak)
{
    assert_int_equal(sx_file_exists(state_dir, "smp-server-messages.log"), has_log);
    assert_int_equal(sx_file_exists(state_dir, "smp-server-messages.log.bak"), has_bak);
}

static void messages_go_to_the_file_of_the_reference_and_back(void **state)
{
    struct program p;
    struct queue q;

    (void)state;
    init_server();
    expect(ARG("messages", "import"), NULL, 1, "there is nothing to import");
    expect(ARG("messages"), NULL, 2, "messages takes export or import");
    start_server(&p);
    fill_queue(&p, &q, 3);
    expect(ARG("messages", "export"), NULL, 1, NULL); /* the server has the files */
    stop_server(&p, SIGTERM);
    for (int round = 0; round < 2; round++) { /* a second journal does not meet the first's .bak */
        expect(ARG("messages", "export"), NULL, 0, "3 messages are in ");
        assert_state_files(true, round > 0); /* of the import before */
        expect(ARG("messages", "import"), NULL, 0, "3 messages are in the journal");
        assert_state_files(false, true);
    }
    expect(ARG("start", "--maintenance"), NULL, 0, "Maintenance completed.");
    start_server(&p);
    assert_non_null(strstr(p.text, "Queues: 1. Messages that wait: 3.\n"));
    assert_has_message(&p, &q);
    stop_server(&p, SIGTERM);
    expect(ARG("messages", "export"), NULL, 0, "3 messages are in ");
    set_line("# store_messages", "store_messages: memory");
    start_server(&p);
    assert_has_message(&p, &q);
    stop_server(&p, SIGTERM);
    assert_state_files(true, true);
}

/* Maintenance by root leaves files that a server of another user can read. */
static void root_works_as_the_owner_of_the_state(void **state)
{
    enum { OWNER = 12345 };
    struct stat st;
    char path[160];

    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(chmod(base, 0755), 0);
    assert_int_equal(mkdir(config_dir, 0755), 0);
    assert_int_equal(mkdir(state_dir, 0700), 0);
    assert_int_equal(chown(config_dir, OWNER, OWNER), 0);
    assert_int_equal(chown(state_dir, OWNER, OWNER), 0);
    init_server();
    /* A process that changed its user cannot be looked into, not even by its own leak checker. */
    assert_int_equal(setenv("LSAN_OPTIONS", "detect_leaks=0", 1), 0);
    expect(ARG("start", "-m"), NULL, 0, "Maintenance completed.");
    expect(ARG("messages", "export"), NULL, 0, "0 messages are in ");
    static const char *const names[] = { "smp-server-store.log", "smp-server-messages.log" };
    for (size_t i = 0; i < SX_COUNT(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", state_dir, names[i]);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_uid, OWNER);
    }
    expect(ARG("delete"), "Y\n", 0, "Deleted configuration");
    unsetenv("LSAN_OPTIONS");
}

/* ---- delete ---- */

static void delete_wants_the_answer_y(void **state)
{
    static const char *const other[] = { NULL, "n\n", "y\n", "Yes\n", "Y", "\n" };
    char path[160];

    (void)state;
    expect(ARG("delete"), "Y\n", 1, "nothing was deleted: no files of a server in ");
    init_server();
    snprintf(path, sizeof(path), "%s/messages", state_dir);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/messages/link", state_dir);
    assert_int_equal(symlink(base, path), 0);
    for (size_t i = 0; i < SX_COUNT(other); i++)
        expect(ARG("delete"), other[i], 1, "Server NOT deleted.");
    assert_true(has_file("ca.key"));
    snprintf(path, sizeof(path), "%s/outside", base);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fclose(f);
    expect(ARG("delete"), "Y\n", 0, "Deleted configuration");
    assert_int_equal(access(path, F_OK), 0); /* links are not followed */
    assert_int_equal(rmdir(config_dir), 0);  /* empty, and still there */
    assert_int_equal(rmdir(state_dir), 0);
}

static void move_behind_link(const char *dir)
{
    char real[160];

    snprintf(real, sizeof(real), "%s.real", dir);
    assert_int_equal(rename(dir, real), 0);
    assert_int_equal(symlink(real, dir), 0);
}

/* As where the state is on another disk: who is told that it is deleted must not find it there. */
static void delete_empties_directories_behind_links(void **state)
{
    char path[192];

    (void)state;
    init_server();
    snprintf(path, sizeof(path), "%s/smp-server-store.log", state_dir);
    fclose(fopen(path, "w"));
    move_behind_link(config_dir);
    move_behind_link(state_dir);
    expect(ARG("delete"), "Y\n", 0, "Deleted configuration");
    assert_false(has_file("ca.key"));
    assert_int_not_equal(access(path, F_OK), 0);
    snprintf(path, sizeof(path), "%s.real", config_dir);
    assert_int_equal(rmdir(path), 0); /* empty, and still there */
    snprintf(path, sizeof(path), "%s.real", state_dir);
    assert_int_equal(rmdir(path), 0);
}

/* Neither its files nor its clients notice that it was tried. */
static void delete_is_refused_while_the_server_runs(void **state)
{
    struct program p;
    char text[64];

    (void)state;
    init_server();
    start_server(&p);
    snprintf(text, sizeof(text), "running server (process %ld)", (long)p.pid);
    expect(ARG("delete"), "Y\n", 1, text);
    expect(ARG("delete"), "Y\n", 1, "nothing was deleted");
    assert_true(has_file("ca.key"));
    assert_served(&p, "");
    stop_server(&p, SIGTERM);
    start_server(&p);
    stop_server(&p, SIGTERM);
    expect(ARG("delete"), "Y\n", 0, "Deleted configuration");
}

/* ---- help ---- */

static void every_command_has_help(void **state)
{
    static const char *const commands[] = { "init", "start", "cert", "messages", "delete" };
    static const char *const none[] = { NULL }, *const help[] = { "-h", NULL };
    static const char *const rts[] = { "+RTS", "-N", "-RTS", "-v", "+RTS", "-x", NULL };
    static const char *const version[] = { "-v", NULL }, *const bad[] = { "--config", NULL };

    (void)state;
    expect(none, NULL, 0, "Usage: smp-server COMMAND");
    expect(help, NULL, 0, "Usage: smp-server COMMAND");
    expect(version, NULL, 0, "SMP server v");
    expect(bad, NULL, 2, "--config");
    expect(rts, NULL, 0, "SMP server v");
    expect(ARG("stat"), NULL, 2, "unknown command \"stat\"");
    expect(ARG("journal", "export"), NULL, 2, "run it with its program");
    for (size_t i = 0; i < SX_COUNT(commands); i++) {
        char text[64];
        snprintf(text, sizeof(text), "Usage: smp-server %s", commands[i]);
        expect(ARG(commands[i], "--help"), NULL, 0, text);
        expect(ARG(commands[i], "--wrong"), NULL, 2, "--wrong");
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_dirs, remove_dirs)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(cert_keeps_the_identity),
        TEST(cert_works_where_the_key_of_the_ca_is_and_no_server),
        TEST(cert_needs_a_server),
        TEST(messages_go_to_the_file_of_the_reference_and_back),
        TEST(root_works_as_the_owner_of_the_state),
        TEST(delete_wants_the_answer_y),
        TEST(delete_empties_directories_behind_links),
        TEST(delete_is_refused_while_the_server_runs),
        TEST(every_command_has_help),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
