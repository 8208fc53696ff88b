/* SPDX-License-Identifier: Apache-2.0 */
/* The limit of open files, which is a limit of connections. */
#include "cli.h"

#include <sys/resource.h>

#include "open_files.h"
#include "proxy_config.h"

#define THREADS 64 /* as many as there may be: files are cheap */

/* False: there is no limit, or it is not known. */
static bool limit_of(const simplex_server_config *cfg, struct sx_open_files *wanted, rlim_t *needed,
                     struct rlimit *r)
{
    *wanted = (struct sx_open_files){ .clients = cfg->max_connections,
                                      .relays = sx_proxy_relays_max(cfg),
                                      .web = cfg->web_path == NULL ? 0 : cfg->web_connections };
    *needed = (rlim_t)sx_open_files_needed(THREADS, wanted);
    return getrlimit(RLIMIT_NOFILE, r) == 0 && r->rlim_cur != RLIM_INFINITY;
}

void sx_cli_raise_files(const simplex_server_config *cfg)
{
    struct sx_open_files wanted;
    rlim_t needed;
    struct rlimit r;

    if (!limit_of(cfg, &wanted, &needed, &r) || r.rlim_cur >= needed)
        return;
    r.rlim_cur = r.rlim_max == RLIM_INFINITY || r.rlim_max > needed ? needed : r.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &r); /* what there is then, sx_cli_tell_files says */
}

void sx_cli_tell_files(const simplex_server_config *cfg)
{
    struct sx_open_files wanted;
    rlim_t needed;
    struct rlimit r;

    if (limit_of(cfg, &wanted, &needed, &r) && r.rlim_cur < needed)
        sx_log(SX_LOG_WARN,
               "open files are limited to %lu: about %u clients can be connected at a time; raise "
               "LimitNOFILE in the unit (ulimit -Hn elsewhere), or set max_connections in [LIMITS]",
               (unsigned long)r.rlim_cur,
               sx_open_files_share(r.rlim_cur, THREADS, &wanted).clients);
}
