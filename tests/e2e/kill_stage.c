/* SPDX-License-Identifier: Apache-2.0 */
#include "kill_stage.h"

#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kill_stage_logs.h"
#include "support/server_process.h"

extern char **environ;

#define FINISH_MS 60000
#define MOMENT_MS 10000
#define QUIET_MS 500

static pid_t running[2];

uint32_t stage_below(struct stage *s, uint32_t n)
{
    s->seed ^= s->seed << 13;
    s->seed ^= s->seed >> 7;
    s->seed ^= s->seed << 17;
    return (uint32_t)(s->seed % n);
}

long stage_rounds(long n)
{
    const char *text = getenv("SIMPLEX_ROUNDS");

    if (text != NULL)
        return strtol(text, NULL, 10);
#if defined(TESTS_SANITIZED)
    return n / 2;
#else
    return n;
#endif
}

/* ---- files ---- */

static void path_of(const struct stage *s, const char *name, char path[300])
{
    (void)snprintf(path, 300, "%s/%s", s->dir, name);
}

static void put_file(const struct stage *s, const char *name, const char *text)
{
    char path[300], tmp[310];

    path_of(s, name, path);
    (void)snprintf(tmp, sizeof tmp, "%s.tmp", path);
    FILE *f = fopen(tmp, "w");
    assert_non_null(f);
    assert_true(fprintf(f, "%s", text) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(rename(tmp, path), 0);
}

static bool exists(const struct stage *s, const char *name)
{
    char path[300];

    path_of(s, name, path);
    return access(path, F_OK) == 0;
}

void stage_goal(struct stage *s, long goal)
{
    char text[32];

    s->goal = goal;
    (void)snprintf(text, sizeof text, "%ld", goal);
    put_file(s, "goal", text);
}

/* ---- processes ---- */

static void start(struct stage *s, int who)
{
    char program[] = AGENT_WORKER, role[2] = { who == 0 ? 'I' : 'J', 0 };
    char *argv[] = { program,
                     role,
                     s->dir,
                     s->db[who],
                     s->address[who][0],
                     s->n_servers > 1 ? s->address[who][1] : NULL,
                     NULL };

    assert_int_equal(posix_spawn(&running[who], program, NULL, NULL, argv, environ), 0);
}

static void killed(struct stage *s, int who, int status)
{
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        fail_msg("%c ended by itself: %d", who == 0 ? 'I' : 'J', status);
    running[who] = 0;
    s->lost_answers++;
}

static void kill_one(struct stage *s, int who)
{
    int status;

    assert_true(running[who] > 0);
    assert_int_equal(kill(running[who], SIGKILL), 0);
    assert_int_equal(waitpid(running[who], &status, 0), running[who]);
    killed(s, who, status);
}

static bool wait_one(int who, int ms, int *status)
{
    int64_t until = sx_mono_ms() + ms;
    pid_t got;

    while ((got = waitpid(running[who], status, WNOHANG)) == 0 && sx_mono_ms() < until)
        usleep(2000);
    return got == running[who];
}

static void wait_end(int who)
{
    int status = 0;

    if (!wait_one(who, FINISH_MS, &status))
        fail_msg("%c did not finish", who == 0 ? 'I' : 'J');
    if (status != 0)
        fail_msg("%c ended with %d", who == 0 ? 'I' : 'J', status);
    running[who] = 0;
}

/* ---- kills ---- */

static void disturb_network(struct stage *s)
{
    struct forwarder *f = &s->f[stage_below(s, 2)][stage_below(s, (uint32_t)s->n_servers)];

    switch (stage_below(s, 6)) {
    case 0:
        forwarder_drop(f);
        s->lost_answers++;
        break;
    case 1:
        forwarder_set(f, FORWARD_STALL);
        usleep(stage_below(s, 60000));
        forwarder_set(f, FORWARD);
        break;
    default:
        break;
    }
}

void stage_kill_at_random(struct stage *s, long rounds)
{
    for (long n = 0; n < rounds; n++) {
        if (n % 3 == 0 && s->goal < CONVS - 1)
            stage_goal(s, s->goal + 1);
        usleep(stage_below(s, n % 2 == 0 ? 30000 : s->pause_us));
        disturb_network(s);
        uint32_t who = stage_below(s, 3); /* 2: both */
        for (int k = 0; k < 2; k++) {
            if (who == (uint32_t)k || who == 2)
                kill_one(s, k);
        }
        usleep(stage_below(s, 20000));
        for (int k = 0; k < 2; k++) {
            if (running[k] == 0)
                start(s, k);
        }
    }
}

bool stage_kill_at(struct stage *s, int who, char letter, long nth)
{
    char name[8] = { 'k', 'i', 'l', 'l', '.', who == 0 ? 'I' : 'J', 0 }, text[32], path[300];
    int status = 0;

    kill_one(s, who);
    (void)snprintf(text, sizeof text, "%c %ld", letter, nth);
    put_file(s, name, text);
    start(s, who);
    bool came = wait_one(who, MOMENT_MS, &status);
    path_of(s, name, path);
    assert_int_equal(unlink(path), 0);
    if (came)
        killed(s, who, status);
    else
        kill_one(s, who);
    start(s, who);
    return came;
}

/* ---- the end ---- */

static void count(struct stage *s, size_t *queues, size_t *messages)
{
    *queues = *messages = 0;
    for (size_t k = 0; k < s->n_servers; k++) {
        simplex_server_counters c = { .size = sizeof c };
        assert_int_equal(simplex_server_count(s->srv[k].s, &c), SIMPLEX_OK);
        *queues += c.queues;
        *messages += c.messages;
    }
}

/* Until both have done everything, nothing waits on the servers and their queues stay as they are.
 */
static size_t settle(struct stage *s)
{
    int64_t until = sx_mono_ms() + FINISH_MS, since = sx_mono_ms();
    size_t queues = 0, messages = 0, before = 0;
    bool rest = false;

    while (!rest) {
        usleep(5000);
        count(s, &queues, &messages);
        int64_t now = sx_mono_ms();
        if (queues != before || messages != 0 || !exists(s, "done.0") || !exists(s, "done.1"))
            since = now;
        before = queues;
        rest = now - since >= QUIET_MS;
        if (now > until) {
            put_file(s, "why", ""); /* they tell on stderr what they wait for */
            usleep(300000);
            fail_msg("%s is not at rest: I %d, J %d, %zu queues, %zu messages", s->dir,
                     exists(s, "done.0"), exists(s, "done.1"), queues, messages);
        }
    }
    return queues;
}

/* A queue whose making was not answered is made again with the same keys, and the first one stays
 * on the server until it expires there: nobody can know its id. Of all else nothing may be left. */
static void check_queues(const struct stage *s, size_t there, long known)
{
    size_t wanted = 2 * (size_t)s->goal + (strchr(s->chores, 'a') != NULL ? 1 : 0);

    print_message("%zu queues, %zu in use, %zu lost answers\n", there, wanted, s->lost_answers);
    assert_int_equal(known, wanted);
    assert_in_range(there, wanted, wanted + s->lost_answers);
}

void stage_finish(struct stage *s)
{
    put_file(s, "stop", "");
    size_t queues = settle(s);
    put_file(s, "settled", "");
    wait_end(0);
    wait_end(1);
    check_queues(s, queues, check_logs(s));
}

/* ---- */

/* A test that failed leaves its workers and its folder, and threads that use its stage. */
static void end_leftovers(void)
{
    for (int who = 0; who < 2; who++) {
        if (running[who] > 0) {
            (void)kill(running[who], SIGKILL);
            (void)waitpid(running[who], NULL, 0);
        }
        running[who] = 0;
    }
}

struct stage *stage_open(const char *chores, size_t n_servers, const simplex_server_config *cfg)
{
    const char *seed = getenv("SIMPLEX_SEED");
    struct stage *s = calloc(1, sizeof *s);
    char dir[256], pid[32];

    end_leftovers();
    assert_non_null(s);
    s->seed = seed != NULL ? strtoull(seed, NULL, 10) : (uint64_t)sx_now_ms();
    print_message("SIMPLEX_SEED=%llu\n", (unsigned long long)s->seed);
    s->seed |= 1;
    s->n_servers = n_servers;
    s->pause_us = 150000;
    (void)snprintf(s->chores, sizeof s->chores, "%s", chores);
    tmp_make(dir);
    memcpy(s->dir, dir, sizeof dir);
    put_file(s, "chores", chores);
    (void)snprintf(pid, sizeof pid, "%ld", (long)getpid());
    put_file(s, "parent", pid);
    stage_goal(s, 1);
    for (size_t k = 0; k < n_servers; k++)
        server_start(&s->srv[k], cfg);
    for (int who = 0; who < 2; who++) {
        for (size_t k = 0; k < n_servers; k++) {
            forwarder_start(&s->f[who][k], simplex_server_port(s->srv[k].s));
            forwarder_address(&s->f[who][k], s->srv[k].address, s->address[who][k],
                              sizeof s->address[who][k]);
        }
        (void)snprintf(s->db[who], sizeof s->db[who], "%s/%d.db", dir, who);
        start(s, who);
    }
    return s;
}

void stage_close(struct stage *s)
{
    for (int who = 0; who < 2; who++) {
        for (size_t k = 0; k < s->n_servers; k++)
            forwarder_stop(&s->f[who][k]);
    }
    for (size_t k = 0; k < s->n_servers; k++)
        server_stop(&s->srv[k]);
    tmp_remove(s->dir);
    free(s);
}
