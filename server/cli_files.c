/* SPDX-License-Identifier: Apache-2.0 */
/* The limit of open files, which is a limit of connections. */
#include "cli.h"

#include <sys/resource.h>

#define SPARE 64 /* files, timers, relays: what is open besides clients */

void sx_cli_raise_files(unsigned connections)
{
    struct rlimit r;
    rlim_t wanted = (rlim_t)connections + SPARE;

    if (getrlimit(RLIMIT_NOFILE, &r) != 0 || r.rlim_cur == RLIM_INFINITY || r.rlim_cur >= wanted)
        return;
    r.rlim_cur = r.rlim_max == RLIM_INFINITY || r.rlim_max > wanted ? wanted : r.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &r) != 0 && getrlimit(RLIMIT_NOFILE, &r) != 0)
        return;
    if (r.rlim_cur < wanted)
        sx_log(SX_LOG_WARN,
               "open files are limited to %lu: about %lu clients can be connected at a time; raise "
               "LimitNOFILE in the unit (ulimit -Hn elsewhere), or set max_connections in [LIMITS]",
               (unsigned long)r.rlim_cur,
               r.rlim_cur > SPARE ? (unsigned long)r.rlim_cur - SPARE : 1ul);
}
