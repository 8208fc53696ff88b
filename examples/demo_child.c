/* SPDX-License-Identifier: Apache-2.0 */
#include "demo_child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

int64_t demo_us(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* A pipe that only the child it is made for inherits. */
static bool make_pipe(int fd[2])
{
    return pipe(fd) == 0 && fcntl(fd[0], F_SETFD, FD_CLOEXEC) == 0 &&
           fcntl(fd[1], F_SETFD, FD_CLOEXEC) == 0;
}

bool child_start(struct child *c, const char *program, const char *server)
{
    char program_name[] = "demo", peer[] = "--peer";
    char *argv[] = {
        program_name, peer, (char *)(uintptr_t)c->name, c->db, (char *)(uintptr_t)server, NULL
    };
    posix_spawn_file_actions_t actions;
    int to[2], from[2];

    if (!make_pipe(to) || !make_pipe(from) || posix_spawn_file_actions_init(&actions) != 0)
        return false;
    bool ok = posix_spawn_file_actions_adddup2(&actions, to[0], 0) == 0 &&
              posix_spawn_file_actions_adddup2(&actions, from[1], 1) == 0 &&
              posix_spawn(&c->pid, program, &actions, NULL, argv, environ) == 0;
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)close(to[0]);
    (void)close(from[1]);
    c->in = to[1];
    c->out = from[0];
    c->len = 0;
    c->eof = false;
    return ok && child_tell(c, "%s\n", c->key);
}

bool child_tell(struct child *c, const char *format, ...)
{
    char text[DEMO_LINE];
    va_list args;

    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return n > 0 && (size_t)n < sizeof text && write(c->in, text, (size_t)n) == n;
}

void child_read(struct child *c, void (*on_line)(void *user, char *line), void *user)
{
    ssize_t n = read(c->out, c->line + c->len, sizeof c->line - c->len);

    if (n < 0 && errno == EINTR)
        return;
    if (n <= 0) {
        c->eof = true;
        return;
    }
    c->len += (size_t)n;
    for (char *end; (end = memchr(c->line, '\n', c->len)) != NULL;) {
        size_t used = (size_t)(end - c->line) + 1;
        *end = 0;
        on_line(user, c->line);
        memmove(c->line, c->line + used, c->len - used);
        c->len -= used;
    }
    if (c->len == sizeof c->line) /* not one of our lines */
        c->eof = true;
}

void child_kill(struct child *c)
{
    (void)kill(c->pid, SIGKILL);
}

void child_ask_to_end(struct child *c)
{
    (void)close(c->in);
    c->in = -1;
}

int child_reap(struct child *c)
{
    int status = 0;

    if (c->in >= 0)
        (void)close(c->in);
    if (c->out >= 0)
        (void)close(c->out);
    c->in = c->out = -1;
    while (c->pid > 0 && waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
        ;
    c->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
