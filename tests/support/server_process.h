/* SPDX-License-Identifier: Apache-2.0 */
/* The program smp-server as a process of its own, to be killed and started again. */
#ifndef TESTS_SERVER_PROCESS_H
#define TESTS_SERVER_PROCESS_H

#include "support/vec.h"

#include <sys/types.h>

#include "wire/server.h"

/* Kills are as many as they need be in the plain build; under a sanitizer the program does the same
 * work many times slower. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define TESTS_SANITIZED 1
#endif
#endif
#if !defined(TESTS_SANITIZED) && (defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__))
#define TESTS_SANITIZED 1
#endif

struct server_process {
    char dir[256];         /* certificates and state: made by the test */
    const char *option[8]; /* further ones, up to the first NULL */
    char port[8];          /* chosen when it runs the first time */
    char address[512];
    struct sx_server parsed; /* of the address */
    pid_t pid;
};

/* Returns when it listens. Fails the test when it does not start. */
void server_process_run(struct server_process *s);
/* Fails the test, and says how the process ended if it did. */
void server_process_died(struct server_process *s);
/* kill -9; everything it holds in memory is gone. */
void server_process_kill(struct server_process *s);
/* SIGTERM or SIGINT; must end by itself with status 0. */
void server_process_stop(struct server_process *s, int signal_no);

#endif
