/* SPDX-License-Identifier: Apache-2.0 */
/* A program that a test starts, talks to and waits for. */
#ifndef TESTS_PROGRAM_H
#define TESTS_PROGRAM_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

#define PROGRAM_ARGS_MAX 24

struct program {
    pid_t pid;
    FILE *out; /* stdout and stderr together */
    char text[16384];
};

/* args: without the program's name, ended by NULL. input: what it reads from stdin; NULL: nothing.
 */
void program_run(struct program *p, const char *path, const char *const *args, const char *input);
/* Reads lines into text until one has `wanted`, or to the end (NULL). */
bool program_read(struct program *p, const char *wanted);
/* Reads to the end and waits; returns the exit status, or 1000 + the signal that ended it. */
int program_end(struct program *p);
/* All of it; fails the test unless the status is this and `text` (may be NULL) is in the output. */
void program_expect(const char *path, const char *const *args, const char *input, int status,
                    const char *text);

#endif
