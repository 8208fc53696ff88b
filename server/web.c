/* SPDX-License-Identifier: Apache-2.0 */
#include "web.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "web_cert.h"
#include "web_conn.h"

#define TICK_MS 500
#define CERT_MS 10000 /* its files are looked at */
#define HEAD_TIMEOUT_MS 15000
#define STALL_TIMEOUT_MS 20000
#define TLS_TIMEOUT_MS 60000
#define ACCEPT_BURST 64
#define OWN_PORTS 2
#define GIFTS_MAX \
    64 /* when more wait than the thread can take, each is a descriptor less for SMP */

struct gift { /* a browser on its way from a loop */
    struct gift *next;
    int fd;
    struct sx_tls *tls;
};

struct port {
    uv_poll_t poll;
    struct sx_web *web;
    int fd;
    uint16_t number;
    bool open, tls;
};

struct sx_web {
    uv_loop_t uv;
    uv_async_t async;
    uv_timer_t tick;
    uv_thread_t thread;
    bool has_uv, has_thread, has_lock;
    char *path, *cert_path, *key_path;
    struct sx_tls_ctx *ctx[2]; /* shared with SMP: not ours; of the port for HTTPS */
    struct sx_web_cert cert;
    int64_t cert_looked_ms;
    struct port port[OWN_PORTS]; /* HTTP, HTTPS */
    struct sx_web_conns conns;

    pthread_mutex_t lock; /* of what follows */
    struct gift *gifts;
    unsigned n_gifts;
    uint64_t refused;
    bool stopping, reload;
};

/* ---- certificate ---- */

static void load_again(struct sx_web *w)
{
    char text[512];
    struct sx_errtext err = { text, sizeof(text) };

    if (sx_web_cert_load(&w->cert, w->ctx, SX_COUNT(w->ctx), NULL, &err) == SIMPLEX_OK)
        sx_log(SX_LOG_INFO, "the web certificate was read again: %s", w->cert.cert);
    else
        sx_log(SX_LOG_WARN, "the previous web certificate stays in use: %s", text);
}

/* Clients of certificate authorities write the two files one after the other: what does not fit
 * together for a moment is looked at again when either changes. */
static void follow_cert(struct sx_web *w, int64_t now, bool reload)
{
    if (w->cert.cert == NULL || (!reload && now - w->cert_looked_ms < CERT_MS))
        return;
    w->cert_looked_ms = now;
    if (reload || sx_web_cert_changed(&w->cert))
        load_again(w);
}

/* ---- from other threads ---- */

static void refuse(int fd, struct sx_tls *tls)
{
    close(fd);
    sx_tls_free(tls);
}

void sx_web_take(struct sx_web *w, int fd, struct sx_tls *tls)
{
    struct gift *g = sx_malloc(sizeof(*g));

    if (g == NULL) {
        refuse(fd, tls);
        return;
    }
    *g = (struct gift){ NULL, fd, tls };
    pthread_mutex_lock(&w->lock);
    bool taken = !w->stopping && w->n_gifts < GIFTS_MAX;
    w->refused += !taken;
    if (taken) {
        g->next = w->gifts;
        w->gifts = g;
        w->n_gifts++;
        uv_async_send(&w->async); /* not after the handle was closed: under the lock */
    }
    pthread_mutex_unlock(&w->lock);
    if (!taken) {
        refuse(fd, tls);
        sx_free(g);
    }
}

void sx_web_reload(struct sx_web *w)
{
    pthread_mutex_lock(&w->lock);
    w->reload = true;
    if (!w->stopping)
        uv_async_send(&w->async);
    pthread_mutex_unlock(&w->lock);
}

static void close_handle(uv_handle_t *h, void *arg)
{
    (void)arg;
    if (!uv_is_closing(h))
        uv_close(h, NULL);
}

static void open_gifts(struct sx_web *w, struct gift *list, bool stopping)
{
    while (list != NULL) {
        struct gift *next = list->next;
        if (stopping)
            refuse(list->fd, list->tls);
        else
            sx_web_conn_open(&w->conns, list->fd, list->tls);
        sx_free(list);
        list = next;
    }
}

static void on_async(uv_async_t *a)
{
    struct sx_web *w = a->data;

    pthread_mutex_lock(&w->lock);
    struct gift *gifts = w->gifts;
    w->gifts = NULL;
    w->n_gifts = 0;
    bool stopping = w->stopping, reload = w->reload;
    w->reload = false;
    pthread_mutex_unlock(&w->lock);

    open_gifts(w, gifts, stopping);
    if (stopping) {
        sx_web_conns_close(&w->conns);
        uv_walk(&w->uv, close_handle, NULL); /* the connections' are closing: the rest is ours */
    } else if (reload) {
        follow_cert(w, (int64_t)uv_now(&w->uv), true);
    }
}

/* ---- ports of its own ---- */

static void open_conn(struct sx_web *w, const struct port *p, int fd)
{
    struct sx_tls *tls = NULL;

    if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 ||
        (p->tls && sx_tls_new(w->ctx[1], NULL, &tls) != SIMPLEX_OK))
        close(fd);
    else
        sx_web_conn_open(&w->conns, fd, tls);
}

static void on_accept(uv_poll_t *poll, int status, int events)
{
    struct port *p = poll->data;

    (void)events;
    for (int i = 0; status >= 0 && i < ACCEPT_BURST; i++) {
        int fd = accept(p->fd, NULL, NULL);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
                uv_poll_stop(poll); /* the tick starts it again: no busy loop meanwhile */
            return;
        }
        open_conn(p->web, p, fd);
    }
}

static simplex_rc open_port(struct sx_web *w, unsigned i, const struct sx_web_cfg *cfg,
                            struct sx_errtext *err)
{
    struct sx_listeners one = { 0 };
    struct port *p = &w->port[i];

    simplex_rc rc = sx_listen(&one, cfg->host, i == 0 ? cfg->http_port : cfg->https_port, err);
    if (rc != SIMPLEX_OK)
        return rc;
    p->web = w;
    p->fd = one.port[0].fd;
    p->number = one.port[0].number;
    p->open = true;
    p->tls = i == 1;
    p->poll.data = p;
    if (uv_poll_init(&w->uv, &p->poll, p->fd) != 0 ||
        uv_poll_start(&p->poll, UV_READABLE, on_accept) != 0)
        return SIMPLEX_E_SYSTEM;
    return SIMPLEX_OK;
}

/* ---- the thread ---- */

static void on_tick(uv_timer_t *t)
{
    struct sx_web *w = t->data;
    int64_t now = (int64_t)uv_now(&w->uv);

    sx_web_conns_check(&w->conns, now);
    follow_cert(w, now, false);
    for (unsigned i = 0; i < OWN_PORTS; i++)
        if (w->port[i].open && !uv_is_active((uv_handle_t *)&w->port[i].poll))
            uv_poll_start(&w->port[i].poll, UV_READABLE, on_accept);
}

static void thread_main(void *arg)
{
    struct sx_web *w = arg;

    sx_thread_ignore_sigpipe();
    uv_run(&w->uv, UV_RUN_DEFAULT);
}

static simplex_rc copy_text(char **to, const char *text)
{
    if (text == NULL)
        return SIMPLEX_OK;
    *to = sx_strdup(text);
    return *to == NULL ? SIMPLEX_E_NOMEM : SIMPLEX_OK;
}

static int64_t or_default(int64_t ms, int64_t fallback)
{
    return ms > 0 ? ms : fallback;
}

static simplex_rc copy_config(struct sx_web *w, const struct sx_web_cfg *cfg)
{
    simplex_rc rc = copy_text(&w->path, cfg->path);

    if (rc == SIMPLEX_OK)
        rc = copy_text(&w->cert_path, cfg->cert);
    if (rc == SIMPLEX_OK)
        rc = copy_text(&w->key_path, cfg->key);
    w->conns.uv = &w->uv;
    w->conns.root = w->path;
    w->conns.max = cfg->max_conns == 0 ? SX_WEB_CONNECTIONS_MAX : cfg->max_conns;
    w->conns.tls_timeout_ms = or_default(cfg->tls_timeout_ms, TLS_TIMEOUT_MS);
    w->conns.head_timeout_ms = or_default(cfg->head_timeout_ms, HEAD_TIMEOUT_MS);
    w->conns.stall_timeout_ms = or_default(cfg->stall_timeout_ms, STALL_TIMEOUT_MS);
    return rc;
}

static simplex_rc open_certs(struct sx_web *w, const struct sx_web_cfg *cfg, struct sx_errtext *err)
{
    simplex_rc rc = cfg->https ? sx_tls_ctx_https(&w->ctx[1]) : SIMPLEX_OK;

    w->ctx[0] = cfg->shared;
    if (rc != SIMPLEX_OK || (cfg->shared == NULL && !cfg->https))
        return rc;
    if (w->cert_path == NULL || w->key_path == NULL) {
        sx_errtext_set(err, "HTTPS needs the files of a certificate and its key");
        return SIMPLEX_E_ARG;
    }
    w->cert = (struct sx_web_cert){ .cert = w->cert_path, .key = w->key_path };
    return sx_web_cert_load(&w->cert, w->ctx, SX_COUNT(w->ctx), NULL, err);
}

static simplex_rc open_loop(struct sx_web *w)
{
    if (pthread_mutex_init(&w->lock, NULL) != 0)
        return SIMPLEX_E_SYSTEM;
    w->has_lock = true;
    if (uv_loop_init(&w->uv) != 0)
        return SIMPLEX_E_SYSTEM;
    w->has_uv = true;
    w->async.data = w->tick.data = w;
    if (uv_async_init(&w->uv, &w->async, on_async) != 0 || uv_timer_init(&w->uv, &w->tick) != 0 ||
        uv_timer_start(&w->tick, on_tick, TICK_MS, TICK_MS) != 0)
        return SIMPLEX_E_SYSTEM;
    return SIMPLEX_OK;
}

simplex_rc sx_web_open(const struct sx_web_cfg *cfg, struct sx_web **out, struct sx_errtext *err)
{
    struct sx_web *w = sx_calloc(1, sizeof(*w));

    *out = NULL;
    if (w == NULL)
        return SIMPLEX_E_NOMEM;
    simplex_rc rc = copy_config(w, cfg);
    if (rc == SIMPLEX_OK)
        rc = open_certs(w, cfg, err);
    if (rc == SIMPLEX_OK)
        rc = open_loop(w);
    if (rc == SIMPLEX_OK && cfg->http)
        rc = open_port(w, 0, cfg, err);
    if (rc == SIMPLEX_OK && cfg->https)
        rc = open_port(w, 1, cfg, err);
    if (rc == SIMPLEX_OK && uv_thread_create(&w->thread, thread_main, w) != 0)
        rc = SIMPLEX_E_SYSTEM;
    if (rc != SIMPLEX_OK) {
        sx_web_close(w);
        return rc;
    }
    w->has_thread = true;
    *out = w;
    return SIMPLEX_OK;
}

void sx_web_close(struct sx_web *w)
{
    if (w == NULL)
        return;
    if (w->has_thread) {
        pthread_mutex_lock(&w->lock);
        w->stopping = true;
        uv_async_send(&w->async);
        pthread_mutex_unlock(&w->lock);
        uv_thread_join(&w->thread);
    } else if (w->has_uv) { /* the start failed half-way */
        uv_walk(&w->uv, close_handle, NULL);
        uv_run(&w->uv, UV_RUN_DEFAULT);
    }
    if (w->has_uv)
        uv_loop_close(&w->uv);
    for (unsigned i = 0; i < OWN_PORTS; i++)
        if (w->port[i].open)
            close(w->port[i].fd);
    if (w->has_lock)
        pthread_mutex_destroy(&w->lock);
    sx_tls_ctx_free(w->ctx[1]);
    sx_free(w->path);
    sx_free(w->cert_path);
    sx_free(w->key_path);
    sx_free_secret(w, sizeof(*w));
}

uint16_t sx_web_http_port(const struct sx_web *w)
{
    return w->port[0].open ? w->port[0].number : 0;
}

uint16_t sx_web_https_port(const struct sx_web *w)
{
    return w->port[1].open ? w->port[1].number : 0;
}

size_t sx_web_connections(struct sx_web *w)
{
    return w->conns.count;
}

uint64_t sx_web_refused(struct sx_web *w)
{
    pthread_mutex_lock(&w->lock);
    uint64_t n = w->refused;
    pthread_mutex_unlock(&w->lock);
    return n;
}
