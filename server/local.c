/* SPDX-License-Identifier: Apache-2.0 */
#include "local.h"

#include <stddef.h>

#define BACKLOG 8

struct sx_local_conn {
    uv_tcp_t tcp;
    uv_timer_t timer;
    uv_write_t write;
    struct sx_local *l;
    struct sx_local_conn *prev, *next;
    struct sx_wr out;
    uint8_t *writing;
    size_t writing_len, have;
    unsigned open_handles;
    bool finish, closing, delayed, reading;
    uint8_t in[SX_LOCAL_IN];
    max_align_t state[];
};

struct sx_local {
    uv_tcp_t tcp;
    struct sx_local_cfg cfg;
    struct sx_local_conn *conns;
    unsigned n_conns; /* until their handles are closed */
    uint16_t port;
    bool closing, closed;
};

void *sx_local_user(const struct sx_local_conn *c)
{
    return c->l->cfg.user;
}

void *sx_local_state(struct sx_local_conn *c)
{
    return c->state;
}

struct sx_wr *sx_local_out(struct sx_local_conn *c)
{
    return &c->out;
}

void sx_local_finish(struct sx_local_conn *c)
{
    c->finish = true;
}

uint16_t sx_local_port(const struct sx_local *l)
{
    return l->port;
}

/* ---- closing ---- */

static void free_when_closed(struct sx_local *l)
{
    if (l->closed && l->n_conns == 0)
        sx_free(l);
}

static void on_handle_closed(uv_handle_t *h)
{
    struct sx_local_conn *c = h->data;
    struct sx_local *l = c->l;

    if (--c->open_handles > 0)
        return;
    if (c->writing != NULL)
        sx_free_secret(c->writing, c->writing_len);
    sx_wr_free(&c->out);
    sx_free_secret(c, sizeof(*c) + l->cfg.state_size);
    l->n_conns--;
    free_when_closed(l);
}

static void close_conn(struct sx_local_conn *c)
{
    if (c->closing)
        return;
    c->closing = true;
    if (c->prev == NULL)
        c->l->conns = c->next;
    else
        c->prev->next = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
    uv_close((uv_handle_t *)&c->tcp, on_handle_closed);
    uv_close((uv_handle_t *)&c->timer, on_handle_closed);
}

static void on_listener_closed(uv_handle_t *h)
{
    struct sx_local *l = h->data;

    l->closed = true;
    free_when_closed(l);
}

void sx_local_close(struct sx_local *l)
{
    if (l == NULL || l->closing)
        return;
    l->closing = true;
    while (l->conns != NULL)
        close_conn(l->conns);
    uv_close((uv_handle_t *)&l->tcp, on_listener_closed);
}

/* ---- input and output ---- */

static void go_on(struct sx_local_conn *c);

static void on_idle(uv_timer_t *t)
{
    close_conn(t->data);
}

static void on_delay_over(uv_timer_t *t)
{
    struct sx_local_conn *c = t->data;

    c->delayed = false;
    uv_timer_start(&c->timer, on_idle, (uint64_t)c->l->cfg.idle_ms, 0);
    go_on(c);
}

void sx_local_delay(struct sx_local_conn *c, int64_t ms)
{
    c->delayed = true;
    uv_timer_start(&c->timer, on_delay_over, (uint64_t)ms, 0);
}

static void on_written(uv_write_t *req, int status)
{
    struct sx_local_conn *c = req->data;

    sx_free_secret(c->writing, c->writing_len);
    c->writing = NULL;
    if (status < 0)
        close_conn(c);
    else if (!c->closing)
        go_on(c);
}

/* Hands what was answered to the socket. */
static void send_out(struct sx_local_conn *c)
{
    if (c->writing != NULL)
        return;
    if (c->out.bad) {
        close_conn(c); /* no memory for the answer */
        return;
    }
    if (c->out.len == 0) {
        if (c->finish)
            close_conn(c);
        return;
    }
    c->writing = sx_memdup(sx_wr_bytes(&c->out));
    c->writing_len = c->out.len;
    sx_wr_reset(&c->out);
    if (c->writing == NULL) {
        close_conn(c);
        return;
    }
    uv_buf_t buf = uv_buf_init((char *)c->writing, (unsigned)c->writing_len);
    c->write.data = c;
    if (uv_write(&c->write, (uv_stream_t *)&c->tcp, &buf, 1, on_written) != 0)
        close_conn(c);
}

static bool may_go_on(const struct sx_local_conn *c)
{
    return !c->closing && !c->finish && !c->delayed && c->writing == NULL && c->out.len == 0;
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    struct sx_local_conn *c = h->data;

    (void)suggested;
    *buf = uv_buf_init((char *)c->in + c->have, (unsigned)(sizeof(c->in) - c->have));
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    struct sx_local_conn *c = s->data;

    (void)buf;
    if (n < 0) {
        close_conn(c);
        return;
    }
    c->have += (size_t)n;
    go_on(c);
}

/* Reads only when there is room and nothing to wait for. */
static void set_reading(struct sx_local_conn *c)
{
    bool wanted = may_go_on(c) && c->have < sizeof(c->in);

    if (c->closing || wanted == c->reading)
        return;
    c->reading = wanted;
    if (!wanted)
        uv_read_stop((uv_stream_t *)&c->tcp);
    else if (uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) != 0)
        close_conn(c);
}

/* Everything that can be done now: one answer after the other. */
static void go_on(struct sx_local_conn *c)
{
    bool more = true;

    while (more && may_go_on(c)) {
        size_t n = c->have == 0 ? 0 : c->l->cfg.input(c, sx_bytes(c->in, c->have));
        more = n > 0;
        c->have -= n;
        memmove(c->in, c->in + n, c->have);
        if (more && !c->delayed)
            uv_timer_start(&c->timer, on_idle, (uint64_t)c->l->cfg.idle_ms, 0);
    }
    if (may_go_on(c) && c->have == sizeof(c->in))
        close_conn(c); /* too long for what it is */
    if (!c->closing && !c->delayed)
        send_out(c);
    set_reading(c);
}

/* ---- connections ---- */

static void on_connection(uv_stream_t *s, int status)
{
    struct sx_local *l = s->data;
    struct sx_local_conn *c = NULL;

    if (status < 0)
        return;
    c = sx_calloc(1, sizeof(*c) + l->cfg.state_size);
    if (c == NULL)
        return; /* it stays in the backlog of libuv until the next one comes */
    c->l = l;
    c->tcp.data = c->timer.data = c;
    c->open_handles = 2;
    sx_wr_init(&c->out, SX_LOCAL_OUT);
    if (uv_tcp_init(l->tcp.loop, &c->tcp) != 0 || uv_timer_init(l->tcp.loop, &c->timer) != 0) {
        sx_free(c);
        return;
    }
    c->next = l->conns;
    if (l->conns != NULL)
        l->conns->prev = c;
    l->conns = c;
    l->n_conns++;
    if (uv_accept(s, (uv_stream_t *)&c->tcp) != 0 || l->n_conns > l->cfg.max_conns) {
        close_conn(c);
        return;
    }
    uv_timer_start(&c->timer, on_idle, (uint64_t)l->cfg.idle_ms, 0);
    if (l->cfg.opened != NULL)
        l->cfg.opened(c);
    go_on(c);
}

static int listen_local(struct sx_local *l, uint16_t port)
{
    struct sockaddr_in at;
    struct sockaddr_storage got;
    int len = sizeof(got);

    int e = uv_ip4_addr("127.0.0.1", port, &at);
    if (e == 0)
        e = uv_tcp_bind(&l->tcp, (const struct sockaddr *)&at, 0);
    if (e == 0)
        e = uv_listen((uv_stream_t *)&l->tcp, BACKLOG, on_connection);
    if (e == 0)
        e = uv_tcp_getsockname(&l->tcp, (struct sockaddr *)&got, &len);
    if (e == 0)
        l->port = ntohs(((struct sockaddr_in *)(void *)&got)->sin_port);
    return e;
}

simplex_rc sx_local_open(struct sx_local **out, uv_loop_t *uv, const struct sx_local_cfg *cfg,
                         struct sx_errtext *err)
{
    struct sx_local *l = sx_calloc(1, sizeof(*l));

    *out = NULL;
    if (l == NULL)
        return SIMPLEX_E_NOMEM;
    l->cfg = *cfg;
    l->tcp.data = l;
    if (uv_tcp_init(uv, &l->tcp) != 0) {
        sx_free(l);
        return SIMPLEX_E_SYSTEM;
    }
    l->tcp.data = l;
    int e = listen_local(l, cfg->port);
    if (e != 0) {
        sx_errtext_set(err, "cannot listen on 127.0.0.1 port %u: %s", cfg->port,
                       e == UV_EADDRINUSE
                           ? "another program has this port: stop it or choose another port"
                           : uv_strerror(e));
        sx_local_close(l);
        return SIMPLEX_E_SYSTEM;
    }
    *out = l;
    return SIMPLEX_OK;
}
