/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nothing is read while an answer is being sent, so a client that asks without reading fills its
 * own buffers and not ours; a file is read part by part, as the client takes it.
 */
#include "web_conn.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "web_file.h"
#include "web_request.h"

#define REQUESTS_MAX 1000 /* of a connection */
#define LINGER_MS 2000
#define ANSWER_HEAD_MAX 1024

enum state {
    TLS,    /* handshake */
    HEAD,   /* waiting for a request, or reading one */
    ANSWER, /* sending */
    LINGER, /* all is sent: until the client closes too, or it could lose the answer */
};

struct sx_web_conn {
    uv_tcp_t tcp;
    uv_write_t write;
    uv_shutdown_t shutdown;
    struct sx_web_conns *l;
    struct sx_web_conn *prev, *next;
    struct sx_tls *tls; /* NULL: none */
    enum state state;
    int64_t since_ms; /* of the state, or the last progress in it */
    unsigned requests;
    size_t have; /* of in */
    int file;    /* -1: none, or all of it is sent */
    uint64_t left;
    uint8_t *writing; /* handed to the socket */
    bool last;        /* no request after this one */
    bool reading, closing;
    uint8_t in[SX_WEB_HEAD_MAX];
};

static void go_on(struct sx_web_conn *c);

static int64_t now_of(const struct sx_web_conn *c)
{
    return (int64_t)uv_now(c->l->uv);
}

static void enter(struct sx_web_conn *c, enum state s)
{
    c->state = s;
    c->since_ms = now_of(c);
}

/* ---- closing ---- */

static void on_closed(uv_handle_t *h)
{
    struct sx_web_conn *c = h->data;

    sx_tls_free(c->tls);
    sx_free(c->writing);
    if (c->file >= 0)
        close(c->file);
    c->l->count--;
    sx_free(c);
}

static void close_conn(struct sx_web_conn *c)
{
    struct sx_web_conns *l = c->l;

    if (c->closing)
        return;
    c->closing = true;
    if (c->prev == NULL)
        l->first = c->next;
    else
        c->prev->next = c->next;
    if (c->next == NULL)
        l->last = c->prev;
    else
        c->next->prev = c->prev;
    uv_close((uv_handle_t *)&c->tcp, on_closed);
}

void sx_web_conns_close(struct sx_web_conns *l)
{
    while (l->first != NULL)
        close_conn(l->first);
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
    struct sx_web_conn *c = req->handle->data;

    if (status < 0)
        close_conn(c);
}

/* ---- output ---- */

static void on_written(uv_write_t *req, int status)
{
    struct sx_web_conn *c = req->data;

    sx_free(c->writing);
    c->writing = NULL;
    if (c->closing)
        return;
    if (status < 0) {
        close_conn(c);
        return;
    }
    if (c->state == ANSWER)
        c->since_ms = now_of(c);
    go_on(c);
}

/* Takes the buffer. */
static void write_out(struct sx_web_conn *c, uint8_t *p, size_t len)
{
    uv_buf_t buf = uv_buf_init((char *)p, (unsigned)len);

    c->writing = p;
    c->write.data = c;
    if (uv_write(&c->write, (uv_stream_t *)&c->tcp, &buf, 1, on_written) != 0)
        close_conn(c);
}

/* What TLS has made: of the handshake, an alert, or encrypted data. False: there was nothing. */
static bool write_tls(struct sx_web_conn *c)
{
    size_t len;
    uint8_t *p = c->tls == NULL || c->writing != NULL ? NULL : sx_tls_take(c->tls, &len);

    if (p == NULL)
        return false;
    write_out(c, p, len);
    return true;
}

static void send_data(struct sx_web_conn *c, simplex_bytes data)
{
    if (c->tls != NULL) {
        if (sx_tls_write(c->tls, data) != SIMPLEX_OK || !write_tls(c))
            close_conn(c);
        return;
    }
    uint8_t *copy = sx_memdup(data);
    if (copy == NULL)
        close_conn(c);
    else
        write_out(c, copy, data.len);
}

/* A file that has become shorter cannot be what was announced: the connection ends. */
static void send_part(struct sx_web_conn *c)
{
    uint64_t n = c->left < SX_WEB_PART ? c->left : SX_WEB_PART;
    ssize_t got = read(c->file, c->l->part, (size_t)n);

    if (got <= 0) {
        close_conn(c);
        return;
    }
    c->left -= (uint64_t)got;
    send_data(c, sx_bytes(c->l->part, (size_t)got));
}

static void end_answer(struct sx_web_conn *c)
{
    if (c->file >= 0)
        close(c->file);
    c->file = -1;
    if (!c->last) {
        enter(c, HEAD);
        return;
    }
    enter(c, LINGER);
    if (c->tls != NULL)
        sx_tls_shutdown(c->tls);
    (void)write_tls(c);
    if (!c->closing && uv_shutdown(&c->shutdown, (uv_stream_t *)&c->tcp, on_shutdown) != 0)
        close_conn(c);
}

/* ---- answers ---- */

static const char *reason(unsigned status)
{
    switch (status) {
    case 200:
        return "OK";
    case 304:
        return "Not Modified";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 413:
        return "Content Too Large";
    case 414:
        return "URI Too Long";
    case 431:
        return "Request Header Fields Too Large";
    case 505:
        return "HTTP Version Not Supported";
    default:
        return "Bad Request";
    }
}

/* A browser takes a file for nothing else than its type says, and tells no other site where a link
 * was followed from. */
static void put_status(struct sx_wr *w, const struct sx_web_conn *c, unsigned status)
{
    char text[320], date[SX_WEB_DATE];

    sx_web_date(sx_now_ms() / 1000, date);
    snprintf(text, sizeof(text),
             "HTTP/1.1 %u %s\r\nDate: %s\r\nX-Content-Type-Options: nosniff\r\n"
             "Referrer-Policy: no-referrer\r\nConnection: %s\r\n",
             status, reason(status), date, c->last ? "close" : "keep-alive");
    sx_wr_text(w, text);
}

static void answer_error(struct sx_web_conn *c, unsigned status, bool head)
{
    uint8_t buf[ANSWER_HEAD_MAX];
    struct sx_wr w;
    char text[160];

    sx_wr_fixed(&w, buf, sizeof(buf));
    put_status(&w, c, status);
    snprintf(text, sizeof(text),
             "Content-Type: text/plain; charset=utf-8\r\nContent-Length: %zu\r\n%s\r\n",
             strlen(reason(status)) + 1, status == 405 ? "Allow: GET, HEAD\r\n" : "");
    sx_wr_text(&w, text);
    if (!head) {
        sx_wr_text(&w, reason(status));
        sx_wr_text(&w, "\n");
    }
    send_data(c, sx_wr_bytes(&w));
}

/* Whether a browser has this version of the file (RFC 9110 section 13.1): the tag decides, and a
 * date only without it. */
static bool unchanged(const struct sx_web_request *r, const struct sx_web_file *f)
{
    simplex_bytes tags = r->if_none_match, tag = sx_str(f->etag);

    if (tags.len == 0)
        return sx_bytes_eq(r->if_modified_since, sx_str(f->modified));
    if (sx_bytes_eq(tags, sx_str("*")))
        return true;
    for (size_t i = 0; i + tag.len <= tags.len; i++)
        if (memcmp(tags.ptr + i, tag.ptr, tag.len) == 0)
            return true;
    return false;
}

static void answer_file(struct sx_web_conn *c, const struct sx_web_request *r,
                        const struct sx_web_file *f)
{
    bool has_it = unchanged(r, f);
    uint8_t buf[ANSWER_HEAD_MAX];
    char text[320];
    struct sx_wr w;

    sx_wr_fixed(&w, buf, sizeof(buf));
    put_status(&w, c, has_it ? 304 : 200);
    snprintf(text, sizeof(text), "ETag: %s\r\nLast-Modified: %s\r\nCache-Control: no-cache\r\n",
             f->etag, f->modified);
    sx_wr_text(&w, text);
    if (!has_it) {
        snprintf(text, sizeof(text), "Content-Type: %s\r\nContent-Length: %" PRIu64 "\r\n", f->type,
                 f->size);
        sx_wr_text(&w, text);
    }
    sx_wr_text(&w, "\r\n");
    c->file = f->fd;
    c->left = has_it || r->head ? 0 : f->size;
    send_data(c, sx_wr_bytes(&w));
}

static void answer(struct sx_web_conn *c, const struct sx_web_request *r)
{
    struct sx_web_file f;

    enter(c, ANSWER);
    c->last = r->close || ++c->requests >= REQUESTS_MAX;
    if (r->refused != 0) {
        answer_error(c, r->refused, r->head);
        return;
    }
    int root = open(c->l->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool found = root >= 0 && sx_web_file_open(root, r->path, &f);
    if (root >= 0)
        close(root);
    if (found)
        answer_file(c, r, &f);
    else
        answer_error(c, 404, r->head);
}

/* ---- input ---- */

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    struct sx_web_conn *c = h->data;

    (void)suggested;
    *buf = uv_buf_init((char *)c->l->read_buf, sizeof(c->l->read_buf));
}

/* What does not fit is further requests behind a first one, or a head that is too long: the client
 * is answered once. */
static void put_plain(struct sx_web_conn *c, simplex_bytes in)
{
    size_t n = in.len < sizeof(c->in) - c->have ? in.len : sizeof(c->in) - c->have;

    memcpy(c->in + c->have, in.ptr, n);
    c->have += n;
    c->last = c->last || n < in.len;
}

/* An alert of TLS goes out, if there is one. */
static void fail_tls(struct sx_web_conn *c)
{
    c->last = true;
    enter(c, LINGER);
    if (!write_tls(c))
        close_conn(c);
}

static void tls_moved(struct sx_web_conn *c, simplex_rc rc)
{
    if (rc != SIMPLEX_OK)
        fail_tls(c);
    else if (c->state == TLS && sx_tls_ready(c->tls))
        enter(c, HEAD);
}

static void take_input(struct sx_web_conn *c, simplex_bytes in)
{
    if (c->state == LINGER)
        return;
    if (c->tls != NULL)
        tls_moved(c, sx_tls_feed(c->tls, in));
    else
        put_plain(c, in);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    struct sx_web_conn *c = s->data;

    if (n < 0) {
        close_conn(c);
        return;
    }
    if (n > 0)
        take_input(c, sx_bytes(buf->base, (size_t)n));
    go_on(c);
}

/* A record after the other: behind a request may stand that nothing more comes. */
static bool more_plain(struct sx_web_conn *c)
{
    size_t got = 0;

    if (c->tls == NULL || c->have == sizeof(c->in))
        return false;
    if (sx_tls_read(c->tls, c->in + c->have, sizeof(c->in) - c->have, &got) != SIMPLEX_OK) {
        fail_tls(c);
        return false;
    }
    c->have += got;
    return got > 0;
}

/* The next request of those that have come. */
static bool next_request(struct sx_web_conn *c)
{
    struct sx_web_request r;
    size_t n = 0;

    do {
        n = c->have == 0 ? 0 : sx_web_request_read(sx_bytes(c->in, c->have), &r);
    } while (n == 0 && more_plain(c));
    if (n == 0)
        return false;
    r.close = r.close || c->last;
    answer(c, &r); /* r points into `in` */
    c->have -= n;
    memmove(c->in, c->in + n, c->have);
    return true;
}

static void set_reading(struct sx_web_conn *c)
{
    bool wanted = c->state != ANSWER;

    if (c->closing || wanted == c->reading)
        return;
    c->reading = wanted;
    if (!wanted)
        uv_read_stop((uv_stream_t *)&c->tcp);
    else if (uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) != 0)
        close_conn(c);
}

/* Everything that can be done now. One write is under way at a time. */
static void go_on(struct sx_web_conn *c)
{
    bool more = true;

    while (more && !c->closing && c->writing == NULL) {
        more = false;
        if (write_tls(c))
            break;
        if (c->closing)
            break;
        if (c->state == ANSWER && c->left > 0) {
            send_part(c);
        } else if (c->state == ANSWER) {
            end_answer(c);
            more = c->state == HEAD;
        } else if (c->state == HEAD) {
            more = next_request(c);
        }
    }
    set_reading(c);
}

/* ---- opening and time limits ---- */

static bool make_room(struct sx_web_conns *l)
{
    struct sx_web_conn *oldest = NULL;

    if (l->count < l->max)
        return true;
    for (struct sx_web_conn *c = l->first; c != NULL; c = c->next)
        if (c->state != ANSWER && (oldest == NULL || c->since_ms < oldest->since_ms))
            oldest = c;
    if (oldest != NULL)
        close_conn(oldest);
    return oldest != NULL;
}

static void refuse(int fd, struct sx_tls *tls)
{
    close(fd);
    sx_tls_free(tls);
}

void sx_web_conn_open(struct sx_web_conns *l, int fd, struct sx_tls *tls)
{
    struct sx_web_conn *c = make_room(l) ? sx_calloc(1, sizeof(*c)) : NULL;

    if (c == NULL || uv_tcp_init(l->uv, &c->tcp) != 0) {
        sx_free(c);
        refuse(fd, tls);
        return;
    }
    c->tcp.data = c;
    c->l = l;
    c->tls = tls;
    c->file = -1;
    c->prev = l->last;
    if (l->last == NULL)
        l->first = c;
    else
        l->last->next = c;
    l->last = c;
    l->count++;
    enter(c, tls != NULL && !sx_tls_ready(tls) ? TLS : HEAD);
    if (uv_tcp_open(&c->tcp, fd) != 0) {
        close(fd);
        close_conn(c);
        return;
    }
    uv_tcp_nodelay(&c->tcp, 1);
    if (tls != NULL)
        tls_moved(c, sx_tls_resume(tls));
    go_on(c);
}

void sx_web_conns_check(struct sx_web_conns *l, int64_t now)
{
    const int64_t limit[] = { [TLS] = l->tls_timeout_ms,
                              [HEAD] = l->head_timeout_ms,
                              [ANSWER] = l->stall_timeout_ms,
                              [LINGER] = LINGER_MS };
    struct sx_web_conn *next;

    for (struct sx_web_conn *c = l->first; c != NULL; c = next) {
        next = c->next;
        if (now - c->since_ms > limit[c->state])
            close_conn(c);
    }
}
