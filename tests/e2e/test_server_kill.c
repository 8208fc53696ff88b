/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kill -9 of the program smp-server at random moments, under two agents that connect and talk. The
 * server keeps its state on disk and agents repeat what was not answered: every connection comes
 * about, every message arrives once and in order, and the application is told of no error.
 * SIMPLEX_SEED repeats a run.
 */
#include <stdio.h>
#include <stdlib.h>

#include "support/agents.h"
#include "support/server_process.h"

#if defined(TESTS_SANITIZED)
#define STORIES 5
#else
#define STORIES 20
#endif
#define KILLS 5     /* in each */
#define AHEAD 40    /* messages sent that the other side has not shown: below the quota */
#define KILL_MS 200 /* a server lives at most so long */

struct side {
    struct test_agent t;
    int64_t conn; /* of the present story */
    bool connected;
    int next, seen; /* numbers sent and shown in it */
};

/* ---- the application on both sides ---- */

static void on_message(struct side *me, const simplex_event *ev)
{
    simplex_bytes data = simplex_event_data(ev);
    char text[16] = "";

    if (simplex_event_conn(ev) != me->conn) /* of a story that is over: its connection is deleted */
        return;
    assert_true(data.len < sizeof text);
    memcpy(text, data.ptr, data.len);
    if (atoi(text) != me->seen + 1)
        fail_msg("number %s after %d", text, me->seen);
    me->seen++;
    assert_int_equal(simplex_agent_ack(me->t.a, me->conn, simplex_event_msg_id(ev)), SIMPLEX_OK);
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
        if (present)
            fail_msg("told of an error: %s", simplex_event_json(ev));
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

static void say(struct side *me, const struct side *other)
{
    char text[16];
    int64_t id;

    if (!me->connected || me->next - other->seen >= AHEAD)
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
            assert_int_equal(simplex_agent_delete(both[n]->t.a, both[n]->conn), SIMPLEX_OK);
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
        say(i, j);
        say(j, i);
    }
}

/* Without further kills everything that was said arrives; at least a few words are said. */
static void finish(struct side *i, struct side *j)
{
    int64_t until = sx_mono_ms() + 3 * WAIT_MS;

    while (i->next < 3 || j->next < 3 || i->seen < j->next || j->seen < i->next) {
        if (sx_mono_ms() > until)
            fail_msg("shown %d of %d and %d of %d messages", i->seen, j->next, j->seen, i->next);
        pump(i, j);
        pump(j, i);
        if (i->next < 3)
            say(i, j);
        if (j->next < 3)
            say(j, i);
    }
}

static void nothing_is_lost_when_the_server_is_killed(void **state)
{
    static struct side i, j;
    static struct server_process s;
    char dir[256];
    const char *text = getenv("SIMPLEX_SEED");
    unsigned seed = text != NULL ? (unsigned)strtoul(text, NULL, 10) : (unsigned)sx_now_ms();
    int said = 0;

    (void)state;
    print_message("SIMPLEX_SEED=%u\n", seed);
    srandom(seed);
    tmp_make(dir);
    tmp_make(s.dir);
    server_process_run(&s);
    agent_open(&i.t, dir, "i", s.address);
    agent_open(&j.t, dir, "j", s.address);
    for (int n = 0; n < STORIES; n++) {
        begin(&i, &j);
        for (int k = 0; k < KILLS; k++) {
            talk_for(&i, &j, random() % KILL_MS);
            server_process_kill(&s);
            server_process_run(&s);
            assert_int_equal(simplex_agent_reconnect(i.t.a), SIMPLEX_OK);
            assert_int_equal(simplex_agent_reconnect(j.t.a), SIMPLEX_OK);
        }
        finish(&i, &j);
        said += i.next + j.next;
    }
    print_message("%d kills, %d messages\n", STORIES * KILLS, said);
    agent_close(&i.t);
    agent_close(&j.t);
    server_process_kill(&s);
    tmp_remove(s.dir);
    tmp_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_lost_when_the_server_is_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
