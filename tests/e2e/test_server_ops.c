/* SPDX-License-Identifier: Apache-2.0 */
/* What an operator sees of a running server: metrics, statistics over a restart, control port. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "stats_file.h"
#include "support/running_server.h"

#define ADMIN_PASSWORD "admin-secret"
#define USER_PASSWORD "user-secret"

/* ---- fixture ---- */

struct server {
    simplex_server *s;
    simplex_server_config cfg;
    char dir[64];
    uint8_t key_hash[32];
    struct smp_peer_cfg peer;
};

static void start(struct server *t)
{
    t->s = run_server(&t->cfg, t->key_hash, &t->peer);
}

static void open_server(struct server *t)
{
    memset(t, 0, sizeof(*t));
    snprintf(t->dir, sizeof(t->dir), "/tmp/sx-ops-XXXXXX");
    assert_non_null(mkdtemp(t->dir));
    prompt_config(&t->cfg, 2);
    t->cfg.stats_dir = t->dir;
    t->cfg.daily_stats = true;
    t->cfg.metrics_interval_ms = 200;
    t->cfg.metrics_http = true;
    t->cfg.control = true;
    t->cfg.control_admin = ADMIN_PASSWORD;
    t->cfg.control_user = USER_PASSWORD;
    t->cfg.control_block_quota = 1;
    start(t);
}

/* The directory may hold the journal, which is one of files. */
static void remove_tree(const char *path, int depth)
{
    DIR *d = depth == 0 ? NULL : opendir(path);
    char inner[SX_PATH_MAX];

    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        assert_true(sx_path_join(inner, path, e->d_name));
        remove_tree(inner, depth - 1);
    }
    if (d != NULL)
        closedir(d);
    assert_int_equal(remove(path), 0);
}

static void close_server(struct server *t)
{
    simplex_server_stop(t->s);
    remove_tree(t->dir, 2);
}

static const struct sx_rsp *send_text(struct smp_peer *p, const struct queue *q, const char *text)
{
    struct sx_cmd c = { .tag = SX_SEND, .send = { .body = sx_str(text) } };
    const struct sx_rsp *r = smp_peer_cmd(p, NULL, sx_bytes(q->snd_id, 24), &c);

    assert_non_null(r);
    return r;
}

static char *id_text(const uint8_t id[24], char to[40])
{
    struct sx_wr w;

    sx_wr_fixed(&w, to, 40);
    sx_b64url_encode(&w, sx_bytes(id, 24));
    sx_wr_u8(&w, 0);
    assert_false(w.bad);
    return to;
}

/* ---- a client of text ports ---- */

struct text_client {
    int fd;
    char in[1 << 20];
    size_t have;
};

static int connect_to(uint16_t port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    return fd;
}

static struct text_client *text_open(uint16_t port)
{
    struct text_client *c = calloc(1, sizeof(*c));

    assert_non_null(c);
    assert_true(port != 0);
    c->fd = connect_to(port);
    return c;
}

static void text_close(struct text_client *c)
{
    close(c->fd);
    free(c);
}

static void text_send(struct text_client *c, const char *text)
{
    size_t n = strlen(text);

    assert_int_equal(send(c->fd, text, n, MSG_NOSIGNAL), (ssize_t)n);
}

/* Reads on; false: closed, or nothing came within the time. */
static bool text_more(struct text_client *c, int timeout_ms)
{
    struct pollfd p = { .fd = c->fd, .events = POLLIN };

    if (poll(&p, 1, timeout_ms) <= 0)
        return false;
    ssize_t n = recv(c->fd, c->in + c->have, sizeof(c->in) - 1 - c->have, 0);
    if (n <= 0)
        return false;
    c->have += (size_t)n;
    c->in[c->have] = 0;
    return true;
}

static bool text_closed(struct text_client *c, int timeout_ms)
{
    struct pollfd p = { .fd = c->fd, .events = POLLIN };
    char byte;

    while (poll(&p, 1, timeout_ms) > 0) {
        ssize_t n = recv(c->fd, &byte, 1, 0);
        if (n <= 0)
            return true;
    }
    return false;
}

/* The next line, without its end. */
static const char *text_line(struct text_client *c)
{
    static char line[4096];
    char *lf;

    while ((lf = memchr(c->in, '\n', c->have)) == NULL)
        assert_true(text_more(c, 10000));
    size_t n = (size_t)(lf - c->in);
    assert_true(n < sizeof(line));
    memcpy(line, c->in, n);
    line[n] = 0;
    c->have -= n + 1;
    memmove(c->in, lf + 1, c->have);
    return line;
}

static const char *ask(struct text_client *c, const char *fmt, const char *arg)
{
    char text[300];

    snprintf(text, sizeof(text), fmt, arg);
    strcat(text, "\n");
    text_send(c, text);
    return text_line(c);
}

static void assert_starts(const char *line, const char *with)
{
    if (strncmp(line, with, strlen(with)) != 0)
        fail_msg("\"%s\" instead of \"%s\"", line, with);
}

/* Lines up to the one that starts so. */
static void skip_to(struct text_client *c, const char *with)
{
    while (strncmp(text_line(c), with, strlen(with)) != 0)
        ;
}

static struct text_client *control(struct server *t, const char *password)
{
    struct text_client *c = text_open(simplex_server_control_port(t->s));

    assert_string_equal(text_line(c), "SMP server control port");
    assert_string_equal(text_line(c), "'help' for supported commands");
    if (password != NULL)
        assert_starts(ask(c, "auth %s", password), "Current role is CPR");
    return c;
}

/* ---- metrics ---- */

static char *get(struct server *t, const char *request)
{
    struct text_client *c = text_open(simplex_server_metrics_port(t->s));

    text_send(c, request);
    while (text_more(c, 10000))
        ;
    assert_true(text_closed(c, 0)); /* one request a connection */
    char *answer = strdup(c->in);
    text_close(c);
    assert_non_null(answer);
    return answer;
}

/* testPrometheusMetrics */
static void writes_metrics_to_a_file(void **state)
{
    struct server t;
    struct sx_errtext none = { NULL, 0 };
    struct sx_wr w;

    (void)state;
    open_server(&t);
    for (int i = 0; i < 500 && !sx_file_exists(t.dir, "smp-server-metrics.txt"); i++)
        usleep(10000);
    sx_wr_init(&w, 1 << 20);
    assert_int_equal(sx_file_read(t.dir, "smp-server-metrics.txt", &w, &none), SIMPLEX_OK);
    sx_wr_u8(&w, 0);
    assert_non_null(strstr((char *)w.p, "\nsimplex_smp_queues_total1 0\n"));
    assert_non_null(strstr((char *)w.p, "\nsimplex_smp_threads_total 4\n"));
    sx_wr_free(&w);
    close_server(&t);
}

static void answers_prometheus_over_http(void **state)
{
    struct server t;
    struct smp_peer p;
    struct queue q;

    (void)state;
    open_server(&t);
    assert_int_equal(smp_peer_open(&p, &t.peer), SIMPLEX_OK);
    new_queue(&p, &q, SX_ED25519, true);
    assert_int_equal(send_text(&p, &q, "hello")->tag, SX_R_OK);
    char *text = get(&t, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_starts(text, "HTTP/1.1 200 OK\r\n");
    char *body = strstr(text, "\r\n\r\n") + 4, *length = strstr(text, "Content-Length: ") + 16;
    assert_int_equal(strlen(body), strtoul(length, NULL, 10));
    assert_non_null(strstr(body, "\nsimplex_smp_messages_sent 1\n"));
    assert_non_null(strstr(body, "\nsimplex_smp_queues_created 1\n"));
    assert_non_null(strstr(body, "\nsimplex_smp_subscribtion_total 1\n"));
    assert_non_null(strstr(body, "\nsimplex_smp_clients_total 1\n"));
    assert_null(strstr(body, "\nsimplex_smp_resident_memory_bytes 0\n"));
    free(text);
    text = get(&t, "HEAD /metrics HTTP/1.1\r\n\r\n");
    assert_starts(text, "HTTP/1.1 200 OK\r\n");
    assert_string_equal(strstr(text, "\r\n\r\n"), "\r\n\r\n");
    free(text);
    text = get(&t, "GET / HTTP/1.1\r\n\r\n");
    assert_starts(text, "HTTP/1.1 404 ");
    free(text);
    text = get(&t, "\x16\x03\x01 not HTTP\n");
    assert_starts(text, "HTTP/1.1 400 ");
    free(text);
    smp_peer_close(&p);
    close_server(&t);
}

/* The value of a sample, asked for until it is at least `least`. */
static unsigned long metric_from(struct server *t, const char *name, unsigned long least)
{
    char line[100];

    snprintf(line, sizeof(line), "\nsimplex_smp_%s ", name);
    for (int i = 0;; i++) {
        char *text = get(t, "GET /metrics HTTP/1.1\r\n\r\n"), *at = strstr(text, line);
        assert_non_null(at);
        unsigned long v = strtoul(at + strlen(line), NULL, 10);
        free(text);
        if (v >= least)
            return v;
        if (i == 500)
            fail_msg("%s stays at %lu", name, v);
        usleep(20000);
    }
}

static void tells_how_long_messages_wait_for_their_ack(void **state)
{
    static const char pending[] = "delivery_ack_pending_count{period=\"0-60\"}";
    struct server t;
    struct smp_peer p;
    struct queue q;

    (void)state;
    open_server(&t);
    assert_int_equal(smp_peer_open(&p, &t.peer), SIMPLEX_OK);
    new_queue(&p, &q, SX_ED25519, true);
    assert_int_equal(metric_from(&t, pending, 0), 0);
    assert_int_equal(metric_from(&t, "delivery_ack_time_max", 0), 0);
    assert_int_equal(send_text(&p, &q, "hello")->tag, SX_R_OK);
    assert_int_equal(metric_from(&t, pending, 1), 1);
    assert_in_range(metric_from(&t, "delivery_ack_time_max", 1), 1, 60);
    assert_in_range(metric_from(&t, "delivery_ack_time_sum", 1), 1, 60);
    assert_int_equal(metric_from(&t, "delivery_ack_time_count", 1), 1);
    smp_peer_close(&p); /* nobody has to acknowledge it any more */
    for (int i = 0; metric_from(&t, pending, 0) != 0; i++) {
        assert_true(i < 500);
        usleep(20000);
    }
    assert_int_equal(metric_from(&t, "delivery_ack_time_count", 0), 0);
    close_server(&t);
}

static void limits_what_http_clients_hold(void **state)
{
    struct server t;
    int fd[40];

    (void)state;
    open_server(&t);
    for (size_t i = 0; i < SX_COUNT(fd); i++) {
        fd[i] = connect_to(simplex_server_metrics_port(t.s));
        assert_int_equal(send(fd[i], "GET ", 4, MSG_NOSIGNAL), 4);
    }
    usleep(200000);
    unsigned closed = 0;
    for (size_t i = 0; i < SX_COUNT(fd); i++) {
        char byte;
        closed += recv(fd[i], &byte, 1, MSG_DONTWAIT) == 0 || errno == ECONNRESET;
        errno = 0;
    }
    assert_int_equal(closed, SX_COUNT(fd) - 16);
    for (size_t i = 0; i < SX_COUNT(fd); i++)
        close(fd[i]);
    usleep(200000);
    char *text = get(&t, "GET /metrics HTTP/1.1\r\n\r\n"); /* there is room again */
    assert_starts(text, "HTTP/1.1 200 OK\r\n");
    free(text);
    struct text_client *c = text_open(simplex_server_metrics_port(t.s));
    text_send(c, "GET /metrics HTTP/1.1\r\n");
    int64_t before = sx_mono_ms();
    assert_true(text_closed(c, 15000)); /* a head that never ends */
    assert_true(sx_mono_ms() - before > 3000);
    text_close(c);
    close_server(&t);
}

/* ---- statistics ---- */

static void keeps_statistics_over_a_restart(void **state)
{
    struct server t;
    struct smp_peer p;
    struct queue q;

    (void)state;
    open_server(&t);
    assert_int_equal(smp_peer_open(&p, &t.peer), SIMPLEX_OK);
    new_queue(&p, &q, SX_ED25519, true);
    assert_int_equal(send_text(&p, &q, "hello")->tag, SX_R_OK);
    smp_peer_close(&p);
    simplex_server_stop(t.s);
    assert_true(sx_file_exists(t.dir, SX_STATS_FILE));
    start(&t);
    assert_false(sx_file_exists(t.dir, SX_STATS_FILE));
    assert_true(sx_file_exists(t.dir, SX_STATS_FILE_OLD));
    char *text = get(&t, "GET /metrics HTTP/1.1\r\n\r\n");
    assert_non_null(strstr(text, "\nsimplex_smp_messages_sent 1\n"));
    assert_non_null(strstr(text, "\nsimplex_smp_queues_daily 1\n"));
    free(text);
    close_server(&t);
}

static void writes_the_line_of_a_day_it_was_stopped_on(void **state)
{
    struct server t;
    struct sx_errtext none = { NULL, 0 };
    struct sx_wr w;
    char path[SX_PATH_MAX], date[16];
    time_t yesterday = time(NULL) - 86400;
    struct timespec times[2] = { { .tv_sec = yesterday }, { .tv_sec = yesterday } };

    (void)state;
    open_server(&t);
    simplex_server_stop(t.s);
    assert_true(strftime(date, sizeof(date), "%Y-%m-%d", gmtime(&yesterday)) == 10);
    char text[200];
    snprintf(text, sizeof(text), "fromTime=%sT00:00:00Z\nqCreated=7\n", date);
    assert_int_equal(sx_file_write(t.dir, SX_STATS_FILE, sx_str(text), 0600, &none), SIMPLEX_OK);
    assert_true(sx_path_join(path, t.dir, SX_STATS_FILE));
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    start(&t);
    for (int i = 0; i < 500 && !sx_file_exists(t.dir, SX_STATS_DAILY_FILE); i++)
        usleep(10000);
    usleep(50000);
    sx_wr_init(&w, 4096);
    assert_int_equal(sx_file_read(t.dir, SX_STATS_DAILY_FILE, &w, &none), SIMPLEX_OK);
    sx_wr_u8(&w, 0);
    snprintf(text, sizeof(text), "%s,7,0,0,", date);
    assert_starts((char *)w.p, text);
    sx_wr_free(&w);
    char *metrics = get(&t, "GET /metrics HTTP/1.1\r\n\r\n"); /* counted anew since then */
    assert_non_null(strstr(metrics, "\nsimplex_smp_queues_created 0\n"));
    free(metrics);
    close_server(&t);
}

static void starts_with_a_damaged_file_of_statistics(void **state)
{
    struct server t;
    struct sx_errtext none = { NULL, 0 };
    static const uint8_t garbage[] = "qCreated=5\n\0\xff=\nmsgSent=12";

    (void)state;
    open_server(&t);
    simplex_server_stop(t.s);
    assert_int_equal(
        sx_file_write(t.dir, SX_STATS_FILE, sx_bytes(garbage, sizeof(garbage)), 0600, &none),
        SIMPLEX_OK);
    start(&t);
    char *text = get(&t, "GET /metrics HTTP/1.1\r\n\r\n");
    assert_non_null(strstr(text, "\nsimplex_smp_queues_created 5\n"));
    assert_non_null(strstr(text, "\nsimplex_smp_messages_sent 0\n"));
    free(text);
    close_server(&t);
}

/* ---- the control port ---- */

static void gives_roles_for_passwords(void **state)
{
    struct server t;

    (void)state;
    open_server(&t);
    struct text_client *c = control(&t, NULL);
    assert_string_equal(ask(c, "stats", ""), "AUTH");
    assert_string_equal(ask(c, "clients", ""), "AUTH");
    assert_string_equal(ask(c, "save", ""), "AUTH");
    assert_starts(ask(c, "status %s", "AAAA"), "AUTH");
    assert_starts(ask(c, "help", ""), "commands: auth, stats, ");
    assert_starts(ask(c, "stats-rts", ""), "there is no run-time system");
    skip_to(c, "memory: ");
    int64_t before = sx_mono_ms();
    assert_string_equal(ask(c, "auth %s", "wrong"), "Current role is CPRNone");
    assert_true(sx_mono_ms() - before >= 1900);
    assert_string_equal(ask(c, "auth %s", USER_PASSWORD), "Current role is CPRUser");
    assert_string_equal(ask(c, "auth %s", ADMIN_PASSWORD), "Current role is CPRUser"); /* fixed */
    assert_starts(ask(c, "stats", ""), "fromTime: 20");
    skip_to(c, "ntfServiceQueuesCount: 0");
    assert_starts(ask(c, "sockets", ""), "Sockets for port ");
    skip_to(c, "active: 0");
    assert_string_equal(ask(c, "server-info", ""), "Threads: 4");
    skip_to(c, "Ntf subscribed services: 0");
    assert_string_equal(ask(c, "clients", ""), "AUTH");
    assert_string_equal(ask(c, "threads", ""), "AUTH");
    assert_string_equal(ask(c, "delete %s", "AAAA"), "AUTH");
    text_close(c);
    c = control(&t, ADMIN_PASSWORD);
    assert_string_equal(ask(c, "threads\r", ""), "Threads: 4");
    skip_to(c, "operator: ");
    assert_string_equal(ask(c, "save", ""), "saving server state...");
    assert_string_equal(text_line(c), "server state saved!");
    assert_true(sx_file_exists(t.dir, SX_STATS_FILE));
    assert_starts(ask(c, "socket-threads", ""), "");
    text_line(c);
    assert_starts(ask(c, "suspend", ""), "error: not offered");
    text_send(c, "quit\n");
    assert_true(text_closed(c, 5000));
    text_close(c);
    close_server(&t);
}

static void lists_clients(void **state)
{
    struct server t;
    struct smp_peer p[3];
    struct queue q;

    (void)state;
    open_server(&t);
    for (size_t i = 0; i < SX_COUNT(p); i++)
        assert_int_equal(smp_peer_open(&p[i], &t.peer), SIMPLEX_OK);
    new_queue(&p[1], &q, SX_ED25519, true);
    struct text_client *c = control(&t, ADMIN_PASSWORD);
    assert_string_equal(ask(c, "clients", ""),
                        "clientId,sessionId,connected,age,idle,subscriptions");
    unsigned subscribed = 0;
    for (unsigned i = 1; i <= SX_COUNT(p); i++) {
        char number[8];
        const char *line = text_line(c);
        snprintf(number, sizeof(number), "%u,", i);
        assert_starts(line, number);
        assert_non_null(strstr(line, ",True,"));
        subscribed += (unsigned)atoi(strrchr(line, ',') + 1);
    }
    assert_int_equal(subscribed, 1);
    text_close(c);
    for (size_t i = 0; i < SX_COUNT(p); i++)
        smp_peer_close(&p[i]);
    close_server(&t);
}

static void blocks_and_unblocks_a_queue(void **state)
{
    struct server t;
    struct smp_peer rcv, snd;
    struct queue q, r;
    char id[40];

    (void)state;
    open_server(&t);
    assert_int_equal(smp_peer_open(&rcv, &t.peer), SIMPLEX_OK);
    assert_int_equal(smp_peer_open(&snd, &t.peer), SIMPLEX_OK);
    new_queue(&rcv, &q, SX_ED25519, true);
    new_queue(&rcv, &r, SX_ED25519, true);
    struct text_client *user = control(&t, USER_PASSWORD), *admin = control(&t, ADMIN_PASSWORD);
    assert_starts(ask(user, "status %s", id_text(q.snd_id, id)), "status: active, updatedAt: ");
    assert_string_equal(ask(user, "unblock %s", id), "error: the queue is not blocked");
    assert_string_equal(ask(user, "block %s reason=fun", id),
                        "error: write reason=spam or reason=content");
    assert_string_equal(ask(user, "block %s reason=content", id), "ok, queue blocked");
    const struct smp_item *event = smp_peer_event(&rcv, 10000); /* the recipient is told */
    assert_non_null(event);
    assert_true(sx_bytes_eq(event->t.entity_id, sx_bytes(q.rcv_id, 24)));
    assert_int_equal(event->rsp.tag, SX_R_ERR);
    assert_int_equal(event->rsp.err.err, SX_ERR_BLOCKED);
    assert_int_equal(event->rsp.err.blocked, SX_BLOCKED_CONTENT);
    assert_int_equal(send_text(&snd, &q, "x")->err.err, SX_ERR_BLOCKED);
    assert_starts(ask(user, "status %s", id), "status: blocked,reason=content, ");
    assert_string_equal(ask(user, "block %s reason=content", id), "ok, it was blocked before");
    assert_starts(ask(user, "block %s reason=spam", id_text(r.snd_id, id)),
                  "error: daily_block_queue_quota is used up");
    assert_string_equal(ask(admin, "block %s reason=spam", id), "ok, queue blocked");
    assert_string_equal(ask(user, "unblock %s", id), "ok, queue unblocked");
    assert_string_equal(ask(user, "unblock %s", id_text(q.snd_id, id)), "ok, queue unblocked");
    assert_int_equal(send_text(&snd, &q, "again")->tag, SX_R_OK);
    char *text = get(&t, "GET /metrics HTTP/1.1\r\n\r\n");
    assert_non_null(strstr(text, "\nsimplex_smp_queues_blocked 2\n"));
    assert_non_null(strstr(text, "\nsimplex_smp_messages_sent_errors{type=\"block\"} 1\n"));
    free(text);
    text_close(user);
    text_close(admin);
    smp_peer_close(&rcv);
    smp_peer_close(&snd);
    close_server(&t);
}

static void deletes_a_queue(void **state)
{
    struct server t;
    struct smp_peer rcv, snd;
    struct queue q;
    char id[40];

    (void)state;
    open_server(&t);
    assert_int_equal(smp_peer_open(&rcv, &t.peer), SIMPLEX_OK);
    assert_int_equal(smp_peer_open(&snd, &t.peer), SIMPLEX_OK);
    new_queue(&rcv, &q, SX_ED25519, true);
    assert_int_equal(send_text(&snd, &q, "one")->tag, SX_R_OK);
    assert_int_equal(send_text(&snd, &q, "two")->tag, SX_R_OK);
    assert_int_equal(smp_peer_event(&rcv, 10000)->rsp.tag, SX_R_MSG);
    struct text_client *c = control(&t, ADMIN_PASSWORD);
    assert_string_equal(ask(c, "delete %s", id_text(q.snd_id, id)), "ok, 2 messages deleted");
    const struct smp_item *event = smp_peer_event(&rcv, 10000);
    assert_non_null(event);
    assert_int_equal(event->rsp.tag, SX_R_DELD);
    assert_int_equal(send_text(&snd, &q, "x")->err.err, SX_ERR_AUTH);
    assert_string_equal(ask(c, "delete %s", id), "error: AUTH");
    text_close(c);
    smp_peer_close(&rcv);
    smp_peer_close(&snd);
    close_server(&t);
}

/* With the state on disk: "ok" means that it is there. */
static enum sx_err seen(const struct server *t, uint16_t version, const struct queue *q,
                        struct sx_smp_err *err)
{
    struct smp_peer_cfg cfg = t->peer;
    struct smp_peer p;

    cfg.max = version;
    assert_int_equal(smp_peer_open(&p, &cfg), SIMPLEX_OK);
    const struct sx_rsp *r = send_text(&p, q, "x");
    assert_int_equal(r->tag, SX_R_ERR);
    *err = r->err;
    smp_peer_close(&p);
    return (enum sx_err)err->err;
}

static void blocks_with_a_notice(void **state)
{
    static const char *const wrong[] = {
        "spam",
        "reason=",
        "reason=spamx",
        "reason=spam,",
        "reason=spam,x",
        "Reason=spam",
        "reason=spam,notice=",
        "reason=spam,notice={",
        "reason=spam,notice={\"ttl\":}",
        "reason=spam,notice={\"ttl\":\"1\"}",
        "reason=spam,notice={\"ttl\":1}}",
        "reason=spam,notice={\"ttl\":99999999999999999999}",
        "reason=spam,notice=[1]",
        "reason=spam,notice={\"ttl\":1}reason=spam",
    };
    struct server t;
    struct smp_peer rcv;
    struct sx_smp_err err;
    struct queue q;
    char id[40];

    (void)state;
    open_server(&t);
    simplex_server_stop(t.s);
    t.cfg.state_dir = t.dir;
    start(&t);
    assert_int_equal(smp_peer_open(&rcv, &t.peer), SIMPLEX_OK);
    new_queue(&rcv, &q, SX_ED25519, true);
    struct text_client *admin = control(&t, ADMIN_PASSWORD);
    id_text(q.snd_id, id);
    for (size_t i = 0; i < SX_COUNT(wrong); i++) {
        char line[128];
        snprintf(line, sizeof(line), "block %s %s", id, wrong[i]);
        assert_starts(ask(admin, "%s", line), "error: write reason=spam");
    }
    assert_starts(ask(admin, "status %s", id), "status: active, ");
    assert_string_equal(ask(admin, "block %s reason=spam,notice={\"ttl\":86400}", id),
                        "ok, queue blocked");
    const struct smp_item *event = smp_peer_event(&rcv, 10000);
    assert_non_null(event);
    assert_int_equal(event->rsp.err.err, SX_ERR_BLOCKED);
    assert_true(event->rsp.err.has_notice && event->rsp.err.has_ttl);
    assert_int_equal(event->rsp.err.ttl, 86400);
    smp_peer_close(&rcv);
    assert_starts(ask(admin, "status %s", id),
                  "status: blocked,reason=spam,notice={\"ttl\":86400}, ");
    assert_string_equal(ask(admin, "block %s reason=spam,notice={\"ttl\":86400}", id),
                        "ok, it was blocked before");
    assert_string_equal(ask(admin, "block %s reason=content,notice={}", id), "ok, queue blocked");
    text_close(admin);
    simplex_server_stop(t.s);
    start(&t); /* the store log has the notice */
    assert_int_equal(seen(&t, 19, &q, &err), SX_ERR_BLOCKED);
    assert_int_equal(err.blocked, SX_BLOCKED_CONTENT);
    assert_true(err.has_notice && !err.has_ttl);
    assert_int_equal(seen(&t, 17, &q, &err), SX_ERR_BLOCKED);
    assert_int_equal(err.blocked, SX_BLOCKED_CONTENT);
    assert_false(err.has_notice);
    assert_int_equal(seen(&t, 11, &q, &err), SX_ERR_AUTH);
    admin = control(&t, ADMIN_PASSWORD);
    assert_string_equal(ask(admin, "unblock %s", id), "ok, queue unblocked");
    text_close(admin);
    close_server(&t);
}

/* What is reported is often a link: its id is as good as the sender's. */
static void finds_a_queue_by_its_link(void **state)
{
    struct server t;
    struct smp_peer p;
    uint8_t corr[24] = { 7 }, hash[48], link[24] = { 9 };
    struct sx_keypair rcv, dh;
    struct sx_cmd c = { .tag = SX_NEW }, lget = { .tag = SX_LGET };
    char id[40];

    (void)state;
    open_server(&t);
    assert_int_equal(smp_peer_open(&p, &t.peer), SIMPLEX_OK);
    assert_int_equal(sx_keypair_new(SX_ED25519, &rcv), SIMPLEX_OK);
    assert_int_equal(sx_keypair_new(SX_X25519, &dh), SIMPLEX_OK);
    sx_sha3_384(sx_bytes(corr, sizeof(corr)), hash);
    c.new_.auth = rcv.pub;
    c.new_.dh = dh.pub;
    c.new_.mode = SX_MODE_CONTACT;
    c.new_.has_link = true;
    c.new_.snd_id = sx_bytes(hash, 24);
    c.new_.link_id = sx_bytes(link, 24);
    const struct sx_rsp *r = smp_peer_cmd_corr(&p, &rcv, corr, sx_bytes(NULL, 0), &c);
    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_IDS);
    uint8_t rcv_id[24];
    memcpy(rcv_id, r->ids.rcv_id.ptr, 24);
    assert_int_equal(smp_peer_cmd(&p, NULL, sx_bytes(link, 24), &lget)->tag, SX_R_LNK);
    struct text_client *admin = control(&t, ADMIN_PASSWORD);
    assert_string_equal(ask(admin, "block %s reason=spam", id_text(link, id)), "ok, queue blocked");
    assert_int_equal(smp_peer_cmd(&p, NULL, sx_bytes(link, 24), &lget)->err.err, SX_ERR_BLOCKED);
    assert_string_equal(ask(admin, "status %s", id_text(rcv_id, id)), "error: AUTH");
    assert_string_equal(ask(admin, "delete %s", id_text(link, id)), "ok, 0 messages deleted");
    assert_int_equal(smp_peer_cmd(&p, NULL, sx_bytes(link, 24), &lget)->err.err, SX_ERR_AUTH);
    text_close(admin);
    smp_peer_close(&p);
    close_server(&t);
}

static void saves_messages_in_memory_when_told_to(void **state)
{
    struct server t;
    struct smp_peer p;
    struct queue q;

    (void)state;
    open_server(&t);
    simplex_server_stop(t.s);
    t.cfg.state_dir = t.dir;
    t.cfg.messages_in_memory = true;
    start(&t);
    assert_int_equal(smp_peer_open(&p, &t.peer), SIMPLEX_OK);
    new_queue(&p, &q, SX_ED25519, true);
    assert_int_equal(send_text(&p, &q, "kept")->tag, SX_R_OK);
    struct text_client *c = control(&t, ADMIN_PASSWORD);
    assert_string_equal(ask(c, "save", ""), "saving server state...");
    assert_string_equal(text_line(c), "server state saved!");
    assert_true(sx_file_exists(t.dir, SX_STATS_FILE));
    assert_true(sx_file_exists(t.dir, "smp-server-messages.log"));
    text_close(c);
    smp_peer_close(&p);
    close_server(&t);
}

static void blocks_for_good_when_the_state_is_kept(void **state)
{
    struct server t;
    struct smp_peer p;
    struct queue q;
    char id[40];

    (void)state;
    open_server(&t);
    simplex_server_stop(t.s);
    t.cfg.state_dir = t.dir;
    start(&t);
    assert_int_equal(smp_peer_open(&p, &t.peer), SIMPLEX_OK);
    new_queue(&p, &q, SX_ED25519, true);
    assert_int_equal(send_text(&p, &q, "kept")->tag, SX_R_OK);
    struct text_client *c = control(&t, ADMIN_PASSWORD);
    assert_string_equal(ask(c, "block %s reason=spam", id_text(q.snd_id, id)), "ok, queue blocked");
    char *text = get(&t, "GET /metrics HTTP/1.1\r\n\r\n");
    assert_null(strstr(text, "\nsimplex_smp_commits_total 0\n"));
    assert_non_null(strstr(text, "\nsimplex_smp_commit_failures_total 0\n"));
    assert_non_null(strstr(text, "\nsimplex_smp_journal_bytes{state=\"live\"} "));
    assert_null(strstr(text, "\nsimplex_smp_journal_bytes{state=\"live\"} 0\n"));
    free(text);
    text_close(c);
    smp_peer_close(&p);
    simplex_server_stop(t.s);
    start(&t);
    c = control(&t, USER_PASSWORD);
    assert_starts(ask(c, "status %s", id), "status: blocked,reason=spam, updatedAt: 20");
    text_close(c);
    c = control(&t, ADMIN_PASSWORD);
    assert_string_equal(ask(c, "delete %s", id), "ok, 1 messages deleted");
    text_close(c);
    simplex_server_stop(t.s);
    start(&t);
    c = control(&t, USER_PASSWORD);
    assert_string_equal(ask(c, "status %s", id), "error: AUTH");
    text_close(c);
    close_server(&t);
}

static void refuses_garbage_on_the_control_port(void **state)
{
    static char line[5000];
    struct server t;

    (void)state;
    open_server(&t);
    struct text_client *c = control(&t, ADMIN_PASSWORD);
    assert_starts(ask(c, "%s", "nonsense"), "error: unknown command");
    assert_starts(ask(c, "stats now", ""), "error: wrong number of words");
    assert_starts(ask(c, "block", ""), "error: wrong number of words");
    assert_starts(ask(c, "status %s", "not*base64"), "error: this is not the id");
    assert_starts(ask(c, "status %s", "QUJD"), "error: this is not the id");
    assert_starts(ask(c, "status %s", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), "error: AUTH");
    assert_starts(ask(c, "a b c d e f g h i j k l", ""), "error: unknown command");
    text_send(c, "\n\r\n  \n\x01\xff\n"); /* empty lines are no commands */
    assert_starts(text_line(c), "error: unknown command");
    memset(line, 'x', sizeof(line) - 1);
    send(c->fd, line, sizeof(line) - 1, MSG_NOSIGNAL);
    assert_true(text_closed(c, 5000)); /* a line too long */
    text_close(c);
    c = control(&t, NULL);
    for (int i = 0; i < 50; i++) /* many lines at once: one answer after the other */
        text_send(c, "help\n");
    for (int i = 0; i < 50; i++)
        assert_starts(text_line(c), "commands: ");
    text_close(c);
    close_server(&t);
}

static void limits_the_sessions_of_the_control_port(void **state)
{
    struct server t;
    struct text_client *c[9];

    (void)state;
    open_server(&t);
    for (size_t i = 0; i < 8; i++)
        c[i] = control(&t, NULL);
    c[8] = text_open(simplex_server_control_port(t.s));
    assert_true(text_closed(c[8], 5000));
    for (size_t i = 0; i < SX_COUNT(c); i++)
        text_close(c[i]);
    close_server(&t);
}

static void changes_passwords_while_running(void **state)
{
    struct server t;

    (void)state;
    open_server(&t);
    t.cfg.control_admin = "new";
    t.cfg.control_user = NULL;
    assert_int_equal(simplex_server_reload(t.s, &t.cfg), SIMPLEX_OK);
    struct text_client *c = control(&t, NULL);
    assert_string_equal(ask(c, "auth %s", USER_PASSWORD), "Current role is CPRNone");
    assert_string_equal(ask(c, "auth %s", "new"), "Current role is CPRAdmin");
    text_close(c);
    close_server(&t);
}

static void says_which_port_is_taken(void **state)
{
    struct server t;
    simplex_server *second;
    char error[300] = "";

    (void)state;
    open_server(&t);
    simplex_server_config cfg = t.cfg;
    cfg.stats_dir = NULL;
    cfg.control_port = simplex_server_control_port(t.s);
    cfg.error = error;
    cfg.error_size = sizeof(error);
    assert_int_equal(simplex_server_start(&cfg, &second), SIMPLEX_E_SYSTEM);
    assert_non_null(strstr(error, "127.0.0.1 port"));
    assert_non_null(strstr(error, "another program has this port"));
    close_server(&t);
}

/* Sessions that hang about, and clients in the middle of something, do not keep it from ending. */
static void stops_with_everything_open(void **state)
{
    struct server t;
    struct smp_peer p;

    (void)state;
    open_server(&t);
    assert_int_equal(smp_peer_open(&p, &t.peer), SIMPLEX_OK);
    struct text_client *c = control(&t, ADMIN_PASSWORD);
    struct text_client *wrong = control(&t, NULL);
    struct text_client *h = text_open(simplex_server_metrics_port(t.s));
    text_send(wrong, "auth wrong\n");
    text_send(h, "GET /metrics");
    text_send(c, "clients\nclients\nclients\n");
    usleep(20000);
    close_server(&t);
    text_close(c);
    text_close(wrong);
    text_close(h);
    smp_peer_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_metrics_to_a_file),
        cmocka_unit_test(answers_prometheus_over_http),
        cmocka_unit_test(tells_how_long_messages_wait_for_their_ack),
        cmocka_unit_test(limits_what_http_clients_hold),
        cmocka_unit_test(keeps_statistics_over_a_restart),
        cmocka_unit_test(writes_the_line_of_a_day_it_was_stopped_on),
        cmocka_unit_test(starts_with_a_damaged_file_of_statistics),
        cmocka_unit_test(gives_roles_for_passwords),
        cmocka_unit_test(lists_clients),
        cmocka_unit_test(blocks_and_unblocks_a_queue),
        cmocka_unit_test(deletes_a_queue),
        cmocka_unit_test(blocks_with_a_notice),
        cmocka_unit_test(finds_a_queue_by_its_link),
        cmocka_unit_test(saves_messages_in_memory_when_told_to),
        cmocka_unit_test(blocks_for_good_when_the_state_is_kept),
        cmocka_unit_test(refuses_garbage_on_the_control_port),
        cmocka_unit_test(limits_the_sessions_of_the_control_port),
        cmocka_unit_test(changes_passwords_while_running),
        cmocka_unit_test(says_which_port_is_taken),
        cmocka_unit_test(stops_with_everything_open),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
