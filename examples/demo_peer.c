/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One agent of the demo: an ordinary application of libsimplex. It takes commands from standard
 * input and writes what happens to standard output:
 *
 *     in:  KEY (first line) | create | join LINK | say TEXT | noise BUDGET | count
 *     out: OPEN | LINK link | CONF info | INFO info | CON pq | MSG time id integrity body |
 *          SENT time id | NOISE pings loops repeats bytes queues | FAIL text
 *
 * It keeps nothing but its database. The numbered messages show how an application gets
 * exactly-once without any records of its own: all are sent from inside the callback, so that
 * the acknowledgement of a message and the answer to it are one transaction. Killed at any
 * instant, it has done both or neither.
 *
 *     begin COUNT WINDOW   said by one agent; the other answers "began COUNT WINDOW", and both
 *                          start with messages 1..WINDOW
 *     load N COUNT WINDOW TIME   is answered with number N + WINDOW, up to COUNT
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "demo_child.h"
#include "simplex/agent.h"

static const char *own_name;
static pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER;
static simplex_agent *agent; /* set while `opening` is held */

/* One write a line: lines of the two threads do not mix, and a killed process leaves whole ones. */
static void tell(const char *what, simplex_bytes text)
{
    static const char newline = '\n';
    char line[DEMO_LINE];
    size_t n = strlen(what);

    if (n + text.len + 1 > sizeof line)
        return;
    memcpy(line, what, n);
    if (text.len > 0)
        memcpy(line + n, text.ptr, text.len);
    n += text.len;
    line[n++] = newline;
    if (write(STDOUT_FILENO, line, n) != (ssize_t)n)
        _exit(1); /* the demo is gone */
}

static simplex_bytes bytes(const char *s)
{
    return (simplex_bytes){ (const uint8_t *)s, strlen(s) };
}

static void fail(const char *what, simplex_rc rc)
{
    char text[256];

    (void)snprintf(text, sizeof text, "%s: %s", what, simplex_rc_text(rc));
    tell("FAIL ", bytes(text));
}

static void check(const char *what, simplex_rc rc)
{
    if (rc != SIMPLEX_OK)
        fail(what, rc);
}

/* ---- messages ---- */

static void send_numbered(simplex_agent *a, int64_t conn, long n, long count, long window)
{
    char body[96];
    int64_t id;

    (void)snprintf(body, sizeof body, "load %ld %ld %ld %lld", n, count, window,
                   (long long)demo_us());
    check("send", simplex_agent_send(a, conn, bytes(body), 0, &id));
}

static void send_first(simplex_agent *a, int64_t conn, long count, long window)
{
    for (long n = 1; n <= window && n <= count; n++)
        send_numbered(a, conn, n, count, window);
}

static void answer(simplex_agent *a, int64_t conn, simplex_bytes body)
{
    char text[96], began[96];
    long n, count, window;
    int64_t id;

    if (body.len >= sizeof text)
        return;
    memcpy(text, body.ptr, body.len);
    text[body.len] = 0;
    if (sscanf(text, "load %ld %ld %ld", &n, &count, &window) == 3) {
        if (n + window <= count)
            send_numbered(a, conn, n + window, count, window);
    } else if (sscanf(text, "begin %ld %ld", &count, &window) == 2) {
        (void)snprintf(began, sizeof began, "began %ld %ld", count, window);
        check("send", simplex_agent_send(a, conn, bytes(began), 0, &id));
        send_first(a, conn, count, window);
    } else if (sscanf(text, "began %ld %ld", &count, &window) == 2) {
        send_first(a, conn, count, window);
    }
}

/* Record first, then acknowledge: killed in between, the same message comes again with its id. */
static void on_message(simplex_agent *a, const simplex_event *ev)
{
    char head[96];
    int64_t conn = simplex_event_conn(ev), id = simplex_event_msg_id(ev);

    (void)snprintf(head, sizeof head, "MSG %lld %lld %d ", (long long)demo_us(), (long long)id,
                   (int)simplex_event_integrity(ev, NULL, NULL));
    tell(head, simplex_event_data(ev));
    check("ack", simplex_agent_ack(a, conn, id));
    answer(a, conn, simplex_event_data(ev));
}

/* ---- events ---- */

static void on_conf(simplex_agent *a, const simplex_event *ev)
{
    char info[64];

    tell("CONF ", simplex_event_data(ev));
    (void)snprintf(info, sizeof info, "I am %s", own_name);
    check("allow",
          simplex_agent_allow(a, simplex_event_conn(ev), simplex_event_conf(ev), bytes(info)));
}

static void on_sent(const simplex_event *ev)
{
    char line[64];

    (void)snprintf(line, sizeof line, "SENT %lld %lld", (long long)demo_us(),
                   (long long)simplex_event_msg_id(ev));
    tell(line, bytes(""));
}

/* Events left over from an earlier run may come before simplex_agent_open has returned. */
static simplex_agent *opened(void)
{
    (void)pthread_mutex_lock(&opening);
    simplex_agent *a = agent;
    (void)pthread_mutex_unlock(&opening);
    return a;
}

static void on_event(void *user, const simplex_event *ev)
{
    simplex_agent *a = opened();

    (void)user;
    switch (simplex_event_kind(ev)) {
    case SIMPLEX_EV_INV:
        tell("LINK ", simplex_event_data(ev));
        break;
    case SIMPLEX_EV_CONF:
        on_conf(a, ev);
        break;
    case SIMPLEX_EV_INFO:
        tell("INFO ", simplex_event_data(ev));
        break;
    case SIMPLEX_EV_CON:
        tell("CON ", bytes(simplex_event_pq(ev) ? "1" : "0"));
        break;
    case SIMPLEX_EV_MSG:
        on_message(a, ev);
        break;
    case SIMPLEX_EV_SENT:
        on_sent(ev);
        break;
    case SIMPLEX_EV_MERR:
    case SIMPLEX_EV_ERR:
        fail(simplex_event_name(ev), simplex_event_error(ev));
        break;
    default:
        break;
    }
}

/* ---- commands ---- */

static int64_t first_connection(simplex_agent *a)
{
    int64_t id = 0;
    size_t n = 1;

    check("connections", simplex_agent_connections(a, 0, &id, &n));
    return id;
}

static void set_noise(simplex_agent *a, const char *budget)
{
    simplex_noise noise = { .size = sizeof noise,
                            .budget = atoll(budget),
                            .kinds =
                                SIMPLEX_NOISE_PING | SIMPLEX_NOISE_LOOP | SIMPLEX_NOISE_REPEAT };

    check("noise", simplex_agent_set_noise(a, &noise));
}

static void count_noise(simplex_agent *a)
{
    simplex_noise_stats s = { .size = sizeof s };
    char text[160];

    check("count", simplex_agent_noise_stats(a, &s));
    (void)snprintf(text, sizeof text, "%lld %lld %lld %lld %lld", (long long)s.total.pings,
                   (long long)s.total.loops, (long long)s.total.repeats, (long long)s.total.bytes,
                   (long long)s.queues);
    tell("NOISE ", bytes(text));
}

static void command(simplex_agent *a, char *line)
{
    int64_t id;

    line[strcspn(line, "\n")] = 0;
    if (strcmp(line, "create") == 0) {
        check("create", simplex_agent_create(a, SIMPLEX_PQ_ON, &id));
    } else if (strncmp(line, "join ", 5) == 0) {
        char info[64];
        (void)snprintf(info, sizeof info, "I am %s", own_name);
        check("join", simplex_agent_join(a, bytes(line + 5), bytes(info), SIMPLEX_PQ_ON, &id));
    } else if (strncmp(line, "say ", 4) == 0) {
        check("send", simplex_agent_send(a, first_connection(a), bytes(line + 4), 0, &id));
    } else if (strncmp(line, "noise ", 6) == 0) {
        set_noise(a, line + 6);
    } else if (strcmp(line, "count") == 0) {
        count_noise(a);
    } else {
        tell("FAIL unknown command ", bytes(line));
    }
}

/* ---- the process ---- */

static bool read_key(uint8_t key[32])
{
    char line[DEMO_KEY_HEX + 2];

    if (fgets(line, sizeof line, stdin) == NULL || strlen(line) != DEMO_KEY_HEX + 1)
        return false;
    for (size_t i = 0; i < 32; i++) {
        unsigned byte;
        if (sscanf(line + 2 * i, "%2x", &byte) != 1)
            return false;
        key[i] = (uint8_t)byte;
    }
    return true;
}

static simplex_rc open_agent(const char *db, const char *server)
{
    uint8_t key[32];
    const char *servers[] = { server };
    simplex_agent_config cfg = { .size = sizeof cfg,
                                 .db_path = db,
                                 .db_key = { key, sizeof key },
                                 .db_raw_key = true,
                                 .on_event = on_event,
                                 .servers = servers,
                                 .n_servers = 1 };

    if (!read_key(key))
        return SIMPLEX_E_ARG;
    (void)pthread_mutex_lock(&opening);
    simplex_rc rc = simplex_agent_open(&cfg, &agent);
    (void)pthread_mutex_unlock(&opening);
    return rc;
}

int demo_peer_main(const char *name, const char *db, const char *server)
{
    char line[DEMO_LINE];

    own_name = name;
    simplex_rc rc = open_agent(db, server);
    if (rc != SIMPLEX_OK) {
        fail("open", rc);
        return 1;
    }
    tell("OPEN", bytes(""));
    while (fgets(line, sizeof line, stdin) != NULL)
        command(agent, line);
    rc = simplex_agent_close(agent);
    check("close", rc);
    return rc == SIMPLEX_OK ? 0 : 1;
}
