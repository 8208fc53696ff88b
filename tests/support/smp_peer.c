/* SPDX-License-Identifier: Apache-2.0 */
#include "support/smp_peer.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "support/free_port.h"

/* Nothing here asserts once a connection is open: tests make allocations fail under its feet. */

struct peer_conn {
    struct peer *peer;
    struct peer_conn *next;
    uv_tcp_t tcp;
    struct sx_tls *tls;
    struct sx_session session;
    bool has_session, closing;
    size_t have;
    uint8_t block[SX_BLOCK], out[SX_BLOCK];
};

struct peer_write {
    uv_write_t req;
    uint8_t *bytes;
};

/* ---- writing ---- */

static void on_closed(uv_handle_t *h)
{
    struct peer_conn *c = h->data;
    struct peer_conn **at = &c->peer->conns;

    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    c->peer->open--;
    sx_tls_free(c->tls);
    sx_session_wipe(&c->session);
    free(c);
}

static void conn_close(struct peer_conn *c)
{
    if (c->closing)
        return;
    c->closing = true;
    uv_close((uv_handle_t *)&c->tcp, on_closed);
}

static void on_written(uv_write_t *req, int status)
{
    struct peer_write *w = (struct peer_write *)req;

    (void)status;
    sx_free(w->bytes);
    free(w);
}

static void write_bytes(struct peer_conn *c, uint8_t *bytes, size_t len)
{
    struct peer_write *w = malloc(sizeof(*w));
    uv_buf_t buf = uv_buf_init((char *)bytes, (unsigned)len);

    w->bytes = bytes;
    if (uv_write(&w->req, (uv_stream_t *)&c->tcp, &buf, 1, on_written) != 0) {
        sx_free(bytes);
        free(w);
    }
}

static void send_pending(struct peer_conn *c)
{
    size_t len;
    uint8_t *p = sx_tls_take(c->tls, &len);

    if (p != NULL)
        write_bytes(c, p, len);
}

void peer_push_content(struct peer_conn *c, simplex_bytes content)
{
    if (c->closing)
        return;
    if (sx_session_seal(&c->session, content, c->out) != SIMPLEX_OK ||
        sx_tls_write(c->tls, sx_bytes(c->out, SX_BLOCK)) != SIMPLEX_OK)
        conn_close(c);
    else
        send_pending(c);
}

/* ---- answering ---- */

static void put_answer(struct peer_conn *c, struct sx_wr *w, simplex_bytes corr_id,
                       simplex_bytes entity, const struct sx_rsp *rsp)
{
    static uint8_t text[SX_BLOCK], whole[SX_BLOCK];
    struct sx_wr t, all;

    sx_wr_fixed(&t, text, sizeof(text));
    sx_rsp_encode(&t, rsp, c->session.version);
    struct sx_transmission out = { .session_id = sx_session_id(&c->session),
                                   .corr_id = corr_id,
                                   .entity_id = entity,
                                   .command = sx_wr_bytes(&t) };
    sx_wr_fixed(&all, whole, sizeof(whole));
    sx_transmission_encode(&all, &out, c->session.version);
    sx_wr_large(w, sx_wr_bytes(&all));
}

void peer_push(struct peer_conn *c, simplex_bytes corr_id, simplex_bytes entity,
               const struct sx_rsp *rsp)
{
    static uint8_t content[SX_BLOCK];
    struct sx_wr w;

    sx_wr_fixed(&w, content, sizeof(content));
    sx_wr_u8(&w, 1);
    put_answer(c, &w, corr_id, entity, rsp);
    peer_push_content(c, sx_wr_bytes(&w));
}

bool peer_answer(struct peer *p, struct peer_conn *c, const struct sx_cmd *cmd,
                 struct sx_transmission *t, struct sx_rsp *rsp)
{
    (void)p;
    (void)c;
    (void)t;
    memset(rsp, 0, sizeof(*rsp));
    switch (cmd->tag) {
    case SX_PING:
        rsp->tag = SX_R_PONG;
        break;
    case SX_SUB:
        rsp->tag = SX_R_SOK;
        break;
    default:
        rsp->tag = SX_R_OK;
        break;
    }
    return true;
}

static void add_text(char *to, size_t size, const char *text, size_t n)
{
    size_t len = strlen(to);

    if (len > 0 && len + 1 < size)
        to[len++] = ' ';
    if (n > size - 1 - len)
        n = size - 1 - len;
    memcpy(to + len, text, n);
    to[len + n] = 0;
}

static void on_commands(struct peer_conn *c, simplex_bytes content)
{
    static uint8_t answers[SX_BLOCK];
    struct peer *p = c->peer;
    struct sx_batch_rd batch;
    simplex_bytes in;
    struct sx_wr w;
    uint8_t n = 0;
    char count[8];

    if (sx_batch_open(content, &batch) != SIMPLEX_OK) {
        conn_close(c);
        return;
    }
    snprintf(count, sizeof(count), "%u", batch.left);
    add_text(p->log, sizeof(p->log), count, strlen(count));
    sx_wr_fixed(&w, answers, sizeof(answers));
    sx_wr_u8(&w, 0);
    while (sx_batch_next(&batch, &in)) {
        struct sx_transmission t;
        struct sx_cmd cmd;
        struct sx_smp_err err;
        struct sx_rsp rsp;
        if (sx_transmission_decode(in, c->session.version, &t) != SIMPLEX_OK ||
            sx_cmd_decode(t.command, c->session.version, &cmd, &err) != SIMPLEX_OK) {
            conn_close(c);
            return;
        }
        p->commands++;
        add_text(p->entities, sizeof(p->entities), (const char *)t.entity_id.ptr, t.entity_id.len);
        if (!(p->answer != NULL ? p->answer : peer_answer)(p, c, &cmd, &t, &rsp))
            continue;
        if (c->closing)
            return;
        put_answer(c, &w, t.corr_id, t.entity_id, &rsp);
        n++;
    }
    answers[0] = n;
    if (n > 0)
        peer_push_content(c, sx_wr_bytes(&w));
}

/* ---- handshake ---- */

static bool begin_session(struct peer_conn *c)
{
    struct peer *p = c->peer;
    uint8_t unique[SX_TLS_UNIQUE_MAX];
    struct sx_session_server_cfg cfg = {
        .min = p->min,
        .max = p->max,
        .key_hash = p->certs.fingerprint,
        .chain = &p->certs.chain,
        .leaf = &p->certs.leaf,
        .alpn = sx_tls_alpn(c->tls),
    };

    c->has_session = true;
    cfg.session_id = sx_bytes(unique, sx_tls_unique(c->tls, unique));
    if (p->mode == PEER_NO_HELLO)
        return true;
    if (p->mode == PEER_CLOSES_HELLO)
        return false;
    if (p->mode == PEER_OTHER_SESSION)
        unique[0] ^= 1;
    if (sx_session_server(&c->session, &cfg, c->out) != SIMPLEX_OK)
        return false;
    if (p->mode == PEER_BAD_HELLO)
        memset(c->out + 2, 'x', SX_BLOCK - 2);
    if (p->mode == PEER_FUTURE) { /* behind the length: min and max */
        memcpy(c->out + 2, "\0\x20\0\x21", 4);
    }
    return sx_tls_write(c->tls, sx_bytes(c->out, SX_BLOCK)) == SIMPLEX_OK;
}

static bool on_block(struct peer_conn *c)
{
    bool was_ready = c->session.state == SX_S_READY, has_reply;
    simplex_bytes content;

    c->have = 0;
    if (sx_session_input(&c->session, c->block, c->out, &has_reply, &content) != SIMPLEX_OK)
        return false;
    if (was_ready)
        on_commands(c, content);
    return true;
}

static bool on_bytes(struct peer_conn *c, simplex_bytes in)
{
    for (;;) {
        size_t got;
        if (sx_tls_receive(c->tls, &in, c->block + c->have, SX_BLOCK - c->have, &got) != SIMPLEX_OK)
            return false;
        if (sx_tls_ready(c->tls) && !c->has_session && !begin_session(c))
            return false;
        if (got == 0)
            return true;
        c->have += got;
        if (c->have == SX_BLOCK && (!on_block(c) || c->closing))
            return !c->closing ? false : true;
    }
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    static char bytes[65536];

    (void)h;
    (void)suggested;
    *buf = uv_buf_init(bytes, sizeof(bytes));
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    struct peer_conn *c = s->data;

    if (n == 0 || c->closing)
        return;
    if (n < 0) {
        conn_close(c);
        return;
    }
    if (c->peer->mode == PEER_SILENT)
        return;
    bool ok = on_bytes(c, sx_bytes(buf->base, (size_t)n));
    if (c->closing)
        return;
    send_pending(c);
    if (!ok)
        conn_close(c);
}

static void on_connection(uv_stream_t *s, int status)
{
    struct peer *p = s->data;
    struct peer_conn *c = calloc(1, sizeof(*c));

    c->peer = p;
    c->next = p->conns;
    p->conns = c;
    p->open++;
    uv_tcp_init(p->loop, &c->tcp);
    c->tcp.data = c;
    if (status != 0 || uv_accept(s, (uv_stream_t *)&c->tcp) != 0) {
        conn_close(c);
        return;
    }
    uv_tcp_nodelay(&c->tcp, 1);
    p->accepted++;
    if (p->mode == PEER_CLOSES || sx_tls_new(p->tls, NULL, &c->tls) != SIMPLEX_OK) {
        conn_close(c);
        return;
    }
    if (p->mode == PEER_NO_TLS) {
        uint8_t *text = sx_memdup(sx_str("220 mail.example ESMTP\r\n"));
        if (text != NULL)
            write_bytes(c, text, 24);
        return;
    }
    uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
}

void peer_pause(struct peer *p)
{
    for (struct peer_conn *c = p->conns; c != NULL; c = c->next)
        uv_read_stop((uv_stream_t *)&c->tcp);
}

void peer_resume(struct peer *p)
{
    for (struct peer_conn *c = p->conns; c != NULL; c = c->next) {
        if (!c->closing)
            uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
    }
}

void peer_listen(struct peer *p, bool on)
{
    struct sockaddr_in at;
    int len = sizeof(at);

    if (!on) {
        uv_close((uv_handle_t *)&p->listener, NULL);
        return;
    }
    assert_int_equal(uv_tcp_init(p->loop, &p->listener), 0);
    p->listener.data = p;
    assert_int_equal(uv_ip4_addr("127.0.0.1", p->port, &at), 0);
    assert_int_equal(uv_tcp_bind(&p->listener, (const struct sockaddr *)&at, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&p->listener, 128, on_connection), 0);
    assert_int_equal(uv_tcp_getsockname(&p->listener, (struct sockaddr *)&at, &len), 0);
    p->port = ntohs(at.sin_port);
}

void peer_start(struct peer *p, uv_loop_t *loop, uint16_t port)
{
    memset(p, 0, sizeof(*p));
    (void)signal(SIGPIPE, SIG_IGN); /* it writes to clients that may have gone */
    p->loop = loop;
    p->port = port != 0 ? port : free_port(); /* also while it does not listen */
    sx_thread_ignore_sigpipe(); /* the loop runs here, and writes to clients that may be gone */
    test_certs_make(SX_ED25519, 2, &p->certs);
    assert_int_equal(sx_tls_ctx_server(sx_wr_bytes(&p->certs.chain_pem),
                                       sx_wr_bytes(&p->certs.key_pem), &p->tls),
                     SIMPLEX_OK);
    peer_listen(p, true);
}

void peer_drop(struct peer *p)
{
    for (struct peer_conn *c = p->conns; c != NULL; c = c->next)
        conn_close(c);
}

void peer_stop(struct peer *p)
{
    if (!uv_is_closing((uv_handle_t *)&p->listener))
        uv_close((uv_handle_t *)&p->listener, NULL);
    peer_drop(p);
}

void peer_free(struct peer *p)
{
    assert_int_equal(p->open, 0);
    sx_tls_ctx_free(p->tls);
    test_certs_free(&p->certs);
}

void peer_server(const struct peer *p, const char *hosts, struct sx_server *out)
{
    struct sx_wr text;
    char port[8];

    snprintf(port, sizeof(port), ":%u", (unsigned)p->port);
    sx_wr_init(&text, 1024);
    sx_wr_text(&text, "smp://");
    sx_b64url_encode(&text, sx_bytes(p->certs.fingerprint, 32));
    sx_wr_text(&text, "@");
    sx_wr_text(&text, hosts);
    sx_wr_text(&text, port);
    simplex_bytes password;
    assert_int_equal(sx_server_parse(sx_wr_bytes(&text), out, &password), SIMPLEX_OK);
    sx_wr_free(&text);
}

/* ---- SOCKS5 proxy: one state machine, byte by byte ---- */

struct pipe_end { /* both directions of one proxied connection */
    struct proxy *proxy;
    uv_tcp_t in, out;
    uv_connect_t connect;
    bool piping, closing;
    int handles;
    size_t len;
    uint8_t buf[1024];
    int step; /* 0 methods, 1 credentials, 2 request */
};

static void on_pipe_closed(uv_handle_t *h)
{
    struct pipe_end *e = h->data;

    if (--e->handles == 0) {
        e->proxy->open--;
        free(e);
    }
}

static void pipe_close(struct pipe_end *e)
{
    if (e->closing)
        return;
    e->closing = true;
    uv_close((uv_handle_t *)&e->in, on_pipe_closed);
    if (e->handles > 1)
        uv_close((uv_handle_t *)&e->out, on_pipe_closed);
}

static void pipe_write(uv_tcp_t *to, const void *p, size_t n)
{
    struct peer_write *w = malloc(sizeof(*w));

    w->bytes = sx_memdup(sx_bytes(p, n));
    uv_buf_t buf = uv_buf_init((char *)w->bytes, (unsigned)n);
    if (w->bytes == NULL || uv_write(&w->req, (uv_stream_t *)to, &buf, 1, on_written) != 0) {
        sx_free(w->bytes);
        free(w);
    }
}

static void on_pipe_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    struct pipe_end *e = s->data;

    if (e->closing || n == 0)
        return;
    if (n < 0)
        pipe_close(e);
    else
        pipe_write(s == (uv_stream_t *)&e->in ? &e->out : &e->in, buf->base, (size_t)n);
}

static void on_pipe_connected(uv_connect_t *req, int status)
{
    struct pipe_end *e = req->data;

    if (e->closing)
        return;
    if (status != 0) {
        pipe_write(&e->in, "\5\5\0\1\0\0\0\0\0\0", 10);
        return;
    }
    uv_tcp_nodelay(&e->out, 1);
    pipe_write(&e->in, "\5\0\0\1\0\0\0\0\0\0", 10);
    e->piping = true;
    uv_read_start((uv_stream_t *)&e->out, on_alloc, on_pipe_read);
}

static void pipe_connect(struct pipe_end *e)
{
    struct sockaddr_in to;

    uv_tcp_init(e->proxy->loop, &e->out);
    e->out.data = e;
    e->handles++;
    e->connect.data = e;
    uv_ip4_addr("127.0.0.1", e->proxy->to, &to);
    uv_tcp_connect(&e->connect, &e->out, (const struct sockaddr *)&to, on_pipe_connected);
}

/* Each takes its message off the buffer: its length, or 0 when it is not complete. */
static size_t on_methods(struct pipe_end *e)
{
    struct proxy *p = e->proxy;
    uint8_t want = p->no_auth ? 0 : 2;

    if (e->len < 2 || e->len < 2u + e->buf[1])
        return 0;
    bool offered = memchr(e->buf + 2, want, e->buf[1]) != NULL;
    uint8_t answer[2] = { 5, offered ? want : 0xff };
    pipe_write(&e->in, answer, 2);
    e->step = p->no_auth ? 2 : 1;
    return 2u + e->buf[1];
}

static size_t on_credentials(struct pipe_end *e)
{
    struct proxy *p = e->proxy;

    if (e->len < 2 || e->len < 3u + e->buf[1] || e->len < 3u + e->buf[1] + e->buf[2 + e->buf[1]])
        return 0;
    size_t user = e->buf[1], password = e->buf[2 + user];
    memcpy(p->user, e->buf + 2, user);
    p->user[user] = 0;
    memcpy(p->got_password, e->buf + 3 + user, password);
    p->got_password[password] = 0;
    bool ok = p->password == NULL || strcmp(p->got_password, p->password) == 0;
    pipe_write(&e->in, ok ? "\1\0" : "\1\1", 2);
    e->step = 2;
    return 3 + user + password;
}

static size_t on_request(struct pipe_end *e)
{
    struct proxy *p = e->proxy;
    size_t head = 4, n = e->len < 4 ? 0 : e->buf[3] == 1 ? 4u : 16u;

    if (e->len >= 5 && e->buf[3] == 3) {
        head = 5;
        n = e->buf[4];
    }
    if (e->len < 5 || e->len < head + n + 2)
        return 0;
    if (e->buf[3] == 3)
        snprintf(p->host, sizeof(p->host), "%.*s", (int)n, (char *)e->buf + head);
    else
        uv_inet_ntop(n == 4 ? AF_INET : AF_INET6, e->buf + head, p->host, sizeof(p->host));
    p->host_port = (uint16_t)(e->buf[head + n] << 8 | e->buf[head + n + 1]);
    if (p->reply != 0) {
        uint8_t answer[10] = { 5, p->reply, 0, 1 };
        pipe_write(&e->in, answer, sizeof(answer));
    } else {
        pipe_connect(e);
    }
    return head + n + 2;
}

static void on_proxy_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    static size_t (*const steps[])(struct pipe_end *) = { on_methods, on_credentials, on_request };
    struct pipe_end *e = s->data;

    if (e->piping || n <= 0) {
        on_pipe_read(s, n, buf);
        return;
    }
    if ((size_t)n > sizeof(e->buf) - e->len) {
        pipe_close(e);
        return;
    }
    memcpy(e->buf + e->len, buf->base, (size_t)n);
    e->len += (size_t)n;
    for (size_t used; e->handles == 1 && (used = steps[e->step](e)) > 0;) {
        e->len -= used;
        memmove(e->buf, e->buf + used, e->len);
    }
}

static void on_proxy_connection(uv_stream_t *s, int status)
{
    struct proxy *p = s->data;
    struct pipe_end *e = calloc(1, sizeof(*e));

    (void)status;
    e->proxy = p;
    e->handles = 1;
    p->open++;
    p->accepted++;
    uv_tcp_init(p->loop, &e->in);
    e->in.data = e;
    if (uv_accept(s, (uv_stream_t *)&e->in) != 0)
        pipe_close(e);
    else
        uv_read_start((uv_stream_t *)&e->in, on_alloc, on_proxy_read);
}

void proxy_start(struct proxy *p, uv_loop_t *loop)
{
    struct sockaddr_in at;
    int len = sizeof(at);

    memset(p, 0, sizeof(*p));
    p->loop = loop;
    assert_int_equal(uv_tcp_init(loop, &p->listener), 0);
    p->listener.data = p;
    assert_int_equal(uv_ip4_addr("127.0.0.1", free_port(), &at), 0);
    assert_int_equal(uv_tcp_bind(&p->listener, (const struct sockaddr *)&at, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&p->listener, 16, on_proxy_connection), 0);
    assert_int_equal(uv_tcp_getsockname(&p->listener, (struct sockaddr *)&at, &len), 0);
    p->port = ntohs(at.sin_port);
}

void proxy_stop(struct proxy *p)
{
    uv_close((uv_handle_t *)&p->listener, NULL);
}
