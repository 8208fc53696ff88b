/* SPDX-License-Identifier: Apache-2.0 */
#include "ops_stage.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "file.h"

/* Counters and the quota of a day begin anew when it does, which is not to happen in a test. */
static void keep_away_from_midnight(void)
{
    while (time(NULL) % 86400 >= 86400 - 60)
        sleep(1);
}

void make_server(struct server *t)
{
    keep_away_from_midnight();
    memset(t, 0, sizeof(*t));
    snprintf(t->dir, sizeof(t->dir), "/tmp/sx-ops-XXXXXX");
    assert_non_null(mkdtemp(t->dir));
    simplex_server_config_init(&t->cfg);
    t->cfg.threads = 2;
}

void start(struct server *t)
{
    t->s = run_server(&t->cfg, t->key_hash, &t->peer);
}

void restart(struct server *t)
{
    simplex_server_stop(t->s);
    start(t);
}

static void make_ops_server(struct server *t)
{
    make_server(t);
    prompt_config(&t->cfg, 2);
    t->cfg.stats_dir = t->dir;
    t->cfg.daily_stats = true;
    t->cfg.metrics_interval_ms = 200;
    t->cfg.metrics_http = true;
    t->cfg.control = true;
    t->cfg.control_admin = ADMIN_PASSWORD;
    t->cfg.control_user = USER_PASSWORD;
    t->cfg.control_block_quota = 1;
}

void open_server(struct server *t)
{
    make_ops_server(t);
    start(t);
}

void open_kept_server(struct server *t, bool messages_in_memory)
{
    make_ops_server(t);
    t->cfg.state_dir = t->dir;
    t->cfg.messages_in_memory = messages_in_memory;
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

void close_server(struct server *t)
{
    simplex_server_stop(t->s);
    remove_tree(t->dir, 2);
}

void open_peer(const struct server *t, struct smp_peer *p)
{
    assert_int_equal(smp_peer_open(p, &t->peer), SIMPLEX_OK);
}

void make_notifier(struct smp_peer *p, struct queue *q)
{
    struct sx_cmd c = { .tag = SX_NKEY, .nkey = { .dh = q->dh.pub } };

    assert_int_equal(sx_keypair_new(SX_ED25519, &q->ntf), SIMPLEX_OK);
    c.nkey.auth = q->ntf.pub;
    const struct sx_rsp *r = smp_peer_cmd(p, &q->rcv, sx_bytes(q->rcv_id, 24), &c);
    assert_non_null(r);
    assert_int_equal(r->tag, SX_R_NID);
    memcpy(q->ntf_id, r->nid.ntf_id.ptr, 24);
}

const struct sx_rsp *send_text(struct smp_peer *p, const struct queue *q, const char *text)
{
    struct sx_cmd c = { .tag = SX_SEND, .send = { .body = sx_str(text) } };
    const struct sx_rsp *r = smp_peer_cmd(p, NULL, sx_bytes(q->snd_id, 24), &c);

    assert_non_null(r);
    return r;
}

char *id_text(const uint8_t id[24], char to[40])
{
    struct sx_wr w;

    sx_wr_fixed(&w, to, 40);
    sx_b64url_encode(&w, sx_bytes(id, 24));
    sx_wr_u8(&w, 0);
    assert_false(w.bad);
    return to;
}

/* ---- a client of text ports ---- */

int connect_to(uint16_t port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    return fd;
}

struct text_client *text_open(uint16_t port)
{
    struct text_client *c = calloc(1, sizeof(*c));

    assert_non_null(c);
    assert_true(port != 0);
    c->fd = connect_to(port);
    return c;
}

void text_close(struct text_client *c)
{
    close(c->fd);
    free(c);
}

void text_send(struct text_client *c, const char *text)
{
    size_t n = strlen(text);

    assert_int_equal(send(c->fd, text, n, MSG_NOSIGNAL), (ssize_t)n);
}

/* Reads on; false: closed, or nothing came within the time. */
bool text_more(struct text_client *c, int timeout_ms)
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

bool text_closed(struct text_client *c, int timeout_ms)
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
const char *text_line(struct text_client *c)
{
    static char line[4096];
    char *lf;

    while ((lf = memchr(c->in, '\n', c->have)) == NULL)
        assert_true(text_more(c, 20000));
    size_t n = (size_t)(lf - c->in);
    assert_true(n < sizeof(line));
    memcpy(line, c->in, n);
    line[n] = 0;
    c->have -= n + 1;
    memmove(c->in, lf + 1, c->have);
    return line;
}

const char *ask(struct text_client *c, const char *fmt, const char *arg)
{
    char text[300];

    snprintf(text, sizeof(text), fmt, arg);
    strcat(text, "\n");
    text_send(c, text);
    return text_line(c);
}

void assert_starts(const char *line, const char *with)
{
    if (strncmp(line, with, strlen(with)) != 0)
        fail_msg("\"%s\" instead of \"%s\"", line, with);
}

void assert_answers(struct text_client *c, const struct exchange *e, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *line = ask(c, "%s", e[i].command);
        size_t whole = strlen(e[i].answer), begin = strcspn(e[i].answer, "*");
        if (begin + 1 == whole ? strncmp(line, e[i].answer, begin) : strcmp(line, e[i].answer))
            fail_msg("%s: \"%s\" instead of \"%s\"", e[i].command, line, e[i].answer);
    }
}

/* Lines up to the one that starts so. */
void skip_to(struct text_client *c, const char *with)
{
    while (strncmp(text_line(c), with, strlen(with)) != 0)
        ;
}

struct text_client *control(struct server *t, const char *password)
{
    struct text_client *c = text_open(simplex_server_control_port(t->s));

    assert_string_equal(text_line(c), "SMP server control port");
    assert_string_equal(text_line(c), "'help' for supported commands");
    if (password != NULL)
        assert_starts(ask(c, "auth %s", password), "Current role is CPR");
    return c;
}

char *metrics_get(struct server *t, const char *request)
{
    struct text_client *c = text_open(simplex_server_metrics_port(t->s));

    text_send(c, request);
    while (text_more(c, 20000))
        ;
    assert_true(text_closed(c, 0)); /* one request a connection */
    char *answer = strdup(c->in);
    text_close(c);
    assert_non_null(answer);
    return answer;
}
