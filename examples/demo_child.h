/* SPDX-License-Identifier: Apache-2.0 */
/* The agents of the demo as processes of their own, so that kill -9 is the real thing. */
#ifndef DEMO_CHILD_H
#define DEMO_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define DEMO_KEY_HEX 64 /* a raw database key of 32 bytes, in hex */
#define DEMO_LINE 8192  /* longest line between the demo and a child */

/* Both processes read the same clock, so latencies are exact. */
int64_t demo_us(void);

/* The child's side: `demo --peer NAME DATABASE SERVER`; the exit status. See demo_peer.c. */
int demo_peer_main(const char *name, const char *db, const char *server);

/* The demo's side. */
struct child {
    const char *name;
    char db[512];
    char key[DEMO_KEY_HEX + 1];
    pid_t pid;
    int in, out; /* our ends of its standard input and output; -1: not running */
    char line[DEMO_LINE];
    size_t len;
    bool eof;
};

/* Starts this program once more as the agent. False: the system refused. */
bool child_start(struct child *c, const char *program, const char *server);
bool child_tell(struct child *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Takes what it wrote; calls on_line for every complete line. Sets c->eof at the end. */
void child_read(struct child *c, void (*on_line)(void *user, char *line), void *user);
/* SIGKILL. What it had written before can still be read, until c->eof. */
void child_kill(struct child *c);
/* Asks it to close its agent and end. Read until c->eof, then call child_reap. */
void child_ask_to_end(struct child *c);
/* Waits for its end; the exit status, or -1 when a signal ended it. */
int child_reap(struct child *c);

#endif
