/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A push wakes a process that fetches (fetch_worker.c), and the system kills it: at each commit, at
 * each block for the server, and at random moments. Every message is shown, in order and with its
 * integrity; shown again only under the id it had, and never after its acknowledgement had
 * returned. SIMPLEX_SEED repeats a run, SIMPLEX_ROUNDS makes it longer.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/agents.h"
#include "support/server_process.h" /* TESTS_SANITIZED */

#if defined(TESTS_SANITIZED)
#define ROUNDS 8
#define LIFE_US 600000
#else
#define ROUNDS 40
#define LIFE_US 60000 /* an undisturbed run takes about half of it */
#endif
#define MOMENTS_MAX 100 /* of one kind in one run */

static struct stage {
    struct duo d;
    int sent; /* messages, numbered from 1 */
    unsigned seed;
    int kills;
} s;

/* ---- the process ---- */

static pid_t start(void)
{
    char conn[32];

    (void)snprintf(conn, sizeof conn, "%lld", (long long)s.d.ic);
    pid_t pid = fork();
    if (pid == 0) {
        (void)execl(FETCH_WORKER, FETCH_WORKER, s.d.dir, s.d.i.db, s.d.i_address, conn,
                    (char *)NULL);
        _exit(127);
    }
    assert_true(pid > 0);
    return pid;
}

/* True when it ran to its end. */
static bool ended(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status)) {
        assert_int_equal(WTERMSIG(status), SIGKILL);
        s.kills++;
        return false;
    }
    if (WEXITSTATUS(status) != 0)
        fail_msg("the process says that something is wrong: %s/log.F", s.d.dir);
    return true;
}

static void plan(char letter, int nth)
{
    char path[300], text[32];
    FILE *f;

    (void)snprintf(path, sizeof path, "%s/kill.F", s.d.dir);
    (void)unlink(path);
    if (letter == 0)
        return;
    (void)snprintf(text, sizeof text, "%c %d", letter, nth);
    f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

/* ---- what it saw ---- */

struct seen {
    long long id;
    bool acked;
};

/* The log of all runs: message after message, each until its acknowledgement, which may be on disk
 * without having returned. */
static int read_log(void)
{
    static struct seen seen[MOMENTS_MAX * 4 + 2000];
    char path[300], line[256];
    long long id;
    int integrity, number, n = 0;

    (void)snprintf(path, sizeof path, "%s/log.F", s.d.dir);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        if (sscanf(line, "m %lld %d message %d", &id, &integrity, &number) == 3) {
            assert_int_equal(integrity, SIMPLEX_MSG_OK);
            if (number == n + 1 && (n == 0 || id > seen[n - 1].id)) {
                assert_true((size_t)n < SX_COUNT(seen));
                seen[n++] = (struct seen){ .id = id };
            } else if (n == 0 || number != n || id != seen[n - 1].id || seen[n - 1].acked) {
                fail_msg("out of turn, after number %d: %s", n, line);
            }
        } else if (sscanf(line, "a %lld", &id) == 1) {
            assert_true(n > 0);
            assert_int_equal(id, seen[n - 1].id);
            seen[n - 1].acked = true;
        } else {
            fail_msg("%s", line);
        }
    }
    assert_int_equal(fclose(f), 0);
    return n;
}

/* ---- the story ---- */

static void send_some(int n)
{
    char text[32];

    while (n-- > 0) {
        (void)snprintf(text, sizeof text, "message %d", ++s.sent);
        send_text(&s.d.j, s.d.jc, text);
        expect(&s.d.j, SIMPLEX_EV_SENT, s.d.jc);
    }
}

static void fetch_the_rest(void)
{
    plan(0, 0);
    assert_true(ended(start()));
    assert_int_equal(read_log(), s.sent);
}

/* I is away, but for its short runs. */
static int open_stage(void **state)
{
    const char *seed = getenv("SIMPLEX_SEED");

    (void)state;
    memset(&s, 0, sizeof s);
    s.seed = seed != NULL ? (unsigned)strtoul(seed, NULL, 10) : (unsigned)sx_now_ms();
    print_message("SIMPLEX_SEED=%u\n", s.seed);
    duo_open(&s.d, NULL);
    duo_connect(&s.d);
    talk(&s.d.i, s.d.ic, &s.d.j, s.d.jc, "I go to sleep");
    agent_close(&s.d.i);
    return 0;
}

/* Nothing was left behind: on the server, or for the application when it is back. */
static int close_stage(void **state)
{
    (void)state;
    print_message("%d kills\n", s.kills);
    agent_reopen(&s.d.i);
    assert_true(quiet(&s.d.i, SIMPLEX_EV_MSG, 100));
    talk(&s.d.j, s.d.jc, &s.d.i, s.d.ic, "are you back?");
    talk(&s.d.i, s.d.ic, &s.d.j, s.d.jc, "I am");
    assert_int_equal(simplex_agent_delete(s.d.i.a, s.d.ic), SIMPLEX_OK);
    expect(&s.d.i, SIMPLEX_EV_DEL_CONN, s.d.ic);
    expect_server_empty(&s.d.srv);
    duo_close(&s.d);
    return 0;
}

static void a_fetch_that_is_killed_at_each_step_loses_nothing(void **state)
{
    (void)state;
    for (const char *letter = "bawp"; *letter != 0; letter++) {
        int nth = 0;
        do {
            assert_true(nth < MOMENTS_MAX);
            send_some(1);
            plan(*letter, nth++);
        } while (!ended(start()));
        assert_true(nth > 1); /* it was killed, at least once */
        fetch_the_rest();
    }
}

/* Some kill the one that comes after a kill. */
static void a_fetch_that_is_killed_at_random_loses_nothing(void **state)
{
    const char *rounds = getenv("SIMPLEX_ROUNDS");

    (void)state;
    plan(0, 0);
    for (int n = rounds != NULL ? atoi(rounds) : ROUNDS; n > 0; n--) {
        send_some(rand_r(&s.seed) % 3);
        pid_t pid = start();
        usleep((unsigned)rand_r(&s.seed) % LIFE_US);
        (void)kill(pid, SIGKILL);
        (void)ended(pid);
        (void)read_log();
    }
    fetch_the_rest();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fetch_that_is_killed_at_each_step_loses_nothing),
        cmocka_unit_test(a_fetch_that_is_killed_at_random_loses_nothing),
    };

    return cmocka_run_group_tests(tests, open_stage, close_stage);
}
