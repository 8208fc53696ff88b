/* SPDX-License-Identifier: Apache-2.0 */
/* The limit of open files, which is a limit of connections. */
#include "cli.h"

#include <sys/resource.h>

#include "open_files.h"
#include "proxy.h"

#define THREADS 64 /* as many as there may be: files are cheap */

void sx_cli_raise_files(unsigned connections)
{
    struct sx_open_files wanted = { .clients = connections, .relays = SX_PROXY_RELAYS_MAX };
    rlim_t needed = (rlim_t)sx_open_files_needed(THREADS, &wanted);
    struct rlimit r;

    if (getrlimit(RLIMIT_NOFILE, &r) != 0 || r.rlim_cur == RLIM_INFINITY || r.rlim_cur >= needed)
        return;
    r.rlim_cur = r.rlim_max == RLIM_INFINITY || r.rlim_max > needed ? needed : r.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &r) != 0 && getrlimit(RLIMIT_NOFILE, &r) != 0)
        return;
    if (r.rlim_cur < needed)
        sx_log(SX_LOG_WARN,
               "open files are limited to %lu: about %u clients can be connected at a time; raise "
               "LimitNOFILE in the unit (ulimit -Hn elsewhere), or set max_connections in [LIMITS]",
               (unsigned long)r.rlim_cur,
               sx_open_files_share(r.rlim_cur, THREADS, &wanted).clients);
}
