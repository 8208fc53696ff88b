/* SPDX-License-Identifier: Apache-2.0 */
/* A server in a process of its own, so that its memory is its own. */
#ifndef BENCH_SERVED_H
#define BENCH_SERVED_H

#include <stdint.h>
#include <sys/types.h>

struct served {
    pid_t pid;
    int stop; /* closing it stops the server */
    uint16_t port;
    uint8_t key_hash[32];
};

/* dir: where it keeps its state; NULL: in memory. Call while this process has one thread. */
struct served served_start(const char *dir);
void served_stop(const struct served *s);
double served_memory(const struct served *s); /* bytes that it really uses */
double served_cpu(const struct served *s);    /* seconds of processor time so far */

#endif
