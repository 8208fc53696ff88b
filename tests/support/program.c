/* SPDX-License-Identifier: Apache-2.0 */
#include "support/program.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <fcntl.h>
#if defined(__linux__)
#include <sys/prctl.h>
#endif
#include <sys/wait.h>
#include <unistd.h>

/* A file that nobody else sees, at its start: no pipe that the program may fail to empty. */
static int input_file(const char *text)
{
    FILE *f = tmpfile();

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    rewind(f);
    int fd = dup(fileno(f));
    fclose(f);
    assert_true(fd >= 0);
    (void)lseek(fd, 0, SEEK_SET);
    return fd;
}

void program_run(struct program *p, const char *path, const char *const *args, const char *input)
{
    const char *argv[PROGRAM_ARGS_MAX + 2] = { path };
    int fd[2], in = input != NULL ? input_file(input) : open("/dev/null", O_RDONLY);

    memset(p, 0, sizeof(*p));
    for (size_t i = 0; args[i] != NULL; i++) {
        assert_true(i < PROGRAM_ARGS_MAX);
        argv[i + 1] = args[i];
    }
    assert_true(in >= 0);
    assert_int_equal(pipe(fd), 0);
    p->pid = fork();
    assert_true(p->pid >= 0);
    if (p->pid == 0) {
        dup2(in, 0);
        dup2(fd[1], 1);
        dup2(fd[1], 2);
        close(fd[0]);
        close(in);
#if defined(__linux__)
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that is killed leaves nothing behind */
#endif
        execv(path, (char *const *)(uintptr_t)argv);
        _exit(99);
    }
    close(in);
    close(fd[1]);
    p->out = fdopen(fd[0], "r");
    assert_non_null(p->out);
}

bool program_read(struct program *p, const char *wanted)
{
    char line[2048];

    while (fgets(line, sizeof(line), p->out) != NULL) {
        size_t n = strlen(p->text);
        snprintf(p->text + n, sizeof(p->text) - n, "%s", line);
        if (wanted != NULL && strstr(line, wanted) != NULL)
            return true;
    }
    return false;
}

int program_end(struct program *p)
{
    int status;

    program_read(p, NULL);
    fclose(p->out);
    assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

void program_expect(const char *path, const char *const *args, const char *input, int status,
                    const char *text)
{
    struct program p;

    program_run(&p, path, args, input);
    int got = program_end(&p);
    if (got != status || (text != NULL && strstr(p.text, text) == NULL))
        fail_msg("exit %d without \"%s\": %s", got, text != NULL ? text : "", p.text);
}
