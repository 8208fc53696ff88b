/* SPDX-License-Identifier: Apache-2.0 */
/* smp-server init: what it asks, what its options say, what it writes (protocol/smp.md section 10).
 */
#include "support/vec.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli_stage.h"
#include "config.h"
#include "identity.h"
#include "support/information.h"

/* Wherever init is run, smp-server.ini says where the files are for a start from anywhere. */
static void assert_init_takes_relative_directories(void)
{
    static const char *const args[] = { "init",    "-y",      "--config", "config",
                                        "--state", "./state", NULL };
    char path[160];
    struct sx_config config;

    int here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(here >= 0);
    assert_int_equal(mkdir(config_dir, 0700), 0);
    write_text("web.crt", "");
    write_text("web.key", "");
    assert_int_equal(chdir(base), 0);
    expect(args, NULL, 0, "Server initialized");
    assert_int_equal(fchdir(here), 0);
    close(here);
    read_config(&config);
    snprintf(path, sizeof(path), "%s/./state/www", base);
    assert_string_equal(config.web.static_path, path);
    snprintf(path, sizeof(path), "%s/web.crt", config_dir);
    assert_string_equal(config.web.cert, path);
    snprintf(path, sizeof(path), "%s/web.key", config_dir);
    assert_string_equal(config.web.key, path);
    sx_config_free(&config);
    expect(ARG("delete"), "Y\n", 0, "Deleted configuration");
}

static void init_makes_a_server_that_starts(void **state)
{
    struct program p;
    const int signals[] = { SIGINT, SIGTERM };
    const char *fingerprint = NULL;

    (void)state;
    expect(ARG("start"), NULL, 1, "Error: server is not initialized (");
    assert_init_takes_relative_directories();
    init_server();
    struct sx_config config;
    read_config(&config);
    assert_true(config.store.enable);
    assert_string_equal(config.transport.host, "smp.example.org");
    sx_config_free(&config);
    for (size_t i = 0; i < SX_COUNT(signals); i++) { /* the identity stays */
        start_server(&p);
        assert_served(&p, "");
        if (fingerprint != NULL)
            assert_string_equal(printed(&p, "Fingerprint: "), fingerprint);
        fingerprint = printed(&p, "Fingerprint: ");
        stop_server(&p, signals[i]);
    }
    assert_memory_equal(read_text("fingerprint"), fingerprint, strlen(fingerprint));
}

static void init_is_refused_where_a_server_is(void **state)
{
    char path[160];

    (void)state;
    init_server();
    char *key = read_text("ca.key");
    expect(ARG("init", "-y"), NULL, 1, "Error: server is already initialized (");
    snprintf(path, sizeof(path), "%s/smp-server.ini", config_dir);
    assert_int_equal(unlink(path), 0);
    expect(ARG("init", "-y"), NULL, 1, "ca.key exists");
    assert_string_equal(read_text("ca.key"), key);
    assert_false(has_file("smp-server.ini"));
}

/* A certificate cannot name it, the address can. */
static void init_says_what_to_do_with_a_long_name(void **state)
{
    static const char *const name =
        "a-very-long-name-that-some-hosting-providers-give-to-machines.example.org";

    (void)state;
    assert_true(strlen(name) > 64);
    expect(ARG("init", "-y", "-n", name), NULL, 1,
           "a longer one can stand in `host` of smp-server.ini");
    assert_false(has_file("ca.key"));
}

static void init_asks_what_options_do_not_say(void **state)
{
    (void)state;
    expect(ARG("init"), NULL, 1, "no answer");
    assert_false(has_file("ca.key"));
    expect(ARG("init"),
           "\nmaybe\n n \ny\na b\n secret\n\tsmp.example.org \nhttps://example.org/s\n\n", 0,
           ":secret@smp.example.org:5223,443\n"
           "Clients take one port: leave out \":5223,443\", they use 5223.\n");
    const char *ini = read_text("smp-server.ini");
    assert_non_null(strstr(ini, "\nenable: off\n"));
    assert_non_null(strstr(ini, "\nlog_stats: on\n"));
    assert_non_null(strstr(ini, "\nsource_code: https://example.org/s\n"));
}

static void enter_takes_the_defaults(void **state)
{
    (void)state;
    expect(ARG("init", "-s"), "\n\n\n\n\n\n\n", 0, "@<hostnames>:5223,443");
    const char *ini = read_text("smp-server.ini");
    assert_non_null(strstr(ini, "\nenable: on\n"));
    assert_non_null(strstr(ini, "\nlog_stats: on\n"));
    const char *password = strstr(ini, "\ncreate_password: ");
    assert_non_null(password);
    assert_int_equal(strcspn(password + strlen("\ncreate_password: "), "\n"), 44);
}

static void assert_ed448(void)
{
    struct sx_errtext none = { 0 };
    struct sx_identity id;

    assert_int_equal(sx_identity_read(&id, config_dir, &none), SIMPLEX_OK);
    assert_int_equal(id.leaf.pub.alg, SX_ED448);
    sx_identity_wipe(&id);
}

static void init_takes_the_options_of_the_reference(void **state)
{
    (void)state;
    expect(ARG("init", "-d"), NULL, 2, "there is no database server");
    expect(ARG("init", "--database"), NULL, 2, "there is no database server");
    expect(ARG("init", "--database=postgresql://a@b/c"), NULL, 2, "there is no database server");
    expect(ARG("init", "--schema", "smp_server"), NULL, 2, "there is no database server");
    expect(ARG("init", "--pool-size", "4"), NULL, 2, "there is no database server");
    expect(ARG("init", "-a", "RSA"), NULL, 2, "ED25519 or ED448");
    expect(ARG("init", "--sign-algorithm", "RSA"), NULL, 2, "ED25519 or ED448");
    expect(ARG("init", "--password", "a@b"), NULL, 2, "--password");
    expect(ARG("init", "--password", "a", "--no-password"), NULL, 2, "either --password");
    expect(ARG("init", "-l", "--disable-store-log"), NULL, 2, "either --store-log");
    expect(ARG("init", "--control-port", "0"), NULL, 2, "--control-port");
    expect(ARG("init", "--nothing"), NULL, 2, "--help");
    expect(ARG("init", "more"), NULL, 2, "unexpected argument \"more\"");
    expect(ARG("init", "-y", "--source-code=https://example.org", "--hosting", "H",
               "--hosting-country", "Sweden"),
           NULL, 2, "nothing was written");
    expect(ARG("init", "-y", "--operator", "O"), NULL, 2, "give --source-code as well");
    expect(ARG("init", "-y", "--source-code", "--operator-country", "SE"), NULL, 2,
           "--operator-country needs --operator");
    expect(ARG("init", "-y", "--source-code", "--hosting-country", "SE"), NULL, 2,
           "--hosting-country needs --hosting");
    assert_false(has_file("ca.key"));
    expect(ARG("init", "-y", "-l", "-a", "ED448", "--ip", "192.0.2.1", "--control-port", "5300",
               "--socks-proxy", "--disable-web", "--source-code=https://example.org"),
           NULL, 0, "@192.0.2.1:5223,443");
    const char *ini = read_text("smp-server.ini");
    assert_non_null(strstr(ini, "\ncontrol_port: 5300\n"));
    assert_non_null(strstr(ini, "\ncontrol_port_admin_password: "));
    assert_non_null(strstr(ini, "\nsocks_proxy: 127.0.0.1:9050\n"));
    assert_ed448();
}

/* They are shown on the server's page: the ini says them, and start reads it so. */
static void init_writes_what_users_may_know(void **state)
{
    static const struct sx_ini_options given = { .source_code = "https://example.org",
                                                 .server_country = "IS",
                                                 .operator_name = "O",
                                                 .operator_country = "SE",
                                                 .website = "https://o.example.org",
                                                 .hosting = "H",
                                                 .hosting_country = "NO",
                                                 .hosting_type = "colocation" };
    struct sx_config config;

    (void)state;
    expect(ARG("init", "-y", "--source-code=https://example.org", "--hosting-type", "cloud",
               "--hosting", "H"),
           NULL, 2, "nothing was written");
    expect(ARG("init", "-y", "--source-code=example.org"), NULL, 2, "write an address that starts");
    expect(ARG("init", "-y", "--source-code=https://example.org", "--operator", "O",
               "--operator-country", "SE", "--operator-website", "https://o.example.org",
               "--server-country", "IS", "--hosting", "H", "--hosting-country", "NO",
               "--hosting-type", "colocation", "--sign-algorithm", "ED448"),
           NULL, 0, "Server initialized");
    read_config(&config);
    assert_information(&config, &given);
    sx_config_free(&config);
    assert_ed448();
}

/* As the reference's container image does it. */
static void init_works_in_an_image_for_the_reference(void **state)
{
    struct sx_identity id;
    struct sx_errtext none = { 0 };
    char name[128];

    (void)state;
    expect(ARG("init", "--yes", "--store-log", "--daily-stats", "--source-code", "--ip",
               "2001:db8::1", "--no-password"),
           NULL, 0, "@[2001:db8::1]:5223,443");
    expect(ARG("delete"), "Y\n", 0, NULL);
    expect(ARG("init", "--yes", "--source-code", "--fqdn", "a.example.org,b.example.org",
               "--own-domains=example.org", "--password", "p"),
           NULL, 0, ":p@a.example.org,b.example.org:5223,443");
    assert_int_equal(sx_identity_read(&id, config_dir, &none), SIMPLEX_OK);
    assert_int_equal(sx_chain_leaf_name(&id.chain, name, sizeof(name)), SIMPLEX_OK);
    assert_string_equal(name, "a.example.org");
    sx_identity_wipe(&id);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_dirs, remove_dirs)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(init_makes_a_server_that_starts),
        TEST(init_is_refused_where_a_server_is),
        TEST(init_says_what_to_do_with_a_long_name),
        TEST(init_asks_what_options_do_not_say),
        TEST(enter_takes_the_defaults),
        TEST(init_takes_the_options_of_the_reference),
        TEST(init_writes_what_users_may_know),
        TEST(init_works_in_an_image_for_the_reference),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
