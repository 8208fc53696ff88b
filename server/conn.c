/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection on its loop's thread: socket -> TLS -> session -> blocks of commands, and the
 * answers back. An idle connection holds its TLS state and this struct: the read buffer belongs
 * to the loop, output is encrypted when the socket can take it, and a partly received block has
 * memory only while it is incomplete.
 *
 * Slow readers: at most SX_WRITE_HIGH bytes are encrypted ahead, waiting messages are references,
 * and when SX_PEER_OUT_PAUSE blocks wait nothing more is read from the client.
 */
#include "loop.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "peer.h"
#include "persist.h"
#include "services.h"
#include "web.h"

#ifdef __linux__
#include <linux/sockios.h>
#endif

#define TLS_LOG_MS 1000

struct sx_srv_conn {
    uv_tcp_t tcp;
    uv_write_t write;
    struct sx_loop *loop;
    struct sx_port *port;
    struct sx_srv_conn *prev, *next;
    struct sx_tls *tls;
    struct sx_session session;
    struct sx_peer peer;
    uint8_t *partial; /* SX_BLOCK bytes while a block is incomplete */
    size_t have;      /* of it */
    uint8_t *writing; /* handed to the socket */
    size_t writing_len;
    int64_t started_ms;
    int64_t write_ms;   /* when the client last took some of what was written */
    size_t untaken;     /* what it had not taken then */
    int64_t partial_ms; /* since when a block is incomplete; 0: none is */
    int64_t active_ms;  /* something was received or sent */
    bool has_session;
    bool throttled; /* nothing is read until output is gone */
    bool finish;    /* close when everything is written */
    bool closing;
};

static void count_closed(struct sx_loop *l, struct sx_port *port)
{
    atomic_fetch_sub(&l->n_conns, 1);
    atomic_fetch_sub(&port->open, 1);
}

static void on_closed(uv_handle_t *h)
{
    struct sx_srv_conn *c = h->data;

    sx_tls_free(c->tls);
    sx_session_wipe(&c->session);
    if (c->partial != NULL)
        sx_free_secret(c->partial, SX_BLOCK);
    sx_free(c->writing);
    count_closed(c->loop, c->port);
    sx_free(c);
}

void sx_srv_conn_close(struct sx_srv_conn *c)
{
    if (c->closing)
        return;
    c->closing = true;
    sx_peer_close(&c->peer);
    if (c->prev == NULL)
        c->loop->conns = c->next;
    else
        c->prev->next = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
    uv_close((uv_handle_t *)&c->tcp, on_closed);
}

void sx_srv_conn_close_all(struct sx_loop *l)
{
    while (l->conns != NULL)
        sx_srv_conn_close(l->conns);
}

/*
 * A browser (smp.md section 3): the thread of the site goes on with its handshake. The socket gets
 * a second number, since a loop does not give up a handle without closing its own. Nothing has been
 * written to it.
 */
static simplex_rc move_to_web(struct sx_srv_conn *c, simplex_bytes *in)
{
    uv_os_fd_t fd;

    simplex_rc rc = sx_tls_feed(c->tls, *in); /* kept */
    *in = sx_bytes(NULL, 0);
    if (rc != SIMPLEX_OK)
        return rc;
    uv_read_stop((uv_stream_t *)&c->tcp);
    int copy =
        uv_fileno((const uv_handle_t *)&c->tcp, &fd) == 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
    if (copy >= 0) {
        sx_web_take(c->loop->cfg->web, copy, c->tls);
        c->tls = NULL;
    }
    sx_srv_conn_close(c);
    return SIMPLEX_OK;
}

/* ---- output ---- */

static void on_written(uv_write_t *req, int status)
{
    struct sx_srv_conn *c = req->data;

    sx_free(c->writing);
    c->writing = NULL;
    c->writing_len = 0;
    if (c->closing)
        return;
    if (status < 0) {
        sx_srv_conn_close(c);
        return;
    }
    sx_srv_conn_pump(c);
    sx_loop_settle(c->loop);
}

/*
 * As much as the socket takes at once: usually all, without a request and without a change for
 * epoll. Who has more to send than may be sealed at a time waits for his turn. False: the socket is
 * broken.
 */
static bool write_now(struct sx_srv_conn *c)
{
    simplex_bytes out = sx_tls_pending(c->tls);

    if (out.len == 0 || out.len >= SX_WRITE_HIGH)
        return true;
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)out.ptr, (unsigned)out.len);
    int n = uv_try_write((uv_stream_t *)&c->tcp, &buf, 1);
    if (n == UV_EAGAIN)
        return true;
    if (n < 0)
        return false;
    sx_tls_consume(c->tls, (size_t)n);
    c->active_ms = (int64_t)uv_now(&c->loop->uv);
    return true;
}

/* The rest waits for the socket: one write at a time. */
static void write_later(struct sx_srv_conn *c)
{
    c->writing = sx_tls_take(c->tls, &c->writing_len);
    if (c->writing == NULL) {
        if (c->finish || sx_tls_pending(c->tls).len > 0)
            sx_srv_conn_close(c); /* all is written; or there is no memory for the rest */
        return;
    }
    uv_buf_t buf = uv_buf_init((char *)c->writing, (unsigned)c->writing_len);
    c->write.data = c;
    c->write_ms = (int64_t)uv_now(&c->loop->uv);
    c->active_ms = c->write_ms;
    c->untaken = SIZE_MAX;
    if (uv_write(&c->write, (uv_stream_t *)&c->tcp, &buf, 1, on_written) != 0)
        sx_srv_conn_close(c);
}

/* Hands what TLS made to the socket. */
static void flush(struct sx_srv_conn *c)
{
    if (c->writing != NULL || c->closing)
        return;
    if (write_now(c))
        write_later(c);
    else
        sx_srv_conn_close(c);
}

static size_t unsent(struct sx_srv_conn *c)
{
    return c->writing_len + sx_tls_pending(c->tls).len;
}

static bool seal_one(struct sx_srv_conn *c)
{
    struct sx_loop *l = c->loop;
    size_t len = sx_peer_next(&c->peer, l->content);

    if (len == 0 || c->peer.failed)
        return false;
    if (sx_session_seal(&c->session, sx_bytes(l->content, len), l->sealed) != SIMPLEX_OK ||
        sx_tls_write(c->tls, sx_bytes(l->sealed, SX_BLOCK)) != SIMPLEX_OK) {
        c->peer.failed = true;
        return false;
    }
    return true;
}

/* Without an interval, ENDs and notifications go out as soon as there is room for them. */
static bool refill(struct sx_srv_conn *c)
{
    if (atomic_load(&c->loop->cfg->end_flush_ms) == 0 && c->peer.n_ended > 0)
        sx_peer_flush_ends(&c->peer);
    if (atomic_load(&c->loop->cfg->ntf_flush_ms) == 0 && c->peer.ntfs != NULL)
        sx_peer_flush_ntfs(&c->peer);
    return c->peer.out != NULL;
}

static void input(struct sx_srv_conn *c, simplex_bytes in);
static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf);
static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf);

void sx_srv_conn_pump(struct sx_srv_conn *c)
{
    if (c->closing)
        return;
    while (!c->finish && unsent(c) < SX_WRITE_HIGH && (c->peer.out != NULL || refill(c)) &&
           seal_one(c))
        ;
    if (c->peer.failed) {
        sx_srv_conn_close(c);
        return;
    }
    flush(c);
    if (c->closing || !c->throttled || c->finish || sx_peer_paused(&c->peer))
        return;
    c->throttled = false;
    if (c->partial_ms != 0) /* the client could not go on */
        c->partial_ms = (int64_t)uv_now(&c->loop->uv);
    input(c, sx_bytes(NULL, 0)); /* what TLS has kept */
    if (!c->closing && !c->throttled && !c->finish &&
        uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) != 0)
        sx_srv_conn_close(c);
}

/* Nothing more is read; what is pending (an alert, an error block) goes out, then it closes. */
static void finish(struct sx_srv_conn *c)
{
    if (c->closing || c->finish)
        return;
    c->finish = true;
    uv_read_stop((uv_stream_t *)&c->tcp);
    flush(c);
}

/* ---- input ---- */

/* A service says hello: it gets the id it had before, or a new one. */
static bool accept_service(void *user, const struct sx_service_hello *h, uint8_t id[SX_ID_LEN])
{
    struct sx_srv_conn *c = user;
    struct sx_srv *srv = c->loop->hub.srv;

    c->peer.service = sx_service_hello(srv, h);
    if (c->peer.service == NULL)
        return false;
    memcpy(id, c->peer.service->id, SX_ID_LEN);
    return true;
}

static simplex_rc start_session(struct sx_srv_conn *c)
{
    const struct sx_io_cfg *cfg = c->loop->cfg;
    uint8_t unique[SX_TLS_UNIQUE_MAX];
    struct sx_session_server_cfg s = {
        .min = cfg->min_version,
        .max = cfg->max_version,
        .session_id = sx_bytes(unique, sx_tls_unique(c->tls, unique)),
        .key_hash = cfg->key_hash,
        .chain = &cfg->chain,
        .leaf = &cfg->leaf,
        .alpn = sx_tls_alpn(c->tls),
        .peer_chain = sx_tls_peer_chain(c->tls),
        .accept = accept_service,
        .accept_user = c,
    };

    c->has_session = true;
    simplex_rc rc = sx_session_server(&c->session, &s, c->loop->sealed);
    if (rc != SIMPLEX_OK)
        return rc;
    return sx_tls_write(c->tls, sx_bytes(c->loop->sealed, SX_BLOCK));
}

static simplex_rc handle_block(struct sx_srv_conn *c, uint8_t *block)
{
    bool was_ready = c->session.state == SX_S_READY;
    simplex_bytes content;
    bool has_reply;

    simplex_rc rc = sx_session_input(&c->session, block, c->loop->sealed, &has_reply, &content);
    if (has_reply) {
        simplex_rc sent = sx_tls_write(c->tls, sx_bytes(c->loop->sealed, SX_BLOCK));
        rc = rc == SIMPLEX_OK ? sent : rc;
    }
    if (rc == SIMPLEX_OK && was_ready)
        sx_peer_block(&c->peer, content);
    if (!was_ready)
        sx_tls_forget_peer_chain(c->tls); /* the handshake is over, either way */
    return rc;
}

/* Reads up to the end of the present block. *more: there may be further input. */
static simplex_rc read_some(struct sx_srv_conn *c, simplex_bytes *in, bool *more)
{
    uint8_t *to = c->partial != NULL ? c->partial : c->loop->block;
    size_t got;

    *more = false;
    simplex_rc rc = sx_tls_receive(c->tls, in, to + c->have, SX_BLOCK - c->have, &got);
    if (rc != SIMPLEX_OK)
        return rc;
    if (!c->has_session && sx_tls_web(c->tls))
        return move_to_web(c, in);
    if (!c->has_session && sx_tls_ready(c->tls) && (rc = start_session(c)) != SIMPLEX_OK)
        return rc;
    if (got == 0)
        return SIMPLEX_OK;
    *more = true;
    c->have += got;
    if (c->have == SX_BLOCK) {
        rc = handle_block(c, to);
        c->have = 0;
        c->partial_ms = 0;
        if (c->partial != NULL)
            sx_free_secret(c->partial, SX_BLOCK);
        c->partial = NULL;
    } else if (c->partial == NULL) {
        c->partial = sx_malloc(SX_BLOCK);
        if (c->partial == NULL)
            return SIMPLEX_E_NOMEM;
        memcpy(c->partial, c->loop->block, c->have);
    }
    return rc;
}

/* Part of a block, or of the TLS record that has it, holds memory: how long is watched. */
static void watch_partial(struct sx_srv_conn *c)
{
    if (c->partial == NULL && !sx_tls_unfinished(c->tls))
        c->partial_ms = 0;
    else if (c->partial_ms == 0)
        c->partial_ms = (int64_t)uv_now(&c->loop->uv);
}

/* Section 10, log_tls_errors. A flood of them is a line a second and a number. */
static void log_tls_error(struct sx_loop *l, simplex_rc rc)
{
    int64_t now = (int64_t)uv_now(&l->uv);

    if (!l->cfg->log_tls_errors)
        return;
    if (l->tls_logged_ms != 0 && now - l->tls_logged_ms < TLS_LOG_MS) {
        l->tls_unlogged++;
        return;
    }
    sx_log(SX_LOG_WARN, "TLS handshake failed: %s (and %u since the last line)",
           simplex_rc_text(rc), l->tls_unlogged);
    l->tls_logged_ms = now;
    l->tls_unlogged = 0;
}

static void input(struct sx_srv_conn *c, simplex_bytes in)
{
    simplex_rc rc = SIMPLEX_OK;
    bool more = true;

    while (rc == SIMPLEX_OK && more && !sx_peer_paused(&c->peer))
        rc = read_some(c, &in, &more);
    if (c->closing) /* a browser */
        return;
    watch_partial(c);
    if (rc == SIMPLEX_OK && more) {
        c->throttled = true;
        uv_read_stop((uv_stream_t *)&c->tcp);
        if (in.len > 0)
            rc = sx_tls_feed(c->tls, in);
    }
    if (rc != SIMPLEX_OK && !c->has_session)
        log_tls_error(c->loop, rc);
    if (rc != SIMPLEX_OK)
        finish(c);
    else
        flush(c); /* of the handshake */
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    struct sx_srv_conn *c = h->data;

    (void)suggested;
    *buf = uv_buf_init((char *)c->loop->read_buf, sizeof(c->loop->read_buf));
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    struct sx_srv_conn *c = s->data;

    if (n < 0) {
        sx_srv_conn_close(c);
        return;
    }
    if (n == 0)
        return;
    c->active_ms = (int64_t)uv_now(&c->loop->uv);
    input(c, sx_bytes(buf->base, (size_t)n));
    sx_loop_settle(c->loop);
}

/* ---- opening and time limits ---- */

static bool set_up(struct sx_srv_conn *c, int fd)
{
    if (uv_tcp_open(&c->tcp, fd) != 0) {
        close(fd);
        return false;
    }
    uv_tcp_nodelay(&c->tcp, 1); /* section 14, item 9 */
    uv_tcp_keepalive(&c->tcp, 1, 60);
    const struct sx_io_cfg *cfg = c->loop->cfg;
    if (sx_tls_new(c->port->web ? cfg->tls_web : cfg->tls, NULL, &c->tls) != SIMPLEX_OK)
        return false;
    return uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) == 0;
}

void sx_srv_conn_open(struct sx_loop *l, int fd, struct sx_port *port)
{
    struct sx_srv_conn *c = sx_calloc(1, sizeof(*c));

    if (c == NULL || uv_tcp_init(&l->uv, &c->tcp) != 0) {
        close(fd);
        count_closed(l, port);
        sx_free(c);
        return;
    }
    c->tcp.data = c;
    c->loop = l;
    c->port = port;
    c->started_ms = c->active_ms = (int64_t)uv_now(&l->uv);
    sx_peer_init(&c->peer, &l->hub, &c->session, c);
    c->next = l->conns;
    if (l->conns != NULL)
        l->conns->prev = c;
    l->conns = c;
    if (!set_up(c, fd))
        sx_srv_conn_close(c);
}

/* Bytes written that the client has not taken: in our queue and in the system's. */
static size_t untaken(const struct sx_srv_conn *c)
{
    size_t n = uv_stream_get_write_queue_size((const uv_stream_t *)&c->tcp);

#ifdef SIOCOUTQ
    uv_os_fd_t fd;
    int unsent = 0;
    /* Our queue moves on only when a good part of the system's has gone. */
    if (uv_fileno((const uv_handle_t *)&c->tcp, &fd) == 0 && ioctl(fd, SIOCOUTQ, &unsent) == 0 &&
        unsent > 0)
        n += (size_t)unsent;
#endif
    return n;
}

/* A slow reader is served as long as it reads: each byte it takes starts the clock again. */
static bool stalled(struct sx_srv_conn *c, int64_t now)
{
    if (c->writing == NULL)
        return false;
    size_t left = untaken(c);
    if (left < c->untaken) {
        c->untaken = left;
        c->write_ms = now;
    }
    return now - c->write_ms > c->loop->cfg->stall_timeout_ms;
}

static bool too_slow(struct sx_srv_conn *c, int64_t now)
{
    const struct sx_io_cfg *cfg = c->loop->cfg;

    if (stalled(c, now))
        return true;
    if (c->partial_ms != 0 && !c->throttled && now - c->partial_ms > cfg->stall_timeout_ms)
        return true; /* a byte of a block would hold the memory of all of it for ever */
    if (!c->has_session)
        return now - c->started_ms > cfg->tls_timeout_ms;
    return c->session.state != SX_S_READY && now - c->started_ms > cfg->handshake_timeout_ms;
}

/* Section 10: a client without subscriptions that sends and receives nothing; PING is enough. */
static bool inactive(const struct sx_srv_conn *c, int64_t now)
{
    return !sx_peer_busy(&c->peer) &&
           now - c->active_ms > atomic_load(&c->loop->cfg->inactive_ttl_ms);
}

static bool inactive_check_due(struct sx_loop *l, int64_t now)
{
    if (atomic_load(&l->cfg->inactive_ttl_ms) <= 0 ||
        now - l->inactive_checked_ms < atomic_load(&l->cfg->inactive_check_ms))
        return false;
    l->inactive_checked_ms = now;
    return true;
}

void sx_srv_conns_check(struct sx_loop *l, int64_t now)
{
    bool due = inactive_check_due(l, now);
    struct sx_srv_conn *next;

    for (struct sx_srv_conn *c = l->conns; c != NULL; c = next) {
        next = c->next;
        if (too_slow(c, now) || (due && inactive(c, now)))
            sx_srv_conn_close(c);
    }
}

void sx_srv_conns_flush_ends(struct sx_loop *l)
{
    for (struct sx_srv_conn *c = l->conns; c != NULL; c = c->next)
        if (c->peer.n_ended > 0)
            sx_peer_flush_ends(&c->peer);
}

void sx_srv_conns_flush_ntfs(struct sx_loop *l)
{
    for (struct sx_srv_conn *c = l->conns; c != NULL; c = c->next)
        if (c->peer.ntfs != NULL)
            sx_peer_flush_ntfs(&c->peer);
}

void sx_srv_conns_list(const struct sx_loop *l, struct sx_wr *to, unsigned *n)
{
    int64_t now = (int64_t)uv_now(&l->uv);

    for (const struct sx_srv_conn *c = l->conns; c != NULL; c = c->next) {
        char text[160];
        snprintf(text, sizeof(text), "%u,", ++*n);
        sx_wr_text(to, text);
        sx_b64url_encode(to, sx_bytes(c->session.id, c->session.id_len));
        snprintf(text, sizeof(text), ",%s,%" PRId64 ",%" PRId64 ",%zu\n",
                 c->has_session && c->session.state == SX_S_READY ? "True" : "False",
                 (now - c->started_ms) / 1000, (now - c->active_ms) / 1000, c->peer.n_subs);
        sx_wr_text(to, text);
    }
}
