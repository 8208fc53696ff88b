/* SPDX-License-Identifier: Apache-2.0 */
/* How a connection comes about and ends: hosts and addresses in turn, TCP, SOCKS5, time limits. */
#include "client/conn_internal.h"

#ifndef _WIN32
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#endif

#define KEEPALIVE_IDLE 30 /* seconds, section 9 */
#define KEEPALIVE_INTERVAL 15
#define KEEPALIVE_COUNT 4

static void next_attempt(struct sx_conn *c);

/* ---- life ---- */

static void free_attempt(struct sx_conn *c)
{
    if (c->attempt == NULL)
        return;
    sx_dial_free(&c->attempt->dial);
    sx_free_secret(c->attempt, sizeof(*c->attempt));
    c->attempt = NULL;
}

static void unref(struct sx_conn *c)
{
    if (--c->refs > 0)
        return;
    struct sx_net *n = c->net;
    free_attempt(c);
    sx_free(c);
    sx_net_released(n);
}

static void on_tcp_closed(uv_handle_t *h)
{
    struct sx_conn *c = h->data;

    /* Nothing that lies further up the stack uses them any more. */
    sx_conn_drop_stream(c);
    c->tcp_open = false;
    if (!c->dead)
        next_attempt(c);
    unref(c);
}

static void close_tcp(struct sx_conn *c)
{
    if (c->tcp_open && !uv_is_closing((uv_handle_t *)&c->tcp))
        uv_close((uv_handle_t *)&c->tcp, on_tcp_closed);
}

static void on_timer_closed(uv_handle_t *h)
{
    struct sx_conn *c = h->data;

    /* Otherwise the handle or the resolver may still report to the attempt. */
    if (c->stage == STAGE_READY)
        free_attempt(c);
    unref(c);
}

void sx_conn_end_attempt(struct sx_conn *c)
{
    if (c->attempt != NULL && !uv_is_closing((uv_handle_t *)&c->attempt->timer))
        uv_close((uv_handle_t *)&c->attempt->timer, on_timer_closed);
}

static void die(struct sx_conn *c)
{
    c->dead = true;
    if (c->attempt != NULL)
        sx_dial_cancel(&c->attempt->dial);
    sx_conn_end_attempt(c);
    close_tcp(c);
    unref(c); /* the owner's */
}

void sx_conn_close(struct sx_conn *c)
{
    if (c->stage == STAGE_READY && c->tcp_open)
        sx_conn_farewell(c);
    die(c);
}

static void lose(struct sx_conn *c, simplex_rc rc)
{
    const struct sx_conn_ops *ops = c->ops;
    void *owner = c->owner;

    die(c);
    ops->lost(owner, rc);
}

/* ---- failed attempts ---- */

/* When several hosts fail in several ways, the user sees the failure that says most. */
static int rank(simplex_rc rc)
{
    static const simplex_rc order[] = {
        SIMPLEX_E_HOST,  SIMPLEX_E_CONNECT,   SIMPLEX_E_TIMEOUT,   SIMPLEX_E_DISCONNECTED,
        SIMPLEX_E_PROXY, SIMPLEX_E_TLS,       SIMPLEX_E_HANDSHAKE, SIMPLEX_E_VERSION,
        SIMPLEX_E_CERT,  SIMPLEX_E_SIGNATURE, SIMPLEX_E_SESSION,   SIMPLEX_E_FINGERPRINT,
        SIMPLEX_E_NOMEM,
    };

    for (size_t i = 0; i < SX_COUNT(order); i++) {
        if (order[i] == rc)
            return (int)i;
    }
    return rc == SIMPLEX_OK ? -1 : (int)SX_COUNT(order);
}

static void note(struct attempt *a, simplex_rc rc)
{
    if (rank(rc) > rank(a->rc))
        a->rc = rc;
}

void sx_conn_fail(struct sx_conn *c, simplex_rc rc)
{
    if (c->dead)
        return;
    if (c->attempt == NULL || c->stage == STAGE_READY) {
        lose(c, rc);
        return;
    }
    note(c->attempt, rc);
    c->stage = STAGE_DIAL;
    if (c->tcp_open)
        close_tcp(c); /* the next attempt starts when it is gone */
    else
        next_attempt(c);
}

static void on_time(uv_timer_t *timer)
{
    struct sx_conn *c = timer->data;
    struct attempt *a = c->attempt;

    if (c->dead)
        return;
    note(a, SIMPLEX_E_TIMEOUT);
    if (sx_net_now() >= a->deadline)
        lose(c, a->rc);
    else
        sx_conn_fail(c, SIMPLEX_E_TIMEOUT);
}

/* Each attempt gets its share of the time that is left. */
static void arm(struct sx_conn *c, unsigned shares)
{
    struct attempt *a = c->attempt;
    int64_t left = a->deadline - sx_net_now();

    if (left < 1)
        left = 1;
    if (shares > 1)
        left = left / (int64_t)shares + 1;
    uv_update_time(c->net->loop);
    uv_timer_start(&a->timer, on_time, (uint64_t)left, 0);
}

/* ---- SOCKS5 ---- */

static struct sx_isolation isolation_of(const struct sx_net *n, const struct attempt *a)
{
    struct sx_isolation i = { .text = n->isolation, .user = a->user };

    switch (n->cfg.isolation) {
    case SX_ISOLATE_ENTITY:
        i.entity = a->entity;
        /* fall through */
    case SX_ISOLATE_SERVER:
        i.server = &a->server;
        /* fall through */
    case SX_ISOLATE_SESSION:
        i.session = n->session;
        break;
    case SX_ISOLATE_USER:
        break;
    }
    return i;
}

static simplex_rc begin_socks(struct sx_conn *c)
{
    const struct sx_net_cfg *net = &c->net->cfg;
    struct attempt *a = c->attempt;
    char user[SX_ISOLATION_USER];
    struct sx_socks5_cfg cfg = {
        .host = sx_dial_host(&a->dial),
        .port = sx_server_port(&a->server),
    };
    simplex_rc rc = SIMPLEX_OK;

    c->stage = STAGE_SOCKS;
    if (net->socks_has_auth) {
        cfg.user = net->socks_user;
        cfg.password = net->socks_password;
    } else if (!net->socks_no_auth) {
        struct sx_isolation i = isolation_of(c->net, a);
        rc = sx_isolation_user(&i, user);
        cfg.user = user;
        cfg.may_skip_auth = true; /* a proxy without users has no circuits to separate */
    }
    if (rc == SIMPLEX_OK)
        rc = sx_socks5_init(&a->socks, &cfg);
    return rc == SIMPLEX_OK ? sx_conn_send_plain(c, sx_socks5_take(&a->socks)) : rc;
}

static simplex_rc on_socks(struct sx_conn *c, simplex_bytes *in)
{
    struct sx_socks5 *s = &c->attempt->socks;
    size_t used = 0;
    simplex_rc rc = sx_socks5_input(s, *in, &used);

    in->ptr += used;
    in->len -= used;
    if (rc == SIMPLEX_OK)
        rc = sx_conn_send_plain(c, sx_socks5_take(s));
    if (rc == SIMPLEX_OK && s->state == SX_SOCKS5_DONE)
        rc = sx_conn_begin_tls(c);
    return rc;
}

/* ---- reading ---- */

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    struct sx_conn *c = h->data;

    (void)suggested;
    *buf = uv_buf_init((char *)c->net->read_buffer, SX_READ_BUFFER);
}

static simplex_rc on_bytes(struct sx_conn *c, simplex_bytes in)
{
    simplex_rc rc = SIMPLEX_OK;

    if (c->stage == STAGE_SOCKS)
        rc = on_socks(c, &in);
    if (rc == SIMPLEX_OK && c->stage >= STAGE_TLS && in.len > 0)
        rc = sx_conn_on_cipher(c, in);
    return rc;
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct sx_conn *c = stream->data;
    simplex_rc rc;

    if (c->dead || n == 0)
        return;
    if (n < 0)
        rc = c->stage == STAGE_SOCKS ? SIMPLEX_E_PROXY : SIMPLEX_E_DISCONNECTED;
    else
        rc = on_bytes(c, sx_bytes(buf->base, (size_t)n));
    if (rc != SIMPLEX_OK)
        sx_conn_fail(c, rc);
}

/* ---- TCP ---- */

static void set_options(struct sx_conn *c)
{
    uv_tcp_nodelay(&c->tcp, 1);
    uv_tcp_keepalive(&c->tcp, 1, KEEPALIVE_IDLE);
#if defined(TCP_KEEPINTVL) && defined(TCP_KEEPCNT)
    uv_os_fd_t fd;
    int interval = KEEPALIVE_INTERVAL, count = KEEPALIVE_COUNT;
    if (uv_fileno((uv_handle_t *)&c->tcp, &fd) == 0 &&
        (setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval)) != 0 ||
         setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count)) != 0))
        sx_log(SX_LOG_DEBUG, "the system did not take the keep-alive times");
#endif
}

static void on_connected(uv_connect_t *req, int status)
{
    struct sx_conn *c = req->data;
    simplex_rc rc;

    if (c->dead || status == UV_ECANCELED)
        return;
    bool socks = sx_dial_socks(&c->attempt->dial);
    if (status != 0) {
        sx_conn_fail(c, socks ? SIMPLEX_E_PROXY : SIMPLEX_E_CONNECT);
        return;
    }
    set_options(c);
    if (uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) != 0)
        rc = SIMPLEX_E_SYSTEM;
    else
        rc = socks ? begin_socks(c) : sx_conn_begin_tls(c);
    if (rc != SIMPLEX_OK)
        sx_conn_fail(c, rc);
}

static simplex_rc connect_to(struct sx_conn *c, const struct sockaddr *to)
{
    struct attempt *a = c->attempt;

    if (uv_tcp_init(c->net->loop, &c->tcp) != 0)
        return SIMPLEX_E_SYSTEM;
    c->tcp.data = c;
    c->tcp_open = true;
    c->refs++;
    c->stage = STAGE_TCP;
    a->connect.data = c;
    arm(c, sx_dial_left(&a->dial));
    if (uv_tcp_connect(&a->connect, &c->tcp, to, on_connected) != 0)
        return sx_dial_socks(&a->dial) ? SIMPLEX_E_PROXY : SIMPLEX_E_CONNECT;
    return SIMPLEX_OK;
}

static void on_resolved(struct sx_dial *d)
{
    struct sx_conn *c = d->owner;

    if (!c->dead) {
        if (d->list == NULL)
            note(c->attempt, sx_dial_socks(d) ? SIMPLEX_E_PROXY : SIMPLEX_E_HOST);
        next_attempt(c);
    }
    unref(c);
}

static void next_attempt(struct sx_conn *c)
{
    struct attempt *a = c->attempt;
    const struct sockaddr *to = NULL;
    enum sx_dial_result r;

    if (a->dial.resolving) { /* a slow resolver used up its share: its answer moves on */
        arm(c, 1);
        return;
    }
    while ((r = sx_dial_next(&a->dial, &to)) == SX_DIAL_FAILED)
        note(a, SIMPLEX_E_HOST);
    if (r == SX_DIAL_END) {
        lose(c, a->rc);
    } else if (r == SX_DIAL_WAIT) {
        c->refs++;
        arm(c, 1);
    } else {
        simplex_rc rc = connect_to(c, to);
        if (rc != SIMPLEX_OK)
            sx_conn_fail(c, rc);
    }
}

static void on_start(uv_timer_t *timer)
{
    next_attempt(timer->data);
}

simplex_rc sx_conn_open(struct sx_net *net, const struct sx_server *server, int64_t user,
                        int64_t entity, const struct sx_conn_ops *ops, void *owner,
                        struct sx_conn **out)
{
    struct sx_conn *c = sx_calloc(1, sizeof(*c));
    struct attempt *a = sx_calloc(1, sizeof(*a));
    simplex_rc rc = SIMPLEX_E_NOMEM;

    *out = NULL;
    if (c == NULL || a == NULL)
        goto failed;
    *c = (struct sx_conn){ .net = net, .ops = ops, .owner = owner, .attempt = a, .refs = 2 };
    a->dial.loop = net->loop;
    a->dial.cfg = &net->cfg;
    a->server = *server;
    a->user = user;
    a->entity = entity;
    a->dial.server = &a->server;
    a->dial.owner = c;
    a->dial.resolved = on_resolved;
    if ((rc = sx_dial_init(&a->dial)) != SIMPLEX_OK)
        goto failed;
    rc = SIMPLEX_E_SYSTEM;
    if (uv_timer_init(net->loop, &a->timer) != 0)
        goto failed;
    a->timer.data = c;
    a->deadline = sx_net_now() + net->cfg.connect_timeout;
    uv_timer_start(&a->timer, on_start, 0, 0); /* nothing may be reported inside this call */
    net->open++;
    *out = c;
    return SIMPLEX_OK;
failed:
    sx_free(a);
    sx_free(c);
    return rc;
}
