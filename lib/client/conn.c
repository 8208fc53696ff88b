/* SPDX-License-Identifier: Apache-2.0 */
#include "client/conn.h"

#include "client/dial.h"
#include "client/net_internal.h"
#include "client/socks5.h"

#ifndef _WIN32
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#endif

#define WRITE_HIGH (16u * SX_BLOCK) /* bytes in the socket's queue: congested above ... */
#define WRITE_LOW (4u * SX_BLOCK)   /* ... until below this */
#define KEEPALIVE_IDLE 30           /* seconds, section 9 */
#define KEEPALIVE_INTERVAL 15
#define KEEPALIVE_COUNT 4

enum stage { STAGE_DIAL, STAGE_TCP, STAGE_SOCKS, STAGE_TLS, STAGE_HELLO, STAGE_READY };

/* What is needed until the session is ready. */
struct attempt {
    struct sx_server server; /* the owner may be gone while a resolver works */
    int64_t user, entity;    /* who may share the circuit */
    struct sx_dial dial;
    uv_timer_t timer;
    uv_connect_t connect;
    struct sx_socks5 socks;
    int64_t deadline; /* of all attempts together */
    simplex_rc rc;    /* the most telling failure so far */
};

struct sx_conn {
    struct sx_net *net;
    const struct sx_conn_ops *ops;
    void *owner;
    struct attempt *attempt; /* NULL once ready */
    uint8_t stage;           /* enum stage */
    bool dead;               /* closed or lost: only waits for its handles */
    bool tcp_open;           /* between uv_tcp_init and its close callback */
    bool congested;
    unsigned refs; /* handles, the resolver, the owner */
    uv_tcp_t tcp;
    struct sx_identity *identity; /* that TLS was begun with; the owner may change it */
    struct sx_tls *tls;
    uint8_t *partial; /* a block of which partial_len bytes came */
    size_t partial_len;
    uint8_t *hello; /* of the server: cfg.proxy */
    size_t hello_len;
    struct sx_session session;
};

struct write {
    uv_write_t req;
    struct sx_conn *conn;
    uint8_t *bytes;
};

static void next_attempt(struct sx_conn *c);
static void fail(struct sx_conn *c, simplex_rc rc);

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

static void drop_stream(struct sx_conn *c)
{
    sx_tls_free(c->tls);
    c->tls = NULL;
    sx_identity_unref(c->identity); /* of that TLS: after it */
    c->identity = NULL;
    sx_session_wipe(&c->session);
    sx_free(c->partial);
    c->partial = NULL;
    c->partial_len = 0;
    sx_free(c->hello);
    c->hello = NULL;
    c->hello_len = 0;
    c->congested = false;
}

static void on_tcp_closed(uv_handle_t *h)
{
    struct sx_conn *c = h->data;

    /* Nothing that lies further up the stack uses them any more. */
    drop_stream(c);
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

static void close_timer(struct sx_conn *c)
{
    if (c->attempt != NULL && !uv_is_closing((uv_handle_t *)&c->attempt->timer))
        uv_close((uv_handle_t *)&c->attempt->timer, on_timer_closed);
}

static void die(struct sx_conn *c)
{
    c->dead = true;
    if (c->attempt != NULL)
        sx_dial_cancel(&c->attempt->dial);
    close_timer(c);
    close_tcp(c);
    unref(c); /* the owner's */
}

void sx_conn_close(struct sx_conn *c)
{
    if (c->stage == STAGE_READY && c->tcp_open) {
        sx_tls_shutdown(c->tls);
        if (sx_conn_push(c) != SIMPLEX_OK)
            sx_log(SX_LOG_DEBUG, "the connection was closed without a farewell");
    }
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

/* From the loop only. */
static void fail(struct sx_conn *c, simplex_rc rc)
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
        fail(c, SIMPLEX_E_TIMEOUT);
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

/* ---- writing ---- */

static void on_written(uv_write_t *req, int status)
{
    struct write *w = (struct write *)req;
    struct sx_conn *c = w->conn;

    sx_free(w->bytes);
    sx_free(w);
    if (c->dead || status == UV_ECANCELED)
        return;
    if (status != 0) {
        fail(c, SIMPLEX_E_DISCONNECTED);
    } else if (c->congested &&
               uv_stream_get_write_queue_size((uv_stream_t *)&c->tcp) <= WRITE_LOW) {
        c->congested = false;
        c->ops->drained(c->owner);
    }
}

/* Takes bytes, also when it fails. */
static simplex_rc write_owned(struct sx_conn *c, uint8_t *bytes, size_t len)
{
    struct write *w = bytes == NULL ? NULL : sx_malloc(sizeof(*w));

    if (w == NULL) {
        sx_free(bytes);
        return SIMPLEX_E_NOMEM;
    }
    w->conn = c;
    w->bytes = bytes;
    uv_buf_t buf = uv_buf_init((char *)bytes, (unsigned)len);
    if (uv_write(&w->req, (uv_stream_t *)&c->tcp, &buf, 1, on_written) != 0) {
        sx_free(bytes);
        sx_free(w);
        return SIMPLEX_E_DISCONNECTED;
    }
    if (uv_stream_get_write_queue_size((uv_stream_t *)&c->tcp) > WRITE_HIGH)
        c->congested = true;
    return SIMPLEX_OK;
}

/* How much the socket took at once; -1 when it is broken. */
static ssize_t try_write(struct sx_conn *c, simplex_bytes out)
{
    if (uv_stream_get_write_queue_size((uv_stream_t *)&c->tcp) > 0)
        return 0;
    uv_buf_t buf = uv_buf_init((char *)out.ptr, (unsigned)out.len);
    int n = uv_try_write((uv_stream_t *)&c->tcp, &buf, 1);
    if (n == UV_EAGAIN)
        return 0;
    return n < 0 ? -1 : n;
}

simplex_rc sx_conn_push(struct sx_conn *c)
{
    simplex_bytes out = sx_tls_pending(c->tls);

    if (out.len == 0)
        return SIMPLEX_OK;
    ssize_t n = try_write(c, out);
    if (n < 0)
        return SIMPLEX_E_DISCONNECTED;
    sx_tls_consume(c->tls, (size_t)n);
    if ((size_t)n == out.len)
        return SIMPLEX_OK;
    size_t len;
    uint8_t *rest = sx_tls_take(c->tls, &len);
    return write_owned(c, rest, len);
}

simplex_rc sx_conn_write(struct sx_conn *c, simplex_bytes content)
{
    simplex_rc rc = sx_session_seal(&c->session, content, c->net->out_block);

    if (rc != SIMPLEX_OK)
        return rc;
    return sx_tls_write(c->tls, sx_bytes(c->net->out_block, SX_BLOCK));
}

bool sx_conn_congested(const struct sx_conn *c)
{
    return c->congested;
}

const struct sx_session *sx_conn_session(const struct sx_conn *c)
{
    return &c->session;
}

simplex_bytes sx_conn_hello(const struct sx_conn *c)
{
    return sx_bytes(c->hello, c->hello_len);
}

/* ---- SMP ---- */

static simplex_rc begin_session(struct sx_conn *c)
{
    uint8_t unique[64];
    struct sx_session_client_cfg cfg = {
        .min = c->net->cfg.min_version,
        .max = c->net->cfg.max_version,
        .key_hash = c->attempt->server.key_hash,
        .chain = sx_tls_peer_chain(c->tls),
        .alpn = sx_tls_alpn(c->tls),
        .proxy = c->net->cfg.proxy,
        .service = c->identity != NULL && sx_tls_presented(c->tls) ? &c->identity->cert : NULL,
    };

    cfg.session_id = sx_bytes(unique, sx_tls_unique(c->tls, unique));
    c->stage = STAGE_HELLO;
    return sx_session_client(&c->session, &cfg);
}

static void become_ready(struct sx_conn *c)
{
    c->stage = STAGE_READY;
    close_timer(c); /* and the attempt with it */
    sx_tls_forget_peer_chain(c->tls);
    c->ops->ready(c->owner);
}

/* Before the session reads it; what is wrong with it the session will tell. */
static simplex_rc keep_hello(struct sx_conn *c, const uint8_t block[SX_BLOCK])
{
    simplex_bytes hello;

    if (sx_unpad(sx_bytes(block, SX_BLOCK), &hello) != SIMPLEX_OK)
        return SIMPLEX_E_HANDSHAKE;
    c->hello = sx_memdup(hello);
    c->hello_len = hello.len;
    return c->hello != NULL ? SIMPLEX_OK : SIMPLEX_E_NOMEM;
}

static simplex_rc on_block(struct sx_conn *c, uint8_t block[SX_BLOCK])
{
    bool was_ready = c->session.state == SX_S_READY;
    bool has_reply = false;
    simplex_bytes content;
    simplex_rc rc = SIMPLEX_OK;

    if (!was_ready && c->net->cfg.proxy && c->hello == NULL)
        rc = keep_hello(c, block);
    if (rc != SIMPLEX_OK)
        return rc;
    rc = sx_session_input(&c->session, block, c->net->out_block, &has_reply, &content);

    if (rc == SIMPLEX_OK && has_reply) {
        rc = sx_tls_write(c->tls, sx_bytes(c->net->out_block, SX_BLOCK));
        if (rc == SIMPLEX_OK)
            rc = sx_conn_push(c);
    }
    if (rc != SIMPLEX_OK)
        return rc;
    if (was_ready)
        c->ops->content(c->owner, content);
    else if (c->session.state == SX_S_READY)
        become_ready(c);
    return SIMPLEX_OK;
}

/* Keeps what came of a block that is not complete. */
static simplex_rc keep_partial(struct sx_conn *c, const uint8_t *p, size_t n)
{
    if (n == 0)
        return SIMPLEX_OK;
    if (c->partial == NULL) {
        c->partial = sx_malloc(SX_BLOCK);
        if (c->partial == NULL)
            return SIMPLEX_E_NOMEM;
        memcpy(c->partial, p, n);
    }
    c->partial_len = n;
    return SIMPLEX_OK;
}

/* Takes plaintext until `block` is full or there is no more; E_* also after the peer's farewell. */
static simplex_rc fill_block(struct sx_conn *c, simplex_bytes *in, uint8_t *block, size_t *have)
{
    while (*have < SX_BLOCK) {
        size_t got = 0;
        simplex_rc rc = sx_tls_receive(c->tls, in, block + *have, SX_BLOCK - *have, &got);
        if (rc == SIMPLEX_OK && c->stage == STAGE_TLS && sx_tls_ready(c->tls))
            rc = begin_session(c);
        if (rc != SIMPLEX_OK || got == 0)
            return rc;
        *have += got;
    }
    return SIMPLEX_OK;
}

static simplex_rc read_blocks(struct sx_conn *c, simplex_bytes *in)
{
    for (;;) {
        /* Whole blocks, the usual case, never touch the heap. */
        uint8_t *block = c->partial != NULL ? c->partial : c->net->in_block;
        size_t have = c->partial_len;
        simplex_rc rc = fill_block(c, in, block, &have);
        if (rc != SIMPLEX_OK)
            return rc;
        if (have < SX_BLOCK)
            return keep_partial(c, block, have);
        uint8_t *mine = c->partial;
        c->partial = NULL;
        c->partial_len = 0;
        rc = on_block(c, block);
        sx_free(mine);
        if (rc != SIMPLEX_OK || c->dead)
            return rc;
    }
}

/* ---- TLS ---- */

static simplex_rc begin_tls(struct sx_conn *c)
{
    c->identity = c->ops->identity != NULL ? sx_identity_ref(c->ops->identity(c->owner)) : NULL;
    simplex_rc rc = sx_tls_new(c->identity != NULL ? c->identity->tls : c->net->tls,
                               c->attempt->server.key_hash, &c->tls);

    c->stage = STAGE_TLS;
    if (rc == SIMPLEX_OK)
        rc = sx_tls_start(c->tls);
    return rc == SIMPLEX_OK ? sx_conn_push(c) : rc;
}

static simplex_rc on_cipher(struct sx_conn *c, simplex_bytes in)
{
    simplex_rc rc = read_blocks(c, &in);
    /* What TLS itself has to say: the end of the handshake, alerts, new keys. */
    simplex_rc sent = c->dead ? SIMPLEX_OK : sx_conn_push(c);

    return rc != SIMPLEX_OK ? rc : sent;
}

/* ---- SOCKS5 ---- */

static simplex_rc send_plain(struct sx_conn *c, simplex_bytes out)
{
    if (out.len == 0)
        return SIMPLEX_OK;
    return write_owned(c, sx_memdup(out), out.len);
}

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
    return rc == SIMPLEX_OK ? send_plain(c, sx_socks5_take(&a->socks)) : rc;
}

static simplex_rc on_socks(struct sx_conn *c, simplex_bytes *in)
{
    struct sx_socks5 *s = &c->attempt->socks;
    size_t used = 0;
    simplex_rc rc = sx_socks5_input(s, *in, &used);

    in->ptr += used;
    in->len -= used;
    if (rc == SIMPLEX_OK)
        rc = send_plain(c, sx_socks5_take(s));
    if (rc == SIMPLEX_OK && s->state == SX_SOCKS5_DONE)
        rc = begin_tls(c);
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
        rc = on_cipher(c, in);
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
        fail(c, rc);
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
        fail(c, socks ? SIMPLEX_E_PROXY : SIMPLEX_E_CONNECT);
        return;
    }
    set_options(c);
    if (uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) != 0)
        rc = SIMPLEX_E_SYSTEM;
    else
        rc = socks ? begin_socks(c) : begin_tls(c);
    if (rc != SIMPLEX_OK)
        fail(c, rc);
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
            fail(c, rc);
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
