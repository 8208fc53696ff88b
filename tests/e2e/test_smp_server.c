/* SPDX-License-Identifier: Apache-2.0 */
/* The program smp-server without an ini: its output, its errors and how it stops. */
#include "support/vec.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "support/blocking_client.h"
#include "support/program.h"

static void expect(const char *const *args, int status, const char *text)
{
    program_expect(SMP_SERVER, args, NULL, status, text);
}

static void helps_and_says_what_is_wrong(void **state)
{
    static const char *const help[] = { "start", "--help", NULL }, *const version[] = { "--version",
                                                                                        NULL };
    static const char *const port[] = { "--port", "70000", NULL }, *const what[] = { "stat", NULL };
    static const char *const option[] = { "--hots", "x", NULL };
    static const char *const threads[] = { "start", "--threads", "-1", NULL };
    static const char *const dir[] = { "--port", "0", "--dir", "/proc/none/such", NULL };

    (void)state;
    expect(help, 0, "--no-new-queues");
    expect(version, 0, "SMP server v");
    expect(port, 2, "--port takes a number from 0 to 65535, not \"70000\"");
    expect(what, 2, "unknown command \"stat\"");
    expect(option, 2, "--help");
    expect(threads, 2, "--threads takes a number");
    expect(dir, 1, "/proc/none/such");
}

/* Starts, serves a client at the address it prints, stops on the signal and keeps its identity. */
static void serves_until_it_is_told_to_stop(void **state)
{
    char dir[] = "/tmp/simplex-smp-server-XXXXXX", cmd[64], first[256] = "", line[256];
    const char *const args[] = { "start", "--port", "0", "--dir", dir, "--password", "pw", NULL };
    const int signals[] = { SIGINT, SIGTERM };

    (void)state;
    assert_int_equal(sx_crypto_init(), SIMPLEX_OK);
    assert_non_null(mkdtemp(dir));
    for (size_t i = 0; i < SX_COUNT(signals); i++) {
        struct program p;
        struct sx_server address;
        simplex_bytes password;
        struct smp_peer c;
        struct sx_cmd ping = { .tag = SX_PING };
        program_run(&p, SMP_SERVER, args, NULL);
        assert_true(program_read(&p, "creating new queues requires password"));
        const char *at = strstr(p.text, "Server address: ");
        assert_non_null(at);
        assert_int_equal(sscanf(at, "Server address: %255s", line), 1);
        assert_int_equal(sx_server_parse(sx_str(line), &address, &password), SIMPLEX_OK);
        vec_assert_eq(password, sx_str("pw"), "password");
        struct smp_peer_cfg cfg = { .port = sx_server_port(&address),
                                    .key_hash = address.key_hash };
        assert_int_equal(smp_peer_open(&c, &cfg), SIMPLEX_OK);
        const struct sx_rsp *r = smp_peer_cmd(&c, NULL, sx_bytes(NULL, 0), &ping);
        assert_non_null(r);
        assert_int_equal(r->tag, SX_R_PONG);
        assert_int_equal(kill(p.pid, signals[i]), 0);
        assert_int_equal(program_end(&p), 0);
        assert_true(smp_peer_wait_closed(&c, 20000));
        smp_peer_close(&c);
        at = strstr(p.text, "Fingerprint: ");
        assert_non_null(at);
        assert_int_equal(sscanf(at, "Fingerprint: %255s", line), 1);
        if (i > 0)
            assert_string_equal(line, first);
        memcpy(first, line, sizeof(first));
    }
    snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
    assert_int_equal(system(cmd), 0);
}

/* Nobody can connect to "*". */
static void an_address_for_clients_names_a_host(void **state)
{
    static const char *const all[] = { "*", "0.0.0.0" };
    char dir[] = "/tmp/simplex-smp-server-XXXXXX", cmd[64];
    struct program p;

    (void)state;
    assert_non_null(mkdtemp(dir));
    for (size_t i = 0; i < SX_COUNT(all); i++) {
        const char *const args[] = { "start", "--port", "0", "--dir", dir, "--host", all[i], NULL };
        program_run(&p, SMP_SERVER, args, NULL);
        assert_true(program_read(&p, "creating new queues allowed"));
        assert_non_null(strstr(p.text, "=@localhost:"));
        assert_int_equal(kill(p.pid, SIGTERM), 0);
        assert_int_equal(program_end(&p), 0);
    }
    snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
    assert_int_equal(system(cmd), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(helps_and_says_what_is_wrong),
        cmocka_unit_test(serves_until_it_is_told_to_stop),
        cmocka_unit_test(an_address_for_clients_names_a_host),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
