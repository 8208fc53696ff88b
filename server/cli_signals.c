/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <unistd.h>

#include "cli.h"

void sx_cli_block_signals(void)
{
    sigset_t set;

    (void)signal(SIGXFSZ, SIG_IGN); /* a limit of file sizes is an error like a full disk */
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* A stop that takes too long for whoever waits: what was acknowledged is on disk. */
static void exit_at_once(int signal_no)
{
    (void)signal_no;
    _exit(SX_CLI_FAILED);
}

void sx_cli_wait(void (*on_hup)(void *user), void *user)
{
    sigset_t set;
    int signal_no = SIGHUP;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    while (signal_no == SIGHUP) {
        if (sigwait(&set, &signal_no) != 0)
            continue;
        if (signal_no == SIGHUP)
            on_hup(user);
    }
    struct sigaction quit = { .sa_handler = exit_at_once };
    sigemptyset(&quit.sa_mask);
    sigaction(SIGINT, &quit, NULL);
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}
