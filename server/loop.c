/* SPDX-License-Identifier: Apache-2.0 */
/* Threads, timers, accepting connections and handing them over. */
#include "loop.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#define TICK_MS 250
/* Connections accepted before the loop serves those it has. Accepting is cheap beside a handshake:
 * when thousands come at once, those that wait too long in the queue of the system are lost. */
#define ACCEPT_BURST 1024

void sx_loop_settle(struct sx_loop *l)
{
    struct sx_peer *p;

    sx_hub_run(&l->hub);
    while ((p = sx_hub_ready(&l->hub)) != NULL) {
        sx_srv_conn_pump(p->user);
        sx_hub_run(&l->hub); /* a client that was held up may have been read from */
    }
}

/* ---- requests of other threads ---- */

static void wake(void *user)
{
    struct sx_loop *l = user;

    uv_async_send(&l->async);
}

/* The loop takes the socket, or it is closed when the loop is about to end. */
static void hand_over(struct sx_loop *l, int fd, struct sx_port *port)
{
    struct sx_fd *node = sx_malloc(sizeof(*node));

    pthread_mutex_lock(&l->lock);
    if (node == NULL || l->stopping) {
        pthread_mutex_unlock(&l->lock);
        sx_free(node);
        close(fd);
        return;
    }
    node->fd = fd;
    node->port = port;
    node->next = l->fds;
    l->fds = node;
    atomic_fetch_add(&l->n_conns, 1);
    atomic_fetch_add(&port->open, 1);
    uv_async_send(&l->async); /* not after the handle was closed: under the lock */
    pthread_mutex_unlock(&l->lock);
}

static void close_fds(struct sx_fd *list)
{
    while (list != NULL) {
        struct sx_fd *next = list->next;
        close(list->fd);
        sx_free(list);
        list = next;
    }
}

static void open_fds(struct sx_loop *l, struct sx_fd *list)
{
    while (list != NULL) {
        struct sx_fd *next = list->next;
        sx_srv_conn_open(l, list->fd, list->port);
        sx_free(list);
        list = next;
    }
}

static void close_handle(uv_handle_t *h, void *arg)
{
    (void)arg;
    if (!uv_is_closing(h))
        uv_close(h, NULL);
}

static void on_async(uv_async_t *a)
{
    struct sx_loop *l = a->data;

    pthread_mutex_lock(&l->lock);
    struct sx_fd *fds = l->fds;
    l->fds = NULL;
    bool stopping = l->stopping;
    unsigned drop = l->drop_wanted;
    bool dropping = drop != l->drop_done;
    void (*call)(struct sx_loop *, void *) = l->call;
    pthread_mutex_unlock(&l->lock);

    if (stopping)
        close_fds(fds);
    else
        open_fds(l, fds);
    if (stopping || dropping)
        sx_srv_conn_close_all(l);
    if (dropping) {
        pthread_mutex_lock(&l->lock);
        l->drop_done = drop;
        pthread_cond_broadcast(&l->dropped);
        pthread_mutex_unlock(&l->lock);
    }
    if (call != NULL) {
        call(l, l->call_arg);
        pthread_mutex_lock(&l->lock);
        l->call = NULL;
        pthread_cond_broadcast(&l->dropped);
        pthread_mutex_unlock(&l->lock);
    }
    if (stopping) {
        sx_hub_rest(&l->hub);
        uv_walk(&l->uv, close_handle, NULL); /* the connections' are closing: the rest is ours */
    } else {
        sx_loop_settle(l);
    }
}

/* ---- accepting ---- */

static struct sx_loop *least_loaded(struct sx_loop *l, size_t *total)
{
    struct sx_loop *best = NULL;
    size_t fewest = 0;

    *total = 0;
    for (unsigned i = 0; i < l->n_all; i++) {
        size_t n = atomic_load(&l->all[i].n_conns);
        *total += n;
        if (best == NULL || n < fewest) {
            best = &l->all[i];
            fewest = n;
        }
    }
    return best;
}

static void on_accept(uv_poll_t *poll, int status, int events)
{
    struct sx_loop *l = poll->data;
    struct sx_port *port = &l->listeners->port[poll - l->accept];

    (void)events;
    if (status < 0)
        return;
    for (int i = 0; i < ACCEPT_BURST; i++) {
        int fd = accept(port->fd, NULL, NULL);
        size_t total;
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
                uv_poll_stop(poll); /* the tick starts it again: no busy loop meanwhile */
            return;
        }
        atomic_fetch_add(&port->accepted, 1);
        struct sx_loop *to = least_loaded(l, &total);
        if (total >= l->cfg->max_connections || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
            close(fd);
        else
            hand_over(to, fd, port);
    }
}

/* ---- timers ---- */

/* A thread that is busy, or waits for something, serves its timers late. */
static void note_lateness(struct sx_loop *l)
{
    int64_t now = sx_mono_us(), late = l->tick_due_us == 0 ? 0 : now - l->tick_due_us;
    uint64_t us = late < 0 ? 0 : (uint64_t)late;

    l->tick_due_us = now + TICK_MS * INT64_C(1000);
    atomic_store_explicit(&l->late_us, us, memory_order_relaxed);
    atomic_fetch_add_explicit(&l->late_total_us, us, memory_order_relaxed);
}

/* A look at all shards takes 64 ticks, or less when the next one is due before that. */
static void expire_some(struct sx_loop *l)
{
    int64_t ticks = l->expire_every / TICK_MS;
    unsigned n = ticks >= SX_STORE_SHARDS ? 1
                 : ticks <= 1             ? SX_STORE_SHARDS
                                          : SX_STORE_SHARDS / (unsigned)ticks + 1;

    for (; n > 0 && l->expiring < SX_STORE_SHARDS; n--)
        sx_srv_expire_shard(l->hub.srv, l->expiring++);
}

static void on_ends(uv_timer_t *t)
{
    struct sx_loop *l = t->data;

    sx_srv_conns_flush_ends(l);
    sx_loop_settle(l);
}

static void on_ntfs(uv_timer_t *t)
{
    struct sx_loop *l = t->data;

    sx_srv_conns_flush_ntfs(l);
    sx_loop_settle(l);
}

static void on_expire(uv_timer_t *t)
{
    struct sx_loop *l = t->data;

    if (l->expiring >= SX_STORE_SHARDS) /* a look that is not over goes on */
        l->expiring = 0;
}

/* Starts the timer anew when its interval is another one than it runs with; 0: stops it. */
static int set_timer(uv_timer_t *t, uv_timer_cb cb, int64_t *every, int64_t wanted)
{
    if (*every == wanted)
        return 0;
    *every = wanted;
    return wanted <= 0 ? uv_timer_stop(t)
                       : uv_timer_start(t, cb, (uint64_t)wanted, (uint64_t)wanted);
}

static int set_timers(struct sx_loop *l)
{
    const struct sx_io_cfg *cfg = l->cfg;
    int e = set_timer(&l->end_timer, on_ends, &l->end_every, atomic_load(&cfg->end_flush_ms));

    if (e == 0)
        e = set_timer(&l->ntf_timer, on_ntfs, &l->ntf_every, atomic_load(&cfg->ntf_flush_ms));
    if (e == 0 && l->listeners != NULL)
        e = set_timer(&l->expire_timer, on_expire, &l->expire_every,
                      atomic_load(&cfg->expire_interval_ms));
    return e;
}

/* What a reload has changed. What waits for a timer that is stopped leaves now. */
static void follow_intervals(struct sx_loop *l)
{
    bool ends = l->end_every > 0, ntfs = l->ntf_every > 0;

    (void)set_timers(l); /* cannot fail: the handles are there */
    ends = ends && l->end_every <= 0;
    ntfs = ntfs && l->ntf_every <= 0;
    if (ends)
        sx_srv_conns_flush_ends(l);
    if (ntfs)
        sx_srv_conns_flush_ntfs(l);
    if (ends || ntfs)
        sx_loop_settle(l);
}

static unsigned n_ports(const struct sx_loop *l)
{
    return l->listeners == NULL ? 0 : l->listeners->count;
}

static void on_tick(uv_timer_t *t)
{
    struct sx_loop *l = t->data;

    note_lateness(l);
    sx_unacked_tick(&l->hub);
    sx_srv_conns_check(l, (int64_t)uv_now(&l->uv));
    if (l->listeners != NULL)
        expire_some(l);
    follow_intervals(l);
    for (unsigned i = 0; i < n_ports(l); i++)
        if (!uv_is_active((uv_handle_t *)&l->accept[i]))
            uv_poll_start(&l->accept[i], UV_READABLE, on_accept);
}

static int init_timer(struct sx_loop *l, uv_timer_t *t)
{
    t->data = l;
    return uv_timer_init(&l->uv, t);
}

static int start_handles(struct sx_loop *l)
{
    uv_timer_t *const timers[] = { &l->tick, &l->end_timer, &l->ntf_timer, &l->expire_timer };
    int e = uv_async_init(&l->uv, &l->async, on_async);

    l->async.data = l;
    for (size_t i = 0; e == 0 && i < SX_COUNT(timers); i++)
        e = init_timer(l, timers[i]);
    if (e == 0)
        e = uv_timer_start(&l->tick, on_tick, TICK_MS, TICK_MS);
    if (e == 0)
        e = set_timers(l);
    for (unsigned i = 0; e == 0 && i < n_ports(l); i++) {
        e = uv_poll_init(&l->uv, &l->accept[i], l->listeners->port[i].fd);
        l->accept[i].data = l;
        if (e == 0)
            e = uv_poll_start(&l->accept[i], UV_READABLE, on_accept);
    }
    return e;
}

static void thread_main(void *arg)
{
    struct sx_loop *l = arg;

    sx_thread_ignore_sigpipe();
    uv_run(&l->uv, UV_RUN_DEFAULT);
}

/* ---- life ---- */

simplex_rc sx_loop_start(struct sx_loop *l, const struct sx_io_cfg *cfg, struct sx_srv *srv,
                         struct sx_listeners *listeners, struct sx_loop *all, unsigned n)
{
    l->cfg = cfg;
    l->expiring = SX_STORE_SHARDS;
    l->listeners = listeners;
    l->all = all;
    l->n_all = n;
    simplex_rc rc = sx_hub_open(&l->hub, srv, wake, l);
    if (rc != SIMPLEX_OK)
        return rc;
    l->has_hub = true;
    if (pthread_mutex_init(&l->lock, NULL) != 0 || pthread_cond_init(&l->dropped, NULL) != 0)
        return SIMPLEX_E_SYSTEM;
    if (uv_loop_init(&l->uv) != 0)
        return SIMPLEX_E_SYSTEM;
    l->has_uv = true;
    if (start_handles(l) != 0 || uv_thread_create(&l->thread, thread_main, l) != 0)
        return SIMPLEX_E_SYSTEM;
    l->has_thread = true;
    return SIMPLEX_OK;
}

void sx_loop_stop(struct sx_loop *l)
{
    if (!l->has_thread)
        return;
    pthread_mutex_lock(&l->lock);
    l->stopping = true;
    uv_async_send(&l->async);
    pthread_mutex_unlock(&l->lock);
}

void sx_loop_join(struct sx_loop *l)
{
    if (l->has_thread) {
        uv_thread_join(&l->thread);
    } else if (l->has_uv) { /* the start failed half-way */
        uv_walk(&l->uv, close_handle, NULL);
        uv_run(&l->uv, UV_RUN_DEFAULT);
    }
    if (l->has_uv)
        uv_loop_close(&l->uv);
    if (l->has_hub) {
        pthread_cond_destroy(&l->dropped);
        pthread_mutex_destroy(&l->lock);
        sx_hub_close(&l->hub);
    }
    l->has_thread = l->has_uv = l->has_hub = false;
}

void sx_loop_call(struct sx_loop *l, void (*fn)(struct sx_loop *l, void *arg), void *arg)
{
    pthread_mutex_lock(&l->lock);
    l->call_arg = arg;
    l->call = fn;
    uv_async_send(&l->async);
    while (l->call != NULL)
        pthread_cond_wait(&l->dropped, &l->lock);
    pthread_mutex_unlock(&l->lock);
}

void sx_loop_drop(struct sx_loop *l)
{
    pthread_mutex_lock(&l->lock);
    unsigned wanted = ++l->drop_wanted;
    uv_async_send(&l->async);
    while ((int)(l->drop_done - wanted) < 0)
        pthread_cond_wait(&l->dropped, &l->lock);
    pthread_mutex_unlock(&l->lock);
}
