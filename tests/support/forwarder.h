/* SPDX-License-Identifier: Apache-2.0 */
/* A TCP forwarder in front of a server, on a thread of its own: the network that can fail. */
#ifndef TESTS_FORWARDER_H
#define TESTS_FORWARDER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum forwarder_mode {
    FORWARD,        /* what a network does */
    FORWARD_REFUSE, /* connections are closed at once: nobody is there */
    FORWARD_STALL,  /* connections stay, nothing gets through */
};

#define FORWARDER_LINKS 64

struct forwarder_way { /* one direction */
    uint8_t buf[65536];
    size_t from, to; /* what is between was read and not written yet */
};

struct forwarder_link {
    int fd[2];
    struct forwarder_way way[2]; /* way[0]: from fd[0] to fd[1] */
};

struct forwarder {
    uint16_t port, target;
    int listener, wake[2];
    pthread_t thread;
    pthread_mutex_t lock; /* target, mode, drop, stop, accepted, orders, done */
    pthread_cond_t obeyed;
    enum forwarder_mode mode;
    bool drop, stop;
    unsigned accepted;
    unsigned orders, done;
    struct forwarder_link *links[FORWARDER_LINKS];
};

/* Listens on a free port of 127.0.0.1 and forwards to `target` there. */
void forwarder_start(struct forwarder *f, uint16_t target);
void forwarder_stop(struct forwarder *f);
/* What is ordered has happened when these return.
 * Connections that exist are closed on FORWARD_REFUSE; after FORWARD_STALL they go on. */
void forwarder_set(struct forwarder *f, enum forwarder_mode mode);
/* New connections go to `target` from now on, and those there are are closed: somebody else answers
 * under the same address. */
void forwarder_aim(struct forwarder *f, uint16_t target);
/* Closes the connections there are; new ones may come. */
void forwarder_drop(struct forwarder *f);
unsigned forwarder_accepted(struct forwarder *f);
/* The address of the server behind it, with the forwarder's port. */
void forwarder_address(const struct forwarder *f, const char *server, char *to, size_t size);

#endif
