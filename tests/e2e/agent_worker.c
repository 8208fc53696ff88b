/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One of the two applications of test_agent_kill.c, made to be killed at any moment.
 *
 *     agent_worker I|J <folder> <server> <database>
 *
 * The nth connection of an agent is the nth conversation. I makes them, as many as the file `goal`
 * says, and leaves their links in files; J joins them. When there is a file `address`, I has a
 * contact address instead, J asks there with the number of the conversation, and I keeps for each
 * connection in a file which one it is. Both send numbered pings from their main
 * thread and answer each ping from inside the callback, in one transaction with its
 * acknowledgement. What happened is in a log that is on disk before the agent is told:
 *
 *     s <conversation> <n> <attempt>          a ping is about to be sent
 *     d <conversation> <n> <attempt>          the agent has it
 *     r <conversation> <id> <integrity> <text> a message arrived
 *     e <text>                                what should not have happened
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "simplex/agent.h"

#define CONVS 128
#define WINDOW 4 /* pings of a conversation without an answer */
#define LEAST 3  /* pings of a conversation, however late it began */

struct conv {
    long n, attempt;  /* the last ping */
    bool open;        /* nobody knows whether the agent has it */
    long answered;    /* the last ping with an answer */
    int64_t last_id;  /* of the messages in the log */
    char last[64];
};

static struct worker {
    bool initiator;
    bool owner; /* I, with an address */
    bool by_address;
    const char *dir;
    simplex_agent *a;
    int log;
    pthread_mutex_t lock; /* convs, log; never held while the agent is called from outside */
    struct conv convs[CONVS];
} w;

/* ---- files ---- */

static void path_of(char path[512], const char *name, long n)
{
    (void)snprintf(path, 512, n >= 0 ? "%s/%s.%ld" : "%s/%s", w.dir, name, n);
}

static bool exists(const char *name)
{
    char path[512];

    path_of(path, name, -1);
    return access(path, F_OK) == 0;
}

/* Whole or not at all. */
static void put_file(const char *name, long n, const void *text, size_t len)
{
    char path[512], tmp[520];
    FILE *f;

    path_of(path, name, n);
    (void)snprintf(tmp, sizeof tmp, "%s.tmp", path);
    f = fopen(tmp, "wb");
    if (f == NULL || fwrite(text, 1, len, f) != len || fclose(f) != 0 || rename(tmp, path) != 0)
        abort();
}

static size_t get_file(const char *name, long n, char *to, size_t size)
{
    char path[512];
    size_t len;
    FILE *f;

    path_of(path, name, n);
    f = fopen(path, "rb");
    if (f == NULL)
        return 0;
    len = fread(to, 1, size - 1, f);
    (void)fclose(f);
    to[len] = 0;
    return len;
}

static void write_log(const char *line)
{
    size_t len = strlen(line);

    if (write(w.log, line, len) != (ssize_t)len || fdatasync(w.log) != 0)
        abort();
}

static void error(const char *what, const char *text)
{
    char line[512];

    (void)snprintf(line, sizeof line, "e %s: %s\n", what, text);
    write_log(line);
}

static void check(const char *what, simplex_rc rc)
{
    if (rc != SIMPLEX_OK)
        error(what, simplex_rc_name(rc));
}

/* ---- what was before ---- */

static void read_line(const char *line)
{
    long conv, n, attempt;
    long long id;
    int integrity;
    char text[64];

    if (sscanf(line, "s %ld %ld %ld", &conv, &n, &attempt) == 3) {
        w.convs[conv].n = n;
        w.convs[conv].attempt = attempt;
        w.convs[conv].open = true;
    } else if (sscanf(line, "d %ld %ld %ld", &conv, &n, &attempt) == 3) {
        w.convs[conv].open = false;
    } else if (sscanf(line, "r %ld %lld %d %63[^\n]", &conv, &id, &integrity, text) == 4) {
        w.convs[conv].last_id = id;
        (void)snprintf(w.convs[conv].last, sizeof w.convs[conv].last, "%s", text);
        if (sscanf(text, "pong %ld", &n) == 1)
            w.convs[conv].answered = n;
    }
}

static void open_log(const char *role)
{
    char path[512], line[512];
    FILE *f;

    (void)snprintf(path, sizeof path, "%s/log.%s", w.dir, role);
    f = fopen(path, "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        read_line(line);
    if (f != NULL)
        (void)fclose(f);
    w.log = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (w.log < 0)
        abort();
}

/* ---- events ---- */

static long conv_of(int64_t conn)
{
    int64_t ids[CONVS];
    size_t n = CONVS;
    char text[32];

    if (w.owner) {
        if (get_file("conn", (long)conn, text, sizeof text) == 0)
            error("connection", "was not accepted");
        else
            return atol(text);
    }
    check("connections", simplex_agent_connections(w.a, 0, ids, &n));
    for (size_t k = 0; k < n; k++) {
        if (ids[k] == conn)
            return (long)k;
    }
    error("connection", "is not listed");
    return 0;
}

/* Written once; a message shown again must be the same one. */
static void note(long conv, const simplex_event *ev, const char *text)
{
    struct conv *c = &w.convs[conv];
    int64_t id = simplex_event_msg_id(ev);
    char line[512];

    if (id == c->last_id) {
        if (strcmp(text, c->last) != 0)
            error("changed", text);
        return;
    }
    if (id < c->last_id)
        error("out of order", text);
    c->last_id = id;
    (void)snprintf(c->last, sizeof c->last, "%s", text);
    (void)snprintf(line, sizeof line, "r %ld %lld %d %s\n", conv, (long long)id,
                   (int)simplex_event_integrity(ev, NULL, NULL), text);
    write_log(line);
}

static void on_message(const simplex_event *ev)
{
    simplex_bytes body = simplex_event_data(ev);
    int64_t conn = simplex_event_conn(ev), id;
    long conv = conv_of(conn), n;
    char text[64] = { 0 };

    if (body.len >= sizeof text)
        error("message", "too long");
    else
        memcpy(text, body.ptr, body.len);
    note(conv, ev, text);
    if (sscanf(text, "pong %ld", &n) == 1)
        w.convs[conv].answered = n;
    check("ack", simplex_agent_ack(w.a, conn, simplex_event_msg_id(ev)));
    if (strncmp(text, "ping", 4) == 0) { /* in one transaction with the acknowledgement */
        memcpy(text, "pong", 4);
        simplex_bytes pong = { (const uint8_t *)text, strlen(text) };
        check("pong", simplex_agent_send(w.a, conn, pong, 0, &id));
    }
}

/* The file is written before anybody can know the connection, and the same again after a kill. */
static void on_request(const simplex_event *ev)
{
    static const simplex_bytes info = { (const uint8_t *)"O", 1 };
    simplex_bytes number = simplex_event_data(ev);
    int64_t conn;

    check("accept", simplex_agent_accept(w.a, simplex_event_request(ev), info, 0, &conn));
    put_file("conn", (long)conn, number.ptr, number.len);
}

static void on_event(void *user, const simplex_event *ev)
{
    static const simplex_bytes info = { (const uint8_t *)"I", 1 };

    (void)user;
    (void)pthread_mutex_lock(&w.lock);
    switch (simplex_event_kind(ev)) {
    case SIMPLEX_EV_INV:
        put_file("link", w.owner ? 0 : conv_of(simplex_event_conn(ev)), simplex_event_data(ev).ptr,
                 simplex_event_data(ev).len);
        break;
    case SIMPLEX_EV_CONF:
        check("allow", simplex_agent_allow(w.a, simplex_event_conn(ev), simplex_event_conf(ev),
                                           info));
        break;
    case SIMPLEX_EV_REQ:
        on_request(ev);
        break;
    case SIMPLEX_EV_MSG:
        on_message(ev);
        break;
    case SIMPLEX_EV_ERR:
    case SIMPLEX_EV_MERR:
    case SIMPLEX_EV_END:
        error("event", simplex_event_json(ev));
        break;
    default:
        break;
    }
    (void)pthread_mutex_unlock(&w.lock);
}

/* ---- the main thread ---- */

static void send_ping(long conv, int64_t conn)
{
    struct conv *c = &w.convs[conv];
    char line[128], text[64];
    int64_t id;

    (void)pthread_mutex_lock(&w.lock);
    if (c->open) { /* killed in between: the agent may have it, or not */
        c->attempt++;
    } else {
        c->n++;
        c->attempt = 1;
    }
    (void)snprintf(line, sizeof line, "s %ld %ld %ld\n", conv, c->n, c->attempt);
    (void)snprintf(text, sizeof text, "ping %ld %ld", c->n, c->attempt);
    write_log(line);
    (void)pthread_mutex_unlock(&w.lock);
    simplex_bytes ping = { (const uint8_t *)text, strlen(text) };
    simplex_rc rc = simplex_agent_send(w.a, conn, ping, 0, &id);
    (void)pthread_mutex_lock(&w.lock);
    check("send", rc);
    line[0] = 'd';
    write_log(line);
    c->open = false;
    (void)pthread_mutex_unlock(&w.lock);
}

/* The next conversation, when there is to be one. */
static void begin(long n, long goal)
{
    char link[8192], number[32];
    size_t len;
    int64_t conn;

    if (w.owner && n < 0)
        check("create", simplex_agent_create_address(w.a, &conn));
    if (w.owner || n >= goal)
        return;
    if (w.initiator) {
        check("create", simplex_agent_create(w.a, 0, &conn));
    } else if ((len = get_file("link", w.by_address ? 0 : n, link, sizeof link)) > 0) {
        simplex_bytes text = { (const uint8_t *)link, len };
        simplex_bytes info = { (const uint8_t *)number, 0 };
        info.len = (size_t)snprintf(number, sizeof number, "%ld", n);
        check("join", simplex_agent_join(w.a, text, info, 0, &conn));
    }
}

/* True when nothing is left to do in it. */
static bool run_conv(long conv, int64_t conn, bool stop)
{
    simplex_connection_info info = { .size = sizeof info };
    bool open, room, enough, answered;

    check("connection", simplex_agent_connection(w.a, conn, &info));
    if (info.state != SIMPLEX_CONN_READY)
        return false;
    (void)pthread_mutex_lock(&w.lock);
    open = w.convs[conv].open;
    room = w.convs[conv].n - w.convs[conv].answered < WINDOW;
    enough = w.convs[conv].n >= LEAST;
    answered = w.convs[conv].n == w.convs[conv].answered;
    (void)pthread_mutex_unlock(&w.lock);
    if (open || (room && !(stop && enough)))
        send_ping(conv, conn);
    return answered && enough && !open && info.pending == 0;
}

static bool run(void)
{
    int64_t ids[CONVS];
    size_t n = CONVS;
    char text[32] = "0";
    size_t skip = w.owner ? 1 : 0; /* the address is the first one */
    bool stop = exists("stop"), finished;

    (void)get_file("goal", -1, text, sizeof text);
    check("connections", simplex_agent_connections(w.a, 0, ids, &n));
    begin((long)n - (long)skip, atol(text));
    finished = stop && (long)n - (long)skip == atol(text);
    for (size_t k = skip; k < n; k++)
        finished = run_conv(w.owner ? conv_of(ids[k]) : (long)k, ids[k], stop) && finished;
    return finished;
}

int main(int argc, char **argv)
{
    simplex_agent_config cfg = { .size = sizeof cfg,
                                 .db_key = { (const uint8_t *)"0123456789abcdef0123456789abcdef",
                                             32 },
                                 .db_raw_key = true,
                                 .on_event = on_event,
                                 .n_servers = 1,
                                 .retry_first = 50,
                                 .retry_max = 200,
                                 .quota_retry_first = 200,
                                 .reconnect_first = 50,
                                 .reconnect_max = 200,
                                 .command_timeout = 1000 };

    if (argc != 5)
        return 2;
    w.initiator = argv[1][0] == 'I';
    w.dir = argv[2];
    w.by_address = exists("address");
    w.owner = w.initiator && w.by_address;
    cfg.servers = (const char *const *)&argv[3];
    cfg.db_path = argv[4];
    if (pthread_mutex_init(&w.lock, NULL) != 0)
        return 2;
    open_log(argv[1]);
    (void)pthread_mutex_lock(&w.lock); /* events wait until the handle is known */
    simplex_rc rc = simplex_agent_open(&cfg, &w.a);
    check("open", rc);
    (void)pthread_mutex_unlock(&w.lock);
    if (rc != SIMPLEX_OK)
        return 1;
    while (!run())
        usleep(2000);
    put_file("done", w.initiator ? 0 : 1, "", 0);
    while (!exists("done.0") || !exists("done.1")) /* the other side may need us */
        usleep(2000);
    usleep(200000);
    return simplex_agent_close(w.a) == SIMPLEX_OK ? 0 : 1;
}
