/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Noise as servers see it: the commands of a queue, their order and their sizes, recorded inside
 * the servers, for messages of an application and for noise.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/noise.h"
#include "support/agents.h"
#include "support/wire_log.h"

#define PLENTY (INT64_C(1) << 31)
#define ITEMS 20000
#define SHAPES 64

/* ---- shapes: what one queue sees, in a text ---- */

struct shape {
    const void *session;
    uint8_t len, entity[24];
    char text[4096];
};

static struct shape shapes[SHAPES];
static size_t n_shapes;

static struct shape *shape_of(const struct wire_item *x)
{
    for (size_t i = 0; i < n_shapes; i++) {
        if (shapes[i].session == x->session && shapes[i].len == x->entity_len &&
            memcmp(shapes[i].entity, x->entity, x->entity_len) == 0)
            return &shapes[i];
    }
    assert_true(n_shapes < SHAPES);
    struct shape *s = &shapes[n_shapes++];
    *s = (struct shape){ .session = x->session, .len = x->entity_len };
    memcpy(s->entity, x->entity, x->entity_len);
    return s;
}

static void add(struct shape *s, const struct wire_item *x)
{
    size_t n = strlen(s->text);

    (void)snprintf(s->text + n, sizeof s->text - n, "%s%s%s:%u:%u ", x->out ? "<" : ">",
                   x->event ? "*" : "", x->name, x->len, x->body);
}

static void read_shapes(void)
{
    static struct wire_item items[ITEMS];
    size_t n = wire_log(items, ITEMS);

    assert_true(n <= ITEMS);
    n_shapes = 0;
    for (size_t i = 0; i < n; i++)
        add(shape_of(&items[i]), &items[i]);
}

/* Of what begins with this command or event: the unit that it is a repetition of, and how often. 0:
 * it is none, since two of them were on their way at the same time. */
static unsigned unit_of(const char *begins, char unit[512])
{
    unsigned times = 0;

    unit[0] = 0;
    for (size_t i = 0; i < n_shapes; i++) {
        const char *t = shapes[i].text;
        if (strncmp(t, begins, strlen(begins)) != 0)
            continue;
        if (unit[0] == 0) {
            const char *next = strstr(t + 1, begins);
            size_t len = next != NULL ? (size_t)(next - t) : strlen(t);
            assert_true(len < 512);
            memcpy(unit, t, len);
            unit[len] = 0;
        }
        for (; *t != 0; times++) {
            if (strncmp(t, unit, strlen(unit)) != 0) {
                print_message("%s is not a repetition of %s\n", shapes[i].text, unit);
                return 0;
            }
            t += strlen(unit);
        }
    }
    return times;
}

struct seen {
    char sender[512], recipient[512];
    unsigned sent, received;
};

static bool look(struct seen *s, const char *send)
{
    read_shapes();
    s->sent = unit_of(send, s->sender);
    s->received = unit_of("<*MSG", s->recipient);
    /* An ACK that is answered with the next message: there were two. */
    return s->sent > 0 && s->received > 0 && strstr(s->recipient, "<MSG:") == NULL;
}

static void assert_same(const struct seen *a, const struct seen *b)
{
    assert_string_equal(a->sender, b->sender);
    assert_string_equal(a->recipient, b->recipient);
}

/* ---- what is recorded ---- */

static void set_noise(struct test_agent *t, uint32_t kinds, int64_t budget)
{
    simplex_noise n = { .size = sizeof n, .budget = budget, .kinds = kinds };

    assert_int_equal(simplex_agent_set_noise(t->a, &n), SIMPLEX_OK);
}

static int64_t sent_so_far(struct test_agent *t)
{
    simplex_noise_stats s = { .size = sizeof s };

    assert_int_equal(simplex_agent_noise_stats(t->a, &s), SIMPLEX_OK);
    return s.total.loops + s.total.repeats + s.total.pings;
}

/* Nothing is on its way: each message was acknowledged. */
static void settle(struct test_server *srv)
{
    expect_server_empty(srv);
    (void)usleep(100000);
}

static void wait_sent(struct test_agent *t, int64_t until)
{
    int64_t end = sx_mono_ms() + 3 * WAIT_MS;

    while (sent_so_far(t) < until) {
        assert_true(sx_mono_ms() < end);
        (void)usleep(10000);
    }
}

struct pair { /* J writes to I */
    bool notifications;
    char dir[256];
    struct test_server relay, proxy;
    struct test_agent i, j;
    int64_t ic, jc;
};

/* p is empty, or has settings of the agents. */
static void open_pair(struct pair *p, bool proxied)
{
    simplex_server_config cfg;

    tmp_make(p->dir);
    simplex_server_config_init(&cfg);
    cfg.end_flush_ms = 0;
    server_start(&p->relay, &cfg);
    server_start(&p->proxy, &cfg);
    agent_open(&p->i, p->dir, "i", p->relay.address);
    agent_open(&p->j, p->dir, "j", proxied ? p->proxy.address : p->relay.address);
    if (p->notifications) {
        p->i.cfg.notifications = p->j.cfg.notifications = true;
        agent_reopen(&p->i);
        agent_reopen(&p->j);
    }
    if (proxied) {
        /* J's own queues stand on the relay too, so that its loops go through the proxy to there.
         */
        p->j.servers[1] = p->relay.address;
        p->j.n_servers = 2;
        p->j.cfg.servers = p->j.servers;
        p->j.cfg.n_servers = 2;
        p->j.cfg.proxy_mode = SIMPLEX_PROXY_ALWAYS;
        agent_reopen(&p->j);
    }
    connect_agents(&p->i, &p->j, SIMPLEX_PQ_OFF, &p->ic, &p->jc);
}

static void close_pair(struct pair *p)
{
    agent_close(&p->i);
    agent_close(&p->j);
    server_stop(&p->relay);
    server_stop(&p->proxy);
    tmp_remove(p->dir);
}

static void settle_both(struct pair *p)
{
    settle(&p->relay);
    settle(&p->proxy);
}

#define ATTEMPTS 8

/* Messages of all sizes. */
static void record_messages(struct pair *p, const char *send, struct seen *s)
{
    static char text[12001];
    static const size_t sizes[] = { 1, 100, 1000, 12000, 2 };

    bool clean = false;

    for (int n = 0; n < ATTEMPTS && !clean; n++) {
        settle_both(p);
        wire_log_start();
        for (size_t i = 0; i < SX_COUNT(sizes); i++) {
            memset(text, 'x', sizes[i]);
            text[sizes[i]] = 0;
            talk(&p->j, p->jc, &p->i, p->ic, text);
            settle(&p->relay); /* the last ACK was answered */
        }
        settle_both(p);
        clean = look(s, send);
    }
    assert_true(clean);
    assert_int_equal(s->sent, SX_COUNT(sizes));
    assert_int_equal(s->received, SX_COUNT(sizes));
}

/* Each attempt with less of it, until they do not meet on a slow machine. */
static void some_noise(struct pair *p, uint32_t kind, int64_t n, int attempt)
{
    settle_both(p);
    wire_log_start();
    set_noise(&p->j, kind, PLENTY >> (attempt < 5 ? attempt : 5));
    wait_sent(&p->j, sent_so_far(&p->j) + n);
    set_noise(&p->j, kind, SX_NOISE_BUDGET_MIN);
    settle_both(p);
}

static void record_noise(struct pair *p, uint32_t kind, const char *send, struct seen *s)
{
    bool clean = false;

    set_noise(&p->j, kind, PLENTY);
    talk(&p->j, p->jc, &p->i, p->ic, "to be repeated");
    if (kind == SIMPLEX_NOISE_LOOP)
        wait_sent(&p->j, sent_so_far(&p->j) + 8); /* its queues are made */
    set_noise(&p->j, kind, SX_NOISE_BUDGET_MIN);
    for (int i = 0; i < ATTEMPTS && !clean; i++) {
        talk(&p->i, p->ic, &p->j, p->jc, "I am here");
        some_noise(p, kind, 3, i);
        /* what was sent may be on its way to the first server yet */
        clean = look(s, send) && s->sent >= 3 && s->received == s->sent;
    }
    assert_true(clean);
}

/* ---- tests ---- */

static void loops_and_repeats_have_the_commands_and_sizes_of_messages(void **state)
{
    struct seen message, loop, repeat;
    struct pair p = { 0 };

    (void)state;
    open_pair(&p, false);
    record_messages(&p, ">SEND", &message);
    record_noise(&p, SIMPLEX_NOISE_REPEAT, ">SEND", &repeat);
    assert_same(&message, &repeat);
    assert_int_equal(repeat.received, repeat.sent);
    record_noise(&p, SIMPLEX_NOISE_LOOP, ">SEND", &loop);
    assert_same(&message, &loop);
    assert_int_equal(loop.received, loop.sent);
    assert_non_null(strstr(message.sender, ">SEND:"));
    assert_non_null(strstr(message.sender, "<OK:"));
    assert_non_null(strstr(message.recipient, "<*MSG:"));
    assert_non_null(strstr(message.recipient, ">ACK:"));
    close_pair(&p);
}

static void through_a_proxy_as_well(void **state)
{
    struct seen message, loop, repeat;
    struct pair p = { 0 };

    (void)state;
    open_pair(&p, true);
    record_messages(&p, ">PFWD", &message);
    record_noise(&p, SIMPLEX_NOISE_REPEAT, ">PFWD", &repeat);
    assert_same(&message, &repeat);
    assert_int_equal(repeat.received, repeat.sent);
    record_noise(&p, SIMPLEX_NOISE_LOOP, ">PFWD", &loop);
    assert_same(&message, &loop);
    assert_int_equal(loop.received, loop.sent);
    assert_non_null(strstr(message.sender, "<PRES:"));
    close_pair(&p);
}

/* What makes a connection's queue ready for the other side, and what makes one for loops. */
static void compare_how_queues_are_made(bool notifications)
{
    char connection[512], noise[512];
    struct pair p = { .notifications = notifications };

    open_pair(&p, false);
    settle_both(&p);
    int64_t ic, jc;
    wire_log_start();
    connect_agents(&p.i, &p.j, SIMPLEX_PQ_OFF, &ic, &jc);
    settle_both(&p);
    read_shapes();
    assert_int_equal(unit_of(">NEW", connection), 2);
    wire_log_start();
    set_noise(&p.j, SIMPLEX_NOISE_LOOP, PLENTY);
    wait_sent(&p.j, sent_so_far(&p.j) + 4);
    set_noise(&p.j, SIMPLEX_NOISE_LOOP, SX_NOISE_BUDGET_MIN);
    settle_both(&p);
    read_shapes();
    assert_int_equal(unit_of(">NEW", noise), 1);
    assert_string_equal(connection, noise);
    bool skey = false;
    for (size_t i = 0; i < n_shapes; i++)
        skey = skey || strncmp(shapes[i].text, ">SKEY", 5) == 0;
    assert_true(skey);
    close_pair(&p);
}

static void queues_of_loops_are_made_like_those_of_connections(void **state)
{
    (void)state;
    compare_how_queues_are_made(false);
}

static void with_notifications_as_well(void **state)
{
    (void)state;
    compare_how_queues_are_made(true);
}

static void a_ping_has_the_sizes_of_a_ping(void **state)
{
    char unit[512];
    unsigned n = 0;
    struct pair p = { 0 };

    (void)state;
    open_pair(&p, false);
    for (int i = 0; i < ATTEMPTS && n < 3; i++) {
        some_noise(&p, SIMPLEX_NOISE_PING, 3, i);
        read_shapes();
        n = unit_of(">PING", unit);
    }
    assert_true(n >= 3);
    assert_non_null(strstr(unit, "<PONG"));
    close_pair(&p);
}

static int init(void **state)
{
    (void)state;
    return sx_crypto_init();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loops_and_repeats_have_the_commands_and_sizes_of_messages),
        cmocka_unit_test(through_a_proxy_as_well),
        cmocka_unit_test(queues_of_loops_are_made_like_those_of_connections),
        cmocka_unit_test(with_notifications_as_well),
        cmocka_unit_test(a_ping_has_the_sizes_of_a_ping),
    };

    return cmocka_run_group_tests(tests, init, NULL);
}
