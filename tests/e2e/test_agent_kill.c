/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kill -9 of both applications at random moments while they connect and talk (agent_worker.c);
 * the server lives here, behind networks that fail as well. In the end every message that an
 * agent took over has arrived once, in order, whole.
 *
 * SIMPLEX_SEED repeats a run (as far as timing allows), SIMPLEX_ROUNDS makes it longer.
 */
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/agents.h"

extern char **environ;

#define CONVS 128
#define FINISH_MS 60000

struct stage {
    char dir[256];
    struct test_server srv;
    struct forwarder f[2];
    char address[2][512];
    char db[2][300];
    pid_t pid[2];
    uint64_t seed;
};

static uint32_t below(struct stage *s, uint32_t n)
{
    s->seed ^= s->seed << 13;
    s->seed ^= s->seed >> 7;
    s->seed ^= s->seed << 17;
    return (uint32_t)(s->seed % n);
}

static void put_file(const struct stage *s, const char *name, long n)
{
    char path[300], tmp[310];

    (void)snprintf(path, sizeof path, "%s/%s", s->dir, name);
    (void)snprintf(tmp, sizeof tmp, "%s.tmp", path);
    FILE *f = fopen(tmp, "w");
    assert_non_null(f);
    assert_true(fprintf(f, "%ld", n) > 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(rename(tmp, path), 0);
}

/* ---- processes ---- */

static void start(struct stage *s, int who)
{
    char program[] = AGENT_WORKER, role[2] = { who == 0 ? 'I' : 'J', 0 };
    char *argv[] = { program, role, s->dir, s->address[who], s->db[who], NULL };

    assert_int_equal(posix_spawn(&s->pid[who], program, NULL, NULL, argv, environ), 0);
}

static void kill_one(struct stage *s, int who)
{
    int status;

    assert_int_equal(kill(s->pid[who], SIGKILL), 0);
    assert_int_equal(waitpid(s->pid[who], &status, 0), s->pid[who]);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        fail_msg("%c ended by itself: %d", who == 0 ? 'I' : 'J', status);
    s->pid[who] = 0;
}

static void wait_end(struct stage *s, int who, int64_t until)
{
    int status = 0;
    pid_t got = 0;

    while (got == 0 && sx_mono_ms() < until) {
        got = waitpid(s->pid[who], &status, WNOHANG);
        usleep(5000);
    }
    if (got != s->pid[who])
        fail_msg("%c did not finish", who == 0 ? 'I' : 'J');
    if (status != 0)
        fail_msg("%c ended with %d", who == 0 ? 'I' : 'J', status);
    s->pid[who] = 0;
}

/* ---- what the logs must say ---- */

struct side { /* of one conversation */
    long pings[4096][2]; /* n, attempt: as they arrived */
    size_t n_pings;
    long pongs[4096][2];
    size_t n_pongs;
    long taken[4096][2]; /* the agent took them over for sure */
    size_t n_taken;
    int64_t last_id;
};

static struct side sides[2][CONVS];
static size_t n_errors;

static void add(long (*list)[2], size_t *count, long n, long attempt)
{
    assert_true(*count < 4096);
    list[*count][0] = n;
    list[*count][1] = attempt;
    ++*count;
}

static void read_received(struct side *x, const char *line)
{
    long conv, n, attempt;
    long long id;
    int integrity;
    char kind[8];

    if (sscanf(line, "r %ld %lld %d %7s %ld %ld", &conv, &id, &integrity, kind, &n, &attempt) != 6)
        fail_msg("not understood: %s", line);
    if (integrity != SIMPLEX_MSG_OK || id <= x->last_id) {
        print_error("after %lld: %s", (long long)x->last_id, line);
        n_errors++;
    }
    x->last_id = id;
    if (strcmp(kind, "ping") == 0)
        add(x->pings, &x->n_pings, n, attempt);
    else
        add(x->pongs, &x->n_pongs, n, attempt);
}

static void read_log(const struct stage *s, int who)
{
    char path[300], line[600];
    long conv, n, attempt;

    (void)snprintf(path, sizeof path, "%s/log.%c", s->dir, who == 0 ? 'I' : 'J');
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        if (line[0] == 'e') {
            print_error("%c: %s", who == 0 ? 'I' : 'J', line);
            n_errors++;
        } else if (sscanf(line, "d %ld %ld %ld", &conv, &n, &attempt) == 3) {
            assert_in_range(conv, 0, CONVS - 1);
            add(sides[who][conv].taken, &sides[who][conv].n_taken, n, attempt);
        } else if (sscanf(line, "r %ld", &conv) == 1) {
            assert_in_range(conv, 0, CONVS - 1);
            read_received(&sides[who][conv], line);
        }
    }
    (void)fclose(f);
}

static bool same(const long a[2], const long b[2])
{
    return a[0] == b[0] && a[1] == b[1];
}

static void complain(int who, long conv, const char *what, const long x[2])
{
    print_error("%c, conversation %ld: %s at ping %ld.%ld\n", who == 0 ? 'I' : 'J', conv, what,
                x[0], x[1]);
    n_errors++;
}

/* Pings of `from` as they arrived at the other side, and the answers that came back. */
static void check_way(int from, long conv)
{
    const struct side *a = &sides[from][conv], *b = &sides[!from][conv];
    size_t k = 0;

    for (size_t n = 0; n < b->n_pings; n++) {
        const long *x = b->pings[n];
        if (n > 0 && x[0] != b->pings[n - 1][0] + 1 &&
            (x[0] != b->pings[n - 1][0] || x[1] <= b->pings[n - 1][1]))
            complain(from, conv, "out of order or missing", x);
        if (k < a->n_taken && same(a->taken[k], x))
            k++;
        if (n >= a->n_pongs || !same(a->pongs[n], x))
            complain(from, conv, "no answer", x);
    }
    if (k != a->n_taken)
        complain(from, conv, "lost", a->taken[k]);
    if (a->n_pongs != b->n_pings)
        complain(from, conv, "surplus answers", a->pongs[a->n_pongs - 1]);
    if (b->n_pings == 0 || b->pings[0][0] != 1)
        complain(from, conv, "does not begin", (long[2]){ 1, 1 });
}

static void check_logs(const struct stage *s, long convs)
{
    size_t messages = 0;

    memset(sides, 0, sizeof sides);
    n_errors = 0;
    read_log(s, 0);
    read_log(s, 1);
    for (long c = 0; c < convs; c++) {
        check_way(0, c);
        check_way(1, c);
        messages += sides[0][c].n_pings + sides[0][c].n_pongs + sides[1][c].n_pings +
                    sides[1][c].n_pongs;
    }
    print_message("%ld conversations, %zu messages\n", convs, messages);
    assert_int_equal(n_errors, 0);
}

/* ---- the run ---- */

static void open_stage(struct stage *s, uint16_t max_version, bool by_address)
{
    simplex_server_config cfg;
    const char *seed = getenv("SIMPLEX_SEED");
    char dir[sizeof s->dir]; /* apart from s, or gcc sees an overlap */

    memset(s, 0, sizeof *s);
    s->seed = seed != NULL ? strtoull(seed, NULL, 10) : (uint64_t)sx_now_ms();
    print_message("SIMPLEX_SEED=%llu\n", (unsigned long long)s->seed);
    s->seed |= 1;
    tmp_make(dir);
    memcpy(s->dir, dir, sizeof dir);
    if (by_address)
        put_file(s, "address", 1);
    simplex_server_config_init(&cfg);
    cfg.end_flush_ms = 0;
    cfg.max_version = max_version;
    server_start(&s->srv, &cfg);
    for (int who = 0; who < 2; who++) {
        forwarder_start(&s->f[who], simplex_server_port(s->srv.s));
        forwarder_address(&s->f[who], s->srv.address, s->address[who], sizeof s->address[who]);
        (void)snprintf(s->db[who], sizeof s->db[who], "%s/%d.db", dir, who);
        start(s, who);
    }
}

static void close_stage(struct stage *s)
{
    for (int who = 0; who < 2; who++)
        forwarder_stop(&s->f[who]);
    server_stop(&s->srv);
    tmp_remove(s->dir);
}

static void disturb_network(struct stage *s)
{
    struct forwarder *f = &s->f[below(s, 2)];

    switch (below(s, 6)) {
    case 0:
        forwarder_drop(f);
        break;
    case 1:
        forwarder_set(f, FORWARD_STALL);
        usleep(below(s, 60000));
        forwarder_set(f, FORWARD);
        break;
    default:
        break;
    }
}

static long rounds_of(long n)
{
    const char *text = getenv("SIMPLEX_ROUNDS");

    return text != NULL ? strtol(text, NULL, 10) : n;
}

static void kill_and_restart(struct stage *s, long rounds)
{
    long goal = 1;

    put_file(s, "goal", goal);
    for (long n = 0; n < rounds; n++) {
        if (n % 3 == 0 && goal < CONVS)
            put_file(s, "goal", ++goal);
        usleep(below(s, n % 2 == 0 ? 30000 : 150000));
        disturb_network(s);
        uint32_t who = below(s, 3); /* 2: both */
        for (int k = 0; k < 2; k++) {
            if (who == (uint32_t)k || who == 2)
                kill_one(s, k);
        }
        usleep(below(s, 20000));
        for (int k = 0; k < 2; k++) {
            if (s->pid[k] == 0)
                start(s, k);
        }
    }
    put_file(s, "stop", 1);
    int64_t until = sx_mono_ms() + FINISH_MS;
    wait_end(s, 0, until);
    wait_end(s, 1, until);
    check_logs(s, goal);
}

static void nothing_is_lost_or_doubled_by_kills(void **state)
{
    struct stage s;

    (void)state;
    open_stage(&s, 0, false);
    kill_and_restart(&s, rounds_of(100));
    close_stage(&s);
}

static void nothing_is_lost_or_doubled_by_kills_in_the_standard_handshake(void **state)
{
    struct stage s;

    (void)state;
    open_stage(&s, 8, false);
    kill_and_restart(&s, rounds_of(50));
    close_stage(&s);
}

static void nothing_is_lost_or_doubled_by_kills_behind_a_contact_address(void **state)
{
    struct stage s;

    (void)state;
    open_stage(&s, 0, true);
    kill_and_restart(&s, rounds_of(60));
    close_stage(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_lost_or_doubled_by_kills),
        cmocka_unit_test(nothing_is_lost_or_doubled_by_kills_in_the_standard_handshake),
        cmocka_unit_test(nothing_is_lost_or_doubled_by_kills_behind_a_contact_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
