/* SPDX-License-Identifier: Apache-2.0 */
/* The program smp-load. */
#include "bench/load/load.h"

#include <signal.h>
#include <stdlib.h>

enum { EXIT_CANNOT = 1, EXIT_ERRORS = 3 };

struct watch {
    const struct load_options *o;
    enum load_phase phase;
    double said; /* seconds of the phase when something was said last */
    uint64_t done;
};

static volatile sig_atomic_t enough;

static void on_interrupt(int signal)
{
    (void)signal;
    enough = 1;
}

/* Ctrl-C ends a run before its time, with its result; before there is one, or when it comes again,
 * it ends the program. */
static void end_on_interrupt(void)
{
    struct sigaction a = { .sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND };

    (void)sigaction(SIGINT, &a, NULL);
}

static bool show(void *user, const struct load_snapshot *s)
{
    static const char *const names[] = { "connecting", "making queues", "running",
                                         "waiting for answers", "closing" };
    struct watch *w = user;

    if (s->phase != w->phase) {
        w->phase = s->phase;
        w->said = 0;
        w->done = s->done;
        if (s->phase == LOAD_RUN)
            end_on_interrupt();
    }
    if (s->seconds - w->said < 1)
        return enough == 0;
    fprintf(stderr, "%6.0f s  %-19s %6u connections", s->seconds, names[s->phase], s->ready);
    if (s->phase == LOAD_RUN && w->o->mode != LOAD_IDLE)
        fprintf(stderr, "  %8.0f/s", (double)(s->done - w->done) / (s->seconds - w->said));
    fprintf(stderr, "  %" PRIu64 " errors\n", s->errors);
    w->said = s->seconds;
    w->done = s->done;
    return enough == 0;
}

int main(int argc, char **argv)
{
    static struct load_result result;
    struct load_options o;
    struct watch watch = { .o = &o };
    bool json;

    int status = load_parse(argc, argv, &o, &json);
    if (status >= 0)
        return status;
    if (!o.socks && !load_resolve(&o.server)) {
        fprintf(stderr, "smp-load: the host %s has no address\n", o.server.hosts[0].text);
        return EXIT_CANNOT;
    }
    unsigned long files = load_raise_files();
    if (o.connections + 64ul > files) {
        fprintf(stderr,
                "smp-load: %u connections need as many open files and the limit is %lu: raise it "
                "(ulimit -Hn) or start several of us\n",
                o.connections, files);
        return EXIT_CANNOT;
    }
    bool ok = load_run(&o, show, &watch, &result);
    if (json)
        load_print_json(stdout, &o, &result);
    else
        load_print(stdout, &o, &result);
    if (!ok)
        return EXIT_CANNOT;
    return result.errors.total > 0 || result.unanswered > 0 ? EXIT_ERRORS : EXIT_SUCCESS;
}
