/* SPDX-License-Identifier: Apache-2.0 */
#include "support/forwarder.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A test cannot go on without it. */
static void need(bool ok, const char *what)
{
    if (ok)
        return;
    perror(what);
    abort();
}

static struct sockaddr_in local(uint16_t port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

static void nonblocking(int fd)
{
    need(fcntl(fd, F_SETFL, O_NONBLOCK) == 0, "fcntl");
}

/* ---- links ---- */

static void link_close(struct forwarder *f, size_t n)
{
    struct forwarder_link *l = f->links[n];

    if (l == NULL)
        return;
    (void)close(l->fd[0]);
    (void)close(l->fd[1]);
    free(l);
    f->links[n] = NULL;
}

static void close_all(struct forwarder *f)
{
    for (size_t n = 0; n < FORWARDER_LINKS; n++)
        link_close(f, n);
}

static void link_open(struct forwarder *f, int fd)
{
    struct sockaddr_in a;

    (void)pthread_mutex_lock(&f->lock);
    a = local(f->target);
    (void)pthread_mutex_unlock(&f->lock);
    int to = socket(AF_INET, SOCK_STREAM, 0);
    size_t n = 0;

    while (n < FORWARDER_LINKS && f->links[n] != NULL)
        n++;
    /* Connecting to this machine does not wait: the kernel answers. */
    if (n == FORWARDER_LINKS || to < 0 || connect(to, (struct sockaddr *)&a, sizeof a) != 0) {
        if (to >= 0)
            (void)close(to);
        (void)close(fd);
        return;
    }
    nonblocking(fd);
    nonblocking(to);
    f->links[n] = calloc(1, sizeof **f->links);
    need(f->links[n] != NULL, "calloc");
    f->links[n]->fd[0] = fd;
    f->links[n]->fd[1] = to;
}

static void accept_one(struct forwarder *f, enum forwarder_mode mode)
{
    int fd = accept(f->listener, NULL, NULL);

    if (fd < 0)
        return;
    if (mode == FORWARD_REFUSE)
        (void)close(fd);
    else
        link_open(f, fd);
}

static bool later(ssize_t n)
{
    return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
}

/* False: this link is over. */
static bool move(struct forwarder_way *w, int in, int out)
{
    ssize_t n;

    if (w->from == w->to) {
        w->from = w->to = 0;
        n = read(in, w->buf, sizeof w->buf);
        if (later(n))
            return true;
        if (n <= 0)
            return false;
        w->to = (size_t)n;
    }
    n = send(out, w->buf + w->from, w->to - w->from, MSG_NOSIGNAL);
    if (later(n))
        return true;
    if (n < 0)
        return false;
    w->from += (size_t)n;
    return true;
}

static void link_poll(const struct forwarder_link *l, struct pollfd p[2])
{
    for (int k = 0; k < 2; k++) {
        bool reads = l->way[k].from == l->way[k].to;
        bool writes = l->way[!k].from != l->way[!k].to;
        p[k].fd = l->fd[k];
        p[k].events = (short)((reads ? POLLIN : 0) | (writes ? POLLOUT : 0));
    }
}

static bool link_run(struct forwarder_link *l, const struct pollfd p[2])
{
    bool ok = true;

    for (int k = 0; ok && k < 2; k++) {
        bool pending = l->way[k].from != l->way[k].to;
        if (pending ? (p[!k].revents & POLLOUT) != 0 : p[k].revents != 0)
            ok = move(&l->way[k], l->fd[k], l->fd[!k]);
        else if ((p[k].revents & (POLLERR | POLLNVAL)) != 0)
            ok = false;
    }
    return ok;
}

/* ---- the thread ---- */

static void take_orders(struct forwarder *f, enum forwarder_mode *mode, bool *stop)
{
    uint8_t noise[64];

    while (read(f->wake[0], noise, sizeof noise) > 0)
        continue;
    (void)pthread_mutex_lock(&f->lock);
    *mode = f->mode;
    *stop = f->stop;
    if (f->drop || *stop || *mode == FORWARD_REFUSE)
        close_all(f);
    f->drop = false;
    f->done = f->orders;
    (void)pthread_cond_broadcast(&f->obeyed);
    (void)pthread_mutex_unlock(&f->lock);
}

static void count(struct forwarder *f)
{
    (void)pthread_mutex_lock(&f->lock);
    f->accepted++;
    (void)pthread_mutex_unlock(&f->lock);
}

static void *run(void *arg)
{
    struct forwarder *f = arg;
    enum forwarder_mode mode = FORWARD;
    bool stop = false;

    while (!stop) {
        struct pollfd p[2 + 2 * FORWARDER_LINKS] = { { .fd = f->wake[0], .events = POLLIN },
                                                     { .fd = f->listener, .events = POLLIN } };
        size_t of[FORWARDER_LINKS], n = 0;
        for (size_t k = 0; k < FORWARDER_LINKS && mode == FORWARD; k++) {
            if (f->links[k] == NULL)
                continue;
            link_poll(f->links[k], &p[2 + 2 * n]);
            of[n++] = k;
        }
        (void)poll(p, (nfds_t)(2 + 2 * n), -1);
        for (size_t k = 0; k < n; k++) {
            if (!link_run(f->links[of[k]], &p[2 + 2 * k]))
                link_close(f, of[k]);
        }
        take_orders(f, &mode, &stop);
        if (p[1].revents != 0 && !stop) {
            count(f);
            accept_one(f, mode);
        }
    }
    return NULL;
}

void forwarder_start(struct forwarder *f, uint16_t target)
{
    struct sockaddr_in a = local(0);
    socklen_t len = sizeof a;

    memset(f, 0, sizeof *f);
    f->target = target;
    f->listener = socket(AF_INET, SOCK_STREAM, 0);
    need(f->listener >= 0, "socket");
    need(bind(f->listener, (struct sockaddr *)&a, sizeof a) == 0, "bind");
    need(listen(f->listener, 64) == 0, "listen");
    need(getsockname(f->listener, (struct sockaddr *)&a, &len) == 0, "getsockname");
    f->port = ntohs(a.sin_port);
    nonblocking(f->listener);
    need(pipe(f->wake) == 0, "pipe");
    nonblocking(f->wake[0]);
    need(pthread_mutex_init(&f->lock, NULL) == 0, "pthread_mutex_init");
    need(pthread_cond_init(&f->obeyed, NULL) == 0, "pthread_cond_init");
    need(pthread_create(&f->thread, NULL, run, f) == 0, "pthread_create");
}

/* Called with the lock; returns without it when the thread has done it. */
static void order(struct forwarder *f)
{
    unsigned mine = ++f->orders;

    need(write(f->wake[1], "x", 1) == 1, "write");
    while ((int)(f->done - mine) < 0)
        need(pthread_cond_wait(&f->obeyed, &f->lock) == 0, "pthread_cond_wait");
    (void)pthread_mutex_unlock(&f->lock);
}

void forwarder_set(struct forwarder *f, enum forwarder_mode mode)
{
    (void)pthread_mutex_lock(&f->lock);
    f->mode = mode;
    order(f);
}

void forwarder_aim(struct forwarder *f, uint16_t target)
{
    (void)pthread_mutex_lock(&f->lock);
    f->target = target;
    f->drop = true;
    order(f);
}

void forwarder_drop(struct forwarder *f)
{
    (void)pthread_mutex_lock(&f->lock);
    f->drop = true;
    order(f);
}

unsigned forwarder_accepted(struct forwarder *f)
{
    (void)pthread_mutex_lock(&f->lock);
    unsigned n = f->accepted;
    (void)pthread_mutex_unlock(&f->lock);
    return n;
}

void forwarder_stop(struct forwarder *f)
{
    (void)pthread_mutex_lock(&f->lock);
    f->stop = true;
    order(f);
    (void)pthread_join(f->thread, NULL);
    (void)close(f->listener);
    (void)close(f->wake[0]);
    (void)close(f->wake[1]);
    (void)pthread_cond_destroy(&f->obeyed);
    (void)pthread_mutex_destroy(&f->lock);
}

void forwarder_address(const struct forwarder *f, const char *server, char *to, size_t size)
{
    const char *colon = strrchr(server, ':');

    (void)snprintf(to, size, "%.*s:%u", (int)(colon - server), server, (unsigned)f->port);
}
