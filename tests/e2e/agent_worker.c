/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One of the two applications of test_agent_kill.c and test_agent_kill_chores.c, made to be killed
 * at any moment.
 *
 *     agent_worker I|J <folder> <database> <server>...
 *
 * The nth connection of an agent is the nth conversation. I makes them, as many as the file `goal`
 * says, and leaves their links in files; J joins them. With the chore `a`, I has a contact address
 * instead, J asks there with the number of the conversation, and I keeps for each connection in a
 * file which one it is. Both send numbered pings from their main thread and answer each ping from
 * inside the callback, in one transaction with its acknowledgement. The file `chores` says what
 * else they do (agent_worker.h). What happened is in a log that is on disk before the agent is
 * told:
 *
 *     s <conversation> <n> <attempt> <batch>  a ping is about to be sent
 *     d <conversation> <n> <attempt> <id>     the agent has it
 *     r <conversation> <id> <integrity> <text> a message arrived
 *     c <conversation> <id> <status>          a receipt arrived
 *     y <conversation>                        a new ratchet is about to be begun
 *     q <queues>                              receiving queues at the end
 *     e <text>                                what should not have happened
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent_worker.h"

#define WINDOW 4 /* pings of a conversation without an answer */
#define LEAST 3  /* pings of a conversation, however late it began */

struct worker self;
static pid_t parent; /* we end when it does */

struct ping {
    long conv;
    int64_t conn;
    char text[64];
};

bool chore(char letter)
{
    return strchr(self.chores, letter) != NULL;
}

int64_t now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

long below(long n)
{
    return n > 0 ? random() % n : 0;
}

/* ---- events ---- */

static long conv_of(int64_t conn)
{
    int64_t ids[CONVS];
    size_t n = CONVS;
    char text[32];

    if (self.owner) {
        if (get_file("conn", (long)conn, text, sizeof text) == 0)
            error("connection", "was not accepted");
        else
            return atol(text);
    }
    check("connections", simplex_agent_connections(self.a, 0, ids, &n));
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
    struct conv *c = &self.convs[conv];
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
    static const simplex_bytes none = { NULL, 0 };
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
        self.convs[conv].answered = n;
    check("ack", chore(CHORE_RECEIPTS)
                     ? simplex_agent_ack_receipt(self.a, conn, simplex_event_msg_id(ev), none)
                     : simplex_agent_ack(self.a, conn, simplex_event_msg_id(ev)));
    if (strncmp(text, "ping", 4) == 0 &&
        !chore(CHORE_SYNC)) { /* in one transaction with the acknowledgement */
        memcpy(text, "pong", 4);
        simplex_bytes pong = { (const uint8_t *)text, strlen(text) };
        check("pong", simplex_agent_send(self.a, conn, pong, 0, &id));
    }
}

/* The file is written before anybody can know the connection, and the same again after a kill. */
static void on_request(const simplex_event *ev)
{
    static const simplex_bytes info = { (const uint8_t *)"O", 1 };
    simplex_bytes number = simplex_event_data(ev);
    int64_t conn;

    check("accept", simplex_agent_accept(self.a, simplex_event_request(ev), info, 0, &conn));
    put_file("conn", (long)conn, number.ptr, number.len);
}

static void on_receipt(const simplex_event *ev)
{
    long conv = conv_of(simplex_event_conn(ev));
    int64_t id = simplex_event_msg_id(ev);
    char line[96];

    if (id <= self.convs[conv].received) /* shown again after a kill */
        return;
    self.convs[conv].received = id;
    (void)snprintf(line, sizeof line, "c %ld %lld %d\n", conv, (long long)id,
                   (int)simplex_event_receipt(ev));
    write_log(line);
}

static void on_link(const simplex_event *ev, int32_t wanted)
{
    if (simplex_event_kind(ev) == wanted)
        put_file("link", self.owner ? 0 : conv_of(simplex_event_conn(ev)),
                 simplex_event_data(ev).ptr, simplex_event_data(ev).len);
}

static void on_event(void *user, const simplex_event *ev)
{
    static const simplex_bytes info = { (const uint8_t *)"I", 1 };

    (void)user;
    (void)pthread_mutex_lock(&self.lock);
    switch (simplex_event_kind(ev)) {
    case SIMPLEX_EV_INV:
    case SIMPLEX_EV_LINK:
        on_link(ev, chore(CHORE_SHORT) ? SIMPLEX_EV_LINK : SIMPLEX_EV_INV);
        break;
    case SIMPLEX_EV_LDATA:
        on_link_data(ev);
        break;
    case SIMPLEX_EV_RCVD:
        on_receipt(ev);
        break;
    case SIMPLEX_EV_CONF:
        check("allow",
              simplex_agent_allow(self.a, simplex_event_conn(ev), simplex_event_conf(ev), info));
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
        if (!expected_error(ev))
            error("event", simplex_event_json(ev));
        break;
    default:
        break;
    }
    (void)pthread_mutex_unlock(&self.lock);
}

/* ---- the main thread ---- */

/* Written together: they leave together, or not at all. */
static void note_pings(struct ping *p, size_t n)
{
    char lines[CONVS * 64];
    size_t len = 0;

    (void)pthread_mutex_lock(&self.lock);
    self.batch++;
    for (size_t k = 0; k < n; k++) {
        struct conv *c = &self.convs[p[k].conv];
        if (c->open) { /* killed in between: the agent may have it, or not */
            c->attempt++;
        } else {
            c->n++;
            c->attempt = 1;
        }
        c->open = true;
        len += (size_t)snprintf(lines + len, sizeof lines - len, "s %ld %ld %ld %ld\n", p[k].conv,
                                c->n, c->attempt, self.batch);
        (void)snprintf(p[k].text, sizeof p[k].text, "ping %ld %ld", c->n, c->attempt);
    }
    write_log(lines);
    (void)pthread_mutex_unlock(&self.lock);
}

static void note_taken(const struct ping *p, simplex_rc rc, int64_t id)
{
    struct conv *c = &self.convs[p->conv];
    char line[128];

    (void)pthread_mutex_lock(&self.lock);
    if (rc == SIMPLEX_OK) {
        (void)snprintf(line, sizeof line, "d %ld %ld %ld %lld\n", p->conv, c->n, c->attempt,
                       (long long)id);
        write_log(line);
        c->open = false;
        c->taken_id = id;
    } else if (rc != SIMPLEX_E_PROHIBITED || !chore(CHORE_SYNC)) {
        check("send", rc);
    }
    (void)pthread_mutex_unlock(&self.lock);
}

static simplex_bytes body_of(const struct ping *p)
{
    return (simplex_bytes){ (const uint8_t *)p->text, strlen(p->text) };
}

static void send_single(struct ping *p)
{
    int64_t id = 0;

    note_pings(p, 1);
    simplex_rc rc = simplex_agent_send(self.a, p->conn, body_of(p), 0, &id);
    note_taken(p, rc, id);
}

static void send_batch(struct ping *p, size_t n)
{
    simplex_batch_message m[CONVS] = { 0 };

    note_pings(p, n);
    for (size_t k = 0; k < n; k++) {
        bool same = k > 0 && strcmp(p[k].text, p[k - 1].text) == 0; /* shared on disk */
        m[k].conn = p[k].conn;
        m[k].body = same ? m[k - 1].body : body_of(&p[k]);
    }
    check("batch", simplex_agent_send_batch(self.a, m, n, sizeof *m, NULL));
    for (size_t k = 0; k < n; k++)
        note_taken(&p[k], m[k].rc, m[k].msg_id);
}

/* When a test waits for us in vain. */
static void explain(long conv, const simplex_connection_info *info)
{
    const struct conv *c = &self.convs[conv];

    (void)fprintf(
        stderr,
        "%c %ld: state %d, sync %d, switch %d %d, subscribed %d, pending %lld, ping %ld.%ld"
        " open %d, answered %ld, taken %lld, received %lld\n",
        self.initiator ? 'I' : 'J', conv, (int)info->state, (int)info->sync_state,
        (int)info->rcv_switch, (int)info->snd_switch, (int)info->subscribed,
        (long long)info->pending, c->n, c->attempt, (int)c->open, c->answered,
        (long long)c->taken_id, (long long)c->received);
}

/* True when nothing is left to do in it. *ping: it is time for one. */
static bool run_conv(long conv, int64_t conn, bool stop, bool *ping)
{
    simplex_connection_info info = { .size = sizeof info };
    struct conv *c = &self.convs[conv];
    bool room, enough, answered;

    check("connection", simplex_agent_connection(self.a, conn, &info));
    if (exists("why"))
        explain(conv, &info);
    if (info.state != SIMPLEX_CONN_READY)
        return false;
    bool calm = do_chore(conv, conn, &info, stop);
    (void)pthread_mutex_lock(&self.lock);
    room = c->n - c->answered < WINDOW;
    enough = c->n >= LEAST;
    answered = c->n == c->answered;
    if (chore(CHORE_SYNC)) {
        room = info.sync_state == SIMPLEX_SYNC_OK && info.pending < WINDOW;
        answered = info.sync_state == SIMPLEX_SYNC_OK;
    } else if (chore(CHORE_RECEIPTS)) {
        answered = answered && c->received >= c->taken_id;
    }
    bool open = c->open;
    (void)pthread_mutex_unlock(&self.lock);
    *ping = (open && (room || !chore(CHORE_SYNC))) || (room && !(stop && enough));
    return calm && answered && enough && !open && info.pending == 0;
}

static bool run(bool stop)
{
    static struct ping pings[CONVS];
    int64_t ids[CONVS];
    size_t n = CONVS, n_pings = 0;
    char text[32] = "0";
    size_t skip = self.owner ? 1 : 0; /* the address is the first one */
    bool finished;

    (void)get_file("goal", -1, text, sizeof text);
    check("connections", simplex_agent_connections(self.a, 0, ids, &n));
    begin((long)n - (long)skip, ids, atol(text));
    finished = stop && (long)n - (long)skip == atol(text);
    for (size_t k = skip; k < n; k++) {
        bool ping = false;
        struct ping *p = &pings[n_pings];
        p->conv = self.owner ? conv_of(ids[k]) : (long)k;
        p->conn = ids[k];
        finished = run_conv(p->conv, p->conn, stop, &ping) && finished;
        n_pings += ping ? 1 : 0;
    }
    if (chore(CHORE_BATCH) && n_pings > 0)
        send_batch(pings, n_pings);
    for (size_t k = 0; k < n_pings && !chore(CHORE_BATCH); k++)
        send_single(&pings[k]);
    return finished && n_pings == 0;
}

/* How many queues we still have on servers. */
static void count_queues(void)
{
    simplex_queue_info q = { .size = sizeof q };
    int64_t ids[CONVS];
    size_t n = CONVS, queues = 0;
    char line[64];

    check("connections", simplex_agent_connections(self.a, 0, ids, &n));
    for (size_t k = 0; k < n; k++) {
        for (size_t nth = 0; simplex_agent_queue(self.a, ids[k], nth, &q) == SIMPLEX_OK; nth++)
            queues += q.direction == SIMPLEX_SWITCH_RCV ? 1 : 0;
    }
    (void)snprintf(line, sizeof line, "q %zu\n", queues);
    write_log(line);
}

/* Until the test says that all has come to rest: the other side may need us. */
static void linger(void)
{
    put_file("done", self.initiator ? 0 : 1, "", 0);
    while (!exists("settled") && getppid() == parent)
        usleep(2000);
    count_queues();
}

int main(int argc, char **argv)
{
    simplex_agent_config cfg = { .size = sizeof cfg,
                                 .db_key = { (const uint8_t *)"0123456789abcdef0123456789abcdef",
                                             32 },
                                 .db_raw_key = true,
                                 .on_event = on_event,
                                 .retry_first = 50,
                                 .retry_max = 200,
                                 .quota_retry_first = 200,
                                 .reconnect_first = 50,
                                 .reconnect_max = 200,
                                 .command_timeout = 1000 };
    char text[32] = "";
    bool stop = false;

    if (argc < 5)
        return 2;
    self.initiator = argv[1][0] == 'I';
    self.dir = argv[2];
    cfg.db_path = argv[3];
    cfg.servers = (const char *const *)&argv[4];
    cfg.n_servers = (size_t)argc - 4;
    (void)get_file("parent", -1, text, sizeof text);
    parent = (pid_t)atol(text); /* which may be gone by now */
    (void)get_file("chores", -1, self.chores, sizeof self.chores);
    self.owner = self.initiator && chore(CHORE_ADDRESS);
    srandom((unsigned)(now_ms() + getpid()));
    if (pthread_mutex_init(&self.lock, NULL) != 0)
        return 2;
    open_log(argv[1]);
    plan_kill(argv[1]);
    (void)pthread_mutex_lock(&self.lock); /* events wait until the handle is known */
    simplex_rc rc = simplex_agent_open(&cfg, &self.a);
    check("open", rc);
    (void)pthread_mutex_unlock(&self.lock);
    if (rc != SIMPLEX_OK)
        return 1;
    do {
        stop = exists("stop");
        set_policy(stop);
        usleep(exists("why") ? 1000000 : 2000);
    } while (!run(stop) && getppid() == parent);
    linger();
    return simplex_agent_close(self.a) == SIMPLEX_OK ? 0 : 1;
}
