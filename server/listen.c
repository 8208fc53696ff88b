/* SPDX-License-Identifier: Apache-2.0 */
#include "listen.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 65535 /* the system takes as many of them as somaxconn says */

/* Both kinds of addresses on one socket for ::, whatever the system's default is. */
static bool set_options(int fd, int family)
{
    int on = 1, off = 0;

    return fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 && fcntl(fd, F_SETFL, O_NONBLOCK) == 0 &&
           setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
           (family != AF_INET6 ||
            setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) == 0);
}

static int listen_on(const struct addrinfo *ai)
{
    int fd = socket(ai->ai_family, ai->ai_socktype, ai->ai_protocol);

    if (fd < 0)
        return -1;
    if (set_options(fd, ai->ai_family) && bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 &&
        listen(fd, BACKLOG) == 0)
        return fd;
    int e = errno;
    close(fd);
    errno = e;
    return -1;
}

static const char *listen_hint(int e)
{
    switch (e) {
    case EADDRINUSE:
        return "another program has this port: stop it or choose another port";
    case EACCES:
        return "ports below 1024 need a right (AmbientCapabilities=CAP_NET_BIND_SERVICE in the "
               "unit, or setcap cap_net_bind_service=+ep on the program): give it, or choose a "
               "higher port";
    case EADDRNOTAVAIL:
        return "this machine has no such address: choose one it has, or 0.0.0.0";
    default:
        return strerror(e);
    }
}

/* Returns a socket, -1 with errno set, or -2 when the text is no address. */
static int open_socket(const char *host, uint16_t port)
{
    struct addrinfo hints = { .ai_family = AF_UNSPEC,
                              .ai_socktype = SOCK_STREAM,
                              .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE };
    struct addrinfo *ai = NULL;
    char text[6];

    snprintf(text, sizeof(text), "%u", port);
    if (getaddrinfo(host, text, &hints, &ai) != 0)
        return -2;
    int fd = listen_on(ai);
    int e = errno;
    freeaddrinfo(ai);
    errno = e;
    return fd;
}

/* A machine without IPv6 has IPv4. */
static int open_all(uint16_t port)
{
    int fd = open_socket("::", port);

    if (fd < 0 && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL || errno == EPROTONOSUPPORT))
        fd = open_socket("0.0.0.0", port);
    return fd;
}

static bool port_of(int fd, uint16_t *port)
{
    struct sockaddr_storage at;
    socklen_t at_len = sizeof(at);

    if (getsockname(fd, (struct sockaddr *)&at, &at_len) != 0)
        return false;
    *port = ntohs(at.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)(void *)&at)->sin6_port
                                           : ((struct sockaddr_in *)(void *)&at)->sin_port);
    return true;
}

simplex_rc sx_listen(struct sx_listeners *to, const char *host, uint16_t port,
                     struct sx_errtext *err)
{
    bool all = strcmp(host, "*") == 0;
    uint16_t number;

    if (to->count == SX_LISTEN_MAX) {
        sx_errtext_set(err, "a server listens on at most %d ports", SX_LISTEN_MAX);
        return SIMPLEX_E_ARG;
    }
    int fd = all ? open_all(port) : open_socket(host, port);
    if (fd == -2) {
        sx_errtext_set(err, "cannot listen on %s: give an IPv4 or IPv6 address of this machine",
                       host);
        return SIMPLEX_E_ARG;
    }
    if (fd < 0 || !port_of(fd, &number)) {
        sx_errtext_set(err, "cannot listen on %s port %u: %s", all ? "all addresses," : host, port,
                       listen_hint(errno));
        if (fd >= 0)
            close(fd);
        return SIMPLEX_E_SYSTEM;
    }
    to->port[to->count].fd = fd;
    to->port[to->count++].number = number;
    return SIMPLEX_OK;
}

void sx_listen_close(struct sx_listeners *l)
{
    while (l->count > 0)
        close(l->port[--l->count].fd);
}
