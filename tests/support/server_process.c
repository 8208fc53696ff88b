/* SPDX-License-Identifier: Apache-2.0 */
#include "support/server_process.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#if defined(__linux__)
#include <sys/prctl.h>
#endif
#include <unistd.h>

#include "support/free_port.h"

#define ARGS 24

static void read_banner(struct server_process *s, int fd)
{
    char line[1024], last[1024] = "";
    FILE *f = fdopen(fd, "r");

    s->address[0] = 0;
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        (void)sscanf(line, "Server address: %511s", s->address);
        memcpy(last, line, sizeof last);
        if (strstr(line, "creating new queues") != NULL)
            break; /* it listens */
    }
    (void)fclose(f);
    if (s->address[0] == 0 || strstr(last, "creating new queues") == NULL)
        fail_msg("the server did not start: %s", last);
}

static void run(const struct server_process *s, int out)
{
    char state[300];
    const char *argv[ARGS] = { SMP_SERVER, "start", "--port",  s->port,
                               "--dir",    s->dir,  "--state", state };
    size_t n = 8;

    (void)snprintf(state, sizeof state, "%s/state", s->dir);
    for (size_t i = 0; i < SX_COUNT(s->option) && s->option[i] != NULL; i++)
        argv[n++] = s->option[i];
    (void)dup2(out, 1);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC); /* the pipe is read up to the banner only */
    (void)dup2(null, 0);
    if (getenv("SIMPLEX_SERVER_LOG") == NULL)
        (void)dup2(null, 2);
#if defined(__linux__)
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed test leaves nothing behind */
#endif
    (void)signal(SIGPIPE, SIG_IGN);
    (void)execv(SMP_SERVER, (char *const *)(uintptr_t)argv);
    _exit(99);
}

void server_process_run(struct server_process *s)
{
    int fd[2];

    if (s->port[0] == 0)
        (void)snprintf(s->port, sizeof s->port, "%u", free_port());
    assert_int_equal(pipe(fd), 0);
    s->pid = fork();
    assert_true(s->pid >= 0);
    if (s->pid == 0) {
        (void)close(fd[0]);
        run(s, fd[1]);
    }
    (void)close(fd[1]);
    read_banner(s, fd[0]);
    assert_int_equal(sx_server_parse(sx_str(s->address), &s->parsed, NULL), SIMPLEX_OK);
}

void server_process_died(struct server_process *s)
{
    int status = 0;

    (void)usleep(200000);
    pid_t pid = waitpid(s->pid, &status, WNOHANG);
    fail_msg("the server has closed a connection; %s %d",
             pid == 0              ? "it runs, status"
             : WIFSIGNALED(status) ? "it was ended by signal"
                                   : "it ended with status",
             pid == 0              ? 0
             : WIFSIGNALED(status) ? WTERMSIG(status)
                                   : WEXITSTATUS(status));
}

void server_process_kill(struct server_process *s)
{
    int status;

    assert_int_equal(kill(s->pid, SIGKILL), 0);
    assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
    assert_true(WIFSIGNALED(status)); /* it had not ended before */
}

void server_process_stop(struct server_process *s, int signal_no)
{
    int status;

    assert_int_equal(kill(s->pid, signal_no), 0);
    assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}
