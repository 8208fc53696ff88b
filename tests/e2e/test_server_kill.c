/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kill -9 of the program smp-server at random moments, under two agents that connect and talk. The
 * server of this release keeps queues and messages in memory, so they die with it. What must hold:
 * the agents heal by themselves and new connections work at once; no message is shown twice or out
 * of order; a connection whose queues are gone is told of. SIMPLEX_SEED repeats a run.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#if defined(__linux__)
#include <sys/prctl.h>
#endif
#include <unistd.h>

#include "support/agents.h"

#define ROUNDS 100
#define CONNS 512

struct server {
    char dir[256], port[8], address[512];
    pid_t pid;
};

struct side {
    struct test_agent t;
    int64_t conn; /* of the present story */
    bool connected;
    int next, seen;   /* numbers sent and shown in it */
    int shown[CONNS]; /* last number by connection */
    unsigned told;    /* errors */
};

/* ---- the server ---- */

static void read_address(struct server *s, int fd)
{
    char line[1024];
    FILE *f = fdopen(fd, "r");

    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        (void)sscanf(line, "Server address: %511s", s->address);
        if (strstr(line, "creating new queues") != NULL)
            break; /* it listens */
    }
    (void)fclose(f);
    assert_true(s->address[0] != 0);
}

static void server_run(struct server *s)
{
    const char *const argv[] = { SMP_SERVER, "start", "--port", s->port, "--dir", s->dir, NULL };
    int fd[2];

    assert_int_equal(pipe(fd), 0);
    s->pid = fork();
    assert_true(s->pid >= 0);
    if (s->pid == 0) {
        (void)dup2(fd[1], 1);
        (void)dup2(fd[1], 2);
        (void)close(fd[0]);
#if defined(__linux__)
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed test leaves nothing behind */
#endif
        (void)execv(SMP_SERVER, (char *const *)(uintptr_t)argv);
        _exit(99);
    }
    (void)close(fd[1]);
    read_address(s, fd[0]);
    const char *colon = strrchr(s->address, ':');
    (void)snprintf(s->port, sizeof s->port, "%.7s", colon + 1);
}

static void server_kill(struct server *s)
{
    int status;

    assert_int_equal(kill(s->pid, SIGKILL), 0);
    assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
}

/* ---- the application on both sides ---- */

static void on_message(struct side *me, const simplex_event *ev)
{
    int64_t conn = simplex_event_conn(ev);
    simplex_bytes data = simplex_event_data(ev);
    char text[16] = "";
    int n;

    assert_in_range(conn, 1, CONNS - 1);
    assert_true(data.len < sizeof text);
    memcpy(text, data.ptr, data.len);
    n = atoi(text);
    if (n <= me->shown[conn])
        fail_msg("number %d after %d", n, me->shown[conn]);
    me->shown[conn] = n;
    me->seen += conn == me->conn;
    simplex_rc rc = simplex_agent_ack(me->t.a, conn, simplex_event_msg_id(ev));
    if (rc != SIMPLEX_OK && conn == me->conn) /* others were deleted with their story */
        fail_msg("ack: %s", simplex_rc_name(rc));
}

static void handle(struct side *me, struct side *other, const simplex_event *ev)
{
    int64_t conn = simplex_event_conn(ev);
    bool present = conn == me->conn;

    switch (simplex_event_kind(ev)) {
    case SIMPLEX_EV_INV:
        if (present)
            assert_int_equal(simplex_agent_join(other->t.a, simplex_event_data(ev), sx_str("J"), 0,
                                                &other->conn),
                             SIMPLEX_OK);
        break;
    case SIMPLEX_EV_CONF:
        if (present)
            assert_int_equal(
                simplex_agent_allow(me->t.a, conn, simplex_event_conf(ev), sx_str("I")),
                SIMPLEX_OK);
        break;
    case SIMPLEX_EV_CON:
        me->connected = me->connected || present;
        break;
    case SIMPLEX_EV_MSG:
        on_message(me, ev);
        break;
    case SIMPLEX_EV_ERR:
    case SIMPLEX_EV_MERR:
        me->told++;
        break;
    default:
        break;
    }
}

static void pump(struct side *me, struct side *other)
{
    simplex_event *ev;

    if (simplex_agent_next_event(me->t.a, 1, &ev) != SIMPLEX_OK)
        return;
    handle(me, other, ev);
    simplex_event_free(ev);
}

static void say(struct side *me)
{
    char text[16];
    int64_t id;

    if (!me->connected)
        return;
    (void)snprintf(text, sizeof text, "%d", ++me->next);
    assert_int_equal(simplex_agent_send(me->t.a, me->conn, sx_str(text), 0, &id), SIMPLEX_OK);
}

/* ---- stories ---- */

static void begin(struct side *i, struct side *j)
{
    struct side *both[] = { i, j };

    for (size_t n = 0; n < SX_COUNT(both); n++) {
        if (both[n]->conn != 0)
            (void)!simplex_agent_delete(both[n]->t.a, both[n]->conn);
        both[n]->conn = 0;
        both[n]->connected = false;
        both[n]->next = both[n]->seen = 0;
    }
    assert_int_equal(simplex_agent_create(i->t.a, 0, &i->conn), SIMPLEX_OK);
}

static void talk_for(struct side *i, struct side *j, int64_t ms)
{
    int64_t until = sx_mono_ms() + ms;

    while (sx_mono_ms() < until) {
        pump(i, j);
        pump(j, i);
        say(i);
        say(j);
    }
}

static void heals(struct side *i, struct side *j)
{
    int64_t until = sx_mono_ms() + WAIT_MS;

    assert_int_equal(simplex_agent_reconnect(i->t.a), SIMPLEX_OK);
    assert_int_equal(simplex_agent_reconnect(j->t.a), SIMPLEX_OK);
    begin(i, j);
    while (i->seen < 3 || j->seen < 3) {
        if (sx_mono_ms() > until)
            fail_msg("no new connection: %d and %d messages", i->seen, j->seen);
        pump(i, j);
        pump(j, i);
        if (i->next < 3)
            say(i);
        if (j->next < 3)
            say(j);
    }
}

static void agents_heal_when_the_server_is_killed(void **state)
{
    static struct side i, j;
    struct server s = { .port = "0" };
    char dir[256];
    const char *text = getenv("SIMPLEX_SEED");
    unsigned seed = text != NULL ? (unsigned)strtoul(text, NULL, 10) : (unsigned)sx_now_ms();

    (void)state;
    print_message("SIMPLEX_SEED=%u\n", seed);
    srandom(seed);
    tmp_make(dir);
    tmp_make(s.dir);
    server_run(&s);
    agent_open(&i.t, dir, "i", s.address);
    agent_open(&j.t, dir, "j", s.address);
    for (int n = 0; n < ROUNDS; n++) {
        begin(&i, &j);
        talk_for(&i, &j, random() % 150);
        server_kill(&s);
        server_run(&s);
        heals(&i, &j);
    }
    assert_true(i.told + j.told > 0);
    agent_close(&i.t);
    agent_close(&j.t);
    server_kill(&s);
    tmp_remove(s.dir);
    tmp_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agents_heal_when_the_server_is_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
